//! keepalived.conf → typed configuration.
//!
//! ```text
//! source → expand → (lex) → tree → parse by schema → global, trackers, vrrp, virtual_server, … → resolve → Config
//!    └────────────────── every layer reports to one Reporter ──────────────────→ Diagnostics
//! ```
//!
//! Shell, at the door only: `source` and `expand` read files. [`load`] is the only way in. Every layer goes on after a
//! problem, so that one run tells all of them.

mod address;
mod checkers;
pub mod config;
pub mod diagnostic;
mod expand;
mod forwarding;
mod global;
mod lex;
mod lvs;
mod pages;
mod parse;
mod real_server;
mod resolve;
pub mod schema;
mod source;
mod substitute;
mod trackers;
mod tree;
mod virtual_server;
mod virtual_server_group;
mod vrrp;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use self::config::Config;
use self::diagnostic::Reporter;
pub use self::diagnostic::{Diagnostic, Diagnostics, Kind, Severity};
use self::source::Sources;

/// What the command line and the system say about reading a configuration.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// For `@ID` lines and `${_INSTANCE}`: `-i ID`, else the host name up to its first dot.
    pub config_id: String,
    /// Every include must find its files (`-e`).
    pub strict_includes: bool,
    /// For `${_ENV NAME}`.
    pub environment: BTreeMap<String, String>,
    /// For `${_RANDOM}`.
    pub random_seed: u64,
}

/// What came of reading a configuration.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration, parts with errors left out; `None` when nothing can run on it.
    pub config: Option<Config>,
    /// All problems of all files.
    pub diagnostics: Diagnostics,
    /// The files that were read, the main one first.
    pub files: Vec<PathBuf>,
}

/// Reads a configuration file and all that it includes.
pub fn load(path: &Path, options: &LoadOptions) -> Loaded {
    let mut sources = Sources::default();
    let mut reporter = Reporter::default();
    match sources.read(path) {
        Ok(file) => load_from(file, sources, reporter, options),
        Err(error) => {
            reporter.unreadable(path.to_owned(), format!("cannot read the configuration: {error}"));
            Loaded { config: None, diagnostics: reporter.finish(&sources), files: vec![path.to_owned()] }
        }
    }
}

/// Reads a configuration that is at hand, under the name of a file: includes are looked for beside it.
pub fn load_text(path: &Path, text: &[u8], options: &LoadOptions) -> Loaded {
    let mut sources = Sources::default();
    let file = sources.add(path, text);
    load_from(file, sources, Reporter::default(), options)
}

fn load_from(file: u32, mut sources: Sources, mut reporter: Reporter, options: &LoadOptions) -> Loaded {
    let lines = expand::Expander::new(options, &mut sources, &mut reporter).run(file);
    let nodes = tree::build(&lines, &mut reporter);
    drop(lines);
    let root = parse::parse(&nodes, &mut reporter);
    let config = resolve::resolve(&root, &mut reporter);
    let config = (!reporter.is_fatal()).then_some(config);
    Loaded { config, diagnostics: reporter.finish(&sources), files: sources.paths() }
}
