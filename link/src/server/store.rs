//! The messages' bytes: frames as they came, one after another in large segments, each with an index from offset to place.
//!
//! A batch is one copy in and one slice out. A segment is used again as soon as none of its messages is wanted.
//!
//! A queue with a log need not hold all in memory: messages from some offset on may be left out, to be read again from the
//! log when their turn comes, the lowest first.

use std::{collections::BTreeMap, time::Duration};

use super::frames::Run;

/// How many bytes of frames a segment holds.
pub(crate) const SEGMENT_BYTES: usize = 1 << 20;

/// How many messages a segment holds, or one batch: so that the index of tiny messages stays in proportion.
const SEGMENT_MESSAGES: usize = 1 << 14;

/// How many empty segments are kept for use.
const FREE_SEGMENTS_MAX: usize = 8;

/// What a message costs beside its frame: its places in the indexes, and its part of a segment that others keep alive.
pub(crate) const MESSAGE_OVERHEAD_BYTES: u64 = 64;

// A batch always fits in an empty segment.
const _: () = assert!(protocol::DATAGRAM_BYTES_MAX <= SEGMENT_BYTES);

/// The bytes of all messages that are wanted.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// Full segments by their first offset. Those that nobody wants are gone.
    full: BTreeMap<u64, Segment>,
    tail: Segment,
    free: Vec<Segment>,
    next: u64,
    left_out: Option<LeftOut>,
}

/// Messages that are in the log only.
#[derive(Debug, Clone, Copy)]
struct LeftOut {
    /// The lowest of them.
    from: u64,
    /// They end here; `None`: none that comes is kept either.
    to: Option<u64>,
    /// The segment that what is read again goes into.
    loading: Option<u64>,
}

#[derive(Debug, Default)]
struct Segment {
    first: u64,
    /// How many of its messages are wanted.
    live: u64,
    bytes: Vec<u8>,
    starts: Vec<u32>,
    arrivals: Vec<Arrival>,
}

/// Messages that came together, from this one on.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    first: u64,
    at: Duration,
    origin_us: u64,
}

/// Consecutive messages as they lie in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The last of them.
    pub(crate) last: u64,
    /// How long their frames are.
    pub(crate) bytes: usize,
}

impl Store {
    /// The offset of the next message.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// A store of which all messages, from the lowest on up to `next`, are in the log only.
    pub(crate) fn left_out(from: u64, next: u64) -> Self {
        let mut store = Self { next, left_out: Some(LeftOut { from, to: None, loading: None }), ..Self::default() };
        store.tail.begin(u64::MAX);
        store.close_if_read();
        store
    }

    /// All below this offset are in memory if they are wanted.
    pub(crate) fn loaded(&self) -> u64 {
        self.left_out.map_or(self.next, |left| left.from)
    }

    /// Takes messages in; `false` if they are left out.
    pub(crate) fn append(&mut self, run: &Run<'_>, at: Duration) -> bool {
        let kept = self.keeps();
        if kept {
            if !self.tail.fits(run) {
                self.roll();
            }
            self.tail.append(self.next, run, at);
        }
        self.next += run.count();
        kept
    }

    /// Whether messages that come are kept in memory.
    pub(crate) fn keeps(&self) -> bool {
        self.left_out.is_none_or(|left| left.to.is_some())
    }

    /// Whether the messages go into the segment that is being filled.
    pub(crate) fn fits(&self, run: &Run<'_>) -> bool {
        self.tail.fits(run)
    }

    /// From now on what comes is left out. What lies behind a part that is left out already goes, too: what that cost.
    pub(crate) fn leave_out(&mut self) -> u64 {
        let mut dropped = 0;
        match &mut self.left_out {
            None => {
                if !self.tail.starts.is_empty() {
                    self.roll();
                }
                self.left_out = Some(LeftOut { from: self.next, to: None, loading: None });
            }
            Some(left) => {
                let behind = left.to.take().map_or_else(BTreeMap::new, |to| self.full.split_off(&to));
                for segment in behind.values().chain([&self.tail]) {
                    dropped += cost(segment.starts.len() as u64, segment.bytes.len());
                }
            }
        }
        self.tail.begin(u64::MAX);
        dropped
    }

