//! Files → the lines that count: includes followed, `@id` lines chosen, `$NAME` and `~SEQ`/`~LST` expanded, comments gone.
//!
//! Shell: reads included files. Each line keeps where its text came from; text that came out of a definition points to
//! the word that asked for it. Everything is bounded: depth of includes, depth of definitions, lines made by `~SEQ`.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::LoadOptions;
use super::diagnostic::{Kind, Reporter};
use super::lex;
use super::line::{Line, Lines};
use super::source::{Sources, Span, offset};
use super::substitute::{self, Definition, Scope, Substituted};

/// keepalived reads lines into a buffer of 1024 bytes and drops longer ones.
const MAX_LINE: usize = 1023;
/// keepalived has no limit; a file that includes a file that includes … is a mistake long before this.
const MAX_INCLUDES: usize = 32;
/// How many lines `~SEQ` and `~LST` may make in all.
const MAX_GENERATED: usize = 65_536;

/// Loops inside loops.
const MAX_LOOPS: usize = 8;

/// Expands one configuration.
pub struct Expander<'a> {
    options: &'a LoadOptions,
    sources: &'a mut Sources,
    reporter: &'a mut Reporter,
    definitions: BTreeMap<String, Definition>,
    /// The files being read, outermost first, by their real names.
    open: Vec<PathBuf>,
    random: u64,
    /// What a plain `include` insists on in this file (`include_check`).
    checks: IncludeFlags,
    generated: usize,
    lines: Lines,
}

impl<'a> Expander<'a> {
    /// Ready for the main file.
    pub fn new(options: &'a LoadOptions, sources: &'a mut Sources, reporter: &'a mut Reporter) -> Self {
        let random = options.random_seed;
        let definitions = BTreeMap::new();
        Self {
            options,
            sources,
            reporter,
            definitions,
            open: Vec::new(),
            random,
            checks: IncludeFlags::default(),
            generated: 0,
            lines: Lines::default(),
        }
    }

    /// The lines of a file that has been read, with those of all that it includes.
    pub fn run(mut self, file: u32) -> Lines {
        self.open.push(real(self.sources.path(file)));
        self.lines = Lines::with_room(self.sources.whole(file).len());
        self.read(file);
        self.lines.shrink_to_fit();
        self.lines
    }

    fn read(&mut self, file: u32) {
        let whole = self.sources.whole(file);
        let mut rest = TextLines { text: &whole, file, start: Some(0) };
        while let Some((text, span, classes)) = rest.next() {
            if plain(&mut self.lines, text, span, classes) {
                continue;
            }
            let line = physical(self.reporter, text, span);
            let Some(line) = line.and_then(|line| self.chosen(line)) else { continue };
            if let Some((name, value)) = substitute::definition(&line.text) {
                let name = name.to_owned();
                let at = line.text.len() - value.len();
                let mut body = vec![line.slice(at, line.text.len()).text];
                while body.last().is_some_and(|text| text.ends_with('\\'))
                    && let Some((text, span, _)) = rest.next()
                {
                    let more = physical(self.reporter, text, span).map_or(String::new(), |line| line.text);
                    continue_definition(&mut body, more);
                }
                finish_definition(&mut body);
                self.definitions.insert(name, Definition { lines: body });
                continue;
            }
            self.expand(line, 0);
        }
    }

    /// Carries out `@ID` and `@^ID`.
    fn chosen(&mut self, line: Line) -> Option<Line> {
        let Some(condition) = line.text.strip_prefix('@') else { return Some(line) };
        let end = condition.find(lex::is_blank).unwrap_or(condition.len());
        let (id, negated) = match condition[..end].strip_prefix('^') {
            Some(id) => (id, true),
            None => (&condition[..end], false),
        };
        if id.is_empty() {
            let span = line.span(0, 1 + end);
            self.reporter.error(span, "`@` without a configuration id: the line is dropped");
            return None;
        }
        if (id == self.options.config_id) == negated {
            return None;
        }
        let rest = line.slice(1 + end, line.text.len());
        if rest.text.is_empty() {
            return None;
        }
        self.chosen(rest)
    }

