//! The two ends of an edge, as logic without I/O.
//!
//! [`Producer`] and [`Consumer`] are the client ends: they find out what the peer speaks, send or lease batches of messages,
//! and send again what is not answered. They fall back to the verbs of 2016 by themselves.
//!
//! On the verbs of 2016 an edge promises little: a lost datagram is a lost message, and answers carry no mark of what they
//! answer. What can be done on them is done here: [`PutEdge`] paces a sender by the queue's answers and never sends a
//! message to a queue that is not there; [`GetEdge`] keeps several requests in flight, repeats what stays unanswered, and
//! lets an idle queue rest.

mod client;
mod get;
mod put;
mod server;

pub use client::{
    Batch, Consumer, ConsumerCounts, ConsumerPlan, Failure, Faults, Guarantee, Input, MessageTooLong, Notice, Outcome,
    OutputId, PeerCounts, Producer, ProducerCounts, ProducerPlan, SendLimits, UnknownGuarantee,
};
pub use get::{GetEdge, GetLimits};
pub use put::{PutCounts, PutEdge, Window};
pub use server::{
    BadRecord, Fault, Field, Flow, Full, Gauges, Intake, IntakeCounts, Ledger, LogDamaged, Popped, RecordText,
    Recovery, Refused, Run, Server, ServerLimits, Shelf, boot_in_memory, describe, stat,
};
