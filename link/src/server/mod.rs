//! The server's end of the link: producers' batches come in, consumers lease them and finish them.
//!
//! [`Server`] is a whole queue in memory, for the verbs of the link and those of 2016 alike; [`Intake`] is its producers'
//! side alone, for a sink. Both are machines' logic: requests and time go in, answers and a deadline come out.
//!
//! A batch is stored as it arrived and handed out as a slice of what is stored; states are kept as ranges of offsets. What
//! is done a message is to read its length, once.
//!
//! Request → answer: [`Server::handle`] takes one [`Ask`], [`Server::poll_answer`] gives the answers, those to requests that
//! wait for a message among them. `docs/protocol.md`, section 7, is the specification.

mod dead;
mod derived;
mod describe;
mod faults;
mod frames;
mod intake;
mod journal;
mod leases;
mod ledger;
mod logged;
mod parked;
mod queue;
mod records;
mod sessions;
mod settled;
mod store;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use machine::{LogLimit, Now};
use protocol::{
    DATAGRAM_BYTES_MAX, TEXT_BYTES_MAX, frame,
    link::{
        Answer, Ask, DELIVERIES_A_REQUEST_MAX, DeadDo, Deq, Durability, GiveBack, Lease, MESSAGE_BYTES_MAX, Msg, Past,
        Welcome, finishes,
    },
};

pub use self::{
    describe::{Field, RecordText, describe},
    faults::Fault,
    frames::Run,
    intake::{Full, Intake, IntakeCounts, Shelf},
    ledger::{Flow, Gauges, Ledger, stat},
    logged::{LogDamaged, Recovery},
    queue::{Popped, Refused},
    records::BadRecord,
};
use self::{
    logged::{Log, PastFrames},
    parked::{Parked, Waiting},
    queue::{Queue, Verdict, Want},
    sessions::{Delivery, Sessions},
};

/// The boot of a node in memory: it starts once, and what it has ends with it. Drawn with the node, so that neither a lease
/// nor an epoch of the process before names anything here.
pub fn boot_in_memory(node: u64) -> u64 {
    (node >> 32).max(1)
}

/// How the level `os` is written down; 0 stands for all that survive the machine's power, or nothing.
const OS_LEVEL: u8 = 1;

/// What a MSG has beside letters and frames, its frame's header included: 5 and at most 239 bytes.
const MSG_FIELDS_BYTES_MAX: usize = 256;

/// What the answer to a DEAD has beside its body, likewise.
const DONE_FIELDS_BYTES_MAX: usize = 128;

/// A DEQ waits at most so long.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// A lease is as long as is asked, within these bounds.
const LEASE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_hours(1));

/// How long a message may be told to rest when it is given back.
const DELAY_MAX: Duration = Duration::from_hours(1);

/// So many answers to what was done with dead letters are remembered, so that it is not done twice.
const DEAD_ANSWERS_MAX: usize = 64;

/// So many leases that were given back are remembered with who asked for it, so that its answer is the same when it asks
/// again.
const GIVEN_BACK_MAX: usize = 1_024;

/// The longest frame that can be leased. A PUT may bring a longer one.
const LEASED_FRAME_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - MSG_FIELDS_BYTES_MAX;

// A message of an ENQ can always go out in a MSG of a request that finishes nothing.
const _: () = assert!(MESSAGE_BYTES_MAX + 5 <= LEASED_FRAME_BYTES_MAX);

/// What a server holds at the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// How many messages may be ready or leased. Beside what was handed out, workers may put in twice as many.
    pub messages_max: u64,
    /// How many bytes these may have, each message as a frame with 64 bytes of overhead. Memory is bounded by thrice that
    /// and 8 MiB. With less than [`BYTES_MAX_LEAST`](Self::BYTES_MAX_LEAST) a long message never finds room.
    pub bytes_max: u64,
    /// How many producers may be live.
    pub producers_max: u64,
    /// The largest datagram to send, unless a single message makes a larger one.
    pub datagram_bytes_max: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            messages_max: 10_000_000,
            bytes_max: 1 << 30,
            producers_max: 10_000,
            datagram_bytes_max: DATAGRAM_BYTES_MAX,
        }
    }
}

impl ServerLimits {
    /// The least [`bytes_max`](Self::bytes_max) with which every message finds room in an empty queue.
    pub const BYTES_MAX_LEAST: u64 = TEXT_BYTES_MAX as u64 + store::MESSAGE_OVERHEAD_BYTES;

