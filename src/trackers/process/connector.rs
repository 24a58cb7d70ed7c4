//! The kernel's news of processes: netlink connector, `CN_IDX_PROC`.
//!
//! Shell: owns the socket. The kernel tells them in the first network, process and user namespace only. Elsewhere it
//! refuses the subscription or, worse, says nothing: so nobody relies on news before [`News::Subscribed`].

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::thread;

use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{NetlinkAddr, recvfrom, setsockopt, sockopt};

/// Enough for some thousand news, which is a busy second.
const RECEIVE_BUFFER: usize = 1 << 20;
/// News per call of [`Connector::read`].
const PER_TURN: usize = 256;

const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;
/// Index, value, sequence and acknowledgement numbers, length, flags.
const CONNECTOR_HEADER: usize = 20;
const CN_IDX_PROC: u32 = 1;
const CN_VAL_PROC: u32 = 1;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const PROC_EVENT_NONE: u32 = 0;
const PROC_EVENT_FORK: u32 = 1;
const PROC_EVENT_EXEC: u32 = 2;
const PROC_EVENT_COMM: u32 = 0x200;
const PROC_EVENT_EXIT: u32 = 0x8000_0000;

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// From now on there are news.
    Subscribed,
    /// There will be none.
    Refused,
    /// A process made another.
    Forked {
        /// The one.
        parent: u32,
        /// The other.
        child: u32,
    },
    /// A process runs another program now.
    Executed {
        /// Which.
        process: u32,
    },
    /// A process has another name now.
    Renamed {
        /// Which.
        process: u32,
    },
    /// The first thread of a process ended, and with it most processes.
    Exited {
        /// Which.
        process: u32,
    },
}

/// The size of the socket's buffer, as configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BufferSize {
    /// Bytes (`process_monitor_rcv_bufs`); ours when not set.
    pub bytes: Option<u32>,
    /// Beyond the system's limit (`process_monitor_rcv_bufs_force`).
    pub force: bool,
}

/// What a read brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// These; perhaps there are more.
    News(Vec<News>),
    /// Some were lost.
    Overrun,
}

/// A subscription.
#[derive(Debug)]
pub struct Connector {
    socket: Socket,
}

impl Connector {
    /// Subscribes: in this network namespace, or at `home` where we come from, or where process 1 is. Waits for no
    /// answer, but the namespaces may make it wait: call it where that hurts nobody.
    ///
    /// # Errors
    /// The kernel refuses: not the first network namespace, no CAP_NET_ADMIN, no connector.
    pub fn open(size: BufferSize, home: Option<&File>) -> io::Result<Self> {
        let refusal = match Self::open_here(size) {
            Ok(connector) => return Ok(connector),
            Err(error) => error,
        };
        // A socket stays in the namespace that it was made in; the thread that goes there ends there.
        let open_in = |namespace: &File| {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            Self::open_here(size)
        };
        let elsewhere = || {
            let first = File::open("/proc/1/ns/net").ok();
            home.into_iter().chain(&first).find_map(|namespace| open_in(namespace).ok())
        };
        let found = thread::scope(|scope| {
            let thread = thread::Builder::new().name("proc-connector".into()).spawn_scoped(scope, elsewhere)?;
            Ok::<_, io::Error>(thread.join().ok().flatten())
        })?;
        found.ok_or(refusal)
    }

    fn open_here(size: BufferSize) -> io::Result<Self> {
        let mut socket = Socket::new(isize::try_from(libc::NETLINK_CONNECTOR).map_err(io::Error::other)?)?;
        let bytes = size.bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(RECEIVE_BUFFER);
        // With what we get, overruns come earlier or later.
        let _ = if size.force || size.bytes.is_none() {
            setsockopt(&socket, sockopt::RcvBufForce, &bytes)
        } else {
            setsockopt(&socket, sockopt::RcvBuf, &bytes)
        };
        socket.bind(&SocketAddr::new(0, CN_IDX_PROC))?;
        socket.set_non_blocking(true)?;
        socket.send_to(&subscription(), &SocketAddr::new(0, 0), 0)?;
        Ok(Self { socket })
    }

