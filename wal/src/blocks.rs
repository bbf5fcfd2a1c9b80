//! Walks over the blocks of one segment, each checked.

use std::io;

use crate::{
    Disk, Flaw,
    block::{HEADER_BYTES, Header, Kind, UNIT},
    files,
};

/// How much is read at once.
const READ_BYTES: usize = 512 << 10;

/// What a walk finds next.
pub(crate) enum Next<'a> {
    /// A block that follows the one before it, its payload, and how many message offsets it brings.
    Block(Header, &'a [u8], u64),
    /// Something else, here.
    Bad(Flaw),
    /// The end of what was to be walked.
    End,
}

/// A walk over one segment. It holds the last block only, so a segment of any length takes little memory.
#[derive(Debug)]
pub(crate) struct Blocks {
    node: u64,
    name: String,
    base: u64,
    /// Where in the file it stands, and where it ends.
    place: u64,
    limit: u64,
    /// A part of the file, and where it begins.
    buffer: Vec<u8>,
    buffer_place: u64,
    /// How much of the buffer is the file's.
    filled: usize,
    /// The lowest boot that may come.
    boot: u32,
    /// The checksum that the next block must name as the one before it, unless what came before is not known.
    before: Option<u32>,
    /// The message offset at which the next block must begin, unless that is not known.
    offset: Option<u64>,
}

impl Blocks {
    /// A walk over a segment of `node`'s log, from its begin at `base` up to `end`. Blocks of a boot before `boot` are not
    /// taken.
    pub(crate) fn new(node: u64, base: u64, end: u64, boot: u32) -> Self {
        let limit = end.saturating_sub(base);
        let (name, buffer) = (files::segment(base), Vec::new());
        Self { node, name, base, place: 0, limit, buffer, buffer_place: 0, filled: 0, boot, before: None, offset: None }
    }

    /// Begins at a block in the middle, not knowing what comes before it.
    pub(crate) fn starting_at(mut self, position: u64) -> Self {
        self.place = position.saturating_sub(self.base);
        self
    }

    pub(crate) fn position(&self) -> u64 {
        self.base.saturating_add(self.place)
    }

    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    pub(crate) fn end(&self) -> u64 {
        self.base.saturating_add(self.limit)
    }

    pub(crate) fn boot(&self) -> u32 {
        self.boot
    }

    /// The checksum of the last block, for the one that is to follow it; 0 behind a hole and at the begin.
    pub(crate) fn before(&self) -> u32 {
        self.before.unwrap_or(0)
    }

