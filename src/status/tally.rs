//! What is counted from events: changes of state by cause, late timers, two masters.
//!
//! Pure. The history is a ring and forgets; a counter must not. The number of rows is bounded by instances, states and
//! kinds of causes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cause;
use super::model::{Instance, State, Transition};
use crate::vrrp::event::{Event, StateName};

/// The counts of all instances since the daemon started.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    instances: BTreeMap<String, Counts>,
}

#[derive(Debug, Clone, Default)]
struct Counts {
    /// Few rows, and of a thousand instances: not a map, whose first row takes the room of eleven.
    transitions: Vec<Row>,
    late: Duration,
    dual_masters: u64,
}

/// How often a state was entered for a kind of cause.
#[derive(Debug, Clone)]
struct Row {
    to: State,
    cause: &'static str,
    count: u64,
}

impl Counts {
    fn note(&mut self, to: State, cause: &'static str) {
        match self.transitions.iter_mut().find(|row| (row.to, row.cause) == (to, cause)) {
            Some(row) => row.count += 1,
            None => {
                self.transitions.reserve_exact(1);
                self.transitions.push(Row { to, cause, count: 1 });
                self.transitions.sort_by_key(|row| (row.to, row.cause));
            }
        }
    }
}

impl Tally {
    /// Takes what the vrrp process says.
    pub fn on_event(&mut self, event: &Event) {
        match event {
            // One that is gone may come back as another router.
            Event::StateChanged { instance, to: StateName::Deleted, .. } => drop(self.instances.remove(instance)),
            Event::StateChanged { instance, to, cause, .. } => {
                self.of(instance).note(State::from(*to), cause::kind(cause));
            }
            Event::TimerLate { instance, by } => {
                let counts = self.of(instance);
                counts.late = counts.late.saturating_add(*by);
            }
            Event::DualMaster { instance, again: false, .. } => self.of(instance).dual_masters += 1,
            Event::Renamed { instance, was, .. } => {
                if let Some(counts) = self.instances.remove(was) {
                    self.instances.insert(instance.clone(), counts);
                }
            }
            _ => {}
        }
    }

    fn of(&mut self, instance: &str) -> &mut Counts {
        self.instances.entry(instance.to_owned()).or_default()
    }

    /// Adds the counts to what is shown of an instance.
    pub fn show(&self, instance: &mut Instance) {
        let Some(counts) = self.instances.get(&instance.name) else { return };
        let row = |row: &Row| Transition { to: row.to, cause: row.cause.to_owned(), count: row.count };
        instance.transitions = counts.transitions.iter().map(row).collect();
        instance.timers_late_ms = super::build::millis(counts.late);
        instance.dual_masters = counts.dual_masters;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::event::Cause as C;

    fn change(instance: &str, to: StateName, cause: C) -> Event {
        let from = StateName::Init;
        Event::StateChanged { instance: instance.to_owned(), from, to, priority: 100, cause, evidence: Vec::new() }
    }

    fn shown(tally: &Tally, name: &str) -> Instance {
        let mut instance = Instance { name: name.to_owned(), ..Instance::default() };
        tally.show(&mut instance);
        instance
    }

    #[test]
    fn by_state_and_cause() {
        let mut tally = Tally::default();
        tally.on_event(&change("A", StateName::Master, C::AddressOwner));
        tally.on_event(&change("A", StateName::Master, C::AddressOwner));
        tally.on_event(&change("A", StateName::Backup, C::Failover));
        for ms in [700, 800] {
            tally.on_event(&Event::TimerLate { instance: "A".into(), by: Duration::from_millis(ms) });
        }
        let a = shown(&tally, "A");
        let rows: Vec<_> = a.transitions.iter().map(|t| (t.to, t.cause.as_str(), t.count)).collect();
        assert_eq!(rows, [(State::Backup, "failover", 1), (State::Master, "address_owner", 2)]);
        assert_eq!(a.timers_late_ms, 1500);
        assert_eq!(shown(&tally, "B"), Instance { name: "B".into(), ..Instance::default() });
        tally.on_event(&Event::Renamed { instance: "B".into(), was: "A".into(), state: StateName::Backup });
        assert_eq!((shown(&tally, "A").timers_late_ms, shown(&tally, "B").timers_late_ms), (0, 1500));
        tally.on_event(&change("B", StateName::Deleted, C::Removed));
        assert_eq!(shown(&tally, "B").transitions, []);
    }
}
