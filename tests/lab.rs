//! `holdfast lab` end to end: a table comes out, and nothing is left behind, also after Ctrl-C and SIGKILL.
//!
//! Needs root; without it each test says that it was skipped.

#![allow(clippy::disallowed_methods)] // Waits in real time.

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use holdfast::lab::director::{Daemon, Director};
use holdfast::lab::frame::Meaning;
use holdfast::lab::host::Host;
use holdfast::lab::lan::{Lan, addresses};
use holdfast::lab::sniffer::Sniffer;

use common::{KEEPALIVED, keepalived, root};

const HOLDFAST: &str = env!("CARGO_BIN_EXE_holdfast");

/// A pair with intervals long enough that a busy machine makes no second master. The VRID marks the files of one test.
fn quick_pair(directory: &Path) -> Vec<String> {
    let mut args = Vec::new();
    for (name, priority) in [("one", 150), ("two", 100)] {
        let path = directory.join(format!("{name}.conf"));
        let text = format!(
            "vrrp_instance VI_1 {{\n    interface quick0\n    version 3\n    virtual_router_id 77\n    priority {priority}\n    \
             advert_int 1\n    virtual_ipaddress {{\n        10.77.0.1/24\n    }}\n    notify \"/bin/touch {}/notified\"\n}}\n",
            directory.display()
        );
        std::fs::write(&path, text).expect("a temporary file can be written");
        args.extend(["--node".to_owned(), path.display().to_string()]);
    }
    args
}

/// What a lab could leave behind outside its namespaces.
#[derive(Debug, PartialEq, Eq)]
struct Outside {
    mounts: String,
    interfaces: BTreeSet<PathBuf>,
    run_files: BTreeSet<PathBuf>,
}

fn outside() -> Outside {
    let list = |directory: &str| {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    Outside {
        mounts: std::fs::read_to_string("/proc/self/mounts").expect("proc is mounted"),
        interfaces: list("/sys/class/net"),
        run_files: list("/run"),
    }
}

/// The network namespaces that the lab's threads are in, but for our own.
fn namespaces_of(lab: &Child) -> BTreeSet<PathBuf> {
    let ours = std::fs::read_link("/proc/self/ns/net").expect("proc is mounted");
    let tasks = std::fs::read_dir(format!("/proc/{}/task", lab.id())).into_iter().flatten().flatten();
    let spaces = tasks.filter_map(|task| std::fs::read_link(task.path().join("ns/net")).ok());
    spaces.filter(|space| *space != ours).collect()
}

fn processes_in(namespaces: &BTreeSet<PathBuf>) -> Vec<String> {
    let all = std::fs::read_dir("/proc").expect("proc is mounted").flatten();
    let inside = all.filter(|process| {
        std::fs::read_link(process.path().join("ns/net")).is_ok_and(|space| namespaces.contains(&space))
    });
    inside
        .map(|process| {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            format!("{} {}", process.file_name().display(), name.trim())
        })
        .collect()
}

/// Waits until no process is left in these namespaces: then the kernel removes them and their mounts.
fn wait_until_gone(namespaces: &BTreeSet<PathBuf>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let left = processes_in(namespaces);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still there: {left:?}");
        std::thread::yield_now();
    }
}

