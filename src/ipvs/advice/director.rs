//! What stands in the way of a service on the director.
//!
//! Pure.

use std::net::IpAddr;

use super::{
    Cluster, Findings, Level, Machine, Wanted, answers_itself, effective, is_nat, is_tunnel, real_server::quiet_help,
};
use crate::ipvs::config::ForwarderChoice;
use crate::ipvs::types::{ForwardMethod, ServiceKey};
use crate::net::frame::Mac;
use crate::vrrp::types::Family;

pub(super) fn judge(cluster: &Cluster, service: &Wanted, machine: &Machine, findings: &mut Findings) {
    if !machine.ipvs {
        return no_ipvs(cluster.forwarder, service.key, findings);
    }
    if service.uses(is_nat) {
        forwarding(service.key, machine, findings);
        return_path(service, machine, findings);
        tracking(service.key, machine, findings);
    }
    if service.uses(|method| method == ForwardMethod::Dr) {
        off_link(service, machine, findings);
    }
    if service.uses(answers_itself) {
        own_real_servers(cluster, service, machine, findings);
        other_answers(service, machine, findings);
    }
    if service.uses(is_tunnel) {
        tunnels(service.key, machine, findings);
    }
    if let Some(address) = service.address() {
        address_comes(cluster, service.key, address, machine, findings);
        strict_source(service.key, address, machine, findings);
    }
}

fn no_ipvs(forwarder: ForwarderChoice, key: ServiceKey, findings: &mut Findings) {
    let text = "this kernel has no IPVS";
    let help = "modprobe ip_vs, a kernel with CONFIG_IP_VS, or virtual_server_forwarder userspace";
    if forwarder == ForwarderChoice::Kernel {
        let text = format!("{text}, and virtual_server_forwarder kernel wants no other: these services are down");
        return findings.add(key, Level::Error, "ipvs-missing", text, help);
    }
    let text = format!(
        "{text}: the userspace forwarder carries these services, DR and TUN become NAT, and real servers see this \
         director's address"
    );
    findings.add(key, Level::Warning, "ipvs-missing", text, help);
}

fn forwarding(key: ServiceKey, machine: &Machine, findings: &mut Findings) {
    let (setting, value) = match key.family() {
        Family::V4 => ("net.ipv4.ip_forward", machine.ip_forward),
        Family::V6 => ("net.ipv6.conf.all.forwarding", machine.ip6_forward),
    };
    if value == Some(0) {
        let text = format!("NAT: {setting} is 0: answers of real servers are not passed on to the clients");
        findings.add(key, Level::Error, "forwarding-off", text, format!("sysctl -w {setting}=1"));
    }
}

/// Answers have to come back through the director.
fn return_path(service: &Wanted, machine: &Machine, findings: &mut Findings) {
    let key = service.key;
    if service.masquerade {
        if machine.vs_conntrack.is_none() {
            let text = "masquerade: this kernel's IPVS keeps connection tracking out of it".to_owned();
            let help = "a kernel with CONFIG_IP_VS_NFCT; else the director as the real servers' default route";
            findings.add(key, Level::Error, "masquerade-impossible", text, help);
        }
        return;
    }
    let shared = |link: &str| {
        let address = service.address();
        address.is_some_and(|ip| machine.interfaces_of(ip).any(|own| own == link) || machine.link_of(ip) == Some(link))
    };
    for (real, _) in service.reals.iter().filter(|(_, method)| is_nat(*method)) {
        let Some(link) = machine.link_of(*real).filter(|link| shared(link)) else { continue };
        if real.is_ipv6() {
            let text = format!(
                "NAT: clients and real servers share {link}, and a director cannot be kept from sending IPv6 redirects: \
                 real servers that obey them answer clients directly, and those answers fit no connection"
            );
            let help = "on the real servers: sysctl -w net.ipv6.conf.all.accept_redirects=0; or `masquerade`";
            findings.add(key, Level::Note, "redirects-on", text, help);
        } else if effective(&machine.send_redirects, link) == 1 {
            let text = format!(
                "NAT: clients and real servers share {link}, and send_redirects is 1 there: real servers are told to \
                 answer clients directly, and those answers fit no connection"
            );
            let help = format!(
                "sysctl -w net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.{link}.send_redirects=0, or `masquerade` in \
                 the virtual server"
            );
            findings.add(key, Level::Warning, "redirects-on", text, help);
        }
    }
    let text =
        "NAT: real servers must send their answers through the director, which cannot be seen from here".to_owned();
    let help = "a virtual address as their default route, so that it moves with the master; `holdfast doctor \
                --real-server` there tells; or `masquerade` in the virtual server";
    findings.add(key, Level::Note, "return-path", text, help);
}

/// Where connections are tracked, a full table drops packets.
fn tracking(key: ServiceKey, machine: &Machine, findings: &mut Findings) {
    let Some((tracked, most)) = machine.tracked.filter(|(tracked, most)| *most > 0 && tracked >= &(most / 10 * 9))
    else {
        return;
    };
    let text = format!("connection tracking is nearly full: {tracked} of {most}; further connections are dropped");
    let help = format!("sysctl -w net.netfilter.nf_conntrack_max={}", most.saturating_mul(4));
    findings.add(key, Level::Warning, "conntrack-full", text, help);
}

