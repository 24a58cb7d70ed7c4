//! What a reload would do, before it is done: `holdfast plan FILE`.
//!
//! Pure. Two typed configurations become blocks, and blocks the lines that would say them ([`lines`], [`servers`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Serialize;

use self::lines::{beyond_defaults, blocks};
use super::config::Config;
use crate::vrrp::config::{TrackerKey, renames};

mod lines;
mod servers;

/// What would become of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The blocks that differ, in the order of the language.
    pub blocks: Vec<BlockChange>,
    /// The instances whose life a change touches, by their new names.
    pub touched: BTreeSet<String>,
    /// How many instances would not be touched at all.
    pub untouched: usize,
}

/// What would become of one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BlockChange {
    /// Whether it comes, goes or stays.
    pub change: Change,
    /// `vrrp_instance VI_1`.
    pub block: String,
    /// What comes of it, in words.
    pub effect: String,
    /// What differs in it, without what only follows from its coming or going.
    pub lines: Vec<LineChange>,
}

/// What becomes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only in the new configuration.
    Added,
    /// In both, different.
    Changed,
    /// Only in the old one.
    Removed,
}

/// One setting, or one entry of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LineChange {
    /// The keyword.
    pub keyword: String,
    /// What is in force; absent when it is a default that is not worth a line, or a list lacks the entry.
    pub old: Option<String>,
    /// What would be.
    pub new: Option<String>,
}

/// The lines of one block, by keyword; a list has several.
type Lines = BTreeMap<String, Vec<String>>;
/// Blocks by kind and name. Kinds are numbered in the order of the language.
type Blocks = BTreeMap<(Block, String), Lines>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Block {
    Globals,
    StaticAddress,
    Script,
    File,
    Process,
    Group,
    Instance,
    ServerGroup,
    Server,
}

impl Block {
    fn keyword(self) -> &'static str {
        match self {
            Self::Globals => "global_defs",
            Self::StaticAddress => "static_ipaddress",
            Self::Script => "vrrp_script",
            Self::File => "track_file",
            Self::Process => "vrrp_track_process",
            Self::Group => "vrrp_sync_group",
            Self::Instance => "vrrp_instance",
            Self::ServerGroup => "virtual_server_group",
            Self::Server => "virtual_server",
        }
    }
}

impl Plan {
    /// What leads from `old` to `new`.
    pub fn between(old: &Config, new: &Config) -> Self {
        let renamed = renames(&old.vrrp.instances, &new.vrrp.instances);
        let (mut before, after) = (blocks(old), blocks(new));
        for (from, to) in &renamed {
            if let Some(lines) = before.remove(&(Block::Instance, from.clone())) {
                before.insert((Block::Instance, to.clone()), lines);
            }
        }
        let origin: BTreeMap<&str, &str> = renamed.iter().map(|(from, to)| (to.as_str(), from.as_str())).collect();
        let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let mut changes = Vec::new();
        let mut touched = BTreeSet::new();
        for key @ (block, name) in keys {
            let from = origin.get(name.as_str()).copied().filter(|_| *block == Block::Instance);
            let (change, lines) = match (before.get(key), after.get(key)) {
                (Some(before), Some(after)) if before == after && from.is_none() => continue,
                (Some(before), Some(after)) => (Change::Changed, difference(before, after)),
                (None, Some(after)) => (Change::Added, difference(&Lines::new(), &beyond_defaults(*block, after))),
                (Some(before), None) => (Change::Removed, difference(&beyond_defaults(*block, before), &Lines::new())),
                (None, None) => continue,
            };
            let effect = effect(*block, change, name, from, old, new);
            touched.extend(touches(*block, name, &lines, old, new));
            let title =
                if name.is_empty() { block.keyword().to_owned() } else { format!("{} {name}", block.keyword()) };
            changes.push(BlockChange { change, block: title, effect, lines });
        }
        let untouched = new.vrrp.instances.keys().filter(|name| !touched.contains(*name)).count();
        Self { blocks: changes, touched, untouched }
    }

