//! Two directors on one or more switches, with everything on the wire recorded.
//!
//! Shell: owns a lab. `a` has the higher priority.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use holdfast::lab::director::{CONFIG, Daemon, Director};
use holdfast::lab::frame::Meaning;
use holdfast::lab::host::Host;
use holdfast::lab::lan::Lan;
use holdfast::lab::sniffer::{Frame, Sniffer};

use crate::Contender;

/// Priority of `a` and `b`.
pub const PRIORITIES: [u8; 2] = [200, 100];
/// How long a daemon may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// One virtual router, the same on both directors but for the priority.
#[derive(Debug, Clone)]
pub struct Router {
    /// Its number on its LAN.
    pub vrid: u8,
    /// Number of its LAN.
    pub lan: u8,
    /// 2 or 3.
    pub version: u8,
    /// As `advert_int` says it.
    pub advert_int: &'static str,
    /// Priority on `a` and `b`.
    pub priorities: [u8; 2],
}

impl Router {
    /// The name of its instance.
    pub fn name(&self) -> String {
        format!("VI_{}_{}", self.lan, self.vrid)
    }

    /// Its virtual address.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 100 + self.lan, 1, self.vrid)
    }

    fn render(&self, node: usize, more: &str) -> String {
        let Self { vrid, lan, version, advert_int, priorities } = self;
        let (name, priority, address) = (self.name(), priorities[node], self.address());
        format!(
            "vrrp_instance {name} {{\n interface eth{lan}\n version {version}\n virtual_router_id {vrid}\n \
             priority {priority}\n advert_int {advert_int}\n virtual_ipaddress {{\n  {address}\n{more} }}\n}}\n"
        )
    }
}

/// The file of a node. `extra` is a further address of the first router.
pub fn render(routers: &[Router], node: usize, plain: bool, extra: Option<Ipv4Addr>) -> String {
    let mut text = String::from("global_defs {\n router_id bench\n");
    if !plain {
        // keepalived's own limit of 10 ms has the kernel kill it again and again at 500 instances.
        text.push_str(" vrrp_rt_priority 50\n vrrp_rlimit_rttime 5000000\n vrrp_no_swap\n");
    }
    text.push_str("}\n");
    for (n, router) in routers.iter().enumerate() {
        let more = extra.filter(|_| n == 0).map_or_else(String::new, |address| format!("  {address}\n"));
        text.push_str(&router.render(node, &more));
    }
    text
}

/// One advert on a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// Kernel's time.
    pub at: Duration,
    /// Which director sent it: 0 is `a`.
    pub node: usize,
    /// Which LAN and virtual router.
    pub router: (u8, u8),
    /// Its priority.
    pub priority: u8,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// All adverts, in the order of each wire.
    pub adverts: Vec<Sighting>,
    /// All gratuitous ARPs.
    pub announcements: Vec<(Duration, usize, Ipv4Addr)>,
}

/// What the sniffers saw, to be waited for.
#[derive(Debug, Default, Clone)]
pub struct Tape(Arc<(Mutex<Seen>, Condvar)>);

impl Tape {
    /// Forgets everything.
    pub fn clear(&self) {
        *self.lock() = Seen::default();
    }

    /// How many adverts there are so far.
    pub fn mark(&self) -> usize {
        self.lock().adverts.len()
    }

    /// All adverts so far.
    pub fn adverts(&self) -> Vec<Sighting> {
        self.lock().adverts.clone()
    }

