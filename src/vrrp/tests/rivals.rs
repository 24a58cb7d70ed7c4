//! Two masters at once, and strangers with our VRID: when people are told, and of what.

use super::super::config::{Auth, VrrpConfig};
use super::super::event::StateName;
use super::super::peers::DualReason;
use super::super::types::{Version, Vrid};
use super::host::{Host, a, add_b, ip, v2, v3, vips};
use super::table::as_is;
use super::wire::{Wire, neighbour};

const ONE_WAY: &str = "dual master 10.0.0.3: it goes on with priority 50 against our 100: our adverts do not reach it (a \
                       one-way path), or it refuses them";

/// What was said of second masters and strangers.
fn news(host: &Host) -> Vec<&str> {
    let ours = |line: &&str| line.contains("dual master") || line.contains("VRID");
    host.said.iter().map(String::as_str).filter(ours).collect()
}

/// An advert of priority 50 each second.
fn others(host: &mut Host, seconds: u32) {
    for _ in 0..seconds {
        host.play("hear 50; wait 1000");
    }
}

#[test]
fn a_second_master_is_told_after_a_contest_and_again_at_growing_distances() {
    let mut host = Host::start(v3());
    host.play("wait 4000");
    host.forget();
    others(&mut host, 4);
    assert_eq!(news(&host), [""; 0], "3.6 s may be a contest");
    others(&mut host, 1);
    assert_eq!(news(&host), [ONE_WAY]);
    let dual = host.snapshot("A").dual_master.expect("it shows");
    assert_eq!((dual.peer, dual.lasted.as_secs()), (Some(ip("10.0.0.3")), 5));
    assert_eq!(dual.reason, DualReason::OneWay { priority: 50, ours: 100 });
    // After 5, 10, 20, 40, 60, 60 … seconds more.
    for (after, told) in
        [(4, 1), (1, 2), (9, 2), (1, 3), (19, 3), (1, 4), (39, 4), (1, 5), (59, 5), (1, 6), (59, 6), (1, 7)]
    {
        others(&mut host, after);
        assert_eq!(news(&host).len(), told, "{:?}", news(&host));
    }
    assert!(news(&host)[1].starts_with("dual master still 10.0.0.3"));
}

#[test]
#[rustfmt::skip] // A table.
fn it_ends() {
    let rows = [
        ("it is silent", "wait 4610", "dual master ended: the other is heard no more"),
        ("it resigns", "hear 0", "dual master ended: the other resigned"),
        ("we give way", "hear 200", "dual master ended: we are master no more"),
        ("a fault here", "down", "dual master ended: we are master no more"),
        ("we stop", "stop", "dual master ended: we are master no more"),
        ("at once", "stop at once", "dual master ended: we are master no more"),
    ];
    for (what, steps, told) in rows {
        let mut host = Host::start(v3());
        host.play("wait 4000");
        others(&mut host, 5);
        host.forget();
        host.play(steps);
        assert_eq!(news(&host), [told], "{what}");
        assert_eq!(host.snapshot("A").dual_master, None, "{what}");
    }
}

#[test]
fn a_contest_is_no_second_master() {
    // What happens after it became master, and nothing is told of it.
    let rows = [
        "hear 50; wait 500; hear 50; wait 500; hear 50; wait 10000",
        "hear 50; wait 3000; hear 50; wait 3700; hear 50; wait 3700; hear 50; wait 3700",
        "hear 200; wait 1000; hear 200; wait 1000; hear 200; wait 1000; hear 200; wait 1000; hear 200",
        "hear 50; wait 1000; hear 0; wait 1000; hear 50; wait 1000; hear 0; wait 1000; hear 50; wait 1000; hear 0",
        "hear 50; wait 5000; hear 50; wait 5000; hear 50; wait 5000",
    ];
    for steps in rows {
        let mut host = Host::start(v3());
        host.play("wait 4000");
        host.forget();
        host.play(steps);
        assert_eq!(news(&host), [""; 0], "{steps}");
    }
}

/// Its adverts waited for us all the time: it became master by right while we stood still, and yields now.
#[test]
fn a_stall_of_ours_makes_no_second_master() {
    // What happens after it became master.
    let rows = [
        (
            "the whole machine stood still",
            "late 9000; hear 50 ago 5000; hear 50 ago 4000; hear 50 ago 3000; hear 50 ago 1; timeout",
        ),
        (
            "in a contest that had begun",
            "hear 50; wait 1000; hear 50; late 9000; hear 50 ago 2000; hear 50 ago 1; timeout",
        ),
    ];
    for (what, steps) in rows {
        let mut host = Host::start(v3());
        host.play("wait 4000");
        host.forget();
        host.play(steps);
        assert_eq!(news(&host), [""; 0], "{what}");
        let late = host.said.iter().filter(|line| line.starts_with("late by")).count();
        assert_eq!(late, 1, "{what}: {:?}", host.said);
        // One that goes on is one.
        others(&mut host, 5);
        assert_eq!(news(&host).len(), 1, "{what}");
    }
}

