//! What was said lately: a target that fails each time in the same way gets a line a minute, not one for each notice.
//!
//! Pure: time is passed in.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The same cause is said again after this long.
const AGAIN: Duration = Duration::from_secs(60);
/// Causes that are told apart; a target that finds new words each time is cut short here.
const MOST: usize = 16;

/// The causes that were said, and how often each came since.
#[derive(Debug, Default)]
pub struct Said(BTreeMap<String, (Instant, u64)>);

impl Said {
    /// Whether a cause is to be said now: then how often it came unsaid since the last time.
    pub fn news(&mut self, now: Instant, cause: &str) -> Option<u64> {
        let is_over = |said: Instant| now.saturating_duration_since(said) >= AGAIN;
        if let Some((said, unsaid)) = self.0.get_mut(cause) {
            if !is_over(*said) {
                *unsaid += 1;
                return None;
            }
            *said = now;
            return Some(std::mem::take(unsaid));
        }
        if self.0.len() >= MOST {
            self.0.retain(|_, (said, _)| !is_over(*said));
        }
        if self.0.len() >= MOST {
            return None;
        }
        self.0.insert(cause.to_owned(), (now, 0));
        Some(0)
    }
}

/// `: 7 times more since` for the line.
pub fn more(unsaid: u64) -> String {
    if unsaid == 0 { String::new() } else { format!(" ({unsaid} times more since it was said last)") }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a start for made-up times")]
mod tests {
    use super::*;

    #[test]
    fn each_cause_once_a_minute_and_never_without_bound() {
        let (mut said, start) = (Said::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(said.news(at(0), "a"), Some(0));
        for second in 1..60 {
            assert_eq!(said.news(at(second), "a"), None);
        }
        assert_eq!(said.news(at(1), "b"), Some(0), "another cause");
        assert_eq!(said.news(at(60), "a"), Some(59));
        assert_eq!(said.news(at(61), "a"), None);
        let words = (0..1000).filter(|n| said.news(at(62), &format!("new words {n}")).is_some()).count();
        assert!(words <= MOST && said.0.len() <= MOST, "{words}");
        assert_eq!(said.news(at(200), "later"), Some(0));
        assert_eq!(more(0) + &more(3), " (3 times more since it was said last)");
    }
}
