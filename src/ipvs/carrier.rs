//! Keeps one data plane in step with what is desired, whatever it refuses and whoever else writes to it.
//!
//! Pure but for the calls to the data plane: time is passed in. After a refusal that may pass: wait, dump, plan, apply. A
//! refusal that will not pass is told once and not tried again until something changes. What others removed from the
//! kernel is put back; what others added or changed is theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use super::dataplane::{Dataplane, DataplaneError, ServiceCounters};
use super::plan::{Keeps, carry_out, missing, plan_part};
use super::table::{Operation, ServiceTable};
use super::types::{ServiceKey, SocketKey};

/// The first wait after a refusal; it doubles.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest.
const LAST_RETRY: Duration = Duration::from_secs(60);
/// So many operations are planned and carried out together. The forwarder takes all at once: it is one view then.
const OPERATIONS_TOGETHER: usize = 1024;
/// How often the kernel is asked whether all is still there.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Something worth a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// An operation was refused, and was not before.
    Refused {
        /// Which.
        operation: Operation,
        /// Why.
        error: DataplaneError,
    },
    /// A service that had refusals has none any longer.
    Mended(ServiceKey),
    /// Others had removed so many services and destinations; they are back.
    Restored(usize),
    /// The data plane could not be read.
    Unreadable(DataplaneError),
    /// A word of the data plane's own.
    Note(String),
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { operation, error } => write!(f, "cannot {operation}: {error}"),
            Self::Mended(key) => write!(f, "service {key} is in order again"),
            Self::Restored(count) => write!(f, "{count} entries had been removed behind our back and are put back"),
            Self::Note(note) => f.write_str(note),
            Self::Unreadable(error) => write!(f, "the table cannot be read: {error}"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddService(key, settings) => write!(f, "add service {key} ({})", settings.scheduler),
            Self::EditService(key, settings) => write!(f, "change service {key} ({})", settings.scheduler),
            Self::RemoveService(key) => write!(f, "remove service {key}"),
            Self::AddDestination(key, at, _) => write!(f, "add real server {at} to {key}"),
            Self::EditDestination(key, at, _) => write!(f, "change real server {at} of {key}"),
            Self::RemoveDestination(key, at) => write!(f, "remove real server {at} from {key}"),
        }
    }
}

/// Refusals that stand, by what they are about.
type Refused = BTreeMap<(ServiceKey, Option<SocketKey>), (Operation, DataplaneError)>;

/// A data plane and what it should have.
pub struct Carrier {
    dataplane: Box<dyn Dataplane>,
    keeps: Keeps,
    /// What of ours is in it, as far as we know.
    applied: ServiceTable,
    desired: ServiceTable,
    refused: Refused,
    retries: u32,
    retry_at: Option<Instant>,
    look_at: Option<Instant>,
    /// The table could not be read, which was said.
    unreadable: bool,
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carrier").field("dataplane", &self.dataplane.name()).finish_non_exhaustive()
    }
}

impl Carrier {
    /// For a data plane that others may write to (`keeps` is [`Keeps::KernelSettings`]), or that is all ours.
    pub fn new(now: Instant, dataplane: Box<dyn Dataplane>, keeps: Keeps) -> Self {
        Self {
            dataplane,
            keeps,
            applied: ServiceTable::default(),
            desired: ServiceTable::default(),
            refused: BTreeMap::new(),
            retries: 0,
            retry_at: None,
            look_at: (keeps == Keeps::KernelSettings).then(|| now + LOOK_EVERY),
            unreadable: false,
        }
    }

