//! Virtual servers: which real servers get the traffic, and the data planes that carry it.
//!
//! ```text
//!  checkers ──▶ balancer ──▶ desired ServiceTable ──plan──▶ operations ──▶ Dataplane: kernel IPVS, or the forwarder
//! ```
//!
//! A virtual server's configuration is [`config`]; what should be in a data plane is a [`table::ServiceTable`], a plain
//! value. [`dataplane::Dataplane`] is the seam: whoever implements it carries traffic.
//! [`forward::Userspace`] does so without a kernel module: schedulers are in [`select`], persistence in [`affinity`].

pub mod affinity;
pub mod config;
pub mod dataplane;
pub mod forward;
pub mod select;
pub mod table;
pub mod types;
