//! The status page: the cluster as this node sees it, for a browser, live.
//!
//! Pure, but for its shell `server`. Off unless `status_page` asks for it. The page itself is three files that have
//! nothing to do with this node; what it shows it fetches as JSON, and puts into the document as text: nothing that a
//! peer or a configuration file says can become a part of it. It looks and never acts.

pub mod answer;
pub mod server;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `status_page ADDRESS:PORT|unix:PATH [token_file PATH]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageConfig {
    /// Where it is served.
    pub listen: Listen,
    /// A file with the token that a reader must show.
    pub token_file: Option<PathBuf>,
}

/// Where the page is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listen {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket, for a proxy.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}/"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What is wrong with a `status_page` line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The first word.
    #[error("`{0}` is neither `ADDRESS:PORT` nor `unix:PATH`")]
    Listen(String),
    /// The second word.
    #[error("`status_page` takes `token_file PATH` after the address, not `{0}`")]
    Word(String),
    /// Everybody in the network could look.
    #[error("{0} can be reached from outside: `token_file PATH` is required there")]
    NeedsToken(SocketAddr),
    /// A path that depends on where the daemon was started.
    #[error("`{0}` is not an absolute path")]
    Relative(String),
}

impl PageConfig {
    /// Reads the words of the line.
    ///
    /// # Errors
    /// They make no sense, or would show the page to everybody.
    pub fn parse(words: &[&str]) -> Result<Self, PageError> {
        let absolute = |path: &str| {
            path.starts_with('/').then(|| PathBuf::from(path)).ok_or_else(|| PageError::Relative(path.to_owned()))
        };
        let (listen, rest) = words.split_first().ok_or_else(|| PageError::Listen(String::new()))?;
        let listen = match listen.strip_prefix("unix:") {
            Some(path) => Listen::Unix(absolute(path)?),
            None => Listen::Tcp(listen.parse().map_err(|_| PageError::Listen((*listen).to_owned()))?),
        };
        let token_file = match rest {
            [] => None,
            ["token_file", path] => Some(absolute(path)?),
            [word, ..] => return Err(PageError::Word((*word).to_owned())),
        };
        match listen {
            Listen::Tcp(address) if !address.ip().is_loopback() && token_file.is_none() => {
                Err(PageError::NeedsToken(address))
            }
            listen => Ok(Self { listen, token_file }),
        }
    }
}

#[cfg(test)]
mod tests;
