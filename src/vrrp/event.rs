//! What the engine tells people: state changes with their cause, refused adverts, late timers.
//!
//! Pure. Events go to main, which logs them, runs notify scripts and keeps the history. Every transition carries its
//! [`Cause`], so that "why did it fail over?" always has an answer.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::TrackerKey;
use super::peers::{DualEnd, DualReason, PeerSnapshot};
use super::types::{AdvertInterval, Priority};

/// The states people see. `Stop` and `Deleted` are last words, not states of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StateName {
    /// Waiting for what it needs to start: start-up delay, first tracker results.
    Init,
    /// Cannot be master, and says so to nobody.
    Fault,
    /// Listens to a master.
    Backup,
    /// Holds the addresses and advertises.
    Master,
    /// The daemon ends.
    Stop,
    /// A reload removed the instance.
    Deleted,
}

impl fmt::Display for StateName {
    /// keepalived's upper-case words, as scripts and FIFOs get them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Init => "INIT",
            Self::Fault => "FAULT",
            Self::Backup => "BACKUP",
            Self::Master => "MASTER",
            Self::Stop => "STOP",
            Self::Deleted => "DELETED",
        })
    }
}

/// One happening.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// An instance changed its state.
    StateChanged {
        /// The instance's name.
        instance: String,
        /// Before.
        from: StateName,
        /// After.
        to: StateName,
        /// Effective priority after.
        priority: u8,
        /// Why.
        cause: Cause,
        /// The other routers that were heard, with the lateness of their last adverts.
        evidence: Vec<PeerSnapshot>,
    },
    /// Another router is master of the same addresses, for longer than a contest takes. Told again until it heals.
    DualMaster {
        /// The instance's name.
        instance: String,
        /// The other one; unknown when only ARP was seen.
        peer: Option<IpAddr>,
        /// The likely reason.
        reason: DualReason,
        /// Since so long.
        lasted: Duration,
        /// People were told before.
        again: bool,
    },
    /// There is one master again, or none here.
    DualMasterEnded {
        /// The instance's name.
        instance: String,
        /// The other one; unknown when only ARP was seen.
        peer: Option<IpAddr>,
        /// For how long there were two.
        lasted: Duration,
        /// How it ended.
        end: DualEnd,
    },
    /// Another virtual router on this wire has our VRID: its addresses are not ours.
    VridTaken {
        /// The instance's name.
        instance: String,
        /// The VRID.
        vrid: u8,
        /// Who speaks it.
        peer: IpAddr,
        /// Its addresses.
        addresses: Vec<IpAddr>,
        /// One that is neither heard nor configured there.
        free: Option<u8>,
    },
    /// A reload gave the same virtual router another name; it goes on as it is.
    Renamed {
        /// Its name from now on.
        instance: String,
        /// Its name before.
        was: String,
        /// Its state, then and now.
        state: StateName,
    },
    /// All members of a sync group reached one state.
    GroupChanged {
        /// The group's name.
        group: String,
        /// The state of all its members.
        to: StateName,
        /// Why the first member moved.
        cause: Cause,
    },
    /// The effective priority changed without a change of state.
    PriorityChanged {
        /// The instance's name.
        instance: String,
        /// Its state.
        state: StateName,
        /// Before.
        from: u8,
        /// After.
        to: u8,
        /// Which tracker or reload did it.
        cause: Cause,
    },
    /// As master we heard an advert of lower priority (`notify_master_rx_lower_pri`).
    LowerPriorityAdvert {
        /// The instance's name.
        instance: String,
        /// Who sent it.
        peer: IpAddr,
        /// Its priority.
        priority: u8,
        /// Our own effective priority.
        ours: u8,
    },
    /// An advert was refused, or heard in spite of a flaw. Logged once per peer and kind until things are good again.
    AdvertFlawed {
        /// The instance's name, or `None` when no instance has its VRID.
        instance: Option<String>,
        /// Who sent it.
        peer: IpAddr,
        /// What was wrong.
        error: super::accept::AdvertError,
        /// Whether it was heard all the same.
        heard: bool,
    },
    /// An address could not be put on or taken off its interface.
    AddressFailed {
        /// The instance's name.
        instance: String,
        /// The address and what the kernel said.
        message: String,
    },
    /// A timer fired later than one advert interval after its deadline: this process was held up.
    TimerLate {
        /// The instance's name.
        instance: String,
        /// By how much.
        by: Duration,
    },
    /// Main has turned its loop no more for this long: trackers are taken as they were, nothing is reloaded or notified.
    MainSilent {
        /// For how long.
        silence: Duration,
    },
    /// Main goes on.
    MainBack {
        /// It was silent for this long.
        silence: Duration,
    },
    /// Something worth a warning that is no state change, in one sentence.
    Warning {
        /// The instance's name.
        instance: String,
        /// The sentence.
        message: String,
    },
}

