//! What webhooks send: one notice in the form that each service takes.
//!
//! Pure. Generic JSON is documented in docs/notify.md; the others are the services' own.

use serde_json::{Value, json};

use super::node::{Node, rfc3339};
use super::notice::{About, Notice, What};
use crate::vrrp::event::StateName;

/// How bad it is, in PagerDuty's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Things are as they should be.
    Good,
    /// Worth a look.
    Warning,
    /// Somebody should come.
    Critical,
}

/// How bad a notice is.
pub fn severity(notice: &Notice) -> Severity {
    match &notice.what {
        What::State { to: StateName::Fault, .. } => Severity::Critical,
        What::State { to: StateName::Stop | StateName::Deleted, .. } => Severity::Warning,
        What::Down { .. } if matches!(notice.about, About::VirtualServer(_)) => Severity::Critical,
        What::Down { .. } | What::Check { up: false, .. } | What::LowerPriorityAdvert { .. } => Severity::Warning,
        What::State { .. }
        | What::StillMaster { .. }
        | What::Priority { .. }
        | What::Up { .. }
        | What::Check { up: true, .. }
        | What::Test => Severity::Good,
    }
}

/// `instance`, its name, and the virtual server of a real server.
fn subject(about: &About) -> (&'static str, &str, Option<&str>) {
    match about {
        About::Instance(name) => ("instance", name, None),
        About::Group(name) => ("group", name, None),
        About::VirtualServer(name) => ("virtual_server", name, None),
        About::RealServer { real_server, virtual_server } => ("real_server", real_server, Some(virtual_server)),
        About::Node => ("node", "", None),
    }
}

fn priority(what: &What) -> Option<u8> {
    match what {
        What::State { priority, .. } | What::StillMaster { priority } | What::Priority { to: priority, .. } => {
            Some(*priority)
        }
        What::LowerPriorityAdvert { ours, .. } => Some(*ours),
        What::Up { .. } | What::Down { .. } | What::Check { .. } | What::Test => None,
    }
}

/// Our own JSON.
pub fn generic(node: &Node, notice: &Notice) -> Value {
    let (kind, name, virtual_server) = subject(&notice.about);
    json!({
        "version": 1,
        "id": node.key(notice),
        "sequence": notice.sequence,
        "time": rfc3339(notice.at),
        "node": node.host,
        "router_id": node.router_id,
        "kind": kind,
        "name": name,
        "virtual_server": virtual_server,
        "event": notice.what.word(),
        "priority": priority(&notice.what),
        "cause": notice.cause,
        "text": notice.to_string(),
    })
}

/// A CloudEvent in structured mode.
pub fn cloud_event(node: &Node, notice: &Notice) -> Value {
    let (kind, name, _) = subject(&notice.about);
    let mut event = json!({
        "specversion": "1.0",
        "id": node.key(notice),
        "source": format!("holdfast://{}", node.host),
        "type": format!("holdfast.{kind}.{}", notice.what.word().to_lowercase()),
        "time": rfc3339(notice.at),
        "datacontenttype": "application/json",
        "sequence": format!("{:020}", notice.sequence),
        "data": generic(node, notice),
    });
    // It may be missing, not empty.
    if let (Some(event), false) = (event.as_object_mut(), name.is_empty()) {
        event.insert("subject".to_owned(), json!(name));
    }
    event
}

/// Slack's incoming webhook.
pub fn slack(node: &Node, notice: &Notice) -> Value {
    let mark = match severity(notice) {
        Severity::Good => ":large_green_circle:",
        Severity::Warning => ":large_yellow_circle:",
        Severity::Critical => ":red_circle:",
    };
    // Slack's own three characters.
    let text = notice.to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    json!({ "text": format!("{mark} *{}*: {text}", node.router_id) })
}

