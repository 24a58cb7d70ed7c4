//! What the control side and the forwarding threads share: a service, its destinations, their view and their counters.
//!
//! Shell (shared memory). A thread loads the [`View`] of a service once for each new connection and takes no lock that
//! the control side takes. Each thread counts in cells of its own; whoever wants to know adds them up.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;

use crate::ipvs::affinity::AffinityTable;
use crate::ipvs::dataplane::Counters;
use crate::ipvs::select::{Load, Selector};
use crate::ipvs::table::ServiceSettings;
use crate::ipvs::types::{ServiceKey, SocketKey};

/// Clients that one service remembers for persistence, over all shards.
const AFFINITY_LIMIT: usize = 1 << 20;
/// Threads seldom meet in one of so many.
const AFFINITY_SHARDS: usize = 16;

/// A service, from its being added to its removal and until its last connection has ended.
#[derive(Debug)]
pub struct Service {
    /// What it is known by.
    pub key: ServiceKey,
    /// How it behaves now, and where its traffic goes.
    pub view: ArcSwap<View>,
    /// What it has carried.
    pub cells: Cells,
    /// Connections and flows now.
    pub open: AtomicU32,
    /// It is no longer in the table.
    pub removed: AtomicBool,
    /// In the last connection the real server spoke before its client did.
    pub server_first: AtomicBool,
    affinity: OnceLock<Box<[Shard]>>,
}

type Shard = Mutex<AffinityTable<Bound>>;

/// What a service is at one moment; immutable.
#[derive(Debug)]
pub struct View {
    /// Scheduler, persistence, timeouts.
    pub settings: ServiceSettings,
    /// The destinations and the way to choose.
    pub selector: Selector,
    /// The same destinations in the same order.
    pub backends: Vec<Arc<Backend>>,
}

/// A destination of a service; it outlives its removal until its last connection has ended.
#[derive(Debug)]
pub struct Backend {
    /// Address and port.
    pub key: SocketKey,
    /// Its connections and thresholds.
    pub load: Arc<Load>,
    /// What it has carried.
    pub cells: Cells,
    /// Clients bound to it.
    pub persistent: AtomicU32,
    /// Milliseconds since the forwarder's start at which its connections end; `u64::MAX` is never.
    pub drain_until: AtomicU64,
    /// It is no longer in the table.
    pub removed: AtomicBool,
}

impl Service {
    /// A service that a forwarder of so many threads carries.
    pub fn new(key: ServiceKey, view: View, threads: usize) -> Self {
        Self {
            key,
            view: ArcSwap::from_pointee(view),
            cells: Cells::new(threads),
            open: AtomicU32::new(0),
            removed: AtomicBool::new(false),
            server_first: AtomicBool::new(false),
            affinity: OnceLock::new(),
        }
    }

    /// The part of the affinity table where this client is. Only forwarding threads lock it.
    pub fn affinity(&self, client: IpAddr) -> MutexGuard<'_, AffinityTable<Bound>> {
        let new = || Mutex::new(AffinityTable::new(AFFINITY_LIMIT / AFFINITY_SHARDS));
        let shards = self.affinity.get_or_init(|| (0..AFFINITY_SHARDS).map(|_| new()).collect());
        let last = match client {
            IpAddr::V4(ip) => ip.octets().iter().fold(0u8, |sum, octet| sum.wrapping_mul(31).wrapping_add(*octet)),
            IpAddr::V6(ip) => ip.octets().iter().fold(0u8, |sum, octet| sum.wrapping_mul(31).wrapping_add(*octet)),
        };
        lock(&shards[usize::from(last) % AFFINITY_SHARDS])
    }

    /// Forgets some clients whose time is over. Answers whether there may be more.
    pub fn expire_affinity(&self, now: std::time::Duration) -> bool {
        let shards = self.affinity.get().map(|shards| &**shards).unwrap_or_default();
        shards.iter().filter(|shard| lock(shard).expire(now)).count() > 0
    }

    /// Counts a connection or flow that is about to begin; `false`, and nothing is counted, when it is beyond
    /// `proxy_max_connections`. Threads that look first and count later would let one too many in each.
    pub fn enter(&self) -> bool {
        let limit = self.view.load().settings.proxy.max_connections;
        let one_more = |open: u32| (limit == 0 || open < limit).then_some(open + 1);
        self.open.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }

    /// A connection or flow that was counted is over, or did not come about.
    pub fn leave(&self) {
        self.open.fetch_sub(1, Relaxed);
    }
}

fn lock(shard: &Shard) -> MutexGuard<'_, AffinityTable<Bound>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backend {
    /// A destination without connections.
    pub fn new(key: SocketKey, threads: usize) -> Self {
        Self {
            key,
            load: Arc::default(),
            cells: Cells::new(threads),
            persistent: AtomicU32::new(0),
            drain_until: AtomicU64::new(u64::MAX),
            removed: AtomicBool::new(false),
        }
    }
}

/// A client's place in the affinity table, which its destination counts.
#[derive(Debug)]
pub struct Bound(pub Arc<Backend>);

impl Bound {
    /// Binds.
    pub fn new(backend: Arc<Backend>) -> Self {
        backend.persistent.fetch_add(1, Relaxed);
        Self(backend)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.0.persistent.fetch_sub(1, Relaxed);
    }
}

/// Counters, a cell for each thread: written by one, read by anybody, and never waited for.
#[derive(Debug)]
pub struct Cells(Box<[Cell]>);

/// A cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Cell {
    connections: AtomicU64,
    in_packets: AtomicU64,
    out_packets: AtomicU64,
    in_bytes: AtomicU64,
    out_bytes: AtomicU64,
}

/// Which way data went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the client to the real server.
    Up,
    /// Back.
    Down,
}

impl Cells {
    fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| Cell::default()).collect())
    }

    /// A new connection.
    pub fn count_connection(&self, thread: usize) {
        if let Some(cell) = self.0.get(thread) {
            add(&cell.connections, 1);
        }
    }

    /// So many reads or datagrams with so many bytes.
    pub fn count(&self, thread: usize, way: Way, packets: u64, bytes: u64) {
        let Some(cell) = self.0.get(thread) else { return };
        let (p, b) = match way {
            Way::Up => (&cell.in_packets, &cell.in_bytes),
            Way::Down => (&cell.out_packets, &cell.out_bytes),
        };
        add(p, packets);
        add(b, bytes);
    }

    /// The sum; rates are left at 0.
    pub fn sum(&self) -> Counters {
        let sum = |field: fn(&Cell) -> &AtomicU64| self.0.iter().map(|cell| field(cell).load(Relaxed)).sum();
        Counters {
            connections: sum(|cell| &cell.connections),
            in_packets: sum(|cell| &cell.in_packets),
            out_packets: sum(|cell| &cell.out_packets),
            in_bytes: sum(|cell| &cell.in_bytes),
            out_bytes: sum(|cell| &cell.out_bytes),
            ..Counters::default()
        }
    }
}

/// One thread writes: no locked instruction is needed.
fn add(cell: &AtomicU64, value: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(value), Relaxed);
}
