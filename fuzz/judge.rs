//! What must hold of any file. The fuzz target and the replay in `tests/conf/replay.rs` share it.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use holdfast::conf::compare::{Director, compare};
use holdfast::conf::plan::Plan;
use holdfast::conf::{self, LoadOptions};

/// Puts the files into a folder that configurations may include: plain ones, and two that include each other.
///
/// # Errors
/// They cannot be written.
pub fn furnish(folder: &Path) -> io::Result<()> {
    std::fs::write(folder.join("a.conf"), "vrrp_instance A {\n include b.conf\n}\n")?;
    std::fs::write(folder.join("b.conf"), "$X=1\nvirtual_router_id $X\ninclude ?.conf\n")?;
    std::fs::write(folder.join("c.conf"), "}\n}\nglobal_defs {\n")
}

/// Reads the bytes as a configuration in a folder and checks what comes of it; panics when something does not hold.
pub fn judge(bytes: &[u8], folder: &Path) {
    // Without a slash an include stays in the folder: other files of this machine are nobody's seed.
    let includes = bytes.windows(7).any(|window| window == b"include");
    let bytes: Cow<'_, [u8]> = if includes {
        bytes.iter().map(|byte| if *byte == b'/' { b'_' } else { *byte }).collect()
    } else {
        bytes.into()
    };
    let path = folder.join("k.conf");
    let options = LoadOptions { config_id: "node".to_owned(), ..LoadOptions::default() };
    let checked = conf::check_text(&path, &bytes, &options, None);
    let diagnostics = &checked.loaded.diagnostics;
    assert_eq!(checked.loaded.config.is_none(), diagnostics.is_fatal());
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    for diagnostic in diagnostics.iter() {
        let lines = if diagnostic.file == path { lines } else { 8 };
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
