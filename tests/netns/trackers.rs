//! Trackers as people write them, and the cause that the log gives.

use std::path::Path;

use crate::common::{needs_root, steady};
use crate::rig::{Make, Node, Rig, each, sh, wait_address, wait_line, wait_state};
use crate::variant::{VRID, Variant};

const V: Variant = Variant::V3;

/// What breaks, and mends again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Script,
    File,
    Interface,
}

#[derive(Debug)]
struct Case {
    kind: Kind,
    /// A weight that costs the mastership, or none: FAULT.
    weight: &'static str,
    /// What the log says when it breaks.
    cause: &'static str,
}

const CASES: [Case; 6] = [
    Case { kind: Kind::Script, weight: "weight -60", cause: "script t is down" },
    Case { kind: Kind::Script, weight: "", cause: "tracked script t failed" },
    Case { kind: Kind::File, weight: "weight 1", cause: "file t is -60" },
    Case { kind: Kind::File, weight: "weight 0", cause: "tracked file t says -60" },
    Case { kind: Kind::Interface, weight: "weight -60", cause: "interface eth1 is down" },
    Case { kind: Kind::Interface, weight: "", cause: "tracked interface eth1 is down" },
];

/// The shell line is the one that half the Internet has, and that keepalived 2 refuses to run.
#[test]
fn what_is_tracked_costs_the_mastership_and_gives_it_back() {
    needs_root!();
    each(&CASES, |case| {
        let (tracker, tracks) = match case.kind {
            Kind::Script => (
                "vrrp_script t {\nscript \"[[ -e /etc/keepalived/down ]] && exit 1 || exit 0\"\ninterval 1\n}\n",
                format!("track_script {{\nt {}\n}}", case.weight),
            ),
            Kind::File => {
                ("track_file t {\nfile /etc/keepalived/number\n}\n", format!("track_file {{\nt {}\n}}", case.weight))
            }
            Kind::Interface => ("", format!("track_interface {{\neth1 {}\n}}", case.weight)),
        };
        let mut rig = Rig::build(
            2,
            vec![
                Node::new("a", Make::Holdfast, format!("{tracker}{}", V.instance(0, 2, 150, &tracks))),
                Node::new("b", Make::Holdfast, V.instance(1, 2, 100, "")),
            ],
        );
        rig.start_in_turn();
        let (a, b) = (rig.node(0), rig.node(1));
        wait_state(a, "VI_1", "MASTER");
        wait_state(b, "VI_1", "BACKUP");
        let log = a.log_mark();
        set_down(&rig, case.kind, true);
        wait_line(a, log, case.cause);
        wait_state(b, "VI_1", "MASTER");
        wait_state(a, "VI_1", if case.weight.is_empty() || case.weight == "weight 0" { "FAULT" } else { "BACKUP" });
        wait_address(a, "eth0", V.vip(), false);
        wait_address(b, "eth0", V.vip(), true);
        set_down(&rig, case.kind, false);
        wait_state(a, "VI_1", "MASTER");
        wait_state(b, "VI_1", "BACKUP");
        wait_address(a, "eth0", V.vip(), true);
        wait_address(b, "eth0", V.vip(), false);
        assert_eq!(rig.wire().owners(0, VRID), ["a", "b", "a"], "{case:?}");
        if case.kind == Kind::Script {
            // The words that scripts look for in keepalived's log.
            wait_line(a, 0, "VRRP_Script(t) succeeded");
            wait_line(a, log, "VRRP_Script(t) failed (exited with status 1)");
        }
    });
}

fn set_down(rig: &Rig, kind: Kind, down: bool) {
    let a = rig.node(0);
    match kind {
        Kind::Script if down => a.write_file(Path::new("/etc/keepalived/down"), "").expect("a private file"),
        Kind::Script => a.remove_file(Path::new("/etc/keepalived/down")).expect("a private file"),
        Kind::File => {
            let number = if down { "-60\n" } else { "0\n" };
            a.write_file(Path::new("/etc/keepalived/number"), number).expect("a private file");
        }
        Kind::Interface if down => rig.lan(1).cut("a", "eth1").expect("a cable"),
        Kind::Interface => rig.lan(1).mend("a", "eth1").expect("a cable"),
    }
}

/// Each node has process numbers of its own, as a container has: there the kernel tells no news of processes. They are
/// looked at all the same, and the log says how.
#[test]
fn a_process_is_tracked_where_the_kernel_tells_no_news() {
    needs_root!();
    steady(|| {
        let tracker = "vrrp_track_process web {\nprocess /etc/keepalived/web\n}\n";
        let config = format!("{tracker}{}", V.quick(&V.instance(0, 1, 150, "track_process {\nweb\n}")));
        let mut rig = Rig::build(1, vec![Node::new("a", Make::Holdfast, config)]);
        let run = "setsid /etc/keepalived/web 1000 </dev/null >/dev/null 2>&1 & echo $! >/etc/keepalived/web.pid";
        sh(rig.node(0), &format!("cp /bin/sleep /etc/keepalived/web; {run}"));
        rig.start_all();
        let a = rig.node(0);
        wait_line(a, 0, "the kernel tells no news of processes here");
        wait_state(a, "VI_1", "MASTER");
        wait_address(a, "eth0", V.vip(), true);
        let log = a.log_mark();
        sh(a, "kill $(cat /etc/keepalived/web.pid)");
        wait_line(a, log, "process web");
        wait_state(a, "VI_1", "FAULT");
        wait_address(a, "eth0", V.vip(), false);
        sh(a, run);
        wait_state(a, "VI_1", "MASTER");
        wait_address(a, "eth0", V.vip(), true);
    });
}
