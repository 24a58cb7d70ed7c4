//! The VRRP engine: inputs and the time in, effects out.
//!
//! Pure: time is passed in; no sockets, no clock, no files. One [`VrrpEngine`] holds all instances and sync groups of
//! a process. Its shell is [`super::process`] (real sockets) or the simulated LAN of the tests.
//!
//! Contract: one input ([`VrrpEngine::handle_input`] or [`VrrpEngine::handle_timeout`]), then
//! [`VrrpEngine::poll_effect`] until `None`, carrying each effect out in order, then wait until
//! [`VrrpEngine::poll_timeout`] or the next input. Waiting adverts are handed in *before* a timeout is judged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::accept::AdvertError;
use super::config::{AddressConfig, ConfigDiff, InstanceConfig, TrackerKey, Transport, VrrpConfig, renames};
use super::event::{Cause, Event, StateName, TrackerStatus};
use super::group::{self, Group};
use super::instance::{Health, Instance, Turn};
use super::links::Links;
use super::packet;
use super::snapshot::{FlightRecord, Snapshot};
use super::state::State;
use super::track::{TrackTable, effective_priority};
use super::types::{Family, IfIndex, InstanceId, Link, Vrid};

/// What a shell tells the engine.
#[derive(Debug)]
pub enum Input<'a> {
    /// A VRRP packet arrived.
    Advert(Received<'a>),
    /// A socket's buffer was full while this process was held up: adverts came and were dropped.
    AdvertsLost(SocketKey),
    /// A link appeared or changed: its whole present state.
    Link(Link),
    /// A link is gone.
    LinkGone(IfIndex),
    /// A tracker run by main has a new status.
    Tracker {
        /// Which.
        key: TrackerKey,
        /// Its status now.
        status: TrackerStatus,
    },
    /// A reload.
    Reconfigure(ConfigDiff),
    /// The address writer finished a [`Effect::SyncAddresses`].
    AddressesSynced {
        /// The instance of that effect.
        instance: InstanceId,
        /// The generation of that effect.
        generation: u64,
        /// What the kernel refused, one sentence each.
        failures: Vec<String>,
    },
    /// Another host announced an address on a link by gratuitous ARP, ARP reply or unsolicited NA. Only asked for while
    /// [`VrrpEngine::listens_to_announcements`].
    Announced {
        /// Where.
        interface: IfIndex,
        /// What.
        address: IpAddr,
    },
    /// Give up mastership in good order: resign, and keep each address until the successor has it. The process may end
    /// when [`VrrpEngine::is_stopped`] and the effects are carried out.
    Stop,
    /// Give up everything in this very turn.
    StopAtOnce,
}

/// A VRRP packet as it came from a socket: the PDU without its IP header.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The socket that it came from.
    pub socket: SocketKey,
    /// IP source.
    pub source: IpAddr,
    /// IP destination.
    pub destination: IpAddr,
    /// TTL or hop limit, if the socket told it.
    pub ttl: Option<u8>,
    /// When the kernel had it, which is before now if we were held up. Deadlines start from there.
    pub at: Instant,
    /// The VRRP PDU.
    pub pdu: &'a [u8],
}

/// Identity of an advert socket: one per interface and family, shared by all instances there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketKey {
    /// The interface that it is bound to; `None` for unicast instances without an interface.
    pub interface: Option<IfIndex>,
    /// IPv4 or IPv6.
    pub family: Family,
}

/// What a socket must be like. Compared by the shell with what is open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SocketSpec {
    /// Multicast groups to be a member of.
    pub groups: BTreeSet<IpAddr>,
    /// Largest SO_RCVBUF asked for, in bytes.
    pub receive_buffer: Option<u32>,
    /// How many instances share it, for sizing the buffer.
    pub instances: usize,
    /// Virtual routers to hear; the kernel may keep others' packets away. Empty: all (`log_unknown_vrids`).
    pub vrids: BTreeSet<Vrid>,
}

/// One packet to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Through which socket.
    pub socket: SocketKey,
    /// IP source.
    pub source: IpAddr,
    /// IP destination: a group or a peer.
    pub destination: IpAddr,
    /// TTL or hop limit; `None` leaves it to the kernel (IPv6 unicast without `unicast_ttl`).
    pub ttl: Option<u8>,
    /// The VRRP PDU, checksum included.
    pub pdu: Vec<u8>,
}

