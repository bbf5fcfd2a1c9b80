//! One queue on a disk, its clients, and what befalls them.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use link::Fault;
use machine::{Machine as _, Now, WorkResult};
use metrics::{Identity, LogOrder, Reports};
use mq::{CLIENTS, Limits, Queue, StartError, Stored};
use protocol::{
    frame,
    link::{Answer, Ask, DeadDo, Deq, Enq, Finishes, GiveBack, Lease, Place, Sending},
    verb::PutAnswer,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use simnet::{FakeDisk, Lie};
use wal::{Disk as _, Keep, Level};

use crate::oracle::{Found, Oracle, Text};

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) level: Level,
    /// Whether the power goes, or only processes end.
    pub(crate) power: bool,
    pub(crate) segment_bytes: u64,
    pub(crate) keep_bytes: u64,
    pub(crate) seeks: bool,
    pub(crate) requeues: bool,
    pub(crate) steps: u32,
}

/// What is planted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Plant {
    Server(Fault),
    Disk(Lie),
}

/// Whose answer is awaited.
#[derive(Debug, Clone)]
enum Asked {
    Put(Text),
    Get { seeks: u64 },
    Open { producer: usize },
    Enq { producer: usize },
    Deq { finished: Vec<Lease>, seeks: u64, at: u64 },
    Ack { finished: Vec<Lease>, seeks: u64 },
    Seek(u64),
    Other,
}

/// A producer that lives on while queues come and go.
#[derive(Debug, Default)]
struct Producer {
    epoch: Option<u64>,
    /// The texts by their sequence, and how many of them the queue has confirmed.
    texts: Vec<Text>,
    confirmed: usize,
}

/// A queue and the thread of its disk.
struct Life {
    queue: Queue,
    result: Option<WorkResult>,
}

pub(crate) struct World {
    plan: Plan,
    plant: Option<Plant>,
    /// Is told all that happens.
    reader: Option<fn(&str)>,
    chance: SmallRng,
    disk: FakeDisk,
    losses: u64,
    life: Life,
    started: Duration,
    now: Duration,
    serial: u64,
    asked: BTreeMap<SocketAddr, Asked>,
    producers: Vec<Producer>,
    /// Each with the number of the process that gave it.
    held: Vec<(Lease, u64)>,
    lives: u64,
    oracle: Oracle,
    /// How many images of the disk queues have come back from.
    pub(crate) images: u64,
}

/// So many images of one crash are looked at.
const IMAGES: u64 = 8;

fn reports() -> Reports {
    let identity = Identity { vuid: String::new(), func: String::new(), address: None };
    let start = Now { since_start: Duration::ZERO, since_epoch: Duration::from_hours(1) };
    Reports::new(identity, LogOrder::TimeFirst, Duration::from_hours(1_000), None, start)
}

fn client(number: u64) -> SocketAddr {
    let [.., a, b, c, d] = number.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 1_000 + u16::from(d)))
}

impl World {
    pub(crate) fn new(plan: Plan, plant: Option<Plant>, reader: Option<fn(&str)>) -> Self {
        let disk = FakeDisk::new();
        let now = Duration::ZERO;
        let life = recover(&plan, plant, &disk, 0, now).unwrap();
        Self {
            plan,
            plant,
            reader,
            chance: SmallRng::seed_from_u64(plan.seed),
            disk,
            losses: 0,
            life,
            started: now,
            now,
            serial: 0,
            asked: BTreeMap::new(),
            producers: (0..2).map(|_| Producer::default()).collect(),
            held: Vec::new(),
            lives: 0,
            oracle: Oracle::default(),
            images: 0,
        }
    }

    /// The whole run.
    pub(crate) fn play(&mut self) -> Result<(), String> {
        for _ in 0..self.plan.steps {
            self.step()?;
            let ledger = self.life.queue.message_ledger();
            if !ledger.balances() {
                return Err(format!("the ledger does not balance: {ledger:?}"));
            }
        }
        self.disk.set_capacity(None);
        self.crash(false)
    }

    fn step(&mut self) -> Result<(), String> {
        self.now += Duration::from_micros(self.chance.random_range(0..3_000));
        match self.chance.random_range(0..100) {
            0..12 => self.put()?,
            12..26 => self.enq()?,
            26..29 => self.send(Asked::Get { seeks: self.oracle.seeks }, b"13GET")?,
            29..45 => self.deq()?,
            45..51 => self.ack()?,
            51..54 => self.nak()?,
            54 if self.plan.requeues => self.dead()?,
            55 if self.plan.seeks => self.seek()?,
            56..58 => self.read()?,
            58 => self.fill(),
            59..61 => self.disk.set_capacity(None),
            61 => self.now += Duration::from_millis(self.chance.random_range(0..3_000)),
            62..65 => {
                let operations = self.chance.random_range(0..9);
                self.disk.crash_after(operations);
            }
            65 => return self.crash(false),
            _ => self.hand_over()?,
        }
        self.settle()?;
        if self.disk.is_dead() { self.crash(self.plan.power) } else { Ok(()) }
    }

