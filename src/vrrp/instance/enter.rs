//! Entering states: each function does all that entering means, and tells the cause.
//!
//! Pure. Nothing else changes the state.

use super::*;

impl Instance {
    /// Becomes master: advert first, then addresses, then announcements (RFC 9568 §6.4.2 (470)–(520)).
    pub fn enter_master(&mut self, turn: &mut Turn<'_>, cause: Cause) {
        let from = self.state.name();
        self.state = State::Master(Master {
            next_advert_at: turn.now + self.config.advert_interval.duration(),
            quiet_until: turn.now,
            garp: GarpSchedule::on_master(turn.now, &self.config.garp),
            losses: Rare::default(),
        });
        self.counters.become_master += 1;
        // An adopted master's peers heard an advert within the interval; a second one at once tells them nothing new,
        // but costs nothing either and shows the wire that we are back.
        self.send_advert(turn, self.health.priority.value());
        self.sync_addresses(turn, &[]);
        self.announce(turn, self.config.garp.repeat);
        self.entered(turn, from, cause);
    }

    /// Becomes backup: no addresses, and the master-down timer runs.
    pub fn enter_backup(&mut self, turn: &mut Turn<'_>, wait: Wait, master: Option<Heard>, cause: Cause) {
        let from = self.leave(turn.now);
        self.state = State::Backup(Backup::new(turn.now, wait, master, self.config.advert_interval));
        self.sync_addresses(turn, &[]);
        self.entered(turn, from, cause);
    }

    /// Leaves mastership because the sync group does, and says so: the other side's member need not wait for silence.
    pub fn release_with_group(&mut self, turn: &mut Turn<'_>, cause: Cause) {
        self.send_advert(turn, 0);
        self.enter_backup(turn, Wait::MasterDown, None, cause);
    }

    /// Goes to FAULT, or stays there with other reasons. A master resigns first, so that the backup need not wait.
    pub fn enter_fault(&mut self, turn: &mut Turn<'_>, reasons: BTreeSet<FaultReason>) {
        if let State::Fault { reasons: old } = &mut self.state {
            if *old != reasons {
                old.clone_from(&reasons);
                self.cause = Cause::Fault { reasons };
            }
            return;
        }
        if self.is_master() {
            self.send_advert(turn, 0);
        }
        let from = self.leave(turn.now);
        self.state = State::Fault { reasons: reasons.clone() };
        self.sync_addresses(turn, &[]);
        self.entered(turn, from, Cause::Fault { reasons });
    }

    /// Gives everything up for good. The instance is not to be used afterwards.
    pub fn enter_end(&mut self, turn: &mut Turn<'_>, to: StateName, cause: Cause) {
        // RFC 9568 §6.4.3 (Shutdown): cancel the timer, send an advert of priority 0.
        if self.is_master() {
            self.send_advert(turn, 0);
        }
        let from = self.leave(turn.now);
        self.state = State::Init;
        self.sync_addresses(turn, &[]);
        // One that never left INIT and becomes another router has nothing to tell.
        if (from, to) != (StateName::Init, StateName::Init) {
            self.emit_state(turn, from, to, cause);
        }
        self.quit_contests(turn);
    }

    pub(super) fn leave(&mut self, now: Instant) -> StateName {
        let from = self.state.name();
        if from == StateName::Master {
            self.counters.release_master += 1;
        }
        self.since = now;
        from
    }

    pub(super) fn entered(&mut self, turn: &mut Turn<'_>, from: StateName, cause: Cause) {
        self.since = turn.now;
        self.cause = cause.clone();
        // A new state is a new beginning for complaints: the operator looks at the log now.
        if let Some(trouble) = self.trouble.get_mut() {
            trouble.told.clear();
            trouble.rivals.clear();
        }
        self.emit_state(turn, from, self.state.name(), cause);
        if from == StateName::Master {
            self.quit_contests(turn);
        }
    }

    pub(super) fn emit_state(&self, turn: &mut Turn<'_>, from: StateName, to: StateName, cause: Cause) {
        turn.effects.push_back(Effect::Emit(Event::StateChanged {
            instance: self.name.to_string(),
            from,
            to,
            priority: self.health.priority.value(),
            cause,
            evidence: self.peers.snapshot(turn.now),
        }));
    }
}