/// Why an instance is where it is, with the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The process started, or the reasons to wait in INIT ended.
    Started,
    /// A reload created or changed the instance.
    Reconfigured,
    /// Priority 255: masters at once (RFC 9568 §6.4.1).
    AddressOwner,
    /// No advert from a master in time.
    MasterSilent {
        /// The last master heard, if any was.
        last_master: Option<Heard>,
        /// How long the wire was silent, measured from that advert, or from the start of listening.
        silence: Duration,
        /// How late our own timer was; large values are our own stall.
        late: Duration,
    },
    /// The master resigned with priority 0 (RFC 9568 §6.4.2).
    MasterResigned {
        /// The master that did.
        master: Heard,
        /// How late our own timer was.
        late: Duration,
    },
    /// The master heard has a lower priority than ours and preemption is on.
    Preempting {
        /// The lower-priority master.
        master: Heard,
        /// Our effective priority.
        ours: u8,
        /// How late our own timer was.
        late: Duration,
    },
    /// A master of higher priority, or of equal priority and higher address, was heard (RFC 9568 §6.4.3).
    BetterMaster {
        /// That master.
        master: Heard,
        /// Our effective priority.
        ours: u8,
    },
    /// Something that must be healthy is not.
    Fault {
        /// All reasons at this moment.
        reasons: BTreeSet<FaultReason>,
    },
    /// The last fault ended.
    FaultCleared,
    /// Another member of the sync group moved first.
    SyncGroup {
        /// The group.
        group: String,
        /// The member that moved.
        member: String,
    },
    /// A tracker's new status changed the priority.
    Tracker {
        /// Which.
        tracker: TrackerKey,
        /// Its status.
        status: TrackerStatus,
    },
    /// The vrrp process was restarted and found itself still within its own advert deadline.
    Adopted,
    /// It was told to hand over (`failover`).
    Failover,
    /// The node takes no part in elections (`maintenance`).
    Maintenance,
    /// The daemon was told to stop.
    Stopping,
    /// A reload removed the instance.
    Removed,
}

impl Cause {
    /// Whether this can be why an instance went from one state to another: what the tests hold every change against.
    pub fn explains(&self, from: StateName, to: StateName) -> bool {
        use StateName::{Backup, Deleted, Fault, Init, Master, Stop};
        match to {
            Master => matches!(
                self,
                Self::MasterSilent { .. }
                    | Self::MasterResigned { .. }
                    | Self::Preempting { .. }
                    | Self::AddressOwner
                    | Self::Adopted
                    // A reload put it into a group whose members are masters.
                    | Self::SyncGroup { .. }
            ),
            Backup if from == Master => {
                matches!(self, Self::BetterMaster { .. } | Self::SyncGroup { .. } | Self::Failover | Self::Maintenance)
            }
            Backup => matches!(
                self,
                Self::Started
                    | Self::FaultCleared
                    | Self::Reconfigured
                    | Self::Tracker { .. }
                    | Self::SyncGroup { .. }
                    | Self::Maintenance
            ),
            Fault => match self {
                Self::Fault { reasons } => !reasons.is_empty(),
                // A reload removed it; scripts are told FAULT unless `notify_deleted` says otherwise.
                Self::Removed => true,
                _ => false,
            },
            Stop => *self == Self::Stopping,
            Deleted => *self == Self::Removed,
            Init => *self == Self::Reconfigured,
        }
    }
}

/// The last advert heard from a master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Who sent it.
    pub address: IpAddr,
    /// Its priority on the wire, 0 when resigning.
    pub priority: u8,
    /// The interval that it announced.
    pub interval: AdvertInterval,
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (priority {})", self.address, self.priority)
    }
}

