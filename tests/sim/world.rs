//! The simulation itself: virtual time, what happens when, and what reaches whom.
//!
//! Pure but for the one reading of the clock that all virtual times are counted from.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use holdfast::vrrp::types::IfIndex;

use crate::host::{Host, Message, Packet, Process, Waiting};
use crate::network::{Network, Segment};
use crate::oracle::{Oracle, Rule, Violation};
use crate::planted::Bug;
use crate::random::Random;
use crate::scenario::{Fault, HostId, Scenario, own_address};

/// What a planned happening is.
#[derive(Debug)]
pub enum Happening {
    /// A packet reaches a host.
    Arrive(HostId, Segment, Rc<Packet>),
    /// An announcement reaches another host.
    Overhear(HostId, Segment, IpAddr),
    /// An announcement reaches the client of a segment.
    Learn(Segment, IpAddr, HostId),
    /// A deadline of a process.
    Timer { host: HostId, incarnation: u64, timer: u64 },
    /// The next step of a turn.
    Step { host: HostId, incarnation: u64, step: u64 },
    /// A descriptor of a process is ready.
    Turn { host: HostId, incarnation: u64 },
    /// The kernel has carried out a change of addresses.
    Written { host: HostId, incarnation: u64, overtaking: Option<crate::host::Unordered> },
    /// The end of a pause.
    Resume { host: HostId, incarnation: u64 },
    /// Main starts another process after a SIGKILL.
    Restart { host: HostId, incarnation: u64 },
    /// The tracked script has its first result.
    Tracked { host: HostId, incarnation: u64 },
    /// A fault, or its repair.
    Fault(Fault),
    /// Time to look at everything.
    Audit,
    /// The faults end.
    Heal,
    /// All must be as it should be now.
    Settled,
    /// And still now.
    End,
}

/// A failed run.
#[derive(Debug)]
pub struct Failure {
    pub rule: Rule,
    pub text: String,
    seed: u64,
    at: Duration,
    trace: VecDeque<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "seed {} at {:?}: {:?}: {}", self.seed, self.at, self.rule, self.text)?;
        write!(f, "replay: HOLDFAST_SIM_SEED={} cargo test --test sim one_seed -- --nocapture", self.seed)
    }
}

/// What a run amounted to: two runs of one seed are the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub happenings: u64,
    pub adverts: u64,
    pub changes: u64,
    pub takeovers: u64,
}

/// Packets for which the sockets of a process have room.
pub const INBOX: usize = 12;

/// Happenings that a failure tells.
const TRACE: usize = 60;

/// The last word of each host on an address.
#[derive(Debug, Clone, Copy)]
pub struct Announced {
    pub at: Instant,
    /// All of it reached the client, and the network was whole.
    pub undisturbed: bool,
}

/// An address that is kept for a successor.
#[derive(Debug, Clone, Copy)]
pub struct Linger {
    pub until: Instant,
    /// It was not removed a moment before: nobody need put it back.
    pub required: bool,
}

/// All.
#[derive(Debug)]
pub struct World {
    pub scenario: Scenario,
    pub now: Instant,
    pub start: Instant,
    pub random: Random,
    pub network: Network,
    pub hosts: Vec<Host>,
    /// What the client of each segment has learned.
    pub clients: Vec<BTreeMap<IpAddr, HostId>>,
    pub announced: BTreeMap<(HostId, IpAddr), Announced>,
    pub oracle: Oracle,
    pub bug: Option<Bug>,
    /// Until when a master that was told to stop may, and must, keep each address.
    pub lingering: BTreeMap<(HostId, IfIndex, IpAddr), Linger>,
    /// Whether the last advert of a router on a host, its goodbye if it had one, went into a whole network; its VRID.
    pub goodbyes: BTreeMap<(HostId, String), (bool, Option<u8>)>,
    /// When addresses were removed behind a host's back.
    pub removals: Vec<Vec<Instant>>,
    /// When its process noticed: those that have to do with each other.
    pub missed: Vec<Vec<Instant>>,
    /// Faults of each host that wait until its process has taken so many steps more.
    pub ambushes: Vec<VecDeque<(u32, Fault)>>,
    /// The last fault, or its repair, that a host must be given time for.
    pub disturbed: Vec<Instant>,
    /// IPv6 addresses that somebody removed, and when.
    pub removed_v6: BTreeMap<(HostId, IpAddr), Instant>,
    pub timeouts: Vec<VecDeque<Instant>>,
    /// Adverts gather before they are read.
    pub gathers: bool,
    /// After the bound: nothing moves any more.
    pub calm: bool,
    pub summary: Summary,
    queue: BTreeMap<(Instant, u64), Happening>,
    planned: u64,
    trace: Option<VecDeque<String>>,
}

