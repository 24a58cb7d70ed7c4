//! The command line: keepalived's own options under either name, and holdfast's subcommands.
//!
//! Pure: arguments in, an [`Invocation`] or a text with an exit code out. Started under the name `keepalived` only
//! keepalived's options exist; as `holdfast` without a subcommand the same options mean the same. Started as `ipvsadm`
//! the line is [`crate::ipvsadm`]'s.

pub mod args;
pub mod control;

use std::ffi::OsString;
use std::path::Path;

use clap::Parser;

pub use args::{CheckArgs, ChildKind, DaemonArgs, DoctorArgs, NotifyTestArgs, PlanArgs};

use crate::checkers::genhash::GenhashArgs;
use crate::daemon::why::WhyArgs;
use crate::lab::LabArgs;

/// The keepalived release whose behaviour and version number we show to tools that ask.
pub const KEEPALIVED_VERSION: &str = "2.4.3";

/// What the user wants.
#[derive(Debug)]
pub enum Invocation {
    /// Run the daemon (or `--config-test`).
    Daemon(Box<DaemonArgs>),
    /// `holdfast check`.
    Check(CheckArgs),
    /// `holdfast notify test`.
    NotifyTest(NotifyTestArgs),
    /// `holdfast plan`.
    Plan(PlanArgs),
    /// `holdfast doctor`.
    Doctor(DoctorArgs),
    /// `holdfast why`.
    Why(Box<WhyArgs>),
    /// `holdfast sweep`.
    Sweep(Box<DaemonArgs>),
    /// `holdfast lab`.
    Lab(Box<LabArgs>),
    /// `holdfast genhash`, `keepalived -T`, or started as `genhash`.
    Genhash(Box<GenhashArgs>),
    /// A subcommand that speaks with the running daemon.
    Control(control::ControlCommand),
    /// `holdfast ipvsadm`, or started as `ipvsadm`.
    Ipvsadm {
        /// How it was called, for messages.
        program: String,
        /// Its arguments, which it understands by itself.
        arguments: Vec<String>,
    },
}

/// Something to print before leaving: help, version, a mistake on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leave {
    /// What to print.
    pub text: String,
    /// Whether it goes to stdout; stderr otherwise.
    pub stdout: bool,
    /// The exit code.
    pub code: u8,
}

impl Leave {
    fn mistake(text: impl Into<String>) -> Self {
        Self { text: text.into(), stdout: false, code: 1 }
    }
}

#[derive(Debug, Parser)]
#[command(name = "keepalived", about = "VRRP high availability (holdfast under keepalived's name)")]
#[command(disable_version_flag = true, args_override_self = true)]
struct KeepalivedCli {
    #[command(flatten)]
    daemon: DaemonArgs,
}

#[derive(Debug, Parser)]
#[command(name = "holdfast", about = "VRRP high availability: a drop-in replacement for keepalived")]
#[command(disable_version_flag = true, args_override_self = true, args_conflicts_with_subcommands = true)]
struct HoldfastCli {
    #[command(subcommand)]
    command: Option<Subcommand>,
    #[command(flatten)]
    daemon: DaemonArgs,
}

