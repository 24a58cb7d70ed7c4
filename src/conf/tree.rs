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

use super::diagnostic::Reporter;
use super::expand::{Line, LineView, Lines};
use super::lex::{self, Token};
use super::schema::{self, Args, Context};
use super::source::{Sources, Span};

/// keepalived.conf goes five deep.
const MAX_DEPTH: usize = 32;

/// A word and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word<'a> {
    /// Quotes and escapes resolved.
    pub text: Cow<'a, str>,
    /// With the quotes.
    pub span: Span,
}

/// One keyword with its words and, for a block, its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node<'a> {
    /// Keyword first; never empty.
    pub words: Vec<Word<'a>>,
    /// Of script lines, which have quoting rules of their own: what follows the keyword, as it stands.
    pub tail: Option<Box<Line>>,
    /// A `"` without its partner.
    pub unmatched: Option<Span>,
    /// `{ … }`.
    pub body: Option<Box<Body<'a>>>,
}

/// The content of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body<'a> {
    /// Its `{`, or the keyword when that is missing.
    pub open: Span,
    /// What is inside.
    pub nodes: Vec<Node<'a>>,
}

impl<'a> Node<'a> {
    /// The keyword.
    pub fn keyword(&self) -> &Word<'a> {
        self.words.first().expect("a node has its keyword")
    }

    /// The words after it.
    pub fn arguments(&self) -> &[Word<'a>] {
        self.words.get(1..).unwrap_or_default()
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
    /// Blocks that are not in `nodes`, as lines: a large file has many `virtual_server` blocks, and each is needed only
    /// while its configuration is made.
    pub later: Vec<LaterBlock>,
}

/// A `virtual_server` block that is left for later.
#[derive(Debug, Clone)]
pub struct LaterBlock {
    /// Its lines.
    pub lines: Range<usize>,
    /// How many others, which are among the nodes, stand before it.
    pub before: usize,
}

/// Builds the tree of a whole configuration. With `all`, no blocks are left for later.
pub fn build<'a>(lines: &'a Lines, sources: &'a Sources, all: bool, reporter: &mut Reporter) -> Tree<'a> {
    let mut builder = Builder::new(reporter);
    let mut later = Vec::new();
    let mut index = 0;
    while let Some(line) = lines.get(index, sources) {
        if !all
            && builder.is_at_root()
            && let Some(end) = whole_block(lines, sources, index, line)
        {
            builder.attachable = false;
            let before = builder.frames.first().map_or(0, |root| root.nodes.len());
            later.push(LaterBlock { lines: index..end, before });
            index = end;
            continue;
        }
        index += 1;
        builder.line(line, lines.get(index, sources));
    }
    let nodes = builder.finish();
    // So far `before` counts nodes of every kind.
    let (mut seen, mut count) = (0, 0);
    for block in &mut later {
        let new = nodes.get(seen..block.before).unwrap_or_default();
        count += new.iter().filter(|node| node.keyword().text == LATER && !node.arguments().is_empty()).count();
        seen = block.before;
        block.before = count;
    }
    Tree { nodes, later }
}

/// Builds the tree of some lines that are one block.
pub fn build_block<'a>(
    lines: &'a Lines,
    sources: &'a Sources,
    range: Range<usize>,
    reporter: &mut Reporter,
) -> Vec<Node<'a>> {
    let mut builder = Builder::new(reporter);
    let end = range.end;
    for index in range {
        if let Some(line) = lines.get(index, sources) {
            builder.line(line, lines.get(index + 1, sources).filter(|_| index + 1 < end));
        }
    }
    builder.finish()
}

/// The keyword of blocks that are left for later.
const LATER: &str = "virtual_server";

/// One past the last line of a `virtual_server` block that begins here, if it is as it should be: its last `}` ends a
/// line, every quote has its partner, and no block that belongs at the root stands in it.
fn whole_block(lines: &Lines, sources: &Sources, start: usize, first: LineView<'_>) -> Option<usize> {
    if !first.text.strip_prefix(LATER)?.starts_with([' ', '\t']) || !first.text.ends_with('{') {
        return None;
    }
    let mut depth = 0_usize;
    for index in start.. {
        let line = lines.get(index, sources).filter(LineView::is_verbatim)?;
        let mut quoted = false;
        let mut opens = false;
        for (at, byte) in line.text.bytes().enumerate() {
            match byte {
                b'"' => quoted = !quoted,
                b'{' if !quoted => {
                    depth += 1;
                    opens = true;
                }
                b'}' if !quoted => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        return (at + 1 == line.text.len()).then_some(index + 1);
                    }
                }
                _ => {}
            }
        }
        let keyword = || line.text.split(lex::is_blank).next().unwrap_or_default().trim_end_matches('{');
        if quoted || depth >= MAX_DEPTH || (opens && index > start && schema::only_at_root(keyword())) {
            return None;
        }
    }
    None
}

