//! The client ends of the link: a [`Producer`] sends messages into one queue or sink, a [`Consumer`] leases them from
//! one queue. `docs/protocol.md`, section 7, is what they follow.
//!
//! Both find out by themselves what the peer speaks, and fall back to the verbs of 2016. The machine that owns an end
//! gives it the peer's datagrams and nobody else's, and takes its datagrams after each call.

mod batch;
mod consumer;
mod deliveries;
mod discovery;
mod faults;
mod finishing;
mod guarantee;
mod holding;
mod old_input;
mod outbox;
mod outgoing;
mod producer;
mod request;
mod rtt;
mod tokens;
mod window;

#[cfg(test)]
mod loopback;

pub use batch::Batch;
pub use consumer::{Consumer, ConsumerCounts, ConsumerPlan, Notice, Outcome};
pub use faults::Faults;
pub use guarantee::{Failure, Guarantee, UnknownGuarantee};
pub use outgoing::{Input, OutputId};
pub use producer::{MessageTooLong, PeerCounts, Producer, ProducerCounts, ProducerPlan};
pub use window::SendLimits;
