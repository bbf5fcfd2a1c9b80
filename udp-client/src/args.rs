//! The client's flags.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
};

use runtime::{Address, flags::Period};
use udp_client::Style;

use crate::verb_args::VerbArgs;

/// Asks a queue or a sink, and tells its answers.
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES, disable_help_subcommand = true)]
#[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs of the link (VERB --help says more)")]
pub(crate) struct Args {
    /// The queue
    #[arg(value_name = "HOST:PORT")]
    pub(crate) address: Address,
    /// The request, on the verbs of 2016; several words are joined by one space. None, or a lone `-`: each line of stdin is
    /// a request
    #[arg(value_name = "WORD")]
    words: Vec<OsString>,
    /// Wait so long for each answer
    #[arg(long, value_name = "SECONDS", default_value = "5", global = true)]
    pub(crate) timeout: Period,
    /// Tell each request, on the link each message, as one line of JSON
    #[arg(long, conflicts_with = "raw", global = true)]
    pub(crate) json: bool,
    /// Tell the answers only; on the link they are always told so
    #[arg(long, global = true)]
    raw: bool,
    #[command(subcommand)]
    pub(crate) verb: Option<VerbArgs>,
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

Examples of the link (Weir's mq; a sink has STAT, OPEN, ENQ and END):
  udp-client 127.0.0.1:10000 STAT                       its counters and gauges, as JSON
  udp-client 127.0.0.1:10000 ENQ --producer me < lines  each line a message, each once
  udp-client 127.0.0.1:10000 DEQ --messages 10          ten messages on a lease, named on stderr
  udp-client 127.0.0.1:10000 ACK 1.0.10.1               they are done: the queue may forget them
  udp-client 127.0.0.1:10000 NAK 1.0.10.1 --dead --reason 'no price'
  udp-client 127.0.0.1:10000 DEAD list                  what nobody could do, and why
  udp-client 127.0.0.1:10000 READ --since 10m           what came, of a queue that keeps a log
  udp-client 127.0.0.1:10000 SEEK --from 4711           deliver it again from there on
  udp-client 127.0.0.1:10000 -- STAT                    the word as it is: a request of 2016

Answers go to stdout, what goes wrong to stderr. On the verbs of 2016 a request is sent once. From
stdin they leave one at a time, each after the answer to the one before, or after its time is
over; blank lines are skipped. The answers do not say what they answer: one that comes after its
time may be taken for the next one's where it fits. With --json a line is {\"sent\": ...,
\"received\": ..., \"rtt_us\": microseconds} or {\"sent\": ..., \"error\": \"timeout\" or \"refused\" or
...}; bytes that are not UTF-8 are in \"received_base64\".
On the link a request is sent again until it is answered, and done once. But for messages and dead
letters, answers are lines of JSON.
Exit codes: 0 every request was answered, 1 one was not, a full queue refused a message, or what
was asked for could not be (no message to lease, a lease that has ended), 2 bad command line.";