    /// `kernel` or `userspace`.
    pub fn name(&self) -> &'static str {
        self.dataplane.name()
    }

    /// What of ours is in it, as far as we know.
    pub fn applied(&self) -> &ServiceTable {
        &self.applied
    }

    /// What our services have carried; nothing when the data plane cannot tell.
    pub fn counters(&mut self) -> BTreeMap<ServiceKey, ServiceCounters> {
        if self.applied.services.is_empty() {
            return BTreeMap::new();
        }
        let mut counters = self.dataplane.counters().unwrap_or_default();
        counters.retain(|key, _| self.applied.services.contains_key(key));
        counters
    }

    /// Takes over what a predecessor left there: of its services those that are ours.
    #[must_use]
    pub fn adopt(&mut self, ours: &BTreeSet<ServiceKey>) -> Vec<Remark> {
        match self.dump() {
            Ok(mut table) => {
                table.services.retain(|key, _| ours.contains(key));
                self.applied = table;
                Vec::new()
            }
            Err(remarks) => remarks,
        }
    }

    /// What is there now; a failure is said once.
    fn dump(&mut self) -> Result<ServiceTable, Vec<Remark>> {
        let result = self.dataplane.dump();
        let said = std::mem::replace(&mut self.unreadable, result.is_err());
        result.map_err(|error| if said { Vec::new() } else { vec![Remark::Unreadable(error)] })
    }

    /// Brings it in step with `desired`.
    #[must_use]
    pub fn sync(&mut self, now: Instant, desired: ServiceTable) -> Vec<Remark> {
        self.desired = desired;
        self.step(now)
    }

    /// Tries again what was refused for good: the configuration has changed, or the machine may have.
    pub fn forget_refusals(&mut self) {
        self.refused.clear();
        self.retries = 0;
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.retry_at, self.look_at].into_iter().flatten().min()
    }

    /// Tries again after a refusal, and looks whether everything is still there.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Remark> {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            return self.heal(now);
        }
        if self.look_at.is_some_and(|at| at <= now) {
            self.look_at = Some(now + LOOK_EVERY);
            return self.look();
        }
        Vec::new()
    }

    /// Services that the data plane refuses as a whole.
    pub fn refused_services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.refused.keys().filter(|(_, at)| at.is_none()).map(|(key, _)| key)
    }

    /// Every refusal that stands.
    pub fn refusals(&self) -> impl Iterator<Item = (&Operation, &DataplaneError)> {
        self.refused.values().map(|(operation, error)| (operation, error))
    }

    fn heal(&mut self, now: Instant) -> Vec<Remark> {
        match self.dump() {
            Ok(table) => {
                self.believe(table);
                self.step(now)
            }
            Err(remarks) => {
                self.wait(now);
                remarks
            }
        }
    }

    /// Of what is there, what is ours or should be.
    fn believe(&mut self, mut table: ServiceTable) {
        let (applied, desired) = (&self.applied.services, &self.desired.services);
        table.services.retain(|key, _| applied.contains_key(key) || desired.contains_key(key));
        self.applied = table;
    }

    fn step(&mut self, now: Instant) -> Vec<Remark> {
        let before: BTreeSet<ServiceKey> = self.refused.keys().map(|(key, _)| *key).collect();
        let old = std::mem::take(&mut self.refused);
        // What was not even tried stays refused, if it is still wanted.
        self.refused = old.clone();
        self.refused
            .retain(|(key, at), (operation, error)| error.lasting && is_wanted(&self.desired, *key, *at, operation));
        let mut remarks = Vec::new();
        let enough = match self.keeps {
            Keeps::KernelSettings => OPERATIONS_TOGETHER,
            Keeps::All => usize::MAX,
        };
        let mut operations = Vec::new();
        let mut after = None;
        loop {
            operations.clear();
            after = plan_part(&self.applied, &self.desired, self.keeps, after, enough, &mut operations);
            operations.retain(|operation| !is_hopeless(&old, &self.desired, operation));
            remarks.extend(self.carry_out(&operations, &old));
            if after.is_none() {
                break;
            }
        }
        let now_refused: BTreeSet<ServiceKey> = self.refused.keys().map(|(key, _)| *key).collect();
        let is_mended = |key: &&ServiceKey| {
            // Nothing is in order about a service that was never carried and is not wanted any more.
            let mut refusals = old.range((**key, None)..).take_while(|((of, _), _)| of == *key);
            self.desired.services.contains_key(*key)
                || refusals.any(|(_, (operation, _))| !matches!(operation, Operation::AddService(..)))
        };
        remarks.extend(before.difference(&now_refused).filter(is_mended).map(|key| Remark::Mended(*key)));
        remarks.extend(self.dataplane.take_notes().into_iter().map(Remark::Note));
        if self.refused.values().any(|(_, error)| !error.lasting) {
            self.wait(now);
        } else {
            self.retries = 0;
            self.retry_at = None;
        }
        remarks
    }

    fn carry_out(&mut self, operations: &[Operation], old: &Refused) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let refusals = if operations.is_empty() { Vec::new() } else { self.dataplane.apply(operations) };
        let mut refusals: BTreeMap<usize, DataplaneError> =
            refusals.into_iter().map(|refusal| (refusal.operation, refusal.error)).collect();
        if refusals.is_empty() {
            self.note_applied(operations);
            return remarks;
        }
        let mut without_service = BTreeSet::new();
        for (place, operation) in operations.iter().enumerate() {
            let Some(error) = refusals.remove(&place) else {
                carry_out(&mut self.applied, operation);
                continue;
            };
            let key = operation.service();
            if matches!(operation, Operation::AddService(..)) {
                without_service.insert(key);
            } else if without_service.contains(&key) {
                // A service that is not there has no destinations: one complaint is enough.
                continue;
            }
            let place = (key, operation.destination());
            if old.get(&place) != Some(&(operation.clone(), error.clone())) {
                remarks.push(Remark::Refused { operation: operation.clone(), error: error.clone() });
            }
            self.refused.insert(place, (operation.clone(), error));
        }
        remarks
    }

    /// All of this was accepted. A service that is as it is desired now is shared with the desired table.
    fn note_applied(&mut self, operations: &[Operation]) {
        for of_one in operations.chunk_by(|a, b| a.service() == b.service()) {
            let Some(first) = of_one.first() else { continue };
            let desired = self.desired.services.get(&first.service());
            match (first, desired) {
                (Operation::AddService(key, _), Some(desired)) if of_one.len() == 1 + desired.destinations.len() => {
                    self.applied.services.insert(*key, desired.clone());
                }
                _ => {
                    of_one.iter().for_each(|operation| carry_out(&mut self.applied, operation));
                    if let (Some(applied), Some(desired)) = (self.applied.services.get_mut(&first.service()), desired)
                        && applied == desired
                    {
                        applied.clone_from(desired);
                    }
                }
            }
        }
    }

    fn wait(&mut self, now: Instant) {
        let wait = FIRST_RETRY.saturating_mul(1_u32.checked_shl(self.retries).unwrap_or(u32::MAX)).min(LAST_RETRY);
        self.retries = self.retries.saturating_add(1);
        self.retry_at = Some(now + wait);
    }

    fn look(&mut self) -> Vec<Remark> {
        if self.retry_at.is_some() {
            return Vec::new();
        }
        let table = match self.dump() {
            Ok(table) => table,
            Err(remarks) => return remarks,
        };
        let mut lost = missing(&table, &self.desired);
        lost.retain(|operation| !is_hopeless(&self.refused, &self.desired, operation));
        if lost.is_empty() {
            return Vec::new();
        }
        let gone = self.applied.services.keys().filter(|key| !table.services.contains_key(*key));
        let gone: Vec<ServiceKey> = gone.copied().collect();
        for key in gone {
            self.applied.services.remove(&key);
        }
        let old = self.refused.clone();
        let mut remarks = self.carry_out(&lost, &old);
        remarks.insert(0, Remark::Restored(lost.len()));
        remarks
    }
}

