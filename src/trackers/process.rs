//! `vrrp_track_process`: counts the processes that are meant, and reports changes of status.
//!
//! Shell. One task watches for all trackers. The kernel's news ([`connector`]) and the deaths of counted processes
//! ([`signs`]) say where to look, /proc says what is there ([`proc_fs`]), on another thread, one look at a time. Where
//! the kernel tells no news (a container, another process namespace), all processes are looked at every second, and
//! the log says so. What is counted, and when a number counts, is decided in [`table`] and [`quorum`].

pub mod connector;
pub mod pattern;
pub mod proc_fs;
pub mod quorum;
pub mod signs;
pub mod table;

use std::collections::BTreeMap;
use std::fs::File;
use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::sleep_until;
use tracing::{info, warn};

use self::connector::{BufferSize, Connector, News, Read};
use self::proc_fs::Found;
use self::quorum::Quorum;
use self::signs::Signs;
use self::table::{Scope, Table};
use super::Update;
use super::config::{ProcessConfig, ProcessPattern};
use crate::vrrp::config::TrackerKey;
use crate::vrrp::event::TrackerStatus;

/// How often all processes are looked at where the kernel tells no news.
const SCAN_INTERVAL: Duration = Duration::from_secs(1);
/// And where it does: it tells nothing when it has no memory for telling.
const SLOW_SCAN_INTERVAL: Duration = Duration::from_secs(60);
/// Looking takes this part of the time at most, however many processes there are: one in so many.
const SCAN_SHARE: u32 = 10;
/// So many looks in a row may fail before what they should have found is unknown.
const MOST_FAILURES: u32 = 3;

/// All processes that are tracked, by one task.
#[derive(Debug)]
pub struct ProcessTrackers {
    updates: mpsc::Sender<Update>,
    running: Option<Running>,
    counts: Counts,
    news: bool,
    home: Option<Arc<File>>,
}

#[derive(Debug)]
struct Running {
    orders: watch::Sender<Order>,
    buffer: BufferSize,
    task: JoinHandle<()>,
}

/// What the task has counted, for whoever asks.
type Counts = Arc<Mutex<BTreeMap<String, ProcessCount>>>;

/// What a `vrrp_track_process` has counted, and the delay that it is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessCount {
    /// Processes that match.
    pub count: u32,
    /// More processes came, and `fork_delay` has not passed.
    pub fork_delay_running: bool,
    /// Fewer are left, and `terminate_delay` has not passed.
    pub terminate_delay_running: bool,
}

/// What to watch, and the statuses so far.
#[derive(Debug, Clone, Default)]
struct Order {
    wanted: BTreeMap<String, ProcessConfig>,
    known: BTreeMap<TrackerKey, TrackerStatus>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Safe at any await: the task holds nothing but its descriptors. A look that is under way ends by itself.
        self.task.abort();
    }
}

impl ProcessTrackers {
    /// None yet; statuses will go to `updates`.
    pub fn new(updates: mpsc::Sender<Update>) -> Self {
        Self { updates, running: None, counts: Counts::default(), news: true, home: None }
    }

    /// What has been counted, by the names of the trackers.
    pub fn counts(&self) -> BTreeMap<String, ProcessCount> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The network namespace that this process left: the kernel may tell its news there.
    pub fn come_from(&mut self, home: Option<File>) {
        self.home = home.map(Arc::new);
    }

    /// The same without the kernel's news, as in a container.
    pub fn without_news(updates: mpsc::Sender<Update>) -> Self {
        Self { news: false, ..Self::new(updates) }
    }

    /// Watches exactly these. `known` are the statuses so far, which a changed tracker keeps until it is counted; one
    /// that did not change goes on as it was, with the delay that it is in.
    pub fn apply(
        &mut self,
        wanted: &BTreeMap<String, ProcessConfig>,
        buffer: BufferSize,
        known: &BTreeMap<TrackerKey, TrackerStatus>,
    ) {
        if wanted.is_empty() {
            self.running = None;
            self.counts.lock().unwrap_or_else(PoisonError::into_inner).clear();
            return;
        }
        let order = Order { wanted: wanted.clone(), known: known.clone() };
        match &self.running {
            Some(running) if running.buffer == buffer => {
                running.orders.send_if_modified(|last| {
                    let is_news = last.wanted != order.wanted;
                    *last = order;
                    is_news
                });
            }
            _ => {
                let (orders, receiver) = watch::channel(order);
                let source = self.news.then(|| (buffer, self.home.clone()));
                let watcher = Watcher::new(self.updates.clone(), Arc::clone(&self.counts), receiver, source);
                #[allow(clippy::disallowed_methods, reason = "a shell; the handle is in `running`")]
                let task = tokio::spawn(watcher.run_for_ever());
                self.running = Some(Running { orders, buffer, task });
            }
        }
    }
}

