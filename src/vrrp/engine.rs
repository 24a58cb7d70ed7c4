//! The VRRP engine: inputs and the time in, effects out.
//!
//! Pure: time is passed in; no sockets, no clock, no files. One [`VrrpEngine`] holds all instances and sync groups of
//! a process. Its shell is [`super::process`] (real sockets) or the simulated LAN of the tests.
//!
//! Contract: one input ([`VrrpEngine::handle_input`] or [`VrrpEngine::handle_timeout`]), then
//! [`VrrpEngine::poll_effect`] until `None`, carrying each effect out in order, then wait until
//! [`VrrpEngine::poll_timeout`] or the next input. Waiting adverts are handed in *before* a timeout is judged, and
//! [`VrrpEngine::listen_from`] ends the turn: the process may be stopped at any point of it.

mod command;
mod configure;
mod inputs;
mod interface;
mod timers;
mod vrids;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accept::AdvertError;
use super::config::{
    AddressConfig, ConfigDiff, GroupConfig, InstanceConfig, TrackerKey, Transport, VrrpConfig, VrrpGlobal, renames,
};
use super::event::{Cause, Event, StateName, TrackerStatus};
use super::group::{self, Group};
use super::instance::{Health, Instance, Turn};
use super::links::Links;
use super::packet;
use super::snapshot::{FlightRecord, Snapshot};
use super::state::State;
use super::timing;
use super::track::{TrackTable, effective_priority};
use super::types::{Family, IfIndex, InstanceId, Link, Priority, Vrid};

pub use command::FailoverRefusal;
pub use interface::{AdvertVerdict, BoundAddress, Effect, Input, LinkNews, Received, SocketKey, SocketSpec, Transmit};
use timers::Timers;

/// All virtual routers of this host.
#[derive(Debug)]
pub struct VrrpEngine {
    /// All but the instances, each of which has its own: that map is empty here.
    shared: VrrpConfig,
    /// Time of the latest input, for what is shown.
    now: Instant,
    phase: Phase,
    maintenance: bool,
    /// Boxed: the nodes of a map have room for eleven values, half of it unused.
    instances: BTreeMap<InstanceId, Box<Instance>>,
    ids: BTreeMap<Arc<str>, InstanceId>,
    next_id: u32,
    /// Instances that are gone and whose last generation of addresses has not been answered: people are told, under
    /// the name, what could not be taken off.
    leaving: BTreeMap<InstanceId, (Arc<str>, u64)>,
    groups: BTreeMap<Arc<str>, Group>,
    links: Links,
    virtual_addresses: BTreeSet<IpAddr>,
    tracks: TrackTable,
    holders: BTreeMap<(IfIndex, IpAddr), InstanceId>,
    /// IPv6 addresses that the kernel was said to have before it told us of them, and when they are looked for.
    unseen: BTreeMap<(IfIndex, IpAddr), Instant>,
    /// Who listens to a VRID on a socket. Several only for unicast instances with different peers.
    listeners: BTreeSet<(SocketKey, Vrid, InstanceId)>,
    sockets: BTreeMap<SocketKey, SocketSpec>,
    timers: Timers,
    /// Backups that began to wait in this turn.
    new_backups: BTreeSet<InstanceId>,
    effects: VecDeque<Effect>,
    flight: BTreeMap<Arc<str>, Option<Instant>>,
    unknown_vrid: u64,
    unknown_told: BTreeSet<(IpAddr, u8)>,
    surveys: vrids::Surveys,
    verdict: Option<AdvertVerdict>,
}

/// Whether instances may leave INIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// `vrrp_startup_delay`, or the shell is still telling us the links.
    Starting {
        until: Instant,
    },
    Running,
    /// Told to stop; some instance still lingers.
    Stopping,
    Stopped,
}

/// Room kept for the effects of one turn.
const MOST_ROOM: usize = 64;
/// Strangers remembered so that each unknown VRID is told once.
const MAX_UNKNOWN_TOLD: usize = 256;