    /// As text, like a diff.
    pub fn render(&self, color: bool) -> String {
        let paint = |code: &'static str| if color { code } else { "" };
        let (green, red, yellow) = (paint("\x1b[32m"), paint("\x1b[31m"), paint("\x1b[33m"));
        let (bold, reset) = (paint("\x1b[1m"), paint("\x1b[0m"));
        let mut text = String::new();
        for BlockChange { change, block, effect, lines } in &self.blocks {
            let (mark, tint) = match change {
                Change::Added => ('+', green),
                Change::Changed => ('~', yellow),
                Change::Removed => ('-', red),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{tint}{mark}{reset} {bold}{}{reset}: {effect}", printable(block));
            for LineChange { keyword, old, new } in lines {
                let keyword = printable(keyword);
                if let Some(old) = old {
                    let _ = writeln!(text, "    {red}{}{reset}", format!("- {keyword} {}", printable(old)).trim_end());
                }
                if let Some(new) = new {
                    let _ =
                        writeln!(text, "    {green}{}{reset}", format!("+ {keyword} {}", printable(new)).trim_end());
                }
            }
        }
        let count = |change| self.blocks.iter().filter(|block| block.change == change).count();
        let (added, changed, removed) = (count(Change::Added), count(Change::Changed), count(Change::Removed));
        if self.blocks.is_empty() {
            let _ = writeln!(text, "no change: {} instances stay as they are", self.untouched);
            return text;
        }
        let _ = writeln!(text, "blocks: {added} to add, {changed} to change, {removed} to remove");
        let names: Vec<String> = self.touched.iter().map(|name| printable(name)).collect();
        let list = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        let _ = writeln!(text, "instances: {} touched{list}, {} untouched", names.len(), self.untouched);
        text
    }
}

/// Names come from the file; control characters would drive the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// What comes of a change, in words.
fn effect(block: Block, change: Change, name: &str, from: Option<&str>, old: &Config, new: &Config) -> String {
    let instance = |config: &Config, name: &str| config.vrrp.instances.get(name).cloned();
    match (block, change) {
        (Block::Instance, Change::Added) => "a new virtual router begins".to_owned(),
        (Block::Instance, Change::Removed) => "it resigns if it is master, and its addresses are taken off".to_owned(),
        (Block::Instance, Change::Changed) => match (instance(old, from.unwrap_or(name)), instance(new, name)) {
            (Some(before), Some(after)) if !before.is_same_router(&after) => {
                "another virtual router: the old one resigns, the new one begins".to_owned()
            }
            _ => match from {
                Some(from) => format!("was called {from}; it goes on in its state"),
                None => "it goes on in its state".to_owned(),
            },
        },
        (Block::Group, _) => "its instances keep their states, and settle on one".to_owned(),
        (Block::Script | Block::File | Block::Process, Change::Changed) => {
            "starts again; its last result counts until the next".to_owned()
        }
        (Block::Script | Block::File | Block::Process, Change::Added) => "watched from then on, if tracked".to_owned(),
        (Block::Script | Block::File | Block::Process, Change::Removed) => "no longer watched".to_owned(),
        (Block::StaticAddress, _) => "new addresses are put on, old ones taken off".to_owned(),
        (Block::Globals, _) => match held(old, new) {
            held if held.is_empty() => "counts from then on".to_owned(),
            held => format!("counts from then on; {} at the next start only", held.join(", ")),
        },
        (Block::Server, Change::Added) => "a new service".to_owned(),
        (Block::ServerGroup, Change::Added) => "for the virtual servers that name it".to_owned(),
        (Block::ServerGroup, Change::Removed) => "its addresses are served no more".to_owned(),
        (Block::Server, Change::Removed) => "the service goes, with its connections".to_owned(),
        (Block::Server | Block::ServerGroup, _) => "edited in place; the health of what stays is kept".to_owned(),
    }
}

/// Settings that a reload does not change.
fn held(old: &Config, new: &Config) -> Vec<&'static str> {
    let (old, new) = (&old.daemon, &new.daemon);
    let held = [
        ("net_namespace", old.net_namespace != new.net_namespace),
        ("instance", old.instance != new.instance),
        ("use_pid_dir", old.use_pid_dir != new.use_pid_dir),
        ("umask", old.umask != new.umask),
    ];
    held.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}

