//! Holdfast with Holdfast: the real binary, real packets and real addresses, in network namespaces.
//!
//! Needs root; without it each test says that it was skipped.
#![allow(missing_docs)]

#[path = "netns/addresses.rs"]
mod addresses;
#[path = "netns/black_box.rs"]
mod black_box;
#[path = "netns/chaos.rs"]
mod chaos;
mod common;
#[path = "netns/dual.rs"]
mod dual;
#[path = "common/forged.rs"]
mod forged;
#[path = "common/handover.rs"]
mod handover;
#[path = "netns/hostile.rs"]
mod hostile;
#[path = "common/life.rs"]
mod life;
#[path = "netns/links.rs"]
mod links;
#[path = "common/notify.rs"]
mod notify;
#[path = "common/pair.rs"]
mod pair;
#[path = "common/ports.rs"]
mod ports;
#[path = "common/rig.rs"]
mod rig;
#[path = "netns/stalls.rs"]
mod stalls;
#[path = "netns/trackers.rs"]
mod trackers;
#[path = "common/variant.rs"]
mod variant;

use common::{needs_root, steady};
use rig::{Make, each};
use variant::{STRICT, Variant};

#[test]
fn a_pair_elects_survives_a_crash_takes_back_and_hands_over() {
    needs_root!();
    each(&Variant::ALL, |variant| life::life(*variant, Make::Holdfast, Make::Holdfast, ""));
}

#[test]
fn a_killed_vrrp_process_is_not_missed() {
    needs_root!();
    steady(|| pair::killed_vrrp(Make::Holdfast));
}

#[test]
fn a_killed_main_process_hands_over() {
    needs_root!();
    steady(|| pair::killed_main(Make::Holdfast));
}

#[test]
fn preemption_can_be_off_or_late() {
    needs_root!();
    each(&[pair::nopreempt, pair::preempt_delay], |story| story(Make::Holdfast));
}

#[test]
fn of_equals_the_higher_address_stays() {
    needs_root!();
    each(&[Variant::V2, Variant::V3, Variant::V6], |variant| pair::equal_priority(*variant, [Make::Holdfast; 2]));
}

#[test]
fn a_lower_priority_in_the_file_is_maintenance() {
    needs_root!();
    steady(|| pair::maintenance_by_priority(Make::Holdfast));
}

#[test]
fn a_sync_group_moves_as_one() {
    needs_root!();
    steady(|| pair::sync_group(Make::Holdfast));
}

#[test]
fn a_reload_of_nothing_is_not_seen() {
    needs_root!();
    steady(|| pair::reload_of_nothing(Make::Holdfast));
}

#[test]
fn a_reload_of_one_address_touches_that_one() {
    needs_root!();
    steady(|| pair::reload_of_one_address(Make::Holdfast, Make::Holdfast));
}

/// The particular script before the general one, each subject by itself, and no state twice.
#[test]
fn scripts_run_in_order_with_keepalived_s_words() {
    needs_root!();
    let told = notify::told_by(Make::Holdfast);
    for (subject, words, priority) in [("instance", "INSTANCE VI_1", 150), ("group", "GROUP VG", 0)] {
        let states = ["backup", "master", "fault", "backup", "master", "stop"];
        let expected: Vec<_> = states
            .iter()
            .flat_map(|state| {
                let general = format!("{subject} any {words} {} {priority}", state.to_uppercase());
                [format!("{subject} {state} two words"), general]
            })
            .collect();
        let of_subject: Vec<_> = told.iter().filter(|line| line.starts_with(subject)).cloned().collect();
        assert_eq!(of_subject, expected);
    }
}

#[test]
fn strict_routers_live_the_same_life() {
    needs_root!();
    each(&STRICT, |variant| life::life(*variant, Make::Holdfast, Make::Holdfast, "strict_mode on"));
}

#[test]
fn a_vrrp_process_that_stands_still_loses_its_addresses() {
    needs_root!();
    each(&[pair::HeldUp::Stopped, pair::HeldUp::Spinning], |how| pair::held_up_vrrp(Make::Holdfast, *how));
}

/// What a suspended machine and a paused container are to the others.
#[test]
fn a_daemon_that_is_frozen_and_thawed_does_not_take_over() {
    needs_root!();
    steady(|| pair::frozen_backup(Make::Holdfast));
}

#[test]
fn a_master_that_is_frozen_and_thawed_is_one_master_again() {
    needs_root!();
    steady(|| pair::frozen_master(Make::Holdfast));
}

#[test]
fn a_client_does_not_notice_a_planned_stop() {
    needs_root!();
    each(&[Variant::V2, Variant::V3, Variant::V6], |variant| handover::planned_stop(*variant, Make::Holdfast));
}

#[test]
fn addresses_are_released_at_once_where_that_is_asked_for() {
    needs_root!();
    steady(handover::released_at_once);
}

#[test]
fn an_address_that_somebody_removes_comes_back() {
    needs_root!();
    steady(|| handover::address_removed(Make::Holdfast));
}

#[test]
fn another_prefix_length_is_nobody_else_s_doing() {
    needs_root!();
    steady(handover::prefix_changed);
}

#[test]
fn clients_find_the_winner_of_a_contest() {
    needs_root!();
    steady(|| ports::late_switch_port(Make::Holdfast, Make::Holdfast));
}

#[test]
fn a_port_of_our_own_bridge_is_told_where_the_addresses_are() {
    needs_root!();
    each(&["br0", "top0"], |interface| ports::port_of_our_own_bridge(interface));
}

#[test]
fn of_two_live_masters_the_better_stays_whatever_nopreempt_says() {
    needs_root!();
    steady(|| pair::nopreempt_of_two_masters(Make::Holdfast));
}

#[test]
fn two_owners_are_one_master() {
    needs_root!();
    steady(pair::two_owners);
}

#[test]
fn a_weight_in_a_sync_group_moves_all_its_members() {
    needs_root!();
    steady(|| pair::sync_group_weight(Make::Holdfast));
}
