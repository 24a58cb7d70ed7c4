//! Deadlines of all instances.
//!
//! Pure.

use super::*;

/// Deadlines of all instances, ordered. Which one an instance has is noted with the instance ([`Instance::armed`]).
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeSet<(Instant, InstanceId)>,
}

impl Timers {
    /// The deadline of an instance is another one than it was.
    pub(super) fn arm(&mut self, id: InstanceId, armed: &mut Option<Instant>, at: Option<Instant>) {
        if *armed == at {
            return;
        }
        if let Some(before) = std::mem::replace(armed, at) {
            self.queue.remove(&(before, id));
        }
        self.queue.extend(at.map(|at| (at, id)));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Those whose deadline has passed, in the order of their deadlines. They stay armed.
    pub(super) fn due(&self, now: Instant) -> Vec<InstanceId> {
        let last = (now, InstanceId(u32::MAX));
        self.queue.range(..=last).map(|(_, id)| *id).collect()
    }
}
