//! The host's network as the vrrp process sees and changes it: links, addresses, advert sockets, announcements.
//!
//! ```text
//!   kernel ── netlink multicast ──► monitor ──► links (table) ──► what the engine is told
//!   engine ── SyncAddresses ──► addresses ──► plan ──► netlink requests, ACKs ──► what the engine is told
//!                                         └► filter (before and after) ──► nftables
//!          ── Announce ───────► (behind the addresses) ──► announce: pacing, frame ──► AF_PACKET
//!          ── SyncSockets, SendAdvert ──► socket ◄──► the wire
//! ```
//!
//! Nothing here waits: every descriptor is non-blocking, and one [`sys::Readiness`] says when to look again.
//! Pure: [`frame`], [`ip`], [`links`], [`nft`], [`pacing`], [`plan`], [`rtnl`], [`write_queue`]. The rest is shell.

pub mod addresses;
pub mod announce;
pub mod filter;
pub mod frame;
pub mod heard;
pub mod ip;
pub mod links;
pub mod monitor;
pub mod netlink;
pub mod nft;
pub mod pacing;
pub mod plan;
pub mod rtnl;
pub mod socket;
pub mod sys;
pub mod write_queue;
