//! A command as people write it in keepalived.conf: a program with arguments, or a shell line, and who runs it.
//!
//! Pure. `script`, `notify*`, `misc_path` and the rest share it. keepalived 2 disables a shell line and goes on as if it
//! were healthy; keepalived 1 ran it through a shell, and half the Internet still writes it so. We run it.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use serde::{Deserialize, Serialize};

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Command {
    /// The command as it stands in the file, for messages.
    pub text: String,
    /// Program or shell line.
    pub form: CommandForm,
    /// Run as this user; `None` is the default user (`script_user`).
    pub user: Option<RunAs>,
}

/// The two ways to run something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CommandForm {
    /// Executed directly: program, then arguments. Never empty.
    Program(Vec<String>),
    /// Given to a shell with `-c`. `needs_bash`: has `[[` or `/dev/tcp`, which a plain sh lacks.
    Shell {
        /// The line.
        line: String,
        /// Cannot run under a plain `sh`.
        needs_bash: bool,
    },
}

/// `USER [[:]GROUP]`, names or numbers, resolved when it is run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunAs {
    /// User name or number.
    pub user: String,
    /// Group name or number; `None` is the user's primary group.
    pub group: Option<String>,
    /// The groups that the user is a member of besides (`:GROUP`).
    pub supplementary: bool,
}

impl RunAs {
    /// From the words of a line: `USER`, `USER GROUP`, or `USER :GROUP`.
    pub fn new(user: &str, group: Option<&str>) -> Self {
        let stripped = group.and_then(|group| group.strip_prefix(':'));
        Self {
            user: user.to_owned(),
            group: stripped.or(group).filter(|group| !group.is_empty()).map(str::to_owned),
            supplementary: stripped.is_some(),
        }
    }
}

impl fmt::Display for RunAs {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user)?;
        match (&self.group, self.supplementary) {
            (None, false) => Ok(()),
            (group, supplementary) => {
                let colon = if supplementary { ":" } else { "" };
                write!(f, " {colon}{}", group.as_deref().unwrap_or_default())
            }
        }
    }
}

/// Why a script line is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Nothing, or only quotes.
    #[error("there is no command")]
    Empty,
    /// A quote without its partner.
    #[error("a {0} has no partner")]
    Unmatched(char),
}

impl Command {
    /// A command string, already freed of the line's own quotes, with the user it runs as.
    ///
    /// # Errors
    /// It is empty, or a quote in it has no partner.
    pub fn parse(text: &str, user: Option<RunAs>) -> Result<Self, CommandError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(CommandError::Empty);
        }
        let form = if is_shell_line(text) {
            let needs_bash = ["[[", "/dev/tcp", "/dev/udp"].iter().any(|mark| text.contains(mark));
            CommandForm::Shell { line: text.to_owned(), needs_bash }
        } else {
            let words = split_arguments(text)?;
            if words.first().is_none_or(String::is_empty) {
                return Err(CommandError::Empty);
            }
            CommandForm::Program(words)
        };
        Ok(Self { text: text.to_owned(), form, user })
    }
}

/// A script line falls into its first level of words: the command string, then user and group. Quotes of both kinds
/// hold words together and go; a backslash stays, with the character after it, for the second level.
///
/// # Errors
/// A quote has no partner.
pub fn split_line(line: &str) -> Result<Vec<String>, CommandError> {
    split(line, |rest, word| {
        word.push('\\');
        word.extend(rest.next());
    })
}

/// A command string falls into program and arguments: both kinds of quotes, and C's escapes, within quotes too.
fn split_arguments(text: &str) -> Result<Vec<String>, CommandError> {
    split(text, |rest, word| word.push(unescape(rest)))
}

/// Words between white space. Either kind of quote joins what it encloses; what a backslash means is the caller's.
fn split(
    text: &str,
    mut after_backslash: impl FnMut(&mut Peekable<Chars<'_>>, &mut String),
) -> Result<Vec<String>, CommandError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (_, '\\') => after_backslash(&mut rest, word.get_or_insert_default()),
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_ascii_whitespace() || c == '\u{b}' => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.map_or(Ok(words), |open| Err(CommandError::Unmatched(open)))
}

/// A text with C's escapes resolved.
pub fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        plain.push(if c == '\\' { unescape(&mut rest) } else { c });
    }
    plain
}

