//! A time as an operator gives it: how long ago, or when.

use std::{str::FromStr, time::Duration};

use chrono::DateTime;

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// So long before now.
    Ago(Duration),
    /// In microseconds since the epoch.
    At(u64),
}

impl Since {
    /// In microseconds since the epoch; `since_epoch` is now.
    pub(crate) fn micros(self, since_epoch: Duration) -> u64 {
        match self {
            Self::Ago(age) => u64::try_from(since_epoch.saturating_sub(age).as_micros()).unwrap_or(u64::MAX),
            Self::At(micros) => micros,
        }
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::At(u64::try_from(time.timestamp_micros()).unwrap_or(0)));
        }
        age(text).map(Self::Ago).ok_or_else(|| {
            "give an age, such as 10m (s, m, h, d), or a time, such as \
                                                2026-11-22T14:30:00Z or 2026-11-22T15:30:00+01:00"
                .to_owned()
        })
    }
}

fn age(text: &str) -> Option<Duration> {
    const UNITS: [(char, f64); 4] = [('s', 1.0), ('m', 60.0), ('h', 3_600.0), ('d', 86_400.0)];
    let (number, seconds) = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)))?;
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_times() {
        let now = Duration::from_secs(1_000_000);
        for (text, micros) in [
            ("0s", 1_000_000_000_000),
            ("0.5s", 999_999_500_000),
            ("10m", 999_400_000_000),
            ("2h", 992_800_000_000),
            ("1.5d", 870_400_000_000),
            ("365d", 0),
            ("1970-01-01T00:00:01.5Z", 1_500_000),
            ("1970-01-01T01:00:01+01:00", 1_000_000),
            ("1969-12-31T00:00:00Z", 0),
        ] {
            assert_eq!(text.parse::<Since>().map(|since| since.micros(now)), Ok(micros), "{text}");
        }
        for text in ["", "10", "m", "-1s", "1w", "infs", "nans", "2026-11-22", "1e30d"] {
            assert!(text.parse::<Since>().is_err(), "{text}");
        }
    }
}
