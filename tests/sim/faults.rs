//! What befalls the hosts and the network, and what main does about it.
//!
//! Pure.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast::vrrp::config::{ConfigDiff, VrrpConfig};
use holdfast::vrrp::engine::{Input, VrrpEngine};
use holdfast::vrrp::snapshot::FlightRecord;

use crate::host::{Message, Process, segment};
use crate::network::Segment;
use crate::planted::Bug;
use crate::scenario::{Fault, HostId, tracker};
use crate::world::{Happening, World};

impl World {
    pub fn fault(&mut self, fault: Fault) {
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
            Fault::Within(host, steps, fault) => self.ambushes[host].push_back((steps, *fault)),
            Fault::Crash(host) => {
                self.end_process(host);
                self.hosts[host].restarting = false;
                self.hosts[host].kernel.clear();
                self.hosts[host].booted = None;
            }
            Fault::Kill(host, time) => self.kill(host, time),
            Fault::Stop(host) => self.say(host, Message::Stop),
            Fault::Start(host) => {
                // Main starts the next process when the last one has ended.
                if self.hosts[host].process.as_ref().is_some_and(|process| process.stopping) {
                    return self.plan(self.scenario.write_time, Happening::Fault(Fault::Start(host)));
                }
                if self.hosts[host].process.is_none() && !self.hosts[host].restarting {
                    self.start_process(host, false);
                }
            }
            Fault::Reload(host, config) => self.reload(host, config),
            Fault::Remove(host, n) => self.remove_address(host, n),
            Fault::SwallowGoodbyes(swallows) => self.network.swallows_goodbyes = swallows,
            Fault::SlowWriter(host, time) => {
                let before = std::mem::replace(&mut self.hosts[host].slow_writer, time);
                // What is being written, and what waits behind it, takes as long as it takes.
                self.disturbed[host] = self.disturbed[host].max(self.now + before * 8);
            }
            Fault::ClockStep(host, ahead, by) => {
                let wall = &mut self.hosts[host].wall;
                *wall = if ahead { *wall + by } else { wall.saturating_sub(by) };
            }
            Fault::Failover(host, name) => self.say(host, Message::Failover(name)),
            Fault::Maintenance(host, on) => {
                if self.hosts[host].process.is_some() {
                    self.say(host, Message::Maintenance(on));
                } else {
                    self.hosts[host].maintenance = on;
                }
            }
            Fault::SlowTracker(host, time) => self.hosts[host].slow_tracker = Some(time),
            Fault::Tracker(host, status) => {
                self.hosts[host].tracker = status;
                self.say(host, Message::Tracker(status));
            }
        }
    }

    pub fn heal(&mut self) {
        self.tell(|| "all faults end".to_owned());
        self.network.heal();
        for host in 0..self.hosts.len() {
            self.ambushes[host].clear();
            self.resume(host);
            for segment in 0..self.scenario.segments {
                self.set_carrier(host, segment, true);
            }
            if !self.scenario.absent.contains(&host) {
                self.fault(Fault::Start(host));
            }
        }
    }

    pub fn set_carrier(&mut self, host: HostId, segment: Segment, up: bool) {
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

    pub fn link_changed(&mut self, host: HostId, segment: Segment) {
        if let Some(process) = &mut self.hosts[host].process {
            process.links.insert(segment);
        }
        self.wake(host);
    }

    pub fn pause(&mut self, host: HostId, time: Duration) {
        let incarnation = self.hosts[host].incarnation;
        let Some(process) = self.hosts[host].process.as_mut().filter(|process| !process.paused) else { return };
        process.paused = true;
        self.plan(time, Happening::Resume { host, incarnation });
    }

    pub fn resume(&mut self, host: HostId) {
        let Some(process) = self.hosts[host].process.as_mut().filter(|process| process.paused) else { return };
        process.paused = false;
        self.disturb(host);
        self.tell(|| format!("host {host} goes on"));
        self.turn(host);
    }

    pub fn kill(&mut self, host: HostId, time: Duration) {
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

    /// Behind the back of the vrrp process.
    fn remove_address(&mut self, host: HostId, n: usize) {
        let Some((interface, address)) = self.hosts[host].kernel.iter().cycle().nth(n).copied() else { return };
        self.hosts[host].kernel.remove(&(interface, address));
        if self.bug == Some(Bug::LossUnheeded) {
            return;
        }
        self.disturb(host);
        self.removals[host].push(self.now);
        if address.is_ipv6() {
            self.removed_v6.insert((host, address), self.now);
        }
        // Nobody puts back what is given up: it may be gone sooner.
        self.lingering.remove(&(host, interface, address));
        self.link_changed(host, segment(interface));
    }

    /// The vrrp process knows of a removal. From now on it may take its time, if that happens again and again.
    pub fn miss_address(&mut self, host: HostId) {
        const CALM: Duration = Duration::from_secs(60);
        self.disturb(host);
        let now = self.now;
        let missed = &mut self.missed[host];
        if missed.last().is_some_and(|last| *last + CALM < now) {
            missed.clear();
        }
        if let Some(in_a_row) = u32::try_from(missed.len()).ok().filter(|n| *n > 0) {
            self.disturbed[host] += Duration::from_millis(100) * 2_u32.pow(in_a_row);
        }
        missed.push(now);
    }

    pub fn end_process(&mut self, host: HostId) {
        self.lingering.retain(|(h, _, _), _| *h != host);
        let unheard = self.hosts[host].process.take().map(|process| process.messages).unwrap_or_default();
        unheard.iter().for_each(|message| self.hosts[host].note_unheard(message));
        self.hosts[host].incarnation += 1;
        self.oracle.forget(host);
        self.disturb(host);
    }

    pub fn reload(&mut self, host: HostId, config: Box<VrrpConfig>) {
        if self.hosts[host].restarting {
            self.hosts[host].postponed = Some(config);
            return;
        }
        let state = &mut self.hosts[host];
        let diff = ConfigDiff::between(&state.config, &config);
        if state.process.is_some() {
            state.former.on_reload(&state.config, &config);
        }
        state.config = *config;
        self.say(host, Message::Reload(Box::new(diff)));
    }

    pub fn say(&mut self, host: HostId, message: Message) {
        if let Some(process) = &mut self.hosts[host].process {
            process.messages.push_back(message);
        }
        self.wake(host);
    }

    /// As main and `Process::start` do it: trackers first, then links.
    pub fn start_process(&mut self, id: HostId, adopt: bool) {
        self.tell(|| format!("host {id} starts, adopting: {adopt}"));
        let late = self.bug == Some(Bug::AdoptionWithoutDeadline);
        let hasty = self.bug == Some(Bug::StartupDelayIgnored);
        let (now, wall) = (self.now, self.wall(id));
        let host = &mut self.hosts[id];
        host.restarting = false;
        host.incarnation += 1;
        if !adopt {
            host.flight.clear();
        }
        let record =
            |(name, at): (&Arc<str>, &Option<Instant>)| FlightRecord { instance: name.clone(), next_advert_at: *at };
        let records: Vec<_> = host.flight.iter().map(record).collect();
        let mut forged = records.clone();
        if late {
            for record in &mut forged {
                let interval = host.config.instances.get(&*record.instance).map(|c| c.advert_interval.duration());
                record.next_advert_at = record.next_advert_at.and(interval).map(|interval| now + interval);
            }
        }
        // Who replaces another process knows that its cluster is alive.
        let global = host.config.global.clone();
        let mut held_until = if records.is_empty() { now + global.startup_delay } else { now };
        if !adopt {
            held_until = held_until.max(*host.booted.get_or_insert(now) + global.delay_after_boot);
        }
        let mut config = host.config.clone();
        if hasty {
            config.global.startup_delay = Duration::ZERO;
        }
        let mut engine = VrrpEngine::new(now, config, &forged);
        if !hasty {
            engine.hold_until(held_until);
        }
        host.process = Some(Process::new(engine, &records, (now, wall), held_until));
        if !adopt {
            host.former.forget();
        }
        let former = host.former.on_start();
        self.queue_removal(id, &former);
        self.oracle.forget(id);
        self.disturb(id);
        let mut begin = VecDeque::new();
        if self.hosts[id].maintenance && self.bug != Some(Bug::MaintenanceForgotten) {
            begin.push_back(Input::Maintenance(true));
        }
        let status = self.hosts[id].tracker;
        match self.hosts[id].slow_tracker.filter(|_| !adopt) {
            Some(time) => {
                let incarnation = self.hosts[id].incarnation;
                self.plan(time, Happening::Tracked { host: id, incarnation });
            }
            // Main tells a restarted process what it knows.
            None => begin.push_back(Input::Tracker { key: tracker(), status }),
        }
        begin.extend((0..self.scenario.segments).map(|segment| Input::Link(self.hosts[id].link(segment))));
        if let Some(process) = self.process(id) {
            process.begin = begin;
        }
        self.turn(id);
        if let Some(config) = self.hosts[id].postponed.take() {
            self.reload(id, config);
        }
    }
}
