//! Lines → blocks, keywords and words, each with its place.
//!
//! Pure. A brace outside quotes stands for itself, so `vrrp_instance V { interface eth0 }`, `{` on the next line and
//! `}` after other text all work. The schema is asked one question only: does this word open a block? It is what makes
//! a missing brace cost one block, not the rest of the file:
//!
//! - a block keyword without `{` is reported there, and its block is taken as opened;
//! - a root block (`vrrp_instance`, …) inside another block means that a `}` is missing: reported at its `{`;
//! - a `{` after any other line belongs to that line, so that an unknown block is left out as a whole;
//! - a brace that belongs to nothing is reported and left out.

use std::borrow::Cow;
use std::ops::Range;

use bumpalo::Bump;

use super::diagnostic::Reporter;
use super::lex::{self, Token};
use super::line::{Line, LineView, Lines};
use super::schema::{self, Args, Context, Keyword};
use super::source::{Sources, Span};

/// keepalived.conf goes five deep.
const MAX_DEPTH: usize = 32;

/// A word and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word<'a> {
    /// Quotes and escapes resolved.
    pub text: &'a str,
    /// With the quotes.
    pub span: Span,
}

/// One keyword with its words and, for a block, its content. All that it has is borrowed: from the file, or from the
/// arena of its tree.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// Keyword first; never empty.
    pub words: &'a [Word<'a>],
    /// What the schema says of the keyword, where it knows it.
    pub known: Option<&'static Keyword>,
    /// Of script lines, which have quoting rules of their own: what follows the keyword.
    tail: Option<&'a Tail<'a>>,
    /// A `"` without its partner.
    pub unmatched: Option<Span>,
    /// `{ … }`.
    pub body: Option<&'a Body<'a>>,
}

/// Some bytes of a line.
#[derive(Debug, Clone, Copy)]
struct Tail<'a> {
    line: LineView<'a>,
    start: usize,
    end: usize,
}

/// The content of a block.
#[derive(Debug, Clone, Copy)]
pub struct Body<'a> {
    /// Its `{`, or the keyword when that is missing.
    pub open: Span,
    /// What is inside.
    pub nodes: &'a [Node<'a>],
}

impl<'a> Node<'a> {
    /// The keyword.
    pub fn keyword(&self) -> &'a Word<'a> {
        self.words.first().expect("a node has its keyword")
    }

    /// The words after it.
    pub fn arguments(&self) -> &'a [Word<'a>] {
        self.words.get(1..).unwrap_or_default()
    }

    /// Of script lines, what follows the keyword, as it stands.
    pub fn tail(&self) -> Option<Line> {
        self.tail.map(|tail| tail.line.slice(tail.start, tail.end))
    }

    /// Whether the schema wants a `{` after it.
    fn is_block(&self) -> bool {
        self.known.is_some_and(|keyword| keyword.block().is_some())
    }

    /// What stands in its `{ … }`.
    fn inside(&self) -> Context {
        self.known.and_then(Keyword::block).unwrap_or(Context::Unknown)
    }

    /// From the keyword to the last word.
    pub fn span(&self) -> Span {
        let first = self.keyword().span;
        first.to(self.words.last().map_or(first, |word| word.span))
    }
}

/// The tree of a configuration.
#[derive(Debug)]
pub struct Tree<'a> {
    /// What stands at the root of the file.
    pub nodes: Vec<Node<'a>>,
    /// Blocks that are not in `nodes`, as lines: a large file has many of these, and each is needed only while its
    /// configuration is made.
    pub later: Vec<LaterBlock>,
}

/// A block that is left for later.
#[derive(Debug, Clone)]
pub struct LaterBlock {
    /// One of [`LATER`].
    pub keyword: &'static str,
    /// Its lines.
    pub lines: Range<usize>,
    /// How many others of its keyword, which are among the nodes, stand before it.
    pub before: usize,
}

