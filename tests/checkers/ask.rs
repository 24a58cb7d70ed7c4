//! Runs one probe and takes its finding.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast::checkers::config::{
    CheckerConfig, HttpProbe, HttpVersion, Probe, Schedule, Target, TlsConfig, UrlConfig,
};
use holdfast::checkers::engine::Start;
use holdfast::checkers::finding::{Failure, Finding};
use holdfast::checkers::probe;
use holdfast::checkers::probe::kit::Kit;
use holdfast::ipvs::config::SslConfig;
use holdfast::ipvs::types::SocketKey;

/// Generous, for probes that succeed or fail by themselves.
pub const PATIENT: Duration = Duration::from_secs(60);
/// For probes that shall run into it.
pub const SHORT: Duration = Duration::from_secs(3);

pub fn target(address: SocketAddr) -> Target {
    Target::new(SocketKey::new(address.ip(), address.port()), PATIENT)
}

pub fn http(address: SocketAddr, url: UrlConfig) -> HttpProbe {
    HttpProbe {
        target: target(address),
        version: HttpVersion::V10,
        tls: None,
        fast_recovery: false,
        urls: vec![url].into(),
    }
}

pub fn https(address: SocketAddr, url: UrlConfig, tls: TlsConfig) -> HttpProbe {
    HttpProbe { tls: Some(Box::new(tls)), ..http(address, url) }
}

pub fn checker(probe: Probe) -> CheckerConfig {
    let schedule = Schedule {
        delay_loop: Duration::from_millis(100),
        retry: 1,
        delay_before_retry: Duration::from_millis(20),
        warmup: Duration::ZERO,
        rise: 1,
        max_latency: None,
    };
    CheckerConfig { schedule, alpha: false, log_all_failures: false, probe }
}

/// What one probe finds.
pub fn ask(probe: Probe) -> Finding {
    ask_with(probe, &SslConfig::default())
}

/// The same with a root block `SSL`.
pub fn ask_with(probe: Probe, ssl: &SslConfig) -> Finding {
    let start = Start { key: 1, config: Arc::new(checker(probe)), page: 0 };
    let tools = Kit::new(ssl.clone()).prepare(&start)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(3 * PATIENT, probe::probe(start, tools)).await }).expect("it ends")
}

pub fn ask_http(probe: HttpProbe) -> Finding {
    ask(Probe::Http(Box::new(probe)))
}

/// The reason, of a server that is not fit.
pub fn reason(finding: Finding) -> String {
    match finding {
        Err(Failure::Unfit(reason)) => reason,
        other => panic!("expected a failure of the server, got {other:?}"),
    }
}

/// The reason, of trouble on this machine.
pub fn own_trouble(finding: Finding) -> String {
    match finding {
        Err(Failure::Ours(reason)) => reason,
        other => panic!("expected trouble of our own, got {other:?}"),
    }
}
