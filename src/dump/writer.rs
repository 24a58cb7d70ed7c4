//! Writes the files, on a thread of its own: a full disk or one that does not answer holds nobody up.
//!
//! Shell. Per file only the latest content waits: a signal every second for a disk that hangs for an hour costs one
//! file of memory. A file is written under another name, then renamed, then closed: whoever reads the final name finds a
//! whole file, and whoever waits for its `IN_CLOSE_WRITE`, as VyOS does, gets it after the rename. What stands there, a
//! symbolic link of somebody in `/tmp` for example, is replaced and never followed.
#![allow(clippy::disallowed_methods, reason = "a shell: a name for the temporary file comes from the clock")]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::warn;

/// Enough for a path and a file.
const STACK: usize = 128 << 10;
/// Temporary names that are tried: others may put files in `/tmp`, too.
const TRIES: u32 = 8;

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The whole file.
    pub text: String,
    /// Its mode; the process's file creation mask does not count.
    pub mode: u32,
}

/// How a file is written.
type Replace = Arc<dyn Fn(&Path, &Job) -> io::Result<()> + Send + Sync>;

/// The thread, which ends with its owner.
pub struct Writer {
    shared: Arc<Shared>,
    replace: Replace,
    running: bool,
}

impl Default for Writer {
    fn default() -> Self {
        Self::writing_with(replace)
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("running", &self.running).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<PathBuf, Job>,
    over: bool,
}

impl Writer {
    /// One that writes in another way, for a test.
    pub fn writing_with(replace: impl Fn(&Path, &Job) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { shared: Arc::default(), replace: Arc::new(replace), running: false }
    }

    /// Has a file written, soon. What waits under that name is replaced.
    pub fn write(&mut self, path: PathBuf, job: Job) {
        if !self.running {
            let (shared, replace) = (Arc::clone(&self.shared), Arc::clone(&self.replace));
            let thread = std::thread::Builder::new().name("dump".to_owned()).stack_size(STACK);
            match thread.spawn(move || write_files(&shared, &*replace)) {
                Ok(_) => self.running = true,
                Err(error) => return warn!("{} cannot be written: {error}", path.display()),
            }
        }
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.insert(path, job);
        self.shared.changed.notify_one();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Nobody waits for a disk at the end.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.shared.changed.notify_one();
    }
}

fn write_files(shared: &Shared, replace: &(dyn Fn(&Path, &Job) -> io::Result<()> + Send + Sync)) {
    let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some((path, job)) = state.waiting.pop_first() {
            drop(state);
            if let Err(error) = replace(&path, &job) {
                warn!("{} cannot be written: {error}", path.display());
            }
            state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        } else if state.over {
            return;
        } else {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Write, rename, close.
///
/// # Errors
/// The disk is full, the directory is not there, a directory has that name: nothing is left behind.
pub fn replace(path: &Path, job: &Job) -> io::Result<()> {
    let (temporary, mut file) = create_beside(path, job.mode)?;
    let written = file.write_all(job.text.as_bytes()).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Gone already, or not ours to keep.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn create_beside(path: &Path, mode: u32) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut tries = 0;
    loop {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.{nanos:09}", std::process::id()));
        let temporary = path.with_file_name(hidden);
        // A file that is there already, or a link, is somebody else's.
        let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary);
        match opened {
            Ok(file) => {
                use std::os::unix::fs::PermissionsExt;
                file.set_permissions(fs::Permissions::from_mode(mode))?;
                return Ok((temporary, file));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}
