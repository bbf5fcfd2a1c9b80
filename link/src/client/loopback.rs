//! Producer, queue and consumer together in bad weather: nothing lost, nothing twice, all in order, and it comes to its end.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use machine::{Machine, Now, Port, Transmit};
use protocol::{
    frame,
    link::{Ask, discovery},
    verb::Request,
};
use simnet::{Net, NodeId, Weather};

use super::*;
use crate::{GetLimits, Server, ServerLimits};

const PORT: Port = Port(0);
const OUTPUT: Port = Port(1);

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 10_000))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A queue node.
struct Queue {
    server: Server,
    answers: VecDeque<(SocketAddr, Vec<u8>)>,
}

impl Queue {
    fn new(node: u64) -> Self {
        Self::with_limits(node, ServerLimits::default())
    }

    fn with_limits(node: u64, limits: ServerLimits) -> Self {
        Self { server: Server::new(node, node, limits), answers: VecDeque::new() }
    }
}

impl Machine for Queue {
    fn handle_datagram(&mut self, now: Now, _port: Port, from: SocketAddr, datagram: &[u8]) {
        let Ok(text) = frame::only(datagram) else { return };
        if let Ok((token, ask)) = Ask::parse(text) {
            return self.server.handle(now, from, token, &ask);
        }
        let mut answer = Vec::new();
        match (discovery(text), Request::parse(datagram)) {
            (Some(token), _) => self.server.welcome().push(token, &mut answer),
            (None, Ok(Request::Put(message))) => {
                self.server.put(now, message).unwrap();
                frame::push(format!("PUT {} bytes", message.len()).as_bytes(), &mut answer).unwrap();
            }
            (None, Ok(Request::Get)) if self.server.pop(now, &mut answer).is_some() => {}
            (None, Ok(Request::Get)) => frame::push(b"", &mut answer).unwrap(),
            (None, Ok(Request::Size)) => {
                frame::push(self.server.ready().to_string().as_bytes(), &mut answer).unwrap();
            }
            (None, Err(_)) => return,
        }
        self.answers.push_back((from, answer));
    }

    fn handle_timeout(&mut self, now: Now) {
        self.server.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.server.poll_timeout()
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        let to = match self.answers.pop_front() {
            Some((to, answer)) => {
                bytes.extend_from_slice(&answer);
                to
            }
            None => self.server.poll_answer(now, bytes)?,
        };
        Some(Transmit { port: PORT, to })
    }
}

/// A queue of 2016.
#[derive(Default)]
struct OldQueue {
    messages: VecDeque<Vec<u8>>,
    answers: VecDeque<(SocketAddr, Vec<u8>)>,
}

impl Machine for OldQueue {
    fn handle_datagram(&mut self, _now: Now, _port: Port, from: SocketAddr, datagram: &[u8]) {
        let answer = match Request::parse(datagram) {
            Ok(Request::Put(message)) => {
                self.messages.push_back(message.to_vec());
                format!("PUT {} bytes", message.len()).into_bytes()
            }
            Ok(Request::Get) => self.messages.pop_front().unwrap_or_default(),
            Ok(Request::Size) => self.messages.len().to_string().into_bytes(),
            Err(_) => return,
        };
        self.answers.push_back((from, answer));
    }

    fn handle_timeout(&mut self, _now: Now) {}

    fn poll_timeout(&self) -> Option<Duration> {
        None
    }

    fn poll_transmit(&mut self, _now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        let (to, answer) = self.answers.pop_front()?;
        frame::push(&answer, bytes).unwrap();
        Some(Transmit { port: PORT, to })
    }
}

/// Sends numbers to a queue.
struct Feeder {
    producer: Producer,
    total: u64,
    /// How many digits each number has at the least.
    digits: usize,
    /// Whether it tells the queue that its feed has ended; one that starts after that would begin anew.
    ends: bool,
}

impl Feeder {
    fn new(nonce: u64, total: u64, ends: bool) -> Self {
        Self { producer: Producer::new(producer_plan(0xfeed, nonce)), total, digits: 1, ends }
    }
}

