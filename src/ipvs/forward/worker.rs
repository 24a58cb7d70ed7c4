//! One forwarding thread: its listeners, its epoll set, its connections and flows, and the loop that serves them.
//!
//! Shell. Nothing here waits but the loop itself, and no thread needs another. Everything is registered once and
//! edge-triggered; closing a descriptor takes it out of the set. What used up its turn is served again after everybody
//! else had theirs.
//! When it naps, and when it lets others finish first, is in [`super::pace`].
#![allow(clippy::disallowed_methods)] // Shell: reads the clock once per turn.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll, eventfd};
use rustix::io::Errno;

use super::pace::{Counted, Gathering, Patience};
use super::pipes::Pipes;
use super::service::{Backend, Service};
use super::slab::Tag;
use super::socket::Reach;
use super::tcp::Connections;
use super::udp::Flows;
use crate::ipvs::types::Protocol;
use crate::net::sys;

/// Connections accepted from one listener before others get their turn.
const ACCEPTS: usize = 64;
const EVENTS: usize = 256;
/// One for all reads of the thread: what is read is written at once.
const BUFFER: usize = 64 << 10;
/// How soon listeners are tried again that had to wait for descriptors or for their service's limit.
const PAUSE: u64 = 50;
/// How often what is not needed is given back.
const HOUSEKEEPING: u64 = 5000;
/// Bytes held at once that are worth a look at what the C library keeps.
const RUSH: usize = 1 << 20;
/// How long data of large streams gathers.
const NAP: Duration = Duration::from_micros(600);
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
const FLOW: u64 = 1 << 63;

/// A listener on its way to a thread.
#[derive(Debug)]
pub struct Listener {
    /// Never 0, never used twice.
    pub id: u32,
    /// Whose it is.
    pub service: Arc<Service>,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// How packets reach it.
    pub reach: Reach,
    /// Bound, and listening.
    pub socket: OwnedFd,
}

/// What a thread is told.
#[derive(Debug)]
pub enum Command {
    /// Serve this too.
    Listen(Listener),
    /// This service has no listeners any longer. Connections go on.
    Unlisten(Arc<Service>),
    /// This destination's connections end at its `drain_until`; its flows end now if it was removed.
    Drain(Arc<Backend>),
    /// Close everything and end.
    Stop,
}

/// A listener as its thread has it. Flows answer through their listener's socket.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) id: u32,
    pub(super) service: Arc<Service>,
    pub(super) protocol: Protocol,
    pub(super) reach: Reach,
    pub(super) socket: Rc<OwnedFd>,
}

/// What connections and flows need of their thread.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) epoll: OwnedFd,
    /// The number of this thread.
    pub(super) thread: usize,
    /// Milliseconds since the forwarder's start, read once per turn.
    pub(super) now: u64,
    pub(super) buffer: Box<[u8]>,
    pub(super) pipes: Pipes,
    /// Bytes that wait in memory for slow readers.
    pub(super) held: usize,
    /// The most of these since memory was given back.
    pub(super) held_peak: usize,
    pub(super) gathering: Gathering,
    dice: u64,
    /// Given up when descriptors run out, so that what was accepted already can still be served.
    reserve: Option<OwnedFd>,
}

impl Core {
    /// # Errors
    /// No descriptor left.
    fn new(thread: usize) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let seed = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), thread);
        let mut core = Self {
            epoll,
            thread,
            now: 0,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            pipes: Pipes::default(),
            held: 0,
            held_peak: 0,
            gathering: Gathering::default(),
            dice: seed | 1,
            reserve: None,
        };
        core.refill_reserve();
        Ok(core)
    }

    /// The next random number (xorshift).
    pub(super) fn roll(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice
    }

    pub(super) fn time(&self) -> Duration {
        Duration::from_millis(self.now)
    }

    /// Registers for good: reading, writing, and the far end's closing.
    pub(super) fn register(&self, fd: impl AsFd, data: u64) -> Result<(), Errno> {
        use epoll::EventFlags as Flags;
        let flags = Flags::IN | Flags::OUT | Flags::RDHUP | Flags::PRI | Flags::ET;
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(data), flags)
    }

    fn poll(&self, events: &mut Vec<epoll::Event>, timeout: Option<&Timespec>) -> io::Result<()> {
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), timeout) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Frees a descriptor for what was begun already. `false` when that was done before.
    pub(super) fn spend_reserve(&mut self) -> bool {
        self.reserve.take().is_some()
    }

    /// Whether there are descriptors again.
    fn refill_reserve(&mut self) -> bool {
        if self.reserve.is_none() {
            let flags = eventfd_flags();
            self.reserve = rustix::event::eventfd(0, flags).ok();
        }
        self.reserve.is_some()
    }
}

fn eventfd_flags() -> rustix::event::EventfdFlags {
    rustix::event::EventfdFlags::NONBLOCK | rustix::event::EventfdFlags::CLOEXEC
}

