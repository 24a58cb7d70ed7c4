//! What the command line does with the client: `status`, `events`, `failover` and the others.
//!
//! Shell: prints. How things look is decided in [`crate::status::screen`].
#![allow(clippy::disallowed_methods, reason = "a shell: waits in real time")]

use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::api::{MaintenanceOrder, Method, RealServerOrder, encode};
use super::client::{Client, ClientError};
use crate::cli::control::{ControlCommand, OnOff, RealServerArgs, Target};
use crate::daemon::local_time::LocalTime;
use crate::daemon::reload_time::Zone;
use crate::status::model::{Event, Outcome, State, Status};
use crate::status::screen::{self, Style};
use crate::status::time::Time;

/// It was refused.
const EXIT_REFUSED: u8 = 1;
/// The daemon does not run (LSB's code of `status`).
const EXIT_NOT_RUNNING: u8 = 3;
/// This user may not (LSB).
const EXIT_NOT_PERMITTED: u8 = 4;

/// Between two looks of `status --watch`.
const WATCH: Duration = Duration::from_secs(1);
/// Somebody takes over by then, or nobody does.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// A stop takes no longer: child_wait_time, notify scripts, the shutdown script.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Runs a command; the exit code.
pub fn run(command: ControlCommand) -> u8 {
    let result = match command {
        ControlCommand::Status { target, watch: true, .. } => watch(&client(&target)),
        ControlCommand::Status { target, json, .. } => status(&client(&target), json),
        ControlCommand::Events { target, follow, json, after } => events(&client(&target), follow, json, after),
        ControlCommand::Failover { target, instance, no_wait } => failover(&client(&target), &instance, no_wait),
        ControlCommand::Maintenance { target, state, lasts, reason, force } => match state {
            Some(state) => {
                let for_seconds = lasts.map(|lasts| lasts.as_secs());
                let order = MaintenanceOrder { on: state == OnOff::On, for_seconds, reason, force };
                command_with(&client(&target), "/v1/maintenance", &order).and_then(|outcome| tell(&outcome))
            }
            None => show_maintenance(&client(&target)),
        },
        ControlCommand::Drain(args) => real_server(&args, "drain"),
        ControlCommand::Maint(args) => real_server(&args, "maint"),
        ControlCommand::Enable(args) => real_server(&args, "enable"),
        ControlCommand::Reload { target, pid: None } => reload(&client(&target)),
        ControlCommand::Reload { target, pid: Some(pid) } => reload_process(&target, pid),
        ControlCommand::Stop { target } => stop(&client(&target)),
    };
    match result {
        Ok(code) => code,
        Err(Failure::Output) => 0,
        Err(Failure::Client(error)) => {
            eprintln!("holdfast: {error}");
            match error {
                ClientError::NotRunning { .. } => EXIT_NOT_RUNNING,
                ClientError::NotPermitted { .. } => EXIT_NOT_PERMITTED,
                ClientError::Late { .. } | ClientError::Broken { .. } => EXIT_REFUSED,
            }
        }
        Err(Failure::Refused(outcome)) => {
            eprintln!("{}", screen::refusal(&outcome));
            EXIT_REFUSED
        }
    }
}

/// Why a command ends early.
enum Failure {
    Client(ClientError),
    Refused(Box<Outcome>),
    /// Nobody reads what we print.
    Output,
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Output
    }
}

fn client(target: &Target) -> Client {
    Client::new(&target.control_dir)
}

/// The JSON of an answer, or what it refuses.
fn understand<T: DeserializeOwned>(client: &Client, method: Method, status: u16, body: &[u8]) -> Result<T, Failure> {
    let broken = |error: serde_json::Error| ClientError::Broken {
        socket: client.socket(method),
        why: format!("the answer ({status}) is not understood: {error}"),
    };
    if status == 200 {
        return serde_json::from_slice(body).map_err(|error| broken(error).into());
    }
    let outcome = serde_json::from_slice::<Outcome>(body).map_err(broken)?;
    Err(Failure::Refused(Box::new(outcome)))
}

