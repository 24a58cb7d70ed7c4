//! Reading the configuration for the daemon and for the checking commands, and saying what is wrong with it.
//!
//! Shell.
#![allow(clippy::disallowed_methods, reason = "a shell: a random seed comes from the clock")]

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::Path;

use crate::cli::DaemonArgs;
use crate::conf::config::Config;
use crate::conf::{self, Diagnostics, Kind, LoadOptions, Loaded, Severity};
use crate::ipvs::config::{VirtualServerConfig, VirtualServerId};
use crate::ipvs::shared::Shared;
use crate::net::sys::{lay_heap_in_large_pages, release_free_memory};

/// keepalived's exit code for a configuration that nothing can run on.
const EXIT_CONFIG: u8 = 2;
/// keepalived's exit code when there is no configuration.
const EXIT_NO_CONFIG: u8 = 6;

/// Less than this is read in no time.
const LARGE_FILE: u64 = 128 << 10;

/// What the command line says about reading configurations.
pub fn options(config_id: Option<&str>, strict_includes: bool) -> LoadOptions {
    LoadOptions {
        config_id: config_id.map_or_else(short_host_name, str::to_owned),
        strict_includes,
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        random_seed: RandomState::new().hash_one(std::process::id()),
        ..LoadOptions::default()
    }
}

fn short_host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().split('.').next().unwrap_or_default().to_owned()
}

/// Reads the daemon's configuration.
pub fn load(args: &DaemonArgs) -> Loaded {
    conf::load(&args.file, &options(args.config_id.as_deref(), args.all_config))
}

/// Reads it once more: virtual servers that are the same as these are not kept twice.
pub fn load_again(args: &DaemonArgs, known: BTreeMap<VirtualServerId, Shared<VirtualServerConfig>>) -> Loaded {
    conf::load(&args.file, &LoadOptions { known, ..options(args.config_id.as_deref(), args.all_config) })
}

/// Reading takes many times the memory of what is kept, and what is kept lies scattered all over it: it is packed, all
/// memory is given back, and then it is unpacked into little room. To be called when there is time.
pub fn repack(config: Config) -> Config {
    let Ok(packed) = postcard::to_allocvec(&config) else { return config };
    drop(config);
    release_free_memory();
    let mut config: Config = postcard::from_bytes(&packed).expect("this very program packed it");
    config.vrrp.shrink_to_fit();
    config
}

/// Logs each diagnostic, one line each.
pub fn log(diagnostics: &Diagnostics) {
    for d in diagnostics.iter() {
        let help = d.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
        let place = place(d);
        match d.severity {
            Severity::Warning => tracing::warn!("{place}: {}{help}", d.message),
            Severity::Error | Severity::Fatal => tracing::error!("{place}: {}{help}", d.message),
        }
    }
}

/// Where a problem is: file, line and column.
pub fn place(d: &conf::Diagnostic) -> String {
    match d.source {
        Some(_) => format!("{}:{}:{}", d.file.display(), d.line, d.column),
        None => d.file.display().to_string(),
    }
}

/// The exit code of a daemon that cannot start on this.
pub fn exit_code(diagnostics: &Diagnostics) -> u8 {
    let unreadable = |d: &conf::Diagnostic| d.severity == Severity::Fatal && d.kind == Kind::Unreadable;
    if diagnostics.iter().any(unreadable) { EXIT_NO_CONFIG } else { EXIT_CONFIG }
}

/// `--config-test`: keepalived's exit codes, the text on stderr or in a file.
///
/// # Errors
/// The file cannot be written.
pub fn config_test(args: &DaemonArgs, output: Option<&Path>) -> anyhow::Result<u8> {
    let size = fs::metadata(&args.file).map_or(0, |file| file.len());
    if size >= LARGE_FILE {
        // The text, its lines and what is made of them take more than three times the file.
        lay_heap_in_large_pages(usize::try_from(size).unwrap_or_default().saturating_mul(3));
    }
    // Nothing is kept, so nothing is packed.
    let loaded = conf::load(&args.file, &options(args.config_id.as_deref(), args.all_config));
    let text = loaded.diagnostics.render(false);
    match output {
        Some(path) => fs::write(path, &text).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?,
        // The exit code is the verdict, whoever reads the text.
        None => drop(io::stderr().write_all(text.as_bytes())),
    }
    // The process ends: a large configuration is not taken to pieces for it.
    std::mem::forget(loaded.config);
    Ok(loaded.diagnostics.config_test_exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_in_repacking() {
        let text = include_bytes!("../../examples/nginx-pair/node-a.conf");
        let config = conf::load_text(Path::new("keepalived.conf"), text, &options(None, false)).config.expect("usable");
        assert_ne!(config, Config::default());
        assert_eq!(repack(config.clone()), config);
    }
}
