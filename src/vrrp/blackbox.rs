//! The black box: what the vrrp process lately heard, sent and was told, kept where a crash of it cannot reach.
//!
//! Shell: writes to the file of the flight recorder ([`super::flight`]), which main owns and reads. Two rings, so that the
//! adverts of a thousand instances never push out what is rare: single adverts up to a rate, and what is beyond it as
//! sums by the second; and notes. All records of a turn are written by one or two `pwrite`s at its end. A process that
//! is killed leaves a record whose checksum is wrong at the worst, which is no record.
//!
//! ```text
//!  the file: | heartbeats … 4096 | adverts, 1024 × 64 | notes, 512 × 128 | slots of the flight recorder …
//!
//!  a record: | number u64 | wall clock µs u64 | checksum u32 | payload (postcard) … zeros |    number 0: never written
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::engine::{AdvertVerdict, Received, Transmit};
use super::event::{Event, TrackerStatus};
use super::types::{Family, IfIndex, Link};

const ADVERTS: Place = Place { at: 4096, slot: 64, slots: 1024 };
const NOTES: Place = Place { at: 4096 + 64 * 1024, slot: 128, slots: 512 };
/// Where the rings end in the file.
pub const END: u64 = NOTES.at + 128 * 512;
/// Number, time, checksum.
const HEAD: usize = 20;
/// Adverts of one second that are kept one by one: a ring is a minute at the least.
const SINGLE_ADVERTS: u32 = 16;
/// The same for those that are news: refused, late, of a new master.
const SINGLE_NEWS: u32 = 32;
/// An advert this late is news.
const LATE: Duration = Duration::from_millis(100);
/// Longer names and sentences are cut.
const LONGEST_NAME: usize = 32;
const LONGEST_TEXT: usize = 66;

#[derive(Debug, Clone, Copy)]
struct Place {
    at: u64,
    slot: usize,
    slots: u64,
}

/// A record with its number and time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped<T> {
    /// Counts up within its ring.
    pub number: u64,
    /// CLOCK_REALTIME since the epoch, in microseconds.
    pub at_us: u64,
    /// What it says.
    pub what: T,
}

/// A record of the first ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdvertRecord {
    /// We sent one.
    Sent(AdvertLine),
    /// One came, and was heard.
    Heard(AdvertLine),
    /// One came, and was refused.
    Refused(AdvertLine),
    /// So many more in the second before, without a record of their own.
    More {
        /// Sent.
        sent: u32,
        /// Heard.
        heard: u32,
        /// Refused.
        refused: u32,
        /// The worst lateness of those, in microseconds.
        worst_late_us: u32,
    },
}

/// One advert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvertLine {
    /// The interface's number; 0: any.
    pub interface: u32,
    /// Of the virtual router.
    pub family: Family,
    /// Of the virtual router.
    pub vrid: u8,
    /// Its sender.
    pub source: IpAddr,
    /// On the wire.
    pub priority: u8,
    /// Lateness against the sender's interval, in microseconds.
    pub late_us: Option<u32>,
}

/// A record of the second ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The vrrp process began.
    Started {
        /// It replaces one that was killed.
        adopts: bool,
    },
    /// The loop was held up: it turned so much later than it meant to.
    Stall {
        /// By how much, in microseconds.
        late_us: u64,
    },
    /// A timer of an instance was late.
    TimerLate {
        /// The instance.
        instance: String,
        /// By how much, in microseconds.
        late_us: u64,
    },
    /// A tracker's new status.
    Tracker {
        /// Its kind and name.
        tracker: String,
        /// Its status.
        status: TrackerStatus,
    },
    /// A link's new state.
    Link {
        /// Its name.
        name: String,
        /// Administratively.
        up: bool,
        /// It has carrier.
        running: bool,
    },
    /// A link is gone.
    LinkGone {
        /// Its name.
        name: String,
    },
    /// Adverts came and found no room.
    AdvertsLost,
    /// Somebody told the process to do something.
    Command {
        /// What.
        what: String,
    },
    /// A word for people.
    Said {
        /// The instance, if it is about one.
        instance: String,
        /// The word.
        text: String,
    },
}

/// All that is in a black box, each ring in the order of its numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Adverts.
    pub adverts: Vec<Stamped<AdvertRecord>>,
    /// All else.
    pub notes: Vec<Stamped<Note>>,
}

/// Reads a black box, also while it is written.
pub fn read(file: &File) -> Recorded {
    Recorded { adverts: read_ring(file, ADVERTS), notes: read_ring(file, NOTES) }
}

/// Writes one.
#[derive(Debug)]
pub struct BlackBox {
    adverts: Ring,
    notes: Ring,
    at_us: u64,
    tally: Tally,
    links: BTreeMap<IfIndex, (Box<str>, bool, bool)>,
}

