//! What an answer to a request looks like, as far as the verbs of 2016 tell.

use protocol::verb::{self, PutAnswer};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A message is put, of so many characters and bytes: a queue of another make may count either.
    Put { chars: u64, bytes: u64 },
    /// A message is taken away. Any text may be one.
    Get,
    /// The size is asked for.
    Size,
    /// No queue's verb. A peer that answers it may answer anything.
    Unknown,
}

impl Kind {
    pub(crate) fn of(datagram: &[u8]) -> Self {
        match verb::Request::parse(datagram) {
            Ok(verb::Request::Put(message)) => {
                Self::Put { chars: verb::message_len(message), bytes: message.len() as u64 }
            }
            Ok(verb::Request::Get) => Self::Get,
            Ok(verb::Request::Size) => Self::Size,
            Err(_) => Self::Unknown,
        }
    }

    /// Whether this can be the answer.
    pub(crate) fn fits(self, answer: &[u8]) -> bool {
        match self {
            Self::Put { chars, bytes } => match PutAnswer::parse(answer) {
                Some(PutAnswer::Stored { len }) => len == chars || len == bytes,
                Some(PutAnswer::Full) => true,
                None => false,
            },
            Self::Size => !answer.is_empty() && answer.iter().all(u8::is_ascii_digit),
            Self::Get | Self::Unknown => true,
        }
    }

    /// Whether this answer says that the message was not taken.
    pub(crate) fn is_refusal(self, answer: &[u8]) -> bool {
        matches!(self, Self::Put { .. }) && answer == verb::FULL
    }
}

/// What was asked before, of which answers may still come.
#[derive(Debug, Default)]
pub(crate) struct Earlier {
    put: bool,
    size: bool,
    anything: bool,
}

impl Earlier {
    pub(crate) fn add(&mut self, kind: Kind) {
        match kind {
            Kind::Put { .. } => self.put = true,
            Kind::Size => self.size = true,
            Kind::Get | Kind::Unknown => self.anything = true,
        }
    }

    /// Whether this can be an answer to one of them.
    pub(crate) fn fits(&self, answer: &[u8]) -> bool {
        self.anything || self.put && PutAnswer::parse(answer).is_some() || self.size && Kind::Size.fits(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_fit_their_requests() {
        for (request, fitting, unfitting) in [
            ("17PUT:abc", &["PUT 3 bytes", "FULL"][..], &["PUT 4 bytes", "PUT", "abc", ""][..]),
            ("1aPUT:h\u{e9}llo", &["PUT 5 bytes", "PUT 6 bytes"], &["PUT 7 bytes", "5"]),
            ("13PUT", &["PUT 0 bytes"], &["PUT 3 bytes"]),
            ("14SIZE", &["0", "18446744073709551616"], &["", "-1", "+1", "1 ", "FULL"]),
            ("13GET", &["", "anything", "PUT 3 bytes"], &[]),
            ("13get", &["", "anything"], &[]),
        ] {
            let kind = Kind::of(request.as_bytes());
            for answer in fitting {
                assert!(kind.fits(answer.as_bytes()), "{request}: {answer}");
            }
            for answer in unfitting {
                assert!(!kind.fits(answer.as_bytes()), "{request}: {answer}");
            }
        }
    }
}
