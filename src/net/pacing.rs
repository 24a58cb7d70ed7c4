//! When each gratuitous ARP and unsolicited NA goes out.
//!
//! Pure: time is passed in. One lane for each interface and family; a lane sends one packet for each address before it
//! repeats any, and never two within the configured interval. Bounded by the number of addresses: an address that is
//! announced again while it waits is not queued twice.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::vrrp::types::{Family, IfIndex, InstanceId};

/// After the interface refused a packet because its queue was full.
const RETRY_AFTER: Duration = Duration::from_millis(10);
/// Refusals in a row after which a packet is given up.
const MOST_ATTEMPTS: u32 = 5;

/// One packet to send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shot {
    /// On whose behalf.
    pub instance: InstanceId,
    /// Where.
    pub interface: IfIndex,
    /// What.
    pub address: IpAddr,
    attempts: u32,
}

/// All lanes.
#[derive(Debug, Default)]
pub struct PacingQueue {
    lanes: BTreeMap<(IfIndex, Family), Lane>,
    garp_interval: Duration,
    gna_interval: Duration,
}

#[derive(Debug, Default)]
struct Lane {
    order: VecDeque<(InstanceId, IpAddr)>,
    waiting: BTreeMap<(InstanceId, IpAddr), Waiting>,
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    remaining: u32,
    attempts: u32,
}

impl PacingQueue {
    /// Smallest spacing on one interface (`vrrp_garp_interval`, `vrrp_gna_interval`).
    pub fn set_intervals(&mut self, garp: Duration, gna: Duration) {
        self.garp_interval = garp;
        self.gna_interval = gna;
    }

    /// `repeat` packets for an address; the larger number counts if some still wait.
    pub fn push(&mut self, instance: InstanceId, interface: IfIndex, address: IpAddr, repeat: u32) {
        if repeat == 0 {
            return;
        }
        let lane = self.lanes.entry((interface, Family::of(address))).or_default();
        let key = (instance, address);
        match lane.waiting.get_mut(&key) {
            Some(waiting) => waiting.remaining = waiting.remaining.max(repeat),
            None => {
                lane.waiting.insert(key, Waiting { remaining: repeat, attempts: 0 });
                lane.order.push_back(key);
            }
        }
    }

    /// Forgets what this instance still wanted to announce and is no longer true.
    pub fn retain(&mut self, instance: InstanceId, mut is_true: impl FnMut(IfIndex, IpAddr) -> bool) {
        for ((interface, _), lane) in &mut self.lanes {
            lane.waiting.retain(|(i, address), _| *i != instance || is_true(*interface, *address));
            lane.order.retain(|key| lane.waiting.contains_key(key));
        }
        self.lanes.retain(|_, lane| !lane.waiting.is_empty() || lane.not_before.is_some());
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.lanes.clear();
    }

    /// The next packet that may go out now.
    pub fn poll(&mut self, now: Instant) -> Option<Shot> {
        for ((interface, family), lane) in &mut self.lanes {
            if lane.not_before.is_some_and(|at| at > now) {
                continue;
            }
            lane.not_before = None;
            let Some(key) = lane.order.pop_front() else { continue };
            let Some(waiting) = lane.waiting.get_mut(&key) else { continue };
            let attempts = waiting.attempts;
            waiting.remaining -= 1;
            if waiting.remaining == 0 {
                lane.waiting.remove(&key);
            } else {
                lane.order.push_back(key);
            }
            let interval = match family {
                Family::V4 => self.garp_interval,
                Family::V6 => self.gna_interval,
            };
            lane.not_before = (!interval.is_zero()).then(|| now + interval);
            return Some(Shot { instance: key.0, interface: *interface, address: key.1, attempts });
        }
        self.lanes.retain(|_, lane| !lane.waiting.is_empty() || lane.not_before.is_some());
        None
    }

