//! The seeds of the fuzz target, and what it ever found, without the fuzzer.

use std::path::{Path, PathBuf};

#[path = "../../fuzz/judge.rs"]
mod judge;

#[test]
fn every_seed_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/parser");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).expect("the seeds").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(files.len() > 10);
    let around = tempfile::tempdir().expect("a folder");
    judge::furnish(around.path()).expect("a writable folder");
    for file in files {
        println!("{}", file.display());
        let bytes = std::fs::read(&file).expect("a readable seed");
        judge::judge(&bytes, around.path());
        // Cut anywhere: the rest of a block, a word, a character.
        for length in (0..bytes.len()).step_by(97) {
            judge::judge(bytes.get(..length).unwrap_or_default(), around.path());
        }
    }
}
