//! The turns of a host's vrrp process, line by line as in `holdfast::vrrp::process`.
//!
//! Pure. A turn takes time: each step is a happening of its own, and anything may come between two of them: adverts, the
//! kernel's news, a fault. What a line of the process does at once is one step, and so is each single effect.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use holdfast::vrrp::engine::{Input, SocketKey};
use holdfast::vrrp::gather;
use holdfast::vrrp::types::InstanceId;

use crate::host::{Message, Process, Waiting, index};
use crate::network::Segment;
use crate::oracle::{Rule, read};
use crate::planted::Bug;
use crate::scenario::{HostId, segment_of, tracker};
use crate::world::{Happening, INBOX, World};

/// The linger after the successor's first advert.
const AFTER_SUCCESSOR: Duration = Duration::from_millis(20);
/// So many steps are a long turn.
const STEPS: u32 = 64;

/// A turn under way.
#[derive(Debug)]
pub struct Turn {
    line: Line,
    /// Deadlines are judged by then.
    pub begun: Instant,
    /// The clock as it was read after the sockets.
    now: Instant,
    /// Packets read.
    given: usize,
    lost: Vec<SocketKey>,
    /// What the kernel has carried out.
    synced: VecDeque<(InstanceId, u64)>,
    /// For planted bugs: when the turn before began, if the wall clock agreed when this one began.
    believed: Option<Instant>,
}

/// The lines of a turn, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// The process starts: it is told what there is.
    Begin,
    Wall,
    Inbox,
    Overflow,
    Lost,
    Announced,
    Links,
    Main,
    Timers,
    Written,
    News,
    Synced,
    Writer,
    Listen,
    Records,
    Rest,
}

impl Turn {
    /// Of a process that starts.
    pub fn first(now: Instant) -> Self {
        Self { line: Line::Begin, ..Self::begun(now) }
    }

    fn begun(now: Instant) -> Self {
        Self { line: Line::Wall, begun: now, now, given: 0, lost: Vec::new(), synced: VecDeque::new(), believed: None }
    }
}

