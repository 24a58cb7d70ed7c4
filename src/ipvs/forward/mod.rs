//! The userspace forwarder: a data plane that needs no kernel module, for TCP and UDP.
//!
//! Shell. [`Userspace`] is the control side, owned by the balancer's thread; it keeps the table, opens the listeners
//! and swaps views. The threads carry the traffic, one for each CPU, outside of any runtime:
//!
//! ```text
//!  balancer ──operations──▶ Userspace ──view (ArcSwap)──────────────▶ service ◀── counters, affinity
//!                               │                                        ▲
//!                               └─command queue + eventfd─▶ thread 0 ────┤  each: epoll set, own listeners
//!                                                           thread 1 ────┘  (SO_REUSEPORT), slab, timer wheel, pipes
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`service`] | what both sides share |
//! | `worker`, `tcp`, `stream`, `udp`, `choose` | a thread: its loop, connections and flows, and where these go |
//! | [`slab`], [`wheel`], [`header`], [`pace`] | pure: places, deadlines, the PROXY protocol, naps and patience |
//! | [`socket`], [`pipes`], [`datagrams`] | the kernel's side |
//! | [`tproxy`] | rules for services without a port of their own |
//! | [`holder`] | who has a port that we want |
//!
//! What differs from the kernel's IPVS:
//! - DR and TUN, which need the client's packets to reach the real server as they are, are carried as NAT is: the real
//!   server sees the director's address, and must listen on its own address and port. That is noted once
//!   ([`Userspace::take_notes`]).
//! - SCTP is refused.
//! - A client is accepted before its real server is known to answer; when none does, its connection is reset.
//! - A TCP connection to a removed destination goes on, up to `proxy_drain_timeout`; a UDP flow finds another one.

pub mod datagrams;
pub mod header;
pub mod holder;
pub mod pace;
pub mod pipes;
pub mod service;
pub mod slab;
pub mod socket;
pub mod tproxy;
pub mod wheel;

mod choose;
mod control;
mod stream;
mod tcp;
mod udp;
mod worker;

pub use control::{Options, Userspace};