/// What came in the present second.
#[derive(Debug, Default)]
struct Tally {
    second: u64,
    singles: u32,
    news: u32,
    sent: u32,
    heard: u32,
    refused: u32,
    worst_late_us: u32,
}

impl BlackBox {
    /// Goes on with what a predecessor has left in the file.
    pub fn open(file: &File) -> Self {
        Self {
            adverts: Ring::open(file, ADVERTS),
            notes: Ring::open(file, NOTES),
            at_us: 0,
            tally: Tally::default(),
            links: BTreeMap::new(),
        }
    }

    /// A turn begins; `wall` is CLOCK_REALTIME since the epoch.
    pub fn begin_turn(&mut self, wall: Duration) {
        self.at_us = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        if self.at_us / 1_000_000 != self.tally.second {
            let tally =
                std::mem::replace(&mut self.tally, Tally { second: self.at_us / 1_000_000, ..Tally::default() });
            let Tally { sent, heard, refused, worst_late_us, .. } = tally;
            if sent + heard + refused > 0 {
                self.adverts.push(self.at_us, &AdvertRecord::More { sent, heard, refused, worst_late_us });
            }
        }
    }

    /// An advert of ours.
    pub fn sent(&mut self, transmit: &Transmit) {
        let socket = transmit.socket;
        let line = line(socket.interface, socket.family, transmit.source, &transmit.pdu, None);
        if self.takes_single(line.priority == 0) {
            self.adverts.push(self.at_us, &AdvertRecord::Sent(line));
        } else {
            self.tally.sent += 1;
        }
    }

    /// Somebody else's, and what became of it.
    pub fn received(&mut self, received: &Received<'_>, verdict: AdvertVerdict) {
        let late_us = verdict.late.map(|late| u32::try_from(late.as_micros()).unwrap_or(u32::MAX));
        let socket = received.socket;
        let line = line(socket.interface, socket.family, received.source, received.pdu, late_us);
        let is_late = verdict.late.is_some_and(|late| late >= LATE);
        if self.takes_single(verdict.is_news || is_late || verdict.refused.is_some()) {
            let record =
                if verdict.refused.is_some() { AdvertRecord::Refused(line) } else { AdvertRecord::Heard(line) };
            self.adverts.push(self.at_us, &record);
            return;
        }
        self.tally.worst_late_us = self.tally.worst_late_us.max(late_us.unwrap_or(0));
        match verdict.refused {
            Some(_) => self.tally.refused += 1,
            None => self.tally.heard += 1,
        }
    }

    /// Anything else.
    pub fn note(&mut self, note: &Note) {
        self.notes.push(self.at_us, note);
    }

    /// A link as it is now.
    pub fn link(&mut self, link: &Link) {
        let (up, running) = (link.up, link.running);
        let known = self.links.get(&link.index);
        if known.is_some_and(|known| (&*known.0, known.1, known.2) == (link.name.as_str(), up, running)) {
            return;
        }
        self.links.insert(link.index, (link.name.as_str().into(), up, running));
        self.note(&Note::Link { name: clip(&link.name, LONGEST_NAME), up, running });
    }

    /// A link is gone.
    pub fn link_gone(&mut self, index: IfIndex) {
        if let Some((name, ..)) = self.links.remove(&index) {
            self.note(&Note::LinkGone { name: clip(&name, LONGEST_NAME) });
        }
    }

    /// Something that the engine says. Changes of state are not kept here: main has them.
    pub fn event(&mut self, event: &Event) {
        let said = |instance: &str, text: &str| Note::Said {
            instance: clip(instance, LONGEST_NAME),
            text: clip(text, LONGEST_TEXT),
        };
        let note = match event {
            Event::TimerLate { instance, by } => Note::TimerLate {
                instance: clip(instance, LONGEST_NAME),
                late_us: u64::try_from(by.as_micros()).unwrap_or(u64::MAX),
            },
            Event::Warning { instance, message } | Event::AddressFailed { instance, message } => {
                said(instance, message)
            }
            Event::DualMaster { instance, reason, .. } => said(instance, &format!("dual master: {reason}")),
            Event::DualMasterEnded { instance, end, .. } => said(instance, &format!("dual master ended: {end}")),
            Event::AdvertFlawed { instance, peer, error, .. } => {
                said(instance.as_deref().unwrap_or_default(), &format!("advert from {peer}: {error}"))
            }
            Event::MainSilent { .. } => said("", "main is silent"),
            Event::MainBack { .. } => said("", "main is back"),
            Event::VridTaken { instance, vrid, peer, .. } => {
                said(instance, &format!("VRID {vrid} is spoken by {peer}"))
            }
            Event::StateChanged { .. }
            | Event::GroupChanged { .. }
            | Event::Renamed { .. }
            | Event::PriorityChanged { .. }
            | Event::LowerPriorityAdvert { .. } => return,
        };
        self.note(&note);
    }

