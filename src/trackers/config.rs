//! Typed configuration of the trackers that main runs: scripts, files and processes.
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

/// One `vrrp_track_process`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessConfig {
    /// Which processes are counted (`process`, `param_match`, `full_command`).
    pub pattern: ProcessPattern,
    /// So many at least are healthy (`quorum`); 0 with `quorum_max 0`.
    pub quorum: u32,
    /// So many at most are healthy (`quorum_max`).
    pub quorum_max: Option<u32>,
    /// How long what more processes make of the status must last before it counts (`fork_delay`).
    pub fork_delay: Duration,
    /// How long what fewer processes make of the status must last before it counts (`terminate_delay`).
    pub terminate_delay: Duration,
}

/// Which processes a `vrrp_track_process` means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcessPattern {
    /// Those with this name, of which the kernel keeps 15 bytes.
    Name(String),
    /// Those with this command line: the program as it was called, then its parameters.
    CommandLine {
        /// The first word, in full.
        program: String,
        /// The words after it.
        parameters: Vec<String>,
        /// How they are compared.
        matching: ParameterMatch,
    },
}

/// How the parameters of a command line are compared (`param_match`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParameterMatch {
    /// These and no others.
    Exact,
    /// The command line begins with these, the last of which may go on (`initial`).
    Initial,
    /// The command line begins with these (`partial`).
    Partial,
}
