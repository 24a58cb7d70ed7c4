//! The words in the log that scripts and log watchers look for: keepalived's own, asked of both.

use std::path::Path;

use crate::common::needs_keepalived;
use crate::forged::{GOOD, send};
use crate::rig::{Make, Node, PATIENCE, Rig, each, read, wait_line, wait_state, wait_until};
use crate::variant::Variant;

#[test]
fn the_log_speaks_as_keepalived_s() {
    needs_keepalived!();
    each(&[Make::Holdfast, Make::Keepalived], |make| story(*make));
}

/// `a` (priority 150) and `b` (100) of one make, through everything that changes a state.
fn story(make: Make) {
    let v = Variant::V3;
    let script = "vrrp_script t {\nscript \"/usr/bin/test ! -e /etc/keepalived/down\"\ninterval 1\n}\n";
    let nodes = vec![
        Node::new("a", make, format!("{script}{}", v.instance(0, 2, 150, "track_script {\nt\n}"))),
        Node::new("b", make, v.instance(1, 2, 100, "")),
    ];
    let mut rig = Rig::build(1, nodes);
    rig.start_in_turn();
    let (a, b) = (rig.node(0), rig.node(1));
    let says = |n: usize, mark: usize, words: &[&str]| {
        for words in words {
            let line = wait_line(rig.node(n), mark, words);
            // Whatever stands before: time and process; and after: our causes.
            assert!(line.contains(&format!(": {words}")), "{make:?}: {line}");
        }
    };
    says(0, 0, &["VRRP_Script(t) succeeded", "(VI_1) Entering BACKUP STATE"]);
    says(0, 0, &["(VI_1) Receive advertisement timeout", "(VI_1) Entering MASTER STATE"]);
    says(0, 0, &["Sending gratuitous ARP on eth0 for 10.9.0.100"]);
    says(1, 0, &["(VI_1) Entering BACKUP STATE (init)"]);

    rig.lan(0).partition("a", "eth0").expect("a port");
    says(1, 0, &["(VI_1) Receive advertisement timeout", "(VI_1) Entering MASTER STATE"]);
    let marks = (a.log_mark(), b.log_mark());
    rig.lan(0).heal("a", "eth0").expect("a port");
    let higher = "(VI_1) Master received advert from 10.9.0.11 with higher priority 150, ours 100";
    says(1, marks.1, &[higher, "(VI_1) Entering BACKUP STATE"]);

    let marks = (a.log_mark(), b.log_mark());
    a.write_file(Path::new("/etc/keepalived/down"), "").expect("a private file");
    let fault =
        ["VRRP_Script(t) failed (exited with status 1)", "(VI_1) Entering FAULT STATE", "(VI_1) sent 0 priority"];
    says(0, marks.0, &fault);
    says(1, marks.1, &["(VI_1) Backup received priority 0 advertisement"]);
    says(1, marks.1, &["(VI_1) Receive advertisement timeout", "(VI_1) Entering MASTER STATE"]);

    let mark = a.log_mark();
    a.remove_file(Path::new("/etc/keepalived/down")).expect("a private file");
    says(0, mark, &["VRRP_Script(t) succeeded", "(VI_1) Entering BACKUP STATE"]);
    // It preempts by its timer, which keepalived says in the same words.
    says(0, mark, &["(VI_1) Receive advertisement timeout", "(VI_1) Entering MASTER STATE"]);
    wait_state(b, "VI_1", "BACKUP");
    let mark = a.log_mark();
    rig.nodes[0].stop(PATIENCE).expect("it ends");
    wait_line(rig.node(0), mark, "(VI_1) sent 0 priority");
}

/// A master that hears a worse one says so, in the log and to its script.
#[test]
fn the_log_speaks_as_keepalived_s_of_worse_masters() {
    needs_keepalived!();
    each(&[Make::Holdfast, Make::Keepalived], |make| {
        let notify = "notify_master_rx_lower_pri \"/etc/keepalived/n.sh worse\"";
        let node = |name, me| {
            let node = Node::new(name, *make, Variant::V2Pass.instance(me, 2, 150, notify));
            node.script("n.sh", "#!/bin/sh\necho \"$*\" >> /tmp/notified\n")
        };
        let mut rig = Rig::build(1, vec![node("a", 0), node("b", 1), node("c", 2)]);
        rig.nodes[0].start().expect("it starts");
        wait_state(rig.node(0), "VI_1", "MASTER");
        send(rig.node(2), GOOD);
        let words = "(VI_1) Received advert from 10.9.0.13 with lower priority 50, ours 150, forcing new election";
        wait_line(rig.node(0), 0, words);
        wait_until("the script is told", || read(rig.node(0), "/tmp/notified") == "worse\n");
    });
}
