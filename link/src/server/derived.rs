//! Ids that are derived from an input queue's offsets: which of them have been applied.
//!
//! There is a window for each input queue (node and generation) and stage: the ids at or above the highest low water that
//! was told. What lies below it is finished at the input queue, so whoever sends it comes too late.

mod saved;

use std::{collections::BTreeMap, time::Duration};

use machine::Now;
use protocol::link::{Derived, split_varint};

pub(crate) use self::saved::WindowState;
use super::{faults::Fault, queue::WINDOW};

/// How many windows there may be.
const WINDOWS_MAX: usize = 4_096;

/// Where room is short, a window goes that has rested so long. What its worker sends again after that, because it was
/// stopped in the middle, is taken for new.
const WINDOW_REST: Duration = Duration::from_hours(1);

/// How long to rest after looking for windows that may go.
const LOOK_REST: Duration = Duration::from_secs(1);

/// How many bitmaps of 512 bytes all windows may have: 32 MiB.
const BITMAPS_MAX: usize = 1 << 16;

/// How many ranges of high indexes all windows may have: one for each offset of a window, so that messages with many
/// outputs can be finished.
const HIGHS_MAX: usize = 1 << 20;

/// How long a stage's name may be.
const STAGE_BYTES_MAX: usize = 256;

/// How many offsets a bitmap covers.
const CHUNK: u64 = 4_096;

/// Output indexes below this are bits, others are ranges.
const LOW_INDEXES: usize = 16;

/// The id of an output: its input's offset, and which of that message's outputs it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) offset: u64,
    pub(crate) index: u64,
}

/// Reads ids; `false` unless there are exactly `count` and they rise.
pub(crate) fn read_ids(mut bytes: &[u8], count: u64, ids: &mut Vec<Id>) -> bool {
    ids.clear();
    let mut offset = 0_u64;
    while let Some((step, rest)) = split_varint(bytes) {
        let Some((index, rest)) = split_varint(rest) else { return false };
        let Some(next) = offset.checked_add(step) else { return false };
        let id = Id { offset: next, index };
        if ids.last().is_some_and(|last| *last >= id) {
            return false;
        }
        ids.push(id);
        (offset, bytes) = (next, rest);
    }
    bytes.is_empty() && ids.len() as u64 == count
}

/// Why ids are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdsRefused {
    /// Too far above the low water, or no room. Later there may be.
    Beyond,
    /// The stage's name is too long.
    Malformed,
}

/// All windows.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    /// By node and generation.
    inputs: BTreeMap<(u64, u64), Stages>,
    count: usize,
    size: Size,
    forgotten: u64,
    looked: Duration,
    fault: Option<Fault>,
}

/// The windows of one input queue.
type Stages = BTreeMap<Box<[u8]>, Window>;

/// What a window takes up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size {
    bitmaps: usize,
    highs: usize,
}

#[derive(Debug, Default)]
struct Window {
    low_water: u64,
    used: Duration,
    emptied: Duration,
    size: Size,
    /// By offset / [`CHUNK`].
    chunks: BTreeMap<u64, Chunk>,
    /// Offset and first index to last index.
    highs: BTreeMap<(u64, u64), u64>,
}

type Bitmap = [u64; (CHUNK / 64) as usize];

/// A bit for each offset, by index.
#[derive(Debug, Default)]
struct Chunk([Option<Box<Bitmap>>; LOW_INDEXES]);

