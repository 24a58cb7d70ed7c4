//! Logging that never holds anybody up: a bounded queue and a thread for each sink.
//!
//! Shell. A log reader that stops reading must not stop the daemon: keepalived's VRRP process hangs then with its
//! addresses up, and there are two owners. A caller puts a line into each sink's queue (`QUEUE` lines) and goes on;
//! when a queue is full the line is dropped for that sink and counted, and the sink says "N log lines dropped" when
//! it gets to write again. At the end [`Logging::flush`] waits for a bounded time. Events for scripts and people never
//! travel this way.

mod format;
mod sink;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber, span};

pub use format::Record;
use sink::Sink;

use crate::cli::DaemonArgs;

/// Lines that wait for one sink. A burst of 1,000 instances changing state twice fits.
const QUEUE: usize = 4096;
/// Enough for a line many times over.
const STACK: usize = 128 << 10;
/// How long [`Logging::flush`] waits at most when the daemon ends.
pub const FLUSH_LIMIT: Duration = Duration::from_millis(500);

/// Where a process logs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// The name in syslog: `Keepalived`, `Keepalived_vrrp`.
    pub ident: String,
    /// What a child appends to it; main learns that from the configuration ([`Logging::append_to_ident`]).
    pub suffix: Option<String>,
    /// Syslog facility.
    pub facility: u8,
    /// To `/dev/log`.
    pub syslog: bool,
    /// To the standard error stream.
    pub stderr: bool,
    /// To a file.
    pub file: Option<PathBuf>,
    /// What is worth a line.
    pub level: LevelFilter,
    /// Lines are JSON (`--log-format json`).
    pub json: bool,
}

/// LOG_DAEMON.
const DEFAULT_FACILITY: u8 = 3;
/// The tracing targets of what children report, whoever writes it down, and what that appends to the name.
const CHILDREN: [(&str, &str); 2] = [("vrrp", "_vrrp"), (crate::ipvs::log::TARGET, "_healthcheckers")];
/// Where syslog listens.
const DEV_LOG: &str = "/dev/log";

impl LogOptions {
    /// What the command line asks for; `process` is `None` for main, else the child's name (`vrrp`, `healthcheckers`).
    pub fn of(args: &DaemonArgs, process: Option<&str>) -> Self {
        let suffix = process.map(|p| format!("_{p}")).unwrap_or_default();
        let foreground = args.dont_fork;
        // keepalived -n without -l logs to syslog only. In a container without syslog that is silence.
        let nowhere = args.no_syslog || !Path::new(DEV_LOG).exists();
        Self {
            ident: format!("Keepalived{suffix}"),
            suffix: args.ident_suffix.clone(),
            facility: args.log_facility.unwrap_or(DEFAULT_FACILITY),
            syslog: !args.no_syslog,
            stderr: foreground && (args.log_console || (nowhere && args.log_file.is_none())),
            file: args.log_file.as_deref().map(|path| with_process_name(path, &suffix)),
            level: match args.log_detail {
                0 => LevelFilter::INFO,
                1 => LevelFilter::DEBUG,
                _ => LevelFilter::TRACE,
            },
            json: args.log_format == "json",
        }
    }
}

/// `/tmp/keepalived.log` and `_vrrp` make `/tmp/keepalived_vrrp.log`, as in keepalived.
fn with_process_name(path: &Path, suffix: &str) -> PathBuf {
    let Some(stem) = path.file_stem() else { return path.to_owned() };
    let mut name = stem.to_owned();
    name.push(suffix);
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// The process's logging. Keep it until the end and [`Self::flush`].
#[derive(Debug)]
pub struct Logging {
    queues: Vec<Queue>,
    stderr: bool,
    suffix: Arc<OnceLock<Arc<str>>>,
}

/// Starts logging for this process.
///
/// # Errors
/// The log file cannot be opened, or a thread cannot be started.
pub fn init(options: &LogOptions) -> std::io::Result<Logging> {
    let sinks = sinks(options)?;
    let alone = sinks.len() == 1;
    let queues = sinks.into_iter().map(|sink| start(sink, alone)).collect::<std::io::Result<Vec<_>>>()?;
    let suffix: Arc<OnceLock<Arc<str>>> = Arc::default();
    if let Some(text) = &options.suffix {
        // Empty until now.
        let _ = suffix.set(text.as_str().into());
    }
    let lines = Lines { level: options.level, json: options.json, queues: queues.clone(), suffix: Arc::clone(&suffix) };
    // A second call (tests in one process) keeps the first subscriber.
    let _ = tracing::subscriber::set_global_default(lines);
    Ok(Logging { queues, stderr: options.stderr, suffix })
}

fn sinks(options: &LogOptions) -> std::io::Result<Vec<Box<dyn Sink>>> {
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    if options.syslog {
        sinks.push(Box::new(sink::Syslog::new(Path::new(DEV_LOG), &options.ident, options.facility)));
    }
    if options.stderr {
        sinks.push(Box::new(sink::Stderr::new(&options.ident)));
    }
    if let Some(path) = &options.file {
        sinks.push(Box::new(sink::LogFile::open(path, &options.ident)?));
    }
    Ok(sinks)
}

impl Logging {
    /// Whether people at the terminal see the log.
    pub fn has_stderr(&self) -> bool {
        self.stderr
    }

    /// The log's name from now on: `Keepalived_NAMESPACE_INSTANCE`, as in keepalived. Once only: neither can change.
    pub fn append_to_ident(&self, suffix: &str) {
        if !suffix.is_empty() && self.suffix.set(suffix.into()).is_ok() {
            tracing::info!("Changed syslog ident to Keepalived{suffix}");
        }
    }

    /// Waits until every sink has written what was queued before, at most `limit` in all.
    #[allow(clippy::disallowed_methods, reason = "a shell: bounds real waiting")]
    pub fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let (done, all_done) = sync_channel(self.queues.len());
        let reached = self.queues.iter().filter(|queue| queue.sender.send(Item::Flush(done.clone())).is_ok());
        let waiting = reached.count();
        for _ in 0..waiting {
            let left = deadline.saturating_duration_since(Instant::now());
            if all_done.recv_timeout(left).is_err() {
                return;
            }
        }
    }
}

