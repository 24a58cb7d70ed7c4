//! What the links of the host mean: sources, sockets, and who gets a packet.

use super::super::config::{InstanceConfig, Track, TrackerKey, Transport, VrrpConfig};
use super::super::engine::{Effect, Input, LinkNews, SocketKey, SocketSpec, VrrpEngine};
use super::super::types::{Family, IfIndex, Link, LinkAddress, Vrid};
use super::host::{Host, a, add_b, instance, ip, link, unicast, v3, v6, vips};
use super::wire::Wire;

/// A cable that carries a thousand VLANs is pulled out: what follows is found out once, and each has its own reason.
#[test]
fn links_that_change_together_are_looked_at_together() {
    let mut config = v3();
    add_b(&mut config);
    let track = Track { tracker: TrackerKey::Interface("eth1".to_owned()), weight: -20, reverse: false };
    a(&mut config).tracks = vec![track];
    let mut host = Host::start(config);
    host.play("wait 4000");
    host.forget();
    let down = |index| LinkNews::Present(Link { running: false, ..link(index) });
    host.input(Input::Links(vec![down(2), LinkNews::Present(Link { mtu: 1400, ..link(1) })]));
    assert_eq!(host.state(), "A MASTER 80, B FAULT 100, 609.375 ms");
    let told = |what: &str| host.said.iter().filter(|line| line.contains(what)).cloned().collect::<Vec<_>>();
    assert_eq!(told("priority 100 -> 80"), ["priority 100 -> 80: interface eth1 is down"]);
    assert_eq!(told("B: MASTER -> FAULT"), ["B: MASTER -> FAULT: interface eth1 is down"]);
    host.forget();
    host.input(Input::Links(vec![LinkNews::Gone(IfIndex(1)), LinkNews::Gone(IfIndex(2))]));
    assert_eq!(host.state(), "A FAULT 80, B FAULT 100, waits for nothing");
    assert_eq!(host.said.iter().filter(|line| line.starts_with("sockets")).count(), 1, "{:?}", host.said);
    host.forget();
    host.input(Input::Links(vec![LinkNews::Present(link(1)), LinkNews::Present(link(2))]));
    assert_eq!(host.said.iter().filter(|line| line.starts_with("sockets")).count(), 1, "{:?}", host.said);
    host.play("wait 4000");
    assert_eq!(host.state(), "A MASTER 100, B MASTER 100, 609.375 ms");
}

