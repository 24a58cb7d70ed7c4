//! What about this machine would defeat its virtual servers: forwarding that is off, a reverse path filter, connection
//! tracking without `masquerade`'s half, ARP answers for an address that another director holds.
//!
//! Pure: findings over what [`Machine`] says was found; whoever probes fills it in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::table::ServiceTable;
use super::types::{ForwardMethod, ServiceKey};
use crate::vrrp::types::Family;

/// What was found on the machine; `None` is a file that is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// `net.ipv4.ip_forward`.
    pub ip_forward: Option<u32>,
    /// `net.ipv6.conf.all.forwarding`.
    pub ip6_forward: Option<u32>,
    /// `net.ipv4.conf.*.rp_filter` by interface, `all` among them.
    pub rp_filter: BTreeMap<String, u32>,
    /// `net.ipv4.conf.*.send_redirects` by interface, `all` among them.
    pub send_redirects: BTreeMap<String, u32>,
    /// `net.ipv4.conf.*.arp_ignore` by interface, `all` among them.
    pub arp_ignore: BTreeMap<String, u32>,
    /// `net.ipv4.vs.conntrack`.
    pub vs_conntrack: Option<u32>,
    /// Interfaces by their addresses.
    pub addresses: BTreeMap<IpAddr, String>,
}

/// Something that is in the way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Whether nothing works because of it; else it depends on the network.
    pub fatal: bool,
    /// What is wrong.
    pub text: String,
    /// What helps.
    pub fix: String,
}

/// What stands in the way of these services, in no particular order, each thing once. `masquerade` are the services that
/// have it.
pub fn findings(table: &ServiceTable, masquerade: &BTreeSet<ServiceKey>, machine: &Machine) -> BTreeSet<Finding> {
    let mut findings = BTreeSet::new();
    for (key, service) in &table.services {
        let methods: BTreeSet<ForwardMethod> = service.destinations.values().map(|to| to.method).collect();
        let family = key.family();
        if methods.contains(&ForwardMethod::Nat) {
            forwarding(family, machine, &mut findings);
            redirects(key, masquerade, machine, &mut findings);
        }
        if methods.contains(&ForwardMethod::Nat) && masquerade.contains(key) && machine.vs_conntrack.is_none() {
            findings.insert(Finding {
                fatal: true,
                text: "masquerade: this kernel's IPVS keeps connection tracking out of it".to_owned(),
                fix: "a kernel with CONFIG_IP_VS_NFCT, or the director as the real servers' default route".to_owned(),
            });
        }
        if methods.iter().any(|method| matches!(method, ForwardMethod::Dr | ForwardMethod::Tun(_))) {
            for to in service.destinations.keys().filter(|to| machine.addresses.contains_key(&to.ip)) {
                own_real_server(key, to.ip, machine, &mut findings);
            }
        }
        if methods.iter().any(|method| matches!(method, ForwardMethod::Tun(_))) {
            tunnels(machine, &mut findings);
        }
    }
    findings
}

fn forwarding(family: Family, machine: &Machine, findings: &mut BTreeSet<Finding>) {
    let (setting, value) = match family {
        Family::V4 => ("net.ipv4.ip_forward", machine.ip_forward),
        Family::V6 => ("net.ipv6.conf.all.forwarding", machine.ip6_forward),
    };
    if value == Some(0) {
        findings.insert(Finding {
            fatal: true,
            text: format!("NAT: {setting} is 0, so answers of real servers are not passed on to the clients"),
            fix: format!("sysctl -w {setting}=1"),
        });
    }
}

/// Where clients and real servers are on one link, redirects tell real servers to answer past the director.
fn redirects(key: &ServiceKey, masquerade: &BTreeSet<ServiceKey>, machine: &Machine, findings: &mut BTreeSet<Finding>) {
    let all = machine.send_redirects.get("all") == Some(&1);
    if key.family() == Family::V4 && all && !masquerade.contains(key) {
        findings.insert(Finding {
            fatal: false,
            text: "NAT: net.ipv4.conf.all.send_redirects is 1: real servers on the clients' link are told to answer \
                   them directly, and those answers fit no connection"
                .to_owned(),
            fix: "sysctl -w net.ipv4.conf.all.send_redirects=0 (and for each interface), or masquerade".to_owned(),
        });
    }
}

/// DR and TUN: the director, or a backup of it, is a real server too.
fn own_real_server(key: &ServiceKey, real: IpAddr, machine: &Machine, findings: &mut BTreeSet<Finding>) {
    let ServiceKey::Address { address, .. } = key else { return };
    let Some(interface) = machine.addresses.get(&address.ip) else { return };
    let quiet = |name: &str| machine.arp_ignore.get(name).copied().unwrap_or(0);
    if address.ip.is_ipv4() && interface == "lo" && quiet("all") == 0 {
        findings.insert(Finding {
            fatal: true,
            text: format!(
                "{real} is this machine, which has the virtual address {} on lo and answers ARP for it: clients find \
                 it instead of the director",
                address.ip
            ),
            fix: "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2".to_owned(),
        });
    }
}

/// What comes out of a tunnel does not come from where the route to its sender leads.
fn tunnels(machine: &Machine, findings: &mut BTreeSet<Finding>) {
    let all = machine.rp_filter.get("all").copied().unwrap_or(0);
    let tunnels = machine.rp_filter.iter().filter(|(name, _)| name.starts_with("tunl") || name.starts_with("gre"));
    for (interface, own) in tunnels {
        // The stricter one counts, and 2 is the looser.
        if (*own).max(all) == 1 {
            findings.insert(Finding {
                fatal: true,
                text: format!("TUN: net.ipv4.conf.{interface}.rp_filter is 1: what comes out of the tunnel is dropped"),
                fix: format!("sysctl -w net.ipv4.conf.{interface}.rp_filter=0 net.ipv4.conf.all.rp_filter=0"),
            });
        }
    }
}

#[cfg(test)]
mod tests;
