//! Holdfast: VRRP high availability, a drop-in replacement for keepalived.
//!
//! This is the map. Pure engines in the middle, thin shells around them, and one module, [`daemon`], that knows
//! everybody. An engine takes an input and the time, and leaves effects for its shell to carry out.
//!
//! ```text
//!                      keepalived.conf
//!                            │ conf
//!  ┌───────────── main ──────▼────────────┐  typed configuration, differences,   ┌────────── vrrp ───────────┐
//!  │ daemon    supervises, reloads, exec  │  tracker statuses                    │ vrrp::process  the loop   │
//!  │ trackers  scripts, files, processes  │ ───────────────────────────────────▶ │ vrrp::engine   decides    │
//!  │ notify    scripts, FIFOs, mail, web  │ ◀─────────────────────────────────── │ net            sockets,   │
//!  │ cli       flags and subcommands      │  events with their cause, heartbeats │   addresses, ARP and NA   │
//!  └──────────────────┬───────────────────┘  (ipc: frames on a socket pair)      └───────────────────────────┘
//!                     │ configuration, differences, masters, command outcomes    ┌───────── balancer ────────┐
//!                     └────────────────────────────────────────────────────────▶ │ ipvs::process   the loop  │
//!                       events with their cause, requests for commands           │ checkers        look      │
//!                                                                                │ ipvs::balancer  decides   │
//!                                                                                │ kernel IPVS or forwarder  │
//!                                                                                └───────────────────────────┘
//! ```
//!
//! | module | kind | what it is |
//! |---|---|---|
//! | [`conf`] | pure, but for reading files | keepalived.conf → [`conf::config::Config`] and diagnostics |
//! | [`command`] | pure | a command line as written in the file: program or shell line |
//! | [`vrrp`] | pure: everything but its shells `process`, `flight`, `blackbox`, `log` | the protocol: packets, checks, states, trackers, groups |
//! | [`net`] | shell: sockets, netlink, packet filter; pure: `frame`, `ip`, `links`, `nft`, `pacing`, `plan`, `rtnl`, `write_queue` | the kernel's side of VRRP |
//! | [`checkers`] | pure: `config`, `report`, `engine`, `status`, `schedule`; shell: `supervisor`, `probe` | is this real server fit to serve |
//! | [`ipvs`] | pure: `types`, `config`, `table`, `dataplane`, `diff`, `plan`, `balancer`, `groups`, `carrier`, `event`, `message`, `shared`, `snapshot`, `select`, `affinity`, `genl`, `advice` but for its `arp` and `probe`, `masquerade` but for its `writer`; shell: `process`, `log`, `kernel`, `forward` | virtual servers: who gets the traffic, and what carries it |
//! | [`ipvsadm`] | pure, but for its shells `execute`, `restore`, `daemons` and `names` | the tables of virtual servers in an administrator's hands |
//! | [`trackers`] | shell: `script`, `file`, `process`; pure: `rise_fall`, `number`, `process::{pattern, quorum, table}` | health that main finds out |
//! | [`notify`] | pure: `address`, `config`, `node`, `notice`, `plan`, `render`, `said`, `sign`; shell: `script`, `outbox`, `fifo`, `email`, `webhook`, `secret` | telling people |
//! | [`daemon`] | wiring | main: supervision, reload, signals, logging, pid files, running commands |
//! | [`ipc`] | shell | frames between our processes |
//! | [`child`] | shell | what the two processes that main starts have in common |
//! | [`control`] | pure: `api`, `paths`; shell: `server`, `answer`, `handle`, `peer`, `client`, `commands` | the API over unix sockets, and its first client |
//! | [`status`] | pure, but for its shell `page::server` | what is shown: the JSON of `status`, the history of events, why a state changed, metrics, the status page |
//! | [`dump`] | pure, but for its shell `writer` | keepalived's state files |
//! | [`cli`] | pure | keepalived's flags and our subcommands |
//! | [`lab`] | shell | a cluster in network namespaces on one machine, and the library of the tests that need one |
//!
//! Invariants:
//! - Domains own their configuration types; [`conf`] depends on them, never the reverse.
//! - The vrrp process waits for nobody: not for main, a log, a disk or a name. Queues towards others drop and count.
//! - Only `daemon::exec` runs commands. Only main reads keepalived.conf.
//! - State changes happen in `enter_*` functions, and every one carries its [`vrrp::event::Cause`].
//! - Addresses are written by one ordered writer; what is written says what should be, so doing it twice is harmless.

pub mod checkers;
pub mod child;
pub mod cli;
pub mod command;
pub mod conf;
pub mod control;
pub mod daemon;
pub mod dump;
pub mod ipc;
pub mod ipvs;
pub mod ipvsadm;
pub mod lab;
pub mod net;
pub mod notify;
pub mod status;
pub mod trackers;
pub mod vrrp;

#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common;

/// Which build this is. Processes of different builds do not talk to each other.
pub const BUILD_ID: &str = concat!(env!("CARGO_PKG_VERSION"), "+", env!("HOLDFAST_BUILD"));
