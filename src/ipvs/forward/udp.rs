//! UDP flows of one thread: a client and the address that it asked, with a socket of their own to a real server.
//!
//! Shell: moves datagrams, many with each call. The answer comes from the address that was asked: through the
//! listener's socket, or, for a TPROXY listener, through one bound to that address. The table is bounded; when it is
//! full, the flow that was not used the longest makes room.
//!
//! A flow whose destination is removed ends at once, unlike a TCP connection: its next datagram finds another one,
//! where a kernel would drop it until the flow has timed out.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rustix::event::epoll;

use super::choose::Choice;
use super::datagrams::{self, BATCH, Datagrams};
use super::service::{Backend, Service, Way};
use super::slab::{Slab, Tag};
use super::socket::{self, Reach};
use super::wheel::Wheel;
use super::worker::{Core, Listening, Served, flow_data};
use crate::ipvs::types::{ServiceKey, SocketKey};

/// Calls of one socket before others get their turn.
const CALLS: usize = 8;
/// Addresses that answers come from, for TPROXY listeners.
const ANSWERING: usize = 1024;
/// Flows that may be spared in the search for one to give up.
const CHANCES: usize = 16;

/// The flows of a thread.
pub(super) struct Flows {
    slab: Slab<Flow>,
    by_key: HashMap<FlowKey, Tag>,
    wheel: Wheel,
    /// Every flow once, in the order in which they are looked at when one has to go; ended ones too.
    order: VecDeque<Tag>,
    datagrams: Datagrams,
    /// Whether the kernel knows joined datagrams, once that was asked.
    can_join: Option<bool>,
    answering: BTreeMap<SocketAddr, Rc<OwnedFd>>,
    /// Flows whose real server sent more than a turn's worth.
    again: Vec<Tag>,
    due: Vec<(Tag, u64)>,
    limit: usize,
}

/// What makes datagrams one flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct FlowKey {
    listener: u32,
    client: SocketAddr,
    asked: SocketAddr,
    /// With one-packet scheduling a client has a flow to each destination.
    to: Option<SocketKey>,
}

#[derive(Debug)]
struct Flow {
    key: FlowKey,
    service: Arc<Service>,
    choice: Choice,
    /// Connected to the real server.
    socket: OwnedFd,
    /// Answers to the client leave here.
    answers: Rc<OwnedFd>,
    active_at: u64,
    timer: u64,
    /// Used since it was last spared.
    used: bool,
    /// Datagrams of equal length go up as one message, until the way there has refused that once; and down.
    joined_up: bool,
    joined_down: bool,
}

impl Flows {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            slab: Slab::default(),
            by_key: HashMap::new(),
            wheel: Wheel::default(),
            order: VecDeque::new(),
            datagrams: Datagrams::default(),
            can_join: None,
            answering: BTreeMap::new(),
            again: Vec::new(),
            due: Vec::new(),
            limit: limit.max(1),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn has_more(&self) -> bool {
        !self.again.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.wheel.next_deadline()
    }

