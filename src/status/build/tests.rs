//! What is shown of a configuration, with and without the processes' words.
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::conf::load_text;
use crate::vrrp::event::{Cause as VrrpCause, Heard as VrrpHeard, StateName};
use crate::vrrp::snapshot::Counters;
use crate::vrrp::types::AdvertInterval;

const CONF: &str = "
vrrp_script chk {
 script /bin/true
 interval 1
 weight 20
}
vrrp_sync_group G { group { A
 B }
 sync_group_tracking_weight
}
vrrp_instance A { interface eth0
 virtual_router_id 51
 priority 100
 virtual_ipaddress { 192.0.2.100/24 }
 virtual_ipaddress_excluded { 192.0.2.101 }
 track_script { chk }
}
vrrp_instance B { interface eth1
 virtual_router_id 52
 virtual_ipaddress { 192.0.2.102 }
}
virtual_server 192.0.2.100 80 {
 protocol TCP
 lb_algo wlc
 lb_kind DR
 sorry_server 192.0.2.9 80
 real_server 192.0.2.7 80 { TCP_CHECK { } }
}
";

fn config() -> Config {
    load_text(Path::new("k.conf"), CONF.as_bytes(), &Default::default()).config.expect("usable")
}

fn instance_snapshot(state: StateName, priority: u8) -> InstanceSnapshot {
    InstanceSnapshot {
        state,
        cause: VrrpCause::Started,
        since: Duration::from_secs(5),
        base_priority: 100,
        effective_priority: priority,
        master: Some(VrrpHeard {
            address: "192.0.2.2".parse().expect("address"),
            priority: 200,
            interval: AdvertInterval::DEFAULT,
        }),
        others_heard: true,
        handing_over: false,
        source: None,
        master_interval: AdvertInterval::DEFAULT,
        next_deadline: None,
        held: Vec::new(),
        counters: Counters::default(),
        peers: Vec::new(),
        unlisted_peers: 0,
        dual_master: None,
    }
}

#[test]
fn a_silent_process_leaves_what_the_configuration_says() {
    let config = config();
    let instances = instances(Time::default(), &config, None);
    let names: Vec<_> = instances.iter().map(|i| (i.name.as_str(), i.state, i.vrid)).collect();
    assert_eq!(names, [("A", State::Unknown, 51), ("B", State::Unknown, 52)]);
    let shown: Vec<_> = instances[0].addresses.iter().map(|a| (a.address.as_str(), a.excluded)).collect();
    assert_eq!(shown, [("192.0.2.100/24", false), ("192.0.2.101/32", true)]);
    let trackers = trackers(&config, &BTreeMap::new(), None);
    assert_eq!(
        (&*trackers[0].kind, &*trackers[0].status, &trackers[0].instances[..]),
        ("script", "pending", &["A".to_owned()][..])
    );
    let servers = virtual_servers(&config, &BTreeMap::new(), None);
    assert_eq!(
        (&*servers[0].id, servers[0].has_quorum, servers[0].real_servers[0].up),
        ("[192.0.2.100]:tcp:80", None, None)
    );
    assert_eq!(servers[0].method, "DR");
}

#[test]
fn priorities_have_their_reasons() {
    let config = config();
    let key = TrackerKey::Script("chk".to_owned());
    let snapshot = VrrpSnapshot {
        instances: [
            ("A".to_owned(), instance_snapshot(StateName::Backup, 120)),
            ("B".to_owned(), instance_snapshot(StateName::Backup, 100)),
        ]
        .into(),
        trackers: vec![(key.clone(), TrackerStatus::Up)],
        ..VrrpSnapshot::default()
    };
    let at = Time(Duration::from_secs(1000));
    let instances = instances(at, &config, Some(&snapshot));
    let [a, b] = &instances[..] else { panic!("two") };
    assert_eq!((a.state, a.since, a.for_ms), (State::Backup, Some(Time(Duration::from_secs(995))), Some(5000)));
    assert_eq!((a.priority.effective, a.priority.base), (120, 100));
    let [effect] = &a.priority.trackers[..] else { panic!("one tracker") };
    assert_eq!((&*effect.tracker, &*effect.status, effect.adds, effect.fault), ("script chk", "up", 20, false));
    assert_eq!(a.master.as_ref().map(|m| (m.priority, m.advert_interval_ms)), Some((200, 1000)));
    assert_eq!(a.sync_group.as_deref(), Some("G"));
    assert!(b.priority.trackers.is_empty() && b.others_heard);
    let groups = sync_groups(&config, &instances);
    assert_eq!((groups[0].state, groups[0].members.len()), (State::Backup, 2));
}

