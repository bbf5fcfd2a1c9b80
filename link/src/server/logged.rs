//! A queue with a log: how it comes back from it, what is written when, and the past read again.
//!
//! The log itself is outside: [`Server::poll_commit`] gives what is to be written and read, [`Server::handle_committed`] takes
//! what came of it. Between the two nothing is said that depends on it.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use machine::Now;
use protocol::{
    DATAGRAM_BYTES_MAX,
    link::{Durability, Place},
};
use serde::{Deserialize, Serialize};
use wal::{Chunk, Commit, Committed, Entry, Found, From, Read};

use super::{
    BadRecord, Fault, Intake, OS_LEVEL, Reply, Server, ServerLimits, frames,
    intake::IntakeState,
    journal::{self, Journal, micros},
    queue::{LoadFrom, Queue, QueueState},
    records::Record,
};

/// How many bytes of the log are read at a time, for messages to be delivered.
const LOAD_BYTES: usize = 4 << 20;

/// How many bytes of the log are read for one answer to READ.
const READ_BYTES: usize = 192 << 10;

/// How many requests to READ or SEEK may wait. A client sends again what is not answered.
const ASKED_MAX: usize = 256;

/// How many of them are served at a time.
const ASKED_AT_A_TIME: usize = 16;

/// A log that has nothing to write is still asked so often whether something may go by its age.
const TRIM_EVERY: Duration = Duration::from_mins(1);

/// So often if something waits for room on its disk; the log asks the disk no more often.
const ASK_FOR_ROOM_EVERY: Duration = Duration::from_secs(1);

/// At the level of the operating system the log syncs with the first commit a second after the last sync: so long after the
/// last record there is one.
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// The id of a read for messages to be delivered; those for clients count from 1.
const LOAD: u64 = 0;

/// What of a PAST is no frames.
const PAST_FIELDS_BYTES_MAX: usize = 256;

#[derive(Debug, Serialize, Deserialize)]
struct State<'a> {
    #[serde(borrow)]
    queue: QueueState<'a>,
    intake: IntakeState,
}

/// A queue that comes back from its log, record by record.
#[derive(Debug)]
pub struct Recovery {
    limits: ServerLimits,
    level: Durability,
    fault: Option<Fault>,
    queue: Queue,
    intake: Intake,
    /// Whether a part of the log was set aside, and no start is known of since.
    has_lost: bool,
}

impl Recovery {
    /// Nothing has been played yet.
    pub fn new(limits: ServerLimits, level: Durability, fault: Option<Fault>) -> Self {
        Self {
            limits,
            level,
            fault,
            queue: Queue::new(0, 0, limits, fault),
            intake: Intake::with_fault(0, limits.producers_max, level, fault),
            has_lost: false,
        }
    }

    /// Plays what the log has.
    ///
    /// # Errors
    /// When it is nothing that this version writes.
    pub fn replay(&mut self, entry: &Entry<'_>) -> Result<(), BadRecord> {
        match *entry {
            Entry::Snapshot(bytes) => {
                let unknown = |error| BadRecord(format!("no snapshot of this version: {error}"));
                let (state, rest) = postcard::take_from_bytes::<State<'_>>(bytes).map_err(unknown)?;
                let eras = if rest.is_empty() { None } else { Some(postcard::from_bytes(rest).map_err(unknown)?) };
                self.queue.restore(&state.queue, eras);
                self.intake.restore(&state.intake);
            }
            Entry::Record { messages, bytes, .. } => {
                let (record, tail) = Record::read(bytes)?;
                self.has_lost &= !matches!(record, Record::Started { .. });
                self.queue.replay(u64::from(messages), &record, tail)?;
                self.intake.replay(u64::from(messages), &record, tail)?;
            }
            Entry::Lost { first, next } => {
                self.has_lost = true;
                self.queue.replay_lost(first, next);
            }
        }
        Ok(())
    }

