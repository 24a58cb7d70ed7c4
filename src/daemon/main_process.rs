//! The main process: reads the configuration, keeps the vrrp child running and fed, runs trackers and notify
//! scripts, answers signals.
//!
//! Shell, one thread, one loop. Nothing here is in the way of an advert: the vrrp process goes on when main is slow.
//! Life: load → pid files → start-up script → trackers and child → ready … reloads … → stop child → notify scripts
//! drain → shutdown script → pid files gone.

mod apply;
mod balancer;
mod control;
mod dump;
mod ending;
mod orders;
mod page;
mod tidy;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::black_box::BlackBox;
use super::exec::{self, Policy, Runner};
use super::logging::{FLUSH_LIMIT, Logging};
use super::notices::Notices;
use super::orphan::end_orphan;
use super::pidfile::{self, PidFile, PidFileError};
use super::process_name::{ProcessNames, call_this_process};
use super::reload::{KnownErrors, notify_with_departing};
use super::reload_files::Schedule;
use super::requests::Requests;
use super::roster::Roster;
use super::signals::{Request, Signals};
use super::supervise::{self, ChildCommand, Death, Happening, Supervisor};
use super::watchdog::{StartNews, Watchdog};
use super::{detach, load, trackers};
use crate::cli::DaemonArgs;
use crate::conf::Loaded;
use crate::conf::config::Config;
use crate::ipvs::diff::BalancerDiff;
use crate::notify::config::NotifyConfig;
use crate::notify::plan::plan;
use crate::notify::script::{NotifyScripts, RUN_LIMIT};
use crate::trackers::Update;
use crate::trackers::file::FileTrackers;
use crate::trackers::process::ProcessTrackers;
use crate::trackers::script::ScriptTrackers;
use crate::vrrp::config::TrackerKey;
use crate::vrrp::event::{Event, TrackerStatus};
use crate::vrrp::flight::{self, MonotonicClock};
use crate::vrrp::former::FormerAddresses;
use crate::vrrp::log::log_event;
use crate::vrrp::message::{FromVrrp, ToVrrp};
use balancer::{BalancerChild, known_commands};
use orders::Orders;

/// Whoever waits for the daemon to be ready is not kept waiting longer than this.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// Statuses that wait for main's loop; a tracker waits when it is full.
const UPDATES: usize = 1024;
/// Between two reloads: what is asked for meanwhile is one.
const RELOAD_PAUSE: Duration = Duration::from_millis(250);
/// keepalived's exit code for a child or daemon that cannot go on.
const EXIT_FATAL: u8 = 1;

/// Runs the daemon until its end; the result is the exit code.
///
/// # Errors
/// It cannot start, for a reason that has no exit code of its own.
pub fn run(args: DaemonArgs, argv: Vec<OsString>, logging: &Logging) -> anyhow::Result<u8> {
    if args.detached {
        detach::leave_session();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        // Before anything else, so that no signal of an impatient script ends us.
        let signals = Signals::install(args.ignore_sigint)?;
        start_and_serve(args, argv, signals, logging).await
    });
    // A file on a dead server may hold a reader for ever; nobody waits for it.
    runtime.shutdown_background();
    code
}

