//! Makes sockets: listeners that also stand while their address is elsewhere, and connections to real servers.
//!
//! Shell.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{setsockopt, sockopt};
use rustix::net::sockopt as options;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket_with};
use socket2::SockRef;

/// Connections that wait to be accepted; the kernel cuts it down to net.core.somaxconn.
const BACKLOG: i32 = 65_535;
/// For UDP: a burst must fit in until the thread comes round.
const UDP_BUFFER: usize = 4 << 20;
const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// How packets reach a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// They are for its own address and port.
    Direct,
    /// A TPROXY rule hands it packets for any address and port.
    Tproxy,
}

/// The loopback address on which a TPROXY listener stands, out of reach of other hosts.
pub fn tproxy_address(ipv4: bool) -> IpAddr {
    if ipv4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

fn family_of(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// A TCP listener, one of several that share its port.
pub fn listener(address: SocketAddr, reach: Reach) -> io::Result<OwnedFd> {
    let fd = socket_with(family_of(address), SocketType::STREAM, FLAGS, None)?;
    // Ports in TIME_WAIT are no obstacle.
    options::set_socket_reuseaddr(&fd, true)?;
    // Accepted connections have it too.
    options::set_tcp_nodelay(&fd, true)?;
    shared_port(&fd, address, reach)?;
    listen(&fd, BACKLOG)?;
    Ok(fd)
}

/// A UDP socket that receives for a service, one of several that share its port.
pub fn receiver(address: SocketAddr, reach: Reach) -> io::Result<OwnedFd> {
    let fd = socket_with(family_of(address), SocketType::DGRAM, FLAGS, None)?;
    enlarge(&fd);
    if reach == Reach::Tproxy {
        if address.is_ipv4() {
            setsockopt(&fd, sockopt::Ipv4OrigDstAddr, &true)?;
        } else {
            setsockopt(&fd, sockopt::Ipv6OrigDstAddr, &true)?;
        }
    }
    shared_port(&fd, address, reach)?;
    Ok(fd)
}

fn shared_port(fd: &OwnedFd, address: SocketAddr, reach: Reach) -> io::Result<()> {
    if address.is_ipv4() {
        options::set_ip_freebind(fd, true)?;
    } else {
        options::set_ipv6_v6only(fd, true)?;
        options::set_ipv6_freebind(fd, true)?;
    }
    if reach == Reach::Tproxy {
        set_transparent(fd, address.is_ipv4())?;
    }
    options::set_socket_reuseport(fd, true)?;
    bind(fd, &address)?;
    Ok(())
}

fn set_transparent(fd: impl AsFd, ipv4: bool) -> io::Result<()> {
    let fd = fd.as_fd();
    let socket = SockRef::from(&fd);
    if ipv4 { socket.set_ip_transparent_v4(true) } else { socket.set_ip_transparent_v6(true) }
}

fn enlarge(fd: &OwnedFd) {
    // Beyond net.core.rmem_max only with CAP_NET_ADMIN; less is a smaller burst.
    let force = options::set_socket_recv_buffer_size_force(fd, UDP_BUFFER);
    let _ = force.or_else(|_| options::set_socket_recv_buffer_size(fd, UDP_BUFFER));
    let force = options::set_socket_send_buffer_size_force(fd, UDP_BUFFER);
    let _ = force.or_else(|_| options::set_socket_send_buffer_size(fd, UDP_BUFFER));
}

/// A TCP socket on its way to a real server, from the client's address if that is given.
///
/// # Errors
/// `EMFILE` and its kin before anything was sent; otherwise the real server is to blame.
pub fn connection(server: SocketAddr, from: Option<IpAddr>) -> Result<OwnedFd, ConnectError> {
    let fd = socket_with(family_of(server), SocketType::STREAM, FLAGS, None).map_err(ConnectError::Socket)?;
    // The acknowledgement that ends the handshake waits for the client's first bytes and goes with them.
    let _ = options::set_tcp_quickack(&fd, false);
    if let Some(from) = from.filter(|from| from.is_ipv4() == server.is_ipv4()) {
        come_from(&fd, from).map_err(ConnectError::Source)?;
    }
    match connect(&fd, &server) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(fd),
        Err(error) => Err(ConnectError::Server(error)),
    }
}

/// Why a connection could not even begin.
#[derive(Debug)]
pub enum ConnectError {
    /// No descriptor or memory.
    Socket(rustix::io::Errno),
    /// The client's address cannot be ours: no CAP_NET_ADMIN.
    Source(io::Error),
    /// No way there.
    Server(rustix::io::Errno),
}

fn come_from(fd: &OwnedFd, from: IpAddr) -> io::Result<()> {
    set_transparent(fd, from.is_ipv4())?;
    // The port is chosen when the far end is known: ports are then used once for each real server, not once for all.
    setsockopt(fd, sockopt::IpBindAddressNoPort, &true)?;
    bind(fd, &SocketAddr::new(from, 0))?;
    Ok(())
}

/// A UDP socket that speaks with one real server alone.
pub fn flow(server: SocketAddr, from: Option<SocketAddr>) -> io::Result<OwnedFd> {
    let fd = socket_with(family_of(server), SocketType::DGRAM, FLAGS, None)?;
    if let Some(from) = from.filter(|from| from.is_ipv4() == server.is_ipv4()) {
        set_transparent(&fd, from.is_ipv4())?;
        options::set_socket_reuseaddr(&fd, true)?;
        bind(&fd, &from)?;
    }
    connect(&fd, &server)?;
    Ok(fd)
}

/// A UDP socket that answers from an address which need not be ours.
pub fn answering(from: SocketAddr) -> io::Result<OwnedFd> {
    let fd = socket_with(family_of(from), SocketType::DGRAM, FLAGS, None)?;
    set_transparent(&fd, from.is_ipv4())?;
    options::set_socket_reuseaddr(&fd, true)?;
    options::set_socket_reuseport(&fd, true)?;
    bind(&fd, &from)?;
    Ok(fd)
}