    /// From now on what comes is kept again.
    pub(crate) fn keep_again(&mut self) {
        if let Some(left) = &mut self.left_out
            && left.to.is_none()
        {
            left.to = Some(self.next);
            self.tail.begin(self.next);
        }
    }

    /// Takes in the lowest messages that were left out, so many of which are wanted. Whether they begin a segment.
    pub(crate) fn load(&mut self, run: &Run<'_>, at: Duration, wanted: u64) -> bool {
        let Some(left) = &mut self.left_out else { return false };
        let first = left.from;
        let fitting = left.loading.filter(|key| self.full.get(key).is_some_and(|segment| segment.fits(run)));
        let key = fitting.unwrap_or(first);
        if fitting.is_none() {
            let mut segment = self.free.pop().unwrap_or_default();
            segment.begin(first);
            self.full.insert(first, segment);
        }
        left.loading = Some(key);
        left.from += run.count();
        if let Some(segment) = self.full.get_mut(&key) {
            segment.append(first, run, at);
            segment.live -= run.count() - wanted;
            if segment.live == 0 {
                self.recycle(key);
            }
        }
        self.close_if_read();
        fitting.is_none()
    }

    /// The lowest messages that were left out, up to this offset, are not to be had.
    pub(crate) fn skip(&mut self, next: u64) {
        if let Some(left) = &mut self.left_out {
            *left = LeftOut { from: next, loading: None, ..*left };
        }
        self.close_if_read();
    }

    fn close_if_read(&mut self) {
        if let Some(LeftOut { from, to, .. }) = self.left_out
            && from >= to.unwrap_or(self.next)
        {
            self.left_out = None;
            if to.is_none() {
                self.tail.begin(self.next);
            }
        }
    }

    /// How many segments hold messages.
    pub(crate) fn segments(&self) -> u64 {
        self.full.len() as u64 + u64::from(!self.tail.starts.is_empty())
    }

    fn roll(&mut self) {
        let empty = self.free.pop().unwrap_or_default();
        let full = std::mem::replace(&mut self.tail, empty);
        self.tail.begin(self.next);
        self.full.insert(full.first, full);
    }

    /// From `first` on as many messages as lie together, at most so many and with at most so many bytes of frames, but one
    /// at least.
    pub(crate) fn stretch(&self, first: u64, messages_max: u64, bytes_max: usize) -> Option<Stretch> {
        self.segment(first)?.stretch(first, messages_max, bytes_max)
    }

    /// The messages' frames, if they lie together.
    pub(crate) fn frames(&self, first: u64, last: u64) -> Option<&[u8]> {
        let segment = self.segment(first)?;
        segment.bytes.get(segment.start(first)?..segment.end(last)?)
    }

    /// What the messages cost, in bytes, see [`cost`].
    pub(crate) fn cost(&self, first: u64, last: u64) -> u64 {
        cost(last - first + 1, self.frames(first, last).unwrap_or_default().len())
    }

    /// When the batch of a message entered the system, in microseconds since the epoch.
    pub(crate) fn origin_us(&self, offset: u64) -> u64 {
        self.segment(offset)
            .and_then(|segment| segment.arrivals_from(offset).first())
            .map_or(0, |arrival| arrival.origin_us)
    }

    /// When a message came.
    pub(crate) fn arrived(&self, offset: u64) -> Option<Duration> {
        Some(self.segment(offset)?.arrivals_from(offset).first()?.at)
    }

    /// When the messages came, and how many at a time.
    pub(crate) fn arrivals(&self, first: u64, last: u64) -> impl Iterator<Item = (Duration, u64)> {
        let arrivals = self.segment(first).map(|segment| segment.arrivals_from(first)).unwrap_or_default();
        let until = arrivals.iter().skip(1).map(|next| next.first - 1).chain([u64::MAX]);
        arrivals
            .iter()
            .zip(until)
            .take_while(move |(arrival, _)| arrival.first <= last)
            .map(move |(arrival, until)| (arrival.at, until.min(last) - arrival.first.max(first) + 1))
    }

