//! A simulated machine: links and a kernel's addresses, which outlive the vrrp process, and the process itself with its
//! one inbox and its one address writer.
//!
//! Pure: the world tells the time and carries out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast::net::write_queue::{Change, Owner, WriteQueue};
use holdfast::vrrp::config::{ConfigDiff, InstanceConfig, VrrpConfig};
use holdfast::vrrp::engine::{BoundAddress, Input, Received, SocketKey, SocketSpec, VrrpEngine};
use holdfast::vrrp::event::TrackerStatus;
use holdfast::vrrp::former::FormerAddresses;
use holdfast::vrrp::receive_clock::ReceiveClock;
use holdfast::vrrp::snapshot::FlightRecord;
use holdfast::vrrp::types::{Family, IfIndex, InstanceId, Link, LinkAddress};

use crate::network::Segment;
use crate::scenario::{HostId, link_name, own_address};
use crate::turn::Turn;

/// A packet on its way.
#[derive(Debug)]
pub struct Packet {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub ttl: Option<u8>,
    pub pdu: Vec<u8>,
}

/// A packet in a socket's queue.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub socket: SocketKey,
    /// When it came in, by the wall clock of the host.
    pub stamp: Duration,
    /// And when that was in truth.
    pub arrived: Instant,
    pub packet: Rc<Packet>,
}

impl Waiting {
    /// As the engine is given it.
    pub fn received(&self, at: Instant) -> Received<'_> {
        Received {
            socket: self.socket,
            source: self.packet.source,
            destination: self.packet.destination,
            ttl: self.packet.ttl,
            at,
            pdu: &self.packet.pdu,
        }
    }
}

/// What main says to the vrrp process.
#[derive(Debug)]
pub enum Message {
    Reload(Box<ConfigDiff>),
    Tracker(TrackerStatus),
    Failover(String),
    Maintenance(bool),
    Stop,
}

/// The machine.
#[derive(Debug)]
pub struct Host {
    pub id: HostId,
    /// What main has read last.
    pub config: VrrpConfig,
    pub tracker: TrackerStatus,
    /// The tracker's first result comes this long after a start.
    pub slow_tracker: Option<Duration>,
    pub carrier: Vec<bool>,
    /// Its wall clock shows so much more than the time since the beginning.
    pub wall: Duration,
    /// The kernel takes up to so long for a change of addresses, beyond what it takes in health.
    pub slow_writer: Duration,
    /// An operator keeps it out of elections.
    pub maintenance: bool,
    /// When it was switched on; `None`: it is off.
    pub booted: Option<Instant>,
    /// The virtual addresses in the kernel.
    pub kernel: BTreeSet<(IfIndex, IpAddr)>,
    /// The flight recorder, which outlives the process.
    pub flight: BTreeMap<Arc<str>, Option<Instant>>,
    pub process: Option<Process>,
    /// Counts the processes, so that what was meant for a dead one is not taken for its successor's.
    pub incarnation: u64,
    /// SIGKILLed, and main is about to start another.
    pub restarting: bool,
    /// Main's book of what reloads took away.
    pub former: FormerAddresses,
    /// A reload that arrived meanwhile.
    pub postponed: Option<Box<VrrpConfig>>,
}

/// The vrrp process.
#[derive(Debug)]
pub struct Process {
    pub engine: VrrpEngine,
    /// What it is told when it starts.
    pub begin: VecDeque<Input<'static>>,
    /// The turn that it takes; `None`: it sleeps.
    pub turn: Option<Turn>,
    /// The step that comes next; those planned before it do not.
    pub step: u64,
    /// The time that the engine was last told.
    pub told: Instant,
    /// What both its clocks showed when its last turn began.
    pub looked: (Instant, Duration),
    pub sockets: BTreeMap<SocketKey, SocketSpec>,
    pub inbox: VecDeque<Waiting>,
    /// Sockets that had no room for a packet.
    pub overflown: BTreeSet<SocketKey>,
    pub receive_clock: ReceiveClock,
    /// What other hosts announced, while it listens to that.
    pub announced: VecDeque<(IfIndex, IpAddr)>,
    pub links: BTreeSet<Segment>,
    pub messages: VecDeque<Message>,
    pub queue: WriteQueue,
    /// What the kernel is carrying out.
    pub writing: Option<(Owner, Change)>,
    pub written: VecDeque<(InstanceId, u64)>,
    /// Orders of main whose addresses are being written.
    pub unsettled: u32,
    pub paused: bool,
    pub stopping: bool,
    /// A turn is about to begin.
    pub woken: bool,
    /// The timer that counts; earlier ones were set anew.
    pub timer: u64,
    /// It lets adverts gather until then.
    pub gathers_until: Option<Instant>,
    /// No router may leave INIT before.
    pub held_until: Instant,
    /// For a planted bug: how late all adverts so far were in sum.
    pub drift: Duration,
    /// For a planted bug: it has forgotten to set its timer.
    pub timer_lost: bool,
    /// For a planted bug: what was announced.
    pub announced_once: BTreeSet<(InstanceId, u64)>,
    /// What the flight recorder said when it started.
    pub adopted: BTreeMap<String, Instant>,
}

