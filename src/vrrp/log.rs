//! Events as log lines, in the words that people search keepalived's logs for.
//!
//! Shell: writes to `tracing`. The message is keepalived's own where it has one; fields carry what it never told: the
//! cause. State changes are info, what an operator should look at is a warning.

use super::event::{Cause, Event, StateName};

/// Logs one event. The fields under `json` are for lines in JSON: people read them in the text.
pub fn log_event(event: &Event) {
    let Facts { kind, from, to, peer } = facts(event);
    let (from, to, peer) = (from.as_deref(), to.as_deref(), peer.as_deref());
    for line in lines(event) {
        let Line { warn, instance, cause, text } = line;
        let cause = cause.as_deref();
        // What concerns them all names none.
        let instance = Some(instance.as_str()).filter(|name| !name.is_empty());
        if warn {
            tracing::warn!(
                target: "vrrp", instance, cause, json.kind = kind, json.from = from, json.to = to, json.peer = peer,
                "{text}"
            );
        } else {
            tracing::info!(
                target: "vrrp", instance, cause, json.kind = kind, json.from = from, json.to = to, json.peer = peer,
                "{text}"
            );
        }
    }
}

/// What programs look for in an event, under the names that it has in the JSON of `/v1/events`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Facts {
    kind: &'static str,
    from: Option<String>,
    to: Option<String>,
    peer: Option<String>,
}

