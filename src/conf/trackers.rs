//! `vrrp_script`, `track_file`, `vrrp_track_process`, and the lines of `track_*` blocks that refer to them.
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::diagnostic::Reporter;
use super::global::run_as;
use super::lex;
use super::section::Section;
use super::source::Span;
use super::tree::{Node, Word};
use crate::trackers::config::{FileConfig, FileInit, ParameterMatch, ProcessConfig, ProcessPattern, ScriptConfig};
use crate::vrrp::config::{Track, TrackerKey};

/// A tracker and what it gives to `track_*` lines without a weight.
#[derive(Debug)]
pub struct Tracker<T> {
    /// Its settings.
    pub config: T,
    weight: Weight,
}

impl<T> Tracker<T> {
    /// What it gives to lines without a weight, and whether the sign is inverted.
    pub fn default_weight(&self) -> (i16, bool) {
        (self.weight.value, self.weight.reverse)
    }
}

/// A weight, and who said so.
#[derive(Debug, Clone, Copy)]
struct Weight {
    value: i16,
    reverse: bool,
    explicit: bool,
}

/// All trackers by name.
#[derive(Debug, Default)]
pub struct Trackers {
    /// `vrrp_script`.
    pub scripts: BTreeMap<String, Tracker<ScriptConfig>>,
    /// `track_file`, `vrrp_track_file`.
    pub files: BTreeMap<String, Tracker<FileConfig>>,
    /// `vrrp_track_process`.
    pub processes: BTreeMap<String, Tracker<ProcessConfig>>,
    /// `virtual_server` blocks, by what people call them.
    pub virtual_servers: BTreeSet<String>,
}

/// A `track_*` line, resolved.
#[derive(Debug, Clone)]
pub struct TrackLine {
    /// What it says.
    pub track: Track,
    /// The weight stands on this line or in the tracker's block, rather than being the default.
    pub weight_given: bool,
    /// Where.
    pub span: Span,
}

/// Reads all trackers of the file.
pub fn trackers(root: &Section<'_>, reporter: &mut Reporter) -> Trackers {
    let mut trackers = Trackers::default();
    let mut seen = BTreeMap::new();
    for section in root.sections("vrrp_script") {
        if let Some(name) = unique(section, &mut seen, reporter)
            && let Some(tracker) = script(section, reporter)
        {
            trackers.scripts.insert(name.to_owned(), tracker);
        }
    }
    seen.clear();
    for section in root.sections("track_file").chain(root.sections("vrrp_track_file")) {
        if let Some(name) = unique(section, &mut seen, reporter)
            && let Some(tracker) = file(section, reporter)
        {
            trackers.files.insert(name.to_owned(), tracker);
        }
    }
    seen.clear();
    for section in root.sections("vrrp_track_process") {
        if let Some(name) = unique(section, &mut seen, reporter)
            && let Some(tracker) = process(section, reporter)
        {
            trackers.processes.insert(name.to_owned(), tracker);
        }
    }
    trackers
}

/// The name of a block, unless another block has it.
pub fn unique<'a>(
    section: &Section<'a>,
    seen: &mut BTreeMap<String, Span>,
    reporter: &mut Reporter,
) -> Option<&'a str> {
    let name = section.name?.text;
    if let Some(first) = seen.get(name) {
        let message = format!("there is a {} `{name}` already: this one is left out", section.block.title());
        reporter.error(section.span, message).note(*first, "the first one");
        return None;
    }
    seen.insert(name.to_owned(), section.span);
    Some(name)
}

fn script(section: &Section<'_>, reporter: &mut Reporter) -> Option<Tracker<ScriptConfig>> {
    let name: &str = section.name?.text;
    let Some(command) = section.script("script") else {
        reporter
            .error(section.span, format!("`vrrp_script {name}` has no `script` that can run: it is left out"))
            .help("`script \"COMMAND ARGUMENT …\"`");
        return None;
    };
    let mut command = command.clone();
    if let Some(user) = section.words("user").and_then(run_as) {
        command.user = Some(user);
    }
    let mut interval = section.duration("interval").unwrap_or(Duration::from_secs(1));
    if let Some(entry) = section.entry("interval").filter(|_| interval < Duration::from_millis(1)) {
        reporter.error(entry.span, "`interval 0` would never rest: 1 second is used");
        interval = Duration::from_secs(1);
    }
    let timeout = section.duration("timeout").filter(|timeout| !timeout.is_zero()).unwrap_or(interval);
    let config = ScriptConfig {
        command,
        interval,
        timeout,
        rise: section.int("rise").unwrap_or(1),
        fall: section.int("fall").unwrap_or(1),
        init_fail: section.flag("init_fail"),
    };
    Some(Tracker { config, weight: default_weight(section, 0) })
}

