//! The envelope of the link's requests and answers: `VERB c=<CRC32C> k=v k=v ...`, a line feed, then bytes.
//!
//! The verbs of 2016 never look like this, so an old server meets a call with silence. The checksum covers the verb and all
//! that follows the eight digits.

use std::fmt;

use crate::frame;

/// A call's frame begins with `4` and four digits, so that its length can be written last.
const FRAME_HEADER_BYTES: usize = 5;

/// At most so many fields; what a peer sends beyond them makes the call unreadable.
const FIELDS_MAX: usize = 20;

/// Why a frame's text is no call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallError {
    /// Its first line does not have the form of a call.
    Shape,
    /// The checksum does not fit: garbled on its way.
    Checksum,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape => write!(f, "no call: its first line is not VERB c=<checksum> k=v ..."),
            Self::Checksum => write!(f, "wrong checksum: garbled on its way"),
        }
    }
}

impl std::error::Error for CallError {}

/// A key of one or two letters as a number, which is compared at once; 0 for one that nobody asks for.
type Key = u16;

const fn key(name: &str) -> Key {
    match name.as_bytes() {
        [one] => *one as Key,
        [first, second] => (*first as Key) << 8 | *second as Key,
        _ => 0,
    }
}

/// A call as it came: its verb, its fields, its body.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// What is asked or answered.
    pub verb: &'a [u8],
    keys: [Key; FIELDS_MAX],
    values: [&'a [u8]; FIELDS_MAX],
    /// What follows the first line.
    pub body: &'a [u8],
}

impl<'a> Call<'a> {
    /// Whether a text has the form of a call at all; cheap, and true for no request of 2016.
    pub fn is_one(text: &[u8]) -> bool {
        let verb_len = text.iter().take(8).position(|byte| !byte.is_ascii_uppercase()).unwrap_or(0);
        verb_len > 0 && text.get(verb_len..).is_some_and(|rest| rest.starts_with(b" c="))
    }

    /// Reads a frame's text.
    pub fn parse(text: &'a [u8]) -> Result<Self, CallError> {
        let space = text.iter().take(9).position(|byte| *byte == b' ').ok_or(CallError::Shape)?;
        let (verb, rest) = text.split_at_checked(space).ok_or(CallError::Shape)?;
        let rest = rest.strip_prefix(b" c=").ok_or(CallError::Shape)?;
        let (digits, rest) = rest.split_at_checked(8).ok_or(CallError::Shape)?;
        let expected = hex(digits).ok_or(CallError::Shape)?;
        if u64::from(checksum(verb, rest)) != expected {
            return Err(CallError::Checksum);
        }
        let line_end = memchr::memchr(b'\n', rest).ok_or(CallError::Shape)?;
        let (line, body) = rest.split_at_checked(line_end + 1).ok_or(CallError::Shape)?;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut keys: [Key; FIELDS_MAX] = [0; FIELDS_MAX];
        let mut values: [&[u8]; FIELDS_MAX] = [b""; FIELDS_MAX];
        let mut places = keys.iter_mut().zip(&mut values);
        for field in line.split(|byte| *byte == b' ').filter(|field| !field.is_empty()) {
            let (key, value) = match field {
                [one, b'=', value @ ..] => (Key::from(*one), value),
                [first, second, b'=', value @ ..] => (Key::from(*first) << 8 | Key::from(*second), value),
                unknown if unknown.contains(&b'=') => (0, unknown),
                _ => return Err(CallError::Shape),
            };
            let (key_place, value_place) = places.next().ok_or(CallError::Shape)?;
            (*key_place, *value_place) = (key, value);
        }
        Ok(Self { verb, keys, values, body })
    }

