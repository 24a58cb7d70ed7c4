//! What stands in the way of a service on one of its real servers.
//!
//! Pure.

use std::net::IpAddr;

use super::{Cluster, Findings, Level, Machine, Wanted, answers_itself, effective, is_nat, is_tunnel};
use crate::ipvs::types::{ForwardMethod, ServiceKey};

pub(super) fn judge(
    cluster: &Cluster,
    service: &Wanted,
    real: IpAddr,
    method: ForwardMethod,
    machine: &Machine,
    findings: &mut Findings,
) {
    if answers_itself(method)
        && let Some(address) = service.address()
    {
        virtual_address(service.key, address, real, machine, findings);
    }
    if is_tunnel(method) {
        tunnel(service.key, machine, findings);
    }
    if is_nat(method) && !service.masquerade {
        way_back(cluster, service, real, machine, findings);
    }
}

/// It has the virtual address, and keeps quiet about it.
fn virtual_address(key: ServiceKey, address: IpAddr, real: IpAddr, machine: &Machine, findings: &mut Findings) {
    let Some(holder) = machine.interfaces_of(address).next() else {
        let text =
            format!("DR and TUN: this real server does not have {address}: what the director sends it is dropped");
        let length = if address.is_ipv4() { 32 } else { 128 };
        return findings.add(
            key,
            Level::Error,
            "address-missing",
            text,
            format!("ip address add {address}/{length} dev lo (a tunnel's interface does too)"),
        );
    };
    if address.is_ipv6() {
        // Neighbours are told of addresses of the link's own interface only.
        return;
    }
    let Some(link) = machine.link_of(real) else { return };
    let ignore = effective(&machine.arp_ignore, link);
    if holder == link {
        if ignore < 8 {
            let text = format!("{address} is on {link}, the link of the director: this real server answers ARP for it");
            let help = format!(
                "move it: ip address del {address}/32 dev {link}; ip address add {address}/32 dev lo; then {}",
                quiet_help(link)
            );
            findings.add(key, Level::Error, "arp-answered", text, help);
        }
        return;
    }
    if ignore == 0 {
        let text =
            format!("this real server answers ARP for {address} on {link}: clients find it instead of the director");
        findings.add(key, Level::Error, "arp-answered", text, quiet_help(link));
    } else if effective(&machine.arp_announce, link) < 2 {
        let text = format!(
            "this real server may ask ARP questions on {link} in the name of {address}, and neighbours learn from them \
             that it is here"
        );
        findings.add(key, Level::Warning, "arp-announced", text, quiet_help(link));
    }
}

/// The two settings of every LVS how-to.
pub(super) fn quiet_help(link: &str) -> String {
    format!("sysctl -w net.ipv4.conf.{link}.arp_ignore=1 net.ipv4.conf.{link}.arp_announce=2")
}

/// The interfaces that take packets out of a tunnel.
pub(super) fn tunnels_of(machine: &Machine) -> impl Iterator<Item = &str> {
    const KINDS: [&str; 7] = ["tunl", "gre", "sit", "ip6tnl", "fou", "gue", "ipip"];
    let is = |name: &&str| KINDS.iter().any(|kind| name.starts_with(kind));
    machine.rp_filter.keys().map(String::as_str).filter(is)
}

fn tunnel(key: ServiceKey, machine: &Machine, findings: &mut Findings) {
    if !tunnels_of(machine).any(|interface| machine.up.contains(interface)) {
        let text = "TUN: no tunnel interface is up here: what the director sends is not unpacked".to_owned();
        let help = "modprobe ipip; ip link set tunl0 up (gre and gue: docs/ipvs.md)";
        findings.add(key, Level::Error, "tunnel-missing", text, help);
    }
    for interface in tunnels_of(machine) {
        tunnel_filter(key, interface, machine, findings);
    }
}

/// What comes out of a tunnel does not come from where the route to its sender leads.
pub(super) fn tunnel_filter(key: ServiceKey, interface: &str, machine: &Machine, findings: &mut Findings) {
    // Of 1 and 2 the larger counts, which is the looser.
    if machine.up.contains(interface) && effective(&machine.rp_filter, interface) == 1 {
        let text = format!("TUN: net.ipv4.conf.{interface}.rp_filter is 1: what comes out of the tunnel is dropped");
        let help = format!("sysctl -w net.ipv4.conf.{interface}.rp_filter=0 net.ipv4.conf.all.rp_filter=0");
        findings.add(key, Level::Error, "tunnel-source", text, help);
    }
}

/// NAT: answers have to pass the director.
fn way_back(cluster: &Cluster, service: &Wanted, real: IpAddr, machine: &Machine, findings: &mut Findings) {
    if real.is_ipv6() {
        return;
    }
    let is_director = |router: IpAddr| cluster.brought.contains_key(&router) || service.address() == Some(router);
    let routers: Vec<_> = machine.default_routes.iter().filter_map(|(router, _)| *router).collect();
    if routers.iter().any(|router| is_director(IpAddr::V4(*router))) {
        return;
    }
    let now = match routers.first() {
        Some(router) => format!("its default route is {router}"),
        None => "it has no default route".to_owned(),
    };
    let text =
        format!("NAT: the answers of {real} have to pass the director, and {now}, no virtual address of this file");
    let help = "a virtual address of the real servers' subnet as default route, or `masquerade` in the virtual server";
    findings.add(service.key, Level::Warning, "return-path", text, help);
}
