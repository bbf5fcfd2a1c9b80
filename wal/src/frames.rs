//! Records in a row, each with its length and the number of messages it brings: `[length u32][messages u32][bytes]`, little
//! endian.

/// Bytes of a frame before the record's own.
pub(crate) const HEAD_BYTES: usize = 8;

/// Appends a record that brings `messages` message offsets to `records`, as [`Commit`](crate::Commit) takes it.
///
/// A record of 4 GiB or more has no frame: the log refuses it.
pub fn frame(records: &mut Vec<u8>, messages: u32, record: &[u8]) {
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    records.extend_from_slice(&length.to_le_bytes());
    records.extend_from_slice(&messages.to_le_bytes());
    records.extend_from_slice(record);
}

/// One record out of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// How many message offsets the record brings.
    pub messages: u32,
    /// The record.
    pub bytes: &'a [u8],
}

impl Frame<'_> {
    /// The frame's length with its head.
    pub(crate) fn len(&self) -> usize {
        HEAD_BYTES + self.bytes.len()
    }
}

/// Walks over records in a row; ends at the first that is not whole.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Frames<'a> {
    /// The records in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been walked over; empty at the end unless the last record was cut short.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        let (messages, rest) = rest.split_first_chunk::<4>()?;
        let (bytes, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        self.rest = rest;
        Some(Frame { messages: u32::from_le_bytes(*messages), bytes })
    }
}

/// How many message offsets the records bring, if all of them are whole.
pub(crate) fn messages_in(bytes: &[u8]) -> Option<u64> {
    let mut frames = Frames::new(bytes);
    let messages = frames.by_ref().map(|frame| u64::from(frame.messages)).sum();
    frames.rest.is_empty().then_some(messages)
}