    /// `~`, then `$`, then what an expansion may have brought: a condition, a comment, another loop.
    fn expand(&mut self, line: Line, depth: usize) {
        if let Some(found) = substitute::find_loop(&line.text) {
            return self.repeat(&line, found, depth);
        }
        let substituted = if line.text.contains('$') {
            self.with_scope(&line, |scope| substitute::expand(&line, scope))
        } else {
            Substituted::Unchanged
        };
        match substituted {
            Substituted::Failed => {}
            Substituted::Unchanged => self.deliver(line),
            Substituted::Lines(lines) => {
                for line in lines {
                    let end = lex::comment_start(&line.text).unwrap_or(line.text.len());
                    let line = line.slice(0, end);
                    if line.text.len() > MAX_LINE {
                        self.reporter.error(line.span(0, 1), "the line is longer than 1023 bytes after expansion");
                    } else if let Some(line) = (!line.text.is_empty()).then_some(line).and_then(|l| self.chosen(l)) {
                        match substitute::find_loop(&line.text) {
                            Some(found) => self.repeat(&line, found, depth + 1),
                            None => self.deliver(line),
                        }
                    }
                }
            }
        }
    }

    /// `~SEQ` and `~LST`: the rest of the line once for each value.
    fn repeat(&mut self, line: &Line, found: substitute::Loop, depth: usize) {
        if depth > MAX_LOOPS {
            self.reporter.error(line.whole(), format!("more than {MAX_LOOPS} `~SEQ` and `~LST` inside each other"));
            return;
        }
        let limit = MAX_GENERATED.saturating_sub(self.generated);
        let unrolled = match self.with_scope(line, |scope| substitute::unroll(line, found, limit, scope)) {
            Ok(unrolled) => unrolled,
            // Said once; what is left of the loops around it would say it again.
            Err(_) if self.generated >= MAX_GENERATED => return,
            Err(why) => {
                if why == substitute::TOO_MANY {
                    self.generated = MAX_GENERATED;
                }
                self.reporter
                    .error(line.whole(), why)
                    .help("write `~SEQ(VAR, START, STEP, END) text` or `~LST(VAR, A, B) text`");
                return;
            }
        };
        self.generated += unrolled.rows.len();
        let Some(rest) = self.chosen(unrolled.line) else { return };
        let names = &unrolled.names;
        let hidden: Vec<_> = names.iter().map(|name| (name.clone(), self.definitions.remove(name))).collect();
        for row in unrolled.rows {
            let mut values = row.into_iter();
            for name in names {
                let lines = vec![values.next().unwrap_or_default()];
                self.definitions.insert(name.clone(), Definition { lines });
            }
            self.expand(rest.clone(), depth + 1);
        }
        for (name, definition) in hidden {
            match definition {
                Some(definition) => self.definitions.insert(name, definition),
                None => self.definitions.remove(&name),
            };
        }
    }

