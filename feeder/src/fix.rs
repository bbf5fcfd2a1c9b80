//! The wrapping of 2016: what is stripped off a line, and what is put around it when it is sent.

use std::time::Duration;

use machine::Now;
use protocol::{MESSAGE_BYTES_MAX, text};

const SOH: u8 = 1;

/// What stands between the text and its stamp. Tag 999 is the time at which the message was fed.
const TAG: &[u8] = b"\x01999=";

/// A stamp takes 18 bytes at the most between 1971 and 2286: ten digits, the point, and the seven that a float has left.
const STAMP_BYTES: usize = 18;

/// What the wrapping takes at the most.
pub(crate) const WRAPPING_BYTES_MAX: usize = 1 + TAG.len() + STAMP_BYTES + 2;

/// The longest text that fits in a message with its wrapping.
pub(crate) const TEXT_BYTES_MAX: usize = MESSAGE_BYTES_MAX - WRAPPING_BYTES_MAX;

/// What is left of a line: without white space at both ends, then without quotes, then without SOHs, in one pass.
/// `None` for a line of white space only.
pub(crate) fn stripped(line: &[u8]) -> Option<&[u8]> {
    let text = match str::from_utf8(line) {
        Ok(text) => text.trim_matches(is_space).as_bytes(),
        Err(_) => trim(line, |byte| byte.is_ascii() && is_space(char::from(byte))),
    };
    (!text.is_empty()).then(|| trim(trim(text, |byte| byte == b'"'), |byte| byte == SOH))
}

/// What Python takes for white space: what Unicode does, and the four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

fn trim(mut text: &[u8], goes: impl Fn(u8) -> bool) -> &[u8] {
    while let [first, rest @ ..] = text
        && goes(*first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && goes(*last)
    {
        text = rest;
    }
    text
}

/// Appends the message that carries `text`.
pub(crate) fn push_wrapped(text: &[u8], stamp: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.extend_from_slice(TAG);
    out.extend_from_slice(stamp.as_bytes());
    out.extend_from_slice(&[SOH, b'"']);
}

/// The time as text, written anew only when it has changed: all messages of a turn share it.
#[derive(Debug, Default)]
pub(crate) struct Stamp {
    since_epoch: Option<Duration>,
    text: String,
}

impl Stamp {
    pub(crate) fn at(&mut self, now: Now) -> &str {
        if self.since_epoch != Some(now.since_epoch) {
            self.since_epoch = Some(now.since_epoch);
            self.text.clear();
            text::push_float(now.epoch_seconds(), &mut self.text);
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripping_is_one_pass_of_white_space_then_quotes_then_sohs() {
        for (line, expected) in [
            (&b"A1"[..], Some(&b"A1"[..])),
            (b"\"\"x\x01\x01\"", Some(b"x")),
            (b"\"\x01\"z\"", Some(b"\"z")),
            (b" \t\"a b\" \r\n", Some(b"a b")),
            (b"\" x\"", Some(b" x")),
            (b"\"a\"b\"", Some(b"a\"b")),
            ("\u{a0}\u{2003}é\u{85}\x1c\x1f".as_bytes(), Some("é".as_bytes())),
            (b"\xff x \xff ", Some(b"\xff x \xff")),
            (b"\0x\0", Some(b"\0x\0")),
            (b"\"\x01\"", Some(b"")),
            (b"", None),
            (b" \t\r\x0b\x0c", None),
        ] {
            assert_eq!(stripped(line), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn longest_text_fills_a_message() {
        let now = Now { since_start: Duration::ZERO, since_epoch: Duration::from_nanos(1_795_288_651_315_418_500) };
        let mut message = Vec::new();
        push_wrapped(&vec![b'x'; TEXT_BYTES_MAX], Stamp::default().at(now), &mut message);
        assert_eq!(message.len(), MESSAGE_BYTES_MAX);
        assert!(message.ends_with(b"xx\x01999=1795288651.3154185\x01\""));
    }

    #[test]
    fn stamps_follow_the_clock() {
        let at = |ms| Now { since_start: Duration::ZERO, since_epoch: Duration::from_millis(ms) };
        let mut stamp = Stamp::default();
        let stamps = [0, 0, 1_500, 1_500, 1_000].map(|ms| stamp.at(at(ms)).to_owned());
        assert_eq!(stamps, ["0.0", "0.0", "1.5", "1.5", "1.0"]);
    }
}
