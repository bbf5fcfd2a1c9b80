//! The link's requests and answers as values. `docs/protocol.md`, section 7, says what they mean.
//!
//! A request carries a token `r` of the client's choice, its answer echoes it as `a`: so answers find their requests
//! whatever their order, and neither can be taken for the other.

mod answer;
mod ask;
mod lease;
mod varint;
mod welcome;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::DATAGRAM_BYTES_MAX;
use crate::call::CallError;

pub use self::{
    answer::{Answer, Durability, Msg, Past},
    ask::{Ask, DELIVERIES_A_REQUEST_MAX, DeadDo, Deq, Derived, Enq, GiveBack, Place, Sending},
    lease::{Finish, Finishes, Lease, finishes},
    varint::{push_varint, split_varint},
    welcome::{Welcome, discovery, is_garbled_discovery, push_discovery},
};

/// What a producer does whose outputs carry derived ids: a name, and no longer than this.
pub const STAGE_BYTES_MAX: usize = 64;

/// The longest message that every request and answer can carry, whatever their numbers: what is longer cannot be told from
/// one that arrives. The longest header is that of an ENQ with derived ids.
pub const MESSAGE_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - 314;

/// Why a frame's text is no request or answer of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkError {
    /// No call, or a garbled one.
    Call(CallError),
    /// The verb is unknown here.
    UnknownVerb,
    /// A field is missing or cannot be read.
    Field(&'static str),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::UnknownVerb => write!(f, "unknown verb"),
            Self::Field(field) => write!(f, "field '{field}' is missing or cannot be read"),
        }
    }
}

impl std::error::Error for LinkError {}

impl From<CallError> for LinkError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}
