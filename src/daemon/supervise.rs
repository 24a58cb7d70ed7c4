//! A child, the vrrp process or the balancer process: started, spoken with, and started again when it dies.
//!
//! Shell, owned by main's loop. The child is this very binary (`/proc/self/exe`, which stays the same file when a
//! package update replaces it on disk). Its standard input is our end's socket pair. The vrrp process's standard output is the
//! memfd of the flight recorder, which outlives it: the next child learns from it what the last one held.
//!
//! ```text
//!   main ── queue (QUEUE messages) ── writer task ──▶ socket ──▶ child
//!   main ◀── queue (QUEUE messages) ── reader task ◀── socket ◀── child
//! ```
//!
//! A full queue to the child means that it does not read: it is stuck, and is killed rather than waited for. All that
//! it must know is sent again to the next one. A full queue from the child makes the reader wait; the child never does:
//! it drops events and says how many.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::backoff::Backoff;
use super::process_name::ProcessNames;
use crate::ipc;
use crate::ipvs::message::{FromBalancer, ToBalancer};
use crate::vrrp::message::{FromVrrp, ToVrrp};

/// Messages that wait in either direction.
const QUEUE: usize = 1024;
/// A child that closed its socket is given this long to end.
const CLOSED_GRACE: Duration = Duration::from_secs(1);

/// A kind of child, and the language that it speaks.
pub trait Kind {
    /// What main says.
    type To: Serialize;
    /// What it says.
    type From: DeserializeOwned + std::fmt::Debug + Send + 'static;
    /// The word after `--child`.
    const OPTION: &'static str;
    /// What people call it.
    const NAME: &'static str;

    /// The first message to it.
    fn hello(build: String) -> Self::To;
    /// The build, if this is its first message.
    fn build(message: &Self::From) -> Option<&str>;
    /// Whether it says that it is up to its work.
    fn is_ready(message: &Self::From) -> bool;
    /// Its own among the names of our processes.
    fn process_name(names: &ProcessNames) -> &str;
}

/// The vrrp process.
#[derive(Debug, Clone, Copy)]
pub struct Vrrp;

impl Kind for Vrrp {
    type To = ToVrrp;
    type From = FromVrrp;
    const OPTION: &'static str = "vrrp";
    const NAME: &'static str = "the vrrp process";

    fn hello(build: String) -> ToVrrp {
        ToVrrp::Hello { build }
    }

    fn build(message: &FromVrrp) -> Option<&str> {
        if let FromVrrp::Hello { build } = message { Some(build) } else { None }
    }

    fn is_ready(message: &FromVrrp) -> bool {
        matches!(message, FromVrrp::Ready)
    }

    fn process_name(names: &ProcessNames) -> &str {
        &names.vrrp
    }
}

/// The balancer process.
#[derive(Debug, Clone, Copy)]
pub struct Balancer;

impl Kind for Balancer {
    type To = ToBalancer;
    type From = FromBalancer;
    const OPTION: &'static str = "balancer";
    const NAME: &'static str = "the balancer process";

    fn hello(build: String) -> ToBalancer {
        ToBalancer::Hello { build }
    }

    fn build(message: &FromBalancer) -> Option<&str> {
        if let FromBalancer::Hello { build } = message { Some(build) } else { None }
    }

    fn is_ready(message: &FromBalancer) -> bool {
        matches!(message, FromBalancer::Ready)
    }

    fn process_name(names: &ProcessNames) -> &str {
        &names.balancer
    }
}

/// How a child is started.
#[derive(Debug, Clone)]
pub struct ChildCommand {
    /// Main's own command line, program name first: the child reads the logging options from it.
    pub argv: Vec<OsString>,
    /// Lets the child write to our standard error stream. Not in the background: it may be a pipe that somebody waits for.
    pub share_stderr: bool,
    /// What our processes are called.
    pub names: ProcessNames,
    /// Appended to the child's name in the log.
    pub ident_suffix: String,
}

/// What happened to the child.
#[derive(Debug)]
pub enum Happening<M> {
    /// It said something.
    Said(M),
    /// It is gone, and everything that it said before was heard.
    Gone(Death),
    /// The wait after a death is over: time for [`Supervisor::start`].
    RestartDue,
}

