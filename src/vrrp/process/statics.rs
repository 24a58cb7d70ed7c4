//! `static_ipaddress`: installed at start and whenever their link appears, removed at stop, whoever is master.
//!
//! Pure: says what should be; the address writer does it.

use std::collections::BTreeSet;

use crate::net::links::LinkTable;
use crate::net::write_queue::Change;
use crate::vrrp::config::AddressConfig;
use crate::vrrp::engine::BoundAddress;
use crate::vrrp::types::IfIndex;

/// The static addresses and the links that have them.
#[derive(Debug)]
pub(super) struct StaticAddresses {
    addresses: Vec<AddressConfig>,
    links: Option<BTreeSet<IfIndex>>,
    generation: u64,
}

impl StaticAddresses {
    pub(super) fn new(addresses: Vec<AddressConfig>) -> Self {
        Self { addresses, links: None, generation: 0 }
    }

    /// What to write now that links changed; `None` when they are the same links as before.
    pub(super) fn links_changed(&mut self, links: &LinkTable) -> Option<Change> {
        let present = bind(&self.addresses, links);
        let now: BTreeSet<IfIndex> = present.iter().map(|b| b.interface).collect();
        if self.links.as_ref() == Some(&now) {
            return None;
        }
        self.links = Some(now);
        Some(self.change(present, Vec::new()))
    }

    /// What to write after a reload.
    pub(super) fn replace(&mut self, addresses: Vec<AddressConfig>, links: &LinkTable) -> Change {
        let old = std::mem::replace(&mut self.addresses, addresses);
        let present = bind(&self.addresses, links);
        let absent = bind(&old, links).into_iter().filter(|b| !present.contains(b)).collect();
        self.links = Some(present.iter().map(|b| b.interface).collect());
        self.change(present, absent)
    }

    /// What to write at the end.
    pub(super) fn remove(&mut self, links: &LinkTable) -> Change {
        let absent = bind(&self.addresses, links);
        self.change(Vec::new(), absent)
    }

    fn change(&mut self, present: Vec<BoundAddress>, absent: Vec<BoundAddress>) -> Change {
        self.generation += 1;
        Change { generation: self.generation, present, absent }
    }
}

fn bind(addresses: &[AddressConfig], links: &LinkTable) -> Vec<BoundAddress> {
    let bound = addresses.iter().filter_map(|config| {
        let interface = links.by_name(config.options.device.as_deref()?)?;
        Some(BoundAddress { interface, config: config.clone(), accept: true, own: true })
    });
    bound.collect()
}
