//! A virtual service as the kernel has it.
//!
//! Pure.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;

use super::attribute::{Reader, Writer, family_number, family_of};
use super::stats::{self, Stats};
use crate::ipvs::types::{Protocol, ServiceKey, SocketKey};
use crate::vrrp::types::Family;

const AF: u16 = 1;
const PROTOCOL: u16 = 2;
const ADDR: u16 = 3;
const PORT: u16 = 4;
const FWMARK: u16 = 5;
const SCHED_NAME: u16 = 6;
const FLAGS: u16 = 7;
const TIMEOUT: u16 = 8;
const NETMASK: u16 = 9;
const STATS: u16 = 10;
const PE_NAME: u16 = 11;
const STATS64: u16 = 12;

/// `IP_VS_SVC_F_*`.
pub mod flag {
    /// Client affinity.
    pub const PERSISTENT: u32 = 1;
    /// In the kernel's table: set in every dump.
    pub const HASHED: u32 = 2;
    /// One packet is one connection.
    pub const ONE_PACKET: u32 = 4;
    /// `flag-1`, `sh-fallback`, `mh-fallback`.
    pub const SCHED1: u32 = 8;
    /// `flag-2`, `sh-port`, `mh-port`.
    pub const SCHED2: u32 = 0x10;
    /// `flag-3`.
    pub const SCHED3: u32 = 0x20;
}

/// Which clients are one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Netmask {
    /// IPv4: any mask.
    V4(Ipv4Addr),
    /// IPv6: a prefix length.
    V6(u32),
}

impl Netmask {
    /// Each client for itself.
    pub fn host(family: Family) -> Self {
        match family {
            Family::V4 => Self::V4(Ipv4Addr::BROADCAST),
            Family::V6 => Self::V6(128),
        }
    }

    /// The mask of a prefix length.
    pub fn of_prefix(family: Family, length: u8) -> Self {
        match family {
            Family::V4 => {
                let bits = u32::MAX.checked_shl(32_u32.saturating_sub(u32::from(length))).unwrap_or(0);
                Self::V4(Ipv4Addr::from_bits(bits))
            }
            Family::V6 => Self::V6(u32::from(length)),
        }
    }

    /// Its prefix length; `None` for one with holes.
    pub fn prefix(self) -> Option<u8> {
        match self {
            Self::V4(mask) => {
                let length = mask.to_bits().leading_ones();
                let contiguous = mask.to_bits().count_ones() == length;
                contiguous.then(|| u8::try_from(length).ok()).flatten()
            }
            Self::V6(length) => u8::try_from(length).ok(),
        }
    }

    fn number(self) -> [u8; 4] {
        match self {
            Self::V4(mask) => mask.octets(),
            Self::V6(length) => length.to_ne_bytes(),
        }
    }

    fn read(bytes: &[u8], family: Family) -> Option<Self> {
        let bytes: [u8; 4] = bytes.try_into().ok()?;
        Some(match family {
            Family::V4 => Self::V4(Ipv4Addr::from(bytes)),
            Family::V6 => Self::V6(u32::from_ne_bytes(bytes)),
        })
    }
}

/// A service without its destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelService {
    /// What it is known by.
    pub key: ServiceKey,
    /// Name of the scheduler.
    pub scheduler: String,
    /// Persistence engine.
    pub engine: Option<String>,
    /// [`flag`]s.
    pub flags: u32,
    /// Seconds of persistence; 0 without [`flag::PERSISTENT`].
    pub timeout: u32,
    /// Granularity of persistence.
    pub netmask: Netmask,
    /// What it carried; not sent.
    pub stats: Stats,
}

impl KernelService {
    /// One without any extras.
    pub fn new(key: ServiceKey, scheduler: &str) -> Self {
        let netmask = Netmask::host(key.family());
        let scheduler = scheduler.to_owned();
        Self { key, scheduler, engine: None, flags: 0, timeout: 0, netmask, stats: Stats::default() }
    }

    /// Whether all of these [`flag`]s are set.
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }

    pub(super) fn write(&self) -> Writer {
        let mut inner = write_key(&self.key);
        inner.put_text(SCHED_NAME, &self.scheduler);
        if let Some(engine) = &self.engine {
            inner.put_text(PE_NAME, engine);
        }
        // The flags, and the mask of those that are meant: all.
        inner.put(FLAGS, &[self.flags.to_ne_bytes(), u32::MAX.to_ne_bytes()].concat());
        inner.put_u32(TIMEOUT, self.timeout);
        inner.put(NETMASK, &self.netmask.number());
        inner
    }

    /// `None`: without what makes a service.
    pub(super) fn read(attributes: Reader<'_>) -> Option<Self> {
        let key = read_key(attributes)?;
        let netmask = attributes.bytes(NETMASK).and_then(|bytes| Netmask::read(bytes, key.family()));
        Some(Self {
            key,
            scheduler: attributes.text(SCHED_NAME).unwrap_or_default(),
            engine: attributes.text(PE_NAME).filter(|name| !name.is_empty()),
            flags: attributes
                .bytes(FLAGS)
                .and_then(|flags| flags.get(..4))
                .map_or(0, |flags| flags.try_into().map(u32::from_ne_bytes).unwrap_or_default()),
            timeout: attributes.u32(TIMEOUT).unwrap_or_default(),
            netmask: netmask.unwrap_or(Netmask::host(key.family())),
            stats: stats::read(attributes, STATS64, STATS),
        })
    }
}

/// The attributes that name a service.
pub(super) fn write_key(key: &ServiceKey) -> Writer {
    let mut inner = Writer::default();
    inner.put_u16(AF, family_number(key.family()));
    match key {
        ServiceKey::Address { protocol, address } => {
            inner.put_u16(PROTOCOL, protocol_number(*protocol));
            inner.put_union_address(ADDR, address.ip);
            inner.put_port(PORT, address.port);
        }
        ServiceKey::Fwmark { mark, .. } => {
            inner.put_u32(FWMARK, mark.get());
        }
    }
    inner
}

fn read_key(attributes: Reader<'_>) -> Option<ServiceKey> {
    let family = family_of(attributes.u16(AF)?)?;
    if let Some(mark) = attributes.u32(FWMARK).and_then(NonZeroU32::new) {
        return Some(ServiceKey::Fwmark { family, mark });
    }
    let address = SocketKey::new(attributes.address(ADDR, family)?, attributes.port(PORT)?);
    Some(ServiceKey::Address { protocol: protocol_of(attributes.u16(PROTOCOL)?)?, address })
}

/// The number in IP headers.
pub fn protocol_number(protocol: Protocol) -> u16 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// The protocol of that number in IP headers, of those that IPVS carries.
pub fn protocol_of(number: u16) -> Option<Protocol> {
    match number {
        6 => Some(Protocol::Tcp),
        17 => Some(Protocol::Udp),
        132 => Some(Protocol::Sctp),
        _ => None,
    }
}
