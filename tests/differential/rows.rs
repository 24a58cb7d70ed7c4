//! The rows of `docs/differences.md`: tables of patterns, each with what we do and why.

use std::path::Path;

/// Patterns of the tables. `…` in a pattern stands for anything.
pub struct Rows {
    theirs: Vec<String>,
    warned: Vec<String>,
    ours: Vec<String>,
}

impl Rows {
    /// Reads the page. In a table under a heading that begins with "What keepalived says", each first cell is a pattern
    /// of its messages; so too under "What keepalived refuses"; under "What we refuse", of our errors.
    pub fn read() -> Self {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/differences.md");
        let page = std::fs::read_to_string(page).expect("docs/differences.md");
        let mut rows = Self { theirs: Vec::new(), warned: Vec::new(), ours: Vec::new() };
        let mut heading = "";
        for line in page.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                heading = title;
            }
            let Some(cells) = line.strip_prefix("| `") else { continue };
            let Some((pattern, rest)) = cells.split_once("` |") else { continue };
            let reason = rest.split('|').nth(1).unwrap_or_default().trim();
            assert!(!reason.is_empty(), "a row without its reason: {line}");
            let pattern = pattern.replace("\\|", "|");
            if heading.starts_with("What keepalived says") {
                rows.theirs.push(pattern);
            } else if heading.starts_with("What keepalived refuses") {
                rows.warned.push(pattern);
            } else if heading.starts_with("What we refuse") {
                rows.ours.push(pattern);
            }
        }
        rows
    }

    /// Whether a message of keepalived may have no counterpart.
    pub fn explains_theirs(&self, message: &str) -> bool {
        self.theirs.iter().any(|pattern| matches(pattern, message))
    }

    /// Whether a file that keepalived refuses for this message may run here, with a warning.
    pub fn explains_warning(&self, message: &str) -> bool {
        self.warned.iter().any(|pattern| matches(pattern, message))
    }

    /// Whether an error of ours may stand against a file that keepalived takes.
    pub fn explains_ours(&self, message: &str) -> bool {
        self.ours.iter().any(|pattern| matches(pattern, message))
    }
}

/// Whether a text has the parts of a pattern in their order.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut rest = text;
    pattern.split('…').all(|part| match rest.find(part) {
        Some(at) => {
            rest = rest.get(at + part.len()..).unwrap_or_default();
            true
        }
        None => false,
    })
}

#[test]
fn a_pattern_has_its_parts_in_order() {
    assert!(matches("(…) has no", "(VI_1) has no track"));
    assert!(matches("one", "one two") && !matches("two…one", "one two"));
}
