//! Typed configuration of the vrrp process: what `conf` makes of keepalived.conf, with every value legal.
//!
//! Pure. Owned by this domain, so that the engine is built and tested without a parser. Everything that a reload can
//! change is keyed by identity in a `BTreeMap` and comparable, so that the difference of two configurations is found,
//! not tracked ([`ConfigDiff`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rare::{Rare, Usual};
use super::types::{AdvertInterval, Family, Priority, Version, Vrid};

/// Everything the vrrp process is told. The rest of keepalived.conf stays in main.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrrpConfig {
    /// Settings of the whole process.
    pub global: VrrpGlobal,
    /// `vrrp_instance` blocks by name.
    pub instances: BTreeMap<String, InstanceConfig>,
    /// `vrrp_sync_group` blocks by name.
    pub groups: BTreeMap<String, GroupConfig>,
    /// `static_ipaddress`: installed at start, removed at stop, whoever is master.
    pub static_addresses: Vec<AddressConfig>,
    /// The script, file and process trackers that exist, and the virtual servers that are tracked. Main reports their
    /// statuses.
    pub trackers: BTreeSet<TrackerKey>,
}

impl VrrpConfig {
    /// Gives back the room that was left for more instances and addresses while it was put together.
    pub fn shrink_to_fit(&mut self) {
        for instance in self.instances.values_mut() {
            instance.addresses.shrink_to_fit();
            instance.excluded.shrink_to_fit();
            instance.tracks.shrink_to_fit();
        }
        // A map that is made of sorted values has full nodes.
        self.instances = std::mem::take(&mut self.instances).into_iter().collect();
    }
}

/// Process-wide settings from `global_defs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VrrpGlobal {
    /// Hold all instances in INIT for this long after start (`vrrp_startup_delay`).
    pub startup_delay: Duration,
    /// The same, measured from the boot of the system; the longer applies (`vrrp_delay_after_boot`).
    pub delay_after_boot: Duration,
    /// SCHED_RR priority, 1 to 99 (`vrrp_rt_priority`).
    pub rt_priority: Option<u8>,
    /// Nice value, -20 to 19 (`vrrp_priority`).
    pub nice: Option<i8>,
    /// Lock all memory (`vrrp_no_swap`).
    pub no_swap: bool,
    /// CPUs to run on; empty is all (`vrrp_cpu_affinity`).
    pub cpu_affinity: BTreeSet<u16>,
    /// RLIMIT_RTTIME in microseconds (`vrrp_rlimit_rttime`).
    pub rlimit_rttime: Option<u64>,
    /// Log adverts for a VRID that nobody here has (`log_unknown_vrids`).
    pub log_unknown_vrids: bool,
    /// Smallest spacing of gratuitous ARPs on one interface (`vrrp_garp_interval`); zero is none.
    pub garp_interval: Duration,
    /// Smallest spacing of unsolicited NAs on one interface (`vrrp_gna_interval`); zero is none.
    pub gna_interval: Duration,
    /// Accept interfaces that do not exist yet (`dynamic_interfaces`).
    pub dynamic_interfaces: bool,
    /// How packets to addresses that are not accepted are dropped.
    pub filter: FilterConfig,
}

/// The packet filter behind `no_accept` and strict mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterConfig {
    /// Name of our table of family `inet` (`nftables`).
    pub table: String,
    /// Priority of its chain among those at the same hook (`nftables_priority`).
    pub priority: i32,
    /// Count what is dropped (`nftables_counters`).
    pub counters: bool,
}

impl Default for FilterConfig {
    fn default() -> Self {
        Self { table: "holdfast".to_owned(), priority: -1, counters: false }
    }
}

impl Default for VrrpGlobal {
    fn default() -> Self {
        Self {
            startup_delay: Duration::ZERO,
            delay_after_boot: Duration::ZERO,
            rt_priority: None,
            nice: None,
            no_swap: false,
            cpu_affinity: BTreeSet::new(),
            rlimit_rttime: None,
            log_unknown_vrids: false,
            garp_interval: Duration::ZERO,
            gna_interval: Duration::ZERO,
            dynamic_interfaces: false,
            filter: FilterConfig::default(),
        }
    }
}

