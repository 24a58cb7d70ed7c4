//! Telling people: notify scripts now, e-mail, webhooks and FIFOs to come.
//!
//! [`plan`] is pure: which scripts an event asks for. [`script`] is the shell that runs them in order.

pub mod config;
pub mod plan;
pub mod script;
