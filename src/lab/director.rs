//! A node with the daemon under test: starting, stopping, killing, and its log as events one can wait for.
//!
//! Shell: owns processes and private mounts. The daemon is whatever program takes keepalived's options.

#![allow(clippy::disallowed_methods)] // A shell: log lines carry the time they were read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::host::{Host, Process, lock};
use super::mounts;

/// Where the node's file is, inside its private mounts.
pub const CONFIG: &str = "/etc/keepalived/keepalived.conf";

/// What is run.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// The program.
    pub program: PathBuf,
    /// Options beyond those that every start has (foreground, log to standard error, file and pid files).
    pub options: Vec<String>,
}

/// One line that a daemon logged.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// When it was read.
    pub at: Instant,
    /// The line without its line end.
    pub text: String,
}

impl LogLine {
    /// The instance and the state, if the line reports a change.
    pub fn state_change(&self) -> Option<(&str, &str)> {
        state_change(&self.text)
    }
}

/// Reads `(VI_1) Entering MASTER STATE`, whatever stands before and after it.
pub fn state_change(line: &str) -> Option<(&str, &str)> {
    let (before, after) = line.split_once(") Entering ")?;
    let (_, instance) = before.rsplit_once('(')?;
    let (state, _) = after.split_once(" STATE")?;
    Some((instance, state))
}

#[derive(Default)]
struct Log {
    lines: Vec<LogLine>,
    /// Last state of each instance, with the time of the line that said so.
    states: BTreeMap<String, (String, Instant)>,
}

type SharedLog = Arc<(Mutex<Log>, Condvar)>;

/// A director.
pub struct Director {
    process: Option<Process>,
    host: Host,
    daemon: Daemon,
    log: SharedLog,
    on_line: Arc<dyn Fn(&LogLine) + Send + Sync>,
}

impl Director {
    /// Prepares a host for the daemon: private `/run`, `/tmp` and `/etc/keepalived`, with `config` as the file and
    /// `files` (name, content, executable) beside it. Nothing outside the host is changed.
    pub fn new(host: Host, daemon: Daemon, config: &str, files: Vec<mounts::ExtraFile>) -> io::Result<Self> {
        let program = fs::canonicalize(&daemon.program)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", daemon.program.display())))?;
        // The given name, not that of a link's target: a daemon may go by the name it is started under.
        let named = if daemon.program.starts_with("/proc") { &program } else { &daemon.program };
        let name = named.file_name().unwrap_or("daemon".as_ref()).to_owned();
        let inside = host.run(move || mounts::make_private(&program, &name, &files))?;
        let director = Self {
            process: None,
            host,
            daemon: Daemon { program: inside, options: daemon.options },
            log: SharedLog::default(),
            on_line: Arc::new(|_| {}),
        };
        director.write_file(Path::new(CONFIG), config)?;
        Ok(director)
    }

    /// Calls `on_line` for each log line of daemons started from now on, on the thread that reads them.
    pub fn on_line(&mut self, on_line: impl Fn(&LogLine) + Send + Sync + 'static) {
        self.on_line = Arc::new(on_line);
    }

