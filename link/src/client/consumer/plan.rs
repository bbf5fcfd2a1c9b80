//! What a consumer is told at its start, what it counts, and what it tells.

use std::time::Duration;

use super::Guarantee;
use crate::GetLimits;

/// How a consumer takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerPlan {
    /// Drawn at random by each process.
    pub session: u64,
    /// How many messages a batch has at the most.
    pub messages_max: u64,
    /// The largest datagram to get; the peer may want smaller ones. A message that is larger travels alone.
    pub datagram_bytes_max: usize,
    /// How many batches may be asked for or held at once.
    pub deliveries_max: usize,
    /// How long a batch may stay away before the queue gives it to somebody else. It is extended while it is held.
    pub lease: Duration,
    /// What the edge must promise at the least.
    pub floor: Option<Guarantee>,
    /// How a queue is asked that speaks the verbs of 2016 only.
    pub old: GetLimits,
}

/// What became of a batch in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Finished.
    Finished,
    /// Finished after its lease had ended, before anybody else did.
    FinishedLate,
    /// Somebody else had finished it, after its lease had ended.
    FinishedByAnother,
    /// Given back.
    GivenBack,
    /// Its lease had ended before it was given back.
    Lost,
    /// The queue has forgotten it, with its memory perhaps.
    Unknown,
}

/// What a machine must know of batches that it has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// This batch's lease has ended, so others may get its messages. It may still be finished, and must be finished or
    /// given back.
    Lost(u64),
    /// The queue knows what became of this batch.
    Ended(u64, Outcome),
}

/// What came of a consumer's batches and requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConsumerCounts {
    /// Batches that came, each counted once.
    pub batches: u64,
    /// Messages in them.
    pub messages: u64,
    /// Batches that ended so: see [`Outcome`].
    pub finished: u64,
    /// See [`Outcome::FinishedLate`].
    pub finished_late: u64,
    /// See [`Outcome::FinishedByAnother`].
    pub finished_by_another: u64,
    /// See [`Outcome::GivenBack`].
    pub given_back: u64,
    /// See [`Outcome::Lost`].
    pub lost: u64,
    /// See [`Outcome::Unknown`].
    pub unknown: u64,
    /// Leases that ended while their batch was held.
    pub leases_lost: u64,
    /// Messages that were given back or buried one by one.
    pub parts_given_back: u64,
    /// Messages that were to go back one by one when their lease had ended, or had gone before.
    pub parts_lost: u64,
    /// Batches that came again.
    pub duplicates: u64,
    /// Deliveries whose lease ended before they came.
    pub ended_unseen: u64,
    /// Requests for a batch, again and again counted.
    pub asked: u64,
    /// Of these, asked again for want of an answer.
    pub asked_again: u64,
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
