#![allow(clippy::disallowed_methods)] // A beginning; all else is counted from it.

use proptest::prelude::*;

use super::super::config::{FileProbe, Target};
use super::super::report::Health;
use super::*;
use crate::ipvs::types::Protocol;

const SECOND: Duration = Duration::from_secs(1);

fn tcp(port: u16) -> CheckerConfig {
    let target = Target::new(SocketKey::new([192, 0, 2, 1].into(), port), 5 * SECOND);
    checker(Probe::Tcp(target))
}

fn checker(probe: Probe) -> CheckerConfig {
    let schedule = Schedule {
        delay_loop: 6 * SECOND,
        retry: 1,
        delay_before_retry: SECOND,
        warmup: Duration::ZERO,
        rise: 1,
        max_latency: None,
    };
    CheckerConfig { schedule, alpha: false, log_all_failures: false, probe }
}

fn service(number: u8) -> VirtualServerId {
    VirtualServerId::Address { address: SocketKey::new([10, 0, 0, number].into(), 80), protocol: Protocol::Tcp }
}

fn id(number: u8) -> CheckerId {
    CheckerId { virtual_server: service(number), real_server: SocketKey::new([192, 0, 2, 1].into(), 80), index: 0 }
}

/// The engine and the time.
struct Story {
    engine: CheckEngine,
    now: Instant,
}

impl Story {
    fn new(checkers: impl IntoIterator<Item = (u8, CheckerConfig)>) -> Self {
        let now = Instant::now();
        let mut story = Self { engine: CheckEngine::new(now, 1), now };
        story.set(checkers);
        story
    }

    fn set(&mut self, checkers: impl IntoIterator<Item = (u8, CheckerConfig)>) {
        let checkers = checkers.into_iter().map(|(number, config)| (id(number), Arc::new(config))).collect();
        self.engine.set_checkers(self.now, checkers);
    }

    /// Goes on to the next probe and has all that are due find this; answers how many seconds that took, and how many
    /// ran.
    fn step(&mut self, finding: &Finding) -> (u64, usize) {
        let at = self.engine.next_start().expect("something to do");
        let waited = at - self.now;
        self.now = at;
        let mut ran = 0;
        while let Some(start) = self.engine.start(self.now) {
            self.engine.finished(self.now, start.key, finding.clone(), Duration::ZERO);
            ran += 1;
        }
        (waited.as_secs(), ran)
    }

    /// The reports that are due: the virtual server's number and the weight, `None` is down.
    fn reports(&mut self) -> Vec<(u8, Option<i64>)> {
        std::iter::from_fn(|| self.engine.poll_report())
            .map(|report| {
                let VirtualServerId::Address { address, .. } = report.checker.virtual_server else { unreachable!() };
                let std::net::IpAddr::V4(ip) = address.ip else { unreachable!() };
                let weight = match report.health {
                    Health::Up { weight } => Some(weight),
                    Health::Down { .. } => None,
                };
                (ip.octets()[3], weight)
            })
            .collect()
    }
}

fn bad() -> Finding {
    Err(Failure::unfit("refused"))
}

#[test]
fn a_server_dies_and_comes_back() {
    let mut story = Story::new([(1, tcp(80))]);
    assert_eq!(story.reports(), [], "up is assumed");
    assert_eq!(story.step(&Ok(0)), (1, 1));
    assert_eq!(story.reports(), []);
    assert_eq!(story.step(&bad()), (6, 1));
    assert_eq!(story.reports(), [], "to be tried again");
    assert_eq!(story.step(&bad()), (1, 1));
    assert_eq!(story.reports(), [(1, None)]);
    assert_eq!(story.step(&bad()), (6, 1));
    assert_eq!(story.reports(), [], "said once");
    assert_eq!(story.step(&Ok(0)), (6, 1));
    assert_eq!(story.reports(), [(1, Some(0))]);
}