/// The end of a child.
#[derive(Debug, Clone, Copy)]
pub struct Death {
    /// How it ended.
    pub status: ExitStatus,
    /// It had been ready.
    pub was_ready: bool,
    /// Started again after this long, unless told otherwise.
    pub wait: Duration,
    /// Deaths in a row soon after the start.
    pub early_deaths: u32,
}

enum Heard<M> {
    Message(M),
    /// The stream ended; why, if not in good order.
    Closed(Option<io::Error>),
}

/// The child, or the lack of one.
#[derive(Debug)]
pub struct Supervisor<K: Kind> {
    command: ChildCommand,
    recorder: File,
    running: Option<Running<K>>,
    backoff: Backoff,
    restart_at: Option<Instant>,
    starts: u64,
}

#[derive(Debug)]
struct Running<K: Kind> {
    child: Child,
    started: Instant,
    to_child: mpsc::Sender<Vec<u8>>,
    from_child: mpsc::Receiver<Heard<K::From>>,
    reader: JoinHandle<()>,
    status: Option<ExitStatus>,
    closed: bool,
    kill_at: Option<Instant>,
    was_ready: bool,
    /// Killed because of its build: do not believe what it says.
    distrusted: bool,
}

impl<M: std::fmt::Debug> std::fmt::Debug for Heard<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Message(message) => message.fmt(f),
            Self::Closed(_) => f.write_str("Closed"),
        }
    }
}

impl<K: Kind> Drop for Running<K> {
    fn drop(&mut self) {
        // The writer ends with its queue; the reader is safe to stop anywhere, its messages are nobody's any more.
        self.reader.abort();
    }
}

impl<K: Kind> Supervisor<K> {
    /// No child yet.
    pub fn new(command: ChildCommand, recorder: File) -> Self {
        Self { command, recorder, running: None, backoff: Backoff::default(), restart_at: None, starts: 0 }
    }

    /// The memfd that children record into.
    pub fn recorder(&self) -> &File {
        &self.recorder
    }

