//! The schedulers: each by its definition, against a plain model, and by the spread of many picks.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{Candidate, Load, Request, Selector, Turn, mix};
use crate::ipvs::config::SchedulerFlags;
use crate::ipvs::types::{Scheduler, SocketKey};

const NO_FLAGS: SchedulerFlags =
    SchedulerFlags { hashed: false, one_packet: false, flag1: false, flag2: false, flag3: false };
const FALLBACK: SchedulerFlags = SchedulerFlags { flag1: true, ..NO_FLAGS };
const WITH_PORT: SchedulerFlags = SchedulerFlags { flag2: true, ..NO_FLAGS };

fn key(number: usize) -> SocketKey {
    SocketKey::new(Ipv4Addr::from(0x0a00_0001 + u32::try_from(number).unwrap()).into(), 80)
}

/// A service whose destinations have these weights and active connections.
fn selector(scheduler: Scheduler, flags: SchedulerFlags, destinations: &[(u32, u32)]) -> Selector {
    rebuilt(scheduler, flags, destinations, Arc::default())
}

fn rebuilt(scheduler: Scheduler, flags: SchedulerFlags, destinations: &[(u32, u32)], turn: Arc<Turn>) -> Selector {
    let candidate = |(number, (weight, active)): (usize, &(u32, u32))| {
        let load = Load::default();
        (0..*active).for_each(|_| load.open());
        Candidate { key: key(number), weight: *weight, load: Arc::new(load) }
    };
    Selector::new(scheduler, flags, destinations.iter().enumerate().map(candidate).collect(), turn)
}

fn request(number: u32) -> Request<'static> {
    let client = Ipv4Addr::from(u32::try_from(mix(u64::from(number)) >> 32).unwrap());
    let destination = IpAddr::from([203, 0, 113, 1]);
    let port = 1024 + u16::try_from(number % 50_000).unwrap();
    let client = SocketAddr::from((client, port));
    Request { client, destination, now: Duration::ZERO, dice: mix(u64::from(number)), tried: &[] }
}

fn picks(selector: &Selector, count: u32) -> Vec<usize> {
    (0..count).filter_map(|number| selector.pick(&request(number))).collect()
}

/// Picks of each destination, opened as they are picked where `keep` is set.
fn spread(selector: &Selector, count: u32, keep: bool) -> Vec<u32> {
    let mut counts = vec![0; selector.candidates().len()];
    for number in 0..count {
        let index = selector.pick(&request(number)).expect("somebody takes it");
        counts[index] += 1;
        if keep {
            selector.candidates()[index].load.open();
        }
    }
    counts
}

/// How far the counts are from shares by weight, as a part of the largest expected count.
fn off_by(counts: &[u32], weights: &[u32]) -> f64 {
    let (picks, sum) = (f64::from(counts.iter().sum::<u32>()), f64::from(weights.iter().sum::<u32>()));
    let error = |(count, weight): (&u32, &u32)| {
        let expected = picks * f64::from(*weight) / sum;
        (f64::from(*count) - expected).abs() / expected.max(1.0)
    };
    counts.iter().zip(weights).map(error).fold(0.0, f64::max)
}

#[test]
fn nobody_gives_to_weight_0_overloaded_or_tried() {
    for scheduler in Scheduler::ALL {
        for flags in [NO_FLAGS, FALLBACK, WITH_PORT] {
            let selector = selector(scheduler, flags, &[(0, 0), (3, 0), (2, 0), (1, 0)]);
            selector.candidates()[2].load.set_thresholds(1, 0);
            selector.candidates()[2].load.open();
            for number in 0..1000 {
                let tried = [1];
                let pick = selector.pick(&Request { tried: &tried, ..request(number) });
                assert_eq!(pick, Some(3), "{scheduler} {flags:?}");
                assert_ne!(selector.pick(&request(number)), Some(0), "{scheduler}");
                assert_ne!(selector.pick(&request(number)), Some(2), "{scheduler}");
            }
            let tried = [1, 3];
            assert_eq!(selector.pick(&Request { tried: &tried, ..request(1) }), None, "{scheduler}");
        }
        assert_eq!(selector(scheduler, NO_FLAGS, &[]).pick(&request(1)), None);
        assert_eq!(selector(scheduler, NO_FLAGS, &[(0, 0)]).pick(&request(1)), None);
    }
}

