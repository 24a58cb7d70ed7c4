//! What should be in a data plane, or what is: services and their destinations, a plain value.
//!
//! Pure. The balancer makes a desired table, a data plane dumps the one that it has, and the difference is a plan.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::{Persistence, ProxyConfig, SchedulerFlags};
use super::shared::Shared;
use super::small_map::SmallMap;
use super::types::{ForwardMethod, Scheduler, ServiceKey, SocketKey};

/// All services by key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceTable {
    /// The services.
    pub services: BTreeMap<ServiceKey, Service>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Service {
    /// How it behaves.
    pub settings: ServiceSettings,
    /// Where its traffic goes, by address and port.
    pub destinations: Shared<SmallMap<SocketKey, Destination>>,
}

impl Service {
    /// As the data plane has it for this key: where packets keep their port, the destination's is the service's.
    #[must_use]
    pub fn on(&self, key: &ServiceKey) -> Self {
        let port =
            |address: SocketKey, to: &Destination| if to.method.keeps_port() { key.port() } else { address.port };
        if self.destinations.iter().all(|(address, to)| port(*address, to) == address.port) {
            return self.clone();
        }
        let destinations = self.destinations.iter();
        let destinations = destinations.map(|(address, to)| (SocketKey::new(address.ip, port(*address, to)), *to));
        Self { settings: self.settings.clone(), destinations: destinations.collect() }
    }
}

/// A service without its destinations: what an edit changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ServiceSettings {
    /// Scheduler.
    pub scheduler: Scheduler,
    /// Its flags.
    pub flags: SchedulerFlags,
    /// Client affinity.
    pub persistence: Option<Persistence>,
    /// What only the userspace forwarder uses; a kernel dump has the default here, and a plan for the kernel ignores it.
    pub proxy: ProxyConfig,
}

/// One destination of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Destination {
    /// How it is reached.
    pub method: ForwardMethod,
    /// Its weight; 0 takes no new connections.
    pub weight: u32,
    /// No new connections from this many on; 0 is no limit.
    pub upper_threshold: u32,
    /// New ones again below this many.
    pub lower_threshold: u32,
}

/// One step from one table to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// A new service, without destinations.
    AddService(ServiceKey, ServiceSettings),
    /// Other settings; connections go on.
    EditService(ServiceKey, ServiceSettings),
    /// Away with it and its destinations.
    RemoveService(ServiceKey),
    /// A new destination.
    AddDestination(ServiceKey, SocketKey, Destination),
    /// Another weight, method or threshold.
    EditDestination(ServiceKey, SocketKey, Destination),
    /// Away with it.
    RemoveDestination(ServiceKey, SocketKey),
}
