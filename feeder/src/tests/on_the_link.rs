//! A feeder with a queue that speaks the link, in all weathers.

use metrics::EdgeFlow;
use protocol::link::{Answer, Ask, Sending};

use super::*;

const FEED: u128 = 0xfeed;

fn producer(nonce: u64) -> ProducerPlan {
    ProducerPlan {
        producer: FEED,
        // As far apart as random ones: a producer that takes its place back counts on from its own.
        nonce: nonce << 32,
        stage: String::new(),
        floor: None,
        // Small ones, so that there are many.
        datagram_bytes_max: 600,
        limits: SendLimits::default(),
        puts_max: 128,
    }
}

fn lines(producer: ProducerPlan) -> Plan {
    Plan { delivery: Delivery::Link(producer), format: Format::Lines, ..plan() }
}

fn link_queue(messages_max: u64) -> Queue {
    Queue::new(1, Limits { messages_max, bytes_max: u64::MAX / 2 }, reports("Messagequeue", None))
}

/// The process after the one that has died: another node.
fn another_queue(seed: u64) -> Queue {
    let limits = Limits { messages_max: u64::MAX, bytes_max: u64::MAX / 2 };
    Queue::new((seed + 2) << 40 | 7, limits, reports("Messagequeue", None))
}

fn trial(seed: u64, plan: Plan, messages_max: u64) -> Trial {
    let mut trial = Trial::new(seed, plan, messages_max);
    trial.net.restart(trial.queue, link_queue(messages_max));
    trial
}

/// Each of a datagram's fates befalls up to three in ten.
fn rain(seed: u64) -> Weather {
    let worst = Weather { lost_permille: 300, doubled_permille: 300, garbled_permille: 100, ..Weather::storm() };
    Weather { lost_permille: 200, ..Weather::drawn(seed, &worst) }
}

fn expected(lines: u64) -> Vec<Vec<u8>> {
    (0..lines).map(|n| format!("line {n}").into_bytes()).collect()
}

impl Trial {
    /// Another process in the feeder's place, which is fed the same lines.
    fn start_again(&mut self, plan: Plan, lines: u64) {
        self.net.restart(self.feeder, Feeder::new(plan, reports("Feeder", None)));
        self.feed_lines(lines);
    }

    fn run_for(&mut self, time: Duration) {
        self.net.run_until(self.net.now() + time);
    }

    /// The queue has each of so many lines once, in their order.
    #[track_caller]
    fn check_queue(&mut self, lines: u64) {
        assert_eq!(self.counts().accepted, lines);
        assert!(self.net.node::<Queue>(self.queue).message_ledger().balances());
        let (got, due) = (self.drain(), expected(lines));
        let differs = got.iter().zip(&due).position(|(got, due)| got != due);
        let shown = differs.map(|at| (at, got[at].escape_ascii().to_string()));
        assert_eq!((shown, got.len()), (None, due.len()), "each line once, in order");
    }
}

#[test]
fn every_line_arrives_once_and_in_order_whatever_the_weather() {
    for seed in 0..40 {
        let mut trial = trial(seed, lines(producer(1)), u64::MAX);
        trial.net.set_weather(rain(seed));
        trial.feed_lines(2_000);
        let summary = trial.finish(HOUR);
        assert_eq!((summary.sent, summary.confirmed, summary.unconfirmed), (2_000, 2_000, 0), "seed {seed}");
        assert_eq!((trial.feeder().missing(), trial.feeder().failure()), (0, None));
        assert!(summary.resent_batches > 0, "seed {seed}: {summary}");
        assert_eq!(summary.guarantee, Some("exactly-once"));
        trial.check_queue(2_000);
    }
}

