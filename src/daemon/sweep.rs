//! Taking the virtual addresses off when there is no vrrp process to do it.
//!
//! Shell. A dead director that keeps its addresses is worse than none. Bounded in time: main has other things to do,
//! and the next vrrp process sweeps too.
#![allow(clippy::disallowed_methods, reason = "a shell: bounds real waiting")]

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::net::addresses::{AddressWriter, Written};
use crate::net::monitor::Monitor;
use crate::net::write_queue::{Change, Owner};
use crate::vrrp::config::VrrpConfig;
use crate::vrrp::engine::BoundAddress;
use crate::vrrp::types::InstanceId;

/// For listing the links and for removing, each.
const PATIENCE: Duration = Duration::from_millis(500);

/// Removes every address that some instance of `config` could hold. Static addresses stay: they are nobody's mastership.
/// Returns what the kernel refused.
///
/// # Errors
/// The kernel cannot be spoken with, or does not answer in time.
pub fn remove_addresses(config: &VrrpConfig) -> io::Result<Vec<String>> {
    let mut monitor = Monitor::open()?;
    monitor.load(PATIENCE)?;
    let links = monitor.table();
    let addresses = config.instances.values().flat_map(|instance| {
        instance.all_addresses().filter_map(|address| {
            let device = address.device.as_deref().or(instance.interface.as_deref())?;
            let own = instance.priority.is_owner();
            Some(BoundAddress { interface: links.by_name(device)?, config: address.clone(), accept: true, own })
        })
    });
    let mut writer = AddressWriter::open()?;
    writer.set_filter(&config.global.filter);
    let change = Change { generation: 1, present: Vec::new(), absent: addresses.collect() };
    writer.sync(Owner::Instance(InstanceId(0)), change);
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
