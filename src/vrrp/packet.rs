//! The VRRP packet on the wire, both versions, both families.
//!
//! Pure. [`parse`] looks at structure only; whether an advert is heard is decided in [`super::accept`].
//!
//! ```text
//!            VRRPv2 (RFC 3768 §5.1)                       VRRPv3 (RFC 9568 §5.2)
//!  0 |ver 2|type 1|  VRID  | priority | count |   |ver 3|type 1|  VRID  | priority | count |
//!  4 | auth type  | interval s |   checksum   |   | 0 | interval, 12 bit cs |   checksum   |
//!  8 | address 1 … address n, 4 bytes each    |   | address 1 … address n, 4 or 16 bytes    |
//!    | authentication data, 8 bytes           |
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::accept::AdvertError;
use super::config::Auth;
use super::types::{AdvertInterval, Family, Version, Vrid};

/// IP protocol number of VRRP (RFC 9568 §5.1.1.4).
pub const PROTOCOL: u8 = 112;
/// The only packet type that exists (RFC 9568 §5.2.2).
const ADVERTISEMENT: u8 = 1;
const HEADER: usize = 8;
const AUTH_DATA: usize = 8;
/// Most addresses that the count field can say.
pub const MAX_ADDRESSES: usize = 255;

/// An advertisement to encode.
#[derive(Debug, Clone, Copy)]
pub struct Advert<'a> {
    /// Protocol version.
    pub version: Version,
    /// Virtual router.
    pub vrid: Vrid,
    /// Priority, 0 when resigning (RFC 9568 §5.2.4).
    pub priority: u8,
    /// Interval that we announce.
    pub interval: AdvertInterval,
    /// Advertised addresses, all of one family, at most [`MAX_ADDRESSES`].
    pub addresses: &'a [IpAddr],
    /// VRRPv2 authentication.
    pub auth: &'a Auth,
}

/// A packet whose structure is sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Protocol version.
    pub version: Version,
    /// Virtual router.
    pub vrid: Vrid,
    /// Priority, 0 when the sender resigns.
    pub priority: u8,
    /// The interval field in centiseconds, 0 included.
    pub interval_cs: u16,
    /// VRRPv2 authentication type; 0 for VRRPv3.
    pub auth_type: u8,
    /// VRRPv2 authentication data.
    pub auth_data: Option<[u8; AUTH_DATA]>,
    family: Family,
    addresses: &'a [u8],
    pdu: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The addresses in the order of the packet.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + 'a {
        let family = self.family;
        self.addresses.chunks_exact(address_len(family)).filter_map(move |bytes| match family {
            Family::V4 => <[u8; 4]>::try_from(bytes).ok().map(|b| IpAddr::V4(Ipv4Addr::from(b))),
            Family::V6 => <[u8; 16]>::try_from(bytes).ok().map(|b| IpAddr::V6(Ipv6Addr::from(b))),
        })
    }

    /// Whether the checksum is right for this source and destination. `plain`: VRRPv3 over IPv4 without the pseudo
    /// header (`v3_checksum_as_v2`).
    pub fn checksum_is_right(&self, source: IpAddr, destination: IpAddr, plain: bool) -> bool {
        // Over a packet with its checksum in place the sum is zero (RFC 1071 §1 (3)).
        checksum(self.version, self.pdu, source, destination, plain) == 0
    }
}

/// The virtual router that a packet is for, before anything else is known of it. `None` if there is none.
pub fn peek_vrid(pdu: &[u8]) -> Option<Vrid> {
    pdu.get(1).copied().and_then(Vrid::new)
}

/// Checks the structure of a packet.
///
/// # Errors
/// Too short, too long, or a version or type that does not exist.
pub fn parse(family: Family, pdu: &[u8]) -> Result<Packet<'_>, AdvertError> {
    let Some((&[version_type, vrid, priority, count, b4, b5, ..], body)) = pdu.split_first_chunk::<HEADER>() else {
        return Err(AdvertError::PacketLength { got: pdu.len(), expected: HEADER });
    };
    let version = match version_type >> 4 {
        2 => Version::V2,
        3 => Version::V3,
        got => return Err(AdvertError::Version { got, ours: None }),
    };
    if version_type & 0x0f != ADVERTISEMENT {
        return Err(AdvertError::Type { got: version_type & 0x0f });
    }
    let vrid = Vrid::new(vrid).ok_or(AdvertError::UnknownVrid { vrid: 0 })?;
    let addresses_len = usize::from(count) * address_len(family);
    let trailer_len = if version == Version::V2 { AUTH_DATA } else { 0 };
    if body.len() != addresses_len + trailer_len {
        return Err(AdvertError::PacketLength { got: pdu.len(), expected: HEADER + addresses_len + trailer_len });
    }
    let (addresses, trailer) = body.split_at(addresses_len);
    let (auth_type, interval_cs) = match version {
        Version::V2 => (b4, u16::from(b5) * 100),
        // RFC 9568 §5.2.6: the reserved bits are ignored on reception.
        Version::V3 => (0, u16::from_be_bytes([b4 & 0x0f, b5])),
    };
    Ok(Packet {
        version,
        vrid,
        priority,
        interval_cs,
        auth_type,
        auth_data: trailer.try_into().ok(),
        family,
        addresses,
        pdu,
    })
}

