//! The few system calls that no dependency wraps safely, and the one place where readiness is waited for.
//!
//! Shell. All `unsafe` of this module tree is here; each block is one call with plain arguments.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::io::unix::AsyncFd;

use crate::vrrp::types::IfIndex;

/// Owns the epoll set and gives tokio its number.
#[derive(Debug)]
struct EpollFd(Epoll);

impl AsRawFd for EpollFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

/// Everything that can wake the loop, as one descriptor in tokio's reactor.
///
/// The inner set is level-triggered: what is left unread wakes the loop again, so a reader may stop half-way. Sockets
/// come and go in the inner set without tokio knowing them, and reads go straight to the kernel: a reader that trusted
/// cached readiness would miss what arrived while this process was held up.
#[derive(Debug)]
pub struct Readiness {
    set: AsyncFd<EpollFd>,
}

impl Readiness {
    /// An empty set. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The kernel has no descriptor left.
    #[allow(unsafe_code)]
    pub fn new() -> io::Result<Self> {
        let epoll = EpollFd(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        // SAFETY: `EpollFd` owns its descriptor, which stays open and the same until the `AsyncFd` is dropped.
        let set = unsafe { AsyncFd::register_with_interest(epoll, tokio::io::Interest::READABLE) };
        Ok(Self { set: set.map_err(io::Error::from)? })
    }

    /// Wakes when `fd` can be read. Closing the descriptor takes it out of the set.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.set.get_ref().0.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0))?)
    }

    /// Whether `fd`, which is in the set, shall also wake when it can be written.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn want_write(&self, fd: impl AsFd, wanted: bool) -> io::Result<()> {
        let flags = if wanted { EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT } else { EpollFlags::EPOLLIN };
        Ok(self.set.get_ref().0.modify(fd, &mut EpollEvent::new(flags, 0))?)
    }

    /// No longer wakes for `fd`.
    pub fn remove(&self, fd: impl AsFd) {
        // Not in the set: then it is as wanted.
        let _ = self.set.get_ref().0.delete(fd);
    }

    /// Returns when something in the set is ready.
    ///
    /// # Errors
    /// The reactor is gone.
    pub async fn wait(&self) -> io::Result<()> {
        loop {
            let mut guard = self.set.readable().await?;
            let mut events = [EpollEvent::empty()];
            match guard.get_inner().0.wait(&mut events, EpollTimeout::ZERO) {
                Ok(0) => guard.clear_ready(),
                Ok(_) => return Ok(()),
                Err(nix::errno::Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(mem::size_of::<T>()).expect("structures of the kernel are small")
}

/// Sends IPv4 multicast through this interface, by number: an interface without an address has no other name.
///
/// # Errors
/// The interface does not exist.
#[allow(unsafe_code)]
pub fn set_multicast_interface_v4(fd: impl AsFd, interface: IfIndex) -> io::Result<()> {
    let request = libc::ip_mreqn {
        imr_multiaddr: libc::in_addr { s_addr: 0 },
        imr_address: libc::in_addr { s_addr: 0 },
        imr_ifindex: i32::try_from(interface.0).map_err(io::Error::other)?,
    };
    // SAFETY: the pointer and the length describe `request`, which outlives the call; the kernel only reads it.
    check(unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MULTICAST_IF,
            (&raw const request).cast(),
            length_of::<libc::ip_mreqn>(),
        )
    })
}

/// How many packets a socket has dropped so far, most of them because its buffer was full.
///
/// The kernel's note with each packet (SO_RXQ_OVFL) tells what was dropped before that one came, and nothing of what
/// came after the last that found room: just what a process that was held up must know.
///
/// # Errors
/// A kernel before 4.12.
#[allow(unsafe_code)]
pub fn dropped_packets(fd: impl AsFd) -> io::Result<u32> {
    const SO_MEMINFO: libc::c_int = 55;
    const SK_MEMINFO_DROPS: usize = 8;
    let mut info = [0_u32; SK_MEMINFO_DROPS + 1];
    let mut length = length_of::<[u32; SK_MEMINFO_DROPS + 1]>();
    // SAFETY: the pointer and the length describe `info`, which outlives the call; the kernel writes no more than that.
    check(unsafe {
        libc::getsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    })?;
    Ok(info[SK_MEMINFO_DROPS])
}

/// A packet socket that sends whole frames and receives nothing.
///
/// # Errors
/// No CAP_NET_RAW.
pub fn frame_socket() -> io::Result<OwnedFd> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(AddressFamily::Packet, SockType::Raw, flags, None)?)
}

