//! The control API: HTTP with JSON over two unix sockets, one to look and one to act.
//!
//! ```text
//!   client ──▶ status.sock ─┐  thread "control"                    main's loop
//!   client ──▶ admin.sock  ─┴▶ server: accept, limits, hyper ──Ask──▶ daemon::main_process::control
//!                              answer: HTTP ⇄ requests       ◀─Answer─   asks the children, keeps the history
//! ```
//!
//! [`api`] and [`paths`] are pure; [`server`] and [`client`] are shells, [`commands`] is what the command line does with
//! the client. Nothing here can hold up main: its queue is bounded and it never waits for the server.

pub mod answer;
pub mod api;
pub mod client;
pub mod commands;
pub mod handle;
pub mod paths;
pub mod peer;
pub mod server;
