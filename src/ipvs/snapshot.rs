//! The balancer's state at one moment, for status, metrics and dumps.
//!
//! Pure: plain values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::VirtualServerId;
use super::dataplane::{Counters, DestinationCounters, ServiceCounters};
use super::event::{AdminState, CheckerKind};
use super::table::ServiceTable;
use super::types::{ServiceKey, SocketKey};
use crate::checkers::report::Health;

/// Everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// In the order of their identities.
    pub virtual_servers: Vec<VirtualServerSnapshot>,
    /// What our services have carried, in whichever data plane they are. One whose counters cannot be read is not here.
    pub counters: BTreeMap<ServiceKey, ServiceCounters>,
    /// The services that the userspace forwarder has, as it has them; the others are the kernel's.
    pub forwarder: ServiceTable,
    /// What a data plane refuses of our services, the first refusal of each.
    pub refusals: BTreeMap<ServiceKey, RefusalSnapshot>,
}

/// Something that a data plane refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalSnapshot {
    /// Nobody carries the service.
    pub whole: bool,
    /// What, and why.
    pub reason: String,
}

impl Snapshot {
    /// What all services of a virtual server have carried together; `None` when nothing is known of any.
    pub fn carried(&self, server: &VirtualServerSnapshot) -> Option<Counters> {
        self.counters_of(server).map(|counters| counters.total).reduce(Counters::plus)
    }

    /// The same of one real server (or the sorry server), over all services of the virtual server.
    pub fn carried_by(&self, server: &VirtualServerSnapshot, real: SocketKey) -> Option<DestinationCounters> {
        let each = server.services.iter().filter_map(|key| {
            let destinations = &self.counters.get(key)?.destinations;
            // Where packets keep their port it has the service's, unless that is another one of its address.
            let kept = SocketKey::new(real.ip, key.port());
            let is_others = server.real_servers.iter().any(|other| other.address == kept);
            let as_kept = || destinations.get(&kept).filter(|_| !is_others);
            destinations.get(&real).or_else(as_kept).copied()
        });
        each.reduce(DestinationCounters::plus)
    }

    fn counters_of(&self, server: &VirtualServerSnapshot) -> impl Iterator<Item = &ServiceCounters> {
        server.services.iter().filter_map(|key| self.counters.get(key))
    }
}

/// One virtual server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualServerSnapshot {
    /// Which.
    pub id: VirtualServerId,
    /// It is in the data plane: it follows no instance, or its instance is master.
    pub active: bool,
    /// It has its quorum.
    pub has_quorum: bool,
    /// The quorum in force.
    pub quorum: u32,
    /// The hysteresis in force.
    pub hysteresis: u32,
    /// What the quorum is judged by.
    pub live_weight: u64,
    /// So many real servers seem dead that we suspect ourselves.
    pub panicking: bool,
    /// Its checks rest (`ha_suspend`).
    pub checks_paused: bool,
    /// Its sorry server.
    pub sorry_server: Option<SocketKey>,
    /// What the data plane knows it by.
    pub services: Vec<ServiceKey>,
    /// By address and port.
    pub real_servers: Vec<RealServerSnapshot>,
}

/// One real server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealServerSnapshot {
    /// Which.
    pub address: SocketKey,
    /// As configured.
    pub configured_weight: u32,
    /// With what checkers add.
    pub weight: u32,
    /// What the data plane has when it serves: less during a slow start, 0 while it drains.
    pub table_weight: u32,
    /// Fit to serve.
    pub up: bool,
    /// What an operator said.
    pub admin: AdminState,
    /// In their order.
    pub checkers: Vec<CheckerSnapshot>,
}

/// One checker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckerSnapshot {
    /// What it is.
    pub kind: CheckerKind,
    /// What it last found, or what is believed before that.
    pub health: Health,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::types::Protocol;

    fn at(n: u8) -> SocketKey {
        SocketKey::new([192, 0, 2, n].into(), 80)
    }

    fn key(n: u8) -> ServiceKey {
        ServiceKey::Address { protocol: Protocol::Tcp, address: at(n) }
    }

    fn counted(connections: u64, active: u32) -> DestinationCounters {
        DestinationCounters { total: Counters { connections, ..Counters::default() }, active, ..Default::default() }
    }

    #[test]
    fn the_services_of_a_virtual_server_count_together() {
        let service = |total, real: u8, of_real| ServiceCounters {
            total: counted(total, 0).total,
            destinations: BTreeMap::from([(at(real), of_real)]),
        };
        let server = VirtualServerSnapshot {
            id: VirtualServerId::Address { address: at(1), protocol: Protocol::Tcp },
            active: true,
            has_quorum: true,
            quorum: 1,
            hysteresis: 0,
            live_weight: 1,
            panicking: false,
            checks_paused: false,
            sorry_server: None,
            services: vec![key(1), key(2), key(9)],
            real_servers: Vec::new(),
        };
        let counters = [
            (key(1), service(5, 7, counted(4, 2))),
            (key(2), service(6, 7, counted(6, 1))),
            (key(3), service(100, 7, counted(100, 100))),
        ];
        let snapshot = Snapshot { counters: BTreeMap::from(counters), ..Snapshot::default() };
        assert_eq!(snapshot.carried(&server), Some(counted(11, 0).total));
        assert_eq!(snapshot.carried_by(&server, at(7)), Some(counted(10, 3)));
        assert_eq!(snapshot.carried_by(&server, at(8)), None);
        // Where packets keep their port the table has the service's, not the configured one; unless that is another's.
        let configured = SocketKey::new(at(7).ip, 8080);
        assert_eq!(snapshot.carried_by(&server, configured), Some(counted(10, 3)));
        let real = |address| RealServerSnapshot {
            address,
            configured_weight: 1,
            weight: 1,
            table_weight: 1,
            up: true,
            admin: AdminState::Up,
            checkers: Vec::new(),
        };
        let two = VirtualServerSnapshot { real_servers: vec![real(at(7)), real(configured)], ..server.clone() };
        assert_eq!(snapshot.carried_by(&two, configured), None);
        let other = VirtualServerSnapshot { services: vec![key(9)], ..server };
        assert_eq!(snapshot.carried(&other), None, "unknown is not nothing");
    }
}
