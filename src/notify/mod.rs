//! Telling people: notify scripts now, e-mail, webhooks and FIFOs to come.
//!
//! [`plan`] is pure: which scripts an event asks for. [`script`] is the shell that runs them in order.

pub mod config;
pub mod fifo;
pub mod notice;
pub mod outbox;
pub mod plan;
pub mod script;
pub mod secret;
