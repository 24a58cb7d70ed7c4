//! The flight recorder: when each master's next advert is due, kept where a `SIGKILL` of the vrrp process cannot reach.
//!
//! Shell. Main creates an anonymous file in memory and gives it to each vrrp process; neighbouring slots are written by
//! one `pwrite`. A process killed in the middle of it leaves a slot whose checksum is wrong, which is no record.
//!
//! ```text
//!  the file: | our heartbeat ns | main's heartbeat ns | black box | slot | slot | …    heartbeat: when the loop last turned
//!
//!  0      4          8             16         24              320
//!  | magic | name len | deadline ns | checksum | name, zeros … |    deadline: CLOCK_MONOTONIC, 0 = not master
//! ```
#![allow(clippy::disallowed_methods)] // Shell: relates the two readings of the monotonic clock, once.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::time::{ClockId, clock_gettime};

use super::blackbox;
use super::snapshot::FlightRecord;

/// Where main's heartbeat stands; ours is before it, the slots are behind it.
const MAINS_HEARTBEAT: u64 = 8;
/// The slots come behind the heartbeats and the black box.
const SLOTS: u64 = blackbox::END;
const SLOT: usize = 320;
const NAME: usize = 24;
const MAGIC: [u8; 4] = *b"HFR1";
/// More instances than this have no place on one host.
const MOST_SLOTS: usize = 1 << 16;

/// An empty recorder file, in memory, inherited by nobody unless passed on.
///
/// # Errors
/// No memory or descriptor.
pub fn create() -> io::Result<File> {
    Ok(File::from(memfd_create("holdfast-flight", MFdFlags::MFD_CLOEXEC)?))
}

/// All whole records of a file. Where an instance has two, the later slot.
pub fn read(file: &File, clock: MonotonicClock) -> Vec<FlightRecord> {
    slots(file).into_iter().flatten().map(|slot| record(slot, clock)).collect()
}

/// When the process that writes this file last turned its loop; `None` until it has.
pub fn last_heartbeat(file: &File, clock: MonotonicClock) -> Option<Instant> {
    read_heartbeat(file, clock, 0)
}

/// Says that main's loop turns.
///
/// # Errors
/// The file cannot be written.
pub fn beat_of_main(file: &File, now: Instant, clock: MonotonicClock) -> io::Result<()> {
    write_heartbeat(file, now, clock, MAINS_HEARTBEAT)
}

fn write_heartbeat(file: &File, now: Instant, clock: MonotonicClock, at: u64) -> io::Result<()> {
    let nanos = u64::try_from(clock.since_boot(now).as_nanos()).unwrap_or(0);
    file.write_all_at(&nanos.to_le_bytes(), at)
}

fn read_heartbeat(file: &File, clock: MonotonicClock, at: u64) -> Option<Instant> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, at).ok()?;
    let nanos = u64::from_le_bytes(bytes);
    if nanos == 0 { None } else { clock.instant(Duration::from_nanos(nanos)) }
}

/// Relates [`Instant`] to CLOCK_MONOTONIC, which is the same for all processes of a host.
#[derive(Debug, Clone, Copy)]
pub struct MonotonicClock {
    instant: Instant,
    monotonic: Duration,
}

impl MonotonicClock {
    /// Reads both, once.
    pub fn measure() -> Self {
        let instant = Instant::now();
        // This clock exists on every Linux; were it refused, all deadlines would look past, and nothing be adopted.
        let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::MAX / 4, Duration::from);
        Self { instant, monotonic }
    }

    /// An instant as time of CLOCK_MONOTONIC.
    pub fn since_boot(self, at: Instant) -> Duration {
        match at.checked_duration_since(self.instant) {
            Some(later) => self.monotonic.saturating_add(later),
            None => self.monotonic.saturating_sub(self.instant.saturating_duration_since(at)),
        }
    }

    /// A time of CLOCK_MONOTONIC as an instant; `None` when it cannot be said.
    pub fn instant(self, since_boot: Duration) -> Option<Instant> {
        match since_boot.checked_sub(self.monotonic) {
            Some(later) => self.instant.checked_add(later),
            None => self.instant.checked_sub(self.monotonic.saturating_sub(since_boot)),
        }
    }
}

