//! The rules that look at a whole host or at the whole cluster.
//!
//! Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use holdfast::vrrp::config::InstanceConfig;
use holdfast::vrrp::event::{Cause, FaultReason, StateName, TrackerStatus};
use holdfast::vrrp::packet;
use holdfast::vrrp::types::{Family, IfIndex};

use crate::host::{Waiting, index};
use crate::network::Segment;
use crate::oracle::{Change, Rule, is_acceptable, is_timer, read};
use crate::planted::Bug;
use crate::scenario::{HostId, link_name, own_address};
use crate::world::{Linger, World};

/// Timeouts in any second, beside three for each interval of each router in it: announcements, deadlines that moved.
const EXTRA_TIMEOUTS: usize = 60;

/// How long the engine waits for news of an IPv6 address, and then for a timer.
const V6_LOOK: Duration = Duration::from_secs(10);

impl World {
    /// The configuration that a host's engine goes by.
    pub fn config(&self, host: HostId, name: &str) -> Option<&InstanceConfig> {
        self.hosts[host].config_of(name)
    }

    /// The router that a packet is meant for.
    pub fn meant(&self, host: HostId, waiting: &Waiting) -> Option<String> {
        let vrid = packet::peek_vrid(&waiting.packet.pdu)?;
        let process = self.hosts[host].process.as_ref()?;
        let on = |config: &InstanceConfig| {
            let segment = (0..self.scenario.segments).find(|s| config.interface == Some(link_name(*s)));
            config.vrid == vrid
                && config.family == waiting.socket.family
                && segment.map(index) == waiting.socket.interface
        };
        process.engine.instance_configs().find(|(_, config)| on(config)).map(|(name, _)| name.to_owned())
    }

    /// How late a deadline may be met by a process that is not stalled.
    fn slack(&self) -> Duration {
        self.scenario.turn_delay * 4
    }

    /// How long the addresses may differ from the state.
    fn hand_over(&self, host: HostId) -> Duration {
        let routers = self.hosts.iter().map(|host| host.config.instances.len()).max().unwrap_or(0);
        let write_time = self.scenario.write_time + self.hosts[host].slow_writer;
        self.slack() + write_time * (2 * u32::try_from(routers).expect("few") + 2)
    }

    /// How much earlier than due the engine is told of deadlines: only with a planted bug.
    pub fn hurry(&self, bug: Bug, host: HostId) -> Duration {
        let backups = self.oracle.books.iter().filter(|((h, _), b)| *h == host && b.state == StateName::Backup);
        // Whose hand-over is not to end early.
        let backups = backups.filter(|_| !self.lingering.keys().any(|(h, _, _)| *h == host));
        let skews = backups.filter_map(|((_, name), b)| Some(bug.hurry(self.config(host, name)?, b.priority)));
        skews.max().unwrap_or_default()
    }

    // ---- within turns -----------------------------------------------------------------------------------------

    /// A timer of a host fired.
    pub fn count_timeout(&mut self, host: HostId) {
        let (now, fired) = (self.now, &mut self.timeouts[host]);
        fired.push_back(now);
        while fired.front().is_some_and(|at| *at + Duration::from_secs(1) < now) {
            fired.pop_front();
        }
        let intervals = self.hosts[host].config.instances.values().map(|c| c.advert_interval.duration());
        let per_second = intervals.map(|i| 3 * usize::try_from(1000 / i.as_millis()).expect("not many")).sum::<usize>();
        if fired.len() > per_second + EXTRA_TIMEOUTS {
            let text = format!("host {host} was woken {} times by its timer within a second", fired.len());
            self.oracle.broken(Rule::BusyLoop, text);
        }
    }

    /// The names of the routers that a host is backup for.
    pub fn backups(&self, host: HostId) -> BTreeSet<String> {
        let books = self.oracle.books.iter().filter(|((h, _), b)| *h == host && b.state == StateName::Backup);
        books.map(|((_, name), _)| name.clone()).collect()
    }

