//! A worker's edges: a consumer for each queue that it takes from, a producer for each queue that it sends to.

use std::{net::SocketAddr, time::Duration};

use link::{Batch, Consumer, ConsumerPlan, GetLimits, Guarantee, Producer, ProducerPlan, SendLimits};
use machine::LogLimit;

use crate::{account::InputAccount, applied::AppliedMessages, route::mix};

/// How many PUTs may wait for their answers at each output that speaks the verbs of 2016 only.
const PUTS_MAX: u64 = 128;

/// How many messages a batch has at the most, so that several workers of slow functions share what there is.
const MESSAGES_MAX: u64 = 4_096;

/// How many batches may be asked for or held at once: what fills the pipe with large datagrams, and with small ones.
const DELIVERIES_MAX: (usize, usize) = (16, 256);
const SMALL_DATAGRAM_BYTES: usize = 16_384;

/// What the edges of a worker need to know for the link.
#[derive(Debug, Clone)]
pub struct LinkPlan {
    /// Drawn at random by each process.
    pub identity: u64,
    /// The name of the function, which is part of its outputs' identities.
    pub stage: String,
    /// What each edge must promise at the least.
    pub floor: Option<Guarantee>,
    /// How long a batch may stay away before its queue gives it to somebody else. It is extended while the worker lives.
    pub lease: Duration,
    /// The largest datagram.
    pub datagram_bytes_max: usize,
}

/// A queue that messages are taken from.
pub(crate) struct Input {
    pub(crate) peer: SocketAddr,
    pub(crate) consumer: Consumer,
    pub(crate) applied: AppliedMessages,
    pub(crate) account: InputAccount,
    /// The guarantee that was last told to the log.
    told: Option<Guarantee>,
}

/// A queue that outputs go to.
pub(crate) struct Output {
    pub(crate) peer: SocketAddr,
    pub(crate) producer: Producer,
    pub(crate) silence_limit: LogLimit,
    told: Option<Guarantee>,
}

impl Input {
    pub(crate) fn new(plan: &LinkPlan, number: u64, peer: SocketAddr, in_flight: u32, old: GetLimits) -> Self {
        let is_small = plan.datagram_bytes_max < SMALL_DATAGRAM_BYTES;
        let deliveries_max = if is_small { DELIVERIES_MAX.1 } else { DELIVERIES_MAX.0 };
        let consumer = Consumer::new(ConsumerPlan {
            session: mix(plan.identity ^ number),
            messages_max: MESSAGES_MAX,
            datagram_bytes_max: plan.datagram_bytes_max,
            deliveries_max: deliveries_max.min(usize::try_from(in_flight).unwrap_or(usize::MAX)),
            lease: plan.lease,
            floor: plan.floor,
            old,
        });
        Self { peer, consumer, applied: AppliedMessages::default(), account: InputAccount::default(), told: None }
    }

    /// The next batch, if one is here.
    pub(crate) fn next_batch(&mut self) -> Option<Batch> {
        let batch = self.consumer.next_batch()?;
        self.account.take(&batch);
        Some(batch)
    }

    /// Takes in what the queue has said of batches that have ended.
    pub(crate) fn take_notices(&mut self) {
        while let Some(notice) = self.consumer.poll_notice() {
            self.account.handle_notice(notice);
        }
    }

    /// Whether it is known to speak the verbs of 2016 only.
    pub(crate) fn is_old(&self) -> bool {
        self.consumer.negotiated() == Some(Guarantee::AtMostOnce)
    }

    /// Says in the log what the edge promises, when that changes.
    pub(crate) fn tell(&mut self) {
        let promised = self.consumer.negotiated();
        if promised != self.told {
            self.told = promised;
            tell("input", self.peer, promised);
        }
    }

    /// Why it has given up, if it has.
    pub(crate) fn failure(&self) -> Option<String> {
        self.consumer.failed().map(|failure| format!("input {}: {failure}", self.peer))
    }
}

impl Output {
    pub(crate) fn new(plan: &LinkPlan, number: u64, peer: SocketAddr) -> Self {
        let drawn = |salt: u64| mix(plan.identity ^ mix(salt ^ number.wrapping_add(1 << 32)));
        let producer = Producer::new(ProducerPlan {
            producer: u128::from(drawn(1)) << 64 | u128::from(drawn(2)),
            nonce: drawn(3),
            stage: plan.stage.clone(),
            floor: plan.floor,
            datagram_bytes_max: plan.datagram_bytes_max,
            limits: SendLimits::default(),
            puts_max: PUTS_MAX,
        });
        Self { peer, producer, silence_limit: LogLimit::default(), told: None }
    }

    /// Whether it is known to speak the link.
    pub(crate) fn is_new(&self) -> bool {
        self.producer.negotiated() == Some(Guarantee::ExactlyOnce)
    }

    /// Whether something waits to be sent there by the verbs of 2016, or nobody knows yet by which.
    pub(crate) fn holds_back(&self) -> bool {
        !self.is_new() && self.producer.unconfirmed() > 0
    }

    /// Says in the log what the edge promises, when that changes.
    pub(crate) fn tell(&mut self) {
        let promised = self.producer.negotiated();
        if promised != self.told {
            self.told = promised;
            tell("output", self.peer, promised);
        }
    }

    /// Why it has given up, if it has.
    pub(crate) fn failure(&self) -> Option<String> {
        self.producer.failed().map(|failure| format!("output {}: {failure}", self.peer))
    }
}

fn tell(edge: &str, peer: SocketAddr, promised: Option<Guarantee>) {
    if let Some(promised) = promised {
        tracing::info!("The {edge} {peer} promises {promised}");
    }
}
