//! Pipes that `splice` moves bulk data through without copying it.
//!
//! Shell: owns descriptors. A connection has one only while it moves data or has some in it; between that they wait
//! here for the next. Their number is bounded, because each costs two descriptors and what is in it is pinned memory.

use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// Four times fewer system calls for each byte than the kernel's default of 64 KiB.
const SIZE: usize = 1 << 20;
/// Pipes of one thread at a time.
const LIMIT: usize = 64;
/// So many pipes may be filled as far as they go: the fewer system calls, the fewer packets are handled one by one.
const WIDE: usize = 8;
/// What each of these holds at most; 256 places with a large packet in each.
const MUCH: usize = 4 << 20;
/// What the others hold: all pipes of a thread together pin some 60 MiB.
const LESS: usize = 512 << 10;
/// Pipes kept when nobody needs them.
const KEPT: usize = 2;

/// A pipe. Whoever gives it back has emptied it.
#[derive(Debug)]
pub struct Pipe {
    /// Data comes out here.
    pub read: OwnedFd,
    /// And goes in here.
    pub write: OwnedFd,
}

/// The pipes of one thread.
#[derive(Debug, Default)]
pub struct Pipes {
    free: Vec<Pipe>,
    out: usize,
}

impl Pipes {
    /// An empty pipe, if there may be another one.
    pub fn take(&mut self) -> Option<Pipe> {
        if self.out >= LIMIT {
            return None;
        }
        let pipe = self.free.pop().or_else(|| {
            let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
            // Refused beyond /proc/sys/fs/pipe-user-pages-soft without CAP_SYS_RESOURCE: then it has the usual size.
            let _ = fcntl_setpipe_size(&write, SIZE);
            Some(Pipe { read, write })
        })?;
        self.out += 1;
        Some(pipe)
    }

    /// How much to put into the pipe that was just taken.
    pub fn portion(&self) -> usize {
        if self.out <= WIDE { MUCH } else { LESS }
    }

    /// An empty pipe comes back.
    pub fn give(&mut self, pipe: Pipe) {
        self.out = self.out.saturating_sub(1);
        self.free.push(pipe);
    }

    /// A pipe with something in it is closed, and that thrown away.
    pub fn discard(&mut self, pipe: Pipe) {
        self.out = self.out.saturating_sub(1);
        drop(pipe);
    }

    /// Closes what nobody needs. Answers whether there was something.
    pub fn trim(&mut self) -> bool {
        let many = self.free.len() > KEPT;
        self.free.truncate(KEPT);
        many
    }
}
