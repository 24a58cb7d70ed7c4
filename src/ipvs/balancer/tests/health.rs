//! Which real servers are fit, and with which weights they serve.

use super::*;

#[test]
fn health() {
    check(&[
        ("without alpha servers are in the table before any check", |_| {}, "", "1:1 2:1 3:1", &[]),
        (
            "alive: every checker is up",
            |s| s.real_servers[0].checkers.push(checker(81)),
            "down2 1",
            "2:1 3:1",
            &["1 DOWN"],
        ),
        (
            "one of two checkers recovering is not enough",
            |s| s.real_servers[0].checkers.push(checker(81)),
            "down 1; down2 1; up 1",
            "2:1 3:1",
            &["1 DOWN"],
        ),
        (
            "both are",
            |s| s.real_servers[0].checkers.push(checker(81)),
            "down 1; down2 1; up 1; up2 1",
            "1:1 2:1 3:1",
            &["1 DOWN", "1 UP"],
        ),
        ("a server without checkers is alive", |s| s.real_servers[0].checkers.clear(), "", "1:1 2:1 3:1", &[]),
        (
            "with alpha and without checkers never",
            |s| (s.real_servers[0].checkers.clear(), s.real_servers[0].alpha = true).1,
            "",
            "2:1 3:1",
            &[],
        ),
        ("alpha: down until its checkers succeed", |s| alpha(&mut s.real_servers[0]), "", "2:1 3:1", &[]),
        ("alpha: then up", |s| alpha(&mut s.real_servers[0]), "up 1", "1:1 2:1 3:1", &["1 UP"]),
        ("a failure removes the destination", |_| {}, "down 2", "1:1 3:1", &["2 DOWN"]),
        (
            "inhibit_on_failure: weight 0",
            |s| s.real_servers[1].inhibit_on_failure = true,
            "down 2",
            "1:1 2:0 3:1",
            &["2 DOWN"],
        ),
        (
            "and back to its weight",
            |s| s.real_servers[1].inhibit_on_failure = true,
            "down 2; up 2",
            "1:1 2:1 3:1",
            &["2 DOWN", "2 UP"],
        ),
        ("the same report again is no news", |_| {}, "down 2; down 2", "1:1 3:1", &["2 DOWN"]),
        (
            "an operator drains: weight 0, no longer live",
            |s| s.quorum = 3,
            "drain 1",
            "1:0 2:1 3:1",
            &["Lost quorum 2 DOWN"],
        ),
        ("maintenance: out, whatever its health", |_| {}, "maint 1; up 1", "2:1 3:1", &["1 DOWN"]),
        (
            "maintenance: out even if failures only inhibit",
            |s| s.real_servers[0].inhibit_on_failure = true,
            "maint 1",
            "2:1 3:1",
            &["1 DOWN"],
        ),
        ("and back", |_| {}, "maint 1; ready 1", "1:1 2:1 3:1", &["1 DOWN", "1 UP"]),
        (
            "a server that failed while it was in maintenance stays down",
            |_| {},
            "maint 1; down 1; ready 1",
            "2:1 3:1",
            &["1 DOWN"],
        ),
        ("a failed server that is drained is still out", |_| {}, "drain 1; down 1", "2:1 3:1", &["1 DOWN"]),
    ]);
}

#[test]
fn weights() {
    check(&[
        (
            "effective weight = configured + contributions",
            |s| s.real_servers[0].weight = 5,
            "up 1 3",
            "1:8 2:1 3:1",
            &["1 5->8"],
        ),
        (
            "contributions of several checkers add up",
            |s| s.real_servers[0].checkers.push(checker(81)),
            "up 1 3; up2 1 4",
            "1:8 2:1 3:1",
            &["1 1->4", "1 4->8"],
        ),
        ("negative is 0", |_| {}, "up 1 -7", "1:0 2:1 3:1", &["1 1->0"]),
        ("large is capped", |_| {}, "up 1 9223372036854775807", "1:2147483647 2:1 3:1", &["1 1->2147483647"]),
        (
            "however often it is said, it does not grow",
            |_| {},
            "up 1 3; up 1 3; down 1; up 1 3; up 1 3",
            "1:4 2:1 3:1",
            &["1 1->4", "1 DOWN", "1 4->1", "1 UP", "1 1->4"],
        ),
        ("weight 0 is allowed", |s| s.real_servers[0].weight = 0, "", "1:0 2:1 3:1", &[]),
        (
            "a weight counts for the quorum",
            |s| s.quorum = 3,
            "up 1 -1; up 2 4",
            "1:0 2:5 3:1",
            &["1 1->0", "Lost quorum 2 DOWN", "2 1->5", "Gained quorum 6 UP"],
        ),
    ]);
}
