//! What needs a network of its own: pings, marks, interfaces, hosts that cannot be reached.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;

use holdfast::checkers::config::{Probe, Target};
use holdfast::checkers::finding::Finding;
use holdfast::lab::host::Host;
use nix::mount::{MsFlags, mount};
use socket2::{Domain, Protocol, Type};

use crate::ask::{SHORT, ask, own_trouble, reason, target};
use crate::common::needs_root;

/// A host with addresses on loopback, an interface behind which nobody answers, and a network that cannot be reached.
fn host(name: &str) -> Host {
    let host = Host::new(name).expect("namespaces");
    host.run(|| {
        for command in [
            "ip link set lo up",
            "ip link add nowhere type veth peer name far",
            "ip link set far up",
            "ip link set nowhere up",
            "ip addr add 192.0.2.1/24 dev nowhere",
            // A neighbour that is known and silent.
            "ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev nowhere",
            "ip route add unreachable 198.51.100.0/24",
            "ip rule add fwmark 7 table 77",
            "ip route add unreachable default table 77",
            "ip rule del pref 0",
            "ip rule add pref 100000 table local",
        ] {
            let mut words = command.split(' ');
            let done = Command::new(words.next().expect("a program")).args(words).status().expect("ip runs");
            assert!(done.success(), "{command}");
        }
    });
    host
}

fn at(address: &str, port: u16) -> Target {
    let ip: IpAddr = address.parse().expect("an address");
    target(SocketAddr::new(ip, port))
}

/// For those that stay silent.
fn short(address: &str, port: u16) -> Target {
    Target { connect_timeout: SHORT, ..at(address, port) }
}

fn ask_on(host: &Host, probe: Probe) -> Finding {
    host.run(move || ask(probe))
}

#[test]
fn tcp_errors_are_told_apart() {
    needs_root!();
    let host = host("chk-tcp");
    let listener = host.run(|| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let port = listener.local_addr().expect("an address").port();
    let tcp = |target: Target| ask_on(&host, Probe::Tcp(target));
    assert_eq!(tcp(at("127.0.0.1", port)), Ok(0));
    assert_eq!(reason(tcp(at("127.0.0.1", 9))), "connection refused by 127.0.0.1:9");
    assert_eq!(reason(tcp(short("192.0.2.9", 80))), "connect: no answer from 192.0.2.9:80 within 3s");
    assert_eq!(reason(tcp(at("198.51.100.1", 80))), "no route to host 198.51.100.1:80");
    assert_eq!(reason(tcp(at("203.0.113.1", 80))), "network unreachable for 203.0.113.1:80");
    // The mark has its own routing table, where there is nothing.
    assert_eq!(
        reason(tcp(Target { fwmark: 7, ..at("127.0.0.1", port) })),
        format!("no route to host 127.0.0.1:{port}")
    );
    assert_eq!(tcp(Target { fwmark: 8, ..at("127.0.0.1", port) }), Ok(0));
    // Out of an interface behind which nobody answers.
    let bound = Target { bind_interface: Some("nowhere".to_owned()), ..short("127.0.0.1", port) };
    assert!(!matches!(tcp(bound), Ok(0)));
    let absent = Target { bind_interface: Some("absent".to_owned()), ..at("127.0.0.1", port) };
    assert_eq!(own_trouble(tcp(absent)), "bind_if absent: No such device (os error 19)");
}

/// The kernel's default lets nobody ping without a raw socket; keepalived widens the range, and so do we.
#[test]
fn pings_are_answered_or_not() {
    needs_root!();
    let host = host("chk-ping");
    let range = "/proc/sys/net/ipv4/ping_group_range";
    host.run(move || std::fs::write(range, "1 0").expect("a sysctl"));
    let ping = |target: Target| ask_on(&host, Probe::Ping(target));
    assert_eq!(ping(at("127.0.0.1", 0)), Ok(0));
    let widened = host.run(move || std::fs::read_to_string(range).expect("a sysctl"));
    assert_eq!(widened.split_ascii_whitespace().collect::<Vec<_>>(), ["0", "0"]);
    assert_eq!(ping(at("::1", 0)), Ok(0));
    assert_eq!(ping(Target { bind_to: Some([127, 0, 0, 9].into()), ..at("127.0.0.1", 0) }), Ok(0));
    assert_eq!(reason(ping(short("192.0.2.9", 0))), "ping: no answer from 192.0.2.9:0 within 3s");
    assert_eq!(reason(ping(at("198.51.100.1", 0))), "no route to host 198.51.100.1:0");
}

/// Where even that is forbidden, as in most containers, a raw socket serves.
#[test]
fn a_raw_socket_pings_where_echo_sockets_are_forbidden() {
    needs_root!();
    let host = host("chk-raw");
    let range = "/proc/sys/net/ipv4/ping_group_range";
    host.run(move || {
        std::fs::write(range, "1 0").expect("a sysctl");
        let bind = |from: Option<&str>, flags| mount(from, range, None::<&str>, MsFlags::MS_BIND | flags, None::<&str>);
        bind(Some(range), MsFlags::empty()).expect("a bind mount");
        bind(None, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY).expect("read-only");
        let echo = socket2::Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4));
        assert_eq!(echo.expect_err("forbidden").kind(), ErrorKind::PermissionDenied);
    });
    let ping = |target: Target| ask_on(&host, Probe::Ping(target));
    for address in ["127.0.0.1", "::1"] {
        assert_eq!(ping(at(address, 0)), Ok(0), "{address}");
    }
    let kept = host.run(move || std::fs::read_to_string(range).expect("a sysctl"));
    assert_eq!(kept.split_ascii_whitespace().collect::<Vec<_>>(), ["1", "0"], "nothing was widened");
    assert_eq!(reason(ping(short("192.0.2.9", 0))), "ping: no answer from 192.0.2.9:0 within 3s");
    assert_eq!(reason(ping(at("198.51.100.1", 0))), "no route to host 198.51.100.1:0");
}