#[test]
fn a_killed_feeder_is_gone_on_with() {
    let mut resumed = 0;
    for seed in 0..60 {
        let pace = Pace::Rate { per_1000_s: 2_000_000 };
        let mut trial = trial(seed, Plan { pace, ..lines(producer(0)) }, u64::MAX);
        trial.net.set_weather(rain(seed));
        trial.feed_lines(2_000);
        for nonce in 1..5 {
            // None of them comes to its end: the next would begin anew.
            trial.run_for(ms(40 + seed * 7 % 150));
            trial.start_again(Plan { pace, ..lines(producer(nonce)) }, 2_000);
        }
        let summary = trial.finish(HOUR);
        assert_eq!((summary.read, summary.resumed + summary.confirmed), (2_000, 2_000), "seed {seed}: {summary}");
        assert_eq!((trial.feeder().missing(), trial.feeder().failure()), (0, None), "seed {seed}");
        resumed += u64::from(summary.resumed > 0);
        trial.check_queue(2_000);
    }
    assert!(resumed > 20, "{resumed}");
}

#[test]
fn a_stopped_feeder_is_gone_on_with() {
    for stop_at in [1, 10, 50, 333] {
        let pace = Pace::Rate { per_1000_s: 1_000_000 };
        let mut trial = trial(7, Plan { pace, messages_max: 600, ..lines(producer(1)) }, u64::MAX);
        trial.feed_lines(1_000);
        trial.net.run_until(ms(stop_at));
        let feeder = trial.feeder;
        trial.net.act(feeder, |feeder: &mut Feeder, now| feeder.handle_stopping(now));
        assert!(trial.net.run_while(ms(1_000), |net| !net.node::<Feeder>(feeder).is_settled()));
        trial.net.stop(feeder);
        let first = trial.feeder().summary();
        assert_eq!((first.sent, trial.feeder().missing()), (first.confirmed, 0));
        trial.start_again(Plan { messages_max: 600, ..lines(producer(2)) }, 1_000);
        let second = trial.finish(HOUR);
        assert_eq!((second.resumed, second.resumed + second.confirmed), (first.confirmed, 600), "{second}");
        trial.check_queue(600);
    }
}

#[test]
fn a_feed_that_has_ended_begins_anew() {
    let mut trial = trial(1, lines(producer(1)), u64::MAX);
    for nonce in 2..5 {
        trial.feed_lines(100);
        let summary = trial.finish(HOUR);
        assert_eq!((summary.resumed, summary.confirmed), (0, 100));
        trial.net.restart(trial.feeder, Feeder::new(lines(producer(nonce)), reports("Feeder", None)));
    }
    assert_eq!(trial.counts().accepted, 300);
}

#[test]
fn a_full_queue_is_waited_for_and_nothing_is_refused_for_good() {
    for seed in 0..10 {
        let shown = Plan { shows_progress: true, ..lines(producer(1)) };
        let mut trial = trial(seed, shown, 100);
        trial.net.set_weather(Weather { lost_permille: 100, ..Weather::calm() });
        trial.feed_lines(500);
        trial.run_for(ms(2_000));
        assert_eq!(trial.counts().accepted, 100);
        let progress = Progress::last(trial.net.written(trial.feeder, PROGRESS)).unwrap();
        assert_eq!(progress.state, State::QueueFull);
        // What is not taken in is not read either.
        assert!(trial.feeder().held.len() <= 1);
        let client = address(8);
        let mailbox = trial.net.add(Mailbox::default(), &[(Port(0), client)]);
        trial.net.set_path_weather(mailbox, trial.queue, Weather::calm());
        trial.net.set_path_weather(trial.queue, mailbox, Weather::calm());
        for _ in 0..40 {
            (0..10).for_each(|_| trial.net.send(client, address(QUEUE_HOST), b"13GET"));
            trial.run_for(ms(1_000));
        }
        let summary = trial.finish(HOUR);
        assert_eq!((summary.confirmed, summary.refused, trial.feeder().missing()), (500, 0, 0), "seed {seed}");
        assert!(trial.feeder().edge.tally().pushed_back > 0);
        let received = &trial.net.node::<Mailbox>(mailbox).received;
        let mut all: Vec<_> = received.iter().map(|answer| frame::only(&answer.bytes).unwrap().to_vec()).collect();
        all.retain(|message| !message.is_empty());
        all.extend(trial.drain());
        assert!(all == expected(500), "seed {seed}: not each line once, in order");
    }
}

