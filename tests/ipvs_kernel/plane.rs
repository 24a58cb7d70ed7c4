//! [`Kernel`] as a data plane, seen by Debian's ipvsadm.

use std::net::IpAddr;
use std::num::NonZeroU32;

use holdfast::ipvs::config::{LvsTimeouts, Persistence, SchedulerFlags, SyncDaemonConfig};
use holdfast::ipvs::dataplane::Dataplane;
use holdfast::ipvs::genl::{DaemonState, Timeouts};
use holdfast::ipvs::kernel::Kernel;
use holdfast::ipvs::table::{Destination, Operation, ServiceSettings};
use holdfast::ipvs::types::{ForwardMethod, Protocol, Scheduler, ServiceKey, SocketKey, Tunnel, TunnelChecksum};
use holdfast::vrrp::types::Family;

use crate::in_guest;
use crate::tools::{ipvsadm, run};

pub fn at(ip: &str, port: u16) -> SocketKey {
    SocketKey::new(ip.parse().unwrap(), port)
}

pub fn service(protocol: Protocol, ip: &str, port: u16) -> ServiceKey {
    ServiceKey::Address { protocol, address: at(ip, port) }
}

fn settings(scheduler: Scheduler) -> ServiceSettings {
    ServiceSettings { scheduler, ..ServiceSettings::default() }
}

fn to(method: ForwardMethod, weight: u32) -> Destination {
    Destination { method, weight, ..Destination::default() }
}

fn apply(kernel: &mut Kernel, operations: &[Operation]) {
    let refusals = kernel.apply(operations);
    assert!(refusals.is_empty(), "{refusals:?}");
}

/// One of each kind.
fn wide_table() -> Vec<Operation> {
    use Operation::{AddDestination, AddService};
    let persistence = |timeout, granularity, engine: Option<&str>| {
        Some(Persistence { timeout, granularity, engine: engine.map(str::to_owned) })
    };
    let mut operations = Vec::new();
    for (n, scheduler) in (1..).zip(Scheduler::ALL.into_iter().filter(|s| *s != Scheduler::Twos)) {
        let key = service(Protocol::Tcp, &format!("10.0.0.{n}"), 80);
        operations.push(AddService(key, settings(scheduler)));
        for method in [ForwardMethod::Nat, ForwardMethod::Dr, ForwardMethod::Tun(Tunnel::Ipip)] {
            let last = operations.len();
            operations.push(AddDestination(key, at(&format!("192.168.1.{last}"), 80), to(method, n)));
        }
    }
    let six = service(Protocol::Tcp, "2001:db8::1", 443);
    operations
        .push(AddService(six, ServiceSettings { persistence: persistence(60, 64, None), ..settings(Scheduler::Rr) }));
    operations.push(AddDestination(six, at("2001:db8:1::1", 443), to(ForwardMethod::Nat, 0)));
    let sums = [TunnelChecksum::None, TunnelChecksum::Checksum, TunnelChecksum::Remote];
    for (n, checksum) in (2..).zip(sums) {
        let gue = ForwardMethod::Tun(Tunnel::Gue { port: 6080, checksum });
        operations.push(AddDestination(six, at(&format!("2001:db8:1::{n}"), 443), to(gue, 7)));
    }
    let gre = ForwardMethod::Tun(Tunnel::Gre { checksum: TunnelChecksum::Checksum });
    operations.push(AddDestination(six, at("192.168.3.1", 443), to(gre, 7)));
    let dns = service(Protocol::Udp, "10.0.1.1", 53);
    let flags = SchedulerFlags { one_packet: true, ..SchedulerFlags::default() };
    operations.push(AddService(dns, ServiceSettings { flags, ..settings(Scheduler::Rr) }));
    let limited = Destination { upper_threshold: 100, lower_threshold: 50, ..to(ForwardMethod::Nat, i32::MAX as u32) };
    operations.push(AddDestination(dns, at("192.168.4.1", 5353), limited));
    let sip = service(Protocol::Udp, "10.0.1.2", 5060);
    operations.push(AddService(
        sip,
        ServiceSettings { persistence: persistence(300, 32, Some("sip")), ..settings(Scheduler::Rr) },
    ));
    let sctp = service(Protocol::Sctp, "10.0.1.3", 99);
    let flags = SchedulerFlags { flag1: true, flag2: true, flag3: true, hashed: true, one_packet: false };
    operations.push(AddService(
        sctp,
        ServiceSettings { flags, persistence: persistence(1, 24, None), ..settings(Scheduler::Sh) },
    ));
    for (family, mark) in [(Family::V4, 1), (Family::V6, 1), (Family::V4, u32::MAX)] {
        let key = ServiceKey::Fwmark { family, mark: NonZeroU32::new(mark).unwrap() };
        operations.push(AddService(key, settings(Scheduler::Mh)));
        let ip: IpAddr = if family == Family::V4 { "192.168.5.1" } else { "2001:db8:5::1" }.parse().unwrap();
        operations.push(AddDestination(key, SocketKey::new(ip, 0), to(ForwardMethod::Dr, 1)));
    }
    operations
}

