//! The link's requests and answers as values. `docs/protocol.md`, section 7, says what they mean.
//!
//! A request carries a token `r` of the client's choice, its answer echoes it as `a`: so answers find their requests
//! whatever their order, and neither can be taken for the other.

use std::fmt;

use crate::DATAGRAM_BYTES_MAX;
use crate::call::{Call, CallError, Draft, decimal, push_decimal, push_sealed, unseal};

/// How the question begins whether a server speaks the link. An old server answers its size only.
const DISCOVERY: &str = "SIZE:?v2";

/// What a producer does whose outputs carry derived ids: a name, and no longer than this.
pub const STAGE_BYTES_MAX: usize = 64;

/// The longest message that every request and answer can carry, whatever their numbers: what is longer cannot be told from
/// one that arrives. The longest header is that of an ENQ with derived ids.
pub const MESSAGE_BYTES_MAX: usize = DATAGRAM_BYTES_MAX - 314;

/// Why a frame's text is no request or answer of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkError {
    /// No call, or a garbled one.
    Call(CallError),
    /// The verb is unknown here.
    UnknownVerb,
    /// A field is missing or cannot be read.
    Field(&'static str),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(error) => error.fmt(f),
            Self::UnknownVerb => write!(f, "unknown verb"),
            Self::Field(field) => write!(f, "field '{field}' is missing or cannot be read"),
        }
    }
}

impl std::error::Error for LinkError {}

impl From<CallError> for LinkError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

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

/// A request for a batch of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deq<'a> {
    /// The consumer's session.
    pub session: u64,
    /// The number of the delivery that is asked for.
    pub delivery: u64,
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
    /// What is finished, see [`Finishes`].
    pub finished: &'a [u8],
}

/// Names one attempt at one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lease {
    /// The server's boot: a token from before a restart names nothing.
    pub boot: u64,
    /// The first message.
    pub first: u64,
    /// How many messages.
    pub count: u64,
    /// Which attempt at them, from 1.
    pub attempt: u64,
}

impl Lease {
    fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = text.split(|byte| *byte == b'.');
        let mut number = || decimal(parts.next()?);
        let lease = Self { boot: number()?, first: number()?, count: number()?, attempt: number()? };
        (parts.next().is_none() && lease.first.checked_add(lease.count).is_some()).then_some(lease)
    }

    fn push(self, out: &mut Vec<u8>) {
        for (n, number) in [self.boot, self.first, self.count, self.attempt].into_iter().enumerate() {
            if n > 0 {
                out.push(b'.');
            }
            push_decimal(number, out);
        }
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { boot, first, count, attempt } = self;
        write!(f, "{boot}.{first}.{count}.{attempt}")
    }
}

impl std::str::FromStr for Lease {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        Self::parse(text.as_bytes()).ok_or(LinkError::Field("l"))
    }
}

/// One entry of a finish list: a lease, and which of its messages (all, or ranges counted from 0, both ends in).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finish<'a> {
    /// The lease.
    pub lease: Lease,
    ranges: Option<&'a [u8]>,
}

impl<'a> Finish<'a> {
    /// The offsets that are finished, as ranges with both ends in, within the lease.
    pub fn offsets(self) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        let Lease { first, count, .. } = self.lease;
        let whole = self.ranges.is_none().then_some((0, count.saturating_sub(1)));
        let parts = self.ranges.unwrap_or_default().split(|byte| *byte == b'+').filter_map(|range| {
            let mut ends = range.split(|byte| *byte == b'-');
            Some((decimal(ends.next()?)?, decimal(ends.next()?)?))
        });
        let inside = move |(from, to): (u64, u64)| (from <= to && to < count).then(|| (first + from, first + to));
        whole.into_iter().chain(parts).filter_map(inside)
    }
}

/// Reads a finish list.
///
/// # Errors
/// [`LinkError::Field`] where an entry is no lease.
pub fn finishes(list: &[u8]) -> impl Iterator<Item = Result<Finish<'_>, LinkError>> {
    list.split(|byte| *byte == b',').filter(|entry| !entry.is_empty()).map(|entry| {
        let (token, ranges) = match entry.iter().position(|byte| *byte == b'+') {
            Some(at) => entry.split_at_checked(at).map_or((entry, None), |(token, rest)| (token, rest.get(1..))),
            None => (entry, None),
        };
        Ok(Finish { lease: Lease::parse(token).ok_or(LinkError::Field("f"))?, ranges })
    })
}

/// A finish list being written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Finishes(Vec<u8>);

impl Finishes {
    /// Adds a lease whose messages are all finished.
    pub fn push(&mut self, lease: Lease) {
        if !self.0.is_empty() {
            self.0.push(b',');
        }
        lease.push(&mut self.0);
    }

