//! What a queue must be after the steps that were answered, and what is seen of it.

use std::path::Path;

use protocol::frame;
use protocol::link::{Answer, Ask, DeadDo, Past, Place};

use crate::peer::Peer;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Ready or leased.
    Open,
    Finished,
    Dead,
    /// Taken by a GET, dropped, or put back as another message.
    Gone,
}

/// One thing that is asked of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Changes nothing that a restart would show.
    Harmless(&'static str),
    Put(String),
    Enqueue {
        sequence: u64,
        texts: Vec<String>,
    },
    Get,
    Finish {
        first: u64,
        count: u64,
    },
    Bury {
        first: u64,
        count: u64,
    },
    Requeue,
    Drop,
    Seek {
        to: u64,
    },
}

/// The messages by their offsets, and how many became what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) messages: Vec<(String, Fate)>,
    /// The first offset that was never handed out.
    pub(crate) fresh: u64,
    pub(crate) counts: Counts,
}

/// Counts of the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) done: u64,
    pub(crate) popped: u64,
    pub(crate) discarded: u64,
    pub(crate) requeued: u64,
    pub(crate) replayed: u64,
}

impl Model {
    pub(crate) fn end(&self) -> u64 {
        self.messages.len() as u64
    }

    fn offsets(&self, fate: Fate) -> impl Iterator<Item = u64> {
        (0..).zip(&self.messages).filter(move |(_, (_, was))| *was == fate).map(|(offset, _)| offset)
    }

    pub(crate) fn count(&self, fate: Fate) -> u64 {
        self.offsets(fate).count() as u64
    }

    /// The texts of the messages that are open, sorted.
    pub(crate) fn open_texts(&self) -> Vec<String> {
        let open = self.messages.iter().filter(|(_, fate)| *fate == Fate::Open);
        let mut texts: Vec<String> = open.map(|(text, _)| text.clone()).collect();
        texts.sort_unstable();
        texts
    }

    fn come(&mut self, text: String) {
        self.messages.push((text, Fate::Open));
    }

    fn change(&mut self, offset: u64, fate: Fate) -> bool {
        let (_, was) = self.messages.get_mut(usize::try_from(offset).unwrap()).unwrap();
        let is_new = *was == Fate::Open;
        *was = if is_new { fate } else { *was };
        is_new
    }

    /// A GET has taken this one.
    pub(crate) fn pop(&mut self, offset: u64) {
        assert!(self.change(offset, Fate::Gone), "message {offset} was taken, and it was not open");
        self.fresh = self.fresh.max(offset + 1);
        self.counts.popped += 1;
    }

    fn take_dead(&mut self) -> Option<String> {
        let offset = self.offsets(Fate::Dead).next()?;
        let (text, fate) = self.messages.get_mut(usize::try_from(offset).unwrap()).unwrap();
        *fate = Fate::Gone;
        Some(text.clone())
    }

    /// Does the step. Which message a GET takes only its answer tells: [`pop`](Self::pop).
    pub(crate) fn apply(&mut self, step: &Step) {
        match step {
            Step::Harmless(_) | Step::Get => {}
            Step::Put(text) => self.come(text.clone()),
            Step::Enqueue { texts, .. } => texts.iter().for_each(|text| self.come(text.clone())),
            Step::Finish { first, count } => {
                let done = (*first..first + count).filter(|offset| self.change(*offset, Fate::Finished)).count();
                self.counts.done += done as u64;
            }
            Step::Bury { first, count } => {
                (*first..first + count).for_each(|offset| assert!(self.change(offset, Fate::Dead)));
            }
            Step::Requeue => {
                if let Some(text) = self.take_dead() {
                    self.come(text);
                    self.counts.requeued += 1;
                }
            }
            Step::Drop => self.counts.discarded += u64::from(self.take_dead().is_some()),
            Step::Seek { to } => {
                let to = (*to).min(self.fresh);
                for (_, fate) in self.messages.iter_mut().skip(usize::try_from(to).unwrap()) {
                    self.counts.replayed += u64::from(*fate != Fate::Open);
                    *fate = Fate::Open;
                }
                self.fresh = to;
            }
        }
    }