fn read_status(client: &Client) -> Result<Status, Failure> {
    let answer = client.ask(Method::Get, "/v1/status", "")?;
    understand(client, Method::Get, answer.status, &answer.body)
}

fn status(client: &Client, json: bool) -> Result<u8, Failure> {
    if json {
        let answer = client.ask(Method::Get, "/v1/status", "")?;
        let value: serde_json::Value = understand(client, Method::Get, answer.status, &answer.body)?;
        writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&value).unwrap_or_default())?;
        return Ok(0);
    }
    let status = read_status(client)?;
    io::stdout().write_all(screen::status(&status, &style(), &local_time).as_bytes())?;
    Ok(0)
}

fn watch(client: &Client) -> Result<u8, Failure> {
    /// To the upper left corner; and from the cursor on everything is erased.
    const HOME: &str = "\x1b[H";
    const ERASE_LINE: &str = "\x1b[K\n";
    const ERASE_REST: &str = "\x1b[J";
    let terminal = io::stdout().is_terminal();
    loop {
        let text = match read_status(client) {
            Ok(status) => screen::status(&status, &style(), &local_time),
            Err(Failure::Client(error)) => format!("holdfast: {error}\n"),
            Err(other) => return Err(other),
        };
        let mut out = io::stdout().lock();
        if terminal {
            // Line by line over the old picture, which does not flicker.
            write!(out, "{HOME}{}{ERASE_REST}", text.replace('\n', ERASE_LINE))?;
        } else {
            writeln!(out, "{text}")?;
        }
        out.flush()?;
        drop(out);
        std::thread::sleep(WATCH);
    }
}