/// The table that these operations make of an empty one.
fn table_of(operations: &[Operation]) -> holdfast::ipvs::table::ServiceTable {
    let mut table = holdfast::ipvs::table::ServiceTable::default();
    for operation in operations {
        match operation.clone() {
            Operation::AddService(key, settings) => {
                table.services.insert(key, holdfast::ipvs::table::Service { settings, ..Default::default() });
            }
            Operation::AddDestination(key, address, to) => {
                table.services.get_mut(&key).unwrap().destinations.insert(address, to);
            }
            _ => unreachable!("only additions here"),
        }
    }
    table
}

#[test]
fn a_wide_table_is_added_dumped_and_removed() {
    in_guest!();
    let mut kernel = Kernel::default();
    kernel.flush().unwrap();
    let operations = wide_table();
    apply(&mut kernel, &operations);
    let wanted = holdfast::ipvs::genl::convert::as_dumped(&table_of(&operations));
    assert_eq!(kernel.dump().unwrap(), wanted);
    // Twice is harmless.
    apply(&mut kernel, &operations);
    assert_eq!(kernel.dump().unwrap(), wanted);
    let counters = kernel.counters().unwrap();
    assert_eq!(counters.len(), wanted.services.len());
    println!("{}", ipvsadm("-S -n"));
    let removals: Vec<_> = wanted.services.keys().map(|key| Operation::RemoveService(*key)).collect();
    apply(&mut kernel, &removals);
    assert_eq!(kernel.dump().unwrap(), Default::default());
    apply(&mut kernel, &removals);
}

#[test]
fn what_we_write_ipvsadm_reads() {
    in_guest!();
    let mut kernel = Kernel::default();
    kernel.flush().unwrap();
    let web = service(Protocol::Tcp, "10.0.0.1", 80);
    let gue = ForwardMethod::Tun(Tunnel::Gue { port: 6080, checksum: TunnelChecksum::Remote });
    let flags = SchedulerFlags { flag2: true, ..SchedulerFlags::default() };
    let persistence = Some(Persistence { timeout: 60, granularity: 24, engine: None });
    apply(
        &mut kernel,
        &[
            Operation::AddService(web, ServiceSettings { flags, persistence, ..settings(Scheduler::Sh) }),
            Operation::AddDestination(web, at("192.168.0.1", 8080), to(ForwardMethod::Nat, 3)),
            Operation::AddDestination(web, at("192.168.0.2", 80), to(gue, 0)),
        ],
    );
    assert_eq!(
        ipvsadm("-S -n"),
        "-A -t 10.0.0.1:80 -s sh -p 60 -M 255.255.255.0 -b sh-port\n\
         -a -t 10.0.0.1:80 -r 192.168.0.1:8080 -m -w 3\n\
         -a -t 10.0.0.1:80 -r 192.168.0.2:80 -i -w 0 --tun-type gue --tun-port 6080 --tun-remcsum\n"
    );
    apply(
        &mut kernel,
        &[
            Operation::EditService(web, settings(Scheduler::Wrr)),
            Operation::EditDestination(web, at("192.168.0.1", 8080), to(ForwardMethod::Dr, 4)),
            Operation::RemoveDestination(web, at("192.168.0.2", 80)),
        ],
    );
    assert_eq!(ipvsadm("-S -n"), "-A -t 10.0.0.1:80 -s wrr\n-a -t 10.0.0.1:80 -r 192.168.0.1:8080 -g -w 4\n");
    kernel.flush().unwrap();
    assert_eq!(ipvsadm("-S -n"), "");
}

