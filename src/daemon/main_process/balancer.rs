//! The balancer child, as main sees it: what it is told, what it asks for, and what becomes of main when it dies: nothing.
//!
//! Shell. VRRP goes on whatever happens here; only a tracker of a virtual server says that this director cannot serve.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tracing::{error, info, warn};

use super::MainProcess;
use super::orders::Orders;
use crate::checkers::report::ExecOutcome;
use crate::conf::config::Config;
use crate::daemon::orphan::end_orphan;
use crate::daemon::pidfile::PidFile;
use crate::daemon::pulse::{Act, Pulse};
use crate::daemon::requests::Requests;
use crate::daemon::supervise::{self, ChildCommand, Death, Happening, Supervisor};
use crate::daemon::trackers;
use crate::ipvs::config::{BalancerConfig, VirtualServerId};
use crate::ipvs::diff::BalancerDiff;
use crate::ipvs::event::AdminState;
use crate::ipvs::log::log_event;
use crate::ipvs::message::{FromBalancer, Reconfigure, Start, ToBalancer};
use crate::ipvs::types::SocketKey;
use crate::notify::plan::plan_balancer;
use crate::trackers::Update;
use crate::vrrp::config::TrackerKey;
use crate::vrrp::event::{Event as VrrpEvent, StateName, TrackerStatus};

/// The child and what main keeps for it.
pub(super) struct BalancerChild {
    pub child: Supervisor<supervise::Balancer>,
    /// What it asked main to run.
    pub requests: Requests,
    pid_path: std::path::PathBuf,
    pid_file: Option<PidFile>,
    /// What operators have said that still holds: it outlives the child.
    pub(super) orders: Orders,
    /// Who can serve, in the words of the child that runs.
    able: BTreeMap<VirtualServerId, bool>,
    /// So many reloads the child that runs was told of.
    reloads: u64,
    /// A reload came while there was no child: what the last one had been told, and may have left in the kernel.
    former: Option<Box<BalancerConfig>>,
    /// One was ready before: people have heard of the start.
    was_ready: bool,
    /// While one runs and is ready.
    pulse: Option<Pulse>,
    /// It was told to end and is killed at this time.
    pub kill_at: Option<tokio::time::Instant>,
}

impl BalancerChild {
    /// Who can serve, in the words of the child that runs.
    pub fn able(&self) -> &BTreeMap<VirtualServerId, bool> {
        &self.able
    }

    pub fn new(
        command: ChildCommand,
        requests: Requests,
        orders: Orders,
        pid_path: std::path::PathBuf,
    ) -> anyhow::Result<Self> {
        // It has no flight recorder.
        let output = std::fs::File::options().write(true).open("/dev/null")?;
        Ok(Self {
            child: Supervisor::new(command, output),
            requests,
            pid_path,
            pid_file: None,
            orders,
            able: BTreeMap::new(),
            reloads: 0,
            former: None,
            was_ready: false,
            pulse: None,
            kill_at: None,
        })
    }
}

/// What happened to the balancer child.
pub(super) enum Wake {
    Child(Happening<FromBalancer>),
    /// A command that it asked for has ended.
    Executed(ExecOutcome),
    /// Time to see whether its loop turns.
    Look,
    /// It did not end in time.
    Kill,
}

