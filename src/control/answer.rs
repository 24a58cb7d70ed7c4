//! From an HTTP request to a request of main, and from its answer to HTTP.
//!
//! Shell: reads bodies, waits for main, feeds those who follow events.
#![allow(clippy::disallowed_methods, reason = "a shell: one task for each follower, which ends with its connection")]

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Frame, Incoming};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::api::{self, Answer, Endpoint, MaintenanceOrder, Method, RealServerOrder, Refused, Request, refused};
use super::handle::{Handle, Unanswered};
use super::server::{Access, Caller, CountPanics};
use crate::status::metrics;
use crate::status::model::{self, Event, Outcome};

/// Bytes of a body that is read.
pub const MOST_BODY: usize = 64 * 1024;
/// A body must be here by then.
const BODY_LIMIT: Duration = Duration::from_secs(5);
/// Events in one answer of main.
const AT_ONCE: usize = 256;
/// Events in one answer unless it is said otherwise.
const MOST_EVENTS: usize = 1000;
/// Lines that wait for one follower; when it does not read, nobody asks main for more.
const LINES: usize = 8;
/// An empty line after this long, so that a follower that is gone is noticed.
const STILL_THERE: Duration = Duration::from_secs(15);

/// What an endpoint of ours says of itself, for people and programs.
const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Whole(Full<Bytes>),
    /// Lines, as they come.
    Lines(mpsc::Receiver<Bytes>),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::Lines(lines) => lines.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line)))),
        }
    }
}

type Response = hyper::Response<Body>;

/// Answers one request.
pub async fn answer(request: hyper::Request<Incoming>, caller: Caller) -> Response {
    match route(request, &caller).await {
        Ok(response) => response,
        Err(outcome) => {
            caller.handle.count_refused();
            of_outcome(&outcome)
        }
    }
}

