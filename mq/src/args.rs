//! The queue node's flags.

use std::{path::PathBuf, time::Duration};

use runtime::{
    Address,
    flags::{Bytes, Count, Logging, Reporting},
};

use crate::look::Look;

/// A message queue over UDP: PUT appends a message, GET takes the oldest away, SIZE counts them.
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Listen here; port 0 takes a free one, and the line `listening on HOST:PORT` on stderr tells which
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:10000")]
    pub(crate) address: Address,
    /// Refuse further messages when there are so many (10k, 1.5M); what workers put in finds room beside what is handed out,
    /// up to twice as many in all
    #[arg(long, value_name = "COUNT", default_value = "10M")]
    pub(crate) messages_max: Count,
    /// Refuse further messages when they take so much room, each with 64 bytes of overhead (64MiB, 2GB)
    #[arg(long, value_name = "BYTES", default_value = "1GiB", value_parser = bytes_max)]
    pub(crate) bytes_max: Bytes,
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(flatten)]
    pub(crate) allow: runtime::Allow,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

/// What else the program does.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Look into the log of a queue that does not run
    #[command(subcommand)]
    Log(Look),
}

/// How the queue outlives its process.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Log on disk")]
pub(crate) struct LogArgs {
    /// Keep the queue in a log in this directory: it is there again after the process has ended, however it did
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// What an answer waits for
    #[arg(long, value_name = "LEVEL", default_value = "disk", requires = "data")]
    pub(crate) durability: Level,
    /// Keep finished messages for replay as long as the log is not larger than this (64MiB, 2GB)
    #[arg(long, value_name = "BYTES", default_value = "1GiB", requires = "data")]
    pub(crate) keep_bytes: Bytes,
    /// Keep finished messages no longer than this (90s, 12h, 7d)
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration, requires = "data")]
    pub(crate) keep_age: Option<Duration>,
    /// Start although the log is damaged: the damaged range is set aside in a file damaged-*.bin, and what was in it counts
    /// as `lost_in_log`
    #[arg(long, requires = "data")]
    pub(crate) salvage: bool,
    /// The length of a segment of the log: short ones let a test see many of them
    #[arg(long, value_name = "BYTES", default_value = "64MiB", requires = "data", hide = true)]
    pub(crate) segment_bytes: Bytes,
}

/// What an answer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Level {
    /// The operating system has it: it survives the process, not the machine's power
    Os,
    /// It is synced to the disk, in groups: it survives the machine's power
    Disk,
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
  mq --data /var/lib/orders                             keeps all on disk: an answer means synced
  mq --metrics-address 127.0.0.1:5001 --stats-period 1  reports every second
  udp-client 127.0.0.1:10000 PUT:hello                  put a message
  udp-client 127.0.0.1:10000 GET                        take it away
  mq log verify /var/lib/orders                         check the log of a queue that does not run

Without --data messages are kept in memory and are gone when the node ends. A message too many is
answered FULL, counted and logged. With --data, finished messages are kept for READ and SEEK (see
udp-client --help) as --keep-bytes and --keep-age say; unfinished ones are always kept.
Exit codes: 0 ended by Ctrl-C or SIGTERM, 1 failed, 2 bad command line, 74 the disk fails.";
