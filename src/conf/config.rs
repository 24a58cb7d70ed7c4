//! The whole of a keepalived.conf, typed: what main keeps, and the part that the vrrp process is sent.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::not_built::NotBuilt;
use crate::command::{Command, RunAs};
use crate::ipvs::config::{BalancerConfig, VirtualServerId};
use crate::notify::config::NotifyConfig;
use crate::status::page::PageConfig;
use crate::trackers::config::{FileConfig, ProcessConfig, ScriptConfig};
use crate::vrrp::config::VrrpConfig;

/// One configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Settings of main.
    pub daemon: DaemonConfig,
    /// For the vrrp process.
    pub vrrp: VrrpConfig,
    /// For the balancer process.
    pub balancer: BalancerConfig,
    /// `vrrp_script` blocks by name; only those that some instance or group tracks are ever run.
    pub scripts: BTreeMap<String, ScriptConfig>,
    /// `track_file` and `vrrp_track_file` blocks by name.
    pub files: BTreeMap<String, FileConfig>,
    /// `vrrp_track_process` blocks by name.
    pub processes: BTreeMap<String, ProcessConfig>,
    /// Notify scripts.
    pub notify: NotifyConfig,
    /// What is read and not carried out yet.
    pub not_built: NotBuilt,
    /// In which order the file has its blocks, which is nothing to anybody but state files.
    pub order: FileOrder,
}

/// The names of blocks in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileOrder {
    /// `vrrp_instance`.
    pub instances: Vec<String>,
    /// `vrrp_sync_group`.
    pub groups: Vec<String>,
    /// `vrrp_script`.
    pub scripts: Vec<String>,
    /// `track_file`, then `vrrp_track_file`.
    pub files: Vec<String>,
    /// `vrrp_track_process`.
    pub processes: Vec<String>,
    /// `virtual_server_group`.
    pub virtual_server_groups: Vec<String>,
    /// `virtual_server`.
    pub virtual_servers: Vec<VirtualServerId>,
}

/// The entries of a map in such an order, then those that it does not name; each once.
pub fn in_order<'a, K: Ord, T>(order: &'a [K], all: &'a BTreeMap<K, T>) -> impl Iterator<Item = (&'a K, &'a T)> {
    let mut seen = BTreeSet::new();
    let named = order.iter().filter(|key| seen.insert(*key)).filter_map(|key| all.get_key_value(key));
    let named: Vec<_> = named.collect();
    named.into_iter().chain(all.iter().filter(move |(key, _)| !seen.contains(key)))
}

