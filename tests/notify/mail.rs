//! E-mail to a real mail server: exim, with TLS and logins.

use std::collections::BTreeSet;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use holdfast::notify::config::EmailConfig;
use holdfast::notify::email::EmailTarget;
use holdfast::notify::node::rfc3339;
use holdfast::notify::outbox::Outbox;

use crate::certificate::Identity;
use crate::common::{needs_root, skipped};
use crate::{PATIENCE, drained, node, notice, notifications};

const EXIM: &str = "/usr/sbin/exim4";

/// exim on two ports of loopback, the second one with TLS from the first byte; it takes mail from `lb` only, whose
/// password is `s3cret`, and puts it into one file.
struct Exim {
    directory: tempfile::TempDir,
    ports: [u16; 2],
    process: Option<Child>,
}

impl Exim {
    fn new(authority: &Identity) -> Option<Self> {
        if !Path::new(EXIM).exists() {
            skipped(&format!("needs {EXIM}"));
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let free = || TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let exim = Self { ports: [free(), free()], directory, process: None };
        let server = authority.issue("localhost", (0, 10));
        fs::write(exim.path("server.pem"), server.certificate_pem()).expect("a file");
        fs::write(exim.path("server.key"), server.key_pem()).expect("a file");
        fs::write(exim.path("ca.pem"), authority.certificate_pem()).expect("a file");
        fs::write(exim.path("password"), "s3cret\n").expect("a file");
        // exim never delivers as root.
        fs::create_dir(exim.path("mail")).expect("a directory");
        for (path, mode) in [(exim.directory.path().to_owned(), 0o755), (exim.path("mail"), 0o777)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its own");
        }
        let configuration = CONFIGURATION
            .replace("DIR", &exim.directory.path().display().to_string())
            .replace("PORT0", &exim.ports[0].to_string())
            .replace("PORT1", &exim.ports[1].to_string());
        fs::write(exim.path("exim.conf"), configuration).expect("a file");
        Some(exim)
    }

    fn start(&mut self) {
        let output = fs::File::create(self.path("output")).expect("a file");
        let mut command = Command::new(EXIM);
        command.args(["-bdf", "-q1h", "-C"]).arg(self.path("exim.conf")).stdin(Stdio::null());
        command.stdout(output.try_clone().expect("a file")).stderr(output);
        self.process = Some(command.spawn().expect("it starts"));
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.ports[0])).is_err() {
            let output = fs::read_to_string(self.path("output")).unwrap_or_default();
            assert!(Instant::now() < deadline, "exim does not listen: {output}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("it runs");
            process.wait().expect("it ends");
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The mail settings for it, with more lines.
    fn config(&self, port: usize, lines: &str) -> EmailConfig {
        let text = format!(
            "global_defs {{\nrouter_id lb1\nnotification_email {{\nops@example.org\n}}\n\
             notification_email_from Lower <lb@example.org>\nsmtp_server localhost {}\nsmtp_tls_ca {}\nsmtp_user lb\n\
             smtp_password file {}\n{lines}\n}}\n",
            self.ports[port],
            self.path("ca.pem").display(),
            self.path("password").display()
        );
        notifications(&text).email.expect("a mail server")
    }

    /// The lines of mails that arrived, in their order.
    fn arrivals(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("log-main")).unwrap_or_default();
        log.lines().filter(|line| line.contains(" <= ") && !line.contains(" <= <>")).map(str::to_owned).collect()
    }

    /// What was put into the file, once all that arrived is there.
    fn mailbox(&self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = fs::read_to_string(self.path("log-main")).unwrap_or_default();
            let count = |words: &str| log.lines().filter(|line| line.contains(words)).count();
            if count(" Completed") >= count(" <= ") {
                return fs::read_to_string(self.path("mail/mbox")).unwrap_or_default();
            }
            assert!(Instant::now() < deadline, "mail is stuck: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Exim {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.stop();
        }
        if std::thread::panicking() {
            for name in ["output", "log-main", "log-panic"] {
                eprintln!("{name}: {}", fs::read_to_string(self.path(name)).unwrap_or_default());
            }
        }
    }
}

const CONFIGURATION: &str = "primary_hostname = localhost
spool_directory = DIR
log_file_path = DIR/log-%s
pid_file_path = DIR/pid
exim_user = root
exim_group = root
never_users =
local_interfaces = <; [127.0.0.1]:PORT0 ; [127.0.0.1]:PORT1
tls_on_connect_ports = PORT1
tls_advertise_hosts = *
tls_certificate = DIR/server.pem
tls_privatekey = DIR/server.key
smtp_accept_max_per_connection = 0
acl_smtp_rcpt = check
begin acl
check:
  deny local_parts = nobody
       message = no such user
  accept authenticated = *
  deny message = log in first
begin routers
all:
  driver = accept
  transport = file
begin transports
file:
  driver = appendfile
  file = DIR/mail/mbox
  user = nobody
  group = nogroup
  mode = 0600
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{lb}}{eq{$auth3}{s3cret}}}}
  server_set_id = $auth2
  server_advertise_condition = ${if def:tls_in_cipher}