fn events(client: &Client, follow: bool, json: bool, after: u64) -> Result<u8, Failure> {
    let path = format!("/v1/events?after={after}&most={}&follow={follow}", u32::MAX);
    let style = style();
    let mut output = Ok(());
    let answer = client.lines(&path, |line| {
        let mut out = io::stdout().lock();
        output = match serde_json::from_slice::<Event>(line) {
            Ok(event) if !json => out.write_all(screen::event(&event, &style, &local_time).as_bytes()),
            _ => out.write_all(line).and_then(|()| out.write_all(b"\n")),
        };
        let written = output.is_ok() && out.flush().is_ok();
        if written { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    output?;
    match answer {
        Some(answer) => understand::<()>(client, Method::Get, answer.status, &answer.body).map(|()| 0),
        None if follow => {
            eprintln!("holdfast: the daemon has ended");
            Ok(EXIT_NOT_RUNNING)
        }
        None => Ok(0),
    }
}

/// Gives a command.
fn command_with(client: &Client, path: &str, body: &impl serde::Serialize) -> Result<Outcome, Failure> {
    let body = serde_json::to_string(body).unwrap_or_default();
    // No body rather than the nothing of JSON.
    let body = if body == "null" { String::new() } else { body };
    let answer = client.ask(Method::Post, path, &body)?;
    understand(client, Method::Post, answer.status, &answer.body)
}

fn tell(outcome: &Outcome) -> Result<u8, Failure> {
    writeln!(io::stdout(), "{}", outcome.message.trim_end())?;
    Ok(0)
}

fn failover(client: &Client, name: &str, no_wait: bool) -> Result<u8, Failure> {
    let outcome = command_with(client, &format!("/v1/instances/{}/failover", encode(name)), &())?;
    tell(&outcome)?;
    if no_wait {
        return Ok(0);
    }
    let until = Instant::now() + TAKEOVER_LIMIT;
    while Instant::now() < until {
        let status = read_status(client)?;
        let is_meant = |instance: &&crate::status::model::Instance| {
            instance.name == name || instance.sync_group.as_deref() == Some(name)
        };
        let Some(instance) = status.instances.iter().find(is_meant) else { return Ok(0) };
        if instance.state == State::Master && !instance.handing_over {
            writeln!(io::stdout(), "nobody took over: {} is MASTER again", instance.name)?;
            return Ok(EXIT_REFUSED);
        }
        if let Some(master) = instance.master.as_ref().filter(|master| master.priority > 0 && !instance.handing_over) {
            let (address, priority) = (master.address, master.priority);
            writeln!(io::stdout(), "{address} (priority {priority}) is master of {} now", instance.name)?;
            return Ok(0);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    writeln!(io::stdout(), "nobody was heard as master of {name} within {TAKEOVER_LIMIT:?}")?;
    Ok(EXIT_REFUSED)
}

fn show_maintenance(client: &Client) -> Result<u8, Failure> {
    let status = read_status(client)?;
    writeln!(io::stdout(), "{}", screen::maintenance(&status.maintenance, &local_time))?;
    Ok(0)
}

fn real_server(args: &RealServerArgs, word: &str) -> Result<u8, Failure> {
    let path = format!("/v1/real-servers/{}/{word}", encode(&args.real_server));
    let order = RealServerOrder { virtual_server: args.virtual_server.clone() };
    command_with(&client(&args.target), &path, &order).and_then(|outcome| tell(&outcome))
}

fn reload(client: &Client) -> Result<u8, Failure> {
    command_with(client, "/v1/reload", &()).and_then(|outcome| tell(&outcome))
}

/// The daemon with this number, by its sockets or by a signal.
fn reload_process(target: &Target, pid: i32) -> Result<u8, Failure> {
    let below = std::fs::read_dir(&target.control_dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut clients = std::iter::once(target.control_dir.clone()).chain(below).map(|directory| Client::new(&directory));
    if let Some(client) = clients.find(|client| client.daemon_pid() == Some(pid)) {
        return reload(&client);
    }
    if let Err(error) = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGHUP) {
        eprintln!("holdfast: process {pid} cannot be told: {}", error.desc());
        return Ok(EXIT_NOT_RUNNING);
    }
    writeln!(io::stdout(), "process {pid} has no control sockets here: told by SIGHUP, its log says what came of it")?;
    Ok(0)
}

fn stop(client: &Client) -> Result<u8, Failure> {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    // Before it is told: afterwards the number may be another's.
    let daemon = client.daemon_pid().and_then(Pid::from_raw).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    command_with(client, "/v1/stop", &())?;
    let Some(daemon) = daemon else {
        writeln!(io::stdout(), "stopping")?;
        return Ok(0);
    };
    let mut wait = [nix::poll::PollFd::new(std::os::fd::AsFd::as_fd(&daemon), nix::poll::PollFlags::POLLIN)];
    let limit = nix::poll::PollTimeout::try_from(STOP_LIMIT).unwrap_or(nix::poll::PollTimeout::MAX);
    match nix::poll::poll(&mut wait, limit) {
        Ok(1..) => {
            writeln!(io::stdout(), "stopped")?;
            Ok(0)
        }
        _ => {
            writeln!(io::stdout(), "told to stop, and still running after {STOP_LIMIT:?}")?;
            Ok(EXIT_REFUSED)
        }
    }
}

/// Colour for people, and as wide as their terminal.
fn style() -> Style {
    let terminal = io::stdout().is_terminal();
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let width = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
    Style { color: terminal && !plain, width: width.filter(|width| terminal && *width >= 40) }
}

/// `2026-11-21 09:24:12` here.
fn local_time(time: Time) -> String {
    let moment = i64::try_from(time.0.as_secs()).ok().and_then(|seconds| LocalTime.civil(seconds));
    match moment {
        Some(c) => {
            let (y, mo, d, h, mi, s) = (c.year, c.month, c.day, c.hour, c.minute, c.second);
            format!("{y:04}-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02}")
        }
        None => time.to_string(),
    }
}
