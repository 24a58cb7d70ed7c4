//! Route netlink: requests as bytes, and the kernel's messages as the few facts that matter here.
//!
//! Pure. Requests are built by `netlink_packet_route`. The kernel's messages are not read by it: one attribute that it
//! does not expect fails its whole message, and a driver or kernel that says something new about a link must not hide
//! the link. The few attributes that matter are picked out, all others are passed over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, CacheInfo};
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::vrrp::config::AddressConfig;
use crate::vrrp::rare::{Rare, Usual};
use crate::vrrp::types::IfIndex;

/// `struct nlmsghdr`.
const HEADER: usize = 16;

/// `IFAPROT` number of addresses that VRRP put there (iproute2 names it `keepalived`); kernels before 5.18 drop it.
pub const PROTOCOL_VRRP: u8 = 18;

/// Flags of an address that its configuration decides.
pub const CONFIGURED_FLAGS: u32 =
    libc::IFA_F_HOMEADDRESS | libc::IFA_F_MANAGETEMPADDR | libc::IFA_F_NOPREFIXROUTE | libc::IFA_F_MCAUTOJOIN;

const FOREVER: u32 = u32::MAX;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_PROTO: u16 = 11;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_BRPORT_STATE: u16 = 1;
const BR_STATE_FORWARDING: u8 = 3;
/// Without the bits for nesting and byte order.
const NLA_TYPE_MASK: u16 = 0x3fff;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLM_F_DUMP_INTR: u16 = 0x10;

/// A link without its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkFacts {
    /// Its number.
    pub index: IfIndex,
    /// Its name.
    pub name: String,
    /// `IFF_*`.
    pub flags: u32,
    /// Its MTU.
    pub mtu: u32,
    /// Its link-layer address.
    pub hardware: Vec<u8>,
    /// The link of this host that it is on top of: of a VLAN or macvlan, the one that carries its frames.
    pub lower: Option<IfIndex>,
}

/// An address on a link, as far as it concerns us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressFacts {
    /// The address.
    pub address: IpAddr,
    /// Prefix length (of the peer, where there is one).
    pub prefix_len: u8,
    /// `RT_SCOPE_*`.
    pub scope: u8,
    /// `IFA_F_*`.
    pub flags: u32,
    /// `IFAPROT_*`, 0 when the kernel does not tell.
    pub protocol: u8,
    /// What virtual addresses seldom have.
    pub options: Rare<OptionFacts>,
}

/// What the kernel tells of the options of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionFacts {
    /// The peer of a point-to-point address.
    pub peer: Option<IpAddr>,
    /// IPv4 label. The link's name when none was given; in the table of links that is as good as none.
    pub label: Option<String>,
    /// IPv4 broadcast address.
    pub broadcast: Option<Ipv4Addr>,
}

impl Usual for OptionFacts {
    const USUAL: &'static Self = &Self { peer: None, label: None, broadcast: None };
}

/// What the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A link is there.
    Link(LinkFacts),
    /// A link is gone.
    LinkGone(IfIndex),
    /// A port of a bridge is there, or its state changed.
    BridgePort {
        /// The port.
        port: IfIndex,
        /// The bridge.
        bridge: IfIndex,
        /// Frames pass (STP state "forwarding").
        forwards: bool,
    },
    /// A link is no port of a bridge any more.
    BridgePortGone(IfIndex),
    /// An address is there.
    Address(IfIndex, AddressFacts),
    /// An address is gone.
    AddressGone(IfIndex, AddressFacts),
    /// The end of a dump.
    Done,
    /// The answer to a request: 0, or an errno with the kernel's own words if it has any.
    Answer {
        /// Errno.
        errno: i32,
        /// Why.
        text: Option<String>,
    },
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The request that it answers; 0 for notifications.
    pub sequence: u32,
    /// A dump whose subject changed meanwhile: to be done again.
    pub interrupted: bool,
    /// What it says.
    pub notice: Notice,
}

/// All messages of one datagram that concern us.
pub fn decode(mut datagram: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Ok(buffer) = NetlinkBuffer::new_checked(&datagram) {
        let length = usize::try_from(buffer.length()).unwrap_or(usize::MAX);
        if let Some(notice) = notice(buffer.message_type(), buffer.flags(), buffer.payload()) {
            let interrupted = buffer.flags() & NLM_F_DUMP_INTR != 0;
            messages.push(Message { sequence: buffer.sequence_number(), interrupted, notice });
        }
        let Some(rest) = datagram.get(length.next_multiple_of(4)..) else { break };
        datagram = rest;
    }
    messages
}

