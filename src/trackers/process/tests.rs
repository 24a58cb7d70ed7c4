//! Real processes: programs under names that nobody else has.
#![allow(clippy::disallowed_methods, reason = "bounds real waiting")]

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::trackers::config::ParameterMatch;

const PATIENCE: Duration = Duration::from_secs(20);

/// Ended when dropped, with all that it started.
struct Running(Child);

impl Running {
    fn kill(&self) {
        let group = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::SIGKILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        let _ = self.0.wait();
    }
}

/// A program under a name of its own.
struct Program {
    name: String,
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Program {
    fn named_anew(program: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().unwrap();
        let name = format!("hf{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = dir.path().join(&name);
        // A link, not a copy: a file that was just written may be busy while other tests fork.
        std::os::unix::fs::symlink(program, &path).unwrap();
        Self { name, path, _dir: dir }
    }

    fn start(&self, args: &[&str]) -> Running {
        let mut command = Command::new(&self.path);
        Running(command.args(args).process_group(0).stdin(Stdio::null()).spawn().unwrap())
    }

    fn named(&self) -> ProcessConfig {
        config(ProcessPattern::Name(self.name.clone()))
    }
}

fn config(pattern: ProcessPattern) -> ProcessConfig {
    let none = Duration::ZERO;
    ProcessConfig { pattern, quorum: 1, quorum_max: None, fork_delay: none, terminate_delay: none }
}

struct Bench {
    trackers: ProcessTrackers,
    updates: mpsc::Receiver<Update>,
    known: BTreeMap<TrackerKey, TrackerStatus>,
}

impl Bench {
    fn new(news: bool) -> Self {
        let (sender, updates) = mpsc::channel(64);
        let trackers = if news { ProcessTrackers::new(sender) } else { ProcessTrackers::without_news(sender) };
        Self { trackers, updates, known: BTreeMap::new() }
    }

    fn apply(&mut self, wanted: &[(&str, &ProcessConfig)]) {
        let wanted = wanted.iter().map(|(name, config)| ((*name).to_owned(), (*config).clone())).collect();
        self.trackers.apply(&wanted, BufferSize::default(), &self.known);
    }

    async fn next(&mut self) -> (String, TrackerStatus) {
        let update = tokio::time::timeout(PATIENCE, self.updates.recv()).await.expect("an update in time").unwrap();
        self.known.insert(update.key.clone(), update.status);
        let TrackerKey::Process(name) = update.key else { panic!("{:?}", update.key) };
        (name, update.status)
    }

    async fn expect(&mut self, name: &str, status: TrackerStatus) {
        assert_eq!(self.next().await, (name.to_owned(), status));
    }
}

use TrackerStatus::{Down, Up};

async fn starts_dies_and_is_a_zombie(news: bool) {
    let program = Program::named_anew("/bin/sleep");
    let mut bench = Bench::new(news);
    bench.apply(&[("p", &program.named())]);
    bench.expect("p", Down).await;
    for _ in 0..3 {
        let running = program.start(&["1000"]);
        bench.expect("p", Up).await;
        running.kill();
        // Nobody has waited for it: it is a zombie.
        bench.expect("p", Down).await;
        let stat = fs::read_to_string(format!("/proc/{}/stat", running.0.id())).unwrap();
        assert!(stat.contains(") Z "), "{stat}");
    }
}

#[tokio::test]
async fn starts_and_dies_with_news() {
    starts_dies_and_is_a_zombie(true).await;
}

#[tokio::test]
async fn starts_and_dies_without_news() {
    starts_dies_and_is_a_zombie(false).await;
}

async fn quorum_of_two_and_one_too_many(news: bool) {
    let program = Program::named_anew("/bin/sleep");
    let two = ProcessConfig { quorum: 2, quorum_max: Some(2), ..program.named() };
    let none = ProcessConfig { quorum: 0, quorum_max: Some(0), ..program.named() };
    let first = program.start(&["1000"]);
    let mut bench = Bench::new(news);
    bench.apply(&[("none", &none), ("two", &two)]);
    bench.expect("none", Down).await;
    bench.expect("two", Down).await;
    let second = program.start(&["1000"]);
    bench.expect("two", Up).await;
    let third = program.start(&["1000"]);
    bench.expect("two", Down).await;
    drop(third);
    bench.expect("two", Up).await;
    drop(first);
    bench.expect("two", Down).await;
    drop(second);
    bench.expect("none", Up).await;
}

#[tokio::test]
async fn quorum_and_quorum_max_with_news() {
    quorum_of_two_and_one_too_many(true).await;
}

#[tokio::test]
async fn quorum_and_quorum_max_without_news() {
    quorum_of_two_and_one_too_many(false).await;
}

async fn forked_renamed_executed(news: bool) {
    let shell = Program::named_anew("/bin/bash");
    let sleep = Program::named_anew("/bin/sleep");
    let two = ProcessConfig { quorum: 2, ..shell.named() };
    let renamed = config(ProcessPattern::Name(format!("{}r", shell.name)));
    let mut bench = Bench::new(news);
    bench.apply(&[("executed", &sleep.named()), ("forked", &two), ("renamed", &renamed)]);
    for name in ["executed", "forked", "renamed"] {
        bench.expect(name, Down).await;
    }
    let fifo = shell.path.with_extension("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let forks = shell.start(&["-c", &format!("(read x <>{}) & wait", fifo.display())]);
    bench.expect("forked", Up).await;
    drop(forks);
    bench.expect("forked", Down).await;
    let script = format!("echo -n {}r >/proc/self/comm; read x <>{}", shell.name, fifo.display());
    let renames = shell.start(&["-c", &script]);
    bench.expect("renamed", Up).await;
    drop(renames);
    bench.expect("renamed", Down).await;
    let script = format!("read -t 0.01 x <>{}; exec {} 1000", fifo.display(), sleep.path.display());
    let executes = shell.start(&["-c", &script]);
    bench.expect("executed", Up).await;
    drop(executes);
    bench.expect("executed", Down).await;
}

#[tokio::test]
async fn forked_renamed_and_executed_with_news() {
    forked_renamed_executed(true).await;
}

#[tokio::test]
async fn forked_renamed_and_executed_without_news() {
    forked_renamed_executed(false).await;
}

#[tokio::test]
async fn a_command_line_and_its_parameters() {
    let program = Program::named_anew("/bin/sleep");
    let line = |parameters: &[&str], matching| {
        config(ProcessPattern::CommandLine {
            program: program.path.display().to_string(),
            parameters: parameters.iter().map(|word| (*word).to_owned()).collect(),
            matching,
        })
    };
    let mut bench = Bench::new(true);
    let _running = program.start(&["1000", "2000"]);
    bench.apply(&[
        ("exact", &line(&["1000"], ParameterMatch::Exact)),
        ("initial", &line(&["10"], ParameterMatch::Initial)),
        ("partial", &line(&["1000"], ParameterMatch::Partial)),
    ]);
    bench.expect("exact", Down).await;
    bench.expect("initial", Up).await;
    bench.expect("partial", Up).await;
}

#[tokio::test]
async fn a_process_that_is_back_within_the_delay_was_never_gone() {
    let program = Program::named_anew("/bin/sleep");
    let patient = ProcessConfig { terminate_delay: Duration::from_secs(3600), ..program.named() };
    let brisk = ProcessConfig { terminate_delay: Duration::from_millis(50), ..program.named() };
    let running = program.start(&["1000"]);
    let mut bench = Bench::new(true);
    bench.apply(&[("brisk", &brisk), ("patient", &patient)]);
    bench.expect("brisk", Up).await;
    bench.expect("patient", Up).await;
    drop(running);
    let began = Instant::now();
    bench.expect("brisk", Down).await;
    assert!(began.elapsed() >= Duration::from_millis(50));
    let _again = program.start(&["1000"]);
    bench.expect("brisk", Up).await;
    assert!(bench.updates.try_recv().is_err(), "`patient` waits");
}

#[tokio::test]
async fn a_reload_reports_what_is_new_and_keeps_the_rest() {
    let [one, two] = [(); 2].map(|()| Program::named_anew("/bin/sleep"));
    let _one = one.start(&["1000"]);
    let late = ProcessConfig { fork_delay: Duration::from_millis(1), ..two.named() };
    let mut bench = Bench::new(true);
    bench.apply(&[("one", &one.named())]);
    bench.expect("one", Up).await;
    bench.apply(&[("one", &one.named()), ("two", &late)]);
    bench.expect("two", Down).await;
    let _two = two.start(&["1000"]);
    bench.expect("two", Up).await;
    bench.apply(&[("one", &two.named())]);
    bench.apply(&[("one", &config(ProcessPattern::Name("nobody has this".into())))]);
    bench.expect("one", Down).await;
    bench.apply(&[]);
    assert!(bench.trackers.running.is_none());
    bench.apply(&[("one", &one.named())]);
    bench.expect("one", Up).await;
}

fn next_news(connector: &Connector) -> Option<Vec<News>> {
    let mut set = [PollFd::new(connector.as_fd(), PollFlags::POLLIN)];
    match poll(&mut set, PollTimeout::from(5000_u16)).unwrap() {
        0 => None,
        _ => match connector.read().unwrap() {
            Read::News(news) => Some(news),
            Read::Overrun => panic!("overrun"),
        },
    }
}

/// `None`, with a word, where the kernel tells nothing.
fn subscribed(home: Option<&File>) -> Option<Connector> {
    let connector = Connector::open(BufferSize::default(), home);
    let found = connector
        .ok()
        .filter(|connector| std::iter::from_fn(|| next_news(connector)).flatten().any(|news| news == News::Subscribed));
    if found.is_none() {
        eprintln!("skipped: the kernel tells news of processes in its first namespaces only, and to root");
    }
    found
}

#[test]
fn the_kernel_tells_of_a_life() {
    let Some(connector) = subscribed(None) else { return };
    let program = Program::named_anew("/bin/sleep");
    let running = program.start(&["1000"]);
    let process = running.0.id();
    let wait_for = |wanted: News| {
        let deadline = Instant::now() + PATIENCE;
        while !next_news(&connector).unwrap_or_default().contains(&wanted) {
            assert!(Instant::now() < deadline, "never {wanted:?}");
        }
    };
    wait_for(News::Executed { process });
    drop(running);
    wait_for(News::Exited { process });
}

#[tokio::test]
async fn what_the_kernel_could_not_tell_is_found() {
    let size = BufferSize { bytes: Some(1), force: false };
    let storm = || {
        for _ in 0..50 {
            Command::new("/bin/true").status().unwrap();
        }
    };
    // It has no room for the answer to the subscription either, if others start processes now.
    if let Ok(connector) = Connector::open(size, None) {
        storm();
        assert_eq!(connector.read().unwrap(), Read::Overrun);
    }
    let program = Program::named_anew("/bin/sleep");
    let wanted = BTreeMap::from([("p".to_owned(), program.named())]);
    let mut bench = Bench::new(true);
    bench.trackers.apply(&wanted, size, &BTreeMap::new());
    bench.expect("p", Down).await;
    for _ in 0..3 {
        storm();
        let running = program.start(&["1000"]);
        storm();
        bench.expect("p", Up).await;
        storm();
        drop(running);
        storm();
        bench.expect("p", Down).await;
    }
}

#[test]
fn news_are_heard_in_another_network_namespace() {
    if subscribed(None).is_none() {
        return;
    }
    let home = File::open("/proc/self/ns/net").unwrap();
    let there = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        subscribed(Some(&home)).is_some()
    });
    assert!(there.join().unwrap());
}

#[test]
fn deaths_are_signs() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let program = Program::named_anew("/bin/sleep");
        let running = program.start(&["1000"]);
        let other = program.start(&["1000"]);
        let patterns = [ProcessPattern::Name(program.name.clone())];
        let mut table = Table::default();
        table.touch_all();
        let scope = table.begin_look(true).unwrap();
        table.end_look(proc_fs::look(&scope, &patterns).unwrap());
        assert_eq!(table.counts(1), [2]);
        let mut signs = Signs::new().unwrap();
        signs.watch(&table);
        running.kill();
        tokio::time::timeout(PATIENCE, signs.wait()).await.expect("a sign").unwrap();
        assert_eq!(signs.deaths(), [running.0.id()]);
        assert_eq!(signs.deaths(), [0_u32; 0], "said once");
        table.touch(running.0.id());
        let scope = table.begin_look(true).unwrap();
        table.end_look(proc_fs::look(&scope, &patterns).unwrap());
        assert_eq!(table.processes().collect::<Vec<_>>(), [other.0.id()]);
    });
}

