//! Stories of a pair whose first node is Holdfast and whose second is either make.
#![allow(dead_code, missing_docs)] // Each test binary uses a part.

use std::time::Duration;

use holdfast::lab::director::Director;
use nix::sys::signal::Signal;

use crate::common::skipped;
use crate::rig::{
    Make, Node, PATIENCE, Rig, advert, announced, holds, logged, reload, sh, vrrp_pid, wait_address, wait_line,
    wait_state, wait_until,
};
use crate::variant::{VRID, Variant};

/// Anything may be this much later than the protocol wants it: a busy machine is no reason to fail.
const SLACK: Duration = Duration::from_secs(15);
/// The two ends of an interval are not seen by the same clock.
const EARLY: Duration = Duration::from_millis(3);

/// `a` (Holdfast, priority 150) is master of `b` (priority 100), with these lines in its instance.
fn pair(variant: Variant, peer: Make, more: &str) -> Rig {
    let nodes = vec![
        Node::new("a", Make::Holdfast, variant.instance(0, 2, 150, more)),
        Node::new("b", peer, variant.instance(1, 2, 100, "")),
    ];
    let mut rig = Rig::build(1, nodes);
    rig.start_in_turn();
    settled(&rig, variant);
    rig
}

/// The same with an advert every ten seconds: a successor of the master's process that is to be there before the next one
/// has time enough on the slowest machine.
fn slow_pair(variant: Variant, peer: Make) -> Rig {
    let slow = |config: String| config.replace("advert_int 1\n", "advert_int 10\n");
    let nodes = vec![
        Node::new("a", Make::Holdfast, slow(variant.instance(0, 2, 150, "state MASTER"))),
        Node::new("b", peer, slow(variant.instance(1, 2, 100, ""))),
    ];
    let mut rig = Rig::build(1, nodes);
    rig.start_in_turn();
    wait_state(rig.node(1), "VI_1", "BACKUP");
    wait_address(rig.node(0), "eth0", variant.vip(), true);
    rig.wire().wait_adverts(rig.wire().mark(), "a", 1);
    rig
}

/// Waits until `a` is master and `b` backup, and some adverts have passed.
fn settled(rig: &Rig, variant: Variant) {
    wait_state(rig.node(0), "VI_1", "MASTER");
    wait_state(rig.node(1), "VI_1", "BACKUP");
    wait_address(rig.node(0), "eth0", variant.vip(), true);
    rig.wire().wait_adverts(rig.wire().mark(), "a", 2);
}

/// The vrrp process alone is killed: its successor goes on where it was, before anybody misses an advert.
pub fn killed_vrrp(peer: Make) {
    let variant = Variant::V2;
    let rig = slow_pair(variant, peer);
    let (wire, a, b) = (rig.wire(), rig.node(0), rig.node(1));
    let (mark, log) = (wire.mark(), a.log_mark());
    let killed = vrrp_pid(a);
    sh(a, &format!("kill -KILL {killed}"));
    wait_line(a, log, "restarting the vrrp process at once");
    let adopted = wait_line(a, log, "Entering MASTER STATE");
    assert!(adopted.contains("restarted within its own advert deadline"), "{adopted}");
    assert_ne!(vrrp_pid(a), killed);
    let adverts = wire.wait_adverts(mark, "a", 2);
    assert!(adverts.iter().all(|frame| advert(frame).is_some_and(|advert| advert.priority == 150)), "no resignation");
    assert_eq!(wire.owners(0, VRID), ["a"]);
    assert!(holds(a, "eth0", variant.vip()));
    assert!(!logged(b, "Entering MASTER"));
}

/// The main process alone is killed: its child hands over in good order and ends.
pub fn killed_main(peer: Make) {
    let variant = Variant::V3;
    let rig = pair(variant, peer, "");
    let (wire, a) = (rig.wire(), rig.node(0));
    let mark = wire.mark();
    let child = vrrp_pid(a);
    a.signal(Signal::SIGKILL);
    let resigned = wire.wait_priority(mark, "a", 0);
    let takeover = wire.wait_priority(mark, "b", 100);
    let wait = takeover.at - resigned.at;
    let due = variant.skew(100);
    assert!(wait + EARLY >= due && wait <= due + SLACK, "took over after {wait:?}, due after {due:?}");
    wait_address(a, "eth0", variant.vip(), false);
    wait_address(rig.node(1), "eth0", variant.vip(), true);
    wait_until("the vrrp process ends", || sh(a, &format!("kill -0 {child} 2>/dev/null || echo gone")) == "gone\n");
    assert_eq!(wire.owners(0, VRID), ["a", "b"]);
}