fn notice(kind: u16, flags: u16, payload: &[u8]) -> Option<Notice> {
    match (i32::from(kind), kind) {
        (libc::NLMSG_DONE, _) => Some(Notice::Done),
        (libc::NLMSG_ERROR, _) => answer(flags, payload).map(|(errno, text)| Notice::Answer { errno, text }),
        (_, libc::RTM_NEWLINK) => link(payload).map(Notice::Link).or_else(|| bridge_port(payload)),
        (_, libc::RTM_DELLINK) => {
            link(payload).map(|l| Notice::LinkGone(l.index)).or_else(|| port_index(payload).map(Notice::BridgePortGone))
        }
        (_, libc::RTM_NEWADDR) => address(payload).map(|(i, a)| Notice::Address(i, a)),
        (_, libc::RTM_DELADDR) => address(payload).map(|(i, a)| Notice::AddressGone(i, a)),
        _ => None,
    }
}

/// The answer to a request, of any netlink family: 0 or an errno, and from newer kernels words.
pub fn answer(flags: u16, payload: &[u8]) -> Option<(i32, Option<String>)> {
    let errno = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?).saturating_neg();
    // Behind the number stands the header of our request, with the request itself unless it was left out.
    let request = usize::try_from(u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?)).ok()?;
    let whole = flags & NLM_F_CAPPED == 0 && errno != 0;
    let skipped = if whole { request.checked_next_multiple_of(4)? } else { HEADER };
    let attributes = payload.get(skipped.saturating_add(4)..).filter(|_| flags & NLM_F_ACK_TLVS != 0);
    let text = attributes.and_then(|a| attribute(a, NLMSGERR_ATTR_MSG)).map(text);
    Some((errno, text))
}

fn link(payload: &[u8]) -> Option<LinkFacts> {
    // struct ifinfomsg: family, pad, type, index, flags, change. Bridges send messages of their own family about their
    // ports; one of those that says "gone" speaks of the port, not of the link.
    if i32::from(*payload.first()?) != libc::AF_UNSPEC {
        return None;
    }
    let attributes = payload.get(16..)?;
    Some(LinkFacts {
        index: IfIndex(u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?)),
        flags: u32::from_ne_bytes(payload.get(8..12)?.try_into().ok()?),
        name: attribute(attributes, IFLA_IFNAME).map(text)?,
        mtu: attribute(attributes, IFLA_MTU).and_then(number).unwrap_or(0),
        hardware: attribute(attributes, IFLA_ADDRESS).map(<[u8]>::to_vec).unwrap_or_default(),
        // The number is one of another namespace where that is told too.
        lower: match attribute(attributes, IFLA_LINK_NETNSID) {
            Some(_) => None,
            None => attribute(attributes, IFLA_LINK).and_then(number).map(IfIndex),
        },
    })
}

/// What a bridge says of one of its ports.
fn bridge_port(payload: &[u8]) -> Option<Notice> {
    let port = port_index(payload)?;
    let attributes = payload.get(16..)?;
    let bridge = IfIndex(attribute(attributes, IFLA_MASTER).and_then(number)?);
    let state = attribute(attributes, IFLA_PROTINFO).and_then(|info| attribute(info, IFLA_BRPORT_STATE))?;
    Some(Notice::BridgePort { port, bridge, forwards: state.first() == Some(&BR_STATE_FORWARDING) })
}

fn port_index(payload: &[u8]) -> Option<IfIndex> {
    let is_bridge = i32::from(*payload.first()?) == libc::AF_BRIDGE;
    let index = u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?);
    is_bridge.then_some(IfIndex(index))
}

fn address(payload: &[u8]) -> Option<(IfIndex, AddressFacts)> {
    // struct ifaddrmsg: family, prefix length, flags, scope, index.
    let &[_, prefix_len, flags, scope, ref index @ ..] = payload.get(..8)? else { return None };
    let attributes = payload.get(8..)?;
    let far = attribute(attributes, IFA_ADDRESS).and_then(ip);
    let near = attribute(attributes, IFA_LOCAL).and_then(ip);
    let address = near.or(far)?;
    let broadcast = match attribute(attributes, IFA_BROADCAST).and_then(ip) {
        Some(IpAddr::V4(broadcast)) => Some(broadcast),
        _ => None,
    };
    let facts = AddressFacts {
        address,
        prefix_len,
        scope,
        flags: attribute(attributes, IFA_FLAGS).and_then(number).unwrap_or(u32::from(flags)),
        protocol: attribute(attributes, IFA_PROTO).and_then(|p| p.first().copied()).unwrap_or(0),
        options: OptionFacts {
            peer: far.filter(|f| *f != address),
            label: attribute(attributes, IFA_LABEL).map(text),
            broadcast,
        }
        .into(),
    };
    Some((IfIndex(u32::from_ne_bytes(index.try_into().ok()?)), facts))
}

