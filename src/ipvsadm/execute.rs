//! Does what a command line says.
//!
//! Shell: speaks to the kernel, reads standard input for `-R`.

use std::io::{self, BufRead, Write};

use super::address::Names;
use super::command::{self, Command, List, Shown};
use super::daemons::Daemons;
use super::list::Columns;
use super::names::SystemNames;
use super::source::{Entry, Look, Source};
use super::{Leave, connections, help, json, list, restore, save, sort};
use crate::ipvs::genl::{KernelDestination, KernelService, Request};
use crate::ipvs::kernel::{CallError, Kernel};
use crate::ipvs::types::ServiceKey;

/// Where the kernel shows its connections.
const CONNECTIONS: &str = "/proc/net/ip_vs_conn";

/// Everything around a run.
pub struct Surroundings<'a> {
    /// As the program was called, for messages.
    pub program: &'a str,
    /// Of hosts and services.
    pub names: &'a dyn Names,
    /// The userspace forwarder.
    pub forwarder: &'a mut dyn Source,
    /// For `-R`.
    pub input: &'a mut dyn BufRead,
    /// What is shown.
    pub output: &'a mut dyn Write,
    /// What went wrong.
    pub errors: &'a mut dyn Write,
}

/// The program itself, over the standard streams; the exit code.
pub fn main(program: &str, arguments: &[String]) -> u8 {
    let stdin = io::stdin();
    run(
        arguments,
        &mut Surroundings {
            program,
            names: &SystemNames::default(),
            forwarder: &mut Daemons::default(),
            input: &mut stdin.lock(),
            output: &mut io::BufWriter::new(io::stdout().lock()),
            errors: &mut io::stderr(),
        },
    )
}

/// Carries out one command line, without the program's name; the exit code.
pub fn run(arguments: &[String], around: &mut Surroundings<'_>) -> u8 {
    let mut kernel = Kernel::default();
    let result = match command::parse(around.program, arguments, around.names) {
        Ok(Command::Restore) => restore::run(&mut kernel, around),
        Ok(command) => carry_out(&command, &mut kernel, around),
        Err(leave) => Err(leave),
    };
    // A closed pipe is no reason to say anything.
    let code = match result {
        Ok(()) => 0,
        Err(leave) => {
            let _ = around.output.flush();
            if !leave.text.is_empty() {
                let _ = writeln!(around.errors, "{}", leave.text);
            }
            leave.code
        }
    };
    let _ = around.output.flush();
    code
}

pub(super) fn carry_out(command: &Command, kernel: &mut Kernel, around: &mut Surroundings<'_>) -> Result<(), Leave> {
    let request = match command {
        Command::Help => return show(around, &help::usage(around.program)),
        Command::Version => return show(around, &help::version()),
        Command::Restore => return Ok(()),
        Command::List(list) => return show_list(list, kernel, around),
        Command::Save { numeric } => {
            let entries = sort::sort(kernel_entries(kernel).map_err(|error| no_kernel(&error, around))?);
            let text = save::table(&entries, *numeric, around.names);
            return show(around, &text);
        }
        Command::StartDaemon(daemon) => Request::start_daemon(daemon),
        Command::StopDaemon(state) => Request::stop_daemon(*state),
        command => match change(command) {
            Some(request) => request,
            None => return Ok(()),
        },
    };
    // Whether there is IPVS at all is another question than what the kernel says to a command.
    if let Err(error) = kernel.reach() {
        return Err(not_ours(command, around).unwrap_or_else(|| no_kernel(&error, around)));
    }
    // A service of the kernel would take the traffic before the forwarder sees it.
    if let (Command::AddService(_), Some(leave)) = (command, not_ours(command, around)) {
        return Err(leave);
    }
    match kernel.call(&request) {
        Ok(_) => Ok(()),
        // A daemon that is stopped before it ever ran is gone nevertheless.
        Err(error) if error.errno() == Some(libc::EINTR) && matches!(command, Command::StopDaemon(_)) => Ok(()),
        Err(error) => Err(refused(command, &error, around)),
    }
}

/// What the kernel's refusal of a command comes to.
pub(super) fn refused(command: &Command, error: &CallError, around: &mut Surroundings<'_>) -> Leave {
    let elsewhere = if error.errno() == Some(libc::ESRCH) { not_ours(command, around) } else { None };
    elsewhere.unwrap_or_else(|| Leave::refusal(refusal(command, error)))
}

