//! Two hosts on one wire: network namespaces `a` and `b` with a veth pair, gone when the value is dropped.
#![allow(dead_code)] // Each test uses a part.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// `eth0` of `a` is 02:00:00:00:00:0a and 192.0.2.1/24, of `b` …:0b and 192.0.2.2/24.
pub struct Lan {
    pub a: String,
    pub b: String,
}

impl Lan {
    pub fn new() -> Self {
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        let lan = Self { a: format!("hfnet{pid}-{n}a"), b: format!("hfnet{pid}-{n}b") };
        ip(&format!("netns add {}", lan.a));
        ip(&format!("netns add {}", lan.b));
        ip(&format!("-n {} link add eth0 type veth peer name eth0 netns {}", lan.a, lan.b));
        for (ns, last) in [(&lan.a, "a"), (&lan.b, "b")] {
            // No router solicitations or DAD of the hosts' own among the frames that are compared.
            ip(&format!("-n {ns} link set eth0 addrgenmode none address 02:00:00:00:00:0{last}"));
            ip(&format!("-n {ns} link set lo up"));
            ip(&format!("-n {ns} link set eth0 up"));
        }
        ip(&format!("-n {} addr add 192.0.2.1/24 dev eth0", lan.a));
        ip(&format!("-n {} addr add 192.0.2.2/24 dev eth0", lan.b));
        lan
    }

    /// Runs on a thread of its own inside a namespace. Sockets stay in the namespace where they were born.
    pub fn inside<T: Send>(namespace: &str, run: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let file = File::open(format!("/run/netns/{namespace}")).expect("namespace");
                setns(file, CloneFlags::CLONE_NEWNET).expect("setns");
                run()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for namespace in [&self.a, &self.b] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).status();
        }
    }
}

/// Runs `ip` with these words.
pub fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split_whitespace()).output().expect("ip runs");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until a descriptor can be read. `false` when the time is over.
pub fn readable(fd: impl AsFd, patience: Duration) -> bool {
    let patience = PollTimeout::try_from(patience).expect("short");
    poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], patience).expect("poll") > 0
}

/// All frames that arrive in the namespace of the thread that opened it.
pub struct Capture(OwnedFd);

impl Capture {
    pub fn open() -> Self {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        Self(socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).expect("packet socket"))
    }

    /// The next frame of which `wanted` says so.
    pub fn next(&self, patience: Duration, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let until = Instant::now() + patience;
        let mut buffer = vec![0; 65_536];
        loop {
            while let Ok(n) = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                if wanted(&buffer[..n]) {
                    return Some(buffer[..n].to_vec());
                }
            }
            let left = until.checked_duration_since(Instant::now())?;
            readable(&self.0, left);
        }
    }
}

/// IPv4 protocol 112.
pub fn is_advert_v4(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[8, 0]) && frame.get(23) == Some(&112)
}

/// IPv6 next header 112.
pub fn is_advert_v6(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(20) == Some(&112)
}
