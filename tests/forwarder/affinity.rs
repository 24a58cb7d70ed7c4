//! Persistence, schedulers and thresholds with real connections.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};

use holdfast::ipvs::config::Persistence;
use holdfast::ipvs::table::{Destination, Operation, ServiceSettings};
use holdfast::ipvs::types::Scheduler;

use crate::rig::*;

fn persistent(granularity: u8) -> ServiceSettings {
    ServiceSettings { persistence: Some(Persistence { timeout: 300, granularity, engine: None }), ..settings() }
}

/// Asks as another client.
fn ask_as(client: [u8; 4], address: SocketAddr) -> String {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((client, 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut name = String::new();
    stream.read_to_string(&mut name).unwrap();
    name
}

#[test]
fn a_client_stays_through_changes_and_others_spread() {
    let servers: Vec<_> = (0..4).map(|_| Server::named()).collect();
    let all: Vec<_> = servers.iter().map(|server| server.address).collect();
    let mut rig = Rig::new(&persistent(32), &all);
    let homes: Vec<String> = (1..=8).map(|client| ask_as([127, 9, 0, client], rig.address)).collect();
    assert_eq!(homes.iter().collect::<BTreeSet<_>>().len(), 4, "round robin over clients");
    let same = |rig: &Rig| {
        for (client, home) in (1..).zip(&homes) {
            for _ in 0..3 {
                assert_eq!(ask_as([127, 9, 0, client], rig.address), *home);
            }
        }
    };
    same(&rig);
    rig.wait_open(0);
    let bound: u32 = rig.counters().destinations.values().map(|destination| destination.persistent).sum();
    assert_eq!(bound, 8);
    // A reload: other settings, another server, other weights, a drained one. Everybody stays.
    let settings = ServiceSettings { scheduler: Scheduler::Wlc, ..persistent(32) };
    rig.apply(&[Operation::EditService(rig.key, settings)]);
    let another = Server::named();
    rig.add(another.address);
    rig.apply(&[Operation::EditDestination(rig.key, key_of(all[0]), weight(0))]);
    same(&rig);
    // Removed: its clients go elsewhere, and then stay there.
    rig.remove(all[0]);
    let gone = all[0].to_string();
    for (client, home) in (1..).zip(&homes).filter(|(_, home)| **home == gone) {
        let new = ask_as([127, 9, 0, client], rig.address);
        assert_ne!(new, *home);
        assert_eq!(ask_as([127, 9, 0, client], rig.address), new);
    }
}

#[test]
fn a_bound_client_whose_server_refuses_is_bound_to_another() {
    let server = Server::named();
    let mut rig = Rig::new(&persistent(32), &[server.address]);
    let client = [127, 9, 1, 1];
    assert_eq!(ask_as(client, rig.address), server.address.to_string());
    drop(server);
    let other = Server::named();
    rig.add(other.address);
    for _ in 0..3 {
        assert_eq!(ask_as(client, rig.address), other.address.to_string());
    }
}

#[test]
fn granularity_binds_a_subnet() {
    let servers: Vec<_> = (0..3).map(|_| Server::named()).collect();
    let all: Vec<_> = servers.iter().map(|server| server.address).collect();
    let rig = Rig::new(&persistent(24), &all);
    let home = ask_as([127, 9, 2, 1], rig.address);
    for client in 2..9 {
        assert_eq!(ask_as([127, 9, 2, client], rig.address), home);
    }
    assert_ne!(ask_as([127, 9, 3, 1], rig.address), home);
}

#[test]
fn weights_decide_over_both_threads() {
    let servers: Vec<_> = (0..3).map(|_| Server::named()).collect();
    let mut rig = Rig::new(&ServiceSettings { scheduler: Scheduler::Wrr, ..settings() }, &[]);
    for (server, weight_of) in servers.iter().zip([1, 2, 3]) {
        rig.apply(&[Operation::AddDestination(rig.key, key_of(server.address), weight(weight_of))]);
    }
    let names = census(rig.address, 600);
    let counts: Vec<_> = servers.iter().map(|server| names[&server.address.to_string()]).collect();
    assert_eq!(counts, [100, 200, 300]);
}

#[test]
fn thresholds_send_others_elsewhere() {
    let (first, second) = (Server::echo(), Server::echo());
    let mut rig = Rig::new(&ServiceSettings { scheduler: Scheduler::Fo, ..settings() }, &[]);
    let limited = Destination { upper_threshold: 4, lower_threshold: 2, ..weight(10) };
    rig.apply(&[
        Operation::AddDestination(rig.key, key_of(first.address), limited),
        Operation::AddDestination(rig.key, key_of(second.address), weight(1)),
    ]);
    let mut clients = Vec::new();
    for expected in [(4, 0), (4, 4), (4, 8)] {
        clients.extend((0..4).map(|_| rig.connect()));
        let active = |rig: &mut Rig, of: SocketAddr| rig.counters().destinations[&key_of(of)].active;
        wait(
            || format!("{expected:?}"),
            || (active(&mut rig, first.address), active(&mut rig, second.address)) == expected,
        );
    }
}
