//! The advert sockets: one raw socket for each interface and family.
//!
//! Shell: owns them, decides nothing. IPv4 goes out with our own header (the kernel would set DF and choose its own
//! TOS); IPv6 with source and hop limit as ancillary data. A socket that cannot be opened is logged once and tried
//! again when a link changes; it never takes the others down.
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, recvmsg, sendmsg, sendto, setsockopt,
    sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};

use crate::vrrp::engine::{SocketKey, SocketSpec, Transmit};
use crate::vrrp::types::{Family, IfIndex, Vrid};

use super::ip::{self, VRRP_PROTOCOL};
use super::links::LinkTable;
use super::sys::{self, Readiness};

/// The largest datagram.
const DATAGRAM: usize = 64 << 10;
/// Packets read from one socket before the next gets its turn: a flood on one LAN does not starve the others.
const BURST: usize = 64;
/// Receive buffer for each instance: eight adverts as the kernel accounts for them.
const BUFFER_PER_INSTANCE: usize = 16 << 10;
/// The least that the kernel accounts for one packet; it gives twice the buffer that is asked for.
const SMALLEST_PACKET: usize = 512;
const SMALLEST_BUFFER: usize = 256 << 10;
const LARGEST_BUFFER: usize = 32 << 20;
const TRAFFIC_CLASS: u32 = 0xc0;
/// `TC_PRIO_INTERACTIVE`: before bulk traffic in the interface's queue.
const PRIORITY: u32 = 6;

/// All advert sockets.
#[derive(Debug)]
pub struct AdvertSockets {
    sockets: BTreeMap<SocketKey, Slot>,
    buffer: Vec<u8>,
    /// For what comes with a packet.
    control: Vec<u8>,
    /// The sockets in the order of reading, which of them is being read, and how many packets it gave in a row.
    keys: Vec<SocketKey>,
    cursor: usize,
    burst: usize,
    /// The IPv4 identification of the next datagram.
    id: u16,
}

#[derive(Debug)]
struct Slot {
    spec: SocketSpec,
    open: Option<Open>,
    /// Complaints already made, so that each is made once until things are good again.
    complained: BTreeSet<String>,
    /// Packets that it gave in this turn.
    given: usize,
}

#[derive(Debug)]
struct Open {
    socket: Socket,
    groups: BTreeSet<IpAddr>,
    buffer: usize,
    /// The virtual routers that the kernel lets through.
    vrids: BTreeSet<Vrid>,
    /// Packets that the kernel has dropped, as it counts them.
    dropped: u32,
}

/// A packet as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Through which socket.
    pub socket: SocketKey,
    /// IP source.
    pub source: IpAddr,
    /// IP destination.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: Option<u8>,
    /// CLOCK_REALTIME since the epoch when the kernel had it.
    pub stamp: Option<Duration>,
    /// The VRRP PDU.
    pub pdu: Vec<u8>,
}

impl Default for AdvertSockets {
    fn default() -> Self {
        Self {
            sockets: BTreeMap::new(),
            buffer: vec![0; DATAGRAM],
            control: nix::cmsg_space!(libc::in6_pktinfo, libc::c_int, libc::timespec),
            keys: Vec::new(),
            cursor: 0,
            burst: 0,
            id: 0,
        }
    }
}

impl AdvertSockets {
    /// Has exactly these open. What stays is not touched.
    pub fn sync(&mut self, desired: BTreeMap<SocketKey, SocketSpec>, links: &LinkTable, readiness: &Readiness) {
        self.sockets.retain(|key, _| desired.contains_key(key));
        for (key, spec) in desired {
            match self.sockets.get_mut(&key) {
                Some(slot) => slot.spec = spec,
                None => {
                    self.sockets.insert(key, Slot { spec, open: None, complained: BTreeSet::new(), given: 0 });
                }
            }
        }
        self.keys = self.sockets.keys().copied().collect();
        self.cursor = 0;
        self.repair(links, readiness);
    }

    /// Opens and joins what failed before. To be called when a link changed.
    pub fn repair(&mut self, links: &LinkTable, readiness: &Readiness) {
        for (key, slot) in &mut self.sockets {
            slot.repair(*key, links, readiness);
        }
    }

    /// The number of sockets that are open.
    pub fn open_count(&self) -> usize {
        self.sockets.values().filter(|s| s.open.is_some()).count()
    }

    /// A turn begins: each socket may give as many packets as its buffer has room for. All that wait now are among them,
    /// and a flood that fills the buffer again cannot make the turn longer.
    pub fn begin_turn(&mut self) {
        self.sockets.values_mut().for_each(|slot| slot.given = 0);
    }

