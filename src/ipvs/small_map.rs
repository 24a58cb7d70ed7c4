//! A map of few entries: a sorted vector, as large as what is in it.
//!
//! Pure. A `BTreeMap` has room for eleven entries from the first one on, and most services have two or three real
//! servers: of ten thousand services that room is most of the memory. It costs to insert in the middle, so this is not
//! for maps that grow one by one to thousands; they are made of an iterator at once.

use std::fmt;
use std::ops::Index;

use serde::{Deserialize, Serialize};

/// See the module. Iterates in the order of its keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(K, V)>")]
#[serde(bound(deserialize = "K: Ord + Deserialize<'de>, V: Deserialize<'de>"))]
pub struct SmallMap<K, V>(Vec<(K, V)>);

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SmallMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K, V> SmallMap<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All entries.
    pub fn iter(&self) -> Iter<'_, K, V> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// All keys.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// All values.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// All values, to change them.
    pub fn values_mut(&mut self) -> impl ExactSizeIterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// Leaves those of which this is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.0.retain(|(key, value)| keep(key, value));
    }
}

impl<K: Ord, V> SmallMap<K, V> {
    fn place(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(key))
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let place = self.place(key).ok()?;
        self.0.get(place).map(|(_, value)| value)
    }

    /// The value of a key, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.place(key).ok()?;
        self.0.get_mut(place).map(|(_, value)| value)
    }

    /// Whether a key has a value.
    pub fn contains_key(&self, key: &K) -> bool {
        self.place(key).is_ok()
    }

    /// Sets the value of a key, and answers the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(place) => self.0.get_mut(place).map(|(_, old)| std::mem::replace(old, value)),
            Err(place) => {
                // Doubling would begin with room for four.
                if self.0.len() < 4 {
                    self.0.reserve_exact(1);
                }
                self.0.insert(place, (key, value));
                None
            }
        }
    }

    /// Removes a key, and answers its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.place(key).ok()?;
        Some(self.0.remove(place).1)
    }
}

/// Of [`SmallMap::iter`].
pub type Iter<'a, K, V> = std::iter::Map<std::slice::Iter<'a, (K, V)>, fn(&'a (K, V)) -> (&'a K, &'a V)>;

impl<'a, K, V> IntoIterator for &'a SmallMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<K, V> IntoIterator for SmallMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<K: Ord, V> From<Vec<(K, V)>> for SmallMap<K, V> {
    /// Of several entries with one key the last one counts.
    fn from(mut entries: Vec<(K, V)>) -> Self {
        if !entries.is_sorted_by(|(a, _), (b, _)| a < b) {
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            // Of two equal ones the first is left out: what is kept is in the earlier place.
            entries.dedup_by(|later, earlier| {
                let same = later.0 == earlier.0;
                if same {
                    std::mem::swap(later, earlier);
                }
                same
            });
        }
        entries.shrink_to_fit();
        Self(entries)
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for SmallMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        entries.into_iter().collect::<Vec<_>>().into()
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for SmallMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: Ord, V> Index<&K> for SmallMap<K, V> {
    type Output = V;

    /// # Panics
    /// The key has no value.
    fn index(&self, key: &K) -> &V {
        self.get(key).expect("the key has a value")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::SmallMap;

    proptest! {
        #[test]
        fn is_a_map(steps in proptest::collection::vec((0..3u8, 0..9u8, any::<u16>()), 0..40)) {
            let mut map = SmallMap::default();
            let mut model = BTreeMap::new();
            for (what, key, value) in steps {
                match what {
                    0 => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    1 => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    _ => {
                        let changed = map.get_mut(&key).map(|old| *old = value);
                        prop_assert_eq!(changed, model.get_mut(&key).map(|old| *old = value));
                    }
                }
                prop_assert!(map.iter().eq(model.iter()));
                prop_assert_eq!(map.get(&key), model.get(&key));
                prop_assert_eq!((map.len(), map.contains_key(&key)), (model.len(), model.contains_key(&key)));
            }
        }

        #[test]
        fn is_made_of_entries_in_any_order(entries in proptest::collection::vec((0..9u8, any::<u16>()), 0..20)) {
            let model: BTreeMap<u8, u16> = entries.iter().copied().collect();
            let map: SmallMap<u8, u16> = entries.into_iter().collect();
            prop_assert!(map.iter().eq(model.iter()));
            let frame = postcard::to_allocvec(&map).expect("plain values");
            prop_assert_eq!(postcard::from_bytes::<SmallMap<u8, u16>>(&frame).expect("its own"), map);
        }
    }
}
