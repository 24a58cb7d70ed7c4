//! FIFOs in a life of the daemon, beside keepalived's own.

use std::collections::BTreeMap;
use std::net::TcpListener;

use crate::common::{needs_keepalived, needs_root};
use crate::rig::{Make, Node, PATIENCE, Rig, read, reload, sh, wait_line, wait_state, wait_until};

/// Reads until nobody writes any more; TERM comes before the last lines.
const READER: &str = "#!/bin/sh\ntrap '' TERM\ncat \"$1\" >> \"/tmp/out.${1##*/}\"\n";

fn globals(more: &str) -> String {
    let fifo =
        |keyword: &str, name: &str| format!("{keyword} /tmp/{name}\n{keyword}_script \"/etc/keepalived/reader.sh\"\n");
    format!(
        "global_defs {{\nscript_user root\n{}{}vrrp_notify_priority_changes true\n{more}\n}}\n",
        fifo("notify_fifo", "all"),
        fifo("vrrp_notify_fifo", "vrrp"),
    )
}

const INSTANCE: &str = "track_file t {\nfile /etc/keepalived/number\nweight 1\n}\n\
    vrrp_sync_group VG {\ngroup {\nVI_1\n}\n}\n\
    vrrp_instance VI_1 {\ninterface eth0\nvirtual_router_id 51\npriority 100\nadvert_int 1\n\
    virtual_ipaddress {\n10.9.0.100/24\n}\n}\n";

/// Not in the group, where trackers have no weight.
const TRACKED: &str = "vrrp_instance VI_2 {\ninterface eth0\nvirtual_router_id 52\npriority 100\nadvert_int 1\n\
    track_file {\nt\n}\nvirtual_ipaddress {\n10.9.0.102/24\n}\n}\n";

/// The lines of each subject, from both FIFOs.
fn told_by(make: Make) -> BTreeMap<String, Vec<String>> {
    let config = globals("") + INSTANCE + TRACKED;
    let mut rig = Rig::build(1, vec![Node::new("a", make, config).script("reader.sh", READER)]);
    rig.node(0).write_file("/etc/keepalived/number".as_ref(), "0\n").expect("a file");
    rig.start_all();
    let out = |rig: &Rig, name: &str| read(rig.node(0), &format!("/tmp/out.{name}"));
    let wait = |rig: &Rig, line: &str| {
        wait_until(&format!("{line} in {}", out(rig, "vrrp")), || out(rig, "vrrp").contains(line));
    };
    wait_state(rig.node(0), "VI_1", "MASTER");
    wait(&rig, "GROUP \"VG\" MASTER");
    wait(&rig, "INSTANCE \"VI_2\" MASTER");
    rig.node(0).write_file("/etc/keepalived/number".as_ref(), "3\n").expect("a file");
    wait(&rig, "INSTANCE \"VI_2\" MASTER_PRIORITY 103\n");
    rig.lan(0).cut("a", "eth0").expect("a cable");
    wait(&rig, "GROUP \"VG\" FAULT");
    wait(&rig, "INSTANCE \"VI_2\" FAULT");
    rig.nodes[0].stop(PATIENCE).expect("it ends");
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in ["all", "vrrp"] {
        wait_until("the last lines", || out(&rig, name).matches(" STOP ").count() == 3);
        for line in out(&rig, name).split_inclusive('\n') {
            let subject: Vec<&str> = line.split(' ').take(2).collect();
            told.entry(format!("{name} {}", subject.join(" "))).or_default().push(line.to_owned());
        }
        assert_eq!(sh(rig.node(0), &format!("test -e /tmp/{name} || echo gone")), "gone\n", "made and removed");
    }
    told
}

#[test]
fn vrrp_lines_are_keepalived_s() {
    needs_keepalived!();
    let (ours, theirs) = (told_by(Make::Holdfast), told_by(Make::Keepalived));
    assert_eq!(ours, theirs);
    assert_eq!(ours.len(), 6, "two instances and a group, by two FIFOs: {ours:?}");
    assert!(ours["all INSTANCE \"VI_2\""].contains(&"INSTANCE \"VI_2\" MASTER_PRIORITY 103\n".to_owned()));
}

