//! How long adverts may gather in their sockets before they are read.
//!
//! Pure: time is passed in. Waking up costs several times what reading one advert costs, and a backup of hundreds of
//! virtual routers would wake for each: when adverts come in fast the loop rests after a turn that read some, and finds
//! several at the next.
//!
//! Nothing of the protocol is lost by that. Deadlines restart from the kernel's time of receipt
//! ([`super::receive_clock`]), sockets are read before deadlines are judged, and the rest ends with the next deadline. What
//! waits is our answer to what an advert says: a master yields, and the takeover from one that resigned begins, later by
//! the rest at the most. So it is never longer than the shortest skew time that a backup can have: a resignation is heard
//! before its skew time has passed. With adverts every second that is 7.8 ms; a pair with adverts every 100 ms or faster,
//! and one that hears few of them, is not kept waiting at all.

use std::time::{Duration, Instant};

/// The flow is judged by windows of this length.
const WINDOW: Duration = Duration::from_secs(5);
/// Fewer adverts than this in a window, a hundred a second, are read as they come.
const MANY: usize = 500;
/// The longest rest.
const LONGEST: Duration = Duration::from_millis(10);
/// Nothing gathers in less.
const SHORTEST: Duration = Duration::from_millis(1);

/// Counts adverts.
#[derive(Debug, Clone)]
pub struct Gather {
    window_ends: Instant,
    adverts: usize,
    /// Zero while they are few.
    rest: Duration,
}

impl Gather {
    /// At the start adverts are few.
    pub fn new(now: Instant) -> Self {
        Self { window_ends: now + WINDOW, adverts: 0, rest: Duration::ZERO }
    }

    /// A turn is over in which so many adverts were read: how long to rest before the next, at the most. `shortest_skew`:
    /// of all virtual routers here, as of now ([`super::engine::VrrpEngine::shortest_skew`]); asked once a window.
    pub fn rest(&mut self, now: Instant, adverts: usize, shortest_skew: impl FnOnce() -> Option<Duration>) -> Duration {
        if self.window_ends <= now {
            // A window that was longer, because nothing came in it, makes many of few.
            let many = self.adverts >= MANY && now < self.window_ends + WINDOW;
            self.rest = if many { longest(shortest_skew()) } else { Duration::ZERO };
            self.adverts = 0;
            self.window_ends = now + WINDOW;
        }
        self.adverts = self.adverts.saturating_add(adverts);
        if adverts == 0 { Duration::ZERO } else { self.rest }
    }
}

/// The longest rest that does no harm where the shortest skew time is this.
pub fn longest(shortest_skew: Option<Duration>) -> Duration {
    let rest = shortest_skew.unwrap_or_default().min(LONGEST);
    if rest < SHORTEST { Duration::ZERO } else { rest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn only_where_many_adverts_come_and_their_skew_is_long_do_they_gather() {
        let us = Duration::from_micros;
        // adverts in each turn, turns in each window, the shortest skew in µs, the rest in µs
        let rows = [
            (1, 1, 7_812, 0),
            (1, 499, 7_812, 0),
            (1, 500, 7_812, 7_812),
            (250, 2, 7_812, 7_812),
            (500, 5, 7_812, 7_812),
            (500, 5, 319_921, 10_000),
            (500, 5, 1_000, 1_000),
            // Pairs with adverts every 100 ms, and every 10.
            (500, 5, 781, 0),
            (500, 5, 78, 0),
        ];
        for (adverts, turns, skew, rest) in rows {
            let row = format!("{adverts} × {turns}, {skew}");
            let mut now = Instant::now();
            let mut gather = Gather::new(now);
            for _ in 0..turns {
                assert_eq!(gather.rest(now, adverts, || Some(us(skew))), Duration::ZERO, "{row}: the first window");
                now += WINDOW / turns + Duration::from_nanos(1);
            }
            assert_eq!(gather.rest(now, adverts, || Some(us(skew))), us(rest), "{row}");
            assert_eq!(gather.rest(now, 0, || None), Duration::ZERO, "{row}: nothing was read");
            // What came long ago is no flow.
            assert_eq!(gather.rest(now + WINDOW * 2, 1, || Some(us(skew))), Duration::ZERO, "{row}: after a silence");
        }
        assert_eq!(longest(None), Duration::ZERO);
    }
}
