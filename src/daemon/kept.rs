//! What outlives the daemon: a small file in its state directory, for the next daemon to read.
//!
//! Shell. Each change is written by a thread, whole or not at all, and on the disk: one that hangs holds up nothing else.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::error;

use super::file_writer::FileWriter;

/// How long the last change is waited for when the daemon ends.
const LAST_CHANGE: Duration = Duration::from_secs(2);

/// One of them.
#[derive(Debug)]
pub struct KeptFile {
    path: PathBuf,
    /// `None`: there shall be no file.
    writer: FileWriter<Option<Vec<u8>>>,
}

impl KeptFile {
    /// The file at this path, there or not.
    pub fn new(path: PathBuf) -> Self {
        Self { path, writer: FileWriter::new("kept", write) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the daemon before has kept; `None`: nothing.
    ///
    /// # Errors
    /// The file cannot be read, or is not what was written.
    pub fn read<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        match fs::read(&self.path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps this, or nothing, from now on.
    pub fn keep(&mut self, record: Option<&impl Serialize>) {
        match record.map(serde_json::to_vec).transpose() {
            Ok(text) => self.writer.write(self.path.clone(), text),
            Err(error) => error!("{}: {error}", self.path.display()),
        }
    }

    /// Waits for the disk, as long as the end of a daemon may.
    pub async fn finish(&self) {
        if !self.writer.finish(LAST_CHANGE).await {
            error!("{}: the disk does not answer: {FORGETS}", self.path.display());
        }
    }
}

const FORGETS: &str = "a restart of the daemon forgets the last change";

fn write(path: &Path, text: &Option<Vec<u8>>) -> io::Result<()> {
    let written = match text {
        Some(text) => replace(path, text),
        None => match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    };
    written.map_err(|error| io::Error::new(error.kind(), format!("{error}: {FORGETS}")))
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    let written = file.write_all(text).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // What is there still holds; the half of it would be in the way of the next.
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_word_is_kept_and_nothing_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/kept.json");
        let read = || KeptFile::new(path.clone()).read::<Vec<u32>>();
        assert_eq!(read().unwrap(), None);
        let mut kept = KeptFile::new(path.clone());
        for n in 0..100 {
            kept.keep(Some(&[n]));
        }
        kept.finish().await;
        assert_eq!(read().unwrap(), Some(vec![99]));
        kept.keep(None::<&()>);
        kept.finish().await;
        assert_eq!(fs::read_dir(directory.path().join("made")).unwrap().count(), 0);
        fs::write(&path, "[1,").unwrap();
        assert!(read().is_err());
    }

    /// A pipe that nobody reads is a disk that hangs: it cannot even be opened.
    #[tokio::test]
    async fn a_disk_that_hangs_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kept.json");
        let pipe = directory.path().join("kept.new");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut kept = KeptFile::new(path.clone());
        kept.keep(Some(&1));
        // Only a writer that waits lets a reader in.
        drop(File::open(&pipe).unwrap());
        kept.keep(Some(&2));
        kept.finish().await;
        assert_eq!(kept.read::<u32>().unwrap(), Some(2), "what cannot be written is out of the way of the next");
    }
}
