//! TCP: bytes, ends, refusals, limits.
#![allow(clippy::disallowed_methods)] // Measures that something did not wait.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use holdfast::ipvs::config::ProxyProtocol;
use holdfast::ipvs::table::Operation;

use crate::rig::*;

#[test]
fn every_byte_arrives_in_both_directions() {
    let server = Server::echo();
    let mut rig = Rig::new(&settings(), &[server.address]);
    for (seed, length) in (1..).zip([0, 1, 1000, 32 << 10, (64 << 10) + 1, 1_000_000, 60_000_000]) {
        round_trip(rig.connect(), seed, length).unwrap();
    }
    std::thread::scope(|scope| {
        let work = (100..140).map(|seed| {
            let stream = rig.connect();
            scope.spawn(move || round_trip(stream, seed, seed * 20_011))
        });
        for result in work.collect::<Vec<_>>() {
            result.join().unwrap().unwrap();
        }
    });
    rig.wait_open(0);
    let counters = rig.counters();
    let bytes = 62_000_000 + (32 << 10) + (64 << 10) + 2 + 1000 - 1_000_000 + (100..140).sum::<u64>() * 20_011;
    assert_eq!((counters.total.in_bytes, counters.total.out_bytes), (bytes, bytes));
    assert_eq!(counters.total.connections, 47);
    assert_eq!(counters.destinations[&key_of(server.address)].total.in_bytes, bytes);
    assert_eq!(counters.destinations[&key_of(server.address)].active, 0);
}

#[test]
fn a_server_that_speaks_first_is_heard_at_once() {
    let server = Server::named();
    let rig = Rig::new(&settings(), &[server.address]);
    let times = (0..50).map(|_| {
        let begun = Instant::now();
        assert_eq!(ask(rig.address), server.address.to_string());
        begun.elapsed()
    });
    // The handshake's acknowledgement would be delayed by 40 to 200 ms.
    assert!(quick(times.collect()) < Duration::from_millis(30));
}

#[test]
fn either_side_may_end_first() {
    let (server, streams) = Server::manual();
    let mut rig = Rig::new(&settings(), &[server.address]);
    let mut client = rig.connect();
    let mut far = streams.recv_timeout(LIMIT).unwrap();
    far.write_all(b"that was all from me").unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "that was all from me");
    client.write_all(b"but not from me").unwrap();
    let mut part = [0; 15];
    far.read_exact(&mut part).unwrap();
    assert_eq!(&part, b"but not from me");
    assert_eq!(rig.plane.open_connections(), 1);
    drop(client);
    assert_eq!(far.read(&mut part).unwrap(), 0);
    rig.wait_open(0);
}

#[test]
fn requests_and_answers_are_not_held_back() {
    // Says nothing before it has both bytes: one that waits for an acknowledgement waits 40 ms.
    let server = Server::start(|mut stream| {
        let mut both = [0; 2];
        while stream.read_exact(&mut both).is_ok() && stream.write_all(&both).is_ok() {}
    });
    let rig = Rig::new(&settings(), &[server.address]);
    let mut client = rig.connect();
    client.set_nodelay(true).unwrap();
    let times = (0..60u8).map(|number| {
        let begun = Instant::now();
        client.write_all(&[number]).unwrap();
        std::thread::sleep(Duration::from_millis(2)); // Two writes here are to be two writes there.
        client.write_all(&[number]).unwrap();
        let mut answer = [0; 2];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [number; 2]);
        begun.elapsed()
    });
    assert!(quick(times.collect()) < Duration::from_millis(30));
}

/// What holds everything back holds back the quickest tenth too; a busy machine does not.
fn quick(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 10]
}

#[test]
fn a_refusal_leads_to_the_next_candidate() {
    let server = Server::named();
    let mut rig = Rig::new(&settings(), &[closed(), server.address, closed()]);
    for _ in 0..30 {
        assert_eq!(ask(rig.address), server.address.to_string());
    }
    rig.wait_open(0);
    assert!(rig.counters().destinations.values().all(|destination| destination.active == 0));
}

/// A server whose queue is full: SYNs get no answer.
fn silent() -> (socket2::Socket, Vec<TcpStream>, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(address(), 0).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let filling = (0..8).map_while(|_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok());
    let filling = filling.collect();
    (socket, filling, address)
}

#[test]
fn silence_leads_to_the_next_candidate_after_the_timeout() {
    let (_socket, _filling, silent) = silent();
    let server = Server::named();
    let settings = proxy(|proxy| proxy.connect_timeout = Duration::from_millis(300));
    let mut rig = Rig::new(&settings, &[silent, server.address]);
    let begun = Instant::now();
    assert_eq!(ask(rig.address), server.address.to_string());
    assert_eq!(ask(rig.address), server.address.to_string());
    assert!(begun.elapsed() >= Duration::from_millis(300), "one of them met the silent one");
    rig.wait_open(0);
}

