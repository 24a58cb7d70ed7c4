//! The network that a set of nodes needs: which interfaces share a switch, and who has which address.
//!
//! Pure. Addresses that the files name are honoured; others are taken from the virtual addresses' subnets, where no
//! file uses them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::survey::{Instance, Survey};

/// The most virtual addresses that clients ask. Each costs two hundred connections a second.
const MOST_PROBES: usize = 4;

/// Everything that has to be built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// One switch each.
    pub segments: Vec<Segment>,
    /// What clients ask, in the order of the first node's instances.
    pub probes: Vec<Probe>,
    /// Hosts behind virtual servers.
    pub real_servers: Vec<RealHost>,
}

/// A machine behind a virtual server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealHost {
    /// `web1`, `web2`, …, `sorry`.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// The prefix length of its wire.
    pub prefix_len: u8,
    /// Where it listens.
    pub port: u16,
    /// Its switch.
    pub segment: usize,
    /// It serves when no other does.
    pub sorry: bool,
}

/// A switch with its cables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segment {
    /// Cables to the nodes.
    pub cables: Vec<Cable>,
    /// The client's addresses.
    pub client: Vec<(IpAddr, u8)>,
}

/// One interface of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cable {
    /// Number of the node.
    pub node: usize,
    /// Name of the interface.
    pub interface: String,
    /// Its addresses, the primary first.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Peers outside its subnets.
    pub routes: Vec<IpAddr>,
}

/// A virtual address that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The instance that it belongs to.
    pub instance: String,
    /// The address.
    pub address: IpAddr,
    /// The switch on which it is asked.
    pub segment: usize,
    /// It is a virtual server's: real servers answer, not the master itself.
    pub balanced: bool,
}

/// Plans for nodes in order.
pub fn plan(nodes: &[Survey]) -> Plan {
    let groups = shared_segments(nodes);
    let mut plan = Plan::default();
    for members in &groups {
        plan.segments.push(segment(nodes, members));
    }
    let owners = nodes.iter().enumerate().flat_map(|(n, node)| node.instances.iter().map(move |i| (n, i)));
    for (node, instance) in owners {
        let known = plan.probes.iter().any(|probe| probe.instance == instance.name);
        let Some(vip) = instance.service_address().filter(|_| !known && plan.probes.len() < MOST_PROBES) else {
            continue;
        };
        let interface = vip.device.as_ref().or(instance.interface.as_ref());
        let on = |group: &BTreeSet<Port>| interface.is_some_and(|name| group.contains(&(node, name.clone())));
        if let Some(segment) = groups.iter().position(on) {
            let balanced = nodes
                .iter()
                .flat_map(|node| &node.services)
                .any(|service| service.address == vip.address && service.port == super::server::PORT);
            plan.probes.push(Probe { instance: instance.name.clone(), address: vip.address, segment, balanced });
        }
    }
    plan.real_servers = real_hosts(nodes, &plan.segments);
    plan
}

/// The machines that the files' virtual servers name, where some wire has their subnet.
fn real_hosts(nodes: &[Survey], segments: &[Segment]) -> Vec<RealHost> {
    let mut hosts: Vec<RealHost> = Vec::new();
    let mut add = |address: IpAddr, port, sorry: bool| {
        let known = hosts.iter().any(|host| host.address == address);
        let director = segments.iter().flat_map(|s| &s.cables).any(|c| c.addresses.iter().any(|(a, _)| *a == address));
        let found = segments.iter().enumerate().find_map(|(segment, wire)| {
            let addresses = wire.cables.iter().flat_map(|cable| &cable.addresses);
            let mut subnets =
                addresses.map(|(address, prefix_len)| Subnet { address: *address, prefix_len: *prefix_len });
            Some((segment, subnets.find(|subnet| subnet.contains(address))?.prefix_len))
        });
        let Some((segment, prefix_len)) = found.filter(|_| !known && !director) else { return };
        let number = hosts.iter().filter(|host| host.sorry == sorry).count() + 1;
        let name = if sorry { "sorry".to_owned() } else { format!("web{number}") };
        hosts.push(RealHost { name, address, prefix_len, port, segment, sorry });
    };
    let services = || nodes.iter().flat_map(|node| &node.services);
    for real in services().flat_map(|service| &service.real_servers) {
        add(real.address, real.port, false);
    }
    for (address, port) in services().filter_map(|service| service.sorry_server).take(1) {
        add(address, port, true);
    }
    hosts
}

/// A node's number and the name of its interface.
type Port = (usize, String);

