//! Latencies in an HDR histogram: of the same bounds at every node, so that a hub adds them up exactly.

use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer as _, V2Serializer},
};

/// The shortest latency that is told from shorter ones.
pub const LATENCY_MIN: Duration = Duration::from_micros(1);
/// The longest latency that is told from longer ones.
pub const LATENCY_MAX: Duration = Duration::from_hours(1);
const SIGNIFICANT_DIGITS: u8 = 3;

/// In nanoseconds.
const LOWEST: u64 = 1_000;
const HIGHEST: u64 = 3_600_000_000_000;
const _: () = assert!(LOWEST as u128 == LATENCY_MIN.as_nanos() && HIGHEST as u128 == LATENCY_MAX.as_nanos());

/// An empty histogram with the bounds of all reports: nanoseconds, 1 us to 1 h, three significant digits.
#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "the bounds are constants that the tests try")]
pub fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LOWEST, HIGHEST, SIGNIFICANT_DIGITS).expect("bounds that the library takes")
}

/// Why a text is not a histogram of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HistogramError {
    /// It is not base64.
    #[error("the histogram is not base64")]
    NotBase64,
    /// It is no V2 serialisation with the bounds and the precision of ours.
    #[error("the histogram has other bounds than 1 us to 1 h with three digits")]
    ForeignBounds,
    /// Its counts cannot be read.
    #[error("the histogram's counts are damaged")]
    Damaged,
}

/// One period's latencies.
#[derive(Debug)]
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
    below: u64,
    above: u64,
}

/// What a report says of one period's latencies.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Serialised; `None` when there were no latencies.
    pub(crate) encoded: Option<String>,
    /// How many were shorter than [`LATENCY_MIN`] and are held as that.
    pub(crate) below: u64,
    /// How many were longer than [`LATENCY_MAX`] and are held as that.
    pub(crate) above: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { histogram: empty_histogram(), below: 0, above: 0 }
    }
}

impl Latencies {
    pub(crate) fn record(&mut self, nanoseconds: u64, times: u64) {
        self.below += u64::from(nanoseconds < LOWEST) * times;
        self.above += u64::from(nanoseconds > HIGHEST) * times;
        self.histogram.saturating_record_n(nanoseconds.clamp(LOWEST, HIGHEST), times);
    }

    /// Begins anew.
    pub(crate) fn take(&mut self) -> Taken {
        if self.histogram.is_empty() {
            return Taken::default();
        }
        let taken = Taken { encoded: encode(&self.histogram), below: self.below, above: self.above };
        self.histogram.reset();
        self.below = 0;
        self.above = 0;
        taken
    }
}

/// As base64 of the V2 serialisation; `None` only if a count is above the largest `i64`.
fn encode(histogram: &Histogram<u64>) -> Option<String> {
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(histogram, &mut bytes).ok()?;
    Some(BASE64_STANDARD.encode(bytes))
}

/// Cookie and payload length come first, then offset, digits, bounds and ratio.
const HEADER_BYTES: usize = 40;

/// Reads what [`encode`] wrote. The library believes what it reads, so three things are looked at before it does: the
/// length, for which it would set gigabytes aside; the bounds, which it would build; and the lowest `i64`, on which it
/// would overflow.
pub(crate) fn decode(text: &str) -> Result<Histogram<u64>, HistogramError> {
    let bytes = BASE64_STANDARD.decode(text).map_err(|_| HistogramError::NotBase64)?;
    let (header, counts) = bytes.split_at_checked(HEADER_BYTES).ok_or(HistogramError::ForeignBounds)?;
    if without_length(header) != without_length(&header_of_ours()) {
        return Err(HistogramError::ForeignBounds);
    }
    let promised = header.get(4..8).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes);
    if promised.map(u64::from) != Some(counts.len() as u64) || counts.windows(9).any(|run| run == [0xff; 9]) {
        return Err(HistogramError::Damaged);
    }
    Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|_| HistogramError::Damaged)
}

