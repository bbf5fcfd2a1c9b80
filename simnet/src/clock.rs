//! A node's clocks: one that never steps and counts from the start, and one on the wall that an operator can set. Both
//! run at the node's own rate.

use std::time::Duration;

use machine::Now;

use crate::nanos;

/// What a clock showed at its last change; all else follows from how long ago that was. Times are in nanoseconds,
/// those of the net unless it is said.
#[derive(Debug)]
pub(crate) struct Clock {
    changed: u64,
    /// Since the node started, on its own clock.
    since_start: u64,
    /// Since the epoch, on its own clock.
    since_epoch: u64,
    rate_permille: u16,
}

/// The first of January 2026, when each net begins.
const BEGIN: u64 = 1_767_225_600_000_000_000;

/// A clock that is right.
const RATE_PERMILLE: u16 = 1_000;

impl Clock {
    pub(crate) fn started(now: u64) -> Self {
        Self { changed: now, since_start: 0, since_epoch: BEGIN.saturating_add(now), rate_permille: RATE_PERMILLE }
    }

    pub(crate) fn read(&self, now: u64) -> Now {
        let elapsed = self.elapsed(now);
        Now {
            since_start: Duration::from_nanos(self.since_start.saturating_add(elapsed)),
            since_epoch: Duration::from_nanos(self.since_epoch.saturating_add(elapsed)),
        }
    }

    /// When `since_start` will have been reached; in the past if it is.
    pub(crate) fn due(&self, since_start: Duration) -> u64 {
        let left = nanos(since_start).saturating_sub(self.since_start);
        // Rounded up, so that the deadline has been reached when the node looks.
        let left = if self.rate_permille == RATE_PERMILLE {
            left
        } else {
            narrow((u128::from(left) * u128::from(RATE_PERMILLE)).div_ceil(u128::from(self.rate_permille)))
        };
        self.changed.saturating_add(left)
    }

    /// The host goes on, the process begins anew.
    pub(crate) fn restart(&mut self, now: u64) {
        self.settle(now);
        self.since_start = 0;
    }

    pub(crate) fn set_wall(&mut self, now: u64, since_epoch: Duration) {
        self.settle(now);
        self.since_epoch = nanos(since_epoch);
    }

    pub(crate) fn set_rate(&mut self, now: u64, rate_permille: u16) {
        self.settle(now);
        self.rate_permille = rate_permille;
    }

    fn settle(&mut self, now: u64) {
        let elapsed = self.elapsed(now);
        self.since_start = self.since_start.saturating_add(elapsed);
        self.since_epoch = self.since_epoch.saturating_add(elapsed);
        self.changed = now;
    }

    fn elapsed(&self, now: u64) -> u64 {
        let elapsed = now.saturating_sub(self.changed);
        if self.rate_permille == RATE_PERMILLE {
            return elapsed;
        }
        narrow(u128::from(elapsed) * u128::from(self.rate_permille) / u128::from(RATE_PERMILLE))
    }
}

fn narrow(nanos: u128) -> u64 {
    u64::try_from(nanos).unwrap_or(crate::NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_reached_when_due_at_any_rate() {
        for rate in [1, 333, 900, 1_000, 1_100, 3_001] {
            let mut clock = Clock::started(12_345);
            clock.set_rate(99_999, rate);
            for nanos in [0, 1, 999, 1_000_003, 86_400_000_000_007] {
                let deadline = Duration::from_nanos(nanos);
                let due = clock.due(deadline);
                assert!(clock.read(due).since_start >= deadline, "rate {rate}, deadline {nanos} ns");
            }
        }
    }

    #[test]
    fn a_wall_clock_that_steps_leaves_the_other_alone() {
        let mut clock = Clock::started(0);
        clock.set_wall(1_000, Duration::ZERO);
        let shown = Now { since_start: Duration::from_nanos(1_001), since_epoch: Duration::from_nanos(1) };
        assert_eq!(clock.read(1_001), shown);
    }

    #[test]
    fn a_restart_begins_at_zero_and_keeps_the_wall_clock() {
        let mut clock = Clock::started(0);
        let before = clock.read(500);
        clock.restart(500);
        assert_eq!(clock.read(500), Now { since_start: Duration::ZERO, ..before });
    }

    #[test]
    fn a_fast_clock_reaches_its_deadlines_early() {
        let mut clock = Clock::started(0);
        clock.set_rate(0, 2_000);
        assert_eq!(clock.due(Duration::from_secs(10)), nanos(Duration::from_secs(5)));
        assert_eq!(clock.due(Duration::MAX), crate::NEVER / 2 + 1);
    }
}
