//! What producers send: whose it is, in which order it is taken, and what has been taken before.
//!
//! Where the messages go is the caller's business: a queue stores them, a sink prints them.

mod replay;

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};

use machine::{LogLimit, Now};
use protocol::link::{Answer, Ask, Derived, Durability, Enq, Sending, push_varint};

pub(crate) use self::replay::IntakeState;
use super::{
    derived::{Id, IdsRefused, Windows, read_ids},
    faults::Fault,
    frames::{self, Run, Source},
};

/// How many batches of one producer may wait for a gap to fill, and how many bytes of them.
const HELD_BATCHES_MAX: usize = 1_024;
const HELD_BYTES_MAX: u64 = 8 << 20;

/// How many bytes may wait of all producers together.
const HELD_BYTES_MAX_ALL: u64 = 64 << 20;

/// What a batch that waits costs beside its bytes.
const HELD_OVERHEAD_BYTES: u64 = 256;

/// How many nonces of a producer are remembered, the current one among them.
const NONCES_MAX: usize = 8;

/// How many producers are remembered after their end, so that an END or OPEN that comes again does no harm.
const ENDED_MAX: usize = 4_096;

/// When to send a refused batch again, in milliseconds.
const FULL_AFTER_MS: u64 = 10;

/// When to ask again for a producer that is one too many, in milliseconds.
const NO_PRODUCER_AFTER_MS: u64 = 1_000;

/// There is no room for the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Where messages go that are let in, and what is to be remembered of those who sent them.
pub trait Shelf {
    /// Takes new messages, in their order: all of them or none.
    ///
    /// # Errors
    /// [`Full`] where there is no room for them.
    fn take(&mut self, run: &Run<'_>) -> Result<(), Full>;

    /// Of a batch all messages had been taken before, by their ids: a run without messages, which says who sent them.
    fn pass(&mut self, _run: &Run<'_>) {}

    /// A producer begins an epoch under this nonce; its next sequence.
    ///
    /// # Errors
    /// [`Full`] where that cannot be remembered now.
    fn open(&mut self, _producer: u128, _nonce: u64, _next: u64) -> Result<(), Full> {
        Ok(())
    }

    /// A producer's feed ends; its next sequence.
    fn end(&mut self, _producer: u128, _epoch: u64, _next: u64) {}
}

impl<F: FnMut(&Run<'_>) -> Result<(), Full>> Shelf for F {
    fn take(&mut self, run: &Run<'_>) -> Result<(), Full> {
        self(run)
    }
}

/// What came of what producers sent; in messages where nothing else is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IntakeCounts {
    /// Taken.
    pub accepted: u64,
    /// Not taken, because the producer had sent them before.
    pub duplicates: u64,
    /// Not taken, because a message of the same derived id had been taken before.
    pub duplicate_ids: u64,
    /// Not taken, because there was no room for them. Each time that they are sent counts.
    pub refused_full: u64,
    /// Not taken, because their ids lie too far above the low water, or there is no room for more ids.
    pub refused_ids: u64,
    /// Producers refused, because as many are live as may be.
    pub refused_producers: u64,
    /// Came before their turn and waited for a gap to fill.
    pub held: u64,
    /// Came before their turn and found no room to wait.
    pub held_dropped: u64,
    /// Requests answered FENCED.
    pub fenced: u64,
    /// Calls whose body is not what they say.
    pub malformed: u64,
    /// Sets of derived ids given up for room after a long rest.
    pub windows_forgotten: u64,
}

/// The receiving end of producers' batches: OPEN, ENQ and END.
#[derive(Debug)]
pub struct Intake {
    producers_max: u64,
    level: Durability,
    producers: BTreeMap<u128, Producer>,
    ended: Ended,
    epoch: u64,
    held_bytes: u64,
    door: Door,
    answers: VecDeque<(SocketAddr, u64, Reply)>,
    refused_limit: LogLimit,
}

#[derive(Debug)]
struct Producer {
    epoch: u64,
    /// The number of the next message.
    next: u64,
    /// The last one is that of the current epoch.
    nonces: VecDeque<u64>,
    /// Batches that came before their turn, by the number of their first message.
    held: BTreeMap<u64, Held>,
    held_bytes: u64,
}

/// A batch that waits.
#[derive(Debug)]
struct Held {
    to: SocketAddr,
    token: u64,
    count: u64,
    origin_us: u64,
    derived: Option<HeldIds>,
    frames: Box<[u8]>,
}

#[derive(Debug)]
struct HeldIds {
    node: u64,
    generation: u64,
    low_water: u64,
    stage: Box<[u8]>,
    ids: Box<[u8]>,
}

#[derive(Debug, Clone, Copy)]
enum Reply {
    Opened { epoch: u64, sequence: u64 },
    Stored { sequence: u64 },
    Full { sequence: u64, after_ms: u64 },
    Fenced { epoch: u64 },
}

impl Intake {
    /// An intake that knows no producer. `boot` differs from start to start, so that epochs do, too.
    pub fn new(boot: u64, producers_max: u64, level: Durability) -> Self {
        Self::with_fault(boot, producers_max, level, None)
    }

