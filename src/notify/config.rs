//! Typed configuration of notify scripts.
//!
//! Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::command::Command;

/// Who is told of which state, by instance and by group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifyConfig {
    /// By `vrrp_instance` name.
    pub instances: BTreeMap<String, NotifyScripts>,
    /// By `vrrp_sync_group` name.
    pub groups: BTreeMap<String, NotifyScripts>,
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
