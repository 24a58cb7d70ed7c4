//! The address writer: one strictly ordered queue of address changes and announcements.
//!
//! Shell. Requests go out in batches and their answers are read together, so that a thousand addresses take
//! milliseconds; a batch is short, so that adverts are read between two of them. The kernel carries requests out while
//! they are sent, and nothing is ever written out of order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use crate::vrrp::config::FilterConfig;
use crate::vrrp::types::{IfIndex, InstanceId};

use super::filter::Filter;
use super::links::LinkTable;
use super::netlink::{NetlinkSocket, Read};
use super::plan::{Installed, Step, plan};
use super::rtnl::Notice;
use super::write_queue::{Announcement, Change, Owner, Work, WriteQueue};

/// Requests in one batch: some hundred microseconds to some milliseconds in the kernel.
const BATCH: usize = 64;
/// Room for the answers of a batch many times over.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Times that a batch is sent again when its answers were lost. Requests may be repeated harmlessly.
const MOST_RETRIES: u32 = 3;

/// Owns the queue, its netlink socket and the packet filter.
#[derive(Debug)]
pub struct AddressWriter {
    socket: NetlinkSocket,
    queue: WriteQueue,
    running: Option<Running>,
    /// Addresses that the kernel refused last time: announcing them would draw traffic that nobody takes.
    refused: BTreeMap<Owner, BTreeSet<(IfIndex, IpAddr)>>,
    installed: Installed,
    filter: Filter,
    sequence: u32,
}

#[derive(Debug)]
struct Running {
    owner: Owner,
    change: Change,
    steps: VecDeque<Step>,
    outstanding: BTreeMap<u32, Step>,
    retries: u32,
    failures: Vec<String>,
    refused: BTreeSet<(IfIndex, IpAddr)>,
}

/// What the writer has come to.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    /// A change is in place, but for these failures.
    Synced {
        /// Whose.
        owner: Owner,
        /// Its generation.
        generation: u64,
        /// One sentence for each request that the kernel refused.
        failures: Vec<String>,
    },
    /// The addresses of this announcement are in place: send it.
    Announce(Announcement),
}

impl AddressWriter {
    /// Opens the socket.
    ///
    /// # Errors
    /// No netlink socket.
    pub fn open() -> io::Result<Self> {
        let socket = NetlinkSocket::open(0, RECEIVE_BUFFER)?;
        Ok(Self {
            socket,
            queue: WriteQueue::default(),
            running: None,
            refused: BTreeMap::new(),
            installed: Installed::default(),
            filter: Filter::default(),
            sequence: 0,
        })
    }

    /// How packets to addresses that are not accepted are dropped.
    pub fn set_filter(&mut self, config: &FilterConfig) {
        self.filter.set_config(config);
    }

    /// Takes the filter away, after the last address.
    pub fn remove_filter(&mut self) {
        self.filter.close();
    }

    /// Queues a change.
    pub fn sync(&mut self, owner: Owner, change: Change) {
        self.filter.ask(owner, &change);
        self.queue.push_change(owner, change);
    }

    /// Queues an announcement behind the changes before it.
    pub fn announce(&mut self, announcement: Announcement) {
        self.queue.push_announcement(announcement);
    }

    /// Forgets the announcements of an instance that still wait.
    pub fn forget_announcement(&mut self, instance: InstanceId) {
        self.queue.forget_announcement(instance);
    }

    /// Whether everything is written.
    pub fn is_idle(&self) -> bool {
        self.running.is_none() && self.queue.is_empty()
    }

    /// Whether there is something to do without waiting for the kernel.
    pub fn wants_turn(&self) -> bool {
        self.running.as_ref().map_or(!self.queue.is_empty(), |r| r.outstanding.is_empty())
    }

