//! `cargo bench --bench vrrp -- [NAME…] [--quick] [--rounds N] [--seconds N] [--plain]`: figures, no verdicts.
//!
//! Shell. Each benchmark measures Holdfast and, in the same run, the keepalived of this machine, on the network
//! namespaces of [`holdfast::lab`]. Both read the same file, with real-time scheduling and locked memory
//! (`vrrp_rt_priority`, `vrrp_no_swap`) unless `--plain` leaves these out for both. Needs root.
//!
//! | name | what |
//! |---|---|
//! | `takeover` | quiet time on the wire beyond the RFC's interval after a crash |
//! | `switchover` | what a client loses at a planned stop |
//! | `quiet_pair` | false takeovers and late adverts at 10 ms, idle and beside four busy loops |
//! | `scale` | 500 and 1,000 instances: CPU, memory, start, reload |

#![allow(clippy::disallowed_methods)] // Measures real time.

mod pair;
mod quiet_pair;
mod report;
mod scale;
mod switchover;
mod takeover;
mod usage;

use std::path::{Path, PathBuf};

use report::Table;

const NAMES: [&str; 4] = ["takeover", "switchover", "quiet_pair", "scale"];

/// What the command line asks for.
struct Options {
    names: Vec<String>,
    /// Fewer and shorter rounds, for a first look.
    quick: bool,
    /// Rounds of `takeover` and `switchover` at the shorter intervals; a tenth of them at 1 s.
    rounds: usize,
    /// Length of the windows of `quiet_pair` and `scale`.
    seconds: u64,
    /// Without real-time scheduling and locked memory.
    plain: bool,
}

impl Options {
    /// `None` when not run by `cargo bench`, for example by `cargo test --all-targets`.
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self { names: Vec::new(), quick: false, rounds: 0, seconds: 0, plain: false };
        let mut benched = false;
        while let Some(arg) = args.next() {
            let mut number = || {
                let value = args.next().and_then(|value| value.parse::<u32>().ok()).filter(|value| *value > 0);
                value.ok_or_else(|| format!("{arg} needs a number"))
            };
            match arg.as_str() {
                "--bench" => benched = true,
                "--quick" => options.quick = true,
                "--plain" => options.plain = true,
                "--rounds" => options.rounds = usize::try_from(number()?).map_err(|e| e.to_string())?,
                "--seconds" => options.seconds = u64::from(number()?),
                name if NAMES.contains(&name) => options.names.push(arg),
                _ => return Err(format!("{arg}: not one of {}", NAMES.join(", "))),
            }
        }
        if options.names.is_empty() {
            options.names.extend(NAMES.map(str::to_owned));
        }
        let (rounds, seconds) = if options.quick { (20, 15) } else { (100, 60) };
        options.rounds = if options.rounds == 0 { rounds } else { options.rounds };
        options.seconds = if options.seconds == 0 { seconds } else { options.seconds };
        Ok(benched.then_some(options))
    }
}

/// A daemon to be measured, and its column.
#[derive(Debug, Clone)]
pub struct Contender {
    name: &'static str,
    /// `None`: not installed.
    program: Option<PathBuf>,
}

fn contenders() -> [Contender; 2] {
    let keepalived = ["/usr/sbin/keepalived", "/usr/local/sbin/keepalived", "/sbin/keepalived"];
    let keepalived = keepalived.iter().map(Path::new).find(|path| path.exists());
    [
        Contender { name: "holdfast", program: Some(env!("CARGO_BIN_EXE_holdfast").into()) },
        Contender { name: "keepalived", program: keepalived.map(Path::to_owned) },
    ]
}

fn main() {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => return println!("benchmarks run with cargo bench"),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(2);
        }
    };
    if !nix::unistd::geteuid().is_root() {
        return println!("skipped: the benchmarks need root for network namespaces");
    }
    let contenders = contenders();
    let table = Table::begin();
    for name in &options.names {
        match name.as_str() {
            "takeover" => takeover::run(&options, &contenders, &table),
            "switchover" => switchover::run(&options, &contenders, &table),
            "quiet_pair" => quiet_pair::run(&options, &contenders, &table),
            _ => scale::run(&options, &contenders, &table),
        }
    }
}
