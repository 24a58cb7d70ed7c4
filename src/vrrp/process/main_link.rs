//! The stream to main: what it says, and a bounded queue of what we say.
//!
//! Shell. Never waits: when main does not read, events are dropped and counted, and the count is sent when there is
//! room again. A log reader or a notify script that hangs must not stop the protocol.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::ipc;
use crate::net::sys::Readiness;
use crate::vrrp::event::Event;
use crate::vrrp::message::{FromVrrp, ToVrrp};

/// Messages that wait for main. When it is full, events are dropped.
const MOST_WAITING: usize = 10_000;
/// Room kept for messages that wait.
const MOST_ROOM: usize = 64;
/// Bytes read per turn.
const READ_PER_TURN: usize = 1 << 20;
/// Larger frames are a bug.
const LARGEST_FRAME: usize = 256 << 20;

/// Owns the stream.
#[derive(Debug)]
pub(super) struct MainLink {
    stream: UnixStream,
    input: Vec<u8>,
    output: VecDeque<Vec<u8>>,
    /// Bytes of the first frame that are already written.
    written: usize,
    dropped: u64,
    wants_write: bool,
    gone: bool,
}

impl MainLink {
    pub(super) fn open(stream: UnixStream, readiness: &Readiness) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        readiness.add(&stream)?;
        Ok(Self {
            stream,
            input: Vec::new(),
            output: VecDeque::new(),
            written: 0,
            dropped: 0,
            wants_write: false,
            gone: false,
        })
    }

    /// Main closed the stream, or it broke.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether something waits for main.
    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Whether a whole message has been read and not handed out.
    pub(super) fn has_input(&self) -> bool {
        self.frame().is_ok_and(|f| f.is_some())
    }

    /// The next message, if a whole one has arrived. After an error main counts as gone: nobody can be understood there.
    pub(super) fn next_message(&mut self, readiness: &Readiness) -> io::Result<Option<ToVrrp>> {
        if !self.has_input() {
            self.fill(readiness);
        }
        let message = self.take_message();
        if message.is_err() {
            self.input.clear();
            self.lose(readiness);
        }
        message
    }

    fn take_message(&mut self) -> io::Result<Option<ToVrrp>> {
        let Some(end) = self.frame()? else { return Ok(None) };
        let message = postcard::from_bytes(self.input.get(4..end).unwrap_or_default());
        self.input.drain(..end);
        if self.input.is_empty() {
            // The first message is a whole configuration; none that follows needs its room.
            self.input = Vec::new();
        }
        message.map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }

    /// Tells main of an event, or counts it as dropped.
    pub(super) fn event(&mut self, event: Event, at: Duration) {
        if self.output.len() >= MOST_WAITING {
            self.dropped += 1;
        } else {
            self.push(FromVrrp::Event { event, at });
        }
    }

    /// Queues anything else. Main asks for snapshots; it gets none while it does not read.
    pub(super) fn push(&mut self, message: FromVrrp) {
        if self.gone || (self.output.len() >= MOST_WAITING && matches!(message, FromVrrp::Snapshot(_))) {
            return;
        }
        match ipc::encode(&message) {
            Ok(bytes) => self.output.push_back(bytes),
            Err(e) => tracing::warn!("message to main: {e}"),
        }
    }

    /// Writes what main takes now.
    pub(super) fn flush(&mut self, readiness: &Readiness) {
        loop {
            if self.dropped > 0 && self.output.len() < MOST_WAITING / 2 {
                let dropped = std::mem::take(&mut self.dropped);
                self.push(FromVrrp::EventsDropped(dropped));
            }
            let Some(frame) = self.output.front() else {
                // A thousand events at once leave much room behind.
                self.output.shrink_to(MOST_ROOM);
                break;
            };
            match self.stream.write(frame.get(self.written..).unwrap_or_default()) {
                Ok(n) => {
                    self.written += n;
                    if self.written >= frame.len() {
                        self.written = 0;
                        self.output.pop_front();
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.lose(readiness),
            }
        }
        let wants_write = self.has_output();
        if wants_write != self.wants_write && !self.gone {
            self.wants_write = wants_write;
            let _ = readiness.want_write(&self.stream, wants_write);
        }
    }

    fn lose(&mut self, readiness: &Readiness) {
        self.gone = true;
        self.output.clear();
        // A closed stream is readable for ever and would keep the loop awake.
        readiness.remove(&self.stream);
    }

    fn fill(&mut self, readiness: &Readiness) {
        let mut read = 0;
        let mut chunk = [0; 16 << 10];
        while !self.gone && read < READ_PER_TURN {
            match self.stream.read(&mut chunk) {
                Ok(0) => self.lose(readiness),
                Ok(n) => {
                    read += n;
                    self.input.extend_from_slice(chunk.get(..n).unwrap_or_default());
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.lose(readiness),
            }
        }
    }

    /// Where the first whole frame ends.
    fn frame(&self) -> io::Result<Option<usize>> {
        let Some(&[a, b, c, d]) = self.input.get(..4) else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).map_err(io::Error::other)?;
        if length > LARGEST_FRAME {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("frame of {length} bytes")));
        }
        Ok(Some(length + 4).filter(|end| *end <= self.input.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning() -> Event {
        Event::Warning { instance: "VI_1".to_owned(), message: "x".repeat(1000) }
    }

    fn read_all(peer: &mut UnixStream) -> Vec<FromVrrp> {
        let mut messages = Vec::new();
        loop {
            let mut length = [0; 4];
            match peer.read_exact(&mut length) {
                Ok(()) => {}
                Err(_) => return messages,
            }
            let mut frame = vec![0; usize::try_from(u32::from_le_bytes(length)).expect("small")];
            peer.read_exact(&mut frame).expect("whole frames");
            messages.push(postcard::from_bytes(&frame).expect("a message"));
        }
    }

    #[tokio::test]
    async fn a_main_that_does_not_read_costs_events_and_no_time() {
        let readiness = Readiness::new().expect("epoll");
        let (ours, mut peer) = UnixStream::pair().expect("pair");
        let mut link = MainLink::open(ours, &readiness).expect("open");
        for _ in 0..MOST_WAITING + 500 {
            link.event(warning(), Duration::ZERO);
            link.flush(&readiness);
        }
        assert!(link.has_output() && link.dropped > 0);
        let dropped = link.dropped;
        peer.set_nonblocking(false).expect("blocking");
        let reader = std::thread::spawn(move || read_all(&mut peer));
        while link.has_output() {
            readiness.wait().await.expect("ready");
            link.flush(&readiness);
        }
        drop(link);
        let messages = reader.join().expect("reader");
        let events = messages.iter().filter(|m| matches!(m, FromVrrp::Event { .. })).count();
        assert_eq!(u64::try_from(events).expect("small") + dropped, 10_500);
        assert!(messages.contains(&FromVrrp::EventsDropped(dropped)));
    }

    #[tokio::test]
    async fn messages_in_pieces_and_the_end_of_main() {
        let readiness = Readiness::new().expect("epoll");
        let (ours, mut peer) = UnixStream::pair().expect("pair");
        let mut link = MainLink::open(ours, &readiness).expect("open");
        let mut bytes = ipc::encode(&ToVrrp::SnapshotPlease).expect("small");
        bytes.extend(ipc::encode(&ToVrrp::Stop).expect("small"));
        let (first, second) = bytes.split_at(3);
        peer.write_all(first).expect("write");
        assert_eq!(link.next_message(&readiness).expect("no error"), None);
        peer.write_all(second).expect("write");
        drop(peer);
        assert_eq!(link.next_message(&readiness).expect("whole"), Some(ToVrrp::SnapshotPlease));
        assert_eq!(link.next_message(&readiness).expect("whole"), Some(ToVrrp::Stop));
        assert_eq!(link.next_message(&readiness).expect("no error"), None);
        assert!(link.is_gone());
    }

    #[tokio::test]
    async fn a_main_that_talks_nonsense_counts_as_gone() {
        let readiness = Readiness::new().expect("epoll");
        for nonsense in [&[1, 0, 0, 0, 0xff][..], &[0xff, 0xff, 0xff, 0xff]] {
            let (ours, mut peer) = UnixStream::pair().expect("pair");
            let mut link = MainLink::open(ours, &readiness).expect("open");
            peer.write_all(nonsense).expect("write");
            assert!(link.next_message(&readiness).is_err());
            assert!(link.is_gone());
            assert_eq!(link.next_message(&readiness).expect("nothing more"), None);
        }
    }
}