struct Builder<'a, 'r> {
    reporter: &'r mut Reporter,
    /// The open blocks; the first is the file and never closes.
    frames: Vec<Frame<'a>>,
    /// A block keyword that waits for its `{`.
    pending: Option<Node<'a>>,
    /// The last thing read was a line, so that a `{` belongs to it.
    attachable: bool,
    /// Braces beyond [`MAX_DEPTH`].
    surplus: usize,
    /// The tokens of the line that is read, kept for their room.
    tokens: Vec<(Token<'a>, Range<usize>)>,
}

struct Frame<'a> {
    /// The block's own line; `None` for a `{` that belongs to nothing, whose content goes to the block around it.
    header: Option<Node<'a>>,
    open: Span,
    context: Context,
    nodes: Vec<Node<'a>>,
}

impl<'a, 'r> Builder<'a, 'r> {
    fn new(reporter: &'r mut Reporter) -> Self {
        let root =
            Frame { header: None, open: Span::default(), context: Context::Block(&schema::ROOT), nodes: Vec::new() };
        Self { reporter, frames: vec![root], pending: None, attachable: false, surplus: 0, tokens: Vec::new() }
    }

    /// Nothing is open and nothing waits.
    fn is_at_root(&self) -> bool {
        self.frames.len() == 1 && self.pending.is_none() && self.surplus == 0
    }

