//! The records of several machines as one timeline.
//!
//! Pure. Their clocks differ. An advert that one sent and the other heard is at the same moment on both, as far as a LAN
//! goes: each pair of a sent and a heard advert that could be the same one is a vote for an offset, and the densest
//! cluster of votes is it. Adverts that come like clockwork vote for offsets whole intervals away too, but with fewer votes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::super::time::Time;
use super::{Record, advert_text, note_text};
use crate::vrrp::blackbox::AdvertRecord;
use crate::vrrp::types::Family;

/// Votes this close to each other are for the same offset, in microseconds.
const CLUSTER_US: i64 = 20_000;
/// Adverts of one virtual router and sender that are compared.
const MOST_COMPARED: usize = 256;
/// Adverts are shown when they are this close to a transition of anybody, in microseconds.
const NEAR_US: u64 = 5_000_000;

/// Several records as one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merged {
    /// The machines, the first of which has the clock of the timeline.
    pub nodes: Vec<NodeClock>,
    /// Oldest first.
    pub timeline: Vec<Entry>,
}

/// A machine and its clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeClock {
    /// Its name.
    pub node: String,
    /// How far its clock is ahead of the first one's, in microseconds.
    pub ahead_us: i64,
    /// The adverts that both saw and that say so; 0: the clocks could not be compared, and are taken as they are.
    pub adverts: usize,
    /// They differ by this much at the most, in microseconds.
    pub spread_us: i64,
}

/// A line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// By the first machine's clock.
    pub at: Time,
    /// Whose.
    pub node: String,
    /// What.
    pub text: String,
    /// It is a change of state.
    pub is_transition: bool,
}

/// One timeline of several records.
pub fn merge(records: &[Record]) -> Merged {
    let Some(first) = records.first() else { return Merged::default() };
    let mut merged = Merged::default();
    let names = node_names(records);
    let mut everything = Vec::new();
    for (record, name) in records.iter().zip(names) {
        let clock = if std::ptr::eq(record, first) {
            NodeClock { node: name.clone(), ahead_us: 0, adverts: 0, spread_us: 0 }
        } else {
            compare(first, record, &name)
        };
        everything.extend(entries(record, &name, clock.ahead_us));
        merged.nodes.push(clock);
    }
    let changes: Vec<u64> = everything.iter().filter(|(entry, _)| entry.is_transition).map(|(e, _)| us(e.at)).collect();
    let is_near = |at: u64| changes.iter().any(|change| change.abs_diff(at) <= NEAR_US);
    let shown = everything.into_iter().filter(|(entry, is_advert)| !is_advert || is_near(us(entry.at)));
    merged.timeline = shown.map(|(entry, _)| entry).collect();
    merged.timeline.sort();
    merged
}

/// The nodes' names, told apart.
fn node_names(records: &[Record]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut names = Vec::new();
    for record in records {
        let count = counts.entry(record.node.as_str()).or_default();
        *count += 1;
        names.push(if *count == 1 { record.node.clone() } else { format!("{}/{count}", record.node) });
    }
    names
}

fn us(at: Time) -> u64 {
    u64::try_from(at.0.as_micros()).unwrap_or(u64::MAX)
}

/// Everything in a record by the first one's clock, and whether it is an advert.
fn entries(record: &Record, node: &str, ahead_us: i64) -> Vec<(Entry, bool)> {
    let at = |at_us: u64| super::moment(at_us.saturating_add_signed(ahead_us.saturating_neg()));
    let entry = |at, text, is_transition| Entry { at, node: node.to_owned(), text, is_transition };
    let changes = record.transitions.iter().map(|change| {
        let text = format!("{}: {} → {}: {}", change.instance, change.from, change.to, change.cause);
        (entry(at(us(change.at)), text, true), false)
    });
    let notes = record.notes.iter().map(|note| (entry(at(note.at_us), note_text(&note.what), false), false));
    let adverts = record.adverts.iter().map(|advert| {
        let vrid = match &advert.what {
            AdvertRecord::Sent(line) | AdvertRecord::Heard(line) | AdvertRecord::Refused(line) => {
                format!("VRID {}: ", line.vrid)
            }
            AdvertRecord::More { .. } => String::new(),
        };
        (entry(at(advert.at_us), format!("{vrid}{}", advert_text(&advert.what)), false), true)
    });
    changes.chain(notes).chain(adverts).collect()
}

