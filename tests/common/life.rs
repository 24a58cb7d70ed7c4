//! The life of a pair, the same for every make of director and every kind of VRRP: election, crash, return, planned stop.
#![allow(dead_code, missing_docs)] // Each test binary uses a part.

use std::time::Duration;

use crate::rig::{Make, Node, PATIENCE, Rig, announced, wait_address, wait_state};
use crate::variant::{VRID, Variant};

/// A takeover may be this much later than the protocol wants it: a busy machine is no reason to fail.
const SLACK: Duration = Duration::from_secs(15);

/// keepalived reads its clock at other moments than the wire does.
const EARLY: Duration = Duration::from_millis(3);

/// `more`: further lines of both instances.
pub fn life(variant: Variant, first: Make, second: Make, more: &str) {
    let mut rig = Rig::start(vec![
        Node::new("a", first, variant.instance(0, 2, 150, more)),
        Node::new("b", second, variant.instance(1, 2, 100, more)),
    ]);
    let wire = rig.wire();
    let vip = variant.vip();

    // Election: the higher priority, if not at once (a late start is no fault) then by preemption.
    wire.wait_priority(0, "a", 150);
    wait_state(rig.node(0), "VI_1", "MASTER");
    wait_state(rig.node(1), "VI_1", "BACKUP");
    for vip in variant.vips() {
        wait_address(rig.node(0), "eth0", vip, true);
        wire.wait(0, "an announcement", |frame| frame.host == "a" && announced(frame) == Some(vip));
    }
    wait_address(rig.node(1), "eth0", vip, false);
    // `b` may have been master for a moment, if it started sooner: by the next advert of `a` it has had its last word.
    wire.wait_adverts(wire.mark(), "a", 1);
    let settled = wire.mark();
    wire.wait_adverts(settled, "a", 2);

    // Crash: the other one after the master-down interval, and not before.
    let mark = wire.mark();
    rig.nodes[0].kill_all();
    rig.lan(0).cut("a", "eth0").expect("a cable");
    let takeover = wire.wait_priority(mark, "b", 100);
    let silence = takeover.at - wire.last_master_advert("a", takeover.at).at;
    let due = variant.master_down(100);
    assert!(silence + EARLY >= due, "{variant:?}: took over after {silence:?}, due after {due:?}");
    assert!(silence <= due + SLACK, "{variant:?}: took over after {silence:?}, due after {due:?}");
    wait_state(rig.node(1), "VI_1", "MASTER");
    wait_address(rig.node(1), "eth0", vip, true);
    wire.wait(mark, "an announcement of the new master", |f| f.host == "b" && announced(f) == Some(vip));

    // Return: the better one preempts, after it has listened as long as the protocol wants.
    rig.lan(0).mend("a", "eth0").expect("a cable");
    rig.lan(0).wait_host_ready(rig.node(0).host(), "eth0").expect("the link is up");
    let mark = wire.mark();
    rig.nodes[0].start().expect("it starts again");
    wire.wait_priority(mark, "a", 150);
    wait_state(rig.node(0), "VI_1", "MASTER");
    wait_state(rig.node(1), "VI_1", "BACKUP");
    wait_address(rig.node(0), "eth0", vip, true);
    wait_address(rig.node(1), "eth0", vip, false);

    // Planned stop: priority 0, and the other one after its skew time, not after the master-down interval.
    let mark = wire.mark();
    let status = rig.nodes[0].stop(PATIENCE).expect("it ends");
    assert!(status.success(), "{status}");
    let resigned = wire.wait_priority(mark, "a", 0);
    wait_address(rig.node(0), "eth0", vip, false);
    let takeover = wire.wait_priority(mark, "b", 100);
    let silence = takeover.at - resigned.at;
    let due = variant.skew(100);
    assert!(silence + EARLY >= due, "{variant:?}: took over after {silence:?}, due after {due:?}");
    assert!(silence <= due + SLACK, "{variant:?}: took over after {silence:?}, due after {due:?}");
    wait_address(rig.node(1), "eth0", vip, true);
    wait_state(rig.node(1), "VI_1", "MASTER");
    wire.wait_adverts(wire.mark(), "b", 2);
    assert_eq!(wire.owners(settled, VRID), ["a", "b", "a", "b"], "{variant:?}");
}