/// What keeps a vrrp process from its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldUp {
    /// SIGSTOP.
    Stopped,
    /// An endless loop, on a CPU of its own.
    Spinning,
}

/// A vrrp process that does not come back to its loop cannot let go: main does it for it, and the peer is never the second
/// owner for long.
pub fn held_up_vrrp(peer: Make, how: HeldUp) {
    let variant = Variant::V2;
    // Without preemption what comes of it stays.
    let mut rig = pair(variant, peer, "nopreempt");
    let (wire, a, b) = (rig.wire(), rig.node(0), rig.node(1));
    let (mark, log) = (wire.mark(), a.log_mark());
    let held_up = vrrp_pid(a);
    match how {
        HeldUp::Stopped => drop(sh(a, &format!("kill -STOP {held_up}"))),
        HeldUp::Spinning if !spin(a, &held_up) => return,
        HeldUp::Spinning => {}
    }
    wait_line(a, log, "killed, its addresses are removed");
    wait_line(a, log, "Entering BACKUP STATE");
    wait_until("another process", || vrrp_pid(a) != held_up);
    wire.wait_priority(mark, "b", 100);
    wait_address(a, "eth0", variant.vip(), false);
    wait_address(b, "eth0", variant.vip(), true);
    // The new process is good for something.
    let mark = wire.mark();
    rig.nodes[1].stop(PATIENCE).expect("it ends");
    wire.wait_priority(mark, "a", 150);
    wait_state(rig.node(0), "VI_1", "MASTER");
    wait_address(rig.node(0), "eth0", variant.vip(), true);
    wire.wait_adverts(mark, "a", 3);
    assert_eq!(wire.owners(0, VRID), ["a", "b", "a"]);
}

/// Has the process run in a circle from now on: where its system call returns to there is then a jump to itself. `false`,
/// with a word, where that cannot be done.
fn spin(node: &Director, pid: &str) -> bool {
    let jump: &'static [u8] = match std::env::consts::ARCH {
        "x86_64" => &[0xeb, 0xfe],
        "aarch64" => &[0, 0, 0, 0x14],
        other => {
            skipped(&format!("a jump to itself is not known of {other}"));
            return false;
        }
    };
    // As the node numbers its processes, and they have a /proc of their own.
    let inside = format!("cat /proc/{pid}/syscall");
    let mut written = false;
    wait_until("the loop waits in a system call", || {
        let told = sh(node, &inside);
        let Some(counter) = told.split_whitespace().last().and_then(|word| word.strip_prefix("0x")) else {
            return false;
        };
        let counter = u64::from_str_radix(counter, 16).expect("hexadecimal");
        let escaped: String = jump.iter().map(|byte| format!("\\{byte:03o}")).collect();
        let write =
            format!("printf '{escaped}' | dd of=/proc/{pid}/mem bs=1 seek={counter} conv=notrunc 2>&1 || echo no");
        let told = sh(node, &write);
        written = !told.ends_with("no\n");
        if !written {
            skipped(&format!("needs write access to the memory of a process: {told}"));
        }
        true
    });
    written
}

/// All processes of a daemon, main and its children.
fn signal_all(node: &Director, signal: &str) {
    sh(node, &format!("kill -{signal} $(cat /run/lab-main.pid /run/lab-vrrp.pid)"));
}

/// A backup that was frozen for longer than its master-down interval, main with it, hears first and judges then.
pub fn frozen_backup(peer: Make) {
    let rig = pair(Variant::V2, peer, "");
    let (wire, b) = (rig.wire(), rig.node(1));
    signal_all(b, "STOP");
    wire.wait_adverts(wire.mark(), "a", 6);
    signal_all(b, "CONT");
    wire.wait_adverts(wire.mark(), "a", 5);
    assert_eq!(wire.owners(0, VRID), ["a"]);
    assert!(!logged(b, "Entering MASTER"));
    assert_eq!(b.state("VI_1").as_deref(), Some("BACKUP"));
}

