//! A packet capture on a switch: adverts, ARPs and neighbour advertisements with the kernel's timestamps.
//!
//! Shell: owns a packet socket and a thread. Each frame is seen once, where it enters the switch, so that the port
//! tells who sent it whatever the packet claims.

#![allow(clippy::disallowed_methods)] // A shell: the time of a capture is the time it was read.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimestampns};
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::frame::{Meaning, decode};
use super::lan::Lan;

/// Room for what a thousand instances say at once while the sniffer's thread waits for a CPU.
const RECEIVE_BUFFER: usize = 16 << 20;

/// One captured frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The host that sent it.
    pub host: String,
    /// When the kernel took it, CLOCK_REALTIME since the epoch. Differences of these measure the wire.
    pub at: Duration,
    /// When the sniffer read it.
    pub seen: Instant,
    /// What it says.
    pub meaning: Meaning,
    /// All of it, from the Ethernet header on.
    pub bytes: Vec<u8>,
}

/// A running capture; dropping it ends it.
pub struct Sniffer {
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Sniffer {
    /// Captures all ports that `lan` has now. `on_frame` runs on the sniffer's thread.
    pub fn start(lan: &Lan, mut on_frame: impl FnMut(Frame) + Send + 'static) -> io::Result<Self> {
        let owners = lan.port_owners();
        let socket = lan.switch().run(open)?;
        let (stopped, stop) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let thread = lan.switch().thread("lab-sniffer", move || {
            let mut buffer = vec![0; 65_536];
            while readable(&socket, &stopped) {
                let Some((port, at, len)) = receive(&socket, &mut buffer) else { continue };
                let (Some(host), Some(bytes)) = (owners.get(&port), buffer.get(..len)) else { continue };
                let meaning = decode(bytes);
                if meaning != Meaning::Other {
                    on_frame(Frame { host: host.clone(), at, seen: Instant::now(), meaning, bytes: bytes.to_vec() });
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open() -> io::Result<Socket> {
    // Protocol 0 receives nothing until the filter is in place.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    socket.attach_filter(&filter())?;
    setsockopt(&socket, ReceiveTimestampns, &true)?;
    setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER)?;
    socket.set_nonblocking(true)?;
    nix::sys::socket::bind(socket.as_raw_fd(), &all_protocols()?)?;
    Ok(socket)
}

/// ETH_P_ALL on every interface.
fn all_protocols() -> io::Result<LinkAddr> {
    let family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    let protocol = u16::try_from(libc::ETH_P_ALL).map_err(io::Error::other)?.to_be();
    let address = libc::sockaddr_ll {
        sll_family: family,
        sll_protocol: protocol,
        sll_ifindex: 0,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    link_addr(&address).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

#[allow(unsafe_code)]
fn link_addr(address: &libc::sockaddr_ll) -> Option<LinkAddr> {
    let len = u32::try_from(size_of::<libc::sockaddr_ll>()).ok()?;
    // SAFETY: a valid sockaddr_ll of that length, alive for the call, which copies it.
    unsafe { nix::sys::socket::SockaddrLike::from_raw(std::ptr::from_ref(address).cast(), Some(len)) }
}

/// ARP, IP protocol 112 and ICMPv6 neighbour advertisements entering the switch. The client's traffic stays in the kernel.
fn filter() -> [SockFilter; 15] {
    const LOAD_WORD_AUX_PKTTYPE: (u16, u32) = (0x28, 0xffff_f004);
    const fn op(code: u16, jt: u8, jf: u8, k: u32) -> SockFilter {
        SockFilter::new(code, jt, jf, k)
    }
    const LDH: u16 = 0x28;
    const LDB: u16 = 0x30;
    const JEQ: u16 = 0x15;
    const RET: u16 = 0x06;
    [
        op(LOAD_WORD_AUX_PKTTYPE.0, 0, 0, LOAD_WORD_AUX_PKTTYPE.1),
        op(JEQ, 12, 0, 4), // PACKET_OUTGOING: drop
        op(LDH, 0, 0, 12),
        op(JEQ, 9, 0, 0x0806), // ARP: take
        op(JEQ, 0, 2, 0x0800),
        op(LDB, 0, 0, 23),
        op(JEQ, 6, 7, 112),
        op(JEQ, 0, 6, 0x86dd),
        op(LDB, 0, 0, 20),
        op(JEQ, 3, 0, 112),
        op(JEQ, 0, 3, 58),
        op(LDB, 0, 0, 54),
        op(JEQ, 0, 1, 136),
        op(RET, 0, 0, 0xffff),
        op(RET, 0, 0, 0),
    ]
}

/// Waits for a frame; false when the capture ends.
fn readable(socket: &Socket, stopped: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN), PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) => fds.get(1).is_some_and(|stop| stop.revents().is_none_or(|events| events.is_empty())),
        Err(error) => error == nix::errno::Errno::EINTR,
    }
}

fn receive(socket: &Socket, buffer: &mut [u8]) -> Option<(u32, Duration, usize)> {
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()).ok()?;
    let at = message.cmsgs().ok()?.find_map(|c| match c {
        ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
        _ => None,
    })?;
    let port = u32::try_from(message.address?.ifindex()).ok()?;
    Some((port, at, message.bytes))
}
