//! The table of links and addresses that the kernel has, built from what it tells.
//!
//! Pure. The order of a link's addresses is the kernel's own: the first IPv4 address that is not secondary is the
//! primary, from which adverts are sent, and notifications do not tell the order.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use crate::vrrp::types::{IfIndex, Link, LinkAddress};

use super::rtnl::{AddressFacts, LinkFacts, Notice, OptionFacts};

/// Links on top of each other that are looked through.
const MOST_LAYERS: usize = 8;

/// A change for the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkChange {
    /// A link is there, or looks different than last reported.
    Present(Link),
    /// A link that was reported is gone.
    Gone(IfIndex),
    /// A port of this bridge, or of the one below this link, began to forward: behind it are hosts that have heard nothing so
    /// far.
    PortForwards(IfIndex),
}

/// All links.
#[derive(Debug, Default)]
pub struct LinkTable {
    current: Tables,
    /// What a dump has shown so far. It replaces `current` when it is complete: what it did not show is gone.
    fresh: Option<Tables>,
    reported: BTreeMap<IfIndex, Link>,
    touched: BTreeSet<IfIndex>,
    /// Ports of bridges of which anything was heard, and whether they forward.
    ports: BTreeMap<IfIndex, bool>,
    /// Bridges with a port that began to.
    opened: BTreeSet<IfIndex>,
}

#[derive(Debug, Default)]
struct Tables {
    links: BTreeMap<IfIndex, LinkFacts>,
    addresses: BTreeMap<IfIndex, Vec<AddressFacts>>,
}

impl LinkTable {
    /// A dump of everything begins.
    pub fn begin_dump(&mut self) {
        self.fresh = Some(Tables::default());
    }

    /// The dump has shown everything.
    pub fn end_dump(&mut self) {
        let Some(fresh) = self.fresh.take() else { return };
        self.touched.extend(self.current.links.keys().chain(fresh.links.keys()));
        self.current = fresh;
    }

    /// Takes in what the kernel said.
    pub fn apply(&mut self, notice: Notice) {
        let dumping = self.fresh.is_some();
        let tables = self.fresh.as_mut().unwrap_or(&mut self.current);
        match notice {
            Notice::Link(facts) => {
                self.touched.insert(facts.index);
                tables.links.insert(facts.index, facts);
            }
            Notice::LinkGone(index) => {
                self.touched.insert(index);
                tables.links.remove(&index);
                tables.addresses.remove(&index);
                self.ports.remove(&index);
            }
            Notice::BridgePort { port, bridge, forwards } => {
                if self.ports.insert(port, forwards) != Some(forwards) && forwards {
                    self.opened.insert(bridge);
                }
            }
            Notice::BridgePortGone(port) => drop(self.ports.remove(&port)),
            Notice::Address(index, mut facts) => {
                self.touched.insert(index);
                // A thousand addresses need not have their link's name each, which follows it when it is renamed.
                if let Some(link) = tables.links.get(&index)
                    && facts.options.label.as_ref() == Some(&link.name)
                {
                    facts.options = OptionFacts { label: None, ..(*facts.options).clone() }.into();
                }
                let addresses = tables.addresses.entry(index).or_default();
                if dumping { append(addresses, facts) } else { place(addresses, facts) }
            }
            Notice::AddressGone(index, facts) => {
                self.touched.insert(index);
                if let Some(addresses) = tables.addresses.get_mut(&index) {
                    addresses.retain(|a| !same(a, &facts));
                }
            }
            Notice::Done | Notice::Answer { .. } => {}
        }
    }

    /// What has to be reported now. Each link at most once, and only if it differs from the last report. Nothing
    /// is reported while a dump goes on: half a link would look like one that lost its addresses.
    pub fn poll_changes(&mut self) -> Vec<LinkChange> {
        let mut changes = Vec::new();
        if self.fresh.is_some() {
            return changes;
        }
        for index in std::mem::take(&mut self.touched) {
            match self.link(index) {
                Some(link) => {
                    if self.reported.get(&index) != Some(&link) {
                        self.reported.insert(index, link.clone());
                        changes.push(LinkChange::Present(link));
                    }
                }
                None => changes.extend(self.reported.remove(&index).map(|_| LinkChange::Gone(index))),
            }
        }
        // Each turn of the loop asks, and there may be a thousand links.
        if self.opened.is_empty() {
            return changes;
        }
        let opened = std::mem::take(&mut self.opened);
        let concerned = self.reported.keys().filter(|link| self.frames_through(**link).any(|on| opened.contains(&on)));
        changes.extend(concerned.copied().map(LinkChange::PortForwards));
        changes
    }

    /// A link, and those below it that carry its frames: of a VLAN on a bridge, the bridge.
    fn frames_through(&self, link: IfIndex) -> impl Iterator<Item = IfIndex> {
        let below = |link: &IfIndex| self.facts(*link)?.lower;
        // The ends of a veth pair are each on top of the other.
        std::iter::successors(Some(link), below).take(MOST_LAYERS)
    }

