//! What a client asks.

use super::LinkError;
use crate::call::{Call, Draft};

/// Who sends: identity, epoch and place in the order of one producer's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// The producer.
    pub producer: u128,
    /// Its epoch, given by OPEN.
    pub epoch: u64,
    /// The number of its first message here.
    pub sequence: u64,
}

/// What the ids of a worker's outputs are derived from, beside each message's offset and index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Derived<'a> {
    /// The node of the input queue.
    pub node: u64,
    /// The input queue's generation.
    pub generation: u64,
    /// What the worker does: its function's name.
    pub stage: &'a [u8],
    /// Below this offset the input queue has nothing open.
    pub low_water: u64,
    /// For each message two varints: offset less the one before, index of the output.
    pub ids: &'a [u8],
}

/// A batch of messages on its way into a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enq<'a> {
    /// Who sends, from which number on.
    pub sending: Sending,
    /// How many messages.
    pub count: u64,
    /// When the first message entered the system, in microseconds since the epoch.
    pub origin_us: u64,
    /// The ids of the messages, if they are a worker's outputs.
    pub derived: Option<Derived<'a>>,
    /// The messages, as frames.
    pub frames: &'a [u8],
}

/// How many deliveries one request may ask for; what it asks for beyond that is not given.
pub const DELIVERIES_A_REQUEST_MAX: u64 = 8;

/// A request for a batch of messages, or for several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deq<'a> {
    /// The consumer's session.
    pub session: u64,
    /// The number of the delivery that is asked for.
    pub delivery: u64,
    /// How many deliveries are asked for, with that one as the first; one at the least.
    pub deliveries: u64,
    /// The lowest delivery that is still open at the client.
    pub open_from: u64,
    /// How many messages at the most.
    pub messages_max: u64,
    /// How many bytes of frames at the most.
    pub bytes_max: u64,
    /// How long to wait for a message, in milliseconds.
    pub wait_ms: u64,
    /// How long the batch may stay away, in milliseconds.
    pub lease_ms: u64,
    /// What is finished, see [`Finishes`](super::Finishes).
    pub finished: &'a [u8],
}

/// How a message is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GiveBack {
    /// As if it had not been taken: no attempt is counted.
    Quiet,
    /// An attempt that failed.
    Counted,
    /// It will never do: to the dead letters.
    Dead,
}

/// What to do with dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadDo {
    /// Show them.
    List,
    /// Put them back into the queue, at its end.
    Requeue,
    /// Drop them.
    Drop,
}

/// A place in what a queue has kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The message with this offset.
    Offset(u64),
    /// The first message that came at this time or later, in microseconds since the epoch.
    Time(u64),
}

