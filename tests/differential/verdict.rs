//! What each of the two says of a file.

use std::path::Path;
use std::process::Command;

use holdfast::conf::{self, Diagnostic, LoadOptions, Severity};

use crate::meanings::Meanings;
use crate::rows::Rows;

/// A network namespace with eth0 to eth5, gone when dropped.
pub struct Interfaces {
    name: String,
}

impl Interfaces {
    pub fn make(test: &str) -> Self {
        let interfaces = Self { name: format!("hf-diff-{test}-{}", std::process::id()) };
        ip(&["netns", "add", &interfaces.name]);
        for n in 0..6 {
            let (link, peer) = (format!("eth{n}"), format!("peer{n}"));
            let net = format!("192.168.20{n}.250/24");
            interfaces.ip(&["link", "add", &link, "type", "veth", "peer", "name", &peer]);
            interfaces.ip(&["link", "set", &link, "up"]);
            interfaces.ip(&["link", "set", &peer, "up"]);
            interfaces.ip(&["addr", "add", &net, "dev", &link]);
        }
        interfaces
    }

    fn ip(&self, args: &[&str]) {
        ip(&[&["-n", &self.name], args].concat());
    }
}

impl Drop for Interfaces {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn ip(args: &[&str]) {
    let status = Command::new("ip").args(args).status().expect("iproute2");
    assert!(status.success(), "ip {args:?}");
}

/// keepalived's word on a file.
pub struct Theirs {
    pub code: i32,
    /// It has no word.
    pub crashed: bool,
    pub messages: Vec<Message>,
}

/// One of its messages.
pub struct Message {
    /// Where, when it says so and means this very file.
    pub line: Option<u32>,
    pub text: String,
}

/// Has keepalived test a file.
pub fn theirs(file: &Path, interfaces: &Interfaces) -> Theirs {
    let output = Command::new("ip")
        .args(["netns", "exec", &interfaces.name, "timeout", "120", "keepalived", "-t", "-i", "node", "-f"])
        .arg(file)
        .output()
        .expect("keepalived");
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter(|line| !line.trim().is_empty()).map(|line| message(line, file)).collect();
    // `ip` dies of nothing by itself; a shell's code for a signal comes from `timeout`.
    let crashed = output.status.code().is_none_or(|code| code > 100);
    Theirs { code: output.status.code().unwrap_or(-1), crashed, messages }
}

/// `(FILE: Line N) text`, `(Line N) text`, or text alone.
fn message(line: &str, file: &Path) -> Message {
    let place = |inner: &str| -> Option<u32> {
        match inner.rsplit_once("Line ") {
            Some(("", number)) => number.parse().ok(),
            Some((path, number)) if path.trim_end_matches([' ', ':']) == file.display().to_string() => {
                number.parse().ok()
            }
            _ => None,
        }
    };
    if let Some((inner, text)) = line.strip_prefix('(').and_then(|rest| rest.split_once(") "))
        && let Some(line) = place(inner)
    {
        return Message { line: Some(line), text: text.to_owned() };
    }
    Message { line: None, text: line.to_owned() }
}

/// Our word on a file.
pub struct Ours {
    pub code: u8,
    pub diagnostics: Vec<Diagnostic>,
}

/// Has our reader test a file.
pub fn ours(file: &Path) -> Ours {
    let options = LoadOptions { config_id: "node".to_owned(), ..LoadOptions::default() };
    let diagnostics = conf::load(file, &options).diagnostics;
    Ours { code: diagnostics.config_test_exit_code(), diagnostics: diagnostics.iter().cloned().collect() }
}

/// The differences of one file that no row explains, without what only this file has in them.
pub fn unexplained(text: &str, theirs: &Theirs, ours: &Ours, rows: &Rows, meanings: &Meanings) -> Vec<String> {
    let mut found = Vec::new();
    if theirs.crashed {
        return found;
    }
    for message in theirs.messages.iter().filter(|message| !rows.explains_theirs(&message.text)) {
        let counterparts = counterparts(text, message, ours);
        let warned =
            || counterparts.iter().any(|d| rows.explains_warning(&d.message)) || rows.explains_warning(&message.text);
        if counterparts.is_empty() {
            found.push(format!("keepalived says, and we do not: {}", message.text));
            continue;
        }
        let said = || counterparts.iter().map(|d| d.message.as_str());
        if meanings.mean(&message.text, said()) != Some(true) {
            let said: Vec<&str> = said().take(3).collect();
            found.push(format!(
                "keepalived says: {}\n        we say:          {}",
                message.text,
                said.join("\n                         ")
            ));
        }
        if theirs.code != 0 && ours.code == 0 && !warned() {
            found.push(format!("keepalived refuses the file for it, and we warn: {}", message.text));
        }
    }
    if theirs.code != 0 && ours.code == 0 && theirs.messages.is_empty() {
        found.push(format!("keepalived refuses the file ({}) without a word, we take it", theirs.code));
    }
    if theirs.code == 0 && ours.code != 0 {
        let errors = ours.diagnostics.iter().filter(|d| d.severity >= Severity::Error);
        let unexplained = errors.filter(|error| !rows.explains_ours(&error.message));
        found.extend(unexplained.map(|error| format!("we refuse, keepalived does not: {}", error.message)));
    }
    found
}

/// What we say of what keepalived speaks of.
fn counterparts<'o>(text: &str, message: &Message, ours: &'o Ours) -> Vec<&'o Diagnostic> {
    let Some(line) = message.line else { return ours.diagnostics.iter().collect() };
    let lines: Vec<&str> = text.lines().collect();
    let at = line.saturating_sub(1) as usize;
    // At the end of a block it speaks of the block.
    let closes = lines.get(at).is_some_and(|text| text.trim_end().ends_with('}'));
    let around = openings(&lines, at);
    let first = around.first().copied().filter(|_| closes).unwrap_or(line);
    let concerns = |d: &&Diagnostic| {
        let here = |at: u32| (first..=line).contains(&at);
        // Nobody looks into a block that is not built, or left out as a whole; keepalived goes on reading in it.
        let leaves_out = ["is not built yet", "the block is left out"].iter().any(|words| d.message.contains(words));
        let skipped = around.contains(&d.line) && leaves_out;
        here(d.line) || d.note.as_ref().is_some_and(|note| here(note.line)) || skipped
    };
    ours.diagnostics.iter().filter(concerns).collect()
}

/// The lines, from 1, that open the blocks around the line `at`, from 0, innermost first; a line that closes a block is
/// within it.
fn openings(lines: &[&str], at: usize) -> Vec<u32> {
    let mut open = Vec::new();
    for (number, line) in (1..).zip(lines.iter().take(at)) {
        for c in line.chars() {
            match c {
                '{' => open.push(number),
                '}' => drop(open.pop()),
                _ => {}
            }
        }
    }
    open.reverse();
    open
}