    fn line(&mut self, line: LineView<'a>, next: Option<LineView<'a>>) {
        let mut tokens = std::mem::take(&mut self.tokens);
        tokens.extend(lex::tokens(line.text));
        let mut at = 0;
        while let Some((token, bytes)) = tokens.get(at) {
            match token {
                Token::Open => {
                    self.open(line.span(bytes.start, bytes.end));
                    at += 1;
                }
                Token::Close => {
                    self.close(line.span(bytes.start, bytes.end));
                    at += 1;
                }
                Token::Word(_) | Token::Unmatched(_) => {
                    let brace = |(token, _): &&(Token<'_>, _)| matches!(token, Token::Open | Token::Close);
                    let rest = tokens.get_mut(at..).unwrap_or_default();
                    let length = rest.iter().take_while(|token| !brace(token)).count();
                    let opens = match rest.get(length) {
                        Some((token, _)) => *token == Token::Open,
                        None => next.is_some_and(|next| next.text.starts_with('{')),
                    };
                    let own = rest.get_mut(..length).unwrap_or_default();
                    if let Some(node) = node(line, own, self.context_of_next()) {
                        self.words(node, opens);
                    }
                    at += length;
                }
            }
        }
        tokens.clear();
        self.tokens = tokens;
    }

    fn words(&mut self, node: Node<'a>, opens: bool) {
        self.open_pending();
        let keyword = &node.keyword().text;
        if opens && self.frames.len() > 1 && schema::only_at_root(keyword) && !self.context().opens_block(keyword) {
            let name = keyword.clone();
            let span = node.span();
            while self.frames.len() > 1 {
                self.report_unclosed(&format!("`}}` is missing before this `{name}`"), Some(span));
                self.pop();
            }
        }
        if self.ends_lines(keyword) {
            let name = node.keyword().text.to_string();
            self.report_unclosed(&format!("`}}` is missing before this `{name}`"), Some(node.span()));
            self.pop();
        }
        self.attachable = true;
        if self.context().opens_block(&node.keyword().text) {
            self.pending = Some(node);
        } else if let Some(frame) = self.frames.last_mut() {
            frame.nodes.push(node);
        }
    }

    /// Whether a line among the entries of a block can only be a keyword of the block around it. Names without `_` are
    /// left alone: somebody may well call a script `debug`.
    fn ends_lines(&self, keyword: &str) -> bool {
        let around = self.frames.iter().rev().nth(1).map(|frame| frame.context);
        self.context() == Context::Lines && keyword.contains('_') && around.is_some_and(|block| block.knows(keyword))
    }

    fn open(&mut self, span: Span) {
        if self.frames.len() > MAX_DEPTH {
            if self.surplus == 0 {
                self.reporter.error(span, format!("blocks are nested more than {MAX_DEPTH} deep"));
            }
            self.surplus += 1;
            return;
        }
        let last = self.frames.last_mut().filter(|_| self.attachable).map(|frame| &mut frame.nodes);
        let header = self.pending.take().or_else(|| last.and_then(Vec::pop));
        self.attachable = false;
        let context = match &header {
            Some(header) => self.context().inside(&header.keyword().text),
            None => {
                self.reporter
                    .error(span, "`{` belongs to no keyword")
                    .help("a block begins with its keyword, for example `vrrp_instance NAME {`");
                self.context()
            }
        };
        self.frames.push(Frame { header, open: span, context, nodes: Vec::new() });
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
        let (span, keyword) = (header.span(), header.keyword().text.clone());
        self.reporter.error(span, format!("`{{` is missing after `{keyword}`"));
        let context = self.context().inside(&keyword);
        self.frames.push(Frame { header: Some(header), open: span, context, nodes: Vec::new() });
    }

    fn pop(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        let Some(parent) = self.frames.last_mut() else { return };
        match frame.header {
            Some(header) => {
                let body = Body { open: frame.open, nodes: frame.nodes };
                parent.nodes.push(Node { body: Some(Box::new(body)), ..header });
            }
            None => parent.nodes.extend(frame.nodes),
        }
    }

    fn report_unclosed(&mut self, why: &str, at: Option<Span>) {
        let Some(frame) = self.frames.last() else { return };
        let what = match &frame.header {
            Some(header) => {
                let words: Vec<&str> = header.words.iter().take(2).map(|word| word.text.as_ref()).collect();
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
        self.frames.pop().map(|frame| frame.nodes).unwrap_or_default()
    }

    /// Where the next line will stand: a pending block opens before it, brace or not.
    fn context_of_next(&self) -> Context {
        self.pending.as_ref().map_or_else(|| self.context(), |header| self.context().inside(&header.keyword().text))
    }

    fn context(&self) -> Context {
        self.frames.last().map_or(Context::Unknown, |frame| frame.context)
    }
}

fn node<'a>(line: LineView<'a>, tokens: &mut [(Token<'a>, Range<usize>)], context: Context) -> Option<Node<'a>> {
    let mut words = Vec::with_capacity(tokens.len());
    let mut unmatched = None;
    let (mut after_keyword, mut end) = (0, 0);
    for (token, bytes) in tokens {
        let span = line.span(bytes.start, bytes.end);
        end = bytes.end;
        if words.is_empty() {
            after_keyword = end;
        }
        match token {
            Token::Word(text) => words.push(Word { text: std::mem::take(text), span }),
            Token::Unmatched(text) => {
                unmatched = Some(span);
                if words.is_empty() {
                    words.push(Word { text: Cow::Borrowed(text), span });
                }
            }
            Token::Open | Token::Close => {}
        }
    }
    let script = words.first().is_some_and(|word| context.takes_script(&word.text));
    let tail = script.then(|| Box::new(line.slice(after_keyword, end)));
    (!words.is_empty()).then_some(Node { words, tail, unmatched, body: None })
}

/// What the tree asks of the schema.
impl Context {
    fn opens_block(self, keyword: &str) -> bool {
        matches!(self, Self::Block(block) if block.find(keyword).is_some_and(|k| k.block().is_some()))
    }

    fn takes_script(self, keyword: &str) -> bool {
        let script =
            |keyword: &schema::Keyword| matches!(keyword.args, Args::Script | Args::OptionalScript | Args::Escaped);
        matches!(self, Self::Block(block) if block.find(keyword).is_some_and(script))
    }

    fn knows(self, keyword: &str) -> bool {
        match self {
            Self::Block(block) => block.find(keyword).is_some(),
            Self::Lines | Self::Unknown => false,
        }
    }

    fn inside(self, keyword: &str) -> Self {
        match self {
            Self::Block(block) => block.find(keyword).and_then(|k| k.block()).unwrap_or(Self::Unknown),
            Self::Lines | Self::Unknown => Self::Unknown,
        }
    }
}
