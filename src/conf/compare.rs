//! Two directors that should belong together: `holdfast check a.conf b.conf`.
//!
//! Pure. Instances are matched by name, then by family, interface and virtual router id, then by family and id alone.
//! Everything is said at its place in the first file, with the place in the second one beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::config::Config;
use super::diagnostic::{Diagnostic, Diagnostics, Note, Severity};
use super::lint::{self, Elections, Failover};
use super::places::Places;
use super::source::Location;
use crate::ipvs::config::VirtualServerConfig;
use crate::vrrp::config::{AddressConfig, Auth, InitialState, InstanceConfig, TrackerKey, Transport};
use crate::vrrp::types::Version;

/// One director's configuration.
#[derive(Debug, Clone, Copy)]
pub struct Director<'a> {
    /// What it says.
    pub config: &'a Config,
    /// Where.
    pub places: &'a Places,
}

/// What does not go together. Errors are what leaves both of them master; the rest are warnings.
pub fn compare(first: Director<'_>, second: Director<'_>) -> Diagnostics {
    let mut findings = Vec::new();
    let pairs = matches(&first.config.vrrp.instances, &second.config.vrrp.instances);
    let (ours, theirs): (BTreeSet<&str>, BTreeSet<&str>) = pairs.iter().copied().unzip();
    for (director, paired) in [(first, ours), (second, theirs)] {
        for (name, instance) in
            director.config.vrrp.instances.iter().filter(|(name, _)| !paired.contains(name.as_str()))
        {
            let Some(place) = director.places.find(name, "") else { continue };
            let message = format!(
                "`{name}` (virtual router {}, {}) has no partner: nothing in the other file has its name or id",
                instance.vrid, instance.family
            );
            findings.push(finding(Severity::Warning, "pair-missing", place, message, None));
        }
    }
    for (one, other) in &pairs {
        let (Some(a), Some(b)) = (first.config.vrrp.instances.get(*one), second.config.vrrp.instances.get(*other))
        else {
            continue;
        };
        let mut pair = Pair { first, second, names: (one, other), a, b, findings: &mut findings };
        pair.compare();
        pair.compare_groups();
    }
    compare_services(first, second, &mut findings);
    findings.sort_by(|x, y| (&x.file, x.line, x.column).cmp(&(&y.file, y.line, y.column)));
    Diagnostics::of(findings)
}

type Instances = BTreeMap<String, InstanceConfig>;

/// Which instance belongs to which.
fn matches<'a>(first: &'a Instances, second: &'a Instances) -> Vec<(&'a str, &'a str)> {
    let mut pairs: Vec<(&str, &str)> =
        first.keys().filter(|name| second.contains_key(*name)).map(|name| (name.as_str(), name.as_str())).collect();
    let same_link =
        |a: &InstanceConfig, b: &InstanceConfig| (a.vrid, a.family, &a.interface) == (b.vrid, b.family, &b.interface);
    let same_id = |a: &InstanceConfig, b: &InstanceConfig| (a.vrid, a.family) == (b.vrid, b.family);
    for same in [&same_link as &dyn Fn(&InstanceConfig, &InstanceConfig) -> bool, &same_id] {
        for (one, a) in first {
            if pairs.iter().any(|(first, _)| first == one) {
                continue;
            }
            let is_free = |name: &str| !pairs.iter().any(|(_, second)| *second == name);
            if let Some((other, _)) = second.iter().find(|(name, b)| is_free(name) && same(a, b)) {
                pairs.push((one, other));
            }
        }
    }
    pairs
}

fn finding(
    severity: Severity,
    code: &'static str,
    place: &Location,
    message: String,
    note: Option<Note>,
) -> Diagnostic {
    let mut finding = Diagnostic::finding(severity, code, place, message);
    finding.help = lint::find(code).map(|lint| lint.fix.to_owned());
    finding.note = note;
    finding
}

/// Virtual servers that differ, or that only one director has.
fn compare_services(first: Director<'_>, second: Director<'_>, findings: &mut Vec<Diagnostic>) {
    let code = "pair-virtual-server";
    for (here, there, both) in [(first, second, true), (second, first, false)] {
        let others = &there.config.balancer.services;
        for (id, service) in &here.config.balancer.services {
            let Some(place) = here.places.service(id) else { continue };
            let message = match others.get(id) {
                None => format!("`virtual_server {id}` is only in this file"),
                Some(other) if both && other != service => {
                    let servers = |service: &VirtualServerConfig| -> BTreeSet<String> {
                        service.real_servers.iter().map(|server| server.address.to_string()).collect()
                    };
                    let (mine, theirs) = (servers(service), servers(other));
                    match mine.symmetric_difference(&theirs).next() {
                        Some(server) => {
                            format!("`virtual_server {id}`: only one director has the real server {server}")
                        }
                        None => format!("`virtual_server {id}` has other settings here than there"),
                    }
                }
                Some(_) => continue,
            };
            findings.push(finding(Severity::Warning, code, place, message, None));
        }
    }
}