/// One `vrrp_instance`: a virtual router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceConfig {
    /// The state wished for at start (`state`); elections decide afterwards.
    pub state: InitialState,
    /// The interface for adverts and the default for addresses (`interface`). `None` only for unicast with a source.
    pub interface: Option<String>,
    /// `virtual_router_id`.
    pub vrid: Vrid,
    /// `version`, or what the family and strict mode make of it.
    pub version: Version,
    /// The family of the virtual addresses, hence of the adverts.
    pub family: Family,
    /// Base priority (`priority`); 255 is the address owner.
    pub priority: Priority,
    /// `advert_int`. Whole seconds for VRRPv2, at most 40.95 s for VRRPv3.
    pub advert_interval: AdvertInterval,
    /// A higher priority takes over from a lower one (`nopreempt` clears it).
    pub preempt: bool,
    /// Time to leave a lower-priority master in place after start or fault (`preempt_delay`).
    pub preempt_delay: Duration,
    /// Accept packets to the virtual addresses when not owner (`accept`, `no_accept`).
    pub accept: bool,
    /// Hold to the RFC where keepalived departs from it (`strict_mode`, `vrrp_strict`).
    pub strict: bool,
    /// Source of adverts (`mcast_src_ip`, `unicast_src_ip`); `None` is the interface's primary (IPv6: link-local) address.
    pub source: Option<IpAddr>,
    /// FAULT when the configured source disappears (`track_src_ip`).
    pub track_source: bool,
    /// Multicast or unicast.
    pub transport: Transport,
    /// VRRPv2 authentication.
    pub auth: Auth,
    /// `virtual_ipaddress`: in adverts, in the order of the file.
    pub addresses: Vec<AddressConfig>,
    /// `virtual_ipaddress_excluded`: moved with the others, never in adverts.
    pub excluded: Vec<AddressConfig>,
    /// Gratuitous ARP and unsolicited NA schedule.
    pub garp: Rare<GarpConfig>,
    /// A master does not answer a lower-priority advert (`lower_prio_no_advert`).
    pub lower_prio_no_advert: bool,
    /// A master sends one more advert when a higher-priority one makes it yield (`higher_prio_send_advert`).
    pub higher_prio_send_advert: bool,
    /// Do not compare the address list of adverts from the known master (`skip_check_adv_addr`).
    pub skip_check_adv_addr: bool,
    /// Advert intervals in the master-down interval (`down_timer_adverts`), 3 in the RFC.
    pub down_timer_adverts: u8,
    /// An owner drops the adverts that it receives (`owner_ignore_adverts`).
    pub owner_ignore_adverts: bool,
    /// VRRPv3 over IPv4 checksums without the pseudo header (`v3_checksum_as_v2`).
    pub v3_checksum_as_v2: bool,
    /// The state of `interface` itself matters (`dont_track_primary` clears it).
    pub track_primary: bool,
    /// `track_interface`, `track_script`, `track_file`, `track_process`, with those of the instance's group.
    pub tracks: Vec<Track>,
    /// Set the interface's `promote_secondaries` (`promote_secondaries`).
    pub promote_secondaries: bool,
    /// SO_RCVBUF of the advert socket in bytes (`kernel_rx_buf_size`).
    pub receive_buffer: Option<u32>,
    /// Report DELETED rather than FAULT when a reload removes it (`notify_deleted`).
    pub notify_deleted: bool,
}

impl InstanceConfig {
    /// An instance with every default of keepalived, IPv4 and VRRPv2.
    pub fn new(interface: &str, vrid: Vrid) -> Self {
        Self {
            state: InitialState::Backup,
            interface: Some(interface.to_owned()),
            vrid,
            version: Version::V2,
            family: Family::V4,
            priority: Priority::DEFAULT,
            advert_interval: AdvertInterval::DEFAULT,
            preempt: true,
            preempt_delay: Duration::ZERO,
            accept: true,
            strict: false,
            source: None,
            track_source: false,
            transport: Transport::Multicast { group: super::types::default_group(Family::V4) },
            auth: Auth::None,
            addresses: Vec::new(),
            excluded: Vec::new(),
            garp: Rare::default(),
            lower_prio_no_advert: false,
            higher_prio_send_advert: false,
            skip_check_adv_addr: false,
            down_timer_adverts: 3,
            owner_ignore_adverts: false,
            v3_checksum_as_v2: false,
            track_primary: true,
            tracks: Vec::new(),
            promote_secondaries: false,
            receive_buffer: None,
            notify_deleted: false,
        }
    }

