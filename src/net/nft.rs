//! The nftables table that keeps packets to the virtual addresses away from a router that must not accept them
//! (`no_accept`, strict mode; RFC 9568 §6.4.3), as the batches that build and change it.
//!
//! Pure: bytes only. One table of our own, family `inet`, so that nothing of the host's own rules is touched:
//!
//! ```text
//! table inet holdfast {
//!   set vips4 { type ipv4_addr }                        set vips6 { type ipv6_addr }
//!   set link_local { type ipv6_addr . iface_index }     one fe80:: address may stand on many links
//!   chain in { type filter hook input priority -1
//!     icmpv6 type { solicitation, advertisement } accept   or nobody would find the virtual router
//!     ip daddr @vips4 drop
//!     ip6 daddr @vips6 drop
//!     ip6 daddr . iif @link_local drop
//!   }
//! }
//! ```
//!
//! A batch is carried out whole or not at all. Packets to all other addresses pass after one look into a hash.

use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Cmp, DataAttribute, ExpressionAttribute, Expressions, Hook, Immediate,
    InetHookNumber, ListAttribute, Lookup, Meta, MetaKey, NfTablesMessage, Operator, Payload, Register, RuleAttribute,
    RuleMessage, SetAttribute, SetElementAttribute, SetElementList, SetElementMessage, SetMessage, TableAttribute,
    TableMessage, Verdict, VerdictAttribute,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};

use crate::vrrp::config::FilterConfig;
use crate::vrrp::engine::BoundAddress;
use crate::vrrp::types::IfIndex;

/// Elements of one batch. The kernel takes at most 64 KiB in one list, and some 200 KiB in one batch.
pub const ELEMENTS_PER_BATCH: usize = 1500;

const CHAIN: &str = "in";
const NF_DROP: u32 = 0;
pub(crate) const NF_ACCEPT: u32 = 1;
const SUBSYSTEM: u16 = 10;
pub(crate) const NETWORK_HEADER: u32 = 1;
pub(crate) const TRANSPORT_HEADER: u32 = 2;
pub(crate) const NFPROTO_IPV4: u8 = 2;
pub(crate) const NFPROTO_IPV6: u8 = 10;
const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Type numbers by which `nft` knows how to show the elements of a set; the kernel does not look at them.
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_IFACE_INDEX: u32 = 20;

/// A destination that is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocked {
    /// On every link: a packet may come in over any.
    Anywhere(IpAddr),
    /// A link-local address means another host on each link.
    OnLink(Ipv6Addr, IfIndex),
}

impl Blocked {
    /// What must be blocked while this address stands; `None` when packets to it are accepted.
    pub fn of(bound: &BoundAddress) -> Option<Self> {
        if bound.accept {
            return None;
        }
        Some(match bound.config.address {
            IpAddr::V6(address) if address.is_unicast_link_local() => Self::OnLink(address, bound.interface),
            address => Self::Anywhere(address),
        })
    }

    fn set(self) -> Set {
        match self {
            Self::Anywhere(IpAddr::V4(_)) => Set::V4,
            Self::Anywhere(IpAddr::V6(_)) => Set::V6,
            Self::OnLink(..) => Set::LinkLocal,
        }
    }

