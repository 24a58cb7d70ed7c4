//! keepalived's options beyond the RFCs.

use std::time::Duration;

use super::super::config::{InitialState, VrrpConfig};
use super::host::{Host, a, prio, v3};
use super::table::{as_is, row, run};

const BECOMES_MASTER: &str = "BACKUP -> MASTER: no advert from any master for 3609 ms";

fn delayed(config: &mut VrrpConfig) {
    a(config).preempt_delay = Duration::from_secs(10);
}

#[test]
#[rustfmt::skip] // A table.
fn preemption() {
    run(v3, as_is, &[
        row("nopreempt", "a lower-priority master keeps us backup", |c| a(c).preempt = false, "hear 50; wait 3000",
            "hear 50; wait 3609.374", &["BACKUP 100, 0.001 ms"]),
        row("nopreempt", "until it falls silent", |c| a(c).preempt = false, "hear 50; wait 3000", "wait 609.375",
            &["MASTER 100, 1000 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: no advert from 10.0.0.3 (priority 50) for 3609 ms"]),
        row("nopreempt", "after a fault as well", |c| a(c).preempt = false, "wait 4000; down; wait 5000; up; wait 3000",
            "hear 50", &["BACKUP 100, 3609.375 ms"]),
        row("nopreempt", "a master yields to a better one all the same", |c| a(c).preempt = false, "wait 4000", "hear 101",
            &["BACKUP 100, 3609.375 ms", "advert 100", "lacks 10.0.0.100",
              "MASTER -> BACKUP: 10.0.0.3 (priority 101) is better than ours, 100"]),
        row("nopreempt, state MASTER", "at start too", |c| { a(c).preempt = false; a(c).state = InitialState::Master; }, "",
            "hear 50", &["BACKUP 100, 3609.375 ms"]),
        row("preempt_delay", "while it runs a lower-priority master is accepted", delayed, "wait 3000", "hear 50",
            &["BACKUP 100, 3609.375 ms"]),
        row("preempt_delay", "up to its end", delayed, "hear 50; wait 3000; hear 50; wait 3000; hear 50; wait 3000; hear 50; wait 999",
            "hear 50", &["BACKUP 100, 3609.375 ms"]),
        row("preempt_delay", "then it is discarded, and pre-empted when the timer fires", delayed,
            "hear 50; wait 3000; hear 50; wait 3000; hear 50; wait 3000; hear 50; wait 1000", "hear 50; wait 2609.375",
            &["MASTER 100, 1000 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: preempting 10.0.0.3 (priority 50) with priority 100"]),
        row("preempt_delay", "an advert of equal priority ends it; the next lower one starts it anew", delayed,
            "hear 50; wait 3000; hear 100; wait 3000; hear 100; wait 3000; hear 50; wait 3000", "hear 50",
            &["BACKUP 100, 3609.375 ms"]),
        row("preempt_delay", "so does one of higher priority", delayed,
            "hear 50; wait 3000; hear 200; wait 3000; hear 200; wait 3000; hear 50; wait 3000", "hear 50",
            &["BACKUP 100, 3609.375 ms"]),
        row("preempt_delay", "silence has no delay", delayed, "wait 3000", "wait 609.375",
            &["MASTER 100, 1000 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5", BECOMES_MASTER]),
        row("preempt_delay", "nor has a resignation", delayed, "hear 50; wait 1000", "hear 0; wait 609.375",
            &["MASTER 100, 1000 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: 10.0.0.3 resigned with priority 0"]),
        row("down_timer_adverts 5", "five intervals of silence", |c| a(c).down_timer_adverts = 5, "", "timeout",
            &["BACKUP 100, 5609.375 ms"]),
        row("down_timer_adverts 1", "or one", |c| a(c).down_timer_adverts = 1, "", "hear 200", &["BACKUP 100, 1609.375 ms"]),
        row("lower_prio_no_advert", "a lower-priority advert is not answered by an advert, but by announcements",
            |c| a(c).lower_prio_no_advert = true, "wait 4000", "hear 50",
            &["MASTER 100, 609.375 ms", "announce 10.0.0.100 x5", "lower priority 50 from 10.0.0.3"]),
        row("lower_prio_no_advert", "priority 0 is answered", |c| a(c).lower_prio_no_advert = true, "wait 4000", "hear 0",
            &["MASTER 100, 1000 ms", "advert 100", "announce 10.0.0.100 x5"]),
        row("higher_prio_send_advert", "a last advert before yielding, by default", as_is, "wait 4000", "hear 200",
            &["BACKUP 100, 3609.375 ms", "advert 100", "lacks 10.0.0.100",
            "MASTER -> BACKUP: 10.0.0.3 (priority 200) is better than ours, 100"]),
        row("higher_prio_send_advert", "of a strict router only where it is asked for", |c| a(c).strict = true, "wait 4000",
            "hear 200", &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100",
            "MASTER -> BACKUP: 10.0.0.3 (priority 200) is better than ours, 100"]),
        row("higher_prio_send_advert", "then it too says it",
            |c| { a(c).strict = true; a(c).higher_prio_send_advert = true; }, "wait 4000", "hear 200", &["BACKUP 100, 3609.375 ms", "advert 100", "lacks 10.0.0.100",
            "MASTER -> BACKUP: 10.0.0.3 (priority 200) is better than ours, 100"]),
        row("owner_ignore_adverts", "an owner stays whatever it hears",
            |c| { a(c).priority = prio(255); a(c).owner_ignore_adverts = true; }, "hear 255; wait 500", "hear 255",
            &["MASTER 255, 500 ms"]),
        row("owner_ignore_adverts", "means nothing to others", |c| a(c).owner_ignore_adverts = true, "wait 4000", "hear 101",
            &["BACKUP 100, 3609.375 ms", "advert 100", "lacks 10.0.0.100",
              "MASTER -> BACKUP: 10.0.0.3 (priority 101) is better than ours, 100"]),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn startup_delay() {
    fn two_seconds(config: &mut VrrpConfig) {
        config.global.startup_delay = Duration::from_secs(2);
    }
    run(v3, as_is, &[
        row("vrrp_startup_delay", "INIT, and nothing is said", two_seconds, "", "", &["INIT 100, 2000 ms"]),
        row("vrrp_startup_delay", "nothing is heard, no link judged", two_seconds, "", "hear 0; down; up; wait 1999",
            &["INIT 100, 1 ms"]),
        row("vrrp_startup_delay", "then it begins", two_seconds, "wait 1000", "wait 1000",
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "INIT -> BACKUP: started"]),
        row("vrrp_startup_delay", "or not", two_seconds, "down; wait 1000", "wait 1000",
            &["FAULT 100, waits for nothing", "lacks 10.0.0.100", "INIT -> FAULT: interface eth0 is down"]),
        row("vrrp_startup_delay", "an owner waits too", |c| { two_seconds(c); a(c).priority = prio(255); }, "", "wait 2000",
            &["MASTER 255, 1000 ms", "advert 255", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "INIT -> MASTER: priority 255 owns the addresses"]),
        row("vrrp_startup_delay", "a stop does not wait", two_seconds, "wait 1000", "stop",
            &["INIT 100, waits for nothing", "lacks 10.0.0.100", "INIT -> STOP: stopping"]),
    ]);
}

/// When announcements go out, in milliseconds since the instance became master, and how many packets each.
#[test]
#[rustfmt::skip] // A table.
fn announcements() {
    type Case = (&'static str, fn(&mut VrrpConfig), &'static str, &'static [(u128, &'static str)]);
    let cases: [Case; 9] = [
        ("garp_master_delay, garp_master_repeat: at once and five seconds later", as_is, "wait 20000",
            &[(0, "x5"), (5000, "x5"), (10000, "x1")]),
        ("the periodic ones come ever more slowly, up to once a minute", as_is, "wait 200000",
            &[(0, "x5"), (5000, "x5"), (10000, "x1"), (30000, "x1"), (70000, "x1"), (130_000, "x1"), (190_000, "x1")]),
        ("garp_master_delay 0: at once only", |c| a(c).garp.delay = Duration::ZERO, "wait 20000",
            &[(0, "x5"), (10000, "x1")]),
        ("garp_master_repeat 2", |c| a(c).garp.repeat = 2, "wait 20000", &[(0, "x2"), (5000, "x2"), (10000, "x1")]),
        ("garp_master_repeat 0: only the periodic ones", |c| a(c).garp.repeat = 0, "wait 20000", &[(10000, "x1")]),
        ("garp_master_refresh, garp_master_refresh_repeat",
            |c| { a(c).garp.refresh = Duration::from_secs(7); a(c).garp.refresh_repeat = 3; }, "wait 20000",
            &[(0, "x5"), (5000, "x5"), (7000, "x3"), (14000, "x3")]),
        ("garp_lower_prio_repeat, garp_lower_prio_delay: at once and later",
            |c| { a(c).garp.lower_prio_repeat = 2; a(c).garp.lower_prio_delay = Duration::from_secs(3); },
            "wait 6000; hear 50; wait 10000", &[(0, "x5"), (5000, "x5"), (6000, "x2"), (9000, "x2"), (10000, "x1")]),
        ("garp_lower_prio_repeat 0: none", |c| a(c).garp.lower_prio_repeat = 0, "wait 6000; hear 50; wait 10000",
            &[(0, "x5"), (5000, "x5"), (10000, "x1")]),
        ("a second burst that is due anyway is not put off by a lower-priority advert", as_is, "wait 1000; hear 50; wait 15000",
            &[(0, "x5"), (1000, "x5"), (5000, "x5"), (10000, "x1")]),
    ];
    for (text, given, steps, want) in cases {
        let mut config = v3();
        given(&mut config);
        let mut host = Host::start(config);
        host.play("wait 3609.374");
        let start = host.now + Duration::from_micros(1);
        host.forget();
        let mut got = Vec::new();
        // Steps of a millisecond tell when each one came.
        for step in format!("wait 0.001; {steps}").split(';').map(str::trim) {
            let (word, rest) = step.split_once(' ').expect("an argument");
            let pieces = if word == "wait" { rest.parse().unwrap_or(1) } else { 1 };
            for _ in 0..pieces {
                host.play(if word == "wait" && pieces > 1 { "wait 1" } else { step });
                let at = (host.now - start).as_millis();
                let bursts = host.said.drain(..).filter(|line| line.starts_with("announce"));
                got.extend(bursts.map(|line| (at, line.rsplit(' ').next().unwrap_or_default().to_owned())));
            }
        }
        let got: Vec<(u128, &str)> = got.iter().map(|(at, repeat)| (*at, repeat.as_str())).collect();
        assert_eq!(got, want, "{text}");
    }
}

/// A master that yields announces nothing more, and one that comes back starts its bursts anew.
#[test]
fn leaving_master_cancels_its_announcements() {
    let mut host = Host::start(v3());
    host.play("wait 4000; hear 200");
    host.forget();
    host.play("wait 3000; hear 200; wait 3000; hear 200");
    assert_eq!(host.said, [""; 0]);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "any instant will do")]
fn delay_after_boot_is_the_longer_of_two_delays() {
    use super::super::engine::VrrpEngine;
    let now = std::time::Instant::now();
    let mut config = v3();
    config.global.startup_delay = Duration::from_secs(2);
    let mut engine = VrrpEngine::new(now, config, &[]);
    engine.hold_until(now + Duration::from_secs(1));
    assert_eq!(engine.poll_timeout(), Some(now + Duration::from_secs(2)));
    engine.hold_until(now + Duration::from_secs(9));
    assert_eq!(engine.poll_timeout(), Some(now + Duration::from_secs(9)));
    engine.handle_timeout(now + Duration::from_secs(9));
    let begun = engine.poll_timeout();
    engine.hold_until(now + Duration::from_secs(99));
    assert_eq!(engine.poll_timeout(), begun, "what has begun is not held");
}
