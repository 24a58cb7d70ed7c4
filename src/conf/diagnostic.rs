//! What is wrong with a configuration, for the person who must mend it at 3 a.m.
//!
//! Pure. Problems are collected by a [`Reporter`] with spans and become [`Diagnostics`] with places, sorted, when all
//! files have been read:
//!
//! ```text
//! keepalived.conf:14:5: error: `virtual_ruter_id` is not a keyword of `vrrp_instance`
//!    14 |     virtual_ruter_id 51
//!       |     ^~~~~~~~~~~~~~~~
//!       = help: did you mean `virtual_router_id`?
//! ```

use std::fmt::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::enclosing::{self, Enclosing};
use super::source::{Location, Sources, Span};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Legal, and probably not what was meant.
    Warning,
    /// Wrong: the line or block is left out. A start goes on, as keepalived's does; a reload is refused, unless what
    /// runs has the same error.
    Error,
    /// No daemon can run on this.
    Fatal,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        })
    }
}

/// What kind of problem it is, as far as the exit code of a configuration test tells kinds apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The text says something wrong.
    #[default]
    Content,
    /// The file, or one that it insists on including, is not there.
    Unreadable,
    /// A matter of script security.
    Security,
    /// A keyword stands there without its value, or a block without its name.
    Incomplete,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// Which kind.
    pub kind: Kind,
    /// A stable name for this kind of finding (`weight-too-small`), for those of the linter; `holdfast check --explain`
    /// takes it.
    pub code: Option<String>,
    /// The file.
    pub file: PathBuf,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The line itself, passwords masked; `None` when no file could be read.
    pub source: Option<String>,
    /// Characters to underline.
    pub width: u32,
    /// The blocks around it, innermost first.
    #[serde(default)]
    pub within: Vec<Enclosing>,
    /// Another place that belongs to it.
    pub note: Option<Note>,
    /// What to do.
    pub help: Option<String>,
}

/// A second place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The file.
    pub file: PathBuf,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// What is there.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, false)
    }
}

impl Diagnostic {
    /// A finding of the linter at a place that is known already.
    pub(super) fn finding(severity: Severity, code: &'static str, place: &Location, message: String) -> Self {
        Self {
            severity,
            kind: Kind::Content,
            code: Some(code.to_owned()),
            file: place.path.clone(),
            line: place.line,
            column: place.column,
            message,
            source: Some(mask_secrets(place.text.clone())),
            width: place.width,
            within: Vec::new(),
            note: None,
            help: None,
        }
    }

    fn write(&self, out: &mut impl Write, color: bool) -> fmt::Result {
        let paint = |code: &'static str| if color { code } else { "" };
        let (bold, reset) = (paint("\x1b[1m"), paint("\x1b[0m"));
        let tint = match self.severity {
            Severity::Warning => paint("\x1b[1;33m"),
            Severity::Error | Severity::Fatal => paint("\x1b[1;31m"),
        };
        write!(out, "{bold}{}:", self.file.display())?;
        if self.source.is_some() {
            write!(out, "{}:{}:", self.line, self.column)?;
        }
        let code = self.code.as_ref().map(|code| format!("[{code}]")).unwrap_or_default();
        writeln!(out, "{reset} {tint}{}{code}:{reset} {bold}{}{reset}", self.severity, printable(&self.message))?;
        if let Some(source) = &self.source {
            let (shown, column) = excerpt(source, self.column);
            let pad: String = shown.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let room = shown.chars().count().saturating_sub(column - 1).max(1);
            let tail = "~".repeat((self.width as usize).min(room).saturating_sub(1));
            writeln!(out, "{:>5} | {shown}", self.line)?;
            writeln!(out, "      | {pad}{tint}^{tail}{reset}")?;
        }
        let blocks = self.within.iter().map(|Enclosing { block, line }| format!("`{block}`, opened at line {line}"));
        let blocks: Vec<String> = blocks.collect();
        if !blocks.is_empty() {
            writeln!(out, "      = in {}", printable(&blocks.join(", in ")))?;
        }
        if let Some(note) = &self.note {
            let text = printable(&note.message);
            writeln!(out, "      = note: {}:{}:{}: {text}", note.file.display(), note.line, note.column)?;
        }
        if let Some(help) = &self.help {
            writeln!(out, "      = help: {}", printable(help))?;
        }
        Ok(())
    }
}

/// Control characters would drive the terminal.
fn clean(c: char) -> char {
    if c.is_control() && c != '\t' { '\u{fffd}' } else { c }
}

/// Messages quote what the file says.
fn printable(text: &str) -> String {
    text.chars().map(clean).collect()
}

/// The part of a long line that a terminal can show, and the column in it.
fn excerpt(line: &str, column: u32) -> (String, usize) {
    const WIDTH: usize = 160;
    let column = (column as usize).max(1);
    if line.chars().count() <= WIDTH {
        return (line.chars().map(clean).collect(), column);
    }
    let skip = column.saturating_sub(WIDTH / 2);
    (line.chars().skip(skip).take(WIDTH).map(clean).collect(), column - skip)
}

