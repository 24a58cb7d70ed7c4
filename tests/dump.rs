//! keepalived's state files: what Holdfast writes beside what Debian's keepalived writes of the same configuration, in
//! network namespaces; and what happens when the disk is full, the name is taken, or a program waits for the file.
//!
//! Needs root and `/usr/sbin/keepalived`; without them each test says that it was skipped.
#![allow(missing_docs)]

#[path = "dump/checkers.rs"]
mod checkers;
mod common;
#[path = "dump/compare.rs"]
mod compare;
#[path = "dump/files.rs"]
mod files;
#[path = "common/rig.rs"]
mod rig;
#[path = "common/uml.rs"]
mod uml;