    /// Packets that were read in this turn.
    pub fn given(&self) -> usize {
        self.sockets.values().map(|slot| slot.given).sum()
    }

    /// Whether a socket gave all that it may in this turn: more comes than we can read.
    pub fn is_flooded(&self) -> bool {
        self.sockets.values().any(|slot| slot.given >= slot.most_per_turn())
    }

    /// The next packet, if any is waiting. What is no VRRP datagram at all is passed over.
    pub fn receive(&mut self) -> Option<Packet> {
        // Once more round than there are sockets: the first may have ended its burst with packets left.
        for _ in 0..=self.keys.len() {
            let key = *self.keys.get(self.cursor)?;
            if self.burst < BURST
                && let Some(packet) = self.receive_from(key)
            {
                self.burst += 1;
                return Some(packet);
            }
            self.burst = 0;
            self.cursor = (self.cursor + 1) % self.keys.len();
        }
        None
    }

    /// The sockets that were read in this turn and that dropped packets, for want of room, since the last call.
    pub fn take_overflown(&mut self) -> BTreeSet<SocketKey> {
        let read = self.sockets.iter_mut().filter(|(_, slot)| slot.given > 0);
        read.filter_map(|(key, slot)| slot.open.as_mut()?.has_dropped().then_some(*key)).collect()
    }

    fn receive_from(&mut self, key: SocketKey) -> Option<Packet> {
        let slot = self.sockets.get_mut(&key)?;
        let most = slot.most_per_turn();
        let Open { socket, .. } = slot.open.as_mut()?;
        for _ in 0..BURST {
            if slot.given >= most {
                return None;
            }
            match receive(socket, key, &mut self.buffer, &mut self.control) {
                Ok(packet) => {
                    slot.given += 1;
                    if packet.is_some() {
                        return packet;
                    }
                }
                Err(Errno::EINTR) => {}
                // Nothing waits; or an error about one packet or a link that went down, of which the monitor tells.
                Err(_) => return None,
            }
        }
        None
    }

    /// Sends one advert.
    ///
    /// # Errors
    /// The socket is not open, its queue is full, or there is no way to the destination.
    pub fn send(&mut self, transmit: &Transmit) -> io::Result<()> {
        let missing = || io::Error::new(io::ErrorKind::NotConnected, "the advert socket is not open");
        let slot = self.sockets.get_mut(&transmit.socket).ok_or_else(missing)?;
        let open = slot.open.as_ref().ok_or_else(missing)?;
        let sent = match (transmit.source, transmit.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.id = self.id.wrapping_add(1).max(1);
                send_v4(&open.socket, source, destination, transmit.ttl, self.id, &transmit.pdu)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => send_v6(&open.socket, source, destination, transmit),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "source and destination are of two families")),
        };
        match &sent {
            Ok(()) => slot.complained.clear(),
            Err(e) => slot.complain(&format!("cannot send adverts to {}: {e}", transmit.destination)),
        }
        sent
    }
}

impl Open {
    fn has_dropped(&mut self) -> bool {
        let Ok(dropped) = sys::dropped_packets(&self.socket) else { return false };
        std::mem::replace(&mut self.dropped, dropped) != dropped
    }
}

impl Slot {
    fn most_per_turn(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.buffer * 2 / SMALLEST_PACKET).max(1)
    }

    fn complain(&mut self, message: &str) {
        if self.complained.insert(message.to_owned()) {
            tracing::warn!("{message}");
        }
    }

    fn repair(&mut self, key: SocketKey, links: &LinkTable, readiness: &Readiness) {
        if self.open.is_none() {
            match open(key, links).and_then(|socket| readiness.add(&socket).map(|()| socket)) {
                Ok(socket) => {
                    self.complained.clear();
                    self.open =
                        Some(Open { socket, groups: BTreeSet::new(), buffer: 0, vrids: BTreeSet::new(), dropped: 0 });
                }
                Err(e) => {
                    self.complain(&format!("cannot open the {} advert socket{}: {e}", key.family, on(key, links)))
                }
            }
        }
        let Some(open) = &mut self.open else { return };
        let buffer = buffer_size(&self.spec);
        if open.buffer != buffer {
            // RcvBufForce needs CAP_NET_ADMIN; without it the system's limit applies.
            if setsockopt(&open.socket, sockopt::RcvBufForce, &buffer).is_err() {
                let _ = open.socket.set_recv_buffer_size(buffer);
            }
            open.buffer = buffer;
        }
        if open.vrids != self.spec.vrids {
            // Without it, what is for others is read and passed over.
            match filter_vrids(&open.socket, key.family, &self.spec.vrids) {
                Ok(()) => open.vrids.clone_from(&self.spec.vrids),
                Err(e) => tracing::debug!("packet filter of the advert socket{}: {e}", on(key, links)),
            }
        }
        let mut failures = Vec::new();
        let index = key.interface.map_or(0, |i| i.0);
        for group in open.groups.difference(&self.spec.groups) {
            let _ = membership(&open.socket, *group, index, false);
        }
        let mut joined: BTreeSet<IpAddr> = open.groups.intersection(&self.spec.groups).copied().collect();
        for group in self.spec.groups.difference(&open.groups) {
            match membership(&open.socket, *group, index, true) {
                Ok(()) => {
                    joined.insert(*group);
                }
                Err(e) => failures.push(format!("cannot join group {group}{}: {e}", on(key, links))),
            }
        }
        open.groups = joined;
        for failure in failures {
            self.complain(&failure);
        }
    }
}

