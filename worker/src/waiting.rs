//! Outputs that wait to leave, in the order in which they were given.

use std::{collections::VecDeque, time::Duration};

/// Bytes that have left stay in front until there are so many of them.
const SPENT_BYTES_MAX: usize = 64 << 10;

/// A queue of outputs in one buffer, so that a message costs no allocation of its own.
#[derive(Debug, Default)]
pub(crate) struct WaitingOutputs {
    bytes: Vec<u8>,
    spent: usize,
    places: VecDeque<Place>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Message { output: usize, len: usize },
    EndOfInput { started: Duration },
}

/// What stands first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waiting<'a> {
    /// An output and its message.
    Message { output: usize, message: &'a [u8] },
    /// All outputs of an input have left; when it came in.
    EndOfInput { started: Duration },
}

impl WaitingOutputs {
    pub(crate) fn push(&mut self, output: usize, message: &[u8]) {
        self.bytes.extend_from_slice(message);
        self.places.push_back(Place::Message { output, len: message.len() });
    }

    pub(crate) fn end_input(&mut self, started: Duration) {
        self.places.push_back(Place::EndOfInput { started });
    }

    pub(crate) fn front(&self) -> Option<Waiting<'_>> {
        Some(match *self.places.front()? {
            Place::Message { output, len } => {
                let message = self.bytes.get(self.spent..self.spent + len).unwrap_or_default();
                Waiting::Message { output, message }
            }
            Place::EndOfInput { started } => Waiting::EndOfInput { started },
        })
    }

    pub(crate) fn pop_front(&mut self) {
        if let Some(Place::Message { len, .. }) = self.places.pop_front() {
            self.spent += len;
        }
        if self.places.is_empty() {
            self.bytes.clear();
            self.spent = 0;
        } else if self.spent > SPENT_BYTES_MAX && self.spent > self.bytes.len() / 2 {
            self.bytes.drain(..self.spent);
            self.spent = 0;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_leave_in_order_and_bytes_do_not_pile_up() {
        let mut waiting = WaitingOutputs::default();
        let message = |n: usize| format!("message {n}").into_bytes();
        waiting.push(0, &message(0));
        for n in 1..100_000 {
            waiting.push(n % 3, &message(n));
            let before = n - 1;
            assert_eq!(waiting.front(), Some(Waiting::Message { output: before % 3, message: &message(before) }));
            waiting.pop_front();
            assert!(waiting.bytes.len() <= 2 * SPENT_BYTES_MAX + 64, "{}", waiting.bytes.len());
        }
        waiting.pop_front();
        assert_eq!((waiting.front(), waiting.len(), waiting.bytes.len()), (None, 0, 0));
    }
}