async fn route(request: hyper::Request<Incoming>, caller: &Caller) -> Result<Response, Outcome> {
    let (head, body) = request.into_parts();
    let method = match head.method {
        hyper::Method::GET => Some(Method::Get),
        hyper::Method::POST => Some(Method::Post),
        _ => None,
    };
    let (route, name) = api::find(method, head.uri.path())?;
    if caller.access == Access::Admin && !caller.may_command {
        return Err(refused(
            Refused::Forbidden,
            format!("{} may not give commands: root may, and the members of `control_group`", caller.peer),
        ));
    }
    if route.method == Method::Post && caller.access == Access::Status {
        return Err(refused(Refused::Forbidden, "commands are given on the other socket, admin.sock"));
    }
    let query = api::query(head.uri.query().unwrap_or_default())?;
    let name = name.unwrap_or_default();
    let by = caller.peer.to_string();
    let request = match route.endpoint {
        Endpoint::Status => Request::Status,
        Endpoint::Metrics => return metrics(caller, by).await,
        Endpoint::Events => return events(caller, &query).await,
        Endpoint::Why => Request::Why,
        Endpoint::OpenApi => return Ok(json(200, Bytes::from_static(OPENAPI.as_bytes()))),
        Endpoint::Failover => Request::Failover { instance: name },
        Endpoint::Maintenance => Request::Maintenance(
            read::<MaintenanceOrder>(body)
                .await?
                .ok_or_else(|| refused(Refused::Invalid, r#"say what: {"on": true} or {"on": false}"#))?,
        ),
        Endpoint::RealServer(state) => {
            let order = read::<RealServerOrder>(body).await?.unwrap_or_default();
            Request::RealServer { address: name, virtual_server: order.virtual_server, state }
        }
        Endpoint::Plan => Request::Plan,
        Endpoint::Reload => Request::Reload,
        Endpoint::Stop => Request::Stop,
    };
    Ok(match ask(&caller.handle, request, by).await? {
        Answer::Status(status) => of(200, &*status),
        Answer::Events { events, .. } => of(200, &events),
        Answer::Why(record) => of(200, &*record),
        Answer::Plan(report) => of(200, &*report),
        Answer::Outcome(outcome) => of_outcome(&outcome),
    })
}

async fn metrics(caller: &Caller, by: String) -> Result<Response, Outcome> {
    match ask(&caller.handle, Request::Status, by).await? {
        Answer::Status(status) => {
            let text = metrics::render(&status);
            Ok(response(200, metrics::CONTENT_TYPE, Body::Whole(Full::new(text.into()))))
        }
        _ => Err(refused(Refused::Internal, "an answer to something else")),
    }
}

async fn ask(handle: &Handle, request: Request, by: String) -> Result<Answer, Outcome> {
    handle.ask(request, by).await.map_err(|error| {
        let why = match error {
            Unanswered::Busy => Refused::Busy,
            Unanswered::Late => Refused::Late,
            Unanswered::Stopping => Refused::Stopping,
        };
        refused(why, error.to_string())
    })
}

/// The body as JSON; `None` for an empty one.
async fn read<T: DeserializeOwned>(body: Incoming) -> Result<Option<T>, Outcome> {
    let invalid = |message: String| refused(Refused::Invalid, message);
    let collected = tokio::time::timeout(BODY_LIMIT, Limited::new(body, MOST_BODY).collect()).await;
    let bytes = match collected {
        Ok(Ok(collected)) => collected.to_bytes(),
        Ok(Err(error)) => return Err(invalid(format!("the body cannot be read: {error}"))),
        Err(_) => return Err(invalid("the body did not come in time".to_owned())),
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| invalid(format!("the body is not what is expected: {error}")))
}

/// `GET /v1/events?after=N&most=N&follow`: one JSON object a line, oldest first.
async fn events(caller: &Caller, query: &BTreeMap<String, String>) -> Result<Response, Outcome> {
    let number = |name: &str| {
        let value = query.get(name).map(|text| text.parse::<u64>());
        value.transpose().map_err(|_| refused(Refused::Invalid, format!("`{name}` is a number")))
    };
    let after = number("after")?.unwrap_or(0);
    let most = number("most")?.map_or(MOST_EVENTS, |most| usize::try_from(most).unwrap_or(MOST_EVENTS));
    let (lines, received) = mpsc::channel(LINES);
    let follow = match query.get("follow").map(String::as_str) {
        None | Some("false") => false,
        Some("" | "true") => true,
        Some(_) => return Err(refused(Refused::Invalid, "`follow` is true or false")),
    };
    let (handle, by) = (caller.handle.clone(), caller.peer.to_string());
    let left = if follow { usize::MAX } else { most };
    caller.endless.store(follow, Ordering::Relaxed);
    // Ends with its connection: nobody receives any more.
    drop(tokio::spawn(async move {
        let _panics = CountPanics(handle.clone());
        feed(&handle, by, after, left, follow, &lines).await;
    }));
    Ok(response(200, "application/x-ndjson", Body::Lines(received)))
}

/// Sends events as long as somebody takes them. Main is asked for more when what it said last has been taken: whoever is
/// slow holds up himself, and hears how many he missed when they are no longer kept.
async fn feed(handle: &Handle, by: String, mut after: u64, mut left: usize, follow: bool, lines: &mpsc::Sender<Bytes>) {
    let mut news = handle.news();
    while left > 0 {
        let _ = news.borrow_and_update();
        let most = left.min(AT_ONCE);
        let Ok(Answer::Events { events, lost }) = ask(handle, Request::Events { after, most }, by.clone()).await else {
            return;
        };
        if lost > 0 && after > 0 && lines.send(line(&missed(after, lost))).await.is_err() {
            return;
        }
        let full = events.len() == most;
        left -= events.len().min(left);
        for event in events {
            after = event.sequence;
            if lines.send(line(&event)).await.is_err() {
                return;
            }
        }
        if full {
            continue;
        }
        if !follow {
            return;
        }
        tokio::select! {
            changed = news.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(STILL_THERE) => if lines.send(Bytes::from_static(b"\n")).await.is_err() { return },
            () = lines.closed() => return,
        }
    }
}

/// In place of events that are no longer kept.
fn missed(after: u64, lost: u64) -> Event {
    Event {
        sequence: after + lost,
        process: "main".to_owned(),
        kind: "events_missed".to_owned(),
        text: format!("{lost} events are no longer kept"),
        ..Event::default()
    }
}

fn line(event: &Event) -> Bytes {
    let mut text = serde_json::to_vec(event).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

fn of_outcome(outcome: &Outcome) -> Response {
    of(Refused::status_of(outcome), outcome)
}

fn of(status: u16, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => json(status, text.into()),
        Err(error) => {
            tracing::error!("an answer cannot be written as JSON: {error}");
            json(500, Bytes::from_static(br#"{"version":1,"done":false,"error":"internal"}"#))
        }
    }
}

fn json(status: u16, text: Bytes) -> Response {
    response(status, "application/json", Body::Whole(Full::new(text)))
}

fn response(status: u16, content_type: &'static str, body: Body) -> Response {
    let mut response = hyper::Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert("content-type", hyper::header::HeaderValue::from_static(content_type));
    headers.insert("holdfast-api-version", hyper::header::HeaderValue::from(model::VERSION));
    response
}
