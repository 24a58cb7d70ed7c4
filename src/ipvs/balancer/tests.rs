//! The behaviour document's sentences on health, weights, quorum and reload, a row each.

mod laws;
mod services;

use std::time::Duration;

use super::*;
use crate::checkers::config::{Probe, Schedule, Target};
use crate::ipvs::config::{GroupConfig, GroupEntry, PanicAction, RealServerConfig, SorryServer};
use crate::ipvs::types::{ForwardMethod, Protocol, Scheduler};

/// The virtual server of most tests: 192.0.2.100:80.
pub(crate) fn id() -> VirtualServerId {
    VirtualServerId::Address { address: SocketKey::new([192, 0, 2, 100].into(), 80), protocol: Protocol::Tcp }
}

pub(crate) fn key() -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address: SocketKey::new([192, 0, 2, 100].into(), 80) }
}

pub(crate) fn real(n: u8) -> SocketKey {
    SocketKey::new([192, 0, 2, n].into(), 80)
}

pub(crate) fn checker(port: u16) -> CheckerConfig {
    let target = Target::new(SocketKey::new([192, 0, 2, 1].into(), port), Duration::from_secs(5));
    let second = Duration::from_secs(1);
    let schedule = Schedule {
        delay_loop: second,
        retry: 1,
        delay_before_retry: second,
        warmup: second,
        rise: 1,
        max_latency: None,
    };
    CheckerConfig { schedule, alpha: false, log_all_failures: false, probe: Probe::Tcp(target) }
}

/// 192.0.2.n:80, weight 1, one checker.
pub(crate) fn real_server(n: u8) -> RealServerConfig {
    RealServerConfig::new(real(n), vec![checker(80)])
}

pub(crate) fn virtual_server(numbers: &[u8]) -> VirtualServerConfig {
    VirtualServerConfig::new(numbers.iter().map(|n| real_server(*n)).collect())
}

pub(crate) fn config(server: VirtualServerConfig) -> BalancerConfig {
    BalancerConfig { services: BTreeMap::from([(id(), server)]), ..Default::default() }
}

fn sorry() -> Option<SorryServer> {
    Some(SorryServer { address: real(99), method: ForwardMethod::Nat, inhibit: false })
}

/// A balancer and the clock, told what to do in words.
struct Bench {
    balancer: Balancer,
    now: Instant,
    told: Vec<String>,
}

impl Bench {
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn new(config: BalancerConfig) -> Self {
        let now = Instant::now();
        let mut bench = Self { balancer: Balancer::new(now, config, BTreeSet::new()), now, told: Vec::new() };
        bench.drain();
        bench
    }

