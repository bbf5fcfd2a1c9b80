//! What each kind of node promises, told from what passed between it and the net: a model of a few lines goes through the
//! same datagrams and must come to the same ones, in the same order, and the node's counters must agree.
//!
//! The net stands outside: what it lost never came, what it doubled came twice, what it garbled came garbled. So nothing
//! is forgiven here.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};

use feeder::Entry;
use functions::{Function, Outputs};
use protocol::{
    frame,
    verb::{PutAnswer, Request, RequestError, message_len},
};
use serde_json::Value;
use worker::OutputKind;

use crate::{
    market::line_of,
    witness::{Books, Passed},
};

/// How a node breaks its promise.
pub(crate) type Breach = String;

/// A queue gives out what was put, as it was put, in the order of arrival, once; it refuses what is too much.
pub(crate) fn queue(messages_max: usize, passed: &[Passed], books: &Books) -> Result<(), Breach> {
    let mut ready: VecDeque<&[u8]> = VecDeque::new();
    let mut due: VecDeque<(SocketAddr, Vec<u8>)> = VecDeque::new();
    let mut counts = mq::Counts::default();
    for event in passed {
        match event {
            Passed::Came { port: mq::CLIENTS, from, bytes } => {
                let mut answer = Vec::new();
                match Request::parse(bytes) {
                    Ok(Request::Put(_)) if ready.len() >= messages_max => {
                        counts.refused_messages_max += 1;
                        PutAnswer::Full.push(&mut answer);
                    }
                    Ok(Request::Put(message)) => {
                        counts.accepted += 1;
                        ready.push_back(message);
                        PutAnswer::Stored { len: message_len(message) }.push(&mut answer);
                    }
                    Ok(Request::Get) => {
                        *if ready.is_empty() { &mut counts.empty_gets } else { &mut counts.popped } += 1;
                        frame::push(ready.pop_front().unwrap_or_default(), &mut answer).unwrap();
                    }
                    Ok(Request::Size) => frame::push(ready.len().to_string().as_bytes(), &mut answer).unwrap(),
                    Err(RequestError::Malformed(_)) => counts.malformed += 1,
                    Err(RequestError::UnknownVerb) => counts.unknown_verb += 1,
                }
                if !answer.is_empty() {
                    due.push_back((*from, answer));
                }
            }
            Passed::Left { port: mq::CLIENTS, to, bytes } => expect_next(&mut due, *to, bytes)?,
            _ => {}
        }
    }
    expect_none(due.len(), "answers were never given")?;
    let Books::Queue { counts: kept, ready: kept_ready } = books else { return Err("keeps no books".to_owned()) };
    // What the kernel drops at a paused queue is the net's to know.
    counts.kernel_drops = kept.kernel_drops;
    expect_equal("counts", kept, &counts)?;
    expect_equal("ready", kept_ready, &(ready.len() as u64))?;
    expect_equal("accepted = ready + popped", &kept.accepted, &(kept_ready + kept.popped))
}

/// What a worker is told to do.
#[derive(Debug, Clone)]
pub(crate) struct Work {
    pub(crate) function: &'static str,
    pub(crate) inputs: Vec<SocketAddr>,
    pub(crate) outputs: Vec<SocketAddr>,
    pub(crate) output_kind: OutputKind,
}

/// A worker hands each message that comes to its function and sends what the function gives, in order, once.
///
/// Before it asks a queue for messages it asks, with a SIZE that costs none, what the queue speaks.
pub(crate) fn worker(work: &Work, passed: &[Passed], books: &Books) -> Result<(), Breach> {
    let mut model = WorkerModel::new(work);
    for event in passed {
        match event {
            Passed::Came { port: worker::INPUT, from, bytes } => model.take(*from, bytes),
            Passed::Came { port: worker::OUTPUT, bytes, .. } => model.take_put_answer(bytes),
            Passed::Left { port: worker::INPUT, to, bytes } => {
                expect_equal("asks one of its inputs", &work.inputs.contains(to), &true)?;
                model.asks(*to, bytes)?;
            }
            Passed::Left { port: worker::OUTPUT, to, bytes } => model.expect_output(*to, bytes)?,
            _ => {}
        }
    }
    let Books::Worker(kept) = books else { return Err("keeps no books".to_owned()) };
    model.counts.kernel_drops = kept.kernel_drops;
    // Answers to what the process before had asked, and sizes that came twice.
    model.counts.stray = kept.stray;
    expect_equal("counts", kept, &model.counts)?;
    expect_equal(
        "received = processed + errors + panics",
        &kept.received,
        &(kept.processed + kept.errors + kept.panics),
    )
}

/// What a worker knows of a queue.
#[derive(Debug, Default)]
struct Known {
    /// Plain sizes that came since it last asked who the queue is; so many tell that it is an old one.
    sizes: u32,
    sizes_wanted: u32,
    /// Whether it has asked for a message since it knows, and ever.
    has_asked: bool,
    has_ever_asked: bool,
}

