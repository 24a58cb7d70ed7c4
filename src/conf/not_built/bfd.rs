//! `bfd_instance` blocks, and `track_bfd` lines.
//!
//! Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{SessionConfig, TrackedSession};
use crate::conf::diagnostic::Reporter;
use crate::conf::section::Section;
use crate::conf::source::Span;
use crate::conf::trackers::{self, unique};

/// Names are shorter than this.
const MAX_NAME: usize = 31;

/// All sessions of the file; those that cannot work are reported and left out.
pub fn sessions(root: &Section<'_>, reporter: &mut Reporter) -> BTreeMap<String, SessionConfig> {
    let mut names = BTreeMap::new();
    let mut neighbors: BTreeMap<IpAddr, Span> = BTreeMap::new();
    let mut sessions = BTreeMap::new();
    for section in root.sections("bfd_instance") {
        let Some(name) = unique(section, &mut names, reporter) else { continue };
        if name.len() > MAX_NAME {
            let message = format!("the name of a `bfd_instance` has at most {MAX_NAME} bytes: the block is left out");
            reporter.error(section.span, message);
            continue;
        }
        let Some(session) = session(section, name, reporter) else { continue };
        if let Some(first) = neighbors.get(&session.neighbor) {
            let message = format!("there is a session with {} already: this one is left out", session.neighbor);
            reporter.error(section.span, message).note(*first, "here");
            continue;
        }
        neighbors.insert(session.neighbor, section.span);
        sessions.insert(name.to_owned(), session);
    }
    sessions
}

fn session(section: &Section<'_>, name: &str, reporter: &mut Reporter) -> Option<SessionConfig> {
    let Some(neighbor) = section.address("neighbor_ip") else {
        if !section.rejected.contains(&"neighbor_ip") {
            let message = format!("`bfd_instance {name}` has no `neighbor_ip`: it is left out");
            reporter.error(section.span, message);
        }
        return None;
    };
    if neighbor.is_multicast() || neighbor.is_unspecified() {
        let span = section.entry("neighbor_ip").map_or(section.span, |entry| entry.span);
        reporter.error(span, format!("`{neighbor}` is not the address of one host: the block is left out"));
        return None;
    }
    let mut source = section.address("source_ip");
    if source.is_some_and(|source| source.is_ipv4() != neighbor.is_ipv4()) {
        let span = section.entry("source_ip").map_or(section.span, |entry| entry.span);
        reporter.error(span, "`source_ip` is not of the neighbour's family: the line is left out");
        source = None;
    }
    let milliseconds = |keyword, default| section.duration(keyword).unwrap_or(Duration::from_millis(default));
    let (weight, reverse) = section.weight("weight").unwrap_or_default();
    let (vrrp, checker) = (section.flag("vrrp"), section.flag("checker"));
    let max_hops: i64 = section.int("max_hops").unwrap_or(0);
    Some(SessionConfig {
        source,
        neighbor,
        min_rx: milliseconds("min_rx", 10),
        min_tx: milliseconds("min_tx", 10),
        idle_tx: milliseconds("idle_tx", 1000),
        multiplier: section.int("multiplier").unwrap_or(5),
        passive: section.flag("passive"),
        ttl: section.int("ttl").unwrap_or(if neighbor.is_ipv4() { 255 } else { 64 }),
        max_hops: u8::try_from(max_hops).ok().filter(|hops| *hops != 255),
        multihop: section.bool("multihop").unwrap_or(false),
        weight,
        reverse,
        vrrp: vrrp || !checker,
        checker: checker || !vrrp,
    })
}

/// The `track_bfd` lines of an instance or group.
pub fn tracked(
    section: &Section<'_>,
    sessions: &BTreeMap<String, SessionConfig>,
    reporter: &mut Reporter,
) -> Vec<TrackedSession> {
    let mut tracked: Vec<TrackedSession> = Vec::new();
    for node in section.lines("track_bfd") {
        let name: &str = node.keyword().text;
        let Some(session) = sessions.get(name) else {
            trackers::missing(node, "bfd_instance", sessions.keys(), reporter);
            continue;
        };
        if tracked.iter().any(|other| other.name == *name) {
            reporter.error(node.span(), format!("session {name} is tracked already: the line is left out"));
            continue;
        }
        let (weight, reverse) = trackers::line_weight(node, (session.weight, session.reverse), 253, reporter);
        tracked.push(TrackedSession { name: name.to_owned(), weight, reverse });
    }
    tracked
}
