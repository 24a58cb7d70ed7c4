//! Trackers: from statuses to a priority and reasons for FAULT.
//!
//! Pure. The statuses are kept and the conclusion is computed anew each time: no counter can drift.

use std::collections::{BTreeMap, BTreeSet};

use super::config::{Track, TrackerKey};
use super::event::{FaultReason, TrackerStatus};
use super::types::Priority;

/// A file whose value times weight is this low means FAULT (keepalived's `track_file`).
const FILE_FAULT: i32 = -254;
/// The most that one file may add or take.
const FILE_LIMIT: i32 = 253;

/// Latest status of every tracker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrackTable {
    statuses: BTreeMap<TrackerKey, TrackerStatus>,
}

/// What the trackers of one instance amount to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// To be added to the base priority.
    pub adjustment: i32,
    /// Weight-0 trackers that are not healthy.
    pub faults: BTreeSet<FaultReason>,
    /// A weight-0 tracker has no result yet.
    pub pending: bool,
}

impl TrackTable {
    /// Notes a status; returns whether it is new.
    pub fn set(&mut self, key: TrackerKey, status: TrackerStatus) -> bool {
        self.statuses.insert(key, status) != Some(status)
    }

    /// The status of a tracker; [`TrackerStatus::Pending`] when nothing was heard of it.
    pub fn status(&self, key: &TrackerKey) -> TrackerStatus {
        self.statuses.get(key).copied().unwrap_or(TrackerStatus::Pending)
    }

    /// Whether a status is kept for this tracker.
    pub fn knows(&self, key: &TrackerKey) -> bool {
        self.statuses.contains_key(key)
    }

    /// Forgets trackers that are no longer configured.
    pub fn retain(&mut self, keep: impl Fn(&TrackerKey) -> bool) {
        self.statuses.retain(|key, _| keep(key));
    }

    /// All statuses.
    pub fn iter(&self) -> impl Iterator<Item = (&TrackerKey, TrackerStatus)> {
        self.statuses.iter().map(|(key, status)| (key, *status))
    }

    /// What `tracks` amount to now.
    pub fn evaluate(&self, tracks: &[Track]) -> Verdict {
        let mut verdict = Verdict::default();
        for track in tracks {
            self.weigh(track, &mut verdict);
        }
        verdict
    }

    fn weigh(&self, track: &Track, verdict: &mut Verdict) {
        let weight = i32::from(track.weight);
        let sign = if track.reverse { -1 } else { 1 };
        let status = self.status(&track.tracker);
        let healthy = match status {
            TrackerStatus::Pending if weight == 0 => {
                verdict.pending = true;
                return;
            }
            TrackerStatus::Pending => return,
            TrackerStatus::Value(value) => return weigh_file(track, value, verdict),
            TrackerStatus::Up => true,
            TrackerStatus::Down | TrackerStatus::Unknown => false,
        };
        if weight != 0 {
            // Positive: added while healthy. Negative: added while unhealthy. `reverse` inverts the sign of either.
            if healthy == (weight > 0) {
                verdict.adjustment += sign * weight;
            }
        } else if status == TrackerStatus::Unknown {
            verdict.faults.insert(FaultReason::TrackerUnknown(track.tracker.clone()));
        } else if healthy == track.reverse {
            verdict.faults.insert(FaultReason::Tracker(track.tracker.clone()));
        }
    }
}

fn weigh_file(track: &Track, value: i32, verdict: &mut Verdict) {
    let weight = i32::from(track.weight) * if track.reverse { -1 } else { 1 };
    let product = value.saturating_mul(weight);
    let fault = if weight == 0 { (value != 0) != track.reverse } else { product <= FILE_FAULT };
    if fault {
        verdict.faults.insert(FaultReason::FileValue(track.tracker.clone(), value));
    } else {
        verdict.adjustment += product.clamp(-FILE_LIMIT, FILE_LIMIT);
    }
}

/// The priority that counts: 1 to 254, and an owner stays owner whatever its trackers say (keepalived).
pub fn effective_priority(base: Priority, adjustment: i32) -> Priority {
    if base.is_owner() { base } else { Priority::clamp_backup(i32::from(base.value()) + adjustment) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TrackerStatus::{Down, Pending, Unknown, Up, Value};

    fn verdict(status: TrackerStatus, weight: i16, reverse: bool) -> (i32, bool, bool) {
        let key = TrackerKey::Script("s".to_owned());
        let mut table = TrackTable::default();
        table.set(key.clone(), status);
        let verdict = table.evaluate(&[Track { tracker: key, weight, reverse }]);
        (verdict.adjustment, !verdict.faults.is_empty(), verdict.pending)
    }

    #[test]
    fn every_status_and_weight() {
        // status, weight, reverse → adjustment, fault, pending
        let rows = [
            (Up, 0, false, (0, false, false)),
            (Down, 0, false, (0, true, false)),
            (Unknown, 0, false, (0, true, false)),
            (Pending, 0, false, (0, false, true)),
            (Up, 0, true, (0, true, false)),
            (Down, 0, true, (0, false, false)),
            (Up, 10, false, (10, false, false)),
            (Down, 10, false, (0, false, false)),
            (Unknown, 10, false, (0, false, false)),
            (Pending, 10, false, (0, false, false)),
            (Up, -10, false, (0, false, false)),
            (Down, -10, false, (-10, false, false)),
            (Unknown, -10, false, (-10, false, false)),
            (Up, 10, true, (-10, false, false)),
            (Down, 10, true, (0, false, false)),
            (Up, -10, true, (0, false, false)),
            (Down, -10, true, (10, false, false)),
            (Value(0), 0, false, (0, false, false)),
            (Value(1), 0, false, (0, true, false)),
            (Value(0), 0, true, (0, true, false)),
            (Value(-3), 0, true, (0, false, false)),
            (Value(3), 2, false, (6, false, false)),
            (Value(3), 2, true, (-6, false, false)),
            (Value(-254), 1, false, (0, true, false)),
            (Value(-253), 1, false, (-253, false, false)),
            (Value(300), 1, false, (253, false, false)),
            (Value(i32::MIN), 254, false, (0, true, false)),
            (Value(i32::MIN), -254, false, (253, false, false)),
        ];
        for (status, weight, reverse, want) in rows {
            assert_eq!(verdict(status, weight, reverse), want, "{status:?} weight {weight} reverse {reverse}");
        }
    }

    #[test]
    fn effective_priority_stays_legal_and_owner_stays_owner() {
        for (base, adjustment, want) in [(100, 10, 110), (100, -200, 1), (200, 253, 254), (255, -253, 255), (1, 0, 1)] {
            assert_eq!(effective_priority(Priority::new(base).expect("legal"), adjustment).value(), want);
        }
    }
}
