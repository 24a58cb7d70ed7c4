//! Hears other hosts announce addresses: gratuitous ARP, ARP replies, unsolicited NAs.
//!
//! Shell: owns one packet socket, open only while somebody waits for a successor; a filter in the kernel keeps all other
//! traffic of a busy director out of it. What a packet says is decided by [`announced`], which is pure.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, SockFilter, Socket, Type};

use super::frame::Mac;
use crate::vrrp::types::IfIndex;

/// Packets per turn: the loop has more to do.
const PER_TURN: usize = 256;
/// ARP and NA are shorter; more is not looked at.
const LARGEST: usize = 128;

/// The packet socket.
#[derive(Debug)]
pub struct AnnouncementListener {
    socket: Socket,
}

impl AnnouncementListener {
    /// Hears all links.
    ///
    /// # Errors
    /// No CAP_NET_RAW.
    pub fn open() -> io::Result<Self> {
        // Opened deaf (protocol 0 is none), filtered, and only then bound: nothing that the filter would refuse gets in.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&filter())?;
        super::sys::hear_all_links(&socket, libc::ETH_P_ALL)?;
        Ok(Self { socket })
    }

    /// Hears gratuitous ARP on all links and nothing else: cheap enough to be left open, for no other packet of a busy
    /// director comes near its filter.
    ///
    /// # Errors
    /// No CAP_NET_RAW.
    pub fn open_for_claims() -> io::Result<Self> {
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&gratuitous())?;
        super::sys::hear_all_links(&socket, libc::ETH_P_ARP)?;
        Ok(Self { socket })
    }

    /// What was announced since the last call, at the most 256 packets, which leaves the loop time for the rest.
    pub fn drain(&mut self) -> Vec<(IfIndex, IpAddr, Option<Mac>)> {
        let mut heard = Vec::new();
        let mut packet = [0; LARGEST];
        for _ in 0..PER_TURN {
            let Ok((length, from)) = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut packet) else { break };
            let Some(from) = from else { continue };
            let Some(address) = packet.get(..length).and_then(|bytes| announced(u16::from_be(from.protocol()), bytes))
            else {
                continue;
            };
            if let Ok(index) = u32::try_from(from.ifindex()) {
                heard.push((IfIndex(index), address, from.addr().filter(|_| from.halen() == 6)));
            }
        }
        heard
    }
}

impl AsFd for AnnouncementListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const IPV6_HEADER: usize = 40;

/// The address that a packet claims for its sender. `ethertype` in host order, `packet` without the link's header.
pub fn announced(ethertype: u16, packet: &[u8]) -> Option<IpAddr> {
    match ethertype {
        // RFC 826: Ethernet or any other hardware, IPv4; the sender's protocol address follows its hardware address.
        ARP => {
            let &[_, _, 0x08, 0x00, hardware_len, 4, ..] = packet else { return None };
            let sender = packet.get(8 + usize::from(hardware_len)..)?.get(..4)?;
            let sender = Ipv4Addr::from(<[u8; 4]>::try_from(sender).ok()?);
            // An ARP probe claims nothing yet (RFC 5227 §1.1).
            (!sender.is_unspecified()).then_some(IpAddr::V4(sender))
        }
        // RFC 4861 §7.1.2: hop limit 255, code 0.
        IPV6 => {
            let &[_, _, _, _, _, _, ICMPV6, 255, ..] = packet else { return None };
            let &[NEIGHBOUR_ADVERTISEMENT, 0, ..] = packet.get(IPV6_HEADER..)? else { return None };
            let target = packet.get(IPV6_HEADER + 8..)?.get(..16)?;
            Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(target).ok()?)))
        }
        _ => None,
    }
}

/// What the kernel lets through: ARP and NAs that came in, not those that went out.
fn filter() -> [SockFilter; 11] {
    const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
    const LOAD_HALF: u16 = 0x28; // BPF_LD | BPF_H | BPF_ABS
    const JUMP_IF: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const ANCILLARY: u32 = 0xffff_f000; // SKF_AD_OFF
    const OUTGOING: u32 = 4; // PACKET_OUTGOING
    const NEXT_HEADER: u32 = 6;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, ANCILLARY + 4), // SKF_AD_PKTTYPE
        SockFilter::new(JUMP_IF, 8, 0, OUTGOING),
        SockFilter::new(LOAD_HALF, 0, 0, ANCILLARY), // SKF_AD_PROTOCOL
        SockFilter::new(JUMP_IF, 5, 0, u32::from(ARP)),
        SockFilter::new(JUMP_IF, 0, 5, u32::from(IPV6)),
        SockFilter::new(LOAD_BYTE, 0, 0, NEXT_HEADER),
        SockFilter::new(JUMP_IF, 0, 3, u32::from(ICMPV6)),
        SockFilter::new(LOAD_BYTE, 0, 0, 40), // the ICMPv6 type
        SockFilter::new(JUMP_IF, 0, 1, u32::from(NEIGHBOUR_ADVERTISEMENT)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// ARP that came in and whose sender's address is the target's (RFC 5227 §3).
fn gratuitous() -> [SockFilter; 8] {
    const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
    const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const TO_X: u16 = 0x07; // BPF_MISC | BPF_TAX
    const JUMP_IF: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const JUMP_IF_X: u16 = 0x1d; // BPF_JMP | BPF_JEQ | BPF_X
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const PACKET_TYPE: u32 = 0xffff_f000 + 4; // SKF_AD_OFF + SKF_AD_PKTTYPE
    const OUTGOING: u32 = 4; // PACKET_OUTGOING
    [
        SockFilter::new(LOAD_BYTE, 0, 0, PACKET_TYPE),
        SockFilter::new(JUMP_IF, 5, 0, OUTGOING),
        SockFilter::new(LOAD_WORD, 0, 0, 14), // the sender's address, behind a hardware address of six bytes
        SockFilter::new(TO_X, 0, 0, 0),
        SockFilter::new(LOAD_WORD, 0, 0, 24), // the target's
        SockFilter::new(JUMP_IF_X, 0, 1, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::frame;
    use super::*;

    #[test]
    fn our_own_announcements_are_understood_and_nothing_else_is() {
        let mac = [2, 0, 0, 0, 0, 1];
        let arp = frame::gratuitous_arp(mac, Ipv4Addr::new(192, 0, 2, 1));
        let v6: Ipv6Addr = "2001:db8::1".parse().expect("literal");
        let na = frame::unsolicited_na(mac, v6, false);
        assert_eq!(announced(ARP, &arp[14..]), Some("192.0.2.1".parse().expect("literal")));
        assert_eq!(announced(IPV6, &na[14..]), Some(IpAddr::V6(v6)));
        assert_eq!(announced(0x0800, &arp[14..]), None);
        for cut in 0..28 {
            let whole = cut >= 18;
            assert_eq!(announced(ARP, &arp[14..14 + cut]).is_some(), whole, "{cut} bytes of ARP");
        }
        for cut in 0..64 {
            assert_eq!(announced(IPV6, &na[14..14 + cut]), None, "{cut} bytes of NA");
        }
        let mut probe = arp.clone();
        probe[28..32].fill(0);
        assert_eq!(announced(ARP, &probe[14..]), None);
        let mut routed = na.clone();
        routed[14 + 7] = 254;
        assert_eq!(announced(IPV6, &routed[14..]), None);
    }
}
