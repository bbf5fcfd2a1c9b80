//! How long an answer takes, and so when a request is taken for lost (RFC 6298).

use std::time::Duration;

/// A request is not taken for lost before this: a peer's scheduler alone may take 10 ms.
const TIMEOUT_MIN: Duration = Duration::from_millis(20);

/// Nor later than this.
const TIMEOUT_MAX: Duration = Duration::from_secs(2);

/// Before anything is known. Discovery measures the first answer.
const TIMEOUT_START: Duration = Duration::from_millis(200);

/// The estimate for one peer.
#[derive(Debug, Default)]
pub(super) struct Rtt {
    smoothed: Option<Duration>,
    variation: Duration,
    /// How many requests in a row were taken for lost.
    doublings: u32,
}

impl Rtt {
    /// An answer took so long. Only where it is certain which transmission it answers, and that the peer did not wait.
    pub(super) fn sample(&mut self, took: Duration) {
        self.doublings = 0;
        match self.smoothed {
            None => {
                self.smoothed = Some(took);
                self.variation = took / 2;
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(took)) / 4;
                self.smoothed = Some((smoothed * 7 + took) / 8);
            }
        }
    }

    /// When to take a request for lost, counted from its sending.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout_after(self.doublings)
    }

    /// The same after so many losses in a row.
    pub(super) fn timeout_after(&self, losses: u32) -> Duration {
        let once = self.smoothed.map_or(TIMEOUT_START, |smoothed| smoothed + self.variation * 4);
        once.max(TIMEOUT_MIN).saturating_mul(1 << losses.min(8)).min(TIMEOUT_MAX)
    }

    /// A request was taken for lost.
    pub(super) fn back_off(&mut self) {
        self.doublings += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn follows_the_answers() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(), TIMEOUT_START);
        rtt.sample(MS(1));
        assert_eq!(rtt.timeout(), TIMEOUT_MIN, "a near peer");
        let mut far = Rtt::default();
        for _ in 0..50 {
            far.sample(MS(300));
        }
        assert!((MS(300)..MS(320)).contains(&far.timeout()), "{:?}", far.timeout());
        far.sample(MS(900));
        assert!(far.timeout() > MS(900), "one late answer widens it: {:?}", far.timeout());
    }

    #[test]
    fn doubles_up_to_two_seconds() {
        let mut rtt = Rtt::default();
        rtt.sample(MS(1));
        let mut seen = Vec::new();
        for _ in 0..9 {
            seen.push(rtt.timeout());
            rtt.back_off();
        }
        assert_eq!(seen, [20, 40, 80, 160, 320, 640, 1_280, 2_000, 2_000].map(MS));
        rtt.sample(MS(1));
        assert_eq!(rtt.timeout(), MS(20), "until it is certain again how long an answer takes");
    }
}
