//! A naive model of the server, each message on its own in a plain list, and random requests on which both must agree; in
//! memory, and with a log that is opened anew now and then.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    net::SocketAddr,
    time::Duration,
};

use machine::Now;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use protocol::{
    frame,
    link::{Answer, Ask, DeadDo, Deq, Derived, Durability, Enq, GiveBack, Lease, Msg, Place, Sending, push_varint},
};
use simnet::FakeDisk;

use super::{Fault, Ledger, Recovery, Server, ServerLimits, store::MESSAGE_OVERHEAD_BYTES};

const NODE: u64 = 0xabc;
const BOOT: u64 = 3;

/// Where one message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Ready,
    Waiting(u64),
    Leased(u64),
    Done(u64),
    Dead,
    Discarded,
    Popped,
    /// Put back from the dead letters, at another offset.
    Requeued,
}

#[derive(Debug, Clone)]
struct Message {
    frame: Vec<u8>,
    origin_us: u64,
    at: At,
    attempts: u64,
    failures: u64,
    /// That of its ids.
    generation: u64,
}

impl Message {
    fn is_closed(&self) -> bool {
        matches!(self.at, At::Done(_) | At::Dead | At::Discarded | At::Popped | At::Requeued)
    }

    fn cost(&self) -> u64 {
        self.frame.len() as u64 + MESSAGE_OVERHEAD_BYTES
    }
}

#[derive(Debug, Clone)]
struct Batch {
    producer: u128,
    epoch: u64,
    sequence: u64,
    origin_us: u64,
    frames: Vec<Vec<u8>>,
    derived: Option<Ids>,
}

#[derive(Debug, Clone)]
struct Ids {
    node: u64,
    low_water: u64,
    pairs: Vec<(u64, u64)>,
}

/// Whether they come from the queue's own messages, a low water, and offsets and indexes.
type IdsDrawn = (bool, u64, BTreeSet<(u64, u64)>);

#[derive(Debug, Default)]
struct Producer {
    epoch: u64,
    next: u64,
    nonces: Vec<u64>,
    held: BTreeMap<u64, (u64, Batch)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    Opened(u64, u64),
    Stored(u64),
    Full(u64),
    NoProducer(u64),
    Fenced(u64),
    Done(Vec<u8>, u64),
    /// For a DEQ: nothing, and whether its lease has ended.
    None(bool),
    /// For a DEQ: this again, or what is left of it.
    Again(Lease),
    /// For a DEQ: what is first.
    First,
}

#[derive(Debug, Clone)]
struct Request {
    token: u64,
    session: u64,
    delivery: u64,
    messages_max: u64,
    bytes_max: u64,
    lease_ms: u64,
    letters: Vec<u8>,
    until: u64,
    /// It was asked for with the delivery before it in this step: what is there for it is known once that is answered.
    is_new: bool,
}

struct Model {
    limits: ServerLimits,
    level: Durability,
    boot: u64,
    generation: u64,
    now: u64,
    messages: Vec<Message>,
    /// Never handed out from here on.
    fresh: usize,
    epoch: u64,
    producers: BTreeMap<u128, Producer>,
    ended: BTreeMap<u128, (u64, u64, Vec<u64>)>,
    windows: BTreeMap<u64, (u64, BTreeSet<(u64, u64)>)>,
    /// What a log knows of their low waters.
    logged_low_waters: BTreeMap<u64, u64>,
    /// What became of messages before a SEEK made them ready again.
    before_seek: Ledger,
    sessions: BTreeMap<u64, (u64, BTreeMap<u64, Lease>)>,
    parked: Vec<Request>,
    /// The session whose turn was last.
    last: u64,
    counts: Ledger,
    /// By token and, for a DEQ, delivery.
    expected: BTreeMap<(u64, u64), (Expected, Option<Request>)>,
}

impl Model {
    fn new(limits: ServerLimits, level: Durability, boot: u64) -> Self {
        Self {
            limits,
            level,
            boot,
            generation: 1,
            now: 0,
            messages: Vec::new(),
            fresh: 0,
            epoch: boot << 32,
            producers: BTreeMap::new(),
            ended: BTreeMap::new(),
            windows: BTreeMap::new(),
            logged_low_waters: BTreeMap::new(),
            before_seek: Ledger::default(),
            sessions: BTreeMap::new(),
            parked: Vec::new(),
            last: 0,
            counts: Ledger::default(),
            expected: BTreeMap::new(),
        }
    }

    fn sum(&self, of: impl Fn(&Message) -> bool, value: impl Fn(&Message) -> u64) -> u64 {
        self.messages.iter().filter(|message| of(message)).map(value).sum()
    }

    fn ledger(&self) -> Ledger {
        let count = |of: fn(&At) -> bool| self.sum(|message| of(&message.at), |_| 1);
        Ledger {
            ready: count(|at| matches!(at, At::Ready | At::Waiting(_))),
            leased: count(|at| matches!(at, At::Leased(_))),
            done: count(|at| matches!(at, At::Done(_))) + self.before_seek.done,
            dead: count(|at| *at == At::Dead),
            popped: count(|at| *at == At::Popped) + self.before_seek.popped,
            discarded: count(|at| *at == At::Discarded) + self.before_seek.discarded,
            ..self.counts
        }
    }

    fn low_water(&self) -> u64 {
        self.messages.iter().position(|message| !message.is_closed()).unwrap_or(self.messages.len()) as u64
    }