    /// A backup's deadline was judged, and it is about to be master: no advert of an acceptable master may have waited that
    /// came before the deadline, or before the turn began.
    fn judge_waiting(&mut self, host: HostId, change: &Change<'_>) {
        let Change { name, config, priority: ours, .. } = *change;
        let Some(process) = self.hosts[host].process.as_ref().filter(|p| !p.inbox.is_empty()) else { return };
        let inbox = process.inbox.clone();
        let begun = process.turn.as_ref().map(|turn| turn.begun);
        let deadline = self.oracle.book(host, name).listener.as_ref().map(|l| l.deadline(config, ours));
        for waiting in inbox.iter().filter(|w| begun.max(deadline).is_some_and(|until| w.arrived < until)) {
            if self.meant(host, waiting).as_deref() != Some(name) {
                continue;
            }
            let acceptable = read(config, &waiting.packet).filter(|heard| is_acceptable(config, ours, *heard));
            if let Some(heard) = acceptable {
                let text = format!("host {host} {name} ({ours}) took over while {heard:?} waited in its socket");
                self.oracle.broken(Rule::MasterWaiting, text);
            }
        }
    }

    /// A state changed.
    pub fn judge_change(&mut self, host: HostId, change: &Change<'_>) {
        let Change { name, from, to, cause, .. } = *change;
        if to == StateName::Master && is_timer(cause) {
            self.judge_waiting(host, change);
        }
        if to == StateName::Master && self.hosts[host].maintenance {
            let text = format!("host {host} {name} became master in maintenance: {cause}");
            self.oracle.broken(Rule::Maintenance, text);
        }
        let held_until = self.hosts[host].process.as_ref().map(|process| process.held_until);
        let now = self.told(host);
        if let Some(until) =
            held_until.filter(|until| now < *until && matches!(to, StateName::Backup | StateName::Master))
        {
            let text = format!("host {host} {name} became {to} {:?} before the end of its start-up delay", until - now);
            self.oracle.broken(Rule::StartupDelay, text);
        }
        if self.calm {
            let text = format!("host {host} {name} went from {from} to {to} long after the last fault: {cause}");
            self.oracle.broken(Rule::Calm, text);
        }
        let sentence = cause.to_string();
        if !cause.explains(from, to) || sentence.is_empty() || sentence.contains("unknown") {
            let text = format!("host {host} {name} went from {from} to {to}, which “{sentence}” does not explain");
            self.oracle.broken(Rule::Cause, text);
        }
        match cause {
            Cause::Adopted => {
                let process = self.hosts[host].process.as_ref();
                let due = process.and_then(|p| p.adopted.get(name)).copied();
                if due.is_none_or(|due| due <= now) {
                    let text = format!("host {host} {name} adopted mastership, but {due:?} is not after {now:?}");
                    self.oracle.broken(Rule::Adoption, text);
                }
            }
            Cause::Fault { reasons } => {
                let carrier = &self.hosts[host].carrier;
                // It came back a moment ago, of which the process has not heard.
                let is_news = |s| self.hosts[host].process.as_ref().is_some_and(|process| process.links.contains(&s));
                let is_false = |reason: &&FaultReason| {
                    matches!(reason, FaultReason::InterfaceDown(link)
                        if (0..carrier.len()).any(|s| link_name(s) == *link && carrier[s] && !is_news(s)))
                };
                if let Some(reason) = reasons.iter().find(is_false) {
                    self.oracle.broken(Rule::Cause, format!("host {host} {name}: {reason} is not so"));
                }
            }
            _ => {}
        }
    }

    /// Who gives up mastership, and not because of a better master, has said so.
    pub fn judge_resignation(&mut self, host: HostId, change: &Change<'_>) {
        let Change { name, from, to, cause, .. } = *change;
        // One that a reload replaced has said it under a number that has no name any more.
        let replaced = to == StateName::Init;
        if from != StateName::Master || replaced || matches!(cause, Cause::BetterMaster { .. }) {
            return;
        }
        let now = self.told(host);
        if self.oracle.book(host, name).resigned_at != Some(now) {
            self.oracle.broken(Rule::Resignation, format!("host {host} {name} did not say that it goes: {cause}"));
        }
    }

