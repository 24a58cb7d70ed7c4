//! The generic netlink family `IPVS`: what the kernel is asked and what it says, as typed values.
//!
//! Pure: bytes only. [`request`] builds requests and packs many of them into one send, [`reply`] reads datagrams of any
//! content, [`convert`] stands between these values and a [`super::table::ServiceTable`].
//!
//! ```text
//! nlmsghdr │ command, version │ SERVICE { af, protocol, addr, port | fwmark, scheduler, flags, … }
//!                             │ DEST { addr, port, method, weight, thresholds, tunnel, … }
//!                             │ DAEMON { … } │ TIMEOUT_… │ INFO_…
//! ```
//!
//! The numbers are those of `linux/ip_vs.h`. The kernel's values are kept as they are, also those that no configuration of
//! ours can hold (a scheduler of another make, a netmask with holes): whoever shows the table must show it all.

pub mod attribute;
pub mod convert;
pub mod daemon;
pub mod destination;
pub mod reply;
pub mod request;
pub mod service;
pub mod stats;

pub use daemon::{Daemon, DaemonState, Info, Timeouts};
pub use destination::KernelDestination;
pub use reply::{Message, Reply};
pub use request::Request;
pub use service::KernelService;
pub use stats::Stats;

/// The family's name, which the kernel's controller knows the number for.
pub const FAMILY: &str = "IPVS";
/// The family's version.
pub const VERSION: u8 = 1;

/// `IPVS_CMD_*`.
pub mod command {
    #![allow(missing_docs, reason = "the names of linux/ip_vs.h")]
    pub const NEW_SERVICE: u8 = 1;
    pub const SET_SERVICE: u8 = 2;
    pub const DEL_SERVICE: u8 = 3;
    pub const GET_SERVICE: u8 = 4;
    pub const NEW_DEST: u8 = 5;
    pub const SET_DEST: u8 = 6;
    pub const DEL_DEST: u8 = 7;
    pub const GET_DEST: u8 = 8;
    pub const NEW_DAEMON: u8 = 9;
    pub const DEL_DAEMON: u8 = 10;
    pub const GET_DAEMON: u8 = 11;
    pub const SET_CONFIG: u8 = 12;
    pub const GET_CONFIG: u8 = 13;
    pub const SET_INFO: u8 = 14;
    pub const GET_INFO: u8 = 15;
    pub const ZERO: u8 = 16;
    pub const FLUSH: u8 = 17;
}

/// `IPVS_CMD_ATTR_*`: the first level.
pub(crate) mod top {
    pub const SERVICE: u16 = 1;
    pub const DEST: u16 = 2;
    pub const DAEMON: u16 = 3;
    pub const TIMEOUT_TCP: u16 = 4;
    pub const TIMEOUT_TCP_FIN: u16 = 5;
    pub const TIMEOUT_UDP: u16 = 6;
}

#[cfg(test)]
mod tests;
