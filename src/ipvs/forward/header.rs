//! The PROXY protocol: who the client is, in the first bytes that a real server gets (`proxy_protocol`).
//!
//! Pure. haproxy.org, "The PROXY protocol", versions 1 and 2.

use std::net::{IpAddr, SocketAddr};

use crate::ipvs::config::ProxyProtocol;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const PROXY: u8 = 0x21;

/// The header for a TCP connection from `client` to the virtual address `asked`.
pub fn header(version: ProxyProtocol, client: SocketAddr, asked: SocketAddr) -> Vec<u8> {
    let (client, asked) = same_family(client, asked);
    match version {
        ProxyProtocol::V1 => {
            let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            let (source, destination) = (client.ip(), asked.ip());
            format!("PROXY {family} {source} {destination} {} {}\r\n", client.port(), asked.port()).into_bytes()
        }
        ProxyProtocol::V2 => {
            let mut bytes = SIGNATURE.to_vec();
            let (family, length): (u8, u16) = if client.is_ipv4() { (0x11, 12) } else { (0x21, 36) };
            bytes.extend([PROXY, family]);
            bytes.extend(length.to_be_bytes());
            for ip in [client.ip(), asked.ip()] {
                match ip {
                    IpAddr::V4(ip) => bytes.extend(ip.octets()),
                    IpAddr::V6(ip) => bytes.extend(ip.octets()),
                }
            }
            for port in [client.port(), asked.port()] {
                bytes.extend(port.to_be_bytes());
            }
            bytes
        }
    }
}

/// A header has one family. Ours always agree; if they ever did not, both are written as IPv6.
fn same_family(client: SocketAddr, asked: SocketAddr) -> (SocketAddr, SocketAddr) {
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if client.is_ipv4() == asked.is_ipv4() { (client, asked) } else { (mapped(client), mapped(asked)) }
}

#[cfg(test)]
mod tests {
    use super::header;
    use crate::ipvs::config::ProxyProtocol::{V1, V2};

    #[test]
    fn version_1_is_a_line() {
        let line = header(V1, "192.0.2.1:56324".parse().unwrap(), "198.51.100.9:443".parse().unwrap());
        assert_eq!(line, b"PROXY TCP4 192.0.2.1 198.51.100.9 56324 443\r\n");
        let line = header(V1, "[2001:db8::1]:1".parse().unwrap(), "[2001:db8::2]:65535".parse().unwrap());
        assert_eq!(line, b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n");
    }

    #[test]
    fn version_2_is_binary() {
        let bytes = header(V2, "192.0.2.1:258".parse().unwrap(), "198.51.100.9:443".parse().unwrap());
        let expected: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x09\x01\x02\x01\xbb";
        assert_eq!(bytes, expected);
        let bytes = header(V2, "[2001:db8::1]:1".parse().unwrap(), "[2001:db8::2]:2".parse().unwrap());
        assert_eq!(bytes.len(), 16 + 36);
        assert_eq!(bytes.get(12..16), Some(&[0x21, 0x21, 0, 36][..]));
        assert_eq!(bytes.get(48..), Some(&[0, 1, 0, 2][..]));
        let mixed = header(V2, "192.0.2.1:258".parse().unwrap(), "[2001:db8::2]:2".parse().unwrap());
        assert_eq!(mixed.get(13), Some(&0x21));
    }
}
