//! What a path does to datagrams.

use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::{DATAGRAM_BYTES_MAX, nanos};

/// What happens to datagrams on their way: each figure is how many of a thousand.
///
/// A clogged path is one with a large `delay_min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Weather {
    /// Vanish.
    pub lost_permille: u16,
    /// Arrive twice; each copy is garbled and delayed on its own.
    pub doubled_permille: u16,
    /// Arrive with one byte changed, or (one in eight each) cut short or with bytes appended.
    pub garbled_permille: u16,
    /// Take any time between `delay_min` and `delay_max`; the others take `delay_min`. So at 1,000 order is lost, at 0
    /// it is kept, and between the two a few datagrams are overtaken.
    pub late_permille: u16,
    /// Are answered with a refusal if nobody listens at their address, as an ICMP message would.
    pub refused_permille: u16,
    /// The shortest time under way; a microsecond is the least, so that time goes on.
    pub delay_min: Duration,
    /// The longest time under way; below `delay_min` it means `delay_min`.
    pub delay_max: Duration,
}

/// A datagram is never faster, or two machines that answer each other at once would hold the clock still.
const DELAY_FLOOR: u64 = 1_000;

impl Weather {
    /// Nothing is lost, doubled, garbled or overtaken; all takes a millisecond.
    pub fn calm() -> Self {
        Self {
            lost_permille: 0,
            doubled_permille: 0,
            garbled_permille: 0,
            late_permille: 1_000,
            refused_permille: 1_000,
            delay_min: Duration::from_millis(1),
            delay_max: Duration::from_millis(1),
        }
    }

    /// The worst that reliable edges must get through: 30 % lost, 50 % doubled, 10 % garbled, up to 2 s under way, all
    /// at once and without refusals.
    pub fn storm() -> Self {
        Self {
            lost_permille: 300,
            doubled_permille: 500,
            garbled_permille: 100,
            late_permille: 1_000,
            refused_permille: 0,
            delay_min: Duration::from_micros(10),
            delay_max: Duration::from_secs(2),
        }
    }

    /// Some weather up to `worst`. Each kind of trouble is absent from half of the draws, because trouble of one kind
    /// hides trouble of another. Delays lie within those of `worst`, short ones as often as long ones.
    pub fn drawn(seed: u64, worst: &Self) -> Self {
        // Another stream than that of the net with the same seed.
        let mut chance = SmallRng::seed_from_u64(seed ^ 0x7765_6174_6865_7221);
        let mut up_to = |worst: u16| if chance.random() { chance.random_range(0..=worst) } else { 0 };
        let troubles = Self {
            lost_permille: up_to(worst.lost_permille),
            doubled_permille: up_to(worst.doubled_permille),
            garbled_permille: up_to(worst.garbled_permille),
            late_permille: up_to(worst.late_permille),
            refused_permille: up_to(1_000),
            ..*worst
        };
        let mut below = |most: Duration| (most / (1 << chance.random_range(0..=10))).max(worst.delay_min);
        let delay_max = below(worst.delay_max);
        Self { delay_min: below(delay_max), delay_max, ..troubles }
    }

    /// How long the next datagram is under way, in nanoseconds.
    pub(crate) fn delay(&self, chance: &mut SmallRng) -> u64 {
        let (min, max) = (nanos(self.delay_min), nanos(self.delay_max));
        let delay = if min < max && happens(chance, self.late_permille) { chance.random_range(min..=max) } else { min };
        delay.max(DELAY_FLOOR)
    }
}

/// Whether something that befalls `permille` of a thousand happens now.
pub(crate) fn happens(chance: &mut SmallRng, permille: u16) -> bool {
    permille > 0 && chance.random_range(0..1_000) < permille
}

/// Changes `bytes`, surely; what comes out still fits in a datagram.
pub(crate) fn garble(chance: &mut SmallRng, bytes: &mut Vec<u8>) {
    const SURPLUS_MAX: usize = 8;
    let len = bytes.len();
    match chance.random_range(0..8) {
        0 if len > 0 => bytes.truncate(chance.random_range(0..len)),
        kind if len > 0 && (kind > 1 || len + SURPLUS_MAX > DATAGRAM_BYTES_MAX) => {
            if let Some(byte) = bytes.get_mut(chance.random_range(0..len)) {
                *byte ^= chance.random_range(1..=u8::MAX);
            }
        }
        _ => {
            for _ in 0..chance.random_range(1..=SURPLUS_MAX) {
                bytes.push(chance.random());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbled_bytes_differ_and_fit() {
        let mut chance = SmallRng::seed_from_u64(1);
        for len in [0, 1, 2, 100, DATAGRAM_BYTES_MAX] {
            let original = vec![b'x'; len];
            for _ in 0..1_000 {
                let mut bytes = original.clone();
                garble(&mut chance, &mut bytes);
                assert_ne!(bytes, original);
                assert!(bytes.len() <= DATAGRAM_BYTES_MAX);
            }
        }
    }

    #[test]
    fn drawn_weather_stays_between_none_and_the_worst() {
        let worst = Weather::storm();
        let draws: Vec<Weather> = (0..1_000).map(|seed| Weather::drawn(seed, &worst)).collect();
        for drawn in &draws {
            assert!(drawn.lost_permille <= worst.lost_permille && drawn.doubled_permille <= worst.doubled_permille);
            assert!(drawn.garbled_permille <= worst.garbled_permille && drawn.late_permille <= worst.late_permille);
            assert!(worst.delay_min <= drawn.delay_min && drawn.delay_min <= drawn.delay_max);
            assert!(drawn.delay_max <= worst.delay_max);
        }
        let without_loss = draws.iter().filter(|drawn| drawn.lost_permille == 0).count();
        assert!((400..600).contains(&without_loss), "{without_loss}");
        assert_eq!(draws[3], Weather::drawn(3, &worst));
    }
}
