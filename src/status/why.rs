//! Why did it fail over? The last transitions of an instance, each with its cause and the evidence below it.
//!
//! Pure: plain values in, text out. A [`Record`] is what a daemon knows: the answer to `/v1/why`, the file of `why --export`,
//! and the files that main writes at transitions and crashes are all one. Two machines' records become one timeline in
//! [`merge`].

pub mod merge;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::byte_queue::ByteQueue;
use super::time::Time;
use crate::vrrp::blackbox::{AdvertLine, AdvertRecord, Note, Stamped};
use crate::vrrp::event::{Event, StateName};
use crate::vrrp::peers::PeerSnapshot;
use crate::vrrp::types::Family;

/// Of this and older formats records can be read.
pub const FORMAT: u32 = 1;
/// Transitions that a daemon remembers of all its instances.
pub const MOST_TRANSITIONS: usize = 2048;
/// Transitions of one instance that are shown.
pub const SHOWN: usize = 5;
/// What happened in so long a time before a transition is evidence.
const WINDOW: Duration = Duration::from_secs(15);
/// The record of a transition may be stamped so much earlier than what led to it.
const SLACK: Duration = Duration::from_millis(50);
/// Lines of evidence: adverts, and all else.
const MOST_ADVERTS: usize = 6;
const MOST_NOTES: usize = 10;

/// All that a daemon knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// [`FORMAT`].
    pub format: u32,
    /// The node's name: the host name.
    pub node: String,
    /// Which build wrote it.
    pub build: String,
    /// When it was made.
    pub at: Time,
    /// What for: a transition, a crash, somebody asked.
    pub occasion: String,
    /// The virtual routers, for telling whose adverts are whose.
    pub routers: Vec<Router>,
    /// Oldest first.
    pub transitions: Vec<Transition>,
    /// What was noted beside adverts, oldest first.
    pub notes: Vec<Stamped<Note>>,
    /// Adverts, oldest first.
    pub adverts: Vec<Stamped<AdvertRecord>>,
}

/// A virtual router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Router {
    /// The instance's name.
    pub name: String,
    /// VRID.
    pub vrid: u8,
    /// Family.
    pub family: Family,
    /// The kernel's number of its interface; 0: any, or there is none.
    pub interface: u32,
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// When.
    pub at: Time,
    /// Whose.
    pub instance: String,
    /// Before.
    pub from: StateName,
    /// After.
    pub to: StateName,
    /// Effective priority after.
    pub priority: u8,
    /// Why, in one sentence.
    pub cause: String,
    /// The peers at that moment, a sentence each.
    pub peers: Vec<String>,
}

/// The transitions that a daemon remembers, each with its time and encoded: they are many, and seldom read.
#[derive(Debug, Clone, Default)]
pub struct Transitions(ByteQueue);

impl Transitions {
    /// Notes an event; whether it is a change of state.
    pub fn note(&mut self, at: Time, event: &Event) -> bool {
        if !matches!(event, Event::StateChanged { .. }) {
            return false;
        }
        if self.0.len() >= MOST_TRANSITIONS {
            self.0.drop_front();
        }
        // It was encoded before: that is how it came here.
        if let Ok(bytes) = postcard::to_allocvec(&(at.0, event)) {
            self.0.push_back(&bytes);
        }
        true
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Transition> {
        self.0.iter().filter_map(|bytes| {
            let (at, event) = postcard::from_bytes(bytes).ok()?;
            let Event::StateChanged { instance, from, to, priority, cause, evidence } = event else { return None };
            let peers = evidence.iter().map(peer_sentence).collect();
            Some(Transition { at: Time(at), instance, from, to, priority, cause: cause.to_string(), peers })
        })
    }
}

/// A peer as evidence.
fn peer_sentence(peer: &PeerSnapshot) -> String {
    let mut text = format!("{} (priority {}", peer.address, peer.priority);
    if let Some(interval) = peer.interval {
        let _ = write!(text, ", every {interval}");
    }
    let _ = write!(text, ") was last heard {} ms before", peer.last_seen.as_millis());
    if !peer.late_last.is_empty() {
        // The order of time.
        let late: Vec<_> = peer.late_last.iter().rev().map(|late| late.as_millis().to_string()).collect();
        let _ = write!(text, "; its last adverts were {} ms late", late.join(", "));
    }
    if let Some(refusal) = peer.refusal.as_ref().filter(|_| peer.is_refused) {
        let _ = write!(text, "; refused: {refusal}");
    }
    text
}

/// What `holdfast why` can be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// Of one instance; all of them otherwise.
    pub instance: Option<String>,
    /// The latest so many transitions of each.
    pub most: usize,
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The node's name.
    pub node: String,
    /// When this was true.
    pub at: Time,
    /// By instance, the latest transition first.
    pub instances: BTreeMap<String, Vec<Explained>>,
}