async fn start_and_serve(
    args: DaemonArgs,
    argv: Vec<OsString>,
    signals: Signals,
    logging: &Logging,
) -> anyhow::Result<u8> {
    info!("Starting holdfast {} (for keepalived {})", env!("CARGO_PKG_VERSION"), crate::cli::KEEPALIVED_VERSION);
    say_what_is_not_built(&args);
    let Loaded { config, diagnostics, .. } = load::load(&args);
    load::log(&diagnostics);
    if !logging.has_stderr() {
        eprint!("{}", diagnostics.render(false));
    }
    let Some(config) = config else {
        error!("no usable configuration in {}", args.file.display());
        return Ok(load::exit_code(&diagnostics));
    };
    let namespace = namespace(&args, &config);
    // The kernel tells its news of processes there only.
    let home = namespace.as_ref().and_then(|_| std::fs::File::open("/proc/self/ns/net").ok());
    if let Some(name) = &namespace {
        enter_namespace(name)?;
    }
    let ident_suffix = ident_suffix(namespace.as_deref(), config.daemon.instance.as_deref());
    logging.append_to_ident(&ident_suffix);
    if args.dump_conf {
        dump(&config, logging);
    }
    if let Some(mask) = args.umask.or(config.daemon.umask) {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask));
    }
    if args.core_dump {
        use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
        if let Err(error) = setrlimit(Resource::RLIMIT_CORE, RLIM_INFINITY, RLIM_INFINITY) {
            warn!("cannot raise the limit of core files: {error}");
        }
    }
    let pid_path = |given: &Option<std::path::PathBuf>, process| {
        given.clone().unwrap_or_else(|| pidfile::default_path(process, &config.daemon, namespace.as_deref()))
    };
    let mut pid_file = match PidFile::lock(&pid_path(&args.pid, "keepalived")) {
        Ok(pid_file) => pid_file,
        Err(error @ PidFileError::AlreadyRunning(_)) => {
            info!("{error}");
            eprintln!("{error}");
            return Ok(0);
        }
        Err(error) => return Err(error.into()),
    };
    pid_file.write(std::process::id())?;
    let vrrp_pid_path = pid_path(&args.vrrp_pid, "vrrp");
    let checkers_pid_path = pid_path(&args.checkers_pid, "checkers");
    let share_stderr = !args.detached;
    let names = ProcessNames::of(&config.daemon, argv.first().map_or(OsStr::new(env!("CARGO_PKG_NAME")), |name| name));
    call_this_process(OsStr::new(&names.main));
    let child = ChildCommand { argv, share_stderr, names, ident_suffix };
    let mut main = MainProcess::new(args, child, config, signals, vrrp_pid_path, checkers_pid_path)?;
    main.known_errors = KnownErrors::of(&diagnostics);
    main.processes.come_from(home);
    let code = main.serve().await;
    drop(main);
    drop(pid_file);
    info!("Stopped holdfast {}", env!("CARGO_PKG_VERSION"));
    Ok(code)
}

fn say_what_is_not_built(args: &DaemonArgs) {
    for option in args.not_built() {
        warn!("{option} is not built yet and does nothing");
    }
}

/// keepalived's order: `Keepalived_NAMESPACE_INSTANCE`.
fn ident_suffix(namespace: Option<&str>, instance: Option<&str>) -> String {
    [namespace, instance].into_iter().flatten().map(|part| format!("_{part}")).collect()
}

/// `--dump-conf`: the configuration as it was understood, passwords masked. The log's queue is bounded, so that it is
/// waited for; a log that nobody reads gets the beginning.
#[allow(clippy::disallowed_methods, reason = "a shell: bounds real waiting")]
fn dump(config: &Config, logging: &Logging) {
    const AT_ONCE: usize = 1000;
    let text = format!("{config:#?}");
    let lines: Vec<&str> = text.lines().collect();
    for part in lines.chunks(AT_ONCE) {
        part.iter().for_each(|line| info!("{line}"));
        let waited_from = Instant::now();
        logging.flush(FLUSH_LIMIT);
        if waited_from.elapsed() >= FLUSH_LIMIT {
            warn!("the log is too slow for the rest of the configuration");
            return;
        }
    }
}

/// The network namespace to run in: the command line's, else the file's.
pub(super) fn namespace(args: &DaemonArgs, config: &Config) -> Option<String> {
    args.namespace.clone().or_else(|| config.daemon.net_namespace.clone())
}

