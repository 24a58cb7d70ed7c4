//! What is lost on our own side: addresses that somebody removes, adverts for which there was no room, time in which
//! this process was held up, announcements that no cable carried.

use std::time::Duration;

use super::super::config::VrrpConfig;
use super::host::{Host, a, add_b, v3, v6, vips};
use super::table::{as_is, row, run};

const GONE: &str = "warning: 10.0.0.100 was removed by somebody else: it is put back";
const GONE_V6: &str = "warning: fe80::100 was removed by somebody else: it is put back";
const GONE_AGAIN: &str = "warning: 10.0.0.100 was removed by somebody else: it is put back in 100 ms";
const LOST: &str = "warning: adverts were lost for want of room in the socket: waiting once more for the master";

fn two(config: &mut VrrpConfig) {
    a(config).addresses = vips(&["10.0.0.100", "10.0.0.101"]);
}

fn unwatched(config: &mut VrrpConfig) {
    a(config).track_primary = false;
}

#[test]
#[rustfmt::skip] // A table.
fn addresses() {
    run(v3, as_is, &[
        row("removed", "put back in the same turn, announced, and no failover", as_is, "wait 4000", "lose 10.0.0.100; timeout",
            &["MASTER 100, 609.375 ms", GONE, "has 10.0.0.100", "announce 10.0.0.100 x5"]),
        row("removed", "again: 100 ms later", as_is, "wait 4000; lose 10.0.0.100; timeout", "lose 10.0.0.100; timeout",
            &["MASTER 100, 100 ms", GONE_AGAIN]),
        row("removed", "two at once are one loss", two, "wait 4000; lose 10.0.0.100 10.0.0.101; timeout",
            "lose 10.0.0.100; timeout", &["MASTER 100, 100 ms", GONE_AGAIN]),
        row("removed", "not as backup", as_is, "wait 1000", "lose 10.0.0.100; timeout", &["BACKUP 100, 2609.375 ms"]),
        row("removed", "not when it was master", as_is, "wait 4000; hear 200", "lose 10.0.0.100; timeout",
            &["BACKUP 100, 3609.375 ms"]),
        row("removed", "mastership is given up meanwhile", as_is, "wait 4000; lose 10.0.0.100; timeout; lose 10.0.0.100; hear 200",
            "wait 500", &["BACKUP 100, 3109.375 ms"]),
        row("removed", "a stop in that moment: it is put back for as long as it takes", as_is, "wait 4000; lose 10.0.0.100", "stop",
            &["STOP 100, 5 ms", "has 10.0.0.100", "advert 0", "no more announcements", "MASTER -> STOP: stopping"]),
        row("removed", "not with no_track", |c| a(c).addresses[0].track = false, "wait 4000", "lose 10.0.0.100; timeout",
            &["MASTER 100, 609.375 ms"]),
        row("removed", "by ourselves a moment ago: no loss", as_is, "wait 4000", "unlink 10.0.0.100; timeout",
            &["MASTER 100, 609.375 ms"]),
        row("removed", "while it was being written: missed when that is done", as_is, "wait 4000; unlink 10.0.0.100", "written; timeout",
            &["MASTER 100, 609.375 ms", GONE, "has 10.0.0.100", "announce 10.0.0.100 x5"]),
        row("removed", "while it was being written, and there again by then", as_is, "wait 4000; unlink 10.0.0.100",
            "there 10.0.0.100; written; timeout", &["MASTER 100, 609.375 ms"]),
        row("removed", "before we heard that it was there", as_is, "wait 4000", "written; timeout",
            &["MASTER 100, 609.375 ms", GONE, "has 10.0.0.100", "announce 10.0.0.100 x5"]),
        row("removed", "not one that the kernel refused", as_is, "wait 4000", "refused 2; timeout",
            &["MASTER 100, 609.375 ms", "address failed: 10.0.0.100: permission denied"]),
        row("removed", "an address that is nobody's", as_is, "wait 4000", "lose 10.0.0.77; timeout", &["MASTER 100, 609.375 ms"]),
    ]);
    run(v6, as_is, &[
        row("IPv6", "is told of after the answer", as_is, "wait 4000; written; there fe80::100; wait 4700",
            "late 300; timeout", &["MASTER 100, 609.375 ms"]),
        row("IPv6", "is looked for when that takes too long", as_is, "wait 4000; written; wait 4700", "late 300; timeout",
            &["MASTER 100, 609.375 ms", GONE_V6, "has fe80::100", "announce fe80::100 x5"]),
    ]);
}