impl Windows {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        Self { fault, ..Self::default() }
    }

    /// How many windows there are.
    pub(crate) fn len(&self) -> u64 {
        self.count as u64
    }

    /// How many were given up for room.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Says for each id whether it is new, and moves the window up; nothing is marked as applied yet.
    pub(crate) fn judge(
        &mut self,
        now: Now,
        of: &Derived<'_>,
        ids: &[Id],
        new: &mut Vec<bool>,
    ) -> Result<(), IdsRefused> {
        if of.stage.len() > STAGE_BYTES_MAX {
            return Err(IdsRefused::Malformed);
        }
        if self.find(of).is_none() {
            self.add(now, of)?;
        }
        let forgets = self.fault == Some(Fault::DedupForgets);
        self.change(of, |window| {
            window.used = now.since_start;
            window.raise(of.low_water);
            if forgets && now.since_start >= window.emptied + Duration::from_millis(100) {
                let (low_water, used) = (window.low_water, now.since_start);
                *window = Window { low_water, used, emptied: used, ..Window::default() };
            }
        });
        if self.is_full() {
            self.forget_rested(now);
        }
        let is_full = self.is_full();
        let Some(window) = self.find(of).filter(|_| !is_full) else { return Err(IdsRefused::Beyond) };
        if ids.last().is_some_and(|id| id.offset >= window.low_water.saturating_add(WINDOW)) {
            return Err(IdsRefused::Beyond);
        }
        window.judge(ids, new);
        Ok(())
    }

    /// Marks ids as applied.
    pub(crate) fn apply(&mut self, of: &Derived<'_>, ids: &[Id]) {
        self.change(of, |window| window.apply(ids));
    }

    fn find(&self, of: &Derived<'_>) -> Option<&Window> {
        self.inputs.get(&(of.node, of.generation))?.get(of.stage)
    }

    fn change(&mut self, of: &Derived<'_>, change: impl FnOnce(&mut Window)) {
        let stages = self.inputs.get_mut(&(of.node, of.generation));
        let Some(window) = stages.and_then(|stages| stages.get_mut(of.stage)) else { return };
        let before = window.size;
        change(window);
        self.size.bitmaps = self.size.bitmaps + window.size.bitmaps - before.bitmaps;
        self.size.highs = self.size.highs + window.size.highs - before.highs;
    }

    fn add(&mut self, now: Now, of: &Derived<'_>) -> Result<(), IdsRefused> {
        if self.count >= WINDOWS_MAX {
            self.forget_rested(now);
        }
        if self.count >= WINDOWS_MAX {
            return Err(IdsRefused::Beyond);
        }
        self.count += 1;
        self.inputs.entry((of.node, of.generation)).or_default().insert(of.stage.into(), Window::default());
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.size.bitmaps >= BITMAPS_MAX || self.size.highs >= HIGHS_MAX
    }

    fn forget_rested(&mut self, now: Now) {
        if now.since_start < self.looked {
            return;
        }
        self.looked = now.since_start + LOOK_REST;
        let (mut count, mut size) = (0, Size::default());
        self.inputs.retain(|_, stages| {
            stages.retain(|_, window| now.since_start < window.used + WINDOW_REST);
            for window in stages.values() {
                count += 1;
                size.bitmaps += window.size.bitmaps;
                size.highs += window.size.highs;
            }
            !stages.is_empty()
        });
        self.forgotten += (self.count - count) as u64;
        (self.count, self.size) = (count, size);
    }
}

impl Window {
    fn raise(&mut self, low_water: u64) {
        if low_water <= self.low_water {
            return;
        }
        self.low_water = low_water;
        while let Some(entry) = self.chunks.first_entry()
            && *entry.key() < low_water / CHUNK
        {
            self.size.bitmaps -= entry.remove().bitmaps();
        }
        while let Some(entry) = self.highs.first_entry()
            && entry.key().0 < low_water
        {
            entry.remove();
            self.size.highs -= 1;
        }
    }

    fn judge(&self, ids: &[Id], new: &mut Vec<bool>) {
        new.clear();
        for together in ids.chunk_by(|one, other| one.offset / CHUNK == other.offset / CHUNK) {
            let chunk = together.first().and_then(|id| self.chunks.get(&(id.offset / CHUNK)));
            new.extend(together.iter().map(|id| id.offset >= self.low_water && !self.contains(chunk, *id)));
        }
    }

    fn contains(&self, chunk: Option<&Chunk>, id: Id) -> bool {
        let Some(index) = low_index(id.index) else {
            let before = self.highs.range((id.offset, 0)..=(id.offset, id.index)).next_back();
            return before.is_some_and(|(_, last)| *last >= id.index);
        };
        chunk.is_some_and(|chunk| chunk.contains(id.offset, index))
    }

