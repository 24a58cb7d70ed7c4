//! Any bytes as a keepalived.conf: read, linted, compared with itself, planned, rendered.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

#[path = "../judge.rs"]
mod judge;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join("holdfast-fuzz-parser");
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    judge::furnish(&folder).expect("a writable folder");
    folder
});

fuzz_target!(|bytes: &[u8]| judge::judge(bytes, &FOLDER));
