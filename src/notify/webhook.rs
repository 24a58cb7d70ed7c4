//! Webhooks and cloud addresses: a request to somebody's API for each notice.
//!
//! Shell: speaks HTTP (reqwest). Certificates are verified, redirects are not followed: what is signed for one host is
//! not another's. A request that was perhaps received, and is sent again, has the same `Idempotency-Key`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::config::{RequestConfig, Sign, TokenConfig, TokenFrom, Url, WebhookBody, WebhookConfig};
use super::node::{Node, rfc3339};
use super::notice::Notice;
use super::outbox::{Deliver, Failure, Then};
use super::render::{self, Escape, fill};
use super::sign::{self, AwsKeys, AwsRequest};
use super::{secret, with_sources};

/// An answer longer than this is read no further.
const ANSWER_LIMIT: usize = 64 << 10;

/// What the target works by; a reload changes it while the queue stays.
pub type WebhookSettings = Arc<ArcSwap<(WebhookConfig, Node)>>;

/// The connections of all webhooks, one pool for each CA.
#[derive(Debug, Clone, Default)]
pub struct Clients(Arc<Mutex<BTreeMap<Option<PathBuf>, reqwest::Client>>>);

impl Clients {
    /// Certificates may be others from now on.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn with(&self, ca: Option<&PathBuf>) -> Result<reqwest::Client, String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&ca.cloned()).cloned();
        if let Some(client) = known {
            return Ok(client);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = ca {
            let problem = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
            let pem = tokio::fs::read(path).await.map_err(|error| problem(&error))?;
            for certificate in reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| problem(&error))? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder.build().map_err(|error| with_sources(&error))?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(ca.cloned(), client.clone());
        Ok(client)
    }
}

/// One webhook.
#[derive(Debug)]
pub struct WebhookTarget {
    settings: WebhookSettings,
    clients: Clients,
    /// How often which notice was tried.
    tried: (u64, u32),
}

impl WebhookTarget {
    /// Connects when there is something to send.
    pub fn new(settings: WebhookSettings, clients: Clients) -> Self {
        Self { settings, clients, tried: (0, 0) }
    }
}

impl Deliver for WebhookTarget {
    async fn deliver(&mut self, batch: &[Arc<Notice>]) -> Result<usize, Failure> {
        let settings = self.settings.load_full();
        let (config, node) = &*settings;
        let Some((notice, later)) = batch.split_first() else { return Ok(0) };
        if config.last_state {
            // An address must not be claimed for a master that is none any longer.
            let overtaken = later.iter().any(|other| other.about == notice.about);
            if overtaken || !config.asks(&notice.what) {
                return Ok(1);
            }
        }
        if self.tried.0 != notice.sequence {
            self.tried = (notice.sequence, 0);
        }
        self.tried.1 = self.tried.1.saturating_add(1);
        match post(config, node, notice, &self.clients).await {
            Ok(_) => Ok(1),
            Err(Failure { reason, then }) => {
                let enough = config.retry.is_some_and(|retry| self.tried.1 > retry);
                Err(Failure { reason, then: if enough { Then::GiveUp } else { then } })
            }
        }
    }
}

fn again(reason: String) -> Failure {
    Failure { reason, then: Then::Retry }
}

