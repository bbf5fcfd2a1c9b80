//! The messages of a queue and what becomes of each: ready, leased, done, dead, discarded or popped.

mod eras;
mod replay;

use std::time::Duration;

use machine::{LogLimit, Now};
use protocol::link::{Finish, GiveBack, Lease};

use super::{
    ServerLimits,
    dead::{Dead, Letter, REASON_BYTES_MAX},
    faults::Fault,
    frames::Run,
    intake::Full,
    journal::{Extent, Journal, micros},
    leases::{Leases, Open, State},
    ledger::{Flow, Ledger},
    records::Record,
    settled::Settled,
    store::{self, SEGMENT_BYTES, Store},
};

use self::replay::{Life, Loading};
pub(crate) use self::{
    eras::Eras,
    replay::{LoadFrom, QueueState},
};

/// Nothing further than this above the low water is leased, so that the next queue's window of ids can hold it.
pub(crate) const WINDOW: u64 = 1 << 20;

/// After so many attempts a message is dead.
const ATTEMPTS_MAX: u64 = 5;

/// How long a message rests after its second failure, and at the most. After the first it is ready at once.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What a queue may take for segments beside thrice the bytes of its messages.
const SEGMENTS_SLACK_BYTES: u64 = 8 << 20;

/// How many bytes of segments a queue with a log keeps in memory before it leaves messages out.
const MEMORY_MAX: u64 = 256 << 20;

/// What a record of messages has at the most beside frames and ids, a block's header of the log included.
const RECORD_BYTES: u64 = 1_024;

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There are as many messages as there may be.
    Messages,
    /// There are as many bytes as there may be.
    Bytes,
    /// The log's disk is full.
    Disk,
}

impl Refused {
    /// For a log line: which bound it is that was reached.
    pub fn why(self, messages_max: u64, bytes_max: u64) -> String {
        match self {
            Self::Messages => format!("--messages-max {messages_max} reached"),
            Self::Bytes => format!("--bytes-max {bytes_max} reached"),
            Self::Disk => "the disk of --data is full".to_owned(),
        }
    }
}

/// A message that a GET took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Popped {
    /// How long it was here.
    pub waited: Duration,
}

/// What became of a lease in a finish list; the worst of its messages' lots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Finished by this attempt, now or before.
    Done,
    /// Finished now, though the lease had ended.
    Late,
    /// Another attempt had finished it, or nobody remembers, or it is dead.
    Other,
    /// Not of this boot, or never leased.
    Unknown,
}

impl Verdict {
    /// As it travels.
    pub(crate) fn letter(self) -> u8 {
        match self {
            Self::Done => b'd',
            Self::Late => b'l',
            Self::Other => b'o',
            Self::Unknown => b'x',
        }
    }
}

/// How much a consumer takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Want {
    pub(crate) messages_max: u64,
    /// Of frames; one message may be longer.
    pub(crate) bytes_max: usize,
    /// Of frames; no message may be longer.
    pub(crate) room: usize,
    /// What `room` would be if nothing else had to travel with the messages: what is longer can never be leased.
    pub(crate) room_max: usize,
    pub(crate) lease: Duration,
}

/// The messages.
#[derive(Debug)]
pub(crate) struct Queue {
    node: u64,
    boot: u64,
    life: Life,
    eras: Eras,
    limits: ServerLimits,
    fault: Option<Fault>,
    /// What the log is still to be told; `None` for a queue in memory.
    journal: Option<Journal>,
    store: Store,
    leases: Leases,
    settled: Settled,
    dead: Dead,
    /// What the messages that are ready or leased cost.
    bytes: u64,
    /// What those cost that have been handed out and are leased or back.
    open_bytes: u64,
    /// Bytes of the log in which messages are that are ready and not in memory.
    left_out_bytes: u64,
    loading: Loading,
    /// Where in the journal the last SEEK is written down.
    rewound: u64,
    /// Something was put off because the log's disk has no room: it is to be asked again soon.
    wants_room: bool,
    counts: Ledger,
    flow: Flow,
    /// Kept for its room.
    pieces: Vec<(u64, Open)>,
    dead_limit: LogLimit,
}

