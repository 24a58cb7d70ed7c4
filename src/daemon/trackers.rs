//! Which trackers main must run for a configuration, and what it knows of them.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::checkers::config::Probe;
use crate::command::Command;
use crate::conf::config::Config;
use crate::ipvs::config::BalancerConfig;
use crate::trackers::config::{FileConfig, ProcessConfig, ScriptConfig};
use crate::vrrp::config::TrackerKey;

/// What is tracked: an instance's list holds its groups' trackers too.
pub fn tracked(config: &Config) -> BTreeSet<TrackerKey> {
    config.vrrp.instances.values().flat_map(|i| &i.tracks).map(|track| track.tracker.clone()).collect()
}

/// The scripts to run. One that nobody tracks is never run.
pub fn scripts(config: &Config, tracked: &BTreeSet<TrackerKey>) -> BTreeMap<String, ScriptConfig> {
    let wanted = config.scripts.iter().filter(|(name, _)| tracked.contains(&TrackerKey::Script((*name).clone())));
    wanted.map(|(name, script)| (name.clone(), script.clone())).collect()
}

/// The files to watch. All of them: `init_file` holds for one that nobody tracks yet, too; and FILE_CHECKs read some.
pub fn files(config: &Config) -> BTreeMap<String, FileConfig> {
    let mut files = config.balancer.files.clone();
    files.extend(config.files.iter().map(|(name, file)| (name.clone(), file.clone())));
    files
}

/// The processes to watch: those that somebody tracks.
pub fn processes(config: &Config, tracked: &BTreeSet<TrackerKey>) -> BTreeMap<String, ProcessConfig> {
    let wanted = config.processes.iter().filter(|(name, _)| tracked.contains(&TrackerKey::Process((*name).clone())));
    wanted.map(|(name, process)| (name.clone(), process.clone())).collect()
}

/// Every command that a configuration can make main run.
pub fn commands(config: &Config) -> Vec<&Command> {
    let scripts = config.scripts.values().map(|script| &script.command);
    let notify = config.notify.instances.values().chain(config.notify.groups.values()).flat_map(|n| {
        [&n.master, &n.backup, &n.fault, &n.stop, &n.deleted, &n.master_rx_lower_pri, &n.any].into_iter().flatten()
    });
    let servers = config.balancer.services.values().flat_map(|server| {
        let real = server.real_servers.iter().flat_map(|real| real.notify_up.iter().chain(&real.notify_down));
        server.quorum_up.iter().chain(&server.quorum_down).chain(real)
    });
    let hooks = config.daemon.startup_script.iter().chain(&config.daemon.shutdown_script);
    let readers = config.notify.fifos.iter().filter_map(|fifo| fifo.script.as_ref());
    let servers = servers.map(|command| &**command);
    scripts.chain(notify).chain(hooks).chain(readers).chain(servers).chain(checks(&config.balancer)).collect()
}

/// The commands of MISC_CHECKs: main runs no others for the balancer process.
pub fn checks(config: &BalancerConfig) -> impl Iterator<Item = &Command> {
    let real = config.services.values().flat_map(|server| &server.real_servers);
    real.flat_map(|real| &real.checkers).filter_map(|checker| match &checker.probe {
        Probe::Misc(misc) => Some(&misc.command),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::command::CommandForm;
    use crate::trackers::config::ProcessPattern;
    use crate::vrrp::config::{InstanceConfig, Track};
    use crate::vrrp::types::Vrid;

    #[test]
    fn only_what_is_tracked_runs() {
        let command = Command { text: "x".into(), form: CommandForm::Program(vec!["x".into()]), user: None };
        let second = Duration::from_secs(1);
        let script = ScriptConfig { command, interval: second, timeout: second, rise: 1, fall: 1, init_fail: false };
        let mut config = Config::default();
        config.scripts.insert("used".into(), script.clone());
        config.scripts.insert("unused".into(), script);
        let process = ProcessConfig {
            pattern: ProcessPattern::Name("nginx".into()),
            quorum: 1,
            quorum_max: None,
            fork_delay: Duration::ZERO,
            terminate_delay: Duration::ZERO,
        };
        config.processes.insert("nginx".into(), process.clone());
        config.processes.insert("other".into(), process);
        let mut instance = InstanceConfig::new("eth0", Vrid::new(1).unwrap());
        for tracker in [TrackerKey::Script("used".into()), TrackerKey::Process("nginx".into())] {
            instance.tracks.push(Track { tracker, weight: 0, reverse: false });
        }
        config.vrrp.instances.insert("VI".into(), instance);
        let tracked = tracked(&config);
        assert_eq!(scripts(&config, &tracked).into_keys().collect::<Vec<_>>(), ["used"]);
        assert_eq!(processes(&config, &tracked).into_keys().collect::<Vec<_>>(), ["nginx"]);
        assert_eq!(commands(&config).len(), 2);
    }
}