/// Runs one seed. `loud`: prints every happening.
///
/// # Errors
/// The first broken rule.
pub fn run(seed: u64, bug: Option<Bug>, loud: bool) -> Result<Summary, Failure> {
    let mut world = World::new(seed, bug, false);
    match world.play() {
        None if !loud => Ok(world.summary),
        _ => {
            // Words cost time: only a run that failed is told, by running it again.
            let mut again = World::new(seed, bug, true);
            let violation = again.play();
            if loud {
                println!("{:#?}", again.scenario);
                again.trace.iter().flatten().for_each(|line| println!("  {line}"));
            }
            let Some(Violation { rule, text }) = violation else { return Ok(again.summary) };
            let mut trace = again.trace.take().unwrap_or_default();
            trace.drain(..trace.len().saturating_sub(TRACE));
            Err(Failure { rule, text, seed, at: again.now - again.start, trace })
        }
    }
}

impl World {
    fn new(seed: u64, bug: Option<Bug>, told: bool) -> Self {
        let mut random = Random::new(seed);
        let scenario = Scenario::generate(&mut random);
        // One reading for all: virtual times are counted from it, and only differences matter.
        let start = *START.get_or_init(Instant::now);
        let hosts = scenario.configs.iter().enumerate();
        let mut world = Self {
            now: start,
            start,
            network: Network::new(scenario.latency),
            hosts: hosts.map(|(id, config)| Host::new(id, config.clone(), scenario.segments)).collect(),
            clients: vec![BTreeMap::new(); scenario.segments],
            announced: BTreeMap::new(),
            oracle: Oracle::default(),
            bug,
            lingering: BTreeMap::new(),
            goodbyes: BTreeMap::new(),
            removals: vec![Vec::new(); scenario.hosts],
            missed: vec![Vec::new(); scenario.hosts],
            ambushes: vec![VecDeque::new(); scenario.hosts],
            disturbed: vec![start; scenario.hosts],
            removed_v6: BTreeMap::new(),
            timeouts: vec![VecDeque::new(); scenario.hosts],
            gathers: seed.is_multiple_of(3),
            calm: false,
            summary: Summary::default(),
            queue: BTreeMap::new(),
            planned: 0,
            trace: told.then(VecDeque::new),
            random,
            scenario,
        };
        world.plan_scenario();
        world
    }

    fn plan_scenario(&mut self) {
        for (host, at) in self.scenario.starts.clone().into_iter().enumerate() {
            self.plan(at, Happening::Fault(Fault::Start(host)));
        }
        for (at, fault) in self.scenario.faults.clone() {
            self.plan(at, Happening::Fault(fault));
        }
        let settled = self.scenario.heal_at + self.scenario.settle;
        let end = settled + self.scenario.calm;
        self.plan(self.scenario.heal_at, Happening::Heal);
        self.plan(settled, Happening::Settled);
        self.plan(end, Happening::End);
        let step = (end / 400).max(Duration::from_millis(2));
        let mut at = step;
        while at < end {
            self.plan(at, Happening::Audit);
            at += step;
        }
    }

    pub fn plan(&mut self, after: Duration, happening: Happening) {
        self.planned += 1;
        self.queue.insert((self.now + after, self.planned), happening);
    }

