//! `$NAME`, `${NAME}`, `~SEQ` and `~LST` on one line.
//!
//! Pure. `${NAME}` counts anywhere, `$NAME` only before a blank, `,`, `)` or the end of the line, so that scripts keep
//! their variables. A definition is expanded where it is used, and may use others, but not itself.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use super::LoadOptions;
use super::diagnostic::Reporter;
use super::lex;
use super::line::{Line, Piece};

/// Definitions that use definitions that use …
const MAX_DEPTH: usize = 32;
/// Room for one line's expansion; the limit for a line that counts is far lower.
const MAX_TEXT: usize = 64 << 10;

/// Said when a limit is reached.
pub const TOO_MANY: &str = "`~SEQ` and `~LST` make more than 65536 lines";

/// The value of a definition, several lines when it was continued with `\`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its lines, unexpanded.
    pub lines: Vec<String>,
}

/// What names mean at some line.
pub struct Scope<'a> {
    /// Names defined so far.
    pub definitions: &'a BTreeMap<String, Definition>,
    /// For `_INSTANCE` and `_ENV`.
    pub options: &'a LoadOptions,
    /// For `_PWD`.
    pub directory: &'a Path,
    /// For `_RANDOM`.
    pub random: &'a mut u64,
    /// For names that are not defined, or defined by themselves.
    pub reporter: &'a mut Reporter,
    /// Lookups left for this line: definitions that double each other would take for ever, however short.
    pub budget: usize,
}

/// A line after substitution.
pub enum Substituted {
    /// Nothing in it was a name.
    Unchanged,
    /// The new lines; more than one when a definition has several.
    Lines(Vec<Line>),
    /// Reported; the line is lost.
    Failed,
}

/// `$NAME=VALUE` at the start of a line.
pub fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('$')?.split_once('=')?;
    is_name(name).then(|| (name, value.trim_matches(lex::is_blank)))
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Replaces every name of a line.
pub fn expand(line: &Line, scope: &mut Scope<'_>) -> Substituted {
    let mut finished = Vec::new();
    let mut current: Vec<(String, Piece)> = Vec::new();
    let mut copied = 0;
    let mut at = 0;
    let mut changed = false;
    while let Some(reference) = next_reference(&line.text, at) {
        at = reference.bytes.end;
        let span = line.span(reference.bytes.start, reference.bytes.end);
        let mut stack = Vec::new();
        let value = match resolve(reference.name, scope, &mut stack, reference.braced) {
            Ok(Some(value)) => value,
            Ok(None) => {
                if reference.braced && !reference.quoted && is_name(reference.name) {
                    scope
                        .reporter
                        .error(span, format!("`{}` is not defined", reference.name))
                        .help(format!("define it before this line: `${}=value`", reference.name));
                }
                continue;
            }
            Err(why) => {
                scope.reporter.error(span, why);
                return Substituted::Failed;
            }
        };
        changed = true;
        current.extend(line.pieces(copied, reference.bytes.start));
        copied = reference.bytes.end;
        let mut lines = value.into_iter();
        current.push((lines.next().unwrap_or_default(), Piece::Expanded(span)));
        for text in lines {
            finished.push(Line::from_pieces(std::mem::take(&mut current)));
            current.push((text, Piece::Expanded(span)));
        }
    }
    if !changed {
        return Substituted::Unchanged;
    }
    current.extend(line.pieces(copied, line.text.len()));
    finished.push(Line::from_pieces(current));
    Substituted::Lines(finished)
}

struct Reference<'a> {
    name: &'a str,
    bytes: Range<usize>,
    braced: bool,
    quoted: bool,
}

fn next_reference(text: &str, from: usize) -> Option<Reference<'_>> {
    let mut at = from;
    loop {
        at += text.get(at..)?.find('$')?;
        let rest = text.get(at + 1..)?;
        let quoted = || text[..at].bytes().filter(|b| *b == b'"').count() % 2 == 1;
        if let Some(inner) = rest.strip_prefix('{') {
            if let Some(end) = inner.find('}') {
                let name = inner[..end].trim_matches(lex::is_blank);
                return Some(Reference { name, bytes: at..at + 3 + end, braced: true, quoted: quoted() });
            }
        } else {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let follows = rest[end..].chars().next();
            if is_name(&rest[..end]) && follows.is_none_or(|c| matches!(c, ' ' | '\t' | ',' | ')')) {
                return Some(Reference {
                    name: &rest[..end],
                    bytes: at..at + 1 + end,
                    braced: false,
                    quoted: quoted(),
                });
            }
        }
        at += 1;
    }
}

