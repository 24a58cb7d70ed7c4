//! What the commands do, seen from the wire, from a client and from the other node.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast::lab::client::Client;
use holdfast::lab::director::Director;
use holdfast::lab::host::Host;
use holdfast::lab::outage::Sample;
use holdfast::lab::server::Server;
use holdfast::status::model::{Event, ProcessState, State, Status};

use crate::common::needs_root;
use crate::kit::{NOBODY, PROGRAM, done, holdfast, run, spawn, status, wait_ready, wait_status};
use crate::rig::{Make, Node, PATIENCE, Rig, ip, read, reload, sh, wait_address, wait_line, wait_state, wait_until};
use crate::variant::{VRID, Variant};

const V: Variant = Variant::V3;

/// `a` (priority 150) is master of `b` (priority 100), with these lines in its instance.
fn pair(more: &str) -> Rig {
    let nodes = vec![
        Node::new("a", Make::Holdfast, V.instance(0, 2, 150, more)),
        Node::new("b", Make::Holdfast, V.instance(1, 2, 100, "")),
    ];
    let mut rig = Rig::build(1, nodes);
    rig.start_in_turn();
    wait_state(rig.node(1), "VI_1", "BACKUP");
    wait_address(rig.node(0), "eth0", V.vip(), true);
    rig
}

/// A client that asks every 5 ms, each time by a new connection, does not notice.
#[test]
fn a_failover_loses_no_request() {
    needs_root!();
    let mut rig = pair("nopreempt");
    let outside = Host::new("client").expect("a namespace");
    rig.plug(&outside, &[(ip("10.9.0.200"), 24)]);
    let servers: Vec<_> = (0..2).map(|n| Server::start(rig.node(n).host()).expect("a port")).collect();
    let samples: Arc<Mutex<Vec<Sample>>> = Arc::default();
    let sink = Arc::clone(&samples);
    let client = Client::start(&outside, V.vip(), move |sample| {
        sink.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    });
    let client = client.expect("a thread");
    let answers = |from: usize, node: &str| {
        let samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().skip(from).filter(|sample| sample.answer.as_deref() == Some(node)).count()
    };
    wait_until("a answers", || answers(0, "a") >= 20);
    let before = samples.lock().unwrap_or_else(PoisonError::into_inner).len();
    let told = done(rig.node(0), &["failover", "VI_1"]);
    assert!(told.contains("10.9.0.12 (priority 100) is master of VI_1 now"), "{told}");
    // Requests that went unanswered are known 200 ms after they began, which 100 answers take twice as long as.
    wait_until("b answers", || answers(before, "b") >= 100);
    drop(client);
    drop(servers);
    let samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
    let lost = samples.iter().skip(before).filter(|sample| sample.answer.is_none()).count();
    // The connection that is open in the very moment of the change ends at the other machine.
    assert!(lost <= 1, "{lost} of {} requests were lost", samples.len() - before);
    assert_eq!(rig.wire().owners(0, VRID), ["a", "b"]);
    let a = &status(rig.node(0)).instances[0];
    assert_eq!((a.state, &*a.cause.kind), (State::Backup, "failover"));
    assert_eq!(a.master.as_ref().map(|master| master.address), Some(ip("10.9.0.12")));
    // What makes no sense is said.
    let again = holdfast(rig.node(0), &["failover", "VI_1"]);
    assert_eq!((again.code, &*again.err), (1, "VI_1 is BACKUP, not MASTER\n"));
    let unknown = holdfast(rig.node(0), &["failover", "VI1"]);
    assert_eq!((unknown.code, &*unknown.err), (1, "there is no vrrp_instance VI1; did you mean VI_1?\n"));
}