impl VrrpEngine {
    /// An engine that knows no links yet: the shell tells them before the first [`Self::handle_timeout`]. `adopt` is
    /// what a predecessor that was killed has left ([`FlightRecord`]): a master whose own advert deadline has not
    /// passed goes on as master.
    pub fn new(now: Instant, mut config: VrrpConfig, adopt: &[FlightRecord]) -> Self {
        config.shrink_to_fit();
        // A restarted process has waited before, and its cluster is alive.
        let delay = if adopt.is_empty() { config.global.startup_delay } else { Duration::ZERO };
        let mut engine = Self {
            shared: VrrpConfig::default(),
            now,
            phase: Phase::Starting { until: now + delay },
            maintenance: false,
            instances: BTreeMap::new(),
            ids: BTreeMap::new(),
            next_id: 0,
            leaving: BTreeMap::new(),
            groups: BTreeMap::new(),
            links: Links::default(),
            virtual_addresses: BTreeSet::new(),
            tracks: TrackTable::default(),
            holders: BTreeMap::new(),
            unseen: BTreeMap::new(),
            listeners: BTreeSet::new(),
            sockets: BTreeMap::new(),
            timers: Timers::default(),
            new_backups: BTreeSet::new(),
            effects: VecDeque::new(),
            flight: BTreeMap::new(),
            unknown_vrid: 0,
            unknown_told: BTreeSet::new(),
            surveys: vrids::Surveys::default(),
            verdict: None,
        };
        engine.reconfigure(now, ConfigDiff::from_nothing(config));
        // A map that is made of sorted values has full nodes.
        engine.ids = std::mem::take(&mut engine.ids).into_iter().collect();
        engine.instances = std::mem::take(&mut engine.instances).into_iter().collect();
        for record in adopt {
            if let Some(instance) = engine.instance_named(&record.instance) {
                instance.adopted = record.next_advert_at;
            }
        }
        engine
    }

