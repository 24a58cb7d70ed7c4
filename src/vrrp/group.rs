//! Sync groups: their members change state together.
//!
//! Pure. Conclusions are computed from the members' states until nothing changes; there is no wished-for state to keep.
//!
//! 1. A member with a fault of its own puts every other member into FAULT.
//! 2. A member that is no longer master takes the others with it.
//! 3. When the master-down timers of all members have expired, all become master at once; one alone waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::engine::Effect;
use super::event::{Cause, Event, FaultReason, StateName};
use super::instance::{Instance, Turn};
use super::state::State;
use super::types::InstanceId;

/// A sync group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Arc<str>,
    /// Its members.
    pub members: Vec<InstanceId>,
    /// The common state that people were told of.
    pub told: Option<StateName>,
}

/// Lets one instance without a group act on its health. `started`: the start-up delay is over.
pub fn settle_single(instance: &mut Instance, turn: &mut Turn<'_>, started: bool, cause: &Cause) {
    // A reload took it out of its group while it waited for the others: its timer has expired.
    instance.promote(turn);
    let reasons = instance.health.faults.clone();
    act_on_reasons(instance, turn, reasons, started, cause);
}

/// Lets all members of a group act on their health and on each other.
pub fn settle(
    group: &mut Group,
    instances: &mut BTreeMap<InstanceId, Box<Instance>>,
    turn: &mut Turn<'_>,
    started: bool,
    cause: &Cause,
) {
    spread_faults(group, instances, turn, started, cause);
    join_masters(group, instances, turn);
    release_together(group, instances, turn);
    promote_together(group, instances, turn);
    tell(group, instances, turn, cause);
}

fn spread_faults(
    group: &Group,
    instances: &mut BTreeMap<InstanceId, Box<Instance>>,
    turn: &mut Turn<'_>,
    started: bool,
    cause: &Cause,
) {
    let faulty: Vec<(InstanceId, Arc<str>)> = members(group, instances)
        .filter(|member| !member.health.faults.is_empty())
        .map(|member| (member.id, member.name.clone()))
        .collect();
    // The faulty ones first: their own FAULT is the cause of the others'.
    let order = group.members.iter().filter(|id| faulty.iter().any(|(f, _)| f == *id));
    let rest = group.members.iter().filter(|id| !faulty.iter().any(|(f, _)| f == *id));
    for id in order.chain(rest) {
        let Some(member) = instances.get_mut(id) else { continue };
        let mut reasons = member.health.faults.clone();
        if let Some((_, name)) = faulty.iter().find(|(other, _)| other != id) {
            reasons.insert(FaultReason::SyncGroup { group: group.name.to_string(), member: name.to_string() });
        }
        act_on_reasons(member, turn, reasons, started, cause);
    }
}

/// Enters or leaves FAULT, leaves INIT.
fn act_on_reasons(
    instance: &mut Instance,
    turn: &mut Turn<'_>,
    reasons: BTreeSet<FaultReason>,
    started: bool,
    cause: &Cause,
) {
    match (&instance.state, reasons.is_empty()) {
        (State::Init, _) if !started => {}
        (State::Init | State::Backup(_) | State::Master(_) | State::Fault { .. }, false) => {
            instance.enter_fault(turn, reasons);
        }
        (State::Init | State::Fault { .. }, true) if instance.health.pending => {}
        (State::Init, true) => instance.start(turn, cause.clone()),
        (State::Fault { .. }, true) => instance.start(turn, Cause::FaultCleared),
        (State::Backup(_) | State::Master(_), true) | (State::Leaving(_), _) => {}
    }
}

/// A member that a reload added to a group which is master, or that a new group joins to a master, becomes master with
/// it: adding must not cost mastership.
fn join_masters(group: &mut Group, instances: &mut BTreeMap<InstanceId, Box<Instance>>, turn: &mut Turn<'_>) {
    if !matches!(group.told, None | Some(StateName::Master)) {
        return;
    }
    let Some(master) = members(group, instances).find(|m| m.is_master()).map(|m| m.name.clone()) else { return };
    for id in &group.members {
        let Some(member) = instances.get_mut(id) else { continue };
        if member.is_fresh_backup(turn.now) {
            member.expire(turn, Cause::SyncGroup { group: group.name.to_string(), member: master.to_string() });
        }
    }
}

fn release_together(group: &Group, instances: &mut BTreeMap<InstanceId, Box<Instance>>, turn: &mut Turn<'_>) {
    // One in INIT has not left: a reload added it, and its tracker has no result yet.
    let has_left = |m: &&Instance| !m.is_master() && !m.waits_for_group() && m.state != State::Init;
    let left = members(group, instances).find(has_left).map(|m| m.name.clone());
    let Some(left) = left else { return };
    for id in &group.members {
        let Some(member) = instances.get_mut(id) else { continue };
        if member.is_master() {
            member
                .release_with_group(turn, Cause::SyncGroup { group: group.name.to_string(), member: left.to_string() });
        }
    }
}

fn promote_together(group: &Group, instances: &mut BTreeMap<InstanceId, Box<Instance>>, turn: &mut Turn<'_>) {
    // In a group which is master one in INIT joins later; a group which is not yet waits for it.
    let is_master = members(group, instances).any(Instance::is_master);
    let is_ready = |m: &Instance| m.is_master() || m.waits_for_group() || (is_master && m.state == State::Init);
    if !members(group, instances).all(is_ready) {
        // The predecessor was master of all or of none: what is left of it is adopted at once and whole, or not at all.
        for id in &group.members {
            if let Some(member) = instances.get_mut(id) {
                member.forget_adoption(turn.now);
            }
        }
        return;
    }
    for id in &group.members {
        if let Some(member) = instances.get_mut(id) {
            member.promote(turn);
        }
    }
}

fn tell(group: &mut Group, instances: &BTreeMap<InstanceId, Box<Instance>>, turn: &mut Turn<'_>, cause: &Cause) {
    let states: BTreeSet<StateName> = members(group, instances).map(|member| member.state.name()).collect();
    let Some(first) = states.first().copied().filter(|_| states.len() == 1) else { return };
    if first == StateName::Init || group.told == Some(first) {
        return;
    }
    group.told = Some(first);
    let cause = members(group, instances)
        .map(Instance::cause)
        .find(|cause| !is_of_another_member(cause))
        .unwrap_or(cause)
        .clone();
    turn.effects.push_back(Effect::Emit(Event::GroupChanged { group: group.name.to_string(), to: first, cause }));
}

/// Whether a member moved only because another one did.
fn is_of_another_member(cause: &Cause) -> bool {
    match cause {
        Cause::SyncGroup { .. } => true,
        Cause::Fault { reasons } => reasons.iter().all(|reason| matches!(reason, FaultReason::SyncGroup { .. })),
        _ => false,
    }
}

fn members<'a>(
    group: &'a Group,
    instances: &'a BTreeMap<InstanceId, Box<Instance>>,
) -> impl Iterator<Item = &'a Instance> + 'a {
    group.members.iter().filter_map(|id| instances.get(id)).map(|instance| &**instance)
}
