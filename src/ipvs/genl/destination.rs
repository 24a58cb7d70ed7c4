//! A destination (real server) as the kernel has it.
//!
//! Pure.

use super::attribute::{Reader, Writer, family_number, family_of};
use super::stats::{self, Stats};
use crate::ipvs::types::SocketKey;
use crate::vrrp::types::Family;

const ADDR: u16 = 1;
const PORT: u16 = 2;
const FWD_METHOD: u16 = 3;
const WEIGHT: u16 = 4;
const U_THRESH: u16 = 5;
const L_THRESH: u16 = 6;
const ACTIVE_CONNS: u16 = 7;
const INACT_CONNS: u16 = 8;
const PERSIST_CONNS: u16 = 9;
const STATS: u16 = 10;
const ADDR_FAMILY: u16 = 11;
const STATS64: u16 = 12;
const TUN_TYPE: u16 = 13;
const TUN_PORT: u16 = 14;
const TUN_FLAGS: u16 = 15;

/// `IP_VS_CONN_F_*`: how packets get there.
pub mod method {
    /// NAT.
    pub const MASQUERADE: u32 = 0;
    /// The director itself.
    pub const LOCAL: u32 = 1;
    /// In a tunnel.
    pub const TUNNEL: u32 = 2;
    /// Direct routing.
    pub const ROUTE: u32 = 3;
    /// Past the table, to a cache's origin.
    pub const BYPASS: u32 = 4;
    /// The bits that these are in.
    pub const MASK: u32 = 7;
}

/// `IP_VS_CONN_F_TUNNEL_TYPE_*`.
pub mod tunnel {
    /// IP in IP.
    pub const IPIP: u8 = 0;
    /// Generic UDP encapsulation.
    pub const GUE: u8 = 1;
    /// GRE.
    pub const GRE: u8 = 2;
    /// Flag: with a checksum.
    pub const CHECKSUM: u16 = 1;
    /// Flag: remote checksum offload.
    pub const REMOTE_CHECKSUM: u16 = 2;
}

/// One destination of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelDestination {
    /// Address and port; port 0 is the one that the client asked for.
    pub address: SocketKey,
    /// [`method`].
    pub method: u32,
    /// Its weight.
    pub weight: u32,
    /// No new connections from this many on; 0 is no limit.
    pub upper_threshold: u32,
    /// New ones again below this many.
    pub lower_threshold: u32,
    /// [`tunnel`].
    pub tunnel_type: u8,
    /// UDP port of a GUE tunnel.
    pub tunnel_port: u16,
    /// [`tunnel`]'s flags.
    pub tunnel_flags: u16,
    /// Connections now; this one and all that follow are not sent.
    pub active: u32,
    /// Connections that are closing.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
    /// What it carried.
    pub stats: Stats,
}

impl KernelDestination {
    /// One without any extras.
    pub fn new(address: SocketKey, method: u32, weight: u32) -> Self {
        Self {
            address,
            method,
            weight,
            upper_threshold: 0,
            lower_threshold: 0,
            tunnel_type: tunnel::IPIP,
            tunnel_port: 0,
            tunnel_flags: 0,
            active: 0,
            inactive: 0,
            persistent: 0,
            stats: Stats::default(),
        }
    }

    pub(super) fn write(&self) -> Writer {
        let mut inner = write_key(self.address);
        inner.put_u32(FWD_METHOD, self.method & method::MASK);
        inner.put_u32(WEIGHT, self.weight);
        inner.put_u8(TUN_TYPE, self.tunnel_type);
        inner.put_port(TUN_PORT, self.tunnel_port);
        inner.put_u16(TUN_FLAGS, self.tunnel_flags);
        inner.put_u32(U_THRESH, self.upper_threshold);
        inner.put_u32(L_THRESH, self.lower_threshold);
        inner
    }

    /// `None`: without what makes a destination. Kernels before 3.18 do not tell the family: it is the service's.
    pub(super) fn read(attributes: Reader<'_>, service: Family) -> Option<Self> {
        let family = match attributes.u16(ADDR_FAMILY) {
            Some(number) => family_of(number)?,
            None => service,
        };
        let number = |kind| attributes.u32(kind).unwrap_or_default();
        Some(Self {
            address: SocketKey::new(attributes.address(ADDR, family)?, attributes.port(PORT)?),
            method: number(FWD_METHOD) & method::MASK,
            weight: number(WEIGHT),
            upper_threshold: number(U_THRESH),
            lower_threshold: number(L_THRESH),
            tunnel_type: attributes.number(TUN_TYPE).and_then(|n| u8::try_from(n).ok()).unwrap_or_default(),
            tunnel_port: attributes.port(TUN_PORT).unwrap_or_default(),
            tunnel_flags: attributes.u16(TUN_FLAGS).unwrap_or_default(),
            active: number(ACTIVE_CONNS),
            inactive: number(INACT_CONNS),
            persistent: number(PERSIST_CONNS),
            stats: stats::read(attributes, STATS64, STATS),
        })
    }
}

/// The attributes that name a destination.
pub(super) fn write_key(address: SocketKey) -> Writer {
    let mut inner = Writer::default();
    inner.put_u16(ADDR_FAMILY, family_number(address.family()));
    inner.put_union_address(ADDR, address.ip);
    inner.put_port(PORT, address.port);
    inner
}
