//! The return path of NAT (`masquerade`): answers of real servers come back through the director although their default
//! route does not, because the director shows itself as the client.
//!
//! Pure, but for [`writer`]. One nftables table of our own, so that nothing of the host's own rules is touched:
//!
//! ```text
//! table inet holdfast_masquerade {
//!   set vips4 { type ipv4_addr }     set reals4 { type ipv4_addr }      and the same for IPv6
//!   chain out { type nat hook postrouting priority 100
//!     ct original ip daddr @vips4 ip daddr @reals4 masquerade
//!     ct original ip6 daddr @vips6 ip6 daddr @reals6 masquerade
//!   }
//! }
//! ```
//!
//! Only what was sent to one of our virtual addresses is changed. For this IPVS has to tell connection tracking of its
//! connections: `net.ipv4.vs.conntrack` is on while the table stands.

pub mod writer;

use std::collections::BTreeSet;
use std::net::IpAddr;

use netlink_packet_core::{DefaultNla, NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DataAttribute, ExpressionAttribute, Expressions, Hook, InetHookNumber, ListAttribute,
    Lookup, MetaKey, NfTablesMessage, Operator, Register, RuleAttribute, RuleMessage, SetAttribute,
    SetElementAttribute, SetElementList, SetElementMessage, SetMessage,
};

use super::table::Service;
use super::types::{ForwardMethod, ServiceKey};
use crate::net::nft::{Batch, ELEMENTS_PER_BATCH, compare, meta, named_table, payload};

/// Name of the table.
pub const TABLE: &str = "holdfast_masquerade";

const CHAIN: &str = "out";
/// `srcnat`: where the kernel translates sources.
const PRIORITY: u32 = 100;
const POLICY_ACCEPT: u32 = 1;
const NETWORK_HEADER: u32 = 1;
const CT_DREG: u16 = 1;
const CT_KEY: u16 = 2;
const CT_DIRECTION: u16 = 3;
const CT_ORIGINAL: u8 = 0;
const REGISTER_1: u32 = 1;

/// Whose answers have to come back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReturnPaths {
    /// Virtual addresses.
    pub virtuals: BTreeSet<IpAddr>,
    /// Addresses of real servers.
    pub reals: BTreeSet<IpAddr>,
}

impl ReturnPaths {
    /// Of these services, all of them with `masquerade`. Destinations that are not reached by NAT need none. A service
    /// by firewall mark has no address to know its packets by: it comes back in the second list.
    pub fn of<'a>(services: impl IntoIterator<Item = (&'a ServiceKey, &'a Service)>) -> (Self, Vec<ServiceKey>) {
        let mut paths = Self::default();
        let mut without = Vec::new();
        for (key, service) in services {
            let nat = service.destinations.iter().filter(|(_, to)| to.method == ForwardMethod::Nat);
            let reals: BTreeSet<IpAddr> = nat.map(|(address, _)| address.ip).collect();
            match key {
                _ if reals.is_empty() => {}
                ServiceKey::Fwmark { .. } => without.push(*key),
                ServiceKey::Address { address, .. } => {
                    paths.virtuals.insert(address.ip);
                    paths.reals.extend(reals);
                }
            }
        }
        (paths, without)
    }

    /// Whether there is nothing to be done.
    pub fn is_empty(&self) -> bool {
        self.reals.is_empty()
    }
}

/// The batches that put the table in the place of whatever has its name. The first one is the whole of it, carried out at
/// once or not at all; more than [`ELEMENTS_PER_BATCH`] addresses follow in further ones.
pub fn rebuild(sequence: u32, paths: &ReturnPaths) -> Vec<Vec<u8>> {
    let elements: Vec<(Set, IpAddr)> = [(paths.virtuals.iter(), Role::Virtual), (paths.reals.iter(), Role::Real)]
        .into_iter()
        .flat_map(|(addresses, role)| addresses.map(move |address| (Set::of(role, *address), *address)))
        .collect();
    let mut parts = elements.chunks(ELEMENTS_PER_BATCH);
    let mut first = Batch::begin(sequence);
    first.delete_table(TABLE);
    first.push(NLM_F_CREATE, NfTablesMessage::NewTable(named_table(TABLE)));
    first.push(NLM_F_CREATE, NfTablesMessage::NewChain(chain()));
    for set in Set::ALL {
        first.push(NLM_F_CREATE, NfTablesMessage::NewSet(new_set(set)));
    }
    for version in [Version::V4, Version::V6] {
        first.push(NLM_F_CREATE | NLM_F_APPEND, NfTablesMessage::NewRule(rule(version)));
    }
    add(&mut first, parts.next().unwrap_or_default());
    let mut batches = vec![first.end()];
    for part in parts {
        let mut batch = Batch::begin(sequence);
        add(&mut batch, part);
        batches.push(batch.end());
    }
    batches
}

