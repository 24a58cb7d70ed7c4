//! `holdfast check`: reading configurations for people and for scripts that deploy them.
//!
//! Shell: prints, and looks at the files of scripts. What is found is decided in `conf`.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use serde_json::json;

use super::doctor::{self, Examination};
use super::exec::{Policy, PrepareError, Runner, resolve};
use super::load;
use super::script_path::PathProblem;
use crate::cli::CheckArgs;
use crate::cli::args::DEFAULT_FILE;
use crate::command::Command;
use crate::conf::compare::{Director, compare};
use crate::conf::config::Config;
use crate::conf::explain::explain;
use crate::conf::lint::{Host, ScriptProblem};
use crate::conf::plan::report::JSON_FORMAT;
use crate::conf::{self, Checked, Diagnostics, Severity};
use crate::ipvs::advice::Cluster;

/// Exit code: something is wrong.
pub(super) const ERRORS: u8 = 2;
/// Exit code: something is unwise, under `--strict`.
const WARNINGS: u8 = 1;

/// `holdfast check`: 2 when a file has errors, 1 with `--strict` when there are warnings, else 0.
///
/// # Errors
/// Standard output cannot be written.
pub fn check(args: &CheckArgs) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    if let Some(question) = &args.explain {
        let (text, code) = match explain(question) {
            Ok(text) => (text, 0),
            Err(text) => (text, ERRORS),
        };
        out.write_all(text.as_bytes())?;
        return Ok(code);
    }
    let options = load::options(args.config_id.as_deref(), false);
    let read = |file| conf::check(file, &options, Some(&ThisMachine));
    let files: Vec<Checked> = args.files.iter().map(|file| read(file)).collect();
    let pair = match files.as_slice() {
        [first, second] => compare_two(first, second),
        _ => None,
    };
    let machine = of_this_machine(args, &files);
    let all = || files.iter().map(|checked| &checked.loaded.diagnostics).chain(&pair);
    let errors: usize = all().map(errors).sum();
    let warnings: usize = all().map(|d| d.count(Severity::Warning)).sum();
    // A file may be checked before its machine is ready: what is wrong with the machine is a warning here.
    let unwise = warnings > 0 || machine.as_ref().is_some_and(Examination::has_problems);
    let code = if errors > 0 { ERRORS } else { WARNINGS * u8::from(unwise && args.strict) };
    if args.json {
        let reports: Vec<_> =
            args.files.iter().zip(&files).map(|(file, checked)| file_json(file, &checked.loaded.diagnostics)).collect();
        let report = json!({
            "format": JSON_FORMAT,
            "errors": errors,
            "warnings": warnings,
            "exit_code": code,
            "files": reports,
            "pair": pair.as_ref().map(|diagnostics| json!({
                "errors": self::errors(diagnostics),
                "warnings": diagnostics.count(Severity::Warning),
                "diagnostics": diagnostics,
            })),
            "machine": machine.as_ref().map(Examination::json),
        });
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
        return Ok(code);
    }
    let color = wants_color(&out);
    for (file, checked) in args.files.iter().zip(&files) {
        print(&mut out, &file.display().to_string(), &checked.loaded.diagnostics, color)?;
    }
    if let ([first, second], Some(pair)) = (args.files.as_slice(), &pair) {
        print(&mut out, &format!("{} and {} together", first.display(), second.display()), pair, color)?;
    }
    if let Some(machine) = machine.filter(Examination::has_problems) {
        writeln!(out, "this machine as director of these virtual servers (`holdfast doctor` tells more):")?;
        machine.print(&mut out, color)?;
    }
    Ok(code)
}

/// With the machine's own file, or when told so, the machine is looked at too; nobody on its links is asked.
fn of_this_machine(args: &CheckArgs, files: &[Checked]) -> Option<Examination> {
    let own = |file: &Path| args.here || file == Path::new(DEFAULT_FILE);
    let at = args.files.iter().position(|file| own(file))?;
    let config = files.get(at)?.loaded.config.as_ref()?;
    let cluster = Cluster::of(&config.balancer, &config.vrrp);
    (!cluster.services.is_empty()).then(|| doctor::examine(&cluster, false, false))
}

fn errors(diagnostics: &Diagnostics) -> usize {
    diagnostics.iter().filter(|d| d.severity >= Severity::Error).count()
}

fn file_json(file: &Path, diagnostics: &Diagnostics) -> serde_json::Value {
    json!({
        "file": file,
        "errors": errors(diagnostics),
        "warnings": diagnostics.count(Severity::Warning),
        "diagnostics": diagnostics,
    })
}

fn print(out: &mut impl Write, what: &str, diagnostics: &Diagnostics, color: bool) -> io::Result<()> {
    if diagnostics.is_empty() {
        writeln!(out, "{what}: no problems")
    } else {
        write!(out, "{}", diagnostics.render(color))
    }
}

/// Two directors, when both files can be run.
fn compare_two(first: &Checked, second: &Checked) -> Option<Diagnostics> {
    let director = |checked: &'_ Checked| checked.loaded.config.is_some();
    if !director(first) || !director(second) {
        return None;
    }
    let (a, b) = (first.loaded.config.as_ref()?, second.loaded.config.as_ref()?);
    Some(compare(Director { config: a, places: &first.places }, Director { config: b, places: &second.places }))
}

/// Colour on a terminal, unless the user wants none (no-color.org).
pub(super) fn wants_color(out: &impl IsTerminal) -> bool {
    out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// What to do about a user that is not there; anything else that is missing is in the message.
fn remedy(command: &Command, config: &Config) -> Option<String> {
    let user = command.user.as_ref().or(config.daemon.script_user.as_ref())?;
    match resolve(user, false) {
        Err(PrepareError::NoUser(name)) => {
            Some(format!("`useradd --system --no-create-home {name}`, or name another user"))
        }
        Err(PrepareError::NoGroup(name)) => Some(format!("`groupadd --system {name}`, or name another group")),
        _ => None,
    }
}

/// The machine that this runs on.
struct ThisMachine;

impl Host for ThisMachine {
    fn judge(&self, command: &Command, config: &Config) -> Vec<ScriptProblem> {
        let policy = Policy::of(&config.daemon);
        let runner = Runner::new(policy, [command].into_iter());
        let (code, text) = match runner.prepare(command) {
            Ok(prepared) => match (prepared.remark, runner.forbidden(command)) {
                (Some(remark), _) => ("script-unsafe", remark),
                (None, Some(problem)) => ("script-not-executable", problem.to_string()),
                (None, None) => return Vec::new(),
            },
            Err(PrepareError::Path(problem)) => {
                let code = match &problem {
                    PathProblem::NotExecutable { .. } | PathProblem::Forbidden { .. } => "script-not-executable",
                    PathProblem::ForeignOwner { .. } | PathProblem::WritableByOthers { .. } => "script-unsafe",
                    PathProblem::Missing { .. } | PathProblem::NotInPath { .. } | PathProblem::NotAFile(_) => {
                        "script-missing"
                    }
                };
                (code, problem.to_string())
            }
            Err(other) => ("script-missing", other.to_string()),
        };
        let (message, help) = match text.split_once("; ") {
            Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
            None => (text, remedy(command, config)),
        };
        let message = if code == "script-unsafe" && config.daemon.script_security {
            format!("{message}: it is not run, because of `enable_script_security`")
        } else {
            message
        };
        vec![ScriptProblem { code, message, help }]
    }
}
