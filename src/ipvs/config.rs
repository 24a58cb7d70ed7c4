//! Typed configuration of virtual servers: what `conf` makes of `virtual_server` blocks, with every value legal.
//!
//! Pure. Owned by this domain; everything is keyed by identity and comparable, so that a reload is a difference of two
//! values.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::shared::Shared;
use super::types::{ForwardMethod, Protocol, Scheduler, SocketKey};
use crate::checkers::config::CheckerConfig;
use crate::command::Command;
use crate::trackers::config::FileConfig;
use crate::vrrp::types::Family;

/// Everything the balancer process is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalancerConfig {
    /// Process-wide settings.
    pub global: BalancerGlobal,
    /// `virtual_server_group` blocks by name.
    pub groups: BTreeMap<String, GroupConfig>,
    /// `virtual_server` blocks, in the order of their identities.
    pub services: BTreeMap<VirtualServerId, Shared<VirtualServerConfig>>,
    /// The files that FILE_CHECKs name (`track_file` at the root).
    pub files: BTreeMap<String, FileConfig>,
}

/// Process-wide settings from `global_defs` that concern virtual servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalancerGlobal {
    /// Which data plane carries traffic (`virtual_server_forwarder`, ours).
    pub forwarder: ForwarderChoice,
    /// Threads of the userspace forwarder (`forwarder_threads`, ours); `None` is one for each CPU.
    pub forwarder_threads: Option<u16>,
    /// Kernel connection timeouts (`lvs_timeouts`).
    pub timeouts: LvsTimeouts,
    /// Empty the kernel's table at start (`lvs_flush`).
    pub flush: bool,
    /// Empty it at stop (`lvs_flush_on_stop`).
    pub flush_on_stop: FlushOnStop,
    /// Connection synchronisation (`lvs_sync_daemon`).
    pub sync_daemon: Option<SyncDaemonConfig>,
    /// Run `notify_up` of real servers at start (`rs_init_notifies`).
    pub rs_init_notifies: bool,
    /// E-mail for real servers rather than for each checker (`no_checker_emails`).
    pub no_checker_emails: bool,
    /// Nice value (`checker_priority`).
    pub nice: Option<i8>,
    /// SCHED_RR priority (`checker_rt_priority`).
    pub rt_priority: Option<u8>,
    /// Lock all memory (`checker_no_swap`).
    pub no_swap: bool,
    /// CPUs to run on; empty is all (`checker_cpu_affinity`).
    pub cpu_affinity: Vec<u16>,
    /// RLIMIT_RTTIME in microseconds (`checker_rlimit_rttime`).
    pub rlimit_rttime: Option<u64>,
    /// TLS client settings of SSL_GET (root block `SSL`).
    pub ssl: SslConfig,
    /// Table for group addresses mapped to marks (`nftables_ipvs`).
    pub nftables: Option<NftablesIpvs>,
}

/// Which data plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ForwarderChoice {
    /// The kernel's IPVS where there is one, else the userspace forwarder.
    #[default]
    Auto,
    /// The kernel's IPVS; without it virtual servers are down, and that is said.
    Kernel,
    /// The userspace forwarder always.
    Userspace,
}

/// `lvs_flush_on_stop [VS]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum FlushOnStop {
    /// Remove what we added.
    #[default]
    No,
    /// Empty the whole table.
    All,
    /// Remove the services, and leave it to the kernel to drop their real servers.
    VirtualServers,
}

/// Seconds; `None` leaves the kernel's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LvsTimeouts {
    /// Established TCP.
    pub tcp: Option<u32>,
    /// TCP after a FIN.
    pub tcpfin: Option<u32>,
    /// UDP.
    pub udp: Option<u32>,
}

/// `lvs_sync_daemon IF [[inst] VRRP] [id N] [maxlen N] [port N] [ttl N] [group ADDR]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncDaemonConfig {
    /// The interface it speaks on.
    pub interface: String,
    /// It is master while this instance is; without one both daemons run.
    pub instance: Option<String>,
    /// Sync id; by default the instance's VRID, or 0.
    pub id: u8,
    /// Largest message in bytes.
    pub max_length: Option<u16>,
    /// UDP port.
    pub port: Option<u16>,
    /// Multicast TTL.
    pub ttl: Option<u8>,
    /// Multicast group.
    pub group: Option<IpAddr>,
}

/// The root block `SSL`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SslConfig {
    /// Pass phrase of the private key.
    pub password: Option<String>,
    /// CA file.
    pub ca: Option<String>,
    /// Client certificate.
    pub certificate: Option<String>,
    /// Client private key.
    pub key: Option<String>,
}