/// An address bound to the link that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundAddress {
    /// The link.
    pub interface: IfIndex,
    /// The address with its options.
    pub config: AddressConfig,
    /// Packets to it are for us (`accept`, or the address owner); otherwise they are dropped, but for neighbour discovery.
    pub accept: bool,
    /// The host may have it by itself (address owner, static address): only what we put there is ever removed.
    pub own: bool,
}

/// What the shell has to carry out. Effects say what *should be*: carrying one out twice is harmless.
/// `SyncAddresses` and `Announce` go through one strictly ordered writer: an announcement must find its address in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send one advert now.
    SendAdvert {
        /// The instance that advertises.
        instance: InstanceId,
        /// The packet.
        transmit: Transmit,
    },
    /// Make the kernel have `present` and not have `absent`. A later generation of the same instance replaces an
    /// earlier one that has not been carried out. Answered by [`Input::AddressesSynced`].
    SyncAddresses {
        /// The instance.
        instance: InstanceId,
        /// Increases with each effect of the instance.
        generation: u64,
        /// Addresses that must exist.
        present: Vec<BoundAddress>,
        /// Addresses that must not.
        absent: Vec<BoundAddress>,
    },
    /// Send `repeat` gratuitous ARPs (IPv4) or unsolicited NAs (IPv6) for each address, if the instance is still
    /// master in `generation`.
    Announce {
        /// The instance.
        instance: InstanceId,
        /// The address generation that it belongs to.
        generation: u64,
        /// Where and what.
        addresses: Vec<(IfIndex, IpAddr)>,
        /// Packets per address.
        repeat: u32,
    },
    /// Send no announcement of this instance that has not gone out yet.
    StopAnnouncing {
        /// The instance.
        instance: InstanceId,
    },
    /// Have exactly these sockets open.
    SyncSockets {
        /// All of them.
        desired: BTreeMap<SocketKey, SocketSpec>,
    },
    /// Tell people.
    Emit(Event),
}

