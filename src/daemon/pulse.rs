//! Whether the balancer process still turns its loop.
//!
//! Pure: time is passed in. One that is stopped keeps its listeners, so that clients connect and are never served, and
//! its virtual servers are said to be well for ever. Main asks it for a sign of life once a second. When none comes, first
//! the trackers of its virtual servers say that this director cannot serve, and only much later it is killed: its
//! forwarding threads may do their work while its loop is busy, and their connections die with it.

use std::time::{Duration, Instant};

/// Between two questions.
const INTERVAL: Duration = Duration::from_secs(1);
/// So long without an answer, and its virtual servers count as unable to serve: longer than it takes to set up ten
/// thousand of them.
const MUTE: Duration = Duration::from_secs(10);
/// So long without an answer, and another one does better.
const STUCK: Duration = Duration::from_secs(30);

/// Judges answers.
#[derive(Debug, Clone)]
pub struct Pulse {
    look_at: Instant,
    /// When the question was put that is open.
    asked_at: Option<Instant>,
    distrusted: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Wait on.
    Wait,
    /// Ask.
    Ask,
    /// It has not answered for so long: its virtual servers are not served, for all that is known. Said once.
    Distrust(Duration),
    /// It has not answered for so long: kill it. Said once.
    Kill(Duration),
}

impl Pulse {
    /// For a process that has just become ready.
    pub fn new(now: Instant) -> Self {
        Self { look_at: now + INTERVAL, asked_at: None, distrusted: false }
    }

    /// When to look next.
    pub fn poll_timeout(&self) -> Instant {
        self.look_at
    }

    /// Looks.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Instant) -> Act {
        let late = now.saturating_duration_since(self.look_at);
        self.look_at = now + INTERVAL;
        let Some(asked_at) = self.asked_at else {
            self.asked_at = Some(now);
            return Act::Ask;
        };
        if late > INTERVAL && !self.distrusted {
            // We stood still as well, and its answer may be there already.
            self.asked_at = Some(now);
            return Act::Wait;
        }
        let silence = now.saturating_duration_since(asked_at);
        if silence >= STUCK {
            // SIGKILL ends it, or nothing does.
            self.look_at = now + STUCK;
            self.asked_at = Some(now);
            return Act::Kill(silence);
        }
        if silence >= MUTE && !std::mem::replace(&mut self.distrusted, true) {
            return Act::Distrust(silence);
        }
        Act::Wait
    }

    /// It has not answered for long.
    pub fn is_distrusted(&self) -> bool {
        self.distrusted
    }

    /// It answered. Returns for how long it was distrusted and silent, if it was.
    #[must_use]
    pub fn heard(&mut self, now: Instant) -> Option<Duration> {
        let silence = self.asked_at.take().map(|asked_at| now.saturating_duration_since(asked_at));
        if std::mem::take(&mut self.distrusted) { silence } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks each second for so long, and answers what was not `Wait`, with its second.
    fn acts(pulse: &mut Pulse, start: Instant, seconds: std::ops::RangeInclusive<u64>) -> Vec<(u64, Act)> {
        let look = |second| (second, pulse.handle_timeout(start + Duration::from_secs(second)));
        seconds.map(look).filter(|(_, act)| *act != Act::Wait).collect()
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn one_that_never_answers_is_distrusted_and_then_killed_once() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        let expected =
            [(1, Act::Ask), (11, Act::Distrust(Duration::from_secs(10))), (31, Act::Kill(Duration::from_secs(30)))];
        assert_eq!(acts(&mut pulse, start, 1..=31), expected);
        assert_eq!(pulse.poll_timeout(), start + Duration::from_secs(61));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn an_answer_ends_it() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        assert_eq!(acts(&mut pulse, start, 1..=1), [(1, Act::Ask)]);
        assert_eq!(pulse.heard(start + Duration::from_secs(1)), None, "nobody distrusted it");
        assert_eq!(acts(&mut pulse, start, 2..=13).len(), 2, "asked again, and distrusted");
        assert_eq!(pulse.heard(start + Duration::from_secs(14)), Some(Duration::from_secs(12)));
        assert_eq!(acts(&mut pulse, start, 14..=14), [(14, Act::Ask)]);
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn our_own_stall_is_not_held_against_it() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        assert_eq!(acts(&mut pulse, start, 1..=2), [(1, Act::Ask)]);
        assert_eq!(acts(&mut pulse, start, 60..=61), [], "we slept for a minute");
        assert_eq!(acts(&mut pulse, start, 62..=70), [(70, Act::Distrust(Duration::from_secs(10)))]);
    }
}
