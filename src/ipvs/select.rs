//! Which destination takes the next connection: the fourteen schedulers, as the kernel's IPVS defines them.
//!
//! Pure: time and chance are passed in. A [`Selector`] is the immutable view of one service's destinations; threads
//! share it. What must be remembered between two picks is in [`Turn`] and [`Load`], which outlive the view.
//!
//! Where a proxy differs from the kernel:
//! - It has no inactive connections: `lc`, `wlc`, `lblc`, `lblcr` and `twos` compare the active ones alone.
//! - Destinations are looked at in the order of their addresses, where the kernel has the order of adding.
//! - A destination that refused a connection is left out of the next pick ([`Request::tried`]), and the hashing
//!   schedulers then look on from bucket to bucket as their fallback flags would have them do.
//! - A destination of weight 0 has no buckets, and weights whose sum is beyond the number of buckets are scaled; the
//!   kernel gives them one bucket each, or all buckets to the first.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::config::SchedulerFlags;
use super::types::{Scheduler, SocketKey};

/// Buckets of `dh` and `sh` (the kernel's IP_VS_DH_TAB_BITS, IP_VS_SH_TAB_BITS: 8).
const HASH_BUCKETS: usize = 256;
/// Entries of the Maglev table: a prime (the kernel's default, IP_VS_MH_TAB_INDEX 12).
const MAGLEV_ENTRIES: usize = 4093;
/// Knuth's multiplier, 2^32 divided by the golden ratio.
const GOLDEN: u32 = 2_654_435_761;
/// Destination addresses that `lblc` and `lblcr` remember (the kernel's 1024 buckets of 16).
const LOCATED_ENTRIES: usize = 16 << 10;
/// When a set of `lblcr` that did not change loses its busiest member, and a place that nobody asked for is forgotten.
const LOCATED_FOR: Duration = Duration::from_secs(24 * 3600);

/// What one destination bears, shared by all threads and all views.
#[derive(Debug, Default)]
pub struct Load {
    active: AtomicU32,
    upper: AtomicU32,
    lower: AtomicU32,
    overloaded: AtomicBool,
}

impl Load {
    /// Connections now.
    pub fn active(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Whether it takes no new connections because of its thresholds.
    pub fn overloaded(&self) -> bool {
        self.overloaded.load(Relaxed)
    }

    /// A connection begins.
    pub fn open(&self) {
        let active = self.active.fetch_add(1, Relaxed).saturating_add(1);
        let upper = self.upper.load(Relaxed);
        if upper != 0 && active >= upper {
            self.overloaded.store(true, Relaxed);
        }
    }

    /// A connection has ended.
    pub fn close(&self) {
        let active = self.active.fetch_sub(1, Relaxed).saturating_sub(1);
        if self.overloaded() && self.below_lower(active) {
            self.overloaded.store(false, Relaxed);
        }
    }

    /// Other thresholds (`uthreshold`, `lthreshold`; 0 is none). A raised upper one takes effect at once.
    pub fn set_thresholds(&self, upper: u32, lower: u32) {
        let before = self.upper.swap(upper, Relaxed);
        self.lower.store(lower, Relaxed);
        let active = self.active();
        if upper != 0 && active >= upper {
            self.overloaded.store(true, Relaxed);
        } else if upper == 0 || upper > before || self.below_lower(active) {
            self.overloaded.store(false, Relaxed);
        }
    }

    /// Without a lower threshold the kernel takes three quarters of the upper one.
    fn below_lower(&self, active: u32) -> bool {
        let (upper, lower) = (self.upper.load(Relaxed), self.lower.load(Relaxed));
        match (upper, lower) {
            (0, _) => true,
            (_, 0) => u64::from(active) * 4 < u64::from(upper) * 3,
            (_, lower) => active < lower,
        }
    }
}

/// A destination as the schedulers see it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Address and port.
    pub key: SocketKey,
    /// Weight; 0 takes no new connections.
    pub weight: u32,
    /// What it bears.
    pub load: Arc<Load>,
}

/// A new connection that wants a destination.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub client: SocketAddr,
    /// The address that was asked: the virtual address.
    pub destination: IpAddr,
    /// Time since some fixed moment.
    pub now: Duration,
    /// A random number (`twos`).
    pub dice: u64,
    /// Candidates that refused this connection already.
    pub tried: &'a [usize],
}

