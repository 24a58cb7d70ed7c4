//! The log lines of events, in the words that people's scripts look for in keepalived's log.
//!
//! Pure.

use tracing::Level;

use crate::vrrp::event::{Cause, Event, StateName};

/// The lines of one event, in order.
pub fn lines(event: &Event) -> Vec<(Level, String)> {
    match event {
        Event::StateChanged { instance, to, priority, cause, .. } => transition(instance, *to, *priority, cause),
        Event::GroupChanged { group, to, cause } => {
            vec![(Level::INFO, format!("VRRP_Group({group}) Syncing instances to {to} state: {cause}"))]
        }
        Event::PriorityChanged { instance, from, to, cause, .. } => {
            vec![(Level::INFO, format!("({instance}) Changing effective priority from {from} to {to}: {cause}"))]
        }
        Event::LowerPriorityAdvert { instance, peer, priority, ours } => {
            let text = format!(
                "({instance}) Received advert from {peer} with lower priority {priority}, ours {ours}, forcing new election"
            );
            vec![(Level::INFO, text)]
        }
        Event::AdvertFlawed { instance, peer, error, heard } => {
            let name = instance.as_deref().unwrap_or("?");
            let fate = if *heard { "heard all the same" } else { "refused" };
            vec![(Level::WARN, format!("({name}) advert from {peer} {fate}: {error}"))]
        }
        Event::AddressFailed { instance, message } => vec![(Level::ERROR, format!("({instance}) {message}"))],
        Event::TimerLate { instance, by } => {
            let text = format!("({instance}) a timer was {} ms late: this process was held up", by.as_millis());
            vec![(Level::WARN, text)]
        }
        Event::Warning { instance, message } => vec![(Level::WARN, format!("({instance}) {message}"))],
    }
}

fn transition(instance: &str, to: StateName, priority: u8, cause: &Cause) -> Vec<(Level, String)> {
    let mut lines = Vec::new();
    match (to, cause) {
        (StateName::Master, Cause::MasterSilent { .. } | Cause::MasterResigned { .. } | Cause::Preempting { .. }) => {
            lines.push((Level::INFO, format!("({instance}) Receive advertisement timeout: {cause}")));
        }
        (StateName::Backup, Cause::BetterMaster { master, ours }) => {
            let what = if master.priority == *ours { "same priority and higher address, priority" } else { "higher priority" };
            let text = format!(
                "({instance}) Master received advert from {} with {what} {}, ours {ours}",
                master.address, master.priority
            );
            lines.push((Level::INFO, text));
        }
        _ => {}
    }
    lines.push(match to {
        StateName::Fault => (Level::WARN, format!("({instance}) entering FAULT state: {cause}")),
        StateName::Stop => (Level::INFO, format!("({instance}) Stopped: {cause}")),
        StateName::Deleted => (Level::INFO, format!("({instance}) Deleted: {cause}")),
        StateName::Init | StateName::Backup | StateName::Master => {
            (Level::INFO, format!("({instance}) Entering {to} STATE: {cause}, priority {priority}"))
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::vrrp::event::{FaultReason, Heard};
    use crate::vrrp::types::AdvertInterval;

    #[test]
    fn words_that_scripts_look_for() {
        let heard = |priority| Heard { address: [10, 0, 0, 2].into(), priority, interval: AdvertInterval::DEFAULT };
        let to = |to, cause| {
            let event = Event::StateChanged { instance: "VI_1".into(), from: StateName::Init, to, priority: 100, cause };
            lines(&event).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n")
        };
        let silent = Cause::MasterSilent {
            last_master: Some(heard(150)),
            silence: Duration::from_millis(3609),
            late: Duration::ZERO,
        };
        let fault = Cause::Fault { reasons: BTreeSet::from([FaultReason::InterfaceDown("eth0".into())]) };
        for (said, words) in [
            (to(StateName::Master, silent.clone()), "(VI_1) Receive advertisement timeout"),
            (to(StateName::Master, silent), "\n(VI_1) Entering MASTER STATE"),
            (to(StateName::Backup, Cause::Started), "(VI_1) Entering BACKUP STATE"),
            (
                to(StateName::Backup, Cause::BetterMaster { master: heard(200), ours: 100 }),
                "Master received advert from 10.0.0.2 with higher priority 200, ours 100\n(VI_1) Entering BACKUP STATE",
            ),
            (to(StateName::Backup, Cause::BetterMaster { master: heard(100), ours: 100 }), "with same priority"),
            (to(StateName::Fault, fault), "(VI_1) entering FAULT state: interface eth0 is down"),
        ] {
            assert!(said.contains(words), "{said:?} lacks {words:?}");
        }
        let lower =
            Event::LowerPriorityAdvert { instance: "VI_1".into(), peer: [10, 0, 0, 2].into(), priority: 1, ours: 2 };
        assert_eq!(
            lines(&lower)[0].1,
            "(VI_1) Received advert from 10.0.0.2 with lower priority 1, ours 2, forcing new election"
        );
    }
}
