//! The turns of a host's vrrp process, in the order of `holdfast::vrrp::process`: waiting adverts, then netlink, then
//! main, then timers, then the address writer.
//!
//! Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use holdfast::vrrp::config::InstanceConfig;
use holdfast::vrrp::engine::{Effect, Input};
use holdfast::vrrp::event::{Cause, Event, StateName};
use holdfast::vrrp::gather;

use crate::host::{Message, Process, index, segment};
use crate::oracle::{Change, Rule, read};
use crate::planted::Bug;
use crate::scenario::{HostId, segment_of, tracker};
use crate::world::{Happening, World};

/// The longest linger, whatever the interval.
const LONGEST_LINGER: Duration = Duration::from_secs(2);
/// The linger after the successor's first advert.
const AFTER_SUCCESSOR: Duration = Duration::from_millis(20);

impl World {
    /// Something waits for the process: its turn comes soon.
    pub fn wake(&mut self, host: HostId) {
        let incarnation = self.hosts[host].incarnation;
        let Some(process) = self.hosts[host].process.as_mut().filter(|p| !p.paused && !p.woken) else { return };
        process.woken = true;
        let gathers_until = process.gathers_until;
        let after = self.random.duration(Duration::ZERO, self.scenario.turn_delay);
        let gathering = gathers_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(self.now));
        self.plan(after.max(gathering), Happening::Turn { host, incarnation });
    }

    pub fn turn(&mut self, host: HostId) {
        if self.bug == Some(Bug::TimersBeforeInbox) {
            self.judge_timers(host);
        }
        let deaf = self.is_stopping(host) && self.bug == Some(Bug::LingersForEver);
        let heard = self.process(host).is_some_and(|process| !process.inbox.is_empty());
        if !deaf {
            self.read_inbox(host);
            self.read_announced(host);
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
        if !deaf {
            self.judge_timers(host);
        }
        if self.is_stopping(host) {
            self.misannounce(host);
        } else {
            self.judge_turn(host);
        }
        while let Some((instance, generation)) = self.process(host).and_then(|p| p.written.pop_front()) {
            self.input(host, Input::AddressesSynced { instance, generation, failures: Vec::new() });
        }
        self.advance_writer(host);
        self.gather(host, heard);
        self.finish_turn(host);
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

    pub fn read_inbox(&mut self, host: HostId) {
        let (now, wall) = (self.now, self.wall(host));
        if let Some(process) = self.process(host) {
            process.receive_clock.begin_turn(now, wall);
        }
        while let Some(waiting) = self.process(host).and_then(|p| p.inbox.pop_front()) {
            let waited = wall.saturating_sub(waiting.stamp);
            let at = self.process(host).map_or(now, |process| process.receive_clock.received_at(now, waited));
            let Some(name) = self.meant(host, &waiting) else { continue };
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
            if self.bug.zip(config).is_some_and(|(bug, config)| bug.swallows(&waiting, config, state, ours)) {
                continue;
            }
            self.tell(|| {
                let priority = waiting.packet.pdu.get(2).copied().unwrap_or(0);
                format!("host {host} {name} hears {} of {} as {state} {ours}", priority, waiting.packet.source)
            });
            let at = match self.bug {
                Some(Bug::ClockBelieved) => now.checked_sub(waited).unwrap_or(now),
                Some(Bug::ReceiveTimeUnheeded) => now,
                _ => at,
            };
            self.input(host, Input::Advert(waiting.received(at)));
        }
        while let Some(socket) = self.process(host).and_then(|p| p.overflown.pop_first()) {
            self.tell(|| format!("host {host} has lost adverts"));
            let hosts = &self.hosts;
            self.oracle.on_lost(self.now, host, |name| {
                let config = hosts[host].config_of(name);
                let link = config.and_then(|c| Some(index(segment_of(c.interface.as_deref()?)?)));
                link == socket.interface && config.is_some_and(|c| c.family == socket.family)
            });
            if self.bug != Some(Bug::OverflowUnheeded) {
                self.input(host, Input::AdvertsLost(socket));
            }
        }
    }

    /// What other hosts announced, to a process that waits for its successor.
    fn read_announced(&mut self, host: HostId) {
        while let Some((interface, address)) = self.process(host).and_then(|p| p.announced.pop_front()) {
            self.tell(|| format!("host {host} hears that another has {address}"));
            if let Some(until) = self.lingering.get_mut(&(host, interface, address)) {
                *until = self.now.min(*until);
            }
            self.input(host, Input::Announced { interface, address, hardware: None });
        }
    }

    /// A successor has said that it is there.
    fn successor_heard(&mut self, host: HostId, addresses: &[IpAddr], at: Instant) {
        for ((h, _, address), until) in &mut self.lingering {
            if *h == host && addresses.contains(address) {
                *until = (at + AFTER_SUCCESSOR).min(*until);
            }
        }
    }

    /// For a planted bug.
    fn misannounce(&mut self, host: HostId) {
        if self.bug == Some(Bug::AnnouncesWhileLingering) {
            for (interface, address) in self.hosts[host].kernel.clone() {
                self.announce(host, segment(interface), address, 1);
            }
        }
    }

    pub fn read_message(&mut self, host: HostId, message: Message) {
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
                self.input(host, Input::Reconfigure(*diff));
                let names: Vec<_> = self.hosts[host].config.instances.keys().cloned().collect();
                for name in names {
                    let Some(config) = self.config(host, &name).cloned() else { continue };
                    self.oracle.on_reload(self.now, host, &name, &config);
                }
                self.forget_lingering(host);
                if let Some(process) = self.process(host) {
                    process.timer_lost = lost;
                }
            }
            Message::Failover(name) => {
                let now = self.now;
                let outcome = self.process(host).map(|process| process.engine.failover(now, &name));
                self.tell(|| format!("host {host} {name} is told to hand over: {outcome:?}"));
                self.settle(host);
                if self.bug == Some(Bug::HoldForgotten) {
                    self.input(host, Input::Maintenance(true));
                    self.input(host, Input::Maintenance(false));
                }
            }
            Message::Maintenance(on) if self.hosts[host].maintenance == on => {}
            Message::Maintenance(on) => {
                self.hosts[host].maintenance = on;
                self.oracle.on_maintenance(self.now, host);
                if self.bug != Some(Bug::MaintenanceForgotten) {
                    self.input(host, Input::Maintenance(on));
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
    pub fn judge_timers(&mut self, host: HostId) {
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
    pub fn finish_turn(&mut self, host: HostId) {
        let incarnation = self.hosts[host].incarnation;
        let stopping = self.is_stopping(host);
        let Some(process) = self.hosts[host].process.as_mut() else { return };
        let records = process.engine.poll_flight_records();
        let idle = process.writing.is_none() && process.queue.is_empty();
        let settled = if idle { std::mem::take(&mut process.unsettled) } else { 0 };
        process.timer += 1;
        let timer = process.timer;
        let stopped = process.engine.is_stopped();
        let next = process.engine.poll_timeout().filter(|_| !std::mem::take(&mut process.timer_lost));
        self.hosts[host].former.on_settled(settled);
        self.hosts[host].flight.extend(records.into_iter().map(|r| (r.instance, r.next_advert_at)));
        if stopping && idle && stopped {
            self.tell(|| format!("host {host} has stopped"));
            return self.end_process(host);
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

    pub fn input(&mut self, host: HostId, input: Input<'_>) {
        let now = self.now;
        if let Some(process) = self.process(host) {
            process.engine.handle_input(now, input);
        }
        self.settle(host);
    }

    /// Carries out all effects, in order.
    pub fn settle(&mut self, host: HostId) {
        while let Some(effect) = self.process(host).and_then(|p| p.engine.poll_effect()) {
            self.carry_out(host, effect);
        }
    }

    pub fn carry_out(&mut self, host: HostId, effect: Effect) {
        match effect {
            Effect::SendAdvert { instance, transmit } => {
                let name = self.hosts[host].process.as_ref().and_then(|p| p.engine.instance_name(instance));
                let Some(name) = name.map(ToOwned::to_owned) else {
                    // The last advert of an instance that is removed or replaced.
                    return self.transmit(host, transmit);
                };
                let zero = transmit.pdu.get(2) == Some(&0);
                if zero && self.bug == Some(Bug::ResignationWithheld) {
                    return;
                }
                let whole = transmit.socket.interface.is_none_or(|link| self.network.is_clean(segment(link)));
                self.goodbyes.insert((host, name.clone()), (whole, transmit.pdu.get(1).copied()));
                if self.bug == Some(Bug::LastAdvertWithheld) && !zero && self.is_backup_by_now(host, &name) {
                    return;
                }
                self.tell(|| {
                    let priority = transmit.pdu.get(2).copied().unwrap_or(0);
                    format!("host {host} {name} sends {priority} to {}", transmit.destination)
                });
                let storm = if self.bug == Some(Bug::AdvertStorm) { 200 } else { 1 };
                if self.is_stopping(host) && !zero {
                    let text = format!("host {host} {name} advertises, but has resigned");
                    self.oracle.broken(Rule::Linger, text);
                }
                if !zero {
                    self.judge_advert(host, &name);
                }
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

    pub fn emitted(&mut self, host: HostId, event: &Event) {
        match event {
            Event::StateChanged { instance, from, to, priority, cause, .. } => {
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
                self.judge_resignation(host, &change);
                match (*from, *to, cause) {
                    (StateName::Master, StateName::Stop, _) => self.lingers(host, &config),
                    (_, _, Cause::Failover | Cause::Maintenance) => self.lingers(host, &config),
                    // It ends with a fault, and with another identity.
                    (_, StateName::Fault | StateName::Init | StateName::Deleted, _) => {
                        let gone: Vec<_> = config.all_addresses().map(|a| a.address).collect();
                        self.lingering.retain(|(h, _, address), _| *h != host || !gone.contains(address));
                    }
                    _ => {}
                }
                self.oracle.on_state(self.now, host, &change);
            }
            Event::PriorityChanged { instance, to, .. } => {
                self.tell(|| format!("host {host} {instance} has priority {to}"));
                if let Some(config) = self.config(host, instance).cloned() {
                    self.oracle.on_priority(host, instance, &config, *to);
                }
            }
            Event::Warning { message, .. } if message.contains("somebody else") => {
                self.tell(|| format!("host {host}: {message}"));
                if self.removals[host].is_empty() {
                    let text = format!("host {host}: {message}, but nobody has removed anything");
                    self.oracle.broken(Rule::Cause, text);
                }
                self.miss_address(host);
            }
            other => self.tell(|| format!("host {host}: {other:?}")),
        }
    }

    /// A master was told to stop: its addresses may stay for the longest skew of a successor, and must until then.
    fn lingers(&mut self, host: HostId, config: &InstanceConfig) {
        let until = self.now + (config.advert_interval.duration() * 255 / 256).min(LONGEST_LINGER);
        let Some(segment) = config.interface.as_deref().and_then(segment_of) else { return };
        for address in config.all_addresses() {
            self.lingering.insert((host, index(segment), address.address), until);
        }
        if self.bug == Some(Bug::ReleasedAtOnce) {
            self.release(host, config);
        }
    }

    /// A reload took addresses away, which are not kept for a successor.
    fn forget_lingering(&mut self, host: HostId) {
        let config = self.hosts[host].process.as_ref().map(|process| process.engine.config()).unwrap_or_default();
        let kept: BTreeSet<_> = config
            .instances
            .values()
            .flat_map(|i| {
                i.all_addresses().map(|a| (i.interface.as_deref().and_then(segment_of).map(index), a.address))
            })
            .collect();
        self.lingering.retain(|(h, link, address), _| *h != host || kept.contains(&(Some(*link), *address)));
    }

    fn is_backup_by_now(&mut self, host: HostId, name: &str) -> bool {
        let shown = self.process(host).and_then(|p| p.engine.snapshot().instances.remove(name));
        shown.is_some_and(|shown| shown.state == StateName::Backup)
    }

    /// The names of the routers that a host is master of.
    pub fn masters(&self, host: HostId) -> BTreeSet<String> {
        let books = self.oracle.books.iter().filter(|((h, _), b)| *h == host && b.state == StateName::Master);
        books.map(|((_, name), _)| name.clone()).collect()
    }
}
