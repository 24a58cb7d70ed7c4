//! What a row of results makes of a tracker, and when its next run is due.
//!
//! Pure: time is passed in.

use std::time::{Duration, Instant};

use super::config::ScriptConfig;
use crate::vrrp::event::TrackerStatus;

/// `rise` successes in a row make it healthy, `fall` failures in a row unhealthy. At start one result decides, unless
/// `init_fail`: then it is unhealthy from the start until its first success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RiseFall {
    rise: u32,
    fall: u32,
    status: TrackerStatus,
    /// One result is enough: there was none yet, or `init_fail` waits for its first success.
    undecided: bool,
    /// `init_fail`: a failure decides nothing while no success was seen.
    awaits_success: bool,
    /// Results in a row that contradict `status`.
    streak: u32,
}

impl RiseFall {
    /// A tracker without a result. `known` is the status that it had under its former configuration.
    pub fn new(config: &ScriptConfig, known: Option<TrackerStatus>) -> Self {
        let status = match known {
            Some(status) => status,
            None if config.init_fail => TrackerStatus::Down,
            None => TrackerStatus::Pending,
        };
        let awaits_success = config.init_fail && known.is_none();
        Self { rise: config.rise.max(1), fall: config.fall.max(1), status, undecided: true, awaits_success, streak: 0 }
    }

    /// The present status.
    pub fn status(&self) -> TrackerStatus {
        self.status
    }

    /// Takes one result; `Some` when the status changes by it.
    pub fn record(&mut self, success: bool) -> Option<TrackerStatus> {
        let result = if success { TrackerStatus::Up } else { TrackerStatus::Down };
        if result == self.status {
            self.streak = 0;
            self.undecided &= self.awaits_success && !success;
            return None;
        }
        self.streak = self.streak.saturating_add(1);
        let enough = match (self.undecided || self.status == TrackerStatus::Unknown, success) {
            (true, _) => 1,
            (false, true) => self.rise,
            (false, false) => self.fall,
        };
        (self.streak >= enough).then(|| self.enter(result))
    }

    /// It cannot be run at all. `Some` when that is new.
    pub fn record_unknown(&mut self) -> Option<TrackerStatus> {
        (self.status != TrackerStatus::Unknown).then(|| self.enter(TrackerStatus::Unknown))
    }

    fn enter(&mut self, status: TrackerStatus) -> TrackerStatus {
        self.status = status;
        self.streak = 0;
        self.undecided = false;
        status
    }
}

/// When the next run starts, after one that started at `started`: on the beat of `interval`, and a beat that falls
/// into a run that is still going is skipped.
pub fn next_start(started: Instant, interval: Duration, now: Instant) -> Instant {
    let interval = interval.max(Duration::from_millis(1));
    let beats = now.saturating_duration_since(started).as_nanos() / interval.as_nanos() + 1;
    let ahead = u32::try_from(beats).ok().and_then(|beats| interval.checked_mul(beats));
    // Beyond the range of the clock there is no beat to keep.
    ahead.and_then(|ahead| started.checked_add(ahead)).unwrap_or(now + interval)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "an arbitrary start")]

    use super::*;
    use crate::command::{Command, CommandForm};

    fn config(rise: u32, fall: u32, init_fail: bool) -> ScriptConfig {
        let form = CommandForm::Program(vec!["x".into()]);
        let second = Duration::from_secs(1);
        ScriptConfig {
            command: Command { text: "x".into(), form, user: None },
            interval: second,
            timeout: second,
            rise,
            fall,
            init_fail,
        }
    }

    /// Results: `+` success, `-` failure, `?` cannot run. Statuses after each: U D P ?.
    #[test]
    fn table() {
        for (rise, fall, init_fail, results, statuses, why) in [
            (1, 1, false, "+-+", "UDU", "each result counts"),
            (3, 3, false, "+", "U", "the first result decides"),
            (3, 3, false, "-", "D", "the first result decides"),
            (3, 2, false, "+-+--", "UUUUD", "a success interrupts the row of failures"),
            (2, 1, false, "-+-++", "DDDDU", "a failure interrupts the row of successes"),
            (3, 1, true, "--+-", "DDUD", "init_fail: failed until the first success"),
            (3, 1, true, "+-+++", "UDDDU", "init_fail: from then on as usual"),
            (2, 2, false, "?+-+--?", "?UUUUD?", "once it can run the first result decides"),
            (0, 0, false, "+-", "UD", "zero is one"),
        ] {
            let mut tracker = RiseFall::new(&config(rise, fall, init_fail), None);
            let mut before = tracker.status();
            let mut seen = String::new();
            for result in results.chars() {
                let changed = if result == '?' { tracker.record_unknown() } else { tracker.record(result == '+') };
                assert_eq!(changed, (tracker.status() != before).then_some(tracker.status()), "{why}");
                before = tracker.status();
                seen.push(match before {
                    TrackerStatus::Up => 'U',
                    TrackerStatus::Down => 'D',
                    TrackerStatus::Unknown => '?',
                    _ => 'P',
                });
            }
            assert_eq!(seen, statuses, "rise {rise} fall {fall} init_fail {init_fail} {results}: {why}");
        }
    }

    #[test]
    fn a_changed_script_keeps_its_status_until_its_first_result() {
        let mut tracker = RiseFall::new(&config(3, 3, true), Some(TrackerStatus::Up));
        assert_eq!(tracker.status(), TrackerStatus::Up);
        assert_eq!(tracker.record(false), Some(TrackerStatus::Down));

        let mut tracker = RiseFall::new(&config(2, 3, true), Some(TrackerStatus::Down));
        assert_eq!(tracker.record(false), None);
        assert_eq!(tracker.record(true), None, "the failure was the first result");
        assert_eq!(tracker.record(true), Some(TrackerStatus::Up));
    }

    #[test]
    fn beats() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        for (interval, ended_after, next_after, why) in [
            (1000, 10, 1000, "a short run"),
            (1000, 1000, 2000, "a run of exactly one interval skips the beat that it ended on"),
            (1000, 2500, 3000, "two beats skipped"),
            (0, 0, 1, "never at once again"),
        ] {
            assert_eq!(next_start(start, ms(interval), start + ms(ended_after)), start + ms(next_after), "{why}");
        }
        let ahead = start + Duration::from_secs(1 << 33);
        assert!(next_start(start, Duration::from_nanos(1), ahead) > ahead);
    }
}
