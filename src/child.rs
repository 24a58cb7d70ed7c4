//! What the two processes that main starts have in common: what they begin with, which signals they hear, how they end.
//!
//! Shell.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ended in good order.
pub const EXIT_OK: i32 = 0;
/// `EX_SOFTWARE`, which keepalived uses too: something that should not be.
pub const EXIT_SOFTWARE: i32 = 70;
/// How long main may take to say what to do.
pub const START_PATIENCE: Duration = Duration::from_secs(30);

/// The stream to main, which is our standard input, and whatever standard output was. Both then point to `/dev/null`, and
/// this process gets SIGTERM when main dies.
///
/// # Errors
/// Not started by main.
pub fn standard_streams() -> io::Result<(UnixStream, OwnedFd)> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)?;
    let main = io::stdin().as_fd().try_clone_to_owned()?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    Ok((main.into(), output))
}

/// Runs what the process does to its end, on this thread; the exit code. Main cleans up after one that ends with
/// [`EXIT_SOFTWARE`], and starts the next.
pub fn run(name: &str, work: impl Future<Output = io::Result<i32>>) -> i32 {
    let failed = |what: &str, error: &io::Error| {
        tracing::error!("the {name} process cannot {what}: {error}");
        EXIT_SOFTWARE
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return failed("start", &e),
    };
    let code = match catch_unwind(AssertUnwindSafe(|| runtime.block_on(work))) {
        Ok(Ok(code)) => code,
        Ok(Err(e)) => failed("go on", &e),
        Err(_) => {
            tracing::error!("the {name} process panicked");
            EXIT_SOFTWARE
        }
    };
    // A name service that hangs may hold a thread of the runtime for ever; nobody waits for it.
    runtime.shutdown_background();
    code
}

/// SIGTERM and SIGINT; the others are main's business and only kept from killing us.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    _ignored: Vec<Signal>,
}

impl Signals {
    /// From now on.
    ///
    /// # Errors
    /// The kernel refuses a handler.
    pub fn install() -> io::Result<Self> {
        let mut ignored = vec![signal(SignalKind::hangup())?];
        ignored.push(signal(SignalKind::user_defined1())?);
        ignored.push(signal(SignalKind::user_defined2())?);
        // keepalived's further signals are real-time ones, counted from SIGRTMIN.
        for offset in 0..10 {
            ignored.extend(signal(SignalKind::from_raw(libc::SIGRTMIN() + offset)));
        }
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _ignored: ignored,
        })
    }

    /// Either of the two. Safe to drop.
    pub async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
