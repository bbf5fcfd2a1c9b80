//! A message as one line of text.

use serde_json::value::RawValue;

use crate::Fault;

/// How deep a message may nest: as deep as common readers of JSON follow it.
pub(crate) const DEPTH_MAX: usize = 128;

/// Appends the message and a line end: a string as it is, any other value as JSON without blanks. A line end inside a
/// string becomes `\n` or `\r`, so that one line is one message.
///
/// On a fault, part of it may have been appended.
pub(crate) fn push(msg: &RawValue, out: &mut String) -> Result<(), Fault> {
    let json = msg.get();
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        // JSON lets no control character stand in a string unless it is escaped.
        Some(text) if !text.contains('\\') => out.push_str(text),
        Some(_) => push_text(&serde_json::from_str::<String>(json).map_err(Fault::NotJson)?, out),
        None => push_compact(json, out)?,
    }
    out.push('\n');
    Ok(())
}

fn push_text(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
}

/// Leaves the blanks out that stand between JSON's tokens. Numbers and escapes stay as they were sent.
fn push_compact(json: &str, out: &mut String) -> Result<(), Fault> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for c in json.chars() {
        match c {
            ' ' | '\t' | '\n' | '\r' if !in_string => continue,
            '"' if !escaped => in_string = !in_string,
            '[' | '{' if !in_string => depth += 1,
            ']' | '}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(Fault::TooDeep);
        }
        escaped = in_string && c == '\\' && !escaped;
        out.push(c);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(json: &str) -> Result<String, Fault> {
        let mut out = String::new();
        push(serde_json::from_str(json).unwrap(), &mut out).map(|()| out)
    }

    #[test]
    fn strings_stand_as_they_are_and_values_without_blanks() {
        for (json, shown) in [
            (r#""New Order: (CLIENT35, TSLA)""#, "New Order: (CLIENT35, TSLA)"),
            (r#""""#, ""),
            (r#""é \u00e9 \ud835\udc07 \" \\ \/ \t \u0001""#, "é é 𝐇 \" \\ / \t \u{1}"),
            (r#""a\nb\r\nc\\n""#, r"a\nb\r\nc\n"),
            ("null", "null"),
            ("-1.50e+3", "-1.50e+3"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("{ \"b\" : [ 1 , \"x \\\" ] y\\\\\" ],\n\t\"a\" : { } }", r#"{"b":[1,"x \" ] y\\"],"a":{}}"#),
        ] {
            assert_eq!(line(json).unwrap(), format!("{shown}\n"), "{json}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        assert!(matches!(line(r#""\ud835""#), Err(Fault::NotJson(_))));
    }

    #[test]
    fn depth_has_a_bound() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(line(&nested(DEPTH_MAX)).unwrap(), nested(DEPTH_MAX) + "\n");
        assert!(matches!(line(&nested(DEPTH_MAX + 1)), Err(Fault::TooDeep)));
        assert!(matches!(line(&nested(30_000)), Err(Fault::TooDeep)));
    }

    proptest! {
        #[test]
        fn a_line_is_one_line(text in "\\PC*|[\\n\\r\"\\\\a ]*") {
            let json = serde_json::to_string(&text).unwrap();
            let line = line(&json).unwrap();
            prop_assert_eq!(line.matches(['\n', '\r']).count(), 1);
            prop_assert_eq!(line, text.replace('\n', "\\n").replace('\r', "\\r") + "\n");
        }

        #[test]
        fn a_compact_value_is_the_same_value(texts in proptest::collection::vec(".*", 0..4), number in any::<i32>()) {
            let value = serde_json::json!({"texts": texts, "number": number, "nested": [[texts], null, true]});
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(line(&pretty).unwrap(), serde_json::to_string(&value).unwrap() + "\n");
        }
    }
}
