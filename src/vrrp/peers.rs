//! Who else speaks an instance's VRID on its wire; which of them are master while we are is in `contest`.
//!
//! Pure: time is passed in. A thousand instances with one peer each cost a hundred bytes each: nothing is allocated until
//! somebody is heard, what is rare (a refusal, a second master) is boxed, and the table has a bound, because a source
//! address is easily forged.
//!
//! ```text
//!   an advert while we are master ──▶ Rival ── longer than a contest takes ──▶ dual master, told, told again …
//!                                       └── silent, resigned, or we are master no more ──▶ forgotten, or told that it ended
//! ```

mod contest;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::accept::AdvertError;
use super::packet::{self, Packet};
use super::types::{AdvertInterval, Family};

use contest::{ARP_SILENCE, ArpRival, Rival, Telling};
pub use contest::{Contest, DualEnd, DualReason, DualSnapshot};

/// Peers of one instance that are listed; of others it is only known that there are more.
pub const MOST_PEERS: usize = 8;
/// The lateness of so many adverts is kept for each peer.
pub const LAST_LATE: usize = 4;
/// Addresses that are kept of a peer whose addresses are not ours.
const MOST_ADDRESSES: usize = 16;
/// A peer that was not heard for so long gives its place to a new one.
const STALE: Duration = Duration::from_secs(60);
/// A stranger with our VRID is told again after this.
const STRANGER_AGAIN: Duration = Duration::from_secs(600);

/// The table of one instance.
#[derive(Debug, Default)]
pub struct Peers {
    list: Vec<Peer>,
    unlisted: u32,
    arp: Option<Box<ArpRival>>,
}

#[derive(Debug)]
struct Peer {
    address: IpAddr,
    last_seen: Instant,
    heard: u64,
    /// Sum of all lateness, for the mean.
    late_total_us: u64,
    /// Adverts whose lateness is known.
    timed: u32,
    late_max_us: u32,
    /// The latest first; [`u32::MAX`]: none.
    last_late_us: [u32; LAST_LATE],
    interval_cs: u16,
    priority: u8,
    version: u8,
    /// The latest advert was refused.
    is_refused: bool,
    /// `None`: the same as ours.
    addresses: Option<Box<[IpAddr]>>,
    refusals: Option<Box<Refusals>>,
    rival: Option<Box<Rival>>,
    stranger_told: Option<Box<Instant>>,
}

#[derive(Debug)]
struct Refusals {
    count: u64,
    last: AdvertError,
}

/// A packet for the instance's VRID, whatever became of it.
#[derive(Debug, Clone, Copy)]
pub struct Sighting<'a> {
    /// Who sent it.
    pub address: IpAddr,
    /// When it came.
    pub at: Instant,
    /// The PDU.
    pub pdu: &'a [u8],
    /// Of the instance.
    pub family: Family,
    /// The addresses that we advertise.
    pub advertised: &'a [IpAddr],
    /// Why it was refused, if it was.
    pub refusal: Option<&'a AdvertError>,
}

/// Something to tell people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerNews {
    /// Another router is master too.
    Dual {
        /// Who; unknown when only ARP was seen.
        peer: Option<IpAddr>,
        /// The likely reason.
        reason: DualReason,
        /// Since when it has been so.
        lasted: Duration,
        /// People were told before.
        again: bool,
    },
    /// It is no more.
    DualEnded {
        /// Who; unknown when only ARP was seen.
        peer: Option<IpAddr>,
        /// How long it was so.
        lasted: Duration,
        /// How it came to an end.
        end: DualEnd,
    },
    /// Another virtual router has our VRID: none of its addresses is ours.
    Stranger {
        /// Who.
        peer: IpAddr,
        /// Its addresses.
        addresses: Vec<IpAddr>,
    },
}

/// What was made of a packet, for the black box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// How late it was against the peer's interval; `None` for a first advert, and after a silence.
    pub late: Option<Duration>,
    /// The peer is new, came back from a silence, or has another priority than before.
    pub is_news: bool,
}

