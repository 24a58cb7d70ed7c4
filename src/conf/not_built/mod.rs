//! Keywords that are read and checked like all others, and not carried out yet: their typed values.
//!
//! Pure. Each of them is warned of, or refused, when the file is read (`Support` in the schema). Who builds a feature
//! moves its part to the domain that carries it out.

mod bfd;
mod instance;
mod links;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::diagnostic::Reporter;
use super::routes::route;
use super::rules::rule;
use super::schema::Support;
use super::section::{Section, Value};
use crate::command::Command;
use crate::vrrp::routes::{Prefix, RouteConfig, RuleConfig};

/// Everything that is not carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotBuilt {
    /// Keywords with one value, of the root and of `global_defs`.
    pub settings: BTreeMap<String, Setting>,
    /// By `vrrp_instance` name, those that have any.
    pub instances: BTreeMap<String, InstanceNotBuilt>,
    /// `track_bfd` of `vrrp_sync_group` blocks, by group.
    pub group_sessions: BTreeMap<String, Vec<TrackedSession>>,
    /// `static_routes`.
    pub routes: Vec<RouteConfig>,
    /// `static_rules`.
    pub rules: Vec<RuleConfig>,
    /// `track_group` blocks: the instances of each.
    pub track_groups: BTreeMap<String, Vec<String>>,
    /// `garp_group` blocks.
    pub garp_groups: Vec<GarpGroup>,
    /// `interface_up_down_delays` and `linkbeat_interfaces`, by interface.
    pub links: BTreeMap<String, LinkSettings>,
    /// `bfd_instance` blocks by name.
    pub sessions: BTreeMap<String, SessionConfig>,
}

/// The value of a keyword.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Setting {
    /// Present.
    Flag,
    /// On or off.
    Bool(bool),
    /// In range.
    Int(i64),
    /// In range.
    Duration(Duration),
    /// An address.
    Address(IpAddr),
    /// Words.
    Words(Vec<String>),
    /// What to run.
    Command(Command),
}

/// What one instance says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceNotBuilt {
    /// Keywords with one value.
    pub settings: BTreeMap<String, Setting>,
    /// `use_vmac` or `use_ipvlan`.
    pub interface: Option<OwnInterface>,
    /// `auth_hmac`.
    pub hmac: Option<HmacConfig>,
    /// `track_bfd`.
    pub sessions: Vec<TrackedSession>,
    /// `virtual_routes`.
    pub routes: Vec<RouteConfig>,
    /// `virtual_rules`.
    pub rules: Vec<RuleConfig>,
}

/// An interface that an instance makes for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OwnInterface {
    /// `use_vmac`.
    Vmac {
        /// Its name; `None` is made of `vmac_prefix` and the VRID.
        name: Option<String>,
        /// Its address: six bytes, or the first five.
        mac: Option<Vec<u8>>,
        /// `netlink_notify_msg`.
        notify: bool,
        /// `group`.
        group: Option<String>,
    },
    /// `use_ipvlan`.
    Ipvlan {
        /// Its name.
        name: Option<String>,
        /// Its source address.
        address: Option<Prefix>,
        /// `bridge`, `private`, `vepa`.
        mode: IpvlanMode,
        /// `group`.
        group: Option<String>,
    },
}

/// Who of an ipvlan may talk to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum IpvlanMode {
    /// All.
    #[default]
    Bridge,
    /// Nobody.
    Private,
    /// By way of the switch.
    Vepa,
}

/// `auth_hmac`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HmacConfig {
    /// Keys by id.
    pub keys: BTreeMap<u8, HmacKey>,
    /// The one that signs.
    pub active: u8,
    /// Accepted clock difference.
    pub window: Duration,
    /// `anti_replay monotonic` rather than `time`.
    pub monotonic: bool,
    /// `mode`.
    pub mode: HmacMode,
}

/// Where a key comes from.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HmacKey {
    /// 32 to 64 bytes.
    Bytes(Vec<u8>),
    /// In a file.
    File(PathBuf),
}

/// Keys stay out of logs.
impl std::fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::File(path) => path.fmt(f),
        }
    }
}

/// What is done with adverts that are not signed well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum HmacMode {
    /// They are dropped.
    #[default]
    Enforce,
    /// They are believed.
    Permissive,
    /// They are believed, and ours are not signed.
    ReceiveOnly,
}

/// One line of `track_bfd`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedSession {
    /// Name of a `bfd_instance`.
    pub name: String,
    /// Weight.
    pub weight: i16,
    /// Its sign turned.
    pub reverse: bool,
}

/// `garp_group`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GarpGroup {
    /// Smallest spacing of gratuitous ARPs.
    pub garp_interval: Duration,
    /// Smallest spacing of unsolicited NAs.
    pub gna_interval: Duration,
    /// The interfaces that share it.
    pub interfaces: Vec<String>,
}

/// What is said of one interface's link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSettings {
    /// It counts as down after so long.
    pub down_delay: Duration,
    /// It counts as up after so long.
    pub up_delay: Duration,
    /// It is polled, in this way.
    pub linkbeat: Option<Linkbeat>,
}

/// How a link is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Linkbeat {
    /// Whatever the driver knows.
    Auto,
    /// `MII`.
    Mii,
    /// `ETHTOOL`.
    Ethtool,
    /// `IOCTL`.
    Ioctl,
}