    /// With a planted fault, for tests.
    #[doc(hidden)]
    pub fn with_fault(boot: u64, producers_max: u64, level: Durability, fault: Option<Fault>) -> Self {
        Self {
            producers_max,
            level,
            producers: BTreeMap::new(),
            ended: Ended::default(),
            epoch: first_epoch(boot),
            held_bytes: 0,
            door: Door::new(fault),
            answers: VecDeque::new(),
            refused_limit: LogLimit::default(),
        }
    }

    /// Takes a request in if it is a producer's: OPEN, ENQ or END; `false` if it is another.
    ///
    /// `shelf` gets the messages that are new.
    pub fn handle(&mut self, now: Now, from: SocketAddr, token: u64, ask: &Ask<'_>, shelf: &mut impl Shelf) -> bool {
        match ask {
            Ask::Open { producer, nonce, from: first } => {
                self.open(now, (from, token), (*producer, *nonce, *first), shelf);
            }
            Ask::End(sending) => self.end(from, token, *sending, shelf),
            Ask::Enq(enq) => self.enq(now, from, token, enq, shelf),
            _ => return false,
        }
        true
    }

    fn open(
        &mut self,
        now: Now,
        (to, token): (SocketAddr, u64),
        (producer, nonce, first): (u128, u64, u64),
        shelf: &mut impl Shelf,
    ) {
        let live = self.producers.len() as u64;
        let reply = match self.producers.get_mut(&producer) {
            Some(known) if known.nonces.back() == Some(&nonce) && known.epoch != 0 && first <= known.next => {
                known.opened()
            }
            Some(known) if known.nonces.iter().rev().skip(1).any(|older| *older == nonce) => {
                Reply::Fenced { epoch: known.epoch }
            }
            Some(known) => match shelf.open(producer, nonce, known.next.max(first)) {
                Err(Full) => Reply::Full { sequence: first, after_ms: NO_PRODUCER_AFTER_MS },
                Ok(()) if known.nonces.back() == Some(&nonce) && known.epoch != 0 => {
                    self.held_bytes -= known.skip_to(first);
                    known.opened()
                }
                Ok(()) => {
                    self.epoch += 1;
                    self.held_bytes -= known.drop_held() + known.skip_to(first);
                    known.begin(self.epoch, nonce)
                }
            },
            // An OPEN that was long under way: that feed has ended.
            None if self.ended.had(producer, nonce) => Reply::Fenced { epoch: 0 },
            None if live >= self.producers_max => {
                self.refuse_producer(now, to, producer);
                Reply::Full { sequence: first, after_ms: NO_PRODUCER_AFTER_MS }
            }
            None if shelf.open(producer, nonce, first).is_err() => {
                Reply::Full { sequence: first, after_ms: NO_PRODUCER_AFTER_MS }
            }
            None => {
                self.epoch += 1;
                let nonces = self.ended.take(producer);
                let known = Producer { epoch: 0, next: first, nonces, held: BTreeMap::new(), held_bytes: 0 };
                self.producers.entry(producer).or_insert(known).begin(self.epoch, nonce)
            }
        };
        self.answer(to, token, reply);
    }

    fn refuse_producer(&mut self, now: Now, from: SocketAddr, producer: u128) {
        self.door.counts.refused_producers += 1;
        if let Some(withheld) = self.refused_limit.pass(now) {
            let max = self.producers_max;
            tracing::warn!(
                "Refused producer {producer:x} from {from}: {max} are live, and none more until one of them ENDs ({withheld} more unsaid)"
            );
        }
    }

