//! The files of one configuration and the places in them.
//!
//! Shell: reads files. Everything after it works on their text. Offsets are bytes of the decoded text; they become
//! `file:line:column` only when somebody reads a message.

use std::cell::OnceCell;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Nobody writes this much by hand; beyond it the file is something else.
const MAX_FILE: u64 = 64 << 20;

/// A range of one file's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// The file, in the order of reading.
    pub file: u32,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// From the start of this one to the end of `other`, when both lie in one file.
    pub fn to(self, other: Self) -> Self {
        if self.file == other.file && other.end >= self.start { Self { end: other.end, ..self } } else { self }
    }
}

/// A place as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file as it was named.
    pub path: PathBuf,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// The whole line.
    pub text: String,
    /// Characters to underline, at least 1.
    pub width: u32,
}

/// All files read, the main one first.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<SourceFile>,
}

#[derive(Debug)]
struct SourceFile {
    path: PathBuf,
    text: Rc<String>,
    /// Offset of each line's first byte, for who asks for one by its number: messages do.
    lines: OnceCell<Vec<u32>>,
}

impl SourceFile {
    fn lines(&self) -> &[u32] {
        self.lines.get_or_init(|| {
            let ends = self.text.match_indices('\n').map(|(at, _)| offset(at + 1));
            std::iter::once(0).chain(ends).collect()
        })
    }
}

impl Sources {
    /// Reads a file and gives its number.
    ///
    /// # Errors
    /// It cannot be read, is a directory or is absurdly large.
    pub fn read(&mut self, path: &Path) -> io::Result<u32> {
        let file = std::fs::File::open(path)?;
        let size = file.metadata()?.len().min(MAX_FILE);
        // Room for one byte more: the end is seen without asking for more room.
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
        file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 MiB"));
        }
        Ok(self.add_text(path, decode(bytes)))
    }

    /// Takes text that is already at hand.
    pub fn add(&mut self, path: &Path, bytes: &[u8]) -> u32 {
        self.add_text(path, decode(bytes.to_vec()))
    }

    fn add_text(&mut self, path: &Path, text: String) -> u32 {
        self.files.push(SourceFile { path: path.to_owned(), text: Rc::new(text), lines: OnceCell::new() });
        offset(self.files.len() - 1)
    }

    /// All of a file, for who reads it while others join it.
    pub fn whole(&self, file: u32) -> Rc<String> {
        self.file(file).map(|f| Rc::clone(&f.text)).unwrap_or_default()
    }

    /// One line, from 0, without its line end, and where its text begins.
    pub fn line(&self, file: u32, index: usize) -> (&str, Span) {
        let Some(source) = self.file(file) else { return ("", Span::default()) };
        let lines = source.lines();
        let start = lines.get(index).copied().unwrap_or_default();
        let end = lines.get(index + 1).copied().unwrap_or(offset(source.text.len()));
        let text = source.text.get(start as usize..end as usize).unwrap_or_default().trim_end_matches(['\r', '\n']);
        (text, Span { file, start, end: start + offset(text.len()) })
    }

    /// The text of a span.
    #[inline]
    pub fn text(&self, span: Span) -> &str {
        self.file(span.file).and_then(|f| f.text.get(span.start as usize..span.end as usize)).unwrap_or_default()
    }

    /// The name under which a file was read.
    pub fn path(&self, file: u32) -> &Path {
        self.file(file).map_or(Path::new(""), |f| &f.path)
    }

    /// All names, in the order of reading.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|f| f.path.clone()).collect()
    }

    /// Line and column of a span.
    pub fn locate(&self, span: Span) -> Location {
        let Some(source) = self.file(span.file) else {
            return Location { path: PathBuf::new(), line: 1, column: 1, text: String::new(), width: 1 };
        };
        let index = source.lines().partition_point(|start| *start <= span.start).saturating_sub(1);
        let (text, line) = self.line(span.file, index);
        let at = |position: u32| text.get(..(position.clamp(line.start, line.end) - line.start) as usize);
        let column = at(span.start).map_or(0, |before| before.chars().count());
        let end = at(span.end).map_or(column, |before| before.chars().count());
        Location {
            path: source.path.clone(),
            line: offset(index + 1),
            column: offset(column + 1),
            text: text.to_owned(),
            width: offset(end.saturating_sub(column).max(1)),
        }
    }

    #[inline]
    fn file(&self, file: u32) -> Option<&SourceFile> {
        self.files.get(file as usize)
    }
}

/// Offsets fit because of [`MAX_FILE`].
#[inline]
pub fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// UTF-8, and Latin-1 for each line that is not. A byte order mark goes: some editors put one, nobody sees it.
fn decode(mut bytes: Vec<u8>) -> String {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return text,
        Err(error) => error.into_bytes(),
    };
    let mut text = String::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match std::str::from_utf8(line) {
            Ok(line) => text.push_str(line),
            Err(_) => text.extend(line.iter().map(|byte| char::from(*byte))),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters() {
        let mut sources = Sources::default();
        let file = sources.add(Path::new("a.conf"), "one\r\n# ä ö x\nlast".as_bytes());
        let start = offset("one\r\n# ä ö ".len());
        let place = sources.locate(Span { file, start, end: start + 1 });
        assert_eq!((place.line, place.column, place.width, place.text.as_str()), (2, 7, 1, "# ä ö x"));
        assert_eq!(sources.line(file, 0).0, "one");
        assert_eq!(sources.line(file, 2).0, "last");
    }

    #[test]
    fn latin_1_lines_are_read_beside_utf_8_ones() {
        assert_eq!(decode(b"\xef\xbb\xbf\xe9t\xe9\n\xc3\xa9t\xc3\xa9\n".to_vec()), "été\nété\n");
    }
}
