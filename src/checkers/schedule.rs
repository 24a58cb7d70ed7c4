//! When which check runs: first runs spread out, then each on its own beat.
//!
//! Pure: time and randomness are passed in.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A check, for as long as it is in the list.
pub type CheckKey = u64;

/// Checks start at whole multiples of this after the start: ten thousand checks wake the process fifty times a second
/// rather than thousands of times, and answers come in batches too.
pub const SLOT: Duration = Duration::from_millis(20);

/// No first probe is earlier.
const FIRST_RUN: Duration = Duration::from_secs(1);

/// What is due when, the earliest first.
#[derive(Debug, Default)]
pub struct Deadlines {
    by_time: BTreeSet<(Instant, CheckKey)>,
}

impl Deadlines {
    /// Moves a check from one time to another; `None` is never.
    pub fn set(&mut self, key: CheckKey, from: &mut Option<Instant>, to: Option<Instant>) {
        if let Some(old) = from.take() {
            self.by_time.remove(&(old, key));
        }
        if let Some(new) = to {
            self.by_time.insert((new, key));
        }
        *from = to;
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The earliest that is due by now.
    pub fn due(&self, now: Instant) -> Option<CheckKey> {
        self.by_time.first().filter(|(at, _)| *at <= now).map(|(_, key)| *key)
    }
}

/// The time of the first probe: after one second and a random part of `warmup`.
pub fn first_run(epoch: Instant, now: Instant, warmup: Duration, random: u64) -> Instant {
    let part = u32::try_from(random >> 32).unwrap_or(u32::MAX);
    let delay = warmup.mul_f64(f64::from(part) / (f64::from(u32::MAX) + 1.0));
    in_slot(epoch, now + FIRST_RUN + delay)
}

/// The time of the probe after one that was due at `due`. The beat goes on from when it was due, not from when it ran:
/// checks that were all late once do not stay together. A beat that is over is left out.
pub fn next_run(epoch: Instant, due: Instant, interval: Duration, now: Instant) -> Instant {
    let next = due + interval;
    if next >= now {
        return in_slot(epoch, next);
    }
    let behind = (now - next).as_nanos();
    let beat = interval.max(SLOT).as_nanos();
    let missed = behind.div_ceil(beat);
    // At most one beat after now, so it fits.
    let ahead = u64::try_from(missed * beat - behind).unwrap_or(0);
    in_slot(epoch, now + Duration::from_nanos(ahead))
}

/// The first slot that is not before `at`.
fn in_slot(epoch: Instant, at: Instant) -> Instant {
    let since = at.saturating_duration_since(epoch).as_nanos();
    let over = since % SLOT.as_nanos();
    if over == 0 { at } else { at + (SLOT - Duration::from_nanos(u64::try_from(over).unwrap_or(0))) }
}

/// A small generator for spreading checks out (SplitMix64); nothing secret depends on it.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests;
