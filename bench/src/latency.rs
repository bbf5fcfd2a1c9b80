//! How long a message takes at a pace that leaves time to spare.
//!
//! The producer sends by the clock, whatever has arrived, and a message's latency counts from the moment when it was to
//! be sent. So what stalls makes all messages late that were due meanwhile, not only the one that it was seen with.
//!
//! All clients wait in the kernel, without spinning, and are as plain as they can be: what differs is the queue.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    num::NonZeroU64,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use link::Producer;
use machine::{Machine, Now, Port, Transmit};
use rustix::{io::Errno, net::RecvFlags};

use crate::{
    MESSAGE_BYTES,
    link::{Consuming, QUEUE, producer},
    processes::{Failed, Node, cpu_ticks},
};

/// A message that tells when it was to be sent.
pub(crate) type Message = [u8; MESSAGE_BYTES];

/// The time that both ends of a queue go by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since it was started.
    pub(crate) fn now_ns(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn now(self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { since_start: self.0.elapsed(), since_epoch }
    }

    /// When a message was to be sent.
    pub(crate) fn stamp_of(message: &[u8]) -> u64 {
        message.first_chunk().map_or(0, |stamp| u64::from_le_bytes(*stamp))
    }
}

/// A pace: so many messages, one each period.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paced {
    pub(crate) messages: u64,
    period: Duration,
    /// When the first is due.
    begin: Duration,
}

impl Paced {
    /// Begins a little later, when both ends are there.
    fn new(rate: u32, lasting: Duration) -> Self {
        let period = Duration::from_secs(1) / rate;
        let messages = u64::from(rate) * lasting.as_secs();
        Self { messages, period, begin: Duration::from_millis(300) }
    }

    fn due(self, number: u64) -> Duration {
        self.begin + Duration::from_nanos(number * u64::try_from(self.period.as_nanos()).unwrap_or_default())
    }

    fn message(self, number: u64) -> Message {
        let mut message = [b'x'; MESSAGE_BYTES];
        let stamp = u64::try_from(self.due(number).as_nanos()).unwrap_or(u64::MAX);
        if let Some(place) = message.first_chunk_mut() {
            *place = stamp.to_le_bytes();
        }
        message
    }

    /// Gives `send` all that is due together, at its time.
    pub(crate) fn run(self, clock: Clock, mut send: impl FnMut(&[Message]) -> io::Result<()>) -> io::Result<()> {
        wake_in_time();
        let mut due = Vec::new();
        let mut next = 0;
        while next < self.messages {
            thread::sleep(self.due(next).saturating_sub(clock.0.elapsed()));
            due.clear();
            while next < self.messages && self.due(next) <= clock.0.elapsed() {
                due.push(self.message(next));
                next += 1;
            }
            if !due.is_empty() {
                send(&due)?;
            }
        }
        Ok(())
    }
}

/// Has the kernel wake this thread at its time, not up to 50 us later.
fn wake_in_time() {
    // Where the kernel does not let it, all queues get the same late producer.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
}

/// The latencies of what has arrived.
pub(crate) struct Seen {
    latencies_ns: Vec<u64>,
    count: u64,
    /// What arrives first finds cold caches and connections.
    warm_up: u64,
}

impl Seen {
    pub(crate) fn new(paced: Paced) -> Self {
        Self { latencies_ns: Vec::new(), count: 0, warm_up: paced.messages / 10 }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn record(&mut self, now_ns: u64, stamp: u64) {
        self.count += 1;
        if self.count > self.warm_up {
            self.latencies_ns.push(now_ns.saturating_sub(stamp));
        }
    }
}

impl Seen {
    /// Of sorted latencies: the one that so many in a thousand do not exceed.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn permille_us(&self, permille: usize) -> f64 {
        let last = self.latencies_ns.len().saturating_sub(1);
        self.latencies_ns.get(last * permille / 1_000).map_or(0.0, |&ns| ns as f64 / 1_000.0)
    }
}

/// One run's figures.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
    /// What the queue's process took.
    pub(crate) cpu_percent: f64,
}

/// Runs a pace through a queue whose process this is.
pub(crate) fn measure(
    process: u32,
    rate: u32,
    lasting: Duration,
    run: impl FnOnce(Clock, Paced) -> Result<Seen, Failed>,
) -> Result<Latency, Failed> {
    let (clock, ticks) = (Clock::start(), cpu_ticks(process)?);
    let paced = Paced::new(rate, lasting);
    let mut seen = run(clock, paced)?;
    if seen.count() < paced.messages {
        return Err(Failed::Lost { sent: paced.messages, arrived: seen.count() });
    }
    seen.latencies_ns.sort_unstable();
    let us = |permille| seen.permille_us(permille);
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let cpu_percent = (cpu_ticks(process)? - ticks) as f64 / lasting.as_secs_f64(); // a tick is a hundredth of a second
    Ok(Latency { p50_us: us(500), p99_us: us(990), p999_us: us(999), max_us: us(1_000), cpu_percent })
}

/// How far a message has to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Its producer has the answer that it is stored.
    Stored,
    /// Its consumer has it.
    Consumed,
}

