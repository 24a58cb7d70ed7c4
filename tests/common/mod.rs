//! What all tests that need more than an ordinary account share: how they say that they could not run.
#![allow(dead_code, unused_macros, unused_imports, missing_docs)] // Each test binary uses a part.

use std::io::Write;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Debian's keepalived, the reference that the interoperability tests run against.
pub const KEEPALIVED: &str = "/usr/sbin/keepalived";

/// Says `skipped: REASON` on a line of its own, also when the test runner captures the output of tests that pass:
/// whoever runs the tests counts these lines, because a test that was skipped has proven nothing.
pub fn skipped(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test").to_owned();
    // Past the capture of `println!`, in one write so that lines of other tests do not mix in; and not on the line that
    // a runner with one thread has begun.
    let _ = std::io::stderr().write_all(format!("\nskipped: {reason} ({test})\n").as_bytes());
}

/// Whether namespaces can be made; says so when not.
pub fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        skipped("needs root");
    }
    root
}

/// Whether there is a keepalived to compare with; says so when not.
pub fn keepalived() -> bool {
    let installed = Path::new(KEEPALIVED).exists();
    if !installed {
        skipped(&format!("needs {KEEPALIVED}"));
    }
    installed
}

/// An address of loopback that nobody else has: 127/8 is ours as a whole, and a run takes a part of it for itself, by the
/// name of a socket that ends with it. Ports are shared without a word (`SO_REUSEPORT`): two runs would take each other's
/// connections.
pub fn loopback() -> Ipv4Addr {
    static RUN: LazyLock<(u8, UnixListener)> = LazyLock::new(|| {
        let name = |run: u8| SocketAddr::from_abstract_name(format!("holdfast tests at 127.{run}"));
        let take = |run: u8| Some((run, UnixListener::bind_addr(&name(run).ok()?).ok()?));
        (20..219).find_map(take).expect("fewer runs at the same time")
    });
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(127, RUN.0, high, low)
}

/// A machine that is this late for a thread that wants to sleep for a moment holds up everybody.
const HELD_UP: Duration = Duration::from_millis(50);

/// Tells a story that has deadlines of the protocol in it. If it ends badly on a machine that was held up meanwhile, that
/// may be the machine's doing, and it is told again, three times at the most: what is wrong is wrong each time. On a machine
/// that is in time the first failure counts.
pub fn steady(story: impl Fn()) {
    for told in 1.. {
        let watch = Lateness::watch();
        let Err(panic) = catch_unwind(AssertUnwindSafe(&story)) else { return };
        let late = watch.end();
        if late < HELD_UP || told == 3 {
            resume_unwind(panic);
        }
        eprintln!("failed on a machine that was late by {late:?}: told again");
    }
}

/// A thread that finds out how late the machine is.
struct Lateness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Lateness {
    #[allow(clippy::disallowed_methods)] // Measures real time.
    fn watch() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
                let now = Instant::now();
                longest = longest.max(now - last);
                last = now;
            }
            longest
        });
        Self { stop, thread }
    }

    fn end(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// Ends the calling test, with a word, without root.
macro_rules! needs_root {
    () => {
        if !crate::common::root() {
            return;
        }
    };
}

/// Ends the calling test, with a word, without root or keepalived.
macro_rules! needs_keepalived {
    () => {
        if !(crate::common::root() && crate::common::keepalived()) {
            return;
        }
    };
}

pub(crate) use {needs_keepalived, needs_root};
