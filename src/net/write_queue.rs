//! The order of address changes and announcements: what waits, what replaces what, what is no longer true.
//!
//! Pure. Bounded by the number of owners: each has at most one change and one announcement waiting.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use crate::vrrp::engine::BoundAddress;
use crate::vrrp::types::{IfIndex, InstanceId};

/// Room kept for what waits.
const MOST_ROOM: usize = 64;

/// Whose addresses they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A virtual router's.
    Instance(InstanceId),
    /// `static_ipaddress`.
    Static,
    /// A former configuration's.
    Former,
}

/// Addresses to have and not to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Increases with each change of the owner.
    pub generation: u64,
    /// Must exist.
    pub present: Vec<BoundAddress>,
    /// Must not.
    pub absent: Vec<BoundAddress>,
}

/// Addresses to make known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The instance.
    pub instance: InstanceId,
    /// Where and what.
    pub addresses: Vec<(IfIndex, IpAddr)>,
    /// Packets for each.
    pub repeat: u32,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    /// Write addresses.
    Change(Owner, Change),
    /// Announce addresses.
    Announce(Announcement),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ticket {
    Change(Owner),
    Announce(InstanceId),
}

/// The queue.
#[derive(Debug, Default)]
pub struct WriteQueue {
    order: VecDeque<Ticket>,
    changes: BTreeMap<Owner, Change>,
    announcements: BTreeMap<InstanceId, Announcement>,
}

impl WriteQueue {
    /// Queues a change. One that still waits is replaced where it stands; what that one would have removed and the new
    /// one does not mention is removed all the same. An announcement that still waits says no more than will be there.
    pub fn push_change(&mut self, owner: Owner, mut change: Change) {
        if let Owner::Instance(instance) = owner
            && let Some(waiting) = self.announcements.get_mut(&instance)
        {
            let stays = |subject| change.present.iter().any(|b| (b.interface, b.config.address) == subject);
            waiting.addresses.retain(|subject| stays(*subject));
        }
        match self.changes.remove(&owner) {
            Some(replaced) => {
                let key =
                    |b: &BoundAddress| (b.interface, b.config.address, b.config.prefix_len, b.config.options.peer);
                let known: std::collections::BTreeSet<_> =
                    change.present.iter().chain(&change.absent).map(key).collect();
                change.absent.extend(replaced.absent.into_iter().filter(|a| !known.contains(&key(a))));
            }
            None => self.order.push_back(Ticket::Change(owner)),
        }
        self.changes.insert(owner, change);
    }

    /// Queues an announcement of what the latest change has put there, behind all that waits. One of the same instance that
    /// still waits is joined to it.
    pub fn push_announcement(&mut self, mut announcement: Announcement) {
        let instance = announcement.instance;
        if let Some(waiting) = self.announcements.remove(&instance) {
            self.order.retain(|t| *t != Ticket::Announce(instance));
            let new: std::collections::BTreeSet<_> = announcement.addresses.iter().copied().collect();
            announcement.addresses.extend(waiting.addresses.into_iter().filter(|a| !new.contains(a)));
            announcement.repeat = announcement.repeat.max(waiting.repeat);
        }
        self.order.push_back(Ticket::Announce(instance));
        self.announcements.insert(instance, announcement);
    }

    /// Forgets the announcements of an instance that still wait.
    pub fn forget_announcement(&mut self, instance: InstanceId) {
        self.announcements.remove(&instance);
        self.order.retain(|ticket| *ticket != Ticket::Announce(instance));
    }

    /// What to do next.
    pub fn pop(&mut self) -> Option<Work> {
        while let Some(ticket) = self.order.pop_front() {
            match ticket {
                Ticket::Change(owner) => {
                    if let Some(change) = self.changes.remove(&owner) {
                        return Some(Work::Change(owner, change));
                    }
                }
                Ticket::Announce(instance) => {
                    let waiting = self.announcements.remove(&instance);
                    if let Some(announcement) = waiting.filter(|waiting| !waiting.addresses.is_empty()) {
                        return Some(Work::Announce(announcement));
                    }
                }
            }
        }
        // A thousand takeovers at once leave much room behind.
        self.order.shrink_to(MOST_ROOM);
        None
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use crate::vrrp::config::AddressConfig;

    use super::*;

    const VI: InstanceId = InstanceId(1);
    const OWNER: Owner = Owner::Instance(VI);
    const ETH: IfIndex = IfIndex(2);

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn bound(last: u8) -> BoundAddress {
        BoundAddress { interface: ETH, config: AddressConfig::new(ip(last)), accept: true, own: false }
    }

    fn change(generation: u64, present: &[u8], absent: &[u8]) -> Change {
        let list = |l: &[u8]| l.iter().map(|a| bound(*a)).collect();
        Change { generation, present: list(present), absent: list(absent) }
    }

    fn announce(addresses: &[u8], repeat: u32) -> Announcement {
        let addresses = addresses.iter().map(|a| (ETH, ip(*a))).collect();
        Announcement { instance: VI, addresses, repeat }
    }

    #[test]
    fn an_announcement_comes_after_its_addresses_and_only_if_they_are_still_wanted() {
        let mut queue = WriteQueue::default();
        queue.push_change(OWNER, change(1, &[1, 2], &[]));
        queue.push_announcement(announce(&[1, 2], 5));
        assert_eq!(queue.pop(), Some(Work::Change(OWNER, change(1, &[1, 2], &[]))));
        queue.push_change(OWNER, change(2, &[2], &[1]));
        assert_eq!(queue.pop(), Some(Work::Announce(announce(&[2], 5))), "1 goes, 2 stays");
        queue.push_announcement(announce(&[2], 5));
        queue.push_change(OWNER, change(3, &[], &[1, 2]));
        assert!(matches!(queue.pop(), Some(Work::Change(OWNER, c)) if c.generation == 3));
        assert_eq!(queue.pop(), None);
        assert!(queue.is_empty());
    }

    #[test]
    fn the_newest_change_replaces_a_waiting_one_and_inherits_its_removals() {
        let mut queue = WriteQueue::default();
        queue.push_change(OWNER, change(1, &[1], &[7, 8]));
        queue.push_change(Owner::Static, change(1, &[9], &[]));
        queue.push_change(OWNER, change(2, &[7], &[1]));
        assert_eq!(queue.pop(), Some(Work::Change(OWNER, change(2, &[7], &[1, 8]))));
        assert_eq!(queue.pop(), Some(Work::Change(Owner::Static, change(1, &[9], &[]))));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn announcements_of_one_instance_join() {
        let mut queue = WriteQueue::default();
        for _ in 0..1000 {
            queue.push_announcement(announce(&[1, 2], 1));
        }
        queue.push_announcement(announce(&[2, 3], 5));
        assert_eq!(queue.pop(), Some(Work::Announce(announce(&[2, 3, 1], 5))));
        assert_eq!(queue.pop(), None);
    }
}