/// What a service's scheduler remembers from pick to pick. It stays when the view changes.
#[derive(Debug, Default)]
pub struct Turn {
    /// `rr`: the next index. `wrr`: the next index and, in the upper half, the current weight.
    place: AtomicU64,
    /// `lblc`, `lblcr`. The lock is held by forwarding threads alone.
    located: Mutex<BTreeMap<IpAddr, Located>>,
}

#[derive(Debug)]
struct Located {
    members: Vec<SocketKey>,
    used: Duration,
    changed: Duration,
}

/// The destinations of one service and the way to choose among them.
#[derive(Debug)]
pub struct Selector {
    scheduler: Scheduler,
    fallback: bool,
    with_port: bool,
    candidates: Vec<Candidate>,
    /// Of `dh`, `sh` and `mh`: an index for each bucket; empty without a destination.
    buckets: Box<[u32]>,
    largest_weight: u32,
    common_divisor: u32,
    turn: Arc<Turn>,
}

impl Selector {
    /// A view. `candidates` are in the order of their keys, each once.
    pub fn new(scheduler: Scheduler, flags: SchedulerFlags, candidates: Vec<Candidate>, turn: Arc<Turn>) -> Self {
        debug_assert!(candidates.is_sorted_by(|a, b| a.key < b.key));
        let weights = || candidates.iter().map(|candidate| candidate.weight);
        let buckets = match scheduler {
            Scheduler::Dh => fill_in_turn(weights().map(|weight| weight.min(1)).collect()),
            Scheduler::Sh => fill_in_turn(weights().collect()),
            Scheduler::Mh => fill_maglev(&candidates),
            _ => Box::default(),
        };
        Self {
            scheduler,
            fallback: flags.flag1,
            with_port: flags.flag2,
            largest_weight: weights().max().unwrap_or(0),
            common_divisor: weights().fold(0, greatest_common_divisor).max(1),
            buckets,
            candidates,
            turn,
        }
    }

    /// The destinations in their order: what [`Self::pick`] answers is an index into them.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Chooses; `None` when no destination may take the connection.
    pub fn pick(&self, request: &Request<'_>) -> Option<usize> {
        match self.scheduler {
            Scheduler::Rr => self.pick_in_turn(request),
            Scheduler::Wrr => self.pick_weighted_in_turn(request),
            Scheduler::Lc => self.least(request, |c| (u64::from(c.load.active()), 1)),
            Scheduler::Wlc => self.least_loaded(request),
            Scheduler::Sed => self.least(request, |c| (u64::from(c.load.active()) + 1, c.weight)),
            Scheduler::Nq => self
                .available(request)
                .find(|(_, c)| c.load.active() == 0)
                .map(|(index, _)| index)
                .or_else(|| self.least(request, |c| (u64::from(c.load.active()) + 1, c.weight))),
            Scheduler::Fo => self.heaviest(request, |_| true),
            Scheduler::Ovf => self.heaviest(request, |c| c.load.active() <= c.weight),
            Scheduler::Twos => self.better_of_two(request),
            Scheduler::Dh => self.hashed(request, |offset| bucket_of(request.destination, 0, offset)),
            Scheduler::Sh => {
                let port = if self.with_port { request.client.port() } else { 0 };
                self.hashed(request, |offset| bucket_of(request.client.ip(), port, offset))
            }
            Scheduler::Mh => {
                let port = if self.with_port { request.client.port() } else { 0 };
                self.hashed(request, |offset| maglev_entry_of(request.client.ip(), port, offset))
            }
            Scheduler::Lblc => self.located(request, false),
            Scheduler::Lblcr => self.located(request, true),
        }
    }

    fn may_take(&self, index: usize, candidate: &Candidate, request: &Request<'_>) -> bool {
        candidate.weight > 0 && !candidate.load.overloaded() && !request.tried.contains(&index)
    }