/// Of a command that would change a service which a userspace forwarder carries: where that is to be changed.
pub(super) fn not_ours(command: &Command, around: &mut Surroundings<'_>) -> Option<Leave> {
    let key = command.service()?;
    let seen = around.forwarder.look(Look::default());
    let file = seen.entries.iter().find(|entry| entry.service.key == key)?.configured_in.as_ref()?;
    let carried = format!("{key} is carried by the userspace forwarder");
    Some(Leave::refusal(match command {
        Command::Zero(_) => format!("{carried}: its counters are never set back"),
        Command::EditServer(_, KernelDestination { address, .. }) | Command::DeleteServer(_, address) => format!(
            "{carried}: it is changed in {file}, followed by `holdfast reload`; `holdfast drain {address}` takes a real \
             server out of it for the time being"
        ),
        _ => format!("{carried}: it is changed in {file}, followed by `holdfast reload`"),
    }))
}

/// What changes the table. It is answered at once, so that many can be sent together.
pub(super) fn change(command: &Command) -> Option<Request> {
    Some(match command {
        Command::AddService(service) => Request::new_service(service),
        Command::EditService(service) => Request::set_service(service),
        Command::DeleteService(key) => Request::del_service(key),
        Command::AddServer(key, to) => Request::new_destination(key, to),
        Command::EditServer(key, to) => Request::set_destination(key, to),
        Command::DeleteServer(key, to) => Request::del_destination(key, *to),
        Command::Clear => Request::flush(),
        Command::Zero(key) => Request::zero(key.as_ref()),
        Command::Set(timeouts) => Request::set_timeouts(*timeouts),
        Command::Help
        | Command::Version
        | Command::Restore
        | Command::List(_)
        | Command::Save { .. }
        | Command::StartDaemon(_)
        | Command::StopDaemon(_) => return None,
    })
}

fn show_list(list: &List, kernel: &mut Kernel, around: &mut Surroundings<'_>) -> Result<(), Leave> {
    let text = match list.what {
        Shown::Services { only: None, unsorted, .. } => all_services(list, unsorted, kernel, around)?,
        Shown::Services { only: Some(key), unsorted, .. } => one_service(list, &key, unsorted, kernel, around)?,
        Shown::Timeouts => {
            let timeouts = kernel.timeouts().map_err(|error| no_kernel(&error, around))?;
            if list.json { json::timeouts(timeouts) } else { list::timeouts(timeouts) }
        }
        Shown::Daemons => {
            let daemons = kernel.daemons().map_err(|error| no_kernel(&error, around))?;
            if list.json { json::daemons(&daemons) } else { list::daemons(&daemons) }
        }
        Shown::Connections { engines } => {
            kernel.info().map_err(|error| no_kernel(&error, around))?;
            let text = std::fs::read(CONNECTIONS)
                .map_err(|error| Leave { text: format!("{CONNECTIONS}: {error}"), code: 1 })?;
            let connections = connections::parse(&String::from_utf8_lossy(&text));
            match list.json {
                true => json::connections(&connections),
                false => connections::table(&connections, list.numeric, engines, around.names),
            }
        }
    };
    show(around, &text)
}

fn all_services(
    list: &List,
    unsorted: bool,
    kernel: &mut Kernel,
    around: &mut Surroundings<'_>,
) -> Result<String, Leave> {
    let proxied = look(list, around);
    let (info, entries) = match kernel.info().and_then(|info| Ok((info, kernel_entries(kernel)?))) {
        Ok((info, entries)) => (Some(info), entries),
        // The forwarder is at work: that is what there is to see.
        Err(_) if !proxied.is_empty() => (None, Vec::new()),
        Err(error) => return Err(no_kernel(&error, around)),
    };
    let arrange = |entries| if unsorted { entries } else { sort::sort(entries) };
    let mut all = arrange(entries);
    all.extend(arrange(proxied));
    Ok(match list.json {
        true => json::services(&all, info),
        false => list::title(info.unwrap_or_default()) + &list::table(&all, list.style(), around.names),
    })
}

