//! What a client saw, computed from its requests.
//!
//! Pure: time is passed in. The client starts a request every few milliseconds whether or not earlier ones were
//! answered; each has a start, and in the end an answer or none. Everything is judged by the *start* of requests, so
//! that the patience of the client does not count as the outage of the service.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The outcome of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// When the request was started.
    pub started: Instant,
    /// The node that answered, `None` for none.
    pub answer: Option<String>,
}

/// A run of requests without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Start of the first request that went unanswered.
    pub from: Instant,
    /// Start of the first answered one after it; `None` while it lasts.
    pub to: Option<Instant>,
}

/// Everything one client saw, in the order of the requests' starts.
#[derive(Debug, Default, Clone)]
pub struct History {
    samples: BTreeMap<(Instant, u64), Option<String>>,
    counter: u64,
}

impl History {
    /// Outcomes arrive in any order: a failure is known later than the successes after it.
    pub fn add(&mut self, sample: Sample) {
        self.counter += 1;
        self.samples.insert((sample.started, self.counter), sample.answer);
    }

    /// All outages among requests started in this window.
    pub fn outages(&self, from: Instant, to: Instant) -> Vec<Outage> {
        let mut outages: Vec<Outage> = Vec::new();
        let mut open: Option<Instant> = None;
        for ((started, _), answer) in self.samples.range((from, 0)..(to, u64::MAX)) {
            match (answer, open) {
                (None, None) => open = Some(*started),
                (Some(_), Some(from)) => {
                    outages.push(Outage { from, to: Some(*started) });
                    open = None;
                }
                (None, Some(_)) | (Some(_), None) => {}
            }
        }
        outages.extend(open.map(|from| Outage { from, to: None }));
        outages
    }

    /// The sum of all outages in the window; one that has not ended lasts to the window's end.
    pub fn outage(&self, from: Instant, to: Instant) -> Duration {
        self.outages(from, to).iter().map(|o| o.to.unwrap_or(to).saturating_duration_since(o.from)).sum()
    }

    /// How many requests started in the window went unanswered.
    pub fn unanswered(&self, from: Instant, to: Instant) -> usize {
        self.samples.range((from, 0)..(to, u64::MAX)).filter(|(_, answer)| answer.is_none()).count()
    }

    /// How often each server answered requests started in the window.
    pub fn answers(&self, from: Instant, to: Instant) -> BTreeMap<String, usize> {
        let mut answers = BTreeMap::new();
        for answer in self.samples.range((from, 0)..(to, u64::MAX)).filter_map(|(_, answer)| answer.as_ref()) {
            *answers.entry(answer.clone()).or_default() += 1;
        }
        answers
    }

    /// Who answered the latest answered request, and its start.
    pub fn last_answer(&self) -> Option<(&str, Instant)> {
        self.samples.iter().rev().find_map(|((started, _), answer)| Some((answer.as_deref()?, *started)))
    }

    /// Requests known so far, and how many of them went unanswered.
    pub fn totals(&self) -> (usize, usize) {
        (self.samples.len(), self.samples.values().filter(|answer| answer.is_none()).count())
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn history(start: Instant, answers: &[(u64, Option<&str>)]) -> History {
        let mut history = History::default();
        for (ms, answer) in answers {
            let started = start + Duration::from_millis(*ms);
            history.add(Sample { started, answer: answer.map(str::to_owned) });
        }
        history
    }

    #[test]
    fn an_outage_runs_from_the_first_loss_to_the_next_answer() {
        let t0 = Instant::now();
        // The losses arrive last, as they do when the client waits for them in vain.
        let seen = history(t0, &[(0, Some("a")), (20, Some("b")), (25, Some("b")), (5, None), (10, None), (15, None)]);
        assert_eq!(seen.outage(t0, t0 + Duration::from_millis(100)), Duration::from_millis(15));
        assert_eq!(seen.last_answer(), Some(("b", t0 + Duration::from_millis(25))));
        let answers = seen.answers(t0, t0 + Duration::from_millis(25));
        assert_eq!(answers, BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]));
        assert_eq!(seen.totals(), (6, 3));
    }

    #[test]
    fn an_outage_that_has_not_ended_lasts_to_the_end_of_the_window() {
        let t0 = Instant::now();
        let seen = history(t0, &[(0, Some("a")), (5, None), (10, None)]);
        assert_eq!(seen.outage(t0, t0 + Duration::from_millis(40)), Duration::from_millis(35));
        assert_eq!(seen.outages(t0, t0 + Duration::from_millis(40)).first().unwrap().to, None);
    }

    #[test]
    fn only_the_window_counts() {
        let t0 = Instant::now();
        let seen = history(t0, &[(0, None), (5, Some("a")), (10, Some("a")), (15, None), (20, Some("a"))]);
        let window = (t0 + Duration::from_millis(5), t0 + Duration::from_millis(12));
        assert_eq!(seen.outage(window.0, window.1), Duration::ZERO);
        assert_eq!(seen.outages(t0, t0 + Duration::from_millis(30)).len(), 2);
        assert_eq!(seen.unanswered(window.0, window.1), 0);
        assert_eq!(seen.unanswered(t0, t0 + Duration::from_millis(30)), 2);
    }
}
