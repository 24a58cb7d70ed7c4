//! `-S`: the table as the command lines that make it.
//!
//! Pure.

use std::fmt::Write;

use super::address::{Names, shown};
use super::list::{flags, mask, protocol};
use super::source::Entry;
use crate::ipvs::genl::KernelDestination;
use crate::ipvs::genl::destination::{method, tunnel};
use crate::ipvs::genl::service::flag;
use crate::ipvs::types::{Protocol, ServiceKey};
use crate::vrrp::types::Family;

/// The whole table, for `-R`.
pub fn table(entries: &[Entry], numeric: bool, names: &dyn Names) -> String {
    let mut text = String::new();
    for entry in entries {
        let key = key(&entry.service.key, numeric, names);
        let service = &entry.service;
        let _ = write!(text, "-A {key} -s {}", service.scheduler);
        if service.has(flag::PERSISTENT) {
            let _ = write!(text, " -p {}", service.timeout);
            if let Some(mask) = mask(service) {
                let _ = write!(text, " -M {mask}");
            }
        }
        if let Some(engine) = &service.engine {
            let _ = write!(text, " --pe {engine}");
        }
        if service.has(flag::ONE_PACKET) {
            text += " -o";
        }
        let flags = flags(service, ",");
        if !flags.is_empty() {
            let _ = write!(text, " -b {flags}");
        }
        text.push('\n');
        for to in &entry.destinations {
            let place = shown(to.address.ip, to.address.port, protocol(entry), numeric, names);
            let weight = to.weight.cast_signed();
            let _ = writeln!(text, "-a {key} -r {place} {} -w {weight}{}", forward(to.method), tunnel_options(to));
        }
    }
    text
}

fn key(key: &ServiceKey, numeric: bool, names: &dyn Names) -> String {
    match key {
        ServiceKey::Address { protocol, address } => {
            let option = match protocol {
                Protocol::Tcp => "-t",
                Protocol::Udp => "-u",
                Protocol::Sctp => "--sctp-service",
            };
            format!("{option} {}", shown(address.ip, address.port, Some(*protocol), numeric, names))
        }
        ServiceKey::Fwmark { mark, family: Family::V4 } => format!("-f {}", mark.get().cast_signed()),
        ServiceKey::Fwmark { mark, family: Family::V6 } => format!("-f {} -6", mark.get().cast_signed()),
    }
}

fn forward(number: u32) -> &'static str {
    match number {
        method::MASQUERADE => "-m",
        method::TUNNEL => "-i",
        _ => "-g",
    }
}

fn tunnel_options(to: &KernelDestination) -> String {
    if to.method != method::TUNNEL {
        return String::new();
    }
    let sum = match to.tunnel_flags {
        0 => "--tun-nocsum",
        tunnel::CHECKSUM => "--tun-csum",
        _ => "--tun-remcsum",
    };
    match to.tunnel_type {
        tunnel::GUE => format!(" --tun-type gue --tun-port {} {sum}", to.tunnel_port),
        tunnel::GRE => format!(" --tun-type gre {sum}"),
        _ => " --tun-type ipip".to_owned(),
    }
}
