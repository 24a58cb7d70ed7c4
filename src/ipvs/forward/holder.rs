//! Who has a port that a virtual server wants: an operator would have to look for it otherwise.
//!
//! Shell: reads `/proc`. Pure: the reading of a socket table.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::ipvs::types::Protocol;

/// A socket in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Where it listens.
    pub address: SocketAddr,
    /// Name and number of a process that has it; `None` when it cannot be found, for example in another PID namespace.
    pub process: Option<(String, u32)>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((name, pid)) => write!(f, "{name} (pid {pid}) listens on {}", self.address),
            None => write!(f, "a process that cannot be seen listens on {}", self.address),
        }
    }
}

/// The socket that keeps us from this address, of the calling thread's network namespace.
pub fn who_has(protocol: Protocol, wanted: SocketAddr) -> Option<Holder> {
    let kind = if protocol == Protocol::Udp { "udp" } else { "tcp" };
    let tables = [kind.to_owned(), format!("{kind}6")];
    let mut sockets = Vec::new();
    for table in tables {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
        sockets.extend(text.lines().filter_map(|line| parse(line, protocol)));
    }
    let (address, inode) = sockets.into_iter().find(|(address, _)| overlaps(*address, wanted))?;
    Some(Holder { address, process: owner(inode) })
}

/// Whether a socket there is in the way of one here. A wildcard of IPv6 takes IPv4 as well, by default.
fn overlaps(there: SocketAddr, wanted: SocketAddr) -> bool {
    let ip = there.ip().to_canonical();
    there.port() == wanted.port()
        && (ip == wanted.ip() || (ip.is_unspecified() && (there.is_ipv6() || wanted.is_ipv4())))
}

/// One line of /proc/net/tcp and its kin: address and inode of a socket that can be in the way.
fn parse(line: &str, protocol: Protocol) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (ip, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // TCP: LISTEN. A UDP socket that is connected is no obstacle.
    let state = if protocol == Protocol::Udp { "07" } else { "0A" };
    if fields.get(3) != Some(&state) {
        return None;
    }
    // Words of 32 bits, each in the machine's order.
    let words: Vec<[u8; 4]> = (0..ip.len() / 8)
        .filter_map(|at| u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok())
        .map(u32::to_ne_bytes)
        .collect();
    let ip: IpAddr = match words.as_slice() {
        [word] => Ipv4Addr::from(*word).into(),
        [_, _, _, _] => Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?).into(),
        _ => return None,
    };
    Some((SocketAddr::new(ip, port), fields.get(9)?.parse().ok()?))
}

fn owner(inode: u64) -> Option<(String, u32)> {
    let link = format!("socket:[{inode}]");
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // Gone, or not ours to look at.
        let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
        let has = |fd: fs::DirEntry| fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == link.as_str());
        if descriptors.flatten().any(has) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some((name.trim().to_owned(), pid));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, UdpSocket};

    use super::{overlaps, parse, who_has};
    use crate::ipvs::types::Protocol;

    #[test]
    fn lines_of_the_kernel() {
        let line =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0";
        assert_eq!(parse(line, Protocol::Tcp), Some(("127.0.0.1:8080".parse().unwrap(), 4242)));
        assert_eq!(parse(line, Protocol::Udp), None);
        let line =
            "1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 7 1";
        assert_eq!(parse(line, Protocol::Tcp), Some(("[::1]:80".parse().unwrap(), 7)));
        let established = "0: 0100007F:1F90 0100007F:0001 01 00000000:00000000 00:00000000 00000000 0 0 4242 1 0";
        assert_eq!(parse(established, Protocol::Tcp), None);
        for garbage in ["", "sl local_address", "0: zz:zz 0:0 0A", "0: 0100007F:1F90", "0: 01:02 0 0A 0 0 0 0 0 x"] {
            assert_eq!(parse(garbage, Protocol::Tcp), None, "{garbage}");
        }
    }

    #[test]
    fn wildcards_are_in_the_way() {
        let is = |there: &str, wanted: &str| overlaps(there.parse().unwrap(), wanted.parse().unwrap());
        assert!(is("0.0.0.0:80", "192.0.2.1:80"));
        assert!(is("[::]:80", "192.0.2.1:80"));
        assert!(is("[::]:80", "[2001:db8::1]:80"));
        assert!(is("192.0.2.1:80", "192.0.2.1:80"));
        assert!(is("[::ffff:192.0.2.1]:80", "192.0.2.1:80"));
        assert!(!is("0.0.0.0:80", "[2001:db8::1]:80"));
        assert!(!is("0.0.0.0:81", "192.0.2.1:80"));
        assert!(!is("192.0.2.2:80", "192.0.2.1:80"));
    }

    #[test]
    fn finds_this_very_process() {
        let tcp = TcpListener::bind("0.0.0.0:0").unwrap();
        let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
        let there = [(Protocol::Tcp, tcp.local_addr().unwrap()), (Protocol::Udp, udp.local_addr().unwrap())];
        for (protocol, bound) in there {
            let wanted = SocketAddr::from(([192, 0, 2, 1], bound.port()));
            let holder = who_has(protocol, wanted).expect("it is there");
            assert_eq!(holder.address, bound);
            assert_eq!(holder.process.map(|(_, pid)| pid), Some(std::process::id()));
        }
    }
}
