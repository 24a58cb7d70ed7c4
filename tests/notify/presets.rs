//! What each service is sent, by a real request, against what it documents as required.

use std::sync::Arc;
use std::time::Duration;

use holdfast::notify::notice::{About, Notice, What};
use holdfast::vrrp::event::StateName;
use serde_json::Value;

use crate::drained;
use crate::receiver::{Mood, Receiver, Request};
use crate::webhook::{hook, outbox};

/// One of each kind: what is good, what is bad, and a test of the node, which has no name.
fn notices() -> Vec<Arc<Notice>> {
    let instance = || About::Instance("VI_1".into());
    let real =
        About::RealServer { real_server: "[192.0.2.7]:tcp:80".into(), virtual_server: "[192.0.2.1]:tcp:80".into() };
    let long = About::VirtualServer(format!("[{}]:0", "web".repeat(400)));
    let all = [
        (instance(), What::State { to: StateName::Master, priority: 150 }),
        (instance(), What::State { to: StateName::Fault, priority: 0 }),
        (real, What::Down { detail: "it is down".into() }),
        (long, What::Down { detail: "it is down".into() }),
        (About::Node, What::Test),
    ];
    (1..).zip(all).map(|(sequence, (about, what))| notice(sequence, about, what)).collect()
}

fn notice(sequence: u64, about: About, what: What) -> Arc<Notice> {
    let at = Duration::from_millis(1_700_000_000_250 + sequence);
    Arc::new(Notice { sequence, at, about, what, cause: Some("a \"cause\" with <marks> & more".into()) })
}

/// What a receiver got of all notices, by this preset.
async fn sent(lines: &str) -> Vec<(Request, Value)> {
    let receiver = Receiver::start(|_, _| Mood::Status(202));
    let outbox = outbox(hook(&format!("url http://{}/\n{lines}", receiver.address)));
    let notices = notices();
    notices.iter().for_each(|notice| outbox.push(notice.clone()));
    drained(&outbox).await;
    let sent = receiver.received();
    assert_eq!(sent.len(), notices.len());
    let json = |request: Request| {
        let body = serde_json::from_str(&request.body).unwrap_or_else(|error| panic!("{error}: {}", request.body));
        (request, body)
    };
    sent.into_iter().map(json).collect()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().filter(|text| !text.is_empty()).unwrap_or_else(|| panic!("no {field} in {value:#}"))
}

/// `2023-11-14T22:13:20.250Z`.
fn is_rfc3339(time: &str) -> bool {
    let pattern = "dddd-dd-ddTdd:dd:dd.dddZ";
    time.len() == pattern.len()
        && time.chars().zip(pattern.chars()).all(|(c, p)| if p == 'd' { c.is_ascii_digit() } else { c == p })
}

/// docs/notify.md.
#[tokio::test]
async fn generic() {
    let fields = ["version", "id", "sequence", "time", "node", "router_id", "kind", "name", "virtual_server", "event"];
    for (request, body) in sent("").await {
        let known = body.as_object().expect("an object");
        for field in fields.iter().chain(&["priority", "cause", "text"]) {
            assert!(known.contains_key(*field), "{field} in {body:#}");
        }
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!((text(&body, "id"), body["version"].as_u64()), (request.header("idempotency-key"), Some(1)));
        assert!(is_rfc3339(text(&body, "time")), "{body:#}");
    }
}

/// CloudEvents 1.0, §3.1 (required: id, source, specversion, type; an optional attribute is missing, or not empty) and the
/// HTTP binding §3.2 (structured mode).
#[tokio::test]
async fn cloud_events() {
    for (request, body) in sent("preset cloudevents").await {
        assert!(request.header("content-type").starts_with("application/cloudevents+json"), "{request:?}");
        assert_eq!(text(&body, "specversion"), "1.0");
        assert!(!text(&body, "id").is_empty() && text(&body, "source").starts_with("holdfast://"), "{body:#}");
        assert!(text(&body, "type").starts_with("holdfast."), "{body:#}");
        assert!(is_rfc3339(text(&body, "time")) && body["data"].is_object(), "{body:#}");
        for (name, value) in body.as_object().expect("an object") {
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()), "§3: {name}");
            assert!(name == "data" || value.as_str().is_some_and(|text| !text.is_empty()), "{name} in {body:#}");
        }
    }
}