fn wait(lab: &mut Child, timeout: Duration) -> ExitStatus {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = lab.try_wait().expect("a child can be waited for") {
            return status;
        }
        assert!(Instant::now() < deadline, "the lab has not ended after {timeout:?}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A lab whose timeline has come to the first mastership; the namespaces it has then.
fn lab_with_a_master(args: &[String]) -> (Child, BTreeSet<PathBuf>, BufReader<std::process::ChildStdout>) {
    let mut lab = Command::new(HOLDFAST)
        .arg("lab")
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary under test starts");
    let mut timeline = BufReader::new(lab.stdout.take().expect("piped"));
    let mut seen = String::new();
    while !seen.contains("VI_1 is MASTER") {
        let read = timeline.read_line(&mut seen).expect("the timeline is text");
        assert_ne!(read, 0, "the lab ended before there was a master:\n{seen}");
    }
    let namespaces = namespaces_of(&lab);
    // A client, two directors, a switch.
    assert_eq!(namespaces.len(), 4, "{namespaces:?}");
    assert!(processes_in(&namespaces).len() >= 4, "two daemons and two inits at least");
    (lab, namespaces, timeline)
}

fn rehearses(daemon: &[&str]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let before = outside();
    let mut args = quick_pair(directory.path());
    args.extend(daemon.iter().map(|arg| (*arg).to_owned()));
    args.push("--json".to_owned());
    let output = Command::new(HOLDFAST).arg("lab").args(&args).output().expect("the binary under test starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {errors}"));
    let rows = report["rows"].as_array().expect("rows");
    let what: Vec<_> = rows.iter().map(|row| row["what"].as_str().expect("text")).collect();
    let expected = ["crash", "boots again", "clean stop", "starts again", "link cut", "link mended", "reload"];
    assert_eq!(what, expected, "{errors}");
    for row in rows {
        assert_eq!(row["settled"], true, "{row}\n{errors}");
        let after_fault = ["crash", "clean stop", "link cut"].contains(&row["what"].as_str().expect("text"));
        assert_eq!(row["master"], if after_fault { "two" } else { "one" }, "{row}\n{errors}");
        let (outage, bound) = (row["outage_ms"].as_f64().expect("ms"), row["bound_ms"].as_f64().expect("ms"));
        // Generous: what is tested here is the lab, on a machine that may be busy with other tests.
        assert!(outage <= bound + 10_000.0, "{row}\n{errors}");
    }
    let crash = rows.first().expect("rows");
    // 3 × 1 s + (256 - 100) / 256 × 1 s; an outage well below would mean that nothing was broken.
    assert!((crash["bound_ms"].as_f64().expect("ms") - 3609.375).abs() < 0.01, "{crash}");
    assert!(crash["outage_ms"].as_f64().expect("ms") > 1500.0, "{crash}");
    if daemon.is_empty() {
        named_causes(rows, &errors);
    }
    assert!(!directory.path().join("notified").exists(), "notify scripts are off, and /tmp is private");
    assert_eq!(outside(), before);
}

/// What the log of the new master and `holdfast why` on each node name as the cause of each fault.
fn named_causes(rows: &[serde_json::Value], errors: &str) {
    let preempts = "preempting 10.77.0.202 (priority 100) with priority 150";
    let better = "10.77.0.201 (priority 150) is better than ours, 100";
    let expected: [(&str, &[(&str, &str)]); 7] = [
        ("crash", &[("two", "no advert from 10.77.0.201 (priority 150) for ")]),
        ("boots again", &[("one", preempts), ("two", better)]),
        ("clean stop", &[("one", "stopping"), ("two", "10.77.0.201 resigned with priority 0")]),
        ("starts again", &[("one", preempts), ("two", better)]),
        ("link cut", &[("one", "interface quick0 is down"), ("two", "no advert from 10.77.0.201 (priority 150) for ")]),
        ("link mended", &[("one", preempts), ("two", better)]),
        ("reload", &[]),
    ];
    for (row, (what, causes)) in rows.iter().zip(expected) {
        assert_eq!(row["what"], what);
        for (node, cause) in causes {
            let named = row["why"][node].as_str().unwrap_or_default();
            assert!(named.starts_with(cause), "{what}: {node} names “{named}”, not “{cause}”\n{row}\n{errors}");
        }
        if let Some((_, cause)) = causes.last() {
            let logged = row["cause"].as_str().unwrap_or_default();
            let master = row["master"].as_str().unwrap_or_default();
            let of_master = causes.iter().find(|(node, _)| *node == master).map_or(*cause, |(_, cause)| *cause);
            assert!(logged.starts_with(of_master), "{what}: {row}");
        } else {
            assert_eq!(row["why"], serde_json::json!({}), "{what}: {row}");
        }
    }
}

/// An example's rehearsal of these faults: its rows by what was done, each with the cause that each node names.
fn named_in(example: &str, faults: &str, expected: &[(&str, &[(&str, &str)])], evidence: &str) {
    let mut command = Command::new(HOLDFAST);
    let output = command.args(["lab", example, "--json", "--faults", faults]).output().expect("starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {errors}"));
    let rows = report["rows"].as_array().expect("rows");
    let what: Vec<_> = rows.iter().map(|row| row["what"].as_str().expect("text")).collect();
    assert_eq!(what, expected.iter().map(|(what, _)| *what).collect::<Vec<_>>(), "{rows:?}\n{errors}");
    for (row, (what, causes)) in rows.iter().zip(expected) {
        assert_eq!(row["settled"], true, "{row}\n{errors}");
        for (node, cause) in *causes {
            let named = row["why"][node].as_str().unwrap_or_default();
            assert!(named.starts_with(cause), "{what}: {node} names “{named}”, not “{cause}”\n{row}");
        }
    }
    // What led to it is shown below the change, on the node that was broken.
    let timeline = report["timeline"].as_array().expect("a timeline");
    let shown = |entry: &serde_json::Value| {
        let what = entry["what"].as_str().unwrap_or_default();
        entry["who"] == "node-a" && what.contains(" ms before: ") && what.ends_with(evidence)
    };
    assert!(timeline.iter().any(shown), "no “{evidence}” in {timeline:#?}");
}

