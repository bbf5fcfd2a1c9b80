//! A feeder with a queue of 2016, in all weathers.

mod on_the_link;

use std::{net::SocketAddr, time::Duration};

use link::{ProducerPlan, SendLimits};
use machine::Now;
use metrics::{Identity, LogOrder, Report, Reports};
use mq::{Limits, Queue};
use protocol::frame;
use simnet::{Mailbox, Net, NodeId, State as NodeState, Weather};

use super::*;

const HOUR: Duration = Duration::from_hours(1);

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 10_000))
}

const FEEDER: u8 = 1;
const FEEDER_METRICS: u8 = 2;
const QUEUE_HOST: u8 = 3;
const RECEIVER: u8 = 4;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn reports(func: &str, to: Option<Transmit>) -> Reports {
    let now = Now { since_start: Duration::ZERO, since_epoch: Duration::ZERO };
    let identity = Identity { vuid: "NTg2ODIx".into(), func: func.into(), address: None };
    Reports::new(identity, LogOrder::TimeFirst, Duration::from_mins(1), to, now)
}

/// With so many PUTs under way to a queue of 2016.
fn link(puts_max: u64) -> Delivery {
    Delivery::Link(ProducerPlan {
        producer: 7,
        nonce: 8,
        stage: String::new(),
        floor: None,
        datagram_bytes_max: 65_507,
        limits: SendLimits::default(),
        puts_max,
    })
}

fn plan() -> Plan {
    Plan {
        queue: address(QUEUE_HOST),
        delivery: link(128),
        format: Format::Fix,
        pace: Pace::Free,
        messages_max: u64::MAX,
        shows_progress: false,
        writes_summary: false,
    }
}

fn queue(messages_max: u64) -> Queue {
    Queue::new(1, Limits { messages_max, bytes_max: u64::MAX / 2 }, reports("Messagequeue", None)).speaking_2016()
}

/// A net with a feeder of that plan and a queue with that much room.
struct Trial {
    net: Net,
    feeder: NodeId,
    queue: NodeId,
}

impl Trial {
    fn new(seed: u64, plan: Plan, messages_max: u64) -> Self {
        let mut net = Net::new(seed);
        let to = Some(Transmit { port: METRICS, to: address(RECEIVER) });
        let ports = [(QUEUE, address(FEEDER)), (METRICS, address(FEEDER_METRICS))];
        let feeder = net.add(Feeder::new(plan, reports("Feeder", to)), &ports);
        let queue = net.add(queue(messages_max), &[(mq::CLIENTS, address(QUEUE_HOST))]);
        Self { net, feeder, queue }
    }

    fn feed(&mut self, entries: impl IntoIterator<Item = Entry<'static>, IntoIter: 'static>) {
        self.net.feed(self.feeder, entries.into_iter().map(Entry::line));
    }

    /// So many lines, `line 0` first.
    fn feed_lines(&mut self, lines: u64) {
        self.net.feed(self.feeder, (0..lines).map(|n| Entry::Message(format!("line {n}").as_bytes()).line()));
    }

    /// Lets the feeder come to its end, with its books in order all the time.
    fn finish(&mut self, within: Duration) -> Summary {
        let feeder = self.feeder;
        let finished = self.net.run_while(within, |net| {
            let machine: &Feeder = net.node(feeder);
            let (counts, put) = (machine.counts, machine.edge.tally());
            assert_eq!(put.sent, put.confirmed + put.refused + put.unconfirmed + put.under_way);
            assert_eq!(
                counts.read,
                counts.blank + counts.too_long + counts.bad_rows() + counts.resumed + put.sent + machine.waiting(),
                "{counts:?}"
            );
            net.state(feeder) == NodeState::Up
        });
        assert!(finished, "it stalls at {:?}: {}", self.net.now(), self.feeder().summary());
        self.feeder().summary()
    }

    fn feeder(&self) -> &Feeder {
        self.net.node(self.feeder)
    }

    fn counts(&self) -> mq::Counts {
        self.net.node::<Queue>(self.queue).counts()
    }