    /// One link with its addresses.
    pub fn link(&self, index: IfIndex) -> Option<Link> {
        let facts = self.current.links.get(&index)?;
        let has = |flag: libc::c_int| facts.flags & flag.cast_unsigned() != 0;
        Some(Link {
            index,
            name: facts.name.clone(),
            up: has(libc::IFF_UP),
            // The kernel sets IFF_RUNNING exactly when the operational state is up or unknown (RFC 2863).
            running: has(libc::IFF_RUNNING),
            loopback: has(libc::IFF_LOOPBACK),
            no_arp: has(libc::IFF_NOARP),
            mtu: facts.mtu,
            hardware: facts.hardware.clone(),
            addresses: self.addresses(index).map(link_address).collect(),
        })
    }

    /// The facts of one link.
    pub fn facts(&self, index: IfIndex) -> Option<&LinkFacts> {
        self.current.links.get(&index)
    }

    /// A link's name, or its number where it is not known.
    pub fn name(&self, index: IfIndex) -> String {
        self.facts(index).map_or_else(|| format!("interface {}", index.0), |l| l.name.clone())
    }

    /// The link of this name.
    pub fn by_name(&self, name: &str) -> Option<IfIndex> {
        self.current.links.values().find(|l| l.name == name).map(|l| l.index)
    }

    /// The addresses of one link in the kernel's order.
    pub fn addresses(&self, index: IfIndex) -> impl Iterator<Item = &AddressFacts> {
        self.current.addresses.get(&index).into_iter().flatten()
    }

    /// The addresses of all links.
    pub fn all_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.current.addresses.values().flatten().map(|facts| facts.address)
    }
}

fn link_address(facts: &AddressFacts) -> LinkAddress {
    LinkAddress {
        address: facts.address,
        prefix_len: facts.prefix_len,
        // A duplicate (DADFAILED) keeps the tentative flag in the kernel too, but old kernels cleared it.
        tentative: facts.flags & (libc::IFA_F_TENTATIVE | libc::IFA_F_DADFAILED) != 0,
        // For IPv6 the same bit means a temporary privacy address, as little a source for adverts.
        secondary: facts.flags & libc::IFA_F_SECONDARY != 0,
    }
}

/// Whether both are one address to the kernel: it allows the same IPv4 address with several prefixes.
fn same(a: &AddressFacts, b: &AddressFacts) -> bool {
    a.address == b.address && a.prefix_len == b.prefix_len && a.options.peer == b.options.peer
}

fn is_secondary(facts: &AddressFacts) -> bool {
    facts.flags & libc::IFA_F_SECONDARY != 0
}

fn first_v6(addresses: &[AddressFacts]) -> usize {
    addresses.iter().position(|a| a.address.is_ipv6()).unwrap_or(addresses.len())
}

/// In the order of a dump, which is the kernel's.
fn append(addresses: &mut Vec<AddressFacts>, facts: AddressFacts) {
    addresses.retain(|a| !same(a, &facts));
    let at = if facts.address.is_ipv4() { first_v6(addresses) } else { addresses.len() };
    addresses.insert(at, facts);
}

/// Puts an address where the kernel puts it: an IPv4 primary behind the primaries of wider or equal scope, a secondary
/// last; IPv6 before those of equal or narrower scope.
fn place(addresses: &mut Vec<AddressFacts>, facts: AddressFacts) {
    if let Some(old) = addresses.iter_mut().find(|a| same(a, &facts)) {
        if facts.address.is_ipv6() || is_secondary(old) == is_secondary(&facts) {
            *old = facts;
            return;
        }
        // A secondary that is promoted moves.
        addresses.retain(|a| !same(a, &facts));
    }
    let first_v6 = first_v6(addresses);
    let at = match facts.address {
        IpAddr::V4(_) if is_secondary(&facts) => first_v6,
        IpAddr::V4(_) => {
            let wider = |a: &AddressFacts| a.address.is_ipv4() && !is_secondary(a) && facts.scope <= a.scope;
            addresses.iter().rposition(wider).map_or(0, |last| last + 1)
        }
        IpAddr::V6(address) => {
            let narrower = |a: &AddressFacts| match a.address {
                IpAddr::V6(other) => scope_v6(address) >= scope_v6(other),
                IpAddr::V4(_) => false,
            };
            addresses.iter().position(narrower).unwrap_or(addresses.len())
        }
    };
    addresses.insert(at, facts);
}

/// RFC 4007 scope of a unicast address, as the kernel sorts by it.
fn scope_v6(address: Ipv6Addr) -> u8 {
    match address {
        _ if address.is_loopback() => 1,
        _ if address.is_unicast_link_local() => 2,
        _ if address.segments()[0] & 0xffc0 == 0xfec0 => 5,
        _ => 14,
    }
}

#[cfg(test)]
#[path = "links/tests.rs"]
mod tests;
