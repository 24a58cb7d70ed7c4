//! From configuration and snapshots to what is shown.
//!
//! Pure. What a process did not say is shown as unknown, beside what main knows of it from the configuration.

mod forwarder;

use std::collections::{BTreeMap, BTreeSet};

pub use forwarder::forwarder;

use super::model::{
    Address, Cause, Check, DualMaster, Effect, Heard, Instance, Peer, Priority, RealServer, State, SyncGroup, Tracker,
    Traffic, VirtualServer,
};
use super::time::Time;
use crate::checkers::report::Health;
use crate::conf::config::Config;
use crate::ipvs::config::{RealServerConfig, VirtualServerConfig, VirtualServerId};
use crate::ipvs::dataplane::Counters;
use crate::ipvs::shared::Shared;
use crate::ipvs::snapshot::{RealServerSnapshot, Snapshot as BalancerSnapshot, VirtualServerSnapshot};
use crate::ipvs::types::ForwardMethod;
use crate::vrrp::config::{AddressConfig, InstanceConfig, Track, TrackerKey, Transport};
use crate::vrrp::event::TrackerStatus;
use crate::vrrp::peers::PeerSnapshot;
use crate::vrrp::snapshot::{InstanceSnapshot, Snapshot as VrrpSnapshot};
use crate::vrrp::track::TrackTable;

/// All instances by name.
pub fn instances(at: Time, config: &Config, snapshot: Option<&VrrpSnapshot>) -> Vec<Instance> {
    let groups: BTreeMap<&str, &str> = config
        .vrrp
        .groups
        .iter()
        .flat_map(|(group, config)| config.members.iter().map(|member| (member.as_str(), group.as_str())))
        .collect();
    let table = track_table(snapshot);
    let show = |(name, config): (&String, &InstanceConfig)| {
        let snapshot = snapshot.and_then(|snapshot| snapshot.instances.get(name));
        instance(at, name, config, groups.get(name.as_str()).copied(), &table, snapshot)
    };
    config.vrrp.instances.iter().map(show).collect()
}

fn track_table(snapshot: Option<&VrrpSnapshot>) -> TrackTable {
    let mut table = TrackTable::default();
    for (key, status) in snapshot.iter().flat_map(|snapshot| &snapshot.trackers) {
        table.set(key.clone(), *status);
    }
    table
}

fn instance(
    at: Time,
    name: &str,
    config: &InstanceConfig,
    group: Option<&str>,
    table: &TrackTable,
    snapshot: Option<&InstanceSnapshot>,
) -> Instance {
    let base = config.priority.value();
    let known = Instance {
        name: name.to_owned(),
        vrid: config.vrid.value(),
        version: config.version.value(),
        family: config.family.to_string(),
        interface: config.interface.clone(),
        sync_group: group.map(str::to_owned),
        advert_interval_ms: millis(config.advert_interval.duration()),
        preempt: config.preempt,
        priority: Priority { effective: base, base, trackers: Vec::new() },
        source: config.source,
        unicast_peers: match &config.transport {
            Transport::Unicast { peers, .. } => peers.iter().map(|peer| peer.address).collect(),
            Transport::Multicast { .. } => Vec::new(),
        },
        addresses: addresses(config),
        ..Instance::default()
    };
    let Some(snapshot) = snapshot else { return known };
    let master = snapshot.master.map(|heard| Heard {
        address: heard.address,
        priority: heard.priority,
        advert_interval_ms: millis(heard.interval.duration()),
    });
    Instance {
        state: snapshot.state.into(),
        since: Some(at.ago(snapshot.since)),
        for_ms: Some(millis(snapshot.since)),
        cause: Cause::from(&snapshot.cause),
        handing_over: snapshot.handing_over,
        others_heard: snapshot.others_heard,
        priority: Priority {
            effective: snapshot.effective_priority,
            base: snapshot.base_priority,
            trackers: config.tracks.iter().map(|track| effect(track, table)).collect(),
        },
        source: snapshot.source.or(known.source),
        peers: snapshot.peers.iter().map(peer).collect(),
        unlisted_peers: snapshot.unlisted_peers,
        dual_master: snapshot.dual_master.as_ref().map(|dual| DualMaster {
            peer: dual.peer,
            reason: dual.reason.to_string(),
            for_ms: millis(dual.lasted),
        }),
        master,
        counters: snapshot.counters,
        ..known
    }
}

