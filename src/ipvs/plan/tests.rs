//! The laws of plans: they lead where they should, and nobody is left unserved on the way.

use proptest::prelude::*;

use super::*;
use crate::ipvs::config::ProxyConfig;
use crate::ipvs::types::{Protocol, Scheduler};

fn service_key(n: u8) -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address: at(n, 80) }
}

fn at(n: u8, port: u16) -> SocketKey {
    SocketKey::new([192, 0, 2, n].into(), port)
}

fn weight(weight: u32) -> Destination {
    Destination { weight, ..Destination::default() }
}

fn table(services: &[(u8, &[(u8, u32)])]) -> ServiceTable {
    let service = |destinations: &[(u8, u32)]| Service {
        settings: ServiceSettings::default(),
        destinations: destinations.iter().map(|(n, w)| (at(*n, 8080), weight(*w))).collect(),
    };
    ServiceTable { services: services.iter().map(|(n, list)| (service_key(*n), service(list))).collect() }
}

fn any_table() -> impl Strategy<Value = ServiceTable> {
    let settings = (0..3_u8, any::<bool>(), 0..2_u32).prop_map(|(scheduler, hashed, connections)| {
        let mut settings = ServiceSettings { scheduler: Scheduler::ALL[usize::from(scheduler)], ..Default::default() };
        settings.flags.hashed = hashed;
        settings.proxy.max_connections = connections;
        settings
    });
    let destinations =
        prop::collection::btree_map((0..4_u8).prop_map(|n| at(n, 8080)), (0..3_u32).prop_map(weight), 0..4);
    let service = (settings, destinations)
        .prop_map(|(settings, destinations)| Service { settings, destinations: destinations.into_iter().collect() });
    prop::collection::btree_map((0..4_u8).prop_map(service_key), service, 0..4)
        .prop_map(|services| ServiceTable { services })
}

fn serves(table: &ServiceTable, key: &ServiceKey) -> bool {
    table.services.get(key).is_some_and(|service| service.destinations.values().any(|d| d.weight > 0))
}

proptest! {
    #[test]
    fn a_plan_leads_to_what_is_desired(a in any_table(), b in any_table()) {
        let mut now = a.clone();
        plan(&a, &b, Keeps::All).iter().for_each(|operation| carry_out(&mut now, operation));
        prop_assert_eq!(&now, &b);
        prop_assert!(plan(&now, &b, Keeps::All).is_empty());
    }

    #[test]
    fn its_parts_are_the_plan(a in any_table(), b in any_table(), enough in 1..9_usize) {
        let mut now = a.clone();
        let (mut all, mut part, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            part.clear();
            after = plan_part(&now, &b, Keeps::All, after, enough, &mut part);
            part.iter().for_each(|operation| carry_out(&mut now, operation));
            all.append(&mut part);
            if after.is_none() {
                break;
            }
        }
        prop_assert_eq!(all, plan(&a, &b, Keeps::All));
        prop_assert_eq!(now, b);
    }

    #[test]
    fn what_the_kernel_does_not_keep_is_no_difference_to_it(a in any_table(), b in any_table()) {
        let strip = |table: &ServiceTable| {
            let mut table = table.clone();
            table.services.values_mut().for_each(|service| service.settings.proxy = ProxyConfig::default());
            table
        };
        let mut now = a.clone();
        plan(&a, &b, Keeps::KernelSettings).iter().for_each(|operation| carry_out(&mut now, operation));
        prop_assert_eq!(strip(&now), strip(&b));
        prop_assert!(plan(&strip(&b), &b, Keeps::KernelSettings).is_empty(), "what a dump shows");
    }

    #[test]
    fn who_is_served_before_and_after_is_served_on_the_way(a in any_table(), b in any_table()) {
        let mut now = a.clone();
        for operation in plan(&a, &b, Keeps::All) {
            carry_out(&mut now, &operation);
            for key in a.services.keys().filter(|key| serves(&a, key) && serves(&b, key)) {
                prop_assert!(serves(&now, key), "{:?} after {:?}", key, operation);
            }
        }
    }

    #[test]
    fn what_is_missing_is_added_and_nothing_else_is_touched(a in any_table(), b in any_table()) {
        let mut now = a.clone();
        missing(&a, &b).iter().for_each(|operation| carry_out(&mut now, operation));
        for (key, service) in &b.services {
            for at in service.destinations.keys() {
                prop_assert!(now.services[key].destinations.contains_key(at));
            }
        }
        for (key, service) in &a.services {
            prop_assert_eq!(&now.services[key].settings, &service.settings);
            for (at, destination) in service.destinations.iter() {
                prop_assert_eq!(&now.services[key].destinations[at], destination);
            }
        }
    }
}

#[test]
fn order() {
    let a = table(&[(1, &[(1, 1), (2, 0), (3, 1)]), (9, &[(1, 1)])]);
    let b = table(&[(1, &[(1, 0), (2, 1), (4, 0), (5, 2)]), (2, &[(1, 0), (2, 1)])]);
    let one = service_key(1);
    let two = service_key(2);
    assert_eq!(
        plan(&a, &b, Keeps::All),
        [
            Operation::EditDestination(one, at(2, 8080), weight(1)),
            Operation::AddDestination(one, at(5, 8080), weight(2)),
            Operation::EditDestination(one, at(1, 8080), weight(0)),
            Operation::AddDestination(one, at(4, 8080), weight(0)),
            Operation::RemoveDestination(one, at(3, 8080)),
            Operation::AddService(two, ServiceSettings::default()),
            Operation::AddDestination(two, at(2, 8080), weight(1)),
            Operation::AddDestination(two, at(1, 8080), weight(0)),
            Operation::RemoveService(service_key(9)),
        ]
    );
}