impl Known {
    fn is_known(&self) -> bool {
        self.sizes >= self.sizes_wanted
    }
}

struct WorkerModel<'a> {
    work: &'a Work,
    known: BTreeMap<SocketAddr, Known>,
    function: Function,
    given: Outputs,
    due: VecDeque<(SocketAddr, Vec<u8>)>,
    counts: worker::Counts,
}

impl<'a> WorkerModel<'a> {
    fn new(work: &'a Work) -> Self {
        const SIZES_OF_AN_OLD_QUEUE: u32 = 5;
        let unknown = || Known { sizes_wanted: SIZES_OF_AN_OLD_QUEUE, ..Known::default() };
        Self {
            work,
            known: work.inputs.iter().map(|input| (*input, unknown())).collect(),
            function: functions::find(work.function).unwrap().start(),
            given: Outputs::default(),
            due: VecDeque::new(),
            counts: worker::Counts::default(),
        }
    }

    fn asks(&mut self, queue: SocketAddr, request: &[u8]) -> Result<(), Breach> {
        let Some(known) = self.known.get_mut(&queue) else { return Ok(()) };
        match Request::parse(request) {
            Ok(Request::Get) => {
                (known.has_asked, known.has_ever_asked) = (true, true);
                expect_equal("knows whom it asks", &known.is_known(), &true)
            }
            other => {
                if known.is_known() {
                    *known = Known { sizes_wanted: 1, has_ever_asked: known.has_ever_asked, ..Known::default() };
                }
                expect_equal("asks with", &other, &Ok(Request::Size))
            }
        }
    }

    fn take(&mut self, queue: SocketAddr, answer: &[u8]) {
        let Some(known) = self.known.get_mut(&queue) else { return };
        match frame::only(answer) {
            Ok(b"") => {}
            Ok(size) if !known.has_asked && size.iter().all(u8::is_ascii_digit) => known.sizes += 1,
            Ok(_) if !known.is_known() && !known.has_ever_asked => {}
            Ok(message) => self.process(message),
            Err(_) => self.counts.malformed += 1,
        }
    }

    fn process(&mut self, message: &[u8]) {
        self.counts.received += 1;
        self.given.clear();
        if (self.function)(message, &mut self.given).is_err() {
            self.counts.errors += 1;
            return;
        }
        self.counts.processed += 1;
        let count = self.work.outputs.len().try_into().unwrap();
        for (choice, output) in self.given.iter() {
            self.counts.outputs += 1;
            self.due.push_back((self.work.outputs[choice.index(count)], output.to_vec()));
        }
    }

    /// What is a frame and no answer came to the process before, or was garbled: it is not counted as malformed.
    fn take_put_answer(&mut self, answer: &[u8]) {
        if frame::only(answer).is_err() {
            self.counts.malformed += 1;
        }
    }

    fn expect_output(&mut self, to: SocketAddr, bytes: &[u8]) -> Result<(), Breach> {
        let output = match self.work.output_kind {
            OutputKind::Socket => bytes,
            OutputKind::Queue => match Request::parse(bytes) {
                Ok(Request::Put(message)) => message,
                other => return expect_equal("sends to its output", &other, &Ok(Request::Size)),
            },
        };
        self.counts.sent += 1;
        expect_next(&mut self.due, to, output)
    }
}

/// A sink prints the message of each datagram that has one, in order, once.
pub(crate) fn sink(passed: &[Passed], books: &Books) -> Result<(), Breach> {
    let (mut received, mut printed) = (0, 0);
    let mut due = String::new();
    let mut written = Vec::new();
    for event in passed {
        match event {
            Passed::Came { port: sink::INPUT, bytes, .. } => {
                received += 1;
                if let Some(line) = line_of(bytes) {
                    printed += 1;
                    due.extend([line.as_str(), "\n"]);
                }
            }
            Passed::Wrote(bytes) => written.extend_from_slice(bytes),
            _ => {}
        }
    }
    if written != due.as_bytes() {
        let shown = String::from_utf8_lossy(&written);
        let at = shown.lines().zip(due.lines()).take_while(|(shown, due)| shown == due).count();
        return Err(format!("as line {at} it printed {:?}, due was {:?}", shown.lines().nth(at), due.lines().nth(at)));
    }
    let Books::Sink(kept) = books else { return Err("keeps no books".to_owned()) };
    expect_equal("received", &kept.received, &received)?;
    expect_equal("printed", &kept.printed, &printed)?;
    let bad = kept.not_utf8 + kept.not_json + kept.not_an_object + kept.no_msg + kept.too_deep;
    expect_equal("received = printed + bad", &kept.received, &(kept.printed + kept.silenced + bad))
}

