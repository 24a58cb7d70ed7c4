//! The first process of a host's process namespace: it holds the namespace open and reaps orphans, nothing else.
//!
//! Shell: forks. When it ends, the kernel kills everything in the namespace at once, which is how a machine dies. It
//! ends by itself as soon as the pipe to the lab closes, so that nothing outlives a lab that was killed.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

/// A running init. Dropping it ends its whole process namespace and waits until that is empty.
#[derive(Debug)]
pub(super) struct Init {
    pid: Pid,
    _pipe: OwnedFd,
}

impl Init {
    /// Forks from the calling thread, which has just unshared its process namespace for children.
    #[allow(unsafe_code)]
    pub(super) fn fork() -> io::Result<Self> {
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        // SAFETY: this process has many threads, so the child calls only async-signal-safe functions: `wait_for_eof`
        // makes plain system calls, allocates nothing and never returns.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => wait_for_eof(read.as_raw_fd()),
            pid => Ok(Self { pid: Pid::from_raw(pid), _pipe: write }),
        }
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        // It may have ended already; either way the wait below returns only when the namespace is empty.
        let _ = kill(self.pid, Signal::SIGKILL);
        while let Err(nix::errno::Errno::EINTR) = waitpid(self.pid, None) {}
    }
}

#[allow(unsafe_code)]
fn wait_for_eof(pipe: i32) -> ! {
    // SAFETY: system calls on plain integers and on a local buffer; the copied memory of the parent is not touched.
    unsafe {
        // Not in the terminal's process group: Ctrl-C is the lab's business.
        libc::setpgid(0, 0);
        libc::prctl(libc::PR_SET_NAME, c"lab-init".as_ptr());
        // Ignored, children need no waiting for.
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        // The other ends of pipes and connections must close when the lab closes them.
        libc::dup2(pipe, 0);
        libc::close_range(1, libc::c_uint::MAX, 0);
        let mut byte = 0u8;
        loop {
            let n = libc::read(0, (&raw mut byte).cast(), 1);
            if n == 0 || (n < 0 && *libc::__errno_location() != libc::EINTR) {
                libc::_exit(0);
            }
        }
    }
}
