//! Understands the command line, calls the library, and turns what comes of it into a message and an exit code.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use holdfast::checkers::genhash;
use holdfast::cli::{self, ChildKind, DaemonArgs, Invocation};
use holdfast::daemon::logging::{self, FLUSH_LIMIT, LogOptions};
use holdfast::daemon::{check, detach, doctor, load, main_process, notify_test, plan, process_name, sweep, why};
use holdfast::ipvs::process as balancer;
use holdfast::vrrp::process::{self, ProcessOptions};

/// Exit code of a command whose reader has gone: that of the tools which SIGPIPE ends.
const READER_GONE: u8 = 141;

fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    let invocation = match cli::parse(&argv) {
        Ok(invocation) => invocation,
        Err(leave) => {
            // A closed pipe is no reason to panic.
            let _ = if leave.stdout {
                std::io::stdout().write_all(leave.text.as_bytes())
            } else {
                std::io::stderr().write_all(leave.text.as_bytes())
            };
            return ExitCode::from(leave.code);
        }
    };
    let is_daemon = matches!(invocation, Invocation::Daemon(_));
    let result = match invocation {
        Invocation::Lab(args) => match holdfast::lab::run(*args) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Invocation::Genhash(args) => genhash::run(&args).map(|text| {
            // A closed pipe is no reason to panic.
            let _ = std::io::stdout().write_all(text.as_bytes());
            0
        }),
        Invocation::Sweep(args) => sweep::run(&args),
        Invocation::Why(args) => why::run(&args),
        Invocation::Check(args) => check::check(&args),
        Invocation::Doctor(args) => doctor::doctor(&args),
        Invocation::Plan(args) => plan::plan(&args),
        Invocation::NotifyTest(args) => notify_test::run(&args),
        Invocation::Control(command) => Ok(holdfast::control::commands::run(command)),
        Invocation::Ipvsadm { program, arguments } => Ok(holdfast::ipvsadm::main(&program, &arguments)),
        Invocation::Daemon(args) => daemon(*args, argv),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        // `holdfast check … | head -1`
        Err(error) if !is_daemon && reader_is_gone(&error) => ExitCode::from(READER_GONE),
        Err(error) => {
            let _ = writeln!(io::stderr(), "{}: {error:#}", env!("CARGO_PKG_NAME"));
            ExitCode::FAILURE
        }
    }
}

fn reader_is_gone(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        json.or(cause.downcast_ref::<io::Error>().map(io::Error::kind))
    };
    error.chain().any(|cause| kind(cause) == Some(io::ErrorKind::BrokenPipe))
}

fn daemon(args: DaemonArgs, argv: Vec<OsString>) -> anyhow::Result<u8> {
    if let Some(child) = args.child {
        holdfast::net::sys::keep_large_buffers_apart();
        if let Some(name) = &args.process_name {
            process_name::call_this_process(name);
        }
        return match child {
            ChildKind::Vrrp => vrrp_child(&args),
            ChildKind::Balancer => balancer_child(&args),
        };
    }
    holdfast::net::sys::keep_memory_for_the_next_reading();
    if let Some(output) = &args.config_test {
        return load::config_test(&args, output.as_deref());
    }
    detach::seal_inherited_descriptors();
    if !args.dont_fork && !args.detached {
        return Ok(detach::into_background(&argv)?);
    }
    let logging = logging::init(&LogOptions::of(&args, None))?;
    log_panics();
    let result = main_process::run(args, argv, &logging);
    if let Err(error) = &result {
        tracing::error!("{error:#}");
    }
    logging.flush(FLUSH_LIMIT);
    result
}

fn vrrp_child(args: &DaemonArgs) -> anyhow::Result<u8> {
    // First: from here on nothing written to standard output can reach the flight recorder.
    let options = ProcessOptions::from_standard_streams()?;
    let logging = logging::init(&LogOptions::of(args, Some("vrrp")))?;
    log_panics();
    let code = process::run(options);
    logging.flush(FLUSH_LIMIT);
    Ok(u8::try_from(code).unwrap_or(1))
}

fn balancer_child(args: &DaemonArgs) -> anyhow::Result<u8> {
    let options = balancer::ProcessOptions::from_standard_streams()?;
    let logging = logging::init(&LogOptions::of(args, Some("healthcheckers")))?;
    log_panics();
    let code = balancer::run(options);
    logging.flush(FLUSH_LIMIT);
    Ok(u8::try_from(code).unwrap_or(1))
}

/// A daemon's standard error stream may be nobody's.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| tracing::error!("panic: {panic}")));
}
