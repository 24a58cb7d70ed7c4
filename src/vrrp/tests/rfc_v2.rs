//! VRRPv2: RFC 3768, each clause that binds a router and its state machine, where it is not VRRPv3's; and PASS of
//! RFC 2338, in [`super::receive`] and [`super::packet`].

use super::host::{Host, a, cs, prio, v2};
use super::table::{as_is, row, run};

#[test]
#[rustfmt::skip] // A table.
fn s6_parameters_and_timers() {
    run(v2, as_is, &[
        row("RFC 3768 §6.1", "Skew_Time: (256 - Priority) / 256 seconds; Master_Down_Interval: 3 * interval + Skew_Time", as_is,
            "", "timeout", &["BACKUP 100, 3609.375 ms"]),
        row("RFC 3768 §6.1", "Skew_Time is of a second, whatever the interval is", |c| a(c).advert_interval = cs(500), "",
            "timeout", &["BACKUP 100, 15609.375 ms"]),
        row("RFC 3768 §6.1", "the best backup waits least", |c| a(c).priority = prio(254), "", "timeout",
            &["BACKUP 254, 3007.812 ms"]),
        row("RFC 3768 §5.3.7", "the interval is in seconds, up to 255", |c| a(c).advert_interval = cs(25_500), "",
            "timeout", &["BACKUP 100, 765609.375 ms"]),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn s6_4_states() {
    run(v2, as_is, &[
        row("RFC 3768 §6.4.1", "Priority = 255: ADVERTISEMENT, gratuitous ARP, Adver_Timer, Master",
            |c| a(c).priority = prio(255), "", "",
            &["MASTER 255, 1000 ms", "advert 255", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "INIT -> MASTER: priority 255 owns the addresses"]),
        row("RFC 3768 §6.4.1", "else Master_Down_Timer, Backup", as_is, "", "",
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "INIT -> BACKUP: started"]),
        row("RFC 3768 §6.4.2", "Shutdown: cancel the timer, Initialize", as_is, "", "stop",
            &["INIT 100, waits for nothing", "lacks 10.0.0.100", "BACKUP -> STOP: stopping"]),
        row("RFC 3768 §6.4.2", "Master_Down_Timer fires: ADVERTISEMENT, gratuitous ARP, Adver_Timer, Master", as_is,
            "wait 3609.374", "wait 0.001",
            &["MASTER 100, 1000 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: no advert from any master for 3609 ms"]),
        row("RFC 3768 §6.4.2", "Priority zero: Skew_Time, of a second", |c| a(c).advert_interval = cs(500), "hear 200",
            "hear 0", &["BACKUP 100, 609.375 ms"]),
        row("RFC 3768 §6.4.2", "Preempt_Mode false, or greater or equal priority: Master_Down_Interval", as_is, "wait 3000",
            "hear 100 .1", &["BACKUP 100, 3609.375 ms"]),
        row("RFC 3768 §6.4.2", "Preempt_Mode false", |c| a(c).preempt = false, "wait 3000", "hear 1",
            &["BACKUP 100, 3609.375 ms"]),
        row("RFC 3768 §6.4.2", "else discard", as_is, "wait 3000", "hear 99", &["BACKUP 100, 609.375 ms"]),
        row("RFC 3768 §6.4.3", "Shutdown: ADVERTISEMENT with Priority 0", as_is, "wait 4000", "stop at once",
            &["INIT 100, waits for nothing", "advert 0", "lacks 10.0.0.100", "MASTER -> STOP: stopping"]),
        row("departure from RFC 3768 §6.4.3", "make before break: the addresses stay for the successor ([`super::leaving`])",
            as_is, "wait 4000", "stop",
            &["STOP 100, 5 ms", "advert 0", "no more announcements", "MASTER -> STOP: stopping"]),
        row("RFC 3768 §6.4.3", "Adver_Timer fires: ADVERTISEMENT", as_is, "wait 3609.375", "wait 1000",
            &["MASTER 100, 1000 ms", "advert 100"]),
        row("RFC 3768 §6.4.3", "Priority zero: ADVERTISEMENT, Adver_Timer anew", |c| a(c).strict = true, "wait 4000", "hear 0",
            &["MASTER 100, 1000 ms", "advert 100"]),
        row("RFC 3768 §6.4.3", "greater priority: Master_Down_Interval, Backup", |c| a(c).strict = true, "wait 4000", "hear 101",
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100",
              "MASTER -> BACKUP: 10.0.0.3 (priority 101) is better than ours, 100"]),
        row("RFC 3768 §6.4.3", "equal priority and greater primary address: the same", |c| a(c).strict = true, "wait 4000", "hear 100",
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100",
              "MASTER -> BACKUP: 10.0.0.3 (priority 100) has the same priority and a higher address"]),
        // It tells the winner of the contest, which announces its addresses again.
        row("departure from RFC 3768 §6.4.3", "who yields says so, unless strict", as_is, "wait 4000", "hear 101",
            &["BACKUP 100, 3609.375 ms", "advert 100", "lacks 10.0.0.100",
              "MASTER -> BACKUP: 10.0.0.3 (priority 101) is better than ours, 100"]),
        // RFC 3768 only discards it. keepalived and RFC 9568 answer: the two masters end a whole interval sooner.
        row("departure from RFC 3768 §6.4.3", "else discard, and answer as RFC 9568 §6.4.3 says", |c| a(c).strict = true,
            "wait 4000", "hear 99", &["MASTER 100, 1000 ms", "advert 100", "lower priority 99 from 10.0.0.3"]),
    ]);
}

/// RFC 3768 §5.2, §7.2: source, group and TTL.
#[test]
fn s7_2_transmitting() {
    let mut host = Host::start(v2());
    host.play("wait 4000");
    let sent = host.sent.first().expect("an advert");
    assert_eq!((sent.source, sent.destination), (super::host::ip("10.0.0.2"), super::host::ip("224.0.0.18")));
    assert_eq!(sent.ttl, Some(255));
}