    fn with_scope<T>(&mut self, line: &Line, work: impl FnOnce(&mut Scope<'_>) -> T) -> T {
        let directory = self.sources.path(line.whole().file).parent().map(Path::to_owned).unwrap_or_default();
        let mut scope = Scope {
            definitions: &self.definitions,
            options: self.options,
            directory: &directory,
            random: &mut self.random,
            reporter: self.reporter,
            budget: 4096,
        };
        work(&mut scope)
    }

    fn deliver(&mut self, line: Line) {
        let end = line.text.find(lex::is_blank).unwrap_or(line.text.len());
        match &line.text[..end] {
            "include_check" => self.checks.change(&line.text[end..]),
            "random_seed" => {
                let seed = lex::integer(line.text[end..].trim_matches(lex::is_blank));
                self.random = seed.and_then(|seed| u64::try_from(seed).ok()).unwrap_or(self.random);
            }
            _ => {}
        }
        let Some(flags) = IncludeFlags::of(&line.text[..end]) else {
            self.lines.push(line);
            return;
        };
        let argument = line.slice(end, line.text.len());
        let flags = if self.options.strict_includes { IncludeFlags::ALL } else { flags.and(self.checks) };
        self.include(&argument, line.whole(), flags);
    }

    fn include(&mut self, argument: &Line, span: Span, flags: IncludeFlags) {
        let pattern = argument.text.trim_matches('"');
        if pattern.is_empty() {
            self.reporter.error(span, "`include` needs a file name");
            return;
        }
        let base = self.sources.path(span.file).parent().map(Path::to_owned).unwrap_or_default();
        for alternative in braces(pattern) {
            let wild = alternative.contains(['*', '?', '[']);
            let full = base.join(&alternative);
            // The directory's own name may hold glob characters.
            let pattern = format!("{}/{alternative}", glob::Pattern::escape(&base.to_string_lossy()));
            let pattern =
                if base.as_os_str().is_empty() || alternative.starts_with('/') { &alternative } else { &pattern };
            let files: Vec<PathBuf> = match (wild, glob::glob(pattern)) {
                (false, _) => vec![full],
                (true, Ok(paths)) => paths.filter_map(Result::ok).collect(),
                (true, Err(error)) => {
                    self.include_failed(span, format!("`{alternative}` is not a file pattern: {error}"), flags.read);
                    continue;
                }
            };
            if files.is_empty() {
                self.include_failed(span, format!("no file matches `{alternative}`"), flags.wildcard || flags.brace);
            }
            for path in files {
                self.include_file(&path, span, wild, flags);
            }
        }
    }

    fn include_file(&mut self, path: &Path, span: Span, wild: bool, flags: IncludeFlags) {
        let name = real(path);
        if self.open.contains(&name) {
            let chain: Vec<String> = self.open.iter().map(|p| p.display().to_string()).collect();
            let message = format!("`{}` includes itself: {} → {}", path.display(), chain.join(" → "), name.display());
            self.reporter.error(span, message);
            return;
        }
        if self.open.len() >= MAX_INCLUDES {
            self.reporter.error(span, format!("includes are nested more than {MAX_INCLUDES} deep"));
            return;
        }
        if path.exists() && !path.is_file() {
            if !wild {
                self.include_failed(span, format!("`{}` is not a file", path.display()), flags.read);
            }
            return;
        }
        if is_executable(path) {
            // A folder of configurations may hold their scripts, too.
            self.reporter
                .warning(span, format!("`{}` is executable: it is skipped, as in keepalived", path.display()))
                .help(format!("if it is a configuration: `chmod a-x {}`", path.display()));
            return;
        }
        match self.sources.read(path) {
            Ok(file) => {
                self.open.push(name);
                let checks = self.checks;
                self.read(file);
                self.checks = checks;
                self.open.pop();
            }
            Err(error) => {
                let required = flags.read || flags.exists || flags.brace;
                self.include_failed(span, format!("cannot include `{}`: {error}", path.display()), required);
            }
        }
    }

    fn include_failed(&mut self, span: Span, message: String, required: bool) {
        if required {
            self.reporter.fatal(span, message).kind(Kind::Unreadable);
        } else {
            self.reporter.warning(span, message).help("`includea` instead of `include` makes this an error");
        }
    }
}

/// What an include directive insists on.
#[derive(Debug, Clone, Copy, Default)]
struct IncludeFlags {
    read: bool,
    exists: bool,
    wildcard: bool,
    brace: bool,
}

impl IncludeFlags {
    const ALL: Self = Self { read: true, exists: true, wildcard: true, brace: true };

    fn of(word: &str) -> Option<Self> {
        let none = Self::default();
        Some(match word {
            "include" => none,
            "includer" => Self { read: true, ..none },
            "includem" => Self { read: true, exists: true, ..none },
            "includew" => Self { read: true, exists: true, wildcard: true, ..none },
            "includeb" => Self { read: true, brace: true, ..none },
            "includea" => Self::ALL,
            _ => return None,
        })
    }

    fn and(self, other: Self) -> Self {
        Self {
            read: self.read || other.read,
            exists: self.exists || other.exists,
            wildcard: self.wildcard || other.wildcard,
            brace: self.brace || other.brace,
        }
    }

    /// `include_check [[+|-]CHECK …]`: these, or these more, or these less; all of them when none is named. Wrong names
    /// are reported with the other keywords of the block.
    fn change(&mut self, words: &str) {
        let mut words = words.split(lex::is_blank).filter(|word| !word.is_empty()).peekable();
        match words.peek() {
            None => *self = Self::ALL,
            Some(first) if !first.starts_with(['+', '-']) => *self = Self::default(),
            Some(_) => {}
        }
        for word in words {
            let on = !word.starts_with('-');
            match word.trim_start_matches(['+', '-']) {
                "read" => self.read = on,
                "match" => self.exists = on,
                "wildcard_match" => self.wildcard = on,
                "brace_match" => self.brace = on,
                _ => {}
            }
        }
    }
}

/// The lines of a file, without their ends, each with its place and the classes of its bytes.
struct TextLines<'t> {
    text: &'t str,
    file: u32,
    /// Where the next one begins; `None` behind the last.
    start: Option<usize>,
}

