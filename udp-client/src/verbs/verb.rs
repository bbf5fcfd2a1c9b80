//! What a shell may ask of a server that speaks the link, request by request, and what the answers mean.

use std::{collections::VecDeque, time::Duration};

use protocol::{
    frame,
    link::{Answer, Ask, DeadDo, Deq, Durability, GiveBack, Lease, Place, Sending},
};
use serde_json::json;

use super::{
    past::{Reading, gone},
    told::Told,
};

/// A server lets one DEQ wait so long at the most; a longer wait is several of them.
const WAIT_STEP: Duration = Duration::from_secs(1);

/// How long to rest before asking again for the end of a producer whose batches have not all arrived.
const END_REST: Duration = Duration::from_millis(100);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Who are you, and do you speak the link?
    Discover,
    /// How do you stand?
    Stat,
    /// Begins an epoch of a producer.
    Open {
        /// The producer.
        producer: u128,
    },
    /// A producer sends no more.
    End {
        /// The producer.
        producer: u128,
    },
    /// Messages on a lease.
    Deq(Want),
    /// Finishes leases, or parts of them, each as a finish list names it.
    Ack {
        /// The entries of the finish list.
        leases: Vec<String>,
    },
    /// Gives a batch back.
    Nak {
        /// The batch.
        lease: Lease,
        /// How.
        how: GiveBack,
        /// Not to be given again before.
        delay: Duration,
        /// Why, for people.
        reason: String,
    },
    /// Keeps a batch for longer.
    Touch {
        /// The batch.
        lease: Lease,
        /// How long from now.
        lease_time: Duration,
    },
    /// Shows dead letters.
    ListDead {
        /// From this offset on.
        from: u64,
        /// At most so many.
        max: u64,
    },
    /// Puts dead letters back into the queue.
    RequeueDead(Letters),
    /// Drops dead letters.
    DropDead(Letters),
    /// Shows what came, be it finished or not.
    Read {
        /// From here on; else from the oldest that is kept.
        from: Option<Place>,
        /// At most so many.
        max: u64,
    },
    /// Has a queue deliver again what came, from here on.
    Seek(Place),
}

/// What a DEQ wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// At most so many messages.
    pub messages: u64,
    /// At most so many bytes of them.
    pub bytes: u64,
    /// How long to wait for the first.
    pub wait: Duration,
    /// How long they may stay away.
    pub lease_time: Duration,
    /// What is finished with the same request, as in [`Verb::Ack`].
    pub finished: Vec<String>,
}

/// Which dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Letters {
    /// All there are.
    All,
    /// Those at these offsets.
    At(Vec<u64>),
}

/// What comes after an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another request, after this rest.
    Ask(Duration),
    /// All is said.
    Done,
    /// It cannot be done, and why.
    Failed(String),
    /// This is no answer to what was asked.
    Stray,
}

/// One verb on its way through its requests.
#[derive(Debug)]
pub(crate) struct Talk {
    verb: Verb,
    /// Drawn at random by each process: the nonce of an OPEN, the session of a DEQ.
    random: u64,
    /// The epoch and the next sequence, once they are known.
    opened: Option<(u64, u64)>,
    delivery: u64,
    /// When the wait of a DEQ is over, since start; known once it has begun.
    wait_until: Option<Duration>,
    /// The list goes on here, with at most so many.
    list: (u64, u64),
    reading: Reading,
    /// The dead letters to come, and whether the first was seen to be there.
    letters: VecDeque<u64>,
    seen: bool,
    moved: u64,
}

impl Talk {
    pub(crate) fn new(verb: Verb, random: u64) -> Self {
        let list = if let Verb::ListDead { from, max } = verb { (from, max) } else { (0, 0) };
        let letters = match &verb {
            Verb::RequeueDead(Letters::At(offsets)) | Verb::DropDead(Letters::At(offsets)) => offsets.iter().copied(),
            _ => [].iter().copied(),
        };
        let letters = letters.collect();
        let reading = if let Verb::Read { from, max } = verb { Reading::new(from, max) } else { Reading::new(None, 0) };
        Self {
            verb,
            random,
            opened: None,
            delivery: 1,
            wait_until: None,
            list,
            reading,
            letters,
            seen: false,
            moved: 0,
        }
    }

