//! Whoever may connect can do his worst: adverts go on, and root is answered.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::needs_root;
use crate::kit::{NOBODY, done, holdfast, status};
use crate::rig::{Make, Node, PATIENCE, Rig, advert, wait_state, wait_until};
use crate::variant::{VRID, Variant};

const V: Variant = Variant::V3;

fn connect(rig: &Rig, socket: &'static str) -> UnixStream {
    let stream = rig.node(0).host().run(move || UnixStream::connect(format!("/run/holdfast/{socket}")));
    let stream = stream.expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
    stream
}

/// Sends, and reads until the daemon closes.
fn throw(rig: &Rig, socket: &'static str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(rig, socket);
    // It may be closed meanwhile.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn hostile_clients_disturb_nobody() {
    needs_root!();
    let nodes = vec![
        Node::new("a", Make::Holdfast, V.instance(0, 2, 150, "")),
        Node::new("b", Make::Holdfast, V.instance(1, 2, 100, "")),
    ];
    let mut rig = Rig::build(1, nodes);
    rig.start_in_turn();
    wait_state(rig.node(1), "VI_1", "BACKUP");
    let mark = rig.wire().mark();
    // A thousand connections of a nobody that say nothing; the last places are not for them.
    let perl = r#"use Socket; $| = 1; my @s; for (1..1000) { socket(my $s, AF_UNIX, SOCK_STREAM, 0) or next;
        connect($s, pack_sockaddr_un("/run/holdfast/status.sock")) and push @s, $s; } print "open\n"; <STDIN>;"#;
    let mut command = Command::new(NOBODY[0]);
    command.args(&NOBODY[1..]).args(["perl", "-e", perl]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut crowd = rig.node(0).host().spawn(command).expect("perl");
    let mut word = [0; 5];
    crowd.stdout.as_mut().expect("piped").read_exact(&mut word).expect("all are open");
    assert_eq!(&word, b"open\n");
    for _ in 0..3 {
        assert!(done(rig.node(0), &["status"]).contains("VI_1"), "root is answered all the same");
    }
    for socket in ["status.sock", "admin.sock"] {
        throw(&rig, socket, b"\x16\x03\x01 this is not HTTP \0\0\xff\r\n\r\n");
        let mut giant = b"GET /v1/status HTTP/1.1\r\nhost: ".to_vec();
        giant.resize(4 << 20, b'x');
        assert!(!throw(&rig, socket, &giant).starts_with(b"HTTP/1.1 200"));
        let body = b"POST /v1/maintenance HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n{\"on\":true";
        assert!(!throw(&rig, socket, body).starts_with(b"HTTP/1.1 200"), "a body that never comes");
        assert!(
            !throw(&rig, socket, b"GET /v1/../../etc/passwd HTTP/1.1\r\nhost: x\r\n\r\n").starts_with(b"HTTP/1.1 200")
        );
    }
    // Followers that never read.
    let mute: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = connect(&rig, "status.sock");
            stream.write_all(b"GET /v1/events?follow HTTP/1.1\r\nhost: x\r\n\r\n").expect("a request");
            stream
        })
        .collect();
    // Many answers that nobody waits for.
    for _ in 0..200 {
        let mut stream = connect(&rig, "status.sock");
        let _ = stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n");
    }
    wait_until("there is room", || holdfast(rig.node(0), &["status"]).code == 0);
    let counted = status(rig.node(0)).daemon.control;
    assert!(counted.refused >= 900 && counted.panics == 0, "{counted:?}");
    drop(mute);
    crowd.signal(nix::sys::signal::Signal::SIGKILL);
    let _ = crowd.wait(PATIENCE);
    rig.wire().wait_adverts(rig.wire().mark(), "a", 3);
    assert_eq!(rig.wire().owners(0, VRID), ["a"], "and nobody took over");
    let frames: Vec<_> = rig.wire().since(mark).into_iter().filter(|f| f.host == "a" && advert(f).is_some()).collect();
    let gap = frames.windows(2).map(|two| two[1].at - two[0].at).max().expect("adverts");
    println!("{} adverts meanwhile, no further apart than {gap:?}", frames.len());
    assert!(gap < V.master_down(100) + Duration::from_secs(1), "{gap:?}");
}
