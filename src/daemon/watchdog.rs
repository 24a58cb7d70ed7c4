//! Whether the vrrp process still turns its loop.
//!
//! Pure: time is passed in. A vrrp process that is stopped, or in an endless loop, owns its addresses in the kernel while
//! a peer takes over: two owners for good. Its heartbeat is in the flight recorder ([`crate::vrrp::flight`]); main looks
//! at it four times in each [`stall_limit`], and a process that has not turned for that long is to be killed and swept.

use std::time::{Duration, Instant};

use crate::vrrp::config::VrrpConfig;
use crate::vrrp::timing::stall_limit;

/// Judges heartbeats.
#[derive(Debug, Clone)]
pub struct Watchdog {
    limit: Duration,
    look_at: Instant,
}

impl Watchdog {
    /// For a process with this configuration.
    pub fn new(now: Instant, config: &VrrpConfig) -> Self {
        let limit = stall_limit(config.instances.values());
        Self { limit, look_at: now + limit / 4 }
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
}
