//! A host: one thread in network, mount, process and name namespaces of its own, which runs closures and programs there.
//!
//! Shell: owns threads and processes. The namespaces have no names in the file system: threads and processes hold
//! them, and the kernel removes them with the last of those, also after SIGKILL.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::init::Init;

type Job = Box<dyn FnOnce() + Send>;

/// A machine of the lab.
pub struct Host {
    name: String,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    netns: File,
    init: Mutex<Option<Init>>,
}

impl Host {
    /// Makes the namespaces and starts their thread. Mounts made inside stay inside.
    pub fn new(name: &str) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (ready, outcome) = mpsc::channel();
        let host_name = name.to_owned();
        let thread = std::thread::Builder::new().name(format!("lab-{name}")).spawn(move || {
            let entered = enter(&host_name);
            let ok = entered.is_ok();
            // The receiver waits right below; if it is gone, so is the lab.
            let _ = ready.send(entered);
            if ok {
                for job in inbox {
                    job();
                }
            }
        })?;
        let netns = outcome.recv().map_err(|_| io::Error::other("the host's thread ended"))??;
        Ok(Self { name: name.to_owned(), jobs: Some(jobs), thread: Some(thread), netns, init: Mutex::new(None) })
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its network namespace.
    pub fn netns(&self) -> BorrowedFd<'_> {
        self.netns.as_fd()
    }

    /// Runs a closure on the host's thread, inside its namespaces, and waits for it. A panic comes through.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        let job: Job = Box::new(move || {
            let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
        });
        let jobs = self.jobs.as_ref().expect("present until drop");
        jobs.send(job).expect("the thread takes jobs until drop");
        match result.recv().expect("a job always answers") {
            Ok(value) => value,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Starts another thread inside the host's namespaces.
    pub fn thread<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let name = name.to_owned();
        self.run(move || std::thread::Builder::new().name(name).spawn(work))
    }

    /// Starts a program on the host, with the host's own `/proc`, in a process group of its own.
    pub fn spawn(&self, mut command: Command) -> io::Result<Process> {
        let mut init = lock(&self.init);
        let pid = match &*init {
            Some(init) => init.pid(),
            None => {
                let started = self.run(start_init)?;
                init.insert(started).pid()
            }
        };
        let child = self.run(move || -> io::Result<Child> {
            let ours = File::open("/proc/self/ns/pid")?;
            let theirs = File::open(format!("/proc/{pid}/ns/pid"))?;
            command.process_group(0);
            private_proc(&mut command);
            setns(&theirs, CloneFlags::CLONE_NEWPID)?;
            let child = command.spawn();
            // A thread whose children live elsewhere could not start threads.
            setns(&ours, CloneFlags::CLONE_NEWPID)?;
            child
        })?;
        Process::watch(child, &self.name)
    }

    /// Kills every process of the host at the same moment, as a power cut would, and waits until they are gone.
    pub fn kill_all(&self) {
        lock(&self.init).take();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill_all();
        self.jobs.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn enter(name: &str) -> io::Result<File> {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    std::fs::write("/proc/sys/kernel/hostname", name)?;
    // Names follow the namespace of whoever mounted it. Some containers forbid it, and little depends on it.
    let _ = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, None::<&str>);
    File::open("/proc/thread-self/ns/net")
}

fn start_init() -> io::Result<Init> {
    let ours = File::open("/proc/self/ns/pid")?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    let init = Init::fork();
    setns(&ours, CloneFlags::CLONE_NEWPID)?;
    init
}

/// Has the program see the processes of its own namespace in `/proc`, and no others.
#[allow(unsafe_code)]
fn private_proc(command: &mut Command) {
    let prepare = || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        // Refused in some containers: the program then sees the outer /proc, where its own numbers are foreign.
        let _ = mount(Some(c"proc"), c"/proc", Some(c"proc"), MsFlags::empty(), None::<&std::ffi::CStr>);
        Ok(())
    };
    // SAFETY: between fork and exec; two system calls with constant arguments, nothing is allocated or locked.
    unsafe { command.pre_exec(prepare) };
}

/// A program running on a host. Its thread waits for it, so that no zombie holds the namespace open.
pub struct Process {
    pid: Pid,
    status: Arc<(Mutex<Option<ExitStatus>>, Condvar)>,
    /// What it prints, if that was piped; to be taken by whoever reads it.
    pub stdout: Option<ChildStdout>,
    /// What it complains, if that was piped.
    pub stderr: Option<ChildStderr>,
}

impl Process {
    fn watch(mut child: Child, host: &str) -> io::Result<Self> {
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("process numbers are positive"));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let status = Arc::new((Mutex::new(None), Condvar::new()));
        let told = Arc::clone(&status);
        std::thread::Builder::new().name(format!("wait-{host}")).spawn(move || {
            // Reaped under the lock, so that `signal` never hits a number that has been given to somebody else.
            while let Err(nix::errno::Errno::EINTR) = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)
            {
            }
            let mut status = lock(&told.0);
            *status = child.wait().ok();
            told.1.notify_all();
        })?;
        Ok(Self { pid, status, stdout, stderr })
    }

    /// Its number as the lab sees it.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal; nothing happens when it has ended.
    pub fn signal(&self, signal: Signal) {
        let status = lock(&self.status.0);
        if status.is_none() {
            let _ = kill(self.pid, signal);
        }
    }

    /// How it ended, if it has.
    pub fn status(&self) -> Option<ExitStatus> {
        *lock(&self.status.0)
    }

    /// Waits for its end, `None` after `timeout`.
    #[allow(clippy::disallowed_methods)] // A shell: waits in real time.
    pub fn wait(&self, timeout: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + timeout;
        let mut status = lock(&self.status.0);
        while status.is_none() {
            let left = deadline.checked_duration_since(Instant::now())?;
            status = self.status.1.wait_timeout(status, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *status
    }
}

/// Locks, also after a panic elsewhere: cleaning up must still work then.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
