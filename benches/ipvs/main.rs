//! `cargo bench --bench ipvs [-- --rounds N]`: how long it takes to put 1,000 virtual servers with 10 real servers each
//! into the kernel's table, and to change one weight of it.
//!
//! Shell. Runs in user-mode Linux (the packages user-mode-linux and busybox-static), where everybody takes longer than on
//! hardware; all contenders run in the same guest, in turn.
//!
//! | contender | all of it | one weight |
//! |---|---|---|
//! | `data plane` | [`Kernel::apply`] of 11,000 operations | of one |
//! | `holdfast ipvsadm` | `-R` of a file, from start to end | `-e` |
//! | `ipvsadm` | the same with Debian's | `-e` |
//! | `keepalived`, `holdfast` | start to the last real server in the table | SIGHUP to the new weight in the table |
#![allow(clippy::disallowed_methods)] // Measures real time.

#[path = "../../tests/common/uml.rs"]
mod uml;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast::ipvs::dataplane::Dataplane;
use holdfast::ipvs::kernel::Kernel;
use holdfast::ipvs::table::{Destination, Operation, ServiceSettings};
use holdfast::ipvs::types::{ForwardMethod, Protocol, Scheduler, ServiceKey, SocketKey};

const SERVICES: u16 = 1000;
const REALS: u16 = 10;
const KEEPALIVED: &str = "/usr/sbin/keepalived";
const IPVSADM: &str = "/sbin/ipvsadm";
const PATIENCE: Duration = Duration::from_secs(120);
const SETTLE: Duration = Duration::from_secs(3);
/// A look costs everybody a part of the guest's one CPU.
const LOOK_EVERY: Duration = Duration::from_millis(10);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let rounds = arguments.iter().position(|a| a == "--rounds").and_then(|at| arguments.get(at + 1)?.parse().ok());
    if arguments.iter().any(|argument| argument == "--inside") {
        return inside(rounds.unwrap_or(3));
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        return println!("benchmarks run with cargo bench");
    }
    if let Some(reason) = uml::missing() {
        return println!("skipped: {reason}");
    }
    let mut command = arguments;
    command.push("--inside".to_owned());
    let limit = Duration::from_secs(1800);
    let ended = uml::run(&uml::Job { command: &command, environment: &[], shared: &[], limit });
    print!("{}{}", ended.stdout, ended.stderr);
    if ended.code != Some(0) {
        println!("the guest ended with {:?}\n{}", ended.code, ended.console);
    }
}

fn service(n: u16) -> ServiceKey {
    let [high, low] = n.to_be_bytes();
    ServiceKey::Address { protocol: Protocol::Tcp, address: SocketKey::new([10, 1, high, low].into(), 80) }
}

fn real(n: u16) -> SocketKey {
    let [high, low] = n.to_be_bytes();
    SocketKey::new([10, 9, high, low].into(), 80)
}

fn destination(weight: u32) -> Destination {
    Destination { method: ForwardMethod::Nat, weight, ..Destination::default() }
}

fn operations() -> Vec<Operation> {
    let one = |n: u16| {
        let settings = ServiceSettings { scheduler: Scheduler::Wrr, ..ServiceSettings::default() };
        let reals = (0..REALS).map(move |to| Operation::AddDestination(service(n), real(to), destination(1)));
        std::iter::once(Operation::AddService(service(n), settings)).chain(reals)
    };
    (0..SERVICES).flat_map(one).collect()
}

/// The line that is changed: the last real server of the last service.
fn change(weight: u32) -> Operation {
    Operation::EditDestination(service(SERVICES - 1), real(REALS - 1), destination(weight))
}

fn place(key: ServiceKey) -> SocketKey {
    match key {
        ServiceKey::Address { address, .. } => address,
        ServiceKey::Fwmark { .. } => unreachable!("there are none here"),
    }
}

fn commands() -> String {
    let mut text = String::new();
    for n in 0..SERVICES {
        let vip = place(service(n));
        text += &format!("-A -t {vip} -s wrr\n");
        for to in 0..REALS {
            text += &format!("-a -t {vip} -r {} -m -w 1\n", real(to));
        }
    }
    text
}

fn configuration(last_weight: u32) -> String {
    let mut text = String::new();
    for n in 0..SERVICES {
        let vip = place(service(n));
        text += &format!("virtual_server {} {} {{\n lb_algo wrr\n lb_kind NAT\n protocol TCP\n", vip.ip, vip.port);
        for to in 0..REALS {
            let weight = if (n, to) == (SERVICES - 1, REALS - 1) { last_weight } else { 1 };
            let real = real(to);
            text += &format!(" real_server {} {} {{\n  weight {weight}\n }}\n", real.ip, real.port);
        }
        text += "}\n";
    }
    text
}

