//! What is reported, when, and in which order.

use crate::vrrp::rare::Rare;

use super::*;

const ETH: IfIndex = IfIndex(3);

fn link(flags: libc::c_int) -> Notice {
    Notice::Link(LinkFacts {
        index: ETH,
        name: "eth0".to_owned(),
        flags: flags.cast_unsigned(),
        mtu: 1500,
        hardware: vec![2, 0, 0, 0, 0, 1],
        lower: None,
    })
}

fn facts(address: &str, flags: u32, scope: u8) -> AddressFacts {
    let (address, prefix_len) = address.split_once('/').expect("with prefix");
    AddressFacts {
        address: address.parse().expect("literal"),
        prefix_len: prefix_len.parse().expect("literal"),
        scope,
        flags,
        protocol: 0,
        options: Rare::default(),
    }
}

fn order(table: &LinkTable) -> Vec<String> {
    table.addresses(ETH).map(|a| format!("{}/{}", a.address, a.prefix_len)).collect()
}

#[test]
fn a_link_is_reported_once_and_again_only_when_it_differs() {
    let mut table = LinkTable::default();
    table.apply(link(libc::IFF_UP));
    let changes = table.poll_changes();
    let [LinkChange::Present(reported)] = changes.as_slice() else { panic!("{changes:?}") };
    assert!(reported.up && !reported.running);
    table.apply(link(libc::IFF_UP));
    assert_eq!(table.poll_changes(), []);
    table.apply(link(libc::IFF_UP | libc::IFF_PROMISC));
    assert_eq!(table.poll_changes(), [], "what the engine does not see is no change");
    table.apply(link(libc::IFF_UP | libc::IFF_RUNNING));
    assert_eq!(table.poll_changes().len(), 1);
    table.apply(Notice::LinkGone(ETH));
    assert_eq!(table.poll_changes(), [LinkChange::Gone(ETH)]);
    table.apply(Notice::LinkGone(ETH));
    assert_eq!(table.poll_changes(), []);
}

#[test]
fn a_dump_reports_at_its_end_and_forgets_what_it_did_not_show() {
    let mut table = LinkTable::default();
    table.begin_dump();
    table.apply(link(libc::IFF_UP));
    assert_eq!(table.poll_changes(), []);
    table.apply(Notice::Address(ETH, facts("192.0.2.1/24", 0, 0)));
    table.end_dump();
    assert_eq!(table.poll_changes().len(), 1);
    table.begin_dump();
    table.apply(link(libc::IFF_UP));
    table.end_dump();
    let changes = table.poll_changes();
    assert!(matches!(changes.as_slice(), [LinkChange::Present(l)] if l.addresses.is_empty()), "{changes:?}");
    table.begin_dump();
    table.end_dump();
    assert_eq!(table.poll_changes(), [LinkChange::Gone(ETH)]);
}

#[test]
fn tentative_and_failed_duplicate_detection_are_one() {
    let mut table = LinkTable::default();
    table.apply(link(libc::IFF_UP));
    table.apply(Notice::Address(ETH, facts("fe80::1/64", libc::IFA_F_DADFAILED, 253)));
    assert!(table.link(ETH).expect("there").addresses[0].tentative);
    table.apply(Notice::Address(ETH, facts("fe80::1/64", libc::IFA_F_PERMANENT, 253)));
    let link = table.link(ETH).expect("there");
    assert!(!link.addresses[0].tentative);
    assert_eq!(link.addresses.len(), 1);
}

