//! Traffic of every kind of service and every way to a real server, beyond TCP over IPv4: UDP, one-packet scheduling,
//! firewall marks, IPv6, gre and gue tunnels, FTP.
#![allow(clippy::disallowed_methods, reason = "bounds real waiting")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroU32;
use std::time::Duration;

use holdfast::ipvs::config::SchedulerFlags;
use holdfast::ipvs::dataplane::Dataplane;
use holdfast::ipvs::kernel::Kernel;
use holdfast::ipvs::table::{Destination, Operation, ServiceSettings};
use holdfast::ipvs::types::{ForwardMethod, Protocol, Scheduler, ServiceKey, SocketKey, Tunnel, TunnelChecksum};
use holdfast::lab::host::Host;
use holdfast::lab::lan::{self, Lan};
use holdfast::lab::server::Server;
use holdfast::vrrp::types::Family;

use crate::in_guest;
use crate::serving::Serving;
use crate::tools::run;
use crate::traffic::{counts, request, sysctl};

const PATIENCE: Duration = Duration::from_secs(60);
pub const VIP: &str = "10.52.0.100";
pub const VIP6: &str = "fd52::100";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A client, a director and two real servers with HTTP, on one switch, in both families.
pub struct World {
    client: Host,
    pub director: Host,
    pub reals: Vec<Host>,
    _servers: Vec<Server>,
    _lan: Lan,
}

impl World {
    pub fn new() -> Self {
        let mut lan = Lan::new("switch").unwrap();
        let mut host = |name: &str, last: u8| {
            let host = Host::new(name).unwrap();
            let addresses = [(ip(&format!("10.52.0.{last}")), 24), (ip(&format!("fd52::{last}")), 64)];
            lan.plug(&host, "eth0", &addresses).unwrap();
            host
        };
        let (client, director) = (host("client", 1), host("director", 11));
        let reals = vec![host("r1", 21), host("r2", 22)];
        lan.wait_ready().unwrap();
        let forwarding = [("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")];
        sysctl(&director, &forwarding);
        let redirects = [("net/ipv4/conf/all/send_redirects", "0"), ("net/ipv4/conf/eth0/send_redirects", "0")];
        sysctl(&director, &redirects);
        lan::add_address(&director, "eth0", ip(VIP), 32).unwrap();
        lan::add_address(&director, "eth0", ip(VIP6), 128).unwrap();
        for real in &reals {
            sysctl(real, &[("net/ipv4/conf/all/arp_ignore", "1"), ("net/ipv4/conf/all/arp_announce", "2")]);
            sysctl(real, &[("net/ipv4/conf/all/rp_filter", "0"), ("net/ipv4/conf/default/rp_filter", "0")]);
        }
        let servers = reals.iter().map(|real| Server::start(real).unwrap()).collect();
        Self { client, director, reals, _servers: servers, _lan: lan }
    }

    /// NAT: the way back to the client leads through the director.
    fn back_through_the_director(&self) {
        for real in &self.reals {
            real.run(|| {
                run("ip", &["route", "add", "10.52.0.1/32", "via", "10.52.0.11"]);
                run("ip", &["-6", "route", "add", "fd52::1/128", "via", "fd52::11"]);
            });
            // A director cannot be told to send no redirects with IPv6.
            sysctl(real, &[("net/ipv6/conf/eth0/accept_redirects", "0")]);
        }
    }

    pub fn hold(&self, interface: &str, vip: &str) {
        for real in &self.reals {
            lan::add_address(real, interface, ip(vip), if ip(vip).is_ipv4() { 32 } else { 128 }).unwrap();
        }
    }

    /// One service with both real servers.
    pub fn serve(&self, key: ServiceKey, settings: ServiceSettings, reals: [SocketKey; 2], method: ForwardMethod) {
        let to = Destination { method, weight: 1, ..Destination::default() };
        let servers = reals.map(|real| Operation::AddDestination(key, real, to));
        self.apply(std::iter::once(Operation::AddService(key, settings)).chain(servers).collect());
    }

    /// On the director.
    pub fn apply(&self, operations: Vec<Operation>) {
        let refusals = self.director.run(move || Kernel::default().apply(&operations));
        assert!(refusals.is_empty(), "{refusals:?}");
    }

    /// HTTP over four connections.
    pub fn answers(&self, vip: &str, port: u16) -> BTreeMap<String, usize> {
        let address = SocketAddr::new(ip(vip), port);
        self.client.run(move || {
            let mut answers = BTreeMap::new();
            for _ in 0..4 {
                let mut stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
                *answers.entry(request(&mut stream)).or_default() += 1;
            }
            answers
        })
    }
}