    /// The list as it travels.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }
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
        /// See [`finishes`].
        finished: &'a [u8],
    },
    /// Take these batches back.
    Nak {
        /// The batches, as in a finish list; see [`finishes`].
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
        /// The batches, as in a finish list; see [`finishes`].
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

fn with_sending(draft: Draft<'_>, sending: Sending) -> Draft<'_> {
    draft.id("p", sending.producer).number("e", sending.epoch).number("s", sending.sequence)
}

fn with_lease(draft: Draft<'_>, lease: Lease) -> Draft<'_> {
    draft.with("l", |out| lease.push(out))
}

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

    fn parse(text: &[u8]) -> Option<Self> {
        [Self::Memory, Self::Os, Self::Disk].into_iter().find(|level| level.as_str().as_bytes() == text)
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
    },
    /// To ACK, NAK, TOUCH: a letter for each lease. To DEAD: how many. To STAT: a body.
    Done {
        /// The letters.
        finished: &'a [u8],
        /// How many dead letters.
        count: u64,
        /// Dead letters, or JSON.
        body: &'a [u8],
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
        let answer = match call.verb {
            b"OPENED" => Self::Opened { epoch: number("e")?, sequence: number("s")?, credit: number("cr")? },
            b"STORED" => Self::Stored {
                sequence: number("s")?,
                level: call.text("du").and_then(Durability::parse).ok_or(LinkError::Field("du"))?,
                credit: number("cr")?,
            },
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
                frames: call.body,
            }),
            b"NONE" => Self::None { delivery: number("n")?, ended: call.number("en") == Some(1), finished },
            b"OK" => Self::Done { finished, count: call.number("n").unwrap_or(0), body: call.body },
            _ => return Err(LinkError::UnknownVerb),
        };
        Ok((token, answer))
    }

    /// Appends the answer as one frame.
    pub fn push(&self, token: u64, out: &mut Vec<u8>) {
        let begin = |verb, out| Draft::begin(verb, out).number("a", token);
        match *self {
            Self::Opened { epoch, sequence, credit } => {
                begin("OPENED", out).number("e", epoch).number("s", sequence).number("cr", credit).finish(&[]);
            }
            Self::Stored { sequence, level, credit } => {
                let draft = begin("STORED", out).number("s", sequence).text("du", level.as_str().as_bytes());
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
                with_letters(draft, msg.finished).finish(&[msg.frames]);
            }
            Self::None { delivery, ended, finished } => {
                let draft = begin("NONE", out).number("n", delivery).number("en", u64::from(ended));
                with_letters(draft, finished).finish(&[]);
            }
            Self::Done { finished, count, body } => {
                with_letters(begin("OK", out).number("n", count), finished).finish(&[body]);
            }
        }
    }
}

fn with_letters<'a>(draft: Draft<'a>, letters: &[u8]) -> Draft<'a> {
    if letters.is_empty() { draft } else { draft.text("v", letters) }
}

/// What a server that speaks the link says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// How many messages it has ready.
    pub size: u64,
    /// Its node, the same as long as its messages live.
    pub node: u64,
    /// Counts its starts.
    pub boot: u64,
    /// The largest datagram that it takes and sends.
    pub datagram_bytes_max: u64,
    /// How far its word goes.
    pub level: Durability,
    /// How many messages it has room for.
    pub credit: u64,
    /// How many messages of one batch it can ever have room for, however long they are.
    pub batch_messages_max: u64,
}

/// Appends the question whether a server speaks the link.
pub fn push_discovery(token: u64, out: &mut Vec<u8>) {
    push_sealed(DISCOVERY, &format!(" r={token}"), out);
}

/// The token of a SIZE that asks whether the server speaks the link. `None` of any other, or one garbled on its way.
pub fn discovery(text: &[u8]) -> Option<u64> {
    let (head, rest) = unseal(text)?;
    decimal(rest.strip_prefix(b" r=").filter(|_| head == DISCOVERY.as_bytes())?)
}

/// Whether a SIZE was such a question before one of its bytes was changed on its way. A plain size would be a wrong answer to
/// it, so it gets none.
pub fn is_garbled_discovery(text: &[u8]) -> bool {
    let asks = |rest: &[u8]| rest.starts_with(b"?v2 c=") || rest.windows(3).any(|field| field == b" r=");
    text.strip_prefix(b"SIZE:").is_some_and(asks) && discovery(text).is_none()
}

impl Welcome {
    /// Appends the answer as one frame.
    pub fn push(&self, token: u64, out: &mut Vec<u8>) {
        let Self { size, node, boot, datagram_bytes_max, level, credit, batch_messages_max } = self;
        let level = level.as_str();
        let fields = format!(
            " r={token} nd={node:x} bt={boot} mt={datagram_bytes_max} du={level} cr={credit} mm={batch_messages_max}"
        );
        push_sealed(&format!("{size} v2"), &fields, out);
    }

