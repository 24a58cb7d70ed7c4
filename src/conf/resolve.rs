//! Everything that concerns several blocks: groups, names, duplicate virtual routers, and the configuration as a whole.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Later;
use super::address::address;
use super::config::{Config, FileOrder};
use super::diagnostic::Reporter;
use super::draft::{Draft, InstanceBlock, own_tracks};
use super::global::{self, Globals};
use super::lvs;
use super::not_built::{self, NotBuilt};
use super::notify;
use super::section::Section;
use super::source::Span;
use super::trackers::{self, TrackLine, Trackers, tracks, unique};
use super::virtual_server::{Surroundings, VirtualServers};
use super::virtual_server_group;
use super::vrrp;
use crate::checkers::config::Probe;
use crate::ipvs::config::{BalancerConfig, SyncDaemonConfig, VirtualServerId};
use crate::notify::config::{NotifyConfig, NotifyScripts};
use crate::notify::notice::About;
use crate::vrrp::config::{AddressConfig, GroupConfig, InstanceConfig, Track, TrackerKey, Transport, VrrpConfig};

/// Makes the typed configuration of a checked file.
pub fn resolve(root: &Section<'_>, later: &mut Later<'_, '_>, reporter: &mut Reporter) -> Config {
    let globals = global::globals(root, later.first("vrrp_instance", root), reporter);
    let mut trackers = trackers::trackers(root, reporter);
    let mut notify = NotifyConfig::default();
    let mut instances = Instances { not_built: NotBuilt::sessions(root, reporter), ..Instances::default() };
    later.sections("vrrp_instance", root, reporter, |section, reporter| {
        instances.read(section, &globals, &trackers, &mut notify, reporter);
    });
    let (balancer, virtual_servers) = balancer(root, later, &trackers, &mut instances, &mut notify, reporter);
    let mut blocks = root.sections("vrrp_instance").chain(root.sections("vrrp_sync_group"));
    if blocks.any(|section| section.flag("track_virtual_server")) {
        trackers.virtual_servers = balancer.services.keys().map(ToString::to_string).collect();
        instances.track_virtual_servers(root, &trackers, reporter);
    }
    check_duplicates(&instances, reporter);
    let static_addresses = static_addresses(root, &globals, reporter);

    let Instances { configs, mut drafts, blocks, not_built, .. } = instances;
    // A map that is made of all at once has full nodes.
    let mut configs: BTreeMap<String, InstanceConfig> =
        drafts.iter().map(|draft| draft.name.clone()).zip(configs).collect();
    let groups = groups(root, &trackers, &configs, &mut drafts, &mut notify, reporter);
    notify::targets(root, &blocks, &groups, &mut notify, reporter);
    let names = blocks.iter().map(|block| block.name.as_str());
    let not_built = not_built::not_built(root, not_built, names, reporter);
    let names = blocks.into_iter().map(|block| block.name);
    let order = FileOrder { instances: names.collect(), virtual_servers, ..order(root) };
    for draft in drafts {
        if !draft.tracks.is_empty()
            && let Some(config) = configs.get_mut(&draft.name)
        {
            config.tracks = draft.tracks.into_iter().map(|line| line.track).collect();
        }
        if let Some(scripts) = draft.notify {
            notify.instances.insert(draft.name, *scripts);
        }
    }
    let scripts = trackers.scripts.keys().cloned().map(TrackerKey::Script);
    let files = trackers.files.keys().cloned().map(TrackerKey::File);
    let processes = trackers.processes.keys().cloned().map(TrackerKey::Process);
    let services = configs.values().flat_map(|instance| &instance.tracks).map(|track| &track.tracker);
    let services = services.filter(|tracker| matches!(tracker, TrackerKey::VirtualServer(_))).cloned();
    let known = scripts.chain(files).chain(processes).chain(services).collect();
    Config {
        daemon: globals.daemon,
        vrrp: VrrpConfig { global: globals.vrrp, instances: configs, groups, static_addresses, trackers: known },
        balancer,
        scripts: trackers.scripts.into_iter().map(|(name, script)| (name, script.config)).collect(),
        files: trackers.files.into_iter().map(|(name, file)| (name, file.config)).collect(),
        processes: trackers.processes.into_iter().map(|(name, process)| (name, process.config)).collect(),
        notify,
        not_built,
        order,
    }
}

