//! Changes while traffic runs: what they do not concern goes on.
#![allow(clippy::disallowed_methods)] // Runs for a time.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use holdfast::ipvs::config::Persistence;
use holdfast::ipvs::dataplane::Dataplane;
use holdfast::ipvs::forward::{Options, Userspace};
use holdfast::ipvs::table::{Destination, Operation, Service, ServiceSettings, ServiceTable};
use holdfast::ipvs::types::{ForwardMethod, Protocol, Scheduler, ServiceKey, SocketKey};

use crate::rig::*;

#[test]
fn views_change_every_few_milliseconds_under_traffic() {
    let servers: Vec<_> = (0..4).map(|_| Server::echo()).collect();
    let all: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
    let mut rig = Rig::new(&settings(), &all);
    let (stop, streams) = (AtomicBool::new(false), AtomicU64::new(0));
    let address = rig.address;
    let result: Result<(), String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8u64)
            .map(|client| {
                let (stop, streams) = (&stop, &streams);
                scope.spawn(move || {
                    let mut round = 0;
                    while !stop.load(Ordering::Relaxed) {
                        round += 1;
                        let length = if round % 10 == 0 { 3_000_000 } else { round * 977 };
                        round_trip(connect(address), client * 1000 + round, length)?;
                        streams.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        let begun = Instant::now();
        let mut changes = 0u32;
        // Until there was enough of both; a client that ends by itself has found a fault.
        while (changes < 1000 || streams.load(Ordering::Relaxed) <= 50)
            && !clients.iter().any(ScopedJoinHandle::is_finished)
            && begun.elapsed() < LIMIT
        {
            changes += 1;
            let server = key_of(all[changes as usize % all.len()]);
            let scheduler = Scheduler::ALL[changes as usize % 14];
            rig.apply(&match changes % 4 {
                0 => vec![Operation::EditService(
                    rig.key,
                    holdfast::ipvs::table::ServiceSettings { scheduler, ..settings() },
                )],
                1 => vec![Operation::RemoveDestination(rig.key, server)],
                2 => vec![Operation::EditDestination(rig.key, server, weight(changes % 5 + 1))],
                _ => all.iter().map(|to| Operation::AddDestination(rig.key, key_of(*to), weight(2))).collect(),
            });
            std::thread::sleep(Duration::from_millis(2));
        }
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().try_for_each(|client| client.join().unwrap())
    });
    result.unwrap();
    assert!(streams.load(Ordering::Relaxed) > 50, "the clients stand still");
    rig.wait_open(0);
    assert!(rig.counters().destinations.values().all(|destination| destination.active == 0));
}

#[test]
fn a_removed_destination_keeps_its_connections_until_the_deadline() {
    let (first, second) = (Server::echo(), Server::echo());
    let mut rig = Rig::new(&settings(), &[first.address]);
    let mut old = rig.connect();
    old.write_all(b"x").unwrap();
    old.read_exact(&mut [0; 1]).unwrap();
    rig.add(second.address);
    rig.remove(first.address);
    old.write_all(b"y").unwrap();
    old.read_exact(&mut [0; 1]).unwrap();
    // Back again: it is the same one, with the connection that it has.
    rig.add(first.address);
    assert_eq!(rig.counters().destinations[&key_of(first.address)].active, 1);
    // One byte there and back, and it is with a server: the first that is counted at the second one is this one.
    let mut held = Vec::new();
    let mut other = loop {
        let mut stream = rig.connect();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0; 1]).unwrap();
        if rig.counters().destinations[&key_of(second.address)].active > 0 {
            break stream;
        }
        held.push(stream);
    };
    let settings = proxy(|proxy| proxy.drain_timeout = Some(Duration::from_secs(4)));
    rig.apply(&[Operation::EditService(rig.key, settings)]);
    let begun = Instant::now();
    rig.remove(first.address);
    old.write_all(b"z").unwrap();
    old.read_exact(&mut [0; 1]).unwrap();
    assert_eq!(old.read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert!(begun.elapsed() >= Duration::from_secs(3), "not before its deadline");
    other.write_all(b"x").unwrap();
    other.read_exact(&mut [0; 1]).unwrap();
}

#[test]
fn a_removed_service_lets_its_connections_end_and_frees_its_port() {
    let server = Server::echo();
    let mut rig = Rig::new(&settings(), &[server.address]);
    let mut client = rig.connect();
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0; 1]).unwrap();
    rig.apply(&[Operation::RemoveService(rig.key)]);
    wait(|| "the port to be free".to_owned(), || TcpListener::bind(rig.address).is_ok());
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0; 1]).unwrap();
    rig.apply(&[Operation::AddService(rig.key, settings())]);
    rig.add(server.address);
    round_trip(rig.connect(), 1, 100_000).unwrap();
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0; 1]).unwrap();
}

