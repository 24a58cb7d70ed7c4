//! `PING_CHECK`: an echo request and its reply (RFC 792, RFC 4443 §4).
//!
//! Shell around pure packets. The socket is the kernel's echo socket, which sees its own replies only; who may have one
//! is said by `net.ipv4.ping_group_range`, which is widened by our group where it has to be, as keepalived does. Where
//! that is forbidden a raw socket serves.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::super::config::Target;
use super::super::finding::{Failure, Finding};
use super::{socket, udp};
use crate::vrrp::types::Family;

const GROUP_RANGE: &str = "/proc/sys/net/ipv4/ping_group_range";
/// IP header with options, ICMP header, our payload, and some.
const LONGEST: usize = 256;

/// Sends one echo request and waits for its reply.
pub async fn probe(target: &Target) -> Finding {
    static SEQUENCE: AtomicU16 = AtomicU16::new(0);
    let echo = Echo {
        family: target.address.family(),
        sequence: SEQUENCE.fetch_add(1, Ordering::Relaxed),
        secret: RandomState::new().build_hasher().finish().to_be_bytes(),
    };
    let (socket, raw) = open(target)?;
    let conversation = async {
        socket.send(&echo.request()).await?;
        while !echo.is_reply(&udp::receive(&socket, LONGEST).await?, raw) {}
        Ok(())
    };
    socket::within(target, "ping", target.connect_timeout, conversation).await?;
    Ok(0)
}

/// An echo socket, connected so that ICMP errors reach it, and whether it is raw.
fn open(target: &Target) -> Result<(UdpSocket, bool), Failure> {
    let (domain, protocol) = match target.address.family() {
        Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
        Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    let make = |kind: Type| Socket::new(domain, kind.nonblocking(), Some(protocol));
    let forbidden = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    let (socket, raw) = match make(Type::DGRAM) {
        Err(error) if forbidden(&error) => {
            let allowed = widen_group_range().and_then(|()| make(Type::DGRAM));
            match allowed {
                Ok(socket) => (Ok(socket), false),
                Err(_) => (make(Type::RAW), true),
            }
        }
        made => (made, false),
    };
    let socket = socket.map_err(|error| Failure::ours(format!("no ICMP socket: {error}")))?;
    socket::prepare(&socket, target, None)?;
    let address = SocketAddr::new(target.address.ip, 0);
    socket.connect(&address.into()).map_err(|error| socket::failed(target, &error))?;
    // To tokio a datagram socket is a datagram socket.
    let socket = UdpSocket::from_std(socket.into()).map_err(|error| Failure::ours(error.to_string()))?;
    Ok((socket, raw))
}

fn widen_group_range() -> io::Result<()> {
    let ours = nix::unistd::getegid().as_raw();
    let text = std::fs::read_to_string(GROUP_RANGE)?;
    std::fs::write(GROUP_RANGE, widened(&text, ours))
}

/// The range with our group in it; the kernel's default, `1 0`, is nobody.
fn widened(text: &str, ours: u32) -> String {
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) if first <= last => format!("{} {}", first.min(ours), last.max(ours)),
        _ => format!("{ours} {ours}"),
    }
}

/// One request, and what tells its reply from everybody else's.
#[derive(Debug)]
struct Echo {
    family: Family,
    sequence: u16,
    secret: [u8; 8],
}

impl Echo {
    fn kinds(&self) -> (u8, u8) {
        match self.family {
            Family::V4 => (8, 0),
            Family::V6 => (128, 129),
        }
    }

    /// Type, code, checksum, identifier, sequence number, payload. The kernel writes its identifier where the socket is
    /// not raw, and the checksum of ICMPv6.
    fn request(&self) -> Vec<u8> {
        let mut packet = vec![self.kinds().0, 0, 0, 0, self.secret[0], self.secret[1]];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.secret);
        if self.family == Family::V4 {
            let sum = checksum(&packet).to_be_bytes();
            packet[2] = sum[0];
            packet[3] = sum[1];
        }
        packet
    }

    fn is_reply(&self, packet: &[u8], raw: bool) -> bool {
        let header = match (raw, self.family, packet.first()) {
            (true, Family::V4, Some(first)) => usize::from(first & 0xf) * 4,
            _ => 0,
        };
        let message = packet.get(header..).unwrap_or_default();
        message.first() == Some(&self.kinds().1)
            && message.get(6..8) == Some(self.sequence.to_be_bytes().as_slice())
            && message.get(8..16) == Some(self.secret.as_slice())
    }
}

/// RFC 1071.
fn checksum(packet: &[u8]) -> u16 {
    let sum: u32 =
        packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from)).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_ours_by_sequence_and_secret() {
        let echo = Echo { family: Family::V4, sequence: 7, secret: *b"12345678" };
        let mut reply = echo.request();
        assert_eq!(checksum(&reply), 0, "a packet with its checksum sums up to nothing");
        assert!(!echo.is_reply(&reply, false), "our own request");
        reply[0] = 0;
        assert!(echo.is_reply(&reply, false));
        let with_header = [[0x46; 24].as_slice(), &reply].concat();
        assert!(echo.is_reply(&with_header, true));
        assert!(!echo.is_reply(&with_header, false));
        for at in [0, 6, 7, 8, 15] {
            let mut other = reply.clone();
            other[at] ^= 1;
            assert!(!echo.is_reply(&other, false), "byte {at}");
        }
        assert!(!echo.is_reply(&reply[..15], false));
        assert!(!echo.is_reply(&[], true));

        let echo = Echo { family: Family::V6, ..echo };
        let mut reply = echo.request();
        reply[0] = 129;
        assert!(echo.is_reply(&reply, false));
        assert!(echo.is_reply(&reply, true), "raw ICMPv6 sockets give no IP header");
    }

    #[test]
    fn the_group_range_takes_our_group_in() {
        let table = [
            ("1\t0\n", 0, "0 0"),
            ("100 200", 5, "5 200"),
            ("0 100", 500, "0 500"),
            ("0 9", 3, "0 9"),
            ("x", 7, "7 7"),
        ];
        for (text, ours, expected) in table {
            assert_eq!(widened(text, ours), expected, "{text} with {ours}");
        }
    }
}