/// A master that is frozen with its main is replaced; thawed, it finds another master, and there is one again, which clients
/// are told.
pub fn frozen_master(peer: Make) {
    let variant = Variant::V2;
    let rig = pair(variant, peer, "");
    let (wire, a, b) = (rig.wire(), rig.node(0), rig.node(1));
    let mark = wire.mark();
    signal_all(a, "STOP");
    wire.wait_priority(mark, "b", 100);
    wait_state(b, "VI_1", "MASTER");
    let mark = wire.mark();
    signal_all(a, "CONT");
    wire.wait_priority(mark, "a", 150);
    wire.wait(mark, "an announcement", |frame| frame.host == "a" && announced(frame) == Some(variant.vip()));
    wait_state(b, "VI_1", "BACKUP");
    wait_address(b, "eth0", variant.vip(), false);
    wait_state(a, "VI_1", "MASTER");
    wait_address(a, "eth0", variant.vip(), true);
    wire.wait_adverts(mark, "a", 3);
    assert_eq!(wire.owners(0, VRID), ["a", "b", "a"]);
}

/// Two with `nopreempt`: the worse one, `b`, is master, and the better one, `a`, came later.
fn the_better_came_later(peer: Make, variant: Variant) -> Rig {
    let mut rig = Rig::build(
        1,
        vec![
            Node::new("a", Make::Holdfast, variant.instance(0, 2, 150, "nopreempt")),
            Node::new("b", peer, variant.instance(1, 2, 100, "nopreempt")),
        ],
    );
    rig.nodes[1].start().expect("it starts");
    wait_state(rig.node(1), "VI_1", "MASTER");
    rig.nodes[0].start().expect("it starts");
    wait_state(rig.node(0), "VI_1", "BACKUP");
    rig
}

/// With `nopreempt` a better node that comes later stays backup as long as there is a master.
pub fn nopreempt(peer: Make) {
    let mut rig = the_better_came_later(peer, Variant::V3);
    let wire = rig.wire();
    // Twice as long as a preemption would take.
    wire.wait_adverts(wire.mark(), "b", 7);
    assert_eq!(wire.owners(0, VRID), ["b"]);
    let mark = wire.mark();
    rig.nodes[1].stop(PATIENCE).expect("it ends");
    wire.wait_priority(mark, "a", 150);
    wait_state(rig.node(0), "VI_1", "MASTER");
    assert_eq!(wire.owners(0, VRID), ["b", "a"]);
}

/// `nopreempt` is about backups. Two that are master already, after a partition, settle it by priority.
pub fn nopreempt_of_two_masters(peer: Make) {
    let variant = Variant::V3;
    let rig = the_better_came_later(peer, variant);
    let wire = rig.wire();
    rig.lan(0).partition("a", "eth0").expect("a port");
    wait_state(rig.node(0), "VI_1", "MASTER");
    rig.lan(0).heal("a", "eth0").expect("a port");
    wait_state(rig.node(1), "VI_1", "BACKUP");
    wait_address(rig.node(1), "eth0", variant.vip(), false);
    let mark = wire.mark();
    wire.wait_adverts(mark, "a", 5);
    assert_eq!(wire.owners(mark, VRID), ["a"]);
    assert!(holds(rig.node(0), "eth0", variant.vip()));
}

/// Two that both believe to own the addresses: of equals the higher source address stays.
pub fn two_owners() {
    let variant = Variant::V3;
    let node = |n, name| Node::new(name, Make::Holdfast, variant.instance(n, 2, 255, "owner_ignore_adverts off"));
    let rig = Rig::start(vec![node(0, "a"), node(1, "b")]);
    wait_line(rig.node(0), 0, "Entering BACKUP STATE");
    wait_address(rig.node(0), "eth0", variant.vip(), false);
    let wire = rig.wire();
    let mark = wire.mark();
    wire.wait_adverts(mark, "b", 5);
    assert_eq!(wire.owners(mark, VRID), ["b"]);
    assert!(holds(rig.node(1), "eth0", variant.vip()));
    assert_eq!(rig.node(0).state("VI_1").as_deref(), Some("BACKUP"));
}