fn file(section: &Section<'_>, reporter: &mut Reporter) -> Option<Tracker<FileConfig>> {
    let name: &str = section.name?.text;
    let Some(path) = section.word("file") else {
        reporter
            .error(section.span, format!("`{} {name}` has no `file`: it is left out", section.block.name))
            .help("`file PATH`");
        return None;
    };
    if !path.text.starts_with('/') {
        reporter.warning(path.span, format!("`{}` is not an absolute path", path.text));
    }
    let init = section.words("init_file").map(|words| file_init(words, reporter));
    let config = FileConfig { path: PathBuf::from(path.text), init };
    Some(Tracker { config, weight: default_weight(section, 1) })
}

fn file_init(words: &[Word<'_>], reporter: &mut Reporter) -> FileInit {
    let mut init = FileInit { value: 0, overwrite: false };
    for word in words {
        let number = lex::c_integer(word.text).and_then(|value| i32::try_from(value).ok());
        match (word.text, number) {
            ("overwrite", _) => init.overwrite = true,
            (_, Some(value)) => init.value = value,
            _ => drop(
                reporter.error(word.span, format!("`init_file` takes a number and `overwrite`, not `{}`", word.text)),
            ),
        }
    }
    init
}

fn process(section: &Section<'_>, reporter: &mut Reporter) -> Option<Tracker<ProcessConfig>> {
    let name: &str = section.name?.text;
    let words = section.words("process").unwrap_or_default();
    let Some((program, parameters)) = words.split_first().filter(|(program, _)| !program.text.is_empty()) else {
        reporter
            .error(section.span, format!("`vrrp_track_process {name}` has no `process`: it is left out"))
            .help("`process NAME`, or `process PROGRAM PARAMETER …`");
        return None;
    };
    let (quorum, quorum_max) = quorum(section, reporter);
    let delay = section.duration("delay");
    // keepalived obeys the lines in their order.
    let delay_of = |keyword| {
        let later = match (section.entry(keyword), section.entry("delay")) {
            (Some(own), Some(both)) if own.span < both.span => delay,
            _ => section.duration(keyword).or(delay),
        };
        later.unwrap_or_default()
    };
    let config = ProcessConfig {
        pattern: pattern(section, program, parameters, reporter),
        quorum,
        quorum_max,
        fork_delay: delay_of("fork_delay"),
        terminate_delay: delay_of("terminate_delay"),
    };
    Some(Tracker { config, weight: default_weight(section, 0) })
}

/// How many must run. Of two numbers that contradict each other the later line is left out, as keepalived does.
fn quorum(section: &Section<'_>, reporter: &mut Reporter) -> (u32, Option<u32>) {
    let least: Option<u32> = section.int("quorum");
    let most: Option<u32> = section.int("quorum_max");
    match (least, most, section.entry("quorum"), section.entry("quorum_max")) {
        (Some(low), Some(high), Some(first), Some(second)) if low > high => {
            let (later, name) = if first.span < second.span { (second, "quorum_max") } else { (first, "quorum") };
            reporter.error(later.span, format!("`quorum` {low} is above `quorum_max` {high}: `{name}` is left out"));
            if name == "quorum_max" { (low, None) } else { (high.min(1), Some(high)) }
        }
        // `quorum_max 0`: none may run.
        _ => (least.unwrap_or(1).min(most.unwrap_or(u32::MAX)), most),
    }
}

/// What the kernel keeps of a process's name.
const NAME_LENGTH: usize = 15;

/// A bare name is compared with the process's name, everything else with its command line.
fn pattern(
    section: &Section<'_>,
    program: &Word<'_>,
    parameters: &[Word<'_>],
    reporter: &mut Reporter,
) -> ProcessPattern {
    let matching = section.word("param_match").map(|word| word.text);
    let is_path = program.text.starts_with('/');
    if parameters.is_empty() && matching.is_none() && !section.flag("full_command") && !is_path {
        if program.text.len() > NAME_LENGTH {
            let message = format!("process names have {NAME_LENGTH} bytes: only these are compared");
            reporter.warning(program.span, message).help("`full_command` compares the program as it was called");
        }
        return ProcessPattern::Name(program.text.to_string());
    }
    if is_path && parameters.is_empty() && matching.is_none() && !section.flag("full_command") {
        let message = format!("no process has a path for a name: `{}` is compared with command lines", program.text);
        reporter.warning(program.span, message).help("add `full_command`, without which keepalived never finds it");
    }
    if parameters.is_empty()
        && let Some(entry) = section.entry("param_match")
    {
        let message = "`param_match` without parameters: any parameters match";
        reporter.warning(entry.span, message).help("keepalived does the same, whatever its manual says");
    }
    ProcessPattern::CommandLine {
        program: program.text.to_string(),
        parameters: parameters.iter().map(|word| word.text.to_string()).collect(),
        matching: match matching {
            Some("initial") => ParameterMatch::Initial,
            Some("partial") => ParameterMatch::Partial,
            _ if parameters.is_empty() => ParameterMatch::Partial,
            _ => ParameterMatch::Exact,
        },
    }
}

fn default_weight(section: &Section<'_>, otherwise: i16) -> Weight {
    match section.weight("weight") {
        Some((value, reverse)) => Weight { value, reverse, explicit: true },
        None => Weight { value: otherwise, reverse: false, explicit: false },
    }
}

/// The `track_*` lines of an instance or group, each tracker once, unknown ones reported and left out.
pub fn tracks(section: &Section<'_>, trackers: &Trackers, reporter: &mut Reporter) -> Vec<TrackLine> {
    let none = Weight { value: 0, reverse: false, explicit: false };
    let mut found = Found::default();
    for node in section.lines("track_interface") {
        let key = TrackerKey::Interface(node.keyword().text.to_string());
        add(&mut found, node, key, none, 253, reporter);
    }
    for node in section.lines("track_script") {
        let name: &str = node.keyword().text;
        match trackers.scripts.get(name) {
            Some(script) => add(&mut found, node, TrackerKey::Script(name.to_owned()), script.weight, 253, reporter),
            None => missing(node, "vrrp_script", trackers.scripts.keys(), reporter),
        }
    }
    for node in section.lines("track_file") {
        let name: &str = node.keyword().text;
        match trackers.files.get(name) {
            Some(file) => add(&mut found, node, TrackerKey::File(name.to_owned()), file.weight, 254, reporter),
            None => missing(node, "track_file", trackers.files.keys(), reporter),
        }
    }
    for node in section.lines("track_process") {
        let name: &str = node.keyword().text;
        match trackers.processes.get(name) {
            Some(process) => add(&mut found, node, TrackerKey::Process(name.to_owned()), process.weight, 254, reporter),
            None => missing(node, "vrrp_track_process", trackers.processes.keys(), reporter),
        }
    }
    for node in section.lines("track_virtual_server") {
        if let Some((id, words)) = virtual_server(node, &trackers.virtual_servers, reporter) {
            add_words(&mut found, node, words, TrackerKey::VirtualServer(id), none, 253, reporter);
        }
    }
    found.lines
}

/// `IP PORT [PROTOCOL]`, `group NAME` or `fwmark N`: the virtual server, and the words after it.
fn virtual_server<'a>(
    node: &'a Node<'a>,
    known: &BTreeSet<String>,
    reporter: &mut Reporter,
) -> Option<(String, &'a [Word<'a>])> {
    let (first, rest) = node.words.split_first()?;
    let second = rest.first().map_or("", |word| word.text);
    let (names, used) = match first.text {
        "group" => (vec![format!("[{second}]:0")], 1),
        "fwmark" => (vec![format!("FWM {}", lex::c_integer(second)?)], 1),
        address => {
            let address: IpAddr = match address.parse() {
                Ok(address) => address,
                Err(_) => {
                    reporter
                        .error(first.span, format!("`{address}` is not a virtual server: the line is left out"))
                        .help("`IP PORT [TCP|UDP|SCTP]`, `group NAME` or `fwmark N`, then perhaps `weight N`");
                    return None;
                }
            };
            let port = lex::integer(second).and_then(|port| u16::try_from(port).ok());
            let after = rest.get(usize::from(port.is_some())).map(|word| word.text.to_ascii_lowercase());
            let protocol = after.as_deref().filter(|word| ["tcp", "udp", "sctp"].contains(word));
            let protocols = protocol.map_or(vec!["tcp", "udp", "sctp"], |protocol| vec![protocol]);
            let port_text = port.unwrap_or(0);
            let names = protocols.into_iter().map(|protocol| format!("[{address}]:{protocol}:{port_text}")).collect();
            (names, usize::from(port.is_some()) + usize::from(protocol.is_some()))
        }
    };
    let Some(name) = names.into_iter().find(|name| known.contains(name)) else {
        reporter
            .error(node.span(), "there is no such virtual server: the line is left out")
            .help("write it as its `virtual_server` line has it");
        return None;
    };
    Some((name, rest.get(used..).unwrap_or_default()))
}

