//! The control side of the forwarder.
//!
//! Shell: opens sockets, starts threads, talks to nftables. Nothing here waits for traffic, and no thread waits for it.
#![allow(clippy::disallowed_methods)] // Shell: reads the clock for drain deadlines and rates.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::holder;
use super::service::{Backend, Service, View};
use super::socket::{self, Reach};
use super::tproxy::{Catch, Exempt, Rule, Tproxy};
use super::worker::{Command, Listener, Worker, waker};
use crate::ipvs::dataplane::{Counters, Dataplane, DataplaneError, DestinationCounters, Refusal, ServiceCounters};
use crate::ipvs::select::{Candidate, Selector, Turn};
use crate::ipvs::small_map::SmallMap;
use crate::ipvs::table::{self, Destination, Operation, ServiceSettings, ServiceTable};
use crate::ipvs::types::{ForwardMethod, Protocol, ServiceKey, SocketKey};
use crate::vrrp::types::Family;

/// Rates are not taken over less than this.
const RATE_PERIOD: Duration = Duration::from_secs(1);

/// How a forwarder is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads; `None` is one for each CPU (`forwarder_threads`).
    pub threads: Option<u16>,
    /// The nftables table for services without a port of their own. One forwarder of a network namespace has it.
    pub table: String,
    /// UDP flows of all threads together; each has a descriptor. No more than a quarter of the descriptors are used.
    pub flows: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { threads: None, table: "holdfast_forward".to_owned(), flows: 1 << 17 }
    }
}

/// The userspace forwarder. Its connections end when it is dropped.
#[derive(Debug)]
pub struct Userspace {
    threads: Vec<Thread>,
    start: Instant,
    services: BTreeMap<ServiceKey, Entry>,
    last_listener: u32,
    tproxy: Tproxy,
    notes: Vec<String>,
    noted: BTreeSet<(ServiceKey, SocketKey)>,
}

#[derive(Debug)]
struct Thread {
    commands: Sender<Command>,
    wake: Arc<OwnedFd>,
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    fn send(&self, command: Command) {
        // A thread that has ended has said so in the log.
        let _ = self.commands.send(command);
    }

    fn wake(&self) {
        // Full is awake.
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }
}

/// A service as the control side has it.
#[derive(Debug)]
struct Entry {
    service: Arc<Service>,
    turn: Arc<Turn>,
    table: table::Service,
    backends: SmallMap<SocketKey, Arc<Backend>>,
    /// Removed destinations whose last connection has not ended: one that comes back is the same one.
    gone: BTreeMap<SocketKey, Weak<Backend>>,
    /// The loopback ports of its TPROXY listeners.
    catches: Vec<(Protocol, u16)>,
    rates: SmallMap<Option<SocketKey>, Rate>,
}

#[derive(Debug)]
struct Rate {
    at: Instant,
    counters: Counters,
}

impl Userspace {
    /// Starts the threads. They wait for services.
    ///
    /// # Errors
    /// No descriptors or threads left.
    pub fn start(options: &Options) -> io::Result<Self> {
        let descriptors = raise_descriptor_limit();
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let count = options.threads.map_or(cpus, usize::from).max(1);
        let flow_limit = options.flows.min(descriptors / 4) / count;
        let start = Instant::now();
        let mut this = Self {
            threads: Vec::new(),
            start,
            services: BTreeMap::new(),
            last_listener: 0,
            tproxy: Tproxy::new(&options.table),
            notes: Vec::new(),
            noted: BTreeSet::new(),
        };
        for number in 0..count {
            let (commands, inbox) = channel();
            let wake = Arc::new(waker()?);
            let theirs = Arc::clone(&wake);
            let (ready, outcome) = channel();
            let work = move || {
                let worker = Worker::new(number, start, theirs, inbox, flow_limit);
                let result = worker.and_then(|worker| {
                    let _ = ready.send(Ok(()));
                    worker.run()
                });
                if let Err(error) = result {
                    tracing::error!("forwarder: thread {number} has ended: {error}");
                    let _ = ready.send(Err(error));
                }
            };
            let handle = std::thread::Builder::new().name(format!("forward-{number}")).spawn(work)?;
            this.threads.push(Thread { commands, wake, handle: Some(handle) });
            outcome.recv().map_err(|_| io::Error::other("a forwarding thread did not start"))??;
        }
        Ok(this)
    }

