//! The batches, read back by `nft` in a network namespace.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::process::Command;

use super::*;
use crate::common::needs_root;
use crate::ipvs::table::Destination;
use crate::ipvs::types::{Protocol, SocketKey};
use crate::lab::host::Host;
use crate::net::filter::exchange;
use crate::net::netlink::NetlinkSocket;
use crate::vrrp::types::Family;

fn service(to: &[(&str, ForwardMethod)]) -> Service {
    let destinations = to.iter().map(|(ip, method)| {
        (SocketKey::new(ip.parse().unwrap(), 80), Destination { method: *method, ..Destination::default() })
    });
    Service { destinations: destinations.collect(), ..Service::default() }
}

fn key(ip: &str) -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address: SocketKey::new(ip.parse().unwrap(), 80) }
}

#[test]
fn only_nat_needs_a_return_path_and_a_mark_has_none() {
    let mark = ServiceKey::Fwmark { family: Family::V4, mark: NonZeroU32::MIN };
    let services = BTreeMap::from([
        (key("10.0.0.1"), service(&[("10.1.0.1", ForwardMethod::Nat), ("10.1.0.2", ForwardMethod::Dr)])),
        (key("10.0.0.2"), service(&[("10.1.0.3", ForwardMethod::Dr)])),
        (key("2001:db8::1"), service(&[("2001:db8:1::1", ForwardMethod::Nat)])),
        (mark, service(&[("10.1.0.4", ForwardMethod::Nat)])),
    ]);
    let (paths, without) = ReturnPaths::of(&services);
    let texts = |set: &BTreeSet<IpAddr>| set.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(texts(&paths.virtuals), ["10.0.0.1", "2001:db8::1"]);
    assert_eq!(texts(&paths.reals), ["10.1.0.1", "2001:db8:1::1"]);
    assert_eq!(without, [mark]);
    assert!(ReturnPaths::of(&BTreeMap::new()).0.is_empty());
}

fn send(batches: Vec<Vec<u8>>) {
    let mut socket = NetlinkSocket::open_netfilter(1 << 20).unwrap();
    for batch in batches {
        exchange(&mut socket, &batch, 7).unwrap();
    }
}

fn nft(arguments: &[&str]) -> String {
    let output = Command::new("nft").args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn nft_reads_the_table() {
    needs_root!();
    let host = Host::new("masquerade").unwrap();
    let listed = host.run(|| {
        let paths = ReturnPaths {
            virtuals: ["10.0.0.1", "2001:db8::1"].map(|ip| ip.parse().unwrap()).into(),
            reals: ["10.1.0.1", "2001:db8:1::1"].map(|ip| ip.parse().unwrap()).into(),
        };
        send(rebuild(7, &paths));
        // Anew, over itself.
        send(rebuild(7, &paths));
        nft(&["list", "table", "inet", TABLE])
    });
    for line in [
        "type nat hook postrouting priority srcnat; policy accept;",
        "ct original ip daddr @vips4 ip daddr @reals4 masquerade",
        "ct original ip6 daddr @vips6 ip6 daddr @reals6 masquerade",
        "elements = { 10.0.0.1 }",
        "elements = { 2001:db8:1::1 }",
    ] {
        assert!(listed.contains(line), "no {line:?} in\n{listed}");
    }
    let many = host.run(|| {
        let address = |n: u32| IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n));
        let paths = ReturnPaths { virtuals: [address(0)].into(), reals: (1..4000).map(address).collect() };
        send(rebuild(7, &paths));
        let many = nft(&["-j", "list", "set", "inet", TABLE, "reals4"]).matches("10.0.").count();
        send(vec![remove(7)]);
        send(vec![remove(7)]);
        (many, nft(&["list", "tables"]))
    });
    assert_eq!(many, (3999, String::new()));
}
