//! The sending end of an edge: messages go into one queue or sink, in batches that are kept until they are confirmed.

mod plan;
#[cfg(test)]
mod tests;

use std::time::Duration;

use machine::Now;
use protocol::{
    DATAGRAM_BYTES_MAX,
    call::{Call, CallError},
    frame,
    link::{Answer, Ask, Derived, Durability, Enq, LinkError, MESSAGE_BYTES_MAX, STAGE_BYTES_MAX, Sending, Welcome},
    verb::Request,
};

use super::{
    Faults,
    discovery::{Discovery, identity, is_size},
    guarantee::{Failure, Guarantee, meets},
    outbox::{BatchLimits, Outbox},
    outgoing::{Input, OutputId},
    rtt::Rtt,
    tokens::Tokens,
    window::{SendLimits, SendWindow},
};
use crate::{PutCounts, PutEdge, Window};

pub use plan::{MessageTooLong, PeerCounts, ProducerCounts, ProducerPlan};

/// The longest header of an ENQ.
const HEADER_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - MESSAGE_BYTES_MAX;

/// No more messages are taken while so many bytes wait to be sent, or two batches if those are larger.
const WAITING_BYTES_MAX: usize = 65_536;

/// After so many timeouts in a row the peer is asked anew who it is.
const TIMEOUTS_MAX: u32 = 5;

/// How often a peer that speaks the verbs of 2016 only is asked whether it has been upgraded, while there is something to
/// send.
const PROBE_EVERY: Duration = Duration::from_secs(10);

/// So many answers that confirm nothing new mean that the oldest batch is lost.
const REPEATS_OF_A_LOSS: u32 = 3;

/// The longest rest after a full queue's answer.
const FULL_REST_MAX: Duration = Duration::from_millis(500);

/// How often, and how long after it has begun, a producer that is fenced takes its place back. The OPEN of a process before
/// it may have been long under way, and whoever asks last is taken for the living one.
const TAKES_BACK_MAX: u64 = 3;
const TAKES_BACK_FOR: Duration = Duration::from_secs(5);

/// The longest rest when the server has as many producers as it may.
const REFUSED_REST_MAX: Duration = Duration::from_secs(10);

/// Where an edge stands.
#[derive(Debug)]
enum Stage {
    /// Asking who the peer is.
    Discovering(Discovery),
    /// Asking for an epoch, with tokens from `from` on.
    Opening { from: u64, ask_at: Duration, asked: u32 },
    /// Sending batches.
    Open,
    /// Sending messages one by one to a peer that speaks the verbs of 2016 only.
    Old,
    /// All is confirmed, and the peer knows that no more will come.
    Ended,
    /// Given up.
    Failed(Failure),
}

/// A producer's time at its peer.
#[derive(Debug, Clone, Copy)]
struct Epoch {
    number: u64,
    /// The first token in it.
    from: u64,
}

/// Sends messages into one queue or sink.
///
/// What is pushed is kept until the peer has said that it has it; it is sent again after a silence, to a peer that
/// restarted as well. What a peer had confirmed and then lost with its memory is gone. A peer that speaks the verbs of
/// 2016 only gets one PUT a message, which is never sent again.
#[derive(Debug)]
pub struct Producer {
    plan: ProducerPlan,
    faults: Faults,
    tokens: Tokens,
    stage: Stage,
    peer: Option<Welcome>,
    /// This peer's first message: all before it are not this one's to confirm.
    peer_first: u64,
    /// `None` if one is to be asked for, even if the peer is the same as before.
    epoch: Option<Epoch>,
    resume_at: Option<u64>,
    /// This process's first message.
    first: u64,
    confirmed: u64,
    outbox: Outbox,
    batch_limits: BatchLimits,
    /// What the outputs to come are derived from.
    input: Option<Input>,
    rtt: Rtt,
    window: SendWindow,
    /// How many messages the peer had room for, and the token of the answer that said so.
    credit: (u64, u64),
    /// The first token since batches were last sent again: only from there on does an answer's time say something.
    pass_from: u64,
    /// Answers in a row that confirmed nothing new.
    repeats: u32,
    send_first_again: bool,
    timeout_at: Option<Duration>,
    timeouts: u32,
    rest: Duration,
    rest_until: Duration,
    fulls: u32,
    held_back: bool,
    /// How often it has taken its place back, and until when it may.
    takes_back: u64,
    takes_back_until: Option<Duration>,
    /// The epoch that has taken its place for good, if the peer is still the one that gave it its own.
    fenced_by: Option<u64>,
    ending: bool,
    /// When to ask for the end, and the first token that did.
    end_at: Duration,
    end_from: Option<u64>,
    put: PutEdge,
    /// When to ask an old peer whether it has been upgraded.
    probe_at: Duration,
    counts: ProducerCounts,
}

