//! What a message of keepalived means in our words: `tests/differential/meanings.txt`.
//!
//! Each line is `THEIRS => OURS ; OURS …`: a pattern of keepalived's messages, and patterns of ours of which one at least
//! must stand at that place. `…` stands for anything. The first line that fits counts.

use std::path::Path;

use crate::rows::matches;

/// The table.
pub struct Meanings {
    rows: Vec<(String, Vec<String>)>,
}

impl Meanings {
    pub fn read() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/meanings.txt");
        let text = std::fs::read_to_string(file).expect("the table of meanings");
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let rows = lines.map(|line| {
            let (theirs, ours) = line.split_once(" => ").unwrap_or_else(|| panic!("a row without `=>`: {line}"));
            let ours: Vec<String> = ours.split(" ; ").map(|pattern| pattern.trim().to_owned()).collect();
            assert!(ours.iter().all(|pattern| !pattern.is_empty()), "{line}");
            (theirs.trim().to_owned(), ours)
        });
        Self { rows: rows.collect() }
    }

    /// Whether one of our messages says what `theirs` says; `None` when no row knows it.
    pub fn mean<'o>(&self, theirs: &str, mut ours: impl Iterator<Item = &'o str>) -> Option<bool> {
        let (_, patterns) = self.rows.iter().find(|(pattern, _)| matches(pattern, theirs))?;
        Some(ours.any(|message| patterns.iter().any(|pattern| matches(pattern, message))))
    }
}
