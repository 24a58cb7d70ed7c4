//! The control API and its commands: real daemons in network namespaces, and what becomes of them when somebody means
//! them ill.
//!
//! Needs root; without it each test says that it was skipped.
#![allow(missing_docs)]

#[path = "control/commands.rs"]
mod commands;
mod common;
#[path = "control/hostile.rs"]
mod hostile;
#[path = "control/kit.rs"]
mod kit;
#[path = "control/openapi.rs"]
mod openapi;
#[path = "control/reload.rs"]
mod reload;
#[path = "common/rig.rs"]
mod rig;
#[path = "control/traffic.rs"]
mod traffic;
#[path = "common/variant.rs"]
mod variant;
