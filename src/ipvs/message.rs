//! What main and the balancer process say to each other.
//!
//! Pure: plain values, framed by [`crate::ipc`]. The first message each way is `Hello` with the build id: both ends are
//! the same binary (`/proc/self/exe`), and a mismatch means that it was replaced under us.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::{BalancerConfig, VirtualServerId};
use super::diff::BalancerDiff;
use super::event::{AdminState, Event};
use super::snapshot::Snapshot;
use super::types::SocketKey;
use crate::checkers::report::{ExecOutcome, ExecRequest};

/// From main.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToBalancer {
    /// First message.
    Hello {
        /// [`crate::BUILD_ID`].
        build: String,
    },
    /// Second message: everything.
    Start(Box<Start>),
    /// A reload: what it changes.
    Reconfigure(Box<Reconfigure>),
    /// The answer to [`FromBalancer::WholePlease`]: everything as it is now.
    Replace {
        /// So many reloads were told since the start.
        reloads: u64,
        /// The configuration.
        config: Box<BalancerConfig>,
    },
    /// An instance became master, or is master no longer.
    Instance {
        /// Its name.
        name: String,
        /// It is.
        master: bool,
    },
    /// The number in a tracked file; `None` when it cannot be read.
    File {
        /// The `track_file`'s name.
        name: String,
        /// Its number.
        value: Option<i64>,
    },
    /// A command that was asked for has ended.
    ExecDone(ExecOutcome),
    /// An operator's word.
    Admin {
        /// The virtual server.
        virtual_server: VirtualServerId,
        /// The real server.
        real_server: SocketKey,
        /// From now on.
        state: AdminState,
    },
    /// Send a [`FromBalancer::Snapshot`].
    SnapshotPlease,
    /// Send a [`FromBalancer::Alive`].
    AreYouAlive,
    /// Remove what was added, and end.
    Stop,
}

/// A reload. It makes sense only to who has heard of all reloads before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconfigure {
    /// So many reloads were told since the start, before this one.
    pub after: u64,
    /// What changes.
    pub diff: BalancerDiff,
}

/// Everything that a starting balancer process must know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The configuration.
    pub config: BalancerConfig,
    /// The instances that are master now.
    pub masters: BTreeSet<String>,
    /// What is known of the tracked files.
    pub files: BTreeMap<String, Option<i64>>,
    /// What operators have said that still holds.
    pub admin: Vec<(VirtualServerId, SocketKey, AdminState)>,
    /// At stop the data plane is left as it is (`--dont-release-ipvs`).
    pub keep_at_stop: bool,
    /// This process replaces one that died: people have been told of the start already.
    pub again: bool,
    /// What the one that died had been told, if that was something else.
    pub former: Option<Box<BalancerConfig>>,
}

/// From the balancer process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromBalancer {
    /// First message.
    Hello {
        /// [`crate::BUILD_ID`].
        build: String,
    },
    /// The data plane has what it should, as far as it takes it; checkers run.
    Ready,
    /// Something happened.
    Event {
        /// The balancer's word for it.
        event: Event,
        /// CLOCK_REALTIME since the epoch when it did.
        at: Duration,
    },
    /// Events that were dropped because main did not read.
    EventsDropped(u64),
    /// A reload was not heard: what is told of this one makes no sense.
    WholePlease,
    /// Whether virtual servers can serve: one that has its quorum, and that the data plane carries. Said of all at the
    /// start, and of each at every change; also while it is not active.
    Able(Vec<(VirtualServerId, bool)>),
    /// Run this, please.
    Exec(ExecRequest),
    /// The answer to [`ToBalancer::SnapshotPlease`].
    Snapshot(Box<Snapshot>),
    /// The answer to [`ToBalancer::AreYouAlive`]: the loop turns.
    Alive,
    /// All is removed; the process exits now.
    Stopped,
}
