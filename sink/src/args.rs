//! The sink's flags.

use runtime::{
    Address,
    flags::{Logging, Reporting},
};

/// Takes messages from workers and feeders over UDP, prints each, and measures how long it was under way.
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Listen here; port 0 takes a free one, and the line `listening on HOST:PORT` on stderr tells which
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5000")]
    pub(crate) address: Address,
    /// Print no messages
    #[arg(long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) allow: runtime::Allow,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

const EXAMPLES: &str = "\
Examples:
  sink                                                    messages at 127.0.0.1:5000, on stdout
  sink --address 127.0.0.1:0 > messages                   at a free port, into a file
  sink --quiet --metrics-address 127.0.0.1:5001 --stats-period 1 --vuid MARKET_SPREAD
                                                          only reports, every second

A message is a JSON object such as {\"msg\": \"hello\", \"feed_time\": 1458195068.3}: a datagram of its
own, the message of a PUT, or one of a batch on the link. PUTs and batches are confirmed once their
lines are written, and refused while too many lines are not. Messages go to stdout, one a line: a
string as it is (but for line ends, which become \\n and \\r), anything else as JSON.
Log lines go to stderr, and have the messages again at level info; what is wrong with a message is
said there even without --console-log. The latency is the time since feed_time.
Exit codes: 0 ended by Ctrl-C or SIGTERM, 1 failed, 2 bad command line.";
