//! `holdfast plan`: what a reload would do.
//!
//! Shell: prints. Of a running daemon's own file only the daemon can tell, because the file may have been changed since
//! it was read; two files are compared here.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::check::{ERRORS, wants_color};
use super::load;
use super::reload::KnownErrors;
use crate::cli::PlanArgs;
use crate::cli::args::DEFAULT_FILE;
use crate::conf::plan::Plan;
use crate::conf::plan::report::{PlanReport, Side};
use crate::conf::{self, LoadOptions};
use crate::control::api::Method;
use crate::control::client::{Client, ClientError};
use crate::status::model::{Outcome, Status};

/// The daemon does not run, and no file was named (LSB's code of `status`).
const EXIT_NOT_RUNNING: u8 = 3;

/// `holdfast plan`: 2 when a reload would be refused, 3 when there is nothing to ask or compare, else 0.
///
/// # Errors
/// Standard output cannot be written, or the daemon's answer cannot be understood.
pub fn plan(args: &PlanArgs) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    let report = match (&args.against, &args.file) {
        (Some(against), Some(file)) => compare(args, against, file),
        (_, file) => {
            let client = Client::new(&args.target.control_dir);
            match (daemon_file(&client), file) {
                (Ok(its), None) => ask(&client, &its)?,
                (Ok(its), Some(file)) if is_same(&its, file) => ask(&client, &its)?,
                (Ok(its), Some(file)) => compare(args, &its, file),
                (Err(ClientError::NotRunning { .. }), Some(file)) => compare(args, DEFAULT_FILE.as_ref(), file),
                (Err(error @ ClientError::NotRunning { .. }), None) => {
                    eprintln!("holdfast: {error}; name a FILE, which is compared with {DEFAULT_FILE} then");
                    return Ok(EXIT_NOT_RUNNING);
                }
                (Err(error), _) => return Err(anyhow!("{error}; `--against FILE` compares two files")),
            }
        }
    };
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        out.write_all(report.render(wants_color(&out)).as_bytes())?;
    }
    Ok(if report.refused { ERRORS } else { 0 })
}

/// The file that a running daemon reads.
fn daemon_file(client: &Client) -> Result<PathBuf, ClientError> {
    let answer = client.ask(Method::Get, "/v1/status", "")?;
    let broken = |why: String| ClientError::Broken { socket: client.socket(Method::Get), why };
    let status: Status = serde_json::from_slice(&answer.body).map_err(|error| broken(error.to_string()))?;
    Ok(PathBuf::from(status.daemon.config_file))
}

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    one == other || real(one).is_some_and(|one| real(other) == Some(one))
}

/// The daemon's own answer.
fn ask(client: &Client, file: &Path) -> anyhow::Result<PlanReport> {
    let answer = client.ask(Method::Post, "/v1/plan", "").map_err(|error| match error {
        // Two files can be read by who may read them.
        error @ ClientError::NotPermitted { .. } => anyhow!("{error}; `--against FILE` compares two files"),
        error => anyhow!("{error}"),
    })?;
    if answer.status != 200 {
        let outcome: Outcome = serde_json::from_slice(&answer.body)?;
        return Err(anyhow!("{}: {}", file.display(), outcome.message));
    }
    Ok(serde_json::from_slice(&answer.body)?)
}

/// Two files.
fn compare(args: &PlanArgs, against: &Path, file: &Path) -> PlanReport {
    let options: LoadOptions = load::options(args.config_id.as_deref(), false);
    let now = conf::load(against, &options);
    let new = conf::load(file, &options);
    let refused = KnownErrors::of(&now.diagnostics).first_new(&new.diagnostics).is_some();
    let plan = match (&now.config, &new.config) {
        (Some(now), Some(new)) if !refused => Some(Plan::between(now, new)),
        _ => None,
    };
    PlanReport::new(Side::of_file(against, now.diagnostics), Side::of_file(file, new.diagnostics), plan, None)
}
