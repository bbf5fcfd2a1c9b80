//! What a feeder says at its end: what became of every line.

use std::{fmt, time::Duration};

use link::Guarantee;
use serde::Serialize;

/// What became of the lines: `read = blank + too long + bad rows + resumed + sent`, and what was read but not sent when the feeder
/// was told to stop; `sent = confirmed + refused + unconfirmed`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Lines read, or CSV rows but for the header.
    pub read: u64,
    /// Of these, blank ones.
    pub blank: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages that the queue said it has.
    pub confirmed: u64,
    /// Messages that a full queue said it does not have.
    pub refused: u64,
    /// Messages whose answer did not come: lost, or in the queue with their answer lost.
    pub unconfirmed: u64,
    /// Lines longer than a message can be.
    pub too_long: u64,
    /// Rows that are not what their header promises.
    pub bad_rows: u64,
    /// Sources that could not be read to their end.
    pub unreadable: u64,
    /// Messages that the queue had from this feed before this process began, and that were skipped.
    pub resumed: u64,
    /// Batches that were sent again.
    pub resent_batches: u64,
    /// What the edge to the queue promised last, if it came to that.
    pub guarantee: Option<&'static str>,
    /// From the first message to the last answer, in seconds.
    pub elapsed_s: f64,
    /// Messages sent in a second of that time.
    pub per_second: u64,
}

impl Summary {
    /// Whether the queue speaks the link, and so more can be said.
    fn is_on_the_link(&self) -> bool {
        self.guarantee.is_some_and(|guarantee| guarantee != Guarantee::AtMostOnce.as_str())
    }

    pub(crate) fn lasting(self, elapsed: Duration) -> Self {
        let micros = elapsed.as_micros();
        let per_second = (u128::from(self.sent) * 1_000_000).checked_div(micros).unwrap_or(0);
        let elapsed_s = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)).as_secs_f64();
        Self { elapsed_s, per_second: u64::try_from(per_second).unwrap_or(u64::MAX), ..self }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { read, blank, sent, confirmed, refused, unconfirmed, too_long, bad_rows, .. } = self;
        write!(f, "read {read} lines ({blank} blank), sent {sent}, confirmed {confirmed}, ")?;
        if self.is_on_the_link() {
            write!(f, "resumed {}, resent {}, ", self.resumed, self.resent_batches)?;
        }
        // On the link a message is refused only where the queue was another one for a while.
        if !self.is_on_the_link() || *refused > 0 {
            write!(f, "refused {refused}, ")?;
        }
        write!(f, "unconfirmed {unconfirmed}, too long {too_long}")?;
        if *bad_rows > 0 {
            write!(f, ", bad rows {bad_rows}")?;
        }
        if self.unreadable > 0 {
            write!(f, ", unreadable files {}", self.unreadable)?;
        }
        write!(f, " in {:.3} s ({}/s)", self.elapsed_s, self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_one_line() {
        let summary = Summary { read: 10_003, blank: 3, sent: 10_000, confirmed: 10_000, ..Summary::default() };
        let summary = summary.lasting(Duration::from_millis(1_234));
        assert_eq!(
            summary.to_string(),
            "read 10003 lines (3 blank), sent 10000, confirmed 10000, refused 0, unconfirmed 0, too long 0 in 1.234 s \
             (8103/s)"
        );
        assert_eq!(
            Summary { bad_rows: 2, unreadable: 1, ..Summary::default() }.to_string(),
            "read 0 lines (0 blank), sent 0, confirmed 0, refused 0, unconfirmed 0, too long 0, bad rows 2, unreadable \
             files 1 in 0.000 s (0/s)"
        );
    }

    #[test]
    fn on_the_link_it_says_what_was_done_again() {
        let summary = Summary {
            read: 10,
            sent: 7,
            confirmed: 7,
            resumed: 3,
            resent_batches: 2,
            guarantee: Some("exactly-once"),
            ..Summary::default()
        };
        assert_eq!(
            summary.to_string(),
            "read 10 lines (0 blank), sent 7, confirmed 7, resumed 3, resent 2, unconfirmed 0, too long 0 in 0.000 s \
             (0/s)"
        );
    }
}
