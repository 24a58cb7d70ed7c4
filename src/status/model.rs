//! The JSON of `status`: what `/v1/status` answers, and what everything that shows the daemon is made of.
//!
//! Pure: plain values. Keys are the words of the configuration; durations are in milliseconds and say so (`_ms`),
//! moments are RFC 3339 in UTC. Within one fields are only added, so that readers must ignore fields that
//! they do not know; every field that was not there from the beginning has a default.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::time::Time;
use crate::vrrp::event::StateName;
use crate::vrrp::snapshot::Counters;

/// The version of all JSON under `/v1`.
pub const VERSION: u32 = 1;

/// Everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// [`VERSION`].
    pub version: u32,
    /// When this was true.
    pub at: Time,
    /// The node's name: the host name.
    pub node: String,
    /// `router_id`, if the configuration has one.
    pub router_id: Option<String>,
    /// The daemon.
    pub daemon: Daemon,
    /// Whether this node takes part in elections.
    pub maintenance: Maintenance,
    /// `vrrp_instance`s by name.
    pub instances: Vec<Instance>,
    /// `vrrp_sync_group`s by name.
    pub sync_groups: Vec<SyncGroup>,
    /// Everything that is tracked.
    pub trackers: Vec<Tracker>,
    /// `virtual_server`s.
    pub virtual_servers: Vec<VirtualServer>,
    /// What the userspace forwarder has in its table, service by service; `holdfast ipvsadm -L` shows it beside the
    /// kernel's.
    pub forwarder: Vec<ForwarderService>,
    /// What is not as it should be with this answer itself, a sentence each: a process that did not answer in time, for
    /// example. What belongs to it is shown as far as the main process knows it.
    pub remarks: Vec<String>,
    /// Adverts for a VRID that no instance here has.
    pub unknown_vrid: u64,
}

/// The daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Daemon {
    /// Holdfast's version.
    pub version: String,
    /// Which build.
    pub build: String,
    /// When it started.
    pub started: Time,
    /// For how long it has run.
    pub uptime_ms: u64,
    /// The configuration file.
    pub config_file: String,
    /// Reloads since the start.
    pub reloads: Reloads,
    /// Its processes: main first, then those that the configuration needs.
    pub processes: Vec<Process>,
    /// Events that were lost since the start because somebody was too slow.
    pub events_lost: u64,
    /// The sequence number of the last event; 0 before the first.
    pub last_event: u64,
    /// Log lines of the main process that were lost since the start because a reader was too slow.
    pub log_lines_dropped: u64,
    /// Notify scripts and what else people are told by.
    pub notifications: Notifications,
    /// Panics in the status page since the start, each of which ended one connection at the most.
    pub page_panics: u64,
    /// The control sockets.
    pub control: ControlCounters,
}

/// What has become of notifications since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notifications {
    /// That were delivered.
    pub delivered: u64,
    /// That failed for good.
    pub failed: u64,
    /// That were given up because too many waited.
    pub dropped: u64,
    /// That wait.
    pub waiting: u64,
}

/// What the control sockets have seen since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ControlCounters {
    /// Connections.
    pub connections: u64,
    /// Connections and requests that were turned away: too many, not permitted, malformed.
    pub refused: u64,
    /// Panics of tasks that serve them.
    pub panics: u64,
}

/// What has become of reloads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reloads {
    /// That went through.
    pub succeeded: u64,
    /// That were refused: nothing changed.
    pub refused: u64,
    /// When the last one ended.
    pub last_at: Option<Time>,
    /// What it changed, or why it was refused.
    pub last_result: Option<String>,
}

/// One process of the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// `main`, `vrrp` or `balancer`.
    pub name: String,
    /// Its process id, while it runs.
    pub pid: Option<u32>,
    /// How it is.
    pub state: ProcessState,
    /// How often it was started again after a death.
    pub restarts: u64,
}

/// How a process is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessState {
    /// It runs and answers.
    Running,
    /// It was started and is not up to its work yet.
    Starting,
    /// It died, and the next one waits for its time.
    Waiting,
    /// It runs and did not answer in time.
    Silent,
    /// There is none.
    #[default]
    Absent,
}

