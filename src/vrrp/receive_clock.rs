//! When an advert came in, from the time that the kernel stamped it with.
//!
//! Pure: time is passed in. The kernel stamps packets with the wall clock, which people and NTP set, and which jumps after
//! a suspend; deadlines are of the monotonic clock. So both clocks are compared whenever a packet is read: where they moved
//! apart since packets were last looked for, the stamp means nothing, and the packet came now: a takeover that is late does
//! less harm than one that should not be. Nor did a packet wait longer than since then.

use std::time::{Duration, Instant};

/// Both clocks differ in their rate by less than that between two turns: half a millisecond a second at the worst.
const TOLERANCE: Duration = Duration::from_millis(5);

/// Turns stamps into times of receipt.
#[derive(Debug, Clone)]
pub struct ReceiveClock {
    /// The turn before: packets that came earlier have been read in it.
    before: Look,
    /// This turn.
    latest: Look,
}

/// A look at both clocks.
#[derive(Debug, Clone, Copy)]
struct Look {
    now: Instant,
    wall: Duration,
}

impl ReceiveClock {
    /// At the first look; `wall` is CLOCK_REALTIME since the epoch.
    pub fn new(now: Instant, wall: Duration) -> Self {
        Self { before: Look { now, wall }, latest: Look { now, wall } }
    }

    /// A turn begins: packets are read that came since the last one began.
    pub fn begin_turn(&mut self, now: Instant, wall: Duration) {
        self.before = std::mem::replace(&mut self.latest, Look { now, wall });
    }

    /// When a packet came in that was read `now`. That may be much later than the turn's beginning, and `wall` may have been
    /// set since: the process may have been stopped in between.
    pub fn received_at(&self, now: Instant, wall: Duration, stamp: Option<Duration>) -> Instant {
        let passed = now.saturating_duration_since(self.before.now);
        let by_the_wall = wall.checked_sub(self.before.wall);
        let believed = by_the_wall.is_some_and(|by| by.abs_diff(passed) <= TOLERANCE);
        let waited = stamp.filter(|_| believed).map_or(Duration::ZERO, |stamp| wall.saturating_sub(stamp).min(passed));
        now.checked_sub(waited).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn a_clock_that_is_set_moves_no_deadline() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let wall = |ms: i64| Duration::from_millis((1_000_000_000 + ms).unsigned_abs());
        // when it is read by the monotonic clock, and by the wall clock, what the stamp says -> when it came in;
        // all by the beginning of the last turn
        let rows = [
            (1000, 1000, Some(700), 700),
            (1000, 1000, Some(-4000), 0),
            (1000, 1000, Some(1200), 1000),
            (1000, 1000, None, 1000),
            (1000, 1004, Some(704), 700),
            (1000, 996, Some(696), 700),
            (1000, 1006, Some(706), 1000),
            (1000, 3_601_000, Some(700), 1000),
            (1000, -3_599_000, Some(700), 1000),
            (9000, 9000, Some(8900), 8900),
        ];
        for (now, by_the_wall, stamp, came) in rows {
            // In a turn that began just now, and in one in which we were stopped, or the clock was set, since it began.
            for begun in [now, 300.min(now)] {
                let mut clock = ReceiveClock::new(start, wall(0));
                let wall_at_begin = if begun == now { by_the_wall } else { i64::try_from(begun).expect("small") };
                clock.begin_turn(start + ms(begun), wall(wall_at_begin));
                let at = clock.received_at(start + ms(now), wall(by_the_wall), stamp.map(wall));
                assert_eq!(at - start, ms(came), "{now} {by_the_wall} {stamp:?} {begun}");
                // The next turn looks back to the beginning of this one.
                clock.begin_turn(start + ms(now), wall(by_the_wall));
                let at = clock.received_at(start + ms(now), wall(by_the_wall), Some(wall(-4000)));
                let is_believed = begun == now || (by_the_wall - i64::try_from(now).expect("small")).abs() <= 5;
                assert_eq!(at - start, ms(if is_believed { begun } else { now }), "{now} {by_the_wall} {begun}");
            }
        }
    }
}
