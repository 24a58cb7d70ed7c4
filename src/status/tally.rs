//! What is counted from events: changes of state by cause, late timers, two masters.
//!
//! Pure. The history is a ring and forgets; a counter must not. The number of rows is bounded by instances, states and
//! kinds of causes.

use std::time::Duration;

use super::cause;
use super::model::{Instance, State, Transition};
use crate::vrrp::event::Event;

/// The counts of one instance since the daemon started.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Few rows, and of a thousand instances: not a map, whose first row takes the room of eleven.
    transitions: Vec<Row>,
    late: Duration,
    dual_masters: u64,
}

/// Nearly every router is backup first, and then master.
const USUAL_ROWS: usize = 2;

/// How often a state was entered for a kind of cause.
#[derive(Debug, Clone)]
struct Row {
    to: State,
    cause: &'static str,
    count: u32,
}

impl Counts {
    /// Takes what the vrrp process says of the instance.
    pub fn on_event(&mut self, event: &Event) {
        match event {
            Event::StateChanged { to, cause, .. } => self.note(State::from(*to), cause::kind(cause)),
            Event::TimerLate { by, .. } => self.late = self.late.saturating_add(*by),
            Event::DualMaster { again: false, .. } => self.dual_masters += 1,
            _ => {}
        }
    }

    fn note(&mut self, to: State, cause: &'static str) {
        match self.transitions.iter_mut().find(|row| (row.to, row.cause) == (to, cause)) {
            Some(row) => row.count = row.count.saturating_add(1),
            None => {
                self.transitions.reserve_exact(USUAL_ROWS.saturating_sub(self.transitions.len()).max(1));
                self.transitions.push(Row { to, cause, count: 1 });
                self.transitions.sort_by_key(|row| (row.to, row.cause));
            }
        }
    }

    /// Adds the counts to what is shown of an instance.
    pub fn show(&self, instance: &mut Instance) {
        let row = |row: &Row| Transition { to: row.to, cause: row.cause.to_owned(), count: u64::from(row.count) };
        instance.transitions = self.transitions.iter().map(row).collect();
        instance.timers_late_ms = super::build::millis(self.late);
        instance.dual_masters = self.dual_masters;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::event::{Cause as C, StateName};

    fn change(to: StateName, cause: C) -> Event {
        let (instance, from) = ("A".to_owned(), StateName::Init);
        Event::StateChanged { instance, from, to, priority: 100, cause, evidence: Vec::new() }
    }

    #[test]
    fn by_state_and_cause() {
        let mut counts = Counts::default();
        counts.on_event(&change(StateName::Master, C::AddressOwner));
        counts.on_event(&change(StateName::Master, C::AddressOwner));
        counts.on_event(&change(StateName::Backup, C::Failover));
        counts.on_event(&change(StateName::Backup, C::Started));
        for ms in [700, 800] {
            counts.on_event(&Event::TimerLate { instance: "A".into(), by: Duration::from_millis(ms) });
        }
        let mut shown = Instance::default();
        counts.show(&mut shown);
        let rows: Vec<_> = shown.transitions.iter().map(|t| (t.to, t.cause.as_str(), t.count)).collect();
        assert_eq!(
            rows,
            [(State::Backup, "failover", 1), (State::Backup, "started", 1), (State::Master, "address_owner", 2)]
        );
        assert_eq!(shown.timers_late_ms, 1500);
    }
}
