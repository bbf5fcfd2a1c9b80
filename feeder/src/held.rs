//! Texts that were read and have not been sent.

use std::collections::VecDeque;

/// Bytes that have left stay in front until there are so many of them.
const SPENT_BYTES_MAX: usize = 64 << 10;

/// Texts in one buffer, so that a line costs no allocation of its own.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    spent: usize,
    lens: VecDeque<usize>,
}

impl Held {
    pub(crate) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.lens.push_back(text.len());
    }

    pub(crate) fn front(&self) -> Option<&[u8]> {
        let len = *self.lens.front()?;
        self.bytes.get(self.spent..self.spent + len)
    }

    pub(crate) fn pop_front(&mut self) {
        self.spent += self.lens.pop_front().unwrap_or(0);
        if self.lens.is_empty() {
            self.bytes.clear();
            self.spent = 0;
        } else if self.spent > SPENT_BYTES_MAX && self.spent > self.bytes.len() / 2 {
            self.bytes.drain(..self.spent);
            self.spent = 0;
        }
    }

    /// How many texts there are.
    pub(crate) fn len(&self) -> u64 {
        self.lens.len() as u64
    }

    /// How many bytes they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len() - self.spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_leave_in_order_and_bytes_do_not_pile_up() {
        let mut held = Held::default();
        let text = |n: u32| format!("text {n}").into_bytes();
        held.push(&text(0));
        for n in 1..100_000 {
            held.push(&text(n));
            assert_eq!(held.front(), Some(&text(n - 1)[..]));
            held.pop_front();
            assert!(held.bytes.len() <= 2 * SPENT_BYTES_MAX + 64, "{}", held.bytes.len());
        }
        held.pop_front();
        assert_eq!((held.front(), held.len(), held.bytes()), (None, 0, 0));
    }
}
