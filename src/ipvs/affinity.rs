//! Persistence: a client that came back within the timeout goes to the destination that it had (`persistence_timeout`,
//! `persistence_granularity`).
//!
//! Pure: time is passed in. The table knows clients and destinations and not the view that is in force: whoever asks
//! checks that the destination is still there, and binds the client anew when it is not. So affinity survives every
//! change of weights and destinations and every reload that keeps the service.
//!
//! As in the kernel, a client stays bound to a destination whose weight has become 0 or that is overloaded: a drained
//! server keeps its clients until their time is over. A binding does not end while one of its connections goes on.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// Entries looked at by one call: no call is long.
const BUDGET: usize = 16;
/// How soon a binding that is only held by its connections is looked at again.
const HELD_CHECK: Duration = Duration::from_secs(60);

/// Which client has which destination.
#[derive(Debug)]
pub struct AffinityTable<D> {
    bindings: BTreeMap<IpAddr, Binding<D>>,
    /// Every client once, with the time to look at it again, soonest first as long as the timeout is one.
    queue: VecDeque<(IpAddr, Duration)>,
    limit: usize,
}

#[derive(Debug)]
struct Binding<D> {
    destination: D,
    until: Duration,
    /// Connections of the client that are open.
    held: u32,
}

impl<D> Binding<D> {
    fn alive(&self, now: Duration) -> bool {
        self.held > 0 || now < self.until
    }
}

impl<D> AffinityTable<D> {
    /// An empty table that never has more than `limit` clients.
    pub fn new(limit: usize) -> Self {
        Self { bindings: BTreeMap::new(), queue: VecDeque::new(), limit: limit.max(1) }
    }

    /// Clients in the table, also those whose time is over and that were not looked at since.
    pub fn len(&self) -> usize {
        self.bindings.len()
    }

    /// Whether nobody is in the table.
    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }

    /// Where this client belongs.
    pub fn find(&self, client: IpAddr, now: Duration) -> Option<&D> {
        self.bindings.get(&client).filter(|binding| binding.alive(now)).map(|binding| &binding.destination)
    }

    /// The client has a new connection to this destination, which holds the binding until [`Self::release`]; its time
    /// begins anew. `false` when the table is full of clients with open connections: this one is not remembered.
    pub fn bind(&mut self, client: IpAddr, destination: D, now: Duration, timeout: Duration) -> bool {
        self.expire(now);
        let until = now.saturating_add(timeout);
        if let Some(binding) = self.bindings.get_mut(&client) {
            binding.destination = destination;
            binding.until = until;
            binding.held = binding.held.saturating_add(1);
            return true;
        }
        if self.bindings.len() >= self.limit && !self.evict() {
            return false;
        }
        self.bindings.insert(client, Binding { destination, until, held: 1 });
        self.queue.push_back((client, until));
        true
    }

    /// A connection that was bound has ended.
    pub fn release(&mut self, client: IpAddr, now: Duration) {
        if let Some(binding) = self.bindings.get_mut(&client) {
            binding.held = binding.held.saturating_sub(1);
        }
        self.expire(now);
    }

    /// Forgets clients whose time is over, a few with each call. To be called now and then also when nothing happens.
    /// Answers whether there may be more.
    pub fn expire(&mut self, now: Duration) -> bool {
        for _ in 0..BUDGET {
            match self.queue.front() {
                Some((_, due)) if *due <= now => {}
                _ => return false,
            }
            let Some((client, _)) = self.queue.pop_front() else { return false };
            match self.bindings.get(&client) {
                Some(binding) if binding.alive(now) => {
                    let again = if binding.until > now { binding.until } else { now.saturating_add(HELD_CHECK) };
                    self.queue.push_back((client, again));
                }
                Some(_) => _ = self.bindings.remove(&client),
                None => {}
            }
        }
        self.give_back();
        true
    }

    /// Makes room for one: the client that came first and has no connection goes.
    fn evict(&mut self) -> bool {
        for _ in 0..BUDGET {
            let Some((client, due)) = self.queue.pop_front() else { return false };
            match self.bindings.get(&client) {
                Some(binding) if binding.held > 0 => self.queue.push_back((client, due)),
                Some(_) => return self.bindings.remove(&client).is_some(),
                None => {}
            }
        }
        false
    }

    /// The memory of a rush of clients that has passed.
    fn give_back(&mut self) {
        if self.queue.capacity() > 1024 && self.queue.len() < self.queue.capacity() / 4 {
            self.queue.shrink_to(self.queue.len() * 2);
        }
    }
}

/// The client's address without the bits beyond `granularity`, a prefix length of its own family: all that agree are
/// one client.
pub fn masked(address: IpAddr, granularity: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(u32::from(granularity))).unwrap_or(0);
            IpAddr::V4((u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(u32::from(granularity))).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests;
