//! Latencies that add up: counts per bucket of a 32nd of an octave, and counts per power of ten as in 2016.
//!
//! A slot of history keeps them packed in a few dozen bytes. Where they spread over more buckets than a slot may hold,
//! neighbours are joined until they fit, so that memory has a bound whatever the nodes report.

use std::collections::BTreeMap;

use metrics::Histogram;
use serde::Serialize;

/// Buckets per octave are 2 to this power.
const OCTAVE_BITS: u32 = 5;
const OCTAVE: usize = 1 << OCTAVE_BITS;
/// Enough for an hour in nanoseconds.
const BUCKETS: usize = 38 * OCTAVE;
/// The lowest power of ten of a bin, in seconds; below it, a latency is in the lowest bin.
const LOWEST_POWER: i32 = -9;
/// From 10^-9 s to 10^9 s, and one for all that is above.
const BINS: usize = 20;

/// Counts of latencies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latencies {
    buckets: Vec<u64>,
    in_buckets: u64,
    bins: [u64; BINS],
}

/// Percentiles, in seconds. `None` where only "more than any bound" can be said.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of the latencies are not above this.
    pub p50: Option<f64>,
    /// Three quarters.
    pub p75: Option<f64>,
    /// 90 %.
    pub p90: Option<f64>,
    /// 95 %.
    pub p95: Option<f64>,
    /// 99 %.
    pub p99: Option<f64>,
    /// 99.9 %.
    pub p999: Option<f64>,
    /// All.
    pub max: Option<f64>,
    /// How many latencies there are.
    pub count: u64,
    /// `hdr`: to 2 %, or 6 % in windows above five minutes; `bins`: the upper bound of a power of ten.
    pub from: &'static str,
}

/// One row of the histogram of 2016.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// The upper bound in seconds; `None` for all that is above the others.
    pub le: Option<f64>,
    /// How many latencies.
    pub count: u64,
    /// Their share, in percent with two digits.
    pub percent: f64,
    /// With all the lower ones.
    pub cumulative: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: Vec::new(), in_buckets: 0, bins: [0; BINS] }
    }
}

impl Latencies {
    /// Adds counts by upper bound in seconds; a bound that is no power of ten counts as the next one above.
    pub fn add_bins(&mut self, bins: impl IntoIterator<Item = (f64, u64)>) {
        for (bound, count) in bins {
            if let Some(bin) = self.bins.get_mut(bin_of(bound)) {
                *bin = bin.saturating_add(count);
            }
        }
    }

    /// Adds a histogram in nanoseconds.
    pub fn add_histogram(&mut self, histogram: &Histogram<u64>) {
        for value in histogram.iter_recorded() {
            self.add_bucket(bucket_of(value.value_iterated_to()), value.count_at_value());
        }
    }

    fn add_bucket(&mut self, bucket: usize, count: u64) {
        if self.buckets.is_empty() {
            self.buckets = vec![0; BUCKETS];
        }
        if let Some(held) = self.buckets.get_mut(bucket) {
            *held = held.saturating_add(count);
            self.in_buckets = self.in_buckets.saturating_add(count);
        }
    }

    /// Adds what [`pack`](Self::pack) made.
    pub fn add_packed(&mut self, packed: &[u8]) {
        let mut bytes = packed.iter().copied();
        for _ in 0..bytes.next().unwrap_or(0) {
            let (Some(bin), Some(count)) = (bytes.next(), varint(&mut bytes)) else { return };
            if let Some(held) = self.bins.get_mut(usize::from(bin)) {
                *held = held.saturating_add(count);
            }
        }
        let Some(joined) = bytes.next().map(|joined| u32::from(joined).min(16)) else { return };
        let mut index = 0;
        while let (Some(step), Some(count)) = (varint(&mut bytes), varint(&mut bytes)) {
            index += usize::try_from(step).unwrap_or(BUCKETS).min(BUCKETS);
            // The middle of the buckets that were joined.
            self.add_bucket((index << joined) + (1 << joined) / 2, count);
        }
    }