#[test]
fn maintenance_is_refused_without_a_peer_outlives_restarts_and_ends_by_itself() {
    needs_root!();
    let mut rig = pair("");
    let (wire, file) = (rig.wire(), "/run/holdfast/maintenance.json");
    // `b` has been silent all the time: for all that `a` knows, nobody is there.
    let refused = holdfast(rig.node(0), &["maintenance", "on"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("nobody else was heard who could take over VI_1"), "{refused:?}");
    let order = ["maintenance", "on", "--for", "1h", "--reason", "new kernel", "--force"];
    assert!(done(rig.node(0), &order).contains("takes no part in elections until "));
    wait_state(rig.node(1), "VI_1", "MASTER");
    let shown = done(rig.node(0), &["status"]);
    assert!(shown.contains("MAINTENANCE since ") && shown.contains(", new kernel\n"), "{shown}");
    assert!(read(rig.node(0), file).contains("new kernel"));
    // A restart changes nothing, though `a` is the better one.
    let mark = wire.mark();
    let log = rig.node(0).log_mark();
    assert!(rig.nodes[0].stop(PATIENCE).is_some_and(|status| status.success()));
    rig.nodes[0].start().expect("it starts");
    wait_line(rig.node(0), log, "this node is in maintenance and takes no part in elections");
    wait_ready(rig.node(0));
    wait_status(rig.node(0), "a backup that hears b", |s| s.instances[0].master.is_some());
    wire.wait_adverts(wire.mark(), "b", 10);
    assert_eq!(wire.owners(mark, VRID), ["b"]);
    assert!(status(rig.node(0)).maintenance.on);
    assert!(done(rig.node(0), &["maintenance", "off"]).contains("takes part in elections again"));
    // By a thread of its own: a disk that hangs holds up no answer.
    wait_until("the record is removed", || read(rig.node(0), file).is_empty());
    wait_state(rig.node(0), "VI_1", "MASTER");
    wait_state(rig.node(1), "VI_1", "BACKUP");
    // Now `b` has been heard. It ends when its time is over.
    let mark = wire.mark();
    wire.wait_master(mark, "a");
    done(rig.node(0), &["maintenance", "on", "--for", "2s"]);
    wire.wait_master(mark, "b");
    wait_line(rig.node(0), log, "maintenance has ended by itself");
    let ended = wire.mark();
    wait_status(rig.node(0), "out of maintenance", |s| !s.maintenance.on);
    wait_state(rig.node(0), "VI_1", "MASTER");
    wire.wait_master(ended, "a");
    assert_eq!(wire.owners(mark, VRID), ["a", "b", "a"]);
    // And when that time is over while no daemon runs.
    assert!(rig.nodes[0].stop(PATIENCE).is_some_and(|status| status.success()));
    let record = r#"{"since":"2026-01-01T00:00:00.000Z","until":"2026-01-01T01:00:00.000Z"}"#;
    rig.node(0).write_file(Path::new(file), record).expect("a private file");
    let log = rig.node(0).log_mark();
    rig.nodes[0].start().expect("it starts");
    wait_line(rig.node(0), log, "maintenance ended while the daemon was not running");
    wait_state(rig.node(0), "VI_1", "MASTER");
    assert_eq!(read(rig.node(0), file), "");
}

const BALANCER: &str = "
virtual_server 127.0.0.1 8080 {
    lb_kind PROXY
    protocol TCP
    real_server 127.0.0.7 80 { weight 3 }
    real_server 127.0.0.8 80 { weight 3 }
}
virtual_server 127.0.0.1 8443 {
    lb_kind PROXY
    protocol TCP
    real_server 127.0.0.7 80 { weight 3 }
}
";

/// Weight in the data plane and what an operator said, of every real server.
fn weights(status: &Status) -> Vec<(Option<u32>, &str)> {
    let servers = status.virtual_servers.iter().flat_map(|server| &server.real_servers);
    servers.map(|real| (real.table_weight, &*real.admin)).collect()
}

#[test]
fn a_real_server_is_drained_and_comes_back() {
    needs_root!();
    let mut rig = Rig::build(1, vec![Node::new("a", Make::Holdfast, BALANCER)]);
    rig.start_all();
    let a = rig.node(0);
    wait_ready(a);
    let wait = |a: &Director, what: &str, wanted: [(Option<u32>, &str); 3]| {
        wait_status(a, what, |status| weights(status) == wanted);
    };
    let up = (Some(3), "up");
    wait(a, "all up", [up, up, up]);
    let told = done(a, &["drain", "127.0.0.7:80", "--virtual-server", "127.0.0.1:8443"]);
    assert_eq!(told, "127.0.0.7:80 of [127.0.0.1]:tcp:8443 takes no new connections; those that there are go on\n");
    wait(a, "one drains", [up, up, (Some(0), "drain")]);
    assert_eq!(done(a, &["maint", "127.0.0.7"]).lines().count(), 2, "of both");
    wait_status(a, "both are out", |s| weights(s).iter().filter(|(_, admin)| *admin == "maint").count() == 2);
    // It outlives a reload, and the balancer process.
    reload(a, &BALANCER.replace("8.0.0.1 80 { weight 3 }", "8.0.0.1 80 { weight 2 }"));
    wait_status(a, "reloaded", |s| s.daemon.reloads.succeeded == 1);
    let pid = status(a).daemon.processes.iter().find(|p| p.name == "balancer").and_then(|p| p.pid).expect("it runs");
    sh(a, &format!("kill -KILL {pid}"));
    let is_new = |s: &Status| {
        s.daemon.processes.iter().any(|p| p.name == "balancer" && p.restarts == 1 && p.state == ProcessState::Running)
    };
    let after = wait_status(a, "another balancer process", is_new);
    assert_eq!(weights(&after).iter().filter(|(_, admin)| *admin == "maint").count(), 2, "{after:#?}");
    // And the daemon.
    let log = a.log_mark();
    assert!(rig.nodes[0].stop(PATIENCE).is_some_and(|status| status.success()));
    rig.nodes[0].start().expect("it starts");
    let a = rig.node(0);
    wait_line(a, log, "127.0.0.7:80 of [127.0.0.1]:tcp:8443: maint, as an operator said before the restart");
    wait_ready(a);
    wait_status(a, "still out", |s| weights(s).iter().filter(|(_, admin)| *admin == "maint").count() == 2);
    done(a, &["enable", "127.0.0.7"]);
    wait(a, "all up again", [up, up, up]);
    for (arguments, wanted) in [
        (&["drain", "127.0.0.9:80"][..], "there is no real_server 127.0.0.9:80; did you mean 127.0.0."),
        (&["drain", "127.0.0.8:80", "--virtual-server", "127.0.0.1:8443"], "there is no real_server 127.0.0.8:80 of"),
        (&["maint", "127.0.0.8:80", "--virtual-server", "web"], "there is no virtual_server web"),
    ] {
        let said = holdfast(a, arguments);
        assert_eq!(said.code, 1);
        assert!(said.err.starts_with(wanted), "{arguments:?}: {said:?}");
    }
}

/// A child that stands still is shown as that, and holds nobody up.
#[test]
fn a_process_that_stands_still_is_said_so() {
    needs_root!();
    let mut rig = Rig::build(1, vec![Node::new("a", Make::Holdfast, BALANCER)]);
    rig.start_all();
    let a = rig.node(0);
    wait_ready(a);
    let running =
        |s: &Status| s.daemon.processes.iter().any(|p| p.name == "balancer" && p.state == ProcessState::Running);
    let before = wait_status(a, "the balancer runs", running);
    let pid = before.daemon.processes.iter().find(|p| p.name == "balancer").and_then(|p| p.pid).expect("it runs");
    sh(a, &format!("kill -STOP {pid}"));
    for _ in 0..3 {
        let stuck = status(a);
        assert!(stuck.remarks.iter().any(|r| r == "the balancer process did not answer in time"), "{stuck:#?}");
        assert_eq!(weights(&stuck), [(None, "up"); 3], "what nobody knows is not shown");
    }
    sh(a, &format!("kill -CONT {pid}"));
    wait_status(a, "the balancer answers again", |s| s.remarks.is_empty() && running(s));
}

#[test]
fn events_are_followed_with_their_causes() {
    needs_root!();
    let rig = pair("nopreempt");
    let mut follower = spawn(rig.node(0), &[PROGRAM, "events", "--follow", "--json"]);
    let lines = BufReader::new(follower.stdout.take().expect("piped")).lines();
    let mut events = lines.map(|line| serde_json::from_str::<Event>(&line.expect("a line")).expect("an event"));
    let first = events.next().expect("the history comes first");
    assert_eq!((first.sequence, &*first.kind), (1, "started"));
    done(rig.node(0), &["failover", "VI_1"]);
    let mut last = 1;
    let changed = events.find(|event| {
        last += 1;
        assert_eq!(event.sequence, last, "no gaps");
        event.kind == "state_changed"
            && event.to.as_deref() == Some("BACKUP")
            && event.from.as_deref() == Some("MASTER")
    });
    let changed = changed.expect("the daemon runs");
    assert_eq!(changed.text, "VI_1: MASTER → BACKUP: told to hand over");
    assert_eq!(changed.cause.map(|cause| cause.kind).as_deref(), Some("failover"));
    follower.signal(nix::sys::signal::Signal::SIGTERM);
    let text = done(rig.node(0), &["events"]);
    assert!(text.contains("VI_1: MASTER → BACKUP: told to hand over"), "{text}");
    let none = done(rig.node(0), &["events", "--after", &status(rig.node(0)).daemon.last_event.to_string()]);
    assert_eq!(none, "");
}

#[test]
fn reload_and_stop_say_what_came_of_them() {
    needs_root!();
    let mut rig = Rig::build(1, vec![Node::new("a", Make::Holdfast, V.instance(0, 1, 150, ""))]);
    rig.start_all();
    let a = rig.node(0);
    wait_state(a, "VI_1", "MASTER");
    assert!(done(a, &["reload"]).starts_with("reload: 0 changed, 0 added, 0 removed, 1 unchanged"));
    let file = Path::new(holdfast::lab::director::CONFIG);
    a.write_file(file, &V.instance(0, 1, 150, "frobnicate 1")).expect("a private file");
    let refused = holdfast(a, &["reload"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("/etc/keepalived/keepalived.conf:") && refused.err.contains("frobnicate"),
        "{refused:?}"
    );
    let reloads = status(a).daemon.reloads;
    assert_eq!((reloads.succeeded, reloads.refused), (1, 1));
    assert!(reloads.last_result.is_some_and(|result| result.contains("nothing changed")));
    assert_eq!(done(a, &["stop"]), "stopped\n");
    assert!(rig.nodes[0].wait_exit(PATIENCE).is_some_and(|status| status.success()));
    let gone = holdfast(rig.node(0), &["status"]);
    assert_eq!(gone.code, 3);
    assert!(gone.err.contains("not running: nobody listens at /run/holdfast/status.sock"), "{gone:?}");
}

#[test]
fn everybody_may_look_and_the_group_may_act() {
    needs_root!();
    let config = |group: &str| format!("global_defs {{\n{group}\n}}\n{}", V.instance(0, 1, 150, ""));
    let mut rig = Rig::build(1, vec![Node::new("a", Make::Holdfast, config(""))]);
    rig.start_all();
    wait_state(rig.node(0), "VI_1", "MASTER");
    let nobody = |rig: &Rig, arguments: &[&str]| run(rig.node(0), &[&NOBODY[..], &[PROGRAM], arguments].concat());
    assert_eq!(nobody(&rig, &["status"]).code, 0);
    let refused = nobody(&rig, &["reload"]);
    assert_eq!(refused.code, 4);
    assert!(refused.err.contains("not permitted: /run/holdfast/admin.sock"), "{refused:?}");
    // Also where the file's mode lets everybody connect.
    sh(rig.node(0), "chmod 666 /run/holdfast/admin.sock");
    for command in [&["reload"][..], &["stop"], &["failover", "VI_1"], &["maintenance", "on", "--force"]] {
        let refused = nobody(&rig, command);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.err.contains("uid 65534") && refused.err.contains("may not give commands"), "{refused:?}");
    }
    let now = status(rig.node(0));
    assert_eq!((now.daemon.reloads.succeeded, now.maintenance.on), (0, false));
    assert!(rig.nodes[0].stop(PATIENCE).is_some_and(|status| status.success()));
    rig.node(0)
        .write_file(Path::new(holdfast::lab::director::CONFIG), &config("control_group nogroup"))
        .expect("a file");
    rig.nodes[0].start().expect("it starts");
    wait_ready(rig.node(0));
    assert_eq!(nobody(&rig, &["reload"]).code, 0, "a member of the group");
}
