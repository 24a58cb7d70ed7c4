//! Typed configuration of the trackers that main runs: scripts and files.
//!
//! Pure.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::Command;

/// One `vrrp_script`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptConfig {
    /// What to run; exit 0 is healthy.
    pub command: Command,
    /// Time between two starts (`interval`).
    pub interval: Duration,
    /// A run that takes longer is ended and counts as failed (`timeout`); the interval when not set.
    pub timeout: Duration,
    /// Successes in a row that make it healthy (`rise`).
    pub rise: u32,
    /// Failures in a row that make it unhealthy (`fall`).
    pub fall: u32,
    /// Unhealthy until the first success (`init_fail`).
    pub init_fail: bool,
}

/// One `track_file`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileConfig {
    /// The file, holding one integer; missing or empty is 0 (`file`).
    pub path: PathBuf,
    /// Create it at start (`init_file`).
    pub init: Option<FileInit>,
}

/// `init_file [VALUE] [overwrite]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInit {
    /// What to write.
    pub value: i32,
    /// Write it also over an existing file.
    pub overwrite: bool,
}
