//! Who is master when something fails, of two routers whose files are at hand.
//!
//! Pure. Uses the engine's own arithmetic; time plays no part.

use std::collections::BTreeSet;

use crate::vrrp::config::{InstanceConfig, Track, TrackerKey};
use crate::vrrp::event::TrackerStatus;
use crate::vrrp::track::{TrackTable, effective_priority};

/// Two routers of one virtual router, everything healthy.
#[derive(Debug, Clone, Copy)]
pub struct Elections<'a> {
    /// The one that is master while all is well.
    pub master: &'a InstanceConfig,
    /// The other.
    pub backup: &'a InstanceConfig,
}

/// A failure that the two do not deal with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failover {
    /// The master keeps the addresses in spite of this failure.
    Never {
        /// What fails.
        tracker: TrackerKey,
        /// The master's priority then.
        sinks_to: u8,
        /// The priority of the backup, all healthy.
        against: u8,
    },
    /// After a failover the first master stays backup, and this failure of the new master does not bring it back.
    NoReturn {
        /// What fails at the new master.
        tracker: TrackerKey,
    },
}

impl<'a> Elections<'a> {
    /// Of two routers; `None` when they tie, so that the files do not tell who is master.
    pub fn between(a: &'a InstanceConfig, b: &'a InstanceConfig) -> Option<Self> {
        match priority(a, None)?.cmp(&priority(b, None)?) {
            std::cmp::Ordering::Greater => Some(Self { master: a, backup: b }),
            std::cmp::Ordering::Less => Some(Self { master: b, backup: a }),
            std::cmp::Ordering::Equal => None,
        }
    }

    /// Every failure that does not move the addresses though the other router is healthy.
    pub fn flaws(&self) -> BTreeSet<Failover> {
        let mut flaws = BTreeSet::new();
        let (Some(best), Some(second)) = (priority(self.master, None), priority(self.backup, None)) else {
            return flaws;
        };
        let mut fails_over = false;
        for tracker in judged(self.master) {
            match priority(self.master, Some(tracker)) {
                Some(sinks_to) if !(self.backup.preempt && second > sinks_to) => {
                    flaws.insert(Failover::Never { tracker: tracker.clone(), sinks_to, against: second });
                }
                Some(_) | None => fails_over = true,
            }
        }
        if !fails_over || self.master.preempt {
            return flaws;
        }
        // The old master is healthy again and stays backup; now the new one has a failure.
        for tracker in judged(self.backup) {
            if priority(self.backup, Some(tracker)).is_some() {
                debug_assert!(best > second);
                flaws.insert(Failover::NoReturn { tracker: tracker.clone() });
            }
        }
        flaws
    }
}

/// The trackers whose failure ought to move the addresses. What a file means depends on what is in it.
fn judged(config: &InstanceConfig) -> impl Iterator<Item = &TrackerKey> {
    config.tracks.iter().map(|track: &Track| &track.tracker).filter(|key| !matches!(key, TrackerKey::File(_)))
}

/// The effective priority with one failure or none; `None` is FAULT.
fn priority(config: &InstanceConfig, failed: Option<&TrackerKey>) -> Option<u8> {
    let mut table = TrackTable::default();
    for track in &config.tracks {
        let status = match &track.tracker {
            TrackerKey::File(_) => TrackerStatus::Value(0),
            // With `reverse` it is success that counts against the instance.
            key if (Some(key) == failed) != track.reverse => TrackerStatus::Down,
            _ => TrackerStatus::Up,
        };
        table.set(track.tracker.clone(), status);
    }
    let verdict = table.evaluate(&config.tracks);
    let healthy = verdict.faults.is_empty();
    healthy.then(|| effective_priority(config.priority, verdict.adjustment).value())
}
