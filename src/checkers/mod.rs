//! Health checkers: is this real server fit to serve?
//!
//! ```text
//!   config ──▶ supervisor (shell: one timer, owns the running probes) ──▶ report
//!                 │   ▲
//!        what to  │   │ findings
//!        start    ▼   │
//!              engine (pure) ── schedule: which check is due when
//!                          └── status: what findings in a row make of up and down
//! ```
//!
//! [`probe`] has the probes themselves, one file a kind.

pub mod config;
pub mod engine;
pub mod file;
pub mod finding;
pub mod genhash;
pub mod http;
pub mod probe;
pub mod report;
pub mod schedule;
pub mod status;
pub mod supervisor;
