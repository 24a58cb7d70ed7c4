//! `ha_suspend`, instances, the end, slow starts, and what is made of it when nearly all real servers seem dead.

use super::*;

#[test]
fn surroundings_and_stop() {
    check(&[
        (
            "ha_suspend: checks rest while the address is not here",
            |s| s.ha_suspend = true,
            "away",
            "1:1 2:1 3:1",
            &["pause"],
        ),
        ("ha_suspend: and go on when it is", |s| s.ha_suspend = true, "away; here", "1:1 2:1 3:1", &["pause", "go on"]),
        ("without ha_suspend they never rest", |_| {}, "away", "1:1 2:1 3:1", &[]),
        (
            "active with an instance: not before it is master",
            |s| s.active_with = Some("VI".to_owned()),
            "",
            "gone",
            &[],
        ),
        (
            "active with an instance: while it is",
            |s| s.active_with = Some("VI".to_owned()),
            "master",
            "1:1 2:1 3:1",
            &["active true"],
        ),
        (
            "active with an instance: no longer",
            |s| s.active_with = Some("VI".to_owned()),
            "master; backup",
            "gone",
            &["active true", "active false"],
        ),
        (
            "meanwhile health and quorum are known",
            |s| s.active_with = Some("VI".to_owned()),
            "down 1; master",
            "2:1 3:1",
            &["1 DOWN", "active true"],
        ),
        (
            "omega: down notifies at stop",
            |s| s.omega = true,
            "down 1; stop",
            "gone",
            &["1 DOWN", "2 DOWN", "3 DOWN", "Shutting down 2 DOWN"],
        ),
        (
            "omega: of what was up",
            |s| s.omega = true,
            "down 1; down 2; down 3; stop",
            "gone",
            &["1 DOWN", "2 DOWN", "3 DOWN", "Lost quorum 0 DOWN"],
        ),
        ("without omega silence", |_| {}, "stop", "gone", &[]),
    ]);
}

#[test]
fn slow_start_climbs_in_ten_steps() {
    fn slow(server: &mut VirtualServerConfig) {
        server.slow_start = Duration::from_secs(100);
        server.real_servers[0].weight = 50;
    }
    let down_up = &["1 DOWN", "1 UP"][..];
    check(&[
        ("not at the start", slow, "", "1:50 2:1 3:1", &[]),
        ("from a tenth", slow, "down 1; up 1", "1:5 2:1 3:1", down_up),
        ("with time", slow, "down 1; up 1; wait 45", "1:20 2:1 3:1", down_up),
        ("to the weight", slow, "down 1; up 1; wait 100", "1:50 2:1 3:1", down_up),
        ("never 0", slow, "down 2; up 2", "1:50 2:1 3:1", &["2 DOWN", "2 UP"]),
        (
            "anew after each failure",
            slow,
            "down 1; up 1; wait 90; down 1; up 1",
            "1:5 2:1 3:1",
            &["1 DOWN", "1 UP", "1 DOWN", "1 UP"],
        ),
        ("after a drain too", slow, "drain 1; ready 1; wait 25", "1:10 2:1 3:1", &[]),
        (
            "a weight in between",
            slow,
            "down 1; up 1; wait 45; up 1 50",
            "1:40 2:1 3:1",
            &["1 DOWN", "1 UP", "1 50->100"],
        ),
        (
            "the quorum counts the whole weight",
            |s| {
                slow(s);
                s.quorum = 52
            },
            "down 1; up 1",
            "1:5 2:1 3:1",
            &["1 DOWN", "Lost quorum 2 DOWN", "1 UP", "Gained quorum 52 UP"],
        ),
    ]);
    let mut server = virtual_server(&[1, 2]);
    slow(&mut server);
    let mut bench = Bench::new(config(server));
    assert_eq!(bench.balancer.poll_timeout(bench.now), None);
    bench.steps("down 1; up 1");
    let mut steps = 0;
    while let Some(at) = bench.balancer.poll_timeout(bench.now) {
        assert!(at > bench.now);
        bench.now = at;
        bench.balancer.handle_timeout(at);
        bench.drain();
        steps += 1;
    }
    assert_eq!((steps, bench.table().as_str()), (10, "1:50 2:1"));
}

#[test]
fn panic_threshold() {
    fn half(server: &mut VirtualServerConfig) {
        server.panic_threshold = 50;
    }
    check(&[
        ("above it failures count", half, "down 1", "2:1 3:1", &["1 DOWN"]),
        (
            "below it the last good set stays",
            half,
            "down 1; down 2",
            "2:1 3:1",
            &["1 DOWN", "2 DOWN", "panic true 1/3"],
        ),
        ("to the last", half, "down 1; down 2; down 3", "2:1 3:1", &["1 DOWN", "2 DOWN", "panic true 1/3", "3 DOWN"]),
        (
            "until enough are seen again",
            half,
            "down 1; down 2; down 3; up 1; up 2",
            "1:1 2:1",
            &["1 DOWN", "2 DOWN", "panic true 1/3", "3 DOWN", "1 UP", "2 UP", "panic false 2/3"],
        ),
        (
            "or all serve",
            |s| {
                half(s);
                s.panic_action = PanicAction::SendToAll
            },
            "down 1; down 2; down 3",
            "1:1 2:1 3:1",
            &["1 DOWN", "2 DOWN", "panic true 1/3", "3 DOWN"],
        ),
        (
            "but who is in maintenance",
            |s| {
                half(s);
                s.panic_action = PanicAction::SendToAll
            },
            "maint 1; down 2; down 3",
            "2:1 3:1",
            &["1 DOWN", "2 DOWN", "3 DOWN", "panic true 0/2"],
        ),
        (
            "who never saw them alive does not doubt",
            |s| {
                half(s);
                s.real_servers.iter_mut().for_each(alpha)
            },
            "up 1",
            "1:1",
            &["1 UP", "Gained quorum 1 UP"],
        ),
    ]);
}
