//! Quiet time on the wire beyond the RFC's interval after a crash.
//!
//! Shell. From the last advert of the dead master to the first of its successor, by the kernel's time stamps; what the
//! RFC asks for (three intervals and the skew time) is taken off. A client's outage would say less: it depends on when
//! within the interval the master died.

use std::io;
use std::time::Duration;

use crate::pair::{PRIORITIES, Pair, Router};
use crate::report::{Dice, Outcome, Table, difference, median_and_worst, progress};
use crate::{Contender, Options};

/// Rounds of one daemon before the other has its turn: what the machine does meanwhile hits both.
const BLOCK: usize = 5;
const PATIENCE: Duration = Duration::from_secs(20);
const AIM: &str = "≤ 0.3, ≤ 3 ms";

/// One line of the table.
struct Case {
    what: &'static str,
    version: u8,
    advert_int: &'static str,
    interval: Duration,
    slow: bool,
}

const CASES: [Case; 4] = [
    Case { what: "1 s, v2", version: 2, advert_int: "1", interval: Duration::from_secs(1), slow: true },
    Case { what: "1 s, v3", version: 3, advert_int: "1", interval: Duration::from_secs(1), slow: true },
    Case { what: "100 ms, v3", version: 3, advert_int: "0.1", interval: Duration::from_millis(100), slow: false },
    Case { what: "10 ms, v3", version: 3, advert_int: "0.01", interval: Duration::from_millis(10), slow: false },
];

pub fn run(options: &Options, contenders: &[Contender; 2], table: &Table) {
    let mut dice = Dice::new();
    for case in &CASES {
        let rounds = if case.slow { options.rounds.div_ceil(10) } else { options.rounds };
        let mut samples: [Result<Vec<f64>, String>; 2] = [Ok(Vec::new()), Ok(Vec::new())];
        let mut left = [rounds, rounds];
        while left.iter().any(|left| *left > 0) {
            let first = usize::from(dice.below(2) == 1);
            for n in [first, 1 - first] {
                let block = left[n].min(BLOCK);
                left[n] -= block;
                if let (Ok(all), true) = (&mut samples[n], block > 0) {
                    progress(&format!("takeover {}: {block} rounds of {}", case.what, contenders[n].name));
                    match measure(&contenders[n], case, block, options.plain, &mut dice) {
                        Ok(measured) => all.extend(measured),
                        Err(error) => samples[n] = Err(error.to_string().lines().next().unwrap_or("").to_owned()),
                    }
                }
            }
        }
        let what = format!("takeover beyond the RFC, {}, {rounds}×: median, worst", case.what);
        let outcomes = samples.map(|samples| -> Outcome { samples.map(|mut s| vec![median_and_worst(&mut s)]) });
        table.rows(&[(what, AIM)], &outcomes);
    }
}

fn measure(contender: &Contender, case: &Case, rounds: usize, plain: bool, dice: &mut Dice) -> io::Result<Vec<f64>> {
    let Case { version, advert_int, interval, .. } = *case;
    let router = Router { vrid: 51, lan: 0, version, advert_int, priorities: PRIORITIES };
    let mut pair = Pair::new(contender, std::slice::from_ref(&router), plain, false)?;
    let due = interval * 3 + interval * (256 - u32::from(PRIORITIES[1])) / 256;
    let mut samples = Vec::new();
    pair.start(PATIENCE)?;
    for round in 0..rounds {
        if round > 0 {
            pair.nodes[0].start()?;
            pair.settle(PATIENCE)?;
        }
        // At any time within an interval, and after a few of them: its backup knows it well.
        let phase = dice.below(u64::try_from(interval.as_micros()).unwrap_or(1));
        std::thread::sleep(interval.min(Duration::from_millis(100)) * 2 + Duration::from_micros(phase));
        let mark = pair.tape.mark();
        pair.nodes[0].kill_all();
        let quiet = pair.tape.wait(PATIENCE, |seen| {
            let first = seen.adverts.iter().skip(mark).find(|advert| advert.node == 1 && advert.priority > 0)?;
            let last = seen.adverts.iter().rfind(|advert| advert.node == 0)?;
            Some(difference(first.at, last.at))
        })?;
        samples.push(quiet - due.as_secs_f64());
        pair.nodes[1].wait_for(&router.name(), "MASTER", PATIENCE)?;
    }
    Ok(samples)
}
