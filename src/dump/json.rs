//! `keepalived.json`: one line, keys in keepalived's order.
//!
//! Pure. Version 1 is an array of instances, version 2 (`json_version 2`) an object that has process trackers too. A
//! slash is escaped (`\/`), as keepalived does, and no password is shown.

use std::collections::BTreeMap;

use serde::Serialize;

use super::words::{address, command};
use super::{Facts, state_number};
use crate::command::Command;
use crate::conf::config::in_order;
use crate::trackers::config::{ParameterMatch, ProcessConfig, ProcessPattern};
use crate::vrrp::config::{AddressConfig, Auth, InstanceConfig, TrackerKey};
use crate::vrrp::event::TrackerStatus;
use crate::vrrp::snapshot::{Counters, InstanceSnapshot};

/// `json_version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// An array of instances.
    V1,
    /// `{"vrrp":[…],"track_process":[…]}`.
    V2,
}

/// The whole file; `None` without instances: keepalived writes none then.
pub fn render(facts: &Facts<'_>, layout: Layout) -> Option<String> {
    let vrrp: Vec<_> = facts.instances().map(|(name, config, shown)| entry(facts, name, config, shown)).collect();
    if vrrp.is_empty() {
        return None;
    }
    let text = match layout {
        Layout::V1 => serde_json::to_string(&vrrp),
        Layout::V2 => serde_json::to_string(&Both { vrrp, track_process: processes(facts) }),
    };
    // In JSON a slash is found in strings only.
    text.ok().map(|text| text.replace('/', "\\/") + "\n")
}

#[derive(Serialize)]
struct Both {
    vrrp: Vec<Entry>,
    track_process: Vec<Process>,
}

#[derive(Serialize)]
struct Entry {
    data: Data,
    stats: Stats,
}

#[derive(Serialize)]
struct Data {
    iname: String,
    dont_track_primary: u8,
    skip_check_adv_addr: u8,
    strict_mode: u8,
    vmac_ifname: &'static str,
    ifp_ifname: String,
    master_priority: u8,
    last_transition: Micros,
    garp_delay: u64,
    garp_refresh: u64,
    garp_rep: u32,
    garp_refresh_rep: u32,
    garp_lower_prio_delay: u64,
    garp_lower_prio_rep: u32,
    lower_prio_no_advert: u8,
    higher_prio_send_advert: u8,
    vrid: u8,
    base_priority: u8,
    effective_priority: u8,
    vipset: bool,
    promote_secondaries: bool,
    adver_int: Seconds,
    master_adver_int: Seconds,
    accept: u8,
    nopreempt: bool,
    preempt_delay: u64,
    state: u8,
    wantstate: u8,
    version: u8,
    smtp_alert: bool,
    notify_deleted: bool,
    #[serde(flatten)]
    scripts: Scripts,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evips: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_ifp: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_script: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    track_process: Vec<String>,
    auth_type: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_data: Option<&'static str>,
}

#[derive(Serialize)]
struct Scripts {
    #[serde(skip_serializing_if = "Option::is_none")]
    script_backup: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_master: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_fault: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_stop: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_deleted: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    script_master_rx_lower_pri: Option<String>,
}

#[derive(Serialize)]
struct Stats {
    advert_rcvd: u64,
    advert_sent: u64,
    become_master: u64,
    release_master: u64,
    packet_len_err: u64,
    advert_interval_err: u64,
    ip_ttl_err: u64,
    invalid_type_rcvd: u64,
    addr_list_err: u64,
    invalid_authtype: u64,
    authtype_mismatch: u64,
    auth_failure: u64,
    // `auth_hmac` is not carried out: nothing is ever refused for it.
    auth_ext_missing: u64,
    auth_ext_malformed: u64,
    auth_ext_unknown_key: u64,
    auth_ext_invalid_hmac: u64,
    auth_ext_stale: u64,
    auth_ext_replay: u64,
    pri_zero_rcvd: u64,
    pri_zero_sent: u64,
}