    /// Goes on: at most one batch. `links` should be up to date.
    ///
    /// # Errors
    /// The socket broke; what was running is then given up and reported as failed.
    pub fn advance(&mut self, links: &LinkTable) -> io::Result<Vec<Written>> {
        let mut written = Vec::new();
        if self.running.is_none() {
            match self.queue.pop() {
                None => {}
                Some(Work::Announce(mut announcement)) => {
                    if let Some(refused) = self.refused.get(&Owner::Instance(announcement.instance)) {
                        announcement.addresses.retain(|a| !refused.contains(a));
                    }
                    written.push(Written::Announce(announcement));
                }
                Some(Work::Change(owner, change)) => self.start(owner, change, links),
            }
        }
        if let Some(mut running) = self.running.take() {
            if let Err(e) = self.step(&mut running, links) {
                running.give_up(&e, links);
            }
            if running.steps.is_empty() && running.outstanding.is_empty() {
                let Running { owner, change, failures, refused, .. } = running;
                self.filter.after(owner, &change);
                if refused.is_empty() {
                    self.refused.remove(&owner);
                } else {
                    self.refused.insert(owner, refused);
                }
                let generation = change.generation;
                written.push(Written::Synced { owner, generation, failures });
            } else {
                self.running = Some(running);
            }
        }
        Ok(written)
    }

    fn start(&mut self, owner: Owner, change: Change, links: &LinkTable) {
        self.filter.before();
        self.running = Some(Running {
            owner,
            steps: plan(links, &self.installed, &change.present, &change.absent).into(),
            change,
            outstanding: BTreeMap::new(),
            retries: 0,
            failures: Vec::new(),
            refused: BTreeSet::new(),
        });
    }

    fn step(&mut self, running: &mut Running, links: &LinkTable) -> io::Result<()> {
        if running.outstanding.is_empty() {
            let mut batch = Vec::new();
            while running.outstanding.len() < BATCH
                && let Some(step) = running.steps.pop_front()
            {
                self.sequence = self.sequence.wrapping_add(1).max(1);
                batch.extend(step.encode(self.sequence));
                running.outstanding.insert(self.sequence, step);
            }
            if batch.is_empty() {
                return Ok(());
            }
            self.socket.send(&batch)?;
        }
        loop {
            match self.socket.read()? {
                Read::Nothing => return Ok(()),
                Read::Overrun if running.retries < MOST_RETRIES => running.again(),
                Read::Overrun => return Err(io::Error::other("the kernel's answers were lost")),
                Read::Messages(messages) => {
                    for message in messages {
                        if let Notice::Answer { errno, text } = message.notice {
                            running.answered(message.sequence, errno, text, links, &mut self.installed);
                        }
                    }
                    if running.outstanding.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

impl Running {
    fn answered(
        &mut self,
        sequence: u32,
        errno: i32,
        text: Option<String>,
        links: &LinkTable,
        installed: &mut Installed,
    ) {
        let Some(step) = self.outstanding.remove(&sequence) else { return };
        if errno == 0 {
            installed.done(&step);
        } else if !step.is_satisfied_by(errno) {
            let why = text.unwrap_or_else(|| io::Error::from_raw_os_error(errno).to_string());
            self.fail(&step, &why, links);
        }
    }

    fn fail(&mut self, step: &Step, why: &str, links: &LinkTable) {
        self.failures.push(format!("{}: {why}", step.describe(links)));
        if matches!(step, Step::Add(_)) {
            self.refused.insert(step.subject());
        }
    }

    /// Sends what was not answered once more. The order stays.
    fn again(&mut self) {
        self.retries += 1;
        for step in std::mem::take(&mut self.outstanding).into_values().rev() {
            self.steps.push_front(step);
        }
    }

    fn give_up(&mut self, error: &io::Error, links: &LinkTable) {
        let why = error.to_string();
        let steps: Vec<_> = std::mem::take(&mut self.outstanding).into_values().chain(self.steps.drain(..)).collect();
        for step in steps {
            self.fail(&step, &why, links);
        }
    }
}

impl AsFd for AddressWriter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