    /// All has been played. `machine_boot` names this start of the machine.
    pub fn finish(self, machine_boot: u128, opened: &wal::Opened) -> Server {
        let Self { limits, level, fault, mut queue, mut intake, has_lost } = self;
        let node = opened.node;
        let boot = if fault == Some(Fault::SameBoot) { 1 } else { opened.boot };
        // Offsets may have been given that nobody knows of any more; they are not to be taken for those that are given now.
        // What is known stays in its generation.
        let anew = has_lost.then(|| Record::Rewound { to: queue.next() });
        if let Some(record) = &anew {
            let replayed = queue.replay(0, record, &[]);
            debug_assert!(replayed.is_ok(), "it is always possible to deliver nothing again");
        }
        queue.end_replay(node, boot);
        let boot = queue.boot();
        intake.end_replay(boot);
        let mut journal = Journal::new(level, queue.extent(), opened.room);
        let level = if level == Durability::Os { OS_LEVEL } else { 0 };
        if let Some(record) = &anew {
            journal.push(0, record, &[]);
        }
        let started = Record::Started { level, machine_boot };
        journal.push(0, &started, &[]);
        let replayed = queue.replay(0, &started, &[]);
        debug_assert!(replayed.is_ok(), "a start is always possible");
        queue.begin_journal(journal);
        let log = Log { kept_from: opened.kept_from, ..Log::default() };
        Server { intake, queue, log, ..Server::with_fault(node, boot, limits, fault) }
    }
}

/// What a server knows of its log.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The oldest message that is kept.
    kept_from: u64,
    kept_bytes: u64,
    wants_snapshot: bool,
    /// Used again for records.
    room: Vec<u8>,
    /// READs and SEEKs that wait for the log.
    asked: VecDeque<Asked>,
    /// Those that are being read for, by the id of their read, less one.
    reading: Vec<Asked>,
    trimmed: Duration,
    /// Whether it may not have been synced since.
    is_unsynced: bool,
    /// Who asked for the last SEEK with which token, and its answer.
    last_seek: Option<((SocketAddr, u64), u64)>,
    closing: Closing,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Closing {
    #[default]
    Open,
    Wanted,
    UnderWay,
    Closed,
}

/// A request to READ or SEEK.
#[derive(Debug, Clone, Copy)]
struct Asked {
    to: SocketAddr,
    token: u64,
    from: Place,
    what: AskedFor,
}

#[derive(Debug, Clone, Copy)]
enum AskedFor {
    Read { messages_max: u64, bytes_max: u64 },
    Seek,
}

impl Server {
    /// What is to be written and read now; nothing while the last one is under way. Its result is for
    /// [`handle_committed`](Self::handle_committed).
    pub fn poll_commit(&mut self, now: Now) -> Option<Commit> {
        let journal = self.queue.journal()?;
        if journal.is_under_way() || self.log.closing == Closing::Closed {
            return None;
        }
        let loads = self.queue.poll_load();
        let is_due = self.queue.journal().is_some_and(Journal::is_due);
        let trims = self.log_timeout().is_some_and(|at| now.since_start >= at);
        let closes = self.log.closing == Closing::Wanted;
        // A SEEK is not to be forgotten, whatever the level: what is told after it is told in its boot.
        let for_good = closes || self.queue.is_rewinding();
        if !is_due && loads.is_none() && self.log.asked.is_empty() && !self.log.wants_snapshot && !trims && !closes {
            return None;
        }
        let mut reads = Vec::new();
        if let Some(from) = loads {
            let from = match from {
                LoadFrom::Position(position) => From::Position(position),
                LoadFrom::Offset(offset) => From::Offset(offset),
            };
            reads.push(Read { id: LOAD, from, bytes_max: LOAD_BYTES });
        }
        let served = self.log.asked.len().min(ASKED_AT_A_TIME);
        self.log.reading = self.log.asked.drain(..served).collect();
        reads.extend((1..).zip(&self.log.reading).map(|(id, asked)| {
            let from = match asked.from {
                Place::Offset(offset) => From::Offset(offset),
                Place::Time(us) => From::Time(us),
            };
            Read { id, from, bytes_max: READ_BYTES }
        }));
        let snapshot = std::mem::take(&mut self.log.wants_snapshot).then(|| self.snapshot());
        let reserve = journal::reserve(self.queue.ready() + self.queue.ledger().leased);
        let extent = self.queue.extent();
        let room = std::mem::take(&mut self.log.room);
        let records = self.queue.journal_mut()?.take(extent, room);
        self.log.is_unsynced = self.level() == Durability::Os && !records.is_empty();
        self.log.trimmed = now.since_start;
        self.queue.asks_for_room();
        if closes {
            self.log.closing = Closing::UnderWay;
        }
        let at_us = micros(now.since_epoch);
        Some(Commit { records, at_us, snapshot, low_water: extent.low_water, reserve, reads, for_good })
    }

