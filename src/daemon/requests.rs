//! Commands that the balancer process asks main to run: its MISC_CHECKs.
//!
//! Shell, owned by main's loop. Only what stands in the configuration is run: the balancer process reads what real
//! servers send, and what it asks for is not to be trusted further than that. At most [`MAX_RUNNING`] run at once; a few
//! more may wait for them, the rest is answered at once with the reason.

use std::collections::{BTreeSet, VecDeque};
use std::os::unix::process::ExitStatusExt;

use tokio::task::JoinSet;

use super::exec::{self, Outcome, Runner};
use crate::checkers::report::{Ended, ExecOutcome, ExecRequest};
use crate::command::Command;

/// Commands that run at once.
pub const MAX_RUNNING: usize = 256;
/// Commands that wait for these.
const MAX_WAITING: usize = 4096;

/// The commands that run and wait.
#[derive(Debug)]
pub struct Requests {
    runner: Runner,
    known: BTreeSet<Command>,
    waiting: VecDeque<ExecRequest>,
    running: JoinSet<ExecOutcome>,
}

impl Requests {
    /// None yet. `known` are the commands that may be asked for.
    pub fn new(runner: Runner, known: BTreeSet<Command>) -> Self {
        Self { runner, known, waiting: VecDeque::new(), running: JoinSet::new() }
    }

    /// From now on by the rules of a new configuration.
    pub fn reconfigure(&mut self, runner: Runner, known: BTreeSet<Command>) {
        self.runner = runner;
        self.known = known;
    }

    /// Runs a command, now or when there is room; or says at once why not. Must be called inside the runtime.
    #[must_use]
    pub fn push(&mut self, request: ExecRequest) -> Option<ExecOutcome> {
        let id = request.id;
        if !self.known.contains(&request.command) {
            return Some(not_run(id, "the command is not in the configuration (any more)"));
        }
        if self.waiting.len() >= MAX_WAITING {
            return Some(not_run(id, "too many commands wait already"));
        }
        self.waiting.push_back(request);
        self.start_waiting();
        None
    }

    fn start_waiting(&mut self) {
        while self.running.len() < MAX_RUNNING {
            let Some(ExecRequest { id, command, timeout }) = self.waiting.pop_front() else { return };
            let prepared = self.runner.prepare(&command);
            self.running.spawn(async move {
                let prepared = match prepared {
                    Ok(prepared) => prepared,
                    Err(why) => return not_run(id, &why.to_string()),
                };
                let ended = match exec::run(&prepared, &[], timeout).await {
                    Outcome::Exited(status) => match (status.code(), status.signal()) {
                        (Some(code), _) => Ended::Exited(code),
                        (None, signal) => Ended::Signalled(signal.unwrap_or_default()),
                    },
                    Outcome::TimedOut { .. } => Ended::TimedOut,
                    Outcome::NotStarted(error) => Ended::NotRun(error.to_string()),
                };
                ExecOutcome { id, ended }
            });
        }
    }

    /// Waits for the next end. Never returns while nothing runs. Safe to drop.
    pub async fn next(&mut self) -> ExecOutcome {
        loop {
            match self.running.join_next().await {
                Some(Ok(outcome)) => {
                    self.start_waiting();
                    return outcome;
                }
                // Aborted by `clear`: nobody waits for it.
                Some(Err(_)) => self.start_waiting(),
                None => std::future::pending().await,
            }
        }
    }

    /// Ends everything: whoever asked is gone. An aborted run kills its process group.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.running.abort_all();
        self.running = JoinSet::new();
    }
}

fn not_run(id: u64, why: &str) -> ExecOutcome {
    ExecOutcome { id, ended: Ended::NotRun(why.to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::daemon::exec::Policy;

    fn command(text: &str) -> Command {
        Command::parse(text, None).expect("a command")
    }

    fn request(id: u64, text: &str, timeout: Duration) -> ExecRequest {
        ExecRequest { id, command: command(text), timeout }
    }

    fn requests(known: &[&str]) -> Requests {
        let known = known.iter().map(|text| command(text)).collect();
        Requests::new(Runner::new(Policy::default(), std::iter::empty()), known)
    }

    #[tokio::test]
    async fn commands_end_as_they_do() {
        const KILL: &str = "sh -c 'kill -9 $$'";
        const MISSING: &str = "/nowhere/at/all";
        let texts = ["true", "sh -c 'exit 7'", KILL, "sleep 60", MISSING];
        let mut requests = requests(&texts);
        let ends = [Ended::Exited(0), Ended::Exited(7), Ended::Signalled(9), Ended::TimedOut];
        for (id, text) in (0..).zip(texts) {
            let timeout = Duration::from_millis(if text.starts_with("sleep") { 20 } else { 20_000 });
            assert_eq!(requests.push(request(id, text, timeout)), None);
        }
        let mut outcomes = std::collections::BTreeMap::new();
        for _ in texts {
            let ExecOutcome { id, ended } = requests.next().await;
            outcomes.insert(id, ended);
        }
        assert!(matches!(outcomes.remove(&4), Some(Ended::NotRun(why)) if why.contains("/nowhere")));
        assert_eq!(outcomes.into_values().collect::<Vec<_>>(), ends);
    }

    #[tokio::test]
    async fn what_is_not_configured_is_not_run() {
        let mut requests = requests(&["true"]);
        let answer = requests.push(request(1, "sh -c 'echo owned > /tmp/x'", Duration::from_secs(1)));
        assert!(matches!(answer, Some(ExecOutcome { id: 1, ended: Ended::NotRun(_) })));
        assert!(requests.running.is_empty());
    }

    #[tokio::test]
    async fn more_than_can_run_wait_and_more_than_can_wait_are_told() {
        let mut requests = requests(&["sleep 600"]);
        let answers = (0..5_000).filter_map(|id| requests.push(request(id, "sleep 600", Duration::from_secs(600))));
        let told = answers.count();
        assert_eq!((requests.running.len(), requests.waiting.len()), (MAX_RUNNING, MAX_WAITING));
        assert_eq!(told, 5_000 - MAX_RUNNING - MAX_WAITING);
        requests.clear();
        assert!(requests.waiting.is_empty() && requests.running.is_empty());
    }
}