/// Builds the tree of a whole configuration, its words in an `arena`. With `all`, no blocks are left for later.
pub fn build<'a>(
    lines: &'a Lines,
    sources: &'a Sources,
    arena: &'a Bump,
    all: bool,
    reporter: &mut Reporter,
) -> Tree<'a> {
    let mut builder = Builder::new(arena, reporter);
    let mut later = Vec::new();
    let mut index = 0;
    let mut next = lines.get(0, sources);
    while let Some(line) = next {
        if !all
            && builder.is_at_root()
            && let Some((keyword, end)) = whole_block(lines, sources, index, line)
        {
            builder.attachable = false;
            later.push(LaterBlock { keyword, lines: index..end, before: builder.nodes.len() });
            index = end;
            next = lines.get(index, sources);
            continue;
        }
        index += 1;
        next = lines.get(index, sources);
        builder.line(line, next);
    }
    let nodes = builder.finish();
    // So far `before` counts nodes of every kind.
    for keyword in LATER {
        let (mut seen, mut count) = (0, 0);
        for block in later.iter_mut().filter(|block| block.keyword == keyword) {
            let new = nodes.get(seen..block.before).unwrap_or_default();
            count += new.iter().filter(|node| node.keyword().text == keyword && !node.arguments().is_empty()).count();
            seen = block.before;
            block.before = count;
        }
    }
    Tree { nodes, later }
}

/// Builds the tree of some lines that are one block.
pub fn build_block<'a>(
    lines: &'a Lines,
    sources: &'a Sources,
    arena: &'a Bump,
    range: Range<usize>,
    reporter: &mut Reporter,
) -> Vec<Node<'a>> {
    let mut builder = Builder::new(arena, reporter);
    let mut views = range.map_while(|index| lines.get(index, sources)).peekable();
    while let Some(line) = views.next() {
        builder.line(line, views.peek().copied());
    }
    builder.finish()
}

/// The keywords of blocks that are left for later.
pub const LATER: [&str; 2] = ["vrrp_instance", "virtual_server"];

/// An instance with this block is not: virtual servers are read after the instances.
const NOT_LATER: &str = "track_virtual_server";

/// The keyword of a block that begins here, one of [`LATER`], and one past its last line, if it is as it should be: its last
/// `}` ends a line, every quote has its partner, no block that belongs at the root stands in it, and nothing else follows
/// it. Where a `{` is missing, what looks like the end of the block is that of a block in it.
fn whole_block(lines: &Lines, sources: &Sources, start: usize, first: LineView<'_>) -> Option<(&'static str, usize)> {
    let begins = |keyword: &&str| first.text.strip_prefix(*keyword).is_some_and(|rest| rest.starts_with([' ', '\t']));
    let keyword = LATER.into_iter().find(begins)?;
    if !first.text.ends_with('{') {
        return None;
    }
    let mut depth = 0_usize;
    let mut index = start;
    loop {
        let line = lines.get(index, sources).filter(LineView::is_verbatim)?;
        let mut quoted = false;
        let mut opens = 0;
        for (at, byte) in line.text.bytes().enumerate() {
            match byte {
                b'"' => quoted = !quoted,
                b'{' if !quoted => {
                    depth += 1;
                    opens += 1;
                }
                b'}' if !quoted => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        let next = lines.get(index + 1, sources);
                        let alone = next.is_none_or(|next| schema::only_at_root(lex::first_word(next.text)));
                        return (alone && at + 1 == line.text.len()).then_some((keyword, index + 1));
                    }
                }
                _ => {}
            }
        }
        let stays = |word: &str| word == NOT_LATER || schema::only_at_root(word);
        // The keyword stands in the line before, or in the middle.
        let is_hidden = keyword == "vrrp_instance" && (opens > 1 || line.text.starts_with('{'));
        if quoted || depth >= MAX_DEPTH {
            return None;
        }
        if opens > 0 && (is_hidden || index > start && stays(lex::first_word(line.text))) {
            return None;
        }
        index = lines.nesting_from(index + 1);
    }
}

struct Builder<'a, 'r> {
    reporter: &'r mut Reporter,
    /// Where the words of a line stay, one line after the other.
    arena: &'a Bump,
    /// Those of the line that is read.
    words: Vec<Word<'a>>,
    /// What the open blocks have so far, those of an inner block behind those of the block around it.
    nodes: Vec<Node<'a>>,
    /// The open blocks; the first is the file and never closes.
    frames: Vec<Frame<'a>>,
    /// A block keyword that waits for its `{`.
    pending: Option<Node<'a>>,
    /// The last thing read was a line, so that a `{` belongs to it.
    attachable: bool,
    /// Braces beyond [`MAX_DEPTH`].
    surplus: usize,
}