/// The instances that a change of a block concerns.
fn touches(block: Block, name: &str, lines: &[LineChange], old: &Config, new: &Config) -> Vec<String> {
    let tracking = |key: TrackerKey| -> Vec<String> {
        let instances = new.vrrp.instances.iter();
        instances.filter(|(_, i)| i.tracks.iter().any(|t| t.tracker == key)).map(|(name, _)| name.clone()).collect()
    };
    let members = |config: &Config| config.vrrp.groups.get(name).map(|g| g.members.clone()).unwrap_or_default();
    match block {
        // Scripts that are told are no part of its life.
        Block::Instance if lines.iter().all(|line| line.keyword.starts_with("notify")) && !lines.is_empty() => {
            Vec::new()
        }
        Block::Instance => vec![name.to_owned()],
        Block::Group if lines.iter().all(|line| line.keyword.starts_with("notify")) => Vec::new(),
        Block::Group => members(old).into_iter().chain(members(new)).collect(),
        Block::Script => tracking(TrackerKey::Script(name.to_owned())),
        Block::File => tracking(TrackerKey::File(name.to_owned())),
        Block::Process => tracking(TrackerKey::Process(name.to_owned())),
        Block::Globals | Block::StaticAddress | Block::ServerGroup | Block::Server => Vec::new(),
    }
}

fn difference(before: &Lines, after: &Lines) -> Vec<LineChange> {
    let empty = Vec::new();
    let keywords: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut changes = Vec::new();
    for keyword in keywords {
        let (old, new) = (before.get(keyword).unwrap_or(&empty), after.get(keyword).unwrap_or(&empty));
        let line = |old: Option<&String>, new: Option<&String>| LineChange {
            keyword: keyword.clone(),
            old: old.cloned(),
            new: new.cloned(),
        };
        match (old.as_slice(), new.as_slice()) {
            (old, new) if old == new => {}
            ([old], [new]) => changes.push(line(Some(old), Some(new))),
            _ => {
                let (olds, news): (BTreeSet<_>, BTreeSet<_>) = (old.iter().collect(), new.iter().collect());
                changes.extend(old.iter().filter(|entry| !news.contains(entry)).map(|entry| line(Some(entry), None)));
                changes.extend(new.iter().filter(|entry| !olds.contains(entry)).map(|entry| line(None, Some(entry))));
                if olds == news {
                    changes.push(line(Some(&old.join(", ")), Some(&new.join(", "))));
                }
            }
        }
    }
    changes
}

<<<<<<< HEAD
/// A configuration as blocks of lines.
fn blocks(config: &Config) -> Blocks {
    let mut blocks = Blocks::new();
    let mut put = |block: Block, name: &str, prefix: &str, value: Value| {
        let lines = blocks.entry((block, name.to_owned())).or_default();
        flatten(block, prefix, &value, lines);
    };
    put(Block::Globals, "", "", json(&config.daemon));
    put(Block::Globals, "", "vrrp", json(&config.vrrp.global));
    put(Block::Globals, "", "", json(&config.balancer.global));
    if let Some(mail) = &config.notify.email {
        put(Block::Globals, "", "smtp", json(mail));
    }
    config.notify.fifos.iter().for_each(|fifo| put(Block::Globals, "", &fifo.name(), json(fifo)));
    // Their URLs and headers are secrets often enough.
    config
        .notify
        .webhooks
        .iter()
        .for_each(|(name, hook)| put(Block::Globals, "", &format!("{name}_secret"), json(hook)));
    if !config.vrrp.static_addresses.is_empty() {
        put(Block::StaticAddress, "", "address", json(&config.vrrp.static_addresses));
    }
    config.scripts.iter().for_each(|(name, script)| put(Block::Script, name, "", json(script)));
    config.files.iter().for_each(|(name, file)| put(Block::File, name, "", json(file)));
    config.processes.iter().for_each(|(name, process)| put(Block::Process, name, "", json(process)));
    config.vrrp.groups.iter().for_each(|(name, group)| put(Block::Group, name, "", json(group)));
    config.vrrp.instances.iter().for_each(|(name, instance)| put(Block::Instance, name, "", json(instance)));
    // A group or instance without scripts has no entry there, and one with them has its block.
    config.notify.groups.iter().for_each(|(name, scripts)| put(Block::Group, name, "notify", json(scripts)));
    config.notify.instances.iter().for_each(|(name, scripts)| put(Block::Instance, name, "notify", json(scripts)));
    config.balancer.groups.iter().for_each(|(name, group)| put(Block::ServerGroup, name, "", json(group)));
    config.balancer.services.iter().for_each(|(id, server)| put(Block::Server, &id.to_string(), "", json(server)));
    blocks
}