    /// What an operator should know and that no refusal says, each once: destinations that are carried another way than
    /// they ask for.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// How many connections and flows there are.
    pub fn open_connections(&self) -> u64 {
        self.services.values().map(|entry| u64::from(entry.service.open.load(Relaxed))).sum()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn carry_out(&mut self, operation: &Operation, touched: &mut BTreeSet<ServiceKey>) -> Result<(), DataplaneError> {
        match operation {
            Operation::AddService(key, settings) => self.add_service(*key, settings)?,
            Operation::EditService(key, settings) => self.entry(key)?.table.settings = settings.clone(),
            Operation::RemoveService(key) => return self.remove_service(key),
            Operation::AddDestination(key, to, destination) | Operation::EditDestination(key, to, destination) => {
                self.set_destination(key, *to, destination)?;
            }
            Operation::RemoveDestination(key, to) => self.remove_destination(key, to),
        }
        let (Operation::AddService(key, _)
        | Operation::EditService(key, _)
        | Operation::RemoveService(key)
        | Operation::AddDestination(key, ..)
        | Operation::EditDestination(key, ..)
        | Operation::RemoveDestination(key, _)) = operation;
        touched.insert(*key);
        Ok(())
    }

    fn entry(&mut self, key: &ServiceKey) -> Result<&mut Entry, DataplaneError> {
        self.services.get_mut(key).ok_or_else(|| passing(format!("the forwarder has no service {}", name(key))))
    }

    fn add_service(&mut self, key: ServiceKey, settings: &ServiceSettings) -> Result<(), DataplaneError> {
        if let Some(entry) = self.services.get_mut(&key) {
            entry.table.settings = settings.clone();
            return Ok(());
        }
        let view = View {
            settings: settings.clone(),
            selector: Selector::new(settings.scheduler, settings.flags, Vec::new(), Arc::default()),
            backends: Vec::new(),
        };
        let service = Arc::new(Service::new(key, view, self.threads.len()));
        let (sockets, catches) = self.open_listeners(key)?;
        let entry = Entry {
            service: Arc::clone(&service),
            turn: Arc::default(),
            table: table::Service { settings: settings.clone(), ..table::Service::default() },
            backends: SmallMap::default(),
            gone: BTreeMap::new(),
            catches,
            rates: SmallMap::default(),
        };
        self.services.insert(key, entry);
        if self.concerns_rules(&key)
            && let Err(error) = self.sync_rules()
        {
            self.services.remove(&key);
            return Err(error);
        }
        for (thread, (protocol, reach, socket)) in sockets {
            self.last_listener = self.last_listener.checked_add(1).unwrap_or(1);
            let listener = Listener { id: self.last_listener, service: Arc::clone(&service), protocol, reach, socket };
            if let Some(thread) = self.threads.get(thread) {
                thread.send(Command::Listen(listener));
            }
        }
        Ok(())
    }

    /// A socket for each thread, and for services without a port the loopback ports that packets are sent to.
    #[allow(clippy::type_complexity)]
    fn open_listeners(
        &self,
        key: ServiceKey,
    ) -> Result<(Vec<(usize, (Protocol, Reach, OwnedFd))>, Vec<(Protocol, u16)>), DataplaneError> {
        let mut sockets = Vec::new();
        let mut catches = Vec::new();
        let ipv4 = key.family() == Family::V4;
        let loopback = SocketAddr::new(socket::tproxy_address(ipv4), 0);
        let wanted = match key {
            ServiceKey::Address { protocol: Protocol::Sctp, .. } => return Err(sctp()),
            ServiceKey::Address { protocol, address } if address.port != 0 => {
                vec![(protocol, SocketAddr::from(address), Reach::Direct)]
            }
            ServiceKey::Address { protocol, .. } => vec![(protocol, loopback, Reach::Tproxy)],
            ServiceKey::Fwmark { .. } => {
                vec![(Protocol::Tcp, loopback, Reach::Tproxy), (Protocol::Udp, loopback, Reach::Tproxy)]
            }
        };
        for (protocol, mut address, reach) in wanted {
            for thread in 0..self.threads.len() {
                let opened = if protocol == Protocol::Tcp {
                    socket::listener(address, reach)
                } else {
                    socket::receiver(address, reach)
                };
                let opened = opened.map_err(|error| refused(&key, protocol, address, &error))?;
                if address.port() == 0 {
                    // The kernel chose a port; the other threads share it.
                    let chosen = rustix::net::getsockname(&opened).map_err(|e| passing(e.to_string()))?;
                    address = chosen.try_into().map_err(|_| passing("a socket without an address".to_owned()))?;
                }
                sockets.push((thread, (protocol, reach, opened)));
            }
            if reach == Reach::Tproxy {
                catches.push((protocol, address.port()));
            }
        }
        Ok((sockets, catches))
    }

    /// Has nftables send the packets of services without a port to their listeners. Looks at all services: to be called
    /// only for [`Self::concerns_rules`].
    fn sync_rules(&mut self) -> Result<(), DataplaneError> {
        let mut rules = Vec::new();
        let mut exempt = Vec::new();
        for (key, entry) in &self.services {
            for (protocol, port) in &entry.catches {
                let catch = match key {
                    ServiceKey::Address { address, .. } => Catch::Address(address.ip),
                    ServiceKey::Fwmark { mark, .. } => Catch::Mark(mark.get()),
                };
                rules.push(Rule { catch, family: key.family(), protocol: *protocol, port: *port });
            }
            if let ServiceKey::Address { protocol, address } = key
                && address.port != 0
                && self
                    .services
                    .contains_key(&ServiceKey::Address { protocol: *protocol, address: SocketKey::new(address.ip, 0) })
            {
                exempt.push(Exempt { protocol: *protocol, address: *address });
            }
        }
        self.tproxy.sync(&exempt, &rules).map_err(|error| DataplaneError {
            reason: format!(
                "virtual servers for all ports (port 0) and for firewall marks need TPROXY rules of nftables here, \
                 which the kernel refuses: {error}; name each port in a virtual_server of its own, or use a kernel with \
                 nf_tables and nft_tproxy, or with IPVS"
            ),
            lasting: true,
        })
    }

    fn remove_service(&mut self, key: &ServiceKey) -> Result<(), DataplaneError> {
        let Some(entry) = self.services.remove(key) else { return Ok(()) };
        entry.service.removed.store(true, Relaxed);
        for thread in &self.threads {
            thread.send(Command::Unlisten(Arc::clone(&entry.service)));
        }
        let drain = entry.table.settings.proxy.drain_timeout;
        for backend in entry.backends.values() {
            self.retire(backend, drain);
        }
        self.noted.retain(|(service, _)| service != key);
        // Rules that point to closed ports do no harm: what they do not find goes on as if they were not there.
        if self.concerns_rules(key) { self.sync_rules() } else { Ok(()) }
    }

    /// Whether rules depend on a service: it has no port of its own, or another service has the rest of its address.
    fn concerns_rules(&self, key: &ServiceKey) -> bool {
        match key {
            ServiceKey::Address { address, .. } if address.port == 0 => true,
            ServiceKey::Address { protocol, address } => {
                let all_ports = SocketKey::new(address.ip, 0);
                self.services.contains_key(&ServiceKey::Address { protocol: *protocol, address: all_ports })
            }
            ServiceKey::Fwmark { .. } => true,
        }
    }

    fn set_destination(
        &mut self,
        key: &ServiceKey,
        to: SocketKey,
        destination: &Destination,
    ) -> Result<(), DataplaneError> {
        let threads = self.threads.len();
        let entry = self.entry(key)?;
        if !entry.backends.contains_key(&to) {
            let again = entry.gone.remove(&to).and_then(|backend| backend.upgrade());
            entry.backends.insert(to, again.unwrap_or_else(|| Arc::new(Backend::new(to, threads))));
        }
        let Some(backend) = entry.backends.get(&to) else { return Ok(()) };
        backend.removed.store(false, Relaxed);
        backend.drain_until.store(u64::MAX, Relaxed);
        backend.load.set_thresholds(destination.upper_threshold, destination.lower_threshold);
        entry.table.destinations.insert(to, *destination);
        let method = match destination.method {
            ForwardMethod::Nat | ForwardMethod::Proxy => return Ok(()),
            ForwardMethod::Dr => "DR",
            ForwardMethod::Tun(_) => "TUN",
        };
        if self.noted.insert((*key, to)) {
            let note = format!(
                "virtual server {}: real server {to} asks for {method}, which only the kernel's IPVS can do; the \
                 forwarder connects to {to} as with NAT: the real server must listen there and sees the director's \
                 address (proxy_protocol or proxy_transparent tell it the client's)",
                name(key)
            );
            self.notes.push(note);
        }
        Ok(())
    }

    fn remove_destination(&mut self, key: &ServiceKey, to: &SocketKey) {
        let Some(entry) = self.services.get_mut(key) else { return };
        entry.table.destinations.remove(to);
        entry.rates.remove(&Some(*to));
        entry.gone.retain(|_, backend| backend.strong_count() > 0);
        let Some(backend) = entry.backends.remove(to) else { return };
        entry.gone.insert(*to, Arc::downgrade(&backend));
        let drain = entry.table.settings.proxy.drain_timeout;
        self.retire(&backend, drain);
    }

    /// New connections no longer see it; those that it has go on for as long as they may.
    fn retire(&self, backend: &Arc<Backend>, drain: Option<Duration>) {
        let until = drain
            .map_or(u64::MAX, |drain| self.now().saturating_add(u64::try_from(drain.as_millis()).unwrap_or(u64::MAX)));
        backend.drain_until.store(until, Relaxed);
        backend.removed.store(true, Relaxed);
        for thread in &self.threads {
            thread.send(Command::Drain(Arc::clone(backend)));
        }
    }
}

impl Entry {
    fn rebuild(&self) {
        let candidate = |(key, backend): (&SocketKey, &Arc<Backend>)| Candidate {
            key: *key,
            weight: self.table.destinations.get(key).map_or(0, |destination| destination.weight),
            load: Arc::clone(&backend.load),
        };
        let settings = self.table.settings.clone();
        let candidates = self.backends.iter().map(candidate).collect();
        let selector = Selector::new(settings.scheduler, settings.flags, candidates, Arc::clone(&self.turn));
        let backends = self.backends.values().cloned().collect();
        self.service.view.store(Arc::new(View { settings, selector, backends }));
    }

