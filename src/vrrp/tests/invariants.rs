//! What must hold after every input, whatever the inputs are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::super::engine::{Effect, VrrpEngine};
use super::super::event::{Cause, Event, StateName};
use super::super::types::{IfIndex, InstanceId};

/// The kernel's addresses and people's knowledge, as the effects make them.
#[derive(Default)]
pub struct Invariants {
    addresses: BTreeSet<(IfIndex, IpAddr)>,
    states: BTreeMap<String, StateName>,
    generations: BTreeMap<InstanceId, u64>,
    /// The reload moved addresses between links that may be gone: presence is not judged.
    pub links_move: bool,
}

impl Invariants {
    /// How many instances were ever seen.
    pub fn known(&self) -> usize {
        self.generations.len()
    }

    /// The latest generation of each instance.
    pub fn generations(&self) -> BTreeMap<InstanceId, u64> {
        self.generations.clone()
    }

    /// Whether the kernel has an address.
    pub fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|(_, a)| *a == address)
    }

    /// Whether the kernel has any address.
    pub fn has_any(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// All addresses that the kernel has, and where.
    pub fn addresses(&self) -> &BTreeSet<(IfIndex, IpAddr)> {
        &self.addresses
    }

    /// Carries an effect out.
    pub fn on_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::SyncAddresses { instance, generation, present, absent } => {
                let former = self.generations.insert(*instance, *generation);
                assert!(former < Some(*generation), "generation {generation} after {former:?}");
                for bound in absent {
                    self.addresses.remove(&(bound.interface, bound.config.address));
                }
                for bound in present {
                    self.addresses.insert((bound.interface, bound.config.address));
                }
            }
            Effect::Announce { addresses, repeat, generation, instance } => {
                assert!(*repeat > 0 && !addresses.is_empty(), "an announcement of nothing");
                assert_eq!(self.generations.get(instance), Some(generation), "announced for another generation");
                for address in addresses {
                    assert!(self.addresses.contains(address), "{address:?} is announced but not there");
                }
            }
            Effect::Emit(Event::StateChanged { instance, from, to, cause, .. }) => {
                let known = self.states.insert(instance.clone(), *to).unwrap_or(StateName::Init);
                assert_eq!(known, *from, "{instance} -> {to}: people believed something else");
                assert!(sensible(*from, *to, cause), "{instance}: {from} -> {to} because {cause:?}");
                if matches!(cause, Cause::Removed) {
                    self.states.remove(instance);
                }
            }
            Effect::Emit(Event::Renamed { instance, was, state }) => {
                let known = self.states.remove(was).unwrap_or(StateName::Init);
                assert_eq!(known, *state, "{was}: people believed something else");
                self.states.insert(instance.clone(), known);
            }
            Effect::SendAdvert { .. }
            | Effect::StopAnnouncing { .. }
            | Effect::SyncSockets { .. }
            | Effect::Emit(_) => {}
        }
    }

    /// Compares with what the engine says of itself.
    pub fn check(&self, engine: &VrrpEngine) {
        let snapshot = engine.snapshot();
        for (name, shown) in &snapshot.instances {
            let config = engine.instance_config(name).expect("an instance has a configuration");
            let told = self.states.get(name).copied().unwrap_or(StateName::Init);
            assert!(told == shown.state || told == StateName::Stop, "{name}: told {told}, it is {}", shown.state);
            for address in config.all_addresses().filter(|_| !self.links_move) {
                let here = self.has(address.address);
                // A master that hands over keeps them until its successor has them, in a bounded time.
                let master = shown.state == StateName::Master || (here && shown.handing_over);
                assert_eq!(here, master, "{name} is {}, and {} is there: {here}", shown.state, address.address);
            }
        }
        for group in engine.group_configs().values() {
            let state = |name: &String| snapshot.instances.get(name).map(|shown| shown.state);
            let masters = group.members.iter().filter(|n| state(n) == Some(StateName::Master)).count();
            let waiting = group.members.iter().filter(|n| state(n) == Some(StateName::Init)).count();
            assert!(
                masters == 0 || masters + waiting == group.members.len(),
                "a group of which a part is master: {snapshot:#?}"
            );
        }
        let masters = snapshot.instances.values().any(|shown| shown.state == StateName::Master);
        assert!(!masters || engine.poll_timeout().is_some(), "a master without a next advert");
    }
}

/// Every change of state and the causes that it may have. No wildcard: a new cause has to be thought about.
fn sensible(from: StateName, to: StateName, cause: &Cause) -> bool {
    use StateName::{Backup, Deleted, Fault, Init, Master, Stop};
    if from == to {
        return matches!((to, cause), (Fault, Cause::Removed));
    }
    match cause {
        Cause::Started => (from, to) == (Init, Backup),
        Cause::Tracker { .. } => from == Init && to == Backup,
        Cause::Reconfigured => matches!((from, to), (Init, Backup) | (Backup | Master | Fault, Init)),
        Cause::AddressOwner => to == Master && matches!(from, Init | Backup | Fault),
        Cause::MasterSilent { .. } | Cause::MasterResigned { .. } | Cause::Preempting { .. } => {
            (from, to) == (Backup, Master)
        }
        Cause::BetterMaster { .. } => (from, to) == (Master, Backup),
        Cause::Fault { reasons } => to == Fault && !reasons.is_empty(),
        Cause::FaultCleared => (from, to) == (Fault, Backup),
        Cause::SyncGroup { .. } => matches!((from, to), (Master, Backup) | (Backup, Master)),
        Cause::Adopted => to == Master && matches!(from, Init | Backup | Fault),
        Cause::Failover | Cause::Maintenance => (from, to) == (Master, Backup),
        Cause::Stopping => to == Stop,
        Cause::Removed => matches!(to, Deleted | Fault),
    }
}
