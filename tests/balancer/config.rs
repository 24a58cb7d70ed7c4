//! Configurations made by hand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use holdfast::checkers::config::{CheckerConfig, MiscProbe, Probe, Schedule, Target};
use holdfast::command::Command;
use holdfast::ipvs::config::{BalancerConfig, ForwarderChoice, RealServerConfig, VirtualServerConfig, VirtualServerId};
use holdfast::ipvs::types::{Protocol, SocketKey};

use crate::common::loopback;

pub fn key(address: SocketAddr) -> SocketKey {
    SocketKey::new(address.ip(), address.port())
}

pub fn id(address: SocketAddr) -> VirtualServerId {
    VirtualServerId::Address { address: key(address), protocol: Protocol::Tcp }
}

/// A port that nobody else has.
pub fn free_port() -> SocketAddr {
    (loopback(), 8080).into()
}

fn checker(probe: Probe) -> CheckerConfig {
    let often = Duration::from_millis(100);
    let schedule =
        Schedule { delay_loop: often, retry: 0, delay_before_retry: often, warmup: often, rise: 1, max_latency: None };
    CheckerConfig { schedule, alpha: false, log_all_failures: false, probe }
}

/// Asks the real server itself.
pub fn tcp_check(address: SocketAddr) -> CheckerConfig {
    checker(Probe::Tcp(Target::new(key(address), Duration::from_secs(20))))
}

pub fn misc_check(command: &str) -> CheckerConfig {
    let command = Command::parse(command, None).expect("a command");
    checker(Probe::Misc(Box::new(MiscProbe {
        command,
        timeout: Duration::from_secs(7),
        dynamic: true,
        real_weight: 1,
    })))
}

pub fn real_server(address: SocketAddr, checkers: Vec<CheckerConfig>) -> RealServerConfig {
    RealServerConfig::new(key(address), checkers)
}

/// One virtual server, on the userspace forwarder.
pub fn balancer(address: SocketAddr, server: VirtualServerConfig) -> BalancerConfig {
    let mut config = BalancerConfig { services: BTreeMap::from([(id(address), server.into())]), ..Default::default() };
    config.global.forwarder = ForwarderChoice::Userspace;
    config
}
