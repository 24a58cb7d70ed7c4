//! The black box on disk: after transitions and crashes main writes what the vrrp process recorded, and why it changed.
//!
//! Shell. Writing happens on a thread of its own, one file at a time, some moments after the first of several
//! transitions: the evidence includes what followed, and a thousand takeovers are one file. A file is whole or not there.
//! The directory holds a bounded number of files of a bounded size in all; a disk that is full costs a count and a word.
#![allow(clippy::disallowed_methods)] // A shell: reads the clock, spawns its writer.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::warn;

use crate::status::time::Time;
use crate::status::why::{FORMAT, Record, Router, Transitions};
use crate::vrrp::blackbox;
use crate::vrrp::config::VrrpConfig;
use crate::vrrp::event::Event;

/// Files that are kept.
const MOST_FILES: usize = 8;
/// What they may take in all, in bytes; the latest stays in any case.
const MOST_BYTES: u64 = 4 << 20;
/// From a transition to the file.
const AFTER: Duration = Duration::from_millis(500);
/// From one file to the next.
const PAUSE: Duration = Duration::from_secs(2);
/// How long the last file is waited for when the daemon ends.
const LAST_FILE: Duration = Duration::from_secs(2);
const PREFIX: &str = "blackbox-";

/// Main's part of the black box.
#[derive(Debug)]
pub struct BlackBox {
    /// `None`: nothing is written.
    directory: Option<PathBuf>,
    transitions: Transitions,
    occasion: String,
    due: Option<Instant>,
    not_before: Instant,
    writing: Option<JoinHandle<io::Result<PathBuf>>>,
    counters: Counters,
}

/// What became of the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Written.
    pub written: u64,
    /// That could not be.
    pub failed: u64,
}

impl BlackBox {
    /// Writes into this directory, which is made when it is needed; without one only answers [`Self::record`].
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self {
            directory,
            transitions: Transitions::default(),
            occasion: String::new(),
            due: None,
            not_before: Instant::now(),
            writing: None,
            counters: Counters::default(),
        }
    }

    /// Something happened at a time of CLOCK_REALTIME.
    pub fn note(&mut self, at: Duration, event: &Event) {
        if self.transitions.note(Time(at), event)
            && let Event::StateChanged { instance, to, .. } = event
        {
            self.expect(format!("{instance} is {to}"), Instant::now() + AFTER);
        }
    }

    /// The vrrp process died or was killed.
    pub fn crashed(&mut self, how: &str) {
        self.not_before = Instant::now();
        // A transition that waits for what follows it waits no longer, and is not what the file is for.
        self.due = None;
        self.expect(format!("the vrrp process died: {how}"), self.not_before);
    }

    fn expect(&mut self, occasion: String, at: Instant) {
        if self.directory.is_none() {
            return;
        }
        if self.due.is_none() {
            self.occasion = occasion;
        }
        self.due = Some(self.due.map_or(at, |due| due.min(at)).max(self.not_before));
    }

    /// Waits until [`Self::write`] is to be called. Safe to drop.
    pub async fn turn(&mut self) {
        if let Some(writing) = &mut self.writing {
            let outcome = writing.await;
            self.writing = None;
            self.wrote(outcome.map_err(io::Error::other).flatten());
        }
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    fn wrote(&mut self, outcome: io::Result<PathBuf>) {
        match outcome {
            Ok(path) => {
                self.counters.written += 1;
                tracing::debug!("black box: {}", path.display());
            }
            Err(error) => {
                // Once: nobody is helped by a line for each transition.
                if self.counters.failed == 0 {
                    let directory = self.directory.as_deref().unwrap_or(Path::new(""));
                    warn!("the black box cannot be written to {}: {error}", directory.display());
                }
                self.counters.failed += 1;
            }
        }
    }

    /// Begins to write a file.
    pub fn write(&mut self, recorder: &File, config: &VrrpConfig) {
        self.due = None;
        self.not_before = Instant::now() + PAUSE;
        let Some(directory) = self.directory.clone() else { return };
        let occasion = std::mem::take(&mut self.occasion);
        let (record, recorder) = (self.frame(config, occasion), recorder.try_clone());
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let record = filled(record, &recorder?);
            save(&directory, &record)
        }));
    }

    /// All that is known now.
    pub fn record(&self, recorder: &File, config: &VrrpConfig, occasion: &str) -> Record {
        filled(self.frame(config, occasion.to_owned()), recorder)
    }

    /// Writes what is left when the daemon ends.
    pub async fn finish(&mut self, recorder: &File, config: &VrrpConfig) {
        let last = async {
            if let Some(writing) = self.writing.take() {
                let outcome = writing.await;
                self.wrote(outcome.map_err(io::Error::other).flatten());
            }
            if self.due.is_some() {
                self.write(recorder, config);
                if let Some(writing) = self.writing.take() {
                    let outcome = writing.await;
                    self.wrote(outcome.map_err(io::Error::other).flatten());
                }
            }
        };
        if tokio::time::timeout(LAST_FILE, last).await.is_err() {
            warn!("the black box could not be written in time");
        }
    }

    /// What became of the files so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// A record without what the vrrp process recorded.
    fn frame(&self, config: &VrrpConfig, occasion: String) -> Record {
        let router = |(name, instance): (&String, &crate::vrrp::config::InstanceConfig)| Router {
            name: name.clone(),
            vrid: instance.vrid.value(),
            family: instance.family,
            interface: instance.interface.as_deref().and_then(index).unwrap_or(0),
        };
        let node = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Record {
            format: FORMAT,
            node: node.trim().to_owned(),
            build: crate::BUILD_ID.to_owned(),
            at: Time(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
            occasion,
            routers: config.instances.iter().map(router).collect(),
            transitions: self.transitions.iter().collect(),
            ..Record::default()
        }
    }
}