    /// `input` is the node of the queue that they were made from, if they were.
    fn has_room(&self, frames: &[Vec<u8>], input: Option<u64>) -> Result<(), bool> {
        let wanted = |from: usize| self.messages.iter().skip(from).filter(|message| !message.is_closed());
        let more: u64 = frames.iter().map(|frame| frame.len() as u64 + MESSAGE_OVERHEAD_BYTES).sum();
        for (is_count, max) in [(true, self.limits.messages_max), (false, self.limits.bytes_max)] {
            let value = |message: &Message| if is_count { 1 } else { message.cost() };
            let more = if is_count { frames.len() as u64 } else { more };
            let (all, fresh) =
                (more + wanted(0).map(value).sum::<u64>(), more + wanted(self.fresh).map(value).sum::<u64>());
            let fits = match input {
                None => all <= max,
                Some(NODE) => fresh <= 2 * max + (all - fresh),
                Some(_) => fresh <= max && all <= 2 * max,
            };
            if !fits {
                return Err(is_count);
            }
        }
        Ok(())
    }

    fn credit(&self) -> u64 {
        let open = |message: &Message| !message.is_closed();
        let messages = self.limits.messages_max.saturating_sub(self.sum(open, |_| 1));
        messages.min(self.limits.bytes_max.saturating_sub(self.sum(open, Message::cost)) / (2 + MESSAGE_OVERHEAD_BYTES))
    }

    fn append(&mut self, frames: &[Vec<u8>], origin_us: u64, input: Option<u64>) -> bool {
        match self.has_room(frames, input) {
            Err(true) => self.counts.refused_messages_max += frames.len() as u64,
            Err(false) => self.counts.refused_bytes_max += frames.len() as u64,
            Ok(()) => {
                self.counts.accepted += frames.len() as u64;
                self.push(frames, origin_us);
                return true;
            }
        }
        false
    }

    fn push(&mut self, frames: &[Vec<u8>], origin_us: u64) {
        let generation = self.generation;
        self.messages.extend(frames.iter().map(|frame| Message {
            frame: frame.clone(),
            origin_us,
            at: At::Ready,
            attempts: 0,
            failures: 0,
            generation,
        }));
    }

    /// The message that goes out first.
    fn first(&self) -> Option<usize> {
        let back = self.messages[..self.fresh].iter().position(|message| message.at == At::Ready);
        back.or((self.fresh < self.messages.len()).then_some(self.fresh))
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let first = self.first()?;
        self.fresh = self.fresh.max(first + 1);
        self.messages[first].at = At::Popped;
        Some(self.messages[first].frame.clone())
    }

    fn open(&mut self, token: u64, producer: u128, nonce: u64, from: u64) {
        let live = self.producers.len() as u64;
        let expected = match self.producers.get_mut(&producer) {
            Some(known) if known.nonces.last() == Some(&nonce) && known.epoch > 0 => {
                if from > known.next {
                    known.next = from;
                    known.held.clear();
                }
                Expected::Opened(known.epoch, known.next)
            }
            Some(known) if known.nonces.iter().rev().skip(1).any(|older| *older == nonce) => {
                Expected::Fenced(known.epoch)
            }
            Some(known) => {
                self.epoch += 1;
                known.held.clear();
                if known.nonces.last() != Some(&nonce) {
                    known.nonces.push(nonce);
                }
                known.epoch = self.epoch;
                known.next = known.next.max(from);
                Expected::Opened(known.epoch, known.next)
            }
            None if self.ended.get(&producer).is_some_and(|ended| ended.2.contains(&nonce)) => Expected::Fenced(0),
            None if live == self.limits.producers_max => {
                self.counts.refused_producers += 1;
                Expected::NoProducer(from)
            }
            None => {
                self.epoch += 1;
                let mut nonces = self.ended.remove(&producer).map(|ended| ended.2).unwrap_or_default();
                nonces.push(nonce);
                self.producers
                    .insert(producer, Producer { epoch: self.epoch, next: from, nonces, ..Producer::default() });
                Expected::Opened(self.epoch, from)
            }
        };
        self.expect(token, expected);
    }

    fn expect(&mut self, token: u64, expected: Expected) {
        self.counts.fenced += u64::from(matches!(expected, Expected::Fenced(_)));
        self.counts.nones += u64::from(matches!(expected, Expected::None(_)));
        self.expected.insert((token, 0), (expected, None));
    }

    fn end(&mut self, token: u64, producer: u128, epoch: u64, sequence: u64) {
        let expected = match self.producers.get(&producer) {
            Some(known) if known.epoch != epoch || epoch == 0 => Expected::Fenced(known.epoch),
            Some(known) if known.next < sequence => Expected::Stored(known.next),
            Some(_) => {
                let known = self.producers.remove(&producer).unwrap();
                self.ended.insert(producer, (known.epoch, known.next, known.nonces));
                Expected::Stored(sequence)
            }
            None => match self.ended.get(&producer) {
                Some((ended, next, _)) if *ended == epoch => Expected::Stored(sequence.min(*next)),
                _ => Expected::Fenced(0),
            },
        };
        self.expect(token, expected);
    }

    fn enq(&mut self, token: u64, batch: Batch) {
        let Some(known) =
            self.producers.get_mut(&batch.producer).filter(|known| known.epoch == batch.epoch && known.epoch > 0)
        else {
            let epoch = self.producers.get(&batch.producer).map_or(0, |known| known.epoch);
            return self.expect(token, Expected::Fenced(epoch));
        };
        let count = batch.frames.len() as u64;
        if batch.sequence + count <= known.next {
            self.counts.duplicates += count;
            let next = known.next;
            return self.expect(token, Expected::Stored(next));
        }
        if batch.sequence > known.next {
            let next = known.next;
            match known.held.get_mut(&batch.sequence) {
                Some((asker, held)) if held.frames.len() as u64 >= count => *asker = token,
                _ => {
                    self.counts.held += count;
                    known.held.insert(batch.sequence, (token, batch));
                }
            }
            return self.expect(token, Expected::Stored(next));
        }
        let producer = batch.producer;
        let mut refused = !self.apply(token, &batch);
        let taken = !refused;
        while let Some((asker, batch)) = self.next_held(producer, refused) {
            if refused {
                let next = self.producers[&producer].next;
                self.expect(asker, Expected::Full(next));
            } else {
                refused = !self.apply(asker, &batch);
            }
        }
        if taken {
            let next = self.producers[&producer].next;
            self.expect(token, Expected::Stored(next));
        }
    }