    /// In few bytes, with at most `entries_max` buckets; empty if there are no latencies.
    pub fn pack(&self, entries_max: usize) -> Box<[u8]> {
        if self.is_empty() {
            return Box::default();
        }
        let mut packed = Vec::new();
        let used = self.bins.iter().enumerate().filter(|(_, count)| **count > 0);
        packed.push(u8::try_from(used.clone().count()).unwrap_or(0));
        for (bin, count) in used {
            packed.push(u8::try_from(bin).unwrap_or(0));
            push_varint(&mut packed, *count);
        }
        let (joined, entries) = self.joined(entries_max);
        packed.push(joined);
        let mut last = 0;
        for (index, count) in entries {
            push_varint(&mut packed, (index - last) as u64);
            push_varint(&mut packed, count);
            last = index;
        }
        packed.into_boxed_slice()
    }

    /// The buckets that hold any, neighbours joined until there are at most `entries_max`.
    fn joined(&self, entries_max: usize) -> (u8, Vec<(usize, u64)>) {
        let mut entries: Vec<(usize, u64)> =
            self.buckets.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
        let mut joined = 0;
        while entries.len() > entries_max.max(1) && joined < 11 {
            joined += 1;
            let mut fewer: Vec<(usize, u64)> = Vec::with_capacity(entries.len());
            for (index, count) in entries {
                match fewer.last_mut() {
                    Some((last, sum)) if *last == index / 2 => *sum = sum.saturating_add(count),
                    _ => fewer.push((index / 2, count)),
                }
            }
            entries = fewer;
        }
        (joined, entries)
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.in_buckets == 0 && self.bins.iter().all(|count| *count == 0)
    }

    fn in_bins(&self) -> u64 {
        self.bins.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The percentiles: from the buckets if all latencies are in them, else from the bins.
    pub fn percentiles(&self) -> Option<Percentiles> {
        if self.is_empty() {
            return None;
        }
        let (in_bins, in_buckets) = (self.in_bins(), self.in_buckets);
        let at: Box<dyn Fn(f64) -> Option<f64>> = if in_buckets >= in_bins {
            Box::new(move |share| rank(self.buckets.iter().copied().enumerate(), in_buckets, share).map(middle_seconds))
        } else {
            Box::new(move |share| rank(self.bins.iter().copied().enumerate(), in_bins, share).and_then(bound_seconds))
        };
        Some(Percentiles {
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
            count: in_bins.max(in_buckets),
            from: if in_buckets >= in_bins { "hdr" } else { "bins" },
        })
    }

    /// The bins from the first to the last one that hold any.
    pub fn bins(&self) -> Vec<Bin> {
        let total = self.in_bins();
        let first = self.bins.iter().position(|count| *count > 0).unwrap_or(BINS);
        let last = self.bins.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        let mut below = 0_u64;
        let row = |(bin, count): (usize, &u64)| {
            below = below.saturating_add(*count);
            let percent = |count: u64| (count as f64 / total as f64 * 10_000.0).round() / 100.0;
            Bin { le: bound_seconds(bin), count: *count, percent: percent(*count), cumulative: percent(below) }
        };
        self.bins.iter().enumerate().take(last).skip(first).map(row).collect()
    }

    /// The counts by upper bound in seconds, all bounds: for another reader's histogram.
    pub fn by_bound(&self) -> BTreeMap<i32, u64> {
        (LOWEST_POWER..).zip(self.bins).filter(|(_, count)| *count > 0).collect()
    }
}

/// The first index at which the share is reached.
fn rank(counts: impl Iterator<Item = (usize, u64)>, total: u64, share: f64) -> Option<usize> {
    let wanted = total as f64 * share;
    let mut below = 0_u64;
    let mut last = None;
    for (index, count) in counts.filter(|(_, count)| *count > 0) {
        below = below.saturating_add(count);
        last = Some(index);
        // A share that floats round up by a hair is reached.
        if below as f64 >= wanted * (1.0 - 1e-12) {
            break;
        }
    }
    last
}

fn bucket_of(nanoseconds: u64) -> usize {
    let octave = nanoseconds.checked_ilog2().unwrap_or(0);
    let Some(shift) = octave.checked_sub(OCTAVE_BITS) else {
        return usize::try_from(nanoseconds).unwrap_or(0);
    };
    let within = usize::try_from(nanoseconds >> shift).unwrap_or(0);
    (shift as usize * OCTAVE + within).min(BUCKETS - 1)
}

fn middle_seconds(bucket: usize) -> f64 {
    let shift = (bucket / OCTAVE).saturating_sub(1);
    let within = bucket - shift * OCTAVE;
    let nanoseconds = if shift == 0 { within as f64 } else { (within as f64 + 0.5) * (1_u64 << shift.min(63)) as f64 };
    nanoseconds * 1e-9
}

fn bin_of(seconds: f64) -> usize {
    (0..BINS - 1)
        .find(|bin| bound_seconds(*bin).is_some_and(|bound| seconds <= bound * (1.0 + 1e-9)))
        .unwrap_or(BINS - 1)
}

/// `None` for the last bin, which has no bound.
fn bound_seconds(bin: usize) -> Option<f64> {
    let power = i32::try_from(bin).ok()? + LOWEST_POWER;
    // Read from text, a power of ten is the nearest number to it; a product is not always.
    if bin >= BINS - 1 { None } else { format!("1e{power}").parse().ok() }
}

fn push_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    to.push((value & 0x7f) as u8);
}

