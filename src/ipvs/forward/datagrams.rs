//! Many datagrams with one system call: `recvmmsg` and `sendmmsg`, and, sent on, as one message (`UDP_SEGMENT`).
//!
//! Shell. No dependency wraps them in a way that keeps its buffers from call to call. All `unsafe` of the forwarder is
//! in this file.

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};

/// Datagrams of one call.
pub const BATCH: usize = 32;
/// No datagram is larger.
const DATAGRAM: usize = 64 << 10;
const CONTROL: usize = 64;
/// Bytes of one message to be cut into datagrams: a little less than an IP packet may have.
const JOINED: usize = 60_000;

/// Received datagrams and where they came from. The buffers are touched, and so take memory, only as far as datagrams
/// have filled them.
pub struct Datagrams {
    bytes: Vec<u8>,
    addresses: Vec<libc::sockaddr_storage>,
    control: Vec<Control>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    /// Lengths of those that the last call brought.
    lengths: Vec<usize>,
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

const NOWHERE: libc::iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };

#[allow(unsafe_code)]
fn zeroed<T: Copy>() -> T {
    // SAFETY: only used for the C structures `sockaddr_storage` and `mmsghdr`, for which all zeroes is a value.
    unsafe { mem::zeroed() }
}

impl Default for Datagrams {
    fn default() -> Self {
        Self {
            bytes: vec![0; BATCH * DATAGRAM],
            addresses: vec![zeroed(); BATCH],
            control: vec![Control([0; CONTROL]); BATCH],
            vectors: vec![NOWHERE; BATCH],
            headers: vec![zeroed(); BATCH],
            lengths: Vec::with_capacity(BATCH),
        }
    }
}

