//! The log as it is written: commits, segments that follow one another, and the room kept ahead.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use crate::{
    Chunk, CommitError, Disk, Level, Options, Read,
    block::{self, Kind, UNIT},
    disk::is_full,
    draft::{Cut, Draft, cut_up},
    files::{self, SPARE},
    scan::{Scanned, Segment},
};

/// A segment that must grow, because no snapshot came in time, does so by multiples of this.
const GROWTH_BYTES: u64 = 64 << 10;
/// A commit no longer than this writes zeros behind itself, so that the ones after it overwrite what the disk has already.
/// The first write to a place that was only set aside makes the next sync wait for the filesystem's journal: measured with
/// 4 KiB, 57 us instead of 40 on an idle disk, and milliseconds while other programs write.
const SMALL_COMMIT_BYTES: u64 = 64 << 10;
/// That many zeros.
const AHEAD_BYTES: u64 = 1 << 20;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// At the level of the operating system, what is written goes to the disk at least this often, in microseconds.
const SYNC_EVERY_US: u64 = 1_000_000;
/// How long to wait before asking a full disk again for the next segment's room, in microseconds.
const SPARE_EVERY_US: u64 = 1_000_000;

/// Work for the log, done as one.
#[derive(Debug, Default)]
pub struct Commit {
    /// Records, each framed by [`frame`](crate::frame).
    pub records: Vec<u8>,
    /// The time, in microseconds since 1970.
    pub at_us: u64,
    /// The whole state behind these records. It begins a new segment, at which the next start begins to read. An empty one is
    /// the state of a new log, and is not handed out.
    pub snapshot: Option<Vec<u8>>,
    /// The message offset below which nothing is unfinished: what is below it may go when [`Keep`](crate::Keep) says so.
    pub low_water: u64,
    /// How many bytes of room are to be kept ahead beside the next segment's, if the disk has them: for what must be written
    /// even when it is full.
    pub reserve: u64,
    /// What is to be read, when the records are written.
    pub reads: Vec<Read>,
    /// Whether it must not be forgotten at any level: the last commit for now, a start, a SEEK. It is synced, and a mark behind
    /// it says so: then a start knows every block to have been synced, the last one too.
    pub for_good: bool,
}

/// What a commit did.
#[derive(Debug)]
pub struct Committed {
    /// The commit's records, emptied, for their room.
    pub records: Vec<u8>,
    /// The position behind the last record.
    pub end: u64,
    /// The offset that the next message gets.
    pub next_offset: u64,
    /// How many bytes can be written even if the disk is full: what is free in the newest segment and in the room kept for
    /// the next, less what a snapshot as long as the last one takes. A commit takes up to 127 bytes for each 256 KiB begun,
    /// besides its records.
    pub room: u64,
    /// The oldest message offset kept.
    pub kept_from: u64,
    /// The length of the log, in bytes.
    pub kept_bytes: u64,
    /// Whether less than a quarter of the segment is free: the next commit should bring a snapshot. Without one the segment
    /// grows, if the disk lets it.
    pub wants_snapshot: bool,
    /// Whether the snapshot was taken. It is not when there is no room for a new segment and the records fit in the old one.
    pub snapshot_taken: bool,
    /// What was read, in the order of the requests.
    pub reads: Vec<Chunk>,
}

/// A log, open for writing. One commit at a time.
#[derive(Debug)]
pub struct Log {
    pub(crate) disk: Box<dyn Disk>,
    pub(crate) options: Options,
    pub(crate) node: u64,
    pub(crate) boot: u32,
    /// Oldest first; never empty.
    pub(crate) segments: VecDeque<Segment>,
    /// The offset of the next message.
    pub(crate) offset: u64,
    /// Up to where the log is on the disk.
    synced: u64,
    synced_us: u64,
    /// The last block's checksum.
    before: u32,
    /// Up to which place the newest segment's file has been written, and not only set aside; and the file that is kept for the
    /// next one.
    written: u64,
    pub(crate) spare_written: u64,
    /// The length of the file that is kept for the next segment.
    pub(crate) spare: Option<u64>,
    spare_tried_us: Option<u64>,
    pub(crate) trimmed_us: u64,
    snapshot_bytes: u64,
    /// After an error nobody knows what the disk holds.
    failed: bool,
}

