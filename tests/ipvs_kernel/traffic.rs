//! Traffic through the kernel's IPVS as we set it up: one client, two directors and three real servers on one switch.
#![allow(clippy::disallowed_methods, reason = "bounds real waiting")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use holdfast::ipvs::config::{Persistence, SchedulerFlags};
use holdfast::ipvs::dataplane::Dataplane;
use holdfast::ipvs::genl::DaemonState;
use holdfast::ipvs::kernel::Kernel;
use holdfast::ipvs::table::{Destination, Operation, ServiceSettings};
use holdfast::ipvs::types::{ForwardMethod, Protocol, Scheduler, ServiceKey, SocketKey, Tunnel};
use holdfast::lab::host::Host;
use holdfast::lab::lan::{self, Lan};
use holdfast::vrrp::types::Family;

use crate::in_guest;
use crate::serving::Serving;
use crate::tools::{run, sync_daemon};

const PATIENCE: Duration = Duration::from_secs(60);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 50, 0, 1);
const DIRECTORS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 50, 0, 11), Ipv4Addr::new(10, 50, 0, 12)];
const REALS: [Ipv4Addr; 3] = [Ipv4Addr::new(10, 50, 0, 21), Ipv4Addr::new(10, 50, 0, 22), Ipv4Addr::new(10, 50, 0, 23)];
const VIP: Ipv4Addr = Ipv4Addr::new(10, 50, 0, 100);

struct World {
    _servers: Vec<Serving>,
    client: Host,
    directors: Vec<Host>,
    reals: Vec<Host>,
    _lan: Lan,
}

impl World {
    fn new() -> Self {
        let mut lan = Lan::new("switch").unwrap();
        let mut host = |name: &str, address: Ipv4Addr| {
            let host = Host::new(name).unwrap();
            lan.plug(&host, "eth0", &[(IpAddr::V4(address), 24)]).unwrap();
            host
        };
        let client = host("client", CLIENT);
        let directors: Vec<_> = (1..).zip(DIRECTORS).map(|(n, address)| host(&format!("d{n}"), address)).collect();
        let reals: Vec<_> = (1..).zip(REALS).map(|(n, address)| host(&format!("r{n}"), address)).collect();
        lan.wait_ready().unwrap();
        for director in &directors {
            sysctl(director, &[("net/ipv4/ip_forward", "1"), ("net/ipv4/conf/all/send_redirects", "0")]);
            sysctl(director, &[("net/ipv4/conf/eth0/send_redirects", "0")]);
        }
        lan::add_address(&directors[0], "eth0", IpAddr::V4(VIP), 32).unwrap();
        let servers = reals.iter().map(|real| Serving::http(real, 80)).collect();
        Self { _servers: servers, client, directors, reals, _lan: lan }
    }

    /// Real servers hold the virtual address, and keep quiet about it.
    fn hold_vip(&self, interface: &str) {
        for real in &self.reals {
            sysctl(real, &[("net/ipv4/conf/all/arp_ignore", "1"), ("net/ipv4/conf/all/arp_announce", "2")]);
            lan::add_address(real, interface, IpAddr::V4(VIP), 32).unwrap();
        }
    }

    /// On the first director.
    fn apply(&self, operations: Vec<Operation>) {
        apply(&self.directors[0], operations);
    }

    /// Connects from the client, asks, and keeps the connection.
    fn ask(&self, port: u16) -> (String, TcpStream) {
        self.client.run(move || {
            let address = SocketAddr::from((VIP, port));
            let mut stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
            (request(&mut stream), stream)
        })
    }

    /// Who answers `count` connections: one after the other, or all held open.
    fn answers(&self, port: u16, count: usize, held: bool) -> BTreeMap<String, usize> {
        let mut open = Vec::new();
        let mut answers = BTreeMap::new();
        for _ in 0..count {
            let (name, stream) = self.ask(port);
            *answers.entry(name).or_default() += 1;
            open.extend(held.then_some(stream));
        }
        answers
    }
}

fn apply(director: &Host, operations: Vec<Operation>) {
    let refusals = director.run(move || Kernel::default().apply(&operations));
    assert!(refusals.is_empty(), "{refusals:?}");
}

pub fn sysctl(host: &Host, settings: &[(&str, &str)]) {
    let settings: Vec<_> =
        settings.iter().map(|(name, value)| (format!("/proc/sys/{name}"), value.to_string())).collect();
    host.run(move || settings.iter().for_each(|(path, value)| fs::write(path, value).unwrap()));
}

/// One HTTP request over a connection; the body.
pub fn request(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    exchange(stream)
}

