//! Adverts written by hand, from a host that runs no daemon.
#![allow(dead_code, missing_docs)] // Each test binary uses a part.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use holdfast::lab::director::Director;
use socket2::{Domain, Protocol, Socket, Type};

use crate::variant::VRID;

/// The addresses of [`crate::variant::Variant`].
pub const OURS: [[u8; 4]; 2] = [[10, 9, 0, 100], [10, 9, 0, 101]];

/// An advert from node 2, which runs no daemon.
#[derive(Debug, Clone, Copy)]
pub struct Forged {
    pub priority: u8,
    pub ttl: u32,
    pub password: &'static [u8; 8],
    pub addresses: [[u8; 4]; 2],
    /// What the log says of it.
    pub told: &'static str,
}

/// A VRRPv2 advert with password that everybody hears.
pub const GOOD: Forged = Forged { priority: 50, ttl: 255, password: b"s3cret\0\0", addresses: OURS, told: "" };

/// Sends an advert that is right but for what was forged. Written by hand: the code under test wrote no byte of it.
pub fn send(from: &Director, forged: Forged) {
    flood(from, &[forged], 1, Duration::ZERO);
}

/// Sends each of these in turn, so many of all together, with a pause after every hundred.
pub fn flood(from: &Director, forged: &[Forged], count: usize, pause: Duration) {
    let packets: Vec<_> = forged.iter().map(|forged| (forged.ttl, pdu(*forged))).collect();
    from.host().run(move || {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).expect("a raw socket");
        socket.set_multicast_if_v4(&Ipv4Addr::new(10, 9, 0, 13)).expect("its address");
        let group = SocketAddr::new(IpAddr::from([224, 0, 0, 18]), 0);
        for (n, (ttl, pdu)) in packets.iter().cycle().take(count).enumerate() {
            socket.set_multicast_ttl_v4(*ttl).expect("a TTL");
            socket.send_to(pdu, &group.into()).expect("it is sent");
            if n % 100 == 99 {
                std::thread::sleep(pause);
            }
        }
    });
}

fn pdu(forged: Forged) -> Vec<u8> {
    let mut pdu = vec![0x21, VRID, forged.priority, 2, u8::from(forged.password[0] != 0), 1, 0, 0];
    pdu.extend(forged.addresses.concat());
    pdu.extend(forged.password);
    let sum: u32 = pdu.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    let sum = !((sum & 0xffff) + (sum >> 16));
    pdu[6..8].copy_from_slice(&sum.to_be_bytes()[2..]);
    pdu
}
