//! A socket to the kernel's IPVS.
//!
//! Shell. The kernel carries a request out while it is sent, so its answers are there afterwards: nothing waits here.

use std::borrow::Borrow;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, sendto, setsockopt, socket,
    sockopt,
};

use crate::ipvs::genl::reply::{Message, Reply, decode};
use crate::ipvs::genl::request::{Request, resolve_family};
use crate::vrrp::types::Family;

/// The kernel builds dump messages of at most 32 KiB.
const DATAGRAM: usize = 64 << 10;
/// Messages of one send: their answers fit [`RECEIVE_BUFFER`] even if the kernel refuses every one.
const MESSAGES_PER_SEND: usize = 256;
/// Bytes of one send, well below what a socket may send at once (`wmem_default`, some 200 KiB).
const BYTES_PER_SEND: usize = 48 << 10;
const RECEIVE_BUFFER: usize = 1 << 20;
/// A dump that the table changed under is read again this often; then it is taken as it is.
const DUMP_TRIES: usize = 4;

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The kernel says no.
    #[error("{}", .text.clone().unwrap_or_else(|| io::Error::from_raw_os_error(*.errno).to_string()))]
    Refused {
        /// Errno.
        errno: i32,
        /// The kernel's own words, where it has any.
        text: Option<String>,
    },
    /// The answer did not come, or not whole.
    #[error("{0}")]
    Lost(#[from] io::Error),
}

impl CallError {
    /// The error number, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Lost(error) => error.raw_os_error(),
        }
    }
}

/// The socket and the family's number.
#[derive(Debug)]
pub struct Client {
    fd: OwnedFd,
    family: u16,
    sequence: u32,
    /// What is read.
    buffer: Vec<u8>,
    /// What is sent.
    outgoing: Vec<u8>,
}

impl Client {
    /// Opens a socket in the network namespace of the calling thread. This loads the module where there is one.
    ///
    /// # Errors
    /// `ENOENT`: the kernel has no IPVS. Others: no descriptor, no memory.
    pub fn open() -> Result<Self, CallError> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkGeneric)
            .map_err(io::Error::from)?;
        // Without CAP_NET_ADMIN the default size stays; then the kernel refuses everything else too.
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER);
        // Old kernels give a bare error number.
        let _ = crate::net::sys::set_extended_answers(&fd);
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(io::Error::from)?;
        let mut client = Self { fd, family: 0, sequence: 0, buffer: vec![0; DATAGRAM], outgoing: Vec::new() };
        let sequence = client.next_sequence();
        client.send(&resolve_family(sequence))?;
        for reply in client.answers(sequence, Family::V4)?.0 {
            if let Reply::Family(number) = reply {
                client.family = number;
            }
        }
        match client.family {
            0 => Err(io::Error::other("the kernel does not say the number of the family IPVS").into()),
            _ => Ok(client),
        }
    }

    /// One request and all that it is answered with. A request that was interrupted has no answer at all: that is
    /// `EINTR`. `family` is that of the service whose destinations are dumped.
    ///
    /// # Errors
    /// The kernel refuses it, or the answer is lost.
    pub fn call(&mut self, request: &Request, family: Family) -> Result<Vec<Reply>, CallError> {
        let mut tries = 1;
        loop {
            let sequence = self.next_sequence();
            let mut buffer = Vec::new();
            request.append(self.family, sequence, true, &mut buffer);
            self.send(&buffer)?;
            let (replies, interrupted) = match self.answers(sequence, family) {
                Err(CallError::Lost(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(CallError::Refused { errno: libc::EINTR, text: None });
                }
                answers => answers?,
            };
            if !interrupted || tries >= DUMP_TRIES {
                return Ok(replies);
            }
            tries += 1;
        }
    }

    /// Carries out many requests in their order. One that is refused does not hold up the next ones.
    ///
    /// The refusals, by the request's place in the list. When answers are lost the error stands for every request whose
    /// fate is unknown.
    pub fn batch<R: Borrow<Request>>(&mut self, requests: impl IntoIterator<Item = R>) -> Vec<(usize, CallError)> {
        let mut refused = Vec::new();
        let mut next = 0;
        let mut buffer = std::mem::take(&mut self.outgoing);
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            let first = next;
            let base = self.sequence;
            buffer.clear();
            while let Some(request) = requests.next() {
                let last = requests.peek().is_none()
                    || next + 1 - first == MESSAGES_PER_SEND
                    || buffer.len() >= BYTES_PER_SEND;
                let sequence = self.next_sequence();
                // The last one is answered always, so that it is known when all is done; the others when refused.
                request.borrow().append(self.family, sequence, last, &mut buffer);
                next += 1;
                if last {
                    break;
                }
            }
            let result = self.send(&buffer).and_then(|()| self.verdicts(base, next - first));
            match result {
                Ok(verdicts) => refused.extend(verdicts.into_iter().map(|(at, error)| (first + at, error))),
                Err(error) => {
                    let again = || io::Error::new(error.kind(), error.to_string());
                    refused.extend((first..next).map(|at| (at, CallError::Lost(again()))));
                }
            }
        }
        self.outgoing = buffer;
        refused
    }

    /// The refusals among `count` requests whose sequence numbers follow on `base`.
    fn verdicts(&mut self, base: u32, count: usize) -> io::Result<Vec<(usize, CallError)>> {
        let mut refused = Vec::new();
        loop {
            for message in self.read(Family::V4)? {
                let at = usize::try_from(message.sequence.wrapping_sub(base)).unwrap_or(0).wrapping_sub(1);
                if at >= count {
                    continue;
                }
                if let Reply::Answer { errno, text } = message.reply {
                    if errno != 0 {
                        refused.push((at, CallError::Refused { errno, text }));
                    }
                    if at + 1 == count {
                        return Ok(refused);
                    }
                }
            }
        }
    }

    /// Everything up to the end of the answer, and whether a dump was interrupted.
    fn answers(&mut self, sequence: u32, family: Family) -> Result<(Vec<Reply>, bool), CallError> {
        let mut replies = Vec::new();
        let mut interrupted = false;
        loop {
            for message in self.read(family)? {
                if message.sequence != sequence {
                    continue;
                }
                interrupted |= message.interrupted;
                match message.reply {
                    Reply::Answer { errno: 0, .. } | Reply::Done { errno: 0 } => return Ok((replies, interrupted)),
                    Reply::Answer { errno, text } => return Err(CallError::Refused { errno, text }),
                    Reply::Done { errno } => return Err(CallError::Refused { errno, text: None }),
                    reply => replies.push(reply),
                }
            }
        }
    }

    fn send(&self, requests: &[u8]) -> io::Result<()> {
        sendto(self.fd.as_raw_fd(), requests, &NetlinkAddr::new(0, 0), MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }

    fn read(&mut self, family: Family) -> io::Result<Vec<Message>> {
        loop {
            return match recvfrom::<NetlinkAddr>(self.fd.as_raw_fd(), &mut self.buffer) {
                // Other processes can write to this socket; only number 0 is the kernel.
                Ok((_, Some(from))) if from.pid() != 0 => continue,
                Ok((length, _)) => Ok(decode(self.buffer.get(..length).unwrap_or_default(), family)),
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => Err(io::Error::new(io::ErrorKind::WouldBlock, "the kernel did not answer")),
                Err(error) => Err(error.into()),
            };
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
}
