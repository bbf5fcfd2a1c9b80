//! Opening a log: what it is asked for, what it says of itself, and how its records come back.

use std::{io, io::IoSlice, time::Duration};

use crate::{
    Damage, Disk, Flaw, Log, OpenError,
    block::{Kind, segment_head},
    blocks::{Blocks, Next},
    draft::Draft,
    files::{self, Files, LABEL, LABEL_NEW, SPARE},
    salvage,
    scan::{Scanned, Watch, entries, scan},
};

/// How far a commit's records have gone when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// To the operating system: they survive the end of the process, not a loss of power. They go to the disk within about a
    /// second of further commits.
    Os,
    /// To the disk.
    Disk,
}

/// What finished records are kept for replay. A segment goes when the log is larger than `bytes`, or when the segment is
/// older than `age`; never the newest one, and never one that holds what is unfinished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The most that is kept, in bytes.
    pub bytes: u64,
    /// The longest that it is kept.
    pub age: Option<Duration>,
}

/// What a log is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// When a commit returns.
    pub level: Level,
    /// The length of a segment file, in bytes.
    pub segment_bytes: u64,
    /// What is kept.
    pub keep: Keep,
    /// Whether damage is set aside. Without it, a damaged log is not opened.
    pub salvage: bool,
    /// The queue's number, if there is no log yet.
    pub node_if_new: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            level: Level::Disk,
            segment_bytes: 64 << 20,
            keep: Keep { bytes: 1 << 30, age: None },
            salvage: false,
            node_if_new: 0,
        }
    }
}

/// What comes back from a log when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// The state that a [`Commit`](crate::Commit) gave: all records before it are in it.
    Snapshot(&'a [u8]),
    /// A record.
    Record {
        /// Where it is, for [`From::Position`](crate::From::Position).
        position: u64,
        /// The first message offset that it brings, or the next that a later one will.
        offset: u64,
        /// How many it brings.
        messages: u32,
        /// When it was committed, in microseconds since 1970, by the clock of that time.
        at_us: u64,
        /// The record.
        bytes: &'a [u8],
    },
    /// A range was set aside here: its records are gone, and with them the messages from `first` up to but not `next`. The two
    /// are equal if it held no message.
    ///
    /// A range that was set aside before the snapshot's place comes right behind the snapshot: the state knows messages whose
    /// records are gone. Each is told again at each start for as long as its segment is kept.
    Lost {
        /// The first message offset that is gone.
        first: u64,
        /// The first behind them.
        next: u64,
    },
}

/// What an opened log says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The queue's number.
    pub node: u64,
    /// The number of this start, from 1. It is used up with the first commit: a start that commits nothing gives its number to
    /// the next.
    pub boot: u64,
    /// Whether the log was made just now.
    pub is_new: bool,
    /// The offset that the next message gets.
    pub next_offset: u64,
    /// The position behind the last record.
    pub end: u64,
    /// The oldest message offset kept.
    pub kept_from: u64,
    /// The length of the log, in bytes.
    pub kept_bytes: u64,
    /// As in [`Committed`](crate::Committed).
    pub room: u64,
    /// What a crash left behind the last whole commit and was cut off, in bytes, as far as blocks could be made out in it.
    pub cut_bytes: u64,
    /// What was set aside just now.
    pub set_aside: Vec<Damage>,
}

