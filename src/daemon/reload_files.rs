//! The files around a reload: the one that says when (`reload_time_file`), the marker while files are read
//! (`reload_file`), the log of the test (`reload_check_config`), and what was saved for debugging (`config_save_dir`).
//!
//! Shell. Whatever fails here is told and changes nothing else: a full disk is no reason to keep an old configuration.
#![allow(clippy::disallowed_methods, reason = "a shell: reads the clock")]

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::{info, warn};

use super::local_time::LocalTime;
use super::pidfile;
use super::reload_time::ReloadTime;
use crate::conf::Loaded;
use crate::conf::config::{Config, DaemonConfig, ReloadMarker};
use crate::trackers::file::Watches;

/// The clock may be set while we wait.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// More of a time file is not read.
const MAX_TIME: usize = 64;
/// Reloads of which the saved state is kept.
const SAVED: u64 = 50;

/// Waits for the time that the `reload_time_file` names.
#[derive(Debug, Default)]
pub struct Schedule {
    file: Option<PathBuf>,
    repeat: bool,
    watches: Option<Watches>,
    due_at: Option<i64>,
    /// The last thing that was said about the file: the same again is not news.
    said: String,
}

impl Schedule {
    /// Obeys this configuration from now on.
    pub fn apply(&mut self, config: &DaemonConfig) {
        self.repeat = config.reload_repeat;
        if self.file == config.reload_time_file && self.watches.is_some() == self.file.is_some() {
            return;
        }
        self.file.clone_from(&config.reload_time_file);
        self.watches = None;
        self.due_at = None;
        let Some(file) = &self.file else { return };
        match Watches::new() {
            Ok(watches) => self.watches = Some(watches),
            Err(error) => warn!("reload_time_file {} cannot be watched: {error}", file.display()),
        }
        self.look();
    }

    /// Waits until a reload is due; for ever when none is. May be dropped and called again at any time.
    pub async fn due(&mut self) {
        loop {
            let Some(watches) = &mut self.watches else { return std::future::pending().await };
            let left = self.due_at.map(|at| at - unix_now());
            if left.is_some_and(|left| left <= 0) {
                return;
            }
            let nap = left.and_then(|left| u64::try_from(left).ok()).map_or(LOOK_AGAIN, Duration::from_secs);
            tokio::select! {
                changed = watches.wait() => match changed {
                    Ok(()) => self.look(),
                    Err(error) => {
                        warn!("reload_time_file is no longer watched: {error}");
                        self.watches = None;
                    }
                },
                () = tokio::time::sleep(nap.min(LOOK_AGAIN)) => {}
            }
        }
    }

    /// A scheduled reload begins: the file has done its work, unless it is to repeat.
    pub fn taken(&mut self) {
        let Some(file) = self.file.clone() else { return };
        self.due_at = None;
        if !self.repeat
            && let Err(error) = fs::remove_file(&file)
        {
            warn!("{} cannot be removed, so that it will ask for a reload again: {error}", file.display());
        }
        self.look();
    }

    /// Reads the file. The watches are in place first: a change in between is seen twice rather than never.
    fn look(&mut self) {
        let (Some(file), Some(watches)) = (&self.file, &mut self.watches) else { return };
        if let Err(error) = watches.arm(std::iter::once(file)) {
            warn!("reload_time_file {} cannot be watched: {error}", file.display());
        }
        let mut said = String::new();
        self.due_at = match read_time(file) {
            Ok(Some(text)) => match ReloadTime::parse(&text) {
                Some(time) => {
                    let next = time.next(unix_now(), &LocalTime);
                    let shown: String = text.lines().next().unwrap_or_default().chars().take(40).collect();
                    said = match next {
                        Some(at) => format!("a reload is due at {shown} ({} seconds from now)", at - unix_now()),
                        None => format!("{shown} has passed: no reload is due"),
                    };
                    next
                }
                None => {
                    said = "no time in it: write HH:MM:SS or YYYY-MM-DD HH:MM:SS, with Z for UTC".to_owned();
                    None
                }
            },
            Ok(None) => None,
            Err(error) => {
                said = format!("cannot be read: {error}");
                None
            }
        };
        if said != self.said && !said.is_empty() {
            info!("reload_time_file {}: {said}", file.display());
        }
        self.said = said;
    }
}