#[test]
fn rr_goes_round_and_wrr_as_the_kernel() {
    let rr = selector(Scheduler::Rr, NO_FLAGS, &[(1, 9), (0, 0), (7, 0), (1, 0)]);
    assert_eq!(picks(&rr, 7), [0, 2, 3, 0, 2, 3, 0]);
    let wrr = selector(Scheduler::Wrr, NO_FLAGS, &[(4, 0), (3, 0), (2, 0)]);
    assert_eq!(picks(&wrr, 9), [0, 0, 1, 0, 1, 2, 0, 1, 2]);
    let wrr = selector(Scheduler::Wrr, NO_FLAGS, &[(400, 0), (300, 0), (200, 0)]);
    assert_eq!(picks(&wrr, 9), [0, 0, 1, 0, 1, 2, 0, 1, 2], "by the common divisor");
}

#[test]
fn one_turn_for_all_threads_and_all_views() {
    let turn = Arc::new(Turn::default());
    let rr = rebuilt(Scheduler::Rr, NO_FLAGS, &[(1, 0), (1, 0), (1, 0)], Arc::clone(&turn));
    assert_eq!(picks(&rr, 2), [0, 1]);
    let rr = rebuilt(Scheduler::Rr, NO_FLAGS, &[(1, 0), (1, 0), (1, 0), (1, 0)], turn);
    assert_eq!(picks(&rr, 3), [2, 3, 0], "goes on where it was");
    for scheduler in [Scheduler::Rr, Scheduler::Wrr] {
        let shared = selector(scheduler, NO_FLAGS, &[(5, 0), (3, 0), (2, 0)]);
        let threads = |picks: u32| {
            std::thread::scope(|scope| {
                let work = (0..4).map(|_| scope.spawn(|| spread(&shared, picks, false))).collect::<Vec<_>>();
                let mut sums = vec![0; 3];
                for thread in work {
                    for (sum, count) in sums.iter_mut().zip(thread.join().unwrap()) {
                        *sum += count;
                    }
                }
                sums
            })
        };
        let expected = if scheduler == Scheduler::Rr { [100_000; 3] } else { [150_000, 90_000, 60_000] };
        assert_eq!(threads(75_000), expected, "{scheduler}: to the last pick");
    }
}

#[test]
fn the_least_burdened_by_each_definition() {
    let one = |scheduler, destinations: &[(u32, u32)]| selector(scheduler, NO_FLAGS, destinations).pick(&request(1));
    assert_eq!(one(Scheduler::Lc, &[(9, 3), (1, 2), (1, 2)]), Some(1), "weights do not count, the first of equals");
    assert_eq!(one(Scheduler::Wlc, &[(9, 3), (1, 2), (1, 2)]), Some(0));
    assert_eq!(one(Scheduler::Wlc, &[(1, 0), (100, 1)]), Some(0));
    // (0 + 1) / 1 against (1 + 1) / 3.
    assert_eq!(one(Scheduler::Sed, &[(1, 0), (3, 1)]), Some(1));
    assert_eq!(one(Scheduler::Nq, &[(3, 1), (1, 0)]), Some(1), "an idle one first");
    assert_eq!(one(Scheduler::Nq, &[(3, 1), (1, 1)]), Some(0), "else as sed");
    assert_eq!(one(Scheduler::Fo, &[(3, 9), (5, 900), (5, 0)]), Some(1));
    assert_eq!(one(Scheduler::Ovf, &[(3, 0), (5, 5), (4, 0)]), Some(1), "full is beyond the weight");
    assert_eq!(one(Scheduler::Ovf, &[(3, 0), (5, 6), (4, 0)]), Some(2));
    assert_eq!(one(Scheduler::Ovf, &[(1, 2), (2, 3)]), None, "all have overflown");
}

#[test]
fn thresholds_have_a_hysteresis() {
    let load = Load::default();
    load.set_thresholds(8, 3);
    (0..7).for_each(|_| load.open());
    assert!(!load.overloaded());
    load.open();
    assert!(load.overloaded());
    (0..5).for_each(|_| load.close());
    assert!(load.overloaded(), "3 is not below 3");
    load.close();
    assert!(!load.overloaded());
    // Without a lower threshold: below three quarters of the upper.
    load.set_thresholds(8, 0);
    (0..6).for_each(|_| load.open());
    assert!(load.overloaded());
    load.close();
    load.close();
    assert!(load.overloaded(), "6 of 8");
    load.close();
    assert!(!load.overloaded());
    (0..3).for_each(|_| load.open());
    assert!(load.overloaded());
    load.set_thresholds(9, 0);
    assert!(!load.overloaded(), "raised");
    load.set_thresholds(4, 0);
    assert!(load.overloaded(), "lowered");
    load.set_thresholds(0, 0);
    assert!(!load.overloaded());
}

