//! Links, addresses, sockets and announcements against the kernel, in network namespaces of their own.
//!
//! Needs root; without it each test says so and passes.
#![allow(clippy::disallowed_methods, missing_docs)] // Tests read the clock.

mod common;
#[path = "net/crash.rs"]
mod crash;
#[path = "net/flood.rs"]
mod flood;
#[path = "net/lan.rs"]
mod lan;
#[path = "net/process.rs"]
mod process;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use common::needs_root;
use holdfast::net::addresses::{AddressWriter, Written};
use holdfast::net::announce::Announcer;
use holdfast::net::frame;
use holdfast::net::heard::AnnouncementListener;
use holdfast::net::links::LinkChange;
use holdfast::net::monitor::Monitor;
use holdfast::net::socket::{AdvertSockets, Packet};
use holdfast::net::sys::{self, Readiness};
use holdfast::net::write_queue::{Announcement, Change, Owner};
use holdfast::vrrp::config::AddressConfig;
use holdfast::vrrp::engine::{BoundAddress, SocketKey, SocketSpec, Transmit};
use holdfast::vrrp::types::{Family, IfIndex, InstanceId, Link, Vrid};
use lan::{Capture, Lan, ip, is_advert_v4, is_advert_v6, readable};

const PATIENCE: Duration = Duration::from_secs(60);
const MAC_A: [u8; 6] = [2, 0, 0, 0, 0, 0x0a];

fn address(text: &str) -> IpAddr {
    text.parse().expect("a literal address")
}

/// The monitor of this thread's namespace, and its `eth0`.
fn monitor() -> (Monitor, Link) {
    let mut monitor = Monitor::open().expect("netlink");
    let changes = monitor.load(PATIENCE).expect("dump");
    let mut links = changes.into_iter().filter_map(|c| match c {
        LinkChange::Present(link) => Some(link),
        LinkChange::Gone(_) | LinkChange::PortForwards(_) => None,
    });
    let link = links.find(|l| l.name == "eth0").expect("eth0");
    (monitor, link)
}

/// Reads notifications until one is as wanted.
fn until<T>(monitor: &mut Monitor, mut wanted: impl FnMut(&LinkChange) -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = monitor.drain().expect("netlink").iter().find_map(&mut wanted) {
            return found;
        }
        let left = end.checked_duration_since(Instant::now()).expect("the change is reported in time");
        readable(&*monitor, left);
    }
}

fn eth0(change: &LinkChange) -> Option<&Link> {
    match change {
        LinkChange::Present(link) if link.name == "eth0" => Some(link),
        _ => None,
    }
}

#[test]
fn the_monitor_tells_links_and_addresses_as_they_change() {
    needs_root!();
    let lan = Lan::new();
    Lan::inside(&lan.a, || {
        let (mut monitor, link) = monitor();
        assert!(link.up && link.running && !link.loopback && !link.no_arp);
        assert_eq!((link.mtu, link.hardware.as_slice()), (1500, &MAC_A[..]));
        assert_eq!(link.addresses.iter().map(|a| a.address).collect::<Vec<_>>(), [address("192.0.2.1")]);

        ip(&format!("-n {} addr add 192.0.2.9/24 dev eth0", lan.a));
        let nine = address("192.0.2.9");
        let secondary = until(&mut monitor, |c| {
            eth0(c)?.addresses.iter().find(|a| a.address == nine).map(|a| (a.secondary, a.prefix_len))
        });
        assert_eq!(secondary, (true, 24));

        ip(&format!("-n {} addr add 2001:db8::9/64 dev eth0", lan.a));
        let v6 = address("2001:db8::9");
        let mut seen = Vec::new();
        until(&mut monitor, |c| {
            let tentative = eth0(c)?.addresses.iter().find(|a| a.address == v6)?.tentative;
            seen.push(tentative);
            (!tentative).then_some(())
        });
        assert_eq!(seen, [true, false], "duplicate address detection is seen to begin and to end");

        ip(&format!("-n {} link set eth0 down", lan.b));
        until(&mut monitor, |c| (!eth0(c)?.running).then_some(()));
        ip(&format!("-n {} link set eth0 up", lan.b));
        until(&mut monitor, |c| eth0(c)?.running.then_some(()));

        assert_eq!(monitor.drain().expect("netlink"), []);
        ip(&format!("-n {} link set eth0 promisc on", lan.a));
        ip(&format!("-n {} link set eth0 mtu 1400", lan.a));
        assert_eq!(until(&mut monitor, |c| eth0(c).map(|l| l.mtu)), 1400, "promisc is no change");

        ip(&format!("-n {} link del eth0", lan.a));
        until(&mut monitor, |c| (*c == LinkChange::Gone(link.index)).then_some(()));
    });
}