/// Writes records.
#[derive(Debug)]
pub struct FlightRecorder {
    file: File,
    clock: MonotonicClock,
    slots: BTreeMap<Arc<str>, u64>,
    next: u64,
}

impl FlightRecorder {
    /// Goes on with a file. `keep`: the records in it stay until they are replaced; otherwise it is emptied.
    ///
    /// # Errors
    /// The file cannot be emptied.
    pub fn open(file: File, clock: MonotonicClock, keep: bool) -> io::Result<Self> {
        let mut recorder = Self { file, clock, slots: BTreeMap::new(), next: 0 };
        if keep {
            for (n, slot) in (0..).zip(slots(&recorder.file)) {
                if let Some(slot) = slot {
                    recorder.slots.insert(slot.name.into(), n);
                }
                recorder.next = n + 1;
            }
        } else {
            // The black box is what its name says.
            recorder.file.set_len(SLOTS)?;
        }
        // A predecessor's heartbeat is not ours.
        recorder.file.write_all_at(&[0; 8], 0)?;
        Ok(recorder)
    }

    /// Says that the loop turns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn beat(&self, now: Instant) -> io::Result<()> {
        write_heartbeat(&self.file, now, self.clock, 0)
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// When main last turned its loop; `None` until it has.
    pub fn last_beat_of_main(&self) -> Option<Instant> {
        read_heartbeat(&self.file, self.clock, MAINS_HEARTBEAT)
    }

    /// Writes these. An instance whose name does not fit has no record and is never adopted.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, records: &[FlightRecord]) -> io::Result<()> {
        let (mut first, mut run) = (0, Vec::new());
        for record in records {
            let deadline = record.next_advert_at.map_or(Duration::ZERO, |at| self.clock.since_boot(at));
            let Some(bytes) = encode(&record.instance, u64::try_from(deadline.as_nanos()).unwrap_or(0)) else {
                continue;
            };
            let slot = self.slot(&record.instance);
            if offset(first) + run.len() as u64 != offset(slot) {
                self.file.write_all_at(&run, offset(first))?;
                run.clear();
                first = slot;
            }
            run.extend_from_slice(&bytes);
        }
        self.file.write_all_at(&run, offset(first))
    }

    fn slot(&mut self, instance: &Arc<str>) -> u64 {
        if let Some(slot) = self.slots.get(instance) {
            return *slot;
        }
        let slot = self.next;
        self.next += 1;
        self.slots.insert(instance.clone(), slot);
        slot
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Slot {
    name: String,
    deadline: u64,
}

fn record(slot: Slot, clock: MonotonicClock) -> FlightRecord {
    let deadline = (slot.deadline != 0).then(|| Duration::from_nanos(slot.deadline));
    FlightRecord { instance: slot.name.into(), next_advert_at: deadline.and_then(|d| clock.instant(d)) }
}

fn slots(file: &File) -> Vec<Option<Slot>> {
    let mut slots = Vec::new();
    let mut bytes = [0; SLOT];
    while slots.len() < MOST_SLOTS && file.read_exact_at(&mut bytes, offset(slots.len() as u64)).is_ok() {
        slots.push(decode(&bytes));
    }
    slots
}

fn offset(slot: u64) -> u64 {
    SLOTS + slot * SLOT as u64
}

fn encode(name: &str, deadline: u64) -> Option<[u8; SLOT]> {
    let mut bytes = [0; SLOT];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..8].copy_from_slice(&u32::try_from(name.len()).ok()?.to_le_bytes());
    bytes[8..16].copy_from_slice(&deadline.to_le_bytes());
    bytes[NAME..].get_mut(..name.len())?.copy_from_slice(name.as_bytes());
    let sum = checksum(&bytes);
    bytes[16..NAME].copy_from_slice(&sum.to_le_bytes());
    Some(bytes)
}

