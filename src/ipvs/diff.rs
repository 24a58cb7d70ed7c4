//! What a reload changes of virtual servers: all that main keeps of the new file, and all that the balancer process is told.
//!
//! Pure. Law: `BalancerDiff::between(a, b)`, applied to `a`, gives `b`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::config::{BalancerConfig, BalancerGlobal, GroupConfig, VirtualServerConfig, VirtualServerId};
use super::shared::Shared;
use crate::trackers::config::FileConfig;

/// From one configuration to another. The default changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalancerDiff {
    /// The process-wide settings, when they changed.
    pub global: Option<Box<BalancerGlobal>>,
    /// Groups that are new or changed.
    pub groups: BTreeMap<String, GroupConfig>,
    /// Groups that are gone.
    pub removed_groups: BTreeSet<String>,
    /// Virtual servers that are new or changed.
    pub services: BTreeMap<VirtualServerId, Shared<VirtualServerConfig>>,
    /// Virtual servers that are gone.
    pub removed_services: BTreeSet<VirtualServerId>,
    /// The files that FILE_CHECKs name, when they changed.
    pub files: Option<BTreeMap<String, FileConfig>>,
}

impl BalancerDiff {
    /// What leads from `old` to `new`.
    pub fn between(old: &BalancerConfig, new: &BalancerConfig) -> Self {
        Self {
            global: (old.global != new.global).then(|| Box::new(new.global.clone())),
            groups: changed(&old.groups, &new.groups),
            removed_groups: removed(old.groups.keys(), &new.groups),
            services: changed(&old.services, &new.services),
            removed_services: removed(old.services.keys(), &new.services),
            files: (old.files != new.files).then(|| new.files.clone()),
        }
    }

    /// What leads to `new` from whatever has these groups and virtual servers.
    pub fn replacing<'a>(
        groups: impl Iterator<Item = &'a String>,
        services: impl Iterator<Item = &'a VirtualServerId>,
        new: BalancerConfig,
    ) -> Self {
        Self {
            removed_groups: removed(groups, &new.groups),
            removed_services: removed(services, &new.services),
            global: Some(Box::new(new.global)),
            groups: new.groups,
            services: new.services,
            files: Some(new.files),
        }
    }

    /// What leads from the default configuration, which says nothing, to `new`.
    pub fn from_nothing(new: BalancerConfig) -> Self {
        Self::replacing([].iter(), [].iter(), new)
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Carries the change out on `config`.
    pub fn apply(self, config: &mut BalancerConfig) {
        let Self { global, groups, removed_groups, services, removed_services, files } = self;
        if let Some(global) = global {
            config.global = *global;
        }
        config.groups.retain(|name, _| !removed_groups.contains(name));
        config.groups.extend(groups);
        removed_services.iter().for_each(|id| drop(config.services.remove(id)));
        config.services.extend(services);
        if let Some(files) = files {
            config.files = files;
        }
    }
}

fn changed<K: Clone + Ord, V: Clone + PartialEq>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> BTreeMap<K, V> {
    let differs = |(key, value): &(&K, &V)| old.get(key) != Some(value);
    new.iter().filter(differs).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn removed<'a, K: Clone + Ord + 'a, V>(old: impl Iterator<Item = &'a K>, new: &BTreeMap<K, V>) -> BTreeSet<K> {
    old.filter(|key| !new.contains_key(*key)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::config::GroupEntry;

    fn config(text: &str) -> BalancerConfig {
        let loaded = crate::conf::load_text("k.conf".as_ref(), text.as_bytes(), &Default::default());
        loaded.config.expect("usable").balancer
    }

    fn server(address: &str, weight: u32) -> String {
        format!("virtual_server {address} 80 {{\n real_server 192.0.2.1 80 {{\n weight {weight}\n }}\n}}\n")
    }

    #[test]
    fn a_difference_leads_from_one_to_the_other_and_names_nothing_else() {
        let group = |last: u8| GroupConfig {
            entries: vec![GroupEntry::Range { first: [192, 0, 2, 8].into(), last: [192, 0, 2, last].into(), port: 80 }],
        };
        let mut a = config(&[server("10.0.0.1", 1), server("10.0.0.2", 1), server("10.0.0.3", 1)].concat());
        a.groups = BTreeMap::from([("same".into(), group(9)), ("gone".into(), group(9)), ("other".into(), group(9))]);
        let mut b = config(&[server("10.0.0.2", 7), server("10.0.0.3", 1), server("10.0.0.4", 1)].concat());
        b.groups = BTreeMap::from([("same".into(), group(9)), ("new".into(), group(9)), ("other".into(), group(10))]);
        b.global.flush = true;
        let diff = BalancerDiff::between(&a, &b);
        let names: Vec<String> = diff.services.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["[10.0.0.2]:udp:80", "[10.0.0.4]:udp:80"]);
        let gone: Vec<String> = diff.removed_services.iter().map(ToString::to_string).collect();
        assert_eq!(gone, ["[10.0.0.1]:udp:80"]);
        assert_eq!(diff.groups.keys().collect::<Vec<_>>(), ["new", "other"]);
        assert_eq!(diff.removed_groups.iter().collect::<Vec<_>>(), ["gone"]);
        assert!(diff.global.is_some() && diff.files.is_none() && !diff.is_empty());
        let mut applied = a.clone();
        diff.apply(&mut applied);
        assert_eq!(applied, b);
        let whole = BalancerDiff::replacing(a.groups.keys(), a.services.keys(), b.clone());
        whole.apply(&mut a);
        assert_eq!(a, b);
        assert!(BalancerDiff::between(&b, &b).is_empty());
        let mut from_nothing = BalancerConfig::default();
        BalancerDiff::from_nothing(b.clone()).apply(&mut from_nothing);
        assert_eq!(from_nothing, b);
    }
}
