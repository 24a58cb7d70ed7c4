//! `SMTP_CHECK`: every host greets, and answers HELO.
//!
//! Shell around a pure reader of replies (RFC 5321 §4.2).

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::super::config::{SmtpProbe, Target};
use super::super::finding::{Failure, Finding};
use super::socket;

/// A reply, all its lines together, is no longer than this.
const LONGEST_REPLY: usize = 16 << 10;
/// How long a server may take to say good-bye; whatever it says then is not judged.
const GOOD_BYE: Duration = Duration::from_secs(1);

/// Asks one host after the other; the first that answers badly decides.
pub async fn probe(probe: &SmtpProbe) -> Finding {
    for target in &probe.targets {
        ask(target, &probe.helo_name).await?;
    }
    Ok(0)
}

async fn ask(target: &Target, helo_name: &str) -> Result<(), Failure> {
    let mut stream = socket::connect(target).await?;
    let mut unread = Vec::new();
    expect(target, "greeting", 220, reply(&mut stream, &mut unread)).await?;
    let hello = format!("HELO {helo_name}\r\n");
    socket::within(target, "HELO", target.connect_timeout, stream.write_all(hello.as_bytes())).await?;
    expect(target, "HELO", 250, reply(&mut stream, &mut unread)).await?;
    let good_bye = async {
        stream.write_all(b"QUIT\r\n").await?;
        reply(&mut stream, &mut unread).await
    };
    // It has proven itself already.
    let _ = tokio::time::timeout(GOOD_BYE.min(target.connect_timeout), good_bye).await;
    Ok(())
}

async fn expect(
    target: &Target,
    step: &str,
    expected: u16,
    reply: impl Future<Output = io::Result<Reply>>,
) -> Result<(), Failure> {
    match socket::within(target, step, target.connect_timeout, reply).await? {
        Reply::Code(code) if code == expected => Ok(()),
        Reply::Code(code) => Err(Failure::unfit(format!("{step}: {} answered {code}, not {expected}", target.address))),
        Reply::Garbage => Err(Failure::unfit(format!("{step}: {} does not speak SMTP", target.address))),
        Reply::Closed => Err(Failure::unfit(format!("{step}: connection closed by {}", target.address))),
    }
}

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
enum Reply {
    Code(u16),
    Garbage,
    Closed,
}

/// Reads one whole reply; what follows it stays in `unread`.
async fn reply(stream: &mut (impl AsyncRead + Unpin), unread: &mut Vec<u8>) -> io::Result<Reply> {
    loop {
        if let Some(reply) = take_reply(unread) {
            return Ok(reply);
        }
        if unread.len() > LONGEST_REPLY {
            return Ok(Reply::Garbage);
        }
        if stream.read_buf(unread).await? == 0 {
            return Ok(Reply::Closed);
        }
    }
}

/// Takes a reply off the front, if all its lines are there: `250-one`, `250-two`, `250 three`.
fn take_reply(unread: &mut Vec<u8>) -> Option<Reply> {
    let mut start = 0;
    loop {
        let rest = unread.get(start..)?;
        let length = rest.iter().position(|byte| *byte == b'\n')?;
        let line = rest.get(..length)?.trim_ascii_end();
        let end = start + length + 1;
        let code = line.get(..3).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u16>().ok());
        let reply = match (code, line.get(3)) {
            (Some(_), Some(b'-')) => {
                start = end;
                continue;
            }
            (Some(code), None | Some(b' ')) => Reply::Code(code),
            _ => Reply::Garbage,
        };
        unread.drain(..end);
        return Some(reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies() {
        let table: &[(&[u8], Option<Reply>, &[u8])] = &[
            (b"220 mail ESMTP\r\n", Some(Reply::Code(220)), b""),
            (b"220\r\nrest", Some(Reply::Code(220)), b"rest"),
            (b"250-one\r\n250-two\r\n250 three\n", Some(Reply::Code(250)), b""),
            (b"250-one\r\n250-two\r\n250 thr", None, b"250-one\r\n250-two\r\n250 thr"),
            (b"250-one\r\ngarbage\r\n", Some(Reply::Garbage), b""),
            (b"22", None, b"22"),
            (b"+20 x\n", Some(Reply::Code(20)), b""),
            (b"SSH-2.0-OpenSSH\r\n", Some(Reply::Garbage), b""),
            (b"\r\n", Some(Reply::Garbage), b""),
            (b"220x\r\n", Some(Reply::Garbage), b""),
            (b"\xff\xfe\xfd \r\n", Some(Reply::Garbage), b""),
        ];
        for (input, expected, rest) in table {
            let mut unread = input.to_vec();
            let reply = take_reply(&mut unread);
            assert_eq!(reply, *expected, "{:?}", String::from_utf8_lossy(input));
            assert_eq!(unread, *rest, "{:?}", String::from_utf8_lossy(input));
        }
    }
}
