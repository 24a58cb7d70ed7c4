//! The tables of `-L`.
//!
//! Pure. Widths and words are those of ipvsadm 1.31.

use std::fmt::Write;

use super::address::{Names, shown};
use super::source::Entry;
use crate::ipvs::dataplane::Counters;
use crate::ipvs::genl::destination::{method, tunnel};
use crate::ipvs::genl::service::{Netmask, flag};
use crate::ipvs::genl::{Daemon, Info, KernelDestination, KernelService, Timeouts};
use crate::ipvs::types::{Protocol, ServiceKey};
use crate::vrrp::types::Family;

/// Which columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Columns {
    /// Method, weight, connections.
    #[default]
    Plain,
    /// The same with tunnels (`--tun-info`).
    Tunnels,
    /// Counters (`--stats`).
    Stats,
    /// Rates (`--rate`).
    Rate,
    /// Thresholds (`--thresholds`).
    Thresholds,
    /// Persistence templates (`--persistent-conn`).
    PersistentConnections,
}

/// How a table is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Which columns.
    pub columns: Columns,
    /// Numbers instead of names.
    pub numeric: bool,
    /// Large numbers in full.
    pub exact: bool,
}

/// The line above a whole table.
pub fn title(info: Info) -> String {
    let [_, major, minor, patch] = info.version.to_be_bytes();
    format!("IP Virtual Server version {major}.{minor}.{patch} (size={})\n", info.table_size)
}

/// The table.
pub fn table(entries: &[Entry], style: Style, names: &dyn Names) -> String {
    let mut text = heading(style.columns).to_owned();
    for entry in entries {
        text += &service(&entry.service, style, names);
        for destination in &entry.destinations {
            text += &server(entry, destination, style, names);
        }
    }
    text
}

/// `--timeout`.
pub fn timeouts(timeouts: Timeouts) -> String {
    format!("Timeout (tcp tcpfin udp): {} {} {}\n", timeouts.tcp, timeouts.tcp_fin, timeouts.udp)
}

/// `--daemon`.
pub fn daemons(daemons: &[Daemon]) -> String {
    let mut text = String::new();
    for daemon in daemons {
        let Daemon { state, interface, sync_id, max_length, group, port, ttl } = daemon;
        let (max_length, port) = (max_length.unwrap_or(0), port.unwrap_or(0));
        let (ttl, group) = (ttl.unwrap_or(0), group.map(|group| group.to_string()).unwrap_or_default());
        let _ = writeln!(
            text,
            "{} sync daemon (mcast={interface}, syncid={sync_id}, maxlen={max_length}, group={group}, port={port}, \
             ttl={ttl})",
            state.name()
        );
    }
    text
}

fn heading(columns: Columns) -> &'static str {
    match columns {
        Columns::Plain => {
            "Prot LocalAddress:Port Scheduler Flags\n  \
             -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
        }
        Columns::Tunnels => {
            "Prot LocalAddress:Port Scheduler Flags\n  \
             -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n"
        }
        Columns::Stats => {
            "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  \
             -> RemoteAddress:Port\n"
        }
        Columns::Rate => {
            "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n  \
             -> RemoteAddress:Port\n"
        }
        Columns::Thresholds => {
            "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n  \
             -> RemoteAddress:Port\n"
        }
        Columns::PersistentConnections => {
            "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n  \
             -> RemoteAddress:Port\n"
        }
    }
}

fn service(service: &KernelService, style: Style, names: &dyn Names) -> String {
    let name = match service.key {
        ServiceKey::Address { protocol, address } => {
            let place = shown(address.ip, address.port, Some(protocol), style.numeric, names);
            let protocol = protocol.to_string().to_uppercase();
            format!("{protocol:<4} {place}")
        }
        // ipvsadm shows the mark as a signed number.
        ServiceKey::Fwmark { mark, family: Family::V4 } => format!("FWM  {}", mark.get().cast_signed()),
        ServiceKey::Fwmark { mark, family: Family::V6 } => format!("FWM  {} IPv6", mark.get().cast_signed()),
    };
    match counters(service.stats, style) {
        Some(counters) => format!("{name:<33}{counters}\n"),
        None => format!("{name} {}{}\n", service.scheduler, settings(service)),
    }
}

/// What follows the scheduler.
fn settings(service: &KernelService) -> String {
    let mut text = String::new();
    let flags = flags(service, ",");
    if !flags.is_empty() {
        let _ = write!(text, " ({flags})");
    }
    if service.has(flag::PERSISTENT) {
        let _ = write!(text, " persistent {}", service.timeout);
        if let Some(mask) = mask(service) {
            let _ = write!(text, " mask {mask}");
        }
        if let Some(engine) = &service.engine {
            let _ = write!(text, " pe {engine}");
        }
    }
    if service.has(flag::ONE_PACKET) {
        text += " ops";
    }
    text
}