#[test]
fn hundreds_of_thousands_of_picks_spread_by_weight() {
    let weights = [1, 2, 3, 10];
    let destinations: Vec<(u32, u32)> = weights.iter().map(|weight| (*weight, 0)).collect();
    for (scheduler, keep, within) in [
        (Scheduler::Wrr, false, 0.0001),
        (Scheduler::Wlc, true, 0.0005),
        (Scheduler::Sed, true, 0.0005),
        (Scheduler::Nq, true, 0.0005),
        (Scheduler::Twos, true, 0.02),
        (Scheduler::Mh, false, 0.03),
        (Scheduler::Sh, false, 0.05),
    ] {
        let selector = selector(scheduler, WITH_PORT, &destinations);
        let counts = spread(&selector, 320_000, keep);
        let error = off_by(&counts, &weights);
        assert!(error <= within, "{scheduler}: {counts:?}, off by {error}");
    }
    let even = selector(Scheduler::Lc, NO_FLAGS, &destinations);
    assert!(off_by(&spread(&even, 320_000, true), &[1; 4]) < 0.0001);
}

#[test]
fn twos_takes_the_better_of_two() {
    let counts = spread(&selector(Scheduler::Twos, NO_FLAGS, &[(1, 50), (1, 0)]), 200_000, false);
    // The worse one only when chance names it twice.
    assert!(off_by(&counts, &[1, 3]) < 0.02, "{counts:?}");
}

#[test]
fn hashes_keep_a_client_where_it_is() {
    for scheduler in [Scheduler::Sh, Scheduler::Mh] {
        let plain = selector(scheduler, NO_FLAGS, &[(1, 0), (1, 0), (1, 0)]);
        let ported = selector(scheduler, WITH_PORT, &[(1, 0), (1, 0), (1, 0)]);
        let mut by_port = std::collections::BTreeSet::new();
        let home = plain.pick(&request(7));
        for port in 1..500 {
            let client = SocketAddr::new(request(7).client.ip(), port);
            assert_eq!(plain.pick(&Request { client, ..request(7) }), home, "{scheduler}");
            by_port.insert(ported.pick(&Request { client, ..request(7) }));
        }
        assert_eq!(by_port.len(), 3, "{scheduler}: with the port flag all are used");
    }
    let dh = selector(Scheduler::Dh, NO_FLAGS, &[(1, 0), (900, 0), (1, 0)]);
    let to = |last: u8| dh.pick(&Request { destination: IpAddr::from([203, 0, 113, last]), ..request(1) });
    let places: std::collections::BTreeSet<_> = (0..=255).map(to).collect();
    assert_eq!(places.len(), 3);
    assert!((0..1000).all(|number| dh.pick(&request(number)) == dh.pick(&request(0))), "clients do not matter");
}

#[test]
fn fallback_flags_decide_about_a_hash_that_meets_an_overloaded_destination() {
    for scheduler in [Scheduler::Sh, Scheduler::Mh] {
        for (flags, falls_back) in [(NO_FLAGS, false), (FALLBACK, true)] {
            let selector = selector(scheduler, flags, &[(1, 0), (1, 0), (1, 0), (1, 0)]);
            let before: Vec<_> = (0..20_000).map(|number| selector.pick(&request(number)).unwrap()).collect();
            selector.candidates()[1].load.set_thresholds(1, 0);
            selector.candidates()[1].load.open();
            let mut moved = BTreeMap::<usize, u32>::new();
            for (number, home) in (0..).zip(before) {
                let now = selector.pick(&request(number));
                match home {
                    1 if falls_back => *moved.entry(now.unwrap()).or_default() += 1,
                    1 => assert_eq!(now, None, "{scheduler}"),
                    home => assert_eq!(now, Some(home), "{scheduler}: others stay"),
                }
            }
            if falls_back {
                let total: u32 = moved.values().sum();
                assert_eq!(moved.len(), 3);
                assert!(moved.values().all(|count| *count > total / 5), "{scheduler}: spread over all: {moved:?}");
            }
        }
    }
}