    fn next_held(&mut self, producer: u128, any: bool) -> Option<(u64, Batch)> {
        let known = self.producers.get_mut(&producer)?;
        let first = *known.held.first_key_value()?.0;
        (any || first <= known.next).then(|| known.held.remove(&first)).flatten()
    }

    /// A batch whose turn it is; `false` if there is no room, which is said to whoever asks with `token`.
    fn apply(&mut self, token: u64, batch: &Batch) -> bool {
        let next = self.producers[&batch.producer].next;
        let end = batch.sequence + batch.frames.len() as u64;
        let skip = usize::try_from(next - batch.sequence).unwrap();
        if end <= next {
            self.counts.duplicates += batch.frames.len() as u64;
            return true;
        }
        let (mut frames, mut ids) = (batch.frames[skip..].to_vec(), Vec::new());
        if let Some(derived) = &batch.derived {
            let window = self.windows.entry(derived.node).or_default();
            window.0 = window.0.max(derived.low_water);
            ids = derived.pairs[skip..].to_vec();
            let new = |id: &(u64, u64)| id.0 >= window.0 && !window.1.contains(id);
            frames = frames.into_iter().zip(&ids).filter(|(_, id)| new(id)).map(|(frame, _)| frame).collect();
        }
        if !frames.is_empty()
            && !self.append(&frames, batch.origin_us, batch.derived.as_ref().map(|derived| derived.node))
        {
            self.expect(token, Expected::Full(next));
            return false;
        }
        self.counts.duplicates += skip as u64;
        let known = self.producers.get_mut(&batch.producer).unwrap();
        known.next = end;
        if let Some(derived) = &batch.derived {
            self.logged_low_waters.insert(derived.node, self.windows[&derived.node].0);
        }
        if let Some(derived) = &batch.derived {
            self.counts.duplicate_ids += (ids.len() - frames.len()) as u64;
            self.windows.entry(derived.node).or_default().1.extend(ids);
        }
        true
    }

    /// The log has a snapshot of all that is known now.
    fn note_snapshot(&mut self) {
        self.logged_low_waters = self.windows.iter().map(|(node, window)| (*node, window.0)).collect();
    }

    /// The server is started anew from its log.
    fn restart(&mut self, boot: u64) {
        self.counts = Ledger {
            accepted: self.counts.accepted,
            requeued: self.counts.requeued,
            replayed: self.counts.replayed,
            duplicate_ids: self.counts.duplicate_ids,
            ..Ledger::default()
        };
        for known in self.producers.values_mut() {
            known.epoch = 0;
            known.held.clear();
        }
        for (node, window) in &mut self.windows {
            window.0 = self.logged_low_waters.get(node).copied().unwrap_or_default();
        }
        self.epoch = boot << 32;
        self.forget_consumers(boot);
    }

    fn forget_consumers(&mut self, boot: u64) {
        self.boot = boot;
        self.sessions.clear();
        self.parked.clear();
        self.last = 0;
        for message in &mut self.messages {
            match message.at {
                At::Leased(_) | At::Waiting(_) => message.at = At::Ready,
                At::Done(_) => message.at = At::Done(0), // whose attempt it was is forgotten
                _ => {}
            }
        }
    }

    fn seek(&mut self, token: u64, to: u64) {
        self.forget_consumers(self.boot + 1);
        self.generation += 1;
        let to = self.fresh.min(usize::try_from(to).unwrap());
        let mut again = 0;
        for message in self.messages.iter_mut().skip(to) {
            match message.at {
                At::Done(_) => self.before_seek.done += 1,
                At::Popped => self.before_seek.popped += 1,
                At::Discarded => self.before_seek.discarded += 1,
                At::Requeued => {}
                At::Dead | At::Ready | At::Waiting(_) | At::Leased(_) => continue,
            }
            again += 1;
            let generation = self.generation;
            *message = Message { at: At::Ready, attempts: 0, failures: 0, generation, ..message.clone() };
        }
        self.counts.accepted += again;
        self.counts.replayed += again;
        self.expect(token, Expected::Done(Vec::new(), again));
    }

    fn finish(&mut self, list: &[Named]) -> Vec<u8> {
        list.iter()
            .map(|named| {
                let letter = self.finish_one(named);
                self.counts.other_finishes += u64::from(letter == b'o');
                self.counts.unknown_leases += u64::from(letter == b'x');
                letter
            })
            .collect()
    }

    fn finish_one(&mut self, named: &Named) -> u8 {
        let Lease { boot, first, count, attempt } = named.lease;
        if boot != self.boot || attempt == 0 {
            return b'x';
        }
        let parts: &[(u64, u64)] = if named.parts.is_empty() { &[(0, count - 1)] } else { &named.parts };
        let offsets = parts.iter().filter(|(_, to)| *to < count).flat_map(|(from, to)| first + from..=first + to);
        let worst = offsets.map(|offset| self.finish_message(usize::try_from(offset).unwrap(), attempt)).max();
        [b'd', b'l', b'o', b'x'][worst.unwrap_or(3)]
    }