/// Interfaces that carry the same virtual router share a switch, whatever their names. The rest goes by name.
fn shared_segments(nodes: &[Survey]) -> Vec<BTreeSet<Port>> {
    let mut by_router: BTreeMap<String, BTreeSet<Port>> = BTreeMap::new();
    for (n, node) in nodes.iter().enumerate() {
        for instance in &node.instances {
            if let Some(interface) = &instance.interface {
                by_router.entry(instance.name.clone()).or_default().insert((n, interface.clone()));
                let first = instance.vips.first().map(|vip| vip.address.to_string()).unwrap_or_default();
                by_router.entry(format!("{} {first}", instance.vrid)).or_default().insert((n, interface.clone()));
            }
        }
    }
    let mut groups: Vec<BTreeSet<Port>> = Vec::new();
    for members in by_router.into_values() {
        join(&mut groups, members);
    }
    for (n, node) in nodes.iter().enumerate() {
        for interface in &node.interfaces {
            let port = (n, interface.clone());
            if groups.iter().any(|group| group.contains(&port)) {
                continue;
            }
            let same_name = groups.iter_mut().find(|group| group.iter().any(|(m, name)| *m != n && name == interface));
            match same_name {
                Some(group) => drop(group.insert(port)),
                None => groups.push([port].into()),
            }
        }
    }
    groups
}

fn join(groups: &mut Vec<BTreeSet<Port>>, mut members: BTreeSet<Port>) {
    groups.retain_mut(|group| {
        let apart = group.is_disjoint(&members);
        if !apart {
            members.append(group);
        }
        apart
    });
    groups.push(members);
}

fn segment(nodes: &[Survey], members: &BTreeSet<Port>) -> Segment {
    let mut subnets: BTreeSet<Subnet> = BTreeSet::new();
    let services = || nodes.iter().flat_map(|node| &node.services);
    let mut used: BTreeSet<IpAddr> = services().flat_map(|s| &s.real_servers).map(|real| real.address).collect();
    used.extend(services().filter_map(|service| service.sorry_server).map(|(address, _)| address));
    for (node, interface) in members {
        for instance in nodes.get(*node).into_iter().flat_map(|node| &node.instances) {
            used.extend(instance.vips.iter().map(|vip| vip.address));
            used.extend(instance.source.iter().chain(&instance.peers));
            let here =
                instance.vips.iter().filter(|v| v.device.as_ref().or(instance.interface.as_ref()) == Some(interface));
            subnets.extend(here.filter_map(|vip| Subnet::around(vip.address, vip.prefix_len)));
        }
    }
    // The same subnet twice, once with a longer prefix, would be two addresses of one node for nothing.
    let all = subnets.clone();
    subnets.retain(|subnet| {
        !all.iter()
            .any(|wider| wider != subnet && wider.contains(subnet.address) && wider.prefix_len < subnet.prefix_len)
    });
    let mut cables: Vec<Cable> = Vec::new();
    for (node, interface) in members {
        let mut addresses = Vec::new();
        for address in fixed_addresses(nodes, *node, interface) {
            let prefix_len = subnets.iter().find(|subnet| subnet.contains(address)).map(|subnet| subnet.prefix_len);
            addresses.push((address, prefix_len.unwrap_or(if address.is_ipv4() { 24 } else { 64 })));
        }
        for subnet in &subnets {
            if !addresses.iter().any(|(address, _)| subnet.contains(*address)) {
                addresses.extend(subnet.take(&mut used, 201));
            }
        }
        let routes = peers_outside(nodes, *node, interface, &addresses);
        cables.push(Cable { node: *node, interface: interface.clone(), addresses, routes });
    }
    let client = subnets.iter().filter_map(|subnet| subnet.take(&mut used, 250)).collect();
    Segment { cables, client }
}

fn peers_outside(nodes: &[Survey], node: usize, interface: &str, addresses: &[(IpAddr, u8)]) -> Vec<IpAddr> {
    let instances = nodes.get(node).into_iter().flat_map(|node| &node.instances);
    let here = instances.filter(|instance| instance.interface.as_deref() == Some(interface));
    let peers: BTreeSet<IpAddr> = here.flat_map(|instance| &instance.peers).copied().collect();
    let inside = |peer: &IpAddr| {
        let mut subnets =
            addresses.iter().map(|(address, prefix_len)| Subnet { address: *address, prefix_len: *prefix_len });
        subnets.any(|subnet| subnet.contains(*peer))
    };
    peers.into_iter().filter(|peer| !inside(peer)).collect()
}