type Given = fn(&mut VrrpConfig);
/// What, the configuration, what differs from it and from its adverts, and the reason that is told.
type Refusal = (&'static str, fn() -> VrrpConfig, Given, fn(&mut Wire), &'static str);

#[test]
#[rustfmt::skip] // A table.
fn adverts_that_are_refused_make_a_second_master_with_the_reason() {
    fn password(config: &mut VrrpConfig) { a(config).auth = Auth::Pass(*b"secret\0\0"); }
    fn owner(config: &mut VrrpConfig) { a(config).priority = super::host::prio(255); a(config).owner_ignore_adverts = true; }
    fn strict(config: &mut VrrpConfig) { a(config).addresses = vips(&["10.0.0.100", "10.0.0.101"]); a(config).strict = true; }
    let rows: [Refusal; 8] = [
        ("wrong password", v2, password, |w| w.auth = Auth::Pass(*b"other\0\0\0"), "wrong password (auth_pass)"),
        ("no password", v2, password, |w| w.auth = Auth::None, "authentication type 0, ours is 1"),
        ("another version", v3, as_is, |w| w.version = Version::V2, "VRRP version 2, ours is 3"),
        ("checksum", v3, as_is, |w| w.plain = true, "wrong checksum"),
        ("TTL", v3, as_is, |w| w.ttl = Some(64), "TTL 64, must be 255"),
        ("another interval", v2, as_is, |w| w.interval_cs = 300, "advertisement interval 3 s, ours is 1 s"),
        ("ignored by an owner", v3, owner, |_| {}, "ignored by the address owner"),
        ("strict, and one address is missing", v3, strict, |w| w.addresses = vec![ip("10.0.0.100")],
         "addresses differ: missing 10.0.0.101, unexpected none"),
    ];
    for (what, config, given, wire, reason) in rows {
        let mut config = config();
        given(&mut config);
        let mut host = Host::start(config);
        host.play("wait 4000");
        let mut packet = Wire::from_peer(a(&mut host.engine.config()));
        packet.priority = 200;
        wire(&mut packet);
        host.forget();
        for _ in 0..4 {
            host.receive(&packet);
            host.play("wait 1000");
        }
        assert_eq!(news(&host), [""; 0], "{what}");
        for _ in 0..6 {
            host.receive(&packet);
            host.play("wait 1000");
        }
        assert_eq!(news(&host)[0], format!("dual master 10.0.0.3: its adverts are refused here: {reason}"), "{what}");
        assert_eq!(host.snapshot("A").state, StateName::Master, "{what}");
        let peer = host.snapshot("A").peers.remove(0);
        assert_eq!((peer.heard, peer.refused, peer.is_refused), (0, 10, true), "{what}");
        assert_eq!(peer.refusal.map(|e| e.to_string()).as_deref(), Some(reason), "{what}");
    }
}

#[test]
fn arp_alone_makes_a_second_master() {
    let claimed = "dual master somebody: no advert of it reaches us, only ARP: 02:00:00:00:00:99 claims 10.0.0.100";
    let mut host = Host::start(v3());
    host.play("wait 4000; announced 10.0.0.100; wait 3000");
    assert_eq!(news(&host), [""; 0], "who was master before us may have announced a moment ago");
    host.play("wait 1000; announced 10.0.0.100; announced 10.0.0.7");
    assert_eq!(news(&host), [claimed]);
    host.forget();
    host.play("wait 4000; announced 10.0.0.100; wait 999");
    assert_eq!(news(&host), [""; 0]);
    host.play("wait 1000");
    assert_eq!(news(&host), [claimed.replace("master somebody", "master still somebody")]);
    host.play("wait 140000");
    assert!(host.snapshot("A").dual_master.is_some());
    host.forget();
    host.play("wait 10000");
    assert_eq!(news(&host), ["dual master ended: the other is heard no more"]);
    // A backup hears its master's ARP; and a host with adverts is known by these.
    for before in ["hear 200", "wait 4000; hear 50; wait 1000; hear 50; wait 3000"] {
        let mut host = Host::start(v3());
        host.play(before);
        host.forget();
        host.play("announced 10.0.0.100; wait 1000");
        assert_eq!(news(&host), [""; 0], "{before}");
    }
}

