//! `-Lc`: the kernel's connections, from the text of `/proc/net/ip_vs_conn`.
//!
//! Pure.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::{Names, shown};
use crate::ipvs::types::Protocol;

/// One connection, or one persistence template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// As the kernel names it: `TCP`, `UDP`, `SCTP`, or `IP` for a template of a firewall mark.
    pub protocol: String,
    /// The client; port 0 in a template.
    pub client: (IpAddr, u16),
    /// What it connected to.
    pub service: (IpAddr, u16),
    /// Where it goes.
    pub destination: (IpAddr, u16),
    /// Its state.
    pub state: String,
    /// Seconds that it has left.
    pub expires: u64,
    /// Persistence engine and what that goes by.
    pub engine: Option<(String, String)>,
}

/// Reads the kernel's text; lines that cannot be understood are passed over.
pub fn parse(text: &str) -> Vec<Connection> {
    text.lines().skip(1).filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Connection> {
    let mut words = line.split_whitespace();
    let mut next = || words.next();
    let protocol = next()?.to_owned();
    let mut socket = || Some((address(next()?)?, u16::from_str_radix(next()?, 16).ok()?));
    let (client, service, destination) = (socket()?, socket()?, socket()?);
    let (state, expires) = (next()?.to_owned(), next()?.parse().ok()?);
    let engine = next().map(|name| (name.to_owned(), words.collect::<Vec<_>>().join(" ")));
    Some(Connection { protocol, client, service, destination, state, expires, engine })
}

/// Eight hexadecimal digits, or an IPv6 address in full.
fn address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    (text.len() == 8).then_some(())?;
    Some(IpAddr::V4(Ipv4Addr::from_bits(u32::from_str_radix(text, 16).ok()?)))
}

/// The table; `engines` adds two columns (`--persistent-conn`).
pub fn table(connections: &[Connection], numeric: bool, engines: bool, names: &dyn Names) -> String {
    let mut text = "IPVS connection entries\n\
                    pro expire state       source             virtual            destination"
        .to_owned();
    text += if engines { "        pe name          pe_data\n" } else { "\n" };
    for connection in connections {
        let Connection { protocol, state, expires, .. } = connection;
        let by = match protocol.as_str() {
            "TCP" => Some(Protocol::Tcp),
            "UDP" => Some(Protocol::Udp),
            "SCTP" => Some(Protocol::Sctp),
            _ => None,
        };
        let place = |(address, port)| shown(address, port, by, numeric, names);
        let (minutes, seconds) = (expires / 60, expires % 60);
        let (client, service) = (place(connection.client), place(connection.service));
        let destination = place(connection.destination);
        let _ = write!(text, "{protocol:<3} {minutes:02}:{seconds:02}  {state:<11} {client:<18} {service:<18} ");
        let _ = match &connection.engine {
            Some((name, data)) if engines => writeln!(text, "{destination:<16} {name:<18} {data}"),
            _ => writeln!(text, "{destination}"),
        };
    }
    text
}
