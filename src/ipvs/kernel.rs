//! The kernel's IPVS as a data plane.
//!
//! Shell: owns a generic netlink socket, opened with the first call and again after a loss. Operations go out many to a
//! send: 1,000 services with 10 real servers each are some 90 system calls.

mod client;
mod errors;

use std::borrow::Borrow;
use std::collections::BTreeMap;

pub use client::{CallError, Client};

use super::config::{LvsTimeouts, SyncDaemonConfig};
use super::dataplane::{Counters, Dataplane, DataplaneError, DestinationCounters, Refusal, ServiceCounters};
use super::genl::convert::{destination_of, settings_of, to_kernel_destination, to_kernel_service};
use super::genl::destination::tunnel;
use super::genl::{Daemon, DaemonState, Info, KernelDestination, KernelService, Reply, Request, Timeouts};
use super::table::{Operation, Service, ServiceTable};
use super::types::ServiceKey;
use crate::vrrp::types::Family;

/// The kernel's table in the network namespace of the thread that made the first call.
#[derive(Debug, Default)]
pub struct Kernel {
    client: Option<Client>,
    /// Whether it was seen that this kernel keeps a tunnel's type.
    keeps_tunnels: bool,
}

impl Kernel {
    /// Whether this kernel has IPVS, now: its module is loaded by asking.
    pub fn available() -> bool {
        Client::open().is_ok()
    }

    /// Services and their destinations as the kernel has them, in its order.
    ///
    /// # Errors
    /// The kernel has no IPVS, or refuses, or answers were lost.
    pub fn entries(&mut self) -> Result<Vec<(KernelService, Vec<KernelDestination>)>, CallError> {
        let services = self.services()?;
        let with_destinations = |service: KernelService| {
            let destinations = self.destinations(&service.key)?;
            Ok((service, destinations))
        };
        services.into_iter().map(with_destinations).collect()
    }

    /// One service.
    ///
    /// # Errors
    /// `ESRCH`: there is none. Others as for [`Kernel::entries`].
    pub fn entry(&mut self, key: &ServiceKey) -> Result<(KernelService, Vec<KernelDestination>), CallError> {
        let replies = self.call(&Request::get_service(key))?;
        let service = replies.into_iter().find_map(|reply| match reply {
            Reply::Service(service) => Some(service),
            _ => None,
        });
        let service = service.ok_or(CallError::Refused { errno: libc::ESRCH, text: None })?;
        let destinations = self.destinations(key)?;
        Ok((service, destinations))
    }

    fn services(&mut self) -> Result<Vec<KernelService>, CallError> {
        let replies = self.call(&Request::dump_services())?.into_iter();
        Ok(replies.filter_map(|reply| if let Reply::Service(service) = reply { Some(service) } else { None }).collect())
    }

    fn destinations(&mut self, key: &ServiceKey) -> Result<Vec<KernelDestination>, CallError> {
        let replies = self.call_of(&Request::dump_destinations(key), key.family())?.into_iter();
        Ok(replies.filter_map(|reply| if let Reply::Destination(to) = reply { Some(to) } else { None }).collect())
    }

    /// Version and table size.
    ///
    /// # Errors
    /// As for [`Kernel::entries`].
    pub fn info(&mut self) -> Result<Info, CallError> {
        let replies = self.call(&Request::get_info())?;
        Ok(replies
            .into_iter()
            .find_map(|r| if let Reply::Info(info) = r { Some(info) } else { None })
            .unwrap_or_default())
    }

    /// That there is IPVS and that we may speak to it; asked once.
    ///
    /// # Errors
    /// As for [`Kernel::entries`].
    pub fn reach(&mut self) -> Result<(), CallError> {
        if self.client.is_some() { Ok(()) } else { self.info().map(|_| ()) }
    }

    /// The connection timeouts.
    ///
    /// # Errors
    /// As for [`Kernel::entries`].
    pub fn timeouts(&mut self) -> Result<Timeouts, CallError> {
        let replies = self.call(&Request::get_timeouts())?;
        Ok(replies
            .into_iter()
            .find_map(|r| if let Reply::Timeouts(t) = r { Some(t) } else { None })
            .unwrap_or_default())
    }