#[test]
fn names_the_maintenance_file() {
    if !root() {
        return;
    }
    // 100 - 60 is below 90.
    let causes: [(&str, &[(&str, &str)]); 2] = [
        (
            "maintenance file",
            &[
                ("node-a", "192.168.20.202 (priority 90) is better than ours, 40"),
                ("node-b", "preempting 192.168.20.201 (priority 40) with priority 90"),
            ],
        ),
        (
            "file removed",
            &[
                ("node-a", "preempting 192.168.20.202 (priority 90) with priority 100"),
                ("node-b", "192.168.20.201 (priority 100) is better than ours, 90"),
            ],
        ),
    ];
    named_in("maintenance-file", "maintenance", &causes, "script chk_maintenance is down");
}

#[test]
fn names_the_service_that_a_script_asks() {
    if !root() {
        return;
    }
    let causes: [(&str, &[(&str, &str)]); 2] = [
        (
            "service down",
            &[("node-a", "tracked script chk_web failed"), ("node-b", "192.168.30.201 resigned with priority 0")],
        ),
        // With nopreempt nobody else changes its state.
        ("service up", &[("node-a", "the fault has ended")]),
    ];
    named_in("nginx-pair", "service", &causes, "script chk_web is down");
}

#[test]
fn rehearses_this_daemon() {
    if root() {
        rehearses(&[]);
    }
}

#[test]
fn rehearses_keepalived() {
    if root() && keepalived() {
        rehearses(&["--daemon", KEEPALIVED]);
    }
}

