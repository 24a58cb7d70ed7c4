//! What an instance asks of its shell: adverts, addresses, announcements, words for people.
//!
//! Pure.

use super::*;
use crate::vrrp::config::AddressConfig;

impl Instance {
    /// One advert to the group or to each peer.
    pub(super) fn send_advert(&mut self, turn: &mut Turn<'_>, priority: u8) {
        let (Some(socket), Some(source)) = (self.binding.socket, self.binding.source) else { return };
        self.counters.advert_sent += 1;
        if priority == 0 {
            self.counters.pri_zero_sent += 1;
        }
        let advert = Advert {
            version: self.config.version,
            vrid: self.config.vrid,
            priority,
            interval: self.config.advert_interval,
            addresses: &self.advertised,
            auth: &self.config.auth,
        };
        let plain = self.config.v3_checksum_as_v2;
        let mut send = |destination, ttl| {
            let pdu = packet::encode(&advert, source, destination, plain);
            let transmit = Transmit { socket, source, destination, ttl, pdu };
            turn.effects.push_back(Effect::SendAdvert { instance: self.id, transmit });
        };
        match &self.config.transport {
            // RFC 9568 §5.1.1.3: TTL 255.
            Transport::Multicast { group } => send(*group, Some(255)),
            Transport::Unicast { peers, ttl, .. } => {
                // keepalived: IPv4 255, IPv6 as the kernel has it, unless `unicast_ttl` says otherwise.
                let ttl = ttl.or((self.config.family == Family::V4).then_some(255));
                peers.iter().for_each(|peer| send(peer.address, ttl));
            }
        }
    }

    /// Says what the kernel should have: all addresses as master, none otherwise; and none of `former` in any case.
    pub(super) fn sync_addresses(&mut self, turn: &mut Turn<'_>, former: &[BoundAddress]) {
        self.generation += 1;
        let lingers = |address: &BoundAddress| {
            let key = (address.interface, address.config.address);
            self.handover().is_some_and(|handover| !handover.released.contains(&key))
        };
        // A thousand of these wait at a takeover: none has more room than it needs.
        let all = &self.binding.addresses;
        let wanted = |address: &&BoundAddress| self.is_master() || lingers(address);
        let count = all.iter().filter(wanted).count();
        let mut present = Vec::with_capacity(count);
        present.extend(all.iter().filter(wanted).cloned());
        let mut absent = Vec::with_capacity(all.len() - count + former.len());
        absent.extend(all.iter().filter(|address| !wanted(address)).cloned());
        let stays = |gone: &BoundAddress| {
            present.iter().any(|p| (p.interface, p.config.address) == (gone.interface, gone.config.address))
        };
        absent.extend(former.iter().filter(|gone| !stays(gone)).cloned());
        absent.retain(|gone| {
            let key = (gone.interface, gone.config.address);
            let held_by_another = turn.holders.get(&key).is_some_and(|holder| *holder != self.id);
            if !held_by_another {
                turn.holders.remove(&key);
            }
            !held_by_another
        });
        for address in &present {
            turn.holders.insert((address.interface, address.config.address), self.id);
        }
        turn.effects.push_back(Effect::SyncAddresses {
            instance: self.id,
            generation: self.generation,
            present,
            absent,
        });
        self.tell_waiting(turn);
    }

    /// A master that lacks an address because its interface is not there is silent about that otherwise. Told once. Of the
    /// instance's own interface FAULT tells.
    fn tell_waiting(&mut self, turn: &mut Turn<'_>) {
        let bound = &self.binding.addresses;
        if !self.is_master() || bound.len() == self.config.all_addresses().count() {
            if let Some(trouble) = self.trouble.get_mut() {
                trouble.waiting.clear();
            }
            return;
        }
        let is_bound = |address: &AddressConfig| bound.iter().any(|bound| bound.config == *address);
        let mut waiting = Vec::new();
        for address in self.config.all_addresses().filter(|address| !is_bound(address)) {
            let other = address.options.device.as_ref().filter(|device| self.config.interface.as_ref() != Some(device));
            let Some(interface) = other else { continue };
            waiting.push(address.address);
            if !self.trouble.waiting.contains(&address.address) {
                let (ip, length) = (address.address, address.prefix_len);
                let message = format!("{ip}/{length} is not put on: interface {interface} does not exist");
                turn.effects.push_back(Effect::Emit(Event::AddressFailed { instance: self.name.to_string(), message }));
            }
        }
        self.trouble.waiting = waiting;
    }

    pub(super) fn announce(&mut self, turn: &mut Turn<'_>, repeat: u32) {
        let all = self.binding.addresses.iter().map(|address| (address.interface, address.config.address)).collect();
        self.announce_these(turn, all, repeat);
    }

    pub(super) fn announce_these(&mut self, turn: &mut Turn<'_>, addresses: Vec<(IfIndex, IpAddr)>, repeat: u32) {
        if addresses.is_empty() || repeat == 0 {
            return;
        }
        let packets = u64::try_from(addresses.len()).unwrap_or(u64::MAX).saturating_mul(u64::from(repeat));
        self.counters.announcements = self.counters.announcements.saturating_add(packets);
        turn.effects.push_back(Effect::Announce { instance: self.id, generation: self.generation, addresses, repeat });
    }

    /// Tells a flaw of a peer once, until that peer's adverts are good again, and at most once a minute.
    pub(super) fn tell_flaw(&mut self, turn: &mut Turn<'_>, peer: IpAddr, error: AdvertError, heard: bool) {
        error.count(self.misdeeds.get_or_insert_default());
        let known = (peer, error.kind());
        let told = &mut self.trouble.told;
        if told.contains_key(&known) || told.len() >= MAX_TOLD_FLAWS {
            return;
        }
        told.insert(known, turn.now);
        let instance = Some(self.name.to_string());
        turn.effects.push_back(Effect::Emit(Event::AdvertFlawed { instance, peer, error, heard }));
    }

    /// A peer's advert was good. Its flaws are told again when they come back, but not every moment: somebody may be
    /// forging its address between its own adverts.
    pub(super) fn forget_flaws(&mut self, now: Instant, peer: IpAddr) {
        if let Some(trouble) = self.trouble.get_mut() {
            trouble.told.retain(|(source, _), at| *source != peer || now.saturating_duration_since(*at) < TOLD_AGAIN);
        }
    }

    pub(super) fn tell_late(&mut self, turn: &mut Turn<'_>, late: Duration) {
        if late > self.config.advert_interval.duration() {
            self.misdeeds.get_or_insert_default().timer_late += 1;
            turn.effects.push_back(Effect::Emit(Event::TimerLate { instance: self.name.to_string(), by: late }));
        }
    }

    /// As many of the configured addresses as one packet can carry.
    pub(super) fn fitting_addresses(&self) -> Vec<IpAddr> {
        let capacity = packet::capacity(self.config.version, self.config.family, self.binding.mtu);
        self.config.addresses.iter().take(capacity).map(|address| address.address).collect()
    }
}
