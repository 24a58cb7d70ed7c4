//! The whole program: a failover while nobody can be told, a reload while notices wait, and `holdfast notify test`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::common::needs_root;
use crate::receiver::{Mood, Receiver};
use crate::rig::{Make, Node, PATIENCE, Rig, reload, sh, wait_address, wait_line, wait_state, wait_until};
use crate::variant::Variant;

/// A FIFO that is full and that nobody reads, a mail server and a web service that take connections and say nothing: the
/// addresses move as if nobody had asked to be told, and the end comes when it was said to come.
#[test]
fn a_failover_goes_on_while_nobody_can_be_told() {
    needs_root!();
    let variant = Variant::V3;
    let globals = "global_defs {\nscript_user root\nnotify_fifo /tmp/full\nnotification_email {\nops@example.org\n}\n\
        smtp_server 10.9.0.11 2525\nsmtp_alert_vrrp\nsmtp_connect_timeout 30\n\
        notify_webhook silent {\nurl http://10.9.0.11:8080/\ntimeout 30\n}\n}\n";
    let a = globals.to_owned() + &variant.instance(0, 2, 100, "");
    let b = variant.instance(1, 2, 150, "");
    let mut rig = Rig::build(1, vec![Node::new("a", Make::Holdfast, a), Node::new("b", Make::Holdfast, b)]);
    let host = rig.node(0).host();
    let _mail = host.run(|| TcpListener::bind("10.9.0.11:2525").expect("a port"));
    let _web = host.run(|| TcpListener::bind("10.9.0.11:8080").expect("a port"));
    sh(rig.node(0), "mkfifo -m 0600 /tmp/full");
    let _full = host.run(|| {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/tmp/full").expect("a FIFO");
        let error = loop {
            if let Err(error) = file.write(&[b'\n'; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        file
    });
    rig.nodes[1].start().expect("it starts");
    wait_state(rig.node(1), "VI_1", "MASTER");
    rig.nodes[0].start().expect("it starts");
    wait_state(rig.node(0), "VI_1", "BACKUP");
    let wire = rig.wire();
    for round in 0..2 {
        let mark = wire.mark();
        rig.nodes[1].stop(PATIENCE).expect("it ends");
        wire.wait_priority(mark, "b", 0);
        wire.wait_priority(mark, "a", 100);
        wait_address(rig.node(0), "eth0", variant.vip(), true);
        if round == 0 {
            rig.nodes[1].start().expect("it starts");
            wait_address(rig.node(0), "eth0", variant.vip(), false);
            wait_address(rig.node(1), "eth0", variant.vip(), true);
        }
    }
    let mark = rig.node(0).log_mark();
    rig.nodes[0].stop(PATIENCE).expect("it ends in time");
    for target in ["e-mail", "webhook silent", "notify_fifo /tmp/full"] {
        wait_line(rig.node(0), mark, &format!("{target}: "));
    }
    wait_line(rig.node(0), mark, "notices could not be delivered in time and are given up");
    wait_address(rig.node(0), "eth0", variant.vip(), false);
}

/// What waits for a target that stays is sent after a reload, by its new rules; a target that comes hears of what is new;
/// `reassert` says who is master still.
#[test]
fn a_reload_changes_targets_and_loses_nothing_that_waits() {
    needs_root!();
    let variant = Variant::V3;
    let mut rig = Rig::build(1, vec![Node::new("a", Make::Holdfast, "")]);
    let host = rig.node(0).host();
    let listener = host.run(|| TcpListener::bind("10.9.0.11:0").expect("a port"));
    let ready = Arc::new(Mutex::new(false));
    let is_ready = ready.clone();
    let receiver = Receiver::on(listener, move |_, _| match *is_ready.lock().expect("not poisoned") {
        true => Mood::Status(200),
        false => Mood::Status(503),
    });
    let config = |header: &str, more: &str| {
        format!("global_defs {{\nnotify_webhook all {{\nurl http://{}/all\n{header}\n}}\n}}\n", receiver.address)
            + &variant.instance(0, 1, 100, &more.replace("ADDRESS", &receiver.address.to_string()))
    };
    rig.node(0).write_file(holdfast::lab::director::CONFIG.as_ref(), &config("", "")).expect("a file");
    rig.start_all();
    wait_state(rig.node(0), "VI_1", "MASTER");
    wait_line(rig.node(0), 0, "webhook all: the answer is status 503: will be tried again");
    let mark = rig.node(0).log_mark();
    reload(
        rig.node(0),
        &config("header X-New yes", "cloud_address move {\nurl \"http://ADDRESS/{{event}}\"\nreassert 1\n}\n"),
    );
    wait_line(rig.node(0), mark, "reload: ");
    *ready.lock().expect("not poisoned") = true;
    let told = |path: &str| -> Vec<String> {
        let requests = receiver.received().into_iter().filter(|request| request.path.starts_with(path));
        requests.map(|request| format!("{} {}", request.header("x-new"), request.body)).collect()
    };
    wait_until("both states", || told("/all").len() >= 2);
    let all = told("/all");
    assert!(all[0].starts_with("yes {") && all[0].contains("\"event\":\"BACKUP\""), "{all:?}");
    assert!(all[1].contains("\"event\":\"MASTER\""), "{all:?}");
    wait_until("still master, twice", || told("/STILL_MASTER").len() >= 2);
    let mark = rig.node(0).log_mark();
    rig.nodes[0].stop(PATIENCE).expect("it ends");
    wait_line(rig.node(0), mark, "webhook all counters");
    assert!(told("/all").iter().any(|line| line.contains("\"event\":\"STOP\"")), "drained at the end");
    assert_eq!(told("/all").len(), 3, "nobody asked to hear of masters again");
}

/// A service that takes nothing costs a line, not one for each event.
#[test]
fn a_receiver_that_refuses_everything_does_not_fill_the_log() {
    needs_root!();
    let mut rig = Rig::build(1, vec![Node::new("a", Make::Holdfast, "")]);
    let host = rig.node(0).host();
    let listener = host.run(|| TcpListener::bind("10.9.0.11:0").expect("a port"));
    let receiver = Receiver::on(listener, |_, _| Mood::Status(422));
    let config = format!("global_defs {{\nnotify_webhook all {{\nurl http://{}/\n}}\n}}\n", receiver.address)
        + &Variant::V3.instance(0, 1, 100, "");
    rig.node(0).write_file(holdfast::lab::director::CONFIG.as_ref(), &config).expect("a file");
    rig.start_all();
    wait_state(rig.node(0), "VI_1", "MASTER");
    rig.nodes[0].stop(PATIENCE).expect("it ends");
    let counted = wait_line(rig.node(0), 0, "webhook all counters");
    assert!(counted.contains("sent: 0") && counted.contains("failed: 3"), "{counted}");
    let log = rig.node(0).log();
    let said: Vec<_> = log.iter().filter(|line| line.text.contains("the answer is status 422: given up")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
}

#[test]
fn notify_test_says_what_came_back() {
    let receiver = Receiver::start(|_, request| match &*request.path {
        "/good" => Mood::Status(200),
        _ => Mood::Status(404),
    });
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("conf");
    let run = |names: &[&str]| {
        let hook = |name: &&str| format!("notify_webhook {name} {{\nurl http://{}/{name}\n}}\n", receiver.address);
        let hooks: String = names.iter().map(hook).collect();
        std::fs::write(&file, format!("global_defs {{\n{hooks}\nnotify_fifo /nowhere/fifo\n}}\n")).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        let output = command.args(["notify", "test"]).arg(&file).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = run(&["bad", "good"]);
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(
        text,
        "FAILED  webhook bad: the answer is status 404\nok      webhook good: the answer is status 200\n\
         ok      notify_fifo /nowhere/fifo: is made when the daemon starts\n"
    );
    assert_eq!(run(&["good"]).0, Some(0));
    let test = receiver.received().first().expect("one came").clone();
    assert!(test.body.contains("\"event\":\"TEST\""), "{}", test.body);
}
