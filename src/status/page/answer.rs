//! What each path of the page answers, and to whom.
//!
//! Pure.

use super::super::metrics;

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A file that is the same on every node: its Content-Type and its content.
    Asset(&'static str, &'static str),
    /// The status as JSON.
    Status,
    /// The latest events as JSON.
    Events,
    /// The metrics.
    Metrics,
}

/// Why nothing is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is nothing there.
    NotFound,
    /// It looks and never acts.
    Method,
    /// No token, or a wrong one.
    Token,
    /// The page was called by a name that is not this node's: a page of somebody else makes a browser ask.
    Host,
}

impl Refusal {
    /// Status and text.
    pub fn answer(self) -> (u16, &'static str) {
        match self {
            Self::NotFound => (404, "there is nothing here\n"),
            Self::Method => (405, "the status page looks and never acts: GET\n"),
            Self::Token => (401, "a token is required: Authorization: Bearer TOKEN\n"),
            Self::Host => (421, "call this page by an address or as localhost\n"),
        }
    }
}

/// Headers of every answer. Nothing from elsewhere is loaded, and nobody may put the page into theirs.
pub const HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// What a request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// `GET`, …
    pub method: &'a str,
    /// Without the parameters.
    pub path: &'a str,
    /// `Host`.
    pub host: Option<&'a str>,
    /// `Authorization`.
    pub authorization: Option<&'a str>,
}

/// Decides. `token`: the one that must be shown; `same`: compares two texts in a time that does not tell where they
/// differ; `checks_host`: browsers of this machine reach the page without a token, so that its name matters.
///
/// # Errors
/// What is not served, and why.
pub fn answer(
    asked: Asked<'_>,
    token: Option<&str>,
    checks_host: bool,
    same: impl FnOnce(&str, &str) -> bool,
) -> Result<What, Refusal> {
    let what = match asked.path {
        "/" => What::Asset("text/html; charset=utf-8", include_str!("page.html")),
        "/style.css" => What::Asset("text/css; charset=utf-8", include_str!("style.css")),
        "/script.js" => What::Asset("text/javascript; charset=utf-8", include_str!("script.js")),
        "/status.json" => What::Status,
        "/events.json" => What::Events,
        "/metrics" => What::Metrics,
        _ => return Err(Refusal::NotFound),
    };
    if !["GET", "HEAD"].contains(&asked.method) {
        return Err(Refusal::Method);
    }
    if checks_host && !asked.host.is_some_and(is_ours) {
        return Err(Refusal::Host);
    }
    // The assets say nothing of this node, and ask for the token.
    if let (Some(token), What::Status | What::Events | What::Metrics) = (token, what) {
        let shown = asked.authorization.and_then(|header| header.strip_prefix("Bearer "));
        if !shown.is_some_and(|shown| same(shown.trim(), token)) {
            return Err(Refusal::Token);
        }
    }
    Ok(what)
}

/// The Content-Type of what is made for each request.
pub fn content_type(what: What) -> &'static str {
    match what {
        What::Asset(kind, _) => kind,
        What::Status | What::Events => "application/json",
        What::Metrics => metrics::CONTENT_TYPE,
    }
}

/// A name of this machine that no other site can have: an address, or localhost.
fn is_ours(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
}
