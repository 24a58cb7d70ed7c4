//! Files that are written by a thread of their own: a full disk or one that does not answer holds nobody up.
//!
//! Shell. Per file only what was asked for last waits: a request every second for a disk that hangs for an hour costs one
//! file of memory. How a file is written is its owner's business.
#![allow(clippy::disallowed_methods, reason = "a shell: waits for a disk in real time")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

/// Enough for a path and a file.
const STACK: usize = 128 << 10;

/// How a file is written.
type Write<J> = Arc<dyn Fn(&Path, &J) -> io::Result<()> + Send + Sync>;

/// The thread, which begins with the first file and ends with its owner. `J`: what is to be written.
pub struct FileWriter<J> {
    name: &'static str,
    shared: Arc<Shared<J>>,
    write: Write<J>,
    running: bool,
}

struct Shared<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
}

struct State<J> {
    waiting: BTreeMap<PathBuf, J>,
    writing: bool,
    over: bool,
}

impl<J> Shared<J> {
    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_idle_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        while state.writing || !state.waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl<J> std::fmt::Debug for FileWriter<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileWriter").field("name", &self.name).field("running", &self.running).finish_non_exhaustive()
    }
}

impl<J: Send + 'static> FileWriter<J> {
    /// `name`: the thread's. `write`: writes one file.
    pub fn new(name: &'static str, write: impl Fn(&Path, &J) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let state = Mutex::new(State { waiting: BTreeMap::new(), writing: false, over: false });
        Self {
            name,
            shared: Arc::new(Shared { state, changed: Condvar::new() }),
            write: Arc::new(write),
            running: false,
        }
    }

    /// Has a file written, soon. What waits under that name is replaced. What cannot be written is told in the log.
    pub fn write(&mut self, path: PathBuf, job: J) {
        if !self.running {
            let (shared, write) = (Arc::clone(&self.shared), Arc::clone(&self.write));
            let thread = std::thread::Builder::new().name(self.name.to_owned()).stack_size(STACK);
            match thread.spawn(move || write_files(&shared, &*write)) {
                Ok(_) => self.running = true,
                Err(error) => return warn!("{} cannot be written: {error}", path.display()),
            }
        }
        self.shared.lock().waiting.insert(path, job);
        self.shared.changed.notify_all();
    }

    /// Waits until all is written, but no longer than this; whether it is.
    pub async fn finish(&self, limit: Duration) -> bool {
        if !self.running {
            return true;
        }
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.is_idle_within(limit)).await.unwrap_or(false)
    }
}

impl<J> Drop for FileWriter<J> {
    fn drop(&mut self) {
        // Nobody waits here for a disk that does not answer.
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
    }
}

fn write_files<J>(shared: &Shared<J>, write: &(dyn Fn(&Path, &J) -> io::Result<()> + Send + Sync)) {
    let mut state = shared.lock();
    loop {
        if let Some((path, job)) = state.waiting.pop_first() {
            state.writing = true;
            drop(state);
            if let Err(error) = write(&path, &job) {
                warn!("{} cannot be written: {error}", path.display());
            }
            state = shared.lock();
            state.writing = false;
            shared.changed.notify_all();
        } else if state.over {
            return;
        } else {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_disk_that_does_not_answer_holds_nobody_up_and_costs_one_file_of_memory() {
        let (entered, has_entered) = channel();
        let (open, gate) = channel();
        let (written, all) = channel();
        let gate = Mutex::new(gate);
        let mut writer = FileWriter::new("test", move |_, job: &String| {
            entered.send(()).unwrap();
            gate.lock().unwrap().recv().unwrap();
            written.send(job.clone()).unwrap();
            Ok(())
        });
        writer.write("/x".into(), "first".to_owned());
        has_entered.recv().unwrap();
        // The disk hangs; a thousand signals later only the last content waits.
        for n in 0..1000 {
            writer.write("/x".into(), n.to_string());
        }
        open.send(()).unwrap();
        open.send(()).unwrap();
        assert_eq!(all.recv().unwrap(), "first");
        assert_eq!(all.recv().unwrap(), "999");
        drop(writer);
        assert!(all.recv().is_err(), "the thread has ended, and wrote nothing else");
    }

    #[tokio::test]
    async fn at_the_end_a_disk_is_waited_for_but_not_for_ever() {
        for (answers, limit) in [(true, Duration::from_secs(60)), (false, Duration::from_millis(1))] {
            let (open, gate) = channel();
            let gate = Mutex::new(gate);
            let mut writer =
                FileWriter::new("test", move |_, ()| gate.lock().unwrap().recv().map_err(io::Error::other));
            writer.write("/x".into(), ());
            if answers {
                open.send(()).unwrap();
            }
            assert_eq!(writer.finish(limit).await, answers);
        }
    }
}
