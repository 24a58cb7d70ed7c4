//! The balancer process: checkers, the [`Balancer`] and the data planes, in one loop.
//!
//! Shell. It decides nothing of VRRP and is waited for by nobody: what goes wrong here stays here.
//!
//! ```text
//!   main ──▶ Start, Reconfigure, Instance, File, ExecDone ──▶ ┌──────────┐ ──▶ Planes ──▶ kernel, userspace forwarder
//!   checkers ──▶ CheckReport ───────────────────────────────▶ │ Balancer │
//!   kernel ──▶ addresses of this host (ha_suspend) ─────────▶ └──────────┘ ──▶ events, Able, Exec ──▶ main
//! ```
//!
//! It ends when main says so, when main is gone, or some seconds after SIGTERM: whoever ends the whole service ends main
//! too, and then the virtual addresses are handed over before the services behind them go.
#![allow(clippy::disallowed_methods)] // Shell: reads the clock once per turn.

mod kernel_side;
mod main_link;
mod planes;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::balancer::{Balancer, Effect, Input};
use super::config::VirtualServerId;
use super::diff::BalancerDiff;
use super::event::Event;
use super::message::{FromBalancer, Reconfigure, Start, ToBalancer};
use crate::BUILD_ID;
use crate::checkers::report::{CheckReport, ExecRequest};
use crate::checkers::supervisor::Supervisor;
use crate::child::{self, EXIT_OK, EXIT_SOFTWARE, START_PATIENCE, Signals};
use crate::net::links::LinkChange;
use crate::net::monitor::Monitor;
use crate::net::sys::Readiness;
use main_link::MainLink;
use planes::Planes;

/// How long the kernel may take to list its addresses.
const DUMP_PATIENCE: Duration = Duration::from_secs(5);
/// After SIGTERM: longer than a hand-over takes, shorter than anybody's patience before SIGKILL.
const TERM_PATIENCE: Duration = Duration::from_secs(3);
/// How long main may take to read our last words.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Reports that wait for the loop; when it is full they wait in the checkers.
const REPORTS: usize = 1024;
/// Memory that was freed, or that only the start needed, is given back when nothing large has come for this long: the next
/// reload may follow at once.
const TIDY_AFTER: Duration = Duration::from_secs(2);
/// Requests that wait for the loop.
const REQUESTS: usize = 1024;

/// What main gives its child.
#[derive(Debug)]
pub struct ProcessOptions {
    /// The stream to main.
    pub main: UnixStream,
}

impl ProcessOptions {
    /// A child's, as main started it.
    ///
    /// # Errors
    /// Not started by main.
    pub fn from_standard_streams() -> io::Result<Self> {
        let (main, _) = child::standard_streams()?;
        Ok(Self { main })
    }
}

/// Runs until the end; the result is the exit code.
pub fn run(options: ProcessOptions) -> i32 {
    child::run("balancer", serve(options))
}

async fn serve(options: ProcessOptions) -> io::Result<i32> {
    let signals = Signals::install()?;
    let mut main = MainLink::open(options.main)?;
    main.push(&FromBalancer::Hello { build: BUILD_ID.to_owned() });
    let start = async {
        match main.next().await {
            Some(ToBalancer::Hello { build }) if build == BUILD_ID => {}
            Some(ToBalancer::Hello { build }) => {
                tracing::error!(ours = BUILD_ID, main = build, "main is of another build: the program was replaced");
                return Ok(Err(EXIT_SOFTWARE));
            }
            None => return Ok(Err(EXIT_OK)),
            Some(_) => return Err(io::Error::other("main did not say hello")),
        }
        loop {
            match main.next().await {
                Some(ToBalancer::Start(start)) => return Ok(Ok(start)),
                Some(ToBalancer::Stop) | None => return Ok(Err(EXIT_OK)),
                Some(_) => {}
            }
        }
    };
    let start = match tokio::time::timeout(START_PATIENCE, start).await {
        Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "main did not say what to do")),
        Ok(Err(e)) => return Err(e),
        Ok(Ok(Err(code))) => return Ok(code),
        Ok(Ok(Ok(start))) => start,
    };
    Process::start(*start, main)?.run(signals).await
}