/// What main itself needs of `global_defs` and the root keywords.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonConfig {
    /// `router_id`; `None` is the host name.
    pub router_id: Option<String>,
    /// Default user of scripts (`script_user`).
    pub script_user: Option<RunAs>,
    /// Scripts get all groups of their user (`set_supplementary_groups`).
    pub supplementary_groups: bool,
    /// Refuse scripts that a user other than root could change (`enable_script_security`).
    pub script_security: bool,
    /// How long main waits for its children at stop (`child_wait_time`).
    pub child_wait: Duration,
    /// Pid files in a directory of their own (`use_pid_dir`).
    pub use_pid_dir: bool,
    /// `instance`: appended to pid file and syslog names.
    pub instance: Option<String>,
    /// Run in this network namespace (`net_namespace`).
    pub net_namespace: Option<String>,
    /// Children are called keepalived_vrrp and keepalived_lvs, where nothing else is said (`process_names`).
    pub process_names: bool,
    /// What main is called, and each child that has no name of its own (`process_name`).
    pub process_name: Option<String>,
    /// What the vrrp process is called (`vrrp_process_name`).
    pub vrrp_process_name: Option<String>,
    /// What the balancer process is called (`checker_process_name`).
    pub checker_process_name: Option<String>,
    /// File creation mask (`umask`).
    pub umask: Option<u32>,
    /// Run before the children start, and waited for (`startup_script`).
    pub startup_script: Option<Command>,
    /// Limit of the start-up script (`startup_script_timeout`).
    pub startup_script_timeout: Duration,
    /// Run after the children have ended (`shutdown_script`).
    pub shutdown_script: Option<Command>,
    /// Limit of the shutdown script (`shutdown_script_timeout`).
    pub shutdown_script_timeout: Duration,
    /// Test a new configuration before each reload, log to this file (`reload_check_config`). We always test.
    pub reload_check_log: Option<PathBuf>,
    /// Reload when this file says so (`reload_time_file`).
    pub reload_time_file: Option<PathBuf>,
    /// A time without a date stands for every day (`reload_repeat`).
    pub reload_repeat: bool,
    /// A file that is there while a reload reads (`reload_file`).
    pub reload_file: Option<ReloadMarker>,
    /// Both configurations of each reload are saved there (`config_save_dir`).
    pub config_save_dir: Option<PathBuf>,
    /// Where the control sockets are (`control_directory`, ours); `None` is the usual place.
    pub control_directory: Option<PathBuf>,
    /// Members of this group may give commands (`control_group`, ours).
    pub control_group: Option<String>,
    /// What must be known after a restart is kept there (`state_directory`, ours); `None` is beside the sockets.
    pub state_directory: Option<PathBuf>,
    /// Receive buffer for the kernel's news of processes, in bytes (`process_monitor_rcv_bufs`).
    pub process_buffer: Option<u32>,
    /// Beyond the system's limit if need be (`process_monitor_rcv_bufs_force`).
    pub process_buffer_force: bool,
    /// The names of the instance and the namespace go into those of state files (`data_use_instance`).
    pub data_use_instance: bool,
    /// Layout of keepalived.json: 1 or 2 (`json_version`).
    pub json_version: u8,
    /// Where keepalived.data goes (`state_dump_file`).
    pub state_dump_file: Option<PathBuf>,
    /// Where keepalived.stats goes (`stats_dump_file`).
    pub stats_dump_file: Option<PathBuf>,
    /// Where keepalived.json goes (`json_dump_file`).
    pub json_dump_file: Option<PathBuf>,
    /// The status page (`status_page`, ours).
    pub status_page: Option<PageConfig>,
}

impl DaemonConfig {
    /// Keeps of the `running` configuration what holds until the next start, and names what would have been another.
    pub fn hold(&mut self, running: &Self) -> Vec<&'static str> {
        fn hold<T: PartialEq + Clone>(new: &mut T, running: &T) -> bool {
            let differs = new != running;
            if differs {
                new.clone_from(running);
            }
            differs
        }
        let held = [
            ("net_namespace", hold(&mut self.net_namespace, &running.net_namespace)),
            ("instance", hold(&mut self.instance, &running.instance)),
            ("use_pid_dir", hold(&mut self.use_pid_dir, &running.use_pid_dir)),
            ("control_directory", hold(&mut self.control_directory, &running.control_directory)),
            ("control_group", hold(&mut self.control_group, &running.control_group)),
            ("state_directory", hold(&mut self.state_directory, &running.state_directory)),
            ("process_names", hold(&mut self.process_names, &running.process_names)),
            ("process_name", hold(&mut self.process_name, &running.process_name)),
            ("vrrp_process_name", hold(&mut self.vrrp_process_name, &running.vrrp_process_name)),
            ("checker_process_name", hold(&mut self.checker_process_name, &running.checker_process_name)),
            ("umask", hold(&mut self.umask, &running.umask)),
        ];
        held.into_iter().filter_map(|(keyword, differs)| differs.then_some(keyword)).collect()
    }
}

/// Where the marker of a reload is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReloadMarker {
    /// `keepalived.reload`, beside the pid files.
    Default,
    /// There.
    At(PathBuf),
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Self {
            router_id: None,
            script_user: None,
            supplementary_groups: false,
            script_security: false,
            child_wait: Duration::from_secs(5),
            use_pid_dir: false,
            instance: None,
            net_namespace: None,
            process_names: false,
            process_name: None,
            vrrp_process_name: None,
            checker_process_name: None,
            umask: None,
            startup_script: None,
            startup_script_timeout: Duration::from_secs(10),
            shutdown_script: None,
            shutdown_script_timeout: Duration::from_secs(10),
            reload_check_log: None,
            reload_time_file: None,
            reload_repeat: false,
            reload_file: None,
            config_save_dir: None,
            control_directory: None,
            control_group: None,
            state_directory: None,
            process_buffer: None,
            process_buffer_force: false,
            data_use_instance: false,
            json_version: 1,
            state_dump_file: None,
            stats_dump_file: None,
            json_dump_file: None,
            status_page: None,
        }
    }
}
