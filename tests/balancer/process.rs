//! The process alone: what it says of real servers, what it asks for, and how it ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use holdfast::checkers::report::{Ended, ExecOutcome};
use holdfast::ipvs::config::VirtualServerConfig;
use holdfast::ipvs::diff::BalancerDiff;
use holdfast::ipvs::event::{AdminState, Event};
use holdfast::ipvs::message::{FromBalancer, Reconfigure, Start, ToBalancer};
use holdfast::ipvs::types::{Protocol, ServiceKey};

use crate::child::{BalancerProcess, PATIENCE};
use crate::config::{balancer, free_port, id, key, misc_check, real_server, tcp_check};

fn name(address: SocketAddr) -> String {
    format!("[{}]:tcp:{}", address.ip(), address.port())
}

/// One virtual server, one real server that is asked whether its port is open.
struct Pair {
    virtual_address: SocketAddr,
    real_address: SocketAddr,
}

impl Pair {
    fn new() -> Self {
        Self { virtual_address: free_port(), real_address: free_port() }
    }

    fn start(&self) -> Start {
        let real = real_server(self.real_address, vec![tcp_check(self.real_address)]);
        Start { config: balancer(self.virtual_address, VirtualServerConfig::new(vec![real])), ..Start::default() }
    }

    fn line(&self, word: &str) -> String {
        format!("RS {} {} {word}", name(self.real_address), name(self.virtual_address))
    }

    fn quorum_line(&self, word: &str) -> String {
        format!("VS {} {word}", name(self.virtual_address))
    }
}

#[test]
fn a_real_server_goes_and_comes_and_the_quorum_with_it() {
    let pair = Pair::new();
    let mut process = BalancerProcess::start(pair.start());
    process.wait_for("ready", |message| matches!(message, FromBalancer::Ready).then_some(()));
    process.wait_for_line(&pair.line("DOWN"));
    process.wait_for_line(&pair.quorum_line("DOWN"));
    let _server = TcpListener::bind(pair.real_address).expect("still free");
    process.wait_for_line(&pair.line("UP"));
    process.wait_for_line(&pair.quorum_line("UP"));
    process.send(&ToBalancer::Stop);
    process.wait_for("its last word", |message| matches!(message, FromBalancer::Stopped).then_some(()));
    assert!(process.wait().success());
}

#[test]
fn main_runs_its_commands() {
    let pair = Pair::new();
    let mut start = pair.start();
    let server = start.config.services.values_mut().next().expect("one");
    server.real_servers[0].checkers = vec![misc_check("/bin/probe it")];
    let mut process = BalancerProcess::start(start);
    let answer = |process: &mut BalancerProcess, code| {
        let request = process.wait_for("a request", |message| match message {
            FromBalancer::Exec(request) => Some(request),
            _ => None,
        });
        assert_eq!(request.command.text, "/bin/probe it");
        process.send(&ToBalancer::ExecDone(ExecOutcome { id: request.id, ended: Ended::Exited(code) }));
    };
    answer(&mut process, 1);
    process.wait_for_line(&pair.line("DOWN"));
    answer(&mut process, 12);
    let weight = process.wait_for("a weight", |message| match message {
        FromBalancer::Event { event: Event::Weight { to, .. }, .. } => Some(to),
        _ => None,
    });
    assert_eq!(weight, 10, "misc_dynamic: exit code - 2");
}

#[test]
fn a_reload_keeps_what_is_known_and_an_operator_s_word() {
    let pair = Pair::new();
    let mut process = BalancerProcess::start(pair.start());
    process.wait_for_line(&pair.line("DOWN"));
    let state = AdminState::Drain;
    process.send(&ToBalancer::Admin {
        virtual_server: id(pair.virtual_address),
        real_server: key(pair.real_address),
        state,
    });
    let before = pair.start().config;
    let mut changed = before.clone();
    let server = changed.services.values_mut().next().expect("one");
    server.quorum_down = None;
    server.real_servers[0].weight = 7;
    let diff = BalancerDiff::between(&before, &changed);
    process.send(&ToBalancer::Reconfigure(Box::new(Reconfigure { after: 0, diff })));
    process.wait_for("the new weight", |message| match message {
        FromBalancer::Event { event: Event::Weight { to: 7, .. }, .. } => Some(()),
        FromBalancer::Event { event, .. } => {
            assert_ne!(event.fifo_line(), Some(pair.line("UP")), "it is still down");
            None
        }
        _ => None,
    });
    process.send(&ToBalancer::SnapshotPlease);
    let snapshot = process.wait_for("a snapshot", |message| match message {
        FromBalancer::Snapshot(snapshot) => Some(snapshot),
        _ => None,
    });
    let real = &snapshot.virtual_servers[0].real_servers[0];
    assert_eq!((real.up, real.admin, real.weight, real.table_weight), (false, state, 7, 0));
}