/// The granularity, where clients are not each for themselves.
pub(super) fn mask(service: &KernelService) -> Option<String> {
    let mask = service.netmask;
    (mask != Netmask::host(service.key.family())).then(|| match mask {
        Netmask::V4(mask) => mask.to_string(),
        Netmask::V6(length) => length.to_string(),
    })
}

/// Scheduler flags by the names that the scheduler gives them; `sh` and `mh` have two.
pub(super) fn flags(service: &KernelService, separator: &str) -> String {
    let names = match service.scheduler.as_str() {
        "sh" => ["sh-fallback", "sh-port", ""],
        "mh" => ["mh-fallback", "mh-port", ""],
        _ => ["flag-1", "flag-2", "flag-3"],
    };
    let set = names.into_iter().zip([flag::SCHED1, flag::SCHED2, flag::SCHED3]);
    set.filter(|(name, flag)| !name.is_empty() && service.has(*flag))
        .map(|(name, _)| name)
        .collect::<Vec<_>>()
        .join(separator)
}

fn server(entry: &Entry, to: &KernelDestination, style: Style, names: &dyn Names) -> String {
    let place = shown(to.address.ip, to.address.port, protocol(entry), style.numeric, names);
    let forward = if entry.proxied() { "Proxy" } else { forward(to.method) };
    let KernelDestination { active, inactive, weight, .. } = to;
    let weight = weight.cast_signed();
    let columns = match style.columns {
        Columns::Plain => format!("{forward:<7} {weight:<6} {active:<10} {inactive:<10}"),
        Columns::Tunnels => {
            format!("{forward:<7} {:<13} {weight:<6} {active:<10} {inactive:<10}", tunnel_info(to))
        }
        Columns::Thresholds => {
            format!("{:<10} {:<10} {active:<10} {inactive:<10}", to.upper_threshold, to.lower_threshold)
        }
        Columns::PersistentConnections => format!("{weight:<9} {:<11} {active:<10} {inactive:<10}", to.persistent),
        Columns::Stats | Columns::Rate => {
            return format!("  -> {place:<28}{}\n", counters(to.stats, style).unwrap_or_default());
        }
    };
    format!("  -> {place:<28} {columns}\n")
}

/// The protocol by which its servers' ports have names.
pub(super) fn protocol(entry: &Entry) -> Option<Protocol> {
    match entry.service.key {
        ServiceKey::Address { protocol, .. } => Some(protocol),
        ServiceKey::Fwmark { .. } => None,
    }
}

/// As the column says.
pub(super) fn forward(number: u32) -> &'static str {
    match number {
        method::MASQUERADE => "Masq",
        method::LOCAL => "Local",
        method::TUNNEL => "Tunnel",
        method::ROUTE => "Route",
        _ => "Unknown",
    }
}

fn tunnel_info(to: &KernelDestination) -> String {
    let sum = match to.tunnel_flags {
        0 => "-c",
        tunnel::CHECKSUM => "+c",
        _ => "r+c",
    };
    match (to.method, to.tunnel_type) {
        (method::TUNNEL, tunnel::IPIP) => "ipip".to_owned(),
        (method::TUNNEL, tunnel::GUE) => format!("gue:{}:{sum}", to.tunnel_port),
        (method::TUNNEL, tunnel::GRE) => format!("gre:{sum}"),
        _ => "n/a".to_owned(),
    }
}

fn counters(stats: Counters, style: Style) -> Option<String> {
    let numbers = match style.columns {
        Columns::Stats => [stats.connections, stats.in_packets, stats.out_packets, stats.in_bytes, stats.out_bytes],
        Columns::Rate => [
            stats.connections_per_second,
            stats.in_packets_per_second,
            stats.out_packets_per_second,
            stats.in_bytes_per_second,
            stats.out_bytes_per_second,
        ],
        _ => return None,
    };
    let shown = |number: u64| if style.exact { format!(" {number:>8}") } else { format!(" {:>8}", rounded(number)) };
    Some(numbers.map(shown).concat())
}

/// Eight digits, or thousands, millions and so on, cut and not rounded.
fn rounded(number: u64) -> String {
    const LIMITS: [(u64, u64, &str); 4] = [
        (99_999_999, 1, ""),
        (999_999_999, 1_000, "K"),
        (99_999_999_999, 1_000_000, "M"),
        (99_999_999_999_999, 1_000_000_000, "G"),
    ];
    let fitting = LIMITS.into_iter().find(|(limit, ..)| number <= *limit);
    let (_, unit, letter) = fitting.unwrap_or((u64::MAX, 1_000_000_000_000, "T"));
    format!("{}{letter}", number / unit)
}
