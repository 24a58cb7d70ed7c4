//! The table at the end: what broke, who took over, and the client's outage beside the RFC's bound.
//!
//! Pure.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::world::{Entry, millis};

/// What the client's own steps and a busy machine may add to an outage.
pub const TOLERANCE: Duration = Duration::from_millis(50);

/// One fault, or the repair of one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was done, in words.
    pub what: String,
    /// To which node.
    pub node: String,
    /// Who held the address afterwards; `None` when nobody or more than one did.
    pub master: Option<String>,
    /// From the fault to the new master's own report, when the master changed.
    #[serde(serialize_with = "as_millis", rename = "takeover_ms")]
    pub takeover: Option<Duration>,
    /// Total time that a client got no answer.
    #[serde(serialize_with = "as_millis", rename = "outage_ms")]
    pub outage: Option<Duration>,
    /// Requests from the fault until all was good again.
    pub requests: usize,
    /// Those without an answer.
    pub lost: usize,
    /// What the RFC allows.
    #[serde(serialize_with = "as_millis", rename = "bound_ms")]
    pub bound: Option<Duration>,
    /// Everything was good again at the end, with one master.
    pub settled: bool,
    /// Why the master is the master, in its daemon's words, when it changed.
    pub cause: Option<String>,
    /// What `holdfast why` names on each node whose state changed since, for our own daemon.
    pub why: BTreeMap<String, String>,
    /// A word on what is unusual.
    pub remark: String,
}

impl Row {
    /// Settled, and within the bound where there is one.
    pub fn is_good(&self) -> bool {
        let late = matches!((self.outage, self.bound), (Some(outage), Some(bound)) if outage > bound + TOLERANCE);
        self.settled && !late
    }
}

/// One fault of a real server, or its repair.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServiceRow {
    /// What was done, in words.
    pub what: String,
    /// To which real server.
    pub to: String,
    /// From then to the master's own report.
    #[serde(serialize_with = "as_millis", rename = "detect_ms")]
    pub detect: Option<Duration>,
    /// What its checkers' times allow.
    #[serde(serialize_with = "as_millis", rename = "bound_ms")]
    pub bound: Option<Duration>,
    /// Requests from then until all was quiet again.
    pub requests: usize,
    /// Those without a good answer.
    pub lost: usize,
    /// Who answered in the last second, and how often.
    pub spread: BTreeMap<String, usize>,
    /// As it should be: seen in time, and after that nothing lost.
    pub good: bool,
    /// A word on what is not.
    pub remark: String,
    /// Why the master took the server out, or in again, as it logged it.
    pub cause: Option<String>,
}

const SERVICE_HEAD: [&str; 8] =
    ["what happened", "to", "seen after ms", "bound ms", "lost", "verdict", "spread", "why"];

/// The table of real servers as text.
pub fn render_services(rows: &[ServiceRow]) -> String {
    let mut cells = vec![SERVICE_HEAD.map(str::to_owned).to_vec()];
    for row in rows {
        let verdict = if row.good { "ok" } else { "FAILED" };
        let remark = if row.remark.is_empty() { String::new() } else { format!(", {}", row.remark) };
        cells.push(vec![
            row.what.clone(),
            row.to.clone(),
            number(row.detect),
            number(row.bound),
            format!("{} of {}", row.lost, row.requests),
            format!("{verdict}{remark}"),
            row.spread.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", "),
            row.cause.clone().unwrap_or_default(),
        ]);
    }
    table(&cells, 2..5)
}

fn number(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "-".to_owned(), |d| millis(d).to_string())
}

fn as_millis<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|d| d.as_secs_f64() * 1000.0).serialize(serializer)
}

/// All that a rehearsal found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The program that was rehearsed.
    pub daemon: String,
    /// Its nodes.
    pub nodes: Vec<String>,
    /// The addresses that clients asked.
    pub addresses: Vec<String>,
    /// One for each fault and repair.
    pub rows: Vec<Row>,
    /// One for each fault and repair of a real server.
    pub services: Vec<ServiceRow>,
    /// Requests of all clients.
    pub requests: usize,
    /// Those without an answer.
    pub unanswered: usize,
    /// The timeline.
    pub timeline: Vec<Entry>,
}

impl Report {
    /// Every fault was survived within its bound.
    pub fn is_good(&self) -> bool {
        self.rows.iter().all(Row::is_good) && self.services.iter().all(|row| row.good)
    }
}

