//! Which output a message takes.

use std::num::NonZeroUsize;

use functions::Choice;
use link::OutputId;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

/// Who decides which output a message takes.
#[derive(Debug, Clone)]
pub enum Route {
    /// The function: its choice modulo the outputs.
    Choice,
    /// Chance, seeded.
    Random {
        /// For messages without an identity: one draw after another.
        chance: Box<SmallRng>,
        /// For messages of the link: mixed with what the output is derived from, so that a message that is applied again,
        /// by another worker even, takes the same output again.
        seed: u64,
    },
}

impl Route {
    /// Chance that gives the same outputs in the same order for the same seed. On the link all workers of an edge must
    /// have the same `link_seed`, or an output that is sent again may reach another queue, which does not know it.
    pub fn random(seed: u64, link_seed: u64) -> Self {
        Self::Random { chance: Box::new(SmallRng::seed_from_u64(seed)), seed: link_seed }
    }

    /// An index below `outputs`; 0 where there is no output.
    pub(crate) fn pick(&mut self, choice: Choice, outputs: usize) -> usize {
        let Some(outputs) = NonZeroUsize::new(outputs) else { return 0 };
        match self {
            Self::Choice => choice.index(outputs),
            Self::Random { chance, .. } => chance.random_range(0..outputs.get()),
        }
    }

    /// The same for an output with an identity, derived from a message of the queue `node`.
    pub(crate) fn pick_for(&self, choice: Choice, outputs: usize, node: u64, id: OutputId) -> usize {
        let Some(outputs) = NonZeroUsize::new(outputs) else { return 0 };
        match self {
            Self::Choice => choice.index(outputs),
            Self::Random { seed, .. } => {
                let mixed = [node, id.offset, id.index].into_iter().fold(*seed, |mixed, part| mix(mixed ^ part));
                SmallRng::seed_from_u64(mixed).random_range(0..outputs.get())
            }
        }
    }
}

/// Spreads what is close together (the finalizer of `SplitMix64`).
pub(crate) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(seed: u64) -> Vec<usize> {
        let mut route = Route::random(seed, 0);
        (0..3_000).map(|_| route.pick(Choice::FIRST, 3)).collect()
    }

    fn link_picks(seed: u64) -> Vec<usize> {
        let route = Route::random(0, seed);
        let id = |n: u64| OutputId { offset: n / 3, index: n % 3 };
        (0..3_000).map(|n| route.pick_for(Choice::FIRST, 3, 7, id(n))).collect()
    }

    #[test]
    fn chance_spreads_and_repeats() {
        for picks in [picks, link_picks] {
            assert_eq!(picks(7), picks(7));
            assert_ne!(picks(7), picks(8));
            for output in 0..3 {
                let share = picks(7).iter().filter(|pick| **pick == output).count();
                assert!((900..1_100).contains(&share), "{share}");
            }
        }
    }

    #[test]
    fn choice_is_taken_modulo_the_outputs() {
        assert_eq!(Route::Choice.pick(Choice::from(10_i64), 3), 1);
        assert_eq!(Route::Choice.pick(Choice::from(-1_i64), 3), 2);
        assert_eq!(Route::Choice.pick(Choice::from(-1_i64), 0), 0);
        let id = OutputId { offset: 5, index: 0 };
        assert_eq!(Route::Choice.pick_for(Choice::from(10_i64), 3, 7, id), 1);
    }
}