fn peer(peer: &PeerSnapshot) -> Peer {
    Peer {
        address: peer.address,
        priority: Some(peer.priority),
        version: Some(peer.version),
        advert_interval_ms: peer.interval.map(|interval| millis(interval.duration())),
        addresses: peer.addresses.clone().unwrap_or_default(),
        last_heard_ms: Some(millis(peer.last_seen)),
        jitter_ms: Some(millis(peer.late_mean)),
        refused: peer.refusal.as_ref().filter(|_| peer.is_refused).map(ToString::to_string),
    }
}

fn addresses(config: &InstanceConfig) -> Vec<Address> {
    let show = |excluded| {
        move |address: &AddressConfig| Address {
            address: format!("{}/{}", address.address, address.prefix_len),
            interface: address.options.device.clone().or_else(|| config.interface.clone()),
            excluded,
        }
    };
    config.addresses.iter().map(show(false)).chain(config.excluded.iter().map(show(true))).collect()
}

fn effect(track: &Track, table: &TrackTable) -> Effect {
    let verdict = table.evaluate(std::slice::from_ref(track));
    Effect {
        tracker: track.tracker.to_string(),
        status: table.status(&track.tracker).to_string(),
        weight: track.weight,
        reverse: track.reverse,
        adds: verdict.adjustment,
        fault: !verdict.faults.is_empty(),
    }
}

/// All sync groups by name.
pub fn sync_groups(config: &Config, instances: &[Instance]) -> Vec<SyncGroup> {
    let state_of = |name: &String| instances.iter().find(|i| i.name == *name).map_or(State::Unknown, |i| i.state);
    let show = |(name, group): (&String, &crate::vrrp::config::GroupConfig)| {
        let states: BTreeSet<State> = group.members.iter().map(state_of).collect();
        let mut states = states.into_iter();
        let state = match (states.next(), states.next()) {
            (Some(state), None) => state,
            _ => State::Unknown,
        };
        SyncGroup { name: name.clone(), state, members: group.members.clone() }
    };
    config.vrrp.groups.iter().map(show).collect()
}

/// Everything that some instance tracks. What main knows itself (`statuses`) stands in for a vrrp process that is silent.
pub fn trackers(
    config: &Config,
    statuses: &BTreeMap<TrackerKey, TrackerStatus>,
    snapshot: Option<&VrrpSnapshot>,
) -> Vec<Tracker> {
    let mut users: BTreeMap<&TrackerKey, Vec<String>> = BTreeMap::new();
    for key in &config.vrrp.trackers {
        users.entry(key).or_default();
    }
    for (name, instance) in &config.vrrp.instances {
        for track in &instance.tracks {
            users.entry(&track.tracker).or_default().push(name.clone());
        }
    }
    let said: BTreeMap<&TrackerKey, TrackerStatus> =
        snapshot.iter().flat_map(|snapshot| &snapshot.trackers).map(|(key, status)| (key, *status)).collect();
    let status = |key| said.get(key).or_else(|| statuses.get(key)).copied().unwrap_or(TrackerStatus::Pending);
    let show = |(key, instances)| {
        let (kind, name) = kind_and_name(key);
        Tracker {
            kind: kind.to_owned(),
            name: name.to_owned(),
            status: status(key).to_string(),
            instances,
            running: None,
        }
    };
    users.into_iter().map(show).collect()
}

fn kind_and_name(key: &TrackerKey) -> (&'static str, &str) {
    match key {
        TrackerKey::Interface(name) => ("interface", name),
        TrackerKey::Script(name) => ("script", name),
        TrackerKey::File(name) => ("file", name),
        TrackerKey::Process(name) => ("process", name),
        TrackerKey::VirtualServer(name) => ("virtual_server", name),
    }
}

/// All virtual servers. `able` is what main knows of them.
pub fn virtual_servers(
    config: &Config,
    able: &BTreeMap<VirtualServerId, bool>,
    snapshot: Option<&BalancerSnapshot>,
) -> Vec<VirtualServer> {
    let said: BTreeMap<&VirtualServerId, &VirtualServerSnapshot> =
        snapshot.iter().flat_map(|snapshot| &snapshot.virtual_servers).map(|server| (&server.id, server)).collect();
    let show = |(id, config): (&VirtualServerId, &Shared<VirtualServerConfig>)| {
        let server = said.get(id).copied();
        let mut shown = VirtualServer { able: able.get(id).copied(), ..virtual_server(id, config, server) };
        if let (Some(snapshot), Some(server)) = (snapshot, server) {
            carried(&mut shown, config, server, snapshot);
        }
        shown
    };
    config.balancer.services.iter().map(show).collect()
}

