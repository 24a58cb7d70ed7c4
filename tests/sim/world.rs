//! The simulation itself: virtual time, what happens when, and the turns of each host's vrrp process.
//!
//! Pure but for the one reading of the clock that all virtual times are counted from. A turn is that of
//! `holdfast::vrrp::process`: waiting adverts, then netlink, then main, then timers, then the address writer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use holdfast::vrrp::config::{ConfigDiff, VrrpConfig};
use holdfast::vrrp::engine::{Effect, Input, VrrpEngine};
use holdfast::vrrp::event::{Event, StateName};
use holdfast::vrrp::snapshot::FlightRecord;

use crate::host::{Host, Message, Packet, Process, Waiting};
use crate::network::{Network, Segment};
use crate::oracle::{Change, Oracle, Rule, Violation};
use crate::planted::Bug;
use crate::random::Random;
use crate::scenario::{Fault, HostId, Scenario, own_address, tracker};

/// What a planned happening is.
#[derive(Debug)]
pub enum Happening {
    /// A packet reaches a host.
    Arrive(HostId, Segment, Rc<Packet>),
    /// An announcement reaches the client of a segment.
    Learn(Segment, IpAddr, HostId),
    /// A deadline of a process.
    Timer { host: HostId, incarnation: u64, timer: u64 },
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

/// Happenings that a failure tells.
const TRACE: usize = 60;

/// The last word of each host on an address.
#[derive(Debug, Clone, Copy)]
pub struct Announced {
    pub at: Instant,
    /// All of it reached the client, and the network was whole.
    pub undisturbed: bool,
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
    /// The last fault, or its repair, that a host must be given time for.
    pub disturbed: Vec<Instant>,
    pub timeouts: Vec<VecDeque<Instant>>,
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
            disturbed: vec![start; scenario.hosts],
            timeouts: vec![VecDeque::new(); scenario.hosts],
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
            Happening::Learn(segment, address, host) => {
                self.clients[segment].insert(address, host);
            }
            Happening::Timer { host, incarnation, timer } => {
                let current = self.living(host, incarnation).is_some_and(|p| p.timer == timer && !p.paused);
                if current {
                    self.count_timeout(host);
                    self.turn(host);
                }
            }
            Happening::Turn { host, incarnation } => {
                if let Some(process) = self.living(host, incarnation) {
                    process.woken = false;
                    if !process.paused {
                        self.turn(host);
                    }
                }
            }
            Happening::Written { host, incarnation, overtaking } => self.written(host, incarnation, overtaking),
            Happening::Resume { host, incarnation } => {
                if let Some(process) = self.living(host, incarnation) {
                    process.paused = false;
                    self.disturb(host);
                    self.tell(|| format!("host {host} goes on"));
                    self.turn(host);
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

    fn living(&mut self, host: HostId, incarnation: u64) -> Option<&mut Process> {
        let host = &mut self.hosts[host];
        host.process.as_mut().filter(|_| host.incarnation == incarnation)
    }

    fn disturb(&mut self, host: HostId) {
        self.disturbed[host] = self.now;
    }

    // ---- faults -----------------------------------------------------------------------------------------------

    fn fault(&mut self, fault: Fault) {
        self.tell(|| match &fault {
            Fault::Reload(host, config) => format!("Reload({host}, {config:?})"),
            other => format!("{other:?}"),
        });
        match fault {
            Fault::Loss(percent) => self.network.loss = percent,
            Fault::Duplicate(percent) => self.network.duplicate = percent,
            Fault::Latency(latency) => self.network.latency = latency,
            Fault::Block(pairs) => self.network.blocked.extend(pairs),
            Fault::Unblock(pairs) => self.network.blocked.retain(|pair| !pairs.contains(pair)),
            Fault::Carrier(host, segment, up) => self.set_carrier(host, segment, up),
            Fault::Pause(host, time) => self.pause(host, time),
            Fault::Crash(host) => {
                self.end_process(host);
                self.hosts[host].restarting = false;
                self.hosts[host].kernel.clear();
            }
            Fault::Kill(host, time) => self.kill(host, time),
            Fault::Stop(host) => self.say(host, Message::Stop),
            Fault::Start(host) => {
                if self.hosts[host].process.is_none() && !self.hosts[host].restarting {
                    self.start_process(host, false);
                }
            }
            Fault::Reload(host, config) => self.reload(host, config),
            Fault::SlowTracker(host, time) => self.hosts[host].slow_tracker = Some(time),
            Fault::Tracker(host, status) => {
                self.hosts[host].tracker = status;
                self.say(host, Message::Tracker(status));
            }
        }
    }

    fn heal(&mut self) {
        self.tell(|| "all faults end".to_owned());
        self.network.heal();
        for host in 0..self.hosts.len() {
            for segment in 0..self.scenario.segments {
                self.set_carrier(host, segment, true);
            }
            if !self.scenario.absent.contains(&host) {
                self.fault(Fault::Start(host));
            }
        }
    }

    fn set_carrier(&mut self, host: HostId, segment: Segment, up: bool) {
        if up {
            self.network.down.remove(&(segment, host));
        } else {
            self.network.down.insert((segment, host));
        }
        if std::mem::replace(&mut self.hosts[host].carrier[segment], up) != up {
            self.disturb(host);
            self.link_changed(host, segment);
        }
    }

    fn link_changed(&mut self, host: HostId, segment: Segment) {
        if let Some(process) = &mut self.hosts[host].process {
            process.links.insert(segment);
        }
        self.wake(host);
    }

    fn pause(&mut self, host: HostId, time: Duration) {
        let incarnation = self.hosts[host].incarnation;
        let Some(process) = self.hosts[host].process.as_mut().filter(|process| !process.paused) else { return };
        process.paused = true;
        self.plan(time, Happening::Resume { host, incarnation });
    }

    fn kill(&mut self, host: HostId, time: Duration) {
        let Some(process) = self.hosts[host].process.as_ref().filter(|process| !process.stopping) else { return };
        // The kernel may have carried out some of what was being written.
        let half = process.writing.clone();
        self.end_process(host);
        if let Some((_, change)) = half {
            let mut some = |list: Vec<_>| -> Vec<_> { list.into_iter().filter(|_| self.random.chance(50)).collect() };
            let (present, absent) = (some(change.present), some(change.absent));
            self.hosts[host].write(&present, &absent);
        }
        self.hosts[host].restarting = true;
        let incarnation = self.hosts[host].incarnation;
        self.plan(time, Happening::Restart { host, incarnation });
    }

    fn end_process(&mut self, host: HostId) {
        self.hosts[host].process = None;
        self.hosts[host].incarnation += 1;
        self.oracle.forget(host);
        self.disturb(host);
    }

    fn reload(&mut self, host: HostId, config: Box<VrrpConfig>) {
        if self.hosts[host].restarting {
            self.hosts[host].postponed = Some(config);
            return;
        }
        let diff = ConfigDiff::between(&self.hosts[host].config, &config);
        self.hosts[host].config = *config;
        self.say(host, Message::Reload(Box::new(diff)));
    }

    fn say(&mut self, host: HostId, message: Message) {
        if let Some(process) = &mut self.hosts[host].process {
            process.messages.push_back(message);
        }
        self.wake(host);
    }

    /// As main and `Process::start` do it: trackers first, then links.
    fn start_process(&mut self, id: HostId, adopt: bool) {
        self.tell(|| format!("host {id} starts, adopting: {adopt}"));
        let late = self.bug == Some(Bug::AdoptionWithoutDeadline);
        let now = self.now;
        let host = &mut self.hosts[id];
        host.restarting = false;
        host.incarnation += 1;
        if !adopt {
            host.flight.clear();
        }
        let record =
            |(name, at): (&String, &Option<Instant>)| FlightRecord { instance: name.clone(), next_advert_at: *at };
        let records: Vec<_> = host.flight.iter().map(record).collect();
        let mut forged = records.clone();
        if late {
            for record in &mut forged {
                let interval = host.config.instances.get(&record.instance).map(|c| c.advert_interval.duration());
                record.next_advert_at = record.next_advert_at.and(interval).map(|interval| now + interval);
            }
        }
        let engine = VrrpEngine::new(now, host.config.clone(), &forged);
        host.process = Some(Process::new(engine, &records));
        self.oracle.forget(id);
        self.disturb(id);
        self.settle(id);
        let status = self.hosts[id].tracker;
        match self.hosts[id].slow_tracker.filter(|_| !adopt) {
            Some(time) => {
                let incarnation = self.hosts[id].incarnation;
                self.plan(time, Happening::Tracked { host: id, incarnation });
            }
            // Main tells a restarted process what it knows.
            None => self.input(id, Input::Tracker { key: tracker(), status }),
        }
        for segment in 0..self.scenario.segments {
            let link = self.hosts[id].link(segment);
            self.input(id, Input::Link(link));
        }
        self.turn(id);
        if let Some(config) = self.hosts[id].postponed.take() {
            self.reload(id, config);
        }
    }

    // ---- the network ------------------------------------------------------------------------------------------

    fn arrive(&mut self, host: HostId, segment: Segment, packet: Rc<Packet>) {
        let Some(process) = &self.hosts[host].process else { return };
        let Some(socket) = process.listens(host, segment, &packet) else { return };
        let at = self.now;
        if let Some(process) = self.hosts[host].process.as_mut().filter(|process| !process.stopping) {
            process.inbox.push_back(Waiting { socket, at, packet });
        }
        self.wake(host);
    }

    fn transmit(&mut self, host: HostId, transmit: holdfast::vrrp::engine::Transmit) {
        self.summary.adverts += 1;
        let Some(index) = transmit.socket.interface else { return };
        let segment = crate::host::segment(index);
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

    // ---- turns ------------------------------------------------------------------------------------------------

    /// Something waits for the process: its turn comes soon.
    pub fn wake(&mut self, host: HostId) {
        let incarnation = self.hosts[host].incarnation;
        let Some(process) = self.hosts[host].process.as_mut().filter(|p| !p.paused && !p.woken) else { return };
        process.woken = true;
        let after = self.random.duration(Duration::ZERO, self.scenario.turn_delay);
        self.plan(after, Happening::Turn { host, incarnation });
    }

    fn turn(&mut self, host: HostId) {
        if self.bug == Some(Bug::TimersBeforeInbox) {
            self.judge_timers(host);
        }
        self.read_inbox(host);
        while let Some((instance, generation)) = self.process(host).and_then(|p| p.written.pop_front()) {
            self.input(host, Input::AddressesSynced { instance, generation, failures: Vec::new() });
        }
        while let Some(segment) = self.process(host).and_then(|p| p.links.pop_first()) {
            let link = self.hosts[host].link(segment);
            if !self.is_stopping(host) {
                self.input(host, Input::Link(link));
            }
        }
        while let Some(message) = self.process(host).and_then(|p| p.messages.pop_front()) {
            self.read_message(host, message);
        }
        if !self.is_stopping(host) {
            self.judge_timers(host);
            self.judge_turn(host);
        }
        self.advance_writer(host);
        self.finish_turn(host);
    }

    fn process(&mut self, host: HostId) -> Option<&mut Process> {
        self.hosts[host].process.as_mut()
    }

    fn is_stopping(&self, host: HostId) -> bool {
        self.hosts[host].process.as_ref().is_none_or(|process| process.stopping)
    }

    fn read_inbox(&mut self, host: HostId) {
        while !self.is_stopping(host) {
            let Some(waiting) = self.process(host).and_then(|p| p.inbox.pop_front()) else { return };
            let Some(name) = self.meant(host, &waiting) else { continue };
            let book = self.oracle.book(host, &name, self.now);
            let (state, ours) = (book.state, book.priority);
            if let Some(config) = self.hosts[host].config_of(&name) {
                self.oracle.on_advert(self.now, host, &name, config, &waiting.packet);
            }
            if self.bug.is_some_and(|bug| bug.swallows(&waiting, state, ours)) {
                continue;
            }
            self.tell(|| {
                let priority = waiting.packet.pdu.get(2).copied().unwrap_or(0);
                format!("host {host} {name} hears {} of {} as {state} {ours}", priority, waiting.packet.source)
            });
            self.input(host, Input::Advert(waiting.received()));
        }
    }

    fn read_message(&mut self, host: HostId, message: Message) {
        if self.is_stopping(host) {
            return;
        }
        self.disturb(host);
        match message {
            Message::Reload(diff) => {
                let lost = self.bug == Some(Bug::TimerNotRearmed);
                self.input(host, Input::Reconfigure(*diff));
                let names: Vec<_> = self.hosts[host].config.instances.keys().cloned().collect();
                for name in names {
                    let Some(config) = self.config(host, &name).cloned() else { continue };
                    self.oracle.on_reload(self.now, host, &name, &config);
                }
                if let Some(process) = self.process(host) {
                    process.timer_lost = lost;
                }
            }
            Message::Tracker(status) => self.input(host, Input::Tracker { key: tracker(), status }),
            Message::Stop => {
                self.input(host, Input::Stop);
                if let Some(process) = self.process(host) {
                    process.stopping = true;
                }
            }
        }
    }

    /// Lets the engine judge its deadlines.
    fn judge_timers(&mut self, host: HostId) {
        let mut now = self.now;
        if let Some(bug) = self.bug {
            now += self.hurry(bug, host);
        }
        let before = self.backups(host);
        let Some(process) = self.process(host) else { return };
        process.engine.handle_timeout(now);
        self.settle(host);
        self.judge_waiting(host, &before);
        let Some(process) = self.process(host) else { return };
        if let Some(next) = process.engine.poll_timeout().filter(|next| *next <= now) {
            let text = format!("host {host}: after handle_timeout the next deadline is {:?} ago", now - next);
            self.oracle.broken(Rule::BusyLoop, text);
        }
    }

    /// Writes what waits, sets the timer, notes the flight records; ends a process that was told to.
    fn finish_turn(&mut self, host: HostId) {
        let incarnation = self.hosts[host].incarnation;
        let stopping = self.is_stopping(host);
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        let records = process.engine.poll_flight_records();
        let idle = process.writing.is_none() && process.queue.is_empty();
        process.timer += 1;
        let timer = process.timer;
        let next = process.engine.poll_timeout().filter(|_| !std::mem::take(&mut process.timer_lost));
        self.hosts[host].flight.extend(records.into_iter().map(|r| (r.instance, r.next_advert_at)));
        if stopping && idle {
            self.tell(|| format!("host {host} has stopped"));
            return self.end_process(host);
        }
        let Some(mut next) = next.filter(|_| !stopping) else { return };
        if let Some(bug) = self.bug {
            next -= self.hurry(bug, host).min(next.saturating_duration_since(self.now));
            if bug == Bug::BusyLoop {
                next = self.now;
            }
        }
        let after = next.saturating_duration_since(self.now)
            + self.random.duration(Duration::ZERO, self.scenario.turn_delay / 2);
        self.plan(after, Happening::Timer { host, incarnation, timer });
    }

    fn input(&mut self, host: HostId, input: Input<'_>) {
        let now = self.now;
        if let Some(process) = self.process(host) {
            process.engine.handle_input(now, input);
        }
        self.settle(host);
    }

    /// Carries out all effects, in order.
    fn settle(&mut self, host: HostId) {
        while let Some(effect) = self.process(host).and_then(|p| p.engine.poll_effect()) {
            self.carry_out(host, effect);
        }
    }

    fn carry_out(&mut self, host: HostId, effect: Effect) {
        match effect {
            Effect::SendAdvert { instance, transmit } => {
                let name = self.hosts[host].process.as_ref().and_then(|p| p.engine.instance_name(instance));
                let Some(name) = name.map(ToOwned::to_owned) else {
                    // The last advert of an instance that is removed or replaced.
                    return self.transmit(host, transmit);
                };
                let zero = transmit.pdu.get(2) == Some(&0);
                self.tell(|| {
                    let priority = transmit.pdu.get(2).copied().unwrap_or(0);
                    format!("host {host} {name} sends {priority} to {}", transmit.destination)
                });
                let storm = if self.bug == Some(Bug::AdvertStorm) { 200 } else { 1 };
                if let Some(config) = self.hosts[host].config_of(&name) {
                    for _ in 0..storm {
                        self.oracle.on_send(self.now, host, &name, transmit.destination, config, zero);
                    }
                }
                self.transmit(host, transmit);
            }
            Effect::SyncAddresses { instance, generation, present, absent } => {
                self.queue_change(host, instance, generation, present, absent);
            }
            Effect::Announce { instance, generation, addresses, repeat } => {
                self.queue_announcement(host, instance, generation, addresses, repeat);
            }
            Effect::StopAnnouncing { instance } => {
                if let Some(process) = self.process(host) {
                    process.queue.forget_announcement(instance);
                }
            }
            Effect::SyncSockets { desired } => {
                if let Some(process) = self.process(host) {
                    process.sockets = desired;
                }
            }
            Effect::Emit(event) => self.emitted(host, &event),
        }
    }

    fn emitted(&mut self, host: HostId, event: &Event) {
        match event {
            Event::StateChanged { instance, from, to, priority, cause } => {
                self.summary.changes += 1;
                self.summary.takeovers += u64::from(*to == StateName::Master);
                self.tell(|| format!("host {host} {instance} ({priority}) is {to} after {from}: {cause}"));
                self.disturb(host);
                let Some(config) = self.config(host, instance).cloned() else {
                    // A reload removed it, and this was its last word.
                    self.oracle.books.remove(&(host, instance.clone()));
                    return;
                };
                let change =
                    Change { name: instance, config: &config, from: *from, to: *to, priority: *priority, cause };
                self.judge_change(host, &change);
                self.oracle.on_state(self.now, host, &change);
            }
            Event::PriorityChanged { instance, to, .. } => {
                self.tell(|| format!("host {host} {instance} has priority {to}"));
                if let Some(config) = self.config(host, instance).cloned() {
                    self.oracle.on_priority(self.now, host, instance, &config, *to);
                }
            }
            other => self.tell(|| format!("host {host}: {other:?}")),
        }
    }

    /// The names of the routers that a host is master of.
    pub fn masters(&self, host: HostId) -> BTreeSet<String> {
        let books = self.oracle.books.iter().filter(|((h, _), b)| *h == host && b.state == StateName::Master);
        books.map(|((_, name), _)| name.clone()).collect()
    }
}

static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
