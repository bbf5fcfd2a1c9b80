//! A decimal integer of any size, as text.

/// A decimal integer whose digits are still text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Integer<'a> {
    /// Whether it is below zero; -0 is not.
    pub(crate) negative: bool,
    /// ASCII digits without leading zeros; none of them for 0.
    pub(crate) digits: &'a [u8],
}

impl<'a> Integer<'a> {
    /// Reads what Python's `int` takes, less its underscores and the digits of other scripts: blanks around it, one
    /// sign, leading zeros.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.trim().as_bytes();
        let (signed_minus, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] | digits => (false, digits),
        };
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
        let digits = digits.get(zeros..)?;
        Some(Self { negative: signed_minus && !digits.is_empty(), digits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(bool, &str)>) {
        let expected = expected.map(|(negative, digits)| Integer { negative, digits: digits.as_bytes() });
        assert_eq!(Integer::parse(text.as_bytes()), expected, "{text:?}");
    }

    #[test]
    fn integers_as_python_reads_them() {
        check("5", Some((false, "5")));
        check("+5", Some((false, "5")));
        check("-5", Some((true, "5")));
        check(" \t\n-0012\u{a0} ", Some((true, "12")));
        check("-000", Some((false, "")));
        check("0", Some((false, "")));
    }

    #[test]
    fn other_texts_are_no_integers() {
        for text in ["", " ", "-", "+", "--1", "+-1", "- 1", "1 2", "1_000", "0x10", "1.0", "1e3", "abc", "\u{663}"] {
            check(text, None);
        }
        assert_eq!(Integer::parse(b"5\xff"), None);
    }
}