/// Sends one notice; the status of the answer.
///
/// # Errors
/// There was no answer, or one that is no success.
#[allow(clippy::disallowed_methods, reason = "a shell: a signature has the time of its request")]
pub async fn post(config: &WebhookConfig, node: &Node, notice: &Notice, clients: &Clients) -> Result<u16, Failure> {
    let fields = render::generic(node, notice);
    let token = match &config.request.token {
        Some(token) => Some(fetch_token(token, &fields, clients).await?),
        None => None,
    };
    let body = body(&config.body, &config.request, node, notice, &fields, token.as_deref()).await.map_err(again)?;
    let key = node.key(notice);
    let mut headers = vec![
        ("idempotency-key".to_owned(), key.clone()),
        ("x-holdfast-sequence".to_owned(), notice.sequence.to_string()),
    ];
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let bytes = body.as_ref().map_or(&[][..], |(_, text)| text.as_bytes());
    match &config.sign {
        Some(Sign::HmacSha256(source)) => {
            let secret = secret::read(source).await.map_err(again)?;
            let signature = sign::standard_webhook(&secret, &key, now.as_secs(), bytes);
            headers.push(("webhook-id".to_owned(), key));
            headers.push(("webhook-timestamp".to_owned(), now.as_secs().to_string()));
            headers.push(("webhook-signature".to_owned(), signature));
        }
        Some(Sign::AwsSigV4 { region, service, metadata }) => {
            let keys = aws_keys(metadata, config.request.timeout, clients).await?;
            let url = url(&config.request, &fields, token.as_deref()).await.map_err(again)?;
            let host = url.host_str().unwrap_or_default();
            let request = AwsRequest {
                method: &config.request.method,
                host: &url.port().map_or(host.to_owned(), |port| format!("{host}:{port}")),
                path: url.path(),
                query: url.query().unwrap_or_default(),
                body: bytes,
                region,
                service,
                time: &rfc3339(Duration::from_secs(now.as_secs())).replace(['-', ':'], "").replace(".000", ""),
            };
            headers.extend(sign::aws(&request, &keys).into_iter().map(|(name, value)| (name.to_owned(), value)));
        }
        None => {}
    }
    let answer = ask(&config.request, body, headers, &fields, token.as_deref(), clients).await?;
    Ok(answer.status().as_u16())
}

/// What is sent, and what it is.
async fn body(
    body: &WebhookBody,
    request: &RequestConfig,
    node: &Node,
    notice: &Notice,
    fields: &Value,
    token: Option<&str>,
) -> Result<Option<(&'static str, String)>, String> {
    const JSON: &str = "application/json";
    let given = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let escape = match given.map(|(_, value)| value.as_str()) {
        None => Escape::Json,
        Some(value) if value.contains("json") => Escape::Json,
        Some(value) if value.contains("urlencoded") => Escape::Url,
        Some(_) => Escape::None,
    };
    Ok(Some(match body {
        WebhookBody::Empty => return Ok(None),
        WebhookBody::Generic => (JSON, render::generic(node, notice).to_string()),
        WebhookBody::CloudEvents => ("application/cloudevents+json", render::cloud_event(node, notice).to_string()),
        WebhookBody::Slack => (JSON, render::slack(node, notice).to_string()),
        WebhookBody::Teams => (JSON, render::teams(node, notice).to_string()),
        WebhookBody::PagerDuty(key) => (JSON, render::pager_duty(node, notice, &secret::read(key).await?).to_string()),
        WebhookBody::Alertmanager => (JSON, render::alertmanager(node, notice).to_string()),
        WebhookBody::Template(template) => (JSON, fill(template, fields, token, escape)),
        WebhookBody::File(path) => (JSON, fill(&secret::whole(path).await?, fields, token, escape)),
    }))
}

async fn url(request: &RequestConfig, fields: &Value, token: Option<&str>) -> Result<reqwest::Url, String> {
    let text = match &request.url {
        Url::Plain(url) => url.clone(),
        Url::Secret(source) => secret::read(source).await?,
    };
    // Not shown: it may be a secret.
    fill(&text, fields, token, Escape::Url).parse().map_err(|error| format!("its URL is none: {error}"))
}

