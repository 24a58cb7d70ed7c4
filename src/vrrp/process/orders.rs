//! What main orders, and the end of it all.
//!
//! Shell: part of the vrrp process's loop.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Owner, Process, STOP_PATIENCE, beat_every, settings, wall_clock};
use crate::vrrp::blackbox::{self, Note};
use crate::vrrp::engine::Input;
use crate::vrrp::message::{FromVrrp, ToVrrp};

impl Process {
    pub(super) fn handle_message(&mut self, now: Instant, message: ToVrrp) {
        if let Some(note) = note_of(&message) {
            self.black_box.note(&note);
        }
        match message {
            // Who gives everything up needs no new settings, and must not install static addresses again.
            ToVrrp::Reconfigure(_) if self.stop_by.is_some() => {}
            ToVrrp::Reconfigure(diff) => {
                let old = self.engine.global().clone();
                let (global_changed, statics) = (diff.global.is_some(), diff.static_addresses.clone());
                self.unsettled += 1;
                self.engine.handle_input(now, Input::Reconfigure(*diff));
                // The effects wait until the new settings are in force.
                let instances = || self.engine.instance_configs().map(|(_, config)| config);
                self.beat_every = beat_every(instances());
                self.promotion.apply(instances(), self.monitor.table());
                if global_changed {
                    let global = self.engine.global();
                    settings::apply(global, &old);
                    settings::lock_memory(global, &old);
                    self.announcer.set_intervals(global.garp_interval, global.gna_interval);
                    self.writer.set_filter(&global.filter);
                }
                if let Some(addresses) = statics {
                    let change = self.statics.replace(addresses, self.monitor.table());
                    self.writer.sync(Owner::Static, change);
                }
                self.settle();
            }
            ToVrrp::Tracker { key, status } => {
                if self.stop_by.is_none() {
                    self.input(now, Input::Tracker { key, status });
                }
            }
            ToVrrp::SnapshotPlease => {
                let mut snapshot = self.engine.snapshot_at(now);
                snapshot.at = wall_clock();
                snapshot.trackers_stale = self.main_watch.stale(now);
                // Not what the kernel refused, or has not put there yet.
                let there: BTreeSet<_> = self.monitor.table().all_addresses().collect();
                for instance in snapshot.instances.values_mut() {
                    instance.held.retain(|address| there.contains(address));
                }
                self.main.push(FromVrrp::Snapshot(Box::new(snapshot)));
            }
            ToVrrp::Failover { request, instance } => {
                let outcome = self.engine.failover(now, &instance);
                self.settle();
                self.listen_for_successors();
                self.main.push(FromVrrp::Failover { request, outcome });
            }
            ToVrrp::Maintenance(on) => {
                if self.stop_by.is_none() {
                    self.input(now, Input::Maintenance(on));
                    self.listen_for_successors();
                }
            }
            ToVrrp::Stop => self.stop(now, Input::Stop),
            ToVrrp::StopAtOnce => self.stop(now, Input::StopAtOnce),
            ToVrrp::Hello { .. } | ToVrrp::Start { .. } => tracing::warn!("main started us twice; ignored"),
        }
    }

    /// `how`: [`Input::Stop`], or [`Input::StopAtOnce`], also after the former.
    pub(super) fn stop(&mut self, now: Instant, how: Input<'_>) {
        self.input(now, how);
        if self.stop_by.is_some() {
            return;
        }
        self.stop_by = Some(now + STOP_PATIENCE);
        let change = self.statics.remove(self.monitor.table());
        self.writer.sync(Owner::Static, change);
        self.listen_for_successors();
    }
}

/// What main's words mean for the black box.
fn note_of(message: &ToVrrp) -> Option<Note> {
    Some(match message {
        ToVrrp::Tracker { key, status } => blackbox::tracker_note(key, *status),
        ToVrrp::Reconfigure(_) => blackbox::command_note("reload"),
        ToVrrp::Failover { instance, .. } => blackbox::command_note(&format!("failover {instance}")),
        ToVrrp::Maintenance(true) => blackbox::command_note("maintenance on"),
        ToVrrp::Maintenance(false) => blackbox::command_note("maintenance off"),
        ToVrrp::Stop => blackbox::command_note("stop"),
        ToVrrp::StopAtOnce => blackbox::command_note("stop at once"),
        ToVrrp::SnapshotPlease | ToVrrp::Hello { .. } | ToVrrp::Start { .. } => return None,
    })
}
