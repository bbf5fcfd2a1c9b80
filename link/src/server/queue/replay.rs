//! A queue's way into the log's snapshots and back, and its messages' way back into memory.
//!
//! What is played here changes the same ranges and counts as what happened did; the messages' bytes stay in the log until
//! their turn comes.

use std::time::Duration;

use machine::Now;
use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use super::{
    super::{
        frames::{self, Run},
        records::{BadRecord, Record},
        store::Store,
    },
    Dead, Eras, Fault, Leases, Letter, Open, Queue, Settled, State,
};

/// So many messages that are not handed out yet are read ahead.
const AHEAD_MESSAGES: u64 = 1 << 16;

/// What must be known of a queue's life beside its messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Life {
    /// Counts whenever ids of before must not be taken for ids of now: that of messages to come, and of the other lives of
    /// those that were done with.
    pub(crate) generation: u64,
    /// Counts the SEEKs, each of which is like a start.
    pub(crate) rewinds: u64,
    /// The level of the process before, as it is numbered in `records.rs`.
    pub(crate) level: u8,
    /// Which start of the machine that was; what had not been synced when that ended may be gone.
    pub(crate) machine_boot: u128,
}

/// The queue's part of a snapshot.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct QueueState<'a> {
    life: Life,
    next: u64,
    fresh: u64,
    open: Vec<OpenState>,
    counts: Lots,
    /// Those that died first come first.
    #[serde(borrow)]
    dead: Vec<DeadState<'a>>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct OpenState {
    first: u64,
    last: u64,
    attempts: u64,
    failures: u64,
    generation: u64,
}

/// The counts of what became of messages.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Lots {
    accepted: u64,
    done: u64,
    popped: u64,
    discarded: u64,
    requeued: u64,
    replayed: u64,
    lost_in_log: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct DeadState<'a> {
    offset: u64,
    attempts: u64,
    origin_us: u64,
    #[serde(borrow)]
    reason: &'a Bytes,
    #[serde(borrow)]
    frame: &'a Bytes,
}

/// How far what is in the log only has been read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Loading {
    /// Where in the log to go on; `None`: where the lowest message is.
    position: Option<u64>,
    is_asked: bool,
}

/// From where in the log messages are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadFrom {
    Position(u64),
    Offset(u64),
}

