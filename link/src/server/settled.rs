//! Who finished what: so that a repeated ACK gets the letter that the first one got.
//!
//! Nothing depends on this memory but that letter: a message that is no longer open stays so, whoever finished it. So the
//! memory may be bounded: what falls out is answered as finished by another.

use std::collections::BTreeMap;

/// How many ranges are remembered. One consumer that finishes all in order takes up one.
const RANGES_MAX: usize = 4_096;

/// Finished offsets, as ranges, and the attempt that finished them.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    ranges: BTreeMap<u64, (u64, u64)>,
}

impl Settled {
    /// An attempt has finished these, which nobody has before.
    pub(crate) fn note(&mut self, mut first: u64, mut last: u64, attempt: u64) {
        if let Some((&before, range)) = self.ranges.range_mut(..first).next_back()
            && range.1 == attempt
            && range.0 + 1 == first
        {
            range.0 = last;
            first = before;
        }
        if let Some(&(end, by)) = self.ranges.get(&(last + 1))
            && by == attempt
        {
            self.ranges.remove(&(last + 1));
            last = end;
        }
        self.ranges.insert(first, (last, attempt));
        if self.ranges.len() > RANGES_MAX {
            self.ranges.pop_first();
        }
    }

    /// Whether this attempt has finished all of these.
    pub(crate) fn all_by(&self, attempt: u64, first: u64, last: u64) -> bool {
        let mut at = first;
        loop {
            match self.ranges.range(..=at).next_back() {
                Some((_, &(end, by))) if end >= at && by == attempt => {
                    if end >= last {
                        return true;
                    }
                    at = end + 1;
                }
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_one_attempt_are_one_range() {
        let mut settled = Settled::default();
        for (first, last) in [(0, 4), (10, 14), (5, 9), (15, 19), (30, 39)] {
            settled.note(first, last, 1);
        }
        settled.note(20, 29, 2);
        assert_eq!(settled.ranges.into_iter().collect::<Vec<_>>(), [(0, (19, 1)), (20, (29, 2)), (30, (39, 1))]);
    }

    #[test]
    fn tells_who_finished() {
        let mut settled = Settled::default();
        settled.note(0, 9, 1);
        settled.note(10, 19, 2);
        settled.note(20, 29, 1);
        for (attempt, first, last, expected) in [
            (1, 0, 9, true),
            (1, 3, 5, true),
            (1, 3, 10, false),
            (2, 10, 19, true),
            (1, 25, 30, false),
            (1, 30, 30, false),
            (2, 0, 0, false),
        ] {
            assert_eq!(settled.all_by(attempt, first, last), expected, "{attempt} {first}-{last}");
        }
    }

    #[test]
    fn the_lowest_is_forgotten_first() {
        let mut settled = Settled::default();
        (0..10_000).for_each(|n| settled.note(n, n, 1 + n % 2));
        assert_eq!(settled.ranges.len(), RANGES_MAX);
        assert!(!settled.all_by(1, 0, 0) && settled.all_by(2, 9_999, 9_999));
    }
}