/// One peer as it can be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerSnapshot {
    /// Source address of its adverts.
    pub address: IpAddr,
    /// Priority of the latest advert; 0: it resigned.
    pub priority: u8,
    /// VRRP version of the latest advert, as on the wire.
    pub version: u8,
    /// The interval that it announces, if that makes sense.
    pub interval: Option<AdvertInterval>,
    /// Its addresses when they are not ours; `None`: the same.
    pub addresses: Option<Vec<IpAddr>>,
    /// So long ago it was heard last.
    pub last_seen: Duration,
    /// Adverts heard.
    pub heard: u64,
    /// Adverts refused.
    pub refused: u64,
    /// Why the latest refused one was.
    pub refusal: Option<AdvertError>,
    /// Whether the latest advert was refused (wrong password, and the like).
    pub is_refused: bool,
    /// Mean lateness of its adverts against its interval.
    pub late_mean: Duration,
    /// The worst.
    pub late_max: Duration,
    /// Lateness of the latest adverts, the last one first.
    pub late_last: Vec<Duration>,
}

impl Peers {
    /// Notes a packet. `contest` is there while we are master, and leads to news.
    pub fn note(&mut self, seen: &Sighting<'_>, contest: Option<Contest>) -> (Noted, Option<PeerNews>) {
        let look = Look::at(seen);
        let Some(n) = self.place(seen.address, seen.at) else {
            self.unlisted = self.unlisted.saturating_add(1);
            return (Noted { late: None, is_news: false }, None);
        };
        let Some(peer) = self.list.get_mut(n) else { return (Noted { late: None, is_news: false }, None) };
        let noted = peer.note(seen, &look);
        let news = match contest {
            Some(contest) => peer.contest(seen, &look, contest),
            None => None,
        };
        if news.is_some() || peer.rival.is_some() {
            // An advert says more than ARP.
            self.arp = self.arp.take().filter(|arp| arp.told.at.is_some());
        }
        (noted, news)
    }

    /// A stranger with our VRID that is to be told of now: none of its addresses is ours. To be asked after [`Self::note`].
    pub fn stranger(&mut self, now: Instant, seen: &Sighting<'_>) -> Option<PeerNews> {
        let peer = self.list.iter_mut().find(|peer| peer.address == seen.address && peer.is_stranger(seen))?;
        let known = |told: &Instant| now.saturating_duration_since(*told) < STRANGER_AGAIN;
        if peer.stranger_told.as_deref().is_some_and(known) {
            return None;
        }
        let addresses = peer.addresses.as_ref()?.to_vec();
        peer.stranger_told = Some(Box::new(now));
        Some(PeerNews::Stranger { peer: seen.address, addresses })
    }

    /// Somebody else's ARP or neighbour advertisement for one of our addresses, while we are master and were for longer
    /// than a contest takes.
    pub fn on_announced(&mut self, contest: Contest, address: IpAddr, hardware: [u8; 6]) -> Option<PeerNews> {
        // Its adverts are known, and say more.
        if self.list.iter().any(|peer| peer.rival.is_some()) {
            return None;
        }
        let now = contest.now;
        let fresh = || ArpRival { since: now, last: now, address, hardware, told: Telling::default() };
        let arp = self.arp.get_or_insert_with(|| Box::new(fresh()));
        (arp.last, arp.address, arp.hardware) = (now, address, hardware);
        arp.news(now)
    }

    /// What there is to say as time passes: to be asked while we are master, about once an interval.
    pub fn review(&mut self, contest: Contest) -> Vec<PeerNews> {
        let now = contest.now;
        let mut news = Vec::new();
        for peer in self.list.iter_mut().filter(|peer| peer.rival.is_some()) {
            let patience = peer.patience(contest);
            if peer.rival.as_ref().is_some_and(|rival| now.saturating_duration_since(rival.last) >= patience) {
                news.extend(peer.end_contest(DualEnd::Silent));
            }
        }
        if let Some(arp) = self.arp.take_if(|arp| now.saturating_duration_since(arp.last) >= ARP_SILENCE) {
            news.extend(arp.ended(DualEnd::Silent));
        } else if let Some(arp) = &mut self.arp {
            news.extend(arp.news(now));
        }
        news
    }

