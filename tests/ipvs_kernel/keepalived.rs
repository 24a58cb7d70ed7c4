//! keepalived 2.2.7 and we leave the same table for the same virtual servers.
#![allow(clippy::disallowed_methods, reason = "bounds real waiting")]

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use holdfast::ipvs::config::{Persistence, SchedulerFlags};
use holdfast::ipvs::dataplane::Dataplane;
use holdfast::ipvs::kernel::Kernel;
use holdfast::ipvs::table::{Destination, Operation, ServiceSettings};
use holdfast::ipvs::types::{ForwardMethod, Protocol, Scheduler, Tunnel, TunnelChecksum};

use crate::in_guest;
use crate::plane::{at, service};
use crate::tools::ipvsadm;

const CONF: &str = "
virtual_server 10.0.0.1 80 {
    lb_algo wrr
    lb_kind NAT
    persistence_timeout 60
    persistence_granularity 255.255.255.0
    protocol TCP
    real_server 192.168.0.1 8080 { weight 3 }
    real_server 192.168.0.2 80 {
        weight 1
        lvs_method DR
    }
}
virtual_server 10.0.0.2 53 {
    lb_algo rr
    lb_kind DR
    ops
    protocol UDP
    real_server 192.168.0.3 53 {
        weight 100
        uthreshold 50
        lthreshold 20
    }
}
virtual_server 2001:db8::1 443 {
    lb_algo sh
    sh-port
    lb_kind TUN
    protocol TCP
    real_server 2001:db8:1::1 443 { weight 1 }
    real_server 2001:db8:1::2 443 {
        weight 0
        lvs_method TUN type gue port 6080 csum
    }
}
";

/// The same as operations.
fn table() -> Vec<Operation> {
    let to = |method, weight| Destination { method, weight, ..Destination::default() };
    let web = service(Protocol::Tcp, "10.0.0.1", 80);
    let dns = service(Protocol::Udp, "10.0.0.2", 53);
    let six = service(Protocol::Tcp, "2001:db8::1", 443);
    let persistence = Some(Persistence { timeout: 60, granularity: 24, engine: None });
    let ops = SchedulerFlags { one_packet: true, ..SchedulerFlags::default() };
    let port = SchedulerFlags { flag2: true, ..SchedulerFlags::default() };
    let gue = ForwardMethod::Tun(Tunnel::Gue { port: 6080, checksum: TunnelChecksum::Checksum });
    vec![
        Operation::AddService(web, ServiceSettings { scheduler: Scheduler::Wrr, persistence, ..Default::default() }),
        Operation::AddDestination(web, at("192.168.0.1", 8080), to(ForwardMethod::Nat, 3)),
        Operation::AddDestination(web, at("192.168.0.2", 80), to(ForwardMethod::Dr, 1)),
        Operation::AddService(dns, ServiceSettings { scheduler: Scheduler::Rr, flags: ops, ..Default::default() }),
        Operation::AddDestination(
            dns,
            at("192.168.0.3", 53),
            Destination { upper_threshold: 50, lower_threshold: 20, ..to(ForwardMethod::Dr, 100) },
        ),
        Operation::AddService(six, ServiceSettings { scheduler: Scheduler::Sh, flags: port, ..Default::default() }),
        Operation::AddDestination(six, at("2001:db8:1::1", 443), to(ForwardMethod::Tun(Tunnel::Ipip), 1)),
        Operation::AddDestination(six, at("2001:db8:1::2", 443), to(gue, 0)),
    ]
}

#[test]
fn the_same_virtual_servers_leave_the_same_table() {
    in_guest!();
    if !crate::common::keepalived() {
        return;
    }
    let mut kernel = Kernel::default();
    kernel.flush().unwrap();
    assert_eq!(kernel.apply(&table()), []);
    let ours = ipvsadm("-S -n");
    let theirs = left_by(crate::common::KEEPALIVED, CONF, &mut kernel, ours.lines().count());
    assert_eq!(theirs, ours, "keepalived and the data plane");
    let whole = left_by(env!("CARGO_BIN_EXE_holdfast"), CONF, &mut kernel, ours.lines().count());
    assert_eq!(whole, theirs, "holdfast and keepalived");
}