    /// All messages of the queue, taken away in calm weather.
    fn drain(&mut self) -> Vec<Vec<u8>> {
        self.net.clear_up();
        assert!(self.net.run_until_idle(HOUR));
        let client = address(9);
        let mailbox = self.net.add(Mailbox::default(), &[(Port(0), client)]);
        for _ in 0..self.net.node::<Queue>(self.queue).len() {
            self.net.send(client, address(QUEUE_HOST), b"13GET");
        }
        assert!(self.net.run_until_idle(HOUR));
        let received = &self.net.node::<Mailbox>(mailbox).received;
        received.iter().map(|answer| frame::only(&answer.bytes).unwrap().to_vec()).collect()
    }
}

#[test]
fn every_line_arrives_in_order_with_its_stamp() {
    let mut trial = Trial::new(1, plan(), u64::MAX);
    trial.feed_lines(1_000);
    let summary = trial.finish(HOUR);
    assert_eq!((summary.read, summary.sent, summary.confirmed, trial.feeder().missing()), (1_000, 1_000, 1_000, 0));
    let begun = 1_767_225_600.0;
    for (n, message) in trial.drain().iter().enumerate() {
        let message = str::from_utf8(message).unwrap();
        let stamp = message.strip_prefix(&format!("\"line {n}\u{1}999=")).and_then(|rest| rest.strip_suffix("\u{1}\""));
        let fed = stamp.unwrap().parse::<f64>().unwrap() - begun;
        assert!((0.0..10.0).contains(&fed), "{message}");
    }
}

static LONG: [u8; protocol::MESSAGE_BYTES_MAX + 1] = [b'x'; protocol::MESSAGE_BYTES_MAX + 1];

#[test]
fn what_is_no_message_is_counted_and_not_sent() {
    for (delivery, bytes_max) in
        [(link(128), protocol::link::MESSAGE_BYTES_MAX), (Delivery::FlatOut, protocol::MESSAGE_BYTES_MAX)]
    {
        let longest = &LONG[..bytes_max];
        let mut trial = Trial::new(1, Plan { format: Format::Lines, delivery, ..plan() }, u64::MAX);
        trial.feed([
            Entry::Message(b" a "),
            Entry::Blank,
            Entry::TooLong,
            Entry::BadRow(BadRow::Ragged),
            Entry::Message(longest),
            Entry::Message(&LONG[..=bytes_max]),
            Entry::Unreadable,
        ]);
        let Summary { read, blank, sent, confirmed, too_long, bad_rows, unreadable, .. } = trial.finish(HOUR);
        assert_eq!((read, blank, sent, confirmed, too_long, bad_rows, unreadable), (6, 1, 2, 2, 2, 1, 1));
        assert_eq!(trial.feeder().missing(), 3, "two too long and one bad row");
        assert_eq!(trial.drain(), [b" a ".to_vec(), longest.to_vec()]);
    }
}

#[test]
fn no_lines_are_no_work() {
    for entries in [vec![], vec![Entry::Blank; 10]] {
        let mut trial = Trial::new(1, plan(), u64::MAX);
        trial.net.kill(trial.queue);
        let blank = entries.len() as u64;
        trial.feed(entries);
        assert_eq!(trial.finish(ms(1)), Summary { read: blank, blank, ..Summary::default() });
        assert_eq!(trial.feeder().missing(), 0);
    }
}

#[test]
fn loss_on_the_way_there_leaves_unconfirmed_exactly_what_is_not_in_the_queue() {
    for seed in 0..20 {
        let mut trial = Trial::new(seed, plan(), u64::MAX);
        let rain = Weather { lost_permille: 200, ..Weather::calm() };
        trial.net.set_path_weather(trial.feeder, trial.queue, rain);
        trial.feed_lines(2_000);
        let summary = trial.finish(HOUR);
        assert_eq!((summary.sent, summary.refused), (2_000, 0));
        assert_eq!(summary.confirmed, trial.counts().accepted, "seed {seed}");
        assert!(summary.unconfirmed > 100, "seed {seed}: {summary}");
    }
}

