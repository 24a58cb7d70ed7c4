//! Addresses that reloads took away, until the vrrp process says that they are gone.
//!
//! Pure. A process that is killed in between leaves them in the kernel, and the next one knows only the configuration in
//! which they are not: main remembers them and hands them over ([`super::message::ToVrrp::Start`]).

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::config::{AddressConfig, VrrpConfig};
use super::engine::BoundAddress;
use super::types::IfIndex;

/// An address that a former configuration had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerAddress {
    /// The link that carried it.
    pub interface: String,
    /// The address.
    pub address: AddressConfig,
    /// The host may have it by itself ([`BoundAddress::own`]).
    pub own: bool,
}

impl FormerAddress {
    /// As something to remove; `None`: its link is not there, and it is not either.
    pub fn bind(&self, index: impl Fn(&str) -> Option<IfIndex>) -> Option<BoundAddress> {
        let interface = index(&self.interface)?;
        Some(BoundAddress { interface, config: self.address.clone(), accept: true, own: self.own })
    }
}

/// Main's book of them.
#[derive(Debug, Clone, Default)]
pub struct FormerAddresses {
    addresses: BTreeMap<(String, IpAddr), FormerAddress>,
    /// Orders that the process has not said it has carried out.
    unsettled: u32,
}

impl FormerAddresses {
    /// A process was started: it is told of all of them.
    pub fn on_start(&mut self) -> Vec<FormerAddress> {
        self.unsettled = 1;
        self.all()
    }

    /// A reload, whether or not there is a process to tell.
    pub fn on_reload(&mut self, old: &VrrpConfig, new: &VrrpConfig) {
        self.unsettled += 1;
        self.addresses.extend(addresses(old));
        for (key, _) in addresses(new) {
            self.addresses.remove(&key);
        }
    }

    /// The process has carried out so many orders.
    pub fn on_settled(&mut self, orders: u32) {
        self.unsettled = self.unsettled.saturating_sub(orders);
        if self.unsettled == 0 {
            self.forget();
        }
    }

    /// They are gone, or nobody's business any more.
    pub fn forget(&mut self) {
        self.addresses.clear();
    }

    /// All that may still be there.
    pub fn all(&self) -> Vec<FormerAddress> {
        self.addresses.values().cloned().collect()
    }
}

fn addresses(config: &VrrpConfig) -> impl Iterator<Item = ((String, IpAddr), FormerAddress)> + '_ {
    let of_instances = config.instances.values().flat_map(|instance| {
        let own = instance.priority.is_owner();
        instance.all_addresses().map(move |address| (address, instance.interface.as_deref(), own))
    });
    let statics = config.static_addresses.iter().map(|address| (address, None, true));
    of_instances.chain(statics).filter_map(|(address, default, own)| {
        let interface = address.options.device.as_deref().or(default)?.to_owned();
        let former = FormerAddress { interface: interface.clone(), address: address.clone(), own };
        Some(((interface, address.address), former))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::config::InstanceConfig;
    use crate::vrrp::types::Vrid;

    fn config(addresses: &[u8]) -> VrrpConfig {
        let mut instance = InstanceConfig::new("eth0", Vrid::new(1).expect("not zero"));
        let address = |last: &u8| AddressConfig::new(IpAddr::from([192, 0, 2, *last]));
        instance.addresses = addresses.iter().map(address).collect();
        VrrpConfig { instances: [("VI_1".to_owned(), instance)].into(), ..VrrpConfig::default() }
    }

    fn last(former: &[FormerAddress]) -> Vec<String> {
        former.iter().map(|f| format!("{} {}", f.address.address, f.interface)).collect()
    }

    #[test]
    fn what_is_gone_is_remembered_until_the_process_has_carried_it_out() {
        let mut book = FormerAddresses::default();
        assert_eq!(last(&book.on_start()), [""; 0]);
        book.on_settled(1);
        book.on_reload(&config(&[1, 2]), &config(&[2, 3]));
        book.on_reload(&config(&[2, 3]), &config(&[3]));
        book.on_settled(1);
        assert_eq!(last(&book.all()), ["192.0.2.1 eth0", "192.0.2.2 eth0"], "one reload is still under way");
        book.on_settled(1);
        assert_eq!(last(&book.all()), [""; 0]);
    }

    #[test]
    fn what_is_configured_again_is_not_removed() {
        let mut book = FormerAddresses::default();
        book.on_start();
        book.on_reload(&config(&[1, 2]), &config(&[]));
        book.on_reload(&config(&[]), &config(&[2]));
        assert_eq!(last(&book.all()), ["192.0.2.1 eth0"]);
    }

    #[test]
    fn a_process_that_dies_before_it_has_removed_them_leaves_them_to_the_next() {
        let mut book = FormerAddresses::default();
        book.on_start();
        book.on_settled(1);
        book.on_reload(&config(&[1]), &config(&[]));
        assert_eq!(last(&book.on_start()), ["192.0.2.1 eth0"]);
        assert_eq!(last(&book.on_start()), ["192.0.2.1 eth0"], "and if that one dies, too");
        book.on_settled(1);
        assert_eq!(last(&book.on_start()), [""; 0]);
    }

    #[test]
    fn another_link_is_another_place_and_static_addresses_count() {
        let mut moved = config(&[1]);
        moved.instances.get_mut("VI_1").expect("there").interface = Some("eth1".to_owned());
        let mut old = config(&[1]);
        let mut fixed = AddressConfig::new(IpAddr::from([198, 51, 100, 1]));
        fixed.options.device = Some("eth2".to_owned());
        old.static_addresses = vec![fixed];
        let mut book = FormerAddresses::default();
        book.on_reload(&old, &moved);
        assert_eq!(last(&book.all()), ["192.0.2.1 eth0", "198.51.100.1 eth2"]);
        let former = book.all();
        let index = |name: &str| (name == "eth0").then_some(IfIndex(7));
        let bound: Vec<_> = former.iter().filter_map(|f| f.bind(index)).map(|b| (b.interface, b.own)).collect();
        assert_eq!(bound, [(IfIndex(7), false)], "eth2 is not there");
    }
}
