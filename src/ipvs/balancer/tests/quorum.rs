//! When a virtual server has its quorum, and when its sorry server serves.

use super::*;

#[test]
fn quorum() {
    check(&[
        ("up at the start: silent", |s| s.quorum = 3, "", "1:1 2:1 3:1", &[]),
        (
            "lost when the sum is below quorum",
            |s| s.quorum = 2,
            "down 1; down 2",
            "3:1",
            &["1 DOWN", "2 DOWN", "Lost quorum 1 DOWN"],
        ),
        (
            "lost when the sum is 0",
            |_| {},
            "down 1; down 2; down 3",
            "",
            &["1 DOWN", "2 DOWN", "3 DOWN", "Lost quorum 0 DOWN"],
        ),
        (
            "hysteresis: kept at quorum - hysteresis",
            |s| (s.quorum, s.hysteresis) = (2, 1),
            "down 1; down 2",
            "3:1",
            &["1 DOWN", "2 DOWN"],
        ),
        (
            "hysteresis: lost below it",
            |s| (s.quorum, s.hysteresis) = (2, 1),
            "down 1; down 2; down 3",
            "",
            &["1 DOWN", "2 DOWN", "3 DOWN", "Lost quorum 0 DOWN"],
        ),
        (
            "hysteresis: regained at quorum + hysteresis",
            |s| (s.quorum, s.hysteresis) = (2, 1),
            "down 1; down 2; down 3; up 1; up 2",
            "1:1 2:1",
            &["1 DOWN", "2 DOWN", "3 DOWN", "Lost quorum 0 DOWN", "1 UP", "2 UP"],
        ),
        (
            "hysteresis: not before",
            |s| (s.quorum, s.hysteresis) = (2, 1),
            "down 1; down 2; down 3; up 1; up 2; up 3",
            "1:1 2:1 3:1",
            &["1 DOWN", "2 DOWN", "3 DOWN", "Lost quorum 0 DOWN", "1 UP", "2 UP", "3 UP", "Gained quorum 3 UP"],
        ),
        (
            "quorum above the total weight is reduced to it",
            |s| s.quorum = 9,
            "down 1; up 1",
            "1:1 2:1 3:1",
            &[
                "Warning - quorum 9 for [192.0.2.100]:tcp:80 exceeds total weight of its real servers, reduced to 3",
                "1 DOWN",
                "Lost quorum 2 DOWN",
                "1 UP",
                "Gained quorum 3 UP",
            ],
        ),
        (
            "hysteresis is cut to quorum - 1",
            |s| (s.quorum, s.hysteresis) = (1, 9),
            "down 1; down 2; down 3; up 1",
            "1:1",
            &["1 DOWN", "2 DOWN", "3 DOWN", "Lost quorum 0 DOWN", "1 UP", "Gained quorum 1 UP"],
        ),
        (
            "with only weight-0 servers the quorum is 0 and is held",
            |s| s.real_servers.iter_mut().for_each(|r| r.weight = 0),
            "down 1; up 1",
            "1:0 2:0 3:0",
            &[
                "Warning - quorum 1 for [192.0.2.100]:tcp:80 exceeds total weight of its real servers, reduced to 0",
                "1 DOWN",
                "1 UP",
            ],
        ),
        (
            "lost: sorry server added, remaining alive servers removed",
            |s| (s.sorry_server, s.quorum) = (sorry(), 2),
            "down 1; down 2",
            "99:1",
            &["1 DOWN", "2 DOWN", "Lost quorum 1 DOWN"],
        ),
        (
            "regained: reverse",
            |s| (s.sorry_server, s.quorum) = (sorry(), 2),
            "down 1; down 2; up 1",
            "1:1 3:1",
            &["1 DOWN", "2 DOWN", "Lost quorum 1 DOWN", "1 UP", "Gained quorum 2 UP"],
        ),
        (
            "without a sorry server who is alive goes on",
            |s| s.quorum = 3,
            "down 1",
            "2:1 3:1",
            &["1 DOWN", "Lost quorum 2 DOWN"],
        ),
        (
            "sorry_server_inhibit: weight 0 while it rests",
            |s| s.sorry_server = sorry().map(|sorry| SorryServer { inhibit: true, ..sorry }),
            "",
            "1:1 2:1 3:1 99:0",
            &[],
        ),
        (
            "sorry server and inhibit_on_failure: alive ones stay at 0",
            |s| {
                s.sorry_server = sorry();
                s.quorum = 3;
                s.real_servers.iter_mut().for_each(|r| r.inhibit_on_failure = true)
            },
            "down 1",
            "1:0 2:0 3:0 99:1",
            &["1 DOWN", "Lost quorum 2 DOWN"],
        ),
        (
            "a sorry server that is also a real server serves",
            |s| {
                s.sorry_server = sorry().map(|x| SorryServer { address: real(1), ..x });
                s.quorum = 3
            },
            "down 2",
            "1:1",
            &["2 DOWN", "Lost quorum 2 DOWN"],
        ),
        (
            "a start without quorum and without sorry server is silent",
            |s| s.real_servers.iter_mut().for_each(alpha),
            "",
            "",
            &[],
        ),
        (
            "with a sorry server it is not",
            |s| {
                s.real_servers.iter_mut().for_each(alpha);
                s.sorry_server = sorry()
            },
            "",
            "99:1",
            &["Starting with quorum down 0 DOWN"],
        ),
        (
            "a start within the hysteresis has no quorum",
            |s| {
                s.quorum = 3;
                s.hysteresis = 1;
                s.sorry_server = sorry()
            },
            "",
            "99:1",
            &["Starting with quorum down 3 DOWN"],
        ),
    ]);
}
