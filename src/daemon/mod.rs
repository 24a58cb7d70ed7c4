//! The daemon's wiring: the only module that knows everybody.
//!
//! Main's processes and tasks, all on one thread, which lives as long as main does (parent-death signals are tied to
//! the thread that started a child):
//!
//! ```text
//!   signals ─┐                                ┌─ child "vrrp": socket pair ⇄, memfd flight recorder
//!   trackers ┼─▶ main_process (one select) ◀─▶ supervise
//!   notify  ─┘        │                        └─ child "balancer": socket pair ⇄
//!                     └─ exec: every external command, own process group, deadline → TERM → KILL
//! ```

pub mod backoff;
pub mod black_box;
pub mod check;
pub mod detach;
pub mod doctor;
pub mod exec;
pub mod file_writer;
pub mod kept;
pub mod load;
pub mod local_time;
pub mod logging;
pub mod main_process;
pub mod notices;
pub mod notify_test;
pub mod orphan;
pub mod pidfile;
pub mod plan;
pub mod process_name;
pub mod pulse;
pub mod reload;
pub mod reload_files;
pub mod reload_time;
pub mod requests;
pub mod roster;
pub mod script_path;
pub mod signals;
pub mod supervise;
pub mod sweep;
pub mod trackers;
pub mod watchdog;
pub mod why;
