//! What a captured frame says, as far as a lab cares: VRRP adverts, gratuitous ARPs, unsolicited neighbour advertisements.
//!
//! Pure. Deliberately apart from the daemon's own decoder: a test that reads packets with the code that wrote them
//! proves little.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The meaning of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// A VRRP advertisement.
    Advert(Advert),
    /// An ARP packet that announces its sender's own address: equal addresses, in a request or told to everybody. (A reply
    /// to one host with equal addresses is what a kernel answers to another's announcement.)
    GratuitousArp {
        /// The address announced.
        address: Ipv4Addr,
        /// Where it is.
        hardware: [u8; 6],
        /// 1 request, 2 reply.
        operation: u16,
    },
    /// Any other ARP packet.
    Arp,
    /// A neighbour advertisement.
    NeighbourAdvert {
        /// The address announced.
        address: Ipv6Addr,
        /// The solicited flag: an answer, not an announcement.
        solicited: bool,
    },
    /// Something else or damaged.
    Other,
}

/// The fields of an advert that both versions have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// IP source.
    pub source: IpAddr,
    /// IP destination.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// 2 or 3.
    pub version: u8,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Priority, 0 when resigning.
    pub priority: u8,
    /// Advertisement interval in centiseconds, whatever the version counts in.
    pub interval_cs: u16,
    /// The addresses advertised.
    pub addresses: Vec<IpAddr>,
    /// The VRRP message itself, for byte-by-byte checks.
    pub bytes: Vec<u8>,
}

/// Reads an Ethernet frame.
pub fn decode(frame: &[u8]) -> Meaning {
    try_decode(frame).unwrap_or(Meaning::Other)
}

fn try_decode(frame: &[u8]) -> Option<Meaning> {
    let payload = frame.get(14..)?;
    match frame.get(12..14)? {
        [0x08, 0x06] => arp(payload, frame.first()? & 1 != 0),
        [0x08, 0x00] => ipv4(payload),
        [0x86, 0xdd] => ipv6(payload),
        _ => None,
    }
}

fn arp(packet: &[u8], to_all: bool) -> Option<Meaning> {
    let sender = ipv4_at(packet, 14)?;
    let target = ipv4_at(packet, 24)?;
    let operation = u16_at(packet, 6)?;
    if sender != target || !(to_all || operation == 1) {
        return Some(Meaning::Arp);
    }
    let hardware = packet.get(8..14)?.try_into().ok()?;
    Some(Meaning::GratuitousArp { address: sender, hardware, operation })
}

fn ipv4(packet: &[u8]) -> Option<Meaning> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let total = usize::from(u16_at(packet, 2)?);
    (*packet.get(9)? == 112).then_some(())?;
    let (source, destination) = (ipv4_at(packet, 12)?, ipv4_at(packet, 16)?);
    advert(packet.get(header..total)?, source.into(), destination.into(), *packet.get(8)?)
}

fn ipv6(packet: &[u8]) -> Option<Meaning> {
    let (source, destination) = (ipv6_at(packet, 8)?, ipv6_at(packet, 24)?);
    let payload = packet.get(40..40 + usize::from(u16_at(packet, 4)?))?;
    match packet.get(6)? {
        112 => advert(payload, source.into(), destination.into(), *packet.get(7)?),
        58 if *payload.first()? == 136 => {
            Some(Meaning::NeighbourAdvert { address: ipv6_at(payload, 8)?, solicited: payload.get(4)? & 0x40 != 0 })
        }
        _ => None,
    }
}

fn advert(message: &[u8], source: IpAddr, destination: IpAddr, ttl: u8) -> Option<Meaning> {
    let (version, kind) = (message.first()? >> 4, message.first()? & 0x0f);
    (kind == 1).then_some(())?;
    let count = usize::from(*message.get(3)?);
    let interval_cs = match version {
        2 => u16::from(*message.get(5)?) * 100,
        3 => u16_at(message, 4)? & 0x0fff,
        _ => return None,
    };
    let addresses = (0..count).map(|n| match source {
        IpAddr::V4(_) => ipv4_at(message, 8 + 4 * n).map(IpAddr::V4),
        IpAddr::V6(_) => ipv6_at(message, 8 + 16 * n).map(IpAddr::V6),
    });
    Some(Meaning::Advert(Advert {
        source,
        destination,
        ttl,
        version,
        vrid: *message.get(1)?,
        priority: *message.get(2)?,
        interval_cs,
        addresses: addresses.collect::<Option<_>>()?,
        bytes: message.to_vec(),
    }))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn ipv4_at(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(octets.into())
}

fn ipv6_at(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
    Some(octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An advert of VRRPv2 as Debian's keepalived sends it, with its Ethernet and IP headers.
    const V2: &[u8] = &[
        0x01, 0x00, 0x5e, 0, 0, 0x12, 2, 0, 0, 0, 0, 1, 0x08, 0x00, // Ethernet
        0x45, 0xc0, 0, 40, 0, 1, 0, 0, 255, 112, 0, 0, 172, 16, 2, 201, 224, 0, 0, 18, // IPv4
        0x21, 51, 100, 1, 1, 1, 0, 0, 172, 16, 2, 8, b'1', b'1', b'1', b'1', 0, 0, 0, 0, // VRRP
    ];

    #[test]
    fn reads_an_advert_of_version_2() {
        let Meaning::Advert(advert) = decode(V2) else { panic!("{:?}", decode(V2)) };
        assert_eq!((advert.version, advert.vrid, advert.priority, advert.interval_cs), (2, 51, 100, 100));
        assert_eq!(advert.source.to_string(), "172.16.2.201");
        assert_eq!(advert.addresses, ["172.16.2.8".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn an_advert_cut_short_anywhere_is_no_advert() {
        for len in 0..V2.len() {
            assert_eq!(decode(&V2[..len]), Meaning::Other, "{len} bytes");
        }
    }

    #[test]
    fn tells_announcements_from_questions() {
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, 1, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1]);
        let question = [&frame[..], &[0, 0, 0, 0, 0, 0, 10, 0, 0, 2]].concat();
        assert_eq!(decode(&question), Meaning::Arp);
        let announcement = [&frame[..], &[0, 0, 0, 0, 0, 0, 10, 0, 0, 1]].concat();
        let expected =
            Meaning::GratuitousArp { address: [10, 0, 0, 1].into(), hardware: [2, 0, 0, 0, 0, 1], operation: 1 };
        assert_eq!(decode(&announcement), expected);
        let reply = |to: [u8; 6]| {
            let mut reply = announcement.clone();
            reply[..6].copy_from_slice(&to);
            reply[21] = 2;
            decode(&reply)
        };
        assert_eq!(reply([2, 0, 0, 0, 0, 9]), Meaning::Arp, "the answer to an announcement");
        assert!(matches!(reply([0xff; 6]), Meaning::GratuitousArp { operation: 2, .. }));
    }
}
