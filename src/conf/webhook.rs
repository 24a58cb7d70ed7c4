//! `notify_webhook` and `cloud_address` blocks → [`WebhookConfig`].
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::diagnostic::{Kind, Reporter};
use super::notify::secret;
use super::pages::{headers, is_token, status, words};
use super::parse::list;
use super::section::Section;
use crate::notify::config::{RequestConfig, Sign, TokenConfig, TokenFrom, Url, WebhookBody, WebhookConfig};
use crate::notify::notice::About;
use crate::notify::render::PLACES;

/// Limit of one attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A cloud address is claimed again this often.
const REASSERT: Duration = Duration::from_secs(60);
/// Where every machine at Amazon finds its metadata service.
const METADATA: &str = "http://169.254.169.254";
/// What there is to hear of: `What::word`.
const EVENTS: [&str; 10] =
    ["MASTER", "BACKUP", "FAULT", "STOP", "DELETED", "UP", "DOWN", "MASTER_RX_LOWER_PRI", "PRIORITY", "CHECK"];

/// The blocks that are webhooks. Not every section may have both.
const BLOCKS: [&str; 2] = ["notify_webhook", "cloud_address"];

/// Whether a section has webhooks.
pub fn has_webhooks(section: &Section<'_>) -> bool {
    BLOCKS.iter().any(|keyword| section.known_entry(keyword).is_some())
}

/// Reads the webhooks of a section; those in somebody's block hear of that somebody only.
pub fn webhooks(
    section: &Section<'_>,
    only: Option<&About>,
    found: &mut BTreeMap<String, WebhookConfig>,
    reporter: &mut Reporter,
) {
    for keyword in BLOCKS.into_iter().filter(|keyword| section.known_entry(keyword).is_some()) {
        for block in section.sections(keyword) {
            let kind = if keyword == "cloud_address" { "cloud address" } else { "webhook" };
            let title = |name: &str| match only {
                Some(about) => format!("{kind} {name} of {about}"),
                None => format!("{kind} {name}"),
            };
            if let Some(name) = block.name.filter(|name| found.contains_key(&title(name.text))) {
                let message = format!("there is a {} already: this one is left out", title(name.text));
                reporter.error(name.span, message);
                continue;
            }
            if let Some(config) = webhook(block, only, reporter) {
                let title = match block.name {
                    Some(name) => title(name.text),
                    None => unnamed(&config.request.url, |name| title(name), found),
                };
                found.insert(title, config);
            }
        }
    }
}

/// The title of a webhook without a name: by the host that it speaks to, which is no secret when the whole URL is none, and
/// by a number when that is not enough.
fn unnamed(url: &Url, title: impl Fn(&str) -> String, found: &BTreeMap<String, WebhookConfig>) -> String {
    let host = match url {
        Url::Plain(text) => text.parse::<reqwest::Url>().ok().and_then(|url| url.host_str().map(str::to_owned)),
        Url::Secret(_) => None,
    };
    let first = host.iter().map(|host| title(host));
    let numbered =
        (1..).map(|n| title(&host.as_ref().map_or_else(|| n.to_string(), |host| format!("{host} {}", n + 1))));
    // More numbers than there are webhooks.
    first.chain(numbered).find(|title| !found.contains_key(title)).unwrap_or_default()
}

fn webhook(section: &Section<'_>, only: Option<&About>, reporter: &mut Reporter) -> Option<WebhookConfig> {
    let cloud = section.block.name == "cloud_address";
    let request = request(section, "POST", reporter)?;
    let preset = if cloud { None } else { section.word("preset").map(|word| word.text) };
    let body = match (body(section, reporter), preset) {
        (Some(body), _) => body,
        (None, _) if cloud => WebhookBody::Empty,
        (None, Some("cloudevents")) => WebhookBody::CloudEvents,
        (None, Some("slack")) => WebhookBody::Slack,
        (None, Some("teams")) => WebhookBody::Teams,
        (None, Some("alertmanager")) => WebhookBody::Alertmanager,
        (None, Some("pagerduty")) => match section.words("routing_key").and_then(|words| secret(words, reporter)) {
            Some(key) => WebhookBody::PagerDuty(key),
            None => {
                let message = "`preset pagerduty` needs `routing_key`: the block is left out";
                reporter.error(section.span, message).kind(Kind::Incomplete).help("`routing_key file PATH`");
                return None;
            }
        },
        (None, _) => WebhookBody::Generic,
    };
    let mut events = events(section, reporter);
    if cloud && events.is_empty() {
        events.insert("MASTER".to_owned());
    }
    let reassert = section.duration("reassert").or(cloud.then_some(REASSERT)).filter(|every| !every.is_zero());
    Some(WebhookConfig {
        request,
        body,
        events,
        only: only.cloned(),
        sign: section.words("sign").and_then(|words| sign(words, reporter)),
        retry: section.int("retry"),
        reassert,
        last_state: cloud,
    })
}