    /// Whether `other` is this virtual router with other settings. Another VRID, family, interface or version is another
    /// virtual router, whatever its name, and must start anew.
    pub fn is_same_router(&self, other: &Self) -> bool {
        (self.vrid, self.family, &self.interface, self.version)
            == (other.vrid, other.family, &other.interface, other.version)
    }

    /// All addresses that move with the instance, advertised ones first.
    pub fn all_addresses(&self) -> impl Iterator<Item = &AddressConfig> {
        self.addresses.iter().chain(&self.excluded)
    }
}

/// `state MASTER` or `state BACKUP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InitialState {
    /// Wait one advert interval only before taking over.
    Master,
    /// Wait a whole master-down interval.
    Backup,
}

/// How adverts travel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// To a group on the link (`mcast_dst_ip`, `vrrp_mcast_group4`, `vrrp_mcast_group6`).
    Multicast {
        /// The group's address.
        group: IpAddr,
    },
    /// To each peer (`unicast_peer`).
    Unicast {
        /// The other routers, in the order of the file.
        peers: Vec<UnicastPeer>,
        /// TTL or hop limit of what we send; `None` is 255 for IPv4 and the kernel's for IPv6 (`unicast_ttl`).
        ttl: Option<u8>,
        /// Drop adverts whose source is not a peer (`check_unicast_src`, `vrrp_check_unicast_src`, peer TTL limits).
        check_source: bool,
    },
}

/// One line of `unicast_peer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnicastPeer {
    /// Its address.
    pub address: IpAddr,
    /// Smallest TTL accepted from it (`min_ttl`).
    pub min_ttl: Option<u8>,
    /// Largest TTL accepted from it (`max_ttl`).
    pub max_ttl: Option<u8>,
}

/// Authentication of VRRPv2 adverts.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Auth {
    /// Type 0.
    None,
    /// Type 1, a clear-text password of at most eight bytes, padded with zeros (RFC 2338 §5.3.6.2).
    Pass([u8; 8]),
}

impl std::fmt::Debug for Auth {
    /// Never prints the password: configurations end in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Pass(_) => "Pass(********)",
        })
    }
}

/// When gratuitous ARPs and unsolicited NAs go out. Global `vrrp_garp_*`, per instance `garp_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GarpConfig {
    /// Delay of the second burst after becoming master; zero is no second burst (`garp_master_delay`).
    pub delay: Duration,
    /// Packets per address and burst (`garp_master_repeat`).
    pub repeat: u32,
    /// Interval of periodic bursts while master; zero is none (`garp_master_refresh`). A minute unless set, where
    /// keepalived has none: whatever made clients forget, they find the router again.
    pub refresh: Duration,
    /// Packets per address and periodic burst (`garp_master_refresh_repeat`).
    pub refresh_repeat: u32,
    /// Delay of the second burst after a lower-priority advert (`garp_lower_prio_delay`).
    pub lower_prio_delay: Duration,
    /// Packets per address of that burst; 0 is none (`garp_lower_prio_repeat`).
    pub lower_prio_repeat: u32,
}

impl Usual for GarpConfig {
    const USUAL: &'static Self = &Self {
        delay: Duration::from_secs(5),
        repeat: 5,
        refresh: Duration::from_secs(60),
        refresh_repeat: 1,
        lower_prio_delay: Duration::from_secs(5),
        lower_prio_repeat: 5,
    };
}

impl Default for GarpConfig {
    fn default() -> Self {
        *Self::USUAL
    }
}

