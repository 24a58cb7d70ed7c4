//! When an advert came in, from how long it waited in its socket.
//!
//! Pure: time is passed in. The kernel stamps packets with the wall clock, which people and NTP set, and which jumps after
//! a suspend; deadlines are of the monotonic clock. A packet did not wait longer than since we last looked; and where the
//! two clocks moved apart since then the stamps mean nothing, and it came now: a takeover that is late does less harm than
//! one that should not be.

use std::time::{Duration, Instant};

/// Both clocks differ in their rate by less than that between two turns: half a millisecond a second at the worst.
const TOLERANCE: Duration = Duration::from_millis(5);

/// Turns waiting times into times of receipt.
#[derive(Debug, Clone)]
pub struct ReceiveClock {
    now: Instant,
    wall: Duration,
    /// The longest time that a packet read in this turn can have waited.
    longest: Duration,
}

impl ReceiveClock {
    /// At the first look; `wall` is CLOCK_REALTIME since the epoch.
    pub fn new(now: Instant, wall: Duration) -> Self {
        Self { now, wall, longest: Duration::ZERO }
    }

    /// A turn begins: packets are read that came since the last one.
    pub fn begin_turn(&mut self, now: Instant, wall: Duration) {
        let passed = now.saturating_duration_since(self.now);
        let believed = wall.checked_sub(self.wall).is_some_and(|by| by.abs_diff(passed) <= TOLERANCE);
        self.longest = if believed { passed } else { Duration::ZERO };
        self.now = now;
        self.wall = wall;
    }

    /// When a packet came in that was read now and waited so long by its stamp. `now` may be much later than the turn's
    /// beginning: the process may have been stopped in between.
    pub fn received_at(&self, now: Instant, waited: Duration) -> Instant {
        now.checked_sub(waited.min(self.longest)).unwrap_or(now)
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
        let wall = Duration::from_secs(1_000_000);
        // what the monotonic and the wall clock say after the last turn, what the stamp says -> what is believed
        let rows = [
            (1000, 1000_i64, 300, 300),
            (1000, 1000, 5000, 1000),
            (1000, 1004, 300, 300),
            (1000, 996, 300, 300),
            (1000, 1006, 300, 0),
            (1000, 3_601_000, 3_600_300, 0),
            (1000, -3_599_000, 0, 0),
            (5000, 5000, 4900, 4900),
        ];
        for (passed, by_the_wall, stamp, believed) in rows {
            let mut clock = ReceiveClock::new(start, wall);
            let now = start + ms(passed);
            let moved = Duration::from_millis(by_the_wall.unsigned_abs());
            clock.begin_turn(now, if by_the_wall < 0 { wall - moved } else { wall + moved });
            assert_eq!(now - clock.received_at(now, ms(stamp)), ms(believed), "{passed} {by_the_wall} {stamp}");
            let late = now + ms(7000);
            assert_eq!(late - clock.received_at(late, ms(stamp)), ms(believed), "stopped before it was read");
        }
    }
}
