//! Packets from the wire, with any field as a test wants it.
//!
//! Pure.

use std::net::IpAddr;

use super::super::config::{Auth, InstanceConfig, Transport};
use super::super::engine::SocketKey;
use super::super::packet::{self, Advert};
use super::super::types::{Family, IfIndex, Version, Vrid};
use super::host::{cs, ip};

/// A packet on its way to the host, each field as the test wants it.
pub struct Wire {
    /// The socket that gets it.
    pub socket: SocketKey,
    /// IP source.
    pub source: IpAddr,
    /// IP destination.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: Option<u8>,
    /// Version.
    pub version: Version,
    /// VRID.
    pub vrid: Vrid,
    /// Priority.
    pub priority: u8,
    /// Interval field in centiseconds.
    pub interval_cs: u16,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// VRRPv2 authentication.
    pub auth: Auth,
    /// Checksum without a pseudo header.
    pub plain: bool,
    /// A change to the bytes before the checksum.
    pub edit: fn(&mut Vec<u8>),
    /// A change to the bytes after the checksum.
    pub spoil: fn(&mut Vec<u8>),
}

impl Wire {
    /// What a router with the same configuration, priority 200 and address `.3` sends.
    pub fn from_peer(config: &InstanceConfig) -> Self {
        let net = u32::from(config.interface.as_deref() == Some("eth1"));
        let ours = match config.family {
            Family::V4 => ip(&format!("10.{net}.0.2")),
            Family::V6 => ip("fe80::2"),
        };
        let destination = match &config.transport {
            Transport::Multicast { group } => *group,
            Transport::Unicast { .. } => ours,
        };
        let interface = config.interface.as_ref().map(|_| IfIndex(net + 1));
        Self {
            socket: SocketKey { interface, family: config.family },
            source: neighbour(ours, "3"),
            destination,
            ttl: Some(255),
            version: config.version,
            vrid: config.vrid,
            priority: 200,
            interval_cs: config.advert_interval.centiseconds(),
            addresses: config.addresses.iter().map(|address| address.address).collect(),
            auth: config.auth.clone(),
            plain: false,
            edit: |_| {},
            spoil: |_| {},
        }
    }

    /// Its bytes.
    pub fn pdu(&self) -> Vec<u8> {
        let interval = cs(self.interval_cs.max(1));
        let advert = Advert {
            version: self.version,
            vrid: self.vrid,
            priority: self.priority,
            interval,
            addresses: &self.addresses,
            auth: &self.auth,
        };
        let mut pdu = packet::encode(&advert, self.source, self.destination, self.plain);
        if self.interval_cs == 0 {
            pdu[5] = 0;
        }
        (self.edit)(&mut pdu);
        if pdu.len() >= 8 {
            let sum = super::packet::reference_checksum(self.version, &pdu, self.source, self.destination, self.plain);
            pdu[6..8].copy_from_slice(&sum.to_be_bytes());
        }
        (self.spoil)(&mut pdu);
        pdu
    }
}

/// Another host of the same network.
pub fn neighbour(ours: IpAddr, host: &str) -> IpAddr {
    match ours {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            ip(&format!("{a}.{b}.{c}.{host}"))
        }
        IpAddr::V6(_) => ip(&format!("fe80::{host}")),
    }
}
