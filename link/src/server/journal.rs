//! The records that a queue has made and the log has not yet: nothing is said of a change before it is durable.
//!
//! A place in the journal is how many bytes of records had been made. An answer names the place that it waits for.

use std::time::Duration;

use machine::Now;
use protocol::link::{Derived, Durability};

use super::{
    frames::{Run, Source},
    records::{DerivedRecord, Record, SourceRecord},
};

/// How much of the log's room each message that is not finished keeps for its finish: a block of the log of its own.
const RESERVE_BYTES: u64 = 128;

/// What is left of the log's room for what must be written beside finishes.
const SLACK_BYTES: u64 = 64 << 10;

/// Records on their way to the log.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) level: Durability,
    records: Vec<u8>,
    made: u64,
    durable: u64,
    /// What is durable of the messages.
    durable_extent: Extent,
    /// The place of what is being written, and what is durable with it.
    under_way: Option<(u64, Extent)>,
    /// How many bytes the log has room for, and at which place that was so.
    room: (u64, u64),
}

/// Which messages a queue knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// All below this offset are done with.
    pub(crate) low_water: u64,
    /// All have come that are below this offset.
    pub(crate) next: u64,
}

impl Journal {
    /// A journal of a log with so much room, which has all of these messages.
    pub(crate) fn new(level: Durability, durable_extent: Extent, room: u64) -> Self {
        Self { level, records: Vec::new(), made: 0, durable: 0, durable_extent, under_way: None, room: (room, 0) }
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, messages: u64, record: &Record<'_>, tail: &[&[u8]]) {
        let before = self.records.len();
        record.push(u32::try_from(messages).unwrap_or(u32::MAX), tail, &mut self.records);
        self.made += (self.records.len() - before) as u64;
    }

    /// Adds messages.
    pub(crate) fn push_messages(&mut self, now: Now, run: &Run<'_>) {
        let source = run.source.map(|Source { producer, next, derived }| SourceRecord {
            producer,
            next,
            derived: derived.map(|Derived { node, generation, stage, low_water, ids }| DerivedRecord {
                node,
                generation,
                stage,
                low_water,
                ids_bytes: ids.len(),
            }),
        });
        let ids = run.source.and_then(|source| source.derived).map_or(&b""[..], |derived| derived.ids);
        let record = Record::Messages { at_us: micros(now.since_epoch), origin_us: run.origin_us, source };
        self.push(run.count(), &record, &[ids, run.frames()]);
    }

    /// How many bytes may be written when so many messages are not finished: their finishes keep their room.
    pub(crate) fn spare(&self, unfinished: u64) -> u64 {
        let (room, at) = self.room;
        room.saturating_sub(self.made - at).saturating_sub(reserve(unfinished))
    }

    /// The place behind the last record.
    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    /// All records before this place are durable.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// All messages below this offset are durable.
    pub(crate) fn durable_next(&self) -> u64 {
        self.durable_extent.next
    }

    /// All messages below this offset are done with, and that is durable.
    pub(crate) fn durable_low_water(&self) -> u64 {
        self.durable_extent.low_water
    }

    /// Whether there are records to write and none are being written.
    pub(crate) fn is_due(&self) -> bool {
        self.under_way.is_none() && !self.records.is_empty()
    }

    /// Whether records are being written.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Takes the records out, to be written; `room_for` is used for the next ones.
    pub(crate) fn take(&mut self, extent: Extent, room_for: Vec<u8>) -> Vec<u8> {
        self.under_way = Some((self.made, extent));
        std::mem::replace(&mut self.records, room_for)
    }

    /// What was taken last is durable now, and the log has room for so many bytes more.
    pub(crate) fn written(&mut self, room: u64) {
        if let Some((made, extent)) = self.under_way.take() {
            (self.durable, self.durable_extent) = (made, extent);
            self.room = (room, made);
        }
    }
}

/// A time as it is written down, in microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// How many bytes of room the finishes of so many messages keep.
pub(crate) fn reserve(unfinished: u64) -> u64 {
    SLACK_BYTES + unfinished.saturating_mul(RESERVE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Extent = Extent { low_water: 0, next: 0 };

    #[test]
    fn what_is_made_while_others_are_written_waits_for_the_next_turn() {
        let mut journal = Journal::new(Durability::Disk, EMPTY, 1 << 20);
        let finished = Record::Finished { first: 0, last: 0 };
        journal.push(0, &finished, &[]);
        let first = journal.made();
        assert!(journal.is_due() && first > 0);
        let taken = journal.take(Extent { low_water: 1, next: 2 }, Vec::new());
        assert_eq!(taken.len() as u64, first);
        journal.push(0, &finished, &[]);
        assert!(!journal.is_due() && journal.is_under_way());
        assert_eq!((journal.durable(), journal.durable_low_water(), journal.durable_next()), (0, 0, 0));
        journal.written(1 << 20);
        assert_eq!((journal.durable(), journal.durable_low_water(), journal.durable_next()), (first, 1, 2));
        assert!(journal.is_due());
    }

    #[test]
    fn the_room_for_finishes_is_not_given_away() {
        let mut journal = Journal::new(Durability::Disk, EMPTY, SLACK_BYTES + 1_000);
        assert_eq!((journal.spare(0), journal.spare(1), journal.spare(1_000)), (1_000, 872, 0));
        journal.push(0, &Record::Popped { offset: 3 }, &[]);
        assert_eq!(journal.spare(0), 1_000 - journal.made());
    }
}