fn read_time(path: &Path) -> io::Result<Option<String>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    // Non-blocking, for whoever puts a FIFO there.
    match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file.take(MAX_TIME as u64).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// The file that is there while configuration files are read (`reload_file`).
pub fn marker_path(config: &DaemonConfig, namespace: Option<&str>) -> Option<PathBuf> {
    match config.reload_file.as_ref()? {
        ReloadMarker::At(path) => Some(path.clone()),
        ReloadMarker::Default => {
            let pid = pidfile::default_path("keepalived", config, namespace);
            Some(pid.with_file_name("keepalived.reload"))
        }
    }
}

/// Creates the marker, or empties it.
pub fn put_marker(path: &Path) {
    let opened = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    if let Err(error) = opened {
        warn!("reload_file {}: {error}", path.display());
    }
}

/// The files have been read.
pub fn remove_marker(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => warn!("reload_file {}: {error}", path.display()),
        _ => {}
    }
}

/// What is written beside a reload.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// `reload_check_config FILE`.
    pub check_log: Option<PathBuf>,
    /// `config_save_dir`.
    pub save_dir: Option<PathBuf>,
    /// The number of this reload since the start.
    pub number: u64,
}

impl Records {
    /// Writes the log of the test, and both configurations for who looks for a fault in repeated reloads. Slow: not for
    /// main's loop.
    pub fn write(&self, running: &Config, loaded: &Loaded) {
        if let Some(path) = &self.check_log {
            let code = loaded.diagnostics.config_test_exit_code();
            let text = format!("{}exit code {code}\n", loaded.diagnostics.render(false));
            report(path, write_private(path, text.as_bytes()));
        }
        let Some(dir) = &self.save_dir else { return };
        report(dir, self.save(dir, running, loaded));
    }

    fn save(&self, dir: &Path, running: &Config, loaded: &Loaded) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let file = |number: u64, what: &str| dir.join(format!("reload-{number:04}-{what}"));
        write_private(&file(self.number, "before.txt"), format!("{running:#?}\n").as_bytes())?;
        let read = match &loaded.config {
            Some(config) => format!("{config:#?}\n{}", loaded.diagnostics.render(false)),
            None => loaded.diagnostics.render(false),
        };
        write_private(&file(self.number, "after.txt"), read.as_bytes())?;
        let mut text = String::new();
        for path in &loaded.files {
            let content = fs::read(path).unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# {}\n{}", path.display(), String::from_utf8_lossy(&content));
        }
        write_private(&file(self.number, "files.conf"), text.as_bytes())?;
        if let Some(old) = self.number.checked_sub(SAVED) {
            for what in ["before.txt", "after.txt", "files.conf"] {
                // Not there in the first reloads.
                let _ = fs::remove_file(file(old, what));
            }
        }
        Ok(())
    }
}

fn report(path: &Path, result: io::Result<()>) {
    if let Err(error) = result {
        warn!("reload: {} is not written: {error}", path.display());
    }
}

/// Configurations hold passwords.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    file.write_all(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_never_follows_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        put_marker(&link);
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        let marker = dir.path().join("marker");
        fs::write(&marker, "x").unwrap();
        put_marker(&marker);
        assert_eq!(fs::read_to_string(&marker).unwrap(), "");
        remove_marker(&marker);
        remove_marker(&marker);
        assert!(!marker.exists());
    }

    #[test]
    fn only_the_last_reloads_are_kept_and_nobody_else_reads_them() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let save = dir.path().join("saved");
        let conf = dir.path().join("k.conf");
        fs::write(&conf, "global_defs {\n router_id x\n}\n").unwrap();
        let loaded = crate::conf::load(&conf, &Default::default());
        for number in 1..=SAVED + 1 {
            let records = Records { save_dir: Some(save.clone()), number, check_log: None };
            records.write(&Config::default(), &loaded);
        }
        assert!(!save.join("reload-0001-before.txt").exists());
        let file = save.join(format!("reload-{:04}-files.conf", SAVED + 1));
        assert!(fs::read_to_string(&file).unwrap().contains("router_id x"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&save).unwrap().count() as u64, SAVED * 3);
    }
}
