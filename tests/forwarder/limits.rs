//! The end of descriptors, ten thousand connections, limits, and memory that comes back.
//!
//! A forwarder whose descriptors and memory matter is a process of its own: this program again, told by the environment.
#![allow(clippy::disallowed_methods)] // Waits in real time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use holdfast::ipvs::dataplane::Dataplane;
use holdfast::ipvs::forward::{Options, Userspace};
use holdfast::ipvs::table::Operation;
use holdfast::ipvs::types::{Protocol, ServiceKey};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::rig::*;

const ADDRESSES: &str = "HOLDFAST_TEST_FORWARDER";

/// Not a test of its own: the other process. Ends with its standard input.
#[test]
fn forwarder_process() {
    let Ok(addresses) = std::env::var(ADDRESSES) else { return };
    let mut words = addresses.split(' ');
    let limit: u64 = words.next().unwrap().parse().unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit).unwrap();
    let mut address = || words.next().unwrap().parse::<SocketAddr>().unwrap();
    let (virtual_server, real_server) = (address(), address());
    let mut plane = Userspace::start(&Options { threads: Some(2), ..Options::default() }).unwrap();
    let key = ServiceKey::Address { protocol: Protocol::Tcp, address: key_of(virtual_server) };
    let refusals = plane.apply(&[
        Operation::AddService(key, settings()),
        Operation::AddDestination(key, key_of(real_server), weight(1)),
    ]);
    assert_eq!(refusals, []);
    eprintln!("ready");
    io::stdin().lock().lines().for_each(drop);
}

struct Forwarder {
    process: Child,
    address: SocketAddr,
}