/// Waits for any of it. Safe to drop.
pub(super) async fn wait(balancer: &mut BalancerChild) -> Wake {
    let kill_at = balancer.kill_at;
    let look_at = balancer.pulse.as_ref().map(|pulse| tokio::time::Instant::from_std(pulse.poll_timeout()));
    tokio::select! {
        happening = balancer.child.next() => Wake::Child(happening),
        outcome = balancer.requests.next() => Wake::Executed(outcome),
        () = sleep_until(kill_at) => Wake::Kill,
        () = sleep_until(look_at) => Wake::Look,
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The commands that the balancer process may ask for.
pub(super) fn known_commands(config: &Config) -> BTreeSet<crate::command::Command> {
    trackers::checks(&config.balancer).cloned().collect()
}

#[allow(clippy::disallowed_methods, reason = "a shell: reads the clock")]
impl MainProcess {
    pub(super) fn handle_balancer(&mut self, wake: Wake) {
        match wake {
            Wake::Child(Happening::Said(message)) => self.on_balancer_message(message),
            Wake::Child(Happening::Gone(death)) => self.on_balancer_death(death),
            Wake::Child(Happening::RestartDue) => self.start_balancer(),
            Wake::Executed(outcome) => self.balancer.child.send(&ToBalancer::ExecDone(outcome)),
            Wake::Look => self.look_after_balancer(),
            Wake::Kill => {
                error!("the balancer process did not stop within {:?}: killed", self.config.daemon.child_wait);
                self.balancer.child.kill();
                self.balancer.kill_at = None;
            }
        }
    }

    pub(super) fn needs_balancer(&self) -> bool {
        let wanted = self.args.checkers || !self.args.vrrp;
        wanted && (self.args.all || !self.config.balancer.services.is_empty())
    }

    pub(super) fn start_balancer(&mut self) {
        let files = self.statuses.iter().filter_map(|(key, status)| match (key, status) {
            (TrackerKey::File(name), TrackerStatus::Value(value)) => Some((name.clone(), Some(i64::from(*value)))),
            _ => None,
        });
        let start = Box::new(Start {
            // Lent, for as long as it is packed.
            config: std::mem::take(&mut self.config.balancer),
            masters: self.roster.masters(),
            files: files.collect(),
            admin: self.balancer.orders.all(),
            keep_at_stop: self.args.dont_release_ipvs,
            again: self.balancer.was_ready,
            former: self.balancer.former.take(),
        });
        let mut message = ToBalancer::Start(start);
        let started = self.balancer.child.start(&message);
        if let ToBalancer::Start(start) = &mut message {
            self.config.balancer = std::mem::take(&mut start.config);
        }
        self.balancer.reloads = 0;
        if let Err(why) = started {
            error!("the balancer process cannot be started, virtual servers are down: {why}");
            self.set_virtual_server_trackers(TrackerStatus::Down);
            return;
        }
        let Some(pid) = self.balancer.child.pid() else { return };
        info!("Starting Healthcheck child process, pid={pid}");
        self.lock_checkers_pid_file();
        if let Some(Err(error)) = self.balancer.pid_file.as_mut().map(|file| file.write(pid)) {
            warn!("{error}");
        }
    }

    fn lock_checkers_pid_file(&mut self) {
        let balancer = &mut self.balancer;
        if balancer.pid_file.is_none() {
            match PidFile::lock(&balancer.pid_path) {
                Ok(file) => balancer.pid_file = Some(file),
                Err(error) => warn!("{error}"),
            }
        }
    }

    /// One that was left by a main that was killed: it would share our ports.
    pub(super) async fn end_orphaned_balancer(&mut self) {
        self.lock_checkers_pid_file();
        if self.balancer.pid_file.is_some() {
            end_orphan::<supervise::Balancer>(&self.balancer.pid_path).await;
        }
    }

    fn on_balancer_message(&mut self, message: FromBalancer) {
        match message {
            FromBalancer::Ready => {
                self.balancer.was_ready = true;
                self.balancer.pulse = Some(Pulse::new(Instant::now()));
                if !self.needs_vrrp() {
                    self.announce_ready();
                }
            }
            FromBalancer::Event { event, at } => {
                self.control.balancer_event(&event, at);
                log_event(&event);
                if let Some((subject, jobs)) = plan_balancer(&self.notify_config, &event) {
                    self.notify.push(subject, jobs);
                }
                self.notices.on_balancer(&event, &self.notify_config);
            }
            FromBalancer::EventsDropped(count) => {
                self.control.events_lost("balancer", count);
                error!("main was too slow for the balancer process: {count} events were lost, with their scripts");
            }
            FromBalancer::WholePlease => {
                warn!("the balancer process has not heard of every reload: it is told everything");
                let config = Box::new(self.config.balancer.clone());
                self.balancer.child.send(&ToBalancer::Replace { reloads: self.balancer.reloads, config });
            }
            FromBalancer::Able(news) => {
                let concerned: Vec<VirtualServerId> = news.iter().map(|(id, _)| id.clone()).collect();
                self.balancer.able.extend(news);
                self.track_virtual_servers(&concerned);
            }
            FromBalancer::Exec(request) => {
                if let Some(answer) = self.balancer.requests.push(request) {
                    self.balancer.child.send(&ToBalancer::ExecDone(answer));
                }
            }
            FromBalancer::Alive => {
                let pulse = self.balancer.pulse.as_mut();
                if let Some(silence) = pulse.and_then(|pulse| pulse.heard(Instant::now())) {
                    info!("the balancer process goes on after {} s", silence.as_secs());
                    self.track_all_virtual_servers();
                }
            }
            FromBalancer::Stopped if self.stopping.is_none() && self.balancer.kill_at.is_none() => {
                warn!("the balancer process stopped by itself");
            }
            FromBalancer::Snapshot(snapshot) => {
                self.dump_balancer(&snapshot);
                self.on_balancer_snapshot(snapshot);
            }
            FromBalancer::Hello { .. } | FromBalancer::Stopped => {}
        }
    }

    fn look_after_balancer(&mut self) {
        let Some(pulse) = &mut self.balancer.pulse else { return };
        match pulse.handle_timeout(Instant::now()) {
            Act::Wait => {}
            Act::Ask => self.balancer.child.send(&ToBalancer::AreYouAlive),
            Act::Distrust(silence) => {
                let silence = silence.as_secs();
                error!("the balancer process has not answered for {silence} s: its virtual servers count as down");
                self.set_virtual_server_trackers(TrackerStatus::Down);
            }
            Act::Kill(silence) => {
                error!("the balancer process has not answered for {} s: killed", silence.as_secs());
                self.balancer.child.kill();
            }
        }
    }

    fn on_balancer_death(&mut self, death: Death) {
        let Death { status, wait, early_deaths, .. } = death;
        self.control_child_died("balancer", status);
        // Its requests are nobody's, and the next one counts them anew.
        self.balancer.requests.clear();
        self.balancer.pulse = None;
        self.forget_dumps_of_balancer();
        self.balancer.able.clear();
        self.set_virtual_server_trackers(TrackerStatus::Down);
        if self.balancer.kill_at.take().is_some() || self.stopping.is_some() {
            self.balancer.child.cancel_restart();
            self.balancer.pid_file = None;
            if !status.success() {
                warn!("the balancer process ended with {status}: the data plane may be left as it was");
            }
            // It was told to end because it had nothing to do, which may have changed meanwhile.
            if self.stopping.is_none() && self.needs_balancer() {
                self.start_balancer();
            }
            return;
        }
        error!("the balancer process died: {status}");
        if self.args.dont_respawn {
            error!("not restarted (--dont-respawn): virtual servers are no longer looked after");
            self.balancer.child.cancel_restart();
        } else if wait.is_zero() {
            info!("restarting the balancer process at once");
        } else {
            error!("the balancer process died {early_deaths} times soon after its start: restarted in {wait:?}");
        }
        if !self.needs_vrrp() {
            self.announce_ready();
        }
    }

    /// A reload is at hand while a dead child waits for its successor: that one must know what was left to it.
    pub(super) fn keep_former_balancer(&mut self) {
        if !self.balancer.child.is_running() && self.balancer.child.restart_is_planned() {
            self.balancer.former.get_or_insert_with(|| Box::new(self.config.balancer.clone()));
        }
    }

    /// Tells the balancer process of a reload, starts it when there is something for it to do at last, or ends it.
    pub(super) fn feed_balancer(&mut self, diff: BalancerDiff) {
        self.balancer.requests.reconfigure(self.runner.clone(), known_commands(&self.config));
        let services = &self.config.balancer.services;
        self.balancer.orders.retain(services);
        self.balancer.able.retain(|id, _| services.contains_key(id));
        if self.balancer.kill_at.is_some() {
            // It has its last orders; the next one is told everything, if there is need of one.
            return;
        }
        if self.balancer.child.is_running() {
            if !diff.is_empty() {
                let reload = Reconfigure { after: self.balancer.reloads, diff };
                self.balancer.reloads += 1;
                self.balancer.child.send(&ToBalancer::Reconfigure(Box::new(reload)));
            }
            // Somebody may track one that was there already.
            self.track_all_virtual_servers();
            if !self.needs_balancer() {
                info!("no virtual_server is configured any more: stopping the balancer process");
                self.stop_balancer();
            }
        } else if !self.needs_balancer() {
            self.balancer.child.cancel_restart();
            self.set_virtual_server_trackers(TrackerStatus::Unknown);
        } else if !self.balancer.child.restart_is_planned() {
            self.start_balancer();
        }
    }

    /// A tracker is named as a virtual server is shown; what is shown the same must all be able to serve.
    fn track_virtual_servers(&mut self, concerned: &[VirtualServerId]) {
        if !self.config.vrrp.trackers.iter().any(|key| matches!(key, TrackerKey::VirtualServer(_))) {
            return;
        }
        for id in concerned {
            let name = id.to_string();
            let key = TrackerKey::VirtualServer(name.clone());
            if !self.config.vrrp.trackers.contains(&key) {
                // To ask each of thousands after all the others would take seconds.
                continue;
            }
            let mut all = self.balancer.able.iter().filter(|(other, _)| other.to_string() == name);
            let status = if all.all(|(_, able)| *able) { TrackerStatus::Up } else { TrackerStatus::Down };
            self.on_tracker(Update { key, status });
        }
    }

    fn track_all_virtual_servers(&mut self) {
        if self.balancer.pulse.as_ref().is_some_and(Pulse::is_distrusted) {
            return;
        }
        let all: Vec<VirtualServerId> = self.balancer.able.keys().cloned().collect();
        self.track_virtual_servers(&all);
    }

    /// Orders it to remove what it added and to end.
    pub(super) fn stop_balancer(&mut self) {
        self.balancer.child.cancel_restart();
        if self.balancer.child.is_running() && self.balancer.kill_at.is_none() {
            self.balancer.kill_at = Some(tokio::time::Instant::now() + self.config.daemon.child_wait);
            self.balancer.child.send(&ToBalancer::Stop);
        }
    }

    /// An operator's word on a real server, for this child and the next ones, and for the next daemon.
    pub(super) fn set_admin(&mut self, virtual_server: VirtualServerId, real_server: SocketKey, state: AdminState) {
        self.balancer.orders.set(virtual_server.clone(), real_server, state);
        self.balancer.child.send(&ToBalancer::Admin { virtual_server, real_server, state });
    }

    /// Virtual servers may follow instances (`vrrp_instance` in a virtual server).
    pub(super) fn tell_balancer_of(&mut self, event: &VrrpEvent) {
        if let VrrpEvent::Renamed { instance, was, .. } = event
            && self.roster.instance(instance).is_some_and(|known| known.is_master)
        {
            self.balancer.child.send(&ToBalancer::Instance { name: was.clone(), master: false });
            self.balancer.child.send(&ToBalancer::Instance { name: instance.clone(), master: true });
        }
        let VrrpEvent::StateChanged { instance, to, .. } = event else { return };
        let master = match to {
            StateName::Master => true,
            // A restarted vrrp process passes through INIT and may be master again at once.
            StateName::Init => return,
            StateName::Backup | StateName::Fault | StateName::Stop | StateName::Deleted => false,
        };
        self.set_master(instance, master);
    }

    fn set_master(&mut self, name: &str, master: bool) {
        if self.roster.set_master(name, master) {
            self.balancer.child.send(&ToBalancer::Instance { name: name.to_owned(), master });
        }
    }

    /// The addresses were taken off: nobody is master here.
    pub(super) fn tell_balancer_of_sweep(&mut self) {
        for name in self.roster.masters() {
            self.set_master(&name, false);
        }
    }

    /// Without a balancer process no virtual server can serve; where there is to be none at all, nobody knows.
    pub(super) fn set_virtual_server_trackers(&mut self, status: TrackerStatus) {
        let trackers = self.config.vrrp.trackers.clone();
        for key in trackers.into_iter().filter(|key| matches!(key, TrackerKey::VirtualServer(_))) {
            self.on_tracker(Update { key, status });
        }
    }

    /// The number of a file that FILE_CHECKs read.
    pub(super) fn tell_balancer_of_file(&mut self, name: &str, status: TrackerStatus) {
        let value = match status {
            TrackerStatus::Value(value) => Some(i64::from(value)),
            TrackerStatus::Pending | TrackerStatus::Up | TrackerStatus::Down | TrackerStatus::Unknown => None,
        };
        self.balancer.child.send(&ToBalancer::File { name: name.to_owned(), value });
    }

    /// Whether there is none, or none any longer.
    pub(super) fn balancer_is_gone(&self) -> bool {
        !self.balancer.child.is_running()
    }
}