/// `nftables_ipvs [TABLE]` and its companions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NftablesIpvs {
    /// Table name.
    pub table: String,
    /// Chain priority (`nftables_ipvs_priority`).
    pub priority: i32,
    /// First mark (`nftables_ipvs_start_fwmark`).
    pub start_fwmark: NonZeroU32,
}

/// What a `virtual_server` line names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum VirtualServerId {
    /// `virtual_server IP [PORT]`; port 0 is every port.
    Address {
        /// Address and port.
        address: SocketKey,
        /// Protocol: part of the identity.
        protocol: Protocol,
    },
    /// `virtual_server fwmark N`.
    Fwmark {
        /// The mark.
        mark: NonZeroU32,
        /// Its family.
        family: Family,
    },
    /// `virtual_server group NAME [PORT]`.
    Group {
        /// Name of the group.
        name: String,
        /// Protocol: part of the identity.
        protocol: Protocol,
    },
}

impl fmt::Display for VirtualServerId {
    /// As keepalived's log lines and FIFO have it: `[192.0.2.1]:tcp:80`, `FWM 7`, `[web]:0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { address, protocol } => write!(f, "[{}]:{protocol}:{}", address.ip, address.port),
            Self::Fwmark { mark, .. } => write!(f, "FWM {mark}"),
            Self::Group { name, .. } => write!(f, "[{name}]:0"),
        }
    }
}

/// A `virtual_server_group`: addresses, ranges and marks that share one set of real servers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GroupConfig {
    /// Its lines.
    pub entries: Vec<GroupEntry>,
}

/// One line of a `virtual_server_group`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupEntry {
    /// `ADDR[-N|-ADDR|/MASK] [PORT]`: all addresses from the first to the last, both included.
    Range {
        /// The first address.
        first: IpAddr,
        /// The last address, of the same family, not before the first.
        last: IpAddr,
        /// Port; 0 is every port.
        port: u16,
    },
    /// `fwmark N [inet|inet6]`.
    Fwmark {
        /// The mark.
        mark: NonZeroU32,
        /// Family, where it is said.
        family: Option<Family>,
    },
}

/// One `virtual_server`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualServerConfig {
    /// The family of its packets (`ip_family`, or what the address says).
    pub family: Family,
    /// Protocol (`protocol`); a fwmark service carries any.
    pub protocol: Protocol,
    /// `lb_algo`, `lvs_sched`.
    pub scheduler: Scheduler,
    /// `hashed`, `ops`, `flag-1` … `mh-fallback`.
    pub flags: SchedulerFlags,
    /// `lb_kind`, `lvs_method`: the default of its real servers.
    pub method: ForwardMethod,
    /// `persistence_timeout` and its companions.
    pub persistence: Option<Persistence>,
    /// Pause the checks while the address is not here (`ha_suspend`).
    pub ha_suspend: bool,
    /// Active only while this instance is master (`vrrp_instance NAME` in the block, ours).
    pub active_with: Option<String>,
    /// Run down notifications at stop (`omega`).
    pub omega: bool,
    /// Live weight needed (`quorum`), at least 1 unless all weights are 0.
    pub quorum: u32,
    /// Margin around it (`hysteresis`), below the quorum.
    pub hysteresis: u32,
    /// On gaining quorum (`quorum_up`).
    pub quorum_up: Option<Box<Command>>,
    /// On losing it (`quorum_down`).
    pub quorum_down: Option<Box<Command>>,
    /// E-mail on a change of quorum (`smtp_alert`).
    pub smtp_alert: bool,
    /// `sorry_server`.
    pub sorry_server: Option<SorryServer>,
    /// Real servers in the order of the file, no two with the same address and port.
    pub real_servers: Vec<RealServerConfig>,
    /// Label (`snmp_name`).
    pub snmp_name: Option<String>,
    /// When fewer than this share of the real servers (percent) seem alive, suspect ourselves (`panic_threshold`, ours);
    /// 0 is never.
    pub panic_threshold: u8,
    /// What is done then (`panic_action`, ours).
    pub panic_action: PanicAction,
    /// A server that comes up reaches its weight in this time (`slow_start`, ours).
    pub slow_start: Duration,
    /// NAT: set up the return path (`masquerade`, ours).
    pub masquerade: bool,
    /// Of the userspace forwarder.
    pub proxy: ProxyConfig,
}

impl VirtualServerConfig {
    /// TCP over IPv4 by NAT in turn, with every other setting as it is by default.
    pub fn new(real_servers: Vec<RealServerConfig>) -> Self {
        Self {
            family: Family::V4,
            protocol: Protocol::Tcp,
            scheduler: Scheduler::Rr,
            flags: SchedulerFlags::default(),
            method: ForwardMethod::Nat,
            persistence: None,
            ha_suspend: false,
            active_with: None,
            omega: false,
            quorum: 1,
            hysteresis: 0,
            quorum_up: None,
            quorum_down: None,
            smtp_alert: false,
            sorry_server: None,
            real_servers,
            snmp_name: None,
            panic_threshold: 0,
            panic_action: PanicAction::default(),
            slow_start: Duration::ZERO,
            masquerade: false,
            proxy: ProxyConfig::default(),
        }
    }
}

