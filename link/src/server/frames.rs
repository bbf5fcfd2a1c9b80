//! Messages on their way in: frames, one after another, and where each of them begins.

use protocol::{DATAGRAM_BYTES_MAX, frame, link::Derived};

/// Consecutive messages of one batch, to be taken in order, all or none.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    bytes: &'a [u8],
    starts: &'a [u32],
    /// When the first message of their batch entered the system, in microseconds since the epoch.
    pub origin_us: u64,
    /// Who sent them.
    pub(crate) source: Option<Source<'a>>,
}

/// Who sent messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source<'a> {
    pub(crate) producer: u128,
    /// The producer's next sequence after these.
    pub(crate) next: u64,
    /// For a worker's outputs: the ids of exactly these messages.
    pub(crate) derived: Option<Derived<'a>>,
}

impl<'a> Run<'a> {
    /// `starts` are places in `bytes`; the last frame ends where `bytes` end.
    pub(crate) fn new(bytes: &'a [u8], starts: &'a [u32], origin_us: u64, source: Option<Source<'a>>) -> Self {
        Self { bytes, starts, origin_us, source }
    }

    /// The node of the queue whose messages these were made from, where they are a worker's outputs.
    pub(crate) fn input_node(&self) -> Option<u64> {
        Some(self.source?.derived?.node)
    }

    /// How many messages.
    pub fn count(&self) -> u64 {
        self.starts.len() as u64
    }

    /// The messages as they came, as frames.
    pub fn frames(&self) -> &'a [u8] {
        self.starts.first().and_then(|start| self.bytes.get(*start as usize..)).unwrap_or_default()
    }

    /// The messages, one by one, without their frames.
    pub fn messages(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.each_frame().map(|frame| frame::only(frame).unwrap_or_default())
    }

    /// The messages, one by one, as frames.
    pub(crate) fn each_frame(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = self.bytes;
        let ends = self.starts.iter().skip(1).map(|end| *end as usize).chain([bytes.len()]);
        self.starts.iter().zip(ends).map(move |(start, end)| bytes.get(*start as usize..end).unwrap_or_default())
    }

    /// Where each frame begins, counted from the first one, which is put at `base`.
    pub(crate) fn starts_from(&self, base: u32) -> impl Iterator<Item = u32> + use<'a> {
        let shift = base.wrapping_sub(self.starts.first().copied().unwrap_or_default());
        self.starts.iter().map(move |start| start.wrapping_add(shift))
    }
}

/// Finds where the frames begin; `false` unless `bytes` are exactly `count` frames that fit in a datagram.
pub(crate) fn find(bytes: &[u8], count: u64, starts: &mut Vec<u32>) -> bool {
    starts.clear();
    if bytes.len() > DATAGRAM_BYTES_MAX || count > bytes.len() as u64 / 2 {
        return false; // the shortest frame has two bytes
    }
    starts.resize(usize::try_from(count).unwrap_or(0), 0);
    let mut at = 0_u32;
    // Messages of one length follow one another more often than not: then the length is known before it is read, and the
    // processor need not wait for it.
    let (mut header, mut len): (Option<&[u8; 3]>, u32) = (None, 0);
    for start in starts.iter_mut() {
        *start = at;
        let Some(rest) = bytes.get(at as usize..) else { return false };
        if header.is_none() || rest.first_chunk() != header {
            let Some(read) = frame_len(rest) else { return false };
            len = read;
            header = rest.first_chunk().filter(|header| header[0] == b'2');
        }
        at += len;
    }
    at as usize == bytes.len()
}

/// How long the first frame says that it is, its header included. Up to 65,535 bytes of text it may end beyond `bytes`.
fn frame_len(bytes: &[u8]) -> Option<u32> {
    match *bytes {
        [b'2', high, low, ..] => {
            let (high, low) = (digit(high), digit(low));
            (high | low < 16).then(|| 3 + (u32::from(high) << 4 | u32::from(low)))
        }
        [b'1', low, ..] => {
            let low = digit(low);
            (low < 16).then(|| 2 + u32::from(low))
        }
        [b'3', a, b, c, ..] => {
            let (a, b, c) = (digit(a), digit(b), digit(c));
            (a | b | c < 16).then(|| 4 + (u32::from(a) << 8 | u32::from(b) << 4 | u32::from(c)))
        }
        // Long or padded headers are rare: the whole reader looks at them.
        _ => frame::split(bytes).ok().and_then(|(_, behind)| u32::try_from(bytes.len() - behind.len()).ok()),
    }
}

/// What a byte is worth as a hexadecimal digit; more than 15 where it is none.
fn digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ => u8::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(bytes: &[u8], count: u64) -> Option<Vec<u32>> {
        let mut starts = vec![9];
        find(bytes, count, &mut starts).then_some(starts)
    }

    #[test]
    fn a_body_is_exactly_its_frames() {
        for (bytes, count, expected) in [
            (&b""[..], 0, Some(vec![])),
            (b"10", 1, Some(vec![0])),
            (b"10\0\0\0", 2, None),
            (b"201a201b", 2, Some(vec![0, 4])),
            (b"201a20", 2, None),
            (b"201a201", 2, None),
            (b"11a12bc", 2, Some(vec![0, 3])),
            (b"3001a400000001", 1, None),
            (b"3001a4000211", 1, None),
            (b"3001a40001b", 2, Some(vec![0, 5])),
            (b"f000000000000001a10", 2, Some(vec![0, 17])),
            (b"11a12bc", 1, None),
            (b"11a12bc", 3, None),
            (b"11a12b", 2, None),
            (b"11a1", 2, None),
            (b"11a2g0", 2, None),
            (b"1ga", 1, None),
            (b"30g0", 1, None),
            (b"00", 1, None),
            (b"", 1, None),
            (b"10", u64::MAX, None),
        ] {
            assert_eq!(found(bytes, count), expected, "{}", bytes.escape_ascii());
        }
        assert_eq!(found(&[b'1', b'0'].repeat(32_754), 32_754), None, "longer than a datagram");
    }

    #[test]
    fn a_run_may_begin_in_the_middle() {
        let run = Run::new(b"11a12bc10", &[3, 7], 5, None);
        assert_eq!((run.count(), run.frames()), (2, &b"12bc10"[..]));
        assert_eq!(run.messages().collect::<Vec<_>>(), [&b"bc"[..], b""]);
        assert_eq!(run.starts_from(100).collect::<Vec<_>>(), [100, 104]);
    }

    proptest! {
        #[test]
        fn finds_what_was_framed(texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..5_000), 0..12)) {
            let mut bytes = Vec::new();
            let mut expected = Vec::new();
            for text in &texts {
                expected.push(u32::try_from(bytes.len()).unwrap());
                frame::push(text, &mut bytes).unwrap();
            }
            prop_assert_eq!(found(&bytes, texts.len() as u64), Some(expected.clone()));
            prop_assert_eq!(found(&bytes, texts.len() as u64 + 1), None);
            prop_assert!(Run::new(&bytes, &expected, 0, None).messages().eq(texts.iter().map(Vec::as_slice)));
        }

        #[test]
        fn agrees_with_the_reader_of_frames(bytes in "[0-9a-fA-F]{0,40}", count in 0_u64..12) {
            let mut rest = bytes.as_bytes();
            let mut frames = 0;
            while let Ok((_, behind)) = frame::split(rest) {
                frames += 1;
                rest = behind;
                if frames == count {
                    break;
                }
            }
            prop_assert_eq!(found(bytes.as_bytes(), count).is_some(), rest.is_empty() && frames == count);
        }
    }
}