    /// Writes what the turn brought.
    ///
    /// # Errors
    /// The file cannot be written. What was not is lost.
    pub fn flush(&mut self, file: &File) -> io::Result<()> {
        self.notes.flush(file)?;
        self.adverts.flush(file)
    }

    fn takes_single(&mut self, is_news: bool) -> bool {
        let (count, most) =
            if is_news { (&mut self.tally.news, SINGLE_NEWS) } else { (&mut self.tally.singles, SINGLE_ADVERTS) };
        *count = count.saturating_add(1);
        *count <= most
    }
}

/// A tracker's status as a note.
pub fn tracker_note(key: &super::config::TrackerKey, status: TrackerStatus) -> Note {
    Note::Tracker { tracker: clip(&key.to_string(), LONGEST_TEXT), status }
}

/// A command as a note.
pub fn command_note(what: &str) -> Note {
    Note::Command { what: clip(what, LONGEST_TEXT) }
}

fn line(interface: Option<IfIndex>, family: Family, source: IpAddr, pdu: &[u8], late_us: Option<u32>) -> AdvertLine {
    let byte = |n: usize| pdu.get(n).copied().unwrap_or(0);
    let interface = interface.map_or(0, |index| index.0);
    AdvertLine { interface, family, vrid: byte(1), source, priority: byte(2), late_us }
}

/// As many bytes of a text as may stay, in whole characters.
fn clip(text: &str, most: usize) -> String {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

#[derive(Debug)]
struct Ring {
    place: Place,
    /// The number of the next record; the first is 1.
    next: u64,
    /// Whole slots that wait to be written, ending before `next`.
    waiting: Vec<u8>,
}

impl Ring {
    fn open(file: &File, place: Place) -> Self {
        let numbers = slots(file, place).into_iter().map(|(number, ..)| number);
        Self { place, next: numbers.max().unwrap_or(0) + 1, waiting: Vec::new() }
    }

    fn push(&mut self, at_us: u64, what: &impl Serialize) {
        let mut bytes = vec![0; self.place.slot];
        bytes[..8].copy_from_slice(&self.next.to_le_bytes());
        bytes[8..16].copy_from_slice(&at_us.to_le_bytes());
        // Names and texts are cut so that each fits; one that does not is left out.
        if postcard::to_slice(what, &mut bytes[HEAD..]).is_err() {
            return;
        }
        let sum = checksum(&bytes);
        bytes[16..HEAD].copy_from_slice(&sum.to_le_bytes());
        self.waiting.extend_from_slice(&bytes);
        self.next += 1;
    }

    fn flush(&mut self, file: &File) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        let Place { at, slot, slots } = self.place;
        let count = waiting.len() / slot;
        // Of more than the ring holds the latest count.
        let keep = count.min(usize::try_from(slots).unwrap_or(usize::MAX));
        let records = waiting.get((count - keep) * slot..).unwrap_or_default();
        let first = (self.next - keep as u64) % slots;
        let until_end = usize::try_from(slots - first).unwrap_or(0).saturating_mul(slot).min(records.len());
        let (head, tail) = records.split_at(until_end);
        file.write_all_at(head, at + first * slot as u64)?;
        file.write_all_at(tail, at)
    }
}

/// The whole records of a ring: number, time, payload; in no order.
fn slots(file: &File, place: Place) -> Vec<(u64, u64, Vec<u8>)> {
    let size = place.slot * usize::try_from(place.slots).unwrap_or(0);
    let mut bytes = vec![0; size];
    // Behind the end of the file nothing was written yet, which is what zeros say.
    let mut read = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, place.at + read as u64) {
            Ok(0) | Err(_) => break,
            Ok(n) => read += n,
        }
    }
    bytes.chunks_exact(place.slot).filter_map(whole).collect()
}

fn whole(slot: &[u8]) -> Option<(u64, u64, Vec<u8>)> {
    let number = u64::from_le_bytes(slot.get(..8)?.try_into().ok()?);
    let at_us = u64::from_le_bytes(slot.get(8..16)?.try_into().ok()?);
    let sum = u32::from_le_bytes(slot.get(16..HEAD)?.try_into().ok()?);
    (number > 0 && sum == checksum(slot)).then(|| (number, at_us, slot.get(HEAD..).unwrap_or_default().to_vec()))
}

fn read_ring<T: DeserializeOwned>(file: &File, place: Place) -> Vec<Stamped<T>> {
    let mut records: Vec<_> = slots(file, place)
        .into_iter()
        .filter_map(|(number, at_us, payload)| {
            let (what, _) = postcard::take_from_bytes(&payload).ok()?;
            Some(Stamped { number, at_us, what })
        })
        .collect();
    records.sort_by_key(|record| record.number);
    records
}

/// FNV-1a over everything but the checksum.
fn checksum(slot: &[u8]) -> u32 {
    let covered = slot.iter().take(16).chain(slot.iter().skip(HEAD));
    covered.fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests;