impl fmt::Display for ProcessState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Starting => "starting",
            Self::Waiting => "waiting",
            Self::Silent => "silent",
            Self::Absent => "absent",
        })
    }
}

/// `holdfast maintenance`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Maintenance {
    /// This node takes no part in elections.
    pub on: bool,
    /// Since when.
    pub since: Option<Time>,
    /// When it ends by itself.
    pub until: Option<Time>,
    /// Why, in the operator's words.
    pub reason: Option<String>,
}

/// The state of an instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// The vrrp process has not said.
    #[default]
    Unknown,
    /// Waiting for what it needs to start.
    Init,
    /// Cannot be master.
    Fault,
    /// Listens to a master.
    Backup,
    /// Holds the addresses.
    Master,
    /// The daemon ends.
    Stop,
    /// A reload removed it.
    Deleted,
}

impl From<StateName> for State {
    fn from(state: StateName) -> Self {
        match state {
            StateName::Init => Self::Init,
            StateName::Fault => Self::Fault,
            StateName::Backup => Self::Backup,
            StateName::Master => Self::Master,
            StateName::Stop => Self::Stop,
            StateName::Deleted => Self::Deleted,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "UNKNOWN",
            Self::Init => "INIT",
            Self::Fault => "FAULT",
            Self::Backup => "BACKUP",
            Self::Master => "MASTER",
            Self::Stop => "STOP",
            Self::Deleted => "DELETED",
        })
    }
}

/// Why something is as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// For programs: `master_silent`, `preempting`, `fault`, …
    pub kind: String,
    /// For people, with the evidence.
    pub text: String,
}

/// One `vrrp_instance`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Since when.
    pub since: Option<Time>,
    /// For how long.
    pub for_ms: Option<u64>,
    /// Why it is in that state.
    pub cause: Cause,
    /// It has resigned, and keeps its addresses until its successor has them.
    pub handing_over: bool,
    /// `virtual_router_id`.
    pub vrid: u8,
    /// `version`: 2 or 3.
    pub version: u8,
    /// `IPv4` or `IPv6`.
    pub family: String,
    /// `interface`, if it has one.
    pub interface: Option<String>,
    /// `vrrp_sync_group`, if it is in one.
    pub sync_group: Option<String>,
    /// `advert_int`.
    pub advert_interval_ms: u64,
    /// A higher priority takes over from a lower one.
    pub preempt: bool,
    /// Its priority, and what makes it.
    pub priority: Priority,
    /// The source address of its adverts.
    pub source: Option<IpAddr>,
    /// `unicast_peer`; empty for multicast.
    pub unicast_peers: Vec<IpAddr>,
    /// The addresses that move with it.
    pub addresses: Vec<Address>,
    /// The master that it hears, as backup.
    pub master: Option<Heard>,
    /// Another router of its VRID was heard since the vrrp process started. Backups are silent.
    pub others_heard: bool,
    /// The other routers of its VRID that have been heard.
    pub peers: Vec<Peer>,
    /// Packets of further peers, for which there was no room.
    pub unlisted_peers: u32,
    /// Another router is master of the same addresses.
    pub dual_master: Option<DualMaster>,
    /// keepalived's counters and ours.
    pub counters: Counters,
    /// `garp_master_delay`.
    pub garp_delay_ms: u64,
    /// Changes of its state since the daemon started, by where to and why.
    pub transitions: Vec<Transition>,
    /// How often two routers began to be master at once since the daemon started.
    pub dual_masters: u64,
    /// How late its timers were in all, when they were late by more than an advert interval.
    pub timers_late_ms: u64,
}

/// Two routers are master of the same addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DualMaster {
    /// The other one; unknown when only ARP was seen.
    pub peer: Option<IpAddr>,
    /// The likely reason, in one sentence.
    pub reason: String,
    /// For how long.
    pub for_ms: u64,
}

/// How often an instance came into a state for one kind of cause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Transition {
    /// The state.
    pub to: State,
    /// The kind of [`Cause`].
    pub cause: String,
    /// So often.
    pub count: u64,
}

