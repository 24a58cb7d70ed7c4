//! Reads a secret when it is needed.
//!
//! Shell: files and the environment. A file is read anew each time, so that a changed password needs no reload.

use std::path::{Path, PathBuf};

use super::config::Secret;

/// A password is not longer; a path that was mistyped must not read a disk into memory.
const LIMIT: usize = 64 << 10;

/// The secret's text, without the end of its line.
///
/// # Errors
/// What is missing, for people; never the secret itself.
pub async fn read(secret: &Secret) -> Result<String, String> {
    match secret {
        Secret::File(path) => file(path).await,
        Secret::Environment(name) => {
            std::env::var(name).map_err(|_| format!("the environment has no variable {name}, or it is not text"))
        }
        Secret::Credential(name) => {
            let directory = std::env::var_os("CREDENTIALS_DIRECTORY")
                .ok_or_else(|| format!("no credential {name}: the unit has no LoadCredential="))?;
            file(&PathBuf::from(directory).join(name)).await
        }
    }
}

async fn file(path: &Path) -> Result<String, String> {
    Ok(whole(path).await?.lines().next().unwrap_or_default().to_owned())
}

/// All of a small file: a template.
///
/// # Errors
/// It cannot be read, for people.
pub async fn whole(path: &Path) -> Result<String, String> {
    use tokio::io::AsyncReadExt;
    let problem = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await.map_err(problem)?;
    file.take(LIMIT as u64).read_to_string(&mut text).await.map_err(problem)?;
    Ok(text)
}
