//! Why a function will not handle a message.

use std::fmt;

use protocol::text;

use crate::fix::Tag;

/// Why a function will not handle a message. The worker counts it by its [`name`](Self::name), logs it, and goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The function knows a few texts, and this is none of them.
    UnknownInput {
        /// The message; bytes that are no UTF-8 are replaced.
        input: String,
    },
    /// The message is not a decimal integer.
    NotAnInteger {
        /// The message; bytes that are no UTF-8 are replaced.
        input: String,
    },
    /// The message is FIX and lacks a tag that the function needs.
    MissingTag(Tag),
    /// The message is FIX and a tag that the function knows has no `=` behind it.
    TagWithoutValue(Tag),
    /// The message is FIX and a numeric tag holds something else.
    NotANumber {
        /// The tag.
        tag: Tag,
        /// What it holds; bytes that are no UTF-8 are replaced.
        value: String,
    },
    /// The function would have to remember something of the message, and has no room left.
    StateFull {
        /// How many bytes its state may take.
        bytes_max: u64,
    },
}

impl Refusal {
    /// A short name for counters, which stays as it is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::UnknownInput { .. } => "unknown_input",
            Self::NotAnInteger { .. } => "not_an_integer",
            Self::MissingTag(_) => "missing_tag",
            Self::TagWithoutValue(_) => "tag_without_value",
            Self::NotANumber { .. } => "not_a_number",
            Self::StateFull { .. } => "state_full",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownInput { input } => write!(f, "Unknown input: {}", text::literal(input)),
            Self::NotAnInteger { input } => write!(f, "Not an integer: {}", text::literal(input)),
            Self::MissingTag(tag) => write!(f, "Missing tag: {tag}"),
            Self::TagWithoutValue(tag) => write!(f, "Tag without a value: {tag}"),
            Self::NotANumber { tag, value } => write!(f, "Not a number in tag {tag}: {}", text::literal(value)),
            Self::StateFull { bytes_max } => write!(f, "No room to remember more: --state-bytes-max is {bytes_max}"),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_what_they_refuse() {
        for (refusal, name, text) in [
            (Refusal::UnknownInput { input: "it's".into() }, "unknown_input", "Unknown input: \"it's\""),
            (Refusal::NotAnInteger { input: "abc".into() }, "not_an_integer", "Not an integer: 'abc'"),
            (Refusal::MissingTag(Tag::Symbol), "missing_tag", "Missing tag: 55 (Symbol)"),
            (Refusal::TagWithoutValue(Tag::MsgType), "tag_without_value", "Tag without a value: 35 (MsgType)"),
            (
                Refusal::NotANumber { tag: Tag::OrderQty, value: "1\u{1}".into() },
                "not_a_number",
                "Not a number in tag 38 (OrderQty): '1\\x01'",
            ),
            (
                Refusal::StateFull { bytes_max: 1 << 30 },
                "state_full",
                "No room to remember more: --state-bytes-max is 1073741824",
            ),
        ] {
            assert_eq!((refusal.name(), refusal.to_string().as_str()), (name, text));
        }
    }
}