    fn finish_message(&mut self, offset: usize, attempt: u64) -> usize {
        if offset >= self.fresh {
            return 3;
        }
        let message = &mut self.messages[offset];
        match message.at {
            At::Done(by) => 2 * usize::from(by != attempt),
            At::Dead | At::Discarded | At::Popped | At::Requeued => 2,
            _ if message.attempts < attempt => 3,
            at => {
                let late = message.attempts != attempt || !matches!(at, At::Leased(_));
                message.at = At::Done(attempt);
                self.counts.late_finishes += u64::from(late);
                usize::from(late)
            }
        }
    }

    fn holds(&self, lease: Lease) -> Vec<usize> {
        let Lease { boot, first, count, attempt } = lease;
        let offsets = first..(first + count).min(self.messages.len() as u64);
        let held = |offset: &usize| {
            let message = &self.messages[*offset];
            boot == self.boot && message.attempts == attempt && matches!(message.at, At::Leased(_))
        };
        offsets.map(|offset| usize::try_from(offset).unwrap()).filter(held).collect()
    }

    /// Whether anything of it is out still.
    fn touch(&mut self, lease: Lease, lease_ms: u64) -> bool {
        let held = self.holds(lease);
        for offset in &held {
            self.messages[*offset].at = At::Leased(self.now + lease_ms.max(10));
        }
        !held.is_empty()
    }

    fn nak(&mut self, token: u64, lease: Lease, how: GiveBack, delay: u64) {
        let held = self.holds(lease);
        for offset in &held {
            match how {
                GiveBack::Quiet => self.put_back(*offset, delay),
                GiveBack::Counted => self.fail(*offset, delay),
                GiveBack::Dead => self.messages[*offset].at = At::Dead,
            }
        }
        let letter = if held.is_empty() { b'x' } else { b'd' };
        self.expect(token, Expected::Done(vec![letter], 0));
    }

    fn fail(&mut self, offset: usize, delay: u64) {
        let message = &mut self.messages[offset];
        message.failures += 1;
        if message.failures == 5 {
            message.at = At::Dead;
        } else {
            let rest = [0, 0, 100, 200, 400][usize::try_from(message.failures).unwrap()];
            self.put_back(offset, delay.max(rest));
        }
    }

    fn put_back(&mut self, offset: usize, delay: u64) {
        self.messages[offset].at = if delay == 0 { At::Ready } else { At::Waiting(self.now + delay) };
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        for offset in 0..self.messages.len() {
            match self.messages[offset].at {
                At::Leased(ends) if ends <= self.now => {
                    self.counts.lease_ended += 1;
                    self.fail(offset, 0);
                }
                At::Waiting(until) if until <= self.now => self.messages[offset].at = At::Ready,
                _ => {}
            }
        }
    }

    fn deq(&mut self, request: Request, open_from: u64, wait_ms: u64) {
        let Request { token, session, delivery, is_new: follows, .. } = request;
        let known = self.sessions.entry(session).or_default();
        known.0 = known.0.max(open_from);
        let (open_from, given) = (known.0, known.1.get(&delivery).copied());
        self.parked.retain(|parked| parked.session != session || parked.delivery >= open_from);
        let expected = match given {
            _ if delivery < open_from => Expected::None(true),
            Some(lease) if self.holds(lease).is_empty() => Expected::None(true),
            Some(lease) => {
                self.touch(lease, request.lease_ms);
                Expected::Again(lease)
            }
            None if request.messages_max == 0 => Expected::None(false),
            None if !follows && self.first().is_some() => Expected::First,
            None if !follows && wait_ms == 0 => Expected::None(false),
            None => {
                let mut same = self.parked.iter_mut();
                match same.find(|parked| parked.session == session && parked.delivery == delivery) {
                    Some(parked) if wait_ms > 0 => *parked = request,
                    _ => self.parked.push(request),
                }
                return;
            }
        };
        self.counts.nones += u64::from(matches!(expected, Expected::None(_)));
        self.expected.insert((token, delivery), (expected, Some(request)));
    }

    fn dead_from(&self, from: u64, max: u64) -> Vec<usize> {
        let dead = (0..self.messages.len()).filter(|offset| self.messages[*offset].at == At::Dead);
        dead.filter(|offset| *offset as u64 >= from).take(usize::try_from(max).unwrap()).collect()
    }

    fn dead(&mut self, token: u64, what: DeadDo, from: u64, max: u64) {
        let mut count = 0;
        for offset in self.dead_from(from, max) {
            let Message { frame, origin_us, .. } = self.messages[offset].clone();
            if what == DeadDo::Requeue {
                if self.has_room(std::slice::from_ref(&frame), None).is_err() {
                    break;
                }
                self.push(&[frame], origin_us);
                self.counts.requeued += 1;
            }
            self.messages[offset].at = if what == DeadDo::Requeue { At::Requeued } else { At::Discarded };
            count += 1;
        }
        self.expect(token, Expected::Done(Vec::new(), count));
    }

