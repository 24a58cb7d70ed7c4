//! Runs a test binary's tests in a guest: one boot for all of them, as long as the guest lives. User-mode Linux is a
//! kernel that can die of itself, so another guest goes on with the tests that the first did not come to; a test in
//! which two guests died has failed.
//!
//! The binary starts itself in the guest, with the filter that it was given, and each test on the host reports what came
//! of its namesake there. In the guest `here()` is true and the test goes on.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::uml::{self, Ended, Job};

/// Set in the guest.
const VARIABLE: &str = "HOLDFAST_GUEST";

/// Whether this test runs in the guest: then it is to go on. On the host this is where its outcome becomes known, and
/// it has to return.
///
/// # Panics
/// The test failed in the guest.
pub fn here(limit: Duration) -> bool {
    if std::env::var_os(VARIABLE).is_some() {
        return true;
    }
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    if let Some(reason) = uml::missing() {
        crate::common::skipped(&reason);
        return false;
    }
    static OUTCOMES: OnceLock<Outcomes> = OnceLock::new();
    OUTCOMES.get_or_init(|| Outcomes::of(limit)).report(&test);
    false
}

/// What the guests said of each test.
struct Outcomes {
    /// `ok`, or what else the test runner said.
    tests: BTreeMap<String, String>,
    guests: Vec<Ended>,
}

impl Outcomes {
    fn of(limit: Duration) -> Self {
        let program = std::env::current_exe().expect("this program").display().to_string();
        let mut waiting = asked_for(&program);
        let mut outcomes = Self { tests: BTreeMap::new(), guests: Vec::new() };
        let mut killer = None;
        while !waiting.is_empty() {
            let mut command = vec![program.clone()];
            command.extend(["--test-threads=1", "--show-output", "--include-ignored", "--exact"].map(str::to_owned));
            command.extend(waiting.iter().cloned());
            let environment = [(VARIABLE, "1"), ("RUST_BACKTRACE", "1")];
            let ended = uml::run(&Job { command: &command, environment: &environment, shared: &[], limit });
            outcomes.tests.extend(told(&ended.stdout));
            outcomes.guests.push(ended);
            waiting.retain(|test| !outcomes.tests.contains_key(test));
            // The runner takes the tests in the order of their names: the first without an outcome is where it ended.
            if let Some(test) = waiting.first() {
                eprintln!("the guest ended in {test}");
                if killer.as_ref() == Some(test) {
                    outcomes.tests.insert(test.clone(), "two guests ended in this test".to_owned());
                    waiting.remove(0);
                } else {
                    killer = Some(test.clone());
                }
            }
        }
        outcomes
    }

    fn report(&self, test: &str) {
        let said = self.said_by(test);
        print!("{said}");
        let errors = self.guests.iter().flat_map(|guest| guest.stderr.lines());
        for line in errors.filter(|line| line.starts_with("skipped: ") && line.contains(test)) {
            crate::common::skipped(line.trim_start_matches("skipped: "));
        }
        let outcome = self.tests.get(test).map_or("nothing was said of it", String::as_str);
        if outcome != "ok" {
            let all = self.guests.iter().map(|guest| {
                format!("exit code {:?}\n{}\n{}\n{}\n", guest.code, guest.stdout, guest.stderr, guest.console)
            });
            panic!("in the guest: {outcome}\n{said}\n{}", all.collect::<String>());
        }
    }

    /// The part of the output that the test runner shows for this test.
    fn said_by(&self, test: &str) -> String {
        let begin = format!("---- {test} stdout ----");
        let lines = self.guests.iter().flat_map(|guest| guest.stdout.lines());
        let lines = lines.skip_while(|line| *line != begin).skip(1);
        lines
            .take_while(|line| !(line.starts_with("---- ") || *line == "successes:" || *line == "failures:"))
            .map(|line| format!("{line}\n"))
            .collect()
    }
}

/// The outcomes in what the test runner printed. What a test prints itself may stand between its name and its outcome.
fn told(stdout: &str) -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    let mut test = None;
    for line in stdout.lines() {
        let rest = match line.strip_prefix("test ").and_then(|line| line.split_once(" ... ")) {
            Some((name, rest)) => {
                test = Some(name);
                rest
            }
            None => line,
        };
        if (rest == "ok" || rest == "FAILED" || rest.starts_with("ignored"))
            && let Some(test) = test.take()
        {
            told.insert(test.to_owned(), rest.to_owned());
        }
    }
    told
}

/// The names of the tests that the runner of this process was asked for, in order.
fn asked_for(program: &str) -> Vec<String> {
    let mut command = Command::new(program);
    command.args(["--list", "--format=terse"]).args(std::env::args().skip(1).filter(|argument| filters(argument)));
    let listed = command.output().expect("this program runs");
    let names = String::from_utf8_lossy(&listed.stdout);
    let mut names: Vec<_> = names.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect();
    names.sort();
    names
}

/// What of the runner's own arguments names tests.
fn filters(argument: &str) -> bool {
    !argument.starts_with('-') || matches!(argument, "--exact" | "--ignored" | "--include-ignored")
}
