//! A batch of messages on its way into a queue: filled by a producer, kept until it is confirmed.

use std::time::Duration;

use protocol::{
    frame::{self, TooLong},
    link::{push_varint, split_varint},
};

/// What makes one output of a worker itself, beside the queue that its input came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputId {
    /// The offset of the input that it follows from.
    pub offset: u64,
    /// Which of that input's outputs it is, from 0.
    pub index: u64,
}

/// The queue that inputs came from, and how it stood then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input {
    /// Its node.
    pub node: u64,
    /// Its generation.
    pub generation: u64,
    /// Below this offset it has nothing open.
    pub low_water: u64,
    /// When the messages entered the system, in microseconds since the epoch.
    pub origin_us: u64,
}

impl Input {
    /// Whether offsets mean the same in both.
    pub(super) fn is_same_queue(&self, other: &Self) -> bool {
        (self.node, self.generation) == (other.node, other.generation)
    }
}

/// Consecutive messages of one producer.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// The first message's number.
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) origin_us: u64,
    /// Where the messages were derived from, if they were.
    pub(super) input: Option<Input>,
    pub(super) ids: Vec<u8>,
    pub(super) frames: Vec<u8>,
    last_offset: u64,
    /// The token of its latest sending.
    pub(super) token: u64,
    pub(super) sent_at: Duration,
    pub(super) sendings: u32,
}

impl Outgoing {
    /// Begins anew, with the buffers that it has.
    pub(super) fn begin(&mut self, first: u64, origin_us: u64, input: Option<Input>) {
        let (mut ids, mut frames) = (std::mem::take(&mut self.ids), std::mem::take(&mut self.frames));
        ids.clear();
        frames.clear();
        *self = Self { first, origin_us, input, ids, frames, ..Self::default() };
    }

    /// The number after its last message's.
    pub(super) fn end(&self) -> u64 {
        self.first + self.count
    }

    /// The offset of the input that its first message follows from, if that is known.
    pub(super) fn first_offset(&self) -> Option<u64> {
        split_id(&self.ids).map(|(offset, _, _)| offset)
    }

    /// How many bytes it takes in a datagram, beside the header.
    pub(super) fn bytes(&self) -> usize {
        self.ids.len() + self.frames.len()
    }

    /// Whether a message may stand in one batch with those before it.
    pub(super) fn suits(&self, input: Option<&Input>, id: Option<OutputId>) -> bool {
        match (&self.input, input) {
            (None, None) => true,
            // Offsets are written as differences, which cannot be negative.
            (Some(own), Some(input)) => own.is_same_queue(input) && id.is_some_and(|id| id.offset >= self.last_offset),
            _ => false,
        }
    }

    /// Appends a message.
    ///
    /// # Errors
    /// [`TooLong`]; nothing is appended then.
    pub(super) fn push(&mut self, message: &[u8], id: Option<OutputId>) -> Result<(), TooLong> {
        frame::push(message, &mut self.frames)?;
        self.count += 1;
        if let (Some(OutputId { offset, index }), Some(_)) = (id, &self.input) {
            push_varint(offset.saturating_sub(self.last_offset), &mut self.ids);
            push_varint(index, &mut self.ids);
            self.last_offset = offset;
        }
        Ok(())
    }

    /// Moves all but the first `keep` messages to `rest`.
    pub(super) fn split(&mut self, keep: u64, rest: &mut Self) {
        let keep = keep.min(self.count);
        rest.begin(self.first + keep, self.origin_us, self.input);
        rest.count = self.count - keep;
        rest.last_offset = self.last_offset;
        rest.sendings = self.sendings;
        self.count = keep;
        self.split_frames(keep, &mut rest.frames);
        if self.input.is_some() {
            self.split_ids(keep, &mut rest.ids);
        }
    }

    fn split_frames(&mut self, keep: u64, rest: &mut Vec<u8>) {
        let mut tail = self.frames.as_slice();
        for _ in 0..keep {
            tail = frame::split(tail).map_or(&[], |(_, tail)| tail);
        }
        rest.extend_from_slice(tail);
        self.frames.truncate(self.frames.len() - rest.len());
    }

    fn split_ids(&mut self, keep: u64, rest: &mut Vec<u8>) {
        let (mut offset, mut tail) = (0, self.ids.as_slice());
        for _ in 0..keep {
            let Some((difference, _, after)) = split_id(tail) else { return };
            (offset, tail) = (offset + difference, after);
        }
        self.last_offset = offset;
        let kept = self.ids.len() - tail.len();
        // The first offset of a batch is a whole one.
        if let Some((difference, index, after)) = split_id(tail) {
            push_varint(offset + difference, rest);
            push_varint(index, rest);
            rest.extend_from_slice(after);
        }
        self.ids.truncate(kept);
    }
}

/// The difference of offsets, the index, and what follows.
fn split_id(ids: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (difference, rest) = split_varint(ids)?;
    let (index, rest) = split_varint(rest)?;
    Some((difference, index, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: Input = Input { node: 1, generation: 2, low_water: 3, origin_us: 4 };

    fn filled(offsets: &[u64]) -> Outgoing {
        let mut batch = Outgoing::default();
        batch.begin(100, 5, Some(INPUT));
        for &offset in offsets {
            let id = OutputId { offset, index: offset % 3 };
            assert!(batch.suits(Some(&INPUT), Some(id)));
            batch.push(offset.to_string().as_bytes(), Some(id)).unwrap();
        }
        batch
    }

    /// Offsets by the ids, indexes by the ids, offsets by the messages.
    fn read(batch: &Outgoing) -> Vec<(u64, u64, u64)> {
        let (mut ids, mut frames, mut offset) = (&batch.ids[..], &batch.frames[..], 0);
        let mut seen = Vec::new();
        while let Some((difference, index, rest)) = split_id(ids) {
            let (message, tail) = frame::split(frames).unwrap();
            offset += difference;
            seen.push((offset, index, std::str::from_utf8(message).unwrap().parse().unwrap()));
            (ids, frames) = (rest, tail);
        }
        assert!(frames.is_empty());
        assert_eq!(seen.len() as u64, batch.count);
        seen
    }

    #[test]
    fn splits_down_to_single_messages() {
        let offsets = [7, 7, 1_000, 1_001, 70_000, 70_000, 70_001];
        let expected: Vec<_> = offsets.iter().map(|&offset| (offset, offset % 3, offset)).collect();
        let mut batches = vec![filled(&offsets)];
        let mut at = 0;
        while at < batches.len() {
            let keep = batches[at].count / 2;
            if keep == 0 {
                at += 1;
                continue;
            }
            let mut rest = Outgoing::default();
            batches[at].split(keep, &mut rest);
            batches.insert(at + 1, rest);
            let seen: Vec<_> = batches.iter().flat_map(read).collect();
            assert_eq!(seen, expected);
        }
        assert_eq!(batches.len(), 7);
        assert_eq!(batches.iter().map(|batch| batch.first).collect::<Vec<_>>(), (100..107).collect::<Vec<_>>());
    }

    #[test]
    fn inputs_of_two_queues_do_not_mix() {
        let batch = filled(&[7]);
        let suits = |input: Option<&Input>, offset| batch.suits(input, Some(OutputId { offset, index: 0 }));
        assert!(suits(Some(&Input { low_water: 9, origin_us: 0, ..INPUT }), 7));
        assert!(!suits(Some(&INPUT), 6), "an offset before the last one");
        assert!(!suits(Some(&Input { node: 2, ..INPUT }), 8));
        assert!(!suits(Some(&Input { generation: 3, ..INPUT }), 8));
        assert!(!suits(None, 8));
    }
}
