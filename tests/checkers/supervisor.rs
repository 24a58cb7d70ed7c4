//! The supervisor with real sockets: what it reports, and what it asks of main.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use holdfast::checkers::config::{CheckerConfig, MiscProbe, Probe, UrlConfig};
use holdfast::checkers::report::{CheckReport, CheckerId, Ended, ExecOutcome, ExecRequest, Health};
use holdfast::checkers::supervisor::Supervisor;
use holdfast::command::Command;
use holdfast::ipvs::config::{SslConfig, VirtualServerId};
use holdfast::ipvs::types::{Protocol, SocketKey};
use tokio::sync::mpsc;

use crate::ask::{PATIENT, SHORT, checker, http, target};
use crate::server::{closed_port, read_request, serve, silent};

fn id(number: u16) -> CheckerId {
    let address = SocketKey::new([10, 0, 0, 1].into(), number);
    CheckerId {
        virtual_server: VirtualServerId::Address { address, protocol: Protocol::Tcp },
        real_server: address,
        index: 0,
    }
}

/// The supervisor, driven as the balancer process drives it.
struct Driver {
    supervisor: Supervisor,
    reports: mpsc::Receiver<CheckReport>,
    requests: mpsc::Receiver<ExecRequest>,
}

impl Driver {
    fn new(room: usize, checkers: impl IntoIterator<Item = (u16, CheckerConfig)>) -> Self {
        let (report, reports) = mpsc::channel(room);
        let (exec, requests) = mpsc::channel(room);
        let mut driver = Self { supervisor: Supervisor::new(report, exec, SslConfig::default()), reports, requests };
        driver.set(checkers);
        driver
    }

    fn set(&mut self, checkers: impl IntoIterator<Item = (u16, CheckerConfig)>) {
        self.supervisor
            .set_checkers(checkers.into_iter().map(|(number, config)| (id(number), Arc::new(config))).collect());
    }

    /// Runs until the next report.
    async fn report(&mut self) -> (u16, Health) {
        let next = async {
            tokio::select! {
                never = self.supervisor.run() => match never {},
                report = self.reports.recv() => report.expect("the supervisor lives"),
            }
        };
        let report = tokio::time::timeout(PATIENT, next).await.expect("a report");
        (report.checker.real_server.port, report.health)
    }

    /// Runs until the next request to main.
    async fn request(&mut self) -> ExecRequest {
        let next = async {
            tokio::select! {
                never = self.supervisor.run() => match never {},
                request = self.requests.recv() => request.expect("the supervisor lives"),
            }
        };
        tokio::time::timeout(PATIENT, next).await.expect("a request")
    }

    async fn run_until(&mut self, condition: impl Fn(&Supervisor) -> bool) {
        let wait = async {
            while !condition(&self.supervisor) {
                let turn = tokio::time::timeout(Duration::from_millis(10), self.supervisor.run());
                let _ = turn.await;
            }
        };
        tokio::time::timeout(PATIENT, wait).await.expect("it comes about");
    }
}

fn block_on<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(story)
}

fn down(reason: &str) -> Health {
    Health::Down { reason: reason.to_owned() }
}

const UP: Health = Health::Up { weight: 0 };

/// A server whose health is a switch.
fn switched() -> (SocketAddr, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let (healthy, asked) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (state, count) = (Arc::clone(&healthy), Arc::clone(&asked));
    let address = serve(move |mut stream| {
        read_request(&mut stream)?;
        count.fetch_add(1, Ordering::Relaxed);
        let status = if state.load(Ordering::Relaxed) { "200" } else { "503" };
        stream.write_all(format!("HTTP/1.0 {status} X\r\n\r\n").as_bytes())
    });
    (address, healthy, asked)
}

#[test]
fn a_server_falls_ill_and_recovers() {
    let (address, healthy, _) = switched();
    let page = Probe::Http(Box::new(http(address, UrlConfig::new("/health"))));
    block_on(async {
        let mut driver = Driver::new(8, [(1, checker(page))]);
        driver.run_until(|supervisor| supervisor.statuses()[&id(1)].probes > 1).await;
        healthy.store(false, Ordering::Relaxed);
        assert_eq!(driver.report().await, (1, down(&format!("status 503 of http://{address}/health"))));
        let status = driver.supervisor.statuses().remove(&id(1)).expect("a status");
        assert!(status.failures >= 2, "one was tried again: {status:?}");
        healthy.store(true, Ordering::Relaxed);
        assert_eq!(driver.report().await, (1, UP));
    });
}

#[test]
fn equal_checkers_ask_once() {
    let (address, _, asked) = switched();
    let page = || checker(Probe::Http(Box::new(http(address, UrlConfig::new("/")))));
    block_on(async {
        let mut driver = Driver::new(8, (1..=50).map(|number| (number, page())));
        driver.run_until(|supervisor| supervisor.statuses().values().all(|status| status.probes >= 3)).await;
        let probes = driver.supervisor.statuses()[&id(1)].probes;
        let asked = asked.load(Ordering::Relaxed) as u64;
        // One more may be on its way.
        assert!(asked == probes || asked == probes + 1, "{asked} requests, {probes} probes");
    });
}

