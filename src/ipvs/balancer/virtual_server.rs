//! One virtual server: its real servers, its quorum, and where its traffic is to go.
//!
//! Pure. After every change `settle` draws the conclusions anew, in one order: real servers, panic, quorum, sorry server.

use std::collections::BTreeSet;
use std::time::Instant;

use super::real_server::RealServer;
use crate::ipvs::config::{PanicAction, RealServerConfig, SorryServer, VirtualServerConfig, VirtualServerId};
use crate::ipvs::event::{AdminState, Cause, Event, QuorumPhrase, RealServerName, threshold};
use crate::ipvs::small_map::SmallMap;
use crate::ipvs::table::{Destination, ServiceSettings};
use crate::ipvs::types::{ForwardMethod, ServiceKey, SocketKey};

/// The weight of a sorry server that serves.
const SORRY_WEIGHT: u32 = 1;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct VirtualServer {
    pub id: VirtualServerId,
    /// Without its real servers.
    pub config: VirtualServerConfig,
    /// The services that are its own: no other virtual server has them.
    pub services: Vec<ServiceKey>,
    pub real_servers: SmallMap<SocketKey, RealServer>,
    /// The instance that it follows is master, or it follows none.
    pub active: bool,
    /// `ha_suspend`, and its address is not here.
    pub paused: bool,
    pub has_quorum: bool,
    pub panicking: bool,
    /// Those that were alive when we last believed what we saw; `None` until we first did.
    last_good: Option<BTreeSet<SocketKey>>,
}

impl VirtualServer {
    /// As it starts: everything is concluded in silence, but that it starts without quorum and with a sorry server.
    pub fn start(
        id: VirtualServerId,
        mut config: VirtualServerConfig,
        init_notifies: bool,
        events: &mut Vec<Event>,
    ) -> Self {
        let real_servers = std::mem::take(&mut config.real_servers);
        let real_servers = real_servers.into_iter().map(|c| (c.address, RealServer::new(c))).collect();
        let mut server = Self {
            id,
            config,
            services: Vec::new(),
            real_servers,
            active: true,
            paused: false,
            has_quorum: false,
            panicking: false,
            last_good: None,
        };
        server.remark_quorum(events);
        server.look_at_panic(events);
        let weight = server.live_weight();
        server.has_quorum = weight >= threshold(true, server.quorum(), server.hysteresis());
        if init_notifies {
            let fit = server.real_servers.values().filter(|real| real.fit);
            events.extend(fit.map(|real| server.real_server_event(real, true, Cause::Started)));
        }
        if let Some(sorry) = server.config.sorry_server.filter(|_| !server.has_quorum) {
            events.push(server.quorum_event(QuorumPhrase::StartingDown, weight, Cause::Started));
            events.push(server.sorry_event(&sorry));
        }
        server
    }

    /// Takes a new configuration: real servers that stay keep what is known of them.
    pub fn reconfigure(
        &mut self,
        now: Instant,
        mut config: VirtualServerConfig,
        init_notifies: bool,
        events: &mut Vec<Event>,
    ) {
        let wanted: Vec<RealServerConfig> = std::mem::take(&mut config.real_servers);
        let old = std::mem::replace(&mut self.config, config);
        let mut before = std::mem::take(&mut self.real_servers);
        let mut others = false;
        let mut real_servers = Vec::with_capacity(wanted.len());
        for config in wanted {
            let address = config.address;
            let real = match before.remove(&address) {
                Some(mut real) => {
                    others |= real.reconfigure(config);
                    real
                }
                None => {
                    others = true;
                    let real = RealServer::new(config);
                    if init_notifies && real.fit {
                        events.push(self.real_server_event(&real, true, Cause::Reconfigured));
                    }
                    real
                }
            };
            real_servers.push((address, real));
        }
        self.real_servers = real_servers.into();
        others |= !before.is_empty();
        let gone = before.values().filter(|real| real.fit);
        events.extend(gone.map(|real| self.real_server_event(real, false, Cause::Removed)));
        if others || (old.quorum, old.hysteresis) != (self.config.quorum, self.config.hysteresis) {
            self.remark_quorum(events);
        }
        let had_quorum = self.has_quorum;
        self.settle(now, &Cause::Reconfigured, events);
        let replaced = old.sorry_server != self.config.sorry_server;
        if let Some(sorry) = self.config.sorry_server.filter(|_| replaced && !had_quorum && !self.has_quorum) {
            events.push(self.sorry_event(&sorry));
        }
    }

