//! What the kernel answers.
//!
//! Pure. A datagram may hold anything: a message that cannot be understood becomes [`Reply::Malformed`], never a panic.

use netlink_packet_core::NetlinkBuffer;

use super::attribute::Reader;
use super::daemon::{Daemon, Info, Timeouts};
use super::destination::KernelDestination;
use super::service::KernelService;
use super::{command, top};
use crate::net::rtnl::answer;
use crate::vrrp::types::Family;

const NLM_F_DUMP_INTR: u16 = 0x10;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct genlmsghdr`.
const GENERIC_HEADER: usize = 4;
/// Number of the controller among the families, and the attribute of its answer that is a family's number.
const CONTROLLER: u16 = 16;
const CTRL_ATTR_FAMILY_ID: u16 = 1;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The request that it answers.
    pub sequence: u32,
    /// A dump whose subject changed meanwhile: to be done again.
    pub interrupted: bool,
    /// What it says.
    pub reply: Reply,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The number of a family.
    Family(u16),
    /// A service.
    Service(KernelService),
    /// A destination of the service that was asked for.
    Destination(KernelDestination),
    /// A synchronisation daemon.
    Daemon(Daemon),
    /// The timeouts.
    Timeouts(Timeouts),
    /// Version and table size.
    Info(Info),
    /// Carried out (0), or refused with this errno and, from newer kernels, words.
    Answer {
        /// Errno.
        errno: i32,
        /// Why.
        text: Option<String>,
    },
    /// The end of a dump, with an errno if it failed halfway.
    Done {
        /// Errno, or 0.
        errno: i32,
    },
    /// Something else, or damaged.
    Malformed,
}

/// All messages of one datagram. `family` is that of the service whose destinations are dumped: old kernels do not say it.
pub fn decode(mut datagram: &[u8], family: Family) -> Vec<Message> {
    let mut messages = Vec::new();
    while !datagram.is_empty() {
        let Ok(buffer) = NetlinkBuffer::new_checked(&datagram) else {
            messages.push(Message { sequence: 0, interrupted: false, reply: Reply::Malformed });
            break;
        };
        let length = usize::try_from(buffer.length()).unwrap_or(usize::MAX);
        messages.push(Message {
            sequence: buffer.sequence_number(),
            interrupted: buffer.flags() & NLM_F_DUMP_INTR != 0,
            reply: reply(buffer.message_type(), buffer.flags(), buffer.payload(), family).unwrap_or(Reply::Malformed),
        });
        datagram = datagram.get(length.next_multiple_of(4).max(HEADER)..).unwrap_or_default();
    }
    messages
}

fn reply(kind: u16, flags: u16, payload: &[u8], family: Family) -> Option<Reply> {
    match i32::from(kind) {
        libc::NLMSG_ERROR => answer(flags, payload).map(|(errno, text)| Reply::Answer { errno, text }),
        libc::NLMSG_DONE => Some(Reply::Done { errno: errno(payload).unwrap_or(0) }),
        _ => {
            let attributes = Reader::new(payload.get(GENERIC_HEADER..)?);
            if kind == CONTROLLER {
                return attributes.u16(CTRL_ATTR_FAMILY_ID).map(Reply::Family);
            }
            match *payload.first()? {
                command::NEW_SERVICE => KernelService::read(attributes.nested(top::SERVICE)?).map(Reply::Service),
                command::NEW_DEST => {
                    KernelDestination::read(attributes.nested(top::DEST)?, family).map(Reply::Destination)
                }
                command::NEW_DAEMON => Daemon::read(attributes.nested(top::DAEMON)?).map(Reply::Daemon),
                command::SET_CONFIG => Some(Reply::Timeouts(Timeouts::read(attributes))),
                command::SET_INFO => Info::read(attributes).map(Reply::Info),
                _ => None,
            }
        }
    }
}

fn errno(payload: &[u8]) -> Option<i32> {
    Some(i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?).saturating_neg())
}
