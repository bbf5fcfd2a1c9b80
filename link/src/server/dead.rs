//! Dead letters: messages that will never do, or have failed too often, with the reason; kept for an operator.

use std::collections::{BTreeMap, BTreeSet};

use super::store::MESSAGE_OVERHEAD_BYTES;

/// How many dead letters are kept.
pub(crate) const DEAD_MESSAGES_MAX: usize = 100_000;

/// How many bytes they may take, each with its reason and 64 bytes of overhead.
pub(crate) const DEAD_BYTES_MAX: u64 = 64 << 20;

/// How much of a reason is kept.
pub(crate) const REASON_BYTES_MAX: usize = 256;

/// One message that is dead.
#[derive(Debug)]
pub(crate) struct Letter {
    /// How often it was handed out.
    pub(crate) attempts: u64,
    /// Why it is here, for people.
    pub(crate) reason: Box<[u8]>,
    /// The message as a frame.
    pub(crate) frame: Box<[u8]>,
    /// When its batch entered the system, in microseconds since the epoch.
    pub(crate) origin_us: u64,
    age: u64,
}

impl Letter {
    /// A letter with as much of the reason as is kept.
    pub(crate) fn new(attempts: u64, reason: &[u8], frame: &[u8], origin_us: u64) -> Self {
        let reason = reason.get(..REASON_BYTES_MAX).unwrap_or(reason);
        Self { attempts, reason: reason.into(), frame: frame.into(), origin_us, age: 0 }
    }

    fn cost(&self) -> u64 {
        (self.reason.len() + self.frame.len()) as u64 + MESSAGE_OVERHEAD_BYTES
    }
}

/// The dead letters, by offset.
#[derive(Debug, Default)]
pub(crate) struct Dead {
    letters: BTreeMap<u64, Letter>,
    /// Ages and offsets: the lowest died first.
    ages: BTreeSet<(u64, u64)>,
    buried: u64,
    bytes: u64,
}

impl Dead {
    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        self.letters.len() as u64
    }

    /// How many bytes they take.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes one in. Gives how many fell out for it: those that have been dead longest.
    pub(crate) fn bury(&mut self, offset: u64, mut letter: Letter) -> u64 {
        self.buried += 1;
        letter.age = self.buried;
        self.bytes += letter.cost();
        self.ages.insert((letter.age, offset));
        self.letters.insert(offset, letter);
        let mut fallen = 0;
        while self.letters.len() > DEAD_MESSAGES_MAX || self.bytes > DEAD_BYTES_MAX {
            let Some(&(_, offset)) = self.ages.first() else { break };
            self.remove(offset);
            fallen += 1;
        }
        fallen
    }

    /// Takes one out.
    pub(crate) fn remove(&mut self, offset: u64) -> Option<Letter> {
        let letter = self.letters.remove(&offset)?;
        self.ages.remove(&(letter.age, offset));
        self.bytes -= letter.cost();
        Some(letter)
    }

    /// All of them, those that have been dead longest first.
    pub(crate) fn by_age(&self) -> impl Iterator<Item = (u64, &Letter)> {
        self.ages.iter().filter_map(|(_, offset)| Some((*offset, self.letters.get(offset)?)))
    }

    /// Where they lie, at or behind an offset.
    pub(crate) fn offsets_from(&self, offset: u64) -> impl Iterator<Item = u64> {
        self.letters.range(offset..).map(|(offset, _)| *offset)
    }

    /// The first at or behind an offset.
    pub(crate) fn first_from(&self, offset: u64) -> Option<(u64, &Letter)> {
        self.letters.range(offset..).next().map(|(offset, letter)| (*offset, letter))
    }

    /// Recounts everything.
    pub(crate) fn check(&self) {
        assert_eq!(self.bytes, self.letters.values().map(Letter::cost).sum::<u64>());
        assert!(self.letters.iter().all(|(offset, letter)| self.ages.contains(&(letter.age, *offset))));
        assert_eq!(self.ages.len(), self.letters.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_been_dead_longest_falls_out() {
        let mut dead = Dead::default();
        let fallen: u64 =
            (0..DEAD_MESSAGES_MAX as u64 + 10).map(|n| dead.bury(1_000_000 - n, Letter::new(5, b"", b"11a", 0))).sum();
        assert_eq!((fallen, dead.len()), (10, DEAD_MESSAGES_MAX as u64));
        assert!(dead.first_from(1_000_000 - 9).is_none() && dead.first_from(0).is_some());
        dead.check();
    }

    #[test]
    fn bytes_are_bounded_and_reasons_cut() {
        let mut dead = Dead::default();
        let frame = vec![b'x'; 65_000];
        let fallen: u64 = (0..2_000).map(|n| dead.bury(n, Letter::new(1, &[b'r'; 9_999], &frame, 0))).sum();
        assert!(fallen > 0 && dead.bytes() <= DEAD_BYTES_MAX);
        assert_eq!(dead.remove(1_999).map(|letter| letter.reason.len()), Some(REASON_BYTES_MAX));
        assert!(dead.remove(1_999).is_none());
        dead.check();
    }
}