fn decode(bytes: &[u8; SLOT]) -> Option<Slot> {
    let stored = u64::from_le_bytes(bytes.get(16..NAME)?.try_into().ok()?);
    if !bytes.starts_with(&MAGIC) || stored != checksum(bytes) {
        return None;
    }
    let length = usize::try_from(u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?)).ok()?;
    Some(Slot {
        name: String::from_utf8(bytes.get(NAME..)?.get(..length)?.to_vec()).ok()?,
        deadline: u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?),
    })
}

/// FNV-1a over everything but the checksum, by words: it is made with each advert.
fn checksum(bytes: &[u8; SLOT]) -> u64 {
    let (words, _) = bytes.as_chunks();
    let covered = words[..2].iter().chain(&words[NAME / 8..]);
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    covered.fold(0xcbf2_9ce4_8422_2325, |sum, bytes| (sum ^ word(bytes)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(instance: &str, at: Option<Instant>) -> FlightRecord {
        FlightRecord { instance: instance.into(), next_advert_at: at }
    }

    #[test]
    fn records_survive_their_writer() {
        let file = create().expect("memfd");
        let clock = MonotonicClock::measure();
        let at = Instant::now() + Duration::from_millis(700);
        let mut recorder = FlightRecorder::open(file.try_clone().expect("fd"), clock, false).expect("open");
        recorder.write(&[due("VI_1", None), due("VI_2", Some(at))]).expect("write");
        recorder.write(&[due("VI_1", Some(at))]).expect("write");
        let clock_now = MonotonicClock::measure();
        assert_eq!(last_heartbeat(&file, clock_now), None);
        recorder.beat(at).expect("write");
        let beat = last_heartbeat(&file, clock_now).expect("a heartbeat");
        assert!(beat.max(at) - beat.min(at) < Duration::from_millis(5));
        assert_eq!(recorder.last_beat_of_main(), None);
        beat_of_main(&file, at, clock).expect("write");
        assert_eq!(recorder.last_beat_of_main(), Some(at));
        assert_eq!(read(&file, clock_now).len(), 2);
        drop(recorder);

        let later = MonotonicClock::measure();
        let records = read(&file, later);
        assert_eq!(records.len(), 2, "{records:?}");
        for record in &records {
            let read = record.next_advert_at.expect("master");
            let off = read.max(at).duration_since(read.min(at));
            assert!(off < Duration::from_millis(5), "the two clocks were read {off:?} apart");
        }

        let mut recorder = FlightRecorder::open(file.try_clone().expect("fd"), clock, true).expect("open");
        recorder.write(&[due("VI_2", None), due("VI_3", Some(at))]).expect("write");
        let records = read(&file, later);
        let names: Vec<_> = records.iter().map(|r| (&*r.instance, r.next_advert_at.is_some())).collect();
        assert_eq!(names, [("VI_1", true), ("VI_2", false), ("VI_3", true)]);
        recorder.write(&[due("VI_1", None), due("VI_3", None), due("VI_2", Some(at))]).expect("write");
        let due: Vec<_> = read(&file, later).iter().map(|r| r.next_advert_at.is_some()).collect();
        assert_eq!(due, [false, true, false], "neighbours and others in one call");

        FlightRecorder::open(file.try_clone().expect("fd"), clock, false).expect("open");
        assert_eq!(read(&file, later), []);
    }

    #[test]
    fn a_torn_slot_is_no_record_and_hides_no_other() {
        let good = encode("VI_1", 5).expect("short");
        for torn in 0..SLOT {
            let mut bytes = good;
            bytes[torn] ^= 0x40;
            assert_eq!(decode(&bytes), None, "byte {torn}");
        }
        let file = create().expect("memfd");
        file.write_all_at(b"running 1 test\n", 0).expect("write");
        file.write_all_at(&good, offset(1)).expect("write");
        assert_eq!(slots(&file), [None, Some(Slot { name: "VI_1".to_owned(), deadline: 5 })]);
        file.set_len(offset(1) + 100).expect("truncate");
        assert_eq!(slots(&file), [None]);
    }

    #[test]
    fn a_name_that_does_not_fit_has_no_record() {
        assert!(encode(&"x".repeat(SLOT - NAME), 1).is_some());
        assert_eq!(encode(&"x".repeat(SLOT - NAME + 1), 1), None);
    }
}
