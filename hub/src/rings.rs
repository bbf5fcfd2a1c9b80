//! A node's history: slots of 1 s for five minutes, of 10 s for an hour, of a minute for a day.

use std::collections::VecDeque;

use crate::{Latencies, Window};

/// Slots of one length.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    /// The length of a slot in seconds.
    pub step: u32,
    slots_max: u32,
    /// How many buckets of latencies a slot holds.
    entries_max: usize,
    slots: VecDeque<Slot>,
}

/// What a node did in `step` seconds. Absent values were not reported.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Slot {
    /// Which slot it is: seconds since the epoch, divided by the step.
    pub tick: u32,
    /// How many seconds of it were reported with messages in and out.
    seconds: u8,
    shares: u8,
    /// Whether it changed since it was last written down.
    is_new: bool,
    is_gauged: bool,
    messages_in: u32,
    messages_out: u32,
    depth: f32,
    age: f32,
    busy: f32,
    blocked: f32,
    drops: u64,
    latency: Box<[u8]>,
}

/// How things stood at the end of a period; a slot keeps the highest depth and age and the mean of the shares.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Gauged {
    /// Messages that waited.
    pub depth: f64,
    /// The age of the oldest, in seconds.
    pub age: f64,
    /// The share of time that was busy, and blocked, 0 to 1.
    pub share: Option<(f64, f64)>,
    /// All that was dropped since the node's start.
    pub drops: u64,
}

impl Slot {
    /// Messages in per second.
    pub(crate) fn rate_in(&self) -> Option<f64> {
        (self.seconds > 0).then(|| f64::from(self.messages_in) / f64::from(self.seconds))
    }

    /// Messages out per second.
    pub(crate) fn rate_out(&self) -> Option<f64> {
        (self.seconds > 0).then(|| f64::from(self.messages_out) / f64::from(self.seconds))
    }

    /// Messages that waited, at most.
    pub(crate) fn depth(&self) -> Option<f64> {
        self.is_gauged.then_some(f64::from(self.depth))
    }

    /// The highest age of the oldest message, in seconds.
    pub(crate) fn age(&self) -> Option<f64> {
        self.is_gauged.then_some(f64::from(self.age))
    }

    /// The share of time that was busy.
    pub(crate) fn busy(&self) -> Option<f64> {
        (self.shares > 0).then_some(f64::from(self.busy))
    }

    /// The share of time that was blocked.
    pub(crate) fn blocked(&self) -> Option<f64> {
        (self.shares > 0).then_some(f64::from(self.blocked))
    }

    /// All that was dropped until then.
    pub(crate) fn drops(&self) -> Option<u64> {
        self.is_gauged.then_some(self.drops)
    }

    /// The latencies, added to others.
    pub(crate) fn add_latencies_to(&self, latencies: &mut Latencies) {
        latencies.add_packed(&self.latency);
    }

    /// For a file: everything but the tick.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![1, self.seconds, self.shares, u8::from(self.is_gauged)];
        for count in [self.messages_in, self.messages_out] {
            bytes.extend(count.to_le_bytes());
        }
        for value in [self.depth, self.age, self.busy, self.blocked] {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(self.drops.to_le_bytes());
        bytes.extend(&self.latency);
        bytes
    }

    /// What [`to_bytes`](Self::to_bytes) made; `None` if it is something else.
    pub fn from_bytes(tick: u32, bytes: &[u8]) -> Option<Self> {
        let (&[1, seconds, shares, is_gauged], rest) = bytes.split_first_chunk()? else { return None };
        let (messages_in, rest) = rest.split_first_chunk()?;
        let (messages_out, rest) = rest.split_first_chunk()?;
        let (depth, rest) = rest.split_first_chunk()?;
        let (age, rest) = rest.split_first_chunk()?;
        let (busy, rest) = rest.split_first_chunk()?;
        let (blocked, rest) = rest.split_first_chunk()?;
        let (drops, latency) = rest.split_first_chunk()?;
        Some(Self {
            tick,
            seconds,
            shares,
            is_new: false,
            is_gauged: is_gauged != 0,
            messages_in: u32::from_le_bytes(*messages_in),
            messages_out: u32::from_le_bytes(*messages_out),
            depth: f32::from_le_bytes(*depth),
            age: f32::from_le_bytes(*age),
            busy: f32::from_le_bytes(*busy),
            blocked: f32::from_le_bytes(*blocked),
            drops: u64::from_le_bytes(*drops),
            latency: latency.into(),
        })
    }

    /// How many seconds were reported.
    pub(crate) fn seconds(&self) -> u8 {
        self.seconds
    }

    /// Messages in and out.
    pub(crate) fn messages(&self) -> (u32, u32) {
        (self.messages_in, self.messages_out)
    }
}

impl Ring {
    fn new(step: u32, slots_max: u32, entries_max: usize) -> Self {
        Self { step, slots_max, entries_max, slots: VecDeque::new() }
    }