/// An address of a link, whether it is tentative, whether it is secondary.
type Carried = (&'static str, bool, bool);

/// The source of adverts, or why there is none, for a link with these addresses.
fn source(config: VrrpConfig, addresses: &[Carried]) -> String {
    let mut host = Host::start(config);
    let address = |(text, tentative, secondary): &Carried| LinkAddress {
        address: ip(text),
        prefix_len: 64,
        tentative: *tentative,
        secondary: *secondary,
    };
    host.input(Input::Link(Link { addresses: addresses.iter().map(address).collect(), ..link(1) }));
    let shown = host.snapshot("A");
    shown.source.map_or(shown.cause.to_string(), |source| source.to_string())
}

#[test]
fn the_source_is_the_primary_address() {
    let none = "interface eth0 has no address to send from";
    let tentative = ("fe80::2", true, false);
    let rows: [(&str, VrrpConfig, &[Carried], &str); 8] = [
        ("RFC 9568 §5.1.1.1: the first", v3(), &[("10.0.0.2", false, false), ("10.0.0.3", false, false)], "10.0.0.2"),
        ("no secondary one", v3(), &[("10.0.0.2", false, true), ("10.0.0.3", false, false)], "10.0.0.3"),
        ("no virtual one", v3(), &[("10.0.0.100", false, false), ("10.0.0.3", false, false)], "10.0.0.3"),
        ("of the family", v3(), &[("fe80::2", false, false)], none),
        ("RFC 9568 §5.1.2.1: link-local", v6(), &[("fd00::2", false, false), ("fe80::2", false, false)], "fe80::2"),
        ("nothing else will do", v6(), &[("fd00::2", false, false)], none),
        ("duplicate address detection has ended", v6(), &[tentative], none),
        ("another one meanwhile", v6(), &[tentative, ("fe80::3", false, false)], "fe80::3"),
    ];
    for (text, config, addresses, want) in rows {
        assert_eq!(source(config, addresses), want, "{text}");
    }
}

#[test]
fn a_loopback_interface_carries_no_vrrp() {
    let mut host = Host::start(v3());
    host.input(Input::Link(Link { loopback: true, ..link(1) }));
    assert_eq!(host.snapshot("A").cause.to_string(), "eth0 is a loopback interface, which carries no VRRP");
}

/// A master says which of its addresses it lacks, once, and puts them on when their interface comes.
#[test]
fn an_address_whose_interface_is_not_there_is_told_of() {
    let mut config = v3();
    a(&mut config).excluded = vips(&["10.9.0.1"]);
    a(&mut config).excluded[0].options.device = Some("eth7".to_owned());
    let mut host = Host::start(config);
    host.invariants.links_move = true;
    let told =
        |host: &Host| host.said.iter().filter(|line| line.contains("address failed")).cloned().collect::<Vec<_>>();
    assert_eq!(told(&host), Vec::<String>::new(), "a backup needs none");
    host.play("wait 4000; readdress; down eth1");
    let sentence = "address failed: 10.9.0.1/32 is not put on: interface eth7 does not exist";
    assert_eq!(told(&host), [sentence]);
    host.forget();
    host.input(Input::Link(link(8)));
    let line = host.said.iter().find(|line| line.contains("10.9.0.1")).expect("it is put on");
    assert!(!line.contains("failed"), "{line}");
    host.input(Input::LinkGone(IfIndex(8)));
    assert_eq!(told(&host), [sentence], "again when it goes");
}

fn sockets(config: VrrpConfig) -> Vec<(SocketKey, SocketSpec)> {
    let now = Host::start(v3()).now;
    let mut engine = VrrpEngine::new(now, config, &[]);
    engine.handle_input(now, Input::Link(link(1)));
    engine.handle_input(now, Input::Link(link(2)));
    let mut last = Vec::new();
    while let Some(effect) = engine.poll_effect() {
        if let Effect::SyncSockets { desired } = effect {
            last = desired.into_iter().collect();
        }
    }
    last
}

#[test]
fn one_socket_for_each_link_and_family() {
    let mut config = v3();
    a(&mut config).receive_buffer = Some(1000);
    add_b(&mut config);
    let b = instance(&mut config, "B");
    b.interface = Some("eth0".to_owned());
    b.receive_buffer = Some(3000);
    b.transport = Transport::Multicast { group: ip("224.0.0.99") };
    let mut sixth: InstanceConfig = a(&mut v6()).clone();
    sixth.vrid = Vrid::new(60).expect("not 0");
    config.instances.insert("S".to_owned(), sixth);
    let key = |family| SocketKey { interface: Some(IfIndex(1)), family };
    let spec = |groups: &[&str], receive_buffer, vrids: &[u8]| SocketSpec {
        groups: groups.iter().map(|group| ip(group)).collect(),
        receive_buffer,
        instances: vrids.len(),
        vrids: vrids.iter().filter_map(|vrid| Vrid::new(*vrid)).collect(),
    };
    assert_eq!(
        sockets(config),
        [
            (key(Family::V4), spec(&["224.0.0.18", "224.0.0.99"], Some(3000), &[51, 52])),
            (key(Family::V6), spec(&["ff02::12"], None, &[60])),
        ]
    );
    let mut config = v3();
    a(&mut config).transport = unicast(&["10.0.0.3"]);
    a(&mut config).interface = None;
    a(&mut config).source = Some(ip("10.0.0.2"));
    let anywhere = SocketKey { interface: None, family: Family::V4 };
    assert_eq!(sockets(config), [(anywhere, spec(&[], None, &[51]))], "unicast needs no membership");
}

/// Two unicast instances may have one VRID on one interface: their peers differ.
#[test]
fn a_packet_goes_to_the_instance_whose_peer_sent_it() {
    let mut config = v3();
    a(&mut config).transport = unicast(&["10.0.0.3"]);
    let mut b = a(&mut config).clone();
    b.transport = unicast(&["10.0.0.4"]);
    b.addresses = vips(&["10.0.0.101"]);
    config.instances.insert("B".to_owned(), b);
    let mut host = Host::start(config.clone());
    for (name, peer) in [("A", "10.0.0.3"), ("B", "10.0.0.4")] {
        let mut wire = Wire::from_peer(instance(&mut config, name));
        wire.source = ip(peer);
        host.receive(&wire);
    }
    for (name, peer) in [("A", "10.0.0.3"), ("B", "10.0.0.4")] {
        let shown = host.snapshot(name);
        assert_eq!((shown.counters.advert_rcvd, shown.master.map(|m| m.address)), (1, Some(ip(peer))), "{name}");
    }
}

/// A packet for another link's instance of the same VRID is not ours.
#[test]
fn a_vrid_belongs_to_its_link() {
    let mut config = v3();
    let mut host = Host::start(config.clone());
    let mut wire = Wire::from_peer(a(&mut config));
    wire.socket = SocketKey { interface: Some(IfIndex(2)), family: Family::V4 };
    host.receive(&wire);
    assert_eq!((host.snapshot("A").counters.advert_rcvd, host.engine.snapshot().unknown_vrid), (0, 1));
}

/// RFC 9568 §5.2.5 and the MTU: addresses beyond one packet are held, not advertised.
#[test]
fn an_advert_fits_the_link() {
    let list: Vec<String> = (1..=30).map(|n| format!("10.0.1.{n}")).collect();
    let mut config = v3();
    a(&mut config).addresses = vips(&list.iter().map(String::as_str).collect::<Vec<_>>());
    let mut host = Host::start(config);
    host.input(Input::Link(Link { mtu: 68, ..link(1) }));
    host.play("wait 4000");
    assert_eq!((host.sent[0].pdu[3], host.sent[0].pdu.len()), (10, 48), "20 bytes of IP and these");
    assert!(host.invariants.has(ip("10.0.1.30")), "the last one is held all the same");
}
