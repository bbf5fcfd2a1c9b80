//! What a producer has that is not confirmed: batches under way, batches that wait, and the one being filled.

use std::{collections::VecDeque, time::Duration};

use protocol::frame::{self, TooLong};

use super::outgoing::{Input, Outgoing, OutputId};

/// A frame's header, where the text is shorter than 65,536 bytes.
const FRAME_HEADER_BYTES_MAX: usize = 5;

/// An output's id: two numbers of up to ten bytes each.
const ID_BYTES_MAX: usize = 20;

/// Buffers kept for later batches.
const SPARE_MAX: usize = 64;

/// How large a batch may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchLimits {
    /// Ids and frames.
    pub(super) bytes_max: usize,
    /// What its peer can ever have room for.
    pub(super) messages_max: u64,
}

/// Batches in the order of their messages: those under way, then those that wait, then the one being filled.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    batches: VecDeque<Outgoing>,
    /// How many of them are under way: the first.
    under_way: usize,
    under_way_bytes: usize,
    under_way_messages: u64,
    /// Bytes in the batches that wait, without the one being filled.
    waiting_bytes: usize,
    filling: Outgoing,
    /// The next message's number.
    next: u64,
    /// The number after the last message that was ever sent.
    sent_below: u64,
    spare: Vec<Outgoing>,
    /// How far the first batch was sent message by message.
    sent_alone: SentAlone,
}

/// How far a batch was sent message by message.
#[derive(Debug, Clone, Copy, Default)]
struct SentAlone {
    bytes: usize,
    messages: u64,
}

impl Outbox {
    /// Numbers messages from here on. Only before the first.
    pub(super) fn start(&mut self, next: u64) {
        self.next = next;
        self.sent_below = next;
    }

    /// The next message's number.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The number after the last message that was ever sent.
    pub(super) fn sent_below(&self) -> u64 {
        self.sent_below
    }

