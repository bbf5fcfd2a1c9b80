//! What a server answers.

use super::{Lease, LinkError, lease::with_lease};
use crate::call::{Call, Draft};

/// A batch of messages on its way out of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Msg<'a> {
    /// Which delivery this is.
    pub delivery: u64,
    /// The lease, which holds the first offset, the count and the attempt.
    pub lease: Lease,
    /// Below this offset the queue has nothing open.
    pub low_water: u64,
    /// The queue's generation.
    pub generation: u64,
    /// The queue's node.
    pub node: u64,
    /// When the first message entered the system, in microseconds since the epoch.
    pub origin_us: u64,
    /// What became of the finishes that came with the request, a letter each.
    pub finished: &'a [u8],
    /// How far that goes.
    pub level: Durability,
    /// The messages, as frames.
    pub frames: &'a [u8],
}

/// What a queue has kept, from the place on that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past<'a> {
    /// The offset of the first message.
    pub first: u64,
    /// How many, their offsets consecutive.
    pub count: u64,
    /// The offset to ask for next.
    pub next: u64,
    /// The offset of the next message to come.
    pub end: u64,
    /// When the first message entered the system, in microseconds since the epoch.
    pub origin_us: u64,
    /// When it came to this queue, in microseconds since the epoch.
    pub at_us: u64,
    /// The messages, as frames.
    pub frames: &'a [u8],
}

/// How far a server's word goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Gone with the process.
    Memory,
    /// Written to the operating system: survives the process.
    Os,
    /// Synced to the disk: survives the machine's power.
    Disk,
}

impl Durability {
    /// As it travels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "mem",
            Self::Os => "os",
            Self::Disk => "disk",
        }
    }

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"mem" => Some(Self::Memory),
            b"os" => Some(Self::Os),
            b"disk" => Some(Self::Disk),
            _ => None,
        }
    }
}