    fn text(&mut self) -> Text {
        self.serial += 1;
        let length = match self.chance.random_range(0..20) {
            0 => self.chance.random_range(0..3_000),
            _ => self.chance.random_range(0..60),
        };
        let mut text = format!("{}:", self.serial).into_bytes();
        text.resize(text.len() + length, b'a' + (self.serial % 26) as u8);
        self.oracle.sent(&text);
        text
    }

    fn put(&mut self) -> Result<(), String> {
        let text = self.text();
        let mut datagram = Vec::new();
        frame::push(&[b"PUT:", text.as_slice()].concat(), &mut datagram).map_err(|error| error.to_string())?;
        self.send(Asked::Put(text), &datagram)
    }

    fn enq(&mut self) -> Result<(), String> {
        let producer = self.chance.random_range(0..self.producers.len());
        let Some(epoch) = self.producers[producer].epoch else {
            let from = self.producers[producer].confirmed as u64;
            let open = Ask::Open { producer: producer as u128, nonce: 7, from };
            return self.ask(Asked::Open { producer }, &open);
        };
        if self.chance.random_bool(0.7) {
            for _ in 0..self.chance.random_range(1..=4) {
                let text = self.text();
                self.producers[producer].texts.push(text);
            }
        }
        // What is not confirmed goes out again, or what is.
        let Producer { texts, confirmed, .. } = &self.producers[producer];
        let first = confirmed.saturating_sub(self.chance.random_range(0..3)).min(texts.len());
        let last = (first + self.chance.random_range(0..=6)).min(texts.len());
        let mut frames = Vec::new();
        for text in &texts[first..last] {
            frame::push(text, &mut frames).map_err(|error| error.to_string())?;
        }
        let sending = Sending { producer: producer as u128, epoch, sequence: first as u64 };
        let enq = Enq { sending, count: (last - first) as u64, origin_us: 1, derived: None, frames: &frames };
        self.ask(Asked::Enq { producer }, &Ask::Enq(enq))
    }

    /// Some of the leases that are held, for whatever is to be done with them.
    fn some_held(&mut self) -> Vec<(Lease, u64)> {
        let count = self.chance.random_range(0..=self.held.len().min(3));
        (0..count).map(|_| self.held.swap_remove(self.chance.random_range(0..self.held.len()))).collect()
    }

    /// Leases of a boot that is over name nothing; the others are finished.
    fn finish_list(&mut self) -> (Vec<u8>, Vec<Lease>) {
        let leases = self.some_held();
        let mut list = Finishes::default();
        for (lease, life) in &leases {
            list.push(*lease);
            if *life == self.lives {
                self.oracle.leaves(lease.first..lease.first + lease.count);
            }
        }
        (list.as_bytes().to_vec(), leases.into_iter().map(|(lease, _)| lease).collect())
    }

    fn deq(&mut self) -> Result<(), String> {
        let (list, finished) = self.finish_list();
        self.serial += 1;
        let deq = Deq {
            session: self.serial,
            delivery: 1,
            deliveries: 1,
            open_from: 1,
            messages_max: self.chance.random_range(1..=6),
            bytes_max: 4_000,
            wait_ms: 0,
            lease_ms: self.chance.random_range(10..2_000),
            finished: &list,
        };
        let seeks = self.oracle.seeks;
        self.ask(Asked::Deq { finished, seeks, at: self.serial }, &Ask::Deq(deq))
    }

    fn ack(&mut self) -> Result<(), String> {
        let (list, finished) = self.finish_list();
        let seeks = self.oracle.seeks;
        self.ask(Asked::Ack { finished, seeks }, &Ask::Ack { finished: &list })
    }

    fn nak(&mut self) -> Result<(), String> {
        let mut list = Finishes::default();
        self.some_held().into_iter().for_each(|(lease, _)| list.push(lease));
        let how = [GiveBack::Quiet, GiveBack::Counted, GiveBack::Dead][self.chance.random_range(0..3)];
        self.ask(Asked::Other, &Ask::Nak { leases: list.as_bytes(), how, delay_ms: 0, reasons: b"" })
    }