/// Of no use to try: the same was refused for good, or its service was.
fn is_hopeless(refused: &Refused, desired: &ServiceTable, operation: &Operation) -> bool {
    let same = |at: Option<SocketKey>| refused.get(&(operation.service(), at)).filter(|(_, e)| e.lasting);
    same(operation.destination()).is_some_and(|(refused, _)| refused == operation)
        || (operation.destination().is_some()
            && same(None).is_some_and(|(refused, _)| {
                matches!(refused, Operation::AddService(key, settings)
                    if desired.services.get(key).is_some_and(|service| service.settings == *settings))
            }))
}

/// Whether what was refused is still what is desired.
fn is_wanted(desired: &ServiceTable, key: ServiceKey, at: Option<SocketKey>, operation: &Operation) -> bool {
    let service = desired.services.get(&key);
    match (operation, at) {
        (Operation::AddService(_, settings) | Operation::EditService(_, settings), _) => {
            service.is_some_and(|service| service.settings == *settings)
        }
        (Operation::RemoveService(_), _) => service.is_none(),
        (Operation::AddDestination(_, _, wanted) | Operation::EditDestination(_, _, wanted), Some(at)) => {
            service.is_some_and(|service| service.destinations.get(&at) == Some(wanted))
        }
        (Operation::RemoveDestination(..), Some(at)) => {
            service.is_some_and(|service| !service.destinations.contains_key(&at))
        }
        (_, None) => false,
    }
}

#[cfg(test)]
pub(crate) mod tests;
