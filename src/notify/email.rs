//! E-mail: one mail for each notice, or one for many when many wait.
//!
//! Shell: speaks SMTP (lettre). A mail that was perhaps delivered, and is sent again, has the same Message-ID. A server
//! that cannot be reached, or refuses us, is tried again; a mail that it refuses is given up. keepalived says HELO; this
//! says EHLO, which TLS and AUTH need, and every mail server since 2001 understands.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::address;
use super::config::{EmailConfig, SmtpTls};
use super::node::{Node, rfc3339};
use super::notice::Notice;
use super::outbox::{Deliver, Failure, Then};
use super::said::{Said, more};
use super::{secret, with_sources};

/// A whole mail takes a few steps, each of which may take the configured time; a server that is slow in all of them is
/// no mail server.
const STEPS: u32 = 2;
/// Lines in one digest.
const DIGEST_LIMIT: usize = 500;

/// What the target works by; a reload changes it while the queue stays.
pub type EmailSettings = Arc<ArcSwap<(EmailConfig, Node)>>;

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// The mail server.
#[derive(Debug)]
pub struct EmailTarget {
    settings: EmailSettings,
    /// First and last notice of the mail that was tried last: it is tried again as it was.
    tried: Option<(u64, u64)>,
    /// Recipients that were refused.
    said: Said,
}

impl EmailTarget {
    /// Connects when there is something to send.
    pub fn new(settings: EmailSettings) -> Self {
        Self { settings, tried: None, said: Said::default() }
    }

    /// How many of those that wait go into the next mail.
    fn take(&mut self, batch: &[Arc<Notice>], digest: u32) -> usize {
        let Some(first) = batch.first().map(|notice| notice.sequence) else { return 0 };
        let again = self.tried.filter(|(from, _)| *from == first);
        let count = match again {
            Some((_, last)) => batch.iter().take_while(|notice| notice.sequence <= last).count(),
            None if digest > 0 && batch.len() >= digest as usize => batch.len().min(DIGEST_LIMIT),
            None => 1,
        };
        self.tried = batch.get(count.saturating_sub(1)).map(|last| (first, last.sequence));
        count
    }
}

impl Deliver for EmailTarget {
    async fn deliver(&mut self, batch: &[Arc<Notice>]) -> Result<usize, Failure> {
        let settings = self.settings.load_full();
        let (config, node) = &*settings;
        let count = self.take(batch, config.digest);
        let notices = batch.get(..count).unwrap_or(batch);
        send(config, node, notices, &mut self.said).await.map(|()| count)
    }
}

fn again(reason: String) -> Failure {
    Failure { reason, then: Then::Retry }
}

/// Sends one mail about these.
///
/// # Errors
/// It was not taken, by anybody.
pub async fn send(config: &EmailConfig, node: &Node, notices: &[Arc<Notice>], said: &mut Said) -> Result<(), Failure> {
    let Some(mail) = message(config, node, notices).map_err(|reason| Failure { reason, then: Then::GiveUp })? else {
        return Ok(());
    };
    let transport = transport(config, node).await.map_err(again)?;
    let limit = config.timeout.saturating_mul(STEPS);
    let sent = tokio::time::timeout(limit, deliver(&transport, &mail, said)).await;
    sent.unwrap_or_else(|_| Err(again(format!("the mail server {} does not answer", config.host))))
}

async fn deliver(transport: &Transport, mail: &Message, said: &mut Said) -> Result<(), Failure> {
    let error = match transport.send_raw(mail.envelope(), &mail.formatted()).await {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    if !error.is_permanent() {
        return Err(again(with_sources(&error)));
    }
    // Does it refuse us, or this mail?
    if let Err(error) = transport.test_connection().await {
        return Err(again(with_sources(&error)));
    }
    // One recipient that is refused must not keep the others from hearing of it.
    let mut taken = false;
    for to in mail.envelope().to() {
        let Ok(envelope) = lettre::address::Envelope::new(mail.envelope().from().cloned(), vec![to.clone()]) else {
            continue;
        };
        match transport.send_raw(&envelope, &mail.formatted()).await {
            Ok(_) => taken = true,
            Err(error) => {
                let words = format!("e-mail: {to} is refused: {}", with_sources(&error));
                if let Some(unsaid) = said.news(now(), &words) {
                    tracing::warn!("{words}{}", more(unsaid));
                }
            }
        }
    }
    if taken { Ok(()) } else { Err(Failure { reason: with_sources(&error), then: Then::GiveUp }) }
}

#[allow(clippy::disallowed_methods, reason = "a shell: reads the clock")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

async fn transport(config: &EmailConfig, node: &Node) -> Result<Transport, String> {
    let helo = config.helo.clone().unwrap_or_else(|| node.host.clone());
    let mut builder = Transport::builder_dangerous(config.host.clone())
        .port(config.port)
        .hello_name(ClientId::Domain(helo))
        .timeout(Some(config.timeout));
    if config.tls != SmtpTls::None {
        let mut parameters = TlsParameters::builder(config.host.clone());
        if let Some(path) = &config.ca {
            let pem = tokio::fs::read(path).await.map_err(|error| format!("{}: {error}", path.display()))?;
            let certificate = Certificate::from_pem(&pem).map_err(|error| format!("{}: {error}", path.display()))?;
            parameters = parameters.add_root_certificate(certificate);
        }
        let parameters = parameters.build().map_err(|error| with_sources(&error))?;
        builder = builder.tls(match config.tls {
            SmtpTls::Implicit => Tls::Wrapper(parameters),
            _ => Tls::Required(parameters),
        });
    }
    if let Some((user, password)) = &config.login {
        let password = secret::read(password).await?;
        builder = builder.credentials(Credentials::new(user.clone(), password));
    }
    Ok(builder.build())
}

/// The mail about these; nothing when there is nothing to say.
fn message(config: &EmailConfig, node: &Node, notices: &[Arc<Notice>]) -> Result<Option<Message>, String> {
    let Some((subject, body)) = words(node, notices) else { return Ok(None) };
    let (Some(first), Some(last)) = (notices.first(), notices.last()) else { return Ok(None) };
    let domain = config.helo.as_deref().unwrap_or(&node.host);
    let mailbox = |text: &str| address::complete(text, domain).map(|(name, address)| Mailbox::new(name, address));
    let from = config.from.clone().unwrap_or_else(|| "root".to_owned());
    let id = format!("<{}-{}.holdfast@{domain}>", node.key(first), last.sequence);
    let mut builder = Message::builder()
        .from(mailbox(&from)?)
        .date(SystemTime::UNIX_EPOCH + last.at)
        .message_id(Some(id))
        .subject(subject)
        // Filters look for it.
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("X-Mailer"), "Keepalived".to_owned()));
    for to in &config.to {
        builder = builder.to(mailbox(to)?);
    }
    builder.body(body).map(Some).map_err(|error| error.to_string())
}

