//! What a client loses at a planned stop of the master.
//!
//! Shell. The client opens a new connection to the virtual address every 5 ms and waits for no other.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use holdfast::lab::client::{Client, PATIENCE as CLIENT_PATIENCE};
use holdfast::lab::outage::History;
use holdfast::lab::server::Server;

use crate::pair::{PRIORITIES, Pair, Router};
use crate::report::{Outcome, Table, median_and_worst, progress};
use crate::{Contender, Options};

const PATIENCE: Duration = Duration::from_secs(20);

pub fn run(options: &Options, contenders: &[Contender; 2], table: &Table) {
    for (advert_int, interval) in [("1", Duration::from_secs(1)), ("0.1", Duration::from_millis(100))] {
        let rounds = options.rounds.div_ceil(10);
        let outcomes: Vec<Outcome> = contenders
            .iter()
            .map(|contender| {
                progress(&format!("switchover at {advert_int} s: {rounds} rounds of {}", contender.name));
                let measured = measure(contender, advert_int, interval, rounds, options.plain);
                measured.map_err(|error| error.to_string().lines().next().unwrap_or("").to_owned())
            })
            .collect();
        let figures = [
            (format!("planned stop, {advert_int} s, {rounds}×: probes lost, median, worst"), "0, 0"),
            (format!("planned stop, {advert_int} s, {rounds}×: outage, median, worst"), "0, 0 ms"),
            (format!("planned stop, {advert_int} s, {rounds}×: process ends after"), ""),
        ];
        if let Ok(outcomes) = <[Outcome; 2]>::try_from(outcomes) {
            table.rows(&figures, &outcomes);
        }
    }
}

fn measure(
    contender: &Contender,
    advert_int: &'static str,
    interval: Duration,
    rounds: usize,
    plain: bool,
) -> io::Result<Vec<String>> {
    let router = Router { vrid: 51, lan: 0, version: 3, advert_int, priorities: PRIORITIES };
    let mut pair = Pair::new(contender, std::slice::from_ref(&router), plain, true)?;
    let _servers = [Server::start(pair.nodes[0].host())?, Server::start(pair.nodes[1].host())?];
    let client = pair.client.as_ref().ok_or_else(|| io::Error::other("no client"))?;
    let history = Arc::new(Mutex::new(History::default()));
    let seen = Arc::clone(&history);
    let lock = |history: &Mutex<History>| history.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let asking = Client::start(client, router.address().into(), move |sample| {
        seen.lock().unwrap_or_else(PoisonError::into_inner).add(sample);
    })?;
    let (mut lost, mut outages, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    pair.start(PATIENCE)?;
    for round in 0..rounds {
        if round > 0 {
            pair.nodes[0].start()?;
            pair.settle(PATIENCE)?;
        }
        std::thread::sleep(interval * 3 + Duration::from_millis(100));
        let from = Instant::now();
        let ended = pair.nodes[0].stop(PATIENCE).is_some();
        ends.push(from.elapsed().as_secs_f64());
        if !ended {
            return Err(io::Error::other("did not stop"));
        }
        pair.nodes[1].wait_for(&router.name(), "MASTER", PATIENCE)?;
        std::thread::sleep(interval + CLIENT_PATIENCE * 2);
        let to = Instant::now() - CLIENT_PATIENCE - Duration::from_millis(50);
        let history = lock(&history);
        lost.push(history.unanswered(from, to));
        outages.push(history.outage(from, to).as_secs_f64());
    }
    drop(asking);
    lost.sort_unstable();
    let count = |n: Option<&usize>| n.map_or_else(String::new, usize::to_string);
    let losses = format!("{}, {}", count(lost.get(lost.len() / 2)), count(lost.last()));
    Ok(vec![losses, median_and_worst(&mut outages), median_and_worst(&mut ends)])
}