/// What a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Begins a producer's epoch; the same nonce again is the same question again.
    Open {
        /// The producer.
        producer: u128,
        /// Chosen anew by each process.
        nonce: u64,
        /// What is below is done with, as far as this process knows.
        from: u64,
    },
    /// A producer's feed has ended before `sending.sequence`.
    End(Sending),
    /// Take these messages.
    Enq(Enq<'a>),
    /// Give me messages.
    Deq(Deq<'a>),
    /// These are finished.
    Ack {
        /// See [`finishes`](super::finishes).
        finished: &'a [u8],
    },
    /// Take these batches back.
    Nak {
        /// The batches, as in a finish list; see [`finishes`](super::finishes).
        leases: &'a [u8],
        /// How.
        how: GiveBack,
        /// Not before so many milliseconds.
        delay_ms: u64,
        /// Why, for people: a frame for each; there may be fewer.
        reasons: &'a [u8],
    },
    /// I need longer for these batches.
    Touch {
        /// The batches, as in a finish list; see [`finishes`](super::finishes).
        leases: &'a [u8],
        /// How long from now, in milliseconds.
        lease_ms: u64,
    },
    /// Dead letters.
    Dead {
        /// What to do with them.
        what: DeadDo,
        /// From this offset on.
        from: u64,
        /// At most so many.
        max: u64,
    },
    /// Show me what came, whether it is finished or not; nothing changes.
    Read {
        /// From here on.
        from: Place,
        /// At most so many messages.
        messages_max: u64,
        /// At most so many bytes of frames, but one message at least.
        bytes_max: u64,
    },
    /// Deliver again what came, from here on.
    Seek {
        /// The first that is delivered again.
        to: Place,
    },
    /// How do you stand?
    Stat,
}

impl<'a> Ask<'a> {
    /// Reads a frame's text: the token and what is asked.
    ///
    /// # Errors
    /// [`LinkError`]; an answer is no request: its field `r` is missing.
    pub fn parse(text: &'a [u8]) -> Result<(u64, Self), LinkError> {
        let call = Call::parse(text)?;
        let number = |key: &'static str| call.number(key).ok_or(LinkError::Field(key));
        let token = number("r")?;
        let ask = match call.verb {
            b"OPEN" => Self::Open {
                producer: call.wide_id("p").ok_or(LinkError::Field("p"))?,
                nonce: call.id("k").ok_or(LinkError::Field("k"))?,
                from: call.number("s").unwrap_or(0),
            },
            b"END" => Self::End(sending(&call)?),
            b"ENQ" => Self::Enq(enq(&call)?),
            b"DEQ" => Self::Deq(Deq {
                session: call.id("k").ok_or(LinkError::Field("k"))?,
                delivery: number("n")?,
                deliveries: call.number("q").unwrap_or(1).max(1),
                open_from: number("lo")?,
                messages_max: number("m")?,
                bytes_max: number("z")?,
                wait_ms: number("wt")?,
                lease_ms: number("ls")?,
                finished: call.text("f").unwrap_or_default(),
            }),
            b"ACK" => Self::Ack { finished: call.text("f").ok_or(LinkError::Field("f"))? },
            b"NAK" => Self::Nak {
                leases: call.text("f").ok_or(LinkError::Field("f"))?,
                how: match call.text("h") {
                    Some(b"quiet") => GiveBack::Quiet,
                    Some(b"counted") => GiveBack::Counted,
                    Some(b"dead") => GiveBack::Dead,
                    _ => return Err(LinkError::Field("h")),
                },
                delay_ms: number("y")?,
                reasons: call.body,
            },
            b"TOUCH" => Self::Touch { leases: call.text("f").ok_or(LinkError::Field("f"))?, lease_ms: number("ls")? },
            b"DEAD" => Self::Dead {
                what: match call.text("op") {
                    Some(b"list") => DeadDo::List,
                    Some(b"requeue") => DeadDo::Requeue,
                    Some(b"drop") => DeadDo::Drop,
                    _ => return Err(LinkError::Field("op")),
                },
                from: number("o")?,
                max: number("m")?,
            },
            b"READ" => Self::Read { from: place(&call)?, messages_max: number("m")?, bytes_max: number("z")? },
            b"SEEK" => Self::Seek { to: place(&call)? },
            b"STAT" => Self::Stat,
            _ => return Err(LinkError::UnknownVerb),
        };
        Ok((token, ask))
    }

    /// Appends the request as one frame.
    pub fn push(&self, token: u64, out: &mut Vec<u8>) {
        let begin = |verb, out| Draft::begin(verb, out).number("r", token);
        match *self {
            Self::Open { producer, nonce, from } => {
                begin("OPEN", out).id("p", producer).id("k", nonce.into()).number("s", from).finish(&[]);
            }
            Self::End(sending) => with_sending(begin("END", out), sending).finish(&[]),
            Self::Enq(Enq { sending, count, origin_us, derived, frames }) => {
                let draft = with_sending(begin("ENQ", out), sending).number("n", count).number("t", origin_us);
                match derived {
                    Some(Derived { node, generation, stage, low_water, ids }) => draft
                        .id("d", node.into())
                        .number("g", generation)
                        .text("st", stage)
                        .number("w", low_water)
                        .number("b", ids.len() as u64)
                        .finish(&[ids, frames]),
                    None => draft.finish(&[frames]),
                }
            }
            Self::Deq(deq) => {
                let draft = begin("DEQ", out)
                    .id("k", deq.session.into())
                    .number("n", deq.delivery)
                    .number("lo", deq.open_from)
                    .number("m", deq.messages_max)
                    .number("z", deq.bytes_max)
                    .number("wt", deq.wait_ms)
                    .number("ls", deq.lease_ms);
                let draft = if deq.deliveries > 1 { draft.number("q", deq.deliveries) } else { draft };
                if deq.finished.is_empty() { draft } else { draft.text("f", deq.finished) }.finish(&[]);
            }
            Self::Ack { finished } => begin("ACK", out).text("f", finished).finish(&[]),
            Self::Nak { leases, how, delay_ms, reasons } => {
                let how: &[u8] = match how {
                    GiveBack::Quiet => b"quiet",
                    GiveBack::Counted => b"counted",
                    GiveBack::Dead => b"dead",
                };
                begin("NAK", out).text("f", leases).text("h", how).number("y", delay_ms).finish(&[reasons]);
            }
            Self::Touch { leases, lease_ms } => {
                begin("TOUCH", out).text("f", leases).number("ls", lease_ms).finish(&[]);
            }
            Self::Dead { what, from, max } => {
                let what: &[u8] = match what {
                    DeadDo::List => b"list",
                    DeadDo::Requeue => b"requeue",
                    DeadDo::Drop => b"drop",
                };
                begin("DEAD", out).text("op", what).number("o", from).number("m", max).finish(&[]);
            }
            Self::Read { from, messages_max, bytes_max } => {
                let draft = with_place(begin("READ", out), from);
                draft.number("m", messages_max).number("z", bytes_max).finish(&[]);
            }
            Self::Seek { to } => with_place(begin("SEEK", out), to).finish(&[]),
            Self::Stat => begin("STAT", out).finish(&[]),
        }
    }
}

fn sending(call: &Call<'_>) -> Result<Sending, LinkError> {
    Ok(Sending {
        producer: call.wide_id("p").ok_or(LinkError::Field("p"))?,
        epoch: call.number("e").ok_or(LinkError::Field("e"))?,
        sequence: call.number("s").ok_or(LinkError::Field("s"))?,
    })
}

/// One place: an offset or a time, not both.
fn place(call: &Call<'_>) -> Result<Place, LinkError> {
    match (call.number("o"), call.number("t")) {
        (Some(offset), None) => Ok(Place::Offset(offset)),
        (None, Some(time_us)) => Ok(Place::Time(time_us)),
        _ => Err(LinkError::Field("o")),
    }
}

fn enq<'a>(call: &Call<'a>) -> Result<Enq<'a>, LinkError> {
    let number = |key: &'static str| call.number(key).ok_or(LinkError::Field(key));
    let (derived, frames) = match call.id("d") {
        Some(node) => {
            let ids_len = usize::try_from(number("b")?).map_err(|_| LinkError::Field("b"))?;
            let (ids, frames) = call.body.split_at_checked(ids_len).ok_or(LinkError::Field("b"))?;
            let stage = call.text("st").ok_or(LinkError::Field("st"))?;
            (Some(Derived { node, generation: number("g")?, stage, low_water: number("w")?, ids }), frames)
        }
        None => (None, call.body),
    };
    let sending = sending(call)?;
    let count = number("n")?;
    sending.sequence.checked_add(count).ok_or(LinkError::Field("n"))?;
    Ok(Enq { sending, count, origin_us: number("t")?, derived, frames })
}

fn with_place(draft: Draft<'_>, place: Place) -> Draft<'_> {
    match place {
        Place::Offset(offset) => draft.number("o", offset),
        Place::Time(time_us) => draft.number("t", time_us),
    }
}

fn with_sending(draft: Draft<'_>, sending: Sending) -> Draft<'_> {
    draft.id("p", sending.producer).number("e", sending.epoch).number("s", sending.sequence)
}