impl Forwarder {
    fn start(descriptors: u64, real_server: SocketAddr) -> Self {
        let address = SocketAddr::new(address(), 8080);
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "limits::forwarder_process", "--nocapture"])
            .env(ADDRESSES, format!("{descriptors} {address} {real_server}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("ready")));
        Self { process, address }
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    /// User memory in bytes.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// The limit of open files that this process, which is clients and servers, can have, up to `wanted`.
fn descriptors_for(wanted: u64) -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let limit = if setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_ok() { wanted } else { hard };
    setrlimit(Resource::RLIMIT_NOFILE, limit, limit).unwrap();
    limit
}

#[test]
fn without_descriptors_clients_wait_and_all_are_served() {
    let server = Server::echo();
    let forwarder = Forwarder::start(90, server.address);
    let before = forwarder.descriptors();
    // Far more than there is room for, all at once; in the kernel's queue they wait.
    let streams: Vec<TcpStream> = (0..200).map(|_| connect(forwarder.address)).collect();
    wait(|| format!("descriptors to run out, there are {}", forwarder.descriptors()), || forwarder.descriptors() > 80);
    std::thread::scope(|scope| {
        let work = (1..).zip(streams).map(|(seed, stream)| scope.spawn(move || round_trip(stream, seed, seed * 997)));
        for result in work.collect::<Vec<_>>() {
            result.join().unwrap().unwrap();
        }
    });
    // Each of the two threads keeps two pipes.
    let kept = before + 8;
    wait(|| format!("{kept} descriptors, there are {}", forwarder.descriptors()), || forwarder.descriptors() <= kept);
    round_trip(connect(forwarder.address), 1, 2_000_000).unwrap();
}

async fn echo_server(address: SocketAddr) -> SocketAddr {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(address).unwrap();
    let listener = socket.listen(16_384).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { continue };
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn exchange(stream: &mut tokio::net::TcpStream, seed: u64) {
    let mut sent = vec![0; 3000];
    Pattern::new(seed, 3000).read_exact(&mut sent).unwrap();
    stream.write_all(&sent).await.unwrap();
    let mut got = vec![0; 3000];
    stream.read_exact(&mut got).await.unwrap();
    assert!(got == sent, "connection {seed} got other bytes");
}

/// Waits while the servers of this runtime go on.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + LIMIT;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn ten_thousand_connections_at_once() {
    needs_root!();
    // Two descriptors for each; where root may not raise the limit, which some containers forbid, a few hundred fewer.
    let limit = descriptors_for(50_000);
    let count = 10_000.min(limit.saturating_sub(2000) / 2);
    if count < 8_000 {
        return crate::common::skipped(&format!("needs 18,000 file descriptors, the limit is {limit}"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(echo_server(SocketAddr::new(address(), 0)));
    let forwarder = Forwarder::start(limit, server);
    let address = forwarder.address;
    let connect_all = async move |count: u64| {
        let mut streams = Vec::new();
        for seed in 0..count {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            if seed % 100 == 0 {
                exchange(&mut stream, seed).await;
            }
            streams.push(stream);
        }
        streams
    };
    drop(runtime.block_on(connect_all(500)));
    runtime.block_on(until("the first to end", || forwarder.descriptors() < 100));
    let (before, descriptors) = (forwarder.memory(), forwarder.descriptors());
    let mut streams = runtime.block_on(connect_all(count));
    runtime.block_on(until("all to be open", || forwarder.descriptors() as u64 >= 2 * count));
    runtime.block_on(async {
        for round in 0..2 {
            let work = (0..).zip(std::mem::take(&mut streams)).map(|(seed, mut stream)| {
                tokio::spawn(async move {
                    exchange(&mut stream, round * count + seed).await;
                    stream
                })
            });
            for task in work.collect::<Vec<_>>() {
                streams.push(tokio::time::timeout(LIMIT, task).await.expect("no connection hangs").unwrap());
            }
        }
    });
    let each = forwarder.memory().saturating_sub(before) / count;
    assert!(each <= 400, "{each} bytes of user memory for each idle connection");
    drop(streams);
    runtime.block_on(until("descriptors to come back", || forwarder.descriptors() <= descriptors));
    let bound = before + (1 << 20);
    runtime.block_on(until("memory to come back", || forwarder.memory() <= bound));
}

#[test]
fn hundreds_of_slow_readers_take_little_memory() {
    let server = Server::start(|mut stream| {
        let _ = io::copy(&mut Pattern::new(1, u64::MAX), &mut stream);
    });
    let forwarder = Forwarder::start(4096, server.address);
    let before = forwarder.memory();
    let streams: Vec<TcpStream> = (0..300)
        .map(|_| {
            let stream = connect(forwarder.address);
            socket2::SockRef::from(&stream).set_recv_buffer_size(4096).unwrap();
            stream
        })
        .collect();
    // Until the last of them has been stalled for a while.
    let (mut highest, mut same) = (0, 0);
    wait(
        || "memory to settle".to_owned(),
        || {
            let now = forwarder.memory();
            same = if now <= highest { same + 1 } else { 0 };
            highest = highest.max(now);
            std::thread::sleep(Duration::from_millis(10));
            same > 100
        },
    );
    assert!(highest - before < 28 << 20, "{} bytes", highest - before);
    drop(streams);
    let bound = before + (2 << 20);
    wait(|| format!("memory to come back to {before}, it is {}", forwarder.memory()), || forwarder.memory() <= bound);
}

#[test]
fn beyond_the_limit_of_connections_clients_wait() {
    let (server, streams) = Server::manual();
    let mut rig = Rig::new(&proxy(|proxy| proxy.max_connections = 2), &[server.address]);
    let mut clients: Vec<TcpStream> = (0..4).map(|_| rig.connect()).collect();
    let mut served: Vec<TcpStream> = (0..2).map(|_| streams.recv_timeout(LIMIT).unwrap()).collect();
    assert!(matches!(streams.recv_timeout(Duration::from_millis(200)), Err(RecvTimeoutError::Timeout)));
    assert_eq!(rig.plane.open_connections(), 2);
    for _ in 0..2 {
        // The two ends of one connection go.
        let one = served.remove(0);
        drop(one);
        for client in &mut clients {
            let _ = client.write_all(b"x");
        }
        served.push(streams.recv_timeout(LIMIT).unwrap());
        wait(|| "two again".to_owned(), || rig.plane.open_connections() <= 2);
    }
    drop(served);
    drop(clients);
    rig.wait_open(0);
}
