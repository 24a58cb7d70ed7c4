//! Rules for services without a port of their own: every port of an address, or everything with a mark. nftables' TPROXY
//! hands such packets to a listener on the loopback address, which sees where they were going.
//!
//! Shell: one table of our own, in whole each time. Pure: the batch that builds it.
//!
//! ```text
//! table inet holdfast_forward {
//!   chain prerouting { type filter hook prerouting priority -149     after marks were set at -150
//!     ip daddr 192.0.2.1 tcp dport 80 accept                         another service has this port
//!     meta mark 7 meta l4proto tcp tproxy ip to 127.0.0.1:40001 accept
//!     ip daddr 192.0.2.1 meta l4proto tcp tproxy ip to 127.0.0.1:40002 accept
//!   }
//! }
//! ```
//!
//! As with IPVS, packets must be for this host in the eyes of routing: the virtual address is here, or a rule of the
//! operator (`ip rule add fwmark N lookup T; ip route add local default dev lo table T`) says so.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{DefaultNla, NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DataAttribute, ExpressionAttribute, Expressions, Hook, Immediate, InetHookNumber,
    ListAttribute, MetaKey, NfTablesMessage, Register, RuleAttribute, RuleMessage,
};

use super::socket::tproxy_address;
use crate::ipvs::types::{Protocol, SocketKey};
use crate::net::filter::exchange;
use crate::net::netlink::NetlinkSocket;
use crate::net::nft::{self, Batch};
use crate::vrrp::types::Family;

const CHAIN: &str = "prerouting";
/// Right behind `mangle`, where marks are set.
const PRIORITY: i32 = -149;
const RECEIVE_BUFFER: usize = 256 << 10;
/// Offset and length of the destination in the headers of IPv4 and IPv6.
const DESTINATION: [(u32, u32); 2] = [(16, 4), (24, 16)];

/// Which packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Catch {
    /// Those with this mark.
    Mark(u32),
    /// Those to this address, whatever the port.
    Address(IpAddr),
}

/// Where they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Which.
    pub catch: Catch,
    /// Of this family.
    pub family: Family,
    /// And this protocol.
    pub protocol: Protocol,
    /// The port of the listener on the loopback address.
    pub port: u16,
}

/// A service that has a port of an address of which another has the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exempt {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its address and port.
    pub address: SocketKey,
}

/// The table in the kernel.
#[derive(Debug)]
pub struct Tproxy {
    table: String,
    socket: Option<NetlinkSocket>,
    sequence: u32,
    /// What stands; `None` when that is not known.
    standing: Option<(Vec<Exempt>, Vec<Rule>)>,
}

impl Tproxy {
    /// Nothing is done before the first rule is asked for.
    pub fn new(table: &str) -> Self {
        Self { table: table.to_owned(), socket: None, sequence: 0, standing: Some(Default::default()) }
    }

    /// Has exactly these rules, or, after an error, those that stood before.
    ///
    /// # Errors
    /// The kernel refuses: no nftables, no TPROXY, or no CAP_NET_ADMIN.
    pub fn sync(&mut self, exempt: &[Exempt], rules: &[Rule]) -> io::Result<()> {
        if self.standing.as_ref().is_some_and(|(e, r)| e == exempt && r == rules) {
            return Ok(());
        }
        // Marks come first: who sets a mark means it.
        let mut ordered = rules.to_vec();
        ordered.sort_by_key(|rule| rule.catch);
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let batch = batch(self.sequence, &self.table, exempt, &ordered);
        let socket = match &mut self.socket {
            Some(socket) => socket,
            empty => empty.insert(NetlinkSocket::open_netfilter(RECEIVE_BUFFER)?),
        };
        if let Err(error) = exchange(socket, &batch, self.sequence) {
            // Answers that were not read would be taken for those of the next batch.
            self.socket = None;
            return Err(error);
        }
        self.standing = Some((exempt.to_vec(), rules.to_vec()));
        Ok(())
    }

    /// At the end: no table.
    pub fn close(&mut self) {
        if let Err(error) = self.sync(&[], &[]) {
            tracing::warn!("nftables table inet {} is left behind: {error}", self.table);
        }
    }
}

