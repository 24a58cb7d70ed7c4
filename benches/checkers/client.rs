//! The process that is measured: a supervisor with its checkers, as the balancer process has it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use holdfast::checkers::config::{CheckerConfig, HttpProbe, HttpVersion, Pages, Probe, Schedule, Target, UrlConfig};
use holdfast::checkers::report::{CheckerId, Health};
use holdfast::checkers::supervisor::Supervisor;
use holdfast::ipvs::config::{SslConfig, VirtualServerId};
use holdfast::ipvs::types::{Protocol, SocketKey};
use tokio::sync::mpsc;

use super::{Kind, LOOP, WATCHED, server};

/// Runs for ever; writes a line when it starts, and one for each checker that goes down.
pub fn run(kind: Kind, count: usize, port: u16, watched: u16) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Full: reports wait in the supervisor.
        let (reports, mut received) = mpsc::channel(256);
        let (exec, _requests) = mpsc::channel(1);
        let mut supervisor = Supervisor::new(reports, exec, SslConfig::default());
        supervisor.set_checkers(checkers(kind, count, port, watched));
        println!("running");
        loop {
            tokio::select! {
                _ = supervisor.run() => {}
                Some(report) = received.recv() => {
                    if let Health::Down { reason } = report.health {
                        let of_watched = report.checker.real_server.port == watched;
                        writeln!(io::stdout(), "{}", if of_watched { "watched" } else { &reason })?;
                    }
                }
            }
        }
    })
}

fn checkers(kind: Kind, count: usize, port: u16, watched: u16) -> BTreeMap<CheckerId, Arc<CheckerConfig>> {
    // As the balancer does.
    let mut pages = Pages::default();
    let mut one = |number: usize| {
        // The last ones are on the port that will be closed.
        let port = if number < WATCHED { watched } else { port };
        let host = u32::try_from(number).unwrap_or(0) + 0x7f01_0001;
        let address = SocketKey::new(Ipv4Addr::from_bits(host).into(), port);
        let service = SocketKey::new(Ipv4Addr::from_bits(0x0a00_0001 + (host & 0xffff) / 10).into(), 80);
        let virtual_server = VirtualServerId::Address { address: service, protocol: Protocol::Tcp };
        let mut config = checker(kind, address);
        pages.share(&mut config);
        (CheckerId { virtual_server, real_server: address, index: 0 }, Arc::new(config))
    };
    (0..count).map(&mut one).collect()
}

fn checker(kind: Kind, address: SocketKey) -> CheckerConfig {
    let target = Target::new(address, Duration::from_secs(3));
    let page = || UrlConfig { digest: Some(server::DIGEST), ..UrlConfig::new("/health") };
    let probe = match kind {
        Kind::Tcp => Probe::Tcp(target),
        Kind::Http => {
            let urls = vec![page()].into();
            let version = HttpVersion::V10;
            Probe::Http(Box::new(HttpProbe { target, version, tls: None, fast_recovery: false, urls }))
        }
    };
    let schedule = Schedule {
        delay_loop: LOOP,
        retry: 1,
        delay_before_retry: Duration::from_secs(1),
        warmup: LOOP,
        rise: 1,
        max_latency: None,
    };
    CheckerConfig { schedule, alpha: false, log_all_failures: false, probe }
}
