//! What the configuration asks of the process itself (`checker_*`): scheduling, memory, CPUs.
//!
//! Shell. Each is tried, and one warning says what the kernel refused.

use std::io;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::mman::{MlockAllFlags, mlockall, munlockall};
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::Pid;

use crate::ipvs::config::BalancerGlobal;
use crate::net::sys;

/// Applies what differs from `old`.
pub(super) fn apply(new: &BalancerGlobal, old: &BalancerGlobal) {
    // The limit first: a real-time process without it can take a CPU for ever.
    if new.rlimit_rttime != old.rlimit_rttime
        && let Some(limit) = new.rlimit_rttime
    {
        report("checker_rlimit_rttime", setrlimit(Resource::RLIMIT_RTTIME, limit, limit).map_err(Into::into));
    }
    if new.rt_priority != old.rt_priority
        && let Some(priority) = new.rt_priority
    {
        report("checker_rt_priority", sys::set_round_robin(priority));
    }
    if new.nice != old.nice {
        report("checker_priority", sys::set_nice(new.nice.unwrap_or(0)));
    }
    if new.no_swap != old.no_swap {
        let flags = MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE;
        let result = if new.no_swap { mlockall(flags) } else { munlockall() };
        report("checker_no_swap", result.map_err(Into::into));
    }
    if new.cpu_affinity != old.cpu_affinity && !new.cpu_affinity.is_empty() {
        report("checker_cpu_affinity", set_affinity(&new.cpu_affinity));
    }
}

fn report(keyword: &str, result: io::Result<()>) {
    if let Err(e) = result {
        tracing::warn!("{keyword}: {e}; going on without");
    }
}

fn set_affinity(cpus: &[u16]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(usize::from(*cpu))?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}
