//! A load of a few hundred steps, one after another, the same for the same seed.

use protocol::{
    frame,
    link::{Answer, Ask, DeadDo, Deq, Derived, Durability, Enq, Finishes, GiveBack, Lease, Place, Sending},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::{
    model::{Model, Step},
    peer::Peer,
};

const SESSION: u64 = 0x5e55;
/// Longer than any trial: what comes back comes by a NAK, a SEEK or a restart.
const LEASE_MS: u64 = 600_000;

/// A producer's place in its order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    producer: u128,
    epoch: u64,
}

impl Sender {
    /// Begins an epoch of the producer; `None` if the queue ends first. Gives the next sequence, too.
    pub(crate) fn open(peer: &mut Peer, producer: u128, nonce: u64) -> Option<(Self, u64)> {
        peer.ask(&Ask::Open { producer, nonce, from: 0 }, |answer| match answer {
            Answer::Opened { epoch, sequence, level: Durability::Disk, .. } => (Self { producer, epoch }, sequence),
            other => panic!("{other:?}"),
        })
    }

    /// Sends a batch; gives the next sequence that the queue names, nothing if it ends first.
    pub(crate) fn send(
        self,
        peer: &mut Peer,
        sequence: u64,
        texts: &[String],
        derived: Option<Derived<'_>>,
    ) -> Option<u64> {
        let mut frames = Vec::new();
        for text in texts {
            frame::push(text.as_bytes(), &mut frames).unwrap();
        }
        let Self { producer, epoch } = self;
        let sending = Sending { producer, epoch, sequence };
        let enq = Enq { sending, count: texts.len() as u64, origin_us: 1, derived, frames: &frames };
        peer.ask(&Ask::Enq(enq), |answer| match answer {
            Answer::Stored { sequence, level: Durability::Disk, .. } => sequence,
            other => panic!("{other:?}"),
        })
    }
}

pub(crate) const PRODUCER: u128 = 0xfeed;

/// The load under way.
pub(crate) struct Script {
    pub(crate) model: Model,
    rng: SmallRng,
    sender: Option<Sender>,
    sequence: u64,
    delivery: u64,
    held: Vec<Lease>,
    named: u64,
    text_bytes_max: usize,
}

impl Script {
    pub(crate) fn new(seed: u64, text_bytes_max: usize) -> Self {
        Self {
            model: Model::default(),
            rng: SmallRng::seed_from_u64(seed),
            sender: None,
            sequence: 0,
            delivery: 0,
            held: Vec::new(),
            named: 0,
            text_bytes_max,
        }
    }

    /// Does so many steps; the one that was not answered, if the queue ends.
    #[track_caller]
    pub(crate) fn play(&mut self, peer: &mut Peer, steps: u32) -> Result<(), Step> {
        for _ in 0..steps {
            let step = self.draw();
            let done = self.ask(peer, &step);
            done.ok_or(step)?;
        }
        Ok(())
    }

    fn text(&mut self) -> String {
        self.named += 1;
        let length = self.rng.random_range(10..self.text_bytes_max);
        format!("{:-<length$}", self.named)
    }

    fn draw(&mut self) -> Step {
        if self.sender.is_none() {
            return Step::Harmless("open");
        }
        let lease = self.held.first().copied();
        let of = |lease: Lease| (lease.first, lease.count);
        match (self.rng.random_range(0..100), lease) {
            (0..15, _) => Step::Put(self.text()),
            (15..35, _) => {
                let texts = (0..self.rng.random_range(1..8)).map(|_| self.text()).collect();
                Step::Enqueue { sequence: self.sequence, texts }
            }
            (35..57, _) => Step::Harmless("lease"),
            (57..78, Some(lease)) => {
                let (first, count) = of(lease);
                Step::Finish { first, count }
            }
            (78..82, Some(lease)) => {
                let (first, count) = of(lease);
                Step::Bury { first, count }
            }
            (82..85, Some(_)) => Step::Harmless("give back"),
            (85..87, _) => Step::Requeue,
            (87..89, _) => Step::Drop,
            (89..91, _) => Step::Seek { to: self.model.end().saturating_sub(self.rng.random_range(0..12)) },
            (91..93, Some(_)) => Step::Harmless("touch"),
            _ => Step::Get,
        }
    }

