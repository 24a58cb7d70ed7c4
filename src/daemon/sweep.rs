//! Taking the virtual addresses off when there is no vrrp process to do it: by main, and by `holdfast sweep` when there
//! is no main either.
//!
//! Shell. A dead director that keeps its addresses is worse than none. Bounded in time: main has other things to do,
//! and the next vrrp process sweeps too.
#![allow(clippy::disallowed_methods, reason = "a shell: bounds real waiting")]

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::main_process::enter_namespace;
use super::pidfile::{self, PidFile};
use super::{load, main_process};
use crate::cli::DaemonArgs;
use crate::net::addresses::{AddressWriter, Written};
use crate::net::links::LinkTable;
use crate::net::monitor::Monitor;
use crate::net::write_queue::{Change, Owner};
use crate::vrrp::config::VrrpConfig;
use crate::vrrp::engine::BoundAddress;
use crate::vrrp::former::FormerAddress;
use crate::vrrp::types::InstanceId;

/// For listing the links and for removing, each.
const PATIENCE: Duration = Duration::from_millis(500);

/// Which addresses go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Every address that some instance could hold: we had them a moment ago.
    Configured,
    /// Of these the ones that carry the kernel's VRRP mark, as far as this kernel keeps marks.
    Marked,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Swept {
    /// Addresses that are gone.
    pub removed: BTreeSet<String>,
    /// What the kernel refused, one sentence each.
    pub failures: Vec<String>,
}

/// `holdfast sweep`: 0 when nothing of ours is left, 1 when the daemon runs or the kernel refuses.
///
/// # Errors
/// No usable configuration, or the kernel cannot be spoken with.
pub fn run(args: &DaemonArgs) -> anyhow::Result<u8> {
    let loaded = load::load(args);
    let Some(config) = loaded.config else {
        eprint!("{}", loaded.diagnostics.render(false));
        return Ok(load::exit_code(&loaded.diagnostics));
    };
    let namespace = main_process::namespace(args, &config);
    let path =
        args.pid.clone().unwrap_or_else(|| pidfile::default_path("keepalived", &config.daemon, namespace.as_deref()));
    // Held until the end, so that no daemon starts meanwhile.
    let _pid_file = PidFile::lock(&path)?;
    if let Some(name) = &namespace {
        enter_namespace(name)?;
    }
    let Swept { removed, failures } = remove_addresses(&config.vrrp, &[], Which::Marked)?;
    let mut out = io::stdout().lock();
    for address in &removed {
        writeln!(out, "removed {address}")?;
    }
    failures.iter().for_each(|failure| eprintln!("{failure}"));
    Ok(u8::from(!failures.is_empty()))
}

/// Removes the addresses of all instances, `former` ones, and the packet filter. Static addresses stay: they are nobody's mastership.
///
/// # Errors
/// The kernel cannot be spoken with, or does not answer in time.
pub fn remove_addresses(config: &VrrpConfig, former: &[FormerAddress], which: Which) -> io::Result<Swept> {
    let mut monitor = Monitor::open()?;
    monitor.load(PATIENCE)?;
    let mut addresses = bound(config, which, monitor.table());
    addresses.extend(former.iter().filter_map(|former| former.bind(|name| monitor.table().by_name(name))));
    let before = standing(&addresses, monitor.table());
    let failures = write(config, addresses.clone(), monitor.table())?;
    monitor.drain()?;
    let after = standing(&addresses, monitor.table());
    Ok(Swept { removed: before.difference(&after).cloned().collect(), failures })
}

fn bound(config: &VrrpConfig, which: Which, links: &LinkTable) -> Vec<BoundAddress> {
    let only_marked = which == Which::Marked && keeps_marks();
    let addresses = config.instances.values().flat_map(|instance| {
        instance.all_addresses().filter_map(move |address| {
            let device = address.options.device.as_deref().or(instance.interface.as_deref())?;
            let own = only_marked || instance.priority.is_owner();
            Some(BoundAddress { interface: links.by_name(device)?, config: address.clone(), accept: true, own })
        })
    });
    addresses.collect()
}

/// Linux 5.18 and later remember who put an address there. What cannot be read is taken for a later one: then too little
/// is removed rather than too much.
fn keeps_marks() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse::<u32>().ok());
    !matches!((numbers.next(), numbers.next()), (Some(major), Some(minor)) if (major, minor) < (5, 18))
}

fn standing(addresses: &[BoundAddress], links: &LinkTable) -> BTreeSet<String> {
    let of = |bound: &BoundAddress| {
        let (interface, address) = (bound.interface, bound.config.address);
        let found = links.addresses(interface).filter(move |facts| facts.address == address);
        found.map(move |facts| format!("{address}/{} from {}", facts.prefix_len, links.name(interface)))
    };
    addresses.iter().flat_map(of).collect()
}

fn write(config: &VrrpConfig, absent: Vec<BoundAddress>, links: &LinkTable) -> io::Result<Vec<String>> {
    let mut writer = AddressWriter::open()?;
    writer.set_filter(&config.global.filter);
    writer.sync(Owner::Instance(InstanceId(0)), Change { generation: 1, present: Vec::new(), absent });
    let deadline = Instant::now() + PATIENCE;
    let mut failures = Vec::new();
    loop {
        for written in writer.advance(links)? {
            if let Written::Synced { failures: refused, .. } = written {
                failures.extend(refused);
            }
        }
        if writer.is_idle() {
            return Ok(failures);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if !writer.wants_turn() {
            let mut ready = [PollFd::new(writer.as_fd(), PollFlags::POLLIN)];
            let patience = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            match poll(&mut ready, patience) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