    /// What a full disk refused, with all that has happened since. It has a snapshot, because only so the log reaches the room
    /// that it keeps for its next segment.
    pub fn poll_commit_again(&mut self, now: Now, mut commit: Commit) -> Commit {
        let extent = self.queue.extent();
        if let Some(journal) = self.queue.journal_mut() {
            commit.records.append(&mut journal.take(extent, Vec::new()));
        }
        commit.snapshot = Some(self.snapshot());
        commit.at_us = micros(now.since_epoch);
        commit.low_water = extent.low_water;
        commit.for_good |= self.queue.is_rewinding();
        commit
    }

    fn snapshot(&self) -> Vec<u8> {
        let state = State { queue: self.queue.state(), intake: self.intake.state() };
        let written = postcard::to_stdvec(&(state, self.queue.eras()));
        debug_assert!(written.is_ok(), "a Vec takes everything");
        written.unwrap_or_default()
    }

    /// What [`poll_commit`](Self::poll_commit) gave is in the log, at its level.
    ///
    /// # Errors
    /// When what was read from the log cannot be: the node cannot go on.
    pub fn handle_committed(&mut self, now: Now, committed: Committed) -> Result<(), LogDamaged> {
        let Committed { records, end, room, kept_from, kept_bytes, wants_snapshot, reads, .. } = committed;
        if let Some(journal) = self.queue.journal_mut() {
            journal.written(room);
        }
        if self.log.closing == Closing::UnderWay {
            self.log.closing = Closing::Closed;
        }
        self.log.room = records;
        (self.log.kept_from, self.log.kept_bytes, self.log.wants_snapshot) = (kept_from, kept_bytes, wants_snapshot);
        for chunk in reads {
            match usize::try_from(chunk.id).ok().and_then(|id| id.checked_sub(1)) {
                None => self.load(now, &chunk, end)?,
                Some(n) => {
                    if let Some(asked) = self.log.reading.get(n).copied() {
                        self.answer_asked(asked, &chunk)?;
                    }
                }
            }
        }
        self.log.reading.clear();
        self.release();
        Ok(())
    }

    fn load(&mut self, now: Now, chunk: &Chunk, end: u64) -> Result<(), LogDamaged> {
        let (records, first_offset) = match &chunk.found {
            Found::Records { records, first_offset, position, next, lost, .. } => {
                if !self.queue.begin_load(*position, *next, end) {
                    return Ok(());
                }
                if let Some((first, next)) = *lost {
                    self.queue.lose(first, next);
                }
                (records, *first_offset)
            }
            Found::Gone { oldest } => {
                return Err(LogDamaged(format!("messages below {oldest} are wanted, and gone")));
            }
            Found::Damaged { what } => return Err(LogDamaged(what.clone())),
        };
        let mut offset = first_offset;
        for frame in wal::Frames::new(records).filter(|frame| frame.messages > 0) {
            let (record, tail) = Record::read(frame.bytes).map_err(|error| LogDamaged(error.0))?;
            let messages = u64::from(frame.messages);
            self.queue.load(now, (offset, messages), &record, tail).map_err(|error| LogDamaged(error.0))?;
            offset += messages;
        }
        Ok(())
    }

    /// READ: answered at once where the log need not be read.
    pub(super) fn read(&mut self, to: SocketAddr, token: u64, from: Place, messages_max: u64, bytes_max: u64) {
        self.ask_log(Asked { to, token, from, what: AskedFor::Read { messages_max, bytes_max } });
    }

    /// SEEK: done once, though it come again.
    pub(super) fn seek(&mut self, to: SocketAddr, token: u64, from: Place) {
        if let Some((last, count)) = self.log.last_seek
            && last == (to, token)
        {
            return self.answer(to, token, Reply::Done { letters: Vec::new(), count, body: Vec::new() });
        }
        self.ask_log(Asked { to, token, from, what: AskedFor::Seek });
    }