/// `lvs_notify_fifo` hears of servers and not of instances, and each of its lines ends in a zero byte, as keepalived's do.
#[test]
fn lines_of_virtual_servers_and_states_again_after_a_reload() {
    needs_root!();
    let services = |more: &str| {
        format!(
            "global_defs {{\nvirtual_server_forwarder userspace\nscript_user root\nlvs_notify_fifo /tmp/lvs\n\
             lvs_notify_fifo_script /etc/keepalived/reader.sh\nvrrp_notify_fifo /tmp/vrrp\n\
             vrrp_notify_fifo_script /etc/keepalived/reader.sh\nfifo_write_vrrp_states_on_reload\n}}\n{INSTANCE}\
             virtual_server 10.9.0.100 8080 {{\nprotocol TCP\ndelay_loop 1\nomega\n{more}\n\
             quorum_up \"/etc/keepalived/told.sh quorum up\"\nquorum_down \"/etc/keepalived/told.sh quorum down\"\n\
             real_server 10.9.0.11 9000 {{\nnotify_up \"/etc/keepalived/told.sh real up\"\n\
             notify_down \"/etc/keepalived/told.sh real down\"\nTCP_CHECK {{\nconnect_timeout 1\nretry 0\n}}\n}}\n}}\n"
        )
    };
    let node = Node::new("a", Make::Holdfast, services("")).script("reader.sh", READER);
    let node = node.script("told.sh", "#!/bin/sh\necho \"$*\" >> /tmp/told\n");
    let mut rig = Rig::build(1, vec![node]);
    rig.node(0).write_file("/etc/keepalived/number".as_ref(), "0\n").expect("a file");
    let listen = || TcpListener::bind("10.9.0.11:9000").expect("a port");
    let listener = rig.node(0).host().run(listen);
    rig.start_all();
    let out = |rig: &Rig, name: &str| read(rig.node(0), &format!("/tmp/out.{name}"));
    wait_state(rig.node(0), "VI_1", "MASTER");
    drop(listener);
    let (rs, vs) = ("RS [10.9.0.11]:tcp:9000 [10.9.0.100]:tcp:8080", "VS [10.9.0.100]:tcp:8080");
    let down = format!("{rs} DOWN\n\0{vs} DOWN\n\0");
    wait_until("the server is down", || out(&rig, "lvs").ends_with(&down));
    let _listener = rig.node(0).host().run(listen);
    let up = format!("{rs} UP\n\0{vs} UP\n\0");
    wait_until("the server is up", || out(&rig, "lvs").ends_with(&up));
    // Subjects have their own order.
    let scripts = |rig: &Rig, of: &str| -> Vec<String> {
        let told = read(rig.node(0), "/tmp/told");
        told.lines().filter(|line| line.starts_with(of)).map(str::to_owned).collect()
    };
    wait_until("the scripts", || scripts(&rig, "").len() == 4);
    assert_eq!(scripts(&rig, "real"), ["real down", "real up"]);
    assert_eq!(scripts(&rig, "quorum"), ["quorum down", "quorum up"]);
    let before = out(&rig, "vrrp");
    assert!(!before.contains("RS "), "{before}");
    // Nothing of VRRP changes, and its states are said again all the same.
    let mark = rig.node(0).log_mark();
    reload(rig.node(0), &services("alpha"));
    wait_line(rig.node(0), mark, "reload: ");
    wait_until("the states again", || {
        let more = out(&rig, "vrrp").strip_prefix(&before).unwrap_or_default().to_owned();
        more == "INSTANCE \"VI_1\" MASTER 100\nGROUP \"VG\" MASTER 0\n"
    });
    rig.nodes[0].stop(PATIENCE).expect("it ends");
    wait_until("the last lines", || out(&rig, "vrrp").ends_with("STOP 0\n") || out(&rig, "vrrp").contains("STOP"));
    assert!(out(&rig, "lvs").ends_with(&format!("{vs} DOWN\n\0")), "{:?}", out(&rig, "lvs"));
    assert_eq!((scripts(&rig, "real").len(), scripts(&rig, "quorum").len()), (3, 3), "omega: {:?}", scripts(&rig, ""));
}
