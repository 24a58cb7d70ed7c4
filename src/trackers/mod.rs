//! Trackers that main runs and whose statuses the vrrp process hears: scripts and files.
//!
//! [`script`] and [`mod@file`] are shells; what a row of results means ([`rise_fall`]) and what a file says ([`number`])
//! is pure. Both report through one channel of [`Update`]s; a tracker waits when it is full, which delays its next
//! report and loses none.

pub mod config;
pub mod file;
pub mod number;
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
