//! UDP: flows, answers, refusals, bounds.
#![allow(clippy::disallowed_methods)] // Waits in real time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use holdfast::ipvs::config::SchedulerFlags;
use holdfast::ipvs::forward::{Options, Userspace};
use holdfast::ipvs::table::{Operation, ServiceSettings};
use holdfast::ipvs::types::Protocol;

use crate::rig::*;

/// Answers each datagram with its own address, a space and what came.
fn server() -> SocketAddr {
    let socket = UdpSocket::bind(SocketAddr::new(address(), 0)).unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            if &buffer[..count] == b"stop" {
                return;
            }
            let mut answer = format!("{address} ").into_bytes();
            answer.extend(&buffer[..count]);
            answer.truncate(65_507);
            let _ = socket.send_to(&answer, from);
        }
    });
    address
}

fn client(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Connected: an answer from any other address is not received.
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

fn ask_udp(socket: &UdpSocket, question: &str) -> Option<String> {
    socket.send(question.as_bytes()).ok()?;
    let mut buffer = vec![0; 1 << 16];
    let count = socket.recv(&mut buffer).ok()?;
    let answer = String::from_utf8(buffer[..count].to_vec()).unwrap();
    let (name, text) = answer.split_once(' ').unwrap();
    assert_eq!(text, question);
    Some(name.to_owned())
}

fn rig(settings: &ServiceSettings, servers: &[SocketAddr]) -> Rig {
    Rig::of(Protocol::Udp, settings, servers)
}

#[test]
fn a_flow_has_one_server_and_clients_spread() {
    let servers = [server(), server(), server()];
    let mut rig = rig(&settings(), &servers);
    let mut homes = BTreeMap::new();
    for _ in 0..30 {
        let socket = client(rig.address);
        let home = ask_udp(&socket, "one").unwrap();
        for _ in 0..5 {
            assert_eq!(ask_udp(&socket, "two").unwrap(), home);
        }
        *homes.entry(home).or_insert(0) += 1;
    }
    assert_eq!(homes.into_values().collect::<Vec<_>>(), [10, 10, 10]);
    // Counted behind the sending.
    wait(|| "the last answer to be counted".to_owned(), || rig.counters().total.out_packets == 180);
    let counters = rig.counters();
    assert_eq!((counters.total.connections, counters.total.in_packets), (30, 180));
    assert_eq!(counters.total.in_bytes, 540);
}

#[test]
fn many_datagrams_in_flight_keep_their_order_and_their_bytes() {
    let rig = rig(&settings(), &[server()]);
    let socket = client(rig.address);
    let mut buffer = vec![0; 1 << 16];
    for round in 0..50 {
        for number in 0..64 {
            socket.send(format!("{round} {number}").as_bytes()).unwrap();
        }
        for number in 0..64 {
            let count = socket.recv(&mut buffer).unwrap();
            let answer = String::from_utf8(buffer[..count].to_vec()).unwrap();
            assert_eq!(answer.split_once(' ').unwrap().1, format!("{round} {number}"));
        }
    }
    let large = "x".repeat(60_000);
    assert!(ask_udp(&socket, &large).is_some());
    assert!(ask_udp(&socket, "").is_some(), "an empty datagram is a datagram");
}

#[test]
fn one_packet_scheduling_spreads_the_packets_of_a_client() {
    let servers = [server(), server(), server()];
    let flags = SchedulerFlags { one_packet: true, ..SchedulerFlags::default() };
    let mut rig = rig(&ServiceSettings { flags, ..settings() }, &servers);
    let socket = client(rig.address);
    let names: Vec<_> = (0..9).map(|number| ask_udp(&socket, &number.to_string()).unwrap()).collect();
    for part in names.chunks(3) {
        assert_eq!(part.iter().collect::<BTreeSet<_>>().len(), 3);
    }
    assert_eq!(rig.plane.open_connections(), 3, "one flow to each, for the answers");
    assert_eq!(rig.counters().total.connections, 9);
}

#[test]
fn a_server_that_refuses_is_left() {
    let dead = UdpSocket::bind(SocketAddr::new(address(), 0)).unwrap().local_addr().unwrap();
    let alive = server();
    let rig = rig(&settings(), &[dead, alive]);
    for _ in 0..10 {
        let socket = client(rig.address);
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        // The first datagram may be the one that finds out.
        let answers: Vec<_> = (0..3).filter_map(|_| ask_udp(&socket, "x")).collect();
        assert!(answers.len() >= 2 && answers.iter().all(|name| *name == alive.to_string()), "{answers:?}");
    }
}

#[test]
fn a_removed_server_is_left_at_once() {
    let (first, second) = (server(), server());
    let mut rig = rig(&settings(), &[first]);
    let socket = client(rig.address);
    assert_eq!(ask_udp(&socket, "x").unwrap(), first.to_string());
    rig.add(second);
    assert_eq!(ask_udp(&socket, "x").unwrap(), first.to_string(), "a flow stays");
    rig.remove(first);
    rig.wait_open(0);
    assert_eq!(ask_udp(&socket, "x").unwrap(), second.to_string());
    rig.apply(&[Operation::RemoveService(rig.key)]);
    wait(|| "the port to be free".to_owned(), || UdpSocket::bind(rig.address).is_ok());
}

#[test]
fn silence_ends_a_flow() {
    let settings = proxy(|proxy| proxy.udp_timeout = Duration::from_secs(4));
    let mut rig = rig(&settings, &[server()]);
    let socket = client(rig.address);
    assert!(ask_udp(&socket, "x").is_some());
    assert_eq!(rig.plane.open_connections(), 1);
    rig.wait_open(0);
    assert!(ask_udp(&socket, "x").is_some());
}

#[test]
fn the_table_is_bounded_and_recent_flows_stay() {
    let mut rig = rig(&settings(), &[server()]);
    rig.plane = Userspace::start(&Options { threads: Some(1), flows: 50, ..Options::default() }).unwrap();
    rig.apply(&[Operation::AddService(rig.key, settings())]);
    let to = server();
    rig.add(to);
    let busy = client(rig.address);
    let mut others = Vec::new();
    for _ in 0..300 {
        let other = client(rig.address);
        assert!(ask_udp(&other, "x").is_some());
        others.push(other);
        assert!(ask_udp(&busy, "x").is_some());
        assert!(rig.plane.open_connections() <= 50);
    }
    assert_eq!(rig.counters().total.connections, 301, "the busy one was opened once");
    assert!(others.iter().all(|other| ask_udp(other, "x").is_some()), "whoever had to go may come back");
}

#[test]
fn no_thread_lets_in_one_too_many() {
    let to = server();
    // Both threads are asked at the same moment, again and again.
    for round in 0..40 {
        let mut rig = rig(&proxy(|proxy| proxy.max_connections = 1), &[to]);
        let clients: Vec<_> = (0..16).map(|_| client(rig.address)).collect();
        for socket in &clients {
            socket.send(b"x").unwrap();
        }
        // Refused ones are counted too: by then each has been looked at.
        wait(|| "all to be looked at".to_owned(), || rig.counters().total.connections == 16);
        assert_eq!(rig.plane.open_connections(), 1, "round {round}");
        let answered = |socket: &&UdpSocket| {
            socket.set_nonblocking(true).unwrap();
            socket.recv(&mut [0; 64]).is_ok()
        };
        assert!(clients.iter().filter(answered).count() <= 1, "round {round}");
    }
}
