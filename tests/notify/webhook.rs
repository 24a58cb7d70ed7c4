//! Webhooks and cloud addresses against a receiver with moods.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use holdfast::notify::config::WebhookConfig;
use holdfast::notify::notice::{About, Notice, What};
use holdfast::notify::outbox::Outbox;
use holdfast::notify::sign;
use holdfast::notify::webhook::{Clients, WebhookTarget};
use holdfast::vrrp::event::StateName;

use crate::receiver::{Mood, Receiver, Request};
use crate::{drained, node, notice, notifications};

/// The only webhook of these lines of `global_defs`.
pub fn hook(lines: &str) -> WebhookConfig {
    let config = notifications(&format!("global_defs {{\nnotify_webhook test {{\n{lines}\n}}\n}}\n"));
    config.webhooks.into_values().next().expect("a webhook")
}

pub fn outbox(config: WebhookConfig) -> Outbox {
    let settings = Arc::new(ArcSwap::from_pointee((config, node())));
    let clients = Clients::default();
    Outbox::start("webhook test".into(), move || WebhookTarget::new(settings.clone(), clients.clone()))
}

fn key(request: &Request) -> String {
    request.header("idempotency-key").to_owned()
}

/// A thousand events through refusals, a lost answer, a hang and a restart of the receiver: none is lost, they come in
/// order, and what comes twice has the same key and the same body.
#[tokio::test]
async fn a_thousand_events_through_a_receiver_that_fails_hangs_and_restarts() {
    let directory = tempfile::tempdir().expect("a directory");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("a file");
    let (away, wants_away) = std::sync::mpsc::channel();
    let mut receiver = Receiver::start(move |number, _| match number {
        50..=52 => Mood::Status(503),
        60 => Mood::Later(429),
        200 | 201 => Mood::Forgetful,
        400 => Mood::Hang,
        600 => {
            let _ = away.send(());
            Mood::Status(200)
        }
        _ => Mood::Status(200),
    });
    let config = hook(&format!(
        "url http://{}/hook\ntimeout 1\nsign hmac-sha256 file {}\nheader X-Team ops",
        receiver.address,
        secret.display()
    ));
    let outbox = outbox(config);
    (1..=1000).for_each(|n| outbox.push(notice(n)));
    let (receiver, ()) = tokio::join!(
        tokio::task::spawn_blocking(move || {
            wants_away.recv().expect("the 600th came");
            receiver.go_away();
            receiver.come_back();
            receiver
        }),
        drained(&outbox)
    );
    let requests = receiver.expect("it came back").received();
    let mut first: Vec<&Request> = Vec::new();
    let mut bodies: BTreeMap<String, &str> = BTreeMap::new();
    for request in &requests {
        match bodies.insert(key(request), &request.body) {
            None => first.push(request),
            Some(before) => assert_eq!(before, request.body, "the same key is the same event"),
        }
    }
    let sequences: Vec<u64> =
        first.iter().map(|request| request.header("x-holdfast-sequence").parse().expect("a number")).collect();
    assert_eq!(sequences, (1..=1000).collect::<Vec<u64>>());
    assert!(requests.len() > 1000, "the lost answers made duplicates: that is what keys are for");
    for request in &requests {
        let time = request.header("webhook-timestamp").parse().expect("a time");
        let id = request.header("webhook-id");
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let want = sign::standard_webhook(secret, id, time, request.body.as_bytes());
        assert_eq!(request.header("webhook-signature"), want);
        assert_eq!((id, request.header("x-team")), (request.header("idempotency-key"), "ops"));
    }
    let body: serde_json::Value = serde_json::from_str(&first[6].body).expect("JSON");
    assert_eq!((&body["name"], &body["event"]), (&"VI_7".into(), &"BACKUP".into()));
    let counters = outbox.counters();
    assert_eq!((counters.sent, counters.failed, counters.dropped, counters.panics), (1000, 0, 0, 0));
    assert!(counters.retried >= 7, "{counters:?}");
}

#[tokio::test]
async fn what_is_refused_for_good_is_given_up_and_the_rest_goes_on() {
    let receiver = Receiver::start(|_, request| match request.header("x-holdfast-sequence") {
        "2" => Mood::Status(422),
        "4" => Mood::Status(500),
        _ => Mood::Status(204),
    });
    let outbox = outbox(hook(&format!("url http://{}/\nretry 1\nevents MASTER BACKUP", receiver.address)));
    (1..=5).for_each(|n| outbox.push(notice(n)));
    drained(&outbox).await;
    let sequences: Vec<_> =
        receiver.received().iter().map(|request| request.header("x-holdfast-sequence").to_owned()).collect();
    assert_eq!(sequences, ["1", "3", "5"]);
    let counters = outbox.counters();
    assert_eq!((counters.sent, counters.failed, counters.retried), (3, 2, 1));
}