impl Producer {
    /// A producer that has not asked yet.
    pub fn new(mut plan: ProducerPlan) -> Self {
        plan.stage = stage_name(&plan.stage);
        let tokens = Tokens::new(plan.nonce);
        let datagram_bytes = plan.datagram_bytes_max.min(DATAGRAM_BYTES_MAX);
        Self {
            stage: Stage::Discovering(Discovery::begin(Duration::ZERO, false, &tokens)),
            put: PutEdge::new(Window::AtMost(plan.puts_max)),
            window: SendWindow::new(plan.limits, datagram_bytes),
            batch_limits: BatchLimits {
                bytes_max: datagram_bytes.saturating_sub(HEADER_BYTES_MAX),
                messages_max: u64::MAX,
            },
            plan,
            faults: Faults::default(),
            tokens,
            peer: None,
            peer_first: 0,
            epoch: None,
            resume_at: None,
            first: 0,
            confirmed: 0,
            outbox: Outbox::default(),
            input: None,
            rtt: Rtt::default(),
            credit: (0, 0),
            pass_from: 0,
            repeats: 0,
            send_first_again: false,
            timeout_at: None,
            timeouts: 0,
            rest: Duration::ZERO,
            rest_until: Duration::ZERO,
            fulls: 0,
            held_back: false,
            takes_back: 0,
            takes_back_until: None,
            fenced_by: None,
            ending: false,
            end_at: Duration::ZERO,
            end_from: None,
            probe_at: Duration::ZERO,
            counts: ProducerCounts::default(),
        }
    }