impl World {
    /// Something waits for the process: its turn comes soon.
    pub fn wake(&mut self, host: HostId) {
        let incarnation = self.hosts[host].incarnation;
        let sleeps = |p: &&mut Process| !p.paused && !p.woken && p.turn.is_none();
        let Some(process) = self.hosts[host].process.as_mut().filter(sleeps) else { return };
        process.woken = true;
        let gathers_until = process.gathers_until;
        let after = self.random.duration(Duration::ZERO, self.scenario.turn_delay);
        let gathering = gathers_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(self.now));
        self.plan(after.max(gathering), Happening::Turn { host, incarnation });
    }

    /// Begins a turn, or goes on with one in which the process was stopped.
    pub fn turn(&mut self, host: HostId) {
        let now = self.now;
        if let Some(process) = self.process(host) {
            process.turn.get_or_insert_with(|| Turn::begun(now));
            self.plan_step(host);
        }
    }

    fn plan_step(&mut self, host: HostId) {
        let after = self.random.duration(Duration::ZERO, self.scenario.turn_delay / STEPS);
        let incarnation = self.hosts[host].incarnation;
        let Some(process) = self.process(host) else { return };
        process.step += 1;
        let step = process.step;
        self.plan(after, Happening::Step { host, incarnation, step });
    }

    /// The next line of a turn, unless something comes before it.
    pub fn step(&mut self, host: HostId) {
        self.strike(host);
        if self.process(host).is_none_or(|process| process.paused) {
            return;
        }
        self.record_flight(host);
        let Some(process) = self.process(host) else { return };
        if let Some(effect) = process.engine.poll_effect() {
            self.carry_out(host, effect);
        } else if let Some(mut turn) = process.turn.take() {
            let next = self.line(host, &mut turn);
            if let Some(process) = self.process(host) {
                turn.line = next.unwrap_or(turn.line);
                process.turn = (turn.line != Line::Rest).then_some(turn);
                if process.turn.is_none() {
                    return self.rest(host);
                }
            }
        }
        self.plan_step(host);
    }

    /// Faults that were to come between two lines.
    fn strike(&mut self, host: HostId) {
        let Some((steps, _)) = self.ambushes[host].front_mut() else { return };
        *steps = steps.saturating_sub(1);
        if *steps == 0
            && let Some((_, fault)) = self.ambushes[host].pop_front()
        {
            self.fault(fault);
        }
    }

    /// Carries out a line, or a part of it: then there is no next one yet.
    fn line(&mut self, host: HostId, turn: &mut Turn) -> Option<Line> {
        let deaf = self.is_stopping(host) && self.bug == Some(Bug::LingersForEver);
        let process = self.hosts[host].process.as_mut()?;
        match turn.line {
            Line::Begin => match process.begin.pop_front() {
                Some(input) => self.input(host, turn.now, input),
                None => {
                    *turn = Turn::begun(self.now);
                    return Some(Line::Wall);
                }
            },
            Line::Wall => {
                self.look_at_clocks(host, turn);
                if self.bug == Some(Bug::TimersBeforeInbox) {
                    self.judge_timers(host, turn.begun);
                }
                return Some(if deaf { Line::Links } else { Line::Inbox });
            }
            Line::Inbox => match process.inbox.pop_front() {
                Some(waiting) => {
                    turn.given += 1;
                    self.read_packet(host, turn, &waiting);
                    // As many as it has room for: all that waited when the turn began are among them.
                    return Some(if turn.given < INBOX { Line::Inbox } else { Line::Overflow });
                }
                None => return Some(Line::Overflow),
            },
            Line::Overflow => {
                // Only one that gave something can have had too much.
                if turn.given > 0 {
                    turn.lost = std::mem::take(&mut process.overflown).into_iter().collect();
                }
                turn.now = self.now;
                return Some(Line::Lost);
            }
            Line::Lost => {
                let Some(socket) = turn.lost.pop() else { return Some(Line::Announced) };
                self.lose_adverts(host, turn, socket);
            }
            Line::Announced => match process.announced.pop_front() {
                Some((interface, address)) => {
                    self.tell(|| format!("host {host} hears that another has {address}"));
                    if let Some(linger) = self.lingering.get_mut(&(host, interface, address)) {
                        linger.until = self.now.min(linger.until);
                    }
                    self.input(host, turn.now, Input::Announced { interface, address, hardware: None });
                }
                None => return Some(Line::Links),
            },
            Line::Links => match process.links.pop_first() {
                Some(segment) => self.read_link(host, turn.now, segment),
                None => return Some(Line::Main),
            },
            Line::Main => match process.messages.pop_front() {
                Some(message) => self.read_message(host, turn.now, message),
                None => return Some(if deaf { Line::Written } else { Line::Timers }),
            },
            Line::Timers => {
                let by = if self.bug == Some(Bug::TimersByThePresent) { self.now } else { turn.begun };
                self.judge_timers(host, by);
                return Some(Line::Written);
            }
            Line::Listen => {
                self.oracle.on_listening(self.now, host);
                if self.bug != Some(Bug::WaitBeginsWithTheTurn) {
                    process.engine.listen_from(self.now);
                }
                if self.is_stopping(host) {
                    self.misannounce(host);
                } else {
                    self.judge_turn(host, turn.begun);
                }
                return Some(Line::Records);
            }
            Line::Written => {
                turn.synced = std::mem::take(&mut process.written);
                return Some(match self.bug {
                    _ if turn.synced.is_empty() => Line::Writer,
                    Some(Bug::AnswerBeforeNews) => Line::Synced,
                    _ => Line::News,
                });
            }
            // The kernel has told of what it answers to before.
            Line::News => match process.links.pop_first() {
                Some(segment) => self.read_link(host, turn.now, segment),
                None => return Some(Line::Synced),
            },
            Line::Synced => match turn.synced.pop_front() {
                Some((instance, generation)) => {
                    let synced = Input::AddressesSynced { instance, generation, failures: Vec::new() };
                    self.input(host, turn.now, synced);
                }
                None => return Some(Line::Writer),
            },
            Line::Writer => {
                self.advance_writer(host);
                return Some(Line::Listen);
            }
            Line::Records => {
                self.note_settled(host);
                self.gather(host, turn.given > 0);
                return Some(Line::Rest);
            }
            Line::Rest => {}
        }
        None
    }

    /// As if adverts came in fast, on some hosts: they wait for others before they are read.
    fn gather(&mut self, host: HostId, heard: bool) {
        let (now, gathers) = (self.now, self.gathers);
        let Some(process) = self.process(host) else { return };
        let idle = process.writing.is_none() && process.queue.is_empty() && !process.stopping;
        let waits = gathers && heard && idle && process.engine.listens_to_announcements().is_empty();
        let longest = gather::longest(process.engine.shortest_skew());
        let until = process.engine.poll_timeout().map_or(now + longest, |next| next.min(now + longest));
        process.gathers_until = waits.then_some(until);
    }

    pub fn process(&mut self, host: HostId) -> Option<&mut Process> {
        self.hosts[host].process.as_mut()
    }

    pub fn is_stopping(&self, host: HostId) -> bool {
        self.hosts[host].process.as_ref().is_none_or(|process| process.stopping)
    }

    /// What time an engine was last told.
    pub fn told(&self, host: HostId) -> Instant {
        self.hosts[host].process.as_ref().map_or(self.now, |process| process.told)
    }

    fn read_link(&mut self, host: HostId, now: Instant, segment: Segment) {
        let link = self.hosts[host].link(segment);
        if !self.is_stopping(host) {
            self.input(host, now, Input::Link(link));
        }
    }

    fn look_at_clocks(&mut self, host: HostId, turn: &mut Turn) {
        let wall = self.wall(host);
        let Some(process) = self.process(host) else { return };
        process.receive_clock.begin_turn(turn.begun, wall);
        let (before, wall_before) = std::mem::replace(&mut process.looked, (turn.begun, wall));
        let passed = turn.begun - before;
        let agree = wall.checked_sub(wall_before).is_some_and(|by| by.abs_diff(passed) < Duration::from_millis(5));
        turn.believed = agree.then_some(before);
    }

    fn read_packet(&mut self, host: HostId, turn: &Turn, waiting: &Waiting) {
        let (now, wall) = (self.now, self.wall(host));
        let Some(name) = self.meant(host, waiting) else { return };
        let Some(process) = self.process(host) else { return };
        let at = process.receive_clock.received_at(now, wall, Some(waiting.stamp));
        let book = self.oracle.book(host, &name);
        let (state, ours) = (book.state, book.priority);
        if let Some(config) = self.hosts[host].config_of(&name) {
            self.oracle.on_advert(at, host, &name, config, &waiting.packet);
            self.oracle.on_read(now, host, &name);
            let addresses: Vec<_> = config.all_addresses().map(|a| a.address).collect();
            let successor = read(config, &waiting.packet).is_some_and(|heard| heard.priority > 0);
            if successor {
                self.successor_heard(host, &addresses, at);
            }
        }
        let config = self.hosts[host].config_of(&name);
        if self.bug.zip(config).is_some_and(|(bug, config)| bug.swallows(waiting, config, state, ours)) {
            return;
        }
        self.tell(|| {
            let priority = waiting.packet.pdu.get(2).copied().unwrap_or(0);
            format!("host {host} {name} hears {priority} of {} as {state} {ours}", waiting.packet.source)
        });
        let waited = wall.saturating_sub(waiting.stamp);
        let before = |at: Instant| at.checked_sub(waited).unwrap_or(at);
        let believed = |at: Instant| turn.believed.map_or(at, |earliest| before(at).max(earliest));
        let at = match self.bug {
            Some(Bug::ClockBelieved) => before(now),
            Some(Bug::ClockBelievedWithinTurns) => believed(now),
            Some(Bug::HeardWhenTheTurnBegan) => believed(turn.begun),
            Some(Bug::ReceiveTimeUnheeded) => now,
            _ => at,
        };
        self.input(host, now, Input::Advert(waiting.received(at)));
    }

    fn lose_adverts(&mut self, host: HostId, turn: &Turn, socket: SocketKey) {
        self.tell(|| format!("host {host} has lost adverts"));
        let hosts = &self.hosts;
        self.oracle.on_lost(turn.now, host, |name| {
            let config = hosts[host].config_of(name);
            let link = config.and_then(|c| Some(index(segment_of(c.interface.as_deref()?)?)));
            link == socket.interface && config.is_some_and(|c| c.family == socket.family)
        });
        if self.bug != Some(Bug::OverflowUnheeded) {
            self.input(host, turn.now, Input::AdvertsLost(socket));
        }
    }

    /// A successor has said that it is there.
    fn successor_heard(&mut self, host: HostId, addresses: &[std::net::IpAddr], at: Instant) {
        for ((h, _, address), linger) in &mut self.lingering {
            if *h == host && addresses.contains(address) {
                linger.until = (at + AFTER_SUCCESSOR).min(linger.until);
            }
        }
    }

    /// For a planted bug.
    fn misannounce(&mut self, host: HostId) {
        if self.bug == Some(Bug::AnnouncesWhileLingering) {
            for (interface, address) in self.hosts[host].kernel.clone() {
                self.announce(host, crate::host::segment(interface), address, 1);
            }
        }
    }

    fn read_message(&mut self, host: HostId, now: Instant, message: Message) {
        if self.is_stopping(host) {
            return self.hosts[host].note_unheard(&message);
        }
        self.disturb(host);
        match message {
            Message::Reload(diff) => {
                let lost = self.bug == Some(Bug::TimerNotRearmed);
                if let Some(process) = self.process(host) {
                    process.unsettled += 1;
                }
                self.input(host, now, Input::Reconfigure(*diff));
                let names: Vec<_> = self.hosts[host].config.instances.keys().cloned().collect();
                for name in names {
                    let Some(config) = self.config(host, &name).cloned() else { continue };
                    self.oracle.on_reload(now, host, &name, &config);
                }
                self.forget_lingering(host);
                if let Some(process) = self.process(host) {
                    process.timer_lost = lost;
                }
            }
            Message::Failover(name) => {
                let Some(process) = self.process(host) else { return };
                process.told = now;
                let outcome = process.engine.failover(now, &name);
                self.tell(|| format!("host {host} {name} is told to hand over: {outcome:?}"));
                // All routers hear of that.
                if self.bug == Some(Bug::HoldForgotten) && self.hosts[host].config.instances.len() == 1 {
                    self.input(host, now, Input::Maintenance(true));
                    self.input(host, now, Input::Maintenance(false));
                }
            }
            Message::Maintenance(on) if self.hosts[host].maintenance == on => {}
            Message::Maintenance(on) => {
                self.hosts[host].maintenance = on;
                if self.bug != Some(Bug::MaintenanceForgotten) {
                    self.oracle.on_maintenance(now, host);
                    self.input(host, now, Input::Maintenance(on));
                }
            }
            Message::Tracker(status) => self.input(host, now, Input::Tracker { key: tracker(), status }),
            Message::Stop => {
                self.input(host, now, Input::Stop);
                if let Some(process) = self.process(host) {
                    process.stopping = true;
                }
            }
        }
    }

    /// Lets the engine judge its deadlines.
    fn judge_timers(&mut self, host: HostId, by: Instant) {
        let hurry = self.bug.map_or(Duration::ZERO, |bug| self.hurry(bug, host));
        let Some(process) = self.process(host) else { return };
        process.told = by;
        process.engine.handle_timeout(by + hurry);
        if let Some(next) = process.engine.poll_timeout().filter(|next| *next <= by) {
            let text = format!("host {host}: after handle_timeout the next deadline is {:?} ago", by - next);
            self.oracle.broken(Rule::BusyLoop, text);
        }
    }

    /// What the process leaves for one that replaces it: before anything that follows from it is carried out.
    fn record_flight(&mut self, host: HostId) {
        let state = &mut self.hosts[host];
        let Some(process) = state.process.as_mut() else { return };
        let records = process.engine.poll_flight_records();
        state.flight.extend(records.into_iter().map(|r| (r.instance, r.next_advert_at)));
    }

    /// Main's book of what a process leaves.
    fn note_settled(&mut self, host: HostId) {
        let state = &mut self.hosts[host];
        let Some(process) = state.process.as_mut() else { return };
        let idle = process.writing.is_none() && process.queue.is_empty();
        let settled = if idle { std::mem::take(&mut process.unsettled) } else { 0 };
        state.former.on_settled(settled);
    }

    /// The turn is over: ends a process that was told to, or sets the timer.
    fn rest(&mut self, host: HostId) {
        let incarnation = self.hosts[host].incarnation;
        let stopping = self.is_stopping(host);
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        process.timer += 1;
        let timer = process.timer;
        let idle = process.writing.is_none() && process.queue.is_empty();
        if stopping && idle && process.engine.is_stopped() {
            self.tell(|| format!("host {host} has stopped"));
            return self.end_process(host);
        }
        let next = process.engine.poll_timeout().filter(|_| !std::mem::take(&mut process.timer_lost));
        if process.has_work() {
            self.wake(host);
        }
        let Some(mut next) = next.filter(|_| !stopping || self.bug != Some(Bug::LingersForEver)) else { return };
        if let Some(bug) = self.bug {
            next -= self.hurry(bug, host).min(next.saturating_duration_since(self.now));
            if bug == Bug::BusyLoop {
                next = self.now;
            }
        }
        let late = self.random.duration(Duration::ZERO, self.scenario.turn_delay / 2);
        let mut after = next.saturating_duration_since(self.now) + late;
        if self.bug == Some(Bug::AdvertsTimedFromNow) {
            after += self.drift(host, late);
        }
        self.plan(after, Happening::Timer { host, incarnation, timer });
    }

    /// For a planted bug: by how much a master's adverts are late in sum, with the next.
    fn drift(&mut self, host: HostId, late: Duration) -> Duration {
        let is_backup = !self.backups(host).is_empty();
        let Some(process) = self.process(host) else { return Duration::ZERO };
        process.drift = if is_backup { Duration::ZERO } else { process.drift + late };
        process.drift
    }

    fn input(&mut self, host: HostId, now: Instant, input: Input<'_>) {
        if let Some(process) = self.process(host) {
            process.told = now;
            process.engine.handle_input(now, input);
        }
    }
}