struct Pair<'p, 'f> {
    first: Director<'p>,
    second: Director<'p>,
    names: (&'p str, &'p str),
    a: &'p InstanceConfig,
    b: &'p InstanceConfig,
    findings: &'f mut Vec<Diagnostic>,
}

impl Pair<'_, '_> {
    fn say(&mut self, severity: Severity, code: &'static str, keyword: &str, message: String) {
        let Some(place) = self.first.places.find(self.names.0, keyword) else { return };
        let note = self.second.places.find(self.names.1, keyword).map(|there| Note {
            file: there.path.clone(),
            line: there.line,
            column: there.column,
            message: "the other director".to_owned(),
        });
        self.findings.push(finding(severity, code, place, message, note));
    }

    /// For a value that must be the same.
    fn same<T: PartialEq + std::fmt::Display>(
        &mut self,
        severity: Severity,
        code: &'static str,
        keyword: &str,
        a: T,
        b: T,
    ) {
        if a != b {
            let message = format!("`{}`: `{keyword}` is {a} here and {b} there", self.names.0);
            self.say(severity, code, keyword, message);
        }
    }

    fn compare(&mut self) {
        let (a, b) = (self.a, self.b);
        self.same(Severity::Error, "pair-vrid", "virtual_router_id", a.vrid, b.vrid);
        if a.family != b.family {
            let message = format!("`{}` is {} here and {} there", self.names.0, a.family, b.family);
            self.say(Severity::Error, "pair-family", "virtual_ipaddress", message);
            // The rest would be consequences.
            return;
        }
        self.same(Severity::Error, "pair-version", "version", number(a.version), number(b.version));
        if a.version == b.version {
            let severity = if a.version == Version::V2 { Severity::Error } else { Severity::Warning };
            self.same(severity, "pair-interval", "advert_int", a.advert_interval, b.advert_interval);
            if a.version == Version::V3 {
                let word = |on: bool| if on { "on" } else { "off" };
                let (a, b) = (word(a.v3_checksum_as_v2), word(b.v3_checksum_as_v2));
                self.same(Severity::Error, "pair-checksum", "v3_checksum_as_v2", a, b);
            }
        }
        if a.auth != b.auth {
            let what = match (&a.auth, &b.auth) {
                (Auth::None, _) => "none here and a password there",
                (_, Auth::None) => "a password here and none there",
                _ => "another password here than there",
            };
            self.say(Severity::Error, "pair-auth", "authentication", format!("`{}` has {what}", self.names.0));
        }
        self.addresses();
        self.elections();
        self.transport();
        let word = |on: bool| if on { "on" } else { "off" };
        self.same(Severity::Warning, "pair-setting", "accept", word(a.accept), word(b.accept));
        self.same(Severity::Warning, "pair-setting", "strict_mode", word(a.strict), word(b.strict));
        let keyword = "down_timer_adverts";
        self.same(Severity::Warning, "pair-setting", keyword, a.down_timer_adverts, b.down_timer_adverts);
    }

    fn addresses(&mut self) {
        let (a, b) = (self.a, self.b);
        for (code, keyword, severity, here, there) in [
            ("pair-addresses", "virtual_ipaddress", Severity::Error, &a.addresses, &b.addresses),
            ("pair-excluded", "virtual_ipaddress_excluded", Severity::Warning, &a.excluded, &b.excluded),
        ] {
            let (only_here, only_there) = (beyond(here, there), beyond(there, here));
            let mut parts = Vec::new();
            if !only_here.is_empty() {
                parts.push(format!("has {} beyond the other", list(&only_here)));
            }
            if !only_there.is_empty() {
                parts.push(format!("lacks {} of the other", list(&only_there)));
            }
            if !parts.is_empty() {
                let message = format!("`{}` {}", self.names.0, parts.join(", and "));
                self.say(severity, code, keyword, message);
                continue;
            }
            for one in here {
                let Some(other) = there.iter().find(|other| other.address == one.address) else { continue };
                if one.prefix_len != other.prefix_len {
                    let message = format!(
                        "`{}` has {}/{} here and /{} there",
                        self.names.0, one.address, one.prefix_len, other.prefix_len
                    );
                    self.say(Severity::Warning, code, keyword, message);
                }
            }
        }
    }