fn index(interface: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(interface).ok()
}

fn filled(record: Record, recorder: &File) -> Record {
    let blackbox::Recorded { adverts, notes } = blackbox::read(recorder);
    Record { adverts, notes, ..record }
}

/// Writes a record as a new file and removes the oldest beyond the bounds.
fn save(directory: &Path, record: &Record) -> io::Result<PathBuf> {
    fs::create_dir_all(directory)?;
    // Names in the order of time.
    let path = directory.join(format!("{PREFIX}{:015}.json", record.at.millis()));
    let temporary = directory.join(format!(".{PREFIX}new"));
    let text = serde_json::to_vec(record)?;
    prune(directory, MOST_FILES - 1, MOST_BYTES.saturating_sub(text.len() as u64));
    let mut file = File::create(&temporary)?;
    let written = file.write_all(&text).and_then(|()| file.set_permissions(Permissions::from_mode(0o640)));
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, &path)) {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(path)
}

/// Keeps the latest files only.
fn prune(directory: &Path, most: usize, bytes: u64) {
    let mut total = 0;
    for (n, path) in files(directory).into_iter().enumerate() {
        total += fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if n >= most || total > bytes {
            let _ = fs::remove_file(path);
        }
    }
}

/// The files in a directory, the latest first.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        name.starts_with(PREFIX) && name.ends_with(".json")
    };
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(is_ours).collect();
    files.sort();
    files.reverse();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::event::{Cause, StateName};
    use crate::vrrp::flight;

    fn record(ms: u64, bytes: usize) -> Record {
        Record { at: Time(Duration::from_millis(ms)), occasion: "x".repeat(bytes), ..Record::default() }
    }

    fn numbers(directory: &Path) -> Vec<String> {
        let name = |path: PathBuf| path.file_stem().expect("named").to_string_lossy().into_owned();
        files(directory)
            .into_iter()
            .map(|path| name(path).trim_start_matches("blackbox-0000000000").to_owned())
            .collect()
    }

    #[test]
    fn files_are_bounded_in_number_and_size_and_the_oldest_go() {
        let directory = tempfile::tempdir().expect("a directory");
        let own = directory.path().join("status.sock");
        fs::write(&own, "another's").expect("written");
        for n in 0..20 {
            save(directory.path(), &record(10_000 + n, 10)).expect("room");
        }
        assert_eq!(numbers(directory.path()), ["10019", "10018", "10017", "10016", "10015", "10014", "10013", "10012"]);
        save(directory.path(), &record(10_020, 3 << 20)).expect("room");
        save(directory.path(), &record(10_021, 10)).expect("room");
        assert_eq!(numbers(directory.path()).len(), 8);
        save(directory.path(), &record(10_022, 2 << 20)).expect("room");
        assert_eq!(numbers(directory.path()), ["10022", "10021"], "the large one took the room of the others");
        save(directory.path(), &record(10_023, 5 << 20)).expect("the latest stays in any case");
        assert_eq!(numbers(directory.path()), ["10023"]);
        assert!(own.exists());
        assert_eq!(fs::read_dir(directory.path()).expect("there").count(), 2, "no temporary file");
    }

    #[tokio::test]
    async fn transitions_make_one_file_and_a_crash_another_at_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let recorder = flight::create().expect("memfd");
        let mut black_box = BlackBox::new(Some(directory.path().join("made")));
        let config = VrrpConfig::default();
        for n in 0..100 {
            let event = Event::StateChanged {
                instance: format!("VI_{n}"),
                from: StateName::Backup,
                to: StateName::Master,
                priority: 1,
                cause: Cause::AddressOwner,
                evidence: Vec::new(),
            };
            black_box.note(Duration::from_secs(n), &event);
        }
        black_box.turn().await;
        black_box.write(&recorder, &config);
        black_box.crashed("signal 9");
        black_box.turn().await;
        assert_eq!(black_box.counters(), Counters { written: 1, failed: 0 });
        black_box.write(&recorder, &config);
        black_box.finish(&recorder, &config).await;
        let read =
            |path: &PathBuf| -> Record { serde_json::from_slice(&fs::read(path).expect("there")).expect("a record") };
        let mut written: Vec<_> = files(&directory.path().join("made")).iter().map(read).collect();
        let occasions: Vec<_> = written.iter().map(|record| record.occasion.as_str()).collect();
        assert_eq!(occasions, ["the vrrp process died: signal 9", "VI_0 is MASTER"]);
        assert_eq!(written.remove(0).transitions.len(), 100);
    }

    #[tokio::test]
    async fn a_crash_right_after_a_transition_is_what_the_file_is_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let recorder = flight::create().expect("memfd");
        let mut black_box = BlackBox::new(Some(directory.path().to_owned()));
        black_box.expect("VI_1 is MASTER".to_owned(), Instant::now() + AFTER);
        black_box.crashed("signal 9");
        black_box.turn().await;
        black_box.write(&recorder, &VrrpConfig::default());
        black_box.finish(&recorder, &VrrpConfig::default()).await;
        let written = fs::read_to_string(&files(directory.path())[0]).expect("there");
        assert!(written.contains("the vrrp process died: signal 9") && !written.contains("MASTER"), "{written}");
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_is_counted_and_nothing_else_happens() {
        let recorder = flight::create().expect("memfd");
        let mut black_box = BlackBox::new(Some(PathBuf::from("/proc/no/such/directory")));
        for _ in 0..3 {
            black_box.crashed("x");
            black_box.turn().await;
            black_box.write(&recorder, &VrrpConfig::default());
        }
        black_box.finish(&recorder, &VrrpConfig::default()).await;
        assert_eq!(black_box.counters(), Counters { written: 0, failed: 3 });
    }
}