/// The character that a backslash and what follows it stand for.
fn unescape(rest: &mut Peekable<Chars<'_>>) -> char {
    let digits = |rest: &mut Peekable<Chars<'_>>, radix: u32, most: usize| {
        let mut value = 0;
        let mut count = 0;
        while count < most {
            let Some(digit) = rest.peek().and_then(|c| c.to_digit(radix)) else { break };
            rest.next();
            value = value * radix + digit;
            count += 1;
        }
        (count > 0).then(|| char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER))
    };
    if rest.peek().is_some_and(|c| c.is_digit(8)) {
        return digits(rest, 8, 3).unwrap_or('\0');
    }
    match rest.next() {
        None => '\\',
        Some('a') => '\u{7}',
        Some('b') => '\u{8}',
        Some('E') => '\u{1b}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('v') => '\u{b}',
        Some('x') => digits(rest, 16, 2).unwrap_or('x'),
        Some('c') => rest.next().and_then(|c| u8::try_from(c).ok()).map_or('c', |byte| char::from(byte & 0x1f)),
        Some(other) => other,
    }
}

/// Words of a shell that are no programs, so that whoever writes one means a shell.
const SHELL_WORDS: [&str; 32] = [
    "!", ".", ":", "bg", "case", "cd", "command", "declare", "do", "eval", "exec", "exit", "export", "fg", "for",
    "function", "hash", "if", "let", "local", "read", "readonly", "return", "set", "shift", "source", "trap", "type",
    "ulimit", "umask", "until", "while",
];

/// Whether a command string must go through a shell: it has one of the shell's own characters outside quotes, starts
/// with `[`, or with a word that only a shell knows. `test`, `kill` and the like are programs too and run as such.
fn is_shell_line(text: &str) -> bool {
    let first = text.split_ascii_whitespace().next().unwrap_or_default();
    // `NAME=value program` sets a variable for the program.
    let assigns = first
        .split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
    if first.starts_with('[') || assigns || SHELL_WORDS.contains(&first.trim_end_matches(';')) {
        return true;
    }
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (_, '\\') => drop(chars.next()),
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '|' | '&' | ';' | '<' | '>' | '(' | '$' | '`') => return true,
            (None, _) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_lines_fall_into_command_user_and_group() {
        let table: &[(&str, &[&str])] = &[
            (r#""/bin/check -a b" nobody nogroup"#, &["/bin/check -a b", "nobody", "nogroup"]),
            ("/bin/check root", &["/bin/check", "root"]),
            (r#""/bin/check 'a b' c""#, &["/bin/check 'a b' c"]),
            (r#"'/bin/check "a b"' u"#, &[r#"/bin/check "a b""#, "u"]),
            (r#""/bin/"check" x""#, &["/bin/check x"]),
            (r"/bin/a\ b c", &[r"/bin/a\ b", "c"]),
            (r#""a \" b""#, &[r#"a \" b"#]),
            ("", &[]),
        ];
        for (line, expected) in table {
            assert_eq!(split_line(line).expect("quotes match"), *expected, "{line}");
        }
        assert_eq!(split_line("\"/bin/x"), Err(CommandError::Unmatched('"')));
        assert_eq!(split_line("it's"), Err(CommandError::Unmatched('\'')));
    }

    #[test]
    fn programs_get_their_arguments() {
        let table: &[(&str, &[&str])] = &[
            ("/usr/bin/killall -0 haproxy", &["/usr/bin/killall", "-0", "haproxy"]),
            (r#"/bin/echo 'a  b' "c d"e"#, &["/bin/echo", "a  b", "c de"]),
            (r"/bin/x a\tb \x41\102\E \cA \q", &["/bin/x", "a\tb", "AB\u{1b}", "\u{1}", "q"]),
            (r"/bin/x 'a\tb'", &["/bin/x", "a\tb"]),
            ("/bin/x '' y", &["/bin/x", "", "y"]),
            ("pidof nginx", &["pidof", "nginx"]),
            ("/bin/sh -c 'a && b'", &["/bin/sh", "-c", "a && b"]),
            ("test -e /etc/x", &["test", "-e", "/etc/x"]),
        ];
        for (text, expected) in table {
            let command = Command::parse(text, None).expect("a command");
            let words = expected.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(command.form, CommandForm::Program(words), "{text}");
        }
        assert_eq!(Command::parse("  ", None), Err(CommandError::Empty));
        assert_eq!(Command::parse("'' x", None), Err(CommandError::Empty));
        assert_eq!(Command::parse("/bin/x 'a", None), Err(CommandError::Unmatched('\'')));
    }

    #[test]
    fn shell_lines_are_recognised() {
        let table = [
            ("[[ -e /etc/keepalived/down ]] && exit 1 || exit 0", true),
            ("[ -f /tmp/x ]", false),
            ("</dev/tcp/127.0.0.1/80", true),
            ("exit 0", false),
            ("killall -0 nginx || exit 1", false),
            ("/bin/x $HOME", false),
            ("A=1 /bin/x", false),
            ("curl -s http://127.0.0.1/ > /dev/null", false),
            ("if true; then exit 1; fi", false),
        ];
        for (text, bash) in table {
            let form = Command::parse(text, None).expect("a command").form;
            assert_eq!(form, CommandForm::Shell { line: text.to_owned(), needs_bash: bash }, "{text}");
        }
    }
}
