//! In which generation messages came. A message that was never handed out stays in it, whatever has begun since: the next
//! queue may know its outputs' ids all the same, for a crash forgets that a message was handed out.

use serde::{Deserialize, Serialize};

/// The generations in which the messages came that were never handed out: the offsets from which on they came in another
/// one than before, and that one; both rising.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Eras(Vec<(u64, u64)>);

impl Eras {
    /// All messages come in this generation.
    pub(crate) fn new(generation: u64) -> Self {
        Self(vec![(0, generation)])
    }

    /// A generation begins with the message at `next`. What lies below `fresh` was handed out.
    pub(crate) fn begin(&mut self, generation: u64, fresh: u64, next: u64) {
        let handed_out = self.0.partition_point(|(from, _)| *from <= fresh).saturating_sub(1);
        self.0.drain(..handed_out);
        self.0.retain(|(from, _)| *from < next);
        self.0.push((next, generation));
    }

    /// The generation of a message that was never handed out, and the last offset that shares it.
    pub(crate) fn of(&self, offset: u64) -> (u64, u64) {
        let later = self.0.partition_point(|(from, _)| *from <= offset);
        let last = self.0.get(later).map_or(u64::MAX, |(from, _)| from - 1);
        let (_, generation) = later.checked_sub(1).and_then(|at| self.0.get(at)).copied().unwrap_or_default();
        (generation, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_before_stays_in_its_generation() {
        let mut eras = Eras::new(1);
        assert_eq!((eras.of(0), eras.of(99)), ((1, u64::MAX), (1, u64::MAX)));
        eras.begin(2, 0, 10);
        eras.begin(3, 0, 20);
        assert_eq!((eras.of(9), eras.of(10), eras.of(19), eras.of(20)), ((1, 9), (2, 19), (2, 19), (3, u64::MAX)));
        // Nothing came in between.
        eras.begin(4, 12, 20);
        assert_eq!((eras.of(12), eras.of(20)), ((2, 19), (4, u64::MAX)));
        assert_eq!(eras.0, [(10, 2), (20, 4)], "what was handed out is forgotten");
        eras.begin(5, 30, 30);
        assert_eq!(eras.0, [(20, 4), (30, 5)]);
    }

    #[test]
    fn one_that_begins_at_the_beginning_is_the_only_one() {
        let mut eras = Eras::new(1);
        eras.begin(2, 0, 0);
        assert_eq!(eras.0, [(0, 2)]);
    }
}