impl From<Counters> for Stats {
    fn from(c: Counters) -> Self {
        Self {
            advert_rcvd: c.advert_rcvd,
            advert_sent: c.advert_sent,
            become_master: c.become_master,
            release_master: c.release_master,
            packet_len_err: c.packet_len_err,
            advert_interval_err: c.advert_interval_err,
            ip_ttl_err: c.ip_ttl_err,
            invalid_type_rcvd: c.invalid_type_rcvd,
            addr_list_err: c.addr_list_err,
            invalid_authtype: c.invalid_authtype,
            authtype_mismatch: c.authtype_mismatch,
            auth_failure: c.auth_failure,
            auth_ext_missing: 0,
            auth_ext_malformed: 0,
            auth_ext_unknown_key: 0,
            auth_ext_invalid_hmac: 0,
            auth_ext_stale: 0,
            auth_ext_replay: 0,
            pri_zero_rcvd: c.pri_zero_rcvd,
            pri_zero_sent: c.pri_zero_sent,
        }
    }
}

/// A moment as a number with six decimals, or fewer.
struct Micros(std::time::Duration);

impl Serialize for Micros {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let micros = u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX);
        // Exact: microseconds of this century take 51 of the 53 bits.
        #[allow(clippy::cast_precision_loss)]
        serializer.serialize_f64(micros as f64 / 1e6)
    }
}

/// `1` and `0.5`, where serde would write `1.0`.
struct Seconds(std::time::Duration);

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.subsec_nanos() == 0 {
            serializer.serialize_u64(self.0.as_secs())
        } else {
            serializer.serialize_f64(self.0.as_secs_f64())
        }
    }
}

/// The settings of gratuitous ARP as keepalived shows them: whole seconds, and none after a lower-priority advert in
/// strict mode.
pub(super) struct Garp {
    pub delay: u64,
    pub repeat: u32,
    pub refresh: u64,
    pub refresh_repeat: u32,
    pub lower_prio_delay: u64,
    pub lower_prio_repeat: u32,
}

impl Garp {
    pub(super) fn of(config: &InstanceConfig) -> Self {
        let garp = &config.garp;
        let lower = !config.strict;
        Self {
            delay: garp.delay.as_secs(),
            repeat: garp.repeat,
            refresh: garp.refresh.as_secs(),
            refresh_repeat: garp.refresh_repeat,
            lower_prio_delay: if lower { garp.lower_prio_delay.as_secs() } else { 0 },
            lower_prio_repeat: if lower { garp.lower_prio_repeat } else { 0 },
        }
    }
}

fn entry(facts: &Facts<'_>, name: &str, config: &InstanceConfig, shown: &InstanceSnapshot) -> Entry {
    let garp = Garp::of(config);
    let interface = config.interface.as_deref();
    let line = |one: &AddressConfig| address(one, interface, shown.held.contains(&one.address), !config.accept);
    let state = state_number(shown.state);
    let named = |name: fn(&TrackerKey) -> Option<&String>| {
        config.tracks.iter().filter_map(move |track| name(&track.tracker)).cloned()
    };
    let scripts = named(|key| if let TrackerKey::Script(name) = key { Some(name) } else { None });
    let data = Data {
        iname: name.to_owned(),
        dont_track_primary: u8::from(!config.track_primary),
        skip_check_adv_addr: u8::from(config.skip_check_adv_addr),
        strict_mode: u8::from(config.strict),
        vmac_ifname: "",
        ifp_ifname: interface.unwrap_or_default().to_owned(),
        master_priority: shown.master.map_or(0, |master| master.priority),
        last_transition: Micros(facts.last_transition(name, shown)),
        garp_delay: garp.delay,
        garp_refresh: garp.refresh,
        garp_rep: garp.repeat,
        garp_refresh_rep: garp.refresh_repeat,
        garp_lower_prio_delay: garp.lower_prio_delay,
        garp_lower_prio_rep: garp.lower_prio_repeat,
        lower_prio_no_advert: u8::from(config.lower_prio_no_advert),
        higher_prio_send_advert: u8::from(config.higher_prio_send_advert),
        vrid: config.vrid.value(),
        base_priority: shown.base_priority,
        effective_priority: shown.effective_priority,
        vipset: !shown.held.is_empty(),
        promote_secondaries: config.promote_secondaries,
        adver_int: Seconds(config.advert_interval.duration()),
        master_adver_int: Seconds(shown.master_interval.duration()),
        accept: u8::from(config.accept),
        nopreempt: !config.preempt,
        preempt_delay: config.preempt_delay.as_secs(),
        state,
        wantstate: state,
        version: config.version.value(),
        smtp_alert: facts.mail().is_some_and(|mail| mail.instances.contains(name)),
        notify_deleted: config.notify_deleted,
        scripts: notify(facts, name),
        vips: config.addresses.iter().map(line).collect(),
        evips: config.excluded.iter().map(line).collect(),
        track_ifp: named(|key| if let TrackerKey::Interface(name) = key { Some(name) } else { None }).collect(),
        // keepalived names them by their commands.
        track_script: scripts.filter_map(|name| Some(command(&facts.config.scripts.get(&name)?.command))).collect(),
        track_process: named(|key| if let TrackerKey::Process(name) = key { Some(name) } else { None }).collect(),
        auth_type: u8::from(matches!(config.auth, Auth::Pass(_))),
        auth_data: matches!(config.auth, Auth::Pass(_)).then_some("********"),
    };
    Entry { data, stats: facts.counters(name, shown).into() }
}

