//! The feeder's flags.

use std::{ffi::OsStr, fmt, path::PathBuf, str::FromStr, time::Duration};

use feeder::{Format, Pace};
use link::Window;
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
    /// Let so many messages wait for the queue's answers; 0 sends without waiting, as in 2016, and loses what the queue
    /// has no time for
    #[arg(long, value_name = "COUNT", default_value = "128", value_parser = clap::value_parser!(u64).range(..=65_536))]
    pub(crate) window: u64,
    /// Write the summary to stdout, too, as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Show no progress bar
    #[arg(long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) reporting: Reporting,
    #[command(flatten)]
    pub(crate) logging: Logging,
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
        Ok(())
    }

    pub(crate) fn pace(&self) -> Pace {
        match self.rate {
            Some(Rate { per_1000_s }) => Pace::Rate { per_1000_s },
            None if self.delay.0 < DELAY_MIN => Pace::Free,
            None => Pace::Delay(self.delay.0),
        }
    }

    pub(crate) fn window(&self) -> Window {
        if self.window == 0 { Window::None } else { Window::AtMost(self.window) }
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
  tail -f app.log | feeder --path - --format lines  feed what another program writes
  feeder --path quotes.csv --format csv --json      rows as JSON objects, the summary as well

Blank lines are skipped and counted. A full queue refuses messages; those are counted, and not sent
again. Exit codes: 0 every line was confirmed by the queue, 1 some were not, or a file cannot be read,
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
}