    fn dead(&mut self) -> Result<(), String> {
        self.oracle.requeues();
        self.ask(Asked::Other, &Ask::Dead { what: DeadDo::Requeue, from: 0, max: 2 })
    }

    fn seek(&mut self) -> Result<(), String> {
        let to = self.chance.random_range(0..=self.life.queue.message_ledger().accepted);
        // What the queue does not keep any more it does not bring back, and says so.
        let seek = self.oracle.seeks_to(to);
        self.ask(Asked::Seek(seek), &Ask::Seek { to: Place::Offset(to) })
    }

    fn read(&mut self) -> Result<(), String> {
        let from = Place::Offset(self.chance.random_range(0..=self.serial));
        self.ask(Asked::Other, &Ask::Read { from, messages_max: 10, bytes_max: 4_000 })
    }

    fn fill(&mut self) {
        let used: u64 = self.disk.list().unwrap_or_default().iter().map(|(_, length)| length).sum();
        self.disk.set_capacity(Some(used + self.chance.random_range(0..4_000)));
    }

    fn ask(&mut self, asked: Asked, ask: &Ask<'_>) -> Result<(), String> {
        let mut datagram = Vec::new();
        ask.push(self.serial + 1, &mut datagram);
        self.send(asked, &datagram)
    }

    fn send(&mut self, asked: Asked, datagram: &[u8]) -> Result<(), String> {
        self.serial += 1;
        self.oracle.time = self.serial;
        let from = client(self.serial);
        if let Asked::Get { .. } = asked {
            self.oracle.gets += 1;
        }
        self.tell(|| format!("asks: {asked:?}, {}", datagram.escape_ascii()));
        self.asked.insert(from, asked);
        self.life.queue.handle_datagram(self.clock(), CLIENTS, from, datagram);
        self.settle()
    }

    fn tell(&self, what: impl FnOnce() -> String) {
        if let Some(reader) = self.reader {
            reader(&format!("{:?} {}", self.now, what()));
        }
    }

    fn clock(&self) -> Now {
        clock(self.now, self.started)
    }

    /// The disk's thread is done.
    fn hand_over(&mut self) -> Result<(), String> {
        if let Some(result) = self.life.result.take() {
            self.life.queue.handle_result(self.clock(), result);
        }
        self.settle()
    }

    /// The end of a turn, as a driver makes it.
    fn settle(&mut self) -> Result<(), String> {
        let now = self.clock();
        if self.life.queue.poll_timeout().is_some_and(|at| at <= now.since_start) {
            self.life.queue.handle_timeout(now);
        }
        let mut bytes = Vec::new();
        while let Some(transmit) = self.life.queue.poll_transmit(now, &mut bytes) {
            let asked = self.asked.remove(&transmit.to).ok_or("an answer to nobody")?;
            self.hear(asked, &bytes)?;
            bytes.clear();
        }
        if self.life.result.is_none()
            && let Some(work) = self.life.queue.poll_work()
        {
            self.life.result = Some(work());
        }
        match self.life.queue.failure() {
            Some(failure) if !self.disk.is_dead() => Err(format!("the queue gave up: {failure}")),
            _ => Ok(()),
        }
    }

    fn hear(&mut self, asked: Asked, bytes: &[u8]) -> Result<(), String> {
        let text = frame::only(bytes).map_err(|error| error.to_string())?;
        self.tell(|| format!("hears: {asked:?}, {}", text.escape_ascii()));
        match asked {
            Asked::Put(message) => {
                if matches!(PutAnswer::parse(text), Some(PutAnswer::Stored { .. })) {
                    self.oracle.stored(&message);
                }
                return Ok(());
            }
            Asked::Get { seeks } => {
                self.oracle.gets -= 1;
                return if text.is_empty() { Ok(()) } else { self.oracle.got(text, seeks) };
            }
            _ => {}
        }
        let (_, answer) = Answer::parse(text).map_err(|error| error.to_string())?;
        match (asked, answer) {
            (Asked::Open { producer }, Answer::Opened { epoch, sequence, .. }) => {
                self.producers[producer].epoch = Some(epoch);
                self.confirm(producer, sequence)
            }
            (Asked::Enq { producer }, Answer::Stored { sequence, .. }) => self.confirm(producer, sequence),
            (Asked::Enq { producer }, Answer::Fenced { .. }) => {
                self.producers[producer].epoch = None;
                Ok(())
            }
            (Asked::Deq { finished, seeks, at }, Answer::Msg(msg)) => {
                self.judge(&finished, msg.finished, seeks);
                let texts = split(msg.frames)?;
                self.held.push((msg.lease, self.lives));
                self.oracle.delivered(at, (msg.lease.boot, msg.generation), msg.lease.first, &texts)
            }
            (Asked::Deq { finished, seeks, .. }, Answer::None { finished: letters, .. })
            | (Asked::Ack { finished, seeks }, Answer::Done { finished: letters, .. }) => {
                self.judge(&finished, letters, seeks);
                Ok(())
            }
            (Asked::Seek(seek), Answer::Done { .. }) => {
                self.oracle.sought(seek);
                Ok(())
            }
            (Asked::Seek(seek), Answer::Gone { .. }) => {
                self.oracle.not_sought(seek);
                Ok(())
            }
            (_, Answer::Past(past)) => {
                (past.first..).zip(split(past.frames)?).try_for_each(|(at, text)| self.oracle.place(at, &text))
            }
            _ => Ok(()),
        }
    }

