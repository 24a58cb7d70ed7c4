//! Rounds: both children are asked for a snapshot, and everybody who waits is answered with what came.
//!
//! Shell, on main's loop.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::super::MainProcess;
use super::maintenance::hindrance;
use super::wall_clock;
use crate::control::api::{Answer, MaintenanceOrder};
use crate::ipvs::message::ToBalancer;
use crate::ipvs::snapshot::Snapshot as BalancerSnapshot;
use crate::status::build;
use crate::status::maintenance::Record;
use crate::status::model::{self, Process, ProcessState, Status};
use crate::vrrp::message::ToVrrp;
use crate::vrrp::snapshot::Snapshot as VrrpSnapshot;

/// A child answers by then, or is shown as silent.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// Between two rounds.
const ROUND_PAUSE: Duration = Duration::from_millis(100);
/// Somebody waits for a snapshot.
pub(super) enum Waiting {
    Status(oneshot::Sender<Answer>),
    Maintenance { order: MaintenanceOrder, by: String, answer: oneshot::Sender<Answer> },
}

/// Both children are asked.
pub(super) struct Round {
    pub(super) waiting: Vec<Waiting>,
    pub(super) vrrp: Part<VrrpSnapshot>,
    pub(super) balancer: Part<BalancerSnapshot>,
    pub(super) late_at: Instant,
}

/// What one child has to say in a round.
pub(super) enum Part<S> {
    /// There is no such child, or it is not ready.
    None,
    Asked,
    /// It owes an older answer, and is asked when that has come.
    ToAsk,
    Said(Box<S>),
}

impl<S> Part<S> {
    fn is_open(&self) -> bool {
        matches!(self, Self::Asked | Self::ToAsk)
    }

    fn said(&self) -> Option<&S> {
        if let Self::Said(snapshot) = self { Some(snapshot) } else { None }
    }
}

#[allow(clippy::disallowed_methods, reason = "a shell: reads the clock")]
impl MainProcess {
    pub(super) fn begin_round(&mut self, now: Instant) {
        let waiting = std::mem::take(&mut self.control.waiting);
        let vrrp = ask(self.vrrp.is_ready(), &mut self.control.vrrp_owes, || self.vrrp.send(&ToVrrp::SnapshotPlease));
        let child = &mut self.balancer.child;
        let ready = child.is_ready();
        let please = || child.send(&ToBalancer::SnapshotPlease);
        let balancer = ask(ready, &mut self.control.balancer_owes, please);
        self.control.round = Some(Round { waiting, vrrp, balancer, late_at: now + ANSWER_LIMIT });
    }

    pub(in super::super) fn on_vrrp_snapshot(&mut self, snapshot: Box<VrrpSnapshot>) {
        self.control.vrrp_owes = false;
        match self.control.round.as_mut().map(|round| &mut round.vrrp) {
            Some(part @ Part::ToAsk) => {
                *part = Part::Asked;
                self.control.vrrp_owes = true;
                self.vrrp.send(&ToVrrp::SnapshotPlease);
            }
            Some(part @ Part::Asked) => *part = Part::Said(snapshot),
            Some(Part::None | Part::Said(_)) | None => {}
        }
        self.control_timeout(Instant::now());
    }

    pub(in super::super) fn on_balancer_snapshot(&mut self, snapshot: Box<BalancerSnapshot>) {
        self.control.balancer_owes = false;
        match self.control.round.as_mut().map(|round| &mut round.balancer) {
            Some(part @ Part::ToAsk) => {
                *part = Part::Asked;
                self.control.balancer_owes = true;
                self.balancer.child.send(&ToBalancer::SnapshotPlease);
            }
            Some(part @ Part::Asked) => *part = Part::Said(snapshot),
            Some(Part::None | Part::Said(_)) | None => {}
        }
        self.control_timeout(Instant::now());
    }

    /// Answers whoever waits, when all has been said or it is time.
    pub(super) fn end_round(&mut self, now: Instant) {
        let is_over = |round: &mut Round| round.late_at <= now || !(round.vrrp.is_open() || round.balancer.is_open());
        let Some(round) = self.control.round.take_if(is_over) else { return };
        self.control.next_round = now + ROUND_PAUSE;
        let status = Arc::new(self.status(&round));
        for waiting in round.waiting {
            let (answer, text) = match waiting {
                Waiting::Status(answer) => (answer, Answer::Status(Arc::clone(&status))),
                Waiting::Maintenance { order, by, answer } => {
                    let outcome = match hindrance(&status) {
                        Some(refusal) => refusal,
                        None => self.order_maintenance(&order, &by),
                    };
                    (answer, Answer::Outcome(outcome))
                }
            };
            let _ = answer.send(text);
        }
    }