/// A tracker of the group with a weight costs all members their mastership at once, and none of them alone.
pub fn sync_group_weight(peer: Make) {
    let config = |priority: u8| {
        let instance = |n: u8| {
            format!(
                "vrrp_instance VI_{n} {{\ninterface eth{}\nversion 3\nvirtual_router_id {}\npriority {priority}\n\
                 advert_int 1\nvirtual_ipaddress {{\n10.9.{}.100/24\n}}\n}}\n",
                n - 1,
                50 + n,
                n - 1
            )
        };
        format!(
            "vrrp_track_file t {{\nfile /etc/keepalived/number\n}}\n\
             vrrp_sync_group VG {{\nsync_group_tracking_weight\ngroup {{\nVI_1\nVI_2\n}}\ntrack_file {{\nt weight 1\n}}\n}}\n\
             {}{}",
            instance(1),
            instance(2)
        )
    };
    let nodes = vec![Node::new("a", Make::Holdfast, config(150)), Node::new("b", peer, config(100))];
    let mut rig = Rig::build(2, nodes);
    for node in &rig.nodes {
        node.write_file(std::path::Path::new("/etc/keepalived/number"), "0\n").expect("a private file");
    }
    rig.start_in_turn();
    let (a, b) = (rig.node(0), rig.node(1));
    for instance in ["VI_1", "VI_2"] {
        wait_state(a, instance, "MASTER");
        wait_state(b, instance, "BACKUP");
    }
    for (number, master, backup) in [("-60\n", b, a), ("0\n", a, b)] {
        a.write_file(std::path::Path::new("/etc/keepalived/number"), number).expect("a private file");
        for (n, instance) in ["VI_1", "VI_2"].into_iter().enumerate() {
            wait_state(master, instance, "MASTER");
            wait_state(backup, instance, "BACKUP");
            let vip = crate::rig::ip(&format!("10.9.{n}.100"));
            wait_address(master, &format!("eth{n}"), vip, true);
            wait_address(backup, &format!("eth{n}"), vip, false);
        }
    }
    assert!(!logged(a, "FAULT") && !logged(b, "FAULT"));
    assert_eq!(rig.wire_of(0).owners(0, 51), ["a", "b", "a"]);
    assert_eq!(rig.wire_of(1).owners(0, 52), ["a", "b", "a"]);
}

/// `preempt_delay` runs from the first advert of the worse master.
pub fn preempt_delay(peer: Make) {
    let variant = Variant::V3;
    let delay = Duration::from_secs(3);
    let mut rig = Rig::build(
        1,
        vec![
            Node::new("a", Make::Holdfast, variant.instance(0, 2, 150, "preempt_delay 3")),
            Node::new("b", peer, variant.instance(1, 2, 100, "")),
        ],
    );
    let wire = rig.wire();
    rig.nodes[1].start().expect("it starts");
    wait_state(rig.node(1), "VI_1", "MASTER");
    let mark = wire.mark();
    let first = wire.wait_master(mark, "b");
    rig.nodes[0].start().expect("it starts");
    let takeover = wire.wait_priority(mark, "a", 150);
    let waited = takeover.at - first.at;
    assert!(waited + EARLY >= delay, "preempted after {waited:?}");
    assert!(waited <= delay + variant.master_down(150) + SLACK, "preempted after {waited:?}");
    wait_state(rig.node(0), "VI_1", "MASTER");
    wait_state(rig.node(1), "VI_1", "BACKUP");
    assert_eq!(wire.owners(0, VRID), ["b", "a"]);
}

/// Two masters of equal priority: the one with the higher address stays (RFC 9568 §6.4.3, RFC 3768 §6.4.3).
pub fn equal_priority(variant: Variant, makes: [Make; 2]) {
    let rig = Rig::start(vec![
        Node::new("a", makes[0], variant.instance(0, 2, 100, "")),
        Node::new("b", makes[1], variant.instance(1, 2, 100, "")),
    ]);
    let wire = rig.wire();
    let first = wire.wait(0, "a master", |frame| advert(frame).is_some()).host;
    rig.lan(0).partition(&first, "eth0").expect("a port");
    let mark = wire.mark();
    let source = |host: &str| advert(&wire.wait_master(mark, host)).expect("an advert").source;
    let (loser, winner) = if source("a") < source("b") { (0, 1) } else { (1, 0) };
    rig.lan(0).heal(&first, "eth0").expect("a port");
    wait_state(rig.node(loser), "VI_1", "BACKUP");
    wait_address(rig.node(loser), "eth0", variant.vip(), false);
    let mark = wire.mark();
    wire.wait_adverts(mark, rig.node(winner).name(), 4);
    assert_eq!(wire.owners(mark, VRID), [rig.node(winner).name()]);
    wait_state(rig.node(winner), "VI_1", "MASTER");
    wait_address(rig.node(winner), "eth0", variant.vip(), true);
}

