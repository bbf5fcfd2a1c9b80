//! How requests and their outcomes stand on stdout.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use protocol::text;
use serde::Serialize;

/// The form in which requests and outcomes are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As in 2016: `Data sent: 'PUT:ping'`, `Data received: 'PUT 4 bytes'`, at the end `Socket closed.`
    Text,
    /// The answers' bytes only, each with a line end.
    Raw,
    /// A JSON object a request, each on a line.
    Json,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome<'a> {
    Answered { answer: &'a [u8], took: Duration },
    TimedOut,
    Refused,
    TooLong,
    Unsent,
    Interrupted,
}

impl Outcome<'_> {
    fn error(self) -> Option<&'static str> {
        match self {
            Self::Answered { .. } => None,
            Self::TimedOut => Some("timeout"),
            Self::Refused => Some("refused"),
            Self::TooLong => Some("too_long"),
            Self::Unsent => Some("unsent"),
            Self::Interrupted => Some("interrupted"),
        }
    }
}

impl Style {
    pub(crate) fn tell_sent(self, request: &[u8], out: &mut Vec<u8>) {
        if self == Self::Text {
            out.extend_from_slice(format!("Data sent: {}\n", shown(request)).as_bytes());
        }
    }

    pub(crate) fn tell_outcome(self, request: &[u8], outcome: Outcome<'_>, out: &mut Vec<u8>) {
        match (self, outcome) {
            (Self::Text, Outcome::Answered { answer, .. }) => {
                out.extend_from_slice(format!("Data received: {}\n", shown(answer)).as_bytes());
            }
            (Self::Text, Outcome::Refused) => {
                out.extend_from_slice(b"Error received: [Errno 111] Connection refused\n");
            }
            (Self::Raw, Outcome::Answered { answer, .. }) => {
                out.extend_from_slice(answer);
                out.push(b'\n');
            }
            (Self::Json, outcome) => push_json(request, outcome, out),
            // The log says it.
            (Self::Text | Self::Raw, _) => {}
        }
    }

    pub(crate) fn tell_closed(self, out: &mut Vec<u8>) {
        if self == Self::Text {
            out.extend_from_slice(b"Socket closed.\n");
        }
    }
}

/// Bytes as Python writes them: a string's literal, or that of bytes where they are not UTF-8.
pub(crate) fn shown(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| format!("b'{}'", bytes.escape_ascii()), text::literal)
}

/// The same for a log line, cut where it grows long.
pub(crate) fn shown_cut(bytes: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 200;
    if bytes.len() <= SHOWN_BYTES_MAX {
        return shown(bytes);
    }
    let len = std::str::from_utf8(bytes).map_or(SHOWN_BYTES_MAX, |text| text.floor_char_boundary(SHOWN_BYTES_MAX));
    shown(bytes.get(..len).unwrap_or(bytes)) + "..."
}

/// One line of JSON. What is not UTF-8 stands in base64, under another name.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

fn push_json(request: &[u8], outcome: Outcome<'_>, out: &mut Vec<u8>) {
    let (sent, sent_base64) = text_or_base64(request);
    let (received, received_base64, rtt_us) = match outcome {
        Outcome::Answered { answer, took } => {
            let (received, received_base64) = text_or_base64(answer);
            (received, received_base64, Some(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)))
        }
        _ => (None, None, None),
    };
    let told = Told { sent, sent_base64, received, received_base64, rtt_us, error: outcome.error() };
    let written = serde_json::to_writer(&mut *out, &told);
    debug_assert!(written.is_ok(), "a Vec takes all, and all keys are texts");
    out.push(b'\n');
}

pub(crate) fn text_or_base64(bytes: &[u8]) -> (Option<&str>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(STANDARD.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(style: Style, request: &[u8], outcome: Outcome<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        style.tell_sent(request, &mut out);
        style.tell_outcome(request, outcome, &mut out);
        style.tell_closed(&mut out);
        out
    }

    fn check(request: &[u8], outcome: Outcome<'_>, text: &str, raw: &[u8], json: &str) {
        assert_eq!(String::from_utf8(told(Style::Text, request, outcome)).unwrap(), text);
        assert_eq!(told(Style::Raw, request, outcome), raw);
        assert_eq!(String::from_utf8(told(Style::Json, request, outcome)).unwrap(), json);
    }

    #[test]
    fn answers_in_three_styles() {
        let answered = |answer| Outcome::Answered { answer, took: Duration::from_nanos(1_234_567) };
        check(
            b"PUT:ping",
            answered(b"PUT 4 bytes"),
            "Data sent: 'PUT:ping'\nData received: 'PUT 4 bytes'\nSocket closed.\n",
            b"PUT 4 bytes\n",
            "{\"sent\":\"PUT:ping\",\"received\":\"PUT 4 bytes\",\"rtt_us\":1234}\n",
        );
        check(
            b"GET",
            answered("it's\n\u{e9}".as_bytes()),
            "Data sent: 'GET'\nData received: \"it's\\n\u{e9}\"\nSocket closed.\n",
            "it's\n\u{e9}\n".as_bytes(),
            "{\"sent\":\"GET\",\"received\":\"it's\\n\u{e9}\",\"rtt_us\":1234}\n",
        );
        check(
            b"GET",
            answered(b""),
            "Data sent: 'GET'\nData received: ''\nSocket closed.\n",
            b"\n",
            "{\"sent\":\"GET\",\"received\":\"\",\"rtt_us\":1234}\n",
        );
        check(
            b"PUT:\xff'",
            answered(b"a\xfe\n"),
            "Data sent: b'PUT:\\xff\\''\nData received: b'a\\xfe\\n'\nSocket closed.\n",
            b"a\xfe\n\n",
            "{\"sent_base64\":\"UFVUOv8n\",\"received_base64\":\"Yf4K\",\"rtt_us\":1234}\n",
        );
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shown_cut(&[b'x'; 200]), format!("'{}'", "x".repeat(200)));
        assert_eq!(shown_cut(&[b'x'; 201]), format!("'{}'...", "x".repeat(200)));
        assert_eq!(shown_cut("é".repeat(101).as_bytes()), format!("'{}'...", "é".repeat(100)));
        assert_eq!(shown_cut(("x".to_owned() + &"é".repeat(100)).as_bytes()), format!("'x{}'...", "é".repeat(99)));
        assert_eq!(shown_cut(&[0xff; 201]), format!("b'{}'...", "\\xff".repeat(200)));
    }

    #[test]
    fn failures_in_three_styles() {
        let refused = "Data sent: 'GET'\nError received: [Errno 111] Connection refused\nSocket closed.\n";
        check(b"GET", Outcome::Refused, refused, b"", "{\"sent\":\"GET\",\"error\":\"refused\"}\n");
        for (outcome, error) in [
            (Outcome::TimedOut, "timeout"),
            (Outcome::TooLong, "too_long"),
            (Outcome::Unsent, "unsent"),
            (Outcome::Interrupted, "interrupted"),
        ] {
            let json = format!("{{\"sent\":\"GET\",\"error\":\"{error}\"}}\n");
            check(b"GET", outcome, "Data sent: 'GET'\nSocket closed.\n", b"", &json);
        }
    }
}