struct Process {
    balancer: Balancer,
    supervisor: Supervisor,
    reports: mpsc::Receiver<CheckReport>,
    requests: mpsc::Receiver<ExecRequest>,
    planes: Planes,
    main: MainLink,
    addresses: Option<Addresses>,
    /// What main was last told of each virtual server.
    able: BTreeMap<VirtualServerId, bool>,
    /// So many reloads were heard of since the start.
    reloads: u64,
    keep_at_stop: bool,
    /// When freed memory is given back.
    tidy_at: Option<Instant>,
    /// SIGTERM came: the end, whether or not main says so.
    stop_by: Option<Instant>,
}

/// The addresses of this host.
struct Addresses {
    monitor: Monitor,
    readiness: Readiness,
}

/// What woke the loop.
enum Wake {
    Main(Option<ToBalancer>),
    Report(CheckReport),
    Request(ExecRequest),
    Addresses,
    Timer,
    Term,
}

impl Process {
    fn start(start: Start, main: MainLink) -> io::Result<Self> {
        let Start { config, masters, files, admin, keep_at_stop, again, former } = start;
        settings::apply(&config.global, &Default::default());
        let now = Instant::now();
        let (report, reports) = mpsc::channel(REPORTS);
        let (request, requests) = mpsc::channel(REQUESTS);
        let mut supervisor = Supervisor::new(report, request, config.global.ssl.clone());
        let planes = Planes::open(now, &config.global);
        let mut balancer = Balancer::new(now, config, masters);
        if again {
            // Whoever heard of the first start need not hear of this one.
            while balancer.poll_effect().is_some() {}
        }
        for (virtual_server, real_server, state) in admin {
            balancer.handle_input(now, Input::Admin { virtual_server, real_server, state });
        }
        for (name, value) in files {
            supervisor.file_changed(&name, value);
        }
        let mut process = Self {
            balancer,
            supervisor,
            reports,
            requests,
            planes,
            main,
            addresses: None,
            able: BTreeMap::new(),
            reloads: 0,
            keep_at_stop,
            tidy_at: Some(now + TIDY_AFTER),
            stop_by: None,
        };
        process.watch_addresses(now);
        process.supervisor.set_checkers(process.balancer.checkers());
        for id in process.balancer.paused() {
            process.supervisor.set_paused(id, true);
        }
        let remarks = process.planes.adopt(&process.balancer, former.as_deref());
        process.warn(remarks);
        let remarks = process.planes.sync(now, &process.balancer);
        process.warn(remarks);
        let remarks = process.planes.follow(&process.balancer);
        process.warn(remarks);
        process.settle(now);
        process.main.push(&FromBalancer::Ready);
        Ok(process)
    }

    async fn run(mut self, mut signals: Signals) -> io::Result<i32> {
        loop {
            let wake = self.wait(&mut signals).await;
            let now = Instant::now();
            if self.handle(now, wake) {
                break;
            }
            self.settle(now);
            if self.stop_by.is_some_and(|at| at <= now) {
                break;
            }
        }
        self.stop(Instant::now()).await;
        Ok(EXIT_OK)
    }

    async fn wait(&mut self, signals: &mut Signals) -> Wake {
        let now = Instant::now();
        let deadlines = [self.balancer.poll_timeout(now), self.planes.poll_timeout(), self.tidy_at, self.stop_by];
        let next = deadlines.into_iter().flatten().min();
        tokio::select! {
            message = self.main.next() => Wake::Main(message),
            Some(report) = self.reports.recv() => Wake::Report(report),
            Some(request) = self.requests.recv() => Wake::Request(request),
            () = changed(self.addresses.as_ref()) => Wake::Addresses,
            () = sleep_until(next) => Wake::Timer,
            () = signals.stop(), if self.stop_by.is_none() => Wake::Term,
            never = self.supervisor.run() => match never {},
        }
    }

