//! The small words of VRRP: identifiers, priorities, intervals, links and addresses.
//!
//! Pure: time is passed in. Wire numbers are wrapped here, at the door, and intervals become [`Duration`] before
//! anybody calculates with them: truncated arithmetic on wire units is how other implementations lost their skew.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Virtual router identifier, 1 to 255 (RFC 9568 §5.2.3, keyword `virtual_router_id`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Vrid(NonZeroU8);

impl Vrid {
    /// `None` for 0, which the RFC reserves.
    pub fn new(value: u8) -> Option<Self> {
        NonZeroU8::new(value).map(Self)
    }

    /// The number on the wire.
    pub fn value(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A router's priority, 1 to 255 (RFC 9568 §5.2.4). The 0 of a departing master exists on the wire only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Priority(NonZeroU8);

impl Priority {
    /// The router that owns the virtual addresses.
    pub const OWNER: Self = Self(NonZeroU8::MAX);
    /// What keepalived and the RFC use when nothing is configured.
    pub const DEFAULT: Self = Self(NonZeroU8::new(100).expect("100 is not zero"));

    /// `None` for 0.
    pub fn new(value: u8) -> Option<Self> {
        NonZeroU8::new(value).map(Self)
    }

    /// The nearest priority that a router which is not the owner may have: 1 to 254.
    pub fn clamp_backup(value: i32) -> Self {
        let value = u8::try_from(value.clamp(1, 254)).unwrap_or(254);
        Self(NonZeroU8::new(value).unwrap_or(NonZeroU8::MIN))
    }

    /// The number on the wire.
    pub fn value(self) -> u8 {
        self.0.get()
    }

    /// Whether this is the address owner's priority, 255.
    pub fn is_owner(self) -> bool {
        self == Self::OWNER
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Address family of a virtual router: one family each (RFC 9568 §1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Protocol version (keyword `version`, `vrrp_version`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Version {
    /// VRRPv2, RFC 3768: IPv4, whole seconds, PASS authentication.
    V2,
    /// VRRPv3, RFC 5798 and RFC 9568: IPv4 and IPv6, centiseconds.
    V3,
}

impl Version {
    /// The number on the wire.
    pub fn value(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

/// Time between two advertisements, held in the centiseconds of VRRPv3 (keyword `advert_int`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AdvertInterval {
    centiseconds: u16,
}

impl AdvertInterval {
    /// The default of both RFCs and of keepalived: one second.
    pub const DEFAULT: Self = Self { centiseconds: 100 };

    /// `None` for 0 and beyond 255 s, the most that any version can say.
    pub fn from_centiseconds(centiseconds: u16) -> Option<Self> {
        (1..=25_500).contains(&centiseconds).then_some(Self { centiseconds })
    }

    /// From VRRPv2's whole seconds; `None` for 0.
    pub fn from_seconds(seconds: u8) -> Option<Self> {
        Self::from_centiseconds(u16::from(seconds) * 100)
    }

    /// As VRRPv3 sends it (RFC 9568 §5.2.7).
    pub fn centiseconds(self) -> u16 {
        self.centiseconds
    }

    /// As VRRPv2 sends it (RFC 3768 §5.3.7), `None` unless it is whole seconds.
    pub fn whole_seconds(self) -> Option<u8> {
        (self.centiseconds.is_multiple_of(100)).then(|| u8::try_from(self.centiseconds / 100).ok()).flatten()
    }

    /// For all arithmetic.
    pub fn duration(self) -> Duration {
        Duration::from_millis(u64::from(self.centiseconds) * 10)
    }
}

impl fmt::Display for AdvertInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", f64::from(self.centiseconds) / 100.0)
    }
}

/// The kernel's number for a network interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IfIndex(pub u32);

/// The engine's number for an instance: stable for as long as the instance exists, meaningless to other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstanceId(pub u32);

/// An address that a link carries, as the kernel reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkAddress {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix_len: u8,
    /// Duplicate address detection has not ended (IPv6): cannot be used as a source yet.
    pub tentative: bool,
    /// A secondary address of its subnet (IPv4): never the interface's primary.
    pub secondary: bool,
}

/// All that the engine knows of one network interface. Each report replaces the former one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The kernel's number.
    pub index: IfIndex,
    /// The name, for example `eth0`.
    pub name: String,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// Has carrier (`IFF_RUNNING`, operational state).
    pub running: bool,
    /// `IFF_LOOPBACK`: cannot speak VRRP.
    pub loopback: bool,
    /// `IFF_NOARP`: gratuitous ARP makes no sense here.
    pub no_arp: bool,
    /// Largest IP packet in bytes.
    pub mtu: u32,
    /// Link-layer address, 6 bytes on Ethernet, empty where there is none.
    pub hardware: Vec<u8>,
    /// Its addresses in the kernel's order.
    pub addresses: Vec<LinkAddress>,
}

impl Link {
    /// Whether traffic can pass: up and running.
    pub fn is_usable(&self) -> bool {
        self.up && self.running
    }
}

/// The default multicast group of a family (RFC 9568 §5.1.1.2, §5.1.2.2).
pub fn default_group(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)),
        Family::V6 => IpAddr::V6("ff02::12".parse().expect("a literal address")),
    }
}