    /// A master is about to advertise: in time, by the interval since the advert before was due, if it was not stalled.
    pub fn judge_advert(&mut self, host: HostId, name: &str) {
        let (now, disturbed, slack) = (self.now, self.disturbed[host], self.slack());
        let by = self.oracle.book(host, name).advert_by;
        if let Some(by) = by.map(|by| by.max(disturbed)).filter(|by| *by + slack < now) {
            let text = format!("host {host} {name} advertises {:?} after it was due", now - by);
            self.oracle.broken(Rule::AdvertGap, text);
        }
    }

    /// The end of a turn.
    pub fn judge_turn(&mut self, host: HostId, begun: Instant) {
        let names: Vec<_> = self.hosts[host].config.instances.keys().cloned().collect();
        for name in &names {
            let book = self.oracle.book(host, name);
            if book.resigned_at.take().is_some() && book.state == StateName::Master {
                let text = format!("host {host} {name} resigned and is still master");
                self.oracle.broken(Rule::Resignation, text);
            }
        }
        let groups: Vec<_> = match &self.hosts[host].process {
            Some(process) => {
                process.engine.group_configs().iter().map(|(n, g)| (n.clone(), g.members.clone())).collect()
            }
            None => return,
        };
        for (group, members) in groups {
            let masters = self.masters(host);
            if members.iter().any(|m| masters.contains(m)) && !members.iter().all(|m| masters.contains(m)) {
                let text = format!("host {host} {group}: of {members:?} only {masters:?} are master");
                self.oracle.broken(Rule::Group, text);
            }
            for name in members.into_iter().filter(|_| !self.hosts[host].maintenance) {
                if let Some(config) = self.hosts[host].config_of(&name) {
                    self.oracle.note_expired(begun, host, &name, config);
                }
            }
        }
    }

    // ---- at any time ------------------------------------------------------------------------------------------

    /// Looks at every host that is not stalled.
    pub fn audit(&mut self) {
        for host in 0..self.hosts.len() {
            self.audit_addresses(host);
            if self.hosts[host].awake().is_some_and(|process| !process.stopping) {
                self.audit_deadlines(host);
            }
        }
    }

    fn audit_addresses(&mut self, host: HostId) {
        let state = &self.hosts[host];
        let stalled = state.process.is_some() && state.awake().is_none();
        if stalled || state.restarting || self.now <= self.disturbed[host] + self.hand_over(host) {
            return;
        }
        let expected = self.expected(host);
        let lingering = self.lingering.iter().filter(|((h, _, _), _)| *h == host);
        let lingering: Vec<_> = lingering.map(|((_, link, address), linger)| ((*link, *address), *linger)).collect();
        let kept = |linger: &Linger| linger.required && self.now < linger.until;
        let required: BTreeSet<_> = lingering.iter().filter(|(_, linger)| kept(linger)).map(|(a, _)| *a).collect();
        let late = self.hand_over(host);
        let allowed: BTreeSet<_> =
            lingering.iter().filter(|(_, linger)| self.now <= linger.until + late).map(|(a, _)| *a).collect();
        let kernel = &self.hosts[host].kernel;
        // Of an IPv6 address the kernel tells later than it answers: one that was removed in between is looked for then.
        let looked_for =
            |address: IpAddr| self.removed_v6.get(&(host, address)).is_some_and(|at| self.now < *at + V6_LOOK);
        let missing = expected.union(&required).filter(|a| !kernel.contains(a) && !looked_for(a.1));
        let missing: Vec<_> = missing.collect();
        let left: Vec<_> = kernel.iter().filter(|a| !expected.contains(a) && !allowed.contains(a)).collect();
        if !missing.is_empty() || !left.is_empty() {
            let masters = self.masters(host);
            let text = format!("host {host}, master of {masters:?}, lacks {missing:?} and should not have {left:?}");
            self.oracle.broken(Rule::Addresses, text);
        }
    }

