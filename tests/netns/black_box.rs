//! What a crash leaves behind, read back by `holdfast why`; and whose directory it is left in.

use std::path::Path;
use std::process::{Command, Stdio};

use holdfast::lab::director::Director;
use holdfast::lab::host::Process;
use holdfast::status::why::Record;
use holdfast::vrrp::blackbox::{AdvertRecord, Note};
use nix::sys::signal::Signal;

use crate::common::{needs_root, steady};
use crate::rig::{Make, Node, PATIENCE, Rig, read, sh, vrrp_pid, wait_address, wait_line, wait_until};
use crate::variant::Variant;

const V: Variant = Variant::V2;

/// The black boxes in a directory of the node, the latest first.
fn left_in(node: &Director, directory: &str) -> Vec<(String, Record)> {
    let names = sh(node, &format!("ls -r {directory}/blackbox-*.json 2>/dev/null || true"));
    let file = |path: &str| Some((path.to_owned(), serde_json::from_str(&read(node, path)).ok()?));
    names.lines().filter_map(file).collect()
}

fn adverts_sent(record: &Record) -> usize {
    record.adverts.iter().filter(|advert| matches!(advert.what, AdvertRecord::Sent(_))).count()
}

/// SIGKILL leaves a process no last moment: what it had recorded is there all the same, as a file of the crash and in what
/// the daemon tells; and when main is gone too, the file still answers.
#[test]
fn a_killed_process_leaves_what_led_to_it() {
    needs_root!();
    steady(|| {
        // A successor that is there before the next advert is due goes on as master.
        let slow = V.instance(0, 2, 150, "state MASTER").replace("advert_int 1\n", "advert_int 10\n");
        let rig = Rig::start(vec![Node::new("a", Make::Holdfast, slow)]);
        let a = rig.node(0);
        wait_address(a, "eth0", V.vip(), true);
        rig.wire().wait_adverts(0, "a", 1);
        let before = a.ask(&["why", "--export", "-"]).expect("it runs");
        let before: Record = serde_json::from_str(&before).expect("a record");
        let log = a.log_mark();
        sh(a, &format!("kill -KILL {}", vrrp_pid(a)));
        wait_line(a, log, "the vrrp process died: signal: 9");
        wait_line(a, log, "Entering MASTER STATE");
        let is_crash = |(_, record): &(String, Record)| record.occasion.contains("the vrrp process died: signal: 9");
        wait_until("the file of the crash", || left_in(a, "/run/holdfast").iter().any(is_crash));
        let left = left_in(a, "/run/holdfast");
        let (path, crash) = left.iter().find(|file| is_crash(file)).expect("it was there");
        assert!(adverts_sent(crash) >= adverts_sent(&before) && adverts_sent(&before) > 0, "{crash:#?}");
        assert!(before.adverts.iter().all(|advert| crash.adverts.contains(advert)), "what was recorded is there");

        // The file by itself.
        let from_file = a.ask(&["why", "VI_1", "--from", path]).expect("it runs");
        assert!(from_file.contains("BACKUP → MASTER") && from_file.contains("cause: "), "{from_file}");
        assert!(from_file.contains("the vrrp process started"), "{from_file}");
        // The daemon that lived on.
        let told = || a.ask(&["why", "VI_1", "--last", "1"]).expect("it runs");
        wait_until("the daemon knows why", || told().contains("restarted within its own advert deadline"));
        // Written at the end of the turn in which it is told.
        wait_until("the note of the start", || told().contains("the vrrp process started in place of one that died"));
        let exported = a.ask(&["why", "--export", "-"]).expect("it runs");
        let exported: Record = serde_json::from_str(&exported).expect("a record");
        assert!(exported.notes.iter().any(|note| note.what == Note::Started { adopts: true }), "{exported:#?}");
        assert!(before.adverts.iter().all(|advert| exported.adverts.contains(advert)), "both lives are one record");
        // Nobody lives: the latest file answers.
        wait_until("the file of the new master", || left_in(a, "/run/holdfast").len() > left.len());
        sh(a, "kill -KILL $(cat /run/lab-main.pid /run/lab-vrrp.pid)");
        wait_until("the daemon is gone", || !a.is_running());
        assert!(told().contains("restarted within its own advert deadline"), "{}", told());
    });
}

/// A second daemon on the machine, of another file, without a name of its own.
fn second_daemon(node: &Director, globals: &str) -> Process {
    let config =
        V.instance(0, 2, 150, "").replace("VI_1", "VI_2").replace("virtual_router_id 51", "virtual_router_id 52");
    let config = format!("global_defs {{\n{globals}\n}}\n{}", config.replace("10.9.0.10", "10.9.0.20"));
    node.write_file(Path::new("/etc/keepalived/second.conf"), &config).expect("a private file");
    sh(node, "rm -f /tmp/second.log");
    let line = "exec /run/lab/holdfast -n -l -D -f /etc/keepalived/second.conf -p /run/second.pid -r /run/second-vrrp.pid \
                >/tmp/second.log 2>&1";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", line]).current_dir("/").stdin(Stdio::null());
    node.host().spawn(command).expect("it starts")
}

/// Its crash is written to a directory of its own or not at all, never among another daemon's.
#[test]
fn a_daemon_without_a_directory_leaves_nothing_in_another_s() {
    needs_root!();
    let rig = Rig::start(vec![Node::new("a", Make::Holdfast, V.instance(0, 2, 150, ""))]);
    let a = rig.node(0);
    wait_address(a, "eth0", V.vip(), true);
    for (globals, own) in [("", None), ("state_directory /tmp/second", Some("/tmp/second"))] {
        let second = second_daemon(a, globals);
        let says = |words: &str| read(a, "/tmp/second.log").contains(words);
        wait_until("the second is master", || says("(VI_2) Entering MASTER STATE"));
        sh(a, "kill -KILL $(cat /run/second-vrrp.pid)");
        wait_until("it says so", || says("the vrrp process died: signal: 9"));
        if let Some(own) = own {
            let crashed = || left_in(a, own).iter().any(|(_, record)| record.occasion.contains("signal: 9"));
            wait_until("the file of the crash", crashed);
        }
        second.signal(Signal::SIGTERM);
        assert!(second.wait(PATIENCE).expect("it ends").success());
        let log = read(a, "/tmp/second.log");
        assert_eq!(log.matches("no control sockets").count(), 1, "{log}");
        assert_eq!(log.matches("no black box is written").count(), usize::from(own.is_none()), "{log}");
        let others = left_in(a, "/run/holdfast");
        assert!(!others.is_empty(), "the first daemon's own");
        for (path, record) in others {
            assert!(record.routers.iter().all(|router| router.name == "VI_1"), "{path}: {record:#?}");
        }
    }
}