/// No table, whether there was one or not.
pub fn remove(sequence: u32) -> Vec<u8> {
    let mut batch = Batch::begin(sequence);
    batch.delete_table(TABLE);
    batch.end()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Virtual,
    Real,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V4,
    V6,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set {
    role: Role,
    version: Version,
}

impl Set {
    const ALL: [Self; 4] = [
        Self { role: Role::Virtual, version: Version::V4 },
        Self { role: Role::Virtual, version: Version::V6 },
        Self { role: Role::Real, version: Version::V4 },
        Self { role: Role::Real, version: Version::V6 },
    ];

    fn of(role: Role, address: IpAddr) -> Self {
        Self { role, version: if address.is_ipv4() { Version::V4 } else { Version::V6 } }
    }

    fn name(self) -> String {
        match (self.role, self.version) {
            (Role::Virtual, Version::V4) => "vips4",
            (Role::Virtual, Version::V6) => "vips6",
            (Role::Real, Version::V4) => "reals4",
            (Role::Real, Version::V6) => "reals6",
        }
        .to_owned()
    }
}

fn chain() -> ChainMessage {
    let hook = vec![Hook::Number(InetHookNumber::PostRouting.into()), Hook::Priority(PRIORITY)];
    let attributes = vec![
        ChainAttribute::Table(TABLE.to_owned()),
        ChainAttribute::Name(CHAIN.to_owned()),
        ChainAttribute::Hook(hook),
        ChainAttribute::Policy(POLICY_ACCEPT),
        ChainAttribute::Type("nat".to_owned()),
    ];
    ChainMessage { attributes }
}

fn new_set(set: Set) -> SetMessage {
    // Type numbers by which `nft` knows how to show the elements; the kernel looks at the length.
    let (key_type, length) = match set.version {
        Version::V4 => (7, 4),
        Version::V6 => (8, 16),
    };
    let id = Set::ALL.iter().position(|other| *other == set).and_then(|at| u32::try_from(at + 1).ok()).unwrap_or(0);
    let attributes = vec![
        SetAttribute::Table(TABLE.to_owned()),
        SetAttribute::Name(set.name()),
        SetAttribute::KeyType(key_type),
        SetAttribute::KeyLen(length),
        SetAttribute::Id(id),
    ];
    SetMessage { attributes }
}

fn rule(version: Version) -> RuleMessage {
    // Number of the family, where the destination stands in the header, its length, `ct original daddr`.
    let (family, offset, length, key) = match version {
        Version::V4 => (2, 16, 4, 20),
        Version::V6 => (10, 24, 16, 22_u32),
    };
    let set = |role| Set { role, version };
    let attribute = |kind, value: &[u8]| DefaultNla::new(kind, value.to_vec());
    let original = Expressions::Other {
        expression_type: "ct".to_owned(),
        attributes: vec![
            attribute(CT_KEY, &key.to_be_bytes()),
            attribute(CT_DREG, &REGISTER_1.to_be_bytes()),
            attribute(CT_DIRECTION, &[CT_ORIGINAL]),
        ],
    };
    let expressions = [
        meta(MetaKey::Nfproto, Register::Reg1),
        compare(Operator::Equal, family),
        original,
        look_up(set(Role::Virtual)),
        payload(NETWORK_HEADER, offset, length),
        look_up(set(Role::Real)),
        Expressions::Other { expression_type: "masq".to_owned(), attributes: Vec::new() },
    ];
    let expressions: Vec<ListAttribute<ExpressionAttribute>> = expressions.into_iter().map(Into::into).collect();
    let attributes = vec![
        RuleAttribute::Table(TABLE.to_owned()),
        RuleAttribute::Chain(CHAIN.to_owned()),
        RuleAttribute::Expressions(expressions),
    ];
    RuleMessage { attributes }
}

fn look_up(set: Set) -> Expressions {
    Expressions::Lookup(vec![Lookup::Set(set.name()), Lookup::SourceRegister(Register::Reg1)])
}

fn add(batch: &mut Batch, elements: &[(Set, IpAddr)]) {
    for set in Set::ALL {
        let of_set = elements.iter().filter(|(of, _)| *of == set);
        let list: Vec<_> = of_set
            .map(|(_, address)| {
                let key = match address {
                    IpAddr::V4(address) => address.octets().to_vec(),
                    IpAddr::V6(address) => address.octets().to_vec(),
                };
                ListAttribute::Element(vec![SetElementAttribute::Key(DataAttribute::Value(key))])
            })
            .collect();
        if !list.is_empty() {
            let attributes = vec![
                SetElementList::Table(TABLE.to_owned()),
                SetElementList::Set(set.name()),
                SetElementList::Elements(list),
            ];
            batch.push(NLM_F_CREATE, NfTablesMessage::NewSetElement(SetElementMessage { attributes }));
        }
    }
}

#[cfg(test)]
mod tests;
