//! Looks through a whole log: every block of every segment is checked, and nothing is changed.

use std::io;

use crate::{
    Damage, Disk, Entry, Flaw, Frame, Frames, OpenError,
    block::{Header, Kind, UNIT, allocated_in},
    blocks::{Blocks, Next},
    files,
};

/// A place is noted in the index after at least this much of the log.
pub(crate) const INDEX_BYTES: u64 = 128 << 10;

/// A noted place: 24 bytes, so 192 KiB of memory for a GiB of log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noted {
    /// Where a block begins.
    pub(crate) position: u64,
    /// The first message offset in it or behind it.
    pub(crate) offset: u64,
    /// The latest time of the blocks from here to the next noted place.
    pub(crate) newest_us: u64,
}

/// What is known of a segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base: u64,
    /// The position behind its last block.
    pub(crate) end: u64,
    /// How long its file is or will be made.
    pub(crate) allocated: u64,
    /// The first message offset in it or behind it.
    pub(crate) offset: u64,
    /// Where its whole snapshot is.
    pub(crate) snapshot: Option<u64>,
    /// The latest time in it.
    pub(crate) newest_us: u64,
    pub(crate) index: Vec<Noted>,
}

impl Segment {
    pub(crate) fn new(base: u64, allocated: u64, offset: u64) -> Self {
        Self { base, end: base, allocated, offset, snapshot: None, newest_us: 0, index: Vec::new() }
    }

    pub(crate) fn name(&self) -> String {
        files::segment(self.base)
    }

    /// Takes note of the block that ends the segment now.
    pub(crate) fn note(&mut self, header: &Header) {
        let far = self.index.last().is_none_or(|noted| header.position - noted.position >= INDEX_BYTES);
        if far {
            self.index.push(Noted { position: header.position, offset: header.offset, newest_us: header.at_us });
        } else if let Some(noted) = self.index.last_mut() {
            noted.newest_us = noted.newest_us.max(header.at_us);
        }
        self.newest_us = self.newest_us.max(header.at_us);
        self.end = header.end();
        if header.kind == Kind::Snapshot {
            self.snapshot = Some(header.position);
        }
    }
}

/// A range that was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The position at which it begins.
    pub position: u64,
    /// The position at which the log goes on.
    pub until: u64,
    /// The first message offset that was in it.
    pub first: u64,
    /// The first behind it; equal to `first` if there was none in it.
    pub next: u64,
}

/// What the look through a log found.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    pub(crate) segments: Vec<Segment>,
    pub(crate) damage: Vec<Damage>,
    pub(crate) holes: Vec<Hole>,
    /// What a crash left behind the end, in bytes, as far as blocks can be made out in it.
    pub(crate) tail_bytes: u64,
    /// The highest boot, and the offset of the next message.
    pub(crate) boot: u32,
    pub(crate) offset: u64,
    /// The last block's checksum, for the next to name.
    pub(crate) before: u32,
    pub(crate) blocks: u64,
    /// Counted only if somebody looks at them.
    pub(crate) records: u64,
    pub(crate) messages: u64,
    pub(crate) oldest_us: u64,
    pub(crate) newest_us: u64,
}

/// Takes what the log holds.
type Each<'w> = &'w mut dyn FnMut(Entry<'_>) -> Result<(), String>;

/// Who wants to see how far it is (bytes, of how many), and what is there.
pub(crate) struct Watch<'w> {
    pub(crate) progress: &'w mut dyn FnMut(u64, u64),
    /// Records are not looked at one by one if nobody wants them.
    pub(crate) each: Option<Each<'w>>,
}

impl Watch<'_> {
    fn show(&mut self, entry: Entry<'_>) -> Result<(), OpenError> {
        self.each.as_mut().map_or(Ok(()), |each| each(entry)).map_err(OpenError::Replay)
    }
}

/// Looks through all segments (their begins and the lengths of their files), oldest first.
pub(crate) fn scan(
    disk: &mut dyn Disk,
    node: u64,
    segments: &[(u64, u64)],
    watch: &mut Watch<'_>,
) -> Result<Scanned, OpenError> {
    let mut scanned = Scanned::default();
    let of = segments.iter().map(|(_, length)| length).sum();
    let mut done = 0;
    for (number, (base, length)) in segments.iter().enumerate() {
        if let Some((next, _)) = segments.get(number + 1) {
            // What an older file has behind the begin of the next was never part of the log.
            scanned.segment(disk, node, *base, *next, false, watch)?;
        } else {
            // A first block that is not there is missed.
            let end = base.saturating_add((*length).max(UNIT)) / UNIT * UNIT;
            scanned.segment(disk, node, *base, end, true, watch)?;
            scanned.check_length(*length);
        }
        done += length;
        (watch.progress)(done, of);
    }
    let end = scanned.segments.last().map_or(0, |segment| segment.end);
    scanned.settle(end, scanned.offset, watch)?;
    Ok(scanned)
}