/// A look that is under way.
struct Look {
    scope: Scope,
    /// For these patterns; a reload may have brought others.
    patterns: Arc<Vec<ProcessPattern>>,
    began: Instant,
    task: JoinHandle<io::Result<Found>>,
}

/// The buffer, and the network namespace that we come from.
type Source = (BufferSize, Option<Arc<File>>);

struct Watcher {
    updates: mpsc::Sender<Update>,
    shown: Counts,
    orders: watch::Receiver<Order>,
    /// How to ask for news, if at all.
    source: Option<Source>,
    trackers: BTreeMap<String, (ProcessConfig, Quorum)>,
    /// Of the trackers, in their order.
    patterns: Arc<Vec<ProcessPattern>>,
    table: Table,
    look: Option<Look>,
    signs: Option<Signs>,
    /// The kernel tells news.
    subscribed: bool,
    scan_at: Instant,
    /// No look at everything before, which is work, and no look at all after a failure.
    rest_until: Instant,
    failures: u32,
    said_that_it_scans: bool,
}

#[allow(clippy::disallowed_methods, reason = "a shell: reads the clock")]
impl Watcher {
    fn new(
        updates: mpsc::Sender<Update>,
        shown: Counts,
        orders: watch::Receiver<Order>,
        source: Option<Source>,
    ) -> Self {
        Self {
            updates,
            shown,
            orders,
            source,
            trackers: BTreeMap::new(),
            patterns: Arc::default(),
            table: Table::default(),
            look: None,
            signs: None,
            subscribed: false,
            // The end of the first look says.
            scan_at: Instant::now() + SLOW_SCAN_INTERVAL,
            rest_until: Instant::now(),
            failures: 0,
            said_that_it_scans: false,
        }
    }

    async fn run_for_ever(mut self) {
        self.obey();
        self.open_signs().await;
        loop {
            self.begin_look();
            let wake_at = self.wake_at();
            tokio::select! {
                order = self.orders.changed() => match order {
                    Ok(()) => self.obey(),
                    // Our owner is gone.
                    Err(_) => return,
                },
                found = end_of(&mut self.look) => self.end_look(found).await,
                sign = sign_of(self.signs.as_ref()) => self.read_signs(sign),
                () = sleep_until(wake_at.into()) => self.handle_timeout(Instant::now()).await,
            }
        }
    }

    /// Takes the trackers of the last order.
    fn obey(&mut self) {
        let Order { wanted, known } = self.orders.borrow_and_update().clone();
        let mut before = std::mem::take(&mut self.trackers);
        for (name, config) in wanted {
            let kept = before.remove(&name).filter(|(old, _)| *old == config).map(|(_, quorum)| quorum);
            let known = || known.get(&TrackerKey::Process(name.clone())).copied();
            let quorum = kept.unwrap_or_else(|| Quorum::new(&config, known()));
            self.trackers.insert(name, (config, quorum));
        }
        self.patterns = Arc::new(self.trackers.values().map(|(config, _)| config.pattern.clone()).collect());
        self.table = Table::default();
        self.table.touch_all();
        self.rest_until = Instant::now();
    }

    async fn open_signs(&mut self) {
        match Signs::new() {
            Ok(signs) => self.signs = Some(signs),
            Err(error) => return warn!("cannot wait for deaths of tracked processes: {error}"),
        }
        let Some((buffer, home)) = self.source.take() else { return };
        let opened = spawn_blocking(move || Connector::open(buffer, home.as_deref())).await;
        let opened = opened.unwrap_or_else(|error| Err(io::Error::other(error)));
        let listening = match (opened, &mut self.signs) {
            (Ok(connector), Some(signs)) => signs.listen(connector),
            (Ok(_), None) => Ok(()),
            (Err(error), _) => Err(error),
        };
        if let Err(error) = listening {
            self.say_that_it_scans(&error.to_string());
        }
    }

    fn say_that_it_scans(&mut self, why: &str) {
        if !self.said_that_it_scans {
            self.said_that_it_scans = true;
            info!("the kernel tells no news of processes here ({why}): they are looked at every second");
        }
    }

    fn read_signs(&mut self, sign: io::Result<()>) {
        let Some(signs) = &mut self.signs else { return };
        if let Err(error) = sign {
            warn!("cannot wait for signs of tracked processes: {error}");
            self.signs = None;
            self.stop_relying_on_news("none can be waited for");
            return;
        }
        for process in signs.deaths() {
            self.table.touch(process);
        }
        match signs.read_news() {
            Ok(Read::News(news)) => {
                for news in &news {
                    self.table.on_news(news);
                    match news {
                        News::Subscribed => {
                            self.subscribed = true;
                            // What happened before is no news.
                            self.table.touch_all();
                        }
                        News::Refused => self.stop_relying_on_news("it refuses"),
                        _ => {}
                    }
                }
            }
            Ok(Read::Overrun) => self.table.touch_all(),
            Err(error) => self.stop_relying_on_news(&error.to_string()),
        }
    }

