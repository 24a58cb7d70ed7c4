//! SMTP_CHECK against servers that misbehave.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use holdfast::checkers::config::{Probe, SmtpProbe};
use holdfast::checkers::finding::Finding;

use crate::ask::{PATIENT, SHORT, ask, reason, target};
use crate::server::{closed_port, endless, serve, silent, trickle, wait_for_close};

/// Greets, and answers each line with the next of these.
fn dialogue(greeting: &'static str, answers: &'static [&'static str]) -> (SocketAddr, mpsc::Receiver<String>) {
    let (sender, lines) = mpsc::channel();
    let address = serve(move |mut stream| {
        stream.write_all(greeting.as_bytes())?;
        let mut reader = BufReader::new(stream.try_clone()?);
        for answer in answers {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let _ = sender.send(line);
            stream.write_all(answer.as_bytes())?;
        }
        wait_for_close(&mut stream)
    });
    (address, lines)
}

fn smtp(addresses: &[SocketAddr], limit: Duration) -> Finding {
    let targets = addresses.iter().map(|address| {
        let mut target = target(*address);
        target.connect_timeout = limit;
        target
    });
    ask(Probe::Smtp(SmtpProbe { targets: targets.collect(), helo_name: "lb.example.org".to_owned() }))
}

#[test]
fn a_mail_server_greets_and_answers() {
    let (address, lines) = dialogue("220-one\r\n220 two\r\n", &["250-mail\r\n250 ok\r\n", "221 bye\r\n"]);
    assert_eq!(smtp(&[address], PATIENT), Ok(0));
    let said: Vec<_> = (0..2).map(|_| lines.recv_timeout(PATIENT).expect("a line")).collect();
    assert_eq!(said, ["HELO lb.example.org\r\n", "QUIT\r\n"]);
}

#[test]
fn all_hosts_must_answer() {
    let (good, _lines) = dialogue("220 a\r\n", &["250 a\r\n", "221 a\r\n"]);
    let (other, _lines) = dialogue("220 b\r\n", &["250 b\r\n", "221 b\r\n"]);
    assert_eq!(smtp(&[good, other], PATIENT), Ok(0));
    let closed = closed_port();
    assert_eq!(reason(smtp(&[good, closed], PATIENT)), format!("connection refused by {closed}"));
}

#[test]
fn mail_servers_that_do_not_serve_are_down() {
    let table = [
        ("busy", dialogue("421 too many connections\r\n", &[]).0, PATIENT, "greeting: {} answered 421, not 220"),
        ("refuses HELO", dialogue("220 a\r\n", &["501 no\r\n"]).0, PATIENT, "HELO: {} answered 501, not 250"),
        ("silent", silent(), SHORT, "greeting: no answer from {} within 3s"),
        ("silent after HELO", dialogue("220 a\r\n", &[""]).0, SHORT, "HELO: no answer from {} within 3s"),
        ("speaks something else", dialogue("SSH-2.0-OpenSSH\r\n", &[]).0, PATIENT, "greeting: {} does not speak SMTP"),
        ("closes", serve(|_| Ok(())), PATIENT, "greeting: connection closed by {}"),
    ];
    for (what, address, limit, expected) in table {
        assert_eq!(reason(smtp(&[address], limit)), expected.replace("{}", &address.to_string()), "{what}");
    }
}

#[test]
fn a_greeting_without_an_end_is_left() {
    // These wait for a request first, so the greeting is asked for by nobody: silence, in the end.
    let address = serve(|mut stream| {
        loop {
            stream.write_all(b"220-and so on\r\n")?;
        }
    });
    assert_eq!(reason(smtp(&[address], PATIENT)), format!("greeting: {address} does not speak SMTP"));
    for address in [endless(b"", b"220-"), trickle(b"220 never", Duration::from_millis(10))] {
        assert_eq!(reason(smtp(&[address], SHORT)), format!("greeting: no answer from {address} within 3s"));
    }
}
