//! The receiving end of an edge: batches of messages are leased from one queue, and finished or given back.

mod plan;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, time::Duration};

use machine::Now;
use protocol::{
    DATAGRAM_BYTES_MAX,
    call::{Call, CallError},
    frame,
    link::{
        Answer, Ask, DELIVERIES_A_REQUEST_MAX, Deq, Durability, GiveBack, Lease, LinkError, MESSAGE_BYTES_MAX, Msg,
        Welcome,
    },
    verb::Request as OldRequest,
};

use super::{
    Faults,
    batch::Batch,
    deliveries::Deliveries,
    discovery::{Discovery, Identity, identity, is_size},
    finishing::Finishing,
    guarantee::{Failure, Guarantee, meets},
    holding::Holding,
    old_input::OldInput,
    rtt::Rtt,
    tokens::Tokens,
};

pub use plan::{ConsumerCounts, ConsumerPlan, Notice, Outcome};

/// How long a request waits at the queue for a message, at first and after many in vain. At first it is short, because a
/// request that waits and one that is lost look alike.
const WAIT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// So many requests may be out while the queue has more, whatever is lost: with less than a few, each loss is a silence.
const WINDOW_MIN: usize = 4;

/// How long a finish waits for a request to ride on, while the queue has more or messages come as quickly as that.
const RIDE_WAIT: Duration = Duration::from_millis(1);

/// So many deliveries are asked for at a queue whose messages come one by one and quickly: with one alone, a message that
/// follows another closely waits at the queue until its consumer has asked again. A consumer that has the queue for itself asks
/// for several with one request, so that a message costs a datagram to its consumer and a fraction of one back.
const BRISK_WINDOW: usize = 2;
const BRISK_WINDOW_ALONE: usize = 8;

/// A lease is touched after this part of its length, and no request waits longer.
const TOUCHES_PER_LEASE: u32 = 3;

/// What keeps a lease alive is sent again after this part of its length, if not sooner; but never before that time.
const TRIES_PER_LEASE: u32 = 8;
const ANSWER_TIME_MIN: Duration = Duration::from_millis(5);

/// No more is asked for while so many finishes and returns are unanswered.
const CHORES_MAX: usize = 64;

/// No more is asked for while so many notices are not taken.
const NOTICES_MAX: usize = 1_024;

/// After so many rounds of unanswered requests, and so long, the peer is asked anew who it is.
const SILENCES_MAX: u32 = 5;
const SILENCE_MIN: Duration = Duration::from_millis(500);

/// Buffers kept for later batches.
const SPARE_MAX: usize = 32;

/// The header of a MSG: room is left for it. In a small datagram room is dear, and one that is too large is only
/// fragmented; in a large one it is not, and one that is too large cannot be sent at all.
const HEADER_BYTES: usize = 192;
const HEADER_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - MESSAGE_BYTES_MAX;
const SMALL_DATAGRAM_BYTES: usize = 16_384;

/// Where an edge stands.
#[derive(Debug)]
enum Stage {
    /// Asking who the peer is.
    Discovering(Discovery),
    /// Leasing batches.
    Leasing,
    /// Taking messages one by one from a queue that speaks the verbs of 2016 only.
    Old,
    /// Given up.
    Failed(Failure),
}

/// Leases batches from one queue.
///
/// Each batch that [`next_batch`](Self::next_batch) gives must be ended by one [`finish`](Self::finish) or
/// [`give_back`](Self::give_back); until then its lease is kept alive. [`poll_notice`](Self::poll_notice) tells what became
/// of it, and must be asked until it says nothing more. A queue that speaks the verbs of 2016 only gives batches of one
/// message without a lease, and forgets each as it gives it.
#[derive(Debug)]
pub struct Consumer {
    plan: ConsumerPlan,
    faults: Faults,
    tokens: Tokens,
    stage: Stage,
    peer: Option<Welcome>,
    /// Whose leases these are, and whose came before: what is late from there is of no use.
    source: Option<Identity>,
    former_source: Option<Identity>,
    rtt: Rtt,
    deliveries: Deliveries,
    ready: VecDeque<Batch>,
    holding: Holding,
    finishing: Finishing,
    old: OldInput,
    /// How many deliveries may be asked for at once: many while the queue has more than it may send, a few while messages come
    /// quickly, one when it is idle.
    window: usize,
    /// Whether the last batch was as large as it might be.
    has_more: bool,
    /// When the last batch came, and whether that was soon after the one before.
    came_at: Option<Duration>,
    is_brisk: bool,
    wait: Duration,
    /// Rounds of unanswered requests in a row.
    silences: u32,
    heard_at: Duration,
    ending: bool,
    notices: VecDeque<Notice>,
    spare: Vec<Vec<u8>>,
    counts: ConsumerCounts,
}