/// Opens the ears of a packet socket that was made without a protocol: all protocols, all links.
///
/// # Errors
/// Not a packet socket.
#[allow(unsafe_code)]
pub fn hear_all_links(socket: impl AsFd, ethertype: i32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?,
        sll_protocol: u16::try_from(ethertype).map_err(io::Error::other)?.to_be(),
        sll_ifindex: 0,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the pointer and the length describe `address`, which outlives the call; the kernel only reads it.
    check(unsafe {
        libc::bind(socket.as_fd().as_raw_fd(), (&raw const address).cast(), length_of::<libc::sockaddr_ll>())
    })
}

/// Sends one frame out of an interface.
///
/// # Errors
/// The queue is full (`EAGAIN`, `ENOBUFS`), or the interface is down or gone.
#[allow(unsafe_code)]
pub fn send_frame(socket: impl AsFd, interface: IfIndex, frame: &[u8]) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?,
        sll_protocol: frame.get(12..14).map_or(0, |t| u16::from_ne_bytes([t[0], t[1]])),
        sll_ifindex: i32::try_from(interface.0).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: both pointers and their lengths describe values that outlive the call; the kernel only reads them.
    let sent = unsafe {
        libc::sendto(
            socket.as_fd().as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            libc::MSG_DONTWAIT,
            (&raw const address).cast(),
            length_of::<libc::sockaddr_ll>(),
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Real-time scheduling for this process; children start as ordinary ones.
///
/// # Errors
/// No CAP_SYS_NICE, or no real-time bandwidth in this control group.
#[allow(unsafe_code)]
pub fn set_round_robin(priority: u8) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: i32::from(priority) };
    // SAFETY: the pointer is to a local value that the kernel only reads.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const parameters) })
}

/// The calling thread interrupts nobody when it is woken (`SCHED_BATCH`), or does so as threads usually do.
///
/// # Errors
/// It has a policy that somebody else has given it, and keeps that.
#[allow(unsafe_code)]
pub fn set_patient(patient: bool) -> io::Result<()> {
    // SAFETY: no pointers.
    let policy = unsafe { libc::sched_getscheduler(0) };
    if !matches!(policy, libc::SCHED_OTHER | libc::SCHED_BATCH) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let policy = if patient { libc::SCHED_BATCH } else { libc::SCHED_OTHER };
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer is to a local value that the kernel only reads.
    check(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) })
}

/// The nice value of this process.
///
/// # Errors
/// Below 0 without CAP_SYS_NICE.
#[allow(unsafe_code)]
pub fn set_nice(nice: i8) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, i32::from(nice)) })
}

/// Asks a netlink socket for the kernel's own words with each refusal, and not for our request back.
///
/// # Errors
/// A kernel before 4.12.
#[allow(unsafe_code)]
pub fn set_extended_answers(fd: impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    for option in [libc::NETLINK_CAP_ACK, libc::NETLINK_EXT_ACK] {
        // SAFETY: the pointer and the length describe `on`, which outlives the call; the kernel only reads it.
        check(unsafe {
            libc::setsockopt(
                fd.as_fd().as_raw_fd(),
                libc::SOL_NETLINK,
                option,
                (&raw const on).cast(),
                length_of::<libc::c_int>(),
            )
        })?;
    }
    Ok(())
}

/// Buffers of this size and larger are mapped by themselves: what they never touch takes no memory, and the rest goes
/// back to the kernel when they are freed, even in a process that has its memory locked. The C library would raise the
/// limit with the first one that is freed.
#[allow(unsafe_code)]
pub fn keep_large_buffers_apart() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointers.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 << 10);
    }
}

/// For who reads large configurations now and then, and gives memory back by [`release_free_memory`] alone.
///
/// All threads take memory from one place. The C library would give each thread an arena of its own, which grows by a system
/// call for each page: a thread that reads a large configuration makes thousands of them. And what one reading has freed,
/// the text with it, is there for the next: each page that is given back is a fault when it is asked for again. To be
/// called before there are threads, and not where threads allocate at the same time all the while.
#[allow(unsafe_code)]
pub fn keep_memory_for_the_next_reading() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointers.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 4 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
        // It grows by so much with each call.
        libc::mallopt(libc::M_TOP_PAD, 1 << 20);
    }
}