    fn confirm(&mut self, producer: usize, sequence: u64) -> Result<(), String> {
        let Producer { texts, confirmed, .. } = &mut self.producers[producer];
        let sequence = sequence as usize;
        if sequence > texts.len() || sequence < *confirmed && self.plan.is_strong() {
            return Err(format!(
                "a producer that sent {} and was confirmed {confirmed} is told {sequence}",
                texts.len()
            ));
        }
        for text in texts.get(*confirmed..sequence).unwrap_or_default() {
            self.oracle.stored(text);
        }
        *confirmed = sequence.max(*confirmed);
        Ok(())
    }

    fn judge(&mut self, finished: &[Lease], letters: &[u8], seeks: u64) {
        for (lease, letter) in finished.iter().zip(letters) {
            if matches!(letter, b'd' | b'l') {
                self.oracle.over(lease.first..lease.first + lease.count, seeks);
            }
        }
    }

    /// The process ends, and the power goes if it is so; then another process comes.
    fn crash(&mut self, power: bool) -> Result<(), String> {
        let weak = power && self.plan.level == Level::Os;
        if power {
            self.losses += 1;
            for _ in 1..IMAGES {
                let image = self.disk.crash(self.chance.random());
                _ = self.look_at(image, weak)?;
            }
            self.disk = self.disk.crash(self.chance.random());
        } else {
            self.disk = self.disk.kill();
        }
        self.tell(|| format!("ends, power lost: {power}, {:?}", self.life.queue.message_ledger()));
        self.asked.clear();
        self.lives += 1;
        self.oracle.restarts(weak);
        self.started = self.now;
        self.producers.iter_mut().for_each(|producer| producer.epoch = None);
        let disk = self.disk.clone();
        let (life, disk, found) = self.look_at(disk, weak)?;
        (self.life, self.disk) = (life, disk);
        self.oracle.believe(&found)
    }

    /// Starts a queue on a disk and looks, on a copy, at all that it has; another start must find the same. The queue, and the
    /// disk that it is on at last.
    fn look_at(&mut self, mut disk: FakeDisk, weak: bool) -> Result<(Life, FakeDisk, Found), String> {
        self.images += 1;
        if let Some(Plant::Disk(lie)) = self.plant {
            disk.set_lie(Some(lie));
        }
        // A start may be cut short as well.
        if self.chance.random_range(0..4) == 0 {
            disk.crash_after(self.chance.random_range(0..12));
            let started = recover(&self.plan, self.plant, &disk, self.losses, self.now);
            disk = if self.plan.power && self.plan.level == Level::Disk {
                disk.crash(self.chance.random())
            } else {
                disk.kill()
            };
            drop(started);
            self.images += 1;
        }
        let again = |disk: &FakeDisk| {
            recover(&self.plan, self.plant, disk, self.losses, self.now).map_err(|error| format!("no start: {error}"))
        };
        let life = again(&disk)?;
        let mut twin = again(&disk.kill())?;
        let (first, second) = (life.queue.message_ledger(), twin.queue.message_ledger());
        if first != second {
            return Err(format!("a second start finds something else: {first:?}, {second:?}"));
        }
        let found = twin.look(self.now)?;
        if found.there.len() as u64 != first.ready + first.dead {
            return Err(format!("{} messages are there: {first:?}", found.there.len()));
        }
        self.oracle.check(&found, weak)?;
        Ok((life, disk, found))
    }
}

impl Plan {
    /// Whether what was answered must last.
    fn is_strong(&self) -> bool {
        self.level == Level::Disk || !self.power
    }
}

fn clock(now: Duration, started: Duration) -> Now {
    Now { since_start: now.saturating_sub(started), since_epoch: Duration::from_hours(500_000) + now }
}

