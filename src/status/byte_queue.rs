//! A queue of byte strings, thousands of which are kept for long and seldom read: they lie one behind the other, and none
//! takes more room than its bytes.
//!
//! Pure.

/// Bytes that tell the length of a string.
const LENGTH: usize = size_of::<u32>();
/// Room for so many bytes more is made at a time, at least.
const GROWTH: usize = 4 << 10;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct ByteQueue {
    /// Each string behind its length.
    bytes: Vec<u8>,
    /// Where the first one begins.
    first: usize,
    len: usize,
}

impl ByteQueue {
    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts one behind all others. One that is larger than any event is not taken.
    pub fn push_back(&mut self, string: &[u8]) {
        let Ok(length) = u32::try_from(string.len()) else { return };
        let needed = LENGTH + string.len();
        if self.bytes.capacity() - self.bytes.len() < needed {
            // Twice the room would be half of it in vain.
            self.bytes.reserve_exact(needed + GROWTH.max(self.bytes.len() / 4));
        }
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(string);
        self.len += 1;
    }

    /// Forgets the first one.
    pub fn drop_front(&mut self) {
        let Some((_, rest)) = self.bytes.get(self.first..).and_then(split) else { return };
        self.first = self.bytes.len() - rest.len();
        self.len -= 1;
        if self.first > self.bytes.len() / 4 {
            self.bytes.drain(..self.first);
            self.first = 0;
        }
    }

    /// All of them, the first one first.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.get(self.first..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (string, behind) = split(rest)?;
            rest = behind;
            Some(string)
        })
    }
}

/// The first string, and what is behind it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn it_is_a_queue() {
        let (mut queue, mut model) = (ByteQueue::default(), VecDeque::new());
        queue.drop_front();
        assert!(queue.is_empty());
        for n in 0..5_000_u32 {
            let string = vec![n.to_le_bytes()[0]; usize::try_from(n % 97).unwrap()];
            queue.push_back(&string);
            model.push_back(string);
            // It grows, stays, and shrinks.
            let gone = [0, 1, 2][usize::try_from(n / 2_000).unwrap()];
            for _ in 0..gone {
                queue.drop_front();
                model.pop_front();
            }
            assert_eq!(queue.len(), model.len());
            if n % 500 == 0 {
                assert!(queue.iter().eq(model.iter().map(Vec::as_slice)), "after {n}");
            }
        }
        let kept: usize = model.iter().map(|string| string.len() + LENGTH).sum();
        assert!(queue.bytes.len() <= kept * 3 / 2 + GROWTH, "what is gone takes no room for long");
    }
}
