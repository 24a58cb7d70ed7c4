//! How files are replaced.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use crate::dump::writer::{Job, replace};

fn job(text: &str) -> Job {
    Job { text: text.to_owned(), mode: 0o600 }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_stands_there_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (path, victim) = (dir.path().join("state"), dir.path().join("victim"));
    std::fs::write(&victim, "mine").unwrap();
    symlink(&victim, &path).unwrap();
    replace(&path, &job("new")).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine");
    assert_eq!(std::fs::symlink_metadata(&path).unwrap().mode() & 0o7777, 0o600);
    replace(&path, &Job { mode: 0o644, ..job("newer") }).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o644);
    assert_eq!(names(dir.path()), ["state", "victim"]);
}

#[test]
fn what_cannot_be_written_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    std::fs::create_dir(&path).unwrap();
    assert!(replace(&path, &job("x")).is_err(), "a directory");
    assert!(replace(&dir.path().join("no/such"), &job("x")).is_err());
    assert!(replace(Path::new("/"), &job("x")).is_err());
    assert_eq!(names(dir.path()), ["state"]);
}