#[test]
fn a_real_server_is_shown_with_its_checks() {
    use crate::ipvs::event::{AdminState, CheckerKind};
    use crate::ipvs::snapshot::CheckerSnapshot;
    let config = config();
    let id = config.balancer.services.keys().next().expect("one").clone();
    let real = RealServerSnapshot {
        address: config.balancer.services[&id].real_servers[0].address,
        configured_weight: 1,
        weight: 1,
        table_weight: 0,
        up: false,
        admin: AdminState::Drain,
        checkers: vec![CheckerSnapshot {
            kind: CheckerKind::Tcp,
            health: Health::Down { reason: "refused".to_owned() },
        }],
    };
    let server = VirtualServerSnapshot {
        id: id.clone(),
        active: true,
        has_quorum: false,
        quorum: 1,
        hysteresis: 0,
        live_weight: 0,
        panicking: false,
        checks_paused: false,
        sorry_server: config.balancer.services[&id].sorry_server.map(|s| s.address),
        services: Vec::new(),
        real_servers: vec![real],
    };
    let snapshot = BalancerSnapshot { virtual_servers: vec![server], ..BalancerSnapshot::default() };
    let servers = virtual_servers(&config, &[(id, false)].into(), Some(&snapshot));
    assert_eq!((servers[0].able, servers[0].sorry_server_serves, servers[0].live_weight), (Some(false), true, Some(0)));
    let real = &servers[0].real_servers[0];
    assert_eq!((real.up, &*real.admin, real.table_weight), (Some(false), "drain", Some(0)));
    assert_eq!((&*real.checks[0].kind, real.checks[0].reason.as_deref()), ("TCP", Some("refused")));
}

/// Both services of a virtual server together, the sorry server's open connections among them.
#[test]
fn what_was_carried_is_shown_with_what_carries_it() {
    use crate::ipvs::dataplane::{Counters as Carried, DestinationCounters, ServiceCounters};
    use crate::ipvs::types::{ServiceKey, SocketKey};
    let config = config();
    let id = config.balancer.services.keys().next().expect("one").clone();
    let service = &config.balancer.services[&id];
    let (real, sorry) = (service.real_servers[0].address, service.sorry_server.as_ref().expect("one").address);
    let key = |port| {
        let address = SocketKey { port, ..real };
        ServiceKey::Address { protocol: service.protocol, address }
    };
    let keys = [key(80), key(81)];
    let carried = |n: u64| Carried { connections: n, in_bytes: 10 * n, out_packets: 100 * n, ..Carried::default() };
    let of_real = |n: u64| DestinationCounters { total: carried(n), active: 2, inactive: 1, persistent: 0 };
    let counters =
        |n: u64| ServiceCounters { total: carried(n), destinations: [(real, of_real(n)), (sorry, of_real(0))].into() };
    let server = |active| VirtualServerSnapshot {
        id: id.clone(),
        active,
        has_quorum: true,
        quorum: 1,
        hysteresis: 0,
        live_weight: 1,
        panicking: false,
        checks_paused: false,
        sorry_server: Some(sorry),
        services: keys.to_vec(),
        real_servers: Vec::new(),
    };
    let snapshot = |active, plane: &[ServiceKey]| BalancerSnapshot {
        virtual_servers: vec![server(active)],
        counters: keys.into_iter().zip([counters(7), counters(1000)]).collect(),
        forwarder: crate::ipvs::table::ServiceTable {
            services: plane.iter().map(|key| (*key, Default::default())).collect(),
        },
        refusals: BTreeMap::new(),
    };
    let shown = |snapshot: BalancerSnapshot| virtual_servers(&config, &BTreeMap::new(), Some(&snapshot)).remove(0);
    let kernel = shown(snapshot(true, &[]));
    assert_eq!(kernel.carrier.as_deref(), Some("kernel"));
    let traffic = kernel.traffic.expect("known");
    assert_eq!((traffic.connections, traffic.in_bytes, traffic.out_packets), (1007, 10_070, 100_700));
    assert_eq!((traffic.active, traffic.inactive), (8, 4), "two servers in two services");
    let real = kernel.real_servers[0].traffic.expect("known");
    assert_eq!((real.connections, real.active, real.inactive), (1007, 4, 2));
    assert_eq!(shown(snapshot(true, &keys)).carrier.as_deref(), Some("userspace"));
    let rests = shown(snapshot(false, &[]));
    assert_eq!((rests.carrier, rests.traffic), (None, None), "another node has it");
    let refused = |whole, keys: &[ServiceKey]| {
        let refusal = crate::ipvs::snapshot::RefusalSnapshot { whole, reason: "cannot add it: no".to_owned() };
        let refusals = keys.iter().map(|key| (*key, refusal.clone())).collect();
        let server = shown(BalancerSnapshot { refusals, ..snapshot(true, &[]) });
        (server.carrier, server.refused.as_deref() == Some("cannot add it: no"))
    };
    assert_eq!(refused(true, &keys), (None, true), "nobody carries it");
    assert_eq!(refused(true, &keys[..1]), (Some("kernel".to_owned()), true), "one of its services is carried");
    assert_eq!(refused(false, &keys), (Some("kernel".to_owned()), true), "it lacks a real server");
}