    fn end(&mut self, from: SocketAddr, token: u64, sending: Sending, shelf: &mut impl Shelf) {
        let Sending { producer, epoch, sequence } = sending;
        let reply = match self.producers.get(&producer) {
            Some(known) if !known.is_in(epoch) => Reply::Fenced { epoch: known.epoch },
            Some(known) if known.next < sequence => Reply::Stored { sequence: known.next },
            Some(_) => {
                if let Some(mut known) = self.producers.remove(&producer) {
                    shelf.end(producer, known.epoch, known.next);
                    self.held_bytes -= known.drop_held();
                    self.ended.note(producer, known);
                }
                Reply::Stored { sequence }
            }
            None => match self.ended.at(producer, epoch) {
                Some(next) => Reply::Stored { sequence: sequence.min(next) },
                None => Reply::Fenced { epoch: 0 },
            },
        };
        self.answer(from, token, reply);
    }

    fn enq(&mut self, now: Now, from: SocketAddr, token: u64, enq: &Enq<'_>, shelf: &mut impl Shelf) {
        let Sending { producer, epoch, sequence } = enq.sending;
        let Some(known) = self.producers.get_mut(&producer).filter(|known| known.is_in(epoch)) else {
            let epoch = self.producers.get(&producer).map_or(0, |known| known.epoch);
            return self.answer(from, token, Reply::Fenced { epoch });
        };
        let Some(end) = sequence.checked_add(enq.count).filter(|_| self.door.read(enq)) else {
            self.door.counts.malformed += 1;
            return;
        };
        let accepts_any = self.door.fault == Some(Fault::NoProducerWindow);
        let applies_again = accepts_any || self.door.fault == Some(Fault::AppliesRetries);
        if end <= known.next && !applies_again || enq.count == 0 {
            self.door.counts.duplicates += enq.count;
            let reply = Reply::Stored { sequence: known.next };
            return self.answer(from, token, reply);
        }
        if sequence > known.next && !accepts_any {
            return self.hold(from, token, enq);
        }
        let skip = if applies_again && end <= known.next || accepts_any { 0 } else { known.next - sequence };
        match self.door.admit(now, enq, skip, shelf) {
            Admitted::Taken => {
                known.next = known.next.max(end);
                let behind = self.answers.len();
                self.answers.push_back((from, token, Reply::Stored { sequence: known.next }));
                let below = self.apply_held(now, producer, shelf);
                // Those that waited have had their answer.
                if let Some((_, _, reply)) = self.answers.get_mut(behind) {
                    *reply = Reply::Stored { sequence: below.unwrap_or(end) };
                }
            }
            Admitted::Refused => {
                let reply = Reply::Full { sequence: known.next, after_ms: FULL_AFTER_MS };
                self.answers.push_back((from, token, reply));
                self.refuse_held(producer);
            }
            Admitted::Malformed => self.door.counts.malformed += 1,
        }
    }

    /// A batch came before its turn: it waits if there is room, else the producer has to send it again. It is answered at
    /// once, with what is still missing, so that the producer need not wait for a silence to send that again.
    fn hold(&mut self, from: SocketAddr, token: u64, enq: &Enq<'_>) {
        let Sending { producer, sequence, .. } = enq.sending;
        let Some(known) = self.producers.get_mut(&producer) else { return };
        let mut reply = Reply::Stored { sequence: known.next };
        if let Some(held) = known.held.get_mut(&sequence)
            && held.count >= enq.count
        {
            // It came again: whoever asked last is told if there is no room for it.
            (held.to, held.token) = (from, token);
            if self.door.fault == Some(Fault::EarlyAnswer) {
                reply = Reply::Stored { sequence: sequence + enq.count };
            }
            self.answers.push_back((from, token, reply));
            return;
        }
        self.answers.push_back((from, token, reply));
        let held = Held::new(from, token, enq);
        let cost = held.cost();
        let no_room = known.held.len() >= HELD_BATCHES_MAX
            || known.held_bytes + cost > HELD_BYTES_MAX
            || self.held_bytes + cost > HELD_BYTES_MAX_ALL;
        if no_room {
            self.door.counts.held_dropped += enq.count;
            return;
        }
        self.door.counts.held += enq.count;
        known.held_bytes += cost;
        self.held_bytes += cost;
        if let Some(shorter) = known.held.insert(sequence, held) {
            known.held_bytes -= shorter.cost();
            self.held_bytes -= shorter.cost();
        }
    }

