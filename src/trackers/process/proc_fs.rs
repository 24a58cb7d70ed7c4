//! Looks at processes in /proc.
//!
//! Shell. A look at all processes of a large host takes a second or so: it has a thread of its own, and keeps only
//! the processes that some tracker means.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};

use nix::errno::Errno;

use super::pattern::{Stat, words};
use super::table::Scope;
use crate::trackers::config::ProcessPattern;

/// `stat` of a process is some 300 bytes; its name and the number of its threads stand in the first.
const STAT_LENGTH: usize = 512;

/// By process, the numbers of the patterns that mean it.
pub type Found = BTreeMap<u32, BTreeSet<usize>>;

/// Looks at processes.
///
/// # Errors
/// /proc cannot be read now, so that nothing is known. A process that is gone is no error.
pub fn look(scope: &Scope, patterns: &[ProcessPattern]) -> io::Result<Found> {
    let mut found = Found::new();
    let cmdline_length = patterns.iter().map(ProcessPattern::cmdline_length).max().unwrap_or(0);
    let mut look_at = |process: u32| -> io::Result<()> {
        let met = patterns_of(process, patterns, cmdline_length)?;
        if !met.is_empty() {
            found.insert(process, met);
        }
        Ok(())
    };
    match scope {
        Scope::These(processes) => processes.iter().try_for_each(|process| look_at(*process))?,
        Scope::All => {
            for entry in fs::read_dir("/proc")? {
                if let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
                    look_at(process)?;
                }
            }
        }
    }
    Ok(found)
}

fn patterns_of(process: u32, patterns: &[ProcessPattern], cmdline_length: usize) -> io::Result<BTreeSet<usize>> {
    let Some(stat) = read_start(process, "stat", STAT_LENGTH)? else { return Ok(BTreeSet::new()) };
    let Some(Stat { name }) = Stat::parse(&stat) else { return Ok(BTreeSet::new()) };
    let cmdline = match cmdline_length {
        0 => Vec::new(),
        length => read_start(process, "cmdline", length)?.unwrap_or_default(),
    };
    let words = words(&cmdline);
    let met = patterns.iter().enumerate().filter(|(_, pattern)| pattern.is_met(name, &words));
    Ok(met.map(|(number, _)| number).collect())
}

/// The beginning of a file; `None` when the process is gone or hidden from us.
fn read_start(process: u32, file: &str, length: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(length);
    let limit = u64::try_from(length).unwrap_or(u64::MAX);
    let read = File::open(format!("/proc/{process}/{file}")).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(Some(bytes)),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT | Errno::ESRCH | Errno::EACCES | Errno::EPERM) => Ok(None),
            _ => Err(error),
        },
    }
}