#[test]
fn maglev_moves_few_when_a_destination_goes() {
    let all = selector(Scheduler::Mh, NO_FLAGS, &[(1, 0); 10]);
    let candidates: Vec<_> = all.candidates().iter().filter(|c| c.key != key(4)).cloned().collect();
    let fewer = Selector::new(Scheduler::Mh, NO_FLAGS, candidates, Arc::default());
    let chosen = |selector: &Selector, number| selector.candidates()[selector.pick(&request(number)).unwrap()].key;
    let (mut stayed, mut moved) = (0, 0);
    for number in 0..200_000 {
        let home = chosen(&all, number);
        if home != key(4) {
            *(if chosen(&fewer, number) == home { &mut stayed } else { &mut moved }) += 1;
        }
    }
    assert!(moved * 20 < stayed, "{moved} of {stayed}");
}

#[test]
fn weights_beyond_the_buckets_are_scaled() {
    for scheduler in [Scheduler::Sh, Scheduler::Mh] {
        let counts = spread(&selector(scheduler, NO_FLAGS, &[(2_000_000_000, 0), (1_999_999_999, 0)]), 100_000, false);
        assert!(off_by(&counts, &[1, 1]) < 0.05, "{scheduler}: {counts:?}");
    }
    let wrr = selector(Scheduler::Wrr, NO_FLAGS, &[(2_000_000_000, 0), (1, 0), (1_999_999_999, 0)]);
    assert!(picks(&wrr, 1000).iter().all(|index| *index != 1));
    wrr.candidates()[0].load.set_thresholds(1, 0);
    wrr.candidates()[0].load.open();
    wrr.candidates()[2].load.set_thresholds(1, 0);
    wrr.candidates()[2].load.open();
    assert_eq!(picks(&wrr, 3), [1, 1, 1], "two thousand million empty rounds are one step");
}

#[test]
fn lblc_stays_until_overloaded_and_lblcr_replicates() {
    let weights = [(2, 0), (2, 0), (2, 0)];
    let lblc = selector(Scheduler::Lblc, NO_FLAGS, &weights);
    let open = |selector: &Selector, index: usize, count: u32| {
        (0..count).for_each(|_| selector.candidates()[index].load.open());
    };
    assert_eq!(lblc.pick(&request(1)), Some(0));
    open(&lblc, 0, 2);
    assert_eq!(lblc.pick(&request(2)), Some(0), "not beyond its weight");
    open(&lblc, 0, 1);
    assert_eq!(lblc.pick(&request(3)), Some(1), "3 > 2, and others are idle");
    (0..3).for_each(|_| lblc.candidates()[0].load.close());
    assert_eq!(lblc.pick(&request(4)), Some(1), "the new place is the place");
    let other = Request { destination: IpAddr::from([203, 0, 113, 2]), ..request(5) };
    open(&lblc, 1, 1);
    assert_eq!(lblc.pick(&other), Some(0), "another address has a place of its own");

    let lblcr = selector(Scheduler::Lblcr, NO_FLAGS, &weights);
    assert_eq!(lblcr.pick(&request(1)), Some(0));
    open(&lblcr, 0, 3);
    assert_eq!(lblcr.pick(&request(1)), Some(1));
    (0..3).for_each(|_| lblcr.candidates()[0].load.close());
    open(&lblcr, 1, 1);
    assert_eq!(lblcr.pick(&request(1)), Some(0), "both are in the set, the less burdened is chosen");
    // After a day the busiest leaves the set.
    let later = Request { now: super::LOCATED_FOR * 2, ..request(1) };
    assert_eq!(lblcr.pick(&later), Some(0));
    open(&lblcr, 0, 2);
    assert_eq!(lblcr.pick(&Request { now: super::LOCATED_FOR * 2, ..request(1) }), Some(0), "1 has left the set");
}

#[test]
fn located_addresses_are_bounded() {
    let selector = selector(Scheduler::Lblc, NO_FLAGS, &[(1, 0), (1, 0)]);
    for number in 0..3 * super::LOCATED_ENTRIES {
        let destination = Ipv4Addr::from(u32::try_from(number).unwrap()).into();
        let now = Duration::from_millis(number as u64);
        assert!(selector.pick(&Request { destination, now, ..request(1) }).is_some());
    }
    assert!(selector.turn.located.lock().unwrap().len() <= super::LOCATED_ENTRIES);
}

/// The kernel's loop as it is written there, one threshold after the other.
struct PlainWrr {
    last: Option<usize>,
    threshold: u32,
}

