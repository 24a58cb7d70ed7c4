//! `vrrp_script`: runs what is tracked, on its beat, and reports changes of status.
//!
//! Shell. One task for each script, held here and ended when a reload removes or changes the script (its run is
//! killed with it). A script that stays as it is keeps running and keeps its status.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use super::Update;
use super::config::ScriptConfig;
use super::rise_fall::{RiseFall, next_start};
use crate::daemon::exec::{self, Outcome, Policy, Runner};
use crate::vrrp::config::TrackerKey;
use crate::vrrp::event::TrackerStatus;

/// All scripts that run.
#[derive(Debug)]
pub struct ScriptTrackers {
    updates: mpsc::Sender<Update>,
    policy: Policy,
    running: BTreeMap<String, Running>,
}

#[derive(Debug)]
struct Running {
    config: ScriptConfig,
    /// It runs at this moment.
    busy: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Safe at any await: a run that is given up kills its process group.
        self.task.abort();
    }
}

impl ScriptTrackers {
    /// None yet; statuses will go to `updates`.
    pub fn new(updates: mpsc::Sender<Update>) -> Self {
        Self { updates, policy: Policy::default(), running: BTreeMap::new() }
    }

    /// Runs exactly these. `known` are the statuses so far, which a changed script keeps until its next result.
    pub fn apply(
        &mut self,
        wanted: &BTreeMap<String, ScriptConfig>,
        runner: &Runner,
        known: &BTreeMap<TrackerKey, TrackerStatus>,
    ) {
        if self.policy != *runner.policy() {
            self.policy = runner.policy().clone();
            self.running.clear();
        }
        self.running.retain(|name, running| wanted.get(name) == Some(&running.config));
        for (name, config) in wanted {
            if !self.running.contains_key(name) {
                let known = known.get(&TrackerKey::Script(name.clone())).copied();
                let busy = Arc::<AtomicBool>::default();
                let script = Script {
                    busy: Arc::clone(&busy),
                    name: name.clone(),
                    config: config.clone(),
                    runner: runner.clone(),
                    updates: self.updates.clone(),
                    rise_fall: RiseFall::new(config, known),
                    last_words: None,
                };
                #[allow(clippy::disallowed_methods, reason = "a shell; the handle is in `running`")]
                let task = tokio::spawn(script.run_for_ever());
                self.running.insert(name.clone(), Running { config: config.clone(), busy, task });
            }
        }
    }

    /// Names of the scripts of which a run is under way.
    pub fn running(&self) -> BTreeSet<String> {
        let busy = self.running.iter().filter(|(_, running)| running.busy.load(Ordering::Relaxed));
        busy.map(|(name, _)| name.clone()).collect()
    }

    /// Names of the scripts that run.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.running.keys().map(String::as_str)
    }
}

struct Script {
    name: String,
    config: ScriptConfig,
    runner: Runner,
    updates: mpsc::Sender<Update>,
    rise_fall: RiseFall,
    busy: Arc<AtomicBool>,
    /// The last line logged about its result: the same again is not news.
    last_words: Option<String>,
}

impl Script {
    #[allow(clippy::disallowed_methods, reason = "a shell: reads the clock for each run")]
    async fn run_for_ever(mut self) {
        if self.rise_fall.status() == TrackerStatus::Down {
            // init_fail. Others say nothing until they know something.
            self.report(TrackerStatus::Down).await;
        }
        loop {
            let started = Instant::now();
            let changed = self.run_once().await;
            if let Some(status) = changed {
                self.report(status).await;
            }
            sleep_until(next_start(started.into_std(), self.config.interval, std::time::Instant::now()).into()).await;
        }
    }

    async fn run_once(&mut self) -> Option<TrackerStatus> {
        let prepared = match self.runner.prepare(&self.config.command) {
            Ok(prepared) => prepared,
            Err(why) => {
                let words = format!("VRRP_Script({}) cannot be run, its state is unknown: {why}", self.name);
                self.say(words, |words| error!("{words}"));
                return self.rise_fall.record_unknown();
            }
        };
        self.busy.store(true, Ordering::Relaxed);
        let outcome = exec::run(&prepared, &[], self.config.timeout).await;
        self.busy.store(false, Ordering::Relaxed);
        let words = format!("VRRP_Script({}) {outcome}", self.name);
        match outcome {
            Outcome::Exited(status) if status.success() => self.say(words, |words| info!("{words}")),
            Outcome::NotStarted(_) => self.say(words, |words| error!("{words}")),
            Outcome::Exited(_) | Outcome::TimedOut { .. } => self.say(words, |words| warn!("{words}")),
        }
        self.rise_fall.record(outcome.is_success())
    }

    fn say(&mut self, words: String, log: impl FnOnce(&str)) {
        if self.last_words.as_ref() != Some(&words) {
            log(&words);
            self.last_words = Some(words);
        }
    }

    async fn report(&self, status: TrackerStatus) {
        // The receiver is main's loop; when it is gone so are we.
        let _ = self.updates.send(Update { key: TrackerKey::Script(self.name.clone()), status }).await;
    }
}

#[cfg(test)]
mod tests;
