//! Interfaces that come late, vanish, come back, are renamed or get other addresses: followed, whether or not the file says
//! `dynamic_interfaces`.

use crate::common::needs_root;
use crate::rig::{
    Make, Node, PATIENCE, Rig, advert, each, holds, ip, sh, wait_address, wait_line, wait_state, wait_until,
};
use crate::variant::Variant;

const WITH_AND_WITHOUT: [&str; 2] = ["", "global_defs {\ndynamic_interfaces\n}\n"];

/// `a` (150) is master of `b` (100), with these global lines.
fn pair(variant: Variant, global: &str) -> Rig {
    let mut rig = Rig::build(
        1,
        vec![
            Node::new("a", Make::Holdfast, format!("{global}{}", variant.instance(0, 2, 150, ""))),
            Node::new("b", Make::Holdfast, variant.instance(1, 2, 100, "")),
        ],
    );
    rig.start_in_turn();
    wait_state(rig.node(1), "VI_1", "BACKUP");
    wait_address(rig.node(0), "eth0", variant.vip(), true);
    rig
}

/// An interface that is not there at the start is waited for, with a reason.
#[test]
fn an_interface_that_comes_late_is_waited_for() {
    needs_root!();
    each(&WITH_AND_WITHOUT, |global| {
        let v = Variant::V3;
        let late = v.instance(0, 1, 150, "").replace("eth0", "late0");
        let rig = Rig::start(vec![Node::new("a", Make::Holdfast, format!("{global}{late}"))]);
        let a = rig.node(0);
        let line = wait_line(a, 0, "Entering FAULT STATE");
        assert!(line.contains("interface late0 does not exist"), "{line}");
        sh(a, "ip link set eth0 down && ip link set eth0 name late0 && ip link set late0 up");
        wait_state(a, "VI_1", "MASTER");
        wait_address(a, "late0", v.vip(), true);
        rig.wire().wait_priority(0, "a", 150);
    });
}

/// The driver is unloaded, the card pulled out: another interface of that name is the same to us.
#[test]
fn an_interface_that_vanishes_and_comes_back_is_followed() {
    needs_root!();
    each(&WITH_AND_WITHOUT, |global| {
        let v = Variant::V3;
        let mut rig = pair(v, global);
        for round in 0..2 {
            let log = rig.node(0).log_mark();
            sh(rig.node(0), "ip link del eth0");
            // It goes down, and then it goes.
            let line = wait_line(rig.node(0), log, "Entering FAULT STATE");
            assert!(line.contains("interface eth0 "), "round {round}: {line}");
            wait_state(rig.node(1), "VI_1", "MASTER");
            rig.replug(0, &[(ip("10.9.0.11"), 24)]);
            wait_state(rig.node(0), "VI_1", "MASTER");
            wait_address(rig.node(0), "eth0", v.vip(), true);
            wait_state(rig.node(1), "VI_1", "BACKUP");
            wait_address(rig.node(1), "eth0", v.vip(), false);
        }
        assert!(rig.nodes[0].stop(PATIENCE).expect("it ends").success());
        wait_address(rig.node(0), "eth0", v.vip(), false);
    });
}

/// An interface under another name is another interface, and its addresses go with the name.
#[test]
fn an_interface_that_is_renamed_is_followed() {
    needs_root!();
    each(&WITH_AND_WITHOUT, |global| {
        let v = Variant::V3;
        let rig = pair(v, global);
        let (a, b) = (rig.node(0), rig.node(1));
        let log = a.log_mark();
        // Since Linux 6.2 an interface may be renamed while it is up; before, it goes down first.
        sh(a, "ip link set eth0 name other0 || { ip link set eth0 down && ip link set eth0 name other0; }");
        wait_line(a, log, "interface eth0 does not exist");
        wait_state(b, "VI_1", "MASTER");
        wait_address(a, "other0", v.vip(), false);
        sh(a, "ip link set other0 down && ip link set other0 name eth0 && ip link set eth0 up");
        wait_state(a, "VI_1", "MASTER");
        wait_address(a, "eth0", v.vip(), true);
        wait_state(b, "VI_1", "BACKUP");
        wait_address(b, "eth0", v.vip(), false);
    });
}

/// Adverts come from the link-local address. When it changes, the next one comes from the new one; without any there is a
/// fault until there is one again.
#[test]
fn another_link_local_address_is_followed() {
    needs_root!();
    each(&WITH_AND_WITHOUT, |global| {
        let v = Variant::V6;
        let rig = pair(v, global);
        let (a, b, wire) = (rig.node(0), rig.node(1), rig.wire());
        let before = advert(&wire.wait_master(wire.mark(), "a")).expect("an advert").source;
        let source_is = |mark: u64, source: &str| {
            wire.wait(mark, &format!("an advert from {source}"), |frame| {
                frame.host == "a" && advert(frame).is_some_and(|a| a.source == ip(source) && a.priority == 150)
            });
        };
        let log = a.log_mark();
        let mark = wire.mark();
        sh(a, "ip addr add fe80::77/64 dev eth0 nodad");
        // The kernel tells of a new address later than of one that goes.
        source_is(mark, "fe80::77");
        sh(a, &format!("ip addr del {before}/64 dev eth0"));
        wire.wait_adverts(wire.mark(), "a", 4);
        assert!(!a.log().iter().skip(log).any(|line| line.state_change().is_some()), "no reason to change the state");
        assert_ne!(b.state("VI_1").as_deref(), Some("MASTER"));
        // None at all: what is left is a virtual one, from which nobody advertises.
        sh(a, "ip addr del fe80::77/64 dev eth0");
        let line = wait_line(a, log, "Entering FAULT STATE");
        assert!(line.contains("interface eth0 has no address to send from"), "{line}");
        wait_state(b, "VI_1", "MASTER");
        wait_until("the addresses are gone", || v.vips().iter().all(|vip| !holds(a, "eth0", *vip)));
        let mark = wire.mark();
        sh(a, "ip addr add fe80::88/64 dev eth0 nodad");
        source_is(mark, "fe80::88");
        wait_state(b, "VI_1", "BACKUP");
        wait_address(a, "eth0", v.vip(), true);
    });
}
