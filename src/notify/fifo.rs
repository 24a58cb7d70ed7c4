//! Notify FIFOs and their readers.
//!
//! Shell. A FIFO is opened for reading and writing, so that it never matters whether anybody reads: the kernel keeps
//! 64 KiB, the [`super::outbox`] the rest. Lines are shorter than a pipe's atomic write, so that readers see whole ones.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;
use tracing::{debug, error, info, warn};

use super::notice::Notice;
use super::outbox::{Deliver, Failure, Then};
use crate::daemon::exec::{Prepared, Running};

/// Read and write for the owner, read for the others, before the file creation mask.
const MODE: Mode = Mode::from_bits_truncate(0o644);
const FIRST_RESTART: Duration = Duration::from_secs(1);
const LAST_RESTART: Duration = Duration::from_secs(60);

/// A FIFO in the file system; one that we made is removed with this value.
#[derive(Debug)]
pub struct Fifo {
    path: PathBuf,
    made: bool,
}

impl Fifo {
    /// Finds or makes it.
    ///
    /// # Errors
    /// It cannot be made, or what is there is no FIFO, or it belongs to somebody who is neither root nor `owner`.
    pub fn prepare(path: &Path, owner: Option<(Uid, Gid)>) -> Result<Self, String> {
        let shown = path.display();
        let made = match nix::unistd::mkfifo(path, MODE) {
            Ok(()) => true,
            Err(nix::errno::Errno::EEXIST) => false,
            Err(error) => return Err(format!("cannot make the FIFO {shown}: {error}")),
        };
        let fifo = Self { path: path.to_owned(), made };
        if made {
            if let Some((uid, gid)) = owner {
                nix::unistd::chown(path, Some(uid), Some(gid))
                    .map_err(|error| format!("cannot give the FIFO {shown} to its user: {error}"))?;
            }
            return Ok(fifo);
        }
        let found = path.symlink_metadata().map_err(|error| format!("{shown}: {error}"))?;
        if !found.file_type().is_fifo() {
            return Err(format!("{shown} exists and is no FIFO: remove it, or name another path"));
        }
        let trusted = found.uid() == 0 || owner.is_some_and(|(uid, _)| uid.as_raw() == found.uid());
        if !trusted {
            return Err(format!(
                "the FIFO {shown} belongs to user {}, not to root or the configured user",
                found.uid()
            ));
        }
        Ok(fifo)
    }

    /// Leaves it to another value of the same file: whether that one must remove it.
    pub fn hand_over(&mut self) -> bool {
        std::mem::take(&mut self.made)
    }

    /// Takes the duty to remove it over.
    #[must_use]
    pub fn inherit(mut self, made: bool) -> Self {
        self.made |= made;
        self
    }

    fn open(path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path)
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        if self.made
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            debug!("cannot remove the FIFO {}: {error}", self.path.display());
        }
    }
}

/// Writes notices as lines.
#[derive(Debug)]
pub struct FifoWriter {
    path: PathBuf,
    pipe: Option<pipe::Sender>,
}

impl FifoWriter {
    /// Opens the FIFO when the first line comes.
    pub fn new(path: PathBuf) -> Self {
        Self { path, pipe: None }
    }

    fn pipe(&mut self) -> io::Result<&pipe::Sender> {
        if self.pipe.is_none() {
            self.pipe = Some(pipe::Sender::from_file(Fifo::open(&self.path)?)?);
        }
        self.pipe.as_ref().ok_or_else(|| io::Error::other("not open"))
    }