#[test]
fn the_monitor_dumps_again_after_an_overrun() {
    needs_root!();
    let lan = Lan::new();
    Lan::inside(&lan.a, || {
        let (mut monitor, link) = monitor();
        nix::sys::socket::setsockopt(&monitor, nix::sys::socket::sockopt::RcvBufForce, &2304).expect("small");
        let mut writer = AddressWriter::open().expect("netlink");
        let present = many(link.index, 500);
        writer.sync(Owner::Static, Change { generation: 1, present, absent: Vec::new() });
        write_all(&mut writer, &Monitor::open().expect("another"));
        // Reading is slower than the writer was: notifications are lost, the table is complete all the same.
        let end = Instant::now() + PATIENCE;
        while monitor.table().addresses(link.index).count() < 501 {
            assert!(Instant::now() < end, "{} addresses", monitor.table().addresses(link.index).count());
            monitor.drain().expect("netlink");
        }
    });
}

fn many(interface: IfIndex, count: u16) -> Vec<BoundAddress> {
    let config = |n: u16| AddressConfig::new([198, 18, n.to_be_bytes()[0], n.to_be_bytes()[1]].into());
    (0..count).map(|n| BoundAddress { interface, config: config(n), accept: true, own: false }).collect()
}

fn write_all(writer: &mut AddressWriter, monitor: &Monitor) -> Vec<Written> {
    let mut written = Vec::new();
    while !writer.is_idle() {
        written.extend(writer.advance(monitor.table()).expect("netlink"));
        if !writer.wants_turn() && !writer.is_idle() {
            assert!(readable(&*writer, PATIENCE), "the kernel answers");
        }
    }
    written
}

fn key(link: &Link, family: Family) -> SocketKey {
    SocketKey { interface: Some(link.index), family }
}

/// Runs with a reactor, inside a namespace.
fn with_sockets(namespace: &str, run: impl FnOnce(&mut AdvertSockets, &Monitor, &Link, &Readiness) + Send) {
    Lan::inside(namespace, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let readiness = Readiness::new().expect("epoll");
            let (monitor, link) = monitor();
            let mut sockets = AdvertSockets::default();
            let spec = |group: &str| SocketSpec {
                groups: BTreeSet::from([address(group)]),
                receive_buffer: None,
                instances: 1,
                vrids: BTreeSet::new(),
            };
            let desired = BTreeMap::from([
                (key(&link, Family::V4), spec("224.0.0.18")),
                (key(&link, Family::V6), spec("ff02::12")),
            ]);
            sockets.sync(desired, monitor.table(), &readiness);
            assert_eq!(sockets.open_count(), 2);
            run(&mut sockets, &monitor, &link, &readiness);
        });
    });
}

fn transmit(link: &Link, source: &str, destination: &str, ttl: Option<u8>) -> Transmit {
    let (source, destination) = (address(source), address(destination));
    Transmit {
        socket: key(link, Family::of(source)),
        source,
        destination,
        ttl,
        pdu: vec![0x31, 1, 100, 1, 0, 100, 7, 8],
    }
}

fn receive(sockets: &mut AdvertSockets) -> Packet {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(packet) = sockets.receive() {
            return packet;
        }
        assert!(Instant::now() < end, "a packet arrives");
        std::thread::yield_now();
    }
}

