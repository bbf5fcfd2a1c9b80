//! Payloads for people's eyes.

/// How much of a payload is shown.
const SHOWN_BYTES_MAX: usize = 1_000;

/// A payload as one line: text as it is, control characters escaped, cut where it grows long.
pub(crate) fn line(payload: &[u8]) -> String {
    let cut = payload.get(..SHOWN_BYTES_MAX).unwrap_or(payload);
    let mut line = String::with_capacity(cut.len());
    for c in String::from_utf8_lossy(cut).chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    if cut.len() < payload.len() {
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_one_line_of_harmless_text() {
        for (payload, shown) in [
            (&b"PUT:it's \"7\" \\ 7"[..], "PUT:it's \"7\" \\ 7"),
            ("Lorem Ips\u{fc}m".as_bytes(), "Lorem Ips\u{fc}m"),
            (b"a\nb\x1b[2J\x01", "a\\nb\\u{1b}[2J\\u{1}"),
            (b"\xff", "\u{fffd}"),
            (b"", ""),
        ] {
            assert_eq!(line(payload), shown);
        }
        assert_eq!(line(&vec![b'x'; 70_000]).len(), SHOWN_BYTES_MAX + 3);
    }
}