    /// The machine it is.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.host.name()
    }

    /// Writes a file as the node sees it.
    pub fn write_file(&self, path: &Path, content: &str) -> io::Result<()> {
        let (path, content) = (path.to_owned(), content.to_owned());
        self.host.run(move || fs::write(path, content))
    }

    /// What this very program says on the node with these arguments; a daemon of another make knows nothing of it.
    pub fn ask(&self, arguments: &[&str]) -> io::Result<String> {
        let mut command = Command::new(&self.daemon.program);
        command.args(arguments).env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = self.host.spawn(command)?;
        let mut text = String::new();
        if let Some(mut stdout) = process.stdout.take() {
            stdout.read_to_string(&mut text)?;
        }
        Ok(text)
    }

    /// Removes a file as the node sees it.
    pub fn remove_file(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        self.host.run(move || fs::remove_file(path))
    }

    /// Starts the daemon. Pid files of a predecessor are removed first: after a power cut `/run` is empty.
    pub fn start(&mut self) -> io::Result<()> {
        let pid_files = ["main", "vrrp", "checkers"].map(|name| format!("/run/lab-{name}.pid"));
        let stale = pid_files.clone();
        self.host.run(move || {
            for file in stale {
                let _ = fs::remove_file(file);
            }
        });
        let (reader, writer) = io::pipe()?;
        let [main, vrrp, checkers] = pid_files;
        let mut command = Command::new(&self.daemon.program);
        command.args(["-n", "-l", "-D", "-f", CONFIG, "-p", &main, "-r", &vrrp, "-c", &checkers]);
        command.args(&self.daemon.options);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.current_dir("/").stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        lock(&self.log.0).states.clear();
        self.process = Some(self.host.spawn(command)?);
        let (log, on_line) = (Arc::clone(&self.log), Arc::clone(&self.on_line));
        std::thread::Builder::new()
            .name(format!("log-{}", self.name()))
            .spawn(move || read_log(reader, &log, &*on_line))
            .map(drop)
    }

    /// Sends a signal to the daemon's main process.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// Has it read its file again.
    pub fn reload(&self) {
        self.signal(Signal::SIGHUP);
    }

    /// SIGTERM, and waits for the end; `None` when it is still there after `timeout`.
    pub fn stop(&mut self, timeout: Duration) -> Option<ExitStatus> {
        self.signal(Signal::SIGTERM);
        self.wait_exit(timeout)
    }

    /// Waits for the daemon's end.
    pub fn wait_exit(&self, timeout: Duration) -> Option<ExitStatus> {
        self.process.as_ref()?.wait(timeout)
    }

    /// Whether the daemon's main process is alive.
    pub fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.status().is_none())
    }

    /// The daemon's main process, as the lab numbers it.
    pub fn pid(&self) -> Option<nix::unistd::Pid> {
        self.process.as_ref().map(Process::pid)
    }

    /// SIGKILL for all processes of the node in one moment. Its addresses stay: cut the links first to be a dead machine.
    pub fn kill_all(&mut self) {
        self.host.kill_all();
        self.process = None;
        lock(&self.log.0).states.clear();
    }

    /// The state that an instance last reported.
    pub fn state(&self, instance: &str) -> Option<String> {
        lock(&self.log.0).states.get(instance).map(|(state, _)| state.clone())
    }

    /// Waits until an instance's last reported state is `state`; the time of that report.
    pub fn wait_for(&self, instance: &str, state: &str, timeout: Duration) -> io::Result<Instant> {
        let found = self
            .wait_log(timeout, |log| log.states.get(instance).filter(|(now, _)| now == state).map(|(_, since)| *since));
        found.ok_or_else(|| {
            let at = self.state(instance).unwrap_or_else(|| "no state yet".to_owned());
            let message = format!(
                "{}: {instance} not {state} after {timeout:?}, but {at}; log:\n{}",
                self.name(),
                self.log_text()
            );
            io::Error::new(io::ErrorKind::TimedOut, message)
        })
    }

    /// How many lines were logged so far, for [`Self::wait_for_line`].
    pub fn log_mark(&self) -> usize {
        lock(&self.log.0).lines.len()
    }

    /// Waits for a line with `pattern` in it among those after `mark`.
    pub fn wait_for_line(&self, mark: usize, pattern: &str, timeout: Duration) -> io::Result<LogLine> {
        let found =
            self.wait_log(timeout, |log| log.lines.iter().skip(mark).find(|l| l.text.contains(pattern)).cloned());
        found.ok_or_else(|| {
            let message = format!("{}: no “{pattern}” after {timeout:?}; log:\n{}", self.name(), self.log_text());
            io::Error::new(io::ErrorKind::TimedOut, message)
        })
    }

    /// Every line so far.
    pub fn log(&self) -> Vec<LogLine> {
        lock(&self.log.0).lines.clone()
    }

    fn log_text(&self) -> String {
        self.log().iter().map(|line| format!("  {}\n", line.text)).collect()
    }

    fn wait_log<T>(&self, timeout: Duration, mut found: impl FnMut(&Log) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + timeout;
        let mut log = lock(&self.log.0);
        loop {
            if let Some(value) = found(&log) {
                return Some(value);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            log = self.log.1.wait_timeout(log, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The most that one line may hold: a daemon gone wild must not fill the lab's memory.
const LINE_LIMIT: u64 = 16 * 1024;

fn read_log(pipe: impl Read, log: &SharedLog, on_line: &dyn Fn(&LogLine)) {
    let mut pipe = BufReader::new(pipe);
    let mut raw = Vec::new();
    loop {
        raw.clear();
        match (&mut pipe).take(LINE_LIMIT).read_until(b'\n', &mut raw) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let line = LogLine { at: Instant::now(), text: String::from_utf8_lossy(&raw).trim_end().to_owned() };
        on_line(&line);
        let mut log_now = lock(&log.0);
        if let Some((instance, state)) = line.state_change() {
            log_now.states.insert(instance.to_owned(), (state.to_owned(), line.at));
        }
        log_now.lines.push(line);
        log.1.notify_all();
    }
}

/// The cause that our own daemon logs with a change of state: a field, quoted where it has spaces.
pub fn cause(line: &str) -> Option<String> {
    let (_, value) = line.split_once(" cause=")?;
    let Some(quoted) = value.strip_prefix('"') else { return value.split(' ').next().map(str::to_owned) };
    let mut text = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Some(text),
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    // A line cut short.
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::{cause, state_change};

    #[test]
    fn finds_the_cause_of_a_change() {
        let line = |rest: &str| cause(&format!("(VI_1) Entering MASTER STATE{rest}"));
        assert_eq!(line(""), None);
        assert_eq!(line(" cause=stopping"), Some("stopping".to_owned()));
        assert_eq!(line(r#" cause="no advert for 3 ms" x=1"#), Some("no advert for 3 ms".to_owned()));
        assert_eq!(line(r#" cause="script \"a\" is down"#), Some("script \"a\" is down".to_owned()));
    }

    #[test]
    fn finds_state_changes_in_log_lines() {
        let line = "Sat Nov 21 01:40:00 2026: (VI_1) Entering MASTER STATE";
        assert_eq!(state_change(line), Some(("VI_1", "MASTER")));
        assert_eq!(state_change("(a (b)) Entering BACKUP STATE (init)"), Some(("b)", "BACKUP")));
        assert_eq!(state_change("(VI_1) Entering"), None);
        assert_eq!(state_change("VRRP_Script(chk) failed"), None);
    }
}