/// One address line of `virtual_ipaddress`, `virtual_ipaddress_excluded` or `static_ipaddress`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressConfig {
    /// The address.
    pub address: IpAddr,
    /// Prefix length; /32 or /128 when the line has none.
    pub prefix_len: u8,
    /// Kernel scope number (`scope`): 0 global, 200 site, 253 link, 254 host, 255 nowhere. IPv4 only.
    pub scope: u8,
    /// `home` (IPv6).
    pub home: bool,
    /// `mngtmpaddr` (IPv6).
    pub manage_temporary: bool,
    /// `noprefixroute`.
    pub no_prefix_route: bool,
    /// `autojoin`.
    pub autojoin: bool,
    /// Let the kernel run duplicate address detection (`-nodad`, IPv6). Off, because it delays a takeover by seconds.
    pub dad: bool,
    /// Preferred lifetime in seconds; `None` is forever. 0 makes it deprecated: never chosen as a source (`preferred_lft`).
    pub preferred_lifetime: Option<u32>,
    /// React to its deletion by others (`no_track` clears it).
    pub track: bool,
    /// What few lines say.
    pub options: Rare<AddressOptions>,
}

/// Options that few addresses have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressOptions {
    /// Interface that carries it (`dev`); `None` is the instance's.
    pub device: Option<String>,
    /// `broadcast`, `brd`, resolved from `+` and `-`. IPv4 only.
    pub broadcast: Option<Ipv4Addr>,
    /// `label`, at most 15 bytes.
    pub label: Option<String>,
    /// Point-to-point peer (`peer`).
    pub peer: Option<IpAddr>,
}

impl Usual for AddressOptions {
    const USUAL: &'static Self = &Self { device: None, broadcast: None, label: None, peer: None };
}

impl AddressConfig {
    /// An address with keepalived's defaults: `/32` or `/128`, and a deprecated source when IPv6 /128.
    pub fn new(address: IpAddr) -> Self {
        let (prefix_len, preferred_lifetime) = match address {
            IpAddr::V4(_) => (32, None),
            IpAddr::V6(_) => (128, Some(0)),
        };
        Self {
            address,
            prefix_len,
            scope: 0,
            home: false,
            manage_temporary: false,
            no_prefix_route: false,
            autojoin: false,
            dad: false,
            preferred_lifetime,
            track: true,
            options: Rare::default(),
        }
    }
}

/// One `vrrp_sync_group`: instances that change state together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfig {
    /// Names of its instances; every one exists (`group`).
    pub members: Vec<String>,
}

/// What can be tracked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TrackerKey {
    /// An interface by name (`track_interface`), watched by the vrrp process itself.
    Interface(String),
    /// A `vrrp_script` by name, run by main.
    Script(String),
    /// A `track_file` by name, watched by main.
    File(String),
    /// A `vrrp_track_process` by name, watched by main.
    Process(String),
    /// A `virtual_server`, by how [`crate::ipvs::config::VirtualServerId`] is shown: can it serve. Main hears it from
    /// the balancer process.
    VirtualServer(String),
}

impl std::fmt::Display for TrackerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Interface(name) => write!(f, "interface {name}"),
            Self::Script(name) => write!(f, "script {name}"),
            Self::File(name) => write!(f, "file {name}"),
            Self::Process(name) => write!(f, "process {name}"),
            Self::VirtualServer(name) => write!(f, "virtual server {name}"),
        }
    }
}

/// One line of a `track_*` block: which tracker, and what its status does to this instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// What is watched.
    pub tracker: TrackerKey,
    /// 0: unhealthy means FAULT. Positive: added while healthy. Negative: added while not. Files: multiplied by the value.
    pub weight: i16,
    /// The effect with its sign inverted (`reverse`); for weight 0: healthy means FAULT.
    pub reverse: bool,
}

/// What a reload changes. `apply(diff(a, b), a) == b`, for all a and b.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigDiff {
    /// The process-wide settings, when they changed.
    pub global: Option<Box<VrrpGlobal>>,
    /// Instances that are new or changed.
    pub instances: BTreeMap<String, InstanceConfig>,
    /// Instances that are gone.
    pub removed_instances: BTreeSet<String>,
    /// Groups that are new or changed.
    pub groups: BTreeMap<String, GroupConfig>,
    /// Groups that are gone.
    pub removed_groups: BTreeSet<String>,
    /// The static addresses, when they changed.
    pub static_addresses: Option<Vec<AddressConfig>>,
    /// The trackers, when they changed.
    pub trackers: Option<BTreeSet<TrackerKey>>,
}