fn batch(sequence: u32, table: &str, exempt: &[Exempt], rules: &[Rule]) -> Vec<u8> {
    if rules.is_empty() {
        return nft::delete_table(sequence, table);
    }
    let mut batch = Batch::begin(sequence);
    batch.delete_table(table);
    batch.push(NLM_F_CREATE, NfTablesMessage::NewTable(nft::named_table(table)));
    batch.push(NLM_F_CREATE, NfTablesMessage::NewChain(chain(table)));
    let exempt = exempt.iter().map(|exempt| {
        let mut expressions = to_address(exempt.address.ip);
        expressions.extend(of_protocol(exempt.protocol));
        expressions.push(nft::payload(nft::TRANSPORT_HEADER, 2, 2));
        expressions.push(nft::compare_bytes(exempt.address.port.to_be_bytes().to_vec()));
        expressions.push(nft::verdict(nft::NF_ACCEPT));
        expressions
    });
    for expressions in exempt.chain(rules.iter().map(expressions)) {
        let expressions: Vec<ListAttribute<ExpressionAttribute>> = expressions.into_iter().map(Into::into).collect();
        let attributes = vec![
            RuleAttribute::Table(table.to_owned()),
            RuleAttribute::Chain(CHAIN.to_owned()),
            RuleAttribute::Expressions(expressions),
        ];
        batch.push(NLM_F_CREATE | NLM_F_APPEND, NfTablesMessage::NewRule(RuleMessage { attributes }));
    }
    batch.end()
}

fn chain(table: &str) -> ChainMessage {
    let hook = vec![
        Hook::Number(InetHookNumber::PreRouting.into()),
        // The kernel reads it as a signed number.
        Hook::Priority(u32::from_ne_bytes(PRIORITY.to_ne_bytes())),
    ];
    let attributes = vec![
        ChainAttribute::Table(table.to_owned()),
        ChainAttribute::Name(CHAIN.to_owned()),
        ChainAttribute::Hook(hook),
        ChainAttribute::Policy(nft::NF_ACCEPT),
        ChainAttribute::Type("filter".to_owned()),
    ];
    ChainMessage { attributes }
}

fn expressions(rule: &Rule) -> Vec<Expressions> {
    let ipv4 = rule.family == Family::V4;
    let mut expressions = match rule.catch {
        Catch::Mark(mark) => {
            let mut both = of_family(ipv4);
            both.push(nft::meta(MetaKey::Mark, Register::Reg1));
            both.push(nft::compare_bytes(mark.to_ne_bytes().to_vec()));
            both
        }
        Catch::Address(ip) => to_address(ip),
    };
    expressions.extend(of_protocol(rule.protocol));
    let address = match tproxy_address(ipv4) {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    expressions.push(load(Register::Reg1, address));
    expressions.push(load(Register::Reg2, rule.port.to_be_bytes().to_vec()));
    // linux/netfilter/nf_tables.h: NFTA_TPROXY_FAMILY, NFTA_TPROXY_REG_ADDR, NFTA_TPROXY_REG_PORT; NFT_REG_1 and 2.
    let family = if ipv4 { nft::NFPROTO_IPV4 } else { nft::NFPROTO_IPV6 };
    let attributes = [(1, u32::from(family)), (2, 1), (3, 2)];
    let attributes = attributes.map(|(kind, value)| DefaultNla::new(kind, value.to_be_bytes().to_vec())).to_vec();
    expressions.push(Expressions::Other { expression_type: "tproxy".to_owned(), attributes });
    expressions.push(nft::verdict(nft::NF_ACCEPT));
    expressions
}

fn of_family(ipv4: bool) -> Vec<Expressions> {
    let family = if ipv4 { nft::NFPROTO_IPV4 } else { nft::NFPROTO_IPV6 };
    vec![nft::meta(MetaKey::Nfproto, Register::Reg1), nft::compare_bytes(vec![family])]
}

fn of_protocol(protocol: Protocol) -> [Expressions; 2] {
    let number = match protocol {
        Protocol::Tcp => libc::IPPROTO_TCP,
        Protocol::Udp => libc::IPPROTO_UDP,
        Protocol::Sctp => libc::IPPROTO_SCTP,
    };
    let number = u8::try_from(number).unwrap_or(u8::MAX);
    [nft::meta(MetaKey::L4Proto, Register::Reg1), nft::compare_bytes(vec![number])]
}

fn to_address(ip: IpAddr) -> Vec<Expressions> {
    let [v4, v6] = DESTINATION;
    let ((offset, length), bytes) = match ip {
        IpAddr::V4(ip) => (v4, ip.octets().to_vec()),
        IpAddr::V6(ip) => (v6, ip.octets().to_vec()),
    };
    let mut expressions = of_family(ip.is_ipv4());
    expressions.push(nft::payload(nft::NETWORK_HEADER, offset, length));
    expressions.push(nft::compare_bytes(bytes));
    expressions
}

fn load(register: Register, bytes: Vec<u8>) -> Expressions {
    let data = Immediate::Data(DataAttribute::Value(bytes));
    Expressions::Immediate(vec![Immediate::DestinationRegister(register), data])
}
