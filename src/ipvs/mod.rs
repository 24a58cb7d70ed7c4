//! Virtual servers: which real servers get the traffic, and the data planes that carry it.
//!
//! ```text
//!  checkers ──▶ balancer ──▶ desired ServiceTable ──plan──▶ operations ──▶ Dataplane: kernel IPVS, or the forwarder
//! ```
//!
//! A virtual server's configuration is [`config`]; what should be in a data plane is a [`table::ServiceTable`], a plain
//! value. [`dataplane::Dataplane`] is the seam: whoever implements it carries traffic.

pub mod advice;
pub mod config;
pub mod dataplane;
pub mod genl;
pub mod kernel;
pub mod masquerade;
pub mod table;
pub mod types;