impl ConfigDiff {
    /// What leads from `old` to `new`.
    pub fn between(old: &VrrpConfig, new: &VrrpConfig) -> Self {
        Self {
            global: changed(&old.global, &new.global).map(Box::new),
            instances: changed_entries(&old.instances, &new.instances),
            removed_instances: removed_keys(&old.instances, &new.instances),
            groups: changed_entries(&old.groups, &new.groups),
            removed_groups: removed_keys(&old.groups, &new.groups),
            static_addresses: changed(&old.static_addresses, &new.static_addresses),
            trackers: changed(&old.trackers, &new.trackers),
        }
    }

    /// What leads from the default configuration, which says nothing, to `new`.
    pub fn from_nothing(new: VrrpConfig) -> Self {
        let VrrpConfig { global, instances, groups, static_addresses, trackers } = new;
        Self {
            global: Some(Box::new(global)),
            instances,
            removed_instances: BTreeSet::new(),
            groups,
            removed_groups: BTreeSet::new(),
            static_addresses: Some(static_addresses),
            trackers: Some(trackers),
        }
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::between(&VrrpConfig::default(), &VrrpConfig::default())
    }

    /// Carries the change out on `config`.
    pub fn apply(self, config: &mut VrrpConfig) {
        if let Some(global) = self.global {
            config.global = *global;
        }
        config.instances.retain(|name, _| !self.removed_instances.contains(name));
        if config.instances.is_empty() {
            // Inserting one by one would leave half of each node unused.
            config.instances = self.instances;
        } else {
            config.instances.extend(self.instances);
        }
        config.groups.retain(|name, _| !self.removed_groups.contains(name));
        config.groups.extend(self.groups);
        if let Some(addresses) = self.static_addresses {
            config.static_addresses = addresses;
        }
        if let Some(trackers) = self.trackers {
            config.trackers = trackers;
        }
    }
}

/// Instances that are in both configurations under different names, old name to new: the old name is gone, the new one
/// is new, and both are the same virtual router with the same way to its peers (keepalived knows instances by that alone).
/// Where several would do, they are taken in the order of their names.
pub fn renames(
    old: &BTreeMap<String, InstanceConfig>,
    new: &BTreeMap<String, InstanceConfig>,
) -> BTreeMap<String, String> {
    let way = |config: &InstanceConfig| match &config.transport {
        Transport::Multicast { group } => Some(*group),
        Transport::Unicast { .. } => None,
    };
    type Identity = (Vrid, Family, Option<String>, Option<IpAddr>, Option<IpAddr>);
    let identity = |config: &InstanceConfig| -> Identity {
        (config.vrid, config.family, config.interface.clone(), config.source, way(config))
    };
    let mut gone: BTreeMap<Identity, Vec<&String>> = BTreeMap::new();
    for (name, config) in old.iter().rev().filter(|(name, _)| !new.contains_key(*name)) {
        gone.entry(identity(config)).or_default().push(name);
    }
    let mut renames = BTreeMap::new();
    for (name, config) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        let Some(candidates) = gone.get_mut(&identity(config)) else { continue };
        let same = |from: &&String| old.get(*from).is_some_and(|before| before.is_same_router(config));
        if let Some(from) = candidates.pop_if(|from| same(&*from)) {
            renames.insert(from.clone(), name.clone());
        }
    }
    renames
}

fn changed<T: Clone + PartialEq>(old: &T, new: &T) -> Option<T> {
    (old != new).then(|| new.clone())
}

fn changed_entries<V: Clone + PartialEq>(old: &BTreeMap<String, V>, new: &BTreeMap<String, V>) -> BTreeMap<String, V> {
    new.iter().filter(|(name, value)| old.get(*name) != Some(value)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

fn removed_keys<V>(old: &BTreeMap<String, V>, new: &BTreeMap<String, V>) -> BTreeSet<String> {
    old.keys().filter(|name| !new.contains_key(*name)).cloned().collect()
}
