//! The end of the daemon, in good order: the virtual addresses first, then whoever is to be told.
//!
//! Wiring: part of main's loop.

use std::collections::BTreeMap;

use sd_notify::NotifyState;
use tracing::info;

use super::{MainProcess, Stopping, tell_systemd};
use crate::daemon::notices::DRAIN_LIMIT;
use crate::trackers::process::connector::BufferSize;
use crate::vrrp::message::ToVrrp;

impl MainProcess {
    /// The end has come: the children are told so.
    pub(super) fn stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        info!("Stopping");
        self.control.note("stopping", "the daemon is stopping".to_owned());
        tell_systemd(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
        self.stopping = Some(Stopping { kill_at: tokio::time::Instant::now() + self.config.daemon.child_wait });
        self.notices.begin_stop();
        self.vrrp.cancel_restart();
        self.vrrp.send(if self.args.release_vips { &ToVrrp::StopAtOnce } else { &ToVrrp::Stop });
        // The virtual addresses go first: who still asks here while they are handed over is served.
        if !self.vrrp.is_running() {
            self.stop_balancer();
        }
    }

    /// The children are gone: what is left is told, run and written, within stated times.
    pub(super) async fn finish(&mut self) {
        self.control.close();
        self.scripts.apply(&BTreeMap::new(), &self.runner, &BTreeMap::new());
        self.files.apply(&BTreeMap::new(), &BTreeMap::new());
        self.processes.apply(&BTreeMap::new(), BufferSize::default(), &BTreeMap::new());
        tokio::join!(
            self.notify.drain(DRAIN_LIMIT),
            self.notices.finish(),
            self.black_box.finish(self.vrrp.recorder(), &self.config.vrrp),
            self.control.finish(),
            self.balancer.orders.finish(),
        );
        let shutdown = self.config.daemon.shutdown_script.clone();
        self.run_hook("shutdown_script", shutdown, self.config.daemon.shutdown_script_timeout).await;
        let counters = self.notify.counters();
        if counters != Default::default() {
            info!(?counters, "notify scripts");
        }
    }
}