/// Of all blocks but those that are read one by one.
fn order(root: &Section<'_>) -> FileOrder {
    let names = |keyword: &'static str| {
        let named = root.sections(keyword).filter_map(|section| section.name);
        named.map(|name| name.text.to_string())
    };
    FileOrder {
        instances: Vec::new(),
        groups: names("vrrp_sync_group").collect(),
        scripts: names("vrrp_script").collect(),
        files: names("track_file").chain(names("vrrp_track_file")).collect(),
        processes: names("vrrp_track_process").collect(),
        virtual_server_groups: root
            .named_lines("virtual_server_group")
            .map(|(name, ..)| name.text.to_string())
            .collect(),
        virtual_servers: Vec::new(),
    }
}

fn balancer(
    root: &Section<'_>,
    later: &mut Later<'_, '_>,
    trackers: &Trackers,
    instances: &mut Instances,
    notify: &mut NotifyConfig,
    reporter: &mut Reporter,
) -> (BalancerConfig, Vec<VirtualServerId>) {
    let of_instance = instances.sync_daemon.take();
    let vrid = |name: &str| instances.blocks.iter().find(|block| block.name == name)?.vrid.or(Some(0));
    let (global, defaults) = lvs::globals(root, vrid, of_instance, reporter);
    let groups = virtual_server_group::groups(root, reporter);
    let mut names = BTreeSet::new();
    if later.first("virtual_server", root).is_some() {
        names.extend(instances.blocks.iter().map(|block| block.name.as_str()));
    }
    let sessions = root.sections("bfd_instance").filter_map(|section| section.name);
    let around = Surroundings {
        defaults: &defaults,
        trackers,
        groups: &groups,
        instances: &names,
        sessions: &sessions.map(|word| word.text).collect(),
        known: later.known,
    };
    let mut services = VirtualServers::with_capacity(later.count("virtual_server"));
    later.sections("virtual_server", root, reporter, |section, reporter| services.read(section, &around, reporter));
    notify.webhooks.append(&mut services.webhooks);
    let order = services.order();
    let services = services.finish(reporter);
    let checkers = services.values().flat_map(|service| &service.real_servers).flat_map(|server| &server.checkers);
    let checked = checkers.filter_map(|checker| match &checker.probe {
        Probe::File(file) => Some(&file.file),
        _ => None,
    });
    let files = checked.filter_map(|name| Some((name.clone(), trackers.files.get(name)?.config.clone()))).collect();
    (BalancerConfig { global, groups, services, files }, order)
}

/// All instances of the file.
#[derive(Default)]
struct Instances {
    /// Their configuration without tracks, in the order of the file.
    configs: Vec<InstanceConfig>,
    /// What else is known of each of them.
    drafts: Vec<Draft>,
    /// All blocks, in the order of the file.
    blocks: Vec<InstanceBlock>,
    /// Where the first block of each name is.
    seen: BTreeMap<String, Span>,
    /// What is not carried out of them.
    not_built: NotBuilt,
    /// The first one that asks for it.
    sync_daemon: Option<SyncDaemonConfig>,
}

impl Instances {
    /// Reads one of them.
    fn read(
        &mut self,
        section: &Section<'_>,
        globals: &Globals,
        trackers: &Trackers,
        notify: &mut NotifyConfig,
        reporter: &mut Reporter,
    ) {
        self.blocks.extend(InstanceBlock::of(section));
        self.not_built.read_instance(section, reporter);
        notify::own_webhooks(section, About::Instance, notify, reporter);
        let sync_daemon = lvs::sync_daemon_of(section, reporter);
        self.sync_daemon = self.sync_daemon.take().or(sync_daemon);
        if unique(section, &mut self.seen, reporter).is_some()
            && let Some((config, draft)) = vrrp::instance(section, globals, trackers, reporter)
        {
            self.configs.push(config);
            self.drafts.push(draft);
        }
    }