    /// The interface's queue was full: the packet goes first in a moment. `false` when it is given up.
    pub fn refused(&mut self, now: Instant, shot: Shot) -> bool {
        let lane = self.lanes.entry((shot.interface, Family::of(shot.address))).or_default();
        lane.not_before = Some(now + RETRY_AFTER);
        let attempts = shot.attempts + 1;
        if attempts >= MOST_ATTEMPTS {
            return false;
        }
        let key = (shot.instance, shot.address);
        let waiting = lane.waiting.entry(key).or_insert(Waiting { remaining: 0, attempts });
        waiting.remaining += 1;
        waiting.attempts = attempts;
        lane.order.retain(|k| *k != key);
        lane.order.push_front(key);
        true
    }

    /// When [`PacingQueue::poll`] has something again; `now` or earlier means at once.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let busy = self.lanes.values().filter(|l| !l.waiting.is_empty());
        busy.map(|l| l.not_before.unwrap_or(now)).min()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)] // One reading as the origin of the tests' own time.

    use super::*;

    const VI: InstanceId = InstanceId(1);
    const ETH: IfIndex = IfIndex(2);
    const OTHER: IfIndex = IfIndex(3);
    const MS: Duration = Duration::from_millis(1);

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn drain(queue: &mut PacingQueue, now: Instant) -> Vec<IpAddr> {
        std::iter::from_fn(|| queue.poll(now)).map(|s| s.address).collect()
    }

    #[test]
    fn every_address_once_before_any_is_repeated() {
        let now = Instant::now();
        let mut queue = PacingQueue::default();
        queue.push(VI, ETH, ip(1), 2);
        queue.push(VI, ETH, ip(2), 2);
        queue.push(VI, ETH, ip(2), 1);
        assert_eq!(drain(&mut queue, now), [ip(1), ip(2), ip(1), ip(2)]);
        assert_eq!(queue.poll_timeout(now), None);
    }

    #[test]
    fn an_interval_spaces_the_packets_of_one_interface_and_family_only() {
        let now = Instant::now();
        let mut queue = PacingQueue::default();
        queue.set_intervals(5 * MS, Duration::ZERO);
        let v6: IpAddr = "2001:db8::1".parse().expect("literal");
        for (interface, address) in [(ETH, ip(1)), (ETH, ip(2)), (OTHER, ip(3)), (ETH, v6)] {
            queue.push(VI, interface, address, 1);
        }
        assert_eq!(drain(&mut queue, now), [ip(1), v6, ip(3)]);
        assert_eq!(queue.poll_timeout(now), Some(now + 5 * MS));
        assert!(drain(&mut queue, now + 4 * MS).is_empty());
        assert_eq!(drain(&mut queue, now + 5 * MS), [ip(2)]);
        queue.push(VI, ETH, ip(4), 1);
        assert!(drain(&mut queue, now + 9 * MS).is_empty(), "the spacing outlives an empty lane");
        assert_eq!(drain(&mut queue, now + 10 * MS), [ip(4)]);
    }

    #[test]
    fn what_is_no_longer_true_is_forgotten() {
        let now = Instant::now();
        let mut queue = PacingQueue::default();
        queue.push(VI, ETH, ip(1), 5);
        queue.push(VI, ETH, ip(2), 1);
        queue.push(InstanceId(2), ETH, ip(3), 1);
        queue.retain(VI, |_, a| a == ip(2));
        assert_eq!(drain(&mut queue, now), [ip(2), ip(3)]);
    }

    #[test]
    fn a_full_interface_is_tried_again_a_few_times() {
        let mut now = Instant::now();
        let mut queue = PacingQueue::default();
        queue.push(VI, ETH, ip(1), 1);
        for attempt in 1..=MOST_ATTEMPTS {
            let shot = queue.poll(now).expect("due");
            assert_eq!(queue.poll(now), None);
            assert_eq!(queue.refused(now, shot), attempt < MOST_ATTEMPTS);
            now += RETRY_AFTER;
        }
        assert_eq!(queue.poll(now), None);
        assert_eq!(queue.poll_timeout(now), None);
    }
}