#[test]
fn adverts_are_byte_exact_on_the_wire_in_both_families() {
    needs_root!();
    let lan = Lan::new();
    let capture = Lan::inside(&lan.b, Capture::open);
    with_sockets(&lan.a, |sockets, _, link, _| {
        for id in [1, 2] {
            sockets.send(&transmit(link, "192.0.2.1", "224.0.0.18", Some(255))).expect("sent");
            let frame = capture.next(PATIENCE, is_advert_v4).expect("captured");
            let mut expected = vec![1, 0, 0x5e, 0, 0, 18, 2, 0, 0, 0, 0, 0x0a, 8, 0];
            // TOS 0xc0, the identification counts, no flags.
            expected.extend([0x45, 0xc0, 0, 28, 0, id, 0, 0, 255, 112]);
            expected.extend([frame[24], frame[25]]);
            expected.extend([192, 0, 2, 1, 224, 0, 0, 18, 0x31, 1, 100, 1, 0, 100, 7, 8]);
            assert_eq!(frame, expected);
        }
        // The source need not be an address of this host (IPV6_FREEBIND): it may just be going away.
        sockets.send(&transmit(link, "fe80::77", "ff02::12", Some(255))).expect("sent");
        let frame = capture.next(PATIENCE, is_advert_v6).expect("captured");
        let mut expected = vec![0x33, 0x33, 0, 0, 0, 0x12, 2, 0, 0, 0, 0, 0x0a, 0x86, 0xdd];
        // Traffic class 0xc0. The flow label is the kernel's.
        expected.extend([0x6c, frame[15], frame[16], frame[17], 0, 8, 112, 255]);
        expected.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x77]);
        expected.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12]);
        expected.extend([0x31, 1, 100, 1, 0, 100, 7, 8]);
        assert_eq!(frame, expected);
    });
}

#[test]
fn adverts_are_received_with_ttl_and_destination_and_own_ones_are_not() {
    needs_root!();
    let lan = Lan::new();
    with_sockets(&lan.a, |sockets, _, link, _| {
        with_sockets(&lan.b, |peer, _, other, _| {
            sockets.send(&transmit(link, "192.0.2.1", "224.0.0.18", Some(255))).expect("looped back to nobody");
            assert_eq!(receive(peer).source, address("192.0.2.1"));
            let cases = [
                ("192.0.2.2", "224.0.0.18", 254),
                ("192.0.2.2", "192.0.2.1", 17),
                ("fe80::2", "ff02::12", 255),
                ("fe80::2", "ff02::12", 3),
            ];
            for (source, destination, ttl) in cases {
                peer.send(&transmit(other, source, destination, Some(ttl))).expect("sent");
                let packet = receive(sockets);
                assert_eq!((packet.source, packet.destination), (address(source), address(destination)));
                assert_eq!((packet.ttl, packet.socket), (Some(ttl), key(link, Family::of(address(source)))));
                assert_eq!(packet.pdu, [0x31, 1, 100, 1, 0, 100, 7, 8]);
            }
            assert_eq!(sockets.receive(), None);
        });
    });
}

