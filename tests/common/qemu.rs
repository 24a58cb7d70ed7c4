//! A virtual machine with a stock kernel: QEMU without KVM, Debian's cloud kernel, and nothing else in it than what a test
//! brings. For what user-mode Linux lacks: nftables beside IPVS.
//!
//! The machine has no disk and no network. Its initial file system is made here: busybox, the kernel's network modules,
//! the programs of the test and the libraries that they need. What the command says comes back over a serial line, and
//! its exit code with it.
#![allow(dead_code)] // Each user takes a part.
#![allow(clippy::disallowed_methods, reason = "bounds real waiting")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const QEMU: &str = "/usr/bin/qemu-system-x86_64";
const BUSYBOX: &str = "/bin/busybox";
/// Where `tests/run` unpacks the kernel's package.
const KERNEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/vm-kernel");
/// Of the kernel's modules, what a network test can want.
const MODULES: [&str; 5] =
    ["kernel/net", "kernel/lib", "kernel/crypto", "kernel/drivers/net/veth.ko", "kernel/drivers/net/dummy.ko"];
/// The line before the exit code.
const END: &str = "the command ended with ";

/// What is to be run.
pub struct Job<'a> {
    /// A shell line.
    pub command: &'a str,
    /// Programs that it needs, which are there under their own paths.
    pub programs: &'a [&'a Path],
    /// From the start of the machine on.
    pub limit: Duration,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// What the command said.
    pub output: String,
    /// `None`: the machine died or took too long.
    pub code: Option<i32>,
    /// Messages of its kernel.
    pub console: String,
}

/// Why there can be no machine here.
pub fn missing() -> Option<String> {
    if !cfg!(target_arch = "x86_64") {
        return Some("needs an x86-64 machine".to_owned());
    }
    if !Path::new(QEMU).exists() {
        return Some("needs the package qemu-system-x86".to_owned());
    }
    if !fs::read(BUSYBOX).is_ok_and(|bytes| !bytes.windows(10).any(|window| window == b"/ld-linux-")) {
        return Some("needs the package busybox-static".to_owned());
    }
    let depmod = ["/sbin/depmod", "/usr/sbin/depmod"].iter().any(|path| Path::new(path).exists());
    if release().is_none() || !depmod {
        return Some(format!(
            "needs Debian's package linux-image-cloud-amd64, unpacked in {KERNEL} (tests/run does it)"
        ));
    }
    None
}

fn release() -> Option<String> {
    let entries = fs::read_dir(format!("{KERNEL}/boot")).ok()?;
    entries.flatten().find_map(|entry| entry.file_name().to_str()?.strip_prefix("vmlinuz-").map(str::to_owned))
}