    fn counters(&mut self, now: Instant) -> ServiceCounters {
        let rates = &mut self.rates;
        let mut rated = |key, counters| rate(rates, key, counters, now);
        let total = rated(None, self.service.cells.sum());
        let destinations = self.backends.iter().map(|(key, backend)| {
            let counters = DestinationCounters {
                total: rated(Some(*key), backend.cells.sum()),
                active: backend.load.active(),
                inactive: 0,
                persistent: backend.persistent.load(Relaxed),
            };
            (*key, counters)
        });
        ServiceCounters { total, destinations: destinations.collect() }
    }
}

/// Adds the rates since the last look, or the last rates when that was a moment ago.
fn rate(
    rates: &mut SmallMap<Option<SocketKey>, Rate>,
    key: Option<SocketKey>,
    mut counters: Counters,
    now: Instant,
) -> Counters {
    if !rates.contains_key(&key) {
        rates.insert(key, Rate { at: now, counters });
    }
    let Some(last) = rates.get_mut(&key) else { return counters };
    let elapsed = now.saturating_duration_since(last.at);
    let old = last.counters;
    let per_second = |new: u64, before: u64, rate: u64| {
        if elapsed < RATE_PERIOD {
            return rate;
        }
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
        u64::try_from(u128::from(new.saturating_sub(before)) * 1000 / u128::from(millis)).unwrap_or(u64::MAX)
    };
    counters.connections_per_second = per_second(counters.connections, old.connections, old.connections_per_second);
    counters.in_packets_per_second = per_second(counters.in_packets, old.in_packets, old.in_packets_per_second);
    counters.out_packets_per_second = per_second(counters.out_packets, old.out_packets, old.out_packets_per_second);
    counters.in_bytes_per_second = per_second(counters.in_bytes, old.in_bytes, old.in_bytes_per_second);
    counters.out_bytes_per_second = per_second(counters.out_bytes, old.out_bytes, old.out_bytes_per_second);
    if elapsed >= RATE_PERIOD {
        *last = Rate { at: now, counters };
    }
    counters
}

impl Dataplane for Userspace {
    fn take_notes(&mut self) -> Vec<String> {
        Self::take_notes(self)
    }

