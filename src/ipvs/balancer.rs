//! Decides who gets the traffic of every virtual server.
//!
//! Pure: time is passed in. What goes in: checkers' reports, the state of VRRP instances, the addresses of this host, an
//! operator's word, a new configuration. What comes out: effects, and the desired [`ServiceTable`], which whoever drives
//! this carries to a data plane. The balancer knows no data plane and waits for nothing.
//!
//! ```text
//!   handle_input / handle_timeout ──▶ poll_effect until None ──▶ desired() if Effect::Apply came ──▶ wait until poll_timeout
//! ```
//!
//! Law: a reload from A to B leaves what a start on B would have made, but for what is known of real servers' health
//! (with the hysteresis of quorum and panic) and what an operator said.

mod real_server;
mod virtual_server;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::config::{BalancerConfig, BalancerGlobal, GroupConfig, VirtualServerConfig, VirtualServerId};
use super::diff::BalancerDiff;
use super::event::{AdminState, Cause, CheckerKind, Event};
use super::groups;
use super::snapshot::{CheckerSnapshot, RealServerSnapshot, Snapshot, VirtualServerSnapshot};
use super::table::{Service, ServiceTable};
use super::types::{ServiceKey, SocketKey};
use crate::checkers::config::{CheckerConfig, Pages};
use crate::checkers::report::{CheckReport, CheckerId, Health};
use virtual_server::VirtualServer;

/// What the balancer is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A checker's word.
    Check(CheckReport),
    /// Whether a VRRP instance is master.
    Instance {
        /// Its name.
        name: String,
        /// It is.
        master: bool,
    },
    /// All addresses of this host, for `ha_suspend`. Until this is said all are taken to be here.
    Addresses(BTreeSet<IpAddr>),
    /// An operator's word about a real server.
    Admin {
        /// Its virtual server.
        virtual_server: VirtualServerId,
        /// Which.
        real_server: SocketKey,
        /// From now on.
        state: AdminState,
    },
    /// A reload: what changes of what was said before.
    Reconfigure(Box<BalancerDiff>),
    /// The end: nothing is desired any more.
    Stop,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// [`Balancer::desired`] has changed.
    Apply,
    /// Tell people.
    Emit(Event),
    /// Checkers of a virtual server are to rest, or to go on.
    PauseChecks {
        /// Which.
        virtual_server: VirtualServerId,
        /// To rest.
        paused: bool,
    },
}

/// The balancer.
#[derive(Debug)]
pub struct Balancer {
    global: BalancerGlobal,
    groups: BTreeMap<String, GroupConfig>,
    virtual_servers: BTreeMap<VirtualServerId, VirtualServer>,
    owners: BTreeMap<ServiceKey, VirtualServerId>,
    masters: BTreeSet<String>,
    addresses: Option<BTreeSet<IpAddr>>,
    desired: ServiceTable,
    changed: bool,
    /// Virtual servers with a slow start under way.
    climbing: BTreeSet<VirtualServerId>,
    effects: VecDeque<Effect>,
}

impl Balancer {
    /// Starts with a configuration. `masters`: the instances that are master now.
    pub fn new(now: Instant, config: BalancerConfig, masters: BTreeSet<String>) -> Self {
        let mut balancer = Self {
            global: BalancerGlobal::default(),
            groups: BTreeMap::new(),
            virtual_servers: BTreeMap::new(),
            owners: BTreeMap::new(),
            masters,
            addresses: None,
            desired: ServiceTable::default(),
            changed: true,
            climbing: BTreeSet::new(),
            effects: VecDeque::new(),
        };
        balancer.reconfigure(now, BalancerDiff::from_nothing(config), true);
        balancer
    }

