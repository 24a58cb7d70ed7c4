//! Telling people: notify scripts now, e-mail, webhooks and FIFOs to come.

pub mod config;
