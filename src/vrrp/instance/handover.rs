//! Make before break: a master that stops, or hands over on command, keeps each address until its successor has it.
//!
//! Pure. One that stops is [`State::Leaving`] and ends with the hand-over; one that was commanded is a backup at once, and
//! the hand-over is a part of that ([`Backup::handover`]).

use super::*;
use crate::vrrp::timing;

/// Whoever handed over on command lets a worse master alone for so many master-down intervals after its first advert.
const HOLD: u32 = 3;

impl Instance {
    /// Whether it was told to stop and still holds addresses.
    pub fn is_leaving(&self) -> bool {
        matches!(self.state, State::Leaving(_))
    }

    /// The hand-over under way, if there is one.
    pub fn handover(&self) -> Option<&Leaving> {
        match &self.state {
            State::Leaving(leaving) => Some(leaving),
            State::Backup(backup) => backup.handover.as_deref(),
            State::Init | State::Fault { .. } | State::Master(_) => None,
        }
    }

    fn handover_mut(&mut self) -> Option<&mut Leaving> {
        match &mut self.state {
            State::Leaving(leaving) => Some(leaving),
            State::Backup(backup) => backup.handover.as_deref_mut(),
            State::Init | State::Fault { .. } | State::Master(_) => None,
        }
    }

    /// The links of the addresses that wait for a successor.
    pub fn lingering_links(&self) -> impl Iterator<Item = IfIndex> + '_ {
        self.binding.addresses.iter().filter(|_| self.handover().is_some()).map(|address| address.interface)
    }

    /// Stops: a master resigns and lingers until its successor has the addresses, others end at once.
    pub fn enter_leaving(&mut self, turn: &mut Turn<'_>) {
        let under_way = self.handover().cloned();
        if under_way.is_none() && (!self.is_master() || self.binding.addresses.is_empty()) {
            return self.enter_end(turn, StateName::Stop, Cause::Stopping);
        }
        let leaving = match under_way {
            Some(leaving) => leaving,
            None => self.resign(turn),
        };
        let from = self.leave(turn.now);
        self.state = State::Leaving(leaving);
        self.entered(turn, from, Cause::Stopping);
    }

    /// Hands mastership over on command and is backup from now on. It does not contend until somebody else is master, and
    /// leaves that one alone for a while.
    pub fn enter_handover(&mut self, turn: &mut Turn<'_>, cause: Cause) {
        let handover = self.resign(turn);
        let from = self.leave(turn.now);
        let interval = self.config.advert_interval;
        let mut backup = Backup::new(turn.now, Wait::MasterDown, None, interval);
        let down =
            timing::master_down(self.config.version, self.health.priority, interval, self.config.down_timer_adverts);
        backup.hold = down * HOLD;
        backup.handover = (!self.binding.addresses.is_empty()).then(|| Box::new(handover));
        self.state = State::Backup(backup);
        self.entered(turn, from, cause);
    }

    fn resign(&mut self, turn: &mut Turn<'_>) -> Leaving {
        // An address that is about to be put back is wanted until the successor has it, like the others.
        if matches!(&self.state, State::Master(master) if master.losses.restore_at.is_some()) {
            self.sync_addresses(turn, &[]);
        }
        self.send_advert(turn, 0);
        turn.effects.push_back(Effect::StopAnnouncing { instance: self.id });
        Leaving::new(turn.now, self.config.advert_interval)
    }

    /// The end of a hand-over: no address is left.
    pub fn release_lingering(&mut self, turn: &mut Turn<'_>) {
        match &mut self.state {
            State::Leaving(_) => self.state = State::Init,
            State::Backup(backup) if backup.handover.is_some() => backup.handover = None,
            State::Backup(_) | State::Init | State::Fault { .. } | State::Master(_) => return,
        }
        self.sync_addresses(turn, &[]);
    }

    /// Judges the deadlines of a hand-over.
    pub(super) fn on_timeout_of_handover(&mut self, turn: &mut Turn<'_>) {
        let Some(handover) = self.handover_mut() else { return };
        if handover.repeat_at.take_if(|at| *at <= turn.now).is_some() {
            self.send_advert(turn, 0);
        }
        if self.handover().is_some_and(|handover| handover.until <= turn.now) {
            self.release_lingering(turn);
        }
    }

    /// Another router advertises.
    pub(super) fn on_successor(&mut self, at: Instant, heard: Heard) {
        if let Some(handover) = self.handover_mut().filter(|_| heard.priority > 0) {
            handover.on_successor(at, heard);
        }
    }

    /// Another host announced an address.
    pub fn on_announced(
        &mut self,
        turn: &mut Turn<'_>,
        interface: IfIndex,
        address: IpAddr,
        hardware: Option<[u8; 6]>,
    ) {
        let ours = self.binding.addresses.iter().any(|a| (a.interface, a.config.address) == (interface, address));
        if let Some(hardware) = hardware.filter(|_| ours && self.is_master()) {
            self.on_claim(turn, address, hardware);
        }
        let count = self.binding.addresses.len();
        let Some(handover) = self.handover_mut() else { return };
        if !ours || !handover.released.insert((interface, address)) {
            return;
        }
        let all = handover.released.len() >= count;
        if all { self.release_lingering(turn) } else { self.sync_addresses(turn, &[]) }
    }

    /// Takes no part in elections from now on, or does again: a master hands over, a backup waits for nobody's silence.
    pub fn set_maintenance(&mut self, turn: &mut Turn<'_>, on: bool) {
        if std::mem::replace(&mut self.maintenance, on) == on {
            return;
        }
        if self.is_master() {
            return self.enter_handover(turn, Cause::Maintenance);
        }
        if let State::Backup(backup) = &mut self.state {
            // What it waited for before is of no account: it begins to listen.
            backup.timer = DownTimer::Running { since: turn.now, wait: Wait::MasterDown };
            backup.is_new = true;
            backup.hold = Duration::ZERO;
        }
    }
}