    /// Messages of one segment are no longer wanted.
    pub(crate) fn release(&mut self, first: u64, last: u64) {
        let count = last - first + 1;
        if first >= self.tail.first {
            self.tail.live = self.tail.live.saturating_sub(count);
            if self.tail.live == 0 {
                self.tail.begin(self.next);
            }
        } else if let Some((&key, segment)) = self.full.range_mut(..=first).next_back()
            && segment.start(last).is_some()
        {
            segment.live = segment.live.saturating_sub(count);
            if segment.live == 0 {
                self.recycle(key);
            }
        }
    }

    fn recycle(&mut self, key: u64) {
        if let Some(segment) = self.full.remove(&key)
            && self.free.len() < FREE_SEGMENTS_MAX
        {
            self.free.push(segment);
        }
    }

    fn segment(&self, offset: u64) -> Option<&Segment> {
        if offset >= self.tail.first {
            return Some(&self.tail);
        }
        self.full.range(..=offset).next_back().map(|(_, segment)| segment)
    }

    /// The messages that are kept behind those that are left out, segment by segment, both ends in.
    pub(crate) fn behind_left_out(&self) -> impl Iterator<Item = (u64, u64)> {
        let behind = self.left_out.map_or(u64::MAX, |left| left.to.unwrap_or(u64::MAX));
        self.lives().map(|(first, last, _)| (first, last)).filter(move |(first, _)| *first >= behind)
    }

    /// For each segment its offsets, both ends in, and how many of them are wanted.
    pub(crate) fn lives(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        self.full
            .values()
            .chain([&self.tail])
            .filter(|segment| !segment.starts.is_empty())
            .map(|segment| (segment.first, segment.first + segment.starts.len() as u64 - 1, segment.live))
    }
}

/// What so many messages with frames of so many bytes count towards the bound on bytes.
pub(crate) fn cost(count: u64, frames_bytes: usize) -> u64 {
    frames_bytes as u64 + count * MESSAGE_OVERHEAD_BYTES
}

impl Segment {
    fn begin(&mut self, first: u64) {
        self.first = first;
        self.live = 0;
        self.bytes.clear();
        self.starts.clear();
        self.arrivals.clear();
    }

