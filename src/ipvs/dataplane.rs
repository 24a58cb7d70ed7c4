//! The seam between the balancer and whoever carries the traffic: kernel IPVS, the userspace forwarder, and, one day,
//! TC eBPF.
//!
//! Pure: the trait and its plain values. Implementations are shells.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::table::{Operation, ServiceTable};
use super::types::{ServiceKey, SocketKey};

/// A data plane. Calls come from the balancer's thread; they may take a system call's time and never wait for a peer.
pub trait Dataplane {
    /// `kernel` or `userspace`, for messages and status.
    fn name(&self) -> &'static str;

    /// Carries out the operations in their order. What exists already on an add, and what is gone already on a removal,
    /// is success. An operation that is refused does not hold up the next ones.
    fn apply(&mut self, operations: &[Operation]) -> Vec<Refusal>;

    /// What there is now.
    ///
    /// # Errors
    /// It cannot be read.
    fn dump(&mut self) -> Result<ServiceTable, DataplaneError>;

    /// Counters of all services and destinations.
    ///
    /// # Errors
    /// They cannot be read.
    fn counters(&mut self) -> Result<BTreeMap<ServiceKey, ServiceCounters>, DataplaneError>;

    /// What people should know of the operations that were carried out, each said once.
    fn take_notes(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// An operation that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its place in the list.
    pub operation: usize,
    /// Why.
    pub error: DataplaneError,
}

/// Why a data plane did not do something. `lasting` says that trying the same again is of no use until the
/// configuration or the machine changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{reason}")]
pub struct DataplaneError {
    /// For people: what was refused and what helps.
    pub reason: String,
    /// Of no use to try again.
    pub lasting: bool,
}

/// What a service has carried.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceCounters {
    /// Of the whole service.
    pub total: Counters,
    /// Of each destination.
    pub destinations: BTreeMap<SocketKey, DestinationCounters>,
}

/// Since the service was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Connections (UDP: flows).
    pub connections: u64,
    /// Packets from clients (the forwarder: reads).
    pub in_packets: u64,
    /// Packets to clients.
    pub out_packets: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Bytes to clients.
    pub out_bytes: u64,
    /// Per second, as the kernel estimates it: connections.
    pub connections_per_second: u64,
    /// Packets from clients, per second.
    pub in_packets_per_second: u64,
    /// Packets to clients, per second.
    pub out_packets_per_second: u64,
    /// Bytes from clients, per second.
    pub in_bytes_per_second: u64,
    /// Bytes to clients, per second.
    pub out_bytes_per_second: u64,
}

impl Counters {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            connections: self.connections.saturating_add(other.connections),
            in_packets: self.in_packets.saturating_add(other.in_packets),
            out_packets: self.out_packets.saturating_add(other.out_packets),
            in_bytes: self.in_bytes.saturating_add(other.in_bytes),
            out_bytes: self.out_bytes.saturating_add(other.out_bytes),
            connections_per_second: self.connections_per_second.saturating_add(other.connections_per_second),
            in_packets_per_second: self.in_packets_per_second.saturating_add(other.in_packets_per_second),
            out_packets_per_second: self.out_packets_per_second.saturating_add(other.out_packets_per_second),
            in_bytes_per_second: self.in_bytes_per_second.saturating_add(other.in_bytes_per_second),
            out_bytes_per_second: self.out_bytes_per_second.saturating_add(other.out_bytes_per_second),
        }
    }
}

impl DestinationCounters {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            total: self.total.plus(other.total),
            active: self.active.saturating_add(other.active),
            inactive: self.inactive.saturating_add(other.inactive),
            persistent: self.persistent.saturating_add(other.persistent),
        }
    }
}

/// Of one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DestinationCounters {
    /// What it carried.
    pub total: Counters,
    /// Connections now.
    pub active: u32,
    /// The kernel's connections in a closing state; a proxy has none.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
}