/// A transition with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// What happened.
    #[serde(flatten)]
    pub transition: Transition,
    /// What was seen before it, oldest first.
    pub evidence: Vec<Line>,
}

/// A line of evidence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Time,
    /// What.
    pub text: String,
}

/// There is no such instance in a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing is known of a vrrp_instance {name}{}", list(.known))]
pub struct Unknown {
    /// What was asked for.
    pub name: String,
    /// Of which something is known.
    pub known: Vec<String>,
}

fn list(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; there are {}", names.join(", ")) }
}

impl Record {
    /// Finds the transitions that are asked for, with their evidence.
    ///
    /// # Errors
    /// There is no such instance.
    pub fn explain(&self, question: &Question) -> Result<Answer, Unknown> {
        let names = self.routers.iter().map(|router| &router.name);
        let mut instances: BTreeMap<String, Vec<Explained>> = names.map(|name| (name.clone(), Vec::new())).collect();
        for transition in &self.transitions {
            instances.entry(transition.instance.clone()).or_default();
        }
        if let Some(name) = &question.instance
            && !instances.contains_key(name)
        {
            return Err(Unknown { name: name.clone(), known: instances.into_keys().collect() });
        }
        instances.retain(|name, _| question.instance.as_ref().is_none_or(|asked| asked == name));
        for (name, explained) in &mut instances {
            let own: Vec<_> = self.transitions.iter().filter(|transition| transition.instance == *name).collect();
            for (n, transition) in own.iter().enumerate().rev().take(question.most) {
                let before = n.checked_sub(1).and_then(|n| own.get(n)).map(|before| before.at);
                let evidence = self.evidence(transition, before);
                explained.push(Explained { transition: (*transition).clone(), evidence });
            }
        }
        Ok(Answer { node: self.node.clone(), at: self.at, instances })
    }

    /// What was seen before a transition: since the one before it, and for a while at the most. What lies between two that
    /// follow each other at once may have led to either.
    fn evidence(&self, transition: &Transition, before: Option<Time>) -> Vec<Line> {
        let until = Time(transition.at.0 + SLACK);
        let since = before.map_or(Time::default(), |before| {
            let at_once = transition.at.0.saturating_sub(before.0) <= 2 * SLACK;
            Time(before.0 + if at_once { Duration::from_micros(1) } else { SLACK })
        });
        let from = transition.at.ago(WINDOW).max(since);
        let within = |at: Time| (from..=until).contains(&at);
        let router = self.routers.iter().find(|router| router.name == transition.instance);
        let adverts = self.adverts.iter().filter_map(|record| {
            let at = moment(record.at_us);
            (within(at) && is_of(router?, &record.what)).then(|| Line { at, text: advert_text(&record.what) })
        });
        let adverts: Vec<_> = adverts.collect();
        let notes = self.notes.iter().filter_map(|record| {
            let at = moment(record.at_us);
            (within(at) && is_about(&record.what, &transition.instance))
                .then(|| Line { at, text: note_text(&record.what) })
        });
        let notes: Vec<_> = notes.collect();
        let last =
            |lines: &[Line], most: usize| lines.get(lines.len().saturating_sub(most)..).unwrap_or_default().to_vec();
        let mut lines = last(&adverts, MOST_ADVERTS);
        lines.extend(last(&notes, MOST_NOTES));
        lines.sort();
        lines
    }
}

