//! Which output a message takes.

use std::num::NonZeroUsize;

use functions::Choice;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

/// Who decides which output a message takes.
#[derive(Debug, Clone)]
pub enum Route {
    /// The function: its choice modulo the outputs.
    Choice,
    /// Chance, seeded.
    Random(Box<SmallRng>),
}

impl Route {
    /// Chance that gives the same outputs in the same order for the same seed.
    pub fn random(seed: u64) -> Self {
        Self::Random(Box::new(SmallRng::seed_from_u64(seed)))
    }

    /// An index below `outputs`; 0 where there is no output.
    pub(crate) fn pick(&mut self, choice: Choice, outputs: usize) -> usize {
        let Some(outputs) = NonZeroUsize::new(outputs) else { return 0 };
        match self {
            Self::Choice => choice.index(outputs),
            Self::Random(chance) => chance.random_range(0..outputs.get()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(seed: u64) -> Vec<usize> {
        let mut route = Route::random(seed);
        (0..3_000).map(|_| route.pick(Choice::FIRST, 3)).collect()
    }

    #[test]
    fn chance_spreads_and_repeats() {
        assert_eq!(picks(7), picks(7));
        assert_ne!(picks(7), picks(8));
        for output in 0..3 {
            let share = picks(7).iter().filter(|pick| **pick == output).count();
            assert!((900..1_100).contains(&share), "{share}");
        }
    }

    #[test]
    fn choice_is_taken_modulo_the_outputs() {
        assert_eq!(Route::Choice.pick(Choice::from(10_i64), 3), 1);
        assert_eq!(Route::Choice.pick(Choice::from(-1_i64), 3), 2);
        assert_eq!(Route::Choice.pick(Choice::from(-1_i64), 0), 0);
    }
}