    /// Draws the conclusions from what is known, and tells what they changed.
    pub fn settle(&mut self, now: Instant, cause: &Cause, events: &mut Vec<Event>) {
        let mut changes = Vec::new();
        for real in self.real_servers.values_mut() {
            let (was_fit, old_weight) = (real.fit, real.weight);
            real.fit = real.is_fit();
            real.weight = real.effective_weight();
            match (was_fit, real.fit) {
                (false, true) => real.enter_service(now),
                (true, false) => real.leave_service(),
                (true, true) | (false, false) => {}
            }
            if was_fit != real.fit || old_weight != real.weight {
                changes.push((real.config.address, was_fit, old_weight));
            }
        }
        for (address, was_fit, old_weight) in changes {
            let Some(real) = self.real_servers.get(&address) else { continue };
            if was_fit != real.fit {
                events.push(self.real_server_event(real, real.fit, cause.clone()));
            }
            if old_weight != real.weight {
                events.push(Event::Weight {
                    virtual_server: self.id.clone(),
                    real_server: self.name(real.config.address),
                    from: old_weight,
                    to: real.weight,
                    up: real.fit,
                    cause: cause.clone(),
                });
            }
        }
        self.look_at_panic(events);
        self.look_at_quorum(cause, events);
    }

    fn look_at_panic(&mut self, events: &mut Vec<Event>) {
        let counted: Vec<&RealServer> =
            self.real_servers.values().filter(|real| real.admin != AdminState::Maint).collect();
        let alive: BTreeSet<SocketKey> =
            counted.iter().filter(|real| real.fit).map(|real| real.config.address).collect();
        let (seen, of) = (alive.len(), counted.len());
        let too_few = seen * 100 < of * usize::from(self.config.panic_threshold);
        // Who never saw them alive has no reason to doubt that they are dead.
        let panics = too_few && self.last_good.is_some();
        if !too_few {
            self.last_good = Some(alive);
        }
        if panics != self.panicking {
            self.panicking = panics;
            events.push(Event::Panic { virtual_server: self.id.clone(), begins: panics, alive: seen, of });
        }
    }

    fn look_at_quorum(&mut self, cause: &Cause, events: &mut Vec<Event>) {
        let weight = self.live_weight();
        let (quorum, hysteresis) = (self.quorum(), self.hysteresis());
        let up = if self.has_quorum {
            // With no weight anywhere there is no quorum to lose.
            quorum == 0 || (weight > 0 && weight >= threshold(false, quorum, hysteresis))
        } else {
            weight >= threshold(true, quorum, hysteresis)
        };
        if up == self.has_quorum {
            return;
        }
        self.has_quorum = up;
        let phrase = if up { QuorumPhrase::Gained } else { QuorumPhrase::Lost };
        events.push(self.quorum_event(phrase, weight, cause.clone()));
        if let Some(sorry) = self.config.sorry_server {
            events.push(self.sorry_event(&sorry));
        }
    }

    /// The last words, for who asked for them (`omega`).
    pub fn say_farewell(&self, cause: &Cause, events: &mut Vec<Event>) {
        let fit = self.real_servers.values().filter(|real| real.fit);
        events.extend(fit.map(|real| self.real_server_event(real, false, cause.clone())));
        if self.has_quorum {
            events.push(self.quorum_event(QuorumPhrase::Stopping, self.live_weight(), cause.clone()));
        }
    }

    /// The quorum in force: never more than all real servers together can give.
    pub fn quorum(&self) -> u32 {
        let total: u64 = self.real_servers.values().map(|real| u64::from(real.config.weight)).sum();
        self.config.quorum.min(u32::try_from(total).unwrap_or(u32::MAX))
    }

    /// The hysteresis in force: less than the quorum.
    pub fn hysteresis(&self) -> u32 {
        self.config.hysteresis.min(self.quorum().saturating_sub(1))
    }

