//! The feeder's flags.

use std::{ffi::OsStr, fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use feeder::{Format, Pace};
use link::Guarantee;
use protocol::DATAGRAM_BYTES_MAX;
use runtime::{
    Address, Failure,
    flags::{Count, Logging, Reporting, Seconds},
};

/// Feeds the lines of files to a queue, one message a line, and says at the end what became of every line.
#[derive(Debug, clap::Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Feed this queue; one that is not there yet is waited for
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:10000")]
    pub(crate) address: Address,
    /// Read this file, `-` for stdin (several times: a line from each in turn)
    #[arg(long, value_name = "FILE")]
    pub(crate) path: Vec<PathBuf>,
    /// What a line becomes
    #[arg(long, value_name = "WHAT", default_value = "fix")]
    pub(crate) format: LineFormat,
    /// Rest so long after every message; below 0.00005 means not at all, because no timer is so fine
    #[arg(long, value_name = "SECONDS", default_value = "0.000000001")]
    pub(crate) delay: Seconds,
    /// Send so many messages a second, evenly (0.5, 50k, 1M) [default: as many as the queue takes]
    #[arg(long, value_name = "MESSAGES/S", conflicts_with = "delay")]
    pub(crate) rate: Option<Rate>,
    /// End after so many messages (10k, 1.5M), be there more lines or not
    #[arg(long, value_name = "COUNT")]
    pub(crate) count: Option<Count>,
    /// Start over when all files have been read
    #[arg(long = "loop")]
    pub(crate) again: bool,
    /// Let so many messages wait for the answers of a queue of 2016; 0 never asks what the queue speaks and sends
    /// without waiting, as in 2016, which loses what the queue has no time for
    #[arg(long, value_name = "COUNT", default_value = "128", value_parser = clap::value_parser!(u64).range(..=65_536))]
    pub(crate) window: u64,
    /// Write the summary to stdout, too, as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Show no progress bar
    #[arg(long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) link: OnTheLink,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
    #[command(flatten)]
    pub(crate) logging: Logging,
}

/// What is wanted of a queue that speaks the link.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Link")]
pub(crate) struct OnTheLink {
    /// End with exit code 1 if the queue cannot give this: at-most-once, at-least-once or exactly-once [default: the best
    /// that it can]
    #[arg(long, value_name = "WHAT")]
    pub(crate) guarantee: Option<Guarantee>,
    /// Send every line, even if the queue has some from a feeder of the same files that was interrupted
    #[arg(long)]
    pub(crate) fresh: bool,
    /// The largest datagram to send, if the queue does not want smaller ones [default: 65507 to this machine, else 1200]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(512..=65_507))]
    pub(crate) mtu: Option<u16>,
}

/// What a line becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LineFormat {
    /// The message of 2016: in quotes, with the time of its sending in FIX tag 999
    Fix,
    /// A message like the line
    Lines,
    /// A JSON object for each row of CSV, its members named by the file's header
    Csv,
}

impl From<LineFormat> for Format {
    fn from(format: LineFormat) -> Self {
        match format {
            LineFormat::Fix => Self::Fix,
            LineFormat::Lines => Self::Lines,
            LineFormat::Csv => Self::Csv,
        }
    }
}

/// How many messages a second: a count with a unit, or a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    per_1000_s: u64,
}

/// Why a text is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateError;

impl fmt::Display for RateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "give how many messages a second, at least 0.001: 0.5, 1000, 50k, 1M")
    }
}

impl std::error::Error for RateError {}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let per_1000_s = match text.strip_suffix(|unit: char| unit.is_ascii_alphabetic()) {
            // As thousandths of a message, so that fractions count.
            None => format!("{text}k").parse::<Count>().map_err(|_| RateError)?.0,
            Some(_) => text.parse::<Count>().map_err(|_| RateError)?.0.checked_mul(1_000).ok_or(RateError)?,
        };
        if per_1000_s == 0 { Err(RateError) } else { Ok(Self { per_1000_s }) }
    }
}

/// What crosses a network in one piece, whatever it is made of.
const DATAGRAM_BYTES_AFAR: usize = 1_200;

/// No timer keeps a shorter rest.
const DELAY_MIN: Duration = Duration::from_micros(50);

impl Args {
    /// Refuses what cannot be.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let from_stdin = self.path.iter().filter(|path| is_stdin(path.as_os_str())).count();
        if from_stdin > 1 {
            return Err(Failure::usage("--path - stands twice, and stdin can be read only once"));
        }
        if from_stdin > 0 && self.again {
            return Err(Failure::usage("--loop cannot start stdin over: write it to a file first"));
        }
        if self.window == 0 && self.link.guarantee.is_some_and(|asked| asked > Guarantee::AtMostOnce) {
            return Err(Failure::usage("--window 0 waits for no answer: it cannot give a --guarantee"));
        }
        Ok(())
    }

    pub(crate) fn pace(&self) -> Pace {
        match self.rate {
            Some(Rate { per_1000_s }) => Pace::Rate { per_1000_s },
            None if self.delay.0 < DELAY_MIN => Pace::Free,
            None => Pace::Delay(self.delay.0),
        }
    }

    /// The largest datagram that goes to this queue.
    pub(crate) fn datagram_bytes_max(&self, queue: SocketAddr) -> usize {
        let usual = if queue.ip().to_canonical().is_loopback() { DATAGRAM_BYTES_MAX } else { DATAGRAM_BYTES_AFAR };
        self.link.mtu.map_or(usual, usize::from)
    }
}