impl Process {
    /// A process about to begin.
    pub fn new(engine: VrrpEngine, records: &[FlightRecord], looked: (Instant, Duration), held_until: Instant) -> Self {
        let (now, wall) = looked;
        Self {
            engine,
            begin: VecDeque::new(),
            turn: Some(Turn::first(now)),
            step: 0,
            told: now,
            looked,
            sockets: BTreeMap::new(),
            inbox: VecDeque::new(),
            overflown: BTreeSet::new(),
            receive_clock: ReceiveClock::new(now, wall),
            announced: VecDeque::new(),
            links: BTreeSet::new(),
            messages: VecDeque::new(),
            queue: WriteQueue::default(),
            writing: None,
            written: VecDeque::new(),
            unsettled: 1,
            paused: false,
            stopping: false,
            woken: false,
            timer: 0,
            gathers_until: None,
            held_until,
            drift: Duration::ZERO,
            timer_lost: false,
            announced_once: BTreeSet::new(),
            adopted: records.iter().filter_map(|r| Some((r.instance.to_string(), r.next_advert_at?))).collect(),
        }
    }

    /// Whether a descriptor of it is ready.
    pub fn has_work(&self) -> bool {
        let idle = self.inbox.is_empty() && self.announced.is_empty() && self.written.is_empty();
        !idle || !self.links.is_empty() || !self.messages.is_empty()
    }

    /// Whether a socket of this link takes the packet.
    pub fn listens(&self, host: HostId, segment: Segment, packet: &Packet) -> Option<SocketKey> {
        let key = SocketKey { interface: Some(index(segment)), family: Family::of(packet.destination) };
        let spec = self.sockets.get(&key)?;
        let mine = own_address(host, segment, key.family) == packet.destination;
        (mine || spec.groups.contains(&packet.destination)).then_some(key)
    }
}

impl Host {
    /// A machine that is off.
    pub fn new(id: HostId, config: VrrpConfig, segments: usize) -> Self {
        Self {
            id,
            config,
            tracker: TrackerStatus::Up,
            slow_tracker: None,
            carrier: vec![true; segments],
            wall: Duration::from_secs(1_000_000),
            slow_writer: Duration::ZERO,
            maintenance: false,
            booted: None,
            kernel: BTreeSet::new(),
            flight: BTreeMap::new(),
            process: None,
            incarnation: 0,
            restarting: false,
            former: FormerAddresses::default(),
            postponed: None,
        }
    }

    /// A link as its kernel reports it: own addresses first, then the virtual ones that are installed.
    pub fn link(&self, segment: Segment) -> Link {
        let own = [Family::V4, Family::V6].map(|family| own_address(self.id, segment, family));
        let here = self.kernel.iter().filter(|(i, _)| *i == index(segment)).map(|(_, address)| *address);
        let addresses = own.into_iter().chain(here);
        let entry = |address| LinkAddress { address, prefix_len: 24, tentative: false, secondary: false };
        Link {
            index: index(segment),
            name: link_name(segment),
            up: true,
            running: self.carrier[segment],
            loopback: false,
            no_arp: false,
            mtu: 1500,
            hardware: vec![2, 0, 0, 0, 0, 1],
            addresses: addresses.map(entry).collect(),
        }
    }

    /// Puts addresses on and takes addresses off; returns the segments that changed.
    pub fn write(&mut self, present: &[BoundAddress], absent: &[BoundAddress]) -> BTreeSet<Segment> {
        let gone = absent.iter().filter(|a| self.kernel.remove(&(a.interface, a.config.address)));
        let mut changed: BTreeSet<Segment> = gone.map(|a| segment(a.interface)).collect();
        for address in present {
            if self.kernel.insert((address.interface, address.config.address)) {
                changed.insert(segment(address.interface));
            }
        }
        changed
    }

    /// Main said something to a process that ends: main itself knows it, and the next process is told.
    pub fn note_unheard(&mut self, message: &Message) {
        if let Message::Maintenance(on) = message {
            self.maintenance = *on;
        }
    }

    /// The configuration that its engine goes by.
    pub fn config_of(&self, name: &str) -> Option<&InstanceConfig> {
        self.process.as_ref()?.engine.instance_config(name)
    }

    /// The process, when it lives and is not stalled.
    pub fn awake(&self) -> Option<&Process> {
        self.process.as_ref().filter(|process| !process.paused)
    }
}

/// The kernel's number of the link to a segment.
pub fn index(segment: Segment) -> IfIndex {
    IfIndex(2 + u32::try_from(segment).expect("few"))
}

/// The segment of a link.
pub fn segment(index: IfIndex) -> Segment {
    usize::try_from(index.0 - 2).expect("few")
}

/// A change of addresses that keeps no order: for a planted bug.
#[derive(Debug)]
pub struct Unordered {
    pub present: Vec<BoundAddress>,
    pub absent: Vec<BoundAddress>,
}
