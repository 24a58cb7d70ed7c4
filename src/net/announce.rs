//! Sends gratuitous ARPs and unsolicited NAs.
//!
//! Shell: owns the packet socket. Decides nothing but what the pacing queue says.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::vrrp::types::{IfIndex, InstanceId};

use super::frame::{self, Mac};
use super::links::LinkTable;
use super::pacing::PacingQueue;
use super::sys;
use super::write_queue::Announcement;

/// Frames per turn: adverts are read between two turns.
const PER_TURN: usize = 256;
/// The forwarding setting is read again after this time (keepalived's).
const FORWARDING_VALID: Duration = Duration::from_secs(5);

/// Owns the socket and the queue.
#[derive(Debug)]
pub struct Announcer {
    socket: OwnedFd,
    queue: PacingQueue,
    forwarding: BTreeMap<IfIndex, (Instant, bool)>,
    counters: AnnounceCounters,
}

/// What became of the packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnnounceCounters {
    /// Sent.
    pub sent: u64,
    /// Given up after retries, or refused by the interface.
    pub dropped: u64,
    /// Not meant for this kind of link (no ARP, not Ethernet).
    pub skipped: u64,
}

impl Announcer {
    /// Opens the packet socket.
    ///
    /// # Errors
    /// No CAP_NET_RAW.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            socket: sys::frame_socket()?,
            queue: PacingQueue::default(),
            forwarding: BTreeMap::new(),
            counters: AnnounceCounters::default(),
        })
    }

    /// Smallest spacings (`vrrp_garp_interval`, `vrrp_gna_interval`).
    pub fn set_intervals(&mut self, garp: Duration, gna: Duration) {
        self.queue.set_intervals(garp, gna);
    }

    /// Queues an announcement whose addresses are in place.
    pub fn push(&mut self, announcement: &Announcement) {
        for (interface, address) in &announcement.addresses {
            self.queue.push(announcement.instance, *interface, *address, announcement.repeat);
        }
    }

    /// Forgets what an instance wanted to announce and does not hold any more.
    pub fn retain(&mut self, instance: InstanceId, is_true: impl FnMut(IfIndex, IpAddr) -> bool) {
        self.queue.retain(instance, is_true);
    }

    /// Sends what is due.
    pub fn advance(&mut self, now: Instant, links: &LinkTable) {
        for _ in 0..PER_TURN {
            let Some(shot) = self.queue.poll(now) else { return };
            let Some(frame) = self.frame(now, shot.interface, shot.address, links) else {
                self.counters.skipped += 1;
                continue;
            };
            match sys::send_frame(&self.socket, shot.interface, &frame) {
                Ok(()) => {
                    self.counters.sent += 1;
                    tell(shot.interface, shot.address, links);
                }
                Err(e) if is_full(&e) => {
                    if !self.queue.refused(now, shot) {
                        self.counters.dropped += 1;
                    }
                }
                Err(e) => {
                    self.counters.dropped += 1;
                    tracing::debug!(address = %shot.address, error = %e, "announcement not sent");
                }
            }
        }
    }

    /// When [`Announcer::advance`] has something to do again.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.queue.poll_timeout(now)
    }

    /// What became of the packets so far.
    pub fn counters(&self) -> AnnounceCounters {
        self.counters
    }

    fn frame(&mut self, now: Instant, interface: IfIndex, address: IpAddr, links: &LinkTable) -> Option<Vec<u8>> {
        let link = links.facts(interface)?;
        if link.flags & libc::IFF_NOARP.cast_unsigned() != 0 {
            return None;
        }
        let mac: Mac = link.hardware.as_slice().try_into().ok()?;
        Some(match address {
            IpAddr::V4(address) => frame::gratuitous_arp(mac, address),
            IpAddr::V6(address) => frame::unsolicited_na(mac, address, self.forwards(now, interface, &link.name)),
        })
    }

    /// Whether the interface forwards IPv6. `/proc/sys` is the kernel's memory: reading it waits for no disk.
    fn forwards(&mut self, now: Instant, interface: IfIndex, name: &str) -> bool {
        if let Some((read_at, forwards)) = self.forwarding.get(&interface)
            && now.saturating_duration_since(*read_at) < FORWARDING_VALID
        {
            return *forwards;
        }
        let setting = std::fs::read(format!("/proc/sys/net/ipv6/conf/{name}/forwarding")).unwrap_or_default();
        let forwards = setting.first().is_some_and(|b| *b != b'0');
        self.forwarding.insert(interface, (now, forwards));
        forwards
    }
}

/// The words of keepalived's detailed log, which people look for when clients did not follow a takeover.
fn tell(interface: IfIndex, address: IpAddr, links: &LinkTable) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let name = links.facts(interface).map_or("?", |link| link.name.as_str());
    match address {
        IpAddr::V4(_) => tracing::debug!("Sending gratuitous ARP on {name} for {address}"),
        IpAddr::V6(_) => tracing::debug!("Sending unsolicited Neighbour Advert on {name} for {address}"),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM))
}