    fn ask_log(&mut self, asked: Asked) {
        let end = self.queue.journal().map_or(self.queue.next(), Journal::durable_next);
        let Asked { to, token, from, what } = asked;
        match from {
            _ if self.queue.journal().is_none() => self.answer_at(0, to, token, Reply::Gone { oldest: end, end }),
            Place::Offset(offset) if offset < self.log.kept_from => {
                self.answer_at(0, to, token, Reply::Gone { oldest: self.log.kept_from, end });
            }
            Place::Offset(offset) => match what {
                // What is being written may take away what lies there.
                AskedFor::Seek if self.queue.journal().is_some_and(Journal::is_under_way) => self.wait_for_log(asked),
                AskedFor::Seek => self.rewind(to, token, offset),
                AskedFor::Read { .. } if offset >= end => self.answer_at(0, to, token, Reply::nothing_yet(end)),
                AskedFor::Read { .. } => self.wait_for_log(asked),
            },
            Place::Time(_) => self.wait_for_log(asked),
        }
    }

    fn wait_for_log(&mut self, asked: Asked) {
        if self.log.asked.len() < ASKED_MAX {
            self.log.asked.push_back(asked);
        }
    }

    fn rewind(&mut self, to: SocketAddr, token: u64, offset: u64) {
        let from = offset.min(self.queue.next());
        if let Some(journal) = self.queue.journal_mut() {
            journal.push(0, &Record::Rewound { to: from }, &[]);
        }
        let count = self.queue.rewind(from);
        self.log.last_seek = Some(((to, token), count));
        tracing::info!("Rewound to offset {from}: {count} messages will be delivered again");
        // As after a start: nobody holds a lease of this boot, and who waited asks again.
        self.sessions = super::Sessions::default();
        self.parked = super::Parked::default();
        self.given_back.clear();
        self.answer(to, token, Reply::Done { letters: Vec::new(), count, body: Vec::new() });
    }

    fn answer_asked(&mut self, asked: Asked, chunk: &Chunk) -> Result<(), LogDamaged> {
        let end = self.queue.journal().map_or(0, Journal::durable_next);
        let Asked { to, token, from, what } = asked;
        let (records, first_offset) = match &chunk.found {
            Found::Records { records, first_offset, .. } => (records, *first_offset),
            Found::Gone { oldest } => {
                self.answer_at(0, to, token, Reply::Gone { oldest: *oldest, end });
                return Ok(());
            }
            Found::Damaged { what } => {
                // Nothing that must be delivered: the queue goes on, and who asked hears nothing.
                tracing::error!("A READ or SEEK met damage in the log: {what}");
                return Ok(());
            }
        };
        let (messages_max, bytes_max) = match what {
            AskedFor::Read { messages_max, bytes_max } => (messages_max.max(1), bytes_max),
            AskedFor::Seek => (1, 0),
        };
        let datagram = self.limits.datagram_bytes_max.min(DATAGRAM_BYTES_MAX) - PAST_FIELDS_BYTES_MAX;
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(datagram);
        let past = find_past(records, first_offset, from, (messages_max, bytes_max), end)?;
        match (what, past) {
            (AskedFor::Read { .. }, past) => {
                self.answer_at(0, to, token, past.map_or(Reply::nothing_yet(end), |past| Reply::Past { past, end }));
            }
            // It came twice before its turn.
            (AskedFor::Seek, _)
                if let Some((last, count)) = self.log.last_seek
                    && last == (to, token) =>
            {
                self.answer(to, token, Reply::Done { letters: Vec::new(), count, body: Vec::new() });
            }
            (AskedFor::Seek, Some(past)) => self.rewind(to, token, past.first),
            (AskedFor::Seek, None) => self.rewind(to, token, end),
        }
        Ok(())
    }

    /// Answers whose changes are durable may leave.
    fn release(&mut self) {
        let durable = self.durable();
        if !self.queue.is_rewinding() {
            self.boot = self.queue.boot();
        }
        while let Some(gated) = self.gated.pop_front_if(|(gate, ..)| *gate <= durable) {
            let (_, to, token, reply) = gated;
            self.answers.push_back((to, token, reply));
        }
        while let Some((_, count)) = self.intake_gates.pop_front_if(|(gate, _)| *gate <= durable) {
            self.intake_free += count;
            self.intake_gated -= count;
        }
    }

    /// The place in the journal behind all that has happened. What is answered of it waits until it is
    /// [`durable`](Self::durable). Always 0 without a log.
    pub fn made(&self) -> u64 {
        self.queue.journal().map_or(0, Journal::made)
    }

