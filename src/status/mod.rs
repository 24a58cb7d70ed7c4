//! What the daemon shows of itself: the JSON of `status`, the history of its events, and how they are made.
//!
//! Pure: the time and everything that is shown are passed in. [`model`] is the contract that the control API, the
//! command line, the metrics and the status page share.

pub mod build;
pub mod byte_queue;
pub mod cause;
pub mod history;
pub mod maintenance;
pub mod metrics;
pub mod model;
pub mod page;
pub mod screen;
pub mod tally;
pub mod time;
pub mod why;
