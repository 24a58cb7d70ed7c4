//! Where log lines go: syslog, the standard error stream, a file.
//!
//! Shell: runs on a thread of its own, where a slow reader delays nobody else.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Record;

/// A destination. An error means that the line is lost here.
pub(super) trait Sink: Send {
    /// Writes one line, for as long as it takes.
    fn write(&mut self, record: &Record) -> io::Result<()>;
}

/// How long a full syslog socket is waited for, per line.
const SYSLOG_PATIENCE: Duration = Duration::from_secs(1);

/// `<priority>ident[pid]: text` datagrams, which every syslog daemon stamps with the time itself.
pub(super) struct Syslog {
    path: PathBuf,
    ident: String,
    facility: u8,
    socket: Option<UnixDatagram>,
}

impl Syslog {
    pub(super) fn new(path: &Path, ident: &str, facility: u8) -> Self {
        Self { path: path.to_owned(), ident: ident.to_owned(), facility, socket: None }
    }

    fn connect(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(&self.path)?;
        socket.set_write_timeout(Some(SYSLOG_PATIENCE))?;
        Ok(socket)
    }
}

impl Sink for Syslog {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        let priority = self.facility * 8 + record.severity();
        let body = record.line(&self.ident, || record.text.clone());
        let line = format!("<{priority}>{}[{}]: {body}", record.ident(&self.ident), std::process::id());
        // A syslog daemon that was restarted has a new socket under the old name.
        for attempt in 0..2 {
            if self.socket.is_none() {
                self.socket = Some(self.connect()?);
            }
            let Some(socket) = &self.socket else { break };
            match socket.send(line.as_bytes()) {
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock || attempt > 0 => return Err(e),
                Err(_) => self.socket = None,
            }
        }
        Ok(())
    }
}

/// The standard error stream: with time and name for people, with `<severity>` when journald reads it.
pub(super) struct Stderr {
    ident: String,
    journald: bool,
}

impl Stderr {
    pub(super) fn new(ident: &str) -> Self {
        Self { ident: ident.to_owned(), journald: is_journald() }
    }
}

/// systemd tells the device and inode of the stream that it connected to the journal.
fn is_journald() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(meta) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", meta.dev(), meta.ino())
}

impl Sink for Stderr {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        let line = if self.journald {
            format!("<{}>{}\n", record.severity(), record.line(&self.ident, || record.text.clone()))
        } else {
            record
                .line(&self.ident, || format!("{} {}: {}", record.timestamp(), record.ident(&self.ident), record.text))
                + "\n"
        };
        io::stderr().write_all(line.as_bytes())
    }
}

/// A file, opened again by each start. Written line by line: `--flush-log-file` is always on.
pub(super) struct LogFile {
    file: File,
    ident: String,
}

impl LogFile {
    pub(super) fn open(path: &Path, ident: &str) -> io::Result<Self> {
        // The default is in /tmp: never follow a link that somebody else put there.
        let file =
            OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)?;
        Ok(Self { file, ident: ident.to_owned() })
    }
}

impl Sink for LogFile {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        let (time, ident, pid) = (record.timestamp(), record.ident(&self.ident), std::process::id());
        let line = record.line(&self.ident, || format!("{time} {ident}[{pid}]: {}", record.text)) + "\n";
        self.file.write_all(line.as_bytes())
    }
}