    /// How many messages of one datagram find room in an empty queue, however long they are.
    fn batch_messages_max(&self) -> u64 {
        let by_bytes = self.bytes_max.saturating_sub(TEXT_BYTES_MAX as u64) / store::MESSAGE_OVERHEAD_BYTES;
        self.messages_max.min(by_bytes).max(1)
    }
}

/// A queue, in memory or with a log.
#[derive(Debug)]
pub struct Server {
    node: u64,
    boot: u64,
    limits: ServerLimits,
    intake: Intake,
    queue: Queue,
    sessions: Sessions,
    parked: Parked,
    answers: VecDeque<(SocketAddr, u64, Reply)>,
    /// Answers that wait until what they say is durable, each with its place in the journal, the lowest first.
    gated: VecDeque<(u64, SocketAddr, u64, Reply)>,
    /// Of the intake's answers so many wait likewise.
    intake_gates: VecDeque<(u64, usize)>,
    /// How many that are in all.
    intake_gated: usize,
    /// Of the intake's answers so many may leave.
    intake_free: usize,
    log: Log,
    fault: Option<Fault>,
    dead_answers: VecDeque<(DeadAsked, u64)>,
    given_back: VecDeque<(SocketAddr, u64, Lease)>,
    counts: Counts,
    /// Kept for its room.
    framed: Vec<u8>,
    full_limit: LogLimit,
}

/// Who asked with which token for what to be done with dead letters, from which offset on, with how many.
type DeadAsked = (SocketAddr, u64, DeadDo, u64, u64);

#[derive(Debug, Default)]
struct Counts {
    other_finishes: u64,
    unknown_leases: u64,
    nones: u64,
    refused_parked: u64,
}

#[derive(Debug)]
enum Reply {
    Msg { delivery: u64, lease: Lease, letters: Vec<u8> },
    None { delivery: u64, ended: bool, letters: Vec<u8> },
    Done { letters: Vec<u8>, count: u64, body: Vec<u8> },
    Past { past: PastFrames, end: u64 },
    Gone { oldest: u64, end: u64 },
}

impl Reply {
    /// To a READ of what is still to come.
    fn nothing_yet(end: u64) -> Self {
        let past = PastFrames { first: end, count: 0, next: end, origin_us: 0, at_us: 0, frames: Vec::new() };
        Self::Past { past, end }
    }
}

impl Server {
    /// An empty queue. `node` names its messages' home: another one whenever they are lost; `boot` counts its starts.
    pub fn new(node: u64, boot: u64, limits: ServerLimits) -> Self {
        Self::with_fault(node, boot, limits, None)
    }

    /// With a planted fault, for tests.
    #[doc(hidden)]
    pub fn with_fault(node: u64, boot: u64, limits: ServerLimits, fault: Option<Fault>) -> Self {
        Self {
            node,
            boot,
            limits,
            intake: Intake::with_fault(boot, limits.producers_max, Durability::Memory, fault),
            queue: Queue::new(node, boot, limits, fault),
            sessions: Sessions::default(),
            parked: Parked::default(),
            answers: VecDeque::new(),
            gated: VecDeque::new(),
            intake_gates: VecDeque::new(),
            intake_gated: 0,
            intake_free: 0,
            log: Log::default(),
            fault,
            dead_answers: VecDeque::new(),
            given_back: VecDeque::new(),
            counts: Counts::default(),
            framed: Vec::new(),
            full_limit: LogLimit::default(),
        }
    }

    /// Its messages' home.
    pub fn node(&self) -> u64 {
        self.node
    }

    /// Counts its starts, and what is like a start.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Below this offset no message is unfinished.
    pub fn low_water(&self) -> u64 {
        self.queue.low_water()
    }

    /// What to answer to a `SIZE` that asks for the link.
    pub fn welcome(&self) -> Welcome {
        Welcome {
            size: self.ready(),
            node: self.node,
            boot: self.boot,
            datagram_bytes_max: self.limits.datagram_bytes_max as u64,
            level: self.level(),
            credit: self.queue.credit(),
            batch_messages_max: self.limits.batch_messages_max(),
        }
    }

    fn level(&self) -> Durability {
        self.queue.journal().map_or(Durability::Memory, |journal| journal.level)
    }

