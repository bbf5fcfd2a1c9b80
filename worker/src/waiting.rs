//! Outputs that wait to leave, in the order in which they were given.

use std::{collections::VecDeque, time::Duration};

use link::{Input, OutputId};

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
    Message { output: usize, len: usize, id: Option<OutputId> },
    EndOfInput { started: Duration },
    Begin(Input),
    EndOfBatch(EndOfBatch),
}

/// What stands first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waiting<'a> {
    /// An output and its message.
    Message { output: usize, message: &'a [u8], id: Option<OutputId> },
    /// All outputs of an input have left; when it came in.
    EndOfInput { started: Duration },
    /// What the outputs behind it are derived from.
    Begin(Input),
    /// All outputs of a batch have left.
    EndOfBatch(EndOfBatch),
}

/// A batch, all of whose outputs are in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndOfBatch {
    /// Which input it came from.
    pub(crate) input: usize,
    pub(crate) batch: u64,
    /// How many of its messages were processed.
    pub(crate) processed: u64,
    /// Whether outputs of its messages may be in front that came in an earlier batch.
    pub(crate) came_again: bool,
    /// When it came to the function.
    pub(crate) started: Duration,
}

impl WaitingOutputs {
    pub(crate) fn push(&mut self, output: usize, message: &[u8], id: Option<OutputId>) {
        self.bytes.extend_from_slice(message);
        self.places.push_back(Place::Message { output, len: message.len(), id });
    }

    pub(crate) fn end_input(&mut self, started: Duration) {
        self.places.push_back(Place::EndOfInput { started });
    }

    pub(crate) fn begin(&mut self, input: Input) {
        self.places.push_back(Place::Begin(input));
    }

    pub(crate) fn end_batch(&mut self, batch: EndOfBatch) {
        self.places.push_back(Place::EndOfBatch(batch));
    }

    pub(crate) fn front(&self) -> Option<Waiting<'_>> {
        Some(match *self.places.front()? {
            Place::Message { output, len, id } => {
                let message = self.bytes.get(self.spent..self.spent + len).unwrap_or_default();
                Waiting::Message { output, message, id }
            }
            Place::EndOfInput { started } => Waiting::EndOfInput { started },
            Place::Begin(input) => Waiting::Begin(input),
            Place::EndOfBatch(batch) => Waiting::EndOfBatch(batch),
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
        waiting.push(0, &message(0), None);
        for n in 1..100_000 {
            waiting.push(n % 3, &message(n), None);
            let before = n - 1;
            let expected = Waiting::Message { output: before % 3, message: &message(before), id: None };
            assert_eq!(waiting.front(), Some(expected));
            waiting.pop_front();
            assert!(waiting.bytes.len() <= 2 * SPENT_BYTES_MAX + 64, "{}", waiting.bytes.len());
        }
        waiting.pop_front();
        assert_eq!((waiting.front(), waiting.len(), waiting.bytes.len()), (None, 0, 0));
    }
}