    /// Whether all is confirmed.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.filling.count == 0
    }

    /// Whether something could be sent.
    pub(super) fn has_waiting(&self) -> bool {
        self.under_way < self.batches.len() || self.filling.count > 0
    }

    /// The offset of the input that the first message follows from, if that is known.
    pub(super) fn first_offset(&self) -> Option<u64> {
        self.batches.front().unwrap_or(&self.filling).first_offset().filter(|_| !self.is_empty())
    }

    /// How many bytes could be sent.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes + self.filling.bytes()
    }

    /// How many batches, bytes and messages are under way.
    pub(super) fn under_way(&self) -> (usize, usize, u64) {
        (self.under_way, self.under_way_bytes, self.under_way_messages)
    }

    /// Appends a message to the batch being filled, which keeps within `limits` unless the message alone is larger.
    ///
    /// # Errors
    /// [`TooLong`]; nothing is appended then.
    pub(super) fn push(
        &mut self,
        message: &[u8],
        origin_us: u64,
        input: Option<Input>,
        id: Option<OutputId>,
        limits: BatchLimits,
    ) -> Result<u64, TooLong> {
        let id_bytes = if id.is_some() { ID_BYTES_MAX } else { 0 };
        let bytes = self.filling.bytes() + FRAME_HEADER_BYTES_MAX + message.len() + id_bytes;
        let is_full = bytes > limits.bytes_max || self.filling.count >= limits.messages_max;
        if self.filling.count > 0 && (is_full || !self.filling.suits(input.as_ref(), id)) {
            self.close();
        }
        if self.filling.count == 0 {
            self.filling.begin(self.next, origin_us, input);
        }
        self.filling.push(message, id)?;
        self.next += 1;
        Ok(self.next - 1)
    }

    /// The batch being filled takes its place among those that wait.
    fn close(&mut self) {
        let empty = self.spare.pop().unwrap_or_default();
        let full = std::mem::replace(&mut self.filling, empty);
        self.filling.count = 0;
        self.waiting_bytes += full.bytes();
        self.batches.push_back(full);
    }

    /// The bytes and messages of the batch to send next.
    pub(super) fn waiting(&self) -> Option<(usize, u64)> {
        let batch = self.batches.get(self.under_way).unwrap_or(&self.filling);
        (batch.count > 0).then_some((batch.bytes(), batch.count))
    }

    /// A batch leaves when it can, not when it is full.
    fn close_if_alone(&mut self) {
        if self.under_way == self.batches.len() && self.filling.count > 0 {
            self.close();
        }
    }

    /// The batch that [`waiting`](Self::waiting) spoke of is under way from now on. Its place among those that are.
    pub(super) fn send(&mut self, token: u64, now: Duration) -> Option<usize> {
        self.close_if_alone();
        let batch = self.batches.get_mut(self.under_way)?;
        self.under_way += 1;
        self.under_way_bytes += batch.bytes();
        self.under_way_messages += batch.count;
        self.waiting_bytes -= batch.bytes();
        self.sent_below = self.sent_below.max(batch.end());
        mark(batch, token, now);
        Some(self.under_way - 1)
    }

    /// The oldest batch under way leaves once more. Its place among those that are.
    pub(super) fn send_first_again(&mut self, token: u64, now: Duration) -> Option<usize> {
        let batch = self.batches.front_mut().filter(|_| self.under_way > 0)?;
        mark(batch, token, now);
        Some(0)
    }

    /// The batch at this place among those under way.
    pub(super) fn under_way_at(&self, place: usize) -> Option<&Outgoing> {
        self.batches.get(place)
    }

    /// When the oldest batch under way was sent, and with which token.
    pub(super) fn first_sent(&self) -> Option<(u64, Duration)> {
        let first = self.batches.front().filter(|_| self.under_way > 0)?;
        Some((first.token, first.sent_at))
    }

    /// All messages below `below` have arrived. How many bytes that were.
    pub(super) fn confirm(&mut self, below: u64) -> usize {
        let mut bytes = 0;
        while self.batches.front().is_some_and(|batch| batch.end() <= below) {
            bytes += self.pop();
        }
        self.cut(below);
        bytes
    }

    fn pop(&mut self) -> usize {
        let Some(batch) = self.batches.pop_front() else { return 0 };
        let bytes = batch.bytes();
        if self.under_way > 0 {
            self.under_way -= 1;
            self.under_way_bytes -= bytes;
            self.under_way_messages -= batch.count;
        } else {
            self.waiting_bytes -= bytes;
        }
        self.sent_alone = SentAlone::default();
        self.keep_buffers(batch);
        bytes
    }

    /// Takes the messages below `below` off the first batch.
    fn cut(&mut self, below: u64) {
        if self.batches.front().is_none_or(|batch| batch.first >= below) {
            return;
        }
        // What is under way must be sent again, for it is another batch now.
        self.go_back();
        let mut rest = self.spare.pop().unwrap_or_default();
        let Some(batch) = self.batches.front_mut() else { return };
        let before = batch.bytes();
        batch.split(below - batch.first, &mut rest);
        self.waiting_bytes = self.waiting_bytes + batch.bytes() + rest.bytes() - before;
        self.batches.insert(1, rest);
        self.pop();
    }

    /// Nothing is under way any more: all that is unconfirmed waits to be sent again.
    pub(super) fn go_back(&mut self) {
        self.waiting_bytes += self.under_way_bytes;
        self.under_way = 0;
        self.under_way_bytes = 0;
        self.under_way_messages = 0;
    }

    /// Makes two of the first batch, which waits, so that at least one message may find room.
    pub(super) fn halve_first(&mut self) {
        let mut rest = self.spare.pop().unwrap_or_default();
        let Some(first) = self.batches.front_mut().filter(|batch| batch.count > 1 && self.under_way == 0) else {
            return self.keep_buffers(rest);
        };
        let before = first.bytes();
        first.split(first.count / 2, &mut rest);
        self.waiting_bytes = self.waiting_bytes + first.bytes() + rest.bytes() - before;
        self.batches.insert(1, rest);
    }

    /// The oldest message, for a peer that takes single ones. Nothing is under way then.
    pub(super) fn message(&mut self) -> Option<&[u8]> {
        self.close_if_alone();
        let rest = self.batches.front()?.frames.get(self.sent_alone.bytes..)?;
        frame::split(rest).ok().map(|(message, _)| message)
    }

    /// The message that [`message`](Self::message) gave has been sent, once and for all. The number after it.
    pub(super) fn message_sent(&mut self) -> Option<u64> {
        let batch = self.batches.front()?;
        let (_, after) = frame::split(batch.frames.get(self.sent_alone.bytes..)?).ok()?;
        self.sent_alone.bytes = batch.frames.len() - after.len();
        self.sent_alone.messages += 1;
        let below = batch.first + self.sent_alone.messages;
        self.sent_below = self.sent_below.max(below);
        if below >= batch.end() {
            self.pop();
        }
        Some(below)
    }

    fn keep_buffers(&mut self, batch: Outgoing) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(batch);
        }
    }
}

