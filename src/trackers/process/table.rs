//! Which processes are counted, and which must be looked at again.
//!
//! Pure. The kernel's news and the looks into /proc race with each other: so news never say what a process is, only
//! that it must be looked at. A process with news that come while a look is under way is looked at once more. What a
//! table says is therefore true as soon as the looks have caught up with the news.

use std::collections::{BTreeMap, BTreeSet};

use super::connector::News;

/// More processes than this with news are one look at all of them.
const MOST_TOUCHED: usize = 8192;

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All processes.
    All,
    /// These.
    These(BTreeSet<u32>),
}

/// The processes that trackers mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// By process, the trackers that mean it.
    matched: BTreeMap<u32, BTreeSet<usize>>,
    /// News came after the last look began.
    touched: BTreeSet<u32>,
    /// All of them are touched.
    all: bool,
    /// What is being looked at.
    looking: Option<Scope>,
}

impl Table {
    /// Something happened to a process.
    pub fn on_news(&mut self, news: &News) {
        match *news {
            // A child is what its parent is, until it runs something else.
            News::Forked { parent, child } if self.concerns(parent) => self.touch(child),
            News::Executed { process } => self.touch(process),
            News::Renamed { process } => self.touch(process),
            News::Exited { process } if self.concerns(process) => self.touch(process),
            News::Forked { .. } | News::Exited { .. } | News::Subscribed | News::Refused => {}
        }
    }

    /// It must be looked at.
    pub fn touch(&mut self, process: u32) {
        if self.touched.len() < MOST_TOUCHED {
            self.touched.insert(process);
        } else {
            self.touch_all();
            self.touched.clear();
        }
    }

    /// Everything must be looked at.
    pub fn touch_all(&mut self) {
        self.all = true;
    }

    /// Whether everything waits to be looked at.
    pub fn wants_all(&self) -> bool {
        self.all
    }

    fn concerns(&self, process: u32) -> bool {
        self.matched.contains_key(&process)
            || self.touched.contains(&process)
            || match &self.looking {
                None => false,
                Some(Scope::All) => true,
                Some(Scope::These(these)) => these.contains(&process),
            }
    }

    /// What to look at now; at everything only if that `may` be. One look at a time: [`Self::end_look`] or
    /// [`Self::give_up_look`] allows the next.
    pub fn begin_look(&mut self, may_be_all: bool) -> Option<Scope> {
        if self.looking.is_some() {
            return None;
        }
        let touched = std::mem::take(&mut self.touched);
        let scope = if self.all && may_be_all {
            self.all = false;
            Scope::All
        } else if touched.is_empty() {
            return None;
        } else {
            Scope::These(touched)
        };
        self.looking = Some(scope.clone());
        Some(scope)
    }

    /// What the look found: processes and the trackers that mean each.
    pub fn end_look(&mut self, found: BTreeMap<u32, BTreeSet<usize>>) {
        match self.looking.take() {
            None => return,
            Some(Scope::All) => self.matched.clear(),
            Some(Scope::These(these)) => self.matched.retain(|process, _| !these.contains(process)),
        }
        self.matched.extend(found.into_iter().filter(|(_, trackers)| !trackers.is_empty()));
    }

    /// The look came to nothing.
    pub fn give_up_look(&mut self) {
        self.looking = None;
    }

    /// How many processes each of `trackers` trackers means.
    pub fn counts(&self, trackers: usize) -> Vec<u32> {
        let mut counts = vec![0; trackers];
        for tracker in self.matched.values().flatten() {
            if let Some(count) = counts.get_mut(*tracker) {
                *count += 1;
            }
        }
        counts
    }

    /// The processes that some tracker means.
    pub fn processes(&self) -> impl Iterator<Item = u32> {
        self.matched.keys().copied()
    }

    /// Whether some tracker means this process.
    pub fn contains(&self, process: u32) -> bool {
        self.matched.contains_key(&process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(processes: &[(u32, &[usize])]) -> BTreeMap<u32, BTreeSet<usize>> {
        processes.iter().map(|(pid, trackers)| (*pid, trackers.iter().copied().collect())).collect()
    }

    fn these(processes: &[u32]) -> Option<Scope> {
        Some(Scope::These(processes.iter().copied().collect()))
    }

    /// Process 10 is meant by tracker 0, process 20 by both.
    fn table() -> Table {
        let mut table = Table::default();
        table.touch_all();
        assert_eq!(table.begin_look(true), Some(Scope::All));
        table.end_look(found(&[(10, &[0]), (20, &[0, 1]), (30, &[])]));
        assert_eq!(table.counts(2), [2, 1]);
        table
    }

    #[test]
    fn news_and_what_they_touch() {
        for (news, want) in [
            (News::Forked { parent: 10, child: 11 }, these(&[11])),
            (News::Forked { parent: 30, child: 31 }, None),
            (News::Executed { process: 30 }, these(&[30])),
            (News::Renamed { process: 30 }, these(&[30])),
            (News::Exited { process: 20 }, these(&[20])),
            (News::Exited { process: 30 }, None),
            (News::Subscribed, None),
            (News::Refused, None),
        ] {
            let mut table = table();
            table.on_news(&news);
            assert_eq!(table.begin_look(true), want, "{news:?}");
        }
    }

    #[test]
    fn a_look_replaces_what_it_looked_at() {
        let mut table = table();
        table.on_news(&News::Exited { process: 20 });
        table.on_news(&News::Executed { process: 40 });
        assert_eq!(table.begin_look(true), these(&[20, 40]));
        table.end_look(found(&[(40, &[1])]));
        assert_eq!(table.processes().collect::<Vec<_>>(), [10, 40]);
        assert_eq!(table.counts(2), [1, 1]);
        assert_eq!(table.begin_look(true), None);
    }

    #[test]
    fn news_during_a_look_are_looked_at_after_it() {
        let mut table = table();
        table.on_news(&News::Executed { process: 40 });
        assert_eq!(table.begin_look(true), these(&[40]));
        // 40 may be one of ours: nobody knows yet, so neither its children nor its end may be missed.
        table.on_news(&News::Forked { parent: 40, child: 41 });
        table.on_news(&News::Forked { parent: 41, child: 42 });
        table.on_news(&News::Exited { process: 40 });
        assert_eq!(table.begin_look(true), None, "one at a time");
        table.end_look(found(&[(40, &[0])]));
        assert_eq!(table.begin_look(true), these(&[40, 41, 42]));

        table.give_up_look();
        table.touch_all();
        table.begin_look(true);
        table.on_news(&News::Exited { process: 77 });
        table.end_look(found(&[(77, &[0])]));
        assert_eq!(table.begin_look(true), these(&[77]));
    }

    #[test]
    fn a_flood_becomes_one_look_at_all() {
        let mut table = table();
        for process in 1000..2000 + u32::try_from(MOST_TOUCHED).unwrap() {
            table.on_news(&News::Executed { process });
        }
        assert_eq!(table.begin_look(true), Some(Scope::All));
        table.end_look(found(&[]));
        assert!(table.touched.len() < MOST_TOUCHED);
        assert_eq!(table.counts(1), [0]);
    }

    #[test]
    fn deaths_need_not_wait_for_a_look_at_everything() {
        let mut table = table();
        table.touch_all();
        assert_eq!(table.begin_look(false), None);
        table.on_news(&News::Exited { process: 10 });
        assert_eq!(table.begin_look(false), these(&[10]));
        table.end_look(found(&[]));
        assert!(table.wants_all());
        assert_eq!(table.begin_look(true), Some(Scope::All));
        assert!(!table.wants_all());
    }
}
