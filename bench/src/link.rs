//! Batches through the queue on the link: one process produces, one leases and finishes, the queue between.

use std::{
    net::SocketAddr,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use link::{Consumer, ConsumerPlan, GetLimits, Guarantee, Producer, ProducerPlan, SendLimits};
use machine::{Machine, Now, Port, Transmit};
use runtime::{Address, Failure, Runs, UdpPort, World};

use crate::{
    MESSAGE_BYTES,
    latency::{Clock, Seen},
    load::rate,
    processes::{Failed, Node},
    table::Rate,
};

/// What the benchmark starts itself as, to be one end of the link.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct End {
    /// Be a producer or a consumer of this queue
    #[arg(long, hide = true)]
    pub(crate) peer: Option<Address>,
    #[arg(long, hide = true)]
    produce: bool,
    #[arg(long, hide = true, default_value = "65507")]
    mtu: usize,
}

pub(crate) const QUEUE: Port = Port(0);

/// Which end of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Produces,
    Consumes,
}

/// Producer, queue and consumer as three processes: messages a second, each acknowledged, leased and finished.
pub(crate) fn through(queue: &Node, messages: u64, mtu: usize) -> Result<Rate, Failed> {
    let start = Instant::now();
    let mut consumer = end(Side::Consumes, queue, messages, mtu)?.spawn()?;
    let produced = end(Side::Produces, queue, messages, mtu)?.status()?;
    let consumed = consumer.wait()?;
    if produced.success() && consumed.success() {
        Ok(rate(messages, start))
    } else {
        Err(Failed::Program(format!("an end of the link failed: {produced}, {consumed}")))
    }
}

/// One end alone, until it has done its part.
pub(crate) fn alone(side: Side, queue: &Node, messages: u64, mtu: usize) -> Result<(), Failed> {
    let ended = end(side, queue, messages, mtu)?.status()?;
    if ended.success() { Ok(()) } else { Err(Failed::Program(format!("an end of the link failed: {ended}"))) }
}

fn end(side: Side, queue: &Node, messages: u64, mtu: usize) -> Result<Command, Failed> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--peer", &queue.address.to_string(), "--mtu", &mtu.to_string()]);
    command.args(["--messages", &messages.to_string()]).stdin(Stdio::null());
    if side == Side::Produces {
        command.arg("--produce");
    }
    Ok(command)
}

/// One end, in a process of its own.
pub(crate) fn run(end: &End, messages: u64) -> ExitCode {
    let Some(peer) = &end.peer else { return ExitCode::FAILURE };
    runtime::block_on(async {
        let queue = peer.resolve_peer().await?;
        let port = UdpPort::connected(queue, Runs::Joined)?;
        let world = World::new(vec![port]);
        if end.produce {
            let mut producing = Producing::new(queue, messages, end.mtu);
            runtime::drive(&mut producing, world).await?;
            complete(producing.left == 0 && producing.producer.unconfirmed() == 0)
        } else {
            let mut consuming = Consuming::new(queue, messages, end.mtu);
            runtime::drive(&mut consuming, world).await?;
            complete(consuming.got == messages)
        }
    })
}

fn complete(all: bool) -> Result<(), Failure> {
    if all { Ok(()) } else { Err(Failure::new("messages are missing")) }
}

/// A producer whose edge promises what an acknowledged queue does.
pub(crate) fn producer(datagram_bytes_max: usize) -> Producer {
    Producer::new(ProducerPlan {
        producer: u128::from(runtime::random_seed()),
        nonce: runtime::random_seed(),
        stage: "bench".to_owned(),
        floor: Some(Guarantee::AtLeastOnce),
        datagram_bytes_max,
        limits: SendLimits::default(),
        puts_max: 128,
    })
}

struct Producing {
    queue: SocketAddr,
    producer: Producer,
    left: u64,
    /// All is confirmed, and the queue knows that it was all.
    settled: bool,
}

impl Producing {
    fn new(queue: SocketAddr, left: u64, datagram_bytes_max: usize) -> Self {
        Self { queue, producer: producer(datagram_bytes_max), left, settled: false }
    }
}

impl Machine for Producing {
    fn handle_datagram(&mut self, now: Now, _port: Port, _from: SocketAddr, datagram: &[u8]) {
        self.producer.handle_datagram(now, datagram);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.producer.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.producer.poll_timeout()
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        while self.left > 0 && self.producer.room() {
            if self.producer.push(now, &[b'x'; MESSAGE_BYTES], None).is_err() {
                break;
            }
            self.left -= 1;
        }
        if self.left == 0 {
            self.producer.end();
        }
        self.settled = self.left == 0 && self.producer.is_settled();
        self.producer.poll_transmit(now, bytes).then_some(Transmit { port: QUEUE, to: self.queue })
    }

    fn is_done(&self) -> bool {
        self.settled || self.producer.failed().is_some()
    }
}

/// Leases and finishes what comes.
pub(crate) struct Consuming {
    queue: SocketAddr,
    consumer: Consumer,
    got: u64,
    wanted: u64,
    /// Where latencies are to be measured.
    pub(crate) seen: Option<(Clock, Seen)>,
}

impl Consuming {
    pub(crate) fn new(queue: SocketAddr, wanted: u64, datagram_bytes_max: usize) -> Self {
        let second = Duration::from_secs(1);
        let plan = ConsumerPlan {
            session: runtime::random_seed(),
            messages_max: 100_000,
            datagram_bytes_max,
            deliveries_max: if datagram_bytes_max > 16_384 { 16 } else { 256 },
            lease: 10 * second,
            floor: Some(Guarantee::AtLeastOnce),
            old: GetLimits { under_way_max: 64, rest_min: Duration::from_micros(1), rest_max: second },
        };
        Self { queue, consumer: Consumer::new(plan), got: 0, wanted, seen: None }
    }
}

impl Machine for Consuming {
    fn handle_datagram(&mut self, now: Now, _port: Port, _from: SocketAddr, datagram: &[u8]) {
        self.consumer.handle_datagram(now, datagram);
        while let Some(batch) = self.consumer.next_batch() {
            self.got += batch.count;
            if let Some((clock, seen)) = &mut self.seen {
                let now_ns = clock.now_ns();
                batch.messages().for_each(|message| seen.record(now_ns, Clock::stamp_of(message)));
            }
            self.consumer.finish(now, batch.id);
            self.consumer.recycle(batch.frames);
        }
        while self.consumer.poll_notice().is_some() {}
        if self.got >= self.wanted {
            self.consumer.end(now);
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.consumer.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.consumer.poll_timeout(self.got < self.wanted)
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        let wants = self.got < self.wanted;
        self.consumer.poll_transmit(now, wants, bytes).then_some(Transmit { port: QUEUE, to: self.queue })
    }

    fn is_done(&self) -> bool {
        self.got >= self.wanted && self.consumer.is_settled() || self.consumer.failed().is_some()
    }
}