    fn status(&self, round: &Round) -> Status {
        let at = wall_clock();
        let control = &self.control;
        let (vrrp, balancer) = (round.vrrp.said(), round.balancer.said());
        let instances = build::instances(at, &self.config, vrrp);
        let silent = |open: bool, name: &str| open.then(|| format!("the {name} process did not answer in time"));
        let stale = vrrp
            .and_then(|vrrp| vrrp.trackers_stale)
            .map(|stale| format!("the vrrp process has heard nothing of trackers for {} ms", stale.as_millis()));
        let mut remarks: Vec<String> =
            [silent(round.vrrp.is_open(), "vrrp"), silent(round.balancer.is_open(), "balancer"), stale]
                .into_iter()
                .flatten()
                .collect();
        if self.stopping.is_some() {
            remarks.push("the daemon is stopping".to_owned());
        }
        let mut status = Status {
            version: model::VERSION,
            at,
            node: fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
            router_id: self.config.daemon.router_id.clone(),
            daemon: model::Daemon {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                build: crate::BUILD_ID.to_owned(),
                started: control.started,
                uptime_ms: build::millis(control.started_at.elapsed()),
                config_file: std::path::absolute(&self.args.file)
                    .unwrap_or_else(|_| self.args.file.clone())
                    .display()
                    .to_string(),
                reloads: control.reloads.clone(),
                processes: self.processes_shown(round),
                events_lost: control.events_lost,
                last_event: control.history.last(),
                control: control.inbox.as_ref().map_or_else(Default::default, |inbox| model::ControlCounters {
                    connections: inbox.counters.connections.load(Ordering::Relaxed),
                    refused: inbox.counters.refused.load(Ordering::Relaxed),
                    panics: inbox.counters.panics.load(Ordering::Relaxed),
                }),
                ..model::Daemon::default()
            },
            maintenance: Record::show(control.maintenance.as_ref()),
            sync_groups: build::sync_groups(&self.config, &instances),
            instances,
            trackers: build::trackers(&self.config, &self.statuses, vrrp),
            virtual_servers: build::virtual_servers(&self.config, self.balancer.able(), balancer),
            forwarder: balancer.map(build::forwarder).unwrap_or_default(),
            remarks,
            unknown_vrid: vrrp.map_or(0, |vrrp| vrrp.unknown_vrid),
        };
        self.add_to_status(&mut status);
        status
    }

    fn processes_shown(&self, round: &Round) -> Vec<Process> {
        let state = |running, ready, silent, planned| match (running, ready) {
            (true, true) if silent => ProcessState::Silent,
            (true, true) => ProcessState::Running,
            (true, false) => ProcessState::Starting,
            (false, _) if planned => ProcessState::Waiting,
            (false, _) => ProcessState::Absent,
        };
        let (vrrp, balancer) = (&self.vrrp, &self.balancer.child);
        let main = Process {
            name: "main".to_owned(),
            pid: Some(std::process::id()),
            state: ProcessState::Running,
            restarts: 0,
        };
        let mut processes = vec![main];
        if self.needs_vrrp() || vrrp.is_running() {
            let state = state(vrrp.is_running(), vrrp.is_ready(), round.vrrp.is_open(), vrrp.restart_is_planned());
            processes.push(Process { name: "vrrp".to_owned(), pid: vrrp.pid(), state, restarts: vrrp.restarts() });
        }
        if self.needs_balancer() || balancer.is_running() {
            let planned = balancer.restart_is_planned();
            let state = state(balancer.is_running(), balancer.is_ready(), round.balancer.is_open(), planned);
            let (pid, restarts) = (balancer.pid(), balancer.restarts());
            processes.push(Process { name: "balancer".to_owned(), pid, state, restarts });
        }
        processes
    }
}

/// A child's part of a new round.
fn ask<S>(is_ready: bool, owes: &mut bool, please: impl FnOnce()) -> Part<S> {
    match (is_ready, *owes) {
        (false, _) => Part::None,
        (true, true) => Part::ToAsk,
        (true, false) => {
            *owes = true;
            please();
            Part::Asked
        }
    }
}
