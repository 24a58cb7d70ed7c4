//! lab
pub mod client;
pub mod director;
pub mod frame;
pub mod host;
mod init;
pub mod lan;
pub mod mounts;
mod netlink;
pub mod outage;
pub mod plan;
pub mod server;
pub mod sniffer;
pub mod survey;