    /// The addresses of all routers that a host is master of.
    fn expected(&self, host: HostId) -> BTreeSet<(IfIndex, IpAddr)> {
        let masters = self.masters(host);
        let configs = masters.iter().filter_map(|name| self.config(host, name));
        configs
            .flat_map(|config| {
                let segment = (0..self.scenario.segments).find(|s| config.interface == Some(link_name(*s)));
                config.all_addresses().filter_map(move |a| Some((index(segment?), a.address)))
            })
            .collect()
    }

    fn audit_deadlines(&mut self, host: HostId) {
        let slack = self.slack();
        let names: Vec<_> = self.hosts[host].config.instances.keys().cloned().collect();
        // As the engine has them: main may have read a reload of which the engine has not heard yet.
        let groups = self.hosts[host].process.as_ref().map(|p| p.engine.group_configs().clone()).unwrap_or_default();
        for name in &names {
            let (now, disturbed) = (self.now, self.disturbed[host]);
            let book = self.oracle.book(host, name);
            let advert_by = book.advert_by.filter(|_| book.state == StateName::Master).map(|by| by.max(disturbed));
            if let Some(by) = advert_by.filter(|by| *by + slack < now) {
                let text = format!("host {host} {name} is master and has been silent for {:?} too long", now - by);
                self.oracle.broken(Rule::AdvertGap, text);
            }
            let group = groups.values().find(|g| g.members.contains(name));
            let members = group.map_or_else(|| vec![name.clone()], |g| g.members.clone());
            let due: Option<Vec<Instant>> = members.iter().map(|member| self.deadline(host, member)).collect();
            let Some(due) = due.and_then(|due| due.into_iter().max()) else { continue };
            if due + slack < now {
                let text = format!("host {host} {name} should have taken over {:?} ago", now - due);
                self.oracle.broken(Rule::LateTakeover, text);
            }
        }
    }

    /// When a backup must be master.
    fn deadline(&self, host: HostId, name: &str) -> Option<Instant> {
        let book = self.oracle.books.get(&(host, name.to_owned()))?;
        let config = self.config(host, name)?;
        if self.hosts[host].maintenance {
            return None;
        }
        let deadline = book.listener.as_ref()?.deadline(config, book.priority);
        // A deadline that passed during a stall, or that a reload moved, is met in the next turn.
        Some(deadline.max(self.disturbed[host]))
    }

    // ---- at rest ----------------------------------------------------------------------------------------------

    /// The faults are over and the bound has passed.
    pub fn judge_settled(&mut self) {
        self.audit();
        let names: BTreeSet<String> = self.hosts.iter().flat_map(|h| h.config.instances.keys().cloned()).collect();
        for name in &names {
            self.judge_router(name);
        }
        for host in 0..self.hosts.len() {
            self.judge_snapshot(host);
        }
    }

    fn judge_router(&mut self, name: &str) {
        let running = |host: &HostId| self.hosts[*host].process.is_some();
        let masters: Vec<HostId> =
            (0..self.hosts.len()).filter(running).filter(|host| self.masters(*host).contains(name)).collect();
        let able: Vec<(HostId, u8)> =
            (0..self.hosts.len()).filter(running).filter_map(|host| Some((host, self.standing(host, name)?))).collect();
        let [master] = masters[..] else {
            if !(able.is_empty() && masters.is_empty()) {
                let text = format!("{name} has the masters {masters:?} of the hosts and priorities {able:?}");
                self.oracle.broken(Rule::OneMaster, text);
            }
            return;
        };
        let Some(ours) = able.iter().find(|(host, _)| *host == master).map(|(_, priority)| *priority) else {
            return self.oracle.broken(Rule::RightMaster, format!("{name}: host {master} should be in FAULT"));
        };
        let preempts = |host: HostId| self.config(host, name).is_some_and(|config| config.preempt);
        if let Some((better, theirs)) = able.iter().find(|(host, priority)| preempts(*host) && *priority > ours) {
            let text = format!("{name}: master is host {master} ({ours}), but host {better} ({theirs}) preempts");
            return self.oracle.broken(Rule::RightMaster, text);
        }
        self.judge_clients(name, master);
    }

