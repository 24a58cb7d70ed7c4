//! Bugs that other implementations had, planted between the engine and its world: the engine itself has no test hooks.
//!
//! Each test says that some seed of a few fails, and with which oracle: an oracle that never fails proves nothing.

use std::time::Duration;

use holdfast::vrrp::config::InstanceConfig;
use holdfast::vrrp::event::StateName;
use holdfast::vrrp::packet;
use holdfast::vrrp::timing;
use holdfast::vrrp::types::Priority;

use crate::host::Waiting;
use crate::oracle::Rule;
use crate::world;

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Skew in whole seconds is no skew.
    TruncatedSkew,
    /// A master does not yield to one of its own priority.
    NoTieBreak,
    /// Addresses stay in FAULT.
    AddressesKeptOnFault,
    /// Nobody sets the timer again after a reload.
    TimerNotRearmed,
    /// Changes of addresses overtake each other.
    UnorderedWriter,
    /// Deadlines are judged before waiting adverts are read: promotion on own stall.
    TimersBeforeInbox,
    /// Resignations are not heard.
    PriorityZeroIgnored,
    /// A killed master's successor is master however long it took to start.
    AdoptionWithoutDeadline,
    /// Announcements are not sent.
    SilentTakeover,
    /// Addresses stay after a clean stop.
    AddressesKeptOnStop,
    /// The next deadline is always now.
    BusyLoop,
    /// Each advert is sent several times.
    AdvertStorm,
    /// A process that was told to stop never lets go.
    LingersForEver,
    /// It goes on announcing its addresses, with its successor there.
    AnnouncesWhileLingering,
    /// A master that yields does not say so.
    LastAdvertWithheld,
    /// Addresses that others remove are not missed.
    LossUnheeded,
    /// The stamps of packets are believed whatever happens to the wall clock.
    ClockBelieved,
    /// Nobody cares for adverts that found no room.
    OverflowUnheeded,
    /// What an operator said is forgotten.
    MaintenanceForgotten,
    /// Who handed over takes back what it gave.
    HoldForgotten,
    /// What a reload took away, and a killed process had not removed yet, stays.
    FormerAddressesForgotten,
    /// Who stops, or hands over, gives its addresses up before its successor has them.
    ReleasedAtOnce,
    /// And does not say that it goes.
    ResignationWithheld,
    /// Of two masters the better one is not heeded by one that was told `nopreempt`.
    NopreemptAsMaster,
    /// A deadline begins when we hear of an advert, however long that waited.
    ReceiveTimeUnheeded,
    /// Nothing is announced again, whoever else was heard.
    AnnouncedOnce,
    /// Routers leave INIT at once, whatever `vrrp_startup_delay` and `vrrp_delay_after_boot` say.
    StartupDelayIgnored,
    /// Each advert is timed from the one before, not from when that was due: lateness adds up.
    AdvertsTimedFromNow,
    /// Adverts count from when the turn began in which they are read: after a stop within it they look as old as that was long.
    HeardWhenTheTurnBegan,
    /// Deadlines that passed during a stop within a turn are judged before what came meanwhile is read.
    TimersByThePresent,
    /// Who begins to wait in a turn has waited since it began, whoever could not be heard meanwhile.
    WaitBeginsWithTheTurn,
    /// The wall clock is compared when a turn begins, and may be set before packets are read.
    ClockBelievedWithinTurns,
    /// The kernel's answer that an address is there is taken before its news that it is, or is not any more.
    AnswerBeforeNews,
    /// A master that was held up sends all the adverts that it has missed.
    MissedAdvertsMadeUp,
    /// Announcements do not wait for their addresses.
    AnnouncedBeforeWritten,
    /// A cause does not say how late the timer was.
    LatenessUntold,
}

impl Bug {
    /// Whether the engine never sees this packet.
    pub fn swallows(self, waiting: &Waiting, config: &InstanceConfig, state: StateName, ours: u8) -> bool {
        let Ok(packet) = packet::parse(waiting.socket.family, &waiting.packet.pdu) else { return false };
        match self {
            Self::NoTieBreak => state == StateName::Master && packet.priority == ours,
            Self::PriorityZeroIgnored => packet.priority == 0,
            Self::NopreemptAsMaster => state == StateName::Master && !config.preempt && packet.priority > ours,
            _ => false,
        }
    }

    /// How much earlier than due the engine is told that a backup's deadline has come.
    pub fn hurry(self, config: &InstanceConfig, priority: u8) -> Duration {
        let Some(priority) = Priority::new(priority).filter(|_| self == Self::TruncatedSkew) else {
            return Duration::ZERO;
        };
        timing::skew(config.version, priority, config.advert_interval)
    }
}

/// Runs seeds until one fails, and says that it failed as it should.
fn caught(bug: Bug, rules: &[Rule]) {
    const SEEDS: u64 = 400;
    let failure = (1..=SEEDS).find_map(|seed| world::run(seed, Some(bug), false).err());
    let failure = failure.unwrap_or_else(|| panic!("{bug:?} was not noticed in {SEEDS} seeds"));
    assert!(rules.contains(&failure.rule), "{bug:?} was noticed by another oracle than {rules:?}: {failure}");
}

#[test]
fn truncated_skew_is_an_early_takeover() {
    caught(Bug::TruncatedSkew, &[Rule::EarlyTakeover]);
}

#[test]
fn a_missing_tie_break_leaves_two_masters() {
    caught(Bug::NoTieBreak, &[Rule::OneMaster]);
}

