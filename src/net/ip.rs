//! IPv4 headers: the one that we send before an advert, and the one that a raw socket delivers before it.
//!
//! Pure. IPv6 needs none of this: there the kernel writes and strips the header.

use std::net::Ipv4Addr;

use pnet_packet::Packet;
use pnet_packet::ip::IpNextHeaderProtocol;
use pnet_packet::ipv4::{self, Ipv4Packet, MutableIpv4Packet};

/// VRRP's protocol number (RFC 9568 §5.1.1.4).
pub const VRRP_PROTOCOL: u8 = 112;
/// Internetwork control: TOS 0xC0 is code point 48.
const INTERNETWORK_CONTROL: u8 = 48;
/// TTL when the engine leaves it to us (RFC 9568 §5.1.1.3).
const DEFAULT_TTL: u8 = 255;
const HEADER: usize = 20;

/// What a raw IPv4 socket delivered, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StrippedV4<'a> {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// TTL.
    pub ttl: u8,
    /// What is behind the header and its options, without anything behind the datagram's end.
    pub payload: &'a [u8],
}

/// Takes the IPv4 header off. `None` for what is no whole IPv4 datagram of protocol 112.
pub fn strip_v4(bytes: &[u8]) -> Option<StrippedV4<'_>> {
    let packet = Ipv4Packet::new(bytes)?;
    let header = usize::from(packet.get_header_length()) * 4;
    let total = usize::from(packet.get_total_length());
    if packet.get_version() != 4 || header < HEADER || packet.get_next_level_protocol().0 != VRRP_PROTOCOL {
        return None;
    }
    Some(StrippedV4 {
        source: packet.get_source(),
        destination: packet.get_destination(),
        ttl: packet.get_ttl(),
        payload: bytes.get(header..total)?,
    })
}

/// A whole IPv4 datagram around `pdu`: TOS 0xC0, DF not set. `None` when it does not fit in one.
pub fn wrap_v4(source: Ipv4Addr, destination: Ipv4Addr, ttl: Option<u8>, id: u16, pdu: &[u8]) -> Option<Vec<u8>> {
    let total = u16::try_from(HEADER + pdu.len()).ok()?;
    let mut bytes = vec![0; usize::from(total)];
    let mut packet = MutableIpv4Packet::new(&mut bytes)?;
    packet.set_version(4);
    packet.set_header_length(5);
    packet.set_dscp(INTERNETWORK_CONTROL);
    packet.set_total_length(total);
    packet.set_identification(id);
    packet.set_ttl(ttl.unwrap_or(DEFAULT_TTL));
    packet.set_next_level_protocol(IpNextHeaderProtocol(VRRP_PROTOCOL));
    packet.set_source(source);
    packet.set_destination(destination);
    packet.set_payload(pdu);
    packet.set_checksum(ipv4::checksum(&packet.to_immutable()));
    debug_assert_eq!(packet.payload(), pdu);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

    #[test]
    fn the_header_is_byte_exact() {
        let bytes = wrap_v4(A, GROUP, Some(255), 0x1234, &[0x21, 1, 2, 3]).expect("small");
        assert_eq!(
            bytes,
            [0x45, 0xc0, 0, 24, 0x12, 0x34, 0, 0, 255, 112, 0x06, 0x6e, 192, 0, 2, 1, 224, 0, 0, 18, 0x21, 1, 2, 3]
        );
    }

    #[test]
    fn options_and_padding_are_taken_off() {
        let mut bytes = wrap_v4(A, GROUP, Some(7), 1, &[1, 1, 1, 1, 9, 8]).expect("small");
        bytes[0] = 0x46; // one word of options, the former first payload word
        bytes.extend([0xee; 20]); // Ethernet padding
        let stripped = strip_v4(&bytes).expect("well formed");
        assert_eq!(stripped, StrippedV4 { source: A, destination: GROUP, ttl: 7, payload: &[9, 8] });
    }

    #[test]
    fn what_is_no_vrrp_datagram_is_refused() {
        let good = wrap_v4(A, GROUP, None, 1, &[1; 8]).expect("small");
        assert!(strip_v4(&good).is_some());
        for (what, at, value) in [
            ("version 6", 0, 0x65),
            ("header shorter than 20 bytes", 0, 0x44),
            ("header longer than the datagram", 0, 0x4f),
            ("protocol", 9, 17),
            ("total length beyond the end", 3, 29),
            ("total length inside the header", 3, 19),
        ] {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert_eq!(strip_v4(&bytes), None, "{what}");
        }
        assert_eq!(strip_v4(&good[..19]), None);
        assert_eq!(strip_v4(&[]), None);
        assert_eq!(wrap_v4(A, GROUP, None, 1, &[0; 65_516]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = strip_v4(&bytes);
        }

        #[test]
        fn bytes_that_look_like_vrrp_stay_inside(
            first in 0x40_u8..0x50,
            total in 0_u16..200,
            mut bytes in proptest::collection::vec(any::<u8>(), 20..120),
        ) {
            bytes[0] = first;
            bytes[9] = VRRP_PROTOCOL;
            bytes[2..4].copy_from_slice(&total.to_be_bytes());
            if let Some(stripped) = strip_v4(&bytes) {
                prop_assert_eq!(stripped.payload.len() + usize::from(first & 15) * 4, usize::from(total));
            }
        }

        #[test]
        fn strip_undoes_wrap(
            source: u32, destination: u32, ttl: u8, id: u16,
            pdu in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let (source, destination) = (Ipv4Addr::from(source), Ipv4Addr::from(destination));
            let bytes = wrap_v4(source, destination, Some(ttl), id, &pdu).expect("fits");
            prop_assert_eq!(strip_v4(&bytes), Some(StrippedV4 { source, destination, ttl, payload: &pdu }));
        }
    }
}
