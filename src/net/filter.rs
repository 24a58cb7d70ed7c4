//! Keeps packets to virtual addresses away that this router must not accept: the [`nft`] table and what is in it.
//!
//! Shell, owned by the address writer. An address that stands unfiltered for a moment answers what it must not: elements
//! come before their addresses and go after them. A kernel without nftables costs one warning and no address.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::vrrp::config::FilterConfig;

use super::netlink::{NetlinkSocket, Read};
use super::nft::{self, Blocked, ELEMENTS_PER_BATCH};
use super::rtnl::Notice;
use super::write_queue::{Change, Owner};

/// Room for the answers of a batch: one, or one for each message that is wrong.
const RECEIVE_BUFFER: usize = 256 << 10;

/// The table and its elements.
#[derive(Debug, Default)]
pub struct Filter {
    config: FilterConfig,
    socket: Option<NetlinkSocket>,
    sequence: u32,
    /// How many of `asked` and `carried_out` need it. No element leaves before its count is gone.
    needed: BTreeMap<Blocked, usize>,
    /// The newest wish of each owner.
    asked: BTreeMap<Owner, BTreeSet<Blocked>>,
    /// What each owner's addresses on the links need.
    carried_out: BTreeMap<Owner, BTreeSet<Blocked>>,
    standing: BTreeSet<Blocked>,
    table: Table,
    told: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Table {
    /// A predecessor that was killed may have left one.
    #[default]
    Unknown,
    Absent,
    Built,
}

impl Filter {
    /// Takes up other settings, and moves the table if they changed.
    pub fn set_config(&mut self, config: &FilterConfig) {
        if self.config == *config {
            return;
        }
        let was_built = self.table == Table::Built;
        if was_built && self.config.table != config.table {
            self.remove_table();
        }
        self.config = config.clone();
        if was_built {
            self.rebuild();
        }
    }

    /// A change was queued.
    pub fn ask(&mut self, owner: Owner, change: &Change) {
        let blocked = blocked(change);
        replace(&mut self.needed, &mut self.asked, owner, blocked);
    }

    /// To be called before a change is carried out: everything that is asked for is filtered from now on.
    pub fn before(&mut self) {
        let missing: Vec<Blocked> = self.needed.keys().filter(|b| !self.standing.contains(b)).copied().collect();
        match self.table {
            Table::Unknown | Table::Absent if missing.is_empty() => {}
            Table::Unknown | Table::Absent => self.rebuild(),
            Table::Built => {
                for part in missing.chunks(ELEMENTS_PER_BATCH) {
                    let sequence = self.next_sequence();
                    if self.send(&nft::add(sequence, &self.config.table, part)).is_err() {
                        // Somebody flushed the rule set, ours with it.
                        return self.rebuild();
                    }
                    self.standing.extend(part);
                }
            }
        }
    }

    /// To be called after a change was carried out: what no address needs any longer goes.
    pub fn after(&mut self, owner: Owner, change: &Change) {
        let blocked = blocked(change);
        replace(&mut self.needed, &mut self.carried_out, owner, blocked);
        match self.table {
            Table::Built => {}
            Table::Absent => return,
            Table::Unknown => return self.remove_table(),
        }
        let superfluous: Vec<Blocked> =
            self.standing.iter().filter(|b| !self.needed.contains_key(b)).copied().collect();
        for part in superfluous.chunks(ELEMENTS_PER_BATCH) {
            let sequence = self.next_sequence();
            if self.send(&nft::remove(sequence, &self.config.table, part)).is_err() {
                return self.rebuild();
            }
            part.iter().for_each(|blocked| _ = self.standing.remove(blocked));
        }
    }

    /// At the end.
    pub fn close(&mut self) {
        if self.table == Table::Built {
            self.remove_table();
        }
    }

    /// Removes the table, ours or a dead predecessor's.
    fn remove_table(&mut self) {
        let sequence = self.next_sequence();
        let request = nft::delete_table(sequence, &self.config.table);
        if let Err(error) = self.send(&request) {
            tracing::debug!("nftables table inet {}: {error}", self.config.table);
        }
        self.standing.clear();
        self.table = Table::Absent;
    }

    fn rebuild(&mut self) {
        let all: Vec<Blocked> = self.needed.keys().copied().collect();
        self.standing.clear();
        let mut parts = all.chunks(ELEMENTS_PER_BATCH);
        let first = parts.next().unwrap_or_default();
        let sequence = self.next_sequence();
        let request = nft::rebuild(sequence, &self.config, first);
        let mut result = self.send(&request);
        for part in parts {
            if result.is_ok() {
                let sequence = self.next_sequence();
                result = self.send(&nft::add(sequence, &self.config.table, part));
            }
        }
        match result {
            Ok(()) => {
                self.table = Table::Built;
                self.standing.extend(all);
                self.told = false;
            }
            Err(error) => {
                // Half a table is none: all of it is tried again with the next change.
                self.remove_table();
                if !self.told {
                    let table = &self.config.table;
                    tracing::warn!(
                        "nftables: table inet {table} cannot be set up: {error}; \
                         packets to virtual addresses are accepted in spite of no_accept"
                    );
                }
                self.told = true;
            }
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    /// Sends a batch. The kernel carries it out while it is sent, and its answer is there afterwards.
    fn send(&mut self, batch: &[u8]) -> io::Result<()> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            empty => empty.insert(NetlinkSocket::open_netfilter(RECEIVE_BUFFER)?),
        };
        let result = exchange(socket, batch, self.sequence);
        if result.is_err() {
            // Answers that were not read would be taken for those of the next batch.
            self.socket = None;
        }
        result
    }
}

/// Sends a batch of this sequence number and reads its answer.
pub(crate) fn exchange(socket: &mut NetlinkSocket, batch: &[u8], expected: u32) -> io::Result<()> {
    socket.send(batch)?;
    loop {
        match socket.read()? {
            Read::Nothing => return Err(io::Error::other("the kernel did not answer")),
            Read::Overrun => return Err(io::Error::other("the kernel's answers were lost")),
            Read::Messages(messages) => {
                for message in messages.into_iter().filter(|message| message.sequence == expected) {
                    match message.notice {
                        Notice::Answer { errno: 0, .. } => return Ok(()),
                        Notice::Answer { errno, text } => {
                            let error = io::Error::from_raw_os_error(errno);
                            return Err(text.map_or(error, io::Error::other));
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

fn blocked(change: &Change) -> BTreeSet<Blocked> {
    change.present.iter().filter_map(Blocked::of).collect()
}

/// Most owners need nothing and have no entry.
fn replace(
    needed: &mut BTreeMap<Blocked, usize>,
    by_owner: &mut BTreeMap<Owner, BTreeSet<Blocked>>,
    owner: Owner,
    new: BTreeSet<Blocked>,
) {
    for blocked in &new {
        *needed.entry(*blocked).or_default() += 1;
    }
    let old = if new.is_empty() { by_owner.remove(&owner) } else { by_owner.insert(owner, new) };
    for blocked in old.unwrap_or_default() {
        if let Some(count) = needed.get_mut(&blocked) {
            *count -= 1;
            if *count == 0 {
                needed.remove(&blocked);
            }
        }
    }
}
