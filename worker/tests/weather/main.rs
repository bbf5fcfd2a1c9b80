//! A worker between two queues that speak the link, behind a network that loses, doubles, garbles and delays: each message
//! of the first comes out of the second as it should, once, also when the worker dies.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in what its checks share, too")]

mod accounts;
mod graphs;
mod pressure;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use functions::{Function, Outputs, Refusal};
use link::{Consumer, ConsumerPlan, GetLimits, Guarantee, Producer, ProducerPlan, SendLimits};
use machine::{Machine, Now, Port, Transmit};
use metrics::{Identity, LogOrder, Reports};
use mq::{Limits, Queue};
use simnet::{Net, NodeId, State, Weather};
use worker::{INPUT, LinkPlan, METRICS, OUTPUT, OnError, OutputKind, Plan, Route, Worker};

const SECOND: Duration = Duration::from_secs(1);
const EDGE: Port = Port(0);

const WORST: Weather = Weather {
    lost_permille: 300,
    doubled_permille: 300,
    garbled_permille: 100,
    late_permille: 1_000,
    refused_permille: 0,
    delay_min: Duration::from_micros(50),
    delay_max: Duration::from_millis(50),
};

/// Small datagrams, so that there are many batches.
const SMALL: usize = 1_200;

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 10_000))
}

fn reports() -> Reports {
    let identity = Identity { vuid: "NODE".to_owned(), func: "Node".to_owned(), address: None };
    let start = Now { since_start: Duration::ZERO, since_epoch: Duration::from_hours(1) };
    Reports::new(identity, LogOrder::TimeFirst, Duration::from_hours(10), None, start)
}

/// Puts the numbers below `total` into a queue, as often as it has room.
struct Feeder {
    queue: SocketAddr,
    producer: Producer,
    next: u64,
    total: u64,
}

impl Machine for Feeder {
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
        while self.next < self.total && self.producer.room() {
            self.producer.push(now, self.next.to_string().as_bytes(), None).unwrap();
            self.next += 1;
        }
        self.producer.poll_transmit(now, bytes).then_some(Transmit { port: EDGE, to: self.queue })
    }
}

/// Takes all that comes out of a queue.
struct Drain {
    queue: SocketAddr,
    consumer: Consumer,
    taken: BTreeMap<String, u64>,
}

impl Machine for Drain {
    fn handle_datagram(&mut self, now: Now, _port: Port, _from: SocketAddr, datagram: &[u8]) {
        self.consumer.handle_datagram(now, datagram);
        while let Some(batch) = self.consumer.next_batch() {
            for message in batch.messages() {
                *self.taken.entry(String::from_utf8(message.to_vec()).unwrap()).or_default() += 1;
            }
            self.consumer.finish(now, batch.id);
        }
        while self.consumer.poll_notice().is_some() {}
    }

    fn handle_timeout(&mut self, now: Now) {
        self.consumer.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.consumer.poll_timeout(true)
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        self.consumer.poll_transmit(now, true, bytes).then_some(Transmit { port: EDGE, to: self.queue })
    }
}

/// Gives each number and its double; refuses what ends in 77, and may panic at the first sight of what ends in 55.
fn function(panics: bool) -> Function {
    let mut seen = BTreeMap::new();
    Box::new(move |message: &[u8], outputs: &mut Outputs| {
        let text = String::from_utf8_lossy(message).into_owned();
        let number: u64 = text.parse().map_err(|_| Refusal::NotAnInteger { input: text.clone() })?;
        if number % 100 == 77 {
            return Err(Refusal::NotAnInteger { input: text });
        }
        outputs.send(text.as_bytes());
        let times = seen.entry(number).or_insert(0);
        *times += 1;
        if panics && number % 100 == 55 {
            assert!(*times > 1, "the first sight of {number}");
        } else {
            assert!(*times == 1, "{number} is applied again");
        }
        outputs.send(format!("twice {}", 2 * number).as_bytes());
        Ok(())
    })
}

struct Chain {
    net: Net,
    seed: u64,
    total: u64,
    lease: Duration,
    lives: u64,
    first: NodeId,
    second: NodeId,
    worker: NodeId,
    drain: NodeId,
}

impl Chain {
    fn new(seed: u64, total: u64, second_max: u64) -> Self {
        Self::with_lease(seed, total, second_max, 30 * SECOND)
    }

    fn with_lease(seed: u64, total: u64, second_max: u64, lease: Duration) -> Self {
        let mut net = Net::new(seed);
        net.set_weather(WORST);
        let queue = |node, messages_max| Queue::new(node, Limits { messages_max, bytes_max: 1 << 30 }, reports());
        let first = net.add(queue(seed << 8 | 1, 1 << 20), &[(EDGE, address(1))]);
        let second = net.add(queue(seed << 8 | 2, second_max), &[(EDGE, address(2))]);
        let producer = Producer::new(ProducerPlan {
            producer: u128::from(seed),
            nonce: seed,
            stage: String::new(),
            floor: None,
            datagram_bytes_max: SMALL,
            limits: SendLimits::default(),
            puts_max: 128,
        });
        net.add(Feeder { queue: address(1), producer, next: 0, total }, &[(EDGE, address(3))]);
        let ports = [(INPUT, address(5)), (OUTPUT, address(6)), (METRICS, address(7))];
        let worker = net.add(new_worker(seed, 0, lease), &ports);
        let consumer = Consumer::new(ConsumerPlan {
            session: seed + 1,
            messages_max: 50,
            datagram_bytes_max: SMALL,
            deliveries_max: 4,
            lease: 60 * SECOND,
            floor: None,
            old: GetLimits { under_way_max: 1, rest_min: SECOND, rest_max: SECOND },
        });
        let drain = Drain { queue: address(2), consumer, taken: BTreeMap::new() };
        let drain = net.add(drain, &[(EDGE, address(4))]);
        Self { net, seed, total, lease, lives: 1, first, second, worker, drain }
    }

