//! VRRP: the engine and its shell.

pub mod accept;
pub mod config;
pub mod engine;
pub mod event;
pub mod flight;
pub mod log;
pub mod message;
pub mod process;
pub mod snapshot;
pub mod types;