fn header_of_ours() -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = V2Serializer::new().serialize(&empty_histogram(), &mut bytes);
    debug_assert!(written.is_ok(), "a Vec takes all");
    bytes.truncate(HEADER_BYTES);
    bytes
}

fn without_length(header: &[u8]) -> (Option<&[u8]>, Option<&[u8]>) {
    (header.get(..4), header.get(8..))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn histogram_of(latencies: &[u64]) -> Histogram<u64> {
        let mut held = Latencies::default();
        for &latency in latencies {
            held.record(latency, 1);
        }
        held.histogram
    }

    #[test]
    fn the_bounds_hold_three_digits() {
        let histogram = histogram_of(&[LOWEST, 123_456, 1_234_567_890, HIGHEST]);
        for (quantile, close_to) in [(0.5, 123_456.0), (0.75, 1_234_567_890.0), (1.0, 3.6e12)] {
            #[expect(clippy::cast_precision_loss, reason = "a thousandth is asked for")]
            let got = histogram.value_at_quantile(quantile) as f64;
            assert!((got / close_to - 1.0).abs() < 0.005, "{quantile}: {got}");
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_clamped_and_counted() {
        let mut latencies = Latencies::default();
        for nanoseconds in [0, 999, 1_000, HIGHEST, HIGHEST + 1, u64::MAX, u64::MAX] {
            latencies.record(nanoseconds, 1);
        }
        let taken = latencies.take();
        assert_eq!((taken.below, taken.above), (2, 3));
        assert_eq!(decode(&taken.encoded.unwrap()).unwrap().len(), 7);
        assert_eq!(latencies.take(), Taken::default());
    }

    #[test]
    fn what_is_no_histogram_of_ours_is_refused() {
        let ours = BASE64_STANDARD.decode(encode(&histogram_of(&[5_000])).unwrap()).unwrap();
        let changed = |at: usize, byte: u8| {
            let mut bytes = ours.clone();
            bytes[at] = byte;
            BASE64_STANDARD.encode(bytes)
        };
        let with_counts = |counts: &[u8]| {
            let mut bytes = header_of_ours();
            bytes[4..8].copy_from_slice(&u32::try_from(counts.len()).unwrap().to_be_bytes());
            bytes.extend(counts);
            BASE64_STANDARD.encode(bytes)
        };
        for (text, error) in [
            ("*".into(), HistogramError::NotBase64),
            (String::new(), HistogramError::ForeignBounds),
            (changed(0, 0), HistogramError::ForeignBounds),
            (changed(15, 5), HistogramError::ForeignBounds),
            (changed(24, 0xff), HistogramError::ForeignBounds),
            (changed(4, 0xff), HistogramError::Damaged),
            (BASE64_STANDARD.encode(&ours[..ours.len() - 1]), HistogramError::Damaged),
            (with_counts(&[0xff; 9]), HistogramError::Damaged),
            (with_counts(&[0x80]), HistogramError::Damaged),
            // More places than the bounds have.
            (with_counts(&[0xff, 0xff, 0xff, 0x7f, 0x02]), HistogramError::Damaged),
        ] {
            assert_eq!(decode(&text).map(drop), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole(
            one in proptest::collection::vec(0_u64..4_000_000_000_000, 0..50),
            other in proptest::collection::vec(0_u64..10_000_000, 0..50),
        ) {
            let mut sum = empty_histogram();
            for part in [&one, &other] {
                sum.add(decode(&encode(&histogram_of(part)).unwrap()).unwrap()).unwrap();
            }
            prop_assert_eq!(sum, histogram_of(&[one, other].concat()));
        }

        #[test]
        fn no_counts_bring_the_reader_down(counts in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = header_of_ours();
            bytes[4..8].copy_from_slice(&u32::try_from(counts.len()).unwrap().to_be_bytes());
            bytes.extend(counts);
            if let Ok(histogram) = decode(&BASE64_STANDARD.encode(bytes)) {
                let mut sum = histogram_of(&[1_000]);
                let _ = sum.add(&histogram);
                let _ = sum.value_at_quantile(0.99);
            }
        }
    }
}