/// Where an event belongs.
pub(super) fn flow_data(tag: Tag) -> u64 {
    FLOW | u64::from(tag.generation) << 32 | u64::from(tag.index)
}

/// Where an event of a connection belongs: `server` names its second socket.
pub(super) fn connection_data(tag: Tag, server: bool) -> u64 {
    u64::from(tag.generation) << 32 | u64::from(tag.index) << 1 | u64::from(server)
}

fn tag_of(data: u64) -> Tag {
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
    Tag { index: half(data), generation: half((data & !FLOW) >> 32) }
}

/// A thread's descriptor for being woken.
///
/// # Errors
/// No descriptor left.
pub fn waker() -> io::Result<OwnedFd> {
    Ok(eventfd(0, eventfd_flags())?)
}

/// See the module. Lives and dies on its thread.
pub(super) struct Worker {
    core: Core,
    start: Instant,
    wake: Arc<OwnedFd>,
    commands: Receiver<Command>,
    listeners: BTreeMap<u32, Listening>,
    connections: Connections,
    flows: Flows,
    /// Listeners that used up their turn.
    again: Vec<u32>,
    /// Listeners that wait for their service's limit or for descriptors.
    paused: BTreeSet<u32>,
    resume_at: u64,
    housekeeping_at: u64,
    patience: Patience,
    /// What the scheduler counts of this thread; `None` where that cannot be read, or nothing follows from it.
    counted: Option<File>,
    /// How often it napped.
    naps: u64,
}

impl Worker {
    /// # Errors
    /// No descriptor left.
    pub(super) fn new(
        thread: usize,
        start: Instant,
        wake: Arc<OwnedFd>,
        commands: Receiver<Command>,
        flow_limit: usize,
    ) -> io::Result<Self> {
        let core = Core::new(thread)?;
        epoll::add(&core.epoll, &*wake, epoll::EventData::new_u64(0), epoll::EventFlags::IN | epoll::EventFlags::ET)?;
        Ok(Self {
            core,
            start,
            wake,
            commands,
            listeners: BTreeMap::new(),
            connections: Connections::default(),
            flows: Flows::new(flow_limit),
            again: Vec::new(),
            paused: BTreeSet::new(),
            resume_at: 0,
            housekeeping_at: HOUSEKEEPING,
            patience: Patience::default(),
            counted: File::open("/proc/thread-self/schedstat").ok(),
            naps: 0,
        })
    }