    /// As a person says it.
    pub(crate) fn name(&self) -> &'static str {
        match self.verb {
            Verb::Discover => "SIZE:?v2",
            Verb::Stat => "STAT",
            Verb::Open { .. } => "OPEN",
            Verb::End { .. } => "END",
            Verb::Deq(_) => "DEQ",
            Verb::Ack { .. } => "ACK",
            Verb::Nak { .. } => "NAK",
            Verb::Touch { .. } => "TOUCH",
            Verb::ListDead { .. } | Verb::RequeueDead(_) | Verb::DropDead(_) => "DEAD",
            Verb::Read { .. } => "READ",
            Verb::Seek(_) => "SEEK",
        }
    }

    /// Whether it is the question that a queue of 2016 answers, too.
    pub(crate) fn is_discovery(&self) -> bool {
        self.verb == Verb::Discover
    }

    /// How long the request that leaves now may wait at the server.
    pub(crate) fn wait(&mut self, now: Duration) -> Duration {
        let Verb::Deq(want) = &self.verb else { return Duration::ZERO };
        let until = *self.wait_until.get_or_insert(now.saturating_add(want.wait));
        until.saturating_sub(now).min(WAIT_STEP)
    }

    /// Appends the request at hand.
    pub(crate) fn push(&self, token: u64, wait: Duration, out: &mut Vec<u8>) {
        match &self.verb {
            Verb::Discover => protocol::link::push_discovery(token, out),
            Verb::Stat => Ask::Stat.push(token, out),
            Verb::Open { producer } => self.push_open(*producer, token, out),
            Verb::End { producer } => match self.opened {
                Some((epoch, sequence)) => {
                    Ask::End(Sending { producer: *producer, epoch, sequence }).push(token, out);
                }
                None => self.push_open(*producer, token, out),
            },
            Verb::Deq(want) => {
                let finished = want.finished.join(",");
                let deq = Deq {
                    session: self.random,
                    delivery: self.delivery,
                    deliveries: 1,
                    open_from: self.delivery,
                    messages_max: want.messages,
                    bytes_max: want.bytes,
                    wait_ms: millis(wait),
                    lease_ms: millis(want.lease_time),
                    finished: finished.as_bytes(),
                };
                Ask::Deq(deq).push(token, out);
            }
            Verb::Ack { leases } => Ask::Ack { finished: leases.join(",").as_bytes() }.push(token, out),
            Verb::Nak { lease, how, delay, reason } => {
                let (leases, mut reasons) = (lease.to_string(), Vec::new());
                // One that fits in no frame fits in no command line.
                let _ = frame::push(reason.as_bytes(), &mut reasons);
                let (leases, reasons) = (leases.as_bytes(), reasons.as_slice());
                Ask::Nak { leases, how: *how, delay_ms: millis(*delay), reasons }.push(token, out);
            }
            Verb::Touch { lease, lease_time } => {
                let leases = lease.to_string();
                Ask::Touch { leases: leases.as_bytes(), lease_ms: millis(*lease_time) }.push(token, out);
            }
            Verb::ListDead { .. } => {
                let (from, max) = self.list;
                Ask::Dead { what: DeadDo::List, from, max }.push(token, out);
            }
            Verb::RequeueDead(which) => self.push_dead(DeadDo::Requeue, which, token, out),
            Verb::DropDead(which) => self.push_dead(DeadDo::Drop, which, token, out),
            Verb::Read { .. } => self.reading.push(token, out),
            Verb::Seek(to) => Ask::Seek { to: *to }.push(token, out),
        }
    }

    fn push_open(&self, producer: u128, token: u64, out: &mut Vec<u8>) {
        Ask::Open { producer, nonce: self.random, from: 0 }.push(token, out);
    }

    /// A server takes the letters at or behind an offset. One that is named is looked at first.
    fn push_dead(&self, what: DeadDo, which: &Letters, token: u64, out: &mut Vec<u8>) {
        let ask = match (which, self.letters.front()) {
            (Letters::All, _) | (_, None) => Ask::Dead { what, from: 0, max: u64::MAX },
            (Letters::At(_), Some(&from)) => {
                Ask::Dead { what: if self.seen { what } else { DeadDo::List }, from, max: 1 }
            }
        };
        ask.push(token, out);
    }

    /// Takes the answer to the request at hand. `queue` is who gave it.
    pub(crate) fn take(&mut self, now: Duration, queue: &str, answer: &Answer<'_>, told: &mut Told) -> Next {
        match (&self.verb, answer) {
            (Verb::Stat, Answer::Done { body, .. }) => {
                told.out.extend_from_slice(body);
                told.out.push(b'\n');
                Next::Done
            }
            (Verb::Open { .. }, Answer::Opened { epoch, sequence, level, credit }) => {
                told.opened(*epoch, *sequence, *level, *credit);
                Next::Done
            }
            (Verb::End { .. }, Answer::Opened { epoch, sequence, .. }) if self.opened.is_none() => {
                self.opened = Some((*epoch, *sequence));
                Next::Ask(Duration::ZERO)
            }
            (Verb::End { .. }, Answer::Stored { sequence, level, .. }) => match self.opened {
                Some((_, all)) if *sequence >= all => {
                    told.line(&json!({ "ended": true, "messages": all, "level": level.as_str() }));
                    Next::Done
                }
                _ => Next::Ask(END_REST),
            },
            (Verb::Open { .. } | Verb::End { .. }, Answer::Full { .. }) => Next::Failed(
                "the server has as many producers as it takes: try again later, or END some that send no more".into(),
            ),
            (Verb::Open { .. } | Verb::End { .. }, Answer::Fenced { .. }) => {
                Next::Failed("somebody else has opened this producer at the same time: ask again".into())
            }
            (Verb::Deq(_), _) => self.take_delivery(now, queue, answer, told),
            (Verb::Ack { leases }, Answer::Done { finished, level, .. }) => {
                let missed = tell_finished(leases, finished, |lease, outcome| told.outcome(lease, outcome, *level));
                if missed == 0 { Next::Done } else { Next::Failed(format!("leases that were not finished: {missed}")) }
            }
            (Verb::Nak { lease, .. } | Verb::Touch { lease, .. }, Answer::Done { finished, .. })
                if *finished != b"d" =>
            {
                Next::Failed(format!(
                    "the lease {lease} has ended: its messages are finished, or go to whoever asks next (DEQ)"
                ))
            }
            (Verb::Nak { lease, .. }, Answer::Done { level, .. }) => {
                told.outcome(&lease.to_string(), "given back", *level);
                Next::Done
            }
            (Verb::Touch { lease, lease_time }, Answer::Done { level, .. }) => {
                let outcome = format!("kept for {} s", lease_time.as_secs_f64());
                told.outcome(&lease.to_string(), &outcome, *level);
                Next::Done
            }
            (Verb::ListDead { .. }, Answer::Done { body, .. }) => self.take_list(body, told),
            (Verb::RequeueDead(which), Answer::Done { count, level, body, .. }) => {
                let all = *which == Letters::All;
                self.take_dead(("requeued", *level), all, *count, body, told)
            }
            (Verb::DropDead(which), Answer::Done { count, level, body, .. }) => {
                let all = *which == Letters::All;
                self.take_dead(("dropped", *level), all, *count, body, told)
            }
            (Verb::Read { .. }, _) => self.reading.take(queue, answer, told),
            (Verb::Seek(_), Answer::Done { count, level, .. }) => {
                told.line(&json!({ "replayed": count, "level": level.as_str() }));
                Next::Done
            }
            (Verb::Seek(_), Answer::Gone { oldest, end }) => gone(queue, *oldest, *end, "SEEK"),
            _ => Next::Stray,
        }
    }

    fn take_delivery(&mut self, now: Duration, queue: &str, answer: &Answer<'_>, told: &mut Told) -> Next {
        let Verb::Deq(want) = &mut self.verb else { return Next::Stray };
        let (delivery, finished, level) = match answer {
            Answer::Msg(msg) => (msg.delivery, msg.finished, msg.level),
            Answer::None { delivery, finished, level, .. } => (*delivery, *finished, *level),
            _ => return Next::Stray,
        };
        if delivery != self.delivery {
            return Next::Stray;
        }
        // Said once, of the first answer.
        let leases = std::mem::take(&mut want.finished);
        tell_finished(&leases, finished, |lease, outcome| told.outcome_aside(lease, outcome, level));
        match answer {
            Answer::Msg(msg) => {
                told.messages(queue, msg);
                Next::Done
            }
            // They were given, and the answers lost for so long that the lease has ended.
            Answer::None { ended: true, .. } => {
                self.delivery += 1;
                Next::Ask(Duration::ZERO)
            }
            _ if self.wait_until.is_some_and(|until| now < until) => Next::Ask(Duration::ZERO),
            _ => Next::Failed(format!(
                "no message came within {} s: --wait waits longer, STAT says how the queue stands",
                want.wait.as_secs_f64()
            )),
        }
    }

    fn take_list(&mut self, body: &[u8], told: &mut Told) -> Next {
        let mut rest = body;
        let before = self.list;
        while let Ok((header, after)) = frame::split(rest)
            && let Ok((message, after)) = frame::split(after)
            && let Some(offset) = told.letter(header, message)
        {
            rest = after;
            self.list = (offset.saturating_add(1), self.list.1.saturating_sub(1));
        }
        // An answer holds as many as fit; the rest is behind them.
        if self.list == before || self.list.1 == 0 { Next::Done } else { Next::Ask(Duration::ZERO) }
    }

    fn take_dead(&mut self, done: (&str, Durability), all: bool, count: u64, body: &[u8], told: &mut Told) -> Next {
        if all {
            tell_moved(done, count, told);
            return Next::Done;
        }
        let Some(&offset) = self.letters.front() else { return Next::Done };
        if !self.seen {
            let header = frame::split(body).map(|(header, _)| header).unwrap_or_default();
            let found = header.split(|byte| *byte == b' ').next().unwrap_or_default();
            self.seen = found == offset.to_string().as_bytes();
            if self.seen {
                return Next::Ask(Duration::ZERO);
            }
            return self.end_of_dead(done, told, &format!("there is no dead letter at offset {offset}: see DEAD list"));
        }
        if count == 0 {
            return self.end_of_dead(done, told, &format!("the queue is full: {offset} stays among the dead letters"));
        }
        self.moved += count;
        self.seen = false;
        self.letters.pop_front();
        if self.letters.is_empty() {
            tell_moved(done, self.moved, told);
            return Next::Done;
        }
        Next::Ask(Duration::ZERO)
    }

    /// Some may have been moved before one could not be.
    fn end_of_dead(&self, done: (&str, Durability), told: &mut Told, why: &str) -> Next {
        tell_moved(done, self.moved, told);
        Next::Failed(why.to_owned())
    }
}

/// Tells how many dead letters were moved, and how far that goes.
fn tell_moved((done, level): (&str, Durability), count: u64, told: &mut Told) {
    told.line(&json!({ done: count, "level": level.as_str() }));
}

/// Tells what became of each entry of a finish list; how many were not finished by this.
fn tell_finished(leases: &[String], letters: &[u8], mut tell: impl FnMut(&str, &str)) -> usize {
    let mut missed = 0;
    for (lease, letter) in leases.iter().zip(letters) {
        let (outcome, is_missed) = match letter {
            b'd' => ("finished", false),
            b'l' => ("finished late", false),
            b'o' => ("finished by another attempt, or forgotten", true),
            _ => ("never given by this server", true),
        };
        missed += usize::from(is_missed);
        tell(lease, outcome);
    }
    missed
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