/// What a virtual server does when nearly all real servers seem dead at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PanicAction {
    /// Keep the last good set.
    #[default]
    KeepLast,
    /// Send to all.
    SendToAll,
}

/// Keywords of the userspace forwarder in a `virtual_server` (all ours).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyConfig {
    /// Limit for connecting to a real server (`proxy_connect_timeout`).
    pub connect_timeout: Duration,
    /// A connection without traffic ends after this (`proxy_idle_timeout`).
    pub idle_timeout: Duration,
    /// A UDP flow without traffic ends after this (`proxy_udp_timeout`).
    pub udp_timeout: Duration,
    /// Connections of this service at once (`proxy_max_connections`); 0 is no limit.
    pub max_connections: u32,
    /// How long connections to a removed real server may go on (`proxy_drain_timeout`); `None` is for ever.
    pub drain_timeout: Option<Duration>,
    /// Tell real servers the client's address with the PROXY protocol (`proxy_protocol v1|v2`).
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Connect to real servers from the client's address (`proxy_transparent`).
    pub transparent: bool,
    /// A connection that its real server has ended first is reset there when the client has ended it too
    /// (`proxy_reset_close`): one packet less, and no port in TIME_WAIT. Not for servers that go on reading.
    pub reset_close: bool,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(900),
            udp_timeout: Duration::from_secs(300),
            max_connections: 0,
            drain_timeout: None,
            proxy_protocol: None,
            transparent: false,
            reset_close: false,
        }
    }
}

/// Version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProxyProtocol {
    /// The line of text.
    V1,
    /// Binary.
    V2,
}

/// Kernel flags of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct SchedulerFlags {
    /// `hashed`.
    pub hashed: bool,
    /// One packet is one connection (`ops`).
    pub one_packet: bool,
    /// `flag-1`, `sh-fallback`, `mh-fallback`.
    pub flag1: bool,
    /// `flag-2`, `sh-port`, `mh-port`.
    pub flag2: bool,
    /// `flag-3`.
    pub flag3: bool,
}

/// Client affinity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Persistence {
    /// Seconds, 1 to 2678400 (`persistence_timeout`).
    pub timeout: u32,
    /// Prefix length of clients that are one client (`persistence_granularity`): 32 or 128 is each for itself.
    pub granularity: u8,
    /// `persistence_engine`: `sip`.
    pub engine: Option<String>,
}

/// `sorry_server IP [PORT]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SorryServer {
    /// Address and port; port 0 is the one that was asked for.
    pub address: SocketKey,
    /// `sorry_server_lvs_method`, else the virtual server's.
    pub method: ForwardMethod,
    /// In the table with weight 0 while it is not needed (`sorry_server_inhibit`).
    pub inhibit: bool,
}

/// One `real_server`, with what it inherits filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealServerConfig {
    /// Address and port; port 0 is the one that was asked for.
    pub address: SocketKey,
    /// `weight`.
    pub weight: u32,
    /// `lvs_method`.
    pub method: ForwardMethod,
    /// No new connections from this many on (`uthreshold`); 0 is no limit.
    pub upper_threshold: u32,
    /// New ones again below this many (`lthreshold`).
    pub lower_threshold: u32,
    /// Weight 0 on failure rather than removal (`inhibit_on_failure`).
    pub inhibit_on_failure: bool,
    /// Down until its checkers have succeeded (`alpha`).
    pub alpha: bool,
    /// `notify_up`.
    pub notify_up: Option<Box<Command>>,
    /// `notify_down`.
    pub notify_down: Option<Box<Command>>,
    /// E-mail on a change of state (`smtp_alert`).
    pub smtp_alert: bool,
    /// Label (`snmp_name`).
    pub snmp_name: Option<String>,
    /// Its checkers; it is alive while all of them are.
    pub checkers: Vec<CheckerConfig>,
}

impl RealServerConfig {
    /// By NAT with weight 1, with every other setting as it is by default.
    pub fn new(address: SocketKey, checkers: Vec<CheckerConfig>) -> Self {
        Self {
            address,
            weight: 1,
            method: ForwardMethod::Nat,
            upper_threshold: 0,
            lower_threshold: 0,
            inhibit_on_failure: false,
            alpha: false,
            notify_up: None,
            notify_down: None,
            smtp_alert: false,
            snmp_name: None,
            checkers,
        }
    }
}