/// Slack, incoming webhooks: `text`; `&`, `<` and `>` are control characters and escaped.
#[tokio::test]
async fn slack() {
    for (request, body) in sent("preset slack").await {
        assert_eq!(request.header("content-type"), "application/json");
        let said = text(&body, "text");
        assert!(said.chars().count() < 40_000 && !said.contains(['<', '>']), "{said}");
        assert!(!said.contains('&') || said.contains("&lt;marks&gt; &amp; more"), "{said}");
    }
}

/// Microsoft Teams, incoming webhooks: a message with an Adaptive Card, whose schema wants `type` and `version`, and of a
/// TextBlock `type` and `text`.
#[tokio::test]
async fn teams() {
    for (_, body) in sent("preset teams").await {
        assert_eq!(text(&body, "type"), "message");
        let [attachment] = &body["attachments"].as_array().expect("attachments")[..] else { panic!("one: {body:#}") };
        assert_eq!(text(attachment, "contentType"), "application/vnd.microsoft.card.adaptive");
        let card = &attachment["content"];
        assert_eq!((text(card, "type"), text(card, "version")), ("AdaptiveCard", "1.4"));
        let blocks = card["body"].as_array().expect("a body");
        assert!(!blocks.is_empty());
        for block in blocks {
            assert_eq!(text(block, "type"), "TextBlock");
            assert!(!text(block, "text").is_empty());
            assert!(["Default", "Lighter", "Bolder"].contains(&text(block, "weight")), "{block:#}");
        }
        assert!(["Good", "Warning", "Attention"].contains(&text(&blocks[0], "color")), "{card:#}");
    }
}

/// PagerDuty, Events API v2: `routing_key` of 32 characters, `event_action`, `dedup_key` of at most 255 characters, which a
/// resolve needs; a trigger needs `payload` with `summary` (at most 1024 characters), `source` and `severity`.
#[tokio::test]
async fn pager_duty() {
    let directory = tempfile::tempdir().expect("a directory");
    let key = directory.path().join("key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n").expect("a file");
    let mut actions = Vec::new();
    for (_, body) in sent(&format!("preset pagerduty\nrouting_key file {}", key.display())).await {
        assert_eq!(text(&body, "routing_key"), "0123456789abcdef0123456789abcdef");
        assert!(text(&body, "dedup_key").chars().count() <= 255, "{body:#}");
        actions.push(text(&body, "event_action").to_owned());
        let payload = &body["payload"];
        assert!(text(payload, "summary").chars().count() <= 1024, "{body:#}");
        assert!(!text(payload, "source").is_empty() && is_rfc3339(text(payload, "timestamp")), "{body:#}");
        assert!(["critical", "error", "warning", "info"].contains(&text(payload, "severity")), "{body:#}");
    }
    assert_eq!(actions, ["resolve", "trigger", "trigger", "trigger", "resolve"]);
}

/// Alertmanager, API v2, `postableAlerts`: an array of alerts with `labels`, of which at least one is not empty, and names as
/// Prometheus has them; times by RFC 3339, the end not before the start.
#[tokio::test]
async fn alertmanager() {
    for (request, body) in sent("preset alertmanager").await {
        assert_eq!(request.header("content-type"), "application/json");
        let [alert] = &body.as_array().expect("an array")[..] else { panic!("one: {body:#}") };
        assert_eq!(text(&alert["labels"], "alertname"), "Holdfast");
        for set in ["labels", "annotations"] {
            for (name, value) in alert[set].as_object().expect("an object") {
                let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
                assert!(name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(legal));
                assert!(value.is_string(), "{name} in {alert:#}");
            }
        }
        let start = text(alert, "startsAt");
        assert!(is_rfc3339(start), "{alert:#}");
        assert!(alert["endsAt"].as_str().is_none_or(|end| is_rfc3339(end) && end >= start), "{alert:#}");
    }
}
