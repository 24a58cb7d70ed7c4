//! What each of the two says of a file.

use std::path::Path;
use std::process::Command;

use holdfast::conf::{self, Diagnostic, LoadOptions, Severity};

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
        .args(["netns", "exec", &interfaces.name, "timeout", "20", "keepalived", "-t", "-i", "node", "-f"])
        .arg(file)
        .output()
        .expect("keepalived");
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter(|line| !line.trim().is_empty()).map(|line| message(line, file)).collect();
    Theirs { code: output.status.code().unwrap_or(-1), messages }
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
pub fn unexplained(text: &str, theirs: &Theirs, ours: &Ours, rows: &Rows) -> Vec<String> {
    let mut found = Vec::new();
    let mut lost = 0;
    for message in &theirs.messages {
        if rows.explains_theirs(&message.text) {
            lost += 1;
        } else if !has_counterpart(text, message, ours) {
            found.push(format!("keepalived says, and we do not: {}", message.text));
        }
    }
    match (theirs.code == 0, ours.code == 0) {
        // What it refuses the file for may be what the rows are about.
        (false, true) if lost == 0 => {
            let said: Vec<&str> = theirs.messages.iter().map(|message| message.text.as_str()).collect();
            found.push(format!("keepalived refuses ({}), we do not: {}", theirs.code, said.join(" / ")));
        }
        (true, false) => {
            for error in ours.diagnostics.iter().filter(|d| d.severity >= Severity::Error) {
                if !rows.explains_ours(&error.message) {
                    found.push(format!("we refuse, keepalived does not: {}", error.message));
                }
            }
        }
        _ => {}
    }
    found
}

/// Whether we speak of what keepalived speaks of.
fn has_counterpart(text: &str, message: &Message, ours: &Ours) -> bool {
    let within = |first: u32, last: u32| {
        ours.diagnostics.iter().any(|d| {
            (first..=last).contains(&d.line) || d.note.as_ref().is_some_and(|note| (first..=last).contains(&note.line))
        })
    };
    match message.line {
        Some(line) => {
            let lines: Vec<&str> = text.lines().collect();
            let at = line.saturating_sub(1) as usize;
            // At the end of a block it speaks of the block.
            let closes = lines.get(at).is_some_and(|text| text.trim_end().ends_with('}'));
            let first = if closes { opening(&lines, at) } else { line };
            within(first, line)
        }
        None => !ours.diagnostics.is_empty(),
    }
}

/// The line, from 1, that opens the block which ends at `at`, from 0.
fn opening(lines: &[&str], at: usize) -> u32 {
    let mut depth = 0_i32;
    for (index, line) in lines.iter().enumerate().take(at + 1).rev() {
        let braces = |c| i32::try_from(line.matches(c).count()).unwrap_or(0);
        depth += braces('}') - braces('{');
        if depth <= 0 {
            return u32::try_from(index + 1).unwrap_or(1);
        }
    }
    1
}