/// The lines that a name stands for; `Ok(None)` when it is not defined.
fn resolve(
    name: &str,
    scope: &mut Scope<'_>,
    stack: &mut Vec<String>,
    braced: bool,
) -> Result<Option<Vec<String>>, String> {
    if let Some(value) = predefined(name, scope, braced) {
        return Ok(Some(vec![value]));
    }
    let Some(definition) = scope.definitions.get(name) else { return Ok(None) };
    if stack.iter().any(|used| used == name) {
        stack.push(name.to_owned());
        return Err(format!("`{name}` is defined by itself: {}", stack.join(" → ")));
    }
    if stack.len() >= MAX_DEPTH {
        return Err(format!("definitions are nested more than {MAX_DEPTH} deep"));
    }
    scope.budget =
        scope.budget.checked_sub(1).ok_or_else(|| format!("`{name}` takes too many definitions to expand"))?;
    stack.push(name.to_owned());
    let mut lines = Vec::new();
    let mut size = 0;
    for text in &definition.lines {
        let mut line = String::new();
        let mut copied = 0;
        let mut at = 0;
        while let Some(reference) = next_reference(text, at) {
            at = reference.bytes.end;
            let Some(value) = resolve(reference.name, scope, stack, reference.braced)? else { continue };
            line.push_str(&text[copied..reference.bytes.start]);
            copied = at;
            let mut inner = value.into_iter();
            line.push_str(&inner.next().unwrap_or_default());
            for next in inner {
                lines.push(std::mem::replace(&mut line, next));
            }
            size += line.len();
            if size > MAX_TEXT || lines.len() > 4096 {
                return Err(format!("`{name}` expands to more than {MAX_TEXT} bytes"));
            }
        }
        line.push_str(&text[copied..]);
        lines.push(line);
    }
    stack.pop();
    Ok(Some(lines))
}

fn predefined(name: &str, scope: &mut Scope<'_>, braced: bool) -> Option<String> {
    let mut words = name.split(lex::is_blank).filter(|word| !word.is_empty());
    let (name, first, second) = (words.next()?, words.next(), words.next());
    match name {
        "_PWD" => {
            let directory = scope.directory.to_string_lossy().into_owned();
            Some(if directory.is_empty() { ".".to_owned() } else { directory })
        }
        "_INSTANCE" => Some(scope.options.config_id.clone()),
        "_HASH" => Some("#".to_owned()),
        "_BANG" => Some("!".to_owned()),
        "_ENV" if braced => scope.options.environment.get(first?).cloned(),
        "_RANDOM" => {
            let bound = |word: Option<&str>, default| word.map_or(Some(default), lex::integer);
            // One number is the smallest, two are smallest and largest.
            let (low, high) = (bound(first, 0)?, bound(second, 32_767)?);
            let span = u64::try_from(high.checked_sub(low)?).ok()?.checked_add(1)?;
            *scope.random =
                scope.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let step = i64::try_from((*scope.random >> 33) % span).ok()?;
            Some(low.checked_add(step)?.to_string())
        }
        _ => None,
    }
}

/// The first `~SEQ(`, `~SEQx(` or `~LST(` of a line: its bytes up to the closing parenthesis.
pub fn find_loop(text: &str) -> Option<Loop> {
    if !text.contains('~') {
        return None;
    }
    let kinds = [("~SEQ(", LoopKind::Decimal), ("~SEQx(", LoopKind::Hex), ("~LST(", LoopKind::List)];
    let found = kinds.iter().filter_map(|(mark, kind)| Some((text.find(mark)?, mark.len(), *kind)));
    let (start, length, kind) = found.min_by_key(|(start, ..)| *start)?;
    Some(Loop { start, arguments: start + length, kind })
}

