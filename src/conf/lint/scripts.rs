//! Commands that cannot be run, that others could change, or that never fail.
//!
//! Pure: the machine is asked through [`Host`].

use std::collections::BTreeMap;

use super::{Host, ScriptProblem, commands};
use crate::command::{Command, CommandForm};
use crate::conf::config::Config;
use crate::conf::diagnostic::{Kind, Reporter};
use crate::conf::section::Section;

/// Looks at every command of the file.
pub(super) fn lint(root: &Section<'_>, config: &Config, host: Option<&dyn Host>, reporter: &mut Reporter) {
    let mut all = Vec::new();
    commands(root, &mut all);
    // A thousand instances may share one notify script: one look at it, and one finding.
    let mut judged: BTreeMap<String, ()> = BTreeMap::new();
    for (section, keyword, span, command) in all {
        let name = section.name.map_or("", |word| word.text);
        // `user` of a `vrrp_script` is known to the typed script only.
        let typed = config.scripts.get(name).filter(|_| section.block.name == "vrrp_script").map(|s| &s.command);
        let command = typed.unwrap_or(command);
        let is_check = section.block.name == "vrrp_script" || keyword == "misc_path";
        if is_check && let Some(last) = never_fails(command) {
            reporter
                .warning(span, format!("this never fails, because `{last}` is what its result comes from"))
                .code("script-always-succeeds")
                .help("let the check itself be the last command: no `|| true`, no `; echo …`, no `&`");
        }
        if judged.insert(format!("{command:?}"), ()).is_some() {
            continue;
        }
        if let Some(what) = shell_only(command) {
            reporter
                .warning(span, format!("`{keyword}` is a shell line, which keepalived does not run as one: {what}"))
                .code("script-shell-line")
                .help("for the day you go back: a file that begins with `#!/bin/sh`, or `/bin/sh -c '…'`");
        }
        for ScriptProblem { code, message, help } in host.map_or_else(Vec::new, |host| host.judge(command, config)) {
            let report = reporter.warning(span, format!("`{keyword}`: {message}")).code(code);
            if code == "script-unsafe" {
                report.kind(Kind::Security);
            }
            if let Some(help) = help {
                report.help(help);
            }
        }
    }
}

/// What keepalived makes of a command that needs a shell; `None` when it runs it as we do.
fn shell_only(command: &Command) -> Option<String> {
    let CommandForm::Shell { line, .. } = &command.form else { return None };
    // A redirection alone is a test that keepalived gives to a shell too.
    if line.starts_with(['<', '>']) {
        return None;
    }
    let first = line.split_ascii_whitespace().next().unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    Some(if first.chars().all(is_name) && !SHELL_ONLY.contains(&first) {
        format!("it runs `{first}` and takes all the rest for arguments")
    } else {
        format!("there is no program `{first}`, so it disables the script and goes on as if it were healthy")
    })
}

/// Words that begin shell lines and are no programs.
const SHELL_ONLY: [&str; 14] = [
    ".", "case", "eval", "exec", "exit", "export", "for", "function", "if", "local", "set", "source", "until", "while",
];

/// The part of a command that makes it succeed whatever happened before, if there is one.
fn never_fails(command: &Command) -> Option<String> {
    match &command.form {
        CommandForm::Program(words) => {
            let (program, arguments) = words.split_first()?;
            match (base_name(program), arguments) {
                ("sh" | "bash" | "dash", [option, line]) if option == "-c" => line_never_fails(line),
                (program, _) if is_harmless(program, arguments) => Some(words.join(" ")),
                _ => None,
            }
        }
        CommandForm::Shell { line, .. } => line_never_fails(line),
    }
}

fn line_never_fails(line: &str) -> Option<String> {
    let line = line.trim().trim_end_matches(';').trim();
    if line.ends_with('&') && !line.ends_with("&&") {
        return Some("&".to_owned());
    }
    let parts = parts(line);
    let ((joint, last), before) = parts.split_last()?;
    // It may leave early, or mean each command to count.
    let leaves = |text: &str| {
        text.split(|c: char| !c.is_alphanumeric())
            .any(|w| matches!(w, "exit" | "return" | "kill" | "pipefail" | "exec"))
            || text.contains("set -e")
    };
    if before.iter().any(|(_, text)| leaves(text)) {
        return None;
    }
    let words: Vec<String> = last.split_whitespace().map(str::to_owned).collect();
    let (program, arguments) = words.split_first()?;
    let program = base_name(program);
    let filter = *joint == Joint::Pipe && matches!(program, "cat" | "tee" | "wc" | "head" | "tail" | "sort" | "uniq");
    let harmless = *joint != Joint::And && is_harmless(program, arguments) || filter;
    harmless.then(|| match joint {
        Joint::First => last.clone(),
        Joint::Then => format!("; {last}"),
        Joint::Or => format!("|| {last}"),
        Joint::Pipe => format!("| {last}"),
        Joint::And => format!("&& {last}"),
    })
}

fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

fn is_harmless(program: &str, arguments: &[String]) -> bool {
    match program {
        "true" | ":" | "echo" | "printf" | "logger" | "date" | "sleep" => true,
        "exit" | "return" => arguments.first().is_some_and(|code| code == "0"),
        _ => false,
    }
}

/// What stands before a command of a shell line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joint {
    First,
    Then,
    And,
    Or,
    Pipe,
}

/// The commands of a shell line, split at what joins them outside quotes. Lines with compound commands (`if`, `for`, a
/// subshell) come out as pieces that look harmful, which is what is wanted of what is not understood.
fn parts(line: &str) -> Vec<(Joint, String)> {
    let mut parts = vec![(Joint::First, String::new())];
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let joint = match (quote, c) {
            (Some(open), c) if c == open => {
                quote = None;
                None
            }
            (Some(_), _) => None,
            (None, '\'' | '"' | '`') => {
                quote = Some(c);
                None
            }
            (None, ';') => Some(Joint::Then),
            (None, '|') if chars.peek() == Some(&'|') => {
                chars.next();
                Some(Joint::Or)
            }
            (None, '|') => Some(Joint::Pipe),
            (None, '&') if chars.peek() == Some(&'&') => {
                chars.next();
                Some(Joint::And)
            }
            _ => None,
        };
        match (joint, parts.last_mut()) {
            (Some(joint), _) => parts.push((joint, String::new())),
            (None, Some((_, text))) => text.push(c),
            (None, None) => {}
        }
    }
    for (_, text) in &mut parts {
        *text = text.trim().to_owned();
    }
    parts.retain(|(_, text)| !text.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keepalived_does_not_run_as_written() {
        let what = |line: &str| shell_only(&Command::parse(line, None).unwrap());
        assert!(what("killall -0 nginx || exit 1").is_some_and(|what| what.contains("runs `killall`")));
        assert!(what("[[ -e /tmp/x ]] && exit 1").is_some_and(|what| what.contains("no program `[[`")));
        assert!(what("if true; then exit 1; fi").is_some_and(|what| what.contains("no program `if`")));
        assert!(what("A=1 /bin/x").is_some_and(|what| what.contains("no program `A=1`")));
        for line in ["/bin/sh -c 'a && b'", "killall -0 nginx", "</dev/tcp/127.0.0.1/80"] {
            assert_eq!(what(line), None, "{line}");
        }
    }

    #[test]
    fn what_never_fails() {
        for line in [
            "ping -c1 192.0.2.1 || true",
            "pidof nginx; exit 0",
            "curl -f http://localhost/ > /dev/null; echo ok;",
            "pidof nginx && echo up || echo down",
            "systemctl is-active nginx | tee /tmp/x",
            "killall -0 haproxy &",
            "/bin/true",
            "sh -c 'check_it; :'",
            "ps ax | grep nginx | wc -l",
        ] {
            let command = Command::parse(line, None).unwrap();
            assert!(never_fails(&command).is_some(), "{line}: {command:?}");
        }
    }

    #[test]
    fn what_may_fail() {
        for line in [
            "killall -0 haproxy",
            "pidof nginx || exit 1; exit 0",
            "pidof nginx && echo up",
            "ping -c1 192.0.2.1 || (echo no; false)",
            "grep -q '; true' /etc/x",
            "[ -f /tmp/x ] && true",
            "set -e; pidof nginx; echo up",
            "if pidof nginx; then true; else exit 1; fi",
            "ps ax | grep nginx",
            "test \"$(date)\" != x",
        ] {
            let command = Command::parse(line, None).unwrap();
            assert_eq!(never_fails(&command), None, "{line}: {command:?}");
        }
    }
}