#[test]
fn loss_on_the_way_back_leaves_unconfirmed_what_is_in_the_queue() {
    for seed in 0..20 {
        let mut trial = Trial::new(seed, plan(), u64::MAX);
        let rain = Weather { lost_permille: 200, ..Weather::calm() };
        trial.net.set_path_weather(trial.queue, trial.feeder, rain);
        trial.feed_lines(2_000);
        let summary = trial.finish(HOUR);
        assert_eq!((summary.sent, summary.refused, trial.counts().accepted), (2_000, 0, 2_000));
        assert!(summary.confirmed < 2_000 && summary.unconfirmed > 0, "seed {seed}: {summary}");
    }
}

#[test]
fn every_storm_is_got_through_and_every_message_accounted_for() {
    let worst = Weather { doubled_permille: 0, garbled_permille: 0, delay_max: ms(400), ..Weather::storm() };
    for seed in 0..50 {
        let mut trial = Trial::new(seed, plan(), 600);
        trial.net.set_weather(Weather { lost_permille: 200, ..Weather::drawn(seed, &worst) });
        trial.feed_lines(1_000);
        let summary = trial.finish(HOUR);
        trial.net.clear_up();
        assert!(trial.net.run_until_idle(HOUR));
        let queue = trial.counts();
        let refused = queue.refused_messages_max;
        assert_eq!(summary.sent, 1_000);
        assert!(summary.confirmed <= queue.accepted && queue.accepted <= summary.confirmed + summary.unconfirmed);
        assert!(
            summary.refused <= refused && refused <= summary.refused + summary.unconfirmed,
            "seed {seed}: {summary}"
        );
        assert!(queue.accepted + refused <= summary.sent, "seed {seed}: {summary}");
        assert_eq!(trial.feeder().missing(), 1_000 - summary.confirmed);
    }
}

#[test]
fn garbled_and_doubled_answers_stop_nothing() {
    for seed in 0..100 {
        let mut trial = Trial::new(seed, plan(), u64::MAX);
        trial.net.set_weather(Weather::drawn(seed, &Weather::storm()));
        trial.feed_lines(300);
        assert_eq!(trial.finish(HOUR).sent, 300, "seed {seed}");
    }
}

#[test]
fn full_queue_refuses_by_the_message() {
    let mut trial = Trial::new(1, plan(), 100);
    trial.feed_lines(150);
    let summary = trial.finish(HOUR);
    assert_eq!((summary.sent, summary.confirmed, summary.refused, summary.unconfirmed), (150, 100, 50, 0));
    assert_eq!(trial.counts().refused_messages_max, 50);
    assert_eq!(trial.feeder().missing(), 50);
}

#[test]
fn queue_that_comes_late_is_waited_for() {
    let mut trial = Trial::new(1, plan(), u64::MAX);
    trial.net.kill(trial.queue);
    trial.feed_lines(10);
    trial.net.run_until(Duration::from_secs(100));
    let put = trial.feeder().edge.tally();
    assert_eq!((put.sent, trial.feeder().counts.read), (0, 1), "one line is read, to know whether there are any");
    assert!(trial.feeder().silence_said_at.is_some());
    trial.net.restart(trial.queue, queue(u64::MAX));
    let summary = trial.finish(Duration::from_secs(2));
    assert_eq!((summary.confirmed, trial.feeder().missing()), (10, 0));
    assert!(summary.elapsed_s < 1.0, "the wait is no part of the feeding: {summary}");
}

#[test]
fn queue_that_goes_away_midway_costs_a_window_at_the_most() {
    let mut trial = Trial::new(1, plan(), u64::MAX);
    trial.feed_lines(5_000);
    trial.net.run_until(ms(20));
    trial.net.kill(trial.queue);
    let before = trial.counts().accepted;
    trial.net.run_until(ms(10_000));
    trial.net.restart(trial.queue, queue(u64::MAX));
    let summary = trial.finish(HOUR);
    assert!(summary.unconfirmed <= 128 && summary.sent == 5_000, "{summary}");
    assert!(before > 0 && before + trial.counts().accepted >= summary.confirmed);
}