/// Where a loop begins.
#[derive(Debug, Clone, Copy)]
pub struct Loop {
    start: usize,
    arguments: usize,
    kind: LoopKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoopKind {
    Decimal,
    Hex,
    List,
}

/// A loop with its values: the rest of the line counts once for each row, with the names defined as its values.
pub struct Unrolled {
    /// The variables.
    pub names: Vec<String>,
    /// Their values; missing ones are empty.
    pub rows: Vec<Vec<String>>,
    /// The line without the loop.
    pub line: Line,
}

/// Takes a loop apart, into at most `limit` rows.
pub fn unroll(line: &Line, found: Loop, limit: usize, scope: &mut Scope<'_>) -> Result<Unrolled, String> {
    let tail = &line.text[found.arguments..];
    let close = tail.find(')').ok_or("`~` without its closing `)`")?;
    let arguments = line.slice(found.arguments, found.arguments + close);
    let arguments = match expand(&arguments, scope) {
        Substituted::Lines(lines) => lines.into_iter().next().map_or(String::new(), |line| line.text),
        Substituted::Unchanged | Substituted::Failed => arguments.text,
    };
    let (names, rows) = match found.kind {
        LoopKind::List => list(&arguments)?,
        kind => sequence(&arguments, kind == LoopKind::Hex, limit)?,
    };
    if rows.len() > limit {
        return Err(TOO_MANY.to_owned());
    }
    let mut pieces = line.pieces(0, found.start);
    pieces.extend(line.pieces(found.arguments + close + 1, line.text.len()));
    let rest = Line::from_pieces(pieces);
    Ok(Unrolled { names, rows, line: rest.slice(0, rest.text.len()) })
}

fn sequence(arguments: &str, hex: bool, limit: usize) -> Result<(Vec<String>, Vec<Vec<String>>), String> {
    let parts: Vec<&str> = arguments.split(',').map(|part| part.trim_matches(lex::is_blank)).collect();
    let name = parts.first().filter(|name| is_name(name)).ok_or("`~SEQ` needs a variable name first")?;
    let numbers: Option<Vec<i64>> = parts.iter().skip(1).map(|part| lex::c_integer(part)).collect();
    let numbers = numbers.ok_or("`~SEQ` takes whole numbers after the variable name")?;
    let (start, step, end) = match numbers[..] {
        [end] => (if end < 0 { -1 } else { 1 }, None, end),
        [start, end] => (start, None, end),
        [start, step, end] => (start, Some(step), end),
        _ => return Err("`~SEQ` takes one to three numbers after the variable name".to_owned()),
    };
    let step = step.unwrap_or(if end < start { -1 } else { 1 });
    if step == 0 {
        return Err("`~SEQ` with step 0 would never end".to_owned());
    }
    let mut rows = Vec::new();
    let mut value = start;
    while if step > 0 { value <= end } else { value >= end } {
        if rows.len() >= limit {
            return Err(TOO_MANY.to_owned());
        }
        rows.push(vec![if hex { format!("{value:x}") } else { value.to_string() }]);
        let Some(next) = value.checked_add(step) else { break };
        value = next;
    }
    Ok((vec![(*name).to_owned()], rows))
}

fn list(arguments: &str) -> Result<(Vec<String>, Vec<Vec<String>>), String> {
    let mut parts = split_list(arguments).into_iter();
    let first = parts.next().unwrap_or_default();
    let names = match &first {
        ListItem::One(name) => vec![name.clone()],
        ListItem::Many(names) => names.clone(),
    };
    if names.is_empty() || !names.iter().all(|name| is_name(name)) {
        return Err("`~LST` needs a variable name first".to_owned());
    }
    let mut rows = Vec::new();
    for part in parts {
        let row = match part {
            ListItem::One(value) => vec![value],
            ListItem::Many(values) => values,
        };
        if row.len() > names.len() {
            return Err(format!("`~LST` has {} values for {} variables", row.len(), names.len()));
        }
        rows.push(row);
    }
    Ok((names, rows))
}

enum ListItem {
    One(String),
    Many(Vec<String>),
}

impl Default for ListItem {
    fn default() -> Self {
        Self::One(String::new())
    }
}

fn split_list(arguments: &str) -> Vec<ListItem> {
    let trim = |text: &str| text.trim_matches(lex::is_blank).to_owned();
    let mut items = Vec::new();
    let mut rest = arguments.trim_matches(lex::is_blank);
    loop {
        if let Some((inner, after)) = rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            items.push(ListItem::Many(inner.split(',').map(trim).collect()));
            let after = after.trim_start_matches(lex::is_blank);
            let Some(after) = after.strip_prefix(',') else { return items };
            rest = after.trim_start_matches(lex::is_blank);
        } else if let Some((item, after)) = rest.split_once(',') {
            items.push(ListItem::One(trim(item)));
            rest = after.trim_start_matches(lex::is_blank);
        } else {
            items.push(ListItem::One(trim(rest)));
            return items;
        }
    }
}
