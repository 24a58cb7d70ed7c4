//! One virtual router: its state machine.
//!
//! Pure: time is passed in. The state changes only in the `enter_*` functions, and each does all that entering means,
//! including the idempotent "I hold no addresses" of BACKUP and FAULT. The sync group's part is in [`super::group`].

mod adverts;
mod effects;
mod enter;
mod handover;
mod rivals;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::accept::{self, AdvertError, Situation};
use super::config::{InitialState, InstanceConfig, Transport};
use super::engine::{BoundAddress, Effect, Received, SocketKey, Transmit};
use super::event::{Cause, Event, FaultReason, Heard, StateName};
use super::packet::{self, Advert};
use super::peers::{Contest, Noted, PeerNews, Peers, Sighting};
use super::rare::{Rare, Usual};
use super::snapshot::{Counters, InstanceSnapshot};
use super::state::{Backup, DownTimer, GarpSchedule, Leaving, Master, State, Wait};
use super::types::{AdvertInterval, Family, IfIndex, InstanceId, Priority, Version};

/// Flaws remembered so that each is told once per peer. Forged sources must not fill memory.
const MAX_TOLD_FLAWS: usize = 64;
/// A flaw of one peer is told no more often than this.
const TOLD_AGAIN: Duration = Duration::from_secs(60);
/// What stands for adverts that were lost among the flaws of which people were told: no peer has this address, and no flaw
/// this number.
const ADVERTS_LOST: (IpAddr, u8) = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), u8::MAX);
/// A worse master that was silent for this long is a new contest when it is heard again.
const RIVAL_FORGOTTEN: Duration = Duration::from_secs(10);

/// What an instance does with the world in one turn.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The time of the turn.
    pub now: Instant,
    /// Where effects go.
    pub effects: &'a mut VecDeque<Effect>,
    /// Which instance holds which address: one that gives up an address leaves it alone if another has it by now.
    pub holders: &'a mut BTreeMap<(IfIndex, IpAddr), InstanceId>,
}

/// What the links say about an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Binding {
    /// The socket for its adverts.
    pub socket: Option<SocketKey>,
    /// Source of its adverts.
    pub source: Option<IpAddr>,
    /// MTU of its interface.
    pub mtu: u32,
    /// Its addresses on their links, advertised ones first. Addresses on links that do not exist are missing.
    pub addresses: Vec<BoundAddress>,
    /// What is wrong with its interface.
    pub faults: BTreeSet<FaultReason>,
}

/// What the trackers and the group say about an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Effective priority.
    pub priority: Priority,
    /// Reasons for FAULT of its own: trackers and interface.
    pub faults: BTreeSet<FaultReason>,
    /// A tracker that decides has no result yet.
    pub pending: bool,
}

/// A virtual router.
#[derive(Debug)]
pub struct Instance {
    /// Its number.
    pub id: InstanceId,
    /// Its name.
    pub name: Arc<str>,
    /// Its configuration.
    pub config: InstanceConfig,
    /// Its sync group.
    pub group: Option<Arc<str>>,
    /// Where it is.
    pub state: State,
    counters: Traffic,
    /// All counters but those.
    misdeeds: Option<Box<Counters>>,
    /// What the links say.
    pub binding: Binding,
    /// What the trackers say.
    pub health: Health,
    /// A predecessor was master until it was killed; its next advert was due then.
    pub adopted: Option<Instant>,
    /// Some other router's advert was ever good.
    pub has_heard_others: bool,
    maintenance: bool,
    /// Its deadline that the engine's timers have.
    pub armed: Option<Instant>,
    /// What the flight recorder was last told of it; `None`: nothing yet.
    pub recorded: Option<Option<Instant>>,
    advertised: Vec<IpAddr>,
    cause: Cause,
    since: Instant,
    generation: u64,
    /// The latest generation that has been carried out.
    synced: u64,
    trouble: Rare<Trouble>,
    /// Who else speaks its VRID.
    peers: Peers,
}

