//! The flags that several programs share, so that one word means one thing everywhere.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use tracing::level_filters::LevelFilter;

use crate::{Address, Failure, Runs, UdpPort, random_vuid};

/// Where log lines go.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Log")]
pub struct Logging {
    /// Write log lines to stderr (without it, only warnings and errors are)
    #[arg(long)]
    pub console_log: bool,
    /// Write log lines to a new file under logs/
    #[arg(long)]
    pub file_log: bool,
    /// The least important lines to write
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: LogLevel,
}

/// How important a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    /// Every datagram
    Debug,
    /// What happens
    Info,
    /// What may be wrong
    Warn,
    /// What is wrong
    Error,
}

impl LogLevel {
    pub(crate) fn filter(self) -> LevelFilter {
        match self {
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warn => LevelFilter::WARN,
            Self::Error => LevelFilter::ERROR,
        }
    }
}

/// What a node reports of itself, and to whom.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Metrics")]
pub struct Reporting {
    /// Send a report to this metrics-receiver once a period
    #[arg(long, value_name = "HOST:PORT")]
    pub metrics_address: Option<Address>,
    /// The length of a period; above 600, reports come in pieces of 600
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    pub stats_period: Period,
    /// The node's name in its reports [default: eight random characters]
    #[arg(long, value_name = "TEXT")]
    pub vuid: Option<String>,
}

impl Reporting {
    /// The node's name: the given one, or a random one.
    pub fn vuid(&self) -> String {
        self.vuid.clone().unwrap_or_else(random_vuid)
    }

    /// The port that reports are sent from, and where they go; a port without a socket when they go nowhere.
    ///
    /// # Errors
    /// When the receiver's name cannot be looked up, or no socket can be had.
    pub async fn port(&self) -> Result<(UdpPort, Option<SocketAddr>), Failure> {
        let to = match &self.metrics_address {
            Some(address) => Some(address.resolve_peer().await?),
            None => None,
        };
        Ok((UdpPort::towards(to.as_slice(), Runs::Apart)?, to))
    }
}

/// A length of time in seconds, fractions allowed, 0 allowed: a pause.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seconds(pub Duration);

/// A length of time in seconds, fractions allowed, at least 10 ms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Period(pub Duration);

/// Why a text is no length of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecondsError {
    /// Not a number.
    NoNumber,
    /// Negative, infinite, or longer than a year.
    OutOfRange,
    /// Shorter than a period may be.
    TooShort,
}

impl fmt::Display for SecondsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoNumber => write!(f, "give a number of seconds, such as 1 or 0.5"),
            Self::OutOfRange => write!(f, "give a number of seconds from 0 to 31536000 (a year)"),
            Self::TooShort => write!(f, "the shortest period is 0.01 seconds"),
        }
    }
}

impl std::error::Error for SecondsError {}

const YEAR_SECONDS: f64 = 31_536_000.0;

impl FromStr for Seconds {
    type Err = SecondsError;

    fn from_str(text: &str) -> Result<Self, SecondsError> {
        let seconds: f64 = text.trim().parse().map_err(|_| SecondsError::NoNumber)?;
        if !(0.0..=YEAR_SECONDS).contains(&seconds) {
            return Err(SecondsError::OutOfRange);
        }
        Ok(Self(Duration::from_secs_f64(seconds)))
    }
}

impl FromStr for Period {
    type Err = SecondsError;

    fn from_str(text: &str) -> Result<Self, SecondsError> {
        let Seconds(period) = text.parse()?;
        if period < Duration::from_millis(10) {
            return Err(SecondsError::TooShort);
        }
        Ok(Self(period))
    }
}

/// A number of bytes: `1000000`, `64KiB`, `1GiB`, `5MB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// A count: `1000`, `10k`, `1.5M`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(pub u64);

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantityError {
    units: &'static str,
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "give a number, with one of these units or none: {}", self.units)
    }
}

impl std::error::Error for QuantityError {}

impl FromStr for Bytes {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        const UNITS: &[(&str, u64)] = &[
            ("KiB", 1 << 10),
            ("MiB", 1 << 20),
            ("GiB", 1 << 30),
            ("kB", 1_000),
            ("MB", 1_000_000),
            ("GB", 1_000_000_000),
            ("B", 1),
        ];
        quantity(text, UNITS).map(Self).ok_or(QuantityError { units: "B, kB, MB, GB, KiB, MiB, GiB" })
    }
}

impl FromStr for Count {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        const UNITS: &[(&str, u64)] = &[("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)];
        quantity(text, UNITS).map(Self).ok_or(QuantityError { units: "k, M, G" })
    }
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let (digits, factor) = units
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits.trim_end(), *factor)))
        .unwrap_or((text, 1));
    if let Ok(whole) = digits.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let (whole, fraction) = digits.split_once('.')?;
    let tenths = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let whole: u64 = whole.parse().ok()?;
    let fraction: u64 = fraction.parse().ok()?;
    whole.checked_mul(factor)?.checked_add(fraction.checked_mul(factor)? / tenths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_fractions() {
        for (text, expected) in [
            ("1", Ok(1_000_000_000)),
            ("0.5", Ok(500_000_000)),
            ("0.000000001", Ok(1)),
            ("0", Ok(0)),
            ("-1", Err(SecondsError::OutOfRange)),
            ("nan", Err(SecondsError::OutOfRange)),
            ("inf", Err(SecondsError::OutOfRange)),
            ("1s", Err(SecondsError::NoNumber)),
        ] {
            assert_eq!(text.parse::<Seconds>().map(|seconds| seconds.0.as_nanos()), expected, "{text}");
        }
        assert_eq!("0".parse::<Period>(), Err(SecondsError::TooShort));
    }

    #[test]
    fn quantities_have_units() {
        for (text, expected) in [
            ("64KiB", Some(65_536)),
            ("1.5GiB", Some(1_610_612_736)),
            ("10", Some(10)),
            ("5 MB", Some(5_000_000)),
            ("x", None),
            ("-1", None),
            ("99999999999GB", None),
        ] {
            assert_eq!(text.parse::<Bytes>().ok().map(|bytes| bytes.0), expected, "{text}");
        }
        assert_eq!("10k".parse(), Ok(Count(10_000)));
        assert_eq!("1.5M".parse(), Ok(Count(1_500_000)));
        assert!("1m".parse::<Count>().is_err());
    }
}