#[test]
fn edits_of_what_is_not_there_add_it_and_additions_of_what_is_there_change_it() {
    in_guest!();
    let mut kernel = Kernel::default();
    kernel.flush().unwrap();
    let web = service(Protocol::Tcp, "10.0.0.1", 80);
    // Somebody removed all behind our back.
    apply(
        &mut kernel,
        &[
            Operation::EditService(web, settings(Scheduler::Wrr)),
            Operation::EditDestination(web, at("192.168.0.1", 80), to(ForwardMethod::Nat, 4)),
            Operation::RemoveDestination(web, at("192.168.0.9", 80)),
            Operation::AddDestination(web, at("192.168.0.2", 80), to(ForwardMethod::Nat, 1)),
        ],
    );
    let both = "-A -t 10.0.0.1:80 -s wrr\n-a -t 10.0.0.1:80 -r 192.168.0.1:80 -m -w 4\n\
                -a -t 10.0.0.1:80 -r 192.168.0.2:80 -m -w 1\n";
    assert_eq!(ipvsadm("-S -n"), both);
    // A foreign service, of which our table cannot hold the netmask.
    ipvsadm("-E -t 10.0.0.1:80 -s lc -p 7 -M 255.0.255.0");
    assert_eq!(kernel.dump().unwrap(), Default::default());
    apply(
        &mut kernel,
        &[
            Operation::AddService(web, settings(Scheduler::Wrr)),
            Operation::AddDestination(web, at("192.168.0.1", 80), to(ForwardMethod::Dr, 9)),
        ],
    );
    assert_eq!(ipvsadm("-S -n"), both.replace("-m -w 4", "-g -w 9"));
}

#[test]
fn refusals_name_the_operation_and_hold_up_nothing() {
    in_guest!();
    let mut kernel = Kernel::default();
    kernel.flush().unwrap();
    let web = service(Protocol::Tcp, "10.0.0.1", 80);
    let other = service(Protocol::Tcp, "10.0.0.2", 80);
    let refusals = kernel.apply(&[
        Operation::AddService(web, settings(Scheduler::Twos)),
        Operation::AddDestination(web, at("192.168.0.1", 80), to(ForwardMethod::Nat, 1)),
        Operation::AddService(other, settings(Scheduler::Rr)),
        Operation::AddDestination(other, at("2001:db8::1", 80), to(ForwardMethod::Nat, 1)),
        Operation::AddDestination(other, at("192.168.0.1", 80), to(ForwardMethod::Proxy, 1)),
        Operation::AddDestination(
            other,
            at("192.168.0.2", 80),
            Destination { upper_threshold: 1, lower_threshold: 2, ..Destination::default() },
        ),
        Operation::AddDestination(other, at("192.168.0.3", 80), to(ForwardMethod::Nat, 1)),
    ]);
    let said: Vec<_> = refusals.iter().map(|r| (r.operation, r.error.lasting, r.error.reason.as_str())).collect();
    assert_eq!(
        said,
        [
            (0, false, "adding service tcp 10.0.0.1:80: the kernel has no scheduler twos (module ip_vs_twos)"),
            (
                1,
                false,
                "adding real server 192.168.0.1:80 to tcp 10.0.0.1:80: the service is not in the kernel's table"
            ),
            (
                3,
                true,
                "adding real server [2001:db8::1]:80 to tcp 10.0.0.2:80: a real server of the other address family \
                 is reached by TUN only"
            ),
            (
                4,
                true,
                "real server 192.168.0.1:80: the kernel does not proxy: lb_kind PROXY needs \
                 virtual_server_forwarder userspace"
            ),
            (
                5,
                true,
                "adding real server 192.168.0.2:80 to tcp 10.0.0.2:80: the lower threshold is above the upper one, \
                 or the weight is out of range"
            ),
        ]
    );
    assert_eq!(ipvsadm("-S -n"), "-A -t 10.0.0.2:80 -s rr\n-a -t 10.0.0.2:80 -r 192.168.0.3:80 -m -w 1\n");
}

