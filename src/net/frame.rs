//! Announcements as Ethernet frames: gratuitous ARP and unsolicited neighbour advertisement.
//!
//! Pure. Sent as whole frames, so that what is on the wire is what is written here (keepalived's form: hosts and
//! switches in the field have learnt to obey it).

use std::net::{Ipv4Addr, Ipv6Addr};

use pnet_packet::Packet;
use pnet_packet::arp::{ArpHardwareTypes, ArpOperations, MutableArpPacket};
use pnet_packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet_packet::icmpv6::ndp::{MutableNeighborAdvertPacket, NdpOption, NdpOptionTypes, NeighborAdvertFlags};
use pnet_packet::icmpv6::{self, Icmpv6Packet, Icmpv6Types};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::MutableIpv6Packet;

/// An Ethernet address.
pub type Mac = [u8; 6];

const ETHERNET: usize = 14;
const ARP: usize = 28;
const IPV6: usize = 40;
/// ICMPv6 header, flags, target, and one link-layer option.
const ADVERT: usize = 32;
/// All nodes on the link, `ff02::1` and its Ethernet group.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const BROADCAST: Mac = [0xff; 6];

/// A gratuitous ARP request for `address`: sender and target are the address itself, target hardware is broadcast.
pub fn gratuitous_arp(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    arp_request(mac, address, address, BROADCAST)
}

/// A question who has `address` in nobody's name, which changes no cache (RFC 5227 §1.1, "ARP Probe").
pub fn arp_probe(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    arp_request(mac, Ipv4Addr::UNSPECIFIED, address, [0; 6])
}

fn arp_request(mac: Mac, sender: Ipv4Addr, address: Ipv4Addr, target: Mac) -> Vec<u8> {
    let mut bytes = vec![0; ETHERNET + ARP];
    ethernet(&mut bytes, BROADCAST, mac, EtherTypes::Arp);
    let mut arp = MutableArpPacket::new(&mut bytes[ETHERNET..]).expect("sized for it");
    arp.set_hardware_type(ArpHardwareTypes::Ethernet);
    arp.set_protocol_type(EtherTypes::Ipv4);
    arp.set_hw_addr_len(6);
    arp.set_proto_addr_len(4);
    arp.set_operation(ArpOperations::Request);
    arp.set_sender_hw_addr(mac.into());
    arp.set_sender_proto_addr(sender);
    arp.set_target_hw_addr(target.into());
    arp.set_target_proto_addr(address);
    bytes
}

/// An unsolicited neighbour advertisement for `address` to all nodes, with Override set (RFC 4861 §7.2.6).
/// `router`: this interface forwards.
pub fn unsolicited_na(mac: Mac, address: Ipv6Addr, router: bool) -> Vec<u8> {
    let mut bytes = vec![0; ETHERNET + IPV6 + ADVERT];
    ethernet(&mut bytes, ALL_NODES_MAC, mac, EtherTypes::Ipv6);
    let mut ip = MutableIpv6Packet::new(&mut bytes[ETHERNET..]).expect("sized for it");
    ip.set_version(6);
    ip.set_payload_length(u16::try_from(ADVERT).expect("32"));
    ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
    // RFC 4861 §7.1.2: anything but 255 is dropped by the receiver.
    ip.set_hop_limit(255);
    ip.set_source(address);
    ip.set_destination(ALL_NODES);

    let mut advert = MutableNeighborAdvertPacket::new(&mut bytes[ETHERNET + IPV6..]).expect("sized for it");
    advert.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
    let router = if router { NeighborAdvertFlags::Router } else { 0 };
    advert.set_flags(NeighborAdvertFlags::Override | router);
    advert.set_target_addr(address);
    advert.set_options(&[NdpOption { option_type: NdpOptionTypes::TargetLLAddr, length: 1, data: mac.to_vec() }]);
    let sum = Icmpv6Packet::new(advert.packet()).map_or(0, |p| icmpv6::checksum(&p, &address, &ALL_NODES));
    advert.set_checksum(sum);
    bytes
}

fn ethernet(bytes: &mut [u8], to: Mac, from: Mac, kind: pnet_packet::ethernet::EtherType) {
    let mut frame = MutableEthernetPacket::new(bytes).expect("sized for it");
    frame.set_destination(to.into());
    frame.set_source(from.into());
    frame.set_ethertype(kind);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [0x02, 0, 0, 0xaa, 0xbb, 0xcc];

    #[test]
    fn gratuitous_arp_is_byte_exact() {
        #[rustfmt::skip]
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0xaa, 0xbb, 0xcc, 0x08, 0x06,
            0, 1, 0x08, 0x00, 6, 4, 0, 1,
            0x02, 0, 0, 0xaa, 0xbb, 0xcc, 192, 0, 2, 10,
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 192, 0, 2, 10,
        ];
        assert_eq!(gratuitous_arp(MAC, Ipv4Addr::new(192, 0, 2, 10)), expected);
    }

    fn expected_na(flags: u8, checksum: [u8; 2]) -> Vec<u8> {
        let vip = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];
        let mut bytes = vec![0x33, 0x33, 0, 0, 0, 1, 0x02, 0, 0, 0xaa, 0xbb, 0xcc, 0x86, 0xdd];
        bytes.extend([0x60, 0, 0, 0, 0, 32, 58, 255]);
        bytes.extend(vip);
        bytes.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        bytes.extend([136, 0, checksum[0], checksum[1], flags, 0, 0, 0]);
        bytes.extend(vip);
        bytes.extend([2, 1, 0x02, 0, 0, 0xaa, 0xbb, 0xcc]);
        bytes
    }

    /// RFC 1071 over the pseudo header and the message, written here a second time.
    fn sum(frame: &[u8]) -> u16 {
        let mut words: Vec<u8> = frame[22..54].to_vec();
        words.extend([0, 0, 0, 32, 0, 0, 0, 58]);
        words.extend(&frame[54..]);
        let mut sum: u32 = words.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).expect("folded")
    }

    #[test]
    fn unsolicited_na_is_byte_exact() {
        let vip: Ipv6Addr = "2001:db8::10".parse().expect("literal");
        for (router, flags) in [(false, 0x20), (true, 0xa0)] {
            let checksum = sum(&expected_na(flags, [0, 0])).to_be_bytes();
            assert_eq!(unsolicited_na(MAC, vip, router), expected_na(flags, checksum), "router {router}");
        }
    }
}
