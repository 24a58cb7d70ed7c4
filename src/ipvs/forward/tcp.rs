//! TCP connections of one thread: a client, a real server, and a stream each way between them.
//!
//! Shell: moves bytes. What is read is written straight through from the thread's one buffer; only what the far end
//! does not take is kept with the connection, and nothing more is read until it is gone, so that a slow reader holds up
//! its own sender and nobody else. A stream of large reads is spliced through a pipe instead.
//!
//! ```text
//!  accept ──▶ choose ──▶ connecting ──▶ established ──▶ one side ended ──▶ both ended: close
//!               ▲            │ refused, timeout            (half-close)      error: reset both
//!               └────────────┘ next candidate
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::net::{SendFlags, Shutdown, send, shutdown, sockopt};

use super::choose::Choice;
use super::header::header;
use super::service::{Backend, Service, Way};
use super::slab::{Slab, Tag};
use super::socket::{self, ConnectError, Reach};
use super::stream::{Pump, Pumped, Ready, State, Stream};
use super::wheel::Wheel;
use super::worker::{Core, Listening, connection_data};
use crate::ipvs::types::{ServiceKey, SocketKey};

/// Destinations that one connection tries.
const TRIES: usize = 4;
/// Milliseconds that a client has for its first bytes before the real server learns that the connection stands: with
/// the bytes that costs no packet of its own. Where real servers speak first, they learn it at once.
const SILENCE: u64 = 5;
/// Milliseconds until a client that was accepted when the last descriptor went is tried again.
const ROOM: u64 = 10;
/// Connections whose end is worth a look at what the C library keeps.
const RUSH: usize = 1000;

/// The connections of a thread.
#[derive(Debug, Default)]
pub(super) struct Connections {
    slab: Slab<Connection>,
    wheel: Wheel,
    /// Those that used up their turn.
    again: Vec<Tag>,
    /// Connections in which nobody had spoken when they were made, and how long that may last.
    silent: VecDeque<(Tag, u64)>,
    /// Room for those that are due.
    due: Vec<(Tag, u64)>,
    ended: bool,
    /// Connections that have ended since memory was given back.
    ended_count: usize,
}

#[derive(Debug)]
struct Connection {
    client: OwnedFd,
    server: Option<OwnedFd>,
    service: Arc<Service>,
    choice: Option<Choice>,
    up: Stream,
    down: Stream,
    client_ready: Ready,
    server_ready: Ready,
    /// Writes to the real server, up to 2: the second one asks for no delay. 0 until somebody has spoken.
    writes: u8,
    /// When something last moved.
    active_at: u64,
    /// The tick of its entry in the wheel.
    timer: u64,
    /// While there is no real server yet.
    attempt: Option<Box<Attempt>>,
}

/// A connection that is looking for its real server.
#[derive(Debug)]
struct Attempt {
    client: SocketAddr,
    asked: SocketAddr,
    tried: Vec<SocketKey>,
    deadline: u64,
    /// How long a descriptor may be waited for.
    patience: u64,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// In good order.
    Close,
    /// Both ends learn that something went wrong: a cut stream must not look whole.
    Reset,
}

impl Connections {
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Connections that have their real server.
    #[cfg(test)]
    pub(super) fn established(&mut self) -> usize {
        let tags = self.slab.tags();
        tags.into_iter().filter(|tag| self.slab.get_mut(*tag).is_some_and(|one| one.attempt.is_none())).count()
    }

    /// Whether a client has yet to say its first word, and the real server is to wait for that.
    #[cfg(test)]
    pub(super) fn waits_for_first_word(&self) -> bool {
        !self.silent.is_empty()
    }

