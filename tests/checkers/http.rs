//! HTTP_GET against servers that misbehave, and what is sent to them.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::time::Duration;

use holdfast::checkers::config::{HttpProbe, HttpVersion, RegexConfig, UrlConfig};
use md5::{Digest, Md5};

use crate::ask::{PATIENT, SHORT, ask_http, http, reason, target};
use crate::server::{answer, answer_and_stay, closed_port, endless, read_request, serve, silent, trickle};

const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";

#[test]
fn a_page_is_judged_by_status_digest_and_pattern() {
    let address = answer(PAGE);
    let regex = |pattern: &str| {
        let pattern = pattern.to_owned();
        Some(Box::new(RegexConfig {
            pattern,
            no_match: false,
            options: Vec::new(),
            min_offset: None,
            max_offset: None,
            stack: None,
        }))
    };
    let good = Md5::digest(b"hello\n").into();
    let table = [
        (UrlConfig::new("/"), None),
        (UrlConfig { status: vec![(201, 599)], ..UrlConfig::new("/a?b") }, Some("status 200 of http://{}/a?b")),
        (UrlConfig { digest: Some(good), ..UrlConfig::new("/") }, None),
        (
            UrlConfig { digest: Some([0; 16]), ..UrlConfig::new("/") },
            Some("digest b1946ac92492d2347c6235b4d2611184 of http://{}/"),
        ),
        (UrlConfig { regex: regex("^h.*o$"), ..UrlConfig::new("/") }, None),
        (
            UrlConfig { regex: regex("world"), ..UrlConfig::new("/") },
            Some("the body does not match world of http://{}/"),
        ),
        (UrlConfig { expect_body: Some("ell".to_owned()), ..UrlConfig::new("/") }, None),
    ];
    for (url, expected) in table {
        let finding = ask_http(http(address, url));
        match expected {
            None => assert_eq!(finding, Ok(0)),
            Some(expected) => assert_eq!(reason(finding), expected.replace("{}", &address.to_string())),
        }
    }
}

#[test]
fn what_is_sent() {
    let (sender, requests) = mpsc::channel();
    let address = serve(move |mut stream| {
        let mut request = read_request(&mut stream)?;
        if request.starts_with("POST") {
            let mut body = [0; 4];
            stream.read_exact(&mut body)?;
            request.push_str(&String::from_utf8_lossy(&body));
        }
        let _ = sender.send(request);
        stream.write_all(PAGE)
    });
    let named = UrlConfig { virtualhost: Some("www.example.org".to_owned()), ..UrlConfig::new("/x") };
    assert_eq!(ask_http(HttpProbe { version: HttpVersion::V10Close, ..http(address, named) }), Ok(0));
    assert_eq!(
        requests.recv_timeout(PATIENT).expect("a request"),
        "GET /x HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: www.example.org\r\n\r\n"
    );
    let post = UrlConfig { method: Some("POST".to_owned()), body: Some("ping".to_owned()), ..UrlConfig::new("/") };
    assert_eq!(ask_http(HttpProbe { version: HttpVersion::V11, ..http(address, post) }), Ok(0));
    let request = requests.recv_timeout(PATIENT).expect("a request");
    assert!(
        request.starts_with("POST / HTTP/1.1\r\n") && request.ends_with("Content-Length: 4\r\n\r\nping"),
        "{request}"
    );
}

