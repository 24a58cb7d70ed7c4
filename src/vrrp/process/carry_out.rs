//! What the engine wants done: adverts, addresses, announcements, sockets, words to main.
//!
//! Shell: part of the vrrp process's loop.

use std::io;
use std::time::Instant;

use super::{Process, WRITES_PER_TURN, wall_clock};
use crate::net::addresses::Written;
use crate::net::heard::AnnouncementListener;
use crate::net::write_queue::{Announcement, Change, Owner};
use crate::vrrp::engine::{Effect, Input, Transmit};
use crate::vrrp::event::{Event, StateName};
use crate::vrrp::log::log_event;

impl Process {
    /// Carries out all effects, in order. The flight recorder is first: one that is killed between an advert and its record
    /// would leave its successor to wait, with its peers, for a master that nobody is.
    pub(super) fn settle(&mut self) {
        self.record_flight();
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::SendAdvert { transmit, .. } => self.send(&transmit),
                Effect::SyncAddresses { instance, generation, present, absent } => {
                    let held = |interface, address| {
                        present.iter().any(|b| b.interface == interface && b.config.address == address)
                    };
                    self.announcer.retain(instance, held);
                    self.writer.sync(Owner::Instance(instance), Change { generation, present, absent });
                }
                Effect::Announce { instance, addresses, repeat, .. } => {
                    self.writer.announce(Announcement { instance, addresses, repeat });
                }
                Effect::StopAnnouncing { instance } => {
                    self.announcer.retain(instance, |_, _| false);
                    self.writer.forget_announcement(instance);
                }
                Effect::SyncSockets { desired } => self.sockets.sync(desired, self.monitor.table(), &self.readiness),
                Effect::Emit(event) => self.emit(event),
            }
        }
    }

    /// An advert that a full queue refused is tried once more; the next comes in an interval anyway.
    pub(super) fn send(&mut self, transmit: &Transmit) {
        self.black_box.sent(transmit);
        if let Err(e) = self.sockets.send(transmit)
            && matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::EINTR))
        {
            let _ = self.sockets.send(transmit);
        }
    }

    /// Without these ears a second master shows itself by its adverts only.
    pub(super) fn listen_for_claims(&mut self) {
        if self.claims.is_some() {
            return;
        }
        match AnnouncementListener::open_for_claims() {
            Ok(claims) => {
                if let Err(e) = self.readiness.add(&claims) {
                    tracing::debug!("listening for others' ARP: {e}");
                }
                self.claims = Some(claims);
            }
            Err(e) => tracing::debug!("cannot listen for others' ARP: {e}"),
        }
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.black_box.event(&event);
        if matches!(event, Event::StateChanged { to: StateName::Master, .. }) {
            self.listen_for_claims();
        }
        if self.main.is_gone() {
            // Nobody else is left to tell.
            log_event(&event);
            return;
        }
        self.main.event(event, wall_clock());
    }

    /// The kernel tells of an address before it answers that it is there: its news are read before the answer is handed on.
    pub(super) fn write_addresses(&mut self, now: Instant) -> io::Result<()> {
        for _ in 0..WRITES_PER_TURN {
            for written in self.writer.advance(self.monitor.table())? {
                match written {
                    Written::Announce(announcement) => self.announcer.push(&announcement),
                    Written::Synced { owner: Owner::Instance(instance), generation, failures } => {
                        self.synced.push((instance, generation, failures));
                    }
                    Written::Synced { owner: Owner::Static, failures, .. } => {
                        for failure in failures {
                            tracing::warn!("static address: {failure}");
                        }
                    }
                    Written::Synced { owner: Owner::Former, failures, .. } => {
                        for failure in failures {
                            tracing::warn!("address of a former configuration: {failure}");
                        }
                    }
                }
            }
            if !self.writer.wants_turn() {
                break;
            }
        }
        if !self.synced.is_empty() {
            let changes = self.monitor.drain()?;
            self.links_changed(now, changes);
            if self.monitor.is_current() {
                for (instance, generation, failures) in std::mem::take(&mut self.synced) {
                    self.input(now, Input::AddressesSynced { instance, generation, failures });
                }
            }
        }
        Ok(())
    }

    /// Opens our ears while some address waits for a successor. Without them we linger for the longest time.
    pub(super) fn listen_for_successors(&mut self) {
        if self.engine.listens_to_announcements().is_empty() {
            self.listener = None;
            return;
        }
        if self.listener.is_some() {
            return;
        }
        match AnnouncementListener::open() {
            Ok(listener) => {
                if let Err(e) = self.readiness.add(&listener) {
                    tracing::debug!("listening for the successor's announcements: {e}");
                }
                self.listener = Some(listener);
            }
            Err(e) => tracing::warn!("cannot listen for the successor's announcements: {e}"),
        }
    }
}