    /// Asks for the step and notes what is answered; `None` if the queue ends first.
    #[track_caller]
    fn ask(&mut self, peer: &mut Peer, step: &Step) -> Option<()> {
        match step {
            Step::Put(text) => assert_eq!(peer.say(&format!("PUT:{text}"))?, format!("PUT {} bytes", text.len())),
            Step::Get => {
                let text = peer.say("GET")?;
                if !text.is_empty() {
                    let is_it = |(was, fate): &(String, _)| *was == text && *fate == crate::model::Fate::Open;
                    let offset = self.model.messages.iter().position(is_it).unwrap();
                    self.model.pop(offset as u64);
                }
            }
            Step::Harmless("open") => {
                let (sender, sequence) = Sender::open(peer, PRODUCER, 1)?;
                assert_eq!(sequence, self.sequence);
                self.sender = Some(sender);
            }
            Step::Harmless("lease") => self.lease(peer)?,
            Step::Harmless("touch") => self.done(peer, |leases| Ask::Touch { leases, lease_ms: LEASE_MS }, false)?,
            Step::Harmless(_) => self.done(peer, |leases| give_back(leases, GiveBack::Quiet), true)?,
            Step::Enqueue { sequence, texts } => {
                let next = self.sender?.send(peer, *sequence, texts, None)?;
                self.sequence += texts.len() as u64;
                assert_eq!(next, self.sequence);
            }
            Step::Finish { .. } => self.done(peer, |finished| Ask::Ack { finished }, true)?,
            Step::Bury { .. } => self.done(peer, |leases| give_back(leases, GiveBack::Dead), true)?,
            Step::Requeue => counted(peer, &Ask::Dead { what: DeadDo::Requeue, from: 0, max: 1 })?,
            Step::Drop => counted(peer, &Ask::Dead { what: DeadDo::Drop, from: 0, max: 1 })?,
            Step::Seek { to } => {
                counted(peer, &Ask::Seek { to: Place::Offset(*to) })?;
                self.held.clear();
            }
        }
        self.model.apply(step);
        Some(())
    }

    #[track_caller]
    fn lease(&mut self, peer: &mut Peer) -> Option<()> {
        self.delivery += 1;
        let deq = Deq {
            session: SESSION,
            delivery: self.delivery,
            deliveries: 1,
            open_from: self.delivery,
            messages_max: self.rng.random_range(3..16),
            bytes_max: 60_000,
            wait_ms: 0,
            lease_ms: LEASE_MS,
            finished: b"",
        };
        let lease = peer.ask(&Ask::Deq(deq), |answer| match answer {
            Answer::Msg(msg) => Some(msg.lease),
            Answer::None { .. } => None,
            other => panic!("{other:?}"),
        })?;
        if let Some(lease) = lease {
            self.model.fresh = self.model.fresh.max(lease.first + lease.count);
            self.held.push(lease);
        }
        Some(())
    }

    /// Asks something of the oldest lease, which must be done.
    #[track_caller]
    fn done(&mut self, peer: &mut Peer, ask: impl FnOnce(&[u8]) -> Ask<'_>, ends: bool) -> Option<()> {
        let mut list = Finishes::default();
        list.push(*self.held.first()?);
        peer.ask(&ask(list.as_bytes()), |answer| match answer {
            Answer::Done { finished: b"d", level: Durability::Disk, .. } => {}
            other => panic!("{other:?}"),
        })?;
        if ends {
            self.held.remove(0);
        }
        Some(())
    }
}

fn give_back(leases: &[u8], how: GiveBack) -> Ask<'_> {
    Ask::Nak { leases, how, delay_ms: 0, reasons: b"" }
}

#[track_caller]
fn counted(peer: &mut Peer, ask: &Ask<'_>) -> Option<()> {
    peer.ask(ask, |answer| match answer {
        Answer::Done { level: Durability::Disk, .. } => {}
        other => panic!("{other:?}"),
    })
}
