//! `cargo bench --bench checkers -- [--quick] [--seconds N]`: what thousands of checkers cost. Figures, no verdicts.
//!
//! Shell. Every checker has an address of its own on loopback, where one server answers for all; checkers run every six
//! seconds. The checkers are a process of their own, so that what it uses is theirs alone, with what the kernel does in
//! their name: on loopback that includes the server's half of each handshake.
//!
//! The time to detect is taken from a hundred checkers whose port is closed, with one retry after a second: from six
//! seconds of loop and that second, four on average are expected.
#![allow(clippy::disallowed_methods)] // Measures real time.

mod client;
mod server;
#[path = "../vrrp/usage.rs"]
#[allow(dead_code)] // Shared with the other benchmark.
mod usage;

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How often each checker asks.
const LOOP: Duration = Duration::from_secs(6);
/// Checkers whose server goes.
const WATCHED: usize = 100;

/// What the checkers ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `TCP_CHECK`.
    Tcp,
    /// `HTTP_GET` with a digest.
    Http,
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["client", kind, count, port, watched] => {
            let number = |text: &str| text.parse().map_err(io::Error::other);
            let kind = if *kind == "Tcp" { Kind::Tcp } else { Kind::Http };
            let count = usize::from(number(count)?).saturating_mul(1000);
            client::run(kind, count, number(port)?, number(watched)?)
        }
        words if words.contains(&"--bench") => bench(words),
        // Not run by `cargo bench`, for example by `cargo test --all-targets`.
        _ => Ok(()),
    }
}

fn bench(words: &[&str]) -> io::Result<()> {
    let quick = words.contains(&"--quick");
    let named = words.windows(2).find(|pair| pair[0] == "--seconds").and_then(|pair| pair[1].parse().ok());
    let window = Duration::from_secs(named.unwrap_or(if quick { 18 } else { 60 }));
    let server = server::Server::start()?;
    println!(
        "{:<8} {:>9} {:>12} {:>9} {:>22} {:>24} {:>10}",
        "kind", "checkers", "CPU s/min", "PSS kB", "start: worst s / CPU", "detect: mean / worst s", "failures"
    );
    for kind in [Kind::Tcp, Kind::Http] {
        for thousands in [5, 10] {
            measure(kind, thousands, window, &server)?;
        }
    }
    Ok(())
}

fn measure(kind: Kind, thousands: u16, window: Duration, server: &server::Server) -> io::Result<()> {
    let watched = server::Server::start()?;
    let ports = [server.port(), watched.port()].map(|port| port.to_string());
    let mut child = Command::new(std::env::current_exe()?)
        .args(["client", &format!("{kind:?}"), &thousands.to_string(), &ports[0], &ports[1]])
        .stdout(Stdio::piped())
        .spawn()?;
    let outcome = figures(kind, thousands, window, watched, &mut child);
    child.kill()?;
    child.wait()?;
    outcome
}

fn figures(kind: Kind, thousands: u16, window: Duration, watched: server::Server, child: &mut Child) -> io::Result<()> {
    let pids = [i32::try_from(child.id()).map_err(io::Error::other)?];
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
    let mut lines = BufReader::new(stdout).lines();
    // The first line says that they run.
    lines.next().transpose()?;
    let mut worst = Duration::ZERO;
    let mut before = usage::cpu(&pids);
    let start = Instant::now();
    while start.elapsed() < LOOP + Duration::from_secs(2) {
        std::thread::sleep(Duration::from_secs(1));
        let now = usage::cpu(&pids);
        worst = worst.max(now - before);
        before = now;
    }
    let starting = before;
    let begin = (Instant::now(), usage::cpu(&pids));
    std::thread::sleep(window);
    let (spent, took) = (usage::cpu(&pids) - begin.1, begin.0.elapsed());
    let pss = usage::pss(&pids);
    let gone = Instant::now();
    drop(watched);
    let mut detected = Vec::new();
    let mut failures = 0;
    while detected.len() < WATCHED {
        match lines.next().transpose()?.as_deref() {
            Some("watched") => detected.push(gone.elapsed().as_secs_f64()),
            Some(_) => failures += 1,
            None => return Err(io::Error::other("the checkers ended")),
        }
    }
    let mean = detected.iter().sum::<f64>() / WATCHED as f64;
    let worst_detected = detected.iter().copied().fold(0.0, f64::max);
    println!(
        "{:<8} {:>9} {:>12.2} {:>9} {:>22} {:>24} {:>10}",
        format!("{kind:?}"),
        usize::from(thousands) * 1000,
        spent.as_secs_f64() * 60.0 / took.as_secs_f64(),
        pss,
        format!("{:.3} / {:.3}", worst.as_secs_f64(), starting.as_secs_f64()),
        format!("{mean:.2} / {worst_detected:.2}"),
        failures,
    );
    Ok(())
}
