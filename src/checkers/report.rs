//! What checkers say to the balancer, and what they ask main to run for them.
//!
//! Pure: plain values.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::ipvs::config::VirtualServerId;
use crate::ipvs::types::SocketKey;

/// One checker of one real server of one virtual server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CheckerId {
    /// The virtual server.
    pub virtual_server: VirtualServerId,
    /// The real server.
    pub real_server: SocketKey,
    /// Its place among the real server's checkers.
    pub index: u16,
}

/// A checker's status after a probe that changed it, or that changed its weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Which.
    pub checker: CheckerId,
    /// What it found.
    pub health: Health,
}

/// Fit to serve, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// Fit.
    Up {
        /// What it adds to the real server's weight (MISC_CHECK with `misc_dynamic`, FILE_CHECK); 0 for the others.
        weight: i64,
    },
    /// Not fit.
    Down {
        /// For people: `connection refused by 192.0.2.7:80`, `status 503 of http://192.0.2.7/health`, …
        reason: String,
    },
}

/// A command that main is asked to run for a MISC_CHECK: only main runs commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Comes back in the outcome.
    pub id: u64,
    /// What.
    pub command: Command,
    /// It gets TERM after this, and KILL two seconds later.
    pub timeout: Duration,
}

/// What came of an [`ExecRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOutcome {
    /// Of the request.
    pub id: u64,
    /// How it ended.
    pub ended: Ended,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// With this exit code.
    Exited(i32),
    /// By a signal.
    Signalled(i32),
    /// It took longer than its timeout, and was ended.
    TimedOut,
    /// It was not run, for this reason.
    NotRun(String),
}

/// What is known of a checker, for status output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckerStatus {
    /// What counts.
    pub health: Health,
    /// How long it has been up or down.
    pub since: Duration,
    /// Its virtual server is suspended, and with it the probes.
    pub paused: bool,
    /// The last probe, if there was one.
    pub last: Option<LastProbe>,
    /// Probes that have ended.
    pub probes: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Those that said nothing, because the trouble was on this machine.
    pub inconclusive: u64,
    /// Other checkers that ask the same of the same target, and share its probes.
    pub shared_with: usize,
}

/// The last probe of a checker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastProbe {
    /// Why it failed; `None` is a success.
    pub failure: Option<String>,
    /// How long it took.
    pub latency: Duration,
    /// How long ago it ended.
    pub age: Duration,
}
