//! What must be true of every run: the rules, and the book that is kept to judge them.
//!
//! Pure. The book is kept from packets handed to an engine and events that it emitted; the deadlines of backups are
//! reckoned here anew ([`Listener`]), from the RFC and not from the engine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use holdfast::vrrp::config::{InitialState, InstanceConfig};
use holdfast::vrrp::event::{Cause, StateName};
use holdfast::vrrp::packet;
use holdfast::vrrp::types::{AdvertInterval, Version};

use crate::host::Packet;
use crate::scenario::HostId;

/// What can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// One master for each virtual router once the network is whole.
    OneMaster,
    /// And the one that should be.
    RightMaster,
    /// An address is in the kernel if and only if its host is master.
    Addresses,
    /// No takeover before the master-down interval has passed.
    EarlyTakeover,
    /// No takeover later than that.
    LateTakeover,
    /// No takeover while an advert of an acceptable master waits.
    MasterWaiting,
    /// Time passes between deadlines.
    BusyLoop,
    /// No more adverts than the protocol has reason for.
    AdvertRate,
    /// A master never falls silent.
    AdvertGap,
    /// Members of a sync group are master together.
    Group,
    /// The cause that is told is the cause.
    Cause,
    /// A process becomes master at start only within its predecessor's advert deadline.
    Adoption,
    /// Who resigns is no master any more.
    Resignation,
    /// Who has resigned and keeps its addresses is quiet.
    Linger,
    /// Clients send to the master.
    Client,
    /// Nothing moves without a reason.
    Calm,
    /// A node that takes no part in elections does not.
    Maintenance,
    /// No router does anything before the start-up delay is over.
    StartupDelay,
}

/// A broken rule.
#[derive(Debug, Clone)]
pub struct Violation {
    pub rule: Rule,
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.text)
    }
}

/// A backup's master-down timer as the RFC has it.
#[derive(Debug, Clone)]
pub struct Listener {
    since: Instant,
    wait: Wait,
    learned: Option<AdvertInterval>,
    preempt_at: Option<Instant>,
    /// It handed over on command: a worse master is left alone for this long.
    hold: Duration,
    /// The last advert that did not keep it from taking over.
    discarded: Option<(Instant, Heard)>,
    resigned: bool,
    /// It has expired, and the sync group was not ready.
    expired: bool,
    /// Adverts were lost since the last one that was accepted.
    excused: bool,
    /// It began in this turn: nobody listens before the turn is over.
    is_new: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    MasterDown,
    Skew,
    Initial,
}

impl Listener {
    fn begun(since: Instant, wait: Wait, learned: Option<AdvertInterval>) -> Self {
        Self {
            since,
            wait,
            learned,
            preempt_at: None,
            hold: Duration::ZERO,
            discarded: None,
            resigned: false,
            expired: false,
            excused: false,
            is_new: true,
        }
    }

    fn interval(&self, config: &InstanceConfig) -> AdvertInterval {
        // VRRPv2 has one interval, which all must have configured.
        self.learned.filter(|_| config.version == Version::V3).unwrap_or(config.advert_interval)
    }

    /// When it must try to be master.
    pub fn deadline(&self, config: &InstanceConfig, priority: u8) -> Instant {
        let interval = self.interval(config).duration();
        let nanos = u64::try_from(interval.as_nanos()).expect("short");
        let unit = if config.version == Version::V2 { 1_000_000_000 } else { nanos };
        let skew = |priority: u8| Duration::from_nanos(unit * (256 - u64::from(priority)) / 256);
        self.since
            + match self.wait {
                Wait::MasterDown => interval * config.down_timer_adverts.into() + skew(priority),
                Wait::Skew => skew(priority),
                Wait::Initial => interval + skew(255),
            }
    }

    fn hear(&mut self, now: Instant, config: &InstanceConfig, ours: u8, heard: Heard) {
        if heard.priority == 0 {
            self.resigned = true;
            self.discarded = self.discarded.filter(|(_, discarded)| discarded.address != heard.address);
            let sooner =
                Self { since: now, wait: Wait::Skew, learned: Some(heard.interval), is_new: false, ..self.clone() };
            let before = self.learned.unwrap_or(config.advert_interval);
            if !self.expired && sooner.deadline(config, ours) < self.deadline(config, ours) {
                *self = sooner;
            } else {
                self.learned = Some(before);
            }
            return;
        }
        let delay = config.preempt_delay.max(self.hold);
        if heard.priority >= ours {
            self.preempt_at = None;
        } else if config.preempt && !delay.is_zero() && self.preempt_at.is_none() {
            self.preempt_at = Some(now + delay);
        }
        if is_acceptable(config, ours, heard) || self.preempt_at.is_some_and(|at| now < at) {
            self.since = now;
            self.wait = Wait::MasterDown;
            self.learned = Some(heard.interval);
            self.expired = false;
            self.excused = false;
            self.is_new = false;
            self.discarded = None;
        } else {
            self.discarded = Some((now, heard));
        }
    }

