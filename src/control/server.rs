//! The server: two unix sockets, each connection a task with limits, all on a thread of its own.
//!
//! Shell. A thread of its own, because nothing that comes over these sockets may hold up main's loop: not a thousand
//! connections, not a JSON of a thousand instances, not a bug in a parser. Limits: the size of a request, the time of a
//! connection, the number of connections, where the last places are kept for those who may give commands. A panic ends
//! the task that it is in, is counted and logged; a socket's accepting task is started again.
//!
//! ```text
//!   thread "control": serve ─┬─ accepting (status.sock) ── one task a connection ── hyper ── answer::answer ──▶ main
//!                            └─ accepting (admin.sock)  ── …
//! ```
#![allow(clippy::disallowed_methods, reason = "a shell: reads the clock; tasks are owned by their runtime's thread")]

use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::answer::{self, Body};
use super::handle::{Handle, Inbox, channel};
use super::paths;
use super::peer::Peer;
use crate::daemon::pidfile::{PidFile, PidFileError};

/// Connections at a time on one socket.
const MOST_CONNECTIONS: usize = 96;
/// Places of these that only those get who may give commands.
const KEPT: usize = 32;
/// A request with its head is not larger than this; see also [`answer::MOST_BODY`].
const MOST_HEAD: usize = 16 * 1024;
/// Header lines of a request.
const MOST_HEADERS: usize = 64;
/// The head must be here by then.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// A connection that does not follow events ends by then, whatever it does. Longer than the longest answer.
const CONNECTION_LIMIT: Duration = Duration::from_secs(130);
/// Nobody waits long for who is turned away.
const FAREWELL_LIMIT: Duration = Duration::from_millis(200);
/// After an error of `accept`, or a panic.
const PAUSE: Duration = Duration::from_millis(100);
/// At the end, answers have this long to leave.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Which socket, hence what is allowed on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To look.
    Status,
    /// To act too.
    Admin,
}

/// Who may what.
#[derive(Debug, Clone, Copy)]
pub struct Permissions {
    /// The daemon's own user.
    pub owner: u32,
    /// Members of this group may give commands (`control_group`).
    pub group: Option<u32>,
}

/// The running server; dropping it ends it and removes its sockets.
#[derive(Debug)]
pub struct Server {
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
    sockets: [PathBuf; 2],
    /// Says whose sockets these are; after them in the order of dropping.
    _lock: PidFile,
}

/// Why there are no control sockets.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another daemon has the directory.
    #[error("{} belongs to another daemon: give this one a `control_directory` or `instance` of its own", .0.display())]
    Taken(PathBuf),
    /// The directory or a socket cannot be made.
    #[error("{}: {error}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Server {
    /// Makes the sockets in `directory` and serves them. The other end of everything that is asked is the [`Inbox`].
    ///
    /// # Errors
    /// Another daemon has them, or they cannot be made.
    pub fn start(directory: &Path, permissions: Permissions) -> Result<(Self, Handle, Inbox), StartError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| StartError::Io { path, error }
        };
        std::fs::create_dir_all(directory).map_err(io(directory))?;
        let lock_path = paths::lock_file(directory);
        let mut lock = PidFile::lock(&lock_path).map_err(|error| match error {
            PidFileError::AlreadyRunning(_) => StartError::Taken(directory.to_owned()),
            PidFileError::Io { path, error } => StartError::Io { path, error },
        })?;
        let _ = lock.write(std::process::id());
        let sockets = [paths::status_socket(directory), paths::admin_socket(directory)];
        let [status, admin] = &sockets;
        let listeners = [
            (bind(status, 0o666, None).map_err(io(status))?, Access::Status),
            (bind(admin, 0o660, permissions.group).map_err(io(admin))?, Access::Admin),
        ];
        let (handle, inbox) = channel();
        let (stop, stopped) = watch::channel(false);
        let served = handle.clone();
        let thread = std::thread::Builder::new().name("control".to_owned());
        let thread = thread.spawn(move || run(listeners, permissions, &served, stopped)).map_err(io(directory))?;
        Ok((Self { stop, thread: Some(thread), sockets, _lock: lock }, handle, inbox))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for socket in &self.sockets {
            let _ = std::fs::remove_file(socket);
        }
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A socket in place of whatever a killed daemon has left: the lock says that nobody uses it.
fn bind(path: &Path, mode: u32, group: Option<u32>) -> io::Result<StdUnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = StdUnixListener::bind(path)?;
    if group.is_some() {
        std::os::unix::fs::chown(path, None, group)?;
    }
    // Whoever connects before this is asked for its credentials all the same.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn run(
    listeners: [(StdUnixListener, Access); 2],
    permissions: Permissions,
    handle: &Handle,
    mut stopped: watch::Receiver<bool>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!("the control sockets cannot be served: {error}"),
    };
    runtime.block_on(async {
        let open = Arc::new(AtomicUsize::new(0));
        for (listener, access) in listeners {
            match UnixListener::from_std(listener) {
                Ok(listener) => {
                    let socket = Socket {
                        listener: Arc::new(listener),
                        access,
                        permissions,
                        handle: handle.clone(),
                        open: Arc::clone(&open),
                        service: answer_all,
                    };
                    // Ends with the runtime, which is safe anywhere.
                    drop(tokio::spawn(socket.keep_accepting()));
                }
                Err(error) => tracing::error!("a control socket cannot be served: {error}"),
            }
        }
        let _ = stopped.wait_for(|stop| *stop).await;
        let end = tokio::time::Instant::now() + LAST_WORDS;
        while open.load(Ordering::Relaxed) > 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    runtime.shutdown_background();
}

/// What a connection is served with, so that a test can serve something else.
type Service = fn(hyper::Request<Incoming>, Caller) -> Answering;
type Answering = Pin<Box<dyn Future<Output = hyper::Response<Body>> + Send>>;

/// Whom a request comes from.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The process.
    pub peer: Peer,
    /// Over which socket.
    pub access: Access,
    /// It may give commands.
    pub may_command: bool,
    /// The way to main.
    pub handle: Handle,
    /// Set by a request whose answer has no end.
    pub endless: Arc<AtomicBool>,
}