#[derive(Debug, Parser)]
#[command(name = "genhash", about = "The digest of a web page, for `digest` in a `url` block")]
#[command(disable_version_flag = true, args_override_self = true)]
struct GenhashCli {
    #[command(flatten)]
    genhash: GenhashArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    /// Check configuration files and print what is wrong or unwise in them; compare those of two directors; explain.
    Check(CheckArgs),
    /// Show what a reload with a file would add, change and remove, and which instances it would touch.
    Plan(PlanArgs),
    /// Say what about this machine would defeat the virtual servers of a file: forwarding, rp_filter, ARP, tracking.
    Doctor(DoctorArgs),
    /// Notifications: see whether they arrive.
    #[command(subcommand)]
    Notify(NotifyCommand),
    /// Print the digest of a web page, for `digest` in a `url` block.
    #[command(args_override_self = true)]
    Genhash(Box<GenhashArgs>),
    /// Rehearse failures of two directors on this machine, in network namespaces of their own.
    Lab(Box<LabArgs>),
    /// Show the last changes of state, each with its cause and the evidence; make one timeline of several machines'.
    #[command(args_override_self = true)]
    Why(Box<WhyArgs>),
    /// Take off the virtual addresses that killed processes have left. Takes the daemon's own options.
    #[command(args_override_self = true)]
    Sweep(Box<DaemonArgs>),
    #[command(flatten)]
    Control(control::ControlCommand),
    /// Show and change the kernel's virtual servers, with the options of ipvsadm(8).
    #[command(disable_help_flag = true)]
    Ipvsadm {
        /// Options of ipvsadm(8); --help shows them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(Debug, clap::Subcommand)]
enum NotifyCommand {
    /// Send one test to every target of a configuration, and say what came back.
    Test(NotifyTestArgs),
}

/// Understands a command line, program name first.
///
/// # Errors
/// There is something to print instead of something to do.
pub fn parse(argv: &[OsString]) -> Result<Invocation, Leave> {
    if let Some(invocation) = ipvsadm(argv) {
        return Ok(invocation);
    }
    let as_keepalived = is_keepalived(argv);
    let rest: Vec<String> = argv.iter().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    if wants_genhash(argv, &rest) {
        return parse_genhash(argv);
    }
    let name = OsString::from(if as_keepalived { "keepalived" } else { "holdfast" });
    let argv: Vec<OsString> = std::iter::once(name).chain(attach_optional_values(argv.iter().skip(1))).collect();
    // To make the subcommands takes longer than to read many a file: a line with none of them does without. Whatever is
    // wrong with a line of ours is said by the whole of it.
    let only_options = argv.get(1).is_none_or(|first| first.as_encoded_bytes().starts_with(b"-"));
    let daemon = if as_keepalived || only_options {
        match KeepalivedCli::try_parse_from(&argv) {
            Err(_) if !as_keepalived => None,
            result => Some(result.map(|cli| Invocation::Daemon(Box::new(cli.daemon)))),
        }
    } else {
        None
    };
    let invocation = daemon.unwrap_or_else(|| {
        HoldfastCli::try_parse_from(argv).map(|cli| match cli.command {
            Some(Subcommand::Check(args)) => Invocation::Check(args),
            Some(Subcommand::Plan(args)) => Invocation::Plan(args),
            Some(Subcommand::Doctor(args)) => Invocation::Doctor(args),
            Some(Subcommand::Notify(NotifyCommand::Test(args))) => Invocation::NotifyTest(args),
            Some(Subcommand::Genhash(args)) => Invocation::Genhash(args),
            Some(Subcommand::Lab(args)) => Invocation::Lab(args),
            Some(Subcommand::Why(args)) => Invocation::Why(args),
            Some(Subcommand::Sweep(args)) => Invocation::Sweep(args),
            Some(Subcommand::Control(command)) => Invocation::Control(command),
            Some(Subcommand::Ipvsadm { arguments }) => {
                Invocation::Ipvsadm { program: "holdfast ipvsadm".to_owned(), arguments: texts(&arguments) }
            }
            None => Invocation::Daemon(Box::new(cli.daemon)),
        })
    });
    let invocation = invocation.map_err(|error| leave(&error))?;
    if let Invocation::Daemon(args) = &invocation {
        answer_at_once(args, as_keepalived)?;
    }
    Ok(invocation)
}

/// What clap has to say instead of something to do.
fn leave(error: &clap::Error) -> Leave {
    Leave { text: error.render().to_string(), stdout: !error.use_stderr(), code: u8::from(error.use_stderr()) }
}

/// All but the option that asks for genhash are genhash's own.
fn parse_genhash(argv: &[OsString]) -> Result<Invocation, Leave> {
    let asks = |arg: &OsString| arg == "-T" || arg == "--genhash";
    let args = argv.iter().skip(1).filter(|arg| !asks(arg)).cloned();
    let parsed = GenhashCli::try_parse_from(std::iter::once(OsString::from("genhash")).chain(args));
    parsed.map(|cli| Invocation::Genhash(Box::new(cli.genhash))).map_err(|error| leave(&error))
}

/// Whether the program was started as `keepalived`.
pub fn is_keepalived(argv: &[OsString]) -> bool {
    argv.first().and_then(|name| Path::new(name).file_name()).is_some_and(|name| name == "keepalived")
}

/// Started as `ipvsadm` or one of its companions, or as `holdfast ipvsadm`: the rest of the line is not clap's business,
/// for the grammar is another one.
fn ipvsadm(argv: &[OsString]) -> Option<Invocation> {
    let program = argv.first()?.to_string_lossy().into_owned();
    let (program, verb, rest) = match Path::new(&program).file_name()?.to_str()? {
        "ipvsadm" => (program, None, argv.get(1..)),
        "ipvsadm-save" => (program, Some("-S"), argv.get(1..)),
        "ipvsadm-restore" => (program, Some("-R"), argv.get(1..)),
        _ if argv.get(1)? == "ipvsadm" && !is_keepalived(argv) => (format!("{program} ipvsadm"), None, argv.get(2..)),
        _ => return None,
    };
    let arguments = verb.map(str::to_owned).into_iter().chain(texts(rest.unwrap_or_default())).collect();
    Some(Invocation::Ipvsadm { program, arguments })
}

fn texts(arguments: &[OsString]) -> Vec<String> {
    arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect()
}

fn wants_genhash(argv: &[OsString], rest: &[String]) -> bool {
    let name = argv.first().and_then(|name| Path::new(name).file_name());
    name.is_some_and(|name| name == "genhash") || rest.iter().any(|arg| arg == "-T" || arg == "--genhash")
}

/// `--version` and `--signum`, and options that exist in keepalived but not here.
fn answer_at_once(args: &DaemonArgs, as_keepalived: bool) -> Result<(), Leave> {
    if args.version {
        return Err(Leave { text: version_text(as_keepalived), stdout: false, code: 0 });
    }
    if let Some(name) = &args.signum {
        return Err(match signal_number(name) {
            Some(number) => Leave { text: format!("{number}\n"), stdout: true, code: 0 },
            None => Leave::mistake(format!("Unknown sigfunc {name}\n")),
        });
    }
    if args.config_fd.is_some() {
        return Err(Leave::mistake("--config-fd is internal to keepalived and means nothing here\n"));
    }
    Ok(())
}

/// What `--version` prints. Tools take the second word of the first line as keepalived's version.
pub fn version_text(as_keepalived: bool) -> String {
    let own = env!("CARGO_PKG_VERSION");
    if as_keepalived {
        // An exporter looks for the option before it asks for JSON.
        format!(
            "Keepalived v{KEEPALIVED_VERSION} (holdfast {own})\n\nholdfast {own}, build {}\n\nconfigure options: --enable-json\n",
            crate::BUILD_ID
        )
    } else {
        format!("holdfast {own} (for keepalived {KEEPALIVED_VERSION})\n\nbuild {}\n", crate::BUILD_ID)
    }
}

/// The signal that `--signum=NAME` asks for.
pub fn signal_number(name: &str) -> Option<i32> {
    Some(match name {
        "STOP" => libc::SIGTERM,
        "RELOAD" => libc::SIGHUP,
        "DATA" => libc::SIGUSR1,
        "STATS" => libc::SIGUSR2,
        "STATS_CLEAR" => libc::SIGRTMAX() - 1,
        "JSON" => libc::SIGRTMIN() + 2,
        _ => return None,
    })
}

/// Short options that take a value; the rest of a cluster such as `-Df/etc/x` is theirs.
const SHORT_WITH_VALUE: &str = "fSupcrbsiA";
/// Short options with an optional value, which getopt wants attached (`-g/var/log/x`) and clap wants after a `=`.
const SHORT_WITH_OPTIONAL_VALUE: &str = "gtM";

/// Rewrites attached optional values, `-Dg/var/log/x` to `-Dg=/var/log/x`, and leaves all else alone.
fn attach_optional_values<'a>(args: impl Iterator<Item = &'a OsString>) -> Vec<OsString> {
    let mut rewritten = Vec::new();
    let mut is_value = false;
    for arg in args {
        let text = arg.to_string_lossy();
        if is_value || !text.starts_with('-') || text.starts_with("--") || text.len() < 2 {
            is_value = false;
            rewritten.push(arg.clone());
            continue;
        }
        let end = text
            .char_indices()
            .skip(1)
            .find(|(_, c)| SHORT_WITH_VALUE.contains(*c) || SHORT_WITH_OPTIONAL_VALUE.contains(*c));
        match end {
            Some((at, c)) => {
                let (head, value) = text.split_at(at + c.len_utf8());
                if SHORT_WITH_VALUE.contains(c) {
                    is_value = value.is_empty();
                    rewritten.push(arg.clone());
                } else if value.is_empty() || value.starts_with('=') {
                    rewritten.push(arg.clone());
                } else {
                    rewritten.push(format!("{head}={value}").into());
                }
            }
            None => rewritten.push(arg.clone()),
        }
    }
    rewritten
}

#[cfg(test)]
mod tests;
