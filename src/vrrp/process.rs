//! The vrrp process: real sockets, addresses and clock around the [`VrrpEngine`].
//!
//! Shell. One thread, one loop, nothing in it waits but for its own descriptors. Each turn:
//!
//! ```text
//!   read the clock once
//!   adverts ──► engine     all that wait, before any timer is judged: after a stall the master is heard first
//!   netlink ──► engine
//!   main ─────► engine
//!   timers ───► engine
//!                       after each of these: flight recorder, then what the engine wants done
//!   address writer, announcements, black box, queue to main
//!   rest a moment, if adverts come in fast, so that some gather
//!   sleep until a descriptor is ready or the next deadline (timerfd: tokio's timers round to a millisecond)
//! ```
//!
//! It ends when main says so, when main is gone, or on SIGTERM and SIGINT: priority 0 first, then the addresses.
#![allow(clippy::disallowed_methods)] // Shell: reads the clock once per turn.

mod carry_out;
mod main_link;
mod main_watch;
mod orders;
mod settings;
mod statics;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::timerfd::{ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};

use crate::BUILD_ID;
use crate::child::{self, EXIT_OK, EXIT_SOFTWARE, START_PATIENCE, Signals};
use crate::net::addresses::AddressWriter;
use crate::net::announce::Announcer;
use crate::net::heard::AnnouncementListener;
use crate::net::links::LinkChange;
use crate::net::monitor::Monitor;
use crate::net::socket::AdvertSockets;
use crate::net::sys::{self, Readiness};
use crate::net::write_queue::{Change, Owner};

use super::blackbox::{BlackBox, Note};
use super::config::{InstanceConfig, TrackerKey, VrrpConfig};
use super::engine::{Input, LinkNews, Received, VrrpEngine};
use super::event::{Event, TrackerStatus};
use super::flight::{self, FlightRecorder, MonotonicClock};
use super::former::FormerAddress;
use super::gather::Gather;
use super::log::log_event;
use super::message::{FromVrrp, ToVrrp};
use super::receive_clock::ReceiveClock;
use super::timing;
use super::types::{IfIndex, InstanceId};
use main_link::MainLink;
use main_watch::{MainNews, MainWatch};
use statics::StaticAddresses;

/// How long the kernel may take to list its links.
const DUMP_PATIENCE: Duration = Duration::from_secs(5);
/// The shortest pause after a turn in which more adverts came than a socket has room for.
const FLOOD_PAUSE: Duration = Duration::from_millis(1);
/// Address batches per turn.
const WRITES_PER_TURN: usize = 4;
/// The longest sleep. We beat at four times the rate of [`timing::stall_limit`], by which main judges us.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Memory is locked this long after the start: locked memory that is freed cannot be given back, and by then the first
/// election and its second round of announcements (`garp_master_delay`), which take most of it, are over.
const LOCK_AFTER: Duration = Duration::from_secs(15);
/// A turn that begins this late is told to the black box.
const STALL: Duration = Duration::from_millis(50);
/// How long the removal of addresses may take at the end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How long main may take to read our last words.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What main gives its child.
#[derive(Debug)]
pub struct ProcessOptions {
    /// The stream to main.
    pub main: UnixStream,
    /// The flight recorder's file ([`flight::create`]).
    pub flight: File,
}

impl ProcessOptions {
    /// A child's, as main started it: the recorder is its standard output.
    ///
    /// # Errors
    /// Not started by main.
    pub fn from_standard_streams() -> io::Result<Self> {
        let (main, flight) = child::standard_streams()?;
        Ok(Self { main, flight: flight.into() })
    }
}

/// Runs until the end; the result is the exit code. Main sweeps the addresses of a process that did not end in good order.
pub fn run(options: ProcessOptions) -> i32 {
    child::run("vrrp", serve(options))
}

async fn serve(options: ProcessOptions) -> io::Result<i32> {
    let mut signals = Signals::install()?;
    let readiness = Readiness::new()?;
    let mut main = MainLink::open(options.main, &readiness)?;
    main.push(FromVrrp::Hello { build: BUILD_ID.to_owned() });
    let start = async {
        match next_message(&mut main, &readiness).await? {
            Some(ToVrrp::Hello { build }) if build == BUILD_ID => {}
            Some(ToVrrp::Hello { build }) => {
                tracing::error!(ours = BUILD_ID, main = build, "main is of another build: the program was replaced");
                return Ok(Err(EXIT_SOFTWARE));
            }
            None => return Ok(Err(EXIT_OK)),
            Some(_) => return Err(io::Error::other("main did not say hello")),
        }
        loop {
            match next_message(&mut main, &readiness).await? {
                Some(ToVrrp::Start { config, trackers, adopt, maintenance, former }) => {
                    return Ok(Ok((config, trackers, adopt, maintenance, former)));
                }
                Some(ToVrrp::Stop) | None => return Ok(Err(EXIT_OK)),
                Some(_) => {}
            }
        }
    };
    let started = tokio::select! {
        () = signals.stop() => return Ok(EXIT_OK),
        started = tokio::time::timeout(START_PATIENCE, start) => started,
    };
    let (config, trackers, adopt, maintenance, former) = match started {
        Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "main did not say what to do")),
        Ok(Err(e)) => return Err(e),
        Ok(Ok(Err(code))) => return Ok(code),
        Ok(Ok(Ok(start))) => start,
    };
    let mut process = Process::start(*config, adopt, main, options.flight, readiness)?;
    process.begin(&trackers, maintenance, &former)?;
    process.run(signals).await
}

