//! JSON as Python's `json.dumps` writes it: `", "` and `": "`, floats in Python's form, ASCII only.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};

/// `value` as JSON. It fails only where JSON cannot hold a value, as with a map whose keys are no texts.
pub fn to_vec(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(512);
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Python))?;
    Ok(bytes)
}

struct Python;

impl Formatter for Python {
    fn write_f64<W: ?Sized + Write>(&mut self, to: &mut W, value: f64) -> io::Result<()> {
        to.write_all(protocol::text::float(value).as_bytes())
    }

    /// `fragment` holds nothing that JSON itself would escape.
    fn write_string_fragment<W: ?Sized + Write>(&mut self, to: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return to.write_all(fragment.as_bytes());
        }
        let mut quoted = String::with_capacity(fragment.len() * 6);
        protocol::text::push_json_string(fragment, &mut quoted);
        to.write_all(quoted.trim_matches('"').as_bytes())
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        separate(to, first)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        separate(to, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }
}

fn separate<W: ?Sized + Write>(to: &mut W, first: bool) -> io::Result<()> {
    if first { Ok(()) } else { to.write_all(b", ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn as_python_writes_it() {
        for (value, text) in [
            (json!({"a": [1, 2.0, 1e-5], "b": null, "c": {}}), r#"{"a": [1, 2.0, 1e-05], "b": null, "c": {}}"#),
            (json!("q\"\\\n\u{1} é𝐇\u{7f}"), r#""q\"\\\n\u0001 \u00e9\ud835\udc07\u007f""#),
            (json!({"é": true}), r#"{"\u00e9": true}"#),
            (json!(1_458_195_070.313_115_1), "1458195070.3131151"),
        ] {
            assert_eq!(String::from_utf8(to_vec(&value).unwrap()).unwrap(), text);
        }
    }
}
