//! What an operator asks of a log that is in doubt.

use crate::{
    Damage, Disk, Entry, Hole, OpenError,
    files::{self, Files},
    scan::{Watch, scan},
};

/// What a look through a log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The queue's number.
    pub node: u64,
    /// How often the queue was started, as far as it wrote something.
    pub boots: u64,
    /// How many segments.
    pub segments: u64,
    /// How many whole blocks.
    pub blocks: u64,
    /// How many records.
    pub records: u64,
    /// How many message offsets they bring.
    pub messages: u64,
    /// The position at which the log begins, in bytes.
    pub begin: u64,
    /// The position behind the last whole block.
    pub end: u64,
    /// The oldest message offset kept.
    pub kept_from: u64,
    /// The offset that the next message gets.
    pub next_offset: u64,
    /// When the first block was written, in microseconds since 1970.
    pub oldest_us: u64,
    /// The latest time of any block.
    pub newest_us: u64,
    /// What was set aside.
    pub holes: Vec<Hole>,
    /// What a crash left behind the end, in bytes: the next start cuts it off.
    pub tail_bytes: u64,
    /// What does not check: the next start refuses it.
    pub damage: Vec<Damage>,
}

/// Checks every block and hands everything that is kept to `each`, oldest first. Nothing is changed.
///
/// # Errors
/// Damage to the blocks is no error here: it is in [`Verified::damage`]. That there is no log, or that the disk cannot be read,
/// is one; and what `each` says.
pub fn verify(
    disk: &mut dyn Disk,
    each: &mut dyn FnMut(Entry<'_>) -> Result<(), String>,
) -> Result<Verified, OpenError> {
    let failed = |error| OpenError::Disk { what: "cannot list the files".to_owned(), error };
    let files = Files::list(disk).map_err(failed)?;
    if !files.has_label {
        return Err(match files.foreign {
            Some(file) => OpenError::Foreign { file },
            None => OpenError::NoLabel,
        });
    }
    if files.segments.is_empty() {
        return Err(OpenError::Empty);
    }
    let node = files::read_label(disk)?;
    let scanned = scan(disk, node, &files.segments, &mut Watch { progress: &mut |_, _| {}, each: Some(each) })?;
    let (first, last) = (scanned.segments.first(), scanned.segments.last());
    Ok(Verified {
        node,
        boots: u64::from(scanned.boot),
        segments: scanned.segments.len() as u64,
        blocks: scanned.blocks,
        records: scanned.records,
        messages: scanned.messages,
        begin: first.map_or(0, |segment| segment.base),
        end: last.map_or(0, |segment| segment.end),
        kept_from: first.map_or(0, |segment| segment.offset),
        next_offset: scanned.offset,
        oldest_us: scanned.oldest_us,
        newest_us: scanned.newest_us,
        holes: scanned.holes,
        tail_bytes: scanned.tail_bytes,
        damage: scanned.damage,
    })
}