fn moment(at_us: u64) -> Time {
    Time(Duration::from_micros(at_us))
}

/// Whether an advert is one of this virtual router. Sums are everybody's.
fn is_of(router: &Router, advert: &AdvertRecord) -> bool {
    match advert {
        AdvertRecord::Sent(line) | AdvertRecord::Heard(line) | AdvertRecord::Refused(line) => {
            let there = router.interface == 0 || line.interface == 0 || router.interface == line.interface;
            (line.vrid, line.family) == (router.vrid, router.family) && there
        }
        AdvertRecord::More { .. } => false,
    }
}

/// Whether a note may have to do with an instance.
fn is_about(note: &Note, instance: &str) -> bool {
    match note {
        // Names are cut in the black box.
        Note::TimerLate { instance: other, .. } | Note::Said { instance: other, .. } => {
            other.is_empty() || instance.starts_with(other.as_str())
        }
        Note::Started { .. }
        | Note::Stall { .. }
        | Note::Tracker { .. }
        | Note::Link { .. }
        | Note::LinkGone { .. }
        | Note::AdvertsLost
        | Note::Command { .. } => true,
    }
}

/// An advert in words.
pub fn advert_text(advert: &AdvertRecord) -> String {
    let late = |line: &AdvertLine| {
        line.late_us.map_or_else(String::new, |us| format!(", {}.{} ms late", us / 1000, us % 1000 / 100))
    };
    match advert {
        AdvertRecord::Sent(line) => format!("advert sent, priority {}", line.priority),
        AdvertRecord::Heard(line) => format!("advert of {}, priority {}{}", line.source, line.priority, late(line)),
        AdvertRecord::Refused(line) => {
            format!("advert of {} refused, priority {}{}", line.source, line.priority, late(line))
        }
        AdvertRecord::More { sent, heard, refused, .. } => {
            format!("{sent} more adverts sent, {heard} heard, {refused} refused")
        }
    }
}

/// A note in words.
pub fn note_text(note: &Note) -> String {
    let ms = |us: &u64| us / 1000;
    match note {
        Note::Started { adopts: false } => "the vrrp process started".to_owned(),
        Note::Started { adopts: true } => "the vrrp process started in place of one that died".to_owned(),
        Note::Stall { late_us } => format!("the vrrp process was held up for {} ms", ms(late_us)),
        Note::TimerLate { instance, late_us } => format!("a timer of {instance} was {} ms late", ms(late_us)),
        Note::Tracker { tracker, status } => format!("{tracker} is {status}"),
        Note::Link { name, up: false, .. } => format!("interface {name} is down"),
        Note::Link { name, running: false, .. } => format!("interface {name} has no carrier"),
        Note::Link { name, .. } => format!("interface {name} is up"),
        Note::LinkGone { name } => format!("interface {name} is gone"),
        Note::AdvertsLost => "adverts came and found no room".to_owned(),
        Note::Command { what } => format!("command: {what}"),
        Note::Said { text, .. } => text.clone(),
    }
}

/// The answer for people.
pub fn render(answer: &Answer) -> String {
    let mut text = String::new();
    for (name, explained) in &answer.instances {
        let Some(latest) = explained.first() else {
            let _ = writeln!(text, "{name}: no change of state is remembered");
            continue;
        };
        let _ = writeln!(text, "{name} is {} on {}", latest.transition.to, answer.node);
        for Explained { transition, evidence } in explained {
            let Transition { at, from, to, priority, cause, peers, .. } = transition;
            let _ = writeln!(text, "\n  {at}  {from} → {to} (priority {priority})");
            let _ = writeln!(text, "    cause: {cause}");
            for peer in peers {
                let _ = writeln!(text, "    peer:  {peer}");
            }
            for Line { at: seen, text: what } in evidence {
                let before = at.since(*seen).as_millis();
                let _ = writeln!(text, "    {:>8} ms before: {what}", before);
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
