//! One block: a header of 64 bytes, a payload, and zeros up to a multiple of 64.
//!
//! ```text
//!  0  magic "wLog"          24  synced u64       56  kind u32
//!  4  CRC32C of the rest    32  offset u64       60  CRC32C of the block before, 0 at the begin of a segment
//!  8  payload length u32    40  time u64         64  payload
//! 12  boot u32              48  extra u64
//! 16  position u64                               (all little endian)
//! ```

use crate::{Flaw, frames};

/// Blocks begin at multiples of this, and a header has this length.
pub(crate) const UNIT: u64 = 64;
pub(crate) const HEADER_BYTES: usize = 64;
/// A block of records has no more payload than this unless one record is longer.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 256 << 10;

pub(crate) const SEGMENT_HEAD_BYTES: usize = 8;

const MAGIC: [u8; 4] = *b"wLog";
const ZEROS: [u8; HEADER_BYTES] = [0; HEADER_BYTES];

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The begin of a segment. Extra: the node; payload: [`segment_head`].
    Segment,
    /// The state behind all records before it.
    Snapshot,
    /// Framed records.
    Records,
    /// Nothing: only what its header says.
    Mark,
    /// Stands where damage was. Extra: the position at which the log goes on.
    Hole,
}

impl Kind {
    const ALL: [(u32, Self); 5] =
        [(1, Self::Segment), (2, Self::Snapshot), (3, Self::Records), (4, Self::Mark), (5, Self::Hole)];

    fn number(self) -> u32 {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or(0, |(number, _)| *number)
    }

    fn numbered(number: u32) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == number).map(|(_, kind)| *kind)
    }
}

/// What a block says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// Of the payload, in bytes.
    pub(crate) length: u32,
    /// The start of the queue that wrote it.
    pub(crate) boot: u32,
    /// Where in the log it begins.
    pub(crate) position: u64,
    /// The position up to which the log was known to be synced when this was written.
    pub(crate) synced: u64,
    /// The offset of the first message in it or behind it.
    pub(crate) offset: u64,
    /// When it was written, in microseconds since 1970, by the writer's clock.
    pub(crate) at_us: u64,
    /// As its kind has it.
    pub(crate) extra: u64,
    /// The checksum of the block before it in its segment.
    pub(crate) before: u32,
    /// Its own checksum.
    pub(crate) checksum: u32,
}

impl Header {
    /// The 64 bytes that stand before `payload`, and the checksum in them.
    pub(crate) fn encode(&self, payload: &[u8]) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = ZEROS;
        let fields: [&[u8]; 11] = [
            &MAGIC,
            &[0; 4],
            &self.length.to_le_bytes(),
            &self.boot.to_le_bytes(),
            &self.position.to_le_bytes(),
            &self.synced.to_le_bytes(),
            &self.offset.to_le_bytes(),
            &self.at_us.to_le_bytes(),
            &self.extra.to_le_bytes(),
            &self.kind.number().to_le_bytes(),
            &self.before.to_le_bytes(),
        ];
        for (to, from) in bytes.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        let (_, summed) = bytes.split_at(8);
        let checksum = crc32c::crc32c_append(crc32c::crc32c(summed), payload);
        for (to, from) in bytes.iter_mut().skip(4).zip(checksum.to_le_bytes()) {
            *to = from;
        }
        (bytes, checksum)
    }

    /// Reads the header at `position`; `None` if none is there. Its checksum is not looked at.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES], position: u64) -> Result<Self, Flaw> {
        let mut fields = Fields(bytes);
        if fields.take::<4>() != MAGIC {
            return Err(Flaw::NoBlock);
        }
        let checksum = fields.u32();
        let (length, boot) = (fields.u32(), fields.u32());
        let header = Self {
            length,
            boot,
            position: fields.u64(),
            synced: fields.u64(),
            offset: fields.u64(),
            at_us: fields.u64(),
            extra: fields.u64(),
            kind: Kind::numbered(fields.u32()).ok_or(Flaw::Checksum)?,
            before: fields.u32(),
            checksum,
        };
        if header.position == position { Ok(header) } else { Err(Flaw::Misplaced) }
    }

    /// The block's length with its header and the zeros behind it.
    pub(crate) fn block_bytes(&self) -> u64 {
        block_bytes(u64::from(self.length))
    }

    /// Where the log goes on behind the block.
    pub(crate) fn end(&self) -> u64 {
        match self.kind {
            Kind::Hole => self.extra,
            _ => self.position.saturating_add(self.block_bytes()),
        }
    }

    /// Checks the whole block, of which `bytes` are header, payload and padding; returns how many message offsets it brings.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<u64, Flaw> {
        let end = HEADER_BYTES + self.length as usize;
        let (Some(summed), Some(payload), Some(padding)) =
            (bytes.get(8..end), bytes.get(HEADER_BYTES..end), bytes.get(end..))
        else {
            return Err(Flaw::Checksum);
        };
        if crc32c::crc32c(summed) != self.checksum || padding.iter().any(|byte| *byte != 0) {
            return Err(Flaw::Checksum);
        }
        let messages = match self.kind {
            Kind::Records => frames::messages_in(payload),
            Kind::Snapshot => Some(0),
            Kind::Segment => (payload.len() == SEGMENT_HEAD_BYTES).then_some(0),
            Kind::Hole => {
                (self.extra > self.position && self.extra.is_multiple_of(UNIT) && payload.is_empty()).then_some(0)
            }
            Kind::Mark => payload.is_empty().then_some(0),
        };
        messages
            .filter(|messages| self.synced <= self.position && self.offset.checked_add(*messages).is_some())
            .ok_or(Flaw::Nonsense)
    }
}

/// The length of a block with this much payload.
pub(crate) fn block_bytes(payload: u64) -> u64 {
    payload.saturating_add(UNIT).next_multiple_of(UNIT)
}

/// The zeros behind a payload.
pub(crate) fn padding(payload: usize) -> &'static [u8] {
    let over = payload % HEADER_BYTES;
    ZEROS.get(..(HEADER_BYTES - over) % HEADER_BYTES).unwrap_or_default()
}

/// The payload of a segment's first block: how long the file was made, in bytes. The newest segment is at least that long.
pub(crate) fn segment_head(allocated: u64) -> [u8; SEGMENT_HEAD_BYTES] {
    allocated.to_le_bytes()
}

/// The length in the payload of a segment's first block.
pub(crate) fn allocated_in(payload: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(payload.try_into().ok()?))
}

/// Takes numbers off the front; zeros where there is nothing left.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((field, rest)) = self.0.split_first_chunk::<N>() else { return [0; N] };
        self.0 = rest;
        *field
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}