    fn name(&self) -> &'static str {
        "userspace"
    }

    fn apply(&mut self, operations: &[Operation]) -> Vec<Refusal> {
        let mut touched = BTreeSet::new();
        let mut refusals = Vec::new();
        for (operation, what) in operations.iter().enumerate() {
            if let Err(error) = self.carry_out(what, &mut touched) {
                refusals.push(Refusal { operation, error });
            }
        }
        // Each service changes once and as a whole, whatever the number of operations.
        for entry in touched.iter().filter_map(|key| self.services.get(key)) {
            entry.rebuild();
        }
        self.threads.iter().for_each(Thread::wake);
        refusals
    }

    fn dump(&mut self) -> Result<ServiceTable, DataplaneError> {
        Ok(ServiceTable { services: self.services.iter().map(|(key, entry)| (*key, entry.table.clone())).collect() })
    }

    fn counters(&mut self) -> Result<BTreeMap<ServiceKey, ServiceCounters>, DataplaneError> {
        let now = Instant::now();
        Ok(self.services.iter_mut().map(|(key, entry)| (*key, entry.counters(now))).collect())
    }
}

impl Drop for Userspace {
    fn drop(&mut self) {
        for thread in &self.threads {
            thread.send(Command::Stop);
            thread.wake();
        }
        for handle in self.threads.iter_mut().filter_map(|thread| thread.handle.take()) {
            let _ = handle.join();
        }
        self.tproxy.close();
    }
}

