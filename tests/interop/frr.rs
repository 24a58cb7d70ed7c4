//! Holdfast with FRR's vrrpd, a router of VRRPv3 that shares no line with keepalived, in both roles and both families.
//!
//! FRR keeps its virtual addresses on macvlan interfaces with the virtual MAC address, so that what it does is read off the
//! wire.

use std::path::Path;
use std::time::Duration;

use crate::rig::{Make, Node, PATIENCE, Rig, announced, wait_address, wait_state};
use crate::variant::{VRID, Variant};

/// Debian's vrrpd.
pub const VRRPD: &str = "/usr/lib/frr/vrrpd";
/// A takeover may be this much later than the protocol wants it.
const SLACK: Duration = Duration::from_secs(15);
/// Two programs, two clocks; and FRR counts in centiseconds.
const EARLY: Duration = Duration::from_millis(12);

fn have_frr() -> bool {
    let have = Path::new(VRRPD).exists();
    if !have {
        crate::common::skipped(&format!("needs {VRRPD}"));
    }
    have
}

/// The same virtual router in FRR's words.
fn frr(variant: Variant, priority: u8) -> String {
    let family = if variant.is_v6() { "ipv6" } else { "ip" };
    let mut lines = vec![
        "interface eth0".to_owned(),
        format!(" vrrp {VRID} version 3"),
        format!(" vrrp {VRID} priority {priority}"),
        format!(" vrrp {VRID} advertisement-interval {}", variant.interval().as_millis()),
    ];
    lines.extend(variant.vips().iter().map(|vip| format!(" vrrp {VRID} {family} {vip}")));
    lines.join("\n") + "\n"
}

/// Election, crash, return and planned stop of `a`, seen by the wire and by the one of them that is ours.
fn life(variant: Variant, ours: usize) {
    let node = |n: usize, name, priority| {
        if n == ours {
            Node::new(name, Make::Holdfast, variant.instance(n, 2, priority, ""))
        } else {
            Node::new(name, Make::Frr, frr(variant, priority))
        }
    };
    let mut rig = Rig::build(1, vec![node(0, "a", 150), node(1, "b", 100)]);
    let (wire, vip) = (rig.wire(), variant.vip());
    let we_are = |rig: &Rig, master: usize| {
        wait_state(rig.node(ours), "VI_1", if master == ours { "MASTER" } else { "BACKUP" });
        wait_address(rig.node(ours), "eth0", vip, master == ours);
    };
    let announcement = |mark: u64, host: &str| {
        wire.wait(mark, &format!("an announcement of {host}"), |f| f.host == host && announced(f) == Some(vip));
    };

    // Election.
    rig.nodes[0].start().expect("it starts");
    wire.wait_priority(0, "a", 150);
    announcement(0, "a");
    rig.nodes[1].start().expect("it starts");
    wire.wait_adverts(wire.mark(), "a", 5);
    we_are(&rig, 0);

    // Crash.
    let mark = wire.mark();
    rig.nodes[0].kill_all();
    rig.lan(0).cut("a", "eth0").expect("a cable");
    let takeover = wire.wait_priority(mark, "b", 100);
    let silence = takeover.at - wire.last_master_advert("a", takeover.at).at;
    let due = variant.master_down(100);
    assert!(silence + EARLY >= due && silence <= due + SLACK, "took over after {silence:?}, due after {due:?}");
    announcement(mark, "b");
    if ours == 1 {
        we_are(&rig, 1);
    }

    // Return.
    rig.lan(0).mend("a", "eth0").expect("a cable");
    rig.lan(0).wait_host_ready(rig.node(0).host(), "eth0").expect("the link is up");
    let mark = wire.mark();
    rig.nodes[0].start().expect("it starts again");
    wire.wait_priority(mark, "a", 150);
    we_are(&rig, 0);
    wire.wait_adverts(wire.mark(), "a", 3);

    // Planned stop.
    let mark = wire.mark();
    rig.nodes[0].stop(PATIENCE).expect("it ends");
    let resigned = wire.wait_priority(mark, "a", 0);
    let takeover = wire.wait_priority(mark, "b", 100);
    let (wait, due) = (takeover.at - resigned.at, variant.skew(100));
    assert!(wait + EARLY >= due && wait <= due + SLACK, "took over after {wait:?}, due after {due:?}");
    announcement(mark, "b");
    if ours == 0 {
        wait_address(rig.node(0), "eth0", vip, false);
    } else {
        we_are(&rig, 1);
    }
    wire.wait_adverts(wire.mark(), "b", 3);
    assert_eq!(wire.owners(0, VRID), ["a", "b", "a", "b"]);
}

#[test]
fn as_master_beside_frr() {
    crate::common::needs_root!();
    if have_frr() {
        crate::rig::each(&[Variant::V3, Variant::V6], |variant| life(*variant, 0));
    }
}

#[test]
fn as_backup_beside_frr() {
    crate::common::needs_root!();
    if have_frr() {
        crate::rig::each(&[Variant::V3, Variant::V6], |variant| life(*variant, 1));
    }
}
