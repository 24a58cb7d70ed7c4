//! Webhooks over TLS: to whom a notice is given, and to whom not.

use holdfast::notify::outbox::Outbox;
use holdfast::notify::sign;

use crate::certificate::Identity;
use crate::receiver::{Mood, Receiver};
use crate::webhook::{hook, outbox};
use crate::{PATIENCE, drained, notice};

/// Waits until this many attempts have failed.
async fn refused(outbox: &Outbox, times: u64) {
    let failed = async {
        while outbox.counters().retried < times {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, failed).await.expect("it is tried again");
}

/// Only who has a certificate of the CA that was named gets to see a notice; its signature is what the receiver calculates.
#[tokio::test]
async fn a_receiver_is_told_when_its_certificate_is_of_the_named_authority() {
    let directory = tempfile::tempdir().expect("a directory");
    let (ours, other) = (Identity::authority("our CA"), Identity::authority("another CA"));
    for (name, authority) in [("ours.pem", &ours), ("other.pem", &other)] {
        std::fs::write(directory.path().join(name), authority.certificate_pem()).expect("a file");
    }
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    std::fs::write(directory.path().join("secret"), format!("{secret}\n")).expect("a file");
    let file = |name: &str| directory.path().join(name).display().to_string();
    let receiver = Receiver::start_tls(&ours.issue("localhost", (0, 10)), |_, _| Mood::Status(200));
    let start = |host: &str, ca: &str| {
        let url = format!("url https://{host}:{}/\n", receiver.address.port());
        outbox(hook(&format!("{url}sign hmac-sha256 file {}\n{ca}", file("secret"))))
    };

    for (host, ca) in [
        ("127.0.0.1", format!("tls_ca {}", file("other.pem"))),
        ("127.0.0.1", String::new()),
        // By the right CA, for somebody else.
        ("127.0.0.2", format!("tls_ca {}", file("ours.pem"))),
        ("127.0.0.1", format!("tls_ca {}", file("missing.pem"))),
    ] {
        let handshakes = receiver.refused();
        let outbox = start(host, &ca);
        outbox.push(notice(1));
        refused(&outbox, 2).await;
        let status = outbox.status();
        assert_eq!((status.counters.sent, receiver.received().len()), (0, 0), "{host} {ca}: {status:?}");
        if host == "127.0.0.1" && !ca.contains("missing") {
            assert!(receiver.refused() > handshakes, "the client broke off");
        }
    }

    let outbox = start("127.0.0.1", &format!("tls_ca {}", file("ours.pem")));
    (1..=3).for_each(|n| outbox.push(notice(n)));
    drained(&outbox).await;
    let requests = receiver.received();
    assert_eq!((requests.len(), outbox.counters().sent), (3, 3));
    for request in &requests {
        let time = request.header("webhook-timestamp").parse().expect("a time");
        let want = sign::standard_webhook(secret, request.header("webhook-id"), time, request.body.as_bytes());
        assert_eq!(request.header("webhook-signature"), want);
        let forged = request.body.replace("VI_", "VI-");
        let of_forged = sign::standard_webhook(secret, request.header("webhook-id"), time, forged.as_bytes());
        assert_ne!(request.header("webhook-signature"), of_forged);
    }
}

/// A certificate that has run out is none.
#[tokio::test]
async fn a_certificate_of_yesterday_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let authority = Identity::authority("our CA");
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, authority.certificate_pem()).expect("a file");
    let receiver = Receiver::start_tls(&authority.issue("localhost", (-10, -1)), |_, _| Mood::Status(200));
    let outbox = outbox(hook(&format!("url https://127.0.0.1:{}/\ntls_ca {}", receiver.address.port(), ca.display())));
    outbox.push(notice(1));
    refused(&outbox, 2).await;
    assert_eq!((outbox.counters().sent, receiver.received().len()), (0, 0));
    assert!(receiver.refused() > 0);
}
