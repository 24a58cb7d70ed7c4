//! The connection synchronisation daemons, the connection timeouts, and what the kernel says of itself.
//!
//! Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::attribute::{Reader, Writer};
use super::top;

const STATE: u16 = 1;
const MCAST_IFN: u16 = 2;
const SYNC_ID: u16 = 3;
const SYNC_MAXLEN: u16 = 4;
const MCAST_GROUP: u16 = 5;
const MCAST_GROUP6: u16 = 6;
const MCAST_PORT: u16 = 7;
const MCAST_TTL: u16 = 8;

const INFO_VERSION: u16 = 1;
const INFO_TABLE_SIZE: u16 = 2;

/// Which of the two daemons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DaemonState {
    /// It sends the connections of this director.
    Master,
    /// It receives those of others.
    Backup,
}

impl DaemonState {
    /// `IP_VS_STATE_*`.
    pub fn number(self) -> u32 {
        match self {
            Self::Master => 1,
            Self::Backup => 2,
        }
    }

    /// `master`, `backup`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Backup => "backup",
        }
    }
}

/// A synchronisation daemon. The kernel fills in what is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// Which of the two.
    pub state: DaemonState,
    /// The interface it speaks on.
    pub interface: String,
    /// Daemons with the same number understand each other.
    pub sync_id: u32,
    /// Largest message in bytes.
    pub max_length: Option<u16>,
    /// Multicast group.
    pub group: Option<IpAddr>,
    /// UDP port.
    pub port: Option<u16>,
    /// Multicast TTL.
    pub ttl: Option<u8>,
}

impl Daemon {
    pub(super) fn write(&self) -> Writer {
        let mut inner = Writer::default();
        inner.put_u32(STATE, self.state.number());
        inner.put_text(MCAST_IFN, &self.interface);
        inner.put_u32(SYNC_ID, self.sync_id);
        if let Some(length) = self.max_length {
            inner.put_u16(SYNC_MAXLEN, length);
        }
        if let Some(port) = self.port {
            inner.put_u16(MCAST_PORT, port);
        }
        if let Some(ttl) = self.ttl {
            inner.put_u8(MCAST_TTL, ttl);
        }
        match self.group {
            Some(IpAddr::V4(group)) => _ = inner.put(MCAST_GROUP, &group.octets()),
            Some(IpAddr::V6(group)) => _ = inner.put(MCAST_GROUP6, &group.octets()),
            None => {}
        }
        inner
    }

    /// Which one is to stop. The kernel wants all three attributes and looks at the first.
    pub(super) fn write_stop(state: DaemonState) -> Writer {
        let mut inner = Writer::default();
        inner.put_u32(STATE, state.number()).put_text(MCAST_IFN, "").put_u32(SYNC_ID, 0);
        inner
    }

    pub(super) fn read(attributes: Reader<'_>) -> Option<Self> {
        let v4 = attributes.bytes(MCAST_GROUP).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
        let v6 = attributes.bytes(MCAST_GROUP6).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        let v4 = v4.map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
        let v6 = v6.map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
        Some(Self {
            state: match attributes.u32(STATE)? {
                1 => DaemonState::Master,
                2 => DaemonState::Backup,
                _ => return None,
            },
            interface: attributes.text(MCAST_IFN).unwrap_or_default(),
            sync_id: attributes.u32(SYNC_ID).unwrap_or_default(),
            max_length: attributes.u16(SYNC_MAXLEN),
            group: v4.or(v6),
            port: attributes.u16(MCAST_PORT),
            ttl: attributes.number(MCAST_TTL).and_then(|ttl| u8::try_from(ttl).ok()),
        })
    }
}

/// Connection timeouts in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// Established TCP.
    pub tcp: u32,
    /// TCP after a FIN.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

impl Timeouts {
    pub(super) fn write(self) -> Writer {
        let mut attributes = Writer::default();
        attributes.put_u32(top::TIMEOUT_TCP, self.tcp);
        attributes.put_u32(top::TIMEOUT_TCP_FIN, self.tcp_fin);
        attributes.put_u32(top::TIMEOUT_UDP, self.udp);
        attributes
    }

    /// A kernel without TCP or UDP balancing leaves its timeouts out.
    pub(super) fn read(attributes: Reader<'_>) -> Self {
        let number = |kind| attributes.u32(kind).unwrap_or_default();
        Self { tcp: number(top::TIMEOUT_TCP), tcp_fin: number(top::TIMEOUT_TCP_FIN), udp: number(top::TIMEOUT_UDP) }
    }
}

/// What the kernel says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Info {
    /// Version of IPVS: `0x010201` is 1.2.1.
    pub version: u32,
    /// Buckets of the connection table.
    pub table_size: u32,
}

impl Info {
    pub(super) fn read(attributes: Reader<'_>) -> Option<Self> {
        Some(Self { version: attributes.u32(INFO_VERSION)?, table_size: attributes.u32(INFO_TABLE_SIZE)? })
    }
}
