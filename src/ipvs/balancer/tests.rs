//! What the tests of the balancer have in common: a virtual server, words for its inputs and its events, and tables of
//! sentences. The behaviour document's sentences are rows in the files beside this one.

mod health;
mod laws;
mod quorum;
mod reload;
mod services;
mod surroundings;

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
    BalancerConfig { services: BTreeMap::from([(id(), server.into())]), ..Default::default() }
}

fn sorry() -> Option<SorryServer> {
    Some(SorryServer { address: real(99), method: ForwardMethod::Nat, inhibit: false })
}

/// A balancer and the clock, told what to do in words.
struct Bench {
    balancer: Balancer,
    /// The last configuration that it was told.
    config: BalancerConfig,
    now: Instant,
    told: Vec<String>,
}

impl Bench {
    #[allow(clippy::disallowed_methods, reason = "any instant will do")]
    fn new(config: BalancerConfig) -> Self {
        let now = Instant::now();
        let balancer = Balancer::new(now, config.clone(), BTreeSet::new());
        let mut bench = Self { balancer, config, now, told: Vec::new() };
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

    /// A reload as main tells it: what changes.
    fn reload(&mut self, config: BalancerConfig) {
        let diff = BalancerDiff::between(&self.config, &config);
        self.config = config;
        self.input(Input::Reconfigure(Box::new(diff)));
    }

    /// A reload as main tells it to who has not heard of all before: everything.
    fn replace(&mut self, config: BalancerConfig) {
        let diff = self.balancer.difference_to(config.clone());
        self.config = config;
        self.input(Input::Reconfigure(Box::new(diff)));
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

fn alpha(server: &mut RealServerConfig) {
    server.alpha = true;
    server.checkers.iter_mut().for_each(|checker| checker.alpha = true);
}