impl Queue {
    pub(crate) fn new(node: u64, boot: u64, limits: ServerLimits, fault: Option<Fault>) -> Self {
        Self {
            node,
            boot,
            life: Life { generation: 1, ..Life::default() },
            eras: Eras::new(1),
            limits,
            fault,
            journal: None,
            store: Store::default(),
            leases: Leases::default(),
            settled: Settled::default(),
            dead: Dead::default(),
            bytes: 0,
            open_bytes: 0,
            left_out_bytes: 0,
            loading: Loading::default(),
            rewound: 0,
            wants_room: false,
            counts: Ledger::default(),
            flow: Flow::default(),
            pieces: Vec::new(),
            dead_limit: LogLimit::default(),
        }
    }

    /// Takes messages in at the end, all or none.
    pub(crate) fn append(&mut self, now: Now, run: &Run<'_>) -> Result<(), Refused> {
        if let Err(refused) = self.find_room(run) {
            match refused {
                Refused::Messages => self.counts.refused_messages_max += run.count(),
                Refused::Bytes => self.counts.refused_bytes_max += run.count(),
                Refused::Disk => {
                    self.wants_room = true;
                    self.counts.refused_disk_full += run.count();
                }
            }
            return Err(refused);
        }
        if let Some(journal) = &mut self.journal {
            journal.push_messages(now, run);
        }
        self.take_in(now, run);
        self.counts.accepted += run.count();
        self.flow.accepted += run.count();
        Ok(())
    }

    fn take_in(&mut self, now: Now, run: &Run<'_>) {
        let bytes = run.frames().len() as u64;
        if self.journal.is_some() {
            self.keep_or_leave_out();
        }
        if self.store.append(run, now.since_start) {
            self.bytes += store::cost(run.count(), run.frames().len());
        } else {
            self.left_out_bytes += bytes;
        }
    }

    /// What does not fit in memory is in the log.
    fn keep_or_leave_out(&mut self) {
        let memory = self.memory();
        if self.store.keeps() && memory >= MEMORY_MAX {
            let dropped = self.store.leave_out();
            self.bytes -= dropped;
            self.left_out_bytes += dropped;
        } else if !self.store.keeps() && memory <= MEMORY_MAX / 2 {
            self.store.keep_again();
        }
    }

    /// What a worker puts in finds room beside what was handed out, be the leases over by then or not: it may be made from
    /// that, around a ring of any length, and a ring is not to stop because its queues are full. What is made from this
    /// queue's own messages takes their place, so it finds room whatever others have put in.
    fn find_room(&self, run: &Run<'_>) -> Result<(), Refused> {
        let ServerLimits { messages_max, bytes_max, .. } = self.limits;
        // How many times the limit there may be of what was never handed out, and of all.
        let (fresh_max, all_max) = match run.input_node() {
            Some(node) if node == self.node => (2, u64::MAX),
            Some(_) if self.fault != Some(Fault::LeasesTakeRoom) => (1, 2),
            _ => (1, 1),
        };
        let is_own = all_max == u64::MAX;
        let fits = |more: u64, all: u64, fresh: u64, max: u64| {
            // After a crash more may be fresh than ever came in so.
            let handed_out = if is_own { all - fresh } else { 0 };
            fresh + more <= max.saturating_mul(fresh_max).saturating_add(handed_out)
                && all + more <= max.saturating_mul(all_max)
        };
        let (unfinished, fresh) = (self.ready() + self.leases.leased(), self.store.next() - self.leases.fresh());
        if !fits(run.count(), unfinished, fresh, messages_max) {
            return Err(Refused::Messages);
        }
        let cost = store::cost(run.count(), run.frames().len());
        if !fits(cost, self.bytes(), self.bytes() - self.open_bytes, bytes_max) {
            return Err(Refused::Bytes);
        }
        self.find_place(run, unfinished + run.count())
    }

    /// Whether memory, or the disk, has room for the messages when so many are unfinished.
    fn find_place(&self, run: &Run<'_>, unfinished: u64) -> Result<(), Refused> {
        let Some(journal) = &self.journal else {
            // Few messages may keep many segments alive.
            let segments_bytes = self.limits.bytes_max.saturating_mul(3).saturating_add(SEGMENTS_SLACK_BYTES);
            let fits = self.store.fits(run) || self.memory() + SEGMENT_BYTES as u64 <= segments_bytes;
            return if fits { Ok(()) } else { Err(Refused::Bytes) };
        };
        let fits = journal.spare(unfinished) >= run.frames().len() as u64 + RECORD_BYTES;
        if fits { Ok(()) } else { Err(Refused::Disk) }
    }