    /// A host's effective priority for a router; `None` when it must be in FAULT.
    fn standing(&self, host: HostId, name: &str) -> Option<u8> {
        let config = self.config(host, name)?;
        let group = self.hosts[host].config.groups.values().find(|g| g.members.iter().any(|m| m == name));
        let members = group.map_or_else(|| vec![name.to_owned()], |g| g.members.clone());
        let down = self.hosts[host].tracker == TrackerStatus::Down;
        let faulty =
            |member: &String| down && self.config(host, member).is_some_and(|c| c.tracks.iter().any(|t| t.weight == 0));
        if members.iter().any(faulty) {
            return None;
        }
        if config.priority.is_owner() {
            return Some(255);
        }
        let weigh = |weight: i16, reverse: bool| match (weight > 0) != down {
            true if reverse => -i32::from(weight),
            true => weight.into(),
            false => 0,
        };
        let sum: i32 = config.tracks.iter().map(|t| weigh(t.weight, t.reverse)).sum();
        u8::try_from((i32::from(config.priority.value()) + sum).clamp(1, 254)).ok()
    }

    /// The client's cache points to the master, unless the announcement that would say so was lost, or the
    /// master could not know that another host had misled it.
    fn judge_clients(&mut self, name: &str, master: HostId) {
        let Some(config) = self.config(master, name) else { return };
        let Some(segment) = (0..self.scenario.segments).find(|s| config.interface == Some(link_name(*s))) else {
            return;
        };
        // Strict routers do not tell anybody of a contest.
        if config.strict {
            return;
        }
        let addresses: Vec<IpAddr> = config.all_addresses().map(|address| address.address).collect();
        for address in addresses {
            let told = self.announced.get(&(master, address));
            let learned = self.clients[segment].get(&address).copied();
            let Some(ours) = told else {
                let text = format!("{name}: host {master} has never announced {address}");
                self.oracle.broken(Rule::Client, text);
                continue;
            };
            let unheard = |other| !self.has_heard(master, name, other, segment, address);
            // A roll-out gives the router another VRID on one host after the other: they do not hear each other meanwhile.
            let vrid = self.config(master, name).map(|config| config.vrid.value());
            let goodbye = |other| self.goodbyes.get(&(other, name.to_owned()));
            let lost = |other| goodbye(other).is_some_and(|(whole, last)| !whole || *last != vrid);
            let excused = !ours.undisturbed || learned.is_some_and(|other| unheard(other) && lost(other));
            if learned != Some(master) && !excused {
                let text = format!("{name}: the client sends {address} to {learned:?}, but host {master} is master");
                self.oracle.broken(Rule::Client, text);
            }
        }
    }

    /// Whether a master has heard another host since that one's last announcement. One that yields says so, but that may
    /// be lost in a network with faults: then it has misled clients, and nobody knows.
    fn has_heard(&self, master: HostId, name: &str, other: HostId, segment: Segment, address: IpAddr) -> bool {
        let family = Family::of(address);
        let heard = self.oracle.heard.get(&(master, name.to_owned(), own_address(other, segment, family)));
        let announced = self.announced.get(&(other, address));
        heard.is_some_and(|heard| announced.is_some_and(|announced| *heard >= announced.at))
    }

    /// What the engine shows is what was seen.
    fn judge_snapshot(&mut self, host: HostId) {
        let Some(process) = self.hosts[host].process.as_ref().filter(|process| process.turn.is_none()) else { return };
        for (name, shown) in process.engine.snapshot().instances {
            let standing = self.standing(host, &name);
            let book = self.oracle.book(host, &name);
            let priority = standing.is_none_or(|priority| priority == shown.effective_priority);
            if book.state != shown.state || !priority || (shown.state == StateName::Fault) != standing.is_none() {
                let text = format!("host {host} {name} shows {shown:?}, but was seen {} ({standing:?})", book.state);
                self.oracle.broken(Rule::Cause, text);
            }
        }
    }
}
