//! Whether the vrrp process still turns its loop.
//!
//! Pure: time is passed in. A vrrp process that is stopped, or in an endless loop, owns its addresses in the kernel while
//! a peer takes over: two owners for good. Its heartbeat is in the flight recorder ([`crate::vrrp::flight`]); main looks
//! at it four times in each [`stall_limit`], and a process that has not turned for that long is to be killed and swept.
//!
//! The same befalls a process that is still starting: the addresses that its predecessor left are in the kernel all the
//! while. They are removed when it takes longer than that; killed it is only when it can hardly be anything but stopped,
//! because a start takes its time on a busy machine.

use std::time::{Duration, Instant};

use crate::vrrp::config::VrrpConfig;
use crate::vrrp::timing::stall_limit;

/// No start takes as long.
const LONGEST_START: Duration = Duration::from_secs(30);

/// Judges heartbeats.
#[derive(Debug, Clone)]
pub struct Watchdog {
    limit: Duration,
    look_at: Instant,
    /// Of a process that is not ready yet.
    start: Option<Start>,
}

#[derive(Debug, Clone, Copy)]
struct Start {
    began_at: Instant,
    /// What its predecessor left was called too old.
    late: bool,
}

/// What is to be done about a process that is still starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartNews {
    /// It takes longer than a peer waits: the addresses of its predecessor must go. Said once.
    Late(Duration),
    /// It will not become ready: kill it. Said once.
    Stuck(Duration),
}

impl Watchdog {
    /// For a process with this configuration.
    pub fn new(now: Instant, config: &VrrpConfig) -> Self {
        let limit = stall_limit(config.instances.values());
        Self { limit, look_at: now + limit / 4, start: None }
    }

    /// For a process that was started just now.
    pub fn of_start(now: Instant, config: &VrrpConfig) -> Self {
        Self { start: Some(Start { began_at: now, late: false }), ..Self::new(now, config) }
    }

    /// The same process with another configuration.
    pub fn reconfigure(&mut self, now: Instant, config: &VrrpConfig) {
        *self = Self { start: self.start, ..Self::new(now, config) };
    }

    /// Looks at a process that is not ready.
    #[must_use]
    pub fn look_at_start(&mut self, now: Instant) -> Option<StartNews> {
        self.look_at = now + self.limit / 4;
        let start = self.start.as_mut()?;
        let taken = now.saturating_duration_since(start.began_at);
        if taken > LONGEST_START {
            self.start = None;
            return Some(StartNews::Stuck(taken));
        }
        (taken > self.limit && !std::mem::replace(&mut start.late, true)).then_some(StartNews::Late(taken))
    }

    /// When to look next.
    pub fn poll_timeout(&self) -> Instant {
        self.look_at
    }

    /// Looks. `last`: the heartbeat, if there ever was one. Returns for how long a process that must be killed has stood
    /// still.
    #[must_use]
    pub fn look(&mut self, now: Instant, last: Option<Instant>) -> Option<Duration> {
        let late = now.saturating_duration_since(self.look_at);
        self.look_at = now + self.limit / 4;
        // We stood still as well: the whole machine did, or both of us starve. Nothing is known of the other then.
        if late > self.limit / 4 {
            return None;
        }
        let silence = now.saturating_duration_since(last?);
        (silence > self.limit).then_some(silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::config::InstanceConfig;
    use crate::vrrp::types::Vrid;

    /// One instance at 1 s and priority 100: half of 3.609 s.
    fn watchdog(now: Instant) -> (Watchdog, Duration) {
        let mut config = VrrpConfig::default();
        let instance = InstanceConfig::new("eth0", Vrid::new(1).expect("legal"));
        config.instances.insert("VI_1".to_owned(), instance);
        let limit = stall_limit(config.instances.values());
        assert_eq!(limit.as_micros(), 1_804_687);
        (Watchdog::new(now, &config), limit)
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn a_process_that_stands_still_is_found_and_our_own_stall_is_not_held_against_it() {
        let start = Instant::now();
        // what happens: (ms since the last look was due, ms of silence of the process) -> stuck
        let rows = [
            ("turns", 0, 100, false),
            ("slow", 0, 1_800, false),
            ("stands still", 0, 1_900, true),
            ("main stood still too", 2_000, 3_000, false),
            ("main was a little late", 100, 1_900, true),
        ];
        for (what, late, silence, stuck) in rows {
            let (mut watchdog, limit) = watchdog(start);
            let now = watchdog.poll_timeout() + Duration::from_millis(late);
            let last = (now + limit).checked_sub(limit + Duration::from_millis(silence)).expect("after boot");
            assert_eq!(watchdog.look(now, Some(last)).is_some(), stuck, "{what}");
            assert!(watchdog.poll_timeout() > now);
        }
        let (mut watchdog, _) = watchdog(start);
        assert_eq!(watchdog.look(start, None), None, "a process that has not begun");
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn a_start_that_takes_long_is_late_and_later_stuck_each_told_once() {
        let start = Instant::now();
        let mut config = VrrpConfig::default();
        config.instances.insert("VI_1".to_owned(), InstanceConfig::new("eth0", Vrid::new(1).expect("legal")));
        let mut watchdog = Watchdog::of_start(start, &config);
        let mut news = Vec::new();
        for ms in (500..60_000).step_by(500) {
            let now = start + Duration::from_millis(ms);
            if ms == 1500 {
                watchdog.reconfigure(now, &config);
            }
            news.extend(watchdog.look_at_start(now));
            assert!(watchdog.poll_timeout() > now);
        }
        let late = StartNews::Late(Duration::from_secs(2));
        assert_eq!(news, [late, StartNews::Stuck(Duration::from_millis(30_500))]);
    }
}
