//! The way from whoever serves people to main's loop, and back.
//!
//! Shell: two channels. The queue to main is bounded: whoever finds it full is told that the daemon is busy, and main
//! never waits. Each request carries the place for its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::api::{Answer, Request};

/// Requests that wait for main; one more is refused.
const QUEUE: usize = 256;
/// Main answers sooner than this; a reload may read a large file from a slow disk.
const LIMIT: Duration = Duration::from_secs(10);
const RELOAD_LIMIT: Duration = Duration::from_secs(120);

/// A request on its way to main.
#[derive(Debug)]
pub struct Ask {
    /// What.
    pub request: Request,
    /// Who asks, for the log.
    pub by: String,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer>,
}

/// Main did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Too many requests wait.
    #[error("the daemon is busy: too many requests wait")]
    Busy,
    /// It took too long.
    #[error("the daemon did not answer in time")]
    Late,
    /// The daemon ends.
    #[error("the daemon is stopping")]
    Stopping,
}

/// Counts of the control sockets since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that were accepted.
    pub connections: AtomicU64,
    /// Connections and requests that were turned away: too many, not permitted, malformed.
    pub refused: AtomicU64,
    /// Panics of its tasks, each of which ended one connection or was followed by a restart.
    pub panics: AtomicU64,
}

/// For everybody who wants something of main. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    to_main: mpsc::Sender<Ask>,
    news: watch::Receiver<u64>,
    /// What the sockets have seen.
    pub counters: Arc<Counters>,
}

/// Main's end.
#[derive(Debug)]
pub struct Inbox {
    /// What is asked.
    pub requests: mpsc::Receiver<Ask>,
    /// The sequence number of the last event.
    pub news: watch::Sender<u64>,
    /// What the sockets have seen.
    pub counters: Arc<Counters>,
}

/// Both ends.
pub fn channel() -> (Handle, Inbox) {
    let (to_main, requests) = mpsc::channel(QUEUE);
    let (last, news) = watch::channel(0);
    let counters = Arc::new(Counters::default());
    (Handle { to_main, news, counters: Arc::clone(&counters) }, Inbox { requests, news: last, counters })
}

impl Handle {
    /// Asks main.
    ///
    /// # Errors
    /// It is busy, slow, or ending.
    pub async fn ask(&self, request: Request, by: String) -> Result<Answer, Unanswered> {
        let limit = if matches!(request, Request::Reload | Request::Plan) { RELOAD_LIMIT } else { LIMIT };
        let (answer, answered) = oneshot::channel();
        self.to_main.try_send(Ask { request, by, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unanswered::Busy,
            mpsc::error::TrySendError::Closed(_) => Unanswered::Stopping,
        })?;
        match tokio::time::timeout(limit, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Unanswered::Stopping),
            Err(_) => Err(Unanswered::Late),
        }
    }

    /// Told of the sequence number of each new event; one that is slow hears of the last only.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.clone()
    }

    /// One more was turned away.
    pub fn count_refused(&self) {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
    }
}
