//! `track_file`: the number in a file, read again whenever the file changes.
//!
//! Shell. inotify watches every directory on the way to the file, through symbolic links, for the next name on that
//! way. So the file may be absent, created, replaced by a rename, deleted; its directory may be missing or a link
//! that is switched over. Where inotify cannot watch, the files are read every second instead, and the log says so.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::Update;
use super::config::{FileConfig, FileInit};
use super::number::{self, Number};
use crate::vrrp::config::TrackerKey;
use crate::vrrp::event::TrackerStatus;

/// How often files are read that inotify cannot watch.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// A number is short; more than this is not read.
const MAX_LEN: u64 = 64;
/// Symbolic links on one way, as in the kernel.
const MAX_LINKS: u32 = 40;

/// All files that are watched, by one task.
#[derive(Debug)]
pub struct FileTrackers {
    updates: mpsc::Sender<Update>,
    files: BTreeMap<String, FileConfig>,
    task: Option<JoinHandle<()>>,
}

impl Drop for FileTrackers {
    fn drop(&mut self) {
        self.stop();
    }
}

impl FileTrackers {
    /// None yet; statuses will go to `updates`.
    pub fn new(updates: mpsc::Sender<Update>) -> Self {
        Self { updates, files: BTreeMap::new(), task: None }
    }

    fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            // Safe at any await: the task holds nothing but its inotify descriptor.
            task.abort();
        }
    }

    /// Watches exactly these; creates those with `init_file` that are new here. Only what differs from `known` is
    /// reported.
    pub fn apply(&mut self, wanted: &BTreeMap<String, FileConfig>, known: &BTreeMap<TrackerKey, TrackerStatus>) {
        if *wanted == self.files {
            return;
        }
        for (name, config) in wanted {
            if let Some(init) = config.init
                && !self.files.contains_key(name)
                && let Err(error) = create(&config.path, init)
            {
                warn!("track_file {name}: cannot create {}: {error}", config.path.display());
            }
        }
        self.stop();
        self.files = wanted.clone();
        if wanted.is_empty() {
            return;
        }
        let reported = wanted.keys().filter_map(|name| {
            let key = TrackerKey::File(name.clone());
            Some((name.clone(), *known.get(&key)?))
        });
        let watcher = Watcher {
            paths: wanted.iter().map(|(name, config)| (name.clone(), config.path.clone())).collect(),
            reported: reported.collect(),
            complaints: BTreeMap::new(),
            updates: self.updates.clone(),
        };
        #[allow(clippy::disallowed_methods, reason = "a shell; the handle is in `task`")]
        let task = tokio::spawn(watcher.run_for_ever());
        self.task = Some(task);
    }
}

