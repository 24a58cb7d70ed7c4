//! One direction of a TCP connection: from a socket to the other, through the thread's buffer or a pipe.
//!
//! Shell: moves bytes. Where reading stops and why is in [`Pumped`].

use std::os::fd::BorrowedFd;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};
use rustix::pipe::{SpliceFlags, splice};

use super::pipes::Pipe;
use super::worker::Core;

/// Reads of one stream before others get their turn.
const READS: usize = 16;
/// A read of at least this much is bulk; two in a row, and the stream is spliced.
const BULK: usize = 32 << 10;
/// A splice of less than this, and the stream is copied again.
const TRICKLE: usize = 4 << 10;
/// A stream whose reader is slow reads no more than this at a time, or all of its buffer would end up in memory.
const SLOW: u32 = 4 << 10;
/// When so much waits in memory, all streams of the thread are taken for slow.
const HELD: usize = 16 << 20;

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) held: Option<Box<Held>>,
    /// How much to read at a time.
    limit: u32,
    /// Large reads in a row.
    bulk: u8,
    pub(super) state: State,
    /// The receiver was told that it is over.
    pub(super) told: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Open,
    /// The sender has said that this was all; the receiver is told when it has everything.
    Ended,
    /// The receiver knows.
    Done,
}

/// What the receiver did not take yet.
#[derive(Debug)]
pub(super) enum Held {
    Bytes { bytes: Vec<u8>, from: usize },
    Spliced { pipe: Pipe, length: usize },
}

/// What epoll has told of a socket and was not used up since.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Ready {
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The far end has sent its last byte: a read that does not fill the buffer was the last.
    pub(super) last: bool,
    /// Urgent data makes reads short; only `EAGAIN` is the end then.
    pub(super) urgent: bool,
}

/// How a pump stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pumped {
    /// Until an event.
    Waiting,
    /// Its turn is over.
    Again,
    /// The stream is over.
    Done,
    /// The sender's socket is broken.
    FromBroken,
    /// The receiver's socket is broken.
    ToBroken,
}

impl Ready {
    pub(super) fn take(&mut self, flags: EventFlags) {
        self.readable |= flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        self.writable |= flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR);
        self.last |= flags.intersects(EventFlags::RDHUP | EventFlags::HUP);
        self.urgent |= flags.intersects(EventFlags::PRI);
    }
}

impl Stream {
    /// Nothing more goes this way.
    pub(super) fn abandon(&mut self, core: &mut Core) {
        self.state = State::Done;
        match self.held.take().map(|held| *held) {
            Some(Held::Spliced { pipe, .. }) => core.pipes.discard(pipe),
            Some(Held::Bytes { bytes, .. }) => core.held = core.held.saturating_sub(bytes.len()),
            None => {}
        }
    }
}

/// One direction, taken apart.
pub(super) struct Pump<'a> {
    pub(super) from: BorrowedFd<'a>,
    pub(super) to: BorrowedFd<'a>,
    pub(super) from_ready: &'a mut Ready,
    pub(super) to_ready: &'a mut Ready,
    pub(super) stream: &'a mut Stream,
    /// Of the way up.
    pub(super) writes: Option<&'a mut u8>,
    pub(super) reads: u64,
    pub(super) bytes: u64,
}

/// A step of a pump: go on, or stop so.
type Step = Result<(), Pumped>;

