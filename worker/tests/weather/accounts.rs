//! What a worker's reports say of its edges agrees with what its queues know, at every report and whatever the weather.

use metrics::{Edge, EdgeFlow, Report, Weir};
use simnet::Mailbox;

use super::*;

const RECEIVER: u8 = 8;

/// The reports of a worker, at its end of the calm way to their receiver.
struct Told {
    chain: Chain,
    mailbox: NodeId,
}

impl Told {
    fn new(seed: u64) -> Self {
        let mut chain = Chain::new(seed, 600, 1 << 20);
        let mailbox = chain.net.add(Mailbox::default(), &[(EDGE, address(RECEIVER))]);
        let identity = Identity { vuid: "W".to_owned(), func: "Test".to_owned(), address: None };
        let start = Now { since_start: Duration::ZERO, since_epoch: Duration::from_hours(1) };
        let to = Transmit { port: METRICS, to: address(RECEIVER) };
        let reports = Reports::new(identity, LogOrder::TimeFirst, Duration::from_millis(20), Some(to), start);
        chain.net.restart(chain.worker, Worker::new(plan(seed, 0, 30 * SECOND), function(true), reports));
        chain.net.set_path_weather(chain.worker, mailbox, Weather::calm());
        Self { chain, mailbox }
    }

    fn all(&self) -> Vec<Weir> {
        let received = &self.chain.net.node::<Mailbox>(self.mailbox).received;
        received.iter().map(|datagram| Report::parse(&datagram.bytes).unwrap().weir.unwrap()).collect()
    }

    /// Until all that the first queue had is finished, and then until that has been reported.
    fn finish(&mut self) {
        let (first, total) = (self.chain.first, self.chain.total);
        let is_over = |net: &Net| {
            let ledger = net.node::<Queue>(first).message_ledger();
            ledger.done + ledger.dead == total
        };
        self.chain.net.run_while(Duration::from_mins(10), |net| !is_over(net));
        assert!(is_over(&self.chain.net), "seed {}", self.chain.seed);
        self.chain.net.clear_up();
        self.chain.net.run_until(self.chain.net.now() + 5 * SECOND);
    }

    fn ledger(&self, queue: NodeId) -> link::Ledger {
        self.chain.net.node::<Queue>(queue).message_ledger()
    }
}

/// The one output and the one input, and `(sent, confirmed)` and `(taken, finished)`.
#[expect(clippy::panic, reason = "a test fails by panicking")]
fn edges(weir: &Weir) -> [(&Edge, u64, u64); 2] {
    let [output, input] = &weir.edges[..] else { panic!("{:?}", weir.edges) };
    let EdgeFlow::Out { sent, confirmed: Some(confirmed), .. } = output.flow else { panic!("{output:?}") };
    let EdgeFlow::In { taken, finished } = input.flow else { panic!("{input:?}") };
    [(output, sent, confirmed), (input, taken, finished.unwrap_or(0))]
}

/// In every report `sent >= confirmed` and `taken >= finished`, and no count goes down while the peer stays the same.
fn check_every_report(seed: u64, reports: &[Weir]) {
    assert!(reports.len() > 10, "seed {seed}: {} reports", reports.len());
    let mut before: [Option<(Edge, u64, u64)>; 2] = [None, None];
    for weir in reports {
        assert_eq!((weir.kind.as_deref(), weir.node.as_deref()), (Some("worker"), None));
        let share = weir.share.unwrap();
        assert!((share.busy + share.blocked + share.idle - 1.0).abs() < 1e-9, "{share:?}");
        for ((edge, through, ended), before) in edges(weir).into_iter().zip(&mut before) {
            assert!(through >= ended, "seed {seed}: {edge:?}");
            if let Some((old, old_through, old_ended)) = before
                && old.node == edge.node
            {
                assert!(through >= *old_through && ended >= *old_ended, "seed {seed}: {edge:?} after {old:?}");
            }
            *before = Some((edge.clone(), through, ended));
        }
    }
}

#[test]
fn what_was_confirmed_is_what_the_queue_took() {
    for seed in 500..520 {
        let mut told = Told::new(seed);
        told.finish();
        let reports = told.all();
        check_every_report(seed, &reports);
        let [(output, sent, confirmed), (input, taken, finished)] = edges(reports.last().unwrap());
        let (first, second) = (told.ledger(told.chain.first), told.ledger(told.chain.second));
        assert_eq!((sent, confirmed), (second.accepted + second.duplicate_ids, sent), "seed {seed}: {second:?}");
        assert!(taken >= finished && finished == first.done, "seed {seed}: {input:?}, {first:?}");
        assert_eq!(output.guarantee.as_deref(), Some("exactly-once"));
        let nodes = [seed << 8 | 2, seed << 8 | 1].map(|node| format!("{node:x}"));
        assert_eq!([output.node.clone(), input.node.clone()], nodes.map(Some));
    }
}

#[test]
fn another_peer_is_counted_for_anew() {
    for seed in 520..540 {
        let mut told = Told::new(seed);
        let second = told.chain.second;
        let is_before = |net: &Net| net.node::<Queue>(second).message_ledger().accepted < 20 * (seed - 519);
        assert!(told.chain.net.run_while(Duration::from_mins(10), is_before), "seed {seed}");
        let before = told.ledger(second);
        let node = (seed << 8 | 2) + (1 << 40);
        let limits = Limits { messages_max: 1 << 20, bytes_max: 1 << 30 };
        told.chain.net.restart(second, Queue::new(node, limits, reports()));
        told.finish();
        let reports = told.all();
        check_every_report(seed, &reports);
        let names = [seed << 8 | 2, node].map(|node| Some(format!("{node:x}")));
        let of = |name: &Option<String>| reports.iter().rev().map(edges).find(|[(output, ..), _]| output.node == *name);
        if let Some([(output, _, confirmed), _]) = of(&names[0]) {
            assert!(confirmed <= before.accepted + before.duplicate_ids, "seed {seed}: {output:?}, {before:?}");
        }
        let [(_, sent, confirmed), _] = of(&names[1]).unwrap();
        let after = told.ledger(second);
        assert_eq!((sent, confirmed), (after.accepted + after.duplicate_ids, sent), "seed {seed}: {after:?}");
    }
}

#[test]
fn a_full_output_shows_as_blocked() {
    let mut told = Told::new(540);
    told.chain.net.clear_up();
    let limits = Limits { messages_max: 20, bytes_max: 1 << 30 };
    told.chain.net.restart(told.chain.second, Queue::new(9, limits, reports()));
    told.chain.net.pause(told.chain.drain);
    told.chain.net.run_until(told.chain.net.now() + 5 * SECOND);
    let reports = told.all();
    let last = reports.last().unwrap();
    let share = last.share.unwrap();
    assert!(share.blocked > 0.9, "{share:?}");
    let [(output, ..), _] = edges(last);
    assert!(matches!(output.flow, EdgeFlow::Out { waits: true, .. }), "{output:?}");
}

#[test]
fn a_slow_function_shows_as_busy() {
    let mut told = Told::new(541);
    told.chain.net.clear_up();
    told.chain.net.set_work(Duration::from_millis(150), Duration::from_millis(400));
    told.chain.net.run_until(told.chain.net.now() + SECOND);
    let busy = told.all().iter().filter_map(|weir| weir.share).filter(|share| share.busy > 0.9).count();
    assert!(busy > 20, "{busy}");
}
