//! What an engine wants done, carried out one by one, and what the book notes of it.
//!
//! Pure. The book goes by the time that the engine was told, the network and the kernel by the time that it is.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use holdfast::vrrp::config::InstanceConfig;
use holdfast::vrrp::engine::Effect;
use holdfast::vrrp::event::{Cause, Event, StateName};

use crate::host::{index, segment};
use crate::oracle::{Change, Rule};
use crate::planted::Bug;
use crate::scenario::{HostId, segment_of};
use crate::world::{Linger, World};

/// The longest linger, whatever the interval.
const LONGEST_LINGER: Duration = Duration::from_secs(2);

impl World {
    /// Carries out one.
    pub fn carry_out(&mut self, host: HostId, effect: Effect) {
        let told = self.told(host);
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
                let storm = match self.bug {
                    Some(Bug::AdvertStorm) => 200,
                    Some(Bug::MissedAdvertsMadeUp) => self.missed_adverts(host, &name) + 1,
                    _ => 1,
                };
                if self.is_stopping(host) && !zero {
                    let text = format!("host {host} {name} advertises, but has resigned");
                    self.oracle.broken(Rule::Linger, text);
                }
                if !zero {
                    self.judge_advert(host, &name);
                }
                if let Some(config) = self.hosts[host].config_of(&name) {
                    for _ in 0..storm {
                        self.oracle.on_send(told, host, &name, transmit.destination, config, zero);
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
                let mut cause = cause.clone();
                if let (Some(Bug::LatenessUntold), Cause::MasterSilent { late, .. }) = (self.bug, &mut cause) {
                    *late = Duration::ZERO;
                }
                let cause = &cause;
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
                self.oracle.on_state(self.told(host), host, &change);
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
        let until = self.told(host) + (config.advert_interval.duration() * 255 / 256).min(LONGEST_LINGER);
        let Some(segment) = config.interface.as_deref().and_then(segment_of) else { return };
        for address in config.all_addresses().map(|a| a.address) {
            let required =
                self.removals[host].is_empty() || self.hosts[host].kernel.contains(&(index(segment), address));
            self.lingering.insert((host, index(segment), address), Linger { until, required });
        }
        if self.bug == Some(Bug::ReleasedAtOnce) {
            self.release(host, config);
        }
    }

    /// A reload took addresses away, which are not kept for a successor.
    pub fn forget_lingering(&mut self, host: HostId) {
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

    /// For a planted bug: how many adverts a master has missed.
    fn missed_adverts(&mut self, host: HostId, name: &str) -> u32 {
        let interval = self.config(host, name).map_or(Duration::MAX, |config| config.advert_interval.duration());
        let told = self.told(host);
        let missed = |by: Instant| told.saturating_duration_since(by).as_nanos() / interval.as_nanos();
        self.oracle.book(host, name).advert_by.map_or(0, |by| u32::try_from(missed(by)).expect("few"))
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
