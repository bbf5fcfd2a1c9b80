//! Which output a message goes to: any whole number, taken modulo the number of outputs.

use std::num::NonZeroUsize;

/// An output's number before it is known how many there are. Any whole number from -(2^127) to 2^128 - 1 will do.
///
/// The programs of 2016 first reduced the number modulo 2^61 - 1, though their documentation says plain modulo. This is
/// plain modulo, so routers of both kinds must not stand beside one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    magnitude: u128,
    negative: bool,
}

impl Choice {
    /// The first output.
    pub const FIRST: Self = Self { magnitude: 0, negative: false };

    /// The output among `outputs` of them: the floor-modulus, so never negative. -1 is the last one.
    pub fn index(self, outputs: NonZeroUsize) -> usize {
        // The modulus is below `outputs`, so it always fits.
        let index = usize::try_from(self.magnitude % outputs.get() as u128).unwrap_or_default();
        if self.negative && index > 0 { outputs.get() - index } else { index }
    }
}

impl From<u128> for Choice {
    fn from(number: u128) -> Self {
        Self { magnitude: number, negative: false }
    }
}

impl From<i128> for Choice {
    fn from(number: i128) -> Self {
        Self { magnitude: number.unsigned_abs(), negative: number < 0 }
    }
}

impl From<i64> for Choice {
    fn from(number: i64) -> Self {
        Self::from(i128::from(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(choice: impl Into<Choice>, outputs: usize, index: usize) {
        let choice = choice.into();
        assert_eq!(choice.index(NonZeroUsize::new(outputs).unwrap()), index, "{choice:?} of {outputs}");
    }

    #[test]
    fn choice_is_taken_modulo_the_outputs() {
        check(0_i64, 3, 0);
        check(10_i64, 3, 1);
        check(-1_i64, 3, 2);
        check(-3_i64, 3, 0);
        check(-4_i64, 3, 2);
        check(-1_i64, 1, 0);
        check(1_u128 << 64, 3, 1);
        check((1_u128 << 61) - 1, 10, 1);
        check(u128::MAX, 10, 5);
        check(i128::MIN, 10, 2);
        check(u128::MAX, usize::MAX, 0);
        check(-1_i64, usize::MAX, usize::MAX - 1);
    }

    proptest! {
        #[test]
        fn index_is_the_floor_modulus(number in any::<i128>(), outputs in 1..=usize::MAX) {
            let index = Choice::from(number).index(NonZeroUsize::new(outputs).unwrap());
            prop_assert_eq!(index as i128, number.rem_euclid(outputs as i128));
        }
    }
}
