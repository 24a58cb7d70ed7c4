//! UDP_CHECK and DNS_CHECK against small servers.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::time::Duration;

use holdfast::checkers::config::{DnsProbe, Probe, UdpProbe};
use holdfast::checkers::finding::Finding;

use crate::ask::{PATIENT, SHORT, ask, reason, target};
use crate::server::closed_port;

/// Answers each datagram with these, made from it; what came is passed on. The thread ends with the process.
fn responder(answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> (SocketAddr, mpsc::Receiver<Vec<u8>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    let (sender, datagrams) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            for answer in answers(&buffer[..length]) {
                let _ = socket.send_to(&answer, peer);
            }
            let _ = sender.send(buffer[..length].to_vec());
        }
    });
    (address, datagrams)
}

fn udp(address: SocketAddr, limit: Duration) -> UdpProbe {
    let mut target = target(address);
    target.connect_timeout = limit;
    UdpProbe {
        target,
        payload: None,
        require_reply: false,
        reply: Vec::new(),
        min_reply_length: 0,
        max_reply_length: 255,
    }
}

fn dns(address: SocketAddr, limit: Duration) -> Finding {
    let mut target = target(address);
    target.connect_timeout = limit;
    ask(Probe::Dns(Box::new(DnsProbe { target, record_type: "SOA".to_owned(), name: ".".to_owned() })))
}

#[test]
fn silence_is_success_unless_a_reply_is_required() {
    let (silent, datagrams) = responder(|_| Vec::new());
    assert_eq!(ask(Probe::Udp(udp(silent, SHORT).into())), Ok(0));
    assert!(!datagrams.recv_timeout(PATIENT).expect("a datagram").is_empty());
    let required = UdpProbe { require_reply: true, payload: Some(b"ping".to_vec()), ..udp(silent, SHORT) };
    assert_eq!(reason(ask(Probe::Udp(required.into()))), format!("no reply from {silent} within 3s"));
    assert_eq!(datagrams.recv_timeout(PATIENT).expect("a datagram"), b"ping");
}

#[test]
fn a_dead_port_is_told_by_icmp() {
    let closed = closed_port();
    assert_eq!(reason(ask(Probe::Udp(udp(closed, PATIENT).into()))), format!("connection refused by {closed}"));
    assert_eq!(reason(dns(closed, PATIENT)), format!("connection refused by {closed}"));
}

#[test]
fn replies_are_held_against_pattern_and_lengths() {
    let (echo, _datagrams) = responder(|datagram| vec![datagram.to_vec()]);
    let ask = |payload: &[u8], reply: &[(u8, u8)], most| {
        let probe = UdpProbe {
            payload: Some(payload.to_vec()),
            require_reply: true,
            reply: reply.to_vec(),
            max_reply_length: most,
            ..udp(echo, PATIENT)
        };
        ask(Probe::Udp(probe.into()))
    };
    assert_eq!(ask(b"pong!", &[(b'p', 0xff), (0, 0), (b'n', 0xff)], 255), Ok(0));
    assert_eq!(reason(ask(b"pong!", &[(b'q', 0xff)], 255)), "the reply does not begin as require_reply says");
    assert_eq!(ask(&[b'x'; 100], &[], 100), Ok(0));
    assert_eq!(reason(ask(&[b'x'; 101], &[], 100)), "the reply is longer than max_reply_length 100");
}

#[test]
fn dns_answers_count_by_id_and_code() {
    let answer = |datagram: &[u8], id: u8, flags: [u8; 2]| {
        let mut answer = datagram.to_vec();
        answer[0] ^= id;
        answer[2..4].copy_from_slice(&flags);
        answer
    };
    let (good, _datagrams) = responder(move |query| {
        // Somebody else's answer, our own question, garbage, and at last ours.
        vec![answer(query, 1, [0x81, 0x80]), query.to_vec(), b"?".to_vec(), answer(query, 0, [0x81, 0x80])]
    });
    assert_eq!(dns(good, PATIENT), Ok(0));
    let (failing, _datagrams) = responder(move |query| vec![answer(query, 0, [0x81, 0x82])]);
    assert_eq!(reason(dns(failing, PATIENT)), "the answer is an error: Server Failure");
    let (strange, _datagrams) = responder(move |query| vec![answer(query, 1, [0x81, 0x80]); 20]);
    assert_eq!(reason(dns(strange, PATIENT)), format!("only datagrams that are no answer, from {strange}"));
    let (silent, _datagrams) = responder(|_| Vec::new());
    assert_eq!(reason(dns(silent, SHORT)), format!("query: no answer from {silent} within 3s"));
}
