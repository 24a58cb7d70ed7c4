//! Holdfast with Debian's keepalived, in both roles, in network namespaces.
//!
//! Needs root and `/usr/sbin/keepalived`; without them each test says that it was skipped.
#![allow(missing_docs)]

mod common;
#[path = "common/life.rs"]
mod life;
#[path = "common/rig.rs"]
mod rig;
#[path = "common/variant.rs"]
mod variant;

use common::needs_keepalived;
use rig::{Make, each};
use variant::Variant;

#[test]
fn as_master_beside_keepalived() {
    needs_keepalived!();
    each(&Variant::ALL, |variant| life::life(*variant, Make::Holdfast, Make::Keepalived));
}

#[test]
fn as_backup_beside_keepalived() {
    needs_keepalived!();
    each(&Variant::ALL, |variant| life::life(*variant, Make::Keepalived, Make::Holdfast));
}
