//! What a reload keeps and what it begins anew.

use super::*;

#[test]
fn init_notifies_tell_of_all_that_are_up() {
    let mut server = virtual_server(&[1, 2]);
    alpha(&mut server.real_servers[1]);
    let mut config = config(server);
    config.global.rs_init_notifies = true;
    assert_eq!(Bench::new(config).told, ["1 UP"]);
}

#[test]
fn reload() {
    let start = |numbers: &[u8]| {
        let mut server = virtual_server(numbers);
        server.real_servers.iter_mut().for_each(|real| real.checkers.push(checker(81)));
        server
    };
    /// Sentence, steps before, change, steps after, table, what is told.
    type Row = (&'static str, &'static str, Edit, &'static str, &'static str, &'static [&'static str]);
    let rows: [Row; 12] = [
        ("nothing changed: health stays", "down 1", |_| {}, "", "2:1", &["1 DOWN"]),
        ("a weight changes: edit", "down 1", |s| s.real_servers[1].weight = 7, "", "2:7", &["1 DOWN", "2 1->7"]),
        ("a new server starts up", "down 1", |s| s.real_servers.push(real_server(3)), "", "2:1 3:1", &["1 DOWN"]),
        (
            "with alpha down",
            "",
            |s| {
                s.real_servers.push(real_server(3));
                alpha(&mut s.real_servers[2])
            },
            "",
            "1:1 2:1",
            &[],
        ),
        ("a removed server goes", "", |s| drop(s.real_servers.pop()), "", "1:1", &["2 DOWN"]),
        (
            "a changed checker starts anew",
            "down 1",
            |s| s.real_servers[0].checkers[0] = checker(82),
            "",
            "1:1 2:1",
            &["1 DOWN", "1 UP"],
        ),
        (
            "a checker that moved keeps its state",
            "down 1",
            |s| s.real_servers[0].checkers.reverse(),
            "up 1",
            "2:1",
            &["1 DOWN"],
        ),
        (
            "its new place is heard",
            "down 1",
            |s| s.real_servers[0].checkers.reverse(),
            "up2 1",
            "1:1 2:1",
            &["1 DOWN", "1 UP"],
        ),
        (
            "another delay_loop is the same checker",
            "down 1",
            |s| s.real_servers[0].checkers[0].schedule.delay_loop *= 2,
            "",
            "2:1",
            &["1 DOWN"],
        ),
        (
            "what an operator said stays",
            "drain 1; maint 2",
            |s| s.scheduler = Scheduler::Wlc,
            "",
            "1:0",
            &["2 DOWN", "Lost quorum 0 DOWN"],
        ),
        (
            "the quorum is judged anew",
            "down 1",
            |s| (s.quorum, s.sorry_server) = (2, sorry()),
            "",
            "99:1",
            &["1 DOWN", "Lost quorum 1 DOWN"],
        ),
        (
            "a sorry server without quorum serves at once",
            "down 1; down 2",
            |s| s.sorry_server = sorry(),
            "",
            "99:1",
            &["1 DOWN", "2 DOWN", "Lost quorum 0 DOWN"],
        ),
    ];
    for (sentence, before, change, after, table, told) in rows {
        let mut server = start(&[1, 2]);
        let mut bench = Bench::new(config(server.clone()));
        bench.steps(before);
        change(&mut server);
        bench.reload(config(server));
        bench.steps(after);
        assert_eq!(bench.table(), table, "{sentence}");
        assert_eq!(bench.told, told, "{sentence}");
    }
}

#[test]
fn of_two_equal_checkers_each_keeps_its_own_state() {
    let mut server = virtual_server(&[1]);
    server.real_servers[0].checkers.push(checker(80));
    let mut bench = Bench::new(config(server.clone()));
    bench.step("down2 1");
    server.scheduler = Scheduler::Wlc;
    bench.reload(config(server));
    bench.step("up 1");
    assert_eq!(bench.table(), "", "the second one is still down");
    bench.step("up2 1");
    assert_eq!(bench.table(), "1:1");
}

#[test]
fn a_removed_virtual_server_says_farewell_and_a_new_one_begins() {
    let mut bench = Bench::new(config(virtual_server(&[1])));
    bench.reload(BalancerConfig::default());
    assert_eq!((bench.table().as_str(), bench.balancer.services().count()), ("gone", 0));
    assert_eq!(bench.told, ["1 DOWN", "Shutting down 1 DOWN"]);
    bench.reload(config(virtual_server(&[2])));
    assert_eq!(bench.table(), "2:1");
}

#[test]
fn a_report_of_nobody_is_nothing() {
    let mut bench = Bench::new(config(virtual_server(&[1])));
    bench.steps("down 7; down2 1; drain 9");
    assert_eq!((bench.table().as_str(), bench.told.len()), ("1:1", 0));
}
