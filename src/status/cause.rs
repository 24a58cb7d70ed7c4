//! Causes for people and programs.
//!
//! Pure. The words are part of the API: programs compare them.

use super::model::Cause;
use crate::ipvs::event as balancer;
use crate::vrrp::event as vrrp;

/// For programs: the kind of a cause.
pub fn kind(cause: &vrrp::Cause) -> &'static str {
    use vrrp::Cause as C;
    match cause {
        C::Started => "started",
        C::Reconfigured => "reconfigured",
        C::AddressOwner => "address_owner",
        C::MasterSilent { .. } => "master_silent",
        C::MasterResigned { .. } => "master_resigned",
        C::Preempting { .. } => "preempting",
        C::BetterMaster { .. } => "better_master",
        C::Fault { .. } => "fault",
        C::FaultCleared => "fault_cleared",
        C::SyncGroup { .. } => "sync_group",
        C::Tracker { .. } => "tracker",
        C::Adopted => "adopted",
        C::Failover => "failover",
        C::Maintenance => "maintenance",
        C::Stopping => "stopping",
        C::Removed => "removed",
    }
}

impl From<&vrrp::Cause> for Cause {
    fn from(cause: &vrrp::Cause) -> Self {
        Self { kind: kind(cause).to_owned(), text: cause.to_string() }
    }
}

impl From<&balancer::Cause> for Cause {
    fn from(cause: &balancer::Cause) -> Self {
        use balancer::Cause as C;
        let kind = match cause {
            C::Started => "started",
            C::Reconfigured => "reconfigured",
            C::Checker { .. } => "checker",
            C::Admin(_) => "admin",
            C::SlowStart => "slow_start",
            C::Removed => "removed",
            C::Stopping => "stopping",
        };
        Self { kind: kind.to_owned(), text: cause.to_string() }
    }
}
