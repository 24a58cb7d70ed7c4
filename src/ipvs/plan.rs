//! From one service table to another: the operations, in an order that keeps traffic flowing on the way.
//!
//! Pure. `carry_out` of all of `plan(a, b)` on `a` gives `b`. On the way no service that has somebody to serve it before
//! and after is ever without: what is new comes first, then what changes, and last what goes. Services that go do so
//! when all others stand, so that a service which takes over from another one is there before it.

use std::ops::Bound;

use super::shared::Shared;
use super::small_map::SmallMap;
use super::table::{Destination, Operation, Service, ServiceSettings, ServiceTable};
use super::types::{ServiceKey, SocketKey};

/// What a data plane keeps of a service's settings; the rest is no difference to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// The kernel knows nothing of [`super::config::ProxyConfig`].
    KernelSettings,
    /// Everything.
    All,
}

impl Keeps {
    /// Whether two settings are one to this data plane.
    pub fn same(self, a: &ServiceSettings, b: &ServiceSettings) -> bool {
        match self {
            Self::All => a == b,
            Self::KernelSettings => a.scheduler == b.scheduler && a.flags == b.flags && a.persistence == b.persistence,
        }
    }
}

/// The operations that lead from `applied` to `desired`.
pub fn plan(applied: &ServiceTable, desired: &ServiceTable, keeps: Keeps) -> Vec<Operation> {
    let mut operations = Vec::new();
    plan_part(applied, desired, keeps, None, usize::MAX, &mut operations);
    operations
}

/// The next part of a plan: of the services after this one, whole ones until there are so many operations. The answer is
/// the last service of the part; nothing when it was the last part. The parts before are carried out on `applied`.
///
/// All operations that fill a large table are a multiple of that table in memory.
pub fn plan_part(
    applied: &ServiceTable,
    desired: &ServiceTable,
    keeps: Keeps,
    after: Option<ServiceKey>,
    enough: usize,
    operations: &mut Vec<Operation>,
) -> Option<ServiceKey> {
    let nothing = Shared::default();
    let rest = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
    for (key, service) in desired.services.range(rest) {
        let before = match applied.services.get(key) {
            None => {
                operations.push(Operation::AddService(*key, service.settings.clone()));
                &nothing
            }
            Some(old) => {
                if !keeps.same(&old.settings, &service.settings) {
                    operations.push(Operation::EditService(*key, service.settings.clone()));
                }
                &old.destinations
            }
        };
        if *before != service.destinations {
            plan_destinations(*key, before, &service.destinations, operations);
        }
        if operations.len() >= enough {
            return Some(*key);
        }
    }
    let gone = applied.services.keys().filter(|key| !desired.services.contains_key(*key));
    operations.extend(gone.map(|key| Operation::RemoveService(*key)));
    None
}

fn plan_destinations(
    key: ServiceKey,
    before: &SmallMap<SocketKey, Destination>,
    after: &SmallMap<SocketKey, Destination>,
    operations: &mut Vec<Operation>,
) {
    let serves = |destination: &Destination| destination.weight > 0;
    // Those that take traffic before those that do not: an edit to weight 0 must not precede the one that takes over.
    for wanted in [true, false] {
        for (at, destination) in after.iter().filter(|(_, destination)| serves(destination) == wanted) {
            match before.get(at) {
                None => operations.push(Operation::AddDestination(key, *at, *destination)),
                Some(old) if old != destination => {
                    operations.push(Operation::EditDestination(key, *at, *destination));
                }
                Some(_) => {}
            }
        }
    }
    let gone = before.keys().filter(|at| !after.contains_key(at));
    operations.extend(gone.map(|at| Operation::RemoveDestination(key, *at)));
}

/// Only what `applied` lacks: additions, and the settings and weights of what is there as somebody left them. An
/// operator may have changed a weight by hand for good reason; what is gone altogether is an accident.
pub fn missing(applied: &ServiceTable, desired: &ServiceTable) -> Vec<Operation> {
    let mut operations = plan(applied, desired, Keeps::All);
    operations.retain(|operation| matches!(operation, Operation::AddService(..) | Operation::AddDestination(..)));
    operations
}

/// What an operation does to a table: the model of every data plane. One that has no object changes nothing.
pub fn carry_out(table: &mut ServiceTable, operation: &Operation) {
    let services = &mut table.services;
    match operation {
        Operation::AddService(key, settings) => {
            services.entry(*key).or_insert_with(|| Service { settings: settings.clone(), ..Service::default() });
        }
        Operation::EditService(key, settings) => {
            if let Some(service) = services.get_mut(key) {
                service.settings = settings.clone();
            }
        }
        Operation::RemoveService(key) => drop(services.remove(key)),
        Operation::AddDestination(key, at, destination) => {
            if let Some(service) = services.get_mut(key)
                && !service.destinations.contains_key(at)
            {
                service.destinations.insert(*at, *destination);
            }
        }
        Operation::EditDestination(key, at, destination) => {
            if let Some(old) = services.get_mut(key).and_then(|service| service.destinations.get_mut(at)) {
                *old = *destination;
            }
        }
        Operation::RemoveDestination(key, at) => {
            if let Some(service) = services.get_mut(key) {
                service.destinations.remove(at);
            }
        }
    }
}

impl Operation {
    /// The service that it concerns.
    pub fn service(&self) -> ServiceKey {
        match self {
            Self::AddService(key, _)
            | Self::EditService(key, _)
            | Self::RemoveService(key)
            | Self::AddDestination(key, ..)
            | Self::EditDestination(key, ..)
            | Self::RemoveDestination(key, _) => *key,
        }
    }

    /// The destination that it concerns, if it does not concern the whole service.
    pub fn destination(&self) -> Option<SocketKey> {
        match self {
            Self::AddService(..) | Self::EditService(..) | Self::RemoveService(_) => None,
            Self::AddDestination(_, at, _) | Self::EditDestination(_, at, _) | Self::RemoveDestination(_, at) => {
                Some(*at)
            }
        }
    }
}

#[cfg(test)]
mod tests;
