//! A receiver of webhooks that does what it is told: it answers, refuses, hangs, forgets to answer, and goes away.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use openssl::ssl::{SslAcceptor, SslMethod};

use crate::certificate::Identity;

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// A status, and the request counts as received when it is 200.
    Status(u16),
    /// A status with `Retry-After: 1`.
    Later(u16),
    /// It is received, and the connection ends without an answer.
    Forgetful,
    /// No answer, ever.
    Hang,
    /// An answer with this JSON.
    Json(&'static str),
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

type Decide = Box<dyn FnMut(usize, &Request) -> Mood + Send>;

struct Shared {
    /// It speaks TLS.
    tls: Option<SslAcceptor>,
    /// Handshakes that a client broke off.
    refused: AtomicUsize,
    received: Mutex<Vec<Request>>,
    /// How many came, received or not.
    seen: Mutex<usize>,
    decide: Mutex<Decide>,
    open: Mutex<Vec<TcpStream>>,
    stopped: AtomicBool,
}

/// The receiver, on a port of its own on loopback.
pub struct Receiver {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// `decide` is asked with the number of the request, from 0.
    pub fn start(decide: impl FnMut(usize, &Request) -> Mood + Send + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("a port"), decide)
    }

    /// The same with TLS, as who this certificate says.
    pub fn start_tls(identity: &Identity, decide: impl FnMut(usize, &Request) -> Mood + Send + 'static) -> Self {
        let mut tls = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("TLS");
        tls.set_certificate(&identity.certificate).expect("a certificate");
        tls.set_private_key(&identity.key).expect("a key");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self::with(listener, Some(tls.build()), Box::new(decide))
    }

    /// On this listener, which may be of another namespace.
    pub fn on(listener: TcpListener, decide: impl FnMut(usize, &Request) -> Mood + Send + 'static) -> Self {
        Self::with(listener, None, Box::new(decide))
    }

    fn with(listener: TcpListener, tls: Option<SslAcceptor>, decide: Decide) -> Self {
        let shared = Arc::new(Shared {
            tls,
            refused: AtomicUsize::new(0),
            received: Mutex::default(),
            seen: Mutex::new(0),
            decide: Mutex::new(decide),
            open: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let address = listener.local_addr().expect("an address");
        let thread = Some(listen(listener, shared.clone()));
        Self { address, shared, thread }
    }

    /// What was received, duplicates too.
    pub fn received(&self) -> Vec<Request> {
        self.shared.received.lock().expect("not poisoned").clone()
    }

    /// How many clients did not trust it.
    pub fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::SeqCst)
    }

    /// Nobody listens any longer, and all connections end.
    pub fn go_away(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ended");
        }
        for stream in self.shared.open.lock().expect("not poisoned").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// On the same port again.
    pub fn come_back(&mut self) {
        self.shared.stopped.store(false, Ordering::SeqCst);
        let listener = TcpListener::bind(self.address).expect("the same port");
        self.thread = Some(listen(listener, self.shared.clone()));
    }
}

fn listen(listener: TcpListener, shared: Arc<Shared>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if shared.stopped.load(Ordering::SeqCst) {
                return;
            }
            shared.open.lock().expect("not poisoned").push(stream.try_clone().expect("a descriptor"));
            let shared = shared.clone();
            // The client may be gone; that is its right.
            let end = stream.try_clone().expect("a descriptor");
            std::thread::spawn(move || match &shared.tls {
                None => drop(serve(stream, &end, &shared)),
                Some(tls) => match tls.accept(stream) {
                    Ok(stream) => drop(serve(stream, &end, &shared)),
                    Err(_) => drop(shared.refused.fetch_add(1, Ordering::SeqCst)),
                },
            });
        }
    })
}

fn serve(stream: impl Read + Write, end: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        let number = {
            let mut seen = shared.seen.lock().expect("not poisoned");
            *seen += 1;
            *seen - 1
        };
        let mood = (shared.decide.lock().expect("not poisoned"))(number, &request);
        let receive = || shared.received.lock().expect("not poisoned").push(request.clone());
        let stream = reader.get_mut();
        match mood {
            Mood::Status(status) => {
                if status < 300 {
                    receive();
                }
                write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 2\r\nx-subject-token: from-header\r\n\r\nok")?;
            }
            Mood::Later(status) => {
                write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: 0\r\nretry-after: 1\r\n\r\n")?;
            }
            Mood::Json(text) => {
                receive();
                write!(stream, "HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n{text}", text.len())?;
            }
            Mood::Forgetful => {
                receive();
                return end.shutdown(Shutdown::Both);
            }
            Mood::Hang => {
                let mut rest = Vec::new();
                return reader.read_to_end(&mut rest).map(drop);
            }
        }
    }
    Ok(())
}

fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { method, path, headers, body: String::new() };
    let mut body = vec![0; request.header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body)?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(request))
}