fn notify(facts: &Facts<'_>, name: &str) -> Scripts {
    let none = Default::default();
    let scripts = facts.config.notify.instances.get(name).unwrap_or(&none);
    let shown = |of_state: &Option<Command>| of_state.as_ref().map(command);
    Scripts {
        script_backup: shown(&scripts.backup),
        script_master: shown(&scripts.master),
        script_fault: shown(&scripts.fault),
        script_stop: shown(&scripts.stop),
        script_deleted: shown(&scripts.deleted),
        script: shown(&scripts.any),
        script_master_rx_lower_pri: shown(&scripts.master_rx_lower_pri),
    }
}

#[derive(Serialize)]
struct Process {
    process: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<String>,
    param_match: &'static str,
    min_processes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_processes: Option<u32>,
    current_processes: u32,
    have_quorum: bool,
    weight: i16,
    terminate_delay: Seconds,
    fork_delay: Seconds,
    fork_delay_timer_running: bool,
    terminate_delay_timer_running: bool,
    full_command: bool,
}

fn processes(facts: &Facts<'_>) -> Vec<Process> {
    let statuses: BTreeMap<_, _> = facts.snapshot.trackers.iter().map(|(key, status)| (key, *status)).collect();
    let all = in_order(&facts.config.order.processes, &facts.config.processes);
    let tracked = all.filter_map(|(name, config)| {
        let key = TrackerKey::Process(name.clone());
        let status = *statuses.get(&key)?;
        let mut tracks = facts.config.vrrp.instances.values().flat_map(|instance| &instance.tracks);
        let weight = tracks.find(|track| track.tracker == key).map_or(0, |track| track.weight);
        Some(process(facts, name, config, status, weight))
    });
    tracked.collect()
}

fn process(facts: &Facts<'_>, name: &str, config: &ProcessConfig, status: TrackerStatus, weight: i16) -> Process {
    let counted = facts.processes.get(name).copied().unwrap_or_default();
    let (program, parameters, param_match) = match &config.pattern {
        ProcessPattern::Name(program) => (program, None, "none"),
        ProcessPattern::CommandLine { program, parameters, matching } => {
            let word = match matching {
                ParameterMatch::Exact => "exact",
                ParameterMatch::Initial => "initial",
                ParameterMatch::Partial => "partial",
            };
            (program, (!parameters.is_empty()).then(|| parameters.join(" ")), word)
        }
    };
    Process {
        process: program.clone(),
        parameters,
        param_match,
        min_processes: config.quorum,
        max_processes: config.quorum_max,
        current_processes: counted.count,
        have_quorum: status == TrackerStatus::Up,
        weight,
        terminate_delay: Seconds(config.terminate_delay),
        fork_delay: Seconds(config.fork_delay),
        fork_delay_timer_running: counted.fork_delay_running,
        terminate_delay_timer_running: counted.terminate_delay_running,
        full_command: matches!(config.pattern, ProcessPattern::CommandLine { .. }),
    }
}