/// The addresses that the files say this interface has: its own `…_src_ip`, or the one that the others call a peer.
fn fixed_addresses(nodes: &[Survey], node: usize, interface: &str) -> BTreeSet<IpAddr> {
    let ours = nodes.get(node).into_iter().flat_map(|node| &node.instances);
    let ours = ours.filter(|instance| instance.interface.as_deref() == Some(interface));
    ours.filter_map(|instance| instance.source.or_else(|| address_as_peer(nodes, node, instance))).collect()
}

fn address_as_peer(nodes: &[Survey], node: usize, ours: &Instance) -> Option<IpAddr> {
    let others = nodes.iter().enumerate().filter(|(n, _)| *n != node).flat_map(|(_, node)| &node.instances);
    let others: Vec<_> = others.filter(|other| other.name == ours.name || other.vrid == ours.vrid).collect();
    let taken = |address: &IpAddr| ours.peers.contains(address) || others.iter().any(|o| o.source == Some(*address));
    others.iter().flat_map(|other| &other.peers).find(|address| !taken(address)).copied()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Subnet {
    /// Some address in it.
    address: IpAddr,
    prefix_len: u8,
}

impl Subnet {
    /// A host prefix says nothing about the wire: then it is taken to be the usual /24 or /64.
    fn around(address: IpAddr, prefix_len: Option<u8>) -> Option<Self> {
        match address {
            IpAddr::V4(v4) => {
                let prefix_len = prefix_len.filter(|len| (8..=29).contains(len)).unwrap_or(24);
                Some(Self {
                    address: IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask4(prefix_len.max(24)))),
                    prefix_len,
                })
            }
            // Every interface has a link-local address of its own.
            IpAddr::V6(v6) if v6.is_unicast_link_local() => None,
            IpAddr::V6(v6) => {
                let prefix_len = prefix_len.filter(|len| (16..=112).contains(len)).unwrap_or(64);
                let network = v6.to_bits() & (u128::MAX << (128 - u32::from(prefix_len.max(64))));
                Some(Self { address: IpAddr::V6(Ipv6Addr::from_bits(network)), prefix_len })
            }
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()) & mask4(self.prefix_len) == 0,
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()) >> (128 - u32::from(self.prefix_len)) == 0,
            _ => false,
        }
    }

    /// A free address, from host number `from` on where the subnet has one, else the highest free ones.
    fn take(&self, used: &mut BTreeSet<IpAddr>, from: u8) -> Option<(IpAddr, u8)> {
        let candidate = |host: u32| match self.address {
            IpAddr::V4(network) => IpAddr::V4(Ipv4Addr::from_bits(network.to_bits() | host)),
            IpAddr::V6(network) => IpAddr::V6(Ipv6Addr::from_bits(network.to_bits() | u128::from(host))),
        };
        let hosts = if self.address.is_ipv4() { (1u32 << (32 - u32::from(self.prefix_len.max(24)))) - 1 } else { 255 };
        let wished = u32::from(from)..hosts;
        let address = wished.chain((1..hosts).rev()).map(candidate).find(|address| !used.contains(address))?;
        used.insert(address);
        Some((address, self.prefix_len))
    }
}

fn mask4(prefix_len: u8) -> u32 {
    u32::MAX << (32 - u32::from(prefix_len))
}

#[cfg(test)]
mod tests {
    use super::super::survey::survey;
    use super::*;

    fn node(interface: &str, rest: &str) -> Survey {
        survey(&format!("vrrp_instance VI_1 {{\ninterface {interface}\nvirtual_router_id 51\n{rest}\n}}\n"))
    }

    fn text(addresses: &[(IpAddr, u8)]) -> Vec<String> {
        addresses.iter().map(|(address, prefix_len)| format!("{address}/{prefix_len}")).collect()
    }

    #[test]
    fn nodes_get_addresses_in_the_subnet_of_a_bare_vip() {
        let vip = "virtual_ipaddress {\n172.16.2.8\n}";
        let plan = plan(&[node("eth0", vip), node("ens3", vip)]);
        let [segment] = &plan.segments[..] else { panic!("{plan:?}") };
        // Different names, one virtual router, hence one wire.
        assert_eq!(text(&segment.cables[0].addresses), ["172.16.2.201/24"]);
        assert_eq!(text(&segment.cables[1].addresses), ["172.16.2.202/24"]);
        assert_eq!(text(&segment.client), ["172.16.2.250/24"]);
        assert_eq!(plan.probes[0].address.to_string(), "172.16.2.8");
    }

    #[test]
    fn a_vip_on_a_usual_node_address_is_avoided() {
        let vip = "virtual_ipaddress {\n10.0.0.201/16\n}";
        let plan = plan(&[node("eth0", vip), node("eth0", vip)]);
        assert_eq!(text(&plan.segments[0].cables[0].addresses), ["10.0.0.202/16"]);
        assert_eq!(text(&plan.segments[0].cables[1].addresses), ["10.0.0.203/16"]);
    }