impl Datagrams {
    /// Receives what is there, up to [`BATCH`], and answers how many. With `named` the sender of each is asked for, with
    /// `original` also the address that it was sent to (`IP_RECVORIGDSTADDR`).
    ///
    /// # Errors
    /// `EAGAIN` when nothing is there; what ICMP has reported about a connected socket.
    #[allow(unsafe_code)]
    pub fn receive(&mut self, fd: impl AsFd, named: bool, original: bool) -> io::Result<usize> {
        self.lengths.clear();
        let parts = self.bytes.chunks_exact_mut(DATAGRAM).zip(&mut self.addresses).zip(&mut self.control);
        for (((bytes, address), control), (vector, header)) in parts.zip(self.vectors.iter_mut().zip(&mut self.headers))
        {
            *vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            let message = &mut header.msg_hdr;
            message.msg_iov = vector;
            message.msg_iovlen = 1;
            message.msg_name = if named { (&raw mut *address).cast() } else { std::ptr::null_mut() };
            message.msg_namelen = if named { length_of::<libc::sockaddr_storage>() } else { 0 };
            message.msg_control = if original { control.0.as_mut_ptr().cast() } else { std::ptr::null_mut() };
            message.msg_controllen = if original { CONTROL } else { 0 };
            message.msg_flags = 0;
        }
        let count = libc::c_uint::try_from(BATCH).unwrap_or(0);
        let none = std::ptr::null_mut();
        // SAFETY: the headers were just filled with pointers into vectors of `self`, with their lengths; nothing moves
        // or reads them before the call returns.
        let received = unsafe {
            libc::recvmmsg(fd.as_fd().as_raw_fd(), self.headers.as_mut_ptr(), count, libc::MSG_DONTWAIT, none)
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        self.lengths.extend(self.headers.iter().take(received).map(|header| header.msg_len as usize));
        Ok(received)
    }

    /// One of the last call's datagrams.
    pub fn bytes(&self, index: usize) -> &[u8] {
        let length = self.lengths.get(index).copied().unwrap_or(0);
        self.bytes.get(index * DATAGRAM..).and_then(|bytes| bytes.get(..length)).unwrap_or_default()
    }

    /// Who sent it, if that was asked for.
    pub fn sender(&self, index: usize) -> Option<SocketAddr> {
        to_address(self.addresses.get(index)?)
    }

    /// Where it was sent to, if that was asked for.
    #[allow(unsafe_code)]
    pub fn original(&self, index: usize) -> Option<SocketAddr> {
        let header = &self.headers.get(index)?.msg_hdr;
        // SAFETY: the header describes the control buffer as the kernel has filled it, which `self` holds.
        let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
        while !message.is_null() {
            // SAFETY: not null, so it points to a whole header within the buffer.
            let (level, kind) = unsafe { ((*message).cmsg_level, (*message).cmsg_type) };
            // SAFETY: as before; the data begins behind the header.
            let data = unsafe { libc::CMSG_DATA(message) };
            let mut address: libc::sockaddr_storage = zeroed();
            let length = match (level, kind) {
                (libc::SOL_IP, libc::IP_ORIGDSTADDR) => mem::size_of::<libc::sockaddr_in>(),
                (libc::SOL_IPV6, libc::IPV6_ORIGDSTADDR) => mem::size_of::<libc::sockaddr_in6>(),
                _ => 0,
            };
            if length > 0 {
                // SAFETY: the kernel has written a whole address of this family there, and `address` has room for it.
                unsafe { std::ptr::copy_nonoverlapping(data, (&raw mut address).cast::<u8>(), length) };
                return to_address(&address);
            }
            // SAFETY: both belong to the buffer described by the header.
            message = unsafe { libc::CMSG_NXTHDR(header, message) };
        }
        None
    }

    /// Sends these of the received datagrams on, in this order: to `to`, or where the socket is connected to. Answers
    /// how many went. With `joined`, neighbours of equal length take one way through the kernel, which cuts them apart
    /// again where they leave (`UDP_SEGMENT`): only for a socket and a way that [`can_join`] and errors allow.
    ///
    /// # Errors
    /// The first one could not be sent: `EAGAIN`, or what ICMP has reported. With `joined` also `EINVAL`, `EMSGSIZE` and
    /// `EIO`: not this way; each for itself can still be sent.
    #[allow(unsafe_code)]
    pub fn send(&self, fd: impl AsFd, indices: &[usize], to: Option<SocketAddr>, joined: bool) -> io::Result<usize> {
        let mut vectors = [NOWHERE; BATCH];
        let mut headers: [libc::mmsghdr; BATCH] = [zeroed(); BATCH];
        let mut segments: [Segment; BATCH] = [zeroed(); BATCH];
        let mut runs = [0; BATCH];
        let (mut address, length) = to.map(from_address).unwrap_or((zeroed(), 0));
        let (mut left, mut room) = (indices.get(..BATCH).unwrap_or(indices), vectors.as_mut_slice());
        let mut count: libc::c_uint = 0;
        for ((header, segment), run) in headers.iter_mut().zip(&mut segments).zip(&mut runs) {
            if left.is_empty() {
                break;
            }
            *run = if joined { self.alike(left) } else { 1 };
            let (now, later) = left.split_at(*run);
            let (mine, others) = room.split_at_mut(*run);
            for (index, vector) in now.iter().zip(&mut *mine) {
                let bytes = self.bytes(*index);
                *vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            }
            let message = &mut header.msg_hdr;
            message.msg_iov = mine.as_mut_ptr();
            message.msg_iovlen = *run as _;
            if length > 0 {
                message.msg_name = (&raw mut address).cast();
                message.msg_namelen = length;
            }
            if *run > 1 {
                segment.set(now.first().map_or(0, |index| self.bytes(*index).len()));
                message.msg_control = (&raw mut *segment).cast();
                message.msg_controllen = mem::size_of::<Segment>() as _;
            }
            (left, room) = (later, others);
            count += 1;
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the headers point to local vectors, control data and an address that outlive the call, and through
        // these to bytes of `self`; the kernel only reads those.
        let sent = unsafe { libc::sendmmsg(fd.as_fd().as_raw_fd(), headers.as_mut_ptr(), count, flags) };
        let sent = usize::try_from(sent).map_err(|_| io::Error::last_os_error())?;
        Ok(runs.iter().take(sent).sum())
    }

    /// How many of these, from the first on, can be one message: all as long as the first, but for the last, which may
    /// be shorter. Those of length 0 stay alone: there is nothing to cut.
    fn alike(&self, indices: &[usize]) -> usize {
        let length = |index: &usize| self.bytes(*index).len();
        let first = indices.first().map_or(0, length);
        if first == 0 {
            return 1;
        }
        let most = (JOINED / first).clamp(1, BATCH);
        let equal = indices.iter().take(most).take_while(|index| length(index) == first).count().max(1);
        let shorter = indices.get(equal).filter(|_| equal < most).map_or(0, length);
        equal + usize::from(shorter > 0 && shorter < first)
    }
}

/// Whether this kernel knows joined datagrams (Linux 4.18): an older one would send them as one.
pub fn can_join(fd: &impl AsFd) -> bool {
    nix::sys::socket::getsockopt(fd, nix::sys::socket::sockopt::UdpGsoSegment).is_ok()
}

/// Control data: the length at which the kernel cuts a message into datagrams.
#[derive(Clone, Copy)]
#[repr(C)]
struct Segment {
    header: libc::cmsghdr,
    size: u16,
}

impl Segment {
    fn set(&mut self, size: usize) {
        self.header.cmsg_len = (mem::size_of::<libc::cmsghdr>() + mem::size_of::<u16>()) as _;
        self.header.cmsg_level = libc::SOL_UDP;
        self.header.cmsg_type = libc::UDP_SEGMENT;
        self.size = u16::try_from(size).unwrap_or(0);
    }
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(mem::size_of::<T>()).unwrap_or(0)
}

#[allow(unsafe_code)]
fn to_address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says what it is, and the storage is large and aligned enough for each.
            let address = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(address.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let address = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(address.sin6_port), 0, address.sin6_scope_id).into())
        }
        _ => None,
    }
}

