//! What about a machine would defeat virtual servers: forwarding that is off, a reverse path filter, connection tracking
//! without `masquerade`'s half, ARP answers for an address that a director holds.
//!
//! Pure: findings over what [`Machine`] says was found; [`probe`] and [`arp`] fill it in.

pub mod arp;
mod director;
pub mod probe;
mod real_server;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use serde::Serialize;

use super::config::{BalancerConfig, ForwarderChoice, VirtualServerConfig, VirtualServerId};
use super::groups;
use super::types::{ForwardMethod, ServiceKey};
use crate::net::frame::Mac;
use crate::vrrp::config::{InstanceConfig, VrrpConfig};

/// What was found on the machine; `None` is a file that is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Whether the kernel has IPVS.
    pub ipvs: bool,
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
    /// `net.ipv4.conf.*.arp_announce` by interface, `all` among them.
    pub arp_announce: BTreeMap<String, u32>,
    /// `net.ipv4.vs.conntrack`: there when IPVS was built with `CONFIG_IP_VS_NFCT`.
    pub vs_conntrack: Option<u32>,
    /// Connections that are tracked, and the most that can be (`net.netfilter.nf_conntrack_*`).
    pub tracked: Option<(u32, u32)>,
    /// Addresses of the machine.
    pub addresses: Vec<LocalAddress>,
    /// Interfaces that are up.
    pub up: BTreeSet<String>,
    /// IPv4 default routes: the router, if there is one, and the interface.
    pub default_routes: Vec<(Option<Ipv4Addr>, String)>,
    /// Others that said to have an address, by their hardware address.
    pub answering: BTreeMap<IpAddr, BTreeSet<Mac>>,
}

/// An address of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAddress {
    /// The address.
    pub ip: IpAddr,
    /// Prefix length.
    pub length: u8,
    /// Its interface.
    pub interface: String,
}

impl Machine {
    /// The interfaces that have this address.
    fn interfaces_of(&self, ip: IpAddr) -> impl Iterator<Item = &str> {
        self.addresses.iter().filter(move |local| local.ip == ip).map(|local| local.interface.as_str())
    }

    /// Whether this is an address of the machine.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.interfaces_of(ip).next().is_some()
    }

    /// The interface on whose link an address is, by the most particular subnet.
    pub fn link_of(&self, ip: IpAddr) -> Option<&str> {
        let on = self.addresses.iter().filter(|local| local.interface != "lo" && same_subnet(local, ip));
        on.max_by_key(|local| local.length).map(|local| local.interface.as_str())
    }
}

fn same_subnet(local: &LocalAddress, ip: IpAddr) -> bool {
    // A lone host's own length says nothing of its link.
    let shared = match (local.ip, ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) if local.length < 32 => (u32::from(a) ^ u32::from(b)).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) if local.length < 128 => (u128::from(a) ^ u128::from(b)).leading_zeros(),
        _ => return false,
    };
    shared >= u32::from(local.length)
}

/// The kernel takes the larger of what an interface and `all` say.
fn effective(setting: &BTreeMap<String, u32>, interface: &str) -> u32 {
    let of = |name: &str| setting.get(name).copied().unwrap_or(0);
    of(interface).max(of("all"))
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Traffic does not get through.
    Error,
    /// Some of it does not, or not always.
    Warning,
    /// Cannot be seen from here, and is often forgotten.
    Note,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// Something that is in the way. Its order is that in which people want to read it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Its stable name.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What helps.
    pub help: String,
}

/// What stands in the way, each thing once, with the services that it concerns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings(pub BTreeMap<Finding, BTreeSet<ServiceKey>>);

impl Findings {
    fn add(&mut self, key: ServiceKey, level: Level, code: &'static str, message: String, help: impl Into<String>) {
        let finding = Finding { level, code, message, help: help.into() };
        self.0.entry(finding).or_default().insert(key);
    }

    /// How many there are of a level.
    pub fn count(&self, level: Level) -> usize {
        self.0.keys().filter(|finding| finding.level == level).count()
    }
}

