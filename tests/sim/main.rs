//! A simulated LAN: real engines, everything else made up, from a seed and in virtual time.
//!
//! ```text
//!   cargo test --test sim                                  256 seeds
//!   HOLDFAST_SIM_SEEDS=10000 cargo test --test sim seeds   more of them (HOLDFAST_SIM_FIRST=… from there on)
//!   HOLDFAST_SIM_SEED=123 cargo test --test sim one_seed -- --nocapture
//! ```
//!
//! [`scenario`] makes a cluster and its faults from the seed, [`world`] lets them happen, [`oracle`] and [`judge`] say
//! what must be true, [`planted`] shows that they would notice, [`found`] keeps what they did notice.
#![allow(clippy::disallowed_methods, missing_docs)] // A test: one reading of the clock is the origin of virtual time.

mod effects;
mod faults;
mod found;
mod host;
mod judge;
mod network;
mod oracle;
mod planted;
mod random;
mod scenario;
mod turn;
mod world;
mod writer;

use std::collections::BTreeMap;

/// Seeds of every run of the tests.
const SEEDS: u64 = 256;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[test]
fn seeds() {
    let seeds = variable("HOLDFAST_SIM_SEEDS").unwrap_or(SEEDS);
    let first = variable("HOLDFAST_SIM_FIRST").unwrap_or(1);
    let results: Vec<_> = std::thread::scope(|scope| {
        let share = move |odd| (first..first + seeds).filter(move |seed| seed % 2 == odd);
        let run = move |odd| share(odd).map(|seed| (seed, world::run(seed, None, false))).collect::<Vec<_>>();
        let other = scope.spawn(move || run(1));
        run(0).into_iter().chain(other.join().expect("no panic")).collect()
    });
    let mut failures = BTreeMap::new();
    let (mut takeovers, mut adverts) = (0, 0);
    for (seed, result) in results {
        match result {
            Ok(summary) => {
                takeovers += summary.takeovers;
                adverts += summary.adverts;
            }
            Err(failure) => drop(failures.insert(seed, failure)),
        }
    }
    println!("{seeds} seeds from {first}: {takeovers} takeovers, {adverts} adverts");
    let rules: Vec<_> = failures.iter().map(|(seed, f)| format!("{seed}: {:?}: {}", f.rule, f.text)).collect();
    if let Some(failure) = failures.values().next() {
        panic!("\n{failure}\n{} of {seeds} seeds failed:\n{}", rules.len(), rules.join("\n"));
    }
    assert!(takeovers > seeds && adverts > seeds * 100, "the simulation hardly does anything");
}

/// Replays one seed, with every word.
#[test]
fn one_seed() {
    let seed = variable("HOLDFAST_SIM_SEED");
    if let Err(failure) = world::run(seed.unwrap_or(1), None, seed.is_some()) {
        panic!("\n{failure}");
    }
}

#[test]
fn a_seed_means_the_same_each_time() {
    for seed in 1..=8 {
        let run = || world::run(seed, None, false).unwrap_or_else(|failure| panic!("\n{failure}"));
        assert_eq!(run(), run(), "seed {seed}");
    }
}