impl Scanned {
    /// Looks through the segment from `base` to `end`.
    fn segment(
        &mut self,
        disk: &mut dyn Disk,
        node: u64,
        base: u64,
        end: u64,
        is_newest: bool,
        watch: &mut Watch<'_>,
    ) -> Result<(), OpenError> {
        let failed = |error| OpenError::Disk { what: format!("cannot read {}", files::segment(base)), error };
        let mut blocks = Blocks::new(node, base, end, self.boot);
        self.segments.push(Segment::new(base, end - base, self.offset));
        // In the newest segment, the highest mark behind the first place that does not check, and where the last block ends.
        let mut behind = None;
        loop {
            let position = blocks.position();
            match blocks.next(disk).map_err(failed)? {
                Next::End => break,
                Next::Block(header, payload, messages) => self.take(&header, payload, messages, watch)?,
                Next::Bad(flaw) => {
                    // A segment has its name only since its snapshot was synced.
                    if is_newest && self.has_begin() {
                        let (synced, last) = match behind {
                            Some(behind) => behind,
                            None => *behind.insert(look_behind(disk, node, &blocks).map_err(failed)?),
                        };
                        if synced <= position {
                            let torn = blocks.claimed_end(disk).map_err(failed)?;
                            self.tail_bytes = last.max(torn).saturating_sub(position);
                            break;
                        }
                    }
                    blocks.skip(disk).map_err(failed)?;
                    self.damage.push(Damage {
                        file: files::segment(base),
                        place: position - base,
                        flaw,
                        position,
                        until: blocks.position(),
                        first_offset: self.offset,
                        next_offset: self.offset,
                    });
                }
            }
        }
        self.boot = blocks.boot();
        self.before = blocks.before();
        Ok(())
    }

    /// Whether the newest segment's begin was seen, or is damaged, or was set aside.
    fn has_begin(&self) -> bool {
        let Some(segment) = self.segments.last() else { return false };
        let hole = self.holes.last().map(|hole| hole.position);
        let damage = self.damage.last().map(|damage| damage.position);
        segment.snapshot.is_some() || hole.max(damage) >= Some(segment.base)
    }

    fn take(&mut self, header: &Header, payload: &[u8], messages: u64, watch: &mut Watch<'_>) -> Result<(), OpenError> {
        self.settle(header.position, header.offset, watch)?;
        self.blocks += 1;
        self.messages += messages;
        self.offset = header.offset.saturating_add(messages);
        if self.blocks == 1 {
            self.oldest_us = header.at_us;
        }
        self.newest_us = self.newest_us.max(header.at_us);
        if let Some(segment) = self.segments.last_mut() {
            if header.kind == Kind::Segment {
                segment.offset = header.offset;
                segment.allocated = allocated_in(payload).unwrap_or(segment.allocated);
            }
            segment.note(header);
        }
        match header.kind {
            Kind::Hole => {
                let (position, until, first) = (header.position, header.extra, header.offset);
                self.holes.push(Hole { position, until, first, next: first });
            }
            Kind::Records if watch.each.is_some() => {
                for entry in entries(header, payload) {
                    self.records += 1;
                    watch.show(entry)?;
                }
            }
            Kind::Snapshot if !payload.is_empty() => watch.show(Entry::Snapshot(payload))?,
            Kind::Records | Kind::Snapshot | Kind::Segment | Kind::Mark => {}
        }
        Ok(())
    }

    /// The log goes on at `position` with `offset`: what is missing before it ends there.
    fn settle(&mut self, position: u64, offset: u64, watch: &mut Watch<'_>) -> Result<(), OpenError> {
        if let Some(damage) = self.damage.last_mut().filter(|damage| damage.until == position) {
            damage.next_offset = offset.max(damage.first_offset);
        }
        if let Some(hole) = self.holes.last_mut().filter(|hole| hole.until == position) {
            hole.next = offset.max(hole.first);
            watch.show(Entry::Lost { first: hole.first, next: hole.next })?;
        }
        Ok(())
    }

    /// The newest file is made whole before it has a name: one that is shorter was cut by somebody.
    fn check_length(&mut self, length: u64) {
        let Some(segment) = self.segments.last().filter(|segment| segment.allocated > length) else { return };
        if self.damage.last().is_some_and(|damage| damage.position >= segment.end) {
            return;
        }
        let (position, offset) = (segment.end, self.offset);
        self.damage.push(Damage {
            file: segment.name(),
            place: position - segment.base,
            flaw: Flaw::EndsEarly,
            position,
            until: position.saturating_add(UNIT),
            first_offset: offset,
            next_offset: offset,
        });
    }
}

/// The records of a block.
pub(crate) fn entries<'a>(header: &Header, payload: &'a [u8]) -> impl Iterator<Item = Entry<'a>> {
    let (mut offset, mut position) = (header.offset, header.position.saturating_add(UNIT));
    let at_us = header.at_us;
    Frames::new(payload).map(move |frame| {
        let Frame { messages, bytes } = frame;
        let entry = Entry::Record { position, offset, messages, at_us, bytes };
        offset = offset.saturating_add(u64::from(messages));
        position = position.saturating_add(frame.len() as u64);
        entry
    })
}

/// Behind the place where `blocks` stands: the highest position that any block knows to be synced, and where the last block
/// ends.
fn look_behind(disk: &mut dyn Disk, node: u64, blocks: &Blocks) -> io::Result<(u64, u64)> {
    let (mut synced, mut last) = (0, 0);
    let mut rest = Blocks::new(node, blocks.base(), blocks.end(), blocks.boot()).starting_at(blocks.position());
    loop {
        match rest.next(disk)? {
            Next::End => return Ok((synced, last)),
            Next::Block(header, ..) => {
                synced = synced.max(header.synced);
                last = header.end();
            }
            Next::Bad(_) => rest.skip(disk)?,
        }
    }
}