    /// Appends one message, for a PUT. It is taken once it is durable: see [`made`](Self::made).
    ///
    /// # Errors
    /// [`Refused`] where there is no room; also for a message that fits in no datagram.
    pub fn put(&mut self, now: Now, message: &[u8]) -> Result<(), Refused> {
        self.framed.clear();
        frame::push(message, &mut self.framed).map_err(|_| Refused::Bytes)?;
        let origin_us = u64::try_from(now.since_epoch.as_micros()).unwrap_or(u64::MAX);
        self.queue.append(now, &Run::new(&self.framed, &[0], origin_us, None))
    }

    /// Takes the first message away, for a GET: appended to `out` as one frame, as it came.
    pub fn pop(&mut self, now: Now, out: &mut Vec<u8>) -> Option<Popped> {
        self.queue.pop(now, out)
    }

    /// How many messages are ready, those that rest after a failure among them.
    pub fn ready(&self) -> u64 {
        self.queue.ready()
    }

    /// Takes one request in. `STAT` is the node's to answer, with [`stat`]: it counts datagrams that no server sees.
    pub fn handle(&mut self, now: Now, from: SocketAddr, token: u64, ask: &Ask<'_>) {
        match ask {
            Ask::Open { .. } | Ask::End(_) | Ask::Enq(_) => self.take_in(now, from, token, ask),
            Ask::Deq(deq) => self.deq(now, from, token, deq),
            Ask::Ack { finished } => {
                let letters = self.finish(finished);
                self.answer(from, token, Reply::Done { letters, count: 0, body: Vec::new() });
            }
            Ask::Nak { leases, how, delay_ms, reasons } => {
                let given = (*leases, *how, Duration::from_millis(*delay_ms), *reasons);
                let letters = self.give_back(now, (from, token), given);
                self.answer(from, token, Reply::Done { letters, count: 0, body: Vec::new() });
            }
            Ask::Touch { leases, lease_ms } => {
                let longer = lease_time(*lease_ms);
                let letters = held_letters(leases, |lease| self.queue.touch(now, lease, longer));
                self.answer(from, token, Reply::Done { letters, count: 0, body: Vec::new() });
            }
            Ask::Dead { what, from: first, max } => self.dead(now, (from, token, *what, *first, *max)),
            Ask::Read { from: place, messages_max, bytes_max } => {
                self.read(from, token, *place, *messages_max, *bytes_max);
            }
            Ask::Seek { to } => self.seek(from, token, *to),
            Ask::Stat => {}
        }
    }

    fn take_in(&mut self, now: Now, from: SocketAddr, token: u64, ask: &Ask<'_>) {
        let duplicates = self.intake.counts().duplicates;
        let Self { intake, queue, limits, full_limit, .. } = self;
        intake.handle(now, from, token, ask, &mut QueueShelf { now, from, queue, limits, full_limit });
        let new = self.intake.answers() - self.intake_free - self.intake_gated;
        let early = self.fault == Some(Fault::ConfirmsDuplicatesEarly) && self.intake.counts().duplicates > duplicates;
        if self.made() <= self.durable() || early {
            self.intake_free += new;
        } else {
            self.intake_gates.push_back((self.made(), new));
            self.intake_gated += new;
        }
    }

    fn deq(&mut self, now: Now, to: SocketAddr, token: u64, deq: &Deq<'_>) {
        // Who waits comes first, whenever answers are taken out; and a request that waits must not get another batch
        // than the same request that comes again.
        self.serve_parked(now);
        let mut letters = self.finish(deq.finished);
        // What is said of finishes waits until they are durable, and what is said beside it stays in its order.
        let gate = if letters.is_empty() { 0 } else { self.made() };
        let Deq { session, delivery: first, deliveries, open_from, .. } = *deq;
        self.parked.drop_below(session, open_from);
        let more = deliveries.clamp(1, DELIVERIES_A_REQUEST_MAX) - 1;
        for delivery in first..=first.saturating_add(more) {
            self.deliver(now, (to, token, gate), deq, delivery, std::mem::take(&mut letters));
        }
    }

