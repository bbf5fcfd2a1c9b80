//! The way to the queue: the link, which finds out what the queue speaks, or the verbs of 2016 without waiting for anything.

use std::{net::SocketAddr, time::Duration};

use link::{Failure, Guarantee, PeerCounts, Producer, ProducerPlan, PutEdge, Window};
use machine::Now;
use metrics::EdgeFlow;
use protocol::{frame, link::Durability, verb::Request};

use crate::{Format, fix};

/// How messages get to the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// In batches that are kept until the queue has confirmed them; to a queue of 2016 one PUT a message, sent once.
    Link(ProducerPlan),
    /// As fast as the lines come, as in 2016: the queue is never asked what it speaks, answers are counted and not waited
    /// for.
    FlatOut,
}

/// What became of the messages, and what is odd about the answers.
/// `sent = confirmed + refused + unconfirmed + under_way`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) confirmed: u64,
    /// Messages that a full queue of 2016 said it does not have.
    pub(crate) refused: u64,
    /// Messages to a queue of 2016 whose answer did not come.
    pub(crate) unconfirmed: u64,
    pub(crate) under_way: u64,
    /// Times that a full queue took nothing of a batch, which was kept.
    pub(crate) pushed_back: u64,
    /// Times that a queue had as many producers as it may.
    pub(crate) refused_producers: u64,
    pub(crate) resent_batches: u64,
    pub(crate) negotiations: u64,
    pub(crate) malformed: u64,
    pub(crate) bad_checksum: u64,
    pub(crate) stray: u64,
}

impl Tally {
    /// Messages of which it is known what became of them.
    pub(crate) fn answered(&self) -> u64 {
        self.confirmed + self.refused
    }

    /// Datagrams that are no answer.
    pub(crate) fn bad(&self) -> u64 {
        self.malformed + self.bad_checksum
    }
}

/// Where messages wait to leave, and what is known of those that have.
#[derive(Debug)]
pub(crate) enum Edge {
    Link(Box<Producer>),
    FlatOut(FlatOut),
}

/// Nothing is promised, so nothing is kept.
#[derive(Debug)]
pub(crate) struct FlatOut {
    put: PutEdge,
    /// The next datagram.
    waiting: Vec<u8>,
    malformed: u64,
}

impl Edge {
    pub(crate) fn new(delivery: &Delivery) -> Self {
        match delivery {
            Delivery::Link(plan) => Self::Link(Box::new(Producer::new(plan.clone()))),
            Delivery::FlatOut => {
                Self::FlatOut(FlatOut { put: PutEdge::new(Window::None), waiting: Vec::new(), malformed: 0 })
            }
        }
    }

    /// How long a text may be. It must not depend on the time or on the queue: all processes that feed the same lines
    /// number them alike.
    pub(crate) fn text_bytes_max(&self, format: Format) -> usize {
        let message_bytes_max = match self {
            Self::Link(_) => protocol::link::MESSAGE_BYTES_MAX,
            Self::FlatOut(_) => protocol::MESSAGE_BYTES_MAX,
        };
        match format {
            Format::Fix => message_bytes_max - fix::WRAPPING_BYTES_MAX,
            Format::Lines | Format::Csv => message_bytes_max,
        }
    }

    /// How many messages the queue had from this feed before this process began, once that is known.
    pub(crate) fn resume_at(&self) -> Option<u64> {
        match self {
            Self::Link(producer) => producer.resume_at(),
            Self::FlatOut(_) => Some(0),
        }
    }

    /// Whether a message may be pushed now.
    pub(crate) fn may_push(&self) -> bool {
        match self {
            // One at a time: it is stamped just before it leaves, and one that is not sent yet is the queue's to hold up.
            Self::Link(producer) if self.is_old() => producer.room() && producer.unconfirmed() == 0,
            Self::Link(producer) => producer.room(),
            Self::FlatOut(edge) => edge.waiting.is_empty(),
        }
    }

    /// Takes a message that may be pushed; whether it was taken, for one that is too long is not.
    pub(crate) fn push(&mut self, now: Now, message: &[u8]) -> bool {
        match self {
            Self::Link(producer) => producer.push(now, message, None).is_ok(),
            Self::FlatOut(edge) => Request::Put(message).push(&mut edge.waiting).is_ok(),
        }
    }

    /// No more messages will come.
    pub(crate) fn end(&mut self) {
        if let Self::Link(producer) = self {
            producer.end();
        }
    }

