//! Where the services come from that `-L` shows: the kernel, and whoever else carries traffic.
//!
//! Pure: the trait and its plain values.

use std::collections::BTreeMap;

use crate::ipvs::dataplane::ServiceCounters;
use crate::ipvs::genl::convert::{to_kernel_destination, to_kernel_service};
use crate::ipvs::genl::{KernelDestination, KernelService};
use crate::ipvs::table::{Destination, ServiceTable};
use crate::ipvs::types::{ForwardMethod, ServiceKey, SocketKey};

/// One service as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The service.
    pub service: KernelService,
    /// Its destinations.
    pub destinations: Vec<KernelDestination>,
    /// Of the userspace forwarder: its destinations are reached by `Proxy`.
    pub proxied: bool,
}

/// Somebody else who balances, beside the kernel: the userspace forwarder of the running daemon.
///
/// This is the place for the daemon's control socket: its client asks for the forwarder's table and counters and hands
/// them to [`Entry::of_table`]. [`NoForwarder`] stands here until then.
pub trait Source {
    /// Its services now; none when it does not run.
    fn entries(&mut self) -> Vec<Entry>;
}

/// No userspace forwarder can be asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoForwarder;

impl Source for NoForwarder {
    fn entries(&mut self) -> Vec<Entry> {
        Vec::new()
    }
}

impl Entry {
    /// A table of the userspace forwarder with its counters, in the order of its keys.
    pub fn of_table(table: &ServiceTable, counters: &BTreeMap<ServiceKey, ServiceCounters>) -> Vec<Self> {
        let none = ServiceCounters::default();
        let entry = |(key, service): (&ServiceKey, &crate::ipvs::table::Service)| {
            let counters = counters.get(key).unwrap_or(&none);
            let mut shown = to_kernel_service(*key, &service.settings);
            shown.stats = counters.total;
            let destinations = service.destinations.iter();
            let destinations = destinations.filter_map(|(address, to)| destination(*address, to, counters));
            Self { service: shown, destinations: destinations.collect(), proxied: true }
        };
        table.services.iter().map(entry).collect()
    }
}

fn destination(address: SocketKey, to: &Destination, counters: &ServiceCounters) -> Option<KernelDestination> {
    // The method is told by `proxied`; here it only has to be one that the kernel's values can hold.
    let mut shown = to_kernel_destination(address, &Destination { method: ForwardMethod::Nat, ..*to })?;
    if let Some(counted) = counters.destinations.get(&address) {
        shown.active = counted.active;
        shown.inactive = counted.inactive;
        shown.persistent = counted.persistent;
        shown.stats = counted.total;
    }
    Some(shown)
}
