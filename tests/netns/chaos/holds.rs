//! Who held an address when, what came in when, and how late the machine itself was: what it takes to say that a router has
//! held on for too long.
#![allow(clippy::disallowed_methods)] // A test in real time.

use std::io::IoSliceMut;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast::lab::frame::{Meaning, decode};
use holdfast::lab::host::Host;
use holdfast::net::links::LinkChange;
use holdfast::net::monitor::Monitor;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg, setsockopt, socket,
    sockopt,
};

/// CLOCK_REALTIME, which the sniffer counts in too.
pub fn clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970")
}

/// Spans of time. The last one may not have ended.
#[derive(Debug, Clone, Default)]
pub struct Spans(Vec<(Duration, Option<Duration>)>);

impl Spans {
    pub fn begin(&mut self, at: Duration) {
        if !self.is_open() {
            self.0.push((at, None));
        }
    }

    pub fn end(&mut self, at: Duration) {
        if let Some((_, end @ None)) = self.0.last_mut() {
            *end = Some(at);
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.0.last(), Some((_, None)))
    }

    /// The span that holds `at`: its end, if it has one.
    pub fn around(&self, at: Duration) -> Option<Option<Duration>> {
        self.0.iter().find(|(from, to)| *from <= at && to.is_none_or(|to| at < to)).map(|(_, to)| *to)
    }
}

type Shared<T> = Arc<Mutex<T>>;

fn locked<T>(shared: &Shared<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that watches until it is dropped.
pub struct Watch<T> {
    seen: Shared<T>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Clone> Watch<T> {
    pub fn seen(&self) -> T {
        locked(&self.seen).clone()
    }
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// When a host has this address on `eth0`.
pub fn watch_address(host: &Host, address: IpAddr) -> Watch<Spans> {
    let (seen, stop) = (Shared::<Spans>::default(), Arc::new(AtomicBool::new(false)));
    let (spans, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
    let thread = host.thread("holds", move || {
        let mut monitor = Monitor::open().expect("netlink");
        let mut changes = monitor.load(Duration::from_secs(5)).expect("the links");
        while !stopped.load(Ordering::Relaxed) {
            for change in changes {
                if let LinkChange::Present(link) = change
                    && link.name == "eth0"
                {
                    let here = link.addresses.iter().any(|a| a.address == address);
                    let mut spans = locked(&spans);
                    if here { spans.begin(clock()) } else { spans.end(clock()) }
                }
            }
            let mut set = [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut set, PollTimeout::from(50_u8));
            changes = monitor.drain().expect("netlink");
        }
    });
    Watch { seen, stop, thread: Some(thread.expect("a thread")) }
}

/// The adverts that come in on a host, when the kernel had them, and their priorities.
pub fn watch_adverts(host: &Host) -> Watch<Vec<(Duration, u8)>> {
    let (seen, stop) = (Shared::<Vec<_>>::default(), Arc::new(AtomicBool::new(false)));
    let (heard, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
    let thread = host.thread("hears", move || {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).expect("packet socket");
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).expect("time stamps");
        let mut buffer = [0; 2048];
        while !stopped.load(Ordering::Relaxed) {
            let mut set = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut set, PollTimeout::from(50_u8));
            let mut control = nix::cmsg_space!(libc::timespec);
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let read = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty());
            let Ok(message) = read else { continue };
            let time = message.cmsgs().expect("whole").find_map(|control| match control {
                ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
                _ => None,
            });
            let length = message.bytes;
            if let (Meaning::Advert(advert), Some(time)) = (decode(&buffer[..length]), time) {
                locked(&heard).push((time, advert.priority));
            }
        }
    });
    Watch { seen, stop, thread: Some(thread.expect("a thread")) }
}

/// How late this machine is for a thread that wants a millisecond of sleep: when, and by how much.
pub fn watch_machine() -> Watch<Vec<(Duration, Duration)>> {
    let (seen, stop) = (Shared::<Vec<_>>::default(), Arc::new(AtomicBool::new(false)));
    let (late, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
    let thread = std::thread::spawn(move || {
        let mut last = clock();
        while !stopped.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
            let now = clock();
            let by = now.saturating_sub(last);
            if by > Duration::from_millis(4) {
                locked(&late).push((now, by));
            }
            last = now;
        }
    });
    Watch { seen, stop, thread: Some(thread) }
}

/// The longest that the machine was late in a span of time.
pub fn lateness(late: &[(Duration, Duration)], from: Duration, to: Duration) -> Duration {
    let in_span = late.iter().filter(|(at, by)| *at >= from && at.saturating_sub(*by) <= to);
    in_span.map(|(_, by)| *by).sum()
}