    /// What may be after this step was asked and not answered.
    pub(crate) fn after_unanswered(&self, step: Option<&Step>) -> Vec<Self> {
        let mut may_be = vec![self.clone()];
        match step {
            None => {}
            Some(Step::Get) => may_be.extend(self.offsets(Fate::Open).map(|offset| {
                let mut popped = self.clone();
                popped.pop(offset);
                popped
            })),
            Some(step) => {
                let mut done = self.clone();
                done.apply(step);
                may_be.push(done);
            }
        }
        may_be
    }

    /// Whether this is what is seen, as far as it can be without taking messages out.
    pub(crate) fn is(&self, seen: &Seen) -> bool {
        let dead = self.offsets(Fate::Dead).map(|offset| (offset, self.text(offset)));
        self.counts == seen.counts
            && self.count(Fate::Open) == seen.open
            && dead.eq(seen.dead.iter().map(|(offset, text)| (*offset, text.as_str())))
            && self.end() == seen.end
            && seen.past.iter().all(|(offset, text)| self.text(*offset) == text)
            && self.offsets(Fate::Open).next().is_none_or(|lowest| seen.kept_from <= lowest)
    }

    fn text(&self, offset: u64) -> &str {
        self.messages.get(usize::try_from(offset).unwrap()).map_or("", |(text, _)| text)
    }
}

/// What a queue shows of itself, without being changed by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) counts: Counts,
    pub(crate) open: u64,
    dead: Vec<(u64, String)>,
    kept_from: u64,
    pub(crate) end: u64,
    past: Vec<(u64, String)>,
}

impl Seen {
    /// Looks at a queue that does not end meanwhile.
    #[track_caller]
    pub(crate) fn of(peer: &mut Peer, data: &Path) -> Self {
        let ledger = peer.stat();
        ledger.assert_balanced();
        assert_eq!(ledger.count("lost_in_log"), 0, "{}", data.display());
        let counts = Counts {
            done: ledger.count("done"),
            popped: ledger.count("popped"),
            discarded: ledger.count("discarded"),
            requeued: ledger.count("requeued"),
            replayed: ledger.count("replayed"),
        };
        let dead = dead_letters(peer);
        assert_eq!(dead.len() as u64, ledger.count("dead"));
        let (kept_from, end, past) = past(peer);
        Self { counts, open: ledger.sum(&["ready", "leased"]), dead, kept_from, end, past }
    }
}

fn texts(mut frames: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while !frames.is_empty() {
        let (text, rest) = frame::split(frames).unwrap();
        texts.push(String::from_utf8(text.to_vec()).unwrap());
        frames = rest;
    }
    texts
}

fn dead_letters(peer: &mut Peer) -> Vec<(u64, String)> {
    let mut dead: Vec<(u64, String)> = Vec::new();
    loop {
        let from = dead.last().map_or(0, |(offset, _)| offset + 1);
        let list = Ask::Dead { what: DeadDo::List, from, max: 100 };
        let told = peer.ask(&list, |answer| match answer {
            Answer::Done { body, .. } => texts(body),
            other => panic!("{other:?}"),
        });
        let told = told.unwrap();
        if told.is_empty() {
            return dead;
        }
        for letter in told.chunks(2) {
            let [about, text] = letter else { panic!("{letter:?}") };
            dead.push((about.split(' ').next().unwrap().parse().unwrap(), text.clone()));
        }
    }
}

/// The oldest offset kept, the next one to come, and all messages between.
fn past(peer: &mut Peer) -> (u64, u64, Vec<(u64, String)>) {
    let (mut next, mut kept_from, mut past) = (0, None, Vec::new());
    loop {
        let read = Ask::Read { from: Place::Offset(next), messages_max: 1_000, bytes_max: 1 << 16 };
        let end = peer.ask(&read, |answer| match answer {
            Answer::Gone { oldest, end } if kept_from.is_none() => {
                next = oldest;
                (oldest == end).then_some(end)
            }
            Answer::Past(Past { first, next: then, end, frames, .. }) => {
                kept_from.get_or_insert(next);
                past.extend((first..).zip(texts(frames)));
                assert!(first == next || past.is_empty() && frames.is_empty(), "a gap: {first} instead of {next}");
                next = then;
                (then == end).then_some(end)
            }
            other => panic!("{other:?}"),
        });
        if let Some(end) = end.unwrap() {
            return (kept_from.unwrap_or(end), end, past);
        }
    }
}
