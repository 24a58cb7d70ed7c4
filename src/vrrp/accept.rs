//! Which adverts are heard: the checks of RFC 9568 §7.1 and RFC 3768 §7.1, and those of keepalived.
//!
//! Pure. Each refusal is a named [`AdvertError`], has a counter of its own and is told to people once per peer until
//! that peer's adverts are good again. A flaw that does not matter to the election is told, and the advert is heard:
//! refusing adverts is how two masters come about.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::config::{Auth, InstanceConfig, Transport};
use super::engine::Received;
use super::event::Heard;
use super::packet::{self, Packet};
use super::snapshot::Counters;
use super::types::{AdvertInterval, Version};

/// What is wrong with a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
pub enum AdvertError {
    /// Shorter or longer than its own fields say.
    #[error("length {got}, expected {expected}")]
    PacketLength {
        /// Bytes received.
        got: usize,
        /// Bytes that the fields call for.
        expected: usize,
    },
    /// Sent by a router of another version, or of one that does not exist.
    #[error("VRRP version {got}{}", ours.map(|v| format!(", ours is {v}")).unwrap_or_default())]
    Version {
        /// On the wire.
        got: u8,
        /// Ours, when an instance was found.
        ours: Option<u8>,
    },
    /// Not an advertisement.
    #[error("packet type {got} is not an advertisement")]
    Type {
        /// On the wire.
        got: u8,
    },
    /// Came from another link: the TTL or hop limit of a multicast advert must be 255.
    #[error("TTL {got}, must be 255")]
    Ttl {
        /// As received.
        got: u8,
    },
    /// TTL outside the peer's `min_ttl` and `max_ttl`.
    #[error("TTL {got} is outside this peer's limits")]
    PeerTtl {
        /// As received.
        got: u8,
    },
    /// The checksum is wrong.
    #[error("wrong checksum")]
    Checksum,
    /// An authentication type that does not exist.
    #[error("authentication type {got} does not exist")]
    AuthTypeInvalid {
        /// On the wire.
        got: u8,
    },
    /// Another authentication type than ours.
    #[error("authentication type {got}, ours is {ours}")]
    AuthTypeMismatch {
        /// On the wire.
        got: u8,
        /// Ours.
        ours: u8,
    },
    /// The password differs.
    #[error("wrong password (auth_pass)")]
    AuthFailure,
    /// VRRPv2 routers must agree on the interval (RFC 3768 §7.1).
    #[error("advertisement interval {} s, ours is {ours}", f64::from(*got_cs) / 100.0)]
    Interval {
        /// On the wire, in centiseconds.
        got_cs: u16,
        /// Ours.
        ours: AdvertInterval,
    },
    /// VRRPv3 with an interval field of 0.
    #[error("advertisement interval 0")]
    IntervalZero,
    /// Multicast to a unicast instance, or the reverse.
    #[error("sent to {destination}, this instance is {}", if *unicast { "unicast" } else { "multicast" })]
    Destination {
        /// Where it was sent.
        destination: IpAddr,
        /// Ours is unicast.
        unicast: bool,
    },
    /// The source is not in `unicast_peer`.
    #[error("sender is not a unicast peer")]
    NotAPeer,
    /// Our own source address.
    #[error("sender has our own address")]
    OwnAddress,
    /// The address owner was told to ignore adverts (`owner_ignore_adverts`).
    #[error("ignored by the address owner")]
    IgnoredByOwner,
    /// The address list differs from ours.
    #[error("addresses differ: missing {}, unexpected {}", list(missing), list(unexpected))]
    AddressList {
        /// Ours that the advert lacks.
        missing: BTreeSet<IpAddr>,
        /// The advert's that we lack.
        unexpected: BTreeSet<IpAddr>,
    },
    /// A VRID that no instance on this interface has.
    #[error("no instance has virtual_router_id {vrid} here")]
    UnknownVrid {
        /// On the wire.
        vrid: u8,
    },
}

