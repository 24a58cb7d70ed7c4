//! The control API: which paths there are, what they ask of main, and what it answers.
//!
//! Pure. `docs/openapi.json` describes the same for people and programs; a test compares the two.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::conf::plan::report::PlanReport;
use crate::ipvs::event::AdminState;
use crate::status::model::{self, Event, Outcome, Status};
use crate::status::why::Record;

/// What main is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Everything that can be shown.
    Status,
    /// Events after a sequence number, oldest first, at most so many.
    Events {
        /// After this one; 0 is from the oldest that is kept.
        after: u64,
        /// At most.
        most: usize,
    },
    /// Everything that `why` is told from.
    Why,
    /// Hand an instance over.
    Failover {
        /// Its name.
        instance: String,
    },
    /// Take no part in elections, or do so again.
    Maintenance(MaintenanceOrder),
    /// An operator's word on a real server.
    RealServer {
        /// `192.0.2.7:80`.
        address: String,
        /// Only of this virtual server; of all that have it when nothing is said.
        virtual_server: Option<String>,
        /// From now on.
        state: AdminState,
    },
    /// What would come of reading it again.
    Plan,
    /// Read the configuration again.
    Reload,
    /// End.
    Stop,
}

/// The body of `POST /v1/maintenance`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceOrder {
    /// Begin or end.
    pub on: bool,
    /// End by itself after this long.
    #[serde(default)]
    pub for_seconds: Option<u64>,
    /// Why.
    #[serde(default)]
    pub reason: Option<String>,
    /// Even when nobody may be there to take over.
    #[serde(default)]
    pub force: bool,
}

impl MaintenanceOrder {
    /// After how long it ends by itself.
    pub fn limit(&self) -> Option<Duration> {
        self.for_seconds.map(Duration::from_secs)
    }
}

/// The body of `POST /v1/real-servers/…`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RealServerOrder {
    /// Only of this virtual server.
    pub virtual_server: Option<String>,
}

/// What main answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Arc<Status>),
    /// To [`Request::Events`].
    Events {
        /// These.
        events: Vec<Event>,
        /// So many before the first of them are no longer kept.
        lost: u64,
    },
    /// To [`Request::Why`].
    Why(Arc<Record>),
    /// To [`Request::Plan`].
    Plan(Box<PlanReport>),
    /// To a command.
    Outcome(Outcome),
}

/// Why a command was not carried out, for programs; the text is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// There is nothing of that name.
    Unknown,
    /// The request makes no sense.
    Invalid,
    /// It makes sense, but not now.
    Conflict,
    /// Nobody was heard who could take over.
    NoPeer,
    /// A process did not answer in time.
    Late,
    /// Too many at once.
    Busy,
    /// This peer may not.
    Forbidden,
    /// There is such a path, but not with this method, or not on this socket.
    Method,
    /// The daemon ends.
    Stopping,
    /// Something that should not be.
    Internal,
}

impl Refused {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::NoPeer => "no_peer",
            Self::Late => "late",
            Self::Busy => "busy",
            Self::Forbidden => "forbidden",
            Self::Method => "method",
            Self::Stopping => "stopping",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::Unknown => 404,
            Self::Invalid => 400,
            Self::Conflict | Self::NoPeer => 409,
            Self::Late => 504,
            Self::Busy | Self::Stopping => 503,
            Self::Forbidden => 403,
            Self::Method => 405,
            Self::Internal => 500,
        }
    }

    /// The HTTP status of an outcome.
    pub fn status_of(outcome: &Outcome) -> u16 {
        let all = [
            Self::Unknown,
            Self::Invalid,
            Self::Conflict,
            Self::NoPeer,
            Self::Late,
            Self::Busy,
            Self::Forbidden,
            Self::Method,
            Self::Stopping,
            Self::Internal,
        ];
        match &outcome.error {
            _ if outcome.done => 200,
            Some(word) => all.into_iter().find(|refused| refused.word() == word).map_or(500, Self::status),
            None => 500,
        }
    }
}

/// It was done.
pub fn done(message: impl Into<String>) -> Outcome {
    Outcome { version: model::VERSION, done: true, message: message.into(), ..Outcome::default() }
}

/// It was not.
pub fn refused(why: Refused, message: impl Into<String>) -> Outcome {
    Outcome {
        version: model::VERSION,
        done: false,
        message: message.into(),
        error: Some(why.word().to_owned()),
        ..Outcome::default()
    }
}

/// GET or POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// To look.
    Get,
    /// To act: on the administrator's socket only.
    Post,
}

/// What a path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v1/status`.
    Status,
    /// `/v1/events`.
    Events,
    /// `/v1/why`.
    Why,
    /// `/v1/openapi.json`.
    OpenApi,
    /// `/metrics`, for Prometheus.
    Metrics,
    /// `/v1/instances/NAME/failover`.
    Failover,
    /// `/v1/maintenance`.
    Maintenance,
    /// `/v1/real-servers/ADDRESS/…`.
    RealServer(AdminState),
    /// `/v1/plan`.
    Plan,
    /// `/v1/reload`.
    Reload,
    /// `/v1/stop`.
    Stop,
}

/// One row of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// How.
    pub method: Method,
    /// Where; `{…}` stands for one segment.
    pub path: &'static str,
    /// What.
    pub endpoint: Endpoint,
}

const fn route(method: Method, path: &'static str, endpoint: Endpoint) -> Route {
    Route { method, path, endpoint }
}