    /// A field's value.
    pub fn text(&self, name: &str) -> Option<&'a [u8]> {
        let wanted = key(name);
        let place = self.keys.iter().position(|key| *key == wanted && wanted != 0)?;
        self.values.get(place).copied()
    }

    /// A field's value as a decimal number.
    pub fn number(&self, key: &str) -> Option<u64> {
        decimal(self.text(key)?)
    }

    /// A field's value as a hexadecimal number of up to 64 bits.
    pub fn id(&self, key: &str) -> Option<u64> {
        hex(self.text(key)?)
    }

    /// A field's value as a hexadecimal number of up to 128 bits.
    pub fn wide_id(&self, key: &str) -> Option<u128> {
        let text = self.text(key)?;
        let (high, low) = text.split_at_checked(text.len().saturating_sub(16))?;
        let high = if high.is_empty() { 0 } else { hex(high)? };
        Some(u128::from(high) << 64 | u128::from(hex(low)?))
    }
}

/// A decimal number: digits only, at most 64 bits.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

fn hex(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 16 {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        Some((number << 4) | u64::from(digit))
    })
}

fn checksum(verb: &[u8], rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(verb), rest)
}

/// Appends a short text as a frame, with a checksum like a call's between its two parts.
pub(crate) fn push_sealed(head: &str, rest: &str, out: &mut Vec<u8>) {
    let checksum = checksum(head.as_bytes(), rest.as_bytes());
    let pushed = frame::push(format!("{head} c={checksum:08x}{rest}").as_bytes(), out);
    debug_assert!(pushed.is_ok(), "a short text");
}

/// The two parts of a text that [`push_sealed`] wrote; `None` if it is another or garbled.
pub(crate) fn unseal(text: &[u8]) -> Option<(&[u8], &[u8])> {
    const MARK: &[u8] = b" c=";
    let at = text.windows(MARK.len()).take(32).position(|part| part == MARK)?;
    let (head, rest) = text.split_at_checked(at)?;
    let (digits, rest) = rest.get(MARK.len()..)?.split_at_checked(8)?;
    (hex(digits)? == u64::from(checksum(head, rest))).then_some((head, rest))
}

/// A call being written, as one frame, at the end of a buffer.
#[derive(Debug)]
pub struct Draft<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    verb_len: usize,
}

impl<'a> Draft<'a> {
    /// Begins a call; what stands in `out` already stays.
    pub fn begin(verb: &str, out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        out.extend_from_slice(b"40000");
        out.extend_from_slice(verb.as_bytes());
        out.extend_from_slice(b" c=00000000");
        Self { out, start, verb_len: verb.len() }
    }

    /// Adds a field with a decimal number.
    #[must_use]
    pub fn number(mut self, key: &str, value: u64) -> Self {
        self.key(key);
        push_decimal(value, self.out);
        self
    }

    /// Adds a field with a hexadecimal number.
    #[must_use]
    pub fn id(mut self, key: &str, value: u128) -> Self {
        let mut digits = [0; 32];
        let (high, low) = digits.split_at_mut(16);
        let half = |value: u128| u64::try_from(value & u128::from(u64::MAX)).unwrap_or_default();
        write_hex(half(value >> 64), high);
        write_hex(half(value), low);
        let digits_len = (u128::BITS - value.leading_zeros()).div_ceil(4).max(1) as usize;
        self.key(key);
        self.out.extend_from_slice(digits.get(digits.len() - digits_len..).unwrap_or_default());
        self
    }

    /// Adds a field with a text, which has neither blanks nor line feeds.
    #[must_use]
    pub fn text(mut self, key: &str, value: &[u8]) -> Self {
        debug_assert!(!value.iter().any(|byte| matches!(byte, b' ' | b'\n')), "the line would break");
        self.key(key);
        self.out.extend_from_slice(value);
        self
    }

    /// Adds a field whose value is written by `write`, without blanks and line feeds.
    #[must_use]
    pub(crate) fn with(mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        self.key(key);
        write(self.out);
        self
    }

    /// Adds a field as it travels, with the blank before it: at once, for the fast path.
    #[must_use]
    pub(crate) fn written(self, field: &'static str) -> Self {
        self.out.extend_from_slice(field.as_bytes());
        self
    }

    fn key(&mut self, key: &str) {
        self.out.push(b' ');
        self.out.extend_from_slice(key.as_bytes());
        self.out.push(b'=');
    }

    /// Ends the call with this body.
    pub fn finish(self, body: &[&[u8]]) {
        self.out.push(b'\n');
        for part in body {
            self.out.extend_from_slice(part);
        }
        seal(self.out, self.start, self.verb_len);
    }
}

