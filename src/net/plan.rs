//! From "these addresses shall be, those shall not" and what stands on the links to the requests that lead there.
//!
//! Pure. Whose address is it? Ours carry the kernel's VRRP mark ([`PROTOCOL_VRRP`]). An address with the mark may be
//! replaced or swept whatever its prefix length; one without it may be the host's own (an address owner has its
//! virtual address twice: `192.0.2.1/24` by itself and `192.0.2.1/32` from us), so only the exact one is ever removed.
//! Of an address owner not even that, unless we put it there: `192.0.2.1/24` may be both. Anybody else's exact one goes:
//! a director that keeps a virtual address as backup, whoever put it there, makes two of it on the LAN.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::vrrp::config::{AddressConfig, AddressOptions};
use crate::vrrp::engine::BoundAddress;
use crate::vrrp::rare::Usual;
use crate::vrrp::types::IfIndex;

use super::links::LinkTable;
use super::rtnl::{self, AddressFacts, CONFIGURED_FLAGS, PROTOCOL_VRRP};

/// One request to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Add an address.
    Add(BoundAddress),
    /// Remove an address.
    Remove {
        /// From this link.
        interface: IfIndex,
        /// The address.
        address: IpAddr,
        /// Its prefix length.
        prefix_len: u8,
        /// Its peer.
        peer: Option<IpAddr>,
    },
}

impl Step {
    /// The request's bytes.
    pub fn encode(&self, sequence: u32) -> Vec<u8> {
        match self {
            Self::Add(bound) => rtnl::add_address(sequence, bound.interface, &bound.config),
            Self::Remove { interface, address, prefix_len, peer } => {
                rtnl::remove_address(sequence, *interface, *address, *prefix_len, *peer)
            }
        }
    }

    /// Whether this answer means that things are now as wanted.
    pub fn is_satisfied_by(&self, errno: i32) -> bool {
        match self {
            Self::Add(_) => matches!(errno, 0 | libc::EEXIST),
            Self::Remove { .. } => {
                matches!(errno, 0 | libc::EADDRNOTAVAIL | libc::ENOENT | libc::ENODEV | libc::EAFNOSUPPORT)
            }
        }
    }

    /// The link and address that it concerns.
    pub fn subject(&self) -> (IfIndex, IpAddr) {
        match self {
            Self::Add(bound) => (bound.interface, bound.config.address),
            Self::Remove { interface, address, .. } => (*interface, *address),
        }
    }

    /// In words, for the report of a failure.
    pub fn describe(&self, links: &LinkTable) -> String {
        match self {
            Self::Add(BoundAddress { interface, config, .. }) => {
                format!("cannot add {}/{} to {}", config.address, config.prefix_len, links.name(*interface))
            }
            Self::Remove { interface, address, prefix_len, .. } => {
                format!("cannot remove {address}/{prefix_len} from {}", links.name(*interface))
            }
        }
    }
}

/// What we have added and not removed: the kernel tells of a new IPv6 address only some time after it was added.
#[derive(Debug, Default)]
pub struct Installed {
    addresses: BTreeSet<Placed>,
}

/// An address where we have put it. Two that are one entry to the kernel are one here.
#[derive(Debug)]
struct Placed(BoundAddress);

impl Placed {
    /// One that is equal to any other of this key.
    fn at(interface: IfIndex, address: IpAddr, prefix_len: u8, peer: Option<IpAddr>) -> Self {
        let options = AddressOptions { peer, ..AddressOptions::USUAL.clone() }.into();
        let config = AddressConfig { prefix_len, options, ..AddressConfig::new(address) };
        Self(BoundAddress { interface, config, accept: false, own: false })
    }

    fn key(&self) -> (IfIndex, IpAddr, u8, Option<IpAddr>) {
        let Self(BoundAddress { interface, config, .. }) = self;
        (*interface, config.address, config.prefix_len, config.options.peer)
    }
}

impl Ord for Placed {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Placed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Placed {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Placed {}

impl Installed {
    /// The kernel carried this step out.
    pub fn done(&mut self, step: &Step) {
        match step {
            Step::Add(bound) => drop(self.addresses.replace(Placed(bound.clone()))),
            Step::Remove { interface, address, prefix_len, peer } => {
                self.addresses.remove(&Placed::at(*interface, *address, *prefix_len, *peer));
            }
        }
    }