    /// Makes it do wrong, to show that a test would see it.
    #[doc(hidden)]
    pub fn plant(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Whether a message may be pushed now. Not before it is known where to begin.
    pub fn room(&self) -> bool {
        let waiting_max = WAITING_BYTES_MAX.max(2 * self.batch_limits.bytes_max);
        self.resume_at.is_some() && !self.ending && self.failed().is_none() && self.outbox.waiting_bytes() < waiting_max
    }

    /// Takes a message, which leaves with the next batch. `id` is for outputs, after [`derive_from`](Self::derive_from).
    /// The message's number: it is in the peer's hands once [`confirmed`](Self::confirmed) is above it.
    ///
    /// # Errors
    /// [`MessageTooLong`]; nothing is taken then.
    pub fn push(&mut self, now: Now, message: &[u8], id: Option<OutputId>) -> Result<u64, MessageTooLong> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(MessageTooLong { bytes: message.len() });
        }
        let input = id.and(self.input);
        let id = if self.faults.random_ids { id.map(|id| self.random_id(id)) } else { id };
        let origin_us = match input {
            Some(input) => input.origin_us,
            None => u64::try_from(now.since_epoch.as_micros()).unwrap_or(u64::MAX),
        };
        let pushed = self.outbox.push(message, origin_us, input, id.filter(|_| input.is_some()), self.batch_limits);
        pushed.map_err(|error| MessageTooLong { bytes: error.bytes })
    }

    /// What the outputs that are pushed from now on follow from. Its low water is told to the peer with all outputs of
    /// this queue's messages, also with those that were pushed before.
    pub fn derive_from(&mut self, input: Input) {
        self.input = Some(input);
    }

    fn random_id(&self, id: OutputId) -> OutputId {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = (self.plan.nonce ^ self.outbox.next().wrapping_mul(MIX)).wrapping_mul(MIX);
        OutputId { index: mixed >> 32, ..id }
    }

    /// No more messages will come.
    pub fn end(&mut self) {
        self.ending = true;
    }

    /// Whether all that was pushed is confirmed and, after [`end`](Self::end), the peer knows that no more will come. To a
    /// peer that speaks the verbs of 2016 only: whether all was sent, and answered or written off.
    pub fn is_settled(&self) -> bool {
        match self.stage {
            Stage::Ended => true,
            Stage::Old => self.outbox.is_empty() && self.put.under_way() == 0,
            _ => self.outbox.is_empty() && !self.ending,
        }
    }

    /// All messages below this number are in the peer's hands, at [`level`](Self::level). To a peer that speaks the verbs
    /// of 2016 only: all of them were sent, and nobody knows more.
    pub fn confirmed(&self) -> u64 {
        self.confirmed
    }

    /// The offset of the input that the first message follows from that is not confirmed, if there is one with an id.
    pub fn unconfirmed_from(&self) -> Option<u64> {
        self.outbox.first_offset()
    }

    /// The number of the next message that is pushed.
    pub fn next_sequence(&self) -> u64 {
        self.outbox.next()
    }

    /// How many messages the peer had from this producer before this process began, once that is known.
    pub fn resume_at(&self) -> Option<u64> {
        self.resume_at
    }

    /// Whether messages wait because the peer has no room: it is full, or has as many producers as it may.
    pub fn is_held_back(&self) -> bool {
        self.held_back
    }

    /// What the edge promises, once that is known.
    pub fn negotiated(&self) -> Option<Guarantee> {
        match (&self.stage, self.peer) {
            (Stage::Old, _) => Some(Guarantee::AtMostOnce),
            (_, peer) => peer.map(|_| Guarantee::ExactlyOnce),
        }
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
        self.peer.map(|peer| peer.node)
    }

    /// How far the peer's word goes, if it gives any.
    pub fn level(&self) -> Option<Durability> {
        self.peer.map(|peer| peer.level)
    }

    /// How often the peer was asked who it is since it last answered.
    pub fn unanswered_probes(&self) -> u64 {
        match &self.stage {
            Stage::Discovering(discovery) => discovery.unanswered(),
            Stage::Old => self.put.unanswered_probes(),
            _ => 0,
        }
    }

    /// What came of the messages so far.
    pub fn counts(&self) -> ProducerCounts {
        let sent = self.outbox.sent_below() - self.first;
        ProducerCounts { sent, confirmed: self.counts.confirmed + self.put.counts().confirmed, ..self.counts }
    }

    /// How it stands with the peer that it has now.
    pub fn peer_counts(&self) -> PeerCounts {
        if self.peer.is_none() {
            let PutCounts { sent, confirmed, .. } = self.put.counts();
            return PeerCounts { sent, confirmed };
        }
        PeerCounts { sent: self.outbox.sent_below() - self.peer_first, confirmed: self.confirmed - self.peer_first }
    }

    /// Whether more was pushed than could be sent yet.
    pub fn is_waiting(&self) -> bool {
        self.outbox.has_waiting()
    }

    /// What came of the messages that left on the verbs of 2016.
    pub fn old_counts(&self) -> PutCounts {
        self.put.counts()
    }

    /// How many messages were pushed and are not confirmed.
    pub fn unconfirmed(&self) -> u64 {
        self.outbox.next() - self.confirmed
    }
}

