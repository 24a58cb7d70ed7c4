//! The stream to main: a task reads it, another writes it, and the loop waits for neither.
//!
//! Shell. When main does not read, events are dropped and counted, and the count is sent when there is room again.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::ipc;
use crate::ipvs::event::Event;
use crate::ipvs::log::log_event;
use crate::ipvs::message::{FromBalancer, ToBalancer};

/// Messages that wait for main. When it is full, events are dropped.
const MOST_WAITING: usize = 10_000;
/// Messages that wait for the loop; main's own queue to us is bounded too.
const MOST_UNREAD: usize = 64;

/// Owns the stream.
#[derive(Debug)]
pub(super) struct MainLink {
    from_main: mpsc::Receiver<ToBalancer>,
    to_main: Option<mpsc::Sender<Vec<u8>>>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
    dropped: u64,
}

impl MainLink {
    #[allow(clippy::disallowed_methods)] // Both tasks end with the stream, and the reader is aborted when this is dropped.
    pub(super) fn open(stream: StdUnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (read, mut write) = UnixStream::from_std(stream)?.into_split();
        let mut read = BufReader::with_capacity(ipc::READ_TOGETHER, read);
        let (heard, from_main) = mpsc::channel(MOST_UNREAD);
        let (to_main, mut queue) = mpsc::channel::<Vec<u8>>(MOST_WAITING);
        let reader = tokio::spawn(async move {
            loop {
                match ipc::receive(&mut read).await {
                    Ok(Some(message)) => {
                        if heard.send(message).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => return,
                    Err(e) => return tracing::error!("main cannot be understood: {e}"),
                }
            }
        });
        let writer = tokio::spawn(async move {
            // The reader hears of main's end too.
            let _ = ipc::send_queued(&mut write, &mut queue).await;
        });
        Ok(Self { from_main, to_main: Some(to_main), reader, writer, dropped: 0 })
    }

    /// The next message; `None` when main is gone or cannot be understood. Safe to drop.
    pub(super) async fn next(&mut self) -> Option<ToBalancer> {
        self.from_main.recv().await
    }

    /// Tells main of an event, or counts it as dropped.
    pub(super) fn event(&mut self, event: Event) {
        let Some(queue) = &self.to_main else { return };
        if queue.is_closed() {
            // Nobody else is left to tell.
            return log_event(&event);
        }
        if self.dropped > 0 && queue.capacity() > MOST_WAITING / 2 {
            let dropped = std::mem::take(&mut self.dropped);
            self.push(&FromBalancer::EventsDropped(dropped));
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if !self.push(&FromBalancer::Event { event, at }) {
            self.dropped += 1;
        }
    }

    /// Queues a message; whether there was room.
    pub(super) fn push(&mut self, message: &FromBalancer) -> bool {
        let Some(queue) = &self.to_main else { return false };
        match ipc::encode(message) {
            Ok(frame) => queue.try_send(frame).is_ok(),
            Err(e) => {
                tracing::warn!("message to main: {e}");
                true
            }
        }
    }

    /// Waits until main has read everything, or is gone.
    pub(super) async fn finish(&mut self) {
        self.to_main = None;
        // Cancelled or panicked: there is nothing more to wait for.
        let _ = (&mut self.writer).await;
    }
}

impl Drop for MainLink {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
    }
}
