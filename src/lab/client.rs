//! The client: asks one virtual address every few milliseconds, each time by a new TCP connection.
//!
//! Shell: one thread with a small runtime inside the client's namespaces. A request does not wait for the one before,
//! so that an outage is measured to a few milliseconds and not to the client's time-out.

#![allow(clippy::disallowed_methods)] // A shell: it measures.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::host::Host;
use super::outage::Sample;
use super::server::PORT;

/// Time between two requests.
pub const EVERY: Duration = Duration::from_millis(5);

/// How long a request may take. Far below the second after which the kernel sends a lost SYN again: one try each.
pub const PATIENCE: Duration = Duration::from_millis(200);

/// A running client; dropping it ends it.
pub struct Client {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Starts asking `address`. `on_sample` is called on the client's thread, once for each request.
    pub fn start(host: &Host, address: IpAddr, on_sample: impl Fn(Sample) + Send + Sync + 'static) -> io::Result<Self> {
        let (stop, mut stopped) = oneshot::channel::<()>();
        let on_sample = std::sync::Arc::new(on_sample);
        let thread = host.thread("lab-client", move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                let mut ticks = tokio::time::interval(EVERY);
                // A stalled machine must not answer with a burst.
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    tokio::select! {
                        _ = ticks.tick() => {}
                        _ = &mut stopped => return,
                    }
                    let on_sample = std::sync::Arc::clone(&on_sample);
                    // At most PATIENCE / EVERY of them at a time; the runtime ends them when it is dropped.
                    tokio::spawn(async move {
                        let started = Instant::now();
                        let answer = tokio::time::timeout(PATIENCE, ask(SocketAddr::new(address, PORT))).await;
                        on_sample(Sample { started, answer: answer.ok().and_then(Result::ok) });
                    });
                }
            });
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn ask(server: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::InvalidData)?;
    if !head.starts_with("HTTP/1.1 200") || body.is_empty() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(body.trim_end().to_owned())
}