pub(super) fn enter_namespace(name: &str) -> anyhow::Result<()> {
    use nix::sched::{CloneFlags, setns};
    let path = std::path::Path::new("/run/netns").join(name);
    let file = std::fs::File::open(&path).map_err(|e| anyhow::anyhow!("network namespace {}: {e}", path.display()))?;
    setns(file, CloneFlags::CLONE_NEWNET).map_err(|e| anyhow::anyhow!("network namespace {name}: {e}"))
}

struct MainProcess {
    args: DaemonArgs,
    config: Config,
    known_errors: KnownErrors,
    runner: Runner,
    signals: Signals,
    vrrp: Supervisor<supervise::Vrrp>,
    balancer: BalancerChild,
    watchdog: Watchdog,
    /// The child was killed because it stood still: its addresses are ours to remove.
    killed_stuck: bool,
    /// This node takes no part in elections; each vrrp process is told when it starts.
    maintenance: bool,
    /// What reloads took away, until the vrrp process has removed it.
    former: FormerAddresses,
    control: control::Control,
    /// When memory is put in order.
    tidy_at: Option<tokio::time::Instant>,
    /// What was read last is kept where it was read.
    scattered: bool,
    black_box: BlackBox,
    vrrp_pid_path: std::path::PathBuf,
    vrrp_pid_file: Option<PidFile>,
    statuses: BTreeMap<TrackerKey, TrackerStatus>,
    scripts: ScriptTrackers,
    files: FileTrackers,
    processes: ProcessTrackers,
    updates: mpsc::Receiver<Update>,
    /// The configured scripts, and those of instances that the last reload removed.
    notify_config: NotifyConfig,
    notify: NotifyScripts,
    notices: Notices,
    roster: Roster,
    dumps: dump::Dumps,
    page: page::PageSide,
    announced: bool,
    loading: Option<Loading>,
    /// A reload was asked for so soon after the last one that it waits a moment, for others like it.
    reload_at: Option<tokio::time::Instant>,
    last_reload: Option<tokio::time::Instant>,
    schedule: Schedule,
    /// Since the start.
    reloads: u64,
    stopping: Option<Stopping>,
    /// A reload left nothing for the vrrp process to do: it was told to end.
    retiring: Option<Retiring>,
    exit_code: u8,
}

struct Loading {
    since: Instant,
    task: JoinHandle<Loaded>,
    /// Another SIGHUP came meanwhile: read it all again, once, however many came.
    again: bool,
    /// There while files are read (`reload_file`).
    marker: Option<std::path::PathBuf>,
}

struct Stopping {
    kill_at: tokio::time::Instant,
}

struct Retiring {
    kill_at: tokio::time::Instant,
}

/// What woke main.
enum Wake {
    Signal(Request),
    /// The time of the `reload_time_file` has come.
    ReloadDue,
    /// A reload has waited long enough.
    ReloadNow,
    Child(Happening<FromVrrp>),
    Balancer(balancer::Wake),
    Tracker(Update),
    Control(control::Wake),
    /// A notify script ended and the next was started.
    Notified,
    /// Time to say who is master still.
    Reassert,
    /// It is time to write the black box.
    BlackBox,
    /// Time to put memory in order.
    Tidy,
    Loaded(Box<Result<Loaded, tokio::task::JoinError>>),
    /// Nobody waits for readiness any longer.
    ReadyLimit,
    /// The child did not end in time.
    KillChild,
    /// Time to see whether the child's loop turns.
    Look,
}

