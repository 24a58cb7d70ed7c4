//! Notify scripts: which run, with which words, in which order.
#![allow(dead_code, missing_docs)] // Each test binary uses a part.

use crate::rig::{Make, Node, PATIENCE, Rig, read, wait_state, wait_until};
use crate::variant::Variant;

const SCRIPT: &str = "#!/bin/sh\necho \"$*\" >> /tmp/notified\n";

/// Everything that scripts of an instance and its group were told in a life with a fault, one line each.
pub fn told_by(make: Make) -> Vec<String> {
    let variant = Variant::V3;
    let lines = |owner: &str| -> String {
        let states = ["master", "backup", "fault", "stop"];
        let own = states.map(|s| format!("notify_{s} \"/etc/keepalived/n.sh {owner} {s} 'two words'\"\n")).concat();
        format!("{own}notify \"/etc/keepalived/n.sh {owner} any\"\n")
    };
    let config = format!(
        "vrrp_sync_group VG {{\ngroup {{\nVI_1\n}}\n{}}}\n{}",
        lines("group"),
        variant.quick(&variant.instance(0, 1, 150, &lines("instance")))
    );
    let mut rig = Rig::start(vec![Node::new("a", make, config).script("n.sh", SCRIPT)]);
    let told = |rig: &Rig| -> Vec<String> { read(rig.node(0), "/tmp/notified").lines().map(str::to_owned).collect() };
    let wait_told = |rig: &Rig, count: usize| {
        wait_until(&format!("{count} lines, and not {:?}", told(rig)), || told(rig).len() >= count);
    };
    // Four scripts at each state: of the instance and of the group, the particular and the general one.
    wait_state(rig.node(0), "VI_1", "MASTER");
    wait_told(&rig, 8);
    rig.lan(0).cut("a", "eth0").expect("a cable");
    wait_state(rig.node(0), "VI_1", "FAULT");
    wait_told(&rig, 12);
    rig.lan(0).mend("a", "eth0").expect("a cable");
    wait_state(rig.node(0), "VI_1", "MASTER");
    wait_told(&rig, 20);
    rig.nodes[0].stop(PATIENCE).expect("it ends");
    wait_told(&rig, 24);
    told(&rig)
}