/// Through our queue, on the link: each message acknowledged, leased and finished.
pub(crate) fn link_at_a_pace(queue: &Node, clock: Clock, paced: Paced, until: Until) -> Result<Seen, Failed> {
    let to = queue.address;
    let producing = thread::spawn(move || {
        let mut producing = Producing {
            producer: producer(protocol::DATAGRAM_BYTES_MAX),
            queue: to,
            clock,
            paced,
            next: 0,
            stored: Seen::new(paced),
        };
        wake_in_time();
        drive(&mut producing, to, clock, Wakes::AtItsTimes).map(|()| producing.stored)
    });
    let mut consuming = Consuming::new(to, paced.messages, protocol::DATAGRAM_BYTES_MAX);
    consuming.seen = Some((clock, Seen::new(paced)));
    drive(&mut consuming, to, clock, Wakes::ForDatagrams)?;
    let stored = producing.join().map_err(|_| Failed::Program("the producer panicked".to_owned()))??;
    let consumed = consuming.seen.map(|(_, seen)| seen);
    match until {
        Until::Stored => Ok(stored),
        Until::Consumed => consumed.ok_or_else(|| Failed::Program("nothing was recorded".to_owned())),
    }
}

/// Pushes each message when it is due.
struct Producing {
    producer: Producer,
    queue: SocketAddr,
    clock: Clock,
    paced: Paced,
    next: u64,
    /// The answers to what was pushed.
    stored: Seen,
}

impl Machine for Producing {
    fn handle_datagram(&mut self, now: Now, _port: Port, _from: SocketAddr, datagram: &[u8]) {
        let before = self.producer.confirmed();
        self.producer.handle_datagram(now, datagram);
        for number in before..self.producer.confirmed() {
            let due = u64::try_from(self.paced.due(number).as_nanos()).unwrap_or(u64::MAX);
            self.stored.record(self.clock.now_ns(), due);
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.producer.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let due = (self.next < self.paced.messages).then(|| self.paced.due(self.next));
        due.into_iter().chain(self.producer.poll_timeout()).min()
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        while self.next < self.paced.messages
            && self.paced.due(self.next) <= now.since_start
            && self.producer.room()
            && self.producer.push(now, &self.paced.message(self.next), None).is_ok()
        {
            self.next += 1;
        }
        if self.next == self.paced.messages {
            self.producer.end();
        }
        self.producer.poll_transmit(now, bytes).then_some(Transmit { port: QUEUE, to: self.queue })
    }

    fn is_done(&self) -> bool {
        self.next == self.paced.messages && self.producer.is_settled() || self.producer.failed().is_some()
    }
}

/// What an end wakes up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wakes {
    /// Its own times. Answers are read after it has sent, as the producers of other queues do it.
    AtItsTimes,
    /// What comes.
    ForDatagrams,
}

/// An end that has longer to wait than this waits for a datagram in any case: the pace has not begun, or is over.
const SLEEP_MAX: Duration = Duration::from_millis(1);

/// How late a deadline may be that waits for a datagram: those are for what was lost, and here nothing is.
const DEADLINES_LATE_MAX: Duration = Duration::from_millis(10);

/// Drives one end on this thread, as plainly as the clients of other queues are.
fn drive(machine: &mut impl Machine, peer: SocketAddr, clock: Clock, wakes: Wakes) -> Result<(), Failed> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    socket.set_read_timeout(Some(DEADLINES_LATE_MAX))?;
    socket.connect(peer)?;
    let (mut place, mut bytes) = (vec![0; 65_536], Vec::new());
    while !machine.is_done() {
        let now = clock.now();
        if machine.poll_timeout().is_some_and(|deadline| deadline <= now.since_start) {
            machine.handle_timeout(now);
        }
        bytes.clear();
        while machine.poll_transmit(now, &mut bytes).is_some() {
            socket.send(&bytes)?;
            bytes.clear();
        }
        let sleeps_until = machine.poll_timeout().filter(|at| *at < now.since_start + SLEEP_MAX);
        match sleeps_until.filter(|_| wakes == Wakes::AtItsTimes) {
            Some(at) => {
                while take_one(machine, &socket, (peer, clock), RecvFlags::DONTWAIT, &mut place)? {}
                thread::sleep(at.saturating_sub(clock.0.elapsed()));
            }
            None => drop(take_one(machine, &socket, (peer, clock), RecvFlags::empty(), &mut place)?),
        }
    }
    Ok(())
}

/// Hands one datagram in, if one is here or comes while it waits for it; whether there was one.
fn take_one(
    machine: &mut impl Machine,
    socket: &UdpSocket,
    (peer, clock): (SocketAddr, Clock),
    flags: RecvFlags,
    place: &mut [u8],
) -> Result<bool, Failed> {
    match rustix::net::recv(socket, &mut *place, flags) {
        Ok((len, _)) => machine.handle_datagram(clock.now(), QUEUE, peer, place.get(..len).unwrap_or_default()),
        Err(Errno::AGAIN) => return Ok(false),
        Err(error) => return Err(io::Error::from(error).into()),
    }
    Ok(true)
}
