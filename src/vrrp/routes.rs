//! Routes and rules that move with an instance, or are installed at start: typed configuration.
//!
//! Pure. Names of tables, protocols, scopes and the like stay names: iproute2's files say what they are.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::types::Family;

/// An address and how many of its bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// Address.
    pub address: IpAddr,
    /// Bits.
    pub length: u8,
}

/// A number, or a name of iproute2's files for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Number {
    /// The number.
    Is(u32),
    /// Its name.
    Named(String),
}

/// One line of `virtual_routes` or `static_routes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteConfig {
    /// Family.
    pub family: Family,
    /// `unicast` unless it is said.
    pub kind: RouteKind,
    /// Where to; the default route has length 0.
    pub destination: Prefix,
    /// Where from (IPv6).
    pub from: Option<Prefix>,
    /// Preferred source address (`src`).
    pub source: Option<IpAddr>,
    /// `tos`, `dsfield`.
    pub tos: Option<Number>,
    /// `table`; `None` is main.
    pub table: Option<Number>,
    /// `protocol`; `None` is keepalived's, 18.
    pub protocol: Option<Number>,
    /// `scope`.
    pub scope: Option<Number>,
    /// `metric`.
    pub metric: Option<u32>,
    /// The only way, when there is one; `gateway` may be missing from it.
    pub hop: NextHop,
    /// `nexthop`: several ways.
    pub hops: Vec<NextHop>,
    /// `expires`, in seconds (IPv6).
    pub expires: Option<u32>,
    /// `mtu` and the other metrics of the connection.
    pub metrics: RouteMetrics,
    /// `pref` (IPv6).
    pub preference: Option<Number>,
    /// `ttl-propagate`.
    pub ttl_propagate: Option<bool>,
    /// `add`, `prepend`, `append`.
    pub mode: RouteMode,
    /// Its loss is a fault (not `no_track`).
    pub track: bool,
    /// `track_group` (static only).
    pub track_group: Option<String>,
    /// `vrf`.
    pub vrf: Option<String>,
}

/// One way of a route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    /// `via`.
    pub gateway: Option<IpAddr>,
    /// `dev`.
    pub device: Option<String>,
    /// `weight`, 1 to 256.
    pub weight: Option<u16>,
    /// `onlink`.
    pub on_link: bool,
    /// `encap`.
    pub encapsulation: Option<Encapsulation>,
    /// `realms`: from and to.
    pub realms: Option<(Option<Number>, Number)>,
}

/// Type of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the kernel's")]
pub enum RouteKind {
    #[default]
    Unicast,
    Local,
    Broadcast,
    Anycast,
    Multicast,
    Throw,
    Unreachable,
    Prohibit,
    Blackhole,
    Nat,
}

impl RouteKind {
    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "unicast" => Self::Unicast,
            "local" => Self::Local,
            "broadcast" => Self::Broadcast,
            "anycast" => Self::Anycast,
            "multicast" => Self::Multicast,
            "throw" => Self::Throw,
            "unreachable" => Self::Unreachable,
            "prohibit" => Self::Prohibit,
            "blackhole" => Self::Blackhole,
            "nat" => Self::Nat,
            _ => return None,
        })
    }

    /// Packets that match go nowhere, so no way is needed.
    pub fn ends_here(self) -> bool {
        matches!(self, Self::Throw | Self::Unreachable | Self::Prohibit | Self::Blackhole)
    }
}

/// How a route is put beside others of its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum RouteMode {
    /// Only when there is none (`add`).
    Add,
    /// Before them.
    #[default]
    Prepend,
    /// After them.
    Append,
}

/// `encap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encapsulation {
    /// `ip` and `ip6`: what the outer header has.
    Ip {
        /// IPv6.
        v6: bool,
        /// `id`.
        id: Option<u64>,
        /// `dst`.
        destination: Option<IpAddr>,
        /// `src`.
        source: Option<IpAddr>,
        /// `ttl`, `hoplimit`.
        ttl: Option<u8>,
        /// `tos`, `tc`.
        tos: Option<Number>,
        /// `flags`.
        flags: Option<u16>,
    },
    /// `mpls LABEL[/LABEL…]`.
    Mpls(Vec<u32>),
    /// `ila LOCATOR`.
    Ila(u64),
}

/// A value, and whether the kernel leaves it alone (`lock`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locked<T> {
    /// The value.
    pub value: T,
    /// `lock`.
    pub locked: bool,
}

/// The metrics of a route, by their keywords.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the keywords")]
pub struct RouteMetrics {
    pub mtu: Option<Locked<u32>>,
    pub hoplimit: Option<u32>,
    pub advmss: Option<Locked<u32>>,
    pub rtt: Option<Locked<RouteTime>>,
    pub rttvar: Option<Locked<RouteTime>>,
    pub reordering: Option<Locked<u32>>,
    pub window: Option<u32>,
    pub cwnd: Option<Locked<u32>>,
    pub ssthresh: Option<Locked<u32>>,
    pub rto_min: Option<Locked<RouteTime>>,
    pub initcwnd: Option<u32>,
    pub initrwnd: Option<u32>,
    /// `features ecn`.
    pub ecn: bool,
    pub quickack: Option<bool>,
    pub congctl: Option<Locked<String>>,
    pub fastopen_no_cookie: Option<bool>,
}

/// A time of a route metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteTime {
    /// With `s` or `ms`.
    Is(Duration),
    /// The kernel's own units.
    Raw(u32),
}

/// One line of `virtual_rules` or `static_rules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleConfig {
    /// Family, where something tells it; otherwise the instance's.
    pub family: Option<Family>,
    /// Packets that do not match (`not`).
    pub inverted: bool,
    /// `from`.
    pub from: Option<Prefix>,
    /// `to`.
    pub to: Option<Prefix>,
    /// `dev`, `iif`.
    pub input: Option<String>,
    /// `oif`.
    pub output: Option<String>,
    /// `tos`, `dsfield`.
    pub tos: Option<Number>,
    /// `fwmark`: mark and mask.
    pub mark: Option<(u32, Option<u32>)>,
    /// `realms`: from and to.
    pub realms: Option<(Option<Number>, Number)>,
    /// `uidrange`.
    pub users: Option<(u32, u32)>,
    /// `l3mdev`.
    pub l3mdev: bool,
    /// `tunnel-id`.
    pub tunnel: Option<u64>,
    /// `ipproto`.
    pub ip_protocol: Option<Number>,
    /// `sport`.
    pub source_ports: Option<(u16, u16)>,
    /// `dport`.
    pub destination_ports: Option<(u16, u16)>,
    /// `protocol`; `None` is keepalived's, 18.
    pub protocol: Option<Number>,
    /// `preference`; `None` counts down from 16384.
    pub preference: Option<u32>,
    /// `suppress_prefixlength`.
    pub suppress_prefix_length: Option<u8>,
    /// `suppress_ifgroup`.
    pub suppress_group: Option<Number>,
    /// What is done.
    pub action: RuleAction,
    /// Its loss is a fault (not `no_track`).
    pub track: bool,
    /// `track_group` (static only).
    pub track_group: Option<String>,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleAction {
    /// `table`, `lookup`.
    Table(Number),
    /// `goto`.
    Goto(u32),
    /// `nop`.
    Nop,
    /// `blackhole`.
    Blackhole,
    /// `unreachable`.
    Unreachable,
    /// `prohibit`.
    Prohibit,
}