#[test]
fn who_has_missed_a_reload_asks_for_everything() {
    let pair = Pair::new();
    let mut process = BalancerProcess::start(pair.start());
    process.wait_for("ready", |message| matches!(message, FromBalancer::Ready).then_some(()));
    let before = pair.start().config;
    let with_weight = |weight| {
        let mut config = before.clone();
        config.services.values_mut().next().expect("one").real_servers[0].weight = weight;
        config
    };
    let reload = |after, from, to| {
        let diff = BalancerDiff::between(&with_weight(from), &with_weight(to));
        ToBalancer::Reconfigure(Box::new(Reconfigure { after, diff }))
    };
    // The first one, to 5, was never told.
    process.send(&reload(1, 5, 6));
    process.wait_for("a question", |message| matches!(message, FromBalancer::WholePlease).then_some(()));
    process.send(&ToBalancer::Replace { reloads: 2, config: Box::new(with_weight(6)) });
    process.send(&reload(2, 6, 7));
    let mut weights = Vec::new();
    process.wait_for("the last weight", |message| match message {
        FromBalancer::Event { event: Event::Weight { from, to, .. }, .. } => {
            weights.push((from, to));
            (to == 7).then_some(())
        }
        FromBalancer::WholePlease => panic!("it knows all now"),
        _ => None,
    });
    assert_eq!(weights, [(1, 6), (6, 7)]);
}

#[test]
fn a_snapshot_tells_what_was_carried() {
    let pair = Pair::new();
    let server = TcpListener::bind(pair.real_address).expect("a free port");
    let mut start = pair.start();
    start.config.services.values_mut().next().expect("one").real_servers[0].checkers.clear();
    let mut process = BalancerProcess::start(start);
    process.wait_for("ready", |message| matches!(message, FromBalancer::Ready).then_some(()));
    let mut client = TcpStream::connect(pair.virtual_address).expect("the forwarder listens");
    client.write_all(b"question").expect("room for it");
    let (mut connection, _) = server.accept().expect("the forwarder connects");
    connection.read_exact(&mut [0; 8]).expect("the question");
    connection.write_all(b"and the answer").expect("room for it");
    client.read_exact(&mut [0; 14]).expect("the answer");
    let service = ServiceKey::Address { protocol: Protocol::Tcp, address: key(pair.virtual_address) };
    // The bytes are counted when they are written; the client may have them before that.
    let deadline = Instant::now() + PATIENCE;
    let snapshot = loop {
        assert!(Instant::now() < deadline, "nothing is counted");
        process.send(&ToBalancer::SnapshotPlease);
        let snapshot = process.wait_for("a snapshot", |message| match message {
            FromBalancer::Snapshot(snapshot) => Some(snapshot),
            _ => None,
        });
        if snapshot.counters.get(&service).is_some_and(|counters| counters.total.out_bytes > 0) {
            break snapshot;
        }
    };
    let known = &snapshot.virtual_servers[0];
    let carried = snapshot.carried(known).expect("it is in a data plane");
    assert_eq!((carried.connections, carried.in_bytes, carried.out_bytes), (1, 8, 14));
    let by_real = snapshot.carried_by(known, key(pair.real_address)).expect("so is its real server");
    assert_eq!((by_real.total.connections, by_real.total.in_bytes, by_real.active), (1, 8, 1));
    let table = &snapshot.forwarder.services[&service];
    assert_eq!(table.destinations.keys().collect::<Vec<_>>(), [&key(pair.real_address)]);
}

#[test]
fn without_main_it_ends() {
    let pair = Pair::new();
    let mut process = BalancerProcess::start(pair.start());
    process.wait_for("ready", |message| matches!(message, FromBalancer::Ready).then_some(()));
    process.hang_up();
    assert!(process.wait().success());
}

#[test]
fn a_main_of_another_build_is_not_obeyed() {
    let mut process = BalancerProcess::spawn();
    process.send(&ToBalancer::Hello { build: "another".to_owned() });
    assert_eq!(process.wait().code(), Some(holdfast::child::EXIT_SOFTWARE));
}

#[test]
fn sigterm_alone_ends_it_too() {
    let pair = Pair::new();
    let mut process = BalancerProcess::start(pair.start());
    process.wait_for("ready", |message| matches!(message, FromBalancer::Ready).then_some(()));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(process.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
    process.wait_for("its last word", |message| matches!(message, FromBalancer::Stopped).then_some(()));
    assert!(process.wait().success());
}
