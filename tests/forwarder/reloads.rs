//! The whole daemon is told to reload every second, each time with another file, while clients check every byte.
#![allow(clippy::disallowed_methods)] // Waits in real time, with generous limits.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use holdfast::lab::director::{CONFIG, Daemon, Director};
use holdfast::lab::host::Host;
use holdfast::lab::lan::Lan;

use crate::rig::{LIMIT, Pattern, Server, connect, echo, round_trip, wait};

const VIP: &str = "10.8.0.100:7000";
const RELOADS: usize = 8;
const CLIENTS: u64 = 4;

/// Everything about the virtual server changes, but its address and the first real server; `spare` comes and goes.
fn config(turn: usize) -> String {
    let algorithm = ["rr", "wlc", "sh", "mh"][turn % 4];
    let persistence = if turn % 3 == 1 { "persistence_timeout 60" } else { "" };
    let checker = if turn.is_multiple_of(2) { "TCP_CHECK {\n connect_timeout 10\n }" } else { "" };
    let real =
        |last: u8, weight: usize| format!("real_server 10.8.0.{last} 7000 {{\n weight {weight}\n {checker}\n}}\n");
    let spare = if turn.is_multiple_of(2) { real(12, 1 + turn % 5) } else { String::new() };
    let others = (0..turn % 3).map(|n| {
        format!(
            "virtual_server 10.8.0.100 {} {{\n lb_algo rr\n lb_kind NAT\n protocol TCP\n{}}}\n",
            7001 + n,
            real(11, 1)
        )
    });
    format!(
        "global_defs {{\n virtual_server_forwarder userspace\n forwarder_threads 2\n}}\n\
         vrrp_instance VI_1 {{\n interface eth0\n virtual_router_id 8\n priority {}\n advert_int 0.2\n version 3\n \
         virtual_ipaddress {{ 10.8.0.100/24 }}\n}}\n\
         virtual_server 10.8.0.100 7000 {{\n delay_loop 0.5\n lb_algo {algorithm}\n lb_kind NAT\n protocol TCP\n \
         {persistence}\n{}{spare}}}\n{}",
        100 + turn,
        real(11, 1 + turn % 7),
        others.collect::<String>()
    )
}

/// Bytes there and back at a leisurely pace over one connection, until all reloads are over.
fn long_lived(address: SocketAddr, stop: &AtomicBool) -> Result<u64, String> {
    let mut stream = connect(address);
    let (mut there, mut back) = (Pattern::new(9, u64::MAX), Pattern::new(9, u64::MAX));
    let (mut sent, mut got, mut wanted) = (vec![0; 40_000], vec![0; 40_000], vec![0; 40_000]);
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        there.read_exact(&mut sent).expect("endless");
        back.read_exact(&mut wanted).expect("endless");
        let moved = stream.write_all(&sent).and_then(|()| stream.read_exact(&mut got));
        moved.map_err(|error| format!("the connection that was there before: {error}, in round {rounds}"))?;
        if got != wanted {
            return Err(format!("wrong bytes in round {rounds}"));
        }
        rounds += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(rounds)
}

#[test]
fn no_stream_notices_a_reload_every_second() {
    needs_root!();
    let mut lan = Lan::new("lan").expect("a namespace");
    let mut host = |name: &str, last: u8| {
        let host = Host::new(name).expect("a namespace");
        lan.plug(&host, "eth0", &[(IpAddr::from([10, 8, 0, last]), 24)]).expect("a cable");
        host
    };
    let (director, client, webs) = (host("director", 1), host("client", 9), [host("web1", 11), host("web2", 12)]);
    lan.wait_ready().expect("a switch");
    for host in webs.iter().chain([&director, &client]) {
        lan.wait_host_ready(host, "eth0").expect("a link");
    }
    // Their threads stay in the namespaces in which they begin.
    let servers: Vec<Server> = webs
        .iter()
        .zip([11, 12])
        .map(|(host, last)| host.run(move || Server::at(SocketAddr::from(([10, 8, 0, last], 7000)), echo)))
        .collect();
    let daemon = Daemon { program: PathBuf::from(env!("CARGO_BIN_EXE_holdfast")), options: Vec::new() };
    let mut director = Director::new(director, daemon, &config(0), Vec::new()).expect("private mounts");
    director.start().expect("the daemon starts");
    director.wait_for("VI_1", "MASTER", LIMIT).expect("a master");
    let vip: SocketAddr = VIP.parse().expect("an address");
    wait(|| "service".to_owned(), || client.run(move || std::net::TcpStream::connect(vip).is_ok()));

    let stop = Arc::new(AtomicBool::new(false));
    let streams = Arc::new(AtomicU64::new(0));
    let stopped = Arc::clone(&stop);
    let old = client.thread("old", move || long_lived(vip, &stopped)).expect("a thread");
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (stop, streams) = (Arc::clone(&stop), Arc::clone(&streams));
            let work = move || {
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    let length = if round % 10 == 0 { 4_000_000 } else { round * 1511 };
                    round_trip(connect(vip), number * 1000 + round, length)?;
                    streams.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            };
            client.thread("client", work).expect("a thread")
        })
        .collect();
    let mut mark = director.log_mark();
    for turn in 1..=RELOADS {
        let before = streams.load(Ordering::Relaxed);
        director.write_file(Path::new(CONFIG), &config(turn)).expect("private");
        director.reload();
        director.wait_for_line(mark, "reload: ", LIMIT).unwrap_or_else(|error| panic!("reload {turn}: {error}"));
        mark = director.log_mark();
        std::thread::sleep(Duration::from_secs(1));
        // However slow this machine is, there is traffic between two reloads.
        let ended = || clients.iter().any(std::thread::JoinHandle::is_finished);
        wait(|| format!("streams after reload {turn}"), || streams.load(Ordering::Relaxed) > before || ended());
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no panic").unwrap_or_else(|error: String| panic!("{error}"));
    }
    let rounds = old.join().expect("no panic").unwrap_or_else(|error| panic!("{error}"));
    assert!(rounds > 0 && streams.load(Ordering::Relaxed) >= CLIENTS);
    let changes = director.log().iter().filter(|line| line.state_change().is_some()).count();
    assert_eq!(changes, 2, "BACKUP, then MASTER: VRRP goes on as well");
    // A server is ended by a connection, which has to come from where it is.
    for (host, server) in webs.iter().zip(servers) {
        host.run(move || drop(server));
    }
}