pub(crate) fn is_stdin(path: &OsStr) -> bool {
    path == "-"
}

const EXAMPLES: &str = "\
Examples:
  feeder --path trades.msg                          feed a file to the queue at 127.0.0.1:10000
  feeder --path nbbo.msg --path trades.msg          a line from each in turn
  feeder --path trades.msg --loop --rate 50k        fifty thousand a second, until Ctrl-C
  feeder --path trades.msg --guarantee exactly-once only to a queue that speaks the link
  tail -f app.log | feeder --path - --format lines  feed what another program writes
  feeder --path quotes.csv --format csv --json      rows as JSON objects, the summary as well

A queue that speaks the link gets batches, which are sent again until it has confirmed them:
every message is in the queue once, in the order of the lines. A full queue is waited for. A
feeder that was killed, or ended by Ctrl-C, and is started again with the same --path, --format
and --count and files of the same sizes goes on where it was, as long as the queue lives;
--fresh starts over. Only one at a time: the older of two gives up. What comes from a pipe or
with --loop cannot be gone on with.

To a queue of 2016 each message is sent once: what is lost is counted as unconfirmed, and what a
full queue refuses as refused.

Blank lines are skipped and counted. Exit codes: 0 every line was confirmed by the queue, now or
before; 1 some were not, or a file cannot be read, or the queue cannot give the --guarantee;
2 bad command line. Of a feeder that Ctrl-C or SIGTERM ends, every message that it sent counts.";

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn rates_have_units_and_fractions() {
        for (text, expected) in [
            ("1", Some(1_000)),
            ("0.5", Some(500)),
            ("1.5", Some(1_500)),
            ("50k", Some(50_000_000)),
            ("1.5M", Some(1_500_000_000)),
            ("0.001", Some(1)),
            ("0.0001", None),
            ("0", None),
            ("-1", None),
            ("nan", None),
            ("", None),
            ("k", None),
            ("10x", None),
        ] {
            assert_eq!(text.parse::<Rate>().ok().map(|rate| rate.per_1000_s), expected, "{text}");
        }
    }

    fn pace(flags: &[&str]) -> Option<Pace> {
        let args = Args::try_parse_from([&["feeder"], flags].concat()).ok()?;
        args.check().ok().map(|()| args.pace())
    }

    #[test]
    fn delay_and_rate_exclude_each_other() {
        assert_eq!(pace(&[]), Some(Pace::Free));
        assert_eq!(pace(&["--delay", "0.00004"]), Some(Pace::Free));
        assert_eq!(pace(&["--delay", "0.00005"]), Some(Pace::Delay(DELAY_MIN)));
        assert_eq!(pace(&["--rate", "2"]), Some(Pace::Rate { per_1000_s: 2_000 }));
        assert_eq!(pace(&["--rate", "2", "--delay", "1"]), None);
        assert_eq!(pace(&["--rate", "0"]), None);
        assert_eq!(pace(&["--delay", "-1"]), None);
    }

    #[test]
    fn stdin_is_read_once() {
        assert!(pace(&["--path", "-", "--path", "a"]).is_some());
        assert!(pace(&["--path", "-", "--path", "-"]).is_none());
        assert!(pace(&["--path", "-", "--loop"]).is_none());
    }

    #[test]
    fn without_answers_nothing_is_guaranteed() {
        assert!(pace(&["--window", "0"]).is_some());
        assert!(pace(&["--window", "0", "--guarantee", "at-most-once"]).is_some());
        assert!(pace(&["--window", "0", "--guarantee", "at-least-once"]).is_none());
        assert!(pace(&["--guarantee", "twice"]).is_none());
    }

    #[test]
    fn datagrams_are_as_large_as_their_way_allows() {
        let check = |flags: &[&str], queue: &str, expected| {
            let args = Args::try_parse_from([&["feeder"], flags].concat()).unwrap();
            assert_eq!(args.datagram_bytes_max(queue.parse().unwrap()), expected, "{queue}");
        };
        check(&[], "127.0.0.1:1", 65_507);
        check(&[], "[::1]:1", 65_507);
        check(&[], "10.0.0.1:1", 1_200);
        check(&["--mtu", "1472"], "127.0.0.1:1", 1_472);
        assert!(pace(&["--mtu", "511"]).is_none() && pace(&["--mtu", "65508"]).is_none());
    }
}