/// What every router counts. A thousand of them have no use for a row of zeros each.
#[derive(Debug, Default)]
struct Traffic {
    advert_rcvd: u64,
    advert_sent: u64,
    become_master: u64,
    release_master: u64,
    pri_zero_rcvd: u64,
    pri_zero_sent: u64,
    announcements: u64,
}

/// What is remembered where not all is as it should be.
#[derive(Debug, Clone, PartialEq)]
struct Trouble {
    /// As master: addresses that wait for an interface, which was said.
    waiting: Vec<IpAddr>,
    /// Flaws that people were told of, by peer and kind, and when.
    told: BTreeMap<(IpAddr, u8), Instant>,
    /// Worse masters, and when each was last heard.
    rivals: BTreeMap<IpAddr, Instant>,
}

impl Usual for Trouble {
    const USUAL: &'static Self = &Self { waiting: Vec::new(), told: BTreeMap::new(), rivals: BTreeMap::new() };
}

/// What became of a packet.
#[derive(Debug)]
pub struct Verdict {
    /// The flaw's number ([`AdvertError::kind`]) when it was refused.
    pub refused: Option<u8>,
    /// What the table of peers made of it.
    pub noted: Noted,
    /// It comes from another virtual router with our VRID, and it is time to say so.
    pub stranger: Option<PeerNews>,
}

impl Instance {
    /// An instance in INIT.
    pub fn new(now: Instant, id: InstanceId, name: Arc<str>, config: InstanceConfig, cause: Cause) -> Self {
        let health = Health { priority: config.priority, faults: BTreeSet::new(), pending: false };
        Self {
            id,
            name,
            config,
            group: None,
            state: State::Init,
            counters: Traffic::default(),
            misdeeds: None,
            binding: Binding::default(),
            health,
            adopted: None,
            has_heard_others: false,
            maintenance: false,
            armed: None,
            recorded: None,
            advertised: Vec::new(),
            cause,
            since: now,
            generation: 0,
            synced: 0,
            trouble: Rare::default(),
            peers: Peers::default(),
        }
    }