/// What a priority is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Priority {
    /// The one that counts: in adverts and in elections.
    pub effective: u8,
    /// `priority`.
    pub base: u8,
    /// What each tracker of the instance adds, or that it is the fault.
    pub trackers: Vec<Effect>,
}

/// What one tracker does to one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Effect {
    /// Which: `script chk_http`, `interface eth1`.
    pub tracker: String,
    /// Its status: `up`, `down`, `pending`, `unknown`, or a file's number.
    pub status: String,
    /// `weight`.
    pub weight: i16,
    /// `reverse`.
    pub reverse: bool,
    /// What it adds to the base priority now.
    pub adds: i32,
    /// It holds the instance in FAULT.
    pub fault: bool,
}

/// One address of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Address {
    /// Address and prefix length: `192.0.2.100/24`.
    pub address: String,
    /// The interface that carries it.
    pub interface: Option<String>,
    /// Of `virtual_ipaddress_excluded`: not in adverts.
    pub excluded: bool,
}

/// A master that was heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Who.
    pub address: IpAddr,
    /// Its priority; 0 when it resigned.
    pub priority: u8,
    /// The interval that it announced.
    pub advert_interval_ms: u64,
}

/// Another router that was heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The priority in its last advert; 0 when it resigned.
    pub priority: Option<u8>,
    /// `version` of its last advert.
    #[serde(default)]
    pub version: Option<u8>,
    /// The interval in its last advert.
    #[serde(default)]
    pub advert_interval_ms: Option<u64>,
    /// The addresses in its last advert, when they are not ours.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// How long ago it was last heard.
    #[serde(default)]
    pub last_heard_ms: Option<u64>,
    /// How late its adverts come, on average.
    #[serde(default)]
    pub jitter_ms: Option<u64>,
    /// Its last advert was refused, and why.
    #[serde(default)]
    pub refused: Option<String>,
}

/// One `vrrp_sync_group`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncGroup {
    /// Its name.
    pub name: String,
    /// The state that all its members share; UNKNOWN while they differ.
    pub state: State,
    /// Its instances.
    pub members: Vec<String>,
}

/// Something that is tracked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tracker {
    /// `interface`, `script`, `file`, `process` or `virtual_server`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// `up`, `down`, `pending`, `unknown`, or a file's number.
    pub status: String,
    /// The instances that it counts for.
    pub instances: Vec<String>,
    /// A script: whether it runs at this moment.
    pub running: Option<bool>,
}

/// One `virtual_server`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VirtualServer {
    /// As keepalived writes it: `[192.0.2.1]:tcp:80`, `FWM 7`, `[web]:0`. What commands name it by.
    pub id: String,
    /// `snmp_name`, a label.
    pub label: Option<String>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// `lb_algo`.
    pub scheduler: String,
    /// `lb_kind`: NAT, DR, TUN or PROXY.
    pub method: String,
    /// What carries it: `kernel` or `userspace`; nothing when it rests, or is refused.
    pub carrier: Option<String>,
    /// What the data plane refuses of it, and why.
    pub refused: Option<String>,
    /// It can serve: it has its quorum and the data plane has it. What `track_virtual_server` looks at.
    pub able: Option<bool>,
    /// It is in the data plane: it follows no instance, or its instance is master.
    pub active: Option<bool>,
    /// The instance that it follows.
    pub follows: Option<String>,
    /// It has its quorum.
    pub has_quorum: Option<bool>,
    /// The quorum in force.
    pub quorum: u32,
    /// The hysteresis in force.
    pub hysteresis: u32,
    /// What the quorum is judged by.
    pub live_weight: Option<u64>,
    /// So many real servers seem dead that we suspect ourselves.
    pub panicking: bool,
    /// Its checks rest (`ha_suspend`).
    pub checks_paused: bool,
    /// `sorry_server`.
    pub sorry_server: Option<String>,
    /// It serves in place of the real servers.
    pub sorry_server_serves: bool,
    /// What the data plane knows it by: `192.0.2.1:80 tcp`.
    pub services: Vec<String>,
    /// Its real servers.
    pub real_servers: Vec<RealServer>,
    /// What it has carried, all its services together.
    pub traffic: Option<Traffic>,
}