#[tokio::test]
async fn what_cannot_be_read_is_unknown_after_some_tries() {
    let program = Program::named_anew("/bin/sleep");
    let _running = program.start(&["1000"]);
    let (sender, mut updates) = mpsc::channel(4);
    let wanted = BTreeMap::from([("p".to_owned(), program.named())]);
    let (_orders, receiver) = watch::channel(Order { wanted, known: BTreeMap::new() });
    let mut watcher = Watcher::new(sender, Counts::default(), receiver, None);
    watcher.obey();
    for _ in 0..MOST_FAILURES {
        assert!(updates.try_recv().is_err());
        watcher.begin_look();
        assert!(watcher.look.is_some());
        watcher.end_look(Ok(Err(io::Error::other("no descriptor")))).await;
        watcher.table.touch(1);
        watcher.begin_look();
        assert!(watcher.look.is_none(), "not at once again");
        assert!(watcher.wake_at() > Instant::now() + SCAN_INTERVAL / 2 && watcher.wake_at() <= watcher.rest_until);
        watcher.rest_until = Instant::now();
    }
    assert_eq!(updates.recv().await.unwrap().status, TrackerStatus::Unknown);
    watcher.begin_look();
    let found = end_of(&mut watcher.look).await;
    watcher.end_look(found).await;
    assert_eq!(updates.recv().await.unwrap().status, Up);
}

#[test]
fn a_path_that_is_no_process_is_nothing() {
    let scope = Scope::These([0, u32::MAX].into());
    let pattern = ProcessPattern::Name(String::new());
    assert!(proc_fs::look(&scope, &[pattern]).unwrap().is_empty());
    assert!(!Path::new("/proc/4294967295").exists());
}