    /// How many messages there is room for.
    pub(crate) fn credit(&self) -> u64 {
        let messages = self.limits.messages_max.saturating_sub(self.ready() + self.leases.leased());
        let bytes = self.limits.bytes_max.saturating_sub(self.bytes + self.left_out_bytes);
        messages.min(bytes / store::cost(1, 2))
    }

    /// How many messages are ready, or will be when their back-off is over.
    pub(crate) fn ready(&self) -> u64 {
        self.store.next() - self.leases.fresh() + self.leases.returned()
    }

    /// Whether a consumer would get a message now.
    pub(crate) fn has_message(&mut self, now: Now) -> bool {
        self.wake(now);
        self.first_back().is_some() || self.leases.fresh() < self.fresh_end()
    }

    /// The lowest range that has come back, if it may be handed out and is in memory.
    fn first_back(&self) -> Option<(u64, Open)> {
        self.leases.first_ready().filter(|(first, _)| *first < self.store.loaded() && !self.is_rewinding())
    }

    /// Where the fresh messages end that may be leased: they are durable, and in memory.
    fn fresh_end(&self) -> u64 {
        let here = self.here_end();
        here.min(self.durable_low_water().saturating_add(WINDOW))
    }

    /// Where the messages end that are durable, and in memory.
    fn here_end(&self) -> u64 {
        if self.is_rewinding() {
            return 0;
        }
        let early = self.fault == Some(Fault::DeliversEarly);
        let durable = self.journal.as_ref().filter(|_| !early).map_or(u64::MAX, Journal::durable_next);
        self.store.loaded().min(durable)
    }

    /// All below this offset is done with.
    pub(crate) fn low_water(&self) -> u64 {
        self.leases.low_water()
    }

    /// All below this offset is done with, and stays so: what others need not remember any more.
    pub(crate) fn durable_low_water(&self) -> u64 {
        let durable = self.journal.as_ref().map_or(u64::MAX, Journal::durable_low_water);
        self.low_water().min(durable)
    }

    /// What it knows of.
    pub(crate) fn extent(&self) -> Extent {
        Extent { low_water: self.low_water(), next: self.next() }
    }

    /// Takes the first message away, appended to `out` as a frame.
    pub(crate) fn pop(&mut self, now: Now, out: &mut Vec<u8>) -> Option<Popped> {
        self.wake(now);
        let offset = match self.first_back() {
            Some((first, _)) => {
                self.leases.cut(first, first, |_| true, &mut self.pieces);
                self.pieces.clear();
                self.open_bytes -= self.store.cost(first, first);
                first
            }
            None if self.leases.fresh() < self.here_end() => self.take_fresh(),
            None => return None,
        };
        self.note(&Record::Popped { offset });
        let waited = self.waited(now, offset);
        out.extend_from_slice(self.store.frames(offset, offset).unwrap_or_default());
        self.drop_bytes(offset, offset);
        self.counts.popped += 1;
        self.flow.deliver(waited, 1);
        Some(Popped { waited })
    }

    fn take_fresh(&mut self) -> u64 {
        let first = self.leases.fresh();
        self.leases.take_fresh(first);
        first
    }

    fn waited(&self, now: Now, offset: u64) -> Duration {
        self.store.arrived(offset).map_or(Duration::ZERO, |arrived| now.since_start.saturating_sub(arrived))
    }

    fn drop_bytes(&mut self, first: u64, last: u64) {
        self.bytes -= self.store.cost(first, last);
        self.store.release(first, last);
    }

