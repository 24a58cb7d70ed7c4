//! Asks the daemons of this machine what their userspace forwarders have.
//!
//! Shell: looks for control sockets below `/run/holdfast`, and asks over those of this network namespace. A daemon that does
//! not answer holds up a list for some seconds only.
#![allow(clippy::disallowed_methods, reason = "a shell: measures rates over real time")]

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::source::{Entry, Look, Seen, Source, add_rates};
use crate::control::api::Method;
use crate::control::client::{Client, ClientError};
use crate::control::paths::{DEFAULT_DIRECTORY, status_socket};
use crate::control::peer::Peer;
use crate::status::model::{Process, ProcessState, Status};

/// For the beginning of an answer and for the rest of it: longer than a daemon waits for a child of its own.
const LIMIT: Duration = Duration::from_secs(10);
/// What rates are measured over.
const RATE_PERIOD: Duration = Duration::from_secs(1);

/// The daemons; what they said is kept for the next question of the same run.
#[derive(Debug, Default)]
pub struct Daemons {
    seen: Option<(Option<PathBuf>, Rc<Seen>)>,
}

impl Source for Daemons {
    fn look(&mut self, look: Look<'_>) -> Rc<Seen> {
        match &self.seen {
            Some((of, seen)) if of.as_deref() == look.control_dir && !look.rates => return Rc::clone(seen),
            _ => {}
        }
        let begun = Instant::now();
        let mut seen = ask_all(look.control_dir);
        if look.rates && !seen.entries.is_empty() {
            std::thread::sleep(RATE_PERIOD.saturating_sub(begun.elapsed()));
            let before = std::mem::replace(&mut seen, ask_all(look.control_dir)).entries;
            add_rates(&before, &mut seen.entries, begun.elapsed());
        }
        let seen = Rc::new(seen);
        self.seen = Some((look.control_dir.map(Path::to_owned), Rc::clone(&seen)));
        seen
    }
}

fn ask_all(control_dir: Option<&Path>) -> Seen {
    let mut seen = Seen::default();
    let directories = match control_dir {
        Some(directory) => vec![directory.to_owned()],
        None => directories().into_iter().filter(|directory| is_ours(directory)).collect(),
    };
    for directory in directories {
        match ask(&directory) {
            Ok(status) => {
                seen.entries.extend(Entry::of_status(&status));
                seen.remarks.extend(silence(&status));
            }
            // It has ended, and its socket is left.
            Err(ClientError::NotRunning { .. }) if control_dir.is_none() => {}
            Err(error) => seen.remarks.push(format!("the userspace forwarder is not shown: {error}")),
        }
    }
    seen
}

/// A daemon answers for its balancer process, and cannot when that stands still.
fn silence(status: &Status) -> Option<String> {
    let is_silent = |process: &Process| process.name == "balancer" && process.state == ProcessState::Silent;
    let file = &status.daemon.config_file;
    let text = || format!("the userspace forwarder of {file} is not shown: the balancer process does not answer");
    status.daemon.processes.iter().any(is_silent).then(text)
}

fn ask(directory: &Path) -> Result<Status, ClientError> {
    let client = Client::new(directory);
    let answer = client.ask_within(LIMIT, Method::Get, "/v1/status", "")?;
    let broken = |why: String| ClientError::Broken { socket: client.socket(Method::Get), why };
    if answer.status != 200 {
        return Err(broken(format!("status {}: {}", answer.status, String::from_utf8_lossy(&answer.body))));
    }
    serde_json::from_slice(&answer.body).map_err(|error| broken(format!("the answer is not understood: {error}")))
}

/// Where there are sockets: of the daemon without a name, and of those with one.
fn directories() -> Vec<PathBuf> {
    let named = std::fs::read_dir(DEFAULT_DIRECTORY).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut all: Vec<PathBuf> = named.chain([PathBuf::from(DEFAULT_DIRECTORY)]).collect();
    all.retain(|directory| status_socket(directory).exists());
    all.sort();
    all
}

/// Whether its daemon has our network namespace: a table of another one is not what is asked for. One that cannot be told
/// counts.
fn is_ours(directory: &Path) -> bool {
    let Ok(stream) = UnixStream::connect(status_socket(directory)) else { return true };
    let Ok(Peer { pid: pid @ 1.., .. }) = Peer::of(&stream) else { return true };
    let namespace = |path: String| std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let theirs = namespace(format!("/proc/{pid}/ns/net"));
    theirs.is_none() || theirs == namespace("/proc/thread-self/ns/net".to_owned())
}
