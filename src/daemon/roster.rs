//! What main remembers of each virtual router and sync group from one event to the next: one entry for each.
//!
//! Pure. What the parts of an entry mean is their owners' business; here an entry follows a router that changes its name,
//! and ends with it. A thousand of them are made anew in one go when there is time, without holes between them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::notify::notice::About;
use crate::notify::plan::Told;
use crate::status::tally::Counts;
use crate::vrrp::config::VrrpConfig;
use crate::vrrp::event::{Event, StateName};

/// All of them.
#[derive(Debug, Default)]
pub struct Roster {
    instances: BTreeMap<Box<str>, Entry>,
    groups: BTreeMap<Box<str>, Entry>,
}

/// One of them.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// What scripts were told of it.
    pub told: Told,
    /// What it was last said to be, with its priority.
    pub said: Option<(StateName, u8)>,
    /// What it was last mailed to be: nobody is mailed the same state twice.
    pub mailed: Option<StateName>,
    /// When it changed its state last, since the vrrp process started (CLOCK_REALTIME).
    pub changed: Option<Duration>,
    /// The balancer knows it as master.
    pub is_master: bool,
    /// What was counted of it.
    pub counts: Counts,
}

impl Roster {
    /// Something happened at that time.
    pub fn on_event(&mut self, event: &Event, at: Duration) {
        if let Event::Renamed { instance, was, .. } = event
            && let Some(entry) = self.instances.remove(was.as_str())
        {
            self.instances.insert(instance.as_str().into(), entry);
        }
        let is_change = matches!(event, Event::StateChanged { .. });
        if let Some(entry) = self.of(event) {
            entry.counts.on_event(event);
            if is_change {
                entry.changed = Some(at);
            }
        }
    }

    /// Whether people have not heard of this.
    pub fn is_news(&mut self, event: &Event) -> bool {
        match event {
            Event::StateChanged { to, cause, .. } | Event::GroupChanged { to, cause, .. } => {
                self.of(event).is_none_or(|entry| entry.told.is_news(*to, cause))
            }
            _ => true,
        }
    }

    /// After all has been done about an event: one that is gone may come back as another router.
    pub fn forget(&mut self, event: &Event) {
        if let Event::StateChanged { instance, to: StateName::Deleted, .. } = event {
            self.instances.remove(instance.as_str());
        }
    }

    /// Forgets all that is neither configured nor master, and makes the rest anew.
    pub fn tidy(&mut self, config: &VrrpConfig) {
        let is_kept = |name: &str, entry: &Entry| config.instances.contains_key(name) || entry.is_master;
        let instances = self.instances.iter().filter(|(name, entry)| is_kept(name, entry));
        let instances = instances.map(|(name, entry)| (name.clone(), entry.clone()));
        let groups = self.groups.iter().filter(|(name, _)| config.groups.contains_key(&***name));
        let groups = groups.map(|(name, entry)| (name.clone(), entry.clone()));
        // A map that is made of sorted values has full nodes.
        *self = Self { instances: instances.collect(), groups: groups.collect() };
    }

    /// What is known of an instance.
    pub fn instance(&self, name: &str) -> Option<&Entry> {
        self.instances.get(name)
    }

    /// All that is known of instances.
    pub fn instances_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.instances.values_mut()
    }

    /// The entry of an instance or group; nothing else has one.
    pub fn about(&mut self, about: &About) -> Option<&mut Entry> {
        match about {
            About::Instance(name) => Some(entry(&mut self.instances, name)),
            About::Group(name) => Some(entry(&mut self.groups, name)),
            About::VirtualServer(_) | About::RealServer { .. } | About::Node => None,
        }
    }

    /// What instances and groups were last said to be.
    pub fn said(&self) -> impl Iterator<Item = (About, StateName, u8)> {
        let instances = self.instances.iter().map(|(name, entry)| (About::Instance(name.to_string()), entry));
        let groups = self.groups.iter().map(|(name, entry)| (About::Group(name.to_string()), entry));
        instances
            .chain(groups)
            .filter_map(|(about, entry)| entry.said.map(|(state, priority)| (about, state, priority)))
    }

    /// The addresses were taken off: nobody here is said to be master still.
    pub fn on_sweep(&mut self) {
        for entry in self.instances.values_mut().chain(self.groups.values_mut()) {
            entry.said.take_if(|(state, _)| *state == StateName::Master);
        }
    }

    /// The instances that the balancer knows as masters.
    pub fn masters(&self) -> BTreeSet<String> {
        let masters = self.instances.iter().filter(|(_, entry)| entry.is_master);
        masters.map(|(name, _)| name.to_string()).collect()
    }

    /// What the balancer is to know of an instance; whether that is news to it.
    pub fn set_master(&mut self, name: &str, is_master: bool) -> bool {
        std::mem::replace(&mut entry(&mut self.instances, name).is_master, is_master) != is_master
    }

    /// The entry of whom an event is about, if it leaves a trace.
    fn of(&mut self, event: &Event) -> Option<&mut Entry> {
        match event {
            Event::StateChanged { instance, .. }
            | Event::TimerLate { instance, .. }
            | Event::DualMaster { instance, .. } => Some(entry(&mut self.instances, instance)),
            Event::GroupChanged { group, .. } => Some(entry(&mut self.groups, group)),
            Event::DualMasterEnded { .. }
            | Event::VridTaken { .. }
            | Event::Renamed { .. }
            | Event::PriorityChanged { .. }
            | Event::LowerPriorityAdvert { .. }
            | Event::AdvertFlawed { .. }
            | Event::AddressFailed { .. }
            | Event::MainSilent { .. }
            | Event::MainBack { .. }
            | Event::Warning { .. } => None,
        }
    }
}