/// Why an instance is in FAULT. A set of these is kept, so that each end of a fault is seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FaultReason {
    /// The instance's interface does not exist.
    InterfaceMissing(String),
    /// The instance's interface is down or has no carrier.
    InterfaceDown(String),
    /// The interface has no address of the family to send from.
    NoSourceAddress(String),
    /// The configured source address is not on this host (`track_src_ip`).
    SourceMissing(IpAddr),
    /// `unicast_fault_no_peer` and no peers, or an interface that cannot speak VRRP.
    Unusable(String),
    /// A tracker of weight 0 is unhealthy.
    Tracker(TrackerKey),
    /// A tracker of weight 0 cannot be evaluated at all, for example a script that cannot be run.
    TrackerUnknown(TrackerKey),
    /// A tracked file's value says fault.
    FileValue(TrackerKey, i32),
    /// Another member of the sync group is in FAULT.
    SyncGroup {
        /// The group.
        group: String,
        /// The member in FAULT.
        member: String,
    },
}

impl fmt::Display for FaultReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InterfaceMissing(name) => write!(f, "interface {name} does not exist"),
            Self::InterfaceDown(name) => write!(f, "interface {name} is down"),
            Self::NoSourceAddress(name) => write!(f, "interface {name} has no address to send from"),
            Self::SourceMissing(address) => write!(f, "source address {address} is not on this host"),
            Self::Unusable(why) => f.write_str(why),
            Self::Tracker(TrackerKey::Interface(name)) => write!(f, "tracked interface {name} is down"),
            Self::Tracker(tracker) => write!(f, "tracked {tracker} failed"),
            Self::TrackerUnknown(tracker) => write!(f, "tracked {tracker} cannot be evaluated"),
            Self::FileValue(tracker, value) => write!(f, "tracked {tracker} says {value}"),
            Self::SyncGroup { group, member } => write!(f, "{member} of sync group {group} is in FAULT"),
        }
    }
}

/// The latest known status of a tracker. Statuses are kept and conclusions recomputed from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrackerStatus {
    /// No result yet: a weight-0 tracker holds the instance in INIT.
    Pending,
    /// Healthy.
    Up,
    /// Unhealthy.
    Down,
    /// A file's number (`track_file`); 0 when missing or empty.
    Value(i32),
    /// Can never be evaluated, for example a script that does not exist: counted as unhealthy and reported as unknown.
    Unknown,
}

impl fmt::Display for TrackerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending => f.write_str("pending"),
            Self::Up => f.write_str("up"),
            Self::Down => f.write_str("down"),
            Self::Value(value) => write!(f, "{value}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Reconfigured => f.write_str("configuration reloaded"),
            Self::AddressOwner => f.write_str("priority 255 owns the addresses"),
            Self::MasterSilent { last_master, silence, late } => {
                match last_master {
                    Some(master) => write!(f, "no advert from {master} for {}", Millis(*silence))?,
                    None => write!(f, "no advert from any master for {}", Millis(*silence))?,
                }
                write_late(f, *late)
            }
            Self::MasterResigned { master, late } => {
                write!(f, "{} resigned with priority 0", master.address)?;
                write_late(f, *late)
            }
            Self::Preempting { master, ours, late } => {
                write!(f, "preempting {master} with priority {ours}")?;
                write_late(f, *late)
            }
            Self::BetterMaster { master, ours } if master.priority == *ours => {
                write!(f, "{master} has the same priority and a higher address")
            }
            Self::BetterMaster { master, ours } => write!(f, "{master} is better than ours, {ours}"),
            Self::Fault { reasons } => {
                for (n, reason) in reasons.iter().enumerate() {
                    write!(f, "{}{reason}", if n == 0 { "" } else { "; " })?;
                }
                Ok(())
            }
            Self::FaultCleared => f.write_str("the fault has ended"),
            Self::SyncGroup { group, member } => write!(f, "{member} of sync group {group} moved"),
            Self::Tracker { tracker, status: TrackerStatus::Unknown } => write!(f, "{tracker} cannot be evaluated"),
            Self::Tracker { tracker, status } => write!(f, "{tracker} is {status}"),
            Self::Adopted => f.write_str("restarted within its own advert deadline"),
            Self::Failover => f.write_str("told to hand over"),
            Self::Maintenance => f.write_str("maintenance"),
            Self::Stopping => f.write_str("stopping"),
            Self::Removed => f.write_str("removed by a reload"),
        }
    }
}

/// Lateness below this is the normal jitter of timers and not worth a word.
const WORTH_MENTIONING: Duration = Duration::from_millis(2);

fn write_late(f: &mut fmt::Formatter<'_>, late: Duration) -> fmt::Result {
    if late < WORTH_MENTIONING { Ok(()) } else { write!(f, ", our timer was {} late", Millis(late)) }
}

struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0.as_millis())
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.value()
    }
}