fn create(path: &Path, init: FileInit) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o644);
    if init.overwrite {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    match options.open(path) {
        Ok(mut file) => writeln!(file, "{}", init.value),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

struct Watcher {
    paths: BTreeMap<String, PathBuf>,
    reported: BTreeMap<String, TrackerStatus>,
    /// What was logged about a file: the same again is not news.
    complaints: BTreeMap<String, String>,
    updates: mpsc::Sender<Update>,
}

impl Watcher {
    async fn run_for_ever(mut self) {
        loop {
            if let Err(error) = self.watch().await {
                warn!("cannot watch tracked files by inotify, reading them every second: {error}");
            }
            self.read_all().await;
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Reports changes until inotify fails.
    async fn watch(&mut self) -> io::Result<()> {
        let mut watches = Watches::new()?;
        loop {
            watches.arm(self.paths.values())?;
            // Read after the watches are in place: a change in between is seen twice rather than never.
            self.read_all().await;
            watches.wait().await?;
        }
    }

    async fn read_all(&mut self) {
        for (name, path) in self.paths.clone() {
            let status = TrackerStatus::Value(self.read(&name, &path));
            if self.reported.get(&name) != Some(&status) {
                info!("track_file {name} is {status} now");
                self.reported.insert(name.clone(), status);
                // The receiver is main's loop; when it is gone so are we.
                let _ = self.updates.send(Update { key: TrackerKey::File(name), status }).await;
            }
        }
    }

    fn read(&mut self, name: &str, path: &Path) -> i32 {
        let (value, complaint) = match read_number(path) {
            Ok(Number::Clean(value)) => (value, None),
            Ok(Number::Doubtful(value)) => (value, Some(format!("does not hold one integer, taken as {value}"))),
            Err(e) if is_absent(&e) => (0, None),
            Err(e) => (0, Some(format!("cannot be read, taken as 0: {e}"))),
        };
        match complaint {
            None => {
                self.complaints.remove(name);
            }
            Some(complaint) => {
                if self.complaints.get(name) != Some(&complaint) {
                    warn!("track_file {name}: {} {complaint}", path.display());
                    self.complaints.insert(name.to_owned(), complaint);
                }
            }
        }
        value
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn read_number(path: &Path) -> io::Result<Number> {
    // Non-blocking, for whoever puts a FIFO there.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut bytes = Vec::new();
    file.take(MAX_LEN).read_to_end(&mut bytes)?;
    Ok(number::parse(&bytes))
}

/// The inotify watches: which names matter in which directory.
#[derive(Debug)]
pub struct Watches {
    events: EventStream<[u8; 4096]>,
    armed: BTreeMap<PathBuf, WatchDescriptor>,
    names: Vec<(WatchDescriptor, BTreeSet<OsString>)>,
}

impl Watches {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// The kernel has no inotify, or no more of it.
    pub fn new() -> io::Result<Self> {
        let events = Inotify::init()?.into_event_stream([0; 4096])?;
        Ok(Self { events, armed: BTreeMap::new(), names: Vec::new() })
    }

    /// Watches the ways to all `paths` as they are now.
    ///
    /// # Errors
    /// inotify cannot watch a directory, or they keep changing.
    pub fn arm<'a>(&mut self, paths: impl Iterator<Item = &'a PathBuf> + Clone) -> io::Result<()> {
        // The way may change while it is being watched: look again until it stays.
        for _ in 0..10 {
            let ways = ways(paths.clone());
            self.sync(&ways)?;
            if self::ways(paths.clone()) == ways {
                return Ok(());
            }
        }
        Err(io::Error::other("directories keep changing"))
    }

    fn sync(&mut self, ways: &BTreeMap<PathBuf, BTreeSet<OsString>>) -> io::Result<()> {
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let mut watches = self.events.watches();
        let mut armed = BTreeMap::new();
        self.names.clear();
        for (dir, names) in ways {
            match watches.add(dir, mask) {
                Ok(descriptor) => {
                    armed.insert(dir.clone(), descriptor.clone());
                    self.names.push((descriptor, names.clone()));
                }
                // Vanished since: the second look sees it.
                Err(e) if is_absent(&e) => {}
                Err(e) => return Err(io::Error::new(e.kind(), format!("{}: {e}", dir.display()))),
            }
        }
        for (_, old) in std::mem::take(&mut self.armed) {
            if !armed.values().any(|new| *new == old) {
                // Fails when the directory is gone, and the watch with it.
                let _ = watches.remove(old);
            }
        }
        self.armed = armed;
        Ok(())
    }

    /// Waits for an event that matters. May be dropped and called again.
    ///
    /// # Errors
    /// inotify fails; nothing is watched from then on.
    pub async fn wait(&mut self) -> io::Result<()> {
        loop {
            match self.events.next().await {
                Some(Ok(event)) if self.matters(&event) => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(e)) => return Err(e),
                None => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            }
        }
    }

    fn matters(&self, event: &EventOwned) -> bool {
        let lost = EventMask::Q_OVERFLOW | EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::UNMOUNT;
        if event.mask.intersects(lost) {
            return true;
        }
        let Some(name) = &event.name else { return false };
        self.names.iter().any(|(descriptor, names)| *descriptor == event.wd && names.contains(name))
    }
}

/// By directory, the names in it that lie on the way to one of `paths`.
fn ways<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> BTreeMap<PathBuf, BTreeSet<OsString>> {
    let mut ways: BTreeMap<PathBuf, BTreeSet<OsString>> = BTreeMap::new();
    for path in paths {
        let mut left: Vec<OsString> = names(path);
        let mut links = 0;
        let mut dir = PathBuf::from("/");
        while let Some(name) = left.pop() {
            if name == ".." {
                dir.pop();
                continue;
            }
            ways.entry(dir.clone()).or_default().insert(name.clone());
            let next = dir.join(&name);
            match fs::read_link(&next) {
                Ok(target) if links < MAX_LINKS => {
                    links += 1;
                    if target.is_absolute() {
                        dir = PathBuf::from("/");
                    }
                    left.extend(names(&target));
                }
                Ok(_) => break,
                // Not a link.
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => dir = next,
                // The way ends here for now.
                Err(_) => break,
            }
            if left.is_empty() || !dir.is_dir() && left.last().is_some_and(|name| name != "..") {
                break;
            }
        }
    }
    ways
}

/// The names of a path, last one first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(name).collect()
}

#[cfg(test)]
mod tests;
