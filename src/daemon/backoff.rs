//! How soon a dead child is started again.
//!
//! Pure: time is passed in.

use std::time::Duration;

/// A child that lived this long did not die of its start.
const SETTLED: Duration = Duration::from_secs(60);
/// The longest wait, as in keepalived.
const LONGEST: Duration = Duration::from_secs(60);

/// At once after the first death, then 1, 2, 4 … 60 s while it keeps dying within a minute of its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    early_deaths: u32,
}

impl Backoff {
    /// The wait after a child died that had lived for `lived`.
    pub fn record_death(&mut self, lived: Duration) -> Duration {
        if lived >= SETTLED {
            self.early_deaths = 0;
            return Duration::ZERO;
        }
        self.early_deaths = self.early_deaths.saturating_add(1);
        match self.early_deaths {
            1 => Duration::ZERO,
            n => Duration::from_secs(1_u64.checked_shl(n - 2).unwrap_or(u64::MAX)).min(LONGEST),
        }
    }

    /// Deaths in a row soon after the start.
    pub fn early_deaths(&self) -> u32 {
        self.early_deaths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once_then_doubling_to_a_minute() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..10).map(|_| backoff.record_death(Duration::from_secs(1)).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff.early_deaths(), 10);
        assert_eq!(backoff.record_death(Duration::from_secs(60)), Duration::ZERO, "it had settled");
        let waits: Vec<u64> = (0..3).map(|_| backoff.record_death(Duration::from_secs(59)).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2]);
        for _ in 0..200 {
            assert!(backoff.record_death(Duration::ZERO) <= LONGEST);
        }
    }
}
