//! Blocks that are about to be written.

use std::{io::IoSlice, ops::Range};

use crate::{
    Frames,
    block::{self, HEADER_BYTES, Header, Kind, PAYLOAD_BYTES_MAX, UNIT},
};

/// A part of a commit's records that becomes a block, and how many message offsets it brings.
pub(crate) struct Cut {
    pub(crate) range: Range<usize>,
    pub(crate) messages: u64,
}

/// Cuts records into the payloads of blocks; `None` if they are not framed.
pub(crate) fn cut_up(records: &[u8]) -> Option<Vec<Cut>> {
    let mut cuts: Vec<Cut> = Vec::new();
    let mut frames = Frames::new(records);
    let mut at = 0;
    for frame in frames.by_ref() {
        let end = at + frame.len();
        match cuts.last_mut() {
            Some(cut) if end - cut.range.start <= PAYLOAD_BYTES_MAX => {
                cut.range.end = end;
                cut.messages += u64::from(frame.messages);
            }
            _ => cuts.push(Cut { range: at..end, messages: u64::from(frame.messages) }),
        }
        at = end;
    }
    frames.rest().is_empty().then_some(cuts)
}

/// Blocks that are about to be written.
pub(crate) struct Draft<'a> {
    /// Where the next block goes.
    pub(crate) position: u64,
    boot: u32,
    synced: u64,
    /// The offset of the first message behind it.
    pub(crate) offset: u64,
    at_us: u64,
    /// The last block's checksum.
    pub(crate) before: u32,
    pub(crate) headers: Vec<Header>,
    blocks: Vec<([u8; HEADER_BYTES], &'a [u8])>,
}

impl<'a> Draft<'a> {
    /// The length of a segment's first block.
    pub(crate) const HEAD_BLOCK_BYTES: u64 = 2 * UNIT;

    pub(crate) fn new(position: u64, boot: u32, synced: u64, offset: u64, at_us: u64) -> Self {
        Self { position, boot, synced, offset, at_us, before: 0, headers: Vec::new(), blocks: Vec::new() }
    }

    /// The first block names this checksum as that of the one before it.
    pub(crate) fn behind(mut self, before: u32) -> Self {
        self.before = before;
        self
    }

    /// Drafts a block behind the last one. One that brings `messages` message offsets holds records.
    pub(crate) fn push(&mut self, kind: Kind, extra: u64, payload: &'a [u8], messages: u64) {
        let mut header = Header {
            kind,
            length: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            boot: self.boot,
            position: self.position,
            synced: self.synced,
            offset: self.offset,
            at_us: self.at_us,
            extra,
            before: self.before,
            checksum: 0,
        };
        let (bytes, checksum) = header.encode(payload);
        header.checksum = checksum;
        self.before = checksum;
        self.position = header.end();
        self.offset = self.offset.saturating_add(messages);
        self.headers.push(header);
        self.blocks.push((bytes, payload));
    }

    /// Records, as they were cut.
    pub(crate) fn push_records(&mut self, records: &'a [u8], cuts: &[Cut]) {
        for cut in cuts {
            let payload = records.get(cut.range.clone()).unwrap_or_default();
            self.push(Kind::Records, 0, payload, cut.messages);
        }
    }

    /// All bytes, in order.
    pub(crate) fn parts(&self) -> Vec<IoSlice<'_>> {
        let parts = self.blocks.iter().flat_map(|(header, payload)| {
            [header.as_slice(), payload, block::padding(payload.len())].into_iter().map(IoSlice::new)
        });
        parts.collect()
    }
}
