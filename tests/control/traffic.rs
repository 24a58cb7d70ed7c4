//! What virtual servers have carried, wherever it is shown.

use std::io::{Read, Write};
use std::net::TcpStream;

use holdfast::control::api::Method;
use holdfast::lab::server::Server;

use crate::common::needs_root;
use crate::kit::{ask, done, status, wait_ready, wait_status};
use crate::rig::{Make, Node, PATIENCE, Rig};

const CONFIG: &str = "
virtual_server 127.0.0.1 8080 {
    lb_kind PROXY
    protocol TCP
    real_server 127.0.0.7 80 { weight 1 }
    real_server 127.0.0.8 80 { weight 1 }
}
virtual_server 127.0.0.1 8081 {
    lb_kind PROXY
    protocol TCP
    real_server 127.0.0.7 80 { weight 1 }
}
";

fn connect() -> TcpStream {
    let stream = TcpStream::connect("127.0.0.1:8080").expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream
}

/// Five requests, and a connection that stays, of the forwarder: the same numbers in `/v1/status`, on the screen and in the
/// metrics of three kinds.
#[test]
fn what_was_carried_is_told_everywhere() {
    needs_root!();
    let mut rig = Rig::build(1, vec![Node::new("a", Make::Holdfast, CONFIG)]);
    let _server = Server::start(rig.node(0).host()).expect("a port");
    rig.start_all();
    let a = rig.node(0);
    wait_ready(a);
    wait_status(a, "in the data plane", |s| s.virtual_servers.iter().all(|v| v.carrier.is_some()));
    let received = a.host().run(|| {
        let answers = (0..5).map(|_| {
            let (mut stream, mut answer) = (connect(), String::new());
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
            stream.read_to_string(&mut answer).expect("an answer");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            answer.len() as u64
        });
        answers.sum::<u64>()
    });
    let open = a.host().run(connect);
    let told = wait_status(a, "six connections, of which one is open", |s| {
        let shown = s.virtual_servers.first().and_then(|v| v.traffic);
        shown.is_some_and(|t| (t.connections, t.active) == (6, 1))
    });
    let [busy, idle] = &told.virtual_servers[..] else { panic!("two: {told:#?}") };
    assert_eq!((busy.carrier.as_deref(), idle.carrier.as_deref()), (Some("userspace"), Some("userspace")));
    let traffic = busy.traffic.expect("shown");
    assert_eq!(traffic.out_bytes, received, "{traffic:?}");
    assert!(traffic.in_bytes >= 5 * 40 && traffic.in_packets >= 5, "{traffic:?}");
    let reals: Vec<_> = busy.real_servers.iter().map(|real| real.traffic.expect("shown")).collect();
    assert_eq!(reals.iter().map(|t| t.connections).sum::<u64>(), 6, "{reals:?}");
    assert_eq!(reals.iter().map(|t| t.active).sum::<u64>(), 1, "{reals:?}");
    assert_eq!(idle.traffic.map(|t| (t.connections, t.out_bytes)), Some((0, 0)));

    let screen = done(a, &["status"]);
    assert!(screen.contains("  userspace: 1 connections now, 6 in all, "), "{screen}");
    assert!(screen.contains("  userspace: 0 connections now, 0 in all, 0B in, 0B out"), "{screen}");
    let (code, metrics) = ask(a, Method::Get, "/metrics", "");
    assert_eq!(code, 200);
    for line in [
        "holdfast_virtual_server_connections_total{virtual_server=\"[127.0.0.1]:tcp:8080\",protocol=\"tcp\"} 6\n"
            .to_owned(),
        "holdfast_virtual_server_connections_active{virtual_server=\"[127.0.0.1]:tcp:8080\",protocol=\"tcp\"} 1\n"
            .to_owned(),
        format!(
            "holdfast_virtual_server_sent_bytes_total{{virtual_server=\"[127.0.0.1]:tcp:8080\",protocol=\"tcp\"}} {received}\n"
        ),
        "keepalived_lvs_vip_conn{addr=\"127.0.0.1:8080\",proto=\"TCP\"} 6\n".to_owned(),
        format!("keepalived_lvs_vip_out_bytes{{addr=\"127.0.0.1:8080\",proto=\"TCP\"}} {received}\n"),
    ] {
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    drop(open);
    wait_status(a, "nothing open", |s| s.virtual_servers.iter().all(|v| v.traffic.is_some_and(|t| t.active == 0)));
    assert_eq!(status(a).virtual_servers[0].traffic.map(|t| t.connections), Some(6));
}