    /// Its priority or its wish to preempt changed: what was discarded may be a master to follow.
    fn reconsider(&mut self, config: &InstanceConfig, ours: u8) {
        if let Some((at, heard)) = self.discarded.filter(|(_, heard)| is_acceptable(config, ours, *heard)) {
            self.hear(at, config, ours, heard);
        }
    }
}

/// What an advert says, if it must be heard.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    pub address: IpAddr,
    pub priority: u8,
    pub interval: AdvertInterval,
}

/// Whether such an advert keeps a backup from taking over.
pub fn is_acceptable(config: &InstanceConfig, ours: u8, heard: Heard) -> bool {
    heard.priority != 0 && (heard.priority >= ours || !config.preempt)
}

/// Reads an advert for an instance; `None` if it must not be heard.
pub fn read(config: &InstanceConfig, packet: &Packet) -> Option<Heard> {
    let parsed = packet::parse(config.family, &packet.pdu).ok()?;
    let interval = AdvertInterval::from_centiseconds(parsed.interval_cs)?;
    let same = config.version == Version::V3 || interval == config.advert_interval;
    let theirs: BTreeSet<IpAddr> = parsed.addresses().collect();
    let listed = !config.strict || theirs == config.addresses.iter().map(|a| a.address).collect();
    let ours = parsed.version == config.version && parsed.vrid == config.vrid && listed;
    (same && ours).then_some(Heard { address: packet.source, priority: parsed.priority, interval })
}

/// What is known of one virtual router on one host.
#[derive(Debug)]
pub struct Book {
    pub state: StateName,
    pub priority: u8,
    pub listener: Option<Listener>,
    /// A master must have sent its next advert by then.
    pub advert_by: Option<Instant>,
    interval: Option<AdvertInterval>,
    /// Since its last change of state it has sent an advert to each of these, at a priority, for what came at a time.
    said: BTreeMap<IpAddr, (Instant, u8)>,
    /// It went on as master with its predecessor's deadline.
    adopted: bool,
    sent: BTreeMap<IpAddr, VecDeque<Instant>>,
    /// An advert of a better master was heard, and which.
    better: Option<(Instant, Heard)>,
    lower: bool,
    pub resigned_at: Option<Instant>,
    /// When another master, or one that resigned, was heard last in this state.
    contested_at: Option<Instant>,
}

/// The book of all.
#[derive(Debug, Default)]
pub struct Oracle {
    pub books: BTreeMap<(HostId, String), Book>,
    /// When a host's engine was last handed an advert of an address.
    pub heard: BTreeMap<(HostId, String, IpAddr), Instant>,
    pub violation: Option<Violation>,
}

/// How much later a stamp may be taken for, as the clocks go.
const TOLERANCE: Duration = Duration::from_millis(5);

/// Adverts in any second, beside six for each interval of it: changes of state and of priority.
const EXTRA_ADVERTS: u32 = 24;

impl Oracle {
    /// Notes the first broken rule.
    pub fn broken(&mut self, rule: Rule, text: String) {
        self.violation.get_or_insert(Violation { rule, text });
    }

    /// A process began: nothing is known of its routers.
    pub fn forget(&mut self, host: HostId) {
        self.books.retain(|(h, _), _| *h != host);
    }

    /// The book of a router.
    pub fn book(&mut self, host: HostId, name: &str) -> &mut Book {
        self.books.entry((host, name.to_owned())).or_insert_with(|| Book {
            state: StateName::Init,
            priority: 0,
            listener: None,
            advert_by: None,
            interval: None,
            said: BTreeMap::new(),
            adopted: false,
            sent: BTreeMap::new(),
            better: None,
            lower: false,
            resigned_at: None,
            contested_at: None,
        })
    }

    /// The engine is about to be handed an advert.
    pub fn on_advert(&mut self, now: Instant, host: HostId, name: &str, config: &InstanceConfig, packet: &Packet) {
        let Some(heard) = read(config, packet) else { return };
        self.heard.insert((host, name.to_owned(), heard.address), now);
        let book = self.book(host, name);
        let ours = book.priority;
        match book.state {
            StateName::Backup => {
                book.lower |= heard.priority < ours;
                if let Some(listener) = &mut book.listener {
                    listener.hear(now, config, ours, heard);
                }
            }
            StateName::Master if heard.priority >= ours => book.better = Some((now, heard)),
            _ => {}
        }
    }

    /// It is read now, whenever it came.
    pub fn on_read(&mut self, now: Instant, host: HostId, name: &str) {
        self.book(host, name).contested_at = Some(now);
    }

