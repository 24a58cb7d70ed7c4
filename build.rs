//! Gives each build an identity of its own, so that a main process never talks to a child of another build; and has the
//! program linked so that its processes take little memory.

use std::process::Command;
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
    if links_as_usual() {
        if packs_relocations() {
            println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        }
        // A debug build has other functions, and nobody counts its pages.
        if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
            println!("cargo:rustc-link-arg-bins=-T{}/{STEADY_TEXT}", env!("CARGO_MANIFEST_DIR"));
        }
    }
    println!("cargo:rerun-if-changed={STEADY_TEXT}");
}

/// The functions that run once the program has started, side by side: half a megabyte of them would keep four in memory
/// otherwise (packaging/record-steady-text). A function that a build does not have, or calls otherwise, does no harm.
const STEADY_TEXT: &str = "packaging/steady-text.ld";

/// Whether the compiler's own choice of a linker is kept: LLVM's and GNU ld take these options, not every other one does.
fn links_as_usual() -> bool {
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let is_linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    is_linux && std::env::var_os("RUSTC_LINKER").is_none() && !flags.contains("link")
}

/// Whether programs for the C library of this machine may have their relative relocations packed (DT_RELR: a bit each
/// instead of 24 bytes, two megabytes that each start of a process reads). glibc knows them since 2.36; for another
/// machine nothing is known, and nothing is packed.
fn packs_relocations() -> bool {
    let is_host = std::env::var_os("HOST") == std::env::var_os("TARGET");
    let Ok(output) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else { return false };
    let text = String::from_utf8_lossy(&output.stdout);
    let mut parts = text.trim().strip_prefix("glibc ").unwrap_or_default().split('.').map(str::parse);
    let version = (parts.next().and_then(Result::ok), parts.next().and_then(Result::ok));
    is_host && matches!(version, (Some(major), Some(minor)) if (major, minor) >= (2, 36))
}