    /// Takes the batches whose turn has come. The number of the next message then.
    fn apply_held(&mut self, now: Now, producer: u128, shelf: &mut impl Shelf) -> Option<u64> {
        let known = self.producers.get_mut(&producer)?;
        while let Some(first) = known.held.first_entry()
            && *first.key() <= known.next
        {
            let (sequence, held) = first.remove_entry();
            known.held_bytes -= held.cost();
            self.held_bytes -= held.cost();
            let sending = Sending { producer, epoch: known.epoch, sequence };
            let enq = held.as_enq(sending);
            let end = sequence + held.count;
            let admitted = if end <= known.next {
                self.door.counts.duplicates += held.count;
                Admitted::Taken
            } else if self.door.read(&enq) {
                self.door.admit(now, &enq, known.next - sequence, shelf)
            } else {
                Admitted::Malformed
            };
            match admitted {
                Admitted::Taken => known.next = known.next.max(end),
                Admitted::Refused => {
                    let next = known.next;
                    let reply = Reply::Full { sequence: next, after_ms: FULL_AFTER_MS };
                    self.answers.push_back((held.to, held.token, reply));
                    self.refuse_held(producer);
                    return Some(next);
                }
                Admitted::Malformed => self.door.counts.malformed += 1,
            }
        }
        Some(known.next)
    }

    /// What waits behind a refused batch is refused with it, so that the producer rests.
    fn refuse_held(&mut self, producer: u128) {
        let Some(known) = self.producers.get_mut(&producer) else { return };
        for held in known.held.values() {
            self.answers.push_back((
                held.to,
                held.token,
                Reply::Full { sequence: known.next, after_ms: FULL_AFTER_MS },
            ));
        }
        self.held_bytes -= known.drop_held();
    }

    fn answer(&mut self, to: SocketAddr, token: u64, reply: Reply) {
        self.door.counts.fenced += u64::from(matches!(reply, Reply::Fenced { .. }));
        self.answers.push_back((to, token, reply));
    }

    /// The next answer, appended to `out` as a frame; `credit` is how many messages there is room for.
    pub fn poll_answer(&mut self, credit: u64, out: &mut Vec<u8>) -> Option<SocketAddr> {
        let (to, token, reply) = self.answers.pop_front()?;
        let level = self.level;
        let answer = match reply {
            Reply::Opened { epoch, sequence } => Answer::Opened { epoch, sequence, level, credit },
            Reply::Stored { sequence } => Answer::Stored { sequence, level, credit },
            Reply::Full { sequence, after_ms } => Answer::Full { sequence, after_ms },
            Reply::Fenced { epoch } => Answer::Fenced { epoch },
        };
        answer.push(token, out);
        Some(to)
    }

    /// How many answers wait to be taken out.
    pub(crate) fn answers(&self) -> usize {
        self.answers.len()
    }

    /// What came of everything so far.
    pub fn counts(&self) -> IntakeCounts {
        IntakeCounts { windows_forgotten: self.door.windows.forgotten(), ..self.door.counts }
    }

    /// How many producers are live.
    pub fn producers(&self) -> u64 {
        self.producers.len() as u64
    }

    /// Bytes of the batches that wait for a gap to fill.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// How many sets of derived ids there are.
    pub fn id_windows(&self) -> u64 {
        self.door.windows.len()
    }

    /// Recounts everything, for tests.
    ///
    /// # Panics
    /// Where something does not add up.
    #[doc(hidden)]
    pub fn check(&self) {
        let mut bytes = 0;
        for known in self.producers.values() {
            assert_eq!(known.held_bytes, known.held.values().map(Held::cost).sum::<u64>());
            assert!(known.held_bytes <= HELD_BYTES_MAX && known.held.len() <= HELD_BATCHES_MAX);
            assert!(
                known.held.first_key_value().is_none_or(|(first, _)| *first > known.next),
                "none waits in its turn"
            );
            bytes += known.held_bytes;
        }
        assert!(bytes == self.held_bytes && bytes <= HELD_BYTES_MAX_ALL);
        assert!(self.producers.len() as u64 <= self.producers_max && self.ended.by_producer.len() <= ENDED_MAX);
    }
}

impl Producer {
    /// Whether this is its epoch; it has none between a start of the server and its next OPEN.
    fn is_in(&self, epoch: u64) -> bool {
        self.epoch == epoch && epoch != 0
    }

