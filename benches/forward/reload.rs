//! Thousands of virtual servers, each with two real servers and their checkers: what a start and a reload take, and what
//! a client of one of them notices.
//!
//! Shell. The whole daemon, its real servers and the client are on one host of the lab; a real server is an address of
//! loopback, where one thread answers for all.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use holdfast::lab::director::{CONFIG, Daemon, Director};
use holdfast::lab::host::Host;

use crate::report::progress;
use crate::usage;

/// All virtual servers are ports of it.
const VIP: Ipv4Addr = Ipv4Addr::new(127, 200, 0, 1);
const FIRST_PORT: u16 = 10_000;
const REAL_PORT: u16 = 7000;
const PATIENCE: Duration = Duration::from_secs(120);

/// Prints a line for each number of virtual servers.
pub fn run(quick: bool) {
    println!(
        "{:>8} {:>24} {:>9} {:>26} {:>26} {:>16}",
        "virtual",
        "start: last serves / CPU",
        "PSS kB",
        "reload, the same: / CPU",
        "one more: serves / CPU",
        "client, worst"
    );
    let counts: &[u16] = if quick { &[1000] } else { &[1000, 10_000] };
    for count in counts {
        measure(*count);
    }
}

fn port(number: u16) -> u16 {
    FIRST_PORT + number
}

fn config(count: u16, weight_of_first: u32) -> String {
    let mut text = "global_defs {\n virtual_server_forwarder userspace\n forwarder_threads 1\n}\n".to_owned();
    for number in 0..count {
        let [high, low] = number.to_be_bytes();
        let weight = if number == 0 { weight_of_first } else { 1 };
        let real = |second: u8| {
            format!(
                " real_server 127.{second}.{high}.{low} {REAL_PORT} {{\n weight {weight}\n TCP_CHECK {{\n \
                 connect_timeout 3\n }}\n }}\n"
            )
        };
        text += &format!(
            "virtual_server {VIP} {} {{\n delay_loop 60\n lb_algo rr\n lb_kind NAT\n protocol TCP\n{}{}}}\n",
            port(number),
            real(101),
            real(102)
        );
    }
    text
}

/// A byte there and back through a virtual server.
fn ask(number: u16) -> std::io::Result<()> {
    let address = SocketAddr::new(IpAddr::V4(VIP), port(number));
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0; 1])
}

fn serve() {
    let listener = TcpListener::bind(("0.0.0.0", REAL_PORT)).expect("the port is free");
    for mut stream in listener.incoming().flatten() {
        // A checker says nothing and is gone.
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_ok() {
            let _ = stream.write_all(&byte);
        }
    }
}

fn wait_serving(host: &Host, number: u16) {
    host.run(move || {
        let begun = Instant::now();
        while ask(number).is_err() {
            assert!(begun.elapsed() < PATIENCE, "virtual server {number} does not serve");
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}

fn measure(count: u16) {
    progress(&format!("reload: {count} virtual servers"));
    let host = Host::new("many").expect("a namespace");
    host.run(|| {
        let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
        assert!(up.is_ok_and(|status| status.success()), "ip link set lo up");
    });
    host.thread("server", serve).expect("a thread");
    let daemon = Daemon { program: PathBuf::from(env!("CARGO_BIN_EXE_holdfast")), options: vec!["-C".to_owned()] };
    let mut director = Director::new(host, daemon, &config(count, 1), Vec::new()).expect("private mounts");
    let begun = Instant::now();
    director.start().expect("the daemon starts");
    let family = |director: &Director| usage::family(director.pid().expect("it runs").as_raw());
    wait_serving(director.host(), count - 1);
    let started = begun.elapsed();
    let start_cpu = usage::cpu(&family(&director));
    // Checkers begin to ask after a second, and go on for a minute; not all that follows is the reload's.
    std::thread::sleep(Duration::from_secs(3));
    let pss = usage::pss(&family(&director));

    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let client = director.host().thread("client", move || {
        let mut worst = Duration::ZERO;
        while !stopped.load(Ordering::Relaxed) {
            let begun = Instant::now();
            ask(1).expect("whom a reload does not concern is served");
            worst = worst.max(begun.elapsed());
            std::thread::sleep(Duration::from_millis(2));
        }
        worst
    });
    let client = client.expect("a thread");
    let reload = |director: &Director, text: &str| {
        director.write_file(Path::new(CONFIG), text).expect("private");
        let mark = director.log_mark();
        let before = (Instant::now(), usage::cpu(&family(director)));
        director.reload();
        let line = director.wait_for_line(mark, "reload: ", PATIENCE).expect("it reloads");
        progress(&line.text);
        before
    };
    let spent = |director: &Director, before: Duration| usage::cpu(&family(director)).saturating_sub(before);
    let (at, before) = reload(&director, &config(count, 1));
    let same = at.elapsed();
    std::thread::sleep(Duration::from_secs(2));
    let same_cpu = spent(&director, before);
    let (at, before) = reload(&director, &config(count + 1, 2));
    wait_serving(director.host(), count);
    let more = at.elapsed();
    std::thread::sleep(Duration::from_secs(2));
    let more_cpu = spent(&director, before);
    stop.store(true, Ordering::Relaxed);
    let worst = client.join().expect("no request fails");
    let pair = |time: Duration, cpu: Duration| format!("{:.3} / {:.3} s", time.as_secs_f64(), cpu.as_secs_f64());
    println!(
        "{count:>8} {:>24} {pss:>9} {:>26} {:>26} {:>13} ms",
        pair(started, start_cpu),
        pair(same, same_cpu),
        pair(more, more_cpu),
        worst.as_millis()
    );
}
