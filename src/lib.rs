//! Holdfast: VRRP high availability, a drop-in replacement for keepalived. (The map comes with the modules.)

pub mod cli;
pub mod command;
pub mod conf;
pub mod daemon;
pub mod ipc;
pub mod lab;
pub mod net;
pub mod notify;
pub mod trackers;
pub mod vrrp;

#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common;

/// Which build this is. Processes of different builds do not talk to each other.
pub const BUILD_ID: &str = concat!(env!("CARGO_PKG_VERSION"), "+", env!("HOLDFAST_BUILD"));