    pub(super) fn has_more(&self) -> bool {
        !self.again.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<u64> {
        let silent = self.silent.front().map(|(_, until)| *until);
        self.wheel.next_deadline().into_iter().chain(silent).min()
    }

    /// Whether a connection has ended since this was last asked.
    pub(super) fn take_ended(&mut self) -> bool {
        std::mem::take(&mut self.ended)
    }

    /// Whether so many have ended that the C library may have memory to give back.
    pub(super) fn take_rush_is_over(&mut self) -> bool {
        let over = self.ended_count > RUSH && self.slab.len() < self.ended_count / 2;
        if over {
            self.ended_count = 0;
            self.again.shrink_to(1024);
        }
        over
    }

    /// A client was accepted, and is counted already ([`Service::enter`]).
    pub(super) fn begin(&mut self, core: &mut Core, listening: &Listening, client: OwnedFd, address: SocketAddr) {
        let service = &listening.service;
        service.cells.count_connection(core.thread);
        let asked = match (listening.reach, service.key) {
            (Reach::Direct, ServiceKey::Address { address, .. }) => Some(address.into()),
            _ => rustix::net::getsockname(&client).ok().and_then(|asked| asked.try_into().ok()),
        };
        let Some(asked) = asked else {
            service.leave();
            return;
        };
        let patience = core.now.saturating_add(milliseconds(service.view.load().settings.proxy.connect_timeout));
        let attempt = Attempt { client: address, asked, tried: Vec::new(), deadline: u64::MAX, patience };
        let connection = Connection {
            client,
            server: None,
            service: Arc::clone(service),
            choice: None,
            up: Stream::default(),
            down: Stream::default(),
            client_ready: Ready::default(),
            server_ready: Ready::default(),
            writes: 0,
            active_at: core.now,
            timer: 0,
            attempt: Some(Box::new(attempt)),
        };
        match self.slab.insert(connection) {
            Some(tag) => self.connect(core, tag),
            None => service.leave(),
        }
    }

    /// Begins to connect to the next candidate.
    fn connect(&mut self, core: &mut Core, tag: Tag) {
        let Some(connection) = self.slab.get_mut(tag) else { return };
        let begun = connection.connect(core, tag);
        match begun {
            Ok(deadline) => connection.timer = self.wheel.insert(tag, deadline),
            Err(NoServer) => self.end(core, tag, End::Reset),
        }
    }

    /// Something happened on one of a connection's sockets.
    pub(super) fn handle_event(&mut self, core: &mut Core, tag: Tag, server: bool, flags: EventFlags) {
        let Some(connection) = self.slab.get_mut(tag) else { return };
        if connection.attempt.is_some() {
            if server {
                self.handle_connected(core, tag, flags);
            }
            return;
        }
        let ready = if server { &mut connection.server_ready } else { &mut connection.client_ready };
        ready.take(flags);
        if flags.intersects(EventFlags::ERR) {
            // Nothing more can be written there. What came before the error can still be read.
            let (to, from) =
                if server { (&mut connection.up, &connection.down) } else { (&mut connection.down, &connection.up) };
            to.abandon(core);
            if from.state != State::Open && from.held.is_none() {
                return self.end(core, tag, End::Reset);
            }
        }
        self.drive(core, tag, if server { Way::Down } else { Way::Up });
    }

    /// The connection to the real server stands, or failed.
    fn handle_connected(&mut self, core: &mut Core, tag: Tag, flags: EventFlags) {
        let Some(connection) = self.slab.get_mut(tag) else { return };
        let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP)
            && !matches!(connection.server.as_ref().map(sockopt::socket_error), Some(Ok(Ok(()))));
        if failed {
            connection.give_up_server(core);
            return self.connect(core, tag);
        }
        if !flags.intersects(EventFlags::OUT | EventFlags::HUP) {
            return;
        }
        let (Some(attempt), Some(server)) = (connection.attempt.take(), connection.server.as_ref()) else { return };
        connection.server_ready.take(flags);
        connection.active_at = core.now;
        if core.register(&connection.client, connection_data(tag, false)).is_err() {
            return self.end(core, tag, End::Reset);
        }
        // Not known yet; finding out costs no more than being told.
        connection.client_ready = Ready { readable: true, writable: true, last: false, urgent: false };
        let version = connection.service.view.load().settings.proxy.proxy_protocol;
        let introduction = version.map(|version| header(version, attempt.client, attempt.asked));
        if let Some(bytes) = introduction {
            // An empty send buffer takes so little as a whole.
            if send(server, &bytes, SendFlags::NOSIGNAL | SendFlags::MORE) != Ok(bytes.len()) {
                return self.end(core, tag, End::Reset);
            }
        }
        self.drive(core, tag, Way::Up);
        if let Some(connection) = self.slab.get_mut(tag).filter(|connection| connection.writes == 0) {
            if connection.service.server_first.load(Relaxed) {
                connection.let_server_speak();
            } else {
                self.silent.push_back((tag, core.now.saturating_add(SILENCE)));
            }
        }
    }

