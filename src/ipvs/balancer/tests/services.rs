//! What a virtual server's services come to in the table of a data plane.

use super::*;
use crate::ipvs::plan::{Keeps, plan};
use crate::ipvs::table::{Destination, Operation};

#[test]
fn a_service_belongs_to_one_virtual_server() {
    let mut all = config(virtual_server(&[1]));
    let entry = GroupEntry::Range { first: [192, 0, 2, 99].into(), last: [192, 0, 2, 101].into(), port: 80 };
    all.groups.insert("g".to_owned(), GroupConfig { entries: vec![entry] });
    let group = VirtualServerId::Group { name: "g".to_owned(), protocol: Protocol::Tcp };
    all.services.insert(group, virtual_server(&[2]).into());
    let mut bench = Bench::new(all.clone());
    assert_eq!(bench.table(), "1:1");
    assert_eq!(bench.balancer.desired().services.len(), 3);
    assert_eq!(
        bench.told,
        ["192.0.2.100:80 tcp is a service of virtual server [192.0.2.100]:tcp:80 already: left out"]
    );
    all.services.remove(&id());
    bench.reload(all);
    assert_eq!((bench.table().as_str(), bench.balancer.desired().services.len()), ("2:1", 3));
}

#[test]
fn method_and_thresholds_pass_through() {
    let mut server = virtual_server(&[1]);
    server.real_servers[0].method = ForwardMethod::Dr;
    (server.real_servers[0].upper_threshold, server.real_servers[0].lower_threshold) = (7, 3);
    server.scheduler = Scheduler::Mh;
    let bench = Bench::new(config(server));
    let service = &bench.balancer.desired().services[&key()];
    let want = crate::ipvs::table::Destination {
        method: ForwardMethod::Dr,
        weight: 1,
        upper_threshold: 7,
        lower_threshold: 3,
    };
    assert_eq!((service.settings.scheduler, service.destinations[&real(1)]), (Scheduler::Mh, want));
}

#[test]
fn a_reload_of_ten_thousand_services_with_one_other_weight_is_one_operation() {
    let id = |n: u16| {
        let [high, low] = n.to_be_bytes();
        VirtualServerId::Address { address: SocketKey::new([10, 1, high, low].into(), 80), protocol: Protocol::Tcp }
    };
    let mut server = virtual_server(&[1, 2]);
    server.real_servers.iter_mut().for_each(|real| real.checkers.clear());
    let services = (0..10_000).map(|n| (id(n), server.clone().into())).collect();
    let before = BalancerConfig { services, ..Default::default() };
    let mut after = before.clone();
    after.services.get_mut(&id(4711)).unwrap().real_servers[1].weight = 7;
    let mut bench = Bench::new(before);
    let applied = bench.balancer.desired().clone();
    assert_eq!(applied.services.len(), 10_000);
    bench.reload(after);
    let operations = plan(&applied, bench.balancer.desired(), Keeps::KernelSettings);
    let wanted = Destination { weight: 7, ..Destination::default() };
    let key = *bench.balancer.services().find(|key| bench.balancer.owner(key) == Some(&id(4711))).unwrap();
    assert_eq!(operations, [Operation::EditDestination(key, real(2), wanted)]);
}

/// keepalived 2.2.7 does the same, and says that the port does not match.
#[test]
fn packets_that_keep_their_port_go_to_the_port_of_each_service() {
    let entry =
        |last: u8, port| GroupEntry::Range { first: [10, 0, 0, last].into(), last: [10, 0, 0, last].into(), port };
    let mark = GroupEntry::Fwmark { mark: 7.try_into().unwrap(), family: None };
    let entries = vec![entry(1, 8080), entry(2, 80), mark];
    let mut server = virtual_server(&[1, 2, 3]);
    for (real, method) in server.real_servers.iter_mut().zip([
        ForwardMethod::Dr,
        ForwardMethod::Tun(crate::ipvs::types::Tunnel::Ipip),
        ForwardMethod::Nat,
    ]) {
        real.method = method;
    }
    let mut all = BalancerConfig::default();
    all.groups.insert("g".to_owned(), GroupConfig { entries });
    all.services.insert(VirtualServerId::Group { name: "g".to_owned(), protocol: Protocol::Tcp }, server.into());
    let bench = Bench::new(all);
    let services = bench.balancer.desired().services.iter();
    let ports = |service: &Service| service.destinations.keys().map(|at| at.port).collect::<Vec<_>>();
    let own = real(3).port;
    assert_eq!(
        services.map(|(key, service)| (key.to_string(), ports(service))).collect::<Vec<_>>(),
        [
            ("10.0.0.1:8080 tcp".to_owned(), vec![8080, 8080, own]),
            ("10.0.0.2:80 tcp".to_owned(), vec![80, 80, own]),
            ("fwmark 7".to_owned(), vec![0, 0, own]),
        ]
    );
}
