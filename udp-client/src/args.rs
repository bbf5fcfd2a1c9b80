//! The client's flags.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
};

use runtime::{Address, flags::Period};
use udp_client::Style;

/// Asks a queue, and tells its answers.
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The queue
    #[arg(value_name = "HOST:PORT")]
    pub(crate) address: Address,
    /// The request; several words are joined by one space. None, or a lone `-`: each line of stdin is a request
    #[arg(value_name = "WORD")]
    words: Vec<OsString>,
    /// Wait so long for each answer
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    pub(crate) timeout: Period,
    /// Tell each request as one line of JSON
    #[arg(long, conflicts_with = "raw")]
    json: bool,
    /// Tell the answers only
    #[arg(long)]
    raw: bool,
}

impl Args {
    /// The one request; `None` if requests are read from stdin.
    pub(crate) fn request(&self) -> Option<Vec<u8>> {
        match self.words.as_slice() {
            [] => None,
            [only] if only == "-" => None,
            words => Some(words.iter().map(OsString::as_os_str).map(OsStr::as_bytes).collect::<Vec<_>>().join(&b' ')),
        }
    }

    pub(crate) fn style(&self) -> Style {
        match (self.json, self.raw) {
            (true, _) => Style::Json,
            (false, true) => Style::Raw,
            (false, false) => Style::Text,
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  udp-client 127.0.0.1:10000 PUT:hello world            put a message
  udp-client 127.0.0.1:10000 GET                        take the oldest one away
  udp-client --raw 127.0.0.1:10000 SIZE                 how many there are, for a script
  printf 'PUT:a\\nPUT:b\\nSIZE\\n' | udp-client 127.0.0.1:10000
  udp-client --json --timeout 0.5 127.0.0.1:10000 - < requests

Answers go to stdout, what goes wrong to stderr. Requests from stdin leave one at a time, each after
the answer to the one before, or after its time is over; blank lines are skipped. The answers do not
say what they answer: one that comes after its time may be taken for the next one's where it fits.
With --json a line is {\"sent\": ..., \"received\": ..., \"rtt_us\": microseconds} or {\"sent\": ...,
\"error\": \"timeout\" or \"refused\" or ...}; bytes that are not UTF-8 are in \"received_base64\".
Exit codes: 0 every request was answered, 1 one was not, or a full queue refused a message, 2 bad
command line.";
