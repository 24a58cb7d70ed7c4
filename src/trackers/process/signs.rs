//! What wakes the watcher of processes: the kernel's news, and the deaths of the processes that count.
//!
//! Shell: owns the connector and the pidfds, in one epoll set. A pidfd tells of a death at once wherever we run; the
//! connector tells of births too, where it works.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::connector::{Connector, Read};
use super::table::Table;
use crate::net::sys::Readiness;

/// Descriptors are few: deaths of more processes than this are found by news, or by looking.
const MOST_WATCHED: usize = 256;

/// The connector and the pidfds.
#[derive(Debug)]
pub struct Signs {
    readiness: Readiness,
    connector: Option<Connector>,
    watched: BTreeMap<u32, OwnedFd>,
}

impl Signs {
    /// None yet.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { readiness: Readiness::new()?, connector: None, watched: BTreeMap::new() })
    }

    /// Listens to the connector, too.
    ///
    /// # Errors
    /// The kernel has no memory.
    pub fn listen(&mut self, connector: Connector) -> io::Result<()> {
        self.readiness.add(&connector)?;
        self.connector = Some(connector);
        Ok(())
    }

    /// Does not listen to the connector any longer.
    pub fn stop_listening(&mut self) {
        self.connector = None;
    }

    /// Waits for a sign.
    ///
    /// # Errors
    /// The reactor is gone.
    pub async fn wait(&self) -> io::Result<()> {
        self.readiness.wait().await
    }

    /// The news that are waiting.
    ///
    /// # Errors
    /// The connector broke.
    pub fn read_news(&self) -> io::Result<Read> {
        self.connector.as_ref().map_or_else(|| Ok(Read::News(Vec::new())), Connector::read)
    }

    /// The watched processes that are dead. They are not watched any longer: a look says what became of them.
    pub fn deaths(&mut self) -> Vec<u32> {
        let mut set: Vec<PollFd<'_>> =
            self.watched.values().map(|pidfd| PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)).collect();
        if !matches!(poll(&mut set, PollTimeout::ZERO), Ok(1..)) {
            return Vec::new();
        }
        let ready: Vec<bool> = set.iter().map(|pidfd| pidfd.any().unwrap_or(false)).collect();
        let dead = self.watched.keys().zip(ready).filter(|(_, ready)| *ready);
        let dead: Vec<u32> = dead.map(|(process, _)| *process).collect();
        for process in &dead {
            self.watched.remove(process);
        }
        dead
    }

    /// Watches the processes of the table, as many as may be.
    pub fn watch(&mut self, table: &Table) {
        self.watched.retain(|process, _| table.contains(*process));
        for process in table.processes() {
            if self.watched.len() >= MOST_WATCHED {
                break;
            }
            // Dead already, or no descriptor is left: a look finds out.
            if !self.watched.contains_key(&process)
                && let Ok(pidfd) = pidfd_open(process)
                && self.readiness.add(&pidfd).is_ok()
            {
                self.watched.insert(process, pidfd);
            }
        }
    }
}

/// A descriptor that can be read when the process is dead, all its threads too.
#[allow(unsafe_code)]
fn pidfd_open(process: u32) -> io::Result<OwnedFd> {
    let process = libc::pid_t::try_from(process).map_err(io::Error::other)?;
    // SAFETY: two plain numbers; the kernel touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