/// Has the kernel drop the adverts of virtual routers that nobody here is part of: a LAN may have hundreds, and a flood for
/// any other VRID never wakes us.
fn filter_vrids(socket: &Socket, family: Family, vrids: &BTreeSet<Vrid>) -> io::Result<()> {
    if vrids.is_empty() { socket.detach_filter() } else { socket.attach_filter(&vrid_filter(family, vrids)) }
}

/// Compares the VRID with each of `vrids`; too short a packet is refused by the load itself.
fn vrid_filter(family: Family, vrids: &BTreeSet<Vrid>) -> Vec<SockFilter> {
    const LOAD_IP_HEADER_LENGTH: u16 = 0xb1; // BPF_LDX | BPF_B | BPF_MSH
    const LOAD_BEHIND_IT: u16 = 0x50; // BPF_LD | BPF_B | BPF_IND
    const LOAD: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
    const JUMP_IF: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    // A raw IPv4 socket sees the IP header, an IPv6 one does not.
    let mut program = match family {
        Family::V4 => {
            vec![SockFilter::new(LOAD_IP_HEADER_LENGTH, 0, 0, 0), SockFilter::new(LOAD_BEHIND_IT, 0, 0, 1)]
        }
        Family::V6 => vec![SockFilter::new(LOAD, 0, 0, 1)],
    };
    for vrid in vrids {
        // Skips the return behind it unless it is this one: jumps have 8 bits, and there may be 255 of these.
        program.push(SockFilter::new(JUMP_IF, 0, 1, u32::from(vrid.value())));
        program.push(SockFilter::new(RETURN, 0, 0, u32::MAX));
    }
    program.push(SockFilter::new(RETURN, 0, 0, 0));
    program
}

fn on(key: SocketKey, links: &LinkTable) -> String {
    key.interface.map_or_else(String::new, |i| format!(" on {}", links.name(i)))
}

fn buffer_size(spec: &SocketSpec) -> usize {
    let sized = spec.instances.saturating_mul(BUFFER_PER_INSTANCE).clamp(SMALLEST_BUFFER, LARGEST_BUFFER);
    let asked = spec.receive_buffer.and_then(|b| usize::try_from(b).ok()).unwrap_or(0);
    sized.max(asked)
}

fn open(key: SocketKey, links: &LinkTable) -> io::Result<Socket> {
    let domain = match key.family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    let kind = Type::RAW.cloexec().nonblocking();
    let socket = Socket::new_raw(domain, kind, Some(Protocol::from(i32::from(VRRP_PROTOCOL))))?;
    if let Some(index) = key.interface {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the interface does not exist");
        let link = links.facts(index).ok_or_else(gone)?;
        socket.bind_device(Some(link.name.as_bytes()))?;
    }
    socket.set_priority(PRIORITY)?;
    // When a packet came: after a stall of ours, silence on the wire must not be made up.
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    match key.family {
        Family::V4 => prepare_v4(&socket, key.interface)?,
        Family::V6 => prepare_v6(&socket, key.interface)?,
    }
    Ok(socket)
}

fn prepare_v4(socket: &Socket, interface: Option<IfIndex>) -> io::Result<()> {
    socket.set_header_included_v4(true)?;
    socket.set_freebind_v4(true)?;
    // Otherwise the socket hears every group that any process on this host has joined.
    socket.set_multicast_all_v4(false)?;
    socket.set_multicast_loop_v4(false)?;
    if let Some(interface) = interface {
        sys::set_multicast_interface_v4(socket, interface)?;
    }
    Ok(())
}

fn prepare_v6(socket: &Socket, interface: Option<IfIndex>) -> io::Result<()> {
    socket.set_freebind_v6(true)?;
    socket.set_multicast_all_v6(false)?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_multicast_hops_v6(255)?;
    socket.set_tclass_v6(TRAFFIC_CLASS)?;
    socket.set_recv_hoplimit_v6(true)?;
    setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
    if let Some(interface) = interface {
        socket.set_multicast_if_v6(interface.0)?;
    }
    Ok(())
}