/// The next message from main; `None` when main is gone.
async fn next_message(main: &mut MainLink, readiness: &Readiness) -> io::Result<Option<ToVrrp>> {
    loop {
        main.flush(readiness);
        if let Some(message) = main.next_message(readiness)? {
            return Ok(Some(message));
        }
        if main.is_gone() {
            return Ok(None);
        }
        readiness.wait().await?;
    }
}

/// A flood gets half of one CPU: adverts that find no room meanwhile are dropped by the kernel, and counted. Under real-time
/// scheduling a process that never sleeps would be killed (`vrrp_rlimit_rttime`), or starve all others.
fn pause(turn_began: Instant, next_deadline: Instant) {
    let now = Instant::now();
    let wanted = now.saturating_duration_since(turn_began).max(FLOOD_PAUSE);
    std::thread::sleep(wanted.min(next_deadline.saturating_duration_since(now)));
}

fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn beat_every<'a>(instances: impl Iterator<Item = &'a InstanceConfig>) -> Duration {
    HEARTBEAT.min(timing::stall_limit(instances) / 4)
}

impl Drop for Process {
    /// A panic ends here, too: what led to it is written.
    fn drop(&mut self) {
        self.write_black_box();
    }
}

struct Process {
    engine: VrrpEngine,
    monitor: Monitor,
    sockets: AdvertSockets,
    writer: AddressWriter,
    announcer: Announcer,
    /// What the writer has come to, until the monitor has told of it.
    synced: Vec<(InstanceId, u64, Vec<String>)>,
    /// Hears the successor's announcements while we linger.
    listener: Option<AnnouncementListener>,
    /// Hears who else claims the addresses of which we are master; open since we first were.
    claims: Option<AnnouncementListener>,
    statics: StaticAddresses,
    promotion: settings::Promotion,
    recorder: FlightRecorder,
    black_box: BlackBox,
    main: MainLink,
    main_watch: MainWatch,
    readiness: Readiness,
    timer: TimerFd,
    clock: MonotonicClock,
    heartbeat_at: Instant,
    /// Of the advert sockets.
    receive_clock: ReceiveClock,
    gather: Gather,
    beat_every: Duration,
    known_links: BTreeSet<IfIndex>,
    /// Orders of main whose addresses are being written.
    unsettled: u32,
    /// When memory is locked; `None` once it is.
    lock_at: Option<Instant>,
    /// When we end whether or not the addresses are gone; `Some` once we were told to stop.
    stop_by: Option<Instant>,
}

impl Process {
    fn start(config: VrrpConfig, adopt: bool, main: MainLink, flight: File, readiness: Readiness) -> io::Result<Self> {
        settings::apply(&config.global, &Default::default());
        let clock = MonotonicClock::measure();
        let records = if adopt { flight::read(&flight, clock) } else { Vec::new() };
        let recorder = FlightRecorder::open(flight, clock, adopt)?;
        let mut black_box = BlackBox::open(recorder.file());
        black_box.begin_turn(wall_clock());
        black_box.note(&Note::Started { adopts: adopt });
        let monitor = Monitor::open()?;
        let timer = TimerFd::new(TimerClock::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        let mut writer = AddressWriter::open()?;
        writer.set_filter(&config.global.filter);
        let mut announcer = Announcer::open()?;
        announcer.set_intervals(config.global.garp_interval, config.global.gna_interval);
        readiness.add(&monitor)?;
        readiness.add(&writer)?;
        readiness.add(&timer)?;

        let now = Instant::now();
        let delay_after_boot = config.global.delay_after_boot;
        let mut process = Self {
            statics: StaticAddresses::new(config.static_addresses.clone()),
            beat_every: beat_every(config.instances.values()),
            engine: VrrpEngine::new(now, config, &records),
            promotion: settings::Promotion::default(),
            monitor,
            sockets: AdvertSockets::default(),
            writer,
            announcer,
            synced: Vec::new(),
            listener: None,
            claims: None,
            recorder,
            black_box,
            main,
            main_watch: MainWatch::new(now),
            readiness,
            timer,
            clock,
            heartbeat_at: now,
            receive_clock: ReceiveClock::new(now, wall_clock()),
            gather: Gather::new(now),
            known_links: BTreeSet::new(),
            unsettled: 1,
            lock_at: Some(now + LOCK_AFTER),
            stop_by: None,
        };
        // A process that replaces another one is not the start that the delay is meant for.
        if !adopt {
            let up = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX, Duration::from);
            process.engine.hold_until(now + delay_after_boot.saturating_sub(up));
        }
        Ok(process)
    }

