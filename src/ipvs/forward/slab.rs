//! Places for connections: a number for each, which epoll and the timer wheel carry, and a generation that tells a new
//! tenant from an old one.
//!
//! Pure. Places come in chunks; a chunk that has become empty is given back, so that memory follows the load. The
//! lowest free place is taken first: that is what makes the upper chunks empty out.

use std::collections::BTreeSet;

const CHUNK: usize = 256;
const FULL: usize = CHUNK;

/// Names a tenant for as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// Its place.
    pub index: u32,
    /// Never 0, below 2^31.
    pub generation: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Slab<T> {
    chunks: Vec<Option<Chunk<T>>>,
    /// Chunks with a free place, and those that are not there.
    open: BTreeSet<usize>,
    generation: u32,
    len: usize,
}

#[derive(Debug)]
struct Chunk<T> {
    slots: Box<[Slot<T>]>,
    /// Places that are free, as a list through `Slot::next`; [`FULL`] ends it.
    free: usize,
    used: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    next: u32,
    tenant: Option<T>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), open: BTreeSet::new(), generation: 0, len: 0 }
    }
}

impl<T> Slab<T> {
    /// How many tenants there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes a place. `None` when 2^31 are taken.
    pub fn insert(&mut self, tenant: T) -> Option<Tag> {
        let at = match self.open.first() {
            Some(at) => *at,
            None => {
                self.chunks.push(None);
                self.open.insert(self.chunks.len() - 1);
                self.chunks.len() - 1
            }
        };
        let chunk = self.chunks.get_mut(at)?.get_or_insert_with(Chunk::new);
        let place = chunk.free;
        let slot = chunk.slots.get_mut(place)?;
        let index = u32::try_from(at * CHUNK + place).ok().filter(|index| *index < 1 << 31)?;
        self.generation = if self.generation >= (1 << 31) - 1 { 1 } else { self.generation + 1 };
        chunk.free = slot.next as usize;
        *slot = Slot { generation: self.generation, next: 0, tenant: Some(tenant) };
        chunk.used += 1;
        if chunk.free == FULL {
            self.open.remove(&at);
        }
        self.len += 1;
        Some(Tag { index, generation: self.generation })
    }

    fn slot_mut(&mut self, tag: Tag) -> Option<&mut Slot<T>> {
        let index = tag.index as usize;
        let slot = self.chunks.get_mut(index / CHUNK)?.as_mut()?.slots.get_mut(index % CHUNK)?;
        (slot.generation == tag.generation).then_some(slot)
    }

    /// The tenant, if it is still there.
    pub fn get_mut(&mut self, tag: Tag) -> Option<&mut T> {
        self.slot_mut(tag)?.tenant.as_mut()
    }

    /// The tenant leaves.
    pub fn remove(&mut self, tag: Tag) -> Option<T> {
        let tenant = self.slot_mut(tag)?.tenant.take()?;
        let (at, place) = (tag.index as usize / CHUNK, tag.index as usize % CHUNK);
        let hole = self.chunks.get_mut(at)?;
        if let Some(chunk) = hole {
            if let Some(slot) = chunk.slots.get_mut(place) {
                slot.next = u32::try_from(chunk.free).unwrap_or(0);
            }
            chunk.free = place;
            chunk.used -= 1;
            // One empty chunk at the bottom stays for the next connection.
            if chunk.used == 0 && at > 0 {
                *hole = None;
            }
        }
        self.open.insert(at);
        self.len -= 1;
        Some(tenant)
    }

    /// All tenants.
    pub fn tags(&self) -> Vec<Tag> {
        let chunks = self.chunks.iter().enumerate().filter_map(|(at, chunk)| Some((at, chunk.as_ref()?)));
        let slots = chunks.flat_map(|(at, chunk)| (at * CHUNK..).zip(chunk.slots.iter()));
        let used = slots.filter(|(_, slot)| slot.tenant.is_some());
        used.map(|(index, slot)| Tag { index: u32::try_from(index).unwrap_or(0), generation: slot.generation })
            .collect()
    }
}

impl<T> Chunk<T> {
    fn new() -> Self {
        let slots = (1..=u32::try_from(FULL).unwrap_or(0)).map(|next| Slot { generation: 0, next, tenant: None });
        Self { slots: slots.collect(), free: 0, used: 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{CHUNK, Slab};

    #[test]
    fn an_old_tag_does_not_reach_the_new_tenant() {
        let mut slab = Slab::default();
        let old = slab.insert('a').unwrap();
        assert_eq!(slab.remove(old), Some('a'));
        let new = slab.insert('b').unwrap();
        assert_eq!(new.index, old.index);
        assert_eq!(slab.get_mut(old), None);
        assert_eq!(slab.remove(old), None);
        assert_eq!(slab.get_mut(new), Some(&mut 'b'));
    }

    #[test]
    fn chunks_are_given_back_and_generations_go_on() {
        let mut slab = Slab::default();
        let tags: Vec<_> = (0..10 * CHUNK).map(|number| slab.insert(number).unwrap()).collect();
        for tag in &tags[1..] {
            slab.remove(*tag);
        }
        assert_eq!(slab.chunks.iter().flatten().count(), 1);
        let again: Vec<_> = (0..5 * CHUNK).map(|number| slab.insert(number).unwrap()).collect();
        assert!(again.iter().all(|tag| !tags.contains(tag)));
        assert!(tags[1..].iter().all(|tag| slab.get_mut(*tag).is_none()));
    }

    proptest! {
        #[test]
        fn is_a_map(steps in proptest::collection::vec((any::<bool>(), 0..2000usize), 0..3000)) {
            let mut slab = Slab::default();
            let mut model = BTreeMap::new();
            for (number, (insert, which)) in steps.into_iter().enumerate() {
                if insert {
                    model.insert(slab.insert(number).unwrap(), number);
                } else if let Some(tag) = model.keys().nth(which % model.len().max(1)).copied() {
                    prop_assert_eq!(slab.remove(tag), model.remove(&tag));
                }
            }
            prop_assert_eq!(slab.len(), model.len());
            prop_assert_eq!(slab.tags(), model.keys().copied().collect::<Vec<_>>());
            for (tag, value) in model {
                prop_assert_eq!(slab.get_mut(tag).copied(), Some(value));
            }
        }
    }
}