/// How a step of a commit fails.
#[derive(Debug)]
pub(crate) enum Failure {
    Full,
    Disk { what: String, error: io::Error },
}

/// Says what was tried when it fails.
pub(crate) fn tried<T>(what: &str, name: &str, result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| Failure::Disk { what: format!("cannot {what} {name}"), error })
}

/// The same where a full disk has done no harm.
pub(crate) fn tried_room<T>(what: &str, name: &str, result: io::Result<T>) -> Result<T, Failure> {
    match result {
        Err(error) if is_full(&error) => Err(Failure::Full),
        result => tried(what, name, result),
    }
}

impl Log {
    pub(crate) fn new(
        disk: Box<dyn Disk>,
        options: Options,
        node: u64,
        scanned: Scanned,
        now_us: u64,
    ) -> io::Result<Self> {
        let synced = scanned.segments.last().map_or(0, |segment| segment.end);
        let mut log = Self {
            disk,
            options,
            node,
            boot: scanned.boot.saturating_add(1),
            segments: scanned.segments.into(),
            offset: scanned.offset,
            synced,
            synced_us: now_us,
            before: scanned.before,
            written: 0,
            spare_written: 0,
            spare: None,
            spare_tried_us: None,
            trimmed_us: now_us,
            snapshot_bytes: 0,
            failed: false,
        };
        match log.keep_spare(now_us, 0) {
            Ok(()) | Err(Failure::Full) => Ok(log),
            Err(Failure::Disk { error, .. }) => Err(error),
        }
    }

    /// Appends the records, as far as [`Options::level`] says, and does what else the commit asks.
    ///
    /// # Errors
    /// A full disk gives the commit back and changes nothing. After [`CommitError::Disk`] the log takes no further commit:
    /// what the disk holds is not known, and a sync that is tried again would say nothing about what the first one lost.
    pub fn commit(&mut self, mut commit: Commit) -> Result<Committed, CommitError> {
        if self.failed {
            let error = io::Error::other("it failed before");
            return Err(CommitError::Disk { what: "the log takes no further commit".to_owned(), error });
        }
        let Some(cuts) = cut_up(&commit.records) else { return Err(CommitError::Frames) };
        match self.run(&commit, &cuts) {
            Ok(snapshot_taken) => {
                let reads = commit.reads.drain(..).map(|read| self.read(read)).collect();
                commit.records.clear();
                Ok(Committed {
                    records: commit.records,
                    end: self.end(),
                    next_offset: self.offset,
                    room: self.room(),
                    kept_from: self.kept_from(),
                    kept_bytes: self.kept_bytes(),
                    wants_snapshot: self.wants_snapshot(),
                    snapshot_taken,
                    reads,
                })
            }
            Err(Failure::Full) => Err(CommitError::Full(Box::new(commit))),
            Err(Failure::Disk { what, error }) => {
                self.failed = true;
                Err(CommitError::Disk { what, error })
            }
        }
    }

    fn run(&mut self, commit: &Commit, cuts: &[Cut]) -> Result<bool, Failure> {
        let rolled = match &commit.snapshot {
            Some(snapshot) => self.roll(commit, cuts, snapshot)?,
            None => false,
        };
        if !rolled {
            self.append(commit, cuts)?;
        }
        let due = commit.for_good || commit.at_us.abs_diff(self.synced_us) >= SYNC_EVERY_US;
        if due {
            self.sync()?;
            self.synced_us = commit.at_us;
        }
        if commit.for_good {
            self.mark(commit.at_us)?;
        }
        self.trim(commit.at_us, commit.low_water, rolled)?;
        match self.keep_spare(commit.at_us, commit.reserve) {
            Err(Failure::Full) | Ok(()) => Ok(rolled),
            Err(failure) => Err(failure),
        }
    }