    fn apply(&mut self, ids: &[Id]) {
        for together in ids.chunk_by(|one, other| one.offset / CHUNK == other.offset / CHUNK) {
            let low = together.iter().filter_map(|id| Some((id.offset, low_index(id.index)?)));
            let mut low = low.filter(|(offset, _)| *offset >= self.low_water).peekable();
            if let Some((offset, _)) = low.peek() {
                let chunk = self.chunks.entry(offset / CHUNK).or_default();
                self.size.bitmaps += low.map(|(offset, index)| chunk.insert(offset, index)).sum::<usize>();
            }
        }
        for id in ids.iter().filter(|id| id.offset >= self.low_water && low_index(id.index).is_none()) {
            self.size.highs += usize::from(insert_high(&mut self.highs, *id));
        }
    }
}

/// Marks an id with a high index; whether it took a range of its own.
fn insert_high(highs: &mut BTreeMap<(u64, u64), u64>, id: Id) -> bool {
    if let Some((_, last)) = highs.range_mut((id.offset, 0)..=(id.offset, id.index)).next_back() {
        if *last >= id.index {
            return false;
        }
        if *last + 1 == id.index {
            *last = id.index;
            return false;
        }
    }
    highs.insert((id.offset, id.index), id.index);
    true
}

fn low_index(index: u64) -> Option<usize> {
    usize::try_from(index).ok().filter(|index| *index < LOW_INDEXES)
}

/// Which word of a bitmap an offset's bit is in, and that bit.
fn bit(offset: u64) -> (usize, u64) {
    let within = offset % CHUNK;
    (usize::try_from(within / 64).unwrap_or(0), 1 << (within % 64))
}

impl Chunk {
    fn contains(&self, offset: u64, index: usize) -> bool {
        let (word, bit) = bit(offset);
        let bitmap = self.0.get(index).and_then(Option::as_ref);
        bitmap.and_then(|bitmap| bitmap.get(word)).is_some_and(|word| word & bit != 0)
    }

    /// How many bitmaps that took.
    fn insert(&mut self, offset: u64, index: usize) -> usize {
        let (word, bit) = bit(offset);
        let Some(place) = self.0.get_mut(index) else { return 0 };
        let taken = usize::from(place.is_none());
        let bitmap = place.get_or_insert_with(|| Box::new([0; (CHUNK / 64) as usize]));
        if let Some(word) = bitmap.get_mut(word) {
            *word |= bit;
        }
        taken
    }

    fn bitmaps(&self) -> usize {
        self.0.iter().flatten().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use protocol::link::push_varint;
    use std::collections::BTreeSet;

    fn at(s: u64) -> Now {
        Now { since_start: Duration::from_secs(s), since_epoch: Duration::ZERO }
    }

    fn of(node: u64, low_water: u64) -> Derived<'static> {
        Derived { node, generation: 1, stage: b"Pong", low_water, ids: b"" }
    }

    fn ids(pairs: &[(u64, u64)]) -> Vec<Id> {
        pairs.iter().map(|(offset, index)| Id { offset: *offset, index: *index }).collect()
    }

    fn take(windows: &mut Windows, s: u64, of: &Derived<'_>, ids: &[Id]) -> Result<Vec<bool>, IdsRefused> {
        let mut new = Vec::new();
        windows.judge(at(s), of, ids, &mut new)?;
        windows.apply(of, ids);
        Ok(new)
    }

    #[test]
    fn ids_are_read_if_they_rise() {
        let written = |numbers: &[u64]| {
            let mut bytes = Vec::new();
            for number in numbers {
                push_varint(*number, &mut bytes);
            }
            bytes
        };
        let mut read = Vec::new();
        assert!(read_ids(&written(&[1_000, 0, 0, 1, 5, 0]), 3, &mut read));
        assert_eq!(read, ids(&[(1_000, 0), (1_000, 1), (1_005, 0)]));
        for (numbers, count) in [
            (&[1, 0, 0, 0][..], 2),
            (&[1, 1, 0, 0], 2),
            (&[1, 0, 1], 2),
            (&[1, 0, 1, 0], 1),
            (&[1, 0], 2),
            (&[u64::MAX, 0, 1, 0], 2),
        ] {
            assert!(!read_ids(&written(numbers), count, &mut read), "{numbers:?}");
        }
    }

