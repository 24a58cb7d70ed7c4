//! Where the services come from that `-L` shows: the kernel, and the userspace forwarder of a running daemon.
//!
//! Pure: the trait, its plain values, and how a daemon's status is read. [`super::daemons`] asks for it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::ipvs::dataplane::Counters;
use crate::ipvs::genl::destination::method;
use crate::ipvs::genl::service::{Netmask, flag};
use crate::ipvs::genl::{KernelDestination, KernelService};
use crate::ipvs::types::{Protocol, ServiceKey, SocketKey};
use crate::status::model::{ForwarderDestination, ForwarderService, Status, Traffic};
use crate::vrrp::types::Family;

/// One service as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The service.
    pub service: KernelService,
    /// Its destinations.
    pub destinations: Vec<KernelDestination>,
    /// Of the userspace forwarder: the configuration file that it comes from. `None` for the kernel's.
    pub configured_in: Option<String>,
}

/// What is to be seen of the userspace forwarder.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look<'a> {
    /// Of the daemon whose control sockets are there; of all daemons of this network namespace when nothing is said.
    pub control_dir: Option<&'a Path>,
    /// With rates, which takes a moment.
    pub rates: bool,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its services, in the order of their keys.
    pub entries: Vec<Entry>,
    /// Why something is not shown, a sentence each.
    pub remarks: Vec<String>,
}

/// Somebody else who balances, beside the kernel: the userspace forwarder of a running daemon.
pub trait Source {
    /// What it has now; nothing when it does not run.
    fn look(&mut self, look: Look<'_>) -> Rc<Seen>;
}

/// No userspace forwarder is asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoForwarder;

impl Source for NoForwarder {
    fn look(&mut self, _: Look<'_>) -> Rc<Seen> {
        Rc::default()
    }
}

impl Entry {
    /// The userspace forwarder's, whose destinations are reached by `Proxy`.
    pub fn proxied(&self) -> bool {
        self.configured_in.is_some()
    }

    /// What a daemon's forwarder has. What cannot be understood is left out.
    pub fn of_status(status: &Status) -> Vec<Self> {
        let file = &status.daemon.config_file;
        status.forwarder.iter().filter_map(|has| Some(Self::of_service(key(&has.service)?, has, file))).collect()
    }

    fn of_service(key: ServiceKey, has: &ForwarderService, file: &str) -> Self {
        let mut service = KernelService::new(key, &has.scheduler);
        let flag_of = |word: &String| match word.as_str() {
            "flag-1" => flag::SCHED1,
            "flag-2" => flag::SCHED2,
            "flag-3" => flag::SCHED3,
            "ops" => flag::ONE_PACKET,
            _ => 0,
        };
        service.flags = has.flags.iter().map(flag_of).fold(0, |all, flag| all | flag);
        if let Some(timeout) = has.persistence_timeout {
            service.flags |= flag::PERSISTENT;
            service.timeout = timeout;
        }
        if let Some(length) = has.persistence_granularity {
            service.netmask = Netmask::of_prefix(key.family(), length);
        }
        service.stats = counters(has.traffic);
        let destinations = has.destinations.iter().filter_map(destination).collect();
        Self { service, destinations, configured_in: Some(file.to_owned()) }
    }
}

/// As [`ServiceKey`] shows itself: `192.0.2.1:80 tcp`, `fwmark 7`, `fwmark 7 inet6`.
fn key(text: &str) -> Option<ServiceKey> {
    if let Some(mark) = text.strip_prefix("fwmark ") {
        let (mark, family) = match mark.strip_suffix(" inet6") {
            Some(mark) => (mark, Family::V6),
            None => (mark, Family::V4),
        };
        return Some(ServiceKey::Fwmark { family, mark: mark.parse::<NonZeroU32>().ok()? });
    }
    let (place, protocol) = text.rsplit_once(' ')?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return None,
    };
    Some(ServiceKey::Address { protocol, address: socket(place)? })
}

fn socket(text: &str) -> Option<SocketKey> {
    let address: std::net::SocketAddr = text.parse().ok()?;
    Some(SocketKey::new(address.ip(), address.port()))
}

fn destination(has: &ForwarderDestination) -> Option<KernelDestination> {
    // The method is told by the entry; here it only has to be one that the kernel's values can hold.
    let mut to = KernelDestination::new(socket(&has.address)?, method::MASQUERADE, has.weight);
    to.upper_threshold = has.upper_threshold;
    to.lower_threshold = has.lower_threshold;
    to.active = u32::try_from(has.traffic.active).unwrap_or(u32::MAX);
    to.inactive = u32::try_from(has.traffic.inactive).unwrap_or(u32::MAX);
    to.persistent = has.persistent;
    to.stats = counters(has.traffic);
    Some(to)
}

fn counters(traffic: Traffic) -> Counters {
    let Traffic { connections, in_packets, out_packets, in_bytes, out_bytes, active: _, inactive: _ } = traffic;
    Counters { connections, in_packets, out_packets, in_bytes, out_bytes, ..Counters::default() }
}

/// Rates, from what there was `lasted` ago. What was not there then has none.
pub fn add_rates(before: &[Entry], now: &mut [Entry], lasted: Duration) {
    let before: BTreeMap<ServiceKey, &Entry> = before.iter().map(|entry| (entry.service.key, entry)).collect();
    for entry in now {
        let Some(old) = before.get(&entry.service.key) else { continue };
        entry.service.stats = rated(old.service.stats, entry.service.stats, lasted);
        for to in &mut entry.destinations {
            if let Some(old) = old.destinations.iter().find(|old| old.address == to.address) {
                to.stats = rated(old.stats, to.stats, lasted);
            }
        }
    }
}

fn rated(before: Counters, now: Counters, lasted: Duration) -> Counters {
    let per_second = |before: u64, now: u64| {
        let rate = u128::from(now.saturating_sub(before)) * 1000 / lasted.as_millis().max(1);
        u64::try_from(rate).unwrap_or(u64::MAX)
    };
    Counters {
        connections_per_second: per_second(before.connections, now.connections),
        in_packets_per_second: per_second(before.in_packets, now.in_packets),
        out_packets_per_second: per_second(before.out_packets, now.out_packets),
        in_bytes_per_second: per_second(before.in_bytes, now.in_bytes),
        out_bytes_per_second: per_second(before.out_bytes, now.out_bytes),
        ..now
    }
}
