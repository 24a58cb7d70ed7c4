//! Whether main still turns its loop.
//!
//! Pure: time is passed in. A main that is stopped or hangs runs no trackers: their statuses are those of before. That is
//! told and no reason to fail over: a router whose health nobody checks is better than none. Main's heartbeat stands in
//! the flight recorder beside our own ([`crate::vrrp::flight`]).

use std::time::{Duration, Instant};

/// How long main may say nothing. It beats several times in this, and hardly anything takes it as long as a second.
pub(super) const MAIN_SILENCE: Duration = Duration::from_secs(10);
/// The time between two looks; a gap twice as long is a stall of our own, or of the whole machine.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Judges main's heartbeats.
#[derive(Debug)]
pub(super) struct MainWatch {
    /// The latest heartbeat, as it was written.
    beat: Option<Instant>,
    /// Since when it has been the same, as far as we were there to see it.
    since: Instant,
    looked_at: Instant,
    silent: bool,
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MainNews {
    /// It has said nothing for this long.
    Silent(Duration),
    /// It goes on after this long.
    Back(Duration),
}

impl MainWatch {
    pub(super) fn new(now: Instant) -> Self {
        Self { beat: None, since: now, looked_at: now, silent: false }
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.looked_at) >= LOOK_EVERY
    }

    /// Looks at the latest heartbeat, if there ever was one.
    pub(super) fn look(&mut self, now: Instant, beat: Option<Instant>) -> Option<MainNews> {
        let stalled = now.saturating_duration_since(self.looked_at) > LOOK_EVERY * 2;
        self.looked_at = now;
        let silence = now.saturating_duration_since(self.since);
        if beat != self.beat {
            self.beat = beat;
            self.since = now;
            return std::mem::take(&mut self.silent).then_some(MainNews::Back(silence));
        }
        if stalled && !self.silent {
            // Nothing is known of main in a time in which we were not there.
            self.since = now;
            return None;
        }
        if self.silent || beat.is_none() || silence < MAIN_SILENCE {
            return None;
        }
        self.silent = true;
        Some(MainNews::Silent(silence))
    }

    /// For how long the trackers' statuses have been stale.
    pub(super) fn stale(&self, now: Instant) -> Option<Duration> {
        self.silent.then(|| now.saturating_duration_since(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn silence_is_told_once_and_its_end_once_and_our_own_stall_is_not_held_against_main() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let silent = |seconds| Some(MainNews::Silent(Duration::from_secs(seconds)));
        let back = |seconds| Some(MainNews::Back(Duration::from_secs(seconds)));
        // when we look, the heartbeat that we see, what is told
        let rows = [
            (1, None, None),
            (2, Some(2), None),
            (3, Some(3), None),
            (4, Some(3), None),
            (6, Some(3), None),
            (8, Some(3), None),
            (10, Some(3), None),
            (12, Some(3), None),
            (13, Some(3), silent(10)),
            (14, Some(3), None),
            (30, Some(3), None),
            (31, Some(31), back(28)),
            (32, Some(31), None),
            // We stood still, and so may main have done.
            (60, Some(31), None),
            (62, Some(31), None),
            (64, Some(31), None),
            (66, Some(31), None),
            (68, Some(31), None),
            (70, Some(31), silent(10)),
        ];
        let mut watch = MainWatch::new(start);
        for (n, beat, told) in rows {
            assert_eq!(watch.look(at(n), beat.map(at)), told, "at {n}");
        }
        assert_eq!(watch.stale(at(71)), Some(Duration::from_secs(11)));
    }
}
