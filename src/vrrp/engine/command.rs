//! What an operator can tell a running engine: to hand one virtual router over, to take no part in elections.
//!
//! Pure.

use serde::{Deserialize, Serialize};

use super::*;

/// Why a router is not handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum FailoverRefusal {
    /// No such instance.
    #[error("there is no vrrp_instance {instance}")]
    Unknown {
        /// The name that was given.
        instance: String,
    },
    /// It is not master, so there is nothing to hand over; for a sync group no member is.
    #[error("{instance} is {state}, not MASTER")]
    NotMaster {
        /// The instance.
        instance: String,
        /// Its state.
        state: StateName,
    },
    /// The address owner (priority 255) has never heard another router: nobody would take over.
    #[error("{instance} owns its addresses (priority 255) and has heard no other router")]
    OwnerAlone {
        /// The instance.
        instance: String,
    },
    /// The process ends, and hands everything over.
    #[error("the daemon is stopping")]
    Stopping,
}

impl VrrpEngine {
    /// Hands the mastership of an instance over, with that of its sync group: priority 0, then the addresses stay until
    /// the successor has them. The instance is backup at once, does not contend until somebody else is master, and
    /// leaves a worse master alone for three master-down intervals after its first advert; then `preempt` decides. When
    /// nobody comes it is master again after its master-down interval.
    ///
    /// An input like any other: drain the effects afterwards.
    ///
    /// # Errors
    /// Why not. Nothing has changed then.
    pub fn failover(&mut self, now: Instant, name: &str) -> Result<(), FailoverRefusal> {
        self.now = now;
        match self.phase {
            Phase::Stopping | Phase::Stopped => return Err(FailoverRefusal::Stopping),
            Phase::Starting { .. } | Phase::Running => {}
        }
        let instance = self.ids.get(name).and_then(|id| self.instances.get(id));
        let Some(asked) = instance else { return Err(FailoverRefusal::Unknown { instance: name.to_owned() }) };
        let group = asked.group.as_ref().and_then(|group| self.groups.get(group));
        let ids = group.map_or_else(|| vec![asked.id], |group| group.members.clone());
        let members = || ids.iter().filter_map(|id| self.instances.get(id));
        if !members().any(|instance| instance.is_master()) {
            return Err(FailoverRefusal::NotMaster { instance: name.to_owned(), state: asked.state.name() });
        }
        if let Some(owner) = members().find(|member| member.config.priority.is_owner() && !member.has_heard_others) {
            return Err(FailoverRefusal::OwnerAlone { instance: owner.name.to_string() });
        }
        for id in &ids {
            self.with(now, *id, |instance, turn| {
                if instance.is_master() {
                    instance.enter_handover(turn, Cause::Failover);
                }
            });
        }
        self.settle_groups_of(now, &ids, &Cause::Failover);
        Ok(())
    }

    /// Whether this node takes no part in elections ([`Input::Maintenance`]).
    pub fn is_in_maintenance(&self) -> bool {
        self.maintenance
    }

    pub(super) fn set_maintenance(&mut self, now: Instant, on: bool) {
        self.maintenance = on;
        let ids = self.all_ids();
        for id in &ids {
            self.with(now, *id, |instance, turn| instance.set_maintenance(turn, on));
        }
        self.settle_groups_of(now, &ids, &Cause::Maintenance);
    }
}