    /// Adverts were lost: the routers of that socket wait once more, but for those that know of a resignation.
    pub fn on_lost(&mut self, now: Instant, host: HostId, concerns: impl Fn(&str) -> bool) {
        let books = self.books.iter_mut().filter(|((h, name), _)| *h == host && concerns(name));
        for listener in books.filter_map(|(_, book)| book.listener.as_mut()) {
            if !listener.expired && listener.wait != Wait::Skew && !std::mem::replace(&mut listener.excused, true) {
                listener.since = now;
                listener.is_new = true;
            }
        }
    }

    /// The deadlines of a turn were judged, and what came of it is carried out.
    pub fn on_listening(&mut self, now: Instant, host: HostId) {
        for listener in self.books.iter_mut().filter(|((h, _), _)| *h == host).filter_map(|(_, b)| b.listener.as_mut())
        {
            if std::mem::take(&mut listener.is_new) && !listener.expired && listener.wait != Wait::Skew {
                listener.since = now;
            }
        }
    }

    /// An operator took a node out of elections, or put it back: its backups begin to listen.
    pub fn on_maintenance(&mut self, now: Instant, host: HostId) {
        for (_, book) in self.books.iter_mut().filter(|((h, _), _)| *h == host) {
            if let Some(listener) = &mut book.listener {
                listener.since = now;
                listener.wait = Wait::MasterDown;
                listener.expired = false;
                listener.is_new = true;
                listener.hold = Duration::ZERO;
            }
        }
    }

    /// The engine sends an advert.
    pub fn on_send(&mut self, now: Instant, host: HostId, name: &str, to: IpAddr, config: &InstanceConfig, zero: bool) {
        let interval = config.advert_interval.duration();
        let book = self.book(host, name);
        if zero {
            book.resigned_at = Some(now);
            book.advert_by = None;
        } else {
            // Timed from the deadline; from now, when it answers somebody, or one or more were missed.
            let answers = book.contested_at == Some(now) || std::mem::take(&mut book.adopted);
            let due = book.advert_by.filter(|by| !answers && *by <= now && now < *by + interval);
            book.advert_by = Some(due.unwrap_or(now) + interval);
        }
        let sent = book.sent.entry(to).or_default();
        sent.push_back(now);
        while sent.front().is_some_and(|at| *at + Duration::from_secs(1) < now) {
            sent.pop_front();
        }
        let said = (now, book.priority);
        if !zero && book.said.insert(to, said) == Some(said) {
            let text = format!("host {host} {name} says the same twice to {to}");
            return self.broken(Rule::AdvertRate, text);
        }
        let book = self.book(host, name);
        let sent = book.sent.entry(to).or_default();
        let per_second = u32::try_from(1_000_000_000 / interval.as_nanos()).expect("not many");
        if sent.len() > usize::try_from(per_second * 6 + EXTRA_ADVERTS).expect("not many") {
            let text = format!("host {host} {name} sent {} adverts to {to} within a second", sent.len());
            self.broken(Rule::AdvertRate, text);
        }
    }

    /// A reload was handed to the engine.
    pub fn on_reload(&mut self, now: Instant, host: HostId, name: &str, config: &InstanceConfig) {
        let book = self.book(host, name);
        if let Some(listener) = &mut book.listener {
            listener.reconsider(config, book.priority);
        }
        // A shorter interval counts at once; anything else leaves the deadline alone.
        if book.interval.replace(config.advert_interval) != Some(config.advert_interval) {
            book.advert_by = book.advert_by.map(|by| by.min(now + config.advert_interval.duration()));
        }
    }

    /// The priority changed within a state.
    pub fn on_priority(&mut self, host: HostId, name: &str, config: &InstanceConfig, priority: u8) {
        let book = self.book(host, name);
        book.priority = priority;
        if let Some(listener) = &mut book.listener {
            listener.reconsider(config, priority);
        }
    }