/// One service of the configuration, with all its real servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What the kernel knows it by.
    pub key: ServiceKey,
    /// Its real servers and its sorry server.
    pub reals: Vec<(IpAddr, ForwardMethod)>,
    /// `masquerade`.
    pub masquerade: bool,
    /// The instance that it follows (`vrrp_instance`).
    pub active_with: Option<String>,
}

impl Wanted {
    fn uses(&self, is: impl Fn(ForwardMethod) -> bool) -> bool {
        self.reals.iter().any(|(_, method)| is(*method))
    }

    fn address(&self) -> Option<IpAddr> {
        match self.key {
            ServiceKey::Address { address, .. } => Some(address.ip),
            ServiceKey::Fwmark { .. } => None,
        }
    }
}

fn is_nat(method: ForwardMethod) -> bool {
    method == ForwardMethod::Nat
}

fn is_tunnel(method: ForwardMethod) -> bool {
    matches!(method, ForwardMethod::Tun(_))
}

/// Real servers that answer clients themselves have the virtual address too.
fn answers_itself(method: ForwardMethod) -> bool {
    method == ForwardMethod::Dr || is_tunnel(method)
}

/// What a configuration asks of machines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Which data plane it wants.
    pub forwarder: ForwarderChoice,
    /// The services that the kernel is to carry.
    pub services: Vec<Wanted>,
    /// Addresses that VRRP brings to the master, with the interface that gets them.
    pub brought: BTreeMap<IpAddr, Option<String>>,
}

impl Cluster {
    /// Of a configuration. Services of the userspace forwarder need nothing of the machine and are not among them.
    pub fn of(balancer: &BalancerConfig, vrrp: &VrrpConfig) -> Self {
        let forwarder = balancer.global.forwarder;
        let services = balancer.services.iter().filter(|_| forwarder != ForwarderChoice::Userspace);
        let services = services.flat_map(|(id, config)| wanted(id, config, balancer)).collect();
        let of = |instance: &InstanceConfig| -> Vec<(IpAddr, Option<String>)> {
            let interface = |device: &Option<String>| device.clone().or_else(|| instance.interface.clone());
            instance.all_addresses().map(|address| (address.address, interface(&address.options.device))).collect()
        };
        Self { forwarder, services, brought: vrrp.instances.values().flat_map(of).collect() }
    }
}

fn wanted(id: &VirtualServerId, config: &VirtualServerConfig, balancer: &BalancerConfig) -> Vec<Wanted> {
    let reals = config.real_servers.iter().map(|real| (real.address.ip, real.method));
    let sorry = config.sorry_server.iter().map(|sorry| (sorry.address.ip, sorry.method));
    let reals: Vec<_> = reals.chain(sorry).filter(|(_, method)| *method != ForwardMethod::Proxy).collect();
    if reals.is_empty() {
        return Vec::new();
    }
    let one = |key| Wanted {
        key,
        reals: reals.clone(),
        masquerade: config.masquerade,
        active_with: config.active_with.clone(),
    };
    groups::expand(id, config, &balancer.groups).services.into_iter().map(one).collect()
}

/// What stands in the way on a director.
pub fn of_director(cluster: &Cluster, machine: &Machine) -> Findings {
    let mut findings = Findings::default();
    for service in &cluster.services {
        director::judge(cluster, service, machine, &mut findings);
    }
    findings
}

/// What stands in the way on a real server: the services that have an address of this machine among their real servers
/// are looked at. The second value is whether there are any.
pub fn of_real_server(cluster: &Cluster, machine: &Machine) -> (Findings, bool) {
    let mut findings = Findings::default();
    let mut any = false;
    for service in &cluster.services {
        for (real, method) in service.reals.iter().filter(|(real, _)| machine.has(*real)) {
            any = true;
            real_server::judge(cluster, service, *real, *method, machine, &mut findings);
        }
    }
    (findings, any)
}

#[cfg(test)]
mod tests;
