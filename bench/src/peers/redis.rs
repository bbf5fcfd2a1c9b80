//! Redis lists: a client pushes, another one pops.

use std::{collections::VecDeque, io, thread, time::Instant};

use super::{Broker, Connection, number};
use crate::{
    MESSAGE_BYTES,
    latency::{Clock, Paced, Seen},
    load::rate,
    processes::{Failed, joined},
    table::Rate,
};

/// Values a push, and pushes on their way.
const VALUES_A_PUSH: u64 = 128;
const PUSHES_UNDER_WAY: usize = 16;

/// Messages a pop.
const VALUES_A_POP: u64 = 500;

pub(crate) const PROGRAM: &str = "redis-server";

pub(crate) fn start() -> Result<Broker, Failed> {
    Broker::start(PROGRAM, |port| {
        let flags = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no", "--port"];
        flags.iter().map(ToString::to_string).chain([port.to_string()]).collect()
    })
}

/// A command as Redis reads it.
fn push_command(words: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_command(words, &mut bytes);
    bytes
}

fn push(values: u64) -> Vec<u8> {
    let message = [b'x'; MESSAGE_BYTES];
    let mut words: Vec<&[u8]> = vec![b"LPUSH", b"queue"];
    words.extend((0..values).map(|_| &message[..]));
    command(&words)
}

impl Connection {
    /// Reads one whole reply and hands over its messages.
    fn reply(&mut self, text: &mut Vec<u8>, message: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let mut left = 1;
        while left > 0 {
            left -= 1;
            let line = self.line()?;
            match line.split_first() {
                Some((b'*', len)) => left += number(len)?.max(0),
                Some((b'$', len)) => {
                    // -1 is nothing at all.
                    if let Ok(len) = usize::try_from(number(len)?) {
                        self.text(len, text)?;
                        if len == MESSAGE_BYTES {
                            message(text);
                        }
                    }
                }
                Some((b':' | b'+', _)) => {}
                _ => return Err(io::Error::other(String::from_utf8_lossy(line).into_owned())),
            }
        }
        Ok(())
    }
}

fn produce(mut connection: Connection, messages: u64) -> io::Result<()> {
    let full = push(VALUES_A_PUSH);
    let mut text = Vec::new();
    let (mut left, mut under_way) = (messages, 0);
    while left > 0 || under_way > 0 {
        while left > 0 && under_way < PUSHES_UNDER_WAY {
            if left >= VALUES_A_PUSH {
                connection.send(&full)?;
            } else {
                connection.send(&push(left))?;
            }
            left = left.saturating_sub(VALUES_A_PUSH);
            under_way += 1;
        }
        connection.reply(&mut text, &mut |_| {})?;
        under_way -= 1;
    }
    Ok(())
}

/// Takes messages in the way given until there were so many: messages a second.
fn through(messages: u64, consume: impl FnOnce(Connection) -> io::Result<()>) -> Result<Rate, Failed> {
    let broker = start()?;
    let (producer, consumer) = (Connection::open(broker.address)?, Connection::open(broker.address)?);
    let start = Instant::now();
    let producer = thread::spawn(move || produce(producer, messages));
    consume(consumer)?;
    let rate = rate(messages, start);
    joined(producer)?;
    Ok(rate)
}

/// The fastest way: what is popped is gone, whatever becomes of the consumer.
pub(crate) fn plain(messages: u64) -> Result<Rate, Failed> {
    through(messages, |mut connection| {
        let pop = command(&[b"BLMPOP", b"0", b"1", b"queue", b"RIGHT", b"COUNT", VALUES_A_POP.to_string().as_bytes()]);
        let mut text = Vec::new();
        // The next pop is on its way while this one's messages are read.
        connection.send(&pop)?;
        let mut got = 0;
        while got < messages {
            connection.send(&pop)?;
            connection.reply(&mut text, &mut |_| got += 1)?;
        }
        Ok(())
    })
}

/// The reliable way: each message is moved to a list of the consumer's, and that is deleted once they are done.
pub(crate) fn reliable(messages: u64) -> Result<Rate, Failed> {
    through(messages, |mut connection| {
        let mut moves = Vec::new();
        for _ in 0..VALUES_A_POP {
            push_command(&[b"LMOVE", b"queue", b"working", b"RIGHT", b"LEFT"], &mut moves);
        }
        let done = command(&[b"DEL", b"working"]);
        let mut text = Vec::new();
        let mut got = 0;
        while got < messages {
            connection.send(&moves)?;
            for _ in 0..VALUES_A_POP {
                connection.reply(&mut text, &mut |_| got += 1)?;
            }
            connection.send(&done)?;
            connection.reply(&mut text, &mut |_| {})?;
        }
        Ok(())
    })
}

/// Messages at their times, in one RPUSH those that are due together; a consumer that waits in BLMPOP.
pub(crate) fn at_a_pace(broker: &Broker, clock: Clock, paced: Paced) -> Result<Seen, Failed> {
    let (mut producer, mut consumer) = (Connection::open(broker.address)?, Connection::open(broker.address)?);
    let producing = thread::spawn(move || {
        let mut place = vec![0; 65_536];
        let mut bytes = Vec::new();
        paced.run(clock, |due| {
            bytes.clear();
            let mut words: Vec<&[u8]> = vec![b"LPUSH", b"queue"];
            words.extend(due.iter().map(|message| &message[..]));
            push_command(&words, &mut bytes);
            producer.send(&bytes)?;
            producer.drain(&mut place)
        })
    });
    let pop = command(&[b"BLMPOP", b"0", b"1", b"queue", b"RIGHT", b"COUNT", b"500"]);
    let mut seen = Seen::new(paced);
    let mut text = Vec::new();
    let mut batch: VecDeque<u64> = VecDeque::new();
    while seen.count() < paced.messages {
        consumer.send(&pop)?;
        consumer.reply(&mut text, &mut |message| batch.push_back(Clock::stamp_of(message)))?;
        let now = clock.now_ns();
        for stamp in batch.drain(..) {
            seen.record(now, stamp);
        }
    }
    joined(producing)?;
    Ok(seen)
}
