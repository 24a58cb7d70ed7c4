//! What an advert does to an instance: in each state, RFC 9568 §6.4 and RFC 3768 §6.4.
//!
//! Pure. Whether it is heard at all is decided by [`crate::vrrp::accept`].

use super::*;
use crate::vrrp::timing;

impl Instance {
    /// A packet for its VRID came from its socket. `None`: it is no business of this router yet, or it is its own.
    pub fn on_packet(&mut self, turn: &mut Turn<'_>, received: &Received<'_>) -> Option<Verdict> {
        // RFC 9568 §6.4.1: nothing is heard before start-up.
        if matches!(self.state, State::Init) {
            return None;
        }
        self.notice_stall(turn);
        let situation = Situation {
            config: &self.config,
            source: self.binding.source,
            master: match &self.state {
                State::Backup(backup) => backup.master.map(|master| master.address),
                State::Init | State::Fault { .. } | State::Master(_) | State::Leaving(_) => None,
            },
            advertised: &self.advertised,
        };
        let checked = accept::check(situation, received);
        let sight = self.note_peer(turn.now, received, checked.as_ref().err());
        // In FAULT we could not act on it.
        if matches!(self.state, State::Fault { .. }) {
            return sight.map(|sight| sight.verdict);
        }
        match checked {
            Ok(accepted) => {
                match accepted.flaw {
                    Some(flaw) => self.tell_flaw(turn, received.source, flaw, true),
                    None => self.forget_flaws(turn.now, received.source),
                }
                self.on_advert(turn, accepted.heard, received.at.min(turn.now));
            }
            Err(error) => self.tell_flaw(turn, received.source, error, false),
        }
        let rivals::Sight { verdict, news } = sight?;
        self.tell_peers(turn, news);
        Some(verdict)
    }

    /// A master that hears somebody when its own advert has been due for longer than an interval was held up. It is told
    /// here, because our answer sets that timer anew; and who was master meanwhile had every right to be.
    fn notice_stall(&mut self, turn: &mut Turn<'_>) {
        let State::Master(master) = &mut self.state else { return };
        let late = turn.now.saturating_duration_since(master.next_advert_at);
        if late > self.config.advert_interval.duration() {
            master.next_advert_at = turn.now;
            self.peers.begin_contests_anew();
            self.tell_late(turn, late);
        }
    }

    /// Adverts came and found no room. A backup does not take silence for granted then: it waits once more, but only once,
    /// lest a flood keep it from ever taking over.
    pub fn on_adverts_lost(&mut self, turn: &mut Turn<'_>) {
        let State::Backup(backup) = &mut self.state else { return };
        if let DownTimer::Running { since, wait: Wait::MasterDown | Wait::InitialMaster } = &mut backup.timer
            && !std::mem::replace(&mut backup.excused, true)
        {
            *since = turn.now;
            backup.is_new = true;
            self.tell_loss(turn);
        }
    }

    /// A flood goes on for as long as it likes, with good adverts between: people are told of it once a minute.
    fn tell_loss(&mut self, turn: &mut Turn<'_>) {
        let told_lately = |at: &Instant| turn.now.saturating_duration_since(*at) < TOLD_AGAIN;
        if self.trouble.told.get(&ADVERTS_LOST).is_some_and(told_lately) {
            return;
        }
        self.trouble.told.insert(ADVERTS_LOST, turn.now);
        turn.effects.push_back(Effect::Emit(Event::Warning {
            instance: self.name.to_string(),
            message: "adverts were lost for want of room in the socket: waiting once more for the master".to_owned(),
        }));
    }

    /// An advert that passed all checks. `at`: when it came; deadlines start from there, however late we hear of it.
    fn on_advert(&mut self, turn: &mut Turn<'_>, heard: Heard, at: Instant) {
        self.counters.advert_rcvd += 1;
        self.has_heard_others = true;
        if heard.priority == 0 {
            self.counters.pri_zero_rcvd += 1;
        }
        self.on_successor(at, heard);
        match &self.state {
            State::Init | State::Fault { .. } | State::Leaving(_) => {}
            State::Backup(_) => self.on_advert_as_backup(at, heard),
            State::Master(_) => self.on_advert_as_master(turn, heard, at),
        }
    }

