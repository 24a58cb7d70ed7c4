//! The client of the control API.
//!
//! Shell: one connection for each request, with a limit in time; errors say what to do about them.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::api::Method;
use super::paths::{self, DEFAULT_DIRECTORY};

/// Longer than the daemon takes for the longest answer.
const LIMIT: Duration = Duration::from_secs(135);
/// Connecting and the first word of an answer that has no end.
const FIRST_WORD: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read: far more than the status of a thousand instances.
const MOST_ANSWER: usize = 256 << 20;
/// Bytes of one line.
const MOST_LINE: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("the daemon is not running: nobody listens at {}{hint}", socket.display())]
    NotRunning {
        /// Where.
        socket: PathBuf,
        /// Where somebody does.
        hint: String,
    },
    /// This user may not.
    #[error("not permitted: {} is for root and the members of `control_group`", socket.display())]
    NotPermitted {
        /// Where.
        socket: PathBuf,
    },
    /// It took too long.
    #[error("the daemon at {} does not answer", socket.display())]
    Late {
        /// Where.
        socket: PathBuf,
    },
    /// Something else.
    #[error("{}: {why}", socket.display())]
    Broken {
        /// Where.
        socket: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

/// A client of one daemon.
#[derive(Debug, Clone)]
pub struct Client {
    directory: PathBuf,
}

impl Client {
    /// Of the daemon whose sockets are in this directory.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The socket that a method goes to.
    pub fn socket(&self, method: Method) -> PathBuf {
        match method {
            Method::Get => paths::status_socket(&self.directory),
            Method::Post => paths::admin_socket(&self.directory),
        }
    }

    /// Asks, and reads the whole answer.
    ///
    /// # Errors
    /// There is none.
    pub fn ask(&self, method: Method, path: &str, body: &str) -> Result<Answer, ClientError> {
        self.ask_within(LIMIT, method, path, body)
    }

    /// The same, for somebody who has less time: `limit` is for the beginning of the answer, and again for the rest of it.
    ///
    /// # Errors
    /// There is none.
    pub fn ask_within(&self, limit: Duration, method: Method, path: &str, body: &str) -> Result<Answer, ClientError> {
        let socket = self.socket(method);
        on_runtime(&socket, async {
            let response = tokio::time::timeout(limit, exchange(&socket, method, path, body));
            let response = response.await.map_err(|_| ClientError::Late { socket: socket.clone() })??;
            let status = response.status().as_u16();
            let body = http_body_util::Limited::new(response.into_body(), MOST_ANSWER).collect();
            let body =
                tokio::time::timeout(limit, body).await.map_err(|_| ClientError::Late { socket: socket.clone() })?;
            let body = body.map_err(|error| broken(&socket, &error))?.to_bytes();
            Ok(Answer { status, body })
        })
    }

    /// Reads an answer of lines as they come; empty ones are left out. Any other status than 200 is an answer as well.
    ///
    /// # Errors
    /// There is no answer, or it breaks off.
    pub fn lines(
        &self,
        path: &str,
        mut on_line: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<Option<Answer>, ClientError> {
        let socket = self.socket(Method::Get);
        on_runtime(&socket, async {
            let response = tokio::time::timeout(FIRST_WORD, exchange(&socket, Method::Get, path, ""));
            let response = response.await.map_err(|_| ClientError::Late { socket: socket.clone() })??;
            let status = response.status().as_u16();
            let mut body = response.into_body();
            if status != 200 {
                let body = body.collect().await.map_err(|error| broken(&socket, &error))?.to_bytes();
                return Ok(Some(Answer { status, body }));
            }
            let mut rest = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| broken(&socket, &error))?;
                rest.extend_from_slice(frame.data_ref().map(|data| &data[..]).unwrap_or_default());
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let line = line.trim_ascii();
                    if !line.is_empty() && on_line(line).is_break() {
                        return Ok(None);
                    }
                }
                if rest.len() > MOST_LINE {
                    return Err(broken(&socket, &"a line without an end"));
                }
            }
            Ok(None)
        })
    }

    /// The process that listens, if it can be named.
    pub fn daemon_pid(&self) -> Option<i32> {
        let stream = std::os::unix::net::UnixStream::connect(self.socket(Method::Post)).ok()?;
        let peer = super::peer::Peer::of(&stream).ok()?;
        (peer.pid > 0).then_some(peer.pid)
    }
}

fn on_runtime<T>(socket: &Path, work: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| broken(socket, &error))?.block_on(work)
}

#[allow(clippy::disallowed_methods, reason = "a shell: the connection's task ends with the runtime of the request")]
async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    body: &str,
) -> Result<hyper::Response<Incoming>, ClientError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| refused(socket, &error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(socket, &error))?;
    // Drives the connection while somebody reads the answer.
    drop(tokio::spawn(async move {
        let _ = connection.await;
    }));
    let method = match method {
        Method::Get => hyper::Method::GET,
        Method::Post => hyper::Method::POST,
    };
    let request = hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .map_err(|error| broken(socket, &error))?;
    sender.send_request(request).await.map_err(|error| broken(socket, &error))
}

fn refused(socket: &Path, error: &io::Error) -> ClientError {
    let socket = socket.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let hint = others(&socket);
            ClientError::NotRunning { socket, hint }
        }
        io::ErrorKind::PermissionDenied => ClientError::NotPermitted { socket },
        _ => broken(&socket, error),
    }
}

/// Named daemons of this machine, when the one that was meant is not there.
fn others(socket: &Path) -> String {
    let directories = std::fs::read_dir(DEFAULT_DIRECTORY).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = directories
        .map(|entry| entry.path())
        .chain([PathBuf::from(DEFAULT_DIRECTORY)])
        .filter(|directory| paths::status_socket(directory).exists() && !socket.starts_with(directory))
        .collect();
    found.sort();
    match &found[..] {
        [] => String::new(),
        [one] => format!(" (there is one: --control-dir {})", one.display()),
        [first, ..] => format!(" (there are {}: --control-dir {}, …)", found.len(), first.display()),
    }
}

fn broken(socket: &Path, why: &dyn std::fmt::Display) -> ClientError {
    ClientError::Broken { socket: socket.to_owned(), why: why.to_string() }
}
