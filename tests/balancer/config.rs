//! Configurations made by hand.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use holdfast::checkers::config::{CheckerConfig, MiscProbe, Probe, Schedule, Target};
use holdfast::command::Command;
use holdfast::ipvs::config::{BalancerConfig, ForwarderChoice, RealServerConfig, VirtualServerConfig, VirtualServerId};
use holdfast::ipvs::types::{ForwardMethod, Protocol, Scheduler, SocketKey};
use holdfast::vrrp::types::Family;

pub fn key(address: SocketAddr) -> SocketKey {
    SocketKey::new(address.ip(), address.port())
}

pub fn id(address: SocketAddr) -> VirtualServerId {
    VirtualServerId::Address { address: key(address), protocol: Protocol::Tcp }
}

/// A port of loopback that is free now.
pub fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound")
}

fn checker(probe: Probe) -> CheckerConfig {
    let often = Duration::from_millis(100);
    let schedule =
        Schedule { delay_loop: often, retry: 0, delay_before_retry: often, warmup: often, rise: 1, max_latency: None };
    CheckerConfig { schedule, alpha: false, log_all_failures: false, probe }
}

/// Asks the real server itself.
pub fn tcp_check(address: SocketAddr) -> CheckerConfig {
    checker(Probe::Tcp(Target {
        address: key(address),
        bind_to: None,
        bind_port: None,
        bind_interface: None,
        connect_timeout: Duration::from_secs(1),
        fwmark: 0,
    }))
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
    RealServerConfig {
        address: key(address),
        weight: 1,
        method: ForwardMethod::Nat,
        upper_threshold: 0,
        lower_threshold: 0,
        inhibit_on_failure: false,
        alpha: false,
        notify_up: None,
        notify_down: None,
        smtp_alert: false,
        snmp_name: None,
        checkers,
    }
}

pub fn virtual_server(real_servers: Vec<RealServerConfig>) -> VirtualServerConfig {
    VirtualServerConfig {
        family: Family::V4,
        protocol: Protocol::Tcp,
        scheduler: Scheduler::Rr,
        flags: Default::default(),
        method: ForwardMethod::Nat,
        persistence: None,
        ha_suspend: false,
        active_with: None,
        omega: false,
        quorum: 1,
        hysteresis: 0,
        quorum_up: None,
        quorum_down: None,
        smtp_alert: false,
        sorry_server: None,
        real_servers,
        snmp_name: None,
        panic_threshold: 0,
        panic_action: Default::default(),
        slow_start: Duration::ZERO,
        masquerade: false,
        proxy: Default::default(),
    }
}

/// One virtual server, on the userspace forwarder.
pub fn balancer(address: SocketAddr, server: VirtualServerConfig) -> BalancerConfig {
    let mut config = BalancerConfig { services: BTreeMap::from([(id(address), server)]), ..Default::default() };
    config.global.forwarder = ForwarderChoice::Userspace;
    config
}