/// Maintenance as people do it: a lower priority in the file and a reload, and back.
pub fn maintenance_by_priority(peer: Make) {
    let variant = Variant::V3;
    let rig = pair(variant, peer, "");
    let (wire, a, b) = (rig.wire(), rig.node(0), rig.node(1));
    let (mark, log) = (wire.mark(), a.log_mark());
    reload(a, &variant.instance(0, 2, 50, ""));
    wire.wait_priority(mark, "a", 50);
    wire.wait_priority(mark, "b", 100);
    let line = wait_line(a, log, "Entering BACKUP STATE");
    assert!(line.contains("10.9.0.12 (priority 100) is better than ours, 50"), "{line}");
    wait_state(b, "VI_1", "MASTER");
    wait_address(a, "eth0", variant.vip(), false);
    wait_address(b, "eth0", variant.vip(), true);
    let log = a.log_mark();
    reload(a, &variant.instance(0, 2, 150, ""));
    let line = wait_line(a, log, "Entering MASTER STATE");
    assert!(line.contains("preempting 10.9.0.12 (priority 100) with priority 150"), "{line}");
    wait_state(b, "VI_1", "BACKUP");
    wait_address(a, "eth0", variant.vip(), true);
    assert_eq!(wire.owners(0, VRID), ["a", "b", "a"]);
}

/// Two interfaces in a sync group: what happens to one happens to both.
pub fn sync_group(peer: Make) {
    let config = |priority: u8| {
        let instance = |n: u8| {
            format!(
                "vrrp_instance VI_{n} {{\ninterface eth{}\nversion 3\nvirtual_router_id {}\npriority {priority}\n\
                 advert_int 1\nvirtual_ipaddress {{\n10.9.{}.100/24\n}}\n}}\n",
                n - 1,
                50 + n,
                n - 1
            )
        };
        format!("vrrp_sync_group VG {{\ngroup {{\nVI_1\nVI_2\n}}\n}}\n{}{}", instance(1), instance(2))
    };
    let nodes = vec![Node::new("a", Make::Holdfast, config(150)), Node::new("b", peer, config(100))];
    let mut rig = Rig::build(2, nodes);
    rig.start_in_turn();
    let (a, b) = (rig.node(0), rig.node(1));
    let vips = ["10.9.0.100", "10.9.1.100"].map(crate::rig::ip);
    let has_both = |node, present| {
        wait_address(node, "eth0", vips[0], present);
        wait_address(node, "eth1", vips[1], present);
    };
    wait_state(a, "VI_1", "MASTER");
    wait_state(a, "VI_2", "MASTER");
    has_both(a, true);
    has_both(b, false);
    let mark = rig.wire_of(1).mark();
    rig.lan(0).cut("a", "eth0").expect("a cable");
    wait_state(a, "VI_1", "FAULT");
    // The other interface works: there the peer is told, and does not have to wait for silence.
    rig.wire_of(1).wait_priority(mark, "a", 0);
    wait_state(b, "VI_1", "MASTER");
    wait_state(b, "VI_2", "MASTER");
    has_both(a, false);
    has_both(b, true);
    rig.lan(0).mend("a", "eth0").expect("a cable");
    wait_state(a, "VI_1", "MASTER");
    wait_state(a, "VI_2", "MASTER");
    wait_state(b, "VI_1", "BACKUP");
    wait_state(b, "VI_2", "BACKUP");
    has_both(a, true);
    has_both(b, false);
    assert_eq!(rig.wire_of(0).owners(0, 51), ["a", "b", "a"]);
    assert_eq!(rig.wire_of(1).owners(0, 52), ["a", "b", "a"]);
}

