//! The links of this host, and what they mean for an instance.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::config::{AddressConfig, InstanceConfig, TrackerKey};
use super::engine::{BoundAddress, SocketKey};
use super::event::{FaultReason, TrackerStatus};
use super::instance::Binding;
use super::types::{Family, IfIndex, Link, Priority};

/// MTU taken for an instance that is not bound to a link: Ethernet's.
const DEFAULT_MTU: u32 = 1500;

/// All links that exist.
#[derive(Debug, Clone, Default)]
pub struct Links {
    by_index: BTreeMap<IfIndex, Link>,
    by_name: BTreeMap<String, IfIndex>,
}

impl Links {
    /// Notes a link's present state. Returns its former one.
    pub fn set(&mut self, link: Link) -> Option<Link> {
        if let Some(old) = self.by_index.get(&link.index).filter(|old| old.name != link.name)
            && self.by_name.get(&old.name) == Some(&link.index)
        {
            self.by_name.remove(&old.name);
        }
        self.by_name.insert(link.name.clone(), link.index);
        self.by_index.insert(link.index, link)
    }

    /// Forgets a link that is gone.
    pub fn remove(&mut self, index: IfIndex) -> Option<Link> {
        let link = self.by_index.remove(&index)?;
        // A link of the same name may have come before this one's end was reported.
        if self.by_name.get(&link.name) == Some(&index) {
            self.by_name.remove(&link.name);
        }
        Some(link)
    }

    /// Whether an address is on a link.
    pub fn has_address(&self, index: IfIndex, address: IpAddr) -> bool {
        self.by_index.get(&index).is_some_and(|link| link.addresses.iter().any(|a| a.address == address))
    }

    /// All links.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.by_index.values()
    }

    /// A link by name.
    pub fn named(&self, name: &str) -> Option<&Link> {
        self.by_name.get(name).and_then(|index| self.by_index.get(index))
    }

    /// The status of an interface as a tracker.
    pub fn tracker_status(&self, key: &TrackerKey) -> Option<TrackerStatus> {
        match key {
            TrackerKey::Interface(name) if self.named(name).is_some_and(Link::is_usable) => Some(TrackerStatus::Up),
            TrackerKey::Interface(_) => Some(TrackerStatus::Down),
            TrackerKey::Script(_) | TrackerKey::File(_) | TrackerKey::Process(_) | TrackerKey::VirtualServer(_) => None,
        }
    }

    /// What the links mean for an instance. `virtual_addresses` are those of all instances: they come and go, so none
    /// of them is a source of adverts.
    pub fn bind(&self, config: &InstanceConfig, virtual_addresses: &BTreeSet<IpAddr>) -> Binding {
        let own = config.interface.as_deref();
        // Collected it would have room for four, and a thousand instances have one address each.
        let mut addresses = Vec::with_capacity(config.all_addresses().count());
        addresses.extend(config.all_addresses().filter_map(|address| self.bind_address(address, config)));
        let family = config.family;
        let Some(name) = own else {
            let socket = Some(SocketKey { interface: None, family });
            let faults = self.source_fault(config).into_iter().collect();
            return Binding { socket, source: config.source, mtu: DEFAULT_MTU, addresses, faults };
        };
        let Some(link) = self.named(name) else {
            let faults = BTreeSet::from([FaultReason::InterfaceMissing(name.to_owned())]);
            return Binding { addresses, faults, ..Binding::default() };
        };
        let source = config.source.or_else(|| primary_address(link, config, virtual_addresses));
        let mut faults = BTreeSet::new();
        if link.loopback {
            faults.insert(FaultReason::Unusable(format!("{name} is a loopback interface, which carries no VRRP")));
        } else if config.track_primary && !link.is_usable() {
            faults.insert(FaultReason::InterfaceDown(name.to_owned()));
        } else if source.is_none() {
            faults.insert(FaultReason::NoSourceAddress(name.to_owned()));
        }
        faults.extend(self.source_fault(config));
        let socket = Some(SocketKey { interface: Some(link.index), family });
        Binding { socket, source, mtu: link.mtu, addresses, faults }
    }

    fn bind_address(&self, address: &AddressConfig, instance: &InstanceConfig) -> Option<BoundAddress> {
        let link = self.named(address.options.device.as_deref().or(instance.interface.as_deref())?)?;
        let own = instance.priority.is_owner();
        let accept = instance.accept || own;
        Some(BoundAddress { interface: link.index, config: address.clone(), accept, own })
    }

    fn source_fault(&self, config: &InstanceConfig) -> Option<FaultReason> {
        let source = config.source.filter(|_| config.track_source)?;
        let here = self.by_index.values().flat_map(|link| &link.addresses).any(|a| a.address == source);
        (!here).then_some(FaultReason::SourceMissing(source))
    }
}

/// The address that adverts come from: the primary IPv4 address, the link-local IPv6 address (RFC 9568 §5.1.1.1,
/// §5.1.2.1).
fn primary_address(link: &Link, config: &InstanceConfig, virtual_addresses: &BTreeSet<IpAddr>) -> Option<IpAddr> {
    let candidates = || link.addresses.iter().filter(|address| suits(config.family, address.address));
    let stable = candidates().find(|a| !a.tentative && !a.secondary && !virtual_addresses.contains(&a.address));
    // An owner's virtual address is the interface's own: there may be no other.
    let own = || candidates().find(|a| !a.tentative && config.priority == Priority::OWNER);
    stable.or_else(own).map(|address| address.address)
}

fn suits(family: Family, address: IpAddr) -> bool {
    match (family, address) {
        (Family::V4, IpAddr::V4(_)) => true,
        (Family::V6, IpAddr::V6(address)) => address.is_unicast_link_local(),
        (Family::V4, IpAddr::V6(_)) | (Family::V6, IpAddr::V4(_)) => false,
    }
}