/// The same with the limit that the connection has.
pub fn exchange(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: vip\r\n\r\n").unwrap();
    let mut answer = String::new();
    let mut bytes = [0; 256];
    loop {
        if let Some((head, body)) = answer.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                return body.trim_end().to_owned();
            }
        }
        let length = stream.read(&mut bytes).unwrap();
        assert!(length > 0, "closed after {answer:?}");
        answer += std::str::from_utf8(&bytes[..length]).unwrap();
    }
}

fn vip(port: u16) -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address: SocketKey::new(IpAddr::V4(VIP), port) }
}

/// A service with the three real servers.
fn service(port: u16, settings: ServiceSettings, method: ForwardMethod, weights: [u32; 3]) -> Vec<Operation> {
    let to = |(address, weight)| {
        let real_port = if method == ForwardMethod::Nat { 80 } else { port };
        let to = Destination { method, weight, ..Destination::default() };
        Operation::AddDestination(vip(port), SocketKey::new(IpAddr::V4(address), real_port), to)
    };
    let servers = REALS.into_iter().zip(weights).map(to);
    std::iter::once(Operation::AddService(vip(port), settings)).chain(servers).collect()
}

fn scheduled(scheduler: Scheduler) -> ServiceSettings {
    ServiceSettings { scheduler, ..ServiceSettings::default() }
}

pub fn counts<const N: usize>(counts: [(&str, usize); N]) -> BTreeMap<String, usize> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

