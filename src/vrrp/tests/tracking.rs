//! Trackers and links: priorities and faults, as they come and go. The arithmetic is in `track`.

use super::super::config::{Track, TrackerKey, VrrpConfig};
use super::super::engine::Input;
use super::super::types::Link;
use super::host::{Host, a, ip, link, prio, script, v3};
use super::table::{as_is, row, run};

fn weight_0(config: &mut VrrpConfig) {
    a(config).tracks = vec![script(0, false)];
}

fn file(config: &mut VrrpConfig) {
    a(config).tracks = vec![Track { tracker: TrackerKey::File("f".to_owned()), weight: 1, reverse: false }];
}

fn eth1(config: &mut VrrpConfig) {
    a(config).tracks = vec![Track { tracker: TrackerKey::Interface("eth1".to_owned()), weight: 0, reverse: false }];
}

#[test]
#[rustfmt::skip] // A table.
fn of_trackers() {
    run(v3, as_is, &[
        row("weight 0", "INIT until the first result", weight_0, "", "", &["INIT 100, waits for nothing"]),
        row("weight 0", "the first result is good", weight_0, "", "script up",
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "INIT -> BACKUP: script s is up"]),
        row("weight 0", "the first result is bad", weight_0, "", "script down",
            &["FAULT 100, waits for nothing", "lacks 10.0.0.100", "INIT -> FAULT: tracked script s failed"]),
        row("weight 0", "there will never be one", weight_0, "", "script unknown",
            &["FAULT 100, waits for nothing", "lacks 10.0.0.100", "INIT -> FAULT: tracked script s cannot be evaluated"]),
        row("weight 0", "a master resigns", weight_0, "script up; wait 4000", "script down",
            &["FAULT 100, waits for nothing", "advert 0", "lacks 10.0.0.100", "MASTER -> FAULT: tracked script s failed"]),
        row("weight 0", "the end of a fault", weight_0, "script down; wait 5000", "script up",
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "FAULT -> BACKUP: the fault has ended"]),
        row("weight 0", "the same status again is nothing", weight_0, "script up; wait 4000", "script up",
            &["MASTER 100, 609.375 ms"]),
        row("two faults", "one ends, the other stays", weight_0, "script up; down; script down", "up",
            &["FAULT 100, waits for nothing"]),
        row("reverse", "healthy is a fault", |c| a(c).tracks = vec![script(0, true)], "", "script up",
            &["FAULT 100, waits for nothing", "lacks 10.0.0.100", "INIT -> FAULT: tracked script s failed"]),
        row("reverse", "unhealthy is not", |c| a(c).tracks = vec![script(0, true)], "", "script down; timeout",
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "INIT -> BACKUP: script s is down"]),
        row("weight 20", "no result: nothing waits, nothing is added", |c| a(c).tracks = vec![script(20, false)], "",
            "timeout", &["BACKUP 100, 3609.375 ms"]),
        row("weight 20", "a backup's deadline follows the priority", |c| a(c).tracks = vec![script(20, false)], "wait 1000",
            "script up", &["BACKUP 120, 2531.25 ms", "priority 100 -> 120: script s is up"]),
        row("weight 20", "a master tells at once, and its adverts go on in time", |c| a(c).tracks = vec![script(20, false)],
            "wait 4000", "script up", &["MASTER 120, 609.375 ms", "priority 100 -> 120: script s is up", "advert 120"]),
        row("weight -20", "taken while unhealthy", |c| a(c).tracks = vec![script(-20, false)], "wait 4000", "script down",
            &["MASTER 80, 609.375 ms", "priority 100 -> 80: script s is down", "advert 80"]),
        row("weight -20", "and now a better one is heard", |c| a(c).tracks = vec![script(-20, false)],
            "wait 4000; script down", "hear 90",
            &["BACKUP 80, 3687.5 ms", "advert 80", "lacks 10.0.0.100",
              "MASTER -> BACKUP: 10.0.0.3 (priority 90) is better than ours, 80"]),
        row("weight 253", "254 at most: 255 is the owner's", |c| a(c).tracks = vec![script(253, false)], "", "script up",
            &["BACKUP 254, 3007.812 ms", "priority 100 -> 254: script s is up"]),
        row("weight -253", "1 at least: 0 is a resignation", |c| a(c).tracks = vec![script(-253, false)], "", "script down",
            &["BACKUP 1, 3996.093 ms", "priority 100 -> 1: script s is down"]),
        row("owner", "its priority is not a tracker's business",
            |c| { a(c).priority = prio(255); a(c).tracks = vec![script(-50, false)]; }, "wait 500", "script down",
            &["MASTER 255, 500 ms"]),
        row("track_file", "its number is added", file, "wait 4000", "file 7",
            &["MASTER 107, 609.375 ms", "priority 100 -> 107: file f is 7", "advert 107"]),
        row("track_file", "-254 is a fault", file, "wait 4000", "file -254",
            &["FAULT 100, waits for nothing", "advert 0", "lacks 10.0.0.100", "MASTER -> FAULT: tracked file f says -254"]),
        row("track_interface", "another link", eth1, "wait 4000", "down eth1",
            &["FAULT 100, waits for nothing", "advert 0", "lacks 10.0.0.100", "MASTER -> FAULT: tracked interface eth1 is down"]),
        row("track_interface", "comes back", eth1, "down eth1", "up eth1",
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "FAULT -> BACKUP: the fault has ended"]),
        row("track_interface", "is gone", eth1, "wait 4000", "gone eth1",
            &["FAULT 100, waits for nothing", "advert 0", "lacks 10.0.0.100", "MASTER -> FAULT: tracked interface eth1 is down"]),
        row("no tracker", "of ours", as_is, "wait 4000", "script down; file 3; down eth1; gone eth1", &["MASTER 100, 609.375 ms"]),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn of_the_instance_s_own_link() {
    run(v3, as_is, &[
        row("interface", "down", as_is, "wait 4000", "down",
            &["FAULT 100, waits for nothing", "advert 0", "lacks 10.0.0.100", "MASTER -> FAULT: interface eth0 is down"]),
        row("interface", "gone, with its addresses and its socket", as_is, "wait 4000", "gone",
            &["FAULT 100, waits for nothing", "lacks 10.0.0.100", "sockets", "has",
              "MASTER -> FAULT: interface eth0 does not exist"]),
        row("interface", "back after it was gone", as_is, "wait 4000; gone", "back",
            &["BACKUP 100, 3609.375 ms", "sockets eth0/1", "lacks 10.0.0.100", "FAULT -> BACKUP: the fault has ended"]),
        row("interface", "the fault has other reasons now: not worth a word", as_is, "down", "gone",
            &["FAULT 100, waits for nothing", "sockets"]),
        row("dont_track_primary", "a link without carrier is no fault", |c| a(c).track_primary = false, "wait 4000", "down",
            &["MASTER 100, 609.375 ms"]),
        row("dont_track_primary", "one that does not exist is", |c| a(c).track_primary = false, "", "gone",
            &["FAULT 100, waits for nothing", "sockets", "has", "BACKUP -> FAULT: interface eth0 does not exist"]),
        row("source", "no address to send from", as_is, "", "no-address",
            &["FAULT 100, waits for nothing", "lacks 10.0.0.100",
              "BACKUP -> FAULT: interface eth0 has no address to send from"]),
        row("source", "another one: adverts come from that", as_is, "wait 4000", "readdress", &["MASTER 100, 609.375 ms"]),
        row("track_src_ip", "the configured source is gone",
            |c| { a(c).source = Some(ip("10.0.0.2")); a(c).track_source = true; }, "wait 4000", "readdress",
            &["FAULT 100, waits for nothing", "advert 0", "lacks 10.0.0.100",
              "MASTER -> FAULT: source address 10.0.0.2 is not on this host"]),
        row("mcast_src_ip", "without track_src_ip that is no fault", |c| a(c).source = Some(ip("10.0.0.2")),
            "wait 4000", "readdress", &["MASTER 100, 609.375 ms"]),
    ]);
}

