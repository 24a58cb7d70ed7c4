//! The simulated segments: what arrives where, when, and how often.
//!
//! Pure. Nodes are hosts by number; the client of each segment has the number after the last host's.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::random::Random;

/// A broadcast segment.
pub type Segment = usize;
/// A host, or the client of a segment.
pub type Node = usize;

/// All segments.
#[derive(Debug)]
pub struct Network {
    /// Packets lost, in percent.
    pub loss: u64,
    /// Resignations are lost, and nothing else.
    pub swallows_goodbyes: bool,
    /// Packets that arrive twice, in percent.
    pub duplicate: u64,
    /// The longest way. Each packet goes its own time, so that a later one may overtake.
    pub latency: Duration,
    /// Who cannot be heard by whom: one way only, unless the reverse is here too.
    pub blocked: BTreeSet<(Segment, Node, Node)>,
    /// Links without carrier.
    pub down: BTreeSet<(Segment, Node)>,
    healthy_latency: Duration,
}

impl Network {
    /// A network without faults.
    pub fn new(latency: Duration) -> Self {
        Self {
            loss: 0,
            swallows_goodbyes: false,
            duplicate: 0,
            latency,
            blocked: BTreeSet::new(),
            down: BTreeSet::new(),
            healthy_latency: latency,
        }
    }

    /// Ends all faults.
    pub fn heal(&mut self) {
        *self = Self::new(self.healthy_latency);
    }

    /// Whether nothing is wrong with a segment just now.
    pub fn is_clean(&self, segment: Segment) -> bool {
        self.loss == 0
            && !self.swallows_goodbyes
            && self.latency == self.healthy_latency
            && !self.blocked.iter().any(|(s, _, _)| *s == segment)
            && !self.down.iter().any(|(s, _)| *s == segment)
    }

    /// How long each copy of a packet travels; none if it is lost.
    pub fn route(&self, random: &mut Random, segment: Segment, from: Node, to: Node) -> Vec<Duration> {
        let cut = self.down.contains(&(segment, from))
            || self.down.contains(&(segment, to))
            || self.blocked.contains(&(segment, from, to));
        if cut || random.chance(self.loss) {
            return Vec::new();
        }
        let copies = if random.chance(self.duplicate) { 2 } else { 1 };
        (0..copies).map(|_| random.duration(self.latency / 10, self.latency)).collect()
    }
}
