//! How the programs of 2016 wrote numbers and strings. Old programs read these texts, so ours write them alike.

use std::fmt::Write as _;

/// The shortest decimal text that reads back as `value`, in the form that Python gives it: `4000.0`, `0.1`, `1e+16`,
/// `1e-05`.
pub fn float(value: f64) -> String {
    let mut out = String::new();
    push_float(value, &mut out);
    out
}

/// Appends what [`float`] gives.
pub fn push_float(value: f64, out: &mut String) {
    if value.is_nan() {
        return out.push_str("nan");
    }
    if value.is_infinite() {
        return out.push_str(if value > 0.0 { "inf" } else { "-inf" });
    }
    let start = out.len();
    let magnitude = value.abs();
    // Python's repr leaves the plain form below 1e-4 and from 1e16 on.
    let written = if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        push_scientific(value, out)
    } else if let Some(whole) = whole(value) {
        write!(out, "{whole}.0") // three times as fast as the general form
    } else if value.fract() == 0.0 {
        write!(out, "{value:.1}")
    } else {
        write!(out, "{value}")
    };
    debug_assert!(written.is_ok() && out.len() > start, "a String takes all");
}

/// A whole number that is not negative zero.
fn whole(value: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "what does not come back the same is no whole number here")]
    let whole = value as i64;
    #[expect(clippy::cast_precision_loss, reason = "compared with what it came from")]
    let same = (whole as f64).to_bits() == value.to_bits();
    same.then_some(whole)
}

/// Rust's `1.5e-7` as Python's `1.5e-07`: a sign always, and two digits at the least.
fn push_scientific(value: f64, out: &mut String) -> std::fmt::Result {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    write!(out, "{mantissa}e{sign}{digits:0>2}")
}

/// `text` as a Python string literal: in single quotes, or in double quotes where it has single ones and no double
/// ones; control characters escaped, printable ones as they are.
pub fn literal(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if !is_printable(c) => push_escape(c, &mut out),
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// Any bytes as a [`literal`] for a log line: at most 200 of them, and what is no UTF-8 replaced.
pub fn shown(bytes: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 200;
    let cut = bytes.get(..SHOWN_BYTES_MAX).unwrap_or(bytes);
    let more = if cut.len() < bytes.len() { "..." } else { "" };
    format!("{}{more}", literal(&String::from_utf8_lossy(cut)))
}

/// What Rust's `Debug` shows as it is, Python shows as it is: both follow Unicode's categories. The combining marks that
/// `Debug` escapes for its own readability are printable.
fn is_printable(c: char) -> bool {
    c == ' ' || !(c.is_control() || c.is_whitespace()) && (!c.escape_debug().eq(c.escape_unicode()) || is_combining(c))
}

fn is_combining(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}')
}

fn push_escape(c: char, out: &mut String) {
    let code = u32::from(c);
    let written = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
    debug_assert!(written.is_ok(), "a String takes all");
}

/// Appends `text` as a JSON string in ASCII, as Python's `json.dumps` does: `\u00e9`, surrogate pairs above U+FFFF.
pub fn push_json_string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    // Plain runs are copied whole: most texts are one.
    while let Some(at) = rest.bytes().position(|byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\')) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = special.chars();
        if let Some(c) = chars.next() {
            push_json_escape(c, out);
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn push_json_escape(c: char, out: &mut String) {
    let short = match c {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        _ => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let written = write!(out, "\\u{unit:04x}");
                debug_assert!(written.is_ok(), "a String takes all");
            }
            return;
        }
    };
    out.push_str(short);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn floats_as_python_writes_them() {
        for (value, text) in [
            (4000.0, "4000.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (0.0001, "0.0001"),
            (1e22, "1e+22"),
            (1.25e300, "1.25e+300"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (-2.5, "-2.5"),
            (1_795_288_651.315_418_5, "1795288651.3154185"),
        ] {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn literals_as_python_writes_them() {
        for (text, shown) in [
            ("PUT:ping", "'PUT:ping'"),
            ("", "''"),
            ("it's", "\"it's\""),
            ("it's \"so\"", "'it\\'s \"so\"'"),
            ("a\\b\n\r\t\u{1}\u{7f}\u{85}\u{a0}", "'a\\\\b\\n\\r\\t\\x01\\x7f\\x85\\xa0'"),
            ("héllo 𝐇", "'héllo 𝐇'"),
            ("\u{2028}\u{e000}\u{10ffff}", "'\\u2028\\ue000\\U0010ffff'"),
            ("e\u{301}", "'e\u{301}'"),
        ] {
            assert_eq!(literal(text), shown);
        }
    }

    #[test]
    fn bytes_are_cut_in_the_log() {
        assert_eq!(shown(b"it's \xff"), "\"it's \u{fffd}\"");
        assert_eq!(shown(&[b'x'; 201]), format!("'{}'...", "x".repeat(200)));
    }

    #[test]
    fn json_strings_are_ascii() {
        let mut out = String::new();
        push_json_string("a\"\\\n\u{1}é𝐇\u{7f}", &mut out);
        assert_eq!(out, r#""a\"\\\n\u0001\u00e9\ud835\udc07\u007f""#);
    }

    proptest! {
        #[test]
        fn a_float_reads_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(float(value).parse::<f64>().unwrap().to_bits(), bits);
        }
    }
}
