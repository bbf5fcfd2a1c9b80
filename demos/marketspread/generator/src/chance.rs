//! Chance from a seed, the same on every machine and for ever. A library's generator may change with its version, and
//! then every committed file would; so this one is written down here.

/// `SplitMix64`, of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014): a counter
/// that grows by the golden ratio, each value stirred well.
#[derive(Debug)]
pub(crate) struct Chance {
    counter: u64,
}

impl Chance {
    /// `stream` tells apart what is drawn from one seed for different ends.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut of_seed = Self { counter: seed };
        Self { counter: of_seed.next() ^ stream }
    }

    fn next(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let stirred = (self.counter ^ (self.counter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let stirred = (stirred ^ (stirred >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        stirred ^ (stirred >> 31)
    }

    /// A number from 0 to `bound` - 1; 0 where `bound` is 0. Small numbers are likelier by less than `bound` in 2^64.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or_default() // always fits
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_splitmix64() {
        let mut chance = Chance { counter: 1_234_567 };
        let values = [chance.next(), chance.next(), chance.next()];
        assert_eq!(values, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn numbers_keep_their_bounds_and_reach_them() {
        let mut chance = Chance::new(7, 0);
        let mut seen = [0; 6];
        for _ in 0..6000 {
            seen[usize::try_from(chance.between(10, 15)).unwrap() - 10] += 1;
        }
        assert!(seen.iter().all(|&count| (800..1200).contains(&count)), "{seen:?}");
        assert_eq!(chance.below(0), 0);
        assert_eq!(chance.below(1), 0);
    }

    #[test]
    fn streams_of_one_seed_differ() {
        assert_ne!(Chance::new(7, 0).next(), Chance::new(7, 1).next());
        assert_ne!(Chance::new(7, 0).next(), Chance::new(8, 0).next());
    }
}