    fn available<'a>(&'a self, request: &'a Request<'_>) -> impl Iterator<Item = (usize, &'a Candidate)> {
        self.candidates.iter().enumerate().filter(|(index, candidate)| self.may_take(*index, candidate, request))
    }

    /// The next one after the last that was chosen. All threads share one turn.
    fn pick_in_turn(&self, request: &Request<'_>) -> Option<usize> {
        loop {
            let place = self.turn.place.load(Relaxed);
            let from = usize::try_from(place & u64::from(u32::MAX)).unwrap_or(0);
            let available = || self.available(request).map(|(index, _)| index);
            let index = available().find(|index| *index >= from).or_else(|| available().next())?;
            let next = (place & !u64::from(u32::MAX)) | (index as u64 + 1);
            if self.turn.place.compare_exchange_weak(place, next, Relaxed, Relaxed).is_ok() {
                return Some(index);
            }
        }
    }

    /// Round after round with a falling threshold: in a round, those take part whose weight reaches it.
    fn pick_weighted_in_turn(&self, request: &Request<'_>) -> Option<usize> {
        loop {
            let place = self.turn.place.load(Relaxed);
            let from = usize::try_from(place & u64::from(u32::MAX)).unwrap_or(0);
            let mut threshold = u32::try_from(place >> 32).unwrap_or(0);
            if threshold == 0 || threshold > self.largest_weight {
                threshold = self.largest_weight;
            }
            let reaching = |threshold: u32, from: usize| {
                let mut available = self.available(request).skip_while(move |(index, _)| *index < from);
                available.find(move |(_, c)| c.weight >= threshold).map(|(index, _)| index)
            };
            let index = match reaching(threshold, from) {
                Some(index) => index,
                None => {
                    // Thresholds that nobody reaches now are rounds without a pick: past them in one step.
                    let largest = self.available(request).map(|(_, c)| c.weight).max()?;
                    threshold = threshold.saturating_sub(self.common_divisor);
                    threshold = if threshold == 0 { largest } else { threshold.min(largest) };
                    reaching(threshold, 0)?
                }
            };
            let next = (u64::from(threshold) << 32) | (index as u64 + 1);
            if self.turn.place.compare_exchange_weak(place, next, Relaxed, Relaxed).is_ok() {
                return Some(index);
            }
        }
    }

    /// The first with the smallest quotient of what `overhead` gives: a burden and what it is shared by.
    fn least(&self, request: &Request<'_>, overhead: impl Fn(&Candidate) -> (u64, u32)) -> Option<usize> {
        let burdens = self.available(request).map(|(index, candidate)| (index, overhead(candidate)));
        burdens.reduce(|best, other| if lighter(other.1, best.1) { other } else { best }).map(|(index, _)| index)
    }

    fn least_loaded(&self, request: &Request<'_>) -> Option<usize> {
        self.least(request, |c| (u64::from(c.load.active()), c.weight))
    }

    /// The first with the largest weight.
    fn heaviest(&self, request: &Request<'_>, fits: impl Fn(&Candidate) -> bool) -> Option<usize> {
        let fitting = self.available(request).filter(|(_, candidate)| fits(candidate));
        fitting.reduce(|best, other| if other.1.weight > best.1.weight { other } else { best }).map(|(index, _)| index)
    }

    /// Two by chance, each as likely as its weight says; of these the one with less to bear.
    fn better_of_two(&self, request: &Request<'_>) -> Option<usize> {
        let total: u64 = self.available(request).map(|(_, c)| u64::from(c.weight)).sum();
        let by_chance = |dice: u64| {
            let mut left = dice.checked_rem(total)?;
            self.available(request).find(|(_, candidate)| {
                let here = left < u64::from(candidate.weight);
                left = left.saturating_sub(u64::from(candidate.weight));
                here
            })
        };
        let first = by_chance(mix(request.dice))?;
        let second = by_chance(mix(request.dice ^ u64::from(GOLDEN)))?;
        let burden = |c: &Candidate| (u64::from(c.load.active()), c.weight);
        Some(if lighter(burden(second.1), burden(first.1)) { second.0 } else { first.0 })
    }

    /// What the bucket of this request says. With the fallback flag, or when a destination has refused this very
    /// connection, other buckets are asked until one has a destination that may take it.
    fn hashed(&self, request: &Request<'_>, bucket: impl Fn(u32) -> usize) -> Option<usize> {
        let at = |bucket: usize| {
            let index = usize::try_from(*self.buckets.get(bucket)?).ok()?;
            let candidate = self.candidates.get(index)?;
            self.may_take(index, candidate, request).then_some(index)
        };
        let first = bucket(0);
        if let Some(index) = at(first) {
            return Some(index);
        }
        if !self.fallback && request.tried.is_empty() {
            return None;
        }
        let buckets = u32::try_from(self.buckets.len()).unwrap_or(0);
        // Rehashed with each offset, so that the clients of a lost destination spread over all others.
        let spread = (1..=buckets).find_map(|offset| at(bucket(offset)));
        spread.or_else(|| self.available(request).next().map(|(index, _)| index))
    }

    /// Traffic to one address stays with one destination (`lblc`), or with a set that grows while its members are
    /// overloaded (`lblcr`).
    fn located(&self, request: &Request<'_>, replicate: bool) -> Option<usize> {
        let mut table = self.turn.located.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = table.get_mut(&request.destination) {
            place.used = request.now;
            if place.members.len() > 1 && request.now.saturating_sub(place.changed) > LOCATED_FOR {
                self.drop_busiest(&mut place.members);
                place.changed = request.now;
            }
            let members = place.members.iter().filter_map(|key| self.index_of(*key));
            let members = members.filter_map(|index| Some((index, self.candidates.get(index)?)));
            let members = members.filter(|(index, candidate)| self.may_take(*index, candidate, request));
            let least = members.reduce(|best, other| {
                let burden = |c: &Candidate| (u64::from(c.load.active()), c.weight);
                if lighter(burden(other.1), burden(best.1)) { other } else { best }
            });
            if let Some((index, candidate)) = least
                && !self.has_too_much(candidate)
            {
                return Some(index);
            }
        }
        let index = self.least_loaded(request)?;
        let key = self.candidates.get(index)?.key;
        make_room(&mut table, request.now);
        let new = || Located { members: Vec::new(), used: request.now, changed: request.now };
        let place = table.entry(request.destination).or_insert_with(new);
        // Destinations that are gone make room; for lblc the new one takes the old one's place.
        place.members.retain(|member| replicate && self.index_of(*member).is_some());
        if !place.members.contains(&key) {
            place.members.push(key);
            place.changed = request.now;
        }
        Some(index)
    }

    /// More connections than its weight, while another has less than half of its own.
    fn has_too_much(&self, candidate: &Candidate) -> bool {
        candidate.load.active() > candidate.weight
            && self.candidates.iter().any(|other| u64::from(other.load.active()) * 2 < u64::from(other.weight))
    }

    fn drop_busiest(&self, members: &mut Vec<SocketKey>) {
        let burden = |key: &SocketKey| {
            let candidate = self.index_of(*key).and_then(|index| self.candidates.get(index));
            candidate.map_or((u64::MAX >> 32, 1), |c| (u64::from(c.load.active()), c.weight))
        };
        let busiest = members.iter().enumerate().map(|(at, key)| (at, burden(key)));
        let busiest = busiest.reduce(|worst, other| if lighter(worst.1, other.1) { other } else { worst });
        if let Some((at, _)) = busiest {
            members.remove(at);
        }
    }

    /// Where this destination is among the candidates.
    pub fn index_of(&self, key: SocketKey) -> Option<usize> {
        self.candidates.binary_search_by_key(&key, |candidate| candidate.key).ok()
    }
}

