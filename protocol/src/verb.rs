//! The verbs of 2016: what a queue is asked, and what it answers.
//!
//! A request is one frame whose text is split at the first colon: verb, rest. Answers carry no mark of what they
//! answer, so PUTs and GETs must never share a client's socket.

use std::fmt;

use crate::frame::{self, FrameError, TooLong};

pub(crate) const PUT_PREFIX: &[u8] = b"PUT:";

/// What a client asks of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// Append this message.
    Put(&'a [u8]),
    /// Take the oldest message away.
    Get,
    /// How many messages are there?
    Size,
}

/// Why a datagram is no request. A queue answers none of these: garbage is counted, never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestError {
    /// Not exactly one frame.
    Malformed(FrameError),
    /// A frame whose verb this queue does not know.
    UnknownVerb,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::UnknownVerb => write!(f, "unknown verb (this queue knows PUT, GET and SIZE)"),
        }
    }
}

impl std::error::Error for RequestError {}

impl<'a> Request<'a> {
    /// Reads one datagram.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, RequestError> {
        let text = frame::only(datagram).map_err(RequestError::Malformed)?;
        Self::parse_text(text).ok_or(RequestError::UnknownVerb)
    }

    /// Reads a frame's text; `None` where its verb is unknown.
    pub fn parse_text(text: &'a [u8]) -> Option<Self> {
        if let Some(message) = text.strip_prefix(PUT_PREFIX) {
            return Some(Self::Put(message));
        }
        // A GET or SIZE with something behind its colon is still one: so it was in 2016.
        match text.split(|&byte| byte == b':').next() {
            Some(b"GET") => Some(Self::Get),
            Some(b"SIZE") => Some(Self::Size),
            Some(b"PUT") => Some(Self::Put(b"")),
            _ => None,
        }
    }

    /// Appends the request as one frame.
    ///
    /// # Errors
    /// [`TooLong`] for a message above [`crate::MESSAGE_BYTES_MAX`]; nothing is appended then.
    pub fn push(self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        match self {
            Self::Put(message) => frame::push_joined(&[PUT_PREFIX, message], out),
            Self::Get => frame::push(b"GET", out),
            Self::Size => frame::push(b"SIZE", out),
        }
    }
}

/// The text of a full queue's answer to a PUT: the message was not taken.
pub const FULL: &[u8] = b"FULL";

/// What a queue answers to a PUT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutAnswer {
    /// `PUT <n> bytes`: the message is in the queue.
    Stored {
        /// What [`message_len`] gave for it.
        len: u64,
    },
    /// `FULL`: the queue did not take the message.
    Full,
}

impl PutAnswer {
    /// Reads the text of an answer; `None` where it is no answer to a PUT.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text == FULL {
            return Some(Self::Full);
        }
        let digits = text.strip_prefix(b"PUT ")?.strip_suffix(b" bytes")?;
        let len = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(Self::Stored { len })
    }

    /// Appends the answer as one frame.
    pub fn push(self, out: &mut Vec<u8>) {
        let pushed = match self {
            Self::Stored { len } => frame::push(format!("PUT {len} bytes").as_bytes(), out),
            Self::Full => frame::push(FULL, out),
        };
        debug_assert!(pushed.is_ok(), "an answer to a PUT is short");
    }
}

/// The `n` of `PUT <n> bytes`: characters, as in 2016, though the word says bytes; for ASCII both agree. Bytes where the
/// message is not UTF-8.
pub fn message_len(message: &[u8]) -> u64 {
    let len = if message.is_ascii() {
        message.len()
    } else {
        std::str::from_utf8(message).map_or(message.len(), |text| text.chars().count())
    };
    len as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(datagram: &[u8], expected: Result<Request<'_>, RequestError>) {
        assert_eq!(Request::parse(datagram), expected, "{}", datagram.escape_ascii());
    }

    #[test]
    fn verbs_of_2016() {
        check(b"13GET", Ok(Request::Get));
        check(b"1cGET:anything", Ok(Request::Get));
        check(b"16SIZE:?", Ok(Request::Size));
        check(b"14SIZE", Ok(Request::Size));
        check(b"13PUT", Ok(Request::Put(b"")));
        check(b"14PUT:", Ok(Request::Put(b"")));
        check(b"19PUT:a:b:c", Ok(Request::Put(b"a:b:c")));
        check(b"1FPUT:Hello World", Ok(Request::Put(b"Hello World")));
        check(b"13get", Err(RequestError::UnknownVerb));
        check(b"14GETX", Err(RequestError::UnknownVerb));
        check(b"10", Err(RequestError::UnknownVerb));
    }

    #[test]
    fn put_counts_characters_and_bytes_where_it_is_not_text() {
        assert_eq!(message_len("héllo 𝐇".as_bytes()), 7);
        assert_eq!(message_len(b"\xff\xfe"), 2);
        assert_eq!(message_len(b"ping"), 4);
    }

    #[test]
    fn answers_to_a_put() {
        assert_eq!(PutAnswer::parse(b"PUT 4 bytes"), Some(PutAnswer::Stored { len: 4 }));
        assert_eq!(PutAnswer::parse(b"FULL"), Some(PutAnswer::Full));
        for other in [&b""[..], b"PUT  bytes", b"PUT -1 bytes", b"PUT 4 byte", b"4"] {
            assert_eq!(PutAnswer::parse(other), None, "{}", other.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn put_comes_back(message in any::<Vec<u8>>()) {
            let mut out = Vec::new();
            Request::Put(&message).push(&mut out).unwrap();
            prop_assert_eq!(Request::parse(&out), Ok(Request::Put(&message)));
        }
    }
}
