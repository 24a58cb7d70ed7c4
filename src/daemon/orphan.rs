//! A child whose main was killed and that did not end, because it was stopped or hangs.
//!
//! Shell. A vrrp process still owns its addresses in the kernel, and woken up it would speak for them; a balancer process
//! still has its ports, and takes clients that nobody serves. The lock on its pid file was
//! its main's: who has the lock knows that there is no main, and that whoever the file names is on its own.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tracing::warn;

use super::supervise::Kind;

/// A vrrp process that lost its main hands over by itself; that takes this long at the most.
const HAND_OVER: Duration = Duration::from_millis(2500);
const LOOK: Duration = Duration::from_millis(20);

/// Waits for the process that `pid_file` names to end, if it is an orphaned child of this kind, and kills it if it does
/// not. To be called with the file's lock held and before it is written. The next child sweeps what it leaves.
pub async fn end_orphan<K: Kind>(pid_file: &Path) {
    let Some(pid) = fs::read_to_string(pid_file).ok().and_then(|text| text.lines().next()?.trim().parse().ok()) else {
        return;
    };
    let mut waited = Duration::ZERO;
    while is_child(pid, K::OPTION) {
        if waited >= HAND_OVER || is_stopped(pid) {
            warn!("{} of a main that is gone was left (pid {pid}): killed", K::NAME);
            // It may have ended just now.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            return;
        }
        tokio::time::sleep(LOOK).await;
        waited += LOOK;
    }
}

/// Whether a process is one that some main has started: numbers are used again.
fn is_child(pid: i32, kind: &str) -> bool {
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    words.windows(2).any(|pair| pair == [&b"--child"[..], kind.as_bytes()])
}

fn is_stopped(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses and may hold anything.
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['T', 't']))
}