/// What a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// To OPEN: the producer's epoch, and the number of its next message.
    Opened {
        /// The epoch.
        epoch: u64,
        /// The number of the next message.
        sequence: u64,
        /// How far that goes.
        level: Durability,
        /// How many messages the queue has room for.
        credit: u64,
    },
    /// To ENQ and END: all messages below `sequence` are in the queue, at this level.
    Stored {
        /// The number of the first message that is not.
        sequence: u64,
        /// How far that goes.
        level: Durability,
        /// How many messages the queue has room for.
        credit: u64,
    },
    /// To ENQ: no room; nothing of the batch is taken. To OPEN: as many producers are live as may be.
    Full {
        /// As in [`Answer::Stored`].
        sequence: u64,
        /// When to try again, in milliseconds.
        after_ms: u64,
    },
    /// To OPEN, ENQ, END: another epoch of this producer has begun, or it is not live: to OPEN, its feed was ended under
    /// this nonce; to ENQ and END, it is not known.
    Fenced {
        /// The producer's epoch now; 0 where it is not live.
        epoch: u64,
    },
    /// To DEQ: a batch.
    Msg(Msg<'a>),
    /// To DEQ: no message in time, or the delivery's lease has ended.
    None {
        /// The delivery.
        delivery: u64,
        /// Whether its lease has ended, so that it will never come.
        ended: bool,
        /// What became of the finishes that came with the request, a letter each.
        finished: &'a [u8],
        /// How far that goes.
        level: Durability,
    },
    /// To ACK, NAK, TOUCH: a letter for each lease. To DEAD and SEEK: how many. To STAT: a body.
    Done {
        /// The letters.
        finished: &'a [u8],
        /// How many dead letters, or messages that are delivered again.
        count: u64,
        /// How far what was done goes.
        level: Durability,
        /// Dead letters, or JSON.
        body: &'a [u8],
    },
    /// To READ: what was kept.
    Past(Past<'a>),
    /// To READ and SEEK: the place lies before all that is kept.
    Gone {
        /// The oldest offset that is kept; `end` if nothing is.
        oldest: u64,
        /// The offset of the next message to come.
        end: u64,
    },
}

impl<'a> Answer<'a> {
    /// Reads a frame's text: the token of the request, and the answer.
    ///
    /// # Errors
    /// [`LinkError`]; a request is no answer: its field `a` is missing.
    pub fn parse(text: &'a [u8]) -> Result<(u64, Self), LinkError> {
        let call = Call::parse(text)?;
        let number = |key: &'static str| call.number(key).ok_or(LinkError::Field(key));
        let token = number("a")?;
        let finished = call.text("v").unwrap_or_default();
        let level = || level(&call);
        let answer = match call.verb {
            b"OPENED" => {
                Self::Opened { epoch: number("e")?, sequence: number("s")?, level: level()?, credit: number("cr")? }
            }
            b"STORED" => Self::Stored { sequence: number("s")?, level: level()?, credit: number("cr")? },
            b"FULL" => Self::Full { sequence: number("s")?, after_ms: number("af")? },
            b"FENCED" => Self::Fenced { epoch: number("e")? },
            b"MSG" => Self::Msg(Msg {
                delivery: number("n")?,
                lease: call.text("l").and_then(Lease::parse).ok_or(LinkError::Field("l"))?,
                low_water: number("w")?,
                generation: number("g")?,
                node: call.id("nd").ok_or(LinkError::Field("nd"))?,
                origin_us: number("t")?,
                finished,
                level: level()?,
                frames: call.body,
            }),
            b"NONE" => {
                let ended = call.number("en") == Some(1);
                Self::None { delivery: number("n")?, ended, finished, level: level()? }
            }
            b"OK" => {
                let count = call.number("n").unwrap_or(0);
                Self::Done { finished, count, level: level()?, body: call.body }
            }
            b"PAST" => Self::Past(Past {
                first: number("o")?,
                count: number("n")?,
                next: number("x")?,
                end: number("e")?,
                origin_us: number("t")?,
                at_us: number("at")?,
                frames: call.body,
            }),
            b"GONE" => Self::Gone { oldest: number("o")?, end: number("e")? },
            _ => return Err(LinkError::UnknownVerb),
        };
        Ok((token, answer))
    }

    /// Appends the answer as one frame.
    pub fn push(&self, token: u64, out: &mut Vec<u8>) {
        let begin = |verb, out| Draft::begin(verb, out).number("a", token);
        match *self {
            Self::Opened { epoch, sequence, level, credit } => {
                let draft = with_level(begin("OPENED", out).number("e", epoch).number("s", sequence), level);
                draft.number("cr", credit).finish(&[]);
            }
            Self::Stored { sequence, level, credit } => {
                let draft = with_level(begin("STORED", out).number("s", sequence), level);
                draft.number("cr", credit).finish(&[]);
            }
            Self::Full { sequence, after_ms } => {
                begin("FULL", out).number("s", sequence).number("af", after_ms).finish(&[]);
            }
            Self::Fenced { epoch } => begin("FENCED", out).number("e", epoch).finish(&[]),
            Self::Msg(msg) => {
                let draft = with_lease(begin("MSG", out).number("n", msg.delivery), msg.lease)
                    .number("w", msg.low_water)
                    .number("g", msg.generation)
                    .id("nd", msg.node.into())
                    .number("t", msg.origin_us);
                with_letters(with_level(draft, msg.level), msg.finished).finish(&[msg.frames]);
            }
            Self::None { delivery, ended, finished, level } => {
                let draft = begin("NONE", out).number("n", delivery).number("en", u64::from(ended));
                with_letters(with_level(draft, level), finished).finish(&[]);
            }
            Self::Done { finished, count, level, body } => {
                let draft = with_level(begin("OK", out).number("n", count), level);
                with_letters(draft, finished).finish(&[body]);
            }
            Self::Past(past) => begin("PAST", out)
                .number("o", past.first)
                .number("n", past.count)
                .number("x", past.next)
                .number("e", past.end)
                .number("t", past.origin_us)
                .number("at", past.at_us)
                .finish(&[past.frames]),
            Self::Gone { oldest, end } => begin("GONE", out).number("o", oldest).number("e", end).finish(&[]),
        }
    }
}

/// How far an answer goes; one that does not say so goes no further than memory.
fn level(call: &Call<'_>) -> Result<Durability, LinkError> {
    call.text("du").map_or(Some(Durability::Memory), Durability::parse).ok_or(LinkError::Field("du"))
}

fn with_level(draft: Draft<'_>, level: Durability) -> Draft<'_> {
    draft.written(match level {
        Durability::Memory => " du=mem",
        Durability::Os => " du=os",
        Durability::Disk => " du=disk",
    })
}

fn with_letters<'a>(draft: Draft<'a>, letters: &[u8]) -> Draft<'a> {
    if letters.is_empty() { draft } else { draft.text("v", letters) }
}