    #[test]
    fn an_id_is_new_once() {
        let mut windows = Windows::default();
        let batch = ids(&[(0, 0), (1, 0), (1, 1), (4_096, 0), (4_096, 16), (4_096, 17), (4_096, 900)]);
        assert_eq!(take(&mut windows, 0, &of(1, 0), &batch), Ok(vec![true; 7]));
        assert_eq!(take(&mut windows, 0, &of(1, 0), &batch), Ok(vec![false; 7]));
        assert_eq!(take(&mut windows, 0, &of(2, 0), &batch), Ok(vec![true; 7]), "another input queue");
        let other = ids(&[(0, 1), (1, 0), (4_096, 15), (4_096, 18), (4_096, 899)]);
        assert_eq!(take(&mut windows, 0, &of(1, 0), &other), Ok(vec![true, false, true, true, true]));
    }

    #[test]
    fn what_is_below_the_low_water_comes_too_late() {
        let mut windows = Windows::default();
        take(&mut windows, 0, &of(1, 10), &ids(&[(11, 0)])).unwrap();
        assert_eq!(take(&mut windows, 0, &of(1, 5), &ids(&[(9, 0), (10, 0)])), Ok(vec![false, true]));
        take(&mut windows, 0, &of(1, 100_000), &ids(&[(100_000, 20)])).unwrap();
        assert_eq!(windows.size, Size { bitmaps: 0, highs: 1 }, "what lies below takes no room");
        assert_eq!(take(&mut windows, 0, &of(1, 0), &ids(&[(100_000 + WINDOW - 1, 0)])), Ok(vec![true]));
        assert_eq!(take(&mut windows, 0, &of(1, 0), &ids(&[(100_000 + WINDOW, 0)])), Err(IdsRefused::Beyond));
    }

    #[test]
    fn memory_is_bounded_and_only_what_has_rested_is_forgotten() {
        let mut windows = Windows::default();
        for node in 0..WINDOWS_MAX as u64 {
            take(&mut windows, 0, &of(node, 0), &ids(&[(0, 0)])).unwrap();
        }
        assert_eq!(take(&mut windows, 10, &of(u64::MAX, 0), &ids(&[(0, 0)])), Err(IdsRefused::Beyond));
        assert_eq!(take(&mut windows, 3_000, &of(7, 0), &ids(&[(0, 0)])), Ok(vec![false]));
        assert_eq!(take(&mut windows, 3_600, &of(u64::MAX, 0), &ids(&[(0, 0)])), Ok(vec![true]));
        assert_eq!((windows.len(), windows.forgotten()), (2, WINDOWS_MAX as u64 - 1));
        assert_eq!(windows.size, Size { bitmaps: 2, highs: 0 });
        let mut refused = 0;
        for n in 0..=HIGHS_MAX as u64 / 1_000 {
            let high: Vec<Id> = (0..1_000).map(|offset| Id { offset, index: 16 + n * 2 }).collect();
            refused += u64::from(take(&mut windows, 3_601, &of(7, 0), &high).is_err());
        }
        assert!(refused <= 1 && (HIGHS_MAX..HIGHS_MAX + 1_000).contains(&windows.size.highs));
        assert_eq!(take(&mut windows, 3_601, &of(7, 0), &ids(&[(0, 9_999)])), Err(IdsRefused::Beyond));
        assert_eq!(take(&mut windows, 3_601, &of(7, 1_000), &ids(&[(1_000, 16)])), Ok(vec![true]));
        assert_eq!(windows.size.highs, 1);
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(
            batches in proptest::collection::vec((0_u64..3, proptest::collection::btree_set((0_u64..9_000, 0_u64..20), 0..30)), 1..40)
        ) {
            let mut windows = Windows::default();
            let mut plain = BTreeSet::new();
            let mut low_water = 0;
            for (step, batch) in batches {
                low_water += step * 700;
                let batch: Vec<(u64, u64)> = batch.into_iter().collect();
                let new = take(&mut windows, 0, &of(1, low_water), &ids(&batch)).unwrap();
                for (id, new) in batch.iter().zip(new) {
                    let expected = id.0 >= low_water && plain.insert(*id);
                    prop_assert_eq!(new, expected, "{:?} at {}", id, low_water);
                }
            }
        }
    }
}
