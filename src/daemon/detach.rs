//! Going into the background, and starting clean.
//!
//! Shell. The program starts itself again rather than forking: a fork copies one thread out of many, and what those
//! others held stays locked for ever. The first process waits until the second says that the daemon is ready, or
//! ends with its exit code, so that `keepalived && echo up` tells the truth.
//!
//! ```text
//!   keepalived ── spawns ──▶ keepalived --detached (setsid; stdout = pipe)
//!       │ reads the pipe ◀── "R" when ready, then 0, 1, 2 become /dev/null
//!       ▼ exit 0, or the child's code when the pipe closes without a word
//! ```

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

/// Ready, on the pipe.
const READY: u8 = b'R';

/// Starts the daemon in the background and waits until it is ready or has failed. Returns the exit code.
///
/// # Errors
/// It could not be started.
pub fn into_background(argv: &[OsString]) -> io::Result<u8> {
    let (name, args) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut child = Command::new("/proc/self/exe")
        .arg0(name)
        .args(args)
        .arg("--detached")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut word = [0];
    let heard = child.stdout.take().map_or(Ok(0), |mut pipe| pipe.read(&mut word))?;
    if heard == 1 && word[0] == READY {
        return Ok(0);
    }
    let status = child.wait()?;
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)).try_into().unwrap_or(1))
}

/// The background process: leaves its session, so that a closed terminal is nothing to it.
pub fn leave_session() {
    // Fails only for a process group's leader, which a process that was just started by another is not.
    let _ = nix::unistd::setsid();
}

/// Tells the waiting process that all is well, and lets go of what it left us: terminal, pipe.
///
/// # Errors
/// There is no `/dev/null`.
pub fn say_ready() -> io::Result<()> {
    let mut out = io::stdout();
    // Whoever waited may be gone.
    let _ = out.write_all(&[READY]).and_then(|()| out.flush());
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

/// Marks every descriptor but 0, 1 and 2 close-on-exec: what a careless parent left open must not reach scripts.
#[allow(unsafe_code)]
pub fn seal_inherited_descriptors() {
    // SAFETY: changes only a flag of descriptors; nothing in this program relies on a descriptor surviving exec
    // without being passed on as standard input, output or error.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result != 0 {
        // Before Linux 5.11. Our own descriptors are close-on-exec anyway.
        tracing::debug!("close_range: {}", io::Error::last_os_error());
    }
}
