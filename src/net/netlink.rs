//! A netlink socket that never waits.
//!
//! Shell. Three of these exist: the monitor's, which is a member of the notification groups, the address writer's, and
//! the one to nftables where packets to virtual addresses are filtered.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, sendto, setsockopt, socket,
    sockopt,
};

use super::rtnl::{self, Message};

/// The kernel builds dump messages of at most 32 KiB.
const DATAGRAM: usize = 64 << 10;

/// One socket.
#[derive(Debug)]
pub struct NetlinkSocket {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

/// What one read brought.
#[derive(Debug)]
pub enum Read {
    /// Messages.
    Messages(Vec<Message>),
    /// Nothing is waiting.
    Nothing,
    /// The kernel had more to say than the buffer could take (`ENOBUFS`): some of it is lost.
    Overrun,
}

impl NetlinkSocket {
    /// Opens one, a member of the groups of this mask (`RTMGRP_*`).
    ///
    /// # Errors
    /// No descriptor or memory.
    pub fn open(groups: u32, receive_buffer: usize) -> io::Result<Self> {
        Self::open_protocol(SockProtocol::NetlinkRoute, groups, receive_buffer)
    }

    /// Opens one to nftables and its kin.
    ///
    /// # Errors
    /// No descriptor or memory, or a kernel without it.
    pub fn open_netfilter(receive_buffer: usize) -> io::Result<Self> {
        Self::open_protocol(SockProtocol::NetlinkNetFilter, 0, receive_buffer)
    }

    fn open_protocol(protocol: SockProtocol, groups: u32, receive_buffer: usize) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        // Without CAP_NET_ADMIN the default size stays, and overruns come earlier.
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &receive_buffer);
        // Old kernels give a bare error number.
        let _ = super::sys::set_extended_answers(&fd);
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self { fd, buffer: vec![0; DATAGRAM] })
    }

    /// Sends requests to the kernel, which carries them out before this returns.
    ///
    /// # Errors
    /// The buffer for answers is full (`ENOBUFS`, `EAGAIN`).
    pub fn send(&self, requests: &[u8]) -> io::Result<()> {
        sendto(self.fd.as_raw_fd(), requests, &NetlinkAddr::new(0, 0), MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }

    /// Reads one datagram, if one is there.
    ///
    /// # Errors
    /// The socket broke.
    pub fn read(&mut self) -> io::Result<Read> {
        loop {
            return match recvfrom::<NetlinkAddr>(self.fd.as_raw_fd(), &mut self.buffer) {
                // Other processes can write to this socket; only number 0 is the kernel.
                Ok((_, Some(from))) if from.pid() != 0 => continue,
                Ok((length, _)) => Ok(Read::Messages(rtnl::decode(self.buffer.get(..length).unwrap_or_default()))),
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => Ok(Read::Nothing),
                Err(Errno::ENOBUFS) => Ok(Read::Overrun),
                Err(e) => Err(e.into()),
            };
        }
    }
}

impl AsFd for NetlinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