    fn remark_quorum(&self, events: &mut Vec<Event>) {
        let (quorum, wanted) = (self.quorum(), self.config.quorum);
        if quorum < wanted && !self.real_servers.is_empty() {
            events.push(Event::Note {
                message: format!(
                    "Warning - quorum {wanted} for {} exceeds total weight of its real servers, reduced to {quorum}",
                    self.id
                ),
            });
        }
    }

    /// Those that are to get traffic: the fit ones, unless we suspect ourselves.
    fn serves(&self, real: &RealServer) -> bool {
        match (self.panicking, self.config.panic_action) {
            _ if real.admin == AdminState::Maint => false,
            (false, _) => real.fit,
            (true, PanicAction::SendToAll) => true,
            (true, PanicAction::KeepLast) => {
                self.last_good.as_ref().is_some_and(|good| good.contains(&real.config.address))
            }
        }
    }

    /// What the quorum is judged by. A slow start is no lack of weight; a server that drains is.
    pub fn live_weight(&self) -> u64 {
        let live = self.real_servers.values().filter(|real| self.serves(real) && real.admin != AdminState::Drain);
        live.map(|real| u64::from(real.effective_weight())).sum()
    }

    pub fn settings(&self) -> ServiceSettings {
        ServiceSettings {
            scheduler: self.config.scheduler,
            flags: self.config.flags,
            persistence: self.config.persistence.clone(),
            proxy: self.config.proxy,
        }
    }

    /// Where the traffic of each of its services is to go.
    pub fn destinations(&self, now: Instant) -> SmallMap<SocketKey, Destination> {
        let apologizes = !self.has_quorum && self.config.sorry_server.is_some();
        let serving = self.real_servers.iter().filter_map(|(address, real)| {
            let weight = if self.serves(real) && !apologizes {
                real.table_weight(now, self.config.slow_start)
            } else if real.config.inhibit_on_failure && real.admin != AdminState::Maint {
                0
            } else {
                return None;
            };
            Some((*address, real.destination(weight)))
        });
        let mut list = Vec::with_capacity(self.real_servers.len());
        list.extend(serving);
        let mut destinations = SmallMap::from(list);
        if let Some(SorryServer { address, method, inhibit }) = self.config.sorry_server {
            let destination = |weight| Destination { method, weight, ..Destination::default() };
            if apologizes {
                destinations.insert(address, destination(SORRY_WEIGHT));
            } else if inhibit && !destinations.contains_key(&address) {
                destinations.insert(address, destination(0));
            }
        }
        destinations
    }

    /// When a slow start takes its next step.
    pub fn next_step(&self, now: Instant) -> Option<Instant> {
        self.real_servers.values().filter_map(|real| real.next_step(now, self.config.slow_start)).min()
    }

    /// Whether it asks for the userspace forwarder (`lb_kind PROXY`).
    pub fn wants_proxy(&self) -> bool {
        self.config.method == ForwardMethod::Proxy
            || self.real_servers.values().any(|real| real.config.method == ForwardMethod::Proxy)
    }

    pub fn name(&self, address: SocketKey) -> RealServerName {
        RealServerName { address, protocol: self.config.protocol }
    }

    fn real_server_event(&self, real: &RealServer, up: bool, cause: Cause) -> Event {
        Event::RealServer {
            virtual_server: self.id.clone(),
            real_server: self.name(real.config.address),
            up,
            inhibit: real.config.inhibit_on_failure,
            cause,
        }
    }

    fn quorum_event(&self, phrase: QuorumPhrase, weight: u64, cause: Cause) -> Event {
        Event::Quorum {
            virtual_server: self.id.clone(),
            up: phrase == QuorumPhrase::Gained,
            phrase,
            quorum: self.quorum(),
            hysteresis: self.hysteresis(),
            weight,
            cause,
        }
    }

    fn sorry_event(&self, sorry: &SorryServer) -> Event {
        Event::SorryServer {
            virtual_server: self.id.clone(),
            sorry_server: self.name(sorry.address),
            serving: !self.has_quorum,
        }
    }
}