    /// Whether it is the end.
    fn handle(&mut self, now: Instant, wake: Wake) -> bool {
        match wake {
            Wake::Main(Some(ToBalancer::Stop)) => return true,
            Wake::Main(None) => {
                tracing::error!("main is gone: the virtual servers go too");
                return true;
            }
            Wake::Main(Some(message)) => self.on_message(now, message),
            Wake::Report(report) => {
                self.balancer.handle_input(now, Input::Check(report));
                // One look at the data plane for all that came together.
                for _ in 0..REPORTS {
                    let Ok(report) = self.reports.try_recv() else { break };
                    self.balancer.handle_input(now, Input::Check(report));
                }
            }
            // Main does not read: the checker counts a request without an outcome as our own trouble.
            Wake::Request(request) => drop(self.main.push(&FromBalancer::Exec(request))),
            Wake::Addresses => self.on_addresses(now),
            Wake::Timer => {
                self.balancer.handle_timeout(now);
                let remarks = self.planes.handle_timeout(now, &self.balancer);
                self.warn(remarks);
                if self.tidy_at.take_if(|at| *at <= now).is_some() {
                    crate::net::sys::release_program_pages();
                    crate::net::sys::release_free_memory();
                }
            }
            Wake::Term => self.stop_by = Some(now + TERM_PATIENCE),
        }
        false
    }

    fn on_message(&mut self, now: Instant, message: ToBalancer) {
        match message {
            ToBalancer::Reconfigure(reload) => {
                let Reconfigure { after, diff } = *reload;
                if after == self.reloads {
                    self.reloads += 1;
                    self.reconfigure(now, diff);
                } else {
                    tracing::warn!("heard of {} reloads, and main has told of {after}: asking for all", self.reloads);
                    self.main.push(&FromBalancer::WholePlease);
                }
            }
            ToBalancer::Replace { reloads, config } => {
                self.reloads = reloads;
                let diff = self.balancer.difference_to(*config);
                self.reconfigure(now, diff);
            }
            ToBalancer::Instance { name, master } => {
                self.balancer.handle_input(now, Input::Instance { name, master });
                let remarks = self.planes.follow(&self.balancer);
                self.warn(remarks);
            }
            ToBalancer::File { name, value } => self.supervisor.file_changed(&name, value),
            ToBalancer::ExecDone(outcome) => self.supervisor.exec_done(outcome),
            ToBalancer::Admin { virtual_server, real_server, state } => {
                self.balancer.handle_input(now, Input::Admin { virtual_server, real_server, state });
            }
            ToBalancer::AreYouAlive => _ = self.main.push(&FromBalancer::Alive),
            ToBalancer::SnapshotPlease => {
                let mut snapshot = Box::new(self.balancer.snapshot(now));
                self.planes.complete(now, &mut snapshot);
                self.main.push(&FromBalancer::Snapshot(snapshot));
            }
            ToBalancer::Hello { .. } | ToBalancer::Start(_) => tracing::warn!("main started us twice; ignored"),
            ToBalancer::Stop => {}
        }
    }

    fn reconfigure(&mut self, now: Instant, diff: BalancerDiff) {
        if let Some(global) = &diff.global {
            let old = self.balancer.global();
            settings::apply(global, old);
            if global.ssl != old.ssl {
                self.supervisor.set_ssl(global.ssl.clone());
            }
        }
        let remarks = self.planes.reconfigure(now, diff.global.as_deref());
        self.warn(remarks);
        let changed: BTreeSet<VirtualServerId> = diff.services.keys().cloned().collect();
        self.balancer.handle_input(now, Input::Reconfigure(Box::new(diff)));
        self.able.retain(|id, _| self.balancer.has(id));
        self.supervisor.set_checkers(self.balancer.checkers());
        for (checker, status) in self.supervisor.statuses() {
            if changed.contains(&checker.virtual_server) {
                let report = CheckReport { checker, health: status.health };
                self.balancer.handle_input(now, Input::Check(report));
            }
        }
        self.watch_addresses(now);
        let remarks = self.planes.follow(&self.balancer);
        self.warn(remarks);
        self.tidy_at = Some(now + TIDY_AFTER);
    }

