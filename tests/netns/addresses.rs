//! Addresses as the kernel has them: options, duplicate address detection, what is left behind by a dead predecessor.

use std::path::Path;

use crate::common::{needs_root, steady};
use crate::rig::{
    Make, Node, PATIENCE, Rig, announced, holds, ip, reload, sh, vrrp_pid, wait_address, wait_line, wait_state,
    wait_until,
};
use crate::variant::{VRID, Variant};

/// Static addresses are there from the start, whoever is master, and go with the daemon.
#[test]
fn static_addresses_do_not_depend_on_mastership() {
    needs_root!();
    steady(|| {
        let statics = "static_ipaddress {\n10.9.0.77/24 dev eth0\nfd09::77/64 dev eth0\n}\n";
        let v = Variant::V3;
        let mut rig = Rig::start(vec![
            Node::new("a", Make::Holdfast, v.instance(0, 2, 150, "")),
            Node::new("b", Make::Holdfast, format!("{statics}{}", v.instance(1, 2, 100, ""))),
        ]);
        wait_state(rig.node(1), "VI_1", "BACKUP");
        for address in ["10.9.0.77", "fd09::77"].map(ip) {
            wait_address(rig.node(1), "eth0", address, true);
        }
        wait_state(rig.node(0), "VI_1", "MASTER");
        rig.nodes[0].stop(PATIENCE).expect("it ends");
        wait_state(rig.node(1), "VI_1", "MASTER");
        assert!(holds(rig.node(1), "eth0", ip("10.9.0.77")));
        rig.nodes[1].stop(PATIENCE).expect("it ends");
        for address in ["10.9.0.77", "fd09::77", "10.9.0.100"].map(ip) {
            wait_address(rig.node(1), "eth0", address, false);
        }
    });
}

/// Virtual IPv6 addresses are usable at once. With `-nodad` (keepalived's name for leaving detection on) they are not,
/// and are announced all the same when they are.
#[test]
fn ipv6_addresses_without_and_with_detection_of_duplicates() {
    needs_root!();
    steady(|| {
        let v = Variant::V6;
        let config = v.instance(0, 1, 150, "").replace("fd09::100/64", "fd09::100/64\nfd09::200/64 -nodad");
        let mut rig = Rig::build(1, vec![Node::new("a", Make::Holdfast, config)]);
        let settings = "/proc/sys/net/ipv6/conf/eth0";
        for (name, value) in [("accept_dad", "1"), ("dad_transmits", "1")] {
            rig.node(0).write_file(&Path::new(settings).join(name), value).expect("a setting of the namespace");
        }
        rig.start_all();
        wait_state(rig.node(0), "VI_1", "MASTER");
        for address in ["fe80::9:100", "fd09::100", "fd09::200"].map(ip) {
            wait_address(rig.node(0), "eth0", address, true);
        }
        let flags = |address: &str| {
            let all = sh(rig.node(0), "ip -6 -o addr show dev eth0");
            all.lines().find(|line| line.contains(&format!(" {address}/"))).expect("it is there").to_owned()
        };
        for address in ["fe80::9:100", "fd09::100"] {
            let flags = flags(address);
            assert!(flags.contains(" nodad") && !flags.contains("tentative"), "{flags}");
            rig.wire().wait(0, address, |frame| announced(frame) == Some(ip(address)));
        }
        assert!(!flags("fd09::200").contains("nodad"), "{}", flags("fd09::200"));
        wait_until("detection ends", || !flags("fd09::200").contains("tentative"));
        rig.wire().wait(0, "the checked one announced", |frame| announced(frame) == Some(ip("fd09::200")));
    });
}

/// What a machine that died left on its interface goes when the daemon starts, not when it next becomes master.
#[test]
fn leftover_addresses_go_at_the_start() {
    needs_root!();
    steady(|| {
        let v = Variant::V3;
        let nodes = vec![
            Node::new("a", Make::Holdfast, v.instance(0, 2, 150, "nopreempt")),
            Node::new("b", Make::Holdfast, v.instance(1, 2, 100, "")),
        ];
        let mut rig = Rig::build(1, nodes);
        rig.start_in_turn();
        wait_state(rig.node(0), "VI_1", "MASTER");
        wait_address(rig.node(0), "eth0", v.vip(), true);
        wait_state(rig.node(1), "VI_1", "BACKUP");
        rig.nodes[0].kill_all();
        wait_state(rig.node(1), "VI_1", "MASTER");
        assert!(holds(rig.node(0), "eth0", v.vip()), "nobody was left to remove it");
        rig.nodes[0].start().expect("it starts again");
        wait_state(rig.node(0), "VI_1", "BACKUP");
        wait_address(rig.node(0), "eth0", v.vip(), false);
        assert_eq!(rig.wire().owners(0, VRID), ["a", "b"]);
    });
}

/// The vrrp process dies before it has heard of a reload: the next one knows what that took away.
#[test]
fn what_a_reload_took_away_goes_with_the_next_process() {
    needs_root!();
    steady(|| {
        // So slow that main waits long for a process that stands still.
        let config = Variant::V3.instance(0, 1, 150, "state MASTER").replace("advert_int 1\n", "advert_int 5\n");
        let other = config.replace("VI_1", "VI_2").replace(&format!("id {VRID}"), "id 52").replace(".0.10", ".0.20");
        let statics = "static_ipaddress {\n10.9.0.77/24 dev eth0\n}\n";
        let mut rig = Rig::build(1, vec![Node::new("a", Make::Holdfast, format!("{statics}{config}{other}"))]);
        rig.start_all();
        let node = rig.node(0);
        let departing = ["10.9.0.200", "10.9.0.201", "10.9.0.77"].map(ip);
        wait_state(node, "VI_1", "MASTER");
        wait_state(node, "VI_2", "MASTER");
        departing.iter().for_each(|address| wait_address(node, "eth0", *address, true));
        let (pid, mark) = (vrrp_pid(node), node.log_mark());
        sh(node, &format!("kill -STOP {pid}"));
        reload(node, &config);
        wait_line(node, mark, "1 removed");
        assert!(departing.iter().all(|address| holds(node, "eth0", *address)), "it has not heard of that");
        sh(node, &format!("kill -KILL {pid}"));
        departing.iter().for_each(|address| wait_address(node, "eth0", *address, false));
        wait_state(node, "VI_1", "MASTER");
        assert!(holds(node, "eth0", ip("10.9.0.100")), "what is configured stays");
    });
}