    /// Tells the engine what there is.
    fn begin(
        &mut self,
        trackers: &[(TrackerKey, TrackerStatus)],
        maintenance: bool,
        former: &[FormerAddress],
    ) -> io::Result<()> {
        let links = self.monitor.load(DUMP_PATIENCE)?;
        let now = Instant::now();
        let table = self.monitor.table();
        let absent: Vec<_> = former.iter().filter_map(|former| former.bind(|name| table.by_name(name))).collect();
        if !absent.is_empty() {
            self.writer.sync(Owner::Former, Change { generation: 1, present: Vec::new(), absent });
        }
        self.settle();
        if maintenance {
            self.input(now, Input::Maintenance(true));
        }
        for (key, status) in trackers {
            self.input(now, Input::Tracker { key: key.clone(), status: *status });
        }
        self.links_changed(now, links);
        self.main.push(FromVrrp::Ready);
        // What the elections use from here on is there when memory is locked.
        sys::release_program_pages();
        Ok(())
    }

    async fn run(mut self, mut signals: Signals) -> io::Result<i32> {
        let mut meant = Instant::now();
        let code = loop {
            let now = Instant::now();
            self.turn(now, now.saturating_duration_since(meant))?;
            if let Some(stop_by) = self.stop_by {
                if self.engine.is_stopped() && self.writer.is_idle() {
                    break EXIT_OK;
                }
                if now >= stop_by {
                    tracing::error!("the virtual addresses are not removed {STOP_PATIENCE:?} after the order to stop");
                    break EXIT_SOFTWARE;
                }
            }
            let next = self.next_deadline(now);
            meant = next;
            self.rest(now, next);
            tokio::select! {
                biased;
                () = signals.stop() => self.stop(Instant::now(), Input::Stop),
                ready = self.sleep(now, next) => ready?,
            }
        };
        self.writer.remove_filter();
        self.promotion.restore();
        self.main.push(FromVrrp::Stopped);
        let last_words = async {
            while self.main.has_output() && !self.main.is_gone() {
                self.main.flush(&self.readiness);
                if self.main.has_output() && self.readiness.wait().await.is_err() {
                    break;
                }
                // What arrives meanwhile would keep the set ready.
                let _ = self.main.next_message(&self.readiness);
                tokio::task::yield_now().await;
            }
        };
        let _ = tokio::time::timeout(LAST_WORDS, last_words).await;
        Ok(code)
    }

    /// Lets adverts gather, or be dropped, where they come in fast; not while more than adverts may be on its way.
    fn rest(&mut self, now: Instant, next: Instant) {
        let gathering = self.gather.rest(now, self.sockets.given(), || self.engine.shortest_skew());
        if self.sockets.is_flooded() {
            pause(now, next);
        } else if self.writer.is_idle() && self.listener.is_none() && self.stop_by.is_none() {
            std::thread::sleep(gathering.min(next.saturating_duration_since(Instant::now())));
        }
    }