#[test]
fn addresses_stand_in_the_kernels_order() {
    let mut table = LinkTable::default();
    table.apply(link(libc::IFF_UP));
    for (address, flags, scope) in [
        ("fe80::1/64", 0, 253),
        ("169.254.0.1/16", 0, 253),
        ("192.0.2.1/24", 0, 0),
        ("192.0.2.2/24", libc::IFA_F_SECONDARY, 0),
        ("198.51.100.1/24", 0, 0),
        ("2001:db8::1/64", 0, 0),
    ] {
        table.apply(Notice::Address(ETH, facts(address, flags, scope)));
    }
    assert_eq!(
        order(&table),
        ["169.254.0.1/16", "192.0.2.1/24", "198.51.100.1/24", "192.0.2.2/24", "2001:db8::1/64", "fe80::1/64"]
    );
    table.apply(Notice::AddressGone(ETH, facts("192.0.2.1/24", 0, 0)));
    table.apply(Notice::Address(ETH, facts("192.0.2.2/24", 0, 0)));
    assert_eq!(
        order(&table),
        ["169.254.0.1/16", "198.51.100.1/24", "192.0.2.2/24", "2001:db8::1/64", "fe80::1/64"],
        "promoted"
    );
}

#[test]
fn one_address_with_two_prefixes_is_two() {
    let mut table = LinkTable::default();
    table.apply(link(libc::IFF_UP));
    table.apply(Notice::Address(ETH, facts("192.0.2.1/24", 0, 0)));
    table.apply(Notice::Address(ETH, facts("192.0.2.1/32", 0, 0)));
    assert_eq!(order(&table), ["192.0.2.1/24", "192.0.2.1/32"]);
    table.apply(Notice::AddressGone(ETH, facts("192.0.2.1/32", 0, 0)));
    assert_eq!(order(&table), ["192.0.2.1/24"]);
}

#[test]
fn a_bridge_is_reported_when_one_of_its_ports_begins_to_forward() {
    let (first, second) = (IfIndex(8), IfIndex(9));
    let mut table = LinkTable::default();
    let port = |port, forwards| Notice::BridgePort { port, bridge: ETH, forwards };
    table.apply(port(first, true));
    assert_eq!(table.poll_changes(), [], "of a bridge that nobody knows");
    table.apply(link(libc::IFF_UP));
    table.poll_changes();
    // what is said of a port -> whether the bridge is reported
    let rows = [
        (port(first, true), false),
        (port(first, false), false),
        (port(first, true), true),
        (port(second, true), true),
        (port(second, true), false),
        (Notice::BridgePortGone(second), false),
        (port(second, true), true),
        (Notice::LinkGone(second), false),
        (port(second, true), true),
    ];
    for (row, (notice, reported)) in rows.into_iter().enumerate() {
        table.apply(notice);
        let expected = if reported { vec![LinkChange::PortForwards(ETH)] } else { Vec::new() };
        assert_eq!(table.poll_changes(), expected, "row {row}");
    }
}

#[test]
fn what_is_on_top_of_a_bridge_is_reported_with_it() {
    let above = |index, lower| {
        let Notice::Link(facts) = link(libc::IFF_UP) else { unreachable!("a link") };
        Notice::Link(LinkFacts {
            index: IfIndex(index),
            name: format!("v{index}"),
            lower: Some(IfIndex(lower)),
            ..facts
        })
    };
    let mut table = LinkTable::default();
    table.apply(link(libc::IFF_UP));
    // A VLAN on the bridge, one on that, one on something else, and the two ends of a veth pair.
    for (index, lower) in [(11, 3), (12, 11), (13, 99), (14, 15), (15, 14)] {
        table.apply(above(index, lower));
    }
    table.poll_changes();
    table.apply(Notice::BridgePort { port: IfIndex(8), bridge: ETH, forwards: true });
    assert_eq!(table.poll_changes(), [ETH, IfIndex(11), IfIndex(12)].map(LinkChange::PortForwards));
}

#[test]
fn a_label_that_is_the_links_name_is_not_kept_for_each_address() {
    let mut table = LinkTable::default();
    table.apply(link(libc::IFF_UP));
    for (address, label) in [("192.0.2.1/32", "eth0"), ("192.0.2.2/32", "eth0:2")] {
        let options = OptionFacts { peer: None, label: Some(label.to_owned()), broadcast: None }.into();
        table.apply(Notice::Address(ETH, AddressFacts { options, ..facts(address, 0, 0) }));
    }
    let labels: Vec<_> = table.addresses(ETH).map(|facts| facts.options.label.as_deref()).collect();
    assert_eq!(labels, [None, Some("eth0:2")]);
}
