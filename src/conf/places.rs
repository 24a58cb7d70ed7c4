//! Where the instances of a configuration and their keywords are, for who compares two of them.
//!
//! Pure.

use std::collections::BTreeMap;

use super::parse::Section;
use super::source::{Location, Sources};

/// The places of one configuration.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// By instance; the instance's own line is under the empty keyword.
    instances: BTreeMap<String, BTreeMap<&'static str, Location>>,
}

impl Places {
    /// Of a parsed file.
    pub(super) fn of(root: &Section<'_>, sources: &Sources) -> Self {
        let mut instances = BTreeMap::new();
        for section in root.sections("vrrp_instance") {
            let Some(name) = section.name else { continue };
            let mut places: BTreeMap<&'static str, Location> =
                section.entries.iter().map(|entry| (entry.keyword, sources.locate(entry.span))).collect();
            places.insert("", sources.locate(section.span));
            instances.insert(name.text.to_string(), places);
        }
        Self { instances }
    }

    /// The line of a keyword of an instance, else the instance's own.
    pub(super) fn find(&self, instance: &str, keyword: &str) -> Option<&Location> {
        let places = self.instances.get(instance)?;
        places.get(keyword).or_else(|| places.get(""))
    }
}
