//! What happened: a bounded ring of events, each with a sequence number and the time.
//!
//! Pure: time is passed in. Main puts in what its children say and what it does itself; `/v1/events` and `why` read it.
//! The oldest event goes when there is no more room, and whoever asks for it learns how many are gone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::byte_queue::ByteQueue;
use super::model::{self, Cause};
use super::time::Time;
use crate::ipvs::event::Event as BalancerEvent;
use crate::vrrp::event::Event as VrrpEvent;

/// Events that are kept.
pub const CAPACITY: usize = 4096;

/// The events since the daemon started, as far as there is room.
#[derive(Debug, Clone)]
pub struct History {
    /// Each with its time, encoded: thousands of them are held for ever and read now and then.
    events: ByteQueue,
    /// By sequence number, what main itself did or saw: kind and sentence. It is little.
    mains: BTreeMap<u64, (&'static str, String)>,
    capacity: usize,
    last: u64,
}

/// What is encoded of an event.
#[derive(Serialize, Deserialize)]
enum Kept {
    Vrrp(VrrpEvent),
    Balancer(BalancerEvent),
    Main,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Counted from 1, without gaps.
    pub sequence: u64,
    /// When it happened.
    pub at: Time,
    /// What.
    pub what: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// The vrrp process said so.
    Vrrp(VrrpEvent),
    /// The balancer process said so.
    Balancer(BalancerEvent),
    /// Main itself did or saw something.
    Main {
        /// For programs: `started`, `reload`, `child_died`, `command`, `maintenance`, `events_lost`, `stopping`.
        kind: &'static str,
        /// One sentence.
        text: String,
    },
}

impl Default for History {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl History {
    /// An empty one with room for so many.
    pub fn new(capacity: usize) -> Self {
        Self { events: ByteQueue::default(), mains: BTreeMap::new(), capacity: capacity.max(1), last: 0 }
    }

    /// Notes an event; its sequence number.
    pub fn push(&mut self, at: Time, what: Happening) -> u64 {
        if self.events.len() >= self.capacity {
            self.mains.remove(&self.first());
            self.events.drop_front();
        }
        self.last += 1;
        let kept = match what {
            Happening::Vrrp(event) => Kept::Vrrp(event),
            Happening::Balancer(event) => Kept::Balancer(event),
            Happening::Main { kind, text } => {
                self.mains.insert(self.last, (kind, text));
                Kept::Main
            }
        };
        // It was encoded before: that is how it came here.
        self.events.push_back(&postcard::to_allocvec(&(at.0, kept)).unwrap_or_default());
        self.last
    }

    /// The sequence number of the last event; 0 before the first.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// All that are kept, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Entry> {
        self.after(0)
    }

    /// Those after a sequence number, oldest first.
    pub fn after(&self, sequence: u64) -> impl Iterator<Item = Entry> {
        let first = self.first();
        let skip = usize::try_from(sequence.saturating_add(1).saturating_sub(first)).unwrap_or(usize::MAX);
        let numbered = (first..).zip(self.events.iter()).skip(skip);
        numbered.filter_map(|(sequence, bytes)| {
            let (at, kept) = postcard::from_bytes(bytes).ok()?;
            let what = match kept {
                Kept::Vrrp(event) => Happening::Vrrp(event),
                Kept::Balancer(event) => Happening::Balancer(event),
                Kept::Main => {
                    let (kind, text) = self.mains.get(&sequence)?.clone();
                    Happening::Main { kind, text }
                }
            };
            Some(Entry { sequence, at: Time(at), what })
        })
    }

    /// The sequence number of the oldest that is kept: there are no gaps.
    fn first(&self) -> u64 {
        let kept = u64::try_from(self.events.len()).unwrap_or(u64::MAX);
        self.last.saturating_sub(kept) + 1
    }

