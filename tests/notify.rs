//! Telling people, end to end: a receiver of webhooks that fails, hangs and goes away; a real mail server with TLS and
//! logins; FIFOs beside keepalived's own; and a failover while all of them are broken.
#![allow(missing_docs, clippy::disallowed_methods)]

#[allow(dead_code)]
#[path = "checkers/certificate.rs"]
mod certificate;
mod common;
#[path = "notify/fifo.rs"]
mod fifo;
#[path = "notify/mail.rs"]
mod mail;
#[path = "notify/presets.rs"]
mod presets;
#[path = "notify/program.rs"]
mod program;
#[path = "notify/receiver.rs"]
mod receiver;
#[path = "common/rig.rs"]
mod rig;
#[path = "notify/scopes.rs"]
mod scopes;
#[path = "notify/tls.rs"]
mod tls;
#[path = "common/variant.rs"]
mod variant;
#[path = "notify/webhook.rs"]
mod webhook;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast::conf;
use holdfast::notify::config::NotifyConfig;
use holdfast::notify::node::Node;
use holdfast::notify::notice::{About, Notice, What};
use holdfast::notify::outbox::Outbox;
use holdfast::vrrp::event::StateName;

/// Nothing that is waited for takes longer on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The notifications of a configuration without errors.
fn notifications(text: &str) -> NotifyConfig {
    let loaded = conf::load_text(Path::new("test.conf"), text.as_bytes(), &conf::LoadOptions::default());
    assert!(!loaded.diagnostics.has_errors(), "{}", loaded.diagnostics.render(false));
    loaded.config.expect("a configuration").notify
}

fn node() -> Node {
    Node { router_id: "lb1".into(), host: "lb1.example.org".into(), life: "life".into() }
}

/// Changes of state of some instances, in turn.
fn notice(sequence: u64) -> Arc<Notice> {
    let to = if sequence.is_multiple_of(2) { StateName::Master } else { StateName::Backup };
    let about = About::Instance(format!("VI_{}", sequence % 10));
    let at = Duration::from_secs(1_700_000_000 + sequence);
    let what = What::State { to, priority: 100 };
    Arc::new(Notice { sequence, at, about, what, cause: Some("no advert came".into()) })
}

/// Waits until nothing waits any longer.
async fn drained(outbox: &Outbox) {
    let empty = async {
        while outbox.counters().queued > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, empty).await;
    assert!(ended.is_ok(), "{:?}", outbox.status());
}

/// Without a name a webhook is called by its host, which is shown, or by a number when its URL is a secret, which is not.
#[test]
fn a_webhook_without_a_name_has_a_title() {
    let hook = |name: &str, url: &str| format!("notify_webhook {name} {{\nurl {url}\n}}\n");
    let secret = "https://hooks.example.org/T0/s3cret";
    let lines =
        [hook("", secret), hook("", secret), hook("", "file /etc/x"), hook("", "env URL"), hook("named", secret)];
    let config = notifications(&format!("global_defs {{\n{}}}\n", lines.concat()));
    let titles: Vec<&str> = config.webhooks.keys().map(String::as_str).collect();
    let wanted =
        ["webhook 1", "webhook 2", "webhook hooks.example.org", "webhook hooks.example.org 2", "webhook named"];
    assert_eq!(titles, wanted);
}

/// The files of `examples/cloud-address` are read without a word, and each has its cloud address.
#[test]
fn examples_of_clouds() {
    let pattern = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cloud-address/*/*.conf");
    let files: Vec<_> = glob::glob(pattern.to_str().expect("text")).expect("a pattern").flatten().collect();
    assert_eq!(files.len(), 5, "{files:?}");
    for file in files {
        let loaded = conf::load(&file, &conf::LoadOptions::default());
        assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics.render(false));
        assert_eq!(loaded.config.expect("a configuration").notify.webhooks.len(), 1, "{}", file.display());
    }
}
