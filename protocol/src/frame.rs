//! One frame: `L`, then `L` hexadecimal digits that give the text's length, then the text. `Hello World` travels as
//! `1bHello World`.
//!
//! Encoders write lower case without leading zeros; decoders take either case and leading zeros, because the Pony tools
//! of 2016 wrote upper case. Nothing else passes: no sign, no blank, no `0x`, no underscore, no `L` of 0.

use std::fmt;

/// Why some bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// There are no bytes at all.
    Empty,
    /// `L` or a digit of the length is not a hexadecimal digit, or `L` is 0.
    BadHeader {
        /// The byte that does not fit.
        byte: u8,
    },
    /// The bytes end inside the header.
    ShortHeader,
    /// The header promises another length than there is.
    Mismatch {
        /// How many bytes the header promises, itself included.
        expected: u64,
        /// How many there are.
        got: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "empty datagram"),
            Self::BadHeader { byte } => write!(f, "byte 0x{byte:02x} in the header is no hexadecimal digit that fits"),
            Self::ShortHeader => write!(f, "datagram ends inside the header"),
            Self::Mismatch { expected, got } => {
                write!(f, "buffer length mismatch: expected {expected} bytes, got {got} bytes")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// Splits the first frame off `bytes`: its text, and what follows it.
pub fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), FrameError> {
    let (&first, rest) = bytes.split_first().ok_or(FrameError::Empty)?;
    let digits_len = hex_digit(first)?;
    if digits_len == 0 {
        return Err(FrameError::BadHeader { byte: first });
    }
    let Some((digits, rest)) = rest.split_at_checked(usize::from(digits_len)) else {
        // A bad digit says more than a short header does.
        rest.iter().try_for_each(|&byte| hex_digit(byte).map(drop))?;
        return Err(FrameError::ShortHeader);
    };
    let mut text_len: u64 = 0;
    for &byte in digits {
        text_len = (text_len << 4) | u64::from(hex_digit(byte)?); // 15 digits at the most: 60 bits
    }
    usize::try_from(text_len)
        .ok()
        .and_then(|len| rest.split_at_checked(len))
        .ok_or(FrameError::Mismatch { expected: 1 + u64::from(digits_len) + text_len, got: bytes.len() })
}

/// The text of a datagram that is exactly one frame.
pub fn only(datagram: &[u8]) -> Result<&[u8], FrameError> {
    match split(datagram)? {
        (text, []) => Ok(text),
        (_, surplus) => {
            Err(FrameError::Mismatch { expected: (datagram.len() - surplus.len()) as u64, got: datagram.len() })
        }
    }
}

/// The text does not fit in one datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong {
    /// The text's length in bytes.
    pub bytes: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text of {} bytes does not fit in a datagram; {} is the limit", self.bytes, crate::TEXT_BYTES_MAX)
    }
}

impl std::error::Error for TooLong {}

/// Appends `text` as one frame.
///
/// # Errors
/// [`TooLong`] above [`crate::TEXT_BYTES_MAX`]; nothing is appended then.
pub fn push(text: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
    push_joined(&[text], out)
}

/// Appends one frame whose text is `parts`, one after another.
///
/// # Errors
/// [`TooLong`] above [`crate::TEXT_BYTES_MAX`]; nothing is appended then.
pub fn push_joined(parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), TooLong> {
    let text_len: usize = parts.iter().map(|part| part.len()).sum();
    if text_len > crate::TEXT_BYTES_MAX {
        return Err(TooLong { bytes: text_len });
    }
    push_header(text_len, out);
    for part in parts {
        out.extend_from_slice(part);
    }
    Ok(())
}

fn push_header(text_len: usize, out: &mut Vec<u8>) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let digit = |value: usize| HEX.get(value & 15).copied().unwrap_or(b'0');
    let digits_len = (usize::BITS - text_len.leading_zeros()).div_ceil(4);
    if digits_len == 0 {
        out.extend_from_slice(b"10");
        return;
    }
    out.push(digit(digits_len as usize));
    for place in (0..digits_len).rev() {
        out.push(digit(text_len >> (place * 4)));
    }
}

fn hex_digit(byte: u8) -> Result<u8, FrameError> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(FrameError::BadHeader { byte }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_text_is_10() {
        let mut out = Vec::new();
        push(b"", &mut out).unwrap();
        assert_eq!(out, b"10");
    }

    #[test]
    fn longest_text_fills_a_datagram() {
        let mut out = Vec::new();
        push(&vec![b'x'; crate::TEXT_BYTES_MAX], &mut out).unwrap();
        assert_eq!(out.len(), crate::DATAGRAM_BYTES_MAX);
        let one_more = vec![b'x'; crate::TEXT_BYTES_MAX + 1];
        assert_eq!(push(&one_more, &mut out), Err(TooLong { bytes: crate::TEXT_BYTES_MAX + 1 }));
        assert_eq!(out.len(), crate::DATAGRAM_BYTES_MAX);
    }

    #[test]
    fn frames_follow_one_another() {
        assert_eq!(split(b"11a12bc"), Ok((&b"a"[..], &b"12bc"[..])));
        assert_eq!(only(b"11a12bc"), Err(FrameError::Mismatch { expected: 3, got: 7 }));
    }

    #[test]
    fn longest_header_is_read_without_overflow() {
        let error = only(b"ffffffffffffffffx");
        assert_eq!(error, Err(FrameError::Mismatch { expected: (1 << 60) - 1 + 16, got: 17 }));
    }

    proptest! {
        #[test]
        fn what_is_pushed_is_split(text in proptest::collection::vec(any::<u8>(), 0..70_000), tail in any::<Vec<u8>>()) {
            let mut out = Vec::new();
            match push(&text, &mut out) {
                Ok(()) => {
                    out.extend_from_slice(&tail);
                    prop_assert_eq!(split(&out), Ok((&text[..], &tail[..])));
                }
                Err(TooLong { bytes }) => prop_assert!(bytes == text.len() && bytes > crate::TEXT_BYTES_MAX),
            }
        }

        #[test]
        fn any_bytes_give_a_frame_or_an_error(bytes in any::<Vec<u8>>()) {
            if let Ok(text) = only(&bytes) {
                let mut again = Vec::new();
                push(text, &mut again).unwrap();
                prop_assert!(again.len() <= bytes.len(), "a canonical frame is never longer");
                prop_assert_eq!(only(&again), Ok(text));
            }
        }
    }
}
