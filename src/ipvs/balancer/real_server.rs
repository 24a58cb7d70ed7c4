//! One real server of one virtual server: what its checkers and its operator say, and what follows.
//!
//! Pure. What was said is kept, and fitness and weight are concluded anew each time: nothing is counted up or down.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::checkers::config::CheckerConfig;
use crate::checkers::report::Health;
use crate::ipvs::config::RealServerConfig;
use crate::ipvs::event::AdminState;
use crate::ipvs::table::Destination;

/// The kernel's largest weight: it is a signed number there.
const LARGEST_WEIGHT: u32 = i32::MAX.cast_unsigned();
/// A slow start climbs in so many steps.
const SLOW_START_STEPS: u32 = 10;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct RealServer {
    /// Without its checkers.
    pub config: RealServerConfig,
    /// Its checkers, which are shared with whoever runs them: thousands of them are most of a configuration.
    pub checkers: Vec<Arc<CheckerConfig>>,
    /// What each checker last found, by its place in the configuration.
    findings: Vec<Health>,
    pub admin: AdminState,
    /// It came up while we looked on: the slow start counts from here.
    up_since: Option<Instant>,
    /// What was last concluded, to see a change.
    pub fit: bool,
    /// What was last concluded, to see a change.
    pub weight: u32,
}

impl RealServer {
    pub fn new(mut config: RealServerConfig) -> Self {
        let checkers: Vec<_> = std::mem::take(&mut config.checkers).into_iter().map(Arc::new).collect();
        let findings = checkers.iter().map(|checker| unproven(checker)).collect();
        let mut server =
            Self { config, checkers, findings, admin: AdminState::Up, up_since: None, fit: false, weight: 0 };
        server.fit = server.is_fit();
        server.weight = server.effective_weight();
        server
    }

    /// Takes a new configuration, and answers whether it is another one. A checker that asks the same as before goes on
    /// from what it found.
    pub fn reconfigure(&mut self, mut config: RealServerConfig) -> bool {
        let checkers = std::mem::take(&mut config.checkers);
        if config == self.config && checkers.iter().eq(self.checkers.iter().map(|checker| &**checker)) {
            return false;
        }
        self.config = config;
        let old = std::mem::take(&mut self.checkers);
        let kept = |checker: &CheckerConfig| old.iter().find(|old| ***old == *checker).cloned();
        let shared = |checker| kept(&checker).unwrap_or_else(|| Arc::new(checker));
        self.checkers = checkers.into_iter().map(shared).collect();
        let mut left: Vec<(usize, &Arc<CheckerConfig>)> = (0..).zip(&old).collect();
        let mut findings = Vec::with_capacity(self.checkers.len());
        for (index, checker) in (0..).zip(&self.checkers) {
            // Of several that ask the same, the one in the same place.
            let same = |(_, (_, o)): &(usize, &(usize, &Arc<CheckerConfig>))| o.probe == checker.probe;
            let here = left.iter().enumerate().find(|found| same(found) && found.1.0 == index);
            let kept = here.or_else(|| left.iter().enumerate().find(same)).map(|(place, _)| place);
            let finding = kept.and_then(|place| self.findings.get(left.remove(place).0).cloned());
            findings.push(finding.unwrap_or_else(|| unproven(checker)));
        }
        self.findings = findings;
        true
    }

    /// Notes a finding. Returns the one before, or nothing if there is no such checker.
    pub fn record(&mut self, index: u16, health: Health) -> Option<Health> {
        let finding = self.findings.get_mut(usize::from(index))?;
        Some(std::mem::replace(finding, health))
    }

    pub fn findings(&self) -> impl Iterator<Item = (&CheckerConfig, &Health)> {
        self.checkers.iter().map(|checker| &**checker).zip(&self.findings)
    }

    /// Whether every checker is content. Without checkers it is, but for `alpha`, which waits for one.
    pub fn is_healthy(&self) -> bool {
        if self.findings.is_empty() {
            return !self.config.alpha;
        }
        self.findings.iter().all(|health| matches!(health, Health::Up { .. }))
    }

    pub fn is_fit(&self) -> bool {
        self.is_healthy() && self.admin != AdminState::Maint
    }

    /// The configured weight and what its checkers add, within the kernel's bounds.
    pub fn effective_weight(&self) -> u32 {
        let added = self.findings.iter().fold(0_i64, |sum, health| match health {
            Health::Up { weight } => sum.saturating_add(*weight),
            Health::Down { .. } => sum,
        });
        let weight = i64::from(self.config.weight).saturating_add(added);
        u32::try_from(weight.clamp(0, i64::from(LARGEST_WEIGHT))).unwrap_or(LARGEST_WEIGHT)
    }

    /// Begins a slow start.
    pub fn enter_service(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// Ends a slow start.
    pub fn leave_service(&mut self) {
        self.up_since = None;
    }

    /// When its weight takes the next step.
    pub fn next_step(&self, now: Instant, slow_start: Duration) -> Option<Instant> {
        let since = self.up_since?;
        let step = slow_start / SLOW_START_STEPS;
        let next = (1..=SLOW_START_STEPS).map(|n| since + step * n).find(|at| *at > now);
        next.filter(|_| !step.is_zero())
    }

    /// The weight that it gets now: 0 while it drains, part of its own while it starts slowly.
    pub fn table_weight(&self, now: Instant, slow_start: Duration) -> u32 {
        let weight = self.effective_weight();
        if self.admin == AdminState::Drain || weight == 0 {
            return 0;
        }
        let step = slow_start / SLOW_START_STEPS;
        let Some(since) = self.up_since.filter(|_| !step.is_zero()) else { return weight };
        let passed = now.saturating_duration_since(since);
        let steps = (1..SLOW_START_STEPS).rev().find(|n| passed >= step * *n).unwrap_or(1);
        if passed >= step * SLOW_START_STEPS {
            return weight;
        }
        let part = u64::from(weight) * u64::from(steps) / u64::from(SLOW_START_STEPS);
        u32::try_from(part).unwrap_or(weight).max(1)
    }

    /// As a data plane is to have it.
    pub fn destination(&self, weight: u32) -> Destination {
        Destination {
            method: self.config.method,
            weight,
            upper_threshold: self.config.upper_threshold,
            lower_threshold: self.config.lower_threshold,
        }
    }
}

/// What is believed of a checker that has said nothing: good, or, with `alpha`, not.
fn unproven(checker: &CheckerConfig) -> Health {
    if checker.alpha { Health::Down { reason: "not checked yet".to_owned() } } else { Health::Up { weight: 0 } }
}
