//! The blocks around a place: "in `virtual_server 10.0.0.1 80`, opened at line 12".
//!
//! Pure. Found in the text when somebody reads a message, so that nothing is kept for them while a file is read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::diagnostic::mask_secrets;
use super::lex;
use super::source::{Sources, Span};

/// A block that is open at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enclosing {
    /// Its line up to the brace.
    pub block: String,
    /// Where it was opened, from 1.
    pub line: u32,
}

/// More of a block's line than this tells nothing more.
const LONGEST: usize = 60;

/// The blocks around each of some places, innermost first. A block that opens on the place's own line is not told.
pub fn of(spans: &[Span], sources: &Sources) -> Vec<Vec<Enclosing>> {
    let mut found = vec![Vec::new(); spans.len()];
    let mut files: BTreeMap<u32, Vec<(usize, usize)>> = BTreeMap::new();
    for (index, span) in spans.iter().enumerate() {
        let line = sources.locate(*span).line as usize;
        files.entry(span.file).or_default().push((line, index));
    }
    for (file, mut places) in files {
        places.sort_unstable();
        let mut open = Open::default();
        let mut read = 0;
        for (line, index) in places {
            while read + 1 < line {
                open.line(sources.line(file, read).0, read + 1);
                read += 1;
            }
            if let Some(found) = found.get_mut(index) {
                *found = open.blocks.iter().rev().map(|(block, line)| Enclosing::new(block, *line)).collect();
            }
        }
    }
    found
}

impl Enclosing {
    fn new(block: &str, line: usize) -> Self {
        let mut block = mask_secrets(block.to_owned());
        if let Some((at, _)) = block.char_indices().nth(LONGEST) {
            block.truncate(at);
            block.push('…');
        }
        Self { block, line: u32::try_from(line).unwrap_or(u32::MAX) }
    }
}

/// The blocks that are open, and the last thing that was written, to which a brace belongs.
#[derive(Default)]
struct Open<'a> {
    blocks: Vec<(&'a str, usize)>,
    last: (&'a str, usize),
}

impl<'a> Open<'a> {
    fn line(&mut self, line: &'a str, number: usize) {
        let line = line.get(..lex::comment_start(line).unwrap_or(line.len())).unwrap_or(line);
        let (mut quoted, mut named) = (false, false);
        let mut start = 0;
        let mut before = 0;
        for (at, byte) in line.bytes().enumerate() {
            match byte {
                b'"' => quoted = !quoted,
                b'{' | b'}' if quoted => {}
                // `${NAME}` is no block.
                b'{' if before == b'$' => named = true,
                b'}' if named => named = false,
                b'{' => {
                    self.text(line.get(start..at).unwrap_or_default(), number);
                    self.blocks.push(std::mem::take(&mut self.last));
                    start = at + 1;
                }
                b'}' => {
                    self.blocks.pop();
                    self.last = ("", number);
                    start = at + 1;
                }
                _ => {}
            }
            before = byte;
        }
        self.text(line.get(start..).unwrap_or_default(), number);
    }

    fn text(&mut self, text: &'a str, number: usize) {
        let text = text.trim_matches(lex::is_blank);
        if !text.is_empty() {
            self.last = (text, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_blocks_around_a_line() {
        let text = "virtual_server 10.0.0.1 80\n{ # {\n delay_loop ${N}\n real_server 10.0.0.2 80 { weight 1\n  \"}\" x\n }\n lb\n}\nend\n";
        let mut sources = Sources::default();
        let file = sources.add(Path::new("k.conf"), text.as_bytes());
        let at = |word: &str| {
            let start = super::super::source::offset(text.find(word).unwrap());
            Span { file, start, end: start + 1 }
        };
        let words = ["end", "x\n", "weight", "delay_loop", "lb", "virtual"];
        let spans: Vec<Span> = words.iter().map(|word| at(word)).collect();
        let show = |list: &Vec<Enclosing>| list.iter().map(|e| format!("{}@{}", e.block, e.line)).collect::<Vec<_>>();
        let found: Vec<Vec<String>> = of(&spans, &sources).iter().map(show).collect();
        let (outer, inner) = ("virtual_server 10.0.0.1 80@1".to_owned(), "real_server 10.0.0.2 80@4".to_owned());
        let (inside, both) = (vec![outer.clone()], vec![inner, outer]);
        let expected = [Vec::new(), both, inside.clone(), inside.clone(), inside, Vec::new()];
        assert_eq!(found, expected);
    }
}