fn json<T: Serialize>(value: &T) -> Value {
    // All of these are plain data; what has no JSON form at all shows as nothing rather than as a panic.
    let value = serde_json::to_value(value);
    debug_assert!(value.is_ok(), "{value:?}");
    value.unwrap_or(Value::Null)
}

fn flatten(block: Block, path: &str, value: &Value, lines: &mut Lines) {
    match value {
        _ if is_secret(path) => {
            // Different passwords must differ, and not be readable.
            if let Some(mark) = secret(value) {
                lines.insert(keyword(block, path), vec![mark]);
            }
        }
        Value::Object(fields) if leaf(fields).is_none() && !fields.is_empty() => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}_{name}") };
                flatten(block, &path, value, lines);
            }
        }
        Value::Array(entries) => {
            let texts: Vec<String> = entries.iter().map(text).collect();
            if !texts.is_empty() {
                lines.insert(keyword(block, path), texts);
            }
        }
        Value::Null => {}
        value => drop(lines.insert(keyword(block, path), vec![text(value)])),
    }
}

fn is_secret(path: &str) -> bool {
    let last = path.rsplit('_').next().unwrap_or(path);
    matches!(last, "auth" | "password" | "passphrase" | "secret") || path.ends_with("auth_hmac")
}

/// A password is shown as a number that tells two of them apart, no more.
fn secret(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) if text == "None" => return Some("none".to_owned()),
        other => other.to_string(),
    };
    // 16 bits of FNV-1a: enough to see a change, far too little to find eight bytes again.
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    Some(format!("******** (#{:04x})", (hash >> 16) ^ (hash & 0xffff)))
}

/// An object that people write as one value.
fn leaf(fields: &serde_json::Map<String, Value>) -> Option<String> {
    let number = |name: &str| fields.get(name).and_then(Value::as_u64);
    let string = |name: &str| fields.get(name).and_then(Value::as_str);
    if let (Some(secs), Some(nanos), 2) = (number("secs"), number("nanos"), fields.len()) {
        return Some(seconds(secs, u32::try_from(nanos).unwrap_or(0)));
    }
    if let (Some(centiseconds), 1) = (number("centiseconds"), fields.len()) {
        return Some(seconds(centiseconds / 100, u32::try_from(centiseconds % 100).unwrap_or(0) * 10_000_000));
    }
    if let (Some(command), Some(_)) = (string("text"), fields.get("form")) {
        let user = fields.get("user").filter(|user| !user.is_null()).map(|user| format!(" as {}", text(user)));
        return Some(format!("\"{command}\"{}", user.unwrap_or_default()));
    }
    if let (Some(address), Some(length)) = (string("address"), number("prefix_len")) {
        let rest = fields.iter().filter(|(name, _)| !matches!(name.as_str(), "address" | "prefix_len"));
        return Some(format!(
            "{address}/{length}{}",
            rest.filter_map(|(name, value)| option(name, value)).collect::<String>()
        ));
    }
    if let (Some(tracker), true) = (fields.get("tracker"), fields.contains_key("weight")) {
        let rest = fields.iter().filter(|(name, _)| *name != "tracker");
        return Some(format!(
            "{}{}",
            text(tracker),
            rest.filter_map(|(name, value)| option(name, value)).collect::<String>()
        ));
    }
    None
}

