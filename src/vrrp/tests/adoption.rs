//! A vrrp process that was killed and restarted within its own advert deadline goes on as master.

use std::time::Duration;

use super::super::config::{GroupConfig, VrrpConfig};
use super::super::snapshot::FlightRecord;
use super::host::{Host, a, add_b, script, v3};

/// Milliseconds to the next advert of each record; negative: it is overdue; `None`: was not master.
type Records = &'static [(&'static str, Option<i64>)];

fn restarted(config: VrrpConfig, records: Records) -> Host {
    Host::restart(config, |now| {
        let at = |ms: i64| {
            let by = Duration::from_millis(ms.unsigned_abs());
            if ms < 0 { now - by } else { now + by }
        };
        let record =
            |(name, due): &(&str, Option<i64>)| FlightRecord { instance: (*name).into(), next_advert_at: due.map(at) };
        records.iter().map(record).collect()
    })
}

fn pair(config: &mut VrrpConfig) {
    add_b(config);
    config.groups.insert("G".to_owned(), GroupConfig { members: vec!["A".to_owned(), "B".to_owned()] });
}

#[test]
#[rustfmt::skip] // A table.
fn within_the_deadline() {
    type Case = (&'static str, fn(&mut VrrpConfig), Records, &'static [&'static str]);
    let rows: [Case; 9] = [
        ("in time: master, and the next advert when it was due", |_| {}, &[("A", Some(400))],
            &["MASTER 100, 400 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "INIT -> MASTER: restarted within its own advert deadline"]),
        ("too late: somebody else may be master by now", |_| {}, &[("A", Some(-1))],
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "INIT -> BACKUP: started"]),
        ("at the deadline itself: too late", |_| {}, &[("A", Some(0))],
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "INIT -> BACKUP: started"]),
        ("was not master", |_| {}, &[("A", None)],
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "INIT -> BACKUP: started"]),
        ("a record of an instance that is configured no more", |_| {}, &[("X", Some(400))],
            &["BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "INIT -> BACKUP: started"]),
        ("vrrp_startup_delay has been waited for once", |c| c.global.startup_delay = Duration::from_secs(30), &[("A", Some(400))],
            &["MASTER 100, 400 ms", "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "INIT -> MASTER: restarted within its own advert deadline"]),
        ("its tracker has no result: not master without one", |c| a(c).tracks = vec![script(0, false)], &[("A", Some(400))],
            &["INIT 100, waits for nothing"]),
        ("a group: together", pair, &[("A", Some(400)), ("B", Some(300))],
            &["A MASTER 100, B MASTER 100, 1000 ms", "lacks 10.0.0.100", "INIT -> BACKUP: started",
              "B: lacks 10.1.0.100", "B: INIT -> BACKUP: started",
              "advert 100", "has 10.0.0.100", "announce 10.0.0.100 x5",
              "BACKUP -> MASTER: restarted within its own advert deadline",
              "B: advert 100", "B: has 10.1.0.100", "B: announce 10.1.0.100 x5",
              "B: BACKUP -> MASTER: restarted within its own advert deadline",
              "group G -> MASTER: restarted within its own advert deadline"]),
        ("a group: one member in time is not enough", pair, &[("A", Some(400)), ("B", Some(-1))],
            &["A BACKUP 100, B BACKUP 100, 3609.375 ms", "lacks 10.0.0.100", "INIT -> BACKUP: started",
              "B: lacks 10.1.0.100", "B: INIT -> BACKUP: started", "group G -> BACKUP: started"]),
    ];
    for (text, given, records, then) in rows {
        let mut config = v3();
        given(&mut config);
        let mut host = restarted(config, records);
        host.said.retain(|line| !line.starts_with("sockets"));
        let got: Vec<String> = std::iter::once(host.state()).chain(host.said).collect();
        assert_eq!(got, then, "{text}");
    }
}

/// The deadline is judged when the instance can start, not when the process did.
#[test]
fn a_result_that_comes_too_late_adopts_nothing() {
    for (wait, state) in [("wait 399", "MASTER 100, 1 ms"), ("wait 400", "BACKUP 100, 3609.375 ms")] {
        let mut config = v3();
        a(&mut config).tracks = vec![script(0, false)];
        let mut host = restarted(config, &[("A", Some(400))]);
        host.play(wait);
        host.play("script up");
        assert_eq!(host.state(), state, "{wait}");
    }
}

/// What is recorded is what the next process needs: the deadline of a master, and that a master is one no more.
#[test]
fn records_follow_the_state() {
    let mut host = Host::start(v3());
    let of = |host: &mut Host, steps: &str| {
        host.play(steps);
        let records = host.engine.poll_flight_records();
        assert!(records.len() <= 1, "{records:?}");
        records.first().map(|record| record.next_advert_at.map(|at| at.saturating_duration_since(host.now).as_millis()))
    };
    assert_eq!(of(&mut host, "wait 100"), Some(None));
    assert_eq!(of(&mut host, "wait 100"), None, "nothing has happened");
    assert_eq!(of(&mut host, "wait 3409.375"), Some(Some(1000)));
    assert_eq!(of(&mut host, "wait 1000"), Some(Some(1000)));
    assert_eq!(of(&mut host, "hear 200"), Some(None));
    assert_eq!(of(&mut host, "wait 4000"), Some(Some(609)));
    assert_eq!(of(&mut host, "stop"), Some(None));
}