    /// The next block. A bad place is not left: see [`skip`](Self::skip).
    pub(crate) fn next(&mut self, disk: &mut dyn Disk) -> io::Result<Next<'_>> {
        if self.place >= self.limit {
            return Ok(Next::End);
        }
        let (header, messages) = match self.look(disk)? {
            Ok(block) => block,
            Err(flaw) => return Ok(Next::Bad(flaw)),
        };
        let known = header.kind != Kind::Hole;
        let follows = header.boot >= self.boot
            && self.before.is_none_or(|before| before == header.before)
            && self.offset.is_none_or(|offset| offset == header.offset);
        // A hole was put between blocks that knew nothing of it.
        if known && !follows {
            return Ok(Next::Bad(Flaw::OutOfTurn));
        }
        let end = HEADER_BYTES + header.length as usize;
        let skipped = usize::try_from(self.place - self.buffer_place).unwrap_or(usize::MAX);
        let payload = self.buffer.get(skipped..).and_then(|bytes| bytes.get(HEADER_BYTES..end)).unwrap_or_default();
        self.boot = self.boot.max(header.boot);
        self.place = header.end().saturating_sub(self.base);
        self.before = known.then_some(header.checksum);
        self.offset = known.then(|| header.offset.saturating_add(messages));
        Ok(Next::Block(header, payload, messages))
    }

    /// Goes on to the next place behind a bad one where a block can be read, or to the end.
    pub(crate) fn skip(&mut self, disk: &mut dyn Disk) -> io::Result<()> {
        self.before = None;
        self.offset = None;
        while self.place < self.limit {
            self.place = self.place.saturating_add(UNIT).min(self.limit);
            if self.bytes(disk, HEADER_BYTES)?.len() < HEADER_BYTES {
                // The file ends here, however far the log was to go.
                self.place = self.limit;
                break;
            }
            if let Ok((header, _)) = self.look(disk)?
                && header.boot >= self.boot
            {
                break;
            }
        }
        Ok(())
    }

    /// Where the block that stands here would end if it were whole; this place if none can be made out.
    pub(crate) fn claimed_end(&mut self, disk: &mut dyn Disk) -> io::Result<u64> {
        let (position, limit) = (self.position(), self.end());
        let head = self.bytes(disk, HEADER_BYTES)?.split_first_chunk::<HEADER_BYTES>();
        let header = head.and_then(|(head, _)| Header::decode(head, position).ok());
        Ok(header.map_or(position, |header| header.end().clamp(position, limit)))
    }

    /// The block that stands here, checked for itself, and how many message offsets it brings.
    fn look(&mut self, disk: &mut dyn Disk) -> io::Result<Result<(Header, u64), Flaw>> {
        let position = self.position();
        let left = self.limit.saturating_sub(self.place);
        let Some((head, _)) = self.bytes(disk, HEADER_BYTES)?.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(Err(Flaw::EndsEarly));
        };
        let header = match Header::decode(head, position) {
            Ok(header) => header,
            Err(flaw) => return Ok(Err(flaw)),
        };
        let block_bytes = header.block_bytes();
        if block_bytes > left {
            return Ok(Err(Flaw::Checksum));
        }
        let block_bytes = usize::try_from(block_bytes).unwrap_or(usize::MAX);
        let bytes = self.bytes(disk, block_bytes)?;
        let checked = if bytes.len() < block_bytes { Err(Flaw::EndsEarly) } else { header.check(bytes) };
        Ok(checked.and_then(|messages| self.fits(&header).map(|()| (header, messages))))
    }

    /// Whether a block may stand where it stands.
    fn fits(&self, header: &Header) -> Result<(), Flaw> {
        match header.kind {
            Kind::Segment if header.extra != self.node => Err(Flaw::OtherNode),
            Kind::Segment if self.place == 0 => Ok(()),
            Kind::Hole if header.extra <= self.end() => Ok(()),
            Kind::Snapshot | Kind::Records | Kind::Mark if self.place > 0 => Ok(()),
            _ => Err(Flaw::Nonsense),
        }
    }

    /// `length` bytes from here on, or what the file still has of them.
    fn bytes(&mut self, disk: &mut dyn Disk, length: usize) -> io::Result<&[u8]> {
        let start = self.place.checked_sub(self.buffer_place).and_then(|skipped| usize::try_from(skipped).ok());
        let there = start.filter(|start| self.filled.saturating_sub(*start) >= length);
        if there.is_none() {
            self.fill(disk, start, length)?;
        }
        let start = there.unwrap_or(0);
        let end = start.saturating_add(length).min(self.filled);
        Ok(self.buffer.get(start..end).unwrap_or_default())
    }

    /// Makes the buffer begin here, with `length` bytes at least if the file has them.
    fn fill(&mut self, disk: &mut dyn Disk, start: Option<usize>, length: usize) -> io::Result<()> {
        let start = start.unwrap_or(self.filled).min(self.filled);
        let kept = self.filled - start;
        let left = usize::try_from(self.limit.saturating_sub(self.place)).unwrap_or(usize::MAX);
        let wanted = length.max(READ_BYTES.min(left));
        if self.buffer.len() < wanted {
            // Zeros from the system: what is overwritten at once is not worth clearing.
            let mut buffer = vec![0; wanted];
            if let (Some(to), Some(from)) = (buffer.get_mut(..kept), self.buffer.get(start..self.filled)) {
                to.copy_from_slice(from);
            }
            self.buffer = buffer;
        } else {
            self.buffer.copy_within(start..self.filled, 0);
        }
        let at = self.place.saturating_add(kept as u64);
        self.filled = kept;
        self.buffer_place = self.place;
        if let Some(into) = self.buffer.get_mut(kept..wanted) {
            self.filled += disk.read_at(&self.name, at, into)?.min(into.len());
        }
        Ok(())
    }
}
