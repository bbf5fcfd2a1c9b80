//! What a producer is told at its start, and what it counts.

use std::fmt;

use protocol::link::MESSAGE_BYTES_MAX;

use super::{Guarantee, SendLimits};

/// How a producer sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerPlan {
    /// Who it is: the same for all processes that send the same messages in the same order, else drawn at random.
    pub producer: u128,
    /// Drawn at random by each process.
    pub nonce: u64,
    /// What the worker does whose outputs these are: its function's name. Part of their ids; blanks become `_`.
    pub stage: String,
    /// What the edge must promise at the least.
    pub floor: Option<Guarantee>,
    /// The largest datagram to send; the peer may want smaller ones. A message that is larger travels alone.
    pub datagram_bytes_max: usize,
    /// What may be under way.
    pub limits: SendLimits,
    /// How many PUTs may be under way to a peer that speaks the verbs of 2016 only.
    pub puts_max: u64,
}

/// A message longer than [`MESSAGE_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageTooLong {
    /// Its length in bytes.
    pub bytes: usize,
}

impl fmt::Display for MessageTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message of {} bytes is too long; {MESSAGE_BYTES_MAX} is the limit", self.bytes)
    }
}

impl std::error::Error for MessageTooLong {}

/// How a producer stands with the peer that it has now. What it had sent to another node before is not in it, but for
/// what is still unconfirmed, which goes to this one. To peers that speak the verbs of 2016 only it is all that it ever
/// sent by them, for they have no name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerCounts {
    /// Messages sent, each counted once. Never below `confirmed`.
    pub sent: u64,
    /// Messages that this peer said it has.
    pub confirmed: u64,
}

/// What came of a producer's messages and requests. To a peer that speaks the verbs of 2016 only,
/// [`Producer::old_counts`](super::Producer::old_counts) says more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProducerCounts {
    /// Messages sent, each counted once.
    pub sent: u64,
    /// Messages that the peer said it has.
    pub confirmed: u64,
    /// Batches sent, again and again counted.
    pub batches: u64,
    /// Of these, sent again.
    pub resent_batches: u64,
    /// Times that the oldest batch under way was taken for lost for want of an answer.
    pub timeouts: u64,
    /// Times that a full peer took nothing of a batch.
    pub refused_full: u64,
    /// Times that a peer had as many producers as it may.
    pub refused_producers: u64,
    /// Times that the edge was negotiated, the first included.
    pub negotiations: u64,
    /// Answers that cannot be read.
    pub malformed: u64,
    /// Answers garbled on their way.
    pub bad_checksum: u64,
    /// Requests that came instead of answers.
    pub requests: u64,
    /// Answers to nothing that was asked.
    pub stray: u64,
}