#[allow(unsafe_code)]
fn from_address(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    let mut storage: libc::sockaddr_storage = zeroed();
    let length = match address {
        SocketAddr::V4(address) => {
            // SAFETY: the storage is large and aligned enough for each family's address.
            let place = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in>() };
            place.sin_family = libc::sa_family_t::try_from(libc::AF_INET).unwrap_or(0);
            place.sin_port = address.port().to_be();
            place.sin_addr.s_addr = u32::from(*address.ip()).to_be();
            length_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(address) => {
            // SAFETY: as above.
            let place = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in6>() };
            place.sin6_family = libc::sa_family_t::try_from(libc::AF_INET6).unwrap_or(0);
            place.sin6_port = address.port().to_be();
            place.sin6_addr.s6_addr = address.ip().octets();
            place.sin6_scope_id = address.scope_id();
            length_of::<libc::sockaddr_in6>()
        }
    };
    (storage, length)
}

#[cfg(test)]
mod tests {
    use std::io::IoSliceMut;
    use std::net::{SocketAddr, UdpSocket};
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};

    use super::{BATCH, Datagrams, can_join};

    fn socket() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    /// As they are after a call that has brought datagrams of these lengths, each full of its number.
    fn received(lengths: &[usize]) -> (Datagrams, Vec<usize>) {
        let (from, to) = (socket(), socket());
        let mut datagrams = Datagrams::default();
        for (number, length) in lengths.iter().enumerate() {
            from.0.send_to(&vec![u8::try_from(number).unwrap(); *length], to.1).unwrap();
        }
        assert_eq!(datagrams.receive(&to.0, true, false).unwrap(), lengths.len(), "loopback has delivered all of them");
        (datagrams, (0..lengths.len()).collect())
    }

    /// Sends all of them as the forwarder does.
    fn send(datagrams: &Datagrams, indices: &[usize], to: SocketAddr, joined: bool) {
        let mut left = indices;
        while !left.is_empty() {
            let sent = datagrams.send(&socket().0, left, Some(to), joined).unwrap();
            left = &left[sent..];
        }
    }

    #[test]
    fn equal_neighbours_are_one_message_and_arrive_one_by_one() {
        let lengths = [100, 100, 100, 40, 40, 200, 0, 0, 0, 7, 9, 9, 9000, 9000, 20_000, 20_000, 1, 1];
        let (datagrams, indices) = received(&lengths);
        for joined in [false, true] {
            let (receiver, address) = socket();
            send(&datagrams, &indices, address, joined);
            let mut buffer = vec![0; 1 << 16];
            for (number, length) in lengths.iter().enumerate() {
                let count = receiver.recv(&mut buffer).unwrap();
                assert_eq!(buffer[..count], vec![u8::try_from(number).unwrap(); *length], "{number} of {lengths:?}");
            }
        }
    }

    #[test]
    fn a_receiver_that_wants_them_joined_gets_them_joined() {
        let (datagrams, indices) = received(&[100, 100, 100, 40, 200]);
        let (receiver, address) = socket();
        setsockopt(&receiver, sockopt::UdpGroSegment, &true).unwrap();
        assert!(can_join(&receiver));
        send(&datagrams, &indices, address, true);
        let mut buffer = [0; 1000];
        let mut vectors = [IoSliceMut::new(&mut buffer)];
        let mut space = nix::cmsg_space!(i32);
        let message = recvmsg::<()>(receiver.as_raw_fd(), &mut vectors, Some(&mut space), MsgFlags::empty()).unwrap();
        assert_eq!(message.bytes, 340);
        let sizes: Vec<_> = message.cmsgs().unwrap().collect();
        assert_eq!(sizes, [ControlMessageOwned::UdpGroSegments(100)]);
    }

    #[test]
    fn runs_end_where_the_length_changes() {
        let run = |lengths: &[usize]| {
            let (datagrams, indices) = received(lengths);
            datagrams.alike(&indices)
        };
        assert_eq!(run(&[5]), 1);
        assert_eq!(run(&[5, 5, 5]), 3);
        assert_eq!(run(&[5, 5, 6, 5]), 2, "a longer one begins anew");
        assert_eq!(run(&[5, 5, 4, 4]), 3, "a shorter one ends it");
        assert_eq!(run(&[5, 5, 0, 5]), 2, "an empty one would be lost");
        assert_eq!(run(&[0, 0]), 1);
        assert_eq!(run(&[30_000, 30_000, 30_000]), 2, "no more than a packet may have");
        assert_eq!(run(&[30_000, 30_000, 5]), 2);
        assert_eq!(run(&[5; BATCH]), BATCH);
    }
}