    fn stop_relying_on_news(&mut self, why: &str) {
        if let Some(signs) = &mut self.signs {
            signs.stop_listening();
        }
        self.subscribed = false;
        self.table.touch_all();
        self.say_that_it_scans(why);
    }

    fn begin_look(&mut self) {
        let now = Instant::now();
        if self.look.is_some() || self.failures > 0 && now < self.rest_until {
            return;
        }
        let Some(scope) = self.table.begin_look(now >= self.rest_until) else { return };
        let (look_scope, patterns) = (scope.clone(), Arc::clone(&self.patterns));
        let task = spawn_blocking(move || proc_fs::look(&look_scope, &patterns));
        self.look = Some(Look { scope, patterns: Arc::clone(&self.patterns), began: now, task });
    }

    async fn end_look(&mut self, found: Result<io::Result<Found>, JoinError>) {
        let Some(Look { scope, patterns, began, .. }) = self.look.take() else { return };
        if !Arc::ptr_eq(&patterns, &self.patterns) {
            // The table that asked for it is gone.
            return;
        }
        let now = Instant::now();
        match found.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(found) => {
                self.failures = 0;
                self.table.end_look(found);
                if scope == Scope::All {
                    let interval = if self.subscribed { SLOW_SCAN_INTERVAL } else { SCAN_INTERVAL };
                    self.rest_until = now + (now - began) * SCAN_SHARE;
                    self.scan_at = self.rest_until.max(now + interval);
                }
                if let Some(signs) = &mut self.signs {
                    signs.watch(&self.table);
                }
                self.count(now).await;
            }
            Err(error) => {
                self.table.give_up_look();
                self.table.touch_all();
                self.rest_until = now + SCAN_INTERVAL;
                self.on_failure(&error).await;
            }
        }
    }

    async fn on_failure(&mut self, error: &io::Error) {
        self.failures = self.failures.saturating_add(1);
        if self.failures == MOST_FAILURES {
            warn!("cannot read /proc, the states of tracked processes are unknown: {error}");
            let unknown = |(name, (_, quorum)): (&String, &mut (ProcessConfig, Quorum))| {
                quorum.record_unknown().map(|status| (name.clone(), status))
            };
            let changes: Vec<_> = self.trackers.iter_mut().filter_map(unknown).collect();
            self.report(changes).await;
        }
    }

    async fn count(&mut self, now: Instant) {
        let counts = self.table.counts(self.trackers.len());
        let mut changes = Vec::new();
        for ((name, (_, quorum)), count) in self.trackers.iter_mut().zip(counts) {
            // What is due is due, also when a look was late.
            let due = quorum.handle_timeout(now);
            let changed = quorum.record(count, now).or(due);
            changes.extend(changed.map(|status| (name.clone(), status)));
        }
        self.show();
        self.report(changes).await;
    }

    fn show(&self) {
        let shown = self.trackers.iter().map(|(name, (_, quorum))| {
            let delay = quorum.delay_after_more();
            let count = ProcessCount {
                count: quorum.count().unwrap_or(0),
                fork_delay_running: delay == Some(true),
                terminate_delay_running: delay == Some(false),
            };
            (name.clone(), count)
        });
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown.collect();
    }

    async fn handle_timeout(&mut self, now: Instant) {
        if now >= self.scan_at {
            if !self.subscribed && self.failures == 0 {
                self.say_that_it_scans("it does not answer");
            }
            self.table.touch_all();
            // The end of the look says when the next one is.
            self.scan_at = now + SLOW_SCAN_INTERVAL;
        }
        let due = |(name, (_, quorum)): (&String, &mut (ProcessConfig, Quorum))| {
            quorum.handle_timeout(now).map(|status| (name.clone(), status))
        };
        let changes: Vec<_> = self.trackers.iter_mut().filter_map(due).collect();
        self.show();
        self.report(changes).await;
    }

    fn wake_at(&self) -> Instant {
        let rest = (self.table.wants_all() && self.look.is_none()).then_some(self.rest_until);
        let due = self.trackers.values().filter_map(|(_, quorum)| quorum.poll_timeout());
        due.chain(rest).fold(self.scan_at, Instant::min)
    }

    async fn report(&self, changes: Vec<(String, TrackerStatus)>) {
        for (name, status) in changes {
            if let Some(count) = self.trackers.get(&name).and_then(|(_, quorum)| quorum.count()) {
                info!("track_process {name} is {status} now, processes: {count}");
            }
            // The receiver is main's loop; when it is gone so are we.
            let _ = self.updates.send(Update { key: TrackerKey::Process(name), status }).await;
        }
    }
}

async fn end_of(look: &mut Option<Look>) -> Result<io::Result<Found>, JoinError> {
    match look {
        Some(look) => (&mut look.task).await,
        None => pending().await,
    }
}

async fn sign_of(signs: Option<&Signs>) -> io::Result<()> {
    match signs {
        Some(signs) => signs.wait().await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests;
