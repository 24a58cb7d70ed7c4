//! Holdfast with Holdfast: the real binary, real packets and real addresses, in network namespaces.
//!
//! Needs root; without it each test says that it was skipped.
#![allow(missing_docs)]

mod common;
#[path = "common/life.rs"]
mod life;
#[path = "common/rig.rs"]
mod rig;
#[path = "common/variant.rs"]
mod variant;

use common::needs_root;
use rig::{Make, each};
use variant::Variant;

#[test]
fn a_pair_elects_survives_a_crash_takes_back_and_hands_over() {
    needs_root!();
    each(&Variant::ALL, |variant| life::life(*variant, Make::Holdfast, Make::Holdfast));
}
