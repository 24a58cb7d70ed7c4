//! One screen, as an operator sees it.
use super::*;
use crate::status::model::{Check, Daemon, Heard, Peer, Priority, Process};

fn clock(time: Time) -> String {
    time.to_string()
}

fn example() -> Status {
    let instance = Instance {
        name: "VI_1".to_owned(),
        state: State::Master,
        for_ms: Some(11_520_000),
        vrid: 51,
        interface: Some("eth0".to_owned()),
        cause: crate::status::model::Cause { kind: "x".to_owned(), text: "no advert for 3612 ms".to_owned() },
        priority: Priority {
            effective: 150,
            base: 100,
            trackers: vec![Effect {
                tracker: "script chk".to_owned(),
                status: "up".to_owned(),
                weight: 50,
                adds: 50,
                ..Effect::default()
            }],
        },
        addresses: ["192.0.2.100/24", "192.0.2.101/24"]
            .map(|address| Address { address: address.to_owned(), ..Address::default() })
            .into(),
        peers: vec![Peer {
            address: "192.0.2.2".parse().expect("address"),
            priority: Some(90),
            version: None,
            advert_interval_ms: None,
            addresses: Vec::new(),
            last_heard_ms: Some(65_000),
            jitter_ms: None,
            refused: None,
        }],
        ..Instance::default()
    };
    let real = RealServer {
        address: "192.0.2.8:80".to_owned(),
        up: Some(false),
        admin: "up".to_owned(),
        configured_weight: 2,
        table_weight: Some(0),
        checks: vec![Check {
            kind: "TCP".to_owned(),
            up: false,
            reason: Some("refused\x1b[2J".to_owned()),
            adds_weight: 0,
        }],
        ..RealServer::default()
    };
    let busy = RealServer {
        address: "192.0.2.9:80".to_owned(),
        up: Some(true),
        admin: "up".to_owned(),
        configured_weight: 2,
        table_weight: Some(2),
        checks: vec![Check { kind: "HTTP".to_owned(), up: true, ..Check::default() }],
        traffic: Some(Traffic { active: 120, ..Traffic::default() }),
        ..RealServer::default()
    };
    let server = VirtualServer {
        id: "[192.0.2.100]:tcp:80".to_owned(),
        active: Some(true),
        has_quorum: Some(false),
        live_weight: Some(0),
        quorum: 1,
        method: "NAT".to_owned(),
        scheduler: "wlc".to_owned(),
        real_servers: vec![real, busy],
        carrier: Some("userspace".to_owned()),
        refused: Some("cannot add service 192.0.2.100:81 tcp (wlc): the port is taken".to_owned()),
        traffic: Some(Traffic {
            connections: 1_234_567,
            active: 120,
            in_bytes: 9_950,
            out_bytes: 81_000_000_000,
            ..Traffic::default()
        }),
        ..VirtualServer::default()
    };
    let process = |name: &str, pid, state| Process { name: name.to_owned(), pid: Some(pid), state, restarts: 0 };
    Status {
        node: "node-a".to_owned(),
        daemon: Daemon {
            version: "0.1.0".to_owned(),
            uptime_ms: 59_000,
            config_file: "/etc/keepalived/keepalived.conf".to_owned(),
            processes: vec![process("main", 10, ProcessState::Running), process("vrrp", 11, ProcessState::Silent)],
            ..Daemon::default()
        },
        maintenance: Maintenance { on: true, reason: Some("new kernel".to_owned()), ..Maintenance::default() },
        instances: vec![instance],
        virtual_servers: vec![server],
        remarks: vec!["the vrrp process did not answer in time".to_owned()],
        ..Status::default()
    }
}

#[test]
fn one_screen() {
    let text = status(&example(), &Style::default(), &clock);
    let wanted = "\
node-a  holdfast 0.1.0, up 59 s, /etc/keepalived/keepalived.conf
processes  main 10  vrrp 11 silent
MAINTENANCE until it is ended, new kernel
the vrrp process did not answer in time

INSTANCE           STATE    FOR         PRIORITY  INTERFACE  VRID  ADDRESSES
VI_1               MASTER   3 h 12 min  150 of 100 eth0        51  192.0.2.100/24
  and 192.0.2.101/24
  because: no advert for 3612 ms
  peer: 192.0.2.2 (priority 90), heard 1 min 5 s ago
  tracks: script chk up: +50 to the priority

VIRTUAL SERVER                    STATE   QUORUM      METHOD  SCHEDULER
[192.0.2.100]:tcp:80              DOWN    0 of 1      NAT     wlc
  userspace: 120 connections now, 1.2M in all, 9.9kB in, 81GB out
  cannot add service 192.0.2.100:81 tcp (wlc): the port is taken
  192.0.2.8:80                    DOWN    weight 0 of 2 TCP: refused?[2J
  192.0.2.9:80                    up      weight 2      120 now; HTTP ok
";
    assert_eq!(text, wanted);
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(82), "{widest:?}");
}

#[test]
fn colours_and_width_are_for_terminals() {
    let style = Style { color: true, width: Some(40) };
    let mut example = example();
    example.instances[0].master =
        Some(Heard { address: "192.0.2.2".parse().expect("address"), priority: 90, advert_interval_ms: 1000 });
    let text = status(&example, &style, &clock);
    assert!(text.contains("\x1b[32mMASTER\x1b[0m"), "{text}");
    let mut plain = text.clone();
    for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[1;31m"] {
        plain = plain.replace(code, "");
    }
    assert!(plain.lines().all(|line| line.chars().count() <= 40), "{plain}");
    assert!(!plain.contains('\x1b'), "nothing from outside moves the cursor");
    assert_eq!(plain.matches("192.0.2.2 ").count(), 1, "the master is not a peer once more");
}

#[test]
fn many_instances_are_a_line_each() {
    let mut many = example();
    many.instances = (0..1000).map(|_| many.instances[0].clone()).collect();
    let text = status(&many, &Style::default(), &clock);
    assert!(text.contains("192.0.2.100/24 +1\n"), "{text}");
    assert!(!text.contains("because"));
}

#[test]
fn large_numbers_are_short() {
    let rows = [
        (0, "0"),
        (999, "999"),
        (1000, "1k"),
        (1999, "1.9k"),
        (10_900, "10k"),
        (999_999, "999k"),
        (1_000_000, "1M"),
        (u64::MAX, "18446744T"),
    ];
    for (number, text) in rows {
        assert_eq!(quantity(number), text);
    }
}

#[test]
fn ages_events_and_refusals() {
    for (ms, text) in [(0, "0 s"), (999, "999 ms"), (59_999, "59 s"), (61_000, "1 min 1 s"), (90_000_000, "1 d 1 h")] {
        assert_eq!(age(ms), text);
    }
    let shown = Event { text: "a\nb".to_owned(), ..Event::default() };
    assert_eq!(event(&shown, &Style::default(), &clock), "1970-01-01T00:00:00.000Z.000  a?b\n");
    let outcome =
        Outcome { message: "no\x07\nx".to_owned(), did_you_mean: Some("VI_1".to_owned()), ..Outcome::default() };
    assert_eq!(refusal(&outcome), "no?\nx; did you mean VI_1?");
}