/// The API. What is answered is decided in [`super::answer`].
#[rustfmt::skip] // A table.
pub const ROUTES: &[Route] = &[
    route(Method::Get,  "/v1/status", Endpoint::Status),
    route(Method::Get,  "/v1/events", Endpoint::Events),
    route(Method::Get,  "/v1/openapi.json", Endpoint::OpenApi),
    route(Method::Get,  "/v1/why", Endpoint::Why),
    route(Method::Get,  "/metrics", Endpoint::Metrics),
    route(Method::Post, "/v1/instances/{instance}/failover", Endpoint::Failover),
    route(Method::Post, "/v1/maintenance", Endpoint::Maintenance),
    route(Method::Post, "/v1/real-servers/{address}/drain", Endpoint::RealServer(AdminState::Drain)),
    route(Method::Post, "/v1/real-servers/{address}/maint", Endpoint::RealServer(AdminState::Maint)),
    route(Method::Post, "/v1/real-servers/{address}/enable", Endpoint::RealServer(AdminState::Up)),
    route(Method::Post, "/v1/plan", Endpoint::Plan),
    route(Method::Post, "/v1/reload", Endpoint::Reload),
    route(Method::Post, "/v1/stop", Endpoint::Stop),
];

/// Finds the route of a path, and what stands in place of its `{…}`.
///
/// # Errors
/// There is none, or none with this method.
pub fn find(method: Option<Method>, path: &str) -> Result<(Route, Option<String>), Outcome> {
    let mut known = false;
    for route in ROUTES {
        if let Some(name) = matches(route.path, path) {
            known = true;
            if Some(route.method) == method {
                let name =
                    name.map(decode).transpose().map_err(|()| refused(Refused::Invalid, "the path is not UTF-8"))?;
                return Ok((*route, name));
            }
        }
    }
    if known {
        return Err(refused(Refused::Method, format!("{path} does not take this method (docs/openapi.json)")));
    }
    let mut outcome = refused(Refused::Unknown, format!("there is no {path} (docs/openapi.json)"));
    outcome.did_you_mean = nearest(path, ROUTES.iter().map(|route| route.path));
    Err(outcome)
}

/// The segment that stands for `{…}`, `None` in it without one.
#[allow(clippy::option_option, reason = "no match, a match, a match with a name")]
fn matches<'a>(pattern: &str, path: &'a str) -> Option<Option<&'a str>> {
    let mut name = None;
    let mut segments = path.split('/');
    for wanted in pattern.split('/') {
        let segment = segments.next()?;
        if wanted.starts_with('{') {
            if segment.is_empty() {
                return None;
            }
            name = Some(segment);
        } else if wanted != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(name)
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<String, ()> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
            let (high, low) = (digit().ok_or(())?, digit().ok_or(())?);
            bytes.push(high * 16 + low);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| ())
}

/// Percent-encodes a segment of a path.
pub fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The parameters after the `?`; of one that is given twice the last counts.
///
/// # Errors
/// They cannot be decoded.
pub fn query(text: &str) -> Result<BTreeMap<String, String>, Outcome> {
    let mut parameters = BTreeMap::new();
    for part in text.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match (decode(name), decode(value)) {
            (Ok(name), Ok(value)) => drop(parameters.insert(name, value)),
            _ => return Err(refused(Refused::Invalid, "the parameters are not percent-encoded UTF-8")),
        }
    }
    Ok(parameters)
}

/// The name that is nearest to what was written, if any is near.
pub fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    crate::conf::schema::nearest(written, names).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let found = |method, path: &str| find(Some(method), path).map(|(route, name)| (route.endpoint, name));
        assert_eq!(found(Method::Get, "/v1/status"), Ok((Endpoint::Status, None)));
        let (endpoint, name) = found(Method::Post, "/v1/instances/VI%201/failover").unwrap();
        assert_eq!((endpoint, name.as_deref()), (Endpoint::Failover, Some("VI 1")));
        let address = encode("[2001:db8::7]:80");
        let (endpoint, name) = found(Method::Post, &format!("/v1/real-servers/{address}/maint")).unwrap();
        assert_eq!((endpoint, name.as_deref()), (Endpoint::RealServer(AdminState::Maint), Some("[2001:db8::7]:80")));
        let error = |method, path: &str| find(method, path).map(|_| ()).unwrap_err();
        assert_eq!(error(Some(Method::Post), "/v1/status").error.as_deref(), Some("method"));
        assert_eq!(error(None, "/v1/status").error.as_deref(), Some("method"));
        for path in
            ["/", "", "/v1", "/v1/status/", "/v1/instances//failover", "/v1/instances/a/b/failover", "/v2/status"]
        {
            assert_eq!(error(Some(Method::Get), path).error.as_deref(), Some("unknown"), "{path}");
        }
        assert_eq!(error(Some(Method::Post), "/v1/instances/%zz/failover").error.as_deref(), Some("invalid"));
        assert_eq!(error(Some(Method::Post), "/v1/instances/%ff/failover").error.as_deref(), Some("invalid"));
        assert_eq!(error(Some(Method::Get), "/v1/statsu").did_you_mean.as_deref(), Some("/v1/status"));
    }

    #[test]
    fn parameters() {
        let parameters = query("after=12&follow&x=%41%20").unwrap();
        assert_eq!(parameters.get("after").map(String::as_str), Some("12"));
        assert_eq!(parameters.get("follow").map(String::as_str), Some(""));
        assert_eq!(parameters.get("x").map(String::as_str), Some("A "));
        assert!(query("x=%4").is_err());
    }

    #[test]
    fn every_refusal_has_its_status_in_http() {
        assert_eq!(Refused::status_of(&done("x")), 200);
        assert_eq!(Refused::status_of(&refused(Refused::NoPeer, "x")), 409);
        assert_eq!(Refused::status_of(&refused(Refused::Forbidden, "x")), 403);
        assert_eq!(Refused::status_of(&Outcome { error: Some("other".into()), ..Outcome::default() }), 500);
    }
}
