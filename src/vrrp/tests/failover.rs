//! What an operator commands: to hand a router over, to take no part in elections.

use super::super::config::VrrpConfig;
use super::groups::pair;
use super::host::{Host, a, prio, v3, vips};
use super::table::{as_is, row, run};

fn two(config: &mut VrrpConfig) {
    a(config).addresses = vips(&["10.0.0.100", "10.0.0.101"]);
}

fn owner(config: &mut VrrpConfig) {
    a(config).priority = prio(255);
}

const HANDED_OVER: &[&str] =
    &["BACKUP 100, 5 ms", "advert 0", "no more announcements", "MASTER -> BACKUP: told to hand over"];

/// Three times the master-down interval is 10828.125 ms.
#[test]
#[rustfmt::skip] // A table.
fn of_a_master() {
    run(v3, |c| a(c).addresses = vips(&["10.0.0.100"]), &[
        row("failover", "it resigns and keeps its addresses", two, "wait 4000", "failover", HANDED_OVER),
        row("failover", "it resigns again: one packet may be lost; and the addresses go when nobody comes", two,
            "wait 4000; failover", "wait 996.094",
            &["BACKUP 100, 2613.281 ms", "advert 0", "lacks 10.0.0.100 10.0.0.101"]),
        row("failover", "each goes when the successor has announced it", two, "wait 4000; failover; wait 5; hear 50",
            "announced 10.0.0.100; announced 10.0.0.101",
            &["BACKUP 100, 3609.375 ms", "has 10.0.0.101, lacks 10.0.0.100", "lacks 10.0.0.100 10.0.0.101"]),
        row("failover", "or a moment after the first advert", two, "wait 4000; failover; wait 5", "hear 50; wait 20",
            &["BACKUP 100, 3589.375 ms", "lacks 10.0.0.100 10.0.0.101"]),
        row("failover", "nobody takes over: master again", as_is, "wait 4000; failover", "wait 3609.375",
            &["MASTER 100, 1000 ms", "advert 0", "lacks 10.0.0.100", "advert 100", "has 10.0.0.100",
              "announce 10.0.0.100 x5", "BACKUP -> MASTER: no advert from any master for 3609 ms"]),
        row("failover", "a worse master is left alone", as_is, "wait 4000; failover; wait 600; hear 50; wait 20",
            "wait 980; hear 50; wait 1000; hear 50; wait 1000; hear 50; wait 1000; hear 50; wait 1000; hear 50; wait 1000; hear 50",
            &["BACKUP 100, 3609.375 ms"]),
        row("failover", "for three master-down intervals after its first advert, and then preempted", as_is,
            "wait 4000; failover; wait 600; hear 50; wait 20; wait 1000; hear 50; wait 3000; hear 50; wait 3000; hear 50; \
             wait 3000; hear 50; wait 828", "hear 50; wait 2781.375",
            &["MASTER 100, 1000 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: preempting 10.0.0.3 (priority 50) with priority 100"]),
        row("failover", "for ever with nopreempt", |c| a(c).preempt = false,
            "wait 4000; failover; wait 600; hear 50; wait 3000; hear 50; wait 3000; hear 50; wait 3000; hear 50; wait 3000; hear 50",
            "wait 3000; hear 50", &["BACKUP 100, 3609.375 ms"]),
        row("failover", "the successor falls silent: master again", as_is, "wait 4000; failover; wait 600; hear 50; wait 20",
            "wait 3589.375",
            &["MASTER 100, 1000 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: no advert from 10.0.0.3 (priority 50) for 3609 ms"]),
        row("failover", "an owner that has heard others", owner, "hear 50; wait 4000", "failover",
            &["BACKUP 255, 5 ms", "advert 0", "no more announcements", "MASTER -> BACKUP: told to hand over"]),
        row("failover", "an owner that is alone stays", owner, "wait 4000", "failover",
            &["MASTER 255, 1000 ms", "refused: A owns its addresses (priority 255) and has heard no other router"]),
        row("failover", "there is nothing to hand over", as_is, "hear 200", "failover",
            &["BACKUP 100, 3609.375 ms", "refused: A is BACKUP, not MASTER"]),
        row("failover", "twice", as_is, "wait 4000; failover", "failover",
            &["BACKUP 100, 5 ms", "refused: A is BACKUP, not MASTER"]),
        row("failover", "no such instance", as_is, "wait 4000", "failover Z",
            &["MASTER 100, 609.375 ms", "refused: there is no vrrp_instance Z"]),
        row("failover", "while the daemon stops", as_is, "wait 4000; stop", "failover",
            &["STOP 100, 5 ms", "refused: the daemon is stopping"]),
        row("failover", "a fault meanwhile ends the hand-over", two, "wait 4000; failover", "down",
            &["FAULT 100, waits for nothing", "lacks 10.0.0.100 10.0.0.101", "BACKUP -> FAULT: interface eth0 is down"]),
        row("failover", "a stop meanwhile does not", two, "wait 4000; failover; announced 10.0.0.100", "stop; announced 10.0.0.101",
            &["INIT 100, waits for nothing", "BACKUP -> STOP: stopping", "lacks 10.0.0.100 10.0.0.101"]),
        row("failover", "an address that a reload takes away meanwhile goes", two, "wait 4000; failover", "reload",
            &["BACKUP 100, 5 ms", "has 10.0.0.100, lacks 10.0.0.101"]),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn of_a_group() {
    run(pair, as_is, &[
        row("failover", "all members, whichever is named", as_is, "wait 4000", "failover B",
            &["A BACKUP 100, B BACKUP 100, 5 ms",
              "advert 0", "no more announcements", "MASTER -> BACKUP: told to hand over",
              "B: advert 0", "B: no more announcements", "B: MASTER -> BACKUP: told to hand over",
              "group G -> BACKUP: told to hand over"]),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn maintenance() {
    run(v3, super::host::add_b, &[
        row("maintenance", "a master hands over", as_is, "wait 4000", "maintenance on",
            &["BACKUP 100, 5 ms", "advert 0", "no more announcements", "MASTER -> BACKUP: maintenance"]),
        row("maintenance", "and waits for nobody", as_is, "wait 4000; maintenance on", "wait 60000",
            &["BACKUP 100, waits for nothing", "advert 0", "lacks 10.0.0.100"]),
        row("maintenance", "nor does a backup", as_is, "hear 200", "maintenance on; wait 60000",
            &["BACKUP 100, waits for nothing"]),
        row("maintenance", "which hears what is said", as_is, "hear 200; maintenance on; wait 60000", "hear 0; wait 9000; hear 50; wait 9000",
            &["BACKUP 100, waits for nothing"]),
        row("maintenance", "an owner too, from the start", |c| { owner(c); c.global.startup_delay = std::time::Duration::from_secs(1); },
            "maintenance on", "wait 9000", &["BACKUP 255, waits for nothing", "lacks 10.0.0.100", "INIT -> BACKUP: started"]),
        row("maintenance", "after a fault", as_is, "down; maintenance on", "up; wait 9000",
            &["BACKUP 100, waits for nothing", "lacks 10.0.0.100", "FAULT -> BACKUP: the fault has ended"]),
        row("maintenance", "an instance that comes later", as_is, "wait 4000; maintenance on; wait 2000", "reload; wait 9000",
            &["A BACKUP 100, B BACKUP 100, waits for nothing", "sockets eth0/1 eth1/1", "B: lacks 10.1.0.100",
              "B: INIT -> BACKUP: configuration reloaded"]),
        row("maintenance", "its end: it begins to listen", as_is, "wait 4000; maintenance on; wait 60000", "maintenance off",
            &["BACKUP 100, 3609.375 ms"]),
        row("maintenance", "and preempts as ever", as_is, "wait 4000; maintenance on; wait 60000; maintenance off; wait 100; hear 50",
            "wait 3509.375",
            &["MASTER 100, 1000 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: preempting 10.0.0.3 (priority 50) with priority 100"]),
        row("maintenance", "on when it is on", as_is, "hear 200; maintenance on", "maintenance on; maintenance off; maintenance off",
            &["BACKUP 100, 3609.375 ms"]),
        row("maintenance", "no failover then", as_is, "wait 4000; maintenance on", "failover",
            &["BACKUP 100, 5 ms", "refused: A is BACKUP, not MASTER"]),
    ]);
    run(pair, as_is, &[
        row("maintenance", "a member that waits for its group waits no longer", as_is, "hear A 200; hear B 200; wait 3000; hear A 200; wait 700",
            "maintenance on; wait 60000", &["A BACKUP 100, B BACKUP 100, waits for nothing"]),
    ]);
}

/// What main and people see of it.
#[test]
fn a_hand_over_is_shown_and_listened_for() {
    let mut host = Host::start(v3());
    host.play("wait 4000; failover");
    assert!(host.snapshot("A").handing_over && !host.engine.listens_to_announcements().is_empty());
    assert_eq!(host.engine.poll_flight_records().iter().map(|r| r.next_advert_at).collect::<Vec<_>>(), [None]);
    host.play("announced 10.0.0.100");
    assert!(!host.snapshot("A").handing_over && host.engine.listens_to_announcements().is_empty());
    host.play("maintenance on");
    assert!(host.engine.snapshot().maintenance && host.engine.is_in_maintenance());
}