    fn drain(&mut self) {
        while let Some(effect) = self.balancer.poll_effect() {
            match effect {
                Effect::Apply => {}
                Effect::PauseChecks { paused, .. } => self.told.push(if paused { "pause" } else { "go on" }.to_owned()),
                Effect::Emit(event) => self.told.extend(words(&event)),
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.balancer.handle_input(self.now, input);
        self.drain();
    }

    /// `up N [WEIGHT]`, `down N [CHECKER]`, `drain N`, `maint N`, `ready N`, `master`, `backup`, `here`, `away`,
    /// `wait SECONDS`, `stop`.
    fn step(&mut self, step: &str) {
        let words: Vec<&str> = step.split_whitespace().collect();
        let number = |at: usize| words.get(at).map(|word| word.parse::<i64>().expect("a number"));
        let address = || real(u8::try_from(number(1).expect("a number")).expect("small"));
        let report = |index, health| {
            let checker = CheckerId { virtual_server: id(), real_server: address(), index };
            Input::Check(CheckReport { checker, health })
        };
        let admin = |state| Input::Admin { virtual_server: id(), real_server: address(), state };
        let input = match words[0] {
            "up" => report(0, Health::Up { weight: number(2).unwrap_or(0) }),
            "up2" => report(1, Health::Up { weight: number(2).unwrap_or(0) }),
            "down" => report(0, Health::Down { reason: "refused".to_owned() }),
            "down2" => report(1, Health::Down { reason: "refused".to_owned() }),
            "drain" => admin(AdminState::Drain),
            "maint" => admin(AdminState::Maint),
            "ready" => admin(AdminState::Up),
            "master" => Input::Instance { name: "VI".to_owned(), master: true },
            "backup" => Input::Instance { name: "VI".to_owned(), master: false },
            "here" => Input::Addresses(BTreeSet::from([[192, 0, 2, 100].into()])),
            "away" => Input::Addresses(BTreeSet::new()),
            "stop" => Input::Stop,
            "wait" => {
                self.now += Duration::from_secs(number(1).expect("seconds").unsigned_abs());
                self.balancer.handle_timeout(self.now);
                return self.drain();
            }
            other => panic!("{other}"),
        };
        self.input(input);
    }

    fn steps(&mut self, steps: &str) {
        steps.split(';').map(str::trim).filter(|step| !step.is_empty()).for_each(|step| self.step(step));
    }

    /// `1:1 2:0`: real servers of the first service with their weights; `gone` without the service.
    fn table(&self) -> String {
        let Some(service) = self.balancer.desired().services.get(&key()) else { return "gone".to_owned() };
        let name = |at: &SocketKey| at.ip.to_string().rsplit('.').next().expect("a number").to_owned();
        let list: Vec<_> = service.destinations.iter().map(|(at, d)| format!("{}:{}", name(at), d.weight)).collect();
        list.join(" ")
    }
}

/// The events that people hear of, short.
fn words(event: &Event) -> Option<String> {
    let last = |real: &crate::ipvs::event::RealServerName| real.address.ip.to_string().replace("192.0.2.", "");
    Some(match event {
        Event::RealServer { real_server, up, .. } => {
            format!("{} {}", last(real_server), if *up { "UP" } else { "DOWN" })
        }
        Event::Quorum { up, phrase, weight, .. } => format!("{phrase} {weight} {}", if *up { "UP" } else { "DOWN" }),
        Event::Weight { real_server, from, to, .. } => format!("{} {from}->{to}", last(real_server)),
        Event::Panic { begins, alive, of, .. } => format!("panic {begins} {alive}/{of}"),
        Event::Active { active, .. } => format!("active {active}"),
        Event::Warning { message, .. } | Event::Note { message } => message.clone(),
        Event::Checker { .. } | Event::SorryServer { .. } | Event::Admin { .. } | Event::Checks { .. } => return None,
    })
}

type Edit = fn(&mut VirtualServerConfig);

/// Sentence, configuration (three real servers of weight 1, quorum 1), steps, table, what is told.
type Row = (&'static str, Edit, &'static str, &'static str, &'static [&'static str]);

fn check(rows: &[Row]) {
    for (sentence, edit, steps, table, told) in rows {
        let mut server = virtual_server(&[1, 2, 3]);
        edit(&mut server);
        let mut bench = Bench::new(config(server));
        bench.steps(steps);
        assert_eq!(bench.table(), *table, "{sentence}: {steps}");
        assert_eq!(bench.told, *told, "{sentence}: {steps}");
    }
}

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

fn alpha(server: &mut RealServerConfig) {
    server.alpha = true;
    server.checkers.iter_mut().for_each(|checker| checker.alpha = true);
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
        bench.input(Input::Reconfigure(Box::new(config(server))));
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
    bench.input(Input::Reconfigure(Box::new(config(server))));
    bench.step("up 1");
    assert_eq!(bench.table(), "", "the second one is still down");
    bench.step("up2 1");
    assert_eq!(bench.table(), "1:1");
}

#[test]
fn a_removed_virtual_server_says_farewell_and_a_new_one_begins() {
    let mut bench = Bench::new(config(virtual_server(&[1])));
    bench.input(Input::Reconfigure(Box::default()));
    assert_eq!((bench.table().as_str(), bench.balancer.services().count()), ("gone", 0));
    assert_eq!(bench.told, ["1 DOWN", "Shutting down 1 DOWN"]);
    bench.input(Input::Reconfigure(Box::new(config(virtual_server(&[2])))));
    assert_eq!(bench.table(), "2:1");
}

#[test]
fn a_report_of_nobody_is_nothing() {
    let mut bench = Bench::new(config(virtual_server(&[1])));
    bench.steps("down 7; down2 1; drain 9");
    assert_eq!((bench.table().as_str(), bench.told.len()), ("1:1", 0));
}