#[test]
fn a_queue_of_2016_gets_each_message_once_and_promises_nothing() {
    let mut trial = Trial::new(1, lines(producer(1)), 400);
    trial.feed_lines(500);
    let summary = trial.finish(HOUR);
    assert_eq!((summary.confirmed, summary.refused, summary.guarantee), (400, 100, Some("at-most-once")));
    assert!(summary.to_string().contains("sent 500, confirmed 400, refused 100, unconfirmed 0, "), "{summary}");
    assert!(trial.drain() == expected(400));
}

#[test]
fn what_the_queue_cannot_give_ends_the_feeder() {
    for asked in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
        let plan = lines(ProducerPlan { floor: Some(asked), ..producer(1) });
        let mut old = Trial::new(1, plan.clone(), u64::MAX);
        old.feed_lines(100);
        let summary = old.finish(Duration::from_secs(5));
        let given = Guarantee::AtMostOnce;
        assert_eq!(old.feeder().failure(), Some(Failure::Floor { asked, given }));
        assert_eq!((summary.sent, old.counts().accepted), (0, 0));

        let mut new = trial(1, plan, u64::MAX);
        new.feed_lines(100);
        assert_eq!((new.finish(HOUR).confirmed, new.feeder().failure()), (100, None));
    }
}

#[test]
fn a_second_feeder_of_the_same_lines_takes_over() {
    let pace = Pace::Rate { per_1000_s: 50_000 };
    let mut trial = trial(1, Plan { pace, ..lines(producer(1)) }, u64::MAX);
    trial.feed_lines(1_000);
    trial.run_for(Duration::from_secs(8));
    let ports = [(QUEUE, address(21)), (METRICS, address(22))];
    let second = trial.net.add(Feeder::new(lines(producer(2)), reports("Feeder", None)), &ports);
    trial.net.feed(second, expected(1_000).into_iter().map(|line| Entry::Message(&line).line()));
    trial.finish(HOUR);
    assert!(matches!(trial.feeder().failure(), Some(Failure::Fenced { .. })), "{:?}", trial.feeder().failure());
    assert!(trial.net.run_while(HOUR, |net| net.state(second) == NodeState::Up));
    let feeder: &Feeder = trial.net.node(second);
    assert_eq!((feeder.missing(), feeder.failure()), (0, None));
    trial.check_queue(1_000);
}

#[test]
fn a_person_who_has_not_typed_yet_costs_nothing() {
    let mut trial = trial(1, lines(producer(1)), u64::MAX);
    trial.net.run_until(Duration::from_secs(1));
    let before = trial.net.counts().turns;
    trial.net.run_until(Duration::from_secs(50));
    assert_eq!(trial.net.counts().turns, before);
}

#[test]
fn a_pace_is_kept_on_the_link_too() {
    let pace = Pace::Rate { per_1000_s: 1_000_000 };
    let mut trial = trial(1, Plan { pace, messages_max: 2_501, ..lines(producer(1)) }, u64::MAX);
    trial.feed_lines(u64::MAX);
    let summary = trial.finish(HOUR);
    assert!((2.5..2.51).contains(&summary.elapsed_s), "{summary}");
}