fn recover(plan: &Plan, plant: Option<Plant>, disk: &FakeDisk, losses: u64, now: Duration) -> Result<Life, StartError> {
    let options = wal::Options {
        level: plan.level,
        segment_bytes: plan.segment_bytes,
        keep: Keep { bytes: plan.keep_bytes, age: None },
        salvage: false,
        node_if_new: plan.seed,
    };
    let fault = if let Some(Plant::Server(fault)) = plant { Some(fault) } else { None };
    let limits = Limits { messages_max: 10_000, bytes_max: 1 << 24 };
    let stored = Stored { disk: Box::new(disk.clone()), options, machine_boot: u128::from(losses) };
    let queue = Queue::recover_with_fault(stored, clock(now, now), (limits, fault), reports(), &mut |_, _| {});
    queue.map(|(queue, _)| Life { queue, result: None })
}

impl Life {
    /// Asks and waits, with nobody else there.
    fn ask(&mut self, now: Now, ask: &Ask<'_>) -> Result<Vec<u8>, String> {
        let mut datagram = Vec::new();
        ask.push(1, &mut datagram);
        self.queue.handle_datagram(now, CLIENTS, client(0), &datagram);
        let mut bytes = Vec::new();
        for _ in 0..100 {
            if self.queue.poll_transmit(now, &mut bytes).is_some() {
                return Ok(bytes);
            }
            let Some(work) = self.queue.poll_work() else { break };
            self.queue.handle_result(now, work());
        }
        Err(format!("no answer to {ask:?}: {:?}", self.queue.failure()))
    }

    fn work(&mut self, now: Now) {
        while let Some(work) = self.queue.poll_work() {
            self.queue.handle_result(now, work());
        }
    }

    /// All that it has: this takes the queue's messages out.
    fn look(&mut self, now: Duration) -> Result<Found, String> {
        let now = clock(now, now);
        self.work(now);
        let mut found = Found::default();
        let mut from = 0;
        loop {
            let read = Ask::Read { from: Place::Offset(from), messages_max: 1_000, bytes_max: 60_000 };
            let bytes = self.ask(now, &read)?;
            match Answer::parse(frame::only(&bytes).map_err(|error| error.to_string())?) {
                Ok((_, Answer::Gone { oldest, .. })) if oldest > from => (from, found.kept_from) = (oldest, oldest),
                Ok((_, Answer::Past(past))) => {
                    if past.first != from && past.count > 0 {
                        return Err(format!("a hole in the past: from {from} to {}", past.first));
                    }
                    found.past.extend((past.first..).zip(split(past.frames)?));
                    from = past.next;
                    if past.count == 0 {
                        break;
                    }
                }
                other => return Err(format!("to a READ: {other:?}")),
            }
        }
        for session in 1.. {
            let (messages_max, bytes_max, lease_ms) = (1_000, 60_000, 3_600_000);
            let deq = Deq {
                session,
                delivery: 1,
                deliveries: 1,
                open_from: 1,
                messages_max,
                bytes_max,
                wait_ms: 0,
                lease_ms,
                finished: b"",
            };
            let bytes = self.ask(now, &Ask::Deq(deq))?;
            self.work(now);
            match Answer::parse(frame::only(&bytes).map_err(|error| error.to_string())?) {
                Ok((_, Answer::Msg(msg))) => found.there.extend((msg.lease.first..).zip(split(msg.frames)?)),
                Ok((_, Answer::None { .. })) => break,
                other => return Err(format!("to a DEQ: {other:?}")),
            }
        }
        let mut from = 0;
        loop {
            let bytes = self.ask(now, &Ask::Dead { what: DeadDo::List, from, max: 1_000 })?;
            let Ok((_, Answer::Done { count, body, .. })) = Answer::parse(frame::only(&bytes).unwrap_or_default())
            else {
                return Err("to a DEAD".to_owned());
            };
            if count == 0 {
                return Ok(found);
            }
            for pair in split(body)?.chunks_exact(2) {
                let offset = std::str::from_utf8(&pair[0]).ok().and_then(|head| head.split(' ').next()?.parse().ok());
                let offset: u64 = offset.ok_or("a dead letter without an offset")?;
                found.there.push((offset, pair[1].clone()));
                from = offset + 1;
            }
        }
    }
}

/// The texts of frames that lie one behind the other.
fn split(mut frames: &[u8]) -> Result<Vec<Text>, String> {
    let mut texts = Vec::new();
    while !frames.is_empty() {
        let (text, rest) = frame::split(frames).map_err(|error| error.to_string())?;
        texts.push(text.to_vec());
        frames = rest;
    }
    Ok(texts)
}