#[test]
fn packets_for_other_virtual_routers_stay_in_the_kernel() {
    needs_root!();
    let lan = Lan::new();
    with_sockets(&lan.a, |sockets, monitor, link, readiness| {
        let spec = |group: &str, vrids: &[u8]| SocketSpec {
            groups: BTreeSet::from([address(group)]),
            instances: 1,
            vrids: vrids.iter().filter_map(|vrid| Vrid::new(*vrid)).collect(),
            ..SocketSpec::default()
        };
        let want = |vrids: &[u8]| {
            BTreeMap::from([
                (key(link, Family::V4), spec("224.0.0.18", vrids)),
                (key(link, Family::V6), spec("ff02::12", vrids)),
            ])
        };
        let everyone: Vec<u8> = (1..=255).collect();
        with_sockets(&lan.b, |peer, _, other, _| {
            for (wanted, heard) in
                [(&[3, 255][..], vec![3, 255]), (&everyone, vec![1, 2, 3, 254, 255]), (&[], vec![1, 2, 3, 254, 255])]
            {
                sockets.sync(want(wanted), monitor.table(), readiness);
                for (source, destination) in [("192.0.2.2", "224.0.0.18"), ("fe80::2", "ff02::12")] {
                    for vrid in [1, 2, 3, 254, 255] {
                        let mut transmit = transmit(other, source, destination, Some(255));
                        transmit.pdu[1] = vrid;
                        peer.send(&transmit).expect("sent");
                    }
                    // The last of them is always heard, so that the silence of the others is no accident of time.
                    let got: Vec<u8> = heard.iter().map(|_| receive(sockets).pdu[1]).collect();
                    assert_eq!(got, heard, "{wanted:?} from {source}");
                    assert_eq!(sockets.receive(), None);
                }
            }
        });
    });
}

#[test]
fn groups_are_joined_left_and_kept() {
    needs_root!();
    let lan = Lan::new();
    with_sockets(&lan.a, |sockets, monitor, link, readiness| {
        let groups = |file: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).expect("proc");
        assert!(groups("igmp").contains("120000E0"), "224.0.0.18");
        assert!(groups("igmp6").contains("ff020000000000000000000000000012"));
        let spec = |instances| SocketSpec {
            groups: BTreeSet::from([address("224.0.0.19")]),
            receive_buffer: Some(1 << 20),
            instances,
            vrids: BTreeSet::new(),
        };
        for instances in [1, 1000] {
            let desired = BTreeMap::from([(key(link, Family::V4), spec(instances))]);
            sockets.sync(desired, monitor.table(), readiness);
        }
        assert_eq!(sockets.open_count(), 1);
        assert!(!groups("igmp").contains("120000E0") && groups("igmp").contains("130000E0"));
        assert!(!groups("igmp6").contains("ff020000000000000000000000000012"));
    });
}

#[test]
fn a_socket_whose_interface_is_missing_waits_for_it() {
    needs_root!();
    let lan = Lan::new();
    Lan::inside(&lan.a, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let readiness = Readiness::new().expect("epoll");
            let (mut monitor, _) = monitor();
            let missing = SocketKey { interface: Some(IfIndex(77)), family: Family::V4 };
            let mut sockets = AdvertSockets::default();
            let desired = BTreeMap::from([(missing, SocketSpec::default())]);
            sockets.sync(desired, monitor.table(), &readiness);
            assert_eq!(sockets.open_count(), 0);
            ip(&format!("-n {} link add late index 77 type veth peer name wire", lan.a));
            until(&mut monitor, |c| matches!(c, LinkChange::Present(l) if l.name == "late").then_some(()));
            sockets.repair(monitor.table(), &readiness);
            assert_eq!(sockets.open_count(), 1);
            readiness_wakes(&mut sockets, &readiness).await;
        });
    });
}

/// A set in which nothing is ready sleeps.
async fn readiness_wakes(sockets: &mut AdvertSockets, readiness: &Readiness) {
    assert_eq!(sockets.receive(), None);
    let slept = tokio::time::timeout(Duration::from_millis(20), readiness.wait()).await;
    assert!(slept.is_err(), "nothing is ready");
}