#[allow(clippy::disallowed_methods, reason = "a shell: reads the clock")]
impl MainProcess {
    fn new(
        args: DaemonArgs,
        child: ChildCommand,
        config: Config,
        signals: Signals,
        vrrp_pid_path: std::path::PathBuf,
        checkers_pid_path: std::path::PathBuf,
    ) -> anyhow::Result<Self> {
        let (sender, updates) = mpsc::channel(UPDATES);
        let runner = runner_for(&config);
        let recorder = flight::create()?;
        let control = control::Control::open(&args, &config);
        let requests = Requests::new(runner.clone(), known_commands(&config));
        let orders = Orders::restore(control.real_servers_file(), &config.balancer.services);
        Ok(Self {
            known_errors: KnownErrors::default(),
            runner: runner.clone(),
            signals,
            balancer: BalancerChild::new(child.clone(), requests, orders, checkers_pid_path)?,
            vrrp: Supervisor::new(child, recorder),
            watchdog: Watchdog::new(Instant::now(), &config.vrrp),
            killed_stuck: false,
            former: FormerAddresses::default(),
            maintenance: control.is_in_maintenance(),
            black_box: BlackBox::new(control.directory().map(std::path::Path::to_owned)),
            control,
            tidy_at: None,
            scattered: true,
            vrrp_pid_path,
            vrrp_pid_file: None,
            statuses: BTreeMap::new(),
            scripts: ScriptTrackers::new(sender.clone()),
            files: FileTrackers::new(sender.clone()),
            processes: ProcessTrackers::new(sender),
            updates,
            notify_config: notify_with_departing(&Config::default(), &config, &BalancerDiff::default()),
            notify: NotifyScripts::new(runner, RUN_LIMIT),
            notices: Notices::default(),
            roster: Roster::default(),
            dumps: dump::Dumps::default(),
            page: page::PageSide::default(),
            announced: false,
            loading: None,
            reload_at: None,
            last_reload: None,
            schedule: Schedule::default(),
            reloads: 0,
            stopping: None,
            retiring: None,
            exit_code: 0,
            config,
            args,
        })
    }

    async fn serve(&mut self) -> u8 {
        let startup = self.config.daemon.startup_script.clone();
        self.run_hook("startup_script", startup, self.config.daemon.startup_script_timeout).await;
        self.report_unrunnable_commands();
        self.notices.apply(&self.notify_config, self.config.daemon.router_id.as_deref(), &self.runner);
        self.apply_trackers();
        if self.needs_balancer() {
            self.end_orphaned_balancer().await;
            self.start_balancer();
        } else {
            self.set_virtual_server_trackers(TrackerStatus::Unknown);
        }
        self.schedule.apply(&self.config.daemon);
        self.apply_page();
        if self.needs_vrrp() {
            self.lock_vrrp_pid_file();
            if self.vrrp_pid_file.is_some() {
                end_orphan::<supervise::Vrrp>(&self.vrrp_pid_path).await;
            }
            self.start_vrrp(false);
        } else {
            info!("no vrrp_instance is configured: no vrrp process");
            if !self.needs_balancer() {
                self.announce_ready();
            }
        }
        let ready_limit = tokio::time::Instant::now() + READY_LIMIT;
        while !self.is_over() {
            let wake = self.wait(ready_limit).await;
            self.handle(wake);
        }
        self.finish().await;
        self.exit_code
    }

    /// Stopping, and the children are gone with everything that they said heard.
    fn is_over(&self) -> bool {
        self.stopping.is_some() && !self.vrrp.is_running() && self.balancer_is_gone()
    }

    async fn wait(&mut self, ready_limit: tokio::time::Instant) -> Wake {
        let retiring = self.retiring.as_ref().map(|retiring| retiring.kill_at);
        let kill_at = self.stopping.as_ref().map(|stopping| stopping.kill_at).or(retiring);
        let look_at = tokio::time::Instant::from_std(self.watchdog.poll_timeout());
        tokio::select! {
            biased;
            request = self.signals.next() => Wake::Signal(request),
            () = self.schedule.due() => Wake::ReloadDue,
            happening = self.vrrp.next() => Wake::Child(happening),
            wake = balancer::wait(&mut self.balancer) => Wake::Balancer(wake),
            Some(update) = self.updates.recv() => Wake::Tracker(update),
            wake = control::wait(&mut self.control) => Wake::Control(wake),
            () = self.notify.turn() => Wake::Notified,
            () = self.notices.due() => Wake::Reassert,
            () = self.black_box.turn() => Wake::BlackBox,
            loaded = wait_for(self.loading.as_mut().map(|l| &mut l.task)) => Wake::Loaded(Box::new(loaded)),
            () = tokio::time::sleep_until(self.reload_at.unwrap_or(ready_limit)), if self.reload_at.is_some() => Wake::ReloadNow,
            () = tokio::time::sleep_until(self.tidy_at.unwrap_or(ready_limit)), if self.tidy_at.is_some() => Wake::Tidy,
            () = tokio::time::sleep_until(ready_limit), if !self.announced => Wake::ReadyLimit,
            () = tokio::time::sleep_until(kill_at.unwrap_or(ready_limit)), if kill_at.is_some() && self.vrrp.is_running() => Wake::KillChild,
            () = tokio::time::sleep_until(look_at), if self.vrrp.is_running() => Wake::Look,
        }
    }

