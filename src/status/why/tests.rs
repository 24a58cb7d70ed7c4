//! What is shown of a transition, and how two records become one.

use super::merge::{NodeClock, merge};
use super::*;
use crate::vrrp::event::{Cause, Heard};
use crate::vrrp::types::AdvertInterval;

const MS: u64 = 1000;
/// 2026-11-21 08:00 UTC, in microseconds.
const START: u64 = 1_795_248_000_000_000;

fn at(ms: u64) -> u64 {
    START + ms * MS
}

fn time(ms: u64) -> Time {
    moment(at(ms))
}

fn line(last: u8, priority: u8, late_us: Option<u32>) -> AdvertLine {
    let source = [10, 0, 0, last].into();
    AdvertLine { interface: 2, family: Family::V4, vrid: 51, source, priority, late_us }
}

fn stamped<T>(list: Vec<(u64, T)>) -> Vec<Stamped<T>> {
    (1..).zip(list).map(|(number, (ms, what))| Stamped { number, at_us: at(ms), what }).collect()
}

fn silent() -> Cause {
    let master = Heard { address: [10, 0, 0, 1].into(), priority: 150, interval: AdvertInterval::DEFAULT };
    let silence = Duration::from_millis(3609);
    Cause::MasterSilent { last_master: Some(master), silence, late: Duration::ZERO }
}

fn peer() -> PeerSnapshot {
    PeerSnapshot {
        address: [10, 0, 0, 1].into(),
        priority: 150,
        version: 3,
        interval: Some(AdvertInterval::DEFAULT),
        addresses: None,
        last_seen: Duration::from_millis(3609),
        heard: 3,
        refused: 0,
        refusal: None,
        is_refused: false,
        late_mean: Duration::ZERO,
        late_max: Duration::ZERO,
        late_last: vec![Duration::from_millis(250), Duration::ZERO],
    }
}

fn change(instance: &str, from: StateName, to: StateName, cause: Cause, evidence: Vec<PeerSnapshot>) -> Event {
    Event::StateChanged { instance: instance.to_owned(), from, to, priority: 100, cause, evidence }
}

/// Node b, a backup whose master fell silent at 2 s.
fn record() -> Record {
    let mut transitions = Transitions::default();
    transitions.note(time(0), &change("VI_1", StateName::Init, StateName::Backup, Cause::Started, Vec::new()));
    transitions.note(time(5609), &change("VI_1", StateName::Backup, StateName::Master, silent(), vec![peer()]));
    let router = |name: &str, vrid| Router { name: name.to_owned(), vrid, family: Family::V4, interface: 2 };
    Record {
        format: FORMAT,
        node: "b".to_owned(),
        at: time(9000),
        routers: vec![router("VI_1", 51), router("VI_2", 52)],
        transitions: transitions.iter().collect(),
        notes: stamped(vec![
            (0, Note::Started { adopts: false }),
            (3000, Note::Stall { late_us: 70 * MS }),
            (3500, Note::TimerLate { instance: "VI_2".to_owned(), late_us: 1 }),
            (4000, Note::Link { name: "eth0".to_owned(), up: true, running: false }),
            (6000, Note::Command { what: "reload".to_owned() }),
        ]),
        adverts: stamped(vec![
            (1000, AdvertRecord::Heard(line(1, 150, None))),
            (2000, AdvertRecord::Heard(line(1, 150, Some(250_400)))),
            (2100, AdvertRecord::Heard(AdvertLine { vrid: 52, ..line(1, 150, None) })),
            (5609, AdvertRecord::Sent(line(2, 100, None))),
        ]),
        ..Record::default()
    }
}

#[test]
fn a_transition_has_its_cause_and_the_evidence_below_it() {
    let question = Question { instance: Some("VI_1".to_owned()), most: 1 };
    let expected = "\
VI_1 is MASTER on b

  2026-11-21T08:00:05.609Z  BACKUP → MASTER (priority 100)
    cause: no advert from 10.0.0.1 (priority 150) for 3609 ms
    peer:  10.0.0.1 (priority 150, every 1 s) was last heard 3609 ms before; its last adverts were 0, 250 ms late
        4609 ms before: advert of 10.0.0.1, priority 150
        3609 ms before: advert of 10.0.0.1, priority 150, 250.4 ms late
        2609 ms before: the vrrp process was held up for 70 ms
        1609 ms before: interface eth0 has no carrier
           0 ms before: advert sent, priority 100

";
    assert_eq!(render(&record().explain(&question).expect("known")), expected);
}

#[test]
fn all_instances_and_only_as_many_as_asked_for() {
    let answer = record().explain(&Question { instance: None, most: 9 }).expect("all");
    let counts: Vec<_> = answer.instances.iter().map(|(name, list)| (name.as_str(), list.len())).collect();
    assert_eq!(counts, [("VI_1", 2), ("VI_2", 0)]);
    assert!(render(&answer).ends_with("VI_2: no change of state is remembered\n"));
    let first = answer.instances["VI_1"].last().expect("two");
    assert_eq!(first.evidence.len(), 1, "what came later is no evidence: {:?}", first.evidence);
    let error = record().explain(&Question { instance: Some("VI_3".to_owned()), most: 1 }).expect_err("unknown");
    assert_eq!(error.to_string(), "nothing is known of a vrrp_instance VI_3; there are VI_1, VI_2");
}