#[test]
fn hostile_packets_are_survived() {
    needs_root!();
    let lan = Lan::new();
    with_sockets(&lan.a, |sockets, _, _, _| {
        Lan::inside(&lan.b, || {
            let (_, link) = monitor();
            let raw = sys::frame_socket().expect("packet socket");
            let mut state = 0x2545_f491_4f6c_dd1d_u64;
            for n in 0..20_000_u32 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let noise = state.to_le_bytes();
                let mut frame = vec![1, 0, 0x5e, 0, 0, 18, 2, 0, 0, 0, 0, 0x0b, 8, 0];
                frame.extend([
                    0x45 + (noise[0] % 4),
                    noise[1],
                    0,
                    20 + noise[2] % 80,
                    0,
                    0,
                    noise[3] & 0x20,
                    0,
                    noise[4],
                    112,
                ]);
                frame.extend([0, 0, 192, 0, 2, noise[5], 224, 0, 0, 18]);
                frame.extend(noise.iter().cycle().take(usize::from(noise[6])));
                // A right header checksum, so that the kernel passes every other one on.
                if n % 2 == 0 {
                    let end = 14 + usize::from(frame[14] & 15) * 4;
                    frame.resize(frame.len().max(end), 0);
                    let sum: u32 = frame[14..end].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum();
                    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or(0);
                    frame[24..26].copy_from_slice(&sum.to_be_bytes());
                }
                let _ = sys::send_frame(&raw, link.index, &frame);
            }
        });
        let received = std::iter::from_fn(|| sockets.receive()).count();
        assert!(received > 100, "{received} came through");
    });
}

#[test]
fn packets_that_found_no_room_are_told_with_those_that_did() {
    needs_root!();
    let lan = Lan::new();
    with_sockets(&lan.a, |sockets, _, link, _| {
        let overflow = || {
            with_sockets(&lan.b, |others, _, link, _| {
                for _ in 0..3000 {
                    others.send(&transmit(link, "192.0.2.2", "224.0.0.18", Some(255))).expect("sent");
                }
            });
        };
        let drain = |sockets: &mut AdvertSockets| {
            sockets.begin_turn();
            let received = std::iter::from_fn(|| sockets.receive()).count();
            (received, sockets.take_overflown())
        };
        assert_eq!(drain(sockets), (0, BTreeSet::new()));
        for round in 0..2 {
            overflow();
            let (received, overflown) = drain(sockets);
            assert!((100..3000).contains(&received) && !sockets.is_flooded(), "round {round}: {received} found room");
            assert_eq!(overflown, BTreeSet::from([key(link, Family::V4)]), "round {round}");
            assert_eq!(sockets.take_overflown(), BTreeSet::new(), "round {round}: told once");
        }
        assert_eq!(drain(sockets), (0, BTreeSet::new()));
    });
}

#[test]
fn announcements_are_byte_exact_on_the_wire() {
    needs_root!();
    let lan = Lan::new();
    let capture = Lan::inside(&lan.b, Capture::open);
    Lan::inside(&lan.a, || {
        let (monitor, link) = monitor();
        let mut announcer = Announcer::open().expect("packet socket");
        let (v4, v6) = (address("192.0.2.10"), address("2001:db8::10"));
        let announcement =
            Announcement { instance: InstanceId(1), addresses: vec![(link.index, v4), (link.index, v6)], repeat: 2 };
        let is_na = |f: &[u8]| f.get(12..14) == Some(&[0x86, 0xdd]) && f.get(54) == Some(&136);
        for router in [false, true] {
            if router {
                std::fs::write("/proc/sys/net/ipv6/conf/eth0/forwarding", "1").expect("sysctl");
            }
            // The setting is read again after five seconds.
            let now = Instant::now() + Duration::from_secs(if router { 6 } else { 0 });
            announcer.push(&announcement);
            announcer.advance(now, monitor.table());
            for _ in 0..2 {
                let arp = capture.next(PATIENCE, |f| f.get(12..14) == Some(&[8, 6])).expect("ARP");
                assert_eq!(arp, frame::gratuitous_arp(MAC_A, [192, 0, 2, 10].into()));
            }
            let IpAddr::V6(target) = v6 else { unreachable!("a literal") };
            let na = capture.next(PATIENCE, is_na).expect("NA");
            assert_eq!(na, frame::unsolicited_na(MAC_A, target, router), "router {router}");
        }
        assert_eq!(announcer.counters().sent, 8);

        ip(&format!("-n {} link set eth0 arp off", lan.a));
        let mut monitor = monitor;
        until(&mut monitor, |c| eth0(c)?.no_arp.then_some(()));
        announcer.push(&announcement);
        announcer.advance(Instant::now(), monitor.table());
        assert_eq!((announcer.counters().sent, announcer.counters().skipped), (8, 4));
    });
}