    /// Moves what can be moved, first this way.
    fn drive(&mut self, core: &mut Core, tag: Tag, first: Way) {
        let Some(connection) = self.slab.get_mut(tag) else { return };
        let second = if first == Way::Up { Way::Down } else { Way::Up };
        let mut again = false;
        for way in [first, second] {
            match connection.pump(core, way) {
                Pumped::Waiting | Pumped::Done => {}
                Pumped::Again => again = true,
                Pumped::FromBroken => return self.end(core, tag, End::Reset),
                Pumped::ToBroken => {
                    // Its last words, if it has any, still go the other way.
                    let (dead, other) = match way {
                        Way::Up => (&mut connection.up, &connection.down),
                        Way::Down => (&mut connection.down, &connection.up),
                    };
                    dead.abandon(core);
                    if other.state != State::Open && other.held.is_none() {
                        return self.end(core, tag, End::Reset);
                    }
                }
            }
        }
        if connection.up.state == State::Done && connection.down.state == State::Done {
            return self.end(core, tag, End::Close);
        }
        connection.pass_on_ends();
        if again {
            self.again.push(tag);
        }
    }

    /// After the events of a turn: those with more to do, and those that are due.
    pub(super) fn go_on(&mut self, core: &mut Core) {
        for tag in std::mem::take(&mut self.again) {
            self.drive(core, tag, Way::Up);
        }
        while let Some((tag, until)) = self.silent.front().copied() {
            match self.slab.get_mut(tag).filter(|connection| connection.writes == 0) {
                Some(_) if core.now < until => break,
                Some(connection) => connection.let_server_speak(),
                None => {}
            }
            self.silent.pop_front();
        }
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(core.now, &mut due);
        for (tag, tick) in due.drain(..) {
            self.handle_due(core, tag, tick);
        }
        due.shrink_to(1024);
        self.due = due;
    }

    fn handle_due(&mut self, core: &mut Core, tag: Tag, tick: u64) {
        let Some(connection) = self.slab.get_mut(tag).filter(|connection| connection.timer == tick) else { return };
        let deadline = connection.deadline();
        if core.now < deadline {
            connection.timer = self.wheel.insert(tag, deadline);
        } else if connection.attempt.is_some() {
            connection.give_up_server(core);
            self.connect(core, tag);
        } else {
            self.end(core, tag, End::Reset);
        }
    }

    /// The connections of this destination end at its new deadline.
    pub(super) fn drain(&mut self, backend: &Arc<Backend>) {
        for tag in self.slab.tags() {
            let Some(connection) = self.slab.get_mut(tag) else { continue };
            if connection.choice.as_ref().is_some_and(|choice| Arc::ptr_eq(&choice.backend, backend)) {
                connection.timer = self.wheel.insert(tag, connection.deadline());
            }
        }
    }

    fn end(&mut self, core: &mut Core, tag: Tag, how: End) {
        let Some(mut connection) = self.slab.remove(tag) else { return };
        self.ended = true;
        self.ended_count += 1;
        connection.up.abandon(core);
        connection.down.abandon(core);
        if how == End::Reset {
            for socket in [Some(&connection.client), connection.server.as_ref()].into_iter().flatten() {
                let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
            }
        }
        // The real server was first to end its stream: the client was told so, and has now ended its own.
        let server_was_first = how == End::Close && connection.down.told;
        if server_was_first
            && connection.service.view.load().settings.proxy.reset_close
            && let Some(server) = &connection.server
        {
            let _ = sockopt::set_socket_linger(server, Some(Duration::ZERO));
        }
        if let Some(choice) = connection.choice.take() {
            choice.release(core, &connection.service);
        }
        connection.service.leave();
    }
}

/// No candidate is left, or no descriptor.
#[derive(Debug)]
struct NoServer;