    /// Clients have sent something.
    pub(super) fn handle_listener(&mut self, core: &mut Core, listening: &Listening) -> Served {
        let tproxy = listening.reach == Reach::Tproxy;
        for _ in 0..CALLS {
            let count = match self.datagrams.receive(&*listening.socket, true, tproxy) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Served::All,
                // What ICMP has reported about a client; the next call brings datagrams.
                Err(_) => continue,
            };
            core.gathering.other(core.now);
            let mut flows = [None; BATCH];
            for (index, flow) in flows.iter_mut().enumerate().take(count) {
                *flow = self.flow_of(core, listening, index);
            }
            self.forward(core, listening, &mut flows);
            if count < BATCH {
                return Served::All;
            }
        }
        Served::Some
    }

    /// Sends the datagrams on, those of one flow together and in their order.
    fn forward(&mut self, core: &mut Core, listening: &Listening, flows: &mut [Option<Tag>; BATCH]) {
        while let Some(tag) = flows.iter().flatten().next().copied() {
            let mut indices = [0; BATCH];
            let mut count = 0;
            for (index, flow) in flows.iter_mut().enumerate().filter(|(_, flow)| **flow == Some(tag)) {
                if let Some(place) = indices.get_mut(count) {
                    *place = index;
                    count += 1;
                }
                *flow = None;
            }
            let indices = indices.get(..count).unwrap_or_default();
            if let Some(refused) = self.send_up(core, tag, indices) {
                // Its real server is gone; another one gets them, and no third is tried.
                self.end(core, tag);
                for index in indices {
                    if let Some(next) = self.open(core, listening, *index, &[refused]) {
                        self.send_up(core, next, &[*index]);
                    }
                }
            }
        }
    }

    /// Answers who refused.
    fn send_up(&mut self, core: &mut Core, tag: Tag, indices: &[usize]) -> Option<SocketKey> {
        let flow = self.slab.get_mut(tag)?;
        flow.active_at = core.now;
        flow.used = true;
        let mut left = indices;
        while !left.is_empty() {
            match send(&self.datagrams, &flow.socket, left, None, &mut flow.joined_up) {
                Ok(sent) => {
                    let bytes = left.iter().take(sent).map(|index| self.datagrams.bytes(*index).len() as u64).sum();
                    flow.service.cells.count(core.thread, Way::Up, sent as u64, bytes);
                    flow.choice.backend.cells.count(core.thread, Way::Up, sent as u64, bytes);
                    left = left.get(sent.max(1)..).unwrap_or_default();
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::ENETUNREACH) => {
                        return Some(flow.choice.backend.key);
                    }
                    // No room: datagrams are lost then, as they are on any wire. Too large: this one is.
                    Some(libc::EMSGSIZE) => left = left.get(1..).unwrap_or_default(),
                    _ => return None,
                },
            }
        }
        None
    }

    /// The flow of a datagram just received; a new one if need be.
    fn flow_of(&mut self, core: &mut Core, listening: &Listening, index: usize) -> Option<Tag> {
        if listening.service.view.load().settings.flags.one_packet {
            return self.open(core, listening, index, &[]);
        }
        let (client, asked) = self.ends(listening, index)?;
        let key = FlowKey { listener: listening.id, client, asked, to: None };
        self.by_key.get(&key).copied().or_else(|| self.open(core, listening, index, &[]))
    }

    fn ends(&self, listening: &Listening, index: usize) -> Option<(SocketAddr, SocketAddr)> {
        let asked = match (listening.reach, listening.service.key) {
            (Reach::Direct, ServiceKey::Address { address, .. }) => address.into(),
            _ => self.datagrams.original(index)?,
        };
        Some((self.datagrams.sender(index)?, asked))
    }

    /// Schedules a datagram, and makes a flow for it where there is none to that destination.
    fn open(&mut self, core: &mut Core, listening: &Listening, index: usize, tried: &[SocketKey]) -> Option<Tag> {
        let (client, asked) = self.ends(listening, index)?;
        let service = &listening.service;
        let settings = service.view.load();
        let one_packet = settings.settings.flags.one_packet;
        let proxy = settings.settings.proxy;
        drop(settings);
        let choice = Choice::make(core, service, client, asked, tried)?;
        service.cells.count_connection(core.thread);
        let key = FlowKey { listener: listening.id, client, asked, to: one_packet.then_some(choice.backend.key) };
        if let Some(tag) = self.by_key.get(&key) {
            choice.release(core, service);
            return Some(*tag);
        }
        if !service.enter() {
            choice.release(core, service);
            return None;
        }
        if self.slab.len() >= self.limit {
            self.evict(core);
        }
        let from = proxy.transparent.then_some(client);
        let mut socket = socket::flow(choice.address(asked), from);
        if socket.as_ref().is_err_and(|error| matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))) {
            self.evict(core);
            socket = socket::flow(choice.address(asked), from);
        }
        let opened = socket.and_then(|socket| Ok((socket, self.answers(listening, asked)?)));
        let (socket, answers) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                tracing::debug!("forwarder: {:?}: no flow to {}: {error}", service.key, choice.backend.key);
                choice.release(core, service);
                service.leave();
                return None;
            }
        };
        let active_at = core.now;
        let service = Arc::clone(service);
        let joined = *self.can_join.get_or_insert_with(|| datagrams::can_join(&socket));
        let flow = Flow {
            key,
            service,
            choice,
            socket,
            answers,
            active_at,
            timer: 0,
            used: true,
            joined_up: joined,
            joined_down: joined,
        };
        let tag = self.slab.insert(flow)?;
        self.by_key.insert(key, tag);
        self.order.push_back(tag);
        let flow = self.slab.get_mut(tag)?;
        flow.timer = self.wheel.insert(tag, flow.deadline());
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        if epoll::add(&core.epoll, &flow.socket, epoll::EventData::new_u64(flow_data(tag)), flags).is_err() {
            self.end(core, tag);
            return None;
        }
        Some(tag)
    }

    fn answers(&mut self, listening: &Listening, asked: SocketAddr) -> io::Result<Rc<OwnedFd>> {
        if listening.reach == Reach::Direct {
            return Ok(Rc::clone(&listening.socket));
        }
        if let Some(socket) = self.answering.get(&asked) {
            return Ok(Rc::clone(socket));
        }
        let socket = Rc::new(socket::answering(asked)?);
        if self.answering.len() >= ANSWERING {
            self.trim();
        }
        self.answering.insert(asked, Rc::clone(&socket));
        Ok(socket)
    }

    /// Closes what no flow needs.
    pub(super) fn trim(&mut self) {
        self.answering.retain(|_, socket| Rc::strong_count(socket) > 1);
        if self.order.len() > 2 * self.slab.len() + 64 {
            let slab = &mut self.slab;
            self.order.retain(|tag| slab.get_mut(*tag).is_some());
            self.order.shrink_to(self.order.len() * 2);
            self.by_key.shrink_to(self.by_key.len() * 2);
        }
    }

    /// A real server has answered.
    pub(super) fn handle_reply(&mut self, core: &mut Core, tag: Tag) {
        let Some(flow) = self.slab.get_mut(tag) else { return };
        let indices: [usize; BATCH] = std::array::from_fn(|index| index);
        for _ in 0..CALLS {
            let count = match self.datagrams.receive(&flow.socket, false, false) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It refused: the next datagram of this client finds another one.
                Err(_) => return self.end(core, tag),
            };
            core.gathering.other(core.now);
            flow.active_at = core.now;
            flow.used = true;
            let mut left = indices.get(..count).unwrap_or_default();
            while !left.is_empty() {
                match send(&self.datagrams, &flow.answers, left, Some(flow.key.client), &mut flow.joined_down) {
                    Ok(sent) => {
                        let bytes = left.iter().take(sent).map(|at| self.datagrams.bytes(*at).len() as u64).sum();
                        flow.service.cells.count(core.thread, Way::Down, sent as u64, bytes);
                        flow.choice.backend.cells.count(core.thread, Way::Down, sent as u64, bytes);
                        left = left.get(sent.max(1)..).unwrap_or_default();
                    }
                    // What ICMP reports here is about any client of this socket: not about this datagram, which is next.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => left = left.get(1..).unwrap_or_default(),
                }
            }
            if count < BATCH {
                return;
            }
        }
        self.again.push(tag);
    }

    /// After the events of a turn.
    pub(super) fn go_on(&mut self, core: &mut Core) {
        for tag in std::mem::take(&mut self.again) {
            self.handle_reply(core, tag);
        }
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(core.now, &mut due);
        for (tag, tick) in due.drain(..) {
            let Some(flow) = self.slab.get_mut(tag).filter(|flow| flow.timer == tick) else { continue };
            let deadline = flow.deadline();
            if core.now < deadline {
                flow.timer = self.wheel.insert(tag, deadline);
            } else {
                self.end(core, tag);
            }
        }
        due.shrink_to(1024);
        self.due = due;
    }

    /// Flows of a destination that was removed end.
    pub(super) fn drain(&mut self, core: &mut Core, backend: &Arc<Backend>) {
        if backend.removed.load(Relaxed) {
            self.end_all(core, |flow| Arc::ptr_eq(&flow.choice.backend, backend));
        }
    }

    /// Flows of a listener that goes end.
    pub(super) fn end_listener(&mut self, core: &mut Core, listener: u32) {
        self.end_all(core, |flow| flow.key.listener == listener);
    }

    fn end_all(&mut self, core: &mut Core, which: impl Fn(&Flow) -> bool) {
        for tag in self.slab.tags() {
            if self.slab.get_mut(tag).is_some_and(|flow| which(flow)) {
                self.end(core, tag);
            }
        }
    }

    /// Makes room for one.
    fn evict(&mut self, core: &mut Core) {
        let mut chances = CHANCES;
        while let Some(tag) = self.order.pop_front() {
            let Some(flow) = self.slab.get_mut(tag) else { continue };
            if flow.used && chances > 0 {
                chances -= 1;
                flow.used = false;
                self.order.push_back(tag);
            } else {
                return self.end(core, tag);
            }
        }
    }

    fn end(&mut self, core: &mut Core, tag: Tag) {
        let Some(flow) = self.slab.remove(tag) else { return };
        self.by_key.remove(&flow.key);
        flow.choice.release(core, &flow.service);
        flow.service.leave();
    }
}

/// Sends joined as long as the way there takes that: its packets may be too small for the datagrams, or its device
/// cannot cut them.
fn send(
    datagrams: &Datagrams,
    socket: &OwnedFd,
    indices: &[usize],
    to: Option<SocketAddr>,
    joined: &mut bool,
) -> io::Result<usize> {
    let sent = datagrams.send(socket, indices, to, *joined);
    match sent.as_ref().map_err(io::Error::raw_os_error) {
        Err(Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO)) if *joined => {
            *joined = false;
            datagrams.send(socket, indices, to, false)
        }
        _ => sent,
    }
}

impl Flow {
    fn deadline(&self) -> u64 {
        let idle = self.service.view.load().settings.proxy.udp_timeout;
        self.active_at.saturating_add(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX))
    }
}
