//! A thread driven turn by turn: what it has learned and done, which nobody sees from outside but by its haste.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::*;
use crate::ipvs::forward::service::View;
use crate::ipvs::forward::socket;
use crate::ipvs::select::{Candidate, Selector};
use crate::ipvs::table::ServiceSettings;
use crate::ipvs::types::{ServiceKey, SocketKey};

/// Nothing here takes that long unless it hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// A thread's work with one service and one real server, which is in the test's hand.
struct Rig {
    worker: Worker,
    events: Vec<epoll::Event>,
    service: Arc<Service>,
    address: SocketAddr,
    server: TcpListener,
    _commands: mpsc::Sender<Command>,
}

impl Rig {
    fn new() -> Self {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listener = socket::listener((Ipv4Addr::LOCALHOST, 0).into(), Reach::Direct).unwrap();
        let address: SocketAddr = rustix::net::getsockname(&listener).unwrap().try_into().unwrap();
        let key_of = |address: SocketAddr| SocketKey::new(address.ip(), address.port());
        let backend = Arc::new(Backend::new(key_of(server.local_addr().unwrap()), 1));
        let settings = ServiceSettings::default();
        let candidate = Candidate { key: backend.key, weight: 1, load: Arc::clone(&backend.load) };
        let selector = Selector::new(settings.scheduler, settings.flags, vec![candidate], Arc::default());
        let view = View { settings, selector, backends: vec![backend] };
        let key = ServiceKey::Address { protocol: Protocol::Tcp, address: key_of(address) };
        let service = Arc::new(Service::new(key, view, 1));
        let (commands, inbox) = mpsc::channel();
        let mut worker = Worker::new(0, Instant::now(), Arc::new(waker().unwrap()), inbox, 10).unwrap();
        let listener = Listener {
            id: 1,
            service: Arc::clone(&service),
            protocol: Protocol::Tcp,
            reach: Reach::Direct,
            socket: listener,
        };
        worker.listen(listener);
        Self { worker, events: Vec::with_capacity(EVENTS), service, address, server, _commands: commands }
    }

    /// Takes turns until this is so; it is asked after each.
    fn until(&mut self, what: &str, mut so: impl FnMut(&mut Worker) -> bool) {
        let begun = Instant::now();
        while !so(&mut self.worker) {
            assert!(begun.elapsed() < LIMIT, "waited in vain until {what}");
            assert!(self.worker.turn(&mut self.events).unwrap());
        }
    }

    fn server_speaks_first(&self) -> bool {
        self.service.server_first.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// A client's connection, and whether the thread has waited for its first word while nobody spoke.
    fn connect(&mut self) -> (TcpStream, bool) {
        let client = TcpStream::connect(self.address).unwrap();
        client.set_nonblocking(true).unwrap();
        let mut waited = false;
        self.until("both handshakes are over", |worker| {
            waited |= worker.connections.waits_for_first_word();
            worker.connections.established() == 1 && !worker.connections.waits_for_first_word()
        });
        (client, waited)
    }

    /// The real server's end of it: there when the real server has learned that the connection stands.
    fn accept(&mut self) -> TcpStream {
        self.server.accept().unwrap().0
    }

    /// Waits until the client has got these bytes.
    fn receive(&mut self, client: &mut TcpStream, text: &[u8]) {
        let mut got = Vec::new();
        self.until("the bytes have come", |_| {
            let mut part = [0; 64];
            if let Ok(count) = client.read(&mut part) {
                got.extend_from_slice(&part[..count]);
            }
            got == text
        });
    }

    fn end(&mut self, ends: (TcpStream, TcpStream)) {
        drop(ends);
        self.until("the connection is over", |worker| worker.connections.len() == 0);
    }
}

#[test]
fn a_service_learns_who_speaks_first() {
    let mut rig = Rig::new();
    // The first time the client is given time for its first word, and the real server waits for that.
    for (round, waits) in [true, false, false].into_iter().enumerate() {
        let (mut client, waited) = rig.connect();
        assert_eq!(waited, waits, "round {round}");
        let mut server = rig.accept();
        server.write_all(b"220 at your service").unwrap();
        rig.receive(&mut client, b"220 at your service");
        assert!(rig.server_speaks_first());
        rig.end((client, server));
    }
    // One client that speaks at once, and the next one is given time again.
    let client = TcpStream::connect(rig.address).unwrap();
    (&client).write_all(b"GET /").unwrap();
    rig.until("the client was heard", |worker| worker.connections.established() == 1);
    let mut server = rig.accept();
    rig.until("the real server has it", |_| server.peek(&mut [0]).is_ok_and(|count| count == 1));
    assert!(!rig.server_speaks_first());
    server.read_exact(&mut [0; 5]).unwrap();
    rig.end((client, server));
    let (client, waited) = rig.connect();
    assert!(waited);
    let server = rig.accept();
    rig.end((client, server));
}

#[test]
fn a_thread_with_large_streams_alone_naps() {
    let mut rig = Rig::new();
    let mut client = TcpStream::connect(rig.address).unwrap();
    let sending = std::thread::spawn(move || {
        let block = vec![7; 1 << 20];
        let mut sent = 0_u64;
        // Until the test has seen what it wants, and the connection is reset.
        while client.write_all(&block).is_ok() {
            sent += 1 << 20;
        }
        sent
    });
    rig.until("the connection stands", |worker| worker.connections.established() == 1);
    let server = rig.accept();
    let receiving = std::thread::spawn({
        let mut server = server.try_clone().unwrap();
        move || std::io::copy(&mut server, &mut std::io::sink()).unwrap_or(0)
    });
    rig.until("it naps", |worker| worker.naps > 0);
    drop(rig);
    assert!(sending.join().unwrap() > 0);
    let _ = server.shutdown(std::net::Shutdown::Both);
    receiving.join().unwrap();
}
