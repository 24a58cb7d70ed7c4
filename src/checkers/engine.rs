//! All checkers: which probes are due, what their findings mean, and whom to tell.
//!
//! Pure: time is passed in. Checkers with equal configuration ask the same of the same target; they are one *check*
//! with several *subscribers*, and it runs once. Every subscriber remembers what it was told last, so a report is due
//! exactly while that differs from what counts: nothing gets lost when reports have to wait, and no queue grows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::{CheckerConfig, Probe, Schedule};
use super::file;
use super::finding::{Failure, Finding};
use super::report::{CheckReport, CheckerId, CheckerStatus, LastProbe};
use super::schedule::{CheckKey, Deadlines, Random, first_run, next_run};
use super::status::CheckStatus;
use crate::ipvs::config::VirtualServerId;
use crate::ipvs::types::SocketKey;

/// All checkers.
#[derive(Debug)]
pub struct CheckEngine {
    epoch: Instant,
    random: Random,
    /// Boxed, because a map's nodes are half empty.
    checks: BTreeMap<CheckKey, Box<Check>>,
    by_config: BTreeMap<Arc<CheckerConfig>, CheckKey>,
    last_key: CheckKey,
    subscribers: BTreeMap<Arc<CheckerId>, Subscriber>,
    paused: BTreeSet<VirtualServerId>,
    files: BTreeMap<String, Option<i64>>,
    deadlines: Deadlines,
    /// Subscribers that may have something to be told.
    untold: BTreeSet<Arc<CheckerId>>,
}

#[derive(Debug)]
struct Check {
    config: Arc<CheckerConfig>,
    status: CheckStatus,
    subscribers: Vec<Arc<CheckerId>>,
    /// The next probe; `None` while one runs, while it is paused, and for checks that wait for events.
    due: Option<Instant>,
    /// The time for which the running probe was due.
    running: Option<Instant>,
    /// Since when it has been up or down.
    since: Instant,
    last: Option<Last>,
    probes: u64,
    failures: u64,
    inconclusive: u64,
}

#[derive(Debug)]
struct Last {
    failure: Option<String>,
    latency: Duration,
    ended: Instant,
}

#[derive(Debug)]
struct Subscriber {
    check: CheckKey,
    /// The weight of the last report, `None` is down; before any report what the balancer assumes: up, but for `alpha`.
    told: Option<i64>,
}

/// A probe to be run; its finding goes to [`CheckEngine::finished`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Which check.
    pub key: CheckKey,
    /// What to ask.
    pub config: Arc<CheckerConfig>,
    /// Which page, of an HTTP probe.
    pub page: usize,
}

/// What a finding has changed, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Up now.
    Up,
    /// Down now, for this reason.
    Down(String),
    /// Failed and will be tried again, or failed again.
    Failed(String),
    /// Our own trouble; said once until a probe succeeds or fails.
    Ours(String),
}

impl CheckEngine {
    /// None yet. The seed spreads the first probes.
    pub fn new(now: Instant, seed: u64) -> Self {
        Self {
            epoch: now,
            random: Random::new(seed),
            checks: BTreeMap::new(),
            by_config: BTreeMap::new(),
            last_key: 0,
            subscribers: BTreeMap::new(),
            paused: BTreeSet::new(),
            files: BTreeMap::new(),
            deadlines: Deadlines::default(),
            untold: BTreeSet::new(),
        }
    }

    /// Has exactly these checkers. What stays the same keeps its status and its beat; a checker that changes what it
    /// asks of the same target keeps its status.
    pub fn set_checkers(&mut self, now: Instant, configs: BTreeMap<CheckerId, Arc<CheckerConfig>>) {
        let mut former = std::mem::take(&mut self.subscribers);
        for check in self.checks.values_mut() {
            check.subscribers.clear();
        }
        for (id, config) in configs {
            let id = Arc::new(id);
            let previous = former.remove(&id);
            let told = previous.as_ref().map_or(if config.alpha { None } else { Some(0) }, |former| former.told);
            let key = match self.by_config.get(&config) {
                Some(key) => *key,
                None => self.add(now, config, previous.map(|former| former.check)),
            };
            if let Some(check) = self.checks.get_mut(&key) {
                if check.subscribers.is_empty() {
                    // Most have one; doubling would begin with room for four.
                    check.subscribers.reserve_exact(1);
                }
                check.subscribers.push(Arc::clone(&id));
            }
            self.subscribers.insert(id, Subscriber { check: key, told });
        }
        let gone: Vec<_> = self.checks.iter().filter(|(_, c)| c.subscribers.is_empty()).map(|(key, _)| *key).collect();
        for key in gone {
            self.remove(key);
        }
        let present: BTreeSet<_> = self.subscribers.keys().map(|id| &id.virtual_server).collect();
        self.paused.retain(|paused| present.contains(paused));
        self.untold = self.subscribers.keys().cloned().collect();
        for key in self.checks.keys().copied().collect::<Vec<_>>() {
            self.suspend_or_resume(now, key);
        }
    }

