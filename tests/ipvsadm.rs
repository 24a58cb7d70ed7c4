//! `holdfast ipvsadm` beside a daemon whose userspace forwarder carries the virtual servers: on kernels with IPVS and on
//! those without.
#![allow(clippy::disallowed_methods, reason = "bounds real waiting")]

#[path = "common/mod.rs"]
mod common;
#[path = "ipvsadm/forwarder.rs"]
mod forwarder;