    /// Until the end, or the first broken rule.
    fn play(&mut self) -> Option<Violation> {
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            self.now = at;
            self.summary.happenings += 1;
            if matches!(happening, Happening::End) {
                self.judge_settled();
                break;
            }
            self.happen(happening);
            if self.oracle.violation.is_some() {
                break;
            }
        }
        self.oracle.violation.take()
    }

    /// Notes a happening, in words only when they are wanted.
    pub fn tell(&mut self, words: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push_back(format!("{:>12?} {}", self.now - self.start, words()));
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive(host, segment, packet) => self.arrive(host, segment, packet),
            Happening::Overhear(host, segment, address) => self.overhear(host, segment, address),
            Happening::Learn(segment, address, host) => {
                self.clients[segment].insert(address, host);
            }
            Happening::Timer { host, incarnation, timer } => {
                let due = |p: &mut Process| p.timer == timer && !p.paused && p.turn.is_none();
                let current = self.living(host, incarnation).is_some_and(due);
                if current {
                    self.count_timeout(host);
                    self.turn(host);
                }
            }
            Happening::Step { host, incarnation, step } => {
                if self.living(host, incarnation).is_some_and(|process| process.step == step) {
                    self.step(host);
                }
            }
            Happening::Turn { host, incarnation } => {
                if let Some(process) = self.living(host, incarnation) {
                    process.woken = false;
                    if !process.paused && process.turn.is_none() {
                        self.turn(host);
                    }
                }
            }
            Happening::Written { host, incarnation, overtaking } => self.written(host, incarnation, overtaking),
            Happening::Resume { host, incarnation } => {
                if self.living(host, incarnation).is_some() {
                    self.resume(host);
                }
            }
            Happening::Restart { host, incarnation } => {
                if self.hosts[host].restarting && self.hosts[host].incarnation == incarnation {
                    self.start_process(host, true);
                }
            }
            Happening::Tracked { host, incarnation } => {
                if self.living(host, incarnation).is_some() {
                    self.say(host, Message::Tracker(self.hosts[host].tracker));
                }
            }
            Happening::Fault(fault) => self.fault(fault),
            Happening::Audit => self.audit(),
            Happening::Heal => self.heal(),
            Happening::Settled => {
                self.judge_settled();
                self.calm = true;
            }
            Happening::End => {}
        }
    }

    pub fn living(&mut self, host: HostId, incarnation: u64) -> Option<&mut Process> {
        let host = &mut self.hosts[host];
        host.process.as_mut().filter(|_| host.incarnation == incarnation)
    }

    /// What the wall clock of a host shows.
    pub fn wall(&self, host: HostId) -> Duration {
        self.hosts[host].wall + (self.now - self.start)
    }

    pub fn disturb(&mut self, host: HostId) {
        self.disturbed[host] = self.disturbed[host].max(self.now);
    }

    // ---- the network ------------------------------------------------------------------------------------------

    pub fn arrive(&mut self, host: HostId, segment: Segment, packet: Rc<Packet>) {
        let Some(process) = &self.hosts[host].process else { return };
        let Some(socket) = process.listens(host, segment, &packet) else { return };
        let (stamp, arrived) = (self.wall(host), self.now);
        if let Some(process) = self.hosts[host].process.as_mut() {
            if process.inbox.len() < INBOX {
                process.inbox.push_back(Waiting { socket, stamp, arrived, packet });
            } else {
                process.overflown.insert(socket);
            }
        }
        self.wake(host);
    }

    /// The socket for announcements is open only while the engine listens to them.
    fn overhear(&mut self, host: HostId, segment: Segment, address: IpAddr) {
        let index = crate::host::index(segment);
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        if process.engine.listens_to_announcements().contains(&index) {
            process.announced.push_back((index, address));
            self.wake(host);
        }
    }

    pub fn transmit(&mut self, host: HostId, transmit: holdfast::vrrp::engine::Transmit) {
        self.summary.adverts += 1;
        let Some(index) = transmit.socket.interface else { return };
        let segment = crate::host::segment(index);
        if self.network.swallows_goodbyes && transmit.pdu.get(2) == Some(&0) {
            return;
        }
        let packet = Rc::new(Packet {
            source: transmit.source,
            destination: transmit.destination,
            ttl: transmit.ttl,
            pdu: transmit.pdu,
        });
        for to in (0..self.hosts.len()).filter(|to| *to != host) {
            let meant = packet.destination.is_multicast()
                || own_address(to, segment, transmit.socket.family) == packet.destination;
            if !meant {
                continue;
            }
            for time in self.network.route(&mut self.random, segment, host, to) {
                self.plan(time, Happening::Arrive(to, segment, Rc::clone(&packet)));
            }
        }
    }

    pub fn announce(&mut self, host: HostId, segment: Segment, address: IpAddr, repeat: u32) {
        if self.bug == Some(Bug::SilentTakeover) {
            return;
        }
        let kernel = &self.hosts[host].kernel;
        if !kernel.contains(&(crate::host::index(segment), address)) && self.removals[host].is_empty() {
            let text = format!("host {host} announces {address}, but does not have it");
            self.oracle.broken(Rule::Addresses, text);
        }
        if self.is_stopping(host) {
            let text = format!("host {host} announces {address}, but has resigned");
            self.oracle.broken(Rule::Linger, text);
        }
        for other in (0..self.hosts.len()).filter(|other| *other != host) {
            let listens = |process: &Process| !process.engine.listens_to_announcements().is_empty();
            if self.hosts[other].process.as_ref().is_some_and(listens) {
                for time in self.network.route(&mut self.random, segment, host, other) {
                    self.plan(time, Happening::Overhear(other, segment, address));
                }
            }
        }
        let client = self.hosts.len();
        let mut arrived = 0;
        for _ in 0..repeat {
            let times = self.network.route(&mut self.random, segment, host, client);
            arrived += u32::from(!times.is_empty());
            for time in times {
                self.plan(time, Happening::Learn(segment, address, host));
            }
        }
        let undisturbed = arrived == repeat && self.network.is_clean(segment);
        self.tell(|| {
            format!("host {host} announces {address}, {arrived} of {repeat} arrive, undisturbed: {undisturbed}")
        });
        self.announced.insert((host, address), Announced { at: self.now, undisturbed });
    }
}

static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
