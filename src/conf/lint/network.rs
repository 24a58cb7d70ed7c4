//! How adverts and packets travel.
//!
//! Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Subject;
use crate::conf::config::Config;
use crate::conf::diagnostic::Reporter;
use crate::conf::places::{service_words, written_words};
use crate::conf::section::Section;
use crate::ipvs::config::{GroupEntry, RealServerConfig, VirtualServerId};
use crate::ipvs::types::ForwardMethod;
use crate::vrrp::config::{InstanceConfig, Transport};
use crate::vrrp::types::Version;

/// What is unwise about one instance's way to its peers and clients.
pub(super) fn lint(subject: &mut Subject<'_, '_, '_>) {
    let name = subject.name;
    let instance = subject.instance;
    match &instance.transport {
        Transport::Unicast { peers, check_source, .. } => {
            let span = subject.span("unicast_peer");
            if !check_source && !peers.is_empty() {
                let message = format!("`{name}` takes unicast adverts from everybody who can reach it");
                subject.reporter.warning(span, message).code("unicast-source").help(
                    "add `check_unicast_src`, or `vrrp_check_unicast_src` to `global_defs`: only peers are heard then",
                );
            }
            let own = instance.source.filter(|source| peers.iter().any(|peer| peer.address == *source));
            if let Some(own) = own {
                let message = format!("`{name}` is its own peer: {own} is its `unicast_src_ip`");
                subject
                    .reporter
                    .warning(span, message)
                    .code("unicast-self")
                    .help("name the other routers in `unicast_peer`");
            }
        }
        Transport::Multicast { group } if !is_link_local_group(*group) => {
            let span = subject.span("mcast_dst_ip");
            let message = format!("`{name}` uses the group {group}, which switches may not pass on to its peers");
            subject
                .reporter
                .warning(span, message)
                .code("group-not-local")
                .help("use 224.0.0.18 (IPv6: ff02::12), or another of 224.0.0.0/24 (ff02::/16), on all routers");
        }
        Transport::Multicast { .. } => {}
    }
    let said = subject.section.entries.iter().any(|entry| matches!(entry.keyword, "accept" | "no_accept"));
    if instance.strict && !instance.accept && !said {
        let message =
            format!("strict mode drops packets to the addresses of `{name}`: they answer nothing, not even ping");
        let report = subject.reporter.warning(subject.section.span, message).code("strict-drops");
        match instance.version {
            Version::V3 => report.help("add `accept`, or remove `vrrp_strict` and `strict_mode`"),
            Version::V2 => {
                report.help("remove `vrrp_strict` and `strict_mode`, or write `version 3` and `accept` on all routers")
            }
        };
    }
}

/// Real servers that clients of the same subnet would hear from directly, under an address that they never called.
pub(super) fn lint_nat(root: &Section<'_>, config: &Config, reporter: &mut Reporter) {
    let subnets: BTreeMap<IpAddr, u8> = config
        .vrrp
        .instances
        .values()
        .flat_map(InstanceConfig::all_addresses)
        .map(|address| (address.address, address.prefix_len))
        .collect();
    for (id, service) in config.balancer.services.iter().filter(|(_, service)| !service.masquerade) {
        let near = |server: &&RealServerConfig| {
            let shares = |address: &IpAddr| {
                subnets.get(address).is_some_and(|length| same_subnet(*address, server.address.ip, *length))
            };
            server.method == ForwardMethod::Nat && addresses(id, config).iter().any(shares)
        };
        let Some(server) = service.real_servers.iter().find(near) else { continue };
        let words = service_words(id);
        let named = |section: &&Section<'_>| written_words(section).starts_with(&words);
        let Some(section) = root.sections("virtual_server").find(named) else { continue };
        let message = format!(
            "clients on the subnet of this address get the answers of {} past this director",
            server.address.ip
        );
        reporter
            .warning(section.span, message)
            .code("nat-local-clients")
            .help("`lb_kind DR`, or clients and real servers on different subnets");
    }
}

/// The addresses that a virtual server answers to, as far as they are written one by one.
fn addresses(id: &VirtualServerId, config: &Config) -> Vec<IpAddr> {
    match id {
        VirtualServerId::Address { address, .. } => vec![address.ip],
        VirtualServerId::Fwmark { .. } => Vec::new(),
        VirtualServerId::Group { name, .. } => {
            let entries = config.balancer.groups.get(name).map(|group| group.entries.as_slice()).unwrap_or_default();
            let first = |entry: &GroupEntry| match entry {
                GroupEntry::Range { first, .. } => Some(*first),
                GroupEntry::Fwmark { .. } => None,
            };
            entries.iter().filter_map(first).collect()
        }
    }
}

/// Whether two addresses are in one subnet; none is in that of a single address.
fn same_subnet(a: IpAddr, b: IpAddr, length: u8) -> bool {
    let (a, b, bits) = match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
        _ => return false,
    };
    let host = u32::from(bits) - u32::from(length.min(bits));
    host > 0 && a.checked_shr(host) == b.checked_shr(host)
}

/// 224.0.0.0/24 is never routed, and switches flood it (RFC 4541 §2.1.2); ff02::/16 is the same for IPv6.
fn is_link_local_group(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(group) => group.segments().first().is_some_and(|first| first & 0x000f == 2),
    }
}
