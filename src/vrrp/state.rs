//! The states of a virtual router, each with the data and the deadlines that exist only in it.
//!
//! Pure. Leaving a state is cancelling its timers: there is nothing else to cancel.
//!
//! ```text
//!            ┌──────┐ nothing to wait for   ┌────────┐  master-down deadline   ┌────────┐
//!  start ──▶ │ Init │ ────────────────────▶ │ Backup │ ──────────────────────▶ │ Master │
//!            └──────┘                       └────────┘ ◀────────────────────── └────────┘
//!                │ a fault        a fault │   ▲          a better master          │ a fault
//!                └──────────▶ ┌───────┐ ◀─┘   │ no fault left                     │
//!                             │ Fault │ ──────┘                                   │
//!                             └───────┘ ◀─────────────────────────────────────────┘
//!
//!            ┌─────────┐ successor announced, or its advert and a moment, or nobody came
//!  Master ─▶ │ Leaving │ ─────────────────────────────────────────────────────────────▶ the end
//!   (stop)   └─────────┘
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::config::{GarpConfig, InstanceConfig};
use super::event::{Cause, FaultReason, Heard, StateName};
use super::rare::{Rare, Usual};
use super::timing;
use super::types::{AdvertInterval, IfIndex, Priority};

/// Where a virtual router is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not started: start-up delay, or a weight-0 tracker without a result.
    Init,
    /// Something that must be healthy is not.
    Fault {
        /// All that is wrong; never empty.
        reasons: BTreeSet<FaultReason>,
    },
    /// Listens (RFC 9568 §6.4.2).
    Backup(Backup),
    /// Advertises and holds the addresses (RFC 9568 §6.4.3).
    Master(Master),
    /// Has resigned, and keeps each address until its successor has it.
    Leaving(Leaving),
}

impl State {
    /// The state's name.
    pub fn name(&self) -> StateName {
        match self {
            Self::Init => StateName::Init,
            Self::Fault { .. } => StateName::Fault,
            Self::Backup(_) => StateName::Backup,
            Self::Master(_) => StateName::Master,
            Self::Leaving(_) => StateName::Stop,
        }
    }
}

/// A backup waits for a master to fall silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// What the master-down timer measures, and since when.
    pub timer: DownTimer,
    /// The interval of the master that we follow (Master_Adver_Interval); ours until one was heard.
    pub master_adver_interval: AdvertInterval,
    /// The last advert that was accepted.
    pub master: Option<Heard>,
    /// The last advert that was not, because its priority is lower than ours, and when it was heard.
    pub rejected: Option<Box<(Heard, Instant)>>,
    /// Adverts were lost on our side since the last one that was accepted, and the timer was put off for that: once.
    pub excused: bool,
    /// It began to wait in this turn of the process, which may be stopped before it listens ([`Self::listen_from`]).
    pub is_new: bool,
    /// End of `preempt_delay`, or of the hold, running since the first lower-priority advert.
    pub preempt_at: Option<Instant>,
    /// It handed over on command: a lower-priority master is left alone for this long.
    pub hold: Duration,
    /// It handed over on command, and its successor does not have all addresses yet.
    pub handover: Option<Box<Leaving>>,
}

/// The master-down timer. The deadline follows from it, the configuration and the priority: nothing to keep in step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DownTimer {
    /// Running.
    Running {
        /// Since the last accepted advert, or since listening began.
        since: Instant,
        /// For how long.
        wait: Wait,
    },
    /// Expired, but the sync group is not ready: its members become master together or not at all.
    Expired {
        /// Why this member would be master.
        cause: Cause,
    },
}

/// How long a backup waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// A whole master-down interval.
    MasterDown,
    /// Only the skew time: the master resigned (RFC 9568 §6.4.2).
    Skew,
    /// One advert interval and the smallest skew: `state MASTER` at start (keepalived).
    InitialMaster,
}

impl Backup {
    /// A backup that begins to listen.
    pub fn new(since: Instant, wait: Wait, master: Option<Heard>, own_interval: AdvertInterval) -> Self {
        Self {
            timer: DownTimer::Running { since, wait },
            master_adver_interval: master.map_or(own_interval, |master| master.interval),
            master,
            rejected: None,
            excused: false,
            is_new: master.is_none(),
            preempt_at: None,
            hold: Duration::ZERO,
            handover: None,
        }
    }

    /// A new wait begins now, and not when it was decided.
    pub fn listen_from(&mut self, now: Instant) {
        let is_new = std::mem::take(&mut self.is_new);
        if let DownTimer::Running { since, wait: Wait::MasterDown | Wait::InitialMaster } = &mut self.timer
            && is_new
        {
            *since = now.max(*since);
        }
    }