/// For a process that reads one large file and ends: so many bytes of its heap, which it will certainly use, lie in large
/// pages where the kernel has them for who asks; of the last one a part may be in vain. Touching two megabytes costs one
/// fault then instead of five hundred. To be called before much is allocated, and not by who goes on: the kernel would fill
/// up what such a process gives back.
#[allow(unsafe_code)]
pub fn lay_heap_in_large_pages(certain: usize) {
    #[cfg(target_env = "gnu")]
    {
        /// As the processors of servers have them; elsewhere the advice is good for nothing, and harmless.
        const LARGE: usize = 2 << 20;
        /// More than the heap of a process that has just begun has left.
        const FIRST: usize = 256 << 10;
        let length = (certain / LARGE).saturating_add(1).saturating_mul(LARGE);
        let Ok(room) = libc::c_int::try_from(length.saturating_add(LARGE)) else { return };
        // SAFETY: no pointers.
        unsafe {
            // Nothing is mapped by itself, and the heap grows by all the room at once.
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TOP_PAD, room);
        }
        let first = Vec::<u8>::with_capacity(FIRST);
        let start = first.as_ptr().expose_provenance();
        // Beyond what the C library has written behind it: of what is touched no large page is made.
        let large = (start + FIRST + 64).next_multiple_of(LARGE);
        // SAFETY: nothing is moved.
        let end = unsafe { libc::sbrk(0) }.expose_provenance();
        if end >= large + length {
            // SAFETY: advice about pages that are ours and that nobody has touched; what is in them stays.
            unsafe {
                libc::madvise(std::ptr::with_exposed_provenance_mut(large), length, libc::MADV_HUGEPAGE);
            }
            drop(first);
            // What is allocated next begins with the first of them.
            std::mem::forget(std::hint::black_box(Vec::<u8>::with_capacity(large - start - 64)));
        }
    }
}

/// Lets go of the pages of the program and its libraries that are mapped: most of them only the start needed, and what is
/// used again comes back from the page cache, or from disk. Not for memory that is locked.
#[allow(unsafe_code)]
pub fn release_program_pages() {
    // What was written to has its own copy of the file's pages, which must stay.
    let Ok(mappings) = std::fs::read_to_string("/proc/self/smaps") else { return };
    for (start, length) in pristine_mappings(&mappings) {
        // SAFETY: nothing in this range differs from the file behind it, which is read again wherever it is touched.
        unsafe {
            libc::madvise(std::ptr::with_exposed_provenance_mut(start), length, libc::MADV_DONTNEED);
        }
    }
}

/// The address and length of all mappings of files that cannot be written and of which no page was.
fn pristine_mappings(smaps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("Anonymous:"), Some("0")) => found.extend(candidate.take()),
            (Some(name), _) if name.ends_with(':') => {}
            (Some(range), Some(permissions)) => {
                let bounds = range.split_once('-').and_then(|(start, end)| {
                    let [start, end] = [start, end].map(|n| usize::from_str_radix(n, 16).ok());
                    Some((start?, end?.checked_sub(start?)?))
                });
                let is_file = words.nth(3).is_some_and(|path| path.starts_with('/'));
                candidate = bounds.filter(|_| is_file && !permissions.contains('w'));
            }
            _ => {}
        }
    }
    found
}

/// Gives memory that was freed back to the kernel. The C library keeps it otherwise.
#[allow(unsafe_code)]
pub fn release_free_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no pointers; the C library takes its own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_patient_and_then_as_others_are() {
        // The 41st field is the policy (proc_pid_stat(5)); the second one is the name, which may have spaces.
        let policy = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let (_, rest) = stat.rsplit_once(") ").unwrap();
            rest.split(' ').nth(38).unwrap().parse::<i32>().unwrap()
        };
        let thread = std::thread::spawn(move || {
            if policy() != libc::SCHED_OTHER {
                return println!("skipped: the tests run with another policy");
            }
            for (patient, expected) in [(true, libc::SCHED_BATCH), (false, libc::SCHED_OTHER)] {
                set_patient(patient).unwrap();
                assert_eq!(policy(), expected);
            }
        });
        thread.join().unwrap();
    }

    #[test]
    fn only_what_is_as_in_its_file_is_let_go() {
        let smaps = "\
            55aa00000000-55aa00002000 r--p 00000000 fe:00 123    /usr/sbin/holdfast\n\
            Size:                  8 kB\n\
            Anonymous:             0 kB\n\
            VmFlags: rd mr mw me\n\
            55aa00002000-55aa00003000 r-xp 00002000 fe:00 123    /usr/sbin/hold fast (deleted)\n\
            Anonymous:             0 kB\n\
            55aa00003000-55aa00004000 r-xp 00002000 fe:00 123    /with/a/breakpoint\n\
            Anonymous:             4 kB\n\
            55aa00004000-55aa00005000 r--p 00003000 fe:00 123    /after/relocation\n\
            Anonymous:             4 kB\n\
            55aa00005000-55aa00006000 rw-p 00003000 fe:00 123    /usr/sbin/holdfast\n\
            Anonymous:             0 kB\n\
            55aa00006000-55aa00007000 r--p 00000000 00:00 0\n\
            Anonymous:             0 kB\n\
            7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0      [vdso]\n\
            Anonymous:             0 kB\n\
            nonsense r--p 00000000 fe:00 123    /usr/sbin/holdfast\n\
            Anonymous:             0 kB\n";
        assert_eq!(pristine_mappings(smaps), [(0x55aa_0000_0000, 0x2000), (0x55aa_0000_2000, 0x1000)]);
        // And we go on from the page cache.
        release_program_pages();
        assert_eq!(pristine_mappings(""), []);
    }
}