/// Whether `a / b < c / d`, without dividing. A weight of 0 is infinitely heavy.
fn lighter((a, b): (u64, u32), (c, d): (u64, u32)) -> bool {
    u128::from(a) * u128::from(d) < u128::from(c) * u128::from(b)
}

fn make_room(table: &mut BTreeMap<IpAddr, Located>, now: Duration) {
    if table.len() < LOCATED_ENTRIES {
        return;
    }
    table.retain(|_, place| now.saturating_sub(place.used) < LOCATED_FOR);
    if table.len() >= LOCATED_ENTRIES {
        // The half that was not asked for the longest goes, so that this is rare.
        let mut used: Vec<Duration> = table.values().map(|place| place.used).collect();
        used.sort_unstable();
        let median = used.get(used.len() / 2).copied().unwrap_or(now);
        table.retain(|_, place| place.used > median);
    }
}

/// Buckets one after the other: each destination as many as its weight, in their order, over and over.
fn fill_in_turn(mut shares: Vec<u32>) -> Box<[u32]> {
    scale(&mut shares, HASH_BUCKETS);
    let round = shares.iter().zip(0u32..).flat_map(|(share, index)| (0..*share).map(move |_| index));
    if shares.iter().all(|share| *share == 0) {
        return Box::default();
    }
    let rounds: Vec<u32> = round.collect();
    rounds.iter().cycle().take(HASH_BUCKETS).copied().collect()
}

