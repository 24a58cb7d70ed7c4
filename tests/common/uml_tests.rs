//! Runs a test binary's tests in a guest: one boot for all of them.
//!
//! The binary starts itself in the guest, with the filter that it was given, and each test on the host reports what came
//! of its namesake there. In the guest `here()` is true and the test goes on.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::Path;
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

struct Outcomes {
    tests: BTreeMap<String, String>,
    ended: Ended,
}

impl Outcomes {
    fn of(limit: Duration) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command =
            vec![program.display().to_string(), "--test-threads=1".to_owned(), "--show-output".to_owned()];
        command.extend(std::env::args().skip(1).filter(|arg| filters(arg)));
        let target = Path::new(env!("CARGO_MANIFEST_DIR"));
        let job =
            Job { command: &command, environment: &[(VARIABLE, "1"), ("RUST_BACKTRACE", "1")], shared: &[], limit };
        debug_assert!(target.exists());
        let ended = uml::run(&job);
        let lines = ended.stdout.lines().filter_map(|line| line.strip_prefix("test ")?.split_once(" ... "));
        let tests = lines.map(|(name, outcome)| (name.to_owned(), outcome.to_owned())).collect();
        Self { tests, ended }
    }

    fn report(&self, test: &str) {
        let said = self.said_by(test);
        print!("{said}");
        for line in self.ended.stderr.lines().filter(|line| line.starts_with("skipped: ") && line.contains(test)) {
            crate::common::skipped(line.trim_start_matches("skipped: "));
        }
        match self.tests.get(test).map(String::as_str) {
            Some("ok") => {}
            Some(other) => panic!("in the guest: {other}\n{said}\n{}", self.ended.stderr),
            None => panic!(
                "the guest did not come to this test (exit code {:?})\n{}\n{}\n{}",
                self.ended.code, self.ended.stdout, self.ended.stderr, self.ended.console
            ),
        }
    }

    /// The part of the output that the test runner shows for this test.
    fn said_by(&self, test: &str) -> String {
        let begin = format!("---- {test} stdout ----");
        let lines = self.ended.stdout.lines().skip_while(|line| *line != begin).skip(1);
        lines
            .take_while(|line| !(line.starts_with("---- ") || *line == "successes:" || *line == "failures:"))
            .map(|line| format!("{line}\n"))
            .collect()
    }
}

/// What of the runner's own arguments names tests.
fn filters(argument: &str) -> bool {
    !argument.starts_with('-') || matches!(argument, "--exact" | "--ignored" | "--include-ignored")
}