struct Frame<'a> {
    /// The block's own line; `None` for a `{` that belongs to nothing, whose content goes to the block around it.
    header: Option<Node<'a>>,
    open: Span,
    context: Context,
    /// Where its nodes begin.
    start: usize,
}

impl<'a, 'r> Builder<'a, 'r> {
    fn new(arena: &'a Bump, reporter: &'r mut Reporter) -> Self {
        let root = Frame { header: None, open: Span::default(), context: Context::Block(&schema::ROOT), start: 0 };
        // Room for a block as most are.
        let mut frames = Vec::with_capacity(8);
        frames.push(root);
        Self {
            reporter,
            arena,
            words: Vec::with_capacity(8),
            nodes: Vec::with_capacity(24),
            frames,
            pending: None,
            attachable: false,
            surplus: 0,
        }
    }

    /// Nothing is open and nothing waits.
    fn is_at_root(&self) -> bool {
        self.frames.len() == 1 && self.pending.is_none() && self.surplus == 0
    }

    /// One line; the `next` one may begin with its `{`.
    fn line(&mut self, line: LineView<'a>, next: Option<LineView<'a>>) {
        let mut part = Part::default();
        if !line.nests() {
            // Nothing but words, as most lines are.
            let mut rest = line.text;
            let mut text = lex::first_word(rest);
            while !text.is_empty() {
                let start = line.text.len() - rest.len();
                let end = start + text.len();
                self.word(Word { text, span: line.span(start, end) }, start..end, &mut part);
                rest = lex::after_blanks(rest.get(text.len()..).unwrap_or_default());
                text = lex::first_word(rest);
            }
            self.part(line, part, next.is_some_and(|next| next.text.starts_with('{')));
            return;
        }
        for (token, bytes) in lex::tokens(line.text) {
            let span = line.span(bytes.start, bytes.end);
            match token {
                Token::Open => {
                    self.part(line, std::mem::take(&mut part), true);
                    self.open(span);
                }
                Token::Close => {
                    self.part(line, std::mem::take(&mut part), false);
                    self.close(span);
                }
                Token::Word(Cow::Borrowed(text)) => self.word(Word { text, span }, bytes, &mut part),
                Token::Word(Cow::Owned(text)) => {
                    let text = self.arena.alloc_str(&text);
                    self.word(Word { text, span }, bytes, &mut part);
                }
                Token::Unmatched(text) => {
                    part.unmatched = Some(span);
                    // A line needs its keyword.
                    if self.words.is_empty() {
                        self.word(Word { text, span }, bytes, &mut part);
                    } else {
                        part.end = bytes.end;
                    }
                }
            }
        }
        self.part(line, part, next.is_some_and(|next| next.text.starts_with('{')));
    }

    fn word(&mut self, word: Word<'a>, bytes: Range<usize>, part: &mut Part) {
        if self.words.is_empty() {
            part.keyword_end = bytes.end;
        }
        part.end = bytes.end;
        self.words.push(word);
    }

