//! What goes into the engine and what comes out of it.
//!
//! Pure: plain values.

use super::*;

/// What a shell tells the engine.
#[derive(Debug)]
pub enum Input<'a> {
    /// A VRRP packet arrived.
    Advert(Received<'a>),
    /// A socket's buffer was full while this process was held up: adverts came and were dropped.
    AdvertsLost(SocketKey),
    /// A link appeared or changed: its whole present state.
    Link(Link),
    /// A link is gone.
    LinkGone(IfIndex),
    /// What became of links, all that is known by now: a cable carries hundreds of VLANs, and what follows for a thousand
    /// instances is found out once.
    Links(Vec<LinkNews>),
    /// A port of this bridge, or of the one below this link, began to forward: behind it are hosts that have heard nothing of us so far.
    PortForwards(IfIndex),
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
    /// Another host announced an address on a link by gratuitous ARP, ARP reply or unsolicited NA. Only asked for while
    /// [`VrrpEngine::listens_to_announcements`].
    Announced {
        /// Where.
        interface: IfIndex,
        /// What.
        address: IpAddr,
        /// By whom, where the link has such addresses.
        hardware: Option<[u8; 6]>,
    },
    /// Take no part in elections: masters hand over, backups wait for nobody's silence. Or do so again, as one that has just
    /// begun to listen. To be told anew to the next process.
    Maintenance(bool),
    /// Give up mastership in good order: resign, and keep each address until the successor has it. The process may end
    /// when [`VrrpEngine::is_stopped`] and the effects are carried out.
    Stop,
    /// Give up everything in this very turn.
    StopAtOnce,
}

/// What became of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkNews {
    /// As [`Input::Link`].
    Present(Link),
    /// As [`Input::LinkGone`].
    Gone(IfIndex),
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
    /// When the kernel had it, which is before now if we were held up. Deadlines start from there.
    pub at: Instant,
    /// The VRRP PDU.
    pub pdu: &'a [u8],
}

/// What became of a packet for one of our instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdvertVerdict {
    /// The instance.
    pub instance: InstanceId,
    /// The flaw's number ([`AdvertError::kind`]) when it was refused.
    pub refused: Option<u8>,
    /// How late it was against its sender's interval, where that can be said.
    pub late: Option<Duration>,
    /// The sender is new, came back, or has another priority.
    pub is_news: bool,
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
    /// Virtual routers to hear; the kernel may keep others' packets away. Empty: all (`log_unknown_vrids`).
    pub vrids: BTreeSet<Vrid>,
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
    /// Packets to it are for us (`accept`, or the address owner); otherwise they are dropped, but for neighbour discovery.
    pub accept: bool,
    /// The host may have it by itself (address owner, static address): only what we put there is ever removed.
    pub own: bool,
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
    /// Send no announcement of this instance that has not gone out yet.
    StopAnnouncing {
        /// The instance.
        instance: InstanceId,
    },
    /// Have exactly these sockets open.
    SyncSockets {
        /// All of them.
        desired: BTreeMap<SocketKey, SocketSpec>,
    },
    /// Tell people.
    Emit(Event),
}