fn one_service(
    list: &List,
    key: &ServiceKey,
    unsorted: bool,
    kernel: &mut Kernel,
    around: &mut Surroundings<'_>,
) -> Result<String, Leave> {
    let of_forwarder = look(list, around).into_iter().filter(|entry| entry.service.key == *key);
    let mut entries: Vec<Entry> = of_forwarder.collect();
    match kernel.entry(key) {
        Ok(found) => entries.insert(0, kernel_entry(found)),
        Err(_) if !entries.is_empty() => {}
        Err(error) if error.errno() == Some(libc::ESRCH) => {
            return Err(Leave { text: "No such service".to_owned(), code: 1 });
        }
        Err(error) => return Err(no_kernel(&error, around)),
    }
    let entries = if unsorted { entries } else { sort::sort(entries) };
    Ok(if list.json { json::services(&entries, None) } else { list::table(&entries, list.style(), around.names) })
}

/// The userspace forwarder's services; what of it cannot be shown is said beside the list.
fn look(list: &List, around: &mut Surroundings<'_>) -> Vec<Entry> {
    let rates = matches!(list.what, Shown::Services { columns: Columns::Rate, .. });
    let seen = around.forwarder.look(Look { control_dir: list.control_dir.as_deref(), rates });
    for remark in &seen.remarks {
        // A closed pipe is no reason to end.
        let _ = writeln!(around.errors, "{}: {remark}", around.program);
    }
    seen.entries.clone()
}

fn kernel_entries(kernel: &mut Kernel) -> Result<Vec<Entry>, CallError> {
    Ok(kernel.entries()?.into_iter().map(kernel_entry).collect())
}

fn kernel_entry((service, destinations): (KernelService, Vec<KernelDestination>)) -> Entry {
    Entry { service, destinations, configured_in: None }
}

fn show(around: &mut Surroundings<'_>, text: &str) -> Result<(), Leave> {
    match around.output.write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Leave { text: format!("standard output: {error}"), code: 1 })
        }
        _ => Ok(()),
    }
}

/// There is no IPVS, or it does not answer. Whose services are elsewhere is told where.
pub(super) fn no_kernel(error: &CallError, around: &mut Surroundings<'_>) -> Leave {
    let why = match error.errno() {
        Some(libc::EPERM) => "Permission denied (you must be root)".to_owned(),
        Some(libc::ENOENT) => "Protocol not available".to_owned(),
        _ => system_words(error),
    };
    let mut text = format!(
        "Can't initialize ipvs: {why}\nAre you sure that IP Virtual Server is built in the kernel or as module?"
    );
    let seen = around.forwarder.look(Look::default());
    if let Some(file) = seen.entries.iter().find_map(|entry| entry.configured_in.as_ref()) {
        let count = seen.entries.len();
        text += &format!(
            "\nThe userspace forwarder carries {count} services of {file}; `{} -L` shows them.",
            around.program
        );
    }
    Leave::mistake(text)
}

/// As ipvsadm says it.
pub(super) fn refusal(command: &Command, error: &CallError) -> String {
    use Command::{
        AddServer, AddService, DeleteServer, DeleteService, EditServer, EditService, StartDaemon, StopDaemon, Zero,
    };
    let errno = error.errno().unwrap_or(0);
    let known = match (command, errno) {
        (AddService(_), libc::EEXIST) => "Service already exists",
        (AddService(_) | EditService(_), libc::ENOENT) => "Scheduler or persistence engine not found",
        (EditService(_) | DeleteService(_) | Zero(_), libc::ESRCH) => "No such service",
        (AddServer(..) | EditServer(..) | DeleteServer(..), libc::ESRCH) => "Service not defined",
        (AddServer(..), libc::EEXIST) => "Destination already exists",
        (EditServer(..) | DeleteServer(..), libc::ENOENT) => "No such destination",
        (StartDaemon(_), libc::EEXIST) => "Daemon has already run",
        (StopDaemon(_), libc::ESRCH) => "No daemon is running",
        (_, libc::EINVAL) => "Invalid operation.  Possibly wrong module version, address not unicast, ...",
        (_, libc::EPERM) => "Permission denied (you must be root)",
        (_, libc::ENOMEM) => "Memory allocation problem",
        _ => return system_words(error),
    };
    known.to_owned()
}

/// The C library's words, without the number that Rust puts behind them.
fn system_words(error: &CallError) -> String {
    let text = match error.errno() {
        Some(errno) => io::Error::from_raw_os_error(errno).to_string(),
        None => error.to_string(),
    };
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
