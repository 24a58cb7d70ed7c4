//! A quiet pair at 10 ms adverts: takeovers that nobody asked for, and the worst gap between two adverts.
//!
//! Shell. Beside four busy loops the machine has less CPU than is asked for, as beside a backup run.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::pair::{PRIORITIES, Pair, Router};
use crate::report::{Outcome, Table, difference, ms, progress};
use crate::{Contender, Options};

const LOOPS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(20);

pub fn run(options: &Options, contenders: &[Contender; 2], table: &Table) {
    let seconds = options.seconds;
    for (how, loops) in [("idle", 0), ("four busy loops", LOOPS)] {
        let outcomes = contenders.each_ref().map(|contender| -> Outcome {
            progress(&format!("quiet pair, {how}: {seconds} s of {}", contender.name));
            let measured = measure(contender, loops, Duration::from_secs(seconds), options.plain);
            measured.map_err(|error| error.to_string().lines().next().unwrap_or("").to_owned())
        });
        let figures = [
            (format!("10 ms adverts for {seconds} s, {how}: false takeovers"), "0"),
            (format!("10 ms adverts for {seconds} s, {how}: worst gap"), ""),
        ];
        table.rows(&figures, &outcomes);
    }
}

fn measure(contender: &Contender, loops: usize, window: Duration, plain: bool) -> io::Result<Vec<String>> {
    let router = Router { vrid: 51, lan: 0, version: 3, advert_int: "0.01", priorities: PRIORITIES };
    let mut pair = Pair::new(contender, std::slice::from_ref(&router), plain, false)?;
    pair.start(PATIENCE)?;
    std::thread::sleep(Duration::from_millis(500));
    let busy = Busy::start(loops);
    let marks = pair.nodes.each_ref().map(|node| node.log_mark());
    pair.tape.clear();
    let end = Instant::now() + window;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::sleep(left);
    }
    let adverts = pair.tape.adverts();
    drop(busy);
    let log = pair.nodes[1].log();
    let takeovers =
        log.iter().skip(marks[1]).filter(|line| line.state_change().is_some_and(|(_, state)| state == "MASTER"));
    let takeovers = takeovers.count();
    let sent: Vec<_> = adverts.iter().filter(|advert| advert.node == 0).collect();
    let gaps = sent.windows(2).map(|pair| difference(pair[1].at, pair[0].at));
    let worst = gaps.fold(0.0, f64::max);
    pair.stop();
    Ok(vec![takeovers.to_string(), ms(worst)])
}

/// Threads that want all the CPU they can get.
struct Busy {
    end: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Busy {
    fn start(loops: usize) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let threads = (0..loops).map(|_| {
            let end = Arc::clone(&end);
            std::thread::spawn(move || while !end.load(Ordering::Relaxed) {})
        });
        Self { threads: threads.collect(), end }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
