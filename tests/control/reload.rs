//! `holdfast reload`, as systemd's unit calls it.

use std::path::Path;

use holdfast::lab::director::{CONFIG, Director};

use crate::common::needs_root;
use crate::kit::{PROGRAM, Said, run, wait_ready};
use crate::rig::{Make, Node, Rig, wait_line, wait_state};
use crate::variant::Variant;

const V: Variant = Variant::V3;

/// What `ExecReload=` of the packaged unit says and does on this node.
fn exec_reload(node: &Director, more: &[&str]) -> Said {
    let unit = include_str!("../../packaging/holdfast.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecReload=")).expect("the unit can reload");
    let pid = node.host().run(|| std::fs::read_to_string("/run/lab-main.pid")).expect("a pid file");
    let words: Vec<&str> = line.split(' ').map(|word| if word == "$MAINPID" { pid.trim() } else { word }).collect();
    let (program, words) = words.split_first().expect("a program");
    assert_eq!(*program, "/usr/sbin/holdfast");
    run(node, &[&[PROGRAM], words, more].concat())
}

fn write(node: &Director, text: &str) {
    node.write_file(Path::new(CONFIG), text).expect("a private file");
}

/// A node alone, which is master and ready.
fn master(config: &str) -> Rig {
    let rig = Rig::start(vec![Node::new("a", Make::Holdfast, config.to_owned())]);
    wait_state(rig.node(0), "VI_1", "MASTER");
    wait_ready(rig.node(0));
    rig
}

/// It succeeds when the file is in force, and fails with the reason when the file is refused.
#[test]
fn the_unit_s_reload_says_what_came_of_it() {
    needs_root!();
    let good = V.instance(0, 1, 150, "");
    let rig = master(&good);
    let a = rig.node(0);
    let said = exec_reload(a, &[]);
    assert_eq!((said.code, said.out.starts_with("reload: 0 changed")), (0, true), "{said:?}");
    write(a, &good.replace("priority 150", "priority 140\nno_such_word"));
    let said = exec_reload(a, &[]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("reload refused, nothing changed") && said.err.contains("no_such_word"), "{said:?}");
    write(a, &good.replace("priority 150", "priority 140"));
    let said = exec_reload(a, &[]);
    assert_eq!((said.code, said.out.starts_with("reload: 1 changed")), (0, true), "{said:?}");
    let nobody = run(a, &[PROGRAM, "reload", "--pid", "4000000"]);
    assert_eq!((nobody.code, nobody.err.contains("4000000 cannot be told")), (3, true), "{nobody:?}");
}

/// The file was changed in place, as people do: what counts is what runs, not what the file says by now.
#[test]
fn a_plan_compares_the_file_with_what_runs() {
    needs_root!();
    let good = V.instance(0, 1, 150, "");
    let rig = master(&good);
    let a = rig.node(0);
    let plan = |more: &[&str]| run(a, &[&[PROGRAM, "plan"], more].concat());
    let said = plan(&[]);
    assert_eq!((said.code, said.out.starts_with("no change: the instance")), (0, true), "{said:?}");
    write(a, &good.replace("priority 150", "priority 140"));
    for more in [&[][..], &[CONFIG]] {
        let said = plan(more);
        let told = said.out.contains("    - priority 150\n    + priority 140\n");
        assert_eq!((said.code, told), (0, true), "{more:?}: {said:?}");
    }
    let said = plan(&["--json"]);
    let report: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((&report["against"]["running"], &report["new"]["file"]), (&true.into(), &CONFIG.into()), "{report}");
    // Another file is compared with the daemon's.
    write(a, &good);
    a.write_file(Path::new("/tmp/other.conf"), &good.replace("priority 150", "priority 130")).expect("a private file");
    let said = plan(&["/tmp/other.conf"]);
    assert_eq!((said.code, said.out.contains("+ priority 130")), (0, true), "{said:?}");
    write(a, &good.replace("priority 150", "prioity 140"));
    let said = plan(&[]);
    assert_eq!((said.code, said.out.contains("did you mean `priority`?")), (2, true), "{said:?}");
    write(a, "");
    let said = plan(&[]);
    assert_eq!((said.code, said.out.contains("says nothing at all")), (2, true), "{said:?}");
    // Nothing of this has changed anything.
    write(a, &good);
    let said = run(a, &[PROGRAM, "reload"]);
    assert!(said.out.starts_with("reload: 0 changed"), "{said:?}");
}

/// A daemon whose sockets are elsewhere is told by a signal, and by its sockets when they are found below.
#[test]
fn a_daemon_whose_sockets_are_elsewhere_reloads_too() {
    needs_root!();
    let mut node = Node::new("a", Make::Holdfast, V.instance(0, 1, 150, ""));
    node.options = ["--control-dir", "/tmp/control/mine"].map(str::to_owned).into();
    let rig = Rig::start(vec![node]);
    let a = rig.node(0);
    wait_state(a, "VI_1", "MASTER");
    let log = a.log_mark();
    let said = exec_reload(a, &[]);
    assert_eq!((said.code, said.out.contains("told by SIGHUP")), (0, true), "{said:?}");
    wait_line(a, log, "reload: 0 changed");
    let said = exec_reload(a, &["--control-dir", "/tmp/control"]);
    assert_eq!((said.code, said.out.starts_with("reload: 0 changed")), (0, true), "{said:?}");
}
