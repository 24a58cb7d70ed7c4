//! A daemon under test: its directory, its log, its end.
#![allow(clippy::disallowed_methods, reason = "bounds real waiting")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use holdfast::lab::director;

/// For things that happen at once on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    pub fn new(conf: &str) -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(bench.path("conf"), conf).unwrap();
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The binary under keepalived's name, with this bench's files.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.arg0("keepalived");
        for (option, name) in [("-f", "conf"), ("-p", "main.pid"), ("-r", "vrrp.pid")] {
            command.arg(option).arg(self.path(name));
        }
        command.args(args);
        command
    }

    /// In the foreground, logging to us.
    pub fn start(&self, args: &[&str]) -> Daemon {
        let mut command = self.command(&["-n", "-l", "-G", "-D"]);
        command.env("TMPDIR", self.dir.path()).arg("--control-dir").arg(self.path("control"));
        Daemon::start(command.args(args))
    }

    pub fn pid(&self) -> u32 {
        let text = fs::read_to_string(self.path("main.pid")).expect("a pid file");
        text.trim_end().parse().expect("a number")
    }
}

/// Ends the daemon that this pid file names, if there is one.
pub struct EndOnDrop(pub PathBuf);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        // A daemon that ends in good order takes its file with it.
        if let Some(pid) = fs::read_to_string(&self.0).ok().and_then(|text| text.trim_end().parse().ok()) {
            kill(pid, libc::SIGKILL);
        }
    }
}

pub struct Daemon {
    child: Child,
    log: Receiver<String>,
}

impl Daemon {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary starts");
        let stderr = child.stderr.take().expect("piped");
        let (lines, log) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                eprintln!("{line}");
                let _ = lines.send(line);
            }
        });
        Self { child, log }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Reads on in the log until a line contains `words`; the line.
    pub fn wait_for_log(&self, words: &str) -> String {
        self.lines_until(words).pop().expect("the line")
    }

    /// The lines that it reads over, too.
    pub fn lines_until(&self, words: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.log.recv_timeout(left).unwrap_or_else(|e| panic!("no line with {words:?}: {e}"));
            each_change_has_its_cause(&line);
            let last = line.contains(words);
            lines.push(line);
            if last {
                return lines;
            }
        }
    }

    pub fn signal(&self, signal: i32) {
        kill(self.id(), signal);
    }

    pub fn wait(mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the daemon does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// One that nobody knows is a defect.
fn each_change_has_its_cause(line: &str) {
    if director::state_change(line).is_some() {
        let cause = director::cause(line).unwrap_or_default();
        assert!(!cause.is_empty() && !cause.to_lowercase().starts_with("unknown"), "nobody knows why: {line}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn kill(pid: u32, signal: i32) {
    let status = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{signal} {pid}");
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