/// The packet for one destination. VRRPv3's checksum covers the IP addresses, so each peer gets its own.
pub fn encode(advert: &Advert<'_>, source: IpAddr, destination: IpAddr, plain_checksum: bool) -> Vec<u8> {
    let addresses = &advert.addresses[..advert.addresses.len().min(MAX_ADDRESSES)];
    let count = u8::try_from(addresses.len()).unwrap_or(u8::MAX);
    let mut pdu = Vec::with_capacity(HEADER + addresses.len() * 16 + AUTH_DATA);
    pdu.extend([advert.version.value() << 4 | ADVERTISEMENT, advert.vrid.value(), advert.priority, count]);
    match advert.version {
        Version::V2 => pdu.extend([auth_type(advert.auth), advert.interval.whole_seconds().unwrap_or(1)]),
        Version::V3 => pdu.extend(advert.interval.centiseconds().min(0x0fff).to_be_bytes()),
    }
    pdu.extend([0, 0]);
    for address in addresses {
        match address {
            IpAddr::V4(a) => pdu.extend(a.octets()),
            IpAddr::V6(a) => pdu.extend(a.octets()),
        }
    }
    if advert.version == Version::V2 {
        pdu.extend(match advert.auth {
            // RFC 3768 §5.3.10: the field stays, with zeros.
            Auth::None => [0; AUTH_DATA],
            Auth::Pass(password) => *password,
        });
    }
    let sum = checksum(advert.version, &pdu, source, destination, plain_checksum);
    pdu[6..HEADER].copy_from_slice(&sum.to_be_bytes());
    pdu
}

/// The number of VRRPv2's authentication type field.
pub fn auth_type(auth: &Auth) -> u8 {
    match auth {
        Auth::None => 0,
        Auth::Pass(_) => 1,
    }
}

/// How many addresses fit one IP packet on a link with this MTU.
pub fn capacity(version: Version, family: Family, mtu: u32) -> usize {
    let ip = match family {
        Family::V4 => 20,
        Family::V6 => 40,
    };
    let fixed = ip + HEADER + if version == Version::V2 { AUTH_DATA } else { 0 };
    let room = usize::try_from(mtu).unwrap_or(usize::MAX).saturating_sub(fixed);
    (room / address_len(family)).min(MAX_ADDRESSES)
}

fn address_len(family: Family) -> usize {
    match family {
        Family::V4 => 4,
        Family::V6 => 16,
    }
}

/// RFC 1071 over the packet, and for VRRPv3 and IPv6 over the pseudo header too (RFC 9568 §5.2.8).
fn checksum(version: Version, pdu: &[u8], source: IpAddr, destination: IpAddr, plain: bool) -> u16 {
    let mut sum = Sum(0);
    let length = u32::try_from(pdu.len()).unwrap_or(u32::MAX);
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) if version == Version::V3 && !plain => {
            sum.add(&source.octets());
            sum.add(&destination.octets());
            sum.add(&[0, PROTOCOL]);
            sum.add(&length.to_be_bytes()[2..]);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            sum.add(&source.octets());
            sum.add(&destination.octets());
            sum.add(&length.to_be_bytes());
            sum.add(&[0, 0, 0, PROTOCOL]);
        }
        // VRRPv2 has no pseudo header. Mixed families never come from one packet; the plain sum simply does not match.
        _ => {}
    }
    sum.add(pdu);
    sum.finish()
}

/// One's complement sum of 16-bit words. A `u64` cannot overflow within an IP packet.
struct Sum(u64);

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(2) {
            let low = word.get(1).copied().unwrap_or(0);
            self.0 += u64::from(u16::from_be_bytes([word[0], low]));
        }
    }

    fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap_or(u16::MAX)
    }
}
