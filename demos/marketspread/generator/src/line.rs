//! One FIX message as a line of a file.

use std::{
    fmt,
    io::{self, Write},
};

/// Writes lines, each through the same two buffers.
#[derive(Debug, Default)]
pub(crate) struct LineWriter {
    body: Vec<u8>,
    line: Vec<u8>,
}

impl LineWriter {
    /// Writes the message of these fields, each with its SOH, as one quoted line. FIX counts as body what stands between
    /// tag 9 and tag 10, and the checksum is the sum modulo 256 of every byte before tag 10.
    pub(crate) fn write(&mut self, fields: fmt::Arguments<'_>, out: &mut impl Write) -> io::Result<()> {
        self.body.clear();
        self.body.write_fmt(fields)?;
        self.line.clear();
        write!(self.line, "8=FIX.4.2\x019={}\x01", self.body.len())?;
        self.line.extend_from_slice(&self.body);
        let checksum = self.line.iter().fold(0, |sum: u8, &byte| sum.wrapping_add(byte));
        writeln!(self.line, "10={checksum:03}\x01\"")?;
        out.write_all(b"\"")?;
        out.write_all(&self.line)
    }
}

/// A sum of money in ten-thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Money(pub(crate) u64);

impl Money {
    /// Reads a plain decimal number below ten million with at most four places.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (whole, places) = text.split_once('.').unwrap_or((text, ""));
        let plain = (1..=7).contains(&whole.len()) && places.len() <= 4;
        let digits = whole.bytes().chain(places.bytes()).all(|byte| byte.is_ascii_digit());
        if plain && digits { format!("{whole}{places:0<4}").parse().ok().map(Self) } else { None }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:04}", self.0 / 10_000, self.0 % 10_000)
    }
}

/// Milliseconds after the exchange opens at 09:30 on 17 March 2016. The day never ends: after midnight the hours start
/// over.
pub(crate) struct Time(pub(crate) u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0 + 9 * 3_600_000 + 30 * 60_000;
        let (seconds, minutes, hours) = (ms / 1000, ms / 60_000, ms / 3_600_000);
        write!(f, "20160317-{:02}:{:02}:{:02}.{:03}", hours % 24, minutes % 60, seconds % 60, ms % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_checksum_are_those_of_the_standard() {
        let mut out = Vec::new();
        let mut lines = LineWriter::default();
        lines.write(format_args!("35=0\x01"), &mut out).unwrap();
        lines.write(format_args!("35=0\x01107=é\x01"), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\"8=FIX.4.2\x019=5\x0135=0\x0110=161\x01\"\n\"8=FIX.4.2\x019=12\x0135=0\x01107=é\x0110=017\x01\"\n"
        );
    }

    #[test]
    fn money_reads_plain_decimals() {
        for (text, money) in [
            ("48.20", Some(482_000)),
            ("0.0001", Some(1)),
            ("7", Some(70_000)),
            ("7.", Some(70_000)),
            ("9999999.9999", Some(99_999_999_999)),
            ("10000000", None),
            ("1.00001", None),
            (".5", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("1.2.3", None),
            ("abc", None),
            ("", None),
        ] {
            assert_eq!(Money::parse(text), money.map(Money), "{text:?}");
        }
    }

    #[test]
    fn money_is_written_to_four_places() {
        assert_eq!(Money(482_000).to_string(), "48.2000");
        assert_eq!(Money(1).to_string(), "0.0001");
    }

    #[test]
    fn times_start_over_after_midnight() {
        for (ms, text) in [
            (0, "20160317-09:30:00.000"),
            (61_001, "20160317-09:31:01.001"),
            (14 * 3_600_000 + 30 * 60_000 - 1, "20160317-23:59:59.999"),
            (14 * 3_600_000 + 30 * 60_000, "20160317-00:00:00.000"),
        ] {
            assert_eq!(Time(ms).to_string(), text);
        }
    }
}
