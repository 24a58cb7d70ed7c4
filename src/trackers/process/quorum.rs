//! What the number of processes makes of a tracker, and when it counts.
//!
//! Pure: time is passed in.

use std::time::{Duration, Instant};

use crate::trackers::config::ProcessConfig;
use crate::vrrp::event::TrackerStatus;

/// Healthy with `quorum` to `quorum_max` processes. The first number decides at once. From then on a change counts
/// when it has lasted: `fork_delay` if more processes brought it, `terminate_delay` if fewer did. One that reverts
/// before never was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    least: u32,
    most: u32,
    fork_delay: Duration,
    terminate_delay: Duration,
    status: TrackerStatus,
    count: Option<u32>,
    change: Option<Change>,
}

/// A status that does not count yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    to: TrackerStatus,
    at: Instant,
    /// More processes brought it.
    more: bool,
}

impl Quorum {
    /// One that counted nothing yet. `known` is the status that it had under its former configuration.
    pub fn new(config: &ProcessConfig, known: Option<TrackerStatus>) -> Self {
        Self {
            least: config.quorum,
            most: config.quorum_max.unwrap_or(u32::MAX),
            fork_delay: config.fork_delay,
            terminate_delay: config.terminate_delay,
            status: known.unwrap_or(TrackerStatus::Pending),
            count: None,
            change: None,
        }
    }

    /// The present status.
    pub fn status(&self) -> TrackerStatus {
        self.status
    }

    /// How many processes there are, as far as is known.
    pub fn count(&self) -> Option<u32> {
        self.count
    }

    /// Whether `fork_delay` runs (`Some(true)`) or `terminate_delay` (`Some(false)`), if one of them does.
    pub fn delay_after_more(&self) -> Option<bool> {
        self.change.map(|change| change.more)
    }

    /// Takes a number; `Some` when the status changes by it. Changes [`Self::poll_timeout`].
    pub fn record(&mut self, count: u32, now: Instant) -> Option<TrackerStatus> {
        let before = self.count.replace(count);
        let healthy = (self.least..=self.most).contains(&count);
        let status = if healthy { TrackerStatus::Up } else { TrackerStatus::Down };
        if status == self.status {
            self.change = None;
            return None;
        }
        let delay = match before {
            // Nothing happened: the first look decides.
            None => Duration::ZERO,
            _ if self.status == TrackerStatus::Unknown => Duration::ZERO,
            Some(before) if count > before => self.fork_delay,
            Some(_) => self.terminate_delay,
        };
        if delay.is_zero() {
            return Some(self.enter(status));
        }
        // What is under way keeps its time.
        self.change.get_or_insert(Change {
            to: status,
            at: now + delay,
            more: before.is_some_and(|before| count > before),
        });
        None
    }

    /// Nobody can count. `Some` when that is new.
    pub fn record_unknown(&mut self) -> Option<TrackerStatus> {
        (self.status != TrackerStatus::Unknown).then(|| self.enter(TrackerStatus::Unknown))
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.change.map(|change| change.at)
    }

