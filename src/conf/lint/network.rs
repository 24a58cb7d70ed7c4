//! How adverts and packets travel.
//!
//! Pure.

use std::net::IpAddr;

use super::Subject;
use crate::vrrp::config::Transport;
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

/// 224.0.0.0/24 is never routed, and switches flood it (RFC 4541 §2.1.2); ff02::/16 is the same for IPv6.
fn is_link_local_group(group: IpAddr) -> bool {
    match group {
        IpAddr::V4(group) => group.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(group) => group.segments().first().is_some_and(|first| first & 0x000f == 2),
    }
}