    fn add(&mut self, now: Instant, config: Arc<CheckerConfig>, previous: Option<CheckKey>) -> CheckKey {
        let inherited = previous
            .and_then(|key| self.checks.get(&key))
            .filter(|check| same_question(&check.config.probe, &config.probe))
            .map(|check| CheckStatus::inherited(&check.status.health()));
        let due = (!is_event_driven(&config.probe))
            .then(|| first_run(self.epoch, now, config.schedule.warmup, self.random.draw()));
        let mut check = Box::new(Check {
            status: inherited.unwrap_or_else(|| CheckStatus::new(config.alpha)),
            subscribers: Vec::new(),
            due: None,
            running: None,
            since: now,
            last: None,
            probes: 0,
            failures: 0,
            inconclusive: 0,
            config: Arc::clone(&config),
        });
        self.last_key += 1;
        let key = self.last_key;
        self.deadlines.set(key, &mut check.due, due);
        if let Probe::File(probe) = &config.probe
            && let Some(value) = self.files.get(&probe.file)
        {
            check.conclude(now, file::judge(probe, *value), Duration::ZERO);
        }
        self.checks.insert(key, check);
        self.by_config.insert(config, key);
        key
    }

    fn remove(&mut self, key: CheckKey) {
        if let Some(mut check) = self.checks.remove(&key) {
            self.deadlines.set(key, &mut check.due, None);
            self.by_config.remove(&check.config);
        }
    }

    /// Stops the probes of a virtual server, or goes on with them (`ha_suspend`). Meanwhile its checkers keep their
    /// status and report nothing. A probe that serves another virtual server too goes on.
    pub fn set_paused(&mut self, now: Instant, virtual_server: &VirtualServerId, paused: bool) {
        let changed =
            if paused { self.paused.insert(virtual_server.clone()) } else { self.paused.remove(virtual_server) };
        if !changed {
            return;
        }
        let concerned: Vec<_> = self
            .subscribers
            .range(first_of(virtual_server)..)
            .take_while(|(id, _)| id.virtual_server == *virtual_server)
            .map(|(id, subscriber)| (Arc::clone(id), subscriber.check))
            .collect();
        for (id, key) in concerned {
            self.untold.insert(id);
            self.suspend_or_resume(now, key);
        }
    }

    fn suspend_or_resume(&mut self, now: Instant, key: CheckKey) {
        let Some(check) = self.checks.get_mut(&key) else { return };
        let active = check.subscribers.iter().any(|id| !self.paused.contains(&id.virtual_server));
        if !active {
            self.deadlines.set(key, &mut check.due, None);
        } else if check.due.is_none() && check.running.is_none() && !is_event_driven(&check.config.probe) {
            // Soon, because what it knows is old; not all at the same moment.
            let spread = check.config.schedule.delay_loop.min(Duration::from_secs(1));
            let due = first_run(self.epoch, now, spread, self.random.draw());
            self.deadlines.set(key, &mut check.due, Some(due));
        }
    }