    /// Writes the records behind the last ones.
    fn append(&mut self, commit: &Commit, cuts: &[Cut]) -> Result<(), Failure> {
        let mut draft = self.draft(self.end(), commit.at_us);
        draft.push_records(&commit.records, cuts);
        self.write(&draft)?;
        if self.options.level == Level::Disk { self.sync() } else { Ok(()) }
    }

    /// Says behind the last block that it is synced.
    fn mark(&mut self, at_us: u64) -> Result<(), Failure> {
        let mut draft = self.draft(self.end(), at_us);
        draft.push(Kind::Mark, 0, &[], 0);
        match self.write(&draft) {
            // What was to be marked is on the disk all the same.
            Err(Failure::Full) => Ok(()),
            Err(failure) => Err(failure),
            Ok(()) => self.sync(),
        }
    }

    fn draft<'a>(&self, position: u64, at_us: u64) -> Draft<'a> {
        Draft::new(position, self.boot, self.synced, self.offset, at_us).behind(self.before)
    }

    /// Writes the drafted blocks to the end of the newest segment.
    fn write(&mut self, draft: &Draft<'_>) -> Result<(), Failure> {
        let Some(newest) = self.segments.back_mut() else { return Ok(()) };
        if draft.headers.is_empty() {
            return Ok(());
        }
        let name = newest.name();
        let needed = draft.position - newest.base;
        if needed > newest.allocated {
            let length = needed.next_multiple_of(GROWTH_BYTES);
            tried_room("lengthen", &name, self.disk.allocate(&name, length))?;
            newest.allocated = length;
        }
        let place = newest.end - newest.base;
        let mut parts = draft.parts();
        let mut written = needed;
        if needed > self.written && needed - place <= SMALL_COMMIT_BYTES && self.options.level == Level::Disk {
            let end = newest.allocated.min(needed + AHEAD_BYTES);
            while let Some(zeros) = ZEROS.get(..usize::try_from(end - written).unwrap_or(usize::MAX).min(ZEROS.len()))
                && !zeros.is_empty()
            {
                parts.push(IoSlice::new(zeros));
                written += zeros.len() as u64;
            }
        }
        tried_room("write", &name, self.disk.write_at(&name, place, &parts))?;
        self.written = self.written.max(written);
        draft.headers.iter().for_each(|header| newest.note(header));
        (self.offset, self.before) = (draft.offset, draft.before);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Failure> {
        let end = self.end();
        if self.synced < end
            && let Some(newest) = self.segments.back()
        {
            let name = newest.name();
            tried("sync", &name, self.disk.sync(&name))?;
            self.synced = end;
        }
        Ok(())
    }

    /// Begins a new segment with the records and the snapshot behind them; `false` if there is no room for one.
    ///
    /// The old segment is on the disk before the new one has its name, and the new one is whole before it has it.
    fn roll(&mut self, commit: &Commit, cuts: &[Cut], snapshot: &[u8]) -> Result<bool, Failure> {
        if u32::try_from(snapshot.len()).is_err() {
            return Ok(false);
        }
        self.sync()?;
        let base = self.end();
        let records_bytes: u64 = cuts.iter().map(|cut| block::block_bytes(cut.range.len() as u64)).sum();
        let snapshot_bytes = block::block_bytes(snapshot.len() as u64);
        let needed = Draft::HEAD_BLOCK_BYTES + records_bytes + snapshot_bytes;
        // What a large state leaves free is to be worth a segment.
        let allocated = self.options.segment_bytes.max((needed + needed / 2).next_multiple_of(UNIT));
        match self.make_spare(allocated) {
            Err(Failure::Full) => return Ok(false),
            made => made?,
        }
        if self.spare.is_some_and(|there| there > allocated) {
            tried("cut", SPARE, self.disk.set_len(SPARE, allocated))?;
        }
        let mut draft = self.draft(base, commit.at_us).behind(0);
        let head = block::segment_head(allocated);
        draft.push(Kind::Segment, self.node, &head, 0);
        draft.push_records(&commit.records, cuts);
        draft.push(Kind::Snapshot, 0, snapshot, 0);
        let name = files::segment(base);
        // From here on the file is no longer what was kept, whatever happens.
        self.spare = None;
        match self.write_spare(&draft, &name) {
            Err(Failure::Full) => return Ok(false),
            written => written?,
        }
        if let Some(old) = self.segments.back_mut() {
            let name = old.name();
            old.allocated = old.end - old.base;
            tried("cut", &name, self.disk.set_len(&name, old.allocated))?;
        }
        self.written = std::mem::take(&mut self.spare_written).max(needed);
        let mut segment = Segment::new(base, allocated, self.offset);
        draft.headers.iter().for_each(|header| segment.note(header));
        (self.offset, self.before) = (draft.offset, draft.before);
        self.segments.push_back(segment);
        self.synced = self.end();
        self.synced_us = commit.at_us;
        self.snapshot_bytes = snapshot_bytes;
        Ok(true)
    }

    /// Makes the kept file the segment `name`, whole before it has its name.
    fn write_spare(&mut self, draft: &Draft<'_>, name: &str) -> Result<(), Failure> {
        tried_room("write", SPARE, self.disk.write_at(SPARE, 0, &draft.parts()))?;
        tried("sync", SPARE, self.disk.sync(SPARE))?;
        tried_room("rename", SPARE, self.disk.rename(SPARE, name))?;
        tried("sync the directory for", name, self.disk.sync_dir())
    }

    /// Sees that room for the next segment is there, and beside it so much; a disk that had none is not asked again at once.
    fn keep_spare(&mut self, now_us: u64, reserve: u64) -> Result<(), Failure> {
        let wanted = self.options.segment_bytes + reserve.next_multiple_of(self.options.segment_bytes / 4);
        if self.spare.is_some_and(|there| there >= wanted)
            || self.spare_tried_us.is_some_and(|tried| now_us.abs_diff(tried) < SPARE_EVERY_US)
        {
            return Ok(());
        }
        self.spare_tried_us = Some(now_us);
        self.make_spare(wanted)?;
        self.spare_tried_us = None;
        Ok(())
    }

    pub(crate) fn make_spare(&mut self, length: u64) -> Result<(), Failure> {
        if self.spare.is_some_and(|there| there >= length) {
            return Ok(());
        }
        if self.spare.is_none() {
            match self.disk.create(SPARE) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => tried_room("make", SPARE, made)?,
            }
        }
        tried_room("make room in", SPARE, self.disk.allocate(SPARE, length))?;
        self.spare = Some(length);
        Ok(())
    }

    /// The position behind the last block.
    pub(crate) fn end(&self) -> u64 {
        self.segments.back().map_or(0, |segment| segment.end)
    }

    pub(crate) fn kept_from(&self) -> u64 {
        self.segments.front().map_or(0, |segment| segment.offset)
    }

    pub(crate) fn kept_bytes(&self) -> u64 {
        self.end() - self.segments.front().map_or(0, |segment| segment.base)
    }

    /// What is free in the newest segment.
    fn free(&self) -> u64 {
        self.segments.back().map_or(0, |newest| newest.allocated.saturating_sub(newest.end - newest.base))
    }

    pub(crate) fn room(&self) -> u64 {
        let next = self.spare.unwrap_or(0).saturating_sub(Draft::HEAD_BLOCK_BYTES + self.snapshot_bytes + UNIT);
        self.free() + next
    }

    fn wants_snapshot(&self) -> bool {
        let allocated = self.segments.back().map_or(0, |newest| newest.allocated);
        self.spare.is_some() && self.free() < allocated / 4
    }
}