/// Adds what carries a virtual server, and what it has carried.
fn carried(
    shown: &mut VirtualServer,
    config: &VirtualServerConfig,
    server: &VirtualServerSnapshot,
    snapshot: &BalancerSnapshot,
) {
    if !server.active {
        return;
    }
    let is_ours = |key| snapshot.forwarder.services.contains_key(key);
    let is_refused = |key| snapshot.refusals.get(key).is_some_and(|refusal| refusal.whole);
    if !server.services.iter().all(is_refused) {
        shown.carrier = Some(if server.services.iter().any(is_ours) { "userspace" } else { "kernel" }.to_owned());
    }
    let refusal = server.services.iter().find_map(|key| snapshot.refusals.get(key));
    shown.refused = refusal.map(|refusal| refusal.reason.clone());
    let of = |address| snapshot.carried_by(server, address);
    for (real, config) in shown.real_servers.iter_mut().zip(&config.real_servers) {
        real.traffic = of(config.address).map(|carried| traffic(carried.total, [carried.active, carried.inactive]));
    }
    let reals = config.real_servers.iter().map(|real| real.address);
    let open = reals.chain(server.sorry_server).filter_map(of).fold([0, 0], |[active, inactive], carried| {
        [carried.active.saturating_add(active), carried.inactive.saturating_add(inactive)]
    });
    shown.traffic = snapshot.carried(server).map(|total| traffic(total, open));
}

/// `open`: connections now, and those in a closing state.
fn traffic(total: Counters, open: [u32; 2]) -> Traffic {
    let Counters { connections, in_packets, out_packets, in_bytes, out_bytes, .. } = total;
    let [active, inactive] = open.map(u64::from);
    Traffic { connections, active, inactive, in_packets, out_packets, in_bytes, out_bytes }
}

fn virtual_server(
    id: &VirtualServerId,
    config: &VirtualServerConfig,
    snapshot: Option<&VirtualServerSnapshot>,
) -> VirtualServer {
    let known = VirtualServer {
        id: id.to_string(),
        label: config.snmp_name.clone(),
        protocol: config.protocol.to_string(),
        scheduler: config.scheduler.to_string(),
        method: method(config.method).to_owned(),
        follows: config.active_with.clone(),
        quorum: config.quorum,
        hysteresis: config.hysteresis,
        sorry_server: config.sorry_server.map(|sorry| sorry.address.to_string()),
        real_servers: config.real_servers.iter().map(|real| real_server(real, snapshot)).collect(),
        ..VirtualServer::default()
    };
    let Some(snapshot) = snapshot else { return known };
    VirtualServer {
        active: Some(snapshot.active),
        has_quorum: Some(snapshot.has_quorum),
        quorum: snapshot.quorum,
        hysteresis: snapshot.hysteresis,
        live_weight: Some(snapshot.live_weight),
        panicking: snapshot.panicking,
        checks_paused: snapshot.checks_paused,
        sorry_server_serves: snapshot.sorry_server.is_some() && !snapshot.has_quorum && snapshot.active,
        services: snapshot.services.iter().map(ToString::to_string).collect(),
        ..known
    }
}

fn real_server(config: &RealServerConfig, snapshot: Option<&VirtualServerSnapshot>) -> RealServer {
    let said = snapshot.and_then(|server| server.real_servers.iter().find(|real| real.address == config.address));
    let known = RealServer {
        address: config.address.to_string(),
        label: config.snmp_name.clone(),
        method: method(config.method).to_owned(),
        admin: "up".to_owned(),
        configured_weight: config.weight,
        ..RealServer::default()
    };
    let Some(RealServerSnapshot { configured_weight, weight, table_weight, up, admin, checkers, .. }) = said else {
        return known;
    };
    let check = |checker: &crate::ipvs::snapshot::CheckerSnapshot| {
        let (up, reason, adds_weight) = match &checker.health {
            Health::Up { weight } => (true, None, *weight),
            Health::Down { reason } => (false, Some(reason.clone()), 0),
        };
        Check { kind: checker.kind.to_string(), up, reason, adds_weight }
    };
    RealServer {
        up: Some(*up),
        admin: admin.to_string(),
        configured_weight: *configured_weight,
        weight: Some(*weight),
        table_weight: Some(*table_weight),
        checks: checkers.iter().map(check).collect(),
        ..known
    }
}

fn method(method: ForwardMethod) -> &'static str {
    match method {
        ForwardMethod::Nat => "NAT",
        ForwardMethod::Dr => "DR",
        ForwardMethod::Tun(_) => "TUN",
        ForwardMethod::Proxy => "PROXY",
    }
}

/// Milliseconds.
pub fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
