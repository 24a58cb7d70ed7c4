//! Gives each build an identity of its own, so that a main process never talks to a child of another build.

use std::time::{SystemTime, UNIX_EPOCH};

#[allow(clippy::disallowed_methods, reason = "a build script: the time of the build is its identity")]
fn main() {
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=Cargo.toml");
    // Reproducible builds set SOURCE_DATE_EPOCH; there the version alone tells builds apart.
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let build = std::env::var("SOURCE_DATE_EPOCH").unwrap_or_else(|_| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or_else(|_| "0".to_owned(), |t| t.as_secs().to_string())
    });
    println!("cargo:rustc-env=HOLDFAST_BUILD={build}");
}
