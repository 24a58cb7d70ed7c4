//! Where the instances of a configuration and their keywords are, for who compares two of them.
//!
//! Pure.

use std::collections::BTreeMap;

use super::section::Section;
use super::source::{Location, Sources};
use crate::ipvs::config::VirtualServerId;

/// The places of one configuration.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// By instance; the instance's own line is under the empty keyword.
    instances: BTreeMap<String, BTreeMap<&'static str, Location>>,
    /// Virtual servers by what their lines name, such as `192.0.2.1 80`.
    services: BTreeMap<String, Location>,
}

/// What the line of a virtual server names.
pub(super) fn service_words(id: &VirtualServerId) -> String {
    let port = |port: u16| if port == 0 { String::new() } else { format!(" {port}") };
    match id {
        VirtualServerId::Address { address, .. } => format!("{}{}", address.ip, port(address.port)),
        VirtualServerId::Fwmark { mark, .. } => format!("fwmark {mark}"),
        VirtualServerId::Group { name, .. } => format!("group {name}"),
    }
}

/// The same of a line as it is written.
pub(super) fn written_words(section: &Section<'_>) -> String {
    let words: Vec<&str> = section.words.iter().map(|word| word.text).filter(|word| *word != "0").collect();
    words.join(" ")
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
        let services = root.sections("virtual_server");
        let services = services.map(|section| (written_words(section), sources.locate(section.span))).collect();
        Self { instances, services }
    }

    /// The line of a virtual server, however its port was written.
    pub(super) fn service(&self, id: &VirtualServerId) -> Option<&Location> {
        let words = service_words(id);
        let group = |written: &str| written.starts_with(&format!("{words} "));
        self.services
            .get(&words)
            .or_else(|| self.services.iter().find(|(written, _)| group(written)).map(|(_, place)| place))
    }

    /// The line of a keyword of an instance, else the instance's own.
    pub(super) fn find(&self, instance: &str, keyword: &str) -> Option<&Location> {
        let places = self.instances.get(instance)?;
        places.get(keyword).or_else(|| places.get(""))
    }
}