/// Eisenbud et al., "Maglev", §3.4: each destination has a permutation of all entries of its own, and in turn takes its
/// next one that is still free; as many in a turn as its weight says.
fn fill_maglev(candidates: &[Candidate]) -> Box<[u32]> {
    let mut shares: Vec<u32> = candidates.iter().map(|candidate| candidate.weight).collect();
    scale(&mut shares, MAGLEV_ENTRIES);
    if shares.iter().all(|share| *share == 0) {
        return Box::default();
    }
    const FREE: u32 = u32::MAX;
    let mut entries = vec![FREE; MAGLEV_ENTRIES].into_boxed_slice();
    let size = MAGLEV_ENTRIES as u64;
    let mut permutations: Vec<(u64, u64)> = candidates
        .iter()
        .map(|candidate| {
            let hash = mix(mix(folded(candidate.key.ip)) ^ u64::from(candidate.key.port));
            (hash % size, mix(hash ^ u64::from(GOLDEN)) % (size - 1) + 1)
        })
        .collect();
    let mut filled = 0;
    while filled < MAGLEV_ENTRIES {
        for ((index, (at, skip)), share) in (0u32..).zip(permutations.iter_mut()).zip(&shares) {
            for _ in 0..*share {
                loop {
                    let entry = usize::try_from(*at).ok().and_then(|at| entries.get_mut(at));
                    *at = (*at + *skip) % size;
                    match entry {
                        Some(entry) if *entry == FREE => {
                            *entry = index;
                            break;
                        }
                        _ => {}
                    }
                }
                filled += 1;
                if filled == MAGLEV_ENTRIES {
                    return entries;
                }
            }
        }
    }
    entries
}

/// Divides by the common divisor and, where the sum is beyond `room`, further, but never to nothing.
fn scale(shares: &mut [u32], room: usize) {
    let divisor = shares.iter().copied().fold(0, greatest_common_divisor).max(1);
    let sum: u64 = shares.iter().map(|share| u64::from(share / divisor)).sum();
    for share in shares.iter_mut().filter(|share| **share > 0) {
        *share /= divisor;
        if sum > room as u64 {
            let scaled = u64::from(*share) * room as u64 / sum;
            *share = u32::try_from(scaled).unwrap_or(u32::MAX).max(1);
        }
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// The kernel's hash for `sh` and `dh`. With an offset, where the kernel goes on to a neighbour, another bucket
/// altogether: neighbours belong to one destination, which would get all clients of a lost one.
fn bucket_of(address: IpAddr, port: u16, offset: u32) -> usize {
    let word = match address {
        IpAddr::V4(address) => u32::from(address),
        IpAddr::V6(address) => words(address).into_iter().fold(0, |a, b| a ^ b),
    };
    let word = word.wrapping_add(u32::from(port));
    match offset {
        0 => word.wrapping_mul(GOLDEN) as usize % HASH_BUCKETS,
        _ => usize::from(mix(u64::from(word) | u64::from(offset) << 32).to_ne_bytes()[0]) % HASH_BUCKETS,
    }
}

fn maglev_entry_of(address: IpAddr, port: u16, offset: u32) -> usize {
    let hash = mix(folded(address) ^ (u64::from(port) << 48) ^ (u64::from(offset) << 32));
    usize::try_from(hash % MAGLEV_ENTRIES as u64).unwrap_or(0)
}

fn words(address: std::net::Ipv6Addr) -> [u32; 4] {
    let bits = address.to_bits();
    [96, 64, 32, 0].map(|shift| u32::try_from(bits >> shift & u128::from(u32::MAX)).unwrap_or(0))
}

fn folded(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => {
            let [a, b, c, d] = words(address).map(u64::from);
            mix(a << 32 | b) ^ (c << 32 | d)
        }
    }
}

/// A bijection that scatters (splitmix64): the same on every director.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests;