fn varint(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = bytes.next()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bins(bins: &[(&str, u64)]) -> Latencies {
        let mut latencies = Latencies::default();
        latencies.add_bins(bins.iter().map(|(bound, count)| (bound.parse().unwrap(), *count)));
        latencies
    }

    #[test]
    fn the_figures_of_2016() {
        let latencies = bins(&[("0.0001", 2449), ("0.001", 227)]);
        let rows: Vec<_> = latencies.bins().iter().map(|bin| (bin.le, bin.percent, bin.cumulative)).collect();
        assert_eq!(rows, [(Some(1e-4), 91.52, 91.52), (Some(1e-3), 8.48, 100.0)]);
        let of = latencies.percentiles().unwrap();
        assert_eq!((of.p50, of.p75, of.p90), (Some(1e-4), Some(1e-4), Some(1e-4)));
        assert_eq!((of.p99, of.p999, of.max, of.from), (Some(1e-3), Some(1e-3), Some(1e-3), "bins"));
    }

    #[test]
    fn one_bound_has_many_spellings() {
        let latencies =
            bins(&[("1e-05", 1), ("0.00001", 2), ("1", 3), ("1.0", 4), ("0.5", 5), ("inf", 6), ("1e300", 7), ("0", 8)]);
        let rows: Vec<_> = latencies.bins().iter().filter(|bin| bin.count > 0).map(|bin| (bin.le, bin.count)).collect();
        assert_eq!(rows, [(Some(1e-9), 8), (Some(1e-5), 3), (Some(1.0), 12), (None, 13)]);
        assert_eq!(latencies.percentiles().unwrap().p99, None, "only that it is above all bounds");
    }

    #[test]
    fn a_bucket_is_narrow_and_its_middle_is_in_it() {
        for nanoseconds in (0..42).flat_map(|power| [1_u64 << power, (1 << power) + (1 << power) / 3]) {
            let seconds = middle_seconds(bucket_of(nanoseconds));
            let error = (seconds * 1e9 - nanoseconds as f64).abs() / nanoseconds as f64;
            assert!(error < 0.017, "{nanoseconds} ns: {seconds} s");
        }
        assert!(bucket_of(3_600_000_000_000) < BUCKETS - 1);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn what_is_packed_adds_up() {
        let mut histogram = metrics::empty_histogram();
        for microseconds in 1..=10_000 {
            histogram.record(microseconds * 1_000).unwrap();
        }
        let mut latencies = bins(&[("0.001", 1_000), ("0.01", 9_000)]);
        latencies.add_histogram(&histogram);
        let mut twice = Latencies::default();
        for _ in 0..2 {
            let packed = latencies.pack(96);
            assert!(packed.len() < 400, "{} bytes", packed.len());
            twice.add_packed(&packed);
        }
        let of = twice.percentiles().unwrap();
        assert_eq!((of.count, of.from), (20_000, "hdr"));
        for (measured, expected) in [(of.p50, 5e-3), (of.p99, 9.9e-3), (of.p999, 9.99e-3)] {
            assert!((measured.unwrap() / expected - 1.0).abs() < 0.14, "{measured:?} {expected}");
        }
        assert_eq!(twice.pack(96), {
            let mut again = Latencies::default();
            again.add_packed(&twice.pack(96));
            again.pack(96)
        });
        assert!(Latencies::default().pack(96).is_empty());
    }

    #[test]
    fn damaged_bytes_harm_nothing() {
        for length in 0..6 {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut latencies = Latencies::default();
                latencies.add_packed(&vec![byte; length * 7]);
                assert!(latencies.percentiles().is_none_or(|of| of.count > 0));
            }
        }
    }
}