/// A reload of an unchanged file is not to be seen on the wire, nor is one of a file that is wrong.
pub fn reload_of_nothing(peer: Make) {
    let variant = Variant::V3;
    let quiet = "garp_master_repeat 1\ngarp_master_delay 1\ngarp_master_refresh 0";
    let rig = pair(variant, peer, quiet);
    let (wire, a) = (rig.wire(), rig.node(0));
    announced_twice(&rig, variant);
    let (mark, log) = (wire.mark(), a.log_mark());
    reload(a, &variant.instance(0, 2, 150, quiet));
    wait_line(a, log, "reload: 0 changed, 0 added, 0 removed, 1 unchanged");
    // An empty file is what a full disk leaves behind.
    for broken in ["vrrp_instance VI_1 {\nvirtual_router_id 300\n}\n", "}\n", "", "# nothing\n"] {
        let log = a.log_mark();
        reload(a, broken);
        wait_line(a, log, "nothing changed");
        wire.wait_adverts(wire.mark(), "a", 2);
    }
    // A file without the instance is not wrong: it resigns.
    let log = a.log_mark();
    reload(a, "global_defs {\n router_id without\n}\n");
    wait_line(a, log, "reload: 0 changed, 0 added, 1 removed");
    let resigned = wire.wait_priority(mark, "a", 0);
    wait_address(a, "eth0", variant.vip(), false);
    let before: Vec<_> = wire.since(mark).into_iter().take_while(|frame| frame.at < resigned.at).collect();
    assert_eq!(before.iter().filter_map(announced).count(), 0, "nobody is told what has not changed");
    wire.wait_priority(mark, "b", 100);
    assert_eq!(wire.owners(0, VRID), ["a", "b"]);
}

/// Waits for both announcements that `garp_master_repeat 1` and `garp_master_delay 1` make, of every address.
fn announced_twice(rig: &Rig, variant: Variant) {
    wait_until("both announcements", || {
        let sent: Vec<_> = rig.wire().since(0).iter().filter_map(announced).collect();
        variant.vips().iter().all(|vip| sent.iter().filter(|address| *address == vip).count() >= 2)
    });
}

/// A third address by a reload of the master, and gone again by the next: only that one changes.
pub fn reload_of_one_address(master: Make, backup: Make) {
    let variant = Variant::V3;
    let quiet = "garp_master_repeat 1\ngarp_master_delay 1\ngarp_master_refresh 0";
    let new = crate::rig::ip("10.9.0.102");
    let two = variant.instance(0, 2, 150, quiet);
    let three = two.replace("10.9.0.101/24", "10.9.0.101/24\n10.9.0.102/24");
    let rig =
        Rig::start(vec![Node::new("a", master, two.clone()), Node::new("b", backup, variant.instance(1, 2, 100, ""))]);
    settled(&rig, variant);
    announced_twice(&rig, variant);
    let (wire, a, b) = (rig.wire(), rig.node(0), rig.node(1));
    let (mark, log_a, log_b) = (wire.mark(), a.log_mark(), b.log_mark());
    reload(a, &three);
    wait_address(a, "eth0", new, true);
    wire.wait(mark, "the new address in an advert", |f| advert(f).is_some_and(|a| a.addresses.contains(&new)));
    wire.wait(mark, "the new address announced", |frame| announced(frame) == Some(new));
    // Long enough for the other one to miss the master, if it did not hear these adverts.
    wire.wait_adverts(wire.mark(), "a", 5);
    if backup == Make::Holdfast {
        let told = wait_line(b, log_b, "addresses differ: missing none, unexpected 10.9.0.102");
        assert!(told.contains("heard all the same"), "{told}");
    }
    assert_eq!(wire.owners(0, VRID), ["a"], "one master, whatever the lists say");
    let since: Vec<_> = wire.since(mark).iter().filter_map(announced).collect();
    if master == Make::Holdfast {
        assert!(since.iter().all(|address| *address == new), "{since:?}");
    }
    let mark = wire.mark();
    reload(a, &two);
    wait_address(a, "eth0", new, false);
    wire.wait(mark, "an advert without it", |f| advert(f).is_some_and(|a| a.addresses == variant.vips()));
    wire.wait_adverts(wire.mark(), "a", 3);
    for vip in variant.vips() {
        assert!(holds(a, "eth0", vip));
    }
    if master == Make::Holdfast {
        let since: Vec<_> = wire.since(mark).iter().filter_map(announced).collect();
        assert!(since.iter().all(|address| *address == new), "{since:?}");
        let entered = a.log().into_iter().skip(log_a).find(|line| line.text.contains("Entering"));
        assert!(entered.is_none(), "{entered:?}");
    }
    assert_eq!(wire.owners(0, VRID), ["a"]);
}