/// A queue with room for one: every checker's report comes all the same, and the latest is what counts.
#[test]
fn reports_wait_for_room() {
    let closed: Vec<_> = (0..20).map(|_| closed_port()).collect();
    block_on(async {
        let checkers = closed.iter().zip(1..).map(|(address, n)| (n, checker(Probe::Tcp(target(*address)))));
        let mut driver = Driver::new(1, checkers);
        driver.run_until(|supervisor| supervisor.statuses().values().all(|status| status.failures > 0)).await;
        let mut told = BTreeMap::new();
        while told.len() < 20 {
            let (number, health) = driver.report().await;
            assert!(told.insert(number, health).is_none(), "{number} twice");
        }
        for (number, health) in told {
            assert_eq!(health, down(&format!("connection refused by {}", closed[usize::from(number) - 1])));
        }
    });
}

/// Servers that take a connection and say nothing hold up nobody but themselves.
#[test]
fn silent_servers_do_not_delay_the_others() {
    let (good, _, _) = switched();
    let mute = silent();
    block_on(async {
        let page = |address, number: u16, limit| {
            // Each asks for another page, so that none shares its probes.
            let mut probe = http(address, UrlConfig::new(&format!("/{number}")));
            probe.target.connect_timeout = limit;
            (number, checker(Probe::Http(Box::new(probe))))
        };
        let checkers = (1..=300).map(|number| page(mute, number, SHORT)).chain([page(good, 1000, PATIENT)]);
        let mut driver = Driver::new(512, checkers);
        driver
            .run_until(|supervisor| {
                let statuses = supervisor.statuses();
                statuses[&id(1000)].probes >= 3 && statuses.values().all(|status| status.probes > 0)
            })
            .await;
        let statuses = driver.supervisor.statuses();
        assert_eq!(statuses[&id(1000)].failures, 0);
        assert_eq!(statuses.values().filter(|status| status.health != UP).count(), 300);
        assert_eq!(statuses.values().map(|status| status.inconclusive).sum::<u64>(), 0);
    });
}

#[test]
fn main_runs_the_commands() {
    let misc = |text: &str| {
        let command = Command::parse(text, None).expect("a command");
        let probe = MiscProbe { command, timeout: Duration::from_secs(3), dynamic: true, real_weight: 10 };
        checker(Probe::Misc(Box::new(probe)))
    };
    block_on(async {
        let mut driver = Driver::new(8, [(1, misc("/bin/check a"))]);
        let request = driver.request().await;
        assert_eq!((request.command.text.as_str(), request.timeout), ("/bin/check a", Duration::from_secs(3)));
        driver.supervisor.exec_done(ExecOutcome { id: request.id, ended: Ended::Exited(42) });
        assert_eq!(driver.report().await, (1, Health::Up { weight: 30 }));
        // What was not run says nothing, and what nobody asked for is ignored.
        let request = driver.request().await;
        driver.supervisor.exec_done(ExecOutcome { id: request.id + 77, ended: Ended::Exited(1) });
        driver.supervisor.exec_done(ExecOutcome { id: request.id, ended: Ended::NotRun("no such user".to_owned()) });
        driver.run_until(|supervisor| supervisor.statuses()[&id(1)].inconclusive == 1).await;
        for _ in 0..2 {
            let request = driver.request().await;
            driver.supervisor.exec_done(ExecOutcome { id: request.id, ended: Ended::TimedOut });
        }
        assert_eq!(driver.report().await, (1, down("still running after 3s")));
    });
}

#[test]
fn reloads_and_pauses_while_probes_run() {
    let (address, _, _) = switched();
    let closed = closed_port();
    let good = || checker(Probe::Http(Box::new(http(address, UrlConfig::new("/")))));
    let bad = || checker(Probe::Tcp(target(closed)));
    block_on(async {
        let mut driver = Driver::new(8, [(1, good()), (2, bad())]);
        assert_eq!(driver.report().await, (2, down(&format!("connection refused by {closed}"))));
        let before = driver.supervisor.statuses()[&id(2)].probes;
        for _ in 0..50 {
            driver.set([(1, good()), (2, bad())]);
            let _ = tokio::time::timeout(Duration::from_millis(5), driver.supervisor.run()).await;
        }
        driver.run_until(|supervisor| supervisor.statuses()[&id(2)].probes > before).await;
        assert!(driver.reports.try_recv().is_err(), "a reload of nothing is not news");
        driver.supervisor.set_paused(&id(2).virtual_server, true);
        let (one, two) = (driver.supervisor.statuses()[&id(1)].probes, driver.supervisor.statuses()[&id(2)].probes);
        driver.run_until(|supervisor| supervisor.statuses()[&id(1)].probes > one + 2).await;
        // What ran already may have ended.
        let after = driver.supervisor.statuses()[&id(2)].probes;
        assert!(after <= two + 1, "paused: {two} probes, then {after}");
        // Another question takes its place: assumed up, as at the start.
        driver.supervisor.set_paused(&id(2).virtual_server, false);
        driver.set([(2, good())]);
        assert_eq!(driver.report().await, (2, UP));
    });
}