    /// Reads what is waiting, up to some hundred.
    ///
    /// # Errors
    /// The socket broke.
    pub fn read(&self) -> io::Result<Read> {
        let mut news = Vec::new();
        let mut buffer = [0; 1024];
        for _ in 0..PER_TURN {
            match recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                // Only number 0 is the kernel.
                Ok((_, Some(from))) if from.pid() != 0 => {}
                Ok((length, _)) => news.extend(parse(buffer.get(..length).unwrap_or_default())),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(Errno::ENOBUFS) => return Ok(Read::Overrun),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Read::News(news))
    }
}

impl AsFd for Connector {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn subscription() -> Vec<u8> {
    let length = HEADER + CONNECTOR_HEADER + size_of::<u32>();
    let mut message = Vec::with_capacity(length);
    message.extend(u32::try_from(length).unwrap_or_default().to_ne_bytes());
    message.extend(NLMSG_DONE.to_ne_bytes());
    // Flags, sequence number, our number: the kernel fills in the last.
    message.extend([0; 10]);
    message.extend(CN_IDX_PROC.to_ne_bytes());
    message.extend(CN_VAL_PROC.to_ne_bytes());
    // Sequence number and acknowledgement.
    message.extend([0; 8]);
    message.extend(4_u16.to_ne_bytes());
    message.extend(0_u16.to_ne_bytes());
    message.extend(PROC_CN_MCAST_LISTEN.to_ne_bytes());
    message
}

/// Reads one datagram; `None` for what is not news to us, such as the news of threads.
///
/// ```text
/// nlmsghdr 16 | cn_msg 20: idx val seq ack len flags | proc_event: what 4, cpu 4, time 8, then by kind:
///   none  error                                        fork  parent, its process, child, its process
///   exec, comm, exit  thread, its process, …
/// ```
fn parse(datagram: &[u8]) -> Option<News> {
    let word = |at: usize| {
        let bytes = datagram.get(at..at.checked_add(4)?)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    if word(HEADER)? != CN_IDX_PROC || word(HEADER + 4)? != CN_VAL_PROC {
        return None;
    }
    let event = HEADER + CONNECTOR_HEADER;
    let data = |index: usize| word(event + 16 + 4 * index);
    let (thread, process) = (data(0)?, data(1));
    let is_process = process == Some(thread);
    match word(event)? {
        PROC_EVENT_NONE if thread == 0 => Some(News::Subscribed),
        PROC_EVENT_NONE => Some(News::Refused),
        PROC_EVENT_FORK => {
            let (child_thread, child) = (data(2)?, data(3)?);
            (child_thread == child).then_some(News::Forked { parent: process?, child })
        }
        // A thread that executes becomes its process.
        PROC_EVENT_EXEC => Some(News::Executed { process: process? }),
        PROC_EVENT_COMM if is_process => Some(News::Renamed { process: thread }),
        PROC_EVENT_EXIT if is_process => Some(News::Exited { process: thread }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(what: u32, data: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        for word in [CN_IDX_PROC, CN_VAL_PROC, 0, 0, 0, what, 0, 0, 0].iter().chain(data) {
            bytes.extend(word.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn news() {
        for (what, data, want) in [
            (PROC_EVENT_NONE, &[0][..], Some(News::Subscribed)),
            (PROC_EVENT_NONE, &[1], Some(News::Refused)),
            (PROC_EVENT_FORK, &[6, 5, 9, 9], Some(News::Forked { parent: 5, child: 9 })),
            (PROC_EVENT_FORK, &[5, 5, 9, 5], None),
            (PROC_EVENT_EXEC, &[5, 5], Some(News::Executed { process: 5 })),
            (PROC_EVENT_COMM, &[5, 5, 0, 0, 0, 0], Some(News::Renamed { process: 5 })),
            (PROC_EVENT_COMM, &[6, 5, 0, 0, 0, 0], None),
            (PROC_EVENT_EXIT, &[5, 5, 0, 0, 1, 1], Some(News::Exited { process: 5 })),
            (PROC_EVENT_EXIT, &[6, 5, 0, 0, 1, 1], None),
            (4, &[5, 5, 0, 0], None),
        ] {
            assert_eq!(parse(&datagram(what, data)), want, "{what:#x} {data:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_foreign_is_no_news() {
        let whole = datagram(PROC_EVENT_FORK, &[5, 5, 9, 9]);
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
        let mut foreign = whole;
        foreign[HEADER] ^= 0xff;
        assert_eq!(parse(&foreign), None);
    }
}
