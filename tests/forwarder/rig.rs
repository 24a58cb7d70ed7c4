//! A forwarder in this process, real servers in threads, and bytes that can be told right from wrong.
#![allow(clippy::disallowed_methods)] // Waits in real time, with generous limits.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use holdfast::ipvs::config::ProxyConfig;
use holdfast::ipvs::dataplane::{Dataplane, Refusal, ServiceCounters};
use holdfast::ipvs::forward::{Options, Userspace};
use holdfast::ipvs::table::{Destination, Operation, ServiceSettings};
use holdfast::ipvs::types::{Protocol, Scheduler, ServiceKey, SocketKey};

use crate::common::loopback;

/// Nothing here takes that long unless it hangs.
pub const LIMIT: Duration = Duration::from_secs(60);

/// An address that no other test has.
pub fn address() -> IpAddr {
    loopback().into()
}

/// One virtual server on a forwarder of its own, of two threads.
pub struct Rig {
    pub plane: Userspace,
    pub key: ServiceKey,
    pub address: SocketAddr,
}

pub fn settings() -> ServiceSettings {
    ServiceSettings { scheduler: Scheduler::Rr, ..ServiceSettings::default() }
}

pub fn proxy(change: impl FnOnce(&mut ProxyConfig)) -> ServiceSettings {
    let mut settings = settings();
    change(&mut settings.proxy);
    settings
}

pub fn weight(weight: u32) -> Destination {
    Destination { weight, ..Destination::default() }
}

pub fn key_of(address: SocketAddr) -> SocketKey {
    SocketKey::new(address.ip(), address.port())
}

impl Rig {
    pub fn new(settings: &ServiceSettings, servers: &[SocketAddr]) -> Self {
        Self::of(Protocol::Tcp, settings, servers)
    }

    pub fn of(protocol: Protocol, settings: &ServiceSettings, servers: &[SocketAddr]) -> Self {
        let options = Options { threads: Some(2), ..Options::default() };
        let plane = Userspace::start(&options).unwrap();
        let address = SocketAddr::new(address(), 8080);
        let key = ServiceKey::Address { protocol, address: key_of(address) };
        let mut rig = Self { plane, key, address };
        rig.apply(&[Operation::AddService(key, settings.clone())]);
        for server in servers {
            rig.add(*server);
        }
        rig
    }

    pub fn apply(&mut self, operations: &[Operation]) {
        assert_eq!(self.plane.apply(operations), Vec::<Refusal>::new());
    }

    pub fn add(&mut self, server: SocketAddr) {
        self.apply(&[Operation::AddDestination(self.key, key_of(server), weight(1))]);
    }

    pub fn remove(&mut self, server: SocketAddr) {
        self.apply(&[Operation::RemoveDestination(self.key, key_of(server))]);
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    pub fn counters(&mut self) -> ServiceCounters {
        self.plane.counters().unwrap().remove(&self.key).unwrap()
    }

    /// Waits until this many connections are open.
    pub fn wait_open(&mut self, count: u64) {
        wait(
            || format!("{count} open connections, there are {}", self.plane.open_connections()),
            || self.plane.open_connections() == count,
        );
    }
}

/// Waits for something that is about to be so.
pub fn wait(what: impl Fn() -> String, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < LIMIT, "waited in vain for {}", what());
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// A real server: each connection in a thread.
pub struct Server {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    listener: TcpListener,
    listening: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> Self {
        Self::at(SocketAddr::new(address(), 0), serve)
    }

    pub fn at(address: SocketAddr, serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, accepting) = (Arc::clone(&stop), listener.try_clone().unwrap());
        let listening = std::thread::spawn(move || {
            for stream in accepting.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), serve) = (stream, serve.clone()) else { continue };
                std::thread::spawn(move || serve(stream));
            }
        });
        Self { address, stop, listener, listening: Some(listening) }
    }

    /// Sends back what it gets, and its end after the client's.
    pub fn echo() -> Self {
        Self::start(echo)
    }

    /// Speaks first: its address, and that was all.
    pub fn named() -> Self {
        Self::start(|mut stream| {
            let name = stream.local_addr().unwrap().to_string();
            let _ = stream.write_all(name.as_bytes());
        })
    }

    /// Hands over what it accepts.
    pub fn manual() -> (Self, mpsc::Receiver<TcpStream>) {
        let (accepted, streams) = mpsc::channel();
        let server = Self::start(move |stream| {
            stream.set_read_timeout(Some(LIMIT)).unwrap();
            stream.set_write_timeout(Some(LIMIT)).unwrap();
            let _ = accepted.send(stream);
        });
        (server, streams)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Whoever asks from now on is refused, and the thread stops waiting for more: wherever this thread is by now, which
        // may have left the server's namespace.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

pub fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                if stream.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// An address where nobody listens.
pub fn closed() -> SocketAddr {
    let listener = TcpListener::bind(SocketAddr::new(address(), 0)).unwrap();
    listener.local_addr().unwrap()
}

/// A stream of bytes that no other seed gives, and that shows where something is missing.
pub struct Pattern {
    state: u64,
    left: u64,
}

impl Pattern {
    pub fn new(seed: u64, length: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, left: length }
    }
}

impl Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        for byte in &mut buffer[..count] {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            *byte = self.state.to_le_bytes()[3];
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// Reads to the end and says whether it was exactly this pattern.
pub fn check(mut stream: impl Read, seed: u64, length: u64) -> Result<(), String> {
    let mut expected = Pattern::new(seed, length);
    let (mut got, mut wanted) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut at = 0u64;
    loop {
        let count = stream.read(&mut got).map_err(|error| format!("after {at} of {length} bytes: {error}"))?;
        if count == 0 {
            return if at == length { Ok(()) } else { Err(format!("ended after {at} of {length} bytes")) };
        }
        let same = expected.read(&mut wanted[..count]).unwrap();
        if got[..count] != wanted[..same] {
            return Err(format!("wrong bytes between {at} and {}", at + count as u64));
        }
        at += count as u64;
    }
}

/// Sends a pattern, says that it was all, and checks that it comes back.
pub fn round_trip(stream: TcpStream, seed: u64, length: u64) -> Result<(), String> {
    let mut sender = stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let sent = io::copy(&mut Pattern::new(seed, length), &mut sender);
        let _ = sender.shutdown(Shutdown::Write);
        sent
    });
    let checked = check(stream, seed, length);
    let sent = sending.join().unwrap();
    checked.map_err(|error| format!("{error}; sent {sent:?}"))
}

/// What a named server says, and how often it was which.
pub fn ask(address: SocketAddr) -> String {
    let mut name = String::new();
    connect(address).read_to_string(&mut name).unwrap();
    name
}

pub fn census(address: SocketAddr, count: usize) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for _ in 0..count {
        *names.entry(ask(address)).or_default() += 1;
    }
    names
}
