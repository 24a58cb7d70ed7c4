//! The small words of balancing: protocols, services, real servers, schedulers, forwarding methods.
//!
//! Pure. The names are those of keepalived and ipvsadm.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::vrrp::types::Family;

/// Transport protocol of a service (`protocol`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP: kernel IPVS only.
    Sctp,
}

impl fmt::Display for Protocol {
    /// As FIFO lines and e-mail subjects have it: `tcp`, `udp`, `sctp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// What a data plane knows a service by. One `virtual_server` of a group is many of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ServiceKey {
    /// Packets to this address, protocol and port; port 0 is every port.
    Address {
        /// Transport protocol.
        protocol: Protocol,
        /// Address and port.
        address: SocketKey,
    },
    /// Packets with this firewall mark.
    Fwmark {
        /// The family of its packets.
        family: Family,
        /// The mark.
        mark: NonZeroU32,
    },
}

impl ServiceKey {
    /// The family of its packets.
    pub fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } => address.family(),
            Self::Fwmark { family, .. } => *family,
        }
    }

    /// The port that clients ask for; 0 is any.
    pub fn port(&self) -> u16 {
        match self {
            Self::Address { address, .. } => address.port,
            Self::Fwmark { .. } => 0,
        }
    }
}

impl fmt::Display for ServiceKey {
    /// `192.0.2.1:80 tcp`, `fwmark 7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { protocol, address } => write!(f, "{address} {protocol}"),
            Self::Fwmark { mark, family: Family::V4 } => write!(f, "fwmark {mark}"),
            Self::Fwmark { mark, family: Family::V6 } => write!(f, "fwmark {mark} inet6"),
        }
    }
}

/// An address and a port that order and hash as plain values: a [`SocketAddr`] without scope and flow label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SocketKey {
    /// Address.
    pub ip: IpAddr,
    /// Port; 0 is every port, or the port that the client asked for.
    pub port: u16,
}

impl SocketKey {
    /// An address and a port.
    pub fn new(ip: IpAddr, port: u16) -> Self {
        Self { ip, port }
    }

    /// Its family.
    pub fn family(&self) -> Family {
        if self.ip.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

impl From<SocketKey> for SocketAddr {
    fn from(key: SocketKey) -> Self {
        Self::new(key.ip, key.port)
    }
}

impl fmt::Display for SocketKey {
    /// `192.0.2.1:80`, `[2001:db8::1]:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::from(*self).fmt(f)
    }
}

/// How the next real server is chosen (`lb_algo`), by the kernel's definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connection.
    Lc,
    /// Weighted least connection: the default.
    #[default]
    Wlc,
    /// Locality-based least connection.
    Lblc,
    /// The same with replication.
    Lblcr,
    /// Source hashing.
    Sh,
    /// Maglev hashing.
    Mh,
    /// Destination hashing.
    Dh,
    /// Weighted failover: all to the heaviest.
    Fo,
    /// Weighted overflow: to the heaviest until it is full.
    Ovf,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// Power of two random choices.
    Twos,
}

impl Scheduler {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Rr,
        Self::Wrr,
        Self::Lc,
        Self::Wlc,
        Self::Lblc,
        Self::Lblcr,
        Self::Sh,
        Self::Mh,
        Self::Dh,
        Self::Fo,
        Self::Ovf,
        Self::Sed,
        Self::Nq,
        Self::Twos,
    ];

    /// The kernel's name: `rr`, `wrr`, …
    pub fn name(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Lblc => "lblc",
            Self::Lblcr => "lblcr",
            Self::Sh => "sh",
            Self::Mh => "mh",
            Self::Dh => "dh",
            Self::Fo => "fo",
            Self::Ovf => "ovf",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Twos => "twos",
        }
    }

    /// The scheduler of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheduler| scheduler.name() == name)
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How packets reach the real server (`lb_kind`, `lvs_method`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum ForwardMethod {
    /// The director rewrites addresses; answers come back through it.
    #[default]
    Nat,
    /// Direct routing: the real server has the virtual address too.
    Dr,
    /// In a tunnel.
    Tun(Tunnel),
    /// The userspace forwarder: two connections, spliced (`lb_kind PROXY`, ours).
    Proxy,
}

impl ForwardMethod {
    /// Whether packets come to the real server with the port that the client asked for, whatever its own is.
    pub fn keeps_port(self) -> bool {
        matches!(self, Self::Dr | Self::Tun(_))
    }
}

/// The tunnel of [`ForwardMethod::Tun`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Tunnel {
    /// IP in IP.
    #[default]
    Ipip,
    /// Generic UDP encapsulation.
    Gue {
        /// UDP port of the far end.
        port: u16,
        /// Its checksum.
        checksum: TunnelChecksum,
    },
    /// GRE.
    Gre {
        /// With or without (`remcsum` is for GUE alone).
        checksum: TunnelChecksum,
    },
}

/// `nocsum`, `csum`, `remcsum`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum TunnelChecksum {
    /// None.
    #[default]
    None,
    /// A checksum.
    Checksum,
    /// Remote checksum offload.
    Remote,
}
