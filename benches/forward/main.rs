//! `cargo bench --bench forward -- [NAME…] [--quick] [--rounds N]`: figures of the userspace forwarder beside HAProxy and
//! nginx, no verdicts.
//!
//! Shell. Client, proxies and server are in three network namespaces joined by two cables. All proxies run at the same
//! time, each with two threads, and each round asks them in another order. A figure is the CPU time that the proxy's
//! process spent, as the scheduler counts it; a ratio is the median of the ratios within rounds. Needs root; a proxy
//! that is not installed has no column.
//!
//! | name | what |
//! |---|---|
//! | `short` | connect, 100 bytes, 200 bytes back, the server closes; 32 at a time |
//! | `requests` | the same bytes over 64 connections that stay |
//! | `bulk` | two streams of iperf3 |
//! | `udp` | 32 flows with 8 datagrams of 100 bytes in flight each |
//! | `idle` | user memory of a connection that does nothing |
//! | `latency` | one connection at a time: what the proxy adds |
//! | `reload` | thousands of virtual servers: start and reload of the whole daemon, Holdfast alone |

#![allow(clippy::disallowed_methods)] // Measures real time.

mod load;
mod place;
mod proxies;
mod reload;
#[allow(dead_code)] // Shared with the other benchmark, which uses all of it.
#[path = "../vrrp/report.rs"]
mod report;
#[allow(dead_code)] // Shared with the other benchmark, which uses all of it.
#[path = "../vrrp/usage.rs"]
mod usage;

use std::collections::BTreeMap;
use std::time::Duration;

use place::Place;
use proxies::{Contender, Running};
use report::{Dice, progress};

const RELOAD: &str = "reload";
const NAMES: [&str; 7] = ["short", "requests", "bulk", "udp", "idle", "latency", RELOAD];

struct Options {
    names: Vec<String>,
    rounds: usize,
    /// Smaller loads, for a first look.
    quick: bool,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self { names: Vec::new(), rounds: 0, quick: false };
        let mut benched = false;
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--bench" => benched = true,
                "--quick" => options.quick = true,
                "--rounds" => {
                    let value = args.next().and_then(|value| value.parse().ok()).filter(|value| *value > 0);
                    options.rounds = value.ok_or("--rounds needs a number")?;
                }
                name if NAMES.contains(&name) => options.names.push(arg),
                _ => return Err(format!("{arg}: not one of {}", NAMES.join(", "))),
            }
        }
        if options.names.is_empty() {
            options.names.extend(NAMES.map(str::to_owned));
        }
        if options.rounds == 0 {
            options.rounds = if options.quick { 5 } else { 9 };
        }
        Ok(benched.then_some(options))
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == proxies::SERVE) {
        return proxies::serve();
    }
    let options = match Options::parse(args.into_iter()) {
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
    let (reload, names): (Vec<String>, Vec<String>) = options.names.iter().cloned().partition(|name| name == RELOAD);
    if !names.is_empty() {
        compare(&names, &options);
    }
    if !reload.is_empty() {
        reload::run(options.quick);
    }
}

/// Everything that is measured beside the other proxies.
fn compare(names: &[String], options: &Options) {
    let place = Place::new().expect("namespaces and cables can be made");
    let _iperf3 = load::start_servers(&place).expect("iperf3 is installed");
    let running: Vec<Running> = Contender::all().into_iter().filter_map(|contender| contender.start(&place)).collect();
    println!("{:<30} {:<12} {:>10} {:>22} {:>9}", "what", "who", "median", "range", "holdfast");
    println!("{}", "-".repeat(88));
    for name in names {
        measure(name, options, &place, &running);
    }
}

/// One benchmark: rounds, each with all proxies in another order.
fn measure(name: &str, options: &Options, place: &Place, running: &[Running]) {
    let mut dice = Dice::new();
    let takes_part = |running: &&Running| name != "udp" || running.contender.udp();
    let mut figures: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let mut tails: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let rounds = if name == "idle" { 1 } else { options.rounds };
    for round in 0..rounds {
        progress(&format!("{name}: round {} of {rounds}", round + 1));
        let mut order: Vec<&Running> = running.iter().filter(takes_part).collect();
        for at in (1..order.len()).rev() {
            let other = usize::try_from(dice.below(at as u64 + 1)).unwrap_or(0);
            order.swap(at, other);
        }
        if name == "latency" {
            let (p50, p99) = load::latency(place, load::SERVER, load::SHORT, options.quick);
            figures.entry("direct").or_default().push(p50);
            tails.entry("direct").or_default().push(p99);
        }
        for proxy in order {
            let who = proxy.contender.name();
            let port = |service: u16| proxy.contender.port(service);
            let vip = place::VIP;
            let before = proxy.cpu();
            progress(&format!("  {who}"));
            let figure = match name {
                "short" => {
                    let count = load::short(place, vip, port(load::SHORT), options.quick);
                    micros(proxy.cpu() - before) / count
                }
                "requests" => {
                    let count = load::requests(place, vip, port(load::REQUESTS), options.quick);
                    micros(proxy.cpu() - before) / count
                }
                "bulk" => {
                    let gigabytes = load::bulk(place, vip, port(load::BULK), options.quick);
                    (proxy.cpu() - before).as_secs_f64() / gigabytes
                }
                "udp" => {
                    let count = load::udp(place, vip, port(load::UDP), options.quick);
                    micros(proxy.cpu() - before) / count
                }
                "idle" => load::idle(place, vip, port(load::REQUESTS), || proxy.memory()),
                _ => {
                    let (p50, p99) = load::latency(place, vip, port(load::SHORT), options.quick);
                    tails.entry(who).or_default().push(p99);
                    p50
                }
            };
            figures.entry(who).or_default().push(figure);
        }
    }
    let (what, digits) = match name {
        "short" => ("us CPU per short connection", 1),
        "requests" => ("us CPU per request", 2),
        "bulk" => ("CPU seconds per GB", 3),
        "udp" => ("us CPU per datagram and answer", 2),
        "idle" => ("bytes per idle connection", 0),
        _ => ("us latency p50", 0),
    };
    rows(what, digits, &figures);
    if !tails.is_empty() {
        rows("us latency p99", 0, &tails);
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn rows(what: &str, digits: usize, figures: &BTreeMap<&'static str, Vec<f64>>) {
    let ours = figures.get(Contender::Holdfast.name());
    for (who, values) in figures {
        let ratio = ours.filter(|_| *who != Contender::Holdfast.name()).map_or(String::new(), |ours| {
            let ratios: Vec<f64> = ours.iter().zip(values).map(|(ours, theirs)| ours / theirs).collect();
            let better = ratios.iter().filter(|ratio| **ratio < 1.0).count();
            format!("{:.2} ({better}/{})", median(&ratios), ratios.len())
        });
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(0.0, f64::max);
        let range = format!("{low:.digits$} - {high:.digits$}");
        println!("{what:<30} {who:<12} {:>10.digits$} {range:>22} {ratio:>9}", median(values));
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
