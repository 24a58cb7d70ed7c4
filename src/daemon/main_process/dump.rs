//! keepalived's state files, as main writes them when a signal asks for them.
//!
//! Wiring. A signal asks the children for a snapshot; the files are made of the answer and of what main knows, and
//! written by a thread ([`FileWriter`]). A child that does not answer costs its own files only. Clearing the
//! counters is main's business: it remembers what they were, so that metrics go on counting.
#![allow(clippy::disallowed_methods, reason = "a shell: names depend on the environment")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid};
use tracing::info;

use super::{MainProcess, namespace};
use crate::command::Command;
use crate::conf::config::DaemonConfig;
use crate::daemon::file_writer::FileWriter;
use crate::daemon::local_time::LocalTime;
use crate::daemon::reload_time::{Civil, Zone};
use crate::daemon::signals::Request;
use crate::dump::json::Layout;
use crate::dump::writer::{Job, replace};
use crate::dump::{self, Facts, Host};
use crate::ipvs::message::ToBalancer;
use crate::ipvs::snapshot::Snapshot as BalancerSnapshot;
use crate::vrrp::message::ToVrrp;
use crate::vrrp::snapshot::{Counters, Snapshot};

/// keepalived's default of `umask`: state files are their owner's alone.
const UMASK: u32 = 0o177;

/// What was asked for and has not been written.
#[derive(Debug)]
pub(super) struct Dumps {
    /// Of the vrrp process.
    vrrp: Vec<Request>,
    /// keepalived_check.data.
    balancer: bool,
    /// The counters of each instance when they were last cleared.
    cleared: BTreeMap<String, Counters>,
    writer: FileWriter<Job>,
}

impl Default for Dumps {
    fn default() -> Self {
        Self { vrrp: Vec::new(), balancer: false, cleared: BTreeMap::new(), writer: FileWriter::new("dump", replace) }
    }
}

impl MainProcess {
    /// A signal asks for state files.
    pub(super) fn begin_dump(&mut self, request: Request) {
        let (what, process) = match request {
            Request::Data => ("Printing parent data", "main"),
            Request::Stats => ("Printing VRRP stats", "vrrp"),
            Request::StatsClear => ("Printing and clearing VRRP stats", "vrrp"),
            Request::Json => ("Printing VRRP as json", "vrrp"),
            Request::Stop | Request::Reload => return,
        };
        let pid = if process == "main" { Some(std::process::id()) } else { self.vrrp.pid() };
        info!("{what} for process({}) on signal", pid.unwrap_or_default());
        if request == Request::Data {
            let text = self.with_host(|main, host| dump::global::render(&main.config, &host));
            self.write_dump("keepalived_parent.data", text);
            if self.balancer.child.is_running() && !std::mem::replace(&mut self.dumps.balancer, true) {
                self.balancer.child.send(&ToBalancer::SnapshotPlease);
            }
        }
        if !self.vrrp.is_running() {
            return;
        }
        if self.dumps.vrrp.is_empty() {
            self.vrrp.send(&ToVrrp::SnapshotPlease);
        }
        if !self.dumps.vrrp.contains(&request) {
            self.dumps.vrrp.push(request);
        }
    }

    /// The vrrp process has answered.
    pub(super) fn dump_vrrp(&mut self, snapshot: &Snapshot) {
        for request in std::mem::take(&mut self.dumps.vrrp) {
            match request {
                Request::Data => {
                    let text = self.with_facts(snapshot, dump::data::render);
                    self.write_dump("keepalived.data", text);
                }
                Request::Stats | Request::StatsClear => {
                    let text = self.with_facts(snapshot, dump::stats::render);
                    self.write_dump("keepalived.stats", text);
                    if request == Request::StatsClear {
                        let counters = |(name, shown): (&String, &crate::vrrp::snapshot::InstanceSnapshot)| {
                            (name.clone(), shown.counters)
                        };
                        self.dumps.cleared = snapshot.instances.iter().map(counters).collect();
                    }
                }
                Request::Json => {
                    let layout = if self.config.daemon.json_version == 2 { Layout::V2 } else { Layout::V1 };
                    if let Some(text) = self.with_facts(snapshot, |facts| dump::json::render(facts, layout)) {
                        self.write_dump("keepalived.json", text);
                    }
                }
                Request::Stop | Request::Reload => {}
            }
        }
    }

    /// The balancer process has answered.
    pub(super) fn dump_balancer(&mut self, snapshot: &BalancerSnapshot) {
        if std::mem::take(&mut self.dumps.balancer) {
            let text = self.with_host(|main, host| dump::check::render(&main.config, snapshot, &host));
            self.write_dump("keepalived_check.data", text);
        }
    }

    /// A child that died answers nothing any more; the next one counts from 0.
    pub(super) fn forget_dumps_of_vrrp(&mut self) {
        self.dumps.vrrp.clear();
        self.dumps.cleared.clear();
        for entry in self.roster.instances_mut() {
            entry.changed = None;
        }
    }

    /// A child that died answers nothing any more.
    pub(super) fn forget_dumps_of_balancer(&mut self) {
        self.dumps.balancer = false;
    }