    fn handle(&mut self, wake: Wake) {
        match wake {
            Wake::Signal(Request::Stop) => self.stop(),
            Wake::Signal(Request::Reload) => self.begin_reload(),
            Wake::ReloadNow => self.begin_reload(),
            Wake::ReloadDue => {
                info!("the time of the reload has come");
                self.schedule.taken();
                self.begin_reload();
            }
            Wake::Signal(request) => self.begin_dump(request),
            Wake::Child(Happening::Said(message)) => self.on_message(message),
            Wake::Child(Happening::Gone(death)) => self.on_death(death),
            Wake::Child(Happening::RestartDue) => self.start_vrrp(true),
            Wake::Balancer(wake) => self.handle_balancer(wake),
            Wake::Tracker(update) => self.on_tracker(update),
            Wake::Control(wake) => self.handle_control(wake),
            Wake::Notified => {}
            Wake::Reassert => self.notices.reassert(&self.roster),
            Wake::BlackBox => {
                self.black_box.write(self.vrrp.recorder(), &self.config.vrrp);
                self.tidy_soon();
            }
            Wake::Tidy => self.tidy(),
            Wake::Loaded(loaded) => self.end_reload(*loaded),
            Wake::ReadyLimit => {
                warn!("the children are not ready after {READY_LIMIT:?}; going on");
                self.announce_ready();
            }
            Wake::Look => self.look_after_child(),
            Wake::KillChild => {
                error!("the vrrp process did not stop within {:?}: killed", self.config.daemon.child_wait);
                self.vrrp.kill();
                // Once: a process that SIGKILL does not end hangs in the kernel, and is waited for.
                let later = tokio::time::Instant::now() + Duration::from_secs(3600);
                if let Some(stopping) = &mut self.stopping {
                    stopping.kill_at = later;
                }
                if let Some(retiring) = &mut self.retiring {
                    retiring.kill_at = later;
                }
            }
        }
    }

    fn needs_vrrp(&self) -> bool {
        let wanted = self.args.vrrp || !self.args.checkers;
        let vrrp = &self.config.vrrp;
        wanted && (self.args.all || !vrrp.instances.is_empty() || !vrrp.static_addresses.is_empty())
    }

    fn start_vrrp(&mut self, adopt: bool) {
        let start = ToVrrp::Start {
            config: Box::new(self.config.vrrp.clone()),
            trackers: self.statuses.iter().map(|(key, status)| (key.clone(), *status)).collect(),
            adopt,
            maintenance: self.maintenance,
            former: self.former.on_start(),
        };
        if let Err(why) = self.vrrp.start(&start) {
            error!("the vrrp process cannot be started: {why}");
            self.exit_code = EXIT_FATAL;
            self.stop();
            return;
        }
        let Some(pid) = self.vrrp.pid() else { return };
        info!("Starting VRRP child process, pid={pid}");
        self.watchdog = Watchdog::of_start(Instant::now(), &self.config.vrrp);
        self.lock_vrrp_pid_file();
        if let Some(Err(error)) = self.vrrp_pid_file.as_mut().map(|file| file.write(pid)) {
            warn!("{error}");
        }
    }