impl AdvertError {
    /// A number for each kind, so that "the same flaw again" can be told without its details.
    pub fn kind(&self) -> u8 {
        match self {
            Self::PacketLength { .. } => 0,
            Self::Version { .. } => 1,
            Self::Type { .. } => 2,
            Self::Ttl { .. } => 3,
            Self::PeerTtl { .. } => 4,
            Self::Checksum => 5,
            Self::AuthTypeInvalid { .. } => 6,
            Self::AuthTypeMismatch { .. } => 7,
            Self::AuthFailure => 8,
            Self::Interval { .. } => 9,
            Self::IntervalZero => 10,
            Self::Destination { .. } => 11,
            Self::NotAPeer => 12,
            Self::OwnAddress => 13,
            Self::IgnoredByOwner => 14,
            Self::AddressList { .. } => 15,
            Self::UnknownVrid { .. } => 16,
        }
    }

    /// Counts it under keepalived's name where it has one.
    pub fn count(&self, counters: &mut Counters) {
        let counter = match self {
            Self::PacketLength { .. } => &mut counters.packet_len_err,
            Self::Version { .. } => &mut counters.version_err,
            Self::Type { .. } => &mut counters.invalid_type_rcvd,
            Self::Ttl { .. } | Self::PeerTtl { .. } => &mut counters.ip_ttl_err,
            Self::Checksum => &mut counters.checksum_err,
            Self::AuthTypeInvalid { .. } => &mut counters.invalid_authtype,
            Self::AuthTypeMismatch { .. } => &mut counters.authtype_mismatch,
            Self::AuthFailure => &mut counters.auth_failure,
            Self::Interval { .. } | Self::IntervalZero => &mut counters.advert_interval_err,
            Self::Destination { .. } | Self::NotAPeer => &mut counters.source_err,
            Self::OwnAddress => &mut counters.own_advert,
            Self::IgnoredByOwner => &mut counters.ignored_by_owner,
            Self::AddressList { .. } => &mut counters.addr_list_err,
            // Counted by the engine: no instance has it.
            Self::UnknownVrid { .. } => return,
        };
        *counter += 1;
    }
}

/// An advert that is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Sender, priority and interval.
    pub heard: Heard,
    /// What is wrong with it all the same.
    pub flaw: Option<AdvertError>,
}

/// What the checks need to know of the instance beside its configuration.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The instance's configuration.
    pub config: &'a InstanceConfig,
    /// The source of our own adverts.
    pub source: Option<IpAddr>,
    /// The master whose adverts we follow, for `skip_check_adv_addr`.
    pub master: Option<IpAddr>,
    /// The addresses that we advertise.
    pub advertised: &'a [IpAddr],
}

/// Decides whether an advert is heard.
///
/// # Errors
/// The first check that it fails. The sender gets no answer in any case.
pub fn check(situation: Situation<'_>, received: &Received<'_>) -> Result<Accepted, AdvertError> {
    let config = situation.config;
    if situation.source == Some(received.source) {
        return Err(AdvertError::OwnAddress);
    }
    let packet = packet::parse(config.family, received.pdu)?;
    if packet.version != config.version {
        // Both RFCs: "MUST verify that the VRRP version is …"; no automatic downgrade either way.
        return Err(AdvertError::Version { got: packet.version.value(), ours: Some(config.version.value()) });
    }
    check_destination_and_ttl(config, received)?;
    // With v3_checksum_as_v2 keepalived does not verify VRRPv3 checksums at all: the peers that need it get them wrong.
    let plain = config.v3_checksum_as_v2 && config.version == Version::V3;
    if !plain && !packet.checksum_is_right(received.source, received.destination, false) {
        return Err(AdvertError::Checksum);
    }
    if config.version == Version::V2 {
        check_auth(&config.auth, &packet)?;
    }
    let interval = check_interval(config, &packet)?;
    if config.owner_ignore_adverts && config.priority.is_owner() {
        return Err(AdvertError::IgnoredByOwner);
    }
    let heard = Heard { address: received.source, priority: packet.priority, interval };
    let known_master = situation.master == Some(received.source);
    let list_flaw =
        if config.skip_check_adv_addr && known_master { None } else { compare_addresses(situation, &packet) };
    // RFC 3768 §7.1 lets a receiver discard on a list mismatch. We hear it unless told to be strict: one node gets a new
    // address first, and two masters are worse than a warning.
    if let Some(flaw) = list_flaw.clone().filter(|_| config.strict) {
        return Err(flaw);
    }
    // RFC 9568 §5.2.7: intervals may differ in VRRPv3. Legal, and worth a word: it is rarely meant.
    let interval_flaw = (interval != config.advert_interval)
        .then_some(AdvertError::Interval { got_cs: packet.interval_cs, ours: config.advert_interval });
    Ok(Accepted { heard, flaw: list_flaw.or(interval_flaw) })
}

