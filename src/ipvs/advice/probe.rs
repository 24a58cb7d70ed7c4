//! Looks at the machine: settings below `/proc/sys`, addresses, default routes.
//!
//! Shell. What cannot be read is not there.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

use super::{LocalAddress, Machine};
use crate::ipvs::kernel::Kernel;

/// All but who else answers for an address ([`super::arp`]).
pub fn machine() -> Machine {
    // The first: loading the module makes settings appear.
    let ipvs = Kernel::available();
    let mut machine = Machine {
        ipvs,
        ip_forward: setting("net/ipv4/ip_forward"),
        ip6_forward: setting("net/ipv6/conf/all/forwarding"),
        rp_filter: by_interface("rp_filter"),
        send_redirects: by_interface("send_redirects"),
        arp_ignore: by_interface("arp_ignore"),
        arp_announce: by_interface("arp_announce"),
        vs_conntrack: setting("net/ipv4/vs/conntrack"),
        tracked: setting("net/netfilter/nf_conntrack_count").zip(setting("net/netfilter/nf_conntrack_max")),
        default_routes: default_routes(&fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default()),
        ..Machine::default()
    };
    for interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        if interface.flags.contains(InterfaceFlags::IFF_UP) {
            machine.up.insert(interface.interface_name.clone());
        }
        if let Some((ip, length)) = address(interface.address.as_ref(), interface.netmask.as_ref()) {
            machine.addresses.push(LocalAddress { ip, length, interface: interface.interface_name });
        }
    }
    machine
}

fn setting(name: &str) -> Option<u32> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}

fn by_interface(name: &str) -> BTreeMap<String, u32> {
    let folders = fs::read_dir("/proc/sys/net/ipv4/conf").into_iter().flatten().flatten();
    let names = folders.filter_map(|folder| folder.file_name().into_string().ok());
    names
        .filter_map(|interface| Some((interface.clone(), setting(&format!("net/ipv4/conf/{interface}/{name}"))?)))
        .collect()
}

fn address(address: Option<&SockaddrStorage>, mask: Option<&SockaddrStorage>) -> Option<(IpAddr, u8)> {
    let ip = |storage: &SockaddrStorage| -> Option<IpAddr> {
        let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    };
    let length = match mask.and_then(ip) {
        Some(IpAddr::V4(mask)) => u32::from(mask).count_ones(),
        Some(IpAddr::V6(mask)) => u128::from(mask).count_ones(),
        None => return None,
    };
    Some((ip(address?)?, u8::try_from(length).ok()?))
}

/// Lines of `/proc/net/route`: interface, destination, gateway, …, mask at the eighth place; numbers in hexadecimal as they
/// lie in memory.
fn default_routes(text: &str) -> Vec<(Option<Ipv4Addr>, String)> {
    let number = |word: &str| u32::from_str_radix(word, 16).ok();
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (interface, gateway) = (words.first()?, number(words.get(2)?)?);
        let everywhere = number(words.get(1)?)? == 0 && number(words.get(7)?)? == 0;
        let gateway = (gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()));
        everywhere.then(|| (gateway, (*interface).to_owned()))
    };
    text.lines().filter_map(route).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_found_among_others() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\tFE02000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                    ppp0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0\nrubbish\n";
        let router = Ipv4Addr::new(10, 0, 2, 254);
        assert_eq!(default_routes(text), [(Some(router), "eth0".to_owned()), (None, "ppp0".to_owned())]);
    }
}
