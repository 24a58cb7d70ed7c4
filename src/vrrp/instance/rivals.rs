//! Who else speaks this router's VRID, and who is master while we are.
//!
//! Pure. The table is [`crate::vrrp::peers`]; here its news become words for people.

use super::*;
use crate::vrrp::timing;

/// No contest is over sooner: the other one needs the CPU to hear us.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(1);

/// A packet, noted.
pub(super) struct Sight {
    pub(super) verdict: Verdict,
    pub(super) news: Option<PeerNews>,
}

impl Instance {
    /// Enters a packet into the table. `None`: it is our own.
    pub(super) fn note_peer(
        &mut self,
        now: Instant,
        received: &Received<'_>,
        refusal: Option<&AdvertError>,
    ) -> Option<Sight> {
        if refusal == Some(&AdvertError::OwnAddress) {
            return None;
        }
        let contest = self.contest(now);
        let sighting = Sighting {
            address: received.source,
            at: received.at.min(now),
            pdu: received.pdu,
            family: self.config.family,
            advertised: &self.advertised,
            refusal,
        };
        let (noted, news) = self.peers.note(&sighting, contest);
        let stranger = self.peers.stranger(now, &sighting);
        Some(Sight { verdict: Verdict { refused: refusal.map(AdvertError::kind), noted, stranger }, news })
    }

    /// Another host claims one of our addresses.
    pub(super) fn on_claim(&mut self, turn: &mut Turn<'_>, address: IpAddr, hardware: [u8; 6]) {
        let Some(contest) = self.contest(turn.now) else { return };
        // Who was master before us may have announced a moment ago.
        if turn.now.saturating_duration_since(self.since) >= contest.patience {
            let news = self.peers.on_announced(contest, address, hardware);
            self.tell_peers(turn, news);
        }
    }

    /// Once an interval as master.
    pub(super) fn review_rivals(&mut self, turn: &mut Turn<'_>) {
        if let Some(contest) = self.contest(turn.now) {
            let news = self.peers.review(contest);
            self.tell_peers(turn, news);
        }
    }

    /// We are master no more.
    pub(super) fn quit_contests(&mut self, turn: &mut Turn<'_>) {
        let news = self.peers.leave();
        self.tell_peers(turn, news);
    }

    /// Our side of a contest, as master.
    fn contest(&self, now: Instant) -> Option<Contest> {
        let (config, ours) = (&self.config, self.health.priority);
        let down = timing::master_down(config.version, ours, config.advert_interval, config.down_timer_adverts);
        self.is_master().then(|| Contest { now, ours: ours.value(), patience: down.max(SHORTEST_PATIENCE) })
    }

    pub(super) fn tell_peers(&mut self, turn: &mut Turn<'_>, news: impl IntoIterator<Item = PeerNews>) {
        for news in news {
            let instance = self.name.to_string();
            let event = match news {
                PeerNews::Dual { peer, reason, lasted, again } => {
                    Event::DualMaster { instance, peer, reason, lasted, again }
                }
                PeerNews::DualEnded { peer, lasted, end } => Event::DualMasterEnded { instance, peer, lasted, end },
                // Told by the engine, which finds a free VRID first.
                PeerNews::Stranger { .. } => continue,
            };
            turn.effects.push_back(Effect::Emit(event));
        }
    }
}
