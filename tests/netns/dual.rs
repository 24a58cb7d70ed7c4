//! Two masters at once: told with the other's name and the likely reason, until it heals; and what `why` says of it.

use std::process::Command;

use crate::common::{needs_keepalived, needs_root};
use crate::rig::{Make, Node, Rig, each, logged, reload, sh, wait_line, wait_state, wait_until};
use crate::variant::Variant;

const HOLDFAST: &str = env!("CARGO_BIN_EXE_holdfast");
/// Nothing that comes in for this protocol passes.
const DEAF: &str = "nft add table inet deaf; nft 'add chain inet deaf in { type filter hook input priority -400; }'; \
                    nft add rule inet deaf in meta l4proto 112 drop";

fn pair(variant: Variant, peer: Make, edit: impl Fn(String) -> String) -> Rig {
    let nodes = vec![
        Node::new("a", Make::Holdfast, variant.instance(0, 2, 150, "")),
        Node::new("b", peer, edit(variant.instance(1, 2, 100, ""))),
    ];
    let mut rig = Rig::build(1, nodes);
    rig.start_in_turn();
    rig
}

/// The packets of one direction are lost: the backup takes over, and both see the other in another way.
#[test]
fn a_one_way_path_is_named_on_both_sides_and_healed() {
    needs_root!();
    let rig = pair(Variant::V3, Make::Holdfast, |config| config);
    let (a, b) = (rig.node(0), rig.node(1));
    wait_state(b, "VI_1", "BACKUP");
    rig.wire().wait_adverts(rig.wire().mark(), "a", 3);
    sh(b, DEAF);
    wait_state(b, "VI_1", "MASTER");
    let told = wait_line(a, 0, "DUAL MASTER: 10.9.0.12 is master too");
    assert!(told.contains("priority 100 against our 150") && told.contains("one-way path"), "{told}");
    let told = wait_line(b, 0, "DUAL MASTER: another router is master too");
    assert!(told.contains("only ARP") && told.contains("claims 10.9.0.10"), "{told}");
    let again = wait_line(a, 0, "DUAL MASTER: 10.9.0.12 is still master too");
    assert!(again.contains("one-way path"), "{again}");
    sh(b, "nft delete table inet deaf");
    wait_state(b, "VI_1", "BACKUP");
    wait_line(a, 0, "dual master with 10.9.0.12 has ended");
    let ended = wait_line(b, 0, "dual master with another router has ended");
    assert!(ended.contains("we are master no more"), "{ended}");

    let why = |last: &str| b.ask(&["why", "VI_1", "--last", last]).expect("it runs");
    wait_until("b knows why", || why("1").contains("MASTER → BACKUP"));
    assert!(why("1").contains("cause: 10.9.0.11 (priority 150) is better than ours, 100"), "{}", why("1"));
    let both = why("2");
    assert!(both.contains("BACKUP → MASTER") && both.contains("cause: no advert from 10.9.0.11"), "{both}");
    assert!(both.contains("advert of 10.9.0.11, priority 150"), "the last adverts are evidence: {both}");
    one_timeline(&rig);
}

/// The exports of both become one timeline, by the adverts that both saw.
fn one_timeline(rig: &Rig) {
    let directory = tempfile::tempdir().expect("a directory");
    let files = [0, 1].map(|n| {
        let path = directory.path().join(format!("{n}.json"));
        std::fs::write(&path, rig.node(n).ask(&["why", "--export", "-"]).expect("it runs")).expect("written");
        path
    });
    let output = Command::new(HOLDFAST).args(["why", "--json", "--merge"]).args(&files).output().expect("it runs");
    let merged: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let clock = &merged["nodes"][1];
    assert_eq!(clock["node"], "b", "{clock}");
    assert!(clock["adverts"].as_u64().expect("a number") >= 3, "{clock}");
    // They have one clock, and the machine is busy.
    assert!(clock["ahead_us"].as_i64().expect("a number").abs() < 100_000, "{clock}");
    let changes = merged["timeline"].as_array().expect("lines").iter().filter(|line| line["is_transition"] == true);
    let changes: Vec<_> = changes.map(|line| format!("{} {}", line["node"], line["text"])).collect();
    assert!(changes.iter().any(|line| line.starts_with("\"b\"") && line.contains("BACKUP → MASTER")), "{changes:?}");
    assert!(changes.iter().any(|line| line.starts_with("\"a\"") && line.contains("→ MASTER")), "{changes:?}");
}

/// A password that differs makes two masters, each of which refuses the other.
#[test]
fn a_wrong_password_is_named_whoever_the_other_is() {
    needs_keepalived!();
    each(&[Make::Holdfast, Make::Keepalived], |peer| {
        let rig = pair(Variant::V2Pass, *peer, |config| config.replace("s3cret", "other"));
        let (a, b) = (rig.node(0), rig.node(1));
        wait_state(b, "VI_1", "MASTER");
        wait_line(a, 0, "advert from 10.9.0.12: wrong password (auth_pass), dropped");
        if *peer == Make::Keepalived {
            // Each advert that it refuses may put off its own: after the first one it is silent on the wire, and only its
            // ARP tells of it.
            wait_line(a, 0, "DUAL MASTER: ");
        } else {
            let told = wait_line(a, 0, "DUAL MASTER: 10.9.0.12 is master too");
            assert!(told.contains("its adverts are refused here: wrong password (auth_pass)"), "{told}");
            let told = wait_line(b, 0, "DUAL MASTER: 10.9.0.11 is master too");
            assert!(told.contains("wrong password"), "{told}");
        }
        reload(a, &Variant::V2Pass.instance(0, 2, 150, "").replace("s3cret", "other"));
        wait_state(b, "VI_1", "BACKUP");
        if *peer == Make::Holdfast {
            wait_line(a, 0, "dual master with 10.9.0.12 has ended");
        }
        assert_eq!(a.state("VI_1").as_deref(), Some("MASTER"));
    });
}

/// Another virtual router with the same VRID is no second master, and gets advice.
#[test]
fn a_stranger_with_our_vrid_is_told_and_a_free_one_is_proposed() {
    needs_root!();
    let other = |config: String| config.replace("10.9.0.100", "10.9.0.200").replace("10.9.0.101", "10.9.0.201");
    let rig = pair(Variant::V3, Make::Holdfast, other);
    let (a, b) = (rig.node(0), rig.node(1));
    let told = wait_line(b, 0, "virtual_router_id 51 is taken: 10.9.0.11 speaks it for other addresses");
    assert!(told.contains("(10.9.0.100 10.9.0.101); virtual_router_id 52 is free there"), "{told}");
    assert!(!logged(a, "DUAL MASTER") && !logged(b, "DUAL MASTER"));
}
