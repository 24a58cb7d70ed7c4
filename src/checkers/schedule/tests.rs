#![allow(clippy::disallowed_methods)] // A beginning; all else is counted from it.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn first_runs_are_spread_over_the_warmup() {
    let epoch = Instant::now();
    let now = epoch + 7 * SECOND;
    let mut random = Random::new(1);
    let mut tenths = [0; 10];
    for _ in 0..10_000 {
        let at = first_run(epoch, now, 6 * SECOND, random.draw());
        let after = at - now;
        assert!(after >= SECOND && after <= 7 * SECOND + SLOT, "{after:?}");
        let tenth = (after - SECOND).as_millis() * 10 / 6001;
        tenths[usize::try_from(tenth).expect("small").min(9)] += 1;
    }
    assert!(tenths.iter().all(|count| (800..1200).contains(count)), "{tenths:?}");
    assert_eq!(first_run(epoch, now, Duration::ZERO, u64::MAX), now + SECOND);
}

#[test]
fn the_beat_goes_on_from_when_it_was_due() {
    let epoch = Instant::now();
    let at = |millis| epoch + Duration::from_millis(millis);
    let table = [
        // Due, interval, now, next.
        (1000, 6000, 1003, 7000),
        (1000, 6000, 6999, 7000),
        (1000, 6000, 7000, 7000),
        // Late: the beats that are over are left out, the phase stays.
        (1000, 6000, 7001, 13_000),
        (1000, 6000, 20_000, 25_000),
        (1000, 0, 1003, 1020),
        (1000, 0, 1000, 1000),
        // Slots of 20 ms.
        (1000, 1005, 1003, 2020),
        (1000, 1, 1000, 1020),
    ];
    for (due, interval, now, expected) in table {
        let next = next_run(epoch, at(due), Duration::from_millis(interval), at(now));
        assert_eq!(next - epoch, Duration::from_millis(expected), "{due} {interval} {now}");
    }
}

#[test]
fn deadlines_come_in_order_and_move() {
    let epoch = Instant::now();
    let (mut one, mut two, mut deadlines) = (None, None, Deadlines::default());
    assert_eq!(deadlines.next(), None);
    deadlines.set(1, &mut one, Some(epoch + 2 * SECOND));
    deadlines.set(2, &mut two, Some(epoch + SECOND));
    assert_eq!(deadlines.due(epoch), None);
    assert_eq!(deadlines.due(epoch + 5 * SECOND), Some(2));
    deadlines.set(2, &mut two, Some(epoch + 3 * SECOND));
    assert_eq!((deadlines.next(), deadlines.due(epoch + 5 * SECOND)), (Some(epoch + 2 * SECOND), Some(1)));
    deadlines.set(1, &mut one, None);
    assert_eq!(deadlines.due(epoch + 5 * SECOND), Some(2));
    deadlines.set(2, &mut two, None);
    assert_eq!((deadlines.next(), one, two), (None, None, None));
}

proptest! {
    /// Never in the past, never later than a beat and a slot, always in a slot.
    #[test]
    fn the_next_run_is_near(due in 0_u64..100_000, interval in 0_u64..100_000, late in 0_u64..1_000_000) {
        let epoch = Instant::now();
        let due = epoch + Duration::from_millis(due);
        let now = due + Duration::from_millis(late);
        let interval = Duration::from_millis(interval);
        let next = next_run(epoch, due, interval, now);
        prop_assert!(next >= now);
        prop_assert!(next <= now + interval.max(SLOT) + SLOT);
        prop_assert_eq!((next - epoch).as_nanos() % SLOT.as_nanos(), 0);
    }
}
