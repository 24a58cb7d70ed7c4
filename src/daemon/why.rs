//! `holdfast why`: asks the daemon, or reads records from files, and prints.
//!
//! Shell. What is said is decided in [`crate::status::why`].

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::black_box;
use crate::cli::control::Target;
use crate::control::api::Method;
use crate::control::client::{Client, ClientError};
use crate::status::why::{self, FORMAT, Question, Record, merge};

/// Larger files are no records.
const LARGEST: u64 = 64 << 20;

/// Show the last changes of state, each with its cause and the evidence.
#[derive(Debug, Clone, clap::Args)]
pub struct WhyArgs {
    /// Only of this vrrp_instance
    pub instance: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The latest so many changes of each instance
    #[arg(long, value_name = "COUNT", default_value_t = why::SHOWN)]
    pub last: usize,
    /// Write everything that the daemon knows into a file, for --merge and --from, here or elsewhere; - is standard output
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
    /// Make one timeline of the files of several machines
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["export", "from", "instance"])]
    pub merge: Vec<PathBuf>,
    /// Read a file that --export or a crash has left instead of asking the daemon
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Which daemon
    #[command(flatten)]
    pub target: Target,
}

/// Runs it; the exit code.
///
/// # Errors
/// There is no record, or it cannot be read or written.
pub fn run(args: &WhyArgs) -> Result<u8> {
    if !args.merge.is_empty() {
        let records = args.merge.iter().map(|path| load(path)).collect::<Result<Vec<_>>>()?;
        let merged = merge::merge(&records);
        return show(&if args.json { json(&merged)? } else { merge::render(&merged) });
    }
    let record = match &args.from {
        Some(path) => load(path)?,
        None => present(&args.target.control_dir)?,
    };
    if let Some(path) = &args.export {
        let text = serde_json::to_string(&record)?;
        if path == Path::new("-") {
            return show(&text);
        }
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        return Ok(0);
    }
    let answer = record.explain(&Question { instance: args.instance.clone(), most: args.last })?;
    show(&if args.json { json(&answer)? } else { why::render(&answer) })
}

/// What the daemon knows now; when none runs, what it wrote last.
fn present(directory: &Path) -> Result<Record> {
    let client = Client::new(directory);
    match client.ask(Method::Get, "/v1/why", "") {
        Ok(answer) if answer.status == 200 => parse(&answer.body).context("the daemon's answer cannot be understood"),
        Ok(answer) => bail!("the daemon refuses: {}", String::from_utf8_lossy(&answer.body).trim()),
        Err(ClientError::NotRunning { .. }) => left(directory),
        Err(error) => Err(error.into()),
    }
}

fn left(directory: &Path) -> Result<Record> {
    let Some(latest) = black_box::files(directory).into_iter().next() else {
        bail!("no daemon answers in {}, and none has left a black box there", directory.display());
    };
    let record = load(&latest)?;
    let _ = writeln!(io::stderr(), "no daemon answers: this is {}, of {}", latest.display(), record.at);
    Ok(record)
}

fn load(path: &Path) -> Result<Record> {
    let size = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    if size > LARGEST {
        bail!("{} has {size} bytes: it is no export of holdfast why", path.display());
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&bytes).with_context(|| format!("{} cannot be understood", path.display()))
}

fn parse(bytes: &[u8]) -> Result<Record> {
    let value: serde_json::Value = serde_json::from_slice(bytes)?;
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(format) if format <= u64::from(FORMAT) => Ok(serde_json::from_value(value)?),
        Some(format) => bail!("it has format {format}, this program knows up to {FORMAT}: it is of a newer one"),
        None => bail!("it is no export of holdfast why"),
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// A closed pipe is no reason to fail.
fn show(text: &str) -> Result<u8> {
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn what_is_no_record_is_refused_with_the_reason() {
        let rows = [
            ("", "EOF"),
            ("{}", "no export"),
            ("[1]", "no export"),
            (r#"{"format": 99}"#, "of a newer one"),
            (r#"{"format": 1, "notes": 7}"#, "invalid type"),
        ];
        for (text, expected) in rows {
            let error = parse(text.as_bytes()).expect_err(text);
            assert!(format!("{error:#}").contains(expected), "{text}: {error:#}");
        }
        assert!(parse(br#"{"format": 1, "new_field": 2}"#).is_ok(), "fields may be added");
    }
}
