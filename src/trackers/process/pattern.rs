//! What /proc says about a process, and whether a pattern means it.
//!
//! Pure.

use crate::trackers::config::{ParameterMatch, ProcessPattern};

/// What the kernel keeps of a process's name.
const NAME_LENGTH: usize = 15;

/// What `/proc/PID/stat` says of a process that is not dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat<'a> {
    /// Its name.
    pub name: &'a [u8],
}

impl<'a> Stat<'a> {
    /// Reads `PID (NAME) STATE …`; `None` for a zombie, whose parent has not asked for it yet. A name may hold blanks
    /// and parentheses.
    pub fn parse(stat: &'a [u8]) -> Option<Self> {
        let open = stat.iter().position(|byte| *byte == b'(')?;
        let close = stat.iter().rposition(|byte| *byte == b')')?;
        let name = stat.get(open + 1..close)?;
        let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        // The 20th field of all. A process whose first thread has ended lives on in its others.
        let threads: u32 = fields.nth(16)?.parse().ok()?;
        let is_dead = matches!(state, "Z" | "X" | "x");
        (!is_dead || threads > 1).then_some(Self { name })
    }
}

/// The words of `/proc/PID/cmdline`. Empty for a kernel thread.
pub fn words(cmdline: &[u8]) -> Vec<&[u8]> {
    if cmdline.is_empty() {
        return Vec::new();
    }
    cmdline.strip_suffix(&[0]).unwrap_or(cmdline).split(|byte| *byte == 0).collect()
}

impl ProcessPattern {
    /// How many bytes of a command line decide; 0 when none do.
    pub fn cmdline_length(&self) -> usize {
        match self {
            Self::Name(_) => 0,
            // Each word with its end, and one byte that shows whether something follows.
            Self::CommandLine { program, parameters, .. } => {
                parameters.iter().map(|word| word.len() + 1).sum::<usize>() + program.len() + 2
            }
        }
    }

    /// Whether it means a process with this name and command line.
    pub fn is_met(&self, name: &[u8], words: &[&[u8]]) -> bool {
        match self {
            Self::Name(wanted) => wanted.as_bytes().get(..NAME_LENGTH).unwrap_or(wanted.as_bytes()) == name,
            Self::CommandLine { program, parameters, matching } => {
                let Some((first, rest)) = words.split_first() else { return false };
                *first == program.as_bytes() && parameters_are_met(parameters, *matching, rest)
            }
        }
    }
}

fn parameters_are_met(wanted: &[String], matching: ParameterMatch, found: &[&[u8]]) -> bool {
    let begins_with = |wanted: &[String]| {
        found.len() >= wanted.len() && wanted.iter().zip(found).all(|(wanted, found)| wanted.as_bytes() == *found)
    };
    match matching {
        ParameterMatch::Exact => found.len() == wanted.len() && begins_with(wanted),
        ParameterMatch::Partial => begins_with(wanted),
        ParameterMatch::Initial => match wanted.split_last() {
            None => true,
            Some((last, before)) => {
                begins_with(before) && found.get(before.len()).is_some_and(|word| word.starts_with(last.as_bytes()))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::ParameterMatch::{Exact, Initial, Partial};
    use super::*;

    fn line(words: &[&str], matching: ParameterMatch) -> ProcessPattern {
        let mut words = words.iter().map(|word| (*word).to_owned());
        let program = words.next().unwrap();
        ProcessPattern::CommandLine { program, parameters: words.collect(), matching }
    }

    #[test]
    fn stat() {
        let tail = "1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0";
        for (text, want) in [
            (format!("7 (sleep) S {tail} 1 0"), Some("sleep")),
            (format!("7 (a) b (c) R {tail} 4 0"), Some("a) b (c")),
            (format!("7 () S {tail} 1 0"), Some("")),
            (format!("7 (sleep) Z {tail} 1 0"), None),
            (format!("7 (sleep) Z {tail} 2 0"), Some("sleep")),
            (format!("7 (sleep) X {tail} 0 0"), None),
            ("7 (sleep) S 1".into(), None),
            ("7 )sleep( S".into(), None),
            (String::new(), None),
        ] {
            let found = Stat::parse(text.as_bytes()).map(|stat| String::from_utf8_lossy(stat.name).into_owned());
            assert_eq!(found.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn names() {
        for (pattern, name, met) in [
            ("sleep", "sleep", true),
            ("sleep", "sleepy", false),
            ("sleepy", "sleep", false),
            ("a-name-of-sixteen", "a-name-of-sixte", true),
            ("a-name-of-sixteen", "a-name-of-sixt", false),
            ("a b", "a b", true),
        ] {
            let met_here = ProcessPattern::Name(pattern.into()).is_met(name.as_bytes(), &[]);
            assert_eq!(met_here, met, "{pattern} {name}");
        }
    }

    /// keepalived 2.2.7 decides each row the same way. `|` ends a word.
    #[test]
    fn command_lines() {
        for (words_wanted, matching, cmdline, met) in [
            (&["./x"][..], Partial, "./x|100|200|", true),
            (&["x"], Partial, "./x|100|200|", false),
            (&["./x"], Partial, "./x|", true),
            (&["./x"], Initial, "./x|100|", true),
            (&["./x"], Initial, "./xy|", false),
            (&["./x", "100"], Exact, "./x|100|", true),
            (&["./x", "100"], Exact, "./x|100", true),
            (&["./x", "100"], Exact, "./x|100|200|", false),
            (&["./x", "100"], Exact, "./x|", false),
            (&["./x", "100", "200"], Exact, "./x|100|200|", true),
            (&["./x", "10"], Initial, "./x|100|200|", true),
            (&["./x", "10"], Initial, "./x|150|", false),
            (&["./x", "100", "2"], Initial, "./x|100|2|300|", true),
            (&["./x", "1", "200"], Initial, "./x|100|200|", false),
            (&["./x", "100", ""], Initial, "./x|100|", false),
            (&["./x", "100", ""], Initial, "./x|100|200|", true),
            (&["./x", "100"], Partial, "./x|100|200|", true),
            (&["./x", "10"], Partial, "./x|100|", false),
            (&["./x", "100", "200", "300"], Partial, "./x|100|200|", false),
            (&["nginx: master process nginx"], Partial, "nginx: master process nginx", true),
            (&["x"], Partial, "", false),
        ] {
            let pattern = line(words_wanted, matching);
            let cmdline = cmdline.replace('|', "\0");
            for end in [cmdline.len(), pattern.cmdline_length().min(cmdline.len())] {
                let found = words(&cmdline.as_bytes()[..end]);
                assert_eq!(pattern.is_met(b"x", &found), met, "{words_wanted:?} {matching:?} {cmdline:?} cut at {end}");
            }
        }
    }
}
