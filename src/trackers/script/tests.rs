//! Real scripts, controlled through files; no test depends on how fast the machine is.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::command::{Command, CommandForm};

fn script(line: &str) -> ScriptConfig {
    let form = CommandForm::Shell { line: line.to_owned(), needs_bash: false };
    ScriptConfig {
        command: Command { text: line.to_owned(), form, user: None },
        interval: Duration::from_millis(20),
        timeout: Duration::from_secs(20),
        rise: 1,
        fall: 1,
        init_fail: false,
    }
}

struct Bench {
    trackers: ScriptTrackers,
    updates: mpsc::Receiver<Update>,
    runner: Runner,
    known: BTreeMap<TrackerKey, TrackerStatus>,
}

impl Bench {
    fn new() -> Self {
        let (sender, updates) = mpsc::channel(16);
        let runner = Runner::new(Policy::default(), std::iter::empty());
        Self { trackers: ScriptTrackers::new(sender), updates, runner, known: BTreeMap::new() }
    }

    fn apply(&mut self, scripts: &[(&str, &ScriptConfig)]) {
        let wanted = scripts.iter().map(|(name, config)| ((*name).to_owned(), (*config).clone())).collect();
        self.trackers.apply(&wanted, &self.runner, &self.known);
    }

    async fn next(&mut self) -> (String, TrackerStatus) {
        let update = tokio::time::timeout(Duration::from_secs(20), self.updates.recv()).await;
        let Update { key, status } = update.expect("an update in time").expect("an update");
        self.known.insert(key.clone(), status);
        (key.to_string(), status)
    }
}

fn count(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

async fn until(mut condition: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never happened");
}

#[tokio::test]
async fn a_maintenance_file_takes_it_down_and_up() {
    let dir = tempfile::tempdir().unwrap();
    let down = dir.path().join("down");
    let mut bench = Bench::new();
    bench.apply(&[("chk", &script(&format!("[[ -e {} ]] && exit 1 || exit 0", down.display())))]);
    assert_eq!(bench.next().await, ("script chk".into(), TrackerStatus::Up));
    fs::write(&down, "").unwrap();
    assert_eq!(bench.next().await.1, TrackerStatus::Down);
    fs::remove_file(&down).unwrap();
    assert_eq!(bench.next().await.1, TrackerStatus::Up);
}

#[tokio::test]
async fn a_hung_script_has_failed_and_runs_never_overlap() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let line = format!("echo start >> {0}; trap 'echo end >> {0}; exit' TERM; sleep 1000 & wait", log.display());
    let config = ScriptConfig { timeout: Duration::from_millis(300), ..script(&line) };
    let mut bench = Bench::new();
    bench.apply(&[("hung", &config)]);
    assert_eq!(bench.next().await.1, TrackerStatus::Down);
    until(|| count(&log) >= 5).await;
    let text = fs::read_to_string(&log).unwrap();
    for (n, line) in text.lines().enumerate() {
        assert_eq!(line, if n % 2 == 0 { "start" } else { "end" }, "{text}");
    }
}

#[tokio::test]
async fn init_fail_is_said_before_the_first_result() {
    let mut bench = Bench::new();
    bench.apply(&[("chk", &ScriptConfig { init_fail: true, ..script("exit 0") })]);
    assert_eq!(bench.next().await.1, TrackerStatus::Down);
    assert_eq!(bench.next().await.1, TrackerStatus::Up);
}

#[tokio::test]
async fn one_that_does_not_exist_is_unknown_until_it_is_installed() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("check.sh");
    let path = file.display().to_string();
    let mut config = script("");
    config.command.form = CommandForm::Program(vec![path]);
    let mut bench = Bench::new();
    bench.apply(&[("chk", &config)]);
    assert_eq!(bench.next().await.1, TrackerStatus::Unknown);
    let new = dir.path().join("new");
    fs::write(&new, "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, &file).unwrap();
    assert_eq!(bench.next().await.1, TrackerStatus::Up);
}

#[tokio::test]
async fn a_reload_leaves_unchanged_scripts_running() {
    let dir = tempfile::tempdir().unwrap();
    let [same, gone] = ["same", "gone"].map(|name| dir.path().join(name));
    // One run that never ends by itself: a second line would mean that it was started again.
    let endless = |path: &Path| script(&format!("echo $$ >> {}; exec sleep 1000", path.display()));
    let mut bench = Bench::new();
    let keep = ScriptConfig { timeout: Duration::from_secs(1000), ..endless(&same) };
    let drop = ScriptConfig { timeout: Duration::from_secs(1000), ..endless(&gone) };
    bench.apply(&[("same", &keep), ("gone", &drop)]);
    until(|| count(&same) == 1 && count(&gone) == 1).await;
    bench.apply(&[("same", &keep), ("new", &script("exit 0"))]);
    assert_eq!(bench.next().await, ("script new".into(), TrackerStatus::Up));
    assert_eq!(bench.trackers.names().collect::<Vec<_>>(), ["new", "same"]);
    assert_eq!(count(&same), 1);
    let pid = fs::read_to_string(&gone).unwrap();
    until(|| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
    })
    .await;
}

#[tokio::test]
async fn a_changed_script_keeps_its_status_until_it_has_a_result() {
    let dir = tempfile::tempdir().unwrap();
    let ran = dir.path().join("ran");
    let mut bench = Bench::new();
    bench.apply(&[("chk", &script("exit 0"))]);
    assert_eq!(bench.next().await.1, TrackerStatus::Up);
    bench.apply(&[("chk", &ScriptConfig { fall: 3, ..script(&format!("echo >> {}; exit 0", ran.display())) })]);
    until(|| count(&ran) >= 2).await;
    assert!(bench.updates.try_recv().is_err(), "up stays up");
    bench.apply(&[("chk", &ScriptConfig { fall: 3, ..script("exit 1") })]);
    assert_eq!(bench.next().await.1, TrackerStatus::Down);
}