    /// RFC 9568 §6.4.2 (430)–(460), RFC 3768 §6.4.2.
    fn on_advert_as_backup(&mut self, at: Instant, heard: Heard) {
        let priority = self.health.priority;
        let deadline = match &self.state {
            State::Backup(backup) => backup.deadline(&self.config, priority),
            State::Init | State::Fault { .. } | State::Master(_) | State::Leaving(_) => None,
        };
        let (preempt, preempt_delay) = (self.config.preempt, self.config.preempt_delay);
        let skew = timing::skew(self.config.version, priority, heard.interval);
        let State::Backup(backup) = &mut self.state else { return };
        if heard.priority == 0 {
            // "If the Priority is zero, set the timer to Skew_Time." Not if it is due sooner: a repeated, or forged,
            // resignation must not put the takeover off.
            let sooner = deadline.is_some_and(|deadline| deadline <= at + skew);
            let expired = matches!(backup.timer, DownTimer::Expired { .. });
            if !sooner && !expired {
                backup.master_adver_interval = heard.interval;
                backup.timer = DownTimer::Running { since: at, wait: Wait::Skew };
                backup.is_new = false;
            }
            backup.master = Some(heard);
            if backup.rejected().is_some_and(|rejected| rejected.address == heard.address) {
                backup.rejected = None;
            }
            return;
        }
        let delay = preempt_delay.max(backup.hold);
        if heard.priority >= priority.value() {
            backup.preempt_at = None;
        } else if preempt && !delay.is_zero() && backup.preempt_at.is_none() {
            // keepalived: the clock of preempt_delay starts at the first lower-priority advert.
            backup.preempt_at = Some(at + delay);
        }
        let delayed = backup.preempt_at.is_some_and(|end| at < end);
        if !preempt || heard.priority >= priority.value() || delayed {
            backup.timer = DownTimer::Running { since: at, wait: Wait::MasterDown };
            backup.excused = false;
            backup.is_new = false;
            backup.master_adver_interval = heard.interval;
            backup.master = Some(heard);
            backup.rejected = None;
        } else {
            // "else discard the Advertisement": the timer runs on, and we preempt when it expires.
            backup.rejected = Some(Box::new((heard, at)));
        }
    }

    /// An advert that was discarded may be one to follow now: our priority fell, or a reload took preemption away. Its
    /// master would be silenced for nothing if the timer ran on.
    pub(super) fn reconsider_rejected(&mut self) {
        let (preempt, ours) = (self.config.preempt, self.health.priority.value());
        let State::Backup(backup) = &mut self.state else { return };
        let Some((heard, since)) = backup.rejected.as_deref().copied() else { return };
        if !preempt || heard.priority >= ours {
            backup.timer = DownTimer::Running { since, wait: Wait::MasterDown };
            backup.is_new = false;
            backup.master_adver_interval = heard.interval;
            backup.master = Some(heard);
            backup.rejected = None;
            backup.preempt_at = None;
        }
    }

    /// RFC 9568 §6.4.3 (700)–(770), RFC 3768 §6.4.3.
    fn on_advert_as_master(&mut self, turn: &mut Turn<'_>, heard: Heard, at: Instant) {
        let ours = self.health.priority.value();
        if heard.priority == ours && self.health.priority.is_owner() {
            self.tell_second_owner(turn, heard.address);
        }
        if heard.priority == 0 {
            // "If the Priority is zero: send an Advertisement, reset the Adver_Timer." And only a master resigns: it may
            // have told clients that the addresses are there, in a partition or while we were stalled.
            self.assert_mastership(turn);
            self.announce_again(turn);
        } else if heard.priority > ours
            || (heard.priority == ours && self.binding.source.is_some_and(|source| heard.address > source))
        {
            // One last advert tells the winner of the contest, so that it announces its addresses again: behind a switch
            // port that began to forward late its announcements were lost, and it never heard of us. Strict routers say
            // nothing here, as the RFC has it.
            if self.config.higher_prio_send_advert || !self.config.strict {
                self.send_advert(turn, ours);
            }
            self.enter_backup(turn, Wait::MasterDown, Some(heard), Cause::BetterMaster { master: heard, ours });
            if let State::Backup(Backup { timer: DownTimer::Running { since, .. }, .. }) = &mut self.state {
                *since = at;
            }
        } else {
            self.on_lower_priority(turn, heard);
        }
    }

