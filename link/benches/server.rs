//! What the server's end of the link costs a message: stored, leased, handed out and finished, without sockets.
//!
//! `cargo bench -p link` prints nanoseconds a message of 128 bytes, for large batches and small ones. Reading a request and
//! writing a MSG (checksum and copy) are `protocol`'s work and shown beside it.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a benchmark reads the clock and prints"
)]

use std::{
    hint::black_box,
    net::SocketAddr,
    time::{Duration, Instant},
};

use link::{Server, ServerLimits};
use machine::Now;
use protocol::{
    frame,
    link::{Answer, Ask, Deq, Derived, Enq, Finishes, Lease, Msg, Sending, push_varint},
};

/// A run is short, so that on a busy machine one of them is left alone.
const MESSAGES: u64 = 200_000;
const RUNS: u64 = 50;
const MESSAGE_BYTES: usize = 128;
const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

/// How many batches are with the consumer at a time.
const UNDER_WAY: u64 = 8;

/// What a run does beside the plain course.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Plain,
    /// Each message has a derived id.
    Ids,
    /// Each request waits for its messages.
    Waiting,
}

fn main() {
    println!("ns a message of {MESSAGE_BYTES} bytes, best of {RUNS} runs of {MESSAGES}");
    println!(
        "  server: stored, leased, handed out, finished; the other columns are with writing the answers (copy and"
    );
    println!(
        "  checksum); parse: with reading the requests; mixed: lengths from 103 to 153; PUT+GET: the verbs of 2016"
    );
    println!("a batch   server  +answers  ..+parse  ..+ids  ..+waiting  mixed  PUT+GET");
    for batch in [490, 100, 11, 1] {
        let (frames, mixed) = (frames(batch, 0), frames(batch, 50));
        let best = |run: &dyn Fn() -> Duration| {
            let best = (0..RUNS).map(|_| run()).min().unwrap_or_default();
            best.as_secs_f64() * 1e9 / (MESSAGES / batch * batch) as f64
        };
        let whole = best(&|| run(&frames, batch, Case::Plain));
        let server = whole - best(&|| write_only(&frames, batch));
        let parse = whole + best(&|| parse_only(&frames, batch));
        let ids = best(&|| run(&frames, batch, Case::Ids));
        let waiting = best(&|| run(&frames, batch, Case::Waiting));
        let mixed = best(&|| run(&mixed, batch, Case::Plain));
        let old = best(&|| put_and_pop(MESSAGES / batch * batch));
        println!(
            "{batch:>7} {server:>8.1} {whole:>9.1} {parse:>9.1} {ids:>7.1} {waiting:>11.1} {mixed:>6.1} {old:>8.1}"
        );
    }
}

/// Messages whose lengths differ by so much at the most, without order, and are right on average.
fn frames(batch: u64, spread: usize) -> Vec<u8> {
    let (mut frames, mut chance) = (Vec::new(), 1_usize);
    for _ in 0..batch {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let len = MESSAGE_BYTES - spread / 2 + (chance >> 40) % (spread + 1);
        frame::push(&vec![b'x'; len], &mut frames).unwrap_or_default();
    }
    frames
}

fn now() -> Now {
    Now { since_start: Duration::from_secs(1), since_epoch: Duration::from_secs(1) }
}

fn enq<'a>(sequence: u64, epoch: u64, count: u64, frames: &'a [u8], derived: Option<Derived<'a>>) -> Ask<'a> {
    Ask::Enq(Enq { sending: Sending { producer: 7, epoch, sequence }, count, origin_us: 1, derived, frames })
}

fn deq(delivery: u64, count: u64, finished: &[u8]) -> Ask<'_> {
    Ask::Deq(Deq {
        session: 1,
        delivery,
        deliveries: 1,
        open_from: delivery.saturating_sub(UNDER_WAY),
        messages_max: count,
        bytes_max: 65_507,
        wait_ms: 1_000,
        lease_ms: 30_000,
        finished,
    })
}