#[test]
fn prints_a_timeline_and_a_table() {
    if !root() {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let args = quick_pair(directory.path());
    let output = Command::new(HOLDFAST).arg("lab").args(&args).args(["--faults", "stop"]).output().expect("starts");
    let text = String::from_utf8_lossy(&output.stdout);
    for expected in ["SIGTERM to the daemon of one", "two       VI_1 is MASTER", "RFC bound ms", "clean stop     one"] {
        assert!(text.contains(expected), "no “{expected}” in:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn signals_end_it_and_clean_up() {
    if root() {
        ends_by_signals(&[]);
    }
}

#[test]
fn signals_end_it_and_clean_up_after_keepalived() {
    if root() && keepalived() {
        ends_by_signals(&["--daemon", KEEPALIVED]);
    }
}

fn ends_by_signals(daemon: &[&str]) {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let before = outside();
        let mut args = quick_pair(directory.path());
        args.extend(daemon.iter().map(|arg| (*arg).to_owned()));
        let (mut lab, namespaces, mut timeline) = lab_with_a_master(&args);
        kill(Pid::from_raw(i32::try_from(lab.id()).expect("a pid")), signal).expect("it is alive");
        // Its output is read on, so that it does not wait for a reader.
        let mut rest = String::new();
        let _ = timeline.read_to_string(&mut rest);
        let status = wait(&mut lab, Duration::from_secs(60));
        if signal != Signal::SIGKILL {
            assert_eq!(status.code(), Some(130), "{signal}");
            assert_eq!(processes_in(&namespaces), Vec::<String>::new(), "after {signal}");
        }
        wait_until_gone(&namespaces);
        assert_eq!(outside(), before, "after {signal}");
    }
}

#[test]
fn says_what_is_wrong() {
    let run = |args: &[&str]| {
        let output = Command::new(HOLDFAST).arg("lab").args(args).output().expect("starts");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let unknown = run(&["no-such-example"]);
    assert!(unknown.contains("two-directors"), "lists what there is: {unknown}");
    let missing = run(&["--node", "/nonexistent/a.conf", "--node", "/nonexistent/b.conf"]);
    assert!(missing.contains("/nonexistent/a.conf"), "{missing}");
    if root() {
        let broken = tempfile::tempdir().expect("a temporary directory");
        for name in ["a.conf", "b.conf"] {
            std::fs::write(broken.path().join(name), "global_defs {\n}\n").expect("can be written");
        }
        let empty = run(&[&broken.path().display().to_string()]);
        assert!(empty.contains("no virtual address"), "{empty}");
    }
}

/// The parts by themselves, as other tests use them: two directors on a switch, a capture, a partition and its healing.
#[test]
fn a_partition_makes_two_masters_and_healing_makes_one() {
    if !root() || !keepalived() {
        return;
    }
    let patience = Duration::from_secs(60);
    let mut lan = Lan::new("lan").expect("a namespace");
    let mut directors = Vec::new();
    for (n, name) in ["red", "blue"].into_iter().enumerate() {
        let config = format!(
            "vrrp_instance VI_1 {{\ninterface eth7\nversion 3\nvirtual_router_id 7\npriority {}\nadvert_int 1\n\
             virtual_ipaddress {{\n10.7.0.1/24\n}}\n}}\n",
            200 - 50 * n
        );
        let host = Host::new(name).expect("a namespace");
        let address = format!("10.7.0.{}", 11 + n).parse().expect("an address");
        lan.plug(&host, "eth7", &[(address, 24)]).expect("a cable");
        let daemon = Daemon { program: KEEPALIVED.into(), options: Vec::new() };
        directors.push(Director::new(host, daemon, &config, Vec::new()).expect("private mounts"));
    }
    lan.wait_ready().expect("ports forward");
    let (frames, captured) = std::sync::mpsc::channel();
    let sniffer = Sniffer::start(&lan, move |frame| drop(frames.send(frame))).expect("a packet socket");
    for director in &mut directors {
        lan.wait_host_ready(director.host(), "eth7").expect("links are up");
        director.start().expect("keepalived starts");
    }
    let [red, blue] = &mut directors[..] else { panic!("two directors") };
    let vip = "10.7.0.1".parse().expect("an address");

    red.wait_for("VI_1", "MASTER", patience).expect("the higher priority");
    blue.wait_for("VI_1", "BACKUP", patience).expect("the lower one");
    lan.partition("red", "eth7").expect("a port");
    blue.wait_for("VI_1", "MASTER", patience).expect("hears nobody");
    assert_eq!(red.state("VI_1").as_deref(), Some("MASTER"), "the carrier stayed");
    lan.heal("red", "eth7").expect("a port");
    blue.wait_for("VI_1", "BACKUP", patience).expect("hears the better one");

    // Without power the daemon is gone at once, but not what it did to the interface: that is what links are cut for.
    red.kill_all();
    assert!(!red.is_running());
    assert!(addresses(red.host(), "eth7").expect("netlink").contains(&vip));
    blue.wait_for("VI_1", "MASTER", patience).expect("the last one");
    assert!(blue.stop(patience).expect("it ends").success());
    assert!(!addresses(blue.host(), "eth7").expect("netlink").contains(&vip));

    drop(sniffer);
    let frames: Vec<_> = captured.iter().collect();
    let adverts = |name: &str, priority: u8| {
        let sent = frames.iter().filter(|frame| frame.host == name);
        sent.filter(|frame| matches!(&frame.meaning, Meaning::Advert(advert) if advert.priority == priority)).count()
    };
    let counts = (adverts("red", 200), adverts("blue", 150));
    assert!(counts.0 >= 2 && counts.1 >= 2, "blue was master twice: {counts:?}");
    assert_eq!((adverts("red", 0), adverts("blue", 0)), (0, 1), "last words after SIGTERM, none after SIGKILL");
    assert!(frames.iter().any(|f| f.host == "blue" && matches!(f.meaning, Meaning::GratuitousArp { .. })));
    assert!(frames.windows(2).all(|pair| pair[0].at <= pair[1].at), "in the order of the wire");
}