    fn lock_vrrp_pid_file(&mut self) {
        if self.vrrp_pid_file.is_none() {
            match PidFile::lock(&self.vrrp_pid_path) {
                Ok(file) => self.vrrp_pid_file = Some(file),
                Err(error) => warn!("{error}"),
            }
        }
    }

    fn on_message(&mut self, message: FromVrrp) {
        match message {
            FromVrrp::Ready => {
                self.watchdog = Watchdog::new(Instant::now(), &self.config.vrrp);
                self.announce_ready();
            }
            FromVrrp::Settled(orders) => self.former.on_settled(orders),
            FromVrrp::Event { event, at } => {
                self.control.vrrp_event(&event, at);
                self.tidy_soon();
                self.black_box.note(at, &event);
                self.roster.on_event(&event, at);
                // Of our own silence the child has told the log when it was time.
                if !matches!(event, Event::MainSilent { .. } | Event::MainBack { .. }) {
                    log_event(&event);
                }
                self.tell_balancer_of(&event);
                if self.roster.is_news(&event) {
                    if let Some((subject, jobs)) = plan(&self.notify_config, &event) {
                        self.notify.push(subject, jobs);
                    }
                    self.notices.on_vrrp(&event, &self.notify_config, &mut self.roster);
                }
                self.roster.forget(&event);
            }
            FromVrrp::EventsDropped(count) => {
                self.control.events_lost("vrrp", count);
                error!("main was too slow for the vrrp process: {count} events were lost, with their notify scripts");
            }
            FromVrrp::Stopped if self.stopping.is_none() && self.retiring.is_none() => {
                warn!("the vrrp process stopped by itself");
            }
            FromVrrp::Snapshot(snapshot) => {
                self.dump_vrrp(&snapshot);
                self.on_vrrp_snapshot(snapshot);
            }
            FromVrrp::Failover { request, outcome } => self.on_failover_answer(request, outcome),
            FromVrrp::Hello { .. } | FromVrrp::Stopped => {}
        }
    }

    fn look_after_child(&mut self) {
        let (now, clock) = (Instant::now(), MonotonicClock::measure());
        if let Err(error) = flight::beat_of_main(self.vrrp.recorder(), now, clock) {
            tracing::debug!("flight recorder: {error}");
        }
        if !self.vrrp.is_ready() {
            return self.look_after_start(now);
        }
        let beat = flight::last_heartbeat(self.vrrp.recorder(), clock);
        if let Some(silence) = self.watchdog.look(now, beat) {
            error!(
                "the vrrp process has stood still for {} ms: killed, its addresses are removed",
                silence.as_millis()
            );
            self.killed_stuck = true;
            self.vrrp.kill();
        }
    }

    /// Until the process is ready nobody holds what the one before it has left.
    fn look_after_start(&mut self, now: Instant) {
        match self.watchdog.look_at_start(now) {
            Some(StartNews::Late(taken)) => {
                let taken = taken.as_millis();
                error!(
                    "the vrrp process is not ready {taken} ms after its start: no virtual address is kept until it is"
                );
                self.sweep_addresses();
            }
            Some(StartNews::Stuck(taken)) => {
                error!("the vrrp process is not ready {} s after its start: killed", taken.as_secs());
                self.vrrp.kill();
            }
            None => {}
        }
    }