    /// What stands before, between or after the braces of a line.
    fn part(&mut self, line: LineView<'a>, part: Part, opens: bool) {
        if self.words.is_empty() {
            return;
        }
        let words: &[Word<'_>] = self.arena.alloc_slice_copy(&self.words);
        self.words.clear();
        self.open_pending();
        let mut node = Node { words, known: None, tail: None, unmatched: part.unmatched, body: None };
        let keyword = node.keyword().text;
        node.known = self.context().find(keyword);
        let closes_all = opens && self.frames.len() > 1 && !node.is_block() && schema::only_at_root(keyword);
        if closes_all || self.ends_lines(keyword) {
            let most = if closes_all { usize::MAX } else { 1 };
            for _ in (1..self.frames.len()).take(most) {
                self.report_unclosed(&format!("`}}` is missing before this `{keyword}`"), Some(node.span()));
                self.pop();
            }
            node.known = self.context().find(keyword);
        }
        let script = |keyword: &Keyword| matches!(keyword.args, Args::Script | Args::OptionalScript | Args::Escaped);
        if node.known.is_some_and(script) {
            node.tail = Some(self.arena.alloc(Tail { line, start: part.keyword_end, end: part.end }));
        }
        self.attachable = true;
        if node.is_block() {
            self.pending = Some(node);
        } else {
            self.nodes.push(node);
        }
    }

    /// Whether a line among the entries of a block can only be a keyword of the block around it. Names without `_` are
    /// left alone: somebody may well call a script `debug`.
    fn ends_lines(&self, keyword: &str) -> bool {
        if self.context() != Context::Lines {
            return false;
        }
        let around = self.frames.iter().rev().nth(1).map(|frame| frame.context);
        keyword.contains('_') && around.is_some_and(|block| block.find(keyword).is_some())
    }

    fn open(&mut self, span: Span) {
        if self.frames.len() > MAX_DEPTH {
            if self.surplus == 0 {
                self.reporter.error(span, format!("blocks are nested more than {MAX_DEPTH} deep"));
            }
            self.surplus += 1;
            return;
        }
        let header = self.pending.take().or_else(|| self.nodes.pop_if(|_| self.attachable));
        self.attachable = false;
        let context = match &header {
            Some(header) => header.inside(),
            None => {
                self.reporter
                    .error(span, "`{` belongs to no keyword")
                    .help("a block begins with its keyword, for example `vrrp_instance NAME {`");
                self.context()
            }
        };
        self.frames.push(Frame { header, open: span, context, start: self.nodes.len() });
    }

    fn close(&mut self, span: Span) {
        if self.surplus > 0 {
            self.surplus -= 1;
            return;
        }
        self.open_pending();
        self.attachable = false;
        if self.frames.len() > 1 {
            self.pop();
        } else {
            self.reporter
                .error(span, "`}` closes no block")
                .help("a `{` is missing above, or this `}` is one too many");
        }
    }

    /// A block keyword was followed by something else than `{`.
    fn open_pending(&mut self) {
        let Some(header) = self.pending.take() else { return };
        let (span, keyword) = (header.span(), header.keyword().text);
        self.reporter.error(span, format!("`{{` is missing after `{keyword}`"));
        let context = header.inside();
        self.frames.push(Frame { header: Some(header), open: span, context, start: self.nodes.len() });
    }

    fn pop(&mut self) {
        let Some(Frame { header: Some(header), open, start, .. }) = self.frames.pop() else { return };
        let nodes = self.arena.alloc_slice_copy(self.nodes.get(start..).unwrap_or_default());
        self.nodes.truncate(start);
        let body = self.arena.alloc(Body { open, nodes });
        self.nodes.push(Node { body: Some(body), ..header });
    }

    fn report_unclosed(&mut self, why: &str, at: Option<Span>) {
        let Some(frame) = self.frames.last() else { return };
        let what = match &frame.header {
            Some(header) => {
                let words: Vec<&str> = header.words.iter().take(2).map(|word| word.text).collect();
                format!("the block of `{}` is never closed", words.join(" "))
            }
            None => "this `{` is never closed".to_owned(),
        };
        let report = self.reporter.error(frame.open, what);
        match at {
            Some(span) => report.note(span, why),
            None => report.help(why),
        };
    }

    fn finish(mut self) -> Vec<Node<'a>> {
        self.open_pending();
        while self.frames.len() > 1 {
            self.report_unclosed("`}` is missing before the end of the file", None);
            self.pop();
        }
        self.nodes
    }

    fn context(&self) -> Context {
        self.frames.last().map_or(Context::Unknown, |frame| frame.context)
    }
}

/// What has been read of a line since its last brace, beside the words.
#[derive(Default)]
struct Part {
    unmatched: Option<Span>,
    /// Where the keyword ends in the line.
    keyword_end: usize,
    /// Where the last word ends.
    end: usize,
}

/// What the tree asks of the schema.
impl Context {
    fn find(self, keyword: &str) -> Option<&'static Keyword> {
        match self {
            Self::Block(block) => block.find(keyword),
            Self::Lines | Self::Unknown => None,
        }
    }
}