fn check_destination_and_ttl(config: &InstanceConfig, received: &Received<'_>) -> Result<(), AdvertError> {
    let to_group = received.destination.is_multicast();
    match &config.transport {
        Transport::Multicast { .. } => {
            if !to_group {
                return Err(AdvertError::Destination { destination: received.destination, unicast: false });
            }
            match received.ttl {
                // RFC 9568 §5.1.1.3: a router MUST discard packets whose TTL is not 255.
                Some(got) if got != 255 => Err(AdvertError::Ttl { got }),
                _ => Ok(()),
            }
        }
        Transport::Unicast { peers, check_source, .. } => {
            if to_group {
                return Err(AdvertError::Destination { destination: received.destination, unicast: true });
            }
            let peer = peers.iter().find(|peer| peer.address == received.source);
            match (peer, received.ttl) {
                (None, _) if *check_source => Err(AdvertError::NotAPeer),
                (Some(peer), Some(got))
                    if peer.min_ttl.is_some_and(|min| got < min) || peer.max_ttl.is_some_and(|max| got > max) =>
                {
                    Err(AdvertError::PeerTtl { got })
                }
                _ => Ok(()),
            }
        }
    }
}

fn check_auth(ours: &Auth, packet: &Packet<'_>) -> Result<(), AdvertError> {
    let got = packet.auth_type;
    if got > 2 {
        return Err(AdvertError::AuthTypeInvalid { got });
    }
    if got != packet::auth_type(ours) {
        return Err(AdvertError::AuthTypeMismatch { got, ours: packet::auth_type(ours) });
    }
    match ours {
        Auth::None => Ok(()),
        Auth::Pass(password) if packet.auth_data.is_some_and(|data| same(&data, password)) => Ok(()),
        Auth::Pass(_) => Err(AdvertError::AuthFailure),
    }
}

/// Takes the same time wherever the first difference is.
fn same(a: &[u8; 8], b: &[u8; 8]) -> bool {
    a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

fn check_interval(config: &InstanceConfig, packet: &Packet<'_>) -> Result<AdvertInterval, AdvertError> {
    let got_cs = packet.interval_cs;
    match config.version {
        // RFC 3768 §7.1: "MUST verify that the Adver Interval is the same as the locally configured".
        Version::V2 if got_cs != config.advert_interval.centiseconds() => {
            Err(AdvertError::Interval { got_cs, ours: config.advert_interval })
        }
        Version::V2 => Ok(config.advert_interval),
        // RFC 9568 §5.2.7: the backup learns the master's interval. Zero would mean a master-down interval of nothing.
        Version::V3 => AdvertInterval::from_centiseconds(got_cs).ok_or(AdvertError::IntervalZero),
    }
}

fn compare_addresses(situation: Situation<'_>, packet: &Packet<'_>) -> Option<AdvertError> {
    if packet.addresses().eq(situation.advertised.iter().copied()) {
        return None;
    }
    let theirs: BTreeSet<IpAddr> = packet.addresses().collect();
    let ours: BTreeSet<IpAddr> = situation.advertised.iter().copied().collect();
    (ours != theirs).then(|| AdvertError::AddressList {
        missing: ours.difference(&theirs).copied().collect(),
        unexpected: theirs.difference(&ours).copied().collect(),
    })
}

fn list(addresses: &BTreeSet<IpAddr>) -> String {
    if addresses.is_empty() {
        return "none".to_owned();
    }
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
