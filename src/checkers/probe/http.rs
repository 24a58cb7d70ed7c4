//! Carries an HTTP_GET or SSL_GET: connects, sends the request, reads the answer.
//!
//! Shell; what to send and how to judge is in [`crate::checkers::http`].

use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::super::config::{HttpProbe, HttpVersion, Target, UrlConfig};
use super::super::finding::{Failure, Finding};
use super::super::http::expect;
use super::super::http::request;
use super::super::http::response::{Reader, Response, Wanted};
use super::kit::Tools;
use super::{socket, tls};

/// Bytes read at once.
const BUFFER: usize = 16 << 10;
/// First buffer: most answers of checks are shorter.
const SMALL_BUFFER: usize = 2 << 10;

/// Asks for one page. Each step may take `connect_timeout`; the whole no longer than `limit`.
pub async fn probe(probe: &HttpProbe, page: usize, tools: &Tools, limit: Duration) -> Finding {
    let Some(url) = probe.urls.get(page) else { return Err(Failure::ours("no such page")) };
    let wanted = expect::wanted(url, probe.version == HttpVersion::V11);
    let asked = timeout(limit, fetch(probe, url, tools, wanted)).await;
    let answer = match asked {
        Ok(answer) => answer?,
        Err(_) => return Err(Failure::unfit(format!("no whole answer from {} within {limit:?}", Place(probe, url)))),
    };
    let judged = expect::judge(url, tools.regex.as_deref(), &answer);
    judged.map(|()| 0).map_err(|reason| Failure::unfit(format!("{reason} of {}", Place(probe, url))))
}

/// Fetches one page, whatever it says.
///
/// # Errors
/// There is no answer of HTTP.
pub async fn fetch(probe: &HttpProbe, url: &UrlConfig, tools: &Tools, wanted: Wanted) -> Result<Response, Failure> {
    let target = &probe.target;
    let request = request::write(probe.version, url, target.address);
    let mut stream = socket::connect(target).await?;
    let (Some(config), Some(context)) = (&probe.tls, &tools.tls) else {
        return converse(target, Place(probe, url), &mut stream, &request, wanted).await;
    };
    let mut stream = Box::pin(tls::handshake(context, config, target, url, stream)).await?;
    let answer = converse(target, Place(probe, url), &mut stream, &request, wanted).await?;
    if url.compliant_close.unwrap_or(config.compliant_close) {
        // Ours, and then theirs; what they make of it does not count.
        let _ = timeout(target.connect_timeout, async {
            Pin::new(&mut stream).shutdown().await?;
            let mut rest = [0; 256];
            while stream.read(&mut rest).await? > 0 {}
            Ok::<_, io::Error>(())
        })
        .await;
    }
    Ok(answer)
}

async fn converse(
    target: &Target,
    place: Place<'_>,
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
    wanted: Wanted,
) -> Result<Response, Failure> {
    let send = async {
        stream.write_all(request).await?;
        stream.flush().await
    };
    socket::within(target, "request", target.connect_timeout, send).await?;
    let mut reader = Reader::new(wanted);
    let mut buffer = vec![0; SMALL_BUFFER];
    while !reader.is_complete() {
        let deadline = Instant::now() + target.connect_timeout;
        let length = match timeout_at(deadline, stream.read(&mut buffer)).await {
            Ok(Ok(length)) => length,
            // Some servers reset a connection once they have said everything, some never close it.
            Ok(Err(_)) | Err(_) if reader.may_be_all() => break,
            Ok(Err(error)) => return Err(socket::failed(target, &error)),
            Err(_) => {
                return Err(Failure::unfit(format!("no answer from {place} within {:?}", target.connect_timeout)));
            }
        };
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
        reader.feed(bytes).map_err(|error| Failure::unfit(format!("{error} ({place})")))?;
        if length == buffer.len() && length < BUFFER {
            buffer = vec![0; BUFFER];
        }
    }
    reader.finish().map_err(|error| Failure::unfit(format!("{error} ({place})")))
}

/// A page as people write it.
#[derive(Clone, Copy)]
struct Place<'a>(&'a HttpProbe, &'a UrlConfig);

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.0.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.0.target.address, self.1.path)
    }
}