    /// Carries out all effects, in order.
    fn settle(&mut self, now: Instant) {
        while let Some(effect) = self.balancer.poll_effect() {
            match effect {
                Effect::Apply => {
                    let remarks = self.planes.sync(now, &self.balancer);
                    self.warn(remarks);
                }
                Effect::Emit(event) => self.main.event(event),
                Effect::PauseChecks { virtual_server, paused } => self.supervisor.set_paused(&virtual_server, paused),
            }
        }
        self.tell_able();
    }

    fn tell_able(&mut self) {
        let refused: BTreeSet<&VirtualServerId> =
            self.planes.refused().filter_map(|key| self.balancer.owner(key)).collect();
        let able = self.balancer.quorums().map(|(id, quorum)| (id, quorum && !refused.contains(id)));
        let news = able.filter(|(id, able)| self.able.get(*id) != Some(able));
        let news: Vec<(VirtualServerId, bool)> = news.map(|(id, able)| (id.clone(), able)).collect();
        if !news.is_empty() {
            self.able.extend(news.iter().cloned());
            self.main.push(&FromBalancer::Able(news));
        }
    }

    fn warn(&mut self, remarks: Vec<String>) {
        for message in remarks {
            self.main.event(Event::Warning { virtual_server: None, message });
        }
    }

    /// The addresses of this host are of interest while somebody has `ha_suspend`.
    fn watch_addresses(&mut self, now: Instant) {
        let wanted = self.balancer.follows_addresses();
        match (wanted, self.addresses.is_some()) {
            (false, _) => self.addresses = None,
            (true, true) => {}
            (true, false) => match Addresses::watch() {
                Ok(addresses) => {
                    self.balancer.handle_input(now, Input::Addresses(addresses.all()));
                    self.addresses = Some(addresses);
                }
                Err(e) => tracing::error!("ha_suspend: the addresses of this host cannot be read: {e}"),
            },
        }
    }

    fn on_addresses(&mut self, now: Instant) {
        let Some(addresses) = &mut self.addresses else { return };
        match addresses.monitor.drain() {
            Ok(_) => {
                let all = addresses.all();
                self.balancer.handle_input(now, Input::Addresses(all));
            }
            Err(e) => {
                tracing::error!("ha_suspend: the addresses of this host cannot be read any more: {e}");
                self.addresses = None;
            }
        }
    }

    async fn stop(mut self, now: Instant) {
        self.balancer.handle_input(now, Input::Stop);
        while let Some(effect) = self.balancer.poll_effect() {
            if let Effect::Emit(event) = effect {
                self.main.event(event);
            }
        }
        if !self.keep_at_stop {
            let remarks = self.planes.clear(now);
            self.warn(remarks);
            let remarks = self.planes.end();
            self.warn(remarks);
        }
        self.main.push(&FromBalancer::Stopped);
        let _ = tokio::time::timeout(LAST_WORDS, self.main.finish()).await;
    }
}

impl Addresses {
    fn watch() -> io::Result<Self> {
        let mut monitor = Monitor::open()?;
        let _: Vec<LinkChange> = monitor.load(DUMP_PATIENCE)?;
        let readiness = Readiness::new()?;
        readiness.add(&monitor)?;
        Ok(Self { monitor, readiness })
    }

    fn all(&self) -> BTreeSet<IpAddr> {
        self.monitor.table().all_addresses().collect()
    }
}

async fn changed(addresses: Option<&Addresses>) {
    match addresses {
        Some(addresses) => {
            // An error of the reactor shows at the next read.
            let _ = addresses.readiness.wait().await;
        }
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