    /// Sets the timeouts that are given (`lvs_timeouts`), and leaves the others.
    ///
    /// # Errors
    /// As for [`Kernel::entries`].
    pub fn set_timeouts(&mut self, wanted: LvsTimeouts) -> Result<(), DataplaneError> {
        let timeouts = Timeouts {
            tcp: wanted.tcp.unwrap_or(0),
            tcp_fin: wanted.tcpfin.unwrap_or(0),
            udp: wanted.udp.unwrap_or(0),
        };
        self.carry_out("lvs_timeouts", &Request::set_timeouts(timeouts))
    }

    /// The synchronisation daemons that run.
    ///
    /// # Errors
    /// As for [`Kernel::entries`].
    pub fn daemons(&mut self) -> Result<Vec<Daemon>, CallError> {
        let replies = self.call(&Request::dump_daemons())?.into_iter();
        Ok(replies.filter_map(|r| if let Reply::Daemon(daemon) = r { Some(daemon) } else { None }).collect())
    }

    /// Starts a synchronisation daemon (`lvs_sync_daemon`). One that runs with other settings is started anew.
    ///
    /// # Errors
    /// The interface is not there or cannot do multicast, or as for [`Kernel::entries`].
    pub fn start_sync_daemon(&mut self, state: DaemonState, config: &SyncDaemonConfig) -> Result<(), DataplaneError> {
        let daemon = Daemon {
            state,
            interface: config.interface.clone(),
            sync_id: u32::from(config.id),
            max_length: config.max_length,
            group: config.group,
            port: config.port,
            ttl: config.ttl,
        };
        let what = format!("lvs_sync_daemon: starting {} on {}", state.name(), daemon.interface);
        match self.call(&Request::start_daemon(&daemon)) {
            Ok(_) => Ok(()),
            Err(error) if error.errno() == Some(libc::EEXIST) => {
                let running = self.daemons().map_err(|error| errors::plain(&what, &error))?;
                if running.iter().any(|running| same_daemon(running, &daemon)) {
                    return Ok(());
                }
                self.stop_sync_daemon(state)?;
                self.call(&Request::start_daemon(&daemon)).map(drop).map_err(|error| errors::sync_daemon(&what, &error))
            }
            Err(error) => Err(errors::sync_daemon(&what, &error)),
        }
    }

    /// Stops a synchronisation daemon. One that does not run is stopped.
    ///
    /// # Errors
    /// As for [`Kernel::entries`].
    pub fn stop_sync_daemon(&mut self, state: DaemonState) -> Result<(), DataplaneError> {
        match self.call(&Request::stop_daemon(state)) {
            Ok(_) => Ok(()),
            // Not there; or gone before it ever ran, of which the kernel says nothing.
            Err(error) if matches!(error.errno(), Some(libc::ESRCH | libc::EINTR)) => Ok(()),
            Err(error) => Err(errors::plain(&format!("lvs_sync_daemon: stopping {}", state.name()), &error)),
        }
    }

    /// Empties the table (`lvs_flush`).
    ///
    /// # Errors
    /// As for [`Kernel::entries`].
    pub fn flush(&mut self) -> Result<(), DataplaneError> {
        self.carry_out("lvs_flush", &Request::flush())
    }

    /// One request without an answer of its own; its name is for the error.
    fn carry_out(&mut self, what: &str, request: &Request) -> Result<(), DataplaneError> {
        self.call(request).map(|_| ()).map_err(|error| errors::plain(what, &error))
    }

    /// One request and its answers.
    ///
    /// # Errors
    /// As for [`Kernel::entries`].
    pub fn call(&mut self, request: &Request) -> Result<Vec<Reply>, CallError> {
        self.call_of(request, Family::V4)
    }

    fn call_of(&mut self, request: &Request, family: Family) -> Result<Vec<Reply>, CallError> {
        let result = self.client()?.call(request, family);
        self.forget_after(result.as_ref().err());
        result
    }

    fn client(&mut self) -> Result<&mut Client, CallError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::open()?,
        };
        Ok(self.client.insert(client))
    }

    /// Answers that were not read would be taken for those of the next request. A family that is not known any more was
    /// loaded anew, with another number.
    fn forget_after(&mut self, error: Option<&CallError>) {
        if error.is_some_and(|e| matches!(e, CallError::Lost(_)) || e.errno() == Some(libc::ENOENT)) {
            self.client = None;
        }
    }

    /// Carries these out in their order, many to a send; the refusals by place. One that is refused does not hold up the
    /// next ones.
    ///
    /// # Errors
    /// The kernel has no IPVS.
    pub fn batch<R: Borrow<Request>>(
        &mut self,
        requests: impl IntoIterator<Item = R>,
    ) -> Result<BTreeMap<usize, CallError>, CallError> {
        let refused = self.client()?.batch(requests);
        if refused.iter().any(|(_, error)| matches!(error, CallError::Lost(_))) {
            self.client = None;
        }
        Ok(refused.into_iter().collect())
    }
}