    /// Gives what a request asks for as this delivery, or lets it wait. What became of its finishes rides along.
    fn deliver(&mut self, now: Now, asked: (SocketAddr, u64, u64), deq: &Deq<'_>, delivery: u64, letters: Vec<u8>) {
        let (to, token, gate) = asked;
        let Deq { session, open_from, messages_max, bytes_max, .. } = *deq;
        match self.sessions.hear(now, session, open_from).delivery(delivery) {
            Delivery::Closed => self.answer_at(gate, to, token, Reply::None { delivery, ended: true, letters }),
            Delivery::Given(lease) => {
                // The answer was lost, and the consumer lives: its time begins now.
                self.queue.touch(now, lease, lease_time(deq.lease_ms));
                let reply = match self.queue.still_leased(lease) {
                    Some(lease) => Reply::Msg { delivery, lease, letters },
                    None => Reply::None { delivery, ended: true, letters },
                };
                self.answer_at(gate, to, token, reply);
            }
            Delivery::New => {
                let lease = lease_time(deq.lease_ms);
                let request = Waiting { to, token, session, delivery, messages_max, bytes_max, lease, letters, gate };
                let wait = Duration::from_millis(deq.wait_ms).min(WAIT_MAX);
                self.give_or_park(now, request, wait);
            }
        }
    }

    fn give_or_park(&mut self, now: Now, request: Waiting, wait: Duration) {
        let Err(request) = self.give(now, request) else { return };
        if wait.is_zero() || request.messages_max == 0 {
            return self.answer_none(request);
        }
        if let Err(request) = self.parked.park(request, now.since_start + wait) {
            self.counts.refused_parked += 1;
            self.answer_none(request);
        }
    }

    /// Answers a request with messages; gives it back if there are none.
    fn give(&mut self, now: Now, request: Waiting) -> Result<(), Waiting> {
        let letters = request.letters.len();
        let datagram = self.limits.datagram_bytes_max.saturating_sub(MSG_FIELDS_BYTES_MAX + letters);
        let asked = usize::try_from(request.bytes_max).unwrap_or(usize::MAX);
        let room_max = LEASED_FRAME_BYTES_MAX;
        let room = room_max.saturating_sub(letters);
        let bytes_max = asked.min(datagram).min(room);
        let want = Want { messages_max: request.messages_max, bytes_max, room, room_max, lease: request.lease };
        let given = if want.messages_max == 0 { None } else { self.queue.lease(now, &want) };
        let Some(lease) = given else { return Err(request) };
        let Waiting { to, token, session, delivery, letters, gate, .. } = request;
        if let Some(session) = self.sessions.get_mut(session) {
            session.give(delivery, lease);
        }
        self.answer_at(gate, to, token, Reply::Msg { delivery, lease, letters });
        Ok(())
    }

    fn answer_none(&mut self, request: Waiting) {
        let Waiting { to, token, delivery, letters, gate, .. } = request;
        self.answer_at(gate, to, token, Reply::None { delivery, ended: false, letters });
    }

    /// Goes through a finish list; a letter for each lease.
    fn finish(&mut self, list: &[u8]) -> Vec<u8> {
        let Self { queue, counts, .. } = self;
        finishes(list)
            .map(|finish| {
                let verdict = finish.map_or(Verdict::Unknown, |finish| queue.finish(finish));
                counts.other_finishes += u64::from(verdict == Verdict::Other);
                counts.unknown_leases += u64::from(verdict == Verdict::Unknown);
                verdict.letter()
            })
            .collect()
    }

    /// Takes back what a list names; a letter for each. What this very request gave back before is said to be done again.
    fn give_back(
        &mut self,
        now: Now,
        asked: (SocketAddr, u64),
        (list, how, delay, mut reasons): (&[u8], GiveBack, Duration, &[u8]),
    ) -> Vec<u8> {
        let (from, token) = asked;
        held_letters(list, |lease| {
            let (reason, rest) = frame::split(reasons).unwrap_or_default();
            reasons = rest;
            let asked = (from, token, lease);
            if !self.queue.give_back(now, lease, how, delay.min(DELAY_MAX), reason) {
                return self.given_back.contains(&asked);
            }
            if self.given_back.len() >= GIVEN_BACK_MAX {
                self.given_back.pop_front();
            }
            self.given_back.push_back(asked);
            true
        })
    }

    fn dead(&mut self, now: Now, asked: DeadAsked) {
        let (to, token, what, first, max) = asked;
        let (count, body) = match what {
            DeadDo::List => self.list_dead(first, max),
            DeadDo::Requeue | DeadDo::Drop => (self.move_dead(now, asked), Vec::new()),
        };
        self.answer(to, token, Reply::Done { letters: Vec::new(), count, body });
    }