impl Consumer {
    /// A consumer that has not asked yet.
    pub fn new(plan: ConsumerPlan) -> Self {
        let tokens = Tokens::new(plan.session);
        Self {
            stage: Stage::Discovering(Discovery::begin(Duration::ZERO, false, &tokens)),
            holding: Holding::new(plan.lease / TOUCHES_PER_LEASE),
            old: OldInput::new(plan.old),
            plan,
            faults: Faults::default(),
            tokens,
            peer: None,
            source: None,
            former_source: None,
            rtt: Rtt::default(),
            deliveries: Deliveries::new(),
            ready: VecDeque::new(),
            finishing: Finishing::default(),
            window: 1,
            has_more: false,
            came_at: None,
            is_brisk: false,
            wait: WAIT.0,
            silences: 0,
            heard_at: Duration::ZERO,
            ending: false,
            notices: VecDeque::new(),
            spare: Vec::new(),
            counts: ConsumerCounts::default(),
        }
    }

    /// Makes it do wrong, to show that a test would see it.
    #[doc(hidden)]
    pub fn plant(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// The next batch, if one is here. To a consumer that is alone on its queue offsets rise, but for what comes back.
    pub fn next_batch(&mut self) -> Option<Batch> {
        self.ready.pop_front()
    }

    /// A batch's messages are done with, but for those that were given back or buried one by one. An id that is not held is
    /// ignored.
    pub fn finish(&mut self, now: Now, id: u64) {
        let at = self.finish_at(now);
        let Some(held) = self.holding.remove(id) else { return };
        let Some(lease) = held.lease else { return self.end_batch(id, Outcome::Finished) };
        if held.parts.is_empty() {
            return self.finishing.push(id, lease, at);
        }
        let mut kept = without(lease, held.parts);
        let Some(last) = kept.pop() else { return self.end_batch(id, Outcome::GivenBack) };
        for part in kept {
            self.finishing.push_part(part, at);
        }
        self.finishing.push(id, last, at);
    }

    /// A batch's messages below this offset are done with, but for those that were given back. Its last message stays in any
    /// case: the batch is still to be ended. What is not held or has no lease is ignored.
    pub fn finish_below(&mut self, now: Now, id: u64, offset: u64) {
        let Some((lease, given_back)) = self.holding.remove_below(id, offset) else { return };
        let at = self.finish_at(now);
        for part in without(lease, given_back) {
            self.finishing.push_part(part, at);
        }
    }

    fn finish_at(&self, now: Now) -> Duration {
        now.since_start + if self.has_more || self.is_brisk { RIDE_WAIT } else { Duration::ZERO }
    }

    /// One message of a batch that is held goes to the dead letters. The reason is for people. What is not held or has no
    /// lease is ignored, and so is a message that has gone back already; whether it was none of these.
    pub fn bury(&mut self, now: Now, id: u64, offset: u64, reason: &str) -> bool {
        self.holding.give_back_one(now.since_start, id, offset, GiveBack::Dead, reason)
    }

    /// One message of a batch that is held has failed and goes back, as in [`bury`](Self::bury).
    pub fn fail_one(&mut self, now: Now, id: u64, offset: u64, reason: &str) -> bool {
        self.holding.give_back_one(now.since_start, id, offset, GiveBack::Counted, reason)
    }

    /// A batch goes back, not to be given out again before `delay` is over. The reason is for people. An id that is not
    /// held is ignored; what an old queue gave cannot be given back and is lost.
    pub fn give_back(&mut self, now: Now, id: u64, how: GiveBack, delay: Duration, reason: &str) {
        let Some(held) = self.holding.remove(id) else { return };
        let Some(lease) = held.lease else { return self.end_batch(id, Outcome::Lost) };
        self.holding.give_back(now.since_start, (id, lease), how, delay, reason);
    }

    /// Takes the buffer of a batch back, for a later one.
    pub fn recycle(&mut self, frames: Vec<u8>) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(frames);
        }
    }

    /// What became of batches, until it says nothing more.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// No more batches are wanted: those that were not taken yet go back, but for what an old queue gave.
    pub fn end(&mut self, now: Now) {
        self.ending = true;
        self.hand_on(now);
    }

    /// Takes what may be handed on, and gives it back in the end.
    fn hand_on(&mut self, now: Now) {
        while let Some(batch) = self.deliveries.pop(now.since_start) {
            self.ready.push_back(batch);
        }
        if self.ending {
            let leased = |batch: &Batch| batch.lease.is_some();
            let back: Vec<u64> = self.ready.iter().filter(|batch| leased(batch)).map(|batch| batch.id).collect();
            self.ready.retain(|batch| !leased(batch));
            for id in back {
                self.give_back(now, id, GiveBack::Quiet, Duration::ZERO, "");
            }
        }
    }

    /// Whether nothing is held, and nothing is to be answered.
    pub fn is_settled(&self) -> bool {
        self.holding.len() + self.holding.returning() + self.finishing.len() == 0
            && (self.deliveries.asked() == 0 || !matches!(self.stage, Stage::Leasing | Stage::Discovering(_)))
    }

    /// What the edge promises, once that is known.
    pub fn negotiated(&self) -> Option<Guarantee> {
        match (&self.stage, self.peer) {
            (Stage::Old, _) => Some(Guarantee::AtMostOnce),
            (_, peer) => peer.map(|_| Guarantee::ExactlyOnce),
        }
    }

    /// GETs to a queue that speaks the verbs of 2016 only: how many left, how many were repeated, and how many are under
    /// way.
    pub fn old_gets(&self) -> (u64, u64, u32) {
        self.old.gets()
    }

    /// Why the edge has given up, if it has.
    pub fn failed(&self) -> Option<Failure> {
        match self.stage {
            Stage::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    /// The peer's node, if it has one.
    pub fn peer_node(&self) -> Option<u64> {
        self.source.map(|source| source.node)
    }

    /// How far the peer's word goes, if it gives any.
    pub fn level(&self) -> Option<Durability> {
        self.peer.map(|peer| peer.level)
    }

    /// How often the peer was asked who it is since it last answered.
    pub fn unanswered_probes(&self) -> u64 {
        match &self.stage {
            Stage::Discovering(discovery) => discovery.unanswered(),
            _ => 0,
        }
    }

    /// What came of the batches so far.
    pub fn counts(&self) -> ConsumerCounts {
        self.counts
    }

    fn end_batch(&mut self, id: u64, outcome: Outcome) {
        end_batch(&mut self.counts, &mut self.notices, id, outcome);
    }
}

fn end_batch(counts: &mut ConsumerCounts, notices: &mut VecDeque<Notice>, id: u64, outcome: Outcome) {
    *match outcome {
        Outcome::Finished => &mut counts.finished,
        Outcome::FinishedLate => &mut counts.finished_late,
        Outcome::FinishedByAnother => &mut counts.finished_by_another,
        Outcome::GivenBack => &mut counts.given_back,
        Outcome::Lost => &mut counts.lost,
        Outcome::Unknown => &mut counts.unknown,
    } += 1;
    notices.push_back(Notice::Ended(id, outcome));
}

/// What comes in.
impl Consumer {
    /// Takes a datagram of the peer in.
    pub fn handle_datagram(&mut self, now: Now, datagram: &[u8]) {
        let Ok(text) = frame::only(datagram) else {
            self.counts.malformed += 1;
            return;
        };
        if !Call::is_one(text) {
            return self.handle_old_text(now.since_start, text);
        }
        match Answer::parse(text) {
            Ok((token, answer)) if self.tokens.knows(token) => self.handle_answer(now, token, &answer),
            _ if matches!(self.stage, Stage::Old) => self.handle_old_text(now.since_start, text),
            Ok(_) => self.counts.stray += 1,
            Err(LinkError::Call(CallError::Checksum)) => self.counts.bad_checksum += 1,
            Err(LinkError::Field("a")) => self.counts.requests += 1,
            Err(_) => self.counts.malformed += 1,
        }
    }

    fn handle_answer(&mut self, now: Now, token: u64, answer: &Answer<'_>) {
        let is_of_before = matches!(answer, Answer::Msg(msg) if self.former_source == Some(source(msg)));
        if self.source.is_none() || is_of_before {
            self.counts.stray += 1; // the peer is something else by now
            return;
        }
        self.hear(now.since_start);
        match *answer {
            Answer::Msg(msg) => {
                self.handle_letters(token, msg.finished);
                self.handle_msg(now, token, &msg);
            }
            Answer::None { delivery, ended, finished, .. } => {
                self.handle_letters(token, finished);
                if ended {
                    self.counts.ended_unseen += u64::from(self.deliveries.answer_ended(delivery));
                } else {
                    self.handle_none(now.since_start, token, delivery);
                }
                self.hand_on(now);
            }
            Answer::Done { finished, .. } => {
                let acked = self.handle_letters(token, finished);
                if let Some(sent_at) = acked.or_else(|| self.handle_done(now.since_start, token, finished)) {
                    self.rtt.sample(now.since_start.saturating_sub(sent_at));
                }
            }
            Answer::Opened { .. }
            | Answer::Stored { .. }
            | Answer::Full { .. }
            | Answer::Fenced { .. }
            | Answer::Past(_)
            | Answer::Gone { .. } => {
                self.counts.stray += 1;
            }
        }
    }

    /// The peer lives; if it was asked who it is because it was silent, that need not be known any more.
    fn hear(&mut self, now: Duration) {
        self.silences = 0;
        self.heard_at = now;
        if let Stage::Discovering(_) = self.stage
            && self.peer.map(identity) == self.source
        {
            self.stage = Stage::Leasing;
        }
    }

    fn handle_letters(&mut self, token: u64, letters: &[u8]) -> Option<Duration> {
        let Self { finishing, counts, notices, .. } = self;
        finishing.handle_letters(token, letters, |id, outcome| end_batch(counts, notices, id, outcome))
    }

    fn handle_msg(&mut self, now: Now, token: u64, msg: &Msg<'_>) {
        let source = source(msg);
        if self.source != Some(source) {
            self.change_source(source);
            self.discover(now.since_start, false);
        }
        if !self.deliveries.is_open(msg.delivery) {
            self.counts.duplicates += 1;
            return;
        }
        let frames = self.spare.pop().unwrap_or_default();
        match Batch::read(msg, frames) {
            Ok(batch) => self.take(now, token, batch),
            Err(frames) => {
                self.counts.malformed += 1;
                self.recycle(frames);
            }
        }
    }

    fn take(&mut self, now: Now, token: u64, batch: Batch) {
        self.counts.batches += 1;
        self.counts.messages += batch.count;
        let came_before = self.came_at.replace(now.since_start);
        self.is_brisk = came_before.is_some_and(|before| now.since_start < before + RIDE_WAIT);
        // At least half of what might have come: the queue has more.
        self.has_more = batch.count > self.plan.messages_max / 2 || batch.frames.len() > self.bytes_max() / 2;
        if self.has_more {
            self.window = (self.window + 1).min(self.plan.deliveries_max.max(1));
            if let Some(asked_at) = self.deliveries.asked_at(batch.id, token) {
                self.rtt.sample(now.since_start.saturating_sub(asked_at));
            }
        }
        self.wait = WAIT.0;
        self.holding.push(batch.id, batch.lease, now.since_start);
        self.deliveries.put(batch);
        if !self.faults.asks_once && self.deliveries.overtake(token, now.since_start) {
            self.narrow();
        }
        self.hand_on(now);
        if !self.has_more {
            let least = match (self.is_brisk, self.deliveries.is_alone()) {
                (false, _) => 1,
                (true, false) => BRISK_WINDOW,
                (true, true) => BRISK_WINDOW_ALONE,
            };
            self.window = self.window.saturating_sub(1).max(least.min(self.plan.deliveries_max)).max(1);
        }
    }

    fn handle_none(&mut self, now: Duration, token: u64, delivery: u64) {
        let was_waited_for = !self.deliveries.is_check(delivery) && delivery == self.deliveries.open_from();
        if !self.deliveries.answer_none(delivery, token, now) {
            return;
        }
        self.window = 1;
        self.has_more = false;
        self.is_brisk = false;
        if was_waited_for {
            self.wait = (self.wait * 2).min(WAIT.1);
        }
    }

    /// Leases were touched, or something was taken back. When that was asked, if it was.
    fn handle_done(&mut self, now: Duration, token: u64, letters: &[u8]) -> Option<Duration> {
        let Self { holding, counts, notices, .. } = self;
        let touched = holding.handle_touched(now, token, letters, |id| {
            counts.leases_lost += 1;
            notices.push_back(Notice::Lost(id));
        });
        touched.or_else(|| {
            holding.handle_given(token, letters, |id, count, could| match (id, could) {
                (Some(id), true) => end_batch(counts, notices, id, Outcome::GivenBack),
                (Some(id), false) => end_batch(counts, notices, id, Outcome::Lost),
                (None, true) => counts.parts_given_back += count,
                (None, false) => counts.parts_lost += count,
            })
        })
    }

    fn handle_old_text(&mut self, now: Duration, text: &[u8]) {
        if let Some((token, welcome)) = Welcome::parse(text)
            && self.tokens.knows(token)
        {
            return self.handle_welcome(now, token, welcome);
        }
        match &mut self.stage {
            Stage::Discovering(discovery) if is_size(text) => {
                if discovery.handle_size(now) {
                    self.go_old(now);
                }
            }
            Stage::Old if self.old.is_quiet(now) && is_size(text) => self.counts.stray += 1,
            Stage::Old => self.take_old(now, text),
            _ if self.old.may_be_late(now) => self.take_old(now, text),
            _ => self.counts.stray += 1,
        }
    }

    fn take_old(&mut self, now: Duration, text: &[u8]) {
        let Some(message) = self.old.handle_answer(now, text) else { return };
        let id = self.deliveries.take_number();
        self.counts.batches += 1;
        self.counts.messages += 1;
        self.holding.push(id, None, now);
        let frames = self.spare.pop().unwrap_or_default();
        self.ready.push_back(Batch::of_old_queue(id, message, frames));
    }

    fn handle_welcome(&mut self, now: Duration, token: u64, welcome: Welcome) {
        let Stage::Discovering(discovery) = &mut self.stage else { return };
        if !discovery.handle_welcome(now, token, &mut self.rtt) {
            return;
        }
        self.stage = Stage::Leasing;
        self.silences = 0;
        self.heard_at = now;
        if self.peer.map(identity) != Some(identity(welcome)) {
            self.counts.negotiations += 1;
            self.peer = Some(welcome);
        }
        if self.source != Some(identity(welcome)) {
            self.change_source(identity(welcome));
        }
    }

    /// The queue has restarted, or is another. What was leased from the one before is lost, what it had not answered is
    /// asked of the new one.
    fn change_source(&mut self, source: Identity) {
        self.former_source = self.source.replace(source);
        self.forget_leases();
    }

    fn forget_leases(&mut self) {
        let Self { deliveries, ready, holding, spare, notices, counts, .. } = self;
        let mut drop_unseen = |batch: Batch| {
            holding.remove(batch.id);
            spare.push(batch.frames);
        };
        deliveries.forget(&mut drop_unseen);
        ready.drain(..).for_each(drop_unseen);
        holding.lose_leases(|id| {
            counts.leases_lost += 1;
            notices.push_back(Notice::Lost(id));
        });
    }

    fn go_old(&mut self, now: Duration) {
        self.counts.negotiations += 1;
        if let Err(failure) = meets(self.plan.floor, Guarantee::AtMostOnce) {
            self.stage = Stage::Failed(failure);
            return;
        }
        if self.source.is_some() {
            (self.source, self.former_source, self.peer) = (None, None, None);
            self.forget_leases();
            self.deliveries.clear();
            let Self { finishing, holding, counts, notices, .. } = self;
            finishing.forget(|id, outcome| end_batch(counts, notices, id, outcome));
            holding.forget_returns(|id, outcome| end_batch(counts, notices, id, outcome));
        }
        self.old.begin(now);
        self.stage = Stage::Old;
    }

    fn discover(&mut self, now: Duration, is_old: bool) {
        self.silences = 0;
        self.stage = Stage::Discovering(Discovery::begin(now, is_old, &self.tokens));
    }
}

/// What goes out, and when.
impl Consumer {
    /// The next datagram, appended to `out`; whether there was one. More batches are asked for only if the caller `wants`
    /// them.
    pub fn poll_transmit(&mut self, now: Now, wants: bool, out: &mut Vec<u8>) -> bool {
        let now = now.since_start;
        match &mut self.stage {
            Stage::Discovering(discovery) => discovery.poll_transmit(now, &mut self.tokens, out),
            Stage::Leasing => {
                self.transmit_touch(now, out)
                    || self.transmit_return(now, out)
                    || self.transmit_ask(now, wants, out)
                    || self.transmit_finishes(now, out)
            }
            Stage::Old => self.transmit_get(now, wants, out),
            Stage::Failed(_) => false,
        }
    }

    fn transmit_return(&mut self, now: Duration, out: &mut Vec<u8>) -> bool {
        let Some((how, delay_ms, tries)) = self.holding.due_return(now) else { return false };
        let token = self.tokens.take();
        let deadline = now + self.rtt.timeout_after(tries);
        let bytes_max = self.bytes_max() / 2;
        let (leases, reasons) = self.holding.give((how, delay_ms), bytes_max, token, now, deadline);
        Ask::Nak { leases, how, delay_ms, reasons }.push(token, out);
        true
    }

    fn transmit_touch(&mut self, now: Duration, out: &mut Vec<u8>) -> bool {
        let Some(tries) = self.holding.due_touch(now) else { return false };
        let token = self.tokens.take();
        let deadline = now + self.answer_time(tries);
        let leases = self.holding.touch(token, now, deadline);
        Ask::Touch { leases, lease_ms: ms(self.plan.lease) }.push(token, out);
        true
    }

    /// When to take for lost what keeps a lease alive: several times before the lease ends, however often it was lost.
    fn answer_time(&self, tries: u32) -> Duration {
        self.rtt.timeout_after(tries).min((self.plan.lease / TRIES_PER_LEASE).max(ANSWER_TIME_MIN))
    }

    fn transmit_ask(&mut self, now: Duration, wants: bool, out: &mut Vec<u8>) -> bool {
        let overdue = self.deliveries.overdue(now);
        let numbers = match overdue {
            Some(delivery) => delivery..delivery + 1,
            None => match self.may_ask(now, wants) {
                0 => return false,
                count => self.deliveries.idle(now, count),
            },
        };
        let delivery = numbers.start;
        let tries = self.deliveries.tries(delivery);
        let token = self.tokens.take();
        let wait = if self.deliveries.is_check(delivery) { Duration::ZERO } else { self.wait_now() };
        // A queue that has more answers at once; to ask it too early for the same batch costs one small datagram.
        let answered_after = if self.has_more { Duration::ZERO } else { wait };
        let deadline = now + answered_after + self.answer_time(tries);
        let deliveries = numbers.end - numbers.start;
        self.deliveries.ask(numbers, token, now, deadline);
        self.counts.asked += 1;
        self.counts.asked_again += u64::from(overdue.is_some());
        let open_from = self.deliveries.open_from();
        let bytes_max = self.bytes_max() as u64;
        let ask = Ask::Deq(Deq {
            session: self.plan.session,
            delivery,
            deliveries,
            open_from,
            messages_max: self.plan.messages_max.max(1),
            bytes_max,
            wait_ms: ms(wait),
            lease_ms: ms(self.plan.lease),
            finished: self.finishing.send(token, now, deadline),
        });
        ask.push(token, out);
        true
    }

    /// How long the next request waits for a message. One with finishes soon comes back, so that they are known to count;
    /// and a batch whose message is lost must be missed before its lease ends.
    fn wait_now(&self) -> Duration {
        let wait = match (self.ending, self.finishing.len()) {
            (true, _) => Duration::ZERO,
            (false, 0) => self.wait,
            (false, _) => WAIT.0,
        };
        wait.min(self.plan.lease / TOUCHES_PER_LEASE)
    }

    /// How many deliveries the next request may ask for. Where messages come one by one, and to nobody else, a request asks for
    /// several at once, and leaves once half of those before have come, or a finish wants to ride on it.
    fn may_ask(&self, now: Duration, wants: bool) -> usize {
        let asked = self.deliveries.asked();
        let may = wants
            && !self.ending
            && self.finishing.len() + self.holding.returning() < CHORES_MAX
            && self.notices.len() < NOTICES_MAX;
        if !may {
            return 0;
        }
        let here = self.plan.deliveries_max.max(1).saturating_sub(asked + self.holding.len());
        let room = self.window.saturating_sub(asked).min(here);
        let asks_for_several = self.is_brisk && !self.has_more && self.deliveries.is_alone();
        match room {
            _ if !asks_for_several => room.min(1),
            _ if asked > self.window / 2 && !self.finishing.is_due(now) => 0,
            room => room.min(usize::try_from(DELIVERIES_A_REQUEST_MAX).unwrap_or(usize::MAX)),
        }
    }

    /// How many bytes of frames fit beside a MSG's header.
    fn bytes_max(&self) -> usize {
        let theirs = self.peer.map_or(u64::MAX, |peer| peer.datagram_bytes_max);
        let theirs = usize::try_from(theirs).unwrap_or(usize::MAX);
        let datagram_bytes = self.plan.datagram_bytes_max.min(theirs).min(DATAGRAM_BYTES_MAX);
        let header_bytes = if datagram_bytes < SMALL_DATAGRAM_BYTES { HEADER_BYTES } else { HEADER_BYTES_MAX };
        datagram_bytes.saturating_sub(header_bytes)
    }

    fn transmit_finishes(&mut self, now: Duration, out: &mut Vec<u8>) -> bool {
        if !self.finishing.is_due(now) {
            return false;
        }
        let token = self.tokens.take();
        let deadline = now + self.rtt.timeout_after(self.finishing.tries());
        Ask::Ack { finished: self.finishing.send(token, now, deadline) }.push(token, out);
        true
    }

    fn transmit_get(&mut self, now: Duration, wants: bool, out: &mut Vec<u8>) -> bool {
        if self.old.wants_probe(now) {
            self.discover(now, true);
            let Stage::Discovering(discovery) = &mut self.stage else { return false };
            return discovery.poll_transmit(now, &mut self.tokens, out);
        }
        if !self.may_get(wants) || !self.old.poll_get(now) {
            return false;
        }
        let pushed = OldRequest::Get.push(out);
        debug_assert!(pushed.is_ok(), "a GET is short");
        true
    }

    fn may_get(&self, wants: bool) -> bool {
        wants && !self.ending && self.notices.len() < NOTICES_MAX
    }

    /// When [`handle_timeout`](Self::handle_timeout) or [`poll_transmit`](Self::poll_transmit) has something to do without
    /// an answer.
    pub fn poll_timeout(&self, wants: bool) -> Option<Duration> {
        match &self.stage {
            Stage::Discovering(discovery) => Some(discovery.ask_at()),
            Stage::Leasing => {
                let answers = if self.faults.asks_once { None } else { self.deliveries.poll_timeout() };
                let times = [answers, self.holding.poll_timeout(), self.finishing.poll_timeout()];
                times.into_iter().flatten().min()
            }
            Stage::Old => self.old.poll_timeout(self.may_get(wants)),
            Stage::Failed(_) => None,
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        let now = now.since_start;
        match self.stage {
            Stage::Old => self.old.handle_timeout(now),
            Stage::Leasing => self.expire(now),
            Stage::Discovering(_) | Stage::Failed(_) => {}
        }
    }

    fn expire(&mut self, now: Duration) {
        let asked = !self.faults.asks_once && self.deliveries.expire(now);
        if asked {
            self.narrow();
        }
        if self.finishing.expire(now) | self.holding.expire(now) | asked {
            self.silences += 1;
            if self.silences >= SILENCES_MAX && now >= self.heard_at + SILENCE_MIN {
                self.discover(now, false);
            }
        }
    }
}

impl Consumer {
    /// A request or its answer was lost.
    fn narrow(&mut self) {
        let least = if self.has_more { WINDOW_MIN.min(self.plan.deliveries_max) } else { 1 };
        self.window = (self.window / 2).max(least).max(1);
    }
}

/// What is left of a lease without these offsets.
fn without(lease: Lease, mut offsets: Vec<u64>) -> Vec<Lease> {
    offsets.sort_unstable();
    let end = lease.first + lease.count;
    let mut first = lease.first;
    let mut left = Vec::new();
    for offset in offsets.into_iter().chain([end]) {
        if offset > first {
            left.push(Lease { first, count: offset - first, ..lease });
        }
        first = offset + 1;
    }
    left
}

/// Whose messages these are.
fn source(msg: &Msg<'_>) -> Identity {
    Identity { node: msg.node, boot: msg.lease.boot }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