#[test]
fn addresses_are_written_with_every_option() {
    needs_root!();
    let lan = Lan::new();
    Lan::inside(&lan.a, || {
        let (monitor, link) = monitor();
        let mut writer = AddressWriter::open().expect("netlink");
        let mut v4 = AddressConfig::new(address("198.51.100.7"));
        v4.prefix_len = 24;
        v4.scope = 253;
        v4.options.broadcast = Some([198, 51, 100, 255].into());
        v4.options.label = Some("eth0:vip".to_owned());
        v4.no_prefix_route = true;
        let mut group = AddressConfig::new(address("239.1.2.3"));
        group.autojoin = true;
        let mut peer = AddressConfig::new(address("203.0.113.1"));
        peer.options.peer = Some(address("203.0.113.2"));
        let v6 = AddressConfig::new(address("2001:db8::7"));
        let mut home = AddressConfig::new(address("2001:db8:1::7"));
        home.prefix_len = 64;
        home.preferred_lifetime = None;
        home.home = true;
        home.manage_temporary = true;
        home.dad = true;
        let present: Vec<_> = [v4, group, peer, v6, home]
            .map(|config| BoundAddress { interface: link.index, config, accept: true, own: false })
            .into();
        let change = Change { generation: 4, present: present.clone(), absent: Vec::new() };
        for _ in 0..2 {
            writer.sync(Owner::Instance(InstanceId(1)), change.clone());
            let done = Written::Synced { owner: Owner::Instance(InstanceId(1)), generation: 4, failures: Vec::new() };
            assert_eq!(write_all(&mut writer, &monitor), [done], "the second time everything stands already");
        }
        let shown = ip(&format!("-n {} -d addr show dev eth0", lan.a));
        let line = |wanted: &str| {
            let found = shown.lines().find(|l| l.contains(wanted)).unwrap_or_else(|| panic!("{wanted}: {shown}"));
            found.to_owned()
        };
        let v4 = line("inet 198.51.100.7/24 brd 198.51.100.255 scope link");
        assert!(["noprefixroute", "eth0:vip"].iter().all(|w| v4.contains(w)), "{v4}");
        assert!(line("inet 239.1.2.3/32").contains("autojoin"));
        line("inet 203.0.113.1 peer 203.0.113.2/32");
        let v6 = line("inet6 2001:db8::7/128");
        assert!(v6.contains("deprecated") && v6.contains("nodad") && !v6.contains("tentative"), "{v6}");
        let home = line("inet6 2001:db8:1::7/64");
        assert!(home.contains("home") && home.contains("mngtmpaddr") && !home.contains("nodad"), "{home}");

        let absent = Change { generation: 5, present: Vec::new(), absent: present };
        for _ in 0..2 {
            writer.sync(Owner::Instance(InstanceId(1)), absent.clone());
            let written = write_all(&mut writer, &monitor);
            assert!(matches!(&written[..], [Written::Synced { failures, .. }] if failures.is_empty()), "{written:?}");
        }
        let shown = ip(&format!("-n {} addr show dev eth0", lan.a));
        assert!(shown.contains("192.0.2.1/24") && !shown.contains("198.51.100") && !shown.contains("2001:db8"));
    });
}

