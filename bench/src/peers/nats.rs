//! NATS: core, which confirms nothing, and a `JetStream`, in memory or in a file, whose messages are each confirmed and acknowledged.

use std::{
    fs, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Broker, Connection, number};
use crate::{
    MESSAGE_BYTES,
    latency::{Clock, Paced, Seen},
    load::rate,
    processes::{Failed, joined},
    table::Rate,
};

pub(crate) const PROGRAM: &str = "nats-server";

/// Core drops a consumer that falls behind, so its producer is held to so many messages ahead. NATS has nothing of the
/// kind; it costs the clients an atomic number.
const AHEAD_MAX: u64 = 100_000;

/// Messages a write.
const MESSAGES_A_WRITE: u64 = 512;

/// Publications that `JetStream` has not confirmed, and messages a pull.
const UNCONFIRMED_MAX: u64 = 1_000;
const MESSAGES_A_PULL: u64 = 500;

/// Where a stream is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    Memory,
    /// Synced every two minutes, whatever has been confirmed.
    File,
}

pub(crate) fn start(streams: bool) -> Result<Broker, Failed> {
    let folder = std::env::temp_dir().join("jetstream");
    // What an earlier one has left.
    let _ = fs::remove_dir_all(&folder);
    Broker::start(PROGRAM, |port| {
        let (folder, port) = (folder.display().to_string(), port.to_string());
        let mut flags = vec!["-a", "127.0.0.1", "-p", &port];
        if streams {
            flags.extend(["-js", "-sd", &folder]);
        }
        flags.into_iter().map(str::to_owned).collect()
    })
}

/// What the server sends.
enum Heard {
    /// A message; where to acknowledge it, if anywhere, and its text are in the buffers.
    Message,
    /// A status of `JetStream`'s: a pull is over.
    Status,
    Pong,
}

impl Connection {
    fn greet(&mut self) -> io::Result<()> {
        self.line()?;
        self.send(b"CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n")?;
        self.settle()
    }

    /// Returns once the server has handled all that was sent.
    fn settle(&mut self) -> io::Result<()> {
        self.send(b"PING\r\n")?;
        let (mut reply, mut text) = (Vec::new(), Vec::new());
        while !matches!(self.heard(&mut reply, &mut text)?, Heard::Pong) {}
        Ok(())
    }

    fn heard(&mut self, reply: &mut Vec<u8>, text: &mut Vec<u8>) -> io::Result<Heard> {
        loop {
            let line = self.line()?;
            if line.starts_with(b"PING") {
                self.send(b"PONG\r\n")?;
            } else if line.starts_with(b"PONG") {
                return Ok(Heard::Pong);
            } else if let Some(header) = line.strip_prefix(b"MSG ") {
                let mut words = header.split(|&byte| byte == b' ');
                let bytes = words.next_back().unwrap_or_default();
                let len = usize::try_from(number(bytes)?).unwrap_or_default();
                // `SUBJECT SID [REPLY] BYTES`
                reply.clear();
                reply.extend_from_slice(words.nth(2).unwrap_or_default());
                self.text(len, text)?;
                return Ok(Heard::Message);
            } else if let Some(header) = line.strip_prefix(b"HMSG ") {
                let bytes = header.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
                let len = usize::try_from(number(bytes)?).unwrap_or_default();
                self.text(len, text)?;
                return Ok(Heard::Status);
            } else if !line.starts_with(b"INFO") {
                return Err(io::Error::other(String::from_utf8_lossy(line).into_owned()));
            }
        }
    }

    /// Asks `JetStream` for something; its answer.
    fn ask(&mut self, subject: &str, request: &str) -> io::Result<Vec<u8>> {
        self.send(format!("PUB $JS.API.{subject} inbox.api {}\r\n{request}\r\n", request.len()).as_bytes())?;
        let (mut reply, mut text) = (Vec::new(), Vec::new());
        while !matches!(self.heard(&mut reply, &mut text)?, Heard::Message) {}
        let failed = text.windows(7).any(|word| word == b"\"error\"");
        if failed { Err(io::Error::other(String::from_utf8_lossy(&text).into_owned())) } else { Ok(text) }
    }
}

fn connected(broker: &Broker, subscribe: &[u8]) -> io::Result<Connection> {
    let mut connection = Connection::open(broker.address)?;
    connection.greet()?;
    connection.send(subscribe)?;
    connection.settle()?;
    Ok(connection)
}

fn push_publication(message: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("PUB queue {MESSAGE_BYTES}\r\n").as_bytes());
    out.extend_from_slice(message);
    out.extend_from_slice(b"\r\n");
}