pub fn round_robin() -> ServiceSettings {
    ServiceSettings { scheduler: Scheduler::Rr, ..ServiceSettings::default() }
}

pub fn key(protocol: Protocol, vip: &str, port: u16) -> ServiceKey {
    ServiceKey::Address { protocol, address: SocketKey::new(ip(vip), port) }
}

pub fn reals(family: Family, port: u16) -> [SocketKey; 2] {
    let prefix = if family == Family::V4 { "10.52.0." } else { "fd52::" };
    [21, 22].map(|last| SocketKey::new(ip(&format!("{prefix}{last}")), port))
}

pub fn both() -> BTreeMap<String, usize> {
    counts([("r1", 2), ("r2", 2)])
}

#[test]
fn ipv6_by_nat_and_direct_routing() {
    in_guest!();
    let world = World::new();
    world.back_through_the_director();
    world.serve(key(Protocol::Tcp, VIP6, 8080), round_robin(), reals(Family::V6, 80), ForwardMethod::Nat);
    assert_eq!(world.answers(VIP6, 8080), both());
    world.hold("lo", VIP6);
    world.serve(key(Protocol::Tcp, VIP6, 80), round_robin(), reals(Family::V6, 80), ForwardMethod::Dr);
    assert_eq!(world.answers(VIP6, 80), both());
}

/// Who answers datagrams, sent by one socket each or all by one.
fn datagrams(client: &Host, port: u16, count: usize, one_socket: bool) -> BTreeMap<String, usize> {
    client.run(move || {
        let socket = || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            socket.connect(SocketAddr::new(ip(VIP), port)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        };
        let shared = socket();
        let mut answers = BTreeMap::new();
        for _ in 0..count {
            let socket = if one_socket { shared.try_clone().unwrap() } else { socket() };
            socket.send(b"who").unwrap();
            let mut answer = [0; 64];
            let length = socket.recv(&mut answer).unwrap();
            *answers.entry(String::from_utf8_lossy(&answer[..length]).into_owned()).or_default() += 1;
        }
        answers
    })
}

#[test]
fn udp_keeps_a_flow_together_and_one_packet_scheduling_does_not() {
    in_guest!();
    let world = World::new();
    world.hold("lo", VIP);
    let _servers = world.reals.iter().map(|real| Serving::udp(real, SocketAddr::new(ip(VIP), 53))).collect::<Vec<_>>();
    world.serve(key(Protocol::Udp, VIP, 53), round_robin(), reals(Family::V4, 53), ForwardMethod::Dr);
    assert_eq!(datagrams(&world.client, 53, 4, false), both());
    assert_eq!(datagrams(&world.client, 53, 4, true).into_values().collect::<Vec<_>>(), [4]);
    let flags = SchedulerFlags { one_packet: true, ..SchedulerFlags::default() };
    world.apply(vec![Operation::EditService(key(Protocol::Udp, VIP, 53), ServiceSettings { flags, ..round_robin() })]);
    assert_eq!(datagrams(&world.client, 53, 4, true), both());
}

#[test]
fn a_firewall_mark_gathers_two_ports() {
    in_guest!();
    let tool = "/usr/sbin/iptables-legacy";
    if !std::path::Path::new(tool).exists() {
        return crate::common::skipped("needs the package iptables");
    }
    let world = World::new();
    world.hold("lo", VIP);
    let _others: Vec<Server> = world.reals.iter().map(|real| Server::start_on(real, 81).unwrap()).collect();
    world.director.run(move || {
        let rule = ["-t", "mangle", "-A", "PREROUTING", "-d", VIP, "-p", "tcp", "--dport", "80:81", "-j", "MARK"];
        run(tool, &[&rule[..], &["--set-mark", "7"]].concat());
    });
    let key = ServiceKey::Fwmark { family: Family::V4, mark: NonZeroU32::new(7).unwrap() };
    world.serve(key, round_robin(), reals(Family::V4, 0), ForwardMethod::Dr);
    assert_eq!(world.answers(VIP, 80), both());
    assert_eq!(world.answers(VIP, 81), both());
    let counters = world.director.run(|| Kernel::default().counters()).unwrap();
    assert!(counters.contains_key(&key), "{counters:?}");
}

/// Whether the guest's kernel has these modules; says so when not.
pub fn modules(names: &[&str]) -> bool {
    let missing = names.iter().find(|name| {
        let output = crate::tools::output("modprobe", &[name]);
        !output.status.success()
    });
    if let Some(name) = missing {
        crate::common::skipped(&format!("the guest's kernel has no module {name}"));
    }
    missing.is_none()
}