/// One request and its answer, which is a success.
async fn ask(
    request: &RequestConfig,
    body: Option<(&'static str, String)>,
    more: Vec<(String, String)>,
    fields: &Value,
    token: Option<&str>,
    clients: &Clients,
) -> Result<reqwest::Response, Failure> {
    let client = clients.with(request.ca.as_ref()).await.map_err(again)?;
    let url = url(request, fields, token).await.map_err(again)?;
    let mut headers = HeaderMap::new();
    let mut put = |name: &str, value: &str| match (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
        (Ok(name), Ok(value)) => {
            headers.insert(name, value);
            Ok(())
        }
        _ => Err(again(format!("its header {name} has a value that no header can have"))),
    };
    if let Some((kind, _)) = &body {
        put("content-type", kind)?;
    }
    for (name, value) in &request.headers {
        put(name, &fill(value, fields, token, Escape::Header))?;
    }
    if let Some(source) = &request.authorization {
        put("authorization", &secret::read(source).await.map_err(again)?)?;
    }
    for (name, value) in &more {
        put(name, value)?;
    }
    let method = request.method.parse().map_err(|_| again(format!("{} is no method", request.method)))?;
    let mut asked = client.request(method, url).headers(headers).timeout(request.timeout);
    if let Some((_, text)) = body {
        asked = asked.body(text);
    }
    let answer = asked.send().await.map_err(|error| again(with_sources(&error.without_url())))?;
    judge(&request.status, answer)
}

fn judge(success: &[(u16, u16)], answer: reqwest::Response) -> Result<reqwest::Response, Failure> {
    let status = answer.status().as_u16();
    if success.iter().any(|(first, last)| (*first..=*last).contains(&status)) {
        return Ok(answer);
    }
    let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let then = match (status, wait) {
        // These are about what was sent; all others may be better another time.
        (400 | 413 | 415 | 422, _) => Then::GiveUp,
        (_, Some(seconds)) => Then::RetryAfter(Duration::from_secs(seconds)),
        _ => Then::Retry,
    };
    Err(Failure { reason: format!("the answer is status {status}"), then })
}

async fn fetch_token(config: &TokenConfig, fields: &Value, clients: &Clients) -> Result<String, Failure> {
    let named = |Failure { reason, .. }: Failure| again(format!("token: {reason}"));
    let body = match &config.body {
        WebhookBody::Template(template) => Some(template.clone()),
        WebhookBody::File(path) => Some(secret::whole(path).await.map_err(again)?),
        _ => None,
    };
    let body = body.map(|template| ("application/json", template));
    let answer = ask(&config.request, body, Vec::new(), fields, None, clients).await.map_err(named)?;
    let missing = |what: &str| again(format!("token: the answer has no {what}"));
    match &config.from {
        TokenFrom::Header(name) => {
            let value = answer.headers().get(name.as_str()).and_then(|value| value.to_str().ok());
            value.map(str::to_owned).ok_or_else(|| missing(name))
        }
        TokenFrom::Field(name) => {
            let json: Value = serde_json::from_slice(&read(answer).await?).unwrap_or_default();
            json.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| missing(name))
        }
    }
}

async fn read(mut answer: reqwest::Response) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|error| again(with_sources(&error.without_url())))? {
        if bytes.len() + part.len() > ANSWER_LIMIT {
            return Err(again("the answer is too long".to_owned()));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// The keys of this machine's role, as its metadata service (version 2) tells them.
async fn aws_keys(metadata: &str, timeout: Duration, clients: &Clients) -> Result<AwsKeys, Failure> {
    let client = clients.with(None).await.map_err(again)?;
    let asked = async |request: reqwest::RequestBuilder| -> Result<String, Failure> {
        let problem =
            |error: reqwest::Error| again(format!("metadata service: {}", with_sources(&error.without_url())));
        let answer = request.timeout(timeout).send().await.map_err(problem)?;
        let bytes = read(judge(&[(200, 299)], answer)?).await?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    let token = client.put(format!("{metadata}/latest/api/token"));
    let token = asked(token.header("x-aws-ec2-metadata-token-ttl-seconds", "300")).await?;
    let roles = format!("{metadata}/latest/meta-data/iam/security-credentials/");
    let role = asked(client.get(&roles).header("x-aws-ec2-metadata-token", &token)).await?;
    let role = role.lines().next().unwrap_or_default();
    let keys = asked(client.get(format!("{roles}{role}")).header("x-aws-ec2-metadata-token", &token)).await?;
    let keys: Value = serde_json::from_str(&keys).unwrap_or_default();
    let field = |name: &str| keys.get(name).and_then(Value::as_str).map(str::to_owned);
    match (field("AccessKeyId"), field("SecretAccessKey")) {
        (Some(id), Some(secret)) => Ok(AwsKeys { id, secret, session: field("Token") }),
        _ => Err(again("metadata service: this machine has no role with keys".to_owned())),
    }
}
