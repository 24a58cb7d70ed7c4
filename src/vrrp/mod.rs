//! VRRP: the engine (pure) and, around it, the shell of the vrrp process.
//!
//! ```text
//!  packets ─▶ accept ─▶ instance ─▶ effects ─▶ sockets, address writer, events
//!  links ───▶ links  ─▶ (binding)      ▲
//!  trackers ▶ track  ─▶ (health) ─▶ group
//! ```

pub mod accept;
pub mod blackbox;
pub mod config;
pub mod engine;
pub mod event;
pub mod flight;
pub mod former;
pub mod gather;
pub mod group;
pub mod instance;
pub mod links;
pub mod log;
pub mod message;
pub mod packet;
pub mod peers;
pub mod process;
pub mod rare;
pub mod receive_clock;
pub mod routes;
pub mod snapshot;
pub mod state;
pub mod timing;
pub mod track;
pub mod types;

#[cfg(test)]
mod tests;