    /// Checks an answer to a DEQ that holds messages, and hands them out here, too.
    fn give(&mut self, request: &Request, msg: &Msg<'_>, again: Option<Lease>) {
        let Lease { boot, first, count, attempt } = msg.lease;
        let range = usize::try_from(first).unwrap()..usize::try_from(first + count).unwrap();
        let messages = &self.messages[range.clone()];
        assert!(boot == self.boot && count >= 1);
        assert_eq!(msg.frames, messages.iter().flat_map(|message| message.frame.clone()).collect::<Vec<_>>());
        assert_eq!((msg.origin_us, msg.low_water), (messages[0].origin_us, self.low_water()));
        assert!(messages.iter().all(|message| message.generation == msg.generation));
        assert_eq!((msg.delivery, msg.finished), (request.delivery, &request.letters[..]));
        if let Some(lease) = again {
            let held = self.holds(lease);
            assert!(attempt == lease.attempt && held.starts_with(&range.collect::<Vec<_>>()), "{held:?}");
            return;
        }
        assert_eq!(Some(range.start), self.first(), "what is first goes first");
        assert!(messages.iter().all(|message| message.at == At::Ready && message.attempts + 1 == attempt));
        assert!(messages.iter().all(|message| message.failures == messages[0].failures));
        assert!(range.end <= self.fresh || range.start >= self.fresh, "what was out does not go with what was not");
        assert!(count <= request.messages_max && (count == 1 || msg.frames.len() as u64 <= request.bytes_max));
        assert!(count == 1 || messages[0].failures < 4, "the last attempt is a message's own");
        self.counts.redelivered += if attempt > 1 { count } else { 0 };
        self.fresh = self.fresh.max(range.end);
        for message in &mut self.messages[range] {
            message.at = At::Leased(self.now + request.lease_ms);
            message.attempts = attempt;
        }
        self.sessions.entry(request.session).or_default().1.insert(request.delivery, msg.lease);
    }

    /// Checks one answer.
    fn hear(&mut self, token: u64, answer: &Answer<'_>) -> Option<Lease> {
        let delivery = match answer {
            Answer::Msg(Msg { delivery, .. }) | Answer::None { delivery, .. } => *delivery,
            _ => 0,
        };
        let parked = self.parked.iter().position(|request| (request.token, request.delivery) == (token, delivery));
        let (expected, request) = match parked {
            Some(place) => {
                let request = self.parked.remove(place);
                let over = request.until <= self.now;
                if !over && !request.is_new {
                    let waiting = self.parked.iter().chain([&request]).filter(|request| !request.is_new);
                    let turn = waiting.map(|other| (other.session <= self.last, other.session, other.delivery)).min();
                    assert_eq!(
                        turn.map(|(_, session, delivery)| (session, delivery)),
                        Some((request.session, delivery))
                    );
                    self.last = request.session;
                }
                let expected = if self.first().is_some() { Expected::First } else { Expected::None(false) };
                assert!(over || expected == Expected::First, "it waits until its time is over");
                self.counts.nones += u64::from(expected == Expected::None(false));
                (expected, Some(request))
            }
            None => self.expected.remove(&(token, delivery)).unwrap_or_else(|| panic!("unasked: {token} {answer:?}")),
        };
        let letters = request.as_ref().map(|request| request.letters.clone()).unwrap_or_default();
        let (credit, level) = (self.credit(), self.level);
        let expected = match &expected {
            Expected::Opened(epoch, sequence) => Answer::Opened { epoch: *epoch, sequence: *sequence, level, credit },
            Expected::Stored(sequence) => Answer::Stored { sequence: *sequence, level, credit },
            Expected::Full(sequence) => Answer::Full { sequence: *sequence, after_ms: 10 },
            Expected::NoProducer(sequence) => Answer::Full { sequence: *sequence, after_ms: 1_000 },
            Expected::Fenced(epoch) => Answer::Fenced { epoch: *epoch },
            Expected::Done(letters, count) => Answer::Done { finished: letters, count: *count, level, body: b"" },
            Expected::None(ended) => {
                Answer::None { delivery: request.as_ref().unwrap().delivery, ended: *ended, finished: &letters, level }
            }
            Expected::Again(_) | Expected::First => {
                let Answer::Msg(msg) = answer else { panic!("{answer:?} instead of {expected:?}") };
                let again = if let Expected::Again(lease) = expected { Some(lease) } else { None };
                self.give(request.as_ref().unwrap(), msg, again);
                return Some(msg.lease);
            }
        };
        assert_eq!(*answer, expected);
        None
    }
}

/// An entry of a finish list.
#[derive(Debug, Clone)]
struct Named {
    lease: Lease,
    parts: Vec<(u64, u64)>,
}

