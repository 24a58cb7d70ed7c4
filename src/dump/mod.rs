//! keepalived's state files: `keepalived.data`, `.stats`, `.json` and `keepalived_check.data`, as programs read them.
//!
//! Pure, but for its shell `writer`: everything is passed in as [`Facts`]. Labels, indentation and separators are those
//! of keepalived's own files: exporters and shell scripts match them as text. Where keepalived prints something that
//! means nothing here, the line is left out, never invented: `tests/dump/left_out.txt` names each with its reason.

pub mod check;
pub mod data;
pub mod global;
pub mod json;
pub mod stats;
pub mod words;
pub mod writer;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::command::Command;
use crate::conf::config::{Config, in_order};
use crate::notify::config::EmailConfig;
use crate::trackers::process::ProcessCount;
use crate::vrrp::event::StateName;
use crate::vrrp::snapshot::{Counters, InstanceSnapshot, Snapshot};

/// Everything that the files of the vrrp process are made of.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The configuration in force.
    pub config: &'a Config,
    /// What the vrrp process said of itself.
    pub snapshot: &'a Snapshot,
    /// The counters of each instance when they were last cleared (STATS_CLEAR).
    pub cleared: &'a BTreeMap<String, Counters>,
    /// When each instance changed its state last, as far as that was heard (CLOCK_REALTIME).
    pub transitions: &'a dyn Fn(&str) -> Option<Duration>,
    /// The `vrrp_script`s that run at this moment.
    pub running: &'a BTreeSet<String>,
    /// What the `vrrp_track_process`es have counted.
    pub processes: &'a BTreeMap<String, ProcessCount>,
    /// What main knows.
    pub host: Host<'a>,
}

/// What is known of the machine.
#[derive(Clone, Copy)]
pub struct Host<'a> {
    /// Its name, which is the default of `router_id`.
    pub name: &'a str,
    /// The user and group that a command runs as.
    pub identity: &'a dyn Fn(Option<&Command>) -> (u32, u32),
    /// A moment, in seconds since the epoch, by the local clock: `Sat Nov 21 08:22:24` and the year.
    pub clock: &'a dyn Fn(i64) -> Option<(String, i32)>,
    /// The namespace that the daemon was started in with `-s` or `net_namespace`.
    pub namespace: Option<&'a str>,
    /// The file creation mask in force.
    pub umask: u32,
}

impl fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> Facts<'a> {
    /// The instances of which both the configuration and the vrrp process know, in the order of the file.
    fn instances(
        &self,
    ) -> impl Iterator<Item = (&'a str, &'a crate::vrrp::config::InstanceConfig, &'a InstanceSnapshot)> {
        let shown = &self.snapshot.instances;
        let all = in_order(&self.config.order.instances, &self.config.vrrp.instances);
        all.filter_map(move |(name, config)| Some((name.as_str(), config, shown.get(name)?)))
    }

    fn mail(&self) -> Option<&'a EmailConfig> {
        self.config.notify.email.as_ref()
    }

    /// What was counted since the counters were cleared.
    fn counters(&self, name: &str, shown: &InstanceSnapshot) -> Counters {
        self.cleared.get(name).map_or(shown.counters, |before| since(shown.counters, *before))
    }

    /// The moment at which an instance came into its state (CLOCK_REALTIME).
    ///
    /// What was heard then is the same each time; what is calculated now differs by microseconds, and alerts are made
    /// of changes.
    fn last_transition(&self, name: &str, shown: &InstanceSnapshot) -> Duration {
        let calculated = || self.snapshot.at.saturating_sub(shown.since);
        (self.transitions)(name).unwrap_or_else(calculated)
    }
}

/// keepalived's numbers for states.
fn state_number(state: StateName) -> u8 {
    match state {
        StateName::Init => 0,
        StateName::Backup => 1,
        StateName::Master => 2,
        StateName::Fault => 3,
        StateName::Deleted => 97,
        StateName::Stop => 98,
    }
}

/// The counters that are keepalived's, less what they were at some time. A process that was restarted since counts from
/// 0 again: then nothing is taken off.
fn since(now: Counters, before: Counters) -> Counters {
    let pairs = |c: &Counters| {
        [
            c.advert_rcvd,
            c.advert_sent,
            c.become_master,
            c.release_master,
            c.packet_len_err,
            c.advert_interval_err,
            c.ip_ttl_err,
            c.invalid_type_rcvd,
            c.addr_list_err,
            c.invalid_authtype,
            c.authtype_mismatch,
            c.auth_failure,
            c.pri_zero_rcvd,
            c.pri_zero_sent,
        ]
    };
    if pairs(&now).iter().zip(pairs(&before)).any(|(now, before)| *now < before) {
        return now;
    }
    Counters {
        advert_rcvd: now.advert_rcvd - before.advert_rcvd,
        advert_sent: now.advert_sent - before.advert_sent,
        become_master: now.become_master - before.become_master,
        release_master: now.release_master - before.release_master,
        packet_len_err: now.packet_len_err - before.packet_len_err,
        advert_interval_err: now.advert_interval_err - before.advert_interval_err,
        ip_ttl_err: now.ip_ttl_err - before.ip_ttl_err,
        invalid_type_rcvd: now.invalid_type_rcvd - before.invalid_type_rcvd,
        addr_list_err: now.addr_list_err - before.addr_list_err,
        invalid_authtype: now.invalid_authtype - before.invalid_authtype,
        authtype_mismatch: now.authtype_mismatch - before.authtype_mismatch,
        auth_failure: now.auth_failure - before.auth_failure,
        pri_zero_rcvd: now.pri_zero_rcvd - before.pri_zero_rcvd,
        pri_zero_sent: now.pri_zero_sent - before.pri_zero_sent,
        ..now
    }
}