/// Appends a number in decimal.
pub(crate) fn push_decimal(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes the checksum and the frame's length, which could not be known before.
fn seal(out: &mut [u8], start: usize, verb_len: usize) {
    let Some(frame) = out.get_mut(start..) else { return };
    let Some((header, text)) = frame.split_at_mut_checked(FRAME_HEADER_BYTES) else { return };
    let text_len = text.len();
    debug_assert!(text_len <= crate::TEXT_BYTES_MAX, "{text_len} bytes do not fit in a datagram");
    let Some((verb, rest)) = text.split_at_mut_checked(verb_len) else { return };
    let Some((equals, rest)) = rest.split_at_mut_checked(3 + 8) else { return };
    let sum = checksum(verb, rest);
    write_hex(u64::from(sum), equals.get_mut(3..).unwrap_or_default());
    write_hex(text_len as u64, header.get_mut(1..).unwrap_or_default());
}

fn write_hex(mut value: u64, places: &mut [u8]) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    for place in places.iter_mut().rev() {
        let digit = (value & 15) as usize;
        *place = DIGITS.get(digit).copied().unwrap_or(b'0');
        value >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(verb: &str, number: u64, text: &[u8], body: &[u8]) -> Vec<u8> {
        let mut out = b"before".to_vec();
        Draft::begin(verb, &mut out).number("r", number).text("st", text).id("p", u128::MAX).finish(&[body]);
        out.split_off(6)
    }

    #[test]
    fn a_call_reads_back() {
        let datagram = written("ENQ", 17, b"pong", b"11a11b");
        let call = Call::parse(frame::only(&datagram).unwrap()).unwrap();
        assert_eq!((call.verb, call.number("r"), call.text("st")), (&b"ENQ"[..], Some(17), Some(&b"pong"[..])));
        assert_eq!((call.wide_id("p"), call.number("x"), call.body), (Some(u128::MAX), None, &b"11a11b"[..]));
    }

    #[test]
    fn ids_and_unknown_keys_read_back() {
        for id in [0, 1, 0xf0, u128::from(u64::MAX), 1 << 64, 0xab << 64 | 0xcd, u128::MAX] {
            let mut out = Vec::new();
            Draft::begin("X", &mut out).text("long", b"1").text("", b"2").id("p", id).number("aa", 3).finish(&[]);
            let call = Call::parse(frame::only(&out).unwrap()).unwrap();
            assert!(out.ends_with(format!(" p={id:x} aa=3\n").as_bytes()));
            assert_eq!((call.wide_id("p"), call.number("aa"), call.text("a")), (Some(id), Some(3), None));
            assert_eq!((call.text("long"), call.text("")), (None, None));
            assert_eq!(call.id("p"), u64::try_from(id).ok());
        }
    }

    #[test]
    fn requests_of_2016_are_no_calls() {
        for text in [&b""[..], b"GET", b"SIZE", b"SIZE:?v2 r=1", b"PUT:ENQ c=0", b"put c=", b"ENQ", b"ENQ c"] {
            assert!(!Call::is_one(text), "{}", text.escape_ascii());
            assert_eq!(Call::parse(text).err(), Some(CallError::Shape));
        }
        assert!(Call::is_one(b"ENQ c="));
    }

    proptest! {
        #[test]
        fn one_garbled_byte_never_passes(number in any::<u64>(), body in any::<Vec<u8>>(), at in any::<prop::sample::Index>(), flip in 1_u8..) {
            let mut datagram = written("NAK", number, b"x", &body);
            let text_start = 5;
            let at = text_start + at.index(datagram.len() - text_start);
            datagram[at] ^= flip;
            let digits = text_start + 6..text_start + 14;
            let text = frame::only(&datagram).unwrap();
            // The digits themselves may change case and still say the same.
            prop_assert!(Call::parse(text).is_err() || digits.contains(&at));
        }

        #[test]
        fn any_text_is_a_call_or_an_error(text in any::<Vec<u8>>()) {
            if Call::parse(&text).is_ok() {
                prop_assert!(Call::is_one(&text));
            }
        }
    }
}
