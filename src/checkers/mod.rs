//! Health checkers: is this real server fit to serve?
//!
//! [`config`] says what is asked. Retry and delay logic is pure; the probes are shells.

pub mod config;
pub mod report;