fn seconds(secs: u64, nanos: u32) -> String {
    let seconds = std::time::Duration::new(secs, nanos).as_secs_f64();
    format!("{seconds} s")
}

/// One more word of a line; nothing for what is the default everywhere.
fn option(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some(format!(" {name}")),
        Value::Number(number) if number.as_i64() == Some(0) && name != "weight" => None,
        Value::Array(entries) if entries.is_empty() => None,
        value => Some(format!(" {name} {}", text(value))),
    }
}

/// A value on one line.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(entries) => entries.iter().map(text).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => leaf(fields).unwrap_or_else(|| {
            let part = |(name, value): (&String, &Value)| {
                if is_secret(name) { secret(value).map(|mark| format!("{name} {mark}")) } else { option(name, value) }
            };
            let parts: Vec<String> = fields.iter().filter_map(part).map(|part| part.trim().to_owned()).collect();
            parts.join(" ")
        }),
    }
}

/// The file's word for a setting.
fn keyword(block: Block, path: &str) -> String {
    let word = match (block, path) {
        (Block::Instance, "vrid") => "virtual_router_id",
        (Block::Instance, "advert_interval") => "advert_int",
        (Block::Instance, "addresses") => "virtual_ipaddress",
        (Block::Instance, "excluded") => "virtual_ipaddress_excluded",
        (Block::Instance, "source") => "unicast_src_ip",
        (Block::Instance, "track_source") => "track_src_ip",
        (Block::Instance, "strict") => "strict_mode",
        (Block::Instance, "auth") => "authentication",
        (Block::Instance, "receive_buffer") => "kernel_rx_buf_size",
        (Block::Instance, "tracks") => "track",
        (Block::Instance, "transport_Multicast_group") => "mcast_dst_ip",
        (Block::Instance, "transport_Unicast_peers") => "unicast_peer",
        (Block::Instance, "transport_Unicast_ttl") => "unicast_ttl",
        (Block::Instance, "transport_Unicast_check_source") => "check_unicast_src",
        (Block::Instance, "garp_delay") => "garp_master_delay",
        (Block::Instance, "garp_repeat") => "garp_master_repeat",
        (Block::Instance, "garp_refresh") => "garp_master_refresh",
        (Block::Instance, "garp_refresh_repeat") => "garp_master_refresh_repeat",
        (Block::Instance | Block::Group, "notify_any") => "notify",
        (Block::Instance, "notify_deleted") => "notify_deleted",
        (Block::Group, "members") => "group",
        (Block::Script, "command") => "script",
        (Block::File, "path") => "file",
        (Block::Process, "pattern_Name" | "pattern_CommandLine_program") => "process",
        (Block::Server, "scheduler") => "lb_algo",
        (Block::Server, "method") => "lb_kind",
        (Block::Server, "real_servers") => "real_server",
        (Block::Globals, "script_security") => "enable_script_security",
        (Block::Globals, "child_wait") => "child_wait_time",
        (Block::Globals, "vrrp_filter_table") => "nftables",
        (Block::Globals, "vrrp_filter_priority") => "nftables_priority",
        (Block::Globals, "vrrp_filter_counters") => "nftables_counters",
        (Block::Globals, "vrrp_nice") => "vrrp_priority",
        (Block::Globals, path) => path
            .strip_prefix("vrrp_")
            .filter(|p| matches!(*p, "log_unknown_vrids" | "dynamic_interfaces"))
            .unwrap_or(path),
        (_, path) => path,
    };
    word.to_owned()
}

=======
>>>>>>> lang
#[cfg(test)]
mod tests;