/// A feeder puts the text of each line that it reads, in order, once, with the time in tag 999.
pub(crate) fn feeder(queue: SocketAddr, passed: &[Passed], books: &Books) -> Result<(), Breach> {
    let mut due = VecDeque::new();
    let (mut read, mut sent, mut answers) = (0, 0, 0);
    for event in passed {
        match event {
            Passed::Read(line) => {
                read += 1;
                if let Some((Entry::Message(text), _)) = Entry::parse(line) {
                    due.push_back((queue, text.to_vec()));
                }
            }
            Passed::Left { port: feeder::QUEUE, to, bytes } => match Request::parse(bytes) {
                Ok(Request::Put(message)) => {
                    sent += 1;
                    let text = unwrapped(message);
                    expect_next(
                        &mut due,
                        *to,
                        text.ok_or_else(|| format!("badly wrapped: {}", message.escape_ascii()))?,
                    )?;
                }
                other => expect_equal("sends to its queue", &other, &Ok(Request::Size))?,
            },
            Passed::Came { port: feeder::QUEUE, bytes, .. } => {
                answers += u64::from(frame::only(bytes).is_ok_and(|text| PutAnswer::parse(text).is_some()));
            }
            _ => {}
        }
    }
    let Books::Feeder(kept) = books else { return Err("keeps no books".to_owned()) };
    expect_none(due.len(), "lines were never sent")?;
    expect_equal("read", &kept.read, &read)?;
    expect_equal("sent", &kept.sent, &sent)?;
    expect_equal(
        "sent = confirmed + refused + unconfirmed",
        &kept.sent,
        &(kept.confirmed + kept.refused + kept.unconfirmed),
    )?;
    expect_none(
        usize::try_from((kept.confirmed + kept.refused).saturating_sub(answers)).unwrap(),
        "answers were invented",
    )
}

/// A client sends each line that it reads as a request, in order, once, and tells what came of each: an answer only if it
/// has just come.
pub(crate) fn client(queue: SocketAddr, passed: &[Passed], books: &Books) -> Result<(), Breach> {
    let mut due = VecDeque::new();
    let mut came: &[u8] = b"";
    let (mut told, mut answered) = (0, 0);
    for event in passed {
        match event {
            Passed::Read(line) => {
                let mut datagram = Vec::new();
                frame::push(line, &mut datagram).unwrap();
                due.push_back((queue, datagram));
            }
            Passed::Left { to, bytes, .. } => expect_next(&mut due, *to, bytes)?,
            Passed::Came { bytes, .. } => came = frame::only(bytes).unwrap_or(came),
            Passed::Wrote(bytes) => {
                let line: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
                told += 1;
                answered += u64::from(line.get("rtt_us").is_some());
                if let Some(received) = line.get("received") {
                    expect_equal("told as received", &received.as_str(), &std::str::from_utf8(came).ok())?;
                }
            }
        }
    }
    let Books::Client(kept) = books else { return Err("keeps no books".to_owned()) };
    expect_none(due.len(), "requests were never sent")?;
    expect_equal("requests", &kept.requests, &told)?;
    expect_equal("answered", &kept.answered, &answered)?;
    let failed = kept.timed_out + kept.refused + kept.too_long + kept.unsent + kept.interrupted;
    expect_equal("requests = answered + failed", &kept.requests, &(kept.answered + failed))
}

/// What a feeder has put its wrapping of 2016 around.
fn unwrapped(message: &[u8]) -> Option<&[u8]> {
    let inner = message.strip_prefix(b"\"")?.strip_suffix(b"\x01\"")?;
    let soh = inner.iter().rposition(|byte| *byte == 1)?;
    let (text, stamp) = inner.split_at(soh);
    let stamp = std::str::from_utf8(stamp.strip_prefix(b"\x01999=")?).ok()?;
    stamp.parse::<f64>().is_ok().then_some(text)
}

fn expect_next(due: &mut VecDeque<(SocketAddr, Vec<u8>)>, to: SocketAddr, bytes: &[u8]) -> Result<(), Breach> {
    let next = due.pop_front();
    if next.as_ref().is_some_and(|(due_to, due_bytes)| *due_to == to && due_bytes == bytes) {
        return Ok(());
    }
    let due = next.map(|(to, bytes)| format!("to {to} \"{}\"", bytes.escape_ascii()));
    Err(format!("sent to {to} \"{}\", due was {}", bytes.escape_ascii(), due.as_deref().unwrap_or("nothing")))
}

fn expect_none(count: usize, what: &str) -> Result<(), Breach> {
    if count == 0 { Ok(()) } else { Err(format!("{count} {what}")) }
}

fn expect_equal<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, due: &T) -> Result<(), Breach> {
    if is == due { Ok(()) } else { Err(format!("{what}: {is:?}, due was {due:?}")) }
}
