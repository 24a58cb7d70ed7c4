//! Numbers, addresses and ports as they are written on the command line.
//!
//! Pure, but for the names that [`Names`] looks up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ipvs::types::Protocol;

/// Names of hosts and services.
pub trait Names {
    /// The IPv4 address of a host.
    fn address(&self, host: &str) -> Option<Ipv4Addr>;
    /// The port of a service.
    fn port(&self, service: &str, protocol: Protocol) -> Option<u16>;
    /// The name of a host.
    fn host(&self, address: IpAddr) -> Option<String>;
    /// The name of a service.
    fn service(&self, port: u16, protocol: Protocol) -> Option<String>;
}

/// A decimal number in this range, by the rules of `strtol`: leading blanks and a sign are taken, anything behind it is
/// not.
pub fn number(text: &str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
    let digits = text.trim_start_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r']);
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u32>().ok().filter(|number| range.contains(number))
}

/// An IPv4 address in any of the forms of `inet_aton` (`10.0.0.1`, `10.1`, `0x0a000001`), or a host's name.
pub fn ipv4(text: &str, names: &dyn Names) -> Option<Ipv4Addr> {
    aton(text).or_else(|| names.address(text).filter(|_| !text.is_empty()))
}

fn aton(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(part).collect::<Option<_>>()?;
    let (last, bytes) = parts.split_last()?;
    if bytes.len() > 3 || bytes.iter().any(|byte| *byte > 255) {
        return None;
    }
    let bits_left = 32 - 8 * u32::try_from(bytes.len()).ok()?;
    if bits_left < 32 && *last >> bits_left != 0 {
        return None;
    }
    let high = bytes.iter().fold(0_u32, |all, byte| all << 8 | byte);
    Some(Ipv4Addr::from_bits(high.checked_shl(bits_left).unwrap_or(0) | last))
}

fn part(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

/// `HOST`, `HOST:PORT`, `[IPV6]:PORT` or a bare IPv6 address; a port that is not written is 0.
pub fn host_and_port(text: &str, protocol: Protocol, names: &dyn Names) -> Option<(IpAddr, u16)> {
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, port) = bracketed.split_once("]:")?;
        return Some((IpAddr::V6(host.parse().ok()?), port_number(port, protocol, names)?));
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some((IpAddr::V6(address), 0));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port_number(port, protocol, names)?),
        None => (text, 0),
    };
    Some((IpAddr::V4(ipv4(host, names)?), port))
}

fn port_number(text: &str, protocol: Protocol, names: &dyn Names) -> Option<u16> {
    let by_number = number(text, 0..=65535).and_then(|port| u16::try_from(port).ok());
    by_number.or_else(|| names.port(text, protocol))
}

/// An address and a port as they are shown: by their names, unless `numeric`. `protocol` is `None` for what has none, a
/// mark's servers.
pub fn shown(address: IpAddr, port: u16, protocol: Option<Protocol>, numeric: bool, names: &dyn Names) -> String {
    let host = if numeric { None } else { names.host(address) };
    let service = match protocol {
        Some(protocol) if !numeric => names.service(port, protocol),
        _ => None,
    };
    let port = service.unwrap_or_else(|| port.to_string());
    match (host, address) {
        (Some(host), IpAddr::V4(_)) => format!("{host}:{port}"),
        (Some(host), IpAddr::V6(_)) => format!("[{host}]:{port}"),
        (None, IpAddr::V4(address)) => format!("{address}:{port}"),
        (None, IpAddr::V6(address)) => format!("[{address}]:{port}"),
    }
}