/// What comes in.
impl Producer {
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
            Ok((token, answer)) if self.tokens.knows(token) => self.handle_answer(now.since_start, token, &answer),
            Ok(_) => self.counts.stray += 1,
            Err(LinkError::Call(CallError::Checksum)) => self.counts.bad_checksum += 1,
            Err(LinkError::Field("a")) => self.counts.requests += 1,
            Err(_) => self.counts.malformed += 1,
        }
    }

    fn handle_answer(&mut self, now: Duration, token: u64, answer: &Answer<'_>) {
        match *answer {
            Answer::Opened { epoch, sequence, credit, .. } => self.handle_opened(now, token, epoch, sequence, credit),
            Answer::Stored { sequence, credit, .. } => self.handle_stored(now, token, sequence, credit),
            Answer::Full { sequence, after_ms } => {
                let after = Duration::from_millis(after_ms);
                match self.stage {
                    Stage::Opening { from, .. } if token >= from => self.wait_for_a_place(now, from, after),
                    _ => self.handle_full(now, token, sequence, after),
                }
            }
            Answer::Fenced { epoch } => self.handle_fenced(now, token, epoch),
            Answer::Msg(_) | Answer::None { .. } | Answer::Done { .. } | Answer::Past(_) | Answer::Gone { .. } => {
                self.counts.stray += 1;
            }
        }
    }

    fn handle_old_text(&mut self, now: Duration, text: &[u8]) {
        if let Some((token, welcome)) = Welcome::parse(text) {
            if self.tokens.knows(token) {
                return self.handle_welcome(now, token, welcome);
            }
            self.counts.stray += 1;
            return;
        }
        match &mut self.stage {
            Stage::Discovering(discovery) if is_size(text) => {
                if discovery.handle_size(now) {
                    self.go_old(now, text);
                }
            }
            // Late ones, too, if the peer is something else by now.
            _ if self.put.counts().sent > 0 && self.put.handle_answer(now, text) => {}
            Stage::Old if self.put.handle_answer(now, text) => {}
            _ => self.counts.stray += 1,
        }
    }

    fn handle_welcome(&mut self, now: Duration, token: u64, welcome: Welcome) {
        if matches!(self.stage, Stage::Old) {
            // An upgrade, it seems.
            return self.discover(now);
        }
        let Stage::Discovering(discovery) = &mut self.stage else { return };
        if !discovery.handle_welcome(now, token, &mut self.rtt) {
            return;
        }
        let is_known = self.peer.is_some_and(|peer| identity(peer) == identity(welcome));
        if let Some(epoch) = self.fenced_by.take()
            && is_known
        {
            self.stage = Stage::Failed(Failure::Fenced { epoch });
            return;
        }
        if is_known && self.epoch.is_some() {
            self.stage = Stage::Open;
            return self.go_back();
        }
        if !is_known {
            // A peer that has restarted and kept its messages is still the one that has them.
            if self.peer_node() != Some(welcome.node) {
                self.peer_first = self.confirmed;
            }
            self.peer = Some(welcome);
            self.epoch = None;
        }
        self.stage = Stage::Opening { from: self.tokens.next(), ask_at: now, asked: 0 };
    }

    fn handle_opened(&mut self, now: Duration, token: u64, epoch: u64, sequence: u64, credit: u64) {
        let Stage::Opening { from, .. } = self.stage else { return };
        let Some(peer) = self.peer.filter(|_| token >= from && sequence >= self.confirmed) else { return };
        if self.resume_at.is_none() {
            self.resume_at = Some(sequence);
            (self.first, self.peer_first, self.confirmed) = (sequence, sequence, sequence);
            self.outbox.start(sequence);
        } else if sequence > self.outbox.sent_below() {
            // Another process has sent in this one's place.
            self.stage = Stage::Failed(Failure::Fenced { epoch });
            return;
        } else {
            self.confirm(sequence);
        }
        self.counts.negotiations += 1;
        self.epoch = Some(Epoch { number: epoch, from: self.tokens.next() });
        self.credit = (credit, token);
        self.held_back = false;
        self.timeouts = 0;
        self.takes_back_until.get_or_insert(now + TAKES_BACK_FOR);
        self.rest_until = now;
        self.size_batches(peer);
        self.stage = Stage::Open;
        self.go_back();
    }

    fn size_batches(&mut self, peer: Welcome) {
        let theirs = usize::try_from(peer.datagram_bytes_max).unwrap_or(usize::MAX);
        let datagram_bytes = self.plan.datagram_bytes_max.min(theirs).min(DATAGRAM_BYTES_MAX);
        let header_bytes = self.header_bytes();
        self.batch_limits = BatchLimits {
            bytes_max: datagram_bytes.saturating_sub(header_bytes).min(DATAGRAM_BYTES_MAX - HEADER_BYTES_MAX),
            messages_max: peer.batch_messages_max.max(1),
        };
        self.window = SendWindow::new(self.plan.limits, datagram_bytes);
    }

    /// How long an ENQ's header will be, numbers growing for years.
    fn header_bytes(&self) -> usize {
        const GROWN: u64 = 999_999_999_999_999;
        let derived =
            Derived { node: u64::MAX, generation: 1, stage: self.plan.stage.as_bytes(), low_water: GROWN, ids: &[] };
        let enq = Enq {
            sending: self.sending(GROWN),
            count: 99_999,
            origin_us: 10 * GROWN,
            derived: (!self.plan.stage.is_empty()).then_some(derived),
            frames: &[],
        };
        let mut header = Vec::with_capacity(HEADER_BYTES_MAX);
        Ask::Enq(enq).push(GROWN, &mut header);
        header.len()
    }

    fn handle_stored(&mut self, now: Duration, token: u64, sequence: u64, credit: u64) {
        if !self.is_of_this_epoch(token) {
            self.counts.stray += 1;
            return;
        }
        if let Stage::Discovering(_) = self.stage {
            // It has been slow, not gone.
            self.stage = Stage::Open;
        }
        let Stage::Open = self.stage else { return };
        self.timeouts = 0;
        if token >= self.credit.1 {
            self.credit = (credit, token);
        }
        let below = sequence;
        if !(self.confirmed..=self.outbox.sent_below()).contains(&below) {
            return; // from before an answer that overtook it
        }
        if self.outbox.is_empty() && self.end_from.is_some_and(|from| token >= from) && below == self.outbox.next() {
            self.stage = Stage::Ended;
            return;
        }
        if let Some((first, sent_at)) = self.outbox.first_sent()
            && first == token
            && token >= self.pass_from
        {
            self.rtt.sample(now.saturating_sub(sent_at));
        }
        if below == self.confirmed {
            return self.handle_repeat(token);
        }
        let bytes = self.confirm(below);
        self.window.grow(bytes);
        self.repeats = 0;
        self.fulls = 0;
        // What answers a later sending, and confirms up to a batch from before it: that one is lost, too (RFC 6582).
        let is_from_before = |(first, _): (u64, Duration)| first < self.pass_from && token >= self.pass_from;
        self.send_first_again = self.outbox.first_sent().is_some_and(is_from_before);
        self.held_back = false;
        self.timeout_at = (self.outbox.under_way().0 > 0).then_some(now + self.rtt.timeout());
    }

    fn confirm(&mut self, below: u64) -> usize {
        self.counts.confirmed += below - self.confirmed;
        self.confirmed = below;
        self.outbox.confirm(below)
    }

    /// Later batches arrive and confirm nothing: the oldest is lost.
    fn handle_repeat(&mut self, token: u64) {
        if token < self.pass_from || self.outbox.under_way().0 == 0 {
            return;
        }
        self.repeats += 1;
        if self.repeats == REPEATS_OF_A_LOSS {
            self.repeats = 0;
            self.send_first_again = true;
            self.window.halve();
        }
    }

    fn handle_full(&mut self, now: Duration, token: u64, sequence: u64, after: Duration) {
        let is_current = matches!(self.stage, Stage::Open) && token >= self.pass_from;
        if !is_current || self.outbox.under_way().0 == 0 || sequence < self.confirmed {
            return; // what it refused has been sent again, or was taken
        }
        self.counts.refused_full += 1;
        self.fulls += 1;
        self.timeouts = 0;
        self.held_back = true;
        self.rest = if self.fulls == 1 { after } else { self.rest * 2 }.clamp(Duration::from_millis(1), FULL_REST_MAX);
        self.rest_until = now + self.rest;
        self.window.collapse();
        self.go_back();
        if self.fulls > 1 {
            // There may never be room for all of it.
            self.outbox.halve_first();
        }
    }

    fn handle_fenced(&mut self, now: Duration, token: u64, epoch: u64) {
        match self.stage {
            // It was started anew and remembers our END, whose answer was lost.
            Stage::Opening { from, .. } if token >= from && epoch == 0 && self.ending && self.outbox.is_empty() => {
                self.stage = Stage::Ended;
            }
            Stage::Opening { from, .. } if token >= from => {
                self.give_way(now, epoch);
            }
            Stage::Open | Stage::Discovering(_) if self.is_of_this_epoch(token) => {
                if epoch != 0 && self.may_take_back(now) {
                    self.give_way(now, epoch);
                } else if epoch != 0 {
                    // Or its epoch was the word of a peer that has gone since: see what this one is.
                    self.fenced_by = Some(epoch);
                    self.discover(now);
                } else if self.ending && self.outbox.is_empty() {
                    // It has all, and has forgotten us: that is the end.
                    self.stage = Stage::Ended;
                } else {
                    self.epoch = None;
                    self.discover(now);
                }
            }
            _ => {}
        }
    }

    /// The peer has as many producers as it may.
    fn wait_for_a_place(&mut self, now: Duration, from: u64, after: Duration) {
        self.counts.refused_producers += 1;
        self.held_back = true;
        self.stage = Stage::Opening { from, ask_at: now + after.clamp(FULL_REST_MAX, REFUSED_REST_MAX), asked: 0 };
    }

    fn may_take_back(&self, now: Duration) -> bool {
        self.takes_back < TAKES_BACK_MAX && self.takes_back_until.is_none_or(|until| now < until)
    }

    /// Another process has begun after this one, it seems.
    fn give_way(&mut self, now: Duration, epoch: u64) {
        if epoch == 0 || !self.may_take_back(now) {
            self.stage = Stage::Failed(Failure::Fenced { epoch });
            return;
        }
        self.takes_back += 1;
        self.epoch = None;
        self.stage = Stage::Opening { from: self.tokens.next(), ask_at: now, asked: 0 };
    }

    fn go_old(&mut self, now: Duration, size: &[u8]) {
        self.counts.negotiations += 1;
        self.go_back();
        self.peer = None;
        self.epoch = None;
        self.held_back = false;
        if let Err(failure) = meets(self.plan.floor, Guarantee::AtMostOnce) {
            self.stage = Stage::Failed(failure);
            return;
        }
        self.resume_at.get_or_insert(0);
        self.put.handle_answer(now, size);
        self.probe_at = now + PROBE_EVERY;
        self.stage = Stage::Old;
    }

    fn discover(&mut self, now: Duration) {
        self.timeout_at = None;
        self.timeouts = 0;
        self.stage = Stage::Discovering(Discovery::begin(now, false, &self.tokens));
    }

    /// All that is under way is to be sent again.
    fn go_back(&mut self) {
        self.outbox.go_back();
        self.pass_from = self.tokens.next();
        self.repeats = 0;
        self.send_first_again = false;
        self.timeout_at = None;
    }
}

