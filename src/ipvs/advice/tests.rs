//! One row for each thing that can be in the way.

use super::*;
use crate::ipvs::table::{Destination, Service};
use crate::ipvs::types::{Protocol, SocketKey, Tunnel};

fn key(ip: &str) -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address: SocketKey::new(ip.parse().unwrap(), 80) }
}

fn table(vip: &str, real: &str, method: ForwardMethod) -> ServiceTable {
    let to = Destination { method, ..Destination::default() };
    let destinations = BTreeMap::from([(SocketKey::new(real.parse().unwrap(), 80), to)]);
    ServiceTable { services: BTreeMap::from([(key(vip), Service { destinations, ..Service::default() })]) }
}

fn by_name<const N: usize>(values: [(&str, u32); N]) -> BTreeMap<String, u32> {
    values.map(|(name, value)| (name.to_owned(), value)).into()
}

/// A machine on which everything works.
fn good() -> Machine {
    Machine {
        ip_forward: Some(1),
        ip6_forward: Some(1),
        rp_filter: by_name([("all", 0), ("tunl0", 0)]),
        send_redirects: by_name([("all", 0)]),
        arp_ignore: by_name([("all", 1)]),
        vs_conntrack: Some(0),
        addresses: [("10.0.0.1", "lo"), ("10.1.0.1", "eth0")]
            .map(|(ip, name)| (ip.parse().unwrap(), name.to_owned()))
            .into(),
    }
}

fn said(table: &ServiceTable, masquerade: bool, machine: &Machine) -> Vec<String> {
    let with = if masquerade { table.services.keys().copied().collect() } else { BTreeSet::new() };
    findings(table, &with, machine).into_iter().map(|finding| finding.fix).collect()
}

#[test]
fn each_thing_in_the_way_is_found_where_it_matters() {
    let nat = table("10.0.0.1", "10.1.0.2", ForwardMethod::Nat);
    let nat6 = table("2001:db8::1", "2001:db8::2", ForwardMethod::Nat);
    let dr = table("10.0.0.1", "10.1.0.1", ForwardMethod::Dr);
    let tun = table("10.0.0.1", "10.1.0.2", ForwardMethod::Tun(Tunnel::Ipip));
    for table in [&nat, &nat6, &dr, &tun] {
        assert_eq!(said(table, false, &good()), Vec::<String>::new());
        assert_eq!(said(table, true, &good()), Vec::<String>::new());
    }
    let off = Machine { ip_forward: Some(0), ip6_forward: Some(0), ..good() };
    assert_eq!(said(&nat, false, &off), ["sysctl -w net.ipv4.ip_forward=1"]);
    assert_eq!(said(&nat6, false, &off), ["sysctl -w net.ipv6.conf.all.forwarding=1"]);
    assert_eq!(said(&dr, false, &off), Vec::<String>::new());
    let redirecting = Machine { send_redirects: by_name([("all", 1)]), ..good() };
    assert_eq!(said(&nat, false, &redirecting).len(), 1);
    assert_eq!(said(&nat, true, &redirecting).len(), 0);
    let untracked = Machine { vs_conntrack: None, ..good() };
    assert_eq!(said(&nat, true, &untracked).len(), 1);
    assert_eq!(said(&nat, false, &untracked).len(), 0);
    let talking = Machine { arp_ignore: by_name([("all", 0)]), ..good() };
    assert!(said(&dr, false, &talking)[0].contains("arp_ignore=1"));
    assert_eq!(said(&tun, false, &talking), Vec::<String>::new());
    let strict = Machine { rp_filter: by_name([("all", 0), ("tunl0", 1)]), ..good() };
    assert!(said(&tun, false, &strict)[0].contains("tunl0.rp_filter=0"));
    let loose = Machine { rp_filter: by_name([("all", 2), ("tunl0", 1)]), ..good() };
    assert_eq!(said(&tun, false, &loose), Vec::<String>::new());
}
