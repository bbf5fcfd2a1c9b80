//! A batch of messages as a consumer gets it.

use protocol::{
    frame,
    link::{Lease, Msg},
};

use super::outgoing::Input;

/// Consecutive messages of one queue, leased together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// By this the consumer is told what becomes of it.
    pub id: u64,
    /// Names this attempt at it; none where the queue speaks the verbs of 2016 only and has forgotten it already.
    pub lease: Option<Lease>,
    /// The messages, as frames.
    pub frames: Vec<u8>,
    /// The first message's offset in the queue.
    pub first_offset: u64,
    /// How many messages.
    pub count: u64,
    /// Which attempt at them, from 1.
    pub attempt: u64,
    /// The queue's node.
    pub node: u64,
    /// The queue's generation.
    pub generation: u64,
    /// Below this offset the queue has nothing open.
    pub low_water: u64,
    /// When the first message entered the system, in microseconds since the epoch; 0 where nobody knows.
    pub origin_us: u64,
}

impl Batch {
    /// What a MSG carries; `None` if its messages are not as many as its lease says. `frames` is a buffer to use.
    pub(super) fn read(msg: &Msg<'_>, mut frames: Vec<u8>) -> Result<Self, Vec<u8>> {
        let mut rest = msg.frames;
        let mut count = 0;
        while let Ok((_, after)) = frame::split(rest) {
            rest = after;
            count += 1;
        }
        if !rest.is_empty() || count != msg.lease.count || count == 0 {
            return Err(frames);
        }
        frames.clear();
        frames.extend_from_slice(msg.frames);
        Ok(Self {
            id: msg.delivery,
            lease: Some(msg.lease),
            frames,
            first_offset: msg.lease.first,
            count,
            attempt: msg.lease.attempt,
            node: msg.node,
            generation: msg.generation,
            low_water: msg.low_water,
            origin_us: msg.origin_us,
        })
    }

    /// A message that an old queue gave away.
    pub(super) fn of_old_queue(id: u64, message: &[u8], mut frames: Vec<u8>) -> Self {
        frames.clear();
        let pushed = frame::push(message, &mut frames);
        debug_assert!(pushed.is_ok(), "it came in a frame");
        Self {
            id,
            lease: None,
            frames,
            first_offset: 0,
            count: 1,
            attempt: 1,
            node: 0,
            generation: 0,
            low_water: 0,
            origin_us: 0,
        }
    }

    /// The messages, in their order.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.frames.as_slice();
        std::iter::from_fn(move || {
            let (message, after) = frame::split(rest).ok()?;
            rest = after;
            Some(message)
        })
    }

    /// What outputs of these messages are derived from.
    pub fn input(&self) -> Input {
        Input { node: self.node, generation: self.generation, low_water: self.low_water, origin_us: self.origin_us }
    }

    /// The offset after the last message's.
    pub(super) fn end_offset(&self) -> u64 {
        self.first_offset + self.count
    }
}