impl Queue {
    /// The state for a snapshot.
    pub(crate) fn state(&self) -> QueueState<'_> {
        let open = self.leases.ranges();
        let dead = self.dead.by_age();
        QueueState {
            life: self.life,
            next: self.store.next(),
            fresh: self.leases.fresh(),
            open: open
                .map(|(first, Open { last, attempts, failures, generation, .. })| OpenState {
                    first,
                    last,
                    attempts,
                    failures,
                    generation,
                })
                .collect(),
            counts: Lots {
                accepted: self.counts.accepted,
                done: self.counts.done,
                popped: self.counts.popped,
                discarded: self.counts.discarded,
                requeued: self.counts.requeued,
                replayed: self.counts.replayed,
                lost_in_log: self.counts.lost_in_log,
            },
            dead: dead
                .map(|(offset, letter)| DeadState {
                    offset,
                    attempts: letter.attempts,
                    origin_us: letter.origin_us,
                    reason: Bytes::new(&letter.reason),
                    frame: Bytes::new(&letter.frame),
                })
                .collect(),
        }
    }

    /// What belongs to the state, and stands behind it in a snapshot.
    pub(crate) fn eras(&self) -> &Eras {
        &self.eras
    }

    /// Takes a snapshot's place. A queue of before there were eras wrote none.
    pub(crate) fn restore(&mut self, state: &QueueState<'_>, eras: Option<Eras>) {
        self.life = state.life;
        self.eras = eras.unwrap_or_else(|| Eras::new(self.life.generation));
        self.leases = Leases::default();
        if let Some(last) = state.fresh.checked_sub(1) {
            self.leases.take_fresh(last);
        }
        for &OpenState { first, last, attempts, failures, generation } in &state.open {
            self.leases.insert(first, Open { last, attempts, failures, generation, state: State::Ready });
        }
        let Lots { accepted, done, popped, discarded, requeued, replayed, lost_in_log } = state.counts;
        self.counts = super::Ledger {
            accepted,
            done,
            discarded,
            popped,
            requeued,
            replayed,
            lost_in_log,
            ..super::Ledger::default()
        };
        self.dead = Dead::default();
        for letter in &state.dead {
            self.dead.bury(letter.offset, Letter::new(letter.attempts, letter.reason, letter.frame, letter.origin_us));
        }
        self.store = Store::left_out(0, state.next);
    }

    /// Plays a record that concerns messages; so many offsets it brings.
    pub(crate) fn replay(&mut self, messages: u64, record: &Record<'_>, tail: &[u8]) -> Result<(), BadRecord> {
        match *record {
            Record::Messages { .. } => {
                self.come(messages);
                self.counts.accepted += messages;
            }
            Record::Requeued { dead, .. } => {
                self.come(messages);
                self.dead.remove(dead);
                self.counts.requeued += 1;
            }
            Record::HandedOut { first, last, attempt } => {
                self.change(first, last, |queue, first, open| {
                    queue.leases.insert(first, Open { attempts: open.attempts.max(attempt), ..open });
                    0
                })?;
            }
            Record::Returned { first, last, attempts, failures } => {
                self.change(first, last, |queue, first, open| {
                    queue.leases.insert(first, Open { attempts, failures, ..open });
                    0
                })?;
            }
            Record::Finished { first, last } => self.counts.done += self.change(first, last, count)?,
            Record::Popped { offset } => self.counts.popped += self.change(offset, offset, count)?,
            Record::Lost { first, last } => {
                let lost = self.change(first, last, count)?;
                self.counts.discarded += lost;
                self.counts.lost_in_log += lost;
            }
            Record::Buried { offset, attempts, origin_us, reason } => {
                if self.change(offset, offset, count)? > 0 {
                    self.counts.discarded += self.dead.bury(offset, Letter::new(attempts, reason, tail, origin_us));
                }
            }
            Record::Dropped { dead } => {
                self.counts.discarded += u64::from(self.dead.remove(dead).is_some());
            }
            Record::Rewound { to } => {
                self.rewind(to);
            }
            Record::Started { level, machine_boot } => {
                let goes_on = self.fault == Some(Fault::SameGeneration) || !self.may_have_lost(machine_boot);
                if !goes_on {
                    self.begin_era();
                }
                (self.life.level, self.life.machine_boot) = (level, machine_boot);
            }
            Record::Opened { .. } | Record::Ended { .. } => {}
        }
        Ok(())
    }

    /// Whether the machine has been started anew since a process that did not wait for the disk: then offsets may have been
    /// given that nobody knows of any more.
    pub(crate) fn may_have_lost(&self, machine_boot: u128) -> bool {
        self.life.level == super::super::OS_LEVEL && self.life.machine_boot != machine_boot
    }

    /// Messages of these offsets were in a part of the log that cannot be read any more, and what else was there is gone.
    pub(crate) fn replay_lost(&mut self, first: u64, next: u64) {
        let known = self.store.next();
        if next > known {
            self.come(next - known);
            self.counts.accepted += next - known;
        }
        if next > first
            && let Ok(lost) = self.change(first, next - 1, count)
        {
            self.counts.discarded += lost;
            self.counts.lost_in_log += lost;
        }
    }

    /// Messages come in another generation from now on; all that are known stay in theirs.
    fn begin_era(&mut self) {
        self.life.generation += 1;
        self.eras.begin(self.life.generation, self.leases.fresh(), self.store.next());
    }

    fn come(&mut self, messages: u64) {
        let next = self.store.next() + messages;
        self.store = Store::left_out(0, next);
    }

    /// Takes out what is open of these messages, all of which have been handed out, and does something with each range. The
    /// sum of what that gives.
    fn change(
        &mut self,
        first: u64,
        last: u64,
        mut then: impl FnMut(&mut Self, u64, Open) -> u64,
    ) -> Result<u64, BadRecord> {
        if first > last || last >= self.store.next() {
            return Err(BadRecord(format!("offsets {first} to {last} of {} messages", self.store.next())));
        }
        let mut at = self.leases.fresh();
        if last >= at {
            self.leases.take_fresh(last);
        }
        while at <= last {
            // Handed out without a record, for want of room.
            let (generation, end) = self.eras.of(at);
            let open = Open { last: last.min(end), attempts: 1, failures: 0, generation, state: State::Ready };
            self.leases.insert(at, open);
            at = open.last + 1;
        }
        let mut pieces = Vec::new();
        self.leases.cut(first, last, |_| true, &mut pieces);
        Ok(pieces.into_iter().map(|(first, open)| then(self, first, open)).sum())
    }

    /// All that is in the log is known: what is not finished will be read when its turn comes.
    pub(crate) fn end_replay(&mut self, node: u64, boot: u64) {
        self.node = node;
        self.boot = boot + self.life.rewinds;
        self.unload();
    }

    fn unload(&mut self) {
        self.store = Store::left_out(self.leases.low_water(), self.store.next());
        self.settled = Settled::default();
        self.loading = Loading::default();
        (self.bytes, self.open_bytes, self.left_out_bytes) = (0, 0, 0);
    }

    /// Makes all messages from an offset on ready again that are done with, but for dead letters. How many these are.
    ///
    /// What was done with begins another life: its outputs are to be taken again. What was not is still in its first.
    pub(crate) fn rewind(&mut self, to: u64) -> u64 {
        let fresh = self.leases.fresh();
        let to = to.min(fresh);
        if self.fault != Some(Fault::SameGeneration) {
            self.begin_era();
        }
        let generation = self.life.generation;
        let mut pieces = Vec::new();
        self.leases.cut(0, u64::MAX - 1, |_| true, &mut pieces);
        let dead = self.dead.offsets_from(to).take_while(|offset| *offset < fresh).map(|offset| (offset, offset));
        let open = pieces.iter().map(|(first, open)| (*first, open.last)).filter(|(_, last)| *last >= to);
        let mut stay: Vec<(u64, u64)> = open.chain(dead).collect();
        stay.sort_unstable();
        stay.push((fresh, u64::MAX));
        for (first, open) in pieces {
            self.leases.insert(first, Open { state: State::Ready, ..open });
        }
        let (mut at, mut again) = (to, 0);
        for (first, last) in stay {
            if at < first {
                let open = Open { last: first - 1, attempts: 0, failures: 0, generation, state: State::Ready };
                self.leases.insert(at, open);
                again += first - at;
            }
            at = at.max(last.saturating_add(1));
        }
        self.counts.accepted += again;
        self.counts.replayed += again;
        self.life.rewinds += 1;
        self.boot += 1;
        self.rewound = self.journal.as_ref().map_or(0, super::Journal::made);
        self.unload();
        again
    }

    /// From where messages are to be read from the log now.
    pub(crate) fn poll_load(&mut self) -> Option<LoadFrom> {
        let loaded = self.store.loaded();
        let durable = self.journal.as_ref().map_or(0, super::Journal::durable_next);
        if self.loading.is_asked || loaded >= self.store.next().min(durable) {
            return None;
        }
        let ahead = loaded.saturating_sub(self.leases.fresh());
        if ahead > 0 && (ahead >= AHEAD_MESSAGES || self.memory() >= super::MEMORY_MAX / 2) {
            return None;
        }
        self.loading.is_asked = true;
        Some(self.loading.position.map_or(LoadFrom::Offset(loaded), LoadFrom::Position))
    }

    /// The log's end and the next place to read at are told with each part of it that is read. Whether it is wanted: not if it
    /// was asked for before a SEEK.
    pub(crate) fn begin_load(&mut self, position: u64, next: u64, end: u64) -> bool {
        if !self.loading.is_asked {
            return false;
        }
        if self.loading.position.is_none() {
            self.left_out_bytes = self.left_out_bytes.max(end.saturating_sub(position));
        }
        self.loading = Loading { position: Some(next), is_asked: false };
        true
    }

    /// Takes messages in that were in the log only: a record that begins at this offset.
    pub(crate) fn load(
        &mut self,
        now: Now,
        (first, messages): (u64, u64),
        record: &Record<'_>,
        tail: &[u8],
    ) -> Result<(), BadRecord> {
        let (at_us, origin_us, ids) = match *record {
            Record::Messages { at_us, origin_us, source } => {
                let derived = source.and_then(|source| source.derived);
                (at_us, origin_us, derived.map_or(0, |derived| derived.ids_bytes))
            }
            Record::Requeued { at_us, origin_us, .. } => (at_us, origin_us, 0),
            _ => return Ok(()),
        };
        let frames = tail.get(ids..).unwrap_or_default();
        self.left_out_bytes = self.left_out_bytes.saturating_sub(frames.len() as u64);
        let loaded = self.store.loaded();
        if first + messages <= loaded || loaded >= self.store.next() {
            return Ok(());
        }
        let mut starts = Vec::new();
        if first > loaded || !frames::find(frames, messages, &mut starts) {
            return Err(BadRecord(format!("no {messages} messages at offset {first}, {loaded} was to come")));
        }
        let skip = usize::try_from(loaded - first).unwrap_or(usize::MAX);
        let run = Run::new(frames, starts.get(skip..).unwrap_or_default(), origin_us, None);
        let age = now.since_epoch.saturating_sub(Duration::from_micros(at_us));
        let at = now.since_start.saturating_sub(age);
        self.load_run(loaded, &run, at);
        if self.store.loaded() >= self.store.next() {
            self.left_out_bytes = 0;
        }
        Ok(())
    }

    fn load_run(&mut self, first: u64, run: &Run<'_>, at: Duration) {
        let last = first + run.count() - 1;
        let fresh = self.leases.fresh();
        let open: Vec<(u64, u64)> = self.leases.open_within(first, last).collect();
        let open_count: u64 = open.iter().map(|(first, last)| last - first + 1).sum();
        let fresh_count = (last + 1).saturating_sub(first.max(fresh));
        let begins = self.store.load(run, at, open_count + fresh_count);
        if begins {
            // A range of one state never lies in two segments.
            let mut pieces = Vec::new();
            self.leases.cut(first, last, |_| true, &mut pieces);
            for (first, open) in pieces {
                self.leases.insert(first, open);
            }
        }
        for (first, last) in open {
            let cost = self.store.cost(first, last);
            self.bytes += cost;
            self.open_bytes += cost;
        }
        if fresh_count > 0 {
            self.bytes += self.store.cost(last + 1 - fresh_count, last);
        }
    }

    /// Messages that were to be loaded are in a part of the log that cannot be read any more: they are discarded.
    pub(crate) fn lose(&mut self, first: u64, next: u64) {
        let first = first.max(self.store.loaded());
        if next <= first {
            return;
        }
        let fresh = self.leases.fresh();
        if next > fresh {
            // What lies before them has been loaded, and now counts as back, so that what lies behind them is fresh.
            self.leases.take_fresh(next - 1);
            let mut at = fresh;
            while at < first {
                let (generation, end) = self.eras.of(at);
                let most = first.min(end.saturating_add(1)) - at;
                let Some(stretch) = self.store.stretch(at, most, usize::MAX) else { break };
                self.open_bytes += self.store.cost(at, stretch.last);
                let open = Open { last: stretch.last, attempts: 0, failures: 0, generation, state: State::Ready };
                self.leases.insert(at, open);
                at = stretch.last + 1;
            }
        }
        let mut pieces = Vec::new();
        self.leases.cut(first, next - 1, |_| true, &mut pieces);
        let open: u64 = pieces.iter().map(|(first, open)| open.last - first + 1).sum();
        let lost = open + next.saturating_sub(first.max(fresh));
        self.counts.discarded += lost;
        self.counts.lost_in_log += lost;
        self.note(&Record::Lost { first, last: next - 1 });
        self.store.skip(next);
        tracing::error!("Lost in a part of the log that was set aside: {lost} messages from offset {first}");
    }

    /// Recounts what is in memory of what is wanted, for tests.
    pub(super) fn wanted(&self) -> Vec<(u64, u64)> {
        let loaded = self.store.loaded();
        let ranges = self.leases.ranges().map(|(first, open)| (first, open.last));
        ranges
            .filter_map(|(first, last)| Some((first, last.min(loaded.checked_sub(1)?))))
            .filter(|(first, last)| first <= last)
            .collect()
    }
}

/// How many messages a range has.
fn count(_: &mut Queue, first: u64, open: Open) -> u64 {
    open.last - first + 1
}