    /// Two owners settle it by their addresses like others, but one of the files is wrong (keepalived: a rogue owner).
    fn tell_second_owner(&mut self, turn: &mut Turn<'_>, peer: IpAddr) {
        if !self.is_news_of_rival(turn.now, peer) {
            return;
        }
        // It is news for the line about a worse master as well.
        if let Some(trouble) = self.trouble.get_mut() {
            trouble.rivals.remove(&peer);
        }
        turn.effects.push_back(Effect::Emit(Event::Warning {
            instance: self.name.to_string(),
            message: format!(
                "{peer} has priority 255 too: only one router can own the addresses, the other needs less"
            ),
        }));
    }

    /// RFC 9568 §6.4.3: "discard the Advertisement, send an Advertisement immediately to assert the state to the
    /// sending router and to update any learning bridges".
    fn on_lower_priority(&mut self, turn: &mut Turn<'_>, heard: Heard) {
        if !self.config.lower_prio_no_advert {
            self.assert_mastership(turn);
        }
        self.announce_again(turn);
        if self.is_news_of_rival(turn.now, heard.address) {
            turn.effects.push_back(Effect::Emit(Event::LowerPriorityAdvert {
                instance: self.name.to_string(),
                peer: heard.address,
                priority: heard.priority,
                ours: self.health.priority.value(),
            }));
        }
    }

    /// Whether a worse master is a new one, or was not heard for a while: people are told of each contest once.
    fn is_news_of_rival(&mut self, now: Instant, address: IpAddr) -> bool {
        let over = |heard: &Instant| now.saturating_duration_since(*heard) > RIVAL_FORGOTTEN;
        let rivals = &mut self.trouble.rivals;
        if rivals.len() >= MAX_TOLD_FLAWS && !rivals.contains_key(&address) {
            rivals.retain(|_, heard| !over(heard));
        }
        if rivals.len() >= MAX_TOLD_FLAWS && !rivals.contains_key(&address) {
            return false;
        }
        rivals.insert(address, now).is_none_or(|heard| over(&heard))
    }

    /// Clients may have heard another master: now, and once more later.
    fn announce_again(&mut self, turn: &mut Turn<'_>) {
        let repeat = if self.config.strict { 0 } else { self.config.garp.lower_prio_repeat };
        if repeat > 0 {
            self.announce_in_doubt(turn, repeat);
            let garp = *self.config.garp;
            if let State::Master(master) = &mut self.state {
                master.garp.on_lower_priority(turn.now, &garp);
            }
        }
    }

    /// Announces, or does so a little later if others gave reason for it a moment ago.
    pub(super) fn announce_in_doubt(&mut self, turn: &mut Turn<'_>, repeat: u32) {
        let State::Master(master) = &mut self.state else { return };
        let now = master.garp.on_doubt(turn.now, repeat);
        self.announce(turn, now);
    }

    /// Answers an advert of another master, at most four times an interval.
    fn assert_mastership(&mut self, turn: &mut Turn<'_>) {
        let interval = self.config.advert_interval.duration();
        let State::Master(master) = &mut self.state else { return };
        if turn.now < master.quiet_until {
            return;
        }
        master.quiet_until = turn.now + interval / 4;
        master.next_advert_at = turn.now + interval;
        self.send_advert(turn, self.health.priority.value());
    }
}