    /// What we have put there for the same link and address.
    fn like(&self, bound: &BoundAddress) -> impl Iterator<Item = &BoundAddress> {
        let (interface, address) = (bound.interface, bound.config.address);
        let from = self.addresses.range(Placed::at(interface, address, 0, None)..).map(|Placed(ours)| ours);
        from.take_while(move |ours| (ours.interface, ours.config.address) == (interface, address))
    }
}

/// The steps, removals first: an IPv6 address that changes its prefix cannot stand twice.
pub fn plan(links: &LinkTable, installed: &Installed, present: &[BoundAddress], absent: &[BoundAddress]) -> Vec<Step> {
    let mut steps = Vec::new();
    for unwanted in absent {
        // What is wanted as well stays: the other part of the request wins.
        if present.iter().any(|p| p.interface == unwanted.interface && same_entry(p, unwanted)) {
            continue;
        }
        for facts in links.addresses(unwanted.interface) {
            let wanted = present.iter().any(|p| p.interface == unwanted.interface && is_entry(p, facts));
            if is_ours(facts) && facts.address == unwanted.config.address && !is_entry(unwanted, facts) && !wanted {
                steps.push(remove(unwanted.interface, facts));
            }
        }
        for ours in installed.like(unwanted) {
            let wanted = present.iter().any(|p| p.interface == ours.interface && same_entry(p, ours));
            if !wanted && !same_entry(ours, unwanted) {
                steps.push(unbind(ours));
            }
        }
        // Asked for even when the table does not show it: the table may be a moment old.
        if !unwanted.own || is_known_as_ours(links, installed, unwanted) {
            steps.push(unbind(unwanted));
        }
    }
    for wanted in present {
        for facts in links.addresses(wanted.interface) {
            if is_ours(facts) && facts.address == wanted.config.address && !is_as_configured(wanted, facts, links) {
                steps.push(remove(wanted.interface, facts));
            }
        }
    }
    for wanted in present {
        steps.extend(installed.like(wanted).filter(|ours| ours.config != wanted.config).map(unbind));
    }
    steps.extend(present.iter().cloned().map(Step::Add));
    steps
}

fn unbind(bound: &BoundAddress) -> Step {
    Step::Remove {
        interface: bound.interface,
        address: bound.config.address,
        prefix_len: bound.config.prefix_len,
        peer: bound.config.options.peer,
    }
}

fn remove(interface: IfIndex, facts: &AddressFacts) -> Step {
    Step::Remove { interface, address: facts.address, prefix_len: facts.prefix_len, peer: facts.options.peer }
}

fn is_ours(facts: &AddressFacts) -> bool {
    facts.protocol == PROTOCOL_VRRP
}

/// Kernels before 5.18 forget the mark: there, what a killed predecessor put on an owner's link stays.
fn is_known_as_ours(links: &LinkTable, installed: &Installed, bound: &BoundAddress) -> bool {
    let mut standing = links.addresses(bound.interface);
    standing.any(|facts| is_entry(bound, facts) && is_ours(facts))
        || installed.like(bound).any(|i| same_entry(i, bound))
}

fn same_entry(a: &BoundAddress, b: &BoundAddress) -> bool {
    (a.config.address, a.config.prefix_len, a.config.options.peer)
        == (b.config.address, b.config.prefix_len, b.config.options.peer)
}

/// Whether the kernel's entry is this one (its key, not its options).
fn is_entry(bound: &BoundAddress, facts: &AddressFacts) -> bool {
    (bound.config.address, bound.config.prefix_len, bound.config.options.peer)
        == (facts.address, facts.prefix_len, facts.options.peer)
}

fn is_as_configured(bound: &BoundAddress, facts: &AddressFacts, links: &LinkTable) -> bool {
    let config = &bound.config;
    let deprecated = facts.flags & libc::IFA_F_DEPRECATED != 0;
    let common = is_entry(bound, facts)
        && facts.flags & CONFIGURED_FLAGS == rtnl::address_flags(config) & CONFIGURED_FLAGS
        && deprecated == (config.preferred_lifetime == Some(0));
    if config.address.is_ipv6() {
        return common;
    }
    let name = links.facts(bound.interface).map(|l| l.name.as_str());
    let own = |label: &Option<String>| label.clone().filter(|label| Some(label.as_str()) != name);
    common
        && facts.scope == config.scope
        && facts.options.broadcast == config.options.broadcast
        && own(&facts.options.label) == own(&config.options.label)
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;