fn entry<'a>(entries: &'a mut BTreeMap<Box<str>, Entry>, name: &str) -> &'a mut Entry {
    // Few events are about somebody new: no name is made for the others.
    if !entries.contains_key(name) {
        entries.insert(name.into(), Entry::default());
    }
    entries.get_mut(name).expect("it is there now")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::config::{GroupConfig, InstanceConfig};
    use crate::vrrp::event::Cause;
    use crate::vrrp::types::Vrid;

    const AT: Duration = Duration::from_secs(1);

    fn change(instance: &str, to: StateName) -> Event {
        let (instance, from) = (instance.to_owned(), StateName::Init);
        Event::StateChanged { instance, from, to, priority: 100, cause: Cause::Started, evidence: Vec::new() }
    }

    fn names(roster: &Roster) -> Vec<&str> {
        roster.instances.keys().chain(roster.groups.keys()).map(|name| &**name).collect()
    }

    #[test]
    fn an_entry_follows_its_router_and_ends_with_it() {
        let mut roster = Roster::default();
        roster.on_event(&change("A", StateName::Master), AT);
        assert!(roster.set_master("A", true));
        roster.on_event(&Event::Renamed { instance: "B".into(), was: "A".into(), state: StateName::Master }, AT);
        assert_eq!(names(&roster), ["B"]);
        assert!(!roster.set_master("B", true), "known under its new name");
        assert_eq!(roster.instance("B").and_then(|entry| entry.changed), Some(AT));
        let gone = change("B", StateName::Deleted);
        roster.on_event(&gone, AT);
        roster.forget(&gone);
        assert_eq!(names(&roster), [""; 0]);
    }

    #[test]
    fn who_is_configured_or_master_is_remembered() {
        let mut roster = Roster::default();
        for name in ["A", "B", "C"] {
            roster.on_event(&change(name, StateName::Backup), AT);
        }
        for group in ["G", "H"] {
            let (group, to) = (group.to_owned(), StateName::Backup);
            roster.on_event(&Event::GroupChanged { group, to, cause: Cause::Started }, AT);
        }
        roster.set_master("B", true);
        let mut config = VrrpConfig::default();
        let vrid = Vrid::new(1).expect("a VRID");
        config.instances.insert("A".to_owned(), InstanceConfig::new("eth0", vrid));
        config.groups.insert("G".to_owned(), GroupConfig::default());
        roster.tidy(&config);
        assert_eq!(names(&roster), ["A", "B", "G"]);
        assert_eq!(roster.instance("A").and_then(|entry| entry.changed), Some(AT));
    }

    #[test]
    fn a_swept_master_is_not_said_to_be_one() {
        let mut roster = Roster::default();
        for (about, state) in [
            (About::Instance("A".into()), StateName::Master),
            (About::Instance("B".into()), StateName::Backup),
            (About::Group("A".into()), StateName::Master),
        ] {
            roster.about(&about).expect("it has an entry").said = Some((state, 1));
        }
        assert_eq!(roster.said().count(), 3);
        roster.on_sweep();
        assert_eq!(roster.said().collect::<Vec<_>>(), [(About::Instance("B".into()), StateName::Backup, 1)]);
        assert!(roster.about(&About::Node).is_none());
    }
}
