//! Taking up a configuration: at the start, and what a reload changes.
//!
//! Pure.

use super::*;

impl VrrpEngine {
    pub(super) fn reconfigure(&mut self, now: Instant, mut diff: ConfigDiff) {
        // Each instance has its own configuration, and nobody else does: there may be a thousand.
        let changed = std::mem::take(&mut diff.instances);
        let removed = std::mem::take(&mut diff.removed_instances);
        diff.apply(&mut self.shared);
        let of_name =
            |name: &String| Some((name.clone(), self.instances.get(self.ids.get(name.as_str())?)?.config.clone()));
        let gone = removed.iter().filter_map(of_name).collect();
        let new = if removed.is_empty() { BTreeMap::new() } else { changed.clone() };
        let renamed = renames(&gone, &new);
        for (from, to) in &renamed {
            self.rename_instance(from, to);
        }
        for name in removed.iter().filter(|name| !renamed.contains_key(*name)) {
            self.remove_instance(now, name);
        }
        for (name, config) in changed {
            self.change_instance(now, &name, config);
        }
        let all = self.instances.values().flat_map(|instance| instance.config.all_addresses());
        self.virtual_addresses = all.map(|address| address.address).collect();
        self.regroup();
        self.refresh_trackers();
        self.rebind(now);
    }

    /// The same virtual router under another name goes on as it is.
    fn rename_instance(&mut self, from: &str, to: &str) {
        let Some((from_name, id)) = self.ids.remove_entry(from) else { return };
        let name: Arc<str> = to.into();
        self.ids.insert(name.clone(), id);
        self.flight.insert(from_name, None);
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.name = name;
            instance.recorded = None;
            let state = instance.state.name();
            let (instance, was) = (to.to_owned(), from.to_owned());
            self.effects.push_back(Effect::Emit(Event::Renamed { instance, was, state }));
        }
        self.note(id);
    }

    pub(super) fn remove_instance(&mut self, now: Instant, name: &str) {
        let Some(id) = self.ids.remove(name) else { return };
        self.with(now, id, |instance, turn| {
            let to = if instance.config.notify_deleted { StateName::Deleted } else { StateName::Fault };
            instance.enter_end(turn, to, Cause::Removed);
        });
        self.forget_instance(id);
    }

    pub(super) fn forget_instance(&mut self, id: InstanceId) {
        if let Some(mut instance) = self.instances.remove(&id) {
            self.timers.arm(id, &mut instance.armed, None);
            self.leaving.insert(id, (instance.name.clone(), instance.generation()));
        }
    }

    pub(super) fn change_instance(&mut self, now: Instant, name: &str, config: InstanceConfig) {
        match self.ids.get(name).copied() {
            None => self.add_instance(now, name, config),
            Some(id) if self.instances.get(&id).is_some_and(|old| !old.config.is_same_router(&config)) => {
                // Another VRID, family or interface is another virtual router under the same name.
                self.with(now, id, |instance, turn| {
                    instance.enter_end(turn, StateName::Init, Cause::Reconfigured);
                });
                self.forget_instance(id);
                self.add_instance(now, name, config);
            }
            Some(id) => {
                self.with(now, id, |instance, turn| instance.on_config(turn, config));
            }
        }
    }

    /// A new instance has a new number, even under an old name: generations of addresses are counted for each number.
    pub(super) fn add_instance(&mut self, now: Instant, name: &str, config: InstanceConfig) {
        let id = InstanceId(self.next_id);
        self.next_id += 1;
        let name: Arc<str> = name.into();
        self.ids.insert(name.clone(), id);
        let mut instance = Instance::new(now, id, name, config, Cause::Reconfigured);
        let mut turn = Turn { now, effects: &mut self.effects, holders: &mut self.holders };
        instance.set_maintenance(&mut turn, self.maintenance);
        self.instances.insert(id, Box::new(instance));
    }

    pub(super) fn regroup(&mut self) {
        let mut groups = BTreeMap::new();
        let mut group_of = BTreeMap::new();
        for (name, config) in &self.shared.groups {
            let name: Arc<str> = name.as_str().into();
            let member = |member: &String| self.ids.get(member.as_str()).copied();
            let members: Vec<_> = config.members.iter().filter_map(member).collect();
            group_of.extend(members.iter().map(|id| (*id, name.clone())));
            let told = self.groups.get(&name).and_then(|old| old.told);
            groups.insert(name.clone(), Group { name, members, told });
        }
        for (id, instance) in &mut self.instances {
            instance.group = group_of.remove(id);
        }
        self.groups = groups;
    }

    pub(super) fn refresh_trackers(&mut self) {
        let tracks = || self.instances.values().flat_map(|instance| &instance.config.tracks);
        let wanted: BTreeSet<&TrackerKey> = tracks().map(|track| &track.tracker).collect();
        self.tracks.retain(|key| wanted.contains(key) || self.shared.trackers.contains(key));
        for key in wanted {
            if let Some(status) = self.links.tracker_status(key) {
                self.tracks.set(key.clone(), status);
            }
        }
    }

    /// Binds all instances to the links as they are now, and says which sockets that takes.
    pub(super) fn rebind(&mut self, now: Instant) {
        let mut sockets: BTreeMap<SocketKey, SocketSpec> = BTreeMap::new();
        self.listeners.clear();
        for id in self.all_ids() {
            let Some(instance) = self.instances.get(&id) else { continue };
            let config = &instance.config;
            let binding = self.links.bind(config, &self.virtual_addresses);
            if let Some(key) = binding.socket {
                let spec = sockets.entry(key).or_default();
                spec.instances += 1;
                if !self.shared.global.log_unknown_vrids && !self.surveys.is_open(key) {
                    spec.vrids.insert(config.vrid);
                }
                spec.receive_buffer = spec.receive_buffer.max(config.receive_buffer);
                if let Transport::Multicast { group } = config.transport {
                    spec.groups.insert(group);
                }
                self.listeners.insert((key, config.vrid, id));
            }
            self.with(now, id, |instance, turn| instance.on_binding(turn, binding));
        }
        if sockets != self.sockets {
            self.sockets.clone_from(&sockets);
            self.effects.push_back(Effect::SyncSockets { desired: sockets });
        }
    }
}