/// Lines that a sink has lost, all of them together.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines of this process that were lost since its start because a reader was too slow or a disk full.
pub fn lines_dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

enum Item {
    Line(Arc<Record>),
    Flush(SyncSender<()>),
}

/// Bounded by counting: a channel with room for all lines from the start takes 100 kB for each sink.
#[derive(Debug, Clone)]
struct Queue {
    sender: Sender<Item>,
    waiting: Arc<AtomicUsize>,
    dropped: Arc<AtomicU64>,
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Line(_) => "Line",
            Self::Flush(_) => "Flush",
        })
    }
}

impl Queue {
    fn push(&self, record: &Arc<Record>) {
        let full = self.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE;
        if full || self.sender.send(Item::Line(Arc::clone(record))).is_err() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// `alone`: lines go nowhere else.
fn start(sink: Box<dyn Sink>, alone: bool) -> std::io::Result<Queue> {
    let (sender, receiver) = channel();
    let queue = Queue { sender, waiting: Arc::default(), dropped: Arc::default() };
    let (waiting, dropped) = (Arc::clone(&queue.waiting), Arc::clone(&queue.dropped));
    // Ends with the process: the subscriber holds the sender for ever.
    let thread = std::thread::Builder::new().name("log".to_owned()).stack_size(STACK);
    thread.spawn(move || write_lines(sink, alone, &receiver, &waiting, &dropped))?;
    Ok(queue)
}

/// A machine without syslog (a container) loses nothing as long as its lines go elsewhere.
fn is_lost(error: &std::io::Error, alone: bool) -> bool {
    alone || error.kind() != std::io::ErrorKind::NotFound
}

#[allow(clippy::disallowed_methods, reason = "a shell: stamps the notice of dropped lines")]
fn write_lines(
    mut sink: Box<dyn Sink>,
    alone: bool,
    receiver: &Receiver<Item>,
    waiting: &AtomicUsize,
    dropped: &AtomicU64,
) {
    while let Ok(item) = receiver.recv() {
        let json = match item {
            Item::Line(record) => {
                waiting.fetch_sub(1, Ordering::Relaxed);
                if let Err(error) = sink.write(&record) {
                    dropped.fetch_add(1, Ordering::Relaxed);
                    if is_lost(&error, alone) {
                        DROPPED.fetch_add(1, Ordering::Relaxed);
                    }
                    continue;
                }
                record.fields.is_some()
            }
            Item::Flush(done) => {
                let _ = done.try_send(());
                continue;
            }
        };
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let mut notice = Record::new(tracing::Level::WARN, SystemTime::now(), format!("{lost} log lines dropped"));
            notice.fields = json.then(|| Box::new(format::Structured::lost(lost)));
            if sink.write(&notice).is_err() {
                dropped.fetch_add(lost, Ordering::Relaxed);
            }
        }
    }
}

/// Lines only: nobody here looks at spans.
struct Lines {
    level: LevelFilter,
    json: bool,
    queues: Vec<Queue>,
    suffix: Arc<OnceLock<Arc<str>>>,
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries talk of every connection; only their warnings are news.
        let ours = metadata.module_path().is_some_and(|path| path.starts_with(env!("CARGO_PKG_NAME")));
        *metadata.level() <= if ours { self.level } else { self.level.min(LevelFilter::WARN) }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    #[allow(clippy::disallowed_methods, reason = "a shell: stamps the line")]
    fn event(&self, event: &Event<'_>) {
        let text = format::render(event);
        let mut record = Record::new(*event.metadata().level(), SystemTime::now(), text);
        record.fields = self.json.then(|| Box::new(format::fields(event)));
        let child = CHILDREN.iter().find(|(target, _)| *target == event.metadata().target());
        record.child = child.map_or("", |(_, child)| child);
        record.suffix = self.suffix.get().cloned().unwrap_or_default();
        let record = Arc::new(record);
        for queue in &self.queues {
            queue.push(&record);
        }
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[cfg(test)]
mod tests;
