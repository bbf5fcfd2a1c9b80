//! What a queue writes down of what happens to it: one record for each change that must outlive the process.
//!
//! A record is its fields, then bytes that are taken over as they are (ids, frames), which reach to its end. In the log's
//! frame around it stands how many message offsets it brings. Played again in order from an empty queue, or from a snapshot,
//! the records give the state back: `replay.rs`.

use serde::{Deserialize, Serialize};

/// What stands before each record: its length and how many message offsets it brings, four bytes each, the lowest first.
pub(crate) const HEADER_BYTES: usize = 8;

/// One change. Offsets are both ends in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Record<'a> {
    /// Messages came. Behind it: so many bytes of ids, then frames.
    Messages {
        /// When, in microseconds since the epoch.
        at_us: u64,
        /// When the first of them entered the system, likewise.
        origin_us: u64,
        /// Who sent them; nobody for a PUT.
        #[serde(borrow)]
        source: Option<SourceRecord<'a>>,
    },
    /// They were leased, in this attempt.
    HandedOut { first: u64, last: u64, attempt: u64 },
    /// They were finished.
    Finished { first: u64, last: u64 },
    /// A GET took it away.
    Popped { offset: u64 },
    /// They came back after so many failures.
    Returned { first: u64, last: u64, attempts: u64, failures: u64 },
    /// It went to the dead letters. Behind it: its frame.
    Buried { offset: u64, attempts: u64, origin_us: u64, reason: &'a [u8] },
    /// A dead letter came back as a new message. Behind it: its frame.
    Requeued { dead: u64, at_us: u64, origin_us: u64 },
    /// A dead letter was dropped.
    Dropped { dead: u64 },
    /// They were in a part of the log that cannot be read any more.
    Lost { first: u64, last: u64 },
    /// A producer began an epoch.
    Opened { producer: u128, nonce: u64, next: u64 },
    /// A producer ended.
    Ended { producer: u128, epoch: u64, next: u64 },
    /// The node started.
    Started { level: u8, machine_boot: u128 },
    /// An operator rewound the queue.
    Rewound { to: u64 },
}

/// Who sent messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceRecord<'a> {
    pub(crate) producer: u128,
    /// The producer's next sequence after these.
    pub(crate) next: u64,
    /// The input queue that they were made from.
    #[serde(borrow)]
    pub(crate) derived: Option<DerivedRecord<'a>>,
}

/// See [`protocol::link::Derived`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DerivedRecord<'a> {
    pub(crate) node: u64,
    pub(crate) generation: u64,
    pub(crate) stage: &'a [u8],
    pub(crate) low_water: u64,
    /// How many bytes of ids follow the record.
    pub(crate) ids_bytes: usize,
}

impl Record<'_> {
    /// Appends the record with its header; `tail` follows it.
    pub(crate) fn push(&self, messages: u32, tail: &[&[u8]], out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&messages.to_le_bytes());
        let written = postcard::to_io(self, &mut *out);
        debug_assert!(written.is_ok(), "a Vec takes everything");
        for bytes in tail {
            out.extend_from_slice(bytes);
        }
        let len = u32::try_from(out.len() - begin - HEADER_BYTES).unwrap_or(u32::MAX);
        if let Some(place) = out.get_mut(begin..begin + 4) {
            place.copy_from_slice(&len.to_le_bytes());
        }
    }
}

impl<'a> Record<'a> {
    /// Reads a record without its header; and what follows it.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BadRecord> {
        postcard::take_from_bytes(bytes).map_err(|error| BadRecord(format!("no record of this version: {error}")))
    }
}

/// What is written down cannot be played: a defect of the program that wrote it, for its checksum is right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRecord(pub(crate) String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were() {
        let derived = DerivedRecord { node: 7, generation: 2, stage: b"Pong\xff", low_water: 9, ids_bytes: 3 };
        let source = SourceRecord { producer: u128::MAX, next: 5, derived: Some(derived) };
        let records = [
            (2, Record::Messages { at_us: 1, origin_us: 2, source: Some(source) }, &b"idsframes"[..]),
            (1, Record::Messages { at_us: 1, origin_us: 2, source: None }, b"11a"),
            (0, Record::HandedOut { first: 1, last: u64::MAX, attempt: 3 }, b""),
            (0, Record::Buried { offset: 1, attempts: 5, origin_us: 0, reason: b"attempts: \0" }, b"11a"),
            (0, Record::Started { level: 2, machine_boot: 1 << 100 }, b""),
        ];
        let mut out = Vec::new();
        for (messages, record, tail) in &records {
            record.push(*messages, &[tail], &mut out);
        }
        let mut read = Vec::new();
        for frame in wal::Frames::new(&out) {
            let (record, tail) = Record::read(frame.bytes).unwrap();
            read.push((frame.messages, record, tail));
        }
        assert_eq!(read, records);
        assert!(Record::read(b"\xff\xff").is_err() && Record::read(b"").is_err());
    }
}