#[test]
fn addresses_kept_in_fault_are_found() {
    caught(Bug::AddressesKeptOnFault, &[Rule::Addresses]);
}

#[test]
fn a_timer_that_is_not_set_again_is_found() {
    caught(Bug::TimerNotRearmed, &[Rule::AdvertGap, Rule::LateTakeover]);
}

#[test]
fn an_unordered_writer_is_found() {
    caught(Bug::UnorderedWriter, &[Rule::Addresses]);
}

#[test]
fn promotion_on_own_stall_is_found() {
    caught(Bug::TimersBeforeInbox, &[Rule::MasterWaiting]);
}

#[test]
fn ignored_resignations_are_late_takeovers() {
    caught(Bug::PriorityZeroIgnored, &[Rule::LateTakeover]);
}

#[test]
fn adoption_past_the_deadline_is_found() {
    caught(Bug::AdoptionWithoutDeadline, &[Rule::Adoption]);
}

#[test]
fn a_silent_takeover_misleads_clients() {
    caught(Bug::SilentTakeover, &[Rule::Client]);
}

#[test]
fn addresses_kept_after_a_stop_are_found() {
    caught(Bug::AddressesKeptOnStop, &[Rule::Addresses]);
}

#[test]
fn a_busy_loop_is_found() {
    caught(Bug::BusyLoop, &[Rule::BusyLoop]);
}

#[test]
fn an_advert_storm_is_found() {
    caught(Bug::AdvertStorm, &[Rule::AdvertRate]);
}

#[test]
fn lingering_for_ever_is_found() {
    // One that hears nothing more, and that no successor disturbs.
    caught(Bug::LingersForEver, &[Rule::Addresses]);
}

#[test]
fn announcing_while_lingering_is_found() {
    caught(Bug::AnnouncesWhileLingering, &[Rule::Linger]);
}

#[test]
fn a_last_advert_that_is_withheld_misleads_clients() {
    caught(Bug::LastAdvertWithheld, &[Rule::Client]);
}

#[test]
fn addresses_that_are_not_put_back_are_found() {
    caught(Bug::LossUnheeded, &[Rule::Addresses]);
}

#[test]
fn a_wall_clock_that_is_believed_is_found() {
    caught(Bug::ClockBelieved, &[Rule::EarlyTakeover]);
}

#[test]
fn adverts_without_room_that_nobody_cares_for_are_found() {
    caught(Bug::OverflowUnheeded, &[Rule::EarlyTakeover]);
}

#[test]
fn a_hand_over_that_is_taken_back_is_found() {
    caught(Bug::HoldForgotten, &[Rule::EarlyTakeover, Rule::LateTakeover]);
}

#[test]
fn addresses_of_a_former_configuration_are_found() {
    caught(Bug::FormerAddressesForgotten, &[Rule::Addresses]);
}

#[test]
fn addresses_that_are_given_up_before_the_successor_has_them_are_missed() {
    caught(Bug::ReleasedAtOnce, &[Rule::Addresses]);
}

#[test]
fn a_resignation_that_is_withheld_is_found() {
    caught(Bug::ResignationWithheld, &[Rule::Resignation]);
}

#[test]
fn nopreempt_between_two_masters_leaves_them_both() {
    caught(Bug::NopreemptAsMaster, &[Rule::OneMaster]);
}

#[test]
fn deadlines_that_begin_when_an_advert_is_read_are_late_takeovers() {
    caught(Bug::ReceiveTimeUnheeded, &[Rule::LateTakeover, Rule::Cause]);
}

#[test]
fn a_contest_after_which_nobody_announces_misleads_clients() {
    caught(Bug::AnnouncedOnce, &[Rule::Client]);
}

#[test]
fn a_forgotten_maintenance_is_found() {
    caught(Bug::MaintenanceForgotten, &[Rule::Maintenance]);
}

#[test]
fn a_startup_delay_that_is_ignored_is_found() {
    caught(Bug::StartupDelayIgnored, &[Rule::StartupDelay]);
}

#[test]
fn adverts_that_count_from_the_beginning_of_a_turn_are_early_takeovers() {
    caught(Bug::HeardWhenTheTurnBegan, &[Rule::EarlyTakeover]);
}

#[test]
fn deadlines_that_pass_within_a_turn_are_found() {
    caught(Bug::TimersByThePresent, &[Rule::MasterWaiting]);
}

#[test]
fn waiting_that_begins_before_anybody_listens_is_an_early_takeover() {
    caught(Bug::WaitBeginsWithTheTurn, &[Rule::EarlyTakeover]);
}

#[test]
fn a_wall_clock_that_is_believed_once_a_turn_is_found() {
    caught(Bug::ClockBelievedWithinTurns, &[Rule::EarlyTakeover]);
}

#[test]
fn an_answer_that_overtakes_the_news_is_found() {
    caught(Bug::AnswerBeforeNews, &[Rule::Cause]);
}

#[test]
fn adverts_that_are_made_up_for_are_found() {
    caught(Bug::MissedAdvertsMadeUp, &[Rule::AdvertRate]);
}

#[test]
fn announcements_that_overtake_their_addresses_are_found() {
    caught(Bug::AnnouncedBeforeWritten, &[Rule::Addresses]);
}

#[test]
fn a_lateness_that_is_not_told_is_found() {
    caught(Bug::LatenessUntold, &[Rule::Cause]);
}

#[test]
fn adverts_that_are_timed_from_now_drift() {
    caught(Bug::AdvertsTimedFromNow, &[Rule::AdvertGap]);
}