#[test]
fn a_process_that_dies_as_soon_as_it_is_master_is_in_the_evidence() {
    let mut transitions = Transitions::default();
    transitions.note(time(1000), &change("VI_1", StateName::Backup, StateName::Master, silent(), Vec::new()));
    transitions.note(time(1045), &change("VI_1", StateName::Init, StateName::Master, Cause::Adopted, Vec::new()));
    let notes =
        vec![(1000, Note::Stall { late_us: MS }), (1036, Note::Started { adopts: true }), (1060, Note::AdvertsLost)];
    let record = Record { transitions: transitions.iter().collect(), notes: stamped(notes), ..record() };
    let answer = record.explain(&Question { instance: Some("VI_1".to_owned()), most: 1 }).expect("known");
    let at: Vec<_> = answer.instances["VI_1"][0].evidence.iter().map(|line| line.at).collect();
    assert_eq!(at, [time(1036), time(1060)]);
}

#[test]
fn evidence_is_bounded() {
    let mut record = record();
    let heard = |n: u64| (2000 + n, AdvertRecord::Heard(line(1, 150, None)));
    record.adverts = stamped((0..1000).map(heard).collect());
    record.notes = stamped((0..1000).map(|n| (2000 + n, Note::AdvertsLost)).collect());
    let answer = record.explain(&Question { instance: Some("VI_1".to_owned()), most: 1 }).expect("known");
    let lines = &answer.instances["VI_1"][0].evidence;
    assert_eq!(lines.len(), MOST_ADVERTS + MOST_NOTES);
    assert_eq!(lines.last().map(|line| line.at), Some(time(2999)), "the latest");
}

#[test]
fn transitions_are_bounded_and_a_record_survives_json() {
    let mut transitions = Transitions::default();
    assert!(!transitions.note(time(0), &Event::MainBack { silence: Duration::ZERO }));
    for n in 0..3000 {
        transitions.note(time(n), &change("VI_1", StateName::Init, StateName::Backup, Cause::Started, Vec::new()));
    }
    assert_eq!(transitions.iter().count(), MOST_TRANSITIONS);
    assert_eq!(transitions.iter().next().map(|transition| transition.at), Some(time(952)));
    let text = serde_json::to_string(&record()).expect("plain values");
    assert_eq!(serde_json::from_str::<Record>(&text).expect("the same"), record());
}

/// A's adverts every second but for some that are missing, heard by b whose clock is `ahead`, each a little later.
fn pair(ahead_ms: i64, missing: &[u64]) -> [Record; 2] {
    let sent: Vec<_> = (0..40).filter(|n| !missing.contains(n)).map(|n| n * 1000).collect();
    let shift = |ms: u64, jitter: u64| ms.saturating_add_signed(ahead_ms) + jitter;
    let a = Record {
        node: "a".to_owned(),
        adverts: stamped(sent.iter().map(|ms| (100_000 + ms, AdvertRecord::Sent(line(1, 150, None)))).collect()),
        transitions: vec![],
        ..Record::default()
    };
    let heard = sent.iter().zip([0, 1, 0, 3].iter().cycle());
    let b = Record {
        node: "b".to_owned(),
        adverts: stamped(
            heard.map(|(ms, jitter)| (shift(100_000 + ms, *jitter), AdvertRecord::Heard(line(1, 150, None)))).collect(),
        ),
        transitions: vec![Transition {
            at: time(shift(139_000 + 3609, 0)),
            instance: "VI_1".to_owned(),
            from: StateName::Backup,
            to: StateName::Master,
            priority: 100,
            cause: silent().to_string(),
            peers: Vec::new(),
        }],
        ..Record::default()
    };
    [a, b]
}

#[test]
fn clocks_are_compared_by_adverts_that_both_saw() {
    // The clock's offset in ms; adverts that nobody sent, so that the rhythm is not even.
    let rows: [(i64, &[u64]); 6] =
        [(0, &[]), (312, &[]), (-90_500, &[3, 17]), (3_600_000, &[5]), (2000, &[20, 21, 30]), (499, &[])];
    for (ahead, missing) in rows {
        let merged = merge(&pair(ahead, missing));
        let NodeClock { node, ahead_us, adverts, spread_us } = &merged.nodes[1];
        assert_eq!((node.as_str(), *adverts, *spread_us), ("b", 40 - missing.len(), 3000), "{ahead}");
        assert!((ahead_us - ahead * 1000).abs() <= 1000, "{ahead}: {ahead_us}");
        let last = merged.timeline.last().expect("some");
        assert!(last.is_transition && last.node == "b");
        assert!(last.at.0.abs_diff(time(139_000 + 3609).0) <= Duration::from_millis(1), "by a's clock: {}", last.at);
    }
}

#[test]
fn a_timeline_says_whose_clock_and_shows_adverts_near_transitions() {
    let text = super::merge::render(&merge(&pair(312, &[])));
    assert!(
        text.starts_with("Times are those of a.\nb's clock is 312.0 ms ahead, by 40 adverts that both saw"),
        "{text}"
    );
    let lines: Vec<_> = text.lines().skip(3).collect();
    // 138 s and 139 s, twice each, and the transition at 142.6 s.
    assert_eq!(lines.len(), 5, "{text}");
    assert_eq!(lines[0], "2026-11-21T08:02:18.000Z   a  VRID 51: advert sent, priority 150");
    assert!(lines[4].contains(" * b  VI_1: BACKUP → MASTER: no advert from 10.0.0.1"), "{text}");
    let [a, mut b] = pair(0, &[]);
    b.adverts.clear();
    b.node = "a".to_owned();
    let text = super::merge::render(&merge(&[a, b]));
    assert!(text.contains("a/2's clock is taken as it is: there is no advert that both saw."), "{text}");
    assert_eq!(merge(&[]).timeline, []);
}
