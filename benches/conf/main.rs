//! `cargo bench --bench conf [-- --quick]`: reading large configurations, beside keepalived. Figures, no verdicts.
//!
//! Shell. Each file is tested by both (`-t`), each time in a process of its own, and time and memory are what the system
//! says of that process. Then, in this process, what a reload has to find out: nothing changed, and one line changed.
//!
//! | file | what |
//! |---|---|
//! | `instances` | 1,000 and 10,000 virtual routers |
//! | `servers` | 10,000 virtual servers with 2, 10 and 100 real servers |

mod files;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use holdfast::conf::{self, LoadOptions};
use holdfast::vrrp::config::ConfigDiff;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// One run of a program.
#[derive(Debug, Clone, Copy)]
struct Usage {
    /// CPU time.
    cpu: Duration,
    /// Largest memory, in KiB.
    memory: i64,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some((flag, command)) = args.split_first()
        && flag == "--measure"
    {
        return measure(command);
    }
    if !args.iter().any(|arg| arg == "--bench") {
        println!("benchmarks run with cargo bench");
        return ExitCode::SUCCESS;
    }
    let quick = args.iter().any(|arg| arg == "--quick");
    let folder = tempfile::tempdir().expect("a temporary folder");
    println!("{:<44}  {:>22}  {:>22}", "reading a file (CPU time, memory)", "holdfast", "keepalived");
    let mut files = vec![
        ("1,000 instances", files::instances(1_000)),
        ("10,000 virtual servers x 2", files::virtual_servers(10_000, 2)),
        ("10,000 virtual servers x 10", files::virtual_servers(10_000, 10)),
    ];
    if !quick {
        files.push(("10,000 instances", files::instances(10_000)));
        files.push(("100,000 virtual servers x 2", files::virtual_servers(100_000, 2)));
    }
    let rounds = if quick { 3 } else { 9 };
    for (index, (what, text)) in files.iter().enumerate() {
        let path = folder.path().join(format!("{index}.conf"));
        std::fs::write(&path, text).expect("a writable folder");
        let ours = best(rounds, Path::new(env!("CARGO_BIN_EXE_holdfast")), &path);
        // keepalived's time grows with the square of the instances.
        let theirs = keepalived().and_then(|program| best(if quick { 1 } else { 3 }, &program, &path));
        println!("{what:<44}  {:>22}  {:>22}", show(ours), show(theirs));
    }
    println!("\n{:<44}  {:>22}  {:>22}", "what a reload changes (CPU time)", "nothing", "one line");
    for (what, text) in &files {
        reload(what, text, rounds);
    }
    ExitCode::SUCCESS
}

fn show(usage: Option<Usage>) -> String {
    usage.map_or("-".to_owned(), |usage| {
        let ms = usage.cpu.as_secs_f64() * 1e3;
        format!("{ms:.0} ms {:>5} MiB", usage.memory / 1024)
    })
}

fn keepalived() -> Option<PathBuf> {
    ["/usr/sbin/keepalived", "/usr/local/sbin/keepalived"].iter().map(PathBuf::from).find(|path| path.exists())
}

/// The cheapest of some runs: the others shared the CPU with somebody.
fn best(rounds: usize, program: &Path, file: &Path) -> Option<Usage> {
    let own = std::env::current_exe().ok()?;
    let runs = (0..rounds).filter_map(|_| {
        let output = Command::new(&own)
            .arg("--measure")
            .arg(program)
            .args(["-t", "-f"])
            .arg(file)
            .stderr(Stdio::null())
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let mut numbers = text.split_ascii_whitespace().map(str::parse::<i64>);
        let cpu = Duration::from_micros(u64::try_from(numbers.next()?.ok()?).ok()?);
        Some(Usage { cpu, memory: numbers.next()?.ok()? })
    });
    runs.min_by_key(|usage| usage.cpu)
}

/// Runs one command as the only child of this process, so that the system's account of children is that of it alone.
fn measure(command: &[String]) -> ExitCode {
    let Some((program, args)) = command.split_first() else { return ExitCode::FAILURE };
    let status = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let (Ok(_), Ok(usage)) = (status, getrusage(UsageWho::RUSAGE_CHILDREN)) else { return ExitCode::FAILURE };
    let cpu = usage.user_time() + usage.system_time();
    println!("{} {}", cpu.num_microseconds(), usage.max_rss());
    ExitCode::SUCCESS
}

/// CPU time of this process so far.
fn own_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the system's account of this process");
    let cpu = usage.user_time() + usage.system_time();
    Duration::from_micros(u64::try_from(cpu.num_microseconds()).unwrap_or_default())
}

/// From the new text to the difference, which is what stands between SIGHUP and the new configuration.
fn reload(what: &str, text: &str, rounds: usize) {
    let load = |text: &str| {
        let loaded = conf::load_text(Path::new("keepalived.conf"), text.as_bytes(), &LoadOptions::default());
        loaded.config.expect("nothing is fatal in it")
    };
    let old = load(text);
    let changed = text.replacen("192.0.2.7", "192.0.2.8", 1);
    assert_ne!(text, changed);
    let time = |text: &str, differs: bool| {
        let one = || {
            let start = own_time();
            let new = load(text);
            let vrrp = ConfigDiff::between(&old.vrrp, &new.vrrp).is_empty();
            let balancer = old.balancer == new.balancer;
            let took = own_time().saturating_sub(start);
            assert_eq!(!(vrrp && balancer), differs);
            took
        };
        (0..rounds).map(|_| one()).min().unwrap_or_default()
    };
    let (none, one) = (time(text, false), time(&changed, true));
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    println!("{what:<44}  {:>22}  {:>22}", ms(none), ms(one));
}
