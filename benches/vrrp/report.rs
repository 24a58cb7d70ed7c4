//! The table, and the arithmetic of its cells.
//!
//! Pure, but for printing.

use std::time::Duration;

/// One line for each figure: what, the aim, and a column for each daemon.
pub struct Table;

impl Table {
    /// Prints the head.
    pub fn begin() -> Self {
        line("what", "aim", ["holdfast", "keepalived"]);
        println!("{}", "-".repeat(124));
        Self
    }

    /// Prints a line.
    pub fn row(&self, what: &str, aim: &str, cells: [&str; 2]) {
        line(what, aim, cells);
    }

    /// Prints one line for each figure of two outcomes of the same benchmark. `figures` names each figure and its aim.
    pub fn rows(&self, figures: &[(String, &str)], outcomes: &[Outcome; 2]) {
        for (n, (what, aim)) in figures.iter().enumerate() {
            let cell = |outcome: &Outcome| match outcome {
                Ok(cells) => cells.get(n).cloned().unwrap_or_else(|| "-".to_owned()),
                Err(why) if n == 0 => why.clone(),
                Err(_) => "-".to_owned(),
            };
            let [ours, theirs] = outcomes;
            self.row(what, aim, [&cell(ours), &cell(theirs)]);
        }
    }
}

/// The cells of one daemon, or why there are none.
pub type Outcome = Result<Vec<String>, String>;

fn line(what: &str, aim: &str, [ours, theirs]: [&str; 2]) {
    println!("{what:<54}  {aim:<20}  {ours:<22}  {theirs}");
}

/// What goes on, on standard error: the table stays a table.
pub fn progress(text: &str) {
    eprintln!("# {text}");
}

/// Milliseconds with a sign and three digits.
pub fn ms(seconds: f64) -> String {
    format!("{:.3} ms", seconds * 1e3)
}

/// `median, worst`.
pub fn median_and_worst(samples: &mut [f64]) -> String {
    samples.sort_by(f64::total_cmp);
    match (samples.get(samples.len() / 2), samples.last()) {
        (Some(median), Some(worst)) => format!("{:.2}, {:.2} ms", median * 1e3, worst * 1e3),
        _ => "nothing seen".to_owned(),
    }
}

/// `a − b` in seconds, also where it is negative.
pub fn difference(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() - b.as_secs_f64()
}

/// Shuffles by xorshift: good enough for an order, and no dependency.
pub struct Dice(u64);

impl Dice {
    /// A seed that differs from run to run.
    pub fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(u64::from(now.subsec_nanos()) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}
