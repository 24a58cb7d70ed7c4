//! Deadlines of all instances.
//!
//! Pure.

use super::*;

/// Deadlines of all instances, ordered.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeSet<(Instant, InstanceId)>,
    armed: BTreeMap<InstanceId, Instant>,
}

impl Timers {
    pub(super) fn arm(&mut self, id: InstanceId, at: Option<Instant>) {
        if self.armed.get(&id).copied() == at {
            return;
        }
        self.disarm(id);
        if let Some(at) = at {
            self.armed.insert(id, at);
            self.queue.insert((at, id));
        }
    }

    pub(super) fn disarm(&mut self, id: InstanceId) {
        if let Some(at) = self.armed.remove(&id) {
            self.queue.remove(&(at, id));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    pub(super) fn take_due(&mut self, now: Instant) -> Vec<InstanceId> {
        let mut due = Vec::new();
        while let Some((_, id)) = self.queue.first().copied().filter(|(at, _)| *at <= now) {
            self.disarm(id);
            due.push(id);
        }
        due
    }
}
