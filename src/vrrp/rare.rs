//! Settings and records that nearly every virtual router leaves as they are by default: a thousand of them take no room.
//!
//! Pure.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a value of this type nearly always is.
pub trait Usual: Clone + PartialEq + 'static {
    /// That value.
    const USUAL: &'static Self;
}

/// A value that takes no room of its own while nobody has made it another than the usual one.
#[derive(Clone)]
pub struct Rare<T>(Option<Box<T>>);

impl<T> Rare<T> {
    /// The value, if it ever was another than the usual one.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }
}

impl<T> Default for Rare<T> {
    /// The usual one.
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Usual> From<T> for Rare<T> {
    fn from(value: T) -> Self {
        Self((value != *T::USUAL).then(|| Box::new(value)))
    }
}

impl<T: Usual> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::USUAL)
    }
}

impl<T: Usual> DerefMut for Rare<T> {
    /// Makes room for another value.
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(T::USUAL.clone()))
    }
}

impl<T: Usual> PartialEq for Rare<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Usual + Eq> Eq for Rare<T> {}

impl<T: Usual + fmt::Debug> fmt::Debug for Rare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Usual + Serialize> Serialize for Rare<T> {
    /// People are shown the value, usual or not.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { (**self).serialize(serializer) } else { self.0.serialize(serializer) }
    }
}

impl<'de, T: Usual + Deserialize<'de>> Deserialize<'de> for Rare<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return T::deserialize(deserializer).map(Self::from);
        }
        Option::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    struct Delay {
        seconds: u8,
    }

    impl Usual for Delay {
        const USUAL: &'static Self = &Self { seconds: 5 };
    }

    #[test]
    fn the_usual_value_takes_no_room_and_any_other_is_kept() {
        let usual = Rare::from(Delay { seconds: 5 });
        assert!(usual.0.is_none());
        let mut one = usual.clone();
        assert!(one.get_mut().is_none());
        assert_eq!(one.seconds, 5);
        one.seconds = 6;
        assert_eq!((one.seconds, usual.seconds), (6, 5));
        assert_ne!(one, usual);
        assert!(one.get_mut().is_some());
        for value in [&one, &usual] {
            let bytes = postcard::to_allocvec(value).expect("it can be written");
            assert_eq!(postcard::from_bytes::<Rare<Delay>>(&bytes).expect("and read"), *value);
            let text = serde_json::to_string(value).expect("it can be shown");
            assert_eq!(text, format!("{{\"seconds\":{}}}", value.seconds));
            assert_eq!(serde_json::from_str::<Rare<Delay>>(&text).expect("and read"), *value);
        }
        one.seconds = 5;
        assert_eq!(one, usual, "by value");
    }
}