/// Which lease is named, of those that were given; now and then it is garbled.
#[derive(Debug, Clone)]
struct Which {
    of: prop::sample::Index,
    garbled: u8,
    parts: Vec<(u64, u64)>,
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize),
    Pop,
    Open {
        producer: u128,
        nonce: u64,
        from: u64,
    },
    Enq {
        producer: u128,
        stale: bool,
        ahead: i64,
        lens: Vec<usize>,
        ids: Option<IdsDrawn>,
    },
    End {
        producer: u128,
        ahead: u64,
    },
    Deq {
        session: u64,
        back: u64,
        deliveries: u64,
        close: bool,
        messages_max: u64,
        bytes_max: u64,
        wait: u64,
        lease: u64,
        list: Vec<Which>,
    },
    Ack(Vec<Which>),
    Nak(Which, GiveBack, u64),
    Touch(Which, u64),
    Dead(DeadDo, u64, u64),
    Pass(u64),
    /// Of a server with a log only.
    Seek(u64),
    /// Likewise.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = || prop_oneof![20 => 0_usize..40, 1 => 5_000_usize..12_000];
    let which = || {
        let parts = prop_oneof![3 => Just(Vec::new()), 1 => vec((0_u64..6, 0_u64..6), 1..3)];
        let garbled = prop_oneof![20 => Just(0_u8), 1 => 1_u8..5];
        (any::<prop::sample::Index>(), garbled, parts).prop_map(|(of, garbled, mut parts)| {
            parts.retain(|(from, to)| from <= to);
            Which { of, garbled, parts }
        })
    };
    let ids = || {
        let set = proptest::collection::btree_set((0_u64..40, 0_u64..3), 6);
        prop_oneof![2 => Just(None), 1 => (any::<bool>(), 0_u64..20, set).prop_map(Some)]
    };
    let ahead = prop_oneof![4 => Just(0_i64), 2 => -4_i64..5];
    let how = prop_oneof![Just(GiveBack::Quiet), Just(GiveBack::Counted), Just(GiveBack::Dead)];
    let what = prop_oneof![Just(DeadDo::Requeue), Just(DeadDo::Drop)];
    let wait = prop_oneof![Just(0_u64), 0_u64..1_500];
    let deq = (
        0_u64..3,
        (0_u64..3, 0_u64..4),
        any::<bool>(),
        0_u64..8,
        prop_oneof![Just(64_000_u64), 0_u64..200],
        wait,
        0_u64..500,
    );
    let step = prop_oneof![
        2 => len().prop_map(Step::Put),
        2 => Just(Step::Pop),
        2 => (0_u128..4, 0_u64..4, 0_u64..3).prop_map(|(producer, nonce, from)| Step::Open { producer, nonce, from }),
        8 => (0_u128..3, prop::bool::weighted(0.05), ahead, vec(len(), 1..6), ids())
            .prop_map(|(producer, stale, ahead, lens, ids)| Step::Enq { producer, stale, ahead, lens, ids }),
        1 => (0_u128..3, 0_u64..2).prop_map(|(producer, ahead)| Step::End { producer, ahead }),
        8 => (deq, vec(which(), 0..3)).prop_map(|((session, numbers, close, messages_max, bytes_max, wait, lease), list)| {
            let (back, deliveries) = numbers;
            Step::Deq { session, back, deliveries, close, messages_max, bytes_max, wait, lease, list }
        }),
        3 => vec(which(), 1..4).prop_map(Step::Ack),
        3 => (which(), how, prop_oneof![Just(0_u64), 0_u64..300]).prop_map(|(which, how, delay)| Step::Nak(which, how, delay)),
        1 => (which(), 0_u64..600).prop_map(|(which, ms)| Step::Touch(which, ms)),
        1 => (what, 0_u64..20, 0_u64..4).prop_map(|(what, from, max)| Step::Dead(what, from, max)),
        5 => (0_u64..300).prop_map(Step::Pass),
        1 => (0_u64..60).prop_map(Step::Seek),
        1 => Just(Step::Restart),
    ];
    vec(step, 1..120)
}

/// Server and model side by side.
struct Trial {
    server: Server,
    model: Model,
    log: Option<(FakeDisk, wal::Log)>,
    fault: Option<Fault>,
    token: u64,
    leases: Vec<Lease>,
    last_delivery: BTreeMap<u64, u64>,
}

impl Trial {
    fn new(limits: ServerLimits, fault: Option<Fault>, with_log: bool) -> Self {
        let (server, log, level) = if with_log {
            let disk = FakeDisk::new();
            let (server, log) = recover(&disk, limits, fault, 0);
            (server, Some((disk, log)), Durability::Disk)
        } else {
            (Server::with_fault(NODE, BOOT, limits, fault), None, Durability::Memory)
        };
        let model = Model::new(limits, level, server.boot());
        let mut trial =
            Self { server, model, log, fault, token: 0, leases: Vec::new(), last_delivery: BTreeMap::new() };
        trial.commit();
        trial
    }

    /// Lets the log write and read all that is to be.
    fn commit(&mut self) {
        let Some((_, log)) = &mut self.log else { return };
        let since_start = Duration::from_millis(self.model.now);
        let now = Now { since_start, since_epoch: since_start };
        while let Some(commit) = self.server.poll_commit(now) {
            if commit.snapshot.is_some() {
                self.model.note_snapshot();
            }
            let committed = log.commit(commit).unwrap();
            self.server.handle_committed(now, committed).unwrap();
        }
    }

    fn restart(&mut self) {
        let Some((disk, log)) = self.log.take() else { return };
        drop(log);
        let disk = disk.kill();
        let (server, log) = recover(&disk, self.model.limits, self.fault, self.model.now * 1_000);
        self.model.restart(server.boot());
        (self.server, self.log) = (server, Some((disk, log)));
        self.commit();
    }

    fn now(&self) -> Now {
        let since_start = Duration::from_millis(self.model.now);
        Now { since_start, since_epoch: since_start }
    }

    /// A message that is like no other.
    fn frame(&mut self, len: usize) -> Vec<u8> {
        self.token += 1;
        let mut text = self.token.to_string().into_bytes();
        text.resize(len.max(text.len()), b'.');
        let mut framed = Vec::new();
        frame::push(&text, &mut framed).unwrap();
        framed
    }

    fn ask(&mut self, ask: &Ask<'_>) {
        self.server.handle(self.now(), SocketAddr::from(([127, 0, 0, 1], 9)), self.token, ask);
    }

    fn named(&self, which: &Which) -> Named {
        let mut lease = Lease { boot: self.model.boot, first: 0, count: 3, attempt: 1 };
        if !self.leases.is_empty() {
            lease = *which.of.get(&self.leases);
        }
        match which.garbled {
            1 => lease.boot += 1,
            2 => lease.attempt += 1,
            3 => lease.attempt -= 1,
            4 => lease = Lease { first: lease.first + 1, count: lease.count + 3, ..lease },
            _ => {}
        }
        Named { lease, parts: which.parts.clone() }
    }

