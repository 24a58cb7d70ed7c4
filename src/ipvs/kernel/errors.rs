//! What the kernel's refusals mean, for people.
//!
//! Pure.

use super::client::CallError;
use crate::ipvs::dataplane::DataplaneError;
use crate::ipvs::table::{Operation, ServiceSettings};
use crate::ipvs::types::{ForwardMethod, ServiceKey, SocketKey, Tunnel};

/// Why an operation was refused.
pub(super) fn explain(operation: &Operation, error: &CallError) -> DataplaneError {
    let what = subject(operation);
    let errno = error.errno().unwrap_or(0);
    let (why, lasting) = match (errno, operation) {
        (libc::ENOENT, Operation::AddService(_, settings) | Operation::EditService(_, settings)) => {
            // Not lasting: modules can be loaded later.
            (missing_module(settings), false)
        }
        (libc::ESRCH, Operation::AddDestination(..) | Operation::EditDestination(..)) => {
            ("the service is not in the kernel's table".to_owned(), false)
        }
        (libc::ERANGE, Operation::AddDestination(..) | Operation::EditDestination(..)) => {
            ("the lower threshold is above the upper one, or the weight is out of range".to_owned(), true)
        }
        (
            libc::EINVAL,
            Operation::AddDestination(key, to, settings) | Operation::EditDestination(key, to, settings),
        ) => (invalid_destination(key, *to, settings.method), true),
        (libc::EINVAL, Operation::AddService(_, settings) | Operation::EditService(_, settings)) => {
            (invalid_service(settings), true)
        }
        (libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT, _) => {
            ("the kernel balances no packets of this protocol or address family".to_owned(), true)
        }
        (libc::EPERM, _) => ("not permitted: CAP_NET_ADMIN is needed".to_owned(), true),
        _ => (error.to_string(), lasting(errno)),
    };
    DataplaneError { reason: format!("{what}: {why}"), lasting }
}

/// Why a dump or another request failed.
pub(super) fn plain(what: &str, error: &CallError) -> DataplaneError {
    let errno = error.errno().unwrap_or(0);
    let why = match errno {
        libc::ENOENT => "this kernel has no IPVS (module ip_vs)".to_owned(),
        libc::EPERM => "not permitted: CAP_NET_ADMIN is needed".to_owned(),
        _ => error.to_string(),
    };
    DataplaneError { reason: format!("{what}: {why}"), lasting: lasting(errno) }
}

/// Why a synchronisation daemon was not started.
pub(super) fn sync_daemon(what: &str, error: &CallError) -> DataplaneError {
    if error.errno() != Some(libc::EINVAL) {
        return plain(what, error);
    }
    let why = "refused: connections of services with real servers of the other address family cannot be synchronised; or \
               the settings are out of range";
    // The services may change, and with them the answer.
    DataplaneError { reason: format!("{what}: {why}"), lasting: false }
}

/// The kernel took a tunnel for an ipip one.
pub(super) fn ignored_tunnel(key: &ServiceKey, to: SocketKey) -> DataplaneError {
    let reason = format!(
        "real server {to} of {}: this kernel knows ipip tunnels only and made it one; gue needs 5.2, gre 5.3",
        name(key)
    );
    DataplaneError { reason, lasting: true }
}

/// Whether the same request would fail again. A lack of memory passes, and so does a module that is not loaded yet.
fn lasting(errno: i32) -> bool {
    matches!(
        errno,
        libc::EINVAL | libc::ERANGE | libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::EPERM
    )
}

fn missing_module(settings: &ServiceSettings) -> String {
    let scheduler = settings.scheduler;
    match settings.persistence.as_ref().and_then(|persistence| persistence.engine.as_ref()) {
        Some(engine) => format!(
            "the kernel has no scheduler {scheduler} or no persistence engine {engine} (modules ip_vs_{scheduler}, \
             ip_vs_pe_{engine})"
        ),
        None => format!("the kernel has no scheduler {scheduler} (module ip_vs_{scheduler})"),
    }
}

fn invalid_service(settings: &ServiceSettings) -> String {
    match settings.persistence.as_ref().and_then(|persistence| persistence.engine.as_ref()) {
        Some(engine) => format!("refused: does the persistence engine {engine} know this protocol?"),
        None => "refused as invalid: the address must be one host's, the granularity between 1 and 128".to_owned(),
    }
}

fn invalid_destination(key: &ServiceKey, to: SocketKey, method: ForwardMethod) -> String {
    if key.family() != to.family() {
        return match method {
            ForwardMethod::Tun(_) => "refused: a real server of the other address family needs a kernel from 3.18 on, \
                                      and no lvs_sync_daemon running"
                .to_owned(),
            _ => "a real server of the other address family is reached by TUN only".to_owned(),
        };
    }
    match method {
        ForwardMethod::Tun(Tunnel::Gue { .. } | Tunnel::Gre { .. }) => {
            "refused: is the kernel older than 5.2 (gue) or 5.3 (gre), or the address not one host's?".to_owned()
        }
        _ => "refused as invalid: the address must be one host's".to_owned(),
    }
}

/// What an operation is about, as log lines have it.
fn subject(operation: &Operation) -> String {
    match operation {
        Operation::AddService(key, _) => format!("adding service {}", name(key)),
        Operation::EditService(key, _) => format!("changing service {}", name(key)),
        Operation::RemoveService(key) => format!("removing service {}", name(key)),
        Operation::AddDestination(key, to, _) => format!("adding real server {to} to {}", name(key)),
        Operation::EditDestination(key, to, _) => format!("changing real server {to} of {}", name(key)),
        Operation::RemoveDestination(key, to) => format!("removing real server {to} from {}", name(key)),
    }
}

fn name(key: &ServiceKey) -> String {
    match key {
        ServiceKey::Address { protocol, address } => format!("{protocol} {address}"),
        ServiceKey::Fwmark { mark, .. } => format!("FWM {mark}"),
    }
}