    fn on_death(&mut self, death: Death) {
        self.forget_dumps_of_vrrp();
        self.control_child_died("vrrp", death.status);
        if std::mem::take(&mut self.killed_stuck) {
            self.sweep_addresses();
        }
        if self.stopping.is_some() {
            self.vrrp.cancel_restart();
            if !death.status.success() {
                warn!("the vrrp process ended with {}", death.status);
                self.sweep_addresses();
            }
            self.stop_balancer();
            return;
        }
        if self.retiring.take().is_some() {
            self.vrrp.cancel_restart();
            self.on_retirement(death);
            return;
        }
        let Death { status, was_ready, wait, early_deaths } = death;
        self.black_box.crashed(&status.to_string());
        error!("the vrrp process died: {status}");
        match status.code() {
            // keepalived's codes for "starting again will not help".
            Some(code @ (1 | 2 | 4)) if !was_ready => {
                self.exit_code = u8::try_from(code).unwrap_or(EXIT_FATAL);
                self.vrrp.cancel_restart();
                self.sweep_addresses();
                self.stop();
            }
            _ if self.args.dont_respawn => {
                info!("not restarted (--dont-respawn): stopping");
                self.exit_code = EXIT_FATAL;
                self.vrrp.cancel_restart();
                self.sweep_addresses();
                self.stop();
            }
            _ if wait.is_zero() => info!("restarting the vrrp process at once"),
            _ => {
                error!("the vrrp process died {early_deaths} times soon after its start: restarted in {wait:?}");
                // Nobody will renew the claim to the addresses in time: a peer takes over.
                self.sweep_addresses();
            }
        }
    }

    /// There is no vrrp process, and there will not be one soon.
    fn sweep_addresses(&mut self) {
        apply::sweep(&self.config.vrrp, &self.former);
        self.tell_balancer_of_sweep();
        self.roster.on_sweep();
    }

    /// The vrrp process has ended because it had nothing to do, which may have changed meanwhile.
    fn on_retirement(&mut self, death: Death) {
        if !death.status.success() {
            warn!("the vrrp process ended with {}", death.status);
            apply::sweep(&self.config.vrrp, &self.former);
        }
        self.former.forget();
        self.tell_balancer_of_sweep();
        self.vrrp_pid_file = None;
        if self.needs_vrrp() {
            self.start_vrrp(false);
        }
    }

    fn on_tracker(&mut self, Update { key, status }: Update) {
        if let TrackerKey::File(name) = &key
            && self.config.balancer.files.contains_key(name)
        {
            self.tell_balancer_of_file(name, status);
        }
        if !self.is_tracker(&key) {
            return;
        }
        self.statuses.insert(key.clone(), status);
        self.vrrp.send(&ToVrrp::Tracker { key, status });
    }

    fn is_tracker(&self, key: &TrackerKey) -> bool {
        match key {
            TrackerKey::Script(name) => self.config.scripts.contains_key(name),
            TrackerKey::File(name) => {
                self.config.files.contains_key(name) || self.config.balancer.files.contains_key(name)
            }
            TrackerKey::Process(name) => self.config.processes.contains_key(name),
            TrackerKey::VirtualServer(_) => self.config.vrrp.trackers.contains(key),
            TrackerKey::Interface(_) => false,
        }
    }

    fn announce_ready(&mut self) {
        if self.announced {
            return;
        }
        self.announced = true;
        self.tidy_after_reading();
        tell_systemd(&[NotifyState::Ready, NotifyState::Status("running")]);
        if self.args.detached
            && let Err(error) = detach::say_ready()
        {
            warn!("cannot let go of the terminal: {error}");
        }
    }

    async fn run_hook(&self, name: &str, command: Option<crate::command::Command>, limit: Duration) {
        let Some(command) = command else { return };
        match self.runner.prepare(&command) {
            Ok(prepared) => {
                let outcome = exec::run(&prepared, &[], limit).await;
                if outcome.is_success() { info!("{name} {outcome}") } else { warn!("{name} {outcome}") }
            }
            Err(why) => error!("{name} cannot be run: {why}"),
        }
    }
}

fn runner_for(config: &Config) -> Runner {
    let policy = Policy::of(&config.daemon);
    Runner::new(policy, trackers::commands(config).into_iter())
}

fn tell_systemd(states: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("sd_notify: {error}");
    }
}

async fn wait_for<T>(task: Option<&mut JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}
