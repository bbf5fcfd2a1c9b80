//! What can be wrong with a message.

use std::{fmt, str::Utf8Error};

use protocol::text;

use crate::line::DEPTH_MAX;

/// Why a message is not wholly good. The first five have nothing that could be shown; at the others the `msg` is shown
/// all the same.
#[derive(Debug)]
pub enum Fault {
    /// It is not text.
    NotUtf8(Utf8Error),
    /// It is not JSON, or its `msg` is a string with half a surrogate pair.
    NotJson(serde_json::Error),
    /// It is JSON, but not an object.
    NotAnObject,
    /// There is no member `msg`.
    NoMsg,
    /// `msg` nests deeper than 128.
    TooDeep,
    /// There is no member `feed_time`.
    NoFeedTime,
    /// `feed_time` is no number, or a latency counted from it is beyond measure.
    BadFeedTime,
    /// `feed_time` is later than now; the latency counts as none.
    FutureFeedTime {
        /// By how much, in seconds.
        ahead_s: f64,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8(error) => write!(f, "not UTF-8: {error}"),
            Self::NotJson(error) => write!(f, "not JSON: {error}"),
            Self::NotAnObject => write!(f, "not a JSON object"),
            Self::NoMsg => write!(f, "no msg"),
            Self::TooDeep => write!(f, "msg nests deeper than {DEPTH_MAX}"),
            Self::NoFeedTime => write!(f, "no feed_time"),
            Self::BadFeedTime => write!(f, "feed_time is not a number of seconds since the epoch"),
            Self::FutureFeedTime { ahead_s } => {
                write!(f, "feed_time is {} s in the future: do the clocks agree?", text::float(*ahead_s))
            }
        }
    }
}

impl std::error::Error for Fault {}