    async fn write(&mut self, batch: &[Arc<Notice>]) -> io::Result<usize> {
        let pipe = self.pipe()?;
        for (done, notice) in batch.iter().enumerate() {
            let Some(line) = notice.fifo_line() else { continue };
            loop {
                match pipe.try_write(line.as_bytes()) {
                    Ok(_) => break,
                    // What was written is not written again.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock && done > 0 => return Ok(done),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => pipe.writable().await?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(batch.len())
    }
}

impl Deliver for FifoWriter {
    async fn deliver(&mut self, batch: &[Arc<Notice>]) -> Result<usize, Failure> {
        match self.write(batch).await {
            Ok(done) => Ok(done),
            Err(error) => {
                self.pipe = None;
                Err(Failure { reason: format!("cannot write to it: {error}"), then: Then::Retry })
            }
        }
    }
}

/// The reader of a FIFO: started with the path as its last argument, and again, ever more slowly, when it ends.
#[derive(Debug)]
pub struct FifoReader {
    task: JoinHandle<()>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

impl FifoReader {
    /// Starts it, once the one before it has ended: two readers would each get a part. Must be called inside the runtime.
    #[allow(clippy::disallowed_methods, reason = "a shell: this value holds the handle of its task")]
    pub fn start(command: Prepared, name: String, path: &Path, before: Option<Self>) -> Self {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let args = vec![path.display().to_string()];
        let task = async move {
            if let Some(before) = before {
                before.end().await;
            }
            read(command, name, args, stopped).await;
        };
        Self { task: tokio::spawn(task), stop: Some(stop) }
    }

    /// Sends it TERM, as keepalived does before the last lines are written, so that it reads those and ends by itself;
    /// some time later KILL.
    pub fn terminate(&mut self) {
        self.stop.take();
    }

    /// The same, and waits for its end.
    pub async fn end(mut self) {
        self.terminate();
        // It was not aborted, and does not panic.
        let _ = self.task.await;
    }
}

async fn read(command: Prepared, name: String, args: Vec<String>, mut stopped: tokio::sync::oneshot::Receiver<()>) {
    let mut pause = FIRST_RESTART;
    loop {
        match Running::start(&command, &args) {
            Ok(mut running) => {
                info!("{name}: its script is started");
                let outcome = tokio::select! {
                    outcome = running.wait() => outcome,
                    _ = &mut stopped => return running.end().await,
                };
                warn!("{name}: its script {outcome}; started again in {pause:?}");
            }
            Err(error) => error!("{name}: its script cannot be started: {error}; tried again in {pause:?}"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = &mut stopped => return,
        }
        pause = (pause * 2).min(LAST_RESTART);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::notify::notice::{About, What};
    use crate::notify::outbox::Outbox;
    use crate::vrrp::event::StateName;

    fn notice(sequence: u64) -> Arc<Notice> {
        let what = What::State { to: StateName::Master, priority: 100 };
        let about = About::Instance(format!("VI_{sequence}"));
        Arc::new(Notice { sequence, at: Duration::ZERO, about, what, cause: None })
    }

    #[tokio::test]
    async fn nothing_is_lost_while_nobody_reads_and_the_pipe_is_full() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("fifo");
        let fifo = Fifo::prepare(&path, None).expect("a FIFO");
        let writer = fifo.path.clone();
        let outbox = Outbox::start("fifo".into(), move || FifoWriter::new(writer.clone()));
        // 64 KiB of pipe hold fewer than 5,000 lines.
        (1..=5000).for_each(|n| outbox.push(notice(n)));
        while outbox.counters().sent == 0 {
            tokio::task::yield_now().await;
        }
        assert!(outbox.counters().queued > 0, "the pipe is full");
        let reader = tokio::task::spawn_blocking(move || {
            let mut file = File::open(&path).expect("it opens");
            let (mut text, mut part) = (Vec::new(), [0; 4096]);
            while text.iter().filter(|byte| **byte == b'\n').count() < 5000 {
                let got = file.read(&mut part).expect("it reads");
                text.extend_from_slice(&part[..got]);
            }
            String::from_utf8(text).expect("text")
        });
        let text = reader.await.expect("it read");
        let want: String = (1..=5000).map(|n| format!("INSTANCE \"VI_{n}\" MASTER 100\n")).collect();
        assert_eq!(text, want);
        outbox.drain(Duration::from_secs(10)).await;
        drop(fifo);
        assert!(!directory.path().join("fifo").exists(), "made by us, removed by us");
    }

    #[test]
    fn what_is_there_already_is_looked_at() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        std::fs::write(&file, "").expect("it is written");
        assert!(Fifo::prepare(&file, None).is_err_and(|error| error.contains("is no FIFO")));
        let path = directory.path().join("fifo");
        nix::unistd::mkfifo(&path, MODE).expect("a FIFO");
        drop(Fifo::prepare(&path, None).expect("root's"));
        assert!(path.exists(), "not made by us, not removed by us");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        assert!(Fifo::prepare(&link, None).is_err(), "a link may lead anywhere");
    }
}