/// Two programs that fight over an address must not keep each other busy.
#[test]
fn addresses_that_go_on_being_removed_are_put_back_ever_more_slowly() {
    let mut host = Host::start(v3());
    host.play("wait 4000");
    let put_back = |host: &mut Host| {
        host.play("lose 10.0.0.100");
        let before = host.now;
        host.forget();
        while !host.said.iter().any(|line| line == "has 10.0.0.100") {
            let next = host.engine.poll_timeout().expect("a master has deadlines");
            host.wait(next.saturating_duration_since(host.now));
        }
        u64::try_from((host.now - before).as_millis()).expect("short")
    };
    let waits = [0, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000];
    for (n, wait) in waits.into_iter().enumerate() {
        assert_eq!(put_back(&mut host), wait, "loss {n}");
    }
    host.wait(Duration::from_secs(20));
    assert_eq!(put_back(&mut host), 30_000, "not calm yet");
    host.wait(Duration::from_millis(30_001));
    assert_eq!(put_back(&mut host), 0, "a minute of calm");
    let lost = host.snapshot("A").counters.address_lost;
    assert_eq!(lost, u64::try_from(waits.len() + 2).expect("few"));
}

#[test]
#[rustfmt::skip] // A table.
fn adverts() {
    run(v3, as_is, &[
        row("no room", "a backup waits once more", as_is, "hear 200; wait 3000", "overflow", &["BACKUP 100, 3609.375 ms", LOST]),
        row("no room", "only once: a flood must not keep it from taking over", as_is, "hear 200; wait 3000; overflow; wait 3000",
            "overflow", &["BACKUP 100, 609.375 ms"]),
        row("no room", "until the master is heard again, and people know", as_is,
            "hear 200; wait 3000; overflow; wait 3000; hear 200; wait 500", "overflow", &["BACKUP 100, 3609.375 ms"]),
        row("no room", "a minute later they are told again", as_is, "hear 200; overflow; hear 200; late 60001; hear 200",
            "overflow", &["BACKUP 100, 3609.375 ms", LOST]),
        row("no room", "an advert that is discarded is no such thing", as_is, "hear 200; wait 3000; overflow; hear 50; wait 3000",
            "overflow", &["BACKUP 100, 609.375 ms"]),
        row("no room", "nobody has resigned for nothing", as_is, "hear 200; hear 0; wait 100", "overflow",
            &["BACKUP 100, 509.375 ms"]),
        row("no room", "before anybody listens: it waits from when it does", as_is, "hear 200; wait 3000",
            "overflow; late 3000; listen", &["BACKUP 100, 3609.375 ms", LOST]),
        row("no room", "in another socket", as_is, "hear 200; wait 3000", "overflow eth1", &["BACKUP 100, 609.375 ms"]),
        row("no room", "a master waits for nobody", as_is, "wait 4000", "overflow", &["MASTER 100, 609.375 ms"]),
        row("no room", "each router of that socket, and no other", add_b, "hear A 200; hear B 200; wait 3000", "overflow eth1",
            &["A BACKUP 100, B BACKUP 100, 609.375 ms",
              "B: warning: adverts were lost for want of room in the socket: waiting once more for the master"]),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn time() {
    run(v3, as_is, &[
        row("received before now", "the master-down interval began then", as_is, "wait 3000", "hear 200 ago 1000",
            &["BACKUP 100, 2609.375 ms"]),
        row("received before now", "and the skew time", as_is, "hear 200; wait 1000", "hear 0 ago 500", &["BACKUP 100, 109.375 ms"]),
        row("received before now", "that of a master that yields, too", as_is, "wait 4000", "hear 200 ago 1000",
            &["BACKUP 100, 2609.375 ms", "advert 100", "lacks 10.0.0.100",
              "MASTER -> BACKUP: 10.0.0.3 (priority 200) is better than ours, 100"]),
        row("received before now", "the wire was silent for long enough while we were held up: takeover at once", as_is,
            "hear 200; late 6000", "hear 200 ago 5000; timeout",
            &["MASTER 100, 1000 ms", "late by 1390.625 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: no advert from 10.0.0.3 (priority 200) for 5000 ms, our timer was 1390 ms late"]),
        row("received before now", "it was not: no takeover", as_is, "hear 200; late 6000", "hear 200 ago 3000; timeout",
            &["BACKUP 100, 609.375 ms"]),
        row("stopped within a turn", "who leaves FAULT in it begins to wait when its socket is open", as_is, "down; up; late 5000",
            "listen", &["BACKUP 100, 3609.375 ms"]),
        row("stopped within a turn", "and who is put back into elections", as_is,
            "hear 200; maintenance on; maintenance off; late 5000", "listen", &["BACKUP 100, 3609.375 ms"]),
        row("stopped within a turn", "not who has heard a master in it", as_is, "down; up; late 1000; hear 200; late 3000",
            "listen", &["BACKUP 100, 609.375 ms"]),
        row("stopped within a turn", "nor one that resigned", as_is, "down; up; hear 0; late 500", "listen",
            &["BACKUP 100, 109.375 ms"]),
        row("stopped within a turn", "nor who began to wait in another", as_is, "down; up; listen; late 3000", "listen",
            &["BACKUP 100, 609.375 ms"]),
        row("received after now", "by a clock that jumps: now", as_is, "wait 3000", "hear 200 ahead 500",
            &["BACKUP 100, 3609.375 ms"]),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn announcements() {
    run(v3, as_is, &[
        row("carrier", "back: what was announced meanwhile reached nobody", unwatched, "wait 4000; down", "up",
            &["MASTER 100, 609.375 ms", "announce 10.0.0.100 x5"]),
        row("carrier", "of a link that has an address", |c| a(c).addresses[0].options.device = Some("eth1".to_owned()),
            "wait 4000; down eth1", "up eth1", &["MASTER 100, 609.375 ms", "announce 10.0.0.100 x5"]),
        row("carrier", "of another link", as_is, "wait 4000; down eth1", "up eth1", &["MASTER 100, 609.375 ms"]),
        row("carrier", "was there all the time", as_is, "wait 4000", "up", &["MASTER 100, 609.375 ms"]),
        row("carrier", "of a port of the bridge that the link is", as_is, "wait 4000", "port",
            &["MASTER 100, 609.375 ms", "announce 10.0.0.100 x5"]),
        row("carrier", "of a port of another bridge", as_is, "wait 4000", "port eth1", &["MASTER 100, 609.375 ms"]),
        row("carrier", "of a port, while it is backup", as_is, "hear 200", "port", &["BACKUP 100, 3609.375 ms"]),
        row("carrier", "that flaps: the second burst comes a second after the first", as_is, "wait 4000; port; wait 100; port", "wait 900",
            &["MASTER 100, 609.375 ms", "advert 100", "announce 10.0.0.100 x5"]),
        row("MAC address", "another one, of which nobody knows", as_is, "wait 4000", "mac",
            &["MASTER 100, 609.375 ms", "announce 10.0.0.100 x5"]),
        row("last advert", "of another rival a moment later: announced a second after the first burst, as that came in between",
            as_is, "wait 4000; hear 99; wait 100; hear 98 .4", "wait 900",
            &["MASTER 100, 1000 ms", "advert 100", "announce 10.0.0.100 x5"]),
        row("carrier", "of a backup", unwatched, "hear 200; down", "up", &["BACKUP 100, 3609.375 ms"]),
        row("last advert", "of one that yields: the winner announces again", as_is, "wait 4000", "hear 99",
            &["MASTER 100, 1000 ms", "advert 100", "announce 10.0.0.100 x5", "lower priority 99 from 10.0.0.3"]),
    ]);
}

/// A thousand forged adverts a second, for a minute: bursts a second apart, our adverts at most four times as often,
/// and one line in the log.
#[test]
fn forged_adverts_make_no_storm() {
    for forged in ["hear 99", "hear 0"] {
        let mut host = Host::start(v3());
        host.play("wait 4000");
        host.forget();
        for _ in 0..60_000 {
            host.play(forged);
            host.play("wait 1");
        }
        let count = |what: &str| host.said.iter().filter(|line| line.starts_with(what)).count();
        let (bursts, adverts, told) = (count("announce"), count("advert"), count("lower priority"));
        assert!((55..=75).contains(&bursts), "{forged}: {bursts} bursts");
        assert!((60..=241).contains(&adverts), "{forged}: {adverts} adverts");
        assert_eq!(told, usize::from(forged == "hear 99"));
        assert_eq!(host.snapshot("A").counters.advert_rcvd, 60_000);
    }
}