    fn step(&mut self, step: Step) {
        self.token += 1;
        let token = self.token;
        match step {
            Step::Put(len) => {
                let framed = self.frame(len);
                let put = self.server.put(self.now(), frame::only(&framed).unwrap());
                let origin_us = self.model.now * 1_000;
                assert_eq!(put.is_ok(), self.model.append(&[framed], origin_us, None));
            }
            Step::Pop => {
                let mut out = Vec::new();
                let popped = self.server.pop(self.now(), &mut out);
                assert_eq!(popped.map(|_| out), self.model.pop());
            }
            Step::Open { producer, nonce, from } => {
                self.ask(&Ask::Open { producer, nonce, from });
                self.model.open(token, producer, nonce, from);
            }
            Step::Enq { producer, stale, ahead, lens, ids } => self.enq(producer, stale, ahead, &lens, ids),
            Step::End { producer, ahead } => {
                let known = self.model.producers.get(&producer).map(|known| (known.epoch, known.next + ahead));
                let ended = self.model.ended.get(&producer).map(|(epoch, next, _)| (*epoch, *next + ahead));
                let (epoch, sequence) = known.or(ended).unwrap_or_default();
                self.ask(&Ask::End(Sending { producer, epoch, sequence }));
                self.model.end(token, producer, epoch, sequence);
            }
            Step::Deq { .. } => self.deq(step),
            Step::Ack(list) => {
                let list: Vec<Named> = list.iter().map(|which| self.named(which)).collect();
                self.ask(&Ask::Ack { finished: written(&list).as_bytes() });
                let letters = self.model.finish(&list);
                self.model.expect(token, Expected::Done(letters, 0));
            }
            Step::Nak(which, how, delay_ms) => {
                let lease = self.named(&which).lease;
                let list = written(&[Named { lease, parts: Vec::new() }]);
                self.ask(&Ask::Nak { leases: list.as_bytes(), how, delay_ms, reasons: b"13why" });
                self.model.nak(token, lease, how, delay_ms);
            }
            Step::Touch(which, lease_ms) => {
                let lease = self.named(&which).lease;
                let list = written(&[Named { lease, parts: Vec::new() }]);
                self.ask(&Ask::Touch { leases: list.as_bytes(), lease_ms });
                let letter = if self.model.touch(lease, lease_ms) { b'd' } else { b'x' };
                self.model.expect(token, Expected::Done(vec![letter], 0));
            }
            Step::Dead(what, from, max) => {
                self.ask(&Ask::Dead { what, from, max });
                self.model.dead(token, what, from, max);
            }
            Step::Pass(ms) => {
                self.model.pass(ms);
                self.server.handle_timeout(self.now());
            }
            Step::Seek(to) => {
                if self.log.is_some() {
                    let to = to.min(self.model.messages.len() as u64);
                    self.ask(&Ask::Seek { to: Place::Offset(to) });
                    self.model.seek(token, to);
                }
            }
            Step::Restart => self.restart(),
        }
        self.compare();
    }

    fn enq(&mut self, producer: u128, stale: bool, ahead: i64, lens: &[usize], ids: Option<IdsDrawn>) {
        let known = self.model.producers.get(&producer).map(|known| (known.epoch, known.next)).unwrap_or_default();
        let sequence = known.1.saturating_add_signed(ahead);
        let frames: Vec<Vec<u8>> = lens.iter().map(|len| self.frame(*len)).collect();
        self.token += 1;
        let derived = ids.map(|(own, low_water, ids)| Ids {
            node: if own { NODE } else { 9 },
            low_water,
            pairs: ids.into_iter().take(lens.len()).collect(),
        });
        let (epoch, origin_us) = (known.0 - u64::from(stale && known.0 > 0), self.token);
        let (body, mut id_bytes, mut before) = (frames.concat(), Vec::new(), 0);
        for (offset, index) in derived.iter().flat_map(|derived| &derived.pairs) {
            push_varint(offset - before, &mut id_bytes);
            push_varint(*index, &mut id_bytes);
            before = *offset;
        }
        let enq = Enq {
            sending: Sending { producer, epoch, sequence },
            count: frames.len() as u64,
            origin_us,
            derived: derived.as_ref().map(|Ids { node, low_water, .. }| Derived {
                node: *node,
                generation: 1,
                stage: b"s",
                low_water: *low_water,
                ids: &id_bytes,
            }),
            frames: &body,
        };
        self.ask(&Ask::Enq(enq));
        self.model.enq(self.token, Batch { producer, epoch, sequence, origin_us, frames, derived });
    }

    fn deq(&mut self, step: Step) {
        let Step::Deq { session, back, deliveries, close, messages_max, bytes_max, wait, lease, list } = step else {
            return;
        };
        let list: Vec<Named> = list.iter().map(|which| self.named(which)).collect();
        let last = self.last_delivery.entry(session).or_insert(0);
        let delivery = if back == 0 { *last + 1 } else { (*last + 1).saturating_sub(back) };
        *last = (*last).max(delivery + deliveries.saturating_sub(1));
        let open_from = if close { delivery } else { 0 };
        self.ask(&Ask::Deq(Deq {
            session,
            delivery,
            deliveries,
            open_from,
            messages_max,
            bytes_max,
            wait_ms: wait,
            lease_ms: lease,
            finished: written(&list).as_bytes(),
        }));
        let mut letters = self.model.finish(&list);
        let until = self.model.now + wait.min(1_000);
        let (token, lease_ms) = (self.token, lease.max(10));
        for n in 0..deliveries.max(1) {
            let (delivery, letters) = (delivery + n, std::mem::take(&mut letters));
            let is_new = n > 0;
            let request =
                Request { token, session, delivery, messages_max, bytes_max, lease_ms, letters, until, is_new };
            self.model.deq(request, open_from, wait);
        }
    }