    fn opened(&self) -> Reply {
        Reply::Opened { epoch: self.epoch, sequence: self.next }
    }

    fn begin(&mut self, epoch: u64, nonce: u64) -> Reply {
        self.epoch = epoch;
        self.note_nonce(nonce);
        self.opened()
    }

    fn note_nonce(&mut self, nonce: u64) {
        if self.nonces.back() == Some(&nonce) {
            return; // begun before the server was started anew
        }
        self.nonces.push_back(nonce);
        if self.nonces.len() > NONCES_MAX {
            self.nonces.pop_front();
        }
    }

    /// What is below is done with: a memory before this one had it, or the verbs of 2016 carried it. Gives the bytes of
    /// what waited, if that leaves its place.
    fn skip_to(&mut self, first: u64) -> u64 {
        if first <= self.next {
            return 0;
        }
        self.next = first;
        self.drop_held()
    }

    /// Drops what waits; gives its bytes.
    fn drop_held(&mut self) -> u64 {
        self.held.clear();
        std::mem::take(&mut self.held_bytes)
    }
}

impl Held {
    fn new(to: SocketAddr, token: u64, enq: &Enq<'_>) -> Self {
        let derived = enq.derived.map(|Derived { node, generation, stage, low_water, ids }| HeldIds {
            node,
            generation,
            low_water,
            stage: stage.into(),
            ids: ids.into(),
        });
        Self { to, token, count: enq.count, origin_us: enq.origin_us, derived, frames: enq.frames.into() }
    }

    fn as_enq(&self, sending: Sending) -> Enq<'_> {
        let derived = self.derived.as_ref().map(|HeldIds { node, generation, low_water, stage, ids }| Derived {
            node: *node,
            generation: *generation,
            stage,
            low_water: *low_water,
            ids,
        });
        Enq { sending, count: self.count, origin_us: self.origin_us, derived, frames: &self.frames }
    }

    fn cost(&self) -> u64 {
        let ids = self.derived.as_ref().map_or(0, |ids| ids.stage.len() + ids.ids.len());
        (self.frames.len() + ids) as u64 + HELD_OVERHEAD_BYTES
    }
}

/// Producers whose feed has ended: those that ended last.
#[derive(Debug, Default)]
struct Ended {
    by_producer: BTreeMap<u128, EndedProducer>,
    ages: BTreeMap<u64, u128>,
    last_age: u64,
}

#[derive(Debug)]
struct EndedProducer {
    age: u64,
    epoch: u64,
    next: u64,
    nonces: VecDeque<u64>,
}

impl Ended {
    fn note(&mut self, producer: u128, known: Producer) {
        self.last_age += 1;
        let Producer { epoch, next, nonces, .. } = known;
        self.by_producer.insert(producer, EndedProducer { age: self.last_age, epoch, next, nonces });
        self.ages.insert(self.last_age, producer);
        if self.by_producer.len() > ENDED_MAX
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.by_producer.remove(&oldest);
        }
    }

    fn at(&self, producer: u128, epoch: u64) -> Option<u64> {
        self.by_producer.get(&producer).filter(|ended| ended.epoch == epoch).map(|ended| ended.next)
    }

    fn had(&self, producer: u128, nonce: u64) -> bool {
        self.by_producer.get(&producer).is_some_and(|ended| ended.nonces.contains(&nonce))
    }

    /// It begins again: its nonces.
    fn take(&mut self, producer: u128) -> VecDeque<u64> {
        let Some(ended) = self.by_producer.remove(&producer) else { return VecDeque::new() };
        self.ages.remove(&ended.age);
        ended.nonces
    }
}

/// What became of a batch whose turn it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admitted {
    Taken,
    Refused,
    Malformed,
}

/// Lets messages in whose turn it is: once for each id.
#[derive(Debug)]
struct Door {
    windows: Windows,
    counts: IntakeCounts,
    fault: Option<Fault>,
    // What the last batch that was read consists of; kept for their room.
    starts: Vec<u32>,
    ids: Vec<Id>,
    new: Vec<bool>,
    kept: Vec<u8>,
    kept_ids: Vec<u8>,
}