";

fn outbox(config: EmailConfig) -> Outbox {
    let settings = Arc::new(ArcSwap::from_pointee((config, node())));
    Outbox::start("e-mail".into(), move || EmailTarget::new(settings.clone()))
}

/// A thousand events while the mail server is down, and killed in between: every one is in exactly one mail, in order.
#[tokio::test]
async fn a_thousand_events_over_starttls_with_a_login_in_a_few_digests() {
    needs_root!();
    let Some(mut exim) = Exim::new(&Identity::authority("authority")) else { return };
    let outbox = outbox(exim.config(0, "smtp_tls starttls\nsmtp_digest 50"));
    (1..=400).for_each(|n| outbox.push(notice(n)));
    while outbox.counters().retried == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    exim.start();
    drained(&outbox).await;
    exim.stop();
    (401..=1000).for_each(|n| outbox.push(notice(n)));
    exim.start();
    drained(&outbox).await;
    let counters = outbox.counters();
    assert_eq!((counters.sent, counters.failed, counters.dropped), (1000, 0, 0), "{:?}", outbox.status());
    let arrivals = exim.arrivals();
    assert!(arrivals.len() < 100, "{} mails", arrivals.len());
    let ids: BTreeSet<&str> =
        arrivals.iter().filter_map(|line| line.split(' ').find(|word| word.starts_with("id="))).collect();
    for line in &arrivals {
        assert!(line.contains("P=esmtpsa") && line.contains("A=plain:lb"), "TLS and a login: {line}");
    }
    let mailbox = exim.mailbox();
    // A mail that came twice, because the answer was lost, has the same Message-ID.
    let mut seen = BTreeSet::new();
    let mut told = Vec::new();
    for mail in mailbox.split("\nFrom ") {
        let id = mail.lines().find(|line| line.starts_with("Message-ID")).expect("an id").to_owned();
        if seen.insert(id) {
            let lines = mail.lines().filter(|line| line.starts_with("2023-11-") && line.contains(" VRRP Instance "));
            told.extend(lines.map(|line| line.split(' ').next().unwrap_or_default().to_owned()));
        }
    }
    assert_eq!(seen.len(), ids.len());
    // exim may put two mails that came together into the file in either order; within one they are in order.
    let want: Vec<String> = (1..=1000).map(|n| rfc3339(notice(n).at)).collect();
    told.sort();
    assert_eq!(told, want);
    let first_numbers: Vec<u64> = ids_in_order(&arrivals);
    assert!(first_numbers.is_sorted(), "{first_numbers:?}");
}

/// The first number in each Message-ID.
fn ids_in_order(arrivals: &[String]) -> Vec<u64> {
    let ids = arrivals.iter().filter_map(|line| line.split("id=life-").nth(1)?.split('-').next()?.parse().ok());
    ids.collect()
}

