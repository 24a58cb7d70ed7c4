//! Pid files, and the lock that tells whether the daemon is running already.
//!
//! Shell. keepalived's names and format: `/run/keepalived.pid` and `/run/vrrp.pid`, one number and a newline, locked
//! by an open-file-description lock for as long as the process lives, so that a stale file means nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::conf::config::DaemonConfig;

/// A locked pid file, removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    file: File,
    path: PathBuf,
}

/// Why there is no pid file.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Another process holds the lock.
    #[error("{} is locked: daemon is already running", .0.display())]
    AlreadyRunning(PathBuf),
    /// The file cannot be written.
    #[error("pid file {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        error: io::Error,
    },
}

impl PidFile {
    /// Takes the lock; writes nothing yet.
    ///
    /// # Errors
    /// Somebody has it, or the file cannot be opened.
    pub fn lock(path: &Path) -> Result<Self, PidFileError> {
        let io = |error| PidFileError::Io { path: path.to_owned(), error };
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(io)?;
        }
        // A file unlinked between open and lock belongs to a daemon that just ended: open the new one.
        for _ in 0..10 {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o644)
                .custom_flags(libc::O_NOFOLLOW)
                .open(path)
                .map_err(io)?;
            match try_lock(&file) {
                Ok(()) => {}
                Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
                    return Err(PidFileError::AlreadyRunning(path.to_owned()));
                }
                Err(e) => return Err(io(e)),
            }
            if same_file(&file, path) {
                return Ok(Self { file, path: path.to_owned() });
            }
        }
        Err(io(io::Error::other("the file keeps being replaced")))
    }

    /// Writes a process id over whatever is there.
    ///
    /// # Errors
    /// The disk is full, for example.
    pub fn write(&mut self, pid: u32) -> Result<(), PidFileError> {
        let mut write = || {
            // Never empty in between: monitors read it at any moment, and take the first line.
            let text = format!("{pid}\n");
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(text.as_bytes())?;
            self.file.set_len(text.len() as u64)
        };
        write().map_err(|error| PidFileError::Io { path: self.path.clone(), error })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Ours by the lock; a file that somebody put in its place is not.
        if same_file(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(theirs)) => (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()),
        _ => false,
    }
}

/// An open-file-description lock on the whole file: as keepalived takes, so that each sees the other's.
fn try_lock(file: &File) -> io::Result<()> {
    let lock = whole_file_lock();
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_OFD_SETLK(&lock)).map(|_| ()).map_err(Into::into)
}

#[allow(unsafe_code)]
fn whole_file_lock() -> libc::flock {
    // SAFETY: flock is plain numbers, for which all zeros are a value; its padding differs between platforms.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    // Small constants, 1 and 0, whose type libc leaves wider than the field's.
    lock.l_type = i16::try_from(libc::F_WRLCK).expect("F_WRLCK is 1");
    lock.l_whence = i16::try_from(libc::SEEK_SET).expect("SEEK_SET is 0");
    lock
}

/// Where the pid files are: `keepalived` for main, `vrrp` for its child.
pub fn default_path(process: &str, config: &DaemonConfig, namespace: Option<&str>) -> PathBuf {
    let run = Path::new("/run");
    let suffix: String =
        [config.instance.as_deref(), namespace].into_iter().flatten().map(|s| format!("_{s}")).collect();
    if config.use_pid_dir || !suffix.is_empty() {
        run.join("keepalived").join(format!("{process}{suffix}.pid"))
    } else {
        run.join(format!("{process}.pid"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_and_a_stale_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/k.pid");
        let mut first = PidFile::lock(&path).unwrap();
        first.write(123_456).unwrap();
        first.write(42).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "42\n");
        assert!(matches!(PidFile::lock(&path), Err(PidFileError::AlreadyRunning(_))));
        drop(first);
        assert!(!path.exists());
        fs::write(&path, "99999\n").unwrap();
        PidFile::lock(&path).unwrap();
    }

    #[test]
    fn a_file_put_in_its_place_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k.pid");
        let first = PidFile::lock(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "other\n").unwrap();
        drop(first);
        assert_eq!(fs::read_to_string(&path).unwrap(), "other\n");
    }

    #[test]
    fn names_are_keepalived_s() {
        let mut config = DaemonConfig::default();
        let path = |c: &DaemonConfig, ns| default_path("vrrp", c, ns).display().to_string();
        assert_eq!(path(&config, None), "/run/vrrp.pid");
        assert_eq!(path(&config, Some("blue")), "/run/keepalived/vrrp_blue.pid");
        config.use_pid_dir = true;
        assert_eq!(path(&config, None), "/run/keepalived/vrrp.pid");
        config.instance = Some("two".into());
        assert_eq!(path(&config, None), "/run/keepalived/vrrp_two.pid");
    }
}
