//! The page's server: a thread of its own, one task for each connection, with limits.
//!
//! Shell. A panic ends the task that it is in, is counted and logged; the task that accepts is started again. An address
//! that is not there yet is tried until it is.
#![allow(clippy::disallowed_methods, reason = "a shell: tasks are owned by their runtime's thread")]

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::super::metrics;
use super::super::model::{Event, Status};
use super::answer::{self, Asked, HEADERS, Refusal, What};
use super::{Listen, PageConfig};

/// Connections at a time; one more is closed at once.
const MOST_CONNECTIONS: usize = 64;
/// The head of a request is not larger than this.
const MOST_HEAD: usize = 16 * 1024;
/// The head must be here by then.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// A connection ends by then, whatever it does; a browser makes another.
const CONNECTION_LIMIT: Duration = Duration::from_secs(120);
/// Between two tries to listen, and after a panic.
const PAUSE: Duration = Duration::from_secs(2);
/// Whoever guesses tokens waits.
const WRONG_TOKEN_PAUSE: Duration = Duration::from_millis(500);
/// Shorter tokens can be guessed.
const SHORTEST_TOKEN: usize = 16;

/// Where the page takes what it shows.
pub trait Source: Clone + Send + Sync + 'static {
    /// Everything, as it is now.
    fn status(&self) -> impl Future<Output = Result<Arc<Status>, String>> + Send;
    /// The latest events, oldest first.
    fn events(&self) -> impl Future<Output = Result<Vec<Event>, String>> + Send;
}

/// The running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Page {
    stop: watch::Sender<bool>,
    panics: Arc<AtomicU64>,
}

impl Page {
    /// Serves the page as `config` says.
    ///
    /// # Errors
    /// The token cannot be read, or a thread cannot be started. An address that cannot be had is tried again and again.
    pub fn start<S: Source>(config: &PageConfig, source: S, panics: Arc<AtomicU64>) -> io::Result<Self> {
        let token = config.token_file.as_deref().map(read_token).transpose()?;
        let (stop, stopped) = watch::channel(false);
        let served = Served {
            checks_host: token.is_none() && matches!(config.listen, Listen::Tcp(_)),
            token: token.map(Arc::from),
            source,
            panics: Arc::clone(&panics),
            open: Arc::default(),
        };
        let listen = config.listen.clone();
        std::thread::Builder::new().name("page".to_owned()).spawn(move || run(&listen, &served, stopped))?;
        Ok(Self { stop, panics })
    }

    /// Panics since the start of the daemon.
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}

/// The first line of the file.
fn read_token(path: &Path) -> io::Result<String> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("token_file {}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(named)?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.len() < SHORTEST_TOKEN {
        return Err(named(io::Error::other(format!("a token has {SHORTEST_TOKEN} characters at the least"))));
    }
    if std::fs::metadata(path).map_err(named)?.permissions().mode() & 0o044 != 0 {
        warn!("token_file {}: others can read it", path.display());
    }
    Ok(token.to_owned())
}

#[derive(Clone)]
struct Served<S> {
    token: Option<Arc<str>>,
    checks_host: bool,
    source: S,
    panics: Arc<AtomicU64>,
    open: Arc<AtomicUsize>,
}

