//! Runs the checkers: starts the probes that are due, takes their findings, tells the balancer.
//!
//! Shell. It spawns nothing: probes are futures that it owns and polls, so dropping it ends them all. There is one timer,
//! for the earliest deadline. It lives in its owner's select, which gives it inputs between turns:
//!
//! ```text
//!   set_checkers, set_paused, file_changed, exec_done ──▶ ┌────────────┐ ── CheckReport ──▶ the balancer
//!                                                         │ Supervisor │ ── ExecRequest ──▶ main
//!                                  probes (sockets) ◀───▶ └────────────┘
//! ```
#![allow(clippy::disallowed_methods)] // Shell: reads the clock once per turn, and around each probe.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::config::{CheckerConfig, Probe};
use super::engine::{Change, CheckEngine, Start};
use super::finding::{Failure, Finding};
use super::probe::kit::Kit;
use super::probe::{self, misc};
use super::report::{CheckReport, CheckerId, CheckerStatus, Ended, ExecOutcome, ExecRequest};
use super::schedule::CheckKey;
use crate::ipvs::config::{SslConfig, VirtualServerId};

/// Probes that are begun before the others get a turn: after a pause of the whole process all of them are due.
const STARTS_PER_TURN: usize = 128;
/// Findings that are taken in one turn.
const FINDINGS_PER_TURN: usize = 512;
/// Probes at once, however many descriptors there are.
const MOST_RUNNING: usize = 16 << 10;

/// All checkers, running.
pub struct Supervisor {
    engine: CheckEngine,
    kit: Kit,
    /// To the balancer. When it is full, reports wait in the engine, where a newer status replaces an older one.
    reports: mpsc::Sender<CheckReport>,
    /// To main. When it is full, the probe says nothing about its server and comes again after `delay_loop`.
    exec: mpsc::Sender<ExecRequest>,
    running: FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>,
    /// MISC_CHECKs that wait for main.
    executing: BTreeMap<u64, oneshot::Sender<Ended>>,
    last_request: u64,
    most_running: usize,
}

/// The end of a probe.
struct Done {
    key: CheckKey,
    finding: Finding,
    latency: Duration,
    /// The request to main that is over with it.
    request: Option<u64>,
}

impl Supervisor {
    /// No checkers yet. Must be called, and run, inside a tokio runtime with time and IO. Raises the process's limit of
    /// descriptors.
    pub fn new(reports: mpsc::Sender<CheckReport>, exec: mpsc::Sender<ExecRequest>, ssl: SslConfig) -> Self {
        let seed = RandomState::new().build_hasher().finish();
        Self {
            engine: CheckEngine::new(Instant::now(), seed),
            kit: Kit::new(ssl),
            reports,
            exec,
            running: FuturesUnordered::new(),
            executing: BTreeMap::new(),
            last_request: 0,
            most_running: most_running(),
        }
    }

    /// Has exactly these checkers. Those that stay the same keep their status and their beat.
    ///
    /// Before its first report a checker counts as up, with `alpha` as down; a checker that had reports counts as its
    /// last one says. Every difference from that is reported.
    pub fn set_checkers(&mut self, checkers: BTreeMap<CheckerId, Arc<CheckerConfig>>) {
        self.kit.forget();
        self.engine.set_checkers(Instant::now(), checkers);
    }

    /// Other TLS settings (root block `SSL`), for the probes from now on.
    pub fn set_ssl(&mut self, ssl: SslConfig) {
        self.kit = Kit::new(ssl);
    }

    /// Stops the probes of a virtual server, or goes on with them (`ha_suspend`); its checkers keep their status.
    pub fn set_paused(&mut self, virtual_server: &VirtualServerId, paused: bool) {
        self.engine.set_paused(Instant::now(), virtual_server, paused);
    }

    /// A command that main was asked to run has ended. Must be called for every request; one that is forgotten counts
    /// as our own trouble some seconds after its timeout.
    pub fn exec_done(&mut self, outcome: ExecOutcome) {
        if let Some(waiting) = self.executing.remove(&outcome.id) {
            // A probe that has given up waiting has said so.
            let _ = waiting.send(outcome.ended);
        }
    }

