//! A vrrp process whose main was killed and that did not end, because it was stopped or hangs.
//!
//! Shell. It still owns its addresses in the kernel, and woken up it would speak for them. The lock on its pid file was
//! its main's: who has the lock knows that there is no main, and that whoever the file names is on its own.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tracing::warn;

/// A vrrp process that lost its main hands over by itself; that takes this long at the most.
const HAND_OVER: Duration = Duration::from_millis(2500);
const LOOK: Duration = Duration::from_millis(20);

/// Waits for the process that `pid_file` names to end, if it is an orphaned vrrp process, and kills it if it does not.
/// To be called with the file's lock held and before it is written. The next vrrp process sweeps what it leaves.
pub async fn end_orphan(pid_file: &Path) {
    let Some(pid) = fs::read_to_string(pid_file).ok().and_then(|text| text.lines().next()?.trim().parse().ok()) else {
        return;
    };
    let mut waited = Duration::ZERO;
    while is_vrrp_process(pid) {
        if waited >= HAND_OVER || is_stopped(pid) {
            warn!("a vrrp process without its main was left (pid {pid}): killed");
            // It may have ended just now.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            return;
        }
        tokio::time::sleep(LOOK).await;
        waited += LOOK;
    }
}

/// Whether a process is one that some main has started: numbers are used again.
fn is_vrrp_process(pid: i32) -> bool {
    let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
    words.windows(2).any(|pair| pair == [&b"--child"[..], b"vrrp"])
}

fn is_stopped(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses and may hold anything.
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['T', 't']))
}