    fn append(&mut self, next: u64, run: &Run<'_>, at: Duration) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(SEGMENT_BYTES);
        }
        let base = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(run.frames());
        self.starts.extend(run.starts_from(base));
        self.live += run.count();
        let together = |arrival: &Arrival| arrival.at == at && arrival.origin_us == run.origin_us;
        if !self.arrivals.last().is_some_and(together) {
            self.arrivals.push(Arrival { first: next, at, origin_us: run.origin_us });
        }
    }

    fn fits(&self, run: &Run<'_>) -> bool {
        self.starts.is_empty()
            || self.bytes.len() + run.frames().len() <= SEGMENT_BYTES && self.starts.len() < SEGMENT_MESSAGES
    }

    fn place(&self, offset: u64) -> Option<usize> {
        usize::try_from(offset.checked_sub(self.first)?).ok()
    }

    fn start(&self, offset: u64) -> Option<usize> {
        self.starts.get(self.place(offset)?).map(|start| *start as usize)
    }

    fn end(&self, offset: u64) -> Option<usize> {
        let place = self.place(offset)?;
        match self.starts.get(place + 1) {
            Some(next) => Some(*next as usize),
            None => (place < self.starts.len()).then_some(self.bytes.len()),
        }
    }

    fn stretch(&self, first: u64, messages_max: u64, bytes_max: usize) -> Option<Stretch> {
        let start = self.start(first)?;
        let behind = self.starts.get(self.place(first)? + 1..)?;
        let others_max = usize::try_from(messages_max.saturating_sub(1)).unwrap_or(usize::MAX).min(behind.len());
        // The shortest frame has two bytes: so what is searched lies near.
        let others_max = others_max.min(bytes_max / 2);
        // A message ends where the next begins, and the last of the segment where the bytes end.
        let ends_in = |end: usize| end - start <= bytes_max;
        let fit = behind.get(..others_max)?.partition_point(|end| ends_in(*end as usize));
        let all_fit = fit == others_max && self.end(first + others_max as u64).is_some_and(ends_in);
        let others = if all_fit { others_max } else { fit.saturating_sub(1) };
        let last = first + others as u64;
        Some(Stretch { last, bytes: self.end(last)? - start })
    }

    fn arrivals_from(&self, offset: u64) -> &[Arrival] {
        let behind = self.arrivals.partition_point(|arrival| arrival.first <= offset);
        self.arrivals.get(behind.saturating_sub(1)..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::frame;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn append(store: &mut Store, texts: &[&[u8]], ms: u64) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for text in texts {
            starts.push(u32::try_from(bytes.len()).unwrap());
            frame::push(text, &mut bytes).unwrap();
        }
        store.append(&Run::new(&bytes, &starts, ms * 1_000, None), MS(ms));
    }

    #[test]
    fn a_stretch_ends_at_the_bounds_but_holds_one_message() {
        let mut store = Store::default();
        append(&mut store, &[b"a", b"bb"], 1); // frames of 3 and 4 bytes
        append(&mut store, &[b"ccc"], 2); // and of 5
        for (first, messages_max, bytes_max, last, bytes) in [
            (0, 9, 99, 2, 12),
            (0, 9, 12, 2, 12),
            (0, 9, 11, 1, 7),
            (0, 9, 7, 1, 7),
            (0, 9, 6, 0, 3),
            (0, 9, 0, 0, 3),
            (0, 2, 99, 1, 7),
            (0, 1, 99, 0, 3),
            (0, 0, 99, 0, 3),
            (1, 9, 8, 1, 4),
            (1, 9, 9, 2, 9),
            (2, 9, 1, 2, 5),
        ] {
            let stretch = store.stretch(first, messages_max, bytes_max);
            assert_eq!(stretch, Some(Stretch { last, bytes }), "{first} {messages_max} {bytes_max}");
        }
        assert_eq!(store.stretch(3, 1, 1), None);
        assert_eq!(store.frames(1, 2), Some(&b"12bb13ccc"[..]));
        assert_eq!(store.arrivals(0, 2).collect::<Vec<_>>(), [(MS(1), 2), (MS(2), 1)]);
        assert_eq!(store.arrivals(1, 1).collect::<Vec<_>>(), [(MS(1), 1)]);
        assert_eq!((store.origin_us(1), store.origin_us(2)), (1_000, 2_000));
    }

    #[test]
    fn a_segment_is_used_again_when_nobody_wants_its_messages() {
        let mut store = Store::default();
        let text = vec![b'x'; 60_000];
        for n in 0..1_000 {
            append(&mut store, &[&text], n);
            if n >= 40 {
                store.release(n - 40, n - 40);
            }
            assert!(store.segments() <= 5, "40 messages of 60 kB lie in four or five segments");
        }
        assert!(store.free.len() <= FREE_SEGMENTS_MAX);
        for n in 960..1_000 {
            store.release(n, n);
        }
        assert_eq!((store.segments(), store.next()), (0, 1_000));
    }

    #[test]
    fn a_wanted_message_keeps_its_own_segment_only() {
        let mut store = Store::default();
        let text = vec![b'x'; 60_000];
        for n in 0..200 {
            append(&mut store, &[&text], n);
        }
        (1..200).for_each(|n| store.release(n, n));
        assert_eq!(store.segments(), 1);
        assert_eq!(store.frames(0, 0).map(<[u8]>::len), Some(60_005));
        assert_eq!(store.frames(100, 100), None);
    }
}
