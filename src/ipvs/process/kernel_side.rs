//! What the kernel is asked for beside IPVS's table: timeouts, an empty table at start and stop, synchronisation daemons,
//! and the return paths of `masquerade`.
//!
//! Shell. Each request is tried, and a refusal is a remark; virtual servers are carried without it.

use std::collections::BTreeSet;

use crate::ipvs::balancer::Balancer;
use crate::ipvs::config::{BalancerGlobal, FlushOnStop, LvsTimeouts, SyncDaemonConfig};
use crate::ipvs::dataplane::DataplaneError;
use crate::ipvs::genl::DaemonState;
use crate::ipvs::kernel::Kernel;
use crate::ipvs::masquerade::ReturnPaths;
use crate::ipvs::masquerade::writer::Masquerade;
use crate::ipvs::table::ServiceTable;
use crate::ipvs::types::ServiceKey;

/// Owns a socket of its own.
#[derive(Debug, Default)]
pub(super) struct KernelSide {
    kernel: Kernel,
    flush_on_stop: FlushOnStop,
    timeouts: LvsTimeouts,
    sync: Option<SyncDaemonConfig>,
    running: BTreeSet<DaemonState>,
    masquerade: Masquerade,
    /// Return paths that were refused: told once.
    refused: Option<ReturnPaths>,
    /// Services without a return path: told once each.
    told: BTreeSet<ServiceKey>,
    remarks: Vec<String>,
}

impl KernelSide {
    /// At the start of the process.
    pub fn start(&mut self, global: &BalancerGlobal) {
        if global.flush {
            let result = self.kernel.flush();
            self.note(result);
        }
        if global.sync_daemon.is_some() {
            // A predecessor that was killed has left its own, perhaps with other settings.
            for state in [DaemonState::Master, DaemonState::Backup] {
                let result = self.kernel.stop_sync_daemon(state);
                self.note(result);
            }
        }
        self.reconfigure(global);
    }

    /// Other settings. Follow the balancer after it.
    pub fn reconfigure(&mut self, global: &BalancerGlobal) {
        self.flush_on_stop = global.flush_on_stop;
        if global.timeouts != self.timeouts {
            let result = self.kernel.set_timeouts(global.timeouts);
            self.note(result);
            self.timeouts = global.timeouts;
        }
        if global.sync_daemon != self.sync {
            self.stop_daemons(|_| true);
            self.sync.clone_from(&global.sync_daemon);
        }
    }

    /// A synchronisation daemon sends while its instance is master, and receives while it is not; without an instance
    /// there are both.
    pub fn follow(&mut self, balancer: &Balancer) -> Vec<String> {
        if let Some(config) = self.sync.clone() {
            let wanted: BTreeSet<DaemonState> = match &config.instance {
                None => [DaemonState::Master, DaemonState::Backup].into(),
                Some(instance) if balancer.is_master(instance) => [DaemonState::Master].into(),
                Some(_) => [DaemonState::Backup].into(),
            };
            self.stop_daemons(|state| !wanted.contains(&state));
            for state in wanted {
                if !self.running.contains(&state) {
                    let result = self.kernel.start_sync_daemon(state, &config);
                    self.running.insert(state);
                    self.note(result);
                }
            }
        }
        std::mem::take(&mut self.remarks)
    }

    /// Sets up the return paths of the virtual servers that ask for it.
    pub fn masquerade(&mut self, balancer: &Balancer, table: &ServiceTable) -> Vec<String> {
        let wanted = table.services.iter().filter(|(key, _)| balancer.masquerades(key));
        let (paths, without) = ReturnPaths::of(wanted);
        if self.refused.as_ref() == Some(&paths) {
            return Vec::new();
        }
        let mut remarks: Vec<String> = without
            .into_iter()
            .filter(|key| self.told.insert(*key))
            .map(|key| format!("masquerade: {key} has no address to know its packets by: its answers are not changed"))
            .collect();
        self.refused = None;
        if let Err(error) = self.masquerade.set(&paths) {
            remarks.push(format!("masquerade: the return path of NAT cannot be set up: {error}"));
            self.refused = Some(paths);
        }
        remarks
    }

    /// At the end, after our services are gone.
    pub fn end(&mut self) -> Vec<String> {
        self.stop_daemons(|_| true);
        if let Err(error) = self.masquerade.set(&ReturnPaths::default()) {
            self.remarks.push(format!("masquerade: the return path of NAT cannot be taken away: {error}"));
        }
        if self.flush_on_stop == FlushOnStop::All {
            let result = self.kernel.flush();
            self.note(result);
        }
        std::mem::take(&mut self.remarks)
    }

    fn stop_daemons(&mut self, which: impl Fn(DaemonState) -> bool) {
        for state in self.running.clone().into_iter().filter(|state| which(*state)) {
            let result = self.kernel.stop_sync_daemon(state);
            self.running.remove(&state);
            self.note(result);
        }
    }

    fn note(&mut self, result: Result<(), DataplaneError>) {
        self.remarks.extend(result.err().map(|error| format!("IPVS (kernel): {error}")));
    }
}
