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

use super::diagnostic::Reporter;
use super::expand::Line;
use super::lex::{self, Token};
use super::schema::{self, Args, Context};
use super::source::Span;

/// keepalived.conf goes five deep.
const MAX_DEPTH: usize = 32;

/// A word and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Quotes and escapes resolved.
    pub text: String,
    /// With the quotes.
    pub span: Span,
}

/// One keyword with its words and, for a block, its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Keyword first; never empty.
    pub words: Vec<Word>,
    /// Of script lines, which have quoting rules of their own: what follows the keyword, as it stands.
    pub tail: Option<Line>,
    /// A `"` without its partner.
    pub unmatched: Option<Span>,
    /// `{ … }`.
    pub body: Option<Body>,
}

/// The content of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Its `{`, or the keyword when that is missing.
    pub open: Span,
    /// What is inside.
    pub nodes: Vec<Node>,
}

impl Node {
    /// The keyword.
    pub fn keyword(&self) -> &Word {
        self.words.first().expect("a node has its keyword")
    }

    /// The words after it.
    pub fn arguments(&self) -> &[Word] {
        self.words.get(1..).unwrap_or_default()
    }

    /// From the keyword to the last word.
    pub fn span(&self) -> Span {
        let first = self.keyword().span;
        first.to(self.words.last().map_or(first, |word| word.span))
    }
}

/// Builds the tree of a whole configuration.
pub fn build(lines: &[Line], reporter: &mut Reporter) -> Vec<Node> {
    let mut builder = Builder {
        reporter,
        frames: vec![Frame {
            header: None,
            open: Span::default(),
            context: Context::Block(&schema::ROOT),
            nodes: Vec::new(),
        }],
        pending: None,
        attachable: false,
        surplus: 0,
    };
    for (index, line) in lines.iter().enumerate() {
        builder.line(line, lines.get(index + 1));
    }
    builder.finish()
}

struct Builder<'a> {
    reporter: &'a mut Reporter,
    /// The open blocks; the first is the file and never closes.
    frames: Vec<Frame>,
    /// A block keyword that waits for its `{`.
    pending: Option<Node>,
    /// The last thing read was a line, so that a `{` belongs to it.
    attachable: bool,
    /// Braces beyond [`MAX_DEPTH`].
    surplus: usize,
}

struct Frame {
    /// The block's own line; `None` for a `{` that belongs to nothing, whose content goes to the block around it.
    header: Option<Node>,
    open: Span,
    context: Context,
    nodes: Vec<Node>,
}

impl Builder<'_> {
    fn line(&mut self, line: &Line, next: Option<&Line>) {
        let tokens = lex::tokens(&line.text);
        let mut at = 0;
        while let Some((token, bytes)) = tokens.get(at) {
            let span = line.span(bytes.start, bytes.end);
            match token {
                Token::Open => {
                    self.open(span);
                    at += 1;
                }
                Token::Close => {
                    self.close(span);
                    at += 1;
                }
                Token::Word(_) | Token::Unmatched(_) => {
                    let brace = |(token, _): &&(Token, _)| matches!(token, Token::Open | Token::Close);
                    let length = tokens.iter().skip(at).take_while(|token| !brace(token)).count();
                    let following = tokens.get(at + length).map(|(token, _)| token);
                    let opens = following.is_some_and(|token| *token == Token::Open)
                        || following.is_none() && next.is_some_and(|next| next.text.starts_with('{'));
                    if let Some(node) = node(line, tokens.iter().skip(at).take(length), self.context_of_next()) {
                        self.words(node, opens);
                    }
                    at += length;
                }
            }
        }
    }

    fn words(&mut self, node: Node, opens: bool) {
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
            let name = node.keyword().text.clone();
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
                parent.nodes.push(Node { body: Some(Body { open: frame.open, nodes: frame.nodes }), ..header })
            }
            None => parent.nodes.extend(frame.nodes),
        }
    }

    fn report_unclosed(&mut self, why: &str, at: Option<Span>) {
        let Some(frame) = self.frames.last() else { return };
        let what = match &frame.header {
            Some(header) => {
                let words: Vec<&str> = header.words.iter().take(2).map(|word| word.text.as_str()).collect();
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

    fn finish(mut self) -> Vec<Node> {
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

fn node<'a>(
    line: &Line,
    tokens: impl Iterator<Item = &'a (Token, std::ops::Range<usize>)>,
    context: Context,
) -> Option<Node> {
    let mut words = Vec::new();
    let mut unmatched = None;
    let (mut after_keyword, mut end) = (0, 0);
    for (token, bytes) in tokens {
        let span = line.span(bytes.start, bytes.end);
        end = bytes.end;
        if words.is_empty() {
            after_keyword = end;
        }
        match token {
            Token::Word(text) => words.push(Word { text: text.clone(), span }),
            Token::Unmatched(text) => {
                unmatched = Some(span);
                if words.is_empty() {
                    words.push(Word { text: text.clone(), span });
                }
            }
            Token::Open | Token::Close => {}
        }
    }
    let script = words.first().is_some_and(|word| context.takes_script(&word.text));
    let tail = script.then(|| line.slice(after_keyword, end));
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