/// What goes out, and when.
impl Producer {
    /// The next datagram, appended to `out`; whether there was one.
    pub fn poll_transmit(&mut self, now: Now, out: &mut Vec<u8>) -> bool {
        let now = now.since_start;
        match &mut self.stage {
            Stage::Discovering(discovery) => discovery.poll_transmit(now, &mut self.tokens, out),
            Stage::Opening { .. } => self.transmit_open(now, out),
            Stage::Open if now < self.rest_until => false,
            Stage::Open => self.transmit_batch(now, out) || self.transmit_end(now, out),
            Stage::Old => self.transmit_put(now, out),
            Stage::Ended | Stage::Failed(_) => false,
        }
    }

    fn transmit_open(&mut self, now: Duration, out: &mut Vec<u8>) -> bool {
        let Stage::Opening { ask_at, asked, .. } = &mut self.stage else { return false };
        if now < *ask_at {
            return false;
        }
        if *asked >= TIMEOUTS_MAX {
            self.discover(now);
            return self.poll_discovery(now, out);
        }
        *ask_at = now + self.rtt.timeout_after(*asked);
        *asked += 1;
        let nonce = self.plan.nonce.wrapping_add(self.takes_back);
        let ask = Ask::Open { producer: self.plan.producer, nonce, from: self.confirmed };
        ask.push(self.tokens.take(), out);
        true
    }