fn request(section: &Section<'_>, method: &str, reporter: &mut Reporter) -> Option<RequestConfig> {
    let Some(words) = section.words("url") else {
        let message = format!("`{}` needs a `url`: the block is left out", section.block.name);
        reporter.error(section.span, message).kind(Kind::Incomplete).help("`url https://…`");
        return None;
    };
    let url = match words {
        [url] => {
            let text = &url.text;
            // Places are filled in later; none of them makes a URL of what is none without it.
            let sample =
                PLACES.iter().fold(text.to_string(), |text, place| text.replace(&format!("{{{{{place}}}}}"), "x"));
            let parsed = sample.parse::<reqwest::Url>().ok();
            let fits = parsed.is_some_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
            if !fits {
                reporter
                    .error(url.span, "this is not an http or https URL: the block is left out")
                    .help("`url https://HOST/PATH`, in double quotes when it has `{` or `}`");
                return None;
            }
            Url::Plain(text.to_string())
        }
        words => Url::Secret(secret(words, reporter)?),
    };
    let method = section.word("method").map_or(method.to_owned(), |word| word.text.to_string());
    if !is_token(&method) {
        reporter.error(section.span, format!("`{method}` is not a request method: the block is left out"));
        return None;
    }
    let has_token = section.block.find("token").is_some();
    let token = has_token.then(|| section.sections("token").next()).flatten().map(|section| token(section, reporter));
    Some(RequestConfig {
        url,
        method,
        headers: headers(section, reporter),
        authorization: section.words("authorization").and_then(|words| secret(words, reporter)),
        token: match token {
            Some(token) => Some(Box::new(token?)),
            None => None,
        },
        timeout: section.duration("timeout").unwrap_or(TIMEOUT),
        status: status(section, reporter),
        ca: section.word("tls_ca").map(|word| PathBuf::from(word.text)),
    })
}

fn token(section: &Section<'_>, reporter: &mut Reporter) -> Option<TokenConfig> {
    let request = request(section, "GET", reporter)?;
    let body = body(section, reporter).unwrap_or(WebhookBody::Empty);
    let text = |keyword| section.word(keyword).map(|word| word.text.to_string());
    let from = match text("response_header") {
        Some(name) => TokenFrom::Header(name),
        None => TokenFrom::Field(text("field").unwrap_or_else(|| "access_token".to_owned())),
    };
    Some(TokenConfig { request, body, from })
}

fn body(section: &Section<'_>, reporter: &mut Reporter) -> Option<WebhookBody> {
    if let Some(word) = section.word("body_file") {
        if word.text.starts_with('/') {
            return Some(WebhookBody::File(PathBuf::from(word.text)));
        }
        reporter.error(word.span, format!("`body_file` takes an absolute path, not `{}`", word.text));
    }
    let word = section.word("body_template")?;
    let kind = words(section, "header")
        .find(|words| words.first().is_some_and(|name| name.text.eq_ignore_ascii_case("content-type")));
    if kind.is_some_and(|words| words.iter().all(|word| !word.text.contains("json"))) {
        return Some(WebhookBody::Template(word.text.to_string()));
    }
    // A quoted text of this language cannot have double quotes.
    let text = word.text.replace('\'', "\"");
    // Inside quotes or not, a number is legal.
    let sample = PLACES.iter().fold(text.clone(), |text, place| text.replace(&format!("{{{{{place}}}}}"), "1"));
    if let Err(why) = serde_json::from_str::<serde_json::Value>(&sample) {
        reporter
            .warning(word.span, format!("this text is no JSON: {why}"))
            .help("`'` stands for a double quote; what is no JSON needs `header Content-Type …`");
    }
    Some(WebhookBody::Template(text))
}

fn events(section: &Section<'_>, reporter: &mut Reporter) -> BTreeSet<String> {
    let mut events = BTreeSet::new();
    for word in words(section, "events").flatten() {
        let event = word.text.to_ascii_uppercase();
        if EVENTS.contains(&event.as_str()) {
            events.insert(event);
        } else {
            let help = format!("one or more of {}", list(EVENTS.into_iter()));
            reporter.error(word.span, format!("there is no event `{}`: it is ignored", word.text)).help(help);
        }
    }
    events
}

fn sign(words: &[super::tree::Word<'_>], reporter: &mut Reporter) -> Option<Sign> {
    let (method, rest) = words.split_first()?;
    match (method.text, rest) {
        ("hmac-sha256", rest) => secret(rest, reporter).map(Sign::HmacSha256),
        ("aws-sigv4", [region, service, metadata @ ..]) => Some(Sign::AwsSigV4 {
            region: region.text.to_string(),
            service: service.text.to_string(),
            metadata: metadata.first().map_or(METADATA.to_owned(), |url| url.text.trim_end_matches('/').to_owned()),
        }),
        _ => {
            reporter
                .error(method.span, format!("`{}` is not a way to sign: requests go unsigned", method.text))
                .help("`sign hmac-sha256 file PATH`, or `sign aws-sigv4 REGION SERVICE`");
            None
        }
    }
}
