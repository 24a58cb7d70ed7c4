//! Many datagrams with one system call: `recvmmsg` and `sendmmsg`.
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
    /// how many went.
    ///
    /// # Errors
    /// The first one could not be sent: `EAGAIN`, or what ICMP has reported.
    #[allow(unsafe_code)]
    pub fn send(&self, fd: impl AsFd, indices: &[usize], to: Option<SocketAddr>) -> io::Result<usize> {
        let mut vectors = [NOWHERE; BATCH];
        let mut headers: [libc::mmsghdr; BATCH] = [zeroed(); BATCH];
        let (mut address, length) = to.map(from_address).unwrap_or((zeroed(), 0));
        let count = indices.len().min(BATCH);
        for ((index, vector), header) in indices.iter().zip(&mut vectors).zip(&mut headers) {
            let bytes = self.bytes(*index);
            *vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            if length > 0 {
                header.msg_hdr.msg_name = (&raw mut address).cast();
                header.msg_hdr.msg_namelen = length;
            }
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let count = libc::c_uint::try_from(count).unwrap_or(0);
        // SAFETY: the headers point to local vectors and an address that outlive the call, and through these to bytes of
        // `self`; the kernel only reads those.
        let sent = unsafe { libc::sendmmsg(fd.as_fd().as_raw_fd(), headers.as_mut_ptr(), count, flags) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
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