#[test]
fn ten_thousand_operations_go_through_and_a_thousand_refusals_come_back() {
    in_guest!();
    let mut kernel = Kernel::default();
    kernel.flush().unwrap();
    let mut operations = Vec::new();
    for n in 0..1000_u32 {
        let key = service(Protocol::Tcp, &format!("10.1.{}.{}", n / 250, n % 250 + 1), 80);
        operations.push(Operation::AddService(key, settings(Scheduler::Wrr)));
        for real in 1..=10 {
            operations.push(Operation::AddDestination(
                key,
                at(&format!("10.9.0.{real}"), 80),
                to(ForwardMethod::Nat, 1),
            ));
        }
    }
    apply(&mut kernel, &operations);
    assert_eq!(kernel.dump().unwrap(), table_of(&operations));
    let missing: Vec<_> = (0..1000_u16)
        .map(|n| service(Protocol::Udp, "10.2.0.1", n + 1))
        .map(|key| Operation::AddDestination(key, at("10.9.0.1", 80), to(ForwardMethod::Nat, 1)))
        .collect();
    let refusals = kernel.apply(&missing);
    assert_eq!(refusals.len(), 1000);
    assert!(refusals.iter().enumerate().all(|(n, refusal)| refusal.operation == n));
    kernel.flush().unwrap();
}

#[test]
fn timeouts_are_set_one_by_one() {
    in_guest!();
    let mut kernel = Kernel::default();
    kernel.set_timeouts(LvsTimeouts { tcp: Some(800), tcpfin: Some(100), udp: Some(200) }).unwrap();
    kernel.set_timeouts(LvsTimeouts { tcp: None, tcpfin: Some(77), udp: None }).unwrap();
    assert_eq!(kernel.timeouts().unwrap(), Timeouts { tcp: 800, tcp_fin: 77, udp: 200 });
    assert_eq!(ipvsadm("-L --timeout"), "Timeout (tcp tcpfin udp): 800 77 200\n");
    let info = kernel.info().unwrap();
    assert_eq!((info.version, info.table_size), (0x01_02_01, 4096));
}

#[test]
fn sync_daemons_start_change_and_stop() {
    in_guest!();
    let mut kernel = Kernel::default();
    kernel.flush().unwrap();
    run("ip", &["link", "add", "sync0", "type", "dummy"]);
    run("ip", &["link", "set", "sync0", "up", "multicast", "on"]);
    run("ip", &["address", "add", "10.77.0.1/24", "dev", "sync0"]);
    let plain = SyncDaemonConfig {
        interface: "sync0".to_owned(),
        instance: None,
        id: 7,
        max_length: None,
        port: None,
        ttl: None,
        group: None,
    };
    kernel.start_sync_daemon(DaemonState::Master, &plain).unwrap();
    kernel.start_sync_daemon(DaemonState::Master, &plain).unwrap();
    assert_eq!(
        ipvsadm("-L --daemon"),
        "master sync daemon (mcast=sync0, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n"
    );
    let other = SyncDaemonConfig {
        id: 9,
        max_length: Some(1400),
        port: Some(8849),
        ttl: Some(3),
        group: Some("224.0.0.99".parse().unwrap()),
        ..plain.clone()
    };
    kernel.start_sync_daemon(DaemonState::Master, &other).unwrap();
    kernel.start_sync_daemon(DaemonState::Backup, &plain).unwrap();
    assert_eq!(
        ipvsadm("-L --daemon"),
        "master sync daemon (mcast=sync0, syncid=9, maxlen=1400, group=224.0.0.99, port=8849, ttl=3)\n\
         backup sync daemon (mcast=sync0, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, ttl=1)\n"
    );
    let nowhere = SyncDaemonConfig { interface: "nowhere".to_owned(), ..plain };
    kernel.stop_sync_daemon(DaemonState::Master).unwrap();
    kernel.stop_sync_daemon(DaemonState::Master).unwrap();
    let error = kernel.start_sync_daemon(DaemonState::Master, &nowhere).unwrap_err();
    assert!(error.reason.starts_with("lvs_sync_daemon: starting master on nowhere: "), "{error}");
    kernel.stop_sync_daemon(DaemonState::Backup).unwrap();
    assert_eq!(ipvsadm("-L --daemon"), "");
    run("ip", &["link", "delete", "sync0"]);
}