fn mark(batch: &mut Outgoing, token: u64, now: Duration) {
    batch.token = token;
    batch.sent_at = now;
    batch.sendings += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    const LIMITS: BatchLimits = BatchLimits { bytes_max: 1_000, messages_max: 1_000 };

    /// Five batches of four messages of six bytes each, numbered from 100.
    fn filled() -> Outbox {
        let mut outbox = Outbox::default();
        outbox.start(100);
        for n in 100..120_u64 {
            let limits = BatchLimits { bytes_max: 24 + 3, ..LIMITS };
            assert_eq!(outbox.push(format!("{n:04}").as_bytes(), n, None, None, limits), Ok(n));
        }
        outbox
    }

    fn send(outbox: &mut Outbox, token: u64) -> Option<(u64, u64)> {
        let place = outbox.send(token, NOW)?;
        outbox.under_way_at(place).map(|batch| (batch.first, batch.count))
    }

    #[test]
    fn batches_are_as_large_as_they_may_be() {
        let mut outbox = filled();
        assert_eq!(outbox.waiting_bytes(), 120);
        for token in 0..5 {
            assert_eq!(send(&mut outbox, token), Some((100 + 4 * token, 4)));
        }
        assert_eq!(send(&mut outbox, 5), None);
        assert_eq!((outbox.under_way(), outbox.waiting_bytes()), ((5, 120, 20), 0));
        assert_eq!(outbox.confirm(112), 72);
        assert_eq!((outbox.under_way(), outbox.first_sent()), ((2, 48, 8), Some((3, NOW))));
        outbox.go_back();
        assert_eq!((outbox.under_way(), outbox.waiting_bytes(), outbox.has_waiting()), ((0, 0, 0), 48, true));
        assert_eq!(outbox.confirm(120), 48);
        assert!(outbox.is_empty() && outbox.waiting_bytes() == 0);
    }

    #[test]
    fn a_batch_leaves_before_it_is_full() {
        let mut outbox = Outbox::default();
        outbox.push(b"a", 0, None, None, LIMITS).unwrap();
        assert_eq!(send(&mut outbox, 1), Some((0, 1)));
        outbox.push(b"b", 0, None, None, LIMITS).unwrap();
        outbox.push(b"c", 0, None, None, LIMITS).unwrap();
        assert_eq!(send(&mut outbox, 2), Some((1, 2)));
    }

    #[test]
    fn a_batch_has_no_more_messages_than_its_peer_can_take() {
        let mut outbox = Outbox::default();
        for n in 0..7 {
            outbox.push(b"a", n, None, None, BatchLimits { messages_max: 3, ..LIMITS }).unwrap();
        }
        assert_eq!([1, 2, 3].map(|token| send(&mut outbox, token)), [Some((0, 3)), Some((3, 3)), Some((6, 1))]);
    }

    #[test]
    fn a_message_larger_than_a_batch_travels_alone() {
        let mut outbox = Outbox::default();
        for message in [&b"a"[..], &[b'x'; 2_000], b"b"] {
            outbox.push(message, 0, None, None, LIMITS).unwrap();
        }
        assert_eq!([1, 2, 3].map(|token| send(&mut outbox, token)), [Some((0, 1)), Some((1, 1)), Some((2, 1))]);
    }

    #[test]
    fn half_confirmed_batches_are_cut() {
        let mut outbox = filled();
        send(&mut outbox, 1);
        outbox.confirm(103);
        assert_eq!((outbox.under_way(), outbox.waiting_bytes()), ((0, 0, 0), 17 * 6));
        assert_eq!(send(&mut outbox, 2), Some((103, 1)));
        assert_eq!(send(&mut outbox, 3), Some((104, 4)));
    }

    #[test]
    fn a_refused_batch_is_halved_down_to_one_message() {
        let mut outbox = filled();
        for _ in 0..3 {
            outbox.halve_first();
        }
        assert_eq!(outbox.waiting_bytes(), 120);
        let sent: Vec<_> = (0..7).filter_map(|token| send(&mut outbox, token)).collect();
        assert_eq!(sent[..4], [(100, 1), (101, 1), (102, 2), (104, 4)]);
    }

    #[test]
    fn messages_leave_one_by_one_for_an_old_peer() {
        let mut outbox = filled();
        for n in 100..106_u64 {
            assert_eq!(outbox.message().unwrap(), format!("{n:04}").as_bytes());
            assert_eq!(outbox.message_sent(), Some(n + 1));
        }
        outbox.confirm(106);
        assert_eq!(send(&mut outbox, 1), Some((106, 2)), "the rest may go as batches");
        assert_eq!(outbox.confirm(108) + outbox.waiting_bytes(), 14 * 6);
        assert_eq!(outbox.message().unwrap(), b"0108");
    }
}