#[test]
fn queue_that_goes_away_at_the_end_is_not_waited_for() {
    let mut trial = Trial::new(1, Plan { delivery: link(10), ..plan() }, u64::MAX);
    trial.feed_lines(10);
    let feeder = trial.feeder;
    assert!(trial.net.run_while(ms(1_000), |net| net.node::<Feeder>(feeder).summary().sent < 10));
    trial.net.kill(trial.queue);
    let summary = trial.finish(Duration::from_secs(2));
    assert_eq!((summary.sent, summary.unconfirmed, trial.feeder().missing()), (10, 10, 10));
}

#[test]
fn without_a_window_nothing_is_waited_for_but_the_last_answers() {
    let flat_out = Plan { delivery: Delivery::FlatOut, ..plan() };
    let mut trial = Trial::new(1, flat_out.clone(), u64::MAX);
    trial.feed_lines(1_000);
    assert_eq!(trial.finish(Duration::from_secs(1)).confirmed, 1_000);

    let mut trial = Trial::new(2, flat_out, u64::MAX);
    trial.net.kill(trial.queue);
    trial.feed_lines(1_000);
    let summary = trial.finish(Duration::from_secs(2));
    assert_eq!((summary.sent, summary.unconfirmed), (1_000, 1_000));
}

#[test]
fn count_ends_it_whatever_the_window() {
    for delivery in [Delivery::FlatOut, link(1), link(128)] {
        for count in [0, 1, 7, 1_000] {
            let mut trial = Trial::new(1, Plan { delivery: delivery.clone(), messages_max: count, ..plan() }, u64::MAX);
            trial.net.feed(trial.feeder, std::iter::repeat_with(|| Entry::Message(b"for ever").line()));
            let summary = trial.finish(HOUR);
            assert_eq!((summary.read, summary.sent, summary.confirmed), (count, count, count));
            assert_eq!(trial.feeder().missing(), 0);
        }
    }
}

#[test]
fn rate_is_kept_to_the_message() {
    for (rate, count, due) in [(10, 31, 3.0), (1_000, 2_501, 2.5), (50_000, 20_001, 0.4)] {
        let pace = Pace::Rate { per_1000_s: rate * 1_000 };
        let mut trial = Trial::new(1, Plan { pace, messages_max: count, ..plan() }, u64::MAX);
        trial.feed_lines(u64::MAX);
        let summary = trial.finish(HOUR);
        assert!((0.0..0.006).contains(&(summary.elapsed_s - due)), "{rate}/s: {summary}");
    }
}

#[test]
fn slow_pace_reads_no_line_ahead() {
    for pace in [Pace::Rate { per_1000_s: 1_000 }, Pace::Delay(Duration::from_secs(1))] {
        let mut trial = Trial::new(1, Plan { pace, ..plan() }, u64::MAX);
        trial.feed_lines(100);
        trial.net.run_until(ms(3_500));
        assert_eq!((trial.feeder().counts.read, trial.counts().accepted), (4, 4), "{pace:?}");
    }
}

#[test]
fn stopped_feeder_answers_for_what_it_has_sent() {
    let mut trial = Trial::new(1, Plan { pace: Pace::Delay(Duration::from_secs(1)), ..plan() }, u64::MAX);
    trial.feed_lines(100);
    trial.net.run_until(ms(2_500));
    trial.net.stop(trial.feeder);
    assert_eq!((trial.feeder().summary().confirmed, trial.feeder().missing()), (3, 0));

    let mut trial = Trial::new(2, plan(), u64::MAX);
    trial.feed_lines(100_000);
    trial.net.run_until(Duration::from_micros(10_500));
    trial.net.stop(trial.feeder);
    let summary = trial.feeder().summary();
    assert_eq!(summary.sent, summary.confirmed + summary.unconfirmed);
    assert_eq!((trial.feeder().missing(), summary.unconfirmed > 0), (summary.unconfirmed, true));
}

