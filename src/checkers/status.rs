//! Up or down: what a checker makes of one finding after the other, and when it wants the next.
//!
//! Pure. Nothing here knows the time: [`CheckStatus::record`] answers with an interval.
//!
//! ```text
//!            failed, and it is the first probe, or `retry` failures were tried again
//!   ┌──────┐ ────────────────────────────────────────────────────────────────────▶ ┌──────┐
//!   │  Up  │                                                                       │ Down │
//!   └──────┘ ◀──────────────────────────────────────────────────────────────────── └──────┘
//!     every page in turn       all pages from the first, `rise` times in a row       the failed page until it is good
//! ```

use std::time::Duration;

use super::config::Schedule;
use super::finding::{Failure, Finding};
use super::report::Health;

/// What counts of a checker, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckStatus {
    state: State,
    /// A probe has said something.
    judged: bool,
    /// The page that the next probe asks for; always 0 but for `HTTP_GET` and `SSL_GET`.
    page: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Up {
        weight: i64,
        /// Failed probes in a row, all of them to be tried again.
        retried: u32,
    },
    Down {
        reason: String,
        /// The probes go through the whole list; otherwise they stay with the page that failed.
        whole_list: bool,
        /// Whole lists in a row that were good.
        risen: u32,
    },
}

impl CheckStatus {
    /// Before the first probe: up, or down until a success (`alpha`).
    pub fn new(alpha: bool) -> Self {
        let state = if alpha {
            State::Down { reason: "not checked yet".to_owned(), whole_list: true, risen: 0 }
        } else {
            State::Up { weight: 0, retried: 0 }
        };
        Self { state, judged: false, page: 0 }
    }

    /// Before the first probe of a checker that replaces one of the same target: what that one knew still counts.
    pub fn inherited(health: &Health) -> Self {
        let state = match health {
            Health::Up { weight } => State::Up { weight: *weight, retried: 0 },
            Health::Down { reason } => State::Down { reason: reason.clone(), whole_list: true, risen: 0 },
        };
        Self { state, judged: true, page: 0 }
    }

    /// What counts.
    pub fn health(&self) -> Health {
        match &self.state {
            State::Up { weight, .. } => Health::Up { weight: *weight },
            State::Down { reason, .. } => Health::Down { reason: reason.clone() },
        }
    }

    /// Whether it is up, and its weight.
    pub fn weight(&self) -> Option<i64> {
        match self.state {
            State::Up { weight, .. } => Some(weight),
            State::Down { .. } => None,
        }
    }

    /// The page that the next probe asks for.
    pub fn page(&self) -> usize {
        self.page
    }

    /// Takes a finding about one of `pages` pages, and answers how long after the start of this probe the next one is
    /// wanted. `fast_recovery` leaves no time between the pages of a list while it is down.
    pub fn record(&mut self, finding: Finding, schedule: &Schedule, pages: usize, fast_recovery: bool) -> Duration {
        let first = !self.judged;
        match finding {
            Err(Failure::Ours(_)) => schedule.delay_loop,
            Err(Failure::Unfit(reason)) => {
                self.judged = true;
                self.on_failure(reason, first, schedule)
            }
            Ok(weight) => {
                self.judged = true;
                self.on_success(weight, schedule, pages, fast_recovery)
            }
        }
    }

    fn on_failure(&mut self, reason: String, first: bool, schedule: &Schedule) -> Duration {
        match &mut self.state {
            // The very first probe is believed at once: a server that is down at start gets no traffic for longer than
            // that takes.
            State::Up { retried, .. } if !first && *retried < schedule.retry => {
                *retried += 1;
                schedule.delay_before_retry
            }
            State::Up { .. } | State::Down { .. } => {
                self.state = State::Down { reason, whole_list: false, risen: 0 };
                schedule.delay_loop
            }
        }
    }

    fn on_success(&mut self, weight: i64, schedule: &Schedule, pages: usize, fast_recovery: bool) -> Duration {
        let between_pages = if fast_recovery { Duration::ZERO } else { schedule.delay_loop };
        let last_page = self.page + 1 >= pages;
        match &mut self.state {
            State::Up { .. } => {
                self.state = State::Up { weight, retried: 0 };
                self.page = if last_page { 0 } else { self.page + 1 };
                schedule.delay_loop
            }
            State::Down { whole_list, .. } if !*whole_list && pages > 1 => {
                *whole_list = true;
                self.page = 0;
                between_pages
            }
            State::Down { .. } if !last_page => {
                self.page += 1;
                between_pages
            }
            State::Down { risen, .. } => {
                *risen += 1;
                self.page = 0;
                if *risen >= schedule.rise {
                    self.state = State::Up { weight, retried: 0 };
                }
                schedule.delay_loop
            }
        }
    }
}

#[cfg(test)]
mod tests;
