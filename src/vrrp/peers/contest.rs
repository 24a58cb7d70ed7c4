//! Who else is master while we are, how long that is a contest, and when people are told.
//!
//! Pure: time is passed in. Two masters for longer than a contest takes are told, and told again at growing distances until
//! one of them is silent, resigns, or we are master no more.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Look, Peer, PeerNews, Sighting};
use crate::vrrp::accept::AdvertError;
use crate::vrrp::types::AdvertInterval;

/// Fewer adverts than this make no second master, however far apart they came.
const FEWEST: u32 = 3;
/// The second time that a second master is told comes after this, each further one after twice the time.
const TELL_AGAIN: Duration = Duration::from_secs(5);
/// But no later than this.
const TELL_AT_LEAST: Duration = Duration::from_secs(60);
/// ARP alone speaks rarely: a second master that was known by it is over when none came for so long.
pub(super) const ARP_SILENCE: Duration = Duration::from_secs(150);

/// A peer that advertises while we are master.
#[derive(Debug)]
pub(super) struct Rival {
    pub(super) since: Instant,
    pub(super) last: Instant,
    pub(super) adverts: u32,
    pub(super) reason: DualReason,
    pub(super) told: Telling,
}

/// Somebody who announces our address, and of whom no advert comes.
#[derive(Debug)]
pub(super) struct ArpRival {
    pub(super) since: Instant,
    pub(super) last: Instant,
    pub(super) address: IpAddr,
    pub(super) hardware: [u8; 6],
    pub(super) told: Telling,
}

/// When people were told, and how often.
#[derive(Debug, Default)]
pub(super) struct Telling {
    pub(super) at: Option<Instant>,
    pub(super) times: u32,
}

impl Telling {
    fn is_due(&self, now: Instant) -> bool {
        let pause = TELL_AGAIN.saturating_mul(1 << self.times.saturating_sub(1).min(8)).min(TELL_AT_LEAST);
        self.at.is_none_or(|at| now.saturating_duration_since(at) >= pause)
    }

    fn tell(&mut self, now: Instant) {
        self.at = Some(now);
        self.times = self.times.saturating_add(1);
    }
}

/// Why two routers are master at once, as far as it can be told from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DualReason {
    /// Its adverts are heard and worse than ours, which it does not obey: they do not reach it, or it refuses them.
    OneWay {
        /// Its priority.
        priority: u8,
        /// Our effective priority.
        ours: u8,
    },
    /// Its adverts are refused here.
    Refused(AdvertError),
    /// None of its adverts reaches us, but somebody else's ARP or neighbour advertisement for our address did.
    OnlyArp {
        /// The virtual address.
        address: IpAddr,
        /// Who claims it.
        hardware: [u8; 6],
    },
}

impl fmt::Display for DualReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneWay { priority, ours } => write!(
                f,
                "it goes on with priority {priority} against our {ours}: our adverts do not reach it (a one-way path), or \
                 it refuses them"
            ),
            Self::Refused(error) => write!(f, "its adverts are refused here: {error}"),
            Self::OnlyArp { address, hardware: [a, b, c, d, e, g] } => write!(
                f,
                "no advert of it reaches us, only ARP: {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x} claims {address}"
            ),
        }
    }
}

/// How two masters at once came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DualEnd {
    /// The other one is heard no more.
    Silent,
    /// The other one resigned.
    Resigned,
    /// We are master no more.
    Left,
}

impl fmt::Display for DualEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "the other is heard no more",
            Self::Resigned => "the other resigned",
            Self::Left => "we are master no more",
        })
    }
}

/// Our side of a contest.
#[derive(Debug, Clone, Copy)]
pub struct Contest {
    /// The time of the turn.
    pub now: Instant,
    /// Our effective priority.
    pub ours: u8,
    /// How long two masters at once are nothing but a contest.
    pub patience: Duration,
}

/// Two masters at once, as they can be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DualSnapshot {
    /// The other one; unknown when only ARP was seen.
    pub peer: Option<IpAddr>,
    /// The likely reason.
    pub reason: DualReason,
    /// For how long.
    pub lasted: Duration,
}

impl Peer {
    /// Judges an advert that came while we are master, and were not told to step down.
    pub(super) fn contest(&mut self, seen: &Sighting<'_>, look: &Look<'_>, contest: Contest) -> Option<PeerNews> {
        if look.priority == 0 {
            return self.end_contest(DualEnd::Resigned);
        }
        // Another virtual router is no second master of our addresses.
        if self.is_stranger(seen) || seen.refusal == Some(&AdvertError::OwnAddress) {
            return None;
        }
        let reason = match seen.refusal {
            Some(error) => DualReason::Refused(error.clone()),
            None => DualReason::OneWay { priority: look.priority, ours: contest.ours },
        };
        let patience = self.patience(contest);
        // It begins when we hear of it: while its adverts waited for us we were no master that anybody could hear.
        let since = contest.now;
        let fresh = || Rival { since, last: seen.at, adverts: 0, reason: reason.clone(), told: Telling::default() };
        let rival = self.rival.get_or_insert_with(|| Box::new(fresh()));
        if rival.told.at.is_none() && seen.at.saturating_duration_since(rival.last) >= patience {
            // The former contest was over.
            **rival = fresh();
        }
        rival.last = rival.last.max(seen.at);
        rival.adverts = rival.adverts.saturating_add(1);
        rival.reason = reason;
        let lasted = contest.now.saturating_duration_since(rival.since);
        if lasted < patience || rival.adverts < FEWEST || !rival.told.is_due(contest.now) {
            return None;
        }
        let again = rival.told.at.is_some();
        rival.told.tell(contest.now);
        Some(PeerNews::Dual { peer: Some(self.address), reason: rival.reason.clone(), lasted, again })
    }

    /// Ours, or three of its own intervals.
    pub(super) fn patience(&self, contest: Contest) -> Duration {
        let its = AdvertInterval::from_centiseconds(self.interval_cs).map_or(Duration::ZERO, |i| i.duration() * 3);
        contest.patience.max(its)
    }

    pub(super) fn end_contest(&mut self, end: DualEnd) -> Option<PeerNews> {
        let rival = self.rival.take()?;
        rival.told.at?;
        let lasted = rival.last.saturating_duration_since(rival.since);
        Some(PeerNews::DualEnded { peer: Some(self.address), lasted, end })
    }
}

impl ArpRival {
    pub(super) fn reason(&self) -> DualReason {
        DualReason::OnlyArp { address: self.address, hardware: self.hardware }
    }

    pub(super) fn news(&mut self, now: Instant) -> Option<PeerNews> {
        if !self.told.is_due(now) {
            return None;
        }
        let again = self.told.at.is_some();
        self.told.tell(now);
        let lasted = now.saturating_duration_since(self.since);
        Some(PeerNews::Dual { peer: None, reason: self.reason(), lasted, again })
    }

    pub(super) fn ended(&self, end: DualEnd) -> Option<PeerNews> {
        self.told.at?;
        let lasted = self.last.saturating_duration_since(self.since);
        Some(PeerNews::DualEnded { peer: None, lasted, end })
    }
}
