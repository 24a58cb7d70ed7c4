//! Lines that count, each with the places of its bytes in the files.
//!
//! Pure. A line stands in a file as it is, or was put together from pieces; text that came out of a definition points to
//! the word that asked for it.

use super::lex;
use super::source::{Sources, Span, offset};

/// One line that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its text, without comment and surrounding blanks.
    pub text: String,
    origin: Origin,
}

/// Where the bytes of a line come from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// The file, byte for byte, from here.
    Verbatim(Span),
    /// Pieces, each with its first byte in the text.
    Pieces(Vec<(usize, Piece)>),
}

/// A piece of an expanded line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The file, byte for byte.
    Verbatim(Span),
    /// Came out of a definition that was asked for here.
    Expanded(Span),
}

impl Line {
    /// A line as it stands in the file.
    pub fn verbatim(text: &str, span: Span) -> Self {
        Self { text: text.to_owned(), origin: Origin::Verbatim(span) }
    }

    /// A line put together from pieces.
    pub fn from_pieces(pieces: Vec<(String, Piece)>) -> Self {
        let mut line = Self { text: String::new(), origin: Origin::Verbatim(Span::default()) };
        let mut origin = Vec::with_capacity(pieces.len());
        for (text, piece) in pieces {
            origin.push((line.text.len(), piece));
            line.text.push_str(&text);
        }
        line.origin = Origin::Pieces(origin);
        line
    }

    /// The place in the file of some bytes of the text.
    pub fn span(&self, start: usize, end: usize) -> Span {
        match &self.origin {
            Origin::Verbatim(span) => {
                Span { file: span.file, start: span.start + offset(start), end: span.start + offset(end) }
            }
            Origin::Pieces(pieces) => {
                let at = |position: usize| {
                    let index = pieces.partition_point(|(first, _)| *first <= position).saturating_sub(1);
                    match pieces.get(index) {
                        Some((first, Piece::Verbatim(span))) => {
                            let at = span.start + offset(position.saturating_sub(*first));
                            Span { file: span.file, start: at, end: at + 1 }
                        }
                        Some((_, Piece::Expanded(span))) => *span,
                        None => Span::default(),
                    }
                };
                at(start).to(at(end.saturating_sub(1).max(start)))
            }
        }
    }

    /// The whole line's place.
    pub fn whole(&self) -> Span {
        self.span(0, self.text.len())
    }

    /// A part of the line, blanks around it gone.
    pub fn slice(&self, start: usize, end: usize) -> Self {
        let text = self.text.get(start..end).unwrap_or_default();
        let start = start + (text.len() - text.trim_start_matches(lex::is_blank).len());
        let text = text.trim_matches(lex::is_blank);
        let origin = match &self.origin {
            Origin::Verbatim(_) => Origin::Verbatim(self.span(start, start + text.len())),
            Origin::Pieces(pieces) => {
                let end = start + text.len();
                let index = pieces.partition_point(|(first, _)| *first <= start).saturating_sub(1);
                let inside = pieces.iter().skip(index).take_while(|(first, _)| *first < end.max(start + 1));
                let moved = inside.map(|(first, piece)| match piece {
                    Piece::Verbatim(span) if *first < start => {
                        (0, Piece::Verbatim(Span { start: span.start + offset(start - first), ..*span }))
                    }
                    piece => (first.saturating_sub(start), *piece),
                });
                Origin::Pieces(moved.collect())
            }
        };
        Self { text: text.to_owned(), origin }
    }

    /// The parts of `start..end` with their origins, for building another line.
    pub fn pieces(&self, start: usize, end: usize) -> Vec<(String, Piece)> {
        let text = |from: usize, to: usize| self.text.get(from..to).unwrap_or_default().to_owned();
        match &self.origin {
            Origin::Verbatim(_) => vec![(text(start, end), Piece::Verbatim(self.span(start, end)))],
            Origin::Pieces(pieces) => {
                let mut parts = Vec::new();
                for (index, (first, piece)) in pieces.iter().enumerate() {
                    let last = pieces.get(index + 1).map_or(self.text.len(), |(next, _)| *next);
                    let (from, to) = ((*first).max(start), last.min(end));
                    if from >= to {
                        continue;
                    }
                    let piece = match piece {
                        Piece::Verbatim(span) => Piece::Verbatim(Span {
                            start: span.start + offset(from - first),
                            end: span.start + offset(to - first),
                            ..*span
                        }),
                        expanded @ Piece::Expanded(_) => *expanded,
                    };
                    parts.push((text(from, to), piece));
                }
                parts
            }
        }
    }
}

