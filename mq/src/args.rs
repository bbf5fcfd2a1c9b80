//! The queue node's flags.

use runtime::{
    Address,
    flags::{Bytes, Count, Logging, Reporting},
};

/// A message queue over UDP: PUT appends a message, GET takes the oldest away, SIZE counts them.
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Listen here; port 0 takes a free one, and the line `listening on HOST:PORT` on stderr tells which
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:10000")]
    pub(crate) address: Address,
    /// Refuse further messages when there are so many (10k, 1.5M)
    #[arg(long, value_name = "COUNT", default_value = "10M")]
    pub(crate) messages_max: Count,
    /// Refuse further messages when they take so much room, each with 64 bytes of overhead (64MiB, 2GB)
    #[arg(long, value_name = "BYTES", default_value = "1GiB", value_parser = bytes_max)]
    pub(crate) bytes_max: Bytes,
    #[command(flatten)]
    pub(crate) allow: runtime::Allow,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

/// So many that any message finds room once the queue is empty.
fn bytes_max(text: &str) -> Result<Bytes, String> {
    let bytes: Bytes = text.parse().map_err(|error| format!("{error}"))?;
    let least = mq::BYTES_MAX_LEAST;
    if bytes.0 < least { Err(format!("the longest message takes {least}: give that or more")) } else { Ok(bytes) }
}

const EXAMPLES: &str = "\
Examples:
  mq                                                    a queue at 127.0.0.1:10000
  mq --address 127.0.0.1:0 --console-log                at a free port, with log lines
  mq --metrics-address 127.0.0.1:5001 --stats-period 1  reports every second
  udp-client 127.0.0.1:10000 PUT:hello                  put a message
  udp-client 127.0.0.1:10000 GET                        take it away

Messages are kept in memory and are gone when the node ends. A message too many is answered FULL,
counted and logged. Exit codes: 0 ended by Ctrl-C or SIGTERM, 1 failed, 2 bad command line.";