fn producer_plan(producer: u128, nonce: u64) -> ProducerPlan {
    ProducerPlan {
        producer,
        nonce: mixed(nonce),
        stage: "double".to_owned(),
        floor: Some(Guarantee::ExactlyOnce),
        // Small, so that there are many batches.
        datagram_bytes_max: 350,
        limits: SendLimits { batches_max: 16, bytes_max: 1 << 16 },
        puts_max: 16,
    }
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
        while self.producer.room() && self.producer.next_sequence() < self.total {
            let number = self.producer.next_sequence();
            self.producer.push(now, format!("{number:0width$}", width = self.digits).as_bytes(), None).unwrap();
        }
        if self.ends && self.producer.next_sequence() >= self.total {
            self.producer.end();
        }
        self.producer.poll_transmit(now, bytes).then_some(Transmit { port: PORT, to: address(1) })
    }
}

/// Takes numbers from a queue and writes them down.
struct Sink {
    consumer: Consumer,
    from: SocketAddr,
    batches: usize,
    taken: Vec<u64>,
    ended: Vec<(u64, Outcome)>,
}

impl Sink {
    fn new(session: u64, from: SocketAddr) -> Self {
        let consumer = Consumer::new(consumer_plan(session));
        Self { consumer, from, batches: 0, taken: Vec::new(), ended: Vec::new() }
    }

    fn take(&mut self, now: Now) {
        while let Some(batch) = self.consumer.next_batch() {
            self.batches += 1;
            self.taken.extend(batch.messages().map(number));
            self.consumer.finish(now, batch.id);
            self.consumer.recycle(batch.frames);
        }
        while let Some(notice) = self.consumer.poll_notice() {
            if let Notice::Ended(id, outcome) = notice {
                self.ended.push((id, outcome));
            }
        }
    }
}

fn consumer_plan(session: u64) -> ConsumerPlan {
    ConsumerPlan {
        session: mixed(session),
        messages_max: 10,
        datagram_bytes_max: 65_507,
        deliveries_max: 8,
        lease: Duration::from_mins(10),
        floor: Some(Guarantee::AtLeastOnce),
        old: GetLimits { under_way_max: 4, rest_min: ms(1), rest_max: ms(50) },
    }
}