    /// The last advert that was not accepted.
    pub fn rejected(&self) -> Option<Heard> {
        self.rejected.as_deref().map(|(heard, _)| *heard)
    }

    /// When it will try to become master; `None` once it waits for its group.
    pub fn deadline(&self, config: &InstanceConfig, priority: Priority) -> Option<Instant> {
        let DownTimer::Running { since, wait } = &self.timer else { return None };
        let interval = self.master_adver_interval;
        Some(
            *since
                + match wait {
                    Wait::MasterDown => {
                        timing::master_down(config.version, priority, interval, config.down_timer_adverts)
                    }
                    Wait::Skew => timing::skew(config.version, priority, interval),
                    Wait::InitialMaster => {
                        interval.duration() + timing::skew(config.version, Priority::OWNER, interval)
                    }
                },
        )
    }

    /// Why it becomes master when its deadline passes at `now`, `late` after it was due.
    pub fn cause(&self, now: Instant, late: Duration, ours: Priority) -> Cause {
        let (since, wait) = match &self.timer {
            DownTimer::Running { since, wait } => (*since, *wait),
            DownTimer::Expired { cause } => return cause.clone(),
        };
        match (wait, self.master, self.rejected()) {
            (Wait::Skew, Some(master), _) => Cause::MasterResigned { master, late },
            (_, _, Some(master)) => Cause::Preempting { master, ours: ours.value(), late },
            (_, last_master, None) => {
                Cause::MasterSilent { last_master, silence: now.saturating_duration_since(since), late }
            }
        }
    }
}

/// A master advertises and announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// The next regular advert (Adver_Timer).
    pub next_advert_at: Instant,
    /// Until then, adverts of lower priority or 0 are not answered again: a flood of them is not worth a storm of ours.
    pub quiet_until: Instant,
    /// When to announce again.
    pub garp: GarpSchedule,
    /// Addresses that somebody else removed.
    pub losses: Rare<Losses>,
}

/// Addresses removed behind our back: put back at once, and ever more slowly when it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Losses {
    /// When to put them back.
    pub restore_at: Option<Instant>,
    in_a_row: u32,
    last: Option<Instant>,
}

impl Usual for Losses {
    const USUAL: &'static Self = &Self { restore_at: None, in_a_row: 0, last: None };
}

/// Losses further apart than this have nothing to do with each other.
const CALM: Duration = Duration::from_secs(60);
/// Wait after the second loss in a row; doubled with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Two fighting programs meet this often at the least.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Losses {
    /// An address is gone. Those that go before it is put back are one loss with it. Returns how long that takes.
    pub fn on_loss(&mut self, now: Instant) -> Duration {
        if let Some(at) = self.restore_at {
            return at.saturating_duration_since(now);
        }
        let calm = self.last.is_none_or(|last| now.saturating_duration_since(last) > CALM);
        self.in_a_row = if calm { 0 } else { self.in_a_row.saturating_add(1) };
        self.last = Some(now);
        let wait = match self.in_a_row {
            0 => Duration::ZERO,
            n => FIRST_WAIT.saturating_mul(1 << (n - 1).min(16)).min(LONGEST_WAIT),
        };
        self.restore_at = Some(now + wait);
        wait
    }
}

/// A master that was told to stop, or to hand over: make before break.
///
/// RFC 9568 §6.4.3 (Shutdown) lets the addresses go with the resignation, and clients wait for the skew time until the
/// backup takes them. We go on answering for them meanwhile, without adverts and without announcements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// The resignation is repeated then: one packet may be lost.
    pub repeat_at: Option<Instant>,
    /// All addresses are gone by then, whoever came.
    pub until: Instant,
    /// The successor was heard.
    pub successor: Option<Heard>,
    /// Addresses that the successor has announced.
    pub released: BTreeSet<(IfIndex, IpAddr)>,
}

/// How long after the first resignation the second goes out.
const REPEAT_RESIGNATION: Duration = Duration::from_millis(5);
/// The longest linger, however long the advert interval is.
const LONGEST_LINGER: Duration = Duration::from_secs(2);
/// After the successor's first advert: the time that it takes to put the addresses on and announce them.
const LINGER_AFTER_ADVERT: Duration = Duration::from_millis(20);