/// What is left of every kind: schedulers and their flags, groups, marks, engines, tunnels, both families.
fn wide() -> String {
    let scheduler = |(n, name): (usize, &str)| {
        format!(
            "virtual_server 10.0.7.{n} 80 {{\n lb_algo {name}\n lb_kind NAT\n protocol TCP\n real_server 192.168.7.{n} 80 \
             {{ weight {n} }}\n}}\n"
        )
    };
    let names = ["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "mh", "dh", "fo", "ovf", "sed", "nq"];
    (1..).zip(names).map(scheduler).collect::<String>() + WIDE
}

const WIDE: &str = "
virtual_server_group web {
    10.0.5.1-3 80
    10.0.6.1 8080
    fwmark 7
}
virtual_server_group six {
    2001:db8:5::1-4 80
    2001:db8:5::80 443
}
virtual_server group six {
    lb_algo wlc
    lb_kind NAT
    protocol TCP
    real_server 2001:db8:5::99 80 { weight 2 }
}
virtual_server group web {
    lb_algo mh
    mh-port
    mh-fallback
    lb_kind TUN
    protocol TCP
    real_server 192.168.5.1 80 { weight 2 }
    real_server 192.168.5.2 80 {
        weight 5
        lvs_method TUN type gre csum
    }
}
virtual_server fwmark 9 {
    lb_algo sh
    sh-fallback
    lb_kind DR
    persistence_timeout 30
    real_server 192.168.6.1 0 { weight 1 }
}
virtual_server fwmark 9 {
    ip_family inet6
    lb_algo rr
    lb_kind DR
    real_server 2001:db8:6::1 0 { weight 1 }
}
virtual_server 10.0.8.1 5060 {
    lb_algo rr
    flag-1
    flag-3
    lb_kind NAT
    persistence_timeout 70
    persistence_engine sip
    protocol UDP
    real_server 192.168.8.1 5060 { weight 1 }
}
virtual_server 10.0.8.2 9899 {
    lb_algo wlc
    lb_kind NAT
    protocol SCTP
    real_server 192.168.8.2 9899 { weight 2147483647 }
}
virtual_server 10.0.8.3 0 {
    lb_algo lc
    lb_kind DR
    persistence_timeout 600
    persistence_granularity 255.255.0.0
    protocol TCP
    real_server 192.168.8.3 0 { weight 1 }
}
virtual_server 2001:db8:8::1 443 {
    lb_algo wrr
    lb_kind TUN
    persistence_timeout 50
    persistence_granularity 48
    protocol TCP
    sorry_server 2001:db8:8::9 443
    real_server 2001:db8:8::2 443 {
        weight 3
        lvs_method TUN type gue port 7777 nocsum
    }
    real_server 2001:db8:8::3 443 {
        weight 3
        lvs_method TUN type gue port 7778 remcsum
        uthreshold 9
    }
    real_server 192.168.8.4 443 { weight 4 }
}
";

#[test]
fn a_file_with_something_of_everything_leaves_the_same_table() {
    in_guest!();
    if !crate::common::keepalived() {
        return;
    }
    let (mut kernel, conf) = (Kernel::default(), wide());
    // Thirteen schedulers; two groups, one of them with two real servers; six more with eight.
    let (services, servers) = (13 + 5 + 5 + 6, 13 + 5 * 2 + 5 + 8);
    let theirs = left_by(crate::common::KEEPALIVED, &conf, &mut kernel, services + servers);
    let ours = left_by(env!("CARGO_BIN_EXE_holdfast"), &conf, &mut kernel, services + servers);
    assert_eq!(ours, theirs);
    assert_eq!(theirs.lines().count(), services + servers, "{theirs}");
}

/// The table that a daemon makes of the file, once it has that many lines.
fn left_by(daemon: &str, conf: &str, kernel: &mut Kernel, lines: usize) -> String {
    kernel.flush().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("conf"), conf).unwrap();
    let mut command = Command::new(daemon);
    command.args(["-n", "-l", "-G", "-C", "-f", &path("conf"), "-p", &path("main"), "-c", &path("checkers")]);
    let log = fs::File::create(path("log")).unwrap();
    let mut running = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut table = String::new();
    while table.lines().count() < lines && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
        table = ipvsadm("-S -n");
    }
    let pid = nix::unistd::Pid::from_raw(running.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).unwrap();
    running.wait().unwrap();
    println!("{}", fs::read_to_string(path("log")).unwrap());
    // What was added is removed at the end.
    assert_eq!(ipvsadm("-S -n"), "", "{daemon}");
    table
}