/// `bfd_instance`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionConfig {
    /// `source_ip`.
    pub source: Option<IpAddr>,
    /// `neighbor_ip`.
    pub neighbor: IpAddr,
    /// `min_rx`.
    pub min_rx: Duration,
    /// `min_tx`.
    pub min_tx: Duration,
    /// `idle_tx`.
    pub idle_tx: Duration,
    /// `multiplier`.
    pub multiplier: u8,
    /// `passive`.
    pub passive: bool,
    /// `ttl`, `hoplimit`.
    pub ttl: u8,
    /// `max_hops`; `None` is not checked.
    pub max_hops: Option<u8>,
    /// `multihop`.
    pub multihop: bool,
    /// `weight`: the default of `track_bfd`.
    pub weight: i16,
    /// `reverse`.
    pub reverse: bool,
    /// Instances hear of it (`vrrp`, or neither said).
    pub vrrp: bool,
    /// Checkers hear of it (`checker`, or neither said).
    pub checker: bool,
}

/// Reads everything that is not carried out, but for the `found` sessions and the instances that are called `instances`.
pub fn not_built<'a>(
    root: &Section<'_>,
    found: NotBuilt,
    instances: impl Iterator<Item = &'a str>,
    reporter: &mut Reporter,
) -> NotBuilt {
    let mut found = NotBuilt { settings: settings(root), ..found };
    for section in root.sections("global_defs") {
        found.settings.extend(settings(section));
        garp_extra(section, "vrrp_garp_extra_if", reporter);
        buffers(section, reporter);
    }
    found.routes = root.lines("static_routes").filter_map(|node| route(node, true, reporter)).collect();
    found.rules = root.lines("static_rules").filter_map(|node| rule(node, true, reporter)).collect();
    found.track_groups = links::track_groups(root, instances, reporter);
    found.garp_groups = links::garp_groups(root, reporter);
    found.links = links::links(root, reporter);
    for section in root.sections("vrrp_sync_group") {
        let sessions = bfd::tracked(section, &found.sessions, reporter);
        if let Some(name) = section.name.filter(|_| !sessions.is_empty()) {
            found.group_sessions.entry(name.text.to_string()).or_insert(sessions);
        }
    }
    found
}

impl NotBuilt {
    /// The sessions of the file, which instances name.
    pub(super) fn sessions(root: &Section<'_>, reporter: &mut Reporter) -> Self {
        Self { sessions: bfd::sessions(root, reporter), ..Self::default() }
    }

    /// Reads what is not carried out of an instance.
    pub(super) fn read_instance(&mut self, section: &Section<'_>, reporter: &mut Reporter) {
        if !section.unbuilt {
            return;
        }
        let instance = instance::instance(section, &self.sessions, reporter);
        if let Some(name) = section.name.filter(|_| instance != InstanceNotBuilt::default()) {
            self.instances.entry(name.text.to_string()).or_insert(instance);
        }
    }
}

/// Keywords of a section that are not built and have one value.
fn settings(section: &Section<'_>) -> BTreeMap<String, Setting> {
    let unbuilt = |keyword: &str| {
        section.block.find(keyword).is_some_and(|keyword| {
            matches!(keyword.support, Support::Warning(_) | Support::Error(_) | Support::Fatal(_))
        })
    };
    let entries = section.entries.iter().filter(|entry| unbuilt(entry.keyword));
    entries.filter_map(|entry| Some((entry.keyword.to_owned(), setting(&entry.value)?))).collect()
}

fn setting(value: &Value<'_>) -> Option<Setting> {
    Some(match value {
        Value::Flag => Setting::Flag,
        Value::Bool(value) => Setting::Bool(*value),
        Value::Int(value) => Setting::Int(*value),
        Value::Duration(value) => Setting::Duration(*value),
        Value::Address(address) => Setting::Address(*address),
        Value::Word(word) => Setting::Words(vec![word.text.to_string()]),
        Value::Words(words) => Setting::Words(words.iter().map(|word| word.text.to_string()).collect()),
        Value::Text(text) => Setting::Words(vec![text.clone()]),
        Value::Script(command) => Setting::Command(*command.clone()?),
        Value::Weight(..) | Value::Section(_) | Value::Lines(_) | Value::NamedLines(..) => return None,
    })
}

/// `[all] SECS`.
fn garp_extra(section: &Section<'_>, keyword: &str, reporter: &mut Reporter) {
    let Some(words) = section.words(keyword) else { return };
    let words = match words {
        [all, rest @ ..] if all.text == "all" => rest,
        words => words,
    };
    let seconds = words.first().and_then(|word| super::lex::integer(word.text));
    if words.len() != 1 || !seconds.is_some_and(|seconds| (0..=86_400).contains(&seconds)) {
        let span = words.last().map_or(section.span, |word| word.span);
        reporter.error(span, format!("`{keyword}` takes `[all] SECS`, whole seconds from 0 to 86400"));
    }
}

/// `MTU | ADVERT | N`.
fn buffers(section: &Section<'_>, reporter: &mut Reporter) {
    let Some(word) = section.word("vrrp_rx_bufs_policy") else { return };
    let number = super::lex::integer(word.text).is_some_and(|bytes| bytes > 0);
    if !number && !["MTU", "ADVERT"].contains(&word.text) {
        let message = format!("`vrrp_rx_bufs_policy` takes `MTU`, `ADVERT` or bytes, not `{}`", word.text);
        reporter.error(word.span, message);
    }
}
