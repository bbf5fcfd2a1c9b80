//! The two ends of an edge, as logic without I/O.
//!
//! On the verbs of 2016 an edge promises little: a lost datagram is a lost message, and answers carry no mark of what they
//! answer. What can be done on them is done here: [`PutEdge`] paces a sender by the queue's answers and never sends a
//! message to a queue that is not there; [`GetEdge`] keeps several requests in flight, repeats what stays unanswered, and
//! lets an idle queue rest.

mod get;
mod put;

pub use get::{GetEdge, GetLimits};
pub use put::{PutCounts, PutEdge, Window};