#[test]
fn gre_and_gue_tunnels_carry_http() {
    in_guest!();
    if !modules(&["ip_gre", "ipip", "fou"]) {
        return;
    }
    let world = World::new();
    for (real, own) in world.reals.iter().zip(["10.52.0.21", "10.52.0.22"]) {
        real.run(move || {
            run("ip", &["link", "add", "gre1", "type", "gre", "local", own, "remote", "10.52.0.11"]);
            run("ip", &["link", "set", "gre1", "up"]);
            run("ip", &["link", "set", "tunl0", "up"]);
            run("ip", &["fou", "add", "port", "6080", "gue"]);
        });
        sysctl(real, &[("net/ipv4/conf/gre1/rp_filter", "0"), ("net/ipv4/conf/tunl0/rp_filter", "0")]);
    }
    world.hold("gre1", VIP);
    let gre = |checksum| ForwardMethod::Tun(Tunnel::Gre { checksum });
    let gue = |checksum| ForwardMethod::Tun(Tunnel::Gue { port: 6080, checksum });
    let kinds = [gre(TunnelChecksum::None), gue(TunnelChecksum::None), gue(TunnelChecksum::Checksum)];
    for method in kinds {
        let key = key(Protocol::Tcp, VIP, 80);
        world.serve(key, round_robin(), reals(Family::V4, 80), method);
        assert_eq!(world.answers(VIP, 80), both(), "{method:?}");
        world.apply(vec![Operation::RemoveService(key)]);
    }
}

/// Control connections that know PASV only, and data connections that tell a name.
fn ftp(host: &Host, own: Ipv4Addr) -> Serving {
    let name = host.name().to_owned();
    Serving::tcp(host, 21, move |mut control| {
        control.write_all(b"220 ready\r\n").unwrap();
        let data = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let mut lines = BufReader::new(control.try_clone().unwrap()).lines();
        while let Some(Ok(line)) = lines.next() {
            if line.trim() == "PASV" {
                let [high, low] = data.local_addr().unwrap().port().to_be_bytes();
                let [a, b, c, d] = own.octets();
                let answer = format!("227 Entering Passive Mode ({a},{b},{c},{d},{high},{low}).\r\n");
                control.write_all(answer.as_bytes()).unwrap();
                let (mut connection, _) = data.accept().unwrap();
                connection.write_all(name.as_bytes()).unwrap();
            }
        }
    })
}

#[test]
fn passive_ftp_comes_through_the_helper() {
    in_guest!();
    if !modules(&["ip_vs", "ip_vs_ftp"]) {
        return;
    }
    let world = World::new();
    world.back_through_the_director();
    let own = [Ipv4Addr::new(10, 52, 0, 21), Ipv4Addr::new(10, 52, 0, 22)];
    let _servers = world.reals.iter().zip(own).map(|(real, own)| ftp(real, own)).collect::<Vec<_>>();
    world.serve(key(Protocol::Tcp, VIP, 21), round_robin(), reals(Family::V4, 21), ForwardMethod::Nat);
    let mut told = BTreeSet::new();
    for _ in 0..2 {
        let (address, name) = world.client.run(|| {
            let control = TcpStream::connect_timeout(&SocketAddr::new(ip(VIP), 21), PATIENCE).unwrap();
            control.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut lines = BufReader::new(control.try_clone().unwrap()).lines();
            assert_eq!(lines.next().unwrap().unwrap(), "220 ready");
            (&control).write_all(b"PASV\r\n").unwrap();
            let line = lines.next().unwrap().unwrap();
            let numbers: Vec<u8> = line
                .split(|c: char| !c.is_ascii_digit())
                .filter(|word| !word.is_empty())
                .skip(1)
                .map(|word| word.parse().unwrap())
                .collect();
            let &[a, b, c, d, high, low] = &numbers[..] else { panic!("{line}") };
            let address = Ipv4Addr::new(a, b, c, d);
            let data = SocketAddr::from((address, u16::from_be_bytes([high, low])));
            let mut connection = TcpStream::connect_timeout(&data, PATIENCE).unwrap();
            connection.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut name = String::new();
            connection.read_to_string(&mut name).unwrap();
            (address, name)
        });
        // The helper has written the virtual address in the place of the real server's.
        assert_eq!(IpAddr::V4(address), ip(VIP));
        told.insert(name);
    }
    assert_eq!(told, ["r1", "r2"].map(str::to_owned).into());
}
