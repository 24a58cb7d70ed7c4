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
pub mod compare;
pub mod config;
pub mod diagnostic;
mod draft;
pub mod enclosing;
mod expand;
pub mod explain;
mod forwarding;
mod global;
mod lex;
mod line;
pub mod lint;
mod lvs;
pub mod not_built;
mod notify;
mod pages;
mod parse;
mod places;
pub mod plan;
mod real_server;
mod resolve;
mod routes;
mod rules;
pub mod schema;
mod section;
mod source;
mod substitute;
mod trackers;
mod tree;
mod virtual_server;
mod virtual_server_group;
mod vrrp;
mod webhook;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bumpalo::Bump;

pub use self::config::Config;
use self::diagnostic::Reporter;
pub use self::diagnostic::{Diagnostic, Diagnostics, Kind, Severity};
use self::lint::Host;
pub use self::places::Places;
use self::source::Sources;
use crate::ipvs::config::{VirtualServerConfig, VirtualServerId};
use crate::ipvs::shared::Shared;

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
    /// The virtual servers that are in force. Those of the file that are the same are one with these in memory.
    pub known: BTreeMap<VirtualServerId, Shared<VirtualServerConfig>>,
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

/// Blocks of the file that are read when they are needed.
struct Later<'a, 'u> {
    lines: &'a line::Lines,
    sources: &'a Sources,
    blocks: &'a [tree::LaterBlock],
    known: &'a BTreeMap<VirtualServerId, Shared<VirtualServerConfig>>,
    unbuilt: &'u mut parse::Unbuilt,
}

impl Later<'_, '_> {
    /// Where the first block of a keyword is, here or in `root`.
    fn first(&self, keyword: &str, root: &section::Section<'_>) -> Option<source::Span> {
        let first = self.blocks.iter().find(|block| block.keyword == keyword);
        let first = first.and_then(|block| self.lines.get(block.lines.start, self.sources)).map(|line| {
            let words = lex::before_blanks(line.text.trim_end_matches('{'));
            line.span(0, words.len())
        });
        root.sections(keyword).next().map(|section| section.span).into_iter().chain(first).min()
    }

    /// How many blocks of a keyword are here.
    fn count(&self, keyword: &str) -> usize {
        self.blocks.iter().filter(|block| block.keyword == keyword).count()
    }

    /// All blocks of a keyword in their order in the file: those of `root`, and these, one at a time.
    fn sections(
        &mut self,
        keyword: &str,
        root: &section::Section<'_>,
        reporter: &mut Reporter,
        mut take: impl FnMut(&section::Section<'_>, &mut Reporter),
    ) {
        let mut others = root.sections(keyword);
        let mut taken = 0;
        let mut arena = Bump::new();
        for block in self.blocks.iter().filter(|block| block.keyword == keyword) {
            for section in others.by_ref().take(block.before - taken) {
                take(section, reporter);
            }
            taken = block.before;
            arena.reset();
            let nodes = tree::build_block(self.lines, self.sources, &arena, block.lines.clone(), reporter);
            let part = parse::parse(&nodes, self.unbuilt, reporter);
            for section in part.sections(keyword) {
                take(section, reporter);
            }
        }
        for section in others {
            take(section, reporter);
        }
    }
}

/// Reads a configuration file and all that it includes.
pub fn load(path: &Path, options: &LoadOptions) -> Loaded {
    let mut sources = Sources::default();
    let reporter = Reporter::default();
    match sources.read(path) {
        Ok(file) => load_from(file, sources, reporter, options, None).loaded,
        Err(error) => unreadable(path, &error, sources, reporter),
    }
}

fn unreadable(path: &Path, error: &std::io::Error, sources: Sources, mut reporter: Reporter) -> Loaded {
    reporter.unreadable(path.to_owned(), format!("cannot read the configuration: {error}"));
    Loaded { config: None, diagnostics: reporter.finish(&sources), files: vec![path.to_owned()] }
}

/// A configuration with what the linter says about it.
#[derive(Debug, Clone)]
pub struct Checked {
    /// As the daemon would read it, and the linter's findings among the diagnostics.
    pub loaded: Loaded,
    /// Where its instances and their keywords are.
    pub places: Places,
}

/// What [`check`] asks for beyond reading.
#[derive(Clone, Copy)]
struct Linting<'h> {
    host: Option<&'h dyn Host>,
}

/// Reads a configuration as [`load`] does, and lints it. Without a `host` nothing is said about the files of scripts.
pub fn check(path: &Path, options: &LoadOptions, host: Option<&dyn Host>) -> Checked {
    let mut sources = Sources::default();
    let reporter = Reporter::default();
    match sources.read(path) {
        Ok(file) => load_from(file, sources, reporter, options, Some(Linting { host })),
        Err(error) => Checked { loaded: unreadable(path, &error, sources, reporter), places: Places::default() },
    }
}

/// Lints a configuration that is at hand, under the name of a file.
pub fn check_text(path: &Path, text: &[u8], options: &LoadOptions, host: Option<&dyn Host>) -> Checked {
    let mut sources = Sources::default();
    let file = sources.add(path, text);
    load_from(file, sources, Reporter::default(), options, Some(Linting { host }))
}

/// Reads a configuration that is at hand, under the name of a file: includes are looked for beside it.
pub fn load_text(path: &Path, text: &[u8], options: &LoadOptions) -> Loaded {
    let mut sources = Sources::default();
    let file = sources.add(path, text);
    load_from(file, sources, Reporter::default(), options, None).loaded
}

fn load_from(
    file: u32,
    mut sources: Sources,
    mut reporter: Reporter,
    options: &LoadOptions,
    linting: Option<Linting<'_>>,
) -> Checked {
    let lines = expand::Expander::new(options, &mut sources, &mut reporter).run(file);
    // The linter looks at everything; otherwise the many instances and virtual servers of a large file are read one by one.
    let arena = Bump::new();
    let tree = tree::build(&lines, &sources, &arena, linting.is_some(), &mut reporter);
    let mut unbuilt = parse::Unbuilt::default();
    let root = parse::parse(&tree.nodes, &mut unbuilt, &mut reporter);
    let (blocks, known) = (&tree.later, &options.known);
    let mut later = Later { lines: &lines, sources: &sources, blocks, known, unbuilt: &mut unbuilt };
    let config = resolve::resolve(&root, &mut later, &mut reporter);
    parse::report_not_built(unbuilt, &mut reporter);
    let mut places = Places::default();
    if let Some(Linting { host }) = linting {
        lint::lint(&root, &config, &sources, host, &mut reporter);
        places = Places::of(&root, &sources);
    }
    let config = (!reporter.is_fatal()).then_some(config);
    Checked { loaded: Loaded { config, diagnostics: reporter.finish(&sources), files: sources.paths() }, places }
}
