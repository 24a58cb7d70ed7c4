//! Another virtual router has one of our VRIDs: which one would be free?
//!
//! Pure. The kernel keeps packets of other VRIDs away from a socket, so that it is opened to all of them for a few
//! seconds, and people are told then.

use super::*;

/// How long all VRIDs are listened to. Nearly every router advertises several times in this.
const SURVEY: Duration = Duration::from_secs(5);

/// Surveys under way.
#[derive(Debug, Default)]
pub(super) struct Surveys {
    under_way: BTreeMap<SocketKey, Survey>,
    /// Some have begun, and their sockets are not open yet: once a turn, however many strangers there are.
    begun: bool,
}

#[derive(Debug)]
struct Survey {
    until: Instant,
    heard: BTreeSet<Vrid>,
    clashes: Vec<Clash>,
}

/// Somebody else speaks an instance's VRID.
#[derive(Debug)]
pub(super) struct Clash {
    /// Ours.
    pub(super) instance: InstanceId,
    /// Who.
    pub(super) peer: IpAddr,
    /// Its addresses.
    pub(super) addresses: Vec<IpAddr>,
}

impl Surveys {
    /// A VRID was heard.
    pub(super) fn hear(&mut self, socket: SocketKey, vrid: Vrid) {
        if let Some(survey) = self.under_way.get_mut(&socket) {
            survey.heard.insert(vrid);
        }
    }

    /// When the next one ends, or at once if some socket has to be opened.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        if self.begun {
            return Some(now);
        }
        self.under_way.values().map(|survey| survey.until).min()
    }

    /// Whether all VRIDs are to be heard on a socket.
    pub(super) fn is_open(&self, socket: SocketKey) -> bool {
        self.under_way.contains_key(&socket)
    }
}

impl VrrpEngine {
    pub(super) fn begin_survey(&mut self, now: Instant, socket: SocketKey, clash: Clash) {
        let fresh = || Survey { until: now + SURVEY, heard: BTreeSet::new(), clashes: Vec::new() };
        if !self.surveys.is_open(socket) {
            self.surveys.begun = true;
        }
        self.surveys.under_way.entry(socket).or_insert_with(fresh).clashes.push(clash);
    }

    /// Has the sockets opened to all VRIDs on which surveys have begun.
    pub(super) fn open_surveys(&mut self, now: Instant) {
        if std::mem::take(&mut self.surveys.begun) && self.phase != Phase::Stopped {
            self.rebind(now);
        }
    }

    pub(super) fn end_surveys(&mut self, now: Instant) {
        let due: Vec<_> =
            self.surveys.under_way.iter().filter(|(_, survey)| survey.until <= now).map(|(key, _)| *key).collect();
        for key in &due {
            let Some(Survey { heard, clashes, .. }) = self.surveys.under_way.remove(key) else { continue };
            // All that clash on a socket are on its interface.
            let first = clashes.iter().find_map(|clash| self.instances.get(&clash.instance));
            let taken = first.map(|ours| self.vrids_beside(&ours.config, &heard)).unwrap_or_default();
            for Clash { instance, peer, addresses } in clashes {
                // It may be gone by now.
                let Some(ours) = self.instances.get(&instance) else { continue };
                let vrid = ours.config.vrid;
                let free = free_vrid(vrid, &taken);
                let instance = ours.name.to_string();
                let event = Event::VridTaken { instance, vrid: vrid.value(), peer, addresses, free };
                self.effects.push_back(Effect::Emit(event));
            }
        }
        if !due.is_empty() {
            self.rebind(now);
        }
    }

    /// The VRIDs that are spoken for on an interface: ours, and those heard.
    fn vrids_beside(&self, config: &InstanceConfig, heard: &BTreeSet<Vrid>) -> BTreeSet<Vrid> {
        let here = self.instance_configs().map(|(_, other)| other).filter(|other| other.interface == config.interface);
        here.map(|other| other.vrid).chain(heard.iter().copied()).collect()
    }
}

/// The next VRID that nobody has.
fn free_vrid(vrid: Vrid, taken: &BTreeSet<Vrid>) -> Option<u8> {
    let first = vrid.value();
    let candidates = (first..=u8::MAX).chain(1..first).filter_map(Vrid::new);
    let mut free = candidates.filter(|vrid| !taken.contains(vrid));
    free.next().map(Vrid::value)
}
