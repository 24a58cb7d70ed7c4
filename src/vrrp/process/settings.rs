//! What the configuration asks of the process itself: scheduling, memory, CPUs.
//!
//! Shell. Each is tried, and one warning says what the kernel refused: VRRP without real-time priority is better than
//! none.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::mman::{MlockAllFlags, mlockall, munlockall};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

use crate::net::links::LinkTable;
use crate::net::sys;
use crate::vrrp::config::{InstanceConfig, VrrpGlobal};

/// Applies what differs from `old`.
pub(super) fn apply(new: &VrrpGlobal, old: &VrrpGlobal) {
    // The limit first: a real-time process without it can take a CPU for ever.
    if new.rlimit_rttime != old.rlimit_rttime
        && let Some(limit) = new.rlimit_rttime
    {
        report("vrrp_rlimit_rttime", setrlimit(Resource::RLIMIT_RTTIME, limit, limit).map_err(Into::into));
    }
    if new.rt_priority != old.rt_priority
        && let Some(priority) = new.rt_priority
    {
        report("vrrp_rt_priority", sys::set_round_robin(priority));
    }
    if new.nice != old.nice {
        report("vrrp_priority", sys::set_nice(new.nice.unwrap_or(0)));
    }
    if new.cpu_affinity != old.cpu_affinity && !new.cpu_affinity.is_empty() {
        report("vrrp_cpu_affinity", set_affinity(&new.cpu_affinity));
    }
}

/// `vrrp_no_swap`. What was read or written once stays in memory; what never was, such as the better part of the
/// program, takes none.
pub(super) fn lock_memory(new: &VrrpGlobal, old: &VrrpGlobal) {
    if new.no_swap != old.no_swap {
        report("vrrp_no_swap", if new.no_swap { lock_all() } else { munlockall().map_err(Into::into) });
    }
}

/// Locks all memory, now and later. Not where the kernel would allow only some of it: the first allocation beyond that
/// would fail, and end this process.
fn lock_all() -> io::Result<()> {
    const CAP_IPC_LOCK: u64 = 1 << 14;
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    if limit != RLIM_INFINITY && !has_capability(&status, CAP_IPC_LOCK) {
        let none = |_| io::Error::other(format!("no CAP_IPC_LOCK, and the limit of locked memory is {limit} bytes"));
        setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).map_err(none)?;
    }
    let all = MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE;
    // Kernels before 4.4 know no better than everything.
    Ok(mlockall(all | MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT)).or_else(|_| mlockall(all))?)
}

/// Whether the effective set in `/proc/self/status` has this bit.
fn has_capability(status: &str, bit: u64) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).is_some_and(|set| set & bit != 0)
}

fn report(keyword: &str, result: io::Result<()>) {
    if let Err(e) = result {
        tracing::warn!("{keyword}: {e}; going on without");
    }
}

fn set_affinity(cpus: &BTreeSet<u16>) -> io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(usize::from(*cpu))?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// `promote_secondaries` of interfaces: set where an instance asks for it, because without it the kernel removes all
/// secondary addresses of a subnet with the first; put back to what it was when none does any longer, and at the end.
#[derive(Debug, Default)]
pub(super) struct Promotion {
    /// What it was before us, by interface.
    before: BTreeMap<String, String>,
}

impl Promotion {
    /// Sets and puts back what the configuration asks for now.
    pub(super) fn apply<'a>(&mut self, instances: impl Iterator<Item = &'a InstanceConfig>, links: &LinkTable) {
        let instances = instances.filter(|i| i.promote_secondaries);
        let wanted: BTreeSet<&str> = instances.filter_map(|i| i.interface.as_deref()).collect();
        self.put_back(|name| !wanted.contains(name));
        for name in wanted {
            // A name with a slash would lead elsewhere; no link has one.
            if links.by_name(name).is_none() {
                continue;
            }
            let path = path(name);
            let Ok(before) = std::fs::read_to_string(&path) else { continue };
            if before.trim() != "1" {
                report("promote_secondaries", std::fs::write(&path, "1"));
                self.before.entry(name.to_owned()).or_insert(before);
            }
        }
    }

    /// Puts all back, after the addresses are gone.
    pub(super) fn restore(&mut self) {
        self.put_back(|_| true);
    }

    fn put_back(&mut self, which: impl Fn(&str) -> bool) {
        self.before.retain(|name, before| {
            let now = which(name);
            // An interface that is gone took its setting with it.
            if now && std::path::Path::new(&path(name)).exists() {
                report("promote_secondaries", std::fs::write(path(name), before.as_bytes()));
            }
            !now
        });
    }
}

fn path(interface: &str) -> String {
    format!("/proc/sys/net/ipv4/conf/{interface}/promote_secondaries")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::needs_root;

    /// kB.
    fn locked() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("proc");
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    #[test]
    fn memory_is_locked_and_let_go_again() {
        needs_root!();
        let with = VrrpGlobal { no_swap: true, ..VrrpGlobal::default() };
        lock_memory(&with, &VrrpGlobal::default());
        assert!(locked() > 0);
        lock_memory(&VrrpGlobal::default(), &with);
        assert_eq!(locked(), 0);
    }
}
