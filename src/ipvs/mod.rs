//! Virtual servers: which real servers get the traffic, and the data planes that carry it.
//!
//! ```text
//!  checkers ──▶ balancer ──▶ desired ServiceTable ──plan──▶ operations ──▶ Dataplane: kernel IPVS, or the forwarder
//! ```
//!
//! A virtual server's configuration is [`config`]; what should be in a data plane is a [`table::ServiceTable`], a plain
//! value. [`dataplane::Dataplane`] is the seam: whoever implements it carries traffic.
//! [`forward::Userspace`] does so without a kernel module: schedulers are in [`select`], persistence in [`affinity`].

pub mod advice;
pub mod affinity;
pub mod balancer;
pub mod carrier;
pub mod config;
pub mod dataplane;
pub mod diff;
pub mod event;
pub mod forward;
pub mod genl;
pub mod groups;
pub mod kernel;
pub mod log;
pub mod masquerade;
pub mod message;
pub mod plan;
pub mod process;
pub mod select;
pub mod shared;
pub mod small_map;
pub mod snapshot;
pub mod table;
pub mod types;
