//! What a `virtual_server` line is to a data plane: one service, or, for a `virtual_server_group`, one for each address,
//! range member and mark.
//!
//! Pure.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::config::{GroupConfig, GroupEntry, VirtualServerConfig, VirtualServerId};
use super::types::{Protocol, ServiceKey, SocketKey};

/// The most services of one virtual server. A range is at most the last 8 bits (IPv4) or 16 bits (IPv6) of an address;
/// a mask can say anything.
pub const MOST_SERVICES: usize = 65_536;

/// The services of one virtual server, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expansion {
    /// No two are equal.
    pub services: Vec<ServiceKey>,
    /// Something that an operator should know, in one sentence.
    pub remark: Option<String>,
}

/// All services of a virtual server.
pub fn expand(id: &VirtualServerId, config: &VirtualServerConfig, groups: &BTreeMap<String, GroupConfig>) -> Expansion {
    match id {
        VirtualServerId::Address { address, protocol } => {
            one(ServiceKey::Address { protocol: *protocol, address: *address })
        }
        VirtualServerId::Fwmark { mark, family } => one(ServiceKey::Fwmark { family: *family, mark: *mark }),
        VirtualServerId::Group { name, protocol } => match groups.get(name) {
            Some(group) => expand_group(name, group, *protocol, config),
            None => {
                Expansion { remark: Some(format!("there is no virtual_server_group {name}")), ..Default::default() }
            }
        },
    }
}

fn one(key: ServiceKey) -> Expansion {
    Expansion { services: vec![key], remark: None }
}

fn expand_group(name: &str, group: &GroupConfig, protocol: Protocol, config: &VirtualServerConfig) -> Expansion {
    let mut expansion = Expansion::default();
    let mut seen = std::collections::BTreeSet::new();
    for entry in &group.entries {
        let keys: Box<dyn Iterator<Item = ServiceKey>> = match *entry {
            GroupEntry::Range { first, last, port } => Box::new(
                addresses(first, last)
                    .map(move |ip| ServiceKey::Address { protocol, address: SocketKey::new(ip, port) }),
            ),
            GroupEntry::Fwmark { mark, family } => {
                Box::new(std::iter::once(ServiceKey::Fwmark { family: family.unwrap_or(config.family), mark }))
            }
        };
        for key in keys {
            if expansion.services.len() >= MOST_SERVICES {
                expansion.remark = Some(format!(
                    "virtual_server_group {name} has more than {MOST_SERVICES} addresses: the rest is left out; use a firewall mark"
                ));
                return expansion;
            }
            if seen.insert(key) {
                expansion.services.push(key);
            }
        }
    }
    expansion
}

/// From the first to the last, both included; nothing when they are of two families or in the wrong order.
fn addresses(first: IpAddr, last: IpAddr) -> Box<dyn Iterator<Item = IpAddr>> {
    match (first, last) {
        (IpAddr::V4(a), IpAddr::V4(b)) => Box::new((u32::from(a)..=u32::from(b)).map(|n| Ipv4Addr::from(n).into())),
        (IpAddr::V6(a), IpAddr::V6(b)) => Box::new((u128::from(a)..=u128::from(b)).map(|n| Ipv6Addr::from(n).into())),
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::balancer::tests::virtual_server;
    use crate::vrrp::types::Family;

    fn keys(entries: &[GroupEntry]) -> Expansion {
        let groups = BTreeMap::from([("g".to_owned(), GroupConfig { entries: entries.to_vec() })]);
        let id = VirtualServerId::Group { name: "g".to_owned(), protocol: Protocol::Udp };
        expand(&id, &virtual_server(&[]), &groups)
    }

    fn range(first: &str, last: &str, port: u16) -> GroupEntry {
        GroupEntry::Range { first: first.parse().expect("address"), last: last.parse().expect("address"), port }
    }

    fn key(ip: &str, port: u16) -> ServiceKey {
        ServiceKey::Address { protocol: Protocol::Udp, address: SocketKey::new(ip.parse().expect("address"), port) }
    }

    #[test]
    fn each_entry_is_a_service_of_its_own() {
        let mark = 7.try_into().expect("not 0");
        let expansion = keys(&[
            range("192.0.2.250", "192.0.2.252", 80),
            range("192.0.2.251", "192.0.2.251", 80),
            range("2001:db8::ffff", "2001:db8::1:1", 0),
            GroupEntry::Fwmark { mark, family: None },
            GroupEntry::Fwmark { mark, family: Some(Family::V6) },
        ]);
        assert_eq!(
            expansion.services,
            [
                key("192.0.2.250", 80),
                key("192.0.2.251", 80),
                key("192.0.2.252", 80),
                key("2001:db8::ffff", 0),
                key("2001:db8::1:0", 0),
                key("2001:db8::1:1", 0),
                ServiceKey::Fwmark { family: Family::V4, mark },
                ServiceKey::Fwmark { family: Family::V6, mark },
            ]
        );
        assert_eq!(expansion.remark, None);
    }

    #[test]
    fn a_range_is_bounded_and_a_wrong_one_is_empty() {
        let expansion = keys(&[range("10.0.0.0", "10.255.255.255", 80)]);
        assert_eq!(expansion.services.len(), MOST_SERVICES);
        assert!(expansion.remark.is_some_and(|remark| remark.contains("group g has more than 65536")));
        assert_eq!(keys(&[range("10.0.0.2", "10.0.0.1", 80), range("10.0.0.2", "::1", 80)]).services, []);
        let id = VirtualServerId::Group { name: "none".to_owned(), protocol: Protocol::Tcp };
        assert!(expand(&id, &virtual_server(&[]), &BTreeMap::new()).remark.is_some());
    }
}