impl Connection {
    /// Answers the deadline for connecting.
    fn connect(&mut self, core: &mut Core, tag: Tag) -> Result<u64, NoServer> {
        let attempt = self.attempt.as_mut().ok_or(NoServer)?;
        while attempt.tried.len() < TRIES {
            let choice =
                Choice::make(core, &self.service, attempt.client, attempt.asked, &attempt.tried).ok_or(NoServer)?;
            let proxy = self.service.view.load().settings.proxy;
            let (server, from) = (choice.address(attempt.asked), proxy.transparent.then(|| attempt.client.ip()));
            let mut connecting = socket::connection(server, from);
            if matches!(connecting, Err(ConnectError::Socket(_))) && core.spend_reserve() {
                connecting = socket::connection(server, from);
            }
            if matches!(connecting, Err(ConnectError::Socket(_))) && core.now < attempt.patience {
                // Another thread was quicker to take what we gave up. Whatever ends makes room.
                choice.release(core, &self.service);
                attempt.deadline = core.now.saturating_add(ROOM);
                return Ok(attempt.deadline);
            }
            attempt.tried.push(choice.backend.key);
            match connecting {
                Ok(socket) => {
                    if core.register(&socket, connection_data(tag, true)).is_err() {
                        choice.release(core, &self.service);
                        return Err(NoServer);
                    }
                    self.server = Some(socket);
                    self.choice = Some(choice);
                    attempt.deadline = core.now.saturating_add(milliseconds(proxy.connect_timeout));
                    return Ok(attempt.deadline);
                }
                Err(error) => {
                    tracing::debug!("forwarder: {:?}: {server}: {error:?}", self.service.key);
                    choice.release(core, &self.service);
                    if !matches!(error, ConnectError::Server(_)) {
                        return Err(NoServer);
                    }
                }
            }
        }
        Err(NoServer)
    }

    fn give_up_server(&mut self, core: &mut Core) {
        self.server = None;
        self.server_ready = Ready::default();
        if let Some(choice) = self.choice.take() {
            tracing::debug!("forwarder: {:?}: {} does not answer", self.service.key, choice.backend.key);
            choice.release(core, &self.service);
        }
    }

    /// The client is silent. Perhaps it waits for the server's first word, and that for the end of the handshake and for
    /// the header.
    fn let_server_speak(&self) {
        let Some(server) = &self.server else { return };
        let _ = sockopt::set_tcp_quickack(server, true);
        if self.service.view.load().settings.proxy.proxy_protocol.is_some() {
            let _ = sockopt::set_tcp_nodelay(server, true);
        }
    }

    /// The first bytes of all came this way.
    fn spoken(&mut self, way: Way) {
        let server_first = way == Way::Down;
        if self.service.server_first.load(Relaxed) != server_first {
            self.service.server_first.store(server_first, Relaxed);
        }
        // Whatever the client says to that may be delayed no more.
        self.writes = self.writes.max(1);
    }

    /// When this connection has to be looked at.
    fn deadline(&self) -> u64 {
        if let Some(attempt) = &self.attempt {
            return attempt.deadline;
        }
        let idle = milliseconds(self.service.view.load().settings.proxy.idle_timeout);
        let idle = if idle == 0 { u64::MAX } else { self.active_at.saturating_add(idle) };
        let drain = self.choice.as_ref().map_or(u64::MAX, |choice| choice.backend.drain_until.load(Relaxed));
        idle.min(drain)
    }

    /// Moves data one way until there is none or no room for it.
    fn pump(&mut self, core: &mut Core, way: Way) -> Pumped {
        let Some(server) = &self.server else { return Pumped::Waiting };
        let silent = self.writes == 0;
        let (client, server) = (self.client.as_fd(), server.as_fd());
        let mut pump = match way {
            Way::Up => Pump {
                from: client,
                to: server,
                from_ready: &mut self.client_ready,
                to_ready: &mut self.server_ready,
                stream: &mut self.up,
                writes: Some(&mut self.writes),
                reads: 0,
                bytes: 0,
            },
            Way::Down => Pump {
                from: server,
                to: client,
                from_ready: &mut self.server_ready,
                to_ready: &mut self.client_ready,
                stream: &mut self.down,
                writes: None,
                reads: 0,
                bytes: 0,
            },
        };
        let pumped = pump.run(core);
        let (reads, bytes, progress) = (pump.reads, pump.bytes, pump.reads > 0);
        if progress {
            self.active_at = core.now;
            if silent {
                self.spoken(way);
            }
            self.service.cells.count(core.thread, way, reads, bytes);
            if let Some(choice) = &self.choice {
                choice.backend.cells.count(core.thread, way, reads, bytes);
            }
        }
        pumped
    }

    /// A stream that is over is over for its receiver too: half-close.
    fn pass_on_ends(&mut self) {
        let Some(server) = &self.server else { return };
        for (stream, to) in [(&mut self.up, server), (&mut self.down, &self.client)] {
            if stream.state == State::Done && !stream.told {
                stream.told = true;
                let _ = shutdown(to, Shutdown::Write);
            }
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
