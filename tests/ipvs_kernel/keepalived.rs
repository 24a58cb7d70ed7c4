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
    let theirs = left_by(crate::common::KEEPALIVED, &mut kernel, ours.lines().count());
    assert_eq!(theirs, ours, "keepalived and the data plane");
    let whole = left_by(env!("CARGO_BIN_EXE_holdfast"), &mut kernel, ours.lines().count());
    assert_eq!(whole, theirs, "holdfast and keepalived");
}

/// The table that a daemon makes of the file, once it has that many lines.
fn left_by(daemon: &str, kernel: &mut Kernel, lines: usize) -> String {
    kernel.flush().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("conf"), CONF).unwrap();
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