/// DR hands frames over on a link. Behind a router the packet goes back to the virtual address, and round again.
fn off_link(service: &Wanted, machine: &Machine, findings: &mut Findings) {
    for (real, _) in service.reals.iter().filter(|(_, method)| *method == ForwardMethod::Dr) {
        if !machine.has(*real) && machine.link_of(*real).is_none() {
            let text = format!("DR: {real} is on no link of this machine: a router in between sends the packets back");
            findings.add(
                service.key,
                Level::Error,
                "real-server-off-link",
                text,
                "an address of a shared link, or lb_kind TUN",
            );
        }
    }
}

/// The director, or a backup of it, is a real server too.
fn own_real_servers(cluster: &Cluster, service: &Wanted, machine: &Machine, findings: &mut Findings) {
    let own = service.reals.iter().find(|(real, method)| answers_itself(*method) && machine.has(*real));
    let (Some((real, _)), Some(address)) = (own, service.address()) else { return };
    if cluster.brought.contains_key(&address) && service.active_with.is_none() {
        let text = format!(
            "{real} is this machine, a real server of its own service: while it is backup it balances again what the \
             master sends it, and packets go round between the directors"
        );
        let help = "`vrrp_instance NAME` in the virtual server: its entries are in the kernel only while that instance is \
                    master";
        findings.add(service.key, Level::Error, "director-loop", text, help);
    }
    let Some(link) = machine.link_of(*real) else { return };
    let on_lo = machine.interfaces_of(address).any(|interface| interface == "lo");
    if address.is_ipv4() && on_lo && effective(&machine.arp_ignore, link) == 0 {
        let text = format!(
            "{real} is this machine, which has the virtual address {address} on lo and answers ARP for it: clients find it \
             instead of the director"
        );
        findings.add(service.key, Level::Error, "arp-answered", text, quiet_help(link));
    }
}

/// Whoever else says to have the virtual address takes clients away from the director.
fn other_answers(service: &Wanted, machine: &Machine, findings: &mut Findings) {
    let Some(address) = service.address() else { return };
    let Some(macs) = machine.answering.get(&address) else { return };
    // VRRP's own address is a router's, whichever it is.
    let others: Vec<Mac> = macs.iter().copied().filter(|mac| mac.get(..5) != Some(&[0, 0, 0x5e, 0, 1])).collect();
    let held = machine.has(address);
    // While another director is master it is one that answers.
    if others.is_empty()
        || (!held && macs.len() < 2 && others.iter().all(|mac| !is_real_server(service, *mac, machine)))
    {
        return;
    }
    let who: Vec<String> = others.iter().map(|mac| name_of(service, *mac, machine)).collect();
    let who = who.join(", ");
    let help = quiet_help("all");
    if held {
        let text = format!("this machine has {address}, and others answer ARP for it too: {who}");
        findings.add(service.key, Level::Error, "arp-answered", text, format!("on them: {help}"));
    } else {
        let text = format!("ARP for {address} is answered by {who}, and one of them at the most is the master");
        findings.add(service.key, Level::Warning, "arp-answered", text, format!("on the real servers: {help}"));
    }
}

fn is_real_server(service: &Wanted, mac: Mac, machine: &Machine) -> bool {
    real_with(service, mac, machine).is_some()
}

fn real_with(service: &Wanted, mac: Mac, machine: &Machine) -> Option<IpAddr> {
    let has = |real: &IpAddr| machine.answering.get(real).is_some_and(|macs| macs.contains(&mac));
    service.reals.iter().map(|(real, _)| *real).find(has)
}

fn name_of(service: &Wanted, mac: Mac, machine: &Machine) -> String {
    let text = mac.map(|byte| format!("{byte:02x}")).join(":");
    match real_with(service, mac, machine) {
        Some(real) => format!("real server {real} ({text})"),
        None => text,
    }
}

/// What comes out of a tunnel does not come from where the route to its sender leads.
fn tunnels(key: ServiceKey, machine: &Machine, findings: &mut Findings) {
    for interface in super::real_server::tunnels_of(machine) {
        super::real_server::tunnel_filter(key, interface, machine, findings);
    }
}

/// Nobody sends packets to an address that no interface has.
fn address_comes(cluster: &Cluster, key: ServiceKey, address: IpAddr, machine: &Machine, findings: &mut Findings) {
    if machine.has(address) || cluster.brought.contains_key(&address) {
        return;
    }
    let text = format!("no interface has {address}, and no vrrp_instance of this file brings it here");
    findings.add(
        key,
        Level::Warning,
        "address-missing",
        text,
        "a line of `virtual_ipaddress`, unless packets are routed here",
    );
}

/// A strict reverse path filter drops clients that come in where the route back to them does not go out.
fn strict_source(key: ServiceKey, address: IpAddr, machine: &Machine, findings: &mut Findings) {
    if address.is_ipv6() || machine.default_routes.is_empty() {
        return;
    }
    for link in machine.interfaces_of(address).filter(|link| *link != "lo" && !link.starts_with("dummy")) {
        let out = machine.default_routes.iter().any(|(_, interface)| interface == link);
        if !out && effective(&machine.rp_filter, link) == 1 {
            let text = format!(
                "{address} is on {link}, where rp_filter is 1, and the default route goes elsewhere: clients from other \
                 networks are dropped if they come in by {link}"
            );
            let help = format!("sysctl -w net.ipv4.conf.{link}.rp_filter=2, or a route back to the clients by {link}");
            findings.add(key, Level::Warning, "strict-source", text, help);
        }
    }
}