#[test]
fn nat_serves_http_and_every_scheduler_distributes_as_it_should() {
    in_guest!();
    let world = World::new();
    // Answers have to come back through the director.
    for real in &world.reals {
        real.run(|| run("ip", &["route", "add", "10.50.0.1/32", "via", "10.50.0.11"]));
    }
    let even = [1, 1, 1];
    let rising = [1, 2, 3];
    let sh_port = SchedulerFlags { flag2: true, ..SchedulerFlags::default() };
    let equal = counts([("r1", 4), ("r2", 4), ("r3", 4)]);
    let by_weight = counts([("r1", 2), ("r2", 4), ("r3", 6)]);
    // Scheduler, weights, whether the connections are held open, and who gets how many of twelve.
    let rows = [
        (Scheduler::Rr, even, false, Some(equal.clone())),
        (Scheduler::Wrr, rising, false, Some(by_weight.clone())),
        (Scheduler::Lc, rising, true, Some(equal)),
        (Scheduler::Wlc, rising, true, Some(by_weight.clone())),
        (Scheduler::Sed, rising, true, Some(by_weight)),
        // Each idle one first, whatever its weight; then as sed.
        (Scheduler::Nq, [1, 1, 100], true, Some(counts([("r1", 1), ("r2", 1), ("r3", 10)]))),
        (Scheduler::Fo, rising, true, Some(counts([("r3", 12)]))),
        // To the heaviest while its connections are no more than its weight, then to the next.
        (Scheduler::Ovf, [3, 5, 20], true, Some(counts([("r3", 12)]))),
        // By the client's or the service's address: always the same one.
        (Scheduler::Sh, even, false, None),
        (Scheduler::Dh, even, false, None),
        (Scheduler::Mh, even, false, None),
        (Scheduler::Lblc, even, false, None),
        (Scheduler::Lblcr, even, false, None),
    ];
    for (port, (scheduler, weights, held, expected)) in (8001..).zip(rows) {
        world.apply(service(port, scheduled(scheduler), ForwardMethod::Nat, weights));
        let answers = world.answers(port, 12, held);
        match expected {
            Some(expected) => assert_eq!(answers, expected, "{scheduler}"),
            None => assert_eq!(answers.into_values().collect::<Vec<_>>(), [12], "{scheduler}"),
        }
    }
    // With the client's port in the hash connections of one client are spread.
    let spread = ServiceSettings { flags: sh_port, ..scheduled(Scheduler::Sh) };
    world.apply(service(8100, spread, ForwardMethod::Nat, even));
    assert!(world.answers(8100, 24, false).len() > 1);
    // Overflow: beyond the weight the next one gets some.
    world.apply(service(8101, scheduled(Scheduler::Ovf), ForwardMethod::Nat, [1, 2, 5]));
    let answers = world.answers(8101, 8, true);
    assert!(answers["r3"] >= 5 && answers["r2"] >= 2, "{answers:?}");
    // Weight 0 gets nothing new, and what is removed gets nothing at all.
    world.apply(service(8102, scheduled(Scheduler::Rr), ForwardMethod::Nat, [0, 1, 1]));
    assert_eq!(world.answers(8102, 6, false), counts([("r2", 3), ("r3", 3)]));
    world.apply(vec![Operation::RemoveDestination(vip(8102), SocketKey::new(IpAddr::V4(REALS[1]), 80))]);
    assert_eq!(world.answers(8102, 4, false), counts([("r3", 4)]));
    // All of it is counted, up to two seconds later.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let counters = world.directors[0].run(|| Kernel::default().counters()).unwrap();
        let total = counters[&vip(8001)].total;
        if total.connections == 12 && total.out_bytes > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{total:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn direct_routing_and_tunnels_serve_http() {
    in_guest!();
    let world = World::new();
    world.hold_vip("lo");
    world.apply(service(80, scheduled(Scheduler::Rr), ForwardMethod::Dr, [1, 1, 1]));
    assert_eq!(world.answers(80, 6, false), counts([("r1", 2), ("r2", 2), ("r3", 2)]));
    // Brings its interface into every namespace.
    run("modprobe", &["ipip"]);
    for real in &world.reals {
        real.run(|| {
            run("ip", &["address", "delete", "10.50.0.100/32", "dev", "lo"]);
            run("ip", &["link", "set", "tunl0", "up"]);
        });
        sysctl(real, &[("net/ipv4/conf/all/rp_filter", "0"), ("net/ipv4/conf/tunl0/rp_filter", "0")]);
    }
    world.hold_vip("tunl0");
    let edits = REALS.into_iter().map(|address| {
        let to = Destination { method: ForwardMethod::Tun(Tunnel::Ipip), weight: 1, ..Destination::default() };
        Operation::EditDestination(vip(80), SocketKey::new(IpAddr::V4(address), 80), to)
    });
    world.apply(edits.collect());
    assert_eq!(world.answers(80, 6, false), counts([("r1", 2), ("r2", 2), ("r3", 2)]));
}

#[test]
fn a_connection_outlives_its_director_by_the_sync_daemon() {
    in_guest!();
    let world = World::new();
    world.hold_vip("lo");
    for (director, state) in world.directors.iter().zip([DaemonState::Master, DaemonState::Backup]) {
        // Each packet is worth a message.
        director.run(move || {
            let config = sync_daemon("eth0", 51);
            Kernel::default().start_sync_daemon(state, &config).unwrap();
        });
        apply(director, service(80, scheduled(Scheduler::Rr), ForwardMethod::Dr, [1, 1, 1]));
        sysctl(director, &[("net/ipv4/vs/sync_threshold", "0 1"), ("net/ipv4/vs/sync_refresh_period", "0")]);
    }
    let (name, mut stream) = world.ask(80);
    let local = stream.local_addr().unwrap().port();
    // More packets, until the other director knows of the connection.
    let deadline = Instant::now() + PATIENCE;
    let line = loop {
        assert_eq!(request(&mut stream), name);
        let text = world.directors[1].run(|| fs::read_to_string("/proc/thread-self/net/ip_vs_conn").unwrap());
        if let Some(line) = text.lines().find(|line| line.contains(&format!(" {local:04X} "))) {
            break line.to_owned();
        }
        assert!(Instant::now() < deadline, "the connection never came to the second director");
        std::thread::sleep(Duration::from_millis(100));
    };
    println!("{line}");
    // The first director dies, the second one takes its address.
    world.directors[0].run(|| run("ip", &["link", "set", "eth0", "down"]));
    lan::add_address(&world.directors[1], "eth0", IpAddr::V4(VIP), 32).unwrap();
    world.client.run(|| run("ip", &["neigh", "flush", "all"]));
    assert_eq!(request(&mut stream), name);
}

/// Who answers connections from these addresses of the client to these addresses.
fn answers_between(world: &World, from: &[Ipv4Addr], to: &[Ipv4Addr], port: u16) -> Vec<String> {
    let pairs: Vec<_> = from.iter().flat_map(|from| to.iter().map(|to| (*from, *to))).collect();
    world.client.run(move || {
        let ask = |(from, to): &(Ipv4Addr, Ipv4Addr)| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.bind(&SocketAddr::from((*from, 0)).into()).unwrap();
            socket.connect_timeout(&SocketAddr::from((*to, port)).into(), PATIENCE).unwrap();
            request(&mut socket.into())
        };
        pairs.iter().map(ask).collect()
    })
}

#[test]
fn hashing_schedulers_go_by_the_clients_or_the_services_address() {
    in_guest!();
    let iptables = "/usr/sbin/iptables-legacy";
    if !std::path::Path::new(iptables).exists() {
        return crate::common::skipped("needs the package iptables");
    }
    let world = World::new();
    let clients: Vec<Ipv4Addr> = (1..=12).map(|n| Ipv4Addr::new(10, 50, 1, n)).collect();
    for client in &clients {
        lan::add_address(&world.client, "eth0", IpAddr::V4(*client), 32).unwrap();
    }
    // Answers come back through the director, whatever address of the client they are for.
    for real in &world.reals {
        real.run(|| {
            run("ip", &["route", "add", "10.50.0.1/32", "via", "10.50.0.11"]);
            run("ip", &["route", "add", "10.50.1.0/24", "via", "10.50.0.11"]);
        });
    }
    world.directors[0].run(|| run("ip", &["route", "add", "10.50.1.0/24", "dev", "eth0"]));
    let distinct = |answers: &[String]| answers.iter().collect::<std::collections::BTreeSet<_>>().len();
    let schedulers = [Scheduler::Sh, Scheduler::Mh, Scheduler::Dh, Scheduler::Lblc, Scheduler::Lblcr];
    // Each has a network of its own: connections that are closing still weigh on the real servers of a mark.
    for (net, scheduler) in (2..).zip(schedulers) {
        // One service for all its addresses: their hash has something to tell apart.
        let mark = ServiceKey::Fwmark { family: Family::V4, mark: std::num::NonZeroU32::new(net.into()).unwrap() };
        let places: Vec<Ipv4Addr> = (1..=12).map(|n| Ipv4Addr::new(10, 50, net, n)).collect();
        let network = format!("10.50.{net}.0/24");
        let to_director = network.clone();
        world.directors[0].run(move || {
            run("ip", &["route", "add", "local", &network, "dev", "lo"]);
            let rule = ["-t", "mangle", "-A", "PREROUTING", "-d", &network, "-p", "tcp", "-j", "MARK"];
            run(iptables, &[&rule[..], &["--set-mark", &net.to_string()]].concat());
        });
        world.client.run(move || run("ip", &["route", "add", &to_director, "via", "10.50.0.11"]));
        let to = Destination { method: ForwardMethod::Nat, weight: 1, ..Destination::default() };
        let servers =
            REALS.map(|real| Operation::AddDestination(mark, SocketKey::new(IpAddr::V4(real), 80), to)).into_iter();
        world.apply(std::iter::once(Operation::AddService(mark, scheduled(scheduler))).chain(servers).collect());
        let by_client = matches!(scheduler, Scheduler::Sh | Scheduler::Mh);
        let (one_place, one_client) = (&places[..1], &clients[..1]);
        let (many, spread) = if by_client { (&clients[..], one_place) } else { (one_client, &places[..]) };
        let first = answers_between(&world, many, spread, 80);
        assert_eq!(distinct(&first), REALS.len(), "{scheduler}: {first:?}");
        // The same ones once more, and what it does not go by makes no difference.
        assert_eq!(answers_between(&world, many, spread, 80), first, "{scheduler}");
        let (others, place) = if by_client { (one_client, &places[..]) } else { (&clients[..], one_place) };
        let others = answers_between(&world, others, place, 80);
        assert_eq!(distinct(&others), 1, "{scheduler}: {others:?}");
    }
}

/// What our program and Debian's say to the same line on a director, when the clock ticked between neither.
fn both_say(director: &Host, line: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (theirs, ours) = director.run(move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let ours = [&["ipvsadm"], &words[..]].concat();
            (run(crate::tools::IPVSADM, &words), run(env!("CARGO_BIN_EXE_holdfast"), &ours))
        });
        if theirs == ours {
            return ours;
        }
        assert!(Instant::now() < deadline, "{line}\n{theirs}\n{ours}");
    }
}

