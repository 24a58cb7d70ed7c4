//! A kernel with IPVS on any machine: Debian's `user-mode-linux`, an ordinary process that boots in two seconds.
//!
//! The guest sees the host's files at their own paths under an overlay that dies with it, so a program built here runs
//! there. It runs one command as root and ends; what it says comes back, with its exit code. Its network is its own.
//! Nothing of it survives this process: it lives in a process namespace whose first process gets a signal when the
//! thread that started it ends.
#![allow(dead_code)] // Each user takes a part.
#![allow(clippy::disallowed_methods, reason = "bounds real waiting")]

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const KERNEL: &str = "/usr/bin/linux.uml";
const MODULES: &str = "/usr/lib/uml/modules";
const BUSYBOX: &str = "/bin/busybox";
/// It takes two seconds on an idle machine; one boot in thousands hangs.
const BOOT_LIMIT: Duration = Duration::from_secs(90);
const BOOT_TRIES: usize = 3;

/// What is to be run in the guest.
pub struct Job<'a> {
    /// Program and arguments.
    pub command: &'a [String],
    /// Variables in addition to `PATH`.
    pub environment: &'a [(&'a str, &'a str)],
    /// What is written below these directories reaches the host.
    pub shared: &'a [&'a Path],
    /// The longest silence: how long the command may run without a word on its standard output.
    pub limit: Duration,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    pub stdout: String,
    pub stderr: String,
    /// As the shell tells it; `None`: the guest died or took too long.
    pub code: Option<i32>,
    /// Messages of the guest's kernel.
    pub console: String,
}

/// Why there can be no guest here.
pub fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    if !Path::new(KERNEL).exists() || release().is_none() {
        return Some("needs the package user-mode-linux".to_owned());
    }
    let busybox = fs::read(BUSYBOX).unwrap_or_default();
    if busybox.windows(10).any(|window| window == b"/ld-linux-") || busybox.is_empty() {
        return Some("needs the package busybox-static".to_owned());
    }
    ["setpriv", "unshare", "taskset", "modprobe", "ip"]
        .into_iter()
        .find(|tool| !on_path(tool))
        .map(|tool| format!("needs {tool}"))
}

fn on_path(program: &str) -> bool {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].iter().any(|dir| Path::new(dir).join(program).exists())
}

fn release() -> Option<String> {
    let entries = fs::read_dir(MODULES).ok()?;
    entries.flatten().find_map(|entry| entry.file_name().into_string().ok())
}

/// Boots a guest, runs the command, and ends the guest.
///
/// # Panics
/// The guest does not start.
pub fn run(job: &Job) -> Ended {
    for _ in 0..BOOT_TRIES {
        let guest = Guest::start(job);
        if let Some(ended) = guest.wait(job.limit) {
            return ended;
        }
        eprintln!("the guest does not boot: once more");
    }
    panic!("no guest after {BOOT_TRIES} tries")
}

struct Guest {
    dir: tempfile::TempDir,
    child: Child,
    /// Of its standard output, its standard error, and its kernel's console.
    readers: [Reader; 3],
}