    /// Hands out the first messages that are ready.
    pub(crate) fn lease(&mut self, now: Now, want: &Want) -> Option<Lease> {
        self.wake(now);
        loop {
            let (first, again) = match self.first_back() {
                Some((first, open)) => (first, Some(open)),
                None => (self.leases.fresh(), None),
            };
            let most = match again {
                // The last attempt at a message is its own: one that kills workers takes no neighbours along.
                Some(open) if open.failures + 1 >= ATTEMPTS_MAX => 1,
                Some(open) => open.last - first + 1,
                None => self.fresh_end().min(self.eras.of(first).1.saturating_add(1)).saturating_sub(first),
            };
            if most == 0 {
                return None;
            }
            let stretch = self.store.stretch(first, most.min(want.messages_max), want.bytes_max)?;
            if stretch.bytes <= want.room {
                return Some(self.lease_stretch(now, first, stretch.last, again, want.lease));
            }
            if stretch.bytes <= want.room_max {
                return None;
            }
            self.bury_too_long(now, first, again);
        }
    }

    fn lease_stretch(&mut self, now: Now, first: u64, last: u64, again: Option<Open>, lease: Duration) -> Lease {
        let count = last - first + 1;
        let (attempts, failures, generation) =
            again.map_or((0, 0, self.eras.of(first).0), |open| (open.attempts, open.failures, open.generation));
        if again.is_some() {
            self.leases.cut(first, last, |_| true, &mut self.pieces);
            self.pieces.clear();
            self.counts.redelivered += if attempts > 0 { count } else { 0 };
        } else {
            self.leases.take_fresh(last);
            self.open_bytes += self.store.cost(first, last);
        }
        let attempts = attempts + 1;
        // Without it nothing is lost but the number of the attempt.
        self.note_if_room(&Record::HandedOut { first, last, attempt: attempts });
        let state = State::Leased { ends: now.since_start + lease };
        self.leases.insert(first, Open { last, attempts, failures, generation, state });
        for (arrived, count) in self.store.arrivals(first, last) {
            self.flow.deliver(now.since_start.saturating_sub(arrived), count);
        }
        Lease { boot: self.boot, first, count, attempt: attempts }
    }

    /// A long message that came by a PUT and can go out by a GET only.
    fn bury_too_long(&mut self, now: Now, first: u64, again: Option<Open>) {
        let fresh = Open { last: first, attempts: 0, failures: 0, generation: 0, state: State::Ready };
        let open = again.unwrap_or(fresh);
        if again.is_some() {
            self.leases.cut(first, first, |_| true, &mut self.pieces);
            self.pieces.clear();
        } else {
            self.take_fresh();
            self.open_bytes += self.store.cost(first, first);
        }
        self.bury(now, first, Open { last: first, ..open }, b"too long to be leased, a GET can take it");
    }

    /// What is still out of a lease, the first part of it that lies together; nothing once all is finished or back.
    pub(crate) fn still_leased(&self, lease: Lease) -> Option<Lease> {
        let (first, last) = self.leases.leased_part(lease.first, lease.first + (lease.count - 1), lease.attempt)?;
        Some(Lease { first, count: last - first + 1, ..lease })
    }

    /// A lease's frames, their generation, and when the first of their batches entered the system, in microseconds since the
    /// epoch.
    pub(crate) fn messages(&self, lease: Lease) -> Option<(&[u8], u64, u64)> {
        let frames = self.store.frames(lease.first, lease.first + (lease.count - 1))?;
        let generation = self.leases.open_at(lease.first)?.generation;
        Some((frames, generation, self.store.origin_us(lease.first)))
    }

    /// Finishes what an entry of a finish list names.
    pub(crate) fn finish(&mut self, finish: Finish<'_>) -> Verdict {
        let Lease { boot, attempt, .. } = finish.lease;
        if boot != self.boot && self.fault != Some(Fault::LeaseWithoutBoot) || attempt == 0 {
            return Verdict::Unknown;
        }
        let verdicts = finish.offsets().map(|(first, last)| self.finish_range(attempt, first, last));
        verdicts.max().unwrap_or(Verdict::Unknown)
    }

    fn finish_range(&mut self, attempt: u64, first: u64, last: u64) -> Verdict {
        let mut pieces = std::mem::take(&mut self.pieces);
        self.leases.cut(first, last, |open| attempt <= open.attempts, &mut pieces);
        let mut verdict = Verdict::Done;
        let mut finished = 0;
        for (first, open) in pieces.drain(..) {
            let count = open.last - first + 1;
            self.note(&Record::Finished { first, last: open.last });
            finished += count;
            self.counts.done += count;
            if !open.is_leased() || open.attempts != attempt {
                self.counts.late_finishes += count;
                verdict = Verdict::Late;
            }
            self.open_bytes -= self.store.cost(first, open.last);
            self.drop_bytes(first, open.last);
            self.settled.note(first, open.last, attempt);
        }
        self.pieces = pieces;
        if finished == last - first + 1 { verdict } else { verdict.max(self.judge_closed(attempt, first, last)) }
    }