/// One `real_server` of a virtual server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RealServer {
    /// `192.0.2.7:80`. What commands name it by.
    pub address: String,
    /// `snmp_name`, a label.
    pub label: Option<String>,
    /// `lvs_method`.
    pub method: String,
    /// Fit to serve: all its checks say so.
    pub up: Option<bool>,
    /// What an operator said: `up`, `drain` or `maint`.
    pub admin: String,
    /// `weight`.
    pub configured_weight: u32,
    /// With what checkers add.
    pub weight: Option<u32>,
    /// What the data plane has: less during a slow start, 0 while it drains.
    pub table_weight: Option<u32>,
    /// Its checkers.
    pub checks: Vec<Check>,
    /// What it has carried for this virtual server.
    pub traffic: Option<Traffic>,
}

/// One checker of a real server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Check {
    /// `TCP`, `HTTP`, `SSL`, `SMTP`, `DNS_CHECK`, `UDP`, `ICMP`, `MISC`, `FILE`, `BFD`.
    pub kind: String,
    /// What it last found, or what is believed before that.
    pub up: bool,
    /// Why it is down.
    pub reason: Option<String>,
    /// What it adds to the weight.
    pub adds_weight: i64,
}

/// What was carried since the service was put in the data plane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Connections (UDP: flows).
    pub connections: u64,
    /// Connections now.
    pub active: u64,
    /// The kernel's connections in a closing state.
    pub inactive: u64,
    /// Packets from clients (the forwarder: reads).
    pub in_packets: u64,
    /// Packets to clients.
    pub out_packets: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Bytes to clients.
    pub out_bytes: u64,
}

/// One service of the userspace forwarder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ForwarderService {
    /// `192.0.2.1:80 tcp`, `fwmark 7`.
    pub service: String,
    /// `lb_algo`.
    pub scheduler: String,
    /// `flag-1`, `flag-2`, `flag-3`, `ops`.
    pub flags: Vec<String>,
    /// `persistence_timeout` in seconds.
    pub persistence_timeout: Option<u32>,
    /// `persistence_granularity`: the prefix length of clients that are one client.
    pub persistence_granularity: Option<u8>,
    /// Where its traffic goes.
    pub destinations: Vec<ForwarderDestination>,
    /// What it has carried.
    pub traffic: Traffic,
}

/// One destination of a service of the userspace forwarder: a real server or the sorry server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ForwarderDestination {
    /// `192.0.2.7:80`.
    pub address: String,
    /// What the table has; 0 gets no new connections.
    pub weight: u32,
    /// `uthreshold`; 0 is no limit.
    pub upper_threshold: u32,
    /// `lthreshold`.
    pub lower_threshold: u32,
    /// Clients that are kept with it.
    pub persistent: u32,
    /// What it has carried.
    pub traffic: Traffic,
}

/// One happening: a line of `/v1/events`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Counted from 1 since the daemon started, without gaps.
    pub sequence: u64,
    /// When it happened.
    pub at: Time,
    /// Who says so: `main`, `vrrp` or `balancer`.
    pub process: String,
    /// What: `state_changed`, `advert_flawed`, `real_server`, ….
    pub kind: String,
    /// What it is about: an instance, a sync group, a virtual server.
    pub subject: Option<String>,
    /// One sentence for people.
    pub text: String,
    /// State before, of a state change.
    pub from: Option<String>,
    /// State after, of a state change; `UP` or `DOWN` of servers.
    pub to: Option<String>,
    /// Why, where there is a cause.
    pub cause: Option<Cause>,
    /// Whatever else it has to say.
    pub details: BTreeMap<String, String>,
}

/// What the answers to commands have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// [`VERSION`].
    pub version: u32,
    /// It was done.
    pub done: bool,
    /// What was done, or why not, in one sentence or some lines.
    pub message: String,
    /// For programs, when it was not done: `unknown_instance`, `not_master`, `no_peer`, `invalid`, …
    pub error: Option<String>,
    /// What may have been meant.
    pub did_you_mean: Option<String>,
}