/// Subject and body.
fn words(node: &Node, notices: &[Arc<Notice>]) -> Option<(String, String)> {
    let id = &node.router_id;
    if let [notice] = notices {
        let (subject, body) = notice.email()?;
        return Some((format!("[{id}] {subject}"), body + "\r\n"));
    }
    let lines: Vec<String> = notices.iter().filter_map(|notice| line(notice)).collect();
    let last = notices.iter().rev().find_map(|notice| notice.email())?.0;
    let subject = format!("[{id}] {} events, the last: {last}", lines.len());
    Some((subject, lines.concat()))
}

fn line(notice: &Notice) -> Option<String> {
    let (subject, body) = notice.email()?;
    let body = body.replace("\r\n\r\n", "\r\n").replace("\r\n", "\r\n  ");
    Some(format!("{} {subject}\r\n  {body}\r\n", rfc3339(Duration::from_secs(notice.at.as_secs()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::notice::{About, What};
    use crate::vrrp::event::StateName;

    fn node() -> Node {
        Node { router_id: "lb1".into(), host: "lb1.example.org".into(), life: "L".into() }
    }

    fn notice(sequence: u64) -> Arc<Notice> {
        let what = What::State { to: StateName::Master, priority: 100 };
        let about = About::Instance(format!("VI_{sequence}"));
        Arc::new(Notice { sequence, at: Duration::ZERO, about, what, cause: Some("no advert came".into()) })
    }

    fn target(digest: u32) -> EmailTarget {
        let config = EmailConfig { digest, ..EmailConfig::sample() };
        EmailTarget::new(Arc::new(ArcSwap::from_pointee((config, node()))))
    }

    #[test]
    fn a_mail_has_keepalived_s_headers() {
        let config = EmailConfig { from: Some("Lower <lb@example.org>".into()), ..EmailConfig::sample() };
        let mail = message(&config, &node(), &[notice(7)]).expect("addresses").expect("a mail");
        let text = String::from_utf8(mail.formatted()).expect("text");
        for line in [
            "Subject: [lb1] VRRP Instance VI_7 - Entering MASTER state\r\n",
            "From: Lower <lb@example.org>\r\n",
            "To: ops@example.org\r\n",
            "X-Mailer: Keepalived\r\n",
            "Message-ID: <L-7-7.holdfast@lb1.example.org>\r\n",
            "\r\n\r\n=> VRRP Instance is now owning VRRP VIPs <=\r\n\r\nWhy: no advert came\r\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn many_become_one_and_stay_one_when_it_is_tried_again() {
        let batch: Vec<Arc<Notice>> = (1..=30).map(notice).collect();
        let mut target = target(5);
        assert_eq!(target.take(&batch[..4], 5), 1, "few are mailed one by one");
        assert_eq!(target.take(&batch[1..20], 5), 19);
        assert_eq!(target.take(&batch[1..], 5), 19, "the same mail again");
        assert_eq!(target.take(&batch[20..], 5), 10);
        assert_eq!(target.take(&batch, 0), 1, "never");
        let (subject, body) = words(&node(), &batch[..2]).expect("words");
        assert_eq!(subject, "[lb1] 2 events, the last: VRRP Instance VI_2 - Entering MASTER state");
        let first = "1970-01-01T00:00:00.000Z VRRP Instance VI_1 - Entering MASTER state\r\n  => VRRP Instance is now owning VRRP VIPs <=\r\n  Why: no advert came\r\n";
        assert!(body.starts_with(first), "{body}");
    }
}