#[test]
fn a_changed_prefix_replaces_the_address_and_leaves_the_hosts_own() {
    needs_root!();
    let lan = Lan::new();
    Lan::inside(&lan.a, || {
        let (mut monitor, link) = monitor();
        let mut writer = AddressWriter::open().expect("netlink");
        let own = AddressConfig::new(address("192.0.2.1")); // the host has it as /24
        let mut vip = AddressConfig::new(address("2001:db8::7"));
        let bound = |config: &AddressConfig| BoundAddress {
            interface: link.index,
            config: config.clone(),
            accept: true,
            own: false,
        };
        for (generation, prefix_len) in [(1, 64), (2, 128)] {
            vip.prefix_len = prefix_len;
            let present = vec![bound(&own), bound(&vip)];
            writer.sync(Owner::Static, Change { generation, present, absent: Vec::new() });
            write_all(&mut writer, &monitor);
            monitor.drain().expect("netlink");
            let shown = ip(&format!("-n {} addr show dev eth0", lan.a));
            assert!(shown.contains(&format!("2001:db8::7/{prefix_len}")), "{shown}");
            assert!(shown.contains("192.0.2.1/24") && shown.contains("192.0.2.1/32"), "{shown}");
        }
        vip.prefix_len = 48; // not what stands there; it is ours all the same
        let absent = vec![bound(&own), bound(&vip)];
        writer.sync(Owner::Static, Change { generation: 3, present: Vec::new(), absent });
        write_all(&mut writer, &monitor);
        let shown = ip(&format!("-n {} addr show dev eth0", lan.a));
        assert!(shown.contains("192.0.2.1/24"), "{shown}");
        assert!(!shown.contains("192.0.2.1/32") && !shown.contains("2001:db8::7"), "{shown}");
    });
}

#[test]
fn refusals_are_told_and_not_announced() {
    needs_root!();
    let lan = Lan::new();
    Lan::inside(&lan.a, || {
        let (monitor, link) = monitor();
        std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1").expect("sysctl");
        let mut writer = AddressWriter::open().expect("netlink");
        let owner = InstanceId(3);
        let both = ["192.0.2.10", "2001:db8::10"].map(address);
        let present: Vec<_> = both
            .map(|a| BoundAddress { interface: link.index, config: AddressConfig::new(a), accept: true, own: false })
            .into();
        writer.sync(Owner::Instance(owner), Change { generation: 1, present, absent: Vec::new() });
        let addresses = both.map(|a| (link.index, a)).into();
        writer.announce(Announcement { instance: owner, addresses, repeat: 5 });
        let written = write_all(&mut writer, &monitor);
        let [Written::Synced { failures, .. }, Written::Announce(announcement)] = &written[..] else {
            panic!("in this order: {written:?}")
        };
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert!(failures[0].starts_with("cannot add 2001:db8::10/128 to eth0: "), "{failures:?}");
        assert_eq!(announcement.addresses, [(link.index, both[0])]);
    });
}

#[test]
fn a_thousand_addresses_come_and_go() {
    needs_root!();
    let lan = Lan::new();
    Lan::inside(&lan.a, || {
        let (monitor, link) = monitor();
        let mut writer = AddressWriter::open().expect("netlink");
        let all = many(link.index, 1000);
        for (present, absent, count) in [(all.clone(), Vec::new(), 1001), (Vec::new(), all, 1)] {
            let begun = Instant::now();
            writer.sync(Owner::Static, Change { generation: 1, present, absent });
            let written = write_all(&mut writer, &monitor);
            let took = begun.elapsed();
            assert!(matches!(&written[..], [Written::Synced { failures, .. }] if failures.is_empty()), "{written:?}");
            println!("{took:?}");
            let shown = ip(&format!("-n {} -4 -o addr show dev eth0", lan.a));
            assert_eq!(shown.lines().count(), count);
        }
    });
}

/// The addresses in the filter of this thread's namespace.
fn filtered() -> usize {
    let output = std::process::Command::new("nft").args(["list", "set", "inet", "holdfast", "vips4"]).output();
    let text = String::from_utf8_lossy(&output.expect("nft").stdout).into_owned();
    text.matches("198.18.").count()
}