impl Door {
    fn new(fault: Option<Fault>) -> Self {
        Self {
            windows: Windows::new(fault),
            counts: IntakeCounts::default(),
            fault,
            starts: Vec::new(),
            ids: Vec::new(),
            new: Vec::new(),
            kept: Vec::new(),
            kept_ids: Vec::new(),
        }
    }

    /// Whether a batch is what it says; its parts are remembered for [`admit`](Self::admit).
    fn read(&mut self, enq: &Enq<'_>) -> bool {
        frames::find(enq.frames, enq.count, &mut self.starts)
            && enq.derived.is_none_or(|derived| read_ids(derived.ids, enq.count, &mut self.ids))
    }

    /// Lets the batch in that was read last, without its first messages.
    fn admit(&mut self, now: Now, enq: &Enq<'_>, skip: u64, shelf: &mut impl Shelf) -> Admitted {
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let admitted = if let Some(derived) = &enq.derived {
            self.admit_derived(now, enq, derived, skip, shelf)
        } else {
            let starts = self.starts.get(skip..).unwrap_or_default();
            self.counts.offer(&Run::new(enq.frames, starts, enq.origin_us, Some(source(enq, None))), shelf)
        };
        if admitted == Admitted::Taken {
            self.counts.duplicates += skip as u64;
        }
        admitted
    }

    fn admit_derived(
        &mut self,
        now: Now,
        enq: &Enq<'_>,
        derived: &Derived<'_>,
        skip: usize,
        shelf: &mut impl Shelf,
    ) -> Admitted {
        let (ids, starts) = (self.ids.get(skip..).unwrap_or_default(), self.starts.get(skip..).unwrap_or_default());
        match self.windows.judge(now, derived, ids, &mut self.new) {
            Ok(()) => {}
            Err(IdsRefused::Malformed) => return Admitted::Malformed,
            Err(IdsRefused::Beyond) => {
                self.counts.refused_ids += ids.len() as u64;
                return Admitted::Refused;
            }
        }
        let run = Run::new(enq.frames, starts, enq.origin_us, Some(source(enq, Some(*derived))));
        let known = self.new.iter().filter(|new| !**new).count();
        let admitted = if known == 0 && skip == 0 {
            self.counts.offer(&run, shelf)
        } else if known == ids.len() {
            let nobody = Derived { ids: b"", ..*derived };
            shelf.pass(&Run::new(b"", &[], enq.origin_us, Some(source(enq, Some(nobody)))));
            Admitted::Taken
        } else {
            // Some were sent before, by another worker or in another epoch: what is left is put together.
            self.kept.clear();
            self.kept_ids.clear();
            let mut kept_starts = Vec::with_capacity(ids.len() - known);
            let mut offset = 0;
            for ((frame, id), _) in run.each_frame().zip(ids).zip(&self.new).filter(|(_, new)| **new) {
                kept_starts.push(u32::try_from(self.kept.len()).unwrap_or(u32::MAX));
                self.kept.extend_from_slice(frame);
                push_varint(id.offset - offset, &mut self.kept_ids);
                push_varint(id.index, &mut self.kept_ids);
                offset = id.offset;
            }
            let derived = Derived { ids: &self.kept_ids, ..*derived };
            let run = Run::new(&self.kept, &kept_starts, enq.origin_us, Some(source(enq, Some(derived))));
            self.counts.offer(&run, shelf)
        };
        if admitted == Admitted::Taken {
            self.counts.duplicate_ids += known as u64;
            self.windows.apply(derived, ids);
        }
        admitted
    }
}

/// A batch from before a restart must not fit an epoch of now.
fn first_epoch(boot: u64) -> u64 {
    (boot & u64::from(u32::MAX)) << 32
}

/// Who sends a batch.
fn source<'a>(enq: &Enq<'_>, derived: Option<Derived<'a>>) -> Source<'a> {
    let Sending { producer, sequence, .. } = enq.sending;
    Source { producer, next: sequence + enq.count, derived }
}

impl IntakeCounts {
    fn offer(&mut self, run: &Run<'_>, shelf: &mut impl Shelf) -> Admitted {
        let count = run.count();
        if shelf.take(run).is_ok() {
            self.accepted += count;
            Admitted::Taken
        } else {
            self.refused_full += count;
            Admitted::Refused
        }
    }
}
