//! How fast messages may leave, whatever the queue would take.

use std::time::Duration;

/// A sender's pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As fast as the queue answers.
    Free,
    /// So many messages in a thousand seconds, evenly; at least 1.
    Rate {
        /// A rate of 0.5 messages a second is 500 of these.
        per_1000_s: u64,
    },
    /// So long a rest after each message.
    Delay(Duration),
}

/// The messages of one turn leave at once; they are at the most what is due in so long. The driver's timer comes up to
/// two milliseconds after the last turn, because it is no finer than one.
const BURST: Duration = Duration::from_millis(2);

/// How long a turn lasts. Less than the timer's milliseconds, so that a sender that was held up catches up.
const TURN: Duration = Duration::from_micros(500);

/// What is due for longer than this is not caught up on: the queue was away, or there was nothing to send.
const ARREARS_MAX: Duration = Duration::from_secs(1);

/// Keeps a [`Pace`]. Times are since start.
#[derive(Debug)]
pub(crate) struct Pacer {
    pace: Pace,
    /// Since when the rate is kept, and how many messages have left since then: the next is due when that many have had
    /// their time. So rounding never adds up.
    begun: Option<Duration>,
    sent: u64,
    turn_began: Duration,
    sent_in_turn: u64,
    rest_until: Duration,
}

impl Pacer {
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, begun: None, sent: 0, turn_began: Duration::ZERO, sent_in_turn: 0, rest_until: Duration::ZERO }
    }

    /// How many messages may leave now.
    pub(crate) fn room(&self, now: Duration) -> u64 {
        match (self.pace, self.begun) {
            (Pace::Free, _) => u64::MAX,
            (Pace::Delay(_), _) => u64::from(now >= self.rest_until),
            (Pace::Rate { .. }, None) => 1,
            (Pace::Rate { per_1000_s }, Some(begun)) => {
                let due = messages_in(now.saturating_sub(begun), per_1000_s) + 1;
                let sent_in_turn = if now >= self.turn_began + TURN { 0 } else { self.sent_in_turn };
                due.saturating_sub(self.sent).min(burst(per_1000_s).saturating_sub(sent_in_turn))
            }
        }
    }

    /// A message has left.
    pub(crate) fn handle_sent(&mut self, now: Duration) {
        match self.pace {
            Pace::Free => {}
            Pace::Delay(delay) => self.rest_until = now + delay,
            Pace::Rate { per_1000_s } => {
                let begun = self.begun.get_or_insert(now);
                let arrears = now.saturating_sub(*begun + time_of(self.sent, per_1000_s));
                *begun += arrears.saturating_sub(ARREARS_MAX);
                self.sent += 1;
                if now >= self.turn_began + TURN {
                    (self.turn_began, self.sent_in_turn) = (now, 0);
                }
                self.sent_in_turn += 1;
            }
        }
    }

    /// When the next message may leave; in the past if it may now.
    pub(crate) fn next_at(&self) -> Duration {
        match (self.pace, self.begun) {
            (Pace::Free, _) | (Pace::Rate { .. }, None) => Duration::ZERO,
            (Pace::Delay(_), _) => self.rest_until,
            (Pace::Rate { per_1000_s }, Some(begun)) => {
                let due = begun + time_of(self.sent, per_1000_s);
                let is_spent = self.sent_in_turn >= burst(per_1000_s);
                if is_spent { due.max(self.turn_began + TURN) } else { due }
            }
        }
    }
}

const NANOS_PER_1000_S: u128 = 1_000_000_000_000;

fn messages_in(time: Duration, per_1000_s: u64) -> u64 {
    u64::try_from(time.as_nanos() * u128::from(per_1000_s) / NANOS_PER_1000_S).unwrap_or(u64::MAX - 1)
}

/// How long so many messages take, rounded up, so that they are due when it has passed.
fn time_of(messages: u64, per_1000_s: u64) -> Duration {
    let nanos = (u128::from(messages) * NANOS_PER_1000_S).div_ceil(u128::from(per_1000_s.max(1)));
    u64::try_from(nanos).map_or(Duration::MAX / 4, Duration::from_nanos)
}

fn burst(per_1000_s: u64) -> u64 {
    messages_in(BURST, per_1000_s) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many messages leave in `seconds` if the driver comes when `next_at` says, `late` later; and the most in any
    /// one turn.
    fn run(pace: Pace, seconds: u32, late: impl Fn(u64) -> Duration) -> (u64, u64) {
        let mut pacer = Pacer::new(pace);
        let mut now = Duration::ZERO;
        let (mut sent, mut most, mut turns) = (0, 0, 0);
        while now < SECOND * seconds {
            let room = pacer.room(now);
            for _ in 0..room {
                pacer.handle_sent(now);
            }
            assert!(room == 0 || pacer.room(now) == 0 && pacer.next_at() > now, "{now:?} {pacer:?}");
            (sent, most, turns) = (sent + room, most.max(room), turns + 1);
            now = pacer.next_at().max(now) + late(turns);
            // A driver that comes at the deadline finds something to do.
            assert!(pacer.room(pacer.next_at()) > 0, "{pacer:?}");
        }
        (sent, most)
    }

    #[test]
    fn rates_are_exact_over_seconds() {
        for per_s in [1, 3, 7, 999, 1_000, 33_333, 300_000, 1_000_000] {
            let pace = Pace::Rate { per_1000_s: per_s * 1_000 };
            let burst = per_s / 500 + 1;
            for late_us in [0, 300, 1_000, 1_500] {
                let (sent, most) = run(pace, 3, |_| Duration::from_micros(late_us));
                assert!(sent.abs_diff(3 * per_s) <= burst + 1, "{sent} of {per_s}/s, {late_us} us late");
                assert!(most <= burst, "{most} at once of {per_s}/s");
            }
        }
    }

    #[test]
    fn a_driver_that_was_held_up_catches_up() {
        let late = |turn| if turn % 100 == 0 { Duration::from_millis(20) } else { Duration::from_micros(200) };
        let (sent, most) = run(Pace::Rate { per_1000_s: 50_000_000 }, 4, late);
        assert!((200_000 - 2_000..=200_001).contains(&sent), "{sent}");
        assert!(most <= 101, "{most}");
    }

    #[test]
    fn what_was_due_for_long_is_forgotten() {
        let mut pacer = Pacer::new(Pace::Rate { per_1000_s: 1_000_000 });
        pacer.handle_sent(Duration::ZERO);
        let mut sent = 0;
        let mut now = SECOND * 60;
        while now < SECOND * 61 {
            for _ in 0..pacer.room(now) {
                pacer.handle_sent(now);
                sent += 1;
            }
            now += TURN;
        }
        assert!((1_998..=2_002).contains(&sent), "a second's messages and a second's arrears: {sent}");
    }

    #[test]
    fn slow_rates_have_fractions() {
        assert_eq!(run(Pace::Rate { per_1000_s: 500 }, 10, |_| Duration::ZERO), (5, 1));
    }

    #[test]
    fn a_delay_follows_each_message() {
        let (sent, most) = run(Pace::Delay(Duration::from_millis(10)), 1, |_| Duration::from_millis(1));
        assert_eq!((sent, most), (91, 1));
    }
}
