//! The global definitions, at the head of each `.data` file and all there is in `keepalived_parent.data`.
//!
//! Pure.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::Host;
use super::words::either;
use crate::conf::config::Config;
use crate::ipvs::config::FlushOnStop;

/// The section.
pub fn render(config: &Config, host: &Host<'_>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = all(config, host, &mut text);
    text
}

fn all(config: &Config, host: &Host<'_>, out: &mut String) -> fmt::Result {
    let (daemon, vrrp, lvs) = (&config.daemon, &config.vrrp.global, &config.balancer.global);
    writeln!(out, "------< Global definitions >------")?;
    writeln!(out, " Network namespace = {}", host.namespace.unwrap_or("(default)"))?;
    if let Some(instance) = &daemon.instance {
        writeln!(out, " Instance name = {instance}")?;
    }
    writeln!(out, " Router ID = {}", daemon.router_id.as_deref().unwrap_or(host.name))?;
    writeln!(out, " Dynamic interfaces = {}", vrrp.dynamic_interfaces)?;
    writeln!(out, " LVS flush = {}", lvs.flush)?;
    let flush = match lvs.flush_on_stop {
        FlushOnStop::No => "disabled",
        FlushOnStop::All => "enabled",
        FlushOnStop::VirtualServers => "VS",
    };
    writeln!(out, " LVS flush on stop = {flush}")?;
    writeln!(out, " Gratuitous ARP interval = {:.6}", vrrp.garp_interval.as_secs_f64())?;
    writeln!(out, " Gratuitous NA interval = {:.6}", vrrp.gna_interval.as_secs_f64())?;
    writeln!(out, " nftables {} counters", either(vrrp.filter.counters, "with", "without"))?;
    scheduling(out, "VRRP", vrrp.nice, vrrp.no_swap, vrrp.rt_priority, vrrp.rlimit_rttime)?;
    scheduling(out, "Checker", lvs.nice, lvs.no_swap, lvs.rt_priority, lvs.rlimit_rttime)?;
    writeln!(out, " Script security {}", either(daemon.script_security, "enabled", "disabled"))?;
    let (uid, gid) = (host.identity)(None);
    writeln!(out, " Default script uid:gid {uid}:{gid}")?;
    hook(out, "Startup", daemon.startup_script.as_ref(), daemon.startup_script_timeout, host)?;
    hook(out, "Shutdown", daemon.shutdown_script.as_ref(), daemon.shutdown_script_timeout, host)?;
    writeln!(out, " process_monitor_rcv_bufs = {}", daemon.process_buffer.unwrap_or(0))?;
    writeln!(out, " process_monitor_rcv_bufs_force = {}", u8::from(daemon.process_buffer_force))?;
    writeln!(out, " rs_init_notifies = {}", u8::from(lvs.rs_init_notifies))?;
    writeln!(out, " no_checker_emails = {}", u8::from(lvs.no_checker_emails))?;
    writeln!(out, " umask = {:04o}", host.umask)
}

fn scheduling(
    out: &mut String,
    process: &str,
    nice: Option<i8>,
    no_swap: bool,
    real_time: Option<u8>,
    limit: Option<u64>,
) -> fmt::Result {
    /// keepalived's default of `*_rlimit_rttime`, in microseconds.
    const RTTIME: u64 = 10_000;
    writeln!(out, " {process} process priority = {}", nice.unwrap_or(0))?;
    writeln!(out, " {process} don't swap = {no_swap}")?;
    writeln!(out, " {process} realtime priority = {}", real_time.unwrap_or(0))?;
    writeln!(out, " {process} realtime limit = {}", limit.unwrap_or(RTTIME))
}

fn hook(
    out: &mut String,
    when: &str,
    command: Option<&crate::command::Command>,
    limit: Duration,
    host: &Host<'_>,
) -> fmt::Result {
    let Some(command) = command else { return Ok(()) };
    writeln!(out, " {when} script = {}", super::words::script(command, host))?;
    writeln!(out, " {when} script timeout = {}", limit.as_secs())
}