    /// Reads what those track that track virtual servers, which are known now.
    fn track_virtual_servers(&mut self, root: &Section<'_>, trackers: &Trackers, reporter: &mut Reporter) {
        let known = self.drafts.iter_mut().zip(&self.configs);
        let mut known: BTreeMap<Span, _> = known.map(|(draft, config)| (draft.span, (draft, config))).collect();
        for section in root.sections("vrrp_instance").filter(|section| section.flag("track_virtual_server")) {
            if let Some((draft, config)) = known.get_mut(&section.span) {
                draft.tracks = own_tracks(section, config, trackers, reporter);
            }
        }
    }
}

fn groups(
    root: &Section<'_>,
    trackers: &Trackers,
    configs: &BTreeMap<String, InstanceConfig>,
    drafts: &mut [Draft],
    notify: &mut NotifyConfig,
    reporter: &mut Reporter,
) -> BTreeMap<String, GroupConfig> {
    let mut seen = BTreeMap::new();
    let mut owners: BTreeMap<String, (String, Span)> = BTreeMap::new();
    let mut groups = BTreeMap::new();
    if !root.flag("vrrp_sync_group") {
        return groups;
    }
    let drafts = drafts.iter_mut().map(|draft| (draft.name.clone(), draft));
    let mut drafts: BTreeMap<String, &mut Draft> = drafts.collect();
    for section in root.sections("vrrp_sync_group") {
        let Some(name) = unique(section, &mut seen, reporter) else { continue };
        let members = members(section, name, configs, &mut owners, reporter);
        if members.is_empty() {
            let message = format!("`vrrp_sync_group {name}` has no instances: it is left out");
            reporter.error(section.span, message).help("`group { INSTANCE … }`, one name a line");
            continue;
        }
        if let [member] = members.as_slice() {
            reporter.warning(section.span, format!("`vrrp_sync_group {name}` has one instance only, `{member}`"));
        }
        check_owners(section, name, &members, configs, reporter);
        let weights = section.flag("sync_group_tracking_weight");
        let shared = tracks(section, trackers, reporter);
        let shared: Vec<TrackLine> =
            shared.into_iter().filter_map(|line| settle(line, weights, name, reporter)).collect();
        for member in &members {
            if let Some(draft) = drafts.get_mut(member.as_str()) {
                join(draft, &shared, weights, name, reporter);
            }
        }
        let scripts = vrrp::notify(section, false);
        if scripts != NotifyScripts::default() {
            notify.groups.insert(name.to_owned(), scripts);
        }
        groups.insert(name.to_owned(), GroupConfig { members });
    }
    groups
}

/// The names of a group's instances, in the order of the file: those that exist and are in no other group.
fn members(
    section: &Section<'_>,
    group: &str,
    instances: &BTreeMap<String, InstanceConfig>,
    owners: &mut BTreeMap<String, (String, Span)>,
    reporter: &mut Reporter,
) -> Vec<String> {
    let mut members = Vec::new();
    for word in section.lines("group").flat_map(|node| node.words) {
        let name: &str = word.text;
        if !instances.contains_key(name) {
            let message = format!("no `vrrp_instance` is called `{name}`: it is left out of group `{group}`");
            let suggests = reporter.suggests();
            let report = reporter.error(word.span, message);
            if suggests && let Some(near) = super::schema::nearest(name, instances.keys().map(String::as_str)) {
                report.help(format!("did you mean `{near}`?"));
            }
        } else if let Some((other, first)) = owners.get(name) {
            let message = format!("`{name}` is in group `{other}` already: it is left out of this one");
            reporter.error(word.span, message).note(*first, "here");
        } else {
            owners.insert(name.to_owned(), (group.to_owned(), word.span));
            members.push(name.to_owned());
        }
    }
    members
}