impl Leaving {
    /// Begins. The successor waits for its skew time, which is never longer than 255/256 of an interval.
    pub fn new(now: Instant, interval: AdvertInterval) -> Self {
        let longest_skew = interval.duration() * 255 / 256;
        Self {
            repeat_at: Some(now + REPEAT_RESIGNATION),
            until: now + longest_skew.min(LONGEST_LINGER),
            successor: None,
            released: BTreeSet::new(),
        }
    }

    /// Another router advertises.
    pub fn on_successor(&mut self, now: Instant, heard: Heard) {
        self.successor = Some(heard);
        self.repeat_at = None;
        self.until = self.until.min(now + LINGER_AFTER_ADVERT);
    }

    /// The next thing to do.
    pub fn deadline(&self) -> Instant {
        self.repeat_at.map_or(self.until, |at| at.min(self.until))
    }
}

/// When gratuitous ARPs and unsolicited NAs are due again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GarpSchedule {
    /// The second burst, and its packets per address.
    pub second: Option<(Instant, u32)>,
    /// The periodic burst.
    pub refresh_at: Option<Instant>,
    /// The wait that ends then.
    refresh_wait: Duration,
    /// A burst for which others gave reason so soon after the one before that it waits, and its packets per address.
    pub again: Option<(Instant, u32)>,
    /// Until then it does.
    calm_at: Option<Instant>,
}

/// The first periodic burst of a new master, if the configured ones are further apart; each wait after it is twice as long as
/// the one before, up to what is configured. A switch port may begin to forward within half a minute, and a master behind it
/// that yields without a word (keepalived) leaves its clients to us: nothing else tells us of them.
const FIRST_REFRESH: Duration = Duration::from_secs(10);

/// Bursts for which others give reason come no closer than this: forged adverts and flapping ports make no storm.
const CALM_BETWEEN_BURSTS: Duration = Duration::from_secs(1);

impl GarpSchedule {
    /// The schedule of a new master.
    pub fn on_master(now: Instant, config: &GarpConfig) -> Self {
        let mut schedule = Self { second: after(now, config.delay, config.repeat), ..Self::default() };
        schedule.arm_refresh(now, config, FIRST_REFRESH);
        schedule
    }

    /// Clients may have learned something else: another master was heard, or a link came back. Packets per address to
    /// send now; none if the burst has to wait.
    pub fn on_doubt(&mut self, now: Instant, repeat: u32) -> u32 {
        match self.calm_at.filter(|at| now < *at) {
            Some(at) => {
                self.again = Some((at, self.again.map_or(repeat, |(_, waiting)| waiting.max(repeat))));
                0
            }
            None => {
                self.calm_at = Some(now + CALM_BETWEEN_BURSTS);
                self.again = None;
                repeat
            }
        }
    }

    /// A second burst after a lower-priority advert was heard, unless one is due anyway.
    pub fn on_lower_priority(&mut self, now: Instant, config: &GarpConfig) {
        self.second = self.second.or(after(now, config.lower_prio_delay, config.lower_prio_repeat));
    }

    /// A reload changed the interval of the periodic bursts.
    pub fn on_refresh_changed(&mut self, now: Instant, config: &GarpConfig) {
        self.arm_refresh(now, config, FIRST_REFRESH);
    }

    fn arm_refresh(&mut self, now: Instant, config: &GarpConfig, wait: Duration) {
        self.refresh_wait = wait.min(config.refresh);
        self.refresh_at = (!config.refresh.is_zero()).then(|| now + self.refresh_wait);
    }

    /// The next burst.
    pub fn deadline(&self) -> Option<Instant> {
        let bursts = [self.second, self.again].into_iter().flatten().map(|(at, _)| at);
        bursts.chain(self.refresh_at).min()
    }

    /// Packets per address that are due now, and arms the next periodic burst.
    pub fn take_due(&mut self, now: Instant, config: &GarpConfig) -> Option<u32> {
        let second = self.second.take_if(|(at, _)| *at <= now).map(|(_, repeat)| repeat);
        let refresh = self.refresh_at.is_some_and(|at| at <= now).then_some(config.refresh_repeat);
        if refresh.is_some() {
            self.arm_refresh(now, config, self.refresh_wait * 2);
        }
        let again = self.again.take_if(|(at, _)| *at <= now).map(|(_, repeat)| repeat);
        if again.is_some() {
            self.calm_at = Some(now + CALM_BETWEEN_BURSTS);
        }
        second.max(refresh).max(again)
    }
}

fn after(now: Instant, delay: Duration, repeat: u32) -> Option<(Instant, u32)> {
    (!delay.is_zero() && repeat > 0).then(|| (now + delay, repeat))
}
