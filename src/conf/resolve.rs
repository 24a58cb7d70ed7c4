//! Everything that concerns several blocks: groups, names, duplicate virtual routers, and the configuration as a whole.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Later;
use super::address::address;
use super::config::{Config, FileOrder};
use super::diagnostic::Reporter;
use super::global::{self, Globals};
use super::lvs;
use super::not_built;
use super::notify;
use super::section::Section;
use super::source::Span;
use super::trackers::{self, TrackLine, Trackers, tracks, unique};
use super::virtual_server::{Surroundings, VirtualServers};
use super::virtual_server_group;
use super::vrrp::{self, Draft};
use crate::checkers::config::Probe;
use crate::ipvs::config::BalancerConfig;
use crate::notify::config::{NotifyConfig, NotifyScripts};
use crate::vrrp::config::{AddressConfig, GroupConfig, InstanceConfig, Track, TrackerKey, Transport, VrrpConfig};

/// Makes the typed configuration of a checked file.
pub fn resolve(root: &Section<'_>, later: &mut Later<'_, '_>, reporter: &mut Reporter) -> Config {
    let globals = global::globals(root, reporter);
    let mut trackers = trackers::trackers(root, reporter);
    let mut notify = NotifyConfig::default();
    let mut order = order(root);
    let balancer = balancer(root, later, &trackers, &mut notify, &mut order, reporter);
    let mut blocks = root.sections("vrrp_instance").chain(root.sections("vrrp_sync_group"));
    if blocks.any(|section| section.flag("track_virtual_server")) {
        trackers.virtual_servers = balancer.services.keys().map(ToString::to_string).collect();
    }
    let mut instances = instances(root, &globals, &trackers, reporter);
    let groups = groups(root, &trackers, &mut instances, &mut notify, reporter);
    notify::targets(root, &groups, &mut notify, reporter);
    check_duplicates(&instances, reporter);
    let static_addresses = static_addresses(root, &globals, reporter);

    let Instances { mut configs, drafts } = instances;
    for draft in drafts {
        if let Some(scripts) = draft.notify {
            notify.instances.insert(draft.name.to_owned(), *scripts);
        }
        if !draft.tracks.is_empty()
            && let Some(config) = configs.get_mut(draft.name)
        {
            config.tracks = draft.tracks.into_iter().map(|line| line.track).collect();
        }
    }
    let scripts = trackers.scripts.keys().cloned().map(TrackerKey::Script);
    let files = trackers.files.keys().cloned().map(TrackerKey::File);
    let processes = trackers.processes.keys().cloned().map(TrackerKey::Process);
    let services = configs.values().flat_map(|instance| &instance.tracks).map(|track| &track.tracker);
    let services = services.filter(|tracker| matches!(tracker, TrackerKey::VirtualServer(_))).cloned();
    let known = scripts.chain(files).chain(processes).chain(services).collect();
    let not_built = not_built::not_built(root, reporter);
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

/// All but the virtual servers, which are read one by one.
fn order(root: &Section<'_>) -> FileOrder {
    let names = |keyword: &'static str| {
        let named = root.sections(keyword).filter_map(|section| section.name);
        named.map(|name| name.text.to_string())
    };
    FileOrder {
        instances: names("vrrp_instance").collect(),
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
    notify: &mut NotifyConfig,
    order: &mut FileOrder,
    reporter: &mut Reporter,
) -> BalancerConfig {
    let vrid = |name: &str| {
        let named = |section: &&Section<'_>| section.name.is_some_and(|word| word.text == name);
        let instance = root.sections("vrrp_instance").find(named)?;
        instance.int("virtual_router_id").or(Some(0))
    };
    let (global, defaults) = lvs::globals(root, vrid, reporter);
    let groups = virtual_server_group::groups(root, reporter);
    let names = |keyword: &'static str| root.sections(keyword).filter_map(|section| section.name);
    let mut instances = BTreeSet::new();
    if later.has_virtual_servers(root) {
        instances.extend(names("vrrp_instance").map(|word| word.text));
    }
    let around = Surroundings {
        defaults: &defaults,
        trackers,
        groups: &groups,
        instances: &instances,
        sessions: &names("bfd_instance").map(|word| word.text).collect(),
    };
    let mut services = VirtualServers::default();
    later.virtual_servers(root, reporter, |section, reporter| services.read(section, &around, reporter));
    notify.webhooks.append(&mut services.webhooks);
    order.virtual_servers = services.order();
    let services = services.finish(reporter);
    let checkers = services.values().flat_map(|service| &service.real_servers).flat_map(|server| &server.checkers);
    let checked = checkers.filter_map(|checker| match &checker.probe {
        Probe::File(file) => Some(&file.file),
        _ => None,
    });
    let files = checked.filter_map(|name| Some((name.clone(), trackers.files.get(name)?.config.clone()))).collect();
    BalancerConfig { global, groups, services, files }
}

/// All instances of the file.
#[derive(Default)]
struct Instances<'a> {
    /// Their configuration by name, without tracks.
    configs: BTreeMap<String, InstanceConfig>,
    /// What else is known of them, in the order of the file.
    drafts: Vec<Draft<'a>>,
}

fn instances<'a>(root: &Section<'a>, globals: &Globals, trackers: &Trackers, reporter: &mut Reporter) -> Instances<'a> {
    let mut seen = BTreeMap::new();
    let mut instances = Instances::default();
    for section in root.sections("vrrp_instance") {
        if let Some(name) = unique(section, &mut seen, reporter)
            && let Some((config, draft)) = vrrp::instance(section, globals, trackers, reporter)
        {
            instances.configs.insert(name.to_owned(), config);
            instances.drafts.push(draft);
        }
    }
    instances
}

fn groups(
    root: &Section<'_>,
    trackers: &Trackers,
    instances: &mut Instances<'_>,
    notify: &mut NotifyConfig,
    reporter: &mut Reporter,
) -> BTreeMap<String, GroupConfig> {
    let mut seen = BTreeMap::new();
    let mut owners: BTreeMap<String, (String, Span)> = BTreeMap::new();
    let mut groups = BTreeMap::new();
    if !root.flag("vrrp_sync_group") {
        return groups;
    }
    let Instances { configs, drafts } = instances;
    let mut drafts: BTreeMap<&str, &mut Draft<'_>> = drafts.iter_mut().map(|draft| (draft.name, draft)).collect();
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

fn join(instance: &mut Draft<'_>, shared: &[TrackLine], weights: bool, group: &str, reporter: &mut Reporter) {
    let own = std::mem::take(&mut instance.tracks);
    instance.tracks = own.into_iter().filter_map(|line| settle(line, weights, group, reporter)).collect();
    let known: BTreeSet<TrackerKey> = instance.tracks.iter().map(|line| line.track.tracker.clone()).collect();
    instance.tracks.extend(shared.iter().filter(|line| !known.contains(&line.track.tracker)).cloned());
}

/// Two instances that would answer to the same adverts.
fn check_duplicates(instances: &Instances<'_>, reporter: &mut Reporter) {
    let mut seen = BTreeMap::new();
    for draft in &instances.drafts {
        let name = draft.name;
        let Some(config) = instances.configs.get(name) else { continue };
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
        found.device.get_or_insert_with(|| default.to_owned());
        if seen.insert((found.address, found.prefix_len, found.device.clone())) {
            addresses.push(found);
        } else {
            reporter.error(node.span(), format!("`{}` is there already: the line is left out", found.address));
        }
    }
    addresses
}