    /// A state changed.
    pub fn on_state(&mut self, now: Instant, host: HostId, change: &Change<'_>) {
        let Change { name, config, from, to, priority, cause } = *change;
        let book = self.book(host, name);
        if book.state != from {
            let text = format!("host {host} {name} left {from}, but was {}", book.state);
            return self.broken(Rule::Cause, text);
        }
        if let Err(text) = book.judge_cause(change) {
            self.broken(Rule::Cause, format!("host {host} {name}, {from} to {to} because {cause:?}: {text}"));
            return;
        }
        if let Some(listener) =
            book.listener.as_ref().filter(|l| to == StateName::Master && is_timer(cause) && !l.expired)
        {
            let deadline = listener.deadline(config, priority);
            if now < deadline {
                let text = format!("host {host} {name} took over {:?} early ({cause})", deadline - now);
                return self.broken(Rule::EarlyTakeover, text);
            }
            let late = now - deadline;
            if lateness(cause).is_some_and(|told| told + TOLERANCE < late) {
                let text = format!("host {host} {name} took over {late:?} late, and says: {cause}");
                return self.broken(Rule::Cause, text);
            }
        }
        let book = self.book(host, name);
        let since = match cause {
            // The interval of its master began when that was heard.
            Cause::BetterMaster { .. } => book.better.map_or(now, |(at, _)| at),
            _ => now,
        };
        book.state = to;
        book.priority = priority;
        book.interval = Some(config.advert_interval);
        book.adopted = *cause == Cause::Adopted;
        book.said.clear();
        book.better = None;
        book.lower = false;
        book.resigned_at = None;
        if to != StateName::Master {
            book.advert_by = None;
        }
        let mut hold = Duration::ZERO;
        if matches!(cause, Cause::Failover | Cause::Maintenance) {
            let wait = Listener::begun(now, Wait::MasterDown, None).deadline(config, priority) - now;
            hold = wait * 3;
        }
        let first = from == StateName::Init && config.state == InitialState::Master && !config.priority.is_owner();
        let wait = if first { Wait::Initial } else { Wait::MasterDown };
        let learned = match cause {
            Cause::BetterMaster { master, .. } => Some(master.interval),
            _ => None,
        };
        let is_new = learned.is_none();
        let listener = Listener { hold, is_new, ..Listener::begun(since, wait, learned) };
        book.listener = (to == StateName::Backup).then_some(listener);
    }

    /// After a turn: which members of groups have expired.
    pub fn note_expired(&mut self, now: Instant, host: HostId, name: &str, config: &InstanceConfig) {
        let book = self.book(host, name);
        let priority = book.priority;
        if let Some(listener) = book.listener.as_mut() {
            listener.expired |= listener.deadline(config, priority) <= now;
        }
    }
}

/// A change of state as it was told.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    pub name: &'a str,
    pub config: &'a InstanceConfig,
    pub from: StateName,
    pub to: StateName,
    pub priority: u8,
    pub cause: &'a Cause,
}

pub fn is_timer(cause: &Cause) -> bool {
    lateness(cause).is_some()
}

/// How late a deadline was judged, as it was told.
fn lateness(cause: &Cause) -> Option<Duration> {
    match cause {
        Cause::MasterSilent { late, .. } | Cause::MasterResigned { late, .. } | Cause::Preempting { late, .. } => {
            Some(*late)
        }
        _ => None,
    }
}

impl Book {
    /// Whether the cause that was told can be the cause.
    fn judge_cause(&self, change: &Change<'_>) -> Result<(), String> {
        use StateName::{Backup, Deleted, Fault, Init, Master, Stop};
        let Change { config, from, to, priority, cause, .. } = *change;
        let says = |holds: bool, text: &str| if holds { Ok(()) } else { Err(text.to_owned()) };
        let resigned = self.listener.as_ref().is_some_and(|l| l.resigned);
        let moves = (from, to);
        match cause {
            Cause::MasterSilent { .. } => says(moves == (Backup, Master), "only a backup listens"),
            Cause::MasterResigned { .. } => says(moves == (Backup, Master) && resigned, "nobody resigned"),
            Cause::Preempting { master, ours, .. } => {
                // In a sync group the timer may have expired at another priority than that of the takeover.
                let higher = master.priority < *ours;
                says(moves == (Backup, Master) && config.preempt && higher && self.lower, "it may not preempt")
            }
            Cause::BetterMaster { master, ours } => {
                let heard =
                    self.better.is_some_and(|(_, b)| (b.address, b.priority) == (master.address, master.priority));
                says(moves == (Master, Backup) && heard && master.priority >= *ours, "no such master was heard")
            }
            Cause::AddressOwner => says(to == Master && priority == 255, "it is no owner"),
            Cause::Adopted => says(to == Master, "adoption makes a master"),
            Cause::Fault { reasons } => says(to == Fault && !reasons.is_empty(), "no fault"),
            Cause::FaultCleared => says(from == Fault && to == Backup, "it was not in FAULT"),
            Cause::Failover | Cause::Maintenance => says(moves == (Master, Backup), "only a master hands over"),
            Cause::Stopping => says(to == Stop, "nobody stopped it"),
            Cause::Removed => says(matches!(to, Fault | Deleted), "nobody removed it"),
            Cause::SyncGroup { .. } => says(matches!(to, Backup | Master), "a group moves between these"),
            // Another VRID is another router, which starts anew.
            Cause::Reconfigured => says(from == Init || to == Init, "it had started before"),
            Cause::Started | Cause::Tracker { .. } => says(from == Init, "it had started before"),
        }
    }
}