/// All virtual routers of this host.
#[derive(Debug)]
pub struct VrrpEngine {
    config: VrrpConfig,
    /// Time of the latest input, for what is shown.
    now: Instant,
    phase: Phase,
    instances: BTreeMap<InstanceId, Instance>,
    ids: BTreeMap<String, InstanceId>,
    next_id: u32,
    /// Instances that are gone and whose last generation of addresses has not been answered: people are told, under
    /// the name, what could not be taken off.
    leaving: BTreeMap<InstanceId, (String, u64)>,
    groups: BTreeMap<String, Group>,
    links: Links,
    virtual_addresses: BTreeSet<IpAddr>,
    tracks: TrackTable,
    holders: BTreeMap<(IfIndex, IpAddr), InstanceId>,
    /// Who listens to a VRID on a socket. Several only for unicast instances with different peers.
    listeners: BTreeMap<(SocketKey, Vrid), Vec<InstanceId>>,
    sockets: BTreeMap<SocketKey, SocketSpec>,
    timers: Timers,
    effects: VecDeque<Effect>,
    flight: BTreeMap<String, Option<Instant>>,
    unknown_vrid: u64,
    unknown_told: BTreeSet<(IpAddr, u8)>,
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

/// Strangers remembered so that each unknown VRID is told once.
const MAX_UNKNOWN_TOLD: usize = 256;

impl VrrpEngine {
    /// An engine that knows no links yet: the shell tells them before the first [`Self::handle_timeout`]. `adopt` is
    /// what a predecessor that was killed has left ([`FlightRecord`]): a master whose own advert deadline has not
    /// passed goes on as master.
    pub fn new(now: Instant, config: VrrpConfig, adopt: &[FlightRecord]) -> Self {
        // A restarted process has waited before, and its cluster is alive.
        let delay = if adopt.is_empty() { config.global.startup_delay } else { Duration::ZERO };
        let mut engine = Self {
            config: VrrpConfig::default(),
            now,
            phase: Phase::Starting { until: now + delay },
            instances: BTreeMap::new(),
            ids: BTreeMap::new(),
            next_id: 0,
            leaving: BTreeMap::new(),
            groups: BTreeMap::new(),
            links: Links::default(),
            virtual_addresses: BTreeSet::new(),
            tracks: TrackTable::default(),
            holders: BTreeMap::new(),
            listeners: BTreeMap::new(),
            sockets: BTreeMap::new(),
            timers: Timers::default(),
            effects: VecDeque::new(),
            flight: BTreeMap::new(),
            unknown_vrid: 0,
            unknown_told: BTreeSet::new(),
        };
        let everything = ConfigDiff::between(&VrrpConfig::default(), &config);
        engine.reconfigure(now, everything);
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
                    self.on_synced(instance, generation, failures);
                }
                return;
            }
            Phase::Stopping => return self.handle_input_while_stopping(now, input),
            Phase::Starting { .. } | Phase::Running => {}
        }
        match input {
            Input::Advert(received) => self.on_packet(now, &received),
            Input::AdvertsLost(socket) => self.on_adverts_lost(now, socket),
            Input::Link(link) => {
                let name = link.name.clone();
                let after = self.essence(&link);
                let index = link.index;
                let present: BTreeSet<IpAddr> = link.addresses.iter().map(|a| a.address).collect();
                let old = self.links.set(link);
                let before = old.as_ref().map(|old| self.essence(old));
                // Virtual addresses that come and go are our own doing, a thousand times over at a takeover.
                if before.as_ref() != Some(&after) {
                    // A link that was renamed is gone under its old name.
                    if let Some(old) = before.filter(|old| old.name != name) {
                        self.on_links(now, &old.name);
                    }
                    self.on_links(now, &name);
                }
                if let Some(old) = old {
                    let gone = old.addresses.iter().map(|a| a.address).filter(|a| !present.contains(a));
                    self.on_addresses_gone(now, index, gone.collect());
                    if !old.is_usable() && after.is_usable() {
                        self.on_carrier(now, index);
                    }
                }
            }
            Input::LinkGone(index) => {
                if let Some(link) = self.links.remove(index) {
                    self.on_links(now, &link.name);
                }
            }
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
            Input::AddressesSynced { instance, generation, failures } => self.on_synced(instance, generation, failures),
            // Nobody is leaving: nothing depends on it.
            Input::Announced { .. } => {}
            Input::Stop => self.stop(now, false),
            Input::StopAtOnce => self.stop(now, true),
        }
    }

    fn handle_input_while_stopping(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Advert(received) => self.on_packet(now, &received),
            Input::Announced { interface, address } => {
                for id in self.all_ids() {
                    self.with(now, id, |instance, turn| instance.on_announced(turn, interface, address));
                }
            }
            Input::StopAtOnce => {
                for id in self.all_ids() {
                    self.with(now, id, Instance::release_lingering);
                }
            }
            Input::AddressesSynced { instance, generation, failures } => self.on_synced(instance, generation, failures),
            Input::AdvertsLost(_)
            | Input::Link(_)
            | Input::LinkGone(_)
            | Input::Tracker { .. }
            | Input::Reconfigure(_)
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
        let due = self.timers.take_due(now);
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

    /// The next effect to carry out, in order.
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The next deadline. May change after any input or timeout.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Starting { until } => Some(until),
            Phase::Running | Phase::Stopping => self.timers.next(),
            Phase::Stopped => None,
        }
    }

    /// Everything that can be shown.
    pub fn snapshot(&self) -> Snapshot {
        let named = |instance: &Instance| (instance.name.clone(), instance.snapshot(self.now));
        Snapshot {
            instances: self.instances.values().map(named).collect(),
            trackers: self.tracks.iter().map(|(key, status)| (key.clone(), status)).collect(),
            unknown_vrid: self.unknown_vrid,
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
        self.instances.get(&id).map(|instance| instance.name.as_str())
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
        self.instances.values().flat_map(Instance::lingering_links).collect()
    }

    /// The configuration in force.
    pub fn config(&self) -> &VrrpConfig {
        &self.config
    }

    // ---- inputs -----------------------------------------------------------------------------------------------

    fn on_packet(&mut self, now: Instant, received: &Received<'_>) {
        let Some(vrid) = packet::peek_vrid(received.pdu) else {
            self.on_unknown_vrid(received, received.pdu.get(1).copied().unwrap_or(0));
            return;
        };
        let Some(listeners) = self.listeners.get(&(received.socket, vrid)) else {
            self.on_unknown_vrid(received, vrid.value());
            return;
        };
        let meant = |id: &&InstanceId| self.instances.get(id).is_some_and(|instance| is_meant(instance, received));
        // Where none is meant the first one counts the misdeed.
        let Some(id) = listeners.iter().find(meant).or(listeners.first()).copied() else { return };
        self.with(now, id, |instance, turn| instance.on_packet(turn, received));
        if self.phase == Phase::Running {
            self.settle_groups_of(now, &[id], &Cause::Started);
        }
    }

    fn on_adverts_lost(&mut self, now: Instant, socket: SocketKey) {
        for id in self.all_ids() {
            self.with(now, id, |instance, turn| {
                if instance.binding.socket == Some(socket) {
                    instance.on_adverts_lost(turn);
                }
            });
        }
    }

    fn on_unknown_vrid(&mut self, received: &Received<'_>, vrid: u8) {
        self.unknown_vrid += 1;
        if !self.config.global.log_unknown_vrids
            || self.unknown_told.len() >= MAX_UNKNOWN_TOLD
            || !self.unknown_told.insert((received.source, vrid))
        {
            return;
        }
        let error = AdvertError::UnknownVrid { vrid };
        self.effects.push_back(Effect::Emit(Event::AdvertFlawed {
            instance: None,
            peer: received.source,
            error,
            heard: false,
        }));
    }

    /// What of a link matters to the engine: all but the virtual addresses on it.
    fn essence(&self, link: &Link) -> Link {
        let mut link = link.clone();
        link.addresses.retain(|address| !self.virtual_addresses.contains(&address.address));
        link
    }

    fn on_links(&mut self, now: Instant, name: &str) {
        let key = TrackerKey::Interface(name.to_owned());
        let status = self.links.tracker_status(&key).unwrap_or(TrackerStatus::Down);
        // Containers' links come and go by the thousand: only those that somebody tracks are kept.
        if self.tracks.knows(&key) {
            self.tracks.set(key.clone(), status);
        }
        self.rebind(now);
        let cause = Cause::Tracker { tracker: key, status };
        self.review(now, &cause, |_| true);
    }

    fn on_synced(&mut self, id: InstanceId, generation: u64, failures: Vec<String>) {
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.on_synced(generation);
        }
        let present = self.instances.get(&id).map(|instance| instance.name.clone());
        let Some(instance) = present.or_else(|| self.leaving.get(&id).map(|(name, _)| name.clone())) else { return };
        if self.leaving.get(&id).is_some_and(|(_, last)| *last <= generation) {
            self.leaving.remove(&id);
        }
        for message in failures {
            self.effects.push_back(Effect::Emit(Event::AddressFailed { instance: instance.clone(), message }));
        }
    }

    /// Somebody removed addresses from a link.
    fn on_addresses_gone(&mut self, now: Instant, link: IfIndex, gone: Vec<IpAddr>) {
        for address in gone {
            if let Some(holder) = self.holders.get(&(link, address)).copied() {
                self.with(now, holder, |instance, turn| instance.on_address_gone(turn, link, address));
            }
        }
    }

    /// A cable was plugged in: what was announced before may have reached nobody.
    fn on_carrier(&mut self, now: Instant, link: IfIndex) {
        for id in self.all_ids() {
            self.with(now, id, |instance, turn| instance.on_carrier(turn, link));
        }
    }

    fn stop(&mut self, now: Instant, at_once: bool) {
        for id in self.all_ids() {
            self.with(now, id, |instance, turn| {
                if at_once {
                    instance.enter_end(turn, StateName::Stop, Cause::Stopping);
                } else {
                    instance.enter_leaving(turn);
                }
            });
        }
        for group in self.groups.keys() {
            let (group, to) = (group.clone(), StateName::Stop);
            self.effects.push_back(Effect::Emit(Event::GroupChanged { group, to, cause: Cause::Stopping }));
        }
        self.phase = Phase::Stopping;
        self.stop_when_all_left();
    }

    fn stop_when_all_left(&mut self) {
        if !self.instances.values().any(Instance::is_leaving) {
            self.phase = Phase::Stopped;
        }
    }

    // ---- configuration ----------------------------------------------------------------------------------------

    fn reconfigure(&mut self, now: Instant, diff: ConfigDiff) {
        let changed: Vec<String> = diff.instances.keys().cloned().collect();
        let removed = diff.removed_instances.clone();
        let old = if removed.is_empty() { BTreeMap::new() } else { self.config.instances.clone() };
        diff.apply(&mut self.config);
        let renamed = renames(&old, &self.config.instances);
        for (from, to) in &renamed {
            self.rename_instance(from, to);
        }
        for name in removed.iter().filter(|name| !renamed.contains_key(*name)) {
            self.remove_instance(now, name);
        }
        for name in &changed {
            self.change_instance(now, name);
        }
        let all = self.config.instances.values().flat_map(InstanceConfig::all_addresses);
        self.virtual_addresses = all.map(|address| address.address).collect();
        self.regroup();
        self.refresh_trackers();
        self.rebind(now);
    }

    /// The same virtual router under another name goes on as it is.
    fn rename_instance(&mut self, from: &str, to: &str) {
        let Some(id) = self.ids.remove(from) else { return };
        self.ids.insert(to.to_owned(), id);
        self.flight.insert(from.to_owned(), None);
        if let Some(instance) = self.instances.get_mut(&id) {
            to.clone_into(&mut instance.name);
            let state = instance.state.name();
            let (instance, was) = (to.to_owned(), from.to_owned());
            self.effects.push_back(Effect::Emit(Event::Renamed { instance, was, state }));
        }
        self.note(id);
    }

    fn remove_instance(&mut self, now: Instant, name: &str) {
        let Some(id) = self.ids.remove(name) else { return };
        self.with(now, id, |instance, turn| {
            let to = if instance.config.notify_deleted { StateName::Deleted } else { StateName::Fault };
            instance.enter_end(turn, to, Cause::Removed);
        });
        self.forget_instance(id);
    }

    fn forget_instance(&mut self, id: InstanceId) {
        self.timers.disarm(id);
        if let Some(instance) = self.instances.remove(&id) {
            self.leaving.insert(id, (instance.name.clone(), instance.generation()));
        }
    }

    fn change_instance(&mut self, now: Instant, name: &str) {
        let Some(config) = self.config.instances.get(name).cloned() else { return };
        match self.ids.get(name).copied() {
            None => self.add_instance(now, name, config),
            Some(id) if self.instances.get(&id).is_some_and(|old| !old.config.is_same_router(&config)) => {
                // Another VRID, family or interface is another virtual router under the same name.
                self.with(now, id, |instance, turn| {
                    instance.enter_end(turn, StateName::Init, Cause::Reconfigured);
                });
                self.forget_instance(id);
                self.add_instance(now, name, config);
            }
            Some(id) => self.with(now, id, |instance, _| instance.on_config(now, config)),
        }
    }

    /// A new instance has a new number, even under an old name: generations of addresses are counted for each number.
    fn add_instance(&mut self, now: Instant, name: &str, config: InstanceConfig) {
        let id = InstanceId(self.next_id);
        self.next_id += 1;
        self.ids.insert(name.to_owned(), id);
        self.instances.insert(id, Instance::new(now, id, name, config, Cause::Reconfigured));
    }

    fn regroup(&mut self) {
        let mut groups = BTreeMap::new();
        let mut group_of = BTreeMap::new();
        for (name, config) in &self.config.groups {
            let members: Vec<_> = config.members.iter().filter_map(|member| self.ids.get(member).copied()).collect();
            group_of.extend(members.iter().map(|id| (*id, name.clone())));
            let told = self.groups.get(name).and_then(|old| old.told);
            groups.insert(name.clone(), Group { name: name.clone(), members, told });
        }
        for (id, instance) in &mut self.instances {
            instance.group = group_of.remove(id);
        }
        self.groups = groups;
    }

    fn refresh_trackers(&mut self) {
        let tracks = || self.config.instances.values().flat_map(|config| &config.tracks);
        let wanted: BTreeSet<&TrackerKey> = tracks().map(|track| &track.tracker).collect();
        self.tracks.retain(|key| wanted.contains(key) || self.config.trackers.contains(key));
        for key in wanted {
            if let Some(status) = self.links.tracker_status(key) {
                self.tracks.set(key.clone(), status);
            }
        }
    }

    /// Binds all instances to the links as they are now, and says which sockets that takes.
    fn rebind(&mut self, now: Instant) {
        let mut sockets: BTreeMap<SocketKey, SocketSpec> = BTreeMap::new();
        self.listeners.clear();
        for id in self.all_ids() {
            let Some(instance) = self.instances.get(&id) else { continue };
            let config = &instance.config;
            let binding = self.links.bind(config, &self.virtual_addresses);
            if let Some(key) = binding.socket {
                let spec = sockets.entry(key).or_default();
                spec.instances += 1;
                if !self.config.global.log_unknown_vrids {
                    spec.vrids.insert(config.vrid);
                }
                spec.receive_buffer = spec.receive_buffer.max(config.receive_buffer);
                if let Transport::Multicast { group } = config.transport {
                    spec.groups.insert(group);
                }
                self.listeners.entry((key, config.vrid)).or_default().push(id);
            }
            self.with(now, id, |instance, turn| instance.on_binding(turn, binding));
        }
        if sockets != self.sockets {
            self.sockets.clone_from(&sockets);
            self.effects.push_back(Effect::SyncSockets { desired: sockets });
        }
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
        let names: BTreeSet<String> =
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
    fn with(&mut self, now: Instant, id: InstanceId, act: impl FnOnce(&mut Instance, &mut Turn<'_>)) {
        let Some(instance) = self.instances.get_mut(&id) else { return };
        act(instance, &mut Turn { now, effects: &mut self.effects, holders: &mut self.holders });
        self.note(id);
    }

    fn note(&mut self, id: InstanceId) {
        let Some(instance) = self.instances.get(&id) else { return };
        self.timers.arm(id, instance.deadline());
        let next_advert_at = match &instance.state {
            State::Master(master) => Some(master.next_advert_at),
            State::Init | State::Fault { .. } | State::Backup(_) | State::Leaving(_) => None,
        };
        self.flight.insert(instance.name.clone(), next_advert_at);
    }

    fn all_ids(&self) -> Vec<InstanceId> {
        self.instances.keys().copied().collect()
    }

    fn instance_named(&mut self, name: &str) -> Option<&mut Instance> {
        self.ids.get(name).and_then(|id| self.instances.get_mut(id))
    }
}

/// Whether a packet is meant for this one of several instances with the same VRID on one socket.
fn is_meant(instance: &Instance, received: &Received<'_>) -> bool {
    match &instance.config.transport {
        Transport::Multicast { group } => *group == received.destination,
        Transport::Unicast { peers, .. } => peers.iter().any(|peer| peer.address == received.source),
    }
}

/// Deadlines of all instances, ordered.
#[derive(Debug, Default)]
struct Timers {
    queue: BTreeSet<(Instant, InstanceId)>,
    armed: BTreeMap<InstanceId, Instant>,
}

impl Timers {
    fn arm(&mut self, id: InstanceId, at: Option<Instant>) {
        if self.armed.get(&id).copied() == at {
            return;
        }
        self.disarm(id);
        if let Some(at) = at {
            self.armed.insert(id, at);
            self.queue.insert((at, id));
        }
    }

    fn disarm(&mut self, id: InstanceId) {
        if let Some(at) = self.armed.remove(&id) {
            self.queue.remove(&(at, id));
        }
    }

    fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    fn take_due(&mut self, now: Instant) -> Vec<InstanceId> {
        let mut due = Vec::new();
        while let Some((_, id)) = self.queue.first().copied().filter(|(at, _)| *at <= now) {
            self.disarm(id);
            due.push(id);
        }
        due
    }
}