    /// The slot of a second, made if it is not there; `None` if it is older than all that is kept.
    fn slot(&mut self, second: u32) -> Option<&mut Slot> {
        let tick = second / self.step;
        let newest = self.slots.back().map_or(tick, |slot| slot.tick.max(tick));
        let oldest = (newest + 1).saturating_sub(self.slots_max);
        if tick < oldest {
            return None;
        }
        while self.slots.front().is_some_and(|slot| slot.tick < oldest) {
            self.slots.pop_front();
        }
        let found = match self.slots.back() {
            Some(last) if last.tick < tick => Err(self.slots.len()),
            Some(last) if last.tick == tick => Ok(self.slots.len() - 1),
            _ => self.slots.binary_search_by_key(&tick, |slot| slot.tick),
        };
        let index = found.unwrap_or_else(|index| {
            if self.slots.len() == self.slots.capacity() {
                // A vector that doubles would take more than the ring ever holds.
                let room = (self.slots_max as usize).saturating_sub(self.slots.len());
                self.slots.reserve_exact(self.slots.len().clamp(4, room.max(4)));
            }
            self.slots.insert(index, Slot { tick, ..Slot::default() });
            index
        });
        let slot = self.slots.get_mut(index)?;
        slot.is_new = true;
        Some(slot)
    }

    /// The slots from a time on, up to one.
    pub(crate) fn between(&self, from: u32, until: u32) -> impl Iterator<Item = &Slot> {
        let (first, last) = (from / self.step, until / self.step);
        let start = self.slots.partition_point(|slot| slot.tick < first);
        self.slots.range(start..).take_while(move |slot| slot.tick <= last)
    }

    /// The newest slot's beginning, in seconds since the epoch.
    pub(crate) fn newest(&self) -> Option<u32> {
        self.slots.back().map(|slot| slot.tick * self.step)
    }

    /// The oldest slot's tick.
    pub(crate) fn oldest_tick(&self) -> Option<u32> {
        self.slots.front().map(|slot| slot.tick)
    }

    /// The slots that changed since the last call.
    pub(crate) fn take_new(&mut self) -> impl Iterator<Item = &Slot> {
        self.slots.iter_mut().filter_map(|slot| std::mem::take(&mut slot.is_new).then_some(&*slot))
    }

    /// Puts back a slot that was written down; slots come in the order of their ticks.
    pub(crate) fn restore(&mut self, slot: Slot) {
        if let Some(place) = self.slot(slot.tick.saturating_mul(self.step)) {
            *place = Slot { is_new: false, ..slot };
        }
    }
}

/// The three rings.
#[derive(Debug, Clone)]
pub(crate) struct Rings {
    rings: [Ring; 3],
}

impl Default for Rings {
    fn default() -> Self {
        Self { rings: [Ring::new(1, 300, 128), Ring::new(10, 360, 96), Ring::new(60, 1_440, 48)] }
    }
}

impl Rings {
    /// Counts messages of a second; `is_first` says that nothing of that second was counted before.
    pub(crate) fn count(&mut self, second: u32, messages_in: u64, messages_out: u64) {
        // Whether the second is new is known to the finest ring only while it has it.
        let fine = self.rings.first_mut().and_then(|ring| ring.slot(second));
        let is_first = fine.is_none_or(|slot| slot.seconds == 0);
        for ring in &mut self.rings {
            let step = ring.step;
            if let Some(slot) = ring.slot(second) {
                slot.messages_in = slot.messages_in.saturating_add(u32::try_from(messages_in).unwrap_or(u32::MAX));
                slot.messages_out = slot.messages_out.saturating_add(u32::try_from(messages_out).unwrap_or(u32::MAX));
                if is_first {
                    slot.seconds = slot.seconds.saturating_add(1).min(u8::try_from(step).unwrap_or(u8::MAX));
                }
            }
        }
    }

    /// Notes how things stood at a second.
    #[expect(clippy::cast_possible_truncation, reason = "a chart has no use for more digits")]
    pub(crate) fn gauge(&mut self, second: u32, gauged: Gauged) {
        for ring in &mut self.rings {
            let Some(slot) = ring.slot(second) else { continue };
            let was = slot.is_gauged;
            slot.depth = if was { slot.depth.max(gauged.depth as f32) } else { gauged.depth as f32 };
            slot.age = if was { slot.age.max(gauged.age as f32) } else { gauged.age as f32 };
            slot.is_gauged = true;
            slot.drops = gauged.drops;
            if let Some((busy, blocked)) = gauged.share {
                let before = f32::from(slot.shares);
                slot.busy = (slot.busy * before + busy as f32) / (before + 1.0);
                slot.blocked = (slot.blocked * before + blocked as f32) / (before + 1.0);
                slot.shares = slot.shares.saturating_add(1);
            }
        }
    }

    /// Adds latencies of a period that ended in this second.
    pub(crate) fn add_latencies(&mut self, second: u32, latencies: &Latencies) {
        for ring in &mut self.rings {
            let entries_max = ring.entries_max;
            let Some(slot) = ring.slot(second) else { continue };
            slot.latency = if slot.latency.is_empty() {
                latencies.pack(entries_max)
            } else {
                let mut sum = latencies.clone();
                sum.add_packed(&slot.latency);
                sum.pack(entries_max)
            };
        }
    }

    /// The ring that serves a window.
    pub(crate) fn of(&self, window: Window) -> &Ring {
        let [fine, middle, coarse] = &self.rings;
        match window {
            Window::Minute | Window::FiveMinutes => fine,
            Window::Hour => middle,
            Window::Day => coarse,
        }
    }

    /// The three, the finest first.
    pub(crate) fn all_mut(&mut self) -> &mut [Ring; 3] {
        &mut self.rings
    }

    /// The three, the finest first.
    pub(crate) fn all(&self) -> &[Ring; 3] {
        &self.rings
    }
}