/// A card for Microsoft Teams.
pub fn teams(node: &Node, notice: &Notice) -> Value {
    let color = match severity(notice) {
        Severity::Good => "Good",
        Severity::Warning => "Warning",
        Severity::Critical => "Attention",
    };
    let line =
        |text: String, weight: &str| json!({ "type": "TextBlock", "text": text, "weight": weight, "wrap": true });
    let mut title = line(format!("{}: {} {}", node.router_id, notice.about, notice.what.word()), "Bolder");
    if let Some(title) = title.as_object_mut() {
        title.insert("color".to_owned(), json!(color));
    }
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [title, line(notice.to_string(), "Default"), line(rfc3339(notice.at), "Lighter")],
            },
        }],
    })
}

/// As many characters as a service takes.
fn clip(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// PagerDuty's Events API v2: what is bad triggers, what is good resolves it.
pub fn pager_duty(node: &Node, notice: &Notice, routing_key: &str) -> Value {
    let (action, severity) = match severity(notice) {
        Severity::Good => ("resolve", "info"),
        Severity::Warning => ("trigger", "warning"),
        Severity::Critical => ("trigger", "critical"),
    };
    json!({
        "routing_key": routing_key,
        "event_action": action,
        // Longer ones are refused.
        "dedup_key": clip(&format!("holdfast/{}/{}", node.host, notice.about), 255),
        "payload": {
            "summary": clip(&format!("{}: {notice}", node.router_id), 1024),
            "source": node.host,
            "severity": severity,
            "timestamp": rfc3339(notice.at),
            "component": notice.about.to_string(),
            "custom_details": generic(node, notice),
        },
    })
}

/// Alertmanager's API v2: an alert for each subject, which ends when things are good again.
pub fn alertmanager(node: &Node, notice: &Notice) -> Value {
    let (kind, name, virtual_server) = subject(&notice.about);
    let severity = severity(notice);
    let mut labels = json!({
        "alertname": "Holdfast",
        "instance": node.host,
        "router_id": node.router_id,
        "kind": kind,
        "name": name,
    });
    if let (Some(labels), Some(virtual_server)) = (labels.as_object_mut(), virtual_server) {
        labels.insert("virtual_server".to_owned(), json!(virtual_server));
    }
    let mut alert = json!({
        "labels": labels,
        "annotations": {
            "summary": notice.to_string(),
            "event": notice.what.word(),
            "severity": match severity {
                Severity::Good => "info",
                Severity::Warning => "warning",
                Severity::Critical => "critical",
            },
        },
        "startsAt": rfc3339(notice.at),
    });
    if severity == Severity::Good
        && let Some(alert) = alert.as_object_mut()
    {
        alert.insert("endsAt".to_owned(), json!(rfc3339(notice.at)));
    }
    json!([alert])
}

/// How a value is put into a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// As it is.
    None,
    /// Inside a JSON text.
    Json,
    /// Inside a URL.
    Url,
    /// Inside a header: no control characters.
    Header,
}

/// Fills a template's `{{name}}` places: the fields of the generic JSON, `state` (as `event`), and `token`. A name that
/// it does not know stays as it is.
pub fn fill(template: &str, fields: &Value, token: Option<&str>, escape: Escape) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let Some((name, more)) = after.split_once("}}") else {
            filled.push_str("{{");
            rest = after;
            continue;
        };
        match (name.trim(), token) {
            ("token", Some(token)) => put(&mut filled, token, escape),
            (known, _) => match fields.get(if known == "state" { "event" } else { known }) {
                Some(Value::String(text)) => put(&mut filled, text, escape),
                Some(Value::Null) => {}
                Some(value) => put(&mut filled, &value.to_string(), escape),
                None => {
                    filled.push_str("{{");
                    filled.push_str(name);
                    filled.push_str("}}");
                }
            },
        }
        rest = more;
    }
    filled.push_str(rest);
    filled
}

fn put(to: &mut String, text: &str, escape: Escape) {
    match escape {
        Escape::None => to.push_str(text),
        Escape::Json => {
            let quoted = Value::from(text).to_string();
            to.push_str(quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default());
        }
        Escape::Url => to.push_str(&url_escaped(text)),
        Escape::Header => to.extend(text.chars().filter(|c| !c.is_control())),
    }
}