impl Kernel {
    /// Kernels before 5.2 pass over what they do not know of a tunnel and make it ipip, without a word. The first tunnel of
    /// another type is looked at.
    fn ignored_tunnels(&mut self, operations: &[Operation], refused: &[Refusal]) -> Vec<Refusal> {
        let accepted = |at: &usize| refused.iter().all(|refusal| refusal.operation != *at);
        let tunnels = operations.iter().enumerate().filter(|(at, _)| !self.keeps_tunnels && accepted(at));
        let tunnels: Vec<_> = tunnels.filter_map(|(at, operation)| Some((at, wanted_tunnel(operation)?))).collect();
        let Some((_, (key, wanted))) = tunnels.first() else { return Vec::new() };
        let Ok(dumped) = self.destinations(key) else { return Vec::new() };
        if !ignored(wanted, &dumped) {
            self.keeps_tunnels = true;
            return Vec::new();
        }
        let refusal = |(operation, (key, to)): &(usize, (ServiceKey, KernelDestination))| Refusal {
            operation: *operation,
            error: errors::ignored_tunnel(key, to.address),
        };
        tunnels.iter().map(refusal).collect()
    }
}

impl Dataplane for Kernel {
    fn name(&self) -> &'static str {
        "kernel"
    }

    fn apply(&mut self, operations: &[Operation]) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        // First as they are; then what was refused because the table was not what the plan thought, the other way.
        let mut sent = Vec::with_capacity(operations.len());
        let first = operations.iter().enumerate().filter_map(|(at, operation)| {
            let request = request(operation);
            match &request {
                Some(_) => sent.push(at),
                None => refusals.push(Refusal { operation: at, error: cannot_proxy(operation) }),
            }
            request
        });
        let refused = match self.batch(first) {
            Ok(refused) => refused,
            Err(error) => {
                let error = errors::plain("IPVS", &error);
                return (0..operations.len()).map(|operation| Refusal { operation, error: error.clone() }).collect();
            }
        };
        let (mut again, mut places) = (Vec::new(), Vec::new());
        for (place, error) in refused {
            let Some((at, operation)) = sent.get(place).and_then(|at| Some((*at, operations.get(*at)?))) else {
                continue;
            };
            match other_way(operation, error.errno().unwrap_or(0)) {
                Next::Done => {}
                Next::Again(request) => {
                    again.push(*request);
                    places.push(at);
                }
                Next::Refused => {
                    refusals.push(Refusal { operation: at, error: errors::explain(operation, &error) });
                }
            }
        }
        let refused = if again.is_empty() { Ok(BTreeMap::new()) } else { self.batch(&again) };
        match refused {
            Ok(refused) => refusals.extend(refused.into_iter().filter_map(|(place, error)| {
                let operation = *places.get(place)?;
                Some(Refusal { operation, error: errors::explain(operations.get(operation)?, &error) })
            })),
            Err(error) => {
                let error = errors::plain("IPVS", &error);
                refusals.extend(places.into_iter().map(|operation| Refusal { operation, error: error.clone() }));
            }
        }
        refusals.extend(self.ignored_tunnels(operations, &refusals));
        refusals.sort_by_key(|refusal| refusal.operation);
        refusals
    }

    fn dump(&mut self) -> Result<ServiceTable, DataplaneError> {
        let entries = self.entries().map_err(|error| errors::plain("reading the IPVS table", &error))?;
        Ok(ServiceTable { services: entries.iter().filter_map(table_entry).collect() })
    }

    fn counters(&mut self) -> Result<BTreeMap<ServiceKey, ServiceCounters>, DataplaneError> {
        let entries = self.entries().map_err(|error| errors::plain("reading the IPVS counters", &error))?;
        Ok(entries.iter().map(|(service, to)| (service.key, counters(service.stats, to))).collect())
    }
}

/// What follows a refusal.
enum Next {
    /// It was not needed.
    Done,
    /// Try this instead.
    Again(Box<Request>),
    /// It stands.
    Refused,
}

