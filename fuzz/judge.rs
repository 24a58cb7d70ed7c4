//! What must hold of any file. The fuzz target and the replay in `tests/conf/replay.rs` share it.

use std::path::Path;

use holdfast::conf::compare::{Director, compare};
use holdfast::conf::plan::Plan;
use holdfast::conf::{self, LoadOptions};

/// Reads the bytes as a configuration and checks what comes of it; panics when something does not hold.
pub fn judge(bytes: &[u8]) {
    // Files of this machine are nobody's seed.
    if bytes.windows(7).any(|window| window == b"include") {
        return;
    }
    let options = LoadOptions { config_id: "node".to_owned(), ..LoadOptions::default() };
    let checked = conf::check_text(Path::new("k.conf"), bytes, &options, None);
    let diagnostics = &checked.loaded.diagnostics;
    assert_eq!(checked.loaded.config.is_none(), diagnostics.is_fatal());
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    for diagnostic in diagnostics.iter() {
        assert!((1..=lines).contains(&(diagnostic.line as usize)), "{diagnostic:?}");
        assert!(diagnostic.column >= 1 && diagnostic.width >= 1, "{diagnostic:?}");
    }
    let text = diagnostics.render(true);
    assert!(!text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\x1b')), "{text:?}");
    serde_json::to_string(diagnostics).expect("diagnostics have a JSON form");
    let Some(config) = &checked.loaded.config else { return };
    assert!(Plan::between(config, config).blocks.is_empty());
    Plan::between(&Default::default(), config).render(false);
    let director = Director { config, places: &checked.places };
    compare(director, director);
}
