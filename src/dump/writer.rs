//! How a state file is written.
//!
//! Shell. A file is written under another name, then renamed, then closed: whoever reads the final name finds a
//! whole file, and whoever waits for its `IN_CLOSE_WRITE`, as VyOS does, gets it after the rename. What stands there, a
//! symbolic link of somebody in `/tmp` for example, is replaced and never followed.
#![allow(clippy::disallowed_methods, reason = "a shell: a name for the temporary file comes from the clock")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Temporary names that are tried: others may put files in `/tmp`, too.
const TRIES: u32 = 8;

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The whole file.
    pub text: String,
    /// Its mode; the process's file creation mask does not count.
    pub mode: u32,
}

/// Write, rename, close.
///
/// # Errors
/// The disk is full, the directory is not there, a directory has that name: nothing is left behind.
pub fn replace(path: &Path, job: &Job) -> io::Result<()> {
    let (temporary, mut file) = create_beside(path, job.mode)?;
    let written = file.write_all(job.text.as_bytes()).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Gone already, or not ours to keep.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn create_beside(path: &Path, mode: u32) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut tries = 0;
    loop {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.{nanos:09}", std::process::id()));
        let temporary = path.with_file_name(hidden);
        // A file that is there already, or a link, is somebody else's.
        let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary);
        match opened {
            Ok(file) => {
                use std::os::unix::fs::PermissionsExt;
                file.set_permissions(fs::Permissions::from_mode(mode))?;
                return Ok((temporary, file));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}
