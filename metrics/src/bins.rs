//! The latency bins of 2016: one per power of ten seconds. A bin holds the latencies up to its bound, the bound included.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Something per bin, from the lowest bound up.
pub type Bins<T> = BTreeMap<Bound, T>;

/// The upper bound of a bin, to the nanosecond. Its text is that of 2016: `0.000100000 s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// So many seconds.
    Finite(Duration),
    /// `inf s`: all that is above the other bins.
    Infinite,
}

impl Bound {
    /// In seconds.
    pub fn seconds(self) -> f64 {
        match self {
            Self::Finite(bound) => bound.as_secs_f64(),
            Self::Infinite => f64::INFINITY,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // `pad`, so that a table can give it a width.
            Self::Finite(bound) => f.pad(&format!("{}.{:09} s", bound.as_secs(), bound.subsec_nanos())),
            Self::Infinite => f.pad("inf s"),
        }
    }
}

impl FromStr for Bound {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let seconds: f64 = text.strip_suffix(" s").ok_or(())?.parse().map_err(drop)?;
        if seconds == f64::INFINITY {
            return Ok(Self::Infinite);
        }
        Duration::try_from_secs_f64(seconds).map(Self::Finite).map_err(drop)
    }
}

impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|()| de::Error::custom(format_args!("`{text}` is not a bin's bound")))
    }
}

/// The lowest bound is 1 us: the list of 2016 begins there, and its hub has no bin below.
const LOWEST_POWER: u32 = 3;
/// From 10^3 to 10^20 ns; the last one holds the largest `u64`.
const BINS: usize = 18;

/// Counts and sums per bin.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    bins: [Bin; BINS],
}

#[derive(Debug, Default, Clone, Copy)]
struct Bin {
    count: u64,
    sum: Duration,
}

impl Tally {
    /// A latency of zero goes to the lowest bin.
    pub(crate) fn record(&mut self, latency: Duration, nanoseconds: u64, times: u64) {
        if let Some(bin) = self.bins.get_mut(index(nanoseconds)) {
            bin.count += times;
            bin.sum = bin.sum.saturating_add(latency.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX)));
        }
    }

    /// The sums in seconds and the counts, of those bins that have any; begins anew.
    pub(crate) fn take(&mut self) -> (Bins<f64>, Bins<u64>) {
        let taken = std::mem::take(self);
        let used = || taken.bins.iter().enumerate().filter(|(_, bin)| bin.count > 0);
        (
            used().map(|(index, bin)| (bound(index), bin.sum.as_secs_f64())).collect(),
            used().map(|(index, bin)| (bound(index), bin.count)).collect(),
        )
    }
}

/// The first bin whose bound is not below: in whole numbers, because the logarithm of 2016 put 0.001 s one bin too high.
fn index(nanoseconds: u64) -> usize {
    let power = nanoseconds.saturating_sub(1).checked_ilog10().map_or(0, |below| below + 1);
    power.saturating_sub(LOWEST_POWER) as usize
}

fn bound(index: usize) -> Bound {
    let bound = (0..index).fold(Duration::from_micros(1), |bound, _| bound.saturating_mul(10));
    Bound::Finite(bound)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bin_of(nanoseconds: u64) -> String {
        let mut tally = Tally::default();
        tally.record(Duration::from_nanos(nanoseconds), nanoseconds, 1);
        let (_, counts) = tally.take();
        counts.keys().next().expect("one bin").to_string()
    }

    #[test]
    fn a_bin_includes_its_bound() {
        for (nanoseconds, bin) in [
            (0, "0.000001000 s"),
            (1, "0.000001000 s"),
            (240, "0.000001000 s"),
            (1_000, "0.000001000 s"),
            (1_001, "0.000010000 s"),
            (50_000, "0.000100000 s"),
            (100_000, "0.000100000 s"),
            (1_000_000, "0.001000000 s"),
            (1_000_100, "0.010000000 s"),
            (1_000_000_000, "1.000000000 s"),
            (3_800_000_000, "10.000000000 s"),
            (u64::MAX, "100000000000.000000000 s"),
        ] {
            assert_eq!(bin_of(nanoseconds), bin, "{nanoseconds} ns");
        }
    }

    #[test]
    fn a_tally_sums_counts_and_begins_anew() {
        let mut tally = Tally::default();
        for nanoseconds in [2_000, 3_000, 20_000] {
            tally.record(Duration::from_nanos(nanoseconds), nanoseconds, 1);
        }
        let (sums, counts) = tally.take();
        assert_eq!(counts.values().copied().collect::<Vec<_>>(), [2, 1]);
        assert_eq!(sums.values().copied().collect::<Vec<_>>(), [5e-6, 2e-5]);
        assert!(tally.take().1.is_empty());
    }

    #[test]
    fn bounds_are_read_with_tolerance_and_written_in_one_way() {
        for (text, read) in [
            ("0.000100000 s", Some("0.000100000 s")),
            ("0.0 s", Some("0.000000000 s")),
            ("0.000000000 s", Some("0.000000000 s")),
            ("1 s", Some("1.000000000 s")),
            ("1e-05 s", Some("0.000010000 s")),
            ("inf s", Some("inf s")),
            ("-inf s", None),
            ("nan s", None),
            ("-1.0 s", None),
            ("1e300 s", None),
            ("0.0001", None),
            ("x s", None),
            (" s", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Bound>().ok().map(|bound| bound.to_string()).as_deref(), read, "{text}");
        }
    }

    #[test]
    fn bounds_are_exact_in_seconds() {
        let written: Vec<f64> = (0..BINS).map(|index| bound(index).seconds()).collect();
        assert_eq!(written[..9], [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2]);
        assert_eq!(written.last(), Some(&1e11));
    }

    proptest! {
        #[test]
        fn the_bin_is_the_first_one_that_holds(nanoseconds in any::<u64>(), shift in 0_u32..64) {
            let nanoseconds = nanoseconds >> shift;
            let latency = Bound::Finite(Duration::from_nanos(nanoseconds));
            let index = index(nanoseconds);
            prop_assert!(latency <= bound(index));
            prop_assert!(index == 0 || latency > bound(index - 1));
        }
    }
}