/// Which adverts may be the same one.
type Key = (Family, u8, IpAddr, u8);

fn times(record: &Record, sent: bool) -> BTreeMap<Key, Vec<i64>> {
    let mut times: BTreeMap<Key, Vec<i64>> = BTreeMap::new();
    for advert in &record.adverts {
        let line = match &advert.what {
            AdvertRecord::Sent(line) if sent => line,
            AdvertRecord::Heard(line) | AdvertRecord::Refused(line) if !sent => line,
            AdvertRecord::Sent(_) | AdvertRecord::Heard(_) | AdvertRecord::Refused(_) | AdvertRecord::More { .. } => {
                continue;
            }
        };
        let key = (line.family, line.vrid, line.source, line.priority);
        times.entry(key).or_default().push(i64::try_from(advert.at_us).unwrap_or(i64::MAX));
    }
    times
}

/// How far the clock of `other` is ahead.
fn compare(first: &Record, other: &Record, node: &str) -> NodeClock {
    let mut votes = differences(&times(first, true), &times(other, false));
    votes.extend(differences(&times(other, true), &times(first, false)).iter().map(|difference| -difference));
    votes.sort_unstable();
    let mut best: &[i64] = &[];
    let mut start = 0;
    for end in 1..=votes.len() {
        let latest = votes.get(end - 1).copied().unwrap_or(0);
        while votes.get(start).is_some_and(|earliest| latest - earliest > CLUSTER_US) {
            start += 1;
        }
        let cluster = votes.get(start..end).unwrap_or_default();
        let nearer = middle(cluster).abs() < middle(best).abs();
        if cluster.len() > best.len() || (cluster.len() == best.len() && nearer) {
            best = cluster;
        }
    }
    let spread_us = best.last().copied().unwrap_or(0) - best.first().copied().unwrap_or(0);
    NodeClock { node: node.to_owned(), ahead_us: middle(best), adverts: best.len(), spread_us }
}

fn middle(votes: &[i64]) -> i64 {
    votes.get(votes.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

/// Heard minus sent, of every pair that may be the same advert.
fn differences(sent: &BTreeMap<Key, Vec<i64>>, heard: &BTreeMap<Key, Vec<i64>>) -> Vec<i64> {
    let last = |times: &[i64]| times.get(times.len().saturating_sub(MOST_COMPARED)..).unwrap_or_default().to_vec();
    let mut all = Vec::new();
    for (key, sent) in sent {
        let Some(heard) = heard.get(key) else { continue };
        for sent in last(sent) {
            all.extend(last(heard).iter().map(|heard| heard - sent));
        }
    }
    all
}

/// The timeline for people.
pub fn render(merged: &Merged) -> String {
    let mut text = String::new();
    let Some((first, others)) = merged.nodes.split_first() else { return text };
    let _ = writeln!(text, "Times are those of {}.", first.node);
    for clock in others {
        let NodeClock { node, ahead_us, adverts, spread_us } = clock;
        if *adverts == 0 {
            let _ = writeln!(text, "{node}'s clock is taken as it is: there is no advert that both saw.");
            continue;
        }
        let word = if *ahead_us < 0 { "behind" } else { "ahead" };
        let ms = |us: i64| format!("{}.{}", us / 1000, us % 1000 / 100);
        let _ = writeln!(
            text,
            "{node}'s clock is {} ms {word}, by {adverts} adverts that both saw (they differ by {} ms).",
            ms(ahead_us.abs()),
            ms(*spread_us)
        );
    }
    let width = merged.nodes.iter().map(|clock| clock.node.chars().count()).max().unwrap_or(0);
    text.push('\n');
    for Entry { at, node, text: what, is_transition } in &merged.timeline {
        let mark = if *is_transition { '*' } else { ' ' };
        let _ = writeln!(text, "{at} {mark} {node:width$}  {what}");
    }
    text
}