/// The queue's memory dies with it: what it had not confirmed, the feeder that lives sends to the next one; a feeder that
/// is started after that goes on there.
#[test]
fn a_queue_and_then_its_feeder_die_and_nothing_unconfirmed_is_lost_or_twice() {
    for seed in 0..60 {
        let pace = Pace::Rate { per_1000_s: 2_000_000 };
        let mut trial = trial(seed, Plan { pace, ..lines(producer(0)) }, u64::MAX);
        trial.net.set_weather(rain(seed));
        trial.feed_lines(2_000);
        trial.run_for(ms(150 + seed * 7 % 150));
        let before = trial.feeder().summary();
        trial.net.restart(trial.queue, another_queue(seed));
        // Until the next one knows the feed: else nobody does.
        let queue = trial.queue;
        trial.net.run_while(HOUR, |net| net.node::<Queue>(queue).counts().accepted == 0);
        trial.run_for(ms(seed * 11 % 150));
        trial.start_again(Plan { pace, ..lines(producer(1)) }, 2_000);
        let summary = trial.finish(HOUR);
        assert_eq!((trial.feeder().missing(), trial.feeder().failure()), (0, None), "seed {seed}: {summary}");
        let got = trial.drain();
        let first = 2_000 - got.len() as u64;
        assert!(got == expected(2_000)[2_000 - got.len()..], "seed {seed}: each line once, in order: {summary}");
        // An answer of the queue before that was still under way may have confirmed some more.
        let sent = before.confirmed + before.unconfirmed;
        assert!((before.confirmed..=sent).contains(&first), "seed {seed}: from {first} on, {before}");
    }
}

/// The feeder dies first: what the queue had confirmed to it is known to nobody once the queue is dead, too.
#[test]
fn a_feeder_and_then_its_queue_die_and_nothing_is_lost_or_twice() {
    let mut anew = 0;
    for seed in 0..60 {
        let pace = Pace::Rate { per_1000_s: 2_000_000 };
        let mut trial = trial(seed, Plan { pace, ..lines(producer(0)) }, u64::MAX);
        trial.net.set_weather(rain(seed));
        trial.feed_lines(2_000);
        trial.run_for(ms(200 + seed * 7 % 150));
        trial.start_again(Plan { pace, ..lines(producer(1)) }, 2_000);
        trial.run_for(ms(seed * 5 % 150));
        let resumed = trial.feeder().summary().resumed;
        trial.net.restart(trial.queue, another_queue(seed));
        let summary = trial.finish(HOUR);
        assert_eq!((trial.feeder().missing(), trial.feeder().failure()), (0, None), "seed {seed}: {summary}");
        let got = trial.drain();
        assert!(got == expected(2_000)[2_000 - got.len()..], "seed {seed}: each line once, in order: {summary}");
        assert!(got.len() as u64 <= 2_000 - resumed, "seed {seed}: what it resumed from stays resumed");
        anew += u64::from(got.len() == 2_000);
    }
    assert!((5..55).contains(&anew), "{anew}: both feeders that knew where to go on and those that did not");
}

#[test]
fn a_queue_with_enough_producers_is_waited_for() {
    let mut trial = trial(1, lines(producer(1)), u64::MAX);
    let client = address(8);
    let mailbox = trial.net.add(Mailbox::default(), &[(Port(0), client)]);
    for other in 0..10_000_u64 {
        let mut open = Vec::new();
        Ask::Open { producer: other.into(), nonce: 1, from: 0 }.push(other, &mut open);
        trial.net.send(client, address(QUEUE_HOST), &open);
    }
    trial.run_for(ms(100));
    assert_eq!(trial.net.node::<Mailbox>(mailbox).received.len(), 10_000);
    trial.feed_lines(100);
    trial.run_for(ms(5_000));
    let tally = trial.feeder().edge.tally();
    assert!((3..=6).contains(&tally.refused_producers) && tally.sent == 0, "{tally:?}");
    let text = frame::only(&trial.net.node::<Mailbox>(mailbox).received[7].bytes).unwrap().to_vec();
    let Ok((producer, Answer::Opened { epoch, .. })) = Answer::parse(&text) else { panic!() };
    let mut end = Vec::new();
    Ask::End(Sending { producer: producer.into(), epoch, sequence: 0 }).push(1, &mut end);
    trial.net.send(client, address(QUEUE_HOST), &end);
    assert_eq!((trial.finish(HOUR).confirmed, trial.feeder().missing()), (100, 0));
}