/// Boots a machine, runs the command, and ends the machine.
///
/// # Panics
/// QEMU does not start.
pub fn run(job: &Job) -> Ended {
    let dir = tempfile::Builder::new().prefix("holdfast-qemu-").tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name);
    let release = release().expect("checked before");
    fs::write(at("initramfs"), initramfs(&release, job, dir.path())).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", QEMU]);
    command.args(["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.arg("-kernel").arg(format!("{KERNEL}/boot/vmlinuz-{release}")).arg("-initrd").arg(at("initramfs"));
    command.args(["-append", "console=ttyS1 panic=-1 mitigations=off quiet"]);
    for name in ["out", "console"] {
        command.args(["-serial", &format!("file:{}", at(name).display())]);
    }
    let log = fs::File::create(at("log")).unwrap();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("util-linux is there");
    let deadline = Instant::now() + job.limit;
    while child.try_wait().expect("our child").is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
        } else {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    let text = |name: &str| String::from_utf8_lossy(&fs::read(at(name)).unwrap_or_default()).into_owned();
    let all = text("out").replace("\r\n", "\n");
    let (output, code) = match all.rsplit_once(END) {
        Some((output, code)) => (output.to_owned(), code.trim().parse().ok()),
        None => (all, None),
    };
    Ended { output, code, console: text("log") + &text("console") }
}

fn init(command: &str) -> String {
    format!(
        "#!/bin/busybox sh
export PATH=/bin:/sbin:/usr/sbin:/usr/bin
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /var /root /etc/keepalived /usr/sbin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
echo /bin/modprobe >/proc/sys/kernel/modprobe
ln -s /run /var/run
echo 'root:x:0:0::/root:/bin/sh' >/etc/passwd
hostname guest
ip link set lo up
stty -F /dev/ttyS0 raw -echo
( exec </dev/null >/dev/ttyS0 2>&1; {command} )
echo \"{END}$?\" >/dev/ttyS0
sync
poweroff -f
"
    )
}

/// An archive in the `newc` format that the kernel unpacks into its first file system.
fn initramfs(release: &str, job: &Job, scratch: &Path) -> Vec<u8> {
    let modules = scratch.join("lib/modules").join(release);
    let source = Path::new(KERNEL).join("lib/modules").join(release);
    for part in MODULES {
        copy(&source.join(part), &modules.join(part));
    }
    for entry in
        fs::read_dir(&source).unwrap().flatten().filter(|e| e.file_name().to_string_lossy().starts_with("modules."))
    {
        copy(&entry.path(), &modules.join(entry.file_name()));
    }
    let path = format!("{}:/sbin:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let depmod = Command::new("depmod").env("PATH", path).arg("-b").arg(scratch).arg(release).status();
    assert!(depmod.is_ok_and(|status| status.success()), "depmod");
    let mut archive = Archive::default();
    archive.file(Path::new("/init"), init(job.command).as_bytes(), 0o755);
    archive.file(Path::new("/bin/busybox"), &fs::read(BUSYBOX).unwrap(), 0o755);
    archive.tree(&scratch.join("lib"), Path::new("/lib"));
    let mut libraries = BTreeSet::new();
    for program in job.programs {
        archive.file(program, &stripped(program, scratch), 0o755);
        libraries.extend(libraries_of(program));
    }
    for library in libraries {
        archive.file(&library, &fs::read(&library).unwrap(), 0o755);
    }
    archive.end()
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        for entry in fs::read_dir(from).unwrap().flatten() {
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else if from.exists() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

/// Without what only a debugger reads, which is most of it.
fn stripped(program: &Path, scratch: &Path) -> Vec<u8> {
    let to = scratch.join("stripped");
    let strip = Command::new("strip").arg("-o").arg(&to).arg(program).status();
    let read = if strip.is_ok_and(|status| status.success()) { fs::read(&to) } else { fs::read(program) };
    read.unwrap_or_else(|e| panic!("{}: {e}", program.display()))
}

fn libraries_of(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().expect("ldd");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    /// Directories that are there.
    directories: BTreeSet<PathBuf>,
}

impl Archive {
    fn tree(&mut self, from: &Path, to: &Path) {
        for entry in fs::read_dir(from).unwrap().flatten() {
            let (path, to) = (entry.path(), to.join(entry.file_name()));
            if path.is_dir() {
                self.tree(&path, &to);
            } else {
                let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
                self.file(&to, &fs::read(&path).unwrap(), mode);
            }
        }
    }

    fn file(&mut self, path: &Path, content: &[u8], mode: u32) {
        let mut parents: Vec<&Path> = path.ancestors().skip(1).filter(|parent| parent.parent().is_some()).collect();
        parents.reverse();
        for parent in parents {
            if self.directories.insert(parent.to_owned()) {
                self.entry(parent, &[], 0o040_755);
            }
        }
        self.entry(path, content, 0o100_000 | mode);
    }

    fn end(mut self) -> Vec<u8> {
        self.entry(Path::new("TRAILER!!!"), &[], 0);
        self.bytes
    }

    fn entry(&mut self, path: &Path, content: &[u8], mode: u32) {
        self.entries += 1;
        let name = path.to_str().unwrap().trim_start_matches('/');
        let size = u32::try_from(content.len()).unwrap();
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, u32::try_from(name.len() + 1).unwrap(), 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
