//! The web server of a node or of a real server: answers every request with its name, on all addresses; or with an error,
//! when it is told to.
//!
//! Shell: one thread with a small runtime inside the host's namespaces.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::oneshot;

use super::host::Host;

/// Where it listens, in the node's own network namespace.
pub const PORT: u16 = 80;

/// A running server; dropping it closes the port and every connection.
pub struct Server {
    broken: Arc<AtomicBool>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens before it returns, on [`PORT`].
    pub fn start(host: &Host) -> io::Result<Self> {
        Self::start_on(host, PORT)
    }

    /// Answers with status 503 from now on, or with its name again.
    pub fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::Relaxed);
    }

    /// Listens before it returns.
    pub fn start_on(host: &Host, port: u16) -> io::Result<Self> {
        let listeners = host.run(move || listen(port))?;
        let broken = Arc::new(AtomicBool::new(false));
        let fails = Arc::clone(&broken);
        let (stop, stopped) = oneshot::channel();
        let name = host.name().to_owned();
        let thread = host.thread("lab-server", move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            // Without a runtime the port stays closed and the client says so.
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                for listener in listeners {
                    if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                        runtime.spawn(serve(listener, name.clone(), Arc::clone(&fails)));
                    }
                }
                let _ = stopped.await;
            });
        })?;
        Ok(Self { broken, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Both families by one socket, or IPv4 alone on a kernel without IPv6.
fn listen(port: u16) -> io::Result<Vec<std::net::TcpListener>> {
    let both = (|| {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_only_v6(false)?;
        bind(&socket, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))?;
        io::Result::Ok(socket)
    })();
    let socket = both.or_else(|_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        bind(&socket, SocketAddr::from(([0, 0, 0, 0], port)))?;
        io::Result::Ok(socket)
    })?;
    Ok(vec![socket.into()])
}

fn bind(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)
}

#[allow(clippy::disallowed_methods)] // A shell: a task per connection, all ended with the runtime.
async fn serve(listener: tokio::net::TcpListener, name: String, broken: Arc<AtomicBool>) {
    loop {
        // Errors here are a connection that went away, or no descriptors left: the next accept tells.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let body = Bytes::from(format!("{name}\n"));
        let broken = Arc::clone(&broken);
        let answer = service_fn(move |_: Request<hyper::body::Incoming>| {
            let mut response = Response::new(Full::new(body.clone()));
            if broken.load(Ordering::Relaxed) {
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            async move { Ok::<_, Infallible>(response) }
        });
        tokio::spawn(async move {
            let _ = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}
