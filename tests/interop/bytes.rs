//! Every byte of what a master sends, compared with what keepalived sends for the same file in the same place.
//!
//! Only what must differ is put aside, after a check of its own: hardware addresses, the IPv6 source made from them,
//! the IPv4 identification, the IPv6 flow label, and the checksums over those.

use std::net::IpAddr;
use std::time::Duration;

use holdfast::lab::frame::Meaning;
use holdfast::lab::sniffer::Frame;

use crate::common::needs_keepalived;
use crate::rig::{Make, Node, PATIENCE, Rig, advert, announced, each, wait_address, wait_state};
use crate::variant::Variant;

#[test]
fn a_master_sends_what_keepalived_sends() {
    needs_keepalived!();
    each(&Variant::ALL, |variant| {
        let (ours, theirs) = std::thread::scope(|scope| {
            let ours = scope.spawn(|| sent_by(Make::Holdfast, *variant));
            let theirs = scope.spawn(|| sent_by(Make::Keepalived, *variant));
            (ours.join(), theirs.join())
        });
        let (ours, theirs) = (ours.expect("a life"), theirs.expect("a life"));
        assert_eq!(ours.adverts, theirs.adverts, "{variant:?}");
        assert_eq!(ours.last_words, theirs.last_words, "{variant:?}");
        assert_eq!(ours.announcements, theirs.announcements, "{variant:?}");
    });
}

/// Hexadecimal, so that a difference can be read.
#[derive(Debug)]
struct Sent {
    adverts: Vec<String>,
    last_words: Vec<String>,
    /// The burst of a new master, in its order.
    announcements: Vec<String>,
}

/// A master alone beside a silent host, from its start to its end.
fn sent_by(make: Make, variant: Variant) -> Sent {
    let config = |me| variant.quick(&variant.instance(me, 2, 150, "garp_master_delay 1\ngarp_master_refresh 0"));
    let mut rig = Rig::build(1, vec![Node::new("a", make, config(0)), Node::new("b", make, config(1))]);
    rig.nodes[0].start().expect("it starts");
    wait_state(rig.node(0), "VI_1", "MASTER");
    let wire = rig.wire();
    let first = wire.wait_adverts(0, "a", 2).remove(0);
    for vip in variant.vips() {
        wait_address(rig.node(0), "eth0", vip, true);
    }
    // Both bursts: five of each address at once, and again after garp_master_delay.
    crate::rig::wait_until("both bursts", || {
        wire.since(0).iter().filter(|frame| announced(frame).is_some()).count() >= 2 * 5 * variant.vips().len()
    });
    rig.nodes[0].stop(PATIENCE).expect("it ends");
    wire.wait_priority(0, "a", 0);
    let frames: Vec<_> = wire.since(0).into_iter().filter(|frame| frame.host == "a").collect();
    let (last_words, adverts): (Vec<_>, Vec<_>) =
        frames.iter().filter(|f| advert(f).is_some()).partition(|f| advert(f).is_some_and(|a| a.priority == 0));
    let mut adverts: Vec<_> = adverts.into_iter().map(normal).collect();
    adverts.dedup();
    let announcements: Vec<_> = frames.iter().filter(|frame| announced(frame).is_some()).collect();
    let second = announcements.iter().find(|frame| frame.at - first.at > Duration::from_millis(900));
    assert!(second.is_some(), "the second burst comes garp_master_delay later");
    // We resign twice, a few milliseconds apart, in case one is lost: the same words, which keepalived says once.
    assert!(last_words.len() <= if matches!(make, Make::Holdfast) { 2 } else { 1 }, "{last_words:?}");
    let mut last_words: Vec<_> = last_words.into_iter().map(normal).collect();
    last_words.dedup();
    Sent { adverts, last_words, announcements: announcements.into_iter().map(normal).collect() }
}

fn normal(frame: &Frame) -> String {
    let mut bytes = frame.bytes.clone();
    let hardware: [u8; 6] = bytes[6..12].try_into().expect("an Ethernet frame");
    match &frame.meaning {
        Meaning::Advert(advert) => {
            if !advert.destination.is_multicast() {
                bytes[..6].fill(0);
            }
            normal_advert(&mut bytes, advert.source, advert.destination);
        }
        Meaning::NeighbourAdvert { .. } => {
            assert_eq!(sum(&bytes[54..], pseudo(&bytes[22..38], &bytes[38..54], 58, bytes.len() - 54)), 0xffff);
            bytes[56..58].fill(0);
        }
        _ => {}
    }
    // Wherever the sender's hardware address stands.
    for at in 0..bytes.len() - 5 {
        if bytes[at..at + 6] == hardware {
            bytes[at..at + 6].fill(0xaa);
        }
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn normal_advert(bytes: &mut [u8], source: IpAddr, destination: IpAddr) {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            assert_eq!(sum(&bytes[14..34], 0), 0xffff, "the IP header's checksum");
            let v3 = bytes[34] >> 4 == 3;
            let pseudo = pseudo(&source.octets(), &destination.octets(), 112, bytes.len() - 34);
            assert_eq!(sum(&bytes[34..], if v3 { pseudo } else { 0 }), 0xffff, "the advert's checksum");
            bytes[18..20].fill(0);
            bytes[24..26].fill(0);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let pseudo = pseudo(&source.octets(), &destination.octets(), 112, bytes.len() - 54);
            assert_eq!(sum(&bytes[54..], pseudo), 0xffff, "the advert's checksum");
            // The flow label is the kernel's choice.
            bytes[15] &= 0xf0;
            bytes[16..18].fill(0);
            if source.is_unicast_link_local() {
                bytes[22..38].fill(0);
                bytes[60..62].fill(0);
            }
        }
        mixed => panic!("{mixed:?}"),
    }
}

/// RFC 1071, with what the pseudo header adds. 0xffff over a packet whose checksum is right.
fn sum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)));
    let mut sum = start + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded")
}

fn pseudo(source: &[u8], destination: &[u8], protocol: u32, length: usize) -> u32 {
    let length = u32::try_from(length).expect("a frame");
    u32::from(sum(source, 0)) + u32::from(sum(destination, 0)) + protocol + length
}
