//! `DNS_CHECK`: a server that answers a question without an error.
//!
//! Shell around pure encoding and judgement (RFC 1035 §4.1).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::str::FromStr;

use hickory_proto::op::{Header, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::super::config::DnsProbe;
use super::super::finding::{Failure, Finding};
use super::{socket, udp};

/// An answer over UDP without EDNS is no longer than this.
const LONGEST: usize = 4096;
/// Datagrams that are not the answer: so many are read past.
const STRANGE_DATAGRAMS: usize = 16;

/// Asks with the RD flag and waits for the answer with our id.
pub async fn probe(probe: &DnsProbe) -> Finding {
    let target = &probe.target;
    let id = identifier();
    let question = encode(probe, id)?;
    let socket = socket::connect_udp(target)?;
    let conversation = async {
        socket.send(&question).await?;
        let mut last = None;
        for _ in 0..STRANGE_DATAGRAMS {
            match judge(&udp::receive(&socket, LONGEST).await?, id) {
                Some(finding) => return Ok(finding),
                None => {
                    last = Some(Failure::unfit(format!("only datagrams that are no answer, from {}", target.address)))
                }
            }
        }
        Ok(last.map_or(Ok(0), Err))
    };
    socket::within(target, "query", target.connect_timeout, conversation).await?
}

/// A record type by its name, in any case, or as `TYPE257` (RFC 3597 §5).
pub fn record_type(name: &str) -> Option<RecordType> {
    let name = name.to_ascii_uppercase();
    RecordType::from_str(&name)
        .ok()
        .or_else(|| name.strip_prefix("TYPE").and_then(|number| number.parse::<u16>().ok()).map(RecordType::from))
}

/// Whether a text is a domain name that can be asked for (RFC 1035 §2.3.4).
///
/// # Errors
/// Why it is none.
pub fn is_name(text: &str) -> Result<(), String> {
    Name::from_ascii(text).map(drop).map_err(|error| error.to_string())
}

fn encode(probe: &DnsProbe, id: u16) -> Result<Vec<u8>, Failure> {
    let name = Name::from_ascii(&probe.name).map_err(|error| Failure::ours(format!("name {}: {error}", probe.name)))?;
    let record_type = record_type(&probe.record_type)
        .ok_or_else(|| Failure::ours(format!("{} is no record type", probe.record_type)))?;
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, record_type));
    message.to_vec().map_err(|error| Failure::ours(format!("query: {error}")))
}

/// What a datagram means; `None` is not our answer. Only the header counts, whatever the records are like.
fn judge(datagram: &[u8], id: u16) -> Option<Finding> {
    let header = Header::read(&mut BinDecoder::new(datagram)).ok()?;
    if header.metadata.id != id || header.metadata.message_type != MessageType::Response {
        return None;
    }
    Some(match header.metadata.response_code {
        ResponseCode::NoError => Ok(0),
        code => Err(Failure::unfit(format!("the answer is an error: {code}"))),
    })
}

/// Hard to guess for whoever does not see the question.
fn identifier() -> u16 {
    let bytes = RandomState::new().build_hasher().finish().to_be_bytes();
    u16::from_be_bytes([bytes[0], bytes[1]])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::checkers::config::Target;
    use crate::ipvs::types::SocketKey;

    fn question(record_type: &str, name: &str) -> Result<Vec<u8>, Failure> {
        let target = Target::new(SocketKey::new([127, 0, 0, 1].into(), 53), Duration::from_secs(1));
        encode(&DnsProbe { target, record_type: record_type.to_owned(), name: name.to_owned() }, 0x1234)
    }

    #[test]
    fn questions_on_the_wire() {
        let header = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00";
        let table: &[(&str, &str, &[u8])] = &[
            ("SOA", ".", b"\x00\x00\x06\x00\x01"),
            ("a", "example.com", b"\x07example\x03com\x00\x00\x01\x00\x01"),
            ("AAAA", "example.com.", b"\x07example\x03com\x00\x00\x1c\x00\x01"),
            ("DNSKEY", "org", b"\x03org\x00\x00\x30\x00\x01"),
            ("RRSIG", "org", b"\x03org\x00\x00\x2e\x00\x01"),
            ("TYPE257", "_x.org", b"\x02_x\x03org\x00\x01\x01\x00\x01"),
            ("TYPE65500", "org", b"\x03org\x00\xff\xdc\x00\x01"),
        ];
        for (record_type, name, rest) in table {
            let expected = [header.as_slice(), rest].concat();
            assert_eq!(question(record_type, name), Ok(expected), "{record_type} {name}");
        }
        for (record_type, name) in [("SOAP", "."), ("TYPE", "."), ("TYPE65536", "."), ("A", "a..b")] {
            assert!(matches!(question(record_type, name), Err(Failure::Ours(_))), "{record_type} {name}");
        }
    }

    #[test]
    fn answers_count_by_their_header() {
        let table: &[(&[u8], Option<bool>)] = &[
            (b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00garbage", Some(true)),
            (b"\x12\x34\x81\x83\x00\x01\x00\x00\x00\x00\x00\x00", Some(false)),
            (b"\x12\x34\x81\x82\x00\x01\x00\x00\x00\x00\x00\x00", Some(false)),
            (b"\x12\x34\x81\x85\x00\x01\x00\x00\x00\x00\x00\x00", Some(false)),
            // Another id, a question, too short.
            (b"\x12\x35\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00", None),
            (b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", None),
            (b"\x12\x34\x81", None),
            (b"", None),
        ];
        for (datagram, expected) in table {
            assert_eq!(judge(datagram, 0x1234).map(|finding| finding.is_ok()), *expected, "{datagram:?}");
        }
    }
}