    /// Takes one input. Poll the effects to `None` afterwards.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Check(report) => self.on_report(now, report),
            Input::Instance { name, master } => {
                let news = if master { self.masters.insert(name) } else { self.masters.remove(&name) };
                if news {
                    self.look_at_surroundings(now);
                }
            }
            Input::Addresses(addresses) => {
                self.addresses = Some(addresses);
                self.look_at_surroundings(now);
            }
            Input::Admin { virtual_server, real_server, state } => {
                self.on_admin(now, &virtual_server, real_server, state);
            }
            Input::Reconfigure(diff) => self.reconfigure(now, *diff, false),
            Input::Stop => self.stop(),
        }
    }

    /// Takes the steps of slow starts that are due. Harmless when none is.
    pub fn handle_timeout(&mut self, now: Instant) {
        for id in std::mem::take(&mut self.climbing) {
            self.publish(now, &id);
        }
    }

    /// When [`Self::handle_timeout`] is to be called; may change with every input and timeout.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.climbing.iter().filter_map(|id| self.virtual_servers.get(id)?.next_step(now)).min()
    }

    /// The next thing to do.
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front().or_else(|| std::mem::take(&mut self.changed).then_some(Effect::Apply))
    }

    /// What the data planes should have.
    pub fn desired(&self) -> &ServiceTable {
        &self.desired
    }

    /// The process-wide settings in force.
    pub fn global(&self) -> &BalancerGlobal {
        &self.global
    }

    /// The change that makes this its whole configuration.
    pub fn difference_to(&self, config: BalancerConfig) -> BalancerDiff {
        BalancerDiff::replacing(self.groups.keys(), self.virtual_servers.keys(), config)
    }

    /// Whether there is such a virtual server.
    pub fn has(&self, id: &VirtualServerId) -> bool {
        self.virtual_servers.contains_key(id)
    }

    /// Whether the addresses of this host are of interest (`ha_suspend`).
    pub fn follows_addresses(&self) -> bool {
        self.virtual_servers.values().any(|server| server.config.ha_suspend)
    }

    /// The virtual server whose service this is.
    pub fn owner(&self, key: &ServiceKey) -> Option<&VirtualServerId> {
        self.owners.get(key)
    }

    /// Every service that is ours, desired now or not.
    pub fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.owners.keys()
    }

    /// Whether a service must be carried by the userspace forwarder (`lb_kind PROXY`).
    pub fn wants_proxy(&self, key: &ServiceKey) -> bool {
        self.owners.get(key).and_then(|id| self.virtual_servers.get(id)).is_some_and(VirtualServer::wants_proxy)
    }

    /// Whether the return path of a service is to be set up (`masquerade`).
    pub fn masquerades(&self, key: &ServiceKey) -> bool {
        let server = self.owners.get(key).and_then(|id| self.virtual_servers.get(id));
        server.is_some_and(|server| server.config.masquerade)
    }

    /// Every virtual server, and whether it has its quorum.
    pub fn quorums(&self) -> impl Iterator<Item = (&VirtualServerId, bool)> {
        self.virtual_servers.iter().map(|(id, server)| (id, server.has_quorum))
    }

    /// Whether a VRRP instance is master, as far as was said.
    pub fn is_master(&self, instance: &str) -> bool {
        self.masters.contains(instance)
    }

    /// Every checker that should run.
    pub fn checkers(&self) -> BTreeMap<CheckerId, Arc<CheckerConfig>> {
        let real_servers = self
            .virtual_servers
            .iter()
            .flat_map(|(id, server)| server.real_servers.values().map(move |real| (id, real)));
        let checkers = real_servers.flat_map(|(id, real)| {
            (0..).zip(&real.checkers).map(move |(index, checker)| {
                let id = CheckerId { virtual_server: id.clone(), real_server: real.config.address, index };
                (id, Arc::clone(checker))
            })
        });
        checkers.collect()
    }

    /// The virtual servers whose checks rest.
    pub fn paused(&self) -> impl Iterator<Item = &VirtualServerId> {
        self.virtual_servers.iter().filter(|(_, server)| server.paused).map(|(id, _)| id)
    }

    /// Everything as it is, for people, but for what only the data planes know.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let virtual_servers = self.virtual_servers.values().map(|server| snapshot(server, now)).collect();
        Snapshot { virtual_servers, ..Snapshot::default() }
    }

    fn on_report(&mut self, now: Instant, CheckReport { checker, health }: CheckReport) {
        let CheckerId { virtual_server: id, real_server, index } = checker;
        let Some(server) = self.virtual_servers.get_mut(&id) else { return };
        let name = server.name(real_server);
        let Some(real) = server.real_servers.get_mut(&real_server) else { return };
        let Some(kind) = real.checkers.get(usize::from(index)).map(|c| CheckerKind::from(&c.probe)) else {
            return;
        };
        let up = matches!(health, Health::Up { .. });
        let (reason, finding) = match &health {
            Health::Up { weight: 0 } => (None, "succeeded".to_owned()),
            Health::Up { weight } => (None, format!("succeeded, adds {weight} to the weight")),
            Health::Down { reason } => (Some(reason.clone()), reason.clone()),
        };
        let was_fit = real.fit;
        match real.record(index, health.clone()) {
            None => return,
            Some(before) if before == health => return,
            Some(before) if matches!(before, Health::Up { .. }) != up => {
                let decisive = real.is_fit() != was_fit;
                let virtual_server = id.clone();
                let event = Event::Checker { virtual_server, real_server: name, kind, up, reason, decisive };
                self.effects.push_back(Effect::Emit(event));
            }
            Some(_) => {}
        }
        self.settle(now, &id, &Cause::Checker { real_server: name, kind, finding });
    }

    fn on_admin(&mut self, now: Instant, id: &VirtualServerId, address: SocketKey, to: AdminState) {
        let Some(server) = self.virtual_servers.get_mut(id) else { return };
        let real_server = server.name(address);
        let Some(real) = server.real_servers.get_mut(&address) else { return };
        let from = std::mem::replace(&mut real.admin, to);
        if from == to {
            return;
        }
        if from == AdminState::Drain {
            // Its caches are as cold as those of one that was down.
            real.enter_service(now);
        }
        let event = Event::Admin { virtual_server: id.clone(), real_server, from, to };
        self.effects.push_back(Effect::Emit(event));
        self.settle(now, id, &Cause::Admin(to));
    }

    fn settle(&mut self, now: Instant, id: &VirtualServerId, cause: &Cause) {
        let Some(server) = self.virtual_servers.get_mut(id) else { return };
        let mut events = Vec::new();
        server.settle(now, cause, &mut events);
        self.effects.extend(events.into_iter().map(Effect::Emit));
        self.publish(now, id);
    }

    /// Brings the desired services of one virtual server up to date.
    fn publish(&mut self, now: Instant, id: &VirtualServerId) {
        let Some(server) = self.virtual_servers.get(id) else { return };
        if server.next_step(now).is_some() {
            self.climbing.insert(id.clone());
        }
        let service = server
            .active
            .then(|| Service { settings: server.settings(), destinations: server.destinations(now).into() });
        for key in &server.services {
            self.changed |= match service.as_ref().map(|service| service.on(key)) {
                Some(service) if self.desired.services.get(key) == Some(&service) => false,
                Some(service) => {
                    self.desired.services.insert(*key, service);
                    true
                }
                None => self.desired.services.remove(key).is_some(),
            };
        }
    }

    /// Who is neither named by the change nor gets other services by it is not looked at: of ten thousand virtual servers
    /// that costs nothing.
    fn reconfigure(&mut self, now: Instant, diff: BalancerDiff, starting: bool) {
        let BalancerDiff { global, groups, removed_groups, mut services, removed_services, files: _ } = diff;
        let mut events = Vec::new();
        let mut pages = Pages::default();
        let real_servers = services.values_mut().flat_map(|server| &mut server.real_servers);
        real_servers.flat_map(|real| &mut real.checkers).for_each(|checker| pages.share(checker));
        if let Some(global) = global {
            self.global = *global;
        }
        self.groups.retain(|name, _| !removed_groups.contains(name));
        self.groups.extend(groups);
        let gone: Vec<VirtualServer> =
            removed_services.iter().filter_map(|id| self.virtual_servers.remove(id)).collect();
        let init_notifies = self.global.rs_init_notifies;
        let mut concerned = BTreeSet::new();
        for (id, config) in services {
            concerned.insert(id.clone());
            match self.virtual_servers.get_mut(&id) {
                Some(server) => server.reconfigure(now, config.take(), init_notifies, &mut events),
                None => {
                    let server = VirtualServer::start(id.clone(), config.take(), init_notifies, &mut events);
                    self.virtual_servers.insert(id, server);
                }
            }
        }
        gone.iter().for_each(|gone| gone.say_farewell(&Cause::Removed, &mut events));
        concerned.extend(self.assign_services(&mut events));
        self.effects.extend(events.into_iter().map(Effect::Emit));
        let owners = &self.owners;
        self.desired.services.retain(|key, _| owners.contains_key(key));
        // Return paths (`masquerade`) are no part of the table, and what was refused is to be tried again.
        self.changed = true;
        self.climbing.retain(|id| !concerned.contains(id));
        self.look_at_each(now, starting, &concerned);
    }

    /// Gives every service to one virtual server: the first that names it. Those whose services are others than before.
    fn assign_services(&mut self, events: &mut Vec<Event>) -> Vec<VirtualServerId> {
        let mut others = Vec::new();
        self.owners.clear();
        for (id, server) in &mut self.virtual_servers {
            let expansion = groups::expand(id, &server.config, &self.groups);
            let mut warn = |message| events.push(Event::Warning { virtual_server: Some(id.clone()), message });
            if let Some(remark) = expansion.remark {
                warn(remark);
            }
            let mut services = expansion.services;
            services.retain(|key| match self.owners.get(key) {
                Some(other) => {
                    warn(format!("{key} is a service of virtual server {other} already: left out"));
                    false
                }
                None => {
                    self.owners.insert(*key, id.clone());
                    true
                }
            });
            if services != server.services {
                services.shrink_to_fit();
                server.services = services;
                others.push(id.clone());
            }
        }
        others
    }

    /// After a change of masters or addresses.
    fn look_at_surroundings(&mut self, now: Instant) {
        let concerned = self.virtual_servers.values().filter(|s| s.config.active_with.is_some() || s.config.ha_suspend);
        let concerned: BTreeSet<VirtualServerId> = concerned.map(|server| server.id.clone()).collect();
        self.look_at_each(now, false, &concerned);
    }

    /// Who follows an instance serves while it is master; who has `ha_suspend` checks while its address is here.
    fn look_at_each(&mut self, now: Instant, starting: bool, which: &BTreeSet<VirtualServerId>) {
        for id in which {
            let Some(server) = self.virtual_servers.get_mut(id) else { continue };
            let instance = server.config.active_with.clone();
            let active = instance.as_ref().is_none_or(|instance| self.masters.contains(instance));
            if active != server.active {
                server.active = active;
                if let (Some(instance), false) = (instance, starting) {
                    let event = Event::Active { virtual_server: id.clone(), instance, active };
                    self.effects.push_back(Effect::Emit(event));
                }
            }
            let paused = is_suspended(id, &server.config, self.addresses.as_ref());
            if paused != server.paused {
                server.paused = paused;
                self.effects.push_back(Effect::PauseChecks { virtual_server: id.clone(), paused });
                self.effects.push_back(Effect::Emit(Event::Checks { virtual_server: id.clone(), paused }));
            }
            self.publish(now, id);
        }
    }

    fn stop(&mut self) {
        let mut events = Vec::new();
        for server in self.virtual_servers.values().filter(|server| server.config.omega) {
            server.say_farewell(&Cause::Stopping, &mut events);
        }
        self.effects.extend(events.into_iter().map(Effect::Emit));
        self.virtual_servers.clear();
        self.climbing.clear();
        self.desired.services.clear();
        self.changed = true;
    }
}