/// Servers that are odd and serve: keepalived takes them, and so do we.
#[test]
fn odd_servers_are_up() {
    let table = [
        ("closes before the length it announced", answer("HTTP/1.0 200 OK\r\nContent-Length: 99\r\n\r\nhello\n")),
        ("says more than it announced", answer("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhello\n")),
        ("ends lines as Unix does", answer("HTTP/1.0 200 OK\nContent-Length: 6\n\nhello\n")),
        ("has no reason and no headers", answer("HTTP/1.0 200\r\n\r\nhello\n")),
        ("answers byte by byte", trickle(PAGE, Duration::from_millis(2))),
        ("chunks", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n3\r\nlo\n\r\n0\r\n\r\n")),
        ("chunks and stays", {
            answer_and_stay(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello\n\r\n0\r\n\r\n")
        }),
        ("resets the connection once it has said all", {
            serve(|mut stream| {
                // The request is left unread, so closing resets; after the answer has arrived.
                stream.write_all(PAGE)?;
                std::thread::sleep(Duration::from_secs(4));
                Ok(())
            })
        }),
    ];
    for (what, address) in table {
        let page = UrlConfig { digest: Some(Md5::digest(b"hello\n").into()), ..UrlConfig::new("/") };
        assert_eq!(ask_http(http(address, page)), Ok(0), "{what}");
    }
    // One that never closes, though it was asked in HTTP/1.0: up, after a wait.
    let mut probe = http(answer_and_stay(PAGE), UrlConfig::new("/"));
    probe.target.connect_timeout = SHORT;
    assert_eq!(ask_http(probe), Ok(0));
    // In HTTP/1.1 the length says when it is over.
    assert_eq!(
        ask_http(HttpProbe { version: HttpVersion::V11, ..http(answer_and_stay(PAGE), UrlConfig::new("/")) }),
        Ok(0)
    );
}

#[test]
fn servers_that_do_not_serve_are_down() {
    let table = [
        ("nobody", closed_port(), PATIENT, "connection refused by {}"),
        ("takes the connection and says nothing", silent(), SHORT, "no answer from http://{}/ within 3s"),
        (
            "stops in the headers",
            answer_and_stay(b"HTTP/1.0 200 OK\r\nA: "),
            SHORT,
            "no answer from http://{}/ within 3s",
        ),
        (
            "stops in the body",
            answer_and_stay(b"HTTP/1.0 200 OK\r\n\r\nhel"),
            SHORT,
            "no answer from http://{}/ within 3s",
        ),
        ("closes at once", answer(""), PATIENT, "the connection was closed before the end of the headers (http://{}/)"),
        (
            "closes in the headers",
            answer("HTTP/1.0 200 OK\r\nServer: x"),
            PATIENT,
            "the connection was closed before the end of the headers (http://{}/)",
        ),
        ("speaks something else", answer("SSH-2.0-OpenSSH_9.2\r\n"), PATIENT, "the answer is not HTTP (http://{}/)"),
        (
            "has no end of headers",
            endless(b"HTTP/1.0 200 OK\r\n", b"a: bcdefghijk\r\n"),
            PATIENT,
            "the headers have more than 64 KiB (http://{}/)",
        ),
        (
            "has one header without an end",
            endless(b"HTTP/1.0 200 OK\r\na: ", b"bbbbbbbbbbbbbbbbbb"),
            PATIENT,
            "the headers have more than 64 KiB (http://{}/)",
        ),
        (
            "chunks badly",
            answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n"),
            PATIENT,
            "the body is not chunked as the headers say (http://{}/)",
        ),
        ("is not found", answer("HTTP/1.0 404 Not Found\r\n\r\n"), PATIENT, "status 404 of http://{}/"),
    ];
    for (what, address, limit, expected) in table {
        let mut probe = http(address, UrlConfig::new("/"));
        probe.target.connect_timeout = limit;
        assert_eq!(reason(ask_http(probe)), expected.replace("{}", &address.to_string()), "{what}");
    }
}

/// A body without an end is left after a bounded time, or a bounded size where it is kept.
#[test]
fn a_body_without_an_end_is_left() {
    let address = endless(b"HTTP/1.0 200 OK\r\n\r\n", &[b'x'; 4096]);
    let kept = UrlConfig { expect_body: Some("y".to_owned()), ..UrlConfig::new("/") };
    assert_eq!(
        reason(ask_http(http(address, kept))),
        format!("the body has more than 1 MiB, which is too much to be searched (http://{address}/)")
    );
    let slow = trickle(&[b'H'; 100_000], Duration::from_millis(5));
    let mut probe = http(slow, UrlConfig::new("/"));
    probe.target.connect_timeout = SHORT;
    assert_eq!(reason(ask_http(probe)), format!("the answer is not HTTP (http://{slow}/)"));
    let slow =
        trickle(b"HTTP/1.0 200 OK\r\nA: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", Duration::from_millis(500));
    let mut probe = http(slow, UrlConfig::new("/"));
    probe.target.connect_timeout = SHORT;
    assert_eq!(reason(ask_http(probe)), format!("no whole answer from http://{slow}/ within 9s"));
}

#[test]
fn the_source_port_is_ours_to_choose_again_and_again() {
    let (sender, peers) = mpsc::channel();
    let address = serve(move |mut stream| {
        let _ = sender.send(stream.peer_addr()?);
        read_request(&mut stream)?;
        stream.write_all(PAGE)
    });
    let free = std::net::TcpListener::bind("127.0.0.77:0").and_then(|listener| listener.local_addr());
    let port = free.expect("a port").port();
    for _ in 0..3 {
        let mut probe = http(address, UrlConfig::new("/"));
        probe.target.bind_to = Some([127, 0, 0, 77].into());
        probe.target.bind_port = Some(port);
        assert_eq!(ask_http(probe), Ok(0));
        let peer = peers.recv_timeout(PATIENT).expect("a connection");
        assert_eq!(peer, (std::net::Ipv4Addr::new(127, 0, 0, 77), port).into());
    }
    let mut probe = http(address, UrlConfig::new("/"));
    probe.target = target(address);
    probe.target.bind_to = Some([192, 0, 2, 1].into());
    let expected = "cannot bind to 192.0.2.1:0: Cannot assign requested address (os error 99)";
    assert_eq!(crate::ask::own_trouble(ask_http(probe)), expected);
}
