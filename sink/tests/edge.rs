//! A producer and a sink in the worst weather, with a stdout that takes its time: each message is printed once, in order,
//! and confirmed once it is written.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in what its checks share, too")]

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use link::{Guarantee, Producer, ProducerPlan, SendLimits};
use machine::{Machine, Now, Outlet, Port, STDOUT, Transmit};
use metrics::{Identity, LogOrder, Reports};
use simnet::{Net, Weather};
use sink::{INPUT, METRICS, Messages, Sink};

const PORT: Port = Port(0);

/// 30 % lost, 30 % doubled, 10 % garbled, overtaken.
const WORST: Weather = Weather {
    lost_permille: 300,
    doubled_permille: 300,
    garbled_permille: 100,
    late_permille: 1_000,
    refused_permille: 0,
    delay_min: Duration::from_micros(10),
    delay_max: Duration::from_millis(50),
};

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 5_000))
}

/// Sends numbered messages to the sink.
struct Feeder {
    producer: Producer,
    total: u64,
    /// Whether it tells the sink that its feed has ended; one that starts after that begins anew.
    ends: bool,
}

impl Feeder {
    fn new(producer: u128, nonce: u64, total: u64, ends: bool) -> Self {
        let plan = ProducerPlan {
            producer,
            nonce: nonce.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            stage: String::new(),
            floor: Some(Guarantee::ExactlyOnce),
            // Small, so that there are many batches.
            datagram_bytes_max: 400,
            limits: SendLimits { batches_max: 16, bytes_max: 1 << 16 },
            puts_max: 16,
        };
        Self { producer: Producer::new(plan), total, ends }
    }

    fn is_over(&self) -> bool {
        self.producer.confirmed() == self.total && self.producer.is_settled()
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
            let message = format!("{{\"msg\":\"{number}\",\"feed_time\":1}}");
            self.producer.push(now, message.as_bytes(), None).unwrap();
        }
        if self.ends && self.producer.next_sequence() >= self.total {
            self.producer.end();
        }
        self.producer.poll_transmit(now, bytes).then_some(Transmit { port: PORT, to: address(1) })
    }
}

/// A sink that hears later what has been written.
struct Slow {
    sink: Sink,
    delay: Duration,
    /// When it hears of so many bytes, and how many lines these are.
    pending: VecDeque<(Duration, u64, u64)>,
    lines_written: u64,
}

impl Slow {
    fn new(delay: Duration) -> Self {
        let identity = Identity { vuid: "SINK".to_owned(), func: "Sink".to_owned(), address: None };
        let start = Now { since_start: Duration::ZERO, since_epoch: Duration::from_hours(1) };
        let reports = Reports::new(identity, LogOrder::CountFirst, Duration::from_hours(1), None, start);
        Self { sink: Sink::new(7, Messages::Printed, reports), delay, pending: VecDeque::new(), lines_written: 0 }
    }
}

impl Machine for Slow {
    fn handle_datagram(&mut self, now: Now, port: Port, from: SocketAddr, datagram: &[u8]) {
        self.sink.handle_datagram(now, port, from, datagram);
    }

    fn handle_timeout(&mut self, now: Now) {
        while let Some((_, bytes, lines)) = self.pending.pop_front_if(|(at, ..)| *at <= now.since_start) {
            self.lines_written = lines;
            self.sink.handle_written(now, STDOUT, bytes);
        }
        self.sink.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.pending.front().map(|(at, ..)| *at).into_iter().chain(self.sink.poll_timeout()).min()
    }

    fn poll_transmit(&mut self, now: Now, bytes: &mut Vec<u8>) -> Option<Transmit> {
        self.sink.poll_transmit(now, bytes)
    }

    fn poll_output(&mut self, bytes: &mut Vec<u8>) -> Option<Outlet> {
        self.sink.poll_output(bytes)
    }

    fn handle_written(&mut self, now: Now, _outlet: Outlet, bytes: u64) {
        self.pending.push_back((now.since_start + self.delay, bytes, self.sink.counts().printed));
    }
}

fn check(seed: u64) {
    const TOTAL: u64 = 400;
    let mut net = Net::new(seed);
    net.set_weather(WORST);
    let sink = net.add(Slow::new(Duration::from_millis(seed % 80)), &[(INPUT, address(1)), (METRICS, address(2))]);
    let feeder = net.add(Feeder::new(0xfeed, seed, TOTAL, false), &[(PORT, address(3))]);
    for life in 1..=4 {
        // The last life is as long as it takes.
        let within = if life == 4 { Duration::from_hours(1) } else { Duration::from_millis(150 + seed) };
        let has_ended = net.run_while(within, |net| {
            let confirmed = net.node::<Feeder>(feeder).producer.confirmed();
            assert!(
                confirmed <= net.node::<Slow>(sink).lines_written,
                "seed {seed}: {confirmed} confirmed before they were written"
            );
            !net.node::<Feeder>(feeder).is_over()
        });
        if has_ended {
            break;
        }
        assert!(life < 4, "seed {seed}: stands still: {:?}", net.node::<Slow>(sink).sink.counts());
        net.restart(feeder, Feeder::new(0xfeed, seed + 1_000 * life, TOTAL, life == 3));
    }
    assert_eq!(net.node::<Feeder>(feeder).producer.confirmed(), TOTAL, "seed {seed}");
    let written = std::str::from_utf8(net.written(sink, STDOUT)).unwrap();
    let expected = (0..TOTAL).map(|number| number.to_string());
    assert!(written.lines().eq(expected), "seed {seed}: not each once and in order: {written}");

    let sink = &net.node::<Slow>(sink).sink;
    let counts = sink.counts();
    let bad = counts.not_utf8 + counts.not_json + counts.not_an_object + counts.no_msg + counts.too_deep;
    assert_eq!((counts.received, counts.printed), (TOTAL + bad, TOTAL), "seed {seed}: {counts:?}");
    assert_eq!((sink.intake_counts().accepted, counts.unsent), (TOTAL, 0), "seed {seed}");
}

#[test]
fn each_message_is_printed_once_and_in_order() {
    (0..100).for_each(check);
}

#[test]
fn a_sink_that_cannot_write_pushes_back() {
    const TOTAL: u64 = 150_000;
    let mut net = Net::new(1);
    // So long that all which there is room for comes in before anything is written.
    let sink = net.add(Slow::new(Duration::from_secs(2)), &[(INPUT, address(1)), (METRICS, address(2))]);
    let mut feeder = Feeder::new(0xfeed, 1, TOTAL, true);
    let limits = SendLimits { batches_max: 1_000, bytes_max: 1 << 26 };
    let plan = ProducerPlan {
        producer: 1,
        nonce: 1,
        stage: String::new(),
        floor: None,
        datagram_bytes_max: 65_507,
        limits,
        puts_max: 1,
    };
    feeder.producer = Producer::new(plan);
    let feeder = net.add(feeder, &[(PORT, address(3))]);
    let settled = net.run_while(Duration::from_hours(2), |net| {
        assert!(net.node::<Slow>(sink).sink.counts().printed - net.node::<Slow>(sink).lines_written <= 100_000);
        !net.node::<Feeder>(feeder).is_over()
    });
    assert!(settled, "{:?}", net.node::<Slow>(sink).sink.counts());
    assert_eq!(net.node::<Slow>(sink).sink.counts().printed, TOTAL);
    let written = std::str::from_utf8(net.written(sink, STDOUT)).unwrap();
    assert_eq!(written.lines().count() as u64, TOTAL);
}
