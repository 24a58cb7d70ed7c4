//! Runs notify scripts: in order for each instance and group, never two at once for one of them.
//!
//! Shell, owned by main's loop. A script that hangs is ended after [`RUN_LIMIT`] (TERM, [`exec::KILL_AFTER`] later
//! KILL) and counted, so that it delays its own instance only and not for ever. Different subjects run side by side,
//! at most [`MAX_RUNNING`] scripts in all. A subject's queue holds [`QUEUE`] runs; when it is full the oldest waiting
//! run is dropped and counted: the last state is the one that must be heard. At shutdown main waits for
//! [`NotifyScripts::drain`], which is bounded too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use super::plan::{Job, Subject};
use crate::daemon::exec::{self, Outcome, Runner};

/// How long a notify script may run.
pub const RUN_LIMIT: Duration = Duration::from_secs(30);
/// Runs that wait for one instance or group. Two for each transition: a queue this long is a script that hangs.
pub const QUEUE: usize = 64;
/// Scripts that run at once: 1,000 instances that fail over together must not start 1,000 shells together.
pub const MAX_RUNNING: usize = 256;

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NotifyCounters {
    /// Ended by themselves, whatever their exit status.
    pub finished: u64,
    /// Ended with a status other than 0, or by a signal.
    pub failed: u64,
    /// Ran too long and were ended.
    pub timed_out: u64,
    /// Could not be started.
    pub not_started: u64,
    /// Dropped from a full queue.
    pub dropped: u64,
    /// Waiting or running when shutdown's time was over.
    pub abandoned: u64,
}

/// The queues.
#[derive(Debug)]
pub struct NotifyScripts {
    runner: Runner,
    limit: Duration,
    waiting: BTreeMap<Subject, VecDeque<Job>>,
    running: BTreeSet<Subject>,
    /// Subjects that may start now but for [`MAX_RUNNING`], first come first served.
    ready: VecDeque<Subject>,
    tasks: JoinSet<(Subject, Job, Result<Outcome, exec::PrepareError>)>,
    counters: NotifyCounters,
}

impl NotifyScripts {
    /// Empty queues. Each run is given `limit` ([`RUN_LIMIT`]).
    pub fn new(runner: Runner, limit: Duration) -> Self {
        Self {
            runner,
            limit,
            waiting: BTreeMap::new(),
            running: BTreeSet::new(),
            ready: VecDeque::new(),
            tasks: JoinSet::new(),
            counters: NotifyCounters::default(),
        }
    }

    /// From now on run by the rules of a new configuration.
    pub fn set_runner(&mut self, runner: Runner) {
        self.runner = runner;
    }

    /// What happened so far.
    pub fn counters(&self) -> NotifyCounters {
        self.counters
    }

    /// Queues runs for a subject, behind those that wait already. Must be called inside the runtime.
    pub fn push(&mut self, subject: Subject, jobs: Vec<Job>) {
        let queue = self.waiting.entry(subject.clone()).or_default();
        let idle = queue.is_empty() && !self.running.contains(&subject);
        queue.extend(jobs);
        while queue.len() > QUEUE {
            let Some(lost) = queue.pop_front() else { break };
            self.counters.dropped += 1;
            warn!(
                dropped = self.counters.dropped,
                "notify scripts of {subject} are too slow, skipped: {}", lost.command.text
            );
        }
        if idle {
            self.ready.push_back(subject);
        }
        self.start_ready();
    }

    fn start_ready(&mut self) {
        while self.tasks.len() < MAX_RUNNING {
            let Some(subject) = self.ready.pop_front() else { return };
            let Some(job) = self.waiting.get_mut(&subject).and_then(VecDeque::pop_front) else {
                self.waiting.remove(&subject);
                continue;
            };
            debug!("notify for {subject}: {} {}", job.command.text, job.args.join(" "));
            self.running.insert(subject.clone());
            let prepared = self.runner.prepare(&job.command);
            let limit = self.limit;
            self.tasks.spawn(async move {
                let outcome = match prepared {
                    Ok(prepared) => Ok(exec::run(&prepared, &job.args, limit).await),
                    Err(error) => Err(error),
                };
                (subject, job, outcome)
            });
        }
    }

    /// Waits for the end of a run and starts the next. Never returns while nothing runs. Safe to drop at any time.
    pub async fn turn(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok((subject, job, outcome))) => {
                self.record(&subject, &job, &outcome);
                self.running.remove(&subject);
                self.ready.push_back(subject);
                self.start_ready();
            }
            // Tasks do not panic and are aborted only when all is over.
            Some(Err(error)) => error!("a notify task was lost: {error}"),
            None => std::future::pending().await,
        }
    }

    fn record(&mut self, subject: &Subject, job: &Job, outcome: &Result<Outcome, exec::PrepareError>) {
        let text = &job.command.text;
        let counters = &mut self.counters;
        match outcome {
            Ok(outcome @ Outcome::Exited(status)) => {
                counters.finished += 1;
                if status.success() {
                    debug!("notify script of {subject} {outcome}: {text}");
                } else {
                    counters.failed += 1;
                    warn!("notify script of {subject} {outcome}: {text}");
                }
            }
            Ok(outcome @ Outcome::TimedOut { .. }) => {
                counters.timed_out += 1;
                let (total, limit) = (counters.timed_out, self.limit);
                warn!(total, "notify script of {subject} {outcome} after {limit:?}: {text}");
            }
            Ok(outcome @ Outcome::NotStarted(_)) => {
                counters.not_started += 1;
                error!("notify script of {subject} {outcome}: {text}");
            }
            Err(why) => {
                counters.not_started += 1;
                error!("notify script of {subject} cannot be run: {why}");
            }
        }
    }

    /// Runs until all queues are empty, for at most `limit`; what is left then is killed, counted and reported.
    pub async fn drain(&mut self, limit: Duration) {
        let all = async {
            while !self.tasks.is_empty() {
                self.turn().await;
            }
        };
        if timeout(limit, all).await.is_ok() {
            return;
        }
        for (subject, queue) in std::mem::take(&mut self.waiting) {
            let left = queue.len() + usize::from(self.running.contains(&subject));
            if left > 0 {
                self.counters.abandoned += left as u64;
                warn!("{left} notify scripts of {subject} were not done in time and are given up");
            }
        }
        self.ready.clear();
        self.running.clear();
        // An aborted run kills its process group.
        self.tasks.shutdown().await;
        info!(abandoned = self.counters.abandoned, "notify scripts ended");
    }
}

#[cfg(test)]
mod tests;