fn facts(event: &Event) -> Facts {
    let kind = |kind| Facts { kind, ..Facts::default() };
    let changed = |name, from: &dyn ToString, to: &dyn ToString| Facts {
        from: Some(from.to_string()),
        to: Some(to.to_string()),
        ..kind(name)
    };
    match event {
        Event::StateChanged { from, to, .. } => changed("state_changed", from, to),
        Event::DualMaster { peer, .. } => Facts { peer: peer.map(|peer| peer.to_string()), ..kind("dual_master") },
        Event::DualMasterEnded { peer, .. } => {
            Facts { peer: peer.map(|peer| peer.to_string()), ..kind("dual_master_ended") }
        }
        Event::VridTaken { peer, .. } => Facts { peer: Some(peer.to_string()), ..kind("vrid_taken") },
        Event::Renamed { .. } => kind("renamed"),
        Event::GroupChanged { to, .. } => Facts { to: Some(to.to_string()), ..kind("group_changed") },
        Event::PriorityChanged { from, to, .. } => changed("priority_changed", from, to),
        Event::LowerPriorityAdvert { peer, .. } => {
            Facts { peer: Some(peer.to_string()), ..kind("lower_priority_advert") }
        }
        Event::AdvertFlawed { peer, .. } => Facts { peer: Some(peer.to_string()), ..kind("advert_flawed") },
        Event::AddressFailed { .. } => kind("address_failed"),
        Event::TimerLate { .. } => kind("timer_late"),
        Event::MainSilent { .. } => kind("main_silent"),
        Event::MainBack { .. } => kind("main_back"),
        Event::Warning { .. } => kind("warning"),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Line {
    warn: bool,
    instance: String,
    cause: Option<String>,
    text: String,
}

fn lines(event: &Event) -> Vec<Line> {
    let line = |warn, instance: &str, cause: Option<&Cause>, text: String| Line {
        warn,
        instance: instance.to_owned(),
        cause: cause.map(ToString::to_string),
        text,
    };
    match event {
        Event::StateChanged { instance, from, to, cause, .. } => {
            let mut lines = Vec::new();
            match cause {
                Cause::BetterMaster { master, ours } if *from == StateName::Master => lines.push(line(
                    false,
                    instance,
                    None,
                    format!(
                        "({instance}) Master received advert from {} with higher priority {}, ours {ours}",
                        master.address, master.priority
                    ),
                )),
                Cause::MasterResigned { master, .. } => lines.push(line(
                    false,
                    instance,
                    None,
                    format!("({instance}) Backup received priority 0 advertisement from {}", master.address),
                )),
                _ => {}
            }
            // keepalived's timer runs out at each of these, whatever was or was not heard before.
            let timed_out =
                matches!(cause, Cause::MasterSilent { .. } | Cause::MasterResigned { .. } | Cause::Preempting { .. });
            if timed_out && *to == StateName::Master {
                lines.push(line(false, instance, None, format!("({instance}) Receive advertisement timeout")));
            }
            // Who was no master has nothing to give up, and keepalived has no word for it.
            if *to == StateName::Stop && *from != StateName::Master {
                return lines;
            }
            let text = match to {
                StateName::Stop => format!("({instance}) sent 0 priority"),
                StateName::Deleted => format!("({instance}) removed"),
                _ => format!("({instance}) Entering {to} STATE"),
            };
            let mut change = line(*to == StateName::Fault, instance, Some(cause), text);
            if (*from, *to) == (StateName::Init, StateName::Backup) {
                change.text.push_str(" (init)");
            }
            lines.push(change);
            if (*from, *to) == (StateName::Master, StateName::Fault) {
                lines.push(line(false, instance, None, format!("({instance}) sent 0 priority")));
            }
            lines
        }
        Event::Renamed { instance, was, state } => {
            vec![line(false, instance, None, format!("({instance}) was called {was}, and goes on in {state} STATE"))]
        }
        Event::GroupChanged { group, to, cause } => {
            let text = format!("VRRP_Group({group}) Syncing instances to {to} state");
            vec![line(*to == StateName::Fault, group, Some(cause), text)]
        }
        Event::PriorityChanged { instance, from, to, cause, .. } => {
            let text = format!("({instance}) Changing effective priority from {from} to {to}");
            vec![line(false, instance, Some(cause), text)]
        }
        Event::LowerPriorityAdvert { instance, peer, priority, ours } => vec![line(
            false,
            instance,
            None,
            format!(
                "({instance}) Received advert from {peer} with lower priority {priority}, ours {ours}, \
                 forcing new election"
            ),
        )],
        Event::AdvertFlawed { instance, peer, error, heard } => {
            let fate = if *heard { "heard all the same" } else { "dropped" };
            let name = instance.as_deref().unwrap_or("");
            let who = instance.as_ref().map_or_else(String::new, |name| format!("({name}) "));
            vec![line(true, name, None, format!("{who}advert from {peer}: {error}, {fate}"))]
        }
        Event::DualMaster { instance, peer, reason, lasted, again } => {
            let who = peer.map_or_else(|| "another router".to_owned(), |peer| peer.to_string());
            let still = if *again { "still " } else { "" };
            let secs = lasted.as_secs();
            let text = format!("({instance}) DUAL MASTER: {who} is {still}master too, for {secs} s now: {reason}");
            vec![line(true, instance, None, text)]
        }
        Event::DualMasterEnded { instance, peer, lasted, end } => {
            let who = peer.map_or_else(|| "another router".to_owned(), |peer| peer.to_string());
            let secs = lasted.as_secs();
            let text = format!("({instance}) dual master with {who} has ended after {secs} s: {end}");
            vec![line(true, instance, None, text)]
        }
        Event::VridTaken { instance, vrid, peer, addresses, free } => {
            let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            let advice = free.map_or_else(String::new, |free| format!("; virtual_router_id {free} is free there"));
            let text = format!(
                "({instance}) virtual_router_id {vrid} is taken: {peer} speaks it for other addresses ({}){advice}",
                list.join(" ")
            );
            vec![line(true, instance, None, text)]
        }
        Event::AddressFailed { instance, message } | Event::Warning { instance, message } => {
            vec![line(true, instance, None, format!("({instance}) {message}"))]
        }
        Event::MainSilent { silence } => {
            let text = format!(
                "main has been silent for {} s: VRRP goes on with the trackers' statuses of then",
                silence.as_secs()
            );
            vec![line(true, "", None, text)]
        }
        Event::MainBack { silence } => {
            let text = format!("main is back after {} s: the trackers' statuses are its own again", silence.as_secs());
            vec![line(true, "", None, text)]
        }
        Event::TimerLate { instance, by } => {
            let text = format!(
                "({instance}) timer fired {} ms late: this process did not get the CPU in time",
                by.as_millis()
            );
            vec![line(true, instance, None, text)]
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::vrrp::event::Heard;
    use crate::vrrp::types::AdvertInterval;

    fn heard(priority: u8) -> Heard {
        Heard { address: [192, 0, 2, 2].into(), priority, interval: AdvertInterval::DEFAULT }
    }

    fn change(from: StateName, to: StateName, cause: Cause) -> Vec<String> {
        let event =
            Event::StateChanged { instance: "VI_1".to_owned(), from, to, priority: 100, cause, evidence: Vec::new() };
        lines(&event).into_iter().map(|l| l.text).collect()
    }

    #[test]
    fn state_changes_speak_as_keepalived_does() {
        use StateName::{Backup, Fault, Master};
        let zero = Duration::ZERO;
        let silent = Cause::MasterSilent { last_master: None, silence: zero, late: zero };
        assert_eq!(
            change(Backup, Master, silent),
            ["(VI_1) Receive advertisement timeout", "(VI_1) Entering MASTER STATE"]
        );
        let resigned = Cause::MasterResigned { master: heard(0), late: zero };
        assert_eq!(
            change(Backup, Master, resigned),
            [
                "(VI_1) Backup received priority 0 advertisement from 192.0.2.2",
                "(VI_1) Receive advertisement timeout",
                "(VI_1) Entering MASTER STATE"
            ]
        );
        assert_eq!(change(StateName::Init, Backup, Cause::Started), ["(VI_1) Entering BACKUP STATE (init)"]);
        assert_eq!(
            change(Master, Backup, Cause::BetterMaster { master: heard(150), ours: 100 }),
            [
                "(VI_1) Master received advert from 192.0.2.2 with higher priority 150, ours 100",
                "(VI_1) Entering BACKUP STATE"
            ]
        );
        assert_eq!(change(Master, StateName::Stop, Cause::Stopping), ["(VI_1) sent 0 priority"]);
        assert_eq!(change(Backup, StateName::Stop, Cause::Stopping), Vec::<String>::new());
        let fault = Cause::Fault { reasons: Default::default() };
        assert_eq!(change(Master, Fault, fault), ["(VI_1) Entering FAULT STATE", "(VI_1) sent 0 priority"]);
    }

    #[test]
    fn a_lower_advert_forces_an_election() {
        let event = Event::LowerPriorityAdvert {
            instance: "VI_1".to_owned(),
            peer: [192, 0, 2, 2].into(),
            priority: 50,
            ours: 100,
        };
        assert_eq!(
            lines(&event)[0].text,
            "(VI_1) Received advert from 192.0.2.2 with lower priority 50, ours 100, forcing new election"
        );
    }

    #[test]
    fn the_cause_is_a_field_of_its_own() {
        let event = Event::StateChanged {
            instance: "VI_1".to_owned(),
            from: StateName::Backup,
            to: StateName::Master,
            priority: 100,
            cause: Cause::AddressOwner,
            evidence: Vec::new(),
        };
        assert_eq!(lines(&event)[0].cause.as_deref(), Some("priority 255 owns the addresses"));
    }
}