    /// We were held up, and said nothing for so long that another one became master by right: what looked like a contest
    /// begins now. One of which people were told goes on.
    pub fn begin_contests_anew(&mut self) {
        for peer in &mut self.list {
            peer.rival.take_if(|rival| rival.told.at.is_none());
        }
    }

    /// We are master no more.
    pub fn leave(&mut self) -> Vec<PeerNews> {
        let mut news: Vec<_> = self.list.iter_mut().filter_map(|peer| peer.end_contest(DualEnd::Left)).collect();
        news.extend(self.arp.take().and_then(|arp| arp.ended(DualEnd::Left)));
        news
    }

    /// All that are listed, the one heard last first.
    pub fn snapshot(&self, now: Instant) -> Vec<PeerSnapshot> {
        let mut peers: Vec<_> = self.list.iter().map(|peer| peer.snapshot(now)).collect();
        peers.sort_by_key(|peer| peer.last_seen);
        peers
    }

    /// The second master that people were told of first.
    pub fn dual(&self, now: Instant) -> Option<DualSnapshot> {
        let lasted = |since: Instant| now.saturating_duration_since(since);
        let rivals = self.list.iter().filter_map(|peer| Some((peer.address, peer.rival.as_deref()?)));
        let told = rivals.filter(|(_, rival)| rival.told.at.is_some()).min_by_key(|(_, rival)| rival.since);
        let by_advert = told.map(|(address, rival)| DualSnapshot {
            peer: Some(address),
            reason: rival.reason.clone(),
            lasted: lasted(rival.since),
        });
        by_advert.or_else(|| {
            let arp = self.arp.as_deref().filter(|arp| arp.told.at.is_some())?;
            Some(DualSnapshot { peer: None, reason: arp.reason(), lasted: lasted(arp.since) })
        })
    }

    /// Packets of peers for which there was no room.
    pub fn unlisted(&self) -> u32 {
        self.unlisted
    }

    /// The place of a peer, old or new. A full table gives the place of one that was not heard for long.
    fn place(&mut self, address: IpAddr, at: Instant) -> Option<usize> {
        if let Some(n) = self.list.iter().position(|peer| peer.address == address) {
            return Some(n);
        }
        if self.list.len() < MOST_PEERS {
            // Nearly every virtual router has one peer.
            self.list.reserve_exact(1);
            self.list.push(Peer::new(address, at));
            return Some(self.list.len() - 1);
        }
        let idle = self.list.iter().enumerate().filter(|(_, peer)| peer.rival.is_none());
        let (n, oldest) = idle.min_by_key(|(_, peer)| peer.last_seen)?;
        if at.saturating_duration_since(oldest.last_seen) < STALE {
            return None;
        }
        *self.list.get_mut(n)? = Peer::new(address, at);
        Some(n)
    }
}

/// What can be read of a packet, sound or not.
struct Look<'a> {
    version: u8,
    priority: u8,
    interval_cs: u16,
    packet: Option<Packet<'a>>,
}

impl<'a> Look<'a> {
    fn at(seen: &Sighting<'a>) -> Self {
        let byte = |n: usize| seen.pdu.get(n).copied().unwrap_or(0);
        let packet = packet::parse(seen.family, seen.pdu).ok();
        // One that cannot be read says nothing but who sent it.
        let interval_cs = packet.map_or(0, |packet| packet.interval_cs);
        Self { version: byte(0) >> 4, priority: byte(2), interval_cs, packet }
    }
}

impl Peer {
    fn new(address: IpAddr, at: Instant) -> Self {
        Self {
            address,
            last_seen: at,
            heard: 0,
            late_total_us: 0,
            timed: 0,
            late_max_us: 0,
            last_late_us: [u32::MAX; LAST_LATE],
            interval_cs: 0,
            priority: 0,
            version: 0,
            is_refused: false,
            addresses: None,
            refusals: None,
            rival: None,
            stranger_told: None,
        }
    }