    fn poll_discovery(&mut self, now: Duration, out: &mut Vec<u8>) -> bool {
        let Stage::Discovering(discovery) = &mut self.stage else { return false };
        discovery.poll_transmit(now, &mut self.tokens, out)
    }

    fn transmit_batch(&mut self, now: Duration, out: &mut Vec<u8>) -> bool {
        let token = self.tokens.next();
        let sent = if self.send_first_again {
            self.send_first_again = false;
            self.pass_from = token;
            self.outbox.send_first_again(token, now)
        } else {
            match self.outbox.waiting() {
                Some((bytes, messages)) if self.may_send(bytes, messages) => self.outbox.send(token, now),
                _ => None,
            }
        };
        let Some(place) = sent else { return false };
        self.tokens.take();
        self.timeout_at.get_or_insert(now + self.rtt.timeout());
        let Some(batch) = self.outbox.under_way_at(place) else { return false };
        self.counts.batches += 1;
        self.counts.resent_batches += u64::from(batch.sendings > 1);
        let derived = batch.input.map(|input| Derived {
            node: input.node,
            generation: input.generation,
            stage: self.plan.stage.as_bytes(),
            low_water: self.low_water(&input),
            ids: &batch.ids,
        });
        let enq = Enq {
            sending: self.sending(batch.first),
            count: batch.count,
            origin_us: batch.origin_us,
            derived,
            frames: &batch.frames,
        };
        Ask::Enq(enq).push(token, out);
        true
    }