    /// What was done for this request is not done again when it comes again.
    fn move_dead(&mut self, now: Now, asked: DeadAsked) -> u64 {
        if let Some((_, count)) = self.dead_answers.iter().find(|(known, _)| *known == asked) {
            return *count;
        }
        let (_, _, what, first, max) = asked;
        let count = match what {
            DeadDo::Requeue => self.queue.requeue(now, first, max),
            DeadDo::List | DeadDo::Drop => self.queue.discard(first, max),
        };
        if self.dead_answers.len() >= DEAD_ANSWERS_MAX {
            self.dead_answers.pop_front();
        }
        self.dead_answers.push_back((asked, count));
        count
    }

    /// As many dead letters as fit in an answer. Of one that does not fit alone, as much as does.
    fn list_dead(&self, first: u64, max: u64) -> (u64, Vec<u8>) {
        let room = self.limits.datagram_bytes_max.min(DATAGRAM_BYTES_MAX).saturating_sub(DONE_FIELDS_BYTES_MAX);
        let (mut count, mut body) = (0, Vec::new());
        for (offset, letter) in self.queue.dead_from(first).take(usize::try_from(max).unwrap_or(usize::MAX)) {
            let header = [format!("{offset} {} ", letter.attempts).as_bytes(), &letter.reason].concat();
            let before = body.len();
            let pushed = frame::push(&header, &mut body);
            debug_assert!(pushed.is_ok(), "a reason is short");
            if body.len() + letter.frame.len() <= room {
                body.extend_from_slice(&letter.frame);
            } else if before == 0 {
                let text = frame::only(&letter.frame).unwrap_or_default();
                let rest = room.saturating_sub(body.len() + 5);
                let pushed = frame::push(text.get(..rest).unwrap_or(text), &mut body);
                debug_assert!(pushed.is_ok(), "it is cut to fit");
                return (1, body);
            } else {
                body.truncate(before);
                break;
            }
            count += 1;
        }
        (count, body)
    }

    /// Answers when all that has happened is durable.
    fn answer(&mut self, to: SocketAddr, token: u64, reply: Reply) {
        self.answer_at(self.made(), to, token, reply);
    }

    /// Answers when what happened before this place in the journal is durable.
    fn answer_at(&mut self, gate: u64, to: SocketAddr, token: u64, reply: Reply) {
        self.counts.nones += u64::from(matches!(reply, Reply::None { .. }));
        if gate > self.durable() {
            let place = self.gated.partition_point(|(other, ..)| *other <= gate);
            self.gated.insert(place, (gate, to, token, reply));
        } else {
            self.answers.push_back((to, token, reply));
        }
    }

    /// The next answer, appended to `out` as one frame; whom it is for. To be called until nothing comes, after requests,
    /// PUTs and [`handle_timeout`](Self::handle_timeout): requests that wait get their messages here.
    pub fn poll_answer(&mut self, now: Now, out: &mut Vec<u8>) -> Option<SocketAddr> {
        if self.answers.is_empty() {
            self.serve_parked(now);
        }
        let Some((to, token, reply)) = self.answers.pop_front() else {
            self.intake_free = self.intake_free.checked_sub(1)?;
            return self.intake.poll_answer(self.queue.credit(), out);
        };
        match &reply {
            Reply::Msg { delivery, lease, letters } => self.push_messages(token, *delivery, *lease, letters, out),
            Reply::None { delivery, ended, letters } => {
                Answer::None { delivery: *delivery, ended: *ended, finished: letters, level: self.level() }
                    .push(token, out);
            }
            Reply::Done { letters, count, body } => {
                Answer::Done { finished: letters, count: *count, level: self.level(), body }.push(token, out);
            }
            Reply::Past { past, end } => {
                let PastFrames { first, count, next, origin_us, at_us, frames } = past;
                let (first, count, next, origin_us, at_us) = (*first, *count, *next, *origin_us, *at_us);
                Answer::Past(Past { first, count, next, end: *end, origin_us, at_us, frames }).push(token, out);
            }
            Reply::Gone { oldest, end } => Answer::Gone { oldest: *oldest, end: *end }.push(token, out),
        }
        Some(to)
    }

    fn serve_parked(&mut self, now: Now) {
        while self.parked.len() > 0
            && self.queue.has_message(now)
            && let Some(request) = self.parked.pop()
        {
            if let Err(request) = self.give(now, request) {
                // Its finishes leave no room for the next message.
                self.answer_none(request);
            }
        }
    }