    /// `Some` when a change has lasted long enough.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<TrackerStatus> {
        let change = self.change.filter(|change| change.at <= now)?;
        Some(self.enter(change.to))
    }

    fn enter(&mut self, status: TrackerStatus) -> TrackerStatus {
        self.status = status;
        self.change = None;
        status
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "an arbitrary start")]

    use super::*;
    use crate::trackers::config::ProcessPattern;

    fn config(quorum: u32, quorum_max: Option<u32>, fork: u64, terminate: u64) -> ProcessConfig {
        ProcessConfig {
            pattern: ProcessPattern::Name("x".into()),
            quorum,
            quorum_max,
            fork_delay: Duration::from_millis(fork),
            terminate_delay: Duration::from_millis(terminate),
        }
    }

    /// Numbers at their milliseconds, then what is reported when.
    #[test]
    fn table() {
        use TrackerStatus::{Down, Up};
        type Row<'a> = (ProcessConfig, &'a [(u64, u32)], &'a [(u64, TrackerStatus)], &'a str);
        let rows: [Row<'_>; 14] = [
            (config(1, None, 0, 0), &[(0, 0), (5, 1), (6, 2), (9, 0)], &[(0, Down), (5, Up), (9, Down)], "at once"),
            (config(2, None, 0, 0), &[(0, 1), (5, 2), (6, 1)], &[(0, Down), (5, Up), (6, Down)], "two"),
            (config(1, Some(1), 0, 0), &[(0, 1), (5, 2), (6, 1)], &[(0, Up), (5, Down), (6, Up)], "one too many"),
            (config(0, Some(0), 0, 0), &[(0, 0), (5, 1), (6, 0)], &[(0, Up), (5, Down), (6, Up)], "none may run"),
            (config(1, None, 50, 80), &[(0, 0)], &[(0, Down)], "the first number decides"),
            (config(1, None, 50, 80), &[(0, 1)], &[(0, Up)], "the first number decides"),
            (config(1, None, 50, 80), &[(0, 0), (10, 1)], &[(0, Down), (60, Up)], "fork_delay"),
            (config(1, None, 50, 80), &[(0, 1), (10, 0)], &[(0, Up), (90, Down)], "terminate_delay"),
            (config(1, None, 50, 80), &[(0, 1), (10, 0), (89, 1)], &[(0, Up)], "restarted in time"),
            (config(2, None, 50, 80), &[(0, 2), (10, 1), (40, 0)], &[(0, Up), (90, Down)], "from the first loss"),
            (config(1, Some(1), 50, 80), &[(0, 1), (9, 2), (20, 1)], &[(0, Up)], "a short fork"),
            (config(1, Some(1), 50, 80), &[(0, 1), (9, 2)], &[(0, Up), (59, Down)], "more processes: fork_delay"),
            (config(1, Some(1), 50, 80), &[(0, 2), (9, 1)], &[(0, Down), (89, Up)], "fewer: terminate_delay"),
            (
                config(1, None, 50, 80),
                &[(0, 1), (10, 0), (20, 1), (30, 0)],
                &[(0, Up), (110, Down)],
                "each loss has its own time",
            ),
        ];
        let start = Instant::now();
        for (config, numbers, want, why) in rows {
            let mut quorum = Quorum::new(&config, None);
            assert_eq!(quorum.status(), TrackerStatus::Pending);
            let mut seen = Vec::new();
            for ms in 0..300 {
                let now = start + Duration::from_millis(ms);
                assert!(quorum.poll_timeout().is_none_or(|at| at >= now), "{why}: missed");
                seen.extend(quorum.handle_timeout(now).map(|status| (ms, status)));
                for (_, count) in numbers.iter().filter(|(at, _)| *at == ms) {
                    seen.extend(quorum.record(*count, now).map(|status| (ms, status)));
                }
            }
            assert_eq!(seen, want, "{why}");
        }
    }

    #[test]
    fn a_changed_tracker_keeps_its_status_until_it_is_counted() {
        let now = Instant::now();
        let mut quorum = Quorum::new(&config(1, None, 50, 80), Some(TrackerStatus::Up));
        assert_eq!(quorum.status(), TrackerStatus::Up);
        assert_eq!(quorum.record(1, now), None);
        let mut quorum = Quorum::new(&config(2, None, 50, 80), Some(TrackerStatus::Up));
        assert_eq!(quorum.record(1, now), Some(TrackerStatus::Down));
    }

    #[test]
    fn unknown_ends_with_the_next_number() {
        let now = Instant::now();
        let mut quorum = Quorum::new(&config(1, None, 50, 80), None);
        quorum.record(1, now);
        assert_eq!(quorum.record_unknown(), Some(TrackerStatus::Unknown));
        assert_eq!(quorum.record_unknown(), None);
        assert_eq!(quorum.record(1, now), Some(TrackerStatus::Up));
    }
}
