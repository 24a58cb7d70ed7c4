//! Deadlines of many connections, cheaply: a wheel of slots, each a list of those to look at when its time comes.
//!
//! Pure: time is passed in, as milliseconds since the forwarder's start. An entry is 8 bytes and is never moved when
//! its connection is busy: whoever is woken looks at what its deadline is by now, and enters itself again.

use super::slab::Tag;

/// Milliseconds of one slot.
pub const TICK: u64 = 64;
const SLOTS: usize = 1024;

/// See the module.
#[derive(Debug)]
pub struct Wheel {
    slots: Vec<Vec<Tag>>,
    /// One bit for each slot that is not empty.
    filled: [u64; SLOTS / 64],
    /// The last tick that was handed out.
    tick: u64,
}

impl Default for Wheel {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), filled: [0; SLOTS / 64], tick: 0 }
    }
}

impl Wheel {
    /// Wakes `tag` at `deadline` or up to a tick later; sooner when that is beyond the wheel. Answers the tick: an entry
    /// whose connection has another tick by now is void.
    pub fn insert(&mut self, tag: Tag, deadline: u64) -> u64 {
        let tick = deadline.div_ceil(TICK).clamp(self.tick + 1, self.tick + SLOTS as u64 - 1);
        let at = slot_of(tick);
        if let (Some(slot), Some(word)) = (self.slots.get_mut(at), self.filled.get_mut(at / 64)) {
            slot.push(tag);
            *word |= 1 << (at % 64);
        }
        tick
    }

    /// Moves on to `now` and hands out who is due, each with its tick.
    pub fn advance(&mut self, now: u64, due: &mut Vec<(Tag, u64)>) {
        let until = now / TICK;
        while let Some(tick) = self.next_filled().filter(|tick| *tick <= until) {
            self.tick = tick;
            let at = slot_of(tick);
            if let (Some(slot), Some(word)) = (self.slots.get_mut(at), self.filled.get_mut(at / 64)) {
                due.extend(slot.drain(..).map(|tag| (tag, tick)));
                // The memory of a rush.
                if slot.capacity() > 64 {
                    *slot = Vec::new();
                }
                *word &= !(1 << (at % 64));
            }
        }
        self.tick = self.tick.max(until);
    }

    /// When somebody is due next.
    pub fn next_deadline(&self) -> Option<u64> {
        self.next_filled().map(|tick| tick * TICK)
    }

    fn next_filled(&self) -> Option<u64> {
        let start = slot_of(self.tick + 1);
        // The rest of the first word, the other words, and the first word again.
        for step in 0..=self.filled.len() {
            let at = (start / 64 + step) % self.filled.len();
            let mut word = *self.filled.get(at)?;
            if step == 0 {
                word &= u64::MAX << (start % 64);
            }
            if word != 0 {
                let slot = at * 64 + word.trailing_zeros() as usize;
                let distance = (slot + SLOTS - start) % SLOTS;
                return Some(self.tick + 1 + distance as u64);
            }
        }
        None
    }
}

fn slot_of(tick: u64) -> usize {
    usize::try_from(tick % SLOTS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{SLOTS, TICK, Wheel};
    use crate::ipvs::forward::slab::Tag;

    proptest! {
        #[test]
        fn everybody_is_woken_once_and_not_late(
            steps in proptest::collection::vec((0..200_000u64, 0..40_000u64), 1..100)
        ) {
            let mut wheel = Wheel::default();
            let mut waiting = Vec::new();
            let mut now = 0;
            for (number, (delay, pass)) in (1..).zip(steps) {
                let tag = Tag { index: number, generation: 1 };
                waiting.push((tag, wheel.insert(tag, now + delay), now + delay));
                let earliest = waiting.iter().map(|(_, tick, _)| *tick * TICK).min();
                prop_assert_eq!(wheel.next_deadline(), earliest);
                now += pass;
                let mut due = Vec::new();
                wheel.advance(now, &mut due);
                for (tag, tick) in due {
                    let at = waiting.iter().position(|entry| (entry.0, entry.1) == (tag, tick));
                    prop_assert!(at.is_some(), "woken twice");
                    let (_, _, deadline) = waiting.remove(at.unwrap());
                    let far = deadline >= TICK * (SLOTS as u64 - 2);
                    prop_assert!(now >= deadline || far, "too early");
                }
                for (_, _, deadline) in &waiting {
                    prop_assert!(now < *deadline + 2 * TICK, "forgotten");
                }
            }
        }
    }
}