impl Log {
    /// Opens the log on `disk`, or makes one where there is none. Every block is checked; what a crash left unfinished behind
    /// the last commit is cut off; then the newest snapshot and every record behind it go to `replay`.
    ///
    /// `progress` hears how many bytes of how many have been checked.
    ///
    /// # Errors
    /// Without [`Options::salvage`], damage leaves the log as it is. See [`OpenError`] for the rest.
    pub fn open(
        mut disk: Box<dyn Disk>,
        options: Options,
        now_us: u64,
        replay: &mut dyn FnMut(Entry<'_>) -> Result<(), String>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, Opened), OpenError> {
        let is_new = make_if_new(disk.as_mut(), &options, now_us)?;
        let node = files::read_label(disk.as_mut())?;
        let mut watch = Watch { progress, each: None };
        let mut scanned = look(disk.as_mut(), node, &mut watch)?;
        let mut set_aside = Vec::new();
        if !scanned.damage.is_empty() {
            if !options.salvage {
                return Err(OpenError::Damaged(scanned.damage));
            }
            salvage::set_aside(disk.as_mut(), &scanned)
                .map_err(|error| OpenError::Disk { what: "cannot set the damage aside".to_owned(), error })?;
            set_aside = scanned.damage;
            scanned = look(disk.as_mut(), node, &mut watch)?;
            if !scanned.damage.is_empty() {
                return Err(OpenError::Damaged(scanned.damage));
            }
        }
        play(disk.as_mut(), node, &scanned, replay)?;
        cut(disk.as_mut(), &scanned)
            .map_err(|error| OpenError::Disk { what: "cannot end the log cleanly".to_owned(), error })?;
        let cut_bytes = scanned.tail_bytes;
        let log = Self::new(disk, options, node, scanned, now_us)
            .map_err(|error| OpenError::Disk { what: "cannot keep room for the next segment".to_owned(), error })?;
        let opened = Opened {
            node,
            boot: u64::from(log.boot),
            is_new,
            next_offset: log.offset,
            end: log.end(),
            kept_from: log.kept_from(),
            kept_bytes: log.kept_bytes(),
            room: log.room(),
            cut_bytes,
            set_aside,
        };
        Ok((log, opened))
    }
}

/// Makes an empty log where there is nothing.
///
/// The label comes last, so a label without segments is a log that lost them. The label's first name is what tells a log that
/// was never finished, and holds nothing, from one that lost its label.
fn make_if_new(disk: &mut dyn Disk, options: &Options, now_us: u64) -> Result<bool, OpenError> {
    let failed = |error| OpenError::Disk { what: "cannot make the log".to_owned(), error };
    let files = Files::list(disk).map_err(failed)?;
    if files.has_label {
        return Ok(false);
    }
    if let Some(file) = files.foreign {
        return Err(OpenError::Foreign { file });
    }
    if !files.has_label_new && !files.segments.is_empty() {
        return Err(OpenError::NoLabel);
    }
    make(disk, &files, options, now_us).map_err(failed)?;
    Ok(true)
}

fn make(disk: &mut dyn Disk, leftovers: &Files, options: &Options, now_us: u64) -> io::Result<()> {
    for (base, _) in &leftovers.segments {
        disk.remove(&files::segment(*base))?;
    }
    if !leftovers.segments.is_empty() {
        // A segment is never there without the label that says that it means nothing.
        disk.sync_dir()?;
    }
    for (is_there, name) in [(leftovers.has_label_new, LABEL_NEW), (leftovers.has_spare, SPARE)] {
        if is_there {
            disk.remove(name)?;
        }
    }
    files::write_label(disk, options.node_if_new)?;
    disk.create(SPARE)?;
    disk.allocate(SPARE, options.segment_bytes)?;
    let mut draft = Draft::new(0, 0, 0, 0, now_us);
    let head = segment_head(options.segment_bytes);
    draft.push(Kind::Segment, options.node_if_new, &head, 0);
    draft.push(Kind::Snapshot, 0, &[], 0);
    disk.write_at(SPARE, 0, &draft.parts())?;
    disk.sync(SPARE)?;
    disk.rename(SPARE, &files::segment(0))?;
    disk.sync_dir()?;
    disk.rename(LABEL_NEW, LABEL)?;
    disk.sync_dir()
}

/// Checks the whole log.
pub(crate) fn look(disk: &mut dyn Disk, node: u64, watch: &mut Watch<'_>) -> Result<Scanned, OpenError> {
    let files =
        Files::list(disk).map_err(|error| OpenError::Disk { what: "cannot list the files".to_owned(), error })?;
    if files.segments.is_empty() {
        return Err(OpenError::Empty);
    }
    scan(disk, node, &files.segments, watch)
}

/// Hands out the newest snapshot and what is behind it.
fn play(
    disk: &mut dyn Disk,
    node: u64,
    scanned: &Scanned,
    replay: &mut dyn FnMut(Entry<'_>) -> Result<(), String>,
) -> Result<(), OpenError> {
    let newest = scanned.segments.iter().enumerate().rev().find_map(|(at, segment)| Some((at, segment.snapshot?)));
    let (first, mut from) = newest.unwrap_or((0, scanned.segments.first().map_or(0, |segment| segment.base)));
    if newest.is_none() && from > 0 {
        // The state at the begin of what is kept was in a snapshot, and all of them are gone.
        let next = scanned.segments.first().map_or(0, |segment| segment.offset);
        replay(Entry::Lost { first: 0, next }).map_err(OpenError::Replay)?;
    }
    let mut holes =
        scanned.holes.iter().map(|hole| (hole.position, Entry::Lost { first: hole.first, next: hole.next }));
    let (before, mut behind): (Vec<_>, Vec<_>) = holes.by_ref().partition(|(position, _)| *position < from);
    behind.reverse();
    let mut before = Some(before);
    for segment in scanned.segments.iter().skip(first) {
        let mut blocks = Blocks::new(node, segment.base, segment.end, 0).starting_at(from.max(segment.base));
        from = 0;
        loop {
            let position = blocks.position();
            let next = blocks
                .next(disk)
                .map_err(|error| OpenError::Disk { what: format!("cannot read {}", segment.name()), error })?;
            let (header, payload) = match next {
                Next::Block(header, payload, _) => (header, payload),
                Next::End => break,
                Next::Bad(flaw) => return Err(changed(&segment.name(), segment.base, position, flaw)),
            };
            if header.kind == Kind::Snapshot && !payload.is_empty() {
                replay(Entry::Snapshot(payload)).map_err(OpenError::Replay)?;
            }
            for (_, lost) in before.take().into_iter().flatten() {
                replay(lost).map_err(OpenError::Replay)?;
            }
            if header.kind == Kind::Hole
                && let Some((_, lost)) = behind.pop()
            {
                replay(lost).map_err(OpenError::Replay)?;
            }
            if header.kind == Kind::Records {
                entries(&header, payload).try_for_each(&mut *replay).map_err(OpenError::Replay)?;
            }
        }
    }
    Ok(())
}

/// What was good a moment ago is not any more.
fn changed(file: &str, base: u64, position: u64, flaw: Flaw) -> OpenError {
    let (file, place) = (file.to_owned(), position.saturating_sub(base));
    OpenError::Damaged(vec![Damage { file, place, flaw, position, until: position, first_offset: 0, next_offset: 0 }])
}

/// Makes the end of the log what it is taken for: all before it is on the disk, and no whole block is behind it.
fn cut(disk: &mut dyn Disk, scanned: &Scanned) -> io::Result<()> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    let Some(newest) = scanned.segments.last() else { return Ok(()) };
    let name = newest.name();
    let mut left = usize::try_from(scanned.tail_bytes).unwrap_or(usize::MAX);
    let mut place = newest.end - newest.base;
    while left > 0 {
        let piece = ZEROS.get(..left.min(ZEROS.len())).unwrap_or_default();
        disk.write_at(&name, place, &[IoSlice::new(piece)])?;
        place = place.saturating_add(piece.len() as u64);
        left -= piece.len();
    }
    // What was read may have been in the memory of the system only, and the name under which it was found.
    disk.sync(&name)?;
    disk.sync_dir()
}
