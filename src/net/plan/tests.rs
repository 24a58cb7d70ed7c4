//! Table and wish in, steps out.

use crate::net::rtnl::{LinkFacts, Notice, OptionFacts};
use crate::vrrp::config::AddressConfig;

use super::*;

const ETH: IfIndex = IfIndex(3);

fn wanted(address: &str, prefix_len: u8) -> BoundAddress {
    let mut config = AddressConfig::new(address.parse().expect("literal"));
    config.prefix_len = prefix_len;
    config.preferred_lifetime = None;
    BoundAddress { interface: ETH, config, accept: true, own: false }
}

fn table(entries: &[(&str, u8, u8)]) -> LinkTable {
    let mut table = LinkTable::default();
    let link =
        LinkFacts { index: ETH, name: "eth0".to_owned(), flags: 0, mtu: 1500, hardware: Vec::new(), lower: None };
    table.apply(Notice::Link(link));
    for (address, prefix_len, protocol) in entries {
        let address: IpAddr = address.parse().expect("literal");
        let facts = AddressFacts {
            address,
            prefix_len: *prefix_len,
            scope: 0,
            flags: libc::IFA_F_PERMANENT,
            protocol: *protocol,
            options: OptionFacts { label: address.is_ipv4().then(|| "eth0".to_owned()), ..OptionFacts::USUAL.clone() }
                .into(),
        };
        table.apply(Notice::Address(ETH, facts));
    }
    table
}

fn gone(address: &str, prefix_len: u8) -> Step {
    Step::Remove { interface: ETH, address: address.parse().expect("literal"), prefix_len, peer: None }
}

#[test]
fn the_hosts_own_address_survives_the_same_virtual_address() {
    let table = table(&[("192.0.2.1", 24, 0), ("192.0.2.1", 32, PROTOCOL_VRRP)]);
    assert_eq!(plan(&table, &Installed::default(), &[], &[wanted("192.0.2.1", 32)]), [gone("192.0.2.1", 32)]);
    let add = wanted("192.0.2.1", 32);
    assert_eq!(plan(&table, &Installed::default(), std::slice::from_ref(&add), &[]), [Step::Add(add)]);
}

#[test]
fn an_owners_own_address_stays_and_what_we_put_there_goes() {
    let own = BoundAddress { own: true, ..wanted("192.0.2.1", 24) };
    let steps = |protocol, installed: &Installed| {
        plan(&table(&[("192.0.2.1", 24, protocol)]), installed, &[], std::slice::from_ref(&own))
    };
    assert_eq!(steps(0, &Installed::default()), [], "the host had it before us");
    assert_eq!(steps(PROTOCOL_VRRP, &Installed::default()), [gone("192.0.2.1", 24)], "a killed predecessor's");
    let mut installed = Installed::default();
    installed.done(&Step::Add(own.clone()));
    assert_eq!(steps(0, &installed), [gone("192.0.2.1", 24)], "ours, on a kernel that forgets the mark");
    assert_eq!(plan(&table(&[]), &installed, &[], std::slice::from_ref(&own)), [gone("192.0.2.1", 24)]);
    let not_owner = [wanted("192.0.2.1", 24)];
    let exact = plan(&table(&[("192.0.2.1", 24, 0)]), &Installed::default(), &[], &not_owner);
    assert_eq!(exact, [gone("192.0.2.1", 24)], "a backup must not have it, whoever put it there");
}

#[test]
fn ours_with_another_prefix_is_swept_and_replaced() {
    let table = table(&[("2001:db8::1", 64, PROTOCOL_VRRP)]);
    let new = wanted("2001:db8::1", 128);
    assert_eq!(
        plan(&table, &Installed::default(), std::slice::from_ref(&new), &[]),
        [gone("2001:db8::1", 64), Step::Add(new)]
    );
    assert_eq!(
        plan(&table, &Installed::default(), &[], &[wanted("2001:db8::1", 128)]),
        [gone("2001:db8::1", 64), gone("2001:db8::1", 128)]
    );
}

#[test]
fn changed_options_replace_ours_and_leave_a_strangers() {
    let mut new = wanted("192.0.2.1", 24);
    new.config.scope = 253;
    for (protocol, steps) in
        [(PROTOCOL_VRRP, vec![gone("192.0.2.1", 24), Step::Add(new.clone())]), (0, vec![Step::Add(new.clone())])]
    {
        assert_eq!(
            plan(&table(&[("192.0.2.1", 24, protocol)]), &Installed::default(), std::slice::from_ref(&new), &[]),
            steps
        );
    }
}

#[test]
fn an_address_that_stands_as_wanted_is_not_touched() {
    let table = table(&[("192.0.2.1", 24, PROTOCOL_VRRP)]);
    let same = wanted("192.0.2.1", 24);
    assert_eq!(
        plan(&table, &Installed::default(), std::slice::from_ref(&same), &[]),
        [Step::Add(same.clone())],
        "answered with EEXIST"
    );
    assert_eq!(
        plan(&table, &Installed::default(), std::slice::from_ref(&same), std::slice::from_ref(&same)),
        [Step::Add(same)],
        "wanted and unwanted: wanted"
    );
}

#[test]
fn answers_that_mean_as_wanted() {
    let add = Step::Add(wanted("192.0.2.1", 24));
    assert!(add.is_satisfied_by(0) && add.is_satisfied_by(libc::EEXIST) && !add.is_satisfied_by(libc::ENODEV));
    let remove = gone("192.0.2.1", 24);
    assert!(remove.is_satisfied_by(libc::EADDRNOTAVAIL) && remove.is_satisfied_by(libc::ENODEV));
    assert!(!remove.is_satisfied_by(libc::EPERM));
    assert_eq!(remove.describe(&table(&[])), "cannot remove 192.0.2.1/24 from eth0");
}

#[test]
fn what_we_added_a_moment_ago_counts_though_the_table_does_not_show_it_yet() {
    let mut installed = Installed::default();
    let old = wanted("2001:db8::1", 64);
    installed.done(&Step::Add(old.clone()));
    let new = wanted("2001:db8::1", 128);
    let steps = plan(&table(&[]), &installed, std::slice::from_ref(&new), &[]);
    assert_eq!(steps, [gone("2001:db8::1", 64), Step::Add(new.clone())]);
    let steps = plan(&table(&[]), &installed, &[], std::slice::from_ref(&new));
    assert_eq!(steps, [gone("2001:db8::1", 64), gone("2001:db8::1", 128)]);
    installed.done(&gone("2001:db8::1", 64));
    assert_eq!(plan(&table(&[]), &installed, std::slice::from_ref(&new), &[]), [Step::Add(new)]);
}