#[test]
fn alpha_is_down_until_it_is_reported() {
    let mut story = Story::new([(1, CheckerConfig { alpha: true, ..tcp(80) })]);
    assert_eq!(story.reports(), []);
    story.step(&bad());
    assert_eq!(story.reports(), []);
    story.step(&Ok(0));
    assert_eq!(story.reports(), [(1, Some(0))]);
}

#[test]
fn equal_checkers_run_once_and_all_are_told() {
    let mut story = Story::new([(1, tcp(80)), (2, tcp(80)), (3, tcp(81))]);
    assert_eq!(story.step(&bad()), (1, 2), "two questions");
    assert_eq!(story.reports(), [(1, None), (2, None), (3, None)]);
    let statuses = story.engine.statuses(story.now);
    assert_eq!(statuses.values().map(|status| status.shared_with).collect::<Vec<_>>(), [1, 1, 0]);
    // One that joins is told at once what is known.
    story.set([(1, tcp(80)), (2, tcp(80)), (3, tcp(81)), (4, tcp(80))]);
    assert_eq!(story.reports(), [(4, None)]);
}

#[test]
fn a_reload_of_nothing_changes_nothing() {
    let mut story = Story::new([(1, tcp(80)), (2, tcp(81))]);
    story.step(&bad());
    story.reports();
    let before = (story.engine.next_start(), story.engine.statuses(story.now));
    story.set([(1, tcp(80)), (2, tcp(81))]);
    assert_eq!((story.engine.next_start(), story.engine.statuses(story.now)), before);
    assert_eq!(story.reports(), []);
}

#[test]
fn a_reload_while_a_probe_runs() {
    let mut story = Story::new([(1, tcp(80)), (2, tcp(81))]);
    story.now += SECOND;
    let starts: Vec<_> = std::iter::from_fn(|| story.engine.start(story.now)).collect();
    assert_eq!(starts.len(), 2);
    story.set([(1, tcp(80))]);
    assert_eq!(story.engine.next_start(), None, "what runs is not started again");
    for start in starts {
        story.engine.finished(story.now, start.key, bad(), Duration::ZERO);
    }
    assert_eq!(story.reports(), [(1, None)]);
    assert_eq!(story.step(&Ok(0)), (6, 1));
}

#[test]
fn what_is_known_of_a_target_outlives_a_change_of_the_question() {
    let mut story = Story::new([(1, tcp(80)), (2, tcp(81))]);
    story.step(&bad());
    story.reports();
    let mut slower = tcp(80);
    slower.schedule.delay_loop = 60 * SECOND;
    story.set([(1, slower), (2, tcp(82))]);
    assert_eq!(story.reports(), [(2, Some(0))], "another port is another question: assumed up as at start");
    assert_eq!(story.step(&Ok(0)), (1, 2));
    assert_eq!(story.reports(), [(1, Some(0))]);
}

#[test]
fn paused_checkers_keep_still_and_catch_up() {
    let mut story = Story::new([(1, tcp(80))]);
    story.step(&Ok(0));
    story.engine.set_paused(story.now, &service(1), true);
    assert_eq!(story.engine.next_start(), None);
    assert!(story.engine.statuses(story.now).values().all(|status| status.paused));
    // A reload does not wake it.
    story.set([(1, tcp(80))]);
    assert_eq!(story.engine.next_start(), None);
    story.engine.set_paused(story.now, &service(1), false);
    let (waited, _) = story.step(&bad());
    assert!(waited <= 2, "soon: {waited}");
}

#[test]
fn a_pause_concerns_its_virtual_server_only() {
    let mut story = Story::new([(1, tcp(80)), (2, tcp(80))]);
    story.engine.set_paused(story.now, &service(1), true);
    story.step(&bad());
    assert_eq!(story.reports(), [(2, None)]);
    story.engine.set_paused(story.now, &service(1), false);
    assert_eq!(story.reports(), [(1, None)], "told when it goes on");
}