#[test]
fn connections_and_persistence_are_listed_as_debians_lists_them() {
    in_guest!();
    let world = World::new();
    world.hold_vip("lo");
    let persistence = Some(Persistence { timeout: 300, granularity: 24, engine: None });
    let sticky = ServiceSettings { persistence, ..scheduled(Scheduler::Rr) };
    world.apply(service(80, sticky, ForwardMethod::Dr, [1, 1, 1]));
    let held: Vec<_> = (0..3).map(|_| world.ask(80)).collect();
    assert!(held.iter().all(|(name, _)| *name == held[0].0), "{held:?}");
    let director = &world.directors[0];
    let connections = both_say(director, "-L -n -c");
    assert_eq!(
        connections.lines().filter(|line| line.starts_with("TCP ") && line.contains(" ESTABLISHED ")).count(),
        3
    );
    // The template of the network that the client is in.
    assert!(connections.contains(" 10.50.0.0:0        10.50.0.100:80 "), "{connections}");
    both_say(director, "-L -c");
    both_say(director, "-L -n -c --persistent-conn");
    let persistent = both_say(director, "-L -n --persistent-conn");
    let columns = |line: &str| line.split_whitespace().skip(2).map(str::to_owned).collect::<Vec<_>>();
    // Weight, persistent, active, inactive; the template counts for one of them.
    assert!(persistent.lines().skip(3).any(|line| columns(line)[..3] == ["1", "1", "3"]), "{persistent}");
    for line in ["-L -n", "-L -n --thresholds", "-L -n --stats", "-L -n --rate", "-S -n"] {
        both_say(director, line);
    }
    drop(held);
}
