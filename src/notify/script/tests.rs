//! Real scripts that write to a file; no test depends on how fast the machine is.
#![allow(clippy::disallowed_methods, reason = "tests of a shell measure real time")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::*;
use crate::command::{Command, CommandForm};
use crate::daemon::exec::Policy;

fn job(line: &str) -> Job {
    let form = CommandForm::Shell { line: line.to_owned(), needs_bash: false };
    Job { command: Command { text: line.to_owned(), form, user: None }, args: Vec::new() }
}

fn scripts(limit: Duration) -> NotifyScripts {
    NotifyScripts::new(Runner::new(Policy::default(), std::iter::empty()), limit)
}

fn instance(name: &str) -> Subject {
    Subject::Instance(name.to_owned())
}

struct Log {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Log {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        Self { _dir: dir, path }
    }

    fn at(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    fn lines(&self) -> Vec<String> {
        read(&self.path)
    }
}

fn read(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn one_at_a_time_and_in_order_for_each_subject() {
    let log = Log::new();
    let mut scripts = scripts(LONG);
    // Earlier ones take longer: any overlap would change the order.
    for n in 0..8 {
        let line = format!("echo begin {n} >> {0}; sleep 0.0{1}; echo end {n} >> {0}", log.at(), 8 - n);
        scripts.push(instance("VI"), vec![job(&line)]);
    }
    scripts.drain(LONG).await;
    let want: Vec<String> = (0..8).flat_map(|n| [format!("begin {n}"), format!("end {n}")]).collect();
    assert_eq!(log.lines(), want);
    assert_eq!(scripts.counters(), NotifyCounters { finished: 8, ..NotifyCounters::default() });
}

#[tokio::test]
async fn a_hung_script_delays_its_own_subject_only() {
    let log = Log::new();
    let mut scripts = scripts(Duration::from_secs(5));
    scripts.push(instance("A"), vec![job("sleep 1000"), job(&format!("echo A >> {}", log.at()))]);
    scripts.push(instance("B"), vec![job(&format!("echo B >> {}; exit 4", log.at()))]);
    scripts.drain(LONG).await;
    assert_eq!(log.lines(), ["B", "A"]);
    let want = NotifyCounters { finished: 2, failed: 1, timed_out: 1, ..NotifyCounters::default() };
    assert_eq!(scripts.counters(), want);
}

#[tokio::test]
async fn a_full_queue_keeps_the_last_states() {
    let log = Log::new();
    let gate = log.path.with_extension("gate");
    let mut scripts = scripts(LONG);
    scripts.push(instance("VI"), vec![job(&format!("until [ -e {} ]; do sleep 0.01; done", gate.display()))]);
    for n in 0..QUEUE + 5 {
        scripts.push(instance("VI"), vec![job(&format!("echo {n} >> {}", log.at()))]);
    }
    fs::write(&gate, "").unwrap();
    scripts.drain(LONG).await;
    let want: Vec<String> = (5..QUEUE + 5).map(|n| n.to_string()).collect();
    assert_eq!(log.lines(), want);
    assert_eq!(scripts.counters().dropped, 5);
}

#[tokio::test]
async fn shutdown_is_bounded_and_kills_what_is_left() {
    let log = Log::new();
    let mut scripts = scripts(LONG);
    let line = format!("echo $$ >> {}; trap '' TERM; while :; do sleep 0.1; done", log.at());
    scripts.push(instance("VI"), vec![job(&line), job("true")]);
    while log.lines().is_empty() {
        let _ = timeout(Duration::from_millis(10), scripts.turn()).await;
    }
    let started = Instant::now();
    scripts.drain(Duration::from_millis(100)).await;
    assert!(started.elapsed() < LONG);
    assert_eq!(scripts.counters().abandoned, 2);
    let pid = log.lines()[0].clone();
    for _ in 0..2000 {
        match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) if !stat.contains(") Z ") => tokio::time::sleep(Duration::from_millis(5)).await,
            _ => return,
        }
    }
    panic!("the script survived");
}

#[tokio::test]
async fn many_subjects_all_get_their_turn() {
    let log = Log::new();
    let mut scripts = scripts(LONG);
    let subjects = MAX_RUNNING + 20;
    for n in 0..subjects {
        scripts.push(instance(&n.to_string()), vec![job(&format!("echo >> {}", log.at()))]);
        assert!(scripts.tasks.len() <= MAX_RUNNING);
    }
    scripts.drain(LONG).await;
    assert_eq!(log.lines().len(), subjects);
}

#[tokio::test]
async fn one_that_cannot_run_is_counted_and_the_next_runs() {
    let log = Log::new();
    let mut scripts = scripts(LONG);
    let mut missing = job("");
    missing.command.form = CommandForm::Program(vec!["/nonexistent".into()]);
    scripts.push(instance("VI"), vec![missing, job(&format!("echo ok >> {}", log.at()))]);
    scripts.drain(LONG).await;
    assert_eq!(log.lines(), ["ok"]);
    assert_eq!(scripts.counters().not_started, 1);
}