    fn write_dump(&mut self, name: &str, text: String) {
        let daemon = &self.config.daemon;
        let namespace = namespace(&self.args, &self.config);
        let directory = std::env::var_os("TMPDIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
        let directory = directory.unwrap_or_else(|| PathBuf::from("/tmp"));
        let path = dump_path(name, &directory, daemon, namespace.as_deref());
        let mode = 0o666 & !self.umask();
        self.dumps.writer.write(path, Job { text, mode });
    }

    fn umask(&self) -> u32 {
        self.args.umask.or(self.config.daemon.umask).unwrap_or(UMASK)
    }

    fn with_facts<T>(&self, snapshot: &Snapshot, render: impl FnOnce(&Facts<'_>) -> T) -> T {
        let running = self.scripts.running();
        let processes = self.processes.counts();
        self.with_host(|main, host| {
            render(&Facts {
                config: &main.config,
                snapshot,
                cleared: &main.dumps.cleared,
                transitions: &|name| main.roster.instance(name)?.changed,
                running: &running,
                processes: &processes,
                host,
            })
        })
    }

    fn with_host<T>(&self, render: impl FnOnce(&Self, Host<'_>) -> T) -> T {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let namespace = namespace(&self.args, &self.config);
        let identity = |command: Option<&Command>| {
            let known = self.runner.known_identity(command).map(|identity| (identity.uid, identity.gid));
            let (uid, gid) = known.unwrap_or((Uid::effective(), Gid::effective()));
            (uid.as_raw(), gid.as_raw())
        };
        render(
            self,
            Host {
                name: name.trim_end(),
                identity: &identity,
                clock: &local_clock,
                namespace: namespace.as_deref(),
                umask: self.umask(),
            },
        )
    }
}

/// Where a state file goes. With `data_use_instance` the `.data` files bear the names of namespace and instance:
/// `keepalived.web.data`.
fn dump_path(name: &str, directory: &Path, config: &DaemonConfig, namespace: Option<&str>) -> PathBuf {
    match name {
        "keepalived.stats" => return config.stats_dump_file.clone().unwrap_or_else(|| directory.join(name)),
        "keepalived.json" => return config.json_dump_file.clone().unwrap_or_else(|| directory.join(name)),
        _ => {}
    }
    let process = name.trim_start_matches("keepalived").trim_end_matches(".data");
    let template = config.state_dump_file.clone().unwrap_or_else(|| directory.join("keepalived.data"));
    let mut own = template.file_stem().unwrap_or_default().to_owned();
    own.push(process);
    if config.data_use_instance {
        for part in [namespace, config.instance.as_deref()].into_iter().flatten() {
            own.push(".");
            own.push(part);
        }
    }
    if let Some(extension) = template.extension() {
        own.push(".");
        own.push(extension);
    }
    template.with_file_name(own)
}

/// `Sat Nov 21 08:22:24` and the year, as C's `asctime` has them.
fn local_clock(moment: i64) -> Option<(String, i32)> {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    /// What the months before add to the day of the week, the leap day at the end (Sakamoto).
    const SHIFTS: [i32; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
    let Civil { year, month, day, hour, minute, second } = LocalTime.civil(moment)?;
    let at = usize::from(month.checked_sub(1)?);
    let of = if month < 3 { year - 1 } else { year };
    let weekday = (of + of / 4 - of / 100 + of / 400 + SHIFTS.get(at)? + i32::from(day)).rem_euclid(7);
    let weekday = DAYS.get(usize::try_from(weekday).ok()?)?;
    Some((format!("{weekday} {} {day:2} {hour:02}:{minute:02}:{second:02}", MONTHS.get(at)?), year))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places() {
        let plain = DaemonConfig::default();
        let named = DaemonConfig { data_use_instance: true, instance: Some("web".into()), ..DaemonConfig::default() };
        let placed = DaemonConfig {
            state_dump_file: Some("/var/x/state.txt".into()),
            stats_dump_file: Some("/var/x/s".into()),
            json_dump_file: Some("/var/x/j".into()),
            ..DaemonConfig::default()
        };
        for (config, namespace, name, want) in [
            (&plain, None, "keepalived.data", "/tmp/keepalived.data"),
            (&plain, Some("ns"), "keepalived_check.data", "/tmp/keepalived_check.data"),
            (&plain, None, "keepalived.json", "/tmp/keepalived.json"),
            (&named, None, "keepalived.data", "/tmp/keepalived.web.data"),
            (&named, Some("ns"), "keepalived_parent.data", "/tmp/keepalived_parent.ns.web.data"),
            (&named, None, "keepalived.stats", "/tmp/keepalived.stats"),
            (&placed, None, "keepalived.data", "/var/x/state.txt"),
            (&placed, None, "keepalived_check.data", "/var/x/state_check.txt"),
            (&placed, None, "keepalived.stats", "/var/x/s"),
            (&placed, None, "keepalived.json", "/var/x/j"),
        ] {
            assert_eq!(dump_path(name, Path::new("/tmp"), config, namespace), Path::new(want), "{name} {namespace:?}");
        }
    }

    #[test]
    fn the_clock_as_asctime_has_it() {
        for (noon, want) in [
            (43_200, "Thu Jan  1"),
            (951_825_600, "Tue Feb 29"),
            (951_912_000, "Wed Mar  1"),
            (1_795_262_400, "Sat Nov 21"),
        ] {
            // In any zone up to twelve hours away it is the same day, or the zone is not UTC in this test.
            let (clock, _) = local_clock(noon).unwrap();
            if LocalTime.civil(0).is_some_and(|civil| civil.hour == 0) {
                assert!(clock.starts_with(want), "{clock}");
            }
        }
    }
}
