//! A balancer process whose main is the test.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use holdfast::ipvs::message::{FromBalancer, Start, ToBalancer};

/// For things that happen soon on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct BalancerProcess {
    child: Child,
    stream: Option<UnixStream>,
}

impl BalancerProcess {
    /// Starts it, without a word from main yet.
    pub fn spawn() -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        ours.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(["-n", "-l", "-G", "-D", "--child", "balancer"])
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary starts");
        Self { child, stream: Some(ours) }
    }

    pub fn start(start: Start) -> Self {
        let mut process = Self::spawn();
        process.send(&ToBalancer::Hello { build: holdfast::BUILD_ID.to_owned() });
        process.send(&ToBalancer::Start(Box::new(start)));
        let build = holdfast::BUILD_ID.to_owned();
        assert_eq!(process.hear(), Some(FromBalancer::Hello { build }));
        process
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn send(&mut self, message: &ToBalancer) {
        let frame = holdfast::ipc::encode(message).expect("small");
        self.stream.as_mut().expect("open").write_all(&frame).expect("the child reads");
    }

    /// The next message; `None` at the end of the stream.
    pub fn hear(&mut self) -> Option<FromBalancer> {
        let stream = self.stream.as_mut().expect("open");
        let mut length = [0; 4];
        if let Err(error) = stream.read_exact(&mut length) {
            assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "nothing was said for {PATIENCE:?}");
            return None;
        }
        let mut frame = vec![0; usize::try_from(u32::from_le_bytes(length)).expect("small")];
        stream.read_exact(&mut frame).expect("whole frames");
        let message = postcard::from_bytes(&frame).expect("a message");
        eprintln!("{message:?}");
        Some(message)
    }

    /// Hears on until `pick` finds what it wants.
    pub fn wait_for<T>(&mut self, what: &str, mut pick: impl FnMut(FromBalancer) -> Option<T>) -> T {
        loop {
            let message = self.hear().unwrap_or_else(|| panic!("the end of the stream before {what}"));
            if let Some(found) = pick(message) {
                return found;
            }
        }
    }

    /// Waits for a line of the FIFO, which is how keepalived tells of it: `RS … UP`, `VS … DOWN`.
    pub fn wait_for_line(&mut self, line: &str) {
        self.wait_for(line, |message| match message {
            FromBalancer::Event { event, .. } => event.fifo_line().filter(|said| said == line).map(drop),
            _ => None,
        });
    }

    /// Main dies.
    pub fn hang_up(&mut self) {
        self.stream = None;
    }

    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the process does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for BalancerProcess {
    fn drop(&mut self) {
        // Ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
