//! Holdfast with Debian's keepalived, in both roles, in network namespaces.
//!
//! Needs root and `/usr/sbin/keepalived`; without them each test says that it was skipped.
#![allow(missing_docs)]

#[path = "interop/bytes.rs"]
mod bytes;
mod common;
#[path = "common/forged.rs"]
mod forged;
#[path = "interop/frr.rs"]
mod frr;
#[path = "common/handover.rs"]
mod handover;
#[path = "common/life.rs"]
mod life;
#[path = "common/notify.rs"]
mod notify;
#[path = "common/pair.rs"]
mod pair;
#[path = "common/ports.rs"]
mod ports;
#[path = "common/rig.rs"]
mod rig;
#[path = "common/variant.rs"]
mod variant;
#[path = "interop/weights.rs"]
mod weights;
#[path = "interop/words.rs"]
mod words;

use std::collections::BTreeSet;

use common::{needs_keepalived, steady};
use rig::{Make, each};
use variant::{STRICT, Variant};

#[test]
fn as_master_beside_keepalived() {
    needs_keepalived!();
    each(&Variant::ALL, |variant| life::life(*variant, Make::Holdfast, Make::Keepalived, ""));
}

#[test]
fn as_backup_beside_keepalived() {
    needs_keepalived!();
    each(&Variant::ALL, |variant| life::life(*variant, Make::Keepalived, Make::Holdfast, ""));
}

#[test]
fn a_killed_vrrp_process_is_not_missed_beside_keepalived() {
    needs_keepalived!();
    steady(|| pair::killed_vrrp(Make::Keepalived));
}

#[test]
fn a_killed_main_process_hands_over_beside_keepalived() {
    needs_keepalived!();
    steady(|| pair::killed_main(Make::Keepalived));
}

#[test]
fn preemption_can_be_off_or_late_beside_keepalived() {
    needs_keepalived!();
    each(&[pair::nopreempt, pair::preempt_delay], |story| story(Make::Keepalived));
}

#[test]
fn of_equals_the_higher_address_stays_beside_keepalived() {
    needs_keepalived!();
    let makes = [[Make::Holdfast, Make::Keepalived], [Make::Keepalived, Make::Holdfast]];
    let cases: Vec<_> = [Variant::V2, Variant::V3, Variant::V6].iter().flat_map(|v| makes.map(|m| (*v, m))).collect();
    each(&cases, |(variant, makes)| pair::equal_priority(*variant, *makes));
}

#[test]
fn a_lower_priority_in_the_file_is_maintenance_beside_keepalived() {
    needs_keepalived!();
    steady(|| pair::maintenance_by_priority(Make::Keepalived));
}

#[test]
fn a_sync_group_moves_as_one_beside_keepalived() {
    needs_keepalived!();
    steady(|| pair::sync_group(Make::Keepalived));
}

#[test]
fn a_reload_of_nothing_is_not_seen_beside_keepalived() {
    needs_keepalived!();
    steady(|| pair::reload_of_nothing(Make::Keepalived));
}

#[test]
fn an_address_that_only_the_master_has_makes_no_second_one_beside_keepalived() {
    needs_keepalived!();
    steady(|| pair::reload_of_one_address(Make::Keepalived, Make::Holdfast));
}

/// keepalived starts scripts at the same time and waits for none; we start the general one after the particular one.
#[test]
fn scripts_are_told_what_keepalived_tells_them() {
    needs_keepalived!();
    let told = std::thread::scope(|scope| {
        [Make::Holdfast, Make::Keepalived].map(|make| scope.spawn(move || notify::told_by(make))).map(|t| t.join())
    });
    let [ours, theirs] = told.map(|told| told.expect("a life"));
    for subject in ["instance", "group"] {
        let steps = |told: &[String]| {
            let of_subject: Vec<_> = told.iter().filter(|line| line.starts_with(subject)).cloned().collect();
            of_subject.chunks(2).map(|step| BTreeSet::from_iter(step.to_vec())).collect::<Vec<_>>()
        };
        assert_eq!(steps(&ours), steps(&theirs));
    }
}

#[test]
fn strict_routers_live_the_same_life_beside_keepalived() {
    needs_keepalived!();
    let makes = [[Make::Holdfast, Make::Keepalived], [Make::Keepalived, Make::Holdfast]];
    let cases: Vec<_> = STRICT.iter().flat_map(|variant| makes.map(|makes| (*variant, makes))).collect();
    each(&cases, |(variant, [first, second])| life::life(*variant, *first, *second, "strict_mode on"));
}

#[test]
fn a_vrrp_process_that_stands_still_loses_its_addresses_beside_keepalived() {
    needs_keepalived!();
    steady(|| pair::held_up_vrrp(Make::Keepalived, pair::HeldUp::Stopped));
}

#[test]
fn a_client_does_not_notice_a_planned_stop_beside_keepalived() {
    needs_keepalived!();
    each(&[Variant::V2, Variant::V3, Variant::V6], |variant| handover::planned_stop(*variant, Make::Keepalived));
}

/// keepalived announces again when it hears a worse master; we tell it that there was one.
#[test]
fn clients_find_keepalived_after_a_contest() {
    needs_keepalived!();
    steady(|| ports::late_switch_port(Make::Keepalived, Make::Holdfast));
}

#[test]
fn of_two_live_masters_the_better_stays_whatever_nopreempt_says_beside_keepalived() {
    needs_keepalived!();
    steady(|| pair::nopreempt_of_two_masters(Make::Keepalived));
}

#[test]
fn a_weight_in_a_sync_group_moves_all_its_members_beside_keepalived() {
    needs_keepalived!();
    steady(|| pair::sync_group_weight(Make::Keepalived));
}
