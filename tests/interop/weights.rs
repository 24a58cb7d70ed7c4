//! Tracker arithmetic, asked of both daemons: the priority that is on the wire while a tracker is up, down, and up again.

use std::path::Path;

use crate::common::needs_keepalived;
use crate::rig::{Make, Node, Rig, advert, each, wait_state};
use crate::variant::Variant;

const V: Variant = Variant::V3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Script,
    Interface,
    /// The number in the file while the tracker is "down".
    File(i32),
}

use Kind::{File, Interface, Script};

/// What there is to see: a priority, or no master at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Priority(u8),
    Fault,
}

use Seen::{Fault, Priority};

#[derive(Debug)]
struct Case {
    make: Make,
    kind: Kind,
    weight: &'static str,
    up: Seen,
    down: Seen,
}

/// Base priority 100.
const ROWS: [(Kind, &str, Seen, Seen); 17] = [
    (Script, "weight 20", Priority(120), Priority(100)),
    (Script, "weight -20", Priority(100), Priority(80)),
    (Script, "weight 20 reverse", Priority(80), Priority(100)),
    (Script, "weight -20 reverse", Priority(100), Priority(120)),
    (Script, "weight 0", Priority(100), Fault),
    (Script, "weight 253", Priority(254), Priority(100)),
    (Interface, "weight 20", Priority(120), Priority(100)),
    (Interface, "weight -20", Priority(100), Priority(80)),
    (Interface, "weight 20 reverse", Priority(80), Priority(100)),
    (Interface, "weight -20 reverse", Priority(100), Priority(120)),
    (Interface, "", Priority(100), Fault),
    (File(3), "weight 2", Priority(100), Priority(106)),
    (File(3), "weight -2", Priority(100), Priority(94)),
    (File(3), "weight 2 reverse", Priority(100), Priority(94)),
    (File(-200), "weight 1", Priority(100), Priority(1)),
    (File(-254), "weight 1", Priority(100), Fault),
    (File(1), "weight 0", Priority(100), Fault),
];

#[test]
fn effective_priorities_are_those_of_keepalived() {
    needs_keepalived!();
    let cases: Vec<_> = ROWS
        .iter()
        .flat_map(|(kind, weight, up, down)| {
            [Make::Holdfast, Make::Keepalived].map(|make| Case { make, kind: *kind, weight, up: *up, down: *down })
        })
        .collect();
    for some in cases.chunks(12) {
        each(some, check);
    }
}

fn check(case: &Case) {
    let mut rig = Rig::build(2, vec![Node::new("a", case.make, config(case))]);
    set_down(&rig, case.kind, false);
    rig.start_all();
    see(&rig, 0, case.up, case);
    let mark = rig.wire().mark();
    set_down(&rig, case.kind, true);
    see(&rig, mark, case.down, case);
    let mark = rig.wire().mark();
    set_down(&rig, case.kind, false);
    see(&rig, mark, case.up, case);
}

fn config(case: &Case) -> String {
    let (tracker, tracks) = match case.kind {
        Script => (
            "vrrp_script t {\nscript \"/usr/bin/test ! -e /etc/keepalived/down\"\ninterval 1\n}\n",
            format!("track_script {{\nt {}\n}}", case.weight),
        ),
        Interface => ("", format!("track_interface {{\neth1 {}\n}}", case.weight)),
        File(_) => {
            ("vrrp_track_file t {\nfile /etc/keepalived/number\n}\n", format!("track_file {{\nt {}\n}}", case.weight))
        }
    };
    format!("{tracker}{}", V.quick(&V.instance(0, 1, 100, &tracks)))
}

fn set_down(rig: &Rig, kind: Kind, down: bool) {
    let a = rig.node(0);
    match kind {
        Script if down => a.write_file(Path::new("/etc/keepalived/down"), "").expect("a private file"),
        // Not there at first.
        Script => drop(a.remove_file(Path::new("/etc/keepalived/down"))),
        Interface if down => rig.lan(1).cut("a", "eth1").expect("a cable"),
        Interface => rig.lan(1).mend("a", "eth1").expect("a cable"),
        File(number) => {
            let number = if down { number } else { 0 };
            a.write_file(Path::new("/etc/keepalived/number"), &format!("{number}\n")).expect("a private file");
        }
    }
}

/// The priority comes, and stays.
fn see(rig: &Rig, mark: u64, seen: Seen, case: &Case) {
    let wire = rig.wire();
    match seen {
        Fault => wait_state(rig.node(0), "VI_1", "FAULT"),
        Priority(priority) => {
            wire.wait_priority(mark, "a", priority);
            let later = wire.wait_adverts(wire.mark(), "a", 3);
            assert!(later.iter().all(|frame| advert(frame).is_some_and(|a| a.priority == priority)), "{case:?}");
        }
    }
}