    fn key(self) -> Vec<u8> {
        match self {
            Self::Anywhere(IpAddr::V4(address)) => address.octets().to_vec(),
            Self::Anywhere(IpAddr::V6(address)) => address.octets().to_vec(),
            Self::OnLink(address, link) => [&address.octets()[..], &link.0.to_ne_bytes()].concat(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    V4,
    V6,
    LinkLocal,
}

impl Set {
    const ALL: [Self; 3] = [Self::V4, Self::V6, Self::LinkLocal];

    fn name(self) -> String {
        match self {
            Self::V4 => "vips4",
            Self::V6 => "vips6",
            Self::LinkLocal => "link_local",
        }
        .to_owned()
    }

    fn key_type(self) -> (u32, u32) {
        match self {
            Self::V4 => (TYPE_IPV4, 4),
            Self::V6 => (TYPE_IPV6, 16),
            Self::LinkLocal => (TYPE_IPV6 << 6 | TYPE_IFACE_INDEX, 20),
        }
    }
}

/// The table anew, with these elements, in the place of whatever has its name.
pub fn rebuild(sequence: u32, config: &FilterConfig, elements: &[Blocked]) -> Vec<u8> {
    let table = &config.table;
    let mut batch = Batch::begin(sequence);
    batch.delete_table(table);
    batch.push(NLM_F_CREATE, NfTablesMessage::NewTable(named_table(table)));
    batch.push(NLM_F_CREATE, NfTablesMessage::NewChain(chain(config)));
    for set in Set::ALL {
        batch.push(NLM_F_CREATE, NfTablesMessage::NewSet(new_set(table, set)));
    }
    for rule in rules(config) {
        batch.push(NLM_F_CREATE | NLM_F_APPEND, NfTablesMessage::NewRule(rule));
    }
    batch.elements(table, elements, NLM_F_CREATE, NfTablesMessage::NewSetElement);
    batch.end()
}

/// These elements too. Harmless for those that are there.
pub fn add(sequence: u32, table: &str, elements: &[Blocked]) -> Vec<u8> {
    let mut batch = Batch::begin(sequence);
    batch.elements(table, elements, NLM_F_CREATE, NfTablesMessage::NewSetElement);
    batch.end()
}

/// No longer these elements. All of them must be there.
pub fn remove(sequence: u32, table: &str, elements: &[Blocked]) -> Vec<u8> {
    let mut batch = Batch::begin(sequence);
    batch.elements(table, elements, 0, NfTablesMessage::DeleteSetElement);
    batch.end()
}

/// No table of this name, whether there was one or not.
pub fn delete_table(sequence: u32, table: &str) -> Vec<u8> {
    let mut batch = Batch::begin(sequence);
    batch.delete_table(table);
    batch.end()
}

/// Messages between a begin and an end, the last of them answered.
pub(crate) struct Batch {
    sequence: u32,
    messages: Vec<(u16, NetfilterMessage)>,
}

impl Batch {
    pub(crate) fn begin(sequence: u32) -> Self {
        let mut batch = Self { sequence, messages: Vec::new() };
        batch.control(ControlMessage::BatchBegin);
        batch
    }

    fn control(&mut self, message: ControlMessage) {
        let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, SUBSYSTEM);
        self.messages.push((0, NetfilterMessage::new(header, NetfilterMessageInner::from(message))));
    }

    pub(crate) fn push(&mut self, flags: u16, message: NfTablesMessage) {
        let header = NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0);
        self.messages.push((flags, NetfilterMessage::new(header, message)));
    }

    /// Made first when it is not there: deleting what is not there would fail the whole batch.
    pub(crate) fn delete_table(&mut self, table: &str) {
        self.push(NLM_F_CREATE, NfTablesMessage::NewTable(named_table(table)));
        self.push(0, NfTablesMessage::DeleteTable(named_table(table)));
    }

    fn elements(
        &mut self,
        table: &str,
        elements: &[Blocked],
        flags: u16,
        message: fn(SetElementMessage) -> NfTablesMessage,
    ) {
        for set in Set::ALL {
            let keys = elements.iter().filter(|element| element.set() == set).map(|element| element.key());
            let keys: Vec<_> = keys.map(|key| SetElementAttribute::Key(DataAttribute::Value(key))).collect();
            if keys.is_empty() {
                continue;
            }
            let list = keys.into_iter().map(|key| ListAttribute::Element(vec![key])).collect();
            let attributes = vec![
                SetElementList::Table(table.to_owned()),
                SetElementList::Set(set.name()),
                SetElementList::Elements(list),
            ];
            self.push(flags, message(SetElementMessage { attributes }));
        }
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        if let Some((flags, _)) = self.messages.last_mut() {
            *flags |= NLM_F_ACK;
        }
        self.control(ControlMessage::BatchEnd);
        let mut bytes = Vec::new();
        for (flags, message) in self.messages {
            let mut message = NetlinkMessage::from(message);
            message.header.flags = NLM_F_REQUEST | flags;
            message.header.sequence_number = self.sequence;
            message.finalize();
            let start = bytes.len();
            bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(bytes.get_mut(start..).unwrap_or_default());
        }
        bytes
    }
}

pub(crate) fn named_table(table: &str) -> TableMessage {
    TableMessage { attributes: vec![TableAttribute::Name(table.to_owned())] }
}

fn chain(config: &FilterConfig) -> ChainMessage {
    let hook = vec![
        Hook::Number(InetHookNumber::LocalIn.into()),
        // The kernel reads it as a signed number.
        Hook::Priority(u32::from_ne_bytes(config.priority.to_ne_bytes())),
    ];
    let attributes = vec![
        ChainAttribute::Table(config.table.clone()),
        ChainAttribute::Name(CHAIN.to_owned()),
        ChainAttribute::Hook(hook),
        ChainAttribute::Policy(NF_ACCEPT),
        ChainAttribute::Type("filter".to_owned()),
    ];
    ChainMessage { attributes }
}

fn new_set(table: &str, set: Set) -> SetMessage {
    let (key_type, key_len) = set.key_type();
    let attributes = vec![
        SetAttribute::Table(table.to_owned()),
        SetAttribute::Name(set.name()),
        SetAttribute::KeyType(key_type),
        SetAttribute::KeyLen(key_len),
        // Identifies it within the batch.
        SetAttribute::Id(set as u32 + 1),
    ];
    SetMessage { attributes }
}

fn rules(config: &FilterConfig) -> Vec<RuleMessage> {
    let neighbour_discovery = vec![
        meta(MetaKey::Nfproto, Register::Reg1),
        compare(Operator::Equal, NFPROTO_IPV6),
        meta(MetaKey::L4Proto, Register::Reg1),
        compare(Operator::Equal, ICMPV6),
        payload(TRANSPORT_HEADER, 0, 1),
        compare(Operator::GreatherThanEqual, NEIGHBOUR_SOLICITATION),
        compare(Operator::LessThanEqual, NEIGHBOUR_ADVERTISEMENT),
        verdict(NF_ACCEPT),
    ];
    let mut rules = vec![rule(config, neighbour_discovery)];
    for set in Set::ALL {
        let (family, offset, length) = match set {
            Set::V4 => (NFPROTO_IPV4, 16, 4),
            Set::V6 | Set::LinkLocal => (NFPROTO_IPV6, 24, 16),
        };
        let mut expressions = vec![
            meta(MetaKey::Nfproto, Register::Reg1),
            compare(Operator::Equal, family),
            payload(NETWORK_HEADER, offset, length),
        ];
        if set == Set::LinkLocal {
            // Right behind the sixteen bytes of register 1.
            expressions.push(meta(MetaKey::Iif, Register::Reg2));
        }
        expressions.push(Expressions::Lookup(vec![Lookup::Set(set.name()), Lookup::SourceRegister(Register::Reg1)]));
        if config.counters {
            let counter = Expressions::Other { expression_type: "counter".to_owned(), attributes: Vec::new() };
            expressions.push(counter);
        }
        expressions.push(verdict(NF_DROP));
        rules.push(rule(config, expressions));
    }
    rules
}

fn rule(config: &FilterConfig, expressions: Vec<Expressions>) -> RuleMessage {
    let expressions: Vec<ListAttribute<ExpressionAttribute>> = expressions.into_iter().map(Into::into).collect();
    let attributes = vec![
        RuleAttribute::Table(config.table.clone()),
        RuleAttribute::Chain(CHAIN.to_owned()),
        RuleAttribute::Expressions(expressions),
    ];
    RuleMessage { attributes }
}

pub(crate) fn meta(key: MetaKey, register: Register) -> Expressions {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(register)])
}

pub(crate) fn payload(base: u32, offset: u32, length: u32) -> Expressions {
    Expressions::Payload(vec![
        Payload::DestinationRegister(Register::Reg1),
        Payload::Base(base),
        Payload::Offset(offset),
        Payload::Len(length),
    ])
}

pub(crate) fn compare(operator: Operator, value: u8) -> Expressions {
    let value = Cmp::Data(DataAttribute::Value(vec![value]));
    Expressions::Cmp(vec![Cmp::SourceRegister(Register::Reg1), Cmp::Op(operator), value])
}

/// Register 1 begins with these bytes.
pub(crate) fn compare_bytes(value: Vec<u8>) -> Expressions {
    let value = Cmp::Data(DataAttribute::Value(value));
    Expressions::Cmp(vec![Cmp::SourceRegister(Register::Reg1), Cmp::Op(Operator::Equal), value])
}

pub(crate) fn verdict(code: u32) -> Expressions {
    let code = VerdictAttribute::Code(Verdict::Other(code));
    let data = Immediate::Data(DataAttribute::Verdict(vec![code]));
    Expressions::Immediate(vec![Immediate::DestinationRegister(Register::Verdict), data])
}

#[cfg(test)]
#[path = "nft/tests.rs"]
mod tests;
