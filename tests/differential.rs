//! Debian's keepalived and we read the same files: the samples of its package, a few hundred files made from the schema,
//! and those of the folder that `HOLDFAST_CORPUS` names. For each file both verdicts, and whether each message of
//! keepalived has a counterpart of ours at its place that means the same. Every difference that stays is a row of `docs/differences.md`.
//!
//! Needs root, for a network namespace with the interfaces eth0 to eth5, and keepalived. `HOLDFAST_DIFFERENTIAL=all` takes
//! every generated file rather than a sample.

mod common;
#[path = "differential/files.rs"]
mod files;
#[path = "differential/meanings.rs"]
mod meanings;
#[path = "differential/rows.rs"]
mod rows;
#[path = "differential/verdict.rs"]
mod verdict;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use common::{needs_keepalived, needs_root};
use files::Case;
use meanings::Meanings;
use rows::Rows;
use verdict::{Interfaces, ours, theirs, unexplained};

/// Chosen once; another seed is another sample.
const SEED: u64 = 20_220_116;
/// Files in the sample.
const SAMPLE: usize = 400;

/// Compares all cases and panics with what no row explains.
fn compare(cases: &[Case], interfaces: &Interfaces) {
    let (rows, meanings) = (Rows::read(), Meanings::read());
    let folder = tempfile::tempdir().expect("a folder");
    let mut differences: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for case in cases {
        let path = match &case.path {
            Some(path) => path.clone(),
            None => {
                let path = folder.path().join("keepalived.conf");
                std::fs::write(&path, &case.text).expect("a writable folder");
                path
            }
        };
        let (theirs, ours) = (theirs(&path, interfaces), ours(&path));
        for difference in unexplained(&case.text, &theirs, &ours, &rows, &meanings) {
            differences.entry(difference).or_default().push(case.name.clone());
        }
    }
    let mut report = String::new();
    for (difference, names) in &differences {
        let _ = writeln!(
            report,
            "{difference}\n    {} files: {}",
            names.len(),
            names.iter().take(4).cloned().collect::<Vec<_>>().join(", ")
        );
    }
    println!("{} files compared", cases.len());
    assert!(differences.is_empty(), "differences that docs/differences.md does not explain:\n{report}");
}

fn folder(path: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<Case> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let wanted =
        |path: &PathBuf| path.is_file() && path.file_name().is_some_and(|name| is_wanted(&name.to_string_lossy()));
    files.into_iter().filter(wanted).map(Case::of_file).collect()
}

#[test]
fn the_samples_of_its_package() {
    needs_root!();
    needs_keepalived!();
    let samples = folder(Path::new("/usr/share/doc/keepalived/samples"), |name| name.starts_with("keepalived.conf"));
    assert!(samples.len() > 20, "the package's samples");
    compare(&samples, &Interfaces::make("samples"));
}

#[test]
fn files_made_from_the_schema() {
    needs_root!();
    needs_keepalived!();
    let all = files::generate();
    let cases = if std::env::var("HOLDFAST_DIFFERENTIAL").is_ok_and(|wish| wish == "all") {
        all
    } else {
        files::sample(all, SAMPLE, SEED)
    };
    compare(&cases, &Interfaces::make("schema"));
}

#[test]
fn files_of_the_folder_that_the_environment_names() {
    // Nothing is asked for: that is no test skipped.
    let Some(path) = std::env::var_os("HOLDFAST_CORPUS") else { return };
    needs_root!();
    needs_keepalived!();
    let cases = folder(Path::new(&path), |name| name.ends_with(".conf"));
    assert!(!cases.is_empty(), "{} has no files", Path::new(&path).display());
    compare(&cases, &Interfaces::make("corpus"));
}
