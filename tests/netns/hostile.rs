//! Adverts that are not as they should be, from a third host: told in the log, and never a second master.
#![allow(clippy::disallowed_methods)] // Counts what may happen in the time that passed.

use std::time::{Duration, Instant};

use crate::common::{needs_root, steady};
use crate::forged::{Forged, GOOD, OURS, flood, send};
use crate::rig::{Make, Node, Rig, advert, announced, each, logged, wait_line, wait_state};
use crate::variant::{VRID, Variant};

const V: Variant = Variant::V2Pass;

const REFUSED: [Forged; 3] = [
    Forged { priority: 255, password: b"guess!\0\0", told: "wrong password (auth_pass), dropped", ..GOOD },
    Forged { priority: 0, password: b"s3creT\0\0", told: "wrong password (auth_pass), dropped", ..GOOD },
    Forged { priority: 255, ttl: 254, told: "TTL 254, must be 255, dropped", ..GOOD },
];

#[test]
fn forged_adverts_are_told_and_depose_nobody() {
    needs_root!();
    each(&REFUSED, |forged| {
        let rig = pair("");
        let (a, b) = (rig.node(0), rig.node(1));
        send(rig.node(2), *forged);
        for node in [a, b] {
            let line = wait_line(node, 0, forged.told);
            assert!(line.contains("(VI_1) advert from 10.9.0.13: "), "{line}");
        }
        let log = a.log_mark();
        for _ in 0..20 {
            send(rig.node(2), *forged);
        }
        undisturbed(&rig);
        assert!(!a.log().iter().skip(log).any(|line| line.text.contains(forged.told)), "told once per peer");
    });
}

/// Another list alone is no reason to be deaf, unless `strict_mode` wants it.
#[test]
fn another_address_list_is_heard_but_not_by_strict_routers() {
    needs_root!();
    each(&[false, true], |strict| {
        // Strict routers know no passwords.
        let password = if *strict { b"\0\0\0\0\0\0\0\0" } else { GOOD.password };
        let other = Forged { addresses: [OURS[0], [10, 9, 0, 200]], password, priority: 160, ..GOOD };
        let rig = pair(if *strict { "strict_mode on" } else { "" });
        let a = rig.node(0);
        send(rig.node(2), other);
        let told = wait_line(a, 0, "addresses differ: missing 10.9.0.101, unexpected 10.9.0.200");
        if *strict {
            assert!(told.contains("dropped"), "{told}");
            undisturbed(&rig);
        } else {
            assert!(told.contains("heard all the same"), "{told}");
            wait_line(a, 0, "Master received advert from 10.9.0.13 with higher priority 160, ours 150");
            // A router that was never there goes silent: the best of the others takes over.
            wait_state(a, "VI_1", "MASTER");
        }
    });
}

/// Twenty thousand adverts a second for three seconds: the pair goes on, the log has a line for each misdeed, and who is
/// better than both is master for as long as it is there.
#[test]
fn a_pair_goes_on_in_a_flood() {
    needs_root!();
    steady(|| {
        let rig = pair("");
        let (a, b) = (rig.node(0), rig.node(1));
        let (wire, log) = (rig.wire(), a.log_mark());
        let (begun, pause) = (Instant::now(), Duration::from_millis(5));
        flood(rig.node(2), &REFUSED, 60_000, pause);
        undisturbed(&rig);
        for (node, from) in [(a, log), (b, 0)] {
            for told in ["wrong password", "TTL 254"] {
                let lines = node.log().into_iter().skip(from).filter(|line| line.text.contains(told)).count();
                // Once a minute.
                let most = 1 + usize::try_from(begun.elapsed().as_secs() / 60).expect("few");
                assert!((1..=most).contains(&lines), "{}: {told} {lines} times", node.name());
            }
        }
        let log = a.log_mark();
        flood(rig.node(2), &[Forged { priority: 255, ..GOOD }], 20_000, pause);
        wait_line(a, log, "Entering BACKUP STATE");
        // Each of them that is master answers what is worse, or resigns, at most four times an interval.
        wait_state(a, "VI_1", "MASTER");
        let (mark, log, begun) = (wire.mark(), a.log_mark(), Instant::now());
        flood(rig.node(2), &[GOOD, Forged { priority: 0, ..GOOD }], 60_000, pause);
        let answers = wire.since(mark).into_iter().filter(|f| f.host == "a");
        let (adverts, others): (Vec<_>, Vec<_>) = answers.partition(|frame| advert(frame).is_some());
        let announcements = others.iter().filter_map(announced).count();
        let most = 4 * (2 + usize::try_from(begun.elapsed().as_secs()).expect("few"));
        println!("{} adverts, {announcements} announcements, at most {most}", adverts.len());
        // Five for each of both addresses, once an interval, and the bursts of a new master.
        assert!(
            adverts.len() <= most && announcements <= 4 * most + 20,
            "{} adverts, {announcements} announcements",
            adverts.len()
        );
        wait_line(a, log, "with lower priority 50");
    });
}

/// `a` is master, `b` backup, `c` runs no daemon.
fn pair(more: &str) -> Rig {
    let variant = if more.is_empty() { V } else { Variant::V2 };
    let node = |name, me, priority| Node::new(name, Make::Holdfast, variant.instance(me, 2, priority, more));
    let mut rig = Rig::build(1, vec![node("a", 0, 150), node("b", 1, 100), node("c", 2, 1)]);
    rig.nodes[0].start().expect("it starts");
    wait_state(rig.node(0), "VI_1", "MASTER");
    rig.nodes[1].start().expect("it starts");
    wait_state(rig.node(1), "VI_1", "BACKUP");
    rig
}

/// The master goes on, and the backup stays what it is.
fn undisturbed(rig: &Rig) {
    let wire = rig.wire();
    wire.wait_adverts(wire.mark(), "a", 5);
    let owners: Vec<_> = wire.owners(0, VRID).into_iter().filter(|host| host != "c").collect();
    assert!(owners.iter().all(|owner| owner == "a"), "{owners:?}");
    assert_eq!(rig.node(0).state("VI_1").as_deref(), Some("MASTER"));
    assert!(!logged(rig.node(1), "Entering MASTER"));
}