/// `ha_suspend`, which works for addresses only.
fn is_suspended(id: &VirtualServerId, config: &VirtualServerConfig, here: Option<&BTreeSet<IpAddr>>) -> bool {
    match (id, here) {
        (VirtualServerId::Address { address, .. }, Some(here)) => config.ha_suspend && !here.contains(&address.ip),
        (VirtualServerId::Fwmark { .. } | VirtualServerId::Group { .. }, _) | (_, None) => false,
    }
}

fn snapshot(server: &VirtualServer, now: Instant) -> VirtualServerSnapshot {
    let real_servers = server.real_servers.values().map(|real| {
        let checkers = real
            .findings()
            .map(|(config, health)| CheckerSnapshot { kind: CheckerKind::from(&config.probe), health: health.clone() });
        RealServerSnapshot {
            address: real.config.address,
            configured_weight: real.config.weight,
            weight: real.weight,
            table_weight: real.table_weight(now, server.config.slow_start),
            up: real.fit,
            admin: real.admin,
            checkers: checkers.collect(),
        }
    });
    VirtualServerSnapshot {
        id: server.id.clone(),
        active: server.active,
        has_quorum: server.has_quorum,
        quorum: server.quorum(),
        hysteresis: server.hysteresis(),
        live_weight: server.live_weight(),
        panicking: server.panicking,
        checks_paused: server.paused,
        sorry_server: server.config.sorry_server.map(|sorry| sorry.address),
        services: server.services.clone(),
        real_servers: real_servers.collect(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
