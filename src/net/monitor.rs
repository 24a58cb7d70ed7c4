//! Watches links and addresses: a dump, then the kernel's notifications; after an overrun a dump again.
//!
//! Shell. Dump and notifications come through one socket, so that their order is the order of events.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::links::{LinkChange, LinkTable};
use super::netlink::{NetlinkSocket, Read};
use super::rtnl::{self, Notice};

/// Enough for the notifications of some ten thousand addresses that change at once.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Datagrams per call of [`Monitor::drain`]: adverts must not wait behind a storm of notifications.
const PER_TURN: usize = 256;
/// A table that changes during each of so many dumps is taken as it is.
const MOST_RETRIES: u32 = 5;

/// Owns the notification socket and the table.
#[derive(Debug)]
pub struct Monitor {
    socket: NetlinkSocket,
    table: LinkTable,
    dump: Option<Dump>,
    /// Ask again when the socket is empty: the kernel was still busy with a dump that was given up.
    again: bool,
    /// Nothing more waited when the socket was read last.
    is_empty: bool,
    sequence: u32,
}

#[derive(Debug)]
struct Dump {
    sequence: u32,
    part: Part,
    interrupted: bool,
    retries: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Links,
    Addresses,
}

impl Monitor {
    /// Opens the socket and asks for the first dump.
    ///
    /// # Errors
    /// No netlink socket.
    pub fn open() -> io::Result<Self> {
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        let socket = NetlinkSocket::open(groups.cast_unsigned(), RECEIVE_BUFFER)?;
        let mut monitor =
            Self { socket, table: LinkTable::default(), dump: None, again: false, is_empty: true, sequence: 0 };
        monitor.begin_dump(0)?;
        Ok(monitor)
    }

    /// Reads until the first dump is complete. For the start only: this waits for the kernel.
    ///
    /// # Errors
    /// The socket broke, or the kernel does not answer.
    pub fn load(&mut self, patience: Duration) -> io::Result<Vec<LinkChange>> {
        let patience = PollTimeout::try_from(patience).map_err(io::Error::other)?;
        while self.dump.is_some() || self.again {
            self.read_some()?;
            if self.dump.is_some() || self.again {
                let mut set = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
                if poll(&mut set, patience)? == 0 {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel does not list its links"));
                }
            }
        }
        Ok(self.table.poll_changes())
    }

    /// Reads what is waiting and says what changed.
    ///
    /// # Errors
    /// The socket broke.
    pub fn drain(&mut self) -> io::Result<Vec<LinkChange>> {
        self.read_some()?;
        Ok(self.table.poll_changes())
    }

    /// Whether the last look left nothing unread: then the table has all that the kernel had told by then.
    pub fn is_current(&self) -> bool {
        self.is_empty && self.dump.is_none() && !self.again
    }

    /// What is known.
    pub fn table(&self) -> &LinkTable {
        &self.table
    }

    fn read_some(&mut self) -> io::Result<()> {
        self.is_empty = false;
        for _ in 0..PER_TURN {
            match self.socket.read()? {
                Read::Nothing if self.again => {
                    self.again = false;
                    self.begin_dump(0)?;
                }
                Read::Nothing => {
                    self.is_empty = true;
                    break;
                }
                Read::Overrun => {
                    tracing::debug!("lost link notifications, asking the kernel for all links and addresses");
                    // The kernel does one dump at a time for each socket, and its refusal may be lost as well.
                    if self.dump.is_some() { self.again = true } else { self.begin_dump(0)? }
                }
                Read::Messages(messages) => {
                    for message in messages {
                        self.handle(message)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn handle(&mut self, message: rtnl::Message) -> io::Result<()> {
        let ours = self.dump.as_mut().filter(|d| d.sequence == message.sequence);
        match (message.notice, ours) {
            (Notice::Done | Notice::Answer { errno: 0, .. }, Some(dump)) => {
                dump.interrupted |= message.interrupted;
                self.next_part()
            }
            (Notice::Answer { errno, .. }, Some(_)) => {
                if errno != libc::EBUSY {
                    tracing::warn!("the kernel does not list its links: {}", io::Error::from_raw_os_error(errno));
                }
                self.again = true;
                Ok(())
            }
            (Notice::Done, None) => {
                self.again |= self.dump.is_some();
                Ok(())
            }
            (Notice::Answer { .. }, None) => Ok(()),
            (notice, ours) => {
                if let Some(dump) = ours {
                    dump.interrupted |= message.interrupted;
                }
                self.table.apply(notice);
                Ok(())
            }
        }
    }

    fn begin_dump(&mut self, retries: u32) -> io::Result<()> {
        self.table.begin_dump();
        self.request(Part::Links, false, retries)
    }

    fn next_part(&mut self) -> io::Result<()> {
        match self.dump.take() {
            Some(Dump { part: Part::Links, interrupted, retries, .. }) => {
                self.request(Part::Addresses, interrupted, retries)
            }
            Some(Dump { interrupted: true, retries, .. }) if retries < MOST_RETRIES => self.begin_dump(retries + 1),
            Some(_) => {
                self.table.end_dump();
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn request(&mut self, part: Part, interrupted: bool, retries: u32) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let sequence = self.sequence;
        let request = match part {
            Part::Links => rtnl::dump_links(sequence),
            Part::Addresses => rtnl::dump_addresses(sequence),
        };
        if let Err(e) = self.socket.send(&request) {
            tracing::warn!("cannot ask the kernel for its links: {e}");
            self.again = true;
            return Ok(());
        }
        self.dump = Some(Dump { sequence, part, interrupted, retries });
        Ok(())
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
