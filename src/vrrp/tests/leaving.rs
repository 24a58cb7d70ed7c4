//! A master that was told to stop: it resigns, and its addresses stay until the successor has them.

use std::collections::BTreeSet;

use super::super::config::VrrpConfig;
use super::super::types::IfIndex;
use super::host::{Host, a, add_b, cs, prio, script, v2, v3, v6, vips};
use super::table::{as_is, row, run};

fn two() -> VrrpConfig {
    let mut config = v3();
    a(&mut config).addresses = vips(&["10.0.0.100", "10.0.0.101"]);
    a(&mut config).tracks = vec![script(0, false)];
    config
}

const LEAVING: &str = "script up; wait 4000; stop";
const NOTHING: &[&str] = &["STOP 100, 5 ms"];
const END: &str = "INIT 100, waits for nothing";

#[test]
#[rustfmt::skip] // A table.
fn every_input() {
    run(two, |c| c.instances.clear(), &[
        row("timer", "5 ms later it resigns again: one packet may be lost; 255/256 of an interval remain", as_is, LEAVING,
            "wait 5", &["STOP 100, 991.093 ms", "advert 0"]),
        row("timer", "only once", as_is, LEAVING, "wait 996.093", &["STOP 100, 0 ms", "advert 0"]),
        row("timer", "nobody came: the end, and not an announcement in all that time", as_is, LEAVING, "wait 30000",
            &[END, "advert 0", "lacks 10.0.0.100 10.0.0.101"]),
        row("timer", "a stall is no reason to stay longer", as_is, LEAVING, "stall 3000",
            &[END, "advert 0", "lacks 10.0.0.100 10.0.0.101"]),
        row("timer", "early", as_is, LEAVING, "timeout", NOTHING),
        row("advert", "priority 0 is no successor's", as_is, LEAVING, "hear 0", NOTHING),
        row("advert", "the successor's: 20 ms more, and no second resignation", as_is, LEAVING, "hear 50",
            &["STOP 100, 20 ms"]),
        row("advert", "whatever its priority", as_is, LEAVING, "hear 255", &["STOP 100, 20 ms"]),
        row("advert", "counted from when it came", as_is, LEAVING, "late 10; hear 50 ago 5", &["STOP 100, 15 ms"]),
        row("advert", "then the end", as_is, LEAVING, "hear 50; wait 20", &[END, "lacks 10.0.0.100 10.0.0.101"]),
        row("advert", "its next ones, or another's, put nothing off", as_is, LEAVING, "hear 50; wait 15; hear 50; hear 60 .1",
            &["STOP 100, 5 ms"]),
        row("advert", "nor does one near the end", as_is, LEAVING, "wait 990; hear 50", &["STOP 100, 6.093 ms", "advert 0"]),
        row("announced", "one address: that one goes", as_is, LEAVING, "announced 10.0.0.100",
            &["STOP 100, 5 ms", "has 10.0.0.101, lacks 10.0.0.100"]),
        row("announced", "again", as_is, "script up; wait 4000; stop; announced 10.0.0.100", "announced 10.0.0.100", NOTHING),
        row("announced", "and the other", as_is, "script up; wait 4000; stop; announced 10.0.0.100", "announced 10.0.0.101",
            &[END, "lacks 10.0.0.100 10.0.0.101"]),
        row("announced", "what is left goes with time", as_is, "script up; wait 4000; stop; announced 10.0.0.100",
            "wait 2000", &[END, "advert 0", "lacks 10.0.0.100 10.0.0.101"]),
        row("announced", "not ours", as_is, LEAVING, "announced 10.0.0.55", NOTHING),
        row("announced", "on another link", as_is, LEAVING, "announced 10.0.0.100 eth1", NOTHING),
        row("stop at once", "after all", as_is, LEAVING, "stop at once", &[END, "lacks 10.0.0.100 10.0.0.101"]),
        row("stop", "is under way", as_is, LEAVING, "stop", NOTHING),
        row("reload", "comes too late", as_is, LEAVING, "reload", NOTHING),
        row("link", "its ups and downs change nothing any more", as_is, LEAVING,
            "down; up; no-address; readdress; down eth1; gone; back", NOTHING),
        row("trackers", "nor do those of trackers", as_is, LEAVING, "script down; script unknown; script up", NOTHING),
        row("lost", "an address that is removed is not put back", as_is, LEAVING, "lose 10.0.0.100", NOTHING),
        row("overflow", "it waits for no silence", as_is, LEAVING, "overflow", NOTHING),
        row("synced", "refusals are told", as_is, LEAVING, "synced; refused",
            &["STOP 100, 5 ms", "address failed: 10.0.0.100: permission denied"]),
        row("the end", "and after it, nothing", as_is, "script up; wait 4000; stop; wait 2000",
            "hear 50; announced 10.0.0.101; stop; stop at once; overflow; wait 9000", &[END]),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn for_how_long() {
    run(v3, as_is, &[
        row("the longest skew", "of a short interval", |c| a(c).advert_interval = cs(1), "wait 40; stop", "wait 5",
            &["STOP 100, 4.96 ms", "advert 0"]),
        row("the longest skew", "it is not ours: the successor's priority may be 1", |c| a(c).priority = prio(254),
            "wait 4000; stop", "wait 5", &["STOP 254, 991.093 ms", "advert 0"]),
        row("the longest skew", "2 s at the most", |c| a(c).advert_interval = cs(1000), "wait 37000; stop", "wait 5",
            &["STOP 100, 1995 ms", "advert 0"]),
        row("no address", "nothing to linger for", |c| a(c).addresses.clear(), "wait 4000", "stop",
            &["INIT 100, waits for nothing", "advert 0", "has", "MASTER -> STOP: stopping"]),
        row("an address elsewhere", "each on its link", |c| a(c).addresses[0].options.device = Some("eth1".to_owned()),
            "wait 4000; stop; announced 10.0.0.100", "announced 10.0.0.100 eth1",
            &["INIT 100, waits for nothing", "lacks 10.0.0.100"]),
    ]);
    run(v2, as_is, &[row("VRRPv2", "its skew is of a second", as_is, "wait 4000; stop", "wait 5",
        &["STOP 100, 991.093 ms", "advert 0"])]);
    run(v6, as_is, &[row("IPv6", "by Neighbor Advertisements", as_is, "wait 4000; stop", "announced fe80::100",
        &["INIT 100, waits for nothing", "lacks fe80::100"])]);
}

/// The process ends when every hand-over has, and listens only while one has not.
#[test]
fn the_engine_has_stopped_when_all_addresses_are_handed_over() {
    let mut config = v3();
    add_b(&mut config);
    let mut host = Host::start(config);
    host.play("wait 4000");
    assert_eq!((host.engine.is_stopped(), host.engine.listens_to_announcements()), (false, BTreeSet::new()));
    host.play("stop");
    let both = BTreeSet::from([IfIndex(1), IfIndex(2)]);
    assert_eq!((host.engine.is_stopped(), host.engine.listens_to_announcements()), (false, both));
    host.play("announced 10.0.0.100");
    let second = BTreeSet::from([IfIndex(2)]);
    assert_eq!((host.engine.is_stopped(), host.engine.listens_to_announcements()), (false, second));
    assert_eq!(host.snapshot("B").counters.release_master, 1, "it has been told all the same");
    host.play("announced 10.1.0.100 eth1");
    assert_eq!((host.engine.is_stopped(), host.engine.listens_to_announcements()), (true, BTreeSet::new()));
    assert_eq!(host.engine.poll_timeout(), None);
}

/// A process that is killed while it lingers must not be taken for a master.
#[test]
fn the_flight_record_says_at_once_that_it_is_no_master() {
    let mut host = Host::start(v3());
    host.play("wait 4000");
    assert!(host.engine.poll_flight_records().iter().any(|record| record.next_advert_at.is_some()));
    host.play("stop");
    let records = host.engine.poll_flight_records();
    assert_eq!(records.iter().map(|record| record.next_advert_at).collect::<Vec<_>>(), [None]);
}