    /// The child's process id.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().and_then(|running| running.child.id())
    }

    /// How often a child was started after the first.
    pub fn restarts(&self) -> u64 {
        self.starts.saturating_sub(1)
    }

    /// Whether there is a child.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the child is up to its work: it has links, sockets and an engine.
    pub fn is_ready(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.was_ready)
    }

    /// Starts a child and tells it everything.
    ///
    /// # Errors
    /// It cannot be started.
    #[allow(clippy::disallowed_methods, reason = "a shell: reads the clock, spawns the child's tasks")]
    pub fn start(&mut self, start: &K::To) -> io::Result<()> {
        self.restart_at = None;
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let (name, args) = self.command.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0(name).args(args.iter().filter(|arg| *arg != "--detached")).args(["--child", K::OPTION]);
        command.arg(format!("--process-name={}", K::process_name(&self.command.names)));
        if !self.command.ident_suffix.is_empty() {
            command.arg(format!("--ident-suffix={}", self.command.ident_suffix));
        }
        command.stdin(OwnedFd::from(theirs)).stdout(self.recorder.try_clone()?);
        command.stderr(if self.command.share_stderr { Stdio::inherit() } else { Stdio::null() });
        // Ctrl-C on the terminal is for main, which then ends the child in good order.
        command.process_group(0);
        let child = command.spawn()?;
        // Our copy of the child's end: while it is open the stream never ends.
        drop(command);
        let (read, write) = UnixStream::from_std(ours)?.into_split();
        let (to_child, queue) = mpsc::channel(QUEUE);
        let (heard, from_child) = mpsc::channel(QUEUE);
        tokio::spawn(write_messages(write, queue));
        let reader = tokio::spawn(read_messages(read, heard));
        self.starts += 1;
        self.running = Some(Running {
            child,
            started: Instant::now(),
            to_child,
            from_child,
            reader,
            status: None,
            closed: false,
            kill_at: None,
            was_ready: false,
            distrusted: false,
        });
        self.send(&K::hello(crate::BUILD_ID.to_owned()));
        self.send(start);
        Ok(())
    }

    /// Sends a message, without ever waiting. Without a child it is dropped: the next one is told everything.
    pub fn send(&mut self, message: &K::To) {
        let Some(running) = &mut self.running else { return };
        match encode(message) {
            Ok(frame) => {
                if let Err(mpsc::error::TrySendError::Full(_)) = running.to_child.try_send(frame) {
                    error!("{} does not read ({QUEUE} messages wait): killed", K::NAME);
                    self.kill();
                }
            }
            Err(error) => error!("a message for {} cannot be encoded: {error}", K::NAME),
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(running) = &mut self.running
            && let Err(error) = running.child.start_kill()
        {
            // ESRCH: it is dead already, and we hear of it soon.
            info!("{} could not be killed: {error}", K::NAME);
        }
    }

    /// What happens next. Never returns while there is neither a child nor a restart to come. Safe to drop at any await.
    #[allow(clippy::disallowed_methods, reason = "a shell: reads the clock")]
    pub async fn next(&mut self) -> Happening<K::From> {
        loop {
            let Some(running) = &mut self.running else {
                match self.restart_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
                self.restart_at = None;
                return Happening::RestartDue;
            };
            if let (Some(status), true) = (running.status, running.closed) {
                let lived = running.started.elapsed();
                let was_ready = running.was_ready;
                self.running = None;
                let wait = self.backoff.record_death(lived);
                self.restart_at = Some(Instant::now() + wait);
                let early_deaths = self.backoff.early_deaths();
                return Happening::Gone(Death { status, was_ready, wait, early_deaths });
            }
            tokio::select! {
                heard = running.from_child.recv(), if !running.closed => match heard {
                    Some(Heard::Message(message)) => {
                        if let Some(message) = running.hear(message) {
                            return Happening::Said(message);
                        }
                    }
                    Some(Heard::Closed(why)) => running.close(why),
                    None => running.close(None),
                },
                status = running.child.wait(), if running.status.is_none() => match status {
                    Ok(status) => running.status = Some(status),
                    Err(error) => {
                        error!("cannot wait for {}: {error}", K::NAME);
                        running.status = Some(ExitStatus::default());
                    }
                },
                () = sleep_until(running.kill_at), if running.status.is_none() => {
                    running.kill_at = None;
                    warn!("{} closed its socket and did not end: killed", K::NAME);
                    self.kill();
                }
            }
        }
    }

    /// Whether a dead child is about to be replaced.
    pub fn restart_is_planned(&self) -> bool {
        self.restart_at.is_some()
    }

    /// Forgets a planned restart: the daemon ends.
    pub fn cancel_restart(&mut self) {
        self.restart_at = None;
    }
}

impl<K: Kind> Running<K> {
    fn hear(&mut self, message: K::From) -> Option<K::From> {
        if let Some(build) = K::build(&message)
            && build != crate::BUILD_ID
        {
            error!(
                "{} is of another build ({build}, not {}): the binary was replaced, restart the service",
                K::NAME,
                crate::BUILD_ID
            );
            self.distrusted = true;
            // An error means that it is dead already.
            let _ = self.child.start_kill();
        }
        self.was_ready |= K::is_ready(&message);
        (!self.distrusted).then_some(message)
    }

    #[allow(clippy::disallowed_methods, reason = "a shell: reads the clock")]
    fn close(&mut self, why: Option<io::Error>) {
        if let Some(why) = why {
            error!("what {} says makes no sense: {why}", K::NAME);
        }
        self.closed = true;
        self.kill_at = Some(Instant::now() + CLOSED_GRACE);
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    ipc::encode(message)
}

async fn write_messages(mut socket: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) {
    // The reader hears of the child's end too, and main from it.
    let _ = ipc::send_queued(&mut socket, &mut queue).await;
}

async fn read_messages<M: DeserializeOwned>(socket: OwnedReadHalf, heard: mpsc::Sender<Heard<M>>) {
    let mut socket = BufReader::with_capacity(ipc::READ_TOGETHER, socket);
    loop {
        let item = match ipc::receive(&mut socket).await {
            Ok(Some(message)) => Heard::Message(message),
            Ok(None) => Heard::Closed(None),
            // A killed child leaves half a message or a reset behind.
            Err(e) if matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                Heard::Closed(None)
            }
            Err(error) => Heard::Closed(Some(error)),
        };
        let last = matches!(item, Heard::Closed(_));
        if heard.send(item).await.is_err() || last {
            return;
        }
    }
}