impl Pump<'_> {
    pub(super) fn run(&mut self, core: &mut Core) -> Pumped {
        for _ in 0..READS {
            let step = self.flush(core).and_then(|()| match self.stream.state {
                State::Open if !self.from_ready.readable => Err(Pumped::Waiting),
                State::Open if self.stream.bulk >= 2 => self.splice(core),
                State::Open => self.copy(core),
                State::Ended | State::Done => {
                    self.stream.state = State::Done;
                    Err(Pumped::Done)
                }
            });
            if let Err(pumped) = step {
                return pumped;
            }
        }
        Pumped::Again
    }

    fn copy(&mut self, core: &mut Core) -> Step {
        let limit = match self.stream.limit {
            0 if core.held < HELD => core.buffer.len(),
            0 => SLOW as usize,
            limit => limit as usize,
        };
        let room = core.buffer.get_mut(..limit).unwrap_or_default();
        let (_, count) = match recv(self.from, room, RecvFlags::DONTWAIT) {
            Ok(received) => received,
            Err(Errno::AGAIN) => {
                self.from_ready.readable = false;
                return Err(Pumped::Waiting);
            }
            Err(Errno::INTR) => return Ok(()),
            Err(_) => return Err(Pumped::FromBroken),
        };
        if count == 0 {
            self.stream.state = State::Ended;
            return Ok(());
        }
        // The buffer was not filled, so the queue is empty: the next byte is a new edge, and no further read is needed
        // to learn that.
        let emptied = count < limit && !self.from_ready.urgent;
        let last = emptied && self.from_ready.last;
        if emptied && !last {
            self.from_ready.readable = false;
        }
        if last {
            self.stream.state = State::Ended;
        }
        self.stream.bulk = if count >= BULK { self.stream.bulk.saturating_add(1) } else { 0 };
        self.reads += 1;
        self.bytes += count as u64;
        if count < TRICKLE {
            core.gathering.other(core.now);
        }
        self.before_write();
        let bytes = core.buffer.get(..count).unwrap_or_default();
        // The last bytes and the end of the stream go in one packet.
        let flags = SendFlags::NOSIGNAL | if last { SendFlags::MORE } else { SendFlags::empty() };
        let sent = match send(self.to, bytes, flags) {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => 0,
            Err(_) => return Err(Pumped::ToBroken),
        };
        if sent == count {
            // Twice as much next time, up to the whole buffer, which is written as 0.
            let doubled = self.stream.limit.saturating_mul(2);
            self.stream.limit = if doubled as usize >= core.buffer.len() { 0 } else { doubled };
            return Ok(());
        }
        self.stream.limit = SLOW;
        self.stream.bulk = 0;
        self.to_ready.writable = false;
        let rest = bytes.get(sent..).unwrap_or_default().to_vec();
        core.held += rest.len();
        core.held_peak = core.held_peak.max(core.held);
        self.stream.held = Some(Box::new(Held::Bytes { bytes: rest, from: 0 }));
        Err(Pumped::Waiting)
    }

    fn splice(&mut self, core: &mut Core) -> Step {
        let Some(pipe) = core.pipes.take() else {
            self.stream.bulk = 0;
            return Ok(());
        };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        match splice(self.from, None, &pipe.write, None, core.pipes.portion(), flags) {
            Ok(0) => {
                core.pipes.give(pipe);
                self.stream.state = State::Ended;
                Ok(())
            }
            Ok(length) => {
                self.reads += 1;
                self.bytes += length as u64;
                if length < TRICKLE {
                    self.stream.bulk = 0;
                }
                core.gathering.moved(length);
                self.before_write();
                self.stream.held = Some(Box::new(Held::Spliced { pipe, length }));
                Ok(())
            }
            Err(Errno::AGAIN) => {
                core.pipes.give(pipe);
                self.from_ready.readable = false;
                Err(Pumped::Waiting)
            }
            Err(Errno::INTR) => {
                core.pipes.give(pipe);
                Ok(())
            }
            Err(error) => {
                core.pipes.give(pipe);
                // A kernel or socket that cannot: copied from now on.
                self.stream.bulk = 0;
                if error == Errno::INVAL { Ok(()) } else { Err(Pumped::FromBroken) }
            }
        }
    }

    /// Writes what is held.
    fn flush(&mut self, core: &mut Core) -> Step {
        let Some(held) = &mut self.stream.held else { return Ok(()) };
        if !self.to_ready.writable {
            return Err(Pumped::Waiting);
        }
        loop {
            let written = match &mut **held {
                Held::Bytes { bytes, from } => {
                    send(self.to, bytes.get(*from..).unwrap_or_default(), SendFlags::NOSIGNAL)
                }
                Held::Spliced { pipe, length } => {
                    splice(&pipe.read, None, self.to, None, *length, SpliceFlags::MOVE | SpliceFlags::NONBLOCK)
                }
            };
            let written = match written {
                Ok(written) => written,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN | Errno::NOBUFS) => {
                    self.to_ready.writable = false;
                    return Err(Pumped::Waiting);
                }
                Err(_) => return Err(Pumped::ToBroken),
            };
            let empty = match &mut **held {
                Held::Bytes { bytes, from } => {
                    *from += written;
                    *from >= bytes.len()
                }
                Held::Spliced { length, .. } => {
                    *length = length.saturating_sub(written);
                    *length == 0
                }
            };
            if empty {
                break;
            }
        }
        match self.stream.held.take().map(|held| *held) {
            Some(Held::Spliced { pipe, .. }) => core.pipes.give(pipe),
            Some(Held::Bytes { bytes, .. }) => core.held = core.held.saturating_sub(bytes.len()),
            None => {}
        }
        Ok(())
    }

    /// The first write to a real server is never delayed: nothing is on its way. Short connections need no more.
    fn before_write(&mut self) {
        if let Some(writes) = &mut self.writes {
            if **writes == 1 {
                let _ = sockopt::set_tcp_nodelay(self.to, true);
            }
            **writes = writes.saturating_add(1).min(2);
        }
    }
}
