use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::model::{Check, Effect, Heard, Process, RealServer, Tracker, Transition};
use super::super::time::Time;
use super::*;

/// A node with one of everything, and names that would break out of their quotes.
pub fn sample() -> Status {
    let traffic =
        |n| Traffic { connections: n, active: 1, in_packets: 10 * n, in_bytes: 1000 * n, ..Traffic::default() };
    let real = |address: &str, up, n| RealServer {
        address: address.into(),
        up: Some(up),
        admin: "up".into(),
        table_weight: Some(u32::from(up)),
        checks: vec![Check { kind: "TCP".into(), up, reason: (!up).then(|| "refused".into()), adds_weight: 0 }],
        traffic: Some(traffic(n)),
        ..RealServer::default()
    };
    let mut status = Status { node: "n1".into(), ..Status::default() };
    status.daemon.started = Time(Duration::from_millis(1_795_249_452_345));
    status.daemon.processes =
        vec![Process { name: "vrrp".into(), pid: Some(7), state: ProcessState::Running, restarts: 2 }];
    status.daemon.notifications.failed = 4;
    status.instances.push(Instance {
        name: "VI \"1\"\\\n".into(),
        state: State::Master,
        since: Some(Time(Duration::from_millis(1_795_249_500_000))),
        vrid: 51,
        version: 3,
        family: "IPv4".into(),
        interface: Some("eth0".into()),
        advert_interval_ms: 10,
        addresses: vec![
            Address { address: "192.0.2.100/24".into(), interface: Some("eth0".into()), excluded: false },
            Address { address: "192.0.2.101/32".into(), interface: Some("eth1".into()), excluded: false },
            Address { address: "192.0.2.101/32".into(), interface: Some("eth1".into()), excluded: false },
            Address { address: "2001:db8::1/128".into(), interface: None, excluded: true },
        ],
        counters: Counters { advert_sent: 9, checksum_err: 3, timer_late: 1, ..Counters::default() },
        garp_delay_ms: 5000,
        timers_late_ms: 1250,
        transitions: vec![Transition { to: State::Master, cause: "master_silent".into(), count: 2 }],
        ..Instance::default()
    });
    status.instances.push(Instance {
        name: "VI_2".into(),
        state: State::Backup,
        vrid: 52,
        master: Some(Heard { address: [192, 0, 2, 9].into(), priority: 200, advert_interval_ms: 1000 }),
        ..Instance::default()
    });
    status.instances[1].priority.trackers.push(Effect::default());
    let script = |name: &str, status: &str| Effect { tracker: name.into(), status: status.into(), ..Effect::default() };
    status.instances[0].priority.trackers = vec![script("script chk", "up"), script("interface eth9", "down")];
    let tracker = |kind: &str, name: &str, status: &str, running| Tracker {
        kind: kind.into(),
        name: name.into(),
        status: status.into(),
        instances: vec!["VI_2".into()],
        running,
    };
    status.trackers = vec![
        tracker("script", "chk", "up", Some(true)),
        tracker("script", "new", "pending", Some(false)),
        tracker("file", "f", "-3", None),
    ];
    for (id, n) in [("[192.0.2.100]:tcp:80", 5), ("[192.0.2.100]:tcp:443", 7)] {
        let port = id.rsplit(':').next().unwrap_or_default();
        status.virtual_servers.push(VirtualServer {
            id: id.into(),
            protocol: "tcp".into(),
            has_quorum: Some(true),
            active: Some(true),
            quorum: 1,
            live_weight: Some(1),
            services: vec![format!("192.0.2.100:{port} tcp")],
            real_servers: vec![real("192.0.2.7:80", true, n), real("[2001:db8::7]:80", false, 0)],
            traffic: Some(traffic(n)),
            ..VirtualServer::default()
        });
    }
    status
}