    /// When the next probe is due.
    pub fn next_start(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// The next probe that is due by now, if there is one. It counts as running until its finding comes.
    pub fn start(&mut self, now: Instant) -> Option<Start> {
        let key = self.deadlines.due(now)?;
        let check = self.checks.get_mut(&key)?;
        check.running = check.due;
        self.deadlines.set(key, &mut check.due, None);
        Some(Start { key, config: Arc::clone(&check.config), page: check.status.page() })
    }

    /// Takes the finding of a probe. One of a check that is gone is ignored.
    pub fn finished(
        &mut self,
        now: Instant,
        key: CheckKey,
        finding: Finding,
        latency: Duration,
    ) -> Option<(Arc<CheckerConfig>, Change)> {
        let check = self.checks.get_mut(&key)?;
        let due = check.running.take()?;
        let finding = match (finding, check.config.schedule.max_latency) {
            (Ok(_), Some(most)) if latency > most => {
                Err(Failure::Unfit(format!("it took {latency:.3?}, and max_latency is {most:.3?}")))
            }
            (finding, _) => finding,
        };
        let (interval, change) = check.conclude(now, finding, latency);
        if check.subscribers.iter().any(|id| !self.paused.contains(&id.virtual_server)) {
            let due = next_run(self.epoch, due, interval, now);
            self.deadlines.set(key, &mut check.due, Some(due));
        }
        self.untold.extend(check.subscribers.iter().filter(|_| change.is_some()).cloned());
        change.map(|change| (Arc::clone(&check.config), change))
    }

    /// A tracked file has this number now; `None`: it could not be read, and what was known stays.
    pub fn file_changed(&mut self, now: Instant, name: &str, value: Option<i64>) -> Vec<(Arc<CheckerConfig>, Change)> {
        self.files.insert(name.to_owned(), value);
        let mut changes = Vec::new();
        for check in self.checks.values_mut() {
            let Probe::File(probe) = &check.config.probe else { continue };
            if probe.file != name {
                continue;
            }
            let finding = file::judge(probe, value);
            let (_, change) = check.conclude(now, finding, Duration::ZERO);
            self.untold.extend(check.subscribers.iter().cloned());
            changes.extend(change.map(|change| (Arc::clone(&check.config), change)));
        }
        changes
    }

    /// Whether [`Self::poll_report`] might have one.
    pub fn has_reports(&self) -> bool {
        !self.untold.is_empty()
    }

    /// The next report to be sent, until `None`. To be asked after every input.
    pub fn poll_report(&mut self) -> Option<CheckReport> {
        while let Some(id) = self.untold.pop_first() {
            let paused = self.paused.contains(&id.virtual_server);
            let Some(subscriber) = self.subscribers.get_mut(&id).filter(|_| !paused) else { continue };
            let Some(check) = self.checks.get(&subscriber.check) else { continue };
            let counts = check.status.weight();
            if subscriber.told != counts {
                subscriber.told = counts;
                return Some(CheckReport { checker: (*id).clone(), health: check.status.health() });
            }
        }
        None
    }

    /// What is known of each checker.
    pub fn statuses(&self, now: Instant) -> BTreeMap<CheckerId, CheckerStatus> {
        let status = |(id, subscriber): (&Arc<CheckerId>, &Subscriber)| {
            let check = self.checks.get(&subscriber.check)?;
            let last = check.last.as_ref().map(|last| LastProbe {
                failure: last.failure.clone(),
                latency: last.latency,
                age: now.saturating_duration_since(last.ended),
            });
            let status = CheckerStatus {
                health: check.status.health(),
                since: now.saturating_duration_since(check.since),
                paused: self.paused.contains(&id.virtual_server),
                last,
                probes: check.probes,
                failures: check.failures,
                inconclusive: check.inconclusive,
                shared_with: check.subscribers.len().saturating_sub(1),
            };
            Some(((**id).clone(), status))
        };
        self.subscribers.iter().filter_map(status).collect()
    }
}

impl Check {
    /// Records a finding; answers when the next probe is wanted after the start of this one, and what is worth a line.
    fn conclude(&mut self, now: Instant, finding: Finding, latency: Duration) -> (Duration, Option<Change>) {
        let before = self.status.weight();
        let failure = finding.as_ref().err().cloned();
        let repeated = match (&failure, &self.last) {
            (Some(failure), Some(last)) => last.failure.as_ref() == Some(&failure.to_string()),
            _ => false,
        };
        self.probes += 1;
        self.failures += u64::from(matches!(failure, Some(Failure::Unfit(_))));
        self.inconclusive += u64::from(matches!(failure, Some(Failure::Ours(_))));
        self.last = Some(Last { failure: failure.as_ref().map(Failure::to_string), latency, ended: now });
        let (pages, fast_recovery) = match &self.config.probe {
            Probe::Http(probe) => (probe.urls.len(), probe.fast_recovery),
            _ => (1, false),
        };
        let interval = if is_event_driven(&self.config.probe) {
            let at_once = Schedule { retry: 0, rise: 1, ..self.config.schedule.clone() };
            self.status.record(finding, &at_once, pages, fast_recovery)
        } else {
            self.status.record(finding, &self.config.schedule, pages, fast_recovery)
        };
        let after = self.status.weight();
        if before.is_some() != after.is_some() {
            self.since = now;
        }
        let change = match (before, after, failure) {
            (None, Some(_), _) => Some(Change::Up),
            (Some(_), None, Some(failure)) => Some(Change::Down(failure.to_string())),
            (_, _, Some(Failure::Unfit(reason))) => Some(Change::Failed(reason)),
            (_, _, Some(Failure::Ours(reason))) if !repeated => Some(Change::Ours(reason)),
            (Some(old), Some(new), _) if old != new => Some(Change::Up),
            _ => None,
        };
        (interval, change)
    }
}

/// What comes before all checkers of a virtual server.
fn first_of(virtual_server: &VirtualServerId) -> CheckerId {
    let lowest = SocketKey::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    CheckerId { virtual_server: virtual_server.clone(), real_server: lowest, index: 0 }
}

/// Checks without probes of their own: somebody tells.
fn is_event_driven(probe: &Probe) -> bool {
    matches!(probe, Probe::File(_) | Probe::Bfd(_))
}

/// Whether what is known of one says something of the other: the same kind of probe of the same target.
fn same_question(one: &Probe, other: &Probe) -> bool {
    match (one, other) {
        (Probe::Tcp(one), Probe::Tcp(other)) | (Probe::Ping(one), Probe::Ping(other)) => one.address == other.address,
        (Probe::Http(one), Probe::Http(other)) => {
            one.target.address == other.target.address && one.tls.is_some() == other.tls.is_some()
        }
        (Probe::Smtp(one), Probe::Smtp(other)) => {
            one.targets.iter().map(|target| target.address).eq(other.targets.iter().map(|target| target.address))
        }
        (Probe::Dns(one), Probe::Dns(other)) => one.target.address == other.target.address,
        (Probe::Udp(one), Probe::Udp(other)) => one.target.address == other.target.address,
        (Probe::Misc(one), Probe::Misc(other)) => one.command == other.command,
        (Probe::File(one), Probe::File(other)) => one.file == other.file,
        (Probe::Bfd(one), Probe::Bfd(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
