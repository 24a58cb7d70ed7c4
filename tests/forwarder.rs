//! The userspace forwarder on loopback and in network namespaces: real sockets, and every byte checked.

#[macro_use]
mod common;
#[path = "forwarder/affinity.rs"]
mod affinity;
#[path = "forwarder/changes.rs"]
mod changes;
#[path = "forwarder/limits.rs"]
mod limits;
#[path = "forwarder/namespaces.rs"]
mod namespaces;
#[path = "forwarder/reloads.rs"]
mod reloads;
#[path = "forwarder/rig.rs"]
mod rig;
#[path = "forwarder/tcp.rs"]
mod tcp;
#[path = "forwarder/udp.rs"]
mod udp;