#[test]
fn the_forwarders_table_is_shown_with_what_it_carried() {
    use crate::ipvs::config::{Persistence, SchedulerFlags};
    use crate::ipvs::dataplane::{Counters, DestinationCounters, ServiceCounters};
    use crate::ipvs::table::{Destination, Service, ServiceSettings};
    use crate::ipvs::types::{Protocol, Scheduler, ServiceKey, SocketKey};
    use crate::status::model::{ForwarderDestination, ForwarderService, Traffic};
    let at = |ip: [u8; 4], port| SocketKey::new(ip.into(), port);
    let key = ServiceKey::Address { protocol: Protocol::Tcp, address: at([10, 0, 0, 1], 80) };
    let (one, two) = (at([10, 1, 0, 1], 8080), at([10, 1, 0, 2], 8080));
    let settings = ServiceSettings {
        scheduler: Scheduler::Sh,
        flags: SchedulerFlags { flag2: true, ..SchedulerFlags::default() },
        persistence: Some(Persistence { timeout: 60, granularity: 24, engine: None }),
        ..ServiceSettings::default()
    };
    let to = |weight| Destination { weight, upper_threshold: 9, lower_threshold: 5, ..Destination::default() };
    let destinations = [(one, to(3)), (two, to(0))].into_iter().collect();
    let counted = |connections| Counters { connections, in_bytes: 7, ..Counters::default() };
    let carried = DestinationCounters { total: counted(4), active: 2, inactive: 0, persistent: 1 };
    let mut snapshot = BalancerSnapshot::default();
    snapshot.forwarder.services.insert(key, Service { settings, destinations });
    let counters = ServiceCounters { total: counted(5), destinations: [(one, carried)].into() };
    snapshot.counters.insert(key, counters);
    let traffic = |connections, active, in_bytes| Traffic { connections, active, in_bytes, ..Traffic::default() };
    let shown = |address: SocketKey, weight, persistent, traffic| ForwarderDestination {
        address: address.to_string(),
        weight,
        upper_threshold: 9,
        lower_threshold: 5,
        persistent,
        traffic,
    };
    let service = ForwarderService {
        service: "10.0.0.1:80 tcp".to_owned(),
        scheduler: "sh".to_owned(),
        flags: vec!["flag-2".to_owned()],
        persistence_timeout: Some(60),
        persistence_granularity: Some(24),
        destinations: vec![shown(one, 3, 1, traffic(4, 2, 7)), shown(two, 0, 0, Traffic::default())],
        traffic: traffic(5, 2, 7),
    };
    assert_eq!(forwarder(&snapshot), [service]);
}
