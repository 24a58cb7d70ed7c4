//! The balancer process: on its own with a test for a main, and the whole daemon with real servers in network namespaces.
#![allow(clippy::disallowed_methods, reason = "bounds real waiting")]

#[path = "balancer/child.rs"]
mod child;
#[path = "common/mod.rs"]
mod common;
#[path = "balancer/config.rs"]
mod config;
#[path = "balancer/daemon.rs"]
mod daemon;
#[path = "balancer/lab.rs"]
mod lab;
#[path = "balancer/process.rs"]
mod process;