    fn compare(&mut self) {
        let mut out = Vec::new();
        self.commit();
        while self.server.poll_answer(self.now(), &mut out).is_some() {
            let (token, answer) = Answer::parse(frame::only(&out).unwrap()).unwrap();
            self.leases.extend(self.model.hear(token, &answer));
            out.clear();
            self.commit();
        }
        self.model.parked.iter_mut().for_each(|request| request.is_new = false);
        assert!(self.model.expected.is_empty(), "unanswered: {:?}", self.model.expected);
        assert!(self.model.parked.is_empty() || self.model.first().is_none(), "someone waits for what is there");
        assert_eq!(self.server.ledger(), self.model.ledger());
        let oldest = self.server.gauges(self.now());
        assert_eq!(oldest.parked, self.model.parked.len() as u64);
        self.server.check();
    }

    /// When nobody disturbs it any more, all that is ready can be finished.
    fn drain(&mut self) {
        for round in 0.. {
            let ledger = self.server.ledger();
            if ledger.ready + ledger.leased == 0 {
                return;
            }
            assert!(round < 10_000, "{ledger:?}");
            self.step(Step::Pass(50));
            let before = self.leases.len();
            let ask = Step::Deq {
                session: 9,
                back: 0,
                deliveries: 1,
                close: true,
                messages_max: 100,
                bytes_max: 64_000,
                wait: 0,
                lease: 60_000,
                list: Vec::new(),
            };
            self.step(ask);
            while self.leases.len() > before {
                let lease = self.leases.swap_remove(before);
                self.token += 1;
                let list = [Named { lease, parts: Vec::new() }];
                self.ask(&Ask::Ack { finished: written(&list).as_bytes() });
                let letters = self.model.finish(&list);
                self.model.expect(self.token, Expected::Done(letters, 0));
                self.compare();
            }
        }
    }
}

/// A server as its log on this disk tells. Its segments are so small that snapshots are taken now and then.
fn recover(disk: &FakeDisk, limits: ServerLimits, fault: Option<Fault>, now_us: u64) -> (Server, wal::Log) {
    let options = wal::Options { segment_bytes: 32 << 10, node_if_new: NODE, ..wal::Options::default() };
    let mut recovery = Recovery::new(limits, Durability::Disk, fault);
    let mut replay = |entry: wal::Entry<'_>| recovery.replay(&entry).map_err(|error| error.to_string());
    let (log, opened) = wal::Log::open(Box::new(disk.clone()), options, now_us, &mut replay, &mut |_, _| {}).unwrap();
    (recovery.finish(1, &opened), log)
}

fn written(list: &[Named]) -> String {
    let mut text = String::new();
    for Named { lease: Lease { boot, first, count, attempt }, parts } in list {
        let comma = if text.is_empty() { "" } else { "," };
        write!(text, "{comma}{boot}.{first}.{count}.{attempt}").unwrap();
        for (from, to) in parts {
            write!(text, "+{from}-{to}").unwrap();
        }
    }
    text
}

/// Lets server and model go through random requests; gives how often each count of the ledger went up.
fn agree(fault: Option<Fault>, with_log: bool, config: Config) -> Result<BTreeMap<&'static str, u64>, String> {
    let bytes_max = prop_oneof![Just(1_u64 << 30), 500_u64..100_000];
    let reached = RefCell::new(BTreeMap::new());
    let run = TestRunner::new(config).run(&(steps(), 1_u64..60, bytes_max), |(steps, messages_max, bytes_max)| {
        let limits = ServerLimits { messages_max, bytes_max, producers_max: 3, ..ServerLimits::default() };
        let mut trial = Trial::new(limits, fault, with_log);
        for step in steps {
            trial.step(step);
        }
        for (name, count) in trial.server.ledger().named() {
            *reached.borrow_mut().entry(name).or_insert(0) += count;
        }
        trial.drain();
        Ok(())
    });
    run.map_err(|error| error.to_string())?;
    Ok(reached.into_inner())
}

#[test]
fn server_and_model_agree() {
    // So many that each count goes up in some of them.
    let reached = agree(None, false, Config { cases: 1_000, failure_persistence: None, ..Config::default() }).unwrap();
    for (name, count) in reached {
        let with_log = ["refused_disk_full", "replayed", "lost_in_log"];
        let is_out_of_reach = [&with_log[..], &RARE].concat();
        assert_eq!(count == 0, is_out_of_reach.contains(&name), "{name} went up {count} times");
    }
}

#[test]
fn server_and_model_agree_across_restarts_from_the_log() {
    let reached = agree(None, true, Config { cases: 300, failure_persistence: None, ..Config::default() }).unwrap();
    for name in ["done", "popped", "duplicates", "duplicate_ids", "redelivered", "replayed"] {
        assert!(reached[name] > 0, "{name}");
    }
}

/// Counts that a few steps do not reach.
const RARE: [&str; 5] = ["refused_ids", "held_dropped", "refused_parked", "malformed", "windows_forgotten"];

#[test]
fn what_a_restart_must_not_forget_is_noticed() {
    for fault in [Fault::ForgetsIds, Fault::ForgetsProducers, Fault::SameGeneration] {
        let config = Config { cases: 5_000, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
        assert!(agree(Some(fault), true, config).is_err(), "{fault:?}");
    }
}

#[test]
fn every_planted_fault_is_noticed() {
    for fault in [
        Fault::DedupForgets,
        Fault::LeaseWithoutBoot,
        Fault::LateFinishCountsAgain,
        Fault::EarlyAnswer,
        Fault::NoProducerWindow,
        Fault::AppliesRetries,
        Fault::LeasesTakeRoom,
    ] {
        let config = Config { cases: 3_000, max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
        assert!(agree(Some(fault), false, config).is_err(), "{fault:?}");
    }
}