    #[test]
    fn small_subnets_have_room_for_two_directors_and_a_client() {
        let vip = "virtual_ipaddress {\n10.0.0.17/29\n}";
        let plan = plan(&[node("eth0", vip), node("eth0", vip)]);
        assert_eq!(text(&plan.segments[0].cables[0].addresses), ["10.0.0.22/29"]);
        assert_eq!(text(&plan.segments[0].cables[1].addresses), ["10.0.0.21/29"]);
        assert_eq!(text(&plan.segments[0].client), ["10.0.0.20/29"]);
    }

    #[test]
    fn addresses_of_the_files_are_honoured() {
        let a = node(
            "eth0",
            "unicast_src_ip 192.168.1.11\nunicast_peer {\n192.168.1.12\n}\nvirtual_ipaddress {\n192.168.1.100/24\n}",
        );
        // This one does not say its own address; the other's peer list does.
        let b = node("eth0", "unicast_peer {\n192.168.1.11\n}\nvirtual_ipaddress {\n192.168.1.100/24\n}");
        let plan = plan(&[a, b]);
        assert_eq!(text(&plan.segments[0].cables[0].addresses), ["192.168.1.11/24"]);
        assert_eq!(text(&plan.segments[0].cables[1].addresses), ["192.168.1.12/24"]);
    }

    #[test]
    fn peers_in_other_subnets_are_reached_over_the_link() {
        let file = |ours, peer| {
            node(
                "eth0",
                &format!("unicast_src_ip {ours}\nunicast_peer {{\n{peer}\n}}\nvirtual_ipaddress {{\n10.0.1.100/24\n}}"),
            )
        };
        let plan = plan(&[file("10.0.1.11", "10.0.2.12"), file("10.0.2.12", "10.0.1.11")]);
        let [a, b] = &plan.segments[0].cables[..] else { panic!("{plan:?}") };
        assert_eq!(a.routes, ["10.0.2.12".parse::<IpAddr>().unwrap()]);
        // It has an address in the virtual address's subnet, too, and with it the way to its peer.
        assert_eq!(text(&b.addresses), ["10.0.2.12/24", "10.0.1.201/24"]);
        assert_eq!(b.routes, Vec::<IpAddr>::new());
    }

    #[test]
    fn ipv6_takes_a_64_and_leaves_link_local_to_the_kernel() {
        let vip = "virtual_ipaddress {\nfe80::10\n2001:db8::8\n}";
        let plan = plan(&[node("eth0", vip), node("eth0", vip)]);
        assert_eq!(text(&plan.segments[0].cables[0].addresses), ["2001:db8::c9/64"]);
        assert_eq!(plan.probes[0].address.to_string(), "2001:db8::8");
    }

    #[test]
    fn real_servers_stand_on_the_wire_of_their_subnet() {
        let vips = "virtual_ipaddress {\n10.0.0.100/24\n192.168.20.1/24 dev eth1\n}";
        let servers = "virtual_server 10.0.0.100 80 {\n sorry_server 192.168.20.14 80\n real_server 192.168.20.201 80 {\n }\n \
                       real_server 192.168.20.12 {\n }\n real_server 172.16.0.1 80 {\n }\n}";
        let file =
            || survey(&format!("vrrp_instance A {{\ninterface eth0\nvirtual_router_id 1\n{vips}\n}}\n{servers}\n"));
        let plan = plan(&[file(), file()]);
        let hosts = plan
            .real_servers
            .iter()
            .map(|h| format!("{} {}/{}:{} on {}", h.name, h.address, h.prefix_len, h.port, h.segment));
        assert_eq!(
            hosts.collect::<Vec<_>>(),
            ["web1 192.168.20.201/24:80 on 1", "web2 192.168.20.12/24:80 on 1", "sorry 192.168.20.14/24:80 on 1"]
        );
        assert!(plan.probes[0].balanced);
        // A director keeps off a real server's address.
        assert_eq!(text(&plan.segments[1].cables[0].addresses), ["192.168.20.202/24"]);
    }

    #[test]
    fn two_interfaces_are_two_wires() {
        let file = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n10.0.0.1/24\n}\n}\n\
                    vrrp_instance B {\ninterface eth1\nvirtual_router_id 2\nvirtual_ipaddress {\n10.1.0.1/24\n}\n}\n";
        let plan = plan(&[survey(file), survey(file)]);
        assert_eq!(plan.segments.len(), 2);
        assert_eq!(plan.probes.len(), 2);
        assert_ne!(plan.probes[0].segment, plan.probes[1].segment);
    }
}
