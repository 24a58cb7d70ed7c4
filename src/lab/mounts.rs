//! Private mounts of a director: what its daemon and its scripts write stays in memory that goes with the namespace.
//!
//! Shell: runs on the host's thread, which has a mount namespace of its own.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};

/// A file that goes beside keepalived.conf.
#[derive(Debug, Clone)]
pub struct ExtraFile {
    /// Path below `/etc/keepalived`.
    pub name: PathBuf,
    /// What is in it.
    pub content: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

/// Directories that a node may write to without anything outside being touched.
pub const PRIVATE: [&str; 4] = ["/etc/keepalived", "/run", "/var/run", "/tmp"];

/// Larger files are no configuration and stay out.
const FILE_LIMIT: u64 = 16 << 20;

const ETC: &str = "/etc/keepalived";
const SHELF: &str = "/run/lab";

/// Covers every private directory and returns where the program is from now on.
pub(super) fn make_private(program: &Path, name: &OsStr, files: &[ExtraFile]) -> io::Result<PathBuf> {
    // Opened first: it may live in a directory that is about to be covered.
    let binary = fs::File::open(program)?;
    tmpfs("/run", "mode=755")?;
    fs::create_dir(SHELF)?;
    let inside = Path::new(SHELF).join(name);
    fs::write(&inside, "")?;
    bind(&PathBuf::from(format!("/proc/self/fd/{}", binary.as_raw_fd())), &inside)?;
    if !Path::new(ETC).is_dir() {
        add_to_etc()?;
    }
    tmpfs(ETC, "mode=755")?;
    for file in files {
        place(file)?;
    }
    tmpfs("/tmp", "mode=1777")?;
    names_without_servers()?;
    if fs::symlink_metadata("/var/run").is_ok_and(|var_run| var_run.is_dir()) {
        bind(Path::new("/run"), Path::new("/var/run"))?;
    }
    for device in ["/dev/log", "/dev/console"] {
        if Path::new(device).exists() {
            // A daemon that logs to the console waits for a serial line. Where it cannot be covered, it is only slow.
            let _ = bind(Path::new("/dev/null"), Path::new(device));
        }
    }
    Ok(inside)
}

/// keepalived looks its own host name up at start, and would wait for name servers that a lab does not have.
fn names_without_servers() -> io::Result<()> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname")?;
    let hosts = format!("127.0.0.1 localhost {host}::1 localhost {host}");
    for (name, content) in [("hosts", hosts.as_str()), ("resolv.conf", "")] {
        let ours = Path::new(SHELF).join(name);
        fs::write(&ours, content)?;
        if let Ok(theirs) = fs::canonicalize(Path::new("/etc").join(name)) {
            bind(&ours, &theirs)?;
        }
    }
    Ok(())
}

fn place(file: &ExtraFile) -> io::Result<()> {
    let path = Path::new(ETC).join(&file.name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&path, &file.content)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))
}

/// The files of a directory and below, for example the machine's own `/etc/keepalived`, where scripts may live. Read as
/// far as they can be read.
pub fn files_below(root: &Path, below: &Path) -> Vec<ExtraFile> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(root.join(below)) else { return files };
    for entry in entries.flatten() {
        let name = below.join(entry.file_name());
        let path = root.join(&name);
        let Ok(kind) = fs::metadata(&path) else { continue };
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.extend(files_below(root, &name));
        } else if kind.is_file() && kind.len() <= FILE_LIMIT {
            let Ok(content) = fs::read(&path) else { continue };
            files.push(ExtraFile { name, content, mode: kind.permissions().mode() & 0o777 });
        }
    }
    files
}

/// Gives a machine without `/etc/keepalived` one, without touching its `/etc`: a directory of links to the real entries.
fn add_to_etc() -> io::Result<()> {
    let real = Path::new(SHELF).join("etc");
    fs::create_dir(&real)?;
    mount(Some("/etc"), &real, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
    tmpfs("/etc", "mode=755")?;
    for entry in fs::read_dir(&real)?.flatten() {
        symlink(entry.path(), Path::new("/etc").join(entry.file_name()))?;
    }
    fs::create_dir(ETC)
}

fn tmpfs(target: &str, options: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(options)).map_err(|error| at(Path::new(target), error))
}

fn bind(source: &Path, target: &Path) -> io::Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(|error| at(target, error))
}

fn at(target: &Path, error: nix::errno::Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("mount on {}: {error}", target.display()))
}
