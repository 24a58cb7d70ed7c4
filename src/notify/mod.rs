//! Telling people: notify scripts, FIFOs, e-mail, webhooks.
//!
//! Pure: [`plan`] (which scripts an event asks for), [`notice`] (what is told, and its words), [`render`] (what webhooks
//! send), [`sign`], [`address`], [`node`], [`said`], [`config`]. Shells: [`script`] runs scripts in order; [`outbox`] is the queue
//! of one target, [`fifo`], [`email`] and [`webhook`] deliver what is in it; [`secret`] reads passwords.

pub mod address;
pub mod config;
pub mod email;
pub mod fifo;
pub mod node;
pub mod notice;
pub mod outbox;
pub mod plan;
pub mod render;
pub mod said;
pub mod script;
pub mod secret;
pub mod sign;
pub mod webhook;

/// An error with its sources, which the libraries' own words leave out.
fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = inner.source();
    }
    text
}