    fn note(&mut self, seen: &Sighting<'_>, look: &Look<'_>) -> Noted {
        let first = self.heard == 0 && self.refusals.is_none();
        let late = if first { None } else { self.lateness(seen.at) };
        if let Some(late) = late {
            let us = u32::try_from(late.as_micros()).unwrap_or(u32::MAX - 1);
            self.late_total_us = self.late_total_us.saturating_add(u64::from(us));
            self.timed = self.timed.saturating_add(1);
            self.late_max_us = self.late_max_us.max(us);
            self.last_late_us.rotate_right(1);
            self.last_late_us[0] = us;
        }
        let is_news = late.is_none() || self.priority != look.priority;
        self.last_seen = self.last_seen.max(seen.at);
        (self.version, self.priority, self.interval_cs) = (look.version, look.priority, look.interval_cs);
        self.note_addresses(look, seen.advertised);
        self.is_refused = seen.refusal.is_some();
        match (seen.refusal, &mut self.refusals) {
            (None, _) => self.heard += 1,
            (Some(error), Some(refusals)) => {
                refusals.count += 1;
                if refusals.last != *error {
                    refusals.last = error.clone();
                }
            }
            (Some(error), none) => *none = Some(Box::new(Refusals { count: 1, last: error.clone() })),
        }
        Noted { late, is_news }
    }

    /// How long after its interval an advert came. After a silence nothing was due.
    fn lateness(&self, at: Instant) -> Option<Duration> {
        let interval = AdvertInterval::from_centiseconds(self.interval_cs)?.duration();
        let gap = at.saturating_duration_since(self.last_seen);
        (self.priority > 0 && gap < interval * 4).then(|| gap.saturating_sub(interval))
    }

    fn note_addresses(&mut self, look: &Look<'_>, advertised: &[IpAddr]) {
        let Some(packet) = look.packet else { return };
        if packet.addresses().eq(advertised.iter().copied()) {
            self.addresses = None;
            return;
        }
        let theirs = || packet.addresses().take(MOST_ADDRESSES);
        if !self.addresses.as_ref().is_some_and(|known| theirs().eq(known.iter().copied())) {
            self.addresses = Some(theirs().collect());
        }
    }

    /// Whether none of its addresses is ours, as far as its packets can be believed.
    fn is_stranger(&self, seen: &Sighting<'_>) -> bool {
        let garbled = |error: &AdvertError| {
            matches!(error, AdvertError::Checksum | AdvertError::PacketLength { .. } | AdvertError::Type { .. })
        };
        let theirs = self.addresses.as_deref().unwrap_or_default();
        !theirs.is_empty()
            && !seen.advertised.is_empty()
            && !seen.refusal.is_some_and(garbled)
            && !theirs.iter().any(|address| seen.advertised.contains(address))
    }

    fn snapshot(&self, now: Instant) -> PeerSnapshot {
        let late = |us: u32| Duration::from_micros(u64::from(us));
        let mean = self.late_total_us.checked_div(u64::from(self.timed)).unwrap_or(0);
        PeerSnapshot {
            address: self.address,
            priority: self.priority,
            version: self.version,
            interval: AdvertInterval::from_centiseconds(self.interval_cs),
            addresses: self.addresses.as_ref().map(|addresses| addresses.to_vec()),
            last_seen: now.saturating_duration_since(self.last_seen),
            heard: self.heard,
            refused: self.refusals.as_ref().map_or(0, |refusals| refusals.count),
            refusal: self.refusals.as_ref().map(|refusals| refusals.last.clone()),
            is_refused: self.is_refused,
            late_mean: Duration::from_micros(mean),
            late_max: late(self.late_max_us),
            late_last: self.last_late_us.iter().filter(|us| **us != u32::MAX).map(|us| late(*us)).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
