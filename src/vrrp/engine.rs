//! The VRRP engine: inputs and the time in, effects out.
//!
//! Pure: time is passed in; no sockets, no clock, no files. One [`VrrpEngine`] holds all instances and sync groups of
//! a process. Its shell is [`super::process`] (real sockets) or the simulated LAN of the tests.
//!
//! Contract: one input ([`VrrpEngine::handle_input`] or [`VrrpEngine::handle_timeout`]), then
//! [`VrrpEngine::poll_effect`] until `None`, carrying each effect out in order, then wait until
//! [`VrrpEngine::poll_timeout`] or the next input. Waiting adverts are handed in *before* a timeout is judged.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use super::config::{AddressConfig, ConfigDiff, TrackerKey, VrrpConfig};
use super::event::{Event, TrackerStatus};
use super::snapshot::{FlightRecord, Snapshot};
use super::types::{Family, IfIndex, InstanceId, Link};

/// What a shell tells the engine.
#[derive(Debug)]
pub enum Input<'a> {
    /// A VRRP packet arrived.
    Advert(Received<'a>),
    /// A link appeared or changed: its whole present state.
    Link(Link),
    /// A link is gone.
    LinkGone(IfIndex),
    /// A tracker run by main has a new status.
    Tracker {
        /// Which.
        key: TrackerKey,
        /// Its status now.
        status: TrackerStatus,
    },
    /// A reload.
    Reconfigure(ConfigDiff),
    /// The address writer finished a [`Effect::SyncAddresses`].
    AddressesSynced {
        /// The instance of that effect.
        instance: InstanceId,
        /// The generation of that effect.
        generation: u64,
        /// What the kernel refused, one sentence each.
        failures: Vec<String>,
    },
    /// Give up mastership in good order. When the effects of this input are carried out the process may end.
    Stop,
}

/// A VRRP packet as it came from a socket: the PDU without its IP header.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The socket that it came from.
    pub socket: SocketKey,
    /// IP source.
    pub source: IpAddr,
    /// IP destination.
    pub destination: IpAddr,
    /// TTL or hop limit, if the socket told it.
    pub ttl: Option<u8>,
    /// The VRRP PDU.
    pub pdu: &'a [u8],
}

/// Identity of an advert socket: one per interface and family, shared by all instances there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketKey {
    /// The interface that it is bound to; `None` for unicast instances without an interface.
    pub interface: Option<IfIndex>,
    /// IPv4 or IPv6.
    pub family: Family,
}

/// What a socket must be like. Compared by the shell with what is open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SocketSpec {
    /// Multicast groups to be a member of.
    pub groups: BTreeSet<IpAddr>,
    /// Largest SO_RCVBUF asked for, in bytes.
    pub receive_buffer: Option<u32>,
    /// How many instances share it, for sizing the buffer.
    pub instances: usize,
}

/// One packet to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Through which socket.
    pub socket: SocketKey,
    /// IP source.
    pub source: IpAddr,
    /// IP destination: a group or a peer.
    pub destination: IpAddr,
    /// TTL or hop limit; `None` leaves it to the kernel (IPv6 unicast without `unicast_ttl`).
    pub ttl: Option<u8>,
    /// The VRRP PDU, checksum included.
    pub pdu: Vec<u8>,
}

/// An address bound to the link that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundAddress {
    /// The link.
    pub interface: IfIndex,
    /// The address with its options.
    pub config: AddressConfig,
}

/// What the shell has to carry out. Effects say what *should be*: carrying one out twice is harmless.
/// `SyncAddresses` and `Announce` go through one strictly ordered writer: an announcement must find its address in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send one advert now.
    SendAdvert {
        /// The instance that advertises.
        instance: InstanceId,
        /// The packet.
        transmit: Transmit,
    },
    /// Make the kernel have `present` and not have `absent`. A later generation of the same instance replaces an
    /// earlier one that has not been carried out. Answered by [`Input::AddressesSynced`].
    SyncAddresses {
        /// The instance.
        instance: InstanceId,
        /// Increases with each effect of the instance.
        generation: u64,
        /// Addresses that must exist.
        present: Vec<BoundAddress>,
        /// Addresses that must not.
        absent: Vec<BoundAddress>,
    },
    /// Send `repeat` gratuitous ARPs (IPv4) or unsolicited NAs (IPv6) for each address, if the instance is still
    /// master in `generation`.
    Announce {
        /// The instance.
        instance: InstanceId,
        /// The address generation that it belongs to.
        generation: u64,
        /// Where and what.
        addresses: Vec<(IfIndex, IpAddr)>,
        /// Packets per address.
        repeat: u32,
    },
    /// Have exactly these sockets open.
    SyncSockets {
        /// All of them.
        desired: BTreeMap<SocketKey, SocketSpec>,
    },
    /// Tell people.
    Emit(Event),
}

/// All virtual routers of this host.
#[derive(Debug)]
pub struct VrrpEngine {}

impl VrrpEngine {
    /// An engine that knows no links yet. `adopt` is what a predecessor that was killed has left ([`FlightRecord`]):
    /// a master whose own advert deadline has not passed goes on as master.
    pub fn new(_now: Instant, _config: VrrpConfig, _adopt: &[FlightRecord]) -> Self {
        todo!("engine")
    }

    /// Takes one input.
    pub fn handle_input(&mut self, _now: Instant, _input: Input<'_>) {
        todo!("engine")
    }

    /// Judges all deadlines that have passed. Harmless when called early; afterwards `poll_timeout() > now`.
    pub fn handle_timeout(&mut self, _now: Instant) {
        todo!("engine")
    }

    /// The next effect to carry out, in order.
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        todo!("engine")
    }

    /// The next deadline. May change after any input or timeout.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!("engine")
    }

    /// Everything that can be shown.
    pub fn snapshot(&self) -> Snapshot {
        todo!("engine")
    }

    /// The records of the instances that changed since the last call, for the flight recorder.
    pub fn poll_flight_records(&mut self) -> Vec<FlightRecord> {
        todo!("engine")
    }

    /// An instance's name, for logs.
    pub fn instance_name(&self, _id: InstanceId) -> Option<&str> {
        todo!("engine")
    }
}