#[test]
fn nobody_there_is_a_reset() {
    for servers in [vec![], vec![closed()], vec![closed(), closed(), closed(), closed(), closed()]] {
        let mut rig = Rig::new(&settings(), &servers);
        let error = rig.connect().read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        rig.wait_open(0);
    }
}

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_reset_is_passed_on_both_ways() {
    let (server, streams) = Server::manual();
    let mut rig = Rig::new(&settings(), &[server.address]);
    let mut client = rig.connect();
    let mut far = streams.recv_timeout(LIMIT).unwrap();
    client.write_all(b"x").unwrap();
    far.read_exact(&mut [0; 1]).unwrap();
    reset(far);
    assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);

    let mut client = rig.connect();
    let mut far = streams.recv_timeout(LIMIT).unwrap();
    client.write_all(b"x").unwrap();
    far.read_exact(&mut [0; 1]).unwrap();
    reset(client);
    assert_eq!(far.read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    rig.wait_open(0);
}

#[test]
fn silence_ends_a_connection_and_traffic_does_not() {
    let server = Server::echo();
    let mut rig = Rig::new(&proxy(|proxy| proxy.idle_timeout = Duration::from_secs(5)), &[server.address]);
    let (mut busy, mut idle) = (rig.connect(), rig.connect());
    let ended = std::thread::spawn(move || (idle.read(&mut [0; 1]).unwrap_err().kind(), Instant::now()));
    let begun = Instant::now();
    while !ended.is_finished() || begun.elapsed() < Duration::from_secs(11) {
        busy.write_all(b"x").unwrap();
        busy.read_exact(&mut [0; 1]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let (kind, at) = ended.join().unwrap();
    assert_eq!(kind, io::ErrorKind::ConnectionReset);
    assert!(at - begun >= Duration::from_secs(4));
    rig.wait_open(1);
}

#[test]
fn a_reset_closes_only_what_the_server_ended_first_and_where_that_is_asked_for() {
    let (server, streams) = Server::manual();
    let ends_first = |settings: &holdfast::ipvs::table::ServiceSettings| {
        let rig = Rig::new(settings, &[server.address]);
        let (mut client, mut there) = (rig.connect(), streams.recv_timeout(LIMIT).unwrap());
        // Everything has arrived before the end.
        client.write_all(b"question").unwrap();
        there.read_exact(&mut [0; 8]).unwrap();
        there.write_all(b"answer").unwrap();
        there.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
        drop(client);
        there.read(&mut [0; 1]).map_err(|error| error.kind())
    };
    assert_eq!(ends_first(&settings()), Ok(0));
    let asked_for = proxy(|proxy| proxy.reset_close = true);
    assert_eq!(ends_first(&asked_for), Err(io::ErrorKind::ConnectionReset));
    // Who ends first is asked for nothing.
    let rig = Rig::new(&asked_for, &[server.address]);
    let (mut client, mut there) = (rig.connect(), streams.recv_timeout(LIMIT).unwrap());
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(there.read(&mut [0; 1]).unwrap(), 0);
    there.write_all(b"late answer").unwrap();
    drop(there);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "late answer");
}

#[test]
fn the_proxy_protocol_comes_first() {
    for (version, header) in [(ProxyProtocol::V1, 0), (ProxyProtocol::V2, 28)] {
        let (server, streams) = Server::manual();
        let rig = Rig::new(&proxy(|proxy| proxy.proxy_protocol = Some(version)), &[server.address]);
        for silent in [false, true] {
            let mut client = rig.connect();
            let (ours, theirs) = (client.local_addr().unwrap(), rig.address);
            if !silent {
                client.write_all(b"hello").unwrap();
                client.shutdown(Shutdown::Write).unwrap();
            }
            let mut far = streams.recv_timeout(LIMIT).unwrap();
            let line = format!("PROXY TCP4 {} {} {} {}\r\n", ours.ip(), theirs.ip(), ours.port(), theirs.port());
            let mut bytes = vec![0; if header == 0 { line.len() } else { header }];
            far.read_exact(&mut bytes).unwrap();
            match version {
                ProxyProtocol::V1 => assert_eq!(String::from_utf8(bytes).unwrap(), line),
                ProxyProtocol::V2 => assert_eq!(bytes[24..26], ours.port().to_be_bytes()),
            }
            if silent {
                far.write_all(b"you first").unwrap();
                client.read_exact(&mut [0; 9]).unwrap();
            } else {
                let mut text = String::new();
                far.read_to_string(&mut text).unwrap();
                assert_eq!(text, "hello");
            }
        }
    }
}

#[test]
fn a_slow_reader_holds_up_its_sender_and_nobody_else() {
    const LENGTH: u64 = 120_000_000;
    let server = Server::start(|mut stream| {
        let mut seed = [0; 1];
        stream.read_exact(&mut seed).unwrap();
        let length = if seed == [1] { LENGTH } else { 1000 };
        let _ = io::copy(&mut Pattern::new(u64::from(seed[0]), length), &mut stream);
    });
    let mut rig = Rig::new(&settings(), &[server.address]);
    let mut slow = rig.connect();
    slow.write_all(&[1]).unwrap();
    // It stalls when the kernel's buffers are full.
    let (mut before, mut same) = (0, 0);
    wait(
        || "a stall".to_owned(),
        || {
            let now = rig.counters().total.out_bytes;
            same = if now == before && now > 0 { same + 1 } else { 0 };
            before = now;
            std::thread::sleep(Duration::from_millis(10));
            same > 30
        },
    );
    assert!(before < LENGTH / 2, "{before} bytes were taken from the server without a reader");
    for _ in 0..20 {
        let mut other = rig.connect();
        other.write_all(&[2]).unwrap();
        check(other, 2, 1000).unwrap();
    }
    check(slow, 1, LENGTH).unwrap();
    rig.wait_open(0);
}

#[test]
fn clients_and_servers_that_break_off_do_no_harm_to_others() {
    // The first byte says what the server does: echo, or break off after that many KiB.
    let server = Server::start(|mut stream| {
        let mut first = [0; 1];
        if stream.read_exact(&mut first).is_err() {
            return;
        }
        if first == [0] {
            return echo(stream);
        }
        let _ = io::copy(&mut Pattern::new(1, u64::from(first[0]) * 1024), &mut stream);
        reset(stream);
    });
    let mut rig = Rig::new(&settings(), &[server.address]);
    let address = rig.address;
    let result: Result<(), String> = std::thread::scope(|scope| {
        let good: Vec<_> = (0..4u64)
            .map(|client| {
                scope.spawn(move || {
                    (0..60).try_for_each(|round| {
                        let mut stream = connect(address);
                        stream.write_all(&[0]).unwrap();
                        round_trip(stream, client * 100 + round, (client + 1) * round * 5003)
                    })
                })
            })
            .collect();
        for client in 0..4u8 {
            scope.spawn(move || {
                for round in 1..=120u8 {
                    let mut stream = connect(address);
                    // Some want to be broken off, some break off themselves, in the middle and with much unread.
                    let _ = stream.write_all(&[if client % 2 == 0 { round } else { 0 }]);
                    let amount = u64::from(round) * 3000;
                    let _ = io::copy(&mut Pattern::new(9, amount), &mut stream);
                    let _ = (&stream).take(amount / 3).read_to_end(&mut Vec::new());
                    if round % 3 == 0 {
                        reset(stream);
                    }
                }
            });
        }
        good.into_iter().try_for_each(|client| client.join().unwrap())
    });
    result.unwrap();
    rig.wait_open(0);
    assert!(rig.counters().destinations.values().all(|destination| destination.active == 0));
}

#[test]
fn a_real_server_that_vanishes_costs_its_own_connections() {
    let (victim, streams) = Server::manual();
    let other = Server::echo();
    let mut rig = Rig::new(&settings(), &[victim.address, other.address]);
    let clients: Vec<_> = (0..10).map(|_| rig.connect()).collect();
    let doomed: Vec<_> = (0..5).map(|_| streams.recv_timeout(LIMIT).unwrap()).collect();
    doomed.into_iter().for_each(reset);
    let fate = |mut client: TcpStream| {
        let _ = client.write_all(b"x");
        client.read_exact(&mut [0; 1]).is_ok()
    };
    assert_eq!(clients.into_iter().map(fate).filter(|alive| *alive).count(), 5);
    drop(victim);
    rig.wait_open(0);
}

#[test]
fn ipv6_is_no_different() {
    let server = Server::at("[::1]:0".parse().unwrap(), echo);
    let port = std::net::TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap().port();
    let mut rig = Rig::new(&settings(), &[]);
    let address: SocketAddr = format!("[::1]:{port}").parse().unwrap();
    rig.key = holdfast::ipvs::types::ServiceKey::Address {
        protocol: holdfast::ipvs::types::Protocol::Tcp,
        address: key_of(address),
    };
    rig.apply(&[Operation::AddService(rig.key, settings())]);
    rig.add(server.address);
    round_trip(connect(address), 5, 3_000_000).unwrap();
}
