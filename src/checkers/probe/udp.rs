//! `UDP_CHECK`: a datagram that nobody refuses, or that gets the reply it should.
//!
//! Shell around a pure judgement.

use std::io;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::super::config::UdpProbe;
use super::super::finding::{Failure, Finding};
use super::socket;

/// What is sent where the configuration names nothing.
const PAYLOAD: &[u8] = b"Holdfast UDP check";

/// Sends one datagram. Without a required reply, silence is success: only an ICMP error tells of a dead port.
pub async fn probe(probe: &UdpProbe) -> Finding {
    let target = &probe.target;
    let socket = socket::connect_udp(target)?;
    let payload = probe.payload.as_deref().unwrap_or(PAYLOAD);
    socket::within(target, "send", target.connect_timeout, socket.send(payload)).await?;
    match timeout(target.connect_timeout, receive(&socket, usize::from(probe.max_reply_length) + 1)).await {
        Ok(Ok(reply)) => judge(probe, &reply),
        Ok(Err(error)) => Err(socket::failed(target, &error)),
        Err(_) if probe.require_reply => {
            Err(Failure::unfit(format!("no reply from {} within {:?}", target.address, target.connect_timeout)))
        }
        Err(_) => Ok(0),
    }
}

/// One datagram, or as much of it as is asked for; or the error that an ICMP message has left.
pub(super) async fn receive(socket: &UdpSocket, most: usize) -> io::Result<Vec<u8>> {
    loop {
        // An ICMP message leaves an error, which alone does not make a socket readable.
        socket.ready(Interest::READABLE | Interest::ERROR).await?;
        // Made only when something is there: most probes wait, and many at once.
        let mut buffer = vec![0; most];
        match socket.try_recv(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        // Each kind of readiness is asked, and with that cleared, by itself: tokio takes no two at once here.
        let left = || Err(socket.take_error()?.unwrap_or(io::ErrorKind::WouldBlock.into()));
        match socket.try_io::<()>(Interest::ERROR, left) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
    }
}

fn judge(probe: &UdpProbe, reply: &[u8]) -> Finding {
    if !probe.require_reply {
        return Ok(0);
    }
    let (length, least, most) = (reply.len(), probe.min_reply_length, probe.max_reply_length);
    if length > usize::from(most) {
        return Err(Failure::unfit(format!("the reply is longer than max_reply_length {most}")));
    }
    if length < usize::from(least) {
        return Err(Failure::unfit(format!("the reply has {length} bytes, and min_reply_length is {least}")));
    }
    let matches = reply.len() >= probe.reply.len()
        && reply.iter().zip(&probe.reply).all(|(byte, (value, mask))| byte & mask == value & mask);
    if matches { Ok(0) } else { Err(Failure::unfit("the reply does not begin as require_reply says")) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::checkers::config::Target;
    use crate::ipvs::types::SocketKey;

    #[test]
    fn replies_are_judged_by_length_and_pattern() {
        let any = Vec::new();
        let pattern = vec![(0x4f, 0xff), (0x40, 0xf0)];
        type Row<'a> = (bool, &'a [(u8, u8)], u16, u16, &'a [u8], bool);
        let table: &[Row] = &[
            (false, &pattern, 9, 9, b"", true),
            (true, &any, 0, 255, b"", true),
            (true, &any, 0, 255, b"anything", true),
            (true, &any, 1, 255, b"", false),
            (true, &any, 0, 3, b"four", false),
            (true, &any, 4, 4, b"four", true),
            (true, &pattern, 0, 255, b"OK", true),
            (true, &pattern, 0, 255, b"OK and more", true),
            (true, &pattern, 0, 255, b"O", false),
            (true, &pattern, 0, 255, b"Ox", false),
            (true, &pattern, 0, 255, b"NO", false),
        ];
        for (require_reply, reply, min_reply_length, max_reply_length, answer, good) in table {
            let target = Target::new(SocketKey::new([127, 0, 0, 1].into(), 1), Duration::from_secs(1));
            let probe = UdpProbe {
                target,
                payload: None,
                require_reply: *require_reply,
                reply: reply.to_vec(),
                min_reply_length: *min_reply_length,
                max_reply_length: *max_reply_length,
            };
            assert_eq!(judge(&probe, answer).is_ok(), *good, "{probe:?} {answer:?}");
        }
    }
}