fn run<S: Source>(listen: &Listen, served: &Served<S>, mut stopped: watch::Receiver<bool>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return error!("the status page cannot be served: {error}"),
    };
    let (listen, served) = (listen.clone(), served.clone());
    runtime.block_on(async move {
        let accepting = tokio::spawn(async move {
            loop {
                // It returns by a panic only; the listener is made anew.
                let task = tokio::spawn(keep_listening(listen.clone(), served.clone()));
                if task.await.is_err_and(|error| error.is_panic()) {
                    served.count_panic();
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        let _ = stopped.wait_for(|stop| *stop).await;
        accepting.abort();
    });
    // Connections end with it, which is safe anywhere.
    runtime.shutdown_background();
}

async fn keep_listening<S: Source>(listen: Listen, served: Served<S>) {
    let mut said = String::new();
    loop {
        let result = match &listen {
            Listen::Tcp(address) => match TcpListener::bind(address).await {
                Ok(listener) => {
                    info!("status page on {listen}");
                    accept_tcp(listener, &served).await
                }
                Err(error) => Err(error),
            },
            Listen::Unix(path) => match bind_unix(path) {
                Ok(listener) => {
                    info!("status page on {listen}");
                    accept_unix(listener, &served).await
                }
                Err(error) => Err(error),
            },
        };
        if let Err(error) = result {
            let words = error.to_string();
            if words != said {
                error!("the status page cannot be served on {listen}, trying on: {words}");
                said = words;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A socket in place of one that nobody listens to any more.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| {
        use std::os::unix::fs::FileTypeExt;
        meta.file_type().is_socket()
    });
    if is_socket {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

async fn accept_tcp<S: Source>(listener: TcpListener, served: &Served<S>) -> io::Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => served.take(stream),
            Err(error) if is_passing(&error) => tokio::time::sleep(PAUSE / 10).await,
            Err(error) => return Err(error),
        }
    }
}

async fn accept_unix<S: Source>(listener: UnixListener, served: &Served<S>) -> io::Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => served.take(stream),
            Err(error) if is_passing(&error) => tokio::time::sleep(PAUSE / 10).await,
            Err(error) => return Err(error),
        }
    }
}

/// Out of descriptors, or the client is gone already: the listener is as good as before.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ECONNABORTED | libc::ENOBUFS | libc::ENOMEM)
    )
}

impl<S: Source> Served<S> {
    fn count_panic(&self) {
        let panics = self.panics.fetch_add(1, Ordering::Relaxed) + 1;
        // The first, and then ever more seldom: whoever can cause one can cause a million.
        if panics.is_power_of_two() {
            error!(panics, "the status page had a panic: it goes on");
        }
    }

    /// Serves a connection in a task of its own.
    fn take(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        if self.open.load(Ordering::Relaxed) >= MOST_CONNECTIONS {
            return;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        let served = self.clone();
        let work = tokio::spawn(served.clone().serve(stream));
        drop(tokio::spawn(async move {
            if work.await.is_err_and(|error| error.is_panic()) {
                served.count_panic();
            }
            served.open.fetch_sub(1, Ordering::Relaxed);
        }));
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(move |request| {
            let served = self.clone();
            async move { Ok::<_, Infallible>(served.answer(request).await) }
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(MOST_HEAD);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        // Whatever it ends with, it is the client's.
        let _ = tokio::time::timeout(CONNECTION_LIMIT, connection).await;
    }

    async fn answer(&self, request: hyper::Request<Incoming>) -> hyper::Response<Full<Bytes>> {
        let (head, _) = request.into_parts();
        let header = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let asked = Asked {
            method: head.method.as_str(),
            path: head.uri.path(),
            host: header(HOST).or(head.uri.host()),
            authorization: header(AUTHORIZATION),
        };
        let decided = answer::answer(asked, self.token.as_deref(), self.checks_host, same);
        if decided == Err(Refusal::Token) && asked.authorization.is_some() {
            tokio::time::sleep(WRONG_TOKEN_PAUSE).await;
        }
        let (code, kind, body) = match decided {
            Ok(what) => match self.body(what).await {
                Ok(body) => (200, answer::content_type(what), body),
                Err(why) => (503, "text/plain; charset=utf-8", Bytes::from(why + "\n")),
            },
            Err(refusal) => {
                let (code, text) = refusal.answer();
                (code, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
            }
        };
        let mut response = hyper::Response::new(Full::new(body));
        *response.status_mut() = hyper::StatusCode::from_u16(code).unwrap_or_default();
        put_headers(response.headers_mut(), kind, code == 401);
        response
    }

    async fn body(&self, what: What) -> Result<Bytes, String> {
        let json = |error: serde_json::Error| error.to_string();
        Ok(match what {
            What::Asset(_, content) => Bytes::from_static(content.as_bytes()),
            What::Status => serde_json::to_vec(&*self.source.status().await?).map_err(json)?.into(),
            What::Events => serde_json::to_vec(&self.source.events().await?).map_err(json)?.into(),
            What::Metrics => metrics::render(&*self.source.status().await?).into(),
        })
    }
}

fn put_headers(headers: &mut HeaderMap, kind: &'static str, unauthorized: bool) {
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if unauthorized {
        // No other scheme: a browser's own dialogue would keep the token for ever.
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
}

/// Compares in a time that does not depend on where they differ.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && openssl::memcmp::eq(a.as_bytes(), b.as_bytes())
}