    /// Takes a datagram of the queue in.
    pub(crate) fn handle_datagram(&mut self, now: Now, datagram: &[u8]) {
        match self {
            Self::Link(producer) => producer.handle_datagram(now, datagram),
            Self::FlatOut(edge) => {
                let is_answer = frame::only(datagram).is_ok_and(|text| edge.put.handle_answer(now.since_start, text));
                edge.malformed += u64::from(!is_answer);
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Now) {
        match self {
            Self::Link(producer) => producer.handle_timeout(now),
            Self::FlatOut(edge) => edge.put.handle_timeout(now.since_start),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        match self {
            Self::Link(producer) => producer.poll_timeout(),
            Self::FlatOut(edge) => edge.put.poll_timeout(false),
        }
    }

    /// The next datagram, appended to `bytes`; whether there was one.
    pub(crate) fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> bool {
        match self {
            Self::Link(producer) => producer.poll_transmit(now, bytes),
            Self::FlatOut(edge) if edge.waiting.is_empty() => false,
            Self::FlatOut(edge) => {
                bytes.append(&mut edge.waiting);
                edge.put.handle_put(now.since_start);
                true
            }
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        match self {
            Self::Link(producer) => {
                let (counts, old) = (producer.counts(), producer.old_counts());
                let known = counts.confirmed + old.refused + old.unconfirmed;
                Tally {
                    sent: counts.sent,
                    confirmed: counts.confirmed,
                    refused: old.refused,
                    unconfirmed: old.unconfirmed,
                    under_way: counts.sent.saturating_sub(known),
                    pushed_back: counts.refused_full,
                    refused_producers: counts.refused_producers,
                    resent_batches: counts.resent_batches,
                    negotiations: counts.negotiations,
                    malformed: counts.malformed,
                    bad_checksum: counts.bad_checksum,
                    stray: counts.stray + counts.requests,
                }
            }
            Self::FlatOut(edge) => {
                let put = edge.put.counts();
                Tally {
                    sent: put.sent,
                    confirmed: put.confirmed,
                    refused: put.refused,
                    unconfirmed: put.unconfirmed,
                    under_way: edge.put.under_way(),
                    malformed: edge.malformed,
                    ..Tally::default()
                }
            }
        }
    }

    /// Whether the queue speaks the verbs of 2016 only, as far as is known.
    fn is_old(&self) -> bool {
        self.negotiated() == Some(Guarantee::AtMostOnce)
    }

    /// What the edge promises, once that is known.
    pub(crate) fn negotiated(&self) -> Option<Guarantee> {
        match self {
            Self::Link(producer) => producer.negotiated(),
            Self::FlatOut(_) => Some(Guarantee::AtMostOnce),
        }
    }

    /// How far the queue's word goes, if it gives any.
    pub(crate) fn level(&self) -> Option<Durability> {
        match self {
            Self::Link(producer) if !self.is_old() => producer.level(),
            Self::Link(_) | Self::FlatOut(_) => None,
        }
    }

    /// Which node the queue is, if it has said so.
    pub(crate) fn peer_node(&self) -> Option<u64> {
        match self {
            Self::Link(producer) => producer.peer_node(),
            Self::FlatOut(_) => None,
        }
    }

    /// Why it has given up, if it has.
    pub(crate) fn failed(&self) -> Option<Failure> {
        match self {
            Self::Link(producer) => producer.failed(),
            Self::FlatOut(_) => None,
        }
    }

    /// The edge as it is told of in reports; `waits` if more could leave than does.
    pub(crate) fn told(&self, peer: SocketAddr, waits: bool) -> metrics::Edge {
        let PeerCounts { sent, confirmed } = match self {
            Self::Link(producer) => producer.peer_counts(),
            Self::FlatOut(edge) => {
                let put = edge.put.counts();
                PeerCounts { sent: put.sent, confirmed: put.confirmed }
            }
        };
        metrics::Edge {
            flow: EdgeFlow::Out { sent, confirmed: Some(confirmed), waits },
            index: 0,
            peer,
            node: self.peer_node().map(|node| format!("{node:x}")),
            guarantee: self.negotiated().map(|guarantee| guarantee.as_str().to_owned()),
        }
    }

    /// Whether pushed messages wait for the window, for credit or for a full queue.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self, Self::Link(producer) if producer.is_waiting())
    }

    /// Whether a full queue holds messages back.
    pub(crate) fn is_held_back(&self) -> bool {
        matches!(self, Self::Link(producer) if producer.is_held_back())
    }

    /// How often the queue was asked who it is since it last answered.
    pub(crate) fn unanswered_probes(&self) -> u64 {
        match self {
            Self::Link(producer) => producer.unanswered_probes(),
            Self::FlatOut(_) => 0,
        }
    }

    /// Whether all that was pushed is answered, or written off.
    pub(crate) fn is_answered(&self) -> bool {
        match self {
            Self::Link(producer) => producer.unconfirmed() == 0 && (!self.is_old() || self.tally().under_way == 0),
            Self::FlatOut(edge) => edge.waiting.is_empty() && edge.put.under_way() == 0,
        }
    }

    /// Whether the [`end`](Self::end) has come: all is answered, and a queue that wants to know it knows.
    pub(crate) fn has_ended(&self) -> bool {
        match self {
            Self::Link(producer) => producer.is_settled(),
            Self::FlatOut(_) => self.is_answered(),
        }
    }
}
