//! One target's queue: bounded, in order, tried again until it is delivered, never in anybody's way.
//!
//! Shell. Each target has a task of its own. While the target is down notices wait, at most [`BOUND`] of them; then the
//! oldest go, counted and reported: the last state is the one that must be heard. A panic in a target is contained in
//! its task, counted, and the task begun again with the same queue.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::notice::Notice;
use super::said::{Said, more};

/// Notices that wait for one target.
pub const BOUND: usize = 10_000;
/// Notices that a target is shown at once.
const BATCH: usize = 500;
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(60);
/// While the daemon stops there is no time for patience.
const RETRY_AT_STOP: Duration = Duration::from_millis(250);

/// What delivers to a target.
pub trait Deliver: Send + 'static {
    /// Delivers the first of these, or the first few in one; says how many are done.
    fn deliver(&mut self, batch: &[Arc<Notice>]) -> impl Future<Output = Result<usize, Failure>> + Send;
}

/// A delivery that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For people.
    pub reason: String,
    /// What to do with the first notice.
    pub then: Then,
}

/// What is done with a notice that was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Tried again, ever more slowly.
    Retry,
    /// Tried again after this time, which the target named.
    RetryAfter(Duration),
    /// Given up: the target will never take it.
    GiveUp,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OutboxCounters {
    /// Delivered.
    pub sent: u64,
    /// Attempts that did not succeed and were, or will be, made again.
    pub retried: u64,
    /// Given up: the target refused them for good, or its attempts were used up.
    pub failed: u64,
    /// Dropped from a full queue.
    pub dropped: u64,
    /// Waiting when the time at shutdown, or of a target that a reload removed, was over.
    pub abandoned: u64,
    /// Panics of the target's task.
    pub panics: u64,
    /// Waiting now.
    pub queued: u64,
}

/// One target as status and metrics show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TargetStatus {
    /// Its name in messages: `e-mail`, `webhook pager of instance VI_1`, `notify_fifo /run/fifo`.
    pub name: String,
    /// What happened so far.
    pub counters: OutboxCounters,
    /// Why the last attempt did not succeed, while none has succeeded since.
    pub complaint: Option<String>,
}

/// The queue of one target.
#[derive(Debug, Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
    worker: Arc<Mutex<Option<JoinHandle<()>>>>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    waiting: Mutex<VecDeque<Arc<Notice>>>,
    changed: Notify,
    stopping: AtomicBool,
    complaint: Mutex<Option<String>>,
    sent: AtomicU64,
    retried: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    abandoned: AtomicU64,
    panics: AtomicU64,
}

impl Outbox {
    /// A queue and its task. `make` makes the target anew after a panic. Must be called inside the runtime.
    #[allow(clippy::disallowed_methods, reason = "a shell: the queue holds the handle of its task")]
    pub fn start<D: Deliver>(name: String, make: impl Fn() -> D + Send + 'static) -> Self {
        let shared = Arc::new(Shared {
            name,
            waiting: Mutex::default(),
            changed: Notify::new(),
            stopping: AtomicBool::new(false),
            complaint: Mutex::default(),
            sent: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        });
        let worker = tokio::spawn(keep_going(shared.clone(), make));
        Self { shared, worker: Arc::new(Mutex::new(Some(worker))) }
    }

    /// The target's name in messages.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Puts a notice behind those that wait.
    pub fn push(&self, notice: Arc<Notice>) {
        let mut waiting = self.shared.waiting();
        waiting.push_back(notice);
        if waiting.len() > BOUND {
            waiting.pop_front();
            let dropped = self.shared.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            // The first, and then once in a while: a target that stays down must not fill the log.
            if dropped.is_power_of_two() {
                error!(dropped, "{}: {BOUND} notices wait already, the oldest are dropped", self.shared.name);
            }
        }
        drop(waiting);
        self.shared.changed.notify_one();
    }

    /// What happened so far.
    pub fn counters(&self) -> OutboxCounters {
        let shared = &self.shared;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        OutboxCounters {
            sent: get(&shared.sent),
            retried: get(&shared.retried),
            failed: get(&shared.failed),
            dropped: get(&shared.dropped),
            abandoned: get(&shared.abandoned),
            panics: get(&shared.panics),
            queued: shared.waiting().len() as u64,
        }
    }

