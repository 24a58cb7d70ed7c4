//! Typed configuration of notify scripts.
//!
//! Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::ipvs::config::{BalancerConfig, VirtualServerId};
use crate::ipvs::types::SocketKey;

/// Who is told of which state, by instance, by group and by virtual server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyConfig {
    /// By `vrrp_instance` name.
    pub instances: BTreeMap<String, NotifyScripts>,
    /// By `vrrp_sync_group` name.
    pub groups: BTreeMap<String, NotifyScripts>,
    /// Of virtual servers and their real servers; main takes them from the balancer's configuration.
    pub virtual_servers: BTreeMap<VirtualServerId, VirtualServerScripts>,
}

/// The scripts of one virtual server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualServerScripts {
    /// `quorum_up`.
    pub quorum_up: Option<Command>,
    /// `quorum_down`.
    pub quorum_down: Option<Command>,
    /// Down scripts run at the end too (`omega`).
    pub omega: bool,
    /// `notify_up` and `notify_down` by real server.
    pub real_servers: BTreeMap<SocketKey, RealServerScripts>,
}

/// The scripts of one real server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealServerScripts {
    /// `notify_up`.
    pub up: Option<Command>,
    /// `notify_down`.
    pub down: Option<Command>,
}

/// The scripts that stand in the blocks of virtual servers.
pub fn of_virtual_servers(config: &BalancerConfig) -> BTreeMap<VirtualServerId, VirtualServerScripts> {
    let services = config.services.iter().map(|(id, server)| {
        let scripts = VirtualServerScripts {
            quorum_up: server.quorum_up.as_deref().cloned(),
            quorum_down: server.quorum_down.as_deref().cloned(),
            omega: server.omega,
            real_servers: server
                .real_servers
                .iter()
                .filter(|real| real.notify_up.is_some() || real.notify_down.is_some())
                .map(|real| {
                    let (up, down) = (real.notify_up.as_deref().cloned(), real.notify_down.as_deref().cloned());
                    (real.address, RealServerScripts { up, down })
                })
                .collect(),
        };
        (id.clone(), scripts)
    });
    services.collect()
}

/// The scripts of one instance or group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyScripts {
    /// `notify_master`.
    pub master: Option<Command>,
    /// `notify_backup`.
    pub backup: Option<Command>,
    /// `notify_fault`.
    pub fault: Option<Command>,
    /// `notify_stop`.
    pub stop: Option<Command>,
    /// `notify_deleted` (instances only).
    pub deleted: Option<Command>,
    /// `notify_master_rx_lower_pri` (instances only).
    pub master_rx_lower_pri: Option<Command>,
    /// `notify`: any state, with four more arguments: `INSTANCE|GROUP`, name, state, priority.
    pub any: Option<Command>,
}