    fn may_send(&self, bytes: usize, messages: u64) -> bool {
        let (batches_under_way, bytes_under_way, messages_under_way) = self.outbox.under_way();
        // A lone batch may leave without credit, for only its answer can bring new credit.
        let has_credit = batches_under_way == 0 || messages_under_way + messages <= self.credit.0;
        (has_credit && self.window.has_room(batches_under_way, bytes_under_way, bytes)) || self.faults.no_window
    }

    fn transmit_end(&mut self, now: Duration, out: &mut Vec<u8>) -> bool {
        if !self.ending || !self.outbox.is_empty() || now < self.end_at {
            return false;
        }
        if self.timeouts >= TIMEOUTS_MAX {
            self.discover(now);
            return self.poll_discovery(now, out);
        }
        let token = self.tokens.take();
        self.end_from.get_or_insert(token);
        self.end_at = now + self.rtt.timeout_after(self.timeouts);
        self.timeouts += 1;
        Ask::End(self.sending(self.outbox.next())).push(token, out);
        true
    }

    fn transmit_put(&mut self, now: Duration, out: &mut Vec<u8>) -> bool {
        if now >= self.probe_at && self.outbox.has_waiting() {
            return self.push_probe(now, out);
        }
        let Some(message) = self.outbox.message() else { return false };
        if !self.put.may_put(now) {
            return self.transmit_probe(now, out);
        }
        let pushed = Request::Put(message).push(out);
        debug_assert!(pushed.is_ok(), "a message for the link is short enough for a PUT");
        self.put.handle_put(now);
        if let Some(below) = self.outbox.message_sent() {
            self.confirmed = below;
        }
        true
    }

    /// Asks a silent old peer for its size, in the words to which a newer one would introduce itself.
    fn transmit_probe(&mut self, now: Duration, out: &mut Vec<u8>) -> bool {
        self.put.poll_probe(now) && self.push_probe(now, out)
    }

    fn push_probe(&mut self, now: Duration, out: &mut Vec<u8>) -> bool {
        self.probe_at = now + PROBE_EVERY;
        protocol::link::push_discovery(self.tokens.take(), out);
        true
    }

    /// When [`handle_timeout`](Self::handle_timeout) or [`poll_transmit`](Self::poll_transmit) has something to do without
    /// an answer.
    pub fn poll_timeout(&self) -> Option<Duration> {
        match &self.stage {
            Stage::Discovering(discovery) => Some(discovery.ask_at()),
            Stage::Opening { ask_at, .. } => Some(*ask_at),
            Stage::Open if self.outbox.under_way().0 > 0 => self.timeout_at,
            Stage::Open if self.outbox.has_waiting() => Some(self.rest_until),
            Stage::Open => self.ending.then_some(self.end_at.max(self.rest_until)),
            Stage::Old => self.put.poll_timeout(self.outbox.has_waiting()),
            Stage::Ended | Stage::Failed(_) => None,
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        let now = now.since_start;
        match self.stage {
            Stage::Old => self.put.handle_timeout(now),
            Stage::Open if self.timeout_at.is_some_and(|at| at <= now) => self.lose(now),
            _ => {}
        }
    }

    /// The oldest batch under way was not answered.
    fn lose(&mut self, now: Duration) {
        self.counts.timeouts += 1;
        self.timeouts += 1;
        self.rtt.back_off();
        self.window.halve();
        self.go_back();
        if self.timeouts >= TIMEOUTS_MAX {
            self.discover(now);
        }
    }

    fn is_of_this_epoch(&self, token: u64) -> bool {
        self.epoch.is_some_and(|epoch| token >= epoch.from)
    }

    fn sending(&self, sequence: u64) -> Sending {
        Sending { producer: self.plan.producer, epoch: self.epoch.map_or(0, |epoch| epoch.number), sequence }
    }

    /// The latest that is known of a batch's input, so that a peer whose window is full of ids can move it on.
    fn low_water(&self, input: &Input) -> u64 {
        let latest = self.input.filter(|latest| latest.is_same_queue(input));
        latest.map_or(input.low_water, |latest| latest.low_water.max(input.low_water)) + self.faults.low_water_ahead
    }
}

/// A stage as it may stand in a header's line.
fn stage_name(stage: &str) -> String {
    let mut name: String = stage.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
    name.truncate(STAGE_BYTES_MAX);
    name
}
