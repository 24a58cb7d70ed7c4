//! Trackers that main runs and whose statuses the vrrp process hears: scripts, files and
//! processes.
//!
//! [`script`], [`mod@file`] and [`process`] are shells; what a row of results means ([`rise_fall`]), what a file says
//! ([`number`]) and what a number of processes means ([`process::quorum`]) is pure. They report through one channel of [`Update`]s; a tracker waits when it is full, which delays its next
//! report and loses none.

pub mod config;
pub mod file;
pub mod number;
pub mod process;
pub mod rise_fall;
pub mod script;

use crate::vrrp::config::TrackerKey;
use crate::vrrp::event::TrackerStatus;

/// A tracker's new status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Which.
    pub key: TrackerKey,
    /// Its status.
    pub status: TrackerStatus,
}
