//! The loads, and the server that bears them.
//!
//! Shell: threads with small runtimes in the namespaces of client and server. What they spend is not counted.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use holdfast::lab::host::Process;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::place::Place;
pub use crate::place::SERVER;

/// Ports of the server.
pub const SHORT: u16 = 9001;
pub const REQUESTS: u16 = 9002;
pub const BULK: u16 = 9003;
pub const UDP: u16 = 9004;
pub const TCP: [u16; 3] = [SHORT, REQUESTS, BULK];

const REQUEST: [u8; 100] = [b'q'; 100];
const ANSWER: [u8; 200] = [b'a'; 200];
const IDLE: usize = 2000;
const IN_FLIGHT: usize = 8;

/// Starts the servers; they serve until the program ends, iperf3 until its process is dropped.
pub fn start_servers(place: &Place) -> io::Result<Process> {
    let host = &place.server;
    host.thread("servers", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let short = tokio::net::TcpListener::bind((SERVER, SHORT)).await.expect("the port is free");
            let requests = tokio::net::TcpListener::bind((SERVER, REQUESTS)).await.expect("the port is free");
            tokio::join!(serve(short, 1), serve(requests, usize::MAX))
        });
    })
    .expect("a thread");
    host.thread("udp-server", || {
        let socket = UdpSocket::bind((SERVER, UDP)).expect("the port is free");
        with_room(&socket);
        let mut buffer = [0; 2048];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..count], from);
        }
    })
    .expect("a thread");
    let mut iperf3 = Command::new("iperf3");
    iperf3.args(["--server", "--port", &BULK.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    let iperf3 = host.spawn(iperf3)?;
    wait_listening(place, SERVER, SHORT);
    wait_listening(place, SERVER, BULK);
    Ok(iperf3)
}

/// Answers so many requests of each connection, and closes it.
async fn serve(listener: tokio::net::TcpListener, answers: usize) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let mut request = REQUEST;
            for _ in 0..answers {
                if stream.read_exact(&mut request).await.is_err() || stream.write_all(&ANSWER).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Runs on the client's host.
fn on_client<T: Send + 'static>(place: &Place, work: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    place.client.run(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(work())
    })
}

pub fn wait_listening(place: &Place, ip: IpAddr, port: u16) {
    place.client.run(move || {
        let begun = Instant::now();
        while TcpStream::connect_timeout(&SocketAddr::new(ip, port), Duration::from_secs(1)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "nobody listens on {ip}:{port}");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

async fn one_short(address: SocketAddr) {
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("the proxy accepts");
    stream.write_all(&REQUEST).await.expect("the proxy takes the request");
    let mut answer = Vec::with_capacity(256);
    stream.read_to_end(&mut answer).await.expect("the proxy passes the answer");
    assert_eq!(answer, ANSWER);
}

/// Answers how many connections there were.
pub fn short(place: &Place, ip: IpAddr, port: u16, quick: bool) -> f64 {
    let each = if quick { 100 } else { 250 };
    on_client(place, async move || {
        let work: Vec<_> = (0..32)
            .map(|_| {
                tokio::spawn(async move {
                    for _ in 0..each {
                        one_short(SocketAddr::new(ip, port)).await;
                    }
                })
            })
            .collect();
        for task in work {
            task.await.expect("no connection fails");
        }
    });
    f64::from(32 * each)
}

/// Answers how many requests there were.
pub fn requests(place: &Place, ip: IpAddr, port: u16, quick: bool) -> f64 {
    let each = if quick { 200 } else { 600 };
    on_client(place, async move || {
        let work: Vec<_> = (0..64)
            .map(|_| {
                tokio::spawn(async move {
                    let address = SocketAddr::new(ip, port);
                    let mut stream = tokio::net::TcpStream::connect(address).await.expect("the proxy accepts");
                    stream.set_nodelay(true).expect("a TCP socket");
                    let mut answer = [0; 200];
                    for _ in 0..each {
                        stream.write_all(&REQUEST).await.expect("the proxy takes the request");
                        stream.read_exact(&mut answer).await.expect("the proxy passes the answer");
                    }
                })
            })
            .collect();
        for task in work {
            task.await.expect("no request fails");
        }
    });
    f64::from(64 * each)
}

/// Two streams of iperf3. Answers how many GB there were.
pub fn bulk(place: &Place, ip: IpAddr, port: u16, quick: bool) -> f64 {
    let bytes = if quick { "800M" } else { "2000M" };
    let output = place.client.run(move || {
        let mut iperf3 = Command::new("iperf3");
        iperf3.args(["--json", "--parallel", "2", "--bytes", bytes, "--client", &ip.to_string()]);
        iperf3.args(["--port", &port.to_string()]).output().expect("iperf3 runs")
    });
    let said = String::from_utf8_lossy(&output.stdout);
    let report: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
    let received = report.pointer("/end/sum_received/bytes").and_then(serde_json::Value::as_f64);
    received.unwrap_or_else(|| panic!("iperf3: {said}")) / 1e9
}

/// A burst of all flows must fit in.
fn with_room(socket: &UdpSocket) {
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, 8 << 20);
}

/// Answers how many datagrams came back.
pub fn udp(place: &Place, ip: IpAddr, port: u16, quick: bool) -> f64 {
    let rounds = if quick { 60 } else { 200 };
    place.client.run(move || {
        let sockets: Vec<UdpSocket> = (0..32)
            .map(|_| {
                let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
                socket.connect((ip, port)).expect("an address");
                socket.set_read_timeout(Some(Duration::from_millis(200))).expect("not zero");
                with_room(&socket);
                socket
            })
            .collect();
        let (mut answers, mut lost) = (0.0, 0);
        let mut buffer = [0; 2048];
        for _ in 0..rounds {
            for socket in &sockets {
                for _ in 0..IN_FLIGHT {
                    let _ = socket.send(&REQUEST);
                }
            }
            for socket in &sockets {
                for _ in 0..IN_FLIGHT {
                    if socket.recv(&mut buffer).is_err() {
                        lost += 1;
                        break;
                    }
                    answers += 1.0;
                }
            }
            assert!(lost < 100, "{answers} answers, and hardly any more");
        }
        eprintln!("#   {answers} answers");
        answers
    })
}

/// Answers the bytes of one connection that has carried a request and is kept open.
pub fn idle(place: &Place, ip: IpAddr, port: u16, memory: impl Fn() -> u64) -> f64 {
    let open = move |count: usize| {
        let mut streams = Vec::with_capacity(count);
        for _ in 0..count {
            let mut stream = TcpStream::connect((ip, port)).expect("the proxy accepts");
            stream.write_all(&REQUEST).expect("the proxy takes the request");
            stream.read_exact(&mut [0; 200]).expect("the proxy passes the answer");
            streams.push(stream);
        }
        streams
    };
    // What is there once for all.
    let warm = place.client.run(move || open(64));
    let before = memory();
    let streams = place.client.run(move || open(IDLE));
    let after = memory();
    drop((warm, streams));
    after.saturating_sub(before) as f64 / IDLE as f64
}

/// Microseconds at p50 and p99 of short connections, one at a time.
pub fn latency(place: &Place, ip: IpAddr, port: u16, quick: bool) -> (f64, f64) {
    let count = if quick { 200 } else { 500 };
    let mut times = on_client(place, async move || {
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let begun = Instant::now();
            one_short(SocketAddr::new(ip, port)).await;
            times.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        times
    });
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or(f64::NAN);
    (at(50), at(99))
}