/// Core: a publication is answered by nothing, and who does not listen misses it.
pub(crate) fn core(messages: u64) -> Result<Rate, Failed> {
    let broker = start(false)?;
    let mut consumer = connected(&broker, b"SUB queue 1\r\n")?;
    let mut producer = connected(&broker, b"")?;
    let seen = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let tell = Arc::clone(&seen);
    let producing = thread::spawn(move || {
        let mut bytes = Vec::new();
        for _ in 0..MESSAGES_A_WRITE {
            push_publication(&[b'x'; MESSAGE_BYTES], &mut bytes);
        }
        let one = bytes.len() / usize::try_from(MESSAGES_A_WRITE).unwrap_or(1);
        let mut sent = 0;
        while sent < messages {
            while sent > seen.load(Ordering::Relaxed) + AHEAD_MAX {
                thread::sleep(Duration::from_micros(100));
            }
            let count = MESSAGES_A_WRITE.min(messages - sent);
            let len = one * usize::try_from(count).unwrap_or_default();
            producer.send(bytes.get(..len).unwrap_or_default())?;
            sent += count;
        }
        producer.settle()
    });
    let (mut reply, mut text) = (Vec::new(), Vec::new());
    let mut got = 0;
    while got < messages {
        got += u64::from(matches!(consumer.heard(&mut reply, &mut text)?, Heard::Message));
        if got.is_multiple_of(MESSAGES_A_WRITE) {
            tell.store(got, Ordering::Relaxed);
        }
    }
    let rate = rate(messages, start);
    joined(producing)?;
    Ok(rate)
}

/// A stream: each publication is confirmed, each message acknowledged, as on the link.
pub(crate) fn stream(messages: u64, storage: Storage) -> Result<Rate, Failed> {
    let broker = start(true)?;
    let mut consumer = connected(&broker, b"SUB inbox.api 1\r\nSUB inbox.batch 2\r\n")?;
    let storage = if storage == Storage::Memory { "memory" } else { "file" };
    consumer.ask(
        "STREAM.CREATE.bench",
        &format!(
            "{{\"name\":\"bench\",\"subjects\":[\"queue\"],\"retention\":\"workqueue\",\"storage\":\"{storage}\",\
             \"num_replicas\":1,\"discard\":\"new\",\"max_age\":0,\"max_msgs\":-1,\"max_bytes\":-1,\
             \"max_consumers\":-1}}"
        ),
    )?;
    consumer.ask(
        "CONSUMER.DURABLE.CREATE.bench.worker",
        "{\"stream_name\":\"bench\",\"config\":{\"durable_name\":\"worker\",\"deliver_policy\":\"all\",\
         \"ack_policy\":\"explicit\",\"ack_wait\":30000000000,\"max_ack_pending\":10000,\"replay_policy\":\"instant\"}}",
    )?;
    let mut producer = connected(&broker, b"SUB confirmed 1\r\n")?;
    let start = Instant::now();
    let producing = thread::spawn(move || {
        let (mut reply, mut text) = (Vec::new(), Vec::new());
        let message = [b'x'; MESSAGE_BYTES];
        let (mut sent, mut confirmed) = (0, 0);
        let mut bytes = Vec::new();
        while confirmed < messages {
            bytes.clear();
            while sent < messages && sent - confirmed < UNCONFIRMED_MAX {
                bytes.extend_from_slice(format!("PUB queue confirmed {MESSAGE_BYTES}\r\n").as_bytes());
                bytes.extend_from_slice(&message);
                bytes.extend_from_slice(b"\r\n");
                sent += 1;
            }
            if !bytes.is_empty() {
                producer.send(&bytes)?;
            }
            confirmed += u64::from(matches!(producer.heard(&mut reply, &mut text)?, Heard::Message));
            while confirmed < sent && !producer.reader.buffer().is_empty() {
                confirmed += u64::from(matches!(producer.heard(&mut reply, &mut text)?, Heard::Message));
            }
        }
        Ok(())
    });
    let request = format!("{{\"batch\":{MESSAGES_A_PULL},\"expires\":1000000000}}");
    let pull = format!("PUB $JS.API.CONSUMER.MSG.NEXT.bench.worker inbox.batch {}\r\n{request}\r\n", request.len());
    let (mut reply, mut text, mut acks) = (Vec::new(), Vec::new(), Vec::new());
    let mut got = 0;
    // Two pulls at a time: one is filled while the other's messages are read.
    consumer.send(pull.as_bytes())?;
    while got < messages {
        consumer.send(pull.as_bytes())?;
        let mut left = MESSAGES_A_PULL;
        while left > 0 && got < messages {
            if matches!(consumer.heard(&mut reply, &mut text)?, Heard::Status) {
                break;
            }
            (left, got) = (left - 1, got + 1);
            acks.extend_from_slice(b"PUB ");
            acks.extend_from_slice(&reply);
            acks.extend_from_slice(b" 4\r\n+ACK\r\n");
            if consumer.reader.buffer().is_empty() {
                consumer.send(&acks)?;
                acks.clear();
            }
        }
        consumer.send(&acks)?;
        acks.clear();
    }
    consumer.settle()?;
    let rate = rate(messages, start);
    joined(producing)?;
    Ok(rate)
}

/// Messages at their times, through core.
pub(crate) fn at_a_pace(broker: &Broker, clock: Clock, paced: Paced) -> Result<Seen, Failed> {
    let mut consumer = connected(broker, b"SUB queue 1\r\n")?;
    let mut producer = connected(broker, b"")?;
    let producing = thread::spawn(move || {
        let mut bytes = Vec::new();
        paced.run(clock, |due| {
            bytes.clear();
            for message in due {
                push_publication(message, &mut bytes);
            }
            producer.send(&bytes)
        })
    });
    let mut seen = Seen::new(paced);
    let (mut reply, mut text) = (Vec::new(), Vec::new());
    while seen.count() < paced.messages {
        if matches!(consumer.heard(&mut reply, &mut text)?, Heard::Message) {
            seen.record(clock.now_ns(), Clock::stamp_of(&text));
        }
    }
    joined(producing)?;
    Ok(seen)
}