/// Mails one by one, over TLS from the first byte: keepalived's words, in order.
#[tokio::test]
async fn mails_are_keepalived_s_and_come_in_order() {
    needs_root!();
    let Some(mut exim) = Exim::new(&Identity::authority("authority")) else { return };
    exim.start();
    let outbox = outbox(exim.config(1, "smtp_tls implicit\nsmtp_digest 0"));
    (1..=40).for_each(|n| outbox.push(notice(n)));
    drained(&outbox).await;
    let arrivals = exim.arrivals();
    let numbers: Vec<String> = (1..=40).map(|n| format!("id=life-{n}-{n}.holdfast@lb1.example.org")).collect();
    let ids: Vec<&str> =
        arrivals.iter().filter_map(|line| line.split(' ').find(|word| word.starts_with("id="))).collect();
    assert_eq!(ids, numbers);
    assert!(arrivals.iter().all(|line| line.contains("<= lb@example.org")), "{arrivals:?}");
    let mailbox = exim.mailbox();
    for line in [
        "Subject: [lb1] VRRP Instance VI_2 - Entering MASTER state\n",
        "From: Lower <lb@example.org>\n",
        "To: ops@example.org\n",
        "X-Mailer: Keepalived\n",
        "\n=> VRRP Instance is now owning VRRP VIPs <=\n",
        "\nWhy: no advert came\n",
    ] {
        assert!(mailbox.contains(line), "{line}{mailbox}");
    }
}

/// A server whose certificate nobody vouches for gets neither the mail nor the password.
#[tokio::test]
async fn a_stranger_s_certificate_and_a_wrong_password_are_refused_and_cured() {
    needs_root!();
    let authority = Identity::authority("authority");
    let Some(mut exim) = Exim::new(&authority) else { return };
    exim.start();
    fs::write(exim.path("ca.pem"), Identity::authority("another").certificate_pem()).expect("a file");
    fs::write(exim.path("password"), "wrong\n").expect("a file");
    let outbox = outbox(exim.config(0, "smtp_tls starttls"));
    outbox.push(notice(1));
    let complaint = async |words: &str| {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !outbox.status().complaint.is_some_and(|why| why.contains(words)) {
            assert!(tokio::time::Instant::now() < deadline, "never {words}: {:?}", outbox.status());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    complaint("certificate verify failed").await;
    assert_eq!(exim.arrivals().len(), 0);
    // Files are read anew for each mail.
    fs::write(exim.path("ca.pem"), authority.certificate_pem()).expect("a file");
    complaint("535").await;
    assert_eq!(exim.arrivals().len(), 0);
    fs::write(exim.path("password"), "s3cret\n").expect("a file");
    drained(&outbox).await;
    assert_eq!((outbox.counters().sent, exim.arrivals().len()), (1, 1));
}

/// Recipients that the server does not know keep nobody else from hearing of it.
#[tokio::test]
async fn one_unknown_recipient_does_not_silence_the_others() {
    needs_root!();
    let Some(mut exim) = Exim::new(&Identity::authority("authority")) else { return };
    exim.start();
    let mut config = exim.config(0, "smtp_tls starttls\nsmtp_digest 0");
    config.to = vec!["nobody@example.org".into(), "ops@example.org".into()];
    let outbox = outbox(config.clone());
    outbox.push(notice(1));
    drained(&outbox).await;
    assert_eq!((outbox.counters().sent, exim.arrivals().len()), (1, 1));
    config.to.pop();
    let outbox = self::outbox(config);
    outbox.push(notice(2));
    drained(&outbox).await;
    assert_eq!((outbox.counters().failed, exim.arrivals().len()), (1, 1), "nobody takes it: given up, and said");
}

/// A mail server that takes the connection and never says a word: tried again and again, and the end of the daemon does
/// not wait for it longer than it said.
#[tokio::test]
async fn a_mail_server_that_never_answers_holds_nobody_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let text = format!(
        "global_defs {{\nnotification_email {{\nops@example.org\n}}\nsmtp_server 127.0.0.1 {port}\nsmtp_connect_timeout 1\n}}\n"
    );
    let outbox = outbox(notifications(&text).email.expect("a mail server"));
    (1..=3).for_each(|n| outbox.push(notice(n)));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while outbox.counters().retried < 2 {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", outbox.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(outbox.status().complaint.is_some());
    tokio::time::timeout(PATIENCE, outbox.drain(Duration::from_millis(100))).await.expect("it ends");
    assert_eq!(outbox.counters().abandoned, 3);
}
