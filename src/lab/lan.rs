//! A switch: a bridge in a namespace of its own, with cables to hosts that can be pulled, mended and made deaf.
//!
//! Shell: changes links in namespaces that the lab owns.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use super::host::Host;
use super::netlink;

const BRIDGE: &str = "switch";

/// One broadcast domain. The hosts plugged in must not outlive their use of it.
pub struct Lan {
    switch: Host,
    /// Switch port by host and interface name.
    ports: BTreeMap<(String, String), Port>,
}

#[derive(Debug, Clone)]
struct Port {
    name: String,
    index: u32,
}

impl Lan {
    /// A switch without cables.
    pub fn new(name: &str) -> io::Result<Self> {
        let switch = Host::new(name)?;
        switch.run(|| {
            quieten();
            netlink::add_bridge(BRIDGE)
        })?;
        Ok(Self { switch, ports: BTreeMap::new() })
    }

    /// The switch itself, for a sniffer.
    pub fn switch(&self) -> &Host {
        &self.switch
    }

    /// A cable from the switch to a new interface of `host`, with these addresses, up. Call [`Self::wait_ready`] before
    /// traffic depends on it.
    pub fn plug(&mut self, host: &Host, interface: &str, addresses: &[(IpAddr, u8)]) -> io::Result<()> {
        let port = format!("port{}", self.ports.len() + 1);
        host.run(|| {
            quieten();
            netlink::set_up("lo", true)
        })?;
        let namespace = host.netns().as_raw_fd();
        let (name, far_end) = (port.clone(), interface.to_owned());
        let index = self.switch.run(move || {
            netlink::add_cable(BRIDGE, &name, &far_end, namespace)?;
            netlink::set_up(&name, true)?;
            netlink::index(&name)
        })?;
        let (name, addresses) = (interface.to_owned(), addresses.to_vec());
        host.run(move || {
            netlink::set_up(&name, true)?;
            for (address, prefix_len) in addresses {
                netlink::add_address(&name, address, prefix_len)?;
            }
            io::Result::Ok(())
        })?;
        self.ports.insert((host.name().to_owned(), interface.to_owned()), Port { name: port, index });
        Ok(())
    }

    /// Waits until every port forwards: a bridge port passes nothing in its first moments.
    pub fn wait_ready(&self) -> io::Result<()> {
        let ports: Vec<_> = self.ports.values().map(|port| port.name.clone()).collect();
        self.switch.run(move || netlink::wait_forwarding(&ports))
    }

    /// Waits until one host's interface can pass traffic in both directions.
    pub fn wait_host_ready(&self, host: &Host, interface: &str) -> io::Result<()> {
        let port = self.port(host.name(), interface)?.name.clone();
        self.switch.run(move || netlink::wait_forwarding(&[port]))?;
        let interface = interface.to_owned();
        host.run(move || netlink::wait_running(&[interface]))
    }

    /// Pulls the cable at the switch's end: nothing passes from now on, and the host loses carrier.
    pub fn cut(&self, host: &str, interface: &str) -> io::Result<()> {
        self.set_link(host, interface, false)
    }

    /// Puts the cable back.
    pub fn mend(&self, host: &str, interface: &str) -> io::Result<()> {
        self.set_link(host, interface, true)
    }

    fn set_link(&self, host: &str, interface: &str, up: bool) -> io::Result<()> {
        let port = self.port(host, interface)?.name.clone();
        self.switch.run(move || netlink::set_up(&port, up))
    }

    /// The switch drops all frames of this port while the host keeps its carrier: a failure that no link state shows.
    /// A sniffer still sees what the host sends.
    pub fn partition(&self, host: &str, interface: &str) -> io::Result<()> {
        let port = self.port(host, interface)?.name.clone();
        self.switch.run(move || netlink::set_bridge(&port, None))
    }

    /// Ends [`Self::partition`].
    pub fn heal(&self, host: &str, interface: &str) -> io::Result<()> {
        let port = self.port(host, interface)?.name.clone();
        self.switch.run(move || {
            netlink::set_bridge(&port, Some(BRIDGE))?;
            netlink::wait_forwarding(&[port])
        })
    }

    /// Port numbers as a sniffer on the switch sees them, with the host at the other end.
    pub fn port_owners(&self) -> BTreeMap<u32, String> {
        self.ports.iter().map(|((host, _), port)| (port.index, host.clone())).collect()
    }

    /// Whether that host has an interface of that name here.
    pub fn has(&self, host: &str, interface: &str) -> bool {
        self.ports.contains_key(&(host.to_owned(), interface.to_owned()))
    }

    fn port(&self, host: &str, interface: &str) -> io::Result<&Port> {
        self.ports
            .get(&(host.to_owned(), interface.to_owned()))
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{host} has no {interface} on this switch")))
    }
}

/// The addresses on a host's interface, virtual ones included.
pub fn addresses(host: &Host, interface: &str) -> io::Result<Vec<IpAddr>> {
    let interface = interface.to_owned();
    host.run(move || netlink::addresses(&interface))
}

/// Switches a host's interface on or off at the host's own end, as `ip link set` there would.
pub fn set_up(host: &Host, interface: &str, up: bool) -> io::Result<()> {
    let interface = interface.to_owned();
    host.run(move || netlink::set_up(&interface, up))
}

/// Adds an address to a host's interface.
pub fn add_address(host: &Host, interface: &str, address: IpAddr, prefix_len: u8) -> io::Result<()> {
    let interface = interface.to_owned();
    host.run(move || netlink::add_address(&interface, address, prefix_len))
}

/// Tells a host that an address outside its subnets is on this link: a lab has no routers.
pub fn add_route(host: &Host, interface: &str, to: IpAddr) -> io::Result<()> {
    let interface = interface.to_owned();
    host.run(move || netlink::add_route(&interface, to))
}

/// The calling thread's namespace: IPv6 addresses usable at once, no router solicitations in the captures. A kernel
/// without IPv6 has none of these files.
fn quieten() {
    for scope in ["all", "default"] {
        for (setting, value) in [("accept_dad", "0"), ("dad_transmits", "0"), ("router_solicitations", "0")] {
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/{setting}"), value);
        }
    }
}