    /// The file of a `track_file` has this number; `None`: it cannot be read, and what was known stays.
    pub fn file_changed(&mut self, name: &str, value: Option<i64>) {
        for (config, change) in self.engine.file_changed(Instant::now(), name, value) {
            log(&config, &change);
        }
    }

    /// What is known of each checker.
    pub fn statuses(&self) -> BTreeMap<CheckerId, CheckerStatus> {
        self.engine.statuses(Instant::now())
    }

    /// Runs the checkers. Never ends by itself; its owner drops it whenever there is something else to do, and calls it
    /// again: nothing is lost in between.
    pub async fn run(&mut self) -> Infallible {
        loop {
            self.start_due();
            self.tell();
            let room = self.running.len() < self.most_running;
            let next = self.engine.next_start().filter(|_| room);
            let full = self.engine.has_reports() && !self.reports.is_closed();
            let done = tokio::select! {
                Some(done) = self.running.next(), if !self.running.is_empty() => Some(done),
                () = until(next), if next.is_some() => None,
                // Only that there is room again: the next turn sends.
                room = self.reports.reserve(), if full => room.map(drop).err().and(None),
                // Nothing to do until somebody gives an input, and for that this future is dropped.
                else => std::future::pending().await,
            };
            if let Some(done) = done {
                self.take(done);
            }
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        for _ in 0..STARTS_PER_TURN {
            if self.running.len() >= self.most_running {
                return;
            }
            let Some(start) = self.engine.start(now) else { return };
            self.begin(start);
        }
    }

    fn begin(&mut self, start: Start) {
        let key = start.key;
        if let Probe::Misc(probe) = &start.config.probe {
            self.last_request += 1;
            let id = self.last_request;
            let request = ExecRequest { id, command: probe.command.clone(), timeout: probe.timeout };
            if let Err(error) = self.exec.try_send(request) {
                let failure = Failure::ours(format!("main was not asked to run it: {error}"));
                self.take(Done { key, finding: Err(failure), latency: Duration::ZERO, request: None });
                return;
            }
            let (answer, ended) = oneshot::channel();
            self.executing.insert(id, answer);
            self.running.push(timed(key, Some(id), misc::probe(start, ended)));
            return;
        }
        match self.kit.prepare(&start) {
            Ok(tools) => self.running.push(timed(key, None, probe::probe(start, tools))),
            Err(failure) => self.take(Done { key, finding: Err(failure), latency: Duration::ZERO, request: None }),
        }
    }

    /// Takes this finding and those that are there already.
    fn take(&mut self, done: Done) {
        let now = Instant::now();
        let mut next = Some(done);
        let mut taken = 0;
        while let Some(done) = next {
            if let Some(id) = done.request {
                self.executing.remove(&id);
            }
            if let Some((config, change)) = self.engine.finished(now, done.key, done.finding, done.latency) {
                log(&config, &change);
            }
            taken += 1;
            next = if taken < FINDINGS_PER_TURN { self.running.next().now_or_never().flatten() } else { None };
        }
    }

    fn tell(&mut self) {
        while self.engine.has_reports() {
            let Ok(room) = self.reports.try_reserve() else { return };
            let Some(report) = self.engine.poll_report() else { return };
            room.send(report);
        }
    }
}

fn timed(
    key: CheckKey,
    request: Option<u64>,
    probe: impl Future<Output = Finding> + Send + 'static,
) -> Pin<Box<dyn Future<Output = Done> + Send>> {
    Box::pin(async move {
        let started = Instant::now();
        let finding = probe.await;
        Done { key, finding, latency: started.elapsed(), request }
    })
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Half of the descriptors that the process may have: the rest is the forwarder's. The soft limit, which is 1024 on most
/// machines, is raised as far as the hard one allows: when every server is silent, every probe waits.
fn most_running() -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard);
    usize::try_from(raised / 2).unwrap_or(MOST_RUNNING).min(MOST_RUNNING)
}

fn log(config: &CheckerConfig, change: &Change) {
    let target = probe::Described(&config.probe);
    match change {
        Change::Up => info!("{target} succeeds"),
        Change::Down(reason) => warn!("{target} fails: {reason}"),
        Change::Failed(reason) if config.log_all_failures => info!("{target} failed once more: {reason}"),
        Change::Failed(_) => {}
        Change::Ours(reason) => warn!("{target} could not be run: {reason}"),
    }
}