    /// What there is to show of it.
    pub fn status(&self) -> TargetStatus {
        let complaint = self.shared.complaint().clone();
        TargetStatus { name: self.shared.name.clone(), counters: self.counters(), complaint }
    }

    /// Waits until everything is delivered, for at most `limit`; what is left is counted and reported.
    pub async fn drain(&self, limit: Duration) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.changed.notify_one();
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut worker) = worker else { return };
        if timeout(limit, &mut worker).await.is_err() {
            worker.abort();
            // Its end, so that nothing is sent after this; an aborted task ends at its next await.
            let _ = worker.await;
            let left = self.shared.waiting().len() as u64;
            self.shared.abandoned.fetch_add(left, Ordering::Relaxed);
            warn!("{}: {left} notices could not be delivered in time and are given up", self.shared.name);
        }
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Arc<Notice>>> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complaint(&self) -> MutexGuard<'_, Option<String>> {
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn batch(&self) -> Vec<Arc<Notice>> {
        self.waiting().iter().take(BATCH).cloned().collect()
    }

    /// Takes out what was dealt with, by number: the queue may have lost its oldest meanwhile.
    fn done(&self, last: u64) -> u64 {
        let mut waiting = self.waiting();
        let before = waiting.len();
        while waiting.front().is_some_and(|notice| notice.sequence <= last) {
            waiting.pop_front();
        }
        (before - waiting.len()) as u64
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// The target's task, begun again after a panic.
async fn keep_going<D: Deliver>(shared: Arc<Shared>, make: impl Fn() -> D) {
    loop {
        // A task of its own, which ends with this one.
        let mut task = JoinSet::new();
        task.spawn(work(shared.clone(), make()));
        match task.join_next().await {
            Some(Err(lost)) if lost.is_panic() => {
                let panics = shared.panics.fetch_add(1, Ordering::Relaxed) + 1;
                if panics.is_power_of_two() {
                    let name = &shared.name;
                    error!(panics, "{name}: a defect in this program ended its task, which is begun again: {lost}");
                }
                // The notice that it stumbled over would make it stumble again.
                if let Some(first) = shared.batch().first() {
                    let lost = shared.done(first.sequence);
                    shared.failed.fetch_add(lost, Ordering::Relaxed);
                }
                sleep(FIRST_RETRY).await;
            }
            _ => return,
        }
    }
}

async fn work(shared: Arc<Shared>, mut target: impl Deliver) {
    let mut pause = FIRST_RETRY;
    let mut said = Said::default();
    loop {
        let batch = shared.batch();
        if batch.is_empty() {
            if shared.is_stopping() {
                return;
            }
            shared.changed.notified().await;
            continue;
        }
        let last_of = |count: usize| batch.get(count.saturating_sub(1)).map_or(0, |notice| notice.sequence);
        let wait = match target.deliver(&batch).await {
            Ok(count) => {
                let sent = shared.done(last_of(count.clamp(1, batch.len())));
                shared.sent.fetch_add(sent, Ordering::Relaxed);
                if shared.complaint().take().is_some() && said.news(now(), "").is_some() {
                    info!("{}: delivering again", shared.name);
                }
                pause = FIRST_RETRY;
                continue;
            }
            Err(Failure { reason, then }) => {
                if then == Then::GiveUp {
                    let given_up = shared.done(last_of(1));
                    let failed = shared.failed.fetch_add(given_up, Ordering::Relaxed) + given_up;
                    if let Some(unsaid) = said.news(now(), &format!("given up: {reason}")) {
                        warn!(failed, "{}: {reason}: given up{}", shared.name, more(unsaid));
                    }
                    pause = FIRST_RETRY;
                    continue;
                }
                shared.retried.fetch_add(1, Ordering::Relaxed);
                let known = shared.complaint().replace(reason.clone());
                if known.as_ref() != Some(&reason)
                    && let Some(unsaid) = said.news(now(), &reason)
                {
                    warn!("{}: {reason}: will be tried again{}", shared.name, more(unsaid));
                }
                match then {
                    Then::RetryAfter(time) => time.min(Duration::from_secs(300)),
                    _ => {
                        let longer = (pause * 2).min(LAST_RETRY);
                        std::mem::replace(&mut pause, longer)
                    }
                }
            }
        };
        if shared.is_stopping() {
            sleep(RETRY_AT_STOP).await;
        } else {
            wait_or_stop(&shared, wait).await;
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a shell: reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// A pause that the beginning of the end cuts short; new notices do not.
async fn wait_or_stop(shared: &Shared, pause: Duration) {
    let stop = async {
        while !shared.is_stopping() {
            shared.changed.notified().await;
        }
    };
    // A time-out is the usual end.
    let _ = timeout(pause, stop).await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::notify::notice::{About, What};

    fn notice(sequence: u64) -> Arc<Notice> {
        Arc::new(Notice { sequence, at: Duration::ZERO, about: About::Node, what: What::Test, cause: None })
    }

    #[derive(Clone, Default)]
    struct Log {
        taken: Arc<Mutex<Vec<u64>>>,
        attempts: Arc<AtomicUsize>,
    }

    struct Target {
        log: Log,
        answer: fn(usize, u64) -> Result<usize, Failure>,
    }

    impl Deliver for Target {
        async fn deliver(&mut self, batch: &[Arc<Notice>]) -> Result<usize, Failure> {
            let attempt = self.log.attempts.fetch_add(1, Ordering::Relaxed);
            let answer = (self.answer)(attempt, batch[0].sequence);
            if let Ok(count) = answer {
                self.log.taken.lock().expect("not poisoned").extend(batch[..count].iter().map(|n| n.sequence));
            }
            answer
        }
    }

    fn start(answer: fn(usize, u64) -> Result<usize, Failure>) -> (Outbox, Log) {
        let log = Log::default();
        let target = log.clone();
        (Outbox::start("target".into(), move || Target { log: target.clone(), answer }), log)
    }

    fn taken(log: &Log) -> Vec<u64> {
        log.taken.lock().expect("not poisoned").clone()
    }

    #[tokio::test(start_paused = true)]
    async fn all_come_in_order_after_the_target_was_down() {
        let (outbox, log) = start(|attempt, _| match attempt {
            0..20 => Err(Failure { reason: "down".into(), then: Then::Retry }),
            _ => Ok(1),
        });
        (1..=1000).for_each(|n| outbox.push(notice(n)));
        while outbox.counters().queued > 0 {
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(taken(&log), (1..=1000).collect::<Vec<_>>());
        let counters = outbox.counters();
        assert_eq!((counters.sent, counters.retried, counters.dropped), (1000, 20, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_go_when_too_many_wait() {
        let (outbox, log) = start(|attempt, _| match attempt {
            0 => Err(Failure { reason: "down".into(), then: Then::Retry }),
            _ => Ok(1),
        });
        let more = BOUND as u64 + 7;
        (1..=more).for_each(|n| outbox.push(notice(n)));
        outbox.drain(Duration::from_secs(60)).await;
        assert_eq!(taken(&log), (8..=more).collect::<Vec<_>>());
        assert_eq!(outbox.counters().dropped, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_target_refuses_for_good_holds_nobody_up() {
        let (outbox, log) = start(|_, sequence| match sequence {
            2 => Err(Failure { reason: "status 400".into(), then: Then::GiveUp }),
            _ => Ok(1),
        });
        (1..=3).for_each(|n| outbox.push(notice(n)));
        outbox.drain(Duration::from_secs(1)).await;
        assert_eq!(taken(&log), [1, 3]);
        assert_eq!(outbox.counters().failed, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_contained_and_counted() {
        let (outbox, log) = start(|_, sequence| {
            assert!(sequence != 2, "a defect");
            Ok(1)
        });
        (1..=3).for_each(|n| outbox.push(notice(n)));
        outbox.drain(Duration::from_secs(5)).await;
        assert_eq!(taken(&log), [1, 3]);
        assert_eq!(outbox.counters().panics, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_nobody_waits_for_ever() {
        let (outbox, log) = start(|_, _| Err(Failure { reason: "down".into(), then: Then::Retry }));
        (1..=3).for_each(|n| outbox.push(notice(n)));
        outbox.drain(Duration::from_secs(5)).await;
        assert_eq!(outbox.counters().abandoned, 3);
        let attempts = log.attempts.load(Ordering::Relaxed);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(log.attempts.load(Ordering::Relaxed), attempts, "given up is given up");
    }
}
