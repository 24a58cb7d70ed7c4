//! The tree, checked against the schema: every keyword known, every argument a value of its kind.
//!
//! Pure. What comes out is still in the words of the file ([`Section`], [`Entry`]); `global`, `vrrp` and `trackers` make
//! the domains' own types of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::address;
use super::diagnostic::{Kind, Reporter};
use super::lex;
use super::schema::{self, Args, BLOCKS, Block, Context, Keyword, ROOT, Repeat, Support, bit};
use super::section::{Entry, Section, Value};
use super::source::Span;
use super::tree::{Node, Word};
use crate::command::{self, Command, CommandError, RunAs};

/// Keywords that are not built, by block and name, with their first place and how many there are: one message each.
pub type Unbuilt = BTreeMap<(&'static str, &'static str), (&'static Keyword, Span, usize)>;

/// Checks what stands at the root of the file, or a part of it.
pub fn parse<'a>(nodes: &'a [Node<'a>], not_built: &mut Unbuilt, reporter: &mut Reporter) -> Section<'a> {
    let mut parser = Parser { reporter, not_built, seen: Vec::new() };
    parser.section(nodes, &ROOT, &[], Span::default())
}

/// Says what is not built, when everything has been read.
pub fn report_not_built(not_built: Unbuilt, reporter: &mut Reporter) {
    for ((block, name), (keyword, span, count)) in not_built {
        let more = if count > 1 { format!(" ({count} of them, this is the first)") } else { String::new() };
        let of = if block == ROOT.name { String::new() } else { format!(" of `{block}`") };
        let message = |why: &str| format!("`{name}`{of} is not built yet: {why}{more}");
        match keyword.support {
            Support::NoEffect => drop(reporter.warning(span, format!("`{name}`{of} has no effect{more}"))),
            Support::Built => {}
            Support::Warning(why) => drop(reporter.warning(span, message(why))),
            Support::Error(why) => drop(reporter.error(span, message(why))),
            Support::Fatal(why) => drop(reporter.fatal(span, message(why))),
        }
    }
}

const ONE_PAIR: &str = "put a command and its arguments into one pair of double quotes";

struct Parser<'r> {
    reporter: &'r mut Reporter,
    not_built: &'r mut Unbuilt,
    /// Where the entries are of keywords that count once (at the root there are many others): those of an inner block
    /// behind those of the block around it.
    seen: Vec<(&'static str, usize)>,
}

impl Parser<'_> {
    fn section<'a>(
        &mut self,
        nodes: &'a [Node<'a>],
        block: &'static Block,
        words: &'a [Word<'a>],
        span: Span,
    ) -> Section<'a> {
        let mut entries: Vec<Entry<'a>> = Vec::with_capacity(nodes.len());
        let mut rejected = Vec::new();
        let mut present = 0;
        let mut unbuilt = false;
        let outer = self.seen.len();
        for node in nodes {
            let Some(keyword) = node.known else {
                self.unknown(node, block);
                continue;
            };
            // Of another spelling the canonical name decides.
            unbuilt |= keyword.support != Support::Built || keyword.alias.is_some();
            if keyword.support != Support::Built {
                let empty = node.body.is_some_and(|body| body.nodes.is_empty());
                if !(empty && matches!(keyword.args, Args::Lines)) {
                    let first = (keyword, node.keyword().span, 0);
                    let seen = self.not_built.entry((block.name, keyword.name)).or_insert(first);
                    seen.1 = seen.1.min(first.1);
                    seen.2 += 1;
                }
            }
            let name = self.canonical(keyword, node);
            let once = keyword.repeat != Repeat::Adds;
            let bit = if keyword.alias.is_none() { keyword.bit } else { bit(name) };
            let again = once && present & bit != 0;
            let seen = || self.seen.iter().skip(outer).find(|(seen, _)| *seen == name);
            let earlier = if again { seen().map(|(_, at)| *at) } else { None };
            if let (Some(first), Repeat::Ignored) = (earlier.and_then(|at| entries.get(at)), keyword.repeat) {
                self.reporter
                    .error(node.span(), format!("`{name}` is already set: this one is left out"))
                    .note(first.span, "set here");
                continue;
            }
            let Some(value) = self.value(node, keyword, block) else {
                rejected.push(name);
                continue;
            };
            let entry = Entry { keyword: name, span: node.span(), value };
            match earlier.and_then(|at| entries.get_mut(at)) {
                Some(first) => {
                    let span = entry.span;
                    if !matches!(keyword.args, Args::Flag) {
                        self.reporter
                            .warning(span, format!("`{name}` is set again: this one counts"))
                            .note(first.span, "first set here");
                    }
                    *first = entry;
                }
                None => {
                    if once {
                        self.seen.push((name, entries.len()));
                    }
                    present |= bit;
                    entries.push(entry);
                }
            }
        }
        self.seen.truncate(outer);
        Section { block, name: words.first(), words, span, entries, rejected, unbuilt, present }
    }

    fn canonical(&mut self, keyword: &'static Keyword, node: &Node<'_>) -> &'static str {
        let Some(alias) = keyword.alias else { return keyword.name };
        if keyword.synonym || keyword.support != Support::Built {
            return alias;
        }
        self.reporter
            .warning(node.keyword().span, format!("`{}` is an old spelling", keyword.name))
            .help(format!("write `{alias}`"));
        // `vrrp_track_file` keeps its place: both spellings are blocks of their own.
        if matches!(keyword.args, Args::Block(_)) { keyword.name } else { alias }
    }

    fn unknown(&mut self, node: &Node<'_>, block: &'static Block) {
        let word = node.keyword();
        let lost = if node.body.is_some() { ": the block is left out" } else { "" };
        let place = if block == &ROOT { "at the top of the file".to_owned() } else { format!("of {}", block.title()) };
        let shown: String = word.text.chars().take(60).collect();
        let suggests = self.reporter.suggests();
        let report = self.reporter.error(word.span, format!("`{shown}` is not a keyword {place}{lost}"));
        if !suggests {
            return;
        }
        let names = || block.keywords.iter().map(|keyword| keyword.name);
        let elsewhere: Vec<String> =
            BLOCKS.iter().filter(|other| other.find(word.text).is_some()).map(|other| other.title()).take(3).collect();
        if let Some(advice) = schema::advice(word.text) {
            report.help(advice);
        } else if !elsewhere.is_empty() {
            let name: &str = word.text;
            report.help(format!(
                "`{name}` belongs in {}; is a `}}` missing above, or one too many?",
                elsewhere.join(" or ")
            ));
        } else if let Some(near) = schema::nearest(word.text, names()) {
            report.help(format!("did you mean `{near}`?"));
        } else if block.name == "vrrp_sync_group" && node.words.len() == 1 {
            report.help("the instances of a group stand in `group { … }`, one name a line");
        } else if let Some(odd) = word.text.chars().find(|c| !c.is_ascii()) {
            report.help(format!("it has the character `{odd}` (U+{:04X}) in it", u32::from(odd)));
        } else if word.text.contains('=') {
            report.help("keywords and values are separated by blanks, without `=`");
        } else if names().count() <= 12 {
            report.help(format!("expected one of {}", list(names())));
        }
    }

    fn value<'a>(&mut self, node: &'a Node<'a>, keyword: &'static Keyword, block: &'static Block) -> Option<Value<'a>> {
        if let Some(context) = keyword.block() {
            return self.block(node, keyword, context);
        }
        if let Some(body) = node.body {
            self.reporter
                .error(body.open, format!("`{}` takes no block: what is between its braces is left out", keyword.name));
        }
        if !matches!(keyword.args, Args::Script | Args::OptionalScript | Args::Escaped)
            && let Some(span) = node.unmatched
        {
            self.reporter.error(span, "a `\"` has no partner on this line: the rest of the line is lost");
        }
        let words = node.arguments();
        let most = match keyword.args {
            Args::Flag => 0,
            Args::Words { max, .. } => max,
            Args::Weight { .. } => 2,
            Args::Script | Args::OptionalScript | Args::Escaped | Args::Any => usize::MAX,
            _ => 1,
        };
        if let Some(extra) = words.get(most..).filter(|extra| !extra.is_empty()) {
            self.extra(keyword, extra, block);
        }
        let words = words.get(..most).unwrap_or(words);
        self.argument(node, keyword, words)
    }

    fn argument<'a>(
        &mut self,
        node: &'a Node<'a>,
        keyword: &'static Keyword,
        words: &'a [Word<'a>],
    ) -> Option<Value<'a>> {
        let name = keyword.name;
        let least = match keyword.args {
            Args::Flag | Args::Bool | Args::OptionalInt { .. } | Args::OptionalScript | Args::Any => 0,
            Args::Words { min, .. } => min,
            _ => 1,
        };
        if words.len() < least && node.unmatched.is_none() {
            let report = self.reporter.error(node.keyword().span, format!("`{name}` needs a value"));
            report.kind(Kind::Incomplete).help(format!("`{name} {}`: {}", keyword.grammar, keyword.meaning));
            return None;
        }
        let first = words.first();
        match keyword.args {
            Args::Flag => Some(Value::Flag),
            Args::Bool => match first {
                None => Some(Value::Bool(true)),
                Some(word) => match lex::boolean(word.text) {
                    Some(value) => Some(Value::Bool(value)),
                    None => self.wrong(keyword, word, "on or off"),
                },
            },
            Args::OptionalInt { bare, .. } if first.is_none() => Some(Value::Int(bare)),
            Args::Int { min, max } | Args::OptionalInt { min, max, .. } => {
                let word = first?;
                match lex::integer(word.text) {
                    Some(value) if (min..=max).contains(&value) => Some(Value::Int(value)),
                    _ => self.wrong(keyword, word, &range("a whole number", min, max)),
                }
            }
            Args::Seconds { min, max, whole } => {
                let word = first?;
                let value = lex::microseconds(word.text);
                match value.filter(|v| (min..=max).contains(v) && (!whole || v % 1_000_000 == 0)) {
                    Some(value) => Some(Value::Duration(Duration::from_micros(value))),
                    None => self.wrong(keyword, word, &seconds(min, max, whole)),
                }
            }
            Args::Milliseconds { min, max } => {
                let word = first?;
                let micros = lex::microseconds(word.text).map(|value| value / 1000);
                match micros.filter(|v| (min..=max).contains(v)) {
                    Some(value) => Some(Value::Duration(Duration::from_micros(value))),
                    None => self.wrong(keyword, word, &format!("milliseconds from {} to {}", min / 1000, max / 1000)),
                }
            }
            Args::Choice(choices) => {
                let word = first?;
                if choices.contains(&word.text) {
                    Some(Value::Word(word))
                } else {
                    self.wrong(keyword, word, &list(choices.iter().copied()))
                }
            }
            Args::Word => first.map(Value::Word),
            Args::Address => {
                let word = first?;
                match word.text.parse().ok().or_else(|| address::without_length(word, self.reporter)) {
                    Some(address) => Some(Value::Address(address)),
                    None => self.wrong(keyword, word, "an IP address"),
                }
            }
            Args::Escaped => self.escaped(node, keyword).map(Value::Text),
            Args::Words { .. } | Args::Any => Some(Value::Words(words)),
            Args::Weight { limit } => self.weight(keyword, words, limit),
            Args::Script => self.script(node, keyword).map(|command| Value::Script(Some(Box::new(command)))),
            Args::OptionalScript if words.is_empty() && node.unmatched.is_none() => Some(Value::Script(None)),
            Args::OptionalScript => Some(Value::Script(self.script(node, keyword).map(Box::new))),
            Args::Block(_) | Args::Lines | Args::NamedLines => None,
        }
    }

    fn wrong<'a>(&mut self, keyword: &Keyword, word: &Word<'_>, expected: &str) -> Option<Value<'a>> {
        let name = keyword.name;
        let shown: String = word.text.chars().take(60).collect();
        let report = self.reporter.error(word.span, format!("`{name}` takes {expected}, not `{shown}`"));
        if name == "state" && word.text.eq_ignore_ascii_case("EQUAL") {
            report
                .code("state-equal")
                .help("there is no such state: write `state BACKUP` on all routers and let the priorities decide");
        } else if let Args::Choice(choices) = keyword.args
            && let Some(near) = choices.iter().find(|choice| choice.eq_ignore_ascii_case(word.text))
        {
            report.help(format!("write it in capitals: `{name} {near}`"));
        } else if !keyword.default.is_empty() {
            report.help(format!("the line is left out; the default is {}", keyword.default));
        } else {
            report.help("the line is left out");
        }
        None
    }

    fn weight<'a>(&mut self, keyword: &Keyword, words: &[Word<'_>], limit: i64) -> Option<Value<'a>> {
        let word = words.first()?;
        let Some(value) = lex::integer(word.text) else {
            return self.wrong(keyword, word, &range("a whole number", -limit, limit));
        };
        if !(-limit..=limit).contains(&value) {
            return self.wrong(keyword, word, &range("a whole number", -limit, limit));
        }
        let reverse = match words.get(1) {
            None => false,
            Some(word) if word.text == "reverse" => true,
            Some(word) => {
                self.reporter
                    .warning(word.span, format!("`{}` after a weight is ignored: only `reverse` is known", word.text));
                false
            }
        };
        Some(Value::Weight(i16::try_from(value).ok()?, reverse))
    }

    /// keepalived takes what it needs from a line and forgets the rest without a word.
    fn extra(&mut self, keyword: &Keyword, extra: &[Word<'_>], block: &Block) {
        let Some(first) = extra.first() else { return };
        let span = first.span.to(extra.last().map_or(first.span, |word| word.span));
        let name = keyword.name;
        let shown: Vec<&str> = extra.iter().take(4).map(|word| word.text).collect();
        let shown: String = shown.join(" ").chars().take(60).collect();
        let report = match keyword.args {
            Args::Flag => self
                .reporter
                .warning(span, format!("`{name}` takes no value: `{shown}` is ignored, and `{name}` is on")),
            _ => self.reporter.warning(span, format!("`{shown}` is ignored: `{name}` takes nothing more")),
        };
        report.code("surplus-word");
        if block.find(first.text).is_some() {
            report.help(format!("put `{}` on a line of its own", first.text));
        } else if name == "auth_pass" {
            report.help("put a password with blanks in double quotes");
        }
    }

    fn block<'a>(&mut self, node: &'a Node<'a>, keyword: &'static Keyword, context: Context) -> Option<Value<'a>> {
        // The tree has reported a missing `{`.
        let nodes = node.body.map_or(&[][..], |body| body.nodes);
        let words = node.arguments();
        let named = match context {
            Context::Block(block) => block.named,
            Context::Lines => matches!(keyword.args, Args::NamedLines),
            Context::Unknown => false,
        };
        if named && words.is_empty() {
            let report = self
                .reporter
                .error(node.keyword().span, format!("`{}` needs a name: the block is left out", keyword.name));
            let name = keyword.grammar.split('{').next().unwrap_or_default().trim();
            report.kind(Kind::Incomplete).help(format!(
                "`{} {} {{`",
                keyword.name,
                if name.is_empty() { "NAME" } else { name }
            ));
            return None;
        }
        match context {
            Context::Block(block) => {
                let most = usize::from(named) + block.more;
                if let Some(extra) = words.get(most..).filter(|extra| !extra.is_empty()) {
                    self.extra(keyword, extra, block);
                }
                let words = words.get(..most).unwrap_or(words);
                Some(Value::Section(Box::new(self.section(nodes, block, words, node.span()))))
            }
            Context::Lines => {
                if let Some(extra) = words.get(usize::from(named)) {
                    let shown = &extra.text;
                    self.reporter
                        .error(extra.span, format!("`{shown}` is ignored: `{}` is followed by `{{`", keyword.name));
                }
                for body in nodes.iter().filter_map(|node| node.body) {
                    self.reporter
                        .error(body.open, format!("the lines of `{}` have no blocks of their own", keyword.name));
                }
                Some(match words.first().filter(|_| named) {
                    Some(name) => Value::NamedLines(name, nodes),
                    None => Value::Lines(nodes),
                })
            }
            Context::Unknown => None,
        }
    }

    fn script(&mut self, node: &Node<'_>, keyword: &Keyword) -> Option<Command> {
        let tail = node.tail()?;
        let words = match command::split_line(&tail.text) {
            Ok(words) => words,
            Err(error) => {
                let CommandError::Unmatched(quote) = error else { return None };
                let at = tail.text.rfind(quote).unwrap_or_default();
                self.reporter.error(
                    tail.span(at, tail.text.len()),
                    format!("`{}`: {error}: the script is left out", keyword.name),
                );
                return None;
            }
        };
        let mut words = words.into_iter();
        let text = words.next().unwrap_or_default();
        let rest: Vec<String> = words.collect();
        let span = tail.whole();
        let quoted = tail.text.starts_with(['"', '\'']);
        let (text, user) = match rest.as_slice() {
            [] => (text, None),
            // Words that cannot be a user are arguments whose quotes were forgotten.
            [user, ..] if rest.len() > 2 || !rest.iter().all(|word| is_account(word)) => {
                let message = format!(
                    "all words are taken as the command of `{}`, where keepalived takes `{user}` as a user",
                    keyword.name
                );
                self.reporter.warning(span, message).help(ONE_PAIR);
                (tail.text.clone(), None)
            }
            [user, group @ ..] => {
                if !quoted {
                    let message = format!("`{user}` is the user who runs `{text}`, not an argument, as in keepalived");
                    self.reporter.warning(span, message).help(ONE_PAIR);
                }
                (text, Some(RunAs::new(user, group.first().map(String::as_str))))
            }
        };
        match Command::parse(&text, user) {
            Ok(command) => Some(command),
            Err(error) => {
                self.reporter.error(span, format!("`{}`: {error}: the script is left out", keyword.name));
                None
            }
        }
    }

    /// The text of a keyword that keeps its backslashes for a second reading.
    fn escaped(&mut self, node: &Node<'_>, keyword: &Keyword) -> Option<String> {
        let tail = node.tail()?;
        match command::split_line(&tail.text) {
            Ok(words) => {
                if words.len() > 1 {
                    let message = format!("`{}` takes one text: what follows it is ignored", keyword.name);
                    self.reporter.warning(tail.whole(), message).help("put a text with blanks in double quotes");
                }
                words.first().map(|word| command::unescaped(word))
            }
            Err(error) => {
                self.reporter.error(tail.whole(), format!("`{}`: {error}: the line is left out", keyword.name));
                None
            }
        }
    }
}

/// Whether a word may be the name or number of a user or group. The names of states are arguments: how-tos are full of
/// `notify_master /etc/keepalived/notify.sh master`, and no system has such a user.
fn is_account(word: &str) -> bool {
    if ["master", "backup", "fault", "stop"].iter().any(|state| word.eq_ignore_ascii_case(state)) {
        return false;
    }
    let word = word.strip_prefix(':').unwrap_or(word);
    let first = word.bytes().next();
    first.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'$'))
}

fn range(what: &str, min: i64, max: i64) -> String {
    if max >= i64::from(i32::MAX) { format!("{what}, {min} or more") } else { format!("{what} from {min} to {max}") }
}

fn seconds(min: u64, max: u64, whole: bool) -> String {
    let number = |micros: u64| format!("{}", Duration::from_micros(micros).as_secs_f64());
    let what = if whole { "whole seconds" } else { "seconds" };
    format!("{what} from {} to {}", number(min), number(max))
}

/// `a`, `b` or `c`.
pub fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
    }
}
