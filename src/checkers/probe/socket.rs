//! Sockets of probes: bound, marked and connected as the configuration says, and what their errors mean.
//!
//! Shell.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::super::config::Target;
use super::super::finding::Failure;
use super::tls;

/// A socket towards the target, not connected yet. It does not block.
///
/// # Errors
/// This machine's: no descriptors, no such interface, an address that is not here, no permission to mark.
pub fn open(target: &Target, kind: Type, protocol: Protocol) -> Result<Socket, Failure> {
    let socket = Socket::new(Domain::for_address(target.address.into()), kind.nonblocking(), Some(protocol))
        .map_err(|error| Failure::ours(format!("no socket: {error}")))?;
    prepare(&socket, target, target.bind_port)?;
    Ok(socket)
}

/// Marks and binds a socket as the target's configuration says.
///
/// # Errors
/// As [`open`].
pub fn prepare(socket: &Socket, target: &Target, port: Option<u16>) -> Result<(), Failure> {
    if target.fwmark != 0 {
        socket.set_mark(target.fwmark).map_err(|e| Failure::ours(format!("fwmark {}: {e}", target.fwmark)))?;
    }
    if let Some(interface) = &target.bind_interface {
        let bound = socket.bind_device(Some(interface.as_bytes()));
        bound.map_err(|error| Failure::ours(format!("bind_if {interface}: {error}")))?;
    }
    if target.bind_to.is_some() || port.is_some() {
        let any = if target.address.ip.is_ipv4() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        } else {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        };
        let from = SocketAddr::new(target.bind_to.unwrap_or(any), port.unwrap_or(0));
        if port.is_some() {
            // The connection of the last probe may linger, and several targets may be probed from one port.
            socket.set_reuse_address(true).map_err(|error| Failure::ours(error.to_string()))?;
        }
        socket.bind(&from.into()).map_err(|error| Failure::ours(format!("cannot bind to {from}: {error}")))?;
    }
    Ok(())
}

/// A TCP connection to the target, within its `connect_timeout`.
///
/// # Errors
/// The server's, or this machine's.
pub async fn connect(target: &Target) -> Result<TcpStream, Failure> {
    let socket = open(target, Type::STREAM, Protocol::TCP)?;
    match socket.connect(&SocketAddr::from(target.address).into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(failed(target, &error)),
        _ => {}
    }
    let stream = TcpStream::from_std(socket.into()).map_err(|error| Failure::ours(error.to_string()))?;
    within(target, "connect", target.connect_timeout, stream.writable()).await?;
    match stream.take_error() {
        Ok(None) => Ok(stream),
        Ok(Some(error)) | Err(error) => Err(failed(target, &error)),
    }
}

/// A UDP socket connected to the target, so that ICMP errors reach it.
///
/// # Errors
/// As [`connect`].
pub fn connect_udp(target: &Target) -> Result<UdpSocket, Failure> {
    let socket = open(target, Type::DGRAM, Protocol::UDP)?;
    socket.connect(&SocketAddr::from(target.address).into()).map_err(|error| failed(target, &error))?;
    UdpSocket::from_std(socket.into()).map_err(|error| Failure::ours(error.to_string()))
}

/// Waits for one step of a conversation.
///
/// # Errors
/// It failed, or was not done in time, which is the server's fault.
pub async fn within<T>(
    target: &Target,
    step: &str,
    limit: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, Failure> {
    match timeout(limit, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(failed(target, &error)),
        Err(_) => Err(Failure::unfit(format!("{step}: no answer from {} within {limit:?}", target.address))),
    }
}

/// Whose fault an error is. What the network or the server answers counts against the server; the rest (no ports left,
/// a filter of our own) says nothing about it.
pub fn failed(target: &Target, error: &io::Error) -> Failure {
    let what = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED) => "connection refused by",
        Some(Errno::ECONNRESET) => "connection reset by",
        Some(Errno::ECONNABORTED) => "connection aborted by",
        Some(Errno::ETIMEDOUT) => "no answer from",
        Some(Errno::EHOSTUNREACH | Errno::EHOSTDOWN) => "no route to host",
        Some(Errno::ENETUNREACH | Errno::ENETDOWN) => "network unreachable for",
        Some(Errno::EPIPE) => "connection closed by",
        Some(_) => return Failure::ours(format!("{error} ({})", target.address)),
        // Not from the kernel, so from what the server said.
        None => return Failure::unfit(format!("{} ({})", tls::explain(error), target.address)),
    };
    Failure::unfit(format!("{what} {}", target.address))
}