    /// `late`: how much later than it was to be.
    ///
    /// This process may be stopped between any two of these lines, and the wall clock set. Deadlines are judged by when the
    /// turn began, because all adverts that came before have been read then. What is heard counts from when it was read,
    /// less the time that it waited: reckoned from the beginning it would be as old as the stop is long, and the
    /// master-down interval that begins with it over. Who begins to wait in this turn begins at its end.
    fn turn(&mut self, begun: Instant, late: Duration) -> io::Result<()> {
        self.sockets.begin_turn();
        let wall = wall_clock();
        self.receive_clock.begin_turn(begun, wall);
        self.black_box.begin_turn(wall);
        if late >= STALL {
            self.black_box.note(&Note::Stall { late_us: u64::try_from(late.as_micros()).unwrap_or(u64::MAX) });
        }
        while let Some(packet) = self.sockets.receive() {
            let wall = wall_clock();
            let now = Instant::now();
            let received = Received {
                socket: packet.socket,
                source: packet.source,
                destination: packet.destination,
                ttl: packet.ttl,
                at: self.receive_clock.received_at(now, wall, packet.stamp),
                pdu: &packet.pdu,
            };
            self.input(now, Input::Advert(received));
            if let Some(verdict) = self.engine.take_verdict() {
                self.black_box.received(&received, verdict);
            }
        }
        let overflown = self.sockets.take_overflown();
        let now = Instant::now();
        for socket in overflown {
            self.black_box.note(&Note::AdvertsLost);
            self.input(now, Input::AdvertsLost(socket));
        }
        let ears = self.listener.iter_mut().chain(&mut self.claims);
        let announced: Vec<_> = ears.flat_map(AnnouncementListener::drain).collect();
        for (interface, address, hardware) in announced {
            self.input(now, Input::Announced { interface, address, hardware });
        }
        let changes = self.monitor.drain()?;
        self.links_changed(now, changes);
        loop {
            match self.main.next_message(&self.readiness) {
                Ok(Some(message)) => self.handle_message(now, message),
                Ok(None) => break,
                Err(e) => tracing::error!("main cannot be understood: {e}"),
            }
        }
        if self.main.is_gone() && self.stop_by.is_none() {
            tracing::error!("main is gone: giving up mastership");
            self.stop(now, Input::Stop);
        }
        self.engine.handle_timeout(begun);
        self.settle();
        if self.listener.is_some() {
            self.listen_for_successors();
        }
        self.write_addresses(now)?;
        self.engine.listen_from(Instant::now());
        if self.unsettled > 0 && self.writer.is_idle() {
            self.main.push(FromVrrp::Settled(std::mem::take(&mut self.unsettled)));
        }
        self.announcer.advance(now, self.monitor.table());
        self.write_black_box();
        self.heartbeat_at = now + self.beat_every;
        if let Err(e) = self.recorder.beat(now) {
            tracing::debug!("flight recorder: {e}");
        }
        self.watch_main(now);
        self.main.flush(&self.readiness);
        if self.lock_at.is_some_and(|at| at <= now) {
            self.lock_at = None;
            // What only the start needed is not locked.
            sys::release_free_memory();
            sys::release_program_pages();
            settings::lock_memory(self.engine.global(), &Default::default());
        }
        Ok(())
    }

    fn watch_main(&mut self, now: Instant) {
        if !self.main_watch.is_due(now) || self.stop_by.is_some() {
            return;
        }
        let event = match self.main_watch.look(now, self.recorder.last_beat_of_main()) {
            Some(MainNews::Silent(silence)) => Event::MainSilent { silence },
            Some(MainNews::Back(silence)) => Event::MainBack { silence },
            None => return,
        };
        // Main, which logs all other events, is late with this one.
        log_event(&event);
        self.emit(event);
    }

    fn links_changed(&mut self, now: Instant, changes: Vec<LinkChange>) {
        if changes.is_empty() {
            return;
        }
        let mut appeared = false;
        let (mut news, mut forwarding) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                LinkChange::Present(link) => {
                    self.black_box.link(&link);
                    appeared |= self.known_links.insert(link.index);
                    news.push(LinkNews::Present(link));
                }
                LinkChange::Gone(index) => {
                    self.black_box.link_gone(index);
                    self.known_links.remove(&index);
                    news.push(LinkNews::Gone(index));
                }
                LinkChange::PortForwards(bridge) => forwarding.push(bridge),
            }
        }
        self.input(now, Input::Links(news));
        for bridge in forwarding {
            self.input(now, Input::PortForwards(bridge));
        }
        if self.stop_by.is_some() {
            return;
        }
        if appeared {
            let instances = self.engine.instance_configs().map(|(_, config)| config);
            self.promotion.apply(instances, self.monitor.table());
        }
        self.sockets.repair(self.monitor.table(), &self.readiness);
        if let Some(change) = self.statics.links_changed(self.monitor.table()) {
            self.writer.sync(Owner::Static, change);
        }
    }

    fn input(&mut self, now: Instant, input: Input<'_>) {
        self.engine.handle_input(now, input);
        self.settle();
    }

    fn record_flight(&mut self) {
        let records = self.engine.poll_flight_records();
        if !records.is_empty()
            && let Err(e) = self.recorder.write(&records)
        {
            tracing::debug!("flight recorder: {e}");
        }
    }

    fn write_black_box(&mut self) {
        if let Err(e) = self.black_box.flush(self.recorder.file()) {
            tracing::debug!("black box: {e}");
        }
    }

    fn next_deadline(&self, now: Instant) -> Instant {
        if self.writer.wants_turn() || self.main.has_input() {
            return now;
        }
        let deadlines = [self.engine.poll_timeout(), self.announcer.poll_timeout(now), self.stop_by];
        deadlines.into_iter().flatten().fold(self.heartbeat_at, Instant::min)
    }

    async fn sleep(&self, now: Instant, until: Instant) -> io::Result<()> {
        if until <= now {
            tokio::task::yield_now().await;
            return Ok(());
        }
        let at = self.clock.since_boot(until).into();
        self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        self.readiness.wait().await
    }
}
