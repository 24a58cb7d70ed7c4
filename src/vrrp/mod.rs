//! VRRP: the engine and its shell.

pub mod accept;
pub mod config;
pub mod engine;
pub mod event;
pub mod message;
pub mod snapshot;
pub mod types;
