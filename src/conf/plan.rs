//! What a reload would do, before it is done: `holdfast plan FILE`.
//!
//! Pure. Two typed configurations become blocks, and blocks the lines that would say them (`lines`, `servers`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use self::lines::{beyond_defaults, blocks};
use super::config::Config;
use crate::vrrp::config::{TrackerKey, renames};

mod lines;
mod notices;
pub mod report;
mod servers;

/// What would become of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The blocks that differ, in the order of the language.
    pub blocks: Vec<BlockChange>,
    /// The instances whose life a change touches, by their new names.
    pub touched: BTreeSet<String>,
    /// How many instances would not be touched at all.
    pub untouched: usize,
}

/// What would become of one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
        (Block::Globals, _) => match new.daemon.clone().hold(&old.daemon) {
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

/// The instances that a change of a block concerns.
fn touches(block: Block, name: &str, lines: &[LineChange], old: &Config, new: &Config) -> Vec<String> {
    let tracking = |key: TrackerKey| -> Vec<String> {
        let instances = new.vrrp.instances.iter();
        instances.filter(|(_, i)| i.tracks.iter().any(|t| t.tracker == key)).map(|(name, _)| name.clone()).collect()
    };
    let members = |config: &Config| config.vrrp.groups.get(name).map(|g| g.members.clone()).unwrap_or_default();
    let tells = |line: &LineChange| {
        line.keyword.starts_with("notify") || ["smtp_alert", "cloud_address"].contains(&line.keyword.as_str())
    };
    match block {
        // Scripts that are told are no part of its life.
        Block::Instance if lines.iter().all(tells) && !lines.is_empty() => Vec::new(),
        Block::Instance => vec![name.to_owned()],
        Block::Group if lines.iter().all(tells) => Vec::new(),
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

#[cfg(test)]
mod tests;