#[test]
fn a_renamed_link_is_another_link() {
    let mut config = v3();
    eth1(&mut config);
    let mut host = Host::start(config);
    host.forget();
    host.input(Input::Link(Link { name: "wan0".to_owned(), ..link(2) }));
    assert_eq!(host.said.last().map(String::as_str), Some("BACKUP -> FAULT: tracked interface eth1 is down"));
    host.forget();
    host.input(Input::Link(link(2)));
    assert_eq!(host.said.last().map(String::as_str), Some("FAULT -> BACKUP: the fault has ended"));
}

/// Containers come and go by the thousand, each with a link of a new name.
#[test]
fn links_that_nobody_tracks_leave_nothing_behind() {
    let mut host = Host::start(v3());
    host.forget();
    for n in 3..2000 {
        let mut link = link(2);
        link.index = super::super::types::IfIndex(n);
        link.name = format!("veth{n}");
        host.input(Input::Link(link.clone()));
        host.input(Input::LinkGone(link.index));
    }
    assert_eq!(host.said, [""; 0]);
    assert_eq!(host.engine.snapshot().trackers, []);
}

/// A new source address, and a master with no other change: RFC 9568 §6.4.3 compares with it.
#[test]
fn the_source_is_that_of_the_link_now() {
    let mut host = Host::start(v3());
    host.play("wait 4000; readdress");
    host.forget();
    host.play("wait 1000");
    assert_eq!(host.sent[0].source, ip("10.0.0.9"));
    host.play("hear 100 .3");
    assert_eq!(host.snapshot("A").counters.release_master, 0, ".3 is below .9");
}
