//! What each input means: who is concerned, and what they are told.
//!
//! Pure.

use super::*;
use crate::vrrp::peers::{Noted, PeerNews};

/// How long after its answer the kernel may tell of an IPv6 address that is there: it does so from a queue of its own, after
/// what else waits there. Of an IPv4 address it tells before it answers.
const UNTOLD: Duration = Duration::from_secs(5);

impl VrrpEngine {
    pub(super) fn on_packet(&mut self, now: Instant, received: &Received<'_>) {
        let Some(vrid) = packet::peek_vrid(received.pdu) else {
            self.on_unknown_vrid(received, received.pdu.get(1).copied().unwrap_or(0));
            return;
        };
        self.surveys.hear(received.socket, vrid);
        let of = |id| (received.socket, vrid, InstanceId(id));
        let mut listeners = self.listeners.range(of(0)..=of(u32::MAX)).map(|(.., id)| *id);
        let Some(first) = listeners.next() else {
            self.on_unknown_vrid(received, vrid.value());
            return;
        };
        let meant = |id: &InstanceId| self.instances.get(id).is_some_and(|instance| is_meant(instance, received));
        // Where none is meant the first one counts the misdeed.
        let id = if meant(&first) { first } else { listeners.find(meant).unwrap_or(first) };
        let act = |instance: &mut Instance, turn: &mut Turn<'_>| {
            (instance.on_packet(turn, received), instance.group.is_some())
        };
        let Some((verdict, is_grouped)) = self.with(now, id, act) else { return };
        if let Some(verdict) = verdict {
            let Noted { late, is_news } = verdict.noted;
            self.verdict = Some(AdvertVerdict { instance: id, refused: verdict.refused, late, is_news });
            if let Some(PeerNews::Stranger { peer, addresses }) = verdict.stranger {
                self.begin_survey(now, received.socket, vrids::Clash { instance: id, peer, addresses });
            }
        }
        if is_grouped && self.phase == Phase::Running {
            self.settle_groups_of(now, &[id], &Cause::Started);
        }
    }

    pub(super) fn on_adverts_lost(&mut self, now: Instant, socket: SocketKey) {
        for id in self.all_ids() {
            self.with(now, id, |instance, turn| {
                if instance.binding.socket == Some(socket) {
                    instance.on_adverts_lost(turn);
                }
            });
        }
    }

    pub(super) fn on_unknown_vrid(&mut self, received: &Received<'_>, vrid: u8) {
        self.unknown_vrid += 1;
        if !self.shared.global.log_unknown_vrids
            || self.unknown_told.len() >= MAX_UNKNOWN_TOLD
            || !self.unknown_told.insert((received.source, vrid))
        {
            return;
        }
        let error = AdvertError::UnknownVrid { vrid };
        self.effects.push_back(Effect::Emit(Event::AdvertFlawed {
            instance: None,
            peer: received.source,
            error,
            heard: false,
        }));
    }

    /// What of a link matters to the engine: all but the virtual addresses on it.
    pub(super) fn essence(&self, link: &Link) -> Link {
        let mut link = link.clone();
        link.addresses.retain(|address| !self.virtual_addresses.contains(&address.address));
        link
    }

    /// Takes links in, and then draws the conclusions for all instances, once.
    pub(super) fn on_link_news(&mut self, now: Instant, news: Vec<LinkNews>) {
        let (mut names, mut gone, mut in_doubt) = (Vec::new(), Vec::new(), BTreeSet::new());
        for news in news {
            match news {
                LinkNews::Present(link) => {
                    let (name, index, after) = (link.name.clone(), link.index, self.essence(&link));
                    let present: BTreeSet<IpAddr> = link.addresses.iter().map(|a| a.address).collect();
                    let old = self.links.set(link);
                    let before = old.as_ref().map(|old| self.essence(old));
                    // Virtual addresses that come and go are our own doing, a thousand times over at a takeover.
                    if before.as_ref() != Some(&after) {
                        // A link that was renamed is gone under its old name.
                        names.extend(before.map(|old| old.name).filter(|old| *old != name));
                        names.push(name);
                    }
                    let Some(old) = old else { continue };
                    let lost = old.addresses.iter().map(|a| a.address).filter(|a| !present.contains(a));
                    gone.push((index, lost.collect()));
                    // Or another MAC address, of which nobody knows.
                    if (!old.is_usable() || old.hardware != after.hardware) && after.is_usable() {
                        in_doubt.insert(index);
                    }
                }
                LinkNews::Gone(index) => names.extend(self.links.remove(index).map(|link| link.name)),
            }
        }
        self.on_links(now, names);
        for (index, addresses) in gone {
            self.on_addresses_gone(now, index, addresses);
        }
        self.on_carrier(now, &in_doubt);
    }

    fn on_links(&mut self, now: Instant, names: Vec<String>) {
        let mut causes = Vec::new();
        for name in names {
            let key = TrackerKey::Interface(name);
            let status = self.links.tracker_status(&key).unwrap_or(TrackerStatus::Down);
            // Containers' links come and go by the thousand: only those that somebody tracks are kept.
            let tracked = self.tracks.knows(&key);
            if tracked {
                self.tracks.set(key.clone(), status);
            }
            causes.push((tracked, Cause::Tracker { tracker: key, status }));
        }
        let Some((_, last)) = causes.last().cloned() else { return };
        self.rebind(now);
        // Who tracks one of several hears of that one.
        if causes.len() > 1 {
            for (_, cause) in causes.iter().filter(|(tracked, _)| *tracked) {
                let Cause::Tracker { tracker, .. } = cause else { continue };
                self.review(now, cause, |config| config.tracks.iter().any(|track| track.tracker == *tracker));
            }
        }
        self.review(now, &last, |_| true);
    }

    pub(super) fn on_synced(&mut self, now: Instant, id: InstanceId, generation: u64, failures: Vec<String>) {
        let held = self.instances.get_mut(&id).map(|instance| instance.on_synced(generation)).unwrap_or_default();
        // One that was removed again before we heard that it is there shows itself only by its absence.
        for (link, address) in held.into_iter().filter(|_| failures.is_empty()) {
            match address {
                _ if self.links.has_address(link, address) => {}
                IpAddr::V4(_) => self.on_addresses_gone(now, link, vec![address]),
                IpAddr::V6(_) => drop(self.unseen.insert((link, address), now + UNTOLD)),
            }
        }
        let present = self.instances.get(&id).map(|instance| instance.name.clone());
        let Some(name) = present.or_else(|| self.leaving.get(&id).map(|(name, _)| name.clone())) else { return };
        if self.leaving.get(&id).is_some_and(|(_, last)| *last <= generation) {
            self.leaving.remove(&id);
        }
        for message in failures {
            self.effects.push_back(Effect::Emit(Event::AddressFailed { instance: name.to_string(), message }));
        }
    }

    /// Judges the IPv6 addresses of which the kernel has said for long enough only that they are there.
    pub(super) fn look_for_unseen(&mut self, now: Instant) {
        let due: Vec<_> = self.unseen.extract_if(.., |_, at| *at <= now).map(|(key, _)| key).collect();
        for (link, address) in due {
            if !self.links.has_address(link, address) {
                self.on_addresses_gone(now, link, vec![address]);
            }
        }
    }

    /// Somebody removed addresses from a link.
    pub(super) fn on_addresses_gone(&mut self, now: Instant, link: IfIndex, gone: Vec<IpAddr>) {
        for address in gone {
            if let Some(holder) = self.holders.get(&(link, address)).copied() {
                self.with(now, holder, |instance, turn| instance.on_address_gone(turn, link, address));
            }
        }
    }

    /// Another host announced an address. It matters to who has handed it over, and to its master.
    pub(super) fn on_announced(&mut self, now: Instant, link: IfIndex, address: IpAddr, hardware: Option<[u8; 6]>) {
        // Our own, come back by way of a bridge or a bond.
        let ours = |mac: &[u8; 6]| self.links.iter().any(|link| link.hardware == *mac);
        if hardware.as_ref().is_some_and(ours) {
            return;
        }
        // Who handed an address over holds it until its successor has it.
        if let Some(holder) = self.holders.get(&(link, address)).copied() {
            self.with(now, holder, |instance, turn| instance.on_announced(turn, link, address, hardware));
        }
    }

    /// Cables were plugged in: what was announced before may have reached nobody.
    pub(super) fn on_carrier(&mut self, now: Instant, links: &BTreeSet<IfIndex>) {
        if links.is_empty() {
            return;
        }
        for id in self.all_ids() {
            self.with(now, id, |instance, turn| instance.on_carrier(turn, links));
        }
    }

    pub(super) fn stop(&mut self, now: Instant, at_once: bool) {
        for id in self.all_ids() {
            self.with(now, id, |instance, turn| {
                if at_once {
                    instance.enter_end(turn, StateName::Stop, Cause::Stopping);
                } else {
                    instance.enter_leaving(turn);
                }
            });
        }
        for group in self.groups.keys() {
            let (group, to) = (group.to_string(), StateName::Stop);
            self.effects.push_back(Effect::Emit(Event::GroupChanged { group, to, cause: Cause::Stopping }));
        }
        self.phase = Phase::Stopping;
        self.stop_when_all_left();
    }

    pub(super) fn stop_when_all_left(&mut self) {
        if !self.instances.values().any(|instance| instance.is_leaving()) {
            self.phase = Phase::Stopped;
        }
    }
}

/// Whether a packet is meant for this one of several instances with the same VRID on one socket.
fn is_meant(instance: &Instance, received: &Received<'_>) -> bool {
    match &instance.config.transport {
        Transport::Multicast { group } => *group == received.destination,
        Transport::Unicast { peers, .. } => peers.iter().any(|peer| peer.address == received.source),
    }
}
