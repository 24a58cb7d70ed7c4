//! Asks on the links who has an address: real servers of DR and TUN have the virtual address and must not say so.
//!
//! Shell: a packet socket for the time of the question. What is asked is a probe of RFC 5227, which leaves no trace in
//! anybody's cache.
#![allow(clippy::disallowed_methods, reason = "a shell: waits for answers")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pnet_packet::Packet;
use pnet_packet::arp::{ArpOperations, ArpPacket};
use pnet_packet::ethernet::{EtherTypes, EthernetPacket};

use crate::net::frame::{Mac, arp_probe};
use crate::net::sys::{frame_socket, hear_all_links, send_frame};
use crate::vrrp::types::IfIndex;

/// How often each is asked: a frame may be lost.
const ROUNDS: u32 = 2;
/// How long answers may take.
const PATIENCE: Duration = Duration::from_millis(400);
/// The most that are asked for.
const MOST: usize = 512;

/// Who else has these addresses, each of which is asked for on its interface.
///
/// # Errors
/// No CAP_NET_RAW.
pub fn ask(questions: &BTreeSet<(Ipv4Addr, String)>) -> io::Result<BTreeMap<IpAddr, BTreeSet<Mac>>> {
    let mut answers: BTreeMap<IpAddr, BTreeSet<Mac>> = BTreeMap::new();
    let asked: BTreeSet<Ipv4Addr> = questions.iter().map(|(address, _)| *address).collect();
    if asked.is_empty() {
        return Ok(answers);
    }
    let socket = frame_socket()?;
    hear_all_links(&socket, libc::ETH_P_ARP)?;
    let mut own = BTreeSet::new();
    for _ in 0..ROUNDS {
        for (address, interface) in questions.iter().take(MOST) {
            let (Ok(index), Some(mac)) = (nix::net::if_::if_nametoindex(interface.as_str()), mac_of(interface)) else {
                continue;
            };
            own.insert(mac);
            // An interface without link-layer addresses, or one that is down: nobody answers there.
            let _ = send_frame(&socket, IfIndex(index), &arp_probe(mac, *address));
        }
        let until = Instant::now() + PATIENCE;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::ZERO);
            poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], timeout)?;
            let mut frame = [0; 256];
            while let Ok(length) =
                nix::sys::socket::recv(socket.as_raw_fd(), &mut frame, nix::sys::socket::MsgFlags::MSG_DONTWAIT)
            {
                let Some((address, mac)) = answer(frame.get(..length).unwrap_or_default()) else { continue };
                if asked.contains(&address) && !own.contains(&mac) {
                    answers.entry(IpAddr::V4(address)).or_default().insert(mac);
                }
            }
        }
    }
    Ok(answers)
}

/// Who says to have which address.
fn answer(frame: &[u8]) -> Option<(Ipv4Addr, Mac)> {
    let ethernet = EthernetPacket::new(frame).filter(|frame| frame.get_ethertype() == EtherTypes::Arp)?;
    let arp = ArpPacket::new(ethernet.payload())?;
    let mac = arp.get_sender_hw_addr();
    (arp.get_operation() == ArpOperations::Reply)
        .then(|| (arp.get_sender_proto_addr(), [mac.0, mac.1, mac.2, mac.3, mac.4, mac.5]))
}

fn mac_of(interface: &str) -> Option<Mac> {
    let text = std::fs::read_to_string(format!("/sys/class/net/{interface}/address")).ok()?;
    let bytes: Vec<u8> = text.trim().split(':').map_while(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes.try_into().ok()
}