fn state(sequence: u64, to: StateName) -> Arc<Notice> {
    let (about, what) = (About::Instance("VI_1".into()), What::State { to, priority: 150 });
    Arc::new(Notice { sequence, at: Duration::ZERO, about, what, cause: None })
}

/// While the cloud did not answer, the node became master, then backup: it must not take the address from the other.
#[tokio::test]
async fn a_cloud_address_is_not_claimed_for_a_master_that_is_none_any_longer() {
    let up = Arc::new(Mutex::new(false));
    let is_up = up.clone();
    let receiver = Receiver::start(move |_, request| match (*is_up.lock().expect("not poisoned"), &*request.path) {
        (_, "/token") => Mood::Json(r#"{"access_token": "T0"}"#),
        (true, _) => Mood::Status(202),
        (false, _) => Mood::Status(503),
    });
    let config = notifications(&format!(
        "vrrp_instance VI_1 {{\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {{\n192.0.2.1\n}}\n\
         cloud_address move {{\nurl \"http://{0}/v1/{{{{name}}}}\"\nmethod PUT\nstatus_code 202\n\
         header Authorization \"Bearer {{{{token}}}}\"\nbody_template \"{{'to': '{{{{name}}}}', 'prio': {{{{priority}}}}}}\"\n\
         token {{\nurl http://{0}/token\nheader Metadata true\n}}\n}}\n}}\n",
        receiver.address
    ));
    let (name, config) = config.webhooks.into_iter().next().expect("a cloud address");
    assert_eq!(name, "cloud address move of instance VI_1");
    let outbox = outbox(config);
    outbox.push(state(1, StateName::Master));
    while outbox.counters().retried == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    outbox.push(state(2, StateName::Backup));
    *up.lock().expect("not poisoned") = true;
    drained(&outbox).await;
    let claims = |requests: Vec<Request>| requests.into_iter().filter(|r| r.path != "/token").collect::<Vec<_>>();
    assert_eq!(claims(receiver.received()).len(), 0);
    outbox.push(state(3, StateName::Master));
    drained(&outbox).await;
    let claims = claims(receiver.received());
    assert_eq!(claims.len(), 1);
    assert_eq!((&*claims[0].method, &*claims[0].path), ("PUT", "/v1/VI_1"));
    assert_eq!(claims[0].header("authorization"), "Bearer T0");
    assert_eq!(claims[0].body, r#"{"to": "VI_1", "prio": 150}"#);
}

/// The metadata service of a machine at Amazon, and its API, which sees a signature.
#[tokio::test]
async fn a_request_to_amazon_is_signed_with_the_role_of_the_machine() {
    let receiver = Receiver::start(|_, request| match (&*request.method, &*request.path) {
        ("PUT", "/latest/api/token") => Mood::Json("TOKEN"),
        (_, "/latest/meta-data/iam/security-credentials/") => Mood::Json("role"),
        (_, "/latest/meta-data/iam/security-credentials/role") => {
            Mood::Json(r#"{"AccessKeyId": "AK", "SecretAccessKey": "SK", "Token": "ST"}"#)
        }
        _ => Mood::Status(200),
    });
    let outbox = outbox(hook(&format!(
        "url http://{0}/?Action=AssignPrivateIpAddresses\nsign aws-sigv4 eu-central-1 ec2 http://{0}",
        receiver.address
    )));
    outbox.push(notice(1));
    drained(&outbox).await;
    let requests = receiver.received();
    let request = requests.last().expect("a request");
    let authorization = request.header("authorization");
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AK/"), "{authorization}");
    let time = request.header("x-amz-date");
    let aws = sign::AwsRequest {
        method: "POST",
        host: request.header("host"),
        path: "/",
        query: "Action=AssignPrivateIpAddresses",
        body: request.body.as_bytes(),
        region: "eu-central-1",
        service: "ec2",
        time,
    };
    let keys = sign::AwsKeys { id: "AK".into(), secret: "SK".into(), session: Some("ST".into()) };
    assert_eq!(sign::aws(&aws, &keys).last().expect("headers").1, authorization);
    assert_eq!(request.header("x-amz-security-token"), "ST");
    assert_eq!(requests[1].header("x-aws-ec2-metadata-token"), "TOKEN");
}
