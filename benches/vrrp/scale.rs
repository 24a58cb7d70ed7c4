//! 500 and 1,000 instances at 1 s adverts: CPU, memory, start and reload.
//!
//! Shell. A VRID is good for one instance on a LAN, so the instances are on as many LANs as it takes.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::pair::{PRIORITIES, Pair, Router, Sighting};
use crate::report::{Outcome, Table, difference, ms, progress};
use crate::usage;
use crate::{Contender, Options};

const PATIENCE: Duration = Duration::from_secs(30);
/// Three adverts of each instance, to see a gap.
const RELOAD_WINDOW: Duration = Duration::from_millis(3500);

pub fn run(options: &Options, contenders: &[Contender; 2], table: &Table) {
    for count in [500, 1000] {
        let outcomes = contenders.each_ref().map(|contender| -> Outcome {
            progress(&format!("{count} instances of {}", contender.name));
            let measured = measure(contender, count, Duration::from_secs(options.seconds), options.plain);
            measured.map_err(|error| error.to_string().lines().next().unwrap_or("").to_owned())
        });
        let figures = [
            (format!("{count} instances: first to last master at start"), "a tenth"),
            (format!("{count} instances: CPU per minute as master"), "half"),
            (format!("{count} instances: CPU per minute as backup"), "half"),
            (format!("{count} instances: PSS of all processes, master"), "not above"),
            (format!("{count} instances: PSS of all processes, backup"), "not above"),
            (format!("{count} instances: reload, nothing changed: worst advert gap"), ""),
            (format!("{count} instances: reload, nothing changed: CPU"), ""),
            (format!("{count} instances: reload, one line: announced after"), ""),
            (format!("{count} instances: reload, one line: worst advert gap"), ""),
        ];
        table.rows(&figures, &outcomes);
    }
}

/// Instances spread over LANs, 250 on each.
fn routers(count: usize) -> Vec<Router> {
    let lans = (0u8..).take(count.div_ceil(250));
    let all = lans.flat_map(|lan| {
        (1..=250).map(move |vrid| Router { vrid, lan, version: 2, advert_int: "1", priorities: PRIORITIES })
    });
    all.take(count).collect()
}

fn measure(contender: &Contender, count: usize, window: Duration, plain: bool) -> io::Result<Vec<String>> {
    let routers = routers(count);
    let mut pair = Pair::new(contender, &routers, plain, false)?;
    pair.nodes[0].start()?;
    let (mut firsts, mut read) = (BTreeMap::<(u8, u8), Duration>::new(), 0);
    let firsts = pair.tape.wait(PATIENCE, |seen| {
        for advert in seen.adverts.iter().skip(read) {
            firsts.entry(advert.router).or_insert(advert.at);
        }
        read = seen.adverts.len();
        (firsts.len() == count).then(|| std::mem::take(&mut firsts))
    })?;
    let (first, last) = (firsts.values().min(), firsts.values().max());
    let spread = last.zip(first).map_or(0.0, |(last, first)| difference(*last, *first));
    pair.nodes[1].start()?;
    pair.settle(PATIENCE)?;
    // Announcements after a start go on for some seconds and are no part of the steady state.
    std::thread::sleep(Duration::from_secs(7));
    let families = pair.nodes.each_ref().map(|node| usage::family(node.pid().map_or(0, nix::unistd::Pid::as_raw)));
    let before = families.each_ref().map(|family| usage::cpu(family));
    std::thread::sleep(window);
    let spent = [0, 1].map(|n| usage::cpu(&families[n]).saturating_sub(before[n]).as_secs_f64());
    let per_minute = spent.map(|spent| format!("{:.2} s", spent * 60.0 / window.as_secs_f64()));
    let pss = families.each_ref().map(|family| format!("{:.1} MB", usage::pss(family) as f64 / 1000.0));

    let before = usage::cpu(&families[0]);
    let (quiet_gap, _) = reload(&pair, None)?;
    let steady = spent[0] / window.as_secs_f64() * RELOAD_WINDOW.as_secs_f64();
    let reload_cpu = (usage::cpu(&families[0]).saturating_sub(before).as_secs_f64() - steady).max(0.0);
    let (gap, announced) = reload(&pair, Some(Ipv4Addr::new(10, 100, 9, 9)))?;
    pair.stop();
    let [master, backup] = per_minute;
    let [pss_master, pss_backup] = pss;
    let announced = announced.map_or_else(|| "not seen".to_owned(), ms);
    Ok(vec![ms(spread), master, backup, pss_master, pss_backup, ms(quiet_gap), ms(reload_cpu), announced, ms(gap)])
}

/// The worst gap between two adverts of a router around a reload, and the time until `extra` was announced.
fn reload(pair: &Pair, extra: Option<Ipv4Addr>) -> io::Result<(f64, Option<f64>)> {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other);
    pair.tape.clear();
    let from = now()?;
    std::thread::sleep(Duration::from_millis(1500));
    let asked = now()?;
    pair.reload(extra)?;
    std::thread::sleep(RELOAD_WINDOW - Duration::from_millis(1500));
    let announced = pair.tape.wait(Duration::ZERO, |seen| {
        let found = seen.announcements.iter().find(|(_, node, address)| *node == 0 && Some(*address) == extra);
        Some(found.map(|(at, _, _)| difference(*at, asked)))
    })?;
    Ok((worst_gap(&pair.tape.adverts(), from, now()?), announced))
}

/// Silence at the ends of the window counts: a router that says nothing more is worse than a late one.
fn worst_gap(adverts: &[Sighting], from: Duration, to: Duration) -> f64 {
    let mut last: BTreeMap<(u8, u8), Duration> = BTreeMap::new();
    // Nothing at all was said: that is the gap.
    let mut worst = if adverts.iter().any(|advert| advert.node == 0) { 0.0 } else { difference(to, from) };
    for advert in adverts.iter().filter(|advert| advert.node == 0) {
        let before = last.insert(advert.router, advert.at).unwrap_or(from);
        worst = f64::max(worst, difference(advert.at, before));
    }
    last.values().fold(worst, |worst, last| f64::max(worst, difference(to, *last)))
}