    /// How many events after a sequence number are no longer kept.
    pub fn lost_after(&self, sequence: u64) -> u64 {
        self.first().saturating_sub(sequence.saturating_add(1))
    }
}

impl Entry {
    /// As it is shown.
    pub fn show(&self) -> model::Event {
        let shown = match &self.what {
            Happening::Vrrp(event) => of_vrrp(event),
            Happening::Balancer(event) => of_balancer(event),
            Happening::Main { kind, text } => event("main", kind, None, text.clone()),
        };
        model::Event { sequence: self.sequence, at: self.at, ..shown }
    }
}

fn event(process: &str, kind: &str, subject: Option<&str>, text: String) -> model::Event {
    model::Event {
        process: process.to_owned(),
        kind: kind.to_owned(),
        subject: subject.map(str::to_owned),
        text,
        ..model::Event::default()
    }
}

fn changed(shown: model::Event, from: impl ToString, to: impl ToString, cause: Cause) -> model::Event {
    model::Event { from: Some(from.to_string()), to: Some(to.to_string()), cause: Some(cause), ..shown }
}

fn of_vrrp(happened: &VrrpEvent) -> model::Event {
    use VrrpEvent as E;
    let vrrp = |kind: &str, subject: &str, text: String| event("vrrp", kind, Some(subject), text);
    match happened {
        E::StateChanged { instance, from, to, priority, cause, .. } => {
            let text = format!("{instance}: {from} → {to}: {cause}");
            let mut shown = changed(vrrp("state_changed", instance, text), from, to, cause.into());
            shown.details.insert("priority".to_owned(), priority.to_string());
            shown
        }
        E::DualMaster { instance, peer, reason, lasted, .. } => {
            let who = peer.map_or_else(|| "another router".to_owned(), |peer| peer.to_string());
            let text = format!("{instance}: {who} is master too, for {} ms: {reason}", lasted.as_millis());
            vrrp("dual_master", instance, text)
        }
        E::DualMasterEnded { instance, peer, lasted, end } => {
            let who = peer.map_or_else(|| "the other router".to_owned(), |peer| peer.to_string());
            let text = format!("{instance}: no second master any more after {} ms ({who}): {end}", lasted.as_millis());
            vrrp("dual_master_ended", instance, text)
        }
        E::VridTaken { instance, vrid, peer, addresses, free } => {
            let theirs: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let free = free.map(|free| format!("; VRID {free} is free")).unwrap_or_default();
            let text = format!("{instance}: {peer} uses VRID {vrid} for other addresses ({}){free}", theirs.join(", "));
            vrrp("vrid_taken", instance, text)
        }
        E::Renamed { instance, was, state } => vrrp("renamed", instance, format!("{was} is {instance} now ({state})")),
        E::GroupChanged { group, to, cause } => {
            let shown = vrrp("group_changed", group, format!("sync group {group}: {to}: {cause}"));
            model::Event { to: Some(to.to_string()), cause: Some(cause.into()), ..shown }
        }
        E::PriorityChanged { instance, from, to, cause, .. } => {
            let text = format!("{instance}: priority {from} → {to}: {cause}");
            changed(vrrp("priority_changed", instance, text), from, to, cause.into())
        }
        E::LowerPriorityAdvert { instance, peer, priority, ours } => {
            let text = format!("{instance}: {peer} advertises with priority {priority}, lower than ours, {ours}");
            vrrp("lower_priority_advert", instance, text)
        }
        E::AdvertFlawed { instance, peer, error, heard } => {
            let what = if *heard { "heard in spite of" } else { "refused" };
            let whose = instance.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
            let text = format!("{whose}advert of {peer} {what}: {error}");
            event("vrrp", "advert_flawed", instance.as_deref(), text)
        }
        E::AddressFailed { instance, message } => vrrp("address_failed", instance, format!("{instance}: {message}")),
        E::TimerLate { instance, by } => {
            vrrp("timer_late", instance, format!("{instance}: our timer was {} ms late", by.as_millis()))
        }
        E::MainSilent { silence } => event(
            "vrrp",
            "main_silent",
            None,
            format!("the main process has been silent for {} ms", silence.as_millis()),
        ),
        E::MainBack { silence } => {
            event("vrrp", "main_back", None, format!("the main process is back after {} ms", silence.as_millis()))
        }
        E::Warning { instance, message } => vrrp("warning", instance, format!("{instance}: {message}")),
    }
}

fn of_balancer(happened: &BalancerEvent) -> model::Event {
    use BalancerEvent as E;
    let up_or_down = |up: bool| if up { "UP" } else { "DOWN" };
    let balancer = |kind: &str, subject: String, text: String| event("balancer", kind, Some(&subject), text);
    match happened {
        E::RealServer { virtual_server, real_server, up, cause, .. } => {
            let to = up_or_down(*up);
            let text = format!("real server {real_server} of {virtual_server} {to}: {cause}");
            let mut shown = balancer("real_server", virtual_server.to_string(), text);
            shown.details.insert("real_server".to_owned(), real_server.address.to_string());
            changed(shown, up_or_down(!*up), to, cause.into())
        }
        E::Checker { virtual_server, real_server, kind, up, reason, .. } => {
            let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let verdict = if *up { "succeeds" } else { "fails" };
            let text = format!("{kind} check of {real_server} of {virtual_server} {verdict}{why}");
            let mut shown = balancer("check", virtual_server.to_string(), text);
            shown.details.insert("real_server".to_owned(), real_server.address.to_string());
            model::Event { to: Some(up_or_down(*up).to_owned()), ..shown }
        }
        E::Quorum { virtual_server, up, phrase, quorum, hysteresis, weight, cause } => {
            let text = format!("{virtual_server}: {phrase} ({quorum}+{hysteresis}, live weight {weight}): {cause}");
            changed(
                balancer("quorum", virtual_server.to_string(), text),
                up_or_down(!*up),
                up_or_down(*up),
                cause.into(),
            )
        }
        E::SorryServer { virtual_server, sorry_server, serving } => {
            let verb = if *serving { "serves" } else { "rests" };
            balancer(
                "sorry_server",
                virtual_server.to_string(),
                format!("sorry server {sorry_server} of {virtual_server} {verb}"),
            )
        }
        E::Weight { virtual_server, real_server, from, to, cause, .. } => {
            let text = format!("weight of {real_server} of {virtual_server} {from} → {to}: {cause}");
            changed(balancer("weight", virtual_server.to_string(), text), from, to, cause.into())
        }
        E::Admin { virtual_server, real_server, from, to } => {
            let text = format!("an operator said {to} of {real_server} of {virtual_server} (before: {from})");
            let mut shown = balancer("admin", virtual_server.to_string(), text);
            shown.details.insert("real_server".to_owned(), real_server.address.to_string());
            model::Event { from: Some(from.to_string()), to: Some(to.to_string()), ..shown }
        }
        E::Panic { virtual_server, begins, alive, of } => {
            let verb = if *begins { "suspects itself" } else { "trusts its checks again" };
            balancer(
                "panic",
                virtual_server.to_string(),
                format!("{virtual_server} {verb}: {alive} of {of} real servers seem alive"),
            )
        }
        E::Active { virtual_server, instance, active } => {
            let verb = if *active { "begins to serve" } else { "ends to serve" };
            balancer("active", virtual_server.to_string(), format!("{virtual_server} {verb}, following {instance}"))
        }
        E::Checks { virtual_server, paused } => {
            let verb = if *paused { "rest" } else { "go on" };
            balancer("checks", virtual_server.to_string(), format!("the checks of {virtual_server} {verb}"))
        }
        E::Warning { virtual_server, message } => {
            let subject = virtual_server.as_ref().map(ToString::to_string);
            event("balancer", "warning", subject.as_deref(), message.clone())
        }
        E::Note { message } => event("balancer", "note", None, message.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::vrrp::event::{Cause as VrrpCause, StateName};

    fn main(text: &str) -> Happening {
        Happening::Main { kind: "command", text: text.to_owned() }
    }

    #[test]
    fn the_oldest_go_and_are_counted() {
        let mut history = History::new(3);
        assert_eq!((history.last(), history.lost_after(0), history.after(0).count()), (0, 0, 0));
        for n in 1..=5 {
            assert_eq!(history.push(Time(Duration::from_secs(n)), main("x")), n);
        }
        let after = |sequence| history.after(sequence).map(|entry| entry.sequence).collect::<Vec<_>>();
        assert_eq!(after(0), [3, 4, 5]);
        assert_eq!(after(2), [3, 4, 5]);
        assert_eq!(after(4), [5]);
        assert_eq!(after(5), [] as [u64; 0]);
        assert_eq!(after(99), [] as [u64; 0]);
        let lost = |sequence| history.lost_after(sequence);
        assert_eq!((lost(0), lost(1), lost(2), lost(3), lost(99), lost(u64::MAX)), (2, 1, 0, 0, 0, 0));
    }

    #[test]
    fn a_state_change_is_shown_with_its_cause() {
        let mut history = History::default();
        let event = VrrpEvent::StateChanged {
            instance: "VI_1".to_owned(),
            from: StateName::Backup,
            to: StateName::Master,
            priority: 100,
            cause: VrrpCause::Failover,
            evidence: Vec::new(),
        };
        history.push(Time::default(), Happening::Vrrp(event));
        let shown = history.iter().next().map(|entry| entry.show()).expect("one");
        assert_eq!(shown.text, "VI_1: BACKUP → MASTER: told to hand over");
        assert_eq!((shown.sequence, &*shown.kind, &*shown.process), (1, "state_changed", "vrrp"));
        assert_eq!((shown.from.as_deref(), shown.to.as_deref()), (Some("BACKUP"), Some("MASTER")));
        assert_eq!(shown.cause.map(|cause| cause.kind).as_deref(), Some("failover"));
        assert_eq!(shown.details.get("priority").map(String::as_str), Some("100"));
    }
}