    /// Waits until `found` finds something.
    pub fn wait<T>(&self, timeout: Duration, mut found: impl FnMut(&Seen) -> Option<T>) -> io::Result<T> {
        let end = Instant::now() + timeout;
        let mut seen = self.lock();
        loop {
            if let Some(value) = found(&seen) {
                return Ok(value);
            }
            let left = end.checked_duration_since(Instant::now());
            let left = left.ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, "not seen on the wire"))?;
            seen = self.0.1.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn record(&self, lan: u8, frame: &Frame) {
        let node = usize::from(frame.host == "b");
        let mut seen = self.lock();
        match &frame.meaning {
            Meaning::Advert(advert) => {
                let (router, priority) = ((lan, advert.vrid), advert.priority);
                seen.adverts.push(Sighting { at: frame.at, node, router, priority });
            }
            Meaning::GratuitousArp { address, .. } => seen.announcements.push((frame.at, node, *address)),
            Meaning::Arp | Meaning::NeighbourAdvert { .. } | Meaning::Other => return,
        }
        self.0.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lab. Fields are dropped in this order: listeners, hosts, wires.
pub struct Pair {
    _sniffers: Vec<Sniffer>,
    /// What is on the wires.
    pub tape: Tape,
    /// `a` and `b`.
    pub nodes: [Director; 2],
    /// The host that asks, if one was wanted.
    pub client: Option<Host>,
    _lans: Vec<Lan>,
    routers: Vec<Router>,
    plain: bool,
}

impl Pair {
    /// Builds it; no daemon runs yet.
    pub fn new(contender: &Contender, routers: &[Router], plain: bool, with_client: bool) -> io::Result<Self> {
        let program = contender.program.clone().ok_or_else(|| io::Error::other("not installed"))?;
        let count = routers.iter().map(|router| router.lan + 1).max().unwrap_or(1);
        let mut lans: Vec<_> = (0..count).map(|n| Lan::new(&format!("lan{n}"))).collect::<Result<_, _>>()?;
        let hosts = [Host::new("a")?, Host::new("b")?];
        let client = with_client.then(|| Host::new("client")).transpose()?;
        for (lan, n) in lans.iter_mut().zip(0u8..) {
            let interface = format!("eth{n}");
            for (host, last) in hosts.iter().chain(&client).zip(11u8..) {
                let address = IpAddr::from([10, 100 + n, 0, last]);
                // Wide enough for the virtual addresses, so that a client needs no route.
                lan.plug(host, &interface, &[(address, 16)])?;
            }
            lan.wait_ready()?;
            hosts.iter().chain(&client).try_for_each(|host| lan.wait_host_ready(host, &interface))?;
        }
        let tape = Tape::default();
        let mut sniffers = Vec::new();
        for (lan, n) in lans.iter().zip(0u8..) {
            let tape = tape.clone();
            sniffers.push(Sniffer::start(lan, move |frame| tape.record(n, &frame))?);
        }
        let daemon = || Daemon { program: program.clone(), options: Vec::new() };
        let [a, b] = hosts;
        let a = Director::new(a, daemon(), &render(routers, 0, plain, None), Vec::new())?;
        let b = Director::new(b, daemon(), &render(routers, 1, plain, None), Vec::new())?;
        Ok(Self { _sniffers: sniffers, tape, nodes: [a, b], client, _lans: lans, routers: routers.to_vec(), plain })
    }

    /// Starts both, waits until `a` is master and `b` backup everywhere.
    pub fn start(&mut self, timeout: Duration) -> io::Result<()> {
        self.nodes.iter_mut().try_for_each(Director::start)?;
        self.settle(timeout)
    }

    /// Waits until `a` is master and `b` backup everywhere.
    pub fn settle(&self, timeout: Duration) -> io::Result<()> {
        for router in &self.routers {
            self.nodes[0].wait_for(&router.name(), "MASTER", timeout)?;
            self.nodes[1].wait_for(&router.name(), "BACKUP", timeout)?;
        }
        Ok(())
    }

    /// Ends both daemons in good order, or else kills them.
    pub fn stop(&mut self) {
        for node in &mut self.nodes {
            if node.is_running() && node.stop(STOP_PATIENCE).is_none() {
                node.kill_all();
            }
        }
    }

    /// Gives the first router of `a` one more address and has the file read again; without one the file stays.
    pub fn reload(&self, extra: Option<Ipv4Addr>) -> io::Result<()> {
        if extra.is_some() {
            self.nodes[0].write_file(Path::new(CONFIG), &render(&self.routers, 0, self.plain, extra))?;
        }
        self.nodes[0].reload();
        Ok(())
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.nodes.iter_mut().for_each(Director::kill_all);
    }
}
