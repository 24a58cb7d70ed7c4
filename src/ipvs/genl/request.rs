//! Requests, and many of them in one send.
//!
//! Pure.

use netlink_packet_core::{Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily, GenlMessage};

use super::attribute::Writer;
use super::daemon::{Daemon, DaemonState, Timeouts};
use super::destination::{self, KernelDestination};
use super::service::{self, KernelService};
use super::{FAMILY, VERSION, command, top};
use crate::ipvs::types::{ServiceKey, SocketKey};

/// One request to the family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    command: u8,
    dump: bool,
    attributes: Vec<u8>,
}

impl Request {
    fn new(command: u8, attributes: Writer) -> Self {
        Self { command, dump: false, attributes: attributes.into_bytes() }
    }

    fn dump(command: u8, attributes: Writer) -> Self {
        Self { dump: true, ..Self::new(command, attributes) }
    }

    /// A new service; refused with `EEXIST` when it is there.
    pub fn new_service(service: &KernelService) -> Self {
        Self::new(command::NEW_SERVICE, nest(top::SERVICE, &service.write()))
    }

    /// Other settings for a service; refused with `ESRCH` when there is none.
    pub fn set_service(service: &KernelService) -> Self {
        Self::new(command::SET_SERVICE, nest(top::SERVICE, &service.write()))
    }

    /// Away with a service and its destinations; `ESRCH` when there is none.
    pub fn del_service(key: &ServiceKey) -> Self {
        Self::new(command::DEL_SERVICE, nest(top::SERVICE, &service::write_key(key)))
    }

    /// One service.
    pub fn get_service(key: &ServiceKey) -> Self {
        Self::new(command::GET_SERVICE, nest(top::SERVICE, &service::write_key(key)))
    }

    /// All services.
    pub fn dump_services() -> Self {
        Self::dump(command::GET_SERVICE, Writer::default())
    }

    /// A new destination; `EEXIST` when it is there, `ESRCH` without the service.
    pub fn new_destination(service: &ServiceKey, destination: &KernelDestination) -> Self {
        Self::new(command::NEW_DEST, both(service, &destination.write()))
    }

    /// Other settings for a destination; `ENOENT` when it is not there, `ESRCH` without the service.
    pub fn set_destination(service: &ServiceKey, destination: &KernelDestination) -> Self {
        Self::new(command::SET_DEST, both(service, &destination.write()))
    }

    /// Away with a destination; `ENOENT` when it is not there, `ESRCH` without the service.
    pub fn del_destination(service: &ServiceKey, address: SocketKey) -> Self {
        Self::new(command::DEL_DEST, both(service, &destination::write_key(address)))
    }

    /// All destinations of a service; none without the service.
    pub fn dump_destinations(service: &ServiceKey) -> Self {
        Self::dump(command::GET_DEST, nest(top::SERVICE, &service::write_key(service)))
    }

    /// Start a synchronisation daemon; `EEXIST` when it runs.
    pub fn start_daemon(daemon: &Daemon) -> Self {
        Self::new(command::NEW_DAEMON, nest(top::DAEMON, &daemon.write()))
    }

    /// Stop a synchronisation daemon; `ESRCH` when it does not run.
    pub fn stop_daemon(state: DaemonState) -> Self {
        Self::new(command::DEL_DAEMON, nest(top::DAEMON, &Daemon::write_stop(state)))
    }

    /// The daemons that run.
    pub fn dump_daemons() -> Self {
        Self::dump(command::GET_DAEMON, Writer::default())
    }

    /// Other timeouts; 0 leaves one as it is.
    pub fn set_timeouts(timeouts: Timeouts) -> Self {
        Self::new(command::SET_CONFIG, timeouts.write())
    }

    /// The timeouts.
    pub fn get_timeouts() -> Self {
        Self::new(command::GET_CONFIG, Writer::default())
    }

    /// Version and table size.
    pub fn get_info() -> Self {
        Self::new(command::GET_INFO, Writer::default())
    }

    /// Counters of a service, or of everything, back to 0.
    pub fn zero(key: Option<&ServiceKey>) -> Self {
        let attributes = key.map_or_else(Writer::default, |key| nest(top::SERVICE, &service::write_key(key)));
        Self::new(command::ZERO, attributes)
    }

    /// Away with everything.
    pub fn flush() -> Self {
        Self::new(command::FLUSH, Writer::default())
    }

    /// Whether many messages answer it.
    pub fn is_dump(&self) -> bool {
        self.dump
    }

    /// Appends it to a send. Without `acknowledged` only a refusal is answered.
    pub fn append(&self, family: u16, sequence: u32, acknowledged: bool, buffer: &mut Vec<u8>) {
        let mut flags = NLM_F_REQUEST;
        flags |= if self.dump { NLM_F_DUMP } else { 0 };
        flags |= if acknowledged { NLM_F_ACK } else { 0 };
        let mut message = GenlMessage::from_payload(Borrowed(self));
        message.set_resolved_family_id(family);
        append(message.into(), flags, sequence, buffer);
    }
}

/// The number of the family, by the kernel's controller. Asking loads the module where there is one.
pub fn resolve_family(sequence: u32) -> Vec<u8> {
    let nlas = vec![GenlCtrlAttrs::FamilyName(FAMILY.to_owned())];
    let message = GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas });
    let mut buffer = Vec::new();
    append(message.into(), NLM_F_REQUEST | NLM_F_ACK, sequence, &mut buffer);
    buffer
}

fn append<I>(mut message: NetlinkMessage<I>, flags: u16, sequence: u32, buffer: &mut Vec<u8>)
where
    I: netlink_packet_core::NetlinkSerializable,
{
    message.header.flags = flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let start = buffer.len();
    buffer.resize(start + message.buffer_len(), 0);
    message.serialize(buffer.get_mut(start..).unwrap_or_default());
}

fn nest(kind: u16, inner: &Writer) -> Writer {
    let mut outer = Writer::default();
    outer.nest(kind, inner);
    outer
}

fn both(service: &ServiceKey, destination: &Writer) -> Writer {
    let mut outer = nest(top::SERVICE, &service::write_key(service));
    outer.nest(top::DEST, destination);
    outer
}

/// A request as the payload of a generic netlink message.
#[derive(Debug)]
struct Borrowed<'a>(&'a Request);

impl GenlFamily for Borrowed<'_> {
    fn family_name() -> &'static str {
        FAMILY
    }

    fn command(&self) -> u8 {
        self.0.command
    }

    fn version(&self) -> u8 {
        VERSION
    }
}

impl Emitable for Borrowed<'_> {
    fn buffer_len(&self) -> usize {
        self.0.attributes.len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        buffer.iter_mut().zip(&self.0.attributes).for_each(|(to, from)| *to = *from);
    }
}