#[test]
fn the_filter_holds_thousands_and_keeps_what_one_of_two_owners_still_needs() {
    needs_root!();
    if std::process::Command::new("nft").arg("--version").output().is_err() {
        println!("skipped: needs nft");
        return;
    }
    let lan = Lan::new();
    Lan::inside(&lan.a, || {
        let (monitor, link) = monitor();
        let mut writer = AddressWriter::open().expect("netlink");
        let mut all = many(link.index, 4000);
        all.iter_mut().for_each(|bound| bound.accept = false);
        let (some, none) = (all[..10].to_vec(), Vec::new);
        let [first, second] = [1, 2].map(|n| Owner::Instance(InstanceId(n)));
        writer.sync(first, Change { generation: 1, present: all.clone(), absent: none() });
        writer.sync(second, Change { generation: 1, present: some.clone(), absent: none() });
        write_all(&mut writer, &monitor);
        assert_eq!(filtered(), 4000);
        // The engine leaves what another instance holds out of the absent ones.
        writer.sync(first, Change { generation: 2, present: none(), absent: all[10..].to_vec() });
        // Asked for, and not yet carried out: its addresses stand, and stay filtered.
        writer.advance(monitor.table()).expect("netlink");
        assert_eq!(filtered(), 4000, "addresses first");
        write_all(&mut writer, &monitor);
        assert_eq!(filtered(), 10, "what the second one needs");
        writer.sync(second, Change { generation: 2, present: none(), absent: some });
        write_all(&mut writer, &monitor);
        assert_eq!(filtered(), 0);
        writer.remove_filter();
    });
    assert_eq!(Lan::inside(&lan.a, || ip(&format!("netns exec {} nft list tables", lan.a))), "");
}

#[test]
fn announcements_of_others_are_heard_with_their_link() {
    needs_root!();
    let lan = Lan::new();
    Lan::inside(&lan.a, || {
        let (_, link) = monitor();
        let mut listener = AnnouncementListener::open().expect("packet socket");
        let mut claims = AnnouncementListener::open_for_claims().expect("packet socket");
        let v6 = |text: &str| match address(text) {
            IpAddr::V6(address) => address,
            IpAddr::V4(_) => unreachable!("a literal"),
        };
        let mac = [2, 0, 0, 0, 0, 0x0b];
        let mut reply = frame::gratuitous_arp(mac, [192, 0, 2, 51].into());
        reply[14 + 7] = 2;
        reply[14 + 24..14 + 28].copy_from_slice(&[192, 0, 2, 1]);
        let mut solicitation = frame::unsolicited_na(mac, v6("2001:db8::53"), false);
        solicitation[14 + 40] = 135;
        let mut data = frame::gratuitous_arp(mac, [192, 0, 2, 54].into());
        data[12..14].copy_from_slice(&[8, 0]);
        let send = |frames: &[Vec<u8>], index| {
            let socket = sys::frame_socket().expect("packet socket");
            for frame in frames {
                sys::send_frame(&socket, index, frame).expect("sent");
            }
        };
        // Our own, and other traffic, come first: what is heard is all that there was before the last one.
        send(&[frame::gratuitous_arp(MAC_A, [192, 0, 2, 50].into())], link.index);
        send(&[frame::unsolicited_na(MAC_A, v6("2001:db8::50"), false)], link.index);
        Lan::inside(&lan.b, || {
            let (_, other) = monitor();
            let frames = [
                solicitation.clone(),
                data.clone(),
                frame::gratuitous_arp(mac, [192, 0, 2, 50].into()),
                reply.clone(),
                frame::unsolicited_na(mac, v6("2001:db8::52"), true),
            ];
            send(&frames, other.index);
        });
        let mut heard = Vec::new();
        while !heard.iter().any(|(_, heard, _)| *heard == address("2001:db8::52")) {
            assert!(readable(&listener, PATIENCE), "only {heard:?}");
            heard.extend(listener.drain());
        }
        let by = |text: &str| (link.index, address(text), Some(mac));
        assert_eq!(heard, ["192.0.2.50", "192.0.2.51", "2001:db8::52"].map(by));
        let mut claimed = Vec::new();
        while claimed.is_empty() {
            assert!(readable(&claims, PATIENCE), "no claim");
            claimed.extend(claims.drain());
        }
        assert_eq!(claimed, [by("192.0.2.50")], "no replies, and nothing else");
    });
}