/// All lines that count, in order. Most stand in a file as they are, and are only pointed at.
#[derive(Debug, Default)]
pub struct Lines {
    refs: Vec<LineRef>,
    made: Vec<Line>,
}

/// A line of a file, or the index of one that was made.
#[derive(Debug, Clone, Copy)]
struct LineRef {
    start: u32,
    /// Not as long as [`NESTS`], and perhaps [`NESTS`].
    length: u16,
    file: u16,
}

/// Stands for the length of a line that was made, which may have anything: [`NESTS`] is set.
const MADE: u16 = u16::MAX;

/// Few files have shorter lines on average.
const SHORT: usize = 12;

/// A bit of the length of a line that has braces, quotes, a backslash or a `$`.
const NESTS: u16 = 1 << 15;

/// One line that counts, wherever its text is.
#[derive(Debug, Clone, Copy)]
pub struct LineView<'a> {
    /// Its text, without comment and surrounding blanks.
    pub text: &'a str,
    place: ViewPlace<'a>,
    nests: bool,
}

#[derive(Debug, Clone, Copy)]
enum ViewPlace<'a> {
    File(Span),
    Made(&'a Line),
}

impl Lines {
    /// None, with room for those of a text of so many bytes.
    pub fn with_room(text: usize) -> Self {
        Self { refs: Vec::with_capacity(text / SHORT), made: Vec::new() }
    }

    /// No more will come.
    pub fn shrink_to_fit(&mut self) {
        self.refs.shrink_to_fit();
    }

    /// One of them.
    #[inline]
    pub fn get<'a>(&'a self, index: usize, sources: &'a Sources) -> Option<LineView<'a>> {
        let found = self.refs.get(index)?;
        if found.length == MADE {
            let line = self.made.get(found.start as usize)?;
            return Some(LineView { text: &line.text, place: ViewPlace::Made(line), nests: true });
        }
        let end = found.start + u32::from(found.length & !NESTS);
        let span = Span { file: found.file.into(), start: found.start, end };
        Some(LineView { text: sources.text(span), place: ViewPlace::File(span), nests: found.length & NESTS != 0 })
    }

    /// The first one from here on that may have more than plain words.
    pub fn nesting_from(&self, index: usize) -> usize {
        let rest = self.refs.get(index..).unwrap_or_default();
        index + rest.iter().take_while(|line| line.length & NESTS == 0).count()
    }

    /// Points at a line of a file that has bytes of these classes; whether there is room for its numbers.
    pub fn push_span(&mut self, span: Span, classes: u8) -> bool {
        let (Ok(file), Ok(length)) = (u16::try_from(span.file), u16::try_from(span.end - span.start)) else {
            return false;
        };
        if length >= NESTS {
            return false;
        }
        let nests = if classes & lex::SPECIAL != 0 { NESTS } else { 0 };
        self.refs.push(LineRef { start: span.start, length: length | nests, file });
        true
    }

    /// Takes a line; where it stands in a file as it is, that is pointed at.
    pub fn push(&mut self, line: Line) {
        if let Origin::Verbatim(span) = line.origin
            && self.push_span(span, lex::classes(&line.text))
        {
            return;
        }
        self.refs.push(LineRef { start: offset(self.made.len()), length: MADE, file: 0 });
        self.made.push(line);
    }
}

impl LineView<'_> {
    /// The place in the file of some bytes of the text.
    #[inline]
    pub fn span(&self, start: usize, end: usize) -> Span {
        match self.place {
            ViewPlace::File(span) => {
                Span { file: span.file, start: span.start + offset(start), end: span.start + offset(end) }
            }
            ViewPlace::Made(line) => line.span(start, end),
        }
    }

    /// A part of the line, blanks around it gone.
    pub fn slice(&self, start: usize, end: usize) -> Line {
        match self.place {
            ViewPlace::File(span) => Line::verbatim(self.text, span).slice(start, end),
            ViewPlace::Made(line) => line.slice(start, end),
        }
    }

    /// Whether it may have more than plain words: braces, quotes, a backslash, a `$`.
    pub fn nests(&self) -> bool {
        self.nests
    }

    /// Whether it stands in a file as it is.
    pub fn is_verbatim(&self) -> bool {
        matches!(self.place, ViewPlace::File(_))
    }
}
