//! Servers on hosts that end with the test: a thread that went on would keep its host's namespaces, and what the kernel has
//! in them, for the rest of the guest's life.
#![allow(clippy::disallowed_methods, reason = "bounds real waiting")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use holdfast::lab::host::Host;

/// How long a socket without a word takes to notice the end.
const NOTICE: Duration = Duration::from_millis(200);

/// A server; dropping it ends its threads and closes its connections.
pub struct Serving {
    listener: Option<TcpListener>,
    connections: Arc<Mutex<BTreeMap<usize, TcpStream>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Takes connections before it returns; `talk` has each on a thread of its own.
    pub fn tcp(host: &Host, port: u16, talk: impl Fn(TcpStream) + Clone + Send + 'static) -> Self {
        let listener = host.run(move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap());
        let connections = Arc::<Mutex<BTreeMap<usize, TcpStream>>>::default();
        let (accepts, kept) = (listener.try_clone().unwrap(), Arc::clone(&connections));
        let serve = move || {
            for number in 0.. {
                let Ok((stream, _)) = accepts.accept() else { return };
                kept.lock().unwrap().insert(number, stream.try_clone().unwrap());
                let (talk, kept) = (talk.clone(), Arc::clone(&kept));
                std::thread::spawn(move || {
                    talk(stream);
                    kept.lock().unwrap().remove(&number);
                });
            }
        };
        let thread = host.thread("server", serve).unwrap();
        Self { listener: Some(listener), connections, over: Arc::default(), thread: Some(thread) }
    }

    /// HTTP: answers each request with the host's name, and keeps the connection as long as the client does.
    pub fn http(host: &Host, port: u16) -> Self {
        let name = host.name().to_owned();
        Self::tcp(host, port, move |stream| talk_http(stream, &name))
    }

    /// Answers each datagram with the host's name, from this address.
    pub fn udp(host: &Host, address: SocketAddr) -> Self {
        let socket = host.run(move || UdpSocket::bind(address).unwrap());
        socket.set_read_timeout(Some(NOTICE)).unwrap();
        let over = Arc::<AtomicBool>::default();
        let (ends, name) = (Arc::clone(&over), host.name().to_owned());
        let answer = move || {
            while !ends.load(Ordering::Relaxed) {
                if let Ok((_, from)) = socket.recv_from(&mut [0; 64]) {
                    let _ = socket.send_to(name.as_bytes(), from);
                }
            }
        };
        let thread = host.thread("server", answer).unwrap();
        Self { listener: None, connections: Arc::default(), over, thread: Some(thread) }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(listener) = &self.listener {
            // Whoever waits for a connection is woken.
            let _ = nix::sys::socket::shutdown(listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        }
        let _ = self.thread.take().map(JoinHandle::join);
        // A panic of a thread of ours has failed the test already.
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.values() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn talk_http(mut stream: TcpStream, name: &str) {
    let mut request = Vec::new();
    let mut bytes = [0; 256];
    while let Ok(length @ 1..) = stream.read(&mut bytes) {
        request.extend(&bytes[..length]);
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
            let _ = stream.write_all(answer.as_bytes());
        }
    }
}