/// RFC 3986 §2.1: everything but the unreserved characters.
pub fn url_escaped(text: &str) -> String {
    use std::fmt::Write;
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// The names that templates may use.
pub const PLACES: [&str; 15] = [
    "version",
    "id",
    "sequence",
    "time",
    "node",
    "router_id",
    "kind",
    "name",
    "virtual_server",
    "event",
    "state",
    "priority",
    "cause",
    "text",
    "token",
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn node() -> Node {
        Node { router_id: "lb1".into(), host: "lb1.example.org".into(), life: "L".into() }
    }

    fn notice(about: About, what: What) -> Notice {
        Notice { sequence: 7, at: Duration::from_secs(1), about, what, cause: Some("a \"cause\" <1>".into()) }
    }

    fn master() -> Notice {
        notice(About::Instance("VI_1".into()), What::State { to: StateName::Master, priority: 150 })
    }

    fn fault() -> Notice {
        notice(About::Instance("VI_1".into()), What::State { to: StateName::Fault, priority: 0 })
    }

    #[test]
    fn generic_says_everything() {
        let want = json!({
            "version": 1, "id": "L-7", "sequence": 7, "time": "1970-01-01T00:00:01.000Z", "node": "lb1.example.org",
            "router_id": "lb1", "kind": "instance", "name": "VI_1", "virtual_server": null, "event": "MASTER",
            "priority": 150, "cause": "a \"cause\" <1>",
            "text": "instance VI_1 is MASTER (priority 150): a \"cause\" <1>",
        });
        assert_eq!(generic(&node(), &master()), want);
        let names: std::collections::BTreeSet<&str> = PLACES.into();
        assert!(want.as_object().expect("an object").keys().all(|key| names.contains(key.as_str())));
    }

    #[test]
    fn services_get_what_they_ask_for() {
        let event = cloud_event(&node(), &master());
        assert_eq!((&event["specversion"], &event["type"]), (&json!("1.0"), &json!("holdfast.instance.master")));
        assert_eq!(event["id"], "L-7");
        assert!(
            slack(&node(), &fault())["text"]
                .as_str()
                .is_some_and(|t| t.starts_with(":red_circle: *lb1*: instance") && t.ends_with("&lt;1&gt;"))
        );
        assert_eq!(teams(&node(), &fault())["attachments"][0]["content"]["body"][0]["color"], "Attention");
        let (bad, good) = (pager_duty(&node(), &fault(), "key"), pager_duty(&node(), &master(), "key"));
        assert_eq!((&bad["event_action"], &good["event_action"]), (&json!("trigger"), &json!("resolve")));
        assert_eq!(bad["dedup_key"], good["dedup_key"]);
        assert_eq!((&bad["routing_key"], &bad["payload"]["severity"]), (&json!("key"), &json!("critical")));
        let (bad, good) = (alertmanager(&node(), &fault()), alertmanager(&node(), &master()));
        assert_eq!(bad[0]["labels"], good[0]["labels"], "the one ends the other");
        assert_eq!((&bad[0]["endsAt"], &good[0]["endsAt"]), (&Value::Null, &json!("1970-01-01T00:00:01.000Z")));
    }

    #[test]
    fn templates() {
        let fields = generic(&node(), &master());
        let rows = [
            ("{{name}} is {{ state }} {{priority}}", Escape::None, "VI_1 is MASTER 150"),
            (r#"{"why": "{{cause}}"}"#, Escape::Json, r#"{"why": "a \"cause\" <1>"}"#),
            ("https://a/{{cause}}", Escape::Url, "https://a/a%20%22cause%22%20%3C1%3E"),
            ("{{virtual_server}}|{{nothing}}|{{token}}|{{", Escape::None, "|{{nothing}}|T|{{"),
        ];
        for (template, escape, want) in rows {
            assert_eq!(fill(template, &fields, Some("T"), escape), want);
        }
    }
}
