//! How a busy thread goes about its work: whether it lets data of large streams gather, and whether it lets others finish
//! theirs before it runs when it is woken.
//!
//! Pure: time, and what the scheduler has counted, are passed in.

/// A portion of at least this much came so fast that as much comes again while the thread naps.
const LARGE: usize = 128 << 10;
/// Milliseconds since anybody else was served, so that nobody else waits, but for the first after such a pause.
const ALONE: u64 = 10;
/// Milliseconds between two looks at what the scheduler has counted.
const PERIOD: u64 = 20;
/// Nanoseconds that a turn may have been waited for, on average: more, and others run on for long.
const LONG_WAIT: u64 = 1_000_000;
/// Milliseconds until it is tried again after that: twice as many each time, half as many after each look in between at
/// which all was well.
const RETREAT: std::ops::RangeInclusive<u64> = 100..=5000;

/// Whether to nap before waiting. A thread that carries nothing but large streams lets data gather, as network cards hold
/// back their interrupts: each wake-up costs as much as a packet does, its own and that of whoever sends and receives.
#[derive(Debug, Default)]
pub struct Gathering {
    /// A large portion was moved since the thread last waited.
    large: bool,
    /// When something that is no large stream last moved.
    others_at: u64,
}

impl Gathering {
    /// So many bytes of a large stream were moved at once.
    pub fn moved(&mut self, bytes: usize) {
        self.large |= bytes >= LARGE;
    }

    /// Somebody else was served.
    pub fn other(&mut self, now: u64) {
        self.others_at = now;
    }

    /// Whether to nap now: after a large portion, with nothing left to do (`idle`), and nobody else to serve. Once for
    /// each portion.
    pub fn naps(&mut self, now: u64, idle: bool) -> bool {
        let alone = now.saturating_sub(self.others_at) >= ALONE;
        idle && std::mem::take(&mut self.large) && alone
    }
}

/// What the scheduler has counted of a thread (`/proc/thread-self/schedstat`), times in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// How long it ran.
    pub ran: u64,
    /// How long it could have run, and others did.
    pub waited: u64,
    /// How often it was its turn.
    pub turns: u64,
}

impl Counted {
    /// Reads the file's line.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_ascii_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self { ran: next()?, waited: next()?, turns: next()? })
    }

    fn since(self, former: Self) -> Self {
        Self {
            ran: self.ran.saturating_sub(former.ran),
            waited: self.waited.saturating_sub(former.waited),
            turns: self.turns.saturating_sub(former.turns),
        }
    }
}

/// Whether the thread is to be patient: woken, it interrupts nobody (`SCHED_BATCH`). Senders and receivers on the same
/// processor then finish what they are at, and the thread finds more to do at once. Only for a busy thread: the others
/// would answer later and win nothing. Not beside programs that never stop computing, because it would wait for those
/// too; only trying tells whether there are any.
#[derive(Debug, Default)]
pub struct Patience {
    on: bool,
    looked_at: u64,
    seen: Counted,
    /// Until then others have run for long.
    not_before: u64,
    retreat: u64,
}

impl Patience {
    /// Whether it is time to look.
    pub fn is_due(&self, now: u64) -> bool {
        now >= self.looked_at + PERIOD
    }

    /// Takes what was counted by now, and answers what is to change.
    pub fn look(&mut self, now: u64, counted: Counted) -> Option<bool> {
        let passed = now.saturating_sub(self.looked_at).saturating_mul(1_000_000);
        let new = counted.since(self.seen);
        (self.looked_at, self.seen) = (now, counted);
        // Not back and forth for a little more or less.
        let busy = new.ran >= passed / if self.on { 16 } else { 8 };
        if self.on && new.waited > new.turns.saturating_mul(LONG_WAIT) {
            self.retreat = (self.retreat * 2).clamp(*RETREAT.start(), *RETREAT.end());
            self.not_before = now + self.retreat;
        } else if self.on {
            self.retreat /= 2;
        }
        let on = busy && now >= self.not_before;
        let changed = on != self.on;
        self.on = on;
        changed.then_some(on)
    }
}

#[cfg(test)]
mod tests {
    use super::{ALONE, Counted, Gathering, LARGE, LONG_WAIT, PERIOD, Patience};

    #[test]
    fn only_large_streams_alone_are_left_to_gather() {
        let after = |bytes: usize, others_at: u64| {
            let mut gathering = Gathering::default();
            gathering.other(others_at);
            gathering.moved(bytes);
            gathering.moved(1);
            gathering
        };
        let mut alone = after(LARGE, 1000 - ALONE);
        assert!(!alone.naps(1000, false), "there is more to do");
        assert!(alone.naps(1000, true), "when that is done, the portion still counts");
        assert!(!alone.naps(1000, true), "once for each portion");
        assert!(!after(LARGE - 1, 0).naps(1000, true), "no large portion: the next event is waited for");
        assert!(!after(LARGE, 1000 - ALONE + 1).naps(1000, true), "somebody else may ask again soon");
    }

    #[test]
    fn the_line_of_the_kernel() {
        assert_eq!(Counted::parse("12 34 5\n"), Some(Counted { ran: 12, waited: 34, turns: 5 }));
        for text in ["", "1 2", "1 2 x", "-1 2 3"] {
            assert_eq!(Counted::parse(text), None, "{text:?}");
        }
    }

    /// A thread that runs for this part of the time, and waits so long for each of its turns.
    struct Story {
        now: u64,
        counted: Counted,
        patience: Patience,
    }

    impl Story {
        fn look(&mut self, passed: u64, percent: u64, wait: u64) -> Option<bool> {
            self.now += passed;
            self.counted.ran += passed * percent * 10_000;
            self.counted.turns += 10;
            self.counted.waited += 10 * wait;
            assert!(self.patience.is_due(self.now));
            self.patience.look(self.now, self.counted)
        }
    }

    #[test]
    fn a_busy_thread_is_patient_and_an_idle_one_is_not() {
        let mut story = Story { now: 0, counted: Counted::default(), patience: Patience::default() };
        assert_eq!(story.look(PERIOD, 12, 0), None);
        assert_eq!(story.look(PERIOD, 13, 0), Some(true));
        assert!(!story.patience.is_due(story.now + PERIOD - 1));
        assert_eq!(story.look(PERIOD, 7, 0), None, "a little less");
        assert_eq!(story.look(PERIOD, 6, 0), Some(false));
        assert_eq!(story.look(PERIOD, 99, 0), Some(true));
        assert_eq!(story.look(5000, 1, 0), Some(false), "it was woken after a while");
    }

    #[test]
    fn nobody_is_patient_with_those_who_never_stop() {
        let mut story = Story { now: 0, counted: Counted::default(), patience: Patience::default() };
        assert_eq!(story.look(PERIOD, 50, 4 * LONG_WAIT), Some(true), "that was before, and says nothing");
        assert_eq!(story.look(PERIOD, 50, LONG_WAIT), None);
        // Looks until it is tried again.
        let retreat = |story: &mut Story| {
            assert_eq!(story.look(PERIOD, 50, LONG_WAIT + 1), Some(false));
            (1..).find(|_| story.look(PERIOD, 50, 4 * LONG_WAIT) == Some(true)).unwrap() * PERIOD
        };
        let times: Vec<u64> = (0..8).map(|_| retreat(&mut story)).collect();
        assert_eq!(times, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(story.look(PERIOD, 50, 0), None, "perhaps they have gone");
        assert_eq!(story.look(PERIOD, 50, 0), None);
        assert_eq!(retreat(&mut story), 2500);
    }
}