    /// Its next deadline in the present state.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Init | State::Fault { .. } => None,
            State::Backup(backup) => {
                let down = backup.deadline(&self.config, self.health.priority).filter(|_| !self.maintenance);
                down.into_iter().chain(backup.handover.as_deref().map(Leaving::deadline)).min()
            }
            State::Master(master) => {
                let others = master.garp.deadline().into_iter().chain(master.losses.restore_at);
                others.chain([master.next_advert_at]).min()
            }
            State::Leaving(leaving) => Some(leaving.deadline()),
        }
    }

    /// Whether it holds the addresses.
    pub fn is_master(&self) -> bool {
        matches!(self.state, State::Master(_))
    }

    /// Whether its master-down timer has expired and it waits for its group.
    pub fn waits_for_group(&self) -> bool {
        matches!(&self.state, State::Backup(Backup { timer: DownTimer::Expired { .. }, .. }))
    }

    /// Whether it began to listen in this very turn and has heard nobody.
    pub fn is_fresh_backup(&self, now: Instant) -> bool {
        matches!(&self.state, State::Backup(Backup { master: None, timer: DownTimer::Running { since, .. }, .. }) if *since == now)
    }

    /// Whether it is a backup that is told when it listens: [`Self::listen_from`].
    pub fn is_new_backup(&self) -> bool {
        matches!(&self.state, State::Backup(Backup { is_new: true, .. }))
    }

    /// What it began to wait for in this turn it waits for from now on.
    pub fn listen_from(&mut self, now: Instant) {
        if let State::Backup(backup) = &mut self.state {
            backup.listen_from(now);
        }
    }

    /// The interval of the adverts on its wire: a backup's is its master's.
    pub fn interval_in_force(&self) -> AdvertInterval {
        match &self.state {
            State::Backup(backup) => backup.master_adver_interval,
            State::Init | State::Fault { .. } | State::Master(_) | State::Leaving(_) => self.config.advert_interval,
        }
    }

    /// Why it is in its state.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The generation of its latest [`Effect::SyncAddresses`].
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The addresses in its adverts.
    pub fn advertised(&self) -> &[IpAddr] {
        &self.advertised
    }

    /// What can be shown.
    pub fn snapshot(&self, now: Instant) -> InstanceSnapshot {
        InstanceSnapshot {
            state: self.state.name(),
            cause: self.cause.clone(),
            since: now.saturating_duration_since(self.since),
            base_priority: self.config.priority.value(),
            effective_priority: self.health.priority.value(),
            master: match &self.state {
                // Also one that is silenced soon, or would be if we took part in elections.
                State::Backup(backup) => backup.rejected().or(backup.master),
                State::Leaving(leaving) => leaving.successor,
                State::Init | State::Fault { .. } | State::Master(_) => None,
            },
            others_heard: self.has_heard_others,
            handing_over: self.handover().is_some(),
            source: self.binding.source,
            master_interval: self.interval_in_force(),
            next_deadline: self.deadline().map(|at| at.saturating_duration_since(now)),
            held: self.held().collect(),
            counters: self.counters(),
            peers: self.peers.snapshot(now),
            unlisted_peers: self.peers.unlisted(),
            dual_master: self.peers.dual(now),
        }
    }

    fn counters(&self) -> Counters {
        let Traffic { advert_rcvd, advert_sent, become_master, release_master, .. } = self.counters;
        let Traffic { pri_zero_rcvd, pri_zero_sent, announcements, .. } = self.counters;
        Counters {
            advert_rcvd,
            advert_sent,
            become_master,
            release_master,
            pri_zero_rcvd,
            pri_zero_sent,
            announcements,
            ..self.misdeeds.as_deref().copied().unwrap_or_default()
        }
    }

    /// The addresses that it holds: a master all of them, in a hand-over those that the successor does not have yet.
    fn held(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let released = self.handover().map(|leaving| &leaving.released);
        let holds = self.is_master() || released.is_some();
        let here = self.binding.addresses.iter().filter(move |address| {
            holds && !released.is_some_and(|gone| gone.contains(&(address.interface, address.config.address)))
        });
        here.map(|address| address.config.address)
    }

    // ---- inputs -----------------------------------------------------------------------------------------------

    /// Leaves INIT or FAULT when nothing stands against it any more (RFC 9568 §6.4.1).
    pub fn start(&mut self, turn: &mut Turn<'_>, cause: Cause) {
        // In a sync group, who would be master at once waits for the others: `expire` sees to that.
        let adopted = self.adopted.take().filter(|due| turn.now < *due);
        if self.maintenance {
            return self.enter_backup(turn, Wait::MasterDown, None, cause);
        }
        match adopted {
            Some(due) if self.group.is_none() => {
                self.enter_master(turn, Cause::Adopted);
                if let State::Master(master) = &mut self.state {
                    master.next_advert_at = due;
                }
            }
            Some(_) => {
                self.enter_backup(turn, Wait::MasterDown, None, cause);
                self.expire(turn, Cause::Adopted);
            }
            None if self.config.priority.is_owner() && self.group.is_none() => {
                self.enter_master(turn, Cause::AddressOwner);
            }
            None if self.config.priority.is_owner() => {
                self.enter_backup(turn, Wait::MasterDown, None, cause);
                self.expire(turn, Cause::AddressOwner);
            }
            None => {
                let first = matches!(self.state, State::Init) && self.config.state == InitialState::Master;
                let wait = if first { Wait::InitialMaster } else { Wait::MasterDown };
                self.enter_backup(turn, wait, None, cause);
            }
        }
    }

    /// Judges the deadlines that have passed.
    pub fn on_timeout(&mut self, turn: &mut Turn<'_>) {
        match &self.state {
            State::Init | State::Fault { .. } => {}
            State::Backup(_) => {
                self.on_timeout_of_handover(turn);
                self.on_timeout_as_backup(turn);
            }
            State::Master(_) => self.on_timeout_as_master(turn),
            State::Leaving(_) => self.on_timeout_of_handover(turn),
        }
    }

    fn on_timeout_as_backup(&mut self, turn: &mut Turn<'_>) {
        let State::Backup(backup) = &self.state else { return };
        let due = backup.deadline(&self.config, self.health.priority).filter(|due| *due <= turn.now);
        if let Some(due) = due.filter(|_| !self.maintenance) {
            let late = turn.now - due;
            let cause = backup.cause(turn.now, late, self.health.priority);
            self.tell_late(turn, late);
            self.expire(turn, cause);
        }
    }

    fn on_timeout_as_master(&mut self, turn: &mut Turn<'_>) {
        let interval = self.config.advert_interval.duration();
        let garp = *self.config.garp;
        let State::Master(master) = &mut self.state else { return };
        if master.next_advert_at <= turn.now {
            let late = turn.now - master.next_advert_at;
            // Timed from the deadline, so that the interval does not drift; after a stall one advert, not the missed ones.
            master.next_advert_at =
                if late < interval { master.next_advert_at + interval } else { turn.now + interval };
            self.tell_late(turn, late);
            self.send_advert(turn, self.health.priority.value());
            self.review_rivals(turn);
        }
        let State::Master(master) = &mut self.state else { return };
        let lost = master.losses.get_mut().and_then(|losses| losses.restore_at.take_if(|at| *at <= turn.now)).is_some();
        if let Some(repeat) = master.garp.take_due(turn.now, &garp) {
            self.announce(turn, repeat);
        }
        if lost {
            self.sync_addresses(turn, &[]);
            self.announce(turn, garp.repeat);
        }
    }

    /// The kernel has carried out what this generation says. Returns what it must have then.
    #[must_use]
    pub fn on_synced(&mut self, generation: u64) -> Vec<(IfIndex, IpAddr)> {
        self.synced = self.synced.max(generation);
        let held = self.binding.addresses.iter().filter(|_| self.is_master() && self.synced == self.generation);
        held.map(|address| (address.interface, address.config.address)).collect()
    }

    /// Somebody removed one of its addresses.
    pub fn on_address_gone(&mut self, turn: &mut Turn<'_>, interface: IfIndex, address: IpAddr) {
        let tracked = |a: &BoundAddress| (a.interface, a.config.address) == (interface, address) && a.config.track;
        if !self.is_master() || !self.binding.addresses.iter().any(tracked) {
            return;
        }
        // Before that it may be our own removal of a moment ago that we hear of, and the address is on its way.
        if self.synced != self.generation {
            return;
        }
        let State::Master(master) = &mut self.state else { return };
        let wait = master.losses.on_loss(turn.now);
        self.misdeeds.get_or_insert_default().address_lost += 1;
        let when = if wait.is_zero() { String::new() } else { format!(" in {} ms", wait.as_millis()) };
        turn.effects.push_back(Effect::Emit(Event::Warning {
            instance: self.name.to_string(),
            message: format!("{address} was removed by somebody else: it is put back{when}"),
        }));
    }

    /// The carrier of these links came back while it is master there, or a port of the bridge that one of them is.
    pub fn on_carrier(&mut self, turn: &mut Turn<'_>, links: &BTreeSet<IfIndex>) {
        if self.binding.addresses.iter().any(|address| links.contains(&address.interface)) {
            self.announce_in_doubt(turn, self.config.garp.repeat);
        }
    }

    /// The master-down timer has expired: master at once, or when the sync group is ready.
    pub fn expire(&mut self, turn: &mut Turn<'_>, cause: Cause) {
        if self.maintenance {
            return;
        }
        if self.group.is_none() {
            self.enter_master(turn, cause);
        } else if let State::Backup(backup) = &mut self.state {
            backup.timer = DownTimer::Expired { cause };
        }
    }

    /// Listens like any other backup: its group cannot be adopted, and by the time that it is ready the advert deadline
    /// of the predecessor has passed.
    pub fn forget_adoption(&mut self, now: Instant) {
        if let State::Backup(backup) = &mut self.state
            && matches!(backup.timer, DownTimer::Expired { cause: Cause::Adopted })
        {
            let wait = match self.config.state {
                InitialState::Master => Wait::InitialMaster,
                InitialState::Backup => Wait::MasterDown,
            };
            backup.timer = DownTimer::Running { since: now, wait };
            backup.is_new = true;
        }
    }

    /// Becomes master with its sync group, if its own timer has expired.
    pub fn promote(&mut self, turn: &mut Turn<'_>) {
        if let State::Backup(Backup { timer: DownTimer::Expired { cause }, .. }) = &self.state {
            let cause = cause.clone();
            self.enter_master(turn, cause);
        }
    }

    /// Takes up what trackers and links say now. Reasons for FAULT are acted on in [`super::group`].
    pub fn on_health(&mut self, turn: &mut Turn<'_>, health: Health, cause: &Cause) {
        let before = std::mem::replace(&mut self.health, health).priority;
        let after = self.health.priority;
        self.reconsider_rejected();
        if before == after || matches!(self.state, State::Init | State::Fault { .. }) {
            return;
        }
        turn.effects.push_back(Effect::Emit(Event::PriorityChanged {
            instance: self.name.to_string(),
            state: self.state.name(),
            from: before.value(),
            to: after.value(),
            cause: cause.clone(),
        }));
        // A backup's deadline follows the priority by itself. A master tells its backups at once.
        if self.is_master() {
            self.send_advert(turn, after.value());
        }
    }

    /// Takes up a new binding to links: source, addresses, MTU.
    pub fn on_binding(&mut self, turn: &mut Turn<'_>, binding: Binding) {
        if self.binding == binding {
            return;
        }
        // Without an address to send from it goes to FAULT, and could not say so any more: from the one that it had, which the
        // socket still takes, the backups learn that they need not wait.
        if self.is_master() && binding.source.is_none() && binding.socket == self.binding.socket {
            self.send_advert(turn, 0);
        }
        let old = std::mem::replace(&mut self.binding, binding);
        self.advertised = self.fitting_addresses();
        if old.addresses == self.binding.addresses {
            return;
        }
        if self.handover().is_some() {
            self.sync_addresses(turn, &old.addresses);
        }
        if self.is_master() {
            self.sync_addresses(turn, &old.addresses);
            let fresh = self.binding.addresses.iter().filter(|address| !old.addresses.contains(address));
            let fresh: Vec<_> = fresh.map(|address| (address.interface, address.config.address)).collect();
            self.announce_these(turn, fresh, self.config.garp.repeat);
        }
    }

    /// Takes up a configuration that leaves its identity alone. State, deadlines and counters survive.
    pub fn on_config(&mut self, turn: &mut Turn<'_>, config: InstanceConfig) {
        // A predecessor that was killed may have left some that it will not know any more when it starts.
        if self.state == State::Init {
            let kept: BTreeSet<_> = config.all_addresses().map(|a| (a.options.device.as_deref(), a.address)).collect();
            if self.config.all_addresses().any(|a| !kept.contains(&(a.options.device.as_deref(), a.address))) {
                self.sync_addresses(turn, &[]);
            }
        }
        let old = std::mem::replace(&mut self.config, config);
        // An address may leave the adverts and stay on its link (`virtual_ipaddress_excluded`).
        self.advertised = self.fitting_addresses();
        if let State::Master(master) = &mut self.state
            && old.garp.refresh != self.config.garp.refresh
        {
            master.garp.on_refresh_changed(turn.now, &self.config.garp);
        }
        if old.advert_interval == self.config.advert_interval {
            return;
        }
        let interval = self.config.advert_interval;
        match &mut self.state {
            State::Init | State::Fault { .. } => {}
            State::Leaving(_) => {}
            // VRRPv3 learns the master's interval: it stays until that master says otherwise.
            State::Backup(backup) => {
                if self.config.version == Version::V2 || backup.master.is_none() {
                    backup.master_adver_interval = interval;
                }
            }
            State::Master(master) => {
                master.next_advert_at = master.next_advert_at.min(turn.now + interval.duration());
            }
        }
    }
}