/// The lines so far, and where each tracker is among them.
#[derive(Default)]
struct Found {
    lines: Vec<TrackLine>,
    places: BTreeMap<TrackerKey, Span>,
}

/// A line names something that is not there.
pub fn missing<'a>(node: &Node<'_>, block: &str, names: impl Iterator<Item = &'a String>, reporter: &mut Reporter) {
    let word = node.keyword();
    let message = format!("no `{block}` is called `{}`, or it has errors: the line is left out", word.text);
    let suggests = reporter.suggests();
    let report = reporter.error(word.span, message);
    if suggests && let Some(near) = super::schema::nearest(word.text, names.map(String::as_str)) {
        report.help(format!("did you mean `{near}`?"));
    }
}

fn add(found: &mut Found, node: &Node<'_>, tracker: TrackerKey, default: Weight, limit: i64, reporter: &mut Reporter) {
    add_words(found, node, node.arguments(), tracker, default, limit, reporter);
}

fn add_words(
    found: &mut Found,
    node: &Node<'_>,
    words: &[Word<'_>],
    tracker: TrackerKey,
    default: Weight,
    limit: i64,
    reporter: &mut Reporter,
) {
    if let Some(first) = found.places.get(&tracker) {
        reporter.error(node.span(), format!("{tracker} is tracked already: the line is left out")).note(*first, "here");
        return;
    }
    found.places.insert(tracker.clone(), node.span());
    let weight = weight(words, default, limit, reporter);
    let track = Track { tracker, weight: weight.value, reverse: weight.reverse };
    found.lines.push(TrackLine { track, weight_given: weight.explicit, span: node.span() });
}

/// The weight of a line, with the default of what it tracks.
pub fn line_weight(node: &Node<'_>, (value, reverse): (i16, bool), limit: i64, reporter: &mut Reporter) -> (i16, bool) {
    let weight = weight(node.arguments(), Weight { value, reverse, explicit: false }, limit, reporter);
    (weight.value, weight.reverse)
}

/// `[weight N] [reverse|noreverse]`.
fn weight(words: &[Word<'_>], default: Weight, limit: i64, reporter: &mut Reporter) -> Weight {
    let mut weight = default;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.text {
            "weight" => {
                let Some(number) = words.next() else {
                    reporter.error(word.span, "`weight` needs a number");
                    break;
                };
                match lex::integer(number.text) {
                    Some(value) if value.abs() <= limit => {
                        weight =
                            Weight { value: i16::try_from(value).unwrap_or_default(), reverse: false, explicit: true };
                    }
                    // keepalived takes one beyond the limit as the limit.
                    Some(value) if value.abs() == 254 => {
                        reporter.error(number.span, format!("weights are -{limit} to {limit}: {limit} is used"));
                        let value = if value < 0 { -limit } else { limit };
                        weight =
                            Weight { value: i16::try_from(value).unwrap_or_default(), reverse: false, explicit: true };
                    }
                    _ => {
                        let message = format!("`{}` is not a weight from -{limit} to {limit}", number.text);
                        reporter.error(number.span, message).help("the tracker's own weight is used");
                    }
                }
            }
            "reverse" => weight.reverse = true,
            "noreverse" => weight.reverse = false,
            other => {
                let message = format!("`{other}` is ignored: expected `weight N`, `reverse` or `noreverse`");
                let report = reporter.error(word.span, message);
                match other.split_once('=') {
                    Some((name, value)) => report.help(format!("write `{name} {value}`")),
                    None => report.help("each name stands on a line of its own"),
                };
            }
        }
    }
    weight
}