    /// Reads the text of the answer: the token and what the server says. `None` where it is none, as from an old server, or
    /// is garbled.
    pub fn parse(text: &[u8]) -> Option<(u64, Self)> {
        let (head, fields) = unseal(text)?;
        let size = decimal(head.strip_suffix(b" v2")?)?;
        let fields = std::str::from_utf8(fields).ok()?;
        let field = |key: &str| fields.split(' ').find_map(|field| field.strip_prefix(key)?.strip_prefix('='));
        let number = |key: &str| decimal(field(key)?.as_bytes());
        let welcome = Self {
            size,
            node: u64::from_str_radix(field("nd")?, 16).ok()?,
            boot: number("bt")?,
            datagram_bytes_max: number("mt")?,
            level: Durability::parse(field("du")?.as_bytes())?,
            credit: number("cr")?,
            batch_messages_max: number("mm")?,
        };
        Some((number("r")?, welcome))
    }
}

/// Appends a number in seven-bit groups, the lowest first (LEB128).
pub fn push_varint(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let bits = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return out.push(bits);
        }
        out.push(bits | 0x80);
    }
}

/// Splits a number off that [`push_varint`] wrote.
pub fn split_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (n, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        value |= bits.checked_shl(u32::try_from(n).ok()? * 7)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(n + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame;
    use proptest::prelude::*;

    const LEASE: Lease = Lease { boot: 1, first: 10, count: 5, attempt: 2 };

    fn check_ask(ask: &Ask<'_>) {
        let mut datagram = Vec::new();
        ask.push(7, &mut datagram);
        let text = frame::only(&datagram).unwrap();
        assert_eq!(Ask::parse(text), Ok((7, *ask)));
        assert!(Answer::parse(text).is_err(), "a request is no answer");
        assert!(crate::verb::Request::parse(&datagram).is_err(), "an old server is silent");
    }

    #[test]
    fn requests_read_back() {
        let sending = Sending { producer: u128::MAX, epoch: 3, sequence: 0 };
        let derived = Derived { node: u64::MAX, generation: 1, stage: b"Pong", low_water: 9, ids: &[1, 2, 3] };
        let plain = Enq { sending, count: 2, origin_us: 5, derived: None, frames: b"11a11b" };
        for ask in [
            Ask::Open { producer: 0, nonce: u64::MAX, from: 5 },
            Ask::End(sending),
            Ask::Enq(plain),
            Ask::Enq(Enq { derived: Some(derived), ..plain }),
            Ask::Deq(Deq {
                session: 1,
                delivery: 2,
                open_from: 1,
                messages_max: 500,
                bytes_max: 60_000,
                wait_ms: 1_000,
                lease_ms: 5_000,
                finished: b"1.10.5.2,1.15.5.1",
            }),
            Ask::Ack { finished: b"1.10.5.2" },
            Ask::Nak { leases: b"1.10.5.2", how: GiveBack::Dead, delay_ms: 0, reasons: b"213Unknown input: 'x'\n" },
            Ask::Touch { leases: b"1.10.5.2,1.15.5.2", lease_ms: 9 },
            Ask::Dead { what: DeadDo::Requeue, from: 4, max: 100 },
            Ask::Stat,
        ] {
            check_ask(&ask);
        }
    }

    #[test]
    fn answers_read_back() {
        let msg = Msg {
            delivery: 2,
            lease: LEASE,
            low_water: 3,
            generation: 1,
            node: 0xabc,
            origin_us: 77,
            finished: b"dl",
            frames: b"11a",
        };
        for answer in [
            Answer::Opened { epoch: 1, sequence: 2, credit: 3 },
            Answer::Stored { sequence: 2, level: Durability::Memory, credit: 3 },
            Answer::Full { sequence: 1, after_ms: 10 },
            Answer::Fenced { epoch: 0 },
            Answer::Msg(msg),
            Answer::None { delivery: 2, ended: true, finished: b"" },
            Answer::Done { finished: b"dlox", count: 0, body: b"{}" },
        ] {
            let mut datagram = Vec::new();
            answer.push(9, &mut datagram);
            let text = frame::only(&datagram).unwrap();
            assert_eq!(Answer::parse(text), Ok((9, answer)));
            assert!(Ask::parse(text).is_err(), "an answer is no request");
        }
    }

    #[test]
    fn the_longest_message_fits_whatever_the_numbers() {
        let mut frames = Vec::new();
        frame::push(&vec![b'x'; MESSAGE_BYTES_MAX], &mut frames).unwrap();
        let most = u64::MAX;
        let mut ids = Vec::new();
        (0..2).for_each(|_| push_varint(most, &mut ids));
        let sending = Sending { producer: u128::MAX, epoch: most, sequence: most - 1 };
        let stage = &[b'S'; STAGE_BYTES_MAX];
        let derived = Derived { node: most, generation: most, stage, low_water: most, ids: &ids };
        let mut datagram = Vec::new();
        let enq = Enq { sending, count: 1, origin_us: most, derived: Some(derived), frames: &frames };
        Ask::Enq(enq).push(most, &mut datagram);
        assert_eq!(datagram.len(), DATAGRAM_BYTES_MAX);
        assert!(Ask::parse(frame::only(&datagram).unwrap()) == Ok((most, Ask::Enq(enq))));
        datagram.clear();
        let lease = Lease { boot: most, first: most - 1, count: 1, attempt: most };
        let msg = Msg {
            delivery: most,
            lease,
            low_water: most,
            generation: most,
            node: most,
            origin_us: most,
            finished: b"dddddddddddddddd",
            frames: &frames,
        };
        Answer::Msg(msg).push(most, &mut datagram);
        assert!(Answer::parse(frame::only(&datagram).unwrap()) == Ok((most, Answer::Msg(msg))));
        assert!(datagram.len() <= DATAGRAM_BYTES_MAX);
    }

    #[test]
    fn discovery_is_a_size_to_an_old_server() {
        let mut datagram = Vec::new();
        push_discovery(42, &mut datagram);
        assert_eq!(datagram, b"218SIZE:?v2 c=f23aa2af r=42");
        assert_eq!(crate::verb::Request::parse(&datagram), Ok(crate::verb::Request::Size));
        let text = frame::only(&datagram).unwrap().to_vec();
        assert_eq!(discovery(&text), Some(42));
        assert!(![&text[..], b"SIZE", b"SIZE:", b"SIZE:?", b"SIZE:r=1"].into_iter().any(is_garbled_discovery));
        let welcome = Welcome {
            size: 3,
            node: 0xfeed,
            boot: 1,
            datagram_bytes_max: 65_507,
            level: Durability::Disk,
            credit: 9,
            batch_messages_max: 5,
        };
        datagram.clear();
        welcome.push(42, &mut datagram);
        let answer = frame::only(&datagram).unwrap().to_vec();
        assert_eq!(Welcome::parse(&answer), Some((42, welcome)));
        assert_eq!((Welcome::parse(b"17"), discovery(b"SIZE"), discovery(b"SIZE:?v2 r=42")), (None, None, None));
        for (bit, at) in (0..8 * answer.len()).map(|n| (n % 8, n / 8)) {
            let garbled = |text: &[u8]| {
                let mut text = text.to_vec();
                if let Some(byte) = text.get_mut(at) {
                    *byte ^= 1 << bit;
                }
                text
            };
            let (text, answer) = (garbled(&text), garbled(&answer));
            assert!(!text.starts_with(b"SIZE:") || discovery(&text).is_some() || is_garbled_discovery(&text));
            // In hexadecimal digits upper case means the same.
            assert!(at >= text.len() || discovery(&text).is_none_or(|token| token == 42), "{}", text.escape_ascii());
            assert!(Welcome::parse(&answer).is_none_or(|read| read == (42, welcome)), "{}", answer.escape_ascii());
        }
    }

    #[test]
    fn a_finish_list_names_leases_and_parts_of_them() {
        let mut list = Finishes::default();
        list.push(LEASE);
        list.push(Lease { first: 15, ..LEASE });
        assert_eq!(list.as_bytes(), b"1.10.5.2,1.15.5.2");
        assert_eq!(LEASE.to_string().parse(), Ok(LEASE));
        let offsets = |list: &[u8]| -> Vec<(u64, u64)> {
            finishes(list).filter_map(Result::ok).flat_map(Finish::offsets).collect()
        };
        assert_eq!(offsets(list.as_bytes()), [(10, 14), (15, 19)]);
        assert_eq!(offsets(b"1.10.5.2+0-0+3-4+4-5+9"), [(10, 10), (13, 14)], "what lies outside is left out");
        assert!(finishes(b"1.10.5").next().unwrap().is_err());
        assert!(finishes(b"1.18446744073709551615.5.1").next().unwrap().is_err());
    }

    proptest! {
        #[test]
        fn varints_read_back(value in any::<u64>(), tail in any::<Vec<u8>>()) {
            let mut bytes = Vec::new();
            push_varint(value, &mut bytes);
            bytes.extend_from_slice(&tail);
            prop_assert_eq!(split_varint(&bytes), Some((value, &tail[..])));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
            let _ = (Ask::parse(&bytes), Answer::parse(&bytes), Welcome::parse(&bytes), split_varint(&bytes));
            for finish in finishes(&bytes).flatten() {
                for (from, to) in finish.offsets() {
                    prop_assert!(from <= to && from >= finish.lease.first);
                }
            }
        }
    }
}