fn attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    // struct rtattr: length with this header, kind, value, padding to four bytes.
    let mut rest = attributes;
    while let Some(&[l0, l1, k0, k1]) = rest.get(..4) {
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = rest.get(4..length)?;
        if u16::from_ne_bytes([k0, k1]) & NLA_TYPE_MASK == kind {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(value.get(..4)?.try_into().ok()?))
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or(value)).into_owned()
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(|o| Ipv4Addr::from(o).into()),
        16 => <[u8; 16]>::try_from(value).ok().map(|o| Ipv6Addr::from(o).into()),
        _ => None,
    }
}

/// "Tell me all links."
pub fn dump_links(sequence: u32) -> Vec<u8> {
    encode(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP, sequence)
}

/// "Tell me all addresses of both families."
pub fn dump_addresses(sequence: u32) -> Vec<u8> {
    encode(RouteNetlinkMessage::GetAddress(AddressMessage::default()), NLM_F_DUMP, sequence)
}

/// "Have this address, with every option of its configuration." Answered with `EEXIST` when it is there.
pub fn add_address(sequence: u32, interface: IfIndex, config: &AddressConfig) -> Vec<u8> {
    let mut message = address_message(interface, config.address, config.prefix_len, config.options.peer);
    message.header.scope = config.scope.into();
    let flags = address_flags(config);
    let low = u8::try_from(flags & 0xff).expect("masked");
    message.header.flags = AddressHeaderFlags::from_bits_retain(low);
    message.attributes.push(AddressAttribute::Flags(AddressFlags::from_bits_retain(flags)));
    if let Some(broadcast) = config.options.broadcast {
        message.attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    if let Some(label) = &config.options.label {
        message.attributes.push(AddressAttribute::Label(label.clone()));
    }
    if let Some(preferred) = config.preferred_lifetime {
        let mut lifetimes = CacheInfo::default();
        lifetimes.ifa_preferred = preferred;
        lifetimes.ifa_valid = FOREVER;
        message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
    }
    message.attributes.push(AddressAttribute::Protocol(PROTOCOL_VRRP.into()));
    encode(RouteNetlinkMessage::NewAddress(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, sequence)
}

/// "Do not have this address." Answered with `EADDRNOTAVAIL` when it is not there.
pub fn remove_address(
    sequence: u32,
    interface: IfIndex,
    address: IpAddr,
    prefix_len: u8,
    peer: Option<IpAddr>,
) -> Vec<u8> {
    let message = address_message(interface, address, prefix_len, peer);
    encode(RouteNetlinkMessage::DelAddress(message), NLM_F_ACK, sequence)
}

/// `IFA_F_*` that the configuration asks for.
pub fn address_flags(config: &AddressConfig) -> u32 {
    let mut flags = 0;
    for (wanted, flag) in [
        (config.address.is_ipv6() && !config.dad, libc::IFA_F_NODAD),
        (config.home, libc::IFA_F_HOMEADDRESS),
        (config.manage_temporary, libc::IFA_F_MANAGETEMPADDR),
        (config.no_prefix_route, libc::IFA_F_NOPREFIXROUTE),
        (config.autojoin, libc::IFA_F_MCAUTOJOIN),
    ] {
        if wanted {
            flags |= flag;
        }
    }
    flags
}

fn address_message(interface: IfIndex, address: IpAddr, prefix_len: u8, peer: Option<IpAddr>) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = prefix_len;
    message.header.index = interface.0;
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(peer.unwrap_or(address)));
    message
}

fn encode(message: RouteNetlinkMessage, flags: u16, sequence: u32) -> Vec<u8> {
    let mut message = NetlinkMessage::from(message);
    debug_assert!(matches!(message.payload, NetlinkPayload::InnerMessage(_)));
    message.header.flags = NLM_F_REQUEST | flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
    message.emit(&mut bytes);
    bytes
}

#[cfg(test)]
#[path = "rtnl/tests.rs"]
mod tests;