/// At every moment the queue has at least what the feeder takes for confirmed, and at most what it has sent.
fn check_edge(feeder: &Feeder, queue: &Queue, node: u64) {
    let edge = feeder.told_edge();
    let EdgeFlow::Out { sent, confirmed: Some(confirmed), .. } = edge.flow else { panic!("{edge:?}") };
    let accepted = queue.counts().accepted;
    let is_its = edge.node == Some(format!("{node:x}"));
    assert!(confirmed <= sent, "{edge:?}");
    assert!(!is_its || (confirmed..=sent).contains(&accepted), "{edge:?}, {accepted} accepted");
}

#[test]
fn its_edge_agrees_with_the_queue_at_every_moment() {
    let mut replaced = 0;
    for seed in 0..40 {
        let mut trial = trial(seed, lines(producer(1)), u64::MAX);
        trial.net.set_weather(rain(seed));
        trial.feed_lines(2_000);
        let (feeder, queue) = (trial.feeder, trial.queue);
        let check = |node| {
            move |net: &Net| {
                check_edge(net.node(feeder), net.node(queue), node);
                net.state(feeder) == NodeState::Up
            }
        };
        let mut node = 1;
        if !trial.net.run_while(ms(100 + seed * 10), check(node)) && seed % 2 == 1 {
            trial.net.restart(queue, another_queue(seed));
            node = (seed + 2) << 40 | 7;
            replaced += 1;
        }
        assert!(trial.net.run_while(HOUR, check(node)), "seed {seed}");
        let edge = trial.feeder().told_edge();
        let accepted = trial.counts().accepted;
        assert_eq!(edge.flow, EdgeFlow::Out { sent: accepted, confirmed: Some(accepted), waits: false }, "seed {seed}");
        assert!(node != 1 || accepted == 2_000, "seed {seed}: {accepted}");
    }
    assert!(replaced > 10, "{replaced}");
}

#[test]
fn an_idle_a_held_back_and_an_ended_feeder_report() {
    let mut trial = trial(1, lines(producer(1)), 100);
    let mailbox = trial.net.add(Mailbox::default(), &[(Port(0), address(RECEIVER))]);
    let told = |trial: &Trial| {
        let datagram = trial.net.node::<Mailbox>(mailbox).received.last().unwrap();
        let report = Report::parse(&datagram.bytes).unwrap();
        (report.func, report.weir.unwrap())
    };
    trial.run_for(ms(60_100));
    let (func, weir) = told(&trial);
    assert_eq!((func.as_str(), weir.kind.as_deref()), ("Feeder", Some("feeder")));
    assert_eq!(weir.share.map(|share| share.idle.to_bits()), Some(1_f64.to_bits()));
    trial.feed_lines(150);
    trial.run_for(ms(120_000));
    let (_, weir) = told(&trial);
    assert!(weir.share.unwrap().blocked > 0.99, "{:?}", weir.share);
    let edge = |weir: &metrics::Weir| (weir.edges.len(), weir.edges[0].flow);
    let (1, EdgeFlow::Out { sent, confirmed: Some(100), waits: true }) = edge(&weir) else { panic!("{weir:?}") };
    assert!(sent > 100);
    assert_eq!((weir.edges[0].peer, weir.edges[0].node.as_deref()), (address(QUEUE_HOST), Some("1")));
    let client = trial.net.add(Mailbox::default(), &[(Port(0), address(9))]);
    for _ in 0..60 {
        trial.net.send(address(9), address(QUEUE_HOST), b"13GET");
    }
    trial.finish(ms(10_000));
    trial.run_for(ms(100));
    assert_eq!(trial.net.node::<Mailbox>(client).received.len(), 60);
    let (_, weir) = told(&trial);
    assert_eq!(edge(&weir), (1, EdgeFlow::Out { sent: 150, confirmed: Some(150), waits: false }));
}