#[test]
fn a_success_that_took_too_long_is_none() {
    let mut config = tcp(80);
    config.schedule.max_latency = Some(Duration::from_millis(300));
    for (latency, expected) in [(300, vec![]), (301, vec![(1, None)])] {
        let mut story = Story::new([(1, config.clone())]);
        story.now += SECOND;
        let start = story.engine.start(story.now).expect("due");
        story.engine.finished(story.now, start.key, Ok(0), Duration::from_millis(latency));
        assert_eq!(story.reports(), expected, "{latency} ms");
    }
}

#[test]
fn files_tell_at_once() {
    let file = |weight| checker(Probe::File(FileProbe { file: "f".to_owned(), weight, reverse: false }));
    let mut story = Story::new([(1, file(2)), (2, file(-1)), (3, tcp(80))]);
    story.engine.file_changed(story.now, "f", Some(5));
    assert_eq!(story.reports(), [(1, Some(10)), (2, Some(-5))]);
    story.engine.file_changed(story.now, "g", Some(7));
    assert_eq!(story.reports(), []);
    story.engine.file_changed(story.now, "f", None);
    assert_eq!(story.reports(), [], "what cannot be read says nothing");
    story.engine.file_changed(story.now, "f", Some(-2_147_483_648));
    assert_eq!(story.reports(), [(1, None), (2, Some(2_147_483_647))], "no retries");
    // A checker that comes later knows the number too.
    story.set([(4, file(1))]);
    assert_eq!(story.reports(), [(4, None)]);
}

#[test]
fn our_own_trouble_is_said_once() {
    let mut story = Story::new([(1, tcp(80))]);
    let mut changes = Vec::new();
    let ours: Finding = Err(Failure::ours("no descriptors"));
    for finding in [&ours, &ours, &Ok(0), &ours, &bad()] {
        story.now = story.engine.next_start().expect("due");
        let start = story.engine.start(story.now).expect("due");
        let change = story.engine.finished(story.now, start.key, finding.clone(), Duration::ZERO);
        changes.push(change.map(|(_, change)| change));
    }
    let said = Some(Change::Ours("no descriptors".to_owned()));
    assert_eq!(changes, [said.clone(), None, None, said, Some(Change::Failed("refused".to_owned()))]);
    let status = story.engine.statuses(story.now).remove(&id(1)).expect("a status");
    assert_eq!((status.probes, status.failures, status.inconclusive), (5, 1, 3));
}

proptest! {
    /// Whatever happens in whatever order, each subscriber ends up knowing what counts, and nothing is told twice.
    #[test]
    fn reports_lead_to_what_counts(
        steps in prop::collection::vec((0_u8..5, 0_u8..4, any::<bool>()), 1..60),
    ) {
        let mut story = Story::new((0..4).map(|number| (number, tcp(80 + u16::from(number) / 2))));
        let mut believed: BTreeMap<u8, Option<i64>> = (0..4).map(|number| (number, Some(0))).collect();
        for (kind, number, flag) in steps {
            match kind {
                0 | 1 if story.engine.next_start().is_some() => {
                    story.step(&if flag { Ok(0) } else { bad() });
                }
                2 => story.engine.set_paused(story.now, &service(number), flag),
                3 => story.set((0..4).map(|other| (other, tcp(if flag { 80 + u16::from(other % 2) } else { 80 })))),
                _ => story.now += Duration::from_millis(100 * u64::from(number)),
            }
            for (number, weight) in story.reports() {
                prop_assert_ne!(believed.insert(number, weight), Some(weight), "told twice");
            }
        }
        for number in 0..4 {
            story.engine.set_paused(story.now, &service(number), false);
        }
        believed.extend(story.reports());
        for (number, status) in story.engine.statuses(story.now).into_values().enumerate() {
            let weight = match status.health {
                Health::Up { weight } => Some(weight),
                Health::Down { .. } => None,
            };
            prop_assert_eq!(believed.get(&u8::try_from(number).expect("small")), Some(&weight));
        }
    }
}