#[test]
fn a_stranger_with_our_vrid_is_told_with_a_free_one() {
    let mut config = v3();
    add_b(&mut config);
    let here = a(&mut config).interface.clone();
    let b = config.instances.get_mut("B").expect("added");
    b.interface = here;
    b.addresses = vips(&["10.0.0.200"]);
    let mut host = Host::start(config);
    host.forget();
    let socket = Wire::from_peer(a(&mut host.engine.config())).socket;
    assert!(!host.sockets[&socket].vrids.is_empty(), "the kernel keeps others away");
    let mut stranger = Wire::from_peer(a(&mut host.engine.config()));
    stranger.addresses = vec![ip("10.0.0.77")];
    host.receive(&stranger);
    host.timeout();
    assert!(host.sockets[&socket].vrids.is_empty(), "and lets all in for a while");
    let mut other = Wire::from_peer(a(&mut host.engine.config()));
    other.vrid = Vrid::new(53).expect("not 0");
    host.receive(&other);
    host.receive(&stranger);
    host.play("wait 4999");
    assert_eq!(news(&host), [""; 0]);
    host.play("wait 1");
    // 52 is B's, 53 was heard.
    assert_eq!(news(&host), ["VRID 51 taken by 10.0.0.3, Some(54) is free"]);
    assert!(!host.sockets[&socket].vrids.is_empty());
    host.receive(&stranger);
    host.play("wait 6000");
    assert_eq!(news(&host).len(), 1, "told once in ten minutes");
    host.play("wait 600000");
    host.receive(&stranger);
    host.play("wait 5000");
    assert_eq!(news(&host).len(), 2);
    let peer = host.snapshot("A").peers.remove(0);
    assert_eq!(peer.addresses, Some(vec![ip("10.0.0.77")]));
}

/// Each of a thousand routers may have one, heard in the same moment: the sockets are opened for all of them together.
#[test]
fn strangers_of_all_instances_at_once_cost_one_look_at_the_sockets() {
    let mut config = v3();
    add_b(&mut config);
    let mut host = Host::start(config);
    host.forget();
    for name in ["A", "B"] {
        for last in 70..75 {
            let mut stranger = Wire::from_peer(host.engine.instance_config(name).expect("configured"));
            stranger.source = neighbour(stranger.source, &last.to_string());
            stranger.addresses = vec![ip("10.0.0.77")];
            host.receive(&stranger);
        }
    }
    host.timeout();
    let looks = |host: &Host| host.said.iter().filter(|line| line.starts_with("sockets")).count();
    assert_eq!(looks(&host), 1);
    assert!(host.sockets.values().all(|spec| spec.vrids.is_empty()));
    host.play("wait 5000");
    assert_eq!((looks(&host), news(&host).len()), (2, 10));
}

#[test]
fn a_stranger_is_no_second_master_and_garbage_is_no_stranger() {
    let stranger: fn(&mut Wire) = |w| w.addresses = vec![ip("10.0.0.77")];
    let garbage: fn(&mut Wire) = |w| {
        w.addresses = vec![ip("10.0.0.77")];
        w.plain = true;
    };
    for (what, edit, told) in [("stranger", stranger, "VRID 51 taken"), ("garbage", garbage, "dual master 10.0.0.3")] {
        let mut host = Host::start(v3());
        host.play("wait 4000");
        let mut wire = Wire::from_peer(a(&mut host.engine.config()));
        wire.priority = 50;
        edit(&mut wire);
        for _ in 0..8 {
            host.receive(&wire);
            host.play("wait 1000");
        }
        assert_eq!(news(&host).len(), 1, "{what}: {:?}", news(&host));
        assert!(news(&host)[0].starts_with(told), "{what}: {:?}", news(&host));
    }
}

#[test]
fn peers_are_listed_in_fault_too_and_are_evidence_of_a_change() {
    let mut host = Host::start(v3());
    host.play("hear 200; wait 1040; hear 200; wait 1000; hear 200");
    let peer = host.snapshot("A").peers.remove(0);
    assert_eq!((peer.priority, peer.version, peer.heard, peer.addresses), (200, 3, 3, None));
    assert_eq!((peer.late_max.as_millis(), peer.late_mean.as_millis()), (40, 20));
    assert_eq!(peer.late_last.iter().map(|l| l.as_millis()).collect::<Vec<_>>(), [0, 40]);
    host.play("down; wait 1000; hear 200; wait 500; timeout");
    let shown = host.snapshot("A");
    assert_eq!((shown.peers[0].heard, shown.counters.advert_rcvd), (4, 3), "seen, and not heard");
    assert_eq!(shown.peers[0].last_seen.as_millis(), 500);
}