fn membership(socket: &Socket, group: IpAddr, interface: u32, member: bool) -> io::Result<()> {
    let index = InterfaceIndexOrAddress::Index(interface);
    match (group, member) {
        (IpAddr::V4(group), true) => socket.join_multicast_v4_n(&group, &index),
        (IpAddr::V4(group), false) => socket.leave_multicast_v4_n(&group, &index),
        (IpAddr::V6(group), true) => socket.join_multicast_v6(&group, interface),
        (IpAddr::V6(group), false) => socket.leave_multicast_v6(&group, interface),
    }
}

/// What comes with a packet.
#[derive(Debug, Default)]
struct Ancillary {
    /// CLOCK_REALTIME when the kernel had it.
    received: Option<Duration>,
    destination: Option<Ipv6Addr>,
    hops: Option<u8>,
}

impl Ancillary {
    fn of(controls: impl Iterator<Item = ControlMessageOwned>) -> Self {
        let mut found = Self::default();
        for control in controls {
            match control {
                ControlMessageOwned::ScmTimestampns(time) => found.received = Some(Duration::from(time)),
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    found.destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
                }
                ControlMessageOwned::Ipv6HopLimit(hops) => found.hops = u8::try_from(hops).ok(),
                _ => {}
            }
        }
        found
    }
}

/// One packet; none if it is no VRRP datagram.
fn receive(socket: &Socket, key: SocketKey, buffer: &mut [u8], control: &mut [u8]) -> Result<Option<Packet>, Errno> {
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let (length, source, ancillary) = match key.family {
        Family::V4 => {
            let message = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(control), flags)?;
            (message.bytes, None, Ancillary::of(message.cmsgs()?))
        }
        Family::V6 => {
            let message = recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(control), flags)?;
            (message.bytes, message.address.map(|a| a.ip()), Ancillary::of(message.cmsgs()?))
        }
    };
    Ok(buffer.get(..length).and_then(|bytes| packet(key, bytes, source, &ancillary)))
}

fn packet(key: SocketKey, bytes: &[u8], source: Option<Ipv6Addr>, ancillary: &Ancillary) -> Option<Packet> {
    match key.family {
        Family::V4 => ip::strip_v4(bytes).map(|p| Packet {
            socket: key,
            source: p.source.into(),
            destination: p.destination.into(),
            ttl: Some(p.ttl),
            stamp: ancillary.received,
            pdu: p.payload.to_vec(),
        }),
        Family::V6 => Some(Packet {
            socket: key,
            source: source?.into(),
            destination: ancillary.destination?.into(),
            ttl: ancillary.hops,
            stamp: ancillary.received,
            pdu: bytes.to_vec(),
        }),
    }
}

/// A group is on the link: no routing table may send the advert elsewhere.
fn send_flags(multicast: bool) -> MsgFlags {
    let direct = if multicast { libc::MSG_DONTROUTE } else { 0 };
    MsgFlags::MSG_DONTWAIT | MsgFlags::from_bits_retain(direct)
}

fn send_v4(
    socket: &Socket,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    ttl: Option<u8>,
    id: u16,
    pdu: &[u8],
) -> io::Result<()> {
    let too_long = || io::Error::new(io::ErrorKind::InvalidInput, "the advert is too long");
    let datagram = ip::wrap_v4(source, destination, ttl, id, pdu).ok_or_else(too_long)?;
    let to = SockaddrIn::from(SocketAddrV4::new(destination, 0));
    sendto(socket.as_raw_fd(), &datagram, &to, send_flags(destination.is_multicast()))?;
    Ok(())
}

fn send_v6(socket: &Socket, source: Ipv6Addr, destination: Ipv6Addr, transmit: &Transmit) -> io::Result<()> {
    let interface = transmit.socket.interface.map_or(0, |i| i.0);
    let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: source.octets() }, ipi6_ifindex: interface };
    let hops = transmit.ttl.map(i32::from);
    let mut control = vec![ControlMessage::Ipv6PacketInfo(&info)];
    control.extend(hops.as_ref().map(ControlMessage::Ipv6HopLimit));
    let to = SockaddrIn6::from(SocketAddrV6::new(destination, 0, 0, interface));
    let parts = [IoSlice::new(&transmit.pdu)];
    let flags = send_flags(destination.is_multicast());
    sendmsg(socket.as_fd().as_raw_fd(), &parts, &control, flags, Some(&to))?;
    Ok(())
}