fn answer_all(request: hyper::Request<Incoming>, caller: Caller) -> Answering {
    Box::pin(answer::answer(request, caller))
}

#[derive(Clone)]
struct Socket {
    listener: Arc<UnixListener>,
    access: Access,
    permissions: Permissions,
    handle: Handle,
    /// Connections of both sockets.
    open: Arc<AtomicUsize>,
    service: Service,
}

impl Socket {
    /// Accepts for ever, over its own panics.
    async fn keep_accepting(self) {
        loop {
            let task = tokio::spawn(self.clone().accept());
            // It returns by a panic only.
            let _ = task.await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn accept(self) {
        let _panics = CountPanics(self.handle.clone());
        let ours = Arc::new(AtomicUsize::new(0));
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, for example.
                    tracing::debug!("control socket: {error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            self.handle.counters.connections.fetch_add(1, Ordering::Relaxed);
            let Ok(peer) = Peer::of(&stream) else { continue };
            let may_command = peer.may_command(self.permissions.owner, self.permissions.group);
            let most = if may_command { MOST_CONNECTIONS } else { MOST_CONNECTIONS - KEPT };
            let place = (Place::new(&ours), Place::new(&self.open));
            let caller =
                Caller { peer, access: self.access, may_command, handle: self.handle.clone(), endless: Arc::default() };
            if ours.load(Ordering::Relaxed) > most {
                caller.handle.count_refused();
                drop(tokio::spawn(turn_away(stream)));
                continue;
            }
            let service = self.service;
            // Ends by its own limits, or with the runtime.
            drop(tokio::spawn(async move {
                let _panics = CountPanics(caller.handle.clone());
                let _place = place;
                serve(stream, caller, service).await;
            }));
        }
    }
}

async fn serve(stream: UnixStream, caller: Caller, service: Service) {
    let (endless, handle) = (Arc::clone(&caller.endless), caller.handle.clone());
    let answer = service_fn(move |request| {
        let response = service(request, caller.clone());
        async move { Ok::<_, std::convert::Infallible>(response.await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MOST_HEAD)
        .max_headers(MOST_HEADERS)
        // One request each: a connection that does nothing takes no place for long.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(connection);
    loop {
        match tokio::time::timeout(CONNECTION_LIMIT, &mut connection).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                handle.count_refused();
                return tracing::debug!("control socket: {error}");
            }
            Err(_) if endless.load(Ordering::Relaxed) => {}
            Err(_) => return handle.count_refused(),
        }
    }
}

/// Too many connections: says so, and does not wait for a request.
async fn turn_away(mut stream: UnixStream) {
    let body = r#"{"version":1,"done":false,"message":"too many connections to the control socket","error":"busy"}"#;
    let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let text = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let _ = tokio::time::timeout(FAREWELL_LIMIT, stream.write_all(text.as_bytes())).await;
}

/// One connection, as long as it lives.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(open))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Held by a task: a panic in it is counted.
pub struct CountPanics(pub Handle);

impl Drop for CountPanics {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let panics = self.0.counters.panics.fetch_add(1, Ordering::Relaxed) + 1;
            // The first, and then ever more seldom: whoever can cause one can cause a million.
            if panics.is_power_of_two() {
                tracing::error!(panics, "a task of the control sockets panicked; the others go on");
            }
        }
    }
}

#[cfg(test)]
mod tests;