    /// All that happened before this place in the journal is durable.
    pub fn durable(&self) -> u64 {
        match self.queue.journal() {
            Some(journal) if self.fault != Some(Fault::AnswersEarly) => journal.durable(),
            _ => u64::MAX,
        }
    }

    /// Nothing new is to come: the log is closed with the next [`poll_commit`](Self::poll_commit).
    pub fn close(&mut self) {
        if self.queue.journal().is_some() && self.log.closing == Closing::Open {
            self.log.closing = Closing::Wanted;
        }
    }

    /// Whether the log is closed, or there is none.
    pub fn is_closed(&self) -> bool {
        self.queue.journal().is_none() || self.log.closing == Closing::Closed
    }

    /// When the log is to be asked next without any other reason; not while it works.
    pub(super) fn log_timeout(&self) -> Option<Duration> {
        let every = match (self.queue.wants_room(), self.log.is_unsynced) {
            (true, _) => ASK_FOR_ROOM_EVERY,
            (false, true) => SYNC_AFTER,
            (false, false) => TRIM_EVERY,
        };
        let rests = self.queue.journal().is_some_and(|journal| !journal.is_under_way()) && !self.is_closed();
        rests.then(|| self.log.trimmed + every)
    }

    pub(super) fn log_gauges(&self, gauges: &mut super::Gauges) {
        if let Some(journal) = self.queue.journal() {
            gauges.kept_bytes = self.log.kept_bytes;
            gauges.kept_from = self.log.kept_from;
            gauges.disk_room = journal.spare(self.queue.ready() + self.queue.ledger().leased);
        }
    }
}

/// What the log gave cannot be what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LogDamaged(String);

/// Messages for a READ.
#[derive(Debug)]
pub(super) struct PastFrames {
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) next: u64,
    pub(super) origin_us: u64,
    pub(super) at_us: u64,
    pub(super) frames: Vec<u8>,
}

/// The messages at or behind a place, so many that lie one behind another.
fn find_past(
    records: &[u8],
    mut offset: u64,
    from: Place,
    (messages_max, bytes_max): (u64, usize),
    end: u64,
) -> Result<Option<PastFrames>, LogDamaged> {
    let mut past: Option<PastFrames> = None;
    let mut starts = Vec::new();
    for frame in wal::Frames::new(records) {
        let messages = u64::from(frame.messages);
        let first = offset;
        offset += messages;
        if messages == 0 || offset > end {
            continue;
        }
        let (record, tail) = Record::read(frame.bytes).map_err(|error| LogDamaged(error.0))?;
        let (at_us, origin_us, ids) = match record {
            Record::Messages { at_us, origin_us, source } => {
                (at_us, origin_us, source.and_then(|source| source.derived).map_or(0, |derived| derived.ids_bytes))
            }
            Record::Requeued { at_us, origin_us, .. } => (at_us, origin_us, 0),
            _ => continue,
        };
        let skip = match from {
            Place::Offset(from) if offset <= from => continue,
            Place::Offset(from) => from.saturating_sub(first),
            Place::Time(us) if at_us < us && past.is_none() => continue,
            Place::Time(_) => 0,
        };
        let frames = tail.get(ids..).unwrap_or_default();
        if !frames::find(frames, messages, &mut starts) {
            return Err(LogDamaged(format!("no {messages} messages at offset {first}")));
        }
        let run = super::Run::new(frames, &starts, 0, None);
        let frames = (first..).zip(run.each_frame()).skip(usize::try_from(skip).unwrap_or(usize::MAX));
        for (offset, frame) in frames {
            if frame.len() > DATAGRAM_BYTES_MAX - PAST_FIELDS_BYTES_MAX {
                // A PUT brought it, and no answer can.
                let (first, frames) = (offset + 1, Vec::new());
                return Ok(past.or(Some(PastFrames { first, count: 0, next: first, origin_us, at_us, frames })));
            }
            let past = past.get_or_insert(PastFrames {
                first: offset,
                count: 0,
                next: offset,
                origin_us,
                at_us,
                frames: Vec::new(),
            });
            if past.count > 0 && (past.count >= messages_max || past.frames.len() + frame.len() > bytes_max) {
                return Ok(Some(std::mem::replace(past, PastFrames { frames: Vec::new(), ..*past })));
            }
            past.frames.extend_from_slice(frame);
            past.count += 1;
            past.next = offset + 1;
        }
    }
    Ok(past)
}