/// All problems of one configuration, in the order of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// These.
    pub(super) fn of(list: Vec<Diagnostic>) -> Self {
        Self { list }
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are of one severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|d| d.severity == severity).count()
    }

    /// Whether anything is wrong, beyond warnings.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity >= Severity::Error)
    }

    /// Whether nothing can run on this.
    pub fn is_fatal(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Fatal)
    }

    /// The exit code of `--config-test`, by keepalived's numbers: 0 fine, 2 a keyword without its value, where keepalived
    /// reads no further, 4 cannot run, 5 runs with parts left out, 6 script security, or a file is missing.
    ///
    /// Two departures: in keepalived a later small error turns a 4 into a 5, and a deprecated word alone gives 5. Here the
    /// worst one decides, and warnings are fine.
    pub fn config_test_exit_code(&self) -> u8 {
        let any = |test: fn(&Diagnostic) -> bool| self.list.iter().any(test);
        if any(|d| d.severity >= Severity::Error && d.kind == Kind::Incomplete) {
            2
        } else if any(|d| d.severity >= Severity::Error && d.kind != Kind::Content) {
            6
        } else if self.is_fatal() {
            4
        } else if self.has_errors() {
            5
        } else {
            0
        }
    }

    /// All of them as text, with a line of totals; empty when there are none.
    pub fn render(&self, color: bool) -> String {
        let mut text = String::new();
        for diagnostic in &self.list {
            // Writing to a string cannot fail.
            let _ = diagnostic.write(&mut text, color);
        }
        if !self.list.is_empty() {
            let fatal = self.count(Severity::Fatal);
            let errors = self.count(Severity::Error) + fatal;
            let warnings = self.count(Severity::Warning);
            let plural = |n: usize| if n == 1 { "" } else { "s" };
            let _ = write!(text, "{errors} error{}", plural(errors));
            if fatal > 0 {
                let _ = write!(text, " ({fatal} fatal)");
            }
            let _ = writeln!(text, ", {warnings} warning{}", plural(warnings));
        }
        text
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// More of one severity than anybody reads: the file is something else, or a loop went wild. Fatal ones all count.
const MAX_SHOWN: usize = 1000;

/// Collects problems while a configuration is read.
#[derive(Debug, Default)]
pub struct Reporter {
    list: Vec<Report>,
    warnings: usize,
    errors: usize,
    /// Takes the hints of what is not kept any more.
    spare: Option<Report>,
}

/// A problem with its span, open for a hint.
#[derive(Debug)]
pub struct Report {
    severity: Severity,
    kind: Kind,
    code: Option<&'static str>,
    place: Place,
    message: String,
    note: Option<(Span, String)>,
    help: Option<String>,
}

#[derive(Debug)]
enum Place {
    At(Span),
    File(PathBuf),
}

impl Reporter {
    /// Something legal, and probably not what was meant.
    pub fn warning(&mut self, span: Span, message: impl Into<String>) -> &mut Report {
        self.report(Severity::Warning, Place::At(span), message.into())
    }

    /// Something wrong; it is left out.
    pub fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Report {
        self.report(Severity::Error, Place::At(span), message.into())
    }

    /// Nothing can run on this.
    pub fn fatal(&mut self, span: Span, message: impl Into<String>) -> &mut Report {
        self.report(Severity::Fatal, Place::At(span), message.into())
    }

    /// The main file cannot be read.
    pub fn unreadable(&mut self, path: PathBuf, message: impl Into<String>) {
        self.report(Severity::Fatal, Place::File(path), message.into()).kind(Kind::Unreadable);
    }

    fn report(&mut self, severity: Severity, place: Place, message: String) -> &mut Report {
        let report = Report { severity, kind: Kind::Content, code: None, place, message, note: None, help: None };
        let count = match severity {
            Severity::Warning => &mut self.warnings,
            Severity::Error => &mut self.errors,
            Severity::Fatal => &mut 0,
        };
        *count += 1;
        if *count > MAX_SHOWN {
            return self.spare.insert(report);
        }
        self.list.push(report);
        self.list.last_mut().expect("pushed above")
    }

    /// Whether suggestions are still worth their time: a hostile file asks for many.
    pub fn suggests(&self) -> bool {
        self.errors < MAX_SHOWN / 4
    }

    /// Whether nothing can run on this.
    pub fn is_fatal(&self) -> bool {
        self.list.iter().any(|report| report.severity == Severity::Fatal)
    }

    /// Sorts and finds the places.
    pub fn finish(mut self, sources: &Sources) -> Diagnostics {
        self.list.sort_by_key(|report| match &report.place {
            Place::File(_) => Span::default(),
            Place::At(span) => *span,
        });
        let hidden = self.warnings.saturating_sub(MAX_SHOWN) + self.errors.saturating_sub(MAX_SHOWN);
        let span = |report: &Report| match &report.place {
            Place::File(_) => Span::default(),
            Place::At(span) => *span,
        };
        let spans: Vec<Span> = self.list.iter().map(span).collect();
        let around = enclosing::of(&spans, sources);
        let mut list: Vec<Diagnostic> = self
            .list
            .into_iter()
            .zip(around)
            .map(|(report, within)| Diagnostic { within, ..report.locate(sources) })
            .collect();
        if let Some(mut last) = self.spare.map(|report| report.locate(sources)) {
            last.message = format!("{} (the last of {hidden} more problems that are not shown)", last.message);
            list.push(last);
        }
        Diagnostics { list }
    }
}

impl Report {
    /// What to do about it.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    /// Another place that belongs to it.
    pub fn note(&mut self, span: Span, message: impl Into<String>) -> &mut Self {
        self.note = Some((span, message.into()));
        self
    }

    /// Tells the kind.
    pub fn kind(&mut self, kind: Kind) -> &mut Self {
        self.kind = kind;
        self
    }

    /// Gives it the name of a lint.
    pub fn code(&mut self, code: &'static str) -> &mut Self {
        self.code = Some(code);
        self
    }

    fn locate(self, sources: &Sources) -> Diagnostic {
        let note = self.note.map(|(span, message)| {
            let place = sources.locate(span);
            Note { file: place.path, line: place.line, column: place.column, message }
        });
        let (file, line, column, width, source) = match self.place {
            Place::File(path) => (path, 1, 1, 1, None),
            Place::At(span) => {
                let place = sources.locate(span);
                (place.path, place.line, place.column, place.width, Some(mask_secrets(place.text)))
            }
        };
        let Self { severity, kind, message, help, .. } = self;
        let code = self.code.map(str::to_owned);
        Diagnostic { severity, kind, code, file, line, column, message, source, width, within: Vec::new(), note, help }
    }
}

/// Messages end in logs and tickets; passwords must not.
pub(super) fn mask_secrets(line: String) -> String {
    // Where a secret may stand: `key 1 hex:…` and `password …` begin their lines.
    let begins = |word: &str| {
        let blank = line.len() - line.trim_start().len();
        let rest = line.get(blank..)?.strip_prefix(word)?;
        rest.starts_with([' ', '\t']).then_some(blank + word.len())
    };
    let pass = line.find("auth_pass").map(|at| at + "auth_pass".len());
    let Some(at) = pass.or_else(|| begins("key")).or_else(|| begins("password")) else { return line };
    let (head, tail) = line.split_at(at);
    let masked = tail.chars().map(|c| if c.is_whitespace() || c == '{' || c == '}' { c } else { '*' });
    head.chars().chain(masked).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn diagnostics(fill: impl FnOnce(&mut Reporter)) -> Diagnostics {
        let mut sources = Sources::default();
        sources.add(Path::new("k.conf"), b"one two\n\tauth_pass hunter2 {\n");
        let mut reporter = Reporter::default();
        fill(&mut reporter);
        reporter.finish(&sources)
    }

    #[test]
    fn they_are_sorted_and_underlined_and_hide_passwords() {
        let list = diagnostics(|r| {
            r.error(Span { file: 0, start: 9, end: 18 }, "second").help("do this");
            r.warning(Span { file: 0, start: 4, end: 7 }, "first").note(Span { file: 0, start: 9, end: 10 }, "here");
        });
        let expected = "\
k.conf:1:5: warning: first
    1 | one two
      |     ^~~
      = note: k.conf:2:2: here
k.conf:2:2: error: second
    2 | \tauth_pass ******* {
      | \t^~~~~~~~~
      = help: do this
1 error, 1 warning
";
        assert_eq!(list.to_string(), expected);
    }

    #[test]
    fn the_worst_one_decides_the_exit_code() {
        let span = Span::default();
        let code = |fill: fn(&mut Reporter, Span)| diagnostics(|r| fill(r, span)).config_test_exit_code();
        assert_eq!(code(|_, _| {}), 0);
        let warned = |r: &mut Reporter, s: Span| {
            r.warning(s, "w");
        };
        assert_eq!(code(warned), 0);
        let wrong = |r: &mut Reporter, s: Span| {
            r.error(s, "e");
        };
        assert_eq!(code(wrong), 5);
        let incomplete = |r: &mut Reporter, s: Span| {
            r.fatal(s, "f");
            r.error(s, "i").kind(Kind::Incomplete);
        };
        assert_eq!(code(incomplete), 2);
        let both = |r: &mut Reporter, s: Span| {
            r.fatal(s, "f");
            r.error(s, "e");
        };
        assert_eq!(code(both), 4);
        assert_eq!(code(|r, _| r.unreadable("x".into(), "no file")), 6);
    }
}
