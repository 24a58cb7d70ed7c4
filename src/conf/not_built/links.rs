//! What is said of interfaces and of groups of instances: `interface_up_down_delays`, `linkbeat_interfaces`,
//! `garp_group`, `track_group`.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{GarpGroup, LinkSettings, Linkbeat};
use crate::conf::diagnostic::Reporter;
use crate::conf::lex;
use crate::conf::section::Section;
use crate::conf::trackers::unique;
use crate::conf::tree::Word;

/// Delays and polling, by interface.
pub fn links(root: &Section<'_>, reporter: &mut Reporter) -> BTreeMap<String, LinkSettings> {
    let mut links: BTreeMap<String, LinkSettings> = BTreeMap::new();
    for node in root.lines("interface_up_down_delays") {
        let mut delay = |word: Option<&Word<'_>>| {
            let word = word?;
            let micros = lex::microseconds(word.text).filter(|micros| *micros <= 255_000_000);
            if micros.is_none() {
                reporter.error(word.span, format!("`{}` is not a delay from 0 to 255 seconds", word.text));
            }
            micros.map(Duration::from_micros)
        };
        let [down, up] = [0, 1].map(|at| delay(node.arguments().get(at)));
        if node.arguments().is_empty() {
            reporter
                .error(node.span(), "the interface has no delay: the line is left out")
                .help("`INTERFACE DOWN_DELAY [UP_DELAY]`, in seconds");
            continue;
        }
        if let Some(extra) = node.arguments().get(2) {
            reporter.warning(extra.span, format!("`{}` is ignored", extra.text));
        }
        let link = links.entry(node.keyword().text.to_string()).or_default();
        link.down_delay = down.unwrap_or_default();
        link.up_delay = up.unwrap_or_default();
    }
    for node in root.lines("linkbeat_interfaces") {
        let linkbeat = match node.arguments().first().map(|word| (word, word.text)) {
            None => Linkbeat::Auto,
            Some((_, "MII")) => Linkbeat::Mii,
            Some((_, "ETHTOOL")) => Linkbeat::Ethtool,
            Some((_, "IOCTL")) => Linkbeat::Ioctl,
            Some((word, other)) => {
                reporter.error(word.span, format!("`{other}` is none of `MII`, `ETHTOOL` and `IOCTL`"));
                Linkbeat::Auto
            }
        };
        links.entry(node.keyword().text.to_string()).or_default().linkbeat = Some(linkbeat);
    }
    links
}

/// All `garp_group` blocks; an interface is in one of them.
pub fn garp_groups(root: &Section<'_>, reporter: &mut Reporter) -> Vec<GarpGroup> {
    let mut taken = BTreeSet::new();
    let mut groups = Vec::new();
    for section in root.sections("garp_group") {
        let mut group = GarpGroup {
            garp_interval: section.duration("garp_interval").unwrap_or_default(),
            gna_interval: section.duration("gna_interval").unwrap_or_default(),
            interfaces: Vec::new(),
        };
        for word in section.word("interface").into_iter().chain(section.lines("interfaces").flat_map(|node| node.words))
        {
            if taken.insert(word.text.to_string()) {
                group.interfaces.push(word.text.to_string());
            } else {
                reporter.error(word.span, format!("`{}` is in a `garp_group` already: it is left out", word.text));
            }
        }
        if group.interfaces.is_empty() {
            let message = "the `garp_group` has no interfaces: it is left out";
            reporter.error(section.span, message).help("`interface NAME`, or `interfaces { NAME … }`");
        } else if group.garp_interval.is_zero() && group.gna_interval.is_zero() {
            let message = "the `garp_group` has no interval: it is left out";
            reporter.error(section.span, message).help("`garp_interval SECS` or `gna_interval SECS`");
        } else {
            groups.push(group);
        }
    }
    groups
}

/// All `track_group` blocks with the instances that exist.
pub fn track_groups<'a>(
    root: &Section<'_>,
    instances: impl Iterator<Item = &'a str>,
    reporter: &mut Reporter,
) -> BTreeMap<String, Vec<String>> {
    let mut seen = BTreeMap::new();
    let mut groups = BTreeMap::new();
    if !root.flag("track_group") {
        return groups;
    }
    let instances: BTreeSet<&str> = instances.collect();
    for section in root.sections("track_group") {
        let Some(name) = unique(section, &mut seen, reporter) else { continue };
        let mut members = Vec::new();
        for word in section.lines("group").flat_map(|node| node.words) {
            if instances.contains(word.text) {
                members.push(word.text.to_string());
            } else {
                let message = format!("no `vrrp_instance` is called `{}`: it is left out", word.text);
                reporter.error(word.span, message);
            }
        }
        if members.is_empty() {
            let message = format!("`track_group {name}` has no instances: it is left out");
            reporter.error(section.span, message);
            continue;
        }
        groups.insert(name.to_owned(), members);
    }
    groups
}
