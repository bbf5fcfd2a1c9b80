//! Which messages of a queue a worker has applied, so that it never applies one again while it lives.

use std::collections::BTreeMap;

use link::Batch;

/// So many generations of a queue are remembered: after a SEEK, messages of two come by turns.
const GENERATIONS_MAX: usize = 4;

/// What is known of one queue's messages.
#[derive(Debug, Default)]
pub(crate) struct AppliedMessages {
    node: u64,
    /// The generation of the batch at hand.
    generation: u64,
    /// By generation; offsets of another mean other messages.
    lives: BTreeMap<u64, Life>,
}

/// What is known of the messages of one generation, from its low water on.
#[derive(Debug, Default)]
struct Life {
    /// The highest that was heard. All below it is finished: what still comes of it was overtaken on its way.
    low_water: u64,
    /// The first offset of each range, and the one after its last.
    ranges: BTreeMap<u64, u64>,
    /// Why messages were refused. They are among the applied ones.
    refused: BTreeMap<u64, String>,
}

impl AppliedMessages {
    /// Prepares for this batch: its queue may be another by now, and below its low water nothing comes again.
    pub(crate) fn begin(&mut self, batch: &Batch) {
        if self.node != batch.node {
            *self = Self { node: batch.node, ..Self::default() };
        }
        self.generation = batch.generation;
        self.lives.entry(batch.generation).or_default().rise(batch.low_water);
        if self.lives.len() > GENERATIONS_MAX {
            self.lives.pop_first();
        }
    }

    fn life(&mut self) -> &mut Life {
        self.lives.entry(self.generation).or_default()
    }

    /// Whether this message has been applied, here or elsewhere.
    pub(crate) fn contains(&self, offset: u64) -> bool {
        self.lives.get(&self.generation).is_some_and(|life| life.contains(offset))
    }

    /// This message is being applied.
    pub(crate) fn insert(&mut self, offset: u64) {
        self.life().insert(offset);
    }

    /// This message was not applied after all.
    pub(crate) fn remove(&mut self, offset: u64) {
        self.life().remove(offset);
    }

    /// This message was refused.
    pub(crate) fn refuse(&mut self, offset: u64, reason: String) {
        self.life().refused.insert(offset, reason);
    }

    /// Why this message was refused, if it was.
    pub(crate) fn refusal(&self, offset: u64) -> Option<&str> {
        self.lives.get(&self.generation)?.refused.get(&offset).map(String::as_str)
    }
}

impl Life {
    fn rise(&mut self, low_water: u64) {
        self.low_water = self.low_water.max(low_water);
        let low_water = self.low_water;
        while let Some((&first, &end)) = self.ranges.first_key_value()
            && first < low_water
        {
            self.ranges.remove(&first);
            if end > low_water {
                self.ranges.insert(low_water, end);
            }
        }
        self.refused = self.refused.split_off(&low_water);
    }

    fn contains(&self, offset: u64) -> bool {
        offset < self.low_water || self.ranges.range(..=offset).next_back().is_some_and(|(_, end)| *end > offset)
    }

    fn insert(&mut self, offset: u64) {
        if self.contains(offset) {
            return;
        }
        let before = self.ranges.range(..offset).next_back().filter(|(_, end)| **end == offset);
        let first = before.map_or(offset, |(first, _)| *first);
        let end = self.ranges.remove(&(offset + 1)).unwrap_or(offset + 1);
        self.ranges.insert(first, end);
    }

    fn remove(&mut self, offset: u64) {
        let Some((&first, &end)) = self.ranges.range(..=offset).next_back().filter(|(_, end)| **end > offset) else {
            return;
        };
        self.ranges.remove(&first);
        if first < offset {
            self.ranges.insert(first, offset);
        }
        if offset + 1 < end {
            self.ranges.insert(offset + 1, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

    use super::*;

    fn batch(generation: u64, low_water: u64) -> Batch {
        Batch {
            id: 1,
            lease: None,
            frames: Vec::new(),
            first_offset: low_water,
            count: 1,
            attempt: 1,
            node: 1,
            generation,
            low_water,
            origin_us: 0,
        }
    }

    #[test]
    fn ranges_are_what_a_set_would_be() {
        let mut chance = SmallRng::seed_from_u64(1);
        let (mut applied, mut set) = (AppliedMessages::default(), BTreeSet::new());
        applied.begin(&batch(1, 0));
        let mut low_water = 0;
        for _ in 0..20_000 {
            let offset = low_water + chance.random_range(0..40);
            match chance.random_range(0..10) {
                0 => {
                    applied.remove(offset);
                    set.remove(&offset);
                }
                1 => {
                    low_water += chance.random_range(0..3);
                    applied.begin(&batch(1, low_water));
                    set = set.split_off(&low_water);
                }
                _ => {
                    applied.insert(offset);
                    set.insert(offset);
                }
            }
            for offset in low_water.saturating_sub(3)..low_water + 45 {
                assert_eq!(applied.contains(offset), offset < low_water || set.contains(&offset));
            }
            assert!(applied.lives[&1].ranges.len() <= set.len(), "ranges are joined");
        }
    }

    #[test]
    fn another_generation_has_other_messages() {
        let mut applied = AppliedMessages::default();
        applied.begin(&batch(1, 0));
        applied.insert(5);
        applied.refuse(5, "no".to_owned());
        assert_eq!((applied.contains(5), applied.refusal(5)), (true, Some("no")));
        applied.begin(&batch(2, 0));
        assert_eq!((applied.contains(5), applied.refusal(5)), (false, None));
    }

    #[test]
    fn generations_may_come_by_turns() {
        let mut applied = AppliedMessages::default();
        for (generation, offset) in [(1, 5), (2, 3), (3, 9)] {
            applied.begin(&batch(generation, 0));
            applied.insert(offset);
            applied.refuse(offset, "no".to_owned());
        }
        for (generation, offset) in [(1, 5), (2, 3), (1, 5), (3, 9)] {
            applied.begin(&batch(generation, 0));
            assert_eq!((applied.contains(offset), applied.refusal(offset)), (true, Some("no")));
            assert!(!applied.contains(offset + 1));
        }
        (4..=6).for_each(|generation| applied.begin(&batch(generation, 0)));
        applied.begin(&batch(1, 0));
        assert!(!applied.contains(5), "the oldest are forgotten");
    }

    #[test]
    fn what_was_overtaken_is_not_applied_again() {
        let mut applied = AppliedMessages::default();
        applied.begin(&batch(1, 0));
        applied.insert(97);
        applied.begin(&batch(1, 98));
        applied.begin(&batch(1, 97));
        assert_eq!((applied.contains(97), applied.contains(98)), (true, false));
    }
}