impl PlainWrr {
    fn pick(&mut self, weights: &[u32]) -> Option<usize> {
        let divisor = weights.iter().copied().filter(|w| *w > 0).reduce(super::greatest_common_divisor)?;
        let largest = *weights.iter().max()?;
        loop {
            let index = self.last.map_or(0, |last| last + 1);
            if index >= weights.len() {
                self.last = None;
                self.threshold = self.threshold.saturating_sub(divisor);
                continue;
            }
            self.last = Some(index);
            if self.threshold == 0 {
                self.threshold = largest;
            }
            if weights[index] >= self.threshold {
                return Some(index);
            }
        }
    }
}

proptest! {
    #[test]
    fn wrr_is_the_plain_loop(weights in proptest::collection::vec(0..20u32, 1..8)) {
        let mut plain = PlainWrr { last: None, threshold: 0 };
        let destinations: Vec<_> = weights.iter().map(|weight| (*weight, 0)).collect();
        let wrr = selector(Scheduler::Wrr, NO_FLAGS, &destinations);
        for _ in 0..200 {
            prop_assert_eq!(wrr.pick(&request(1)), plain.pick(&weights));
        }
    }

    #[test]
    fn the_least_is_the_least(destinations in proptest::collection::vec((0..9u32, 0..30u32), 1..12)) {
        let value = |scheduler, (weight, active): (u32, u32)| {
            let (weight, active) = (f64::from(weight), f64::from(active));
            match scheduler {
                Scheduler::Lc => active,
                Scheduler::Wlc => active / weight,
                Scheduler::Nq if active == 0.0 => 0.0,
                _ => (active + 1.0) / weight,
            }
        };
        for scheduler in [Scheduler::Lc, Scheduler::Wlc, Scheduler::Sed, Scheduler::Nq] {
            let live = || destinations.iter().enumerate().filter(|(_, (weight, _))| *weight > 0);
            let expected = live()
                .map(|(index, at)| (index, value(scheduler, *at)))
                .reduce(|best, other| if other.1 < best.1 { other } else { best })
                .map(|(index, _)| index);
            prop_assert_eq!(selector(scheduler, NO_FLAGS, &destinations).pick(&request(1)), expected);
        }
        let heaviest = |fits: fn(&(u32, u32)) -> bool| {
            let fitting = destinations.iter().enumerate().filter(|(_, d)| d.0 > 0 && fits(d));
            fitting.reduce(|best, other| if other.1.0 > best.1.0 { other } else { best }).map(|(index, _)| index)
        };
        prop_assert_eq!(selector(Scheduler::Fo, NO_FLAGS, &destinations).pick(&request(1)), heaviest(|_| true));
        let fits = heaviest(|(weight, active)| active <= weight);
        prop_assert_eq!(selector(Scheduler::Ovf, NO_FLAGS, &destinations).pick(&request(1)), fits);
    }

    #[test]
    fn whoever_is_picked_may_be(
        destinations in proptest::collection::vec((0..5u32, 0..9u32, 0..6u32), 0..10),
        scheduler in 0..14usize,
        numbers in proptest::collection::vec(0..100_000u32, 1..50),
        tried in proptest::collection::vec(0..10usize, 0..3),
        flags in (any::<bool>(), any::<bool>()),
    ) {
        let flags = SchedulerFlags { flag1: flags.0, flag2: flags.1, ..NO_FLAGS };
        let plain: Vec<_> = destinations.iter().map(|(weight, active, _)| (*weight, *active)).collect();
        let selector = selector(Scheduler::ALL[scheduler], flags, &plain);
        for (candidate, (_, _, upper)) in selector.candidates().iter().zip(&destinations) {
            candidate.load.set_thresholds(*upper, 0);
        }
        let may = |index: usize| {
            let (weight, active, upper) = destinations[index];
            weight > 0 && (upper == 0 || active < upper) && !tried.contains(&index)
        };
        let somebody = (0..destinations.len()).any(may);
        for number in numbers {
            let pick = selector.pick(&Request { tried: &tried, ..request(number) });
            prop_assert!(pick.is_none_or(may));
            let always = !matches!(
                Scheduler::ALL[scheduler],
                Scheduler::Sh | Scheduler::Mh | Scheduler::Dh | Scheduler::Ovf
            );
            prop_assert!(pick.is_some() || !somebody || !always);
        }
    }
}