/// An owner takes over whatever the others do; a group cannot.
fn check_owners(
    section: &Section<'_>,
    group: &str,
    members: &[String],
    instances: &BTreeMap<String, InstanceConfig>,
    reporter: &mut Reporter,
) {
    let is_owner = |name: &&String| instances.get(*name).is_some_and(|config| config.priority.is_owner());
    let (owners, others): (Vec<&String>, Vec<&String>) = members.iter().partition(is_owner);
    if let (Some(owner), Some(other)) = (owners.first(), others.first()) {
        let message =
            format!("group `{group}` mixes an address owner (`{owner}`, priority 255) with others (`{other}`)");
        reporter.error(section.span, message).help("give all instances of a group the same kind of priority");
    }
}

/// Members of a group move together, so a weight that moves one of them would set them against each other:
/// an interface's weight becomes 0, and other weighted trackers are left out.
fn settle(mut line: TrackLine, weights: bool, group: &str, reporter: &mut Reporter) -> Option<TrackLine> {
    if weights || line.track.weight == 0 {
        return Some(line);
    }
    let is_interface = matches!(line.track.tracker, TrackerKey::Interface(_));
    if line.weight_given && !is_interface {
        let message =
            format!("{} has a weight, and group `{group}` moves as one: it is not tracked", line.track.tracker);
        reporter
            .warning(line.span, message)
            .help("remove the weight, or add `sync_group_tracking_weight` to the group");
        return None;
    }
    if line.weight_given {
        let message = format!("{} is tracked without its weight: group `{group}` moves as one", line.track.tracker);
        reporter.warning(line.span, message).help("or add `sync_group_tracking_weight` to the group");
    }
    line.track = Track { weight: 0, ..line.track };
    Some(line)
}

fn join(instance: &mut Draft, shared: &[TrackLine], weights: bool, group: &str, reporter: &mut Reporter) {
    let own = std::mem::take(&mut instance.tracks);
    instance.tracks = own.into_iter().filter_map(|line| settle(line, weights, group, reporter)).collect();
    let known: BTreeSet<TrackerKey> = instance.tracks.iter().map(|line| line.track.tracker.clone()).collect();
    instance.tracks.extend(shared.iter().filter(|line| !known.contains(&line.track.tracker)).cloned());
}

/// Two instances that would answer to the same adverts.
fn check_duplicates(instances: &Instances, reporter: &mut Reporter) {
    let mut seen = BTreeMap::new();
    for (draft, config) in instances.drafts.iter().zip(&instances.configs) {
        let name = draft.name.as_str();
        let unicast = matches!(config.transport, Transport::Unicast { .. });
        let key = (config.vrid, config.family, config.interface.as_deref(), unicast.then_some(config.source));
        if let Some((other, span)) = seen.get(&key) {
            let interface = config.interface.as_deref().unwrap_or("its source address");
            let message = format!(
                "`{name}` and `{other}` both are virtual router {} ({}) on {interface}",
                config.vrid, config.family
            );
            reporter
                .fatal(draft.vrid_span, message)
                .note(*span, format!("`{other}`"))
                .code("duplicate-vrid")
                .help("give each its own `virtual_router_id`");
        } else {
            seen.insert(key, (name, draft.vrid_span));
        }
    }
}

fn static_addresses(root: &Section<'_>, globals: &Globals, reporter: &mut Reporter) -> Vec<AddressConfig> {
    let default = globals.default_interface.as_deref().unwrap_or("eth0");
    let mut seen = BTreeSet::new();
    let mut addresses = Vec::new();
    for node in root.lines("static_ipaddress") {
        let Some(mut found) = address(node, reporter) else { continue };
        found.options.device.get_or_insert_with(|| default.to_owned());
        if seen.insert((found.address, found.prefix_len, found.options.device.clone())) {
            addresses.push(found);
        } else {
            reporter.error(node.span(), format!("`{}` is there already: the line is left out", found.address));
        }
    }
    addresses
}
