//! What can be shown of the engine, and the few facts that outlive a killed vrrp process.
//!
//! Pure: plain values.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::config::TrackerKey;
use super::event::{Cause, Heard, StateName, TrackerStatus};
use super::peers::{DualSnapshot, PeerSnapshot};
use super::types::AdvertInterval;

/// The engine at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Instances by name.
    pub instances: BTreeMap<String, InstanceSnapshot>,
    /// Tracker statuses.
    pub trackers: Vec<(TrackerKey, TrackerStatus)>,
    /// Adverts for a VRID that no instance has.
    pub unknown_vrid: u64,
    /// For how long main has run no trackers, if it does not: their statuses are those of before.
    pub trackers_stale: Option<Duration>,
    /// This node takes no part in elections.
    pub maintenance: bool,
    /// CLOCK_REALTIME since the epoch at this moment; the shell fills it in.
    pub at: Duration,
}

/// One instance at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSnapshot {
    /// State.
    pub state: StateName,
    /// Why it is in that state.
    pub cause: Cause,
    /// For how long.
    pub since: Duration,
    /// Configured priority.
    pub base_priority: u8,
    /// Priority after trackers.
    pub effective_priority: u8,
    /// The master heard, as backup.
    pub master: Option<Heard>,
    /// Another router of its VRID was heard since the process started.
    pub others_heard: bool,
    /// It has resigned, and keeps its addresses until its successor has them.
    pub handing_over: bool,
    /// Source address of its adverts.
    pub source: Option<IpAddr>,
    /// The interval of the master that it follows; its own where it follows none.
    pub master_interval: AdvertInterval,
    /// Time until its next deadline: the next advert or announcement of a master, the end of a backup's patience.
    pub next_deadline: Option<Duration>,
    /// The addresses that it holds and the kernel has, excluded ones too, in the order of the file.
    pub held: Vec<IpAddr>,
    /// Counters under keepalived's names and ours.
    pub counters: Counters,
    /// Who else speaks its VRID on its wire, the one heard last first.
    pub peers: Vec<PeerSnapshot>,
    /// Packets of further peers, for which there was no room.
    pub unlisted_peers: u32,
    /// Another router is master of the same addresses.
    pub dual_master: Option<DualSnapshot>,
}

/// Counters of one instance. The first fourteen bear the names of keepalived's JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Adverts heard.
    pub advert_rcvd: u64,
    /// Adverts sent.
    pub advert_sent: u64,
    /// Times that it became master.
    pub become_master: u64,
    /// Times that it stopped being master.
    pub release_master: u64,
    /// Adverts of a wrong length.
    pub packet_len_err: u64,
    /// Adverts with another interval (VRRPv2).
    pub advert_interval_err: u64,
    /// Adverts with a wrong TTL or hop limit.
    pub ip_ttl_err: u64,
    /// Packets that are not adverts.
    pub invalid_type_rcvd: u64,
    /// Adverts whose addresses are not ours.
    pub addr_list_err: u64,
    /// Adverts with an authentication type that does not exist.
    pub invalid_authtype: u64,
    /// Adverts with another authentication type than ours.
    pub authtype_mismatch: u64,
    /// Adverts with a wrong password.
    pub auth_failure: u64,
    /// Adverts of priority 0 heard.
    pub pri_zero_rcvd: u64,
    /// Adverts of priority 0 sent.
    pub pri_zero_sent: u64,
    /// Adverts of another version.
    pub version_err: u64,
    /// Adverts with a wrong checksum.
    pub checksum_err: u64,
    /// Unicast adverts from a stranger, or multicast to a unicast instance and the reverse.
    pub source_err: u64,
    /// Adverts ignored because we own the address (`owner_ignore_adverts`).
    pub ignored_by_owner: u64,
    /// Our own adverts come back to us.
    pub own_advert: u64,
    /// Gratuitous ARPs and unsolicited NAs asked for.
    pub announcements: u64,
    /// Addresses removed by somebody else and put back.
    pub address_lost: u64,
    /// Timers that fired more than one advert interval late.
    pub timer_late: u64,
}

/// What the next vrrp process must know of an instance when this one is killed. Kept outside of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlightRecord {
    /// The instance's name.
    pub instance: Arc<str>,
    /// When its next advert is due, if it is master.
    pub next_advert_at: Option<Instant>,
}