const HEAD: [&str; 9] =
    ["what happened", "to", "master then", "takeover ms", "outage ms", "RFC bound ms", "lost", "verdict", "why"];

/// The table as text.
pub fn render(rows: &[Row]) -> String {
    let mut cells = vec![HEAD.map(str::to_owned).to_vec()];
    for row in rows {
        let verdict = match (row.settled, row.is_good()) {
            (false, _) => "FAILED",
            (true, false) => "LATE",
            (true, true) => "ok",
        };
        let remark = if row.remark.is_empty() { String::new() } else { format!(", {}", row.remark) };
        cells.push(vec![
            row.what.clone(),
            row.node.clone(),
            row.master.clone().unwrap_or_else(|| "-".to_owned()),
            number(row.takeover),
            number(row.outage),
            number(row.bound),
            format!("{} of {}", row.lost, row.requests),
            format!("{verdict}{remark}"),
            row.cause.clone().unwrap_or_default(),
        ]);
    }
    table(&cells, 3..7)
}

/// The first row is the head; the columns in `right` are numbers.
fn table(cells: &[Vec<String>], right: Range<usize>) -> String {
    let columns = cells.first().map_or(0, Vec::len);
    let width = |column: usize| cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for (n, row) in cells.iter().enumerate() {
        text.push_str(&line(row, &widths, &right));
        if n == 0 {
            text.push_str(&line(&widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>(), &widths, &right));
        }
    }
    text
}

fn line(cells: &[String], widths: &[usize], right: &Range<usize>) -> String {
    let mut line = String::new();
    for (n, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let gap = if n == 0 { "" } else { "  " };
        // Names to the left, numbers to the right.
        let cell = if right.contains(&n) { format!("{cell:>width$}") } else { format!("{cell:<width$}") };
        line.push_str(gap);
        line.push_str(&cell);
    }
    format!("{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let ms = |ms| Some(Duration::from_millis(ms));
        Row {
            what: "crash".to_owned(),
            node: "a".to_owned(),
            master: Some("b".to_owned()),
            takeover: ms(3605),
            outage: ms(3590),
            requests: 900,
            lost: 718,
            bound: ms(3609),
            settled: true,
            cause: Some("no advert from a".to_owned()),
            why: BTreeMap::new(),
            remark: String::new(),
        }
    }

    #[test]
    fn the_table_lines_up() {
        let lost = Row {
            master: None,
            takeover: None,
            cause: None,
            settled: false,
            remark: "two masters".to_owned(),
            ..row()
        };
        let expected = "\
what happened  to  master then  takeover ms  outage ms  RFC bound ms        lost  verdict              why
-------------  --  -----------  -----------  ---------  ------------  ----------  -------------------  ----------------
crash          a   b                   3605       3590          3609  718 of 900  ok                   no advert from a
crash          a   -                      -       3590          3609  718 of 900  FAILED, two masters
";
        assert_eq!(render(&[row(), lost]), expected);
    }

    #[test]
    fn the_table_of_real_servers_lines_up() {
        let row = ServiceRow {
            what: "port closed".to_owned(),
            to: "web1".to_owned(),
            detect: Some(Duration::from_millis(1034)),
            bound: Some(Duration::from_millis(3500)),
            requests: 400,
            lost: 3,
            spread: BTreeMap::from([("web2".to_owned(), 100), ("web3".to_owned(), 99)]),
            good: true,
            remark: String::new(),
            cause: Some("connection refused".to_owned()),
        };
        let bad = ServiceRow {
            detect: None,
            cause: None,
            spread: BTreeMap::new(),
            good: false,
            remark: "not seen".to_owned(),
            ..row.clone()
        };
        let expected = "\
what happened  to    seen after ms  bound ms      lost  verdict           spread             why
-------------  ----  -------------  --------  --------  ----------------  -----------------  ------------------
port closed    web1           1034      3500  3 of 400  ok                web2 100, web3 99  connection refused
port closed    web1              -      3500  3 of 400  FAILED, not seen
";
        assert_eq!(render_services(&[row, bad]), expected);
    }

    #[test]
    fn late_is_beyond_the_bound_and_the_tolerance() {
        let with = |outage| Row { outage: Some(Duration::from_millis(outage)), ..row() };
        assert!(with(3659).is_good());
        assert!(!with(3660).is_good());
        assert!(!Row { settled: false, ..row() }.is_good());
        assert!(Row { bound: None, outage: Some(Duration::from_secs(100)), ..row() }.is_good());
    }
}