impl<'t> Iterator for TextLines<'t> {
    type Item = (&'t str, Span, u8);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.start?;
        let rest = self.text.get(start..)?;
        let (end, classes) = lex::line_end(rest);
        self.start = (end < rest.len()).then_some(start + end + 1);
        let mut line = rest.get(..end)?;
        while let [.., b'\r'] = line.as_bytes() {
            line = line.get(..line.len() - 1)?;
        }
        let from = offset(start);
        Some((line, Span { file: self.file, start: from, end: from + offset(line.len()) }, classes))
    }
}

/// Takes a line that nothing has to be done to; whether it was one.
fn plain(lines: &mut Lines, text: &str, span: Span, classes: u8) -> bool {
    if classes & lex::EXPANDS != 0 || text.len() > MAX_LINE {
        return false;
    }
    let end = if classes & lex::COMMENT != 0 { lex::comment_start(text).unwrap_or(text.len()) } else { text.len() };
    let text = text.get(..end).unwrap_or_default();
    let trimmed = lex::after_blanks(text);
    let start = span.start + offset(text.len() - trimmed.len());
    let trimmed = lex::before_blanks(trimmed);
    if trimmed.is_empty() {
        return true;
    }
    // Few lines begin with these letters.
    if matches!(trimmed.as_bytes().first(), Some(b'i' | b'r'))
        && (trimmed.starts_with("include") || trimmed.starts_with("random_seed"))
    {
        return false;
    }
    lines.push_span(Span { start, end: start + offset(trimmed.len()), ..span }, classes)
}

/// A line of the file, its comment and outer blanks gone; `None` when keepalived drops it or nothing is left.
fn physical(reporter: &mut Reporter, text: &str, span: Span) -> Option<Line> {
    if text.len() > MAX_LINE || text.contains('\0') {
        let why = if text.contains('\0') {
            "a line with a NUL byte is dropped".to_owned()
        } else {
            format!("a line of {} bytes is dropped: the limit is {MAX_LINE}", text.len())
        };
        let blank = text.trim_matches(lex::is_blank);
        // A long comment harms nobody.
        if !blank.starts_with(['#', '!']) {
            reporter.error(Span { end: span.start + 1, ..span }, why);
        }
        return None;
    }
    let text = &text[..lex::comment_start(text).unwrap_or(text.len())];
    let trimmed = text.trim_start_matches(lex::is_blank);
    let start = span.start + offset(text.len() - trimmed.len());
    let trimmed = trimmed.trim_end_matches(lex::is_blank);
    let span = Span { start, end: start + offset(trimmed.len()), ..span };
    (!trimmed.is_empty()).then(|| Line::verbatim(trimmed, span))
}

fn continue_definition(body: &mut Vec<String>, next: String) {
    if let Some(last) = body.last_mut() {
        last.pop();
        last.truncate(last.trim_end_matches(lex::is_blank).len());
    }
    // The continuation mark of a dropped or blank line is lost with it; the definition goes on, as in keepalived.
    let next = if next.is_empty() { "\\".to_owned() } else { next };
    body.push(next);
}

fn finish_definition(body: &mut Vec<String>) {
    if let Some(last) = body.last_mut().filter(|last| last.ends_with('\\')) {
        last.pop();
    }
    body.retain(|line| !line.is_empty());
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o111 != 0)
}

/// The file's own name, or the given one when the system cannot tell.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// `a{b,c}d` → `abd`, `acd`. An unbalanced brace is itself.
fn braces(pattern: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(pattern) = open.pop() {
        let inner = pattern.find('{').and_then(|from| Some((from, from + pattern.get(from..)?.find('}')?)));
        match inner {
            Some((from, to)) if done.len() + open.len() < 64 => {
                let alternatives = pattern[from + 1..to].split(',').rev();
                open.extend(alternatives.map(|part| format!("{}{part}{}", &pattern[..from], &pattern[to + 1..])));
            }
            _ => done.push(pattern),
        }
    }
    done
}