/// Name, labels and value of each sample.
fn samples(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').expect("a value")).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

#[test]
fn what_is_shown() {
    let text = render(&sample());
    let all = samples(&text);
    let name = r#"VI \"1\"\\\n"#;
    for (key, value) in [
        ("holdfast_start_time_seconds".to_owned(), "1795249452.345"),
        (r#"holdfast_process_restarts_total{process="vrrp"}"#.to_owned(), "2"),
        (r#"holdfast_notifications_total{result="failed"}"#.to_owned(), "4"),
        (format!(r#"holdfast_instance_state{{instance="{name}",state="MASTER"}}"#), "1"),
        (format!(r#"holdfast_instance_state{{instance="{name}",state="BACKUP"}}"#), "0"),
        (format!(r#"holdfast_instance_last_transition_seconds{{instance="{name}"}}"#), "1795249500.000"),
        (format!(r#"holdfast_instance_advert_interval_seconds{{instance="{name}"}}"#), "0.010"),
        (format!(r#"holdfast_transitions_total{{instance="{name}",to="MASTER",cause="master_silent"}}"#), "2"),
        (format!(r#"holdfast_advert_errors_total{{instance="{name}",kind="checksum"}}"#), "3"),
        (format!(r#"holdfast_timers_late_seconds_total{{instance="{name}"}}"#), "1.250"),
        (r#"holdfast_instance_master_priority{instance="VI_2"}"#.to_owned(), "200"),
        (r#"holdfast_tracker_up{kind="script",name="chk"}"#.to_owned(), "1"),
        (r#"holdfast_tracker_value{kind="file",name="f"}"#.to_owned(), "-3"),
        (
            r#"holdfast_virtual_server_real_servers_up{virtual_server="[192.0.2.100]:tcp:80",protocol="tcp"}"#.into(),
            "1",
        ),
        (
            r#"holdfast_real_server_up{virtual_server="[192.0.2.100]:tcp:80",real_server="[2001:db8::7]:80"}"#.into(),
            "0",
        ),
        (
            r#"holdfast_virtual_server_received_bytes_total{virtual_server="[192.0.2.100]:tcp:443",protocol="tcp"}"#
                .into(),
            "7000",
        ),
        ("keepalived_up".to_owned(), "1"),
        (format!(r#"keepalived_vrrp_state{{iname="{name}",intf="eth0",vrid="51",ip_address="192.0.2.100/24"}}"#), "2"),
        (format!(r#"keepalived_vrrp_state{{iname="{name}",intf="eth1",vrid="51",ip_address="192.0.2.101"}}"#), "2"),
        (
            format!(
                r#"keepalived_vrrp_excluded_state{{iname="{name}",intf="eth0",vrid="51",ip_address="2001:db8::1"}}"#
            ),
            "2",
        ),
        (format!(r#"keepalived_advertisements_sent_total{{iname="{name}",intf="eth0",vrid="51"}}"#), "9"),
        (format!(r#"keepalived_gratuitous_arp_delay_total{{iname="{name}",intf="eth0",vrid="51"}}"#), "5"),
        (r#"keepalived_script_status{name="new"}"#.to_owned(), "0"),
        (
            format!(
                r#"keepalived_exporter_check_script_status{{iname="{name}",intf="eth1",vrid="51",ip_address="192.0.2.101"}}"#
            ),
            "1",
        ),
        (r#"keepalived_script_state{name="chk"}"#.to_owned(), "1"),
        (format!(r#"keepalived_vrrp_advert_sent{{name="{name}",intf="eth0",vrid="51",state="2"}}"#), "9"),
        (r#"keepalived_lvs_vip_conn{addr="192.0.2.100:443",proto="TCP"}"#.to_owned(), "7"),
        // Of both virtual servers.
        (r#"keepalived_lvs_rs_conn{addr="192.0.2.7:80",proto="TCP"}"#.to_owned(), "12"),
        (r#"keepalived_lvs_rs_in_bytes{addr="2001:db8::7:80",proto="TCP"}"#.to_owned(), "0"),
    ] {
        assert_eq!(all.get(&key).map(String::as_str), Some(value), "{key}\n{text}");
    }
    assert!(!text.contains(r#"holdfast_tracker_up{kind="script",name="new"}"#), "nobody knows");
}

#[test]
fn each_series_once_and_each_family_in_one_piece() {
    let text = render(&sample());
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(samples(&text).len(), lines.len(), "a series twice");
    let mut families = BTreeSet::new();
    let mut last = "";
    for line in lines {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        assert!(name == last || families.insert(name), "{name} is in two pieces");
        last = name;
        assert!(text.contains(&format!("# TYPE {name} ")) && text.contains(&format!("# HELP {name} ")), "{name}");
    }
}

/// Every name that dashboards made for the exporters ask for is there, with their types and labels, and no other is.
#[test]
fn both_exporters_names_are_served() {
    let text = render(&sample());
    let list = include_str!("exporters.txt").lines().filter(|line| !line.starts_with('#'));
    let listed: BTreeSet<String> = list.map(str::to_owned).collect();
    let shown = text.lines().filter_map(|line| line.strip_prefix("# TYPE keepalived_")).map(|line| {
        let sample = |name: &str| text.lines().find(|line| line.split(['{', ' ']).next() == Some(name)).expect("one");
        let (name, kind) = line.split_once(' ').expect("a type");
        let name = format!("keepalived_{name}");
        let labels = sample(&name).split_once('{').map_or("-".to_owned(), |(_, labels)| {
            let names = labels.split("\",").filter_map(|label| label.split_once("=\"")).map(|(name, _)| name);
            names.collect::<Vec<_>>().join(",")
        });
        format!("{name} {kind} {labels}")
    });
    let shown: BTreeSet<String> = shown.collect();
    assert_eq!(listed.symmetric_difference(&shown).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn a_daemon_that_has_nothing() {
    let text = render(&Status::default());
    assert!(text.contains("keepalived_up 1\n") && !text.contains("# TYPE keepalived_vrrp_state"), "{text}");
}

/// Prometheus's own parser and its lints, which both exporters' names fail and ours must not.
#[test]
#[allow(clippy::disallowed_methods, reason = "runs a program")]
fn prometheus_reads_it() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut promtool) = command.spawn() else {
        println!("skipped: needs promtool of the package prometheus");
        return;
    };
    let mut stdin = promtool.stdin.take().expect("piped");
    stdin.write_all(render(&sample()).as_bytes()).expect("it reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    // 0: well, 3: read, with remarks. What cannot be read is 1.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{said}");
    assert!(!said.contains("holdfast_"), "{said}");
}