    fn elections(&mut self) {
        let (a, b) = (self.a, self.b);
        let name = self.names.0;
        if a.priority == b.priority {
            let owners = a.priority.is_owner();
            let severity = if owners { Severity::Error } else { Severity::Warning };
            let message = format!("both directors have priority {} for `{name}`", a.priority);
            self.say(severity, "pair-priority", "priority", message);
        }
        if (a.state, b.state) == (InitialState::Master, InitialState::Master) {
            self.say(Severity::Warning, "pair-state", "state", format!("`{name}` is `state MASTER` on both directors"));
        }
        if a.preempt != b.preempt && !a.priority.is_owner() && !b.priority.is_owner() {
            let here = if a.preempt { "there" } else { "here" };
            let message = format!("`{name}` has `nopreempt` only {here}");
            self.say(Severity::Warning, "pair-preempt", "nopreempt", message);
        }
        let trackers = |config: &InstanceConfig| -> BTreeSet<TrackerKey> {
            // An interface may be called something else on the other director.
            let tracks = config.tracks.iter().map(|track| track.tracker.clone());
            tracks.filter(|key| !matches!(key, TrackerKey::Interface(_))).collect()
        };
        let (here, there) = (trackers(a), trackers(b));
        if let Some(only) = here.symmetric_difference(&there).next() {
            let place = if here.contains(only) { "here" } else { "there" };
            let message = format!("`{name}` tracks {only} only {place}");
            self.say(Severity::Warning, "pair-tracks", "track_script", message);
        }
        let Some(elections) = Elections::between(a, b) else { return };
        let master = if std::ptr::eq(elections.master, a) { "this director" } else { "the other director" };
        for flaw in elections.flaws() {
            match flaw {
                Failover::Never { tracker, sinks_to, against } => {
                    let message = format!(
                        "`{name}`: when {tracker} fails, {master} sinks to priority {sinks_to} and stays master against {against}"
                    );
                    self.say(Severity::Warning, "pair-no-failover", "priority", message);
                }
                Failover::NoReturn { tracker } => {
                    let message = format!(
                        "`{name}`: after a failover away from {master}, a failure of {tracker} does not bring the addresses back: it has `nopreempt`"
                    );
                    self.say(Severity::Warning, "pair-no-return", "nopreempt", message);
                }
            }
        }
    }

    fn transport(&mut self) {
        let name = self.names.0;
        let (mine, theirs) = match (&self.a.transport, &self.b.transport) {
            (Transport::Multicast { group: a }, Transport::Multicast { group: b }) => {
                if a != b {
                    let message = format!("`{name}` uses the group {a} here and {b} there");
                    self.say(Severity::Error, "pair-transport", "mcast_dst_ip", message);
                }
                return;
            }
            (Transport::Unicast { peers: a, .. }, Transport::Unicast { peers: b, .. }) => (a, b),
            (Transport::Unicast { .. }, Transport::Multicast { .. }) => {
                let message = format!("`{name}` is unicast here and multicast there");
                return self.say(Severity::Error, "pair-transport", "unicast_peer", message);
            }
            (Transport::Multicast { .. }, Transport::Unicast { .. }) => {
                let message = format!("`{name}` is multicast here and unicast there");
                return self.say(Severity::Error, "pair-transport", "unicast_peer", message);
            }
        };
        let mine: Vec<IpAddr> = mine.iter().map(|peer| peer.address).collect();
        let theirs: Vec<IpAddr> = theirs.iter().map(|peer| peer.address).collect();
        if let Some(source) = self.b.source.filter(|source| !mine.contains(source)) {
            let message = format!("`{name}` has no peer {source}, which is the `unicast_src_ip` of the other director");
            self.say(Severity::Error, "pair-peers", "unicast_peer", message);
        }
        if let Some(source) = self.a.source.filter(|source| !theirs.contains(source)) {
            let message = format!("the other director has no peer {source}, which is the `unicast_src_ip` of `{name}`");
            self.say(Severity::Error, "pair-peers", "unicast_src_ip", message);
        }
    }

    /// The instances that move together with this one, under the names of the first file.
    fn compare_groups(&mut self) {
        let members = |config: &Config, name: &str| -> BTreeSet<String> {
            let groups = &config.vrrp.groups;
            let group = groups.values().find(|group| group.members.iter().any(|member| member == name));
            group.map(|group| group.members.iter().cloned().collect()).unwrap_or_default()
        };
        let here = members(self.first.config, self.names.0);
        let there = members(self.second.config, self.names.1);
        if self.names.0 == self.names.1 && here != there {
            let message = format!("`{}` moves together {} here and {} there", self.names.0, with(&here), with(&there));
            self.say(Severity::Warning, "pair-group", "", message);
        }
    }
}

fn with(members: &BTreeSet<String>) -> String {
    if members.is_empty() { "with nobody".to_owned() } else { format!("as {}", list(members)) }
}

fn number(version: Version) -> u8 {
    match version {
        Version::V2 => 2,
        Version::V3 => 3,
    }
}

/// The addresses of one list that the other does not have.
fn beyond(here: &[AddressConfig], there: &[AddressConfig]) -> BTreeSet<IpAddr> {
    let there: BTreeSet<IpAddr> = there.iter().map(|address| address.address).collect();
    here.iter().map(|address| address.address).filter(|address| !there.contains(address)).collect()
}

/// A few of them.
fn list<T: std::fmt::Display>(items: &BTreeSet<T>) -> String {
    const SHOWN: usize = 4;
    let mut text: Vec<String> = items.iter().take(SHOWN).map(ToString::to_string).collect();
    if items.len() > SHOWN {
        text.push(format!("{} more", items.len() - SHOWN));
    }
    text.join(", ")
}