/// As if drawn at random: what is close to one another is far apart.
fn mixed(number: u64) -> u64 {
    (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn number(message: &[u8]) -> u64 {
    str::from_utf8(message).unwrap().parse().unwrap()
}

impl Machine for Sink {
    fn handle_datagram(&mut self, now: Now, _port: Port, _from: SocketAddr, datagram: &[u8]) {
        self.consumer.handle_datagram(now, datagram);
        self.take(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.consumer.handle_timeout(now);
        self.take(now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.consumer.poll_timeout(true)
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        self.consumer.poll_transmit(now, true, bytes).then_some(Transmit { port: PORT, to: self.from })
    }
}

/// Takes numbers from one queue and sends each twice to another: as it is, and with a million added.
struct Worker {
    consumer: Consumer,
    producer: Producer,
    /// Batches whose outputs are not all confirmed: which, and below which number they are.
    open: Vec<(u64, u64)>,
}

impl Worker {
    fn new(nonce: u64) -> Self {
        let producer = Producer::new(producer_plan(u128::from(nonce) << 8, nonce));
        let plan = ConsumerPlan { lease: ms(500), ..consumer_plan(nonce) };
        Self { consumer: Consumer::new(plan), producer, open: Vec::new() }
    }

    fn work(&mut self, now: Now) {
        while self.producer.room()
            && let Some(batch) = self.consumer.next_batch()
        {
            self.producer.derive_from(batch.input());
            for (offset, message) in (batch.first_offset..).zip(batch.messages()) {
                let number = number(message);
                for (index, output) in [number, 1_000_000 + number].into_iter().enumerate() {
                    let id = OutputId { offset, index: index as u64 };
                    self.producer.push(now, output.to_string().as_bytes(), Some(id)).unwrap();
                }
            }
            self.open.push((batch.id, self.producer.next_sequence()));
            self.consumer.recycle(batch.frames);
        }
        let confirmed = self.producer.confirmed();
        for (id, _) in self.open.extract_if(.., |(_, below)| *below <= confirmed) {
            self.consumer.finish(now, id);
        }
        while self.consumer.poll_notice().is_some() {}
    }
}

impl Machine for Worker {
    fn handle_datagram(&mut self, now: Now, port: Port, _from: SocketAddr, datagram: &[u8]) {
        if port == PORT {
            self.consumer.handle_datagram(now, datagram);
        } else {
            self.producer.handle_datagram(now, datagram);
        }
        self.work(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.consumer.handle_timeout(now);
        self.producer.handle_timeout(now);
        self.work(now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let wants = self.producer.room();
        self.consumer.poll_timeout(wants).into_iter().chain(self.producer.poll_timeout()).min()
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        if self.producer.poll_transmit(now, bytes) {
            self.work(now);
            return Some(Transmit { port: OUTPUT, to: address(2) });
        }
        let wants = self.producer.room();
        self.consumer.poll_transmit(now, wants, bytes).then_some(Transmit { port: PORT, to: address(1) })
    }
}

const BAD: Weather = Weather {
    lost_permille: 200,
    doubled_permille: 200,
    garbled_permille: 0,
    late_permille: 1_000,
    refused_permille: 0,
    delay_min: Duration::from_micros(50),
    delay_max: Duration::from_millis(15),
};

const WORSE: Weather = Weather {
    lost_permille: 300,
    doubled_permille: 300,
    garbled_permille: 100,
    delay_max: Duration::from_secs(1),
    ..BAD
};

const LONG: Duration = Duration::from_hours(2);

/// A feeder, a queue and a sink, until the queue is empty and the sink has nothing open.
fn check_edge(seed: u64, weather: Weather, total: u64) -> Duration {
    check_edge_with(seed, weather, Queue::new(seed + 1), Feeder::new(seed, total, true))
}

fn check_edge_with(seed: u64, weather: Weather, queue: Queue, feeder: Feeder) -> Duration {
    let total = feeder.total;
    let mut net = Net::new(seed);
    net.set_weather(weather);
    let queue = net.add(queue, &[(PORT, address(1))]);
    let feeder = net.add(feeder, &[(PORT, address(2))]);
    let sink = net.add(Sink::new(seed, address(1)), &[(PORT, address(3))]);
    let is_over = |net: &Net| {
        let ledger = net.node::<Queue>(queue).server.ledger();
        net.node::<Feeder>(feeder).producer.is_settled()
            && ledger.done == total
            && net.node::<Sink>(sink).ended.len() == net.node::<Sink>(sink).batches
    };
    let ended = net.run_while(LONG, |net| !is_over(net));
    let node = net.node::<Queue>(queue);
    let sink = net.node::<Sink>(sink);
    assert!(ended, "seed {seed}: {:?} {:?}", node.server.ledger(), sink.consumer.counts());
    node.server.check();
    assert_eq!(sink.taken, (0..total).collect::<Vec<_>>(), "seed {seed}: each once and in order");
    assert!(sink.ended.iter().all(|(_, outcome)| *outcome == Outcome::Finished), "seed {seed}: {:?}", sink.ended);
    let ledger = node.server.ledger();
    assert_eq!((ledger.accepted, ledger.done), (total, total), "seed {seed}");
    net.now()
}

#[test]
fn an_edge_in_bad_weather() {
    let took: Duration = (0..300).map(|seed| check_edge(seed, Weather::drawn(seed, &BAD), 400)).sum();
    assert!(took / 300 < Duration::from_secs(10), "{:?} on the average", took / 300);
}

#[test]
fn an_edge_in_the_worst_weather() {
    (0..100).for_each(|seed| {
        check_edge(seed, WORSE, 150);
    });
}

#[test]
fn a_queue_smaller_than_a_batch_gets_batches_that_fit() {
    for seed in 0..20 {
        let mut feeder = Feeder::new(seed, 500, true);
        feeder.producer = Producer::new(ProducerPlan { datagram_bytes_max: 65_507, ..producer_plan(1, seed) });
        let limits = ServerLimits { messages_max: 7, ..ServerLimits::default() };
        let took = check_edge_with(seed, Weather::calm(), Queue::with_limits(seed + 1, limits), feeder);
        assert!(took < Duration::from_secs(5), "seed {seed}: {took:?}");
        // So few bytes that a batch of small messages is bounded by them.
        let limits = ServerLimits { bytes_max: ServerLimits::BYTES_MAX_LEAST, ..limits };
        let queue = Queue::with_limits(seed + 1, limits);
        check_edge_with(seed, Weather::drawn(seed, &BAD), queue, Feeder::new(seed, 100, true));
    }
}

#[test]
fn the_longest_messages_pass_where_datagrams_are_small_and_room_is_little() {
    for seed in 0..20 {
        let mut feeder = Feeder::new(seed, 30, true);
        feeder.digits = protocol::link::MESSAGE_BYTES_MAX;
        let bytes_max = ServerLimits::BYTES_MAX_LEAST;
        let limits = ServerLimits { datagram_bytes_max: 1_200, bytes_max, ..ServerLimits::default() };
        check_edge_with(seed, Weather::drawn(seed, &BAD), Queue::with_limits(seed + 1, limits), feeder);
    }
}

#[test]
fn two_consumers_share_a_queue() {
    for seed in 0..100 {
        let total = 400;
        let mut net = Net::new(seed);
        net.set_weather(Weather::drawn(seed, &BAD));
        let queue = net.add(Queue::new(seed + 1), &[(PORT, address(1))]);
        net.add(Feeder::new(seed, total, true), &[(PORT, address(2))]);
        let sinks = [3, 4].map(|host| net.add(Sink::new(seed + u64::from(host), address(1)), &[(PORT, address(host))]));
        let ended = net.run_while(LONG, |net| net.node::<Queue>(queue).server.ledger().done < total);
        assert!(ended, "seed {seed}: stands still");
        let taken = sinks.map(|sink| net.node::<Sink>(sink).taken.clone());
        assert!(taken.iter().all(|taken| taken.is_sorted()), "seed {seed}: {taken:?}");
        let mut all = taken.concat();
        all.sort_unstable();
        assert_eq!(all, (0..total).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn an_idle_edge_is_quiet_and_wakes_at_once() {
    let mut net = Net::new(1);
    net.add(Queue::new(1), &[(PORT, address(1))]);
    let feeder = net.add(Feeder::new(1, 10, false), &[(PORT, address(2))]);
    let sink = net.add(Sink::new(2, address(1)), &[(PORT, address(3))]);
    net.run_until(Duration::from_secs(10));
    let before = net.counts().sent;
    net.run_until(Duration::from_secs(70));
    assert!(net.counts().sent - before <= 2 * 60, "one request a second, and its answer");
    net.act(feeder, |feeder: &mut Feeder, _| feeder.total = 11);
    net.run_until(net.now() + ms(2));
    assert_eq!(net.node::<Sink>(sink).taken.len(), 11);
}

/// What a run of a chain saw: the sink's numbers.
fn run_chain(seed: u64, weather: Weather, total: u64, faults: Faults) -> Result<Vec<u64>, String> {
    let mut net = Net::new(seed);
    net.set_weather(weather);
    let first = net.add(Queue::new(seed + 1), &[(PORT, address(1))]);
    let second = net.add(Queue::new(seed + 1_000_000), &[(PORT, address(2))]);
    let new_worker = |nonce: u64| {
        let mut worker = Worker::new(nonce);
        worker.consumer.plant(faults);
        worker.producer.plant(faults);
        worker
    };
    let addresses = |host| [(PORT, address(host)), (OUTPUT, SocketAddr::from(([10, 0, 0, host], 10_001)))];
    let workers: Vec<NodeId> =
        (0..2_u8).map(|n| net.add(new_worker(seed * 100 + u64::from(n)), &addresses(10 + n))).collect();
    let feeder = net.add(Feeder::new(seed, total, false), &[(PORT, address(3))]);
    let sink = net.add(Sink::new(seed + 7, address(2)), &[(PORT, address(4))]);
    net.act(sink, |sink: &mut Sink, _| sink.consumer.plant(faults));
    let is_over = |net: &Net| {
        net.node::<Feeder>(feeder).producer.is_settled()
            && net.node::<Queue>(first).server.ledger().done == total
            && net.node::<Queue>(second).server.ledger().done >= 2 * total
    };
    for (crash, worker) in (1..=6).zip(workers.iter().cycle()) {
        net.run_while(ms(40 + seed % 50), |net| !is_over(net));
        net.restart(*worker, new_worker(seed * 100 + 10 + crash));
        if crash == 3 {
            net.restart(feeder, Feeder::new(seed + 500_000, total, false));
        }
    }
    net.clear_up();
    if !net.run_while(Duration::from_mins(10), |net| !is_over(net)) {
        return Err(format!(
            "seed {seed}: stands still: {:?} {:?}",
            net.node::<Queue>(first).server.ledger(),
            net.node::<Queue>(second).server.ledger()
        ));
    }
    // What comes too late must change nothing.
    net.run_until(net.now() + Duration::from_secs(2));
    for queue in [first, second] {
        let ledger = net.node::<Queue>(queue).server.ledger();
        assert_eq!(ledger.accepted, ledger.ready + ledger.leased + ledger.done, "seed {seed}: {ledger:?}");
        net.node::<Queue>(queue).server.check();
    }
    Ok(net.node::<Sink>(sink).taken.clone())
}

fn check_chain(seed: u64, faults: Faults) -> Result<(), String> {
    let total = 300;
    let worst = if seed.is_multiple_of(2) { BAD } else { WORSE };
    let mut taken = run_chain(seed, Weather::drawn(seed, &worst), total, faults)?;
    taken.sort_unstable();
    let expected: Vec<u64> = (0..total).chain(1_000_000..1_000_000 + total).collect();
    if taken == expected { Ok(()) } else { Err(format!("seed {seed}: {} of {}", taken.len(), expected.len())) }
}

#[test]
fn a_chain_whose_worker_dies_loses_and_doubles_nothing() {
    for seed in 0..100 {
        check_chain(seed, Faults::default()).unwrap();
    }
}

#[test]
fn an_edge_over_an_old_queue_and_its_upgrade() {
    let mut net = Net::new(1);
    let queue = net.add(OldQueue::default(), &[(PORT, address(1))]);
    let mut old_feeder = Feeder::new(1, 100, false);
    old_feeder.producer = Producer::new(ProducerPlan { floor: None, ..producer_plan(1, 1) });
    let feeder = net.add(old_feeder, &[(PORT, address(2))]);
    let mut old_sink = Sink::new(2, address(1));
    old_sink.consumer = Consumer::new(ConsumerPlan { floor: None, ..consumer_plan(2) });
    let sink = net.add(old_sink, &[(PORT, address(3))]);
    net.run_until(Duration::from_secs(5));
    assert_eq!(net.node::<Sink>(sink).taken, (0..100).collect::<Vec<_>>());
    assert_eq!(net.node::<Feeder>(feeder).producer.negotiated(), Some(Guarantee::AtMostOnce));
    net.restart(queue, Queue::new(9));
    for total in 101..=300 {
        net.act(feeder, |feeder: &mut Feeder, _| feeder.total = total);
        net.run_until(net.now() + ms(500));
    }
    let Sink { taken, consumer, .. } = net.node::<Sink>(sink);
    assert_eq!((taken, consumer.negotiated()), (&(0..300).collect::<Vec<_>>(), Some(Guarantee::ExactlyOnce)));
    assert_eq!(net.node::<Feeder>(feeder).producer.confirmed(), 300);
}

/// A queue in memory takes what it had confirmed with it; what it had not is sent to the next one.
#[test]
fn an_edge_goes_on_after_its_queue_has_died() {
    for seed in 0..100 {
        let total = 400;
        let mut net = Net::new(seed);
        net.set_weather(Weather::drawn(seed, &BAD));
        let queue = net.add(Queue::new(seed + 1), &[(PORT, address(1))]);
        let feeder = net.add(Feeder::new(seed, total, true), &[(PORT, address(2))]);
        let sink = net.add(Sink::new(seed, address(1)), &[(PORT, address(3))]);
        for life in 1..=3 {
            net.run_until(ms(seed % 70 + 60 * life));
            if net.node::<Feeder>(feeder).producer.unconfirmed() > 0 {
                net.restart(queue, Queue::new(seed + 1_000 * (life + 1)));
            }
        }
        let is_over = |net: &Net| {
            let ledger = net.node::<Queue>(queue).server.ledger();
            net.node::<Feeder>(feeder).producer.confirmed() == total
                && net.node::<Feeder>(feeder).producer.is_settled()
                && ledger.done == ledger.accepted
                && net.node::<Sink>(sink).ended.len() == net.node::<Sink>(sink).batches
        };
        assert!(net.run_while(LONG, |net| !is_over(net)), "seed {seed}: stands still");
        let producer = &net.node::<Feeder>(feeder).producer;
        assert_eq!((producer.confirmed(), producer.counts().confirmed), (total, total), "seed {seed}");
    }
}

#[test]
fn planted_faults_are_seen() {
    for faults in [
        Faults { random_ids: true, ..Faults::default() },
        Faults { low_water_ahead: 1_000, ..Faults::default() },
        Faults { asks_once: true, ..Faults::default() },
    ] {
        let seen = (0..100).any(|seed| check_chain(seed, faults).is_err());
        assert!(seen, "{faults:?}");
    }
}
