//! Chance. Each datagram has dice of its own, made from the seed, its direction and its number, so that what befalls it
//! depends on nothing else: not on the other direction, not on a partition, not on a command.

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::Direction;

/// Keeps the numbers' dice apart. Odd, so that no two numbers share theirs; not the golden ratio, by which the generator
/// itself makes its state from a seed.
const STEP: u64 = 0xd134_2543_de82_ef95;

#[derive(Debug)]
pub(crate) struct Dice(SmallRng);

impl Dice {
    /// The dice of the datagram that is the `number`th in its direction.
    pub(crate) fn new(seed: u64, direction: Direction, number: u64) -> Self {
        let seed = match direction {
            Direction::In => seed,
            Direction::Out => !seed,
        };
        Self(SmallRng::seed_from_u64(seed.wrapping_add(number.wrapping_mul(STEP))))
    }

    /// A throw of one die: 1 to `sides`.
    pub(crate) fn throw(&mut self, sides: u8) -> u8 {
        self.0.random_range(1..=sides.max(1))
    }

    /// Any number from `min` to `max`; `min` if that is above `max`.
    pub(crate) fn between(&mut self, min: u64, max: u64) -> u64 {
        self.0.random_range(min..=max.max(min))
    }

    /// Any place in so many; 0 if there is none.
    pub(crate) fn place(&mut self, places: usize) -> usize {
        self.0.random_range(0..places.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throws(seed: u64, direction: Direction) -> Vec<u8> {
        (0..1_000).map(|number| Dice::new(seed, direction, number).throw(100)).collect()
    }

    #[test]
    fn a_seed_gives_each_datagram_its_dice() {
        assert_eq!(throws(7, Direction::In), throws(7, Direction::In));
        assert_ne!(throws(7, Direction::In), throws(8, Direction::In));
        assert_ne!(throws(7, Direction::In), throws(7, Direction::Out));
    }

    #[test]
    fn dice_are_fair_and_neighbours_do_not_agree() {
        for seed in 0..20 {
            let low: Vec<bool> = throws(seed, Direction::In).into_iter().map(|throw| throw <= 20).collect();
            let count = low.iter().filter(|low| **low).count();
            assert!((150..=250).contains(&count), "seed {seed}: {count} of 1000 throws are 20 or less");
            let pairs = low.windows(2).filter(|pair| pair[0] && pair[1]).count();
            assert!((15..=70).contains(&pairs), "seed {seed}: {pairs} of 1000 pairs are, where 40 are expected");
        }
    }
}