    /// Takes one input.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.now = now;
        match self.phase {
            // What the kernel refused of the last effects is worth a word even then.
            Phase::Stopped => {
                if let Input::AddressesSynced { instance, generation, failures } = input {
                    self.on_synced(now, instance, generation, failures);
                }
                return;
            }
            Phase::Stopping => return self.handle_input_while_stopping(now, input),
            Phase::Starting { .. } | Phase::Running => {}
        }
        match input {
            Input::Advert(received) => self.on_packet(now, &received),
            Input::AdvertsLost(socket) => self.on_adverts_lost(now, socket),
            Input::Link(link) => self.on_link_news(now, vec![LinkNews::Present(link)]),
            Input::LinkGone(index) => self.on_link_news(now, vec![LinkNews::Gone(index)]),
            Input::Links(news) => self.on_link_news(now, news),
            Input::PortForwards(bridge) => self.on_carrier(now, &BTreeSet::from([bridge])),
            Input::Tracker { key, status } => {
                if self.tracks.set(key.clone(), status) {
                    let cause = Cause::Tracker { tracker: key.clone(), status };
                    self.review(now, &cause, |config| config.tracks.iter().any(|track| track.tracker == key));
                }
            }
            Input::Reconfigure(diff) => {
                self.reconfigure(now, diff);
                self.review(now, &Cause::Reconfigured, |_| true);
            }
            Input::AddressesSynced { instance, generation, failures } => {
                self.on_synced(now, instance, generation, failures)
            }
            Input::Announced { interface, address, hardware } => self.on_announced(now, interface, address, hardware),
            Input::Maintenance(on) => self.set_maintenance(now, on),
            Input::Stop => self.stop(now, false),
            Input::StopAtOnce => self.stop(now, true),
        }
    }

    fn handle_input_while_stopping(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Advert(received) => self.on_packet(now, &received),
            Input::Announced { interface, address, hardware } => self.on_announced(now, interface, address, hardware),
            Input::StopAtOnce => {
                for id in self.all_ids() {
                    self.with(now, id, Instance::release_lingering);
                }
            }
            Input::AddressesSynced { instance, generation, failures } => {
                self.on_synced(now, instance, generation, failures)
            }
            Input::AdvertsLost(_)
            | Input::Link(_)
            | Input::LinkGone(_)
            | Input::Links(_)
            | Input::PortForwards(_)
            | Input::Tracker { .. }
            | Input::Reconfigure(_)
            | Input::Maintenance(_)
            | Input::Stop => {}
        }
        self.stop_when_all_left();
    }

    /// Judges all deadlines that have passed. Harmless when called early; afterwards `poll_timeout() > now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        match self.phase {
            Phase::Starting { until } if until <= now => {
                self.phase = Phase::Running;
                self.review(now, &Cause::Started, |_| true);
            }
            Phase::Starting { .. } | Phase::Running | Phase::Stopping | Phase::Stopped => {}
        }
        self.open_surveys(now);
        self.end_surveys(now);
        self.look_for_unseen(now);
        let due = self.timers.due(now);
        for id in &due {
            self.with(now, *id, |instance, turn| instance.on_timeout(turn));
        }
        match self.phase {
            Phase::Stopping => self.stop_when_all_left(),
            Phase::Starting { .. } | Phase::Running | Phase::Stopped => {
                self.settle_groups_of(now, &due, &Cause::Started);
            }
        }
    }

    /// Everything of a turn was handed in and carried out, and what is heard from `now` on waits in its socket: who began
    /// to wait for a master in this turn does so from now on. It was told an earlier time, and if the process was stopped
    /// since, nobody listened meanwhile: a socket was not open yet, or what it gave was for nobody.
    pub fn listen_from(&mut self, now: Instant) {
        for id in std::mem::take(&mut self.new_backups) {
            self.with(now, id, |instance, _| instance.listen_from(now));
        }
    }

    /// The next effect to carry out, in order.
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        let effect = self.effects.pop_front();
        if effect.is_none() {
            // A thousand takeovers at once leave much room behind.
            self.effects.shrink_to(MOST_ROOM);
        }
        effect
    }

    /// The next deadline. May change after any input or timeout.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Starting { until } => Some(until),
            Phase::Running | Phase::Stopping => self.timers.next().into_iter().chain(self.surveys.next(self.now)).min(),
            Phase::Stopped => None,
        }
    }

    /// What became of the latest [`Input::Advert`], if it was for one of our instances.
    pub fn take_verdict(&mut self) -> Option<AdvertVerdict> {
        self.verdict.take()
    }

    /// Everything that can be shown as of the latest input, but for what the shell knows: whether main is there, and
    /// what time it is.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_at(self.now)
    }

    /// The same as of `now`.
    pub fn snapshot_at(&self, now: Instant) -> Snapshot {
        let named = |instance: &Instance| (instance.name.to_string(), instance.snapshot(now));
        Snapshot {
            instances: self.instances.values().map(|instance| named(instance)).collect(),
            trackers: self.tracks.iter().map(|(key, status)| (key.clone(), status)).collect(),
            unknown_vrid: self.unknown_vrid,
            trackers_stale: None,
            maintenance: self.maintenance,
            at: Duration::ZERO,
        }
    }

    /// The records of the instances that changed since the last call, for the flight recorder.
    pub fn poll_flight_records(&mut self) -> Vec<FlightRecord> {
        std::mem::take(&mut self.flight)
            .into_iter()
            .map(|(instance, next_advert_at)| FlightRecord { instance, next_advert_at })
            .collect()
    }

    /// An instance's name, for logs.
    pub fn instance_name(&self, id: InstanceId) -> Option<&str> {
        self.instances.get(&id).map(|instance| &*instance.name)
    }

    /// Holds all instances in INIT until then at least, unless they have begun.
    pub fn hold_until(&mut self, at: Instant) {
        if let Phase::Starting { until } = &mut self.phase {
            *until = at.max(*until);
        }
    }

    /// Whether the hand-over after [`Input::Stop`] has ended.
    pub fn is_stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }

    /// The links on which [`Input::Announced`] matters now: those of the addresses that wait for a successor.
    pub fn listens_to_announcements(&self) -> BTreeSet<IfIndex> {
        self.instances.values().flat_map(|instance| instance.lingering_links()).collect()
    }

    /// The shortest skew time that a virtual router here can have: that of the highest priority of a backup, at the interval
    /// in force. `None`: there is none.
    pub fn shortest_skew(&self) -> Option<Duration> {
        let highest = Priority::clamp_backup(i32::MAX);
        let skews = self.instances.values().map(|i| timing::skew(i.config.version, highest, i.interval_in_force()));
        skews.min()
    }

    /// The configuration in force, put together: of a thousand instances that is much.
    pub fn config(&self) -> VrrpConfig {
        let instances = self.instances.values().map(|instance| (instance.name.to_string(), instance.config.clone()));
        VrrpConfig { instances: instances.collect(), ..self.shared.clone() }
    }

    /// The process-wide settings in force.
    pub fn global(&self) -> &VrrpGlobal {
        &self.shared.global
    }

    /// The groups that are configured.
    pub fn group_configs(&self) -> &BTreeMap<String, GroupConfig> {
        &self.shared.groups
    }

    /// The configuration of an instance.
    pub fn instance_config(&self, name: &str) -> Option<&InstanceConfig> {
        self.ids.get(name).and_then(|id| self.instances.get(id)).map(|instance| &instance.config)
    }

    /// The configurations of all instances, with their names.
    pub fn instance_configs(&self) -> impl Iterator<Item = (&str, &InstanceConfig)> {
        self.instances.values().map(|instance| (&*instance.name, &instance.config))
    }

    // ---- conclusions ------------------------------------------------------------------------------------------

    /// Draws the conclusions from trackers and bindings for the instances that `concerns` picks, and their groups.
    fn review(&mut self, now: Instant, cause: &Cause, concerns: impl Fn(&InstanceConfig) -> bool) {
        let ids: Vec<_> = self.instances.values().filter(|i| concerns(&i.config)).map(|i| i.id).collect();
        let started = self.phase == Phase::Running;
        for id in &ids {
            let Some(instance) = self.instances.get(id) else { continue };
            let verdict = self.tracks.evaluate(&instance.config.tracks);
            let priority = effective_priority(instance.config.priority, verdict.adjustment);
            let faults = verdict.faults.union(&instance.binding.faults).cloned().collect();
            let health = Health { priority, faults, pending: verdict.pending };
            self.with(now, *id, |instance, turn| {
                instance.on_health(turn, health, cause);
                if instance.group.is_none() {
                    group::settle_single(instance, turn, started, cause);
                }
            });
        }
        self.settle_groups_of(now, &ids, cause);
    }

    fn settle_groups_of(&mut self, now: Instant, ids: &[InstanceId], cause: &Cause) {
        let names: BTreeSet<Arc<str>> =
            ids.iter().filter_map(|id| self.instances.get(id)).filter_map(|i| i.group.clone()).collect();
        let started = self.phase == Phase::Running;
        for name in names {
            let Some(group) = self.groups.get_mut(&name) else { continue };
            let mut turn = Turn { now, effects: &mut self.effects, holders: &mut self.holders };
            group::settle(group, &mut self.instances, &mut turn, started, cause);
            for id in group.members.clone() {
                self.note(id);
            }
        }
    }

    /// Lets an instance act, then notes its deadline.
    fn with<T>(
        &mut self,
        now: Instant,
        id: InstanceId,
        act: impl FnOnce(&mut Instance, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let instance = self.instances.get_mut(&id)?;
        let outcome = act(instance, &mut Turn { now, effects: &mut self.effects, holders: &mut self.holders });
        self.note(id);
        Some(outcome)
    }

    fn note(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        let deadline = instance.deadline();
        self.timers.arm(id, &mut instance.armed, deadline);
        if instance.is_new_backup() {
            self.new_backups.insert(id);
        }
        let next_advert_at = match &instance.state {
            State::Master(master) => Some(master.next_advert_at),
            State::Init | State::Fault { .. } | State::Backup(_) | State::Leaving(_) => None,
        };
        // A backup's adverts change nothing that is recorded.
        if instance.recorded != Some(next_advert_at) {
            instance.recorded = Some(next_advert_at);
            self.flight.insert(instance.name.clone(), next_advert_at);
        }
    }

    fn all_ids(&self) -> Vec<InstanceId> {
        self.instances.keys().copied().collect()
    }

    fn instance_named(&mut self, name: &str) -> Option<&mut Instance> {
        self.ids.get(name).and_then(|id| self.instances.get_mut(id)).map(|instance| &mut **instance)
    }
}