/// What has come through a pipe, and who reads on.
struct Reader {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Guest {
    fn start(job: &Job) -> Self {
        let dir = tempfile::Builder::new().prefix("holdfast-uml-").tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        let modules = Path::new(MODULES).join(release().expect("checked before"));
        fs::write(at("stage1"), stage1(&modules)).unwrap();
        fs::write(at("stage2"), STAGE2).unwrap();
        fs::write(at("shares"), job.shared.iter().map(|dir| format!("{}\n", dir.display())).collect::<String>())
            .unwrap();
        fs::write(at("command"), script(job)).unwrap();
        Command::new("chmod").args(["755"]).args([at("stage1")]).status().unwrap();
        fs::create_dir(at("uml")).unwrap();
        let readers = ["out", "err", "console"].map(|name| {
            let fifo = at(name);
            nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
            Reader::of(fifo)
        });
        let mut command = Command::new("setpriv");
        // On one CPU: the guest's kernel and the host processes that stand for its processes take turns.
        command.args([
            "--pdeathsig",
            "KILL",
            "taskset",
            "-c",
            &cpu(),
            "unshare",
            "--pid",
            "--fork",
            "--kill-child=KILL",
        ]);
        // Not the guest's kernel itself as the first process of the namespace: it could not abort.
        command.args(["sh", "-c", r#"cd "$1"; shift; "$@" 3>out 4>err 5>console; exit $?"#, "uml"]);
        command.arg(dir.path()).arg(KERNEL);
        command.args(["mem=512M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet"]);
        command.arg(format!("init={}", at("stage1").display())).arg(format!("uml_dir={}", at("uml").display()));
        command.args(["umid=guest", "con=null", "con0=null,fd:5", "ssl=null", "ssl0=null,fd:3", "ssl1=null,fd:4"]);
        command.arg(format!("guest_run={}", dir.path().display()));
        // The guest's memory is a file there.
        command.env("TMPDIR", "/dev/shm").env("HOME", dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("util-linux is there");
        Self { child, readers, dir }
    }

    /// `None`: it did not boot.
    fn wait(mut self, limit: Duration) -> Option<Ended> {
        let begin = Instant::now();
        let mut last_word = None;
        let mut words = 0;
        let mut done_since = None;
        loop {
            let now = Instant::now();
            let said = self.readers[0].len();
            if said > words || (last_word.is_none() && self.dir.path().join("started").exists()) {
                last_word = Some(now);
                words = said;
            }
            if done_since.is_none() && self.dir.path().join("code").exists() {
                done_since = Some(now);
            }
            if self.child.try_wait().expect("our child").is_some() {
                break;
            }
            let over = match (last_word, done_since) {
                (_, Some(since)) => now - since > Duration::from_secs(20),
                (Some(since), None) => now - since > limit,
                (None, None) => now - begin > BOOT_LIMIT,
            };
            if over {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let booted = last_word.is_some() || self.dir.path().join("started").exists();
        // A guest that never opened its pipes leaves their readers waiting.
        for name in ["out", "err", "console"] {
            let _ = nix::fcntl::open(
                &self.dir.path().join(name),
                nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_NONBLOCK,
                nix::sys::stat::Mode::empty(),
            );
        }
        let [stdout, stderr, console] = self.readers.map(Reader::all);
        let code = fs::read_to_string(self.dir.path().join("code")).ok().and_then(|code| code.trim().parse().ok());
        booted.then_some(Ended { stdout, stderr, code, console })
    }
}

impl Reader {
    fn of(fifo: PathBuf) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = bytes.clone();
        let thread = std::thread::spawn(move || {
            let Ok(mut file) = File::open(fifo) else { return };
            let mut buffer = vec![0; 65536];
            while let Ok(read @ 1..) = file.read(&mut buffer) {
                shared.lock().expect("nobody panics with it").extend_from_slice(&buffer[..read]);
            }
        });
        Self { bytes, thread }
    }

    fn len(&self) -> usize {
        self.bytes.lock().expect("nobody panics with it").len()
    }

    /// Everything, once the other side has closed.
    fn all(self) -> String {
        let _ = self.thread.join();
        String::from_utf8_lossy(&self.bytes.lock().expect("nobody panics with it")).into_owned()
    }
}

/// One of the CPUs that we may use; another one for each process that asks, by chance.
fn cpu() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("0").trim().to_owned();
    let mut cpus = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        cpus.extend(first.parse::<u32>().unwrap_or(0)..=last.parse().unwrap_or(0));
    }
    let chosen = usize::try_from(std::process::id()).unwrap_or(0) % cpus.len().max(1);
    cpus.get(chosen).copied().unwrap_or(0).to_string()
}

fn script(job: &Job) -> String {
    let mut script = String::new();
    for (name, value) in job.environment {
        script += &format!("export {name}={}\n", quoted(value));
    }
    let cwd = std::env::current_dir().unwrap_or_default();
    script += &format!("cd {} || cd /\n", quoted(&cwd.display().to_string()));
    script += &job.command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    script + "\n"
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The first program of the guest, run by a static busybox, whose shell needs no other program to mount and link: an
/// overlay over the host's files, and into it.
fn stage1(modules: &Path) -> String {
    let modules = modules.display();
    format!(
        r#"#!{BUSYBOX} sh
{BUSYBOX} mount -t proc proc /proc
grep -q overlay /proc/filesystems || insmod {modules}/kernel/fs/overlayfs/overlay.ko || echo "no overlay"
mount -t tmpfs -o size=90% tmpfs /mnt
mkdir /mnt/up /mnt/work /mnt/new
mount -t overlay -o lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work overlay /mnt/new || echo "no overlay"
mount -t tmpfs tmpfs /mnt/new/run
mkdir /mnt/new/run/guest /mnt/new/run/.old
mount -t hostfs -o "$guest_run" none /mnt/new/run/guest || echo "no run directory"
while IFS= read -r d; do
    mkdir -p "/mnt/new$d"
    mount -t hostfs -o "$d" none "/mnt/new$d" || echo "cannot share $d"
done <"/mnt/new/run/guest/shares"
cd /mnt/new
pivot_root . run/.old
MODULES={modules}
BUSYBOX={BUSYBOX}
. /run/guest/stage2
"#
    )
}

const STAGE2: &str = r#"
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
R=/run/guest
$BUSYBOX mount -t proc proc /proc
umount -l /run/.old && rmdir /run/.old
# The guest's kernel reboots by executing itself again: the command must not run twice.
[ -e $R/started ] && { echo "the guest rebooted"; exec $BUSYBOX halt -f; }
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
ln -sfn /proc/self/fd /dev/fd; ln -sfn fd/0 /dev/stdin; ln -sfn fd/1 /dev/stdout; ln -sfn fd/2 /dev/stderr
mkdir -p /run/lock /run/netns; chmod 1777 /run/lock
[ -L /var/run ] || { mkdir -p /var/run; mount --bind /run /var/run; }
mkdir -p /lib/modules; rm -rf "/lib/modules/${MODULES##*/}"; ln -s "$MODULES" "/lib/modules/${MODULES##*/}"
echo guest >/proc/sys/kernel/hostname
echo 1 >/proc/sys/kernel/panic_on_oops
# There is no name server: a look-up fails at once.
sed "s/^hosts:.*/hosts: files/" /etc/nsswitch.conf >/run/nsswitch 2>/dev/null && cat /run/nsswitch >/etc/nsswitch.conf
# Serial lines to the host; raw, or each LF becomes CR LF.
O=/dev/ttyS0 E=/dev/ttyS1
stty -F $O raw -echo; stty -F $E raw -echo
modprobe -q ipv6
ip link set lo up
mkfifo /run/.out /run/.err
cat </run/.out >$O & co=$!
cat </run/.err >$E & ce=$!
: >$R/started
( exec </dev/null >/run/.out 2>/run/.err; . $R/command )
code=$?
echo $code >$R/code.new; mv $R/code.new $R/code
# Daemons that were left behind may hold the pipes.
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    kill -0 $co 2>/dev/null || kill -0 $ce 2>/dev/null || break
    sleep 0.05
done
exec $BUSYBOX halt -f
"#;