#[test]
fn idle_feeder_sleeps() {
    let mut trial = Trial::new(1, plan(), u64::MAX);
    trial.net.run_until(Duration::from_secs(1));
    let before = trial.net.counts().turns;
    trial.net.run_until(Duration::from_secs(50));
    assert_eq!(trial.net.counts().turns, before, "a person who has not typed yet");
}

#[test]
fn strangers_and_garbage_are_counted() {
    let mut trial = Trial::new(1, Plan { pace: Pace::Delay(Duration::from_secs(1)), ..plan() }, u64::MAX);
    trial.feed_lines(3);
    for (from, bytes) in [(9, &b"19PUT 1 bytes"[..]), (QUEUE_HOST, b"14pong"), (QUEUE_HOST, b""), (QUEUE_HOST, b"zz")] {
        trial.net.send(address(from), address(FEEDER), bytes);
    }
    let summary = trial.finish(HOUR);
    let counts = trial.feeder().counts;
    let tally = trial.feeder().edge.tally();
    assert_eq!((counts.stray, tally.stray, tally.malformed, summary.confirmed), (1, 1, 2, 3));
}

#[test]
fn last_report_has_the_ledger() {
    let mut trial = Trial::new(1, Plan { writes_summary: true, ..plan() }, u64::MAX);
    let receiver = trial.net.add(Mailbox::default(), &[(Port(0), address(RECEIVER))]);
    trial.feed([Entry::Message(b"a"), Entry::Blank, Entry::Message(b"b")]);
    trial.finish(HOUR);
    assert!(trial.net.run_until_idle(HOUR));
    let received = &trial.net.node::<Mailbox>(receiver).received;
    assert_eq!(received.len(), 1);
    let report = Report::parse(&received[0].bytes).unwrap();
    let total =
        |seconds: &Option<std::collections::BTreeMap<u64, u64>>| seconds.iter().flat_map(|s| s.values()).sum::<u64>();
    assert_eq!((report.func.as_str(), total(&report.throughput_in), total(&report.throughput_out)), ("Feeder", 3, 2));
    let ledger = report.weir.unwrap().ledger;
    for (name, count) in [("read", 3), ("blank", 1), ("sent", 2), ("confirmed", 2), ("under_way", 0)] {
        assert_eq!(ledger.get(name), Some(&count), "{name}");
    }
    let written = str::from_utf8(trial.net.written(trial.feeder, STDOUT)).unwrap();
    assert!(written.starts_with(r#"{"read": 3, "blank": 1, "sent": 2, "confirmed": 2, "#), "{written}");
    assert!(written.ends_with("}\n") && written.lines().count() == 1, "{written}");
}

#[test]
fn progress_is_told_ten_times_a_second() {
    let pace = Pace::Rate { per_1000_s: 100_000 };
    let mut trial = Trial::new(1, Plan { pace, shows_progress: true, ..plan() }, u64::MAX);
    trial.net.kill(trial.queue);
    trial.feed_lines(500);
    trial.net.run_until(ms(2_000));
    let state = |trial: &Trial| Progress::last(trial.net.written(trial.feeder, PROGRESS)).unwrap().state;
    assert_eq!(state(&trial), State::WaitingForQueue);
    trial.net.restart(trial.queue, queue(400));
    trial.net.run_until(ms(5_000));
    let progress = Progress::last(trial.net.written(trial.feeder, PROGRESS)).unwrap();
    assert_eq!((progress.state, progress.per_second), (State::Feeding, 100));
    assert_eq!(progress.read_bytes, (0..progress.sent).map(|n| format!("line {n}\n").len() as u64).sum::<u64>());
    trial.finish(HOUR);
    assert_eq!(state(&trial), State::QueueFull);
    let snapshots = trial.net.written(trial.feeder, PROGRESS).len() / 33;
    let due = usize::try_from(trial.net.now().as_millis()).unwrap() / 100;
    assert!(snapshots.abs_diff(due) < 3, "{snapshots} of {due}");
}