    /// What to say of a range of which something could not be finished.
    fn judge_closed(&mut self, attempt: u64, first: u64, last: u64) -> Verdict {
        if last >= self.leases.fresh() || self.leases.any_open(first, last) {
            Verdict::Unknown // what is open now has not seen that attempt yet
        } else if self.settled.all_by(attempt, first, last) {
            Verdict::Done
        } else if self.fault == Some(Fault::LateFinishCountsAgain) {
            self.counts.done += last - first + 1;
            Verdict::Late
        } else {
            Verdict::Other
        }
    }

    /// Takes back what is still out of a lease; `false` if nothing is.
    pub(crate) fn give_back(&mut self, now: Now, lease: Lease, how: GiveBack, delay: Duration, reason: &[u8]) -> bool {
        self.cut_lease(lease, |queue, first, open| match how {
            GiveBack::Quiet => queue.put_back(now, first, open, delay),
            GiveBack::Counted => queue.fail(now, first, open, delay, reason),
            GiveBack::Dead => queue.bury(now, first, open, reason),
        })
    }

    /// Lets what is still out of a lease stay away for so long from now; `false` if nothing is.
    pub(crate) fn touch(&mut self, now: Now, lease: Lease, longer: Duration) -> bool {
        let state = State::Leased { ends: now.since_start + longer };
        self.cut_lease(lease, |queue, first, open| queue.leases.insert(first, Open { state, ..open }))
    }

    /// Takes out the ranges that are still leased in this attempt and does something with each.
    fn cut_lease(&mut self, lease: Lease, mut then: impl FnMut(&mut Self, u64, Open)) -> bool {
        if lease.boot != self.boot && self.fault != Some(Fault::LeaseWithoutBoot) || lease.count == 0 {
            return false;
        }
        let last = lease.first.saturating_add(lease.count - 1);
        let current = |open: &Open| open.attempts == lease.attempt && open.is_leased();
        let mut pieces = std::mem::take(&mut self.pieces);
        self.leases.cut(lease.first, last, current, &mut pieces);
        let any = !pieces.is_empty();
        for (first, open) in pieces.drain(..) {
            then(self, first, open);
        }
        self.pieces = pieces;
        any
    }

    /// Ends the leases and the back-offs that are over.
    pub(crate) fn wake(&mut self, now: Now) {
        while let Some((first, open)) = self.leases.next_ended(now.since_start) {
            self.counts.lease_ended += open.last - first + 1;
            self.fail(now, first, open, Duration::ZERO, b"");
        }
    }

