//! Putting a configuration into effect: at start, and the difference at a reload.
//!
//! Shell. A reload reads and checks everything first, on another thread, while the loop goes on. Any new error, and
//! nothing changes. SIGHUPs that come meanwhile, or a moment after, make one more reload, however many there were.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::task::JoinError;
use tracing::{error, info, warn};

use super::balancer::known_commands;
use super::control::refused_reload;
use super::{Loading, MainProcess, RELOAD_PAUSE, Retiring, namespace, runner_for, tell_systemd};
use crate::command::Command;
use crate::conf::Loaded;
use crate::conf::config::Config;
use crate::control::api::{Refused, done, refused};
use crate::daemon::reload::{self, KnownErrors, Summary};
use crate::daemon::reload_files::{self, Records};
use crate::daemon::{load, sweep, trackers};
use crate::ipvs::diff::BalancerDiff;
use crate::trackers::process::connector::BufferSize;
use crate::vrrp::config::{ConfigDiff, TrackerKey, VrrpConfig};
use crate::vrrp::former::FormerAddresses;
use crate::vrrp::message::ToVrrp;

#[allow(clippy::disallowed_methods, reason = "a shell: measures how long a reload takes")]
impl MainProcess {
    pub(super) fn begin_reload(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        if let Some(loading) = &mut self.loading {
            loading.again = true;
            return;
        }
        let now = tokio::time::Instant::now();
        if let Some(next) = self.last_reload.map(|last| last + RELOAD_PAUSE).filter(|next| *next > now) {
            self.reload_at = Some(next);
            return;
        }
        self.reload_at = None;
        self.control.reload_begins();
        info!("Reloading");
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            tell_systemd(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]);
        }
        self.reloads += 1;
        let daemon = &self.config.daemon;
        let marker = reload_files::marker_path(daemon, namespace(&self.args, &self.config).as_deref());
        let records = Records {
            check_log: daemon.reload_check_log.clone(),
            save_dir: daemon.config_save_dir.clone(),
            number: self.reloads,
        };
        let running = if records.save_dir.is_some() { self.config.clone() } else { Config::default() };
        let args = self.args.clone();
        let known = self.config.balancer.services.clone();
        let put = marker.clone();
        let task = tokio::task::spawn_blocking(move || {
            if let Some(marker) = put {
                reload_files::put_marker(&marker);
            }
            let loaded = load::load_again(&args, known);
            records.write(&running, &loaded);
            loaded
        });
        self.loading = Some(Loading { since: Instant::now(), task, again: false, marker });
    }

    pub(super) fn end_reload(&mut self, loaded: Result<Loaded, JoinError>) {
        let Some(Loading { since, again, marker, .. }) = self.loading.take() else { return };
        self.last_reload = Some(tokio::time::Instant::now());
        // Whoever waits for its end waits for the last one.
        if let Some(marker) = marker.filter(|_| !again || self.stopping.is_some()) {
            reload_files::remove_marker(&marker);
        }
        if self.stopping.is_some() {
            return;
        }
        let outcome = match loaded {
            Ok(Loaded { config, diagnostics, .. }) => {
                load::log(&diagnostics);
                let refuse = |why: String| {
                    let message = format!("reload refused, nothing changed{why}");
                    error!("{message}");
                    refused_reload(message, &diagnostics)
                };
                match (config, self.known_errors.first_new(&diagnostics)) {
                    // A full disk leaves such a file behind. Giving everything up is what stopping is for.
                    (Some(config), None) if config == Config::default() && self.config != config => {
                        let file = self.args.file.display();
                        refuse(format!(": {file} says nothing at all; to give all up, stop"))
                    }
                    (Some(config), None) => {
                        if diagnostics.has_errors() {
                            warn!("reload: the running configuration has the same errors, going on");
                        }
                        self.known_errors = KnownErrors::of(&diagnostics);
                        done(self.reconfigure(config, since.elapsed()))
                    }
                    (_, Some(error)) => {
                        let place = load::place(error);
                        refuse(format!(", because of {place}: {}", error.message))
                    }
                    (None, None) => refuse(": no usable configuration".to_owned()),
                }
            }
            Err(error) => {
                let message = format!("reload: reading the configuration failed, nothing changed: {error}");
                error!("{message}");
                refused(Refused::Internal, message)
            }
        };
        self.control.reload_ended(outcome);
        tell_systemd(&[NotifyState::Ready, NotifyState::Status("running")]);
        if again {
            self.begin_reload();
        }
    }

    /// The result is what people are told.
    fn reconfigure(&mut self, mut new: Config, load_time: Duration) -> String {
        let started = Instant::now();
        for name in new.daemon.hold(&self.config.daemon) {
            warn!("reload: {name} holds until the next start and was not changed");
        }
        let diff = ConfigDiff::between(&self.config.vrrp, &new.vrrp);
        let balancer_diff = BalancerDiff::between(&self.config.balancer, &new.balancer);
        let summary = Summary::of(&self.config, &new, &diff, &balancer_diff);
        self.notify_config = reload::notify_with_departing(&self.config, &new, &balancer_diff);
        if !diff.is_empty() {
            self.former.on_reload(&self.config.vrrp, &new.vrrp);
        }
        self.keep_former_balancer();
        self.scattered |= reload::take_over(&mut self.config, new, &diff, &balancer_diff);
        self.watchdog.reconfigure(started, &self.config.vrrp);
        self.runner = runner_for(&self.config);
        self.notify.set_runner(self.runner.clone());
        self.notices.apply(&self.notify_config, self.config.daemon.router_id.as_deref(), &self.runner);
        if self.notify_config.states_on_reload {
            self.notices.repeat_states(&self.config.vrrp, &self.roster);
        }
        if summary.others {
            self.report_unrunnable_commands();
        }
        // Trackers that are gone are forgotten; a name that comes back starts anew.
        let tracked = trackers::tracked(&self.config);
        let checked = &self.config.balancer.files;
        let is_checked = |key: &TrackerKey| matches!(key, TrackerKey::File(name) if checked.contains_key(name));
        self.statuses.retain(|key, _| tracked.contains(key) || is_checked(key));
        self.apply_trackers();
        self.schedule.apply(&self.config.daemon);
        self.apply_page();
        self.feed_vrrp(diff);
        self.feed_balancer(balancer_diff);
        let line = summary.line(load_time + started.elapsed());
        info!("{line}");
        self.tidy_after_reading();
        line
    }

    /// Tells the vrrp process what changed, starts it when there is something for it to do at last, or ends it.
    fn feed_vrrp(&mut self, diff: ConfigDiff) {
        if self.retiring.is_some() {
            // It has its last orders; the next one is told everything, if there is need of one.
            return;
        }
        if self.vrrp.is_running() {
            if !diff.is_empty() {
                self.vrrp.send(&ToVrrp::Reconfigure(Box::new(diff)));
            }
            if !self.needs_vrrp() {
                info!("no vrrp_instance is configured any more: stopping the vrrp process");
                self.vrrp.send(&ToVrrp::Stop);
                let kill_at = tokio::time::Instant::now() + self.config.daemon.child_wait;
                self.retiring = Some(Retiring { kill_at });
            }
        } else if !self.needs_vrrp() {
            self.vrrp.cancel_restart();
        } else if !self.vrrp.restart_is_planned() {
            self.start_vrrp(false);
        }
    }

    pub(super) fn apply_trackers(&mut self) {
        let tracked = trackers::tracked(&self.config);
        self.scripts.apply(&trackers::scripts(&self.config, &tracked), &self.runner, &self.statuses);
        self.files.apply(&trackers::files(&self.config), &self.statuses);
        let daemon = &self.config.daemon;
        let buffer = BufferSize { bytes: daemon.process_buffer, force: daemon.process_buffer_force };
        self.processes.apply(&trackers::processes(&self.config, &tracked), buffer, &self.statuses);
    }

    /// Says now what would otherwise be found out when it is needed.
    pub(super) fn report_unrunnable_commands(&self) {
        let tracked = trackers::tracked(&self.config);
        for (name, script) in &self.config.scripts {
            if !tracked.contains(&TrackerKey::Script(name.clone())) {
                continue;
            }
            if let Some(problem) = self.runner.forbidden(&script.command) {
                warn!("vrrp_script {name}: {problem}");
            }
            // One that cannot be run is reported by its tracker.
            if let Ok(prepared) = self.runner.prepare(&script.command)
                && let Some(remark) = prepared.remark
            {
                warn!("vrrp_script {name}: {remark}; with enable_script_security it would not be run");
            }
        }
        let notify = &self.config.notify;
        for (name, scripts) in notify.instances.iter().chain(&notify.groups) {
            let all = [
                &scripts.master,
                &scripts.backup,
                &scripts.fault,
                &scripts.stop,
                &scripts.deleted,
                &scripts.master_rx_lower_pri,
                &scripts.any,
            ];
            all.into_iter().flatten().for_each(|command| self.report_unrunnable("notify script", name, command));
        }
        for (id, server) in &self.config.balancer.services {
            let name = id.to_string();
            let own = server.quorum_up.iter().chain(&server.quorum_down);
            own.for_each(|command| self.report_unrunnable("quorum script", &name, command));
            for real in &server.real_servers {
                let own = real.notify_up.iter().chain(&real.notify_down);
                own.for_each(|command| self.report_unrunnable("notify script of a real server", &name, command));
            }
        }
        for command in known_commands(&self.config) {
            self.report_unrunnable("MISC_CHECK", &command.text, &command);
        }
    }

    fn report_unrunnable(&self, what: &str, name: &str, command: &Command) {
        match self.runner.prepare(command) {
            Err(why) => error!("{what} of {name} cannot be run: {why}"),
            Ok(prepared) => {
                if let Some(problem) = self.runner.forbidden(command) {
                    warn!("{what} of {name}: {problem}");
                }
                if let Some(remark) = prepared.remark {
                    warn!("{what} of {name}: {remark}; with enable_script_security it would not be run");
                }
            }
        }
    }
}

/// Takes every address that the configuration, or a former one, could have put on an interface off again: there is no
/// vrrp process, and there will not be one soon.
pub(super) fn sweep(config: &VrrpConfig, former: &FormerAddresses) {
    match sweep::remove_addresses(config, &former.all(), sweep::Which::Configured) {
        Ok(sweep::Swept { failures, .. }) => failures.iter().for_each(|failure| error!("{failure}")),
        Err(error) => error!("addresses of the dead vrrp process may be left: {error}"),
    }
}