/// A connection has two descriptors. Answers how many there may be.
fn raise_descriptor_limit() -> usize {
    let limits = getrlimit(Resource::RLIMIT_NOFILE);
    let Ok((soft, hard)) = limits else { return 1024 };
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    usize::try_from(if raised { hard } else { soft }).unwrap_or(usize::MAX)
}

fn name(key: &ServiceKey) -> String {
    match key {
        ServiceKey::Address { protocol, address } => format!("{protocol} {address}"),
        ServiceKey::Fwmark { mark, .. } => format!("fwmark {mark}"),
    }
}

fn passing(reason: String) -> DataplaneError {
    DataplaneError { reason, lasting: false }
}

fn sctp() -> DataplaneError {
    let reason = "the forwarder carries TCP and UDP; SCTP needs the kernel's IPVS (modprobe ip_vs)".to_owned();
    DataplaneError { reason, lasting: true }
}

fn refused(key: &ServiceKey, protocol: Protocol, address: SocketAddr, error: &io::Error) -> DataplaneError {
    let service = name(key);
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            let who = holder::who_has(protocol, address);
            let who = who.map_or_else(|| "somebody".to_owned(), |holder| holder.to_string());
            passing(format!(
                "virtual server {service}: the port is taken: {who}; have that listen on addresses of its own, or stop it"
            ))
        }
        Some(libc::EACCES | libc::EPERM) => {
            let reason = format!(
                "virtual server {service}: {error}: CAP_NET_BIND_SERVICE for ports below 1024, and CAP_NET_ADMIN for \
                 all ports and marks, are needed"
            );
            DataplaneError { reason, lasting: true }
        }
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL) => DataplaneError {
            reason: format!("virtual server {service}: {error}: the kernel has no such addresses (IPv6 switched off?)"),
            lasting: true,
        },
        _ => passing(format!("virtual server {service}: {error}")),
    }
}