    /// When [`wake`](Self::wake) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.leases.poll_timeout()
    }

    /// An attempt failed.
    fn fail(&mut self, now: Now, first: u64, open: Open, delay: Duration, reason: &[u8]) {
        let failures = open.failures + 1;
        if failures < ATTEMPTS_MAX {
            let Open { last, attempts, .. } = open;
            self.note_if_room(&Record::Returned { first, last, attempts, failures });
            return self.put_back(now, first, Open { failures, ..open }, delay.max(back_off(failures)));
        }
        let why: &[u8] = if reason.is_empty() { b"attempts" } else { b"attempts: " };
        self.bury(now, first, open, &[why, reason].concat());
    }

    fn put_back(&mut self, now: Now, first: u64, open: Open, delay: Duration) {
        let waiting = State::Waiting { until: now.since_start + delay };
        let state = if delay.is_zero() { State::Ready } else { waiting };
        self.leases.insert(first, Open { state, ..open });
    }

    fn bury(&mut self, now: Now, first: u64, open: Open, reason: &[u8]) {
        if self.spare() < self.store.cost(first, open.last) + REASON_BYTES_MAX as u64 * (open.last - first + 1) {
            // No room to write them down as dead: they stay what they are until there is.
            self.wants_room = true;
            return self.put_back(now, first, open, BACK_OFF.1);
        }
        if let Some(withheld) = self.dead_limit.pass(now) {
            let (count, reason) = (open.last - first + 1, reason.escape_ascii());
            tracing::warn!("Dead letters: {count} from offset {first} ({reason}; {withheld} more unsaid)");
        }
        for offset in first..=open.last {
            let frame = self.store.frames(offset, offset).unwrap_or_default();
            let letter = Letter::new(open.attempts, reason, frame, self.store.origin_us(offset));
            if let Some(journal) = &mut self.journal {
                let (attempts, origin_us) = (letter.attempts, letter.origin_us);
                let record = Record::Buried { offset, attempts, origin_us, reason: &letter.reason };
                journal.push(0, &record, &[&letter.frame]);
            }
            self.counts.discarded += self.dead.bury(offset, letter);
        }
        self.open_bytes -= self.store.cost(first, open.last);
        self.drop_bytes(first, open.last);
    }

    /// Writes down that messages of a producer were all known by their ids.
    pub(crate) fn note_known(&mut self, now: Now, run: &Run<'_>) {
        if let Some(journal) = &mut self.journal {
            journal.push_messages(now, run);
        }
    }

    /// Writes down that a producer begins an epoch.
    pub(crate) fn note_open(&mut self, producer: u128, nonce: u64, next: u64) -> Result<(), Full> {
        if self.spare() < RECORD_BYTES {
            self.wants_room = true;
            return Err(Full);
        }
        self.note(&Record::Opened { producer, nonce, next });
        Ok(())
    }

    /// Writes down that a producer's feed ended.
    pub(crate) fn note_end(&mut self, producer: u128, epoch: u64, next: u64) {
        self.note(&Record::Ended { producer, epoch, next });
    }

    fn note(&mut self, record: &Record<'_>) {
        if let Some(journal) = &mut self.journal {
            journal.push(0, record, &[]);
        }
    }

    fn note_if_room(&mut self, record: &Record<'_>) {
        if self.journal.is_some() && self.spare() > RECORD_BYTES {
            self.note(record);
        }
    }

    /// How many bytes the log has room for beside the finishes of all that is not finished.
    fn spare(&self) -> u64 {
        let unfinished = self.ready() + self.leases.leased();
        self.journal.as_ref().map_or(u64::MAX, |journal| journal.spare(unfinished))
    }

    /// The dead letters at or behind an offset.
    pub(crate) fn dead_from(&self, from: u64) -> impl Iterator<Item = (u64, &Letter)> {
        let mut from = Some(from);
        std::iter::from_fn(move || {
            let (offset, letter) = self.dead.first_from(from?)?;
            from = offset.checked_add(1);
            Some((offset, letter))
        })
    }

    /// Puts dead letters at or behind an offset back at the queue's end, as new messages, as long as there is room.
    pub(crate) fn requeue(&mut self, now: Now, from: u64, max: u64) -> u64 {
        let mut count = 0;
        while count < max
            && let Some((offset, letter)) = self.dead.first_from(from)
        {
            if self.find_room(&Run::new(&letter.frame, &[0], 0, None)).is_err() {
                break;
            }
            let Some(letter) = self.dead.remove(offset) else { break };
            if let Some(journal) = &mut self.journal {
                let (at_us, origin_us) = (micros(now.since_epoch), letter.origin_us);
                journal.push(1, &Record::Requeued { dead: offset, at_us, origin_us }, &[&letter.frame]);
            }
            self.take_in(now, &Run::new(&letter.frame, &[0], letter.origin_us, None));
            count += 1;
        }
        self.counts.requeued += count;
        count
    }

    /// Drops dead letters at or behind an offset.
    pub(crate) fn discard(&mut self, from: u64, max: u64) -> u64 {
        let mut count = 0;
        while count < max
            && let Some((offset, _)) = self.dead.first_from(from)
        {
            self.dead.remove(offset);
            self.note(&Record::Dropped { dead: offset });
            count += 1;
        }
        self.counts.discarded += count;
        count
    }

    /// The counts that concern messages in the queue.
    pub(crate) fn ledger(&self) -> Ledger {
        Ledger { ready: self.ready(), leased: self.leases.leased(), dead: self.dead.len(), ..self.counts }
    }

    /// Counts its starts, SEEKs among them.
    pub(crate) fn boot(&self) -> u64 {
        self.boot
    }

    /// The journal, if there is a log.
    pub(crate) fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// The journal, if there is a log.
    pub(crate) fn journal_mut(&mut self) -> Option<&mut Journal> {
        self.journal.as_mut()
    }

    /// From now on it writes down what happens.
    pub(crate) fn begin_journal(&mut self, journal: Journal) {
        self.journal = Some(journal);
    }

    /// Whether the last SEEK is not durable yet. Until it is nothing is handed out, or it would be in a boot and a generation
    /// that a loss of power takes back.
    pub(crate) fn is_rewinding(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.durable() < self.rewound)
    }

    /// Whether something waits for room on the log's disk.
    pub(crate) fn wants_room(&self) -> bool {
        self.wants_room
    }

    /// The disk is asked for room now.
    pub(crate) fn asks_for_room(&mut self) {
        self.wants_room = false;
    }

    /// The offset of the next message that comes.
    pub(crate) fn next(&self) -> u64 {
        self.store.next()
    }

    /// What went through since the last look.
    pub(crate) fn take_flow(&mut self) -> Flow {
        std::mem::take(&mut self.flow)
    }

    /// What the messages cost that are ready or leased.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes + self.left_out_bytes
    }

    /// Bytes of the segments that hold messages.
    pub(crate) fn memory(&self) -> u64 {
        self.store.segments() * SEGMENT_BYTES as u64
    }

    /// Bytes of the dead letters.
    pub(crate) fn dead_bytes(&self) -> u64 {
        self.dead.bytes()
    }

    /// From the low water to the first fresh message.
    pub(crate) fn window(&self) -> u64 {
        self.leases.fresh() - self.leases.low_water()
    }

    /// How long the oldest message that is ready has been here.
    pub(crate) fn oldest_ready(&self, now: Now) -> Duration {
        let fresh = (self.leases.fresh() < self.store.next()).then(|| self.leases.fresh());
        let oldest = self.leases.first_ready().map(|(first, _)| first).or(fresh);
        oldest.map_or(Duration::ZERO, |offset| self.waited(now, offset))
    }

    /// Recounts everything.
    pub(crate) fn check(&self) {
        self.leases.check();
        self.dead.check();
        assert!(self.ledger().balances(), "{:?}", self.ledger());
        let fresh = (self.leases.fresh(), self.store.loaded());
        let mut wanted = self.wanted();
        let open_bytes: u64 = wanted.iter().map(|(first, last)| self.store.cost(*first, *last)).sum();
        let fresh_bytes: u64 = (fresh.0..fresh.1).map(|offset| self.store.cost(offset, offset)).sum();
        assert_eq!(self.open_bytes, open_bytes);
        let behind: Vec<(u64, u64)> = self.store.behind_left_out().collect();
        let behind_bytes: u64 = behind.iter().map(|(first, last)| self.store.cost(*first, *last)).sum();
        assert_eq!(self.bytes, open_bytes + fresh_bytes + behind_bytes);
        if fresh.0 < fresh.1 {
            wanted.push((fresh.0, fresh.1 - 1));
        }
        wanted.extend(behind);
        let mut covered = 0;
        for (first, last, live) in self.store.lives() {
            let within = wanted.iter().filter(|(from, to)| *from <= last && *to >= first);
            let count: u64 = within.map(|(from, to)| to.min(&last) - from.max(&first) + 1).sum();
            assert_eq!(live, count, "segment from {first}");
            covered += count;
        }
        let wanted: u64 = wanted.iter().map(|(first, last)| last - first + 1).sum();
        assert_eq!(covered, wanted, "what is wanted is stored");
        if self.store.loaded() == self.store.next() {
            assert_eq!(covered, self.ready() + self.leases.leased());
        }
        assert!(self.dead.len() + self.ready() == 0 || self.store.next() > 0);
    }
}

/// How long a message rests after so many failures.
fn back_off(failures: u64) -> Duration {
    match failures.checked_sub(2).map(u32::try_from) {
        None => Duration::ZERO,
        Some(doublings) => {
            let factor = 2_u32.saturating_pow(doublings.unwrap_or(u32::MAX));
            BACK_OFF.0.saturating_mul(factor).min(BACK_OFF.1)
        }
    }
}