    fn restart_worker(&mut self) {
        self.net.restart(self.worker, new_worker(self.seed, self.lives, self.lease));
        self.lives += 1;
    }

    fn finish(&mut self) {
        let (first, second, total) = (self.first, self.second, self.total);
        let is_over = |net: &Net| {
            let ledger = |id| net.node::<Queue>(id).message_ledger();
            ledger(first).done + ledger(first).dead == total && ledger(second).done == ledger(second).accepted
        };
        let stands_still = self.net.run_while(Duration::from_mins(10), |net| !is_over(net));
        let ledgers = [first, second].map(|id| self.net.node::<Queue>(id).message_ledger());
        assert!(is_over(&self.net), "seed {} stands still ({stands_still}): {ledgers:?}", self.seed);
        self.net.run_until(self.net.now() + 5 * SECOND);
    }

    fn check(&self) {
        let seed = self.seed;
        let ledgers = [self.first, self.second].map(|id| self.net.node::<Queue>(id).message_ledger());
        assert!(ledgers.iter().all(link::Ledger::balances), "seed {seed}: {ledgers:?}");
        let passes = |number: &u64| number % 100 != 77;
        assert_eq!(ledgers[0].dead, self.total - (0..self.total).filter(passes).count() as u64, "seed {seed}");
        let taken = &self.net.node::<Drain>(self.drain).taken;
        let outputs = |number: u64| [number.to_string(), format!("twice {}", 2 * number)];
        let expected: BTreeMap<String, u64> =
            (0..self.total).filter(passes).flat_map(outputs).map(|text| (text, 1)).collect();
        let wrong: Vec<_> =
            expected.keys().chain(taken.keys()).filter(|key| expected.get(*key) != taken.get(*key)).collect();
        assert!(wrong.is_empty(), "seed {seed}: {wrong:?}, {ledgers:?}");
        assert_eq!(ledgers[1].accepted, expected.len() as u64, "seed {seed}: {ledgers:?}");
        let counts = self.net.node::<Worker>(self.worker).counts();
        assert_eq!(counts.received, counts.processed + counts.errors + counts.panics, "seed {seed}: {counts:?}");
    }
}

fn plan(seed: u64, life: u64, lease: Duration) -> Plan {
    Plan {
        inputs: vec![address(1)],
        outputs: vec![address(2)],
        output_kind: OutputKind::Queue,
        route: Route::random(seed + life, 0),
        under_way_max: 64,
        rest_min: Duration::from_micros(1),
        on_error: OnError::Continue,
        link: LinkPlan {
            identity: (seed << 8 | life) + 7,
            stage: "test".to_owned(),
            floor: None,
            lease,
            datagram_bytes_max: SMALL,
        },
    }
}

fn new_worker(seed: u64, life: u64, lease: Duration) -> Worker {
    Worker::new(plan(seed, life, lease), function(life == 0), reports())
}

#[test]
fn each_message_comes_out_once_in_the_worst_weather() {
    for seed in 0..30 {
        let mut chain = Chain::new(seed, 600, 1 << 20);
        chain.finish();
        chain.check();
        assert!(chain.net.node::<Worker>(chain.worker).counts().panics >= 6);
    }
}

#[test]
fn each_message_comes_out_once_though_the_worker_dies() {
    for seed in 100..130 {
        let mut chain = Chain::new(seed, 1_500, 1 << 20);
        for _ in 0..3 {
            chain.net.run_until(chain.net.now() + Duration::from_millis(100 + 37 * (seed % 20)));
            chain.restart_worker();
        }
        chain.finish();
        chain.check();
    }
}

#[test]
fn a_full_output_holds_back_and_nothing_is_lost() {
    for seed in 200..210 {
        let mut chain = Chain::new(seed, 600, 20);
        chain.finish();
        chain.check();
    }
}

#[test]
fn an_operators_end_leaves_nothing_leased() {
    for seed in 300..310 {
        let mut chain = Chain::new(seed, 1_500, 1 << 20);
        chain.net.run_until(chain.net.now() + SECOND);
        chain.net.act(chain.worker, |worker: &mut Worker, now| worker.handle_stopping(now));
        let worker = chain.worker;
        chain.net.run_while(Duration::from_mins(1), |net| !net.node::<Worker>(worker).is_settled());
        assert!(chain.net.node::<Worker>(worker).is_settled(), "seed {seed}");
        chain.restart_worker();
        chain.finish();
        chain.check();
    }
}

#[test]
fn a_floor_that_an_old_queue_cannot_give_is_the_end() {
    let mut net = Net::new(1);
    let limits = Limits { messages_max: 10, bytes_max: 1 << 20 };
    net.add(Queue::new(1, limits, reports()).speaking_2016(), &[(EDGE, address(1))]);
    let mut plan = plan(1, 0, 30 * SECOND);
    plan.link.floor = Some(Guarantee::AtLeastOnce);
    let worker = Worker::new(plan, function(false), reports());
    let worker = net.add(worker, &[(INPUT, address(5)), (OUTPUT, address(6)), (METRICS, address(7))]);
    net.run_while(SECOND, |net| net.state(worker) == State::Up);
    let failure = net.node::<Worker>(worker).failure().unwrap();
    assert!(failure.starts_with("input 10.0.0.1:10000: ") && failure.contains("at-least-once"), "{failure}");
}
