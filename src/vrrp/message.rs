//! What main and the vrrp process say to each other.
//!
//! Pure: plain values, framed by [`crate::ipc`]. The first message each way is `Hello` with the build id: both ends
//! are the same binary (`/proc/self/exe`), and a mismatch means that it was replaced under us.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::{ConfigDiff, TrackerKey, VrrpConfig};
use super::engine::FailoverRefusal;
use super::event::{Event, TrackerStatus};
use super::former::FormerAddress;
use super::snapshot::Snapshot;

/// From main.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToVrrp {
    /// First message.
    Hello {
        /// [`crate::BUILD_ID`].
        build: String,
    },
    /// Second message: everything.
    Start {
        /// The configuration.
        config: Box<VrrpConfig>,
        /// The tracker statuses known so far (a restarted process need not wait for scripts to run again).
        trackers: Vec<(TrackerKey, TrackerStatus)>,
        /// This process replaces one that was killed: take over what the flight recorder says is still ours.
        adopt: bool,
        /// This node takes no part in elections, from the start.
        maintenance: bool,
        /// What reloads took away and a process that died may have left: to be removed.
        former: Vec<FormerAddress>,
    },
    /// A reload.
    Reconfigure(Box<ConfigDiff>),
    /// A tracker's new status.
    Tracker {
        /// Which.
        key: TrackerKey,
        /// Its status.
        status: TrackerStatus,
    },
    /// Hand the mastership of an instance over ([`super::engine::VrrpEngine::failover`]). Answered by [`FromVrrp::Failover`].
    Failover {
        /// Comes back with the answer.
        request: u64,
        /// The instance's name.
        instance: String,
    },
    /// Take no part in elections, or do so again ([`super::engine::Input::Maintenance`]).
    Maintenance(bool),
    /// Send a [`FromVrrp::Snapshot`].
    SnapshotPlease,
    /// Hand over and end: resign, and keep each address until the successor has it.
    Stop,
    /// Give up everything and end (`--release-vips`).
    StopAtOnce,
}

/// From the vrrp process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromVrrp {
    /// First message.
    Hello {
        /// [`crate::BUILD_ID`].
        build: String,
    },
    /// Sockets and links are known; the engine runs.
    Ready,
    /// The addresses are as so many orders say, [`ToVrrp::Start`] and [`ToVrrp::Reconfigure`], that were not answered yet.
    Settled(u32),
    /// Something happened.
    Event {
        /// The engine's word for it.
        event: Event,
        /// CLOCK_REALTIME since the epoch when it did.
        at: Duration,
    },
    /// Events that were dropped because main did not read: the queue is bounded and the protocol does not wait.
    EventsDropped(u64),
    /// The answer to [`ToVrrp::SnapshotPlease`].
    Snapshot(Box<Snapshot>),
    /// The answer to [`ToVrrp::Failover`]: the hand-over has begun, or why not.
    Failover {
        /// Of the question.
        request: u64,
        /// Whether it has begun.
        outcome: Result<(), FailoverRefusal>,
    },
    /// The hand-over has ended; the process exits now.
    Stopped,
}