fn inside(rounds: usize) {
    let dir = Path::new("/run/bench");
    fs::create_dir_all(dir).expect("a directory");
    fs::write(dir.join("commands"), commands()).expect("room");
    // The modules load with the first use, which is nobody's figure.
    Kernel::default().apply(&operations());
    Kernel::default().flush().expect("root");
    println!(
        "{SERVICES} virtual servers with {REALS} real servers each, seconds: median (least to most) of {rounds}\n"
    );
    println!("{:<18} {:>28} {:>28}", "", "all of it", "one weight");
    let holdfast = env!("CARGO_BIN_EXE_holdfast");
    report("data plane", rounds, data_plane);
    report("holdfast ipvsadm", rounds, || ipvsadm(Command::new(holdfast).arg("ipvsadm"), dir, holdfast, &["ipvsadm"]));
    if Path::new(IPVSADM).exists() {
        report("ipvsadm", rounds, || ipvsadm(&mut Command::new(IPVSADM), dir, IPVSADM, &[]));
    }
    if Path::new(KEEPALIVED).exists() {
        report("keepalived", rounds, || daemon(KEEPALIVED, dir));
    }
    report("holdfast", rounds, || daemon(holdfast, dir));
}

fn report(name: &str, rounds: usize, mut one: impl FnMut() -> (Duration, Duration)) {
    let mut figures: (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        fresh();
        let (all, change) = one();
        figures.0.push(all.as_secs_f64());
        figures.1.push(change.as_secs_f64());
    }
    println!("{name:<18} {:>28} {:>28}", summary(figures.0), summary(figures.1));
}

/// A network namespace that has seen no virtual server yet: the kernel keeps what is removed for two minutes, and looks
/// through all of it for each real server that is added.
fn fresh() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("root");
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("iproute2").success());
    // Meanwhile the one before goes, with all that is in it.
    std::thread::sleep(SETTLE);
}

fn summary(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    let at = |n: usize| figures.get(n).copied().unwrap_or_default();
    format!("{:.3} ({:.3} to {:.3})", at(figures.len() / 2), at(0), at(figures.len() - 1))
}

fn data_plane() -> (Duration, Duration) {
    let operations = operations();
    let mut kernel = Kernel::default();
    let begin = Instant::now();
    assert_eq!(kernel.apply(&operations), []);
    let all = begin.elapsed();
    let begin = Instant::now();
    assert_eq!(kernel.apply(&[change(7)]), []);
    (all, begin.elapsed())
}

fn ipvsadm(restore: &mut Command, dir: &Path, program: &str, before: &[&str]) -> (Duration, Duration) {
    let commands = File::open(dir.join("commands")).expect("written before");
    let begin = Instant::now();
    assert!(restore.arg("-R").stdin(commands).status().expect("it starts").success());
    let all = begin.elapsed();
    let (vip, to) = (place(service(SERVICES - 1)).to_string(), real(REALS - 1).to_string());
    let begin = Instant::now();
    let status = Command::new(program).args(before).args(["-e", "-t", &vip, "-r", &to, "-m", "-w", "7"]).status();
    assert!(status.expect("it starts").success());
    (all, begin.elapsed())
}

fn daemon(program: &str, dir: &Path) -> (Duration, Duration) {
    let path = |name: &str| dir.join(name).display().to_string();
    fs::write(path("conf"), configuration(1)).expect("room");
    let mut command = Command::new(program);
    command.args(["-n", "-G", "-C", "-f", &path("conf"), "-p", &path("main"), "-c", &path("checkers")]);
    let begin = Instant::now();
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let running = Running(child);
    wait_for_weight(1);
    let all = begin.elapsed();
    fs::write(path("conf"), configuration(7)).expect("room");
    let begin = Instant::now();
    running.signal(nix::sys::signal::SIGHUP);
    wait_for_weight(7);
    (all, begin.elapsed())
}

/// Until the last real server has that weight.
fn wait_for_weight(weight: u32) {
    let mut kernel = Kernel::default();
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if let Ok((_, destinations)) = kernel.entry(&service(SERVICES - 1))
            && destinations.iter().any(|to| to.address == real(REALS - 1) && to.weight == weight)
        {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    panic!("the daemon did not come to weight {weight}");
}

struct Running(Child);

impl Running {
    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        nix::sys::signal::kill(pid, signal).expect("our child");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(nix::sys::signal::SIGTERM);
        let _ = self.0.wait();
    }
}
