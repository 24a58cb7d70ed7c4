//! The law of reloads: `reload(A→B)` behaves as `start(B)`, except for what must survive.
//!
//! For random pairs of configurations: at once, all that does not depend on the past is the same (sockets, priorities,
//! trackers, sources); when all is well again, what is on the links and on the wire is the same to the byte. And a master
//! that is the same virtual router in both files, under whatever name, stays master.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::config::{VrrpConfig, renames};
use super::super::event::StateName;
use super::host::Host;
use super::props::any_config;

/// The configuration, with some instances under other names.
fn renamed(mut config: VrrpConfig, which: &[bool]) -> VrrpConfig {
    let names: Vec<String> = config.instances.keys().cloned().collect();
    for (name, _) in names.iter().zip(which).filter(|(_, wanted)| **wanted) {
        let Some(instance) = config.instances.remove(name) else { continue };
        let new = format!("{name}-new");
        config.instances.insert(new.clone(), instance);
        for member in config.groups.values_mut().flat_map(|group| &mut group.members) {
            if member == name {
                member.clone_from(&new);
            }
        }
    }
    config
}

/// What a host says on the wire, to whom, in ten seconds of peace.
fn wire(host: &mut Host) -> BTreeSet<String> {
    host.forget();
    host.play("wait 10000");
    host.sent.iter().map(|packet| format!("{packet:?}")).collect()
}

proptest! {
    #[test]
    fn a_reload_behaves_as_a_start(
        first in any_config(),
        second in any_config(),
        names in prop::collection::vec(any::<bool>(), 4),
        before in prop::sample::select(vec!["wait 100", "wait 4000", "wait 30000", "hear 200; wait 500", "hear 0; wait 300"]),
        script in prop::sample::select(vec!["script up", "script down"]),
    ) {
        let second = renamed(second, &names);
        let mut reloaded = Host::start(first.clone());
        reloaded.play(script);
        if !before.starts_with("hear") || first.instances.contains_key("A") {
            reloaded.play(before);
        }
        let states = reloaded.engine.snapshot().instances;
        let healthy = |host: &Host, name: &str| host.engine.snapshot().instances[name].state != StateName::Fault;
        reloaded.reconfigure(&second);

        let mut fresh = Host::start(second.clone());
        // The result of a script is one of the things that survive.
        let tracked = |config: &VrrpConfig| config.instances.values().any(|instance| !instance.tracks.is_empty());
        if tracked(&first) && tracked(&second) {
            fresh.play(script);
        } else {
            fresh.play(script);
            reloaded.play(script);
        }
        prop_assert_eq!(&reloaded.sockets, &fresh.sockets);
        let (now, new) = (reloaded.engine.snapshot(), fresh.engine.snapshot());
        prop_assert_eq!(&now.trackers, &new.trackers);
        prop_assert_eq!(now.instances.keys().collect::<Vec<_>>(), new.instances.keys().collect::<Vec<_>>());
        for (name, shown) in &now.instances {
            let other = &new.instances[name];
            let facts = |s: &super::super::snapshot::InstanceSnapshot| (s.base_priority, s.effective_priority, s.source);
            prop_assert_eq!(facts(shown), facts(other), "{}", name);
            prop_assert_eq!(shown.state == StateName::Fault, other.state == StateName::Fault, "{}", name);
        }
        // What survives. A group settles on one state, which may be another.
        if first.groups.is_empty() && second.groups.is_empty() {
            let origin = renames(&first.instances, &second.instances);
            for (name, before) in &states {
                let name = origin.get(name).unwrap_or(name);
                let same = second.instances.get(name).zip(first.instances.get(name).or_else(|| {
                    let from = origin.iter().find(|(_, to)| *to == name)?.0;
                    first.instances.get(from)
                }));
                if before.state == StateName::Master
                    && same.is_some_and(|(new, old)| old.is_same_router(new))
                    && healthy(&reloaded, name)
                {
                    prop_assert_eq!(now.instances[name].state, StateName::Master, "{}", name);
                }
            }
        }

        for host in [&mut reloaded, &mut fresh] {
            host.play("script up; wait 60000");
        }
        prop_assert_eq!(reloaded.invariants.addresses(), fresh.invariants.addresses());
        prop_assert_eq!(wire(&mut reloaded), wire(&mut fresh));
        prop_assert_eq!(&reloaded.sockets, &fresh.sockets);
    }
}