/// A batch in, a batch out, the oldest that is out finished, over and over.
fn run(frames: &[u8], batch: u64, case: Case) -> Duration {
    let from = SocketAddr::from(ADDRESS);
    let mut server = Server::new(1, 1, ServerLimits::default());
    let mut out = Vec::with_capacity(70_000);
    server.handle(now(), from, 0, &Ask::Open { producer: 7, nonce: 1, from: 0 });
    drain(&mut server, &mut out);
    let epoch = 1 << 32 | 1;
    let (batches, mut finished) = (MESSAGES / batch, Finishes::default());
    let later_ids = [1, 0].repeat(usize::try_from(batch - 1).unwrap_or(0));
    let mut ids = Vec::new();
    let start = Instant::now();
    for n in 0..batches {
        ids.clear();
        if case == Case::Ids {
            push_varint(n * batch, &mut ids);
            ids.push(0);
            ids.extend_from_slice(&later_ids);
        }
        let derived = Derived { node: 5, generation: 1, stage: b"Pong", low_water: n * batch, ids: &ids };
        let put = enq(n * batch, epoch, batch, frames, (case == Case::Ids).then_some(derived));
        finished.clear();
        if let Some(oldest) = n.checked_sub(UNDER_WAY) {
            finished.push(Lease { boot: 1, first: oldest * batch, count: batch, attempt: 1 });
        }
        let get = deq(n, batch, finished.as_bytes());
        for ask in if case == Case::Waiting { [get, put] } else { [put, get] } {
            server.handle(now(), from, n, &ask);
            drain(&mut server, &mut out);
        }
    }
    let took = start.elapsed();
    let ledger = server.ledger();
    assert_eq!((ledger.accepted, ledger.done), (batches * batch, (batches - UNDER_WAY) * batch), "all went through");
    took
}

fn drain(server: &mut Server, out: &mut Vec<u8>) {
    loop {
        out.clear();
        if server.poll_answer(now(), out).is_none() {
            return;
        }
        black_box(&out);
    }
}

/// What writing the answers costs alone.
fn write_only(frames: &[u8], batch: u64) -> Duration {
    let mut out = Vec::with_capacity(70_000);
    let start = Instant::now();
    for n in 0..MESSAGES / batch {
        out.clear();
        let lease = Lease { boot: 1, first: n * batch, count: batch, attempt: 1 };
        let msg = Msg {
            delivery: n,
            lease,
            low_water: n,
            generation: 1,
            node: 1,
            origin_us: 1,
            finished: b"d",
            level: protocol::link::Durability::Memory,
            frames,
        };
        Answer::Msg(msg).push(n, &mut out);
        black_box(&out);
        out.clear();
        Answer::Stored { sequence: n, level: protocol::link::Durability::Memory, credit: 1 }.push(n, &mut out);
        black_box(&out);
    }
    start.elapsed()
}

/// What reading the requests costs alone.
fn parse_only(frames: &[u8], batch: u64) -> Duration {
    let (mut put, mut get) = (Vec::new(), Vec::new());
    enq(1_000_000, 1 << 32 | 1, batch, frames, None).push(1_000_000, &mut put);
    deq(1_000_000, batch, b"1.1000000.500.1").push(1_000_000, &mut get);
    let start = Instant::now();
    for _ in 0..MESSAGES / batch {
        for datagram in [&put, &get] {
            let _ = black_box(frame::only(black_box(datagram)).ok().map(Ask::parse));
        }
    }
    start.elapsed()
}

/// The verbs of 2016, one message at a time.
fn put_and_pop(messages: u64) -> Duration {
    let mut server = Server::new(1, 1, ServerLimits::default());
    let mut out = Vec::with_capacity(256);
    let start = Instant::now();
    for n in 0..messages {
        server.put(now(), &[b'x'; MESSAGE_BYTES]).unwrap_or_default();
        if n >= 100 {
            out.clear();
            black_box(server.pop(now(), &mut out));
        }
    }
    start.elapsed()
}