    fn push_messages(&self, token: u64, delivery: u64, lease: Lease, letters: &[u8], out: &mut Vec<u8>) {
        // Finished since by another attempt, or a SEEK was in between, if the answer was not taken out at once.
        let of_this_boot = Some(lease).filter(|lease| lease.boot == self.queue.boot());
        let Some((frames, generation, origin_us)) = of_this_boot.and_then(|lease| self.queue.messages(lease)) else {
            return Answer::None { delivery, ended: true, finished: letters, level: self.level() }.push(token, out);
        };
        let msg = Msg {
            delivery,
            lease,
            low_water: self.queue.durable_low_water(),
            generation,
            node: self.node,
            origin_us,
            finished: letters,
            level: self.level(),
            frames,
        };
        Answer::Msg(msg).push(token, out);
    }

    /// Time has passed: leases, back-offs and waits end.
    pub fn handle_timeout(&mut self, now: Now) {
        self.queue.wake(now);
        while let Some(request) = self.parked.pop_over(now.since_start) {
            if let Err(request) = self.give(now, request) {
                self.answer_none(request);
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next, since start; `None` if only a datagram can wake it.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let timeouts = [self.queue.poll_timeout(), self.parked.poll_timeout(), self.log_timeout()];
        timeouts.into_iter().flatten().min()
    }

    /// The counts so far.
    pub fn ledger(&self) -> Ledger {
        let intake = self.intake.counts();
        Ledger {
            duplicates: intake.duplicates,
            duplicate_ids: intake.duplicate_ids,
            refused_ids: intake.refused_ids,
            refused_producers: intake.refused_producers,
            held: intake.held,
            held_dropped: intake.held_dropped,
            other_finishes: self.counts.other_finishes,
            unknown_leases: self.counts.unknown_leases,
            fenced: intake.fenced,
            nones: self.counts.nones,
            refused_parked: self.counts.refused_parked,
            malformed: intake.malformed,
            windows_forgotten: intake.windows_forgotten,
            ..self.queue.ledger()
        }
    }

    /// How it stands now.
    pub fn gauges(&self, now: Now) -> Gauges {
        let mut gauges = Gauges {
            bytes: self.queue.bytes(),
            held_in_memory: self.queue.memory(),
            oldest_ready: self.queue.oldest_ready(now),
            window: self.queue.window(),
            dead_bytes: self.queue.dead_bytes(),
            producers: self.intake.producers(),
            held_bytes: self.intake.held_bytes(),
            id_windows: self.intake.id_windows(),
            sessions: self.sessions.len(),
            parked: self.parked.len(),
            ..Gauges::default()
        };
        self.log_gauges(&mut gauges);
        gauges
    }

    /// What went in and out since this was last asked, and how long what went out had waited.
    pub fn take_flow(&mut self) -> Flow {
        self.queue.take_flow()
    }

    /// Recounts everything from the ranges, for tests: slow.
    ///
    /// # Panics
    /// Where something does not add up.
    #[doc(hidden)]
    pub fn check(&self) {
        self.queue.check();
        self.intake.check();
        self.parked.check();
    }
}

/// Where the intake's messages go.
struct QueueShelf<'a> {
    now: Now,
    from: SocketAddr,
    queue: &'a mut Queue,
    limits: &'a ServerLimits,
    full_limit: &'a mut LogLimit,
}

impl Shelf for QueueShelf<'_> {
    fn take(&mut self, run: &Run<'_>) -> Result<(), Full> {
        let Self { now, from, queue, limits, full_limit } = self;
        queue.append(*now, run).map_err(|refused| {
            if let Some(withheld) = full_limit.pass(*now) {
                let (count, why) = (run.count(), refused.why(limits.messages_max, limits.bytes_max));
                tracing::warn!("Full: refused {count} messages from {from} ({why}; {withheld} more unsaid)");
            }
            Full
        })
    }

    fn pass(&mut self, run: &Run<'_>) {
        self.queue.note_known(self.now, run);
    }

    fn open(&mut self, producer: u128, nonce: u64, next: u64) -> Result<(), Full> {
        self.queue.note_open(producer, nonce, next)
    }

    fn end(&mut self, producer: u128, epoch: u64, next: u64) {
        self.queue.note_end(producer, epoch, next);
    }
}

/// Goes through a list of leases that somebody believes to hold; a letter for each, whether it is so.
fn held_letters(list: &[u8], mut held: impl FnMut(Lease) -> bool) -> Vec<u8> {
    finishes(list).map(|entry| if entry.is_ok_and(|entry| held(entry.lease)) { b'd' } else { b'x' }).collect()
}

fn lease_time(ms: u64) -> Duration {
    Duration::from_millis(ms).clamp(LEASE.0, LEASE.1)
}
