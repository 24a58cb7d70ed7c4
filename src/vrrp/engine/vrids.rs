//! Another virtual router has one of our VRIDs: which one would be free?
//!
//! Pure. The kernel keeps packets of other VRIDs away from a socket, so that it is opened to all of them for a few
//! seconds, and people are told then.

use super::*;

/// How long all VRIDs are listened to. Nearly every router advertises several times in this.
const SURVEY: Duration = Duration::from_secs(5);

/// Surveys under way.
#[derive(Debug, Default)]
pub(super) struct Surveys(BTreeMap<SocketKey, Survey>);

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
        if let Some(survey) = self.0.get_mut(&socket) {
            survey.heard.insert(vrid);
        }
    }

    /// When the next one ends.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|survey| survey.until).min()
    }

    /// Whether all VRIDs are to be heard on a socket.
    pub(super) fn is_open(&self, socket: SocketKey) -> bool {
        self.0.contains_key(&socket)
    }
}

impl VrrpEngine {
    pub(super) fn begin_survey(&mut self, now: Instant, socket: SocketKey, clash: Clash) {
        let fresh = || Survey { until: now + SURVEY, heard: BTreeSet::new(), clashes: Vec::new() };
        self.surveys.0.entry(socket).or_insert_with(fresh).clashes.push(clash);
        self.rebind(now);
    }

    pub(super) fn end_surveys(&mut self, now: Instant) {
        let due: Vec<_> =
            self.surveys.0.iter().filter(|(_, survey)| survey.until <= now).map(|(key, _)| *key).collect();
        for key in &due {
            let Some(Survey { heard, clashes, .. }) = self.surveys.0.remove(key) else { continue };
            for Clash { instance, peer, addresses } in clashes {
                // It may be gone by now.
                let Some(ours) = self.instances.get(&instance) else { continue };
                let vrid = ours.config.vrid;
                let free = self.free_vrid(&ours.config, &heard);
                let instance = ours.name.to_string();
                let event = Event::VridTaken { instance, vrid: vrid.value(), peer, addresses, free };
                self.effects.push_back(Effect::Emit(event));
            }
        }
        if !due.is_empty() {
            self.rebind(now);
        }
    }

    /// The next VRID that nobody has on this interface.
    fn free_vrid(&self, config: &InstanceConfig, heard: &BTreeSet<Vrid>) -> Option<u8> {
        let here = self.instance_configs().map(|(_, other)| other).filter(|other| other.interface == config.interface);
        let configured: BTreeSet<Vrid> = here.map(|other| other.vrid).collect();
        let first = config.vrid.value();
        let candidates = (first..=u8::MAX).chain(1..first).filter_map(Vrid::new);
        let mut free = candidates.filter(|vrid| !heard.contains(vrid) && !configured.contains(vrid));
        free.next().map(Vrid::value)
    }
}