#[test]
fn weight_0_takes_no_new_connection_and_keeps_the_old() {
    let (first, second) = (Server::named(), Server::echo());
    let mut rig = Rig::new(&settings(), &[second.address]);
    let mut old = rig.connect();
    old.write_all(b"x").unwrap();
    old.read_exact(&mut [0; 1]).unwrap();
    rig.add(first.address);
    rig.apply(&[Operation::EditDestination(rig.key, key_of(second.address), weight(0))]);
    assert_eq!(census(rig.address, 20), BTreeMap::from([(first.address.to_string(), 20)]));
    old.write_all(b"x").unwrap();
    old.read_exact(&mut [0; 1]).unwrap();
}

#[test]
fn what_was_applied_is_what_is_dumped() {
    let mut rig = Rig::new(&settings(), &[]);
    let to = SocketKey::new(address(), 80);
    let destination = Destination { weight: 3, upper_threshold: 7, lower_threshold: 2, ..Destination::default() };
    rig.apply(&[
        Operation::AddDestination(rig.key, to, destination),
        Operation::AddDestination(rig.key, to, destination),
        Operation::AddService(rig.key, settings()),
        Operation::RemoveDestination(rig.key, SocketKey::new(address(), 1)),
        Operation::RemoveService(ServiceKey::Address { protocol: Protocol::Udp, address: to }),
    ]);
    let service = Service { settings: settings(), destinations: [(to, destination)].into_iter().collect() };
    let expected = ServiceTable { services: BTreeMap::from([(rig.key, service)]) };
    assert_eq!(rig.plane.dump().unwrap(), expected);
}

#[test]
fn refusals_say_why_and_hold_nobody_up() {
    let mut rig = Rig::new(&settings(), &[]);
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let udp_taken = UdpSocket::bind("0.0.0.0:0").unwrap();
    let udp_port = udp_taken.local_addr().unwrap().port();
    let key = |protocol, port| ServiceKey::Address { protocol, address: SocketKey::new(rig.address.ip(), port) };
    let missing = key(Protocol::Tcp, 9);
    let refusals = rig.plane.apply(&[
        Operation::AddService(key(Protocol::Tcp, port), settings()),
        Operation::AddService(key(Protocol::Sctp, 1000), settings()),
        Operation::AddService(key(Protocol::Udp, udp_port), settings()),
        Operation::EditService(missing, settings()),
        Operation::AddDestination(missing, SocketKey::new(address(), 1), weight(1)),
        Operation::AddDestination(rig.key, key_of(closed()), weight(1)),
    ]);
    assert_eq!(refusals.iter().map(|refusal| refusal.operation).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let pid = format!("(pid {}) listens on 0.0.0.0:{port}", std::process::id());
    assert!(refusals[0].error.reason.contains(&pid), "{}", refusals[0].error);
    assert!(!refusals[0].error.lasting);
    assert!(refusals[1].error.reason.contains("SCTP needs the kernel's IPVS") && refusals[1].error.lasting);
    let pid = format!("(pid {}) listens on 0.0.0.0:{udp_port}", std::process::id());
    assert!(refusals[2].error.reason.contains(&pid), "{}", refusals[2].error);
    drop(taken);
    rig.apply(&[Operation::AddService(key(Protocol::Tcp, port), settings())]);
}

#[test]
fn a_persistence_engine_is_said_to_be_the_kernels() {
    let persistence = Persistence { timeout: 60, granularity: 32, engine: Some("sip".to_owned()) };
    let mut rig = Rig::new(&ServiceSettings { persistence: Some(persistence), ..settings() }, &[]);
    let notes = rig.plane.take_notes();
    assert!(
        matches!(&*notes, [note] if note.contains("`persistence_engine sip` needs the kernel's IPVS")),
        "{notes:?}"
    );
}

#[test]
fn direct_routing_is_carried_as_nat_and_noted_once() {
    let server = Server::named();
    let mut rig = Rig::new(&settings(), &[]);
    let destination = Destination { method: ForwardMethod::Dr, ..weight(1) };
    let to = key_of(server.address);
    rig.apply(&[Operation::AddDestination(rig.key, to, destination)]);
    rig.apply(&[Operation::EditDestination(rig.key, to, Destination { weight: 5, ..destination })]);
    assert_eq!(ask(rig.address), server.address.to_string());
    let notes = rig.plane.take_notes();
    assert_eq!(notes.len(), 1);
    assert!(notes[0].contains("asks for DR, which only the kernel's IPVS can do"), "{}", notes[0]);
    assert_eq!(rig.plane.dump().unwrap().services[&rig.key].destinations[&to].method, ForwardMethod::Dr);
}

#[test]
fn an_address_that_is_not_here_is_no_obstacle() {
    let mut plane = Userspace::start(&Options { threads: Some(1), ..Options::default() }).unwrap();
    let addresses = ["192.0.2.77:8081", "[2001:db8::77]:8081"].map(|text| text.parse::<SocketAddr>().unwrap());
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for address in addresses {
            let key = ServiceKey::Address { protocol, address: key_of(address) };
            assert_eq!(plane.apply(&[Operation::AddService(key, settings())]), []);
        }
    }
}