    /// Serves until it is told to stop.
    ///
    /// # Errors
    /// The epoll set broke.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        while self.turn(&mut events)? {}
        Ok(())
    }

    /// Waits once, and serves whoever has something. Answers whether it may go on.
    fn turn(&mut self, events: &mut Vec<epoll::Event>) -> io::Result<bool> {
        events.clear();
        self.wait(events)?;
        self.core.now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        for event in &*events {
            let (data, flags) = (event.data.u64(), event.flags);
            let tag = tag_of(data);
            if tag.generation == 0 {
                match tag.index {
                    0 => {
                        if self.handle_commands() {
                            return Ok(false);
                        }
                    }
                    id => self.serve(id),
                }
            } else if data & FLOW != 0 {
                self.flows.handle_reply(&mut self.core, tag);
            } else {
                let server = tag.index & 1 == 1;
                let tag = Tag { index: tag.index >> 1, ..tag };
                self.connections.handle_event(&mut self.core, tag, server, flags);
            }
        }
        self.go_on();
        Ok(true)
    }

    fn wait(&mut self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        let timeout = self.timeout();
        if self.core.gathering.naps(self.core.now, timeout != Some(NOW)) {
            self.core.poll(events, Some(&NOW))?;
            if !events.is_empty() {
                return Ok(());
            }
            self.naps += 1;
            std::thread::sleep(NAP);
        }
        self.core.poll(events, timeout.as_ref())
    }

    /// How long to wait for events; `None` is for ever.
    fn timeout(&self) -> Option<Timespec> {
        if !self.again.is_empty() || self.connections.has_more() || self.flows.has_more() {
            return Some(NOW);
        }
        let paused = (!self.paused.is_empty()).then_some(self.resume_at);
        let busy = self.connections.len() + self.flows.len() > 0 || !self.listeners.is_empty();
        let housekeeping = busy.then_some(self.housekeeping_at);
        let deadlines = [self.connections.next_deadline(), self.flows.next_deadline(), paused, housekeeping];
        let next = deadlines.into_iter().flatten().min()?;
        Timespec::try_from(Duration::from_millis(next.saturating_sub(self.core.now).max(1))).ok()
    }

    /// What is left after the events: those who had more to do, timers, paused listeners.
    fn go_on(&mut self) {
        self.connections.go_on(&mut self.core);
        self.flows.go_on(&mut self.core);
        for id in std::mem::take(&mut self.again) {
            self.serve(id);
        }
        let freed = self.connections.take_ended();
        if !self.paused.is_empty() && (freed || self.core.now >= self.resume_at) && self.core.refill_reserve() {
            for id in std::mem::take(&mut self.paused) {
                self.serve(id);
            }
        }
        if self.core.now >= self.resume_at {
            self.resume_at = self.core.now + PAUSE;
        }
        if self.core.now >= self.housekeeping_at {
            self.keep_house();
        }
        if self.patience.is_due(self.core.now) {
            self.look_at_scheduler();
        }
    }

    /// Is patient from now on, or no longer.
    fn look_at_scheduler(&mut self) {
        let Some(file) = &self.counted else { return };
        let mut line = [0; 64];
        let length = file.read_at(&mut line, 0).unwrap_or(0);
        let line = std::str::from_utf8(line.get(..length).unwrap_or_default()).unwrap_or_default();
        // Where nothing is counted, or the thread has a policy of somebody else, that will be so the next time too.
        let Some(counted) = Counted::parse(line) else {
            self.counted = None;
            return;
        };
        if self.patience.look(self.core.now, counted).is_some_and(|patient| sys::set_patient(patient).is_err()) {
            self.counted = None;
        }
    }

    fn keep_house(&mut self) {
        let mut soon = self.core.pipes.trim();
        // Each thread looks after all services: whoever comes first does the work.
        for listening in self.listeners.values() {
            soon |= listening.service.expire_affinity(self.core.time());
        }
        self.flows.trim();
        let held_rush = self.core.held_peak > RUSH && self.core.held < self.core.held_peak / 2;
        if self.connections.take_rush_is_over() || held_rush {
            self.core.held_peak = self.core.held;
            sys::release_free_memory();
        }
        self.housekeeping_at = self.core.now + if soon { PAUSE } else { HOUSEKEEPING };
    }

    fn handle_commands(&mut self) -> bool {
        // Also what came in after the counter was read is in the channel: nothing is forgotten.
        let mut counter = [0; 8];
        let _ = rustix::io::read(&*self.wake, &mut counter);
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Listen(listener) => self.listen(listener),
                Command::Unlisten(service) => self.unlisten(&service),
                Command::Drain(backend) => {
                    self.connections.drain(&backend);
                    self.flows.drain(&mut self.core, &backend);
                }
                Command::Stop => return true,
            }
        }
        false
    }

    fn listen(&mut self, listener: Listener) {
        let Listener { id, service, protocol, reach, socket } = listener;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        if let Err(error) = epoll::add(&self.core.epoll, &socket, epoll::EventData::new_u64(u64::from(id)), flags) {
            tracing::error!("forwarder: {:?}: a listener is deaf: {error}", service.key);
            return;
        }
        self.listeners.insert(id, Listening { id, service, protocol, reach, socket: Rc::new(socket) });
    }

    /// Connections that the kernel has completed already are taken along: their clients know nothing of a removal.
    fn unlisten(&mut self, service: &Arc<Service>) {
        let ids = self.listeners.values().filter(|listening| Arc::ptr_eq(&listening.service, service));
        for id in ids.map(|listening| listening.id).collect::<Vec<_>>() {
            self.serve(id);
            self.flows.end_listener(&mut self.core, id);
            self.listeners.remove(&id);
            self.paused.remove(&id);
        }
    }

    fn serve(&mut self, id: u32) {
        let Some(listening) = self.listeners.get(&id) else { return };
        let more = match listening.protocol {
            Protocol::Tcp => accept(&mut self.core, &mut self.connections, listening),
            Protocol::Udp => self.flows.handle_listener(&mut self.core, listening),
            Protocol::Sctp => Served::All,
        };
        match more {
            Served::All => {}
            Served::Some => self.again.push(id),
            Served::Later => _ = self.paused.insert(id),
        }
    }
}

/// What became of a listener's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// Nothing is left.
    All,
    /// There may be more.
    Some,
    /// There is more, and it has to wait.
    Later,
}

fn accept(core: &mut Core, connections: &mut Connections, listening: &Listening) -> Served {
    use rustix::net::{SocketFlags, acceptfrom_with};
    for _ in 0..ACCEPTS {
        // Clients beyond the limit wait in the kernel's queue, as long as that has room.
        if core.reserve.is_none() || !listening.service.enter() {
            return Served::Later;
        }
        let accepted = acceptfrom_with(&*listening.socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
        let error = match accepted.map(|(client, address)| Some((client, address?.try_into().ok()?))) {
            Ok(Some((client, address))) => {
                connections.begin(core, listening, client, address);
                continue;
            }
            Ok(None) => None,
            Err(error) => Some(error),
        };
        listening.service.leave();
        match error {
            Some(Errno::AGAIN) => return Served::All,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => return Served::Later,
            // This one's client has gone, or ICMP has reported something.
            _ => {}
        }
    }
    Served::Some
}

#[cfg(test)]
mod tests;