/// An entry of the dump. One that the table cannot hold is left out: adding it finds it there, and sets it right.
fn table_entry((service, destinations): &(KernelService, Vec<KernelDestination>)) -> Option<(ServiceKey, Service)> {
    let settings = settings_of(service)?;
    let destinations = destinations.iter().filter_map(|to| Some((to.address, destination_of(to)?)));
    Some((service.key, Service { settings, destinations: destinations.collect() }))
}

fn counters(total: Counters, destinations: &[KernelDestination]) -> ServiceCounters {
    let destination = |to: &KernelDestination| {
        let counters = DestinationCounters {
            total: to.stats,
            active: to.active,
            inactive: to.inactive,
            persistent: to.persistent,
        };
        (to.address, counters)
    };
    ServiceCounters { total, destinations: destinations.iter().map(destination).collect() }
}

/// `None`: not the kernel's business.
fn request(operation: &Operation) -> Option<Request> {
    Some(match operation {
        Operation::AddService(key, settings) => Request::new_service(&to_kernel_service(*key, settings)),
        Operation::EditService(key, settings) => Request::set_service(&to_kernel_service(*key, settings)),
        Operation::RemoveService(key) => Request::del_service(key),
        Operation::AddDestination(key, to, settings) => {
            Request::new_destination(key, &to_kernel_destination(*to, settings)?)
        }
        Operation::EditDestination(key, to, settings) => {
            Request::set_destination(key, &to_kernel_destination(*to, settings)?)
        }
        Operation::RemoveDestination(key, to) => Request::del_destination(key, *to),
    })
}

/// After a refusal in the first round: what is there already is changed, what is not there to be changed is added, and a
/// destination whose service was missing is tried again, for the service may be one of these.
fn other_way(operation: &Operation, errno: i32) -> Next {
    let again =
        |operation: Operation| request(&operation).map_or(Next::Refused, |request| Next::Again(Box::new(request)));
    match (operation.clone(), errno) {
        (Operation::AddService(key, settings), libc::EEXIST) => again(Operation::EditService(key, settings)),
        (Operation::EditService(key, settings), libc::ESRCH) => again(Operation::AddService(key, settings)),
        (Operation::AddDestination(key, to, settings), libc::EEXIST) => {
            again(Operation::EditDestination(key, to, settings))
        }
        (
            Operation::AddDestination(key, to, settings) | Operation::EditDestination(key, to, settings),
            libc::ENOENT | libc::ESRCH,
        ) => again(Operation::AddDestination(key, to, settings)),
        (Operation::RemoveService(_) | Operation::RemoveDestination(..), errno) if is_gone(errno) => Next::Done,
        _ => Next::Refused,
    }
}

/// A destination that is to be reached by another tunnel than ipip.
fn wanted_tunnel(operation: &Operation) -> Option<(ServiceKey, KernelDestination)> {
    let (Operation::AddDestination(key, to, settings) | Operation::EditDestination(key, to, settings)) = operation
    else {
        return None;
    };
    let kernel = to_kernel_destination(*to, settings)?;
    (kernel.tunnel_type != tunnel::IPIP).then_some((*key, kernel))
}

/// Whether the kernel has it, with another type of tunnel.
fn ignored(wanted: &KernelDestination, dumped: &[KernelDestination]) -> bool {
    dumped.iter().any(|to| to.address == wanted.address && to.tunnel_type != wanted.tunnel_type)
}

fn is_gone(errno: i32) -> bool {
    matches!(errno, libc::ENOENT | libc::ESRCH)
}

fn cannot_proxy(operation: &Operation) -> DataplaneError {
    let place = match operation {
        Operation::AddDestination(_, to, _) | Operation::EditDestination(_, to, _) => format!("real server {to}: "),
        _ => String::new(),
    };
    let reason = format!("{place}the kernel does not proxy: lb_kind PROXY needs virtual_server_forwarder userspace");
    DataplaneError { reason, lasting: true }
}

/// Whether a running daemon is the one that is wanted; the kernel has filled in what the configuration left open.
fn same_daemon(running: &Daemon, wanted: &Daemon) -> bool {
    let open = |set: bool, same: bool| !set || same;
    running.state == wanted.state
        && running.interface == wanted.interface
        && running.sync_id == wanted.sync_id
        && open(wanted.max_length.is_some(), running.max_length == wanted.max_length)
        && open(wanted.group.is_some(), running.group == wanted.group)
        && open(wanted.port.is_some(), running.port == wanted.port)
        && open(wanted.ttl.is_some(), running.ttl == wanted.ttl)
}

#[cfg(test)]
mod tests;
